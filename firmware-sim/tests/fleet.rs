//! The fleet and the replay against a broker, with connections that break.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use broker::{Broker, Published, Seen};
use firmware_sim::{
    Connections, FleetTarget, Login, Protocol, Rebase, ReplayOptions, ReplayPlan, Scenario, SimError, SimOptions,
    Speed, TruthOptions, replay, replay::Mapping, simulate,
};
use model::{Clock, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A clock that runs from a fixed time on.
struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000) + self.0.elapsed()
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(Running(Instant::now()))
}

fn target(broker: &Broker, protocol: Protocol) -> FleetTarget {
    FleetTarget {
        host: broker.address.ip().to_string(),
        port: broker.address.port(),
        prefix: "liftline".to_owned(),
        login: Login::Anonymous,
        protocol,
    }
}

fn scenario(actions: &str) -> Scenario {
    let text = format!(
        "[scenario]\nname = \"t\"\nseed = 1\nreport_every = \"1s\"\nhour = 9\n\
         [[sites]]\nname = \"T\"\nids = \"t\"\nlifts = 3\nplates_from = 1\ncalls_per_day = 2000\n{actions}"
    );
    Scenario::parse(Path::new("t.toml"), &text).unwrap()
}

/// Sequence number and time of every report on the telemetry and event topics of a device, in the order of arrival.
fn reports(seen: &Seen, device: &str) -> Vec<(u64, i64)> {
    let wanted = [format!("liftline/{device}/telemetry"), format!("liftline/{device}/events")];
    let published = seen.published.lock().unwrap();
    let messages = published.iter().filter(|message| wanted.contains(&message.topic));
    messages.flat_map(|message| of(message).into_iter().map(|report| (report.0, report.1))).collect()
}

fn of(message: &Published) -> Vec<(u64, i64)> {
    let json: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
    let list = if json.is_array() { json.as_array().unwrap().clone() } else { vec![json] };
    list.iter().map(|report| (report["seq"].as_u64().unwrap(), report["ts"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn controllers_speak_obey_and_take_leave_on_both_protocols() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let broker = Broker::bind().await;
        let (seen, target) = (broker.seen.clone(), target(&broker, protocol));
        let mut server = JoinSet::new();
        server.spawn(broker.run());
        let folder = tempfile::tempdir().unwrap();
        let truth = folder.path().join("truth.jsonl");
        let shutdown = CancellationToken::new();
        let mut options = SimOptions::new(clock(), shutdown.clone());
        options.truth = Some(TruthOptions { path: truth.clone(), acknowledgements: true });
        let scenario = scenario("");
        let story = async {
            seen.until("five reports of each lift", |seen| {
                (1..=3).all(|n| reports(seen, &format!("t-0{n}")).len() >= 5)
            })
            .await;
            let command = |id: u8, name: &str| {
                format!("{{\"id\":\"0190c2c4-0000-7000-8000-0000000000{id:02}\",\"name\":\"{name}\",\"args\":{{}}}}")
            };
            for (id, name) in [(1, "identify"), (2, "open_brake"), (1, "identify")] {
                seen.send("t-02", "liftline/t-02/commands", &command(id, name)).await;
            }
            let answers = |seen: &Seen, id: u8| {
                let topic = format!("liftline/t-02/commands/0190c2c4-0000-7000-8000-0000000000{id:02}/result");
                let states = seen.topics(&topic).into_iter().map(|message| {
                    let json: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
                    json["state"].as_str().unwrap().to_owned()
                });
                states.collect::<Vec<_>>()
            };
            seen.until("answers", |seen| answers(seen, 1).len() >= 2 && answers(seen, 2).len() >= 2).await;
            assert_eq!(answers(&seen, 2), ["delivered", "failed"]);
            shutdown.cancel();
            // The command that came twice was carried out once.
            assert_eq!(answers(&seen, 1), ["delivered", "applied"]);
        };
        let (report, ()) = tokio::join!(simulate(&scenario, &target, options), story);
        let report = report.unwrap();
        seen.until("three farewells", |seen| seen.farewells.lock().unwrap().len() == 3).await;
        assert_eq!((report.devices, report.connections, report.refused), (3, 3, 0));
        assert_eq!(report.acknowledged + report.left, report.reports);
        for n in 1..=3 {
            let device = format!("t-0{n}");
            let statuses = seen.topics(&format!("liftline/{device}/status"));
            assert!(statuses.iter().all(|status| status.retain));
            assert!(statuses[0].payload.ends_with("\"online\":true}"), "{statuses:?}");
            assert!(statuses[1].payload.ends_with("\"online\":false}"), "{statuses:?}");
            let will = seen.wills.lock().unwrap()[&device].clone();
            assert_eq!(will, (format!("liftline/{device}/status"), "offline".to_owned()));
            let sent = reports(&seen, &device);
            if n != 2 {
                // The second one's answers have numbers too, which they do not show.
                assert!(sent.iter().enumerate().all(|(i, (seq, _))| *seq == i as u64 + 1), "{sent:?}");
            }
            assert!(sent.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
        let noted: u64 = std::fs::read_to_string(&truth)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|line| line["kind"] == "acknowledged")
            .map(|line| line["seq"].as_array().unwrap().len() as u64)
            .sum();
        assert_eq!(noted, report.acknowledged);
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_in_order_with_its_time() {
    let broker = Broker::bind().await;
    let (seen, target, cut) = (broker.seen.clone(), target(&broker, Protocol::V5), broker.cut.clone());
    let mut server = JoinSet::new();
    server.spawn(broker.run());
    seen.withheld.store(9, Ordering::SeqCst);
    let shutdown = CancellationToken::new();
    let history = "[[history]]\ndevice = \"t-01\"\nspan = \"5d\"\npart = \"door\"\nfrom = 0.1\nto = 0.5\n";
    let scenario = scenario(history);
    let story = async {
        // The cut shall hit every lift, so all of them must have come.
        let ready =
            |seen: &Seen| seen.withheld.load(Ordering::SeqCst) == 0 && seen.connections.load(Ordering::SeqCst) == 3;
        seen.until("three lifts and nine unacknowledged messages", ready).await;
        cut.send_modify(|n| *n += 1);
        seen.until("every lift back", |seen| seen.connections.load(Ordering::SeqCst) >= 6).await;
        seen.until("the history", |seen| reports(seen, "t-01").iter().any(|(seq, _)| *seq > 130)).await;
        shutdown.cancel();
    };
    let (report, ()) = tokio::join!(simulate(&scenario, &target, SimOptions::new(clock(), shutdown.clone())), story);
    let report = report.unwrap();
    assert!(report.connections >= 6 && report.dropped == 0, "{report:?}");
    for n in 1..=3 {
        let device = format!("t-0{n}");
        let published = seen.published.lock().unwrap().clone();
        let mine = |message: &&Published| message.client == device && !message.topic.ends_with("status");
        // In the order of arrival, a report that is new to the broker always follows the one before it.
        let mut known = BTreeMap::new();
        for (seq, time) in published.iter().filter(mine).flat_map(of) {
            let next = known.len() as u64 + 1;
            assert!(seq <= next, "{device}: {seq} came before {next}");
            let first_time = *known.entry(seq).or_insert(time);
            assert_eq!(first_time, time, "{device}: {seq} has another time the second time");
        }
        assert!(known.values().zip(known.values().skip(1)).all(|(a, b)| a <= b));
    }
}

#[tokio::test]
async fn a_silenced_controller_loses_its_connection_and_flushes_its_buffer_when_it_returns() {
    let broker = Broker::bind().await;
    let (seen, target) = (broker.seen.clone(), target(&broker, Protocol::V311));
    let mut server = JoinSet::new();
    server.spawn(broker.run());
    let shutdown = CancellationToken::new();
    let silent = "[[actions]]\nkind = \"silent\"\nat = \"1s\"\ndevice = \"t-01\"\nfor = \"3s\"\n";
    let scenario = scenario(silent);
    let story = async {
        seen.until("the return", |seen| seen.topics("liftline/t-01/status").len() >= 2).await;
        let before = reports(&seen, "t-01").len();
        seen.until("the backlog", |seen| reports(seen, "t-01").len() >= before + 4).await;
        shutdown.cancel();
    };
    let (report, ()) = tokio::join!(simulate(&scenario, &target, SimOptions::new(clock(), shutdown.clone())), story);
    assert_eq!(report.unwrap().connections, 4);
    seen.until("three farewells", |seen| seen.farewells.lock().unwrap().len() == 3).await;
    assert_eq!(seen.farewells.lock().unwrap().iter().filter(|client| *client == "t-01").count(), 1);
    let sent = reports(&seen, "t-01");
    let mut fresh: Vec<_> = sent.clone();
    fresh.dedup_by_key(|(seq, _)| *seq);
    assert!(fresh.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{sent:?}");
}

const MAPPING: &str = r#"
[mapping]
name = "m"
site = "S"
[time]
column = "t"
[device]
id = "d{d}"
profile = "lift"
[[channels]]
column = "v"
channel = "motor_temp_c"
"#;

fn plan() -> ReplayPlan {
    let mut table = "t,d,v\n".to_owned();
    for n in 0..300 {
        table.push_str(&format!("2020-01-01T00:{:02}:{:02}Z,{},{n}\n", n / 60, n % 60, n % 5));
    }
    ReplayPlan::from_text(&Mapping::parse(Path::new("m.toml"), MAPPING).unwrap(), &table, None).unwrap()
}

#[tokio::test]
async fn a_replay_is_complete_and_in_order_though_its_connections_break() {
    for connections in [Connections::PerDevice, Connections::Shared(2)] {
        let broker = Broker::bind().await;
        let (seen, mut target, cut) = (broker.seen.clone(), target(&broker, Protocol::V5), broker.cut.clone());
        let plan = plan();
        let secrets: HashMap<_, _> = plan.devices().iter().map(|d| (d.id.clone(), format!("{}!", d.id))).collect();
        if connections == Connections::PerDevice {
            target.login = Login::PerDevice(secrets);
        }
        let mut server = JoinSet::new();
        server.spawn(broker.run());
        seen.withheld.store(40, Ordering::SeqCst);
        let clock = clock();
        let mut options = ReplayOptions::new(clock.clone(), CancellationToken::new());
        (options.connections, options.in_flight, options.speed) = (connections, 20, Speed::Max);
        let story = async {
            seen.until("forty unacknowledged messages", |seen| seen.withheld.load(Ordering::SeqCst) == 0).await;
            cut.send_modify(|n| *n += 1);
        };
        let (report, ()) = tokio::join!(replay(&plan, &target, options), story);
        let report = report.unwrap();
        assert_eq!((report.devices, report.messages, report.acknowledged, report.refused), (5, 300, 300, 0));
        for n in 0..5 {
            let mut sent = Vec::new();
            for message in seen.topics(&format!("liftline/d{n}/telemetry")) {
                let (seq, time) = of(&message)[0];
                assert!(seq as usize <= sent.len() + 1, "{seq} after {}", sent.len());
                if seq as usize == sent.len() + 1 {
                    sent.push(time);
                }
            }
            assert_eq!(sent.len(), 60);
            assert!(sent.windows(2).all(|pair| pair[1] - pair[0] == 5000));
            assert!(*sent.last().unwrap() <= clock.now().as_millis());
        }
        let logins = seen.logins.lock().unwrap().clone();
        let own = |login: &Option<(String, String)>| {
            login.as_ref().is_some_and(|(name, secret)| *secret == format!("{name}!"))
        };
        assert_eq!(logins.iter().all(own), connections == Connections::PerDevice);
    }
}

#[tokio::test]
async fn wrong_options_are_refused_before_a_connection_is_made() {
    let broker = Broker::bind().await;
    let mut target = target(&broker, Protocol::V5);
    target.login = Login::PerDevice(HashMap::new());
    let sim = simulate(&scenario(""), &target, SimOptions::new(clock(), CancellationToken::new())).await;
    assert!(matches!(sim, Err(SimError::NoSecret { device }) if device.as_str() == "t-01"));
    let shared = replay(&plan(), &target, ReplayOptions::new(clock(), CancellationToken::new())).await;
    assert!(shared.unwrap_err().to_string().contains("stopped"));
    let mut options = ReplayOptions::new(clock(), CancellationToken::new());
    options.rebase = Rebase::StartNow;
    let future = replay(&plan(), &target, options).await;
    assert!(future.unwrap_err().to_string().contains("in the future"));
    assert_eq!(broker.seen.connections.load(Ordering::SeqCst), 0);
}
