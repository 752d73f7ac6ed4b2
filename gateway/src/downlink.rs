//! Commands on their way to a device, and what else the hub says.

use model::{CommandId, DeviceId, Timestamp};
use tokio::sync::oneshot;

/// Where something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The native commands topic of a device, by whichever way it is connected.
    Commands(DeviceId),
    /// A topic at the external broker.
    Broker {
        /// The topic.
        topic: String,
    },
    /// A topic, to the connections at the front door that logged in as this device and listen there.
    FrontDoor {
        /// Who logged in.
        device: DeviceId,
        /// The topic.
        topic: String,
    },
}

/// A message to publish, with QoS 1 and not retained.
#[derive(Debug)]
pub struct Downlink {
    /// Where to.
    pub address: Address,
    /// The command, for the log; none for what a format makes the hub say.
    pub command: Option<CommandId>,
    /// Until when it is wanted; the front door does not send it later. None for what a format makes the hub say.
    pub deadline: Option<Timestamp>,
    /// The payload, ready to publish.
    pub payload: Vec<u8>,
    /// Answered once: `Ok` when the broker has taken the command, else a sentence that says why it did not. Only
    /// the device's own result says whether the command was carried out.
    pub sent: oneshot::Sender<Result<(), String>>,
}

impl Downlink {
    /// Answers; whoever asked may have stopped waiting.
    pub(crate) fn answer(self, result: Result<(), String>) {
        let outcome = if result.is_ok() { "sent" } else { "not_sent" };
        metrics::counter!("liftline_commands_total", "outcome" => outcome).increment(1);
        if let (Err(reason), Some(command)) = (&result, self.command) {
            tracing::debug!(command.id = %command, address = ?self.address, reason, "command not sent");
        }
        drop(self.sent.send(result));
    }
}

/// The topic on which a device listens for commands.
#[must_use]
pub fn commands_topic(prefix: &str, device: &DeviceId) -> String {
    format!("{prefix}/{device}/commands")
}
