//! A straight line through a bounded history, and the time at which it meets a limit.
//!
//! The line is fitted by least squares together with a daily cycle (two harmonics), so that a warm morning is not
//! taken for wear: as long as the history is too short to tell the two apart, the slope's variance says so.
//!
//! Residuals of machines are correlated in time, which makes plain least squares far too sure of itself. All variances
//! are therefore multiplied by (1 + r) / (1 - r), the factor of a first-order autoregression with the residuals'
//! lag-one correlation r (corrected for its bias in short series), and the degrees of freedom are divided by it.
//!
//! The interval for the crossing time is Fieller's (E. C. Fieller, "Some Problems in Interval Estimation", JRSS B 16,
//! 1954): all times at which the line, given the joint uncertainty of its level and slope, may meet the limit. Its
//! nominal coverage is [`COVERAGE`], for the crossing of the line itself: single values scatter around it. It is open
//! to the late side when the line may never cross. It holds for a steady drift; where the drift set in within the
//! window, the line is too flat at first and the date too late, by more than the interval says.

use serde::{Deserialize, Serialize};

use crate::stats;

/// The nominal coverage of the interval for the crossing time.
pub const COVERAGE: f64 = 0.9;
/// The normal quantile of [`COVERAGE`], two-sided.
const Z_COVERAGE: f64 = 1.644_85;
/// A slope counts as real when chance would give it in one of a thousand fits.
const Z_REAL: f64 = 3.090_23;
/// A slope no longer counts as real below this: one in ten.
const Z_GONE: f64 = 1.281_55;

/// The most closed points kept.
pub(crate) const MAX_POINTS: usize = 128;
/// The fewest points a line is drawn through.
pub(crate) const MIN_POINTS: usize = 8;
/// A young history is kept this much finer than an old one.
const FINER: i64 = 64;
const DAY_US: f64 = 86_400e6;

/// The mean of the values of one span of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// The mean of their times, microseconds of event time.
    pub(crate) time: i64,
    pub(crate) value: f64,
    pub(crate) count: u32,
}

impl Point {
    fn join(self, other: Self) -> Self {
        let count = self.count.saturating_add(other.count);
        let share = f64::from(other.count) / f64::from(count);
        Self {
            time: self.time + ((other.time - self.time) as f64 * share) as i64,
            value: self.value + (other.value - self.value) * share,
            count,
        }
    }
}

/// At most [`MAX_POINTS`] points, in order of time, and one that is still open. Points cover spans of `width`
/// microseconds, which doubles when they become too many, until they reach back over the whole window; what is older
/// than the window is dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    width: i64,
    points: Vec<Point>,
    open: Option<Point>,
}

impl History {
    pub(crate) fn new(window: i64) -> Self {
        Self { width: (widest(window) / FINER).max(1), points: Vec::new(), open: None }
    }

    /// Takes a value newer than all before. Returns true if it closed a point.
    pub(crate) fn take(&mut self, window: i64, time: i64, value: f64) -> bool {
        let new = Point { time, value, count: 1 };
        let closed = match self.open.take() {
            None => None,
            Some(open) if open.time.div_euclid(self.width) == time.div_euclid(self.width) => {
                self.open = Some(open.join(new));
                return false;
            }
            closed => closed,
        };
        self.open = Some(new);
        let Some(closed) = closed else { return false };
        self.points.push(closed);
        self.points.retain(|point| point.time >= time - window);
        while self.points.len() > MAX_POINTS {
            if self.width >= widest(window) {
                self.points.remove(0);
            } else {
                self.width *= 2;
                let width = self.width;
                let all = std::mem::take(&mut self.points);
                for point in all {
                    match self.points.last_mut() {
                        Some(last) if last.time.div_euclid(width) == point.time.div_euclid(width) => {
                            *last = last.join(point);
                        }
                        Some(_) | None => self.points.push(point),
                    }
                }
            }
        }
        true
    }

    /// The closed points.
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Forgets all but the last `keep` points.
    pub(crate) fn keep_last(&mut self, keep: usize) {
        self.points.drain(..self.points.len().saturating_sub(keep));
    }
}

/// The width at which a full history spans the window.
fn widest(window: i64) -> i64 {
    let width = window / (MAX_POINTS as i64 - 1) + 1;
    (width + FINER - 1) / FINER * FINER
}

/// A fitted line: `level + slope * days`, with days counted from `origin`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Event time of the last point, microseconds.
    pub(crate) origin: i64,
    /// The line's value there.
    pub(crate) level: f64,
    /// Per day.
    pub(crate) slope: f64,
    /// From the first point to the last, days.
    pub(crate) span_days: f64,
    var_level: f64,
    var_slope: f64,
    cov: f64,
    dof: f64,
    cycle: [f64; 4],
    /// Standard deviation of the residuals.
    pub(crate) noise: f64,
}

/// When a line meets a limit: microseconds of event time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Crossing {
    pub(crate) expected: i64,
    pub(crate) earliest: i64,
    pub(crate) latest: Option<i64>,
}

impl Line {
    /// Fits a line; `None` with fewer than [`MIN_POINTS`] points or no span.
    pub(crate) fn fit(points: &[Point]) -> Option<Self> {
        let n = points.len();
        let (first, last) = (points.first()?, points.last()?);
        let span_days = (last.time - first.time) as f64 / DAY_US;
        if n < MIN_POINTS || span_days <= 0.0 {
            return None;
        }
        let terms = match n {
            ..12 => 2,
            12..20 => 4,
            _ => 6,
        };
        let rows: Vec<[f64; 6]> = points.iter().map(|point| row(point.time, last.time, span_days)).collect();
        let centre = points.iter().map(|point| point.value).sum::<f64>() / n as f64;
        let solved = solve(&rows, points, centre, terms)?;
        let residuals: Vec<f64> = rows
            .iter()
            .zip(points)
            .map(|(row, point)| point.value - centre - row.iter().zip(solved.beta).map(|(x, b)| x * b).sum::<f64>())
            .collect();
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        let free = (n - solved.used) as f64;
        let neighbours: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let rho = if squares > 0.0 { neighbours / squares } else { 0.0 };
        let rho = (rho + (1.0 + solved.used as f64 * rho.max(0.0)) / n as f64).clamp(0.0, 0.98);
        let inflation = (1.0 + rho) / (1.0 - rho);
        let variance = squares / free;
        let scale = variance * inflation;
        Some(Self {
            origin: last.time,
            level: centre + solved.beta[0],
            slope: solved.beta[1] / span_days,
            span_days,
            var_level: scale * solved.inverse[0][0],
            var_slope: scale * solved.inverse[1][1] / (span_days * span_days),
            cov: scale * solved.inverse[0][1] / span_days,
            dof: (free / inflation).max(4.0),
            cycle: [solved.beta[2], solved.beta[3], solved.beta[4], solved.beta[5]],
            noise: variance.sqrt(),
        })
    }

    /// What the line and the daily cycle give at a time.
    pub(crate) fn at(&self, time: i64) -> f64 {
        let row = row(time, self.origin, 1.0);
        self.level + self.slope * row[1] + row[2..].iter().zip(self.cycle).map(|(x, b)| x * b).sum::<f64>()
    }

    /// True if chance hardly ever gives such a slope; `towards` is 1 for rising, -1 for falling.
    pub(crate) fn is_real(&self, towards: f64) -> bool {
        self.slope * towards > stats::student(Z_REAL, self.dof) * self.var_slope.sqrt()
    }

    /// True if chance often gives such a slope.
    pub(crate) fn is_gone(&self, towards: f64) -> bool {
        self.slope * towards <= stats::student(Z_GONE, self.dof) * self.var_slope.sqrt()
    }

    /// When the line meets the limit; `None` if it leads away from it or has met it already.
    pub(crate) fn crossing(&self, limit: f64, towards: f64) -> Option<Crossing> {
        let gap = limit - self.level;
        if gap * towards <= 0.0 || self.slope * towards <= 0.0 {
            return None;
        }
        let at = |days: f64| self.origin.saturating_add((days * DAY_US).min(1e18) as i64);
        let q2 = stats::student(Z_COVERAGE, self.dof).powi(2);
        // All x with (gap - slope x)^2 <= q^2 Var(level + slope x), a quadratic a x^2 - 2 b x + c <= 0.
        let a = self.slope * self.slope - q2 * self.var_slope;
        let b = gap * self.slope + q2 * self.cov;
        let c = gap * gap - q2 * self.var_level;
        let root = (b * b - a * c).max(0.0).sqrt();
        let expected = gap / self.slope;
        // Written so that it neither cancels nor divides by an `a` near zero.
        let early = if b + root > 0.0 { c / (b + root) } else { 0.0 };
        let late = (a > 0.0).then(|| (b + root) / a);
        Some(Crossing {
            expected: at(expected),
            earliest: at(early.clamp(0.0, expected)),
            latest: late.map(|late| at(late.max(expected))),
        })
    }
}

/// One row of the design: constant, time in spans before the origin, two harmonics of the day.
fn row(time: i64, origin: i64, span_days: f64) -> [f64; 6] {
    let phase = std::f64::consts::TAU * (time.rem_euclid(DAY_US as i64) as f64 / DAY_US);
    let (sin1, cos1) = phase.sin_cos();
    let (sin2, cos2) = (2.0 * phase).sin_cos();
    [1.0, (time - origin) as f64 / DAY_US / span_days, cos1, sin1, cos2, sin2]
}

struct Solved {
    beta: [f64; 6],
    /// Inverse of the normal matrix, rows and columns of constant and slope.
    inverse: [[f64; 2]; 2],
    used: usize,
}

/// Least squares over the first `terms` columns by Cholesky. A column that the ones before it nearly give (a cycle
/// sampled once a day, or seen for an hour) is left out.
fn solve(rows: &[[f64; 6]], points: &[Point], centre: f64, terms: usize) -> Option<Solved> {
    const NEARLY_GIVEN: f64 = 1e-4;
    let mut normal = [[0.0; 6]; 6];
    let mut right = [0.0; 6];
    for (row, point) in rows.iter().zip(points) {
        for i in 0..terms {
            right[i] += row[i] * (point.value - centre);
            for j in 0..=i {
                normal[i][j] += row[i] * row[j];
            }
        }
    }
    let mut lower = [[0.0; 6]; 6];
    let mut used = [false; 6];
    for i in 0..terms {
        for j in 0..i {
            if used[j] {
                let sum: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                lower[i][j] = (normal[i][j] - sum) / lower[j][j];
            }
        }
        let rest = normal[i][i] - (0..i).map(|k| lower[i][k] * lower[i][k]).sum::<f64>();
        let floor = if i < 2 { 1e-9 } else { NEARLY_GIVEN };
        if rest > floor * normal[i][i].max(f64::MIN_POSITIVE) {
            used[i] = true;
            lower[i][i] = rest.sqrt();
        } else if i < 2 {
            return None;
        } else {
            lower[i] = [0.0; 6];
        }
    }
    let back = |right: [f64; 6]| {
        let mut forward = [0.0; 6];
        for i in (0..terms).filter(|i| used[*i]) {
            let sum: f64 = (0..i).map(|k| lower[i][k] * forward[k]).sum();
            forward[i] = (right[i] - sum) / lower[i][i];
        }
        let mut out = [0.0; 6];
        for i in (0..terms).rev().filter(|i| used[*i]) {
            let sum: f64 = (i + 1..terms).map(|k| lower[k][i] * out[k]).sum();
            out[i] = (forward[i] - sum) / lower[i][i];
        }
        out
    };
    let unit = |i: usize| {
        let mut unit = [0.0; 6];
        unit[i] = 1.0;
        back(unit)
    };
    let (level, slope) = (unit(0), unit(1));
    Some(Solved {
        beta: back(right),
        inverse: [[level[0], level[1]], [slope[0], slope[1]]],
        used: used.iter().filter(|used| **used).count(),
    })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    /// 100 points, one each three hours: 10 + 0.5 a day, a daily cycle, first-order autoregressive noise.
    fn noisy(dice: &mut ChaCha8Rng, rho: f64) -> Vec<Point> {
        let mut normal = || (0..12).map(|_| dice.random::<f64>()).sum::<f64>() - 6.0;
        let mut error = normal();
        (0..100)
            .map(|n| {
                let time = n * 3 * HOUR_US;
                let days = time as f64 / DAY_US;
                error = rho * error + (1.0 - rho * rho).sqrt() * normal();
                let cycle = (std::f64::consts::TAU * days).sin();
                Point { time, value: 10.0 + 0.5 * days + cycle + error, count: 1 }
            })
            .collect()
    }

    #[test]
    fn the_interval_covers_the_crossing_as_often_as_it_says() {
        for (rho, least) in [(0.0, 0.86), (0.5, 0.85), (0.8, 0.8)] {
            let mut dice = ChaCha8Rng::seed_from_u64(7);
            let truth = (20.0 * DAY_US) as i64;
            let runs = 500;
            let covered = (0..runs)
                .filter(|_| {
                    let line = Line::fit(&noisy(&mut dice, rho)).unwrap();
                    let crossing = line.crossing(20.0, 1.0).unwrap();
                    crossing.earliest <= truth && crossing.latest.is_none_or(|latest| truth <= latest)
                })
                .count();
            let share = covered as f64 / f64::from(runs);
            println!("autocorrelation {rho}: coverage {share:.3}, nominal {COVERAGE}");
            assert!((least..=0.97).contains(&share), "autocorrelation {rho}: {share}");
        }
    }

    #[test]
    fn a_cycle_alone_is_no_trend() {
        let mut dice = ChaCha8Rng::seed_from_u64(3);
        let mut real = 0;
        for _ in 0..500 {
            let flat: Vec<_> = noisy(&mut dice, 0.5)
                .into_iter()
                .map(|point| Point { value: point.value - 0.5 * point.time as f64 / DAY_US, ..point })
                .collect();
            real += usize::from(Line::fit(&flat).unwrap().is_real(1.0));
            // The rising half of one day.
            let morning: Vec<_> = (0..36)
                .map(|n| {
                    let time = 18 * HOUR_US + n * HOUR_US / 3;
                    let cycle = (std::f64::consts::TAU * time as f64 / DAY_US).sin();
                    Point { time, value: cycle + 0.05 * dice.random::<f64>(), count: 1 }
                })
                .collect();
            real += usize::from(Line::fit(&morning).unwrap().is_real(1.0));
        }
        assert!(real <= 3, "{real} of 1000");
    }

    #[test]
    fn a_line_without_noise_is_met_exactly_and_nothing_divides_by_zero() {
        let exact: Vec<_> = (0..50).map(|n| Point { time: n * HOUR_US, value: n as f64 / 24.0, count: 1 }).collect();
        let line = Line::fit(&exact).unwrap();
        let crossing = line.crossing(3.0, 1.0).unwrap();
        let hours = crossing.expected as f64 / HOUR_US as f64;
        assert!((hours - 72.0).abs() < 0.01 && line.is_real(1.0), "{hours}");
        assert!(line.crossing(1.0, 1.0).is_none(), "already crossed");
        assert!(line.crossing(-1.0, -1.0).is_none(), "leads away");
        let constant: Vec<_> = exact.iter().map(|point| Point { value: 4.0, ..*point }).collect();
        let line = Line::fit(&constant).unwrap();
        assert!(line.crossing(5.0, 1.0).is_none_or(|crossing| crossing.expected > i64::MAX / 100));
        let daily: Vec<_> = (0..30).map(|n| Point { time: n * 24 * HOUR_US, value: n as f64, count: 1 }).collect();
        assert!((Line::fit(&daily).unwrap().slope - 1.0).abs() < 1e-6, "one value a day");
        let at_once = [Point { time: 5, value: 1.0, count: 1 }; 20];
        assert!(Line::fit(&at_once).is_none());
    }

    #[test]
    fn history_is_bounded_and_covers_the_window() {
        let window = 14 * 24 * HOUR_US;
        let mut history = History::new(window);
        for n in 0..200_000 {
            history.take(window, n * 60_000_000, n as f64);
            assert!(history.points().len() <= MAX_POINTS);
        }
        let points = history.points();
        let span = points[points.len() - 1].time - points[0].time;
        assert!(span > window / 10 * 9 && span <= window, "{span}");
        assert!(points.windows(2).all(|pair| pair[0].time < pair[1].time && pair[0].value < pair[1].value));
    }
}
