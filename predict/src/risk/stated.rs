//! What a model states of one unit, or why it states nothing.

use super::model::{Chosen, RiskModel};
use crate::learn::Table;

/// The probability that a unit fails within the horizon, beside what the naive rule says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stated {
    /// By the method that was chosen.
    pub probability: f64,
    /// By the naive rule, calibrated on the same days.
    pub naive: f64,
    /// That method.
    pub by: Chosen,
}

/// Why a row earns no score.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoScore {
    /// The row is not of the features that the model reads.
    #[error("no score: the row has {found} values where the model reads {needed}")]
    Shape {
        /// Values that came.
        found: usize,
        /// Features that the model reads.
        needed: usize,
    },
    /// The model was not trained on such units.
    #[error("no score: the model knows {known} groups of units, not number {group}")]
    Group {
        /// The unit's group.
        group: usize,
        /// How many the model knows.
        known: usize,
    },
    /// What the rule counts is missing.
    #[error("no score: {0} is not known of this unit")]
    Unknown(&'static str),
}

impl RiskModel {
    /// States a probability for a row of features, or says why it cannot. What is not finite counts as missing.
    ///
    /// # Errors
    /// [`NoScore`], so that a row that does not fit never gets a number.
    pub fn state(&self, row: &[f32], group: usize) -> Result<Stated, NoScore> {
        let needed = self.features.len();
        if row.len() != needed {
            return Err(NoScore::Shape { found: row.len(), needed });
        }
        if group >= self.groups.len() {
            return Err(NoScore::Group { group, known: self.groups.len() });
        }
        let mut finite = Table::new(needed);
        if finite.push(row).is_err() {
            return Err(NoScore::Shape { found: row.len(), needed });
        }
        let row = finite.row(0);
        for name in ["failures.last_90d", "seen"] {
            let at = self.features.iter().position(|feature| feature.name == name);
            if at.is_none_or(|at| row[at].is_nan()) {
                return Err(NoScore::Unknown(name));
            }
        }
        Ok(Stated {
            probability: self.probability(row, group),
            naive: self.naive_probability(row, group),
            by: self.chosen,
        })
    }
}
