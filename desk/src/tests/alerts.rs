//! Alerts that join and clear.

use model::{Alert, AlertSource, MilestoneKind, Scope, Severity, TicketKind};

use super::script::{ANN, Do::*, Stage, alert, check, minute, roster, two_levels};
use crate::{Action::*, Actor, Event, Status, transition};

fn breakdown() -> Stage {
    Stage::of(TicketKind::Breakdown).policy(two_levels)
}

#[test]
fn an_alert_joins_once_and_raises_the_severity_for_the_next_step() {
    let ticket = check(
        &breakdown(),
        &[
            (0, Raise("first", Severity::Major, false)),
            (1, Raise("smoke", Severity::Critical, false)),
            (1, Raise("noise", Severity::Minor, false)),
            (2, Tick),
        ],
        &[
            "1m raised smoke",
            "1m raised noise",
            "2m page station sms",
            "2m page station voice",
            "2m page station webhook",
        ],
    );
    assert_eq!((ticket.severity, ticket.alerts.len()), (Severity::Critical, 3));
}

#[test]
fn nobody_is_paged_again_after_an_answer_unless_a_life_is_at_stake() {
    check(
        &breakdown(),
        &[
            (1, Board(Acknowledge)),
            (2, Raise("smoke", Severity::Critical, false)),
            (3, Raise("person", Severity::Critical, true)),
            (4, Raise("person_2", Severity::Critical, true)),
            (5, Sms(ANN, Acknowledge)),
        ],
        &[
            "1m acknowledged",
            "1m cancel pages",
            "1m stand down ann sms",
            "1m stand down bob sms",
            "2m raised smoke",
            "3m raised person",
            "3m page ann sms",
            "3m page ann voice",
            "3m page ann email",
            "3m page bob sms",
            "3m page bob voice",
            "4m raised person_2",
            "5m contacted",
            "5m assigned ann",
            "5m dispatched",
            "5m cancel pages",
            "5m stand down bob sms",
        ],
    );
}

#[test]
fn a_ticket_closes_by_itself_when_every_alert_has_cleared() {
    let ticket = check(
        &breakdown(),
        &[
            (1, Raise("smoke", Severity::Critical, false)),
            (1, Clear("unknown")),
            (1, Clear("smoke")),
            (1, Clear("smoke")),
            (2, Clear("first")),
            (9, Tick),
        ],
        &[
            "1m raised smoke",
            "1m cleared smoke",
            "2m cleared first",
            "2m restored",
            "2m closed",
            "2m cancel pages",
            "2m stand down ann sms",
            "2m stand down bob sms",
        ],
    );
    assert_eq!(ticket.status, Status::Closed);
    let restored = ticket.milestone(MilestoneKind::Restored).unwrap();
    assert_eq!(restored.proof.en, "All 2 alerts have cleared, the last one: first");
    assert_eq!(restored.proof.zh, "全部2条告警均已解除，最后一条：first");
    assert_eq!(ticket.milestone(MilestoneKind::Closed).unwrap().actor, Actor::Hub);
}

#[test]
fn the_lift_reports_the_end_of_the_alarm() {
    let ticket = check(
        &Stage::of(TicketKind::Entrapment),
        &[(1, Sms(ANN, EnRoute)), (4, Clear("first"))],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
            "1m en_route",
            "4m cleared first",
            "4m released",
            "4m restored",
            "4m closed",
            "4m cancel pages",
            "4m stand down ann sms",
        ],
    );
    assert!(matches!(ticket.milestone(MilestoneKind::Released).unwrap().actor, Actor::Device { .. }));
}

#[test]
fn an_entrapment_that_only_a_prediction_ends_waits_for_the_release_and_goes_on_calling() {
    let stage = Stage::of(TicketKind::Entrapment);
    let (ticket, _) = stage.open();
    let cleared = Alert {
        source: AlertSource::Forecast,
        kind: TicketKind::Entrapment,
        cleared_at: Some(minute(1)),
        ..alert("first", Severity::Critical, true)
    };
    let event = Event::AlertCleared(Box::new(cleared));
    let (ticket, _) = transition(&ticket, &event, &roster(), minute(1)).unwrap();
    assert_eq!((ticket.status, ticket.next_due()), (Status::Restored, Some(minute(3))));
    let event = Sms(ANN, Released).event(TicketKind::Entrapment, minute(2));
    let (ticket, _) = transition(&ticket, &event, &roster(), minute(2)).unwrap();
    assert_eq!((ticket.status, ticket.next_due()), (Status::Closed, None));
}

#[test]
fn an_entrapment_that_was_withdrawn_has_let_nobody_out() {
    let stage = Stage::of(TicketKind::Entrapment);
    let (ticket, _) = stage.open();
    let mut withdrawn = alert("first", Severity::Critical, true);
    withdrawn.kind = TicketKind::Entrapment;
    withdrawn.cleared_at = Some(minute(1));
    withdrawn.evidence.withdrawn = true;
    let (ticket, _) = transition(&ticket, &Event::AlertCleared(Box::new(withdrawn)), &roster(), minute(1)).unwrap();
    assert!(ticket.milestone(MilestoneKind::Released).is_none(), "nobody said so");
    assert_eq!((ticket.status, ticket.next_due()), (Status::Restored, Some(minute(3))), "people are still called");
}

#[test]
fn a_restored_ticket_takes_a_new_alert_and_calls_again_if_nobody_has_it() {
    let stage = breakdown().policy(|policy| policy.close_when_restored = false);
    let ticket = check(
        &stage,
        &[(1, Clear("first")), (5, Raise("again", Severity::Major, false))],
        &[
            "1m cleared first",
            "1m restored",
            "1m cancel pages",
            "1m stand down ann sms",
            "1m stand down bob sms",
            "5m raised again",
            "5m page ann sms",
            "5m page ann email",
            "5m page bob sms",
        ],
    );
    assert_eq!(ticket.status, Status::Open);
}

#[test]
fn a_restored_ticket_that_somebody_has_takes_a_new_alert_in_silence() {
    let stage = Stage::of(TicketKind::Breakdown).policy(|policy| policy.close_when_restored = false);
    let ticket = check(
        &stage,
        &[
            (1, Board(Acknowledge)),
            (2, Clear("first")),
            (5, Raise("again", Severity::Major, false)),
            (6, Clear("again")),
        ],
        &[
            "1m acknowledged",
            "1m cancel pages",
            "1m stand down ann sms",
            "1m stand down bob sms",
            "2m cleared first",
            "2m restored",
            "5m raised again",
            "6m cleared again",
        ],
    );
    assert_eq!(ticket.milestone(MilestoneKind::Restored).unwrap().at, minute(2));
}

#[test]
fn a_second_entrapment_after_the_first_was_over_calls_again() {
    let stage = Stage::of(TicketKind::Entrapment).policy(|policy| policy.close_when_restored = false);
    check(
        &stage,
        &[(1, Sms(ANN, Acknowledge)), (2, Clear("first")), (9, Raise("again", Severity::Critical, true))],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
            "2m cleared first",
            "2m released",
            "2m restored",
            "9m raised again",
            "9m page ann sms",
            "9m page ann voice",
            "9m page ann email",
            "9m page bob sms",
            "9m page bob voice",
        ],
    );
}

#[test]
fn a_ticket_about_a_site_names_no_device() {
    let mut stage = Stage::of(TicketKind::Outage);
    stage.alert.scope = Scope::Site;
    let (ticket, _) = stage.open();
    assert_eq!(ticket.device, None);
    assert!(ticket.group_key.starts_with("site:"));
}

#[test]
fn a_flapping_device_does_not_make_the_ticket_grow_without_end() {
    let stage = breakdown().policy(|policy| policy.close_when_restored = false);
    let (mut ticket, _) = stage.open();
    for n in 0..600 {
        let raised = alert(&format!("flap_{n}"), Severity::Minor, false);
        let cleared = Alert { cleared_at: Some(minute(1)), ..raised.clone() };
        for event in [Event::AlertRaised(Box::new(raised)), Event::AlertCleared(Box::new(cleared))] {
            ticket = transition(&ticket, &event, &stage.roster, minute(1)).unwrap().0;
        }
    }
    assert_eq!(ticket.alerts.len(), 500);
    assert_eq!(ticket.open_alerts().count(), 1);
}
