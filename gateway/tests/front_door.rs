//! The front door against real MQTT clients of both versions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod support;

use std::sync::Arc;

use gateway::{FrontDoor, FrontDoorConfig, GatewayConfig, secret_hash};
use support::{
    device::{Device, Login, Seen},
    door::{Door, credentials, id},
    next, soon, text,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const LIFT_1: &str = "liftline/lift-1/telemetry";

/// Polls a device in the background of `work`; it must not see anything of interest meanwhile.
async fn sees_nothing_during<T>(device: &mut Device, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        seen = device.next() => panic!("the device saw {seen:?} too early"),
    }
}

#[tokio::test]
async fn an_acknowledgement_waits_for_the_journal() {
    let mut door = Door::open().await;
    for version in [Device::v5, Device::v4] {
        let mut first = version(&door.login("lift-1", "one")).connected().await;
        let mut second = version(&door.login("lift-2", "two")).connected().await;
        first.publish(LIFT_1, "held");
        let held = sees_nothing_during(&mut first, next(&mut door.arrived)).await;
        assert_eq!((text(&held), held.message.sender), ("held".to_owned(), Some(id("lift-1"))));
        // A whole round trip of another device goes by, and the first one still has no acknowledgement.
        second.publish("liftline/lift-2/telemetry", "quick");
        sees_nothing_during(&mut first, async {
            let quick = tokio::select! {
                quick = next(&mut door.arrived) => quick,
                seen = second.next() => panic!("the second device saw {seen:?} too early"),
            };
            quick.ack.done();
            assert_eq!(second.next().await, Seen::Acknowledged);
        })
        .await;
        held.ack.done();
        assert_eq!(first.next().await, Seen::Acknowledged);
    }
}

#[tokio::test]
async fn messages_that_come_at_once_have_times_of_receipt_of_their_own() {
    let mut door = Door::open().await;
    let mut device = door.lift_1().await;
    device.publish(LIFT_1, "first");
    device.publish(LIFT_1, "second");
    let came = async { [next(&mut door.arrived).await.message, next(&mut door.arrived).await.message] };
    let [first, second] = sees_nothing_during(&mut device, came).await;
    assert!(first.received_at < second.received_at, "measurements without a time of their own would be one");
}

#[tokio::test]
async fn a_refused_message_is_not_acknowledged_and_comes_again() {
    let mut door = Door::open().await;
    for version in [Device::v5, Device::v4] {
        let mut device = version(&Login { persistent: true, ..door.login("lift-1", "one") }).connected().await;
        device.publish(LIFT_1, "precious");
        let refused = sees_nothing_during(&mut device, next(&mut door.arrived)).await;
        drop(refused.ack);
        assert!(matches!(device.next().await, Seen::Lost(_)));
        assert_eq!(device.next().await, Seen::Connected);
        let again = sees_nothing_during(&mut device, next(&mut door.arrived)).await;
        assert_eq!(text(&again), "precious");
        again.ack.done();
        assert_eq!(device.next().await, Seen::Acknowledged);
    }
}

#[tokio::test]
async fn logins_are_checked() {
    let door = Door::open().await;
    for version in [Device::v5, Device::v4] {
        for (username, password) in
            [("lift-1", "two"), ("lift-1", ""), ("lift-1", "enrol"), ("lift-9", "wrong"), ("no lift", "one"), ("", "")]
        {
            let seen = version(&door.login(username, password)).next().await;
            assert_eq!(seen, Seen::Lost("BadUserNamePassword".to_owned()), "{username} {password}");
        }
        version(&door.login("lift-1", "one")).connected().await;
        // An unknown device with the enrolment secret may come in.
        version(&door.login("lift-9", "enrol")).connected().await;
        // The client id, and with it the session, of another device is out of reach.
        let seen = version(&Login { client_id: "lift-1", ..door.login("lift-2", "two") }).next().await;
        assert!(matches!(&seen, Seen::Lost(reason) if reason.contains("Id")), "{seen:?}");
    }
}

#[tokio::test]
async fn a_device_reads_its_own_commands_only() {
    let door = Door::open().await;
    for version in [Device::v5, Device::v4] {
        let mut device = version(&door.login("lift-9", "enrol")).connected().await;
        assert!(device.subscribe("liftline/lift-9/commands").await);
        for filter in ["#", "liftline/lift-1/commands", "liftline/+/commands", "liftline/lift-9/telemetry"] {
            assert!(!device.subscribe(filter).await, "{filter}");
        }
    }
}

#[tokio::test]
async fn speaking_for_another_device_is_kept_as_forbidden() {
    let mut door = Door::open().await;
    for version in [Device::v5, Device::v4] {
        let mut device = version(&door.login("lift-2", "two")).connected().await;
        device.publish(LIFT_1, "{}");
        let inbound = sees_nothing_during(&mut device, next(&mut door.arrived)).await;
        let entries =
            gateway::decode(&GatewayConfig::default().decode_options(), &model::Directory::default(), &inbound.message);
        let [model::Entry { body: model::Body::Reject(reject), .. }] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(reject.reason, model::RejectReason::Forbidden);
        inbound.ack.done();
        // Acknowledged all the same: sending it again would not make it any better.
        assert_eq!(device.next().await, Seen::Acknowledged);
    }
}

#[tokio::test]
async fn the_last_will_of_a_lost_device_arrives() {
    let mut door = Door::open().await;
    for version in [Device::v5, Device::v4] {
        let device =
            version(&Login { will: Some("liftline/lift-1/status"), ..door.login("lift-1", "one") }).connected().await;
        drop(device);
        let will = next(&mut door.arrived).await;
        assert_eq!(will.message.topic, "liftline/lift-1/status");
        assert_eq!((text(&will), will.message.sender), ("offline".to_owned(), Some(id("lift-1"))));
        // Refused once, it is offered again.
        drop(will.ack);
        let again = next(&mut door.arrived).await;
        assert_eq!(text(&again), "offline");
        again.ack.done();
        // A will on somebody else's topic is refused at the door.
        let seen = version(&Login { will: Some("liftline/lift-2/status"), ..door.login("lift-1", "one") }).next().await;
        assert_eq!(seen, Seen::Lost("NotAuthorized".to_owned()));
    }
}

/// Connects lift-1 with a last will, as bytes: so the test sees when the broker closes the connection for good.
async fn raw_lift_1(port: u16) -> TcpStream {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_1110, 0, 60];
    for field in ["lift-1", "liftline/lift-1/status", "offline", "lift-1", "one"] {
        body.extend([0, u8::try_from(field.len()).unwrap()]);
        body.extend(field.bytes());
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&[&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()).await.unwrap();
    let mut answer = [0; 4];
    soon("the answer to CONNECT", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    stream
}

#[tokio::test]
async fn the_will_of_an_old_connection_does_not_report_a_device_off_line_that_is_back() {
    let mut door = Door::open().await;
    let mut old = raw_lift_1(door.port).await;
    let mut new =
        Device::v5(&Login { will: Some("liftline/lift-1/status"), ..door.login("lift-1", "one") }).connected().await;
    // The broker closes the old connection after it has dealt with its will.
    let mut rest = Vec::new();
    soon("the end of the old connection", old.read_to_end(&mut rest)).await.unwrap();
    new.publish(LIFT_1, "alive");
    let inbound = sees_nothing_during(&mut new, next(&mut door.arrived)).await;
    assert_eq!(text(&inbound), "alive");
    inbound.ack.done();
    assert_eq!(new.next().await, Seen::Acknowledged);
    drop(new);
    assert_eq!(text(&next(&mut door.arrived).await), "offline");
}

#[tokio::test]
async fn commands_reach_the_device_that_listens() {
    let door = Door::open().await;
    assert_eq!(
        door.command("lift-1").await.unwrap_err(),
        "the device \"lift-1\" is not connected; the command can be sent when it is"
    );
    for version in [Device::v5, Device::v4] {
        let mut device = version(&door.login("lift-1", "one")).connected().await;
        assert_eq!(
            door.command("lift-1").await.unwrap_err(),
            "the device \"lift-1\" does not listen for commands; let it subscribe to liftline/lift-1/commands"
        );
        assert!(device.subscribe("liftline/lift-1/commands").await);
        assert_eq!(door.command("lift-1").await, Ok(()));
        assert_eq!(device.next().await, Seen::Message("liftline/lift-1/commands".to_owned(), "{}".to_owned()));
    }
}

#[tokio::test]
async fn large_messages_are_handed_on_and_huge_ones_end_the_connection() {
    let mut door = Door::open().await;
    let mut device = Device::v4(&door.login("lift-1", "one")).connected().await;
    device.publish(LIFT_1, "x".repeat(300 * 1024));
    let large = sees_nothing_during(&mut device, next(&mut door.arrived)).await;
    assert_eq!(large.message.payload.len(), 300 * 1024);
    large.ack.done();
    assert_eq!(device.next().await, Seen::Acknowledged);
    device.publish(LIFT_1, "x".repeat(2 << 20));
    assert!(matches!(device.next().await, Seen::Lost(_)));
    // The door is open to others as before.
    door.lift_1().await;
}

#[tokio::test]
async fn every_quality_of_service_is_taken() {
    let mut door = Door::open().await;
    for version in [Device::v5, Device::v4] {
        let mut device = version(&door.login("lift-1", "one")).connected().await;
        for qos in [0, 1, 2] {
            device.publish_as(LIFT_1, format!("qos {qos}"), qos, true);
            let inbound = tokio::select! {
                inbound = next(&mut door.arrived) => inbound,
                seen = device.next() => panic!("the device saw {seen:?} too early"),
            };
            assert_eq!(text(&inbound), format!("qos {qos}"));
            inbound.ack.done();
            if qos == 1 {
                assert_eq!(device.next().await, Seen::Acknowledged);
            }
        }
    }
}

#[tokio::test]
async fn a_withdrawn_login_ends_the_connection() {
    let door = Door::open().await;
    let mut device = door.lift_1().await;
    let mut other = Device::v5(&door.login("lift-2", "two")).connected().await;
    let mut changed = credentials();
    changed.devices.insert(id("lift-1"), secret_hash("new"));
    door.credentials.send_replace(Arc::new(changed));
    sees_nothing_during(&mut other, async { assert!(matches!(device.next().await, Seen::Lost(_))) }).await;
    assert_eq!(device.next().await, Seen::Lost("BadUserNamePassword".to_owned()));
}

#[tokio::test]
async fn a_shutdown_ends_it_cleanly_and_reports_nobody_off_line() {
    let mut door = Door::open().await;
    let mut device =
        Device::v5(&Login { will: Some("liftline/lift-1/status"), ..door.login("lift-1", "one") }).connected().await;
    door.shutdown.cancel();
    soon("the end of the front door", door.running.join_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(device.next().await, Seen::Lost(_)));
    assert!(soon("the end of the messages", door.arrived.recv()).await.is_none());
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_so() {
    let door = Door::open().await;
    let settings =
        FrontDoorConfig { listen: format!("127.0.0.1:{}", door.port).parse().unwrap(), ..Default::default() };
    let logins = door.credentials.subscribe();
    let Err(error) = FrontDoor::bind(&settings, &GatewayConfig::default(), logins, support::clock()).await else {
        panic!("taken")
    };
    assert!(error.to_string().contains("choose another address or port"), "{error}");
}
