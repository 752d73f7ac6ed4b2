//! Measures the parts of Liftline, each against a reference in the same run: machines drift, ratios do not.

mod engines_part;
mod fleet_part;
mod ingest;
mod journal_part;
mod learn_part;
mod lifts;
mod queries;
mod report;
mod store_part;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures the parts of Liftline. Without a name it measures all of them.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Which part.
    #[command(subcommand)]
    part: Option<Part>,
    /// The folder whose disk is measured; the system's temporary folder if none is named.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// How many entries each measurement takes; every part has its own usual number.
    #[arg(long, global = true)]
    entries: Option<u64>,
}

#[derive(Subcommand)]
enum Part {
    /// Appends, reads, trims and reopens a journal, beside a plain file with the same bytes and the same fsyncs.
    Journal,
    /// Runs the rules of the lift profile on 1,000 and 10,000 lifts, beside decoding and looking up alone.
    Rules,
    /// Runs its detectors and forecasts, beside decoding and looking up alone; trains a failure model and scores with it,
    /// beside scikit-learn's random forest.
    Predict,
    /// Records readings and opens tickets on SQLite, and on PostgreSQL if LIFTLINE_TEST_POSTGRES names a server.
    Store,
    /// Brings messages from devices into the databases, beside a minimal reference and other programs.
    Ingest(Box<ingest::Options>),
    /// Connects a whole fleet to the front door at once.
    Connections(ingest::connections::Options),
    /// Keeps one path at a share of its full speed for half an hour, and tells memory and lags.
    Steady(ingest::steady::Options),
    /// A fleet that was cut off tells what it has buffered, while live alarms come.
    Flush(ingest::flush::Options),
    /// Fills both databases with readings and asks what the board asks.
    Queries(queries::Options),
    /// Trains the failure models of a large fleet from a store with its history, and tells time and memory.
    Fleet(fleet_part::Options),
    /// Runs the minimal reference of the part `ingest`; that part starts it.
    #[command(hide = true)]
    Reference {
        /// The broker's port.
        port: u16,
        /// The database.
        url: String,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let dir = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let entries = |usual: u64| arguments.entries.unwrap_or(usual);
    let parts = arguments.part.map_or_else(
        || {
            vec![
                Part::Journal,
                Part::Rules,
                Part::Predict,
                Part::Store,
                Part::Ingest(Box::default()),
                Part::Connections(Default::default()),
            ]
        },
        |part| vec![part],
    );
    for (n, part) in parts.into_iter().enumerate() {
        if n > 0 {
            println!();
        }
        match part {
            Part::Journal => journal_part::run(&dir, entries(journal_part::ENTRIES))?,
            Part::Rules => engines_part::rules(entries(engines_part::ENTRIES))?,
            Part::Predict => {
                engines_part::predict(entries(engines_part::ENTRIES))?;
                println!();
                learn_part::run(&dir)?;
            }
            Part::Store => store_part::run(&dir, entries(store_part::ENTRIES))?,
            Part::Ingest(options) => ingest::run(&dir, &options)?,
            Part::Connections(options) => ingest::connections::run(&dir, &options)?,
            Part::Steady(options) => ingest::steady::run(&dir, &options)?,
            Part::Flush(options) => ingest::flush::run(&dir, &options)?,
            Part::Queries(options) => queries::run(&dir, &options)?,
            Part::Fleet(options) => fleet_part::run(&dir, &options)?,
            Part::Reference { port, url } => {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
                runtime.block_on(ingest::reference::run(port, &url))?;
            }
        }
    }
    Ok(())
}
