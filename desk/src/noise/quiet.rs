//! Quiet hours: times of the week in which some alerts wait until people are at work.

use jiff::{civil, tz::TimeZone};
use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Held, NoiseError, Reason,
    labels::{Labels, Matchers},
};

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// Every day.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    fn of(date: civil::Date) -> Self {
        match date.weekday() {
            civil::Weekday::Monday => Self::Mon,
            civil::Weekday::Tuesday => Self::Tue,
            civil::Weekday::Wednesday => Self::Wed,
            civil::Weekday::Thursday => Self::Thu,
            civil::Weekday::Friday => Self::Fri,
            civil::Weekday::Saturday => Self::Sat,
            civil::Weekday::Sunday => Self::Sun,
        }
    }
}

/// Hours of the week in which matching alerts are not paged until the hours end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// Its name, as it is told on timelines.
    pub name: String,
    /// Which alerts.
    #[serde(rename = "match")]
    pub matchers: Matchers,
    /// IANA time zone.
    pub time_zone: String,
    /// The days on which the hours begin.
    #[serde(default = "every_day")]
    pub days: Vec<Day>,
    /// The local time at which they begin, such as `22:00`.
    pub from: String,
    /// The local time at which they end; at or before `from`: on the next day.
    pub to: String,
}

fn every_day() -> Vec<Day> {
    Day::ALL.to_vec()
}

impl QuietHours {
    /// Checks that the hours can be read and name what they concern.
    ///
    /// # Errors
    /// [`NoiseError`] for the first that cannot be used.
    pub fn validate(&self) -> Result<(), NoiseError> {
        self.matchers.validate()?;
        if self.matchers.is_empty() {
            return Err(NoiseError::QuietHoursOfEverything { name: self.name.clone() });
        }
        let read = self.read().is_some() && !self.days.is_empty();
        if read { Ok(()) } else { Err(NoiseError::QuietHours { name: self.name.clone() }) }
    }

    fn read(&self) -> Option<(TimeZone, civil::Time, civil::Time)> {
        Some((TimeZone::get(&self.time_zone).ok()?, self.from.parse().ok()?, self.to.parse().ok()?))
    }

    /// If it is quiet at `now`: when that ends. Hours keep their wall-clock times across daylight-saving changes.
    #[must_use]
    pub fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let (zone, from, to) = self.read()?;
        let today = zone.to_datetime(now.to_jiff()).date();
        // Hours that began yesterday may reach into today.
        [today.yesterday().ok()?, today].into_iter().find_map(|date| {
            let last = if to <= from { date.tomorrow().ok()? } else { date };
            let at = |date: civil::Date, time| zone.to_timestamp(date.to_datetime(time)).ok().map(Timestamp::from);
            let (begins, ends) = (at(date, from)?, at(last, to)?);
            (self.days.contains(&Day::of(date)) && begins <= now && now < ends).then_some(ends)
        })
    }
}

/// The second stage: what quiet hours hold until they end.
pub(super) fn quiet(target: &Labels, hours: &[QuietHours], now: Timestamp) -> Option<Held> {
    let holding = hours.iter().filter(|hours| hours.matchers.match_labels(target));
    holding.filter_map(|hours| Some((hours, hours.end(now)?))).max_by_key(|(_, end)| *end).map(|(hours, end)| Held {
        reason: Reason::QuietHours { name: hours.name.clone(), until: end },
        until: Some(end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nights() -> QuietHours {
        QuietHours {
            name: "nights".to_owned(),
            matchers: Matchers::default(),
            time_zone: "Europe/Berlin".to_owned(),
            days: vec![Day::Fri, Day::Sat],
            from: "22:00".to_owned(),
            to: "06:00".to_owned(),
        }
    }

    fn end(at: &str) -> Option<String> {
        nights().end(at.parse().unwrap()).map(|end| end.to_string())
    }

    #[test]
    fn hours_reach_over_midnight_and_keep_the_wall_clock() {
        // Saturday, 28 March 2026, 22:00 to Sunday 06:00: the clocks go forward at 02:00, it is quiet for seven hours.
        assert_eq!(end("2026-03-28T20:59:59Z"), None);
        assert_eq!(end("2026-03-28T21:00:00Z").as_deref(), Some("2026-03-29T04:00:00Z"));
        assert_eq!(end("2026-03-29T03:59:59Z").as_deref(), Some("2026-03-29T04:00:00Z"));
        assert_eq!(end("2026-03-29T04:00:00Z"), None);
        assert_eq!(end("2026-03-29T21:00:00Z"), None, "Sunday evening is not one of its days");
        assert_eq!(end("2026-03-27T23:30:00Z").as_deref(), Some("2026-03-28T05:00:00Z"), "since Friday");
    }

    #[test]
    fn hours_that_cannot_be_read_are_refused() {
        let matchers = Matchers([(super::super::Label::Severity, vec!["minor".to_owned()])].into());
        let good = QuietHours { matchers, ..nights() };
        assert_eq!(good.validate(), Ok(()));
        assert!(QuietHours { to: "25:00".to_owned(), ..good.clone() }.validate().is_err());
        assert!(QuietHours { time_zone: "Mars/Base".to_owned(), ..good.clone() }.validate().is_err());
        assert!(QuietHours { days: Vec::new(), ..good }.validate().is_err());
        assert!(nights().validate().is_err(), "it would hold everything");
    }
}
