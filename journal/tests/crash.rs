//! `kill -9` in the middle of appends: what was acknowledged is there afterwards.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use journal::{Journal, JournalConfig, Offset};
use model::{Body, DeviceId, Entry, Event, Lane, Sample, Timestamp, Value};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIR: &str = "JOURNAL_CRASH_TEST_DIR";

fn entry(n: u64) -> Entry {
    let time = Timestamp::from_millis(i64::try_from(n).unwrap());
    let body = if n.is_multiple_of(10) {
        Body::Event(Event { time, code: "alarm_button".into(), seq: Some(n), values: vec![] })
    } else {
        Body::Sample(Sample { time, seq: Some(n), values: vec![("speed_m_s".parse().unwrap(), Value::Number(1.5))] })
    };
    Entry { device: Some(DeviceId::new("lift-1").unwrap()), received_at: time, body }
}

fn seq(entry: &Entry) -> u64 {
    match &entry.body {
        Body::Sample(sample) => sample.seq.unwrap(),
        Body::Event(event) => event.seq.unwrap(),
        Body::Status(_) | Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => panic!("not written here"),
    }
}

fn open(dir: &Path) -> Journal {
    // Small segments, so that some kills fall into a change of segment.
    Journal::open(dir, &JournalConfig { max_bytes: 2 << 20, ..JournalConfig::default() }).unwrap()
}

fn sequences(journal: &Journal) -> Vec<u64> {
    let mut found: Vec<u64> = Lane::ALL
        .into_iter()
        .flat_map(|lane| {
            let entries = journal.read(lane, Offset::START, usize::MAX).unwrap();
            assert!(entries.iter().zip(1..).all(|((offset, _), n)| offset.0 == n), "the offsets of {lane} have a gap");
            entries.into_iter().map(|(_, entry)| seq(&entry))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Not a test of its own: the process that is killed. It appends and says what was acknowledged.
#[test]
fn child_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let journal = open(Path::new(&dir));
    let first = sequences(&journal).last().map_or(1, |last| last + 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for batch in 0.. {
            let start = first + batch * 20;
            journal.append((start..start + 20).map(entry).collect::<Vec<_>>()).await.unwrap();
            println!("acknowledged {start}");
            std::io::stdout().flush().unwrap();
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let seed = 0x11f7;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_appends_until_it_is_killed", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = |line: std::io::Result<String>| {
            if let Some(start) = line.unwrap().split("acknowledged ").nth(1).and_then(|n| n.parse::<u64>().ok()) {
                acknowledged.extend(start..start + 20);
            }
        };
        for line in lines.by_ref().take(random.random_range(3..60)) {
            heard(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had still said before it died counts too.
        lines.for_each(&mut heard);
        let journal = open(dir.path());
        let found = sequences(&journal);
        assert_eq!(journal.stats().damaged_entries, 0, "seed {seed}, round {round}");
        // Of the batch that nobody was told of, one lane may be there and the other not.
        let once: BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "seed {seed}, round {round}: an entry is there twice");
        let lost: Vec<&u64> = acknowledged.difference(&once).collect();
        assert!(lost.is_empty(), "seed {seed}, round {round}: acknowledged and lost: {lost:?}");
    }
    assert!(acknowledged.len() > 100, "the child never got to work");
}

#[test]
fn a_torn_last_commit_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let journal = open(dir.path());
        for n in 0..10 {
            journal.append((n * 20 + 1..=n * 20 + 20).map(entry).collect::<Vec<_>>()).await.unwrap();
        }
        journal.close().await.unwrap();
        // A power cut while the file grew: its last pages were never written.
        let file = dir.path().join("0000000001.segment");
        let size = std::fs::metadata(&file).unwrap().len();
        std::fs::File::options().write(true).open(&file).unwrap().set_len(size - 4096).unwrap();
        let journal = open(dir.path());
        for lane in Lane::ALL {
            let entries = journal.read(lane, Offset::START, usize::MAX).unwrap();
            assert!(!entries.is_empty(), "what is whole is served");
            assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && seq(&pair[0].1) < seq(&pair[1].1)));
        }
        let lost = journal.stats().damaged_entries;
        assert!(lost > 0 && lost <= 40, "{lost}");
        let head = journal.head(Lane::Telemetry);
        journal.append(vec![entry(1001)]).await.unwrap();
        assert_eq!(journal.read(Lane::Telemetry, head, 10).unwrap().len(), 1);
    });
}
