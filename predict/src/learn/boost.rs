//! Gradient-boosted regression trees on histograms (Friedman 2001; histograms and best-first growth as in Ke et al.
//! 2017, "LightGBM"). Missing values go to the side that serves best, learnt for every split.

use serde::{Deserialize, Serialize};

use super::{
    grow::{Binned, Grower},
    random::Random,
    table::{LearnError, Table},
};

/// What the trees minimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Cross-entropy of labels 0 and 1; predictions are log-odds.
    Logistic,
    /// Squared error; predictions are in the label's unit.
    Squared,
}

/// How trees are grown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BoostOptions {
    /// What is minimised.
    pub loss: Loss,
    /// How many trees.
    pub trees: usize,
    /// How much of each tree's answer is taken, above 0 to 1.
    pub rate: f64,
    /// The most leaves a tree may have.
    pub leaves: usize,
    /// The fewest rows a leaf may have.
    pub leaf_rows: usize,
    /// L2 penalty on leaf values.
    pub penalty: f64,
    /// The share of rows each tree sees.
    pub row_share: f64,
    /// The share of columns each tree sees.
    pub column_share: f64,
    /// The seed of those draws.
    pub seed: u64,
}

/// One node; children are indices into the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Node {
    /// Values up to the threshold go left.
    Split {
        column: u32,
        threshold: f32,
        missing_left: bool,
        left: u32,
        right: u32,
    },
    Leaf(f32),
}

/// A grown tree; the root comes first, children after their parents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tree(pub(super) Vec<Node>);

impl Tree {
    pub(super) fn predict(&self, row: &[f32]) -> f32 {
        let mut at = 0;
        loop {
            match self.0.get(at) {
                Some(Node::Split { column, threshold, missing_left, left, right }) => {
                    let value = row.get(*column as usize).copied().unwrap_or(f32::NAN);
                    let go_left = if value.is_nan() { *missing_left } else { value <= *threshold };
                    at = if go_left { *left as usize } else { *right as usize };
                }
                Some(Node::Leaf(value)) => return *value,
                None => return 0.0,
            }
        }
    }

    /// Whether every child comes after its parent and exists, and every column is below `columns`.
    fn sound(&self, columns: usize) -> bool {
        !self.0.is_empty()
            && self.0.iter().enumerate().all(|(n, node)| match node {
                Node::Split { column, left, right, .. } => {
                    let later = |child: u32| (child as usize) > n && (child as usize) < self.0.len();
                    (*column as usize) < columns && later(*left) && later(*right)
                }
                Node::Leaf(value) => value.is_finite(),
            })
    }
}

/// A sum of trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boosted {
    columns: usize,
    base: f64,
    trees: Vec<Tree>,
}

impl Boosted {
    /// Grows the trees. The same table, labels and options give the same trees.
    ///
    /// # Errors
    /// [`LearnError`] if there are fewer rows than two leaves take, no column varies, or labels are not one a row.
    pub fn fit(table: &Table, labels: &[f32], options: &BoostOptions) -> Result<Self, LearnError> {
        Self::fit_watched(table, labels, options, &mut || true)
    }

    /// The same; `watch` is asked after every tree and may take its time. The training ends when it says false.
    ///
    /// # Errors
    /// As [`Boosted::fit`], and [`LearnError::Stopped`].
    pub fn fit_watched(
        table: &Table,
        labels: &[f32],
        options: &BoostOptions,
        watch: &mut dyn FnMut() -> bool,
    ) -> Result<Self, LearnError> {
        let rows = table.rows();
        if labels.len() != rows {
            return Err(LearnError::Shape { rows, columns: table.columns(), labels: labels.len() });
        }
        let least = options.leaf_rows.max(1) * 2;
        if rows < least {
            return Err(LearnError::TooFewRows { rows, least });
        }
        let binned = Binned::of(table);
        if binned.varying().is_empty() {
            return Err(LearnError::Constant { rows });
        }
        let mean = labels.iter().map(|label| f64::from(*label)).sum::<f64>() / rows as f64;
        let base = match options.loss {
            Loss::Logistic => super::metrics::logit(mean),
            Loss::Squared => mean,
        };
        let mut scores = vec![base; rows];
        let mut gradients = vec![(0.0f32, 0.0f32); rows];
        let mut random = Random::new(options.seed);
        let take = ((binned.varying().len() as f64 * options.column_share).ceil() as usize).max(1);
        let mut trees = Vec::with_capacity(options.trees);
        for _ in 0..options.trees {
            for ((gradient, score), label) in gradients.iter_mut().zip(&scores).zip(labels) {
                *gradient = options.loss.gradient(*score, f64::from(*label));
            }
            let sampled: Vec<u32> = (0..rows as u32).filter(|_| random.unit() < options.row_share).collect();
            let columns: Vec<usize> =
                random.choose(binned.varying().len(), take).into_iter().map(|n| binned.varying()[n]).collect();
            let tree = Grower::new(&binned, &gradients, &columns, options).grow(sampled);
            for (n, score) in scores.iter_mut().enumerate() {
                *score += f64::from(tree.predict(table.row(n)));
            }
            trees.push(tree);
            if !watch() {
                return Err(LearnError::Stopped);
            }
        }
        Ok(Self { columns: table.columns(), base, trees })
    }

    /// What the trees say of a row: log-odds or a value, as the loss has it.
    #[must_use]
    pub fn predict(&self, row: &[f32]) -> f64 {
        self.base + self.trees.iter().map(|tree| f64::from(tree.predict(row))).sum::<f64>()
    }

    /// Whether the trees fit rows of so many columns and every path ends.
    #[must_use]
    pub fn sound(&self, columns: usize) -> bool {
        self.columns == columns && self.base.is_finite() && self.trees.iter().all(|tree| tree.sound(columns))
    }

    /// How often each column was split on, over all trees.
    #[must_use]
    pub fn splits(&self) -> Vec<usize> {
        let mut splits = vec![0; self.columns];
        for node in self.trees.iter().flat_map(|tree| &tree.0) {
            match node {
                Node::Split { column, .. } => splits[*column as usize] += 1,
                Node::Leaf(_) => {}
            }
        }
        splits
    }
}

impl Loss {
    /// First and second derivative of the loss at a score.
    fn gradient(self, score: f64, label: f64) -> (f32, f32) {
        match self {
            Self::Logistic => {
                let p = super::metrics::sigmoid(score);
                ((p - label) as f32, (p * (1.0 - p)).max(1e-9) as f32)
            }
            Self::Squared => ((score - label) as f32, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BoostOptions = BoostOptions {
        loss: Loss::Squared,
        trees: 150,
        rate: 0.1,
        leaves: 8,
        leaf_rows: 5,
        penalty: 1.0,
        row_share: 0.8,
        column_share: 1.0,
        seed: 7,
    };

    fn wave() -> (Table, Vec<f32>) {
        let mut table = Table::new(3);
        let mut labels = Vec::new();
        let mut random = Random::new(1);
        for _ in 0..2_000 {
            let (x, z) = (random.unit() as f32, random.unit() as f32);
            let missing = random.unit() < 0.2;
            table.push(&[if missing { f32::NAN } else { x }, z, 4.0]).unwrap();
            labels.push(if missing { 3.0 } else { (x * 6.0).sin() + if z > 0.5 { 1.0 } else { 0.0 } });
        }
        (table, labels)
    }

    #[test]
    fn learns_a_curve_a_step_and_what_missing_means() {
        let (table, labels) = wave();
        let model = Boosted::fit(&table, &labels, &OPTIONS).unwrap();
        let worst = [(0.2f32, 0.2f32), (0.8, 0.9), (0.5, 0.1)]
            .iter()
            .map(|(x, z)| {
                let truth = f64::from((x * 6.0).sin() + if *z > 0.5 { 1.0 } else { 0.0 });
                (model.predict(&[*x, *z, 4.0]) - truth).abs()
            })
            .fold(0.0, f64::max);
        assert!(worst < 0.12, "{worst}");
        assert!((model.predict(&[f32::NAN, 0.3, 4.0]) - 3.0).abs() < 0.12);
        assert_eq!(model.splits()[2], 0, "a constant column says nothing");
    }

    #[test]
    fn the_same_seed_gives_the_same_trees_and_another_seed_others() {
        let (table, labels) = wave();
        let one = Boosted::fit(&table, &labels, &OPTIONS).unwrap();
        assert_eq!(one, Boosted::fit(&table, &labels, &OPTIONS).unwrap());
        assert_ne!(one, Boosted::fit(&table, &labels, &BoostOptions { seed: 8, ..OPTIONS }).unwrap());
        assert!(one.sound(3) && !one.sound(4));
    }

    #[test]
    fn refuses_what_it_cannot_learn_from() {
        let mut table = Table::new(1);
        for _ in 0..20 {
            table.push(&[1.0]).unwrap();
        }
        assert!(matches!(Boosted::fit(&table, &[0.0; 20], &OPTIONS), Err(LearnError::Constant { rows: 20 })));
        assert!(matches!(Boosted::fit(&table, &[0.0; 3], &OPTIONS), Err(LearnError::Shape { .. })));
        assert!(matches!(
            Boosted::fit(&Table::new(1), &[], &OPTIONS),
            Err(LearnError::TooFewRows { rows: 0, least: 10 })
        ));
    }
}
