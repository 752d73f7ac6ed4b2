//! From CEL text to a [`Truth`]: parsed by the `cel` crate, checked against the profile's channels and events,
//! lowered to our own types.

mod call;
mod check;
mod past;

use cel::{
    Env, IdedExpr,
    common::ast::{Expr, LiteralValue, SourceInfo},
};
use model::{
    Profile, ProfileError, Unit,
    profile::{ChannelKind, Located, did_you_mean},
};

use crate::program::{Followed, Moment, Number, Truth};

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 4096;
/// The deepest nesting.
const MAX_DEPTH: u16 = 32;
/// The most parts an expression may be made of.
const MAX_PARTS: usize = 512;
/// The most expressions a profile may follow with `recent`, `since` and `after`.
const MAX_LATCHES: usize = 64;
/// The most windows, and the most sequences, a profile may ask for: their memory is kept for every device.
const MAX_WINDOWS: usize = 64;

/// The functions an expression may call.
const FUNCTIONS: [&str; 16] = [
    "abs",
    "after",
    "avg",
    "baseline",
    "count",
    "has",
    "increase",
    "max",
    "min",
    "peers",
    "percentile",
    "rate",
    "recent",
    "sequence",
    "since",
    "time_in",
];

/// A part of an expression, by its type.
#[derive(Debug, Clone)]
enum Typed {
    Number(Number, Option<Unit>),
    Truth(Truth),
    /// A channel that is one of a set of states.
    State(u16),
    /// A channel that is free text.
    Text(u16),
    /// A literal text.
    Literal(String),
    /// `since(…)`.
    Since(Moment),
    List(Vec<IdedExpr>),
}

impl Typed {
    fn describe(&self) -> &'static str {
        match self {
            Self::Number(..) => "a number",
            Self::Truth(_) => "true or false",
            Self::State(_) => "a state",
            Self::Text(_) | Self::Literal(_) => "a text",
            Self::Since(_) => "a time since something",
            Self::List(_) => "a list",
        }
    }
}

/// Compiles one expression that must be true or false. What it asks of the past is added to `followed`.
///
/// # Errors
/// The first [`ProfileError`] found, at its line.
pub(crate) fn truth(profile: &Profile, text: &Located<String>, followed: &mut Followed) -> Result<Truth, ProfileError> {
    let (mut lower, tree) = Lower::new(profile, text, followed)?;
    match lower.expression(&tree, 0)? {
        Typed::Truth(truth) => Ok(truth),
        other => Err(lower.error(
            &tree,
            format!("the expression is {}, not true or false", other.describe()),
            "compare it with something",
        )),
    }
}

/// Checks the derived numbers, whether a rule uses them or not.
///
/// # Errors
/// The first [`ProfileError`] found, at its line.
pub(crate) fn check_derived(profile: &Profile) -> Result<(), ProfileError> {
    for (position, derived) in profile.derived.iter().enumerate() {
        let mut followed = Followed::default();
        let (mut lower, tree) = Lower::new(profile, &derived.value, &mut followed)?;
        lower.derived = position;
        lower.number(&tree, 0)?;
    }
    Ok(())
}

/// Reads an expression into a tree.
fn parsed(profile: &Profile, text: &Located<String>) -> Result<(IdedExpr, SourceInfo), ProfileError> {
    if text.value.trim().is_empty() {
        return Err(profile.error(text.line, "the expression is empty", "write a condition over the channels"));
    }
    if text.value.len() > MAX_LENGTH {
        return Err(profile.error(
            text.line,
            format!("the expression is {} bytes long", text.value.len()),
            format!("keep it below {MAX_LENGTH} bytes, or split the rule"),
        ));
    }
    if nesting(&text.value) > usize::from(MAX_DEPTH) {
        return Err(too_large(|message, remedy| profile.error(text.line, message, remedy)));
    }
    Env::default()
        .parser()
        .max_recursion_depth(MAX_DEPTH * 2)
        .error_recovery_limit(1)
        .parse_with_source_info(&text.value)
        .map_err(|errors| syntax_error(profile, text, &errors))
}

/// How deep brackets are nested; bounds the parser's own recursion.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn too_large(error: impl FnOnce(String, &str) -> ProfileError) -> ProfileError {
    error(
        format!("the expression is too large (at most {MAX_PARTS} parts, nested at most {MAX_DEPTH} deep)"),
        "split the rule, or make it a fusion of several signals",
    )
}

fn syntax_error(profile: &Profile, text: &Located<String>, errors: &cel::ParseErrors) -> ProfileError {
    let (line, message) =
        errors.errors.first().map_or((1, "it is not complete"), |error| (error.pos.0, error.msg.as_str()));
    let message = message.trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or(message);
    let below = usize::try_from(line).unwrap_or(1).max(1) - 1;
    profile.error(
        text.line + below,
        format!("the expression cannot be read: {message}"),
        "see docs/profiles.md for what an expression can say",
    )
}

struct Lower<'a> {
    profile: &'a Profile,
    text: &'a Located<String>,
    info: SourceInfo,
    followed: &'a mut Followed,
    parts: usize,
    /// True inside an expression that is followed, or that a window is over.
    within_moment: bool,
    /// How many derived numbers this expression is inside of.
    derived: usize,
}

impl<'a> Lower<'a> {
    fn new(
        profile: &'a Profile,
        text: &'a Located<String>,
        followed: &'a mut Followed,
    ) -> Result<(Self, IdedExpr), ProfileError> {
        let (tree, info) = parsed(profile, text)?;
        Ok((Self { profile, text, info, followed, parts: 0, within_moment: false, derived: usize::MAX }, tree))
    }
}

impl Lower<'_> {
    fn error(&self, at: &IdedExpr, message: impl Into<String>, remedy: impl Into<String>) -> ProfileError {
        let offset = self.info.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        let below = self.text.value.chars().take(offset).filter(|c| *c == '\n').count();
        self.profile.error(self.text.line + below, message, remedy)
    }

    fn expression(&mut self, tree: &IdedExpr, depth: u16) -> Result<Typed, ProfileError> {
        self.parts += 1;
        if depth > MAX_DEPTH || self.parts > MAX_PARTS {
            return Err(too_large(|message, remedy| self.error(tree, message, remedy)));
        }
        match &tree.expr {
            Expr::Literal(literal) => self.literal(tree, literal),
            Expr::Ident(name) => self.name(tree, name),
            Expr::Call(call) => self.call(tree, call, depth + 1),
            Expr::List(list) => Ok(Typed::List(list.elements.clone())),
            Expr::Unspecified | Expr::Comprehension(_) | Expr::Map(_) | Expr::Select(_) | Expr::Struct(_) => Err(self
                .error(
                    tree,
                    "fields, maps and structures are not available",
                    "use channels, numbers, texts, lists and the functions of docs/profiles.md",
                )),
        }
    }

    fn literal(&self, tree: &IdedExpr, literal: &LiteralValue) -> Result<Typed, ProfileError> {
        #[expect(clippy::cast_precision_loss, reason = "whole numbers in rules are far below 2^52")]
        Ok(match literal {
            LiteralValue::Boolean(flag) => Typed::Truth(Truth::Constant(*flag.inner())),
            LiteralValue::Double(number) => Typed::Number(Number::Constant(*number.inner()), None),
            LiteralValue::Int(number) => Typed::Number(Number::Constant(*number.inner() as f64), None),
            LiteralValue::UInt(number) => Typed::Number(Number::Constant(*number.inner() as f64), None),
            LiteralValue::String(text) => Typed::Literal(text.inner().to_owned()),
            LiteralValue::Bytes(_) | LiteralValue::Null => {
                return Err(self.error(
                    tree,
                    "bytes and null are not available",
                    "ask has(channel) whether a channel ever got a value",
                ));
            }
        })
    }

    fn channel_index(&self, name: &str) -> Option<u16> {
        let index = self.profile.channels.iter().position(|channel| channel.id.as_str() == name)?;
        u16::try_from(index).ok()
    }

    fn event_index(&self, code: &str) -> Option<u16> {
        let index = self.profile.events.iter().position(|event| event.code == code)?;
        u16::try_from(index).ok()
    }

    fn name(&mut self, tree: &IdedExpr, name: &str) -> Result<Typed, ProfileError> {
        let Some(index) = self.channel_index(name) else {
            if let Some(position) = self.profile.derived.iter().position(|derived| derived.id.as_str() == name)
                && position < self.derived
            {
                return self.derived_number(position);
            }
            if name == "online" {
                return Ok(Typed::Truth(Truth::Online));
            }
            if self.event_index(name).is_some() {
                return Err(self.error(
                    tree,
                    format!("\"{name}\" is an event, not a channel"),
                    format!("ask when it happened: recent(\"{name}\", \"30s\")"),
                ));
            }
            let derived = self.profile.derived.iter().map(|derived| derived.id.as_str());
            let known: Vec<_> =
                self.profile.channels.iter().map(|channel| channel.id.as_str()).chain(derived).collect();
            return Err(self.error(tree, format!("unknown channel \"{name}\""), did_you_mean(name, &known)));
        };
        Ok(match &self.profile.channels[usize::from(index)].kind {
            ChannelKind::Number { unit, .. } => Typed::Number(Number::Channel(index), Some(*unit)),
            ChannelKind::Bool => Typed::Truth(Truth::Channel(index)),
            ChannelKind::Text { .. } => Typed::Text(index),
            ChannelKind::State { .. } => Typed::State(index),
        })
    }

    /// A derived number, put in where its name stands; it may use only those before it.
    fn derived_number(&mut self, position: usize) -> Result<Typed, ProfileError> {
        let text = &self.profile.derived[position].value;
        let (mut lower, tree) = Lower::new(self.profile, text, self.followed)?;
        lower.derived = position;
        lower.parts = self.parts;
        lower.within_moment = self.within_moment;
        let (number, unit) = lower.number(&tree, 0)?;
        self.parts = lower.parts;
        Ok(Typed::Number(number, unit))
    }

    fn number(&mut self, tree: &IdedExpr, depth: u16) -> Result<(Number, Option<Unit>), ProfileError> {
        match self.expression(tree, depth)? {
            Typed::Number(number, unit) => Ok((number, unit)),
            other => Err(self.error(
                tree,
                format!("a number is needed here, not {}", other.describe()),
                "use a number channel or a number",
            )),
        }
    }

    fn truth(&mut self, tree: &IdedExpr, depth: u16) -> Result<Truth, ProfileError> {
        match self.expression(tree, depth)? {
            Typed::Truth(truth) => Ok(truth),
            other => Err(self.error(
                tree,
                format!("true or false is needed here, not {}", other.describe()),
                "compare it with something",
            )),
        }
    }
}
