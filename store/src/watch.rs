//! The watch: what rules and detectors found becomes alerts, tickets and messages, together with the place in the
//! journal up to which that is so. A crash replays from there to the same result.

use std::collections::HashMap;

use desk::Event;
use model::{Alert, AlertChange, AlertId, TicketId, Timestamp};
use uuid::Uuid;

use crate::{
    Result, Store, StoreError,
    db::{UuidList, at, execute, fetch_all, fetch_optional, from_document, int, statements, uint},
    desk_work::{ATTEMPTS, Work, WorkError, worth_repeating},
};

statements! {
    KNOWN = each(
        "SELECT id, ticket, cleared_at IS NOT NULL FROM alerts WHERE id = ANY($1)",
        "SELECT id, ticket, cleared_at IS NOT NULL FROM alerts WHERE id IN (SELECT unhex(value) FROM json_each($1))");
    // Offsets never go back: a replayed batch that arrives late must not undo a later one.
    CURSORS = both("
        INSERT INTO watch_cursors AS w (part, events, telemetry, updated_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (part) DO UPDATE SET
            events = CASE WHEN w.events < excluded.events THEN excluded.events ELSE w.events END,
            telemetry = CASE WHEN w.telemetry < excluded.telemetry THEN excluded.telemetry ELSE w.telemetry END,
            updated_at = excluded.updated_at");
    SNAPSHOT = both("
        INSERT INTO watch_snapshots (part, name, events, telemetry, data, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (part, name) DO UPDATE SET events = excluded.events, telemetry = excluded.telemetry,
            data = excluded.data, updated_at = excluded.updated_at");
    OPEN_ALERTS = both("SELECT body FROM alerts WHERE cleared_at IS NULL ORDER BY id");
    LOAD_CURSORS = both("SELECT events, telemetry FROM watch_cursors WHERE part = $1");
    LOAD_SNAPSHOTS = both("SELECT name, events, telemetry, data FROM watch_snapshots WHERE part = $1 ORDER BY name");
}

/// A place in the journal, for one partition of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchCursors {
    /// The partition.
    pub partition: u32,
    /// The last entry of the events lane that was taken.
    pub events: u64,
    /// The last entry of the telemetry lane that was taken.
    pub telemetry: u64,
}

/// The state of a rule engine or a detector at the cursors that it is committed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose.
    pub name: String,
    /// The state.
    pub data: Vec<u8>,
}

/// A snapshot and the place in the journal that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Whose.
    pub name: String,
    /// Where it was taken: from here the journal must be read again to rebuild the state. What is found again up to
    /// [`WatchState::cursors`] is known already and changes nothing.
    pub at: WatchCursors,
    /// The state.
    pub data: Vec<u8>,
}

/// Where a partition of the watch stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchState {
    /// What was found up to here is committed.
    pub cursors: WatchCursors,
    /// The last snapshots.
    pub snapshots: Vec<StoredSnapshot>,
}

/// What a commit of the watch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitReport {
    /// Alerts raised.
    pub raised: u32,
    /// Alerts cleared.
    pub cleared: u32,
    /// Changes that were known already.
    pub known: u32,
    /// Ends of alerts that nobody ever raised here.
    pub unknown_clears: u32,
    /// Tickets opened.
    pub opened: u32,
    /// Messages owed.
    pub messages: u32,
    /// Alerts of organisations that do not exist.
    pub unroutable: u32,
}

impl CommitReport {
    pub(crate) fn count(&self) {
        for (name, count) in [
            ("liftline_alerts_raised_total", self.raised),
            ("liftline_alerts_cleared_total", self.cleared),
            ("liftline_alerts_unknown_clears_total", self.unknown_clears),
            ("liftline_alerts_unroutable_total", self.unroutable),
            ("liftline_tickets_opened_total", self.opened),
            ("liftline_messages_owed_total", self.messages),
        ] {
            metrics::counter!(name).increment(u64::from(count));
        }
    }
}

/// What is stored of an alert.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) ticket: TicketId,
    cleared: bool,
}

impl Store {
    /// Commits what the watch found in a stretch of the journal: alerts, the tickets they open or advance, the messages
    /// those owe, the cursors and the snapshots — all of it or nothing. A change that is known already does nothing, so
    /// the same stretch can be committed again.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails: nothing was committed, commit the same again.
    pub async fn commit_watch(
        &self,
        changes: &[AlertChange],
        cursors: &WatchCursors,
        snapshots: &[Snapshot],
        now: Timestamp,
    ) -> Result<CommitReport> {
        let mut tries = 1;
        loop {
            match self.try_commit(changes, cursors, snapshots, now).await {
                Err(error) if tries < ATTEMPTS && worth_repeating(&error) => tries += 1,
                Ok(report) => {
                    report.count();
                    return Ok(report);
                }
                failed => return failed,
            }
        }
    }

    async fn try_commit(
        &self,
        changes: &[AlertChange],
        cursors: &WatchCursors,
        snapshots: &[Snapshot],
        now: Timestamp,
    ) -> Result<CommitReport> {
        let mut work = Work::begin(self, now).await?;
        let mut known = known_alerts(&mut work, changes.iter().map(|change| change.alert().id)).await?;
        load_ahead(&mut work, changes, &known).await?;
        let mut report = CommitReport::default();
        for change in changes {
            match change {
                AlertChange::Raised(alert) => raise(&mut work, &mut known, &mut report, alert).await?,
                AlertChange::Changed(alert) => change_severity(&mut work, &known, &mut report, alert).await?,
                AlertChange::Cleared(alert) => clear(&mut work, &mut known, &mut report, alert).await?,
            }
        }
        work.look_again_after_clears().await?;
        let (part, events, telemetry) = (i64::from(cursors.partition), int(cursors.events), int(cursors.telemetry));
        let what = "keeping the watch's place";
        execute!(&mut work.tx, what, CURSORS, part, events, telemetry, at(now))?;
        for Snapshot { name, data } in snapshots {
            execute!(&mut work.tx, what, SNAPSHOT, part, name.as_str(), events, telemetry, data.as_slice(), at(now))?;
        }
        report.messages = u32::try_from(work.write().await?).unwrap_or(u32::MAX);
        work.commit(self).await?;
        Ok(report)
    }

    /// Alerts of every organisation that have not cleared, for the watch to compare with what its engines hold after a
    /// restart.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn open_alerts(&self) -> Result<Vec<Alert>> {
        let rows: Vec<(String,)> = fetch_all!(self.db().read, "listing open alerts", OPEN_ALERTS)?;
        rows.into_iter().map(|(body,)| from_document("alert", &body)).collect()
    }

    /// Where a partition of the watch stands; at the beginning of the journal if it never committed.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn load_watch(&self, partition: u32) -> Result<WatchState> {
        let (part, what) = (i64::from(partition), "reading the watch's place");
        let place = |events, telemetry| WatchCursors { partition, events: uint(events), telemetry: uint(telemetry) };
        let row: Option<(i64, i64)> = fetch_optional!(self.db().read, what, LOAD_CURSORS, part)?;
        let rows: Vec<(String, i64, i64, Vec<u8>)> = fetch_all!(self.db().read, what, LOAD_SNAPSHOTS, part)?;
        let (events, telemetry) = row.unwrap_or_default();
        let snapshots = rows.into_iter().map(|(name, events, telemetry, data)| StoredSnapshot {
            name,
            at: place(events, telemetry),
            data,
        });
        Ok(WatchState { cursors: place(events, telemetry), snapshots: snapshots.collect() })
    }
}

pub(crate) async fn known_alerts(
    work: &mut Work<'_>,
    alerts: impl Iterator<Item = AlertId>,
) -> Result<HashMap<AlertId, Known>> {
    let mut ids: Vec<Uuid> = alerts.map(|alert| alert.0).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<(Uuid, Uuid, bool)> = fetch_all!(&mut work.tx, "looking up alerts", KNOWN, UuidList(ids))?;
    let known = |(id, ticket, cleared)| (AlertId(id), Known { ticket: TicketId(ticket), cleared });
    Ok(rows.into_iter().map(known).collect())
}

/// Loads at once what the changes will need: the tickets that take them, and the devices.
pub(crate) async fn load_ahead(
    work: &mut Work<'_>,
    changes: &[AlertChange],
    known: &HashMap<AlertId, Known>,
) -> Result<()> {
    let mut raised: Vec<&Alert> = Vec::new();
    let mut tickets: Vec<Uuid> = Vec::new();
    for change in changes {
        match (change, known.get(&change.alert().id)) {
            (AlertChange::Raised(alert), None) => raised.push(alert),
            (AlertChange::Changed(_) | AlertChange::Cleared(_), Some(stored)) if !stored.cleared => {
                tickets.push(stored.ticket.0);
            }
            (AlertChange::Raised(_), Some(_)) | (AlertChange::Changed(_) | AlertChange::Cleared(_), _) => {}
        }
    }
    if !tickets.is_empty() {
        work.load_all(tickets).await?;
    }
    work.load_flaps(changes.iter().map(AlertChange::alert)).await?;
    if raised.is_empty() { Ok(()) } else { work.load_groups(&raised).await }
}

pub(crate) async fn raise(
    work: &mut Work<'_>,
    known: &mut HashMap<AlertId, Known>,
    report: &mut CommitReport,
    alert: &Alert,
) -> Result<()> {
    if known.contains_key(&alert.id) {
        report.known += 1;
        return Ok(());
    }
    work.count(alert);
    let ticket = match work.load_group(alert) {
        Some(ticket) => {
            advance(work, &ticket, &Event::AlertRaised(Box::new(alert.clone()))).await?;
            ticket.id
        }
        None => match work.open(alert).await? {
            Some(ticket) => {
                report.opened += 1;
                ticket
            }
            None => {
                tracing::error!(alert.id = %alert.id, alert.org = %alert.org, "an alert names an organisation that does not exist");
                report.unroutable += 1;
                return Ok(());
            }
        },
    };
    work.raise(alert, ticket).await?;
    known.insert(alert.id, Known { ticket, cleared: false });
    report.raised += 1;
    Ok(())
}

/// An alert that stands goes on with another severity. One that is over in the store stays as it ended.
async fn change_severity(
    work: &mut Work<'_>,
    known: &HashMap<AlertId, Known>,
    report: &mut CommitReport,
    alert: &Alert,
) -> Result<()> {
    let Some(stored) = known.get(&alert.id).filter(|stored| !stored.cleared) else {
        report.known += 1;
        return Ok(());
    };
    let Some(ticket) = work.load(stored.ticket).await? else { return Ok(()) };
    if ticket.alerts.iter().any(|known| known.id == alert.id && known.is_changed_by(alert)) {
        work.change(alert)?;
        advance(work, &ticket, &Event::AlertChanged(Box::new(alert.clone()))).await?;
    } else {
        report.known += 1;
    }
    Ok(())
}

pub(crate) async fn clear(
    work: &mut Work<'_>,
    known: &mut HashMap<AlertId, Known>,
    report: &mut CommitReport,
    alert: &Alert,
) -> Result<()> {
    let Some(stored) = known.get_mut(&alert.id) else {
        report.unknown_clears += 1;
        return Ok(());
    };
    if stored.cleared {
        report.known += 1;
        return Ok(());
    }
    stored.cleared = true;
    let ticket = stored.ticket;
    work.clear(alert)?;
    if let Some(ticket) = work.load(ticket).await? {
        advance(work, &ticket, &Event::AlertCleared(Box::new(alert.clone()))).await?;
    }
    report.cleared += 1;
    Ok(())
}

/// An alert is a fact, whatever the desk makes of it: a refusal is not an error here.
async fn advance(work: &mut Work<'_>, ticket: &desk::Ticket, event: &Event) -> Result<(), StoreError> {
    match work.advance(ticket, event).await {
        Ok(_) => Ok(()),
        Err(WorkError::Refused(refused)) => {
            tracing::debug!(ticket.id = %ticket.id, %refused, "an alert changed nothing on its ticket");
            Ok(())
        }
        Err(WorkError::Store(error)) => Err(error),
    }
}
