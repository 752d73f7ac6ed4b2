//! The store's history of a profile's units as failure models read it. There is one path: training and forecasting both
//! load it here and take samples from it (docs/adr/0022).

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use model::{Device, Profile, Timestamp, profile::Failures};
use predict::{
    history::{Fleet, History, HistoryError, Incident, Means, Measurement, SEEN_DAYS, Schema, UnitInfo},
    risk::Samples,
};
use store::{ChannelDay, IncidentKind, Series, Store, StoredIncident};

const DAY: Duration = Duration::from_hours(24);
/// How far back samples go, days.
const LONGEST: u64 = 730;
/// How many days of a channel are looked up when its means were never kept.
const FIRST_DAYS: u32 = 35;
/// The most samples, which bounds memory and time of a training (about 0.5 KiB each, and as much again while a member is
/// trained). Beyond that days are left out evenly, but for [`LEAST_DAYS`]; then units, in turn.
const MAX_SAMPLES: usize = 300_000;
/// So many days are looked at however large the fleet is.
const LEAST_DAYS: usize = 100;
/// Daily means are read so many days at a time: 10,000 units have 100,000 of a channel in them.
const READ_DAYS: u64 = 10;
/// A hub that was down for so long at a stretch does not know what came of a day: our choice, a quarter of the usual shortest
/// horizon.
const DOWN: Duration = Duration::from_hours(6);

/// What is known of a profile's units up to a moment.
pub struct Known {
    /// As models read it.
    pub history: History,
    /// The devices, in the order of the units.
    pub devices: Vec<Device>,
    /// Up to when.
    pub until: Timestamp,
}

impl Known {
    /// The days to take samples at, the last one at the moment itself.
    #[must_use]
    pub fn moments(&self) -> Vec<Timestamp> {
        let Some(first) = self.history.happenings.first() else { return vec![self.until] };
        let days = (self.until.since(first.at).as_secs() / DAY.as_secs()).min(LONGEST);
        let seen = SEEN_DAYS as u64;
        let units = self.devices.len().max(1);
        let most = (MAX_SAMPLES / units).max(LEAST_DAYS) as u64;
        let step = days.saturating_sub(seen).div_ceil(most).max(1);
        // Not in whole weeks: every weekday is to be seen.
        let step = if step.is_multiple_of(7) { step + 1 } else { step };
        let back = (0..=days.saturating_sub(seen)).step_by(usize::try_from(step).unwrap_or(1));
        let mut moments: Vec<Timestamp> =
            back.map(|day| self.until - Duration::from_secs(day * DAY.as_secs())).collect();
        moments.reverse();
        moments
    }

    /// The samples of all moments; of a fleet with more unit-days than a training takes, each unit in turn but at the last
    /// moment, which has them all.
    ///
    /// # Errors
    /// If the history is not in order of time.
    pub fn samples(&self) -> Result<Samples, HistoryError> {
        let moments = self.moments();
        self.history.samples_of(&moments, self.devices.len() * moments.len() / MAX_SAMPLES)
    }
}

/// What units of the profile are told apart by: one group, the sources of failures as kinds, and channels.
fn schema(profile: &Profile, failures: &Failures) -> (Schema, HashMap<IncidentKind, u32>) {
    let kinds = failures.rules.iter().cloned().map(|rule| (format!("rule.{rule}"), IncidentKind::Rule(rule)));
    let kinds =
        kinds.chain(failures.events.iter().cloned().map(|code| (format!("event.{code}"), IncidentKind::Event(code))));
    let kinds =
        kinds.chain(failures.tickets.iter().map(|kind| (format!("ticket.{kind}"), IncidentKind::Ticket(*kind))));
    let (names, kinds): (Vec<String>, Vec<IncidentKind>) =
        kinds.chain([("visit".to_owned(), IncidentKind::Visit)]).unzip();
    let channels = failures.channels.iter().map(ToString::to_string).collect();
    let schema = Schema { groups: vec![profile.id.to_string()], kinds: names, channels, ..Schema::default() };
    (schema, kinds.into_iter().zip(0..).collect())
}

/// Whether a sample was taken while something stood that was withdrawn later: it then stays as it was known. Samples are
/// taken every day at the time of `until`.
fn was_looked_at(from: Timestamp, withdrawn: Timestamp, until: Timestamp) -> bool {
    let days = until.since(from).as_secs() / DAY.as_secs();
    from <= until && until - Duration::from_secs(days * DAY.as_secs()) < withdrawn
}

/// Loads what was known at `until`, and when the hub was down, as it is known `now`.
///
/// # Errors
/// If the store fails.
pub async fn load(
    store: &Store,
    profile: &Profile,
    failures: &Failures,
    until: Timestamp,
    now: Timestamp,
) -> anyhow::Result<Known> {
    let stored = store.failure_history(&profile.id, failures, until).await?;
    let (schema, kinds) = schema(profile, failures);
    let mut fleet = Fleet::new(schema)?;
    let (mut devices, mut begun, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
    for (device, registered) in stored.units {
        let info = UnitInfo {
            name: device.id.to_string(),
            group: 0,
            site: device.site.to_string(),
            area: String::new(),
            tags: Vec::new(),
        };
        numbers.insert(device.id.clone(), fleet.add(info)?);
        begun.push(registered);
        devices.push(device);
    }
    let counts = |found: &StoredIncident| found.withdrawn.is_none_or(|at| was_looked_at(found.from, at, until));
    let incidents = stored.incidents.into_iter().filter(counts).filter_map(|found| {
        let unit = *numbers.get(&found.device)?;
        let kind = *kinds.get(&found.kind)?;
        let failure = found.kind != IncidentKind::Visit;
        Some(Incident { unit, from: found.from, to: found.to, failure, kind, false_alarm: found.false_alarm })
    });
    let incidents: Vec<Incident> = incidents.collect();
    let mut means = Means::default();
    let after = until - Duration::from_secs((LONGEST + 70) * DAY.as_secs());
    for (channel, id) in failures.channels.iter().enumerate() {
        let mut from = after;
        while from < until {
            let to = (from + Duration::from_secs(READ_DAYS * DAY.as_secs())).min(until);
            for day in store.channel_days(&profile.id, id, from, to).await? {
                if let Some(unit) = numbers.get(&day.device) {
                    means.push(Measurement { unit: *unit, channel, at: day.ended_at, mean: day.mean });
                }
            }
            from = to;
        }
    }
    let blind = store.times_down(after, now, DOWN).await?;
    let mut history = History::of(fleet, &begun, incidents, means);
    history.blind = blind;
    Ok(Known { history, devices, until })
}

/// Keeps the daily means of the profile's channels up to `until`, for [`load`] to find. Days that are kept stay as they
/// are, whatever devices deliver later.
///
/// # Errors
/// If the store fails.
pub async fn keep_days(store: &Store, profile: &Profile, failures: &Failures, until: Timestamp) -> anyhow::Result<()> {
    let mut units = None;
    for channel in &failures.channels {
        let last = store.last_channel_day(&profile.id, channel).await?;
        let span = until.since(last.unwrap_or(Timestamp::from_micros(i64::MIN)));
        let days = u32::try_from(span.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX).min(FIRST_DAYS);
        if days == 0 {
            continue;
        }
        let units = match &units {
            Some(units) => units,
            None => units.insert(store.profile_units(&profile.id, until).await?),
        };
        let (from, mut means) = (until - DAY * days, Vec::new());
        for (device, _) in units {
            let series = store.series(device.org, &device.id, channel, from, until, days).await;
            if let Some(Series::Buckets { points, .. }) = series.context("reading a channel's days")? {
                means.extend(points.into_iter().map(|point| ChannelDay {
                    device: device.id.clone(),
                    ended_at: point.time + DAY,
                    mean: point.avg,
                }));
            }
        }
        store.keep_channel_days(channel, &means).await?;
    }
    Ok(())
}
