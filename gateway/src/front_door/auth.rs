//! Who may come in, and what they may read. What they may *write* is decided in `decode`, so that an attempt to
//! speak for another device is kept and shown rather than lost.

use std::{collections::HashMap, sync::Arc};

use model::DeviceId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use super::{
    sessions::Sessions,
    wire::{Hello, Refusal},
};
use crate::downlink::commands_topic;

/// The longest client id, in bytes.
const MAX_CLIENT_ID: usize = 256;

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

/// Checks logins.
pub(super) struct Auth {
    pub(super) prefix: String,
    pub(super) credentials: watch::Receiver<Arc<Credentials>>,
}

/// A device that may come in.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) device: DeviceId,
    /// The hash of the secret it used.
    pub(super) secret: Option<[u8; 32]>,
}

/// Which of a device's commands a filter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its commands topic.
    Exact,
    /// That and everything below it.
    Below,
    /// What other platforms send to a device; only its own commands ever come there.
    Foreign,
}

impl Auth {
    /// The device that a connection belongs to, or why it is refused.
    pub(super) fn check(&self, hello: &Hello, sessions: &Sessions) -> Result<Login, (Refusal, &'static str)> {
        const BAD_LOGIN: (Refusal, &str) = (Refusal::BadLogin, "wrong user name or password");
        let given = Sha256::digest(&hello.password);
        let device = DeviceId::new(&hello.username).map_err(|_| BAD_LOGIN)?;
        let secret = self.credentials.borrow().secret_of(&device);
        // An unknown name takes the same path and time as a wrong password.
        let matches = given.ct_eq(&secret.unwrap_or([0; 32]));
        if secret.is_none() || !bool::from(matches) {
            return Err(BAD_LOGIN);
        }
        if hello.client_id.len() > MAX_CLIENT_ID {
            return Err((Refusal::ClientId, "the client id is too long"));
        }
        if hello.client_id.is_empty() && !hello.clean {
            return Err((Refusal::ClientId, "a session that is to be kept needs a client id"));
        }
        if !self.may_be_called(&device, &hello.client_id, sessions) {
            return Err((Refusal::ClientId, "the client id belongs to another device"));
        }
        if let Some(will) = &hello.will {
            let own = format!("{}/{device}/", self.prefix);
            let leaf = std::str::from_utf8(&will.topic).ok().and_then(|topic| topic.strip_prefix(&own));
            // Whether the sender may speak for the Sparkplug node is decided when the certificate is read.
            let death = will.topic.starts_with(b"spBv1.0/") && will.topic.windows(8).any(|part| part == b"/NDEATH/");
            if !death && !matches!(leaf, Some("status" | "events" | "telemetry")) {
                return Err((Refusal::NotAuthorized, "the last will must go to the device's own status topic"));
            }
        }
        Ok(Login { device, secret })
    }

    /// A session belongs to a client id, so no device may take that of another.
    fn may_be_called(&self, device: &DeviceId, client_id: &str, sessions: &Sessions) -> bool {
        let named_after_another =
            device.as_str() != client_id && self.credentials.borrow().devices.contains_key(client_id);
        !named_after_another && sessions.holder(client_id).is_none_or(|holder| holder == *device)
    }

    /// A device reads its own commands and nothing else.
    pub(super) fn may_read(&self, device: &DeviceId, filter: &str) -> Option<Wanted> {
        match filter.strip_prefix(&commands_topic(&self.prefix, device)) {
            Some("") => Some(Wanted::Exact),
            Some("/#") => Some(Wanted::Below),
            Some(_) | None => is_foreign(filter).then_some(Wanted::Foreign),
        }
    }
}

/// True for the filters that devices of other platforms ask for. The front door hands a command to the connections of
/// one device, so that nobody hears another's by asking for more.
fn is_foreign(filter: &str) -> bool {
    let parts: Vec<_> = filter.split('/').collect();
    match parts.as_slice() {
        ["v1", "devices", "me", "rpc", "request", "+"] | ["v1", "gateway", "rpc"] => true,
        // Nothing is ever sent on these, but clients give up if they are refused.
        ["v1", "devices", "me", "attributes"] | ["v1", "devices", "me", "attributes", "response", "+"] => true,
        ["v1", "devices", "me", "rpc", "response", "+"] => true,
        ["v1", "gateway", "attributes"] | ["v1", "gateway", "attributes", "response"] => true,
        ["spBv1.0", _, "NCMD", _] | ["spBv1.0", _, "NCMD" | "DCMD", _, _] => true,
        ["spBv1.0", "STATE", _] | ["STATE", _] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(credentials: Credentials) -> Auth {
        let (_sender, credentials) = watch::channel(Arc::new(credentials));
        Auth { prefix: "liftline".to_owned(), credentials }
    }

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    #[test]
    fn a_device_cannot_take_the_client_id_of_another() {
        let auth = auth(Credentials { devices: HashMap::from([(device("lift-1"), [1; 32])]), enrolment: None });
        let sessions = Sessions::default();
        assert!(auth.may_be_called(&device("lift-1"), "lift-1", &sessions));
        assert!(auth.may_be_called(&device("lift-2"), "anything", &sessions));
        assert!(!auth.may_be_called(&device("lift-2"), "lift-1", &sessions));
        let link = Arc::new(super::super::sessions::Link::new(Arc::default()));
        sessions.arrived("anything".into(), &device("lift-1"), None, true, link);
        assert!(!auth.may_be_called(&device("lift-2"), "anything", &sessions));
    }

    #[test]
    fn a_device_reads_its_own_commands_only() {
        let auth = auth(Credentials::default());
        let allowed = |filter| auth.may_read(&device("lift-1"), filter);
        assert_eq!(allowed("liftline/lift-1/commands"), Some(Wanted::Exact));
        assert_eq!(allowed("liftline/lift-1/commands/#"), Some(Wanted::Below));
        assert_eq!(allowed("v1/devices/me/rpc/request/+"), Some(Wanted::Foreign));
        assert_eq!(allowed("spBv1.0/plant/DCMD/edge-1/#"), Some(Wanted::Foreign));
        for filter in [
            "#",
            "liftline/#",
            "liftline/+/commands",
            "liftline/lift-10/commands",
            "liftline/lift-1/status",
            "$share/g/liftline/lift-1/commands",
            "liftline/lift-1/commands/+/result",
            "v1/devices/me/#",
            "v1/devices/+/rpc/request/+",
            "spBv1.0/#",
            "spBv1.0/+/DDATA/+/+",
        ] {
            assert_eq!(allowed(filter), None, "{filter}");
        }
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
