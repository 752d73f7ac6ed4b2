//! The shelf: which segments there are, what they hold, where consumers stand. Pure bookkeeping over open files; the
//! journal keeps it behind one lock that is never held during a write to disk.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use model::Lane;

use crate::{
    ConsumerStats, Damage, Fault, JournalAlarm, JournalStats, LaneStats, Offset,
    codec::Group,
    cursors::{Cursors, Noted},
    segment::{Segment, Span},
};

/// How many bytes of the newest groups are kept in memory, so that a consumer that keeps up never waits for the disk.
const TAIL_BYTES: usize = 8 << 20;
/// How many of the newest entries of a lane are kept as they were appended, so that nobody has to decode them again:
/// an entry in memory is several times its record (half a kilobyte for eight numbers).
const TAIL_ENTRIES: u64 = if cfg!(test) { 300 } else { 64_000 };
/// How many sealed files may be open at once.
const OPEN_SEGMENTS: usize = 4;

/// One segment and what it holds.
pub(crate) struct Slot {
    pub(crate) number: u64,
    pub(crate) segment: Arc<Segment>,
    pub(crate) spans: [Option<Span>; 2],
    pub(crate) bytes: u64,
}

impl Slot {
    /// An empty segment.
    pub(crate) fn new(dir: &Path, number: u64) -> Self {
        Self { number, segment: Arc::new(Segment::new(segment_path(dir, number))), spans: [None, None], bytes: 0 }
    }

    fn newest(&self) -> Option<i64> {
        self.spans.iter().flatten().map(|span| span.newest).max()
    }

    /// The receive times that it spans, in microseconds.
    pub(crate) fn age_span(&self) -> i64 {
        let oldest = self.spans.iter().flatten().map(|span| span.oldest).min();
        self.newest().zip(oldest).map_or(0, |(newest, oldest)| newest.saturating_sub(oldest))
    }
}

/// The file of a segment.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.segment"))
}

/// Where to read next.
pub(crate) enum Step {
    /// From memory.
    Tail(Vec<Group>),
    /// From this segment, which holds entries from `from` up to `until`.
    Disk { segment: Arc<Segment>, from: u64, until: u64 },
    /// There is nothing more.
    End,
}

#[derive(Default)]
pub(crate) struct Shelf {
    /// Oldest first; the last one is written to.
    pub(crate) slots: VecDeque<Slot>,
    pub(crate) heads: [u64; 2],
    pub(crate) cursors: Cursors,
    pub(crate) cursors_dirty: bool,
    /// Damaged ranges by lane and first offset.
    damage: BTreeMap<(Lane, u64), (u64, Fault)>,
    damaged_entries: u64,
    tail: [VecDeque<Group>; 2],
    /// How many of a tail's groups, the oldest, have only their records.
    bare: [usize; 2],
    tail_bytes: usize,
    recently_read: VecDeque<u64>,
}

impl Shelf {
    /// The segment that is written to.
    pub(crate) fn active(&mut self) -> Option<&mut Slot> {
        self.slots.back_mut()
    }

    /// Takes note of groups that are durable now in the active segment.
    pub(crate) fn written(&mut self, lane: Lane, groups: &[Group]) {
        let index = lane as usize;
        for group in groups {
            self.heads[index] = group.last;
            if let Some(slot) = self.slots.back_mut() {
                slot.spans[index] = Some(Span::with(slot.spans[index], group));
            }
            self.tail_bytes += group.body.len();
            self.tail[index].push_back(group.clone());
        }
        while let Some(group) = self.tail[index].get_mut(self.bare[index])
            && self.heads[index] - group.last >= TAIL_ENTRIES
        {
            group.entries = None;
            self.bare[index] += 1;
        }
        while self.tail_bytes > TAIL_BYTES {
            // The larger queue shrinks: a flood on one lane never costs more than half of the memory of the other.
            let bytes = |queue: &VecDeque<Group>| queue.iter().map(|group| group.body.len()).sum::<usize>();
            let larger = usize::from(bytes(&self.tail[1]) >= bytes(&self.tail[0]));
            match self.tail[larger].pop_front() {
                Some(group) => {
                    self.tail_bytes -= group.body.len();
                    self.bare[larger] = self.bare[larger].saturating_sub(1);
                }
                None => break,
            }
        }
    }

    /// Forgets what is kept in memory, after a write of unknown outcome.
    pub(crate) fn forget_tail(&mut self) {
        self.tail = Default::default();
        self.bare = [0; 2];
        self.tail_bytes = 0;
    }

    /// Where `next` and what follows it can be read.
    pub(crate) fn step(&mut self, lane: Lane, next: u64, wanted: usize) -> Step {
        let index = lane as usize;
        if next > self.heads[index] {
            return Step::End;
        }
        let tail = &self.tail[index];
        if tail.front().is_some_and(|group| group.first <= next) {
            let start = tail.partition_point(|group| group.last < next);
            let mut entries = 0;
            let groups: Vec<Group> = tail
                .iter()
                .skip(start)
                .take_while(|group| {
                    let more = entries < wanted as u64;
                    entries += group.last + 1 - group.first.max(next);
                    more
                })
                .cloned()
                .collect();
            return Step::Tail(groups);
        }
        let slot = self.slots.iter().find_map(|slot| {
            let span = slot.spans[index].filter(|span| span.last >= next)?;
            Some((slot.number, slot.segment.clone(), span))
        });
        let Some((number, segment, span)) = slot else { return Step::End };
        self.note_read(number);
        Step::Disk { segment, from: next.max(span.first), until: span.last }
    }

    /// Keeps the number of open files bounded.
    fn note_read(&mut self, number: u64) {
        if self.slots.back().is_some_and(|slot| slot.number == number) {
            return;
        }
        self.recently_read.retain(|other| *other != number);
        self.recently_read.push_back(number);
        if self.recently_read.len() > OPEN_SEGMENTS
            && let Some(old) = self.recently_read.pop_front()
            && let Some(slot) = self.slots.iter().find(|slot| slot.number == old)
        {
            slot.segment.release();
        }
    }

    /// Takes note of damage, once. Returns how many entries are newly known to be damaged.
    pub(crate) fn note_damage(&mut self, lane: Lane, first: u64, last: u64, fault: Fault) -> u64 {
        let known = self.damage.range(..=(lane, first)).next_back();
        if known.is_some_and(|((other, _), (known_last, _))| *other == lane && *known_last >= last) {
            return 0;
        }
        self.damage.insert((lane, first), (last, fault));
        while self.damage.len() > JournalStats::MAX_DAMAGE {
            self.damage.pop_first();
        }
        let entries = last + 1 - first;
        self.damaged_entries += entries;
        metrics::counter!("liftline_journal_damaged_entries_total", "lane" => lane.to_string()).increment(entries);
        entries
    }

    /// The offset up to which every consumer of the lane is done; 0 if it has none.
    fn read_up_to(&self, lane: Lane) -> u64 {
        self.cursors.iter().filter(|((_, l), _)| *l == lane).map(|(_, at)| *at).min().unwrap_or(0)
    }

    /// Bytes that a consumer has still to read.
    pub(crate) fn unread_bytes(&self) -> u64 {
        let read = Lane::ALL.map(|lane| self.read_up_to(lane));
        self.slots
            .iter()
            .map(|slot| {
                let (mut held, mut unread) = (0_u128, 0_u128);
                for (span, read) in slot.spans.iter().zip(read) {
                    if let Some(span) = span {
                        held += u128::from(span.bytes);
                        let entries = span.last.saturating_sub(read.max(span.first - 1));
                        unread += u128::from(span.bytes) * u128::from(entries) / u128::from(span.len());
                    }
                }
                u64::try_from(u128::from(slot.bytes) * unread / held.max(1)).unwrap_or(u64::MAX)
            })
            .sum()
    }

    /// The size of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    /// Takes the oldest sealed segment off the shelf, if every consumer is done with all of it and it is older than
    /// `not_before` or the shelf has reached `max_bytes`.
    pub(crate) fn take_oldest(&mut self, not_before: i64, max_bytes: u64) -> Option<Slot> {
        if self.slots.len() < 2 {
            return None;
        }
        let slot = self.slots.front()?;
        let old = slot.newest().is_none_or(|newest| newest < not_before);
        let read = Lane::ALL
            .into_iter()
            .zip(slot.spans)
            .all(|(lane, span)| span.is_none_or(|span| span.last <= self.read_up_to(lane)));
        if !read || !(old || self.bytes() >= max_bytes) {
            return None;
        }
        let slot = self.slots.pop_front();
        for lane in Lane::ALL {
            let first = self.first(lane);
            let tail = &mut self.tail[lane as usize];
            while let Some(group) = tail.pop_front_if(|group| group.last < first) {
                self.tail_bytes -= group.body.len();
            }
        }
        slot
    }

    /// What is to be written to the file of cursors.
    pub(crate) fn noted(&self) -> Noted {
        Noted { cursors: self.cursors.clone(), heads: self.heads }
    }

    /// The first offset of a lane that is still there.
    fn first(&self, lane: Lane) -> u64 {
        let index = lane as usize;
        self.slots.iter().find_map(|slot| slot.spans[index]).map_or(self.heads[index] + 1, |span| span.first)
    }

    /// Everything for people.
    pub(crate) fn stats(&self, max_bytes: u64) -> JournalStats {
        let unread_bytes = self.unread_bytes();
        let consumers: Vec<_> = self
            .cursors
            .iter()
            .map(|((consumer, lane), at)| ConsumerStats {
                consumer: consumer.clone(),
                lane: *lane,
                at: Offset(*at),
                lag: self.heads[*lane as usize].saturating_sub((*at).max(self.first(*lane) - 1)),
            })
            .collect();
        // 80 %: room for hours of backlog at any sensible size, and time to act before intake stops.
        let alarm = (unread_bytes >= max_bytes / 5 * 4).then(|| JournalAlarm {
            unread_bytes,
            max_bytes,
            full: unread_bytes >= max_bytes,
            slowest: consumers.iter().max_by_key(|consumer| consumer.lag).map(|slow| slow.consumer.clone()),
        });
        JournalStats {
            lanes: Lane::ALL
                .into_iter()
                .map(|lane| LaneStats {
                    lane,
                    first: Offset(self.first(lane)),
                    head: Offset(self.heads[lane as usize]),
                    bytes: self.slots.iter().filter_map(|slot| slot.spans[lane as usize]).map(|span| span.bytes).sum(),
                })
                .collect(),
            failing: false,
            consumers,
            bytes: self.bytes(),
            unread_bytes,
            max_bytes,
            segments: self.slots.len(),
            alarm,
            damaged_entries: self.damaged_entries,
            damage: self
                .damage
                .iter()
                .map(|((lane, first), (last, fault))| Damage {
                    lane: *lane,
                    first: Offset(*first),
                    last: Offset(*last),
                    fault: *fault,
                })
                .collect(),
        }
    }
}
