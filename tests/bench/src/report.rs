//! How figures are gathered and printed.

use std::time::Duration;

/// A sample of durations.
#[derive(Default)]
pub struct Durations(Vec<Duration>);

impl Durations {
    /// Adds one.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A quantile from 0 to 1, in milliseconds; 0 of an empty sample.
    pub fn quantile_ms(&mut self, quantile: f64) -> f64 {
        self.0.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into a sample in memory"
        )]
        let index = (self.0.len().saturating_sub(1) as f64 * quantile.clamp(0.0, 1.0)).round() as usize;
        self.0.get(index).map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
    }
}

/// How many a second.
pub fn rate(count: u64, span: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = count as f64;
    count / span.as_secs_f64().max(1e-9)
}

/// Prints one line: what, how much, and a remark.
pub fn line(what: &str, figure: &str, remark: &str) {
    println!("{what:<44} {figure:>16}   {remark}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_sample() {
        let mut sample = Durations::default();
        for ms in [5, 1, 4, 2, 3] {
            sample.push(Duration::from_millis(ms));
        }
        assert_eq!(sample.quantile_ms(0.5), 3.0);
        assert_eq!(sample.quantile_ms(1.0), 5.0);
        assert_eq!(Durations::default().quantile_ms(0.5), 0.0);
    }
}
