use std::{path::Path, sync::Arc, time::Duration};

use super::*;
use bytes::Bytes;
use model::{Device, Entry, Lane, OrgId, Profile, SiteId, Timestamp};

mod codes;
mod properties;

const PROFILE: &str = r#"
[profile]
id = "lift"
name = { en = "Lift", zh = "电梯" }
version = 1
[[channels]]
id = "door_current_a"
name = { en = "Door current", zh = "门机电流" }
type = "number"
unit = "A"
range = [0.0, 20.0]
[[channels]]
id = "floor"
name = { en = "Floor", zh = "楼层" }
type = "number"
unit = "floor"
range = [-10.0, 200.0]
[[channels]]
id = "in_door_zone"
name = { en = "In door zone", zh = "在门区" }
type = "bool"
[[channels]]
id = "door"
name = { en = "Door", zh = "门" }
type = "state"
states = ["open", "closed"]
[[channels]]
id = "firmware"
name = { en = "Firmware", zh = "固件" }
type = "text"
max_len = 8
[[events]]
code = "alarm_button"
name = { en = "Alarm button", zh = "报警按钮" }
"#;

/// 2026-03-01T08:00:00Z, in milliseconds.
const NOW: i64 = 1_772_352_000_000;

fn directory() -> Directory {
    let profile = Profile::parse(Path::new("lift.toml"), PROFILE).unwrap();
    let device = Device {
        id: DeviceId::new("lift-1").unwrap(),
        org: OrgId(Default::default()),
        site: SiteId(Default::default()),
        profile: profile.id.clone(),
        name: "Lift 1".to_owned(),
        plate: None,
    };
    Directory {
        devices: [(device.id.clone(), Arc::new(device))].into(),
        profiles: [(profile.id.clone(), Arc::new(profile))].into(),
    }
}

fn options() -> DecodeOptions {
    DecodeOptions {
        prefix: "liftline".to_owned(),
        max_payload: 4096,
        future_tolerance: Duration::from_secs(300),
        codes: model::codes::CodeBook::default(),
    }
}

fn run(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, sender: Option<&str>) -> Vec<Entry> {
    let message = Message {
        topic: Bytes::copy_from_slice(topic.as_ref()),
        payload: Bytes::copy_from_slice(payload.as_ref()),
        received_at: Timestamp::from_millis(NOW),
        sender: sender.map(|name| DeviceId::new(name).unwrap()),
    };
    decode(&options(), &directory(), &message)
}

/// One line for each entry, as a reader would tell it.
fn tell(entries: &[Entry]) -> Vec<String> {
    let values = |values: &[(model::ChannelId, model::Value)]| {
        values.iter().map(|(id, value)| format!(" {id}={value}")).collect::<String>()
    };
    let seq = |seq: Option<u64>| seq.map(|seq| format!(" #{seq}")).unwrap_or_default();
    entries
        .iter()
        .map(|entry| match &entry.body {
            Body::Sample(s) => format!("sample {}{}{}", s.time.as_millis() - NOW, seq(s.seq), values(&s.values)),
            Body::Event(e) => {
                format!("event {} {}{}{}", e.time.as_millis() - NOW, e.code, seq(e.seq), values(&e.values))
            }
            Body::Status(s) => {
                format!("status {} {}", s.time.as_millis() - NOW, if s.online { "online" } else { "offline" })
            }
            Body::CommandResult(r) => format!("result {} {:?} {:?}", r.time.as_millis() - NOW, r.state, r.detail),
            Body::Reject(r) => format!("{}: {}", r.reason, r.detail),
            Body::Emergency(note) => format!("note {note}"),
        })
        .collect()
}

fn telemetry(payload: &str) -> Vec<String> {
    tell(&run("liftline/lift-1/telemetry", payload, None))
}

fn events(payload: &str) -> Vec<String> {
    tell(&run("liftline/lift-1/events", payload, None))
}

fn status(payload: &str) -> Vec<String> {
    tell(&run("liftline/lift-1/status", payload, None))
}

#[test]
fn samples_are_read_one_or_many() {
    assert_eq!(
        telemetry(
            r#"{"ts":1772351999000,"seq":7,"values":{"floor":3,"door_current_a":1.5,"in_door_zone":true,"door":"open","firmware":"1.2"}}"#
        ),
        ["sample -1000 #7 floor=3 door_current_a=1.5 in_door_zone=true door=open firmware=1.2"]
    );
    assert_eq!(telemetry(r#"{"values":{"floor":-2}}"#), ["sample 0 floor=-2"]);
    assert_eq!(
        telemetry(r#"[{"ts":1772351999000,"values":{"floor":1}},{"ts":1772352000000,"values":{"floor":2}}]"#),
        ["sample -1000 floor=1", "sample 0 floor=2"]
    );
    assert_eq!(telemetry(r#"{"ts":1772351999000.7,"seq":null,"values":{"floor":1}}"#), ["sample -1000 floor=1"]);
    assert_eq!(
        telemetry("{\"values\":{\"fl\\u006for\":1,\"floor\":2}}"),
        ["sample 0 floor=2"],
        "the last of two counts"
    );
}

#[test]
fn one_bad_value_does_not_lose_the_good_ones_beside_it() {
    assert_eq!(
        telemetry(
            r#"{"values":{"floor":3,"dor_current":1.0,"door_current_a":99,"door":"ajar","in_door_zone":"true"}}"#
        ),
        [
            "sample 0 floor=3",
            "unknown_channel: channel \"dor_current\" is not in profile \"lift\"; did you mean \"door_current_a\"?",
            "out_of_range: channel \"door_current_a\" reads 99 A, outside what is physically possible (0 to 20 A); check the sensor or the unit it sends",
            "wrong_type: channel \"door\" takes one of open, closed, not the text ajar; send the name of a state in quotes",
            "wrong_type: channel \"in_door_zone\" takes true or false, not the text true; send true or false without quotes",
        ]
    );
    assert_eq!(
        telemetry(r#"[{"values":{"floor":3}},7,{"values":{"floor":4}}]"#),
        [
            "sample 0 floor=3",
            "wrong_shape: an element of the array is the number 7; write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}",
            "sample 0 floor=4",
        ]
    );
    assert_eq!(
        telemetry(r#"{"seq":-1,"values":{"floor":3}}"#),
        [
            "sample 0 floor=3",
            "wrong_type: \"seq\" takes a whole number from 0, not the number -1; count messages upwards or leave it out",
        ]
    );
}

#[test]
fn every_class_of_bad_telemetry_has_its_sentence() {
    let check = |payload: &str, expected: &str| assert_eq!(telemetry(payload), [expected], "{payload}");
    check(
        "hello",
        "not_json: the payload is not JSON (expected value at line 1 column 1); write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}",
    );
    check(
        "",
        "not_json: the payload is not JSON (EOF while parsing a value at line 1 column 0); write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}",
    );
    check(
        r#"{"values":{"floor":NaN}}"#,
        "not_json: the payload is not JSON (expected value at line 1 column 20); JSON has no NaN or Infinity: leave such a channel out",
    );
    check(
        "{\"values\":{\"floor\":3}} x",
        "not_json: the payload is not JSON (trailing characters at line 1 column 24); write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}",
    );
    check(
        r#"{"floor":3}"#,
        "wrong_shape: \"values\" is missing; write {\"ts\":<ms>,\"values\":{\"floor\":…}}: the channels go inside \"values\"",
    );
    check(
        "{}",
        "wrong_shape: \"values\" is missing; write {\"ts\":<ms>,\"values\":{\"<channel>\":…}}: the channels go inside \"values\"",
    );
    check("[]", "wrong_shape: the array is empty; write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}");
    check("3", "wrong_shape: the payload is the number 3; write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}");
    check(
        r#"{"values":{}}"#,
        "wrong_shape: \"values\" is empty; write at least one channel, or use the topic …/status to say that the device is there",
    );
    check(
        r#"{"values":[1]}"#,
        "wrong_shape: \"values\" is a list and should be an object; write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}",
    );
    check(
        r#"{"values":{"floor":"3"}}"#,
        "wrong_type: channel \"floor\" takes a number, not the text 3; send the number without quotes",
    );
    check(
        r#"{"values":{"floor":"three"}}"#,
        "wrong_type: channel \"floor\" takes a number, not the text three; send a number",
    );
    check(
        r#"{"values":{"floor":null}}"#,
        "wrong_type: channel \"floor\" takes one value, not null; leave the channel out while it has no value",
    );
    check(
        r#"{"values":{"floor":{"v":1}}}"#,
        "wrong_type: channel \"floor\" takes one value, not an object; send one plain value",
    );
    check(
        r#"{"values":{"firmware":"123456789"}}"#,
        "wrong_type: channel \"firmware\" takes a text of at most 8 bytes, not the text 123456789; shorten it",
    );
    check(
        r#"{"values":{"in_door_zone":1}}"#,
        "wrong_type: channel \"in_door_zone\" takes true or false, not the number 1; send true or false",
    );
    check(
        r#"{"values":{"temperature":1}}"#,
        "unknown_channel: channel \"temperature\" is not in profile \"lift\"; use one of door_current_a, floor, in_door_zone, door, firmware, or add it to the profile",
    );
}

#[test]
fn a_wrong_clock_is_named() {
    let check = |ts: &str, expected: &str| {
        assert_eq!(telemetry(&format!("{{\"ts\":{ts},\"values\":{{\"floor\":1}}}}")), [expected], "{ts}")
    };
    check("1772352300000", "sample 300000 floor=1");
    check(
        "1772352300001",
        "future_timestamp: ts 1772352300001 lies 5m ahead of the hub's clock, and at most 5m is accepted; set the device's clock, for example by NTP, or leave \"ts\" out",
    );
    check("1772352000", "future_timestamp: ts 1772352000 looks like seconds; send milliseconds: 1772352000000");
    check(
        "1772352000000000",
        "future_timestamp: ts 1772352000000000 looks like microseconds; send milliseconds: 1772352000000",
    );
    check(
        "1772352000000000000",
        "future_timestamp: ts 1772352000000000000 looks like nanoseconds; send milliseconds: 1772352000000",
    );
    check(
        "12",
        "future_timestamp: ts 12 is 1970-01-01T00:00:00.012Z, before the year 2000; set the device's clock, for example by NTP, or leave \"ts\" out",
    );
    check(
        "\"2026-03-01\"",
        "wrong_type: \"ts\" takes a number of milliseconds since 1970, not the text \"2026-03-01\"; write \"ts\":1772352000000 or leave it out",
    );
    assert!(telemetry(r#"{"ts":1e300,"values":{"floor":1}}"#)[0].starts_with("future_timestamp"));
    assert!(telemetry(r#"{"ts":-9223372036854775808,"values":{"floor":1}}"#)[0].starts_with("future_timestamp"));
}

#[test]
fn events_are_read_and_an_alarm_survives_a_wrong_clock() {
    assert_eq!(
        events(r#"{"ts":1772351999000,"code":"alarm_button","seq":2,"values":{"floor":3}}"#),
        ["event -1000 alarm_button #2 floor=3"]
    );
    assert_eq!(
        events(r#"{"code":"alarm_button","values":{"flor":3}}"#),
        [
            "event 0 alarm_button",
            "unknown_channel: channel \"flor\" is not in profile \"lift\"; did you mean \"floor\"?",
        ]
    );
    assert_eq!(
        events(r#"{"code":"alarm_buton"}"#),
        ["unknown_event: event \"alarm_buton\" is not in profile \"lift\"; did you mean \"alarm_button\"?"]
    );
    assert_eq!(events(r#"{"ts":1}"#), ["wrong_shape: \"code\" is missing; write {\"ts\":<ms>,\"code\":\"<event>\"}"]);
    assert_eq!(
        events(r#"{"code":4}"#),
        ["unknown_event: event \"4\" is not in profile \"lift\"; use one of alarm_button, or add it to the profile"]
    );
    assert_eq!(
        events(r#"{"ts":1772352000,"code":"alarm_button"}"#),
        [
            "future_timestamp: ts 1772352000 looks like seconds; send milliseconds: 1772352000000; the event itself was kept with the time of receipt",
            "event 0 alarm_button",
        ]
    );
    assert!(
        run("liftline/lift-1/events", r#"{"code":"alarm_button"}"#, None)
            .iter()
            .all(|entry| entry.lane() == Lane::Events)
    );
}

#[test]
fn a_status_is_bare_or_json() {
    assert_eq!(status("online"), ["status 0 online"]);
    assert_eq!(status(" offline\n"), ["status 0 offline"]);
    assert_eq!(status(r#""offline""#), ["status 0 offline"]);
    assert_eq!(status(r#"{"ts":1772351999000,"online":true}"#), ["status -1000 online"]);
    assert_eq!(status(""), Vec::<String>::new(), "clears a retained message");
    assert_eq!(
        status("gone"),
        [
            "not_json: the payload is not JSON (expected value at line 1 column 1); write online, offline or {\"ts\":<ms>,\"online\":true}"
        ]
    );
    assert_eq!(
        status(r#"{"online":"yes"}"#),
        [
            "wrong_type: \"online\" takes true or false, not the text \"yes\"; write online, offline or {\"ts\":<ms>,\"online\":true}"
        ]
    );
    assert_eq!(
        status("{}"),
        ["wrong_shape: \"online\" is missing; write online, offline or {\"ts\":<ms>,\"online\":true}"]
    );
    assert_eq!(
        status("1"),
        ["wrong_shape: the payload is the number 1; write online, offline or {\"ts\":<ms>,\"online\":true}"]
    );
    assert_eq!(status(r#"{"ts":9,"online":false}"#)[1], "status 0 offline");
}

#[test]
fn a_command_result_answers_its_command() {
    let id = "0190c2c4-0000-7000-8000-000000000000";
    let result = |payload: &str| tell(&run(format!("liftline/lift-1/commands/{id}/result"), payload, None));
    assert_eq!(result(r#"{"ts":1772351999000,"state":"applied"}"#), ["result -1000 Applied None"]);
    assert_eq!(result(r#"{"state":"failed","detail":"door blocked"}"#), ["result 0 Failed Some(\"door blocked\")"]);
    assert_eq!(
        result(r#"{"state":"expired"}"#),
        [
            "wrong_shape: \"state\" is the text \"expired\"; write {\"ts\":<ms>,\"state\":\"applied\"} with the state delivered, applied or failed"
        ]
    );
    assert_eq!(
        result("{}"),
        [
            "wrong_shape: \"state\" is missing; write {\"ts\":<ms>,\"state\":\"applied\"} with the state delivered, applied or failed"
        ]
    );
    assert_eq!(
        tell(&run("liftline/lift-1/commands/7/result", "{}", None)),
        ["bad_topic: \"7\" is not a command id: a UUID such as 0190c2c4-0000-7000-8000-000000000000 is expected"]
    );
}

#[test]
fn a_message_that_is_nobodys_is_kept_with_its_reason() {
    let one = |entries: Vec<Entry>| {
        let [entry] = entries.try_into().unwrap();
        (entry.device.as_ref().map(ToString::to_string), tell(&[entry]).remove(0))
    };
    assert_eq!(one(run("liftline/lift-9/telemetry", "{}", None)), (None,
        "unknown_device: no device \"lift-9\" is registered; import it with liftline device import FILE.csv, or let unknown devices enrol themselves with auto_register".to_owned()));
    assert_eq!(one(run("liftline/lift-1/telemetry", "{}", Some("lift-2"))), (None,
        "forbidden: the device \"lift-2\" published under the name of \"lift-1\"; a device may publish only under liftline/lift-2/…, and a gateway for the devices given to it in gateway.speaks_for".to_owned()));
    assert_eq!(
        one(run("liftline/lift-2/telemetry", "{}", Some("lift-1"))).0,
        Some("lift-1".to_owned()),
        "the offender is named"
    );
    assert_eq!(
        one(run("liftline/lift-1/telemetry", "x".repeat(4097), None)),
        (
            Some("lift-1".to_owned()),
            "too_large: the payload has 4097 bytes and at most 4096 are accepted; send fewer values in one message"
                .to_owned()
        )
    );
    assert_eq!(
        one(run(b"liftline/lift-1/\xff", "{}", None)).1,
        "bad_topic: the topic is not valid UTF-8; use letters, digits and . _ : - in topic names"
    );
    assert_eq!(one(run("liftline/lift-1/telemtry", "{}", None)).0, Some("lift-1".to_owned()));
    assert!(
        one(run("liftline/lift 1/telemetry", "{}", None))
            .1
            .starts_with("bad_topic: the topic names no usable device: ")
    );
    assert!(
        one(run("other", "{}", Some("lift-1"))).1.starts_with("bad_topic: the topic does not begin with \"liftline/\"")
    );
}

#[test]
fn what_is_kept_of_a_message_is_bounded() {
    let many: Vec<_> = (0..300).map(|n| format!("\"x{n}\":1")).collect();
    let entries = run("liftline/lift-1/telemetry", format!("{{\"values\":{{{}}}}}", many.join(",")), None);
    assert_eq!(entries.len(), MAX_REJECTS + 1);
    assert_eq!(
        tell(&entries)[MAX_REJECTS],
        "unknown_channel: 268 more parts of this message were rejected; correct those named first"
    );
    let parts = entries.iter().map(|entry| match &entry.body {
        Body::Reject(reject) => reject.parts,
        body => panic!("{body:?} is no reject"),
    });
    assert_eq!(parts.sum::<u32>(), 300, "every part is counted");
    let Body::Reject(reject) = &entries[0].body else { panic!("a reject") };
    assert_eq!(reject.payload.len(), Reject::MAX_PAYLOAD);
    let long = run(format!("liftline/{}", "y".repeat(60_000)), "{}", None);
    let Body::Reject(reject) = &long[0].body else { panic!("a reject") };
    assert!(reject.topic.chars().count() <= MAX_TOPIC && reject.detail.len() < 400);
}

/// The payloads that the simulated controllers and this crate agree on: see tests/wire/README.md.
#[test]
fn golden_payloads_mean_what_the_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wire");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() >= 8, "golden files are missing from {}", folder.display());
    for file in files {
        let case: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let payload = match &case["payload"] {
            serde_json::Value::String(bare) => bare.clone(),
            json => json.to_string(),
        };
        let mut options = options();
        options.max_payload = 256 * 1024;
        let message = Message {
            topic: Bytes::from(case["topic"].as_str().unwrap().to_owned()),
            payload: Bytes::from(payload),
            received_at: case["received_at"].as_str().unwrap().parse().unwrap(),
            sender: None,
        };
        let directory = golden_directory(&message.topic);
        let entries = decode(&options, &directory, &message);
        let expected: Vec<Entry> = serde_json::from_value(case["entries"].clone()).unwrap();
        assert_eq!(entries, expected, "{}", file.display());
    }
}

/// A directory in which the topic's device is a lift of the profile that comes with the hub.
fn golden_directory(topic: &[u8]) -> Directory {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/lift.toml");
    let profile = Profile::parse(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut directory = directory();
    let mut device = Device::clone(&directory.devices["lift-1"]);
    device.id = topic::device("liftline", topic).unwrap();
    device.profile = profile.id.clone();
    directory.devices = [(device.id.clone(), Arc::new(device))].into();
    directory.profiles = [(profile.id.clone(), Arc::new(profile))].into();
    directory
}
