//! What a device reported, with every name looked up once.

use std::{cmp::Ordering, sync::Arc};

use model::{Body, Entry, Value, profile::ChannelKind};
use serde::{Deserialize, Serialize};

use crate::{facts::Said, ruleset::Ruleset};

/// A value as the rules hold it.
#[derive(Debug, Clone, PartialEq)]
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
}

/// The values of an entry, each channel at most once. Entries wait in memory until they are settled: nearly all values are
/// numbers, and take sixteen bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Values {
    numbers: Box<[(u16, f64)]>,
    texts: Box<[(u16, Arc<str>)]>,
}

impl Values {
    /// Every value with its channel, numbers first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, Datum)> {
        let numbers = self.numbers.iter().map(|(channel, number)| (*channel, Datum::Number(*number)));
        numbers.chain(self.texts.iter().map(|(channel, text)| (*channel, Datum::Text(text.clone()))))
    }

    /// Its memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.numbers) + size_of_val(&*self.texts)
    }

    fn order(&self, other: &Self) -> Ordering {
        let numbers =
            self.numbers.iter().zip(&other.numbers).map(|((a, x), (b, y))| a.cmp(b).then_with(|| x.total_cmp(y)));
        let texts = self.texts.iter().zip(&other.texts).map(|(x, y)| x.cmp(y));
        let lengths = |values: &Self| (values.numbers.len(), values.texts.len());
        lengths(self)
            .cmp(&lengths(other))
            .then_with(|| numbers.chain(texts).find(|order| order.is_ne()).unwrap_or(Ordering::Equal))
    }
}

impl FromIterator<(u16, Datum)> for Values {
    fn from_iter<T: IntoIterator<Item = (u16, Datum)>>(values: T) -> Self {
        let values = values.into_iter();
        let (mut numbers, mut texts) = (Vec::with_capacity(values.size_hint().1.unwrap_or(0)), Vec::new());
        for (channel, datum) in values {
            match datum {
                Datum::Number(number) => numbers.push((channel, number)),
                Datum::Text(text) => texts.push((channel, text)),
            }
        }
        Self { numbers: numbers.into_boxed_slice(), texts: texts.into_boxed_slice() }
    }
}

/// One entry of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reported {
    /// When it was said, by the device; `None` if it is not the device that speaks (a last will).
    pub(crate) said: Option<Said>,
    /// When the hub received it.
    pub(crate) received: i64,
    pub(crate) values: Values,
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
            .then_with(|| self.values.order(&other.values))
    }
}
