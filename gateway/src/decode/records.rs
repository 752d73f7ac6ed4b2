//! Samples and events: one JSON object or an array of them, read in one pass straight into model types.
//!
//! The readers below never return an error of their own: what is wrong is noted as a problem and skipped, so that
//! an error can only mean that the payload is not JSON.

use std::fmt;

use model::{ChannelId, Profile, RejectReason, Value, codes::CodeTable, profile::Channel, profile::ChannelKind};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MAX_REJECTS, Problem, quote, time::Stamp, unknown};

/// Which kind of object is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Sample,
    Event,
}

impl Shape {
    fn remedy(self) -> &'static str {
        match self {
            Self::Sample => "write {\"ts\":<ms>,\"values\":{\"<channel>\":<value>}}",
            Self::Event => "write {\"ts\":<ms>,\"code\":\"<event>\"}",
        }
    }
}

/// One object, read.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) ts: Option<Stamp>,
    pub(super) seq: Option<u64>,
    /// The event's code; always present in an [`Shape::Event`] record.
    pub(super) code: Option<String>,
    pub(super) values: Vec<(ChannelId, Value)>,
    pub(super) problems: Problems,
    has_values: bool,
    /// The first name at the top that has no meaning there.
    stray: Option<String>,
}

/// What was wrong, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) kept: Vec<Problem>,
    /// How many more there were, by reason.
    pub(super) suppressed: Vec<(RejectReason, u32)>,
}

impl Problems {
    fn note(&mut self, reason: RejectReason, detail: impl FnOnce() -> String) {
        if self.kept.len() < MAX_REJECTS {
            self.kept.push((reason, detail()));
        } else {
            match self.suppressed.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, parts)) => *parts = parts.saturating_add(1),
                None => self.suppressed.push((reason, 1)),
            }
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { kept: vec![problem], suppressed: Vec::new() }
    }
}

/// One element of the payload.
#[derive(Debug)]
pub(super) enum Item {
    Record(Box<Record>),
    /// Nothing of it can be used.
    Unusable(Problems),
}

/// Reads a payload.
pub(super) fn read(
    payload: &[u8],
    profile: &Profile,
    codes: Option<&CodeTable>,
    shape: Shape,
) -> Result<Vec<Item>, Problem> {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let items = Document { profile, codes, shape }.deserialize(&mut json).and_then(|items| json.end().map(|()| items));
    match items {
        Ok(items) if items.is_empty() => {
            Err((RejectReason::WrongShape, format!("the array is empty; {}", shape.remedy())))
        }
        Ok(items) => Ok(items),
        Err(error) => {
            let nan =
                [b"NaN".as_slice(), b"Infinity"].iter().any(|word| payload.windows(word.len()).any(|w| w == *word));
            let remedy = if nan { "JSON has no NaN or Infinity: leave such a channel out" } else { shape.remedy() };
            Err((RejectReason::NotJson, format!("the payload is not JSON ({error}); {remedy}")))
        }
    }
}

/// The whole payload.
struct Document<'p> {
    profile: &'p Profile,
    codes: Option<&'p CodeTable>,
    shape: Shape,
}

any_seed!(Document<'_> => Vec<Item>);

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<Item>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(vec![Element { profile: self.profile, codes: self.codes, shape: self.shape }.visit_map(map)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) =
            list.next_element_seed(Element { profile: self.profile, codes: self.codes, shape: self.shape })?
        {
            items.push(item);
        }
        Ok(items)
    }

    visit_rest!(self, found => vec![not_an_object("the payload", &found, self.shape)]; bool number text null);
}

fn not_an_object(what: &str, found: &str, shape: Shape) -> Item {
    Item::Unusable((RejectReason::WrongShape, format!("{what} is {found}; {}", shape.remedy())).into())
}

/// One object of the payload.
struct Element<'p> {
    profile: &'p Profile,
    codes: Option<&'p CodeTable>,
    shape: Shape,
}

any_seed!(Element<'_> => Item);

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let mut record = Record::default();
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Name::Ts => record.ts = map.next_value_seed(Time)?,
                Name::Seq => match map.next_value_seed(Count)? {
                    Ok(seq) => record.seq = seq,
                    Err(found) => record.problems.note(RejectReason::WrongType, || {
                        format!(
                            "\"seq\" takes a whole number from 0, not {found}; count messages upwards or leave it out"
                        )
                    }),
                },
                Name::Code if self.shape == Shape::Event => match map.next_value_seed(Code)? {
                    Ok(code) => record.code = Some(code),
                    Err(found) => record
                        .problems
                        .note(RejectReason::WrongShape, || format!("\"code\" is {found}; {}", self.shape.remedy())),
                },
                Name::Values => {
                    record.has_values = true;
                    map.next_value_seed(Values {
                        profile: self.profile,
                        codes: self.codes,
                        shape: self.shape,
                        record: &mut record,
                    })?;
                }
                Name::Code => {
                    record.stray.get_or_insert_with(|| "code".to_owned());
                    map.next_value::<IgnoredAny>()?;
                }
                Name::Other(name) => {
                    record.stray.get_or_insert(name);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(self.finish(record))
    }

    visit_rest!(self, found => not_an_object("an element of the array", &found, self.shape);
        bool number text null list);
}

impl Element<'_> {
    fn finish(&self, mut record: Record) -> Item {
        match self.shape {
            Shape::Sample if !record.has_values => {
                let name = record.stray.take().unwrap_or_else(|| "<channel>".to_owned());
                record.problems.note(RejectReason::WrongShape, || {
                    format!("\"values\" is missing; write {{\"ts\":<ms>,\"values\":{{\"{name}\":…}}}}: the channels go inside \"values\"")
                });
                Item::Unusable(record.problems)
            }
            Shape::Sample if record.values.is_empty() && record.problems.kept.is_empty() => {
                record.problems.note(RejectReason::WrongShape, || {
                    "\"values\" is empty; write at least one channel, or use the topic …/status to say that the device is there".to_owned()
                });
                Item::Unusable(record.problems)
            }
            Shape::Event if record.code.is_none() => {
                if !record.problems.kept.iter().any(|(reason, _)| *reason == RejectReason::WrongShape) {
                    record
                        .problems
                        .note(RejectReason::WrongShape, || format!("\"code\" is missing; {}", self.shape.remedy()));
                }
                Item::Unusable(record.problems)
            }
            Shape::Sample | Shape::Event => Item::Record(Box::new(record)),
        }
    }
}

/// A name at the top of an object.
enum Name {
    Ts,
    Seq,
    Code,
    Values,
    Other(String),
}

struct Key;

any_seed!(Key => Name);

impl Visitor<'_> for Key {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        Ok(match name {
            "ts" => Name::Ts,
            "seq" => Name::Seq,
            "code" => Name::Code,
            "values" => Name::Values,
            other => Name::Other(quote(other)),
        })
    }
}

/// A time.
struct Time;

any_seed!(Time => Option<Stamp>);

impl<'de> Visitor<'de> for Time {
    type Value = Option<Stamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since 1970")
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<Self::Value, E> {
        Ok(Some(Stamp::Number(i64::try_from(ms).unwrap_or(i64::MAX))))
    }

    fn visit_i64<E: Error>(self, ms: i64) -> Result<Self::Value, E> {
        Ok(Some(Stamp::Number(ms)))
    }

    fn visit_f64<E: Error>(self, ms: f64) -> Result<Self::Value, E> {
        Ok(Some(Stamp::from_f64(ms)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    visit_rest!(self, found => Some(Stamp::Other(found)); bool text list object);
}

/// A count, or what stood there instead.
struct Count;

any_seed!(Count => Result<Option<u64>, String>);

impl<'de> Visitor<'de> for Count {
    type Value = Result<Option<u64>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Self::Value, E> {
        Ok(Ok(Some(count)))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Self::Value, E> {
        Ok(Err(format!("the number {count}")))
    }

    fn visit_f64<E: Error>(self, count: f64) -> Result<Self::Value, E> {
        Ok(Err(format!("the number {count}")))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Ok(None))
    }

    visit_rest!(self, found => Err(found); bool text list object);
}

/// An event's code, or what stood there instead.
struct Code;

any_seed!(Code => Result<String, String>);

impl<'de> Visitor<'de> for Code {
    type Value = Result<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event's code")
    }

    fn visit_str<E: Error>(self, code: &str) -> Result<Self::Value, E> {
        Ok(Ok(code.to_owned()))
    }

    /// Code sets are numbers to many senders.
    fn visit_u64<E: Error>(self, code: u64) -> Result<Self::Value, E> {
        Ok(Ok(code.to_string()))
    }

    visit_rest!(self, found => Err(found); bool null list object);

    fn visit_i64<E: Error>(self, code: i64) -> Result<Self::Value, E> {
        Ok(Err(format!("the number {code}")))
    }

    fn visit_f64<E: Error>(self, code: f64) -> Result<Self::Value, E> {
        Ok(Err(format!("the number {code}")))
    }
}

/// The object of channels and their values.
struct Values<'p, 'r> {
    profile: &'p Profile,
    codes: Option<&'p CodeTable>,
    shape: Shape,
    record: &'r mut Record,
}

any_seed!(Values<'_, '_> => ());

impl Values<'_, '_> {
    fn wrong(self, found: &str) {
        let remedy = self.shape.remedy();
        self.record
            .problems
            .note(RejectReason::WrongShape, || format!("\"values\" is {found} and should be an object; {remedy}"));
    }
}

impl<'de> Visitor<'de> for Values<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of channels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Record { values, problems, .. } = self.record;
        while let Some(found) = map.next_key_seed(ChannelName(self.profile))? {
            let channel = match found {
                Ok(channel) => channel,
                Err(name) => {
                    map.next_value::<IgnoredAny>()?;
                    problems.note(RejectReason::UnknownChannel, || {
                        let known = self.profile.channels.iter().map(|channel| channel.id.as_str());
                        unknown("channel", &name, self.profile, known)
                    });
                    continue;
                }
            };
            match map.next_value_seed(Reading(channel, self.codes))? {
                // Of a channel named twice the last value counts, as in most JSON readers.
                Ok(value) => match values.iter_mut().find(|(id, _)| *id == channel.id) {
                    Some(slot) => slot.1 = value,
                    None => values.push((channel.id.clone(), value)),
                },
                Err((reason, detail)) => problems.note(reason, || detail),
            }
        }
        Ok(())
    }

    visit_rest!(self, found => self.wrong(&found); bool number text null list);
}

/// A channel's name: the channel, or the name nobody knows.
struct ChannelName<'p>(&'p Profile);

impl<'de, 'p> DeserializeSeed<'de> for ChannelName<'p> {
    type Value = Result<&'p Channel, String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for ChannelName<'p> {
    type Value = Result<&'p Channel, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a channel's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.channel(name).ok_or_else(|| quote(name)))
    }
}

/// A channel's value, checked.
struct Reading<'p>(&'p Channel, Option<&'p CodeTable>);

any_seed!(Reading<'_> => Result<Value, Problem>);

/// Checks a value against its channel; a state in the code set of the device becomes the profile's.
pub(super) fn check(channel: &Channel, codes: Option<&CodeTable>, value: Value) -> Result<Value, Problem> {
    use model::profile::Misfit;
    if let (ChannelKind::State { .. }, Some(codes)) = (&channel.kind, codes)
        && let Some(known) = codes.read_state(channel.id.as_str(), &value.to_string())
    {
        return Ok(Value::Text(known.state.as_str().into()));
    }
    match channel.check(&value) {
        Ok(()) => Ok(value),
        Err(misfit @ Misfit::Range { .. }) => Err((RejectReason::OutOfRange, misfit.to_string())),
        Err(misfit @ Misfit::Type { .. }) => {
            Err((RejectReason::WrongType, format!("{misfit}{}", remedy(channel, &value))))
        }
    }
}

fn remedy(channel: &Channel, value: &Value) -> &'static str {
    match (&channel.kind, value) {
        (ChannelKind::Number { .. }, Value::Text(text)) if text.trim().parse::<f64>().is_ok() => {
            "; send the number without quotes"
        }
        (ChannelKind::Number { .. }, _) => "; send a number",
        (ChannelKind::Bool, Value::Text(_)) => "; send true or false without quotes",
        (ChannelKind::Bool, _) => "; send true or false",
        (ChannelKind::Text { .. }, Value::Text(_)) => "; shorten it",
        (ChannelKind::Text { .. }, _) => "; put it in quotes",
        (ChannelKind::State { .. }, _) => "; send the name of a state in quotes",
    }
}

impl Reading<'_> {
    fn check(&self, value: Value) -> Result<Value, Problem> {
        check(self.0, self.1, value)
    }

    fn unfit(&self, found: &str) -> Problem {
        let remedy =
            if found == "null" { "leave the channel out while it has no value" } else { "send one plain value" };
        (RejectReason::WrongType, format!("channel \"{}\" takes one value, not {found}; {remedy}", self.0.id))
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Result<Value, Problem>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(self.check(Value::Bool(flag)))
    }

    #[expect(clippy::cast_precision_loss, reason = "channels hold doubles; whole numbers above 2^53 are rounded")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.check(Value::Number(number as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "channels hold doubles; whole numbers below -2^53 are rounded")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.check(Value::Number(number as f64)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.check(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.check(Value::Text(text.into())))
    }

    visit_rest!(self, found => Err(self.unfit(&found)); null list object);
}
