//! What the recorder writes beside readings: events, connections, rejects.

use std::sync::Arc;

use model::{Body, Directory, Entry, Event, Reject, RejectReason, Sample, Status, Value};
use store::{Change, RecordReport, RecorderBatch, RejectFilter};

use crate::{
    harness::{TestDb, World, channel, device_id, profile, secs, start, text},
    on_both_engines,
};

on_both_engines!(
    a_stretch_of_the_journal_is_recorded_once,
    the_last_word_on_a_connection_counts,
    rejects_are_kept_within_bounds
);

async fn directory(db: &TestDb) -> Directory {
    let devices = db.store.directory_devices().await.unwrap();
    let devices = devices.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect();
    Directory { devices, ..Directory::default() }
}

fn entry(device: &str, at: u64, body: Body) -> Entry {
    Entry { device: Some(device_id(device)), received_at: start() + secs(at), body }
}

fn reject(at: u64, device: Option<&str>, reason: RejectReason, payload: &[u8]) -> Entry {
    let reject = Reject {
        topic: "liftline/x\0/telemetry".to_owned(),
        reason,
        detail: "not so".to_owned(),
        payload: payload.to_vec(),
    };
    Entry { device: device.map(device_id), received_at: start() + secs(at), body: Body::Reject(reject) }
}

async fn a_stretch_of_the_journal_is_recorded_once(db: TestDb) {
    let world = World::new(&db).await;
    db.store.ensure_profile(&profile(&[])).await.unwrap();
    let sample = |value| Sample { time: start(), seq: Some(1), values: vec![(channel("speed"), Value::Number(value))] };
    let event = Event {
        time: start() + secs(1),
        code: "alarm_button\0".to_owned(),
        seq: Some(2),
        values: vec![(channel("mode"), text("normal"))],
    };
    let entries = [
        entry("lift-1", 5, Body::Sample(sample(1.0))),
        entry("lift-1", 6, Body::Event(event.clone())),
        entry("lift-2", 7, Body::Status(Status { time: start(), online: true })),
        entry("stranger", 8, Body::Sample(sample(2.0))),
        reject(9, Some("lift-1"), RejectReason::OutOfRange, b"\xff\0"),
        reject(9, None, RejectReason::NotJson, b"{"),
    ];
    let directory = directory(&db).await;
    let mut batch = RecorderBatch::default();
    entries.iter().for_each(|entry| batch.push(&Arc::new(entry.clone()), &directory));
    assert_eq!(batch.len(), 6);
    let report = db.store.record(&batch, start()).await.unwrap();
    assert_eq!(report, RecordReport { rows: 2, events: 1, rejects: 2 });
    assert_eq!(db.store.record(&batch, start()).await.unwrap(), RecordReport::default());
    batch.clear();
    assert!(batch.is_empty());

    let lift = device_id("lift-1");
    let events = db.store.device_events(world.org, &lift, 9).await.unwrap();
    assert_eq!((events.len(), events[0].code.as_str(), &events[0].values), (1, "alarm_button\u{fffd}", &event.values));
    assert_eq!(db.store.latest(world.org, &lift).await.unwrap().len(), 2, "an event's values are readings");
    assert_eq!(db.store.device(world.org, &lift).await.unwrap().unwrap().state.last_seen, Some(start() + secs(6)));

    let own = db.store.rejects(world.org, &RejectFilter { limit: 9, ..RejectFilter::default() }).await.unwrap();
    assert_eq!(own.counts, [(RejectReason::OutOfRange, 1)]);
    assert_eq!(
        (own.rejects[0].device.as_ref(), own.rejects[0].reject.payload.as_slice()),
        (Some(&lift), b"\xff\0".as_slice())
    );
    let all = RejectFilter { unclaimed: true, limit: 9, ..RejectFilter::default() };
    assert_eq!(db.store.rejects(world.org, &all).await.unwrap().rejects.len(), 2);
    let one = RejectFilter { reason: Some(RejectReason::NotJson), ..all };
    let page = db.store.rejects(world.org, &one).await.unwrap();
    assert_eq!((page.rejects.len(), page.counts.len()), (1, 2));
    let other = World::named(&db.store, "Other", "b", "+8613900000000").await;
    assert!(
        db.store
            .rejects(other.org, &RejectFilter { limit: 9, ..RejectFilter::default() })
            .await
            .unwrap()
            .rejects
            .is_empty()
    );
    assert!(db.store.device_events(other.org, &lift, 9).await.unwrap().is_empty());
}

async fn the_last_word_on_a_connection_counts(db: TestDb) {
    let world = World::new(&db).await;
    let directory = directory(&db).await;
    let mut changes = db.store.changes();
    let mut say = async |words: &[(u64, bool)]| {
        let mut batch = RecorderBatch::default();
        for (at, online) in words {
            batch.push(
                &Arc::new(entry("lift-1", 99, Body::Status(Status { time: start() + secs(*at), online: *online }))),
                &directory,
            );
        }
        db.store.record(&batch, start()).await.unwrap();
        let told =
            std::iter::from_fn(|| changes.try_recv().ok()).filter(|c| matches!(c, Change::Device { .. })).count();
        let state = db.store.device(world.org, &device_id("lift-1")).await.unwrap().unwrap().state;
        (state.online.unwrap(), state.online_at.unwrap().since(start()).as_secs(), told)
    };
    assert_eq!(say(&[(10, true)]).await, (true, 10, 1));
    assert_eq!(say(&[(20, true)]).await, (true, 10, 0), "on line since the first word");
    assert_eq!(say(&[(5, false)]).await, (true, 10, 0), "an old word");
    assert_eq!(say(&[(30, false), (40, true), (50, false)]).await, (false, 50, 3));
}

async fn rejects_are_kept_within_bounds(db: TestDb) {
    World::new(&db).await;
    let mut batch = RecorderBatch::default();
    (0..50).for_each(|at| {
        batch.push(&Arc::new(reject(at, Some("lift-1"), RejectReason::NotJson, b"x")), &Directory::default())
    });
    db.store.record(&batch, start()).await.unwrap();
    let retention = store::Retention { max_rejects: 20, ..store::Retention::default() };
    assert_eq!(db.store.prune(&retention, start() + secs(60)).await.unwrap(), 30);
    assert_eq!(db.store.prune(&retention, start() + secs(60)).await.unwrap(), 0);
    assert_eq!(db.store.prune(&retention, start() + secs(31 * 86_400)).await.unwrap(), 20);
}
