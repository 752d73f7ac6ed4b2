//! The care page tells what was earned and nothing else: a ticket is led through its life, and the page is read in
//! both languages at every step.

use std::time::Duration;

use desk::{Actor, Affected, Escalation, Milestone, Policies, Responder, Status, Ticket, TimelineEntry, What};
use jiff::tz::TimeZone;
use model::{
    AffectedId, DeviceId, Language, Localised, MessageChannel, MilestoneKind, OrgId, PersonId, ProfileId, Receiver,
    RescueLevel, Severity, SiteId, TicketId, TicketKind, Timestamp,
};

use super::{
    page::{self, Place, View},
    story::{self, Phase, Said, Story},
};

const START: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z, 08:00 in Shanghai

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START + secs)
}

fn id<T: std::str::FromStr>(n: u8) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("00000000-0000-4000-8000-0000000000{n:02}").parse().unwrap()
}

struct Case {
    ticket: Ticket,
    affected: Affected,
    timeline: Vec<TimelineEntry>,
    now: Timestamp,
}

impl Case {
    fn entrapment() -> Self {
        let affected = Affected {
            id: id::<AffectedId>(9),
            name: None,
            receiver: Receiver { channel: MessageChannel::Sms, address: "+8613812345678".to_owned() },
            language: Language::En,
            inside: true,
            added_at: at(5),
        };
        let policies = Policies::default();
        let ticket = Ticket {
            id: id::<TicketId>(1),
            number: 17,
            org: id::<OrgId>(2),
            kind: TicketKind::Entrapment,
            severity: Severity::Critical,
            life_safety: true,
            group_key: "k".to_owned(),
            site: id::<SiteId>(3),
            device: Some(DeviceId::new("lift-1").unwrap()),
            profile: ProfileId::new("lift").unwrap(),
            title: Localised::new("Person shut in", "有人被困"),
            runbook: None,
            status: Status::Open,
            opened_at: at(0),
            closed_at: None,
            alerts: Vec::new(),
            milestones: Vec::new(),
            escalation: Escalation::default(),
            responders: Vec::new(),
            assignee: None,
            affected: vec![affected.clone()],
            policy: policies.entrapment,
            last_note: None,
            held: None,
            next_look: None,
            by_hand: false,
            announced: true,
            timing: desk::noise::Timing::AT_ONCE,
            hold_open: None,
            news: desk::News::default(),
            repeat_at: None,
            cause: None,
            parts: None,
            version: 1,
        };
        let mut case = Self { ticket, affected, timeline: Vec::new(), now: at(0) };
        case.log(What::Opened);
        case.earn(MilestoneKind::Detected);
        case
    }

    fn log(&mut self, what: What) -> &mut Self {
        self.timeline.push(TimelineEntry { at: self.now, actor: Actor::Hub, what });
        self
    }

    fn after(&mut self, secs: u64) -> &mut Self {
        self.now = self.now + Duration::from_secs(secs);
        self
    }

    fn earn(&mut self, kind: MilestoneKind) -> &mut Self {
        let proof = Localised::new("INTERNAL PROOF", "INTERNAL PROOF");
        self.ticket.milestones.push(Milestone { kind, at: self.now, actor: Actor::Hub, proof: proof.clone() });
        self.log(What::Milestone { milestone: kind, proof })
    }

    fn page_level(&mut self, level: RescueLevel, wait: u64) -> &mut Self {
        let (person, name) = (id::<PersonId>(level.number()), "SECRET NAME".to_owned());
        self.ticket.escalation.calling = true;
        self.ticket.escalation.step = u32::from(level.number());
        self.ticket.escalation.next_at = Some(self.now + Duration::from_secs(wait));
        self.ticket.responders.push(Responder {
            person,
            name: name.clone(),
            level,
            paged_at: self.now,
            delivered_at: None,
            acknowledged_at: None,
            declined_at: None,
            stood_down_at: None,
        });
        for channel in [MessageChannel::Sms, MessageChannel::Voice] {
            self.log(What::Paged { person, name: name.clone(), level, channels: vec![channel] });
        }
        self
    }

    fn story(&self, language: Language) -> Story {
        let zone = TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::fixed(jiff::tz::offset(8)));
        story::tell(&self.ticket, &self.affected, &self.timeline, "Lift 2", &zone, language, self.now)
    }

    fn answer(&mut self) -> &mut Self {
        self.ticket.escalation.calling = false;
        self.ticket.escalation.next_at = Some(self.now + Duration::from_secs(1800));
        self.ticket.status = Status::Acknowledged;
        self.earn(MilestoneKind::Acknowledged)
    }

    fn page(&self, language: Language) -> String {
        let story = self.story(language);
        let page = page::page(&View {
            token: "abc-TOKEN",
            language,
            emergency_number: Some("119"),
            number: 17,
            inside: self.affected.inside,
            place: Place { name: "Lift 2", plate: Some("330122"), site: "Tower <A>", address: "1 Main Rd & Co" },
            story: &story,
            as_of: "08:00:00",
            zone: "Asia/Shanghai",
        });
        assert!(page.len() < 50_000, "the page has {} bytes", page.len());
        assert!(!page.contains("SECRET NAME") && !page.contains("INTERNAL") && !page.contains("13812345678"));
        assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
        page
    }

    fn check(&self, phase: Phase, has: [&str; 2], has_not: [&[&str]; 2]) {
        assert_eq!(self.story(Language::En).phase, phase);
        for (n, language) in Language::ALL.into_iter().enumerate() {
            let page = self.page(language);
            assert!(page.contains(has[n]), "{language}: \"{}\" is missing in\n{page}", has[n]);
            for absent in has_not[n] {
                assert!(!page.contains(absent), "{language}: \"{absent}\" is not earned but in\n{page}");
            }
            assert!(page.contains(&format!("<html lang=\"{}\"", language.tag())));
        }
    }
}

const ANSWERED: [&str; 2] = ["A person has answered", "已有人应答"];
const ON_THE_WAY: [&str; 2] = ["told us that they are on the way.<", "救援人员表示正在赶来。<"];
const ARRIVED: [&str; 2] = ["told us that they are at the building", "已到达现场"];
const OUT: [&str; 2] = ["reported to be out", "已经出来了。<"];
const CALLING: [&str; 2] = ["We are calling the lift engineers.", "我们正在呼叫电梯维保人员。"];

#[test]
fn nothing_is_told_before_it_is_earned() {
    let mut case = Case::entrapment();
    let yet = [
        &[CALLING[0], ANSWERED[0], ON_THE_WAY[0], ARRIVED[0], OUT[0]][..],
        &[CALLING[1], ANSWERED[1], ON_THE_WAY[1], ARRIVED[1], OUT[1]][..],
    ];
    let later = |n: usize| [&yet[0][n..], &yet[1][n..]];
    case.check(Phase::Known, ["Nobody is being called", "目前没有呼叫"], later(0));
    case.after(2).page_level(RescueLevel::Maintainer, 180);
    case.check(Phase::Calling(RescueLevel::Maintainer), CALLING, later(1));
    case.after(3).earn(MilestoneKind::Contacted);
    case.check(Phase::Calling(RescueLevel::Maintainer), ["has reached the phone", "已送达"], later(1));
    case.after(20).answer();
    case.check(Phase::Answered, ANSWERED, later(2));
    case.earn(MilestoneKind::Dispatched);
    case.check(Phase::Answered, ["given the job", "任务已交给"], later(2));
    case.after(60).earn(MilestoneKind::EnRoute);
    case.check(Phase::EnRoute, ON_THE_WAY, later(3));
    case.after(600).earn(MilestoneKind::Arrived);
    case.check(Phase::Arrived, ARRIVED, later(4));
    case.after(300).earn(MilestoneKind::Released);
    case.check(Phase::Released, OUT, [&[], &[]]);
    case.after(60).earn(MilestoneKind::Restored).earn(MilestoneKind::Closed);
    case.ticket.status = Status::Closed;
    case.check(Phase::Closed, ["It is over", "事件已结束"], [&["http-equiv=\"refresh\""], &["http-equiv=\"refresh\""]]);
}

#[test]
fn intentions_are_told_as_intentions_with_their_time() {
    let mut case = Case::entrapment();
    case.page_level(RescueLevel::Maintainer, 180);
    let next = case.story(Language::En).next;
    assert_eq!(next[0], "If nobody answers by 08:03, we will call the nearest rescue station.");
    assert_eq!(case.story(Language::Zh).next[0], "如果到 08:03 仍无人应答，我们将呼叫最近的救援站。");
    assert_eq!(next[1], "Your case stays open until you are out.");
    case.after(180);
    assert_eq!(case.story(Language::En).next.len(), 1, "a time that has passed promises nothing");
}

#[test]
fn every_level_is_told_once_for_each_call() {
    let mut case = Case::entrapment();
    case.page_level(RescueLevel::Maintainer, 180).after(180).page_level(RescueLevel::Station, 120);
    case.after(120).page_level(RescueLevel::FireService, 300).after(300).page_level(RescueLevel::Maintainer, 180);
    let texts: Vec<_> = case.story(Language::En).lines.into_iter().map(|line| (line.clock, line.text)).collect();
    let told: Vec<_> = texts.iter().map(|(clock, text)| (clock.as_str(), text.as_str())).collect();
    assert_eq!(
        told,
        [
            ("08:00", "Lift 2 reported that somebody may be shut in."),
            ("08:00", "We began to call the lift engineers."),
            ("08:03", "We began to call the nearest rescue station."),
            ("08:05", "We began to call the fire service."),
            ("08:10", "We began to call the lift engineers again."),
        ]
    );
}

#[test]
fn silence_is_admitted() {
    let mut case = Case::entrapment();
    case.page_level(RescueLevel::FireService, 300).after(300).log(What::Exhausted);
    case.check(Phase::Unanswered, ["Nobody has answered yet", "目前还没有人应答"], [&[], &[]]);

    let mut case = Case::entrapment();
    case.log(What::NobodyOnCall { level: RescueLevel::Maintainer }).log(What::Exhausted);
    case.ticket.escalation.calling = true;
    case.ticket.escalation.next_at = Some(at(180));
    case.check(
        Phase::Unreachable,
        ["nobody on duty", "没有可呼叫的值班人员"],
        [&["have called", "had been called"], &["都已呼叫", "已呼叫名单"]],
    );
    assert_eq!(case.story(Language::En).next[0], "We will try again at 08:03.");
}

#[test]
fn lateness_is_admitted_and_an_old_promise_is_taken_back() {
    let mut case = Case::entrapment();
    case.page_level(RescueLevel::Maintainer, 180).answer().earn(MilestoneKind::EnRoute);
    assert_eq!(case.story(Language::En).phase, Phase::EnRoute);
    assert_eq!(case.story(Language::En).next[1], "If nobody reports their arrival by 08:30, we will call again.");
    case.after(1800).log(What::Overdue).page_level(RescueLevel::Station, 120);
    case.check(
        Phase::Calling(RescueLevel::Station),
        ["had reported their arrival in time", "未按时收到到达报告"],
        [&[], &[]],
    );
    case.after(30).ticket.escalation.calling = false;
    assert_eq!(case.story(Language::En).phase, Phase::Answered, "those who answered now have not set out yet");
}

#[test]
fn a_job_given_back_is_told() {
    let mut case = Case::entrapment();
    let (person, name) = (id::<PersonId>(1), "SECRET NAME".to_owned());
    case.page_level(RescueLevel::Maintainer, 180).answer();
    case.log(What::Assigned { person, name: name.clone() }).earn(MilestoneKind::EnRoute);
    for (declines, told) in [(2, false), (1, true)] {
        let actor = Actor::Person { person: id(declines), name: name.clone(), channel: MessageChannel::Sms };
        case.timeline.push(TimelineEntry { at: case.now, actor, what: What::Declined });
        assert_eq!(case.page(Language::En).contains("cannot come"), told);
        assert_eq!(case.story(Language::En).phase == Phase::EnRoute, !told);
    }
}

#[test]
fn the_last_call_promises_no_other() {
    let mut case = Case::entrapment();
    case.page_level(RescueLevel::FireService, 300);
    case.ticket.escalation.round = case.ticket.policy.repeats;
    assert_eq!(case.story(Language::En).next[0], "If nobody answers by 08:05, we will call again.");
    case.ticket.life_safety = false;
    assert!(case.story(Language::En).next.is_empty());
}

#[test]
fn what_the_person_says_is_repeated_and_proves_nothing() {
    let mut case = Case::entrapment();
    case.page_level(RescueLevel::Maintainer, 180).after(10);
    for (said, affected) in [(Said::Out, 9), (Said::Help, 8)] {
        let actor = Actor::Affected { affected: id(affected) };
        case.timeline.push(TimelineEntry { at: case.now, actor, what: What::Note { text: said.note().to_owned() } });
    }
    let text = "INTERNAL: send no one".to_owned();
    case.log(What::Note { text });
    case.check(
        Phase::Calling(RescueLevel::Maintainer),
        ["You told us that you are out", "您告诉我们：您已经出来了"],
        [&["You told us that you are hurt", OUT[0]], &["您告诉我们：您受伤了"]],
    );
    assert!(case.story(Language::En).waiting_inside, "advice stays until the release is confirmed");
}

#[test]
fn a_lift_that_runs_again_does_not_end_an_entrapment() {
    let mut case = Case::entrapment();
    case.page_level(RescueLevel::Maintainer, 180).earn(MilestoneKind::Restored);
    case.ticket.status = Status::Restored;
    let story = case.story(Language::En);
    assert_eq!(story.phase, Phase::Calling(RescueLevel::Maintainer));
    assert!(story.waiting_inside);
    case.ticket.kind = TicketKind::Breakdown;
    assert_eq!(case.story(Language::En).phase, Phase::Restored);
}

#[test]
fn the_page_helps_whoever_waits_inside() {
    let mut case = Case::entrapment();
    let page = case.page(Language::En);
    for part in [
        "Do not force the doors",
        "enough air",
        "alarm button",
        "href=\"tel:119\"",
        "330122",
        "Tower &lt;A&gt;",
        "1 Main Rd &amp; Co",
        "name=\"what\" value=\"help\"",
        "name=\"what\" value=\"out\"",
        "http-equiv=\"refresh\" content=\"10\"",
        "href=\"/c/abc-TOKEN?lang=zh\"",
        "noindex",
        "No connection since {time}",
        "datetime=\"2026-01-01T00:00:00Z\"",
    ] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    let page = case.page(Language::Zh);
    for part in ["不要扒门", "空气是充足的", "报警按钮", "href=\"/c/abc-TOKEN?lang=en\"", "自 {time} 起没有网络连接"]
    {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    case.affected.inside = false;
    let page = case.page(Language::En);
    assert!(!page.contains("Do not force the doors") && !page.contains("<form"), "advice is for those inside");
    case.affected.inside = true;
    case.earn(MilestoneKind::Released);
    let page = case.page(Language::En);
    assert!(page.contains("If you are still inside") && page.contains("<form"), "a report may be wrong");
}

#[test]
fn a_date_is_shown_when_it_is_not_today() {
    let mut case = Case::entrapment();
    case.after(86_400).page_level(RescueLevel::Maintainer, 180);
    let clocks: Vec<_> = case.story(Language::En).lines.into_iter().map(|line| line.clock).collect();
    assert_eq!(clocks, ["2026-01-01 08:00", "08:00"]);
}

#[test]
fn the_mark_changes_with_the_content_only() {
    let mut case = Case::entrapment();
    let mark = |case: &Case| {
        let page = case.page(Language::En);
        page.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let before = mark(&case);
    assert_eq!(mark(case.after(1)), before);
    assert_ne!(mark(case.page_level(RescueLevel::Maintainer, 180)), before);
}

#[test]
fn the_policy_names_exactly_the_script_and_style_of_the_page() {
    use base64::Engine;
    use sha2::Digest;
    let page = Case::entrapment().page(Language::En);
    let between = |open: &str, close: &str| page.split(open).nth(1).unwrap().split(close).next().unwrap().to_owned();
    for (kind, text) in [("style", between("<style>", "</style>")), ("script", between("<script>", "</script>"))] {
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text.as_bytes()));
        assert!(page::CONTENT_SECURITY_POLICY.contains(&format!("{kind}-src 'sha256-{hash}'")), "{kind}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains(" style=") && !page.contains(" onclick"));
}

/// Contrast as WCAG 2.2 defines it (relative luminance of sRGB).
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |colour: &str| {
        let digits = colour.trim_start_matches('#');
        let long = if digits.len() == 3 { digits.chars().flat_map(|c| [c, c]).collect() } else { digits.to_owned() };
        let part = |n: usize| {
            let value = f64::from(u8::from_str_radix(&long[2 * n..2 * n + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(1) + 0.0722 * part(2)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_can_be_read_by_day_and_by_night() {
    let roots: Vec<_> = include_str!("style.css").split(":root{").skip(1).collect();
    assert_eq!(roots.len(), 2, "light and dark");
    for root in roots {
        let colour = |name: &str| {
            let start = root.find(&format!("--{name}:")).unwrap() + name.len() + 3;
            root[start..].split([';', '}']).next().unwrap()
        };
        for (text, ground) in [
            ("fg", "bg"),
            ("fg", "card"),
            ("dim", "bg"),
            ("dim", "card"),
            ("go", "bg"),
            ("go", "card"),
            ("bad", "bg"),
            ("bad-fg", "bad"),
        ] {
            let ratio = contrast(colour(text), colour(ground));
            assert!(ratio >= 4.5, "{text} on {ground}: {ratio:.2}");
        }
    }
    assert!((contrast("#000", "#ffffff") - 21.0).abs() < 0.01);
}
