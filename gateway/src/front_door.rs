//! The front door: the hub's own broker, so that devices need no other. MQTT 3.1.1 and 5 share one port.
//!
//! It speaks the devices' side of MQTT only: what they publish goes to the intake, what they may read are their own
//! commands, and nothing passes from one device to another. In return a message is acknowledged only when its [`Ack`]
//! is done, with as many of a connection on their way at once as it cares to send: one commit of the journal serves
//! them all.
//!
//! [`Ack`]: crate::Ack

mod auth;
mod connection;
mod pending;
mod sessions;
mod wire;

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use model::{Clock, CommandId, DeviceId};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    GatewayError,
    config::{FrontDoorConfig, GatewayConfig},
    downlink::{Address, Downlink, commands_topic},
    inbound::{Inlet, ReceiptClock},
};
pub use auth::{Credentials, secret_hash};
use pending::Pending;
use sessions::{Command, Handed, Sessions};

/// How many connections the system may hold ready that we have not taken yet.
const BACKLOG: u32 = 4096;
/// How long a new connection has to say who it is.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often forgotten sessions are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// How long to wait when the system has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The hub's own broker.
pub struct FrontDoor {
    listener: TcpListener,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    credentials: watch::Receiver<Arc<Credentials>>,
}

/// What the connections share.
struct Shared {
    prefix: String,
    clock: Arc<dyn Clock>,
    auth: auth::Auth,
    sessions: Sessions,
    /// Where messages go; set when the front door runs, before the first connection is accepted.
    out: OnceLock<Inlet>,
    /// Connections that have not said who they are.
    pending: Pending,
    /// Places for devices that have.
    places: Arc<Semaphore>,
    /// Places for large packets.
    large: Arc<Semaphore>,
    session_expiry: Duration,
    login_timeout: Duration,
    /// The keep-alive imposed on MQTT 5 devices, in seconds.
    keep_alive: Option<u16>,
    /// How many messages a connection may send in a second.
    message_rate: u32,
    /// Makes client ids for devices that have none.
    assigned: AtomicU64,
    stopping: CancellationToken,
}

/// Tells of commands that were taken and then ended with the session of a device, before the device had said that it has them.
#[derive(Clone)]
pub struct LostCommands(Arc<Shared>);

impl LostCommands {
    /// Those since the last call. A device that has one all the same knows its id.
    #[must_use]
    pub fn take(&self) -> Vec<CommandId> {
        self.0.sessions.take_lost()
    }
}

impl FrontDoor {
    /// Tells of commands that have to be sent again.
    #[must_use]
    pub fn lost_commands(&self) -> LostCommands {
        LostCommands(self.shared.clone())
    }

    /// Opens the port. Connections wait until [`FrontDoor::run`] is called.
    ///
    /// # Errors
    /// [`GatewayError::Listen`] if the address is taken or not ours.
    pub async fn bind(
        config: &FrontDoorConfig,
        gateway: &GatewayConfig,
        credentials: watch::Receiver<Arc<Credentials>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GatewayError> {
        let failed = |source: std::io::Error| GatewayError::Listen { listen: config.listen, source: Box::new(source) };
        let listener = listen(config.listen).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            prefix: gateway.prefix.clone(),
            clock: ReceiptClock::over(clock),
            auth: auth::Auth { prefix: gateway.prefix.clone(), credentials: credentials.clone() },
            sessions: Sessions::default(),
            out: OnceLock::new(),
            pending: Pending::new(config.max_connections),
            places: Arc::new(Semaphore::new(config.max_connections)),
            large: connection::large_places(),
            session_expiry: config.session_expiry,
            login_timeout: LOGIN_TIMEOUT,
            keep_alive: config.keep_alive.map(|time| u16::try_from(time.as_secs()).unwrap_or(u16::MAX)),
            message_rate: config.message_rate,
            assigned: AtomicU64::new(0),
            stopping: CancellationToken::new(),
        });
        Ok(Self { listener, local_addr, shared, credentials })
    }

    /// The address that devices connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes connections until the shutdown.
    ///
    /// A message is acknowledged to its device when its [`crate::Ack`] is done. If the `Ack` is dropped instead, the
    /// device is disconnected without an acknowledgement and sends the message again.
    ///
    /// # Errors
    /// [`GatewayError::FrontDoor`] if it is started twice.
    pub async fn run(
        self,
        out: Inlet,
        downlinks: mpsc::Receiver<Downlink>,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        let Self { listener, local_addr, shared, credentials } = self;
        if shared.out.set(out).is_err() {
            return Err(GatewayError::FrontDoor("it was started twice".into()));
        }
        info!(address = %local_addr, "the front door is open");
        let mut connections = JoinSet::new();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = accept(&listener, &shared, &mut connections) => {}
            () = send_commands(&shared, downlinks) => {}
            () = dismiss(&shared, credentials) => {}
            () = sweep(&shared) => {}
        }
        drop(listener);
        // From here on nothing new is taken, and last wills are no news: the devices did not go away.
        shared.stopping.cancel();
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

/// A listening socket with room for a whole fleet that comes back at once.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Shared {
    /// A client id for a device that has none.
    fn assigned_client_id(&self, device: &DeviceId) -> String {
        format!("{device}/{}", self.assigned.fetch_add(1, Ordering::Relaxed))
    }
}

/// Accepts connections; never ends.
async fn accept(listener: &TcpListener, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(failure) = ended {
                    tracing::error!("a connection of the front door failed: {failure}");
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, address)) => {
                failing = false;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%address, %error, "a connection was gone before it was taken");
                    continue;
                }
                let pending = shared.pending.admit();
                connections.spawn(connection::serve(stream, address, shared.clone(), pending));
            }
            Err(error) => {
                if !failing {
                    warn!(%error, "no connection can be taken; if there are too many open files, raise the limit (ulimit -n)");
                }
                failing = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Hands commands to the connections of the devices; never ends.
async fn send_commands(shared: &Shared, mut downlinks: mpsc::Receiver<Downlink>) {
    while let Some(downlink) = downlinks.recv().await {
        let (device, topic) = match &downlink.address {
            Address::Commands(device) => (device.clone(), None),
            Address::FrontDoor { device, topic } => (device.clone(), Some(Arc::from(topic.as_str()))),
            Address::Broker { .. } => {
                downlink.answer(Err("the device comes in by the broker, not by the front door".to_owned()));
                continue;
            }
        };
        let payload = Bytes::from(downlink.payload.clone());
        let command = Command { id: downlink.command, deadline: downlink.deadline, topic, payload };
        let answer = match shared.sessions.command(&device, &command) {
            Handed::Over => Ok(()),
            Handed::NotConnected => {
                Err(format!("the device \"{device}\" is not connected; the command can be sent when it is"))
            }
            Handed::DoesNotListen => Err(format!(
                "the device \"{device}\" does not listen for commands; let it subscribe to {}",
                command.topic.as_deref().map_or_else(|| commands_topic(&shared.prefix, &device), str::to_owned)
            )),
            Handed::Full => {
                Err(format!("the device \"{device}\" has not taken earlier commands; it is sent when it has"))
            }
        };
        downlink.answer(answer);
    }
    // No more commands will come; the other tasks go on.
    std::future::pending().await
}

/// Disconnects devices whose login has been withdrawn or changed; never ends.
async fn dismiss(shared: &Shared, mut credentials: watch::Receiver<Arc<Credentials>>) {
    while credentials.changed().await.is_ok() {
        let now = credentials.borrow_and_update().clone();
        for device in shared.sessions.dismiss(|device| now.secret_of(device)) {
            warn!(device.id = %device, "the device's login was withdrawn or changed; it is disconnected");
        }
    }
    std::future::pending().await
}

/// Forgets sessions that nobody came back to; never ends.
async fn sweep(shared: &Shared) {
    loop {
        sleep(SWEEP).await;
        shared.sessions.forget(Instant::now());
    }
}
