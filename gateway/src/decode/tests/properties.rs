//! What holds for every input.

use proptest::prelude::*;

use super::*;

fn json() -> impl Strategy<Value = serde_json::Value> {
    let name = prop_oneof![
        Just("ts"),
        Just("seq"),
        Just("values"),
        Just("code"),
        Just("online"),
        Just("state"),
        Just("detail"),
        Just("floor"),
        Just("door"),
        Just("alarm_button"),
        Just("open"),
        Just("x")
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        name.clone().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn topics() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            "telemetry",
            "events",
            "status",
            "commands/0190c2c4-0000-7000-8000-000000000000/result",
            "commands"
        ])
        .prop_map(|leaf| format!("liftline/lift-1/{leaf}").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(topic in topics(), payload in prop::collection::vec(any::<u8>(), 0..200)) {
        for entry in run(topic, &payload, None) {
            prop_assert_eq!(entry.received_at, Timestamp::from_millis(NOW));
        }
    }

    #[test]
    fn arbitrary_json_yields_only_values_that_fit(topic in topics(), payload in json()) {
        let directory = directory();
        let profile = directory.profiles.values().next().unwrap();
        let latest = Timestamp::from_millis(NOW) + Duration::from_secs(300);
        for entry in run(topic, payload.to_string(), None) {
            let (time, values) = match &entry.body {
                Body::Sample(sample) => (sample.time, sample.values.as_slice()),
                Body::Event(event) => (event.time, event.values.as_slice()),
                Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => continue,
            };
            prop_assert!(time <= latest);
            for (id, value) in values {
                prop_assert!(profile.channel(id.as_str()).unwrap().check(value).is_ok());
                prop_assert_eq!(values.iter().filter(|(other, _)| other == id).count(), 1);
            }
        }
    }
}
