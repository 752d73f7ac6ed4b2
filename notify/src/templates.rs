//! What messages say, by purpose, kind of ticket and milestone, in English and Simplified Chinese.
//!
//! A message is rendered when it is sent, from the content committed with it, and the same message always renders
//! the same. SMS keep to two segments; every SMS ends in a short reference by which a lost answer of the provider
//! can be looked up.

mod en;
mod zh;

use std::fmt;

use maud::{DOCTYPE, html};
use model::{Language, MessageChannel, OutboxMessage, Purpose, Timestamp};
use serde_json::json;

use crate::{
    sms,
    twilio::{keypad::Key, twiml},
};

/// Calls a function or names a constant of the module of a language.
macro_rules! said {
    ($language:expr, $($what:tt)+) => {
        match $language { Language::En => en::$($what)+, Language::Zh => zh::$($what)+ }
    };
}

/// What the way to a receiver allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The receiver can answer an SMS.
    pub replies: bool,
    /// The receiver's carrier lets SMS with links through.
    pub links: bool,
    /// Where the provider sends the key pressed in a call.
    pub keypad_url: String,
}

/// A message, ready for its channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Rendered {
    /// A text message.
    Sms {
        /// The text.
        body: String,
    },
    /// A call.
    Voice {
        /// The document that the provider executes.
        twiml: String,
    },
    /// An e-mail.
    Email {
        /// The subject.
        subject: String,
        /// The body as plain text.
        text: String,
        /// The body as HTML.
        html: String,
    },
    /// A signed HTTP request.
    Webhook {
        /// The body.
        json: serde_json::Value,
    },
}

/// Renders a message for its channel, in its language.
#[must_use]
pub fn render(message: &OutboxMessage, options: &Options) -> Rendered {
    match message.receiver.channel {
        MessageChannel::Sms => Rendered::Sms { body: sms_body(message, options) },
        MessageChannel::Voice => Rendered::Voice { twiml: call(message, options) },
        MessageChannel::Email => email(message),
        MessageChannel::Webhook => Rendered::Webhook { json: webhook(message) },
    }
}

/// The short reference at the end of an SMS: the ticket's number and four digits of the message's id.
#[must_use]
pub fn reference(message: &OutboxMessage) -> String {
    let id = message.id.0.simple().to_string();
    let tail = &id[id.len() - 4..];
    match message.ticket {
        Some(_) => format!("#{}-{tail}", message.content.ticket_number),
        None => format!("#{tail}"),
    }
}

fn sms_body(message: &OutboxMessage, options: &Options) -> String {
    let reference = reference(message);
    sms::fit(|room| {
        let body = said!(message.language, sms(&message.content, options, room));
        format!("{} {reference}", body.trim_end())
    })
}

/// The document of a call: pages are followed by the keypad menu, said twice; other messages are said twice.
fn call(message: &OutboxMessage, options: &Options) -> String {
    let language = message.language;
    let spoken = said!(language, spoken(&message.content));
    match message.content.purpose {
        Purpose::Page => {
            let menu = said!(language, MENU);
            let ask = twiml::gather(language, &options.keypad_url, &[&spoken, menu]);
            twiml::response(&[&ask, &ask, &twiml::say(language, said!(language, NO_KEY))])
        }
        Purpose::StandDown
        | Purpose::CareLink
        | Purpose::Progress
        | Purpose::Notice
        | Purpose::Update
        | Purpose::Answer => {
            let say = twiml::say(language, &spoken);
            twiml::response(&[&say, "<Pause length=\"1\"/>", &say, &twiml::say(language, said!(language, GOODBYE))])
        }
    }
}

/// What a call says after a key: the answer and a goodbye, or the message again.
///
/// `done` tells whether the ticket took what the key asked for.
#[must_use]
pub fn after_key(message: &OutboxMessage, key: Key, done: bool, options: &Options) -> String {
    let language = message.language;
    match key {
        Key::Repeat | Key::None => call(message, options),
        Key::Unknown(_) => {
            let menu = said!(language, MENU);
            let ask = twiml::gather(language, &options.keypad_url, &[said!(language, handled(key)), menu]);
            twiml::response(&[&ask, &twiml::say(language, said!(language, NO_KEY))])
        }
        Key::Act(_) => {
            let text = if done { said!(language, handled(key)) } else { said!(language, NOT_HANDLED) };
            twiml::response(&[&twiml::say(language, text), &twiml::say(language, said!(language, GOODBYE))])
        }
    }
}

fn email(message: &OutboxMessage) -> Rendered {
    let content = &message.content;
    let language = message.language;
    let subject = said!(language, subject(content));
    let paragraphs: Vec<String> =
        said!(language, paragraphs(content)).into_iter().filter(|paragraph| !paragraph.is_empty()).collect();
    let facts = said!(language, facts(content));
    let label = said!(language, link_label(content));
    let footer = said!(language, FOOTER);

    let mut text = String::new();
    for paragraph in &paragraphs {
        text += &format!("{paragraph}\n\n");
    }
    if let Some(link) = &content.link {
        text += &format!("{label}: {link}\n\n");
    }
    for (name, value) in &facts {
        text += &format!("{name}: {value}\n");
    }
    text += &format!("\n-- \n{footer}\n{}\n", reference(message));

    let body = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (subject) }
            }
            body style="font-family:system-ui,sans-serif;line-height:1.5;max-width:36em;margin:1.5em auto;padding:0 1em" {
                @for paragraph in &paragraphs { p { (paragraph) } }
                @if let Some(link) = &content.link {
                    p { a href=(link) style="font-weight:bold" { (label) } }
                }
                table style="border-collapse:collapse" {
                    @for (name, value) in &facts {
                        tr {
                            th style="text-align:left;padding:.2em 1em .2em 0;font-weight:normal;opacity:.7" { (name) }
                            td { (value) }
                        }
                    }
                }
                p style="opacity:.7;font-size:.85em" { (footer) " " (reference(message)) }
            }
        }
    };
    Rendered::Email { subject, text, html: body.into_string() }
}

fn webhook(message: &OutboxMessage) -> serde_json::Value {
    let content = &message.content;
    json!({
        "type": format!("liftline.{}", purpose(content.purpose)),
        "timestamp": message.created_at,
        "data": {
            "message": message.id,
            "org": message.org,
            "reference": reference(message),
            "ticket": message.ticket,
            "ticket_number": content.ticket_number,
            "kind": content.kind,
            "severity": content.severity,
            "life_safety": message.life_safety,
            "title": content.title,
            "reason": content.reason,
            "device": content.device_name,
            "plate": content.plate,
            "site": { "name": content.site_name, "address": content.site_address },
            "level": content.level.map(model::RescueLevel::number),
            "milestone": content.milestone,
            "at": content.at,
            "link": content.link,
            "text": content.text,
        },
    })
}

/// The name of a purpose in webhooks and metrics.
pub(crate) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Page => "page",
        Purpose::StandDown => "stand_down",
        Purpose::CareLink => "care_link",
        Purpose::Progress => "progress",
        Purpose::Notice => "notice",
        Purpose::Update => "update",
        Purpose::Answer => "answer",
    }
}

/// A time as written in messages: the site's zone is not known here, so it says UTC.
fn utc(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(date), Some(time)) => format!("{date} {time} UTC"),
        _ => text,
    }
}

/// A number or name, said character by character.
fn spell(text: &str) -> impl fmt::Display {
    text.chars().filter(|c| c.is_alphanumeric()).map(String::from).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
