//! Acknowledged means stored, once: real processes under load, killed and cut off at random, and a count at the end.
//!
//! Devices publish counted messages and remember which were acknowledged. Meanwhile the hub, its broker and its database
//! are killed (`kill -9`), networks are cut, and the disk becomes slow or full, as the seed says. In the end everything
//! is mended, and what the store has is compared with what the devices were told.

pub mod bed;
pub mod disk;
pub mod outage;
pub mod publisher;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bed::{Bed, Fault};
use firmware_sim::dice::Dice;
use publisher::{Book, Publisher};
use tokio::task::JoinSet;

use crate::{database::Engine, hub::SECRET, stories};

/// How long a hub may need to store what it has acknowledged, once everything is mended.
const CATCH_UP: Duration = Duration::from_secs(120);
/// How long an acknowledgement may be on its way to the device after its sender was killed.
const UNDER_WAY: Duration = Duration::from_millis(100);
/// How long to wait for what only Mosquitto can have lost.
const VAIN: Duration = Duration::from_secs(10);

/// How messages come to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Straight into the embedded broker.
    FrontDoor,
    /// Through Mosquitto, its persistence on.
    Mosquitto,
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides what breaks when.
    pub seed: u64,
    /// The database.
    pub engine: Engine,
    /// The way in.
    pub way: Way,
    /// How many processes to kill.
    pub kills: usize,
    /// How many devices publish.
    pub devices: usize,
}

/// What came of it.
pub struct Tally {
    plan: Plan,
    /// How often what broke.
    pub faults: BTreeMap<Fault, usize>,
    /// How often the hub ended by itself and was started again.
    pub ended: usize,
    /// Messages whose acknowledgement a device has seen.
    pub acknowledged: usize,
    /// Messages that the store has.
    pub stored: usize,
    /// Messages that the store has more than once.
    pub duplicate: usize,
    /// Acknowledged messages that the store does not have.
    pub lost: usize,
    /// Acknowledged messages that Mosquitto lost: it was killed after it had acknowledged them, and the hub, as the line
    /// between the two shows, never took them over.
    pub broker_lost: usize,
    /// From the last repair until everything was stored.
    pub caught_up_after: Duration,
    took: Duration,
}

impl Tally {
    fn new(plan: Plan, history: &[Step]) -> Self {
        let mut faults = BTreeMap::new();
        let mut ended = 0;
        for (_, done) in history {
            match done {
                Done::Broke(fault) => *faults.entry(*fault).or_insert(0) += 1,
                Done::Revived { killed } => ended += usize::from(!killed),
                Done::Mended(_) => {}
            }
        }
        Self {
            plan,
            faults,
            ended,
            acknowledged: 0,
            stored: 0,
            duplicate: 0,
            lost: 0,
            broker_lost: 0,
            caught_up_after: Duration::ZERO,
            took: Duration::ZERO,
        }
    }

    /// How many processes were killed.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.faults.iter().filter(|(fault, _)| fault.is_kill()).map(|(_, times)| times).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, engine, way, .. } = self.plan;
        let faults: Vec<String> = self.faults.iter().map(|(fault, times)| format!("{fault:?} {times}")).collect();
        writeln!(f, "{way:?} on {engine:?}, seed {seed}: {} kills in {:.0?}", self.kills(), self.took)?;
        writeln!(f, "  {}; the hub ended by itself {} times", faults.join(", "), self.ended)?;
        write!(
            f,
            "  acknowledged {}, stored {}, duplicate {}, lost {}, lost by the killed broker {}; caught up after {:.1?}",
            self.acknowledged, self.stored, self.duplicate, self.lost, self.broker_lost, self.caught_up_after
        )
    }
}

/// A device and what it was told.
type Told = (String, Arc<Book>);

/// Runs a plan.
///
/// # Panics
/// If something does not start, or the devices never get everything acknowledged.
pub async fn run(plan: Plan) -> Tally {
    let started = Instant::now();
    let names: Vec<String> = (1..=plan.devices).map(|n| format!("count-{n}")).collect();
    let mut bed = Bed::start(plan.engine, plan.way, &names, "").await;
    let mut tasks = JoinSet::new();
    let base_ms = stories::now_ms() - 12 * 3_600_000;
    let secret = (plan.way == Way::FrontDoor).then(|| SECRET.to_owned());
    let start = |name: &String| {
        let publisher = Publisher { device: name.clone(), secret: secret.clone(), address: bed.door, base_ms };
        (name.clone(), publisher.start(&mut tasks))
    };
    let told: Vec<Told> = names.iter().map(start).collect();

    let history = break_things(&plan, &mut bed).await;
    told.iter().for_each(|(_, book)| book.stop());
    let mended = Instant::now();
    let drained = tokio::time::timeout(CATCH_UP, async { while tasks.join_next().await.is_some() {} }).await;
    assert!(drained.is_ok(), "the devices do not get everything acknowledged:\n{}", bed.hub.log());

    let mut tally = Tally::new(plan, &history);
    tally.acknowledged = told.iter().map(|(_, book)| book.acknowledged().len()).sum();
    let missing = loop {
        let missing = count(&bed, &told, &mut tally);
        let in_vain = missing.iter().all(|missed| is_the_brokers(missed, &bed, &history)) && mended.elapsed() > VAIN;
        if missing.is_empty() || in_vain || mended.elapsed() > CATCH_UP {
            break missing;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    tally.broker_lost = missing.iter().filter(|missed| is_the_brokers(missed, &bed, &history)).count();
    tally.lost = missing.len() - tally.broker_lost;
    tally.caught_up_after = mended.elapsed();
    tally.took = started.elapsed();
    explain(&missing, &history);
    tally
}

/// Something that was done, and when.
type Step = (Instant, Done);

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Broke(Fault),
    Mended(Fault),
    /// The hub was started again after it was killed, or after it had ended by itself.
    Revived {
        killed: bool,
    },
}

/// Breaks and mends, until enough processes were killed. Returns what was done.
async fn break_things(plan: &Plan, bed: &mut Bed) -> Vec<Step> {
    let mut dice = Dice::new(plan.seed, &format!("{:?} on {:?}", plan.way, plan.engine));
    let possible = bed.faults();
    let kills: Vec<Fault> = possible.iter().copied().filter(|fault| fault.is_kill()).collect();
    // Everything breaks at least once.
    let mut first = possible.clone();
    shuffle(&mut first, &mut dice);
    let (mut history, mut killed) = (Vec::new(), 0);
    while killed < plan.kills {
        pause(&mut dice, 0.2, 1.5).await;
        // Something is killed, and often something else is broken as well, before or after.
        let mut now = BTreeSet::from([kills[dice.below(kills.len())]]);
        while dice.chance(0.45) {
            now.insert(possible[dice.below(possible.len())]);
        }
        now.extend(first.pop());
        let mut now: Vec<Fault> = now.into_iter().collect();
        shuffle(&mut now, &mut dice);
        for fault in &now {
            if bed.break_it(*fault).await {
                history.push((Instant::now(), Done::Broke(*fault)));
                killed += usize::from(fault.is_kill());
            }
            pause(&mut dice, 0.0, 0.6).await;
        }
        pause(&mut dice, 0.0, 1.2).await;
        for fault in &now {
            bed.mend(*fault).await;
            history.push((Instant::now(), Done::Mended(*fault)));
        }
        if bed.revive().await {
            history.push((Instant::now(), Done::Revived { killed: now.contains(&Fault::HubKilled) }));
        }
    }
    history
}

fn shuffle(faults: &mut [Fault], dice: &mut Dice) {
    for n in (1..faults.len()).rev() {
        faults.swap(n, dice.below(n + 1));
    }
}

async fn pause(dice: &mut Dice, from_s: f64, to_s: f64) {
    tokio::time::sleep(Duration::from_secs_f64(dice.between(from_s, to_s))).await;
}

/// A message that is missing: when it was acknowledged, its device and its count.
type Missed = (Instant, String, u64);

/// The counts that the store has of a device, and in how many rows.
fn stored(bed: &Bed, device: &str) -> (HashSet<u64>, usize) {
    let rows: Vec<u64> = bed.hub.readings(device, "motor_temp_c").into_iter().filter_map(|(_, seq, _)| seq).collect();
    (rows.iter().copied().collect(), rows.len())
}

/// Compares the store with what the devices were told. Returns what is missing, by the time of its acknowledgement.
fn count(bed: &Bed, told: &[Told], tally: &mut Tally) -> Vec<Missed> {
    let mut missing = Vec::new();
    (tally.stored, tally.duplicate) = (0, 0);
    for (device, book) in told {
        let (stored, rows) = stored(bed, device);
        tally.stored += stored.len();
        tally.duplicate += rows - stored.len();
        let lost = book.acknowledged().into_iter().filter(|(seq, _)| !stored.contains(seq));
        missing.extend(lost.map(|(seq, at)| (at, device.clone(), seq)));
    }
    missing.sort();
    missing
}

/// True if Mosquitto lost it: it was killed after it had acknowledged the message, and the hub never took it over.
fn is_the_brokers((at, device, seq): &Missed, bed: &Bed, history: &[Step]) -> bool {
    let killed = |(killed, done): &Step| {
        *done == Done::Broke(Fault::BrokerKilled) && at.saturating_duration_since(*killed) < UNDER_WAY
    };
    history.iter().any(killed) && !bed.witness.saw_taken_over(device, *seq)
}

/// Tells what was done around the time of what is missing.
fn explain(missing: &[Missed], history: &[Step]) {
    let Some((first, ..)) = missing.first() else { return };
    let near = |at: Instant| missing.iter().any(|(lost, ..)| at.max(*lost) - at.min(*lost) < Duration::from_secs(5));
    let mut lines: Vec<(Instant, String)> =
        history.iter().filter(|(at, _)| near(*at)).map(|(at, done)| (*at, format!("{done:?}"))).collect();
    lines.extend(missing.iter().map(|(at, device, seq)| (*at, format!("    missing: {device} {seq}"))));
    lines.sort();
    for (at, line) in lines {
        let seconds = if at < *first { -(*first - at).as_secs_f64() } else { (at - *first).as_secs_f64() };
        println!("{seconds:9.3} {line}");
    }
}
