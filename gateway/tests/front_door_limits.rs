//! The front door towards devices that send much, and towards clients that do what no MQTT library would.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod support;

use gateway::{FrontDoorConfig, Inbound};
use support::{
    device::{Device, Login, Seen},
    door::{Door, id},
    next,
    raw::{Raw, packet, publish, text},
    soon,
};
use tokio::io::AsyncWriteExt as _;

const LIFT_1: &str = "liftline/lift-1/telemetry";
/// How many messages of a connection the front door lets wait for the journal.
const WINDOW: u16 = 500;

fn puback(id: u16) -> Vec<u8> {
    [vec![0x40, 2], id.to_be_bytes().to_vec()].concat()
}

/// Takes so many messages for the intake and keeps their acknowledgements back.
async fn held(door: &mut Door, count: u16) -> Vec<Inbound> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(next(&mut door.arrived).await);
    }
    held
}

#[tokio::test]
async fn acknowledgements_of_a_connection_overlap_and_go_out_in_order() {
    let mut door = Door::open().await;
    let mut device = Raw::lift_1(door.port).await;
    let packets: Vec<u8> = (1..=200).flat_map(|id| publish(LIFT_1, id.to_string().as_bytes(), 1, id)).collect();
    device.send(&packets).await;
    // All of them reach the intake before any is acknowledged.
    let mut messages = held(&mut door, 200).await;
    for (message, id) in messages.iter().zip(1..) {
        assert_eq!(support::text(message), u16::to_string(&id));
    }
    // Done the other way round, acknowledged in the order of arrival.
    while let Some(message) = messages.pop() {
        message.ack.done();
    }
    for id in 1..=200 {
        assert_eq!(device.packet().await, puback(id));
    }
}

#[tokio::test]
async fn what_one_device_has_under_way_is_limited() {
    let mut door = Door::open().await;
    let mut device = Raw::lift_1(door.port).await;
    let packets: Vec<u8> = (1..=WINDOW + 10).flat_map(|id| publish(LIFT_1, b"x", 1, id)).collect();
    device.send(&packets).await;
    let first = held(&mut door, WINDOW).await;
    // Another device gets through, the rest of this one's messages wait for acknowledgements.
    let mut other = Device::v5(&door.login("lift-2", "two")).connected().await;
    other.publish("liftline/lift-2/telemetry", "other");
    let inbound = tokio::select! {
        inbound = next(&mut door.arrived) => inbound,
        seen = other.next() => panic!("saw {seen:?} too early"),
    };
    assert_eq!(inbound.message.sender, Some(id("lift-2")));
    first.into_iter().for_each(|inbound| inbound.ack.done());
    held(&mut door, 10).await.into_iter().for_each(|inbound| inbound.ack.done());
    for id in 1..=WINDOW + 10 {
        assert_eq!(device.packet().await, puback(id));
    }
}

#[tokio::test]
async fn a_device_that_sends_too_many_a_second_is_slowed_down_and_loses_nothing() {
    let mut door = Door::open_with(FrontDoorConfig { message_rate: 20, ..Default::default() }).await;
    let mut device = Raw::lift_1(door.port).await;
    let started = std::time::Instant::now();
    let packets: Vec<u8> = (1..=50).flat_map(|id| publish(LIFT_1, b"x", 1, id)).collect();
    device.send(&packets).await;
    held(&mut door, 50).await.into_iter().for_each(|inbound| inbound.ack.done());
    assert!(started.elapsed().as_secs() >= 2, "50 messages at 20 a second: {:?}", started.elapsed());
    for id in 1..=50 {
        assert_eq!(device.packet().await, puback(id));
    }
}

#[tokio::test]
async fn silent_and_half_finished_connections_hold_up_nobody() {
    let mut door = Door::open_with(FrontDoorConfig { max_connections: 4, ..Default::default() }).await;
    // Many more than may be connected say nothing, or half of something.
    let mut crowd = Vec::new();
    for n in 0..200 {
        let mut raw = Raw::silent(door.port).await;
        if n % 2 == 0 {
            raw.send(b"\x10\x40\0\x04MQ").await;
        }
        crowd.push(raw);
    }
    let mut device = Raw::lift_1(door.port).await;
    // A packet whose end never comes.
    let (mut slow, code, _) = Raw::login(door.port, "lift-2", ("lift-2", "two"), true).await;
    assert_eq!(code, 0);
    let whole = publish("liftline/lift-2/telemetry", &[b'x'; 1000], 1, 1);
    slow.send(&whole[..500]).await;
    device.send(&publish(LIFT_1, b"quick", 1, 7)).await;
    next(&mut door.arrived).await.ack.done();
    assert_eq!(device.packet().await, puback(7));
    slow.send(&whole[500..]).await;
    assert_eq!(next(&mut door.arrived).await.message.payload.len(), 1000);
}

#[tokio::test]
async fn no_more_devices_than_allowed_come_in() {
    let door = Door::open_with(FrontDoorConfig { max_connections: 2, ..Default::default() }).await;
    let _first = Raw::lift_1(door.port).await;
    let (second, code, _) = Raw::login(door.port, "lift-2", ("lift-2", "two"), true).await;
    assert_eq!(code, 0);
    let (_, code, _) = Raw::login(door.port, "lift-3", ("lift-3", "enrol"), true).await;
    assert_eq!(code, 3, "unavailable");
    assert_eq!(Device::v5(&door.login("lift-3", "enrol")).next().await, Seen::Lost("ServerBusy".to_owned()));
    drop(second);
    soon("a place", async {
        while Raw::login(door.port, "lift-3", ("lift-3", "enrol"), true).await.1 != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_that_does_not_read_its_acknowledgements_holds_up_nobody() {
    let mut door = Door::open().await;
    let mut deaf = Raw::lift_1(door.port).await;
    let ping = packet(0xc0, &[]).repeat(10_000);
    let flood = async {
        // Ends when the front door reads no more; the answers fill every buffer on the way.
        while tokio::time::timeout(std::time::Duration::from_secs(1), deaf.0.write_all(&ping)).await.is_ok() {}
    };
    soon("the front door stops reading", flood).await;
    let mut device = Device::v5(&door.login("lift-2", "two")).connected().await;
    device.publish("liftline/lift-2/telemetry", "quick");
    let inbound = tokio::select! {
        inbound = next(&mut door.arrived) => inbound,
        seen = device.next() => panic!("saw {seen:?} too early"),
    };
    inbound.ack.done();
    assert_eq!(device.next().await, Seen::Acknowledged);
}

#[tokio::test]
async fn what_is_not_mqtt_ends_the_connection() {
    let mut door = Door::open().await;
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: lift\r\n\r\n".to_vec(),
        // A length without an end.
        vec![0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        // A CONNECT of 200 MB.
        vec![0x10, 0xff, 0xff, 0xff, 0x5f],
        // MQTT 3.1, and a version nobody knows.
        packet(0x10, &[&text("MQIsdp")[..], &[3, 2, 0, 60], &text("x")].concat()),
        packet(0x10, &[&text("MQTT")[..], &[9, 2, 0, 60], &text("x")].concat()),
        // Something before CONNECT.
        publish(LIFT_1, b"{}", 1, 1),
        packet(0xc0, &[]),
    ] {
        let mut raw = Raw::silent(door.port).await;
        raw.send(&bytes).await;
        raw.closed().await;
    }
    for bytes in [
        // A second CONNECT, an answer that only servers give, a topic that is not UTF-8, a wildcard, packet id 0, QoS 3.
        packet(0x10, &[&text("MQTT")[..], &[4, 2, 0, 60], &text("x")].concat()),
        vec![0x20, 2, 0, 0],
        packet(0x32, &[&[0, 2, 0xff, 0xff, 0, 1][..], b"{}"].concat()),
        publish("liftline/+/telemetry", b"{}", 1, 1),
        publish(LIFT_1, b"{}", 1, 0),
        packet(0x36, &[&text(LIFT_1)[..], &[0, 1], b"{}"].concat()),
        packet(0x82, &[0, 1]),
        vec![0x00, 0x00],
    ] {
        let mut raw = Raw::lift_1(door.port).await;
        raw.send(&bytes).await;
        raw.closed().await;
    }
    assert!(door.arrived.try_recv().is_err(), "none of that is a message");
    Raw::lift_1(door.port).await;
}

#[tokio::test]
async fn a_session_keeps_subscriptions_and_unacknowledged_commands() {
    let door = Door::open().await;
    let login = || Raw::login(door.port, "lift-1", ("lift-1", "one"), false);
    let (mut device, _, present) = login().await;
    assert!(!present);
    device.send(&packet(0x82, &[&[0, 9][..], &text("liftline/lift-1/commands"), &[1]].concat())).await;
    assert_eq!(device.packet().await, [0x90, 3, 0, 9, 1]);
    assert_eq!(door.command("lift-1").await, Ok(()));
    let sent = device.packet().await;
    assert_eq!(sent[0], 0x32);
    // The device goes away without acknowledging the command; it comes again with the same id, marked as a copy.
    drop(device);
    soon("the device is away", async {
        while door.command("lift-1").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut device, _, present) = login().await;
    assert!(present);
    let again = device.packet().await;
    assert_eq!((again[0], &again[1..]), (0x3a, &sent[1..]));
    // Acknowledged, it does not come a third time; nor does anything come after a clean start.
    let id = again[again.len() - 4..again.len() - 2].to_vec();
    device.send(&[&[0x40, 2][..], &id].concat()).await;
    device.send(&packet(0xc0, &[])).await;
    soon("the answer to the ping", async { while device.packet().await[0] != 0xd0 {} }).await;
    drop(device);
    let (_, _, present) = Raw::login(door.port, "lift-1", ("lift-1", "one"), true).await;
    assert!(!present);
    assert!(door.command("lift-1").await.is_err());
}

#[tokio::test]
async fn a_new_connection_takes_the_session_over() {
    let door = Door::open().await;
    let mut old = Raw::lift_1(door.port).await;
    let mut new = Raw::lift_1(door.port).await;
    old.closed().await;
    new.send(&packet(0xc0, &[])).await;
    assert_eq!(new.packet().await, [0xd0, 0]);
}

#[tokio::test]
async fn a_message_of_qos_2_is_taken_once_however_often_it_is_sent() {
    let mut door = Door::open().await;
    let mut device = Raw::lift_1(door.port).await;
    let message = publish(LIFT_1, b"once", 2, 5);
    device.send(&message).await;
    next(&mut door.arrived).await.ack.done();
    assert_eq!(device.packet().await, [0x50, 2, 0, 5]);
    // The device missed the answer.
    device.send(&[&[message[0] | 8], &message[1..]].concat()).await;
    assert_eq!(device.packet().await, [0x50, 2, 0, 5]);
    device.send(&[0x62, 2, 0, 5]).await;
    assert_eq!(device.packet().await, [0x70, 2, 0, 5]);
    assert!(door.arrived.try_recv().is_err());
    // Released, the number stands for a new message.
    device.send(&message).await;
    next(&mut door.arrived).await.ack.done();
}

#[tokio::test]
async fn a_silent_device_is_taken_for_lost_after_one_and_a_half_keep_alives() {
    let mut door = Door::open().await;
    let mut raw = Raw::silent(door.port).await;
    let body = [
        &text("MQTT")[..],
        &[4, 0b1100_1110, 0, 1],
        &text("lift-1"),
        &text("liftline/lift-1/status"),
        &text("offline"),
        &text("lift-1"),
        &text("one"),
    ]
    .concat();
    raw.send(&packet(0x10, &body)).await;
    assert_eq!(raw.packet().await, [0x20, 2, 0, 0]);
    let started = std::time::Instant::now();
    let will = next(&mut door.arrived).await;
    assert_eq!(support::text(&will), "offline");
    assert!(started.elapsed().as_millis() >= 1400, "{:?}", started.elapsed());
    raw.closed().await;
}

#[tokio::test]
async fn a_farewell_in_order_leaves_no_last_will() {
    let mut door = Door::open().await;
    let login = Login { will: Some("liftline/lift-1/status"), ..door.login("lift-1", "one") };
    let mut device = Device::v5(&login).connected().await;
    device.disconnect();
    assert!(matches!(device.next().await, Seen::Lost(_)));
    let mut other = Raw::lift_1(door.port).await;
    other.send(&publish(LIFT_1, b"next", 0, 0)).await;
    assert_eq!(support::text(&next(&mut door.arrived).await), "next");
}
