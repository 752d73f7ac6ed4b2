//! In which words, and by which way, a command reaches a device: the way its own messages came.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{CommandId, DeviceId, Timestamp};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use srad_types::payload::{DataType, Metric, Payload, metric::Value as Wire};

use crate::{downlink::Address, topic};

/// How a device speaks. `via` is the login it came under at the front door; none at an external broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Route {
    /// ThingsBoard's device API.
    ThingsBoardDevice { via: Option<DeviceId> },
    /// ThingsBoard's gateway API.
    ThingsBoardGateway { via: Option<DeviceId> },
    /// Sparkplug B.
    Sparkplug { group: String, edge: String, device: Option<String>, via: Option<DeviceId> },
}

/// The ways of all devices that do not speak natively. Shared by the decoder, which learns them, and by whoever sends.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    routes: HashMap<DeviceId, Route>,
    changed: bool,
}

/// A command as the hub means it.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Its id, which the answer bears.
    pub command: CommandId,
    /// The device.
    pub device: &'a DeviceId,
    /// Its name in the profile.
    pub name: &'a str,
    /// Its arguments.
    pub args: &'a Json,
    /// Until when it is wanted.
    pub deadline: Timestamp,
}

impl Routes {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a device speaks; `None`: natively.
    pub(crate) fn learn(&self, device: &DeviceId, route: Option<Route>) {
        let mut table = self.lock();
        let changed = match route {
            Some(route) if table.routes.get(device) != Some(&route) => {
                table.routes.insert(device.clone(), route);
                true
            }
            Some(_) => false,
            None => !table.routes.is_empty() && table.routes.remove(device).is_some(),
        };
        table.changed |= changed;
    }

    /// What to keep over a restart; `None` if nothing changed since the last call.
    #[must_use]
    pub fn take_changed(&self) -> Option<Vec<u8>> {
        let mut table = self.lock();
        let routes: Vec<_> = std::mem::take(&mut table.changed).then(|| table.routes.iter().collect())?;
        serde_json::to_vec(&routes).ok()
    }

    /// Takes back what was kept.
    ///
    /// # Errors
    /// If it is damaged; the routes are then learned anew from what devices say.
    pub fn restore(&self, kept: &[u8]) -> Result<(), crate::RestoreError> {
        let routes: Vec<(DeviceId, Route)> = serde_json::from_slice(kept)?;
        self.lock().routes.extend(routes);
        Ok(())
    }

    /// Where a command goes and what is sent there.
    #[must_use]
    pub fn word(&self, prefix: &str, order: &Order<'_>, now: Timestamp) -> (Address, Vec<u8>) {
        let Order { command, device, name, args, deadline } = *order;
        let route = self.lock().routes.get(device).cloned();
        let to = |via: Option<DeviceId>, topic: String| match via {
            Some(device) => Address::FrontDoor { device, topic },
            None => Address::Broker { topic },
        };
        match route {
            None => {
                let payload = json!({ "id": command, "name": name, "args": args, "deadline": deadline.as_millis() });
                (Address::Commands(device.clone()), payload.to_string().into_bytes())
            }
            Some(Route::ThingsBoardDevice { via }) => {
                let own = format!("{}rpc/request/{command}", topic::THINGSBOARD_DEVICE);
                let topic = if via.is_some() { own } else { format!("{prefix}/{device}/{own}") };
                (to(via, topic), json!({ "method": name, "params": args }).to_string().into_bytes())
            }
            Some(Route::ThingsBoardGateway { via }) => {
                let request = json!({ "id": command, "method": name, "params": args });
                let payload = json!({ "device": device, "data": request });
                (to(via, format!("{}rpc", topic::THINGSBOARD_GATEWAY)), payload.to_string().into_bytes())
            }
            Some(Route::Sparkplug { group, edge, device, via }) => {
                let topic = match device {
                    Some(device) => format!("spBv1.0/{group}/DCMD/{edge}/{device}"),
                    None => format!("spBv1.0/{group}/NCMD/{edge}"),
                };
                (to(via, topic), sparkplug(order, now))
            }
        }
    }
}

/// A command in Sparkplug B: a metric `NAME/ARG` for each argument, and `NAME/id`, which the device sends back in the
/// metrics `command/id` and `command/state` of its data once it has done it.
fn sparkplug(order: &Order<'_>, now: Timestamp) -> Vec<u8> {
    let ms = u64::try_from(now.as_millis()).unwrap_or_default();
    let metric = |name: &str, value: &Json| {
        let (datatype, value) = match value {
            Json::Bool(flag) => (DataType::Boolean, Wire::BooleanValue(*flag)),
            Json::Number(number) => (DataType::Double, Wire::DoubleValue(number.as_f64().unwrap_or_default())),
            Json::String(text) => (DataType::String, Wire::StringValue(text.clone())),
            Json::Null | Json::Array(_) | Json::Object(_) => (DataType::String, Wire::StringValue(value.to_string())),
        };
        let mut metric = Metric::new();
        metric.set_name(format!("{}/{name}", order.name)).set_timestamp(ms).set_datatype(datatype).set_value(value);
        metric
    };
    let mut metrics = vec![metric("id", &json!(order.command)), metric("deadline", &json!(order.deadline.as_millis()))];
    match order.args {
        Json::Object(args) => metrics.extend(args.iter().map(|(name, value)| metric(name, value))),
        Json::Null => {}
        other => metrics.push(metric("value", other)),
    }
    Payload { timestamp: Some(ms), metrics, seq: None, uuid: None, body: None }.encode_to_vec()
}
