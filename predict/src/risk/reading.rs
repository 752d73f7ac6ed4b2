//! How a regression reads features: logarithms for what is spread over powers of ten, a flag for each weekday, and
//! for what groups differ in, a copy for each group but the first.

use crate::{
    history::{Feature, Shape},
    learn::{LearnError, Table},
};

/// What never happened counts as this long ago, days.
const NEVER_DAYS: f32 = 400.0;

/// Reads rows of known features.
pub(super) struct Reading<'a> {
    features: &'a [Feature],
    /// Where the flags of the groups beyond the first stand.
    groups: Vec<usize>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(features: &'a [Feature]) -> Self {
        let groups = features
            .iter()
            .enumerate()
            .filter(|(_, feature)| feature.name.starts_with("group."))
            .map(|(n, _)| n)
            .skip(1)
            .collect();
        Self { features, groups }
    }

    pub(super) fn columns(&self) -> usize {
        let width = |feature: &Feature| if feature.shape == Shape::Weekday { 7 } else { 1 };
        let plain: usize = self.features.iter().map(width).sum();
        plain + self.groups.len() * self.features.iter().filter(|feature| feature.by_group).map(width).sum::<usize>()
    }

    pub(super) fn read(&self, row: &[f32]) -> Vec<f32> {
        let mut read = Vec::with_capacity(self.columns());
        let mut core = Vec::new();
        for (feature, value) in self.features.iter().zip(row) {
            let from = read.len();
            match feature.shape {
                Shape::Weekday => read.extend((0..7u8).map(|day| f32::from(u8::from(f32::from(day) == *value)))),
                Shape::Since | Shape::Amount | Shape::Level | Shape::Flag => read.push(plain(feature.shape, *value)),
            }
            if feature.by_group {
                core.extend_from_slice(&read[from..]);
            }
        }
        for group in &self.groups {
            let flag = row.get(*group).copied().unwrap_or(0.0);
            read.extend(core.iter().map(|value| value * flag));
        }
        read
    }

    pub(super) fn table(&self, rows: &Table) -> Result<Table, LearnError> {
        let mut read = Table::new(self.columns());
        for row in rows.iter() {
            read.push(&self.read(row))?;
        }
        Ok(read)
    }
}

fn plain(shape: Shape, value: f32) -> f32 {
    match shape {
        Shape::Since if value.is_nan() => (NEVER_DAYS * 4.0).ln_1p(),
        Shape::Since => (value.clamp(0.0, NEVER_DAYS) * 4.0).ln_1p(),
        Shape::Amount if value.is_nan() => 0.0,
        Shape::Amount => value.clamp(0.0, 1e4).ln_1p(),
        Shape::Level | Shape::Flag | Shape::Weekday => value,
    }
}
