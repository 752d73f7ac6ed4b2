//! The named reason of every decision to page or not to page, and how people read it.

use model::{AlertId, DeviceId, Localised, SilenceId, TicketId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why people are paged for an alert, or are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Paged: a person may be in danger. Nothing holds that back.
    LifeSafety,
    /// Paged: the first of its group.
    First,
    /// Paged: it came back after everything had cleared.
    CameBack,
    /// Paged: it became worse after calling had ended.
    Worse,
    /// Paged: nobody answered, and it has stood open for the repeat interval since.
    Repeat,
    /// Paged: what held it back has ended.
    Released,
    /// Told: more devices joined the group.
    NewInGroup {
        /// How many since the last word.
        devices: usize,
    },
    /// Not paged: something else that is known to be wrong explains it.
    Inhibited {
        /// The rule of inhibition.
        rule: String,
        /// The alert that inhibits.
        alert: AlertId,
        /// Its ticket.
        ticket: TicketId,
        /// Its device.
        device: DeviceId,
        /// What is wrong there.
        title: Localised,
    },
    /// Not paged: it is quiet hours.
    QuietHours {
        /// Their name.
        name: String,
        /// When they end.
        until: Timestamp,
    },
    /// Not paged: somebody silenced it.
    Silenced {
        /// The silence.
        silence: SilenceId,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// When it ends.
        until: Timestamp,
    },
    /// Not paged yet: more of its group may follow.
    GroupWait {
        /// When people are paged.
        until: Timestamp,
    },
    /// Not paged again: it comes and goes, and people were told.
    Flapping,
    /// Not paged again: the same rule's alert on the same device is open already.
    Duplicate {
        /// That alert.
        of: AlertId,
    },
    /// Not paged again: people are being called for its group already.
    AlreadyCalling,
    /// Not paged again: somebody has its group in hand, and hears of it when the group interval is over.
    InHand,
    /// Not paged again: every step was taken, nobody answered, and it is no worse.
    NobodyAnswered,
    /// Not paged: this kind of ticket calls nobody; it waits on the board.
    BoardOnly,
}

impl Reason {
    /// True if people are paged for this reason.
    #[must_use]
    pub fn pages(&self) -> bool {
        match self {
            Self::LifeSafety
            | Self::First
            | Self::CameBack
            | Self::Worse
            | Self::Repeat
            | Self::Released
            | Self::NewInGroup { .. } => true,
            Self::Inhibited { .. }
            | Self::QuietHours { .. }
            | Self::Silenced { .. }
            | Self::GroupWait { .. }
            | Self::Flapping
            | Self::Duplicate { .. }
            | Self::AlreadyCalling
            | Self::InHand
            | Self::NobodyAnswered
            | Self::BoardOnly => false,
        }
    }

    /// The alert or the silence whose end lets the page go.
    #[must_use]
    pub fn waits_for(&self) -> Option<Uuid> {
        match self {
            Self::Inhibited { alert, .. } => Some(alert.0),
            Self::Silenced { silence, .. } => Some(silence.0),
            Self::LifeSafety
            | Self::First
            | Self::CameBack
            | Self::Worse
            | Self::Repeat
            | Self::Released
            | Self::NewInGroup { .. }
            | Self::QuietHours { .. }
            | Self::GroupWait { .. }
            | Self::Flapping
            | Self::Duplicate { .. }
            | Self::AlreadyCalling
            | Self::InHand
            | Self::NobodyAnswered
            | Self::BoardOnly => None,
        }
    }

    /// When what holds the page back ends by itself, if that is known.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        if let Self::QuietHours { until, .. } | Self::Silenced { until, .. } | Self::GroupWait { until } = self {
            Some(*until)
        } else {
            None
        }
    }

    /// The ticket whose cause explains this one.
    #[must_use]
    pub fn explained_by(&self) -> Option<TicketId> {
        if let Self::Inhibited { ticket, .. } = self { Some(*ticket) } else { None }
    }

    /// The name used in the API and the metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::LifeSafety => "life_safety",
            Self::First => "first",
            Self::CameBack => "came_back",
            Self::Worse => "worse",
            Self::Repeat => "repeat",
            Self::Released => "released",
            Self::NewInGroup { .. } => "new_in_group",
            Self::Inhibited { .. } => "inhibited",
            Self::QuietHours { .. } => "quiet_hours",
            Self::Silenced { .. } => "silenced",
            Self::GroupWait { .. } => "group_wait",
            Self::Flapping => "flapping",
            Self::Duplicate { .. } => "duplicate",
            Self::AlreadyCalling => "already_calling",
            Self::InHand => "in_hand",
            Self::NobodyAnswered => "nobody_answered",
            Self::BoardOnly => "board_only",
        }
    }

    /// The reason in words. Times are left to whoever shows them, in the reader's time zone.
    #[must_use]
    pub fn text(&self) -> Localised {
        match self {
            Self::LifeSafety => {
                Localised::new("paged: life safety, nothing holds it back", "已呼叫：涉及人身安全，不受任何抑制")
            }
            Self::First => Localised::new("paged: the first of its group", "已呼叫：该组的首个告警"),
            Self::CameBack => Localised::new("paged: it came back", "已呼叫：恢复后再次出现"),
            Self::Worse => Localised::new("paged: it became worse", "已呼叫：情况加重"),
            Self::Repeat => {
                Localised::new("paged again: still open and nobody answered", "再次呼叫：仍未恢复且无人应答")
            }
            Self::Released => Localised::new("paged: what held it back has ended", "已呼叫：抑制已结束"),
            Self::NewInGroup { devices } => {
                Localised::new(format!("told: {devices} more in its group"), format!("已通知：该组新增 {devices} 台"))
            }
            Self::Inhibited { device, title, .. } => Localised::new(
                format!("not paged: inhibited by \"{}\" on {device}", title.en),
                format!("未呼叫：被 {device} 的“{}”抑制", title.zh),
            ),
            Self::QuietHours { name, .. } => {
                Localised::new(format!("not paged: quiet hours \"{name}\""), format!("未呼叫：静默时段“{name}”"))
            }
            Self::Silenced { by, why, .. } => {
                Localised::new(format!("not paged: silenced by {by} ({why})"), format!("未呼叫：被{by}静默（{why}）"))
            }
            Self::GroupWait { .. } => {
                Localised::new("not paged yet: waiting for more of its group", "暂未呼叫：等待同组其他告警")
            }
            Self::Flapping => Localised::new("not paged again: it comes and goes", "未再呼叫：告警反复出现"),
            Self::Duplicate { .. } => {
                Localised::new("not paged again: the same is open already", "未再呼叫：相同告警尚未恢复")
            }
            Self::AlreadyCalling => {
                Localised::new("not paged again: people are being called already", "未再呼叫：正在呼叫人员")
            }
            Self::InHand => Localised::new("not paged again: somebody has it in hand", "未再呼叫：已有人处理"),
            Self::NobodyAnswered => Localised::new(
                "not paged again: nobody answered before, and it is no worse",
                "未再呼叫：此前无人应答且情况未加重",
            ),
            Self::BoardOnly => {
                Localised::new("not paged: this kind waits on the board", "未呼叫：此类工单仅显示在看板")
            }
        }
    }
}
