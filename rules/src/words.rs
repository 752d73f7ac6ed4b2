//! Conditions in words that people understand, in English and Chinese.

use model::{Localised, Unit, Value, profile::ChannelKind};

use crate::{
    phrases,
    program::{Arithmetic, Moment, Number, Order, Truth},
    ruleset::Ruleset,
    windows::{Kind, Source},
};

fn both(en: impl Into<String>, zh: impl Into<String>) -> Localised {
    Localised::new(en.into(), zh.into())
}

/// A state's name as people call it.
pub(crate) fn state(ruleset: &Ruleset, channel: u16, index: usize) -> Localised {
    let declared = &ruleset.channels[usize::from(channel)];
    match (declared.state_names.get(index), &declared.kind) {
        (Some(name), _) => name.clone(),
        (None, ChannelKind::State { states }) => states.get(index).map_or_else(Localised::default, |s| both(s, s)),
        (None, ChannelKind::Number { .. } | ChannelKind::Bool | ChannelKind::Text { .. }) => Localised::default(),
    }
}

/// A channel's value in words.
pub(crate) fn value(ruleset: &Ruleset, channel: u16, value: &Value) -> Localised {
    let declared = &ruleset.channels[usize::from(channel)];
    if let (ChannelKind::State { states }, Value::Text(text)) = (&declared.kind, value)
        && let Some(index) = states.iter().position(|state| **state == **text)
    {
        let state = state(ruleset, channel, index);
        return both(format!("{}: {}", declared.name.en, state.en), format!("{}：{}", declared.name.zh, state.zh));
    }
    phrases::reading(&declared.name, value, declared.unit())
}

/// The unit of what a window tells.
pub(crate) fn window_unit(ruleset: &Ruleset, window: u16) -> Option<Unit> {
    let spec = &ruleset.followed.windows[usize::from(window)];
    match (spec.kind, &spec.of) {
        (Kind::TimeIn, _) => Some(Unit::Second),
        (Kind::Count | Kind::Rate, _) => None,
        (_, Source::Number(Number::Channel(channel))) => ruleset.channels[usize::from(*channel)].unit(),
        (_, Source::Number(_) | Source::Moment(_)) => None,
    }
}

fn span_text(us: i64) -> String {
    model::duration::format(std::time::Duration::from_micros(us.unsigned_abs()))
}

/// A window as it is written in a profile, in short.
pub(crate) fn window_text(ruleset: &Ruleset, window: u16) -> String {
    let spec = &ruleset.followed.windows[usize::from(window)];
    let of = match &spec.of {
        Source::Number(Number::Channel(channel)) => ruleset.channels[usize::from(*channel)].id.to_string(),
        Source::Number(_) => "…".to_owned(),
        Source::Moment(Moment::Event(event)) => ruleset.events[usize::from(*event)].code.clone(),
        Source::Moment(Moment::Latch(_) | Moment::Channel(_) | Moment::Sequence(_)) => "…".to_owned(),
    };
    match spec.kind {
        Kind::Percentile(percent) => format!("percentile({of}, {percent}, {})", span_text(spec.span_us)),
        kind => format!("{}({of}, {})", kind.name(), span_text(spec.span_us)),
    }
}

/// A window in words.
pub(crate) fn window(ruleset: &Ruleset, window: u16) -> Localised {
    let spec = &ruleset.followed.windows[usize::from(window)];
    let of = match &spec.of {
        Source::Number(of) => number(ruleset, of),
        Source::Moment(of) => moment(ruleset, *of),
    };
    let span = phrases::span(spec.span_us);
    let (en, zh) = match spec.kind {
        Kind::Average => ("average", "平均值"),
        Kind::Least => ("minimum", "最小值"),
        Kind::Greatest => ("maximum", "最大值"),
        Kind::Rate => ("change per second", "每秒变化"),
        Kind::Increase => ("increase", "增量"),
        Kind::Baseline => ("own usual level", "自身常态"),
        Kind::Peers => ("usual level of the site's other devices", "同址其他设备的常态"),
        Kind::Percentile(percent) => {
            return both(
                format!("{percent} % of {} over {} at most", of.en, span.en),
                format!("{}内{}的 {percent}% 分位值", span.zh, of.zh),
            );
        }
        Kind::Count => {
            return both(format!("times \"{}\" in {}", of.en, span.en), format!("{}内“{}”次数", span.zh, of.zh));
        }
        Kind::TimeIn => {
            return both(format!("time of \"{}\" in {}", of.en, span.en), format!("{}内“{}”时间", span.zh, of.zh));
        }
    };
    both(format!("{} ({en} over {})", of.en, span.en), format!("{}（{}内{zh}）", of.zh, span.zh))
}

fn moment(ruleset: &Ruleset, moment: Moment) -> Localised {
    match moment {
        Moment::Event(event) => ruleset.events[usize::from(event)].name.clone(),
        Moment::Channel(channel) => {
            let name = &ruleset.channels[usize::from(channel)].name;
            both(format!("a report of {}", name.en), format!("{}上报", name.zh))
        }
        Moment::Latch(latch) => truth(ruleset, &ruleset.followed.latches[usize::from(latch)], true),
        Moment::Sequence(sequence) => {
            let spec = &ruleset.followed.sequences[usize::from(sequence)];
            let steps: Vec<_> = spec.steps.iter().map(|step| self::moment(ruleset, *step)).collect();
            let en: Vec<_> = steps.iter().map(|step| step.en.as_str()).collect();
            let zh: Vec<_> = steps.iter().map(|step| step.zh.as_str()).collect();
            let span = phrases::span(spec.span_us);
            both(format!("{} within {}", en.join(", then "), span.en), format!("{}内依次：{}", span.zh, zh.join("、")))
        }
    }
}

fn number(ruleset: &Ruleset, of: &Number) -> Localised {
    match of {
        Number::Constant(value) => both(phrases::number(*value), phrases::number(*value)),
        Number::Channel(channel) => ruleset.channels[usize::from(*channel)].name.clone(),
        Number::Negative(x) => {
            let x = number(ruleset, x);
            both(format!("−{}", x.en), format!("−{}", x.zh))
        }
        Number::Absolute(x) => {
            let x = number(ruleset, x);
            both(format!("{} (either direction)", x.en), format!("{}（绝对值）", x.zh))
        }
        Number::Calculation(operation, pair) => {
            let sign = match operation {
                Arithmetic::Add => "+",
                Arithmetic::Subtract => "−",
                Arithmetic::Multiply => "×",
                Arithmetic::Divide => "÷",
            };
            let (x, y) = (number(ruleset, &pair.0), number(ruleset, &pair.1));
            both(format!("{} {sign} {}", x.en, y.en), format!("{} {sign} {}", x.zh, y.zh))
        }
        Number::Choice(parts) => {
            let (x, y) = (number(ruleset, &parts.1), number(ruleset, &parts.2));
            let c = truth(ruleset, &parts.0, true);
            both(format!("{} if {}, else {}", x.en, c.en, y.en), format!("{}时{}，否则{}", c.zh, x.zh, y.zh))
        }
        Number::Window(of) => window(ruleset, *of),
    }
}

fn compared(order: Order, x: &Localised, y: &Localised) -> Localised {
    let (en, zh) = match order {
        Order::Less => ("below", "低于"),
        Order::LessOrEqual => ("at most", "不高于"),
        Order::Greater => ("above", "高于"),
        Order::GreaterOrEqual => ("at least", "不低于"),
        Order::Equal => ("exactly", "等于"),
        Order::NotEqual => ("not", "不等于"),
    };
    both(format!("{} {en} {}", x.en, y.en), format!("{}{zh} {}", x.zh, y.zh))
}

fn negated(order: Order) -> Order {
    match order {
        Order::Less => Order::GreaterOrEqual,
        Order::LessOrEqual => Order::Greater,
        Order::Greater => Order::LessOrEqual,
        Order::GreaterOrEqual => Order::Less,
        Order::Equal => Order::NotEqual,
        Order::NotEqual => Order::Equal,
    }
}

/// The order that makes a comparison true, or false if that is `wanted`.
fn wanted_order(order: Order, wanted: bool) -> Order {
    if wanted { order } else { negated(order) }
}

fn joined(parts: &[Localised], en: &str, zh: &str) -> Localised {
    let ens: Vec<_> = parts.iter().map(|part| part.en.as_str()).collect();
    let zhs: Vec<_> = parts.iter().map(|part| part.zh.as_str()).collect();
    both(ens.join(en), zhs.join(zh))
}

/// The parts of a chain of `&&` (or, if not, of `||`).
fn chain<'a>(truth: &'a Truth, and: bool, into: &mut Vec<&'a Truth>) {
    match (truth, and) {
        (Truth::And(pair), true) | (Truth::Or(pair), false) => {
            chain(&pair.0, and, into);
            chain(&pair.1, and, into);
        }
        (other, _) => into.push(other),
    }
}

/// A condition in words: what makes it true, or false if that is `wanted`.
pub(crate) fn truth(ruleset: &Ruleset, of: &Truth, wanted: bool) -> Localised {
    let channel_name = |channel: u16| &ruleset.channels[usize::from(channel)].name;
    match of {
        Truth::Constant(flag) => {
            if *flag == wanted {
                both("always", "总是")
            } else {
                both("never", "从不")
            }
        }
        Truth::Channel(channel) => phrases::reading(channel_name(*channel), &Value::Bool(wanted), None),
        Truth::State { channel, states } => {
            let names: Vec<_> =
                (0..64).filter(|bit| states >> bit & 1 == 1).map(|bit| state(ruleset, *channel, bit)).collect();
            let (names, name) = (joined(&names, " or ", "或"), channel_name(*channel));
            if wanted {
                both(format!("{}: {}", name.en, names.en), format!("{}：{}", name.zh, names.zh))
            } else {
                both(format!("{}: not {}", name.en, names.en), format!("{}：非{}", name.zh, names.zh))
            }
        }
        Truth::Text { channel, texts } => {
            let (name, texts) = (channel_name(*channel), texts.join(", "));
            let (en, zh) = if wanted { ("", "") } else { ("not ", "非") };
            both(format!("{}: {en}{texts}", name.en), format!("{}：{zh}{texts}", name.zh))
        }
        Truth::Limit { channel, order, limit } => {
            let unit = ruleset.channels[usize::from(*channel)].unit().map_or("", Unit::display);
            let limit = format!("{}{}{unit}", phrases::number(*limit), if unit.is_empty() { "" } else { " " });
            compared(wanted_order(*order, wanted), channel_name(*channel), &both(limit.clone(), limit))
        }
        Truth::Compare(order, pair) => {
            compared(wanted_order(*order, wanted), &number(ruleset, &pair.0), &number(ruleset, &pair.1))
        }
        Truth::OneOf(of, list) => {
            let values: Vec<_> = list.iter().map(|value| phrases::number(*value)).collect();
            let values = both(values.join(" or "), values.join(" 或 "));
            compared(wanted_order(Order::Equal, wanted), &number(ruleset, of), &values)
        }
        Truth::Same(pair) => {
            let (x, y) = (truth(ruleset, &pair.0, true), truth(ruleset, &pair.1, wanted));
            both(format!("({}) just when ({})", x.en, y.en), format!("（{}）当且仅当（{}）", x.zh, y.zh))
        }
        Truth::Not(x) => truth(ruleset, x, !wanted),
        Truth::And(_) | Truth::Or(_) => {
            let and = matches!(of, Truth::And(_));
            let mut parts = Vec::new();
            chain(of, and, &mut parts);
            let parts: Vec<_> = parts.into_iter().map(|part| part_of(ruleset, part, wanted, and == wanted)).collect();
            if and == wanted { joined(&parts, " and ", "且") } else { joined(&parts, " or ", "或") }
        }
        Truth::Choice(parts) => {
            let c = truth(ruleset, &parts.0, true);
            let (x, y) = (truth(ruleset, &parts.1, wanted), truth(ruleset, &parts.2, wanted));
            both(format!("({} if {}, else {})", x.en, c.en, y.en), format!("（{}时{}，否则{}）", c.zh, x.zh, y.zh))
        }
        Truth::Has(channel) => {
            let name = channel_name(*channel);
            if wanted {
                both(format!("{} is reported", name.en), format!("有{}上报", name.zh))
            } else {
                both(format!("{} is not reported", name.en), format!("无{}上报", name.zh))
            }
        }
        Truth::Online => {
            if wanted {
                both("device connected", "设备在线")
            } else {
                both("device not connected", "设备离线")
            }
        }
        Truth::Recent { .. } | Truth::Since { .. } | Truth::Sooner { .. } | Truth::After { .. } => {
            timed(ruleset, of, wanted)
        }
    }
}

/// A part of a chain, in brackets where it would be read otherwise.
fn part_of(ruleset: &Ruleset, part: &Truth, wanted: bool, all: bool) -> Localised {
    let (mut inner, mut flipped) = (part, wanted);
    while let Truth::Not(x) = inner {
        (inner, flipped) = (x, !flipped);
    }
    let text = truth(ruleset, inner, flipped);
    let any = match inner {
        Truth::Or(_) => flipped,
        Truth::And(_) => !flipped,
        _ => return text,
    };
    if any == all { both(format!("({})", text.en), format!("（{}）", text.zh)) } else { text }
}

fn timed(ruleset: &Ruleset, of: &Truth, wanted: bool) -> Localised {
    match of {
        Truth::Recent { moment: what, span_us } => {
            let (what, span) = (moment(ruleset, *what), phrases::span(*span_us));
            if wanted {
                both(
                    format!("\"{}\" within the last {}", what.en, span.en),
                    format!("最近 {} 内有“{}”", span.zh, what.zh),
                )
            } else {
                both(format!("no \"{}\" for {}", what.en, span.en), format!("已 {} 无“{}”", span.zh, what.zh))
            }
        }
        Truth::Since { moment: what, order, span_us } => {
            let (what, span) = (moment(ruleset, *what), phrases::span(*span_us));
            let longer = matches!(wanted_order(*order, wanted), Order::Greater | Order::GreaterOrEqual);
            if longer {
                both(
                    format!("more than {} since \"{}\"", span.en, what.en),
                    format!("距“{}”已超过 {}", what.zh, span.zh),
                )
            } else {
                both(format!("less than {} since \"{}\"", span.en, what.en), format!("距“{}”不到 {}", what.zh, span.zh))
            }
        }
        Truth::Sooner { a, order, b } => {
            let (mut a, mut b) = (moment(ruleset, *a), moment(ruleset, *b));
            if matches!(wanted_order(*order, wanted), Order::Greater | Order::GreaterOrEqual) {
                std::mem::swap(&mut a, &mut b);
            }
            both(format!("\"{}\" later than \"{}\"", a.en, b.en), format!("“{}”晚于“{}”", a.zh, b.zh))
        }
        Truth::After { a, b } => {
            let (a, b) = (moment(ruleset, *a), moment(ruleset, *b));
            if wanted {
                both(format!("\"{}\" after \"{}\"", a.en, b.en), format!("“{}”之后有“{}”", b.zh, a.zh))
            } else {
                both(format!("no \"{}\" after \"{}\"", a.en, b.en), format!("“{}”之后无“{}”", b.zh, a.zh))
            }
        }
        other => truth(ruleset, other, wanted),
    }
}
