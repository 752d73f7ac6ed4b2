//! Logistic regression with an L2 penalty, by Newton's method.

use serde::{Deserialize, Serialize};

use super::{
    metrics::{logit, sigmoid},
    table::{LearnError, Table},
};

/// How many rows the curvature is taken from; the gradient takes them all, so the optimum is that of all rows.
const CURVATURE_ROWS: usize = 30_000;
/// The most Newton steps.
const STEPS: usize = 30;
/// Steps smaller than this end the search.
const TOLERANCE: f64 = 1e-5;
/// Standardised values beyond this are held here, so that one wild value moves a score only so far.
const REACH: f64 = 6.0;

/// A fitted regression on standardised columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    mean: Vec<f64>,
    /// One over the standard deviation; 0 for a column that does not vary.
    scale: Vec<f64>,
    weights: Vec<f64>,
    intercept: f64,
}

impl Logistic {
    /// Fits `labels` (0 or 1) with `penalty` added to the curvature of every standardised weight, in units of rows.
    /// Missing values count as the column's mean.
    ///
    /// # Errors
    /// [`LearnError`] if there is no row, one outcome only, or labels are not one a row.
    pub fn fit(table: &Table, labels: &[f32], penalty: f64) -> Result<Self, LearnError> {
        let rows = table.rows();
        if labels.len() != rows {
            return Err(LearnError::Shape { rows, columns: table.columns(), labels: labels.len() });
        }
        let positive = labels.iter().filter(|label| **label > 0.5).count();
        if positive == 0 || positive == rows {
            return Err(LearnError::OneOutcome { rows, positive, least: 1 });
        }
        let mut model = Self::standardising(table);
        model.intercept = logit(positive as f64 / rows as f64);
        let stride = rows.div_ceil(CURVATURE_ROWS).max(1);
        let size = table.columns() + 1;
        let mut before = model.loss(table, labels, penalty);
        for _ in 0..STEPS {
            let (gradient, mut curvature) = model.derivatives(table, labels, penalty, stride);
            let Some(step) = solve(&mut curvature, gradient, size) else { break };
            let largest = step.iter().fold(0.0f64, |most, part| most.max(part.abs()));
            let mut share = 1.0;
            let from = model.clone();
            loop {
                model = from.moved(&step, share);
                let after = model.loss(table, labels, penalty);
                if after <= before + 1e-9 * before.abs() {
                    before = after;
                    break;
                }
                share /= 2.0;
                if share < 1e-3 {
                    return Ok(from);
                }
            }
            if largest * share < TOLERANCE {
                break;
            }
        }
        Ok(model)
    }

    /// The log-odds of a row.
    #[must_use]
    pub fn predict(&self, row: &[f32]) -> f64 {
        let mut sum = self.intercept;
        for (n, value) in row.iter().enumerate().take(self.weights.len()) {
            sum += self.weights[n] * self.standard(n, *value);
        }
        sum
    }

    /// Whether it fits rows of so many columns.
    #[must_use]
    pub fn sound(&self, columns: usize) -> bool {
        [&self.mean, &self.scale, &self.weights]
            .iter()
            .all(|part| part.len() == columns && part.iter().all(|number| number.is_finite()))
            && self.intercept.is_finite()
    }

    fn standardising(table: &Table) -> Self {
        let columns = table.columns();
        let (mut count, mut sum, mut squares) = (vec![0.0f64; columns], vec![0.0; columns], vec![0.0; columns]);
        for row in table.iter() {
            for (n, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                let value = f64::from(*value);
                count[n] += 1.0;
                sum[n] += value;
                squares[n] += value * value;
            }
        }
        let mean: Vec<f64> = sum.iter().zip(&count).map(|(sum, count)| sum / count.max(1.0)).collect();
        let scale = (0..columns).map(|n| {
            let variance = squares[n] / count[n].max(1.0) - mean[n] * mean[n];
            if variance > 1e-9 * (1.0 + mean[n] * mean[n]) { 1.0 / variance.sqrt() } else { 0.0 }
        });
        Self { scale: scale.collect(), mean, weights: vec![0.0; columns], intercept: 0.0 }
    }

    fn standard(&self, n: usize, value: f32) -> f64 {
        if value.is_nan() { 0.0 } else { ((f64::from(value) - self.mean[n]) * self.scale[n]).clamp(-REACH, REACH) }
    }

    fn moved(&self, step: &[f64], share: f64) -> Self {
        let mut moved = self.clone();
        for (weight, step) in moved.weights.iter_mut().zip(step) {
            *weight -= share * step;
        }
        moved.intercept -= share * step.last().copied().unwrap_or(0.0);
        moved
    }

    fn loss(&self, table: &Table, labels: &[f32], penalty: f64) -> f64 {
        let rows: f64 = table
            .iter()
            .zip(labels)
            .map(|(row, label)| {
                let score = self.predict(row);
                // log(1 + e^s) - y s, without overflow.
                score.max(0.0) + (-score.abs()).exp().ln_1p() - f64::from(*label) * score
            })
            .sum();
        rows + 0.5 * penalty * self.weights.iter().map(|weight| weight * weight).sum::<f64>()
    }

    /// Gradient and curvature (upper triangle, row after row); the intercept comes last.
    fn derivatives(&self, table: &Table, labels: &[f32], penalty: f64, stride: usize) -> (Vec<f64>, Vec<f64>) {
        let size = self.weights.len() + 1;
        let (mut gradient, mut curvature) = (vec![0.0; size], vec![0.0; size * size]);
        let mut x = vec![1.0; size];
        for (at, (row, label)) in table.iter().zip(labels).enumerate() {
            for (n, value) in row.iter().enumerate() {
                x[n] = self.standard(n, *value);
            }
            let score = self.intercept + x.iter().zip(&self.weights).map(|(x, weight)| x * weight).sum::<f64>();
            let p = sigmoid(score);
            let off = p - f64::from(*label);
            for (gradient, x) in gradient.iter_mut().zip(&x) {
                *gradient += off * x;
            }
            if at % stride == 0 {
                let weight = p * (1.0 - p) * stride as f64;
                for n in 0..size {
                    let part = weight * x[n];
                    for (sum, x) in curvature[n * size + n..(n + 1) * size].iter_mut().zip(&x[n..]) {
                        *sum += part * x;
                    }
                }
            }
        }
        for (n, weight) in self.weights.iter().enumerate() {
            gradient[n] += penalty * weight;
            curvature[n * size + n] += penalty;
        }
        (gradient, curvature)
    }
}

/// Solves `a x = b` for a symmetric positive `a` given by its upper triangle (Cholesky); `None` if it is not positive.
pub(crate) fn solve(a: &mut [f64], mut b: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    for n in 0..size {
        let pivot = a[n * size + n] + 1e-9;
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        let root = pivot.sqrt();
        for value in &mut a[n * size + n..(n + 1) * size] {
            *value /= root;
        }
        a[n * size + n] = root;
        let (done, rest) = a.split_at_mut((n + 1) * size);
        let row = &done[n * size..];
        for m in n + 1..size {
            let part = row[m];
            if part != 0.0 {
                let target = &mut rest[(m - n - 1) * size + m..(m - n) * size];
                for (value, row) in target.iter_mut().zip(&row[m..]) {
                    *value -= part * row;
                }
            }
        }
    }
    for n in 0..size {
        b[n] /= a[n * size + n];
        let solved = b[n];
        for m in n + 1..size {
            b[m] -= a[n * size + m] * solved;
        }
    }
    for n in (0..size).rev() {
        for m in n + 1..size {
            b[n] -= a[n * size + m] * b[m];
        }
        b[n] /= a[n * size + n];
    }
    b.iter().all(|value| value.is_finite()).then_some(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Random;

    #[test]
    fn finds_the_weights_that_made_the_labels() {
        let mut random = Random::new(3);
        let mut table = Table::new(3);
        let mut labels = Vec::new();
        for _ in 0..40_000 {
            let (x, z) = (random.unit() as f32 * 4.0 - 2.0, random.unit() as f32);
            table.push(&[x, z, 9.0]).unwrap();
            labels.push(if random.unit() < sigmoid(1.5 * f64::from(x) - 1.0) { 1.0 } else { 0.0 });
        }
        let model = Logistic::fit(&table, &labels, 1.0).unwrap();
        assert!((model.predict(&[0.0, 0.5, 9.0]) + 1.0).abs() < 0.06, "{}", model.predict(&[0.0, 0.5, 9.0]));
        let slope = model.predict(&[1.0, 0.5, 9.0]) - model.predict(&[0.0, 0.5, 9.0]);
        assert!((slope - 1.5).abs() < 0.06, "{slope}");
        assert!(model.sound(3) && !model.sound(2));
    }

    #[test]
    fn separable_data_stay_finite_and_one_outcome_is_refused() {
        let mut table = Table::new(1);
        for n in 0..50 {
            table.push(&[n as f32]).unwrap();
        }
        let labels: Vec<f32> = (0..50).map(|n| if n < 25 { 0.0 } else { 1.0 }).collect();
        let model = Logistic::fit(&table, &labels, 1.0).unwrap();
        assert!(model.predict(&[49.0]).is_finite() && model.predict(&[49.0]) > 1.0);
        assert!(matches!(Logistic::fit(&table, &[1.0; 50], 1.0), Err(LearnError::OneOutcome { positive: 50, .. })));
    }
}
