//! A board with two organisations, and clients for it.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
    response::Response,
};
use board::{BoardConfig, BoardState, SystemStatus};
use model::{
    Alert, AlertChange, AlertId, AlertSource, Clock, Device, DeviceId, Directory, Evidence, Language, Localised,
    ManualClock, MessageChannel, OrgId, PersonRole, Profile, Receiver, RescueLevel, RuleId, RunbookId, Scope, Severity,
    TicketId, TicketKind, Timestamp,
};
use serde_json::Value;
use store::{
    AuditActor, DeskSettings, NewPerson, NewRota, NewSite, NewUser, Store, StoreConfig, TicketFilter, TicketState,
    User, UserRole, WatchCursors,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const PASSWORD: &str = "correct horse battery";
pub const PUBLIC_URL: &str = "http://board.test";
pub const TECHNICIAN_NUMBER: &str = "+8613811112222";

static HASH: LazyLock<String> = LazyLock::new(|| board::hash_password(PASSWORD).unwrap());

const PROFILE: &str = r#"
[profile]
id = "lift"
name = { en = "Lift", zh = "电梯" }
version = 1

[[channels]]
id = "motor_temp_c"
name = { en = "Motor temperature", zh = "电机温度" }
type = "number"
unit = "Cel"
range = [-40.0, 200.0]

[[channels]]
id = "door_state"
name = { en = "Doors", zh = "轿门" }
type = "state"
states = ["closed", "open"]

[[channels]]
id = "passenger_present"
name = { en = "Passenger present", zh = "轿厢内有人" }
type = "bool"

[[events]]
code = "alarm_button"
name = { en = "Alarm button", zh = "报警按钮" }

[[rules]]
id = "entrapment"
title = { en = "Person shut in", zh = "有人被困" }
source = "test"
severity = "critical"
ticket = "entrapment"
life_safety = true
event = { codes = ["alarm_button"] }
runbook = "release"

[failures]
rules = ["entrapment"]
horizons = ["1d"]
miss_cost = 3.0
visit_cost = 1.0

[[runbooks]]
id = "release"
title = { en = "Release a person", zh = "解救被困人员" }
steps = [{ en = "Switch off the main switch.", zh = "切断主电源。" }]
skill = { en = "Lift technician", zh = "电梯维保人员" }
duration = "30m"

[[causes]]
id = "door_lock"
name = { en = "Door lock", zh = "门锁" }
rules = ["entrapment"]
weight = 3.0
source = "test"
runbook = "release"
parts = [{ en = "Lock contact", zh = "门锁触点" }]

[[causes]]
id = "supply"
name = { en = "Supply", zh = "电源" }
rules = ["entrapment"]
weight = 1.0
source = "test"
runbook = "release"
duration = "50m"

[[causes]]
id = "battery"
name = { en = "Battery", zh = "电池" }
tickets = ["test_failure"]
weight = 1.0
source = "test"
runbook = "release"

[[commands]]
name = "test_call"
params = ["to"]
title = { en = "Make a test call", zh = "测试呼叫" }
timeout = "2m"
"#;

/// One organisation with everything in it.
pub struct Tenant {
    pub org: OrgId,
    pub device: Device,
    pub ticket: TicketId,
    pub users: Vec<User>,
}

impl Tenant {
    pub fn user(&self, role: UserRole) -> &User {
        self.users.iter().find(|user| user.role == role).unwrap()
    }
}

/// A running board.
pub struct TestBoard {
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub router: Router,
    pub shutdown: CancellationToken,
    pub ours: Tenant,
    pub theirs: Tenant,
    pub directory: Arc<Directory>,
    directories: watch::Sender<Arc<Directory>>,
    _folder: TempDir,
}

impl TestBoard {
    pub async fn start() -> Self {
        Self::start_with(BoardConfig { public_url: PUBLIC_URL.to_owned(), ..BoardConfig::default() }).await
    }

    pub async fn start_with(config: BoardConfig) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at("2026-03-01T00:00:00Z".parse().unwrap()));
        let store_config = StoreConfig {
            url: format!("sqlite:{}", folder.path().join("board.sqlite").display()),
            ..Default::default()
        };
        let desk = DeskSettings { policies: desk::Policies::default(), public_url: config.public_url.clone() };
        let store = Store::open(&store_config, desk).await.unwrap();
        let profile = Profile::parse(Path::new("lift.toml"), PROFILE).unwrap();
        store.ensure_profile(&profile).await.unwrap();
        let ours = tenant(&store, &clock, "ours", "lift-1").await;
        let theirs = tenant(&store, &clock, "theirs", "lift-9").await;
        let directory = Arc::new(Directory {
            devices: [&ours, &theirs].map(|t| (t.device.id.clone(), Arc::new(t.device.clone()))).into(),
            profiles: [(profile.id.clone(), Arc::new(profile))].into(),
        });
        let shutdown = CancellationToken::new();
        let directories = watch::Sender::new(directory.clone());
        let router = board::router(BoardState {
            store: store.clone(),
            clock: clock.clone(),
            config,
            profiles: directories.subscribe(),
            system: watch::channel(Arc::new(SystemStatus { recorder_lag: 3, ..SystemStatus::default() })).1,
            shutdown: shutdown.clone(),
        });
        Self { store, clock, router, shutdown, ours, theirs, directory, directories, _folder: folder }
    }

    /// Lets the board know of another device.
    pub fn register(&self, device: &Device) {
        self.directories.send_modify(|directory| {
            let mut devices = directory.devices.clone();
            devices.insert(device.id.clone(), Arc::new(device.clone()));
            *directory = Arc::new(Directory { devices, profiles: directory.profiles.clone() });
        });
    }

    pub fn anonymous(&self) -> Client {
        Client { router: self.router.clone(), cookie: None, csrf: None, gzip: false }
    }

    /// A client that is logged in, without the cost of a password.
    pub async fn client(&self, user: &User) -> Client {
        let now = self.clock.now();
        let session = self.store.create_session(user.id, Duration::from_secs(43_200), now).await.unwrap();
        Client {
            router: self.router.clone(),
            cookie: Some(format!("liftline_session={}", session.token)),
            csrf: Some(session.csrf),
            gzip: false,
        }
    }

    pub async fn as_role(&self, role: UserRole) -> Client {
        self.client(self.ours.user(role)).await
    }

    /// Applies an event to our ticket.
    pub async fn apply(&self, event: desk::Event) -> desk::Ticket {
        self.store.apply(self.ours.org, self.ours.ticket, event, self.clock.now()).await.unwrap()
    }

    /// Writes a note on a ticket, past the board.
    pub async fn note(&self, tenant: &Tenant, text: &str) {
        let actor = desk::Actor::Hub;
        let event = desk::Event::Act { actor, action: desk::Action::Note { text: text.to_owned() }, as_of: None };
        self.store.apply(tenant.org, tenant.ticket, event, self.clock.now()).await.unwrap();
    }

    /// Adds an affected person to our ticket and returns the path of their care page.
    pub async fn care_path(&self, language: Language) -> String {
        let new = store::NewAffected {
            name: Some("Chen".to_owned()),
            receiver: Receiver { channel: MessageChannel::Sms, address: "+8613899998888".to_owned() },
            language,
            inside: true,
        };
        let now = self.clock.now();
        let (_, _, token) =
            self.store.add_affected(self.ours.org, self.ours.ticket, &new, desk::Actor::Hub, now).await.unwrap();
        format!("/c/{token}")
    }
}

pub fn alert(device: &Device, raised_at: Timestamp) -> Alert {
    let rule = RuleId::new("entrapment").unwrap();
    Alert {
        id: AlertId::derive(&device.id, &rule, raised_at),
        org: device.org,
        device: device.id.clone(),
        site: device.site,
        profile: device.profile.clone(),
        rule,
        rule_version: 1,
        source: AlertSource::Rule,
        kind: TicketKind::Entrapment,
        scope: Scope::Device,
        severity: Severity::Critical,
        life_safety: true,
        title: Localised::new("Person shut in", "有人被困"),
        raised_at,
        cleared_at: None,
        evidence: Evidence {
            summary: Localised::new("The alarm button was pressed.", "报警按钮被按下。"),
            condition: "event alarm_button".to_owned(),
            ..Evidence::default()
        },
        runbook: Some(RunbookId::new("release").unwrap()),
    }
}

async fn tenant(store: &Store, clock: &ManualClock, name: &str, device: &str) -> Tenant {
    let (now, by) = (clock.now(), AuditActor::CommandLine);
    let org = store.create_org(name, now).await.unwrap().id;
    let site = NewSite {
        org,
        name: format!("{name} tower"),
        address: "1 Main Road".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
    };
    let site = store.create_site(&site, now).await.unwrap();
    let device = Device {
        id: DeviceId::new(device).unwrap(),
        org,
        site: site.id,
        profile: model::ProfileId::new("lift").unwrap(),
        name: format!("Lift of {name}"),
        plate: Some(format!("P-{name}")),
    };
    store.upsert_device(&device, None, &by, now).await.unwrap();
    let person = NewPerson {
        org,
        name: format!("Ann of {name}"),
        role: PersonRole::Technician,
        language: Language::En,
        receivers: if name == "ours" {
            vec![Receiver { channel: MessageChannel::Sms, address: TECHNICIAN_NUMBER.to_owned() }]
        } else {
            vec![Receiver { channel: MessageChannel::Email, address: "ann@theirs.test".to_owned() }]
        },
    };
    let person = store.create_person(&person, &by, now).await.unwrap();
    let rota = NewRota {
        org,
        site: None,
        level: RescueLevel::Maintainer,
        time_zone: "Asia/Shanghai".to_owned(),
        first_handover: "2026-01-05T08:00".to_owned(),
        shift_days: 7,
        members: vec![person.id],
        together: 1,
    };
    store.create_rota(&rota, &by, now).await.unwrap();
    let mut users = Vec::new();
    for role in UserRole::ALL {
        let user = NewUser {
            org,
            username: format!("{role}@{name}"),
            name: format!("The {role}"),
            role,
            language: Language::En,
            password_hash: Some(HASH.clone()),
        };
        users.push(store.create_user(&user, &by, now).await.unwrap());
    }
    let raised = AlertChange::Raised(Box::new(alert(&device, now)));
    let cursors = WatchCursors { partition: 0, events: 0, telemetry: 0 };
    store.commit_watch(&[raised], &cursors, &[], now).await.unwrap();
    let filter = TicketFilter { state: TicketState::Open, limit: 10, ..TicketFilter::default() };
    let ticket = store.tickets(org, &filter).await.unwrap().tickets.first().unwrap().ticket.id;
    Tenant { org, device, ticket, users }
}

/// Somebody who sends requests.
#[derive(Clone)]
pub struct Client {
    pub router: Router,
    pub cookie: Option<String>,
    pub csrf: Option<String>,
    /// Whether it takes compressed answers.
    pub gzip: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The error's code; its message and remedy must be sentences.
    pub fn error(&self) -> String {
        let error = &self.json()["error"];
        for part in ["message", "remedy"] {
            let text = error[part].as_str().unwrap();
            assert!(text.ends_with('.') && text.starts_with(|c: char| c.is_uppercase()), "{part}: {text}");
        }
        error["code"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &header::HeaderName) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

impl Client {
    pub async fn open(&self, method: Method, uri: &str, body: Option<(&str, String)>) -> Response {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(csrf) = &self.csrf {
            request = request.header("x-csrf-token", csrf);
        }
        if self.gzip {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        let body = match body {
            Some((kind, text)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                Body::from(text)
            }
            None => Body::empty(),
        };
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    pub async fn send(&self, method: Method, uri: &str, body: Option<(&str, String)>) -> Reply {
        let response = self.open(method, uri, body).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 22).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, uri: &str) -> Reply {
        self.send(Method::GET, uri, None).await
    }

    pub async fn post(&self, uri: &str, body: Value) -> Reply {
        self.send(Method::POST, uri, Some(("application/json", body.to_string()))).await
    }

    pub async fn post_form(&self, uri: &str, body: &str) -> Reply {
        self.send(Method::POST, uri, Some(("application/x-www-form-urlencoded", body.to_owned()))).await
    }
}
