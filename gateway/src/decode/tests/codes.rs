//! Codes of regulators and controllers, translated before the journal.

use model::{Value, codes::CodeTable};

use super::*;

const MORE: &str = r#"
[[channels]]
id = "service_mode"
name = { en = "Mode", zh = "模式" }
type = "state"
states = ["normal", "inspection"]
[[channels]]
id = "controller_code"
name = { en = "Code", zh = "代码" }
type = "text"
max_len = 8
[[events]]
code = "unknown_code"
name = { en = "Unknown code", zh = "未知代码" }
[[events]]
code = "position_lost"
name = { en = "Position lost", zh = "楼层位置丢失" }
"#;

const TABLE: &str = r#"
id = "city"
name = { en = "City", zh = "城市" }
source = "test"
[[codes]]
code = "07"
neutral = "fault.position-lost"
event = "position_lost"
name = { en = "Position lost", zh = "楼层位置丢失" }
[[codes]]
code = "09"
neutral = "event.overtravel-top"
event = "not_in_this_profile"
name = { en = "Overtravel", zh = "冲顶" }
[[states]]
channel = "service_mode"
code = "2"
neutral = "mode.inspection"
state = "inspection"
"#;

fn decoded(topic: &str, payload: &str) -> Vec<String> {
    let directory = directory();
    let profile = Profile::parse(Path::new("lift.toml"), &format!("{PROFILE}{MORE}")).unwrap();
    let directory = Directory { profiles: [(profile.id.clone(), Arc::new(profile))].into(), ..directory };
    let table = Arc::new(CodeTable::parse(TABLE).unwrap());
    let mut options = options();
    options.codes.devices.insert("lift-*".to_owned(), table);
    let message = Message {
        topic: Bytes::copy_from_slice(format!("liftline/lift-1/{topic}").as_bytes()),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        received_at: Timestamp::from_millis(NOW),
        sender: None,
    };
    let shown = |entry: Entry| match entry.body {
        Body::Event(Event { code, values, .. }) => format!("event {code} {}", values_of(&values)),
        Body::Sample(Sample { values, .. }) => format!("sample {}", values_of(&values)),
        Body::Reject(reject) => format!("{}: {}", reject.reason, reject.detail),
        other => format!("{other:?}"),
    };
    decode(&options, &directory, &message).into_iter().map(shown).collect()
}

fn values_of(values: &[(model::ChannelId, Value)]) -> String {
    values.iter().map(|(id, value)| format!("{id}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_code_becomes_the_profiles_event_and_stays_beside_it() {
    assert_eq!(decoded("events", r#"{"code":"07"}"#), ["event position_lost controller_code=07"]);
    assert_eq!(decoded("events", r#"{"code":7}"#), ["event position_lost controller_code=7"]);
    assert_eq!(decoded("events", r#"{"code":"alarm_button"}"#), ["event alarm_button "], "its own name does, too");
}

#[test]
fn an_unknown_code_is_kept_and_reported() {
    let found = decoded("events", r#"{"code":"77"}"#);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&"event unknown_code controller_code=77".to_owned()), "{found:?}");
    assert!(
        found.iter().any(|line| line.starts_with("unknown_event: the code \"77\" is not in the code set \"city\"")),
        "{found:?}"
    );
    // A table that names an event which the profile lacks: the message is kept as a reject, with the reason.
    let found = decoded("events", r#"{"code":"09"}"#);
    assert!(found[0].starts_with("unknown_event: event \"not_in_this_profile\" is not in profile"), "{found:?}");
}

#[test]
fn states_are_translated_in_telemetry() {
    assert_eq!(decoded("telemetry", r#"{"values":{"service_mode":2}}"#), ["sample service_mode=inspection"]);
    assert_eq!(decoded("telemetry", r#"{"values":{"service_mode":"normal"}}"#), ["sample service_mode=normal"]);
    let found = decoded("telemetry", r#"{"values":{"service_mode":9}}"#);
    assert!(found[0].starts_with("wrong_type: "), "{found:?}");
}
