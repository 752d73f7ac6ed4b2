//! The measures of the Skoltech Anomaly Benchmark (I. Katser and V. Kozitsin 2020): every row is right or wrong, and a
//! change is found late or early.

use std::fmt;

/// Rows counted by what they were and what was said of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Account {
    /// Anomalous, and an alarm.
    pub true_alarms: u64,
    /// Normal, and an alarm.
    pub false_alarms: u64,
    /// Anomalous, and no alarm.
    pub missed: u64,
    /// Normal, and no alarm.
    pub quiet: u64,
    /// For each anomaly the rows from its beginning to the first alarm within it; `None` if there was none.
    pub delays: Vec<Option<u64>>,
}

impl Account {
    /// Adds the scored rows of one series: whether each is anomalous, and whether it raised an alarm.
    pub fn add(&mut self, rows: impl IntoIterator<Item = (bool, bool)>) {
        let mut since: Option<u64> = None;
        let mut found = false;
        let (mut was, mut row) = (false, 0);
        for (anomalous, alarm) in rows {
            let count = match (anomalous, alarm) {
                (true, true) => &mut self.true_alarms,
                (true, false) => &mut self.missed,
                (false, true) => &mut self.false_alarms,
                (false, false) => &mut self.quiet,
            };
            *count += 1;
            if anomalous && !was {
                since = Some(row);
                found = false;
            }
            if let Some(began) = since {
                if anomalous && alarm && !found {
                    found = true;
                    self.delays.push(Some(row - began));
                }
                if !anomalous {
                    if !found {
                        self.delays.push(None);
                    }
                    since = None;
                }
            }
            (was, row) = (anomalous, row + 1);
        }
        if since.is_some() && !found {
            self.delays.push(None);
        }
    }

    /// The harmonic mean of precision and recall over rows.
    #[must_use]
    pub fn f1(&self) -> f64 {
        ratio(2 * self.true_alarms, 2 * self.true_alarms + self.false_alarms + self.missed)
    }

    /// The share of normal rows that raised an alarm, "FAR".
    #[must_use]
    pub fn false_alarm_rate(&self) -> f64 {
        ratio(self.false_alarms, self.false_alarms + self.quiet)
    }

    /// The share of anomalous rows that raised none, "MAR".
    #[must_use]
    pub fn missed_rate(&self) -> f64 {
        ratio(self.missed, self.missed + self.true_alarms)
    }

    /// The mean delay of the anomalies that were found, rows; `None` if none was.
    #[must_use]
    pub fn mean_delay(&self) -> Option<f64> {
        let found: Vec<u64> = self.delays.iter().flatten().copied().collect();
        (!found.is_empty()).then(|| found.iter().sum::<u64>() as f64 / found.len() as f64)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delay = self.mean_delay().map_or("-".to_owned(), |rows| format!("{rows:.1} rows"));
        write!(
            f,
            "F1 {:.3}, false alarms {:.1} % of normal rows, missed {:.1} % of anomalous rows, {} of {} anomalies found, mean delay {delay}",
            self.f1(),
            100.0 * self.false_alarm_rate(),
            100.0 * self.missed_rate(),
            self.delays.iter().flatten().count(),
            self.delays.len(),
        )
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_delays_are_counted() {
        let mut account = Account::default();
        account.add((0..100).map(|row| ((40..80).contains(&row), (45..90).contains(&row))));
        account.add((0..10).map(|row| (row >= 8, false)));
        assert_eq!((account.true_alarms, account.false_alarms, account.missed, account.quiet), (35, 10, 7, 58));
        assert_eq!(account.delays, [Some(5), None]);
        assert!((account.f1() - 70.0 / 87.0).abs() < 1e-12);
        assert_eq!(Account::default().f1(), 0.0);
    }
}
