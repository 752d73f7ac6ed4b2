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
/// What a broker was handed so shortly before it was killed may not have been on its disk.
const BROKER_MEMORY: Duration = Duration::from_secs(2);

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
    /// Acknowledged messages that only Mosquitto can have lost: it was killed just after it had acknowledged them and
    /// did not hand them over.
    pub broker_lost: usize,
    /// From the last repair until everything was stored.
    pub caught_up_after: Duration,
    took: Duration,
}

impl Tally {
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

    let (faults, ended, broker_kills) = break_things(&plan, &mut bed).await;
    told.iter().for_each(|(_, book)| book.stop());
    let mended = Instant::now();
    let drained = tokio::time::timeout(CATCH_UP, async { while tasks.join_next().await.is_some() {} }).await;
    assert!(drained.is_ok(), "the devices do not get everything acknowledged:\n{}", bed.hub.log());

    let mut tally = Tally {
        plan,
        faults,
        ended,
        acknowledged: told.iter().map(|(_, book)| book.acknowledged().len()).sum(),
        stored: 0,
        duplicate: 0,
        lost: 0,
        broker_lost: 0,
        caught_up_after: Duration::ZERO,
        took: Duration::ZERO,
    };
    while !count(&bed, &told, &broker_kills, &mut tally) && mended.elapsed() < CATCH_UP {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tally.caught_up_after = mended.elapsed();
    if tally.lost + tally.duplicate > 0 {
        println!("the hub's log:\n{}", bed.hub.log());
    }
    tally.took = started.elapsed();
    tally
}

/// Breaks and mends, until enough processes were killed. Returns what broke how often, how often the hub ended by itself,
/// and when the broker was killed.
async fn break_things(plan: &Plan, bed: &mut Bed) -> (BTreeMap<Fault, usize>, usize, Vec<Instant>) {
    let mut dice = Dice::new(plan.seed, &format!("{:?} on {:?}", plan.way, plan.engine));
    let possible = bed.faults();
    let kills: Vec<Fault> = possible.iter().copied().filter(|fault| fault.is_kill()).collect();
    let (mut faults, mut ended, mut broker_kills) = (BTreeMap::new(), 0, Vec::new());
    let mut killed = 0;
    while killed < plan.kills {
        pause(&mut dice, 0.2, 1.5).await;
        // Something is killed, and often something else is broken as well, before or after.
        let mut now = BTreeSet::from([kills[dice.below(kills.len())]]);
        while dice.chance(0.45) {
            now.insert(possible[dice.below(possible.len())]);
        }
        let mut now: Vec<Fault> = now.into_iter().collect();
        for n in (1..now.len()).rev() {
            now.swap(n, dice.below(n + 1));
        }
        for fault in &now {
            if bed.break_it(*fault).await {
                *faults.entry(*fault).or_insert(0) += 1;
                killed += usize::from(fault.is_kill());
            }
            if *fault == Fault::BrokerKilled {
                broker_kills.push(Instant::now());
            }
            pause(&mut dice, 0.0, 0.6).await;
        }
        pause(&mut dice, 0.0, 1.2).await;
        for fault in &now {
            bed.mend(*fault).await;
        }
        if bed.revive().await && !now.contains(&Fault::HubKilled) {
            ended += 1;
        }
    }
    (faults, ended, broker_kills)
}

async fn pause(dice: &mut Dice, from_s: f64, to_s: f64) {
    tokio::time::sleep(Duration::from_secs_f64(dice.between(from_s, to_s))).await;
}

/// The counts that the store has of a device, and in how many rows.
fn stored(bed: &Bed, device: &str) -> (HashSet<u64>, usize) {
    let rows: Vec<u64> = bed.hub.readings(device, "motor_temp_c").into_iter().filter_map(|(_, seq, _)| seq).collect();
    (rows.iter().copied().collect(), rows.len())
}

/// Compares the store with what the devices were told. True if nothing is missing.
fn count(bed: &Bed, told: &[Told], broker_kills: &[Instant], tally: &mut Tally) -> bool {
    (tally.stored, tally.duplicate, tally.lost, tally.broker_lost) = (0, 0, 0, 0);
    for (device, book) in told {
        let (stored, rows) = stored(bed, device);
        tally.stored += stored.len();
        tally.duplicate += rows - stored.len();
        for (_, at) in book.acknowledged().into_iter().filter(|(seq, _)| !stored.contains(seq)) {
            let broker = broker_kills.iter().any(|kill| at <= *kill && kill.duration_since(at) < BROKER_MEMORY);
            if broker {
                tally.broker_lost += 1;
            } else {
                tally.lost += 1;
            }
        }
    }
    tally.lost + tally.broker_lost == 0
}
