//! Who is called, when, and what stops it.

use std::time::Duration;

use model::{
    AlertSource, Evidence, Localised, MessageChannel, OrgId, ProfileId, Receiver, RescueLevel, RuleId, Scope, Severity,
    SiteId, TicketKind,
};
use store::DutyContact;

use super::*;

const ANN: &str = "+15550100001";
const STATION: &str = "+15550100002";

fn contact(level: RescueLevel, number: &str) -> DutyContact {
    DutyContact {
        org: OrgId(Uuid::nil()),
        site: SiteId(Uuid::nil()),
        level,
        person: PersonId(Uuid::new_v5(&Uuid::nil(), number.as_bytes())),
        name: number.to_owned(),
        language: Language::En,
        receivers: vec![Receiver { channel: MessageChannel::Sms, address: number.to_owned() }],
    }
}

fn world() -> World {
    let duty = vec![contact(RescueLevel::Maintainer, ANN), contact(RescueLevel::Station, STATION)];
    World { duty: Arc::new(DutyBook::new(duty, Vec::new())), directory: Arc::new(Directory::default()) }
}

fn alert(life_safety: bool) -> Alert {
    let device = model::DeviceId::new("lift-1").unwrap();
    let rule = RuleId::new("entrapment").unwrap();
    Alert {
        id: AlertId(Uuid::from_u128(7)),
        org: OrgId(Uuid::nil()),
        site: SiteId(Uuid::nil()),
        device,
        profile: ProfileId::new("lift").unwrap(),
        rule,
        rule_version: 1,
        source: AlertSource::Rule,
        kind: if life_safety { TicketKind::Entrapment } else { TicketKind::Breakdown },
        scope: Scope::Device,
        severity: Severity::Critical,
        life_safety,
        title: Localised::new("Person trapped", "有人被困"),
        evidence: Evidence::default(),
        runbook: None,
        raised_at: now(0),
        cleared_at: None,
    }
}

fn now(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600) + Duration::from_secs(seconds)
}

fn said(step: &Step) -> Vec<(String, Purpose)> {
    let said = |call: &Call| (call.message.receiver.address.clone(), call.message.content.purpose);
    step.calls.iter().map(said).collect()
}

fn desk() -> EmergencyDesk {
    EmergencyDesk::new(Policies::default())
}

#[test]
fn only_life_safety_is_acted_on_and_once() {
    let (mut desk, world) = (desk(), world());
    assert!(desk.change(&AlertChange::Raised(Box::new(alert(false))), &world, now(0)).is_empty());
    let raised = AlertChange::Raised(Box::new(alert(true)));
    let step = desk.change(&raised, &world, now(0));
    assert_eq!(said(&step), [(ANN.to_owned(), Purpose::Page)]);
    assert!(matches!(step.notes[0].what, EmergencyStep::Raised { .. }));
    assert!(desk.change(&raised, &world, now(1)).is_empty());
}

#[test]
fn silence_calls_the_next_level_and_an_answer_ends_the_calling() {
    let (mut desk, world) = (desk(), world());
    let first = desk.change(&AlertChange::Raised(Box::new(alert(true))), &world, now(0));
    assert!(desk.tick(&world, now(60)).is_empty(), "there is time left to answer");
    let step = desk.tick(&world, now(3600));
    assert_eq!(said(&step), [(STATION.to_owned(), Purpose::Page)]);
    assert!(desk.owes(first.calls[0].message.id), "Ann's page is tried on");
    assert_eq!(step.notes.iter().map(|note| note.what.clone()).collect::<Vec<_>>(), [EmergencyStep::Ticked]);

    assert!(desk.reply("+15550109999", None, &Action::Acknowledge, &world, now(3601)).is_none(), "nobody called them");
    let (answered, step) = desk.reply(STATION, None, &Action::Acknowledge, &world, now(3602)).unwrap();
    assert_eq!(answered.refused, None);
    assert_eq!(said(&step), [(ANN.to_owned(), Purpose::StandDown)]);
    assert!(!desk.owes(first.calls[0].message.id), "nobody is paged for what somebody has accepted");
    assert!(desk.owes(step.calls[0].message.id));
    assert!(desk.tick(&world, now(3602 + 600)).calls.iter().all(|call| call.message.content.purpose != Purpose::Page));
}

#[test]
fn the_end_of_the_alert_tells_those_who_were_called() {
    let (mut desk, world) = (desk(), world());
    desk.change(&AlertChange::Raised(Box::new(alert(true))), &world, now(0));
    let ended = Alert { cleared_at: Some(now(30)), ..alert(true) };
    let step = desk.change(&AlertChange::Cleared(Box::new(ended)), &world, now(31));
    assert_eq!(said(&step), [(ANN.to_owned(), Purpose::StandDown)]);
    assert!(matches!(step.notes[0].what, EmergencyStep::Cleared { .. }));
    desk.clear();
    assert!(desk.is_empty());
}

#[test]
fn an_open_ticket_of_the_database_is_escalated_past_and_answered() {
    let (mut desk, world) = (desk(), world());
    let alert = alert(true);
    let roster = world.duty.roster(alert.site);
    let policies = Policies::default();
    let (ticket, _) = ::desk::open(policies.get(alert.kind), TicketId(Uuid::from_u128(9)), 4, &alert, &roster, now(0));
    let due = ticket.next_due().unwrap();
    let mut paged = EmergencyDesk::new(Policies::default())
        .change(&AlertChange::Raised(Box::new(alert.clone())), &world, now(0))
        .calls
        .remove(0)
        .message;
    paged.content.reply_code = Some(3);
    let case = KnownCase { ticket, alerts: vec![alert.clone()], pages: vec![paged.clone()] };
    assert_eq!((desk.adopt([&case].into_iter()), desk.adopt([&case].into_iter())), (1, 0));
    assert!(desk.is_all_adopted());
    assert!(desk.tick(&world, due - Duration::from_secs(1)).is_empty(), "nobody is called twice");
    let step = desk.tick(&world, due);
    assert_eq!(said(&step), [(STATION.to_owned(), Purpose::Page)]);
    assert_eq!((step.notes[0].alert, &step.notes[0].what), (alert.id, &EmergencyStep::Ticked));
    let (answered, step) = desk.reply(STATION, None, &Action::Acknowledge, &world, due).unwrap();
    assert_eq!(answered.refused, None);
    assert!(matches!(step.notes[0].what, EmergencyStep::Acted { .. }));
    // Ann answers by the number that her page had, and by a key in the call that it was.
    assert!(desk.reply(ANN, Some(4), &Action::EnRoute, &world, due).is_none(), "nobody called her by this number");
    let (answered, step) = desk.reply(ANN, Some(3), &Action::EnRoute, &world, due).unwrap();
    assert_eq!((answered.number, answered.refused, step.notes.len()), (Some(4), None, 1));
    assert!(desk.key(paged.id, None, &world, due).is_some());
    // The same people in danger: no second case.
    let again = Alert { id: AlertId(Uuid::from_u128(8)), ..alert };
    assert!(said(&desk.change(&AlertChange::Raised(Box::new(again)), &world, due)).is_empty());
    assert!(desk.is_all_adopted());
}
