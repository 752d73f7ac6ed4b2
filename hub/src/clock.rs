//! The one place that reads the wall clock.

use model::{Clock, Timestamp};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "everything else takes this clock")]
    fn now(&self) -> Timestamp {
        jiff::Timestamp::now().into()
    }
}
