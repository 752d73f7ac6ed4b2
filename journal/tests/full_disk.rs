//! The journal on a disk that is really full: a small one of its own. Only root can make one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use journal::{Journal, JournalConfig, JournalError, Offset};
use model::{Body, Entry, Lane, Sample, Timestamp, Value};
use tempfile::TempDir;

/// A file system of 8 MiB.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "liftline-journal-test"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: this process may not mount a small disk; run the test as root");
        }
        mounted.then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.path()).output());
    }
}

fn entry(sender: u64, n: u64) -> Entry {
    let time = Timestamp::from_millis(i64::try_from(n).unwrap());
    let values = vec![("door_close_s".parse().unwrap(), Value::Number(2.5))];
    let body = Body::Sample(Sample { time, seq: Some(n), values });
    Entry { device: Some(format!("lift-{sender}").parse().unwrap()), received_at: time, body }
}

/// How often each (device, sequence number) is in the journal.
fn stored(journal: &Journal) -> std::collections::HashMap<(String, u64), usize> {
    let mut stored = std::collections::HashMap::new();
    let mut at = Offset::START;
    loop {
        let entries = journal.read(Lane::Telemetry, at, 1000).unwrap();
        let Some((last, _)) = entries.last() else { return stored };
        at = *last;
        for (_, entry) in entries {
            let Body::Sample(sample) = &entry.body else { panic!("not written here") };
            *stored.entry((entry.device.clone().unwrap().to_string(), sample.seq.unwrap())).or_default() += 1;
        }
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

const SENDERS: u64 = 4;

/// Sends one entry after the other, each until it is acknowledged, as devices do. Returns how many were.
async fn sender(journal: &Journal, number: u64, stop: &AtomicBool, counts: [&AtomicU64; 2]) -> u64 {
    let [acknowledged, refused] = counts;
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        match journal.append(vec![entry(number, n + 1)]).await {
            Ok(()) => {
                n += 1;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                assert!(matches!(error, JournalError::Write { .. }), "{error}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_under_load_stops_acknowledging_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let config = JournalConfig { max_bytes: 1 << 30, ..JournalConfig::default() };
    let journal = Journal::open(&disk.path().join("journal"), &config).unwrap();
    journal.set_cursor("watch", Lane::Telemetry, Offset::START).unwrap();
    let (stop, acknowledged, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let count = || acknowledged.load(Ordering::Relaxed);
    let operator = async {
        for round in 0..3 {
            let before = count();
            until("load", || count() > before + 200).await;
            assert!(!journal.stats().failing);
            disk.fill();
            until("the alarm", || journal.stats().failing).await;
            // A last entry may still fit in pages that are there; then every one is refused.
            let (mut at, mut tries) = (count(), 0);
            loop {
                let before = refused.load(Ordering::Relaxed);
                until("refusals", || refused.load(Ordering::Relaxed) > before + 100).await;
                if count() == at {
                    break;
                }
                (at, tries) = (count(), tries + 1);
                assert!(tries < 20, "round {round}: entries are acknowledged on a full disk");
            }
            assert!(journal.stats().failing, "the alarm stands for as long as the disk is full");
            let readable = u64::try_from(stored(&journal).len()).unwrap();
            assert!(readable >= at, "what is there can be read on a full disk");
            disk.free();
            until("the journal to go on by itself", || count() > at).await;
            until("the end of the alarm", || !journal.stats().failing).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let senders = (1..=SENDERS).map(|number| sender(&journal, number, &stop, [&acknowledged, &refused]));
    let senders: Vec<_> = senders.map(Box::pin).collect();
    let ((), sent) = tokio::join!(operator, all(senders));
    journal.close().await.unwrap();
    let journal = Journal::open(&disk.path().join("journal"), &config).unwrap();
    let found = stored(&journal);
    for (number, sent) in (1..).zip(sent) {
        for n in 1..=sent {
            let copies = found.get(&(format!("lift-{number}"), n)).copied().unwrap_or(0);
            assert!(copies > 0, "lift-{number} was told that {n} of {sent} is stored");
        }
    }
    assert_eq!(journal.stats().damaged_entries, 0);
}

/// Runs futures at the same time on this task.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = std::pin::Pin::new(future).poll(context)
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
async fn a_hub_starts_on_a_full_disk_and_takes_entries_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let folder = disk.path().join("journal");
    let journal = Journal::open(&folder, &JournalConfig::default()).unwrap();
    for n in 1..=50 {
        journal.append(vec![entry(1, n)]).await.unwrap();
    }
    journal.close().await.unwrap();
    disk.fill();
    match Journal::open(&folder, &JournalConfig::default()) {
        Ok(journal) => {
            assert_eq!(stored(&journal).len(), 50);
            while journal.append((1..=200).map(|n| entry(2, n)).collect::<Vec<_>>()).await.is_ok() {}
            disk.free();
            journal.append(vec![entry(3, 1)]).await.unwrap();
            assert!(stored(&journal).contains_key(&("lift-3".to_owned(), 1)));
        }
        Err(error) => {
            assert!(error.to_string().contains("not full"), "{error}");
            disk.free();
            let journal = Journal::open(&folder, &JournalConfig::default()).unwrap();
            assert_eq!(stored(&journal).len(), 50);
        }
    }
}
