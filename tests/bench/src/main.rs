//! Measures the parts of Liftline, each against a reference in the same run: machines drift, ratios do not.

mod journal_part;
mod report;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures the parts of Liftline. Without a name it measures all of them.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// The folder whose disk is measured; the system's temporary folder if none is named.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// Appends, reads, trims and reopens a journal, beside a plain file with the same bytes and the same fsyncs.
    Journal {
        /// How many entries each measurement appends.
        #[arg(long, default_value_t = journal_part::ENTRIES)]
        entries: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let dir = arguments.dir.unwrap_or_else(std::env::temp_dir);
    match arguments.part.unwrap_or(Part::Journal { entries: journal_part::ENTRIES }) {
        Part::Journal { entries } => journal_part::run(&dir, entries),
    }
}
