//! The link to an external broker.
//!
//! It has several connections, each with a session of its own at the broker: one for events, so that an alarm never
//! stands in the broker's queue behind measurements, one or more for measurements, and one for other platforms' formats,
//! where measurements and alarms come on the same topics.

mod backoff;
mod connection;
mod line;
mod socket;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use model::{Clock, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    GatewayError,
    config::{BrokerConfig, GatewayConfig},
    downlink::Downlink,
    inbound::{Inlet, ReceiptClock},
    topic,
};
use line::Line;

/// How the link to the broker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It is up, and the broker has granted the subscriptions.
    Connected {
        /// Since when.
        since: Timestamp,
    },
    /// It is down, or a part of it; the hub keeps trying.
    Disconnected {
        /// Since when.
        since: Timestamp,
        /// Why, in a sentence with its remedy.
        reason: String,
    },
}

/// A subscriber at an external broker.
pub struct BrokerLink {
    config: BrokerConfig,
    prefix: String,
    clock: Arc<dyn Clock>,
    state: watch::Sender<LinkState>,
}

impl BrokerLink {
    /// A link that is not yet open.
    #[must_use]
    pub fn new(config: BrokerConfig, gateway: &GatewayConfig, clock: Arc<dyn Clock>) -> Self {
        let state = LinkState::Disconnected { since: clock.now(), reason: "not connected yet".to_owned() };
        let clock = ReceiptClock::over(clock);
        Self { config, prefix: gateway.prefix.clone(), clock, state: watch::Sender::new(state) }
    }

    /// How the link stands, and every change of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Receives messages and sends commands until the shutdown, connecting again whenever a connection is lost.
    ///
    /// A message is acknowledged to the broker when its [`crate::Ack`] is done and every message before it on the same
    /// connection has been acknowledged. If an `Ack` is dropped instead, that connection is made anew, and the broker
    /// sends again what was not acknowledged. Messages left unacknowledged at the shutdown come again at the next start.
    ///
    /// # Errors
    /// [`GatewayError`] if the TLS setup or the password file cannot be used, or if nobody takes messages any more.
    pub async fn run(
        self,
        out: Inlet,
        downlinks: mpsc::Receiver<Downlink>,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        let plans = plan(&self.config, &self.prefix);
        let states = Mutex::new(vec![self.state.borrow().clone(); plans.len()]);
        // Commands go out with the events; the other connections have none.
        let mut downlinks = Some(downlinks);
        let lines = plans.into_iter().enumerate().map(|(index, (client_id, filters))| {
            let standing = Standing { states: &states, index, combined: &self.state };
            let config = BrokerConfig { client_id, ..self.config.clone() };
            let received = metrics::counter!("liftline_messages_received_total", "way" => "broker");
            let line = Line { config, filters, prefix: &self.prefix, clock: &*self.clock, standing, received };
            let downlinks = downlinks.take().unwrap_or_else(|| mpsc::channel(1).1);
            line.run(out.clone(), downlinks, shutdown.clone())
        });
        try_join_all(lines.collect::<Vec<_>>()).await.map(drop)
    }
}

/// The connections: the client id and the subscriptions of each, that for events first.
fn plan(config: &BrokerConfig, prefix: &str) -> Vec<(String, Vec<(String, bool)>)> {
    let (events, telemetry): (Vec<_>, Vec<_>) =
        topic::filters(prefix).into_iter().partition(|(filter, _)| topic::is_urgent(filter.as_bytes()));
    let mut plan = vec![(format!("{}-events", config.client_id), events)];
    // Where the order of messages carries meaning, one connection takes them all: not that of the events, which they would
    // hold up.
    let foreign: Vec<_> = config.foreign_filters().into_iter().map(|filter| (filter, false)).collect();
    if !foreign.is_empty() {
        plan.push((format!("{}-formats", config.client_id), foreign));
    }
    if config.connections == 1 {
        plan.push((config.client_id.clone(), telemetry));
        return plan;
    }
    // The broker deals the messages of a shared subscription out to its members.
    let group: String = config.client_id.chars().filter(|c| !matches!(c, '/' | '+' | '#')).collect();
    let shared: Vec<_> =
        telemetry.into_iter().map(|(filter, retained)| (format!("$share/{group}/{filter}"), retained)).collect();
    plan.extend((1..=config.connections).map(|number| (format!("{}-{number}", config.client_id), shared.clone())));
    plan
}

/// Where one connection says how it stands; together they are the state of the link.
struct Standing<'a> {
    states: &'a Mutex<Vec<LinkState>>,
    index: usize,
    combined: &'a watch::Sender<LinkState>,
}

impl Standing<'_> {
    /// How the connection stands.
    fn get(&self) -> LinkState {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)[self.index].clone()
    }

    /// Says how it stands now. The link is up when all of it is.
    fn set(&self, state: LinkState) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states[self.index] = state;
        let connected = |state: &&LinkState| matches!(state, LinkState::Connected { .. });
        let down = states.iter().find(|state| !connected(state));
        let combined = down.unwrap_or(&states[self.index]).clone();
        metrics::gauge!("liftline_broker_connected").set(f64::from(u8::from(down.is_none())));
        drop(states);
        self.combined.send_replace(combined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(connections: u8) -> Vec<(String, Vec<String>)> {
        let config = BrokerConfig { client_id: "hub".to_owned(), connections, ..BrokerConfig::default() };
        let names = |filters: Vec<(String, bool)>| filters.into_iter().map(|(filter, _)| filter).collect();
        plan(&config, "p").into_iter().map(|(client, filters)| (client, names(filters))).collect()
    }

    #[test]
    fn events_have_a_connection_of_their_own_and_telemetry_is_shared_out() {
        let [events, telemetry] = &plan_of(1)[..] else { panic!("two connections") };
        assert_eq!(events.0, "hub-events");
        assert!(events.1.contains(&"p/+/events".to_owned()) && !events.1.contains(&"p/+/telemetry".to_owned()));
        assert_eq!(telemetry.0, "hub");
        assert_eq!(telemetry.1[0], "p/+/telemetry");
        assert!(telemetry.1.contains(&"p/+/senml".to_owned()));
        let shared = plan_of(3);
        assert_eq!(shared.len(), 4);
        assert_eq!(shared[3].0, "hub-3");
        assert_eq!(shared[3].1[0], "$share/hub/p/+/telemetry");
    }

    /// Sequence numbers and births mean nothing out of order; and no flood of them stands before an event.
    #[test]
    fn other_platforms_messages_have_one_connection_of_their_own() {
        let config = BrokerConfig {
            sparkplug_groups: vec!["plant".to_owned()],
            thingsboard_gateways: true,
            connections: 3,
            ..BrokerConfig::default()
        };
        let plan = plan(&config, "p");
        let foreign = |filters: &[(String, bool)]| {
            filters.iter().filter(|(filter, _)| filter.contains("spBv1.0") || filter.contains("v1/gateway")).count()
        };
        let counts: Vec<_> = plan.iter().map(|(client, filters)| (client.as_str(), foreign(filters))).collect();
        let none = [("liftline-hub-1", 0), ("liftline-hub-2", 0), ("liftline-hub-3", 0)];
        assert_eq!(counts[..2], [("liftline-hub-events", 0), ("liftline-hub-formats", 11)]);
        assert_eq!(counts[2..], none);
    }
}
