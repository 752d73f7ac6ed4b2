//! How entries become bytes: groups of records, each with a format version and a checksum of its own.
//!
//! A group is what one commit adds to one lane (long ones are split). Its header names the lane, the first offset
//! and the length of every record and has its own checksum, so that a damaged record never hides its neighbours:
//!
//! ```text
//! header   version u8 · lane u8 · first offset u64 · count u32 · length u32 × count · crc32 u32
//! record   crc32 u32 · format version u8 · entry in postcard          (count times)
//! ```
//!
//! Integers are little-endian. The checksum is CRC-32 (IEEE 802.3): it finds every burst of up to 32 bits.

use std::sync::Arc;

use model::{Entry, Lane};

mod first;

/// Version of the group's layout.
const GROUP_VERSION: u8 = 1;
/// Version of the entry's encoding: raised whenever `model::entry` changes.
const ENTRY_VERSION: u8 = 2;
/// Bytes before the table of lengths.
const FIXED: usize = 1 + 1 + 8 + 4;
/// The most records in one group: bounds what one read has to load.
pub(crate) const MAX_GROUP: usize = 1000;

/// Entries of one append and one lane, encoded but without offsets yet.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    lengths: Vec<u32>,
    records: Vec<u8>,
    /// What the records were made from, for readers who come soon.
    entries: Vec<Arc<Entry>>,
    /// Receive times of the oldest and newest entry, in microseconds.
    received: Option<(i64, i64)>,
}

impl Encoded {
    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// How many bytes of records.
    pub(crate) fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Adds one entry.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) -> Result<(), postcard::Error> {
        let start = self.records.len();
        let mut records = std::mem::take(&mut self.records);
        records.extend_from_slice(&[0; 4]);
        records.push(ENTRY_VERSION);
        // If this fails the buffer is gone, and with it the whole append.
        self.records = postcard::to_extend(&*entry, records)?;
        let crc = crc32fast::hash(&self.records[start + 4..]);
        self.records[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        self.lengths.push(u32::try_from(self.records.len() - start).map_err(|_| postcard::Error::SerializeBufferFull)?);
        let at = entry.received_at.as_micros();
        self.received = Some(self.received.map_or((at, at), |(oldest, newest)| (oldest.min(at), newest.max(at))));
        self.entries.push(entry);
        Ok(())
    }

    /// Adds everything of another batch.
    pub(crate) fn join(&mut self, other: &Self) {
        self.entries.extend_from_slice(&other.entries);
        self.lengths.extend_from_slice(&other.lengths);
        self.records.extend_from_slice(&other.records);
        self.received = match (self.received, other.received) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    /// The bodies of the groups that hold these entries from offset `first` on, each with its first offset.
    pub(crate) fn groups(&self, lane: Lane, mut first: u64) -> Vec<Group> {
        let mut start = 0;
        self.lengths
            .chunks(MAX_GROUP)
            .zip(self.entries.chunks(MAX_GROUP))
            .map(|(lengths, entries)| {
                let end = start + lengths.iter().map(|length| *length as usize).sum::<usize>();
                let mut body = Vec::with_capacity(FIXED + lengths.len() * 4 + 4 + (end - start));
                body.extend_from_slice(&[GROUP_VERSION, lane_code(lane)]);
                body.extend_from_slice(&first.to_le_bytes());
                body.extend_from_slice(&u32::try_from(lengths.len()).unwrap_or(u32::MAX).to_le_bytes());
                for length in lengths {
                    body.extend_from_slice(&length.to_le_bytes());
                }
                body.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
                body.extend_from_slice(&self.records[start..end]);
                start = end;
                let last = first + lengths.len() as u64 - 1;
                let received = self.received.unwrap_or_default();
                let group = Group { first, last, received, body: body.into(), entries: Some(entries.into()) };
                first = group.last + 1;
                group
            })
            .collect()
    }
}

/// One group as it lies in the store.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Offset of its first entry.
    pub(crate) first: u64,
    /// Offset of its last entry.
    pub(crate) last: u64,
    /// Receive times of the oldest and newest entry of its commit, in microseconds.
    pub(crate) received: (i64, i64),
    /// The bytes.
    pub(crate) body: Arc<[u8]>,
    /// Its entries, while it is one of the newest in memory.
    pub(crate) entries: Option<Arc<[Arc<Entry>]>>,
}

/// What is wrong with a piece of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A checksum does not match.
    Checksum,
    /// It was written by a later version of the hub.
    Version,
    /// The bytes are intact and yet not an entry.
    Undecodable,
    /// The embedded store lost it: a damaged page or file.
    Lost,
}

fn lane_code(lane: Lane) -> u8 {
    match lane {
        Lane::Events => 0,
        Lane::Telemetry => 1,
    }
}

/// The last offset of a group whose body is at hand: as its header says, if the header is intact.
pub(crate) fn last_of(first: u64, column: u64, body: &[u8]) -> u64 {
    let claimed = column.clamp(first, first.saturating_add(MAX_GROUP as u64 - 1));
    match header(body) {
        Ok((count, _)) if count > 0 => first.saturating_add(count as u64 - 1),
        Ok(_) | Err(_) => claimed,
    }
}

/// The number of records and where the table of lengths ends, if the header is intact.
fn header(body: &[u8]) -> Result<(usize, usize), Fault> {
    let count = body.get(10..FIXED).ok_or(Fault::Checksum)?;
    let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]) as usize;
    let table = FIXED + count.min(body.len()) * 4;
    let crc = body.get(table..table + 4).ok_or(Fault::Checksum)?;
    if crc32fast::hash(&body[..table]).to_le_bytes() != *crc {
        return Err(Fault::Checksum);
    }
    if body[0] == GROUP_VERSION { Ok((count, table)) } else { Err(Fault::Version) }
}

/// The records of a group: each a slice of its bytes, in order, or the fault of the whole group.
pub(crate) fn records(lane: Lane, group: &Group) -> Result<Vec<&[u8]>, Fault> {
    let body = &group.body;
    let (count, table) = header(body)?;
    if body[1] != lane_code(lane)
        || body[2..10] != group.first.to_le_bytes()
        || count as u64 != group.last + 1 - group.first
    {
        return Err(Fault::Checksum);
    }
    let mut start = table + 4;
    body[FIXED..table]
        .chunks_exact(4)
        .map(|length| {
            let end = start + u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
            let record = body.get(start..end).ok_or(Fault::Checksum)?;
            start = end;
            Ok(record)
        })
        .collect()
}

/// Checks one record without decoding it. Returns its format version and its bytes.
pub(crate) fn check(record: &[u8]) -> Result<(u8, &[u8]), Fault> {
    let (crc, rest) = record.split_at_checked(4).ok_or(Fault::Checksum)?;
    if crc32fast::hash(rest).to_le_bytes() != *crc {
        return Err(Fault::Checksum);
    }
    match rest.split_first() {
        Some((version @ &(first::VERSION | ENTRY_VERSION), payload)) => Ok((*version, payload)),
        Some(_) => Err(Fault::Version),
        None => Err(Fault::Checksum),
    }
}

/// Decodes one record.
pub(crate) fn decode(record: &[u8]) -> Result<Entry, Fault> {
    match check(record)? {
        (first::VERSION, payload) => first::decode(payload),
        (_, payload) => postcard::from_bytes(payload),
    }
    .map_err(|_| Fault::Undecodable)
}

#[cfg(test)]
mod tests {
    use model::{Body, DeviceId, Sample, Timestamp, Value};

    use super::*;

    fn entry(n: i64) -> Entry {
        Entry {
            device: Some(DeviceId::new("lift-1").unwrap()),
            received_at: Timestamp::from_secs(n),
            body: Body::Sample(Sample {
                time: Timestamp::from_secs(n),
                seq: Some(7),
                values: vec![("speed".parse().unwrap(), Value::Number(0.1 * 3.0))],
            }),
        }
    }

    fn group() -> Group {
        let mut batch = Encoded::default();
        for n in 0..5 {
            batch.push(entry(n).into()).unwrap();
        }
        assert_eq!(batch.received, Some((0, 4_000_000)));
        batch.groups(Lane::Telemetry, 11).remove(0)
    }

    #[test]
    fn a_group_round_trips() {
        let group = group();
        assert_eq!((group.first, group.last), (11, 15));
        let entries: Vec<_> =
            records(Lane::Telemetry, &group).unwrap().into_iter().map(|record| decode(record).unwrap()).collect();
        assert_eq!(entries, (0..5).map(entry).collect::<Vec<_>>());
        assert_eq!(records(Lane::Events, &group), Err(Fault::Checksum), "a group belongs to its lane");
    }

    #[test]
    fn any_flipped_bit_costs_at_most_its_record_or_is_noticed() {
        let whole = group();
        let header = FIXED + 5 * 4 + 4;
        for at in 0..whole.body.len() {
            let mut body = whole.body.to_vec();
            body[at] ^= 0x10;
            let damaged = Group { body: body.into(), ..whole.clone() };
            match records(Lane::Telemetry, &damaged) {
                Err(_) => assert!(at < header, "byte {at} is not in the header"),
                Ok(records) => {
                    let bad = records.iter().filter(|record| decode(record).is_err()).count();
                    assert_eq!((records.len(), bad), (5, 1), "byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_later_format_is_told_apart_from_damage() {
        let mut record = vec![0, 0, 0, 0, ENTRY_VERSION + 1, 1, 2, 3];
        let crc = crc32fast::hash(&record[4..]).to_le_bytes();
        record[..4].copy_from_slice(&crc);
        assert_eq!(decode(&record), Err(Fault::Version));
    }

    #[test]
    fn long_batches_are_split_into_groups() {
        let mut batch = Encoded::default();
        for n in 0..2500 {
            batch.push(entry(n).into()).unwrap();
        }
        let groups = batch.groups(Lane::Events, 1);
        assert_eq!(
            groups.iter().map(|group| (group.first, group.last)).collect::<Vec<_>>(),
            [(1, 1000), (1001, 2000), (2001, 2500)]
        );
    }
}
