//! A received message and its acknowledgement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use model::{Clock, DeviceId, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

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

/// The clock of a way in: it never says the same time twice. Measurements without a time of their own have that of their receipt,
/// and two of one device at the same time would be one.
pub(crate) struct ReceiptClock {
    clock: Arc<dyn Clock>,
    last: AtomicI64,
}

impl ReceiptClock {
    /// How far ahead of the clock it may be: messages that come at once have their times one microsecond apart. A clock that
    /// was put back by more is followed.
    const MOST_AHEAD: Duration = Duration::from_secs(1);

    /// One over a clock.
    pub(crate) fn over(clock: Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(Self { clock, last: AtomicI64::new(i64::MIN) })
    }
}

impl Clock for ReceiptClock {
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        let next = |last: i64| {
            let last = Timestamp::from_micros(last);
            let follows = last >= now && last.since(now) < Self::MOST_AHEAD;
            if follows { last + Duration::from_micros(1) } else { now }
        };
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = next(last);
            match self.last.compare_exchange_weak(last, next.as_micros(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return next,
                Err(other) => last = other,
            }
        }
    }
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
    /// Nobody waits: the message was sent without delivery guarantee. A large one has a place that others wait for.
    None { _place: Option<OwnedSemaphorePermit> },
    /// The front door's hook waits.
    Reply(oneshot::Sender<()>),
    /// A place in the broker link's window.
    Slot(Slot),
}

impl Ack {
    /// An acknowledgement nobody waits for.
    #[must_use]
    pub fn none() -> Self {
        Self::none_but(None)
    }

    /// An acknowledgement nobody waits for, with a place that is given back when the message is safe or dropped.
    pub(crate) fn none_but(place: Option<OwnedSemaphorePermit>) -> Self {
        Self(Kind::None { _place: place })
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
        matches!(self.0, Kind::None { .. })
    }

    /// Says that the message is safe and may be acknowledged to its sender.
    pub fn done(self) {
        match self.0 {
            Kind::None { .. } => {}
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
            Kind::None { .. } | Kind::Reply(_) => ack.done(),
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

#[cfg(test)]
mod tests {
    use model::ManualClock;

    use super::*;

    #[test]
    fn no_two_messages_have_the_same_time_of_receipt() {
        let start = Timestamp::from_secs(1_767_225_600);
        let manual = Arc::new(ManualClock::at(start));
        let clock = ReceiptClock::over(manual.clone());
        let micros = |n| start + Duration::from_micros(n);
        assert_eq!([clock.now(), clock.now(), clock.now()], [micros(0), micros(1), micros(2)]);
        manual.advance(Duration::from_micros(1));
        assert_eq!(clock.now(), micros(3), "it does not go back behind what it said");
        manual.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), micros(1_000_001), "and follows the clock otherwise");
        manual.set(Timestamp::from_secs(1_767_222_000));
        assert_eq!(clock.now(), Timestamp::from_secs(1_767_222_000), "also back");
    }
}
