//! The mailer against a server that answers as a test tells it to.

use std::sync::Mutex;

use model::MessageChannel;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{Notifier, config::NotifyConfig, fixture};

fn message() -> OutboxMessage {
    let mut message = fixture::page();
    message.receiver.channel = MessageChannel::Email;
    message.receiver.address = "ann@example.org".to_owned();
    message
}

/// What the server answers; an empty answer hangs up.
#[derive(Clone, Copy)]
struct Script {
    greeting: &'static str,
    recipient: &'static str,
    end: &'static str,
}

const GOOD: Script = Script { greeting: "220 test", recipient: "250 ok", end: "250 queued" };

fn notifier(port: u16) -> Notifier {
    let config: NotifyConfig = serde_json::from_value(serde_json::json!({
        "smtp": {
            "host": "127.0.0.1", "port": port, "security": "none",
            "from": "Liftline <lift@hub.example>", "timeout": "2s",
        },
    }))
    .unwrap();
    Notifier::new(&config).unwrap()
}

/// Sends the message to such a server; returns the outcome and all that the server was told.
async fn send(message: &OutboxMessage, script: Script) -> (Outcome, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notifier = notifier(listener.local_addr().unwrap().port());
    let told = Mutex::new(String::new());
    let server = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that hangs up ends its session, not the server.
            drop(session(stream, script, &told).await);
        }
    };
    let outcome = tokio::select! {
        outcome = notifier.send(message, fixture::now()) => outcome,
        () = server => unreachable!("the server goes on for ever"),
    };
    (outcome, told.into_inner().unwrap())
}

async fn session(stream: TcpStream, script: Script, told: &Mutex<String>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut answer = script.greeting;
    let mut in_data = false;
    loop {
        if answer.is_empty() {
            return Ok(());
        }
        lines.write_all(format!("{answer}\r\n").as_bytes()).await?;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            told.lock().unwrap().push_str(&line);
            if !in_data || line == ".\r\n" {
                answer = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
                    "." => script.end,
                    "DATA" => "354 go on",
                    "RCPT" => script.recipient,
                    _ => "250 ok",
                };
                in_data = line.starts_with("DATA");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_mail_is_sent_with_a_stable_id() {
    let (outcome, told) = send(&message(), GOOD).await;
    let id = "<0190c2c4-0000-7000-8000-00000000ab3f@hub.example>";
    assert_eq!(outcome, Outcome::Sent { provider_id: id.to_owned() });
    for header in [
        format!("Message-ID: {id}"),
        "Subject: [#12] ENTRAPMENT level 1: Lift 2, East Tower".to_owned(),
        "To: ann@example.org".to_owned(),
        "Auto-Submitted: auto-generated".to_owned(),
        "Date: Thu, 01 Jan 2026 00:00:00 +0000".to_owned(),
        "References: <ticket-00000000-0000-0000-0000-000000000002@hub.example>".to_owned(),
        "multipart/alternative".to_owned(),
    ] {
        assert!(told.contains(&header), "{header} is missing in:\n{told}");
    }
}

#[tokio::test]
async fn a_name_cannot_add_a_header() {
    let mut message = message();
    message.content.site_name = "Tower\r\nBcc: everyone@example.org".to_owned();
    let (_, told) = send(&message, GOOD).await;
    assert!(told.contains("Subject:"), "{told}");
    let headers = told.split("Content-Transfer-Encoding").next().unwrap();
    assert!(!headers.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc:")), "{told}");
}

#[tokio::test]
async fn what_the_server_says_is_understood() {
    for (script, expected) in [
        (Script { recipient: "550 5.1.1 no such user", ..GOOD }, "dead"),
        (Script { recipient: "450 4.2.1 greylisted, come back", ..GOOD }, "retry"),
        (Script { end: "554 5.7.1 this is spam", ..GOOD }, "dead"),
        (Script { end: "451 4.3.0 out of space", ..GOOD }, "retry"),
        (Script { recipient: "530 5.7.0 login first", ..GOOD }, "retry"),
        (Script { greeting: "421 too busy", ..GOOD }, "retry"),
        // The mail left and the connection broke: it may have been queued.
        (Script { end: "", ..GOOD }, "unknown"),
    ] {
        let (outcome, _) = send(&message(), script).await;
        let name = match &outcome {
            Outcome::Sent { .. } => "sent",
            Outcome::Retry { .. } => "retry",
            Outcome::Unknown { .. } => "unknown",
            Outcome::Dead { .. } => "dead",
        };
        assert_eq!(name, expected, "{outcome:?}");
    }
}

#[tokio::test]
async fn an_absent_server_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notifier = notifier(listener.local_addr().unwrap().port());
    drop(listener);
    let outcome = notifier.send(&message(), fixture::now()).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_wrong_address_is_dead() {
    let mut message = message();
    message.receiver.address = "ann at example".to_owned();
    let (outcome, _) = send(&message, GOOD).await;
    assert!(matches!(&outcome, Outcome::Dead { reason } if reason.contains("not an e-mail address")), "{outcome:?}");
}
