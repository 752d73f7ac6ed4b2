//! The main job, end to end with real peers: a lift reports over MQTT, a ticket opens, people are reached, they answer,
//! the person in the car watches, and it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use it::{
    api::http,
    database::Engine,
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::{Mosquitto, SmtpServer, mosquitto_pub, paho},
    phones::{HUB_NUMBER, Phones, link, reply_code},
    stories,
};
use serde_json::json;

/// The promise: from the last needed signal to ticket, SMS, e-mail and care page.
const PROMISE: Duration = Duration::from_secs(2);
const TOM: &str = "+15550100001";
const STATION: &str = "+15550100002";
const PERSON: &str = "+15550100999";

/// How the lift reaches the hub.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Way {
    FrontDoor(&'static str),
    Mosquitto(Mosquitto),
}

impl Way {
    async fn publish(&self, hub: &TestHub, messages: &[(String, String)]) {
        match self {
            Self::FrontDoor(version) => {
                let port = hub.mqtt.expect("a front door").port();
                assert_eq!(paho(port, version, ("lift-1", SECRET), messages).await.unwrap(), messages.len());
            }
            Self::Mosquitto(broker) => {
                for (topic, payload) in messages {
                    assert!(mosquitto_pub(broker.port, None, topic, payload).await);
                }
            }
        }
    }
}

async fn whole_story(engine: Engine, way: Way) {
    let (phones, smtp) = (Phones::start().await, SmtpServer::start().await);
    let mut extra = phones.config();
    extra.push_str(&format!(
        "[notify.smtp]\nhost = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\nfrom = \"lifts@example.org\"\n",
        smtp.port
    ));
    if let Way::Mosquitto(broker) = &way {
        extra.push_str(&format!("[gateway.broker]\nhost = \"127.0.0.1\"\nport = {}\n", broker.port));
    }
    let hub =
        TestHub::start(engine, Setup { extra, no_front_door: matches!(way, Way::Mosquitto(_)), ..Setup::default() })
            .await;
    phones.network.set_hub_url(&format!("http://{}", hub.web));
    let api = hub.api().await;
    hub.ready().await;

    // A person texts the lift's plate before there is anything to know: no ticket, a short answer.
    phones.network.send_sms(PERSON, HUB_NUMBER, "100001").await.unwrap();
    phones.sms(PERSON, "reports no fault", it::SOON).await;

    way.publish(&hub, &stories::shut_in("lift-1")).await;
    let began = Instant::now();
    let left = || PROMISE.saturating_sub(began.elapsed());
    let ticket =
        eventually("a ticket in the API", left(), || async { api.tickets("open", "entrapment").await.pop() }).await;
    let page = phones.sms(TOM, "Lift 1", left()).await;
    eventually("an e-mail", left(), || async { smtp.mails("tom@example.org").await.pop() }).await;
    println!("ticket, SMS and e-mail after {:?}", began.elapsed());
    assert_eq!(ticket["life_safety"], true);
    assert_eq!(ticket["device"]["plate"], "100001");
    let id = ticket["id"].as_str().unwrap();

    // The person inside texts the plate and gets the page; it claims what was earned and no more.
    phones.network.send_sms(PERSON, HUB_NUMBER, "100001").await.unwrap();
    let care = link(&phones.sms(PERSON, "/c/", PROMISE).await);
    let care_page = || async { http().get(&care).send().await.unwrap().text().await.unwrap() };
    let html = care_page().await;
    assert!(html.contains("Lift 1 reported that somebody may be shut in."), "{html}");
    assert!(html.contains("We are calling the lift engineers."), "{html}");
    assert!(!html.contains("A person has answered"), "nobody has answered yet");
    assert!(html.len() < 50_000);

    // The technician's telephone had the message: contacted is earned by the receipt, acknowledged by the reply.
    eventually("contacted", it::SOON, || async {
        api.milestones(id).await.contains(&"contacted".to_owned()).then_some(())
    })
    .await;
    assert!(!api.milestones(id).await.contains(&"acknowledged".to_owned()));
    let code = reply_code(&page);
    phones.network.send_sms(TOM, HUB_NUMBER, &format!("{code}a")).await.unwrap();
    eventually("acknowledged", PROMISE, || async {
        api.milestones(id).await.contains(&"dispatched".to_owned()).then_some(())
    })
    .await;
    eventually("the care page says so", PROMISE, || async {
        care_page().await.contains("A person has answered").then_some(())
    })
    .await;
    phones.network.send_sms(TOM, HUB_NUMBER, &format!("{code}h")).await.unwrap();
    eventually("arrived", PROMISE, || async { api.milestones(id).await.contains(&"arrived".to_owned()).then_some(()) })
        .await;

    // Closing before the person is out is refused, with a reason.
    let (status, refusal) = api
        .send(
            reqwest::Method::POST,
            &format!("/api/v1/tickets/{id}/actions"),
            Some(json!({ "action": "close", "note": "done" })),
        )
        .await;
    assert!(status.is_client_error(), "{refusal}");
    assert!(refusal["error"]["message"].as_str().unwrap().contains("shut in"), "{refusal}");

    way.publish(&hub, &stories::let_out("lift-1")).await;
    eventually("the ticket is closed by the lift itself", it::SOON, || async {
        api.tickets("closed", "entrapment").await.into_iter().find(|ticket| ticket["id"] == id)
    })
    .await;
    let earned = api.milestones(id).await;
    for kind in ["detected", "contacted", "acknowledged", "dispatched", "arrived", "released", "restored", "closed"] {
        assert!(earned.contains(&kind.to_owned()), "{kind} is missing from {earned:?}");
    }
    assert!(!earned.contains(&"en_route".to_owned()), "nobody said that they were on the way");
    assert!(care_page().await.contains("It is over."));
    phones.sms(PERSON, "The case is closed", it::SOON).await;
    assert!(phones.network.inbox(STATION).is_empty(), "the second level was not needed");
    let timeline = api.get(&format!("/api/v1/tickets/{id}")).await["timeline"].as_array().unwrap().len();
    assert!(timeline > 8);
}

#[tokio::test]
async fn on_sqlite_through_the_front_door_with_mqtt_5() {
    whole_story(Engine::Sqlite, Way::FrontDoor("5")).await;
}

#[tokio::test]
async fn on_postgres_through_the_front_door_with_mqtt_3_1_1() {
    whole_story(Engine::Postgres, Way::FrontDoor("3.1.1")).await;
}

#[tokio::test]
async fn on_sqlite_through_mosquitto() {
    whole_story(Engine::Sqlite, Way::Mosquitto(Mosquitto::start().await)).await;
}

#[tokio::test]
async fn on_postgres_through_mosquitto() {
    whole_story(Engine::Postgres, Way::Mosquitto(Mosquitto::start().await)).await;
}

/// Keypad digits in a call act like replies.
#[tokio::test]
async fn a_key_in_a_call_accepts_the_ticket() {
    let phones = Phones::start().await;
    let hub = TestHub::start(Engine::Sqlite, Setup { extra: phones.config(), ..Setup::default() }).await;
    phones.network.set_hub_url(&format!("http://{}", hub.web));
    let api = hub.api().await;
    Way::FrontDoor("5").publish(&hub, &stories::shut_in("lift-1")).await;
    let call = phones
        .network
        .wait_for(it::SOON, |network| network.calls(TOM).into_iter().find(|call| !call.state.is_over()))
        .await
        .expect("the technician is called");
    phones.network.answer(&call.sid).await.unwrap();
    phones.network.press(&call.sid, '4').await.unwrap();
    let id = api.tickets("open", "entrapment").await.pop().unwrap()["id"].as_str().unwrap().to_owned();
    eventually("acknowledged by key", it::SOON, || async {
        api.milestones(&id).await.contains(&"acknowledged".to_owned()).then_some(())
    })
    .await;
}
