//! `kill -9` of the hub in the middle of a story: no ticket lost or doubled, timers fire, nothing acknowledged is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeSet, HashSet},
    process::Stdio,
    time::{Duration, Instant},
};

use it::{
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::{Mosquitto, paho, python},
    phones::Phones,
    stories,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

const TOM: &str = "+15550100001";
const STATION: &str = "+15550100002";
const FIRE: &str = "+15550100003";

/// Ten seconds a level, the shortest wait that a policy may have.
const FAST: &str = "[desk.entrapment]\nsteps = [{ level = \"maintainer\", wait = \"10s\" }, { level = \"station\", wait = \"10s\" }, \
    { level = \"fire_service\", wait = \"10s\" }]\nclose_when_restored = true\ntell_subscribers = true\n";

async fn in_mid_story(engine: Engine) {
    let phones = Phones::start().await;
    let mut hub =
        TestHub::start(engine, Setup { extra: format!("{}{FAST}", phones.config()), ..Setup::default() }).await;
    phones.network.set_hub_url(&format!("http://{}", hub.web));
    let api = hub.api().await;
    paho(hub.mqtt.unwrap().port(), "5", ("lift-1", SECRET), &stories::shut_in("lift-1")).await.unwrap();
    let before = eventually("a ticket", it::SOON, || async { api.tickets("open", "entrapment").await.pop() }).await;
    phones.sms(TOM, "Lift 1", it::SOON).await;
    hub.kill().await;
    hub.restart().await;

    let api = hub.api().await;
    let tickets = api.tickets("all", "entrapment").await;
    assert_eq!(tickets.len(), 1, "not lost, not doubled");
    assert_eq!(tickets[0]["id"], before["id"]);
    // The timer that ran when the hub died fires, and the one after it; each level is called once.
    phones.sms(STATION, "Lift 1", Duration::from_secs(30)).await;
    hub.kill().await;
    hub.restart().await;
    phones.sms(FIRE, "Lift 1", Duration::from_secs(30)).await;
    for number in [TOM, STATION, FIRE] {
        let pages = phones.network.inbox(number).iter().filter(|sms| sms.body.contains("Lift 1")).count();
        assert_eq!(pages, 1, "{number} was called once");
    }
    let api = hub.api().await;
    assert_eq!(api.tickets("all", "entrapment").await.len(), 1);
    // What raised the ticket is still known: the lift ends it.
    paho(hub.mqtt.unwrap().port(), "5", ("lift-1", SECRET), &stories::let_out("lift-1")).await.unwrap();
    eventually("the ticket ends", it::SOON, || async { api.tickets("closed", "entrapment").await.pop() }).await;
}

#[tokio::test]
async fn in_mid_story_on_sqlite() {
    in_mid_story(Engine::Sqlite).await;
}

#[tokio::test]
async fn in_mid_story_on_postgres() {
    in_mid_story(Engine::Postgres).await;
}

/// The sequence numbers that are stored for a device, each as often as it is stored.
fn stored(hub: &TestHub, device: &str) -> Vec<u64> {
    hub.readings(device, "motor_temp_c").into_iter().filter_map(|(_, seq, _)| seq).collect()
}

/// Waits until everything acknowledged is stored; returns all that is.
async fn all_stored(hub: &TestHub, device: &str, acknowledged: &HashSet<u64>) -> Vec<u64> {
    let started = Instant::now();
    loop {
        let stored = stored(hub, device);
        let missing: BTreeSet<u64> = acknowledged.iter().copied().filter(|seq| !stored.contains(seq)).collect();
        if missing.is_empty() {
            return stored;
        }
        assert!(
            started.elapsed() < it::SOON,
            "{} of {} acknowledged messages are missing: {missing:?}\n{}",
            missing.len(),
            acknowledged.len(),
            hub.log()
        );
    }
}

/// Publishes counted messages with paho as fast as they are acknowledged until the connection breaks or `limit` is
/// reached; kills the hub at the `kill_at`-th acknowledgement, if asked. Returns the acknowledged counts.
async fn publish_counted(
    port: u16,
    login: (&str, &str),
    from: u64,
    limit: u64,
    mut kill: Option<(u64, &mut TestHub)>,
) -> HashSet<u64> {
    let mut child = Command::new(python())
        .arg(it::root().join("tests/it/peers/paho_count.py"))
        .args([
            "127.0.0.1",
            &port.to_string(),
            login.0,
            login.1,
            &from.to_string(),
            &limit.to_string(),
            &stories::now_ms().to_string(),
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = HashSet::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        acknowledged.insert(line.parse().unwrap());
        if let Some((_, hub)) = kill.take_if(|(at, _)| acknowledged.len() as u64 >= *at) {
            hub.kill().await;
        }
    }
    acknowledged
}

async fn nothing_acknowledged_is_missing(engine: Engine) {
    let mut hub = TestHub::start(engine, Setup::default()).await;
    let mut acknowledged = HashSet::new();
    for round in 0..5u64 {
        let port = hub.mqtt.unwrap().port();
        let from = round * 100_000;
        let seen =
            publish_counted(port, ("lift-1", SECRET), from, from + 50_000, Some((40 + 31 * round, &mut hub))).await;
        assert!(!seen.is_empty());
        acknowledged.extend(seen);
        hub.restart().await;
    }
    let stored = all_stored(&hub, "lift-1", &acknowledged).await;
    let unique: HashSet<u64> = stored.iter().copied().collect();
    println!(
        "acknowledged {}, stored {}, duplicate {}, lost 0",
        acknowledged.len(),
        stored.len(),
        stored.len() - unique.len()
    );
    assert_eq!(unique.len(), stored.len(), "stored once");
}

#[tokio::test]
async fn nothing_acknowledged_is_missing_on_sqlite() {
    nothing_acknowledged_is_missing(Engine::Sqlite).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_missing_on_postgres() {
    nothing_acknowledged_is_missing(Engine::Postgres).await;
}

/// Through an external broker: it keeps what arrives while the hub is dead.
#[tokio::test]
async fn nothing_is_missing_behind_mosquitto() {
    let broker = Mosquitto::start().await;
    let mut hub = TestHub::behind(&broker).await;
    let mut acknowledged = publish_counted(broker.port, ("", ""), 0, 300, Some((100, &mut hub))).await;
    acknowledged.extend(publish_counted(broker.port, ("", ""), 1000, 1300, None).await);
    hub.restart().await;
    acknowledged.extend(publish_counted(broker.port, ("", ""), 2000, 2100, None).await);
    assert_eq!(acknowledged.len(), 700);
    let found = all_stored(&hub, "lift-1", &acknowledged).await;
    assert_eq!(found.len(), 700, "stored once");
}

/// A second hub on the same folder ends at once and says why.
#[tokio::test]
async fn a_second_hub_is_refused() {
    let hub = TestHub::start(Engine::Sqlite, Setup::default()).await;
    let other = hub.folder().join("other.toml");
    std::fs::write(&other, "[hub]\ndata_dir = \"data\"\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let (ok, _, err) = it::hub::run_liftline(hub.folder(), &["serve", "--config", "other.toml"], "");
    assert!(!ok);
    assert!(err.contains("journal") && err.contains("another"), "{err}");
}
