//! What the broker library calls: above all for each message, before it is acknowledged.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use model::DeviceId;
use mqtt5::{
    QoS,
    broker::{BrokerEventHandler, ClientConnectEvent, ClientDisconnectEvent, ClientPublishEvent, PublishAction},
    packet::publish::PublishPacket,
};
use tokio::sync::watch;
use tracing::warn;

use super::{Credentials, Shared};
use crate::inbound::{Ack, Inbound, Message};

/// How long a device whose message could not be taken is kept waiting before it is disconnected, so that a full
/// journal does not turn into a storm of connections.
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Hook {
    pub(super) shared: Arc<Shared>,
    pub(super) credentials: watch::Receiver<Arc<Credentials>>,
}

impl Hook {
    async fn publish(&self, event: ClientPublishEvent) -> PublishAction {
        metrics::counter!("liftline_messages_received_total", "way" => "front_door").increment(1);
        let client = event.client_id.clone();
        let message = Message {
            topic: Bytes::copy_from_slice(event.topic.as_bytes()),
            payload: event.payload,
            received_at: self.shared.clock.now(),
            sender: event.user_id.as_deref().and_then(|name| DeviceId::new(name).ok()),
        };
        if event.qos == QoS::AtMostOnce {
            self.offer_unacknowledged(message).await;
            return PublishAction::Handled;
        }
        if self.shared.offer(message).await {
            return PublishAction::Handled;
        }
        metrics::counter!("liftline_messages_refused_total", "way" => "front_door").increment(1);
        warn!(client.id = %client, "a message could not be taken; the device is disconnected so that it sends it again");
        tokio::select! {
            () = tokio::time::sleep(REFUSAL_PAUSE) => {}
            () = self.shared.stopping.cancelled() => {}
        }
        if let Some(router) = self.shared.router.get().and_then(Weak::upgrade) {
            router.disconnect_client(&client).await;
        }
        // A message of QoS 0 needs no acknowledgement; this one reaches nobody.
        PublishAction::Transform(PublishPacket::new("liftline-refused", Bytes::new(), QoS::AtMostOnce))
    }

    /// Nobody waits for it, but the sender is held back while the intake's queue is full.
    async fn offer_unacknowledged(&self, message: Message) {
        let Some(out) = self.shared.out.get() else { return };
        tokio::select! {
            biased;
            () = self.shared.stopping.cancelled() => {}
            // The intake is gone only when the hub stops.
            sent = out.send(Inbound { message, ack: Ack::none() }) => drop(sent),
        }
    }
}

impl BrokerEventHandler for Hook {
    fn on_client_connect<'a>(&'a self, event: ClientConnectEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        if let Some(device) = event.user_id.as_deref().and_then(|name| DeviceId::new(name).ok()) {
            let secret = self.credentials.borrow().secret_of(&device);
            self.shared.roll.arrived(event.client_id, device, secret);
        }
        Box::pin(async {})
    }

    fn on_client_publish<'a>(
        &'a self,
        event: ClientPublishEvent,
    ) -> Pin<Box<dyn Future<Output = PublishAction> + Send + 'a>> {
        Box::pin(self.publish(event))
    }

    fn on_client_disconnect<'a>(
        &'a self,
        event: ClientDisconnectEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.shared.roll.left(&event.client_id);
        Box::pin(async {})
    }
}
