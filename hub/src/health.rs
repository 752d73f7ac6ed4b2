//! How the hub itself is doing: for probes, for metrics, and for the board's system page.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use board::{JournalLane, Link, LinkState, SystemStatus};
use journal::Journal;
use metrics_exporter_prometheus::PrometheusHandle;
use model::{Clock, Lane, Localised, Timestamp};
use store::Store;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{recorder, watch as watcher};

/// How often the status is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the database may say nothing before it counts as away here.
const SILENCE: Duration = Duration::from_secs(5);

/// Collects the status.
pub struct Status {
    journal: Journal,
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: PrometheusHandle,
    links: Vec<(&'static str, watch::Receiver<gateway::LinkState>)>,
    database: (LinkState, Timestamp),
    /// Whether the journal takes entries, and since when.
    written: (LinkState, Timestamp),
    /// What other tasks tell.
    notes: Vec<watch::Receiver<Vec<Localised>>>,
    sender: watch::Sender<Arc<SystemStatus>>,
}

impl Status {
    /// A status that has not looked yet, and where it will be seen.
    #[must_use]
    pub fn new(
        journal: Journal,
        store: Store,
        clock: Arc<dyn Clock>,
        metrics: PrometheusHandle,
    ) -> (Self, watch::Receiver<Arc<SystemStatus>>) {
        let (sender, receiver) = watch::channel(Arc::default());
        let database = (LinkState::Up, clock.now());
        let (links, notes) = (Vec::new(), Vec::new());
        (Self { journal, store, clock, metrics, links, database, written: database, notes, sender }, receiver)
    }

    /// Watches a link as well.
    pub fn add_link(&mut self, name: &'static str, state: watch::Receiver<gateway::LinkState>) {
        self.links.push((name, state));
    }

    /// Shows what a task tells, as long as it tells it.
    pub fn add_notes(&mut self, notes: watch::Receiver<Vec<Localised>>) {
        self.notes.push(notes);
    }

    async fn look(&mut self) {
        // What was measured since would otherwise stand in memory until somebody asks for it.
        self.metrics.run_upkeep();
        let now = self.clock.now();
        let reached = self.store.answers_within(SILENCE).await;
        let database = if reached && !self.store.is_failing() { LinkState::Up } else { LinkState::Down };
        if database != self.database.0 {
            self.database = (database, now);
        }
        let stats = self.journal.stats();
        let lag = |consumer: &str, lane: Lane| {
            let at = self.journal.cursor(consumer, lane).unwrap_or_default();
            self.journal.head(lane).0.saturating_sub(at.0)
        };
        let mut status = SystemStatus {
            journal: stats
                .lanes
                .iter()
                .map(|stats| JournalLane {
                    lane: stats.lane,
                    head: stats.head.0,
                    lag: lag(recorder::CONSUMER, stats.lane).max(lag(watcher::POSITION, stats.lane)),
                    bytes: stats.bytes,
                })
                .collect(),
            recorder_lag: Lane::ALL.into_iter().map(|lane| lag(recorder::CONSUMER, lane)).sum(),
            watch_lag: Lane::ALL.into_iter().map(|lane| lag(watcher::POSITION, lane)).sum(),
            ..SystemStatus::default()
        };
        status.links.push(Link {
            name: "database".to_owned(),
            state: self.database.0,
            since: self.database.1,
            detail: self.store.engine().to_owned(),
        });
        if reached && self.store.is_failing() {
            status.alarms.push(Localised::new(
                "The database cannot be written, most often because its disk is full. Readings wait in the journal; make room, the hub goes on by itself.",
                "数据库无法写入，通常是磁盘已满。读数暂存于日志中；请腾出空间，系统将自动恢复。",
            ));
        }
        if !reached {
            status.alarms.push(Localised::new(
                "The database cannot be reached. Readings wait in the journal and tickets open when it is back; where a person may be in danger, people are called without it.",
                "数据库无法连接。读数暂存于日志中，工单将在恢复后创建；可能有人身危险时，仍会立即呼叫人员。",
            ));
        }
        for (name, state) in &self.links {
            let state = state.borrow().clone();
            let (up, since, detail) = match state {
                gateway::LinkState::Connected { since } => (LinkState::Up, since, String::new()),
                gateway::LinkState::Disconnected { since, reason } => (LinkState::Down, since, reason),
            };
            if up == LinkState::Down {
                status.alarms.push(Localised::new(
                    format!("No connection to the {name}: {detail}"),
                    format!("与 MQTT 服务器（{name}）的连接已中断：{detail}"),
                ));
            }
            status.links.push(Link { name: (*name).to_owned(), state: up, since, detail });
        }
        match stats.alarm.as_ref().map(|alarm| alarm.full) {
            None => {}
            Some(false) => status.alarms.push(Localised::new(
                "The journal is nearly full of entries that were not yet processed. Look at the database, or raise journal.max_bytes.",
                "日志中未处理的条目即将占满空间。请检查数据库，或调高 journal.max_bytes。",
            )),
            Some(true) => status.alarms.push(Localised::new(
                "The journal is full: devices are no longer acknowledged. Look at the database, or raise journal.max_bytes.",
                "日志已满：不再向设备确认消息。请检查数据库，或调高 journal.max_bytes。",
            )),
        }
        let journal =
            if stats.failing || stats.alarm.is_some_and(|alarm| alarm.full) { LinkState::Down } else { LinkState::Up };
        if journal != self.written.0 {
            self.written = (journal, now);
        }
        status.links.push(Link {
            name: "journal".to_owned(),
            state: journal,
            since: self.written.1,
            detail: String::new(),
        });
        if stats.failing {
            status.alarms.push(Localised::new(
                "The journal cannot be written: devices are not acknowledged and keep their messages. Make room on the disk or repair it; the hub goes on by itself.",
                "日志无法写入：不再向设备确认消息，消息由设备保留。请腾出磁盘空间或修复磁盘，系统将自动恢复。",
            ));
        }
        if stats.damaged_entries > 0 {
            status.alarms.push(Localised::new(
                format!(
                    "{} entries of the journal are damaged and were skipped. Check the disk.",
                    stats.damaged_entries
                ),
                format!("日志中有 {} 条记录损坏并已跳过，请检查磁盘。", stats.damaged_entries),
            ));
        }
        for notes in &self.notes {
            status.alarms.extend(notes.borrow().iter().cloned());
        }
        self.sender.send_replace(Arc::new(status));
    }
}

/// Looks at the hub until the shutdown.
///
/// # Errors
/// None: what it cannot reach is what it reports.
pub async fn run(mut status: Status, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        status.look().await;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// For how long the lock that is found taken may be the hub's own: a server that was stuck ends the old session only then.
const OWN_SESSION: Duration = Duration::from_secs(15);

/// Holds the lock that keeps a second hub off the same database, and takes it again after the connection was lost.
///
/// # Errors
/// If another hub has taken over: two hubs must not escalate the same tickets.
pub async fn guard_lock(store: Store, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = store.lock_lost() => {}
        }
        warn!("the connection that holds the hub's lock was lost; taking the lock again");
        let lost_at = Instant::now();
        while let Err(failure) = store.retake_lock().await {
            if !failure.is_unavailable() && lost_at.elapsed() >= OWN_SESSION {
                error!("{failure}");
                bail!("another hub has taken over this database; stop one of the two");
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}

#[derive(Clone)]
struct Probes {
    system: watch::Receiver<Arc<SystemStatus>>,
    metrics: PrometheusHandle,
}

/// `/healthz` (the process lives), `/readyz` (it can do its work), `/metrics` (Prometheus).
pub fn router(system: watch::Receiver<Arc<SystemStatus>>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(probes): State<Probes>| async move { probes.metrics.render() }))
        .with_state(Probes { system, metrics })
}

async fn ready(State(probes): State<Probes>) -> impl IntoResponse {
    let status = probes.system.borrow().clone();
    let ready = !status.links.is_empty() && status.links.iter().all(|link| link.state == LinkState::Up);
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json((*status).clone()))
}
