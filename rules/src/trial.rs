//! Trying rules on what was recorded: what they would have raised and cleared, and how that differs from other rules.

use std::{collections::BTreeMap, sync::Arc};

use model::{Alert, AlertChange, AlertId, Device, Directory, Entry, Timestamp};

use crate::{Engine, Ruleset};

/// Runs rules over recorded entries and gives every alert as it ended or still stands, by the time it was raised.
/// Withdrawn alerts are left out. Entries come in the order the hub received them.
#[must_use]
pub fn run<'a>(ruleset: &Arc<Ruleset>, entries: impl IntoIterator<Item = (&'a Device, &'a Entry)>) -> Vec<Alert> {
    let mut engine = Engine::new();
    engine.load(Arc::clone(ruleset));
    let (mut directory, mut changes) = (Directory::default(), Vec::new());
    let mut alerts: BTreeMap<AlertId, Alert> = BTreeMap::new();
    let mut keep = |changes: &mut Vec<AlertChange>| {
        for change in changes.drain(..) {
            let alert = change.alert();
            if alert.evidence.withdrawn {
                alerts.remove(&alert.id);
            } else {
                alerts.insert(alert.id, alert.clone());
            }
        }
    };
    let mut last: Option<Timestamp> = None;
    for (device, entry) in entries {
        if !directory.devices.contains_key(&device.id) {
            directory.devices.insert(device.id.clone(), Arc::new(device.clone()));
        }
        if last.is_none_or(|last| entry.received_at > last) {
            // What became due before this came is found then, as in the hub.
            engine.advance(entry.received_at - std::time::Duration::from_micros(1), &directory, &mut changes);
            last = Some(entry.received_at);
        }
        engine.apply(device, entry, &mut changes);
        keep(&mut changes);
    }
    if let Some(last) = last {
        engine.advance(last + ruleset.lateness() + std::time::Duration::from_millis(1), &directory, &mut changes);
        keep(&mut changes);
    }
    let mut alerts: Vec<_> = alerts.into_values().collect();
    alerts.sort_by(|a, b| (a.raised_at, &a.device, &a.rule).cmp(&(b.raised_at, &b.device, &b.rule)));
    alerts
}

/// How an alert of the rules that are tried stands beside the rules of before.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// Both raise it at the same time and end it at the same time.
    Same(Alert),
    /// Only the rules that are tried raise it.
    Added(Alert),
    /// Only the rules of before raised it.
    Gone(Alert),
    /// Both raise it, but it ends at another time: as before, as tried.
    Ends(Box<Alert>, Box<Alert>),
}

impl Difference {
    /// The alert: as tried, where the rules that are tried raise it.
    #[must_use]
    pub fn alert(&self) -> &Alert {
        match self {
            Self::Same(alert) | Self::Added(alert) | Self::Gone(alert) => alert,
            Self::Ends(_, alert) => alert,
        }
    }
}

/// What [`run`] gave for the rules of before and for those that are tried, side by side, by the time of raising.
#[must_use]
pub fn compare(before: Vec<Alert>, tried: Vec<Alert>) -> Vec<Difference> {
    let mut before: BTreeMap<AlertId, Alert> = before.into_iter().map(|alert| (alert.id, alert)).collect();
    let mut all: Vec<Difference> = tried
        .into_iter()
        .map(|alert| match before.remove(&alert.id) {
            None => Difference::Added(alert),
            Some(old) if old.cleared_at == alert.cleared_at => Difference::Same(alert),
            Some(old) => Difference::Ends(Box::new(old), Box::new(alert)),
        })
        .collect();
    all.extend(before.into_values().map(Difference::Gone));
    all.sort_by(|a, b| {
        let key = |difference: &Difference| {
            let alert = difference.alert();
            (alert.raised_at, alert.device.clone(), alert.rule.clone())
        };
        key(a).cmp(&key(b))
    });
    all
}
