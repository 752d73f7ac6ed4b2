//! The value of a metric.

use model::{RejectReason, Value};
use srad_types::payload::{DataType, Metric, metric::Value as Wire, property_value};

use super::{Problem, nodes::About, quote};

/// The unit that a birth names in the metric's property `engUnit`.
pub(super) fn unit(metric: &Metric) -> Option<String> {
    let properties = metric.properties.as_ref()?;
    let at = properties.keys.iter().position(|key| key == "engUnit")?;
    match properties.values.get(at)?.value.as_ref()? {
        property_value::Value::StringValue(unit) if !unit.is_empty() => Some(unit.clone()),
        _ => None,
    }
}

/// A metric's value; `None` if it has none.
pub(super) fn value(metric: &Metric, about: &About, name: &str) -> Result<Option<Value>, Problem> {
    if metric.is_null == Some(true) {
        return Ok(None);
    }
    let datatype = metric.datatype.filter(|datatype| *datatype != 0).unwrap_or(about.datatype);
    let unfit = |what: &str| {
        let detail = format!("the metric \"{}\" holds {what}; send a number, a boolean or a string", quote(name));
        Err((RejectReason::WrongType, detail))
    };
    Ok(Some(match &metric.value {
        None => return Ok(None),
        Some(Wire::IntValue(bits)) => Value::Number(whole_32(*bits, datatype)),
        Some(Wire::LongValue(bits)) => Value::Number(whole_64(*bits, datatype)),
        // The nearest double that reads the same: 0.1 stays 0.1.
        Some(Wire::FloatValue(number)) => {
            Value::Number(number.to_string().parse().unwrap_or_else(|_| f64::from(*number)))
        }
        Some(Wire::DoubleValue(number)) => Value::Number(*number),
        Some(Wire::BooleanValue(flag)) => Value::Bool(*flag),
        Some(Wire::StringValue(text)) => Value::Text(text.as_str().into()),
        Some(Wire::BytesValue(_)) => return unfit("bytes"),
        Some(Wire::DatasetValue(_)) => return unfit("a data set"),
        Some(Wire::TemplateValue(_)) => return unfit("a template"),
        Some(Wire::ExtensionValue(_)) => return unfit("an extension"),
    }))
}

fn is(datatype: u32, wanted: DataType) -> bool {
    i32::try_from(datatype) == Ok(wanted as i32)
}

/// Signed types travel in two's complement, either in their own width or in 32 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "that is how the bits are meant")]
fn whole_32(bits: u32, datatype: u32) -> f64 {
    if is(datatype, DataType::Int8) {
        f64::from(bits as u8 as i8)
    } else if is(datatype, DataType::Int16) {
        f64::from(bits as u16 as i16)
    } else if is(datatype, DataType::Int32) {
        f64::from(bits as i32)
    } else {
        f64::from(bits)
    }
}

#[expect(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "that is how the bits are meant; channels hold doubles"
)]
fn whole_64(bits: u64, datatype: u32) -> f64 {
    let signed = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
    if signed.into_iter().any(|wanted| is(datatype, wanted)) { bits as i64 as f64 } else { bits as f64 }
}
