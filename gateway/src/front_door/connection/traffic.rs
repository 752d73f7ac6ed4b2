//! What is said on a connection: packets in, messages to the intake, acknowledgements and commands out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    Answer, Connection, End, FAREWELL, LARGE, MAX_ALIASES, MAX_UNACKNOWLEDGED, Parked, READ, REFUSAL_PAUSE, Room,
    Unacknowledged,
};
use crate::{
    front_door::{
        auth::Wanted,
        sessions::lock_kept,
        wire::{self, Farewell, Incoming, Outgoing},
    },
    inbound::{Ack, Inbound, Message},
    window::Head,
    wire::{Frame, Publish, Qos, frame},
};

/// How many filters of other platforms a session may listen on.
const MAX_FOREIGN: usize = 16;

impl Connection {
    /// Takes the packets that are there and for which there is room.
    pub(super) fn take_packets(&mut self) -> Result<(), End> {
        let (mut messages, mut progress) = (0, false);
        while self.waiting.is_none() && self.unacknowledged < usize::from(MAX_UNACKNOWLEDGED) && !self.is_too_quick() {
            match frame(&self.line.input, wire::MAX)? {
                Frame::Missing(missing) => {
                    self.missing = missing;
                    if missing > LARGE && self.large.is_none() {
                        self.large = self.shared.large.clone().try_acquire_owned().ok();
                    }
                    break;
                }
                Frame::Whole => {
                    self.missing = 0;
                    progress = true;
                    match wire::read(self.version, &mut self.line.input)? {
                        Incoming::Publish(publish) => {
                            messages += 1;
                            self.publish(publish)?;
                        }
                        other => {
                            // Only messages keep a place for large packets.
                            self.large = None;
                            self.answer(other)?;
                        }
                    }
                }
            }
        }
        if messages > 0 {
            metrics::counter!("liftline_messages_received_total", "way" => "front_door").increment(messages);
        }
        let partial = !self.line.input.is_empty() && self.waiting.is_none();
        if progress || !partial {
            self.incomplete_since = partial.then(Instant::now);
        } else if self.incomplete_since.is_none() {
            self.incomplete_since = Some(Instant::now());
        }
        if self.line.input.is_empty() {
            // An idle device holds no buffer.
            self.line.input = BytesMut::new();
        }
        Ok(())
    }

    /// Hands a message to the intake.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<(), End> {
        self.count_message();
        let Publish { topic, payload, qos, id, alias, retain: _ } = publish;
        let topic = self.resolve(topic, alias)?;
        let answer = match qos {
            Qos::Zero => None,
            Qos::One => Some(Answer::Ack(id)),
            Qos::Two if lock_kept(&self.held.kept).unreleased.contains(&id) => {
                // The journal has it already; the device did not hear the answer.
                wire::write(self.version, &Outgoing::PubRec(id), &mut self.line.output);
                self.large = None;
                return Ok(());
            }
            Qos::Two => Some(Answer::Received(id)),
        };
        let received_at = self.shared.clock.now();
        let message = Message { topic, payload, received_at, sender: Some(self.login.device.clone()) };
        let inbound = Inbound { message, ack: self.admit(answer) };
        let out = self.out.of(&inbound.message.topic);
        match out.try_send(inbound) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(inbound)) => {
                let room = Box::pin(out.clone().reserve_owned());
                self.waiting = Some(Box::new(Parked { inbound, room }));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Ours(Farewell::ShuttingDown)),
        }
    }

    pub(super) fn count_message(&mut self) {
        let (began, count) = &mut self.second;
        *count += 1;
        if *count >= self.shared.message_rate.min(64) && began.elapsed() >= Duration::from_secs(1) {
            (*began, *count) = (Instant::now(), 0);
        }
    }

    /// A place in the window for a message that wants an answer.
    pub(super) fn admit(&mut self, answer: Option<Answer>) -> Ack {
        match answer {
            Some(answer) => {
                self.unacknowledged += 1;
                self.window.admit(Unacknowledged { answer, _large: self.large.take() })
            }
            None => Ack::none_but(self.large.take()),
        }
    }

    /// The intake has room for the message that waited.
    pub(super) fn hand_over(&mut self, room: Room) -> Result<(), End> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let Ok(room) = room else { return Err(End::Ours(Farewell::ShuttingDown)) };
        room.send(waiting.inbound);
        Ok(())
    }

    /// The topic of a message whose sender may have given it a number.
    pub(super) fn resolve(&mut self, topic: Bytes, alias: Option<u16>) -> Result<Bytes, End> {
        let Some(alias) = alias else { return Ok(topic) };
        if alias > MAX_ALIASES {
            return Err(End::Ours(Farewell::BadAlias));
        }
        let index = usize::from(alias) - 1;
        if self.aliases.len() <= index {
            self.aliases.resize(index + 1, Bytes::new());
        }
        if topic.is_empty() {
            let known = self.aliases[index].clone();
            return if known.is_empty() { Err(End::Ours(Farewell::BadAlias)) } else { Ok(known) };
        }
        // A copy: the packet's own bytes would keep the whole buffer in memory.
        self.aliases[index] = Bytes::copy_from_slice(&topic);
        Ok(topic)
    }

    /// Answers everything that is not a message.
    pub(super) fn answer(&mut self, incoming: Incoming) -> Result<(), End> {
        let output = &mut self.line.output;
        match incoming {
            Incoming::Publish(_) | Incoming::Unexpected => return Err(End::Ours(Farewell::ProtocolError)),
            Incoming::Ping => wire::write(self.version, &Outgoing::Pong, output),
            Incoming::PubAck(id) => lock_kept(&self.held.kept).unacknowledged.retain(|(other, _)| *other != id),
            Incoming::PubRel(id) => {
                lock_kept(&self.held.kept).unreleased.remove(&id);
                wire::write(self.version, &Outgoing::PubComp(id), output);
            }
            Incoming::Subscribe { id, filters } => {
                let granted: Vec<Option<Qos>> =
                    filters.iter().map(|(filter, qos)| self.listen(filter, Some(*qos)).then_some(*qos)).collect();
                wire::write(self.version, &Outgoing::SubAck(id, &granted), &mut self.line.output);
            }
            Incoming::Unsubscribe { id, filters } => {
                let existed: Vec<bool> = filters.iter().map(|filter| self.listen(filter, None)).collect();
                wire::write(self.version, &Outgoing::UnsubAck(id, &existed), &mut self.line.output);
            }
            Incoming::Disconnect { keep_will, session_expiry } => {
                if let Some(expiry) = session_expiry.filter(|_| !self.session_expiry.is_zero()) {
                    self.session_expiry = expiry.min(self.shared.session_expiry);
                }
                return Err(End::Disconnected { keep_will });
            }
        }
        Ok(())
    }

    /// Sets or ends a subscription; false if it is not allowed or did not exist.
    pub(super) fn listen(&self, filter: &str, qos: Option<Qos>) -> bool {
        let mut kept = lock_kept(&self.held.kept);
        let place = match self.shared.auth.may_read(&self.login.device, filter) {
            Some(Wanted::Exact) => &mut kept.exact,
            Some(Wanted::Below) => &mut kept.below,
            Some(Wanted::Foreign) => {
                let known = kept.foreign.len();
                kept.foreign.retain(|(other, _)| other != filter);
                let existed = kept.foreign.len() < known;
                if kept.foreign.len() >= MAX_FOREIGN {
                    return false;
                }
                kept.foreign.extend(qos.map(|qos| (filter.to_owned(), qos)));
                return existed || qos.is_some();
            }
            None => return false,
        };
        std::mem::replace(place, qos).is_some() || qos.is_some()
    }

    /// Sends commands that wait, as many as the device may have unacknowledged.
    pub(super) fn send_commands(&mut self) {
        let mut kept = lock_kept(&self.held.kept);
        let now = self.shared.clock.now();
        kept.waiting.retain(|command| command.is_wanted(now));
        while kept.unacknowledged.len() < self.max_commands_out
            && let Some(qos) = kept.waiting.front().and_then(|command| kept.listens_on(command.topic.as_deref()))
            && let Some(command) = kept.waiting.pop_front()
        {
            let id = (qos != Qos::Zero).then(|| kept.next_id());
            let topic = command.topic.as_deref().unwrap_or(&self.commands_topic);
            let packet = Outgoing::Command { topic, payload: &command.payload, id, again: false };
            wire::write(self.version, &packet, &mut self.line.output);
            kept.unacknowledged.extend(id.map(|id| (id, command)));
        }
    }

    /// Acknowledges what the journal has, in the order of arrival.
    pub(super) async fn acknowledge(&mut self) -> Result<(), End> {
        loop {
            match self.window.head() {
                Head::Waiting => return Ok(()),
                Head::Done(Unacknowledged { answer, .. }) => {
                    let packet = match answer {
                        Answer::Ack(id) => Outgoing::PubAck(*id),
                        Answer::Received(id) => {
                            lock_kept(&self.held.kept).unreleased.insert(*id);
                            Outgoing::PubRec(*id)
                        }
                    };
                    wire::write(self.version, &packet, &mut self.line.output);
                    self.window.pop();
                    self.unacknowledged -= 1;
                }
                Head::Dropped => {
                    metrics::counter!("liftline_messages_refused_total", "way" => "front_door").increment(1);
                    self.line.flush_for(FAREWELL).await;
                    tokio::select! {
                        () = sleep(REFUSAL_PAUSE) => {}
                        () = self.shared.stopping.cancelled() => {}
                    }
                    return Err(End::Ours(Farewell::Busy));
                }
            }
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), End> {
        let any = self.line.flush()?;
        if self.line.output.is_empty() {
            self.unread_since = None;
            if self.line.output.capacity() > READ {
                self.line.output = BytesMut::new();
            }
        } else if any || self.unread_since.is_none() {
            self.unread_since = Some(Instant::now());
        }
        Ok(())
    }
}
