//! What the recorder writes beside readings: events, connections, rejects.

use std::sync::Arc;

use model::{Body, Directory, Entry, Event, Reject, RejectReason, Sample, Status, Value};
use store::{Change, RecordReport, RecorderBatch, RejectCount, RejectFilter, RejectSampler};

use crate::{
    harness::{TestDb, World, channel, device_id, profile, secs, start, text},
    on_both_engines,
};

on_both_engines!(
    a_stretch_of_the_journal_is_recorded_once,
    the_last_word_on_a_connection_counts,
    rejects_are_kept_within_bounds,
    rejects_are_counted_once_whatever_is_read_again,
    a_reject_of_many_parts_counts_each,
    a_flood_of_rejects_is_counted_and_sampled
);

async fn directory(db: &TestDb) -> Directory {
    let devices = db.store.directory_devices().await.unwrap();
    let devices = devices.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect();
    let lift = Arc::new(profile(&[]));
    Directory { devices, profiles: [(lift.id.clone(), lift)].into() }
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
        parts: 1,
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
    (1..).zip(&entries).for_each(|(offset, entry)| batch.push(offset, &Arc::new(entry.clone()), &directory));
    assert_eq!(batch.len(), 6);
    let report = db.store.record(&batch, start()).await.unwrap();
    assert_eq!(report, RecordReport { rows: 2, events: 1, rejects: 2, samples: 2 });
    assert_eq!(db.store.record(&batch, start()).await.unwrap(), RecordReport::default());
    batch.clear();
    assert!(batch.is_empty());
    // A profile that is not loaded has no table: its readings are left out, and hold up nobody's.
    let unloaded = Directory { profiles: std::collections::HashMap::default(), ..directory };
    batch.push(1, &Arc::new(entries[0].clone()), &unloaded);
    assert_eq!((batch.len(), batch.seen.len()), (0, 1));

    let lift = device_id("lift-1");
    let events = db.store.device_events(world.org, &lift, 9).await.unwrap();
    assert_eq!((events.len(), events[0].code.as_str(), &events[0].values), (1, "alarm_button\u{fffd}", &event.values));
    assert_eq!(db.store.latest(world.org, &lift).await.unwrap().len(), 2, "an event's values are readings");
    assert_eq!(db.store.device(world.org, &lift).await.unwrap().unwrap().state.last_seen, Some(start() + secs(6)));

    let own = db.store.rejects(world.org, &RejectFilter { limit: 9, ..RejectFilter::default() }).await.unwrap();
    assert_eq!(own.counts, [RejectCount { reason: RejectReason::OutOfRange, count: 1, kept: 1 }]);
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
                0,
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
    let world = World::new(&db).await;
    let mut batch = RecorderBatch::default();
    for at in 0..50 {
        let reason = if at < 5 { RejectReason::TooLarge } else { RejectReason::NotJson };
        batch.push(at + 1, &Arc::new(reject(at, Some("lift-1"), reason, b"x")), &Directory::default());
    }
    db.store.record(&batch, start()).await.unwrap();
    let retention = store::Retention { max_rejects: 20, ..store::Retention::default() };
    assert_eq!(db.store.prune(&retention, start() + secs(60)).await.unwrap(), 25);
    assert_eq!(db.store.prune(&retention, start() + secs(60)).await.unwrap(), 0);
    let page = db.store.rejects(world.org, &RejectFilter { limit: 99, ..RejectFilter::default() }).await.unwrap();
    let count = |reason, count, kept| RejectCount { reason, count, kept };
    // The older ones of the rare reason stay, and of the others the newest.
    assert_eq!(page.counts, [count(RejectReason::NotJson, 45, 20), count(RejectReason::TooLarge, 5, 5)]);
    assert_eq!(page.rejects[19].received_at, start() + secs(30));
    assert_eq!(db.store.prune(&retention, start() + secs(31 * 86_400)).await.unwrap(), 25);
    let page = db.store.rejects(world.org, &RejectFilter { limit: 99, ..RejectFilter::default() }).await.unwrap();
    assert_eq!(page.counts, [count(RejectReason::NotJson, 45, 0), count(RejectReason::TooLarge, 5, 0)]);
}

/// Offsets `from` to `to` of the journal: every third entry is a reject, in turn of a lift, another, and nobody.
fn stretch(from: u64, to: u64) -> RecorderBatch {
    let mut batch = RecorderBatch::default();
    for offset in from..=to {
        let device = [Some("lift-1"), Some("lift-2"), None][usize::try_from(offset / 3 % 3).unwrap()];
        let reason = if offset % 2 == 0 { RejectReason::NotJson } else { RejectReason::WrongType };
        let entry = match offset % 3 {
            0 => reject(offset, device, reason, offset.to_string().as_bytes()),
            _ => entry("lift-1", offset, Body::Status(Status { time: start(), online: true })),
        };
        batch.push(offset, &Arc::new(entry), &Directory::default());
    }
    batch
}

async fn rejects_are_counted_once_whatever_is_read_again(db: TestDb) {
    let world = World::new(&db).await;
    let all = RejectFilter { unclaimed: true, limit: 500, ..RejectFilter::default() };
    let total = async || {
        let page = db.store.rejects(world.org, &all).await.unwrap();
        let (counted, kept): (u64, u64) =
            page.counts.iter().fold((0, 0), |sum, one| (sum.0 + one.count, sum.1 + one.kept));
        (counted, kept, page.rejects.len())
    };
    db.store.resume_rejects(0).await.unwrap();
    db.store.record(&stretch(1, 60), start()).await.unwrap();
    assert_eq!(total().await, (20, 20, 20));
    // After a crash the recorder begins further back, with stretches cut elsewhere.
    db.store.resume_rejects(60).await.unwrap();
    for (from, to, counted) in [(31, 50, 0), (51, 75, 5), (1, 75, 0), (76, 76, 0), (70, 90, 5)] {
        assert_eq!(db.store.record(&stretch(from, to), start()).await.unwrap().rejects, counted, "{from} to {to}");
    }
    assert_eq!(total().await, (30, 30, 30));
    let page = db.store.rejects(world.org, &all).await.unwrap();
    let (one, two) = (device_id("lift-1"), device_id("lift-2"));
    let noisy: Vec<_> = page.noisy.iter().map(|noisy| (&noisy.device, noisy.count, noisy.last_at)).collect();
    assert_eq!(noisy, [(&one, 10, start() + secs(90)), (&two, 10, start() + secs(84))]);
    let of_one = RejectFilter { device: Some(one), ..all.clone() };
    let of_one = db.store.rejects(world.org, &of_one).await.unwrap();
    assert_eq!(of_one.counts.iter().map(|one| one.count).sum::<u64>(), 10);
    assert_eq!(of_one.rejects.len(), 10);
    let claimed = RejectFilter { unclaimed: false, ..all.clone() };
    let claimed = db.store.rejects(world.org, &claimed).await.unwrap();
    assert_eq!(claimed.counts.iter().map(|one| one.count).sum::<u64>(), 20, "not those that are nobody's");
    // A new journal begins with the first offset again.
    db.store.resume_rejects(0).await.unwrap();
    let later = |offset| Arc::new(reject(1000 + offset, Some("lift-1"), RejectReason::TooLarge, b"x"));
    let mut batch = RecorderBatch::default();
    (1..=4).for_each(|offset| batch.push(offset, &later(offset), &Directory::default()));
    assert_eq!(db.store.record(&batch, start()).await.unwrap().rejects, 4);
}

async fn a_reject_of_many_parts_counts_each(db: TestDb) {
    let world = World::new(&db).await;
    let mut entry = reject(0, Some("lift-1"), RejectReason::UnknownChannel, b"x");
    if let Body::Reject(reject) = &mut entry.body {
        reject.parts = 268;
    }
    let mut batch = RecorderBatch::default();
    batch.push(1, &Arc::new(entry), &Directory::default());
    assert_eq!(db.store.record(&batch, start()).await.unwrap().rejects, 268);
    let page = db.store.rejects(world.org, &RejectFilter { limit: 9, ..RejectFilter::default() }).await.unwrap();
    assert_eq!(page.counts, [RejectCount { reason: RejectReason::UnknownChannel, count: 268, kept: 1 }]);
    assert_eq!(page.rejects[0].reject.parts, 268);
}

async fn a_flood_of_rejects_is_counted_and_sampled(db: TestDb) {
    let world = World::new(&db).await;
    let mut sampler = RejectSampler::new(30);
    let mut offset = 0;
    // 200 a second for half a minute, and one of another reason every ten seconds.
    for second in 0..30 {
        let mut batch = RecorderBatch::default();
        for n in 0..200u32 {
            let (reason, payload) = match (second % 10, n) {
                (0, 0) => (RejectReason::Forbidden, 0),
                _ => (RejectReason::UnknownChannel, n),
            };
            offset += 1;
            let entry = reject(second, Some("lift-1"), reason, payload.to_string().as_bytes());
            batch.push(offset, &Arc::new(entry), &Directory::default());
        }
        sampler.choose(&mut batch.rejects);
        db.store.record(&batch, start()).await.unwrap();
        assert_eq!(db.store.record(&batch, start()).await.unwrap(), RecordReport::default());
    }
    let page = db.store.rejects(world.org, &RejectFilter { limit: 500, ..RejectFilter::default() }).await.unwrap();
    let count = |reason, count, kept| RejectCount { reason, count, kept };
    // A full bucket of 30, and one every two seconds.
    assert_eq!(page.counts, [count(RejectReason::UnknownChannel, 5997, 44), count(RejectReason::Forbidden, 3, 3)]);
    assert_eq!(page.rejects.len(), 47);
}
