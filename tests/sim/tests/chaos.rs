//! Many seeds of the simulation. `LIFTLINE_SIM_SEEDS` says how many; `LIFTLINE_SIM_SEED` runs one again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hub::config::LoadedProfile;
use sim::{core, fleet, fleet::Fleet, run};

/// How many seeds a normal run takes.
const SEEDS: u64 = 24;
/// How many different fleets there are: rehearsing one takes longer than running it.
const FLEETS: u64 = 6;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is \"{text}\"; give a number")))
}

/// Fleets that were rehearsed so far.
#[derive(Default)]
struct Fleets(Mutex<HashMap<u64, Arc<Fleet>>>);

impl Fleets {
    fn known(&self) -> MutexGuard<'_, HashMap<u64, Arc<Fleet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, variant: u64) -> anyhow::Result<Arc<Fleet>> {
        if let Some(known) = self.known().get(&variant) {
            return Ok(known.clone());
        }
        let fleet = Arc::new(fleet::rehearse(variant)?);
        Ok(self.known().entry(variant).or_insert(fleet).clone())
    }
}

fn one(seed: u64, calm: bool, fleets: &Fleets, profiles: &Arc<Vec<LoadedProfile>>) -> Vec<String> {
    let outcome = || {
        let fleet = fleets.get(seed % FLEETS)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run::run(seed, calm, fleet, profiles.clone()))
    };
    outcome().unwrap_or_else(|failure| vec![format!("{failure:#}")])
}

fn judge(seed: u64, findings: &[String]) -> Result<(), String> {
    if findings.is_empty() {
        return Ok(());
    }
    let shown = findings.iter().take(25).map(|finding| format!("\n  {finding}")).collect::<String>();
    Err(format!("seed {seed}: {} findings (run it again with LIFTLINE_SIM_SEED={seed}){shown}", findings.len()))
}

#[test]
fn whatever_breaks_nothing_is_lost_doubled_or_late() {
    let seeds: Vec<u64> = match setting("LIFTLINE_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=setting("LIFTLINE_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let profiles = Arc::new(core::profiles().unwrap());
    let (fleets, next) = (Fleets::default(), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(seeds.len());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let findings = one(*seed, false, &fleets, &profiles);
                    failures.lock().unwrap().extend(judge(*seed, &findings).err());
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn when_nothing_breaks_all_is_well() {
    let profiles = Arc::new(core::profiles().unwrap());
    let findings = one(0, true, &Fleets::default(), &profiles);
    judge(0, &findings).unwrap();
}
