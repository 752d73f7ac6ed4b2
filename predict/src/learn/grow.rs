//! Grows one tree, best split first, on columns cut into bins.

use std::ops::Range;

use super::{
    boost::{BoostOptions, Node, Tree},
    table::Table,
};

/// The most bins of a column, the one for missing values left out; a bin's number fits a byte.
const BINS: usize = 127;
/// How many rows the cuts are taken from.
const CUT_ROWS: usize = 20_000;
/// The bin of missing values.
const MISSING: u8 = 0;

/// Every column cut at its quantiles. Bin 0 is missing; bin `n` holds values up to `cuts[n - 1]`.
pub(super) struct Binned {
    rows: usize,
    cuts: Vec<Vec<f32>>,
    bins: Vec<u8>,
    varying: Vec<usize>,
}

impl Binned {
    pub(super) fn of(table: &Table) -> Self {
        let (rows, columns) = (table.rows(), table.columns());
        let stride = rows.div_ceil(CUT_ROWS).max(1);
        let mut cuts = Vec::with_capacity(columns);
        let mut bins = vec![MISSING; rows * columns];
        let mut varying = Vec::new();
        for column in 0..columns {
            let mut values: Vec<f32> =
                (0..rows).step_by(stride).map(|n| table.row(n)[column]).filter(|value| !value.is_nan()).collect();
            values.sort_by(f32::total_cmp);
            let own = quantile_cuts(&values);
            let mut seen = [false; BINS + 2];
            for (n, bin) in bins[column * rows..(column + 1) * rows].iter_mut().enumerate() {
                let value = table.row(n)[column];
                if !value.is_nan() {
                    *bin = own.partition_point(|cut| *cut < value) as u8 + 1;
                }
                seen[usize::from(*bin)] = true;
            }
            if seen.iter().filter(|seen| **seen).count() > 1 {
                varying.push(column);
            }
            cuts.push(own);
        }
        Self { rows, cuts, bins, varying }
    }

    /// The columns with more than one bin.
    pub(super) fn varying(&self) -> &[usize] {
        &self.varying
    }

    fn column(&self, column: usize) -> &[u8] {
        &self.bins[column * self.rows..(column + 1) * self.rows]
    }
}

/// Midpoints between neighbouring values at even quantiles; values are sorted.
fn quantile_cuts(values: &[f32]) -> Vec<f32> {
    let mut distinct = values.to_vec();
    distinct.dedup();
    let between = |low: f32, high: f32| {
        let middle = low + (high - low) / 2.0;
        if middle < high { middle } else { low }
    };
    if distinct.len() <= BINS {
        return distinct.windows(2).map(|pair| between(pair[0], pair[1])).collect();
    }
    let mut cuts: Vec<f32> = (1..BINS)
        .filter_map(|n| {
            let value = values[n * values.len() / BINS];
            let next = distinct.partition_point(|other| *other <= value);
            Some(between(value, *distinct.get(next)?))
        })
        .collect();
    cuts.dedup();
    cuts
}

/// Sums over the rows of a bin.
#[derive(Clone, Copy, Default)]
struct Sums {
    gradient: f64,
    curvature: f64,
    rows: u32,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.curvature += other.curvature;
        self.rows += other.rows;
    }

    fn less(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            curvature: self.curvature - other.curvature,
            rows: self.rows - other.rows,
        }
    }

    fn score(self, penalty: f64) -> f64 {
        self.gradient * self.gradient / (self.curvature + penalty)
    }
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    column: usize,
    /// The last bin that goes left.
    bin: u8,
    missing_left: bool,
}

struct Open {
    node: usize,
    rows: Range<usize>,
    total: Sums,
    histogram: Vec<Sums>,
    split: Option<Split>,
}

/// Grows a tree on the gradients of a round.
pub(super) struct Grower<'a> {
    binned: &'a Binned,
    gradients: &'a [(f32, f32)],
    columns: &'a [usize],
    options: &'a BoostOptions,
    /// Where each column's bins start in a histogram; one more than there are columns.
    starts: Vec<usize>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(
        binned: &'a Binned,
        gradients: &'a [(f32, f32)],
        columns: &'a [usize],
        options: &'a BoostOptions,
    ) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for column in columns {
            end += binned.cuts[*column].len() + 2;
            starts.push(end);
        }
        Self { binned, gradients, columns, options, starts }
    }

    pub(super) fn grow(&self, mut rows: Vec<u32>) -> Tree {
        let mut nodes = vec![Node::Leaf(0.0)];
        let histogram = self.histogram(&rows);
        let total = self.total(&histogram);
        let all = 0..rows.len();
        let split = self.best(&histogram, total);
        let mut open = vec![Open { node: 0, rows: all, total, histogram, split }];
        let mut leaves = 1;
        while leaves < self.options.leaves {
            let best = (0..open.len())
                .filter(|n| open[*n].split.is_some())
                .max_by(|a, b| gain(&open[*a]).total_cmp(&gain(&open[*b])).then(b.cmp(a)));
            let Some(best) = best else { break };
            let leaf = open.swap_remove(best);
            let Some(split) = leaf.split else { break };
            let middle = self.partition(&mut rows[leaf.rows.clone()], split) + leaf.rows.start;
            let (left, right) = (nodes.len(), nodes.len() + 1);
            nodes.push(Node::Leaf(0.0));
            nodes.push(Node::Leaf(0.0));
            nodes[leaf.node] = Node::Split {
                column: split.column as u32,
                threshold: self.threshold(split),
                missing_left: split.missing_left,
                left: left as u32,
                right: right as u32,
            };
            let ranges = [leaf.rows.start..middle, middle..leaf.rows.end];
            open.extend(self.children(leaf.histogram, &rows, [left, right], ranges));
            leaves += 1;
        }
        for leaf in open {
            let value = -leaf.total.gradient / (leaf.total.curvature + self.options.penalty) * self.options.rate;
            nodes[leaf.node] = Node::Leaf(if value.is_finite() { value as f32 } else { 0.0 });
        }
        Tree(nodes)
    }

    /// Counts the smaller child and takes it from the parent for the other.
    fn children(&self, parent: Vec<Sums>, rows: &[u32], at: [usize; 2], ranges: [Range<usize>; 2]) -> [Open; 2] {
        let left_smaller = ranges[0].len() <= ranges[1].len();
        let small = self.histogram(&rows[ranges[usize::from(!left_smaller)].clone()]);
        let mut large = parent;
        for (sums, less) in large.iter_mut().zip(&small) {
            *sums = sums.less(*less);
        }
        let [first, second] = if left_smaller { [small, large] } else { [large, small] };
        let [left, right] = ranges;
        let open = |node: usize, rows: Range<usize>, histogram: Vec<Sums>| {
            let total = self.total(&histogram);
            let split = self.best(&histogram, total);
            Open { node, rows, total, histogram, split }
        };
        [open(at[0], left, first), open(at[1], right, second)]
    }

    fn histogram(&self, rows: &[u32]) -> Vec<Sums> {
        let mut histogram = vec![Sums::default(); self.starts.last().copied().unwrap_or(0)];
        let gathered: Vec<(f32, f32)> = rows.iter().map(|row| self.gradients[*row as usize]).collect();
        for (column, start) in self.columns.iter().zip(&self.starts) {
            let bins = self.binned.column(*column);
            let own = &mut histogram[*start..];
            for (row, (gradient, curvature)) in rows.iter().zip(&gathered) {
                let sums = &mut own[usize::from(bins[*row as usize])];
                sums.gradient += f64::from(*gradient);
                sums.curvature += f64::from(*curvature);
                sums.rows += 1;
            }
        }
        histogram
    }

    /// All rows of a histogram: those of its first column.
    fn total(&self, histogram: &[Sums]) -> Sums {
        let mut total = Sums::default();
        for sums in histogram.get(..self.starts.get(1).copied().unwrap_or(0)).unwrap_or_default() {
            total.add(*sums);
        }
        total
    }

    fn best(&self, histogram: &[Sums], total: Sums) -> Option<Split> {
        let least = self.options.leaf_rows.max(1) as u32;
        if total.rows < 2 * least {
            return None;
        }
        let penalty = self.options.penalty;
        let mut best: Option<Split> = None;
        for (n, column) in self.columns.iter().enumerate() {
            let bins = &histogram[self.starts[n]..self.starts[n + 1]];
            let missing = bins[usize::from(MISSING)];
            for missing_left in [false, true] {
                if missing_left && missing.rows == 0 {
                    continue;
                }
                let mut left = if missing_left { missing } else { Sums::default() };
                for (bin, sums) in bins.iter().enumerate().skip(1) {
                    left.add(*sums);
                    let right = total.less(left);
                    if right.rows < least {
                        break;
                    }
                    if left.rows < least || bin > self.binned.cuts[*column].len() {
                        continue;
                    }
                    let gain = left.score(penalty) + right.score(penalty) - total.score(penalty);
                    if gain > best.map_or(1e-9, |split| split.gain) {
                        best = Some(Split { gain, column: *column, bin: bin as u8, missing_left });
                    }
                }
            }
        }
        best
    }

    fn threshold(&self, split: Split) -> f32 {
        self.binned.cuts[split.column].get(usize::from(split.bin).saturating_sub(1)).copied().unwrap_or(f32::MAX)
    }

    /// Puts the rows that go left first, keeping their order, and says how many they are.
    fn partition(&self, rows: &mut [u32], split: Split) -> usize {
        let bins = self.binned.column(split.column);
        let goes_left = |row: &u32| match bins[*row as usize] {
            MISSING => split.missing_left,
            bin => bin <= split.bin,
        };
        let (left, right): (Vec<u32>, Vec<u32>) = rows.iter().copied().partition(goes_left);
        rows[..left.len()].copy_from_slice(&left);
        rows[left.len()..].copy_from_slice(&right);
        left.len()
    }
}

fn gain(open: &Open) -> f64 {
    open.split.map_or(0.0, |split| split.gain)
}
