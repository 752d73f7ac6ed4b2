//! The front door: the hub's own broker, so that devices need no other. MQTT 3.1.1 and 5 share one port.
//!
//! The broker library awaits our hook for each message before it acknowledges that message, so the acknowledgement
//! waits for the journal. The hook cannot refuse to acknowledge; it can turn the message into one of QoS 0, which
//! needs no acknowledgement, and then drop the connection, so that the device connects again and sends anew.

mod auth;
mod hook;
mod roll;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use model::{Clock, DeviceId};
use mqtt5::{
    QoS,
    broker::{
        BrokerConfig, MqttBroker, StorageBackendType, StorageConfig,
        router::{DeliveryLanes, LaneReceivers, MessageRouter, SubscriptionRequest},
        storage::QueueHandle,
    },
    packet::publish::PublishPacket,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    GatewayError,
    config::{FrontDoorConfig, GatewayConfig, MAX_PACKET},
    downlink::{Downlink, commands_topic},
    inbound::{Ack, Inbound, Message},
};
pub use auth::{Credentials, secret_hash};
use roll::Roll;

/// The name under which last wills are heard. No device can take it: the library refuses client ids with a slash.
const WILLS: &str = "liftline/wills";
/// How many commands may wait for one device, and how many bytes.
const MAX_QUEUED: usize = 100;
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// How many messages may be on their way to one device.
const LANE: usize = 64;
/// How many last wills may wait; what exceeds it waits in the library's queue.
const WILLS_LANE: usize = 1024;
/// How many topics a device may subscribe to, and how many aliases it may set.
const MAX_SUBSCRIPTIONS: usize = 16;
const MAX_ALIASES: u16 = 16;
/// How long to wait before a last will that the intake refused is offered again.
const WILL_RETRY: Duration = Duration::from_millis(500);

/// The hub's own broker.
pub struct FrontDoor {
    broker: MqttBroker,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    credentials: watch::Receiver<Arc<Credentials>>,
}

/// What the hooks and the tasks of the front door share.
struct Shared {
    prefix: String,
    clock: Arc<dyn Clock>,
    roll: Roll,
    /// Where messages go; set when the front door runs, before the first connection is accepted.
    out: OnceLock<mpsc::Sender<Inbound>>,
    /// The library's router; set once the broker is made. The router owns the hook and with it this.
    router: OnceLock<Weak<MessageRouter>>,
    stopping: CancellationToken,
}

impl FrontDoor {
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
        let shared = Arc::new(Shared::new(gateway.prefix.clone(), clock));
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| GatewayError::Listen { listen: config.listen, source };
        let hook = Arc::new(hook::Hook { shared: shared.clone(), credentials: credentials.clone() });
        let auth = Arc::new(auth::Auth { shared: shared.clone(), credentials: credentials.clone() });
        let broker = MqttBroker::with_config(broker_config(config).with_event_handler(hook))
            .await
            .map_err(|error| failed(Box::new(error)))?
            .with_auth_provider(auth);
        let local_addr = broker.local_addr().ok_or_else(|| failed("the port was not opened".into()))?;
        if shared.router.set(Arc::downgrade(&broker.router())).is_err() {
            return Err(failed("the router was set twice".into()));
        }
        Ok(Self { broker, local_addr, shared, credentials })
    }

    /// The address that devices connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes connections until the shutdown.
    ///
    /// A message is acknowledged to its device when its [`Ack`] is done. If the `Ack` is dropped instead, the device
    /// is disconnected without an acknowledgement and sends the message again.
    ///
    /// # Errors
    /// [`GatewayError::FrontDoor`] if the broker stops by itself.
    pub async fn run(
        mut self,
        out: mpsc::Sender<Inbound>,
        downlinks: mpsc::Receiver<Downlink>,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        if self.shared.out.set(out.clone()).is_err() {
            return Err(GatewayError::FrontDoor("it was started twice".into()));
        }
        let router = self.broker.router();
        let wills = Wills::subscribe(&self.shared, &router).await?;
        let stop = self.broker.shutdown_handle();
        info!(address = %self.local_addr, "the front door is open");
        let shared = self.shared.clone();
        let helpers = async {
            tokio::join!(
                send_commands(&shared, &router, downlinks),
                wills.forward(&shared, &router, out),
                dismiss(&shared, &router, self.credentials.clone()),
            )
        };
        let broker = self.broker.run();
        tokio::pin!(broker);
        tokio::select! {
            () = shutdown.cancelled() => {}
            ended = &mut broker => {
                self.shared.stopping.cancel();
                return Err(GatewayError::FrontDoor(match ended {
                    Ok(()) => "its accept loop ended".into(),
                    Err(error) => Box::new(error),
                }));
            }
            _never = helpers => {}
        }
        // From here on hooks acknowledge nothing new, and last wills are no news: the devices did not go away.
        self.shared.stopping.cancel();
        stop.shutdown();
        broker.await.map_err(|error| GatewayError::FrontDoor(Box::new(error)))
    }
}

fn broker_config(config: &FrontDoorConfig) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackendType::Memory)
        .with_max_queued_messages_per_client(MAX_QUEUED)
        .with_max_queued_bytes_per_client(MAX_QUEUED_BYTES);
    let mut broker = BrokerConfig::new()
        .with_bind_address(config.listen)
        .with_max_clients(config.max_connections)
        .with_max_packet_size(MAX_PACKET)
        .with_session_expiry(config.session_expiry)
        .with_max_subscriptions_per_client(MAX_SUBSCRIPTIONS)
        .with_client_channel_capacity(LANE)
        .with_sys_topics_enabled(false)
        .with_storage(storage);
    broker.topic_alias_maximum = MAX_ALIASES;
    broker.server_keep_alive = config.keep_alive;
    broker.shared_subscription_available = false;
    broker
}

impl Shared {
    fn new(prefix: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            prefix,
            clock,
            roll: Roll::default(),
            out: OnceLock::new(),
            router: OnceLock::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Offers a message to the intake and waits for its acknowledgement; false if it was not taken.
    async fn offer(&self, message: Message) -> bool {
        let Some(out) = self.out.get() else { return false };
        let (ack, acknowledged) = Ack::channel();
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => return false,
            sent = out.send(Inbound { message, ack }) => if sent.is_err() { return false },
        }
        wait(acknowledged, &self.stopping).await
    }
}

/// Waits for an acknowledgement; at a shutdown only for what is already nearly done.
async fn wait(acknowledged: oneshot::Receiver<()>, stopping: &CancellationToken) -> bool {
    const GRACE: Duration = Duration::from_secs(2);
    tokio::pin!(acknowledged);
    tokio::select! {
        biased;
        answer = &mut acknowledged => return answer.is_ok(),
        () = stopping.cancelled() => {}
    }
    matches!(tokio::time::timeout(GRACE, acknowledged).await, Ok(Ok(())))
}

/// Publishes commands to the devices that listen for them.
async fn send_commands(shared: &Shared, router: &MessageRouter, mut downlinks: mpsc::Receiver<Downlink>) {
    while let Some(downlink) = downlinks.recv().await {
        let topic = commands_topic(&shared.prefix, &downlink.device);
        let clients = shared.roll.clients_of(&downlink.device);
        if clients.is_empty() {
            let reason =
                format!("the device \"{}\" is not connected; the command can be sent when it is", downlink.device);
            downlink.answer(Err(reason));
            continue;
        }
        let mut listens = false;
        for client in &clients {
            for filter in [topic.clone(), format!("{topic}/#")] {
                listens |= router.has_subscription(client, &filter).await;
            }
        }
        if listens {
            let publish = PublishPacket::new(topic, downlink.payload.clone(), QoS::AtLeastOnce);
            router.route_message(&publish, None).await;
            downlink.answer(Ok(()));
        } else {
            let reason =
                format!("the device \"{}\" does not listen for commands; let it subscribe to {topic}", downlink.device);
            downlink.answer(Err(reason));
        }
    }
    // No more commands will come; the other helpers go on.
    std::future::pending().await
}

/// Disconnects devices whose login has been withdrawn or changed.
async fn dismiss(shared: &Shared, router: &MessageRouter, mut credentials: watch::Receiver<Arc<Credentials>>) {
    while credentials.changed().await.is_ok() {
        let now = credentials.borrow_and_update().clone();
        for (client, device) in shared.roll.dismissed(|device| now.secret_of(device)) {
            warn!(device.id = %device, "the device's login was withdrawn or changed; it is disconnected");
            router.disconnect_client(&client).await;
        }
    }
    std::future::pending().await
}

/// Last wills: the library routes them past the hook, so they are heard through a subscription of our own. Nothing
/// else arrives there, since the hook keeps every other message to itself.
struct Wills {
    lanes: LaneReceivers,
    queue: QueueHandle,
    _registered: oneshot::Receiver<mqtt5::broker::router::TakeoverNotice>,
}

impl Wills {
    async fn subscribe(shared: &Shared, router: &MessageRouter) -> Result<Self, GatewayError> {
        let (lanes, receivers) = DeliveryLanes::channel(WILLS_LANE);
        let queue = router.queue_handle(WILLS);
        let (displaced, registered) = oneshot::channel();
        router.register_client(WILLS.to_owned(), lanes, queue.clone(), displaced).await;
        let filter = format!("{}/#", shared.prefix);
        router
            .subscribe(SubscriptionRequest::new(WILLS, filter, QoS::AtLeastOnce))
            .await
            .map_err(|error| GatewayError::FrontDoor(Box::new(error)))?;
        Ok(Self { lanes: receivers, queue, _registered: registered })
    }

    async fn forward(mut self, shared: &Shared, router: &MessageRouter, out: mpsc::Sender<Inbound>) {
        loop {
            tokio::select! {
                will = self.lanes.recv() => match will {
                    Some(will) => forward(shared, router, &out, will.publish).await,
                    None => return std::future::pending().await,
                },
                () = self.queue.notified() => {
                    for will in self.queue.take(WILLS_LANE).await {
                        forward(shared, router, &out, will.to_publish_packet()).await;
                    }
                    self.queue.finish_drain();
                }
            }
        }
    }
}

/// Hands one last will to the intake, again and again until it is taken.
async fn forward(shared: &Shared, router: &MessageRouter, out: &mpsc::Sender<Inbound>, will: PublishPacket) {
    // The library marks a will with the user that left it; commands of ours carry no such mark.
    let Some(sender) =
        will.properties.get_user_property_value("x-mqtt-sender").and_then(|name| DeviceId::new(name).ok())
    else {
        return;
    };
    if crate::topic::is_status(will.topic_name.as_bytes()) {
        for client in shared.roll.clients_of(&sender) {
            if router.is_connected(&client).await {
                info!(device.id = %sender, "an old connection of the device ended; the device itself is connected");
                return;
            }
        }
    }
    let message = Message {
        topic: Bytes::from(will.topic_name),
        payload: will.payload,
        received_at: shared.clock.now(),
        sender: Some(sender),
    };
    metrics::counter!("liftline_messages_received_total", "way" => "last_will").increment(1);
    while !out.is_closed() && !shared.stopping.is_cancelled() && !shared.offer(message.clone()).await {
        tokio::time::sleep(WILL_RETRY).await;
    }
}
