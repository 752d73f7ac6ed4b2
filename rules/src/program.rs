//! Compiled expressions: typed trees over numbered channels and events. Their size is bounded when they are
//! compiled; evaluating them allocates nothing and looks nothing up by name.

use std::sync::Arc;

use crate::{
    facts::Facts,
    windows::{SequenceSpec, WindowSpec},
};

/// What is followed of every device beside its latest values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followed {
    /// The conditions that `recent`, `since`, `after`, `count`, `time_in` and `sequence` ask about.
    pub(crate) latches: Vec<Truth>,
    pub(crate) windows: Vec<WindowSpec>,
    pub(crate) sequences: Vec<SequenceSpec>,
}

/// Something that happens at a time: `recent`, `since` and `after` ask when it last did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// An event code came.
    Event(u16),
    /// A channel got a value.
    Channel(u16),
    /// An expression held.
    Latch(u16),
    /// A sequence was complete.
    Sequence(u16),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Order {
    #[expect(clippy::float_cmp, reason = "== in an expression means the very same number")]
    pub(crate) fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::Equal => a == b,
            Self::NotEqual => a != b,
        }
    }

    /// The same comparison with its sides exchanged.
    pub(crate) fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
        }
    }
}

/// An arithmetic operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// A number, or unknown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    /// A literal.
    Constant(f64),
    /// The value of a channel.
    Channel(u16),
    /// `-x`
    Negative(Box<Number>),
    /// `abs(x)`
    Absolute(Box<Number>),
    /// `x + y` and the like.
    Calculation(Arithmetic, Box<(Number, Number)>),
    /// `c ? x : y`
    Choice(Box<(Truth, Number, Number)>),
    /// `avg(x, "5m")` and the like.
    Window(u16),
}

/// A truth value, or unknown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Truth {
    /// A literal.
    Constant(bool),
    /// The value of a channel.
    Channel(u16),
    /// The channel is in one of these states (a bit for each).
    State { channel: u16, states: u64 },
    /// The channel is one of these texts.
    Text { channel: u16, texts: Box<[Arc<str>]> },
    /// A channel against a literal: the most frequent comparison.
    Limit { channel: u16, order: Order, limit: f64 },
    /// Two numbers compared.
    Compare(Order, Box<(Number, Number)>),
    /// The number is one of these.
    OneOf(Number, Box<[f64]>),
    /// Both are true, or both are false.
    Same(Box<(Truth, Truth)>),
    /// `!x`
    Not(Box<Truth>),
    /// `x && y`
    And(Box<(Truth, Truth)>),
    /// `x || y`
    Or(Box<(Truth, Truth)>),
    /// `c ? x : y`
    Choice(Box<(Truth, Truth, Truth)>),
    /// `has(channel)`: it ever got a value.
    Has(u16),
    /// `online`
    Online,
    /// `recent(moment, "30s")`: it happened less than that ago.
    Recent { moment: Moment, span_us: i64 },
    /// `since(moment) > seconds`
    Since { moment: Moment, order: Order, span_us: i64 },
    /// `since(a) < since(b)`
    Sooner { a: Moment, order: Order, b: Moment },
    /// `after(a, b)`: a happened, and not before the last b.
    After { a: Moment, b: Moment },
}

/// Kleene's `and`.
fn both(a: Option<bool>, b: impl FnOnce() -> Option<bool>) -> Option<bool> {
    match a {
        Some(false) => Some(false),
        Some(true) => b(),
        None => match b() {
            Some(false) => Some(false),
            Some(true) | None => None,
        },
    }
}

fn not(a: Option<bool>) -> Option<bool> {
    a.map(|a| !a)
}

impl Number {
    pub(crate) fn evaluate(&self, facts: &Facts, now: i64) -> Option<f64> {
        match self {
            Self::Constant(number) => Some(*number),
            Self::Channel(channel) => facts.number(*channel),
            Self::Negative(x) => x.evaluate(facts, now).map(|x| -x),
            Self::Absolute(x) => x.evaluate(facts, now).map(f64::abs),
            Self::Calculation(operation, pair) => {
                let (x, y) = (pair.0.evaluate(facts, now)?, pair.1.evaluate(facts, now)?);
                let result = match operation {
                    Arithmetic::Add => x + y,
                    Arithmetic::Subtract => x - y,
                    Arithmetic::Multiply => x * y,
                    Arithmetic::Divide => x / y,
                };
                result.is_finite().then_some(result)
            }
            Self::Choice(parts) => {
                let branch = if parts.0.evaluate(facts, now)? { &parts.1 } else { &parts.2 };
                branch.evaluate(facts, now)
            }
            Self::Window(window) => facts.window(*window, now),
        }
    }

    /// Calls back for every window asked for, leaving out those inside truth values.
    pub(crate) fn windows(&self, visit: &mut dyn FnMut(u16)) {
        match self {
            Self::Constant(_) | Self::Channel(_) => {}
            Self::Window(window) => visit(*window),
            Self::Negative(x) | Self::Absolute(x) => x.windows(visit),
            Self::Calculation(_, pair) => {
                pair.0.windows(visit);
                pair.1.windows(visit);
            }
            Self::Choice(parts) => {
                parts.1.windows(visit);
                parts.2.windows(visit);
            }
        }
    }

    /// Calls back for every truth value inside.
    pub(crate) fn conditions<'a>(&'a self, visit: &mut dyn FnMut(&'a Truth)) {
        match self {
            Self::Constant(_) | Self::Channel(_) | Self::Window(_) => {}
            Self::Negative(x) | Self::Absolute(x) => x.conditions(visit),
            Self::Calculation(_, pair) => {
                pair.0.conditions(visit);
                pair.1.conditions(visit);
            }
            Self::Choice(parts) => {
                visit(&parts.0);
                parts.1.conditions(visit);
                parts.2.conditions(visit);
            }
        }
    }

    /// Calls back for every channel whose value is read, leaving out those inside truth values.
    pub(crate) fn channels(&self, visit: &mut dyn FnMut(u16)) {
        match self {
            Self::Constant(_) | Self::Window(_) => {}
            Self::Channel(channel) => visit(*channel),
            Self::Negative(x) | Self::Absolute(x) => x.channels(visit),
            Self::Calculation(_, pair) => {
                pair.0.channels(visit);
                pair.1.channels(visit);
            }
            Self::Choice(parts) => {
                parts.1.channels(visit);
                parts.2.channels(visit);
            }
        }
    }
}

impl Truth {
    pub(crate) fn evaluate(&self, facts: &Facts, now: i64) -> Option<bool> {
        match self {
            Self::Constant(flag) => Some(*flag),
            Self::Channel(channel) => facts.flag(*channel),
            Self::State { channel, states } => facts.state(*channel).map(|state| states >> state & 1 == 1),
            Self::Text { channel, texts } => facts.text(*channel).map(|text| texts.iter().any(|t| **t == *text)),
            Self::Limit { channel, order, limit } => facts.number(*channel).map(|x| order.holds(x, *limit)),
            Self::Compare(order, pair) => Some(order.holds(pair.0.evaluate(facts, now)?, pair.1.evaluate(facts, now)?)),
            Self::OneOf(number, list) => number.evaluate(facts, now).map(|x| list.contains(&x)),
            Self::Same(pair) => Some(pair.0.evaluate(facts, now)? == pair.1.evaluate(facts, now)?),
            Self::Not(x) => not(x.evaluate(facts, now)),
            Self::And(pair) => both(pair.0.evaluate(facts, now), || pair.1.evaluate(facts, now)),
            Self::Or(pair) => not(both(not(pair.0.evaluate(facts, now)), || not(pair.1.evaluate(facts, now)))),
            Self::Choice(parts) => {
                let branch = if parts.0.evaluate(facts, now)? { &parts.1 } else { &parts.2 };
                branch.evaluate(facts, now)
            }
            Self::Has(channel) => Some(facts.time(*channel).is_some()),
            Self::Online => facts.online(),
            Self::Recent { moment, span_us } => {
                Some(facts.moment(*moment, now).is_some_and(|at| now.saturating_sub(at) < *span_us))
            }
            Self::Since { moment, order, span_us } => {
                let elapsed = now.saturating_sub(facts.moment(*moment, now)?).max(0);
                #[expect(clippy::cast_precision_loss, reason = "microseconds of a few years are exact in f64")]
                Some(order.holds(elapsed as f64, *span_us as f64))
            }
            Self::Sooner { a, order, b } => {
                // The more recent one has the lesser time since.
                let (a, b) = (facts.moment(*a, now)?, facts.moment(*b, now)?);
                #[expect(clippy::cast_precision_loss, reason = "only the sign of the difference is used")]
                Some(order.holds(b.saturating_sub(a) as f64, 0.0))
            }
            Self::After { a, b } => Some(match (facts.moment(*a, now), facts.moment(*b, now)) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(a), Some(b)) => a >= b,
            }),
        }
    }

    /// Calls back for every channel whose value is read.
    pub(crate) fn channels(&self, visit: &mut dyn FnMut(u16)) {
        self.atoms(true, &mut |atom, _| match atom {
            Self::Channel(channel)
            | Self::State { channel, .. }
            | Self::Text { channel, .. }
            | Self::Limit { channel, .. }
            | Self::Has(channel) => visit(*channel),
            Self::Compare(_, pair) => {
                pair.0.channels(visit);
                pair.1.channels(visit);
            }
            Self::OneOf(number, _) => number.channels(visit),
            Self::Constant(_)
            | Self::Online
            | Self::Recent { .. }
            | Self::Since { .. }
            | Self::Sooner { .. }
            | Self::After { .. }
            | Self::Same(_)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Choice(_) => {}
        });
    }

    /// Calls back for every window asked for.
    pub(crate) fn windows(&self, visit: &mut dyn FnMut(u16)) {
        self.atoms(true, &mut |atom, _| match atom {
            Self::Compare(_, pair) => {
                pair.0.windows(visit);
                pair.1.windows(visit);
            }
            Self::OneOf(number, _) => number.windows(visit),
            Self::Constant(_)
            | Self::Channel(_)
            | Self::State { .. }
            | Self::Text { .. }
            | Self::Limit { .. }
            | Self::Has(_)
            | Self::Online
            | Self::Recent { .. }
            | Self::Since { .. }
            | Self::Sooner { .. }
            | Self::After { .. }
            | Self::Same(_)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Choice(_) => {}
        });
    }

    /// Calls back for every moment asked for, with the spans after which an answer about it changes by itself.
    pub(crate) fn moments(&self, visit: &mut dyn FnMut(Moment, Option<i64>)) {
        self.atoms(true, &mut |atom, _| match atom {
            Self::Recent { moment, span_us } => visit(*moment, Some(*span_us)),
            Self::Since { moment, order, span_us } => {
                let later = i64::from(matches!(order, Order::Greater | Order::LessOrEqual));
                visit(*moment, Some(span_us.saturating_add(later)));
            }
            Self::Sooner { a, b, .. } | Self::After { a, b } => {
                visit(*a, None);
                visit(*b, None);
            }
            Self::Constant(_)
            | Self::Channel(_)
            | Self::State { .. }
            | Self::Text { .. }
            | Self::Limit { .. }
            | Self::Compare(..)
            | Self::OneOf(..)
            | Self::Has(_)
            | Self::Online
            | Self::Same(_)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Choice(_) => {}
        });
    }

    /// True if the answer depends on whether the device is connected.
    pub(crate) fn asks_online(&self) -> bool {
        let mut asks = false;
        self.atoms(true, &mut |atom, _| asks |= *atom == Self::Online);
        asks
    }

    /// Calls back for every part that is not made of other truth values. The flag says which answer of the part
    /// speaks for the whole: `false` below an odd number of negations.
    pub(crate) fn atoms<'a>(&'a self, wanted: bool, visit: &mut dyn FnMut(&'a Self, bool)) {
        match self {
            Self::Not(x) => x.atoms(!wanted, visit),
            Self::And(pair) | Self::Or(pair) | Self::Same(pair) => {
                pair.0.atoms(wanted, visit);
                pair.1.atoms(wanted, visit);
            }
            Self::Choice(parts) => {
                parts.0.atoms(true, visit);
                parts.1.atoms(wanted, visit);
                parts.2.atoms(wanted, visit);
            }
            Self::Compare(_, pair) => {
                visit(self, wanted);
                pair.0.conditions(&mut |inner| inner.atoms(true, visit));
                pair.1.conditions(&mut |inner| inner.atoms(true, visit));
            }
            Self::OneOf(number, _) => {
                visit(self, wanted);
                number.conditions(&mut |inner| inner.atoms(true, visit));
            }
            Self::Constant(_)
            | Self::Channel(_)
            | Self::State { .. }
            | Self::Text { .. }
            | Self::Limit { .. }
            | Self::Has(_)
            | Self::Online
            | Self::Recent { .. }
            | Self::Since { .. }
            | Self::Sooner { .. }
            | Self::After { .. } => visit(self, wanted),
        }
    }
}
