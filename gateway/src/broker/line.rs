//! One connection to the broker, with its own session there.
//!
//! One task polls the client and awaits nothing else inside that poll; handing messages on, sending commands and
//! acknowledging happen beside it. Messages that wait for the intake stand in a backlog that the broker itself
//! bounds: it sends no more than the receive maximum (MQTT 5) or its in-flight limit (3.1.1) unacknowledged. One that does is not
//! read from meanwhile (see `stream`).

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use model::Clock;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    LinkState, Standing, backoff,
    client::{self, AckToken, Client, Delivery, EventLoop, Happened},
};
use crate::{
    GatewayError,
    config::BrokerConfig,
    downlink::{Address, Downlink, commands_topic},
    inbound::{Ack, Inbound, Inlet, Message},
    topic,
    window::{Head, Window},
};

/// How many commands may wait for the broker's acknowledgement at once.
const MAX_COMMANDS: usize = 64;
/// How long the broker has to acknowledge a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker has to read the last acknowledgements before the farewell.
const LAST_ACKS: Duration = Duration::from_millis(100);
/// How long the farewell to the broker may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a connection must have lasted for the pauses between attempts to start small again.
const SETTLED: Duration = Duration::from_secs(30);
/// How many packets in a row are taken from what the library has at hand.
const IN_A_ROW: u32 = 64;

/// What one connection is for.
pub(super) struct Line<'a> {
    /// The broker, and the client id of this connection.
    pub(super) config: BrokerConfig,
    /// What it subscribes to, each with whether retained messages on it are wanted.
    pub(super) filters: Vec<(String, bool)>,
    pub(super) prefix: &'a str,
    pub(super) clock: &'a dyn Clock,
    /// Where it says how it stands.
    pub(super) standing: Standing<'a>,
}

impl Line<'_> {
    /// Receives messages and sends commands until the shutdown, connecting again whenever the connection is lost.
    ///
    /// # Errors
    /// As [`super::BrokerLink::run`].
    pub(super) async fn run(
        self,
        out: Inlet,
        mut downlinks: mpsc::Receiver<Downlink>,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        let owed = Arc::default();
        let (client, mut event_loop) = client::open(&self.config, &owed)?;
        let max_backlog = usize::from(self.config.receive_maximum);
        let mut session = Session {
            line: &self,
            client,
            window: Window::default(),
            queued: 0,
            owed,
            backlog: VecDeque::new(),
            max_backlog,
            commands: FuturesUnordered::new(),
            connected: false,
            received: metrics::counter!("liftline_messages_received_total", "way" => "broker"),
        };
        let mut attempt = 0;
        loop {
            let started = std::time::Instant::now();
            match session.connection(&mut event_loop, &out, &mut downlinks, &shutdown).await {
                End::Shutdown => {
                    let _nothing_more_to_do = session.acknowledge();
                    farewell(&session.client, &mut event_loop).await;
                    return Ok(());
                }
                End::IntakeGone => return Err(GatewayError::IntakeGone),
                End::Lost(reason) => {
                    session.lost(&mut event_loop, reason);
                    attempt = if started.elapsed() >= SETTLED { 0 } else { attempt + 1 };
                }
            }
            let pause = backoff::pause(&self.config.client_id, attempt, self.config.max_backoff);
            if session.pause(pause, &mut downlinks, &shutdown).await.is_none() {
                return Ok(());
            }
        }
    }
}

/// Why a connection ended.
enum End {
    Shutdown,
    IntakeGone,
    Lost(String),
}

/// What outlives one connection, and what belongs to it.
struct Session<'a> {
    line: &'a Line<'a>,
    client: Client,
    /// Messages of this connection that await their acknowledgement; emptied when it ends, so that an `Ack` of an
    /// earlier connection marks a place nobody looks at.
    window: Window<AckToken>,
    /// How many acknowledgements stand in the library's queue.
    queued: usize,
    /// How many messages await their acknowledgement, in the window or that queue; for the stream.
    owed: Arc<AtomicUsize>,
    /// Messages that await room in the intake's queue.
    backlog: VecDeque<Inbound>,
    max_backlog: usize,
    commands: FuturesUnordered<BoxFuture<'static, ()>>,
    connected: bool,
    /// Counts messages.
    received: metrics::Counter,
}

impl Session<'_> {
    /// Serves one connection, from the attempt to its end.
    async fn connection(
        &mut self,
        event_loop: &mut EventLoop,
        out: &Inlet,
        downlinks: &mut mpsc::Receiver<Downlink>,
        shutdown: &CancellationToken,
    ) -> End {
        let mut downlinks_open = true;
        let wake = self.window.wake();
        let mut in_a_row = 0;
        loop {
            let poll = event_loop.poll();
            tokio::pin!(poll);
            // The poll is never cancelled while the connection lives: it is kept across the other arms.
            let happened = loop {
                // Most often the library has read more than one packet. The rest has its turn after some of them.
                if in_a_row < IN_A_ROW
                    && let Poll::Ready(happened) = futures::poll!(&mut poll)
                {
                    in_a_row += 1;
                    break happened;
                }
                in_a_row = 0;
                tokio::select! {
                    () = shutdown.cancelled() => return End::Shutdown,
                    happened = &mut poll => break happened,
                    () = wake.notified() => if let Some(end) = self.acknowledge() { return end },
                    room = room(&self.backlog, out), if !self.backlog.is_empty() => match (room, self.backlog.pop_front()) {
                        (Ok(room), Some(inbound)) => room.send(inbound),
                        (Ok(_), None) => {}
                        (Err(_), _) => return End::IntakeGone,
                    },
                    downlink = downlinks.recv(), if downlinks_open && self.commands.len() < MAX_COMMANDS => match downlink {
                        Some(downlink) => self.send(downlink),
                        None => downlinks_open = false,
                    },
                    Some(()) = self.commands.next(), if !self.commands.is_empty() => {}
                }
            };
            match happened {
                Ok(Happened::Connected { session_present }) => self.connected(session_present),
                Ok(Happened::Received(delivery)) => {
                    if let Some(end) = self.received(delivery, out) {
                        return end;
                    }
                }
                Ok(Happened::Subscribed { granted: true }) => {
                    self.line.standing.set(LinkState::Connected { since: self.line.clock.now() });
                }
                Ok(Happened::Subscribed { granted: false }) => {
                    return End::Lost(format!(
                        "the broker does not let the user read {}/#; allow it in the broker's access list",
                        self.line.prefix
                    ));
                }
                Ok(Happened::Acknowledged) => self.queued = self.queued.saturating_sub(1),
                Ok(Happened::Other) => {}
                Err(reason) => return End::Lost(reason),
            }
            // Polling may have made room in the client's queue.
            if let Some(end) = self.acknowledge() {
                return end;
            }
        }
    }

    fn connected(&mut self, session_present: bool) {
        let config = &self.line.config;
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
        self.connected = true;
        // Also with a session: the topics may have changed since it was made, and it costs one packet.
        if self.client.subscribe(&self.line.filters).is_err() {
            error!("the subscriptions could not be queued; they are repeated at the next connection");
        }
    }

    fn received(&mut self, delivery: Delivery, out: &Inlet) -> Option<End> {
        let Delivery { topic, payload, retained, token } = delivery;
        self.received.increment(1);
        let ack = match token {
            Some(token) => self.window.admit(token),
            None if self.backlog.len() >= self.max_backlog => {
                // Sent without delivery guarantee, and nothing else bounds such messages.
                metrics::counter!("liftline_messages_dropped_total", "why" => "qos0_overflow").increment(1);
                return None;
            }
            None => Ack::none(),
        };
        if retained && !topic::is_status(&topic) {
            // An old reading or event that the broker shows to every new subscriber: it was taken when it was new.
            metrics::counter!("liftline_messages_dropped_total", "why" => "retained").increment(1);
            ack.done();
            return None;
        }
        self.hand_on(topic, payload, ack, out)
    }

    fn hand_on(&mut self, topic: Bytes, payload: Bytes, ack: Ack, out: &Inlet) -> Option<End> {
        let received_at = self.line.clock.now();
        let inbound = Inbound { message: Message { topic, payload, received_at, sender: None }, ack };
        if !self.backlog.is_empty() {
            self.backlog.push_back(inbound);
            return None;
        }
        match out.of(&inbound.message.topic).try_send(inbound) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(inbound)) => {
                self.backlog.push_back(inbound);
                None
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Some(End::IntakeGone),
        }
    }

    /// Acknowledges to the broker what is done, in the order of arrival.
    fn acknowledge(&mut self) -> Option<End> {
        let end = loop {
            match self.window.head() {
                Head::Waiting => break None,
                Head::Done(token) => {
                    if self.client.ack(token).is_err() {
                        break None; // The client's queue is full; the next poll makes room.
                    }
                    self.window.pop();
                    self.queued += 1;
                }
                Head::Dropped => {
                    metrics::counter!("liftline_messages_refused_total", "way" => "broker").increment(1);
                    break Some(End::Lost(
                        "the intake could not take a message; connecting anew so that the broker sends it again"
                            .to_owned(),
                    ));
                }
            }
        };
        self.owed.store(self.window.len() + self.queued, Ordering::Relaxed);
        end
    }

    fn send(&mut self, downlink: Downlink) {
        if !self.connected {
            return downlink.answer(Err("the broker is not connected; the command can be sent when it is".to_owned()));
        }
        let topic = match &downlink.address {
            Address::Commands(device) => commands_topic(self.line.prefix, device),
            Address::Broker { topic } => topic.clone(),
            Address::FrontDoor { .. } => {
                return downlink.answer(Err("the device comes in by the front door, not by the broker".to_owned()));
            }
        };
        match self.client.publish(topic, downlink.payload.clone()) {
            Ok(taken) => self.commands.push(Box::pin(async move {
                let result = timeout(COMMAND_TIMEOUT, taken).await.unwrap_or_else(|_| {
                    Err(format!("the broker did not acknowledge the command within {} s", COMMAND_TIMEOUT.as_secs()))
                });
                downlink.answer(result);
            })),
            Err(reason) => downlink.answer(Err(reason)),
        }
    }

    /// Forgets what belonged to the connection.
    fn lost(&mut self, event_loop: &mut EventLoop, reason: String) {
        event_loop.disconnect();
        self.window = Window::default();
        self.queued = 0;
        self.owed.store(0, Ordering::Relaxed);
        // The broker sends again what was not acknowledged; only what it will not send again is kept.
        self.backlog.retain(|inbound| inbound.ack.is_none());
        let was_connected = std::mem::take(&mut self.connected);
        let previous = self.line.standing.get();
        let since = match previous {
            LinkState::Disconnected { since, .. } => since,
            LinkState::Connected { .. } => self.line.clock.now(),
        };
        let state = LinkState::Disconnected { since, reason };
        if was_connected || previous != state {
            let LinkState::Disconnected { reason, .. } = &state else { return };
            warn!(
                broker.host = self.line.config.host,
                broker.port = self.line.config.port,
                reason,
                "no connection to the broker"
            );
        }
        metrics::counter!("liftline_broker_connections_lost_total").increment(u64::from(was_connected));
        self.line.standing.set(state);
    }

    /// Waits before the next attempt; `None` if the shutdown came.
    async fn pause(
        &mut self,
        pause: Duration,
        downlinks: &mut mpsc::Receiver<Downlink>,
        shutdown: &CancellationToken,
    ) -> Option<()> {
        let wait = sleep(pause);
        tokio::pin!(wait);
        let mut downlinks_open = true;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = &mut wait => return Some(()),
                downlink = downlinks.recv(), if downlinks_open => match downlink {
                    Some(downlink) => self.send(downlink),
                    None => downlinks_open = false,
                },
                Some(()) = self.commands.next(), if !self.commands.is_empty() => {}
            }
        }
    }
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

/// Says goodbye, so that acknowledgements on their way still go out and the broker sees no failure.
async fn farewell(client: &Client, event_loop: &mut EventLoop) {
    // The library closes the connection right behind the farewell. If the broker has sent something that was not read by then, that
    // resets the connection, and acknowledgements which the broker has not read yet are lost.
    let _still_connected = timeout(LAST_ACKS, async { while event_loop.poll().await.is_ok() {} }).await;
    if client.disconnect().is_err() {
        return;
    }
    let polled = timeout(FAREWELL, async { while event_loop.poll().await.is_ok() {} }).await;
    if polled.is_err() {
        info!("the broker took too long over the farewell");
    }
}
