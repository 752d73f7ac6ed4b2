//! What affected people and subscribers are told.

use model::{Language, MessageChannel, Purpose, TicketKind};

use super::script::{ANN, Do::*, OLGA, Stage, assign, check, check_from_opening, contact, minute};
use crate::{Action::*, Effect, Event, Ticket, transition};

/// An entrapment that pages nobody, so that only the news shows.
fn quiet() -> Stage {
    Stage::of(TicketKind::Entrapment).policy(|policy| {
        policy.steps.clear();
        policy.tell_subscribers = true;
    })
}

#[test]
fn the_person_inside_hears_the_furthest_news_of_each_event_once() {
    check(
        &quiet(),
        &[
            (1, Affected("mei")),
            (1, Affected("mei")),
            (2, Sms(ANN, EnRoute)),
            (3, Sms(ANN, EnRoute)),
            (9, Sms(ANN, Arrived)),
            (12, Clear("first")),
        ],
        &[
            "1m affected added",
            "1m care link sms",
            "2m contacted",
            "2m acknowledged",
            "2m assigned ann",
            "2m dispatched",
            "2m en_route",
            "2m tell affected en_route",
            "9m arrived",
            "9m tell affected arrived",
            "12m cleared first",
            "12m released",
            "12m restored",
            "12m closed",
            "12m cancel pages",
            "12m stand down ann sms",
            "12m tell affected closed",
            "12m tell olga closed",
        ],
    );
}

#[test]
fn what_lies_behind_is_no_news_except_that_the_person_is_out() {
    let stage = quiet().policy(|policy| policy.close_when_restored = false);
    check(
        &stage,
        &[(1, Affected("mei")), (2, Board(Arrived)), (3, Board(assign(OLGA))), (4, Board(Released))],
        &[
            "1m affected added",
            "1m care link sms",
            "2m acknowledged",
            "2m arrived",
            "2m tell affected arrived",
            "3m assigned olga",
            "3m dispatched",
            "3m page olga sms",
            "3m page olga voice",
            "4m released",
            "4m tell affected released",
        ],
    );
}

#[test]
fn subscribers_hear_of_the_ticket_and_of_its_end_if_the_policy_says_so() {
    let script = [(1, Board(Acknowledge)), (2, Clear("first"))];
    check_from_opening(
        &quiet(),
        &script,
        &[
            "0m opened",
            "0m raised first",
            "0m detected",
            "0m notice olga sms",
            "1m acknowledged",
            "2m cleared first",
            "2m released",
            "2m restored",
            "2m closed",
            "2m tell olga closed",
        ],
    );
    let silent = quiet().policy(|policy| policy.tell_subscribers = false);
    check_from_opening(&silent, &script[..1], &["0m opened", "0m raised first", "0m detected", "1m acknowledged"]);
}

#[test]
fn a_subscriber_is_told_once_and_never_by_a_ringing_telephone() {
    let mut stage = quiet();
    let mut by_mail = contact(ANN);
    by_mail.receivers.retain(|receiver| receiver.channel != MessageChannel::Sms);
    let mut by_voice = contact("bob");
    by_voice.receivers.retain(|receiver| receiver.channel == MessageChannel::Voice);
    stage.roster.subscribers = vec![by_mail.clone(), by_mail, by_voice];
    check_from_opening(&stage, &[], &["0m opened", "0m raised first", "0m detected", "0m notice ann email"]);
}

#[test]
fn a_care_link_speaks_the_language_of_its_receiver() {
    let stage = quiet();
    let (ticket, _) = stage.open();
    let event = Affected("mei").event(ticket.kind, minute(1));
    let (_, effects) = transition(&ticket, &event, &stage.roster, minute(1)).unwrap();
    let sends: Vec<_> = effects.iter().filter_map(send).collect();
    assert_eq!(sends.len(), 1);
    assert_eq!((sends[0].purpose, sends[0].language), (Purpose::CareLink, Language::Zh));
    assert!(sends[0].dedup_key.starts_with("care:"));
}

#[test]
fn a_ticket_has_a_limit_of_affected_people() {
    let stage = quiet();
    let (mut ticket, _) = stage.open();
    let add = |ticket: &Ticket, n: u128| {
        let Event::AffectedAdded { actor, mut affected } = Affected("mei").event(ticket.kind, minute(1)) else {
            panic!("an affected person")
        };
        affected.id = model::AffectedId(uuid::Uuid::from_u128(n));
        transition(ticket, &Event::AffectedAdded { actor, affected }, &stage.roster, minute(1))
    };
    for n in 0..100 {
        ticket = add(&ticket, n).unwrap().0;
    }
    let refused = add(&ticket, 100).unwrap_err().to_string();
    assert_eq!(refused, "ticket 7 already has 100 affected people; write the others into a note");
}

#[test]
fn two_numbers_of_one_kind_have_keys_of_their_own() {
    let mut stage = Stage::of(TicketKind::Entrapment);
    let second = stage.roster.on_call[0].1[0].receivers[0].clone();
    stage.roster.on_call[0].1[0].receivers.push(second);
    let (_, effects) = stage.open();
    let keys: Vec<_> = effects.iter().filter_map(send).map(|message| message.dedup_key.as_str()).collect();
    assert!(keys[0].starts_with("page:1:") && keys[0].ends_with(":sms"), "{keys:?}");
    assert!(keys[1].ends_with(":sms:2"), "{keys:?}");
}

fn send(effect: &Effect) -> Option<&crate::Notification> {
    match effect {
        Effect::Send(message) => Some(message),
        Effect::CancelPages | Effect::Log(_) => None,
    }
}
