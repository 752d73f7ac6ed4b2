//! Rows of numbers to learn from.

/// Why nothing can be learnt from a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// There is nothing to learn from.
    #[error("there are {rows} rows to learn from; at least {least} are needed")]
    TooFewRows {
        /// The rows there are.
        rows: usize,
        /// The rows it takes.
        least: usize,
    },
    /// Every row says the same.
    #[error("of {rows} rows {positive} were followed by a failure; at least {least} of each outcome are needed")]
    OneOutcome {
        /// The rows there are.
        rows: usize,
        /// Those with a failure.
        positive: usize,
        /// How many it takes of each.
        least: usize,
    },
    /// No column varies.
    #[error("no feature varies over the {rows} rows: there is nothing to tell units apart by")]
    Constant {
        /// The rows there are.
        rows: usize,
    },
    /// Whoever watches the training stopped it.
    #[error("the training was stopped")]
    Stopped,
    /// Rows and labels are not of one number, or rows not of one length.
    #[error("{labels} labels for {rows} rows of {columns} columns")]
    Shape {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Labels.
        labels: usize,
    },
}

/// A dense table, row after row. A missing value is NaN; infinities are taken for missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: usize,
    values: Vec<f32>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { columns, values: Vec::new() }
    }

    /// Adds a row. What is not finite becomes missing.
    ///
    /// # Errors
    /// [`LearnError::Shape`] if the row has another length.
    pub fn push(&mut self, row: &[f32]) -> Result<(), LearnError> {
        if row.len() != self.columns {
            return Err(LearnError::Shape { rows: self.rows(), columns: row.len(), labels: self.columns });
        }
        self.values.extend(row.iter().map(|value| if value.is_finite() { *value } else { f32::NAN }));
        Ok(())
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// How many columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row; empty beyond the last.
    #[must_use]
    pub fn row(&self, n: usize) -> &[f32] {
        self.values.get(n * self.columns..(n + 1) * self.columns).unwrap_or_default()
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// The named rows as a table of their own.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut values = Vec::with_capacity(rows.len() * self.columns);
        for row in rows {
            values.extend_from_slice(self.row(*row));
        }
        Self { columns: self.columns, values }
    }
}
