//! The time a device gives, and whether it can be right.

use std::time::Duration;

use model::{RejectReason, Timestamp};

use super::{DecodeOptions, Problem};

/// 2000-01-01T00:00:00Z in milliseconds: no reading is older.
const EARLIEST_MS: i64 = 946_684_800_000;

/// What stood where a time should be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stamp {
    /// A number of milliseconds since 1970, if the device does it right.
    Number(i64),
    /// Something else, in words.
    Other(String),
}

/// The time something held: the device's, or the time of receipt if it gave none.
pub(super) fn resolve(
    options: &DecodeOptions,
    ts: Option<&Stamp>,
    received_at: Timestamp,
) -> Result<Timestamp, Problem> {
    let ms = match ts {
        None => return Ok(received_at),
        Some(Stamp::Number(ms)) => *ms,
        Some(Stamp::Other(found)) => {
            let detail = format!(
                "\"ts\" takes a number of milliseconds since 1970, not {found}; write \"ts\":{} or leave it out",
                received_at.as_millis()
            );
            return Err((RejectReason::WrongType, detail));
        }
    };
    let latest = received_at + options.future_tolerance;
    if (EARLIEST_MS..=latest.as_millis()).contains(&ms) {
        return Ok(Timestamp::from_millis(ms));
    }
    let plausible = |ms: Option<i64>| ms.filter(|ms| (EARLIEST_MS..=latest.as_millis()).contains(ms));
    let detail = if let Some(right) = plausible(ms.checked_mul(1000)) {
        format!("ts {ms} looks like seconds; send milliseconds: {right}")
    } else if let Some(right) = plausible(Some(ms / 1000)) {
        format!("ts {ms} looks like microseconds; send milliseconds: {right}")
    } else if let Some(right) = plausible(Some(ms / 1_000_000)) {
        format!("ts {ms} looks like nanoseconds; send milliseconds: {right}")
    } else if ms < EARLIEST_MS {
        format!(
            "ts {ms} is {}, before the year 2000; set the device's clock, for example by NTP, or leave \"ts\" out",
            Timestamp::from_millis(ms)
        )
    } else {
        let ahead = Timestamp::from_millis(ms).since(received_at);
        format!(
            "ts {ms} lies {} ahead of the hub's clock, and at most {} is accepted; set the device's clock, for \
             example by NTP, or leave \"ts\" out",
            model::duration::format(Duration::from_secs(ahead.as_secs())),
            model::duration::format(options.future_tolerance)
        )
    };
    Err((RejectReason::FutureTimestamp, detail))
}

impl Stamp {
    /// A time written as a floating-point number; its fraction of a millisecond is cut off.
    #[expect(clippy::cast_possible_truncation, reason = "a float beyond i64 saturates, and is then too far away")]
    pub(super) fn from_f64(ms: f64) -> Self {
        Self::Number(ms as i64)
    }
}
