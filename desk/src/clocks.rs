//! How long a ticket took: the figures of service levels and statistics.

use std::time::Duration;

use model::MilestoneKind;
use serde::{Deserialize, Serialize};

use crate::Ticket;

/// Times from detection to the milestones by which rescue services are measured; `None` while not earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clocks {
    /// Until a human answered for it.
    pub acknowledged: Option<Duration>,
    /// Until somebody was on site.
    pub arrived: Option<Duration>,
    /// Until the person was out.
    pub released: Option<Duration>,
    /// Until the device ran again for the first time.
    pub restored: Option<Duration>,
}

/// Reads the clocks of a ticket off its milestones.
#[must_use]
pub fn clocks(ticket: &Ticket) -> Clocks {
    let detected = ticket.milestone(MilestoneKind::Detected).map_or(ticket.opened_at, |milestone| milestone.at);
    let until = |kind| ticket.milestone(kind).map(|milestone| milestone.at.since(detected));
    Clocks {
        acknowledged: until(MilestoneKind::Acknowledged),
        arrived: until(MilestoneKind::Arrived),
        released: until(MilestoneKind::Released),
        restored: until(MilestoneKind::Restored),
    }
}
