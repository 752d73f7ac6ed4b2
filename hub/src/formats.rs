//! The memory of formats that have one: births of Sparkplug nodes, and how each device speaks. It is kept in the data
//! folder, so that a restart forgets nothing. A file that is lost or damaged costs little: the node is asked again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use gateway::{Decoder, Downlink};
use metrics::counter;
use model::Clock;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::config::Config;

/// The file of the ways to devices.
const ROUTES: &str = "routes.json";

/// A decoder and where its memory is kept.
pub struct Formats {
    /// Reads messages.
    pub decoder: Decoder,
    /// The folder; none: nothing is kept.
    folder: Option<PathBuf>,
    downlinks: Vec<mpsc::Sender<Downlink>>,
    clock: Arc<dyn Clock>,
    failed: bool,
}

impl Formats {
    /// Opens the memory in the data folder.
    #[must_use]
    pub fn open(config: &Config, downlinks: Vec<mpsc::Sender<Downlink>>, clock: Arc<dyn Clock>) -> Self {
        let folder = config.hub.data_dir.join("formats");
        let mut decoder = config.gateway.decoder();
        for (file, bytes) in kept(&folder) {
            let restored =
                if file.ends_with(ROUTES) { decoder.routes().restore(&bytes) } else { decoder.nodes().restore(&bytes) };
            if let Err(error) = restored {
                warn!(file = %file.display(), "{error}");
            }
        }
        Self { decoder, folder: Some(folder), downlinks, clock, failed: false }
    }

    /// A memory that ends with the process.
    #[must_use]
    pub fn without_memory(decoder: Decoder, clock: Arc<dyn Clock>) -> Self {
        Self { decoder, folder: None, downlinks: Vec::new(), clock, failed: false }
    }

    /// Keeps what the messages since the last call changed, and says what they call for.
    pub fn keep(&mut self) {
        for request in self.decoder.take_requests(self.clock.now()) {
            for link in &self.downlinks {
                // Nobody waits for an answer: if it cannot be sent now, the node's next message makes it due again.
                let (sent, _) = oneshot::channel();
                let (address, payload) = (request.address.clone(), request.payload.clone());
                let busy = link.try_send(Downlink { address, command: None, deadline: None, payload, sent }).is_err();
                counter!("liftline_rebirths_asked_total").increment(u64::from(!busy));
            }
        }
        let changed = self.decoder.nodes().take_changed();
        let routes = self.decoder.routes().take_changed().map(|routes| (ROUTES.to_owned(), routes));
        let Some(folder) = &self.folder else { return };
        for (name, bytes) in changed.into_iter().chain(routes) {
            match write(folder, &name, &bytes) {
                Ok(()) => self.failed = false,
                Err(error) => {
                    if !std::mem::replace(&mut self.failed, true) {
                        warn!(file = %folder.join(name).display(), "a format's memory could not be kept: {error}");
                    }
                }
            }
        }
    }
}

/// The files kept; an unreadable one counts as lost.
fn kept(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = files.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    files
        .filter_map(|file| match std::fs::read(&file) {
            Ok(bytes) => Some((file, bytes)),
            Err(error) => {
                warn!(file = %file.display(), "a format's memory cannot be read: {error}");
                None
            }
        })
        .collect()
}

/// Writes a file whole or not at all. It is not flushed to the disk: what a power cut takes is asked for again.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let draft = folder.join(format!("{name}.new"));
    std::fs::write(&draft, bytes)?;
    std::fs::rename(draft, folder.join(name))
}
