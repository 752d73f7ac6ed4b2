//! The link to an external broker, against brokers that do what Mosquitto would not: they are made of bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "support/link.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod link;
mod support;

use gateway::ProtocolVersion;
use link::{Link, config};
use support::{
    next,
    raw::{Raw, packet, publish, text},
    soon,
};
use tokio::net::TcpListener;

/// A broker made of bytes.
struct Fake(TcpListener);

impl Fake {
    async fn start() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    fn link(&self, protocol: ProtocolVersion) -> Link {
        Link::start(config(self.0.local_addr().unwrap().port(), protocol))
    }

    /// Hears a CONNECT on one of the link's two connections; the flag says whether it is that of the events.
    async fn hear(&self) -> (Raw, bool) {
        let (stream, _) = soon("a connection", self.0.accept()).await.unwrap();
        let mut raw = Raw(stream);
        let hello = raw.packet().await;
        assert_eq!(hello[0], 0x10);
        let events = hello.windows(7).any(|part| part == b"-events");
        (raw, events)
    }

    /// Welcomes both connections of an MQTT 5 link with the properties given, and grants their subscriptions. Returns the one for
    /// events and the one for measurements.
    async fn welcome(&self, properties: &[u8]) -> (Raw, Raw) {
        let mut both = [None, None];
        for _ in 0..2 {
            let (mut raw, events) = self.hear().await;
            let length = u8::try_from(properties.len()).unwrap();
            admit(&mut raw, &[&[1, 0, length], properties].concat(), &[0, 1, 0, 1]).await;
            both[usize::from(!events)] = Some(raw);
        }
        let [Some(events), Some(telemetry)] = both else { panic!("two connections for the same") };
        (events, telemetry)
    }
}

/// Answers a CONNECT, hears the SUBSCRIBE and answers that; both answers without their headers.
async fn admit(raw: &mut Raw, connack: &[u8], suback: &[u8]) {
    raw.send(&packet(0x20, connack)).await;
    assert_eq!(raw.packet().await[0], 0x82);
    raw.send(&packet(0x90, suback)).await;
}

#[tokio::test]
async fn a_broker_of_an_older_version_is_named() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    let (mut raw, _) = broker.hear().await;
    raw.send(&[0x20, 2, 0, 1]).await;
    link.reason("set protocol = \"3.1.1\"").await;
    link.stop().await;
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_told_apart_from_one_that_is_not_there() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V311);
    let (first, _) = broker.hear().await;
    let (second, _) = broker.hear().await;
    link.reason("did not answer in time").await;
    drop((first, second));
    link.stop().await;
}

#[tokio::test]
async fn the_hub_says_that_it_is_there_and_notices_when_the_broker_is_not() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    // The broker wants to hear from the hub every second.
    let (mut events, mut telemetry) = broker.welcome(&[0x13, 0, 1]).await;
    link.connected().await;
    assert_eq!(telemetry.packet().await, [0xC0, 0]);
    telemetry.send(&[0xD0, 0]).await;
    assert_eq!(events.packet().await, [0xC0, 0]);
    // This one is not answered.
    link.reason("did not answer in time").await;
    link.stop().await;
}

#[tokio::test]
async fn messages_that_come_at_once_have_times_of_receipt_of_their_own() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V311);
    let mut raws = Vec::new();
    for _ in 0..2 {
        let (mut raw, _) = broker.hear().await;
        admit(&mut raw, &[0, 0], &[0, 1, 1]).await;
        raws.push(raw);
    }
    link.connected().await;
    let both = [1, 2].map(|id| publish("liftline/lift-1/telemetry", b"x", 1, id)).concat();
    raws[0].send(&both).await;
    let [first, second] = [next(&mut link.arrived).await.message, next(&mut link.arrived).await.message];
    assert!(first.received_at < second.received_at, "measurements without a time of their own would be one");
    link.stop().await;
}

#[tokio::test]
async fn what_the_broker_says_when_it_ends_a_connection_is_told() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    let (_events, mut telemetry) = broker.welcome(&[]).await;
    telemetry.send(&packet(0xE0, &[0x8E, 0])).await;
    link.reason("give every hub its own").await;
    link.stop().await;
}

#[tokio::test]
async fn what_is_no_mqtt_ends_the_connection_and_is_told() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    let (_events, mut telemetry) = broker.welcome(&[]).await;
    telemetry.send(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).await;
    link.reason("broke").await;
    let (mut telemetry, events) = broker.hear().await;
    assert!(!events, "only the broken one is made anew");
    admit(&mut telemetry, &[1, 0, 0], &[0, 1, 0, 1]).await;
    link.connected().await;
    link.stop().await;
}

#[tokio::test]
async fn a_packet_id_that_comes_twice_is_two_messages() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    let (_events, mut telemetry) = broker.welcome(&[]).await;
    let topic = "liftline/lift-1/telemetry";
    for payload in ["a", "b"] {
        let body = [text(topic), vec![0, 7, 0], payload.as_bytes().to_vec()].concat();
        telemetry.send(&packet(0x32, &body)).await;
    }
    let (first, second) = (next(&mut link.arrived).await, next(&mut link.arrived).await);
    assert_eq!((support::text(&first), support::text(&second)), ("a".to_owned(), "b".to_owned()));
    // The second is safe before the first: none is acknowledged yet, and then both are.
    second.ack.done();
    first.ack.done();
    assert_eq!(telemetry.packet().await, [0x40, 2, 0, 7]);
    assert_eq!(telemetry.packet().await, [0x40, 2, 0, 7]);
    link.stop().await;
}

/// The hub asks for QoS 1, but a session that an earlier subscriber left may send with QoS 2.
#[tokio::test]
async fn a_message_of_qos_2_is_received_and_released() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V311);
    let mut telemetry = None;
    for _ in 0..2 {
        let (mut raw, events) = broker.hear().await;
        admit(&mut raw, &[1, 0], &[0, 1, 1]).await;
        if !events {
            telemetry = Some(raw);
        }
    }
    let mut telemetry = telemetry.unwrap();
    telemetry.send(&publish("liftline/lift-1/telemetry", b"x", 2, 9)).await;
    next(&mut link.arrived).await.ack.done();
    assert_eq!(telemetry.packet().await, [0x50, 2, 0, 9]);
    telemetry.send(&[0x62, 2, 0, 9]).await;
    assert_eq!(telemetry.packet().await, [0x70, 2, 0, 9]);
    link.stop().await;
}

#[tokio::test]
async fn commands_keep_to_what_the_broker_takes() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    // One command at a time (receive maximum 1), of at most 60 bytes (maximum packet size).
    let (mut events, _telemetry) = broker.welcome(&[0x21, 0, 1, 0x27, 0, 0, 0, 60]).await;
    link.connected().await;
    let device = "lift-with-a-name-that-makes-the-topic-long";
    assert_eq!(link.command(device).await.unwrap_err(), "the command has 69 bytes; the broker takes at most 60");
    {
        let (mut first, mut second) = (Box::pin(link.command("lift-1")), Box::pin(link.command("lift-2")));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        let sent = events.packet().await;
        assert!(sent.windows(6).any(|part| part == b"lift-1"), "{sent:?}");
        let at = 4 + "liftline/lift-1/commands".len();
        let id = [sent[at], sent[at + 1]];
        let mut byte = [0];
        assert_eq!(
            events.0.try_read(&mut byte).unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock,
            "the second waits"
        );
        events.send(&packet(0x40, &[id[0], id[1], 0x87, 0])).await;
        assert_eq!(first.await.unwrap_err(), "the broker did not take the command (NotAuthorized)");
        assert!(events.packet().await.windows(6).any(|part| part == b"lift-2"));
        // And when the connection ends before the answer, that is the answer.
        drop(events);
        let error = second.await.unwrap_err();
        assert!(error.starts_with("the broker had not acknowledged the command"), "{error}");
    }
    link.stop().await;
}

/// The intake stops first: what it leaves comes again, and what it has taken is acknowledged all the same.
#[tokio::test]
async fn at_the_shutdown_what_is_done_is_acknowledged_whatever_stands_behind_it() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    let (_events, mut telemetry) = broker.welcome(&[]).await;
    let topic = text("liftline/lift-1/telemetry");
    for id in [7, 8] {
        telemetry.send(&packet(0x32, &[&topic[..], &[0, id, 0]].concat())).await;
    }
    let (first, second) = (next(&mut link.arrived).await, next(&mut link.arrived).await);
    link.shutdown.cancel();
    first.ack.done();
    drop(second);
    assert_eq!(telemetry.packet().await, [0x40, 2, 0, 7]);
    assert_eq!(telemetry.packet().await, [0xE0, 0]);
    link.stop().await;
}

#[tokio::test]
async fn a_broker_that_does_not_mind_how_often_it_hears_from_the_hub_is_not_asked_all_the_time() {
    let broker = Fake::start().await;
    let mut link = broker.link(ProtocolVersion::V5);
    let (_events, mut telemetry) = broker.welcome(&[0x13, 0, 0]).await;
    link.connected().await;
    let asked = tokio::time::timeout(std::time::Duration::from_millis(500), telemetry.packet()).await;
    assert!(asked.is_err(), "{asked:?}");
    link.stop().await;
}
