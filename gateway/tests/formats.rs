//! The formats of other platforms: each golden file of `tests/wire/formats` is a conversation and what it means.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use gateway::{Address, DecodeOptions, Decoder, Gateways, Message};
use model::{Body, Device, DeviceId, Directory, Entry, OrgId, Profile, SiteId, Timestamp, codes::CodeBook};
use serde_json::{Value as Json, json};

/// Two lifts of the profile that comes with the hub, and a gateway that is a lift by name only.
fn directory() -> Directory {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/lift.toml");
    let profile = Profile::parse(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
    let lift = |id: &str| Device {
        id: DeviceId::new(id).unwrap(),
        org: OrgId(Default::default()),
        site: SiteId(Default::default()),
        profile: profile.id.clone(),
        name: id.to_owned(),
        plate: None,
    };
    Directory {
        devices: ["lift-1", "lift-2", "gate-1"].map(lift).map(|lift| (lift.id.clone(), Arc::new(lift))).into(),
        profiles: [(profile.id.clone(), Arc::new(profile.clone()))].into(),
    }
}

fn decoder() -> Decoder {
    let gateways = Gateways::from([(DeviceId::new("gate-1").unwrap(), vec!["lift-1".to_owned(), "edge-1".to_owned()])]);
    let options = DecodeOptions {
        prefix: "liftline".to_owned(),
        max_payload: 256 * 1024,
        future_tolerance: Duration::from_secs(300),
        codes: CodeBook::default(),
    };
    Decoder::new(options, gateways)
}

fn message(case: &Json) -> Message {
    let payload = match (&case["payload_hex"], &case["payload"]) {
        (Json::String(hex), _) => {
            let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(digit).collect()
        }
        (_, Json::String(bare)) => bare.clone().into_bytes(),
        (_, json) => json.to_string().into_bytes(),
    };
    Message {
        topic: Bytes::from(case["topic"].as_str().unwrap().to_owned()),
        payload: Bytes::from(payload),
        received_at: case["received_at"].as_str().unwrap_or("2026-03-01T08:00:05Z").parse().unwrap(),
        sender: case["sender"].as_str().map(|sender| DeviceId::new(sender).unwrap()),
    }
}

fn goldens() -> Vec<(PathBuf, Json)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wire/formats");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|file| (file.clone(), serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()))
        .collect()
}

/// What a message means, without the parts that merely repeat the message.
fn told(entries: &[Entry]) -> Vec<Json> {
    let tell = |entry: &Entry| {
        let body = match &entry.body {
            Body::Reject(reject) => json!({ "Reject": { "reason": reject.reason, "detail": reject.detail } }),
            body => serde_json::to_value(body).unwrap(),
        };
        json!({ "device": entry.device, "body": body })
    };
    entries.iter().map(tell).collect()
}

fn asked(address: Address) -> Json {
    match address {
        Address::Commands(device) => json!({ "commands": device }),
        Address::Broker { topic } => json!(topic),
        Address::FrontDoor { device, topic } => json!({ "to": device, "topic": topic }),
    }
}

/// With `LIFTLINE_WRITE_GOLDEN` set, the files are written anew instead; look at the difference before committing it.
#[test]
fn every_golden_conversation_means_what_its_file_says() {
    let directory = directory();
    let goldens = goldens();
    assert!(goldens.len() >= 12, "golden files are missing");
    for (file, mut golden) in goldens {
        let mut decoder = decoder();
        let (mut entries, mut asks) = (Vec::new(), Vec::new());
        for case in golden["messages"].as_array().unwrap() {
            let message = message(case);
            entries.extend(told(&decoder.decode(&directory, &message)));
            asks.extend(decoder.take_requests(message.received_at).into_iter().map(|request| asked(request.address)));
        }
        if std::env::var_os("LIFTLINE_WRITE_GOLDEN").is_some() {
            golden["entries"] = json!(entries);
            golden["asks"] = json!(asks);
            std::fs::write(&file, serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
        }
        assert_eq!(json!(entries), golden["entries"], "{}", file.display());
        assert_eq!(json!(asks), golden["asks"], "{}", file.display());
    }
}

fn golden(name: &str) -> Json {
    goldens().into_iter().find(|(file, _)| file.file_stem().unwrap() == name).expect(name).1
}

/// What a Sparkplug node said at its birth is known again after a restart, so that its aliases still mean something.
#[test]
fn a_birth_survives_a_restart() {
    let (directory, golden) = (directory(), golden("sparkplug_life"));
    let messages: Vec<_> = golden["messages"].as_array().unwrap().iter().map(message).collect();
    let mut before = decoder();
    for message in &messages[..2] {
        let _told = before.decode(&directory, message);
    }
    let kept = before.nodes().take_changed();
    assert_eq!(kept.len(), 1, "one node, one file");
    assert!(before.nodes().take_changed().is_empty(), "nothing is kept twice");

    let mut with = decoder();
    for (_, bytes) in &kept {
        with.nodes().restore(bytes).unwrap();
    }
    assert_eq!(with.decode(&directory, &messages[2]), before.decode(&directory, &messages[2]));
    assert!(with.take_requests(messages[2].received_at).is_empty(), "nobody is asked for what is known");

    let mut without = decoder();
    let lost = without.decode(&directory, &messages[2]);
    assert!(lost.iter().all(|entry| matches!(entry.body, Body::Reject(_))), "{lost:?}");
    assert_eq!(without.take_requests(messages[2].received_at).len(), 1, "the node is asked for a new birth");
    assert!(with.nodes().restore(b"{\"id\":").is_err(), "a damaged file is an error, not a panic");
}

/// While no birth comes, a node is asked again, but not for every message.
#[test]
fn a_node_is_not_asked_for_every_message() {
    let (directory, golden) = (directory(), golden("sparkplug_unborn"));
    let mut message = message(&golden["messages"][0]);
    let (mut decoder, start, mut asked) = (decoder(), message.received_at, 0);
    for second in 0..60 {
        message.received_at = start + Duration::from_secs(second);
        let _rejects = decoder.decode(&directory, &message);
        asked += decoder.take_requests(message.received_at).len();
    }
    assert_eq!(asked, 6, "once in ten seconds");
}

/// No payload on any of these topics makes the decoder fail, and every part of it is entries or rejects.
#[test]
fn nothing_makes_the_decoder_fail() {
    let directory = directory();
    let mut decoder = decoder();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let messages: Vec<_> = goldens()
        .iter()
        .flat_map(|(_, golden)| golden["messages"].as_array().unwrap().iter().map(message).collect::<Vec<_>>())
        .collect();
    for round in 0..20_000_usize {
        let mut message = messages[round % messages.len()].clone();
        let mut payload = message.payload.to_vec();
        for _ in 0..=random() % 4 {
            if payload.is_empty() {
                break;
            }
            let at = usize::try_from(random()).unwrap() % payload.len();
            match random() % 3 {
                0 => payload[at] = random().to_le_bytes()[0],
                1 => payload.truncate(at),
                _ => payload.insert(at, random().to_le_bytes()[0]),
            }
        }
        message.payload = payload.into();
        message.received_at = Timestamp::from_millis(1_772_352_005_000 + i64::try_from(round).unwrap());
        for entry in decoder.decode(&directory, &message) {
            if let Body::Reject(reject) = entry.body {
                assert!(!reject.detail.is_empty() && reject.detail.len() < 1000, "{}", reject.detail);
            }
        }
        let _asked = decoder.take_requests(message.received_at);
    }
}

/// Whatever the format, an alarm leaves the decoder as an event: from the journal on it goes before all measurements.
#[test]
fn an_alarm_in_any_format_is_urgent_in_the_journal() {
    let alarmed = |name: &str| {
        let (directory, mut decoder) = (directory(), decoder());
        let messages: Vec<_> = golden(name)["messages"].as_array().unwrap().iter().map(message).collect();
        let entries = messages.iter().flat_map(|message| decoder.decode(&directory, message)).collect::<Vec<_>>();
        let alarms =
            entries.into_iter().filter(|entry| matches!(&entry.body, Body::Event(e) if e.code == "alarm_button"));
        alarms.map(|alarm| alarm.lane()).collect::<Vec<_>>()
    };
    for name in ["senml_every_field", "thingsboard_device", "sparkplug_life"] {
        assert_eq!(alarmed(name), [model::Lane::Events], "{name}");
    }
}

/// At an external broker the hub's requests to a ThingsBoard gateway go out on the topic of the answers.
#[test]
fn the_hubs_own_requests_to_a_gateway_mean_nothing() {
    let say = |payload: Json, sender: Json| {
        let case = json!({ "topic": "v1/gateway/rpc", "payload": payload, "sender": sender });
        told(&decoder().decode(&directory(), &message(&case)))
    };
    let id = "01890000-0000-7000-8000-000000000000";
    let request = json!({ "device": "lift-1", "data": { "id": id, "method": "identify", "params": {} } });
    assert_eq!(say(request.clone(), Json::Null), Vec::<Json>::new());
    assert_eq!(say(request, json!("gate-1")).len(), 1, "at the front door only a gateway can have said it");
    let answer = json!({ "device": "lift-1", "id": id, "data": { "result": "done" } });
    assert_eq!(say(answer, Json::Null)[0]["body"]["CommandResult"]["state"], "applied");
}
