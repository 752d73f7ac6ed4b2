//! Watch: follows the journal and finds what is wrong. Rules and detectors take entries in event time; what they
//! find, the tickets that follow and the messages that are owed are committed in one transaction.
//!
//! The engines' state is saved now and then together with the journal offsets it stands at. After a crash the watch
//! loads the last state and reads on from there: alert ids are derived from event time, so what was already committed
//! is recognised and changes nothing.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use journal::{Journal, Offset};
use metrics::{counter, gauge, histogram};
use model::{AlertChange, AlertId, Clock, Directory, Entry, Lane, Localised, Timestamp};
use predict::Predictor;
use rules::Engine;
use store::{Snapshot, Store, WatchCursors};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::LoadedProfile;

/// The name of its cursor.
pub const CONSUMER: &str = "watch";
/// The name under which it says how far it has committed. Its cursor stands where the state was last saved, which is
/// behind: a restart reads from there.
pub const POSITION: &str = "watch position";
/// The names under which the engines' states are saved.
const RULES: &str = "rules";
const PREDICTOR: &str = "predictor";
/// One hub watches every device: there is one partition.
const PARTITION: u32 = 0;
/// How many entries of a lane are taken before the other lane and the clock are looked at again.
const MAX_BATCH: usize = 500;
/// How often the clock is looked at while nothing arrives: absences and durations end in time.
const TICK: Duration = Duration::from_millis(250);
/// How often the state is saved.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// The longest wait between two tries while the database is away.
const MAX_BACK_OFF: Duration = Duration::from_secs(5);

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
}

/// The engines and how far they have read.
pub struct State {
    rules: Engine,
    predictor: Predictor,
    at: [Offset; 2],
    /// Where the journal ended when the watch began: up to here entries are read again in the order they came.
    began_at: [Offset; 2],
    /// True once open alerts were compared with what the engines hold.
    compared: bool,
    saved_at: Timestamp,
    changed: bool,
}

impl State {
    /// True if everything that was in the journal at the start has been read.
    fn caught_up(&self) -> bool {
        self.at.iter().zip(&self.began_at).all(|(at, began)| at >= began)
    }

    fn cursors(&self) -> WatchCursors {
        let [events, telemetry] = self.at;
        WatchCursors { partition: PARTITION, events: events.0, telemetry: telemetry.0 }
    }
}

impl Watch {
    /// Follows the journal until the shutdown, and saves its state then.
    ///
    /// # Errors
    /// If the journal cannot be read, or the saved state not be loaded at the start.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut heads = Lane::ALL.map(|lane| self.journal.subscribe(lane));
        let mut state = self.load().await?;
        loop {
            for head in &mut heads {
                head.mark_unchanged();
            }
            let Some(read) = self.pass(&mut state, &shutdown).await? else {
                return Ok(()); // Not committed: the same entries are read again after the restart.
            };
            if shutdown.is_cancelled() {
                break;
            }
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
    /// time. Returns how many entries were read; `None` if the shutdown came before the commit.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn pass(&self, state: &mut State, shutdown: &CancellationToken) -> anyhow::Result<Option<usize>> {
        let (mut changes, read) = self.step(state)?;
        if !state.compared && state.caught_up() && self.end_orphans(state, &mut changes).await {
            state.compared = true;
        }
        if !changes.is_empty() && !self.commit(state, &changes, shutdown).await {
            return Ok(None);
        }
        if read > 0 {
            for (lane, at) in Lane::ALL.into_iter().zip(state.at) {
                self.journal.set_cursor(POSITION, lane, at)?;
            }
        }
        if state.changed && self.clock.now().since(state.saved_at) >= SAVE_EVERY {
            self.save(state).await?;
        }
        Ok(Some(read))
    }

    /// Takes some entries of each lane and looks at the clock.
    fn step(&self, state: &mut State) -> anyhow::Result<(Vec<AlertChange>, usize)> {
        let directory = self.directory.borrow().clone();
        let mut changes = Vec::new();
        let mut lanes = Vec::with_capacity(Lane::ALL.len());
        for (lane, at) in Lane::ALL.into_iter().zip(state.at) {
            lanes.push(self.journal.read(lane, at, MAX_BATCH)?);
        }
        let entries = in_order(lanes, !state.caught_up());
        let read = entries.len();
        for (lane, offset, entry) in entries {
            apply(state, &directory, &entry, &mut changes);
            state.at[lane] = offset;
            if lane == 0 {
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
        // While entries are waiting, time is where they are: an absence is not found before what would disprove it.
        if Lane::ALL.into_iter().zip(state.at).all(|(lane, at)| at >= self.journal.head(lane)) {
            let before = changes.len();
            state.rules.advance(self.clock.now(), &directory, &mut changes);
            state.changed |= changes.len() > before;
        }
        Ok((changes, read))
    }

    /// Ends open alerts that no engine holds any more (their rule was removed, or the saved state was lost): nobody
    /// else would. False if the store cannot be asked yet.
    async fn end_orphans(&self, state: &State, changes: &mut Vec<AlertChange>) -> bool {
        let open = match self.store.open_alerts().await {
            Ok(open) => open,
            Err(failure) => {
                warn!("open alerts could not be compared with the rules yet: {failure}");
                return false;
            }
        };
        let standing: HashSet<AlertId> =
            state.rules.standing().chain(state.predictor.standing()).map(|alert| alert.id).collect();
        let now = self.clock.now();
        for mut alert in open.into_iter().filter(|alert| !standing.contains(&alert.id)) {
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
            changes.push(AlertChange::Cleared(Box::new(alert)));
        }
        true
    }

    /// Commits until it succeeds; false if the shutdown came first.
    async fn commit(&self, state: &State, changes: &[AlertChange], shutdown: &CancellationToken) -> bool {
        let mut back_off = Duration::from_millis(100);
        let mut failed = false;
        loop {
            match self.store.commit_watch(changes, &state.cursors(), &[], self.clock.now()).await {
                Ok(_) => {
                    if failed {
                        info!("the database takes alerts again");
                    }
                    return true;
                }
                Err(failure) => {
                    if !failed {
                        error!("alerts wait until the database can be written: {failure}");
                    }
                    failed = true;
                    counter!("liftline_watch_failures_total").increment(1);
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(back_off) => {}
            }
            back_off = (back_off * 2).min(MAX_BACK_OFF);
        }
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
            compared: false,
            saved_at: self.clock.now(),
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
        let snapshots = [
            Snapshot { name: RULES.to_owned(), data: state.rules.snapshot() },
            Snapshot { name: PREDICTOR.to_owned(), data: state.predictor.snapshot() },
        ];
        let now = self.clock.now();
        if let Err(failure) = self.store.commit_watch(&[], &state.cursors(), &snapshots, now).await {
            warn!("the state of the rules could not be saved; a restart reads more of the journal again: {failure}");
            return Ok(());
        }
        for (lane, at) in Lane::ALL.into_iter().zip(state.at) {
            self.journal.set_cursor(CONSUMER, lane, at)?;
        }
        state.saved_at = now;
        state.changed = false;
        Ok(())
    }
}

fn apply(state: &mut State, directory: &Directory, entry: &Entry, changes: &mut Vec<AlertChange>) {
    let Some((device, _)) = entry.device.as_ref().and_then(|device| directory.find(device)) else {
        return; // A reject, or a device removed since.
    };
    state.rules.apply(device, entry, changes);
    state.predictor.apply(device, entry, changes);
}

/// The entries of both lanes in the order to apply them: (index of the lane, offset, entry).
///
/// As a rule the lanes are merged by the time of receipt, so that an event and the measurements around it are seen as
/// they came. If a lane has more than one batch waiting, the urgent lane goes first, unless `strictly` the order
/// matters more: then only what is surely complete is taken.
fn in_order(lanes: Vec<Vec<(Offset, Entry)>>, strictly: bool) -> Vec<(usize, Offset, Entry)> {
    let backlog = lanes.iter().any(|lane| lane.len() >= MAX_BATCH);
    // A full lane may hold more behind its last entry; what the other lane received after that must wait.
    let complete_until = lanes
        .iter()
        .filter(|lane| lane.len() >= MAX_BATCH)
        .filter_map(|lane| lane.last().map(|(_, entry)| entry.received_at))
        .min();
    let mut entries: Vec<(usize, Offset, Entry)> = lanes
        .into_iter()
        .enumerate()
        .flat_map(|(index, lane)| lane.into_iter().map(move |(offset, entry)| (index, offset, entry)))
        .collect();
    if strictly || !backlog {
        if let Some(until) = complete_until {
            entries.retain(|(_, _, entry)| entry.received_at <= until);
        }
        entries.sort_by_key(|(lane, offset, entry)| (entry.received_at, *lane, *offset));
    }
    entries
}

#[cfg(test)]
mod tests {
    use model::{Body, DeviceId, Status};

    use super::*;

    fn lane(times: impl IntoIterator<Item = i64>) -> Vec<(Offset, Entry)> {
        let entry = |ms| Entry {
            device: DeviceId::new("lift-1").ok(),
            received_at: Timestamp::from_millis(ms),
            body: Body::Status(Status { time: Timestamp::from_millis(ms), online: true }),
        };
        times.into_iter().zip(1..).map(|(ms, offset)| (Offset(offset), entry(ms))).collect()
    }

    fn taken(lanes: [Vec<(Offset, Entry)>; 2], strictly: bool) -> Vec<(usize, i64)> {
        in_order(lanes.into(), strictly)
            .into_iter()
            .map(|(lane, _, entry)| (lane, entry.received_at.as_millis()))
            .collect()
    }

    #[test]
    fn lanes_are_merged_as_entries_came() {
        assert_eq!(taken([lane([2, 5]), lane([1, 3, 5])], false), [(1, 1), (0, 2), (1, 3), (0, 5), (1, 5)]);
    }

    #[test]
    fn an_event_does_not_wait_behind_a_backlog() {
        let backlog = 0..i64::try_from(MAX_BATCH).unwrap();
        assert_eq!(taken([lane([9000]), lane(backlog)], false)[0], (0, 9000));
    }

    #[test]
    fn reading_again_after_a_restart_keeps_the_order() {
        let backlog = 0..i64::try_from(MAX_BATCH).unwrap();
        let taken = taken([lane([3, 9000]), lane(backlog)], true);
        assert_eq!(taken.len(), MAX_BATCH + 1, "the event of 9000 waits for the telemetry before it");
        assert_eq!(taken[4], (1, 3));
        assert_eq!(taken.iter().position(|(lane, _)| *lane == 0), Some(3));
    }
}
