//! What people say, what it proves, and what is refused.

use model::{CauseId, Localised, MilestoneKind, Severity, TicketKind};

use super::script::{ANN, BOB, Do::*, OLGA, STATION, Stage, assign, check, close, minute, person};
use crate::{Action, Action::*, Actor, Confirmed, Status, applicable, clocks};

fn entrapment() -> Stage {
    Stage::of(TicketKind::Entrapment)
}

/// A breakdown of one level with nobody on call, so that only milestones show.
fn quiet() -> Stage {
    let mut stage = Stage::of(TicketKind::Breakdown).policy(|policy| policy.steps.clear());
    stage.roster.on_call.clear();
    stage
}

#[test]
fn on_the_way_proves_reached_answered_and_dispatched() {
    let ticket = check(
        &quiet(),
        &[(5, Sms(ANN, EnRoute)), (6, Sms(ANN, EnRoute)), (7, Sms(ANN, Acknowledge)), (9, Sms(ANN, Arrived))],
        &["5m contacted", "5m acknowledged", "5m assigned ann", "5m dispatched", "5m en_route", "9m arrived"],
    );
    let proofs: Vec<_> = ticket.milestones[1..].iter().map(|milestone| milestone.proof.en.as_str()).collect();
    let on_the_way = "ann reported being on the way by text message";
    assert_eq!(proofs, [on_the_way, on_the_way, on_the_way, on_the_way, "ann reported being on site by text message"]);
    assert_eq!(ticket.milestones[1].proof.zh, "ann通过短信报告已出发");
}

#[test]
fn on_site_does_not_invent_a_journey() {
    let ticket = check(
        &quiet(),
        &[(5, Sms(ANN, Arrived)), (6, Sms(ANN, EnRoute))],
        &["5m contacted", "5m acknowledged", "5m assigned ann", "5m dispatched", "5m arrived"],
    );
    assert!(ticket.milestone(MilestoneKind::EnRoute).is_none());
}

#[test]
fn what_a_dispatcher_records_proves_no_contact() {
    check(
        &quiet(),
        &[(5, Board(EnRoute)), (6, Board(Arrived)), (7, Board(EnRoute))],
        &["5m acknowledged", "5m en_route", "6m arrived"],
    );
}

#[test]
fn a_receipt_proves_contact_once_and_only_for_somebody_called() {
    let ticket = check(
        &entrapment(),
        &[(0, Delivered(OLGA)), (0, Delivered(ANN)), (1, Delivered(ANN)), (1, Delivered(BOB))],
        &["0m contacted"],
    );
    let contacted = ticket.milestone(MilestoneKind::Contacted).unwrap();
    assert_eq!(contacted.proof.en, "The text message to ann was delivered");
    assert!(matches!(contacted.actor, Actor::Provider { .. }));
    assert_eq!(ticket.responders[1].delivered_at, Some(minute(1)));
}

#[test]
fn a_second_volunteer_does_not_take_the_job_from_the_first() {
    let ticket = check(
        &quiet(),
        &[(1, Sms(ANN, Acknowledge)), (2, Sms(BOB, Acknowledge)), (3, Sms(BOB, Arrived))],
        &["1m contacted", "1m acknowledged", "1m assigned ann", "1m dispatched", "3m arrived"],
    );
    assert_eq!(ticket.assignee, Some(person(ANN)));
}

#[test]
fn an_assignee_who_says_yes_is_reached() {
    let ticket = check(
        &quiet(),
        &[(1, Board(assign(BOB))), (3, Sms(BOB, Acknowledge)), (4, Sms(ANN, assign(ANN)))],
        &["1m acknowledged", "1m assigned bob", "1m dispatched", "1m page bob sms", "3m contacted"],
    );
    assert_eq!(ticket.responders[0].acknowledged_at, Some(minute(3)));
}

#[test]
fn giving_the_job_to_oneself_is_accepting_it() {
    check(
        &quiet(),
        &[(1, Sms(ANN, assign(ANN)))],
        &["1m contacted", "1m acknowledged", "1m assigned ann", "1m dispatched"],
    );
}

#[test]
fn a_release_needs_an_entrapment() {
    check(
        &quiet(),
        &[(1, Board(Released))],
        &[
            "1m refused: ticket 7 is not an entrapment, nobody is to be released; report that you are on site, or close it",
        ],
    );
}

#[test]
fn an_entrapment_is_closed_only_when_the_person_is_out() {
    let ticket = check(
        &entrapment(),
        &[
            (1, Sms(ANN, Arrived)),
            (9, Board(close("false alarm"))),
            (12, Sms(ANN, Released)),
            (13, Board(close(""))),
            (14, Board(close(" door unit replaced "))),
            (15, Board(close("again"))),
            (16, Sms(ANN, Acknowledge)),
            (17, Affected("mei")),
            (18, Raise("late", Severity::Critical, true)),
            (19, Clear("first")),
            (20, Clear("first")),
            (21, Tick),
            (22, Delivered(ANN)),
        ],
        &[
            "1m contacted",
            "1m acknowledged",
            "1m assigned ann",
            "1m dispatched",
            "1m cancel pages",
            "1m stand down bob sms",
            "1m arrived",
            "9m refused: ticket 7 cannot be closed while a person may be shut in; report the person's release first",
            "12m released",
            "13m refused: ticket 7 still has 1 open alert(s); write what was found and done to close it anyway",
            "14m note door unit replaced",
            "14m closed",
            "14m cancel pages",
            "14m stand down ann sms",
            "16m refused: ticket 7 is closed; nothing more can be done on it",
            "17m refused: ticket 7 is closed; nothing more can be done on it",
            "18m refused: ticket 7 is closed; nothing more can be done on it",
            "19m cleared first",
        ],
    );
    assert_eq!((ticket.status, ticket.closed_at), (Status::Closed, Some(minute(14))));
    assert_eq!(applicable(&ticket), Vec::<&str>::new());
}

#[test]
fn only_those_called_can_decline() {
    let refused =
        "1m refused: only a person who was called for ticket 7 can decline it; escalate it to call the next level";
    check(&entrapment(), &[(1, Board(Decline)), (1, Sms(STATION, Decline))], &[refused, refused]);
}

#[test]
fn strangers_and_machines_cannot_act() {
    let stranger = Action::Assign { person: person("nobody") };
    check(
        &entrapment(),
        &[(1, Board(stranger)), (2, Device(Released)), (3, Device(Note { text: "door forced".to_owned() }))],
        &[
            "1m refused: the person to assign is not known in this organisation; choose one from the list of people",
            "2m refused: only responders and dispatchers can do this; sign in to the board or answer a message you received",
            "3m note door forced",
        ],
    );
}

#[test]
fn notes_have_limits_and_a_second_press_writes_nothing() {
    let note = |text: &str| Board(Note { text: text.to_owned() });
    check(
        &quiet(),
        &[
            (1, note(" ")),
            (1, note(&"字".repeat(2001))),
            (1, Board(close(&"x".repeat(2001)))),
            (2, note("no answer")),
            (2, note(" no answer ")),
            (3, note("no answer")),
        ],
        &[
            "1m refused: the note is empty; write something",
            "1m refused: the note has 2001 characters; shorten it to at most 2000",
            "1m refused: the note has 2001 characters; shorten it to at most 2000",
            "2m note no answer",
            "3m note no answer",
        ],
    );
    let longest = "字".repeat(2000);
    check(&quiet(), &[(1, note(&longest))], &[&format!("1m note {longest}")]);
}

#[test]
fn nobody_is_called_for_a_ticket_whose_alerts_have_cleared() {
    check(
        &Stage::of(TicketKind::Breakdown).policy(|policy| policy.close_when_restored = false),
        &[(1, Clear("first")), (2, Board(Escalate)), (3, Sms(ANN, Decline)), (15, Tick), (16, Board(close("")))],
        &[
            "1m cleared first",
            "1m restored",
            "1m cancel pages",
            "1m stand down ann sms",
            "1m stand down bob sms",
            "2m refused: every alert of ticket 7 has cleared; assign a person if work is left, or close it",
            "3m declined",
            "3m contacted",
            "16m acknowledged",
            "16m closed",
            "16m cancel pages",
        ],
    );
}

#[test]
fn the_board_offers_what_applies() {
    let (ticket, _) = entrapment().open();
    assert_eq!(applicable(&ticket), ["acknowledge", "escalate", "assign", "en_route", "arrived", "released", "note"]);
    let arrived = check(&quiet(), &[(1, Board(Acknowledge)), (2, Board(Arrived))], &["1m acknowledged", "2m arrived"]);
    assert_eq!(applicable(&arrived), ["assign", "close", "note"]);
}

#[test]
fn the_clocks_run_from_detection() {
    let ticket = check(
        &entrapment().policy(|policy| policy.steps.clear()),
        &[(2, Board(Acknowledge)), (11, Board(Arrived)), (19, Board(Released))],
        &["2m acknowledged", "11m arrived", "19m released"],
    );
    let minutes = |n: u64| Some(std::time::Duration::from_secs(n * 60));
    let clocks = clocks(&ticket);
    assert_eq!((clocks.acknowledged, clocks.arrived, clocks.released), (minutes(2), minutes(11), minutes(19)));
    assert_eq!(clocks.restored, None);
}

#[test]
fn a_cause_is_kept_and_told_by_who_closes() {
    let cause = Confirmed { id: CauseId::new("rollers").unwrap(), name: Localised::new("Rollers", "滚轮") };
    let close = |cause: Option<Confirmed>| Close { note: Some("done".to_owned()), cause, parts: None };
    let ticket = check(
        &quiet(),
        &[(1, Board(close(Some(cause.clone())))), (2, Board(close(None)))],
        &["1m acknowledged", "1m note done", "1m cause rollers", "1m closed"],
    );
    assert_eq!(ticket.cause, Some(cause));
    let other = Confirmed { id: CauseId::new("belt").unwrap(), name: Localised::new("Belt", "皮带") };
    let said = |cause: &Confirmed| ConfirmCause { cause: cause.clone(), parts: None };
    let ticket = ticket.cause.unwrap();
    let later = check(
        &quiet(),
        &[
            (1, Board(close(None))),
            (2, Board(close(Some(ticket.clone())))),
            (3, Board(close(Some(other.clone())))),
            (4, Board(said(&ticket))),
            (5, Sms(ANN, said(&other))),
            (6, Device(said(&ticket))),
        ],
        &[
            "1m acknowledged",
            "1m note done",
            "1m closed",
            "2m cause rollers",
            "5m cause belt",
            "6m refused: only responders and dispatchers can do this; sign in to the board or answer a message you received",
        ],
    );
    assert_eq!((later.cause, later.status), (Some(other), Status::Closed));
    let unsaid = check(&quiet(), &[(1, Board(close(None)))], &["1m acknowledged", "1m note done", "1m closed"]);
    assert_eq!(unsaid.cause, None);
}

#[test]
fn parts_are_kept_and_told_by_who_closes() {
    let part = |name: &str| Localised::new(name, name);
    let close = |parts: Option<Vec<Localised>>| Close { note: Some("done".to_owned()), cause: None, parts };
    let cause = Confirmed { id: CauseId::new("rollers").unwrap(), name: Localised::new("Rollers", "滚轮") };
    let said = |parts: Option<Vec<Localised>>| ConfirmCause { cause: cause.clone(), parts };
    let ticket = check(
        &quiet(),
        &[
            (1, Board(close(Some(vec![part("x".repeat(81).as_str())])))),
            (2, Board(close(Some((0..13).map(|n| part(&n.to_string())).collect())))),
            (3, Board(close(Some(vec![part("Rollers"), part(" "), part("rollers")])))),
            // A second press, and a cause without parts, change nothing of them.
            (4, Board(close(Some(vec![])))),
            (5, Board(said(None))),
            (6, Sms(ANN, said(Some(vec![])))),
            (7, Device(said(Some(vec![part("Belt")])))),
        ],
        &[
            "1m refused: the name of a part has 81 characters; shorten it to at most 80",
            "2m refused: there are too many parts for one repair, 13; name the 12 that matter most",
            "3m acknowledged",
            "3m note done",
            "3m parts Rollers",
            "3m closed",
            "5m cause rollers",
            "6m parts ",
            "7m refused: only responders and dispatchers can do this; sign in to the board or answer a message you received",
        ],
    );
    assert_eq!(ticket.parts, Some(vec![]));
    let late = check(
        &quiet(),
        &[(1, Board(close(None))), (2, Board(close(Some(vec![part("Belt")]))))],
        &["1m acknowledged", "1m note done", "1m closed", "2m parts Belt"],
    );
    assert_eq!(late.parts, Some(vec![part("Belt")]));
}

#[test]
fn that_nothing_was_found_is_said_at_the_end_or_later_and_can_be_corrected() {
    let part = |name: &str| Localised::new(name, name);
    let rollers = Confirmed { id: CauseId::new("rollers").unwrap(), name: Localised::new("Rollers", "滚轮") };
    let nothing = Confirmed::nothing();
    let close = |cause: &Confirmed, parts: Option<Vec<Localised>>| Close {
        note: Some("done".to_owned()),
        cause: Some(cause.clone()),
        parts,
    };
    let said = |cause: &Confirmed, parts: Option<Vec<Localised>>| ConfirmCause { cause: cause.clone(), parts };
    let ticket = check(
        &quiet(),
        &[
            (1, Board(said(&nothing, None))),
            (2, Board(close(&nothing, Some(vec![part("Belt")])))),
            (3, Board(close(&nothing, Some(vec![])))),
            // A second press, whatever it says, is what was wanted.
            (4, Board(close(&rollers, Some(vec![part("Belt")])))),
            (5, Sms(ANN, said(&rollers, Some(vec![part("Belt")])))),
            (6, Board(said(&nothing, Some(vec![part("Belt")])))),
            (7, Device(said(&nothing, None))),
            (8, Board(said(&nothing, None))),
            (9, Board(said(&nothing, None))),
        ],
        &[
            "1m refused: ticket 7 is still open; that nothing was found is said when it is closed, or later",
            "2m refused: parts were named though nothing was found; name what had failed, or leave the parts out",
            "3m acknowledged",
            "3m note done",
            "3m cause nothing_found",
            "3m closed",
            "5m cause rollers",
            "5m parts Belt",
            "6m refused: parts were named though nothing was found; name what had failed, or leave the parts out",
            "7m refused: only responders and dispatchers can do this; sign in to the board or answer a message you received",
            "8m cause nothing_found",
        ],
    );
    assert_eq!((ticket.cause, ticket.parts), (Some(nothing.clone()), None));
    // Corrected, nobody has said yet which parts it took.
    let corrected = check(
        &quiet(),
        &[(1, Board(close(&nothing, None))), (2, Board(said(&rollers, None)))],
        &["1m acknowledged", "1m note done", "1m cause nothing_found", "1m closed", "2m cause rollers"],
    );
    assert_eq!((corrected.cause, corrected.parts), (Some(rollers), None));
}

#[test]
fn an_entrapment_of_which_nothing_was_found_ends_no_sooner() {
    let nothing = Confirmed::nothing();
    let close = Close { note: Some("done".to_owned()), cause: Some(nothing.clone()), parts: None };
    let said = ConfirmCause { cause: nothing, parts: None };
    let stage = entrapment().policy(|policy| policy.steps.clear());
    let ticket = check(
        &stage,
        &[(1, Board(close.clone())), (2, Board(said.clone())), (3, Sms(ANN, said))],
        &[
            "1m refused: ticket 7 cannot be closed while a person may be shut in; report the person's release first",
            "2m refused: ticket 7 is still open; that nothing was found is said when it is closed, or later",
            "3m refused: ticket 7 is still open; that nothing was found is said when it is closed, or later",
        ],
    );
    assert_eq!((ticket.status, &ticket.cause, ticket.severity), (Status::Open, &None, Severity::Critical));
    let ticket = check(
        &stage,
        &[(1, Board(Released)), (2, Board(close))],
        &["1m acknowledged", "1m released", "2m note done", "2m cause nothing_found", "2m closed"],
    );
    assert_eq!(ticket.status, Status::Closed);
}
