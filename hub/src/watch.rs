//! Watch: follows the journal and finds what is wrong. Rules and detectors take entries in event time; what they
//! find, the tickets that follow and the messages that are owed are committed in one transaction.
//!
//! The engines' state is saved now and then together with the journal offsets it stands at. After a crash the watch
//! loads the last state and reads on from there, in the same order as before ([`order`]): alert ids are derived from
//! event time, so what was already committed is recognised and changes nothing.
//!
//! While the database is away the watch reads on and keeps what it found; what concerns life safety it hands to the
//! [`crate::emergency`] desk at once.

mod commit;
mod order;

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use commit::{Owed, hand_over};
use journal::{Journal, Offset};
use metrics::{counter, gauge, histogram};
use model::{AlertChange, AlertId, Body, Clock, Directory, Entry, Lane, Localised, Timestamp, profile::FAILURE_RISK};
use order::{Taken, Trail, Waiting, in_order};
use predict::Predictor;
use rules::Engine;
use store::{Snapshot, Store, WatchCursors};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{config::LoadedProfile, emergency::Line};

/// The name of its cursor.
pub const CONSUMER: &str = "watch";
/// The name under which it says how far it has committed. Its cursor stands where the state was last saved, which is
/// behind: a restart reads from there.
pub const POSITION: &str = "watch position";
/// The names under which the engines' states are saved.
const RULES: &str = "rules";
const PREDICTOR: &str = "predictor";
/// The name under which the order is saved in which entries were taken since then.
const TRAIL: &str = "trail";
/// One hub watches every device: there is one partition.
const PARTITION: u32 = 0;
/// How many entries of a lane are taken before the other lane and the clock are looked at again.
const MAX_BATCH: usize = 500;
/// How often the clock is looked at: absences and durations end in time.
const TICK: Duration = Duration::from_millis(250);
/// How often the state is saved.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// How long to leave the database alone after the state could not be saved.
const SAVE_AGAIN: Duration = Duration::from_secs(5);
/// How long a database that was or may be away has to give a sign of life.
pub const PING: Duration = Duration::from_secs(1);
/// How much may be found and not committed before the watch stops reading.
const MAX_OWED: usize = 200_000;

/// What the watch needs.
pub struct Watch {
    /// What it reads.
    pub journal: Journal,
    /// Where alerts and tickets go.
    pub store: Store,
    /// The registered devices.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The profiles and their rules.
    pub profiles: Vec<LoadedProfile>,
    /// Who helps people in danger while the database is away; `None`: nobody does.
    pub emergency: Option<Line>,
}

/// The engines and how far they have read.
pub struct State {
    rules: Engine,
    predictor: Predictor,
    at: [Offset; 2],
    owed: Owed,
    /// In which order entries were taken since the state was saved.
    trail: Trail,
    /// When the clock was last looked at.
    looked_at: Option<Timestamp>,
    /// Where the journal ended when the watch began.
    began_at: [Offset; 2],
    /// True once open alerts were compared with what the engines hold.
    compared: bool,
    /// When the state is saved next at the latest, and at the earliest.
    save_at: Timestamp,
    save_not_before: Timestamp,
    changed: bool,
}

impl State {
    /// True if everything that was in the journal at the start has been read, and an earlier life lived again.
    fn caught_up(&self) -> bool {
        self.trail.ahead().is_none() && self.at.iter().zip(&self.began_at).all(|(at, began)| at >= began)
    }

    fn cursors(&self) -> WatchCursors {
        let [events, telemetry] = self.at;
        WatchCursors { partition: PARTITION, events: events.0, telemetry: telemetry.0 }
    }

    fn is_to_be_saved(&self, now: Timestamp) -> bool {
        self.changed
            && is_reached(self.save_not_before, now, SAVE_AGAIN)
            && (is_reached(self.save_at, now, SAVE_EVERY) || self.trail.is_long())
    }
}

/// True once a time is reached that was set at most so far ahead: a clock that was put back is not waited for.
fn is_reached(due: Timestamp, now: Timestamp, ahead: Duration) -> bool {
    now >= due || due.since(now) > ahead
}

impl Watch {
    /// Follows the journal from a state that was loaded until the shutdown, and saves its state then.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn run(self, mut state: State, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut heads = Lane::ALL.map(|lane| self.journal.subscribe(lane));
        loop {
            for head in &mut heads {
                head.mark_unchanged();
            }
            let read = tokio::select! {
                () = shutdown.cancelled() => break,
                read = self.pass(&mut state) => read?,
            };
            if read > 0 {
                continue;
            }
            let [events, telemetry] = &mut heads;
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = events.changed() => {}
                _ = telemetry.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        self.save(&mut state).await
    }

    /// Takes what is waiting, at most one batch a lane, commits what is found in it, and saves the state when it is
    /// time. While the database is away what was found is kept for the next pass. Returns how many entries were read.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn pass(&self, state: &mut State) -> anyhow::Result<usize> {
        let read = if state.owed.changes.len() < MAX_OWED {
            self.step(state)?
        } else {
            if !std::mem::replace(&mut state.owed.full, true) {
                error!(
                    changes = MAX_OWED,
                    "too much waits for the database: nothing more is watched, and nobody more is called, until it can be written"
                );
            }
            0
        };
        // What was found now does not wait for this.
        let is_idle = state.owed.is_empty() && state.owed.away.is_none();
        if !state.compared && is_idle && state.caught_up() && self.end_orphans(state).await {
            state.compared = true;
        }
        if state.owed.away.is_some() {
            hand_over(self.emergency.as_ref(), &state.owed.changes, &mut state.owed.handed);
        }
        if !self.commit(state).await {
            return Ok(read);
        }
        if read > 0 {
            for (lane, at) in Lane::ALL.into_iter().zip(state.at) {
                self.journal.set_cursor(POSITION, lane, at)?;
            }
        }
        if state.is_to_be_saved(self.clock.now()) {
            self.save(state).await?;
        }
        Ok(read)
    }

    /// Takes some entries of each lane and looks at the clock.
    fn step(&self, state: &mut State) -> anyhow::Result<usize> {
        let directory = self.directory.borrow().clone();
        let found_before = state.owed.changes.len();
        let mut entries = self.next(state)?;
        while entries.is_empty()
            && let Some(seam) = state.trail.ahead()
        {
            if let Some(looked) = seam.looked {
                state.rules.advance(looked, &directory, &mut state.owed.changes);
            }
            state.trail.reach();
            if state.trail.begins_life() {
                state.rules.resume();
            }
            entries = self.next(state)?;
        }
        let read = entries.len();
        for (lane, offset, entry) in entries {
            state.trail.take(lane, offset, entry.received_at, state.at);
            apply(state, &directory, &entry);
            state.at[lane] = offset;
            if lane == order::EVENTS {
                // Telemetry is measured by its lag: it may have been buffered for hours.
                histogram!("liftline_watch_delay_seconds")
                    .record(self.clock.now().since(entry.received_at).as_secs_f64());
            }
        }
        for (lane, at) in Lane::ALL.into_iter().zip(state.at) {
            #[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52")]
            gauge!("liftline_watch_lag_entries", "lane" => lane.to_string())
                .set(self.journal.head(lane).0.saturating_sub(at.0) as f64);
        }
        state.changed |= read > 0;
        tell_late(&mut state.rules);
        // While entries are waiting, time is where they are: an absence is not found before what would disprove it.
        if state.trail.ahead().is_none()
            && Lane::ALL.into_iter().zip(state.at).all(|(lane, at)| at >= self.journal.head(lane))
        {
            self.look(state, &directory);
        }
        set_trials_aside(&mut state.owed.changes, found_before);
        Ok(read)
    }

    /// The entries to take next: those of an earlier life as that took them, then what is waiting.
    fn next(&self, state: &State) -> anyhow::Result<Vec<Taken>> {
        let until = state.trail.ahead().map(|seam| seam.at);
        let mut lanes = [const { Waiting { entries: Vec::new(), more: false } }; 2];
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            let mut entries = self.journal.read(lane, state.at[index], MAX_BATCH)?;
            let mut more = entries.len() >= MAX_BATCH;
            if let Some(until) = until {
                let within = entries.partition_point(|(offset, _)| *offset <= until[index]);
                more &= within == entries.len();
                entries.truncate(within);
            }
            lanes[index] = Waiting { entries, more };
        }
        Ok(in_order(lanes, until.is_some()))
    }

    /// Lets time pass for the rules, now and then.
    fn look(&self, state: &mut State, directory: &Directory) {
        let now = self.clock.now();
        // A clock that was put back is looked at, too.
        if state.looked_at.is_some_and(|looked| looked <= now && now.since(looked) < TICK) {
            return;
        }
        state.looked_at = Some(now);
        state.trail.look(now, state.at);
        let before = state.owed.changes.len();
        state.rules.advance(now, directory, &mut state.owed.changes);
        state.changed |= state.owed.changes.len() > before;
    }

    /// Ends open alerts that no engine holds any more (their rule was removed, or the saved state was lost): nobody
    /// else would. False if the store cannot be asked yet.
    async fn end_orphans(&self, state: &mut State) -> bool {
        let open = match self.unless_silent(PING, self.store.open_alerts()).await {
            Ok(open) => open,
            Err(failure) => {
                warn!("open alerts could not be compared with the rules yet: {failure}");
                self.note_absence(&failure, &mut state.owed);
                return false;
            }
        };
        let standing: HashSet<AlertId> =
            state.rules.standing().chain(state.predictor.standing()).map(|alert| alert.id).collect();
        let now = self.clock.now();
        // Risks of failure are raised and ended by the nightly pass, for profiles that name their failures.
        let forecast = |alert: &model::Alert| {
            alert.rule.as_str() == FAILURE_RISK
                && self.profiles.iter().any(|own| own.profile.id == alert.profile && own.profile.failures.is_some())
        };
        for mut alert in open.into_iter().filter(|alert| !standing.contains(&alert.id) && !forecast(alert)) {
            if alert.life_safety {
                // Nobody said that the person is out: only people can end it now.
                warn!(alert.id = %alert.id, device.id = %alert.device, "no rule holds this life-safety alert any more; it stays open until people end it");
                continue;
            }
            warn!(alert.id = %alert.id, rule.id = %alert.rule, device.id = %alert.device, "ending an alert that no rule holds any more");
            alert.cleared_at = Some(now);
            alert.evidence.summary = Localised::new(
                "After a restart nothing watches this condition any more; it was ended without a sign from the device.",
                "重启后已无规则监测该情况；告警已结束，但未收到设备的恢复信号。",
            );
            state.owed.changes.push(AlertChange::Cleared(Box::new(alert)));
        }
        true
    }

    /// The state that was saved last, or a fresh one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn load(&self) -> anyhow::Result<State> {
        let mut state = State {
            rules: Engine::new(),
            predictor: Predictor::new(),
            at: Lane::ALL.map(|lane| self.journal.cursor(CONSUMER, lane).unwrap_or_default()),
            began_at: Lane::ALL.map(|lane| self.journal.head(lane)),
            owed: Owed::default(),
            compared: false,
            trail: Trail::default(),
            looked_at: None,
            save_at: self.clock.now() + SAVE_EVERY,
            save_not_before: self.clock.now(),
            changed: false,
        };
        for loaded in &self.profiles {
            state.rules.load(loaded.rules.clone());
            state.predictor.load(loaded.profile.clone());
        }
        let saved = self.store.load_watch(PARTITION).await.context("loading the state of the rules")?;
        let snapshot = |name: &str| saved.snapshots.iter().find(|snapshot| snapshot.name == name);
        if let (Some(rules), Some(predictor)) = (snapshot(RULES), snapshot(PREDICTOR)) {
            let restored = state.rules.restore(&rules.data).map_err(anyhow::Error::from).and_then(|report| {
                state.predictor.restore(&predictor.data)?;
                Ok(report)
            });
            match restored {
                Ok(report) => {
                    for note in report.notes {
                        warn!("{note}");
                    }
                    state.at = [Offset(rules.at.events), Offset(rules.at.telemetry)];
                    if let Some(trail) = snapshot(TRAIL) {
                        state.trail = Trail::read(&trail.data).unwrap_or_else(|failure| {
                            warn!("the order in which the journal was read is not known any more: {failure}");
                            Trail::default()
                        });
                    }
                    if let Some(until) = state.trail.lived_until() {
                        state.rules.lived_until(until);
                    }
                }
                Err(failure) => warn!("the saved state of the rules is not used, they start afresh: {failure:#}"),
            }
        }
        for (lane, at) in Lane::ALL.into_iter().zip(&mut state.at) {
            // A journal that was replaced is younger than the saved state.
            *at = (*at).min(self.journal.head(lane));
            self.journal.set_cursor(CONSUMER, lane, *at)?;
            self.journal.set_cursor(POSITION, lane, *at)?;
        }
        Ok(state)
    }

    async fn save(&self, state: &mut State) -> anyhow::Result<()> {
        if !state.owed.is_empty() {
            return Ok(()); // Not committed: the same entries are read again after a restart.
        }
        let rest = state.trail.rest();
        let snapshots = [
            Snapshot { name: RULES.to_owned(), data: state.rules.snapshot() },
            Snapshot { name: PREDICTOR.to_owned(), data: state.predictor.snapshot() },
            Snapshot { name: TRAIL.to_owned(), data: rest.write() },
        ];
        let (together, most) = state.rules.memory();
        #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
        {
            gauge!("liftline_rules_memory_bytes").set(together as f64);
            gauge!("liftline_rules_largest_device_bytes").set(most as f64);
        }
        let now = self.clock.now();
        state.save_not_before = now + SAVE_AGAIN;
        let cursors = state.cursors();
        let saving = self.store.commit_watch(&[], &cursors, &snapshots, now);
        if let Err(failure) = self.unless_silent(PING, saving).await {
            warn!("the state of the rules could not be saved; a restart reads more of the journal again: {failure}");
            self.note_absence(&failure, &mut state.owed);
            return Ok(());
        }
        for (lane, at) in Lane::ALL.into_iter().zip(state.at) {
            self.journal.set_cursor(CONSUMER, lane, at)?;
        }
        state.trail = rest;
        state.save_at = now + SAVE_EVERY;
        state.changed = false;
        Ok(())
    }
}

/// Tells what rules on trial found since `from`, and takes it out: nobody is called for it.
fn set_trials_aside(changes: &mut Vec<AlertChange>, from: usize) {
    for change in changes.extract_if(from.., |change| change.alert().evidence.dry_run) {
        let (alert, what) = match &change {
            AlertChange::Raised(alert) => (alert, "raised"),
            AlertChange::Changed(alert) => (alert, "changed"),
            AlertChange::Cleared(alert) => (alert, "cleared"),
        };
        let rule = alert.rule.to_string();
        counter!("liftline_dry_run_alerts_total", "rule" => rule, "change" => what).increment(1);
        info!(rule.id = %alert.rule, device.id = %alert.device, alert.raised_at = %alert.raised_at,
            alert.cleared_at = alert.cleared_at.map(tracing::field::display),
            "a rule on trial would have {what} an alert: {}", alert.evidence.summary.en);
    }
}

/// Counts and names what came too late for the rules to take it in its place.
fn tell_late(rules: &mut Engine) {
    counter!("liftline_rules_late_total").absolute(rules.counts().late);
    for late in rules.take_late() {
        debug!(device.id = %late.device, message.time = %late.time, message.received_at = %late.received_at,
            "a message came {} s too late for the rules: it counts from now on", late.by.as_secs_f32());
    }
}

fn apply(state: &mut State, directory: &Directory, entry: &Entry) {
    if let Body::Emergency(note) = &entry.body {
        match serde_json::from_str(note) {
            Ok(note) => state.owed.notes.push(note),
            Err(failure) => error!("a note of what was done while the database was away cannot be read: {failure}"),
        }
        return;
    }
    let Some((device, _)) = entry.device.as_ref().and_then(|device| directory.find(device)) else {
        return; // A reject, or a device removed since.
    };
    state.rules.apply(device, entry, &mut state.owed.changes);
    state.predictor.apply(device, entry, &mut state.owed.changes);
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use model::{ChannelId, Device, DeviceId, OrgId, Profile, Sample, SiteId, Value};
    use rules::Ruleset;

    use super::*;

    #[test]
    fn a_clock_that_was_put_back_is_not_waited_for() {
        let (now, limit) = (Timestamp::from_secs(100), Duration::from_secs(30));
        assert!(!is_reached(Timestamp::from_secs(130), now, limit));
        assert!(is_reached(now, now, limit));
        assert!(is_reached(Timestamp::from_secs(131), now, limit));
    }

    /// One rule in earnest and the same on trial.
    const PROFILE: &str = "[profile]\nid = \"fan\"\nname = { en = \"Fan\", zh = \"风机\" }\nversion = 1\n\
        [[channels]]\nid = \"speed\"\nname = { en = \"Speed\", zh = \"转速\" }\ntype = \"number\"\nunit = \"1/min\"\nrange = [0.0, 9000.0]\n\
        [[rules]]\nid = \"fast\"\ntitle = { en = \"Fast\", zh = \"快\" }\nsource = \"a test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = 'speed > 50'\n\
        [[rules]]\nid = \"faster\"\ntitle = { en = \"Fast\", zh = \"快\" }\nsource = \"a test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = 'speed > 50'\ndry_run = true\n";

    #[test]
    fn nobody_is_called_for_a_rule_on_trial() {
        let profile = Profile::parse(Path::new("fan.toml"), PROFILE).unwrap();
        let mut engine = Engine::new();
        engine.load(Arc::new(Ruleset::compile(&profile).unwrap()));
        let device = Device {
            id: DeviceId::new("fan-1").unwrap(),
            org: OrgId(uuid::Uuid::nil()),
            site: SiteId(uuid::Uuid::nil()),
            profile: profile.id,
            name: "Fan".to_owned(),
            plate: None,
        };
        let mut changes = Vec::new();
        for (second, speed) in [(1, 70.0), (2, 10.0)] {
            let time = Timestamp::from_secs(1_767_225_600 + second);
            let values = vec![(ChannelId::new("speed").unwrap(), Value::Number(speed))];
            let body = Body::Sample(Sample { time, seq: None, values });
            let entry = Entry { device: Some(device.id.clone()), received_at: time, body };
            engine.apply(&device, &entry, &mut changes);
        }
        assert_eq!(changes.len(), 4);
        set_trials_aside(&mut changes, 0);
        let rules: Vec<_> = changes.iter().map(|change| change.alert().rule.as_str()).collect();
        assert_eq!(rules, ["fast", "fast"]);
    }
}
