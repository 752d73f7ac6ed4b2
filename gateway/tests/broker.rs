//! The link to an external broker, against a real Mosquitto.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "support/link.rs"]
mod link;
#[path = "support/mosquitto.rs"]
mod mosquitto;
mod support;

use std::{collections::BTreeSet, sync::Arc};

use gateway::{
    Credentials, FrontDoor, FrontDoorConfig, GatewayConfig, Inbound, Inlet, LinkState, ProtocolVersion, secret_hash,
};
use link::{Link, config};
use mosquitto::Mosquitto;
use support::{
    device::{Device, Login, Seen},
    next,
    raw::{self, Raw},
    soon, text,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::V5, ProtocolVersion::V311];
const OPEN: &str = "allow_anonymous true";
const LIFT_1: &str = "liftline/lift-1/telemetry";

fn device(port: u16) -> Login<'static> {
    Login { port, client_id: "device", persistent: true, ..Login::default() }
}

fn numbers(range: std::ops::Range<u32>) -> BTreeSet<String> {
    range.map(|n| n.to_string()).collect()
}

/// Publishes numbers and polls until the broker has acknowledged each, through any number of reconnects.
async fn publish(device: &mut Device, range: std::ops::Range<u32>) {
    let mut missing = range.len();
    range.for_each(|n| device.publish(LIFT_1, n.to_string()));
    soon("the broker's acknowledgements", async {
        while missing > 0 {
            missing -= usize::from(device.poll().await == Seen::Acknowledged);
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_over_a_restart_of_the_broker_or_of_the_hub() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start(OPEN).await;
        let mut device = Device::v5(&device(broker.port)).connected().await;
        let mut link = Link::subscribed(config(broker.port, protocol)).await;
        publish(&mut device, 0..100).await;
        // The broker restarts while most of these wait for the hub.
        broker.stop().await;
        link.reason("broker").await;
        assert!(broker.resume().await);
        let restarted = async { publish(&mut device, 100..200).await };
        tokio::join!(restarted, link.take(numbers(0..200)));
        // The hub restarts: what is sent meanwhile waits at the broker.
        link.stop().await;
        publish(&mut device, 200..300).await;
        let mut link = Link::start(config(broker.port, protocol));
        link.take(numbers(200..300)).await;
        link.stop().await;
    }
}

/// Publishes numbers as fast as the broker acknowledges them, faster than any library would.
async fn burst(port: u16, range: std::ops::Range<u32>) {
    let (mut device, code, _) = Raw::login(port, "burst", ("any", "body"), true).await;
    assert_eq!(code, 0);
    let id = |n: u32| u16::try_from(n % 65_535 + 1).unwrap();
    let packets: Vec<u8> =
        range.clone().flat_map(|n| raw::publish(LIFT_1, n.to_string().as_bytes(), 1, id(n))).collect();
    let mut acknowledgements = vec![0; 4 * range.len()];
    let (mut input, mut output) = device.0.split();
    let sent = async { tokio::join!(output.write_all(&packets), input.read_exact(&mut acknowledgements)) };
    let (written, read) = soon("the broker's acknowledgements", sent).await;
    assert!(written.is_ok() && read.is_ok());
}

/// Mosquitto as it comes: it keeps 1,000 messages for a subscriber beyond those under way and drops the rest, although
/// it has acknowledged them to their publisher.
#[tokio::test]
async fn a_burst_is_not_lost_at_a_broker_with_default_settings_while_the_hub_is_connected() {
    let broker = Mosquitto::start("allow_anonymous true\nmax_queued_messages 1000\nmax_inflight_messages 20").await;
    let mut link = Link::subscribed(config(broker.port, ProtocolVersion::V5)).await;
    // The intake takes nothing until the broker has acknowledged the whole burst to its publisher.
    burst(broker.port, 0..20_000).await;
    link.take(numbers(0..20_000)).await;
    link.stop().await;
}

/// Mosquitto 2.0 numbers messages when it queues them, and with more waiting than there are packet ids it sends some
/// under a number that is still in use.
#[tokio::test]
async fn nothing_is_lost_of_a_backlog_of_more_messages_than_there_are_packet_ids() {
    let broker = Mosquitto::start(OPEN).await;
    let mut link = Link::subscribed(config(broker.port, ProtocolVersion::V5)).await;
    burst(broker.port, 0..150_000).await;
    link.take(numbers(0..150_000)).await;
    link.stop().await;
}

/// The five messages 0 to 4, in order.
async fn five(link: &mut Link) -> Vec<Inbound> {
    let mut messages = Vec::new();
    for n in 0..5 {
        messages.push(next(&mut link.arrived).await);
        assert_eq!(text(&messages[n]), n.to_string());
    }
    messages
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again() {
    for protocol in BOTH {
        let broker = Mosquitto::start(OPEN).await;
        let mut device = Device::v5(&device(broker.port)).connected().await;
        let mut link = Link::subscribed(config(broker.port, protocol)).await;
        publish(&mut device, 0..5).await;
        // Taken, but the hub stops before the journal has them; the last one is done out of order.
        let mut held = five(&mut link).await;
        held.pop().unwrap().ack.done();
        link.stop().await;
        drop(held);
        let mut link = Link::start(config(broker.port, protocol));
        // Refused once: the link connects anew, and the broker sends all of it again.
        let refused = five(&mut link).await;
        drop(refused);
        link.reason("could not take a message").await;
        five(&mut link).await.into_iter().for_each(|inbound| inbound.ack.done());
        link.stop().await;
        // Now the broker has nothing left to send.
        let mut link = Link::subscribed(config(broker.port, protocol)).await;
        assert!(link.arrived.try_recv().is_err());
        link.stop().await;
    }
}

#[tokio::test]
async fn the_broker_sends_no_more_than_the_receive_maximum_ahead() {
    let broker = Mosquitto::start(OPEN).await;
    let mut device = Device::v5(&device(broker.port)).connected().await;
    let mut config = config(broker.port, ProtocolVersion::V5);
    config.receive_maximum = 8;
    let mut link = Link::subscribed(config).await;
    publish(&mut device, 0..100).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(next(&mut link.arrived).await);
    }
    // A command goes all the way round through the same connection; behind it nothing more has come.
    assert!(link.command("lift-1").await.is_err());
    assert!(link.arrived.try_recv().is_err());
    held.into_iter().rev().for_each(|inbound| inbound.ack.done());
    link.take(numbers(8..100)).await;
    link.stop().await;
}

#[tokio::test]
async fn commands_reach_the_device_that_listens() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start(OPEN).await;
        let mut device = Device::v4(&device(broker.port)).connected().await;
        let mut link = Link::subscribed(config(broker.port, protocol)).await;
        if protocol == ProtocolVersion::V5 {
            assert_eq!(
                link.command("lift-1").await.unwrap_err(),
                "no device listens on its commands topic; the command reached nobody"
            );
        }
        assert!(device.subscribe("liftline/lift-1/commands").await);
        assert_eq!(link.command("lift-1").await, Ok(()));
        assert_eq!(device.next().await, Seen::Message("liftline/lift-1/commands".to_owned(), "{}".to_owned()));
        broker.stop().await;
        link.reason("broker").await;
        assert_eq!(
            link.command("lift-1").await.unwrap_err(),
            "the broker is not connected; the command can be sent when it is"
        );
        link.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_is_down_at_the_start_is_tried_until_it_is_there() {
    for protocol in BOTH {
        let mut broker = Mosquitto::prepare(OPEN);
        let mut link = Link::start(config(broker.port, protocol));
        link.reason("cannot be reached").await;
        assert!(broker.resume().await, "the port was taken in between");
        link.connected().await;
        link.stop().await;
    }
}

#[tokio::test]
async fn a_refused_login_says_what_to_check() {
    for protocol in BOTH {
        let broker = Mosquitto::start("allow_anonymous false").await;
        let mut link = Link::start(config(broker.port, protocol));
        link.reason("check username and password_file").await;
        link.stop().await;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let mut config = config(1, ProtocolVersion::V5);
    config.username = Some("hub".to_owned());
    config.password_file = Some(folder.path().join("missing"));
    let mut link = Link::start(config);
    let error = soon("the error", link.running.join_next()).await.unwrap().unwrap().unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with("gateway.broker.password_file:"), "{source}");
}

#[tokio::test]
async fn a_subscription_that_the_broker_forbids_is_reported() {
    // Mosquitto grants what its access list forbids and then delivers nothing; the front door says no.
    let settings = FrontDoorConfig { listen: "127.0.0.1:0".parse().unwrap(), ..Default::default() };
    let logins = Credentials { enrolment: Some(secret_hash("secret")), ..Default::default() };
    let (_credentials, logins) = watch::channel(Arc::new(logins));
    let door = FrontDoor::bind(&settings, &GatewayConfig::default(), logins, support::clock()).await.unwrap();
    let port = door.local_addr().port();
    let (out, _arrived) = mpsc::channel(1);
    let (_commands, downlinks) = mpsc::channel(1);
    let mut running = JoinSet::new();
    running.spawn(door.run(Inlet { events: out.clone(), telemetry: out }, downlinks, CancellationToken::new()));
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "secret\n").unwrap();
    for protocol in BOTH {
        let mut config = config(port, protocol);
        config.username = Some("lift-1".to_owned());
        config.password_file = Some(password.path().to_owned());
        let mut link = Link::start(config);
        link.reason("does not let the user read liftline/#").await;
        link.stop().await;
    }
}

#[tokio::test]
async fn an_oversized_message_does_not_break_the_link() {
    for protocol in BOTH {
        let broker = Mosquitto::start(OPEN).await;
        let mut device = Device::v4(&device(broker.port)).connected().await;
        let mut link = Link::subscribed(config(broker.port, protocol)).await;
        for size in [300 << 10, 2 << 20] {
            device.publish(LIFT_1, "x".repeat(size));
            assert_eq!(device.next().await, Seen::Acknowledged);
        }
        publish(&mut device, 7..8).await;
        let mut sizes = Vec::new();
        while sizes.last() != Some(&1) {
            let inbound = next(&mut link.arrived).await;
            sizes.push(inbound.message.payload.len());
            inbound.ack.done();
        }
        // MQTT 5 tells the broker the limit, and it leaves the largest out; 3.1.1 has no means to.
        let expected = if protocol == ProtocolVersion::V5 { vec![300 << 10, 1] } else { vec![300 << 10, 2 << 20, 1] };
        assert_eq!(sizes, expected);
        assert!(matches!(*link.state.borrow(), LinkState::Connected { .. }));
        link.stop().await;
    }
}

#[tokio::test]
async fn of_retained_messages_only_a_status_is_news() {
    for protocol in BOTH {
        let broker = Mosquitto::start(OPEN).await;
        let mut device = Device::v5(&device(broker.port)).connected().await;
        for (topic, payload) in
            [("liftline/lift-1/events", "old alarm"), (LIFT_1, "old reading"), ("liftline/lift-1/status", "online")]
        {
            device.publish_as(topic, payload, 1, true);
            assert_eq!(device.next().await, Seen::Acknowledged);
        }
        let mut link = Link::start(config(broker.port, protocol));
        let first = next(&mut link.arrived).await;
        assert_eq!(text(&first), "online");
        first.ack.done();
        publish(&mut device, 1..2).await;
        let second = next(&mut link.arrived).await;
        assert_eq!(text(&second), "1");
        second.ack.done();
        link.stop().await;
    }
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn certificate(folder: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed: run ./dev test, which installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[tokio::test]
async fn the_link_can_be_encrypted_and_checks_whom_it_speaks_to() {
    let folder = tempfile::TempDir::new().unwrap();
    let (certificate, key) = certificate(folder.path());
    let secured = format!("{OPEN}\ncertfile {}\nkeyfile {}", certificate.display(), key.display());
    for protocol in BOTH {
        let broker = Mosquitto::start(&secured).await;
        let mut trusting = config(broker.port, protocol);
        (trusting.tls, trusting.ca_file) = (true, Some(certificate.clone()));
        let mut link = Link::subscribed(trusting.clone()).await;
        // More than one record of the encryption, and acknowledged many at once.
        burst_encrypted(broker.port, &certificate, 0..500).await;
        link.take(numbers(0..500)).await;
        link.stop().await;
        // All of it was acknowledged, also what was acknowledged last.
        let mut link = Link::subscribed(trusting).await;
        assert!(link.arrived.try_recv().is_err());
        link.stop().await;
        // The system's authorities do not know this broker.
        let mut link = Link::start(gateway::BrokerConfig { tls: true, ..config(broker.port, protocol) });
        link.reason("certificate").await;
        link.stop().await;
        // And a hub that speaks in clear is not understood.
        let mut link = Link::start(config(broker.port, protocol));
        link.reason("broker").await;
        link.stop().await;
    }
}

/// Publishes numbers with Mosquitto's own client, one a line.
async fn burst_encrypted(port: u16, ca: &std::path::Path, range: std::ops::Range<u32>) {
    let mut client = tokio::process::Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", LIFT_1, "-l", "--cafile"])
        .arg(ca)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("mosquitto_pub is installed: run ./dev test, which installs it");
    let lines: String = range.map(|n| format!("{n}\n")).collect();
    let mut input = client.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).await.unwrap();
    drop(input);
    assert!(soon("the client's end", client.wait()).await.unwrap().success());
}
