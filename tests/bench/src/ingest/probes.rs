//! How long a message takes, measured from outside while a load runs: a device of its own publishes a message every so
//! often, and a connection to the database looks when it has arrived. Likewise devices that raise an alarm.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    load::{Target, connect, payload, publish},
    servers::{PROBE, alarm_device},
    watched::{LOOK, Place, Watched},
};
use crate::report::Durations;

/// How often the probe publishes.
const EVERY: Duration = Duration::from_millis(20);
/// How often an alarm is raised.
pub const ALARM_EVERY: Duration = Duration::from_millis(100);
/// How long to wait at the end for what is still on its way.
const LAST: Duration = Duration::from_secs(60);

/// What the probes saw.
#[derive(Default)]
pub struct Latencies {
    /// From publishing to being visible in the database.
    pub stored: Durations,
    /// From publishing an alarm to its acknowledgement.
    pub acknowledged: Durations,
    /// From publishing an alarm to its alert being committed with its ticket.
    pub alerted: Durations,
    /// Messages and alarms that were not seen to the end.
    pub missing: usize,
}

/// What to probe.
pub struct Probes {
    /// Where to publish.
    pub target: Target,
    /// Where to look.
    pub place: Place,
    /// The numbers of the alarms that may be raised, one by one.
    pub alarms: std::ops::Range<usize>,
    /// How often one is raised.
    pub alarm_every: Duration,
    /// The number of the first message.
    pub first: u64,
    /// The time of message 0, in milliseconds.
    pub base_ms: i64,
}

/// Probes that run.
pub struct Running {
    asked: Arc<Asked>,
    thread: JoinHandle<anyhow::Result<Latencies>>,
}

/// What is asked of them.
#[derive(Default)]
struct Asked {
    publish_no_more: AtomicBool,
    finish: AtomicBool,
}

impl Running {
    /// Stops publishing; what is on its way is looked for further on.
    pub fn publish_no_more(&self) {
        self.asked.publish_no_more.store(true, Ordering::Relaxed);
    }

    /// Stops publishing and waits for what is on its way.
    pub fn finish(self) -> anyhow::Result<Latencies> {
        self.publish_no_more();
        self.asked.finish.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the probes panicked"))?
    }
}

impl Probes {
    /// Starts them in a thread of their own.
    pub fn start(self) -> Running {
        let asked = Arc::new(Asked::default());
        let heard = asked.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(self.run(&heard))
        });
        Running { asked, thread }
    }

    async fn run(mut self, asked: &Asked) -> anyhow::Result<Latencies> {
        let mut stream = connect(&self.target, PROBE).await?;
        let mut database = Watched::connect(&self.place).await?;
        let topic = format!("liftline/{PROBE}/telemetry");
        let (mut seen, mut latencies) = (Seen::new(self.first), Latencies::default());
        let (mut next, mut next_alarm, mut finishing) = (Instant::now(), Instant::now() + self.alarm_every, None);
        loop {
            let now = Instant::now();
            let publishing = !asked.publish_no_more.load(Ordering::Relaxed);
            if publishing && now >= next {
                let message = seen.first + seen.sent.len() as u64;
                let time_ms = self.base_ms + i64::try_from(message).unwrap_or(0) * 10;
                stream.write_all(&publish(&topic, payload(time_ms, message).as_bytes())).await?;
                seen.sent.push(now);
                next = now + EVERY;
                drain(&stream);
            }
            if publishing
                && now >= next_alarm
                && let Some(number) = self.alarms.next()
            {
                let (name, raised) = raise(&self.target, number, self.base_ms).await?;
                latencies.acknowledged.push(raised.elapsed());
                seen.alarms.insert(name, raised);
                next_alarm = now + self.alarm_every;
            }
            seen.look(&mut database, &mut latencies).await?;
            if asked.finish.load(Ordering::Relaxed) {
                let since = *finishing.get_or_insert(now);
                latencies.missing = seen.sent.len() - seen.stored + seen.alarms.len();
                if latencies.missing == 0 || since.elapsed() > LAST {
                    return Ok(latencies);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What was published and what of it has been seen.
struct Seen {
    first: u64,
    sent: Vec<Instant>,
    stored: usize,
    alarms: HashMap<String, Instant>,
    known: HashSet<String>,
}

impl Seen {
    fn new(first: u64) -> Self {
        Self { first, sent: Vec::new(), stored: 0, alarms: HashMap::new(), known: HashSet::new() }
    }

    async fn look(&mut self, database: &mut Watched, latencies: &mut Latencies) -> anyhow::Result<()> {
        if self.stored < self.sent.len() {
            let newest = u64::try_from(database.newest_probe().await?).unwrap_or(0);
            // The probe numbers its messages as the load does.
            let numbers = newest.saturating_sub(super::load::FIRST_SEQ + self.first - 1);
            let now = Instant::now();
            let until = usize::try_from(numbers)?.min(self.sent.len());
            for sent in self.sent.iter().take(until).skip(self.stored) {
                latencies.stored.push(now - *sent);
            }
            self.stored = self.stored.max(until);
        }
        if !self.alarms.is_empty() {
            let alerts = database.alerts(&mut self.known).await?;
            let now = Instant::now();
            for raised in alerts.iter().filter_map(|device| self.alarms.remove(device)) {
                latencies.alerted.push(now - raised);
            }
        }
        Ok(())
    }
}

/// Reads what acknowledgements have come; nobody looks at them.
fn drain(stream: &TcpStream) {
    let mut ignored = [0; 1024];
    while stream.try_read(&mut ignored).is_ok_and(|read| read > 0) {}
}

/// Lets a device of its own raise an alarm, and waits until it is acknowledged.
async fn raise(target: &Target, number: usize, time_ms: i64) -> anyhow::Result<(String, Instant)> {
    let name = alarm_device(number);
    let mut stream = connect(target, &name).await?;
    let payload = format!("{{\"ts\":{time_ms},\"code\":\"call_button\"}}");
    let raised = Instant::now();
    stream.write_all(&publish(&format!("liftline/{name}/events"), payload.as_bytes())).await?;
    let mut ack = [0; 4];
    stream.read_exact(&mut ack).await.context("waiting for the acknowledgement of an alarm")?;
    Ok((name, raised))
}
