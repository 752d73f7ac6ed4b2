//! The page that shows every telephone and the mailbox, and on which one answers, replies and presses keys.
//!
//! It works without JavaScript (by reloading itself); with it, only what changed is replaced, once a second.

use std::collections::BTreeMap;

use axum::{
    Form, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::{DOCTYPE, Markup, html};
use model::{Language, Timestamp};
use serde::Deserialize;

use super::{Call, CallState, Direction, Mail, PhoneError, PhoneNetwork, Sms, SmsState};

/// How many messages of a telephone, and how many e-mails, are shown.
const SHOWN: usize = 30;

const STYLE: &str = include_str!("page/phones.css");
const SCRIPT: &str = include_str!("page/phones.js");

pub(super) fn router() -> Router<PhoneNetwork> {
    Router::new()
        .route("/demo/phones", get(page))
        .route("/demo/phones/sms", post(send))
        .route("/demo/phones/call", post(handle_call))
        .route(
            "/demo/phones/phones.css",
            get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }),
        )
        .route(
            "/demo/phones/phones.js",
            get(|| async { ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT) }),
        )
}

/// The page's own words.
struct Words {
    title: &'static str,
    intro: &'static str,
    other: &'static str,
    other_language: Language,
    compose: &'static str,
    compose_hint: &'static str,
    from: &'static str,
    text: &'static str,
    send: &'static str,
    reply: &'static str,
    quiet: &'static str,
    mailbox: &'static str,
    no_mail: &'static str,
    calling: &'static str,
    answer: &'static str,
    hang_up: &'static str,
    reject: &'static str,
    quick: [(&'static str, char); 6],
}

const EN: Words = Words {
    title: "Pretend telephones",
    intro: "Everything the hub sends to people arrives here; nothing leaves this machine. Read the messages, follow their \
            links, reply, answer calls and press keys. Times are UTC.",
    other: "中文",
    other_language: Language::Zh,
    compose: "Send an SMS to the hub",
    compose_hint: "From any number. A person in a lift sends the number on its plate.",
    from: "From number",
    text: "Text",
    send: "Send",
    reply: "Reply",
    quiet: "No messages yet.",
    mailbox: "Mailbox",
    no_mail: "No e-mail yet.",
    calling: "Call",
    answer: "Answer",
    hang_up: "Hang up",
    reject: "Reject",
    quick: [
        ("Accept", 'a'),
        ("Pass on", 'e'),
        ("Cannot come", 'd'),
        ("On my way", 'g'),
        ("On site", 'h'),
        ("Person is out", 'r'),
    ],
};

const ZH: Words = Words {
    title: "模拟电话",
    intro: "系统发给人员的所有信息都会显示在这里，不会发往外部。您可以阅读短信、打开链接、回复、接听电话并按键。时间为 UTC。",
    other: "English",
    other_language: Language::En,
    compose: "给系统发短信",
    compose_hint: "可使用任意号码。被困人员请发送电梯铭牌上的编号。",
    from: "发送号码",
    text: "内容",
    send: "发送",
    reply: "回复",
    quiet: "暂无短信。",
    mailbox: "邮箱",
    no_mail: "暂无邮件。",
    calling: "来电",
    answer: "接听",
    hang_up: "挂断",
    reject: "拒接",
    quick: [("接单", 'a'), ("转上级", 'e'), ("不能前往", 'd'), ("已出发", 'g'), ("已到场", 'h'), ("已救出", 'r')],
};

fn words(language: Language) -> &'static Words {
    match language {
        Language::En => &EN,
        Language::Zh => &ZH,
    }
}

fn sms_state(language: Language, state: SmsState) -> &'static str {
    match (language, state) {
        (Language::En, _) => state.code(),
        (Language::Zh, SmsState::Queued) => "排队中",
        (Language::Zh, SmsState::Sent) => "已发出",
        (Language::Zh, SmsState::Delivered) => "已送达",
        (Language::Zh, SmsState::Undelivered) => "未送达",
    }
}

fn call_state(language: Language, state: CallState) -> &'static str {
    match (language, state) {
        (Language::En, CallState::Queued | CallState::Ringing) => "ringing",
        (Language::En, CallState::InProgress) => "in progress",
        (Language::En, CallState::Completed) => "ended",
        (Language::En, CallState::Busy) => "rejected or busy",
        (Language::En, CallState::NoAnswer) => "not answered",
        (Language::Zh, CallState::Queued | CallState::Ringing) => "响铃中",
        (Language::Zh, CallState::InProgress) => "通话中",
        (Language::Zh, CallState::Completed) => "已结束",
        (Language::Zh, CallState::Busy) => "拒接或占线",
        (Language::Zh, CallState::NoAnswer) => "无人接听",
    }
}

#[derive(Deserialize)]
struct Shown {
    lang: Option<Language>,
}

fn language(asked: Option<Language>, headers: &HeaderMap) -> Language {
    let accepted = || headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    asked.unwrap_or_else(|| Language::from_accept_language(accepted()))
}

/// One telephone's part of the page.
struct Phone {
    number: String,
    name: String,
    messages: Vec<Sms>,
    calls: Vec<Call>,
}

impl PhoneNetwork {
    fn phones(&self) -> Vec<Phone> {
        let state = self.state();
        let mut phones: BTreeMap<&str, Phone> = BTreeMap::new();
        for (number, name) in &state.phones {
            let phone = Phone { number: number.clone(), name: name.clone(), messages: Vec::new(), calls: Vec::new() };
            phones.insert(number, phone);
        }
        for sms in &state.messages {
            if let Some(phone) = phones.get_mut(sms.phone()) {
                phone.messages.push(sms.clone());
            }
        }
        for call in &state.calls {
            if let Some(phone) = phones.get_mut(call.to.as_str()) {
                phone.calls.push(call.clone());
            }
        }
        phones.into_values().collect()
    }
}

async fn page(State(network): State<PhoneNetwork>, Query(shown): Query<Shown>, headers: HeaderMap) -> Response {
    let language = language(shown.lang, &headers);
    let words = words(language);
    let mails = network.mails();
    let markup = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (words.title) " · Liftline" }
                link rel="stylesheet" href="/demo/phones/phones.css";
                link rel="icon" href="data:,";
                noscript { meta http-equiv="refresh" content="5"; }
                script src="/demo/phones/phones.js" defer {}
            }
            body {
                header {
                    h1 { (words.title) }
                    a href=(format!("/demo/phones?lang={}", words.other_language)) lang=(words.other_language.tag()) { (words.other) }
                    p { (words.intro) }
                }
                p #said role="status" aria-live="polite" {}
                main {
                    section.compose {
                        h2 { (words.compose) }
                        p.hint { (words.compose_hint) }
                        form method="post" action="/demo/phones/sms" {
                            input type="hidden" name="lang" value=(language);
                            label { (words.from) input name="from" value="+15550199000" inputmode="tel" required; }
                            label { (words.text) input name="body" maxlength="1600" autocomplete="off" required; }
                            button { (words.send) }
                        }
                    }
                    div #phones {
                        @for phone in network.phones() { (telephone(language, &phone)) }
                    }
                    section #mailbox.mailbox {
                        h2 { (words.mailbox) }
                        div #mails data-live {
                            @if mails.is_empty() { p.hint { (words.no_mail) } }
                            @for mail in mails.iter().rev().take(SHOWN) { (email(mail)) }
                        }
                    }
                }
            }
        }
    };
    ([(header::CACHE_CONTROL, "no-store")], Html(markup.into_string())).into_response()
}

fn telephone(language: Language, phone: &Phone) -> Markup {
    let words = words(language);
    let id = phone.number.trim_start_matches('+');
    let first = phone.messages.len().saturating_sub(SHOWN);
    html! {
        section.phone id=(format!("phone-{id}")) {
            h2 { @if phone.name.is_empty() { (phone.number) } @else { (phone.name) " " small { (phone.number) } } }
            div.thread id=(format!("thread-{id}")) data-live data-bottom {
                @if phone.messages.is_empty() && phone.calls.is_empty() { p.hint { (words.quiet) } }
                @for sms in &phone.messages[first..] {
                    @let class = match sms.direction { Direction::ToPhone => "in", Direction::ToHub => "out" };
                    p class=(format!("sms {class}")) {
                        (with_links(&sms.body))
                        small { (clock(sms.at)) " · " (sms_state(language, sms.state)) }
                    }
                }
            }
            div.calls id=(format!("calls-{id}")) data-live {
                @for call in phone.calls.iter().rev().take(3) { (telephone_call(language, call)) }
                @if let Some(code) = last_code(&phone.messages) {
                    div.quick {
                        @for (label, letter) in &words.quick {
                            form method="post" action="/demo/phones/sms" {
                                input type="hidden" name="lang" value=(language);
                                input type="hidden" name="from" value=(phone.number);
                                button name="body" value=(format!("{code}{letter}")) { (label) " " kbd { (code) (letter) } }
                            }
                        }
                    }
                }
            }
            form.reply method="post" action="/demo/phones/sms" {
                input type="hidden" name="lang" value=(language);
                input type="hidden" name="from" value=(phone.number);
                input name="body" aria-label=(words.reply) placeholder=(words.reply) maxlength="1600" autocomplete="off" required;
                button { (words.send) }
            }
        }
    }
}

fn telephone_call(language: Language, call: &Call) -> Markup {
    let words = words(language);
    let control = |action: &str, label: &str| {
        html! {
            form method="post" action="/demo/phones/call" {
                input type="hidden" name="lang" value=(language);
                input type="hidden" name="call" value=(call.sid);
                button name="action" value=(action) { (label) }
            }
        }
    };
    html! {
        div.call.over[call.state.is_over()] {
            p { strong { (words.calling) } " " (clock(call.at)) " · " (call_state(language, call.state))
                @if !call.keys.is_empty() { " · " kbd { (call.keys) } } }
            @for text in last(&call.said, 4) { p.said { (text) } }
            @if let Some(problem) = &call.problem { p.problem { (problem) } }
            @match call.state {
                CallState::Queued | CallState::Ringing => {
                    div.controls { (control("answer", words.answer)) (control("hang_up", words.reject)) }
                }
                CallState::InProgress => {
                    @if call.waiting {
                        div.keypad {
                            @for key in "123456789*0#".chars() { (control(&format!("key {key}"), &key.to_string())) }
                        }
                    }
                    div.controls { (control("hang_up", words.hang_up)) }
                }
                CallState::Completed | CallState::Busy | CallState::NoAnswer => {}
            }
        }
    }
}

fn email(mail: &Mail) -> Markup {
    html! {
        details {
            summary { (mail.subject) small { (mail.to.join(", ")) " · " (clock(mail.at)) } }
            pre { (with_links(&mail.text)) }
        }
    }
}

fn last<T>(items: &[T], count: usize) -> &[T] {
    &items[items.len().saturating_sub(count)..]
}

/// The code by which the latest page of a thread is answered.
fn last_code(messages: &[Sms]) -> Option<String> {
    messages.iter().rev().filter(|sms| sms.direction == Direction::ToPhone).find_map(|sms| {
        let after = ["Reply ", "回复"].iter().find_map(|word| sms.body.split_once(word))?.1;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        after[digits.len()..].starts_with('a').then_some(digits)
    })
}

/// A text in which web addresses can be followed.
fn with_links(text: &str) -> Markup {
    html! {
        @for part in text.split_inclusive(char::is_whitespace) {
            @let link = part.trim_end();
            @if link.starts_with("http://") || link.starts_with("https://") {
                a href=(link) target="_blank" rel="noopener" { (link) } (&part[link.len()..])
            } @else { (part) }
        }
    }
}

/// The time of day.
fn clock(at: Timestamp) -> String {
    at.to_jiff().strftime("%H:%M:%S").to_string()
}

#[derive(Deserialize)]
struct SendForm {
    from: String,
    body: String,
    lang: Option<Language>,
}

async fn send(State(network): State<PhoneNetwork>, headers: HeaderMap, Form(form): Form<SendForm>) -> Response {
    let hub = network.config().hub_number.clone();
    let from = form.from.replace([' ', '-'], "");
    let result = network.send_sms(&from, &hub, &form.body).await;
    done(form.lang, &headers, result)
}

#[derive(Deserialize)]
struct CallForm {
    call: String,
    action: String,
    lang: Option<Language>,
}

async fn handle_call(State(network): State<PhoneNetwork>, headers: HeaderMap, Form(form): Form<CallForm>) -> Response {
    let key = form.action.strip_prefix("key ").and_then(|key| key.chars().next());
    let result = match (form.action.as_str(), key) {
        ("answer", _) => network.answer(&form.call).await,
        ("hang_up", _) => network.hang_up(&form.call),
        (_, Some(key)) if "0123456789*#".contains(key) => network.press(&form.call, key).await.map(|_| ()),
        _ => {
            return (StatusCode::BAD_REQUEST, "Unknown action: use answer, hang_up or key and a digit.")
                .into_response();
        }
    };
    done(form.lang, &headers, result)
}

/// Back to the page, or the sentence that says what went wrong.
fn done(asked: Option<Language>, headers: &HeaderMap, result: Result<(), PhoneError>) -> Response {
    match result {
        Ok(()) => Redirect::to(&format!("/demo/phones?lang={}", language(asked, headers))).into_response(),
        Err(error) => {
            let status = match &error {
                PhoneError::NoCall(_) => StatusCode::NOT_FOUND,
                PhoneError::BadNumber(_) => StatusCode::BAD_REQUEST,
                PhoneError::NotWaiting(_) => StatusCode::CONFLICT,
                PhoneError::NoHub
                | PhoneError::Unreachable { .. }
                | PhoneError::Refused { .. }
                | PhoneError::Document(_) => StatusCode::BAD_GATEWAY,
            };
            (status, error.to_string()).into_response()
        }
    }
}
