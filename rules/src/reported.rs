//! What a device reported, with every name looked up once.

use std::{cmp::Ordering, sync::Arc};

use model::{Body, Entry, Value, profile::ChannelKind};
use serde::{Deserialize, Serialize};

use crate::{facts::Said, ruleset::Ruleset};

/// A value as the rules hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Datum {
    /// The number; 0 or 1 for a truth value; the index of a state.
    Number(f64),
    /// Free text.
    Text(Arc<str>),
}

impl Datum {
    /// The value as its channel takes it; `None` if it is not of the channel's type.
    pub(crate) fn of(kind: &ChannelKind, value: &Value) -> Option<Self> {
        match (kind, value) {
            (ChannelKind::Number { .. }, Value::Number(number)) => Some(Self::Number(*number)),
            (ChannelKind::Bool, Value::Bool(flag)) => Some(Self::Number(f64::from(u8::from(*flag)))),
            (ChannelKind::State { states }, Value::Text(text)) => {
                #[expect(clippy::cast_precision_loss, reason = "an index below 64")]
                let index = states.iter().position(|state| **state == **text).map(|index| index as f64);
                index.map(Self::Number)
            }
            (ChannelKind::Text { .. }, Value::Text(text)) => Some(Self::Text(text.clone())),
            (ChannelKind::Number { .. }, Value::Bool(_) | Value::Text(_))
            | (ChannelKind::Bool, Value::Number(_) | Value::Text(_))
            | (ChannelKind::State { .. } | ChannelKind::Text { .. }, Value::Number(_) | Value::Bool(_)) => None,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// One entry of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reported {
    /// When it was said, by the device; `None` if it is not the device that speaks (a last will).
    pub(crate) said: Option<Said>,
    /// When the hub received it.
    pub(crate) received: i64,
    pub(crate) values: Vec<(u16, Datum)>,
    pub(crate) event: Option<u16>,
    /// The device came on line or went off, and when, by the hub's clock.
    pub(crate) online: Option<(bool, Said)>,
}

impl Reported {
    pub(crate) fn new(entry: &Entry, ruleset: &Ruleset) -> Self {
        let said = |time| Said::new(time, entry.received_at);
        let (said, values, code, online) = match &entry.body {
            Body::Sample(sample) => (Some(said(sample.time)), sample.values.as_slice(), None, None),
            Body::Event(event) => (Some(said(event.time)), event.values.as_slice(), Some(event.code.as_str()), None),
            Body::Status(status) => (None, [].as_slice(), None, Some((status.online, said(status.time)))),
            Body::CommandResult(_) | Body::Reject(_) | Body::Emergency(_) => (None, [].as_slice(), None, None),
        };
        let known = values.iter().filter_map(|(id, value)| {
            let channel = ruleset.channel(id)?;
            Datum::of(&ruleset.channels[usize::from(channel)].kind, value).map(|datum| (channel, datum))
        });
        Self {
            said,
            received: entry.received_at.as_micros(),
            values: known.collect(),
            event: code.and_then(|code| ruleset.event(code)),
            online,
        }
    }

    /// True if it shows that the device can be heard. A last will is the broker's word.
    pub(crate) fn is_contact(&self) -> bool {
        self.online.is_none_or(|(online, _)| online)
    }

    /// An order that does not depend on when entries of the same instant arrived.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let raw = |reported: &Self| reported.said.map(Said::raw);
        raw(self)
            .cmp(&raw(other))
            .then_with(|| self.event.cmp(&other.event))
            .then_with(|| self.values.len().cmp(&other.values.len()))
            .then_with(|| {
                let pairs = self.values.iter().zip(&other.values);
                pairs
                    .map(|((a, x), (b, y))| a.cmp(b).then_with(|| x.order(y)))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            })
    }
}
