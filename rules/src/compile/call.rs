//! Operators and functions.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, operators as op},
};
use model::{ProfileError, profile::did_you_mean};

use super::{FUNCTIONS, Lower, Typed};
use crate::program::{Arithmetic, Number, Order, Truth};

impl Lower<'_> {
    pub(super) fn call(&mut self, tree: &IdedExpr, call: &CallExpr, depth: u16) -> Result<Typed, ProfileError> {
        if call.target.is_some() {
            return Err(self.error(
                tree,
                format!("the method {}() is not available", call.func_name),
                format!("use one of the functions {}", FUNCTIONS.join(", ")),
            ));
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (op::LOGICAL_AND, [a, b]) => {
                Ok(Typed::Truth(Truth::And(Box::new((self.truth(a, depth)?, self.truth(b, depth)?)))))
            }
            (op::LOGICAL_OR, [a, b]) => {
                Ok(Typed::Truth(Truth::Or(Box::new((self.truth(a, depth)?, self.truth(b, depth)?)))))
            }
            (op::LOGICAL_NOT, [a]) => Ok(Typed::Truth(Truth::Not(Box::new(self.truth(a, depth)?)))),
            (op::CONDITIONAL, [condition, a, b]) => self.choice(tree, condition, a, b, depth),
            (op::NEGATE, [a]) => {
                let (number, unit) = self.number(a, depth)?;
                Ok(Typed::Number(Number::Negative(Box::new(number)), unit))
            }
            (op::ADD, [a, b]) => self.calculation(tree, Arithmetic::Add, a, b, depth),
            (op::SUBSTRACT, [a, b]) => self.calculation(tree, Arithmetic::Subtract, a, b, depth),
            (op::MULTIPLY, [a, b]) => self.calculation(tree, Arithmetic::Multiply, a, b, depth),
            (op::DIVIDE, [a, b]) => self.calculation(tree, Arithmetic::Divide, a, b, depth),
            (op::EQUALS, [a, b]) => self.compare(tree, Order::Equal, a, b, depth),
            (op::NOT_EQUALS, [a, b]) => self.compare(tree, Order::NotEqual, a, b, depth),
            (op::LESS, [a, b]) => self.compare(tree, Order::Less, a, b, depth),
            (op::LESS_EQUALS, [a, b]) => self.compare(tree, Order::LessOrEqual, a, b, depth),
            (op::GREATER, [a, b]) => self.compare(tree, Order::Greater, a, b, depth),
            (op::GREATER_EQUALS, [a, b]) => self.compare(tree, Order::GreaterOrEqual, a, b, depth),
            (op::IN, [a, list]) => self.one_of(tree, a, list, depth),
            ("abs", [a]) => {
                let (number, unit) = self.number(a, depth)?;
                Ok(Typed::Number(Number::Absolute(Box::new(number)), unit))
            }
            ("has", [a]) => self.has(a),
            ("recent", [what, span]) => {
                let moment = self.moment(what, depth)?;
                let span_us = self.span(span)?;
                Ok(Typed::Truth(Truth::Recent { moment, span_us }))
            }
            ("since", [what]) => Ok(Typed::Since(self.moment(what, depth)?)),
            ("after", [a, b]) => {
                let (a, b) = (self.moment(a, depth)?, self.moment(b, depth)?);
                Ok(Typed::Truth(Truth::After { a, b }))
            }
            ("count" | "time_in", [what, span]) => {
                self.window_of_moment(tree, call.func_name.as_str(), what, span, depth)
            }
            ("avg" | "min" | "max" | "rate" | "increase" | "baseline" | "peers", [what, span]) => {
                self.window_of_number(tree, call.func_name.as_str(), None, what, span, depth)
            }
            ("percentile", [what, percent, span]) => {
                self.window_of_number(tree, "percentile", Some(percent), what, span, depth)
            }
            ("sequence", _) => Err(self.error(
                tree,
                "a sequence is something that happens, not true or false",
                "ask when it was complete: recent(sequence(\"a\", \"b\", \"30s\"), \"1m\")",
            )),
            (name, args) => Err(self.unknown_function(tree, name, args.len())),
        }
    }

    fn unknown_function(&self, tree: &IdedExpr, name: &str, given: usize) -> ProfileError {
        let usage = match name {
            "abs" => "abs(number)",
            "has" => "has(channel)",
            "recent" => "recent(\"event\", \"30s\")",
            "since" => "since(\"event\")",
            "after" => "after(\"event\", \"other event\")",
            "avg" => "avg(number, \"5m\")",
            "min" => "min(number, \"5m\")",
            "max" => "max(number, \"5m\")",
            "rate" => "rate(number, \"5m\")",
            "increase" => "increase(counter, \"1h\")",
            "baseline" => "baseline(number, \"7d\")",
            "peers" => "peers(number, \"1d\")",
            "percentile" => "percentile(number, 95, \"1h\")",
            "count" => "count(\"event\", \"1h\")",
            "time_in" => "time_in(condition, \"1h\")",
            _ if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let remedy = did_you_mean(name, &FUNCTIONS);
                return self.error(tree, format!("unknown function {name}()"), remedy);
            }
            _ => {
                let operator = name.trim_matches('_');
                return self.error(
                    tree,
                    format!("the operator {operator} is not available"),
                    "use + - * / < <= > >= == != && || ! in and ? :",
                );
            }
        };
        self.error(tree, format!("{name}() does not take {given} arguments"), format!("write {usage}"))
    }

    fn choice(
        &mut self,
        tree: &IdedExpr,
        condition: &IdedExpr,
        a: &IdedExpr,
        b: &IdedExpr,
        depth: u16,
    ) -> Result<Typed, ProfileError> {
        let condition = self.truth(condition, depth)?;
        match (self.expression(a, depth)?, self.expression(b, depth)?) {
            (Typed::Truth(a), Typed::Truth(b)) => Ok(Typed::Truth(Truth::Choice(Box::new((condition, a, b))))),
            (Typed::Number(a, unit), Typed::Number(b, other)) => {
                self.same_unit(tree, unit, other)?;
                Ok(Typed::Number(Number::Choice(Box::new((condition, a, b))), unit.or(other)))
            }
            (a, b) => Err(self.error(
                tree,
                format!("the two sides of ? : are {} and {}", a.describe(), b.describe()),
                "make both numbers, or both true or false",
            )),
        }
    }

    fn calculation(
        &mut self,
        tree: &IdedExpr,
        operation: Arithmetic,
        a: &IdedExpr,
        b: &IdedExpr,
        depth: u16,
    ) -> Result<Typed, ProfileError> {
        let (x, unit) = self.number(a, depth)?;
        let (y, other) = self.number(b, depth)?;
        let unit = match operation {
            Arithmetic::Add | Arithmetic::Subtract => {
                self.same_unit(tree, unit, other)?;
                unit.or(other)
            }
            Arithmetic::Multiply | Arithmetic::Divide => match (unit, other) {
                (Some(unit), None) => Some(unit),
                (None, Some(unit)) if operation == Arithmetic::Multiply => Some(unit),
                (None | Some(_), _) => None,
            },
        };
        if operation == Arithmetic::Divide && y == Number::Constant(0.0) {
            return Err(self.error(tree, "the expression divides by zero", "divide by something else"));
        }
        Ok(Typed::Number(Number::Calculation(operation, Box::new((x, y))), unit))
    }

    fn has(&self, what: &IdedExpr) -> Result<Typed, ProfileError> {
        let cel::common::ast::Expr::Ident(name) = &what.expr else {
            return Err(self.error(what, "has() asks for a channel", "write has(channel) with a channel's name"));
        };
        if let Some(channel) = self.channel_index(name) {
            return Ok(Typed::Truth(Truth::Has(channel)));
        }
        let known: Vec<_> = self.profile.channels.iter().map(|channel| channel.id.as_str()).collect();
        Err(self.error(what, format!("unknown channel \"{name}\""), did_you_mean(name, &known)))
    }
}
