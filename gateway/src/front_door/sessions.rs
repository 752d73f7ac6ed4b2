//! Sessions: who is connected, under which name, and what the front door keeps for a device between two connections.
//!
//! A session belongs to a client id. A device may hold a few at once: the old connection of one that lost its network
//! lingers until its keep-alive runs out. Nothing here outlives the hub; commands do, in the store.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use model::{CommandId, DeviceId, Timestamp};
use tokio::{sync::Notify, time::Instant};

use super::wire::Farewell;
use crate::wire::Qos;

/// How many sessions a device may hold.
const MAX_PER_DEVICE: usize = 4;
/// How many commands may wait in a session.
const MAX_COMMANDS: usize = 100;

/// Every session.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_client: HashMap<Arc<str>, Session>,
    by_device: HashMap<DeviceId, Vec<Arc<str>>>,
    connected: usize,
    /// Tells connections under the same client id apart.
    last_number: u64,
    /// Commands that ended with a session before the device had said that it has them.
    lost: Vec<CommandId>,
}

struct Session {
    device: DeviceId,
    /// The hash of the secret it logged in with.
    secret: Option<[u8; 32]>,
    kept: Arc<Mutex<Kept>>,
    /// The connection that has it now.
    link: Option<Arc<Link>>,
    /// The number of the last connection that had it.
    number: u64,
    /// When it ends, while nobody is connected.
    ends_at: Option<Instant>,
}

/// What lasts from one connection of a session to the next.
#[derive(Default)]
pub(super) struct Kept {
    /// The device listens on its commands topic, and on everything below it.
    pub(super) exact: Option<Qos>,
    pub(super) below: Option<Qos>,
    /// It listens on topics of other platforms.
    pub(super) foreign: Vec<(String, Qos)>,
    /// Commands that have not gone out.
    pub(super) waiting: VecDeque<Command>,
    /// Commands that went out and are not acknowledged.
    pub(super) unacknowledged: VecDeque<(u16, Command)>,
    /// Messages of QoS 2 that the journal has and the device has not released.
    pub(super) unreleased: HashSet<u16>,
    last_id: u16,
}

/// A command on its way.
#[derive(Debug, Clone)]
pub(super) struct Command {
    /// Its id; none for what a format makes the hub say.
    pub(super) id: Option<CommandId>,
    /// Until when it is wanted.
    pub(super) deadline: Option<Timestamp>,
    /// The topic, if it is not the device's native one.
    pub(super) topic: Option<Arc<str>>,
    pub(super) payload: Bytes,
}

impl Command {
    /// True until its deadline: what comes later is not expected any more.
    pub(super) fn is_wanted(&self, now: Timestamp) -> bool {
        self.deadline.is_none_or(|deadline| now < deadline)
    }
}

impl Kept {
    /// The quality of service with which a command on a topic goes out; `None` if the device does not listen there.
    pub(super) fn listens_on(&self, topic: Option<&str>) -> Option<Qos> {
        let Some(topic) = topic else { return self.listens() };
        let qos = self.foreign.iter().filter(|(filter, _)| matches(filter, topic)).map(|(_, qos)| *qos);
        qos.reduce(|best, qos| if best == Qos::Zero { qos } else { best })
            .map(|qos| if qos == Qos::Zero { Qos::Zero } else { Qos::One })
    }

    /// The quality of service with which commands go out; `None` if the device does not listen.
    fn listens(&self) -> Option<Qos> {
        match (self.exact, self.below) {
            (Some(Qos::One | Qos::Two), _) | (_, Some(Qos::One | Qos::Two)) => Some(Qos::One),
            (Some(Qos::Zero), _) | (_, Some(Qos::Zero)) => Some(Qos::Zero),
            (None, None) => None,
        }
    }

    /// A packet id that is not in use.
    pub(super) fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.unacknowledged.iter().all(|(id, _)| *id != self.last_id) {
                return self.last_id;
            }
        }
    }
}

/// How others reach a running connection.
pub(super) struct Link {
    /// Wakes it.
    pub(super) wake: Arc<Notify>,
    ending: OnceLock<Farewell>,
}

impl Link {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { wake, ending: OnceLock::new() }
    }

    fn end(&self, why: Farewell) {
        // The first reason counts.
        let _ending_already = self.ending.set(why);
        self.wake.notify_one();
    }

    /// Why the connection must end now.
    pub(super) fn ending(&self) -> Option<Farewell> {
        self.ending.get().copied()
    }
}

/// A session as its connection holds it.
pub(super) struct Held {
    pub(super) client: Arc<str>,
    pub(super) kept: Arc<Mutex<Kept>>,
    /// The session was there before.
    pub(super) present: bool,
    number: u64,
}

/// How a command fares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// A connection of the device sends it now.
    Over,
    NotConnected,
    DoesNotListen,
    /// As many commands as there is room for wait already.
    Full,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device that a client id belongs to.
    pub(super) fn holder(&self, client: &str) -> Option<DeviceId> {
        self.lock().by_client.get(client).map(|session| session.device.clone())
    }

    /// A connection arrives. An earlier one under the same client id is ended, and its session taken over unless a
    /// `clean` one is wanted. `None` if the client id has meanwhile become another device's.
    pub(super) fn arrived(
        &self,
        client: Arc<str>,
        device: &DeviceId,
        secret: Option<[u8; 32]>,
        clean: bool,
        link: Arc<Link>,
    ) -> Option<Held> {
        let mut table = self.lock();
        table.last_number += 1;
        let number = table.last_number;
        let mut held = Held { client: client.clone(), kept: Arc::default(), present: false, number };
        if table.by_client.get(&client).is_some_and(|session| session.device != *device) {
            return None;
        }
        if let Some(earlier) = table.by_client.remove(&client) {
            if let Some(link) = earlier.link {
                table.connected -= 1;
                link.end(Farewell::TakenOver);
            }
            if clean {
                table.lose(&earlier.kept);
            } else {
                (held.kept, held.present) = (earlier.kept, true);
            }
        } else {
            table.make_room(device);
            table.by_device.entry(device.clone()).or_default().push(client.clone());
        }
        table.connected += 1;
        let session = Session {
            device: device.clone(),
            secret,
            kept: held.kept.clone(),
            link: Some(link),
            number,
            ends_at: None,
        };
        table.by_client.insert(client, session);
        table.report();
        Some(held)
    }

    /// A connection has ended; its session is kept for a while. Does nothing if another connection has it by now.
    pub(super) fn left(&self, held: &Held, keep_for: Duration, now: Instant) {
        let mut table = self.lock();
        let Some(session) = table.by_client.get_mut(&held.client).filter(|session| session.number == held.number)
        else {
            return;
        };
        session.ends_at = now.checked_add(keep_for);
        if session.link.take().is_some() {
            table.connected -= 1;
        }
        if keep_for.is_zero() {
            table.remove(&held.client);
        }
        table.report();
    }

    /// True if a device has any connection.
    pub(super) fn is_connected(&self, device: &DeviceId) -> bool {
        let table = self.lock();
        table.sessions_of(device).any(|session| session.link.is_some())
    }

    /// True if no later connection has taken the session over.
    pub(super) fn is_last(&self, held: &Held) -> bool {
        self.lock().by_client.get(&held.client).is_none_or(|session| session.number == held.number)
    }

    /// The commands that ended with a session since the last call, before the device had said that it has them.
    pub(super) fn take_lost(&self) -> Vec<CommandId> {
        std::mem::take(&mut self.lock().lost)
    }

    /// Hands a command to every connection of a device that listens.
    pub(super) fn command(&self, device: &DeviceId, command: &Command) -> Handed {
        let table = self.lock();
        let mut outcome = Handed::NotConnected;
        for session in table.sessions_of(device) {
            let Some(link) = &session.link else { continue };
            let mut kept = lock_kept(&session.kept);
            if kept.listens_on(command.topic.as_deref()).is_none() {
                if outcome == Handed::NotConnected {
                    outcome = Handed::DoesNotListen;
                }
            } else if kept.waiting.len() + kept.unacknowledged.len() >= MAX_COMMANDS {
                if outcome != Handed::Over {
                    outcome = Handed::Full;
                }
            } else {
                kept.waiting.push_back(command.clone());
                link.wake.notify_one();
                outcome = Handed::Over;
            }
        }
        outcome
    }

    /// Ends the connections and sessions whose login no longer holds, given the secret that each device must have
    /// now. Returns the devices whose connections end.
    pub(super) fn dismiss(&self, now: impl Fn(&DeviceId) -> Option<[u8; 32]>) -> Vec<DeviceId> {
        let mut table = self.lock();
        let changed: Vec<Arc<str>> = table
            .by_client
            .iter()
            .filter(|(_, session)| now(&session.device) != session.secret)
            .map(|(client, _)| client.clone())
            .collect();
        let mut dismissed = Vec::new();
        for client in changed {
            let Some(session) = table.remove(&client) else { continue };
            if let Some(link) = session.link {
                table.connected -= 1;
                link.end(Farewell::Dismissed);
                dismissed.push(session.device);
            }
        }
        table.report();
        dismissed
    }

    /// Forgets sessions that nobody came back to.
    pub(super) fn forget(&self, now: Instant) {
        let mut table = self.lock();
        let ended: Vec<Arc<str>> = table
            .by_client
            .iter()
            .filter(|(_, session)| session.link.is_none() && session.ends_at.is_some_and(|at| at <= now))
            .map(|(client, _)| client.clone())
            .collect();
        for client in ended {
            table.remove(&client);
        }
    }
}

impl Table {
    fn sessions_of(&self, device: &DeviceId) -> impl Iterator<Item = &Session> {
        let clients = self.by_device.get(device).into_iter().flatten();
        clients.filter_map(|client| self.by_client.get(client))
    }

    /// Ends the oldest session of a device that holds too many: one without a connection, if there is one.
    fn make_room(&mut self, device: &DeviceId) {
        let clients = self.by_device.get(device).map_or(&[][..], Vec::as_slice);
        if clients.len() < MAX_PER_DEVICE {
            return;
        }
        let idle = |client: &&Arc<str>| self.by_client.get(*client).is_some_and(|session| session.link.is_none());
        let Some(oldest) = clients.iter().find(idle).or(clients.first()).cloned() else { return };
        if let Some(link) = self.remove(&oldest).and_then(|session| session.link) {
            self.connected -= 1;
            link.end(Farewell::TakenOver);
        }
    }

    fn remove(&mut self, client: &Arc<str>) -> Option<Session> {
        let session = self.by_client.remove(client)?;
        if let Some(clients) = self.by_device.get_mut(&session.device) {
            clients.retain(|other| other != client);
            if clients.is_empty() {
                self.by_device.remove(&session.device);
            }
        }
        self.lose(&session.kept);
        Some(session)
    }

    /// Notes the commands that end with a session.
    fn lose(&mut self, kept: &Mutex<Kept>) {
        let kept = lock_kept(kept);
        let unacknowledged = kept.unacknowledged.iter().map(|(_, command)| command);
        self.lost.extend(kept.waiting.iter().chain(unacknowledged).filter_map(|command| command.id));
    }

    fn report(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
        metrics::gauge!("liftline_front_door_connections").set(self.connected as f64);
    }
}

/// True if a topic filter (MQTT 5 section 4.7) takes a topic.
fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (level, Some(found)) if level == found => {}
            (_, Some(_)) => return false,
        }
    }
    topic.next().is_none()
}

/// Locks what a session keeps.
pub(super) fn lock_kept(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // Nothing that holds the lock can panic half-way through a change.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(60);

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    fn command(topic: Option<&Arc<str>>) -> Command {
        let id = Some(CommandId(Default::default()));
        Command { id, deadline: None, topic: topic.cloned(), payload: Bytes::from_static(b"{}") }
    }

    fn link() -> Arc<Link> {
        Arc::new(Link::new(Arc::default()))
    }

    fn arrive(sessions: &Sessions, client: &str, name: &str, clean: bool) -> (Held, Arc<Link>) {
        let link = link();
        (sessions.arrived(client.into(), &device(name), Some([1; 32]), clean, link.clone()).unwrap(), link)
    }

    #[tokio::test]
    async fn a_session_is_taken_over_with_what_it_keeps() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (old, old_link) = arrive(&sessions, "a", "lift-1", false);
        lock_kept(&old.kept).exact = Some(Qos::One);
        assert!(!old.present && old_link.ending().is_none());
        let (new, _) = arrive(&sessions, "a", "lift-1", false);
        assert!(new.present && old_link.ending() == Some(Farewell::TakenOver));
        assert_eq!(lock_kept(&new.kept).listens(), Some(Qos::One));
        // The farewell of the old connection changes nothing any more.
        sessions.left(&old, Duration::ZERO, now);
        assert!(sessions.is_connected(&device("lift-1")) && !sessions.is_last(&old));
        let (clean, _) = arrive(&sessions, "a", "lift-1", true);
        assert!(!clean.present && lock_kept(&clean.kept).listens().is_none());
    }

    #[tokio::test]
    async fn a_session_ends_when_nobody_comes_back() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (held, _) = arrive(&sessions, "a", "lift-1", false);
        sessions.left(&held, KEPT, now);
        sessions.forget(now + KEPT / 2);
        assert_eq!(sessions.holder("a"), Some(device("lift-1")));
        assert!(!sessions.is_connected(&device("lift-1")));
        sessions.forget(now + KEPT);
        assert_eq!(sessions.holder("a"), None);
        let (held, _) = arrive(&sessions, "b", "lift-1", false);
        sessions.left(&held, Duration::ZERO, now);
        assert_eq!(sessions.holder("b"), None);
    }

    #[tokio::test]
    async fn a_client_id_and_its_session_belong_to_one_device() {
        let sessions = Sessions::default();
        let (held, link_1) = arrive(&sessions, "a", "lift-1", false);
        assert!(sessions.arrived("a".into(), &device("lift-2"), None, true, link()).is_none());
        sessions.left(&held, KEPT, Instant::now());
        assert!(sessions.arrived("a".into(), &device("lift-2"), None, true, link()).is_none());
        assert!(link_1.ending().is_none());
    }

    #[tokio::test]
    async fn a_device_cannot_fill_the_hub_with_sessions() {
        let sessions = Sessions::default();
        let first = arrive(&sessions, "0", "lift-1", false);
        let idle = arrive(&sessions, "1", "lift-1", false);
        sessions.left(&idle.0, KEPT, Instant::now());
        for n in 2..=MAX_PER_DEVICE {
            arrive(&sessions, &n.to_string(), "lift-1", false);
        }
        assert_eq!(sessions.holder("1"), None, "the one without a connection goes first");
        assert!(first.1.ending().is_none());
        arrive(&sessions, "more", "lift-1", false);
        assert_eq!(first.1.ending(), Some(Farewell::TakenOver));
        assert_eq!(sessions.lock().connected, MAX_PER_DEVICE);
    }

    #[tokio::test]
    async fn a_command_goes_to_the_connection_that_listens() {
        let sessions = Sessions::default();
        assert_eq!(sessions.command(&device("lift-1"), &command(None)), Handed::NotConnected);
        let (held, _) = arrive(&sessions, "a", "lift-1", false);
        assert_eq!(sessions.command(&device("lift-1"), &command(None)), Handed::DoesNotListen);
        lock_kept(&held.kept).below = Some(Qos::Zero);
        for _ in 0..MAX_COMMANDS {
            assert_eq!(sessions.command(&device("lift-1"), &command(None)), Handed::Over);
        }
        assert_eq!(sessions.command(&device("lift-1"), &command(None)), Handed::Full);
    }

    #[tokio::test]
    async fn a_command_that_ends_with_its_session_is_told_once() {
        let sessions = Sessions::default();
        let (held, _) = arrive(&sessions, "a", "lift-1", true);
        lock_kept(&held.kept).exact = Some(Qos::One);
        assert_eq!(sessions.command(&device("lift-1"), &command(None)), Handed::Over);
        let (held, _) = arrive(&sessions, "a", "lift-1", false);
        assert!(sessions.take_lost().is_empty(), "the session was taken over with it");
        let (held, _) = (arrive(&sessions, "a", "lift-1", true), drop(held)).0;
        assert_eq!(sessions.take_lost(), [command(None).id.unwrap()]);
        assert!(sessions.take_lost().is_empty());
        lock_kept(&held.kept).unacknowledged.push_back((1, command(None)));
        sessions.left(&held, Duration::ZERO, Instant::now());
        assert_eq!(sessions.take_lost().len(), 1);
    }

    #[test]
    fn a_command_is_wanted_until_its_deadline() {
        let until = Timestamp::from_secs(5);
        let command = Command { deadline: Some(until), ..command(None) };
        assert!(command.is_wanted(Timestamp::from_secs(4)) && !command.is_wanted(until));
    }

    #[tokio::test]
    async fn a_changed_or_withdrawn_secret_dismisses() {
        let sessions = Sessions::default();
        let (_, link) = arrive(&sessions, "a", "lift-1", false);
        assert!(sessions.dismiss(|_| Some([1; 32])).is_empty());
        assert_eq!(sessions.dismiss(|_| None), [device("lift-1")]);
        assert_eq!(link.ending(), Some(Farewell::Dismissed));
        assert_eq!(sessions.holder("a"), None);
    }

    #[tokio::test]
    async fn a_command_of_another_platform_goes_where_the_device_listens_for_it() {
        let sessions = Sessions::default();
        let (held, _) = arrive(&sessions, "a", "lift-1", false);
        let topic: Arc<str> = "v1/devices/me/rpc/request/7".into();
        lock_kept(&held.kept).exact = Some(Qos::One);
        assert_eq!(sessions.command(&device("lift-1"), &command(Some(&topic))), Handed::DoesNotListen);
        lock_kept(&held.kept).foreign.push(("v1/devices/me/rpc/request/+".to_owned(), Qos::Two));
        assert_eq!(sessions.command(&device("lift-1"), &command(Some(&topic))), Handed::Over);
        assert_eq!(lock_kept(&held.kept).listens_on(Some(&topic)), Some(Qos::One));
        for (filter, topic, matched) in [
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+/c", "a/b/c", true),
            ("a/b", "a/c", false),
            ("a/b", "a/b/c", false),
            ("#", "a", true),
        ] {
            assert_eq!(matches(filter, topic), matched, "{filter} {topic}");
        }
    }

    #[test]
    fn packet_ids_in_use_are_not_given_again() {
        let mut kept = Kept { last_id: u16::MAX - 1, ..Kept::default() };
        kept.unacknowledged.push_back((1, command(None)));
        assert_eq!([kept.next_id(), kept.next_id()], [u16::MAX, 2]);
    }
}
