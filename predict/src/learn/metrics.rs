//! Measures of ranking and of probability. All take a weight a row, so that units can be drawn again and again.

/// The log-odds of a probability, kept finite.
#[must_use]
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    (p / (1.0 - p)).ln()
}

/// The probability of log-odds.
#[must_use]
pub fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

/// Rows in descending order of score, rows of one score together.
#[derive(Debug, Clone)]
pub struct Ranking {
    order: Vec<usize>,
    /// Ends of the runs of equal scores.
    ends: Vec<usize>,
}

/// What a ranking is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The area under the receiver operating characteristic.
    pub roc_auc: f64,
    /// Average precision: the area under precision over recall, in steps (no interpolation).
    pub pr_auc: f64,
}

impl Ranking {
    /// Ranks rows by score.
    #[must_use]
    pub fn of(scores: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let ends = (1..=order.len())
            .filter(|end| *end == order.len() || scores[order[*end]].total_cmp(&scores[order[end - 1]]).is_ne())
            .collect();
        Self { order, ends }
    }

    /// Judges it by outcomes; `None` if only one kind of outcome has weight.
    pub fn judge(&self, outcomes: &[bool], weight: impl Fn(usize) -> f64) -> Option<Ranked> {
        let (mut hits, mut misses) = (0.0, 0.0);
        let (mut area, mut precision_area) = (0.0, 0.0);
        let mut start = 0;
        for end in &self.ends {
            let (mut hit, mut miss) = (0.0, 0.0);
            for row in &self.order[start..*end] {
                if outcomes[*row] {
                    hit += weight(*row);
                } else {
                    miss += weight(*row);
                }
            }
            area += miss * (hits + hit / 2.0);
            hits += hit;
            misses += miss;
            if hit > 0.0 {
                precision_area += hit * hits / (hits + misses);
            }
            start = *end;
        }
        (hits > 0.0 && misses > 0.0).then(|| Ranked { roc_auc: area / (hits * misses), pr_auc: precision_area / hits })
    }
}

/// The mean squared error of probabilities (Brier 1950); 0 of nothing.
pub fn brier(probabilities: &[f64], outcomes: &[bool], weight: impl Fn(usize) -> f64) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (n, (p, outcome)) in probabilities.iter().zip(outcomes).enumerate() {
        sum += weight(n) * (p - f64::from(u8::from(*outcome))).powi(2);
        weights += weight(n);
    }
    if weights > 0.0 { sum / weights } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_figures_worked_by_hand() {
        let outcomes = [true, false, true, false];
        let ranked = Ranking::of(&[0.9, 0.8, 0.7, 0.1]).judge(&outcomes, |_| 1.0).unwrap();
        assert!((ranked.roc_auc - 0.75).abs() < 1e-12);
        assert!((ranked.pr_auc - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        let ties = Ranking::of(&[0.5; 4]).judge(&outcomes, |_| 1.0).unwrap();
        assert!((ties.roc_auc - 0.5).abs() < 1e-12 && (ties.pr_auc - 0.5).abs() < 1e-12);
        assert!(Ranking::of(&[0.5, 0.6]).judge(&[true, true], |_| 1.0).is_none());
        assert!((brier(&[0.5, 1.0], &[true, true], |_| 1.0) - 0.125).abs() < 1e-12);
    }

    #[test]
    fn a_weight_is_worth_as_many_copies() {
        let ranking = Ranking::of(&[0.9, 0.8, 0.7]);
        let twice = ranking.judge(&[false, true, false], |row| if row == 1 { 2.0 } else { 1.0 }).unwrap();
        let copied = Ranking::of(&[0.9, 0.8, 0.8, 0.7]).judge(&[false, true, true, false], |_| 1.0).unwrap();
        assert!((twice.roc_auc - copied.roc_auc).abs() < 1e-12 && (twice.pr_auc - copied.pr_auc).abs() < 1e-12);
    }
}
