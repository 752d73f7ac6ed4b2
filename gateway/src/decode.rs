//! What a message means. Pure: no clock, no I/O, and no input makes it fail or panic.

#[macro_use]
mod visit;

mod address;
mod answers;
mod codes;
mod gather;
mod records;
mod senml;
mod sparkplug;
mod thingsboard;
mod time;
mod units;

use std::collections::BTreeMap;

use model::{
    Body, CommandId, DeviceId, Directory, Entry, Event, Profile, Reject, RejectReason, Sample,
    codes::{CodeBook, CodeTable},
};

use crate::{
    downlink::Address,
    inbound::Message,
    route::Routes,
    topic::{self, Leaf},
};
pub use address::Gateways;
use address::{Context, Known, Misaddressed};
use records::{Item, Record, Shape};
pub use sparkplug::{Nodes, RestoreError};

/// The most rejects of one message that are told one by one; what exceeds it is summed up in one more of each reason.
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
///
/// Formats with a memory (Sparkplug B) need a [`Decoder`].
#[must_use]
pub fn decode(options: &DecodeOptions, directory: &Directory, message: &Message) -> Vec<Entry> {
    let (gateways, routes) = (Gateways::new(), Routes::default());
    read(&Context { options, gateways: &gateways, directory, routes: &routes }, &mut Nodes::default(), message)
}

/// Reads messages, and remembers what formats with a memory need.
#[derive(Debug)]
pub struct Decoder {
    options: DecodeOptions,
    gateways: Gateways,
    nodes: Nodes,
    routes: Routes,
}

/// Something that a format makes the hub say, such as the request for a new birth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub address: Address,
    /// What.
    pub payload: Vec<u8>,
}

impl Decoder {
    /// A reader that remembers nothing yet. `gateways`: which devices may speak for which others at the front door.
    #[must_use]
    pub fn new(options: DecodeOptions, gateways: Gateways) -> Self {
        Self { options, gateways, nodes: Nodes::default(), routes: Routes::default() }
    }

    /// Reads a message as [`decode`] does, with all that came before it in mind.
    #[must_use]
    pub fn decode(&mut self, directory: &Directory, message: &Message) -> Vec<Entry> {
        let context = Context { options: &self.options, gateways: &self.gateways, directory, routes: &self.routes };
        read(&context, &mut self.nodes, message)
    }

    /// The device that a message is of, for auto-enrolment: the one its topic names, or the one that sent it.
    #[must_use]
    pub fn device_of(&self, message: &Message) -> Option<DeviceId> {
        if message.topic.starts_with(topic::THINGSBOARD_DEVICE.as_bytes()) {
            return message.sender.clone();
        }
        device_of(&self.options, &message.topic)
    }

    /// The births of Sparkplug nodes, to keep and to take back.
    pub fn nodes(&mut self) -> &mut Nodes {
        &mut self.nodes
    }

    /// How devices speak, learned from what they say; for whoever sends them commands.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// What is to be said because of the messages read so far.
    #[must_use]
    pub fn take_requests(&mut self, now: model::Timestamp) -> Vec<Request> {
        let ask = |(node, via): (sparkplug::NodeId, Option<DeviceId>)| {
            let (topic, payload) = sparkplug::rebirth(&node, now);
            let address = match via {
                Some(device) => Address::FrontDoor { device, topic },
                None => Address::Broker { topic },
            };
            Request { address, payload }
        };
        self.nodes.take_to_ask().into_iter().map(ask).collect()
    }
}

fn read(context: &Context<'_>, nodes: &mut Nodes, message: &Message) -> Vec<Entry> {
    let mut out = Output { message, device: None, entries: Vec::new(), rejects: 0, suppressed: BTreeMap::new() };
    match Way::of(&message.topic) {
        Some(way) => {
            out.device = context.sender(message);
            match context.fits(message) {
                Ok(()) => foreign(context, nodes, way, &mut out),
                Err(problem) => out.reject(problem),
            }
        }
        None => match address(context, message) {
            Ok((known, leaf)) => {
                out.device = Some(known.device.clone());
                body(context, &known, leaf, &mut out);
            }
            Err(Misaddressed { device, problem }) => {
                out.device = device;
                out.reject(problem);
            }
        },
    }
    out.finish()
}

/// A topic of another platform's.
#[derive(Clone, Copy)]
enum Way<'a> {
    ThingsBoardDevice(&'a str),
    ThingsBoardGateway(&'a str),
    Sparkplug(&'a str),
}

impl<'a> Way<'a> {
    fn of(topic: &'a [u8]) -> Option<Self> {
        // Cheap for the many messages on native topics.
        if !topic.starts_with(b"v1/") && !topic.starts_with(b"spBv1.0/") {
            return None;
        }
        let text = std::str::from_utf8(topic).ok()?;
        if let Some(rest) = text.strip_prefix(topic::THINGSBOARD_DEVICE) {
            return Some(Self::ThingsBoardDevice(rest));
        }
        if let Some(rest) = text.strip_prefix(topic::THINGSBOARD_GATEWAY) {
            return Some(Self::ThingsBoardGateway(rest));
        }
        text.starts_with(sparkplug::NAMESPACE).then_some(Self::Sparkplug(text))
    }
}

fn foreign(context: &Context<'_>, nodes: &mut Nodes, way: Way<'_>, out: &mut Output<'_>) {
    let message = out.message;
    match way {
        Way::ThingsBoardDevice(rest) => match &message.sender {
            Some(sender) => match context.device(sender.as_str(), message) {
                Ok(known) => thingsboard::device(context, &known, rest, out),
                Err(wrong) => out.reject(wrong.problem),
            },
            None => {
                let detail = format!(
                    "on \"v1/devices/me/…\" the device is the one that logged in, which an external broker does not \
                     tell; publish to {}/<device>/v1/devices/me/… there",
                    context.options.prefix
                );
                out.reject((RejectReason::BadTopic, detail));
            }
        },
        Way::ThingsBoardGateway(rest) => thingsboard::gateway(context, rest, out),
        Way::Sparkplug(topic) => sparkplug::read(context, nodes, topic, out),
    }
}

/// Whose message it is and what it is about.
fn address<'a>(context: &Context<'a>, message: &'a Message) -> Result<(Known<'a>, Leaf<'a>), Misaddressed> {
    let options = context.options;
    let topic = topic::parse(&options.prefix, &message.topic).map_err(|error| {
        let named = || context.registered(topic::device(&options.prefix, &message.topic)?.as_str());
        let device = context.sender(message).or_else(named);
        Misaddressed { device, problem: (RejectReason::BadTopic, sentence(&error)) }
    })?;
    let known = context.device(topic.device, message)?;
    context.fits(message).map_err(|problem| Misaddressed { device: Some(known.device.clone()), problem })?;
    Ok((known, topic.leaf))
}

fn body(context: &Context<'_>, known: &Known<'_>, leaf: Leaf<'_>, out: &mut Output<'_>) {
    let (message, options, profile, codes) = (out.message, context.options, known.profile, known.codes);
    // Not by events: a gateway of another platform may publish its alarms here.
    if matches!(leaf, Leaf::Telemetry | Leaf::Senml) {
        context.routes.learn(&known.device, None);
    }
    match leaf {
        Leaf::Telemetry if !senml::looks_like_pack(&message.payload) => {
            match records::read(&message.payload, profile, codes, Shape::Sample) {
                Ok(items) => items.into_iter().for_each(|item| sample(options, item, out)),
                Err(problem) => out.reject(problem),
            }
        }
        Leaf::Telemetry | Leaf::Senml => {
            let registered = |name: &str| context.directory.devices.contains_key(name);
            senml::read(options, known, &registered, out);
        }
        Leaf::ThingsBoard(rest) => thingsboard::device(context, known, rest, out),
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
    /// How many are not told one by one.
    suppressed: BTreeMap<&'static str, (RejectReason, u32)>,
}

impl Output<'_> {
    fn push(&mut self, body: Body) {
        self.entries.push(Entry { device: self.device.clone(), received_at: self.message.received_at, body });
    }

    fn reject(&mut self, (reason, detail): Problem) {
        self.reject_with(reason, || detail);
    }

    /// Rejects with a sentence that is made only if it is told.
    fn reject_with(&mut self, reason: RejectReason, detail: impl FnOnce() -> String) {
        if self.rejects >= MAX_REJECTS {
            return self.suppress(reason, 1);
        }
        self.rejects += 1;
        self.push_reject(reason, detail(), 1);
    }

    fn reject_all(&mut self, problems: records::Problems) {
        problems.suppressed.into_iter().for_each(|(reason, parts)| self.suppress(reason, parts));
        problems.kept.into_iter().for_each(|problem| self.reject(problem));
    }

    /// Counts what is not told one by one.
    fn suppress(&mut self, reason: RejectReason, parts: u32) {
        let (_, count) = self.suppressed.entry(reason.code()).or_insert((reason, 0));
        *count = count.saturating_add(parts);
    }

    fn push_reject(&mut self, reason: RejectReason, detail: String, parts: u32) {
        let payload = &self.message.payload;
        self.push(Body::Reject(Reject {
            topic: String::from_utf8_lossy(&self.message.topic).chars().take(MAX_TOPIC).collect(),
            reason,
            detail,
            payload: payload[..payload.len().min(Reject::MAX_PAYLOAD)].to_vec(),
            parts,
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
        for (reason, parts) in std::mem::take(&mut self.suppressed).into_values() {
            let detail = format!("{parts} more parts of this message were rejected; correct those named first");
            self.push_reject(reason, detail, parts);
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
