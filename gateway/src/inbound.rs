//! A received message and its acknowledgement.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use bytes::Bytes;
use model::{DeviceId, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::topic;

/// A message as it came off the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic, not yet checked: it may not even be UTF-8.
    pub topic: Bytes,
    /// The payload, not yet checked.
    pub payload: Bytes,
    /// When the hub received it.
    pub received_at: Timestamp,
    /// The authenticated device that sent it; only the front door knows.
    pub sender: Option<DeviceId>,
}

/// A received message with the means to acknowledge it.
#[derive(Debug)]
pub struct Inbound {
    /// The message.
    pub message: Message,
    /// Its acknowledgement.
    pub ack: Ack,
}

/// Where messages go: two queues, so that an event never waits behind measurements.
#[derive(Debug, Clone)]
pub struct Inlet {
    /// For events, statuses and answers to commands.
    pub events: mpsc::Sender<Inbound>,
    /// For everything else.
    pub telemetry: mpsc::Sender<Inbound>,
}

impl Inlet {
    /// The queue for a topic.
    pub(crate) fn of(&self, topic: &[u8]) -> &mpsc::Sender<Inbound> {
        if topic::is_urgent(topic) { &self.events } else { &self.telemetry }
    }
}

/// The acknowledgement owed for one message. Call [`Ack::done`] once the message is safe; dropping it instead means
/// that it is not: the sender keeps the message and sends it again.
#[derive(Debug)]
pub struct Ack(Kind);

#[derive(Debug)]
enum Kind {
    /// Nobody waits: the message was sent without delivery guarantee.
    None,
    /// The front door's hook waits.
    Reply(oneshot::Sender<()>),
    /// A place in the broker link's window.
    Slot(Slot),
}

impl Ack {
    /// An acknowledgement nobody waits for.
    #[must_use]
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// An acknowledgement and the end that hears of it: an error there means that it was dropped.
    #[must_use]
    pub fn channel() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Kind::Reply(sender)), receiver)
    }

    /// An acknowledgement that marks a place in a window, and the mark to look at.
    pub(crate) fn slot(wake: Arc<Notify>) -> (Self, Arc<Mark>) {
        let mark = Arc::new(Mark::default());
        (Self(Kind::Slot(Slot { mark: mark.clone(), wake })), mark)
    }

    /// True if nobody waits.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Kind::None)
    }

    /// Says that the message is safe and may be acknowledged to its sender.
    pub fn done(self) {
        match self.0 {
            Kind::None => {}
            // The sender may have gone away meanwhile; it will send the message again.
            Kind::Reply(reply) => drop(reply.send(())),
            Kind::Slot(slot) => slot.mark.set(Mark::DONE),
        }
    }
}

/// Says of many messages that they are safe. Every one is marked before a window hears of it, so that its next packet to the
/// broker acknowledges them all.
pub fn all_done(acks: impl IntoIterator<Item = Ack>) {
    let mut slots = Vec::new();
    for ack in acks {
        match ack.0 {
            Kind::Slot(slot) => {
                slot.mark.set(Mark::DONE);
                slots.push(slot);
            }
            Kind::None | Kind::Reply(_) => ack.done(),
        }
    }
}

/// What became of one message of a window.
#[derive(Debug, Default)]
pub(crate) struct Mark(AtomicU8);

impl Mark {
    const DONE: u8 = 1;
    const DROPPED: u8 = 2;

    fn set(&self, state: u8) {
        // The first mark counts: `done` marks, then the slot is dropped.
        let _already_marked = self.0.compare_exchange(0, state, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::DONE
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::DROPPED
    }
}

#[derive(Debug)]
struct Slot {
    mark: Arc<Mark>,
    wake: Arc<Notify>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.mark.set(Mark::DROPPED);
        self.wake.notify_one();
    }
}
