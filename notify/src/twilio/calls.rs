//! Whose a call is. The provider keeps no text of a call that would tell; this process knows which calls it asked for.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{OutboxId, OutboxMessage, Outcome};

/// How many messages are remembered; the oldest are forgotten first.
const MOST: usize = 4096;

/// The calls that this process asked for, as far as it remembers.
#[derive(Debug, Default)]
pub(super) struct Calls {
    asked: Mutex<VecDeque<Asked>>,
}

#[derive(Debug)]
struct Asked {
    message: OutboxId,
    number: String,
    /// The provider's id of the call; `None` while no answer has come.
    call: Option<String>,
}

/// What can be said of a call that was asked for without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The provider has no call that may be of this message.
    Nobodys,
    /// This call is of this message.
    Ours(String),
    /// It may be, and may be of another message.
    Unsure,
}

impl Asked {
    /// True if this message waits for an answer.
    fn is_open(&self, message: OutboxId) -> bool {
        self.message == message && self.call.is_none()
    }
}

impl Calls {
    fn asked(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The provider is about to be asked for a call.
    pub(super) fn begin(&self, message: &OutboxMessage) {
        self.remember(message, None);
    }

    /// What came of it.
    pub(super) fn settle(&self, message: &OutboxMessage, outcome: &Outcome) {
        match outcome {
            Outcome::Sent { provider_id } => self.remember(message, Some(provider_id.clone())),
            Outcome::Retry { .. } | Outcome::Dead { .. } => self.asked().retain(|asked| !asked.is_open(message.id)),
            Outcome::Unknown { .. } => {}
        }
    }

    fn remember(&self, message: &OutboxMessage, call: Option<String>) {
        let mut asked = self.asked();
        asked.retain(|asked| !asked.is_open(message.id));
        if asked.len() >= MOST {
            asked.pop_front();
        }
        asked.push_back(Asked { message: message.id, number: message.receiver.address.clone(), call });
    }

    /// Which of the calls that the provider lists for the message's number is that of the message.
    pub(super) fn whose(&self, message: &OutboxMessage, mut listed: Vec<String>) -> Whose {
        let asked = self.asked();
        let is_other = |asked: &&Asked| asked.message != message.id && asked.number == message.receiver.address;
        let others: Vec<&Asked> = asked.iter().filter(is_other).collect();
        listed.retain(|call| others.iter().all(|other| other.call.as_ref() != Some(call)));
        let is_contested = others.iter().any(|other| other.call.is_none());
        match (listed.pop(), listed.is_empty()) {
            (None, _) => Whose::Nobodys,
            (Some(call), true) if !is_contested => Whose::Ours(call),
            (Some(_), _) => Whose::Unsure,
        }
    }
}
