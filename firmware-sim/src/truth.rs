//! The ground truth: what really happened and when, written to a JSON Lines file for scoring. It never goes to the hub.

use std::path::{Path, PathBuf};

use model::{DeviceId, Timestamp};
use serde::Serialize;
use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter},
    sync::mpsc,
};

/// Whether something began, ended, or happened at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It began.
    Begin,
    /// It ended.
    End,
}

/// Something that really happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Note {
    /// When, by true time.
    pub time: Timestamp,
    /// What: `trapped`, `power_cut`, `door wear`…
    pub cause: &'static str,
    /// Whether it began or ended.
    pub phase: Phase,
    /// More about it.
    pub detail: String,
}

impl Note {
    /// Something began.
    pub fn begin(cause: &'static str, detail: impl Into<String>) -> Self {
        Self { time: Timestamp::default(), cause, phase: Phase::Begin, detail: detail.into() }
    }

    /// Something ended.
    pub fn end(cause: &'static str, detail: impl Into<String>) -> Self {
        Self { time: Timestamp::default(), cause, phase: Phase::End, detail: detail.into() }
    }

    /// The same at a time.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A cause or its effect.
    Cause {
        /// The device.
        device: DeviceId,
        /// What happened.
        #[serde(flatten)]
        note: Note,
    },
    /// The broker acknowledged a message.
    Acknowledged {
        /// The device.
        device: DeviceId,
        /// When the acknowledgement was seen.
        time: Timestamp,
        /// The counts of the reports that it carried.
        seq: Vec<u64>,
    },
}

/// Where lines are sent; a full queue holds the sender back.
#[derive(Debug, Clone)]
pub struct TruthSink {
    lines: Option<mpsc::Sender<Line>>,
    acknowledgements: bool,
}

/// The file that takes the lines.
#[derive(Debug)]
pub struct TruthFile {
    path: PathBuf,
    file: BufWriter<File>,
    lines: mpsc::Receiver<Line>,
}

/// The ground truth could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the ground truth could not be written to {}; check the folder and the room on the disk", path.display())]
pub struct TruthError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

impl TruthSink {
    /// A sink that keeps nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { lines: None, acknowledgements: false }
    }

    /// A sink into a new file, and the file to be run.
    ///
    /// # Errors
    /// [`TruthError`] if the file cannot be created.
    pub async fn file(path: &Path, acknowledgements: bool) -> Result<(Self, TruthFile), TruthError> {
        let file = File::create(path).await.map_err(|source| TruthError { path: path.to_owned(), source })?;
        let (sender, lines) = mpsc::channel(4096);
        let file = TruthFile { path: path.to_owned(), file: BufWriter::new(file), lines };
        Ok((Self { lines: Some(sender), acknowledgements }, file))
    }

    /// Notes a cause or its effect.
    pub async fn cause(&self, device: &DeviceId, note: Note) {
        self.send(Line::Cause { device: device.clone(), note }).await;
    }

    /// Notes an acknowledgement, if they are wanted.
    pub async fn acknowledged(&self, device: &DeviceId, time: Timestamp, seq: Vec<u64>) {
        if self.acknowledgements && !seq.is_empty() {
            self.send(Line::Acknowledged { device: device.clone(), time, seq }).await;
        }
    }

    async fn send(&self, line: Line) {
        if let Some(lines) = &self.lines {
            // The receiver ends early only when the file cannot be written; its own error is what gets reported.
            let _closed = lines.send(line).await;
        }
    }
}

impl TruthFile {
    /// Writes lines until every sink is gone.
    ///
    /// # Errors
    /// [`TruthError`] if the file cannot be written.
    pub async fn run(mut self) -> Result<(), TruthError> {
        let written = async {
            while let Some(line) = self.lines.recv().await {
                let mut text = serde_json::to_vec(&line).map_err(std::io::Error::other)?;
                text.push(b'\n');
                self.file.write_all(&text).await?;
                if self.lines.is_empty() {
                    self.file.flush().await?;
                }
            }
            self.file.flush().await
        };
        written.await.map_err(|source| TruthError { path: self.path.clone(), source })
    }
}
