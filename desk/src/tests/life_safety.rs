//! No configuration stops or delays the page of a life-safety alert. Everything that can be configured, silenced or
//! remembered is drawn at random here, also what would be refused when loaded.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{
    Alert, AlertId, DeviceId, OrgId, Purpose, RuleId, Scope, Severity, SilenceId, TicketId, TicketKind, UserId,
};
use proptest::{collection::vec, prelude::*, sample::select};
use uuid::Uuid;

use super::script::{ANN, BOB, Stage, alert, dispatcher, minute, sms};
use crate::{
    Action, Effect, Event, Noise, Policy, Silence, Surroundings, Ticket,
    noise::{Day, Flap, FlapSettings, Group, Held, Inhibition, Label, Matchers, QuietHours, Reason, Source, Timing},
    open, transition,
};

const RULES: [&str; 3] = ["trapped", "mains_loss", "door_fault"];

fn label() -> impl Strategy<Value = Label> {
    select(Label::ALL.to_vec())
}

/// Matchers that often fit: of every alert, of the alert in question, of nothing.
fn matchers() -> impl Strategy<Value = Matchers> {
    let pattern = select(vec!["*", "trapped", "lift-1", "critical", "breakdown", "entrapment", "rule", "nothing"]);
    proptest::collection::btree_map(label(), vec(pattern.prop_map(str::to_owned), 1..3), 0..3).prop_map(Matchers)
}

fn timing() -> impl Strategy<Value = Timing> {
    (0u64..100_000, 0u64..100_000, 0u64..100_000).prop_map(|(wait, interval, repeat)| Timing {
        group_wait: Duration::from_secs(wait),
        group_interval: Duration::from_secs(interval),
        repeat_interval: Duration::from_secs(repeat),
    })
}

fn noise() -> impl Strategy<Value = Noise> {
    let sources = vec(select(RULES.to_vec()).prop_map(|rule| RuleId::new(rule).unwrap()), 1..3);
    let inhibition = (sources, matchers(), vec(label(), 0..2)).prop_map(|(source, target, equal)| Inhibition {
        name: "i".to_owned(),
        source,
        target,
        equal,
    });
    let quiet = matchers().prop_map(|matchers| QuietHours {
        name: "always".to_owned(),
        matchers,
        time_zone: "UTC".to_owned(),
        days: Day::ALL.to_vec(),
        from: "00:00".to_owned(),
        to: "00:00".to_owned(),
    });
    let group = (matchers(), vec(label(), 0..3), timing()).prop_map(|(matchers, by, timing)| Group {
        name: "g".to_owned(),
        matchers,
        by,
        timing,
    });
    let flapping = (0.0..3.0f64, 0u64..100_000).prop_map(|(start, hold)| FlapSettings {
        start,
        end: 0.0,
        half_life: Duration::from_secs(hold),
        hold_open: Duration::from_secs(hold),
    });

    (vec(inhibition, 0..3), vec(quiet, 0..2), vec(group, 0..3), timing(), flapping).prop_map(
        |(inhibitions, quiet_hours, groups, site, flapping)| Noise { inhibitions, quiet_hours, groups, site, flapping },
    )
}

fn around() -> impl Strategy<Value = Surroundings> {
    let silence = matchers().prop_map(|matchers| Silence {
        id: SilenceId(Uuid::from_u128(1)),
        org: OrgId(Uuid::from_u128(1)),
        author: UserId(Uuid::from_u128(1)),
        author_name: "dora".to_owned(),
        reason: "any".to_owned(),
        matchers,
        starts_at: minute(0),
        ends_at: minute(1_000_000),
    });
    let source = (select(RULES.to_vec()), any::<bool>()).prop_map(|(rule, life_safety)| {
        Source::new(&alert(rule, Severity::Critical, life_safety), TicketId(Uuid::from_u128(5)))
    });

    (noise(), vec(silence, 0..3), vec(source, 0..4), any::<bool>()).prop_map(|(noise, silences, sources, flapping)| {
        let flap = Flap { score: 99.0, at: Some(minute(0)), flapping };
        let device = DeviceId::new("lift-1").unwrap();
        Surroundings {
            noise: Arc::new(noise),
            silences: Arc::new(silences),
            sources: Arc::new(sources),
            flaps: Arc::new(
                RULES
                    .iter()
                    .map(|rule| ((device.clone(), RuleId::new(rule).unwrap()), flap))
                    .collect::<HashMap<_, _>>(),
            ),
            ..Surroundings::default()
        }
    })
}

fn raised(rule: &str, kind: TicketKind, scope: Scope, life_safety: bool, at: u64) -> Event {
    let alert = Alert { kind, scope, raised_at: minute(at), ..alert(rule, Severity::Major, life_safety) };
    let id = AlertId::derive(&alert.device, &alert.rule, alert.raised_at);
    Event::AlertRaised(Box::new(Alert { id, ..alert }))
}

/// Pages as (person, way, minute they are owed): what must not differ.
fn pages(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(message) if message.purpose == Purpose::Page => {
                Some(format!("{:?} {}", message.person, message.receiver.channel))
            }
            Effect::Send(_) | Effect::CancelPages | Effect::Log(_) => None,
        })
        .collect()
}

/// What happens around an alert: time passes, other alerts come and go, people answer.
#[derive(Debug, Clone, Copy)]
enum Around {
    Tick,
    Look,
    Other,
    ClearOthers,
    Answer,
    Decline,
    Charge,
}

fn happenings() -> impl Strategy<Value = Vec<(u64, Around)>> {
    use Around::{Answer, Charge, ClearOthers, Decline, Look, Other, Tick};
    let one = select(vec![Tick, Tick, Tick, Look, Other, Other, ClearOthers, Answer, Decline, Charge]);
    vec((0u64..10, one), 0..25)
}

fn events(what: Around, ticket: &Ticket, now: u64) -> Vec<Event> {
    let act = |actor, action| vec![Event::Act { actor, action, as_of: None }];
    match what {
        Around::Tick => vec![Event::Tick],
        Around::Look => vec![Event::LookAgain],
        Around::Other => vec![raised("door_fault", ticket.kind, Scope::Device, false, now)],
        Around::ClearOthers => ticket
            .open_alerts()
            .filter(|open| !open.life_safety)
            .map(|open| {
                let cleared = alert(open.rule.as_str(), open.severity, false);
                Event::AlertCleared(Box::new(Alert { id: open.id, cleared_at: Some(minute(now)), ..cleared }))
            })
            .collect(),
        Around::Answer => act(sms(ANN), Action::Acknowledge),
        Around::Decline => act(sms(BOB), Action::Decline),
        Around::Charge => act(dispatcher(), Action::Acknowledge),
    }
}

/// Plays what happens to a ticket; returns every page with the minute it was owed.
fn play(stage: &Stage, mut ticket: Ticket, script: &[(u64, Around)]) -> Vec<(u64, Vec<String>)> {
    let mut owed = Vec::new();
    let mut now = 0;
    for (pause, what) in script {
        now += pause;
        for event in events(*what, &ticket, now) {
            if let Ok((after, effects)) = transition(&ticket, &event, &stage.roster, minute(now)) {
                ticket = after;
                owed.push((now, pages(&effects)));
            }
        }
        assert_eq!(ticket.held, None::<Held>, "a life-safety ticket is held back");
    }
    owed
}

fn stage(kind: TicketKind, scope: Scope, boards_only: bool, around: Surroundings) -> Stage {
    let mut stage = Stage::of(kind);
    stage.alert = Alert { kind, scope, ..alert("trapped", Severity::Minor, true) };
    if boards_only {
        stage.policy.steps.clear();
    }
    stage.roster.around = around;
    stage
}

fn kind() -> impl Strategy<Value = TicketKind> {
    select(TicketKind::ALL.to_vec())
}

fn scope() -> impl Strategy<Value = Scope> {
    select(vec![Scope::Device, Scope::Site])
}

fn opened(stage: &Stage) -> (Ticket, Vec<Effect>) {
    let policy: &Policy = &stage.policy;
    open(policy, TicketId(Uuid::from_u128(9)), 7, &stage.alert, &stage.roster, minute(0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A ticket that a life-safety alert opens: the same people are paged at the same times by the same ways as with no
    /// noise settings at all, whatever happens.
    #[test]
    fn nothing_configured_changes_who_is_paged_when(
        around in around(), kind in kind(), scope in scope(), board_only in any::<bool>(), script in happenings(),
    ) {
        let bare = Surroundings { noise: Arc::new(Noise { inhibitions: Vec::new(), ..Noise::default() }), ..Surroundings::default() };
        let (noisy, bare) = (stage(kind, scope, board_only, around), stage(kind, scope, board_only, bare));
        let ((ticket, effects), (twin, twin_effects)) = (opened(&noisy), opened(&bare));
        prop_assert!(!pages(&effects).is_empty(), "nobody was paged");
        prop_assert_eq!(pages(&effects), pages(&twin_effects));
        prop_assert_eq!(ticket.device.as_ref(), Some(&noisy.alert.device), "it shares its ticket with no other device");
        prop_assert_eq!(&ticket.group_key, &twin.group_key);
        prop_assert_eq!(play(&noisy, ticket, &script), play(&bare, twin, &script));
    }

    /// A ticket that something else opened, in whatever state it is, held back or not: the life-safety alert is paged at
    /// the moment it joins, unless one is open on it already and people are called or at work for that.
    #[test]
    fn it_is_paged_at_once_on_any_ticket_it_joins(
        around in around(), board_only in any::<bool>(), script in happenings(), later in 0u64..20,
    ) {
        let mut stage = stage(TicketKind::Breakdown, Scope::Device, board_only, around);
        stage.alert = alert("mains_loss", Severity::Minor, false);
        let (mut ticket, _) = opened(&stage);
        let mut now = 0;
        for (pause, what) in script {
            now += pause;
            for event in events(what, &ticket, now) {
                if let Ok((after, _)) = transition(&ticket, &event, &stage.roster, minute(now)) {
                    ticket = after;
                }
            }
        }
        now += later;
        let event = raised("trapped", TicketKind::Breakdown, Scope::Site, true, now);
        match transition(&ticket, &event, &stage.roster, minute(now)) {
            Err(_) => prop_assert_eq!(ticket.status, crate::Status::Closed, "the store opens a new one"),
            Ok((after, effects)) => {
                prop_assert!(!pages(&effects).is_empty(), "{:#?}", after);
                prop_assert_eq!(&after.held, &None);
                prop_assert!(after.escalation.calling && after.escalation.next_at.is_some());
            }
        }
    }
}

/// The tests above are worth something only if what they draw does hold other alerts back.
#[test]
fn what_is_drawn_holds_back_other_alerts() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut held: HashMap<&'static str, u32> = HashMap::new();
    for _ in 0..500 {
        let mut stage =
            stage(TicketKind::Breakdown, Scope::Site, false, around().new_tree(&mut runner).unwrap().current());
        stage.alert.life_safety = false;
        if let Some(Held { reason, .. }) = opened(&stage).0.held {
            *held.entry(reason.code()).or_default() += 1;
        }
    }
    let at = |reason: &Reason| held.get(reason.code()).copied().unwrap_or(0);
    assert!(at(&Reason::GroupWait { until: minute(0) }) > 20, "{held:?}");
    for code in ["inhibited", "quiet_hours", "silenced"] {
        assert!(held.get(code).copied().unwrap_or(0) > 20, "{code}: {held:?}");
    }
}
