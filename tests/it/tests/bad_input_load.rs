//! Every class of bad input among good readings under load: each reject is counted exactly, also when the hub is killed, and
//! every good reading is stored once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Instant,
};

use it::{
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::Mosquitto,
    raw::{Message, RawClient},
    stories::now_ms,
};
use model::RejectReason;
use serde_json::{Value, json};

/// How the messages come in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    FrontDoor,
    Mosquitto,
}

/// A message that cannot be used, or not wholly, and the rejects that it makes.
struct Bad {
    topic: Vec<u8>,
    payload: Vec<u8>,
    rejects: Vec<(RejectReason, u64)>,
}

/// Every class of bad input that a lift can send this way.
fn catalogue(lift: &str, way: Way) -> Vec<Bad> {
    use RejectReason as Why;
    let now = now_ms();
    let mut all = Vec::new();
    let mut add = |topic: &str, payload: Vec<u8>, rejects: &[(Why, u64)]| {
        all.push(Bad { topic: topic.as_bytes().to_vec(), payload, rejects: rejects.to_vec() });
    };
    let telemetry = format!("liftline/{lift}/telemetry");
    let events = format!("liftline/{lift}/events");
    let status = format!("liftline/{lift}/status");
    let values = |values: Value| json!({ "ts": now, "values": values }).to_string().into_bytes();
    let at = |ts: Value| json!({ "ts": ts, "values": { "motor_temp_c": 1 } }).to_string().into_bytes();
    // Not JSON: nothing at all, cut off, two documents, not UTF-8, NaN, nested without end.
    for payload in [
        b"".to_vec(),
        b"not json".to_vec(),
        b"{\"ts\":1,\"values\":{".to_vec(),
        b"{\"values\":{\"motor_temp_c\":1}}{\"values\":{\"motor_temp_c\":1}}".to_vec(),
        b"{\"values\":{\"controller_code\":\"\xff\xfe\"}}".to_vec(),
        b"{\"values\":{\"motor_temp_c\":NaN}}".to_vec(),
        [b"{\"x\":".to_vec(), b"[".repeat(5_000)].concat(),
    ] {
        add(&telemetry, payload, &[(Why::NotJson, 1)]);
    }
    add(&events, b"alarm".to_vec(), &[(Why::NotJson, 1)]);
    add(&status, b"dunno".to_vec(), &[(Why::NotJson, 1)]);
    for payload in
        ["[]", "7", "null", "\"text\"", "{\"ts\":1}", "{\"motor_temp_c\":1}", "{\"values\":{}}", "{\"values\":[1]}"]
    {
        add(&telemetry, payload.into(), &[(Why::WrongShape, 1)]);
    }
    add(&telemetry, b"[1,2,3]".to_vec(), &[(Why::WrongShape, 3)]);
    add(&events, b"{\"ts\":1}".to_vec(), &[(Why::WrongShape, 1)]);
    add(&status, b"{\"ts\":1}".to_vec(), &[(Why::WrongShape, 1)]);
    for channel in [
        json!({ "motor_temp_c": "hot" }),
        json!({ "motor_temp_c": true }),
        json!({ "motor_temp_c": [1] }),
        json!({ "door_zone": "yes" }),
        json!({ "door_state": "ajar" }),
        json!({ "door_state": 99 }),
    ] {
        add(&telemetry, values(channel), &[(Why::WrongType, 1)]);
    }
    add(&telemetry, at(json!("yesterday")), &[(Why::WrongType, 1)]);
    let deep = [b"{\"values\":{\"motor_temp_c\":".to_vec(), b"[".repeat(5000), b"]".repeat(5000), b"}}".to_vec()];
    add(&telemetry, deep.concat(), &[(Why::WrongType, 1)]);
    // A unit that measures something else.
    let volts = json!([{ "n": "motor_temp_c", "u": "V", "v": 5 }]).to_string();
    add(&format!("liftline/{lift}/senml"), volts.into_bytes(), &[(Why::WrongType, 1)]);
    add(&telemetry, values(json!({ "warp_factor": 9 })), &[(Why::UnknownChannel, 1)]);
    // Many at once: so many are told one by one, and the others together, but counted each.
    let many: serde_json::Map<_, _> = (0..40).map(|n| (format!("x{n}"), json!(n))).collect();
    add(&telemetry, values(many.into()), &[(Why::UnknownChannel, 40)]);
    add(&events, json!({ "ts": now, "code": "alarm_buton" }).to_string().into(), &[(Why::UnknownEvent, 1)]);
    for channel in [json!({ "motor_temp_c": 4000 }), json!({ "motor_temp_c": -1e300 })] {
        add(&telemetry, values(channel), &[(Why::OutOfRange, 1)]);
    }
    for ts in [now + 3_600_000, now / 1000, now * 1000, -1, 915_000_000_000, i64::MAX] {
        add(&telemetry, at(json!(ts)), &[(Why::FutureTimestamp, 1)]);
    }
    add(&telemetry, vec![b' '; 256 * 1024 + 1], &[(Why::TooLarge, 1)]);
    add(&format!("liftline/{lift}/commands/7/result"), b"{\"state\":\"applied\"}".to_vec(), &[(Why::BadTopic, 1)]);
    add("liftline/lift-99/telemetry", values(json!({ "motor_temp_c": 1 })), &[(Why::UnknownDevice, 1)]);
    match way {
        Way::FrontDoor => {
            add(&format!("liftline/{lift}/telemtry"), b"{}".to_vec(), &[(Why::BadTopic, 1)]);
            add("elsewhere", b"{}".to_vec(), &[(Why::BadTopic, 1)]);
            add("v1/devices/me/claim", b"{}".to_vec(), &[(Why::BadTopic, 1)]);
            add("spBv1.0/plant/DDATA/only", b"".to_vec(), &[(Why::BadTopic, 1)]);
            add("liftline/pump-1/telemetry", values(json!({ "motor_temp_c": 1 })), &[(Why::Forbidden, 1)]);
        }
        Way::Mosquitto => add("liftline/li!ft/telemetry", b"{}".to_vec(), &[(Why::BadTopic, 1)]),
    }
    all
}

/// What one lift sends: good readings, each with its own time and count, a bad message after every few, some of the good
/// ones twice, and some that are good but for one value. Counts on in `seq`; adds what is rejected to `expected`.
fn talk(lift: &str, catalogue: &[Bad], good: u64, seq: &mut u64, expected: &mut Expected) -> Vec<Message> {
    let base = now_ms() - 900_000;
    let topic = format!("liftline/{lift}/telemetry").into_bytes();
    let mut messages = Vec::new();
    let mut bad = catalogue.iter().cycle();
    for n in 0..good {
        *seq += 1;
        let mut values = json!({ "car_load_kg": *seq % 500 });
        if n % 11 == 0 {
            values["unheard_of"] = json!(1);
            expected.add(RejectReason::UnknownChannel, 1);
        }
        let ts = base + i64::try_from(*seq).unwrap();
        let message = (topic.clone(), json!({ "ts": ts, "seq": *seq, "values": values }).to_string().into_bytes());
        if n % 7 == 3 && n % 11 != 0 {
            messages.push(message.clone());
        }
        messages.push(message);
        if n % 3 == 0
            && let Some(Bad { topic, payload, rejects }) = bad.next()
        {
            messages.push((topic.clone(), payload.clone()));
            rejects.iter().for_each(|(reason, count)| expected.add(*reason, *count));
            // Those that name no registered device are nobody's.
            let lifts = topic.starts_with(b"liftline/li!ft/") || topic.starts_with(b"liftline/lift-99/");
            expected.nobodys += u64::from(lifts);
        }
    }
    messages
}

/// The rejects that what was sent must make.
#[derive(Default)]
struct Expected {
    by_reason: BTreeMap<&'static str, u64>,
    /// Those that belong to no device.
    nobodys: u64,
}

impl Expected {
    fn add(&mut self, reason: RejectReason, count: u64) {
        *self.by_reason.entry(reason.code()).or_default() += count;
    }
}

/// Good readings that each lift sends in one go.
const GOOD: u64 = 3000;

async fn publish(way: Way, address: SocketAddr, talks: Vec<(&str, Vec<Message>)>) {
    let publishers = talks.into_iter().map(|(lift, messages)| async move {
        let login = (way == Way::FrontDoor).then_some((lift, SECRET));
        RawClient::connect_as(lift, address, login).await.publish_all(&messages).await;
    });
    futures::future::join_all(publishers).await;
}

const LIFTS: [&str; 3] = ["lift-1", "lift-2", "lift-3"];
/// Samples a minute and reason in these tests.
const SAMPLES: u64 = 20;

async fn every_class_is_counted(way: Way, engine: Engine, hub: &mut TestHub, broker: Option<&Mosquitto>, goes: u64) {
    let catalogues: Vec<_> = LIFTS.map(|lift| catalogue(lift, way)).into();
    let (mut seqs, mut expected) = ([0; LIFTS.len()], Expected::default());
    let (mut last, started) = (BTreeMap::new(), Instant::now());
    for go in 0..goes {
        let before = expected.by_reason.clone();
        let talks: Vec<_> = LIFTS
            .into_iter()
            .enumerate()
            .map(|(index, lift)| (lift, talk(lift, &catalogues[index], GOOD, &mut seqs[index], &mut expected)))
            .collect();
        let sent: usize = talks.iter().map(|(_, messages)| messages.len()).sum();
        let address = broker.map_or_else(|| hub.mqtt.unwrap(), |broker| ([127, 0, 0, 1], broker.port).into());
        let began = Instant::now();
        publish(way, address, talks).await;
        println!("{engine:?}: {sent} messages acknowledged in {:?}", began.elapsed());
        last = expected.by_reason.iter().map(|(code, count)| (*code, count - before.get(code).unwrap_or(&0))).collect();
        if go + 1 < goes {
            // Everything is acknowledged; what the recorder has not written yet it writes after the crash, and counts once.
            hub.kill().await;
            hub.restart().await;
        }
    }
    let Expected { by_reason: expected, nobodys } = expected;
    let covered: BTreeSet<_> = expected.keys().copied().collect();
    let every: BTreeSet<_> = RejectReason::ALL.iter().map(|reason| reason.code()).collect();
    let elsewhere = if way == Way::Mosquitto { vec![RejectReason::Forbidden.code()] } else { vec![] };
    assert_eq!(every.difference(&covered).copied().collect::<Vec<_>>(), elsewhere, "every reason has a bad message");

    let api = hub.api().await;
    let total: u64 = expected.values().sum();
    let page = eventually("every reject is counted", 3 * it::SOON, || async {
        let page = api.get("/api/v1/rejects?limit=500").await;
        (page["total"].as_u64().unwrap() >= total).then_some(page)
    })
    .await;
    assert_eq!(page["counts"], json!(expected));
    assert_eq!(page["total"], total);
    // Each start has a full bucket, and what a minute brings after it.
    let minutes = started.elapsed().as_secs() / 60 + 1;
    for (code, count) in &expected {
        let kept = page["kept"][code].as_u64().unwrap();
        assert!(
            kept >= SAMPLES.min(*count) / 2 && kept <= SAMPLES * (goes + minutes),
            "{code}: {kept} kept of {count}"
        );
    }
    for (code, count) in &last {
        assert_eq!(hub.metric(&format!("liftline_rejects_total{{reason=\"{code}\"}}")).await, *count, "{code}");
    }
    let good = GOOD * goes;
    for lift in LIFTS {
        let stored = eventually("every good reading is stored", 2 * it::SOON, || async {
            let stored = hub.readings(lift, "car_load_kg");
            (stored.len() as u64 >= good).then_some(stored)
        })
        .await;
        let seqs: Vec<_> = stored.iter().map(|(_, seq, _)| seq.unwrap()).collect();
        assert_eq!(seqs, (1..=good).collect::<Vec<_>>(), "{lift}: each once, and nothing else");
        assert!(stored.iter().all(|(_, seq, value)| value.parse::<u64>().unwrap() == seq.unwrap() % 500));
        assert!(hub.readings(lift, "motor_temp_c").iter().all(|(.., value)| value.is_empty()), "{lift}: nothing bad");
    }
    // Whose they are: the three sent the same, and what is of no device is nobody's.
    let devices: Vec<_> = page["devices"].as_array().unwrap().iter().map(|d| d["device"].as_str().unwrap()).collect();
    assert_eq!(BTreeSet::from_iter(devices), BTreeSet::from(LIFTS));
    let one = api.get("/api/v1/rejects?device=lift-2").await;
    assert_eq!(one["total"].as_u64().unwrap() * 3, total - nobodys);
}

fn setup(mut base: Setup) -> Setup {
    base.hub = format!("rejects_per_minute = {SAMPLES}");
    base
}

async fn through_the_front_door(engine: Engine) {
    // An unknown device can be named there only by a gateway.
    let speaks = LIFTS.map(|lift| format!("{lift} = [\"lift-99\"]\n")).concat();
    let base = Setup { extra: format!("[gateway.speaks_for]\n{speaks}"), ..Setup::default() };
    let mut hub = TestHub::start(engine, setup(base)).await;
    every_class_is_counted(Way::FrontDoor, engine, &mut hub, None, 3).await;
}

#[tokio::test]
async fn every_class_under_load_through_the_front_door_on_sqlite() {
    through_the_front_door(Engine::Sqlite).await;
}

#[tokio::test]
async fn every_class_under_load_through_the_front_door_on_postgres() {
    through_the_front_door(Engine::Postgres).await;
}

#[tokio::test]
async fn every_class_under_load_through_mosquitto() {
    let broker = Mosquitto::start().await;
    let mut hub = TestHub::listening(setup(Setup::behind(&broker))).await;
    every_class_is_counted(Way::Mosquitto, Engine::Sqlite, &mut hub, Some(&broker), 1).await;
}
