//! What devices of the same profile at the same site tell of themselves, for `peers(x, "1d")`: each device against the
//! others.
//!
//! When a device's window comes to a new sixteenth, the mean of the fifteen before is put down for that sixteenth. A device
//! that comes to sixteenth `k` asks what the others put down for `k - 1`: by then each that reports has done so, whatever
//! the order in which messages of several devices arrive. So the answer depends on event time alone.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use model::{DeviceId, ProfileId, SiteId};
use serde::{Deserialize, Serialize};

/// How many others must have told something for a device to be compared with them.
const LEAST: usize = 3;
/// How many sixteenths are kept of a device.
const KEPT: usize = 3;

/// A window over a number, on the devices of one profile at one site.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) site: SiteId,
    pub(crate) profile: ProfileId,
    /// The window as it is compiled.
    pub(crate) window: Arc<str>,
}

/// What a device puts down.
#[derive(Debug, Clone)]
pub(crate) struct Mean {
    pub(crate) group: Group,
    /// The sixteenth that began.
    pub(crate) part: i64,
    /// The mean of the window before it.
    pub(crate) mean: f64,
}

/// What every device has put down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(HashMap<Group, BTreeMap<DeviceId, Vec<(i64, f64)>>>);

impl Peers {
    /// Puts down what a device tells.
    pub(crate) fn take(&mut self, means: impl Iterator<Item = Mean>, device: &DeviceId) {
        for Mean { group, part, mean } in means {
            let told = self.0.entry(group).or_default().entry(device.clone()).or_default();
            told.retain(|(other, _)| *other != part);
            told.push((part, mean));
            if told.len() > KEPT {
                told.remove(0);
            }
        }
    }

    /// The median of what the other devices put down for a sixteenth; `None` if fewer than three did.
    pub(crate) fn median(&self, group: &Group, device: &DeviceId, part: i64) -> Option<f64> {
        let others = self.0.get(group)?.iter().filter(|(other, _)| *other != device);
        let told = |(_, told): (_, &Vec<(i64, f64)>)| told.iter().find(|(at, _)| *at == part).map(|(_, mean)| *mean);
        let mut means: Vec<f64> = others.filter_map(told).collect();
        if means.len() < LEAST {
            return None;
        }
        means.sort_unstable_by(f64::total_cmp);
        let middle = means.len() / 2;
        Some(if means.len().is_multiple_of(2) {
            f64::midpoint(means[middle - 1], means[middle])
        } else {
            means[middle]
        })
    }

    /// What a snapshot keeps, in order.
    pub(crate) fn saved(&self) -> Saved {
        let sorted: BTreeMap<_, _> = self.0.iter().collect();
        sorted.into_iter().map(|(group, told)| (group.clone(), told.clone())).collect()
    }

    /// Puts back what [`Peers::saved`] gave.
    pub(crate) fn of(saved: Saved) -> Self {
        Self(saved.into_iter().collect())
    }
}

/// What a snapshot keeps of peers.
pub(crate) type Saved = Vec<(Group, BTreeMap<DeviceId, Vec<(i64, f64)>>)>;
