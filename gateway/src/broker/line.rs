//! One place at the broker, with its own session there: connecting again and again, and what each failure means.

use std::{collections::VecDeque, convert::Infallible, fmt::Display, io, time::Duration};

use model::Clock;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    LinkState, Standing, backoff,
    connection::{Connection, End},
    socket::Access,
};
use crate::{
    GatewayError,
    config::BrokerConfig,
    downlink::Downlink,
    inbound::{Inbound, Inlet},
};

/// How long a connection must have lasted for the pauses between attempts to start small again.
const SETTLED: Duration = Duration::from_secs(30);

/// What the connections of one session are for.
pub(super) struct Line<'a> {
    /// The broker, and the client id.
    pub(super) config: BrokerConfig,
    /// What it subscribes to, each with whether retained messages on it are wanted.
    pub(super) filters: Vec<(String, bool)>,
    pub(super) prefix: &'a str,
    pub(super) clock: &'a dyn Clock,
    /// Where it says how it stands.
    pub(super) standing: Standing<'a>,
    /// Counts messages.
    pub(super) received: metrics::Counter,
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
        let access = Access::new(&self.config)?;
        let mut backlog = VecDeque::new();
        let mut attempt = 0;
        loop {
            let started = std::time::Instant::now();
            match self.connection(&access, &mut backlog, &out, &mut downlinks, &shutdown).await {
                End::Shutdown => return Ok(()),
                End::IntakeGone => return Err(GatewayError::IntakeGone),
                End::Lost(_) => {}
            }
            // The broker sends again what was not acknowledged; only what it will not send again is kept.
            backlog.retain(|inbound: &Inbound| inbound.ack.is_none());
            attempt = if started.elapsed() >= SETTLED { 0 } else { attempt + 1 };
            let pause = backoff::pause(&self.config.client_id, attempt, self.config.max_backoff);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = sleep(pause) => {}
                never = refuse(&mut downlinks) => match never {},
            }
        }
    }

    /// One connection, from the attempt to its end.
    async fn connection(
        &self,
        access: &Access,
        backlog: &mut VecDeque<Inbound>,
        out: &Inlet,
        downlinks: &mut mpsc::Receiver<Downlink>,
        shutdown: &CancellationToken,
    ) -> End {
        let opened = tokio::select! {
            () = shutdown.cancelled() => return End::Shutdown,
            opened = Connection::open(self, access) => opened,
            never = refuse(downlinks) => match never {},
        };
        let (end, welcomed) = match opened {
            Ok(connection) => (connection.serve(backlog, out, downlinks, shutdown).await, true),
            Err(reason) => (End::Lost(reason), false),
        };
        if let End::Lost(reason) = &end {
            self.lost(reason, welcomed);
        }
        end
    }

    /// Says that there is no connection: of every one that was lost, and once for each reason why there is none.
    fn lost(&self, reason: &str, welcomed: bool) {
        let previous = self.standing.get();
        let since = match previous {
            LinkState::Disconnected { since, .. } => since,
            LinkState::Connected { .. } => self.clock.now(),
        };
        let state = LinkState::Disconnected { since, reason: reason.to_owned() };
        if welcomed || previous != state {
            let config = &self.config;
            warn!(broker.host = config.host, broker.port = config.port, reason, "no connection to the broker");
        }
        metrics::counter!("liftline_broker_connections_lost_total").increment(u64::from(welcomed));
        self.standing.set(state);
    }

    fn address(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }

    /// There is no way to the broker.
    pub(super) fn unreachable(&self, error: &io::Error) -> String {
        let address = self.address();
        format!("the broker at {address} cannot be reached ({error}); check host and port and that it is running")
    }

    /// The connection ended without a word.
    pub(super) fn ended(&self, error: &io::Error) -> String {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return format!(
                "the broker at {} closed the connection; look into its log if it does so again",
                self.address()
            );
        }
        format!("the connection to the broker at {} was lost ({error}); check the network", self.address())
    }

    /// What came makes no sense.
    pub(super) fn broke(&self, error: &dyn Display) -> String {
        format!("the connection to the broker at {} broke: {error}", self.address())
    }

    /// The broker says nothing.
    pub(super) fn silent(&self) -> String {
        let address = self.address();
        format!("the broker at {address} did not answer in time; check the network and that it is running")
    }

    /// The broker does not take the hub.
    pub(super) fn refused(&self, code: &str) -> String {
        let remedy = match code {
            "BadUserNamePassword" | "NotAuthorized" => "check username and password_file",
            "RefusedProtocolVersion" | "UnsupportedProtocolVersion" => {
                "set protocol = \"3.1.1\" if it does not speak MQTT 5"
            }
            "BadClientId" | "ClientIdentifierNotValid" => "choose another client_id",
            _ => "look into the broker's log",
        };
        format!("the broker at {} refused the hub ({code}); {remedy}", self.address())
    }

    /// The broker ends a connection that stood.
    pub(super) fn dismissed(&self, code: &str) -> String {
        let remedy = match code {
            "SessionTakenOver" => "another client has come under this client_id; give every hub its own",
            "ServerShuttingDown" => "the hub tries again until it is back",
            "NotAuthorized" => "check what the broker allows the user",
            _ => "look into the broker's log",
        };
        format!("the broker at {} ended the connection ({code}); {remedy}", self.address())
    }
}

/// Answers commands while there is no connection. Never ends.
async fn refuse(downlinks: &mut mpsc::Receiver<Downlink>) -> Infallible {
    while let Some(downlink) = downlinks.recv().await {
        downlink.answer(Err("the broker is not connected; the command can be sent when it is".to_owned()));
    }
    std::future::pending().await
}
