//! A store of its own for every test, and a small world to put in it.

use std::{panic::AssertUnwindSafe, time::Duration};

use desk::Policies;
use futures::FutureExt;
use model::{
    Alert, AlertChange, AlertId, AlertSource, ChannelId, Device, DeviceId, Evidence, Language, Localised,
    MessageChannel, OrgId, Person, PersonRole, Profile, ProfileId, Receiver, RescueLevel, RuleId, Scope, Severity,
    Site, TicketId, TicketKind, Timestamp, Unit, Value,
    profile::{Channel, ChannelKind, Failures},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{
    AuditActor, DeskSettings, NewPerson, NewRota, NewSite, Row, Store, StoreConfig, TicketFilter, TicketState,
    WatchCursors,
};

pub const CLI: AuditActor = AuditActor::CommandLine;
pub const PUBLIC_URL: &str = "https://lifts.example.org";

/// The start of every test.
pub fn start() -> Timestamp {
    "2026-03-02T08:00:00Z".parse().unwrap()
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn desk_settings() -> DeskSettings {
    DeskSettings { policies: Policies::default(), public_url: format!("{PUBLIC_URL}/") }
}

/// One test's database.
pub struct TestDb {
    pub config: StoreConfig,
    pub store: Store,
}

pub async fn on_sqlite(test: impl AsyncFnOnce(TestDb)) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    run(StoreConfig { url, max_connections: 4, ..StoreConfig::default() }, test).await;
}

pub async fn on_postgres(test: impl AsyncFnOnce(TestDb)) {
    let server = std::env::var("LIFTLINE_TEST_POSTGRES").expect("run ./dev test, which starts PostgreSQL");
    let name = format!("liftline_test_{}", uuid::Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let (path, parameters) = server.split_once('?').map_or((server.as_str(), None), |(a, b)| (a, Some(b)));
    let base = path.rsplit_once('/').unwrap().0;
    let url = format!("{base}/{name}{}", parameters.map(|p| format!("?{p}")).unwrap_or_default());
    let outcome = AssertUnwindSafe(run(StoreConfig { url, max_connections: 4, ..StoreConfig::default() }, test))
        .catch_unwind()
        .await;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await.unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn run(config: StoreConfig, test: impl AsyncFnOnce(TestDb)) {
    let store = Store::open(&config, desk_settings()).await.unwrap();
    let handle = store.clone();
    test(TestDb { config, store }).await;
    handle.close().await;
}

/// An organisation with a site, two lifts, a technician on call, a rescue station behind her, and a building manager
/// who wants to know.
pub struct World {
    pub store: Store,
    pub org: OrgId,
    pub site: Site,
    pub ann: Person,
    pub station: Person,
    pub manager: Person,
}

pub fn receiver(channel: MessageChannel, address: &str) -> Receiver {
    Receiver { channel, address: address.to_owned() }
}

pub fn device_id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

pub fn channel(text: &str) -> ChannelId {
    ChannelId::new(text).unwrap()
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

impl World {
    pub async fn new(db: &TestDb) -> Self {
        Self::named(&db.store, "Metro", "lift", "+8613800000000").await
    }

    /// Several worlds can share a store if their names differ.
    pub async fn named(store: &Store, org: &str, prefix: &str, ann_number: &str) -> Self {
        let now = start() - secs(86_400);
        let org = store.create_org(org, now).await.unwrap().id;
        let site = NewSite {
            org,
            name: "North tower".to_owned(),
            address: "1 Harbour Road".to_owned(),
            time_zone: "Asia/Shanghai".to_owned(),
        };
        let site = store.create_site(&site, now).await.unwrap();
        for number in 1..=2 {
            let device = Device {
                id: device_id(&format!("{prefix}-{number}")),
                org,
                site: site.id,
                profile: ProfileId::new("lift").unwrap(),
                name: format!("Lift {number}"),
                plate: Some(format!("{prefix}{number:04}")),
            };
            store.upsert_device(&device, Some([number; 32]), &CLI, now).await.unwrap();
        }
        let person = |name: &str, role, receivers| NewPerson {
            org,
            name: name.to_owned(),
            role,
            language: Language::Zh,
            receivers,
        };
        let ways = vec![
            receiver(MessageChannel::Sms, ann_number),
            receiver(MessageChannel::Voice, ann_number),
            receiver(MessageChannel::Email, "ann@example.org"),
        ];
        let ann = store.create_person(&person("Ann", PersonRole::Technician, ways), &CLI, now).await.unwrap();
        let ways = vec![receiver(MessageChannel::Sms, "+8613800000119")];
        let station =
            store.create_person(&person("Station 7", PersonRole::RescueStation, ways), &CLI, now).await.unwrap();
        let ways = vec![receiver(MessageChannel::Email, "manager@example.org")];
        let manager = store.create_person(&person("Mo", PersonRole::BuildingManager, ways), &CLI, now).await.unwrap();
        store.subscribe(org, manager.id, &store::Subscription::Site(site.id)).await.unwrap();
        for (level, member) in [(RescueLevel::Maintainer, ann.id), (RescueLevel::Station, station.id)] {
            let rota = NewRota {
                org,
                site: None,
                level,
                time_zone: "Asia/Shanghai".to_owned(),
                first_handover: "2026-01-05T08:00".to_owned(),
                shift_days: 7,
                members: vec![member],
                together: 1,
            };
            store.create_rota(&rota, &CLI, now).await.unwrap();
        }
        Self { store: store.clone(), org, site, ann, station, manager }
    }

    pub fn alert(&self, device: &str, rule: &str, kind: TicketKind, raised_at: Timestamp) -> Alert {
        let (device, rule) = (device_id(device), RuleId::new(rule).unwrap());
        Alert {
            id: AlertId::derive(&device, &rule, raised_at),
            org: self.org,
            device,
            site: self.site.id,
            profile: ProfileId::new("lift").unwrap(),
            rule,
            rule_version: 1,
            source: AlertSource::Rule,
            kind,
            scope: Scope::Device,
            severity: if kind == TicketKind::Entrapment { Severity::Critical } else { Severity::Major },
            life_safety: kind == TicketKind::Entrapment,
            title: Localised::new("Door blocked", "门受阻"),
            raised_at,
            cleared_at: None,
            evidence: Evidence { summary: Localised::new("Three re-openings", "三次重开"), ..Evidence::default() },
            runbook: None,
        }
    }

    /// Commits changes at `now` with cursors that grow with the time.
    pub async fn commit(&self, changes: &[AlertChange], now: Timestamp) -> store::CommitReport {
        let cursors = WatchCursors { partition: 0, events: now.as_millis() as u64, telemetry: 0 };
        self.store.commit_watch(changes, &cursors, &[], now).await.unwrap()
    }

    /// Raises an alert and returns its ticket.
    pub async fn raise(&self, alert: &Alert, now: Timestamp) -> desk::Ticket {
        self.commit(&[raised(alert)], now).await;
        self.open_tickets().await.into_iter().find(|t| t.alerts.iter().any(|a| a.id == alert.id)).unwrap()
    }

    pub async fn open_tickets(&self) -> Vec<desk::Ticket> {
        let filter = TicketFilter { state: TicketState::Open, limit: 1000, ..TicketFilter::default() };
        self.store.tickets(self.org, &filter).await.unwrap().tickets.into_iter().map(|view| view.ticket).collect()
    }

    pub async fn ticket(&self, id: TicketId) -> desk::Ticket {
        self.store.ticket(self.org, id).await.unwrap().unwrap().ticket
    }
}

pub fn raised(alert: &Alert) -> AlertChange {
    AlertChange::Raised(Box::new(alert.clone()))
}

pub fn cleared(alert: &Alert, at: Timestamp) -> AlertChange {
    AlertChange::Cleared(Box::new(Alert { cleared_at: Some(at), ..alert.clone() }))
}

/// A profile with a channel of every kind, some of them named like words of SQL or like the table's own columns.
pub fn profile(extra: &[(&str, ChannelKind)]) -> Profile {
    let number = ChannelKind::Number { unit: Unit::MetrePerSecond, min: -1e9, max: 1e9 };
    let base = [
        ("speed", number.clone()),
        ("order", number.clone()),
        ("seq", number.clone()),
        ("time", ChannelKind::Text { max_len: 100 }),
        ("xmin", number),
        ("door_open", ChannelKind::Bool),
        ("mode", ChannelKind::State { states: vec!["normal".to_owned(), "inspection".to_owned()] }),
        ("note", ChannelKind::Text { max_len: 100 }),
    ];
    let channels = base.iter().chain(extra).map(|(id, kind)| Channel {
        id: channel(id),
        name: Localised::default(),
        kind: kind.clone(),
        state_names: Vec::new(),
        safety_chain: false,
    });
    Profile {
        derived: Vec::new(),
        overrides: Vec::new(),
        lateness: std::time::Duration::ZERO,
        gap: None,
        id: ProfileId::new("lift").unwrap(),
        name: Localised::default(),
        version: 1,
        file: std::path::PathBuf::new(),
        channels: channels.collect(),
        events: Vec::new(),
        rules: Vec::new(),
        detectors: Vec::new(),
        forecasts: Vec::new(),
        failures: None,
        causes: Vec::new(),
        runbooks: Vec::new(),
        commands: Vec::new(),
    }
}

pub fn row(device: &str, time: Timestamp, seq: Option<u64>, values: &[(&str, Value)]) -> Row {
    Row {
        device: device_id(device),
        profile: ProfileId::new("lift").unwrap(),
        time,
        seq,
        values: values.iter().map(|(id, value)| (channel(id), value.clone())).collect::<Vec<_>>().into(),
    }
}

/// The profile of the tests' devices.
pub fn lift() -> ProfileId {
    ProfileId::new("lift").unwrap()
}

/// What counts as a failure.
pub fn failures(rules: &[&str], events: &[&str], ends: &[&str], tickets: &[TicketKind]) -> Failures {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Failures {
        rules: rules.iter().map(|rule| RuleId::new(rule).unwrap()).collect(),
        events: texts(events),
        ends: texts(ends),
        tickets: tickets.to_vec(),
        channels: Vec::new(),
        horizons: vec![std::time::Duration::from_hours(24)],
        miss_cost: 9.0,
        visit_cost: 1.0,
        severity: Severity::Minor,
        runbook: None,
        line: 1,
    }
}
