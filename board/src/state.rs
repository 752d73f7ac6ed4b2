//! What the board is given by the hub, and what it keeps for itself.

use std::sync::{Arc, OnceLock};

use model::{Clock, Directory, Lane, Localised, Timestamp};
use serde::Serialize;
use store::Store;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::{
    api::dto::Text,
    auth::Throttle,
    care::{self, Notes},
    config::BoardConfig,
};

/// Everything the board needs. The hub makes one and hands it to [`crate::router`].
#[derive(Clone)]
pub struct BoardState {
    /// The store.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The board's section of the configuration.
    pub config: BoardConfig,
    /// Devices and profiles, as decoding sees them.
    pub profiles: watch::Receiver<Arc<Directory>>,
    /// How the hub itself is doing.
    pub system: watch::Receiver<Arc<SystemStatus>>,
    /// Ends the live streams: without it the server would wait for them for ever.
    pub shutdown: CancellationToken,
}

/// How the hub itself is doing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct SystemStatus {
    /// The journal, lane by lane.
    pub journal: Vec<JournalLane>,
    /// Entries that the recorder has not yet stored.
    pub recorder_lag: u64,
    /// Entries that rules and forecasts have not yet seen.
    pub watch_lag: u64,
    /// Connections to brokers, databases and providers.
    pub links: Vec<Link>,
    /// What a human should look at.
    #[schema(value_type = Vec<Text>)]
    pub alarms: Vec<Localised>,
}

/// One lane of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct JournalLane {
    /// `events` or `telemetry`.
    #[schema(value_type = String)]
    pub lane: Lane,
    /// The newest entry's number.
    pub head: u64,
    /// How many entries the slowest reader has not yet read.
    pub lag: u64,
    /// How much space it takes.
    pub bytes: u64,
}

/// A connection to something outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Link {
    /// What it connects to.
    pub name: String,
    /// Whether it works.
    pub state: LinkState,
    /// Since when it is so.
    #[schema(value_type = String, format = "date-time")]
    pub since: Timestamp,
    /// What is known about it.
    pub detail: String,
}

/// Whether a connection works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It works.
    Up,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Down,
    /// It is not configured.
    Off,
}

/// What the handlers share.
pub(crate) struct App {
    pub hub: BoardState,
    pub throttle: Throttle,
    pub notes: Notes,
    /// Password hashing takes 19 MiB and some tens of milliseconds each: only a few at a time.
    pub hashing: Arc<Semaphore>,
    /// One permit for every live stream.
    pub streams: Arc<Semaphore>,
    /// The API's description as JSON, made with the router.
    pub description: OnceLock<Arc<str>>,
}

/// The state of the router.
pub(crate) type Shared = Arc<App>;

/// How many passwords are checked at the same time.
const HASHES_AT_ONCE: usize = 4;

impl App {
    pub fn new(hub: BoardState) -> Shared {
        let streams = Arc::new(Semaphore::new(hub.config.max_streams.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            hub,
            throttle: Throttle::default(),
            notes: care::new_notes(),
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            streams,
            description: OnceLock::new(),
        })
    }

    pub fn now(&self) -> Timestamp {
        self.hub.clock.now()
    }

    pub fn store(&self) -> &Store {
        &self.hub.store
    }

    pub fn directory(&self) -> Arc<Directory> {
        self.hub.profiles.borrow().clone()
    }
}
