//! The words of the care page. Facts are told as facts, intentions as intentions.

use model::{
    Language::{self, En, Zh},
    MilestoneKind, RescueLevel, TicketKind,
};

use super::story::{Phase, Said};

fn level(language: Language, level: RescueLevel) -> &'static str {
    match (language, level) {
        (En, RescueLevel::Maintainer) => "the lift engineers",
        (En, RescueLevel::Station) => "the nearest rescue station",
        (En, RescueLevel::FireService) => "the fire service",
        (Zh, RescueLevel::Maintainer) => "电梯维保人员",
        (Zh, RescueLevel::Station) => "最近的救援站",
        (Zh, RescueLevel::FireService) => "消防救援队",
    }
}

/// Where things stand, in one sentence.
pub(super) fn headline(language: Language, phase: Phase, inside: bool, kind: TicketKind) -> String {
    let text = match (language, phase) {
        (En, Phase::Known) => "We know about it. Nobody is being called at the moment.",
        (Zh, Phase::Known) => "我们已获知情况，目前没有呼叫救援人员。",
        (En, Phase::Unreachable) => "We know about it, but there is nobody on duty whom we can call.",
        (Zh, Phase::Unreachable) => "我们已获知情况，但目前没有可呼叫的值班人员。",
        (En, Phase::Calling(called)) => return format!("We are calling {}.", level(language, called)),
        (Zh, Phase::Calling(called)) => return format!("我们正在呼叫{}。", level(language, called)),
        (En, Phase::Unanswered) => "We have called everyone on our list. Nobody has answered yet.",
        (Zh, Phase::Unanswered) => "我们已呼叫名单上的所有人，目前还没有人应答。",
        (En, Phase::Answered) => "A person has answered and is taking care of it.",
        (Zh, Phase::Answered) => "已有人应答，正在处理。",
        (En, Phase::EnRoute) => "Help has told us that it is on the way.",
        (Zh, Phase::EnRoute) => "救援人员表示正在赶来。",
        (En, Phase::Arrived) => "Help has told us that it is at the building.",
        (Zh, Phase::Arrived) => "救援人员表示已到达现场。",
        (En, Phase::Released) if inside => "You are reported to be out.",
        (Zh, Phase::Released) if inside => "据报告，您已经出来了。",
        (En, Phase::Released) => "The people in the lift are reported to be out.",
        (Zh, Phase::Released) => "据报告，轿厢内的人员已经出来了。",
        (En, Phase::Restored) => "It runs again.",
        (Zh, Phase::Restored) => "设备已恢复运行。",
        (En, Phase::Closed) if kind == TicketKind::Entrapment => "It is over. This case is closed.",
        (En, Phase::Closed) => "This case is closed.",
        (Zh, Phase::Closed) => "事件已结束。",
    };
    text.to_owned()
}

/// An earned milestone.
pub(super) fn milestone(language: Language, milestone: MilestoneKind, kind: TicketKind, name: &str) -> String {
    let text = match (language, milestone) {
        (En, MilestoneKind::Detected) => return detected_en(kind, name),
        (Zh, MilestoneKind::Detected) => return detected_zh(kind, name),
        (En, MilestoneKind::Contacted) => "Our message has reached the phone of somebody on duty.",
        (Zh, MilestoneKind::Contacted) => "我们的消息已送达值班人员的手机。",
        (En, MilestoneKind::Acknowledged) => "A person has answered.",
        (Zh, MilestoneKind::Acknowledged) => "已有人应答。",
        (En, MilestoneKind::Dispatched) => "A named person has been given the job.",
        (Zh, MilestoneKind::Dispatched) => "任务已交给指定人员。",
        (En, MilestoneKind::EnRoute) => "They told us that they are on the way.",
        (Zh, MilestoneKind::EnRoute) => "救援人员表示正在赶来。",
        (En, MilestoneKind::Arrived) => "They told us that they are at the building.",
        (Zh, MilestoneKind::Arrived) => "救援人员表示已到达现场。",
        (En, MilestoneKind::Released) => "The people in the lift were reported to be out.",
        (Zh, MilestoneKind::Released) => "据报告，轿厢内的人员已经出来。",
        (En, MilestoneKind::Restored) => "It was reported to run again.",
        (Zh, MilestoneKind::Restored) => "据报告，设备已恢复运行。",
        (En, MilestoneKind::Closed) => "The case was closed.",
        (Zh, MilestoneKind::Closed) => "事件已关闭。",
    };
    text.to_owned()
}

fn detected_en(kind: TicketKind, name: &str) -> String {
    match kind {
        TicketKind::Entrapment => format!("{name} reported that somebody may be shut in."),
        TicketKind::Breakdown => format!("{name} reported a fault."),
        TicketKind::Forecast => format!("We noticed that {name} needs a repair soon."),
        TicketKind::TestFailure => format!("A self-test of {name} failed."),
        TicketKind::Outage => format!("Several devices at {name} stopped at once."),
    }
}

fn detected_zh(kind: TicketKind, name: &str) -> String {
    match kind {
        TicketKind::Entrapment => format!("{name}报告可能有人被困。"),
        TicketKind::Breakdown => format!("{name}报告故障。"),
        TicketKind::Forecast => format!("我们发现{name}近期需要维修。"),
        TicketKind::TestFailure => format!("{name}自检未通过。"),
        TicketKind::Outage => format!("{name}有多台设备同时停止运行。"),
    }
}

/// A call that was begun.
pub(super) fn called(language: Language, called: RescueLevel, again: bool) -> String {
    match (language, again) {
        (En, false) => format!("We began to call {}.", level(language, called)),
        (En, true) => format!("We began to call {} again.", level(language, called)),
        (Zh, false) => format!("我们开始呼叫{}。", level(language, called)),
        (Zh, true) => format!("我们再次呼叫{}。", level(language, called)),
    }
}

pub(super) fn exhausted(language: Language, called: bool) -> &'static str {
    match (language, called) {
        (En, true) => "Everyone on our list had been called; nobody had answered.",
        (Zh, true) => "名单上的所有人都已呼叫，当时无人应答。",
        (En, false) => "There was nobody on duty whom we could call.",
        (Zh, false) => "当时没有可呼叫的值班人员。",
    }
}

pub(super) fn given_up(language: Language) -> &'static str {
    match language {
        En => "The person who had the job told us that they cannot come.",
        Zh => "接到任务的人员表示无法前来。",
    }
}

pub(super) fn overdue(language: Language) -> &'static str {
    match language {
        En => "Nobody had reported their arrival in time, so we began to call again.",
        Zh => "未按时收到到达报告，我们开始重新呼叫。",
    }
}

/// What the person told us.
pub(super) fn you_said(language: Language, said: Option<Said>, text: &str) -> String {
    match (language, said) {
        (En, Some(Said::Help)) => "You told us that you are hurt or need help.".to_owned(),
        (Zh, Some(Said::Help)) => "您告诉我们：您受伤了或需要帮助。".to_owned(),
        (En, Some(Said::Out)) => {
            "You told us that you are out. We keep the case open until this is confirmed.".to_owned()
        }
        (Zh, Some(Said::Out)) => "您告诉我们：您已经出来了。在确认之前，我们会继续跟进。".to_owned(),
        (En, None) => format!("You wrote: {text}"),
        (Zh, None) => format!("您写道：{text}"),
    }
}

pub(super) fn try_again(language: Language, due: &str) -> String {
    match language {
        En => format!("We will try again at {due}."),
        Zh => format!("我们将在 {due} 再次尝试。"),
    }
}

/// What is intended if nobody answers; without a level the list starts again.
pub(super) fn unless_answered(language: Language, next: Option<RescueLevel>, due: &str) -> String {
    match (language, next) {
        (En, Some(next)) => format!("If nobody answers by {due}, we will call {}.", level(language, next)),
        (En, None) => format!("If nobody answers by {due}, we will call again."),
        (Zh, Some(next)) => format!("如果到 {due} 仍无人应答，我们将呼叫{}。", level(language, next)),
        (Zh, None) => format!("如果到 {due} 仍无人应答，我们将再次呼叫。"),
    }
}

pub(super) fn unless_arrived(language: Language, due: &str) -> String {
    match language {
        En => format!("If nobody reports their arrival by {due}, we will call again."),
        Zh => format!("如果到 {due} 仍未收到到达报告，我们将再次呼叫。"),
    }
}

pub(super) fn expect_departure(language: Language) -> &'static str {
    match language {
        En => "When they tell us that they are on the way, you will see it here.",
        Zh => "他们出发后告知我们时，您会在这里看到。",
    }
}

pub(super) fn expect_arrival(language: Language) -> &'static str {
    match language {
        En => "When they tell us that they have arrived, you will see it here.",
        Zh => "他们到达后告知我们时，您会在这里看到。",
    }
}

pub(super) fn expect_release(language: Language, inside: bool, kind: TicketKind) -> &'static str {
    match (language, inside, kind) {
        (En, true, _) => "They intend to open the doors for you. Do not move towards them until you are told to.",
        (Zh, true, _) => "他们将为您打开轿门。在得到指示之前，请不要靠近轿门。",
        (En, false, TicketKind::Entrapment) => "They intend to free the people in the lift.",
        (Zh, false, TicketKind::Entrapment) => "他们将解救轿厢内的人员。",
        (En, false, _) => "When it runs again, you will see it here.",
        (Zh, false, _) => "恢复运行后，您会在这里看到。",
    }
}

pub(super) fn stays_open(language: Language) -> &'static str {
    match language {
        En => "Your case stays open until you are out.",
        Zh => "在您出来之前，我们会一直跟进。",
    }
}

/// The fixed parts of the page.
pub(super) struct Labels {
    pub title: &'static str,
    pub happened: &'static str,
    pub intended: &'static str,
    pub advice_title: &'static str,
    pub advice: [&'static str; 5],
    pub where_title: &'static str,
    pub where_over: &'static str,
    pub plate: &'static str,
    pub ticket: &'static str,
    pub help: &'static str,
    pub out: &'static str,
    pub tell_us: &'static str,
    pub still_inside: &'static str,
    pub said_often: &'static str,
    pub back: &'static str,
    pub as_of: &'static str,
    /// With `{time}`, for the script.
    pub connected: &'static str,
    /// With `{time}`, for the script.
    pub lost: &'static str,
    pub no_script: &'static str,
    pub gone_title: &'static str,
    pub gone: &'static str,
    pub away_title: &'static str,
    pub away: &'static str,
}

pub(super) fn labels(language: Language) -> &'static Labels {
    match language {
        En => &ENGLISH,
        Zh => &CHINESE,
    }
}

/// Whom to call in danger.
pub(super) fn emergency(language: Language, number: Option<&str>) -> (&'static str, String) {
    match (language, number) {
        (En, Some(number)) => ("If you are hurt, feel ill or see smoke, call ", number.to_owned()),
        (Zh, Some(number)) => ("如果您受伤、身体不适或看到烟雾，请立即拨打 ", number.to_owned()),
        (En, None) => (
            "If you are hurt, feel ill or see smoke, call ",
            "the emergency number (119 or 120 in China, 112 in Europe, 911 in North America)".to_owned(),
        ),
        (Zh, None) => {
            ("如果您受伤、身体不适或看到烟雾，请立即拨打", "紧急电话（中国 119 或 120，欧洲 112，北美 911）".to_owned())
        }
    }
}

static ENGLISH: Labels = Labels {
    title: "Help for you",
    happened: "What has happened",
    intended: "What comes next",
    advice_title: "While you wait",
    advice: [
        "Stay inside. You are safest in the car.",
        "Do not force the doors and do not climb out, even if they stand open a little.",
        "There is enough air: a lift car is never airtight.",
        "Press the alarm button (the bell) and speak: the intercom connects you with people.",
        "Keep away from the doors. Sit down if you like; the car may move a little when help comes.",
    ],
    where_title: "Where you are — say this if you call",
    where_over: "Where it was",
    plate: "Lift number",
    ticket: "Case",
    help: "I am hurt or need help",
    out: "I am out now",
    tell_us: "Tell us",
    still_inside: "If you are still inside, press the alarm button in the car and call ",
    said_often: "We have your message. Please wait a little before you send another.",
    back: "Back to the page",
    as_of: "As of",
    connected: "Connected. Last heard from the hub at {time}.",
    lost: "No connection since {time}. What you see may be older than that. Help does not depend on this page.",
    no_script: "This page loads itself again every 10 seconds.",
    gone_title: "This page is not there",
    gone: "The link is wrong or has expired. If you are shut in a lift, press the alarm button in the car and call ",
    away_title: "This page cannot be shown at the moment",
    away: "It tries again in 10 seconds. If you are shut in a lift, press the alarm button in the car and call ",
};

static CHINESE: Labels = Labels {
    title: "救援进展",
    happened: "已经发生",
    intended: "接下来",
    advice_title: "等待时请注意",
    advice: [
        "请留在轿厢内，这里最安全。",
        "不要扒门，也不要爬出去，即使门开着一条缝。",
        "空气是充足的：轿厢不是密闭的。",
        "按下报警按钮（铃铛标志）并讲话，对讲机可与值班人员通话。",
        "请远离轿门，可以坐下。救援时轿厢可能会轻微移动。",
    ],
    where_title: "您的位置——打电话时请告诉对方",
    where_over: "地点",
    plate: "电梯编号",
    ticket: "事件编号",
    help: "我受伤了或需要帮助",
    out: "我已经出来了",
    tell_us: "告诉我们",
    still_inside: "如果您仍在轿厢内，请按轿厢内的报警按钮，并拨打 ",
    said_often: "我们已收到您的消息，请稍后再发送。",
    back: "返回页面",
    as_of: "截至",
    connected: "已连接。最近一次收到信息：{time}。",
    lost: "自 {time} 起没有网络连接，您看到的内容可能不是最新的。救援不依赖此页面。",
    no_script: "此页面每 10 秒自动刷新一次。",
    gone_title: "此页面不存在",
    gone: "链接有误或已过期。如果您被困在电梯里，请按轿厢内的报警按钮，并拨打 ",
    away_title: "此页面暂时无法显示",
    away: "10 秒后自动重试。如果您被困在电梯里，请按轿厢内的报警按钮，并拨打 ",
};
