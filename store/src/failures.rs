//! What failure models learn from: the units of a profile, when they failed, when somebody saw to them, and the daily
//! means of their channels. Everything stands at the moment at which the hub learnt of it, so that what was known at a
//! time can be told exactly, however late a device delivered.

use std::collections::HashMap;

use model::{CauseId, ChannelId, Device, DeviceId, ProfileId, RuleId, TicketKind, Timestamp, profile::Failures};

use crate::{
    Result, Store,
    bulk::{self, Column},
    db::{DbTime, at, fetch_all, fetch_optional, from_code, name, statements},
    devices::{DeviceRow, device},
};

statements! {
    UNITS = both("
        SELECT id, org, site, profile, name, plate, created_at FROM devices
        WHERE profile = $1 AND created_at <= $2 ORDER BY id");
    // Alerts of a version that did not keep when it learnt of them are taken as known at once. With when it was said of
    // their tickets that nothing was found.
    ALERTS = both("
        SELECT a.device, coalesce(a.raised_known_at, a.raised_at), coalesce(a.cleared_known_at, a.cleared_at), a.withdrawn,
            r.said_at
        FROM alerts a JOIN devices d ON d.id = a.device LEFT JOIN repairs r ON r.ticket = a.ticket AND r.cause = $4
        WHERE a.rule = $2 AND d.profile = $1 AND coalesce(a.raised_known_at, a.raised_at) <= $3");
    // With when its last alert was withdrawn, if all of them were, and when it was said that nothing was found.
    TICKETS = both("
        SELECT t.device, t.kind, t.opened_at, t.closed_at,
            (SELECT CASE WHEN count(*) = count(CASE WHEN a.withdrawn THEN 1 END)
                    THEN max(coalesce(a.cleared_known_at, a.cleared_at)) END
                FROM alerts a WHERE a.ticket = t.id),
            r.said_at
        FROM tickets t JOIN devices d ON d.id = t.device LEFT JOIN repairs r ON r.ticket = t.id AND r.cause = $3
        WHERE d.profile = $1 AND t.opened_at <= $2");
    EVENTS = both("
        SELECT e.device, e.received_at FROM device_events e JOIN devices d ON d.id = e.device
        WHERE e.code = $2 AND d.profile = $1 AND e.received_at <= $3");
    KEEP_DAYS = each("
        INSERT INTO channel_days (device, channel, ended_at, mean)
        SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::double precision[]) ON CONFLICT DO NOTHING",
        "
        INSERT INTO channel_days (device, channel, ended_at, mean)
        SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING");
    DAYS = both("
        SELECT c.device, c.ended_at, c.mean FROM channel_days c JOIN devices d ON d.id = c.device
        WHERE c.channel = $2 AND d.profile = $1 AND c.ended_at > $3 AND c.ended_at <= $4 ORDER BY c.ended_at, c.device");
    LAST_DAY = both("
        SELECT max(c.ended_at) FROM channel_days c JOIN devices d ON d.id = c.device
        WHERE d.profile = $1 AND c.channel = $2");
}

/// What was the matter with a unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IncidentKind {
    /// An alert of this rule stood.
    Rule(RuleId),
    /// This code came.
    Event(String),
    /// A ticket of this kind was open.
    Ticket(TicketKind),
    /// A ticket was closed that is no failure, or turned out to be none: somebody saw to the unit.
    Visit,
}

/// A stretch of time in which a unit had failed, or a moment at which somebody saw to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIncident {
    /// The unit.
    pub device: DeviceId,
    /// What was the matter.
    pub kind: IncidentKind,
    /// When the hub learnt of it.
    pub from: Timestamp,
    /// When the hub learnt that it was over; `None`: it goes on.
    pub to: Option<Timestamp>,
    /// When the hub learnt that there had been nothing: an earlier message, which came later, showed it.
    pub withdrawn: Option<Timestamp>,
    /// When somebody said that nothing was found: it was a false alarm.
    pub false_alarm: Option<Timestamp>,
}

/// What is known of the units of one profile up to a moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FailureHistory {
    /// The units, and when they were registered.
    pub units: Vec<(Device, Timestamp)>,
    /// What happened to them.
    pub incidents: Vec<StoredIncident>,
}

/// The mean of a unit's channel over a day.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelDay {
    /// The unit.
    pub device: DeviceId,
    /// When the day ended.
    pub ended_at: Timestamp,
    /// The mean.
    pub mean: f64,
}

/// Device, from, to, whether it was withdrawn, when nothing was found.
type AlertRow = (String, DbTime, Option<DbTime>, bool, Option<DbTime>);
/// Device, kind, opened, closed, withdrawn, when nothing was found.
type TicketRow = (String, String, DbTime, Option<DbTime>, Option<DbTime>, Option<DbTime>);
type UnitRow = (String, uuid::Uuid, uuid::Uuid, String, String, Option<String>, DbTime);

fn device_id(text: &str) -> Result<DeviceId> {
    name("device id", text)
}

fn within(time: Option<DbTime>, until: Timestamp) -> Option<Timestamp> {
    time.map(Timestamp::from).filter(|time| *time <= until)
}

impl Store {
    /// The units of a profile as they were known at `until`, and when they were registered.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn profile_units(&self, profile: &ProfileId, until: Timestamp) -> Result<Vec<(Device, Timestamp)>> {
        let what = "reading the units of a profile";
        let rows: Vec<UnitRow> = fetch_all!(self.db().read, what, UNITS, profile.as_str(), at(until))?;
        rows.into_iter()
            .map(|(id, org, site, profile, name, plate, created)| {
                let row: DeviceRow = (id, org, site, profile, name, plate);
                Ok((device(row)?, Timestamp::from(created)))
            })
            .collect()
    }

    /// The units of a profile and what `failures` names, as it was known at `until`.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn failure_history(
        &self,
        profile: &ProfileId,
        failures: &Failures,
        until: Timestamp,
    ) -> Result<FailureHistory> {
        let (read, what) = (&self.db().read, "reading the history of failures");
        let units = self.profile_units(profile, until).await?;
        let mut incidents = Vec::new();
        for rule in &failures.rules {
            let (profile, rule_id) = (profile.as_str(), rule.as_str());
            let rows: Vec<AlertRow> =
                fetch_all!(read, what, ALERTS, profile, rule_id, at(until), CauseId::NOTHING_FOUND)?;
            for (device, from, to, withdrawn, found) in rows {
                let (device, kind, to) = (device_id(&device)?, IncidentKind::Rule(rule.clone()), within(to, until));
                let (withdrawn, false_alarm) = (to.filter(|_| withdrawn), within(found, until));
                incidents.push(StoredIncident { device, kind, from: from.into(), to, withdrawn, false_alarm });
            }
        }
        let rows: Vec<TicketRow> =
            fetch_all!(read, what, TICKETS, profile.as_str(), at(until), CauseId::NOTHING_FOUND)?;
        for (device, kind, opened, closed, withdrawn, found) in rows {
            let (device, kind) = (device_id(&device)?, from_code::<TicketKind>("ticket kind", &kind)?);
            let (closed, withdrawn, false_alarm) =
                (within(closed, until), within(withdrawn, until), within(found, until));
            let is_failure = failures.tickets.contains(&kind);
            if is_failure {
                let (device, kind) = (device.clone(), IncidentKind::Ticket(kind));
                incidents.push(StoredIncident {
                    device,
                    kind,
                    from: opened.into(),
                    to: closed,
                    withdrawn,
                    false_alarm,
                });
            }
            // That it was a visit is known when it is known to be no failure. A ticket that closed because there had been
            // nothing, as its device says, sent nobody.
            let visited = if is_failure { false_alarm } else { closed };
            if let Some(visited) = visited
                && withdrawn.is_none_or(|withdrawn| withdrawn > visited)
            {
                let (kind, to) = (IncidentKind::Visit, Some(visited));
                incidents.push(StoredIncident { device, kind, from: visited, to, withdrawn: None, false_alarm: None });
            }
        }
        self.event_incidents(profile, failures, until, &mut incidents).await?;
        Ok(FailureHistory { units, incidents })
    }

    async fn event_incidents(
        &self,
        profile: &ProfileId,
        failures: &Failures,
        until: Timestamp,
        incidents: &mut Vec<StoredIncident>,
    ) -> Result<()> {
        let (read, what) = (&self.db().read, "reading the events that are failures");
        let mut ends: HashMap<String, Vec<Timestamp>> = HashMap::new();
        for code in &failures.ends {
            let rows: Vec<(String, DbTime)> =
                fetch_all!(read, what, EVENTS, profile.as_str(), code.as_str(), at(until))?;
            for (device, time) in rows {
                ends.entry(device).or_default().push(time.into());
            }
        }
        ends.values_mut().for_each(|times| times.sort_unstable());
        for code in &failures.events {
            let rows: Vec<(String, DbTime)> =
                fetch_all!(read, what, EVENTS, profile.as_str(), code.as_str(), at(until))?;
            for (device, from) in rows {
                let from = Timestamp::from(from);
                let to = if failures.ends.is_empty() {
                    Some(from)
                } else {
                    let own = ends.get(&device).map(Vec::as_slice).unwrap_or_default();
                    own.get(own.partition_point(|end| *end < from)).copied()
                };
                let kind = IncidentKind::Event(code.clone());
                let device = device_id(&device)?;
                incidents.push(StoredIncident { device, kind, from, to, withdrawn: None, false_alarm: None });
            }
        }
        Ok(())
    }

    /// Keeps the daily means of a channel. A day that is kept already stays as it is.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn keep_channel_days(&self, channel: &ChannelId, days: &[ChannelDay]) -> Result<u64> {
        let days: Vec<&ChannelDay> = days.iter().filter(|day| day.mean.is_finite()).collect();
        let mut tx = self.db().begin().await?;
        let columns = [
            Column::Texts(days.iter().map(|day| Some(day.device.to_string())).collect()),
            Column::Texts(days.iter().map(|_| Some(channel.to_string())).collect()),
            Column::Times(days.iter().map(|day| Some(at(day.ended_at))).collect()),
            Column::Floats(days.iter().map(|day| day.mean).collect()),
        ];
        let kept = bulk::write(&mut tx, "keeping daily means", KEEP_DAYS, days.len(), &columns).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// The daily means of a channel on all units of a profile that ended after `after` and not after `until`, in order.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn channel_days(
        &self,
        profile: &ProfileId,
        channel: &ChannelId,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<ChannelDay>> {
        let rows: Vec<(String, DbTime, f64)> = fetch_all!(
            self.db().read,
            "reading daily means",
            DAYS,
            profile.as_str(),
            channel.as_str(),
            at(after),
            at(until)
        )?;
        let day = |(device, ended_at, mean): (String, DbTime, f64)| {
            Ok(ChannelDay { device: device_id(&device)?, ended_at: ended_at.into(), mean })
        };
        rows.into_iter().map(day).collect()
    }

    /// When the last day ended of which a channel's means are kept.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn last_channel_day(&self, profile: &ProfileId, channel: &ChannelId) -> Result<Option<Timestamp>> {
        let row: Option<(Option<DbTime>,)> = fetch_optional!(
            self.db().read,
            "looking for the last daily mean",
            LAST_DAY,
            profile.as_str(),
            channel.as_str()
        )?;
        Ok(row.and_then(|(time,)| time).map(Timestamp::from))
    }
}
