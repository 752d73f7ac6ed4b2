//! Keeps the picture of the registered devices and of their logins in step with the store.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use gateway::Credentials;
use model::{Directory, Profile, ProfileId};
use store::{Change, Store};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use crate::passes::Reconciler;

/// For how long the picture is believed while the store says that nothing changed: somebody may have changed it with SQL.
const BELIEVED: Duration = Duration::from_secs(60);

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
    /// The version that was last read, and when; at first none.
    pub read: Mutex<Option<(i64, Instant)>>,
}

impl Reconciler for RefreshDirectory {
    const NAME: &'static str = "directory";
    const INTERVAL: Duration = Duration::from_secs(5);

    fn wakes(change: &Change) -> bool {
        matches!(change, Change::Directory)
    }

    /// Reads the devices and their secrets anew if they may have changed; if the store fails the old picture stays.
    async fn pass(&self) -> anyhow::Result<()> {
        let mut read = self.read.lock().await;
        // Asked before the devices are read: what changes meanwhile is read next time.
        let version = self.store.directory_version().await.context("asking whether devices changed")?;
        if read.is_some_and(|(known, at)| known == version && at.elapsed() < BELIEVED) {
            return Ok(());
        }
        let devices = self.store.directory_devices().await.context("reading the registered devices")?;
        let devices = devices.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect();
        self.directory.send_replace(Arc::new(Directory { devices, profiles: self.profiles.clone() }));
        let devices = self.store.credentials().await.context("reading the devices' logins")?;
        self.credentials.send_replace(Arc::new(Credentials { devices, enrolment: self.enrolment }));
        *read = Some((version, Instant::now()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::{Device, DeviceId, Timestamp};
    use store::{AuditActor, DeskSettings, NewSite, StoreConfig};

    use super::*;

    #[tokio::test]
    async fn devices_are_read_when_another_process_changed_them_and_not_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            StoreConfig { url: format!("sqlite:{}", dir.path().join("s.db").display()), ..StoreConfig::default() };
        let desk =
            DeskSettings { policies: desk::Policies::default(), public_url: "https://lifts.example.org".to_owned() };
        let store = Store::open(&config, desk.clone()).await.unwrap();
        let (directory, mut devices) = watch::channel(Arc::new(Directory::default()));
        let (credentials, logins) = watch::channel(Arc::new(Credentials::default()));
        let refresh = RefreshDirectory {
            store,
            profiles: HashMap::new(),
            enrolment: None,
            directory,
            credentials,
            read: Mutex::default(),
        };
        refresh.pass().await.unwrap();
        devices.mark_unchanged();
        refresh.pass().await.unwrap();
        assert!(!devices.has_changed().unwrap(), "nothing has changed");

        let other = Store::attach(&config, desk).await.unwrap();
        let now = Timestamp::from_secs(1_767_225_600);
        let org = other.create_org("Metro", now).await.unwrap().id;
        let site = NewSite { org, name: "North".to_owned(), address: String::new(), time_zone: "UTC".to_owned() };
        let site = other.create_site(&site, now).await.unwrap().id;
        let id = DeviceId::new("lift-1").unwrap();
        let profile = ProfileId::new("lift").unwrap();
        let device = Device { id: id.clone(), org, site, profile, name: "Lift 1".to_owned(), plate: None };
        let mut secret = [1; 32];
        for moved in ["registered", "given another secret"] {
            other.upsert_device(&device, Some(secret), &AuditActor::CommandLine, now).await.unwrap();
            refresh.pass().await.unwrap();
            assert!(devices.borrow_and_update().devices.contains_key(&id), "{moved}");
            assert_eq!(logins.borrow().devices[&id], secret, "{moved}");
            secret = [2; 32];
        }
    }
}
