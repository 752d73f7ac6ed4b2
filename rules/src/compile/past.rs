//! What an expression may ask of the past: moments, sequences and windows.

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue},
};
use model::{ProfileError, Unit, duration, profile::did_you_mean};

use super::{Lower, MAX_LATCHES, MAX_WINDOWS, Typed};
use crate::{
    program::{Moment, Number},
    windows::{Kind, SequenceSpec, Source, WindowSpec},
};

/// The most steps of a sequence.
const MAX_STEPS: usize = 8;
/// How long a window may be.
const MIN_WINDOW_US: i64 = 1_000_000;
/// The shortest window in which devices are compared: their messages may arrive in any order by minutes.
const MIN_PEERS_US: i64 = 3_600_000_000;
const MAX_WINDOW_US: i64 = 90 * 86_400_000_000;

impl Lower<'_> {
    pub(super) fn span(&self, tree: &IdedExpr) -> Result<i64, ProfileError> {
        let Expr::Literal(LiteralValue::String(text)) = &tree.expr else {
            return Err(self.error(tree, "a duration is needed here", "write a text such as \"30s\" or \"10m\""));
        };
        match duration::parse(text.inner()) {
            Ok(span) if !span.is_zero() => Ok(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
            Ok(_) => {
                Err(self.error(tree, "a time of no length holds nothing", "write a longer duration, such as \"30s\""))
            }
            Err(error) => Err(self.error(
                tree,
                format!("\"{}\" is not a duration", error.0),
                "write a text such as \"30s\" or \"10m\"",
            )),
        }
    }

    /// What `recent`, `since` and `after` ask about: an event code, a channel's name, or an expression.
    pub(super) fn moment(&mut self, what: &IdedExpr, depth: u16) -> Result<Moment, ProfileError> {
        if !self.within_moment
            && let Expr::Call(call) = &what.expr
            && call.func_name == "sequence"
        {
            return self.sequence(what, &call.args, depth + 1);
        }
        if self.within_moment {
            return Err(self.error(
                what,
                "questions about the past cannot be nested",
                "ask them one beside the other, joined by && and ||",
            ));
        }
        self.within_moment = true;
        let typed = self.expression(what, depth);
        self.within_moment = false;
        match typed? {
            Typed::Literal(name) => {
                if let Some(event) = self.event_index(&name) {
                    return Ok(Moment::Event(event));
                }
                if let Some(channel) = self.channel_index(&name) {
                    return Ok(Moment::Channel(channel));
                }
                let known: Vec<_> = self.profile.events.iter().map(|event| event.code.as_str()).collect();
                Err(self.error(what, format!("unknown event \"{name}\""), did_you_mean(&name, &known)))
            }
            Typed::Truth(truth) => {
                let index = self
                    .followed
                    .latches
                    .iter()
                    .position(|known| *known == truth)
                    .unwrap_or(self.followed.latches.len());
                if index >= MAX_LATCHES {
                    return Err(self.error(
                        what,
                        format!("the rules ask about the past of more than {MAX_LATCHES} conditions"),
                        "use the same expression again, or fewer of them",
                    ));
                }
                if index == self.followed.latches.len() {
                    self.followed.latches.push(truth);
                }
                Ok(Moment::Latch(u16::try_from(index).expect("bounded by MAX_LATCHES above")))
            }
            other => Err(self.error(
                what,
                format!(
                    "recent, since and after ask about an event, a channel or a condition, not {}",
                    other.describe()
                ),
                "put the name in quotes, such as since(\"alarm_button\")",
            )),
        }
    }

    /// `sequence("a", "b", condition, "30s")`: one after the other, all within that time.
    fn sequence(&mut self, tree: &IdedExpr, args: &[IdedExpr], depth: u16) -> Result<Moment, ProfileError> {
        let [steps @ .., span] = args else {
            return Err(self.error(tree, "the sequence is empty", "write sequence(\"a\", \"b\", \"30s\")"));
        };
        if !(2..=MAX_STEPS).contains(&steps.len()) {
            return Err(self.error(
                tree,
                format!("a sequence has 2 to {MAX_STEPS} steps and a time, not {} steps", steps.len()),
                "write sequence(\"a\", \"b\", \"30s\")",
            ));
        }
        let span_us = self.span(span)?;
        let mut moments = Vec::with_capacity(steps.len());
        for step in steps {
            let moment = self.moment(step, depth)?;
            if let Moment::Channel(_) = moment {
                return Err(self.error(
                    step,
                    "a step of a sequence is an event or a condition, not a channel's report",
                    "write the condition that begins to hold",
                ));
            }
            if let (Moment::Latch(_), Some(last)) = (moment, moments.last())
                && *last == moment
            {
                return Err(self.error(
                    step,
                    "this sequence can never be complete: what holds already cannot begin to hold",
                    "write what must happen in between, or ask count(condition, \"30s\") >= 2",
                ));
            }
            moments.push(moment);
        }
        let spec = SequenceSpec { steps: moments, span_us };
        let known = self.followed.sequences.iter().position(|known| *known == spec);
        let index = known.unwrap_or(self.followed.sequences.len());
        if index >= MAX_WINDOWS {
            return Err(self.error(
                tree,
                format!("more than {MAX_WINDOWS} sequences"),
                "use the same one again, or fewer",
            ));
        }
        if known.is_none() {
            self.followed.sequences.push(spec);
        }
        Ok(Moment::Sequence(u16::try_from(index).expect("bounded above")))
    }

    /// `avg(x, "5m")` and the like.
    pub(super) fn window_of_number(
        &mut self,
        tree: &IdedExpr,
        name: &str,
        percent: Option<&IdedExpr>,
        what: &IdedExpr,
        span: &IdedExpr,
        depth: u16,
    ) -> Result<Typed, ProfileError> {
        let kind = match name {
            "avg" => Kind::Average,
            "min" => Kind::Least,
            "max" => Kind::Greatest,
            "rate" => Kind::Rate,
            "increase" => Kind::Increase,
            "baseline" => Kind::Baseline,
            "peers" => Kind::Peers,
            _ => Kind::Percentile(self.percent(percent.unwrap_or(tree))?),
        };
        let span_us = self.window_span(span)?;
        if kind == Kind::Peers && span_us < MIN_PEERS_US {
            return Err(self.error(
                span,
                "devices are compared over an hour or longer",
                "write peers(number, \"1h\") or longer",
            ));
        }
        self.enter(what)?;
        let number = self.number(what, depth);
        self.within_moment = false;
        let (number, unit) = number?;
        let mut reads = false;
        number.channels(&mut |_| reads = true);
        if !reads {
            return Err(self.error(what, "a window over something that never changes", "name a channel"));
        }
        let unit = unit.filter(|_| kind != Kind::Rate);
        self.window(tree, WindowSpec { kind, of: Source::Number(number), span_us }, unit)
    }

    /// `count("event", "1h")`, `time_in(condition, "1h")`.
    pub(super) fn window_of_moment(
        &mut self,
        tree: &IdedExpr,
        name: &str,
        what: &IdedExpr,
        span: &IdedExpr,
        depth: u16,
    ) -> Result<Typed, ProfileError> {
        let kind = if name == "count" { Kind::Count } else { Kind::TimeIn };
        let span_us = self.window_span(span)?;
        if self.within_moment {
            self.enter(what)?;
        }
        let moment = self.moment(what, depth)?;
        match (kind, moment) {
            (Kind::Count, Moment::Event(_) | Moment::Latch(_)) | (Kind::TimeIn, Moment::Latch(_)) => {
                self.window(tree, WindowSpec { kind, of: Source::Moment(moment), span_us }, None)
            }
            _ => Err(self.error(
                what,
                format!("{name}() does not take this"),
                "write count(\"event\", \"1h\"), count(condition, \"1h\") or time_in(condition, \"1h\")",
            )),
        }
    }

    fn enter(&mut self, what: &IdedExpr) -> Result<(), ProfileError> {
        if std::mem::replace(&mut self.within_moment, true) {
            return Err(self.error(
                what,
                "questions about the past cannot be nested",
                "ask them one beside the other, joined by && and ||",
            ));
        }
        Ok(())
    }

    fn window(&mut self, tree: &IdedExpr, spec: WindowSpec, unit: Option<Unit>) -> Result<Typed, ProfileError> {
        let known = self.followed.windows.iter().position(|known| *known == spec);
        let index = known.unwrap_or(self.followed.windows.len());
        if index >= MAX_WINDOWS {
            return Err(self.error(
                tree,
                format!("the rules ask for more than {MAX_WINDOWS} windows"),
                "use the same window again, or fewer of them: each is kept for every device",
            ));
        }
        if known.is_none() {
            self.followed.windows.push(spec);
        }
        Ok(Typed::Number(Number::Window(u16::try_from(index).expect("bounded above")), unit))
    }

    fn window_span(&self, tree: &IdedExpr) -> Result<i64, ProfileError> {
        let span_us = self.span(tree)?;
        if (MIN_WINDOW_US..=MAX_WINDOW_US).contains(&span_us) {
            return Ok(span_us);
        }
        Err(self.error(tree, "a window lasts from one second to ninety days", "choose a length between these"))
    }

    fn percent(&self, tree: &IdedExpr) -> Result<f64, ProfileError> {
        let percent = match &tree.expr {
            Expr::Literal(LiteralValue::Double(number)) => *number.inner(),
            #[expect(clippy::cast_precision_loss, reason = "checked to lie below 100")]
            Expr::Literal(LiteralValue::Int(number)) => *number.inner() as f64,
            _ => f64::NAN,
        };
        if percent > 0.0 && percent < 100.0 {
            return Ok(percent);
        }
        Err(self.error(tree, "a percentile lies between 0 and 100", "write a number such as 95"))
    }
}
