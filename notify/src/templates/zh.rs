//! The wording in Simplified Chinese. Sentence by sentence the same as the English.

use model::{MessageContent, MilestoneKind, Purpose, RescueLevel, Severity, TicketKind};

use super::Options;
use crate::{reply::Verb, sms::clip, twilio::keypad::Key};

pub(super) fn kind(kind: TicketKind) -> &'static str {
    match kind {
        TicketKind::Entrapment => "电梯困人",
        TicketKind::Breakdown => "设备故障",
        TicketKind::Forecast => "故障预警",
        TicketKind::TestFailure => "自检异常",
        TicketKind::Outage => "站点停运",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "提示",
        Severity::Minor => "一般",
        Severity::Major => "严重",
        Severity::Critical => "紧急",
    }
}

fn level(level: RescueLevel) -> &'static str {
    match level {
        RescueLevel::Maintainer => "一级（维保单位）",
        RescueLevel::Station => "二级（救援站）",
        RescueLevel::FireService => "三级（消防）",
    }
}

fn level_short(level: RescueLevel) -> &'static str {
    match level {
        RescueLevel::Maintainer => "一级",
        RescueLevel::Station => "二级",
        RescueLevel::FireService => "三级",
    }
}

pub(super) fn name(content: &MessageContent) -> String {
    format!("{}{}", content.site_name, content.device_name)
}

fn place(content: &MessageContent) -> String {
    match content.site_address.as_str() {
        "" => name(content),
        address => format!("{}（{address}）", name(content)),
    }
}

fn doing(content: &MessageContent) -> &'static str {
    match (content.milestone, content.level) {
        (Some(milestone), _) => progress(milestone),
        (None, Some(RescueLevel::Maintainer)) => "正在呼叫维保人员。",
        (None, Some(RescueLevel::Station)) => "正在呼叫救援站。",
        (None, Some(RescueLevel::FireService)) => "正在呼叫消防救援。",
        (None, None) => "调度台已显示此事件。",
    }
}

fn progress(milestone: MilestoneKind) -> &'static str {
    match milestone {
        MilestoneKind::Detected => "我们已发现此情况。",
        MilestoneKind::Contacted => "求助信息已送达救援人员手机，正在等待答复。",
        MilestoneKind::Acknowledged => "已有人员应答并负责处理。",
        MilestoneKind::Dispatched => "救援人员已接到任务。",
        MilestoneKind::EnRoute => "据报告，救援人员已出发。",
        MilestoneKind::Arrived => "据报告，救援人员已到达现场。",
        MilestoneKind::Released => "据报告，被困人员已脱困。",
        MilestoneKind::Restored => "设备已不再报告故障。",
        MilestoneKind::Closed => "事件已结束。",
    }
}

fn still_inside(content: &MessageContent) -> &'static str {
    match (content.kind, content.milestone) {
        (TicketKind::Entrapment, Some(MilestoneKind::Released | MilestoneKind::Restored | MilestoneKind::Closed)) => {
            "如您仍在轿厢内，请按报警按钮。"
        }
        _ => "",
    }
}

fn known(content: &MessageContent, place: &str) -> String {
    match content.kind {
        TicketKind::Entrapment => format!("我们已知悉{place}可能有人被困。"),
        TicketKind::Breakdown => format!("{place}报告故障，可能停用。"),
        TicketKind::Forecast => format!("预计{place}将出现故障，已建立工单。"),
        TicketKind::TestFailure => format!("{place}自检未通过或未按时上报。"),
        TicketKind::Outage => format!("{place}有多台设备受同一故障影响。"),
    }
}

fn stand_down(content: &MessageContent, place: &str) -> String {
    let number = content.ticket_number;
    match content.milestone {
        Some(
            MilestoneKind::Acknowledged | MilestoneKind::Dispatched | MilestoneKind::EnRoute | MilestoneKind::Arrived,
        ) => {
            format!("工单{number}（{place}）已由他人处理，您无需前往。")
        }
        Some(MilestoneKind::Released) => format!("工单{number}（{place}）：据报告被困人员已脱困，您无需前往。"),
        Some(MilestoneKind::Restored) => format!("工单{number}（{place}）：设备已不再报告故障，您无需前往。"),
        Some(MilestoneKind::Closed) => format!("工单{number}（{place}）已关闭，您无需前往。"),
        Some(MilestoneKind::Detected | MilestoneKind::Contacted) | None => {
            format!("工单{number}（{place}）已不再需要您处理。")
        }
    }
}

fn answer(content: &MessageContent) -> &str {
    content.text.as_ref().map_or("我们已收到您的信息。", |text| text.zh.as_str())
}

fn how(content: &MessageContent, options: &Options) -> String {
    let code = content.reply_code.map(|code| code.to_string()).unwrap_or_default();
    if options.replies {
        format!("回复{code}a接单，{code}e转上级，{code}d不能前往。")
    } else if options.links && content.link.is_some() {
        "请打开链接接单。".to_owned()
    } else {
        "请致电调度台接单。".to_owned()
    }
}

pub(super) fn sms(content: &MessageContent, options: &Options, room: usize) -> String {
    let at = clip(&place(content), room);
    let short = clip(&name(content), room);
    let plate = content.plate.as_ref().map(|plate| format!("编号{plate}。")).unwrap_or_default();
    let link = content.link.as_ref().filter(|_| options.links).map(|link| format!(" {link} ")).unwrap_or_default();
    match content.purpose {
        Purpose::Page => {
            let level = content.level.map(level_short).unwrap_or_default();
            let title = clip(&content.title.zh, room.min(24));
            format!("【{}】{level}：{title}。{at}。{plate}{}{link}", kind(content.kind), how(content, options))
        }
        Purpose::StandDown => stand_down(content, &short),
        Purpose::CareLink => {
            let watch = if link.is_empty() { "进展将在此告知。" } else { "实时进展：" };
            let alarm = match content.kind {
                TicketKind::Entrapment => "请勿扒门。此页面不能代替报警按钮或对讲。",
                TicketKind::Breakdown | TicketKind::Forecast | TicketKind::TestFailure | TicketKind::Outage => "",
            };
            format!("{}{}{watch}{link}{alarm}", known(content, &at), doing(content))
        }
        Purpose::Progress => {
            let what = content.milestone.map_or("有新进展。", progress);
            format!("{short}：{what}{}{link}", still_inside(content))
        }
        Purpose::Notice => format!("{}{}{link}", known(content, &at), doing(content)),
        Purpose::Update => format!("{}，{short}：{}{link}", kind(content.kind), clip(answer(content), room)),
        Purpose::Answer => format!("{}{link}", clip(answer(content), room)),
    }
}

pub(super) fn subject(content: &MessageContent) -> String {
    let number = content.ticket_number;
    let name = name(content);
    match content.purpose {
        Purpose::Page => {
            format!("[#{number}] {}{}：{name}", kind(content.kind), content.level.map(level_short).unwrap_or_default())
        }
        Purpose::StandDown => format!("[#{number}] 无需前往：{name}"),
        Purpose::CareLink => format!("[#{number}] {name}的最新情况"),
        Purpose::Progress => format!("[#{number}] {name}：{}", content.milestone.map_or("有新进展", milestone)),
        Purpose::Notice => format!("[#{number}] {}：{name}", kind(content.kind)),
        Purpose::Update => format!("[#{number}] 影响范围扩大：{name}"),
        Purpose::Answer => format!("[#{number}] 关于{name}的答复"),
    }
}

pub(super) fn milestone(milestone: MilestoneKind) -> &'static str {
    match milestone {
        MilestoneKind::Detected => "已发现",
        MilestoneKind::Contacted => "已通知救援人员",
        MilestoneKind::Acknowledged => "已应答",
        MilestoneKind::Dispatched => "已派单",
        MilestoneKind::EnRoute => "已出发",
        MilestoneKind::Arrived => "已到场",
        MilestoneKind::Released => "据报告人员已脱困",
        MilestoneKind::Restored => "不再报告故障",
        MilestoneKind::Closed => "已结束",
    }
}

fn how_by_mail(content: &MessageContent) -> &'static str {
    match content.link {
        Some(_) => "接单、转上级或拒绝：请打开链接后点击按钮，或回复短信、接听电话后按键。仅打开本邮件或链接不会接单。",
        None => "接单、转上级或拒绝：请回复短信，或接听电话后按键。仅打开本邮件不会接单。",
    }
}

pub(super) fn paragraphs(content: &MessageContent) -> Vec<String> {
    let at = place(content);
    match content.purpose {
        Purpose::Page => vec![
            format!("{}。", content.title.zh.trim_end_matches('。')),
            content.reason.zh.clone(),
            how_by_mail(content).to_owned(),
        ],
        Purpose::StandDown => vec![stand_down(content, &name(content))],
        Purpose::CareLink => {
            let mut all = vec![known(content, &at), doing(content).to_owned()];
            if content.kind == TicketKind::Entrapment {
                all.push("请勿扒门。下方页面实时显示进展，不能代替轿厢内的报警按钮或对讲。".to_owned());
            }
            all
        }
        Purpose::Progress => {
            vec![format!("{}{}", content.milestone.map_or("有新进展。", progress), still_inside(content))]
        }
        Purpose::Notice => vec![known(content, &at), content.reason.zh.clone(), doing(content).to_owned()],
        Purpose::Update | Purpose::Answer => vec![answer(content).to_owned()],
    }
}

pub(super) fn facts(content: &MessageContent) -> Vec<(&'static str, String)> {
    let mut facts = vec![("地点", place(content))];
    facts.extend(content.plate.clone().map(|plate| ("电梯编号", plate)));
    facts.push(("事件", format!("{}，{}", kind(content.kind), severity(content.severity))));
    facts.extend(content.level.filter(|_| content.purpose == Purpose::Page).map(|l| ("救援级别", level(l).to_owned())));
    facts.push(("工单", format!("#{}", content.ticket_number)));
    facts.push(("时间", super::utc(content.at)));
    facts
}

pub(super) fn link_label(content: &MessageContent) -> &'static str {
    match content.purpose {
        Purpose::Page | Purpose::StandDown | Purpose::Update => "打开工单",
        Purpose::CareLink | Purpose::Progress | Purpose::Notice | Purpose::Answer => "查看实时进展",
    }
}

pub(super) const FOOTER: &str = "您已登记接收该站点的通知，或曾咨询此事件，因此收到本邮件（Liftline）。";

pub(super) fn spoken(content: &MessageContent) -> String {
    let at = clip(&place(content), 120);
    let short = clip(&name(content), 80);
    match content.purpose {
        Purpose::Page => {
            let plate = content.plate.as_ref().map(|p| format!("电梯编号 {}。", super::spell(p))).unwrap_or_default();
            let level = content.level.map(|l| format!("本次呼叫为{}救援。", level_short(l))).unwrap_or_default();
            format!("这里是 Liftline。{}。{}。{at}。{plate}{level}", kind(content.kind), clip(&content.title.zh, 80))
        }
        Purpose::StandDown => format!("这里是 Liftline。{}", stand_down(content, &short)),
        Purpose::CareLink | Purpose::Notice => {
            format!("这里是 Liftline。{}{}{}", known(content, &at), doing(content), still_inside(content))
        }
        Purpose::Progress => {
            let what = content.milestone.map_or("有新进展。", progress);
            format!("这里是 Liftline，关于{short}。{what}{}", still_inside(content))
        }
        Purpose::Update | Purpose::Answer => format!("这里是 Liftline。{}", clip(answer(content), 200)),
    }
}

pub(super) const MENU: &str = "接单请按 4。转上级请按 5。不能前往请按 6。重听请按星号键。";
pub(super) const NO_KEY: &str = "没有按键，本次通话未接单。再见。";
pub(super) const GOODBYE: &str = "再见。";

pub(super) fn handled(key: Key) -> &'static str {
    match key {
        Key::Act(Verb::Acknowledge) => "谢谢，您已接单。",
        Key::Act(Verb::Decline) => "明白，您不能前往。",
        Key::Act(Verb::Escalate) => "明白，已转上级。",
        Key::Act(Verb::EnRoute) => "谢谢，您已出发。",
        Key::Act(Verb::Arrived) => "谢谢，您已到场。",
        Key::Act(Verb::Released) => "谢谢，人员已脱困。",
        Key::Act(Verb::Close) => "谢谢，工单已关闭。",
        Key::Repeat | Key::None => "",
        Key::Unknown(_) => "此按键无效。",
    }
}

pub(super) const NOT_HANDLED: &str = "操作未成功：工单可能已关闭或已转出。";
