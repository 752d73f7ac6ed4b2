//! One connection to the broker, from the attempt to its end.
//!
//! One task does all of it and waits for nothing in particular: packets in, messages to the intake, acknowledgements and
//! commands out. Messages that wait for the intake stand in a backlog that the broker itself bounds: it sends no more than the
//! receive maximum (MQTT 5) or its in-flight limit (3.1.1) unacknowledged. Mosquitto 2.0.11 does not keep to it, and takes one
//! packet from each connection in turn: while many devices publish as fast as they can, the hub's acknowledgements wait. So
//! nothing more is read while too many messages await theirs. It also gives a message a packet id that is still in use then; acknowledged
//! in the order of arrival, each ends the message that it should.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    LinkState,
    line::Line,
    socket::{Access, Socket},
    wire::{self, Incoming, Outgoing, Welcome},
};
use crate::{
    config::ProtocolVersion,
    downlink::{Address, Downlink, commands_topic},
    inbound::{Ack, Inbound, Inlet, Message},
    topic,
    window::{Head, Window},
    wire::{Frame, Publish, Qos, Version, frame},
};

/// How long the broker has to take the hub.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the broker has to answer when it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(10);
/// How many commands may wait for the broker's acknowledgement at once.
const MAX_COMMANDS: usize = 64;
/// How long the broker has to acknowledge a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker has to grant the subscriptions, and to acknowledge a command before it is taken for broken. Both may come behind
/// a backlog.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// With so many messages that await their acknowledgement, or so many bytes that the broker does not read, nothing more is read. An
/// acknowledgement has four bytes. Mosquitto under load reads one of them for a message of every device: it is behind with millions
/// before it has caught up, and what is not read from it meanwhile would wait there.
const MOST_OWED: usize = 61_000;
const MOST_OUTPUT: usize = 16 << 20;
/// How long the farewell to the broker may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// The packet id of the subscriptions; commands have the others.
const SUBSCRIBE_ID: u16 = 1;

/// Why a connection ended.
pub(super) enum End {
    Shutdown,
    IntakeGone,
    /// Why, in a sentence with its remedy.
    Lost(String),
}

/// The broker sends again what was not acknowledged, once there is a new connection.
const REFUSED: &str = "the intake could not take a message; connecting anew so that the broker sends it again";

/// What is to be said about a message once it is safe.
enum Answer {
    Ack(u16),
    Received(u16),
}

/// A command that the broker has not acknowledged.
struct Sent {
    id: u16,
    at: Instant,
    /// None once it has been answered for want of an acknowledgement; the broker still counts it.
    downlink: Option<Downlink>,
}

/// A connection that the broker has welcomed.
pub(super) struct Connection<'a> {
    line: &'a Line<'a>,
    socket: Socket,
    version: Version,
    welcome: Welcome,
    window: Window<Answer>,
    commands: VecDeque<Sent>,
    last_id: u16,
    /// When the broker was asked whether it is still there and has not answered.
    asked_at: Option<Instant>,
    /// Since when it has been asked for the subscriptions and has not answered.
    subscribing_since: Option<Instant>,
}

impl<'a> Connection<'a> {
    /// Connects, logs in and subscribes.
    ///
    /// # Errors
    /// Why there is no connection, in a sentence with its remedy.
    pub(super) async fn open(line: &'a Line<'a>, access: &Access) -> Result<Self, String> {
        timeout(PATIENCE, Self::greet(line, access)).await.unwrap_or_else(|_| Err(line.silent()))
    }

    async fn greet(line: &'a Line<'a>, access: &Access) -> Result<Self, String> {
        let config = &line.config;
        let version = match config.protocol {
            ProtocolVersion::V5 => Version::V5,
            ProtocolVersion::V311 => Version::V311,
        };
        let mut socket = Socket::connect(config, access).await.map_err(|error| line.unreachable(&error))?;
        let hello = Outgoing::Connect { config, password: &access.password };
        wire::write(version, &hello, &mut socket.output).map_err(|error| line.broke(&error))?;
        let welcome = loop {
            match frame(&socket.input, wire::MAX).map_err(|error| line.broke(&error))? {
                Frame::Missing(_) => socket.exchange(true).await.map_err(|error| line.ended(&error))?,
                Frame::Whole => match wire::read(version, &mut socket.input).map_err(|error| line.broke(&error))? {
                    Incoming::Welcome(welcome) => break welcome,
                    Incoming::Refused(reason) => return Err(line.refused(&reason)),
                    _ => return Err(line.broke(&"something else came before the answer to the login")),
                },
            }
        };
        let mut connection = Self {
            line,
            socket,
            version,
            welcome,
            window: Window::default(),
            commands: VecDeque::new(),
            last_id: SUBSCRIBE_ID,
            asked_at: None,
            subscribing_since: Some(Instant::now()),
        };
        connection.welcomed()?;
        Ok(connection)
    }

    fn welcomed(&mut self) -> Result<(), String> {
        let config = &self.line.config;
        let session_present = self.welcome.session_present;
        info!(broker.host = config.host, broker.port = config.port, session_present, "connected to the broker");
        if !session_present {
            warn!(
                client_id = config.client_id,
                "the broker has kept nothing under this client id: normal at the very first start; otherwise what \
                 devices sent while the hub was away is lost (check persistence, session expiry and queue limits of \
                 the broker, and that no other hub uses this client id)"
            );
            metrics::counter!("liftline_broker_sessions_lost_total").increment(1);
        }
        // Also with a session: the topics may have changed since it was made, and it costs one packet.
        self.say(&Outgoing::Subscribe { id: SUBSCRIBE_ID, filters: &self.line.filters })
    }

    /// Queues a packet.
    fn say(&mut self, packet: &Outgoing<'_>) -> Result<(), String> {
        wire::write(self.version, packet, &mut self.socket.output).map_err(|error| self.line.broke(&error))
    }

    /// Does what there is to do until the end, and says goodbye if that is the shutdown. Messages for which the intake has no room
    /// stand in the backlog.
    pub(super) async fn serve(
        mut self,
        backlog: &mut VecDeque<Inbound>,
        out: &Inlet,
        downlinks: &mut mpsc::Receiver<Downlink>,
        shutdown: &CancellationToken,
    ) -> End {
        let end = match self.turn(backlog, out, downlinks, shutdown).await {
            Ok(never) => match never {},
            // Whatever the intake refuses or leaves while everything stops is no failure of the link.
            Err(_) if shutdown.is_cancelled() => End::Shutdown,
            Err(end) => end,
        };
        match &end {
            End::Shutdown => self.farewell().await,
            End::IntakeGone => self.give_up("the hub is stopping"),
            End::Lost(reason) => self.give_up(reason),
        }
        end
    }

    async fn turn(
        &mut self,
        backlog: &mut VecDeque<Inbound>,
        out: &Inlet,
        downlinks: &mut mpsc::Receiver<Downlink>,
        shutdown: &CancellationToken,
    ) -> Result<Infallible, End> {
        let wake = self.window.wake();
        let most_commands = MAX_COMMANDS.min(self.welcome.receive_maximum.into());
        let keep_alive = self.welcome.keep_alive.unwrap_or(self.line.config.keep_alive);
        let mut tick = interval((keep_alive / 4).clamp(Duration::from_millis(100), Duration::from_secs(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut downlinks_open = true;
        loop {
            if self.acknowledge().map_err(End::Lost)? {
                metrics::counter!("liftline_messages_refused_total", "way" => "broker").increment(1);
                return Err(End::Lost(REFUSED.to_owned()));
            }
            hand_on(backlog, out)?;
            self.take_packets(backlog, out)?;
            let listening = self.window.len() < MOST_OWED && self.socket.output.len() < MOST_OUTPUT;
            tokio::select! {
                biased; // Reading comes last: a broker that always has more to say does not hold up the rest.
                () = shutdown.cancelled() => return Err(End::Shutdown),
                now = tick.tick() => self.check_times(now, keep_alive, listening).map_err(End::Lost)?,
                () = wake.notified() => {}
                room = room(backlog, out), if !backlog.is_empty() => match (room, backlog.pop_front()) {
                    (Ok(room), Some(inbound)) => room.send(inbound),
                    (Ok(_), None) => {}
                    (Err(_), _) => return Err(End::IntakeGone),
                },
                downlink = downlinks.recv(), if downlinks_open && self.commands.len() < most_commands => match downlink {
                    Some(downlink) => self.send(downlink),
                    None => downlinks_open = false,
                },
                moved = self.socket.exchange(listening) => {
                    moved.map_err(|error| End::Lost(self.line.ended(&error)))?;
                }
            }
        }
    }

    /// Takes the packets that are there.
    fn take_packets(&mut self, backlog: &mut VecDeque<Inbound>, out: &Inlet) -> Result<(), End> {
        let mut messages = 0;
        while self.window.len() < MOST_OWED {
            match frame(&self.socket.input, wire::MAX).map_err(|error| End::Lost(self.line.broke(&error)))? {
                Frame::Whole => self.socket.missing = 0,
                Frame::Missing(missing) => {
                    self.socket.missing = missing;
                    break;
                }
            }
            let packet = wire::read(self.version, &mut self.socket.input);
            match packet.map_err(|error| End::Lost(self.line.broke(&error)))? {
                Incoming::Publish(publish) => {
                    messages += 1;
                    self.receive(publish, backlog, out)?;
                }
                other => self.hear(other).map_err(End::Lost)?,
            }
        }
        if messages > 0 {
            self.line.received.increment(messages);
        }
        Ok(())
    }

    fn receive(&mut self, publish: Publish, backlog: &mut VecDeque<Inbound>, out: &Inlet) -> Result<(), End> {
        let Publish { topic, payload, qos, id, retain, alias } = publish;
        if alias.is_some() {
            return Err(End::Lost(self.line.broke(&"it gave a topic a number, which the hub had not offered")));
        }
        let ack = match qos {
            Qos::One => self.window.admit(Answer::Ack(id)),
            Qos::Two => self.window.admit(Answer::Received(id)),
            Qos::Zero if backlog.len() >= usize::from(self.line.config.receive_maximum) => {
                // Sent without delivery guarantee, and nothing else bounds such messages.
                metrics::counter!("liftline_messages_dropped_total", "why" => "qos0_overflow").increment(1);
                return Ok(());
            }
            Qos::Zero => Ack::none(),
        };
        if retain && !topic::is_status(&topic) {
            // An old reading or event that the broker shows to every new subscriber: it was taken when it was new.
            metrics::counter!("liftline_messages_dropped_total", "why" => "retained").increment(1);
            ack.done();
            return Ok(());
        }
        let received_at = self.line.clock.now();
        let inbound = Inbound { message: Message { topic, payload, received_at, sender: None }, ack };
        backlog.push_back(inbound);
        if backlog.len() == 1 { hand_on(backlog, out) } else { Ok(()) }
    }

    /// Hears everything that is not a message.
    fn hear(&mut self, incoming: Incoming) -> Result<(), String> {
        match incoming {
            Incoming::SubAck { granted: true } => {
                self.subscribing_since = None;
                self.line.standing.set(LinkState::Connected { since: self.line.clock.now() });
            }
            Incoming::SubAck { granted: false } => {
                let filters: Vec<_> = self.line.filters.iter().map(|(filter, _)| filter.as_str()).collect();
                return Err(format!(
                    "the broker does not let the user read {}/# with QoS 1; allow it in the broker's access list ({})",
                    self.line.prefix,
                    filters.join(", ")
                ));
            }
            Incoming::PubAck { id, taken } => {
                if let Some(at) = self.commands.iter().position(|sent| sent.id == id)
                    && let Some(downlink) = self.commands.remove(at).and_then(|sent| sent.downlink)
                {
                    downlink.answer(taken);
                }
            }
            Incoming::PubRel(id) => self.say(&Outgoing::PubComp(id))?,
            Incoming::Pong => {}
            Incoming::Disconnect(reason) => return Err(self.line.dismissed(&reason)),
            Incoming::Publish(_) | Incoming::Welcome(_) | Incoming::Refused(_) | Incoming::Unexpected => {
                return Err(self.line.broke(&"it sent a packet that a broker may not send"));
            }
        }
        Ok(())
    }

    /// Acknowledges to the broker what is done, in the order of arrival; true if the intake could not take the message behind that.
    fn acknowledge(&mut self) -> Result<bool, String> {
        loop {
            let packet = match self.window.head() {
                Head::Waiting => return Ok(false),
                Head::Dropped => return Ok(true),
                Head::Done(Answer::Ack(id)) => Outgoing::PubAck(*id),
                Head::Done(Answer::Received(id)) => Outgoing::PubRec(*id),
            };
            self.say(&packet)?;
            self.window.pop();
        }
    }

    /// Sends a command.
    fn send(&mut self, downlink: Downlink) {
        let topic = match &downlink.address {
            Address::Commands(device) => commands_topic(self.line.prefix, device),
            Address::Broker { topic } => topic.clone(),
            Address::FrontDoor { .. } => {
                return downlink.answer(Err("the device comes in by the front door, not by the broker".to_owned()));
            }
        };
        let id = self.next_id();
        let start = self.socket.output.len();
        let packet = Outgoing::Publish { id, topic: &topic, payload: &Bytes::copy_from_slice(&downlink.payload) };
        if let Err(error) = wire::write(self.version, &packet, &mut self.socket.output) {
            return downlink.answer(Err(format!("the command cannot be put into a packet ({error})")));
        }
        let bytes = self.socket.output.len() - start;
        if let Some(most) = self.welcome.max_packet
            && bytes > usize::try_from(most).unwrap_or(usize::MAX)
        {
            self.socket.output.truncate(start);
            return downlink.answer(Err(format!("the command has {bytes} bytes; the broker takes at most {most}")));
        }
        self.commands.push_back(Sent { id, at: Instant::now(), downlink: Some(downlink) });
    }

    /// A packet id that no command under way has.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id == u16::MAX { SUBSCRIBE_ID + 1 } else { self.last_id + 1 };
            if self.commands.iter().all(|sent| sent.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Gives up commands that wait too long, says that the hub is still there, and notices when the broker is not.
    fn check_times(&mut self, now: Instant, keep_alive: Duration, listening: bool) -> Result<(), String> {
        for sent in self.commands.iter_mut().filter(|sent| now >= sent.at + COMMAND_TIMEOUT) {
            if let Some(downlink) = sent.downlink.take() {
                let seconds = COMMAND_TIMEOUT.as_secs();
                downlink.answer(Err(format!("the broker did not acknowledge the command within {seconds} s")));
            }
        }
        // What is not read cannot be heard.
        if !listening || self.asked_at.is_some_and(|asked_at| self.socket.heard_at > asked_at) {
            self.asked_at = None;
        }
        if self.asked_at.is_some_and(|asked_at| now >= asked_at + SILENCE) {
            return Err(self.line.silent());
        }
        let oldest = self.subscribing_since.into_iter().chain(self.commands.front().map(|sent| sent.at)).min();
        if listening && oldest.is_some_and(|since| now >= since + LAST_PATIENCE) {
            return Err(self.line.silent());
        }
        let quiet_since = if listening { self.socket.sent_at.min(self.socket.heard_at) } else { self.socket.sent_at };
        // What waits to be read by the broker says as much as a question.
        if self.asked_at.is_none() && self.socket.output.is_empty() && now >= quiet_since + keep_alive * 3 / 4 {
            self.asked_at = Some(now);
            self.say(&Outgoing::Ping)?;
        }
        Ok(())
    }

    /// Acknowledges what is done and says goodbye, so that the broker sees no failure.
    async fn farewell(mut self) {
        self.give_up("the hub is stopping");
        // What the intake has dropped meanwhile comes again at the next start.
        let said = self.acknowledge().and_then(|_dropped| self.say(&Outgoing::Disconnect));
        if said.is_ok()
            && let Err(error) = self.socket.close(FAREWELL).await
        {
            info!(%error, "the farewell to the broker did not end well");
        }
    }

    /// Answers the commands that the broker has not acknowledged.
    fn give_up(&mut self, why: &str) {
        for downlink in self.commands.drain(..).filter_map(|sent| sent.downlink) {
            downlink
                .answer(Err(format!("the broker had not acknowledged the command when the connection ended: {why}")));
        }
    }
}

/// Hands the backlog to the intake as far as it has room.
fn hand_on(backlog: &mut VecDeque<Inbound>, out: &Inlet) -> Result<(), End> {
    while let Some(inbound) = backlog.pop_front() {
        match out.of(&inbound.message.topic).try_send(inbound) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(inbound)) => {
                backlog.push_front(inbound);
                break;
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(End::IntakeGone),
        }
    }
    Ok(())
}

/// Waits for room for the message that has waited longest.
async fn room<'a>(
    backlog: &VecDeque<Inbound>,
    out: &'a Inlet,
) -> Result<mpsc::Permit<'a, Inbound>, mpsc::error::SendError<()>> {
    match backlog.front() {
        Some(inbound) => out.of(&inbound.message.topic).reserve().await,
        None => std::future::pending().await,
    }
}
