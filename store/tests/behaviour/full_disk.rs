//! An SQLite database on a disk that is really full: a small one of its own, which only root can make.

use std::{fs::File, io::Write as _, process::Command};

use model::Value;
use store::{RecorderBatch, Row, Store, StoreConfig};

use crate::harness::{World, desk_settings, device_id, profile, row, secs, start};

/// Unmounts also when the test fails.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).output());
    }
}

fn batch(n: u64) -> RecorderBatch {
    let rows = (0..500).map(|i| {
        let value = Value::Number(f64::from(u32::try_from(n * 500 + i).unwrap()) / 7.0);
        row("lift-1", start() + secs(n * 500 + i), Some(n * 500 + i), &[("speed", value)])
    });
    RecorderBatch { rows: rows.collect(), ..RecorderBatch::default() }
}

async fn seqs(store: &Store, world: &World) -> Vec<u64> {
    let (from, to) = (start(), start() + secs(1_000_000));
    let rows: Vec<Row> = store.readings(world.org, &device_id("lift-1"), from, to, 1_000_000).await.unwrap();
    rows.into_iter().filter_map(|row| row.seq).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_keeps_what_is_there_and_goes_on() {
    let disk = Mounted(tempfile::tempdir().unwrap());
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=16m", "liftline-store-test"]).arg(disk.0.path());
    if !mount.output().is_ok_and(|output| output.status.success()) {
        println!("skipped: this process may not mount a small disk; run the test as root");
        return;
    }
    let url = format!("sqlite:{}", disk.0.path().join("store.db").display());
    let config = StoreConfig { url, ..StoreConfig::default() };
    let store = Store::open(&config, desk_settings()).await.unwrap();
    let world = World::named(&store, "Metro", "lift", "+8613800000000").await;
    store.ensure_profile(&profile(&[])).await.unwrap();
    let mut next = 0;
    for _ in 0..3 {
        for _ in 0..3 {
            store.record(&batch(next), start()).await.unwrap();
            next += 1;
        }
        assert!(!store.is_failing());
        let path = disk.0.path().join("filler");
        let mut filler = File::options().create(true).append(true).open(&path).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
        drop(filler);
        // The write-ahead log has some pages left from before.
        let mut written = 0;
        let error = loop {
            match store.record(&batch(next), start()).await {
                Ok(_) => (next, written) = (next + 1, written + 1),
                Err(error) => break error,
            }
            assert!(written < 1000, "a full disk takes everything");
        };
        assert!(error.is_unavailable(), "worth trying again: {error}");
        assert!(store.is_failing());
        assert!(store.record(&batch(next), start()).await.is_err());
        assert_eq!(seqs(&store, &world).await, (0..next * 500).collect::<Vec<_>>(), "all that was taken can be read");
        std::fs::remove_file(&path).unwrap();
        store.record(&batch(next), start()).await.unwrap();
        next += 1;
    }
    assert_eq!(seqs(&store, &world).await, (0..next * 500).collect::<Vec<_>>());
    store.close().await;
}
