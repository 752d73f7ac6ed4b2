//! A running link to a broker.

use std::{collections::BTreeSet, time::Duration};

use gateway::{
    Address, BrokerConfig, BrokerLink, Downlink, GatewayConfig, GatewayError, Inbound, Inlet, LinkState,
    ProtocolVersion,
};
use model::{CommandId, DeviceId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::support::{self, next, soon, text};

/// A running link.
pub struct Link {
    pub arrived: mpsc::Receiver<Inbound>,
    pub commands: mpsc::Sender<Downlink>,
    pub state: watch::Receiver<LinkState>,
    pub shutdown: CancellationToken,
    pub running: JoinSet<Result<(), GatewayError>>,
}

/// A configuration that tries again soon.
pub fn config(port: u16, protocol: ProtocolVersion) -> BrokerConfig {
    BrokerConfig {
        host: "127.0.0.1".to_owned(),
        port,
        protocol,
        max_backoff: Duration::from_millis(20),
        ..Default::default()
    }
}

impl Link {
    pub fn start(config: BrokerConfig) -> Self {
        let link = BrokerLink::new(config, &GatewayConfig::default(), support::clock());
        let state = link.state();
        // A small queue, so that the backlog is used.
        let (out, arrived) = mpsc::channel(4);
        let (commands, downlinks) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(link.run(Inlet { events: out.clone(), telemetry: out }, downlinks, shutdown.clone()));
        Self { arrived, commands, state, shutdown, running }
    }

    /// A link whose subscriptions stand.
    pub async fn subscribed(config: BrokerConfig) -> Self {
        let mut link = Self::start(config);
        link.connected().await;
        link
    }

    pub async fn connected(&mut self) {
        soon("the connection", self.state.wait_for(|state| matches!(state, LinkState::Connected { .. })))
            .await
            .unwrap();
    }

    pub async fn reason(&mut self, part: &str) {
        let wanted =
            |state: &LinkState| matches!(state, LinkState::Disconnected { reason, .. } if reason.contains(part));
        soon(part, self.state.wait_for(wanted)).await.unwrap();
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        soon("the end of the link", self.running.join_next()).await.unwrap().unwrap().unwrap();
    }

    /// Takes and acknowledges messages until all `wanted` payloads have come, in any number.
    pub async fn take(&mut self, mut wanted: BTreeSet<String>) {
        while !wanted.is_empty() {
            let inbound = next(&mut self.arrived).await;
            wanted.remove(&text(&inbound));
            inbound.ack.done();
        }
    }

    /// Sends a command and waits for the answer.
    pub async fn command(&self, device: &str) -> Result<(), String> {
        let (sent, answer) = oneshot::channel();
        let device = DeviceId::new(device).unwrap();
        self.commands
            .send(Downlink {
                address: Address::Commands(device),
                command: Some(CommandId(Default::default())),
                deadline: None,
                payload: b"{}".to_vec(),
                sent,
            })
            .await
            .unwrap();
        soon("an answer about the command", answer).await.unwrap()
    }
}
