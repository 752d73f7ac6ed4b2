//! Owns every long-lived task: the first one that ends stops the rest.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// The long-lived tasks of a hub.
pub struct Supervisor {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    shutdown: CancellationToken,
}

impl Supervisor {
    /// A supervisor whose tasks stop when `shutdown` is cancelled.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), shutdown }
    }

    /// Starts a task. It must end soon after the shutdown, and not before.
    pub fn add<E: Into<anyhow::Error>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await.map_err(Into::into)) });
    }

    /// Waits until the shutdown or the first early exit, then gives the rest `grace` to end.
    ///
    /// # Errors
    /// What the task that ended early said, or that it ended early at all.
    pub async fn run(mut self, grace: Duration) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        tokio::select! {
            biased; // A task that stops because of the shutdown is not an early exit.
            () = self.shutdown.cancelled() => {}
            Some(ended) = self.tasks.join_next() => outcome = Err(early_exit(ended)),
        }
        self.shutdown.cancel();
        let drain = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((name, Err(failure))) => error!(task = name, "stopped with an error: {failure:#}"),
                    Ok((_, Ok(()))) => {}
                    Err(failure) => error!("a task died while stopping: {failure}"),
                }
            }
        };
        if tokio::time::timeout(grace, drain).await.is_err() {
            error!("some tasks did not stop within {grace:?}; ending them");
            self.tasks.shutdown().await;
        }
        info!("stopped");
        outcome
    }
}

fn early_exit(ended: Result<(&'static str, anyhow::Result<()>), JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Err(failure))) => failure.context(format!("{name} failed")),
        Ok((name, Ok(()))) => anyhow!("{name} ended although nobody asked it to"),
        Err(failure) => Err::<(), _>(failure).context("a task died").expect_err("it is an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_stops_the_rest_and_is_reported() {
        let shutdown = CancellationToken::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        let waits = shutdown.clone();
        supervisor.add("patient", async move {
            waits.cancelled().await;
            anyhow::Ok(())
        });
        supervisor.add("broken", async { Err(anyhow!("out of paper")) });
        let failure = supervisor.run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(format!("{failure:#}"), "broken failed: out of paper");
        assert!(shutdown.is_cancelled());
    }

    #[tokio::test]
    async fn a_shutdown_is_not_a_failure() {
        let shutdown = CancellationToken::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        let waits = shutdown.clone();
        supervisor.add("patient", async move {
            waits.cancelled().await;
            anyhow::Ok(())
        });
        shutdown.cancel();
        supervisor.run(Duration::from_secs(5)).await.unwrap();
    }
}
