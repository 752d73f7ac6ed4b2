//! Registering unknown devices when they first speak, where the configuration allows it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use model::{Clock, Device, DeviceId, Directory, OrgId, ProfileId, SiteId};
use store::{AuditActor, Store};
use tokio::sync::watch;
use tracing::{info, warn};

/// How long intake may wait for the new device to appear in the directory.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many devices may be enrolled by themselves in one run of the hub.
const MAX_ENROLLED: usize = 100_000;

/// Registers unknown devices into one site.
pub struct Enrolment {
    /// Where they are registered.
    pub store: Store,
    /// The time of registration.
    pub clock: Arc<dyn Clock>,
    /// The organisation they join.
    pub org: OrgId,
    /// The site they join.
    pub site: SiteId,
    /// The profile they get.
    pub profile: ProfileId,
    /// Those enrolled in this run, or refused by the database once.
    pub seen: HashSet<DeviceId>,
}

impl Enrolment {
    /// Registers a device and waits until the directory knows it; false if it could not be registered.
    pub async fn enrol(&mut self, device: &DeviceId, directory: &mut watch::Receiver<Arc<Directory>>) -> bool {
        if self.seen.len() >= MAX_ENROLLED {
            return false;
        }
        if self.seen.insert(device.clone()) {
            let row = Device {
                id: device.clone(),
                org: self.org,
                site: self.site,
                profile: self.profile.clone(),
                name: device.to_string(),
                plate: None,
            };
            if let Err(failure) = self.store.upsert_device(&row, None, &AuditActor::Hub, self.clock.now()).await {
                warn!(device.id = %device, "an unknown device could not be enrolled: {failure}");
                self.seen.remove(device);
                return false;
            }
            info!(device.id = %device, profile.id = %self.profile, "enrolled a new device");
        }
        let known = directory.wait_for(|directory| directory.devices.contains_key(device));
        matches!(tokio::time::timeout(PATIENCE, known).await, Ok(Ok(_)))
    }
}
