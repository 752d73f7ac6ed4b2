//! Committing what was found; while the database is away or says nothing, it is kept, and people in danger are helped
//! without it.

use std::time::Duration;

use metrics::counter;
use model::{AlertChange, Timestamp};
use store::{EmergencyNote, Snapshot, StoreError, WatchCursors};
use tracing::{error, info};

use super::{PING, State, TRAIL, Watch, is_reached};
use crate::emergency::Line;

/// The first and the longest wait between two tries while the database is away.
const BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(5);
/// How long a commit may take before people in danger are helped without it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a database that takes long to write has to give a sign of life: one that is only slow is waited for.
const SILENCE: Duration = Duration::from_secs(3);

/// What was found and is not committed yet.
#[derive(Default)]
pub(super) struct Owed {
    pub(super) changes: Vec<AlertChange>,
    /// How many of the changes the emergency desk has seen.
    pub(super) handed: usize,
    /// What the emergency desk did.
    pub(super) notes: Vec<EmergencyNote>,
    /// While the database is away: when to try again, and how long to wait after that.
    pub(super) away: Option<(Timestamp, Duration)>,
    /// True once it was said that there is no room for more.
    pub(super) full: bool,
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.notes.is_empty()
    }
}

/// Shows the emergency desk what it has not seen.
pub(super) fn hand_over(emergency: Option<&Line>, changes: &[AlertChange], handed: &mut usize) {
    if let Some(emergency) = emergency {
        emergency.take(&changes[*handed..]);
    }
    *handed = changes.len();
}

impl Watch {
    /// Commits what was found; false if the database is away. What was done for people meanwhile is told first.
    pub(super) async fn commit(&self, state: &mut State) -> bool {
        if state.owed.is_empty() {
            return state.owed.away.is_none() || self.is_back(&mut state.owed).await;
        }
        if state.owed.away.is_some() && !self.is_back(&mut state.owed).await {
            return false;
        }
        state.trail.commit(state.at);
        let trail = [Snapshot { name: TRAIL.to_owned(), data: state.trail.write() }];
        let cursors = state.cursors();
        let committed = self.try_commit(&mut state.owed, &cursors, &trail).await;
        match committed {
            Ok(()) => {
                if state.owed.away.is_some() {
                    info!("the database takes alerts again");
                }
                state.owed = Owed::default();
                if let Some(emergency) = &self.emergency {
                    emergency.hand_back();
                }
                true
            }
            Err(failure) => {
                counter!("liftline_watch_failures_total").increment(1);
                if state.owed.away.is_none() {
                    error!("alerts wait until the database can be written: {failure}");
                }
                hand_over(self.emergency.as_ref(), &state.owed.changes, &mut state.owed.handed);
                self.wait(&mut state.owed);
                false
            }
        }
    }

    /// Commits what is owed; if that takes long, people in danger are helped meanwhile. It is given up if the database says
    /// nothing at all any more: who gets into danger then must be found, too.
    async fn try_commit(&self, owed: &mut Owed, cursors: &WatchCursors, trail: &[Snapshot]) -> Result<(), StoreError> {
        let Owed { changes, handed, notes, .. } = owed;
        let committing = async {
            if !notes.is_empty() {
                self.store.complete_emergency(notes, self.clock.now()).await?;
            }
            self.store.commit_watch(changes, cursors, trail, self.clock.now()).await.map(drop)
        };
        tokio::pin!(committing);
        tokio::select! {
            committed = &mut committing => return committed,
            () = tokio::time::sleep(PATIENCE) => hand_over(self.emergency.as_ref(), changes, handed),
        }
        self.unless_silent(Duration::ZERO, committing).await
    }

    /// What comes of a statement. It is given up if the database, asked after a while, says nothing at all.
    pub(super) async fn unless_silent<T>(
        &self,
        after: Duration,
        running: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let silence = async {
            tokio::time::sleep(after).await;
            while self.store.answers_within(SILENCE).await {
                tokio::time::sleep(PING).await;
            }
        };
        tokio::select! {
            done = running => done,
            () = silence => Err(StoreError::silent("keeping what was found")),
        }
    }

    /// True if it is time to try again and the database gives a sign of life.
    async fn is_back(&self, owed: &mut Owed) -> bool {
        let Some((due, _)) = owed.away else { return true };
        if !is_reached(due, self.clock.now(), MAX_BACK_OFF) {
            return false;
        }
        if self.store.answers_within(PING).await {
            if owed.is_empty() {
                owed.away = None;
            }
            return true;
        }
        self.wait(owed);
        false
    }

    /// If the database is away, whoever is found in danger next is helped without trying it first.
    pub(super) fn note_absence(&self, failure: &StoreError, owed: &mut Owed) {
        if failure.is_unavailable() {
            self.wait(owed);
        }
    }

    /// Sets the time of the next try.
    fn wait(&self, owed: &mut Owed) {
        let back_off = owed.away.map_or(BACK_OFF, |(_, back_off)| (back_off * 2).min(MAX_BACK_OFF));
        owed.away = Some((self.clock.now() + back_off, back_off));
    }
}
