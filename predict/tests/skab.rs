//! The valve of the Skoltech benchmark: learnt from its first 400 rows.

mod support;

use predict::{baseline::Baseline, judge::skab::Account};
use support::recorded;

#[test]
fn a_closing_valve_is_found_at_few_false_alarms() {
    let Some(folder) = recorded("skab/valve2") else { return };
    let (mut mine, mut always) = (Account::default(), Account::default());
    for file in 0..4 {
        let mut reader =
            csv::ReaderBuilder::new().delimiter(b';').from_path(folder.join(format!("{file}.csv"))).expect("opens");
        let mut baseline = Baseline::new(8, 400);
        let rows: Vec<(bool, bool)> = reader
            .records()
            .map(|row| {
                let row = row.expect("a row");
                let found = baseline.take((1..9).map(|n| row[n].parse().ok()));
                (&row[9] == "1.0", found.is_some_and(|found| found.score >= 0.5))
            })
            .collect();
        let mut alone = Account::default();
        alone.add(rows[400..].iter().copied());
        println!("{file}: {alone}");
        mine.add(rows[400..].iter().copied());
        always.add(rows[400..].iter().map(|(anomalous, _)| (*anomalous, true)));
    }
    println!("learnt: {mine}\nalways: {always}");
    assert!(mine.f1() > always.f1() && mine.false_alarm_rate() < 0.3);
}
