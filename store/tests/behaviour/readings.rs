//! Readings: merging, bulk, charts, widening.

use std::time::Duration;

use model::{Profile, ProfileId, Timestamp, Value, profile::ChannelKind};
use proptest::strategy::{Strategy as _, ValueTree as _};
use store::{Series, StoreError};

use crate::{
    harness::{TestDb, World, channel, device_id, lift, profile, row, secs, start, text},
    on_both_engines,
};

on_both_engines!(
    messages_of_one_moment_make_one_row,
    a_large_batch_is_stored_once_however_often_it_comes,
    odd_values_do_not_stop_a_batch,
    a_profile_can_grow_but_not_change,
    numbers_are_condensed_for_charts,
    other_channels_are_shown_by_their_changes,
    the_latest_values_are_found_wherever_they_are,
    two_writers_do_not_block_each_other_for_ever,
    any_order_of_any_cut_stores_the_same,
);

async fn world(db: &TestDb) -> World {
    let world = World::new(db).await;
    db.store.ensure_profile(&profile(&[])).await.unwrap();
    world
}

async fn messages_of_one_moment_make_one_row(db: TestDb) {
    let world = world(&db).await;
    let first = row("lift-1", start(), Some(7), &[("speed", Value::Number(1.5)), ("mode", text("normal"))]);
    assert_eq!(db.store.store_readings(std::slice::from_ref(&first)).await.unwrap(), 1);
    assert_eq!(db.store.store_readings(std::slice::from_ref(&first)).await.unwrap(), 0, "nothing new, nothing written");
    let second = row("lift-1", start(), None, &[("speed", Value::Number(2.5)), ("door_open", Value::Bool(true))]);
    let own = [
        ("order", Value::Number(-3.0)),
        ("seq", Value::Number(4.0)),
        ("time", text("noon")),
        ("xmin", Value::Number(1.0)),
    ];
    // Three messages of the same moment in one batch, beside another device's.
    let batch = [second, row("lift-2", start(), Some(1), &[]), row("lift-1", start(), None, &own)];
    assert_eq!(db.store.store_readings(&batch).await.unwrap(), 2);
    let all = db.store.readings(world.org, &device_id("lift-1"), start(), start() + secs(1), 10).await.unwrap();
    let values = [
        ("speed", Value::Number(2.5)),
        ("order", Value::Number(-3.0)),
        ("seq", Value::Number(4.0)),
        ("time", text("noon")),
        ("xmin", Value::Number(1.0)),
        ("door_open", Value::Bool(true)),
        ("mode", text("normal")),
    ];
    assert_eq!(all, [row("lift-1", start(), Some(7), &values)]);
    assert_eq!(db.store.count_readings(&lift()).await.unwrap(), 2);
}

async fn a_large_batch_is_stored_once_however_often_it_comes(db: TestDb) {
    world(&db).await;
    let rows: Vec<_> = (0..10_007u64)
        .map(|i| {
            let values = [("speed", Value::Number(i as f64)), ("door_open", Value::Bool(i % 2 == 0))];
            row(if i % 3 == 0 { "lift-1" } else { "lift-2" }, start() + Duration::from_millis(i / 2), Some(i), &values)
        })
        .collect();
    let written = db.store.store_readings(&rows).await.unwrap();
    let stored = db.store.count_readings(&lift()).await.unwrap();
    assert_eq!(written, stored);
    assert!(stored > 8000 && stored < 10_007, "some share a moment: {stored}");
    assert_eq!(db.store.store_readings(&rows).await.unwrap(), 0);
    assert_eq!(db.store.count_readings(&lift()).await.unwrap(), stored);
}

async fn odd_values_do_not_stop_a_batch(db: TestDb) {
    let world = world(&db).await;
    let early = Timestamp::from_micros(i64::MIN);
    let late = Timestamp::from_micros(i64::MAX);
    let batch = [
        row("lift-1", start(), Some(u64::MAX), &[("note", text("a\0b \u{1f6d7} '\";--"))]),
        row("lift-1", early, None, &[("speed", Value::Number(f64::MAX))]),
        row("lift-1", late, None, &[("speed", Value::Number(-0.0))]),
        // A value of another type than its column, and a channel that the profile does not have (any more).
        row(
            "lift-1",
            start() + secs(1),
            None,
            &[("speed", text("fast")), ("gone", Value::Number(1.0)), ("door_open", Value::Bool(false))],
        ),
    ];
    assert_eq!(db.store.store_readings(&batch).await.unwrap(), 4);
    let device = device_id("lift-1");
    let all = db.store.readings(world.org, &device, start(), start() + secs(9), 10).await.unwrap();
    assert_eq!(*all[0].values, [(channel("note"), text("a\u{fffd}b \u{1f6d7} '\";--"))]);
    assert_eq!(*all[1].values, [(channel("door_open"), Value::Bool(false))]);
    let other = row("lift-1", start(), None, &[]);
    let unknown = store::Row { profile: ProfileId::new("pump").unwrap(), ..other };
    let error = db.store.store_readings(&[unknown]).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownProfile { .. }), "{error}");
}

async fn a_profile_can_grow_but_not_change(db: TestDb) {
    let world = world(&db).await;
    db.store.store_readings(&[row("lift-1", start(), None, &[("speed", Value::Number(1.0))])]).await.unwrap();
    let wider = profile(&[("select", ChannelKind::Bool)]);
    db.store.ensure_profile(&wider).await.unwrap();
    db.store.ensure_profile(&wider).await.unwrap();
    db.store.store_readings(&[row("lift-1", start(), None, &[("select", Value::Bool(true))])]).await.unwrap();
    let all = db.store.readings(world.org, &device_id("lift-1"), start(), start() + secs(1), 10).await.unwrap();
    assert_eq!(*all[0].values, [(channel("speed"), Value::Number(1.0)), (channel("select"), Value::Bool(true))]);
    let changed = profile(&[("select", ChannelKind::Text { max_len: 3 })]);
    let error = db.store.ensure_profile(&changed).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "channel \"select\" of profile \"lift\" was stored as bool and is now text; give the changed channel a new name"
    );
    // A profile without any channel is odd but not wrong.
    let bare = Profile { id: ProfileId::new("bare").unwrap(), channels: Vec::new(), ..profile(&[]) };
    db.store.ensure_profile(&bare).await.unwrap();
    let row = store::Row { profile: bare.id.clone(), ..row("lift-1", start(), Some(1), &[]) };
    assert_eq!(db.store.store_readings(&[row.clone(), row]).await.unwrap(), 1);
}

async fn numbers_are_condensed_for_charts(db: TestDb) {
    let world = world(&db).await;
    let rows: Vec<_> = (0..100u64)
        .map(|i| {
            row("lift-1", start() + Duration::from_micros(i * 600_000), None, &[("speed", Value::Number(i as f64))])
        })
        .collect();
    db.store.store_readings(&rows).await.unwrap();
    let (device, speed) = (device_id("lift-1"), channel("speed"));
    let series = db.store.series(world.org, &device, &speed, start(), start() + secs(60), 6).await.unwrap().unwrap();
    let Series::Buckets { width, points } = series else { panic!("{series:?}") };
    assert_eq!((width, points.len()), (secs(10), 6));
    // 0, 0.6, … 9.6 s: the numbers 0 to 16.
    assert_eq!(
        (points[0].time, points[0].min, points[0].avg, points[0].max, points[0].count),
        (start(), 0.0, 8.0, 16.0, 17)
    );
    assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), 100);
    assert_eq!(points[5].time, start() + secs(50));
    // A gap is left out, the end is not included, and a stranger sees nothing.
    let later = db.store.series(world.org, &device, &speed, start() + secs(59), start() + secs(600), 9).await.unwrap();
    assert!(matches!(later, Some(Series::Buckets { points, .. }) if points.len() == 1));
    let end = db.store.series(world.org, &device, &speed, start(), start(), 9).await.unwrap();
    assert!(matches!(end, Some(Series::Buckets { points, .. }) if points.is_empty()));
    let other = World::named(&db.store, "Other", "b", "+8613900000000").await;
    assert_eq!(db.store.series(other.org, &device, &speed, start(), start() + secs(60), 6).await.unwrap(), None);
    assert!(db.store.readings(other.org, &device, start(), start() + secs(60), 6).await.unwrap().is_empty());
    assert_eq!(
        db.store.series(world.org, &device, &channel("nope"), start(), start() + secs(60), 6).await.unwrap(),
        None
    );
}

async fn other_channels_are_shown_by_their_changes(db: TestDb) {
    let world = world(&db).await;
    let modes = ["normal", "normal", "inspection", "inspection", "normal"];
    let rows: Vec<_> = modes
        .iter()
        .enumerate()
        .map(|(i, mode)| {
            row("lift-1", start() + secs(i as u64), None, &[("mode", text(mode)), ("door_open", Value::Bool(i > 2))])
        })
        .collect();
    db.store.store_readings(&rows).await.unwrap();
    let steps = async |id: &str, from: u64| {
        let (device, id) = (device_id("lift-1"), channel(id));
        let series =
            db.store.series(world.org, &device, &id, start() + secs(from), start() + secs(60), 6).await.unwrap();
        let Some(Series::Steps { points, truncated: false }) = series else { panic!("{series:?}") };
        points.into_iter().map(|step| (step.time.since(start()).as_secs(), step.value)).collect::<Vec<_>>()
    };
    assert_eq!(steps("mode", 0).await, [(0, text("normal")), (2, text("inspection")), (4, text("normal"))]);
    // From between two changes: the value in force comes first.
    assert_eq!(steps("mode", 3).await, [(3, text("inspection")), (4, text("normal"))]);
    assert_eq!(steps("mode", 30).await, [(30, text("normal"))]);
    assert_eq!(steps("door_open", 0).await, [(0, Value::Bool(false)), (3, Value::Bool(true))]);
    assert_eq!(steps("note", 0).await, []);
}

async fn the_latest_values_are_found_wherever_they_are(db: TestDb) {
    let world = world(&db).await;
    let mut rows = vec![row("lift-1", start(), None, &[("mode", text("inspection"))])];
    rows.extend((1..500u64).map(|i| row("lift-1", start() + secs(i), None, &[("speed", Value::Number(i as f64))])));
    db.store.store_readings(&rows).await.unwrap();
    let latest = db.store.latest(world.org, &device_id("lift-1")).await.unwrap();
    let expected =
        [(channel("speed"), start() + secs(499), Value::Number(499.0)), (channel("mode"), start(), text("inspection"))];
    assert_eq!(latest, expected);
    assert!(db.store.latest(world.org, &device_id("lift-2")).await.unwrap().is_empty());
}

async fn two_writers_do_not_block_each_other_for_ever(db: TestDb) {
    world(&db).await;
    // The same rows in opposite orders: locked in the order they come, these would wait for each other.
    let rows: Vec<_> =
        (0..400u64).map(|i| row("lift-1", start() + secs(i), None, &[("speed", Value::Number(i as f64))])).collect();
    let mut backwards = rows.clone();
    backwards.reverse();
    for round in 0..10 {
        let set = |rows: &[store::Row]| -> Vec<store::Row> {
            rows.iter().map(|r| store::Row { seq: Some(round), ..r.clone() }).collect()
        };
        let (forth, back) = (set(&rows), set(&backwards));
        let (a, b) = tokio::join!(db.store.store_readings(&forth), db.store.store_readings(&back));
        assert_eq!(a.unwrap() + b.unwrap(), 400);
    }
}

async fn any_order_of_any_cut_stores_the_same(db: TestDb) {
    let world = world(&db).await;
    // Messages that never contradict each other, sent in any order, cut into any batches, some twice.
    let messages: Vec<_> = (0..60u64)
        .map(|i| {
            let time = start() + secs(i / 3);
            match i % 3 {
                0 => row("lift-1", time, Some(i / 3), &[("speed", Value::Number(i as f64))]),
                1 => row("lift-1", time, None, &[("mode", text("normal"))]),
                _ => row("lift-1", time, None, &[("door_open", Value::Bool(i % 2 == 0))]),
            }
        })
        .collect();
    db.store.store_readings(&messages).await.unwrap();
    let device = device_id("lift-1");
    let expected = db.store.readings(world.org, &device, start(), start() + secs(99), 99).await.unwrap();
    assert_eq!(expected.len(), 20);
    let orders = proptest::collection::vec(0..60usize, 60..150);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for round in 1..=12u64 {
        let shift = secs(1000 * round);
        let mut order = orders.new_tree(&mut runner).unwrap().current();
        order.extend(0..60);
        let moved: Vec<_> =
            order.iter().map(|i| store::Row { time: messages[*i].time + shift, ..messages[*i].clone() }).collect();
        for batch in moved.chunks(1 + order[0] % 17) {
            db.store.store_readings(batch).await.unwrap();
        }
        let stored =
            db.store.readings(world.org, &device, start() + shift, start() + shift + secs(99), 99).await.unwrap();
        let back: Vec<_> = stored.into_iter().map(|r| store::Row { time: r.time - shift, ..r }).collect();
        assert_eq!(back, expected);
    }
}
