//! Registering unknown devices when they first speak, where the configuration allows it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use model::{Clock, Device, DeviceId, Directory, OrgId, ProfileId, SiteId};
use store::{AuditActor, Store};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{info, warn};

/// How long intake may wait for the new device to appear in the directory.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long nothing is enrolled after the database failed to answer: everything that is received waits meanwhile.
const PAUSE: Duration = Duration::from_secs(30);
/// How long the database has to register a device.
const REGISTERING: Duration = Duration::from_secs(5);
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
    /// Until when nothing is enrolled.
    pub paused_until: Option<Instant>,
}

impl Enrolment {
    /// Registers a device and waits until the directory knows it; false if it could not be registered.
    pub async fn enrol(&mut self, device: &DeviceId, directory: &mut watch::Receiver<Arc<Directory>>) -> bool {
        if self.seen.len() >= MAX_ENROLLED || self.paused_until.is_some_and(|until| Instant::now() < until) {
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
            let registering = self.store.upsert_device(&row, None, &AuditActor::Hub, self.clock.now());
            let registered = match timeout(REGISTERING, registering).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(failure)) => Err((failure.is_unavailable(), failure.to_string())),
                Err(_) => Err((true, "the database takes too long".to_owned())),
            };
            if let Err((unavailable, failure)) = registered {
                warn!(device.id = %device, "an unknown device could not be enrolled: {failure}");
                self.seen.remove(device);
                if unavailable {
                    self.paused_until = Some(Instant::now() + PAUSE);
                }
                return false;
            }
            info!(device.id = %device, profile.id = %self.profile, "enrolled a new device");
        }
        let known = directory.wait_for(|directory| directory.devices.contains_key(device));
        let is_known = matches!(timeout(PATIENCE, known).await, Ok(Ok(_)));
        if !is_known {
            self.paused_until = Some(Instant::now() + PAUSE);
        }
        is_known
    }
}
