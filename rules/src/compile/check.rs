//! Comparisons, and what can be known about them without running them.

use std::sync::Arc;

use cel::IdedExpr;
use model::{
    ProfileError, Unit,
    profile::{ChannelKind, did_you_mean},
};

use super::{Lower, Typed};
use crate::{
    program::{Number, Order, Truth},
    windows::{Kind, Source},
};

/// How many states a channel may have.
const MAX_STATES: usize = 64;

impl Lower<'_> {
    pub(super) fn same_unit(&self, tree: &IdedExpr, a: Option<Unit>, b: Option<Unit>) -> Result<(), ProfileError> {
        match (a, b) {
            (Some(a), Some(b)) if a != b => Err(self.error(
                tree,
                format!("{a} and {b} do not go together"),
                "compare, add and subtract channels of the same unit only",
            )),
            (Some(_) | None, _) => Ok(()),
        }
    }

    pub(super) fn compare(
        &mut self,
        tree: &IdedExpr,
        order: Order,
        a: &IdedExpr,
        b: &IdedExpr,
        depth: u16,
    ) -> Result<Typed, ProfileError> {
        let equality = matches!(order, Order::Equal | Order::NotEqual);
        let truth = match (self.expression(a, depth)?, self.expression(b, depth)?) {
            (Typed::Number(x, unit), Typed::Number(y, other)) => {
                self.same_unit(tree, unit, other)?;
                self.numbers(tree, order, x, y)?
            }
            (Typed::Since(moment), Typed::Number(Number::Constant(seconds), None)) if !equality => {
                Truth::Since { moment, order, span_us: self.seconds(tree, seconds)? }
            }
            (Typed::Number(Number::Constant(seconds), None), Typed::Since(moment)) if !equality => {
                Truth::Since { moment, order: order.flipped(), span_us: self.seconds(tree, seconds)? }
            }
            (Typed::Since(a), Typed::Since(b)) if !equality => Truth::Sooner { a, order, b },
            (Typed::Since(_), _) | (_, Typed::Since(_)) => {
                return Err(self.error(
                    tree,
                    "since() can only be compared with a number of seconds or another since()",
                    "write it as since(\"event\") > 60, with < <= > or >=",
                ));
            }
            (Typed::Truth(x), Typed::Truth(y)) if equality => negated(order, Truth::Same(Box::new((x, y)))),
            (Typed::State(channel), Typed::Literal(name)) if equality => {
                let states = self.state_bit(b, channel, &name)?;
                negated(order, Truth::State { channel, states })
            }
            (Typed::Literal(name), Typed::State(channel)) if equality => {
                let states = self.state_bit(a, channel, &name)?;
                negated(order, Truth::State { channel, states })
            }
            (Typed::Text(channel), Typed::Literal(text)) | (Typed::Literal(text), Typed::Text(channel)) if equality => {
                negated(order, Truth::Text { channel, texts: Box::new([Arc::from(text.as_str())]) })
            }
            (x, y) => {
                return Err(self.error(
                    tree,
                    format!("{} cannot be compared with {} in this way", x.describe(), y.describe()),
                    "compare numbers with numbers, and states with their names by == != or in",
                ));
            }
        };
        Ok(Typed::Truth(truth))
    }

    fn seconds(&self, tree: &IdedExpr, seconds: f64) -> Result<i64, ProfileError> {
        if !(0.0..=3.2e8).contains(&seconds) {
            return Err(self.error(
                tree,
                format!("{seconds} s is no time since anything"),
                "write seconds between 0 and ten years",
            ));
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        Ok((seconds * 1e6).round() as i64)
    }

    fn numbers(&self, tree: &IdedExpr, order: Order, x: Number, y: Number) -> Result<Truth, ProfileError> {
        Ok(match (x, y) {
            (Number::Channel(channel), Number::Constant(limit)) => self.limit(tree, channel, order, limit)?,
            (Number::Constant(limit), Number::Channel(channel)) => self.limit(tree, channel, order.flipped(), limit)?,
            (Number::Constant(a), Number::Constant(b)) => {
                let answer = if order.holds(a, b) { "always" } else { "never" };
                return Err(self.error(
                    tree,
                    format!("{a} compared with {b} is {answer} true"),
                    "compare a channel with a number",
                ));
            }
            (x, y) => {
                self.window_limit(tree, order, &x, &y)?;
                Truth::Compare(order, Box::new((x, y)))
            }
        })
    }

    /// A window against a limit that it can never reach is refused.
    fn window_limit(&self, tree: &IdedExpr, order: Order, x: &Number, y: &Number) -> Result<(), ProfileError> {
        let (window, order, limit) = match (x, y) {
            (Number::Window(window), Number::Constant(limit)) => (*window, order, *limit),
            (Number::Constant(limit), Number::Window(window)) => (*window, order.flipped(), *limit),
            _ => return Ok(()),
        };
        let spec = &self.followed.windows[usize::from(window)];
        #[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 microseconds")]
        let (least, most) = match (spec.kind, &spec.of) {
            (Kind::TimeIn, _) => (0.0, spec.span_us as f64 / 1e6),
            (Kind::Count | Kind::Increase, _) => (0.0, f64::INFINITY),
            (Kind::Rate, _) => return Ok(()),
            (_, Source::Number(Number::Channel(channel))) => match self.profile.channels[usize::from(*channel)].kind {
                ChannelKind::Number { min, max, .. } => (min, max),
                ChannelKind::Bool | ChannelKind::Text { .. } | ChannelKind::State { .. } => return Ok(()),
            },
            (_, Source::Number(_) | Source::Moment(_)) => return Ok(()),
        };
        let (at_least, at_most) = (order.holds(least, limit), order.holds(most, limit));
        let decided = match order {
            Order::Less | Order::LessOrEqual | Order::Greater | Order::GreaterOrEqual => at_least == at_most,
            Order::Equal | Order::NotEqual => !(least..=most).contains(&limit),
        };
        if decided {
            let answer = if at_least { "always" } else { "never" };
            return Err(self.error(
                tree,
                format!("this is {answer} true, as {}() lies between {least} and {most} here", spec.kind.name()),
                "choose a limit inside these bounds, or another window",
            ));
        }
        Ok(())
    }

    /// A channel against a limit; refused if the channel's physical range already decides it.
    fn limit(&self, tree: &IdedExpr, channel: u16, order: Order, limit: f64) -> Result<Truth, ProfileError> {
        let declared = &self.profile.channels[usize::from(channel)];
        if let ChannelKind::Number { unit, min, max } = declared.kind {
            let outside = !(min..=max).contains(&limit);
            let (at_min, at_max) = (order.holds(min, limit), order.holds(max, limit));
            let decided = match order {
                Order::Less | Order::LessOrEqual | Order::Greater | Order::GreaterOrEqual => at_min == at_max,
                Order::Equal | Order::NotEqual => outside,
            };
            if decided {
                let answer = if at_min { "always" } else { "never" };
                return Err(self.error(
                    tree,
                    format!("this is {answer} true, as \"{}\" lies between {min} and {max} {unit}", declared.id),
                    "choose a limit inside the channel's range, or correct the range",
                ));
            }
        }
        Ok(Truth::Limit { channel, order, limit })
    }

    fn state_bit(&self, tree: &IdedExpr, channel: u16, name: &str) -> Result<u64, ProfileError> {
        let declared = &self.profile.channels[usize::from(channel)];
        let ChannelKind::State { states } = &declared.kind else {
            return Err(self.error(tree, format!("\"{}\" has no states", declared.id), "compare it with what it is"));
        };
        if states.len() > MAX_STATES {
            return Err(self.error(
                tree,
                format!("\"{}\" has {} states", declared.id, states.len()),
                format!("a channel used in rules may have at most {MAX_STATES}"),
            ));
        }
        match states.iter().position(|state| state == name) {
            Some(index) => Ok(1 << index),
            None => {
                let known: Vec<_> = states.iter().map(String::as_str).collect();
                Err(self.error(
                    tree,
                    format!("\"{}\" has no state \"{name}\"", declared.id),
                    did_you_mean(name, &known),
                ))
            }
        }
    }

    pub(super) fn one_of(
        &mut self,
        tree: &IdedExpr,
        what: &IdedExpr,
        list: &IdedExpr,
        depth: u16,
    ) -> Result<Typed, ProfileError> {
        let typed = self.expression(what, depth)?;
        let Typed::List(elements) = self.expression(list, depth)? else {
            return Err(self.error(list, "in needs a list", "write it as x in [\"a\", \"b\"]"));
        };
        if elements.is_empty() {
            return Err(self.error(list, "nothing is in an empty list", "name at least one value"));
        }
        let truth = match typed {
            Typed::State(channel) => {
                let mut states = 0;
                for element in &elements {
                    states |= self.state_bit(element, channel, &self.text(element)?)?;
                }
                Truth::State { channel, states }
            }
            Typed::Text(channel) => {
                let texts: Result<Box<[_]>, _> =
                    elements.iter().map(|e| self.text(e).map(|t| Arc::from(t.as_str()))).collect();
                Truth::Text { channel, texts: texts? }
            }
            Typed::Number(number, _) => {
                let mut values = Vec::with_capacity(elements.len());
                for element in &elements {
                    match self.number(element, depth)? {
                        (Number::Constant(value), _) => values.push(value),
                        _ => {
                            return Err(self.error(
                                element,
                                "the list holds something that is not a number",
                                "write numbers only",
                            ));
                        }
                    }
                }
                Truth::OneOf(number, values.into())
            }
            other => {
                return Err(self.error(
                    tree,
                    format!("in cannot look for {}", other.describe()),
                    "look for a state, a text or a number",
                ));
            }
        };
        Ok(Typed::Truth(truth))
    }

    fn text(&self, tree: &IdedExpr) -> Result<String, ProfileError> {
        match &tree.expr {
            cel::common::ast::Expr::Literal(cel::common::ast::LiteralValue::String(text)) => {
                Ok(text.inner().to_owned())
            }
            _ => Err(self.error(tree, "the list holds something that is not a text", "write texts in quotes")),
        }
    }
}

fn negated(order: Order, truth: Truth) -> Truth {
    if order == Order::NotEqual { Truth::Not(Box::new(truth)) } else { truth }
}
