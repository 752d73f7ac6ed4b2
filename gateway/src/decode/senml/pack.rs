//! The records of a pack, out of JSON or CBOR: the same fields under names or under numbers.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value as Cbor;
use model::RejectReason;
use serde_json::Value as Json;

use super::{super::Problem, quote, unfit};

/// How deep a CBOR payload may be nested: a pack needs two levels, a decimal fraction two more.
const MAX_DEPTH: usize = 8;

macro_rules! fields {
    ($($name:ident = $label:literal, $number:literal,)+) => {
        /// A field of a record, by its label in JSON and its number in CBOR (RFC 8428, table 4).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Field { $($name,)+ }

        impl Field {
            pub(super) fn label(self) -> &'static str { match self { $(Self::$name => $label,)+ } }
            pub(super) fn from_label(label: &str) -> Option<Self> {
                match label { $($label => Some(Self::$name),)+ _ => None }
            }
            fn from_number(number: i128) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

fields! {
    BaseVersion = "bver", -1,
    BaseName = "bn", -2,
    BaseTime = "bt", -3,
    BaseUnit = "bu", -4,
    BaseValue = "bv", -5,
    BaseSum = "bs", -6,
    Name = "n", 0,
    Unit = "u", 1,
    Value = "v", 2,
    StringValue = "vs", 3,
    BoolValue = "vb", 4,
    Sum = "s", 5,
    Time = "t", 6,
    UpdateTime = "ut", 7,
    DataValue = "vd", 8,
}

/// A value in a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Atom {
    Number(f64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
    /// Nothing a field could take, in words.
    Other(&'static str),
}

impl Atom {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Number(number) => format!("the number {number}"),
            Self::Bool(flag) => flag.to_string(),
            Self::Text(text) => format!("the text \"{}\"", quote(text)),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::Other(what) => (*what).to_owned(),
        }
    }
}

/// One record as it stands in the pack.
#[derive(Debug, Default)]
pub(super) struct Record {
    fields: Vec<(Field, Atom)>,
    /// A label ending in `_` that nobody here knows.
    pub(super) must_understand: Option<String>,
}

impl Record {
    pub(super) fn get(&self, field: Field) -> Option<&Atom> {
        self.fields.iter().find(|(known, _)| *known == field).map(|(_, atom)| atom)
    }

    pub(super) fn text(&self, field: Field) -> Result<Option<&str>, Problem> {
        match self.get(field) {
            None => Ok(None),
            Some(Atom::Text(text)) => Ok(Some(text)),
            Some(other) => Err(unfit(field, "a text", other)),
        }
    }

    pub(super) fn flag(&self, field: Field) -> Result<Option<bool>, Problem> {
        match self.get(field) {
            None => Ok(None),
            Some(Atom::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(unfit(field, "true or false", other)),
        }
    }

    pub(super) fn number(&self, field: Field) -> Result<Option<f64>, Problem> {
        match self.get(field) {
            None => Ok(None),
            Some(Atom::Number(number)) if number.is_finite() => Ok(Some(*number)),
            Some(other) => Err(unfit(field, "a number", other)),
        }
    }

    /// Data, as the text it must be here: no channel holds bytes.
    pub(super) fn data(&self, field: Field) -> Result<String, Problem> {
        let bytes = match self.get(field) {
            Some(Atom::Bytes(bytes)) => bytes.clone(),
            Some(Atom::Text(text)) => URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| {
                (RejectReason::WrongType, format!("the SenML field \"vd\" is not base64url ({error}); encode it so"))
            })?,
            Some(other) => return Err(unfit(field, "data", other)),
            None => return Ok(String::new()),
        };
        String::from_utf8(bytes).map_err(|_| {
            let detail = "the SenML field \"vd\" holds bytes that are no UTF-8 text, and no channel holds bytes; send \
                          a number, a flag or a text";
            (RejectReason::WrongType, detail.to_owned())
        })
    }
}

/// True if the payload begins as a CBOR array, which no JSON text does.
pub(super) fn is_cbor(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| matches!(first, 0x80..=0x9f))
}

/// The records of a pack; those that are none are problems of their own.
pub(super) fn read(payload: &[u8]) -> Result<Vec<Result<Record, Problem>>, Problem> {
    const REMEDY: &str = "write a SenML pack: [{\"n\":\"<channel>\",\"u\":\"<unit>\",\"v\":<number>}]";
    if is_cbor(payload) {
        let mut rest = payload;
        let value =
            ciborium::de::from_reader_with_recursion_limit::<Cbor, _>(&mut rest, MAX_DEPTH).map_err(|error| {
                let found: String = error.to_string().chars().take(120).collect();
                (
                    RejectReason::WrongShape,
                    format!("the payload is not CBOR ({found}); send a SenML pack in CBOR or JSON"),
                )
            })?;
        if !rest.is_empty() {
            let detail = format!("{} bytes follow the SenML pack in CBOR; send one pack in a message", rest.len());
            return Err((RejectReason::WrongShape, detail));
        }
        return match value {
            Cbor::Array(list) => Ok(list.into_iter().map(cbor_record).collect()),
            // `is_cbor` has seen the array's first byte.
            _ => Err((RejectReason::WrongShape, format!("the payload is not an array; {REMEDY}"))),
        };
    }
    match serde_json::from_slice::<Json>(payload) {
        Ok(Json::Array(list)) => Ok(list.into_iter().map(json_record).collect()),
        Ok(_) => Err((RejectReason::WrongShape, format!("the payload is not an array; {REMEDY}"))),
        Err(error) => Err((RejectReason::NotJson, format!("the payload is not JSON ({error}); {REMEDY}"))),
    }
}

fn not_a_record(found: &str) -> Problem {
    (RejectReason::WrongShape, format!("an element of the SenML pack is {found}; every element is an object"))
}

fn json_record(value: Json) -> Result<Record, Problem> {
    let Json::Object(object) = value else { return Err(not_a_record("no object")) };
    let mut record = Record::default();
    for (label, value) in object {
        match Field::from_label(&label) {
            Some(field) => record.fields.push((field, json_atom(value))),
            None if label.ends_with('_') => record.must_understand = Some(label),
            None => {} // Unknown labels are to be ignored (RFC 8428 section 4.4).
        }
    }
    Ok(record)
}

fn json_atom(value: Json) -> Atom {
    match value {
        Json::Number(number) => number.as_f64().map_or(Atom::Other("a number too large"), Atom::Number),
        Json::Bool(flag) => Atom::Bool(flag),
        Json::String(text) => Atom::Text(text),
        Json::Null => Atom::Other("null"),
        Json::Array(_) => Atom::Other("a list"),
        Json::Object(_) => Atom::Other("an object"),
    }
}

fn cbor_record(value: Cbor) -> Result<Record, Problem> {
    let Cbor::Map(map) = value else { return Err(not_a_record("no map")) };
    let mut record = Record::default();
    for (label, value) in map {
        let field = match &label {
            Cbor::Integer(number) => Field::from_number(i128::from(*number)),
            Cbor::Text(label) => {
                if label.ends_with('_') {
                    record.must_understand = Some(label.clone());
                }
                Field::from_label(label)
            }
            _ => None,
        };
        if let Some(field) = field {
            record.fields.push((field, cbor_atom(value)));
        }
    }
    Ok(record)
}

#[expect(clippy::cast_precision_loss, reason = "channels hold doubles; whole numbers beyond 2^53 are rounded")]
fn cbor_atom(value: Cbor) -> Atom {
    match value {
        Cbor::Integer(number) => Atom::Number(i128::from(number) as f64),
        Cbor::Float(number) => Atom::Number(number),
        Cbor::Bool(flag) => Atom::Bool(flag),
        Cbor::Text(text) => Atom::Text(text),
        Cbor::Bytes(bytes) => Atom::Bytes(bytes),
        Cbor::Tag(4, fraction) => decimal_fraction(&fraction).map_or(Atom::Other("a broken fraction"), Atom::Number),
        Cbor::Null => Atom::Other("null"),
        Cbor::Array(_) => Atom::Other("a list"),
        Cbor::Map(_) => Atom::Other("a map"),
        // The enum of the library may grow.
        _ => Atom::Other("something that no field takes"),
    }
}

/// A decimal fraction [exponent, mantissa] (RFC 8949 section 3.4.4).
#[expect(clippy::cast_precision_loss, reason = "channels hold doubles")]
fn decimal_fraction(value: &Cbor) -> Option<f64> {
    let [Cbor::Integer(exponent), Cbor::Integer(mantissa)] = value.as_array()?.as_slice() else { return None };
    let exponent = i32::try_from(i128::from(*exponent)).ok().filter(|exponent| exponent.abs() <= 308)?;
    let mantissa = i128::from(*mantissa) as f64;
    Some(if exponent < 0 { mantissa / 10f64.powi(-exponent) } else { mantissa * 10f64.powi(exponent) })
}
