//! The database is away while a person is shut in: people are called all the same, and when it is back the ticket says
//! what was done, once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use hub::clock::SystemClock;
use it::{
    api::{Api, http},
    database::{Engine, fresh_postgres},
    eventually,
    hub::{SECRET, Setup, TestHub},
    peers::paho,
    phones::{HUB_NUMBER, Phones},
    proxy::Proxy,
    stories,
};
use model::{Clock as _, Timestamp};
use serde_json::Value;

const TOM: &str = "+15550100001";
const STATION: &str = "+15550100002";
const FIRE: &str = "+15550100003";
const PERSON: &str = "+15550100999";

/// Ten seconds a level, the shortest wait that a policy may have.
const FAST: &str = "[desk.entrapment]\nsteps = [{ level = \"maintainer\", wait = \"10s\" }, { level = \"station\", wait = \"10s\" }, \
    { level = \"fire_service\", wait = \"10s\" }]\nclose_when_restored = true\ntell_subscribers = true\n";

/// The promise: people are called within this time although the database is away.
const PROMISE: Duration = Duration::from_secs(10);

async fn hub_behind(phones: &Phones) -> (TestHub, Proxy) {
    let url = fresh_postgres().await;
    let address = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let proxy = Proxy::start(address.clone()).await;
    let database = Some(url.replace(&address, &proxy.address.to_string()));
    let extra = format!("{}{FAST}", phones.config());
    let hub = TestHub::start(Engine::Postgres, Setup { extra, database, ..Setup::default() }).await;
    phones.network.set_hub_url(&format!("http://{}", hub.web));
    hub.ready().await;
    (hub, proxy)
}

fn pages(phones: &Phones, number: &str) -> usize {
    phones.network.inbox(number).iter().filter(|sms| sms.body.contains("ENTRAPMENT")).count()
}

/// The ticket with its timeline, once it is in the database.
async fn ticket(hub: &TestHub) -> Value {
    let api = hub.api().await;
    let found = eventually("a ticket", it::SOON, || async { api.tickets("all", "entrapment").await.pop() }).await;
    assert_eq!(api.tickets("all", "entrapment").await.len(), 1, "one ticket");
    api.get(&format!("/api/v1/tickets/{}", found["id"].as_str().unwrap())).await
}

/// When somebody accepted the ticket, once the database hears of it.
async fn acknowledged(api: &Api, path: &str) -> Timestamp {
    eventually("the database hears who accepted", it::SOON, || async {
        let ticket = api.get(path).await;
        let earned = ticket["milestones"].as_array()?.iter().find(|earned| earned["kind"] == "acknowledged")?.clone();
        Some(serde_json::from_value(earned["at"].clone()).unwrap())
    })
    .await
}

// The proxy must run while a command of the hub is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_called_without_the_database_and_the_ticket_tells_it() {
    let phones = Phones::start().await;
    let (hub, proxy) = hub_behind(&phones).await;
    proxy.cut();
    let began = Instant::now();
    paho(hub.mqtt.unwrap().port(), "5", ("lift-1", SECRET), &stories::shut_in("lift-1")).await.unwrap();
    let page = phones.sms(TOM, "Lift 1", PROMISE).await;
    println!("called {:?} after the alarm, the database being away", began.elapsed());
    assert!(page.contains("Reply a to accept"), "{page}");

    // Whoever is inside is told what is so.
    phones.network.send_sms(PERSON, HUB_NUMBER, "100001").await.unwrap();
    phones.sms(PERSON, "We are calling the lift engineers", it::SOON).await;

    // Nobody answers: the next level is called. It accepts: the one after it is not.
    phones.sms(STATION, "Lift 1", Duration::from_secs(15)).await;
    phones.network.send_sms(STATION, HUB_NUMBER, "a").await.unwrap();
    phones.sms(STATION, "it is yours", it::SOON).await;
    phones.network.send_sms(PERSON, HUB_NUMBER, "100001").await.unwrap();
    phones.sms(PERSON, "A person has answered", it::SOON).await;
    let accepted = SystemClock.now();
    // A reply with a number is about another ticket, which nobody can look up now: it is not taken for this one.
    phones.network.send_sms(STATION, HUB_NUMBER, "7r").await.unwrap();
    phones.sms(STATION, "could NOT be recorded", it::SOON).await;

    tokio::time::sleep_until((began + Duration::from_secs(24)).into()).await;
    proxy.mend();
    let ticket = ticket(&hub).await;
    let earned = |kind: &str| {
        let milestones = ticket["milestones"].as_array().unwrap();
        milestones.iter().find(|milestone| milestone["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {ticket:#}"))
    };
    let at = |kind: &str| serde_json::from_value::<Timestamp>(earned(kind)["at"].clone()).unwrap();
    assert!(at("detected") < at("acknowledged"), "{ticket:#}");
    assert!(at("acknowledged") <= accepted, "it was accepted before the database was back: {ticket:#}");
    assert!(ticket["milestones"].as_array().unwrap().iter().all(|earned| earned["kind"] != "released"), "{ticket:#}");
    assert!(earned("acknowledged")["proof"]["en"].as_str().unwrap().contains("text message"), "{ticket:#}");

    // What was sent is not sent again, and nobody is called who need not come.
    let api = hub.api().await;
    let path = format!("/api/v1/tickets/{}", ticket["id"].as_str().unwrap());
    eventually("every message is settled", it::SOON, || async {
        let messages = api.get(&path).await;
        let all = messages["messages"].as_array().unwrap_or_else(|| panic!("{messages:#}"));
        all.iter().all(|message| message["state"] != "pending").then_some(())
    })
    .await;
    assert_eq!((pages(&phones, TOM), pages(&phones, STATION), pages(&phones, FIRE)), (1, 1, 0));
}

// The proxy must run while a command of the hub is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_was_open_before_is_escalated_without_the_database() {
    let phones = Phones::start().await;
    let (hub, proxy) = hub_behind(&phones).await;
    paho(hub.mqtt.unwrap().port(), "5", ("lift-1", SECRET), &stories::shut_in("lift-1")).await.unwrap();
    phones.sms(TOM, "Lift 1", PROMISE).await;
    eventually("the hub knows the ticket by heart", it::SOON, || async {
        (hub.metric("liftline_emergency_known_tickets").await == 1).then_some(())
    })
    .await;
    proxy.cut();
    // Tom does not answer: the next level is called, although the database is away; it accepts.
    phones.sms(STATION, "Lift 1", Duration::from_secs(25)).await;
    phones.network.send_sms(STATION, HUB_NUMBER, "a").await.unwrap();
    phones.sms(STATION, "it is yours", it::SOON).await;
    let accepted = SystemClock.now();
    proxy.mend();
    let path = format!("/api/v1/tickets/{}", ticket(&hub).await["id"].as_str().unwrap());
    let api = hub.api().await;
    assert!(acknowledged(&api, &path).await <= accepted, "it was accepted before the database was back");
    eventually("every message is settled", it::SOON, || async {
        let messages = api.get(&path).await;
        messages["messages"].as_array()?.iter().all(|message| message["state"] != "pending").then_some(())
    })
    .await;
    assert_eq!((pages(&phones, TOM), pages(&phones, STATION), pages(&phones, FIRE)), (1, 1, 0));
}

// The proxy must run while a command of the hub is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_page_from_before_counts_without_the_database() {
    let phones = Phones::start().await;
    let (hub, proxy) = hub_behind(&phones).await;
    paho(hub.mqtt.unwrap().port(), "5", ("lift-1", SECRET), &stories::shut_in("lift-1")).await.unwrap();
    let page = phones.sms(TOM, "Lift 1", PROMISE).await;
    assert!(page.contains("1a"), "{page}");
    eventually("the hub knows the ticket by heart", it::SOON, || async {
        (hub.metric("liftline_emergency_known_tickets").await == 1).then_some(())
    })
    .await;
    proxy.cut();
    phones.network.send_sms(TOM, HUB_NUMBER, "1a").await.unwrap();
    let answer = phones.sms(TOM, "it is yours", it::SOON).await;
    assert!(answer.contains("#1"), "{answer}");
    let accepted = SystemClock.now();
    proxy.mend();
    let path = format!("/api/v1/tickets/{}", ticket(&hub).await["id"].as_str().unwrap());
    assert!(acknowledged(&hub.api().await, &path).await <= accepted, "it was accepted before the database was back");
    assert_eq!((pages(&phones, TOM), pages(&phones, STATION)), (1, 0));
}

// The proxy must run while a command of the hub is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_says_nothing_keeps_nobody_waiting() {
    let phones = Phones::start().await;
    let (hub, proxy) = hub_behind(&phones).await;
    let port = hub.mqtt.unwrap().port();
    proxy.fall_silent();
    let calling = async {
        for (device, name) in [("lift-1", "Lift 1"), ("lift-2", "Lift 2")] {
            // The second while the commit of the first waits for an answer.
            let began = Instant::now();
            paho(port, "5", (device, SECRET), &stories::shut_in(device)).await.unwrap();
            phones.sms(TOM, name, PROMISE).await;
            println!("called {:?} after the alarm, the database saying nothing", began.elapsed());
        }
    };
    // Who answers something that only the database knows is told so, before the provider stops waiting for the hub.
    let answering = async {
        phones.network.send_sms(STATION, HUB_NUMBER, "7r").await.unwrap();
        phones.sms(STATION, "could NOT be recorded", PROMISE).await;
    };
    let telling = eventually("the hub says that its database is away", PROMISE, || async {
        let ready = http().get(format!("http://{}/readyz", hub.web)).send().await.unwrap().status();
        (!ready.is_success()).then_some(())
    });
    tokio::join!(calling, answering, telling);
    proxy.mend();
    let api = hub.api().await;
    eventually("both tickets", it::SOON, || async {
        (api.tickets("all", "entrapment").await.len() == 2).then_some(())
    })
    .await;
    assert_eq!(pages(&phones, TOM), 2, "what was held back by the network calls nobody again");
}

// The proxy must run while a command of the hub is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_dies_meanwhile_still_knows_whom_it_called() {
    let phones = Phones::start().await;
    let (mut hub, proxy) = hub_behind(&phones).await;
    proxy.cut();
    paho(hub.mqtt.unwrap().port(), "5", ("lift-1", SECRET), &stories::shut_in("lift-1")).await.unwrap();
    phones.sms(TOM, "Lift 1", PROMISE).await;
    eventually("the call is noted", it::SOON, || async {
        (hub.metric("liftline_emergency_notes_total").await >= 2).then_some(())
    })
    .await;
    hub.kill().await;
    proxy.mend();
    hub.restart().await;
    let ticket = ticket(&hub).await;
    assert_eq!(ticket["life_safety"], true);
    phones.sms(STATION, "Lift 1", Duration::from_secs(15)).await;
    assert_eq!(pages(&phones, TOM), 1, "called once, although the hub died in between");
}
