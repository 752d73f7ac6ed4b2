//! The hub's disk, at its worst.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::process::Command;

use crate::root;

/// How large the small disk is.
const SIZE: &str = "512m";
/// How slow a flush to a slow disk is.
const SLOW_MS: u32 = 250;

/// A small disk that can be filled; only root can make one.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one; `None` if the system does not let this process.
    ///
    /// # Panics
    /// If there is no temporary folder.
    pub async fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={SIZE}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "liftline-loss"]).arg(folder.path());
        let mounted = mount.output().await.is_ok_and(|output| output.status.success());
        mounted.then_some(Self { folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Leaves no room on it.
    ///
    /// # Panics
    /// If it cannot be written to at all.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            let bytes = vec![0u8; size];
            while filler.write_all(&bytes).is_ok() {}
        }
    }

    /// Makes room on it again.
    pub fn free(&self) {
        drop(std::fs::remove_file(self.filler()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("--lazy").arg(self.folder.path()).output());
    }
}

/// Makes every flush of the hub slow for a while.
pub struct SlowDisk {
    folder: TempDir,
}

impl SlowDisk {
    /// Builds what is preloaded into the hub.
    ///
    /// # Panics
    /// If the C compiler, which the hub's build needs, is not there.
    pub async fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.path().join("slow_sync.so"))
            .arg(root().join("tests/it/peers/slow_sync.c"))
            .arg("-ldl")
            .output()
            .await
            .expect("a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    fn says(&self) -> PathBuf {
        self.folder.path().join("milliseconds")
    }

    /// What the hub's environment must have.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [("LD_PRELOAD", self.folder.path().join("slow_sync.so")), ("SLOW_SYNC", self.says())]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .into()
    }

    /// Flushes are slow from here on.
    ///
    /// # Panics
    /// If the temporary folder is not there.
    pub fn slow_down(&self) {
        std::fs::write(self.says(), SLOW_MS.to_string()).unwrap();
    }

    /// Flushes are as quick as they are.
    pub fn recover(&self) {
        drop(std::fs::remove_file(self.says()));
    }
}
