//! One connection of a device, from its first byte to its last will.
//!
//! Reading, acknowledging and sending go on side by side in one task. Messages are handed to the intake as they come and
//! stand in a window until the journal has them; acknowledgements go out in the order of arrival, as many at once as are
//! ready. Whatever the device does, it holds a bounded amount of memory and holds up nobody else: what cannot be taken
//! stays in its own socket.

mod line;
mod traffic;

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, mpsc::OwnedPermit},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use self::line::Line;
use super::{
    Shared,
    auth::Login,
    sessions::{Command, Held, Link, lock_kept},
    wire::{self, Farewell, Hello, Outgoing, Refusal, Welcome, Will},
};
use crate::{
    downlink::commands_topic,
    inbound::{Ack, Inbound, Inlet, Message},
    window::Window,
    wire::{Malformed, Version},
};

/// How many messages of a connection may wait for the journal.
const MAX_UNACKNOWLEDGED: u16 = 500;
/// How many topic aliases a device may set.
const MAX_ALIASES: u16 = 16;
/// How many commands may be unacknowledged by a device.
const MAX_COMMANDS_OUT: usize = 16;
/// How many bytes are read at once, at least, while a device sends.
const READ: usize = 2 * 1024;
/// How many bytes are read at once, at most.
const MAX_READ: usize = 64 * 1024;
/// A packet above this size needs one of the places for large packets before it is read.
pub(super) const LARGE: usize = 16 * 1024;
/// How many bytes may wait to be sent before no more is read from the device.
const MAX_OUTPUT: usize = 64 * 1024;
/// How long a packet may take from its first byte to its last, and how long a device may leave what we send unread.
const PACKET_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a device that promised no keep-alive may be silent.
const MAX_SILENCE: Duration = Duration::from_secs(300);
/// How long a device whose message could not be taken is kept waiting before it is disconnected, so that a full
/// journal does not turn into a storm of connections.
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);
/// How long to wait before a last will that the intake refused is offered again.
const WILL_RETRY: Duration = Duration::from_millis(500);
/// How often a last will that waits looks whether its device has come back: then it is not left lying until it is due.
const WILL_CHECK: Duration = Duration::from_secs(5);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the journal has at a shutdown for what it is already given.
const GRACE: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The device said goodbye, and whether its last will is to be published all the same.
    Disconnected {
        keep_will: bool,
    },
    /// The device is gone.
    Lost(io::Error),
    Malformed(Malformed),
    /// We end it.
    Ours(Farewell),
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// What is to be said in answer to a message once the journal has it.
#[derive(Debug)]
enum Answer {
    Ack(u16),
    Received(u16),
}

/// A message that awaits its acknowledgement.
struct Unacknowledged {
    answer: Answer,
    /// The place of a large packet.
    _large: Option<OwnedSemaphorePermit>,
}

/// A message for which the intake has no room yet.
struct Parked {
    inbound: Inbound,
    room: Pin<Box<dyn Future<Output = Room> + Send>>,
}

/// A place in the intake's queue; an error says that the intake is gone.
type Room = Result<OwnedPermit<Inbound>, mpsc::error::SendError<()>>;

/// Serves a connection that was just accepted; returns when it is over and its last will is dealt with.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>, pending: u64) {
    let evicted = shared.pending.token(pending);
    let mut line = Line::new(stream);
    let hello = tokio::select! {
        () = shared.stopping.cancelled() => None,
        () = evicted.cancelled() => None,
        hello = timeout(shared.login_timeout, line.hello()) => Some(hello),
    };
    shared.pending.remove(pending);
    let Some(hello) = hello else { return };
    let hello = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(End::Malformed(malformed))) => {
            info!(%address, "a connection was closed: {malformed}");
            if matches!(malformed, Malformed::OtherProtocol) {
                line.output.extend_from_slice(wire::OTHER_VERSION);
                line.flush_for(FAREWELL).await;
            }
            return;
        }
        Ok(Err(end)) => return debug!(%address, ?end, "a connection ended before it said who it is"),
        Err(_) => return info!(%address, "a connection was closed: it did not say who it is in time"),
    };
    let version = hello.version;
    let Some((connection, place)) = admit(line, hello, address, &shared).await else { return };
    connection.run(version, place).await;
}

/// Checks a login and answers it.
async fn admit(
    mut line: Line,
    hello: Hello,
    address: SocketAddr,
    shared: &Arc<Shared>,
) -> Option<(Connection, OwnedSemaphorePermit)> {
    let checked = shared.auth.check(&hello, &shared.sessions).and_then(|login| {
        let place = shared.places.clone().try_acquire_owned();
        place.map(|place| (login, place)).map_err(|_| (Refusal::Busy, "as many devices as allowed are connected"))
    });
    let version = hello.version;
    let refused = match checked {
        Ok((login, place)) => match Connection::open(line, hello, login, shared.clone()) {
            Ok(connection) => return Some((connection, place)),
            Err((returned, refusal)) => {
                line = returned;
                refusal
            }
        },
        Err(refused) => {
            let name: String = hello.username.chars().take(64).collect();
            info!(%address, username = name, reason = refused.1, "a login was refused at the front door");
            refused.0
        }
    };
    metrics::counter!("liftline_front_door_logins_refused_total").increment(1);
    wire::write(version, &Outgoing::Refused(refused), &mut line.output);
    line.flush_for(FAREWELL).await;
    None
}

/// A logged-in connection.
struct Connection {
    line: Line,
    version: Version,
    login: Login,
    held: Held,
    link: Arc<Link>,
    will: Option<Will>,
    session_expiry: Duration,
    commands_topic: String,
    max_commands_out: usize,
    max_silence: Duration,
    window: Window<Unacknowledged>,
    unacknowledged: usize,
    aliases: Vec<Bytes>,
    /// A message that waits for room in the intake's queue; nothing behind it is looked at meanwhile.
    waiting: Option<Box<Parked>>,
    /// The place for the large packet that is being read.
    large: Option<OwnedSemaphorePermit>,
    /// Bytes that the packet being read still lacks.
    missing: usize,
    /// When the device was last heard, and since when a packet is incomplete or our own words are not read.
    heard_at: Instant,
    incomplete_since: Option<Instant>,
    unread_since: Option<Instant>,
    /// When the messages of this second began to be counted, and how many there were.
    second: (Instant, u32),
    out: Inlet,
    shared: Arc<Shared>,
}

impl Connection {
    /// Takes the session and welcomes the device.
    fn open(mut line: Line, hello: Hello, login: Login, shared: Arc<Shared>) -> Result<Self, (Line, Refusal)> {
        let Some(out) = shared.out.get().cloned() else { return Err((line, Refusal::Busy)) };
        let window = Window::default();
        let link = Arc::new(Link::new(window.wake()));
        let assigned = hello.client_id.is_empty().then(|| shared.assigned_client_id(&login.device));
        let client: Arc<str> = assigned.as_deref().unwrap_or(&hello.client_id).into();
        let arrived = shared.sessions.arrived(client, &login.device, login.secret, hello.clean, link.clone());
        let Some(held) = arrived else { return Err((line, Refusal::ClientId)) };
        let session_expiry = hello.session_expiry.unwrap_or(shared.session_expiry).min(shared.session_expiry);
        let imposed = shared.keep_alive.filter(|_| hello.version == Version::V5);
        let keep_alive = imposed.unwrap_or(hello.keep_alive);
        let welcome = Welcome {
            session_present: held.present,
            session_expiry,
            keep_alive: imposed,
            assigned,
            receive_maximum: MAX_UNACKNOWLEDGED,
            alias_maximum: MAX_ALIASES,
        };
        wire::write(hello.version, &Outgoing::Welcome(welcome), &mut line.output);
        let now = Instant::now();
        let mut connection = Self {
            line,
            version: hello.version,
            commands_topic: commands_topic(&shared.prefix, &login.device),
            login,
            held,
            link,
            will: hello.will,
            session_expiry,
            max_commands_out: MAX_COMMANDS_OUT.min(hello.receive_maximum.into()),
            max_silence: match keep_alive {
                0 => MAX_SILENCE,
                seconds => Duration::from_millis(u64::from(seconds) * 1500),
            },
            window,
            unacknowledged: 0,
            aliases: Vec::new(),
            waiting: None,
            large: None,
            missing: 0,
            heard_at: now,
            incomplete_since: None,
            unread_since: None,
            second: (now, 0),
            out,
            shared,
        };
        connection.send_again();
        Ok(connection)
    }

    /// Commands that an earlier connection of the session sent and that were not acknowledged.
    fn send_again(&mut self) {
        let (mut kept, now) = (lock_kept(&self.held.kept), self.shared.clock.now());
        kept.unacknowledged.retain(|(_, command)| command.is_wanted(now));
        for (id, Command { topic, payload, .. }) in &kept.unacknowledged {
            let topic = topic.as_deref().unwrap_or(&self.commands_topic);
            let command = Outgoing::Command { topic, payload, id: Some(*id), again: true };
            wire::write(self.version, &command, &mut self.line.output);
        }
    }

    /// Serves the device until the end, and then says goodbye for it.
    async fn run(mut self, version: Version, place: OwnedSemaphorePermit) {
        let end = match self.turn().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let farewell = self.note(&end);
        if let Some(farewell) = farewell {
            wire::write(version, &Outgoing::Farewell(farewell), &mut self.line.output);
            self.line.flush_for(FAREWELL).await;
        }
        self.shared.sessions.left(&self.held, self.session_expiry, Instant::now());
        let keep_will = match end {
            End::Disconnected { keep_will } => keep_will,
            End::Ours(Farewell::ShuttingDown) => false,
            End::Lost(_) | End::Malformed(_) | End::Ours(_) => true,
        };
        let Self { line, window, will, shared, login, held, session_expiry, .. } = self;
        // The last will may have to wait; the socket need not.
        drop((line, window));
        let Some(will) = will.filter(|_| keep_will) else { return };
        let delay = will.delay.min(session_expiry);
        if !delay.is_zero() {
            // The device may come back; its place is free meanwhile.
            drop(place);
            let due = Instant::now() + delay;
            while Instant::now() < due {
                tokio::select! {
                    () = sleep_until(due.min(Instant::now() + WILL_CHECK)) => {}
                    () = shared.stopping.cancelled() => return,
                }
                if !shared.sessions.is_last(&held) {
                    return;
                }
            }
        }
        leave_behind(will, &login, &shared).await;
    }

    /// Logs an end that is not an ordinary one. Returns what to tell the device.
    fn note(&self, end: &End) -> Option<Farewell> {
        let device = &self.login.device;
        match end {
            End::Disconnected { .. } => None,
            End::Lost(error) => {
                debug!(device.id = %device, %error, "a device is gone");
                None
            }
            End::Malformed(malformed) => {
                metrics::counter!("liftline_front_door_malformed_total").increment(1);
                warn!(device.id = %device, "a device was disconnected: {malformed}");
                Some(match malformed {
                    Malformed::TooLarge { .. } => Farewell::TooLarge,
                    Malformed::OtherProtocol | Malformed::V4(_) | Malformed::V5(_) => Farewell::Malformed,
                })
            }
            End::Ours(farewell) => {
                match farewell {
                    Farewell::ProtocolError | Farewell::BadAlias | Farewell::Malformed | Farewell::TooLarge => {
                        metrics::counter!("liftline_front_door_malformed_total").increment(1);
                        warn!(device.id = %device, ?farewell, "a device was disconnected: it breaks the rules of MQTT");
                    }
                    Farewell::Busy => warn!(
                        device.id = %device,
                        "a message could not be taken; the device is disconnected so that it sends it again"
                    ),
                    Farewell::Silent => info!(device.id = %device, "a device fell silent"),
                    Farewell::ShuttingDown | Farewell::TakenOver | Farewell::Dismissed => {}
                }
                Some(*farewell)
            }
        }
    }

    /// Does what there is to do, again and again.
    async fn turn(&mut self) -> Result<std::convert::Infallible, End> {
        let wake = self.window.wake();
        let shared = self.shared.clone();
        let mut stopping: Option<Instant> = None;
        let mut alarm: Pin<Box<Sleep>> = Box::pin(sleep_until(self.heard_at + self.max_silence));
        loop {
            self.acknowledge().await?;
            if stopping.is_some() && self.unacknowledged == 0 {
                return Err(End::Ours(Farewell::ShuttingDown));
            }
            if let Some(farewell) = self.link.ending() {
                return Err(End::Ours(farewell));
            }
            self.send_commands();
            if stopping.is_none() {
                self.take_packets()?;
            }
            self.flush()?;
            let listening = stopping.is_none() && self.may_read();
            let due = stopping.map_or_else(|| self.due(listening), |since| since + GRACE);
            // Moved only when it would ring too late; one that rings too early is set anew.
            if due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
            let full = self.waiting.is_some();
            tokio::select! {
                () = shared.stopping.cancelled(), if stopping.is_none() => stopping = Some(Instant::now()),
                ready = self.line.stream.readable(), if listening => {
                    ready?;
                    self.line.receive(self.missing)?;
                    self.heard_at = Instant::now();
                }
                ready = self.line.stream.writable(), if !self.line.output.is_empty() => ready?,
                () = wake.notified() => {}
                room = room(&mut self.waiting), if full => self.hand_over(room)?,
                () = &mut alarm => {
                    self.check_limits(listening, stopping)?;
                    let next = stopping.map_or_else(|| self.due(listening), |since| since + GRACE);
                    alarm.as_mut().reset(next.max(Instant::now() + Duration::from_millis(10)));
                }
            }
        }
    }

    /// True if the device may send more: what it sent before has found room, and it reads what we send.
    fn may_read(&self) -> bool {
        self.waiting.is_none()
            && self.unacknowledged < usize::from(MAX_UNACKNOWLEDGED)
            && self.line.output.len() < MAX_OUTPUT
            && (self.missing <= LARGE || self.large.is_some())
            && !self.is_too_quick()
    }

    /// True if the device has sent as many messages as it may in this second.
    fn is_too_quick(&self) -> bool {
        self.second.1 >= self.shared.message_rate && self.second.0.elapsed() < Duration::from_secs(1)
    }

    /// When one of the limits is reached next.
    fn due(&self, listening: bool) -> Instant {
        // While we do not read, its silence is our doing.
        let silence = if listening { self.heard_at } else { Instant::now() } + self.max_silence;
        let packet = self.incomplete_since.filter(|_| listening).map(|since| since + PACKET_TIMEOUT);
        let unread = self.unread_since.map(|since| since + PACKET_TIMEOUT);
        let pause = self.is_too_quick().then(|| self.second.0 + Duration::from_secs(1));
        // A place for a large packet may have become free.
        let large = (self.missing > LARGE && self.large.is_none()).then(|| Instant::now() + Duration::from_millis(50));
        [packet, unread, pause, large].into_iter().flatten().fold(silence, Instant::min)
    }

    fn check_limits(&mut self, listening: bool, stopping: Option<Instant>) -> Result<(), End> {
        let now = Instant::now();
        let past = |since: Option<Instant>, limit: Duration| since.is_some_and(|since| since + limit <= now);
        if past(stopping, GRACE) {
            return Err(End::Ours(Farewell::ShuttingDown));
        }
        if past(self.unread_since, PACKET_TIMEOUT) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read what it is sent").into());
        }
        if !listening {
            self.heard_at = now;
            self.incomplete_since = self.incomplete_since.map(|_| now);
            return Ok(());
        }
        if past(Some(self.heard_at), self.max_silence) || past(self.incomplete_since, PACKET_TIMEOUT) {
            return Err(End::Ours(Farewell::Silent));
        }
        Ok(())
    }
}

/// Waits for room for the message that waits.
async fn room(waiting: &mut Option<Box<Parked>>) -> Room {
    match waiting {
        Some(waiting) => waiting.room.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Hands a last will to the intake, again and again until it is taken.
async fn leave_behind(will: Will, login: &Login, shared: &Shared) {
    if crate::topic::is_status(&will.topic) && shared.sessions.is_connected(&login.device) {
        info!(device.id = %login.device, "an old connection of the device ended; the device itself is connected");
        return;
    }
    let Some(out) = shared.out.get().map(|inlet| inlet.of(&will.topic).clone()) else { return };
    let message = Message {
        topic: will.topic,
        payload: will.payload,
        received_at: shared.clock.now(),
        sender: Some(login.device.clone()),
    };
    metrics::counter!("liftline_messages_received_total", "way" => "last_will").increment(1);
    while !out.is_closed() && !shared.stopping.is_cancelled() {
        let (ack, acknowledged) = Ack::channel();
        let offered = async {
            match out.send(Inbound { message: message.clone(), ack }).await {
                Ok(()) => acknowledged.await.is_ok(),
                Err(_) => false,
            }
        };
        tokio::select! {
            taken = offered => if taken { return },
            () = shared.stopping.cancelled() => return,
        }
        sleep(WILL_RETRY).await;
    }
}

/// The places for large packets: while they are taken, whoever wants to send another waits.
pub(super) fn large_places() -> Arc<Semaphore> {
    const LARGE_PLACES: usize = 64;
    Arc::new(Semaphore::new(LARGE_PLACES))
}
