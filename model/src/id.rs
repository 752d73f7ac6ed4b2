//! Identifiers. Each kind of thing has its own type, so that one cannot be passed for another.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("a {kind} must not be empty")]
    Empty {
        /// What was being named.
        kind: &'static str,
    },
    /// The text is longer than allowed.
    #[error("the {kind} \"{text}\" has {len} characters; at most {max} are allowed")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// The offending text.
        text: String,
        /// Its length in bytes.
        len: usize,
        /// The longest length allowed.
        max: usize,
    },
    /// The text holds a character outside the allowed set.
    #[error("the {kind} \"{text}\" holds {found:?}; use only {allowed}")]
    BadCharacter {
        /// What was being named.
        kind: &'static str,
        /// The offending text.
        text: String,
        /// The first character that is not allowed.
        found: char,
        /// The allowed set, in words.
        allowed: &'static str,
    },
    /// The text is not a UUID.
    #[error("\"{text}\" is not a {kind}: a UUID such as 0190c2c4-0000-7000-8000-000000000000 is expected")]
    NotUuid {
        /// What was being named.
        kind: &'static str,
        /// The offending text.
        text: String,
    },
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| IdError::NotUuid { kind: $kind, text: text.to_owned() })
            }
        }
    )+};
}

uuid_ids! {
    /// An organisation: every device, site, ticket and person belongs to exactly one.
    OrgId = "organisation id";
    /// A place with one or more devices.
    SiteId = "site id";
    /// A person who can be contacted or assigned.
    PersonId = "person id";
    /// A login to the board.
    UserId = "user id";
    /// A logged-in session.
    SessionId = "session id";
    /// A rota: who is on call for a rescue level.
    RotaId = "rota id";
    /// A condition found on a device.
    AlertId = "alert id";
    /// A case that people work on.
    TicketId = "ticket id";
    /// One affected person on one ticket.
    AffectedId = "affected person id";
    /// A message owed to a person.
    OutboxId = "message id";
    /// A command sent down to a device.
    CommandId = "command id";
    /// What somebody decided not to be paged for, for a time.
    SilenceId = "silence id";
}

/// Namespace of the alert ids derived by [`AlertId::derive`].
const ALERT_NAMESPACE: Uuid = Uuid::from_u128(0x6c69_6674_6c69_6e65_0000_616c_6572_7400);

impl AlertId {
    /// The id of the alert that `rule` raises on `device` at `raised_at`. The same finding always has the same id,
    /// so that a replay after a crash finds what it already recorded.
    #[must_use]
    pub fn derive(device: &DeviceId, rule: &RuleId, raised_at: crate::Timestamp) -> Self {
        let name = format!("{device}\u{1f}{rule}\u{1f}{}", raised_at.as_micros());
        Self(Uuid::new_v5(&ALERT_NAMESPACE, name.as_bytes()))
    }
}

macro_rules! name_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, max $max:literal, $allowed:expr, $ok:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`IdError`] if the text is empty, too long or holds a character outside the allowed set.
            pub fn new(text: &str) -> Result<Self, IdError> {
                let ok: fn(char) -> bool = $ok;
                if text.is_empty() {
                    return Err(IdError::Empty { kind: $kind });
                }
                if text.len() > $max {
                    return Err(IdError::TooLong {
                        kind: $kind, text: text.to_owned(), len: text.len(), max: $max,
                    });
                }
                if let Some(found) = text.chars().find(|c| !ok(*c)) {
                    return Err(IdError::BadCharacter {
                        kind: $kind, text: text.to_owned(), found, allowed: $allowed,
                    });
                }
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    )+};
}

const IDENTIFIER: &str = "lower-case letters, digits and _ (it becomes a database name)";

fn is_identifier(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

name_ids! {
    /// The name a device has in its MQTT topics; unique over the whole hub.
    DeviceId = "device id", max 64, "letters, digits and . _ : -",
        |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    /// A profile's name; also the name of its table of readings.
    ProfileId = "profile id", max 32, IDENTIFIER, is_identifier;
    /// A channel's name; also the name of its column.
    ChannelId = "channel id", max 48, IDENTIFIER, is_identifier;
    /// The name of a rule, detector or forecast within its profile.
    RuleId = "rule id", max 64, IDENTIFIER, is_identifier;
    /// The name of a cause of failure within its profile.
    CauseId = "cause id", max 64, IDENTIFIER, is_identifier;
    /// The name of a runbook within its profile.
    RunbookId = "runbook id", max 64, "lower-case letters, digits, _ and -", |c| is_identifier(c) || c == '-';
}

impl CauseId {
    /// What stands in the place of a cause when nothing was wrong: no profile has a cause of this name.
    pub const NOTHING_FOUND: &str = "nothing_found";

    /// The answer that nothing was wrong.
    #[must_use]
    pub fn nothing_found() -> Self {
        Self(Self::NOTHING_FOUND.into())
    }

    /// Whether it is the answer that nothing was wrong.
    #[must_use]
    pub fn is_nothing_found(&self) -> bool {
        &*self.0 == Self::NOTHING_FOUND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn a_bad_name_says_what_is_wrong() {
        let error = DeviceId::new("lift/1").unwrap_err().to_string();
        assert_eq!(error, "the device id \"lift/1\" holds '/'; use only letters, digits and . _ : -");
        assert!(ChannelId::new("Speed").is_err());
        assert!(ProfileId::new(&"x".repeat(33)).is_err());
        assert!(DeviceId::new("").is_err());
    }

    #[test]
    fn the_same_finding_has_the_same_alert_id() {
        let device = DeviceId::new("lift-1").unwrap();
        let rule = RuleId::new("entrapment").unwrap();
        let at = Timestamp::from_millis(5);
        assert_eq!(AlertId::derive(&device, &rule, at), AlertId::derive(&device, &rule, at));
        assert_ne!(AlertId::derive(&device, &rule, at), AlertId::derive(&device, &rule, Timestamp::from_millis(6)));
    }
}
