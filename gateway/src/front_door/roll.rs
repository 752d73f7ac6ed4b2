//! Who is connected. A device may be connected more than once for a moment: the old connection of one that lost its
//! network lingers until its keep-alive runs out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::DeviceId;

/// The connections by client id.
#[derive(Default)]
pub(super) struct Roll(Mutex<HashMap<Arc<str>, Connection>>);

struct Connection {
    device: DeviceId,
    /// The hash of the secret it logged in with.
    secret: Option<[u8; 32]>,
    /// A new connection under the same client id is announced before the old one is taken leave of.
    count: usize,
}

impl Roll {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Connection>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(connections: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
        metrics::gauge!("liftline_front_door_connections").set(connections as f64);
    }

    pub(super) fn arrived(&self, client: Arc<str>, device: DeviceId, secret: Option<[u8; 32]>) {
        let mut connections = self.lock();
        let count = connections.get(&client).map_or(0, |connection| connection.count) + 1;
        connections.insert(client, Connection { device, secret, count });
        Self::report(connections.len());
    }

    pub(super) fn left(&self, client: &str) {
        let mut connections = self.lock();
        if let Some(connection) = connections.get_mut(client) {
            connection.count -= 1;
            if connection.count == 0 {
                connections.remove(client);
            }
        }
        Self::report(connections.len());
    }

    /// The device that is connected under a client id.
    pub(super) fn holder(&self, client: &str) -> Option<DeviceId> {
        self.lock().get(client).map(|connection| connection.device.clone())
    }

    /// The client ids under which a device is connected.
    pub(super) fn clients_of(&self, device: &DeviceId) -> Vec<Arc<str>> {
        let connections = self.lock();
        connections
            .iter()
            .filter(|(_, connection)| connection.device == *device)
            .map(|(client, _)| client.clone())
            .collect()
    }

    /// The connections whose login no longer holds, given the secret that each device must have now.
    pub(super) fn dismissed(&self, now: impl Fn(&DeviceId) -> Option<[u8; 32]>) -> Vec<(Arc<str>, DeviceId)> {
        let connections = self.lock();
        connections
            .iter()
            .filter(|(_, connection)| now(&connection.device) != connection.secret)
            .map(|(client, connection)| (client.clone(), connection.device.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_stays_on_the_roll_while_one_of_its_connections_lives() {
        let roll = Roll::default();
        let device = DeviceId::new("lift-1").unwrap();
        roll.arrived("a".into(), device.clone(), Some([1; 32]));
        roll.arrived("a".into(), device.clone(), Some([1; 32]));
        roll.left("a");
        assert_eq!(roll.clients_of(&device).len(), 1);
        roll.left("a");
        roll.left("a");
        assert!(roll.clients_of(&device).is_empty());
    }

    #[test]
    fn a_changed_or_withdrawn_secret_dismisses() {
        let roll = Roll::default();
        let device = DeviceId::new("lift-1").unwrap();
        roll.arrived("a".into(), device, Some([1; 32]));
        assert!(roll.dismissed(|_| Some([1; 32])).is_empty());
        assert_eq!(roll.dismissed(|_| Some([2; 32])).len(), 1);
        assert_eq!(roll.dismissed(|_| None).len(), 1);
    }
}
