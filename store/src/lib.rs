//! All SQL of Liftline: devices and what they said, tickets, people, the outbox, users, the audit log — on SQLite or
//! PostgreSQL (with TimescaleDB where it is installed), behind one [`Store`].
//!
//! Every device, site, ticket, person, user and rota belongs to one organisation; what people read takes the
//! organisation that they may see. Ticket logic lives in `desk`: the store loads, calls it, and commits the ticket,
//! its timeline and the messages it owes in one transaction ([`Store::commit_watch`], [`Store::apply`]).
//! No statement asks the database for the time.

mod audit;
mod bulk;
mod care;
mod changes;
mod commands;
mod copy;
mod db;
mod delivery;
mod desk_work;
mod devices;
mod emergency;
mod error;
mod events;
mod failures;
mod forecasts;
mod migrate;
mod open;
mod orgs;
mod outbox;
mod partitions;
mod pending;
mod people;
mod prune;
mod readings;
mod recorder;
mod rejects;
mod repairs;
mod retention;
mod roster;
mod rotas;
mod secret;
mod shrink;
mod silences;
mod surroundings;
mod tickets;
mod uptime;
mod users;
mod watch;
mod wide;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use model::ProfileId;
use tokio::sync::broadcast;

pub use audit::{AuditActor, AuditEntry};
pub use care::{CarePage, NewAffected};
pub use changes::Change;
pub use commands::{Command, NewCommand};
pub use db::{Result, Sql};
pub use delivery::{Attempt, ReplyCode, ReplyTo, StoredMessage};
pub use devices::{DeviceFilter, DeviceState, DeviceSummary};
pub use emergency::{EmergencyNote, EmergencyStep};
pub use error::StoreError;
pub use events::DeviceEvent;
pub use failures::{ChannelDay, FailureHistory, IncidentKind, StoredIncident};
pub use forecasts::{FailureForecast, ForecastMethod, ForecastOutcome, ModelState, NewModel, StoredModel};
pub use open::{DeskSettings, StoreConfig};
pub use orgs::NewSite;
pub use outbox::{About, Claim, NewAnswer, Via, content};
pub use people::{NewPerson, Subscription};
pub use readings::{Bucket, Series, Step};
pub use recorder::{RecordReport, RecordedEvent, RecorderBatch, Row, Values};
pub use rejects::{NewReject, NoisyDevice, RecordedReject, RejectCount, RejectFilter, RejectPage, RejectSampler};
pub use retention::{Keep, Retention};
pub use rotas::{DutyContact, NewRota};
pub use silences::{NewSilence, SilenceError, StoredSilence};
pub use tickets::{ApplyError, TicketFilter, TicketPage, TicketState, TicketView};
pub use users::{NewSession, NewUser, Session, User, UserRole};
pub use watch::{CommitReport, Snapshot, StoredSnapshot, WatchCursors, WatchState};

use crate::{db::Db, open::HubLock, wide::WideTable};

/// The store. Cloning it gives another handle on the same connections.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    desk: DeskSettings,
    /// Made once of the desk's settings, for every transaction.
    around: surroundings::Settings,
    changes: broadcast::Sender<Change>,
    /// Tables of readings, by profile, as made or found by [`Store::ensure_profile`].
    wide: RwLock<HashMap<ProfileId, Arc<WideTable>>>,
    lock: HubLock,
    target: String,
    timescale: bool,
    /// Until when events were pruned last, in microseconds.
    events_pruned_to: std::sync::atomic::AtomicI64,
    /// The recorder's last batch could not be written.
    failing: std::sync::atomic::AtomicBool,
    /// How much time a partition of readings spans.
    partition: std::time::Duration,
}

impl Store {
    fn db(&self) -> &Db {
        &self.inner.db
    }
}

/// Every fixed statement with its module and name, for the test that prepares them all on both engines.
#[doc(hidden)]
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str, Sql)> {
    let modules: &[(&str, &[(&str, Sql)])] = &[
        ("audit", audit::STATEMENTS),
        ("care", care::STATEMENTS),
        ("commands", commands::STATEMENTS),
        ("delivery", delivery::STATEMENTS),
        ("desk_work", desk_work::STATEMENTS),
        ("devices", devices::STATEMENTS),
        ("emergency", emergency::STATEMENTS),
        ("events", events::STATEMENTS),
        ("failures", failures::STATEMENTS),
        ("forecasts", forecasts::STATEMENTS),
        ("orgs", orgs::STATEMENTS),
        ("outbox", outbox::STATEMENTS),
        ("pending", pending::STATEMENTS),
        ("people", people::STATEMENTS),
        ("prune", prune::STATEMENTS),
        ("recorder", recorder::STATEMENTS),
        ("rejects", rejects::STATEMENTS),
        ("repairs", repairs::STATEMENTS),
        ("retention", retention::STATEMENTS),
        ("roster", roster::STATEMENTS),
        ("rotas", rotas::STATEMENTS),
        ("silences", silences::STATEMENTS),
        ("surroundings", surroundings::STATEMENTS),
        ("tickets", tickets::STATEMENTS),
        ("uptime", uptime::STATEMENTS),
        ("users", users::STATEMENTS),
        ("watch", watch::STATEMENTS),
        ("wide", wide::STATEMENTS),
    ];
    modules.iter().flat_map(|(module, list)| list.iter().map(move |(name, sql)| (*module, *name, *sql))).collect()
}
