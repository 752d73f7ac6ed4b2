//! What is held back, for which reason, and what ends that.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{
    Alert, AlertId, DeviceId, OrgId, Purpose, RuleId, Scope, Severity, SilenceId, TicketId, TicketKind, UserId,
};
use uuid::Uuid;

use super::script::{ANN, Stage, alert, dispatcher, minute, sms, two_levels};
use crate::{
    Action, Effect, Event, Noise, NoiseError, Reason, Silence, Status, Surroundings, Ticket, What,
    noise::{Day, Flap, FlapSettings, Group, Inhibition, Label, Matchers, QuietHours, Source, Timing},
    open, transition,
};

pub(super) fn matching(labels: &[(Label, &str)]) -> Matchers {
    Matchers(labels.iter().map(|(label, value)| (*label, vec![(*value).to_owned()])).collect())
}

pub(super) fn rule(name: &str) -> RuleId {
    RuleId::new(name).unwrap()
}

fn on(device: &str, alert: Alert) -> Alert {
    let device = DeviceId::new(device).unwrap();
    Alert { id: AlertId::derive(&device, &alert.rule, alert.raised_at), device, ..alert }
}

fn breakdown(name: &str) -> Alert {
    alert(name, Severity::Major, false)
}

fn silence(matchers: Matchers, from: u64, to: u64) -> Silence {
    Silence {
        id: SilenceId(Uuid::from_u128(70)),
        org: OrgId(Uuid::from_u128(1)),
        author: UserId(Uuid::from_u128(50)),
        author_name: "dora".to_owned(),
        reason: "works on the door".to_owned(),
        matchers,
        starts_at: minute(from),
        ends_at: minute(to),
    }
}

/// A ticket and what happens around it.
struct Scene {
    stage: Stage,
    ticket: Ticket,
    /// What the last event brought: pages and updates by their way, decisions by their code.
    lines: Vec<String>,
}

impl Scene {
    fn open(around: Surroundings, first: Alert) -> Self {
        Self::open_with(Stage::of(TicketKind::Breakdown).policy(two_levels), around, first)
    }

    fn open_with(mut stage: Stage, around: Surroundings, first: Alert) -> Self {
        stage.alert = first;
        stage.roster.around = around;
        let (ticket, effects) =
            open(&stage.policy, TicketId(Uuid::from_u128(9)), 7, &stage.alert, &stage.roster, minute(0));
        Self { lines: lines(&effects), stage, ticket }
    }

    fn at(&mut self, minutes: u64, event: &Event) -> &mut Self {
        self.at_secs(minutes * 60, event)
    }

    fn at_secs(&mut self, secs: u64, event: &Event) -> &mut Self {
        let now = minute(0) + Duration::from_secs(secs);
        let (after, effects) = transition(&self.ticket, event, &self.stage.roster, now).unwrap();
        self.ticket = after;
        self.lines = lines(&effects);
        self
    }

    fn raise(&mut self, minutes: u64, alert: Alert) -> &mut Self {
        let raised = Alert { raised_at: minute(minutes), ..alert };
        let id = AlertId::derive(&raised.device, &raised.rule, raised.raised_at);
        self.at(minutes, &Event::AlertRaised(Box::new(Alert { id, ..raised })))
    }

    /// Clears the open alert of this rule.
    fn clear(&mut self, minutes: u64, name: &str) -> &mut Self {
        let open = self.ticket.open_alerts().find(|open| open.rule.as_str() == name).unwrap();
        let cleared = Alert {
            id: open.id,
            device: open.device.clone(),
            cleared_at: Some(minute(minutes)),
            ..alert(name, Severity::Major, false)
        };
        self.at(minutes, &Event::AlertCleared(Box::new(cleared)))
    }

    /// The open alert of this rule goes on with another severity.
    fn change(&mut self, minutes: u64, name: &str, severity: Severity) -> &mut Self {
        let open = self.ticket.open_alerts().find(|open| open.rule.as_str() == name).unwrap();
        let mut changed = Alert { id: open.id, device: open.device.clone(), ..alert(name, severity, false) };
        changed.evidence.severity_since = Some(minute(minutes));
        self.at(minutes, &Event::AlertChanged(Box::new(changed)))
    }

    fn brings(&mut self, expected: &[&str]) -> &mut Self {
        assert_eq!(self.lines, expected, "{:#?}", self.ticket);
        self
    }
}

fn lines(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(message) => match message.purpose {
                Purpose::Page => Some(format!("page {}", message.receiver.channel)),
                Purpose::Update => Some(format!("update: {}", message.text.as_ref()?.en)),
                Purpose::StandDown | Purpose::CareLink | Purpose::Progress | Purpose::Notice | Purpose::Answer => None,
            },
            Effect::Log(entry) => match &entry.what {
                What::AlertRaised { decision, .. } => Some(decision.as_ref()?.code().to_owned()),
                What::SeverityChanged { to, decision, .. } => {
                    Some(format!("{to}: {}", decision.as_ref().map_or("nothing", Reason::code)))
                }
                What::Decided { reason } => Some(reason.code().to_owned()),
                What::HeldOpen { .. } => Some("held open".to_owned()),
                _ => None,
            },
            Effect::CancelPages => None,
        })
        .collect()
}

fn around(change: impl FnOnce(&mut Surroundings)) -> Surroundings {
    let mut around = Surroundings::default();
    change(&mut around);
    around
}

const PAGED: [&str; 4] = ["first", "page sms", "page email", "page sms"];

#[test]
fn a_silenced_alert_is_on_the_board_and_paged_when_the_silence_ends() {
    let silences = Arc::new(vec![silence(matching(&[(Label::Rule, "door*")]), 0, 7)]);
    let mut scene = Scene::open(around(|a| a.silences = silences), breakdown("door_fault"));
    scene.brings(&["silenced"]);
    assert_eq!((scene.ticket.status, scene.ticket.escalation.calling), (Status::Open, false));
    assert_eq!(scene.ticket.next_due(), Some(minute(5)), "an end that is missed is looked for");
    scene.at(5, &Event::Tick).brings(&[]);
    assert_eq!(scene.ticket.next_due(), Some(minute(7)));
    scene.at(7, &Event::Tick).brings(&["released", "page sms", "page email", "page sms"]);
    assert!(scene.ticket.held.is_none() && scene.ticket.escalation.calling);
}

#[test]
fn a_silence_stops_what_the_hub_calls_by_itself_and_a_person_can_call_all_the_same() {
    let mut scene = Scene::open(Surroundings::default(), breakdown("door_fault"));
    scene.brings(&PAGED);
    scene.stage.roster.around.silences = Arc::new(vec![silence(matching(&[(Label::Kind, "breakdown")]), 1, 90)]);
    scene.at(2, &Event::Tick).brings(&["silenced"]);
    let escalate = Event::Act { actor: dispatcher(), action: Action::Escalate, as_of: None };
    scene.at(3, &escalate).brings(&["page sms", "page webhook"]);
    scene.at(6, &Event::Tick);
    assert!(scene.ticket.by_hand && scene.ticket.held.is_none());
    assert!(scene.ticket.escalation.calling, "what a person called for goes its way");
}

#[test]
fn a_silence_that_is_ended_early_lets_the_page_go_at_once() {
    let silences = Arc::new(vec![silence(matching(&[(Label::Device, "lift-1")]), 0, 600)]);
    let mut scene = Scene::open(around(|a| a.silences = silences), breakdown("door_fault"));
    scene.at(1, &Event::LookAgain).brings(&[]);
    scene.stage.roster.around.silences = Arc::default();
    scene.at(2, &Event::LookAgain).brings(&["released", "page sms", "page email", "page sms"]);
    scene.at(2, &Event::LookAgain).brings(&[]);
}

#[test]
fn a_ticket_is_held_back_only_while_each_of_its_alerts_is() {
    let silences = Arc::new(vec![silence(matching(&[(Label::Rule, "door_fault")]), 0, 600)]);
    let mut scene = Scene::open(around(|a| a.silences = silences), breakdown("door_fault"));
    scene.raise(1, breakdown("drive_fault")).brings(&["released", "page sms", "page email", "page sms"]);
    scene.raise(2, Alert { device: DeviceId::new("lift-1").unwrap(), ..breakdown("door_fault") }).brings(&["silenced"]);
}

fn dark(device: &str) -> Source {
    let source = on(device, Alert { kind: TicketKind::Outage, ..breakdown("mains_loss") });
    Source::new(&source, TicketId(Uuid::from_u128(3)))
}

#[test]
fn a_fault_that_follows_from_another_is_inhibited_until_that_is_over() {
    let mut scene =
        Scene::open(around(|a| a.sources = Arc::new(vec![dark("lift-2"), dark("lift-1")])), breakdown("door_fault"));
    scene.brings(&["inhibited"]);
    let held = scene.ticket.held.clone().unwrap();
    let Reason::Inhibited { device, ticket, .. } = &held.reason else { panic!("{held:?}") };
    assert_eq!((device.as_str(), ticket.0), ("lift-1", Uuid::from_u128(3)));
    assert_eq!(held.reason.text().en, "not paged: inhibited by \"mains_loss\" on lift-1");
    scene.at(5, &Event::Tick).brings(&[]);
    assert_eq!(scene.ticket.next_due(), Some(minute(10)), "looked at again should the end be missed");
    scene.stage.roster.around.sources = Arc::new(vec![dark("lift-2")]);
    scene.at(6, &Event::LookAgain).brings(&["released", "page sms", "page email", "page sms"]);
}

#[test]
fn inhibition_needs_equal_labels_and_a_missing_one_equals_nothing() {
    let by_runbook = |equal: Vec<Label>| {
        let noise = Noise {
            inhibitions: vec![Inhibition {
                name: "test".to_owned(),
                source: vec![rule("mains_loss")],
                target: matching(&[(Label::Kind, "breakdown")]),
                equal,
            }],
            ..Noise::default()
        };
        around(|a| {
            a.noise = Arc::new(noise);
            a.sources = Arc::new(vec![dark("lift-1")]);
        })
    };
    assert_eq!(Scene::open(by_runbook(vec![Label::Site]), breakdown("door_fault")).lines, ["inhibited"]);
    // Neither alert names a runbook: Alertmanager would take that for equal.
    Scene::open(by_runbook(vec![Label::Site, Label::Runbook]), breakdown("door_fault")).brings(&PAGED);
    Scene::open(by_runbook(vec![Label::Device]), on("lift-2", breakdown("door_fault"))).brings(&PAGED);
}

#[test]
fn what_inhibits_is_never_inhibited_by_its_like() {
    let noise = Noise {
        inhibitions: vec![Inhibition {
            name: "test".to_owned(),
            source: vec![rule("mains_loss"), rule("door_fault")],
            target: matching(&[(Label::Site, "*2")]),
            equal: vec![Label::Site],
        }],
        ..Noise::default()
    };
    let surroundings = around(|a| {
        a.noise = Arc::new(noise);
        a.sources = Arc::new(vec![dark("lift-2")]);
    });
    Scene::open(surroundings.clone(), breakdown("door_fault")).brings(&PAGED);
    Scene::open(surroundings, breakdown("drive_fault")).brings(&["inhibited"]);
}

#[test]
fn quiet_hours_hold_until_they_end() {
    // The script's minute 0 is midnight UTC.
    let nights = QuietHours {
        name: "nights".to_owned(),
        matchers: matching(&[(Label::Severity, "minor")]),
        time_zone: "UTC".to_owned(),
        days: Day::ALL.to_vec(),
        from: "22:00".to_owned(),
        to: "00:04".to_owned(),
    };
    let surroundings = around(|a| a.noise = Arc::new(Noise { quiet_hours: vec![nights], ..Noise::default() }));
    Scene::open(surroundings.clone(), breakdown("door_fault")).brings(&PAGED);
    let mut scene = Scene::open(surroundings, alert("door_fault", Severity::Minor, false));
    scene.brings(&["quiet_hours"]);
    scene.at(4, &Event::Tick).brings(&["released", "page sms", "page email", "page sms"]);
}

fn site_wide(device: &str) -> Alert {
    on(device, Alert { kind: TicketKind::Outage, scope: Scope::Site, ..breakdown("mains_loss") })
}

#[test]
fn a_group_waits_for_its_like_and_is_paged_once() {
    let mut scene = Scene::open(Surroundings::default(), site_wide("lift-1"));
    scene.brings(&["group_wait"]);
    for number in 2..=500 {
        scene
            .at_secs(number / 100, &Event::AlertRaised(Box::new(site_wide(&format!("lift-{number}")))))
            .brings(&["group_wait"]);
    }
    scene.at_secs(9, &Event::Tick).brings(&[]);
    scene.at_secs(10, &Event::Tick).brings(&["first", "page sms", "page email", "page sms"]);
    assert_eq!((scene.ticket.devices_open(), scene.ticket.news.devices), (500, 500));
    scene.at(1, &Event::AlertRaised(Box::new(site_wide("lift-501")))).brings(&["already_calling"]);
}

#[test]
fn whoever_has_the_job_hears_of_more_at_most_once_an_interval() {
    let mut scene = Scene::open(Surroundings::default(), site_wide("lift-1"));
    scene.at_secs(10, &Event::Tick);
    let accept = Event::Act { actor: sms(ANN), action: Action::Acknowledge, as_of: None };
    scene.at(1, &accept);
    for number in 2..=40 {
        scene.at(2, &Event::AlertRaised(Box::new(site_wide(&format!("lift-{number}"))))).brings(&["in_hand"]);
    }
    scene.at(5, &Event::Tick).brings(&[]);
    scene.at_secs(310, &Event::Tick).brings(&["update: 39 more joined; 40 are affected now.", "new_in_group"]);
    scene.at(20, &Event::Tick).brings(&[]);
}

#[test]
fn the_deadline_of_a_page_does_not_depend_on_the_group_interval() {
    let lifetime = |interval: u64| {
        let site = Timing { group_interval: Duration::from_secs(interval), ..Timing::default() };
        let mut stage = Stage::of(TicketKind::Outage).policy(two_levels);
        stage.alert = site_wide("lift-1");
        stage.roster.around.noise = Arc::new(Noise { site, ..Noise::default() });
        let (ticket, _) = stage.open();
        let at = minute(0) + Duration::from_secs(10);
        let (_, effects) = transition(&ticket, &Event::Tick, &stage.roster, at).unwrap();
        let deadlines = effects.iter().filter_map(|effect| match effect {
            Effect::Send(message) if message.purpose == Purpose::Page => Some(message.expires_at.since(at)),
            Effect::Send(_) | Effect::CancelPages | Effect::Log(_) => None,
        });
        deadlines.collect::<Vec<_>>()
    };
    assert_eq!(lifetime(1), lifetime(86_400));
    assert!(lifetime(1).iter().all(|lifetime| *lifetime >= Duration::from_secs(3600)));
}

#[test]
fn nobody_answered_and_people_are_called_again_after_the_repeat_interval() {
    let mut scene = Scene::open(Surroundings::default(), breakdown("door_fault"));
    scene.at(2, &Event::Tick);
    scene.at(5, &Event::Tick).brings(&[]);
    scene.raise(6, breakdown("drive_fault")).brings(&["nobody_answered"]);
    assert_eq!(scene.ticket.next_due(), Some(minute(5 + 240)));
    scene.at(245, &Event::Tick).brings(&["repeat", "page sms", "page email", "page sms"]);
}

#[test]
fn the_same_alert_twice_is_one_page() {
    let mut scene = Scene::open(Surroundings::default(), breakdown("door_fault"));
    scene.raise(1, breakdown("door_fault")).brings(&["duplicate"]);
    scene.clear(2, "door_fault");
    assert_eq!(scene.ticket.status, Status::Open, "the other one still stands");
}

#[test]
fn a_configured_group_takes_alerts_of_several_lifts() {
    let group = Group {
        name: "silence".to_owned(),
        matchers: matching(&[(Label::Rule, "controller_silent")]),
        by: vec![Label::Rule],
        timing: Timing::default(),
    };
    let noise = Noise { groups: vec![group], ..Noise::default() };
    let (one, two) = (on("lift-1", breakdown("controller_silent")), on("lift-2", breakdown("controller_silent")));
    assert_eq!(noise.route(&one), noise.route(&two));
    assert_eq!(noise.route(&one).scope, Scope::Site);
    let danger = Alert { life_safety: true, ..one.clone() };
    assert_eq!(noise.route(&danger).key, "device:lift-1:breakdown", "people in danger are a case of their own");
    let by_runbook = Group { by: vec![Label::Runbook], ..noise.groups[0].clone() };
    let noise = Noise { groups: vec![by_runbook], ..noise };
    assert_eq!(noise.route(&one).key, one.group_key(), "a label that is missing groups nothing");
}

/// Raised once a minute, cleared half way; the caller keeps the score, as the store does.
#[test]
fn a_condition_that_comes_and_goes_is_held_open_and_paged_once() {
    let mut scene = Scene::open(Surroundings::default(), breakdown("door_fault"));
    let key = (DeviceId::new("lift-1").unwrap(), rule("door_fault"));
    let mut flap = Flap::default();
    for round in 0..4 {
        flap = flap.raised(&FlapSettings::default(), minute(round));
    }
    assert!(flap.flapping);
    scene.stage.roster.around.flaps = Arc::new(HashMap::from([(key, flap)]));
    scene.clear(1, "door_fault").brings(&["held open"]);
    assert_eq!((scene.ticket.status, scene.ticket.hold_open), (Status::Open, Some(minute(16))));
    for round in 2..20 {
        scene.raise(round, breakdown("door_fault")).brings(&["flapping"]);
        scene.clear(round, "door_fault").brings(&["held open"]);
    }
    assert_eq!(scene.ticket.hold_open, Some(minute(34)));
    let accept = Event::Act { actor: sms(ANN), action: Action::Acknowledge, as_of: None };
    scene.at(20, &accept);
    scene.at(33, &Event::Tick);
    assert_eq!(scene.ticket.status, Status::Acknowledged);
    scene.at(34, &Event::Tick);
    assert_eq!(scene.ticket.status, Status::Closed, "it kept quiet");
    assert_eq!(scene.ticket.milestone(model::MilestoneKind::Restored).unwrap().at, minute(34));
}

#[test]
fn settings_that_would_hide_everything_are_refused() {
    let group = |wait| Group {
        name: "g".to_owned(),
        matchers: matching(&[(Label::Kind, "outage")]),
        by: Vec::new(),
        timing: Timing { group_wait: Duration::from_secs(wait), ..Timing::default() },
    };
    let inhibition = |equal| Inhibition {
        name: "i".to_owned(),
        source: vec![rule("mains_loss")],
        target: matching(&[(Label::Kind, "breakdown")]),
        equal,
    };
    let error = |change: &dyn Fn(&mut Noise)| {
        let mut noise = Noise::default();
        change(&mut noise);
        noise.validate().unwrap_err()
    };
    assert_eq!(Noise::default().validate(), Ok(()));
    assert!(matches!(error(&|n| n.groups = vec![group(601)]), NoiseError::GroupWait { .. }));
    assert!(matches!(
        error(&|n| n.inhibitions = vec![inhibition(vec![Label::Rule])]),
        NoiseError::InhibitionAnywhere { .. }
    ));
    assert!(matches!(error(&|n| n.flapping.end = 9.0), NoiseError::Flapping));
    let said = |silence: Silence| silence.validate().unwrap_err();
    let good = silence(matching(&[(Label::Device, "lift-1")]), 0, 60);
    assert_eq!(good.validate(), Ok(()));
    assert_eq!(said(Silence { reason: " ".to_owned(), ..good.clone() }), NoiseError::SilenceReason);
    assert_eq!(said(Silence { matchers: Matchers::default(), ..good.clone() }), NoiseError::SilenceOfEverything);
    assert_eq!(said(Silence { ends_at: good.starts_at, ..good.clone() }), NoiseError::SilenceEnd);
    assert_eq!(said(Silence { ends_at: minute(31 * 1440), ..good.clone() }), NoiseError::SilenceTooLong);
    let everything = matching(&[(Label::Device, "*")]);
    assert!(matches!(said(Silence { matchers: everything, ..good }), NoiseError::Pattern { .. }));
}

#[test]
fn what_becomes_worse_calls_people_and_what_becomes_less_bad_calls_nobody() {
    let mut scene = Scene::open(Surroundings::default(), alert("door_fault", Severity::Minor, false));
    scene.at(2, &Event::Tick);
    scene.at(5, &Event::Tick).brings(&[]);
    scene.change(30, "door_fault", Severity::Major).brings(&["major: worse", "page sms", "page email", "page sms"]);
    assert_eq!(scene.ticket.severity, Severity::Major);
    // The same told again, and what was before it told late.
    scene.change(30, "door_fault", Severity::Major).brings(&[]);
    scene.change(29, "door_fault", Severity::Info).brings(&[]);
    scene.change(60, "door_fault", Severity::Info).brings(&["info: nothing"]);
    assert_eq!(scene.ticket.severity, Severity::Info);
    assert!(scene.ticket.escalation.calling, "nobody is called off");
    scene.clear(61, "door_fault");
    assert_eq!(scene.ticket.status, Status::Closed);
}

#[test]
fn what_waits_for_the_morning_does_not_when_it_becomes_worse() {
    let nights = QuietHours {
        name: "nights".to_owned(),
        matchers: matching(&[(Label::Severity, "minor")]),
        time_zone: "UTC".to_owned(),
        days: Day::ALL.to_vec(),
        from: "00:00".to_owned(),
        to: "07:00".to_owned(),
    };
    let surroundings = around(|a| a.noise = Arc::new(Noise { quiet_hours: vec![nights], ..Noise::default() }));
    let mut scene = Scene::open(surroundings, alert("door_fault", Severity::Minor, false));
    scene.brings(&["quiet_hours"]);
    scene.change(30, "door_fault", Severity::Major).brings(&["major: released", "page sms", "page email", "page sms"]);
}
