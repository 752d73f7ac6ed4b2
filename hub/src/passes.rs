//! The desk's reconcilers. Each has an idempotent `pass()` that takes no work item, looks at what is due in the store,
//! and is woken by a signal or an interval.

pub mod commands;
pub mod deliver;
pub mod directory;
pub mod escalate;
pub mod prune;
pub mod settle;
pub mod uptime;

use std::{future::Future, time::Duration};

use metrics::{counter, histogram};
use store::Change;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Something that puts right, again and again, what is due.
pub trait Reconciler: Send + Sync + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;
    /// The longest time between two passes.
    const INTERVAL: Duration;

    /// True if a change may make something due before the interval is over.
    fn wakes(change: &Change) -> bool;

    /// Does everything that is due. Doing it twice changes nothing.
    fn pass(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs a reconciler until the shutdown.
///
/// # Errors
/// None: a pass that fails is logged, counted and tried again.
pub async fn run<R: Reconciler>(
    reconciler: R,
    mut changes: broadcast::Receiver<Change>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let started = std::time::Instant::now();
        if let Err(failure) = reconciler.pass().await {
            counter!("liftline_pass_failures_total", "pass" => R::NAME).increment(1);
            error!(pass = R::NAME, "{failure:#}");
        }
        histogram!("liftline_pass_duration_seconds", "pass" => R::NAME).record(started.elapsed().as_secs_f64());
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(R::INTERVAL) => {}
            () = woken::<R>(&mut changes) => {}
        }
    }
}

/// Returns at a change that wakes the reconciler, or when changes were missed.
async fn woken<R: Reconciler>(changes: &mut broadcast::Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(change) if !R::wakes(&change) => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
