//! The score of the Numenta Anomaly Benchmark (A. Lavin and S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms",
//! ICMLA 2015).
//!
//! Every anomaly has a window. Of the detections within it only the best placed counts: nearly 1 at the window's left
//! edge, falling to 0 at its right edge along a sigmoid. A window without detection costs one. Every detection outside
//! costs a share of [`FALSE_POSITIVE`]: little just behind a window, all of it far from one. The sum is scaled so that no
//! detection at all gives 0 and the best possible 100. The first 15 % of a series, at most [`MOST_PROBATION`] rows, are
//! not scored. One threshold holds for all series.

/// What a false positive costs in the standard profile.
pub const FALSE_POSITIVE: f64 = 0.11;
/// The most rows that are not scored.
pub const MOST_PROBATION: usize = 750;

/// Rows of a series of `rows` that are not scored.
#[must_use]
pub fn probation(rows: usize) -> usize {
    (rows * 15 / 100).min(MOST_PROBATION)
}

/// One scored row.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    score: f64,
    /// What a detection here is worth.
    worth: f64,
    /// The window it lies in, counted over all series.
    window: Option<usize>,
}

/// Scored series, to be judged together.
#[derive(Debug, Clone, Default)]
pub struct Judge {
    points: Vec<Point>,
    windows: usize,
}

/// The verdict at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Rows with at least this score are detections.
    pub threshold: f64,
    /// The scaled score: 0 for no detection, 100 for a perfect one; negative if worse than none. 0 without windows.
    pub score: f64,
    /// Windows with a detection.
    pub detected: usize,
    /// Windows.
    pub windows: usize,
    /// Detections outside windows.
    pub false_positives: usize,
    /// Rows outside windows.
    pub ordinary: usize,
}

impl Judge {
    /// Adds a series: the score of every row, and the windows as first and last row, in order.
    pub fn add(&mut self, scores: &[f64], windows: &[(usize, usize)]) {
        let first = probation(scores.len());
        let mut next = 0;
        for (row, score) in scores.iter().enumerate() {
            while windows.get(next).is_some_and(|(_, last)| *last < row) {
                next += 1;
            }
            if row < first {
                continue;
            }
            let point = match windows.get(next) {
                Some((left, right)) if *left <= row => {
                    let place = -((right - row + 1) as f64) / (right - left + 1) as f64;
                    Point { score: *score, worth: sigmoid(place) / sigmoid(-1.0), window: Some(self.windows + next) }
                }
                Some(_) | None => {
                    let before = next.checked_sub(1).and_then(|n| windows.get(n));
                    let worth = before
                        .map_or(-1.0, |(left, right)| sigmoid((row - right) as f64 / (right - left).max(1) as f64));
                    Point { score: *score, worth: FALSE_POSITIVE * worth, window: None }
                }
            };
            self.points.push(point);
        }
        self.windows += windows.len();
    }

    /// The verdict at a threshold.
    #[must_use]
    pub fn at(&self, threshold: f64) -> Verdict {
        let mut best: Vec<Option<f64>> = vec![None; self.windows];
        let (mut sum, mut false_positives, mut ordinary) = (0.0, 0, 0);
        for point in &self.points {
            let found = point.score >= threshold;
            match point.window {
                Some(window) if found => {
                    best[window] = Some(best[window].map_or(point.worth, |best: f64| best.max(point.worth)));
                }
                Some(_) => {}
                None => {
                    ordinary += 1;
                    if found {
                        false_positives += 1;
                        sum += point.worth;
                    }
                }
            }
        }
        let detected = best.iter().flatten().count();
        sum += best.iter().map(|worth| worth.unwrap_or(-1.0)).sum::<f64>();
        Verdict { threshold, score: self.scaled(sum), detected, windows: self.windows, false_positives, ordinary }
    }

    /// The verdict at the threshold that gives the highest score.
    #[must_use]
    pub fn best(&self) -> Verdict {
        let mut order: Vec<&Point> = self.points.iter().collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut best = vec![-1.0; self.windows];
        let mut sum = -(self.windows as f64);
        let (mut most, mut threshold) = (sum, f64::INFINITY);
        for (n, point) in order.iter().enumerate() {
            match point.window {
                Some(window) if point.worth > best[window] => {
                    sum += point.worth - best[window];
                    best[window] = point.worth;
                }
                Some(_) => {}
                None => sum += point.worth,
            }
            let last_of_its_score = order.get(n + 1).is_none_or(|next| next.score < point.score);
            if last_of_its_score && sum > most {
                (most, threshold) = (sum, point.score);
            }
        }
        self.at(threshold)
    }

    fn scaled(&self, sum: f64) -> f64 {
        if self.windows == 0 { 0.0 } else { 100.0 * (sum + self.windows as f64) / (2.0 * self.windows as f64) }
    }
}

/// The worth of a detection by its place: -1 the left edge of a window, 0 its right edge, 1 a window's length behind it.
fn sigmoid(place: f64) -> f64 {
    if place > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * place).exp()) - 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(found: impl Fn(usize) -> bool) -> Verdict {
        let mut judge = Judge::default();
        let scores: Vec<f64> = (0..1000).map(|row| f64::from(u8::from(found(row)))).collect();
        judge.add(&scores, &[(300, 399), (600, 699)]);
        judge.at(0.5)
    }

    #[test]
    fn no_detection_gives_0_and_a_perfect_one_100() {
        assert_eq!(judge(|_| false).score, 0.0);
        let perfect = judge(|row| row == 300 || row == 600);
        assert!((perfect.score - 100.0).abs() < 1e-9, "{perfect:?}");
        assert_eq!((perfect.detected, perfect.false_positives), (2, 0));
    }

    #[test]
    fn later_is_worth_less_and_false_positives_cost_by_their_distance() {
        let late = judge(|row| row == 390 || row == 600).score;
        assert!((50.0..100.0).contains(&late), "{late}");
        // A detection far from windows costs 0.11 of 4 (two windows, from -1 to 1).
        let far = judge(|row| [200, 300, 600].contains(&row)).score;
        assert!((far - (100.0 - 100.0 * FALSE_POSITIVE / 4.0)).abs() < 1e-6, "{far}");
        let near = judge(|row| [300, 402, 600].contains(&row)).score;
        assert!(near > far && near < 100.0, "{near}");
        // Not scored: the first 150 rows.
        assert_eq!(judge(|row| row < 150).score, 0.0);
    }

    #[test]
    fn the_best_threshold_is_found() {
        let mut judge = Judge::default();
        let scores: Vec<f64> = (0..1000).map(|row| if row == 305 { 0.9 } else { (row % 10) as f64 / 20.0 }).collect();
        judge.add(&scores, &[(300, 399)]);
        let best = judge.best();
        assert_eq!((best.threshold, best.false_positives, best.detected), (0.9, 0, 1));
        assert!(best.score >= judge.at(0.3).score);
        assert_eq!(Judge::default().best().score, 0.0);
    }
}
