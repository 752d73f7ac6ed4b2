//! The value of a reading.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One value: a finite number, a truth value, or a text (also the name of a state).
///
/// In text formats it is a bare JSON value; in binary formats it carries a tag.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A finite number in the channel's unit.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A text, or the name of a state.
    Text(Arc<str>),
}

impl Value {
    /// The number, with `false` and `true` as 0 and 1; `None` for a text.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Self::Text(_) => None,
        }
    }

    /// What kind of value it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Bool(_) => "bool",
            Self::Text(_) => "text",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Bool(flag) => fmt::Display::fmt(flag, f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bare {
    Bool(bool),
    Number(f64),
    Text(Arc<str>),
}

#[derive(Serialize, Deserialize)]
enum Tagged {
    Number(f64),
    Bool(bool),
    Text(Arc<str>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            match self {
                Self::Number(number) => Bare::Number(*number),
                Self::Bool(flag) => Bare::Bool(*flag),
                Self::Text(text) => Bare::Text(text.clone()),
            }
            .serialize(serializer)
        } else {
            match self {
                Self::Number(number) => Tagged::Number(*number),
                Self::Bool(flag) => Tagged::Bool(*flag),
                Self::Text(text) => Tagged::Text(text.clone()),
            }
            .serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Bare::deserialize(deserializer).map(|bare| match bare {
                Bare::Bool(flag) => Self::Bool(flag),
                Bare::Number(number) => Self::Number(number),
                Bare::Text(text) => Self::Text(text),
            })
        } else {
            Tagged::deserialize(deserializer).map(|tagged| match tagged {
                Tagged::Bool(flag) => Self::Bool(flag),
                Tagged::Number(number) => Self::Number(number),
                Tagged::Text(text) => Self::Text(text),
            })
        }
    }
}
