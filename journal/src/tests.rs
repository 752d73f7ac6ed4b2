//! What the journal promises, seen from outside, and what needs a hand inside: a full disk, a damaged file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::{Body, DeviceId, Entry, Event, Lane, Sample, Timestamp, Value};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn config() -> JournalConfig {
    JournalConfig { max_bytes: 1 << 20, ..JournalConfig::default() }
}

fn telemetry(n: u64) -> Entry {
    Entry {
        device: Some(DeviceId::new("lift-1").unwrap()),
        received_at: Timestamp::from_millis(i64::try_from(n).unwrap()),
        body: Body::Sample(Sample {
            time: Timestamp::from_millis(i64::try_from(n).unwrap()),
            seq: Some(n),
            values: vec![("door_close_s".parse().unwrap(), Value::Number(2.0 + 0.001))],
        }),
    }
}

fn event(n: u64) -> Entry {
    Entry {
        body: Body::Event(Event {
            time: Timestamp::from_millis(5),
            code: "alarm_button".into(),
            seq: Some(n),
            values: vec![],
        }),
        ..telemetry(n)
    }
}

fn seq(entry: &Entry) -> u64 {
    match &entry.body {
        Body::Sample(sample) => sample.seq.unwrap(),
        Body::Event(event) => event.seq.unwrap(),
        Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => panic!("not written here"),
    }
}

fn all(journal: &Journal, lane: Lane) -> Vec<(u64, u64)> {
    journal.read(lane, Offset::START, usize::MAX).unwrap().iter().map(|(at, entry)| (at.0, seq(entry))).collect()
}

fn pairs(range: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    range.map(|n| (n, n)).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    files.sort();
    files
}

/// Fills several segments; entry n has offset n.
async fn fill(journal: &Journal, from: u64, to: u64) {
    for start in (from..=to).step_by(100) {
        journal.append((start..=to.min(start + 99)).map(telemetry).collect::<Vec<_>>()).await.unwrap();
    }
}

#[tokio::test]
async fn entries_come_back_in_order_by_lane_and_after_reopening() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    let mut heads = journal.subscribe(Lane::Events);
    journal.append(vec![telemetry(1), event(1), telemetry(2), event(2)]).await.unwrap();
    journal.append(vec![telemetry(3)]).await.unwrap();
    journal.append(Vec::<Entry>::new()).await.unwrap();
    assert!(heads.has_changed().unwrap());
    assert_eq!((*heads.borrow_and_update(), journal.head(Lane::Telemetry)), (Offset(2), Offset(3)));
    let check = |journal: &Journal| {
        assert_eq!(journal.read(Lane::Events, Offset(1), 10).unwrap(), [(Offset(2), event(2).into())]);
        assert_eq!(all(journal, Lane::Telemetry), pairs(1..=3));
        assert_eq!(journal.read(Lane::Telemetry, Offset::START, 2).unwrap().len(), 2);
        assert!(journal.read(Lane::Telemetry, Offset(3), 10).unwrap().is_empty());
    };
    check(&journal);
    journal.clone().close().await.unwrap();
    assert!(matches!(journal.append(vec![event(3)]).await, Err(JournalError::Closed)));
    let journal = Journal::open(dir.path(), &config()).unwrap();
    check(&journal);
    journal.append(vec![event(3)]).await.unwrap();
    assert_eq!(journal.head(Lane::Events), Offset(3));
    assert_eq!(journal.stats().damaged_entries, 0);
}

#[tokio::test]
async fn a_second_hub_is_turned_away() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    let error = Journal::open(dir.path(), &config()).unwrap_err();
    assert!(matches!(error, JournalError::InUse { .. }));
    assert!(error.to_string().contains("in use by another hub; stop that one"), "{error}");
    drop(journal);
    Journal::open(dir.path(), &config()).unwrap();
}

#[test]
fn settings_that_cannot_work_are_named() {
    let error = Journal::open(Path::new("never-made"), &JournalConfig { max_bytes: 7, ..config() }).unwrap_err();
    assert_eq!(error.to_string(), "journal.max_bytes = 7 cannot work; write at least 1048576 (1 MiB)");
    assert!(!Path::new("never-made").exists());
}

#[tokio::test]
async fn many_callers_share_commits_and_none_is_lost() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &JournalConfig { queue: 8, ..config() }).unwrap();
    let appends = (0..200).map(|n| journal.append(vec![telemetry(n), event(n)]));
    for result in futures_join(appends).await {
        result.unwrap();
    }
    for lane in Lane::ALL {
        let mut found = all(&journal, lane);
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
        found.sort_by_key(|(_, seq)| *seq);
        assert_eq!(found.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    }
}

/// Runs futures at the same time on this task.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(outputs.iter_mut().filter_map(Option::take).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn only_what_every_consumer_has_read_is_trimmed() {
    let dir = TempDir::new().unwrap();
    let later = Timestamp::from_secs(100 * 86_400);
    let journal = Journal::open(dir.path(), &config()).unwrap();
    fill(&journal, 1, 6000).await;
    assert!(segments(dir.path()).len() > 3);
    assert_eq!(journal.trim(later).unwrap(), TrimReport::default(), "no consumer ever came");
    journal.set_cursor("recorder", Lane::Telemetry, Offset(6000)).unwrap();
    journal.set_cursor("watch", Lane::Telemetry, Offset(3000)).unwrap();
    let report = journal.trim(later).unwrap();
    assert!(report.segments > 0 && report.entries <= 3000, "{report:?}");
    let first = journal.stats().lanes[1].first;
    assert!(first.0 > 1 && first.0 <= 3001, "{first}");
    assert_eq!(all(&journal, Lane::Telemetry), pairs(first.0..=6000));
    // What is old but not yet past its age stays.
    journal.set_cursor("watch", Lane::Telemetry, Offset(6000)).unwrap();
    assert_eq!(journal.trim(Timestamp::from_secs(6)).unwrap(), TrimReport::default());
    journal.trim(later).unwrap();
    assert_eq!(journal.stats().segments, 1);
    assert_eq!(segments(dir.path()).len(), 1, "the space is given back");
    let lag: Vec<_> = journal.stats().consumers.iter().map(|consumer| consumer.lag).collect();
    assert_eq!(lag, [0, 0]);
}

#[tokio::test]
async fn cursors_survive_and_offsets_are_never_used_twice() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    fill(&journal, 1, 10).await;
    journal.set_cursor("watch", Lane::Telemetry, Offset(7)).unwrap();
    journal.set_cursor("recorder", Lane::Telemetry, Offset(99)).unwrap();
    assert_eq!(journal.cursor("recorder", Lane::Telemetry), Some(Offset(10)), "no further than the head");
    journal.close().await.unwrap();
    for file in segments(dir.path()) {
        fs::remove_file(file).unwrap();
    }
    let journal = Journal::open(dir.path(), &config()).unwrap();
    assert_eq!(journal.cursor("watch", Lane::Telemetry), Some(Offset(7)));
    assert_eq!(journal.cursor("watch", Lane::Events), None);
    journal.append(vec![telemetry(11)]).await.unwrap();
    assert_eq!(all(&journal, Lane::Telemetry), [(11, 11)]);
}

#[tokio::test]
async fn a_moved_cursor_reaches_the_disk_without_a_close() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    fill(&journal, 1, 10).await;
    journal.set_cursor("watch", Lane::Telemetry, Offset(7)).unwrap();
    let noted = || {
        let copy = TempDir::new().unwrap();
        fs::copy(dir.path().join("cursors.db"), copy.path().join("cursors.db")).unwrap();
        cursors::CursorFile::open(&copy.path().join("cursors.db")).map(|(_, noted)| noted.cursors).unwrap_or_default()
    };
    let started = Instant::now();
    while noted().get(&("watch".to_owned(), Lane::Telemetry)) != Some(&7) {
        assert!(started.elapsed() < Duration::from_secs(20), "the cursor never reached the disk");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_alarm_stands_before_the_journal_refuses_and_events_have_a_reserve() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    journal.set_cursor("recorder", Lane::Telemetry, Offset(0)).unwrap();
    let (mut n, mut warned) = (0, false);
    let error = loop {
        match journal.append((n + 1..=n + 100).map(telemetry).collect::<Vec<_>>()).await {
            Ok(()) => n += 100,
            Err(error) => break error,
        }
        if let Some(alarm) = journal.stats().alarm {
            warned |= !alarm.full;
            assert_eq!(alarm.slowest.as_deref(), Some("recorder"));
            assert!(alarm.unread_bytes >= (1 << 20) / 5 * 4);
        }
    };
    assert!(matches!(error, JournalError::Full { .. }), "{error}");
    assert!(warned, "the alarm came only with the refusal");
    assert!(journal.stats().alarm.unwrap().full);
    assert_eq!(journal.trim(Timestamp::from_secs(1 << 30)).unwrap().segments, 0, "unread entries stay");
    journal.append(vec![event(1)]).await.unwrap();
    // The consumer catches up: intake goes on and the oldest files go although they are young.
    journal.set_cursor("recorder", Lane::Telemetry, Offset(n)).unwrap();
    journal.set_cursor("recorder", Lane::Events, Offset(1)).unwrap();
    assert_eq!(journal.stats().alarm, None);
    journal.append(vec![telemetry(n + 1)]).await.unwrap();
    assert!(journal.trim(Timestamp::from_secs(1)).unwrap().segments > 0);
    assert!(journal.stats().bytes <= 1 << 20);
}

#[tokio::test]
async fn a_full_disk_fails_the_waiting_appends_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    fill(&journal, 1, 100).await;
    let active = journal.shared.shelf().active().unwrap().segment.clone();
    let pages = u32::try_from(active.size() / 4096).unwrap();
    active.limit_pages(pages);
    for _ in 0..2 {
        let error = journal.append((101..=600).map(telemetry).collect::<Vec<_>>()).await.unwrap_err();
        assert!(matches!(error, JournalError::Write { .. }));
        assert!(error.to_string().contains("free space on the disk"), "{error}");
        assert_eq!(journal.head(Lane::Telemetry), Offset(100));
    }
    assert_eq!(all(&journal, Lane::Telemetry), pairs(1..=100), "reading goes on");
    active.limit_pages(1 << 20);
    journal.append((101..=600).map(telemetry).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(all(&journal, Lane::Telemetry), pairs(1..=600));
    journal.close().await.unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    assert_eq!(all(&journal, Lane::Telemetry), pairs(1..=600));
}

#[tokio::test]
async fn a_file_that_vanishes_or_breaks_under_the_writer_is_replaced() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    fill(&journal, 1, 100).await;
    // The whole first page: the writer's next transaction meets a file that is not a database any more.
    let active = journal.shared.shelf().active().unwrap().segment.clone();
    active.release();
    let mut bytes = fs::read(active.path()).unwrap();
    bytes[..4096].fill(0x5a);
    fs::write(active.path(), bytes).unwrap();
    journal.append(vec![telemetry(101)]).await.unwrap();
    journal.append(vec![telemetry(102)]).await.unwrap();
    assert_eq!(journal.read(Lane::Telemetry, Offset(100), 10).unwrap().len(), 2);
    assert_eq!(segments(dir.path()).len(), 2);
}

/// Flips one byte of a file, somewhere in the middle.
fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    let index = usize::try_from(at).unwrap() % bytes.len();
    bytes[index] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_flipped_byte_costs_one_record_and_is_reported() {
    let dir = TempDir::new().unwrap();
    let journal = Journal::open(dir.path(), &config()).unwrap();
    fill(&journal, 1, 300).await;
    journal.close().await.unwrap();
    let file = segments(dir.path()).pop().unwrap();
    let bytes = fs::read(&file).unwrap();
    // The device's name in the middle of the file lies inside a record.
    let middle = bytes.len() / 2;
    let at = middle + bytes[middle..].windows(6).position(|window| window == b"lift-1").unwrap();
    flip(&file, at as u64);
    let journal = Journal::open(dir.path(), &config()).unwrap();
    let stats = journal.stats();
    assert_eq!((stats.damaged_entries, stats.damage.len()), (1, 1), "{:?}", stats.damage);
    let Damage { lane, first, last, fault } = stats.damage[0];
    assert_eq!((lane, first, fault), (Lane::Telemetry, last, Fault::Checksum));
    assert_eq!(all(&journal, Lane::Telemetry), pairs((1..=300).filter(|n| *n != first.0)));
    assert_eq!(journal.stats().damaged_entries, 1, "counted once");
    fill(&journal, 301, 400).await;
    assert_eq!(all(&journal, Lane::Telemetry), pairs((1..=400).filter(|n| *n != first.0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A flipped byte anywhere in any file never stops the journal from opening, never changes an entry, and all that
    /// is missing is reported.
    #[test]
    fn damage_anywhere_is_isolated(at in any::<u64>(), which in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let journal = Journal::open(dir.path(), &config()).unwrap();
            for n in (1..=1500).step_by(5) {
                journal.append((n..n + 5).map(telemetry).collect::<Vec<_>>()).await.unwrap();
            }
            journal.set_cursor("watch", Lane::Telemetry, Offset(3)).unwrap();
            journal.close().await.unwrap();
            let mut files = segments(dir.path());
            files.push(dir.path().join("cursors.db"));
            flip(which.get::<PathBuf>(&files), at);
            let journal = Journal::open(dir.path(), &config()).unwrap();
            let found = all(&journal, Lane::Telemetry);
            prop_assert!(found.iter().all(|(offset, seq)| offset == seq));
            prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let stats = journal.stats();
            let missing = (1..=1500).filter(|n| found.binary_search(&(*n, *n)).is_err());
            for n in missing {
                prop_assert!(
                    stats.damage.iter().any(|damage| (damage.first.0..=damage.last.0).contains(&n)),
                    "entry {n} is missing and not reported: {:?}", stats.damage
                );
            }
            journal.append(vec![telemetry(1501)]).await.unwrap();
            prop_assert_eq!(journal.head(Lane::Telemetry), Offset(1501));
            Ok(())
        })?;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append { telemetry: u64, events: u64 },
    Read { after: u64, max: usize },
    Cursor { consumer: bool, back: u64 },
    Trim { days: i64 },
    Reopen,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..400_u64, 0..5_u64).prop_map(|(telemetry, events)| Step::Append { telemetry, events }),
        3 => (0..3000_u64, 0..700_usize).prop_map(|(after, max)| Step::Read { after, max }),
        2 => (any::<bool>(), 0..300_u64).prop_map(|(consumer, back)| Step::Cursor { consumer, back }),
        1 => (0..20_i64).prop_map(|days| Step::Trim { days }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The journal behaves as a vector would from which read entries may vanish at the front.
    #[test]
    fn it_behaves_like_a_vector(steps in prop::collection::vec(steps(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let config = config();
            let mut journal = Journal::open(dir.path(), &config).unwrap();
            let mut written = [Vec::new(), Vec::new()];
            let mut cursors = std::collections::BTreeMap::new();
            for step in steps {
                match step {
                    Step::Append { telemetry: t, events: e } => {
                        let entries: Vec<_> = (0..e).map(event).chain((0..t).map(telemetry)).collect();
                        for entry in &entries {
                            written[entry.lane() as usize].push(entry.clone());
                        }
                        journal.append(entries).await.unwrap();
                    }
                    Step::Read { after, max } => for lane in Lane::ALL {
                        let first = journal.stats().lanes[lane as usize].first.0;
                        let expected: Vec<_> = (1..).map(Offset).zip(written[lane as usize].iter().cloned().map(Arc::new))
                            .filter(|(offset, _)| offset.0 > after && offset.0 >= first)
                            .take(max).collect();
                        prop_assert_eq!(journal.read(lane, Offset(after), max).unwrap(), expected);
                    },
                    Step::Cursor { consumer, back } => for lane in Lane::ALL {
                        let at = (written[lane as usize].len() as u64).saturating_sub(back);
                        let name = if consumer { "recorder" } else { "watch" };
                        journal.set_cursor(name, lane, Offset(at)).unwrap();
                        cursors.insert((name, lane), at);
                    },
                    Step::Trim { days } => {
                        journal.trim(Timestamp::from_secs(days * 86_400)).unwrap();
                    }
                    Step::Reopen => {
                        journal.close().await.unwrap();
                        journal = Journal::open(dir.path(), &config).unwrap();
                    }
                }
                for lane in Lane::ALL {
                    prop_assert_eq!(journal.head(lane).0, written[lane as usize].len() as u64);
                    for name in ["recorder", "watch"] {
                        prop_assert_eq!(journal.cursor(name, lane).map(|at| at.0), cursors.get(&(name, lane)).copied());
                    }
                    let read = cursors.iter().filter(|((_, l), _)| *l == lane).map(|(_, at)| *at).min().unwrap_or(0);
                    prop_assert!(journal.stats().lanes[lane as usize].first.0 <= read + 1);
                }
            }
            prop_assert_eq!(journal.stats().damaged_entries, 0);
            Ok(())
        })?;
    }
}
