//! The short answers to an SMS, sent back in the same breath.

use desk::{Action, TransitionError};
use model::Language;

use crate::emergency::Case;

/// What can be written.
pub fn help(language: Language) -> String {
    match language {
        Language::En => "Liftline: answer a call with its number and a letter. a accept, d cannot come, e next level, g on the way, h on site, r person is out, c close. Example: 1a".to_owned(),
        Language::Zh => "Liftline：请回复编号加字母。a 接单，d 不能前往，e 转上级，g 已出发，h 已到场，r 人员已救出，c 关闭。例如：1a".to_owned(),
    }
}

/// The number in the reply means nothing.
pub fn no_such_ticket(language: Language) -> String {
    match language {
        Language::En => "Liftline: there is no open ticket with this number for you. Look at the number in the message you were sent.".to_owned(),
        Language::Zh => "Liftline：没有与此编号对应的未关闭工单，请查看所收短信中的编号。".to_owned(),
    }
}

/// The database is away and nothing knows of the ticket meanwhile.
pub fn not_recorded(language: Language) -> String {
    match language {
        Language::En => "Liftline: your answer could NOT be recorded, the hub's database is away. Please call your dispatcher, and write again later.".to_owned(),
        Language::Zh => "Liftline：您的回复未能记录，系统数据库暂不可用。请致电调度员，并稍后重新回复。".to_owned(),
    }
}

/// The ticket took it.
pub fn done(language: Language, number: Option<u64>, action: &Action) -> String {
    let (en, zh) = match action {
        Action::Acknowledge => (
            "it is yours, thank you. Reply g when you set off, h when you are there.",
            "已由您接单，谢谢。出发请回复 g，到场请回复 h。",
        ),
        Action::Decline => ("noted that you cannot come. Others are called.", "已记录您不能前往，将呼叫其他人员。"),
        Action::Escalate => ("the next level is called.", "正在呼叫下一级。"),
        Action::Assign { .. } => ("assigned.", "已指派。"),
        Action::EnRoute => ("noted that you are on the way.", "已记录您已出发。"),
        Action::Arrived => ("noted that you are on site.", "已记录您已到场。"),
        Action::Released => ("noted that the person is out.", "已记录人员已救出。"),
        Action::Close { .. } => ("closed.", "已关闭。"),
        Action::ConfirmCause { cause, .. } if cause.is_nothing() => {
            ("noted that nothing was found.", "已记录未发现故障。")
        }
        Action::ConfirmCause { .. } => ("noted what had failed.", "已记录故障原因。"),
        Action::Note { .. } => ("written down.", "已记录。"),
    };
    match language {
        Language::En => format!("{}: {en}", name(language, number)),
        Language::Zh => format!("{}：{zh}", name(language, number)),
    }
}

/// The ticket did not take it, and why.
pub fn refused(language: Language, number: Option<u64>, refusal: &TransitionError) -> String {
    match language {
        Language::En => format!("{}: not done. {refusal}.", name(language, number)),
        Language::Zh => format!("{}：未执行。{}", name(language, number), refused_zh(refusal)),
    }
}

/// The ticket's name; while the database is away it has no number yet.
fn name(language: Language, number: Option<u64>) -> String {
    match (language, number) {
        (Language::En, Some(number)) => format!("Liftline #{number}"),
        (Language::Zh, Some(number)) => format!("Liftline 工单 {number}"),
        (Language::En | Language::Zh, None) => "Liftline".to_owned(),
    }
}

/// A lift was named whose case is handled while the database is away: there is no care page yet.
pub fn being_handled(language: Language, case: &Case) -> String {
    let device = &case.device;
    match (language, case.answered) {
        (Language::En, false) => format!(
            "Liftline: we know about {device}: a person may be shut in. We are calling the lift engineers. Do not force the doors. If you are in danger, press the alarm button or call the emergency number."
        ),
        (Language::En, true) => format!(
            "Liftline: we know about {device}: a person may be shut in. A person has answered and is looking after this. Do not force the doors. If you are in danger, press the alarm button or call the emergency number."
        ),
        (Language::Zh, false) => format!(
            "Liftline：我们已获知{device}可能有人被困，正在呼叫电梯维修人员。请勿强行扒门。如有危险，请按报警按钮或拨打紧急电话。"
        ),
        (Language::Zh, true) => format!(
            "Liftline：我们已获知{device}可能有人被困，已有人员应答并正在处理。请勿强行扒门。如有危险，请按报警按钮或拨打紧急电话。"
        ),
    }
}

fn refused_zh(refusal: &TransitionError) -> &'static str {
    match refusal {
        TransitionError::Closed { .. } => "工单已关闭。",
        TransitionError::NotReleased { .. } => "仍可能有人被困，请先报告人员已救出（r）。",
        TransitionError::OpenAlerts { .. } => "仍有未恢复的告警，请在看板上写明处理情况后关闭。",
        TransitionError::NoteTooLong { .. } => "备注过长，请缩短。",
        TransitionError::NoteEmpty => "备注为空。",
        TransitionError::PartTooLong { .. } => "零件名称过长，请缩短。",
        TransitionError::TooManyParts { .. } => "零件过多，请只填写最主要的。",
        TransitionError::PartsForNothing => "未发现故障时不填写零件。",
        TransitionError::NothingFoundYet { .. } => "工单尚未关闭，请在关闭时或关闭后填写未发现故障。",
        TransitionError::UnknownPerson => "该人员不在本组织中。",
        TransitionError::NotEntrapment { .. } => "该工单不是困人事件，请报告到场（h）或关闭（c）。",
        TransitionError::NotCalled { .. } => "只有被呼叫的人员可以拒绝；如需呼叫下一级请回复 e。",
        TransitionError::NoLevels { .. } => "此类工单没有可呼叫的级别。",
        TransitionError::NothingToCallFor { .. } => "所有告警均已恢复。",
        TransitionError::NotAllowed => "只有响应人员和调度员可以执行此操作。",
        TransitionError::TooManyAffected { .. } => "受影响人员已达上限，请写入备注。",
    }
}

/// A lift was named that has no open ticket.
pub fn nothing_known(language: Language, device: &str) -> String {
    match language {
        Language::En => format!(
            "Liftline: {device} reports no fault at this moment. If you are shut in, press the alarm button in the car and, in danger, call the emergency number."
        ),
        Language::Zh => {
            format!("Liftline：{device}目前没有故障报告。若您被困，请按轿厢内的报警按钮；如有危险请拨打紧急电话。")
        }
    }
}

/// They asked again.
pub fn care_link(language: Language, link: &str) -> String {
    match language {
        Language::En => format!("Liftline: your page is {link}"),
        Language::Zh => format!("Liftline：您的页面 {link}"),
    }
}
