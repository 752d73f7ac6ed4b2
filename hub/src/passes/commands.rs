//! Gives queued commands to the gateway and expires those that were not answered in time.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use gateway::Downlink;
use model::{Clock, CommandState};
use serde_json::json;
use store::{Change, Command, Store};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::passes::Reconciler;

/// The command as the device reads it.
fn payload(command: &Command) -> Vec<u8> {
    let text = json!({
        "id": command.id,
        "name": command.name,
        "args": command.args,
        "deadline": command.deadline.as_millis(),
    });
    text.to_string().into_bytes()
}

/// How many commands are taken in one look.
const MAX_BATCH: u32 = 100;

/// Sends commands down.
pub struct SendCommands {
    /// Where they are queued.
    pub store: Store,
    /// Who sends them: the broker link, the front door.
    pub downlinks: Vec<mpsc::Sender<Downlink>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Reconciler for SendCommands {
    const NAME: &'static str = "commands";
    const INTERVAL: Duration = Duration::from_secs(1);

    fn wakes(change: &Change) -> bool {
        matches!(change, Change::Command { .. })
    }

    /// Sends what is queued and expires what is overdue. "Sent" is not "delivered": only the device says that.
    async fn pass(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        self.store.expire_commands(now).await.context("expiring commands")?;
        for command in self.store.queued_commands(now, MAX_BATCH).await.context("looking for queued commands")? {
            let mut taken = false;
            for link in &self.downlinks {
                let (sent, answer) = oneshot::channel();
                let downlink =
                    Downlink { device: command.device.clone(), command: command.id, payload: payload(&command), sent };
                if link.try_send(downlink).is_err() {
                    continue; // The link is busy or away; the command stays queued.
                }
                match answer.await {
                    Ok(Ok(())) => taken = true,
                    Ok(Err(reason)) => {
                        warn!(command.id = %command.id, device.id = %command.device, reason, "not sent yet")
                    }
                    Err(_) => {} // The link stopped.
                }
            }
            if taken {
                self.store
                    .advance_command(command.id, CommandState::Sent, None, now)
                    .await
                    .context("recording a sent command")?;
            }
        }
        Ok(())
    }
}
