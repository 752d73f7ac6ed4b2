//! What a message means. Pure: no clock, no I/O, and no input makes it fail or panic.

#[macro_use]
mod visit;

mod answers;
mod codes;
mod records;
mod time;

use model::{
    Body, CommandId, DeviceId, Directory, Entry, Event, Profile, Reject, RejectReason, Sample,
    codes::{CodeBook, CodeTable},
};

use crate::{
    inbound::Message,
    topic::{self, Leaf, TopicError},
};
use records::{Item, Record, Shape};

/// The most rejects kept of one message; what exceeds it is summed up in one more.
const MAX_REJECTS: usize = 32;
/// The longest topic kept with a reject, in characters.
const MAX_TOPIC: usize = 256;
/// The longest piece of a payload quoted in a sentence, in characters.
const MAX_QUOTE: usize = 64;

/// How messages are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeOptions {
    /// What every topic begins with.
    pub prefix: String,
    /// The largest payload accepted, in bytes.
    pub max_payload: usize,
    /// How far ahead of the hub's clock a device's time may lie.
    pub future_tolerance: std::time::Duration,
    /// Which device speaks which code set.
    pub codes: CodeBook,
}

/// A part of a message that cannot be used: the class and the sentence.
type Problem = (RejectReason, String);

/// The device that a topic names, if it lies under the prefix and the name is well formed; for auto-enrolment.
#[must_use]
pub fn device_of(options: &DecodeOptions, topic: &[u8]) -> Option<DeviceId> {
    topic::device(&options.prefix, topic)
}

/// Reads a message. What is bad becomes [`Body::Reject`] entries, each with a sentence that says what was wrong and
/// what to do; one bad value does not lose the good ones beside it. A payload without a time is taken to be of the
/// time of receipt.
///
/// An event, a status or a command's result is never lost to a wrong clock: it is kept with the time of receipt, and
/// the wrong time is rejected beside it. The message that clears a retained status (an empty payload) yields nothing.
#[must_use]
pub fn decode(options: &DecodeOptions, directory: &Directory, message: &Message) -> Vec<Entry> {
    let mut out = Output { message, device: None, entries: Vec::new(), rejects: 0, suppressed: 0 };
    match address(options, directory, message) {
        Ok(Address { device, profile, leaf }) => {
            out.device = Some(device);
            body(options, profile, leaf, &mut out);
        }
        Err(Misaddressed { device, problem }) => {
            out.device = device;
            out.reject(problem);
        }
    }
    out.finish()
}

/// Whose message it is and what it is about.
struct Address<'a> {
    device: DeviceId,
    profile: &'a Profile,
    leaf: Leaf<'a>,
}

struct Misaddressed {
    device: Option<DeviceId>,
    problem: Problem,
}

fn address<'a>(
    options: &DecodeOptions,
    directory: &'a Directory,
    message: &'a Message,
) -> Result<Address<'a>, Misaddressed> {
    let registered = |device: &str| directory.devices.get(device).map(|device| device.id.clone());
    let sender = || message.sender.as_ref().and_then(|sender| registered(sender.as_str()));
    let topic = topic::parse(&options.prefix, &message.topic).map_err(|error| {
        let device = sender().or_else(|| registered(topic::device(&options.prefix, &message.topic)?.as_str()));
        Misaddressed { device, problem: (RejectReason::BadTopic, sentence(&error)) }
    })?;
    if let Some(name) = message.sender.as_ref().filter(|name| name.as_str() != topic.device) {
        let detail = format!(
            "the device \"{name}\" published under the name of \"{}\"; a device may publish only under {}/{name}/…",
            quote(topic.device),
            options.prefix
        );
        return Err(Misaddressed { device: sender(), problem: (RejectReason::Forbidden, detail) });
    }
    let Some(device) = directory.devices.get(topic.device) else {
        let problem = match DeviceId::new(topic.device) {
            Ok(name) => (
                RejectReason::UnknownDevice,
                format!(
                    "no device \"{name}\" is registered; import it with liftline device import FILE.csv, or let \
                     unknown devices enrol themselves with auto_register"
                ),
            ),
            Err(error) => (RejectReason::BadTopic, sentence(&TopicError::Device(topic::shorten(error)))),
        };
        return Err(Misaddressed { device: None, problem });
    };
    let Some(profile) = directory.profiles.get(&device.profile) else {
        let detail = format!(
            "the device \"{}\" has the profile \"{}\", which is not loaded; add its file to the hub's profiles",
            device.id, device.profile
        );
        return Err(Misaddressed { device: None, problem: (RejectReason::UnknownDevice, detail) });
    };
    if message.payload.len() > options.max_payload {
        let detail = format!(
            "the payload has {} bytes and at most {} are accepted; send fewer values in one message",
            message.payload.len(),
            options.max_payload
        );
        return Err(Misaddressed { device: Some(device.id.clone()), problem: (RejectReason::TooLarge, detail) });
    }
    Ok(Address { device: device.id.clone(), profile, leaf: topic.leaf })
}

fn body(options: &DecodeOptions, profile: &Profile, leaf: Leaf<'_>, out: &mut Output<'_>) {
    let message = out.message;
    let codes = out.device.as_ref().and_then(|device| options.codes.of(device, &profile.id));
    match leaf {
        Leaf::Telemetry => match records::read(&message.payload, profile, codes, Shape::Sample) {
            Ok(items) => items.into_iter().for_each(|item| sample(options, item, out)),
            Err(problem) => out.reject(problem),
        },
        Leaf::Events => match records::read(&message.payload, profile, codes, Shape::Event) {
            Ok(items) => items.into_iter().for_each(|item| event(options, profile, codes, item, out)),
            Err(problem) => out.reject(problem),
        },
        // An empty payload is how a retained message is cleared.
        Leaf::Status if message.payload.is_empty() => {}
        Leaf::Status => answers::status(options, out),
        Leaf::CommandResult(id) => match id.parse::<CommandId>() {
            Ok(command) => answers::command_result(options, command, out),
            Err(error) => out.reject((RejectReason::BadTopic, sentence(&topic::shorten(error)))),
        },
    }
}

fn sample(options: &DecodeOptions, item: Item, out: &mut Output<'_>) {
    let Some(record) = take_record(item, out) else { return };
    let Record { ts, seq, values, problems, .. } = record;
    match time::resolve(options, ts.as_ref(), out.message.received_at) {
        Ok(time) => {
            if !values.is_empty() {
                out.push(Body::Sample(Sample { time, seq, values }));
            }
            out.reject_all(problems);
        }
        Err(problem) => out.reject(problem),
    }
}

fn event(options: &DecodeOptions, profile: &Profile, codes: Option<&CodeTable>, item: Item, out: &mut Output<'_>) {
    let Some(record) = take_record(item, out) else { return };
    let Record { ts, code, seq, mut values, problems, .. } = record;
    let mut code = code.unwrap_or_default();
    if let Some(table) = codes {
        let read = codes::read(table, profile, &code);
        values.extend(read.original);
        code = read.event;
        if let Some(problem) = read.problem {
            out.reject(problem);
        }
    }
    if profile.event(&code).is_none() {
        let known = profile.events.iter().map(|event| event.code.as_str());
        let detail = unknown("event", &quote(&code), profile, known);
        return out.reject((RejectReason::UnknownEvent, detail));
    }
    let time = out.time_or_receipt(options, ts.as_ref(), "event");
    out.push(Body::Event(Event { time, code, seq, values }));
    out.reject_all(problems);
}

fn take_record(item: Item, out: &mut Output<'_>) -> Option<Record> {
    match item {
        Item::Record(record) => Some(*record),
        Item::Unusable(problems) => {
            out.reject_all(problems);
            None
        }
    }
}

/// Collects the entries of one message.
struct Output<'a> {
    message: &'a Message,
    device: Option<DeviceId>,
    entries: Vec<Entry>,
    rejects: usize,
    suppressed: usize,
}

impl Output<'_> {
    fn push(&mut self, body: Body) {
        self.entries.push(Entry { device: self.device.clone(), received_at: self.message.received_at, body });
    }

    fn reject(&mut self, (reason, detail): Problem) {
        if self.rejects >= MAX_REJECTS {
            self.suppressed += 1;
            return;
        }
        self.rejects += 1;
        self.push_reject(reason, detail);
    }

    fn reject_all(&mut self, problems: records::Problems) {
        self.suppressed += problems.suppressed;
        problems.kept.into_iter().for_each(|problem| self.reject(problem));
    }

    fn push_reject(&mut self, reason: RejectReason, detail: String) {
        let payload = &self.message.payload;
        self.push(Body::Reject(Reject {
            topic: String::from_utf8_lossy(&self.message.topic).chars().take(MAX_TOPIC).collect(),
            reason,
            detail,
            payload: payload[..payload.len().min(Reject::MAX_PAYLOAD)].to_vec(),
        }));
    }

    /// The time of something that must not be lost: the device's if it can be right, else the time of receipt.
    fn time_or_receipt(&mut self, options: &DecodeOptions, ts: Option<&time::Stamp>, what: &str) -> model::Timestamp {
        let received_at = self.message.received_at;
        time::resolve(options, ts, received_at).unwrap_or_else(|(reason, detail)| {
            self.reject((reason, format!("{detail}; the {what} itself was kept with the time of receipt")));
            received_at
        })
    }

    fn finish(mut self) -> Vec<Entry> {
        if self.suppressed > 0 {
            let detail =
                format!("{} more parts of this message were rejected; correct those named first", self.suppressed);
            self.push_reject(RejectReason::WrongShape, detail);
        }
        self.entries
    }
}

/// A name that the profile does not have, with the remedy.
fn unknown<'a>(what: &str, name: &str, profile: &Profile, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let remedy = match model::text::nearest(name, known.clone()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => {
            let some: Vec<_> = known.clone().take(12).collect();
            let more = if known.count() > some.len() { ", …" } else { "" };
            if some.is_empty() {
                format!("it declares no {what}s; add it to the profile or do not send it")
            } else {
                format!("use one of {}{more}, or add it to the profile", some.join(", "))
            }
        }
    };
    format!("{what} \"{name}\" is not in profile \"{}\"; {remedy}", profile.id)
}

/// A piece of the payload, short enough for a sentence.
fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn sentence(error: &impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
