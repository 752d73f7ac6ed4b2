//! Days off, on which units run and fail as on a Sunday.

use jiff::civil::{Date, Weekday};

use super::DAY;

/// Whose days off count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Calendar {
    /// Nobody's: only weekdays are told apart.
    #[default]
    Weekdays,
    /// The federal holidays of the United States (5 U.S.C. 6103, Executive Order 11582): each day itself, and the Friday
    /// before if it falls on a Saturday, the Monday after if it falls on a Sunday.
    UnitedStates,
}

impl Calendar {
    /// The day of the week as units feel it, Monday 0 to Sunday 6: a day off is a Sunday. Days are those of UTC.
    pub(super) fn weekday(self, now: i64) -> i64 {
        let day = now.div_euclid(DAY);
        if self.is_off(day) { 6 } else { of_week(day) }
    }

    fn is_off(self, day: i64) -> bool {
        match self {
            Self::Weekdays => false,
            Self::UnitedStates => {
                let fixed = |day: i64| date(day).is_some_and(has_fixed_date);
                let moved = match of_week(day) {
                    0 => fixed(day - 1),
                    4 => fixed(day + 1),
                    _ => false,
                };
                moved || fixed(day) || date(day).is_some_and(has_fixed_weekday)
            }
        }
    }
}

/// Day 0 was a Thursday.
fn of_week(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

fn date(day: i64) -> Option<Date> {
    jiff::Timestamp::from_second(day.checked_mul(DAY / 1_000_000)?)
        .ok()
        .map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date())
}

fn has_fixed_date(date: Date) -> bool {
    // Juneteenth is one since 2021.
    matches!((date.month(), date.day()), (1, 1) | (7, 4) | (11, 11) | (12, 25))
        || (date.year() >= 2021 && (date.month(), date.day()) == (6, 19))
}

fn has_fixed_weekday(date: Date) -> bool {
    let nth = (date.day() - 1) / 7 + 1;
    let last = date.day() + 7 > date.days_in_month();
    match (date.month(), date.weekday()) {
        (1 | 2, Weekday::Monday) => nth == 3,
        (5, Weekday::Monday) => last,
        (9, Weekday::Monday) => nth == 1,
        (10, Weekday::Monday) => nth == 2,
        (11, Weekday::Thursday) => nth == 4,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days_off(calendar: Calendar, year: i16) -> Vec<String> {
        let first = Date::new(year, 1, 1).unwrap();
        let from = first.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second() / 86_400;
        let off = (from..from + i64::from(first.days_in_year())).filter(|day| calendar.is_off(*day));
        off.map(|day| date(day).unwrap().strftime("%m-%d").to_string()).collect()
    }

    #[test]
    fn federal_holidays_are_those_of_the_published_lists() {
        // The lists of the Office of Personnel Management.
        let of_2013 = ["01-01", "01-21", "02-18", "05-27", "07-04", "09-02", "10-14", "11-11", "11-28", "12-25"];
        assert_eq!(days_off(Calendar::UnitedStates, 2013), of_2013);
        // 4 July 2015 was a Saturday, 25 December 2022 a Sunday; 2023 began on one; 1 January 2022 was a Saturday.
        assert!(days_off(Calendar::UnitedStates, 2015).contains(&"07-03".to_owned()));
        assert!(days_off(Calendar::UnitedStates, 2022).contains(&"12-26".to_owned()));
        assert!(days_off(Calendar::UnitedStates, 2023).contains(&"01-02".to_owned()));
        assert!(days_off(Calendar::UnitedStates, 2021).contains(&"12-31".to_owned()));
        assert!(days_off(Calendar::UnitedStates, 2021).contains(&"06-18".to_owned()));
        assert!(days_off(Calendar::Weekdays, 2013).is_empty());
    }

    #[test]
    fn a_day_off_is_a_sunday_and_others_are_what_they_are() {
        let monday = Date::new(2014, 5, 26).unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        let at = |day: i64| monday.timestamp().as_microsecond() + day * DAY + 9 * DAY / 24;
        assert_eq!([0, 1, 6, 7].map(|day| Calendar::UnitedStates.weekday(at(day))), [6, 1, 6, 0]);
        assert_eq!(Calendar::Weekdays.weekday(at(0)), 0);
        assert_eq!(Calendar::UnitedStates.weekday(i64::MIN), Calendar::Weekdays.weekday(i64::MIN));
    }
}
