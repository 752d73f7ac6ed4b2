//! A message for the tests of this crate.

use std::time::Duration;

use model::{
    Language, Localised, MessageChannel, MessageContent, OrgId, OutboxId, OutboxMessage, PersonId, Purpose, Receiver,
    RescueLevel, Severity, TicketId, TicketKind, Timestamp,
};
use uuid::Uuid;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_secs(1_767_225_600)
}

/// A page about an entrapment, by SMS, in English.
pub(crate) fn page() -> OutboxMessage {
    OutboxMessage {
        id: OutboxId(Uuid::from_u128(0x0190_c2c4_0000_7000_8000_0000_0000_ab3f)),
        org: OrgId(Uuid::from_u128(1)),
        ticket: Some(TicketId(Uuid::from_u128(2))),
        person: Some(PersonId(Uuid::from_u128(3))),
        affected: None,
        receiver: Receiver { channel: MessageChannel::Sms, address: "+447700900123".to_owned() },
        language: Language::En,
        content: MessageContent {
            purpose: Purpose::Page,
            ticket_number: 12,
            kind: TicketKind::Entrapment,
            severity: Severity::Critical,
            title: Localised::new("Person may be shut in between floors", "轿厢停在层间，可能有人被困"),
            reason: Localised::new(
                "Alarm button pressed, doors closed, car stopped 1.2 m from the door zone for 20 s.",
                "报警按钮按下，轿门关闭，轿厢停在距开锁区 1.2 m 处已 20 秒。",
            ),
            device_name: "Lift 2".to_owned(),
            plate: Some("120345".to_owned()),
            site_name: "East Tower".to_owned(),
            site_address: "12 High Street".to_owned(),
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
