//! Who may come in, and what they may read. What they may *write* is decided in `decode`, so that an attempt to
//! speak for another device is kept and shown rather than lost.

use std::{collections::HashMap, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use model::DeviceId;
use mqtt5::{
    broker::{AuthProvider, AuthResult},
    packet::connect::ConnectPacket,
    protocol::v5::reason_codes::ReasonCode,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tracing::info;

use super::Shared;
use crate::downlink::commands_topic;

/// The logins of the devices.
#[derive(Clone, Default)]
pub struct Credentials {
    /// SHA-256 of each device's secret. Secrets are long and random, so a plain hash is enough.
    pub devices: HashMap<DeviceId, [u8; 32]>,
    /// SHA-256 of the secret that any device without one of its own may log in with; `None` turns that off.
    pub enrolment: Option<[u8; 32]>,
}

impl Credentials {
    /// The hash that a device's secret must have; `None` if it cannot log in.
    pub(super) fn secret_of(&self, device: &DeviceId) -> Option<[u8; 32]> {
        self.devices.get(device).copied().or(self.enrolment)
    }
}

/// What [`Credentials`] hold of a secret.
#[must_use]
pub fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

pub(super) struct Auth {
    pub(super) shared: Arc<Shared>,
    pub(super) credentials: watch::Receiver<Arc<Credentials>>,
}

impl Auth {
    /// The device that a connection belongs to, or why it is refused.
    fn check(&self, connect: &ConnectPacket) -> Result<DeviceId, (ReasonCode, &'static str)> {
        const BAD_LOGIN: (ReasonCode, &str) = (ReasonCode::BadUsernameOrPassword, "wrong user name or password");
        let name = connect.username.as_deref().unwrap_or_default();
        let given = Sha256::digest(connect.password.as_deref().unwrap_or_default());
        let device = DeviceId::new(name).map_err(|_| BAD_LOGIN)?;
        let expected = self.credentials.borrow().secret_of(&device);
        // An unknown name takes the same path and time as a wrong password.
        let matches = given.ct_eq(&expected.unwrap_or([0; 32]));
        if expected.is_none() || !bool::from(matches) {
            return Err(BAD_LOGIN);
        }
        if !self.may_be_called(&device, &connect.client_id) {
            return Err((ReasonCode::ClientIdentifierNotValid, "the client id belongs to another device"));
        }
        if let Some(will) = &connect.will {
            let own = format!("{}/{device}/", self.shared.prefix);
            if !matches!(will.topic.strip_prefix(&own), Some("status" | "events" | "telemetry")) {
                return Err((ReasonCode::NotAuthorized, "the last will must go to the device's own status topic"));
            }
        }
        Ok(device)
    }

    /// A session belongs to a client id, so no device may take that of another.
    fn may_be_called(&self, device: &DeviceId, client_id: &str) -> bool {
        let named_after_another =
            device.as_str() != client_id && self.credentials.borrow().devices.contains_key(client_id);
        !named_after_another && self.shared.roll.holder(client_id).is_none_or(|holder| holder == *device)
    }

    /// A device reads its own commands and nothing else.
    fn may_read(&self, user: Option<&str>, filter: &str) -> bool {
        user.and_then(|name| DeviceId::new(name).ok()).is_some_and(|device| {
            let own = commands_topic(&self.shared.prefix, &device);
            filter == own || filter.strip_prefix(&own) == Some("/#")
        })
    }
}

impl AuthProvider for Auth {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        client_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = mqtt5::error::Result<AuthResult>> + Send + 'a>> {
        let result = match self.check(connect) {
            Ok(device) => AuthResult::success_with_user(device.to_string()),
            Err((code, reason)) => {
                metrics::counter!("liftline_front_door_logins_refused_total").increment(1);
                let name: String = connect.username.as_deref().unwrap_or_default().chars().take(64).collect();
                info!(address = %client_addr, username = name, reason, "a login was refused at the front door");
                AuthResult::fail_with_reason(code, reason)
            }
        };
        Box::pin(async move { Ok(result) })
    }

    fn authorize_publish<'a>(
        &'a self,
        _client_id: &str,
        user_id: Option<&'a str>,
        _topic: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let logged_in = user_id.is_some();
        Box::pin(async move { logged_in })
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client_id: &str,
        user_id: Option<&'a str>,
        topic_filter: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let allowed = self.may_read(user_id, topic_filter);
        Box::pin(async move { allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(credentials: Credentials) -> Auth {
        let (_sender, credentials) = watch::channel(Arc::new(credentials));
        Auth {
            shared: Arc::new(Shared::new("liftline".to_owned(), Arc::new(model::ManualClock::default()))),
            credentials,
        }
    }

    #[test]
    fn a_device_cannot_take_the_client_id_of_another() {
        let device = |name| DeviceId::new(name).unwrap();
        let auth = auth(Credentials { devices: HashMap::from([(device("lift-1"), [1; 32])]), enrolment: None });
        assert!(auth.may_be_called(&device("lift-1"), "lift-1"));
        assert!(auth.may_be_called(&device("lift-2"), "anything"));
        assert!(!auth.may_be_called(&device("lift-2"), "lift-1"));
        auth.shared.roll.arrived("anything".into(), device("lift-1"), None);
        assert!(!auth.may_be_called(&device("lift-2"), "anything"));
    }

    #[test]
    fn a_device_reads_its_own_commands_only() {
        let auth = auth(Credentials::default());
        let allowed = |filter| auth.may_read(Some("lift-1"), filter);
        assert!(allowed("liftline/lift-1/commands"));
        assert!(allowed("liftline/lift-1/commands/#"));
        for filter in [
            "#",
            "liftline/#",
            "liftline/+/commands",
            "liftline/lift-10/commands",
            "liftline/lift-1/status",
            "$share/g/liftline/lift-1/commands",
            "liftline/lift-1/commands/+/result",
        ] {
            assert!(!allowed(filter), "{filter}");
        }
        assert!(!auth.may_read(None, "liftline/lift-1/commands"));
    }

    #[test]
    fn a_device_with_its_own_secret_cannot_use_the_enrolment_secret() {
        let device = |name| DeviceId::new(name).unwrap();
        let credentials = Credentials {
            devices: HashMap::from([(device("lift-1"), secret_hash("own"))]),
            enrolment: Some(secret_hash("shared")),
        };
        assert_eq!(credentials.secret_of(&device("lift-1")), Some(secret_hash("own")));
        assert_eq!(credentials.secret_of(&device("lift-2")), Some(secret_hash("shared")));
        assert_eq!(Credentials::default().secret_of(&device("lift-2")), None);
    }
}
