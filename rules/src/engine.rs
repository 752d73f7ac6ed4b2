//! The engine: every device under watch, and the order in which their rules become due.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{Alert, AlertChange, Device, DeviceId, Directory, Entry, ProfileId, Timestamp};

use crate::{
    device::{Place, Tracked},
    peers::Peers,
    progress::NEVER,
    reported::Reported,
    ruleset::Ruleset,
    snapshot::{self, RestoreError, RestoreReport},
    watch::{Step, Watch},
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
    tracked: HashMap<DeviceId, Tracked>,
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
    peers: Peers,
    late: Vec<Late>,
    counts: Counts,
}

/// How many messages that came too late are kept until [`Engine::take_late`] is called; the rest is only counted.
const MAX_LATE: usize = 256;

/// A message that came too late to be taken in its place: what it said counts from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Whose it was.
    pub device: DeviceId,
    /// What it spoke of, in event time.
    pub time: Timestamp,
    /// When it was received.
    pub received_at: Timestamp,
    /// By how much it missed the lateness of its profile.
    pub by: std::time::Duration,
}

/// What the engine has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries of devices with rules.
    pub entries: u64,
    /// Those of them that came too late to be taken in their place.
    pub late: u64,
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
        for (id, tracked) in &mut self.tracked {
            if tracked.settled.ruleset.profile == ruleset.profile {
                let (next, orphans) = snapshot::migrated(id, tracked, &ruleset.on(id));
                *tracked = next;
                self.orphans.extend(orphans);
            }
        }
        self.rulesets.insert(ruleset.profile.clone(), ruleset);
    }

    /// Takes one entry. Entries of a device whose profile has no rules loaded are ignored.
    pub fn apply(&mut self, device: &Device, entry: &Entry, out: &mut Vec<AlertChange>) {
        let Some(ruleset) = self.rulesets.get(&device.profile) else { return };
        let ruleset = ruleset.on(&device.id);
        self.hear_clock(entry.received_at.as_micros());
        self.report_orphans(out);
        if !self.tracked.contains_key(&device.id) {
            self.tracked.insert(device.id.clone(), Tracked::new(Watch::new(Arc::clone(&ruleset))));
        }
        let Some(tracked) = self.tracked.get_mut(&device.id) else { return };
        if tracked.settled.ruleset.profile != device.profile {
            let scheduled = tracked.scheduled;
            *tracked = Tracked::new(Watch::new(Arc::clone(&ruleset)));
            tracked.scheduled = scheduled;
        }
        let reported = Reported::new(entry, &ruleset);
        let said = reported.said;
        self.counts.entries += 1;
        let place = tracked.apply(reported, &mut Step { ruleset: &ruleset, device, peers: &self.peers, out });
        self.peers.take(tracked.settled.tells.drain(..), &device.id);
        if let Place::Late(by) = place {
            self.counts.late += 1;
            if self.late.len() < MAX_LATE {
                self.late.push(Late {
                    device: device.id.clone(),
                    time: said.map_or(entry.received_at, |said| Timestamp::from_micros(said.at)),
                    received_at: entry.received_at,
                    by: std::time::Duration::from_micros(by.unsigned_abs()),
                });
            }
        }
        schedule(&mut self.due, tracked, &device.id, entry.received_at.as_micros());
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
            let Some(tracked) = self.tracked.get_mut(&id) else { continue };
            tracked.scheduled = None;
            // A device that was taken out of the directory waits until it is heard again.
            let Some(device) =
                devices.devices.get(&id).filter(|device| device.profile == tracked.settled.ruleset.profile)
            else {
                continue;
            };
            let ruleset = Arc::clone(&tracked.settled.ruleset);
            tracked.advance(hub, &mut Step { ruleset: &ruleset, device, peers: &self.peers, out });
            self.peers.take(tracked.settled.tells.drain(..), &id);
            schedule(&mut self.due, tracked, &id, hub);
        }
    }

    /// How many devices are under watch.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.tracked.len()
    }

    /// What was done since the engine was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// About how much memory the devices under watch take, in bytes: together, and the one that takes most.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        self.tracked.values().map(Tracked::bytes).fold((0, 0), |(sum, most), bytes| (sum + bytes, most.max(bytes)))
    }

    /// The messages that came too late since this was asked last, at most a few hundred.
    pub fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }

    /// The alerts that stand, in no order. After a restart an alert that is recorded as open and does not stand here
    /// (its rule was dropped with a snapshot that could not be read) has nobody left to end it.
    pub fn standing(&self) -> impl Iterator<Item = &Alert> {
        self.tracked.values().flat_map(Tracked::standing)
    }

    /// Everything that is known, for [`Engine::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(self.hub, &self.tracked, &self.peers)
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
        self.tracked = restored.tracked;
        self.orphans = restored.orphans;
        self.peers = restored.peers;
        self.restored = true;
        self.due.clear();
        for (id, tracked) in &mut self.tracked {
            schedule(&mut self.due, tracked, id, self.hub);
        }
        Ok(restored.report)
    }

    /// After [`Engine::restore`]: the life that left the snapshot listened until `until`. Entries and advances up to
    /// then are lived again: silence among them was silence.
    pub fn lived_until(&mut self, until: Timestamp) {
        self.lived_until = until.as_micros();
    }

    /// What is applied from here on was not seen by the life before: if the clock now jumps, the hub was away.
    pub fn resume(&mut self) {
        self.restored = true;
    }

    fn report_orphans(&mut self, out: &mut Vec<AlertChange>) {
        let at = Timestamp::from_micros(self.hub);
        out.extend(self.orphans.drain(..).map(|alert| snapshot::ended(alert, at)));
    }

    fn hear_clock(&mut self, hub: i64) {
        let listened = self.hub.max(self.lived_until.min(hub));
        if self.restored && hub.saturating_sub(listened) > AWAY_US {
            for tracked in self.tracked.values_mut() {
                tracked.settled.listen_from(hub);
            }
        }
        self.hub = self.hub.max(hub);
    }
}

/// Makes the engine come back to a device when its next rule is due.
fn schedule(due: &mut BTreeSet<(i64, DeviceId)>, tracked: &mut Tracked, id: &DeviceId, hub: i64) {
    let at = tracked.due();
    if at == NEVER {
        return;
    }
    // The estimate moves a little with every message. Coming back a little early, and then again, spares the set a
    // change with each of them.
    let wait = at.saturating_sub(hub).max(0);
    let early = if wait > 10_000 { at - wait / 8 } else { at };
    match tracked.scheduled {
        Some(known) if known <= at => {}
        known => {
            if let Some(known) = known {
                due.remove(&(known, id.clone()));
            }
            due.insert((early, id.clone()));
            tracked.scheduled = Some(early);
        }
    }
}
