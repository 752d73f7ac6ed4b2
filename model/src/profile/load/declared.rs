//! What a profile declares: channels, derived numbers, events, runbooks.

use toml::Spanned;

use super::Source;
use crate::profile::{
    Channel, ChannelKind, Derived, EventKind, ProfileError, Runbook,
    raw::{RawChannel, RawDerived, RawEvent, RawRunbook, RawType},
};

pub(super) fn channels(source: &Source<'_>, raw: Vec<Spanned<RawChannel>>) -> Result<Vec<Channel>, ProfileError> {
    let mut channels: Vec<Channel> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let raw = spanned.into_inner();
        let id = raw.id;
        if matches!(id.as_str(), "device" | "time" | "seq") {
            return Err(source.error(
                start,
                format!("\"{id}\" is the name of a column of its own"),
                "choose another channel name",
            ));
        }
        if channels.iter().any(|channel| channel.id == id) {
            return Err(source.error(
                start,
                format!("the channel \"{id}\" is declared twice"),
                "remove one of the two",
            ));
        }
        let kind = match raw.kind {
            RawType::Number => {
                let unit = raw.unit.ok_or_else(|| {
                    source.error(
                        start,
                        format!("the number channel \"{id}\" has no unit"),
                        "add unit = \"…\" (\"1\" for a pure number)",
                    )
                })?;
                let range = raw.range.ok_or_else(|| {
                    source.error(
                        start,
                        format!("the number channel \"{id}\" has no range"),
                        "add range = [least, greatest] that is physically possible",
                    )
                })?;
                let offset = range.span().start;
                let [min, max] = range.into_inner();
                if !(min.is_finite() && max.is_finite() && min < max) {
                    return Err(source.error(
                        offset,
                        format!("the range of \"{id}\" is empty or not finite"),
                        "write the lesser value first",
                    ));
                }
                ChannelKind::Number { unit, min, max }
            }
            RawType::Bool => ChannelKind::Bool,
            RawType::Text => ChannelKind::Text { max_len: raw.max_len.unwrap_or(256).min(4096) },
            RawType::State => {
                let states = raw.states.filter(|states| !states.is_empty()).ok_or_else(|| {
                    source.error(
                        start,
                        format!("the state channel \"{id}\" names no states"),
                        "add states = [\"…\", …]",
                    )
                })?;
                ChannelKind::State { states }
            }
        };
        let state_names = match (raw.state_names, &kind) {
            (None, _) => Vec::new(),
            (Some(names), ChannelKind::State { states }) if names.as_ref().len() == states.len() => names.into_inner(),
            (Some(names), _) => {
                return Err(source.error(
                    names.span().start,
                    format!("the names of \"{id}\" are not one for each of its states"),
                    "write as many state_names as states, in the same order",
                ));
            }
        };
        channels.push(Channel { id, name: raw.name, kind, state_names, safety_chain: raw.safety_chain });
    }
    if channels.is_empty() {
        return Err(source.error(0, "the profile has no channels", "add at least one [[channels]]"));
    }
    Ok(channels)
}

pub(super) fn derived(
    source: &Source<'_>,
    channels: &[Channel],
    raw: Vec<RawDerived>,
) -> Result<Vec<Derived>, ProfileError> {
    let mut derived: Vec<Derived> = Vec::with_capacity(raw.len());
    for RawDerived { id, value } in raw {
        let known = channels.iter().map(|channel| &channel.id).chain(derived.iter().map(|derived| &derived.id));
        if known.into_iter().any(|known| known == id.as_ref()) {
            return Err(source.error(
                id.span().start,
                format!("the name \"{}\" is used twice", id.as_ref()),
                "give every channel and every derived number its own name",
            ));
        }
        derived.push(Derived { id: id.into_inner(), value: source.locate(value) });
    }
    Ok(derived)
}

pub(super) fn events(source: &Source<'_>, raw: Vec<Spanned<RawEvent>>) -> Result<Vec<EventKind>, ProfileError> {
    let mut events: Vec<EventKind> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let RawEvent { code, name } = spanned.into_inner();
        if code.is_empty() || code.len() > 64 {
            return Err(source.error(start, "an event code must have 1 to 64 characters", "shorten it"));
        }
        if events.iter().any(|event| event.code == code) {
            return Err(source.error(
                start,
                format!("the event \"{code}\" is declared twice"),
                "remove one of the two",
            ));
        }
        events.push(EventKind { code, name });
    }
    Ok(events)
}

pub(super) fn runbooks(source: &Source<'_>, raw: Vec<Spanned<RawRunbook>>) -> Result<Vec<Runbook>, ProfileError> {
    let mut runbooks: Vec<Runbook> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let RawRunbook { id, title, steps, parts, tools, skill, duration } = spanned.into_inner();
        if runbooks.iter().any(|runbook| runbook.id == id) {
            return Err(source.error(
                start,
                format!("the runbook \"{id}\" is declared twice"),
                "remove one of the two",
            ));
        }
        runbooks.push(Runbook { id, title, steps, parts, tools, skill, duration });
    }
    Ok(runbooks)
}
