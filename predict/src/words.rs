//! The sentences that findings are told in, in English and Chinese.

use jiff::{Zoned, tz::TimeZone};
use model::{ForecastEvidence, Localised, Timestamp, Unit};

use crate::{
    finding::Context,
    novelty::{Finding, View},
    trend::Line,
};

/// A number as people read it: three significant digits, no trailing zeros.
pub(crate) fn number(number: f64) -> String {
    let decimals = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{number:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A value with its unit: `3.2 s`.
fn value(context: &Context<'_>, value: f64) -> String {
    match context.unit.map_or("", Unit::display) {
        "" => number(value),
        unit => format!("{} {unit}", number(value)),
    }
}

/// A span in days, or in hours below two days.
fn span(days: f64) -> Localised {
    if days < 2.0 {
        let hours = (days * 24.0).round().max(1.0);
        let plural = if hours > 1.0 { "s" } else { "" };
        Localised::new(format!("{hours} hour{plural}"), format!("{hours} 小时"))
    } else {
        let days = days.round();
        Localised::new(format!("{days} days"), format!("{days} 天"))
    }
}

/// A moment in UTC: the day, and the time of day too when it matters; the year when it is not this one.
fn moment(at: Timestamp, now: i64, with_time: bool) -> Localised {
    let zoned = |time: Timestamp| -> Zoned { time.to_jiff().to_zoned(TimeZone::UTC) };
    let (at, now) = (zoned(at), zoned(Timestamp::from_micros(now)));
    let year = at.year() != now.year();
    let en = at.strftime(if year { "%-d %b %Y" } else { "%-d %b" }).to_string();
    let zh = at.strftime(if year { "%Y年%-m月%-d日" } else { "%-m月%-d日" }).to_string();
    if with_time {
        let time = at.strftime("%H:%M UTC");
        Localised::new(format!("{en} {time}"), format!("{zh} {time}"))
    } else {
        Localised::new(en, zh)
    }
}

/// `Door closing time has risen from 2.1 s to 3 s over 9 days; at this rate it reaches 4 s around 3 Dec (28 Nov – 10 Dec).`
pub(crate) fn expected(
    context: &Context<'_>,
    line: &Line,
    forecast: &ForecastEvidence,
    began: f64,
    now: i64,
) -> Localised {
    let name = context.channel;
    let from = value(context, began);
    let (to, limit) = (value(context, line.level), value(context, forecast.threshold));
    let over = span(line.span_days);
    let (en, zh) = if line.slope > 0.0 { ("risen", "上升") } else { ("fallen", "下降") };
    let soon = forecast.expected_at.seconds_after(Timestamp::from_micros(now)) < 2.0 * 86_400.0;
    let expected = moment(forecast.expected_at, now, soon);
    let earliest = moment(forecast.earliest_at, now, soon);
    let range = match forecast.latest_at.map(|latest| moment(latest, now, soon)) {
        Some(latest) => {
            Localised::new(format!("{} – {}", earliest.en, latest.en), format!("{}至{}", earliest.zh, latest.zh))
        }
        None => Localised::new(format!("not before {}", earliest.en), format!("不早于{}", earliest.zh)),
    };
    Localised::new(
        format!(
            "{} has {en} from {from} to {to} over {}; at this rate it reaches {limit} around {} ({}).",
            name.en, over.en, expected.en, range.en
        ),
        format!(
            "{}在 {}内由 {from} {zh}到 {to}；按此速度预计 {}前后达到 {limit}（{}）。",
            name.zh, over.zh, expected.zh, range.zh
        ),
    )
}

/// Why a forecast was cleared: the trend is gone.
pub(crate) fn no_longer(context: &Context<'_>, limit: f64) -> Localised {
    let limit = value(context, limit);
    Localised::new(
        format!("{} no longer moves towards {limit} at a rate that would reach it soon.", context.channel.en),
        format!("{}的趋势已停止，近期不会达到 {limit}。", context.channel.zh),
    )
}

/// Why a forecast was cleared: a step away from the limit.
pub(crate) fn stepped_back(context: &Context<'_>, before: f64, after: f64) -> Localised {
    let (before, after) = (value(context, before), value(context, after));
    Localised::new(
        format!("{} stepped back from {before} to {after}, as after a repair.", context.channel.en),
        format!("{}已由 {before} 回落到 {after}，可能已维修。", context.channel.zh),
    )
}

/// What clears a forecast.
pub(crate) fn clears_without_trend(context: &Context<'_>) -> Localised {
    Localised::new(
        format!("{} steps back after a repair, or stops drifting", context.channel.en),
        format!("{}在维修后回落，或趋势停止", context.channel.zh),
    )
}

/// A level has left its baseline.
pub(crate) fn departed(context: &Context<'_>, level: f64, usual: f64, since: i64) -> Localised {
    let since = moment(Timestamp::from_micros(since), since, true);
    let (now, usual_text) = (value(context, level), value(context, usual));
    let up = level > usual;
    let share =
        if usual.abs() > 0.0 { format!("{:.0} %", ((level - usual) / usual).abs() * 100.0) } else { String::new() };
    let (en, zh) = match (share.is_empty(), up) {
        (true, true) => ("above".to_owned(), "高于".to_owned()),
        (true, false) => ("below".to_owned(), "低于".to_owned()),
        (false, true) => (format!("{share} above"), format!("高出 {share}，")),
        (false, false) => (format!("{share} below"), format!("低了 {share}，")),
    };
    let zh = if share.is_empty() {
        format!("{}自 {} 起{zh}平时水平：现为 {now}，平时 {usual_text}。", context.channel.zh, since.zh)
    } else {
        format!("{}自 {} 起比平时{zh}现为 {now}，平时 {usual_text}。", context.channel.zh, since.zh)
    };
    Localised::new(
        format!(
            "{} has been {en} its usual level since {}: {now} instead of {usual_text}.",
            context.channel.en, since.en
        ),
        zh,
    )
}

/// Why a detector's alert was cleared: the level came back.
pub(crate) fn back_to_usual(context: &Context<'_>, level: f64, usual: f64) -> Localised {
    let (level, usual) = (value(context, level), value(context, usual));
    Localised::new(
        format!("{} is back at {level}; usual is {usual}.", context.channel.en),
        format!("{}已恢复到 {level}，平时 {usual}。", context.channel.zh),
    )
}

/// Why a detector's alert was cleared: the new level lasted.
pub(crate) fn new_level(context: &Context<'_>, level: f64, usual: f64) -> Localised {
    let (level, usual) = (value(context, level), value(context, usual));
    Localised::new(
        format!(
            "{} has stayed at {level} for two weeks; this is taken as usual from now on (before: {usual}).",
            context.channel.en
        ),
        format!("{}已稳定在 {level} 两周，今后视为正常水平（此前 {usual}）。", context.channel.zh),
    )
}

/// What clears a detector's alert.
pub(crate) fn clears_within(context: &Context<'_>, low: f64, high: f64) -> Localised {
    let (low, high) = (value(context, low), value(context, high));
    Localised::new(
        format!("{} is back between {low} and {high}, or has settled at a new level for two weeks", context.channel.en),
        format!("{}回到 {low} 至 {high} 之间，或在新水平稳定两周", context.channel.zh),
    )
}

/// Something never seen before, by the view in which it was seen.
pub(crate) fn never_seen(context: &Context<'_>, now: f64, found: &Finding) -> Localised {
    let name = context.channel;
    let (now, up) = (value(context, now), found.seen > found.bound);
    let bound = value(context, found.bound);
    let (en, zh) = match (found.view, up) {
        (View::Value, true) => (
            format!("has never been as high as {now}; the most before was {bound}"),
            format!("达到 {now}，为历史最高（此前最高 {bound}）"),
        ),
        (View::Value, false) => (
            format!("has never been as low as {now}; the least before was {bound}"),
            format!("降至 {now}，为历史最低（此前最低 {bound}）"),
        ),
        (View::Step, _) => {
            (format!("changed to {now} more abruptly than ever before"), format!("突变至 {now}，幅度超过以往任何一次"))
        }
        (View::Departure, true) => {
            (format!("is at {now}: higher than ever for this time of day"), format!("为 {now}，高于以往同一时段"))
        }
        (View::Departure, false) => {
            (format!("is at {now}: lower than ever for this time of day"), format!("为 {now}，低于以往同一时段"))
        }
        (View::Drift | View::Trend, true) => (
            format!("has stayed higher than usual for longer than ever before; it is at {now}"),
            format!("持续偏高的时间超过以往，现为 {now}"),
        ),
        (View::Drift | View::Trend, false) => (
            format!("has stayed lower than usual for longer than ever before; it is at {now}"),
            format!("持续偏低的时间超过以往，现为 {now}"),
        ),
        (View::Restlessness, true) => {
            (format!("varies more than ever before; it is at {now}"), format!("波动大于以往，现为 {now}"))
        }
        (View::Restlessness, false) => {
            (format!("varies less than ever before; it is at {now}"), format!("波动小于以往，现为 {now}"))
        }
    };
    Localised::new(format!("{} {en}.", name.en), format!("{}{zh}。", name.zh))
}

/// Something never seen before beside another channel.
pub(crate) fn never_beside(context: &Context<'_>, beside: &Localised, now: f64, up: bool) -> Localised {
    let (name, now) = (context.channel, value(context, now));
    let (en, zh) = if up { ("higher", "高") } else { ("lower", "低") };
    Localised::new(
        format!("{} is at {now}: {en} beside {} than it ever was.", name.en, beside.en),
        format!("{}为 {now}，相对于{}比以往任何时候都{zh}。", name.zh, beside.zh),
    )
}

/// Why such an alert was cleared.
pub(crate) fn nothing_new(context: &Context<'_>) -> Localised {
    Localised::new(
        format!("{} has shown nothing new for a day.", context.channel.en),
        format!("{}一天内未再出现新的异常。", context.channel.zh),
    )
}

/// What clears such an alert.
pub(crate) fn clears_when_calm(context: &Context<'_>) -> Localised {
    Localised::new(
        format!("{} shows nothing new for a day", context.channel.en),
        format!("{}一天内未再出现新的异常", context.channel.zh),
    )
}

/// Why an alert was cleared: the profile no longer has what raised it.
pub(crate) fn removed() -> Localised {
    Localised::new(
        "The profile no longer watches for this; the alert ended with the change.",
        "设备配置已不再监测此项，告警随之结束。",
    )
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use model::{Device, DeviceId, OrgId, Profile, SiteId};

    use super::*;
    use crate::trend::Point;

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [1234.56, 20.0, 4.56789, 0.0614, 0.25, -0.00001, 0.0].map(number).into();
        assert_eq!(shown, ["1235", "20", "4.57", "0.0614", "0.25", "0", "0"]);
    }

    #[test]
    fn a_forecast_is_told_in_both_languages() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/lift.toml");
        let profile = Profile::parse(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
        let device = Device {
            id: DeviceId::new("lift-1").unwrap(),
            org: OrgId(uuid::Uuid::nil()),
            site: SiteId(uuid::Uuid::nil()),
            profile: profile.id.clone(),
            name: "Lift 1".to_owned(),
            plate: None,
        };
        let channel = profile.channel("door_close_time_s").unwrap();
        let context =
            Context { device: &device, profile: &profile, channel: &channel.name, unit: channel.unit(), range: 1.0 };
        let start: Timestamp = "2025-11-15T00:00:00Z".parse().unwrap();
        let points: Vec<Point> = (0..28u32)
            .map(|n| Point {
                time: (start + Duration::from_secs(28_800) * n).as_micros(),
                value: 2.1 + 0.1 / 3.0 * f64::from(n),
                count: 1,
            })
            .collect();
        let line = Line::fit(&points).unwrap();
        let evidence = ForecastEvidence {
            channel: channel.id.clone(),
            threshold: 4.0,
            level: line.level,
            slope_per_day: line.slope,
            expected_at: "2025-12-04T00:00:00Z".parse().unwrap(),
            earliest_at: "2025-11-28T00:00:00Z".parse().unwrap(),
            latest_at: Some("2026-01-02T00:00:00Z".parse().unwrap()),
            coverage: 0.9,
            observations: 28,
        };
        let text = expected(&context, &line, &evidence, 2.1, line.origin);
        assert_eq!(
            text.en,
            "Door closing time has risen from 2.1 s to 3 s over 9 days; at this rate it reaches 4 s around 4 Dec (28 Nov – 2 Jan 2026)."
        );
        assert_eq!(
            text.zh,
            "关门时间在 9 天内由 2.1 s 上升到 3 s；按此速度预计 12月4日前后达到 4 s（11月28日至2026年1月2日）。"
        );
        let open = ForecastEvidence { latest_at: None, ..evidence };
        assert!(expected(&context, &line, &open, 2.1, line.origin).en.ends_with("around 4 Dec (not before 28 Nov)."));
    }
}
