//! Tickets, milestones, escalation and rotas as pure state machines.
//!
//! [`open`] makes a ticket of an alert, [`transition`] advances it. Alerts, board buttons, SMS replies, keypad
//! digits, delivery receipts and timers all go through that one path. Nothing here reads a clock or does I/O: the
//! store loads, calls, and commits ticket, timeline and outbox in one transaction.

mod act;
pub mod causes;
mod clocks;
mod draft;
mod escalate;
pub mod impact;
pub mod noise;
mod notices;
mod open;
pub mod parts;
pub mod policy;
mod proof;
pub mod rank;
pub mod rota;
pub mod ticket;
pub mod transition;

#[cfg(test)]
mod tests;

pub use act::applicable;
pub use causes::{Confirmed, Preparation};
pub use clocks::{Clocks, clocks};
pub use noise::{Noise, NoiseError, Reason, Silence, Surroundings};
pub use open::open;
pub use policy::{Policies, Policy, PolicyError, Step};
pub use rota::{Rota, RotaError};
pub use ticket::{
    Action, Actor, Affected, Contact, Effect, Escalation, Event, Milestone, News, Notification, Responder, Roster,
    Status, Ticket, TicketAlert, TimelineEntry, What,
};
pub use transition::{TransitionError, transition};
