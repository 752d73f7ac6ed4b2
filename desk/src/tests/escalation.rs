//! Who is called when, and what stops it.

use std::time::Duration;

use model::{RescueLevel::FireService, RescueLevel::Maintainer, RescueLevel::Station, Severity, TicketKind};

use super::script::{
    ANN, BOB, Do::*, FIRE, STATION, Stage, assign, check, check_from_opening, contact, minute, roster, two_levels,
};
use crate::{Action::*, Effect, Event, Status, Step, transition};

fn entrapment() -> Stage {
    Stage::of(TicketKind::Entrapment)
}

fn breakdown() -> Stage {
    Stage::of(TicketKind::Breakdown).policy(two_levels)
}

#[test]
fn an_entrapment_rings_every_way_and_climbs_three_levels_and_starts_over() {
    check_from_opening(
        &entrapment(),
        &[(2, Tick), (3, Tick), (4, Tick), (5, Tick), (9, Tick), (10, Tick)],
        &[
            "0m opened",
            "0m raised first",
            "0m detected",
            "0m page ann sms",
            "0m page ann voice",
            "0m page ann email",
            "0m page bob sms",
            "0m page bob voice",
            "3m page station sms",
            "3m page station voice",
            "3m page station webhook",
            "5m page fire voice",
            "10m page ann sms",
            "10m page ann voice",
            "10m page ann email",
            "10m page bob sms",
            "10m page bob voice",
        ],
    );
}

#[test]
fn a_breakdown_sends_one_text_and_stops_when_the_policy_is_exhausted() {
    let ticket = check_from_opening(
        &breakdown(),
        &[(2, Tick), (5, Tick), (60, Tick)],
        &[
            "0m opened",
            "0m raised first",
            "0m detected",
            "0m page ann sms",
            "0m page ann email",
            "0m page bob sms",
            "2m page station sms",
            "2m page station webhook",
            "5m exhausted",
        ],
    );
    assert_eq!(
        (ticket.escalation.next_at, ticket.next_due()),
        (None, Some(minute(5 + 4 * 60))),
        "it repeats after 4 h"
    );
}

#[test]
fn repeats_go_through_the_levels_again() {
    check(
        &breakdown().policy(|policy| policy.repeats = 1).away(&[Station]),
        &[(2, Tick), (4, Tick)],
        &[
            "2m nobody at 2",
            "2m page ann sms",
            "2m page ann email",
            "2m page bob sms",
            "4m nobody at 2",
            "4m exhausted",
        ],
    );
}

#[test]
fn a_level_with_nobody_is_passed_over_at_once() {
    check_from_opening(
        &breakdown().away(&[Maintainer]),
        &[(3, Tick)],
        &[
            "0m opened",
            "0m raised first",
            "0m detected",
            "0m nobody at 1",
            "0m page station sms",
            "0m page station webhook",
            "3m exhausted",
        ],
    );
}

#[test]
fn with_nobody_at_any_level_it_tries_again_up_to_the_repeats() {
    let stage = breakdown().policy(|policy| policy.repeats = 1).away(&[Maintainer, Station]);
    let ticket = check_from_opening(
        &stage,
        &[(2, Tick), (4, Tick)],
        &[
            "0m opened",
            "0m raised first",
            "0m detected",
            "0m nobody at 1",
            "0m nobody at 2",
            "0m exhausted",
            "2m nobody at 1",
            "2m nobody at 2",
            "2m exhausted",
        ],
    );
    assert_eq!(
        (ticket.escalation.next_at, ticket.next_due()),
        (None, Some(minute(2 + 4 * 60))),
        "it repeats after 4 h"
    );
}

#[test]
fn somebody_comes_on_call_while_it_tries_again() {
    let stage = breakdown().policy(|policy| policy.repeats = 1).away(&[Maintainer, Station]);
    let (ticket, _) = stage.open();
    let (_, effects) = transition(&ticket, &Event::Tick, &roster(), minute(2)).unwrap();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(page) if page.level == Some(Maintainer))));
}

#[test]
fn a_life_safety_ticket_never_stops_trying_and_says_when_it_is_beyond_the_policy() {
    let stage = entrapment().policy(two_levels);
    check(
        &stage,
        &[(2, Tick), (2, Away(&[Maintainer])), (5, Tick), (8, Away(&[Station])), (8, Tick), (11, Tick)],
        &[
            "2m page station sms",
            "2m page station voice",
            "2m page station webhook",
            "5m exhausted",
            "5m nobody at 1",
            "5m page station sms",
            "5m page station voice",
            "5m page station webhook",
            "8m exhausted",
            "8m nobody at 1",
            "8m nobody at 2",
            "11m exhausted",
            "11m nobody at 1",
            "11m nobody at 2",
        ],
    );
}

#[test]
fn a_policy_without_steps_pages_nobody() {
    let ticket = check_from_opening(
        &breakdown().policy(|policy| policy.steps.clear()),
        &[(60, Tick), (61, Board(Escalate))],
        &[
            "0m opened",
            "0m raised first",
            "0m detected",
            "61m refused: tickets like 7 have no levels to call; assign a person instead",
        ],
    );
    assert_eq!(ticket.next_due(), None);
}

#[test]
fn a_late_tick_takes_one_step_and_leaves_time_to_answer() {
    let stage = entrapment();
    let (ticket, _) = stage.open();
    // Due at 3, taken at 20: the station has half of its two minutes, not none.
    let (ticket, effects) = transition(&ticket, &Event::Tick, &stage.roster, minute(20)).unwrap();
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Send(_))).count(), 3);
    assert_eq!(ticket.next_due(), Some(minute(21)));
    let (ticket, _) = transition(&ticket, &Event::Tick, &stage.roster, minute(21)).unwrap();
    assert_eq!((ticket.escalation.level, ticket.next_due()), (Some(FireService), Some(minute(26))));
}

#[test]
fn a_slightly_late_tick_does_not_shift_the_clock() {
    let stage = entrapment();
    let (ticket, _) = stage.open();
    let late = minute(3) + Duration::from_millis(900);
    let (ticket, _) = transition(&ticket, &Event::Tick, &stage.roster, late).unwrap();
    assert_eq!(ticket.next_due(), Some(minute(5)));
}

#[test]
fn a_wait_of_zero_does_not_fire_twice_at_one_time() {
    let zero = |policy: &mut crate::Policy| policy.steps = vec![Step { level: Maintainer, wait: Duration::ZERO }];
    let ticket = check(
        &entrapment().policy(zero),
        &[(1, Tick)],
        &["1m page ann sms", "1m page ann voice", "1m page ann email", "1m page bob sms", "1m page bob voice"],
    );
    assert!(ticket.next_due() > Some(minute(1)));
}

#[test]
fn an_acknowledgement_stops_the_calling_and_stands_the_others_down() {
    let ticket = check(
        &entrapment().policy(|policy| policy.arrive_within = None),
        &[(1, Sms(ANN, Acknowledge)), (3, Tick), (5, Tick)],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
        ],
    );
    assert_eq!((ticket.status, ticket.next_due()), (Status::Acknowledged, None));
}

#[test]
fn a_dispatcher_acknowledges_then_assigns() {
    check(
        &entrapment(),
        &[(1, Board(Acknowledge)), (2, Board(assign(BOB))), (3, Board(assign(BOB))), (4, Board(assign(ANN)))],
        &[
            "1m acknowledged",
            "1m cancel pages",
            "1m stand down ann sms",
            "1m stand down bob sms",
            "2m assigned bob",
            "2m dispatched",
            "2m cancel pages",
            "2m page bob sms",
            "2m page bob voice",
            "4m assigned ann",
            "4m cancel pages",
            "4m stand down bob sms",
            "4m page ann sms",
            "4m page ann voice",
            "4m page ann email",
        ],
    );
}

#[test]
fn assigning_answers_for_the_ticket_too() {
    let ticket = check(
        &breakdown(),
        &[(1, Board(assign(STATION))), (2, Tick)],
        &[
            "1m acknowledged",
            "1m assigned station",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down ann sms",
            "1m stand down bob sms",
            "1m page station sms",
            "1m page station webhook",
        ],
    );
    assert_eq!(ticket.status, Status::Acknowledged);
}

#[test]
fn whoever_declines_first_leaves_it_to_the_others_and_the_last_one_escalates() {
    check(
        &entrapment(),
        &[(1, Sms(ANN, Decline)), (1, Sms(ANN, Decline)), (2, Sms(BOB, Decline)), (3, Tick), (4, Tick)],
        &[
            "1m declined",
            "1m contacted",
            "2m declined",
            "2m page station sms",
            "2m page station voice",
            "2m page station webhook",
            "4m page fire voice",
        ],
    );
}

#[test]
fn an_assignee_who_declines_sets_the_calling_going_again() {
    let ticket = check(
        &entrapment(),
        &[(1, Sms(ANN, Acknowledge)), (2, Sms(ANN, Decline))],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
            "2m declined",
            "2m page station sms",
            "2m page station voice",
            "2m page station webhook",
        ],
    );
    assert_eq!((ticket.status, ticket.assignee), (Status::Open, None));
}

#[test]
fn the_only_person_of_all_levels_is_not_called_back_in_the_moment_they_decline() {
    let mut stage = breakdown().away(&[Station]).policy(|policy| policy.repeats = 2);
    stage.roster.on_call[0].1 = vec![contact(BOB)];
    check(
        &stage,
        &[(1, Sms(BOB, Decline)), (4, Tick)],
        &[
            "1m declined",
            "1m contacted",
            "1m nobody at 2",
            "1m nobody at 1",
            "1m exhausted",
            "4m nobody at 2",
            "4m page bob sms",
        ],
    );
}

#[test]
fn escalating_calls_the_next_level_now_and_a_stale_press_does_nothing() {
    check(
        &entrapment(),
        &[(1, Stale(ANN, 0)), (2, Stale(BOB, 0)), (2, Tick), (3, Tick)],
        &[
            "1m contacted",
            "1m page station sms",
            "1m page station voice",
            "1m page station webhook",
            "3m page fire voice",
        ],
    );
}

#[test]
fn a_press_on_a_page_does_nothing_once_somebody_else_has_it_but_the_assignee_can_ask_for_help() {
    check(
        &entrapment(),
        &[(1, Sms(ANN, Acknowledge)), (2, Stale(BOB, 0)), (3, Stale(ANN, 0))],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
            "3m page station sms",
            "3m page station voice",
            "3m page station webhook",
        ],
    );
}

#[test]
fn nobody_on_site_in_time_resumes_with_the_next_level_and_the_next_answer_takes_the_job() {
    let ticket = check(
        &entrapment(),
        &[(1, Sms(ANN, Acknowledge)), (30, Tick), (31, Tick), (32, Sms(STATION, Acknowledge)), (40, Tick)],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
            "31m overdue",
            "31m page station sms",
            "31m page station voice",
            "31m page station webhook",
            "32m assigned station",
            "32m cancel pages",
            "32m stand down ann sms",
        ],
    );
    assert_eq!(ticket.next_due(), Some(minute(62)));
}

#[test]
fn overdue_with_one_level_calls_that_level_again() {
    let stage = breakdown().policy(|policy| {
        policy.steps.truncate(1);
        policy.arrive_within = Some(Duration::from_secs(600));
    });
    check(
        &stage,
        &[(1, Board(Acknowledge)), (11, Tick)],
        &[
            "1m acknowledged",
            "1m cancel pages",
            "1m stand down ann sms",
            "1m stand down bob sms",
            "11m overdue",
            "11m page ann sms",
            "11m page ann email",
            "11m page bob sms",
        ],
    );
}

#[test]
fn who_is_on_site_keeps_the_job_when_help_is_called() {
    let ticket = check(
        &entrapment(),
        &[(1, Sms(ANN, Arrived)), (5, Board(Escalate)), (6, Sms(STATION, Acknowledge)), (90, Tick)],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
            "1m arrived",
            "5m page station sms",
            "5m page station voice",
            "5m page station webhook",
            "6m cancel pages",
        ],
    );
    assert_eq!(ticket.assignee, Some(super::script::person(ANN)));
}

#[test]
fn the_escalation_of_an_exhausted_ticket_starts_again_by_hand_or_when_it_gets_worse() {
    let exhausted = [(2, Tick), (5, Tick)];
    let lines = ["2m page station sms", "2m page station webhook", "5m exhausted"];
    let again = |m: u64| [format!("{m}m page ann sms"), format!("{m}m page ann email"), format!("{m}m page bob sms")];
    let by_hand: Vec<_> = exhausted.iter().cloned().chain([(20, Board(Escalate))]).collect();
    let pages = again(20);
    let expected: Vec<&str> = lines.into_iter().chain(pages.iter().map(String::as_str)).collect();
    check(&breakdown(), &by_hand, &expected);

    let worse: Vec<_> = exhausted.into_iter().chain([(20, Raise("smoke", Severity::Critical, false))]).collect();
    let expected: Vec<&str> = lines
        .into_iter()
        .chain(["20m raised smoke", "20m page ann sms", "20m page ann voice", "20m page ann email"])
        .chain(["20m page bob sms", "20m page bob voice"])
        .collect();
    check(&breakdown(), &worse, &expected);
}

#[test]
fn somebody_without_any_way_to_reach_them_counts_as_nobody() {
    let mut stage = breakdown();
    for contact in &mut stage.roster.on_call[0].1 {
        contact.receivers.clear();
    }
    stage.roster.on_call[1].1 = vec![contact(FIRE), contact(FIRE)];
    check_from_opening(
        &stage,
        &[],
        &["0m opened", "0m raised first", "0m detected", "0m nobody at 1", "0m page fire voice"],
    );
}
