//! How a stretch of the journal is shared out among transactions.

use std::sync::Arc;

use journal::Offset;
use model::{Body, DeviceId, Entry};

/// Entries with their places in their lane.
type Stretch = Vec<(Offset, Arc<Entry>)>;

/// Shares a stretch out among at most `writers`. What one transaction can hold (`whole` entries) stays as it came; more is sorted
/// by device. All entries of a device are in one share, and so are all rejects, in the order in which they came: rows
/// that are merged and counts that go on from an offset need no more than that.
pub(super) fn share_out(mut entries: Stretch, writers: usize, whole: usize) -> Vec<Stretch> {
    if entries.len() <= whole {
        return vec![entries];
    }
    entries.sort_by(|(_, a), (_, b)| key(a).cmp(&key(b)));
    let mut shares = Vec::with_capacity(writers);
    for left in (2..=writers).rev() {
        let fair = entries.len() / left;
        let cut = (fair.max(1)..entries.len()).find(|&at| key(&entries[at - 1].1) != key(&entries[at].1));
        let Some(cut) = cut else { break };
        let rest = entries.split_off(cut);
        shares.push(std::mem::replace(&mut entries, rest));
    }
    shares.push(entries);
    shares
}

/// Rejects first, whoever sent them; then by device.
fn key(entry: &Entry) -> Option<&DeviceId> {
    match &entry.body {
        Body::Reject(_) => None,
        Body::Sample(_) | Body::Event(_) | Body::Status(_) | Body::CommandResult(_) | Body::Emergency(_) => {
            entry.device.as_ref()
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Reject, RejectReason, Sample, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn entry(device: u8, reject: bool) -> Arc<Entry> {
        let time = Timestamp::from_micros(0);
        let body = if reject {
            let reason = RejectReason::UnknownDevice;
            Body::Reject(Reject { topic: String::new(), reason, detail: String::new(), payload: Vec::new(), parts: 1 })
        } else {
            Body::Sample(Sample { time, seq: None, values: Vec::new() })
        };
        let device = DeviceId::new(&format!("lift-{device}")).expect("a device id");
        Arc::new(Entry { device: Some(device), received_at: time, body })
    }

    proptest! {
        #[test]
        fn shares_hold_everything_once_in_order_and_no_device_twice(
            sent in prop::collection::vec((0_u8..6, prop::bool::weighted(0.2)), 0..60), writers in 1_usize..4,
        ) {
            let stretch: Stretch =
                (1..).map(Offset).zip(sent.iter().map(|(device, reject)| entry(*device, *reject))).collect();
            let shares = share_out(stretch.clone(), writers, 5);
            prop_assert!(shares.len() <= writers.max(1));
            let mut all: Vec<_> = shares.iter().flatten().map(|(offset, _)| *offset).collect();
            all.sort();
            prop_assert_eq!(all, stretch.iter().map(|(offset, _)| *offset).collect::<Vec<_>>());
            for device in 0..6 {
                for reject in [true, false] {
                    let of: Vec<(usize, Offset)> = shares.iter().enumerate().flat_map(|(share, entries)| {
                        entries.iter().filter(|(_, e)| {
                            matches!(e.body, Body::Reject(_)) == reject && e.device == entry(device, false).device
                        }).map(move |(offset, _)| (share, *offset))
                    }).collect();
                    prop_assert!(of.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1));
                }
            }
        }
    }

    #[test]
    fn what_one_transaction_holds_stays_as_it_came() {
        let stretch: Stretch = vec![(Offset(1), entry(2, false)), (Offset(2), entry(1, false))];
        assert_eq!(share_out(stretch.clone(), 2, 2), [stretch]);
    }

    #[test]
    fn two_writers_share_a_backlog_evenly() {
        let stretch: Stretch =
            (1..=100).map(|n| (Offset(n), entry(u8::try_from(n % 10).expect("small"), false))).collect();
        let lengths: Vec<_> = share_out(stretch, 2, 10).iter().map(Vec::len).collect();
        assert_eq!(lengths, [50, 50]);
    }
}
