//! What a key pressed in a call means. The digits are GoAlert's, which many responders know.

use crate::reply::Verb;

/// A key, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// 4, 5 or 6: accept, pass on, cannot come.
    Act(Verb),
    /// `*`: say it again.
    Repeat,
    /// A key that the menu does not offer.
    Unknown(char),
    /// No key: the provider asks what to do at the start of a call.
    None,
}

impl Key {
    /// Reads the digits that a provider sends; only the first counts.
    #[must_use]
    pub fn from_digits(digits: &str) -> Self {
        match digits.chars().next() {
            None => Self::None,
            Some('4') => Self::Act(Verb::Acknowledge),
            Some('5') => Self::Act(Verb::Escalate),
            Some('6') => Self::Act(Verb::Decline),
            Some('*') => Self::Repeat,
            Some(other) => Self::Unknown(other),
        }
    }
}
