//! All MQTT: how devices reach the hub, what their messages mean, when they are acknowledged, and how commands go
//! back down.
//!
//! Two ways in lead to the same intake: [`BrokerLink`] subscribes at an external broker, [`FrontDoor`] is a broker
//! of its own. Both hand over [`Inbound`] messages and acknowledge one only when its [`Ack::done`] is called, which
//! the hub does after the journal has it. [`decode`] turns a message into journal entries; it is pure and never
//! fails: what cannot be used becomes a reject with its reason.
//!
//! No type of an MQTT library leaves this crate.

mod broker;
mod config;
mod decode;
mod downlink;
mod front_door;
mod inbound;
mod route;
mod topic;
mod window;
mod wire;

pub use broker::{BrokerLink, LinkState};
pub use config::{BrokerConfig, CodesConfig, ConfigError, FrontDoorConfig, GatewayConfig, MAX_PACKET, ProtocolVersion};
pub use decode::{DecodeOptions, Decoder, Gateways, Nodes, Request, RestoreError, decode, device_of};
pub use downlink::{Address, Downlink, commands_topic};
pub use front_door::{Credentials, FrontDoor, LostCommands, secret_hash};
pub use inbound::{Ack, Inbound, Inlet, Message, all_done};
pub use route::{Order, Routes};

/// Why a way in could not be opened or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration cannot be used.
    #[error("the MQTT configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The TLS setup failed.
    #[error("TLS towards the broker {host} could not be set up; check ca_file and the system's certificates")]
    Tls {
        /// The broker.
        host: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address of the front door is taken or not ours.
    #[error("the front door cannot listen on {listen}; choose another address or port, or stop what listens there")]
    Listen {
        /// The address.
        listen: std::net::SocketAddr,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The front door stopped by itself.
    #[error("the front door stopped unexpectedly")]
    FrontDoor(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody takes messages any more.
    #[error("the intake has stopped, so no message can be taken; restart the hub")]
    IntakeGone,
}
