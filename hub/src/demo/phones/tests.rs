//! The network against the hub's own client (`notify`) and a small hub that only listens.

use std::sync::Arc;

use axum::{Form, extract::Query, http::HeaderMap, routing::post};
use model::{
    Language, Localised, ManualClock, MessageChannel, MessageContent, OrgId, OutboxId, OutboxMessage, Outcome, Purpose,
    Receiver, RescueLevel, Severity, TicketId, TicketKind, Timestamp,
};
use notify::{
    Notifier, NotifyConfig, Reply, Verb,
    twilio::{Key, callback},
};
use uuid::Uuid;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const ANN: &str = "+15550100101";
const HUB: &str = "+15550100000";

type Pairs = Vec<(String, String)>;

/// A hub that verifies and keeps callbacks, and answers keys and SMS.
#[derive(Clone)]
struct Hub {
    notifier: Notifier,
    heard: Arc<Mutex<Vec<Heard>>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Status(callback::StatusReport),
    Key(Key),
    Sms(String, Reply),
}

struct World {
    network: PhoneNetwork,
    hub: Hub,
    base: String,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_767_225_600)
}

fn message(channel: MessageChannel, address: &str) -> OutboxMessage {
    OutboxMessage {
        id: OutboxId(Uuid::from_u128(0xab3f)),
        org: OrgId(Uuid::from_u128(1)),
        ticket: Some(TicketId(Uuid::from_u128(2))),
        person: None,
        affected: None,
        receiver: Receiver { channel, address: address.to_owned() },
        language: Language::Zh,
        content: MessageContent {
            purpose: Purpose::Page,
            ticket_number: 12,
            kind: TicketKind::Entrapment,
            severity: Severity::Critical,
            title: Localised::new("Person may be shut in", "可能有人被困"),
            reason: Localised::new("Alarm button pressed.", "报警按钮按下。"),
            device_name: "2号梯".to_owned(),
            plate: Some("120345".to_owned()),
            site_name: "东塔".to_owned(),
            site_address: "中山路12号".to_owned(),
            level: Some(RescueLevel::Maintainer),
            milestone: None,
            at: now(),
            reply_code: Some(1),
            link: Some("https://lift.example.org/t/12".to_owned()),
            text: None,
        },
        life_safety: true,
        created_at: now(),
        expires_at: now() + Duration::from_secs(1800),
        attempts: 0,
    }
}

fn signature_of(headers: &HeaderMap) -> &str {
    headers["x-twilio-signature"].to_str().unwrap()
}

impl Hub {
    fn keep(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
    }

    fn verify(&self, path: &str, headers: &HeaderMap, params: &Pairs) {
        assert!(self.notifier.twilio().unwrap().verify(path, params, signature_of(headers)), "{path} is not signed");
    }

    fn router(&self) -> Router {
        let (status, voice, sms) = (self.clone(), self.clone(), self.clone());
        let m = |query: &Pairs| query.iter().find(|(key, _)| key == "m").map(|(_, value)| value.clone());
        Router::new()
            .route(
                "/callbacks/twilio/status",
                post(async move |headers: HeaderMap, Query(query): Query<Pairs>, Form(params): Form<Pairs>| {
                    let m = m(&query).unwrap();
                    status.verify(&format!("/callbacks/twilio/status?m={m}"), &headers, &params);
                    status.keep(Heard::Status(callback::status(Some(&m), &params).unwrap()));
                }),
            )
            .route(
                "/callbacks/twilio/voice",
                post(async move |headers: HeaderMap, Query(query): Query<Pairs>, Form(params): Form<Pairs>| {
                    let m = m(&query).unwrap();
                    voice.verify(&format!("/callbacks/twilio/voice?m={m}"), &headers, &params);
                    let press = callback::key_press(Some(&m), &params).unwrap();
                    voice.keep(Heard::Key(press.key));
                    voice.notifier.after_key(&message(MessageChannel::Voice, ANN), press.key, true)
                }),
            )
            .route(
                "/callbacks/twilio/sms",
                post(async move |headers: HeaderMap, Form(params): Form<Pairs>| {
                    sms.verify("/callbacks/twilio/sms", &headers, &params);
                    let inbound = callback::inbound_sms(&params).unwrap();
                    sms.keep(Heard::Sms(inbound.from, inbound.reply));
                    notify::twilio::twiml::message("Thank you & goodbye")
                }),
            )
    }
}

async fn world() -> World {
    world_with(None).await
}

async fn world_with(patience: Option<Duration>) -> World {
    let network = PhoneNetwork::bind(PhoneConfig {
        account_sid: "ACdemo".to_owned(),
        auth_token: "token".to_owned(),
        hub_number: HUB.to_owned(),
        pace: Duration::from_millis(1),
        patience,
        clock: Arc::new(ManualClock::at(now())),
    })
    .await
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let notify = serde_json::from_value::<NotifyConfig>(serde_json::json!({
        "twilio": {"base_url": base, "account_sid": "ACdemo", "auth_token": "token", "from": HUB, "timeout": "5s"},
        "smtp": {
            "host": "127.0.0.1", "port": network.smtp_addr().port(), "security": "none",
            "from": "Liftline <lift@hub.example>",
        },
    }));
    let notify = NotifyConfig { public_url: base.clone(), ..notify.unwrap() };
    let hub = Hub { notifier: Notifier::new(&notify).unwrap(), heard: Arc::default() };
    network.set_hub_url(&base);
    let router = network.router().merge(hub.router());
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(network.clone().run(shutdown.clone()));
    tasks.spawn({
        let stop = shutdown.clone().cancelled_owned();
        async move { Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?) }
    });
    World { network, hub, base, shutdown, tasks }
}

impl World {
    async fn send(&self, message: &OutboxMessage) -> Outcome {
        self.hub.notifier.send(message, now()).await
    }

    async fn arrives(&self, number: &str) -> Sms {
        self.network
            .wait_for(PATIENCE, |network| network.inbox(number).into_iter().next())
            .await
            .expect("an SMS arrives")
    }

    async fn rings(&self) -> Call {
        let ringing =
            |network: &PhoneNetwork| network.calls(ANN).into_iter().find(|call| call.state == CallState::Ringing);
        self.network.wait_for(PATIENCE, ringing).await.expect("the telephone rings")
    }

    /// Waits until the hub has heard so many things.
    async fn heard(&self, count: usize) -> Vec<Heard> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let heard = self.hub.heard.lock().unwrap().clone();
            if heard.len() >= count {
                return heard;
            }
            assert!(tokio::time::Instant::now() < deadline, "only {heard:?}");
            tokio::task::yield_now().await;
        }
    }

    async fn statuses(&self, count: usize) -> Vec<String> {
        let heard = self.heard(count).await;
        let status = |heard: Heard| match heard {
            Heard::Status(report) => {
                assert_eq!(report.message, Some(OutboxId(Uuid::from_u128(0xab3f))));
                Some(report.status)
            }
            Heard::Key(_) | Heard::Sms(..) => None,
        };
        heard.into_iter().filter_map(status).collect()
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn an_sms_arrives_and_is_answered() {
    let world = world().await;
    let outcome = world.send(&message(MessageChannel::Sms, ANN)).await;
    let sms = world.arrives(ANN).await;
    assert_eq!(outcome, Outcome::Sent { provider_id: sms.sid });
    assert!(sms.body.contains("回复1a接单"), "{}", sms.body);
    assert_eq!(world.statuses(2).await, ["sent", "delivered"]);

    world.network.send_sms(ANN, HUB, "1a").await.unwrap();
    let heard = world.heard(3).await;
    assert_eq!(heard[2], Heard::Sms(ANN.to_owned(), Reply::Act { code: Some(1), verb: Verb::Acknowledge }));
    let thread: Vec<String> = world.network.thread(ANN).into_iter().map(|sms| sms.body).collect();
    assert_eq!(thread[1..], ["1a", "Thank you & goodbye"]);
    world.stop().await;
}

#[tokio::test]
async fn a_call_is_answered_by_a_key() {
    let world = world().await;
    assert!(matches!(world.send(&message(MessageChannel::Voice, ANN)).await, Outcome::Sent { .. }));
    let call = world.rings().await;
    world.network.answer(&call.sid).await.unwrap();
    let said = world.network.call(&call.sid).unwrap().said.join(" ");
    assert!(said.contains("电梯困人") && said.contains("接单请按 4"), "{said}");
    let again = world.network.press(&call.sid, '*').await.unwrap();
    assert!(again.contains("接单请按 4"), "{again}");
    assert_eq!(world.network.press(&call.sid, '4').await.unwrap(), "谢谢，您已接单。 再见。");
    assert!(matches!(world.network.press(&call.sid, '4').await, Err(PhoneError::NotWaiting(_))), "the call is over");
    // initiated, ringing, answered, human, two keys, completed.
    let heard = world.heard(7).await;
    assert!(heard.contains(&Heard::Key(Key::Act(Verb::Acknowledge))));
    assert_eq!(world.statuses(7).await, ["initiated", "ringing", "in-progress", "human", "completed"]);
    world.stop().await;
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_asked_again_and_then_ended() {
    let world = world_with(Some(Duration::from_millis(1))).await;
    assert!(matches!(world.send(&message(MessageChannel::Voice, ANN)).await, Outcome::Sent { .. }));
    let call = world.rings().await;
    world.network.answer(&call.sid).await.unwrap();
    let over = |network: &PhoneNetwork| network.call(&call.sid).filter(|call| call.state == CallState::Completed);
    let over = world.network.wait_for(PATIENCE, over).await.expect("the call ends");
    assert_eq!(over.said.iter().filter(|text| text.contains("接单请按 4")).count(), 2);
    assert_eq!(over.said.last().unwrap(), "没有按键，本次通话未接单。再见。");
    assert_eq!(over.keys, "");
    world.stop().await;
}

#[tokio::test]
async fn a_document_without_a_question_ends_the_call() {
    let world = world().await;
    let mut page = message(MessageChannel::Voice, ANN);
    page.content.purpose = Purpose::StandDown;
    assert!(matches!(world.send(&page).await, Outcome::Sent { .. }));
    let call = world.rings().await;
    world.network.answer(&call.sid).await.unwrap();
    let over = world.network.call(&call.sid).unwrap();
    assert_eq!((over.state, over.said.len()), (CallState::Completed, 3), "{:?}", over.said);
    world.stop().await;
}

#[tokio::test]
async fn machines_busy_lines_and_rejections_are_not_answers() {
    let world = world().await;
    for (line, expected) in [(Line::Busy, "busy"), (Line::Machine, "completed")] {
        world.hub.heard.lock().unwrap().clear();
        world.network.set_line(ANN, line);
        assert!(matches!(world.send(&message(MessageChannel::Voice, ANN)).await, Outcome::Sent { .. }));
        let ended = |heard: &[Heard]| {
            heard.iter().any(|heard| matches!(heard, Heard::Status(report) if report.status == expected))
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !ended(&world.hub.heard.lock().unwrap()) {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        let heard = world.hub.heard.lock().unwrap().clone();
        let state = |heard: &Heard| match heard {
            Heard::Status(report) => report.progress.state(),
            Heard::Key(_) | Heard::Sms(..) => None,
        };
        assert!(!heard.iter().any(|heard| state(heard) == Some(model::DeliveryState::Delivered)), "{heard:?}");
    }
    world.network.set_line(ANN, Line::Normal);
    assert!(matches!(world.send(&message(MessageChannel::Voice, ANN)).await, Outcome::Sent { .. }));
    let call = world.rings().await;
    world.network.hang_up(&call.sid).unwrap();
    assert_eq!(world.network.call(&call.sid).unwrap().state, CallState::Busy);
    world.stop().await;
}

#[tokio::test]
async fn an_unreachable_telephone_gets_nothing() {
    let world = world().await;
    world.network.set_line(ANN, Line::Unreachable);
    assert!(matches!(world.send(&message(MessageChannel::Sms, ANN)).await, Outcome::Sent { .. }));
    assert_eq!(world.statuses(2).await, ["sent", "undelivered"]);
    assert!(world.network.inbox(ANN).is_empty());
    world.stop().await;
}

#[tokio::test]
async fn faults_are_answered_as_told_and_a_lost_answer_is_found() {
    let world = world().await;
    let page = message(MessageChannel::Sms, ANN);
    world.network.fail_next(1, Fault::TooMany);
    let limited = world.send(&page).await;
    assert!(matches!(limited, Outcome::Retry { after: Some(_), .. }), "{limited:?}");
    world.network.fail_next(1, Fault::ServerError);
    assert!(matches!(world.send(&page).await, Outcome::Unknown { .. }));
    assert_eq!(world.hub.notifier.look_up(&page, now(), now()).await, None, "it was not taken: send it again");
    world.network.fail_next(1, Fault::LostAnswer);
    assert!(matches!(world.send(&page).await, Outcome::Unknown { .. }));
    let sms = world.arrives(ANN).await;
    let found = world.hub.notifier.look_up(&page, now(), now()).await;
    assert_eq!(found, Some(Outcome::Sent { provider_id: sms.sid }));
    assert_eq!(world.network.inbox(ANN).len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn reports_come_twice_or_backwards_if_told() {
    for (reports, expected) in [
        (Reports::Twice, vec!["sent", "sent", "delivered", "delivered"]),
        (Reports::Reversed, vec!["delivered", "sent"]),
    ] {
        let world = world().await;
        world.network.set_reports(reports);
        assert!(matches!(world.send(&message(MessageChannel::Sms, ANN)).await, Outcome::Sent { .. }));
        assert_eq!(world.statuses(expected.len()).await, expected);
        assert_eq!(world.network.thread(ANN)[0].state, SmsState::Delivered);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_number_that_sent_stop_gets_nothing_more() {
    let world = world().await;
    world.network.send_sms(ANN, HUB, "STOP").await.unwrap();
    let refused = world.send(&message(MessageChannel::Sms, ANN)).await;
    assert!(matches!(&refused, Outcome::Dead { reason } if reason.contains("STOP")), "{refused:?}");
    world.network.send_sms(ANN, HUB, "start").await.unwrap();
    assert!(matches!(world.send(&message(MessageChannel::Sms, ANN)).await, Outcome::Sent { .. }));
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_login_is_refused() {
    let world = world().await;
    let config = serde_json::from_value::<NotifyConfig>(serde_json::json!({
        "twilio": {"base_url": world.base, "account_sid": "ACdemo", "auth_token": "wrong", "from": HUB},
    }));
    let config = NotifyConfig { public_url: world.base.clone(), ..config.unwrap() };
    let stranger = Notifier::new(&config).unwrap();
    let refused = stranger.send(&message(MessageChannel::Sms, ANN), now()).await;
    assert!(matches!(&refused, Outcome::Retry { reason, .. } if reason.contains("auth_token")), "{refused:?}");
    world.stop().await;
}

#[tokio::test]
async fn mail_arrives_decoded_and_the_mailbox_can_be_busy() {
    let world = world().await;
    let mail = message(MessageChannel::Email, "ann@example.org");
    world.network.fail_next_mails(1);
    assert!(matches!(world.send(&mail).await, Outcome::Retry { .. }));
    let outcome = world.send(&mail).await;
    let Outcome::Sent { provider_id } = outcome else { panic!("{outcome:?}") };
    let mails = world.network.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject, "[#12] 电梯困人一级：东塔2号梯");
    assert_eq!(mails[0].to, ["ann@example.org"]);
    assert_eq!(format!("<{}>", mails[0].message_id.as_deref().unwrap()), provider_id);
    assert!(mails[0].text.contains("打开工单: https://lift.example.org/t/12"), "{}", mails[0].text);
    assert!(mails[0].html.as_deref().unwrap().contains("<table"));
    world.stop().await;
}

#[tokio::test]
async fn the_page_shows_telephones_in_both_languages_and_takes_forms() {
    let world = world().await;
    world.network.name_phone(ANN, "Ann <Rivers>");
    world.send(&message(MessageChannel::Sms, ANN)).await;
    world.arrives(ANN).await;
    world.send(&message(MessageChannel::Voice, ANN)).await;
    let call = world.rings().await;
    let http = reqwest::Client::new();
    let page = async |lang: &str| {
        let url = format!("{}/demo/phones?lang={lang}", world.base);
        http.get(url).send().await.unwrap().text().await.unwrap()
    };
    let english = page("en").await;
    for part in
        ["Ann &lt;Rivers&gt;", "https://lift.example.org/t/12\" target", "Answer", "Accept <kbd>1a</kbd>", "Mailbox"]
    {
        assert!(english.contains(part), "{part} is missing in {english}");
    }
    let chinese = page("zh").await;
    assert!(
        chinese.contains("模拟电话") && chinese.contains("接听") && chinese.contains("lang=\"zh-CN\""),
        "{chinese}"
    );

    let form = [("call", call.sid.as_str()), ("action", "key 4"), ("lang", "en")];
    let pressed = http.post(format!("{}/demo/phones/call", world.base)).form(&form).send().await.unwrap();
    assert!(pressed.status().is_success());
    assert!(world.heard(1).await.contains(&Heard::Key(Key::Act(Verb::Acknowledge))));
    let again = http.post(format!("{}/demo/phones/call", world.base)).form(&form).send().await.unwrap();
    assert_eq!(again.status(), 409);
    assert!(again.text().await.unwrap().contains("does not wait for a key"));
    let bad = [("from", "not a number"), ("body", "x")];
    let refused = http.post(format!("{}/demo/phones/sms", world.base)).form(&bad).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    world.stop().await;
}

#[tokio::test]
async fn memory_is_bounded() {
    let world = world().await;
    for count in 0..600 {
        let number = format!("+1555{:07}", count % 300);
        world.network.send_sms(&number, HUB, "120345").await.unwrap();
    }
    let (messages, phones) = world.network.change(|state| (state.messages.len(), state.phones.len()));
    assert_eq!(messages, state::KEPT);
    assert!(phones <= 200, "{phones}");
    world.stop().await;
}
