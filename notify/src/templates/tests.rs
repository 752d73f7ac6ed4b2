//! The wording of SMS and calls, so that a reader can review it.

mod written;

use model::{Localised, MilestoneKind, RescueLevel, TicketKind};

use super::*;
use crate::fixture;

fn options() -> Options {
    Options {
        replies: true,
        links: true,
        keypad_url: "https://lift.example.org/callbacks/twilio/voice?m=1&x=2".to_owned(),
    }
}

fn message(language: Language, channel: MessageChannel, purpose: Purpose) -> OutboxMessage {
    let mut message = fixture::page();
    message.language = language;
    message.receiver.channel = channel;
    message.content.purpose = purpose;
    if purpose != Purpose::Page {
        message.content.reply_code = None;
        message.content.link = Some("https://lift.example.org/c/4fJkQ2mX9vRt7pLw".to_owned());
    }
    if language == Language::Zh {
        message.content.device_name = "2号梯".to_owned();
        message.content.site_name = "东塔".to_owned();
        message.content.site_address = "中山路12号".to_owned();
    }
    message
}

const KINDS: [TicketKind; 5] = TicketKind::ALL;

/// Every message that a purpose can make: each kind, then each milestone and level of an entrapment.
fn every(language: Language, channel: MessageChannel) -> Vec<OutboxMessage> {
    let mut all = Vec::new();
    for purpose in [Purpose::Page, Purpose::CareLink, Purpose::Notice] {
        for kind in KINDS {
            let mut message = message(language, channel, purpose);
            message.content.kind = kind;
            all.push(message);
        }
    }
    for level in [None, Some(RescueLevel::Station), Some(RescueLevel::FireService)] {
        let mut message = message(language, channel, Purpose::CareLink);
        message.content.level = level;
        all.push(message);
    }
    for purpose in [Purpose::StandDown, Purpose::Progress] {
        for milestone in MilestoneKind::ALL {
            let mut message = message(language, channel, purpose);
            message.content.level = None;
            message.content.milestone = Some(*milestone);
            all.push(message);
        }
    }
    let mut answer = message(language, channel, Purpose::Answer);
    answer.content.link = None;
    answer.content.text = Some(Localised::new(
        "We do not know a lift with the number 999. Please check the plate in the car and send it again.",
        "未找到编号为999的电梯。请核对轿厢内的编号后重新发送。",
    ));
    all.push(answer);
    all
}

fn sms_of(message: &OutboxMessage, options: &Options) -> String {
    match render(message, options) {
        Rendered::Sms { body } => body,
        other => panic!("{other:?}"),
    }
}

fn all_sms(language: Language) -> String {
    let line = |message: &OutboxMessage| {
        let body = sms_of(message, &options());
        format!("{} {}", sms::segments(&body), body)
    };
    every(language, MessageChannel::Sms).iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a call says, and where it waits for a key.
fn heard(language: Language) -> String {
    let mut lines: Vec<String> = Vec::new();
    for message in every(language, MessageChannel::Voice) {
        let Rendered::Voice { twiml } = render(&message, &options()) else { panic!("not a call") };
        assert!(twiml.chars().count() <= 4000, "the provider takes 4000 characters");
        let first = twiml.split("<Say").nth(1).and_then(|say| say.split(['>', '<']).nth(1)).unwrap_or_default();
        lines.push(first.to_owned());
    }
    lines.join("\n")
}

#[test]
fn english_sms() {
    insta::assert_snapshot!(all_sms(Language::En), @r#"
    2 ENTRAPMENT level 1: Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 120345. Reply 1a to accept, 1e to pass on, 1d if you cannot come. https://lift.example.org/t/12 #12-ab3f
    2 BREAKDOWN level 1: Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 120345. Reply 1a to accept, 1e to pass on, 1d if you cannot come. https://lift.example.org/t/12 #12-ab3f
    2 EXPECTED FAULT level 1: Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 120345. Reply 1a to accept, 1e to pass on, 1d if you cannot come. https://lift.example.org/t/12 #12-ab3f
    2 SELF-TEST FAILED level 1: Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 120345. Reply 1a to accept, 1e to pass on, 1d if you cannot come. https://lift.example.org/t/12 #12-ab3f
    2 SITE OUTAGE level 1: Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 120345. Reply 1a to accept, 1e to pass on, 1d if you cannot come. https://lift.example.org/t/12 #12-ab3f
    2 We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the lift engineers now. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw Do not force the doors. This does not replace the alarm button or the intercom. #12-ab3f
    2 Lift 2, East Tower, 12 High Street reports a fault and may be out of service. We are calling the maintenance engineers now. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 We expect a fault at Lift 2, East Tower, 12 High Street and have opened a job for it. We are calling the maintenance engineers now. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 A self-test of Lift 2, East Tower, 12 High Street failed or did not come. We are calling the maintenance engineers now. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 A fault affects several devices at Lift 2, East Tower, 12 High Street. We are calling the maintenance engineers now. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the lift engineers now. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 Lift 2, East Tower, 12 High Street reports a fault and may be out of service. We are calling the maintenance engineers now. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 We expect a fault at Lift 2, East Tower, 12 High Street and have opened a job for it. We are calling the maintenance engineers now. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 A self-test of Lift 2, East Tower, 12 High Street failed or did not come. We are calling the maintenance engineers now. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 A fault affects several devices at Lift 2, East Tower, 12 High Street. We are calling the maintenance engineers now. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 We know about Lift 2, East Tower, 12 High Street: a person may be shut in. The dispatchers have it on their board. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw Do not force the doors. This does not replace the alarm button or the intercom. #12-ab3f
    2 We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the rescue station now. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw Do not force the doors. This does not replace the alarm button or the intercom. #12-ab3f
    2 We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the fire service now. Watch what happens here: https://lift.example.org/c/4fJkQ2mX9vRt7pLw Do not force the doors. This does not replace the alarm button or the intercom. #12-ab3f
    1 You are no longer needed for job 12, Lift 2, East Tower. #12-ab3f
    1 You are no longer needed for job 12, Lift 2, East Tower. #12-ab3f
    1 Somebody else has job 12, Lift 2, East Tower. You need not come. #12-ab3f
    1 Somebody else has job 12, Lift 2, East Tower. You need not come. #12-ab3f
    1 Somebody else has job 12, Lift 2, East Tower. You need not come. #12-ab3f
    1 Somebody else has job 12, Lift 2, East Tower. You need not come. #12-ab3f
    1 Job 12, Lift 2, East Tower: the person is reported to be out. You need not come. #12-ab3f
    1 Job 12, Lift 2, East Tower: the fault is no longer reported. You need not come. #12-ab3f
    1 Job 12, Lift 2, East Tower, is closed. You need not come. #12-ab3f
    1 Lift 2, East Tower: We have detected it. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: Our call for help has reached a responder's phone. We are waiting for their answer. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: A person has answered and is looking after this. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: A responder has the job. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: The responder is reported to be on the way. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: The responder is reported to be on site. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: The person is reported to be out. If you are still inside, press the alarm button. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: The fault is no longer reported. If you are still inside, press the alarm button. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 Lift 2, East Tower: The case is closed. If you are still inside, press the alarm button. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 We do not know a lift with the number 999. Please check the plate in the car and send it again. #12-ab3f
    "#);
}

#[test]
fn chinese_sms() {
    insta::assert_snapshot!(all_sms(Language::Zh), @r#"
    2 【电梯困人】一级：轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。编号120345。回复1a接单，1e转上级，1d不能前往。 https://lift.example.org/t/12 #12-ab3f
    2 【设备故障】一级：轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。编号120345。回复1a接单，1e转上级，1d不能前往。 https://lift.example.org/t/12 #12-ab3f
    2 【故障预警】一级：轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。编号120345。回复1a接单，1e转上级，1d不能前往。 https://lift.example.org/t/12 #12-ab3f
    2 【自检异常】一级：轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。编号120345。回复1a接单，1e转上级，1d不能前往。 https://lift.example.org/t/12 #12-ab3f
    2 【站点停运】一级：轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。编号120345。回复1a接单，1e转上级，1d不能前往。 https://lift.example.org/t/12 #12-ab3f
    2 我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫维保人员。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw 请勿扒门。此页面不能代替报警按钮或对讲。 #12-ab3f
    2 东塔2号梯（中山路12号）报告故障，可能停用。正在呼叫维保人员。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 预计东塔2号梯（中山路12号）将出现故障，已建立工单。正在呼叫维保人员。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯（中山路12号）自检未通过或未按时上报。正在呼叫维保人员。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯（中山路12号）有多台设备受同一故障影响。正在呼叫维保人员。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫维保人员。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯（中山路12号）报告故障，可能停用。正在呼叫维保人员。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 预计东塔2号梯（中山路12号）将出现故障，已建立工单。正在呼叫维保人员。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯（中山路12号）自检未通过或未按时上报。正在呼叫维保人员。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯（中山路12号）有多台设备受同一故障影响。正在呼叫维保人员。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 我们已知悉东塔2号梯（中山路12号）可能有人被困。调度台已显示此事件。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw 请勿扒门。此页面不能代替报警按钮或对讲。 #12-ab3f
    2 我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫救援站。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw 请勿扒门。此页面不能代替报警按钮或对讲。 #12-ab3f
    2 我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫消防救援。实时进展： https://lift.example.org/c/4fJkQ2mX9vRt7pLw 请勿扒门。此页面不能代替报警按钮或对讲。 #12-ab3f
    1 工单12（东塔2号梯）已不再需要您处理。 #12-ab3f
    1 工单12（东塔2号梯）已不再需要您处理。 #12-ab3f
    1 工单12（东塔2号梯）已由他人处理，您无需前往。 #12-ab3f
    1 工单12（东塔2号梯）已由他人处理，您无需前往。 #12-ab3f
    1 工单12（东塔2号梯）已由他人处理，您无需前往。 #12-ab3f
    1 工单12（东塔2号梯）已由他人处理，您无需前往。 #12-ab3f
    1 工单12（东塔2号梯）：据报告被困人员已脱困，您无需前往。 #12-ab3f
    1 工单12（东塔2号梯）：设备已不再报告故障，您无需前往。 #12-ab3f
    1 工单12（东塔2号梯）已关闭，您无需前往。 #12-ab3f
    1 东塔2号梯：我们已发现此情况。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯：求助信息已送达救援人员手机，正在等待答复。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯：已有人员应答并负责处理。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 东塔2号梯：救援人员已接到任务。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯：据报告，救援人员已出发。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯：据报告，救援人员已到达现场。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯：据报告，被困人员已脱困。如您仍在轿厢内，请按报警按钮。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯：设备已不再报告故障。如您仍在轿厢内，请按报警按钮。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    2 东塔2号梯：事件已结束。如您仍在轿厢内，请按报警按钮。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f
    1 未找到编号为999的电梯。请核对轿厢内的编号后重新发送。 #12-ab3f
    "#);
}

#[test]
fn english_calls() {
    insta::assert_snapshot!(heard(Language::En), @r#"
    This is Liftline. Entrapment. Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 1 2 0 3 4 5. You are called for rescue level 1.
    This is Liftline. Breakdown. Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 1 2 0 3 4 5. You are called for rescue level 1.
    This is Liftline. Expected fault. Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 1 2 0 3 4 5. You are called for rescue level 1.
    This is Liftline. Self-test failed. Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 1 2 0 3 4 5. You are called for rescue level 1.
    This is Liftline. Site outage. Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 1 2 0 3 4 5. You are called for rescue level 1.
    This is Liftline. We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the lift engineers now.
    This is Liftline. Lift 2, East Tower, 12 High Street reports a fault and may be out of service. We are calling the maintenance engineers now.
    This is Liftline. We expect a fault at Lift 2, East Tower, 12 High Street and have opened a job for it. We are calling the maintenance engineers now.
    This is Liftline. A self-test of Lift 2, East Tower, 12 High Street failed or did not come. We are calling the maintenance engineers now.
    This is Liftline. A fault affects several devices at Lift 2, East Tower, 12 High Street. We are calling the maintenance engineers now.
    This is Liftline. We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the lift engineers now.
    This is Liftline. Lift 2, East Tower, 12 High Street reports a fault and may be out of service. We are calling the maintenance engineers now.
    This is Liftline. We expect a fault at Lift 2, East Tower, 12 High Street and have opened a job for it. We are calling the maintenance engineers now.
    This is Liftline. A self-test of Lift 2, East Tower, 12 High Street failed or did not come. We are calling the maintenance engineers now.
    This is Liftline. A fault affects several devices at Lift 2, East Tower, 12 High Street. We are calling the maintenance engineers now.
    This is Liftline. We know about Lift 2, East Tower, 12 High Street: a person may be shut in. The dispatchers have it on their board.
    This is Liftline. We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the rescue station now.
    This is Liftline. We know about Lift 2, East Tower, 12 High Street: a person may be shut in. We are calling the fire service now.
    This is Liftline. You are no longer needed for job 12, Lift 2, East Tower.
    This is Liftline. You are no longer needed for job 12, Lift 2, East Tower.
    This is Liftline. Somebody else has job 12, Lift 2, East Tower. You need not come.
    This is Liftline. Somebody else has job 12, Lift 2, East Tower. You need not come.
    This is Liftline. Somebody else has job 12, Lift 2, East Tower. You need not come.
    This is Liftline. Somebody else has job 12, Lift 2, East Tower. You need not come.
    This is Liftline. Job 12, Lift 2, East Tower: the person is reported to be out. You need not come.
    This is Liftline. Job 12, Lift 2, East Tower: the fault is no longer reported. You need not come.
    This is Liftline. Job 12, Lift 2, East Tower, is closed. You need not come.
    This is Liftline, about Lift 2, East Tower. We have detected it.
    This is Liftline, about Lift 2, East Tower. Our call for help has reached a responder&apos;s phone. We are waiting for their answer.
    This is Liftline, about Lift 2, East Tower. A person has answered and is looking after this.
    This is Liftline, about Lift 2, East Tower. A responder has the job.
    This is Liftline, about Lift 2, East Tower. The responder is reported to be on the way.
    This is Liftline, about Lift 2, East Tower. The responder is reported to be on site.
    This is Liftline, about Lift 2, East Tower. The person is reported to be out. If you are still inside, press the alarm button.
    This is Liftline, about Lift 2, East Tower. The fault is no longer reported. If you are still inside, press the alarm button.
    This is Liftline, about Lift 2, East Tower. The case is closed. If you are still inside, press the alarm button.
    This is Liftline. We do not know a lift with the number 999. Please check the plate in the car and send it again.
    "#);
}

#[test]
fn chinese_calls() {
    insta::assert_snapshot!(heard(Language::Zh), @r#"
    这里是 Liftline。电梯困人。轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。电梯编号 1 2 0 3 4 5。本次呼叫为一级救援。
    这里是 Liftline。设备故障。轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。电梯编号 1 2 0 3 4 5。本次呼叫为一级救援。
    这里是 Liftline。故障预警。轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。电梯编号 1 2 0 3 4 5。本次呼叫为一级救援。
    这里是 Liftline。自检异常。轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。电梯编号 1 2 0 3 4 5。本次呼叫为一级救援。
    这里是 Liftline。站点停运。轿厢停在层间，可能有人被困。东塔2号梯（中山路12号）。电梯编号 1 2 0 3 4 5。本次呼叫为一级救援。
    这里是 Liftline。我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫维保人员。
    这里是 Liftline。东塔2号梯（中山路12号）报告故障，可能停用。正在呼叫维保人员。
    这里是 Liftline。预计东塔2号梯（中山路12号）将出现故障，已建立工单。正在呼叫维保人员。
    这里是 Liftline。东塔2号梯（中山路12号）自检未通过或未按时上报。正在呼叫维保人员。
    这里是 Liftline。东塔2号梯（中山路12号）有多台设备受同一故障影响。正在呼叫维保人员。
    这里是 Liftline。我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫维保人员。
    这里是 Liftline。东塔2号梯（中山路12号）报告故障，可能停用。正在呼叫维保人员。
    这里是 Liftline。预计东塔2号梯（中山路12号）将出现故障，已建立工单。正在呼叫维保人员。
    这里是 Liftline。东塔2号梯（中山路12号）自检未通过或未按时上报。正在呼叫维保人员。
    这里是 Liftline。东塔2号梯（中山路12号）有多台设备受同一故障影响。正在呼叫维保人员。
    这里是 Liftline。我们已知悉东塔2号梯（中山路12号）可能有人被困。调度台已显示此事件。
    这里是 Liftline。我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫救援站。
    这里是 Liftline。我们已知悉东塔2号梯（中山路12号）可能有人被困。正在呼叫消防救援。
    这里是 Liftline。工单12（东塔2号梯）已不再需要您处理。
    这里是 Liftline。工单12（东塔2号梯）已不再需要您处理。
    这里是 Liftline。工单12（东塔2号梯）已由他人处理，您无需前往。
    这里是 Liftline。工单12（东塔2号梯）已由他人处理，您无需前往。
    这里是 Liftline。工单12（东塔2号梯）已由他人处理，您无需前往。
    这里是 Liftline。工单12（东塔2号梯）已由他人处理，您无需前往。
    这里是 Liftline。工单12（东塔2号梯）：据报告被困人员已脱困，您无需前往。
    这里是 Liftline。工单12（东塔2号梯）：设备已不再报告故障，您无需前往。
    这里是 Liftline。工单12（东塔2号梯）已关闭，您无需前往。
    这里是 Liftline，关于东塔2号梯。我们已发现此情况。
    这里是 Liftline，关于东塔2号梯。求助信息已送达救援人员手机，正在等待答复。
    这里是 Liftline，关于东塔2号梯。已有人员应答并负责处理。
    这里是 Liftline，关于东塔2号梯。救援人员已接到任务。
    这里是 Liftline，关于东塔2号梯。据报告，救援人员已出发。
    这里是 Liftline，关于东塔2号梯。据报告，救援人员已到达现场。
    这里是 Liftline，关于东塔2号梯。据报告，被困人员已脱困。如您仍在轿厢内，请按报警按钮。
    这里是 Liftline，关于东塔2号梯。设备已不再报告故障。如您仍在轿厢内，请按报警按钮。
    这里是 Liftline，关于东塔2号梯。事件已结束。如您仍在轿厢内，请按报警按钮。
    这里是 Liftline。未找到编号为999的电梯。请核对轿厢内的编号后重新发送。
    "#);
}

#[test]
fn a_paging_call_asks_for_a_key_twice() {
    let Rendered::Voice { twiml } = render(&message(Language::En, MessageChannel::Voice, Purpose::Page), &options())
    else {
        panic!("not a call");
    };
    insta::assert_snapshot!(twiml.replace("><", ">\n<"), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <Response>
    <Gather input="dtmf" numDigits="1" timeout="10" finishOnKey="" method="POST" action="https://lift.example.org/callbacks/twilio/voice?m=1&amp;x=2">
    <Say language="en-GB">This is Liftline. Entrapment. Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 1 2 0 3 4 5. You are called for rescue level 1.</Say>
    <Say language="en-GB">Press 4 to accept. Press 5 to pass on to the next level. Press 6 if you cannot come. Press star to hear this again.</Say>
    </Gather>
    <Gather input="dtmf" numDigits="1" timeout="10" finishOnKey="" method="POST" action="https://lift.example.org/callbacks/twilio/voice?m=1&amp;x=2">
    <Say language="en-GB">This is Liftline. Entrapment. Person may be shut in between floors. Lift 2, East Tower, 12 High Street. Plate 1 2 0 3 4 5. You are called for rescue level 1.</Say>
    <Say language="en-GB">Press 4 to accept. Press 5 to pass on to the next level. Press 6 if you cannot come. Press star to hear this again.</Say>
    </Gather>
    <Say language="en-GB">No key was pressed, so nobody has accepted by this call. Goodbye.</Say>
    </Response>
    "#);
}

#[test]
fn a_call_goes_on_after_a_key() {
    use crate::reply::Verb;
    let mut said = Vec::new();
    for language in Language::ALL {
        let page = message(language, MessageChannel::Voice, Purpose::Page);
        for (key, done) in [
            (Key::Act(Verb::Acknowledge), true),
            (Key::Act(Verb::Escalate), true),
            (Key::Act(Verb::Decline), true),
            (Key::Act(Verb::Acknowledge), false),
            (Key::Unknown('9'), false),
        ] {
            said.push(after_key(&page, key, done, &options()));
        }
        let Rendered::Voice { twiml } = render(&page, &options()) else { panic!("not a call") };
        assert_eq!(after_key(&page, Key::Repeat, true, &options()), twiml);
    }
    let said = said.join("\n").replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "");
    insta::assert_snapshot!(said, @r#"
    <Response><Say language="en-GB">Thank you. You have accepted the job.</Say><Say language="en-GB">Goodbye.</Say></Response>
    <Response><Say language="en-GB">Understood. The job is passed on to the next level.</Say><Say language="en-GB">Goodbye.</Say></Response>
    <Response><Say language="en-GB">Understood, you cannot come.</Say><Say language="en-GB">Goodbye.</Say></Response>
    <Response><Say language="en-GB">That could not be done: the job may be closed or may have been passed on already.</Say><Say language="en-GB">Goodbye.</Say></Response>
    <Response><Gather input="dtmf" numDigits="1" timeout="10" finishOnKey="" method="POST" action="https://lift.example.org/callbacks/twilio/voice?m=1&amp;x=2"><Say language="en-GB">This key does nothing.</Say><Say language="en-GB">Press 4 to accept. Press 5 to pass on to the next level. Press 6 if you cannot come. Press star to hear this again.</Say></Gather><Say language="en-GB">No key was pressed, so nobody has accepted by this call. Goodbye.</Say></Response>
    <Response><Say language="zh-CN">谢谢，您已接单。</Say><Say language="zh-CN">再见。</Say></Response>
    <Response><Say language="zh-CN">明白，已转上级。</Say><Say language="zh-CN">再见。</Say></Response>
    <Response><Say language="zh-CN">明白，您不能前往。</Say><Say language="zh-CN">再见。</Say></Response>
    <Response><Say language="zh-CN">操作未成功：工单可能已关闭或已转出。</Say><Say language="zh-CN">再见。</Say></Response>
    <Response><Gather input="dtmf" numDigits="1" timeout="10" finishOnKey="" method="POST" action="https://lift.example.org/callbacks/twilio/voice?m=1&amp;x=2"><Say language="zh-CN">此按键无效。</Say><Say language="zh-CN">接单请按 4。转上级请按 5。不能前往请按 6。重听请按星号键。</Say></Gather><Say language="zh-CN">没有按键，本次通话未接单。再见。</Say></Response>
    "#);
}

#[test]
fn every_sms_keeps_to_two_segments() {
    for language in Language::ALL {
        for mut message in every(language, MessageChannel::Sms) {
            message.content.site_name = "The Very Long Name of a Building Complex of Many Towers".repeat(2);
            message.content.site_address = "中山一路与人民大道交叉口东南角".repeat(3);
            message.content.title = Localised::new("door ".repeat(60), "门".repeat(120));
            let body = sms_of(&message, &options());
            assert!(sms::segments(&body) <= 2, "{} segments: {body}", sms::segments(&body));
            if let Some(link) = &message.content.link
                && message.content.purpose != Purpose::StandDown
            {
                assert!(body.contains(link.as_str()), "{body}");
            }
        }
    }
}

#[test]
fn every_sms_ends_in_its_reference() {
    for language in Language::ALL {
        for message in every(language, MessageChannel::Sms) {
            assert!(sms_of(&message, &options()).ends_with(" #12-ab3f"));
        }
    }
    let mut stranger = message(Language::En, MessageChannel::Sms, Purpose::Answer);
    stranger.ticket = None;
    assert!(sms_of(&stranger, &options()).ends_with(" #ab3f"));
}

#[test]
fn one_way_numbers_are_not_asked_to_reply_and_some_get_no_links() {
    let page = message(Language::En, MessageChannel::Sms, Purpose::Page);
    let one_way = Options { replies: false, ..options() };
    let body = sms_of(&page, &one_way);
    assert!(!body.contains("Reply") && body.contains("Open the link to accept."), "{body}");
    let bare = Options { replies: false, links: false, ..options() };
    let body = sms_of(&page, &bare);
    assert!(!body.contains("http") && body.contains("Call your dispatcher to accept."), "{body}");
    let care = sms_of(&message(Language::Zh, MessageChannel::Sms, Purpose::CareLink), &bare);
    assert!(!care.contains("http") && care.contains("进展将在此告知"), "{care}");
}

#[test]
fn whoever_has_the_job_is_told_that_its_group_grew() {
    let told = |language, text: Localised| {
        let mut message = message(language, MessageChannel::Sms, Purpose::Update);
        message.content.kind = TicketKind::Outage;
        message.content.device_name = String::new();
        message.content.text = Some(text);
        sms_of(&message, &options())
    };
    let text = || Localised::new("39 more joined; 40 are affected now.", "新增 39 台，现共 40 台受影响。");
    insta::assert_snapshot!(told(Language::En, text()), @"SITE OUTAGE, East Tower: 39 more joined; 40 are affected now. https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f");
    insta::assert_snapshot!(told(Language::Zh, text()), @"站点停运，东塔：新增 39 台，现共 40 台受影响。 https://lift.example.org/c/4fJkQ2mX9vRt7pLw #12-ab3f");
}
