//! The `liftline` binary.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use hub::cli::{Cli, run};
use tracing_subscriber::EnvFilter;

/// Each message is decoded into many small pieces; the system's allocator took a fifth of the hub's time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let quiet = "warn,hub=info";
    let filter = EnvFilter::try_from_env("LIFTLINE_LOG").unwrap_or_else(|_| EnvFilter::new(quiet));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // A log that cannot be written (its disk is full, its reader is gone) must not end the hub: complaining of it to
        // standard error, where that is the log, panics.
        .log_internal_errors(false)
        .with_target(false)
        .init();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    hub::limits::allow_many_connections();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failure) => {
            eprintln!("liftline: the runtime cannot start: {failure}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Not `eprintln!`, which panics on a full disk and makes another exit code of it.
            drop(writeln!(std::io::stderr(), "liftline: {failure:#}"));
            ExitCode::FAILURE
        }
    }
}
