//! Brings a hub up: opens journal and store, then hands every part to [`crate::pipeline`].

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, anyhow};
use axum::Router;
use board::BoardState;
use gateway::{Credentials, FrontDoor};
use journal::Journal;
use metrics_exporter_prometheus::PrometheusHandle;
use model::{Clock, Directory};
use notify::Notifier;
use store::Store;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    callbacks::{self, Callbacks},
    config::{Config, EnrolmentConfig, LoadedProfile},
    emergency::{CaseBook, DutyBook, Emergency, LastKnown, RefreshCases, RefreshDuty},
    enrolment::Enrolment,
    forecasts::nightly::Forecasts,
    health::{self, Status},
    passes::{Reconciler as _, directory::RefreshDirectory},
    pipeline,
    supervisor::Supervisor,
    tools::desk_settings,
    watch::{State, Watch},
};

/// Everything the pipeline connects.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The durable log.
    pub journal: Journal,
    /// The database.
    pub store: Store,
    /// Who sends messages.
    pub notifier: Arc<Notifier>,
    /// The rules and detectors, with the state that they go on from.
    pub watch: (Watch, State),
    /// The registered devices.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Keeps them up to date.
    pub refresh: RefreshDirectory,
    /// Keeps the duty book up to date.
    pub duty: RefreshDuty,
    /// Keeps the open tickets that concern life safety up to date.
    pub cases: RefreshCases,
    /// Helps people in danger while the database is away.
    pub emergency: Emergency,
    /// Forecasts failures at night.
    pub forecasts: Forecasts,
    /// Registers unknown devices.
    pub enrolment: Option<Enrolment>,
    /// The embedded broker.
    pub front_door: Option<FrontDoor>,
    /// The web server.
    pub web: Web,
    /// How the hub is doing.
    pub status: Status,
}

/// The bound web server.
pub struct Web {
    listener: TcpListener,
    router: Router,
}

impl Web {
    /// Serves until the shutdown.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.listener, service)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .context("serving the web")
    }
}

/// A hub that is up.
pub struct Hub {
    /// The address of the web server.
    pub web: SocketAddr,
    /// The address of the front door, if there is one.
    pub mqtt: Option<SocketAddr>,
    /// The database.
    pub store: Store,
    supervisor: Supervisor,
    grace: std::time::Duration,
}

impl Hub {
    /// Brings a hub up on a bound `listener`. `extra` is merged into the web server's routes (the demo's phones).
    ///
    /// # Errors
    /// If the data folder is in use, the database cannot be opened, or the front door's address is taken; says what to do.
    pub async fn start(
        config: Config,
        profiles: Vec<LoadedProfile>,
        clock: Arc<dyn Clock>,
        metrics: PrometheusHandle,
        listener: TcpListener,
        extra: Router,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let data_dir = &config.hub.data_dir;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("creating the data folder {}", data_dir.display()))?;
        let journal = Journal::open(&data_dir.join("journal"), &config.journal).context("opening the journal")?;
        let store =
            Store::open(&config.store_config(), desk_settings(&config)).await.context("opening the database")?;
        for loaded in &profiles {
            store.ensure_profile(&loaded.profile).await.context("making room for a profile's readings")?;
        }
        // Before the first night's work, which must know how long the hub was away.
        store.note_up(clock.now()).await.context("noting that the hub is up")?;
        let notifier = Arc::new(Notifier::new(&config.notify).context("setting up messages")?);
        let (directory_sender, directory) = watch::channel(Arc::new(Directory::default()));
        let (credentials_sender, credentials) = watch::channel(Arc::new(Credentials::default()));
        let refresh = RefreshDirectory {
            store: store.clone(),
            profiles: profiles
                .iter()
                .map(|loaded| (loaded.profile.id.clone(), loaded.profile.clone()))
                .collect::<HashMap<_, _>>(),
            enrolment: config.enrolment.as_ref().map(enrolment_secret).transpose()?.flatten(),
            directory: directory_sender,
            credentials: credentials_sender,
            read: tokio::sync::Mutex::default(),
        };
        refresh.pass().await?;
        let (book, duty_book) = watch::channel(Arc::new(DutyBook::default()));
        let duty = RefreshDuty { store: store.clone(), clock: clock.clone(), book };
        duty.pass().await?;
        let (book, case_book) = watch::channel(Arc::new(CaseBook::default()));
        let cases = RefreshCases { store: store.clone(), book };
        cases.pass().await?;
        let known = LastKnown { duty: duty_book, directory: directory.clone(), cases: case_book };
        let emergency =
            Emergency::new(config.desk.clone(), known, journal.clone(), notifier.clone(), store.clone(), clock.clone());
        let enrolment = match &config.enrolment {
            Some(settings) => Some(enrolment(settings, &store, &clock).await?),
            None => None,
        };
        let (notes, noted) = watch::channel(Vec::new());
        let forecasts = Forecasts {
            store: store.clone(),
            clock: clock.clone(),
            profiles: profiles.iter().map(|loaded| loaded.profile.clone()).collect(),
            config: config.forecasts.clone(),
            notes,
            stop: shutdown.child_token(),
            done: Mutex::default(),
        };
        let watch = Watch {
            journal: journal.clone(),
            store: store.clone(),
            directory: directory.clone(),
            clock: clock.clone(),
            profiles,
            emergency: Some(emergency.line()),
        };
        // Before anybody is let in: from then on the database may go away.
        let state = watch.load().await?;
        let watch = (watch, state);
        let front_door = match &config.gateway.front_door {
            Some(settings) => Some(
                FrontDoor::bind(settings, &config.gateway, credentials, clock.clone())
                    .await
                    .context("opening the front door; is another broker on that port? (gateway.front_door.listen)")?,
            ),
            None => None,
        };
        let mqtt = front_door.as_ref().map(FrontDoor::local_addr);
        let web = listener.local_addr().context("asking for the address of the web server")?;
        let (mut status, system) = Status::new(journal.clone(), store.clone(), clock.clone(), metrics.clone());
        status.add_notes(noted);
        let board = BoardState {
            store: store.clone(),
            clock: clock.clone(),
            config: config.board.clone(),
            profiles: directory.clone(),
            system: system.clone(),
            shutdown: shutdown.clone(),
        };
        let router = Router::new()
            .merge(health::router(system, metrics))
            .merge(callbacks::router(Callbacks {
                store: store.clone(),
                notifier: notifier.clone(),
                clock: clock.clone(),
                emergency: emergency.line(),
            }))
            .merge(extra)
            .merge(board::router(board));
        let grace = config.hub.shutdown_grace;
        let mut supervisor = Supervisor::new(shutdown.clone());
        let parts = Parts {
            config,
            clock,
            journal,
            store: store.clone(),
            notifier,
            watch,
            directory,
            refresh,
            duty,
            cases,
            emergency,
            forecasts,
            enrolment,
            front_door,
            web: Web { listener, router },
            status,
        };
        pipeline::start(&mut supervisor, parts, shutdown);
        info!(%web, mqtt = mqtt.map(tracing::field::display), database = store.engine(), "the hub is up");
        Ok(Self { web, mqtt, store, supervisor, grace })
    }

    /// Runs until the shutdown or the first failure.
    ///
    /// # Errors
    /// What failed.
    pub async fn run(self) -> anyhow::Result<()> {
        let outcome = self.supervisor.run(self.grace).await;
        self.store.close().await;
        outcome
    }
}

fn enrolment_secret(settings: &EnrolmentConfig) -> anyhow::Result<Option<[u8; 32]>> {
    let Some(file) = &settings.secret_file else { return Ok(None) };
    let secret = std::fs::read_to_string(file)
        .with_context(|| format!("reading the enrolment secret {} (enrolment.secret_file)", file.display()))?;
    Ok(Some(gateway::secret_hash(secret.trim())))
}

async fn enrolment(settings: &EnrolmentConfig, store: &Store, clock: &Arc<dyn Clock>) -> anyhow::Result<Enrolment> {
    let name = &settings.organisation;
    let org = store.org_by_name(name).await?.ok_or_else(|| {
        anyhow!("enrolment.organisation: there is no \"{name}\"; make it with `liftline import FILE.toml`")
    })?;
    let site = crate::tools::organisation::ensure_site(store, org.id, &settings.site, "", "UTC", clock.now()).await?;
    Ok(Enrolment {
        store: store.clone(),
        clock: clock.clone(),
        org: org.id,
        site: site.id,
        profile: settings.auto_register.clone(),
        seen: Default::default(),
        paused_until: None,
    })
}
