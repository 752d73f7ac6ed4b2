//! Gives queued commands to the gateway and expires those that were not answered in time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use gateway::{Downlink, LostCommands, Order, Routes};
use model::{Clock, CommandId, CommandState, Timestamp};
use store::{Change, Command, Store};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::passes::Reconciler;

/// How many commands are taken in one look.
const MAX_BATCH: u32 = 100;
/// How many looks one pass takes; the next pass goes on where this one stopped.
const MAX_LOOKS: usize = 20;

/// Sends commands down.
pub struct SendCommands {
    /// Where they are queued.
    pub store: Store,
    /// Who sends them: the broker link, the front door.
    pub downlinks: Vec<mpsc::Sender<Downlink>>,
    /// Tells what the front door took and could not deliver; none without one.
    pub lost: Option<LostCommands>,
    /// How devices speak.
    pub routes: Routes,
    /// What native topics begin with.
    pub prefix: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How far the passes have come.
    pub progress: Mutex<Progress>,
}

/// How far the passes have come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What was given to a connection that ended since has been queued anew.
    resumed: bool,
    /// The last command looked at: those for devices that are away do not hold up the others.
    after: Option<CommandId>,
}

impl Progress {
    /// Before the first pass. With a `front_door`, its connections held commands in memory; an external broker keeps
    /// what it was given by itself.
    #[must_use]
    pub fn new(front_door: bool) -> Self {
        Self { resumed: !front_door, after: None }
    }
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
        let mut progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if !progress.resumed {
            // The connections that held them ended with the hub's last run. A device that has one already knows its id.
            let again = self.store.requeue_sent_commands(now).await.context("queueing sent commands anew")?;
            debug!(again, "queued commands anew that were sent but not delivered");
            progress.resumed = true;
        }
        for command in self.lost.iter().flat_map(LostCommands::take) {
            let again = self.store.requeue_sent_command(command, now).await;
            if again.is_err() {
                // Which they were is forgotten now: the next pass takes all, as after a restart.
                self.progress.lock().unwrap_or_else(PoisonError::into_inner).resumed = false;
            }
            let again = again.context("queueing a command anew")?;
            debug!(command.id = %command, again, "a session ended before the device had the command");
        }
        for _ in 0..MAX_LOOKS {
            let queued = self.store.queued_commands(now, progress.after, MAX_BATCH);
            let queued = queued.await.context("looking for queued commands")?;
            for command in &queued {
                if self.send(command, now).await {
                    let sent = self.store.advance_command(command.id, CommandState::Sent, None, now);
                    sent.await.context("recording a sent command")?;
                }
            }
            let full = queued.len() == MAX_BATCH as usize;
            progress.after = queued.last().filter(|_| full).map(|command| command.id);
            if !full {
                break;
            }
        }
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        Ok(())
    }
}

impl SendCommands {
    /// True if a link took the command.
    async fn send(&self, command: &Command, now: Timestamp) -> bool {
        let Command { id, device, name, args, deadline, .. } = command;
        let order = Order { command: *id, device, name, args, deadline: *deadline };
        let (address, payload) = self.routes.word(&self.prefix, &order, now);
        let mut taken = false;
        for link in &self.downlinks {
            let (sent, answer) = oneshot::channel();
            let (address, payload) = (address.clone(), payload.clone());
            let downlink = Downlink { address, command: Some(*id), deadline: Some(*deadline), payload, sent };
            if link.try_send(downlink).is_err() {
                continue; // The link is busy or away; the command stays queued.
            }
            match answer.await {
                Ok(Ok(())) => taken = true,
                Ok(Err(reason)) => debug!(command.id = %id, device.id = %device, reason, "not sent yet"),
                Err(_) => {} // The link stopped.
            }
        }
        taken
    }
}
