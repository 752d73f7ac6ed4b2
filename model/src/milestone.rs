//! The milestones of a ticket.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! milestones {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// A step on the way from a fault to its end. Each is recorded only with its proof, and at most once.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum MilestoneKind { $($(#[$doc])* $name,)+ }

        impl MilestoneKind {
            /// Every milestone, in the usual order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name used in the API and the database.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

milestones! {
    /// The hub found the condition. Proof: the alert.
    Detected = "detected",
    /// A message reached a responder's device. Proof: the provider's delivery receipt, or an answer.
    Contacted = "contacted",
    /// A human answered for it. Proof: reply, keypad digit or board action.
    Acknowledged = "acknowledged",
    /// A named person or station has the job. Proof: their own acceptance or the dispatcher's assignment.
    Dispatched = "dispatched",
    /// They said that they are on the way.
    EnRoute = "en_route",
    /// They said that they are on site.
    Arrived = "arrived",
    /// The person is out. Proof: the lift's end of alarm or the responder's report.
    Released = "released",
    /// The device runs again. Proof: every alert cleared.
    Restored = "restored",
    /// The case is finished.
    Closed = "closed",
}

impl fmt::Display for MilestoneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
