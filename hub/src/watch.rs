//! Watch: follows the journal and finds what is wrong. Rules and detectors take entries in event time; what they
//! find, the tickets that follow and the messages that are owed are committed in one transaction.
//!
//! The engines' state is saved now and then together with the journal offsets it stands at. After a crash the watch
//! loads the last state and reads on from there: alert ids are derived from event time, so what was already committed
//! is recognised and changes nothing.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use journal::{Journal, Offset};
use metrics::{counter, gauge, histogram};
use model::{AlertChange, Clock, Directory, Entry, Lane, Timestamp};
use predict::Predictor;
use rules::Engine;
use store::{Snapshot, Store, WatchCursors};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::LoadedProfile;

/// The name of its cursor.
pub const CONSUMER: &str = "watch";
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
struct State {
    rules: Engine,
    predictor: Predictor,
    at: [Offset; 2],
    saved_at: Timestamp,
    changed: bool,
}

impl State {
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
            let (changes, read) = self.step(&mut state)?;
            if !changes.is_empty() && !self.commit(&state, &changes, &shutdown).await {
                return Ok(()); // Not committed: the same entries are read again after the restart.
            }
            if state.changed && self.clock.now().since(state.saved_at) >= SAVE_EVERY {
                self.save(&mut state).await?;
            }
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

    /// Takes some entries of each lane, the urgent one first, and looks at the clock.
    fn step(&self, state: &mut State) -> anyhow::Result<(Vec<AlertChange>, usize)> {
        let directory = self.directory.borrow().clone();
        let mut changes = Vec::new();
        let mut read = 0;
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            let entries = self.journal.read(lane, state.at[index], MAX_BATCH)?;
            for (offset, entry) in &entries {
                apply(state, &directory, entry, &mut changes);
                state.at[index] = *offset;
            }
            if let Some((_, entry)) = entries.last() {
                histogram!("liftline_watch_delay_seconds", "lane" => lane.to_string())
                    .record(self.clock.now().since(entry.received_at).as_secs_f64());
            }
            read += entries.len();
            #[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52")]
            gauge!("liftline_watch_lag_entries", "lane" => lane.to_string())
                .set((self.journal.head(lane).0 - state.at[index].0) as f64);
        }
        state.changed |= read > 0;
        // While entries are waiting, time is where they are: an absence is not found before what would disprove it.
        if read < MAX_BATCH {
            let before = changes.len();
            state.rules.advance(self.clock.now(), &directory, &mut changes);
            state.changed |= changes.len() > before;
        }
        Ok((changes, read))
    }

    /// Commits until it succeeds; false if the shutdown came first.
    async fn commit(&self, state: &State, changes: &[AlertChange], shutdown: &CancellationToken) -> bool {
        let mut back_off = Duration::from_millis(100);
        let mut failed = false;
        loop {
            match self.store.commit_watch(changes, &state.cursors(), &[], self.clock.now()).await {
                Ok(report) => {
                    counter!("liftline_alert_changes_total").increment(changes.len() as u64);
                    counter!("liftline_tickets_opened_total").increment(u64::from(report.opened));
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

    async fn load(&self) -> anyhow::Result<State> {
        let mut state = State {
            rules: Engine::new(),
            predictor: Predictor::new(),
            at: Lane::ALL.map(|lane| self.journal.cursor(CONSUMER, lane).unwrap_or_default()),
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
