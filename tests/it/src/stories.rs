//! What devices say in the tests, as they would say it.

use serde_json::json;

/// Now, in milliseconds since 1970.
///
/// # Panics
/// If the clock stands before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the hub under test runs on the wall clock")]
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// A message of a device: topic and payload.
#[must_use]
pub fn telemetry(device: &str, ts: i64, values: &serde_json::Value) -> (String, String) {
    (format!("liftline/{device}/telemetry"), json!({ "ts": ts, "values": values }).to_string())
}

/// An event of a device: topic and payload.
#[must_use]
pub fn event(device: &str, ts: i64, code: &str) -> (String, String) {
    (format!("liftline/{device}/events"), json!({ "ts": ts, "code": code }).to_string())
}

/// A car stands between floors with a person inside, doors shut; they press the button. The last message completes
/// what the rule needs: the state has then held for longer than its `for`.
#[must_use]
pub fn shut_in(device: &str) -> Vec<(String, String)> {
    let now = now_ms();
    let stuck = json!({
        "car_speed_m_s": 0.0, "door_zone": false, "door_state": "closed", "passenger_present": true, "car_load_kg": 75.0,
        "mains_present": true, "safety_chain_closed": false, "service_mode": "normal"
    });
    vec![
        telemetry(device, now - 28_000, &stuck),
        event(device, now - 26_000, "alarm_button"),
        // Before what `let_out` begins with: what comes later than later messages counts from when it comes.
        telemetry(device, now - 16_000, &stuck),
    ]
}

/// The lift brings the person to a landing, opens, and ends the alarm.
#[must_use]
pub fn let_out(device: &str) -> Vec<(String, String)> {
    let now = now_ms();
    let open = json!({
        "car_speed_m_s": 0.0, "door_zone": true, "door_state": "open", "passenger_present": false, "car_load_kg": 0.0,
        "safety_chain_closed": true
    });
    vec![
        telemetry(device, now - 15_000, &open),
        event(device, now - 14_000, "alarm_end"),
        telemetry(device, now, &open),
    ]
}

/// The device says that it is broken, or runs again.
#[must_use]
pub fn unit_state(device: &str, state: &str) -> Vec<(String, String)> {
    vec![telemetry(device, now_ms(), &json!({ "unit_state": state }))]
}
