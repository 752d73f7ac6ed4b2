//! A fleet of simulated controllers against one hub.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use model::{Clock, DeviceId};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    device::{Controller, ControllerSetup, Counters},
    link::{LinkOptions, Protocol},
    scenario::Scenario,
    timeline::Timeline,
    truth::{TruthError, TruthSink},
    wire::{LAST_WILL, Topics},
};

/// Pause between the first connections of two devices, so that a fleet does not knock all at once.
const STAGGER: Duration = Duration::from_millis(4);
/// Messages of one controller that may be unacknowledged.
const WINDOW: usize = 16;
/// How long the whole fleet may take to leave.
const GRACE: Duration = Duration::from_secs(8);

/// How devices show who they are.
#[derive(Debug, Clone, Default)]
pub enum Login {
    /// They do not.
    #[default]
    Anonymous,
    /// All by the same name and password (an external broker).
    Shared {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// Each by its device id and its own secret (the hub's front door).
    PerDevice(HashMap<DeviceId, String>),
}

/// Where the fleet publishes.
#[derive(Debug, Clone)]
pub struct FleetTarget {
    /// Host name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The first part of every topic.
    pub prefix: String,
    /// How devices show who they are.
    pub login: Login,
    /// The version of MQTT.
    pub protocol: Protocol,
}

impl FleetTarget {
    pub(crate) fn link(
        &self,
        client_id: String,
        device: Option<&DeviceId>,
        window: usize,
    ) -> Result<LinkOptions, SimError> {
        let login = match (&self.login, device) {
            (Login::Anonymous, _) => None,
            (Login::Shared { username, password }, _) => Some((username.clone(), password.clone())),
            (Login::PerDevice(secrets), Some(device)) => {
                let secret = secrets.get(device).ok_or_else(|| SimError::NoSecret { device: device.clone() })?;
                Some((device.to_string(), secret.clone()))
            }
            (Login::PerDevice(_), None) => return Err(SimError::SharedConnection),
        };
        Ok(LinkOptions {
            host: self.host.clone(),
            port: self.port,
            protocol: self.protocol,
            client_id,
            login,
            will: None,
            window,
        })
    }
}

/// Where the ground truth goes.
#[derive(Debug, Clone)]
pub struct TruthOptions {
    /// The JSON Lines file; it is written anew.
    pub path: PathBuf,
    /// True if every acknowledged message is noted too.
    pub acknowledgements: bool,
}

/// How to run a simulation.
pub struct SimOptions {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Stops it.
    pub shutdown: CancellationToken,
    /// Where the ground truth goes, if it is wanted.
    pub truth: Option<TruthOptions>,
    /// Told once a second how it stands.
    pub progress: Option<watch::Sender<Progress>>,
    /// The first message count of every device.
    pub first_seq: u64,
    /// Measurements that a controller keeps while it is off line.
    pub buffer: usize,
}

impl SimOptions {
    /// The usual options: no ground truth, no progress, counts from 1, a buffer of 5,000 measurements.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, shutdown: CancellationToken) -> Self {
        Self { clock, shutdown, truth: None, progress: None, first_seq: 1, buffer: 5000 }
    }
}

/// How a simulation or replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Devices (or connections) of the run.
    pub devices: usize,
    /// Those that are connected.
    pub connected: usize,
    /// Reports made: measurements, events, answers.
    pub reports: u64,
    /// Reports that the broker acknowledged.
    pub acknowledged: u64,
    /// Reports that wait in buffers.
    pub waiting: u64,
    /// Messages that the broker refused.
    pub refused: u64,
    /// Tries to connect that failed.
    pub failed_connections: u64,
}

/// What became of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimReport {
    /// Devices simulated.
    pub devices: usize,
    /// Reports made.
    pub reports: u64,
    /// Messages published; one carries up to 50 measurements.
    pub messages: u64,
    /// Reports that the broker acknowledged.
    pub acknowledged: u64,
    /// Messages that the broker refused.
    pub refused: u64,
    /// Measurements given up because a buffer was full.
    pub dropped: u64,
    /// Reports left in buffers at the end.
    pub left: u64,
    /// Connections made, first ones included.
    pub connections: u64,
    /// How long it ran.
    pub took: Duration,
}

/// Why a simulation or replay failed.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A device has no secret.
    #[error("there is no secret for the device \"{device}\"; register it and pass its secret")]
    NoSecret {
        /// The device.
        device: DeviceId,
    },
    /// Devices with secrets of their own cannot share a connection.
    #[error("devices that log in with secrets of their own cannot share a connection; use one connection per device")]
    SharedConnection,
    /// The connection options are wrong.
    #[error("the fleet cannot connect")]
    Link(#[from] crate::link::LinkError),
    /// The ground truth cannot be written.
    #[error("the simulation was stopped")]
    Truth(#[from] TruthError),
    /// The broker cannot be reached.
    #[error("the broker at {host}:{port} did not accept a connection for {} s: {reason}; check that it runs, and the login", after.as_secs())]
    Unreachable {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// For how long it was tried.
        after: Duration,
        /// What the last try said.
        reason: String,
    },
    /// A task of the simulation failed: a defect.
    #[error("a simulated device failed; please report this")]
    Defect(#[source] tokio::task::JoinError),
}

impl Counters {
    pub(crate) fn progress(&self, devices: usize) -> Progress {
        Progress {
            devices,
            connected: self.connected.load(Ordering::Relaxed),
            reports: self.reports.load(Ordering::Relaxed),
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed_connections: self.failed_connections.load(Ordering::Relaxed),
        }
    }
}

/// Runs a scenario until its duration is over or `options.shutdown` is cancelled. Devices reconnect by themselves, so
/// an absent broker is not an error: see [`Progress::failed_connections`].
///
/// # Errors
/// [`SimError`] if a device has no login, the ground truth cannot be written, or a simulated device failed.
pub async fn simulate(scenario: &Scenario, target: &FleetTarget, options: SimOptions) -> Result<SimReport, SimError> {
    let began = Instant::now();
    let timeline = Timeline::new(options.clock.clone(), scenario.speed, scenario.duration);
    let counters = Arc::new(Counters::default());
    let (truth, truth_file) = match &options.truth {
        Some(wanted) => {
            let (sink, file) = TruthSink::file(&wanted.path, wanted.acknowledgements).await?;
            (sink, Some(file))
        }
        None => (TruthSink::none(), None),
    };
    let controllers = controllers(scenario, target, &options, &timeline, &truth, &counters)?;
    drop(truth);
    let devices = controllers.len();
    let stop = options.shutdown.child_token();
    let mut truth_task = JoinSet::new();
    if let Some(file) = truth_file {
        truth_task.spawn(file.run());
    }
    let mut tasks = JoinSet::new();
    for controller in controllers {
        tasks.spawn(controller.run(stop.clone()));
    }

    let end = scenario.duration.map(|span| timeline.start() + span);
    let mut second = tokio::time::interval(Duration::from_millis(if scenario.speed > 1.0 { 100 } else { 1000 }));
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                // A controller ends only when it is stopped.
                if let Err(defect) = ended {
                    outcome = Err(SimError::Defect(defect));
                }
                break;
            }
            Some(ended) = truth_task.join_next() => {
                outcome = match ended {
                    Ok(written) => written.map_err(SimError::Truth),
                    Err(defect) => Err(SimError::Defect(defect)),
                };
                break;
            }
            _ = second.tick() => {
                if let Some(progress) = &options.progress {
                    progress.send_replace(counters.progress(devices));
                }
                if end.is_some_and(|end| timeline.now() >= end) {
                    break;
                }
            }
        }
    }
    stop.cancel();
    let drain = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drain).await.is_err() {
        tracing::warn!("{} simulated devices did not leave in time", tasks.len());
        tasks.shutdown().await;
    }
    while let Some(ended) = truth_task.join_next().await {
        let written = ended.map_err(SimError::Defect).and_then(|written| written.map_err(SimError::Truth));
        outcome = outcome.and(written);
    }
    if let Some(progress) = &options.progress {
        progress.send_replace(counters.progress(devices));
    }
    outcome.map(|()| SimReport {
        devices,
        reports: counters.reports.load(Ordering::Relaxed),
        messages: counters.messages.load(Ordering::Relaxed),
        acknowledged: counters.acknowledged.load(Ordering::Relaxed),
        refused: counters.refused.load(Ordering::Relaxed),
        dropped: counters.dropped.load(Ordering::Relaxed),
        left: counters.waiting.load(Ordering::Relaxed),
        connections: counters.connections.load(Ordering::Relaxed),
        took: began.elapsed(),
    })
}

fn controllers(
    scenario: &Scenario,
    target: &FleetTarget,
    options: &SimOptions,
    timeline: &Timeline,
    truth: &TruthSink,
    counters: &Arc<Counters>,
) -> Result<Vec<Controller>, SimError> {
    let start = timeline.start();
    let mut all = Vec::new();
    for (n, spec) in scenario.lifts(start).into_iter().enumerate() {
        let script = &scenario.scripts[n];
        let topics = Topics::new(&target.prefix, &spec.id);
        let mut link = target.link(spec.id.to_string(), Some(&spec.id), WINDOW)?;
        link.will = Some((topics.status(), LAST_WILL.to_vec()));
        let stagger = STAGGER * u32::try_from(n).unwrap_or(u32::MAX);
        all.push(Controller::new(ControllerSetup {
            script: script.acts.clone(),
            history: script.history.as_ref().map(|history| history.reports(&spec, start)).unwrap_or_default(),
            connect_after: script.connect_after.max(stagger.mul_f64(scenario.speed)),
            link,
            topics,
            first_seq: options.first_seq,
            buffer: options.buffer,
            timeline: timeline.clone(),
            truth: truth.clone(),
            counters: counters.clone(),
            spec,
        }));
    }
    Ok(all)
}
