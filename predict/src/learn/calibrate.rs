//! Makes scores into probabilities on data that the model has not seen.

use serde::{Deserialize, Serialize};

use super::metrics::{logit, sigmoid};

/// The fewest outcomes of each kind before a slope is fitted beside the level.
const SLOPE_EVENTS: usize = 50;
/// How strongly the slope is held to 1, in units of outcomes.
const SLOPE_PRIOR: f64 = 10.0;

/// A straight line in log-odds: `intercept + slope * score` (Platt 1999).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Added to the score.
    pub intercept: f64,
    /// What the score is multiplied by.
    pub slope: f64,
}

impl Platt {
    /// Changes nothing.
    pub const IDENTITY: Self = Self { intercept: 0.0, slope: 1.0 };

    /// Fits scores to outcomes. With few outcomes only the level is fitted, with none of one kind nothing is. The
    /// slope is never negative: a calibration must not turn an order round.
    #[must_use]
    pub fn fit(scores: &[f64], outcomes: &[bool]) -> Self {
        let positive = outcomes.iter().filter(|outcome| **outcome).count();
        let fewest = positive.min(outcomes.len() - positive);
        if fewest == 0 {
            return Self::IDENTITY;
        }
        let with_slope = fewest >= SLOPE_EVENTS;
        let mut line = Self::IDENTITY;
        for _ in 0..50 {
            let (mut g0, mut g1) = (0.0, SLOPE_PRIOR * (line.slope - 1.0));
            let (mut h00, mut h01, mut h11) = (1e-9, 0.0, SLOPE_PRIOR);
            for (score, outcome) in scores.iter().zip(outcomes) {
                let p = sigmoid(line.intercept + line.slope * score);
                let off = p - f64::from(u8::from(*outcome));
                let weight = p * (1.0 - p);
                g0 += off;
                g1 += off * score;
                h00 += weight;
                h01 += weight * score;
                h11 += weight * score * score;
            }
            let (d0, d1) = if with_slope {
                let det = h00 * h11 - h01 * h01;
                ((h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det)
            } else {
                (g0 / h00, 0.0)
            };
            if !(d0.is_finite() && d1.is_finite()) {
                return Self::IDENTITY;
            }
            line.intercept -= d0.clamp(-2.0, 2.0);
            line.slope = (line.slope - d1.clamp(-0.5, 0.5)).max(0.05);
            if d0.abs() + d1.abs() < 1e-9 {
                break;
            }
        }
        line
    }

    /// The calibrated probability of a score.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.intercept + self.slope * score)
    }

    /// The log-odds of a share that a rule states as a number between 0 and 1.
    #[must_use]
    pub fn score_of(share: f64) -> f64 {
        logit(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Random;

    #[test]
    fn puts_right_a_level_and_a_slope() {
        let mut random = Random::new(5);
        let scores: Vec<f64> = (0..50_000).map(|_| random.unit() * 4.0 - 2.0).collect();
        let outcomes: Vec<bool> = scores.iter().map(|score| random.unit() < sigmoid(0.5 * score - 2.0)).collect();
        let line = Platt::fit(&scores, &outcomes);
        assert!((line.slope - 0.5).abs() < 0.05 && (line.intercept + 2.0).abs() < 0.06, "{line:?}");
    }

    #[test]
    fn few_outcomes_move_the_level_only_and_one_kind_moves_nothing() {
        let scores = vec![0.0; 100];
        let outcomes: Vec<bool> = (0..100).map(|n| n < 10).collect();
        let line = Platt::fit(&scores, &outcomes);
        assert!((line.probability(0.0) - 0.1).abs() < 1e-6);
        assert_eq!(line.slope, 1.0);
        assert_eq!(Platt::fit(&scores, &[false; 100]), Platt::IDENTITY);
        assert_eq!(Platt::fit(&[], &[]), Platt::IDENTITY);
    }
}
