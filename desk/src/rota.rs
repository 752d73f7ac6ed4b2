//! Rotas: who is on call for a rescue level at a site, at a time.

use std::time::Duration;

use jiff::{Span, Unit, civil::DateTime, tz::TimeZone};
use model::{OrgId, PersonId, RescueLevel, RotaId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

/// A rotation of people through equal shifts, in wall-clock time of a time zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rota {
    /// Its id.
    pub id: RotaId,
    /// The organisation it belongs to.
    pub org: OrgId,
    /// The site it covers; `None`: every site of the organisation that has no rota of its own for this level.
    pub site: Option<SiteId>,
    /// The level it staffs.
    pub level: RescueLevel,
    /// IANA time zone of the handovers, such as `Asia/Shanghai`.
    pub time_zone: String,
    /// A past handover, as local date and time `2026-01-05T08:00`.
    pub first_handover: String,
    /// The length of a shift in local wall-clock days: handovers keep their hour across daylight-saving changes.
    pub shift_days: u32,
    /// The people, in the order of their shifts.
    pub members: Vec<PersonId>,
    /// How many members, starting with the one whose shift it is, are called together; at least 1.
    pub together: u32,
}

/// Why a rota cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotaError {
    /// The time zone is not known.
    #[error("unknown time zone \"{0}\": use an IANA name such as \"Asia/Shanghai\"")]
    TimeZone(String),
    /// The first handover cannot be read.
    #[error("\"{0}\" is not a local date and time: write it like \"2026-01-05T08:00\"")]
    FirstHandover(String),
    /// Shifts have no length.
    #[error("a shift must last at least one day")]
    ShiftLength,
}

/// The shortest shift.
pub const DAY: Duration = Duration::from_secs(86_400);

impl Rota {
    /// Who is on call at `now`, the first to be called first; empty if the rota has no members.
    ///
    /// Handovers keep their wall-clock hour. One that falls into the hour skipped in spring happens one hour later by
    /// the clock; one that falls into the hour repeated in autumn happens the first time. The rotation also runs
    /// backwards from the first handover, so that a time before it has an answer too.
    ///
    /// # Errors
    /// [`RotaError`] if the rota's own settings cannot be read.
    pub fn on_call(&self, now: Timestamp) -> Result<Vec<PersonId>, RotaError> {
        let shift = Handovers::read(self)?.shift_at(now);
        let Ok(len) = i64::try_from(self.members.len()) else { return Ok(Vec::new()) };
        if len == 0 {
            return Ok(Vec::new());
        }
        let first = usize::try_from(shift.rem_euclid(len)).unwrap_or(0);
        let together = usize::try_from(self.together).unwrap_or(usize::MAX).max(1);
        let mut people: Vec<PersonId> = Vec::new();
        for person in self.members.iter().cycle().skip(first).take(self.members.len()) {
            if people.len() < together && !people.contains(person) {
                people.push(*person);
            }
        }
        Ok(people)
    }

    /// Checks the rota's own settings.
    ///
    /// # Errors
    /// [`RotaError`] for the first setting that cannot be used.
    pub fn validate(&self) -> Result<(), RotaError> {
        Handovers::read(self).map(|_| ())
    }
}

/// The endless series of handovers of a rota; number 0 is the first one.
struct Handovers {
    zone: TimeZone,
    first: DateTime,
    shift_days: i64,
}

impl Handovers {
    fn read(rota: &Rota) -> Result<Self, RotaError> {
        if rota.shift_days == 0 {
            return Err(RotaError::ShiftLength);
        }
        let zone = TimeZone::get(&rota.time_zone).map_err(|_| RotaError::TimeZone(rota.time_zone.clone()))?;
        let first = rota.first_handover.parse().map_err(|_| RotaError::FirstHandover(rota.first_handover.clone()))?;
        Ok(Self { zone, first, shift_days: i64::from(rota.shift_days) })
    }

    /// The number of the last handover at or before `now`.
    fn shift_at(&self, now: Timestamp) -> i64 {
        let today = self.zone.to_datetime(now.to_jiff()).date();
        let days = self.first.date().until((Unit::Day, today)).map_or(0, |span| i64::from(span.get_days()));
        let shift = days.div_euclid(self.shift_days);
        // By date alone this is right except on the day of a handover before its hour.
        if self.at(shift).is_some_and(|at| at > now) { shift - 1 } else { shift }
    }

    /// When a handover happens; `None` outside the years that the calendar knows.
    fn at(&self, number: i64) -> Option<Timestamp> {
        let days = Span::new().try_days(number.checked_mul(self.shift_days)?).ok()?;
        let local = self.first.checked_add(days).ok()?;
        self.zone.to_timestamp(local).ok().map(Timestamp::from)
    }
}

#[cfg(test)]
mod tests {
    use model::{OrgId, PersonId, RescueLevel, RotaId, Timestamp};

    use super::{Rota, RotaError};

    fn rota(time_zone: &str, first_handover: &str, shift_days: u32, members: u128) -> Rota {
        Rota {
            id: RotaId(uuid(1)),
            org: OrgId(uuid(2)),
            site: None,
            level: RescueLevel::Maintainer,
            time_zone: time_zone.to_owned(),
            first_handover: first_handover.to_owned(),
            shift_days,
            members: (0..members).map(|n| PersonId(uuid(n))).collect(),
            together: 1,
        }
    }

    fn uuid(n: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(n)
    }

    /// The numbers of those on call at a time.
    fn on_call(rota: &Rota, now: &str) -> Vec<u128> {
        let now: Timestamp = now.parse().unwrap();
        rota.on_call(now).unwrap().into_iter().map(|person| person.0.as_u128()).collect()
    }

    #[test]
    fn berlin_hands_over_at_eight_by_the_clock_in_winter_and_summer() {
        let rota = rota("Europe/Berlin", "2026-03-27T08:00", 1, 4);
        // Friday 27 March: 08:00 is 07:00 UTC. Sunday 29 March, after the change: 06:00 UTC.
        assert_eq!(on_call(&rota, "2026-03-27T06:59:59Z"), [3]);
        assert_eq!(on_call(&rota, "2026-03-27T07:00:00Z"), [0]);
        assert_eq!(on_call(&rota, "2026-03-28T07:00:00Z"), [1]);
        assert_eq!(on_call(&rota, "2026-03-29T05:59:59Z"), [1]);
        assert_eq!(on_call(&rota, "2026-03-29T06:00:00Z"), [2]);
        // Sunday 25 October is 212 days on: back to 07:00 UTC.
        assert_eq!(on_call(&rota, "2026-10-24T06:00:00Z"), [211 % 4]);
        assert_eq!(on_call(&rota, "2026-10-25T06:59:59Z"), [211 % 4]);
        assert_eq!(on_call(&rota, "2026-10-25T07:00:00Z"), [212 % 4]);
    }

    #[test]
    fn a_handover_in_the_skipped_or_the_repeated_hour_happens_once() {
        // 29 March 2026: 02:00 becomes 03:00. The 02:30 handover happens at 03:30 local time, 01:30 UTC.
        let spring = rota("Europe/Berlin", "2026-03-28T02:30", 1, 2);
        assert_eq!(on_call(&spring, "2026-03-29T01:29:59Z"), [0]);
        assert_eq!(on_call(&spring, "2026-03-29T01:30:00Z"), [1]);
        // 25 October 2026: 03:00 becomes 02:00. 02:30 happens first at 00:30 UTC and stays handed over.
        let autumn = rota("Europe/Berlin", "2026-10-24T02:30", 1, 2);
        assert_eq!(on_call(&autumn, "2026-10-25T00:29:59Z"), [0]);
        assert_eq!(on_call(&autumn, "2026-10-25T00:30:00Z"), [1]);
        assert_eq!(on_call(&autumn, "2026-10-25T01:30:00Z"), [1]);
    }

    #[test]
    fn shanghai_weeks_turn_on_monday_morning() {
        let rota = rota("Asia/Shanghai", "2026-01-05T08:00", 7, 3);
        assert_eq!(on_call(&rota, "2026-01-05T00:00:00Z"), [0]);
        assert_eq!(on_call(&rota, "2026-01-11T23:59:59Z"), [0]);
        assert_eq!(on_call(&rota, "2026-01-12T00:00:00Z"), [1]);
        assert_eq!(on_call(&rota, "2026-01-26T00:00:00Z"), [0]);
    }

    #[test]
    fn the_rotation_runs_backwards_before_the_first_handover() {
        let rota = rota("Asia/Shanghai", "2026-01-05T08:00", 7, 3);
        assert_eq!(on_call(&rota, "2026-01-04T23:59:59Z"), [2]);
        assert_eq!(on_call(&rota, "2025-12-29T00:00:00Z"), [2]);
        assert_eq!(on_call(&rota, "2025-12-28T23:59:59Z"), [1]);
        assert_eq!(on_call(&rota, "1999-12-31T23:59:59Z").len(), 1);
    }

    #[test]
    fn several_are_called_together_starting_with_the_one_on_duty() {
        let mut rota = rota("Asia/Shanghai", "2026-01-05T08:00", 1, 3);
        rota.together = 2;
        assert_eq!(on_call(&rota, "2026-01-07T01:00:00Z"), [2, 0]);
        rota.together = 9;
        assert_eq!(on_call(&rota, "2026-01-06T01:00:00Z"), [1, 2, 0]);
        rota.together = 0;
        assert_eq!(on_call(&rota, "2026-01-06T01:00:00Z"), [1]);
        rota.members.clear();
        assert!(on_call(&rota, "2026-01-06T01:00:00Z").is_empty());
    }

    #[test]
    fn a_rota_that_cannot_be_read_says_why() {
        let good = rota("Asia/Shanghai", "2026-01-05T08:00", 1, 1);
        assert_eq!(good.validate(), Ok(()));
        let bad = Rota { time_zone: "Asia/Atlantis".to_owned(), ..good.clone() };
        assert_eq!(bad.validate(), Err(RotaError::TimeZone("Asia/Atlantis".to_owned())));
        let bad = Rota { first_handover: "Monday".to_owned(), ..good.clone() };
        assert_eq!(bad.validate(), Err(RotaError::FirstHandover("Monday".to_owned())));
        assert_eq!(Rota { shift_days: 0, ..good }.validate(), Err(RotaError::ShiftLength));
    }
}
