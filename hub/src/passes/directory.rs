//! Keeps the picture of the registered devices and of their logins in step with the store.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use gateway::Credentials;
use model::{Directory, Profile, ProfileId};
use store::{Change, Store};
use tokio::sync::watch;

use crate::passes::Reconciler;

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

impl Reconciler for RefreshDirectory {
    const NAME: &'static str = "directory";
    const INTERVAL: Duration = Duration::from_secs(5);

    fn wakes(change: &Change) -> bool {
        matches!(change, Change::Directory)
    }

    /// Reads the devices and their secrets anew; if the store fails the old picture stays.
    async fn pass(&self) -> anyhow::Result<()> {
        let devices = self.store.directory_devices().await.context("reading the registered devices")?;
        let devices = devices.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect();
        self.directory.send_replace(Arc::new(Directory { devices, profiles: self.profiles.clone() }));
        let devices = self.store.credentials().await.context("reading the devices' logins")?;
        self.credentials.send_replace(Arc::new(Credentials { devices, enrolment: self.enrolment }));
        Ok(())
    }
}
