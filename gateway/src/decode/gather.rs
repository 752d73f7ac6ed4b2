//! Values in formats that carry one value at a time: those of one moment become one sample, and a value under the
//! name of an event becomes that event.

use std::collections::BTreeMap;

use model::{Body, ChannelId, Event, Profile, RejectReason, Sample, Timestamp, Value, codes::CodeTable};

use super::{Output, Problem, address::Known, quote, records, units, unknown};

/// The values of one device out of one message.
pub(super) struct Gather<'p> {
    profile: &'p Profile,
    codes: Option<&'p CodeTable>,
    samples: BTreeMap<Timestamp, Vec<(ChannelId, Value)>>,
}

/// What was measured, before it is checked.
pub(super) struct Measured<'a> {
    /// A channel or an event of the profile.
    pub(super) name: &'a str,
    pub(super) value: Value,
    /// The unit the device names, if it does.
    pub(super) unit: Option<&'a str>,
}

impl<'p> Gather<'p> {
    pub(super) fn new(known: &Known<'p>) -> Self {
        Self { profile: known.profile, codes: known.codes, samples: BTreeMap::new() }
    }

    /// Takes a value in. One with an impossible time is rejected; an event with one is kept with the time of receipt.
    pub(super) fn put(&mut self, time: Result<Timestamp, Problem>, measured: Measured<'_>, out: &mut Output<'_>) {
        let Measured { name, value, unit } = measured;
        let Some(channel) = self.profile.channel(name) else {
            let coded = self.codes.and_then(|codes| codes.read(name)).map(|known| known.event.as_str());
            if let Some(code) = coded.or_else(|| self.profile.event(name).map(|_| name)) {
                self.event(time, code, &value, out);
                return;
            }
            let known = self.profile.channels.iter().map(|channel| channel.id.as_str());
            return out
                .reject_with(RejectReason::UnknownChannel, || unknown("channel", &quote(name), self.profile, known));
        };
        let value = match (value, unit, channel.unit()) {
            (Value::Number(number), Some(from), Some(to)) => match units::convert(number, from, to) {
                Some(number) => Value::Number(number),
                None => {
                    let detail = format!(
                        "channel \"{name}\" is measured in {to}, and \"{}\" cannot be converted to it; send {}",
                        quote(from),
                        units::accepted(to)
                    );
                    return out.reject((RejectReason::WrongType, detail));
                }
            },
            (value, _, _) => value,
        };
        let time = match time {
            Ok(time) => time,
            Err(problem) => return out.reject(problem),
        };
        match records::check(channel, self.codes, value) {
            Ok(value) => {
                let values = self.samples.entry(time).or_default();
                // Of a channel named twice for one moment the last value counts.
                match values.iter_mut().find(|(id, _)| *id == channel.id) {
                    Some(slot) => slot.1 = value,
                    None => values.push((channel.id.clone(), value)),
                }
            }
            Err(problem) => out.reject(problem),
        }
    }

    /// An event happened if its value is true, 1 or a text; false and 0 say that it did not.
    fn event(&self, time: Result<Timestamp, Problem>, code: &str, value: &Value, out: &mut Output<'_>) {
        let happened = match value {
            Value::Bool(flag) => *flag,
            Value::Number(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
        };
        if !happened {
            return;
        }
        let time = time.unwrap_or_else(|(reason, detail)| {
            out.reject((reason, format!("{detail}; the event itself was kept with the time of receipt")));
            out.message.received_at
        });
        out.push(Body::Event(Event { time, code: code.to_owned(), seq: None, values: Vec::new() }));
    }

    /// Hands the samples over, oldest first.
    pub(super) fn finish(self, out: &mut Output<'_>) {
        for (time, values) in self.samples {
            out.push(Body::Sample(Sample { time, seq: None, values }));
        }
    }
}
