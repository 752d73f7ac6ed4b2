//! Recorded tables replayed as devices: a mapping says how rows become devices, times and values.

mod mapping;
mod plan;
mod run;

use std::path::PathBuf;

pub use mapping::{BUILT_IN, Mapping};
pub use plan::ReplayPlan;
pub use run::{Connections, Rebase, ReplayOptions, ReplayReport, Speed, replay};

/// Why a table cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read.
    #[error("{} cannot be read; give a file that exists", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The mapping says something that cannot be.
    #[error("{}:{line}: {message}; {remedy}", file.display())]
    Mapping {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// The table is not CSV.
    #[error("{} is not a table of comma-separated values; check the file", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// The table lacks a column that the mapping names.
    #[error("{} has no column \"{column}\"; its columns are {known}: correct the mapping", path.display())]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Those that it has.
        known: String,
    },
    /// A row cannot be read.
    #[error("{}:{line}: {message}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong and what to do.
        message: String,
    },
    /// A second table was given, and the mapping does not say how to read it.
    #[error("the mapping \"{mapping}\" does not say how to read an inventory; add [inventory], or leave the file out")]
    NoInventory {
        /// The mapping.
        mapping: String,
    },
    /// Times would lie in the future.
    #[error(
        "a replay that starts now cannot run at full speed, because its times would lie in the future; use end-now, or a speed such as 60x"
    )]
    Future,
    /// The connections failed.
    #[error("the replay was stopped")]
    Run(#[from] crate::SimError),
}

#[cfg(test)]
mod tests;
