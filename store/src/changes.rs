//! What changed, told to everybody who listens after it was committed.

use model::{CommandId, DeviceId, OrgId, TicketId};
use tokio::sync::broadcast;

use crate::Store;

/// How many changes a slow listener may fall behind before it loses the oldest and must read everything again.
pub(crate) const BACKLOG: usize = 4096;

/// Something that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A ticket was opened or changed.
    Ticket {
        /// Its organisation.
        org: OrgId,
        /// The ticket.
        ticket: TicketId,
    },
    /// A device came on line or went off.
    Device {
        /// Its organisation.
        org: OrgId,
        /// The device.
        device: DeviceId,
    },
    /// A command was queued or changed its state.
    Command {
        /// The device's organisation.
        org: OrgId,
        /// The device.
        device: DeviceId,
        /// The command.
        command: CommandId,
    },
    /// Devices, sites or credentials changed: the directory must be read again.
    Directory,
    /// A message is owed or a message's state changed.
    Outbox,
    /// Rejects were recorded.
    Rejects,
}

impl Store {
    /// Changes committed through this store from now on. Changes made by other processes (the command line beside a
    /// running hub) are not among them.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    pub(crate) fn announce(&self, change: Change) {
        // It fails only if nobody listens, and then nobody needs to know.
        drop(self.inner.changes.send(change));
    }
}
