//! The table of the ingest bench.

use std::time::Duration;

use super::{Route, node_red::Insert, probes::Latencies};
use crate::report::rate;

/// What was found out about a path in one round.
pub struct Measured {
    /// Messages a second, flat out.
    pub rate: f64,
    /// How long messages took meanwhile.
    pub flat_out: Latencies,
    /// At half load: messages a second, and how long messages took.
    pub half_load: Option<(f64, Latencies)>,
    /// Processor time for each message by process, in microseconds.
    pub cpu_us: Vec<(&'static str, f64)>,
    /// Resident memory of the hub at the end.
    pub memory: Option<u64>,
    /// Bytes of the table of readings and its index for each reading.
    pub bytes_per_reading: Option<f64>,
    /// Bytes of the journal at the end.
    pub journal_bytes: Option<u64>,
}

impl Measured {
    /// Only how fast.
    pub fn rate_only(messages: u64, took: Duration) -> Self {
        Self {
            rate: rate(messages, took),
            flat_out: Latencies::default(),
            half_load: None,
            cpu_us: Vec::new(),
            memory: None,
            bytes_per_reading: None,
            journal_bytes: None,
        }
    }
}

/// The median.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How often one is the other, round by round: within a round the machine is the same.
fn ratios(this: &[f64], that: &[f64]) -> Vec<f64> {
    this.iter().zip(that).map(|(this, that)| this / that).collect()
}

/// Prints one line a path, then the ratios that matter.
pub fn print(routes: &[Route], all: Vec<Vec<Measured>>) {
    println!();
    println!(
        "{:<32} {:>10} {:>7} | {:>19} | {:>36} | {:>8} {:>8}  cpu us/message",
        "", "messages/s", "of ref.", "flat out, p50/p99", "half load: stored, alert p50/p99", "hub MiB", "B/read."
    );
    let rates: Vec<Vec<f64>> = all.iter().map(|rounds| rounds.iter().map(|measured| measured.rate).collect()).collect();
    let of = |wanted: Route| routes.iter().zip(&rates).find(|(route, _)| **route == wanted).map(|(_, rates)| rates);
    for ((route, rounds), rates) in routes.iter().zip(all).zip(&rates) {
        let Some(mut last) = rounds.into_iter().last() else { continue };
        let rate = median(&mut rates.clone());
        let ratio = of(Route::Reference)
            .map_or(String::new(), |reference| format!("{:.2}", median(&mut ratios(rates, reference))));
        let half = last.half_load.as_mut().map_or(String::new(), |(pace, latencies)| {
            format!("{pace:.0}/s: {}, {}", pair(&mut latencies.stored), pair(&mut latencies.alerted))
        });
        let cpu: Vec<String> = last.cpu_us.iter().map(|(name, us)| format!("{name} {us:.1}")).collect();
        println!(
            "{:<32} {:>10.0} {:>7} | {:>19} | {:>36} | {:>8} {:>8}  {}",
            route.name(),
            rate,
            ratio,
            pair(&mut last.flat_out.stored),
            half,
            last.memory.map_or(String::new(), |bytes| format!("{}", bytes >> 20)),
            last.bytes_per_reading.map_or(String::new(), |bytes| format!("{bytes:.1}")),
            cpu.join(", ")
        );
    }
    println!();
    let goals = [
        ("hub on PostgreSQL to the reference", Route::HubPostgres, Route::Reference, 0.8),
        ("hub on SQLite to hub on PostgreSQL", Route::HubSqlite, Route::HubPostgres, 0.8),
        ("front door to Mosquitto path (PostgreSQL)", Route::DoorPostgres, Route::HubPostgres, 2.0),
        ("front door to Mosquitto path (SQLite)", Route::DoorSqlite, Route::HubSqlite, 2.0),
        ("hub to Node-RED, a row a value", Route::HubPostgres, Route::NodeRed(Insert::Values), 3.0),
        ("hub to Node-RED, a row a message", Route::HubPostgres, Route::NodeRed(Insert::Rows), 3.0),
        ("hub to Node-RED, an array a column", Route::HubPostgres, Route::NodeRed(Insert::Arrays), 3.0),
    ];
    for (what, this, that, goal) in goals {
        if let (Some(this), Some(that)) = (of(this), of(that)) {
            let mut ratios = ratios(this, that);
            let rounds: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            println!("{what:<44} {:>7.2}   goal {goal:.1}   by round {}", median(&mut ratios), rounds.join(", "));
        }
    }
}

/// Median and 99th percentile in milliseconds.
fn pair(durations: &mut crate::report::Durations) -> String {
    if durations.is_empty() {
        return "-".to_owned();
    }
    format!("{:.0}/{:.0} ms", durations.quantile_ms(0.5), durations.quantile_ms(0.99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [5.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&mut []), 0.0);
    }
}
