//! Fault codes: what regulators and controllers call things, and the neutral names that rules and people use.
//!
//! The neutral enumerations are those of BACnet's lift object (ASHRAE 135, clause 12.59): 17 faults, 14 car modes, 10
//! door states; and a few events that BACnet has no number for. A [`CodeTable`] maps one code set to them and to the
//! events of a profile; it is a TOML file in `codes/`. A [`CodeBook`] says which device speaks which code set.

mod neutral;
mod table;

pub use neutral::{CarMode, DoorState, LiftEvent, LiftFault, Neutral, UnknownNeutral};
pub use table::{Code, CodeBook, CodeTable, CodeTableError, State};
