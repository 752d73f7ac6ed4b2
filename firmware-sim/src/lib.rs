//! Simulated lift controllers and replayed recordings, as real MQTT clients.
//!
//! [`simulate`] runs a [`Scenario`]: a fleet of lifts with a physical model, traffic, wear and scripted trouble.
//! [`replay()`] turns recorded tables into devices. Both encode their own payloads and know nothing of the hub beyond
//! the documented MQTT interface; what really happened goes to a ground-truth file, never to the hub.

pub mod buffer;
mod device;
pub mod dice;
mod fleet;
mod history;
pub mod lab;
pub mod lift;
mod link;
pub mod replay;
pub mod scenario;
mod timeline;
pub mod truth;
pub mod wire;

pub use fleet::{FleetTarget, Login, Progress, SimError, SimOptions, SimReport, TruthOptions, simulate};
pub use link::{LinkError, Protocol};
pub use replay::{Connections, Rebase, ReplayError, ReplayOptions, ReplayPlan, ReplayReport, Speed, replay};
pub use scenario::{Scenario, ScenarioError, SimDevice, SimSite};
