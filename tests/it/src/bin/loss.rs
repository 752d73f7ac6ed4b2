//! `./dev loss`: kills and cuts real processes under load, and counts what was acknowledged, stored, doubled and lost.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check fails by panicking")]

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use it::{
    database::Engine,
    loss::{Plan, Tally, Way, outage, run},
};

/// Kills hub, Mosquitto and PostgreSQL at random under load, cuts networks, makes the disk slow and full, and counts in
/// the store what devices saw acknowledged: each way in on each database.
#[derive(Parser)]
#[command(name = "loss")]
struct Arguments {
    /// Decides what breaks when; the same seed breaks the same in the same order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many processes to kill, over all combinations.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// How many devices publish.
    #[arg(long, default_value_t = 6)]
    devices: usize,
    /// Only this way in.
    #[arg(long, value_parser = way)]
    way: Option<Way>,
    /// Instead: keep PostgreSQL away for so many seconds, once, while people are shut in.
    #[arg(long, value_name = "SECONDS")]
    outage: Option<u64>,
}

fn way(text: &str) -> Result<Way, String> {
    match text {
        "front-door" => Ok(Way::FrontDoor),
        "mosquitto" => Ok(Way::Mosquitto),
        other => Err(format!("\"{other}\" is neither front-door nor mosquitto")),
    }
}

fn main() -> ExitCode {
    let Arguments { seed, kills, devices, way, outage } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(seconds) = outage {
        let report = runtime.block_on(outage::run(Duration::from_secs(seconds), devices));
        println!("{report}");
        return if report.lost() + report.duplicate == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut combinations = vec![
        (Engine::Sqlite, Way::FrontDoor),
        (Engine::Postgres, Way::FrontDoor),
        (Engine::Sqlite, Way::Mosquitto),
        (Engine::Postgres, Way::Mosquitto),
    ];
    combinations.retain(|(_, one)| way.is_none_or(|way| way == *one));
    let kills = kills.div_ceil(combinations.len());
    let mut tallies = Vec::new();
    for (engine, way) in combinations {
        let tally = runtime.block_on(run(Plan { seed, engine, way, kills, devices }));
        println!("{tally}\n");
        tallies.push(tally);
    }
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    println!(
        "{} kills: acknowledged {}, stored {}, duplicate {}, lost {}, lost by the killed broker {}",
        sum(|tally| tally.kills()),
        sum(|tally| tally.acknowledged),
        sum(|tally| tally.stored),
        sum(|tally| tally.duplicate),
        sum(|tally| tally.lost),
        sum(|tally| tally.broker_lost)
    );
    if sum(|tally| tally.lost + tally.duplicate) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
