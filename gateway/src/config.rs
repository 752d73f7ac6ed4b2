//! The section `[gateway]` of the configuration.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use model::{ProfileId, codes::CodeBook};
use serde::Deserialize;

use crate::{DecodeOptions, Decoder, Gateways};

/// The largest MQTT packet handled, in bytes. The front door disconnects a client that sends more; an MQTT 5 broker
/// is told the limit and discards what exceeds it.
pub const MAX_PACKET: usize = 1 << 20;
/// What a packet holds beside the payload: topic and properties.
const PACKET_ROOM: usize = 72 * 1024;

/// How devices reach the hub. At least one of `broker` and `front_door` is needed to hear anything.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// What every topic begins with.
    pub prefix: String,
    /// The largest payload accepted, in bytes.
    pub max_payload: usize,
    /// How far ahead of the hub's clock a device's time may lie.
    #[serde(with = "model::duration")]
    pub future_tolerance: Duration,
    /// An external broker to subscribe at.
    pub broker: Option<BrokerConfig>,
    /// The hub's own broker.
    pub front_door: Option<FrontDoorConfig>,
    /// Which devices are gateways at the front door, and the devices each may speak for; `*` is all.
    pub speaks_for: Gateways,
    /// Devices that send a regulator's or a controller's own codes.
    pub codes: CodesConfig,
    /// The tables of those codes, read by the hub.
    #[serde(skip)]
    pub code_book: CodeBook,
}

/// Devices that send a regulator's or a controller's own codes instead of the profile's events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodesConfig {
    /// Tables of codes beside the ones that come with the hub. One with the same id replaces it.
    pub files: Vec<PathBuf>,
    /// The code set of every device of a profile.
    pub profiles: BTreeMap<ProfileId, String>,
    /// The code set of one device, or of all whose names begin with what stands before a `*`.
    pub devices: BTreeMap<String, String>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            prefix: "liftline".to_owned(),
            max_payload: 256 * 1024,
            future_tolerance: Duration::from_secs(300),
            broker: None,
            front_door: None,
            speaks_for: Gateways::new(),
            codes: CodesConfig::default(),
            code_book: CodeBook::default(),
        }
    }
}

/// The MQTT version spoken with an external broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum ProtocolVersion {
    /// MQTT 5.0.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1: the broker's in-flight limit, often 20, then bounds the rate.
    #[serde(rename = "3.1.1")]
    V311,
}

/// An external broker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The client id. The broker keeps what arrives while the hub is away under this name, so it must be stable and
    /// belong to one hub only.
    pub client_id: String,
    /// The user name to log in with.
    pub username: Option<String>,
    /// A file that holds the password; a final line break is not part of it.
    pub password_file: Option<PathBuf>,
    /// The MQTT version.
    pub protocol: ProtocolVersion,
    /// How many messages may be unacknowledged at once on each connection (MQTT 5). What exceeds it waits in the
    /// broker's queue, which is often short.
    pub receive_maximum: u16,
    /// How many connections take measurements, as a shared subscription if there are several. Events have one of
    /// their own beside them.
    pub connections: u8,
    /// Encrypt the connection.
    pub tls: bool,
    /// The certificates (PEM) of the authority that signed the broker's; the system's authorities if absent.
    pub ca_file: Option<PathBuf>,
    /// How often to say that the hub is still there.
    #[serde(with = "model::duration")]
    pub keep_alive: Duration,
    /// How long the broker is asked to keep messages while the hub is away (MQTT 5).
    #[serde(with = "model::duration")]
    pub session_expiry: Duration,
    /// Also listen to gateways that speak ThingsBoard's gateway API on this broker.
    pub thingsboard_gateways: bool,
    /// The Sparkplug B groups to listen to; `+` is all.
    pub sparkplug_groups: Vec<String>,
    /// The longest pause between attempts to connect.
    #[serde(with = "model::duration")]
    pub max_backoff: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 1883,
            client_id: "liftline-hub".to_owned(),
            username: None,
            password_file: None,
            protocol: ProtocolVersion::V5,
            receive_maximum: 60_000,
            connections: 1,
            tls: false,
            ca_file: None,
            keep_alive: Duration::from_secs(30),
            session_expiry: Duration::from_secs(7 * 86_400),
            thingsboard_gateways: false,
            sparkplug_groups: Vec::new(),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// The hub's own broker: MQTT 3.1.1 and 5 on one port.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontDoorConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How many devices may be connected at once.
    pub max_connections: usize,
    /// The keep-alive imposed on MQTT 5 devices; their own choice if absent. A device that falls silent is off line
    /// after one and a half times its keep-alive; one that chose none, after five minutes.
    #[serde(with = "model::duration::option")]
    pub keep_alive: Option<Duration>,
    /// How long commands wait for a device that is away.
    #[serde(with = "model::duration")]
    pub session_expiry: Duration,
    /// How many messages a second each connection may send; what exceeds that waits in the device.
    pub message_rate: u32,
}

impl Default for FrontDoorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 1883)),
            max_connections: 10_000,
            keep_alive: None,
            session_expiry: Duration::from_secs(86_400),
            message_rate: 10_000,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gateway.{key}: {message}; {remedy}")]
pub struct ConfigError {
    /// The setting, such as `broker.receive_maximum`.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

fn wrong(key: &'static str, message: impl Into<String>, remedy: &'static str) -> Result<(), ConfigError> {
    Err(ConfigError { key, message: message.into(), remedy })
}

impl GatewayConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.prefix.is_empty()
            || self.prefix.len() > 256
            || self.prefix.starts_with(['/', '$'])
            || self.prefix.ends_with('/')
        {
            return wrong(
                "prefix",
                format!("\"{}\" cannot begin topics", self.prefix),
                "write 1 to 256 characters without / or $ at the start or / at the end, such as \"liftline\"",
            );
        }
        if let Some(bad) = self.prefix.chars().find(|c| matches!(c, '+' | '#') || c.is_control()) {
            return wrong("prefix", format!("{bad:?} has a meaning of its own in topic filters"), "leave it out");
        }
        if !(1024..=MAX_PACKET - PACKET_ROOM).contains(&self.max_payload) {
            return wrong(
                "max_payload",
                format!("{} bytes is not a usable limit", self.max_payload),
                "write between 1024 and 974848",
            );
        }
        self.broker.as_ref().map_or(Ok(()), BrokerConfig::validate)?;
        self.front_door.as_ref().map_or(Ok(()), FrontDoorConfig::validate)
    }

    /// A reader of messages.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.decode_options(), self.speaks_for.clone())
    }

    /// What [`crate::decode`] needs of it.
    #[must_use]
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            prefix: self.prefix.clone(),
            max_payload: self.max_payload,
            future_tolerance: self.future_tolerance,
            codes: self.code_book.clone(),
        }
    }
}

impl BrokerConfig {
    /// The topics of other platforms to listen to.
    pub(crate) fn foreign_filters(&self) -> Vec<String> {
        let mut filters = Vec::new();
        if self.thingsboard_gateways {
            filters.extend(
                ["telemetry", "attributes", "connect", "disconnect", "rpc"].map(|leaf| format!("v1/gateway/{leaf}")),
            );
        }
        for group in &self.sparkplug_groups {
            for kind in ["NBIRTH", "NDATA", "NDEATH"] {
                filters.push(format!("spBv1.0/{group}/{kind}/+"));
            }
            for kind in ["DBIRTH", "DDATA", "DDEATH"] {
                filters.push(format!("spBv1.0/{group}/{kind}/+/+"));
            }
        }
        filters
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.host.is_empty() {
            return wrong("broker.host", "it is empty", "write the broker's name or address");
        }
        if let Some(group) = self
            .sparkplug_groups
            .iter()
            .find(|group| group.is_empty() || group.contains(['/', '#']) || (group.contains('+') && *group != "+"))
        {
            return wrong(
                "broker.sparkplug_groups",
                format!("\"{group}\" is no group"),
                "write names of groups, or + for all",
            );
        }
        if self.client_id.is_empty() {
            return wrong("broker.client_id", "it is empty", "write a name that no other client of the broker uses");
        }
        if self.receive_maximum == 0 {
            return wrong("broker.receive_maximum", "with 0 nothing could arrive", "write 500 or more");
        }
        if !(1..=16).contains(&self.connections) {
            return wrong("broker.connections", "it must be 1 to 16", "write 1, or 4 with protocol = \"3.1.1\"");
        }
        if self.username.is_none() && self.password_file.is_some() {
            return wrong("broker.username", "a password is given without a user name", "add username");
        }
        if self.ca_file.is_some() && !self.tls {
            return wrong("broker.ca_file", "it is of no use without TLS", "add tls = true");
        }
        if !(1..=u64::from(u16::MAX)).contains(&self.keep_alive.as_secs()) {
            return wrong("broker.keep_alive", "it must be 1 s to 65535 s", "write \"30s\"");
        }
        if self.max_backoff < Duration::from_secs(1) {
            return wrong("broker.max_backoff", "it must be at least 1 s", "write \"30s\"");
        }
        Ok(())
    }
}

impl FrontDoorConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            return wrong("front_door.max_connections", "with 0 no device could connect", "write 10000");
        }
        if self.message_rate == 0 {
            return wrong("front_door.message_rate", "with 0 no message could arrive", "write 10000");
        }
        if self.keep_alive.is_some_and(|keep_alive| !(5..=u64::from(u16::MAX)).contains(&keep_alive.as_secs())) {
            return wrong("front_door.keep_alive", "it must be 5 s to 65535 s", "write \"60s\"");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<GatewayConfig>(text)
            .map_err(|error| error.message().to_owned())?
            .validate()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_section_and_the_documented_keys_are_accepted() {
        assert_eq!(check(""), Ok(()));
        assert_eq!(
            check(
                "[broker]\nhost = \"b\"\nprotocol = \"3.1.1\"\nmax_backoff = \"10s\"\n[front_door]\nkeep_alive = \"60s\""
            ),
            Ok(())
        );
    }

    #[test]
    fn a_bad_setting_is_named_with_its_remedy() {
        assert!(check("prefx = \"x\"").unwrap_err().contains("unknown field `prefx`"));
        assert!(check("[broker]\nprotocol = \"4\"").unwrap_err().contains("expected `5` or `3.1.1`"));
        assert!(check("future_tolerance = \"5\"").unwrap_err().contains("is not a duration"));
        assert_eq!(
            check("[broker]\nreceive_maximum = 0").unwrap_err(),
            "gateway.broker.receive_maximum: with 0 nothing could arrive; write 500 or more"
        );
        for bad in [
            "prefix = \"\"",
            "prefix = \"a/+\"",
            "prefix = \"/a\"",
            "max_payload = 2000000",
            "[front_door]\nmax_connections = 0",
            "[broker]\nhost = \"\"",
            "[broker]\nclient_id = \"\"",
            "[broker]\nconnections = 0",
            "[broker]\npassword_file = \"p\"",
            "[broker]\nca_file = \"c\"",
            "[broker]\nkeep_alive = \"0s\"",
            "[front_door]\nkeep_alive = \"1s\"",
            "[front_door]\nmessage_rate = 0",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
