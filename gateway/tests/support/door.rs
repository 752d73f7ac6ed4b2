//! An open front door.

use std::{collections::HashMap, sync::Arc};

use gateway::{
    Address, Credentials, Downlink, FrontDoor, FrontDoorConfig, GatewayConfig, GatewayError, Inbound, Inlet,
    secret_hash,
};
use model::{CommandId, DeviceId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    device::{Device, Login},
    soon,
};

/// An open front door that knows lift-1 and lift-2 and enrols others.
pub struct Door {
    pub port: u16,
    pub arrived: mpsc::Receiver<Inbound>,
    pub commands: mpsc::Sender<Downlink>,
    pub credentials: watch::Sender<Arc<Credentials>>,
    pub shutdown: CancellationToken,
    pub running: JoinSet<Result<(), GatewayError>>,
}

pub fn id(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

pub fn credentials() -> Credentials {
    Credentials {
        devices: HashMap::from([(id("lift-1"), secret_hash("one")), (id("lift-2"), secret_hash("two"))]),
        enrolment: Some(secret_hash("enrol")),
    }
}

impl Door {
    pub async fn open() -> Self {
        Self::open_with(FrontDoorConfig::default()).await
    }

    pub async fn open_with(settings: FrontDoorConfig) -> Self {
        let settings = FrontDoorConfig { listen: "127.0.0.1:0".parse().unwrap(), ..settings };
        let (credentials, logins) = watch::channel(Arc::new(credentials()));
        let door = FrontDoor::bind(&settings, &GatewayConfig::default(), logins, super::clock()).await.unwrap();
        let port = door.local_addr().port();
        let (out, arrived) = mpsc::channel(64);
        let (commands, downlinks) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(door.run(Inlet { events: out.clone(), telemetry: out }, downlinks, shutdown.clone()));
        Self { port, arrived, commands, credentials, shutdown, running }
    }

    pub fn login<'a>(&self, username: &'a str, password: &'a str) -> Login<'a> {
        Login { port: self.port, client_id: username, username, password, ..Login::default() }
    }

    pub async fn lift_1(&self) -> Device {
        Device::v5(&self.login("lift-1", "one")).connected().await
    }

    pub async fn command(&self, device: &str) -> Result<(), String> {
        let (sent, answer) = oneshot::channel();
        let downlink = Downlink {
            address: Address::Commands(id(device)),
            command: Some(CommandId(Default::default())),
            deadline: None,
            payload: b"{}".to_vec(),
            sent,
        };
        self.commands.send(downlink).await.unwrap();
        soon("an answer about the command", answer).await.unwrap()
    }
}
