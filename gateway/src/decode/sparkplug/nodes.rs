//! What is known of each Sparkplug node: its birth, and how far its sequence has come.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use model::{DeviceId, Timestamp};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use srad_types::payload::{DataType, Metric, Payload, metric::Value as Wire};

use super::NAMESPACE;

/// How many nodes are followed.
const MAX_NODES: usize = 20_000;
/// In how many groups a node of one name is followed at the front door: a login may publish in any group.
const MAX_GROUPS: usize = 16;
/// How many metrics of one node are known by name.
const MAX_METRICS: usize = 20_000;
/// How often a node is asked for a new birth while none comes.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// A node's name: unique within its group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct NodeId {
    pub(crate) group: String,
    pub(crate) edge: String,
}

/// What a birth says of a metric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The number of its data type.
    pub(super) datatype: u32,
    pub(super) unit: Option<String>,
}

/// One node.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Node {
    /// The number of its birth, which its death must bear.
    bd_seq: Option<u64>,
    alive: bool,
    /// The devices it has said are there.
    devices: BTreeSet<String>,
    /// The metrics by alias: device (empty: the node itself) and name.
    aliases: BTreeMap<u64, (String, String)>,
    /// What is known of the metrics, by device and name.
    metrics: BTreeMap<String, BTreeMap<String, About>>,
    /// The last sequence number; not kept over a restart, when messages may have passed by.
    #[serde(skip)]
    seq: Option<u64>,
    /// Something of it was missed, and no birth has come since.
    #[serde(skip)]
    stale: bool,
    #[serde(skip)]
    asked_at: Option<Timestamp>,
    #[serde(skip)]
    changed: bool,
    /// The login it comes under at the front door.
    #[serde(skip)]
    pub(super) via: Option<DeviceId>,
}

/// How a message follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Next,
    /// The broker delivered the same message again.
    Again,
    Gap {
        expected: u64,
        got: u64,
    },
}

impl Node {
    /// A birth: all that was known is void.
    pub(super) fn born(&mut self, seq: Option<u64>, bd_seq: Option<u64>) {
        *self = Self {
            bd_seq,
            alive: true,
            seq,
            asked_at: self.asked_at,
            changed: true,
            via: self.via.take(),
            ..Self::default()
        };
    }

    /// A death certificate; false if it belongs to an earlier birth.
    pub(super) fn died(&mut self, bd_seq: Option<u64>) -> bool {
        if self.alive && self.bd_seq.is_some() && bd_seq.is_some() && self.bd_seq != bd_seq {
            return false;
        }
        self.changed |= self.alive;
        self.alive = false;
        self.seq = None;
        true
    }

    /// Follows the sequence, which runs from 0 to 255 and begins anew.
    pub(super) fn follow(&mut self, seq: Option<u64>) -> Order {
        if !self.alive {
            self.stale = true; // Its birth was missed.
        }
        let Some(got) = seq else { return Order::Next };
        let order = match self.seq {
            None => Order::Next,
            Some(last) if got == last => Order::Again,
            Some(last) if got == last.wrapping_add(1) % 256 => Order::Next,
            Some(last) => Order::Gap { expected: last.wrapping_add(1) % 256, got },
        };
        self.seq = Some(got);
        self.stale |= matches!(order, Order::Gap { .. });
        order
    }

    /// Asks for a new birth.
    pub(super) fn ask(&mut self) {
        self.stale = true;
    }

    pub(super) fn arrived(&mut self, device: &str) {
        self.changed |= self.devices.insert(device.to_owned());
    }

    pub(super) fn left(&mut self, device: &str) {
        self.changed |= self.devices.remove(device);
    }

    pub(super) fn take_devices(&mut self) -> BTreeSet<String> {
        self.changed = true;
        std::mem::take(&mut self.devices)
    }

    pub(super) fn learn(&mut self, device: &str, name: &str, alias: Option<u64>, about: About) {
        let known: usize = self.metrics.values().map(BTreeMap::len).sum();
        if known >= MAX_METRICS {
            return;
        }
        self.changed = true;
        if let Some(alias) = alias {
            self.aliases.insert(alias, (device.to_owned(), name.to_owned()));
        }
        self.metrics.entry(device.to_owned()).or_default().insert(name.to_owned(), about);
    }

    /// A metric's name and what is known of it; `None` if it has no name and its alias is not known for this device.
    pub(super) fn find(&self, device: &str, name: Option<&str>, alias: Option<u64>) -> Option<(String, About)> {
        let name = match name.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => {
                let (owner, name) = self.aliases.get(&alias?)?;
                (owner == device).then_some(name.as_str())?
            }
        };
        let about = self.metrics.get(device).and_then(|metrics| metrics.get(name)).cloned().unwrap_or_default();
        Some((name.to_owned(), about))
    }
}

/// A birth on disk cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a kept Sparkplug birth cannot be read; the node will be asked for a new one")]
pub struct RestoreError(#[from] serde_json::Error);

/// All nodes heard of. Pure: whoever owns it keeps [`Nodes::take_changed`] and gives it back after a restart.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: HashMap<NodeId, Node>,
    changed: BTreeSet<(String, String)>,
    to_ask: Vec<(NodeId, Option<DeviceId>)>,
}

/// A node as kept.
#[derive(Serialize, Deserialize)]
struct Kept<N> {
    id: NodeId,
    node: N,
}

impl Nodes {
    /// The node, new if it was not known; `None` if there is no room for another.
    pub(super) fn node(&mut self, id: &NodeId, logged_in: bool) -> Option<&mut Node> {
        if !self.nodes.contains_key(id) {
            let groups = || self.nodes.keys().filter(|other| other.edge == id.edge).count();
            if self.nodes.len() >= MAX_NODES || (logged_in && groups() >= MAX_GROUPS) {
                return None;
            }
        }
        Some(self.nodes.entry(id.clone()).or_default())
    }

    /// Notes what a message left behind: a changed birth to keep, a node to ask for a new one.
    pub(super) fn settle(&mut self, id: &NodeId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if std::mem::take(&mut node.changed) {
            self.changed.insert((id.group.clone(), id.edge.clone()));
        }
        if node.stale && node.asked_at.is_none_or(|at| now.since(at) >= ASK_EVERY) {
            node.asked_at = Some(now);
            self.to_ask.push((id.clone(), node.via.clone()));
        }
    }

    /// The nodes to be asked for a new birth.
    pub(crate) fn take_to_ask(&mut self) -> Vec<(NodeId, Option<DeviceId>)> {
        std::mem::take(&mut self.to_ask)
    }

    /// The births that changed since the last call: for each a name that is good for a file, and what to keep in it.
    pub fn take_changed(&mut self) -> Vec<(String, Vec<u8>)> {
        let changed = std::mem::take(&mut self.changed);
        let keep = |(group, edge): (String, String)| {
            let id = NodeId { group, edge };
            let node = self.nodes.get(&id)?;
            let digest = Sha256::digest(format!("{}/{}", id.group, id.edge));
            let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            serde_json::to_vec(&Kept { id, node }).ok().map(|kept| (format!("{name}.json"), kept))
        };
        changed.into_iter().filter_map(keep).collect()
    }

    /// Takes back what was kept.
    ///
    /// # Errors
    /// [`RestoreError`] if it is damaged.
    pub fn restore(&mut self, kept: &[u8]) -> Result<(), RestoreError> {
        let Kept { id, node } = serde_json::from_slice::<Kept<Node>>(kept)?;
        self.nodes.insert(id, node);
        Ok(())
    }
}

/// The command that asks a node for a new birth: its topic and payload.
pub(crate) fn rebirth(node: &NodeId, now: Timestamp) -> (String, Vec<u8>) {
    let ms = u64::try_from(now.as_millis()).unwrap_or_default();
    let mut metric = Metric::new();
    metric
        .set_name("Node Control/Rebirth".to_owned())
        .set_timestamp(ms)
        .set_datatype(DataType::Boolean)
        .set_value(Wire::BooleanValue(true));
    let payload = Payload { timestamp: Some(ms), metrics: vec![metric], seq: None, uuid: None, body: None };
    (format!("{NAMESPACE}/{}/NCMD/{}", node.group, node.edge), payload.encode_to_vec())
}
