//! The hub's own parts, driven step by step: intake, journal, watch, recorder, store, timers.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use gateway::{Ack, DecodeOptions, GatewayConfig, Inbound, Message};
use hub::{
    config::{Config, LoadedProfile},
    formats::Formats,
    intake::Intake,
    passes::{Reconciler as _, escalate::Escalate},
    recorder::Recorder,
    watch::{State, Watch},
};
use journal::{Journal, JournalConfig};
use model::{Clock, Directory, Lane, ManualClock};
use store::{DeskSettings, Store, StoreConfig};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::network::Parcel;

/// The shipped profiles, compiled.
pub fn profiles() -> anyhow::Result<Vec<LoadedProfile>> {
    Config::profiles(&[]).map_err(|errors| anyhow::anyhow!("the shipped profiles are broken: {errors:?}"))
}

/// How the hub reads messages.
pub fn decode_options() -> DecodeOptions {
    GatewayConfig::default().decode_options()
}

/// A hub without sockets.
pub struct Core {
    /// What it owns on disk.
    dir: TempDir,
    /// The journal.
    pub journal: Journal,
    /// The store.
    pub store: Store,
    /// What is registered.
    pub directory: watch::Sender<Arc<Directory>>,
    clock: Arc<ManualClock>,
    watch: Watch,
    state: State,
    recorder: Recorder,
    escalate: Escalate,
    inbound: mpsc::Sender<Inbound>,
    /// The urgent queue of the intake; everything goes through the other, so that the order is the test's own.
    _urgent: mpsc::Sender<Inbound>,
    /// Ends with the core.
    _intake: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Core {
    /// Opens what is in the folder, or begins there.
    pub async fn open(dir: TempDir, clock: Arc<ManualClock>, profiles: &[LoadedProfile]) -> anyhow::Result<Self> {
        let config = StoreConfig {
            url: format!("sqlite:{}", dir.path().join("store.db").display()),
            max_connections: 2,
            ..StoreConfig::default()
        };
        let desk =
            DeskSettings { policies: desk::Policies::default(), public_url: "https://lifts.example.org".to_owned() };
        let store = Store::open(&config, desk).await.context("opening the store")?;
        for loaded in profiles {
            store.ensure_profile(&loaded.profile).await?;
        }
        let journal = Journal::open(&dir.path().join("journal"), &JournalConfig::default())?;
        let (directory, _) = watch::channel(Arc::new(Directory::default()));
        let watch = Watch {
            journal: journal.clone(),
            store: store.clone(),
            directory: directory.subscribe(),
            clock: clock.clone(),
            profiles: profiles.to_vec(),
            emergency: None,
        };
        let recorder = Recorder::new(journal.clone(), store.clone(), directory.subscribe(), clock.clone(), 60);
        let (inbound, arrived) = mpsc::channel(1024);
        let (urgent, urgent_arrived) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let intake = Intake {
            events: urgent_arrived,
            telemetry: arrived,
            formats: Formats::without_memory(GatewayConfig::default().decoder(), clock.clone()),
            directory: directory.subscribe(),
            enrolment: None,
            journal: journal.clone(),
        };
        tasks.spawn(intake.run(stop.clone()));
        let core = Self {
            state: watch.load().await.context("loading the watch's state")?,
            escalate: Escalate { store: store.clone(), clock: clock.clone(), emergency: None },
            dir,
            journal,
            store,
            directory,
            clock,
            watch,
            recorder,
            inbound,
            _urgent: urgent,
            _intake: tasks,
            stop,
        };
        core.refresh(profiles).await?;
        Ok(core)
    }

    /// Reads the registered devices anew.
    pub async fn refresh(&self, profiles: &[LoadedProfile]) -> anyhow::Result<()> {
        let devices = self.store.directory_devices().await?;
        let devices = devices.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect();
        let profiles = profiles.iter().map(|loaded| (loaded.profile.id.clone(), loaded.profile.clone())).collect();
        self.directory.send_replace(Arc::new(Directory { devices, profiles }));
        Ok(())
    }

    /// The folder as it is on disk at this moment: what `kill -9` would leave.
    pub fn image(&self) -> anyhow::Result<TempDir> {
        let image = folder()?;
        copy_at_rest(self.dir.path(), image.path())?;
        Ok(image)
    }

    /// Takes messages and returns once all of them are acknowledged.
    pub async fn take(&self, parcels: &[Parcel]) -> anyhow::Result<()> {
        let mut acks = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            // No two messages are received at the same moment.
            self.clock.advance(Duration::from_micros(1));
            let (ack, acknowledged) = Ack::channel();
            let message = Message {
                topic: Bytes::from(parcel.topic.clone()),
                payload: Bytes::from(parcel.payload.clone()),
                received_at: self.clock.now(),
                sender: None,
            };
            self.inbound.send(Inbound { message, ack }).await.map_err(|_| anyhow::anyhow!("intake ended"))?;
            acks.push(acknowledged);
        }
        for ack in acks {
            ack.await.context("a message was taken and never acknowledged")?;
        }
        Ok(())
    }

    /// Takes messages whose lanes become durable one after the other, and lets the watch look in between.
    pub async fn take_torn(&mut self, parcels: &[Parcel], events_first: bool) -> anyhow::Result<()> {
        let (options, directory) = (decode_options(), self.directory.borrow().clone());
        let mut entries = Vec::new();
        for parcel in parcels {
            self.clock.advance(Duration::from_micros(1));
            let (topic, payload) = (Bytes::from(parcel.topic.clone()), Bytes::from(parcel.payload.clone()));
            let message = Message { topic, payload, received_at: self.clock.now(), sender: None };
            entries.extend(gateway::decode(&options, &directory, &message));
        }
        let (first, then): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| (entry.lane() == Lane::Events) == events_first);
        self.journal.append(first).await?;
        self.watch().await?;
        self.journal.append(then).await?;
        Ok(())
    }

    /// Lets the watch take everything there is and look at the clock.
    pub async fn watch(&mut self) -> anyhow::Result<()> {
        while self.watch_once().await? > 0 {}
        Ok(())
    }

    /// One round of the watch. Returns how many entries it took.
    pub async fn watch_once(&mut self) -> anyhow::Result<usize> {
        self.watch.pass(&mut self.state).await
    }

    /// Lets the recorder write one batch of each lane. True if there was anything.
    pub async fn record_once(&mut self) -> anyhow::Result<bool> {
        let mut wrote = 0;
        for lane in Lane::ALL {
            wrote += self.recorder.pass(lane, &self.stop).await?.context("the recorder could not write")?;
        }
        Ok(wrote > 0)
    }

    /// Ticks the tickets whose timers are due.
    pub async fn escalate(&self) -> anyhow::Result<()> {
        self.escalate.pass().await
    }
}

/// A folder in memory where there is one: nothing here outlives the test.
pub fn folder() -> anyhow::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("liftline-sim-").tempdir_in(root).context("making a folder")
}

/// Copies what a killed process would leave, once nobody is writing: the journal saves its cursors when it likes.
fn copy_at_rest(from: &Path, to: &Path) -> anyhow::Result<()> {
    for _ in 0..1000 {
        let files = read_all(from)?;
        if files == read_all(from)? {
            for (path, bytes) in files {
                let path = to.join(path);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::write(path, bytes)?;
            }
            return Ok(());
        }
    }
    anyhow::bail!("the files of the hub never came to rest")
}

/// Every file below a folder, but for locks and shared memory, which end with their process.
fn read_all(root: &Path) -> anyhow::Result<Vec<(std::path::PathBuf, Vec<u8>)>> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if !name.ends_with("-shm") && !name.ends_with("lock") {
                let bytes = std::fs::read(&path)?;
                files.push((path.strip_prefix(root)?.to_owned(), bytes));
            }
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "the hub wrote nothing");
    Ok(files)
}
