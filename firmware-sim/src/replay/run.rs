//! Publishing a plan: paced by the recorded times or as fast as the hub acknowledges.

use std::{
    collections::VecDeque,
    str::FromStr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use model::{Clock, DeviceId, Timestamp};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{ReplayError, ReplayPlan};
use crate::{
    device::Counters,
    fleet::{FleetTarget, Progress, SimError},
    link::{Link, LinkEvent, LinkOptions},
    wire::{Message, Numbered, Report, Topics},
};

/// How long a connection is tried before the replay gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before a new try to connect.
const RETRY: Duration = Duration::from_secs(1);
/// How long the leave-taking may last.
const FAREWELL: Duration = Duration::from_secs(2);

/// How fast a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many recorded seconds in a second.
    Times(f64),
    /// As fast as it is acknowledged.
    Max,
}

impl FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.strip_suffix('x').unwrap_or(text).parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(format!("\"{text}\" is not a speed: write \"max\", or a number such as 60x")),
        }
    }
}

/// What becomes of the recorded times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebase {
    /// They stay as they are.
    None,
    /// They are moved so that the last one is now.
    EndNow,
    /// The first one is now, and they run as fast as the replay: every message carries the time at which it is due.
    StartNow,
}

impl FromStr for Rebase {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "end-now" => Ok(Self::EndNow),
            "start-now" => Ok(Self::StartNow),
            other => Err(format!("\"{other}\" is not a time base: write none, end-now or start-now")),
        }
    }
}

/// How devices share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// One for each, with its own login (the hub's front door).
    PerDevice,
    /// So many for all, each for its share of the devices, as a gateway does (an external broker).
    Shared(usize),
}

impl FromStr for Connections {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<usize>()) {
            ("per-device", _) => Ok(Self::PerDevice),
            (_, Ok(n)) if (1..=1000).contains(&n) => Ok(Self::Shared(n)),
            _ => {
                Err(format!("\"{text}\" is not a number of connections: write per-device, or a number from 1 to 1000"))
            }
        }
    }
}

/// How to replay.
pub struct ReplayOptions {
    /// How fast.
    pub speed: Speed,
    /// What becomes of the times.
    pub rebase: Rebase,
    /// How devices share connections.
    pub connections: Connections,
    /// Messages of one connection that may be unacknowledged.
    pub in_flight: usize,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Stops it.
    pub shutdown: CancellationToken,
    /// Told twice a second how it stands.
    pub progress: Option<watch::Sender<Progress>>,
}

impl ReplayOptions {
    /// As fast as possible, ending now, over four shared connections with 100 messages under way on each.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, shutdown: CancellationToken) -> Self {
        Self {
            speed: Speed::Max,
            rebase: Rebase::EndNow,
            connections: Connections::Shared(4),
            in_flight: 100,
            clock,
            shutdown,
            progress: None,
        }
    }
}

/// What became of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Devices that published.
    pub devices: usize,
    /// Messages of the plan.
    pub messages: u64,
    /// Those that the broker acknowledged.
    pub acknowledged: u64,
    /// Those that it refused.
    pub refused: u64,
    /// How long it took.
    pub took: Duration,
}

/// One connection's share: when each message is due after the start, and the message.
struct Share {
    link: LinkOptions,
    messages: VecDeque<(Duration, Message)>,
}

/// Publishes a plan, each device's messages in their order, and waits for every acknowledgement.
///
/// # Errors
/// [`ReplayError`] if the options contradict each other or no connection can be made for 30 s.
pub async fn replay(
    plan: &ReplayPlan,
    target: &FleetTarget,
    options: ReplayOptions,
) -> Result<ReplayReport, ReplayError> {
    let began = Instant::now();
    let shares = shares(plan, target, &options)?;
    let counters = Arc::new(Counters::default());
    let messages: usize = shares.iter().map(|share| share.messages.len()).sum();
    let connections = shares.len();
    counters.waiting.store(messages as u64, Ordering::Relaxed);
    let stop = options.shutdown.child_token();
    let mut tasks = JoinSet::new();
    for share in shares {
        tasks.spawn(publish(share, began, counters.clone(), stop.clone()));
    }
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    outcome = outcome.and(Err(error));
                    stop.cancel();
                }
                Some(Err(defect)) => {
                    outcome = outcome.and(Err(SimError::Defect(defect)));
                    stop.cancel();
                }
            },
            _ = beat.tick() => tell(&options, &counters, connections),
        }
    }
    tell(&options, &counters, connections);
    outcome?;
    Ok(ReplayReport {
        devices: plan.devices().len(),
        messages: messages as u64,
        acknowledged: counters.acknowledged.load(Ordering::Relaxed),
        refused: counters.refused.load(Ordering::Relaxed),
        took: began.elapsed(),
    })
}

fn tell(options: &ReplayOptions, counters: &Counters, connections: usize) {
    if let Some(progress) = &options.progress {
        progress.send_replace(counters.progress(connections));
    }
}

/// When each message is due, and with which times; each device's in order and never twice at one millisecond, because
/// a reading is known by device and time.
fn shares(plan: &ReplayPlan, target: &FleetTarget, options: &ReplayOptions) -> Result<Vec<Share>, ReplayError> {
    if options.rebase == Rebase::StartNow && options.speed == Speed::Max {
        return Err(ReplayError::Future);
    }
    let Some((first, last)) = plan.span() else { return Ok(Vec::new()) };
    let now = options.clock.now();
    let mut order: Vec<usize> = (0..plan.rows().len()).collect();
    order.sort_by_key(|n| plan.rows()[*n].1.time());

    let count = match options.connections {
        Connections::PerDevice => plan.devices().len(),
        Connections::Shared(n) => n.clamp(1, plan.devices().len().max(1)),
    };
    let mut shares = Vec::with_capacity(count);
    for n in 0..count {
        let (name, device): (String, Option<&DeviceId>) = match options.connections {
            Connections::PerDevice => (plan.devices()[n].id.to_string(), Some(&plan.devices()[n].id)),
            Connections::Shared(_) => (format!("replay-{:x}-{n}", now.as_micros()), None),
        };
        shares.push(Share { link: target.link(name, device, options.in_flight.max(1))?, messages: VecDeque::new() });
    }
    let topics: Vec<Topics> = plan.devices().iter().map(|device| Topics::new(&target.prefix, &device.id)).collect();
    let mut seq = vec![0_u64; topics.len()];
    let mut latest: Vec<Option<i64>> = vec![None; topics.len()];
    for n in order {
        let (device, report) = &plan.rows()[n];
        let since_first = report.time().since(first);
        let due = match options.speed {
            Speed::Times(times) => since_first.div_f64(times),
            Speed::Max => Duration::ZERO,
        };
        let time = match options.rebase {
            Rebase::None => report.time(),
            Rebase::EndNow => now - last.since(report.time()),
            Rebase::StartNow => now + due,
        };
        let millis = latest[*device].map_or(time.as_millis(), |before| time.as_millis().max(before + 1));
        latest[*device] = Some(millis);
        seq[*device] += 1;
        let report = at(report, Timestamp::from_millis(millis));
        let message = topics[*device].message(vec![Numbered { seq: seq[*device], report }]);
        shares[*device % count].messages.extend(message.map(|message| (due, message)));
    }
    Ok(shares)
}

fn at(report: &Report, moved: Timestamp) -> Report {
    let mut report = report.clone();
    let (Report::Telemetry { time, .. } | Report::Event { time, .. } | Report::CommandResult { time, .. }) =
        &mut report;
    *time = moved;
    report
}

/// Publishes one connection's share; connects again as often as needed and sends again what was not acknowledged.
async fn publish(
    mut share: Share,
    began: Instant,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> Result<(), SimError> {
    let mut pollers = JoinSet::new();
    let mut last_up = Instant::now();
    while !share.messages.is_empty() {
        let mut link = Link::open(&share.link, &mut pollers)?;
        let mut up = false;
        let reason = loop {
            send_due(&mut link, &mut share.messages, began, &counters);
            if share.messages.is_empty() && link.is_idle() {
                break None;
            }
            let pause = share.messages.front().map_or(Duration::MAX, |(due, _)| due.saturating_sub(began.elapsed()));
            tokio::select! {
                biased;
                () = stop.cancelled() => break None,
                event = link.next() => match event {
                    LinkEvent::Up => {
                        up = true;
                        counters.connected.fetch_add(1, Ordering::Relaxed);
                    }
                    LinkEvent::Acknowledged(message) => settled(&message, &counters.acknowledged, &counters),
                    LinkEvent::Refused(message, reason) => {
                        tracing::warn!(topic = %message.topic, %reason, "the broker refused a message");
                        settled(&message, &counters.refused, &counters);
                    }
                    LinkEvent::Incoming(_) => {}
                    LinkEvent::Down(reason) => break Some(reason),
                },
                () = tokio::time::sleep(pause), if up && !pause.is_zero() => {}
            }
        };
        if up {
            last_up = Instant::now();
            counters.connected.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(reason) = reason else {
            link.close(FAREWELL).await;
            return Ok(());
        };
        counters.failed_connections.fetch_add(1, Ordering::Relaxed);
        let (acknowledged, lost) = link.unacknowledged().await;
        for message in acknowledged {
            settled(&message, &counters.acknowledged, &counters);
        }
        for message in lost.into_iter().rev() {
            share.messages.push_front((Duration::ZERO, message));
        }
        let after = last_up.elapsed();
        if after >= PATIENCE {
            let (host, port) = (share.link.host.clone(), share.link.port);
            return Err(SimError::Unreachable { host, port, after, reason: reason.to_string() });
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    Ok(())
}

fn settled(message: &Message, counter: &std::sync::atomic::AtomicU64, counters: &Counters) {
    let reports = message.reports.len() as u64;
    Counters::add(counter, reports);
    counters.waiting.fetch_sub(reports, Ordering::Relaxed);
}

fn send_due(link: &mut Link, messages: &mut VecDeque<(Duration, Message)>, began: Instant, counters: &Counters) {
    while link.has_room() && messages.front().is_some_and(|(due, _)| *due <= began.elapsed()) {
        let Some((due, message)) = messages.pop_front() else { return };
        Counters::add(&counters.messages, 1);
        if let Err(message) = link.send(message) {
            messages.push_front((due, message));
            return;
        }
    }
}
