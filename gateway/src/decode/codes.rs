//! Events sent in a regulator's or a controller's own codes.

use model::{
    ChannelId, Profile, RejectReason, Value,
    codes::CodeTable,
    profile::{Channel, ChannelKind},
};

use super::{Problem, quote};

/// The channel that keeps the code as it was sent, if the profile has it.
const ORIGINAL: &str = "controller_code";
/// The event of a code that its table does not know, if the profile has it.
const UNKNOWN: &str = "unknown_code";

/// What a code became.
pub(super) struct Read {
    /// The event.
    pub(super) event: String,
    /// The code as it was sent, for the channel that keeps it.
    pub(super) original: Option<(ChannelId, Value)>,
    /// That the code is unknown.
    pub(super) problem: Option<Problem>,
}

/// Translates a code to the profile's event. A device may use the profile's own names beside its code set. A code that
/// nobody knows is kept as an event of its own and reported.
pub(super) fn read(table: &CodeTable, profile: &Profile, code: &str) -> Read {
    let known = table.read(code);
    if known.is_none() && profile.event(code).is_some() {
        return Read { event: code.to_owned(), original: None, problem: None };
    }
    let original = profile.channel(ORIGINAL).filter(|channel| fits(channel, code));
    let original = original.map(|channel| (channel.id.clone(), Value::Text(code.into())));
    match known {
        Some(known) => Read { event: known.event.clone(), original, problem: None },
        None if profile.event(UNKNOWN).is_some() => {
            let detail = format!(
                "the code \"{}\" is not in the code set \"{}\"; it was kept as the event {UNKNOWN}: add it to the table of the \
                 code set",
                quote(code),
                table.id
            );
            Read { event: UNKNOWN.to_owned(), original, problem: Some((RejectReason::UnknownEvent, detail)) }
        }
        None => Read { event: code.to_owned(), original: None, problem: None },
    }
}

fn fits(channel: &Channel, code: &str) -> bool {
    matches!(channel.kind, ChannelKind::Text { max_len } if code.len() <= max_len)
}
