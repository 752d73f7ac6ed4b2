//! Sparkplug B (Eclipse Sparkplug 3.0). What a data message means depends on the births before it: they name the
//! aliases. [`Nodes`] keeps the births; where they are missing, or a sequence number is, the node is asked for a new one.

mod metric;
mod nodes;

use model::{Body, CommandId, CommandResult, CommandState, RejectReason, Status, Timestamp, Value};
use prost::Message as _;
use srad_types::payload::{Metric, Payload, metric::Value as Wire};

use nodes::{About, Node, Order};
pub(crate) use nodes::{NodeId, rebirth};
pub use nodes::{Nodes, RestoreError};

use super::{
    Output, Problem,
    address::Context,
    answers::MAX_DETAIL,
    gather::{Gather, Measured},
    quote, sentence,
    time::{self, Stamp},
};
use crate::{route::Route, topic::shorten};

/// What every Sparkplug topic begins with.
pub(crate) const NAMESPACE: &str = "spBv1.0";
/// The death certificate's number, by which it belongs to one birth.
const BD_SEQ: &str = "bdSeq";

/// A kind of message from a node or a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Birth,
    Data,
    Death,
}

/// A topic: `spBv1.0/GROUP/KIND/NODE[/DEVICE]`.
struct Topic<'a> {
    node: NodeId,
    edge: &'a str,
    device: Option<&'a str>,
    kind: Kind,
}

/// `None` for what is none of the hub's business: commands, and the state of other hosts.
fn topic(topic: &str) -> Result<Option<Topic<'_>>, Problem> {
    let parts: Vec<_> = topic.split('/').collect();
    let (group, kind, edge, device) = match parts.as_slice() {
        [NAMESPACE, "STATE", ..] => return Ok(None),
        [NAMESPACE, group, kind, edge] => (*group, *kind, *edge, None),
        [NAMESPACE, group, kind, edge, device] => (*group, *kind, *edge, Some(*device)),
        _ => return Err(bad_topic(topic)),
    };
    let kind = match (kind, device) {
        ("NBIRTH", None) | ("DBIRTH", Some(_)) => Kind::Birth,
        ("NDATA", None) | ("DDATA", Some(_)) => Kind::Data,
        ("NDEATH", None) | ("DDEATH", Some(_)) => Kind::Death,
        ("NCMD", None) | ("DCMD", Some(_)) => return Ok(None),
        _ => return Err(bad_topic(topic)),
    };
    Ok(Some(Topic { node: NodeId { group: group.to_owned(), edge: edge.to_owned() }, edge, device, kind }))
}

fn bad_topic(topic: &str) -> Problem {
    let detail = format!(
        "\"{}\" is no topic of Sparkplug B; publish to spBv1.0/<group>/NBIRTH|NDATA|NDEATH/<node> or \
         spBv1.0/<group>/DBIRTH|DDATA|DDEATH/<node>/<device>",
        quote(topic)
    );
    (RejectReason::BadTopic, detail)
}

pub(super) fn read(context: &Context<'_>, nodes: &mut Nodes, text: &str, out: &mut Output<'_>) {
    let topic = match topic(text) {
        Ok(Some(topic)) => topic,
        Ok(None) => return,
        Err(problem) => return out.reject(problem),
    };
    if let Some(sender) = &out.message.sender
        && sender.as_str() != topic.edge
        && !context.speaks_for(sender, topic.edge)
    {
        let detail = format!(
            "the device \"{sender}\" published for the Sparkplug node \"{}\"; log in under the node's name, or give the \
             node to it in gateway.speaks_for",
            quote(topic.edge)
        );
        return out.reject((RejectReason::Forbidden, detail));
    }
    let payload = match Payload::decode(&*out.message.payload) {
        Ok(payload) => payload,
        Err(error) => {
            let detail = format!("the payload is not one of Sparkplug B ({error}); send its protocol buffers message");
            return out.reject((RejectReason::WrongShape, detail));
        }
    };
    let now = out.message.received_at;
    let Some(node) = nodes.node(&topic.node, out.message.sender.is_some()) else {
        let detail =
            "too many Sparkplug nodes; the hub follows no more than 20000, and at the front door one name in no more than 16 groups"
                .to_owned();
        return out.reject((RejectReason::WrongShape, detail));
    };
    node.via.clone_from(&out.message.sender);
    match (topic.kind, topic.device) {
        (Kind::Death, None) => node_death(context, node, &topic, &payload, out),
        (Kind::Birth, None) => {
            node.born(payload.seq, bd_seq(&payload));
            learn(node, "", &payload);
            say(context, topic.edge, true, false, out);
            route(context, &topic, out);
            values(context, node, &topic, &payload, out);
        }
        (Kind::Birth, Some(device)) => {
            sequence(node, payload.seq);
            // What is no device of the sender's is rejected below, and leaves nothing behind.
            if context.device(device, out.message).is_ok() {
                learn(node, device, &payload);
                node.arrived(device);
            }
            say(context, device, true, true, out);
            route(context, &topic, out);
            values(context, node, &topic, &payload, out);
        }
        (Kind::Data, _) => {
            sequence(node, payload.seq);
            route(context, &topic, out);
            values(context, node, &topic, &payload, out);
        }
        (Kind::Death, Some(device)) => {
            sequence(node, payload.seq);
            node.left(device);
            say(context, device, false, true, out);
        }
    }
    nodes.settle(&topic.node, now);
}

/// Notes by which way commands reach the device.
fn route(context: &Context<'_>, topic: &Topic<'_>, out: &Output<'_>) {
    let Ok(known) = context.device(topic.device.unwrap_or(topic.edge), out.message) else { return };
    let route = Route::Sparkplug {
        group: topic.node.group.clone(),
        edge: topic.node.edge.clone(),
        device: topic.device.map(str::to_owned),
        via: out.message.sender.clone(),
    };
    context.routes.learn(&known.device, Some(route));
}

/// A gap means that something of the node was lost: it is asked to tell everything anew. What did come is kept.
fn sequence(node: &mut Node, seq: Option<u64>) {
    match node.follow(seq) {
        Order::Next | Order::Again => {}
        Order::Gap { expected, got } => {
            metrics::counter!("liftline_sparkplug_gaps_total").increment(1);
            tracing::info!(expected, got, "a Sparkplug node's sequence has a gap; it is asked for a new birth");
        }
    }
}

/// The death of a node is its last will: the broker may deliver that of an old connection after the birth of a new
/// one. The number tells which birth it belongs to.
fn node_death(context: &Context<'_>, node: &mut Node, topic: &Topic<'_>, payload: &Payload, out: &mut Output<'_>) {
    if !node.died(bd_seq(payload)) {
        metrics::counter!("liftline_sparkplug_late_deaths_total").increment(1);
        return;
    }
    for device in node.take_devices() {
        say(context, &device, false, false, out);
    }
    say(context, topic.edge, false, false, out);
}

fn bd_seq(payload: &Payload) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name.as_deref() == Some(BD_SEQ))?;
    match metric.value {
        Some(Wire::LongValue(number)) => Some(number),
        Some(Wire::IntValue(number)) => Some(u64::from(number)),
        Some(_) | None => None,
    }
}

/// Notes the names, types and units that a birth gives to aliases.
fn learn(node: &mut Node, device: &str, payload: &Payload) {
    for metric in &payload.metrics {
        let Some(name) = metric.name.as_deref().filter(|name| !is_control(name)) else { continue };
        let about = About { datatype: metric.datatype.unwrap_or_default(), unit: metric::unit(metric) };
        node.learn(device, name, metric.alias, about);
    }
}

/// Metrics that are about the node's own working.
fn is_control(name: &str) -> bool {
    name == BD_SEQ
        || ["Node Control/", "Device Control/", "Node Info/", "Properties/"].iter().any(|p| name.starts_with(p))
}

/// Says that a device came or went. A node that only passes on what others measure need not be registered.
fn say(context: &Context<'_>, name: &str, online: bool, needed: bool, out: &mut Output<'_>) {
    match context.device(name, out.message) {
        Ok(known) => {
            out.device = Some(known.device);
            let time = out.message.received_at;
            out.push(Body::Status(Status { time, online }));
        }
        Err(wrong) if needed => {
            out.device = wrong.device;
            out.reject(wrong.problem);
        }
        Err(_) => {}
    }
}

fn values(context: &Context<'_>, node: &mut Node, topic: &Topic<'_>, payload: &Payload, out: &mut Output<'_>) {
    let (owner, name) = (topic.device.unwrap_or_default(), topic.device.unwrap_or(topic.edge));
    let measured = |metric: &&Metric| metric.name.as_deref().is_none_or(|name| !is_control(name));
    let mut metrics = payload.metrics.iter().filter(measured).peekable();
    if metrics.peek().is_none() {
        return;
    }
    let known = match context.device(name, out.message) {
        Ok(known) => known,
        // A birth has said so already.
        Err(_) if topic.kind == Kind::Birth && topic.device.is_some() => return,
        Err(wrong) => {
            out.device = wrong.device;
            return out.reject(wrong.problem);
        }
    };
    out.device = Some(known.device.clone());
    let mut gather = Gather::new(&known);
    let mut answer = Answer::default();
    for metric in metrics {
        let Some((name, about)) = node.find(owner, metric.name.as_deref(), metric.alias) else {
            node.ask();
            let alias = metric.alias.map_or_else(|| "no alias".to_owned(), |alias| format!("the alias {alias}"));
            let detail = format!(
                "a metric has no name and {alias}, which no birth of \"{}\" has explained; the node is asked for a new \
                 birth",
                quote(topic.edge)
            );
            out.reject((RejectReason::UnknownChannel, detail));
            continue;
        };
        if let Some(part) = name.strip_prefix("command/") {
            match metric::value(metric, &about, &name) {
                Ok(value) => answer.take(part, value),
                Err(problem) => out.reject(problem),
            }
            continue;
        }
        let name = channel_name(known.profile, &name).to_owned();
        match metric::value(metric, &about, &name) {
            Ok(Some(value)) => {
                let at = moment(context, metric.timestamp.or(payload.timestamp), out.message.received_at);
                gather.put(at, Measured { name: &name, value, unit: about.unit.as_deref() }, out);
            }
            Ok(None) => {} // A metric without a value says that there is none.
            Err(problem) => out.reject(problem),
        }
    }
    gather.finish(out);
    answer.finish(out);
}

/// The answer to a command, in the metrics `command/id`, `command/state` and `command/detail`.
#[derive(Default)]
struct Answer {
    id: Option<String>,
    state: Option<String>,
    detail: Option<String>,
}

impl Answer {
    fn take(&mut self, part: &str, value: Option<Value>) {
        let text = value.map(|value| value.to_string()).filter(|text| !text.is_empty());
        match part {
            "id" => self.id = text,
            "state" => self.state = text,
            "detail" => self.detail = text.map(|text| text.chars().take(MAX_DETAIL).collect()),
            _ => {} // Whatever else a device tells of its commands.
        }
    }

    fn finish(self, out: &mut Output<'_>) {
        let Some(id) = self.id else { return };
        let state = match self.state.as_deref() {
            Some("delivered") => CommandState::Delivered,
            Some("applied") => CommandState::Applied,
            Some("failed") => CommandState::Failed,
            Some(_) | None => {
                let detail = "the metric \"command/state\" beside \"command/id\" says neither delivered, applied nor \
                              failed; send one of these";
                return out.reject((RejectReason::WrongShape, detail.to_owned()));
            }
        };
        match id.parse::<CommandId>() {
            Ok(command) => {
                let time = out.message.received_at;
                out.push(Body::CommandResult(CommandResult { time, command, state, detail: self.detail }));
            }
            Err(error) => out.reject((RejectReason::WrongShape, sentence(&shorten(error)))),
        }
    }
}

/// The channel of a metric: its name, or what follows the last `/` of it.
fn channel_name<'n>(profile: &model::Profile, name: &'n str) -> &'n str {
    if profile.channel(name).is_some() { name } else { name.rsplit('/').next().unwrap_or(name) }
}

fn moment(context: &Context<'_>, ms: Option<u64>, received_at: Timestamp) -> Result<Timestamp, Problem> {
    let stamp = ms.map(|ms| Stamp::Number(i64::try_from(ms).unwrap_or(i64::MAX)));
    time::resolve(context.options, stamp.as_ref(), received_at)
}
