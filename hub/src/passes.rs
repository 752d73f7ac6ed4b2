//! The desk's reconcilers. Each has an idempotent `pass()` that takes no work item, looks at what is due in the store,
//! and is woken by a signal or an interval.

pub mod commands;
pub mod deliver;
pub mod directory;
pub mod escalate;
pub mod prune;

use std::{future::Future, time::Duration};

use metrics::{counter, histogram};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Runs a reconciler's pass at least every `interval`, and sooner after a change that `wakes` it.
///
/// # Errors
/// None: a pass that fails is logged, counted and tried again.
pub async fn run<Pass, Ran>(
    name: &'static str,
    interval: Duration,
    mut changes: broadcast::Receiver<store::Change>,
    wakes: fn(&store::Change) -> bool,
    shutdown: CancellationToken,
    mut pass: Pass,
) -> anyhow::Result<()>
where
    Pass: FnMut() -> Ran,
    Ran: Future<Output = anyhow::Result<()>>,
{
    loop {
        let started = std::time::Instant::now();
        if let Err(failure) = pass().await {
            counter!("liftline_pass_failures_total", "pass" => name).increment(1);
            error!(pass = name, "{failure:#}");
        }
        histogram!("liftline_pass_duration_seconds", "pass" => name).record(started.elapsed().as_secs_f64());
        let due = tokio::time::sleep(interval);
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = &mut due => break,
                change = changes.recv() => match change {
                    Ok(change) if !wakes(&change) => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => {
                        due.as_mut().await;
                        break;
                    }
                },
            }
        }
    }
}
