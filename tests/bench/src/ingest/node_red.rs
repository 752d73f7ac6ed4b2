//! Node-RED as a competent user sets it up: a flow that collects messages and writes them to PostgreSQL in batches.

use std::path::{Path, PathBuf};

use super::servers::Announced;

/// An installed Node-RED.
pub struct Installed {
    _folder: PathBuf,
}

/// Installs it.
pub fn install(_dir: &Path) -> anyhow::Result<Installed> {
    anyhow::bail!("later")
}

impl Installed {
    /// Starts it.
    pub fn start(&self, _port: u16, _url: &str) -> anyhow::Result<Announced> {
        anyhow::bail!("later")
    }
}
