//! The English wording. Calm and truthful: a sentence says only what the milestone or level it rests on proves, and
//! reports are told as reports.

use model::{MessageContent, MilestoneKind, Purpose, RescueLevel, Severity, TicketKind};

use super::Options;
use crate::{reply::Verb, sms::clip, twilio::keypad::Key};

pub(super) fn kind(kind: TicketKind) -> &'static str {
    match kind {
        TicketKind::Entrapment => "ENTRAPMENT",
        TicketKind::Breakdown => "BREAKDOWN",
        TicketKind::Forecast => "EXPECTED FAULT",
        TicketKind::TestFailure => "SELF-TEST FAILED",
        TicketKind::Outage => "SITE OUTAGE",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "information",
        Severity::Minor => "minor",
        Severity::Major => "major",
        Severity::Critical => "critical",
    }
}

fn level(level: RescueLevel) -> &'static str {
    match level {
        RescueLevel::Maintainer => "1 (maintainer)",
        RescueLevel::Station => "2 (rescue station)",
        RescueLevel::FireService => "3 (fire service)",
    }
}

pub(super) fn name(content: &MessageContent) -> String {
    match (content.device_name.as_str(), content.site_name.as_str()) {
        ("", site) => site.to_owned(),
        (device, "") => device.to_owned(),
        (device, site) => format!("{device}, {site}"),
    }
}

fn place(content: &MessageContent) -> String {
    match content.site_address.as_str() {
        "" => name(content),
        address => format!("{}, {address}", name(content)),
    }
}

/// What is being done: by the last milestone, else by the level being called, else only what is certain.
fn doing(content: &MessageContent) -> &'static str {
    match (content.milestone, content.level) {
        (Some(milestone), _) => progress(milestone),
        (None, Some(RescueLevel::Maintainer)) if content.kind == TicketKind::Entrapment => {
            "We are calling the lift engineers now."
        }
        (None, Some(RescueLevel::Maintainer)) => "We are calling the maintenance engineers now.",
        (None, Some(RescueLevel::Station)) => "We are calling the rescue station now.",
        (None, Some(RescueLevel::FireService)) => "We are calling the fire service now.",
        (None, None) => "The dispatchers have it on their board.",
    }
}

fn progress(milestone: MilestoneKind) -> &'static str {
    match milestone {
        MilestoneKind::Detected => "We have detected it.",
        MilestoneKind::Contacted => {
            "Our call for help has reached a responder's phone. We are waiting for their answer."
        }
        MilestoneKind::Acknowledged => "A person has answered and is looking after this.",
        MilestoneKind::Dispatched => "A responder has the job.",
        MilestoneKind::EnRoute => "The responder is reported to be on the way.",
        MilestoneKind::Arrived => "The responder is reported to be on site.",
        MilestoneKind::Released => "The person is reported to be out.",
        MilestoneKind::Restored => "The fault is no longer reported.",
        MilestoneKind::Closed => "The case is closed.",
    }
}

fn still_inside(content: &MessageContent) -> &'static str {
    match (content.kind, content.milestone) {
        (TicketKind::Entrapment, Some(MilestoneKind::Released | MilestoneKind::Restored | MilestoneKind::Closed)) => {
            " If you are still inside, press the alarm button."
        }
        _ => "",
    }
}

/// What is known, for people who are not responders.
fn known(content: &MessageContent, place: &str) -> String {
    match content.kind {
        TicketKind::Entrapment => format!("We know about {place}: a person may be shut in."),
        TicketKind::Breakdown => format!("{place} reports a fault and may be out of service."),
        TicketKind::Forecast => format!("We expect a fault at {place} and have opened a job for it."),
        TicketKind::TestFailure => format!("A self-test of {place} failed or did not come."),
        TicketKind::Outage => format!("A fault affects several devices at {place}."),
    }
}

fn stand_down(content: &MessageContent, place: &str) -> String {
    let number = content.ticket_number;
    match content.milestone {
        Some(
            MilestoneKind::Acknowledged | MilestoneKind::Dispatched | MilestoneKind::EnRoute | MilestoneKind::Arrived,
        ) => {
            format!("Somebody else has job {number}, {place}. You need not come.")
        }
        Some(MilestoneKind::Released) => {
            format!("Job {number}, {place}: the person is reported to be out. You need not come.")
        }
        Some(MilestoneKind::Restored) => {
            format!("Job {number}, {place}: the fault is no longer reported. You need not come.")
        }
        Some(MilestoneKind::Closed) => format!("Job {number}, {place}, is closed. You need not come."),
        Some(MilestoneKind::Detected | MilestoneKind::Contacted) | None => {
            format!("You are no longer needed for job {number}, {place}.")
        }
    }
}

fn answer(content: &MessageContent) -> &str {
    content.text.as_ref().map_or("We have your message.", |text| text.en.as_str())
}

/// How a page is answered by SMS.
fn how(content: &MessageContent, options: &Options) -> String {
    let code = content.reply_code.map(|code| code.to_string()).unwrap_or_default();
    if options.replies {
        format!(" Reply {code}a to accept, {code}e to pass on, {code}d if you cannot come.")
    } else if options.links && content.link.is_some() {
        " Open the link to accept.".to_owned()
    } else {
        " Call your dispatcher to accept.".to_owned()
    }
}

pub(super) fn sms(content: &MessageContent, options: &Options, room: usize) -> String {
    let at = clip(&place(content), room);
    let short = clip(&name(content), room);
    let plate = content.plate.as_ref().map(|plate| format!(" Plate {plate}.")).unwrap_or_default();
    let link = content.link.as_ref().filter(|_| options.links).map(|link| format!(" {link}")).unwrap_or_default();
    match content.purpose {
        Purpose::Page => {
            let level = content.level.map(|level| format!(" level {}", level.number())).unwrap_or_default();
            let title = clip(&content.title.en, room.min(60));
            format!("{}{level}: {title}. {at}.{plate}{}{link}", kind(content.kind), how(content, options))
        }
        Purpose::StandDown => stand_down(content, &short),
        Purpose::CareLink => {
            let watch =
                if link.is_empty() { " We will tell you here what happens." } else { " Watch what happens here:" };
            let alarm = match content.kind {
                TicketKind::Entrapment => {
                    " Do not force the doors. This does not replace the alarm button or the intercom."
                }
                TicketKind::Breakdown | TicketKind::Forecast | TicketKind::TestFailure | TicketKind::Outage => "",
            };
            format!("{} {}{watch}{link}{alarm}", known(content, &at), doing(content))
        }
        Purpose::Progress => {
            let what = content.milestone.map_or("There is news.", progress);
            format!("{short}: {what}{}{link}", still_inside(content))
        }
        Purpose::Notice => format!("{} {}{link}", known(content, &at), doing(content)),
        Purpose::Update => {
            format!("{}, {short}: {}{link}", kind(content.kind), clip(answer(content), room.max(20) * 2))
        }
        Purpose::Answer => format!("{}{link}", clip(answer(content), room.max(20) * 2)),
    }
}

pub(super) fn subject(content: &MessageContent) -> String {
    let number = content.ticket_number;
    let name = name(content);
    match content.purpose {
        Purpose::Page => {
            let level = content.level.map(|level| format!(" level {}", level.number())).unwrap_or_default();
            format!("[#{number}] {}{level}: {name}", kind(content.kind))
        }
        Purpose::StandDown => format!("[#{number}] No longer needed: {name}"),
        Purpose::CareLink => format!("[#{number}] What is happening at {name}"),
        Purpose::Progress => format!("[#{number}] {name}: {}", content.milestone.map_or("there is news", milestone)),
        Purpose::Notice => format!("[#{number}] {}: {name}", kind(content.kind)),
        Purpose::Update => format!("[#{number}] More joined: {name}"),
        Purpose::Answer => format!("[#{number}] Your message about {name}"),
    }
}

pub(super) fn milestone(milestone: MilestoneKind) -> &'static str {
    match milestone {
        MilestoneKind::Detected => "detected",
        MilestoneKind::Contacted => "responder contacted",
        MilestoneKind::Acknowledged => "answered",
        MilestoneKind::Dispatched => "responder has the job",
        MilestoneKind::EnRoute => "on the way",
        MilestoneKind::Arrived => "on site",
        MilestoneKind::Released => "person reported out",
        MilestoneKind::Restored => "fault no longer reported",
        MilestoneKind::Closed => "closed",
    }
}

/// How a page is answered when it came by e-mail.
fn how_by_mail(content: &MessageContent) -> &'static str {
    match content.link {
        Some(_) => {
            "To accept the job, pass it on or decline, open the link and use the buttons there, or answer the SMS or the \
             call. Opening this e-mail or the link does not accept anything."
        }
        None => {
            "To accept the job, pass it on or decline, answer the SMS or the call. Opening this e-mail accepts nothing."
        }
    }
}

/// The body of an e-mail, a sentence group per paragraph; the link follows it.
pub(super) fn paragraphs(content: &MessageContent) -> Vec<String> {
    let at = place(content);
    match content.purpose {
        Purpose::Page => vec![
            format!("{}.", content.title.en.trim_end_matches('.')),
            content.reason.en.clone(),
            how_by_mail(content).to_owned(),
        ],
        Purpose::StandDown => vec![stand_down(content, &name(content))],
        Purpose::CareLink => {
            let mut all = vec![known(content, &at), doing(content).to_owned()];
            if content.kind == TicketKind::Entrapment {
                all.push(
                    "Please do not force the doors. The page below shows what happens as it happens. It does not replace \
                     the alarm button or the intercom in the lift."
                        .to_owned(),
                );
            }
            all
        }
        Purpose::Progress => {
            vec![format!("{}{}", content.milestone.map_or("There is news.", progress), still_inside(content))]
        }
        Purpose::Notice => vec![known(content, &at), content.reason.en.clone(), doing(content).to_owned()],
        Purpose::Update | Purpose::Answer => vec![answer(content).to_owned()],
    }
}

pub(super) fn facts(content: &MessageContent) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Where", place(content))];
    facts.extend(content.plate.clone().map(|plate| ("Plate", plate)));
    facts.push(("What", format!("{}, {}", kind(content.kind).to_lowercase(), severity(content.severity))));
    facts.extend(
        content.level.filter(|_| content.purpose == Purpose::Page).map(|l| ("Rescue level", level(l).to_owned())),
    );
    facts.push(("Job", format!("#{}", content.ticket_number)));
    facts.push(("Time", super::utc(content.at)));
    facts
}

pub(super) fn link_label(content: &MessageContent) -> &'static str {
    match content.purpose {
        Purpose::Page | Purpose::StandDown | Purpose::Update => "Open the job",
        Purpose::CareLink | Purpose::Progress | Purpose::Notice | Purpose::Answer => "See what is happening",
    }
}

pub(super) const FOOTER: &str = "Sent by Liftline because you are registered for this site or asked about this case.";

/// What a call says before the menu.
pub(super) fn spoken(content: &MessageContent) -> String {
    let at = clip(&place(content), 200);
    let short = clip(&name(content), 120);
    match content.purpose {
        Purpose::Page => {
            let plate = content.plate.as_ref().map(|p| format!(" Plate {}.", super::spell(p))).unwrap_or_default();
            let level =
                content.level.map(|l| format!(" You are called for rescue level {}.", l.number())).unwrap_or_default();
            let title = clip(&content.title.en, 160);
            format!("This is Liftline. {}. {title}. {at}.{plate}{level}", capital(kind(content.kind)))
        }
        Purpose::StandDown => format!("This is Liftline. {}", stand_down(content, &short)),
        Purpose::CareLink | Purpose::Notice => {
            format!("This is Liftline. {} {}{}", known(content, &at), doing(content), still_inside(content))
        }
        Purpose::Progress => {
            let what = content.milestone.map_or("There is news.", progress);
            format!("This is Liftline, about {short}. {what}{}", still_inside(content))
        }
        Purpose::Update | Purpose::Answer => format!("This is Liftline. {}", clip(answer(content), 400)),
    }
}

fn capital(shouted: &str) -> String {
    let mut chars = shouted.chars();
    chars.next().map(|first| first.to_string() + &chars.as_str().to_lowercase()).unwrap_or_default()
}

pub(super) const MENU: &str = "Press 4 to accept. Press 5 to pass on to the next level. Press 6 if you cannot come. Press star to hear this again.";
pub(super) const NO_KEY: &str = "No key was pressed, so nobody has accepted by this call. Goodbye.";
pub(super) const GOODBYE: &str = "Goodbye.";

/// What a call says after a key was handled.
pub(super) fn handled(key: Key) -> &'static str {
    match key {
        Key::Act(Verb::Acknowledge) => "Thank you. You have accepted the job.",
        Key::Act(Verb::Decline) => "Understood, you cannot come.",
        Key::Act(Verb::Escalate) => "Understood. The job is passed on to the next level.",
        Key::Act(Verb::EnRoute) => "Thank you. You are on the way.",
        Key::Act(Verb::Arrived) => "Thank you. You are on site.",
        Key::Act(Verb::Released) => "Thank you. The person is out.",
        Key::Act(Verb::Close) => "Thank you. The job is closed.",
        Key::Repeat | Key::None => "",
        Key::Unknown(_) => "This key does nothing.",
    }
}

pub(super) const NOT_HANDLED: &str =
    "That could not be done: the job may be closed or may have been passed on already.";
