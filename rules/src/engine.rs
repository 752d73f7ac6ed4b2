//! The engine: every device under watch, and the order in which their rules become due.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{Alert, AlertChange, Device, DeviceId, Directory, Entry, ProfileId, Timestamp};

use crate::{
    ruleset::Ruleset,
    snapshot::{self, RestoreError, RestoreReport},
    watch::{NEVER, Step, Watch},
};

/// After a restore: how long the hub may have been away before silence during that time no longer counts.
const AWAY_US: i64 = 120_000_000;

/// Finds what the rules describe on devices.
///
/// The same entries in the same order give the same alerts with the same ids, however often [`Engine::advance`] was
/// called in between. After a crash, entries that were applied since the last snapshot must be applied again in an
/// order in which each device's entries come as they did before.
#[derive(Debug, Default)]
pub struct Engine {
    rulesets: HashMap<ProfileId, Arc<Ruleset>>,
    watches: HashMap<DeviceId, Watch>,
    /// When to come back to which device, by the hub's clock.
    due: BTreeSet<(i64, DeviceId)>,
    /// The hub's time as far as it is known.
    hub: i64,
    /// True from a restore until the journal has been caught up, which the first advance beyond `lived_until` tells.
    restored: bool,
    /// After a restore: up to this hub's time an earlier life listened.
    lived_until: i64,
    /// Alerts of rules that are no more, until their end is reported.
    orphans: Vec<Alert>,
}

impl Engine {
    /// An engine without rules.
    #[must_use]
    pub fn new() -> Self {
        Self { hub: i64::MIN, lived_until: i64::MIN, ..Self::default() }
    }

    /// Adds the rules of a profile, or replaces them. Devices keep what is known of their channels and events.
    /// Alerts of rules that are still there stand on and end by the new rules; those of removed rules end, which is
    /// reported with the next changes.
    pub fn load(&mut self, ruleset: Arc<Ruleset>) {
        for (id, watch) in &mut self.watches {
            if watch.ruleset.profile == ruleset.profile {
                let (next, orphans) = snapshot::migrated(id, watch, &ruleset);
                *watch = next;
                self.orphans.extend(orphans);
            }
        }
        self.rulesets.insert(ruleset.profile.clone(), ruleset);
    }

    /// Takes one entry. Entries of a device whose profile has no rules loaded are ignored.
    pub fn apply(&mut self, device: &Device, entry: &Entry, out: &mut Vec<AlertChange>) {
        let Some(ruleset) = self.rulesets.get(&device.profile) else { return };
        let ruleset = Arc::clone(ruleset);
        self.hear_clock(entry.received_at.as_micros());
        self.report_orphans(out);
        if !self.watches.contains_key(&device.id) {
            self.watches.insert(device.id.clone(), Watch::new(Arc::clone(&ruleset)));
        }
        let Some(watch) = self.watches.get_mut(&device.id) else { return };
        if watch.ruleset.profile != device.profile {
            let scheduled = watch.scheduled;
            *watch = Watch::new(Arc::clone(&ruleset));
            watch.scheduled = scheduled;
        }
        watch.apply(entry, &mut Step { ruleset: &ruleset, device, out });
        schedule(&mut self.due, watch, &device.id, entry.received_at.as_micros());
    }

    /// Lets time pass: silence and holding times end though nothing came. Costs nothing when nothing is due.
    ///
    /// `now` must not be later than the receive time of an entry that is still to be applied: what is waiting in the
    /// journal would look like silence. Call it when the journal has been caught up, or with the receive time of the
    /// last entry applied.
    pub fn advance(&mut self, now: Timestamp, devices: &Directory, out: &mut Vec<AlertChange>) {
        let hub = now.as_micros();
        self.hear_clock(hub);
        self.restored &= hub <= self.lived_until;
        self.report_orphans(out);
        while let Some((at, _)) = self.due.first()
            && *at <= hub
        {
            let Some((_, id)) = self.due.pop_first() else { break };
            let Some(watch) = self.watches.get_mut(&id) else { continue };
            watch.scheduled = None;
            // A device that was taken out of the directory waits until it is heard again.
            let Some(device) = devices.devices.get(&id).filter(|device| device.profile == watch.ruleset.profile) else {
                continue;
            };
            let ruleset = Arc::clone(&watch.ruleset);
            watch.advance(hub, &mut Step { ruleset: &ruleset, device, out });
            schedule(&mut self.due, watch, &id, hub);
        }
    }

    /// How many devices are under watch.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.watches.len()
    }

    /// The alerts that stand, in no order. After a restart an alert that is recorded as open and does not stand here
    /// (its rule was dropped with a snapshot that could not be read) has nobody left to end it.
    pub fn standing(&self) -> impl Iterator<Item = &Alert> {
        self.watches.values().flat_map(Watch::standing)
    }

    /// Everything that is known, for [`Engine::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(self.hub, &self.watches)
    }

    /// Puts back what [`Engine::snapshot`] gave; call [`Engine::load`] for every profile first. If a profile's
    /// version has changed since, what is known of channels and events is kept, holding times begin anew, and alerts
    /// of rules that no longer exist end.
    ///
    /// # Errors
    /// [`RestoreError`] if the bytes are not a snapshot of this version of Liftline; the engine is unchanged then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<RestoreReport, RestoreError> {
        let restored = snapshot::read(bytes, &self.rulesets)?;
        self.hub = restored.hub;
        self.watches = restored.watches;
        self.orphans = restored.orphans;
        self.restored = true;
        self.due.clear();
        for (id, watch) in &mut self.watches {
            schedule(&mut self.due, watch, id, self.hub);
        }
        Ok(restored.report)
    }

    /// After [`Engine::restore`]: an earlier life listened until `until`, though its snapshot is older. Entries and
    /// advances up to then are lived again: silence among them was silence.
    pub fn lived_until(&mut self, until: Timestamp) {
        self.lived_until = until.as_micros();
    }

    fn report_orphans(&mut self, out: &mut Vec<AlertChange>) {
        let at = Timestamp::from_micros(self.hub);
        out.extend(self.orphans.drain(..).map(|alert| snapshot::ended(alert, at)));
    }

    fn hear_clock(&mut self, hub: i64) {
        let listened = self.hub.max(self.lived_until.min(hub));
        if self.restored && hub.saturating_sub(listened) > AWAY_US {
            for watch in self.watches.values_mut() {
                watch.listen_from(hub);
            }
        }
        self.hub = self.hub.max(hub);
    }
}

/// Makes the engine come back to a device when its next rule is due.
fn schedule(due: &mut BTreeSet<(i64, DeviceId)>, watch: &mut Watch, id: &DeviceId, hub: i64) {
    let at = watch.due();
    if at == NEVER {
        return;
    }
    // The estimate moves a little with every message. Coming back a little early, and then again, spares the set a
    // change with each of them.
    let wait = at.saturating_sub(hub).max(0);
    let early = if wait > 10_000 { at - wait / 8 } else { at };
    match watch.scheduled {
        Some(known) if known <= at => {}
        known => {
            if let Some(known) = known {
                due.remove(&(known, id.clone()));
            }
            due.insert((early, id.clone()));
            watch.scheduled = Some(early);
        }
    }
}
