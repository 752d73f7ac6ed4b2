//! The wording of e-mails and the body of webhooks.

use super::*;

fn mails(language: Language) -> String {
    let mut mails = Vec::new();
    for purpose in
        [Purpose::Page, Purpose::StandDown, Purpose::CareLink, Purpose::Progress, Purpose::Notice, Purpose::Answer]
    {
        let mut message = message(language, MessageChannel::Email, purpose);
        message.content.milestone = match purpose {
            Purpose::StandDown => Some(MilestoneKind::Dispatched),
            Purpose::Progress => Some(MilestoneKind::Released),
            Purpose::Page | Purpose::CareLink | Purpose::Notice | Purpose::Update | Purpose::Answer => None,
        };
        let Rendered::Email { subject, text, html } = render(&message, &options()) else { panic!("not an e-mail") };
        assert!(html.contains(message.content.link.as_deref().unwrap()));
        mails.push(format!("Subject: {subject}\n\n{text}"));
    }
    mails.join("\n==========\n")
}

#[test]
fn english_mails() {
    insta::assert_snapshot!(mails(Language::En), @r#"
    Subject: [#12] ENTRAPMENT level 1: Lift 2, East Tower

    Person may be shut in between floors.

    Alarm button pressed, doors closed, car stopped 1.2 m from the door zone for 20 s.

    To accept the job, pass it on or decline, open the link and use the buttons there, or answer the SMS or the call. Opening this e-mail or the link does not accept anything.

    Open the job: https://lift.example.org/t/12

    Where: Lift 2, East Tower, 12 High Street
    Plate: 120345
    What: entrapment, critical
    Rescue level: 1 (maintainer)
    Job: #12
    Time: 2026-01-01 00:00 UTC

    -- 
    Sent by Liftline because you are registered for this site or asked about this case.
    #12-ab3f

    ==========
    Subject: [#12] No longer needed: Lift 2, East Tower

    Somebody else has job 12, Lift 2, East Tower. You need not come.

    Open the job: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    Where: Lift 2, East Tower, 12 High Street
    Plate: 120345
    What: entrapment, critical
    Job: #12
    Time: 2026-01-01 00:00 UTC

    -- 
    Sent by Liftline because you are registered for this site or asked about this case.
    #12-ab3f

    ==========
    Subject: [#12] What is happening at Lift 2, East Tower

    We know about Lift 2, East Tower, 12 High Street: a person may be shut in.

    We are calling the lift engineers now.

    Please do not force the doors. The page below shows what happens as it happens. It does not replace the alarm button or the intercom in the lift.

    See what is happening: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    Where: Lift 2, East Tower, 12 High Street
    Plate: 120345
    What: entrapment, critical
    Job: #12
    Time: 2026-01-01 00:00 UTC

    -- 
    Sent by Liftline because you are registered for this site or asked about this case.
    #12-ab3f

    ==========
    Subject: [#12] Lift 2, East Tower: person reported out

    The person is reported to be out. If you are still inside, press the alarm button.

    See what is happening: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    Where: Lift 2, East Tower, 12 High Street
    Plate: 120345
    What: entrapment, critical
    Job: #12
    Time: 2026-01-01 00:00 UTC

    -- 
    Sent by Liftline because you are registered for this site or asked about this case.
    #12-ab3f

    ==========
    Subject: [#12] ENTRAPMENT: Lift 2, East Tower

    We know about Lift 2, East Tower, 12 High Street: a person may be shut in.

    Alarm button pressed, doors closed, car stopped 1.2 m from the door zone for 20 s.

    We are calling the lift engineers now.

    See what is happening: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    Where: Lift 2, East Tower, 12 High Street
    Plate: 120345
    What: entrapment, critical
    Job: #12
    Time: 2026-01-01 00:00 UTC

    -- 
    Sent by Liftline because you are registered for this site or asked about this case.
    #12-ab3f

    ==========
    Subject: [#12] Your message about Lift 2, East Tower

    We have your message.

    See what is happening: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    Where: Lift 2, East Tower, 12 High Street
    Plate: 120345
    What: entrapment, critical
    Job: #12
    Time: 2026-01-01 00:00 UTC

    -- 
    Sent by Liftline because you are registered for this site or asked about this case.
    #12-ab3f
    "#);
}

#[test]
fn chinese_mails() {
    insta::assert_snapshot!(mails(Language::Zh), @r#"
    Subject: [#12] 电梯困人一级：东塔2号梯

    轿厢停在层间，可能有人被困。

    报警按钮按下，轿门关闭，轿厢停在距开锁区 1.2 m 处已 20 秒。

    接单、转上级或拒绝：请打开链接后点击按钮，或回复短信、接听电话后按键。仅打开本邮件或链接不会接单。

    打开工单: https://lift.example.org/t/12

    地点: 东塔2号梯（中山路12号）
    电梯编号: 120345
    事件: 电梯困人，紧急
    救援级别: 一级（维保单位）
    工单: #12
    时间: 2026-01-01 00:00 UTC

    -- 
    您已登记接收该站点的通知，或曾咨询此事件，因此收到本邮件（Liftline）。
    #12-ab3f

    ==========
    Subject: [#12] 无需前往：东塔2号梯

    工单12（东塔2号梯）已由他人处理，您无需前往。

    打开工单: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    地点: 东塔2号梯（中山路12号）
    电梯编号: 120345
    事件: 电梯困人，紧急
    工单: #12
    时间: 2026-01-01 00:00 UTC

    -- 
    您已登记接收该站点的通知，或曾咨询此事件，因此收到本邮件（Liftline）。
    #12-ab3f

    ==========
    Subject: [#12] 东塔2号梯的最新情况

    我们已知悉东塔2号梯（中山路12号）可能有人被困。

    正在呼叫维保人员。

    请勿扒门。下方页面实时显示进展，不能代替轿厢内的报警按钮或对讲。

    查看实时进展: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    地点: 东塔2号梯（中山路12号）
    电梯编号: 120345
    事件: 电梯困人，紧急
    工单: #12
    时间: 2026-01-01 00:00 UTC

    -- 
    您已登记接收该站点的通知，或曾咨询此事件，因此收到本邮件（Liftline）。
    #12-ab3f

    ==========
    Subject: [#12] 东塔2号梯：据报告人员已脱困

    据报告，被困人员已脱困。如您仍在轿厢内，请按报警按钮。

    查看实时进展: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    地点: 东塔2号梯（中山路12号）
    电梯编号: 120345
    事件: 电梯困人，紧急
    工单: #12
    时间: 2026-01-01 00:00 UTC

    -- 
    您已登记接收该站点的通知，或曾咨询此事件，因此收到本邮件（Liftline）。
    #12-ab3f

    ==========
    Subject: [#12] 电梯困人：东塔2号梯

    我们已知悉东塔2号梯（中山路12号）可能有人被困。

    报警按钮按下，轿门关闭，轿厢停在距开锁区 1.2 m 处已 20 秒。

    正在呼叫维保人员。

    查看实时进展: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    地点: 东塔2号梯（中山路12号）
    电梯编号: 120345
    事件: 电梯困人，紧急
    工单: #12
    时间: 2026-01-01 00:00 UTC

    -- 
    您已登记接收该站点的通知，或曾咨询此事件，因此收到本邮件（Liftline）。
    #12-ab3f

    ==========
    Subject: [#12] 关于东塔2号梯的答复

    我们已收到您的信息。

    查看实时进展: https://lift.example.org/c/4fJkQ2mX9vRt7pLw

    地点: 东塔2号梯（中山路12号）
    电梯编号: 120345
    事件: 电梯困人，紧急
    工单: #12
    时间: 2026-01-01 00:00 UTC

    -- 
    您已登记接收该站点的通知，或曾咨询此事件，因此收到本邮件（Liftline）。
    #12-ab3f
    "#);
}

#[test]
fn html_of_a_mail() {
    let mut page = message(Language::En, MessageChannel::Email, Purpose::Page);
    page.content.site_name = "<b>Tower & Sons</b>".to_owned();
    let Rendered::Email { html, .. } = render(&page, &options()) else { panic!("not an e-mail") };
    insta::assert_snapshot!(html.replace("><", ">\n<"), @r#"
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>[#12] ENTRAPMENT level 1: Lift 2, &lt;b&gt;Tower &amp; Sons&lt;/b&gt;</title>
    </head>
    <body style="font-family:system-ui,sans-serif;line-height:1.5;max-width:36em;margin:1.5em auto;padding:0 1em">
    <p>Person may be shut in between floors.</p>
    <p>Alarm button pressed, doors closed, car stopped 1.2 m from the door zone for 20 s.</p>
    <p>To accept the job, pass it on or decline, open the link and use the buttons there, or answer the SMS or the call. Opening this e-mail or the link does not accept anything.</p>
    <p>
    <a href="https://lift.example.org/t/12" style="font-weight:bold">Open the job</a>
    </p>
    <table style="border-collapse:collapse">
    <tr>
    <th style="text-align:left;padding:.2em 1em .2em 0;font-weight:normal;opacity:.7">Where</th>
    <td>Lift 2, &lt;b&gt;Tower &amp; Sons&lt;/b&gt;, 12 High Street</td>
    </tr>
    <tr>
    <th style="text-align:left;padding:.2em 1em .2em 0;font-weight:normal;opacity:.7">Plate</th>
    <td>120345</td>
    </tr>
    <tr>
    <th style="text-align:left;padding:.2em 1em .2em 0;font-weight:normal;opacity:.7">What</th>
    <td>entrapment, critical</td>
    </tr>
    <tr>
    <th style="text-align:left;padding:.2em 1em .2em 0;font-weight:normal;opacity:.7">Rescue level</th>
    <td>1 (maintainer)</td>
    </tr>
    <tr>
    <th style="text-align:left;padding:.2em 1em .2em 0;font-weight:normal;opacity:.7">Job</th>
    <td>#12</td>
    </tr>
    <tr>
    <th style="text-align:left;padding:.2em 1em .2em 0;font-weight:normal;opacity:.7">Time</th>
    <td>2026-01-01 00:00 UTC</td>
    </tr>
    </table>
    <p style="opacity:.7;font-size:.85em">Sent by Liftline because you are registered for this site or asked about this case. #12-ab3f</p>
    </body>
    </html>
    "#);
}

#[test]
fn webhook_body() {
    let page = message(Language::En, MessageChannel::Webhook, Purpose::Page);
    let Rendered::Webhook { json } = render(&page, &options()) else { panic!("not a webhook") };
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r##"
    {
      "data": {
        "at": "2026-01-01T00:00:00Z",
        "device": "Lift 2",
        "kind": "entrapment",
        "level": 1,
        "life_safety": true,
        "link": "https://lift.example.org/t/12",
        "message": "0190c2c4-0000-7000-8000-00000000ab3f",
        "milestone": null,
        "org": "00000000-0000-0000-0000-000000000001",
        "plate": "120345",
        "reason": {
          "en": "Alarm button pressed, doors closed, car stopped 1.2 m from the door zone for 20 s.",
          "zh": "报警按钮按下，轿门关闭，轿厢停在距开锁区 1.2 m 处已 20 秒。"
        },
        "reference": "#12-ab3f",
        "severity": "critical",
        "site": {
          "address": "12 High Street",
          "name": "East Tower"
        },
        "text": null,
        "ticket": "00000000-0000-0000-0000-000000000002",
        "ticket_number": 12,
        "title": {
          "en": "Person may be shut in between floors",
          "zh": "轿厢停在层间，可能有人被困"
        }
      },
      "timestamp": "2026-01-01T00:00:00Z",
      "type": "liftline.page"
    }
    "##);
}
