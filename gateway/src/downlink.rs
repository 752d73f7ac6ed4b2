//! Commands on their way to a device.

use model::{CommandId, DeviceId};
use tokio::sync::oneshot;

/// A command to publish to a device, with QoS 1 and not retained.
#[derive(Debug)]
pub struct Downlink {
    /// The device.
    pub device: DeviceId,
    /// The command, for the log.
    pub command: CommandId,
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
        if let Err(reason) = &result {
            tracing::info!(command.id = %self.command, device.id = %self.device, reason, "command not sent");
        }
        drop(self.sent.send(result));
    }
}

/// The topic on which a device listens for commands.
#[must_use]
pub fn commands_topic(prefix: &str, device: &DeviceId) -> String {
    format!("{prefix}/{device}/commands")
}
