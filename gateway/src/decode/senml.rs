//! SenML (RFC 8428), in JSON and in CBOR. A pack is resolved record by record: base fields hold until the next base
//! field of their kind, names are joined, times and values are added to their bases.

mod pack;

use model::{RejectReason, Value};

use super::{
    DecodeOptions, Output, Problem,
    address::Known,
    gather::{Gather, Measured},
    quote,
    time::{self, Stamp},
};
use pack::{Atom, Field, Record};

/// The version this reader knows (RFC 8428 section 4.4).
const VERSION: f64 = 10.0;
/// Times below this are relative to now (RFC 8428 section 4.5.3: 2^28 seconds).
const RELATIVE_BELOW_S: f64 = 268_435_456.0;

/// True if the payload looks like a pack rather than native telemetry: CBOR arrays begin with no byte that JSON could
/// begin with, and a JSON pack is an array whose first object begins with a SenML label.
pub(super) fn looks_like_pack(payload: &[u8]) -> bool {
    if pack::is_cbor(payload) {
        return true;
    }
    let skip = |bytes: &'_ [u8]| bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let mut rest = payload;
    for mark in [b'[', b'{', b'"'] {
        rest = &rest[skip(rest)..];
        match rest.split_first() {
            Some((first, more)) if *first == mark => rest = more,
            Some(_) | None => return false,
        }
    }
    let label = rest.iter().position(|byte| *byte == b'"').map(|end| &rest[..end]);
    label.and_then(|label| std::str::from_utf8(label).ok()).is_some_and(|label| Field::from_label(label).is_some())
}

/// The base fields so far.
#[derive(Default)]
struct Base {
    name: String,
    time: f64,
    unit: Option<String>,
    value: f64,
    sum: f64,
}

pub(super) fn read(options: &DecodeOptions, known: &Known<'_>, others: &dyn Fn(&str) -> bool, out: &mut Output<'_>) {
    let records = match pack::read(&out.message.payload) {
        Ok(records) => records,
        Err(problem) => return out.reject(problem),
    };
    let (mut base, mut gather) = (Base::default(), Gather::new(known));
    let before = out.entries.len();
    let count = records.len();
    for record in records {
        match record {
            Ok(record) => {
                // What a later record builds on cannot be guessed if the base of this one is unusable.
                if let Err(problem) = resolve(options, known, others, &record, &mut base, &mut gather, out) {
                    out.reject(problem);
                    break;
                }
            }
            Err(problem) => out.reject(problem),
        }
    }
    gather.finish(out);
    if out.entries.len() == before && count == 0 {
        out.reject((RejectReason::WrongShape, "the SenML pack is empty; write at least one record".to_owned()));
    }
}

/// Resolves one record. An error ends the pack: a later record cannot be trusted.
fn resolve(
    options: &DecodeOptions,
    known: &Known<'_>,
    others: &dyn Fn(&str) -> bool,
    record: &Record,
    base: &mut Base,
    gather: &mut Gather<'_>,
    out: &mut Output<'_>,
) -> Result<(), Problem> {
    rebase(record, base)?;
    let text = |field| record.text(field);
    let number = |field| record.number(field);
    let (name, unit) = match (text(Field::Name), text(Field::Unit)) {
        (Ok(name), Ok(unit)) => (name, unit),
        (Err(problem), _) | (_, Err(problem)) => {
            out.reject(problem);
            return Ok(());
        }
    };
    let (value, sum, time) = match (value(record, base.value), number(Field::Sum), number(Field::Time)) {
        (Ok(value), Ok(sum), Ok(time)) => (value, sum, time),
        (Err(problem), _, _) | (_, Err(problem), _) | (_, _, Err(problem)) => {
            out.reject(problem);
            return Ok(());
        }
    };
    if let Err(problem) = number(Field::UpdateTime) {
        out.reject(problem);
    }
    let has_sum = sum.is_some();
    if value.is_none() && !has_sum {
        if name.is_some() || record.get(Field::Time).is_some() {
            let detail = "the SenML record has neither a value (v, vs, vb, vd) nor a sum (s); give it one".to_owned();
            out.reject((RejectReason::WrongShape, detail));
        }
        return Ok(()); // Base fields alone are fine.
    }
    let full = format!("{}{}", base.name, name.unwrap_or_default());
    let channel = match channel_of(known, others, &full) {
        Ok(channel) => channel,
        Err(problem) => {
            out.reject(problem);
            return Ok(());
        }
    };
    let at = || moment(options, base.time + time.unwrap_or(0.0), out.message.received_at);
    let (at, again) = (at(), at());
    let unit = unit.or(base.unit.as_deref());
    if let Some(value) = value {
        gather.put(at, Measured { name: channel, value, unit }, out);
    }
    if let Some(sum) = sum {
        let name = format!("{channel}_sum");
        let value = Value::Number(base.sum + sum);
        gather.put(again, Measured { name: &name, value, unit: None }, out);
    }
    Ok(())
}

/// Takes over the base fields of a record.
fn rebase(record: &Record, base: &mut Base) -> Result<(), Problem> {
    if let Some(unknown) = &record.must_understand {
        let detail = format!(
            "the SenML label \"{}\" ends with _ and must be understood, but the hub does not know it; leave it out",
            quote(unknown)
        );
        return Err((RejectReason::WrongShape, detail));
    }
    if let Some(version) = record.number(Field::BaseVersion)?.filter(|version| *version > VERSION) {
        let detail = format!("the SenML version {version} is newer than {VERSION}, the newest known; send version 10");
        return Err((RejectReason::WrongShape, detail));
    }
    if let Some(name) = record.text(Field::BaseName)? {
        name.clone_into(&mut base.name);
    }
    if let Some(unit) = record.text(Field::BaseUnit)? {
        base.unit = Some(unit.to_owned());
    }
    for (field, slot) in
        [(Field::BaseTime, &mut base.time), (Field::BaseValue, &mut base.value), (Field::BaseSum, &mut base.sum)]
    {
        if let Some(number) = record.number(field)? {
            *slot = number;
        }
    }
    Ok(())
}

/// The value of a record; an error if it has two.
fn value(record: &Record, base: f64) -> Result<Option<Value>, Problem> {
    let fields = [Field::Value, Field::StringValue, Field::BoolValue, Field::DataValue];
    let mut present = fields.into_iter().filter(|field| record.get(*field).is_some());
    let Some(field) = present.next() else { return Ok(None) };
    if let Some(second) = present.next() {
        let detail = format!(
            "the SenML record has both \"{}\" and \"{}\"; a record has one value",
            field.label(),
            second.label()
        );
        return Err((RejectReason::WrongShape, detail));
    }
    Ok(match field {
        Field::StringValue => record.text(field)?.map(|text| Value::Text(text.into())),
        Field::BoolValue => record.flag(field)?.map(Value::Bool),
        Field::DataValue => Some(Value::Text(record.data(field)?.into())),
        // Only the fields listed above come here.
        Field::Value
        | Field::BaseName
        | Field::BaseTime
        | Field::BaseUnit
        | Field::BaseValue
        | Field::BaseSum
        | Field::BaseVersion
        | Field::Name
        | Field::Unit
        | Field::Sum
        | Field::Time
        | Field::UpdateTime => record.number(Field::Value)?.map(|number| Value::Number(base + number)),
    })
}

/// The channel of a resolved name: what follows the last `:` or `/`. What stands before it may name the device in any
/// way, such as `urn:dev:mac:…`, but not another device that is registered here.
fn channel_of<'n>(known: &Known<'_>, others: &dyn Fn(&str) -> bool, name: &'n str) -> Result<&'n str, Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '/' | '_');
    let starts = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !starts || !name.chars().all(allowed) {
        let detail = format!(
            "the SenML name \"{}\" is not valid; begin with a letter or digit and use letters, digits and - : . / _",
            quote(name)
        );
        return Err((RejectReason::WrongShape, detail));
    }
    let Some((device, channel)) = name.rsplit_once([':', '/']) else { return Ok(name) };
    let last = device.trim_end_matches([':', '/']).rsplit([':', '/']).next().unwrap_or_default();
    let named = [device, last].into_iter().find(|part| *part != known.device.as_str() && others(part));
    match named {
        Some(other) => {
            let detail = format!(
                "the SenML name \"{}\" is of the device \"{other}\" but came on the topic of \"{}\"; send each device's \
                 values on its own topic",
                quote(name),
                known.device
            );
            Err((RejectReason::Forbidden, detail))
        }
        None => Ok(channel),
    }
}

/// The moment of a record, in seconds: since 1970, or from now if it is small.
fn moment(options: &DecodeOptions, seconds: f64, received_at: model::Timestamp) -> Result<model::Timestamp, Problem> {
    if seconds == 0.0 {
        return Ok(received_at);
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
    let now_ms = received_at.as_millis() as f64;
    let ms = if seconds < RELATIVE_BELOW_S { now_ms + seconds * 1000.0 } else { seconds * 1000.0 };
    time::resolve(options, Some(&Stamp::from_f64(ms.round())), received_at)
        .map_err(|(reason, detail)| (reason, format!("{detail} (SenML times are in seconds)")))
}

/// A value that a field cannot take.
fn unfit(field: Field, expected: &str, found: &Atom) -> Problem {
    let detail = format!("the SenML field \"{}\" takes {expected}, not {}", field.label(), found.describe());
    (RejectReason::WrongType, detail)
}
