//! Durations as people write them: `500ms`, `30s`, `10m`, `8h`, `14d`, or several parts as in `1h 30m`.
//!
//! Use as `#[serde(with = "model::duration")]`, or `model::duration::option` for an optional field.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// The longest duration accepted: ten years.
pub const MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a duration: write a number and a unit (ms, s, m, h or d), such as \"30s\" or \"1h 30m\"")]
pub struct DurationError(pub String);

/// Reads a duration.
///
/// # Errors
/// [`DurationError`] if the text is not numbers with units or exceeds [`MAX`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.to_owned());
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let tail = &rest[digits..];
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let unit_ms: u64 = match &tail[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let part = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(bad)?);
        total = total.checked_add(part).filter(|t| *t <= MAX).ok_or_else(bad)?;
        rest = tail[letters..].trim_start();
    }
    Ok(total)
}

/// Writes a duration so that [`parse`] reads it back (to the millisecond).
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut ms = duration.as_millis();
    let mut parts = Vec::new();
    for (unit, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if ms >= unit_ms {
            parts.push(format!("{}{unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Serialises as text.
///
/// # Errors
/// Those of the serialiser.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// Deserialises from text.
///
/// # Errors
/// Those of the deserialiser and of [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// The same for `Option<Duration>`.
pub mod option {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    /// Serialises as text or nothing.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&super::format(*duration)),
            None => serializer.serialize_none(),
        }
    }

    /// Deserialises from text or nothing.
    ///
    /// # Errors
    /// Those of the deserialiser and of [`super::parse`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| super::parse(&text).map_err(de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(parse("1h 30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("250ms").unwrap(), Duration::from_millis(250));
        for bad in ["", "10", "ten", "5 parsecs", "-3s", "99999999999999999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("10 mins").unwrap_err().to_string().contains("\"30s\""));
    }

    proptest::proptest! {
        #[test]
        fn format_round_trips(ms in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(ms);
            proptest::prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }
    }
}
