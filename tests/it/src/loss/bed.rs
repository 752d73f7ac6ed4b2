//! What is broken and mended: the hub, its broker, its database, its disk, and the network between them.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Way,
    disk::{SlowDisk, SmallDisk},
};
use crate::{
    database::Engine,
    hub::{Setup, TestHub},
    peers::Mosquitto,
    postgres::Postgres,
    proxy::Proxy,
    witness::Witness,
};

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of the hub.
    HubKilled,
    /// `kill -9` of Mosquitto.
    BrokerKilled,
    /// `kill -9` of PostgreSQL.
    DatabaseKilled,
    /// The network between the devices and what they publish to.
    DevicesCut,
    /// The network between the hub and its broker.
    BrokerCut,
    /// The network between the hub and its database.
    DatabaseCut,
    /// Every flush of the hub takes long.
    DiskSlow,
    /// There is no room left for the hub's data.
    DiskFull,
}

impl Fault {
    /// True for a killed process.
    #[must_use]
    pub fn is_kill(self) -> bool {
        matches!(self, Self::HubKilled | Self::BrokerKilled | Self::DatabaseKilled)
    }
}

/// Everything that stands, each part behind a network of its own.
pub struct Bed {
    /// The hub.
    pub hub: TestHub,
    /// Where devices publish.
    pub door: SocketAddr,
    /// Which messages the hub has taken over from its broker.
    pub witness: Arc<Witness>,
    devices: Proxy,
    broker: Option<(Mosquitto, Proxy)>,
    database: Option<(Postgres, Proxy)>,
    slow: SlowDisk,
    small: Option<SmallDisk>,
}

impl Bed {
    /// Starts everything; `devices` are registered beside those of the tests, and `extra` is added to
    /// the hub's configuration.
    pub async fn start(engine: Engine, way: Way, devices: &[String], extra: &str) -> Self {
        let (slow, small) = (SlowDisk::build().await, SmallDisk::mount().await);
        let mut setup = Setup {
            no_front_door: true,
            environment: slow.environment(),
            data: small.as_ref().map(|disk| disk.path().join("data")),
            ..Setup::default()
        };
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => {
                let server = Postgres::start().await;
                let proxy = Proxy::start(format!("127.0.0.1:{}", server.port)).await;
                setup.database =
                    Some(server.url().replace(&server.port.to_string(), &proxy.address.port().to_string()));
                Some((server, proxy))
            }
        };
        let witness = Arc::new(Witness::default());
        let (broker, target) = match way {
            Way::FrontDoor => {
                let port = crate::free_port();
                setup.extra = format!("[gateway.front_door]\nlisten = \"127.0.0.1:{port}\"\n");
                (None, port)
            }
            Way::Mosquitto => {
                let broker = Mosquitto::durable().await;
                let proxy = Proxy::watched(format!("127.0.0.1:{}", broker.port), Some(witness.clone())).await;
                let port = proxy.address.port();
                setup.extra = format!("[gateway.broker]\nhost = \"127.0.0.1\"\nport = {port}\n");
                let target = broker.port;
                (Some((broker, proxy)), target)
            }
        };
        setup.extra.push_str(extra);
        let mut hub = TestHub::start(engine, setup).await;
        hub.register(devices);
        hub.kill().await;
        hub.restart().await;
        hub.ready().await;
        let devices = Proxy::start(format!("127.0.0.1:{target}")).await;
        Self { hub, door: devices.address, witness, devices, broker, database, slow, small }
    }

    /// What can break here.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![Fault::HubKilled, Fault::DevicesCut, Fault::DiskSlow];
        if self.broker.is_some() {
            faults.extend([Fault::BrokerKilled, Fault::BrokerCut]);
        }
        if self.database.is_some() {
            faults.extend([Fault::DatabaseKilled, Fault::DatabaseCut]);
        }
        faults.extend(self.small.as_ref().map(|_| Fault::DiskFull));
        faults.sort_unstable();
        faults
    }

    /// Breaks something; false if it was broken already.
    pub async fn break_it(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::HubKilled if self.hub.is_down() => return false,
            Fault::HubKilled => self.hub.kill().await,
            Fault::BrokerKilled => {
                if let Some((broker, _)) = &mut self.broker {
                    broker.kill().await;
                }
            }
            Fault::DatabaseKilled => {
                if let Some((server, _)) = &mut self.database {
                    server.kill().await;
                }
            }
            Fault::DevicesCut => self.devices.cut(),
            Fault::BrokerCut => self.broker.iter().for_each(|(_, proxy)| proxy.cut()),
            Fault::DatabaseCut => self.database.iter().for_each(|(_, proxy)| proxy.cut()),
            Fault::DiskSlow => self.slow.slow_down(),
            Fault::DiskFull => self.small.iter().for_each(SmallDisk::fill),
        }
        true
    }

    /// Mends it.
    pub async fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::HubKilled => {} // Last of all: see `revive`.
            Fault::BrokerKilled => {
                if let Some((broker, _)) = &mut self.broker {
                    broker.restart().await;
                }
            }
            Fault::DatabaseKilled => {
                if let Some((server, _)) = &mut self.database {
                    server.restart().await;
                }
            }
            Fault::DevicesCut => self.devices.mend(),
            Fault::BrokerCut => self.broker.iter().for_each(|(_, proxy)| proxy.mend()),
            Fault::DatabaseCut => self.database.iter().for_each(|(_, proxy)| proxy.mend()),
            Fault::DiskSlow => self.slow.recover(),
            Fault::DiskFull => self.small.iter().for_each(SmallDisk::free),
        }
    }

    /// Starts the hub if it is down, as a service manager does. True if it was.
    pub async fn revive(&mut self) -> bool {
        let down = self.hub.is_down();
        if down {
            self.hub.restart().await;
        }
        down
    }
}
