//! What proves a milestone, in words a dispatcher understands.

use model::{Alert, Localised, MessageChannel};

use crate::Actor;

/// The sentence recorded with a milestone.
#[derive(Debug, Clone)]
pub(crate) struct Proof(pub(crate) Localised);

/// What a person said or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Accepted,
    Declined,
    Escalated,
    OnTheWay,
    OnSite,
    PersonIsOut,
    Finished,
}

impl Proof {
    fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self(Localised::new(en, zh))
    }

    /// The evidence of an alert, or its title if it has none.
    pub(crate) fn alert(alert: &Alert) -> Self {
        let or_title = |text: &str, title: &str| if text.is_empty() { title.to_owned() } else { text.to_owned() };
        Self::new(
            or_title(&alert.evidence.summary.en, &alert.title.en),
            or_title(&alert.evidence.summary.zh, &alert.title.zh),
        )
    }

    /// A condition that came and went has kept away for the time that it was held open.
    pub(crate) fn kept_quiet() -> Self {
        Self::new("it came and went, and has now kept away", "告警曾反复出现，现已持续平稳")
    }

    /// A person's own statement, or a dispatcher's record of it.
    pub(crate) fn said(actor: &Actor, said: Said) -> Self {
        match actor {
            Actor::Person { name, channel, .. } => {
                let (way, way_zh) = by(*channel);
                let (words, words_zh) = match said {
                    Said::Accepted => ("accepted", "接受任务"),
                    Said::Declined => ("declined", "表示无法前往"),
                    Said::Escalated => ("asked for the next level", "请求呼叫上一级"),
                    Said::OnTheWay => ("reported being on the way", "报告已出发"),
                    Said::OnSite => ("reported being on site", "报告已到达现场"),
                    Said::PersonIsOut => ("reported that the person is out", "报告被困人员已获救"),
                    Said::Finished => ("closed the case", "结案"),
                };
                Self::new(format!("{name} {words} {way}"), format!("{name}{way_zh}{words_zh}"))
            }
            Actor::User { name, .. } => {
                let (words, words_zh) = match said {
                    Said::Accepted => ("took charge on the board", "在工作台上确认接手"),
                    Said::Declined => ("declined on the board", "在工作台上拒绝"),
                    Said::Escalated => ("called the next level on the board", "在工作台上呼叫上一级"),
                    Said::OnTheWay => ("recorded on the board that help is on the way", "在工作台上记录救援人员已出发"),
                    Said::OnSite => ("recorded on the board that help is on site", "在工作台上记录救援人员已到达"),
                    Said::PersonIsOut => {
                        ("recorded on the board that the person is out", "在工作台上记录被困人员已获救")
                    }
                    Said::Finished => ("closed the case on the board", "在工作台上结案"),
                };
                Self::new(format!("{name} {words}"), format!("{name}{words_zh}"))
            }
            // Nothing of theirs is taken as a statement; the sentence is for completeness.
            Actor::Hub | Actor::Device { .. } | Actor::Affected { .. } | Actor::Provider { .. } => {
                Self::new("recorded by the hub", "由系统记录")
            }
        }
    }

    /// A provider's receipt.
    pub(crate) fn delivered(name: &str, channel: MessageChannel) -> Self {
        let (en, zh) = match channel {
            MessageChannel::Sms => ("text message", "短信"),
            MessageChannel::Voice => ("telephone call", "电话"),
            MessageChannel::Email => ("e-mail", "电子邮件"),
            MessageChannel::Webhook => ("web request", "接口消息"),
        };
        Self::new(format!("The {en} to {name} was delivered"), format!("发给{name}的{zh}已送达"))
    }

    /// The job was given to somebody.
    pub(crate) fn assigned(actor: &Actor, to: &str) -> Self {
        match actor {
            Actor::Person { name, .. } | Actor::User { name, .. } => {
                Self::new(format!("{name} gave the job to {to}"), format!("{name}将任务指派给{to}"))
            }
            Actor::Hub | Actor::Device { .. } | Actor::Affected { .. } | Actor::Provider { .. } => {
                Self::new(format!("The job was given to {to}"), format!("任务已指派给{to}"))
            }
        }
    }

    /// The lift itself ended the entrapment.
    pub(crate) fn lift_ended_alarm(cleared: &Alert) -> Self {
        let Self(what) = Self::alert(cleared);
        Self::new(
            format!("The lift reported the end of the alarm: {}", what.en),
            format!("电梯报告警报结束：{}", what.zh),
        )
    }

    /// The last alert cleared.
    pub(crate) fn restored(cleared: &Alert, alerts: usize) -> Self {
        let title = &cleared.title;
        if alerts == 1 {
            Self::new(format!("The alert has cleared: {}", title.en), format!("告警已解除：{}", title.zh))
        } else {
            Self::new(
                format!("All {alerts} alerts have cleared, the last one: {}", title.en),
                format!("全部{alerts}条告警均已解除，最后一条：{}", title.zh),
            )
        }
    }

    /// The hub closed the case because nothing is left to do.
    pub(crate) fn nothing_left() -> Self {
        Self::new("Every alert has cleared; the case was closed by itself", "所有告警均已解除，系统自动结案")
    }
}

/// How a person answered, as the end of an English sentence and the middle of a Chinese one.
fn by(channel: MessageChannel) -> (&'static str, &'static str) {
    match channel {
        MessageChannel::Sms => ("by text message", "通过短信"),
        MessageChannel::Voice => ("on the phone", "通过电话"),
        MessageChannel::Email => ("by e-mail", "通过电子邮件"),
        MessageChannel::Webhook => ("through their own system", "通过其系统"),
    }
}
