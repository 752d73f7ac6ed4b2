//! Keeps the picture of the registered devices and of their logins in step with the store.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context as _;
use gateway::Credentials;
use model::{Directory, Profile, ProfileId};
use store::Store;
use tokio::sync::watch;

/// Refreshes the directory.
pub struct RefreshDirectory {
    /// Where devices are registered.
    pub store: Store,
    /// The profiles, which do not change while the hub runs.
    pub profiles: HashMap<ProfileId, Arc<Profile>>,
    /// SHA-256 of the secret that unregistered devices may log in with.
    pub enrolment: Option<[u8; 32]>,
    /// Who looks devices up.
    pub directory: watch::Sender<Arc<Directory>>,
    /// Who checks logins.
    pub credentials: watch::Sender<Arc<Credentials>>,
}

impl RefreshDirectory {
    /// Reads the devices and their secrets anew.
    ///
    /// # Errors
    /// If the store fails; the old picture stays.
    pub async fn pass(&self) -> anyhow::Result<()> {
        let devices = self.store.directory_devices().await.context("reading the registered devices")?;
        let devices = devices.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect();
        self.directory.send_replace(Arc::new(Directory { devices, profiles: self.profiles.clone() }));
        let devices = self.store.credentials().await.context("reading the devices' logins")?;
        self.credentials.send_replace(Arc::new(Credentials { devices, enrolment: self.enrolment }));
        Ok(())
    }
}
