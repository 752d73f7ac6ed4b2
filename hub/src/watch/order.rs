//! In which order the watch takes entries, and how a later life takes them in the same.
//!
//! As a rule the lanes are merged by the time of receipt. That order can be worked out again after a crash, but the
//! watch cannot always keep to it: an event does not wait for a backlog of telemetry, a batch may become durable in one
//! lane before the other, and the clock is looked at before something arrives that was received earlier. Where it was
//! not kept there is a [`Seam`]. Seams are committed together with what was found, so that reading again finds the same.

use std::{collections::VecDeque, sync::Arc};

use journal::Offset;
use model::{Entry, Lane, Timestamp};
use serde::{Deserialize, Serialize};

/// How many seams may gather before the engines' state is saved: bounds what each commit writes.
const LONG: usize = 2000;

/// What is waiting in a lane.
pub(super) struct Waiting {
    /// In the order of the lane.
    pub(super) entries: Vec<(Offset, Arc<Entry>)>,
    /// True if there may be more behind the last.
    pub(super) more: bool,
}

/// An entry to take: the index of its lane, and where it stands there.
pub(super) type Taken = (usize, Offset, Arc<Entry>);

/// The waiting entries in the order to take them; each lane keeps its own order.
///
/// If there is a backlog, the urgent lane goes first, unless `strictly` the order of receipt matters more: then only
/// what is surely next is taken.
pub(super) fn in_order(lanes: [Waiting; 2], strictly: bool) -> Vec<Taken> {
    let backlog = lanes.iter().any(|lane| lane.more);
    let more = [lanes[0].more, lanes[1].more];
    let mut lanes = lanes.map(|lane| VecDeque::from(lane.entries));
    let mut taken = Vec::with_capacity(lanes[0].len() + lanes[1].len());
    loop {
        let next = match (lanes[0].front(), lanes[1].front()) {
            (None, None) => return taken,
            (Some((_, event)), Some((_, sample))) if strictly || !backlog => {
                usize::from(event.received_at > sample.received_at)
            }
            (Some(_), Some(_)) => 0,
            // What the other lane holds behind its last entry may have been received before.
            (Some(_), None) if strictly && more[1] => return taken,
            (None, Some(_)) if strictly && more[0] => return taken,
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
        };
        taken.extend(lanes[next].pop_front().map(|(offset, entry)| (next, offset, entry)));
    }
}

/// A place at which a stretch of entries ends that were taken in the order of receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seam {
    /// The last entry of each lane before it.
    pub(super) at: [Offset; 2],
    /// When the clock was last looked at before it, if it was since the seam before.
    pub(super) looked: Option<Timestamp>,
    /// True if this was the first look of a life: how long the hub had been away shows in it.
    pub(super) first: bool,
}

/// The seams since the engines' state was last saved.
#[derive(Debug, Default)]
pub(super) struct Trail {
    seams: VecDeque<Seam>,
    /// How many of them this life has reached. It reads anew only behind the last.
    reached: usize,
    /// The last entry since the seam, as the order of receipt has it.
    last: Option<(Timestamp, usize, Offset)>,
    /// When the clock was looked at since the seam.
    looked: Option<Timestamp>,
    /// True once this life has looked at the clock.
    awake: bool,
}

impl Trail {
    /// The trail of an earlier life; a fresh one if the bytes are none.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, postcard::Error> {
        Ok(Self { seams: postcard::from_bytes(bytes)?, ..Self::default() })
    }

    /// What [`Trail::read`] reads.
    pub(super) fn write(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.seams).expect("plain data is always written to memory")
    }

    /// The seam of an earlier life that is to be reached next; `None` once its order has been followed to the end.
    pub(super) fn ahead(&self) -> Option<&Seam> {
        self.seams.get(self.reached)
    }

    /// Every entry up to the seam ahead has been taken.
    pub(super) fn reach(&mut self) {
        self.reached += 1;
    }

    /// The latest time at which the life that saved the state is known to have looked at the clock.
    pub(super) fn lived_until(&self) -> Option<Timestamp> {
        self.seams.iter().take_while(|seam| !seam.first).filter_map(|seam| seam.looked).max()
    }

    /// True if what comes now was first seen by a hub that had just started: by this life, or by an earlier one.
    pub(super) fn begins_life(&self) -> bool {
        self.ahead().is_none_or(|seam| seam.first)
    }

    /// An entry is about to be taken after everything up to `at`.
    pub(super) fn take(&mut self, lane: usize, offset: Offset, received_at: Timestamp, at: [Offset; 2]) {
        if self.ahead().is_some() {
            return;
        }
        let place = (received_at, lane, offset);
        if self.last.is_some_and(|last| place < last) || self.looked.is_some_and(|looked| received_at <= looked) {
            self.end_stretch(at, false);
        }
        self.last = Some(self.last.map_or(place, |last| last.max(place)));
    }

    /// The clock is looked at after everything up to `at`.
    pub(super) fn look(&mut self, now: Timestamp, at: [Offset; 2]) {
        self.looked = Some(self.looked.map_or(now, |looked| looked.max(now)));
        if !std::mem::replace(&mut self.awake, true) {
            self.end_stretch(at, true);
        }
    }

    /// What was found up to `at` is about to be committed: it must be found again exactly so.
    pub(super) fn commit(&mut self, at: [Offset; 2]) {
        if self.ahead().is_none() && (self.last.is_some() || self.looked.is_some()) {
            self.end_stretch(at, false);
        }
    }

    fn end_stretch(&mut self, at: [Offset; 2], first: bool) {
        self.seams.push_back(Seam { at, looked: self.looked.take(), first });
        self.reached = self.seams.len();
        self.last = None;
    }

    /// What is left of it once the state as it is now has been saved.
    pub(super) fn rest(&self) -> Self {
        let seams = self.seams.iter().skip(self.reached).copied().collect();
        Self { seams, awake: self.awake, ..Self::default() }
    }

    /// True if it is time to save the state for the trail's sake.
    pub(super) fn is_long(&self) -> bool {
        self.reached >= LONG
    }
}

/// The index of each lane in [`Lane::ALL`], which the pairs of this module follow.
pub(super) const EVENTS: usize = Lane::Events as usize;

#[cfg(test)]
mod tests {
    use model::{Body, DeviceId, Status};

    use super::*;

    fn lane(times: impl IntoIterator<Item = i64>, more: bool) -> Waiting {
        let entry = |ms| Entry {
            device: DeviceId::new("lift-1").ok(),
            received_at: Timestamp::from_millis(ms),
            body: Body::Status(Status { time: Timestamp::from_millis(ms), online: true }),
        };
        let entries = times.into_iter().zip(1..).map(|(ms, offset)| (Offset(offset), Arc::new(entry(ms)))).collect();
        Waiting { entries, more }
    }

    fn taken(lanes: [Waiting; 2], strictly: bool) -> Vec<(usize, i64)> {
        in_order(lanes, strictly).into_iter().map(|(lane, _, entry)| (lane, entry.received_at.as_millis())).collect()
    }

    #[test]
    fn lanes_are_merged_as_entries_came() {
        let lanes = [lane([2, 5], false), lane([1, 3, 5], false)];
        assert_eq!(taken(lanes, false), [(1, 1), (0, 2), (1, 3), (0, 5), (1, 5)]);
    }

    #[test]
    fn an_event_does_not_wait_behind_a_backlog() {
        assert_eq!(taken([lane([9000], false), lane(0..500, true)], false)[0], (0, 9000));
    }

    #[test]
    fn reading_again_keeps_the_order_and_takes_only_what_is_surely_next() {
        let taken = taken([lane([3, 9000], false), lane(0..500, true)], true);
        assert_eq!(taken.len(), 501, "the event of 9000 waits for the telemetry before it");
        assert_eq!(taken[4], (1, 3));
        assert_eq!(taken.iter().position(|(lane, _)| *lane == 0), Some(3));
    }

    /// Two connections may swap their messages on the way to the journal, and a clock may be put back.
    #[test]
    fn each_lane_keeps_its_own_order_whatever_the_clock_says() {
        let lanes = [lane([], false), lane([5, 3, 9], false)];
        assert_eq!(taken(lanes, false), [(1, 5), (1, 3), (1, 9)]);
        let lanes = [lane([4], false), lane([5, 3, 9], true)];
        assert_eq!(taken(lanes, true), [(0, 4), (1, 5), (1, 3), (1, 9)]);
    }

    fn walk(trail: &mut Trail, entries: &[(usize, u64, i64)]) {
        let mut at = [Offset::START; 2];
        for (lane, offset, ms) in entries {
            trail.take(*lane, Offset(*offset), Timestamp::from_millis(*ms), at);
            at[*lane] = Offset(*offset);
        }
    }

    #[test]
    fn a_seam_is_where_the_order_of_receipt_was_not_kept() {
        let mut trail = Trail::default();
        walk(&mut trail, &[(0, 1, 10), (1, 1, 10), (1, 2, 12)]);
        assert!(trail.seams.is_empty());
        walk(&mut trail, &[(0, 1, 20), (1, 1, 19)]);
        assert_eq!(trail.seams, [Seam { at: [Offset(1), Offset::START], looked: None, first: false }]);
        let ms = Timestamp::from_millis;
        trail.look(ms(30), [Offset(1); 2]);
        assert_eq!(trail.seams[1], Seam { at: [Offset(1); 2], looked: Some(ms(30)), first: true });
        trail.look(ms(31), [Offset(1); 2]);
        trail.take(1, Offset(2), ms(32), [Offset(1); 2]);
        assert_eq!(trail.seams.len(), 2, "looking at the clock in time changes nothing");
        trail.look(ms(40), [Offset(1), Offset(2)]);
        trail.take(1, Offset(3), ms(40), [Offset(1), Offset(2)]);
        assert_eq!(trail.seams[2], Seam { at: [Offset(1), Offset(2)], looked: Some(ms(40)), first: false });
        trail.take(1, Offset(4), ms(39), [Offset(1), Offset(3)]);
        assert_eq!(trail.seams.len(), 4);
    }

    #[test]
    fn how_long_each_life_listened_is_known() {
        let (ms, at) = (Timestamp::from_millis, |n| [Offset(n); 2]);
        let mut trail = Trail { awake: true, ..Trail::default() };
        trail.look(ms(10), at(1));
        trail.commit(at(1));
        let mut second = Trail::read(&trail.write()).unwrap();
        assert_eq!(second.lived_until(), Some(ms(10)));
        assert!(!second.begins_life());
        second.reach();
        assert!(second.begins_life());
        second.look(ms(500), at(2));
        second.look(ms(510), at(2));
        second.commit(at(2));
        let mut third = Trail::read(&second.write()).unwrap();
        assert_eq!(third.lived_until(), Some(ms(10)), "the second life began later");
        third.reach();
        assert!(third.begins_life());
        third.reach();
        assert!(!third.begins_life());
        third.reach();
        assert!(third.begins_life());
    }

    #[test]
    fn a_later_life_follows_the_trail_and_then_makes_its_own() {
        let mut trail = Trail::default();
        trail.take(0, Offset(1), Timestamp::from_millis(20), [Offset::START; 2]);
        trail.commit([Offset(1), Offset::START]);
        trail.commit([Offset(1), Offset::START]);
        assert_eq!(trail.seams.len(), 1, "nothing happened in between");
        let mut again = Trail::read(&trail.write()).unwrap();
        assert_eq!(again.ahead(), Some(&Seam { at: [Offset(1), Offset::START], looked: None, first: false }));
        again.take(0, Offset(1), Timestamp::from_millis(20), [Offset::START; 2]);
        again.commit([Offset(1), Offset::START]);
        assert_eq!(again.seams, trail.seams, "what is lived again leaves no new trail");
        assert_eq!(again.rest().seams.len(), 1);
        again.reach();
        assert_eq!(again.ahead(), None);
        assert_eq!(again.rest().seams.len(), 0);
        again.take(1, Offset(1), Timestamp::from_millis(10), [Offset(1), Offset::START]);
        again.commit([Offset(1), Offset(1)]);
        assert_eq!(again.seams.len(), 2);
    }
}
