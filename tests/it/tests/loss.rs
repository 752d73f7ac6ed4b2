//! A short run of what `./dev loss` does at length: processes are killed under load, nothing acknowledged is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use it::{
    database::Engine,
    loss::{Plan, Tally, Way, run},
};

async fn nothing_is_lost(engine: Engine, way: Way) -> Tally {
    let tally = run(Plan { seed: 1, engine, way, kills: 5, devices: 4 }).await;
    println!("{tally}");
    assert!(tally.acknowledged > 0);
    assert_eq!((tally.lost, tally.duplicate), (0, 0), "{tally}");
    tally
}

// Networks go on while a command of the hub is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_the_front_door_on_sqlite() {
    nothing_is_lost(Engine::Sqlite, Way::FrontDoor).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_mosquitto_on_postgres() {
    nothing_is_lost(Engine::Postgres, Way::Mosquitto).await;
}
