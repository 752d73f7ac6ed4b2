//! Units on the wire into the units of channels. Symbols and factors: the IANA registry of SenML units (RFC 8428
//! section 12.1) with the secondary units of RFC 8798, and the symbols of [`model::Unit`] themselves.

use model::Unit;

/// What a unit measures. Only units of one dimension convert into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Ratio,
    Count,
    Time,
    Length,
    Speed,
    Acceleration,
    Mass,
    Temperature,
    Voltage,
    Current,
    Power,
    Torque,
    Pressure,
    Flow,
    Frequency,
    SoundLevel,
    Floor,
}

/// A unit as a multiple of its dimension's base: base = value × scale + offset.
#[derive(Debug, Clone, Copy)]
struct Measure {
    dimension: Dimension,
    scale: f64,
    offset: f64,
}

/// Standard gravity in m/s² (ISO 80000-3).
const STANDARD_GRAVITY: f64 = 9.806_65;
/// 0 °C in kelvin.
const ZERO_CELSIUS_K: f64 = 273.15;

fn measure(dimension: Dimension, scale: f64) -> Measure {
    Measure { dimension, scale, offset: 0.0 }
}

/// The unit of a channel.
fn of_channel(unit: Unit) -> Measure {
    use Dimension as D;
    match unit {
        Unit::One => measure(D::Ratio, 1.0),
        Unit::Percent => measure(D::Ratio, 0.01),
        Unit::Count => measure(D::Count, 1.0),
        Unit::Second => measure(D::Time, 1.0),
        Unit::Hour => measure(D::Time, 3600.0),
        Unit::Metre => measure(D::Length, 1.0),
        Unit::Millimetre => measure(D::Length, 1e-3),
        Unit::MetrePerSecond => measure(D::Speed, 1.0),
        Unit::MillimetrePerSecond => measure(D::Speed, 1e-3),
        Unit::MetrePerSecondSquared => measure(D::Acceleration, 1.0),
        Unit::Gravity => measure(D::Acceleration, STANDARD_GRAVITY),
        Unit::Kilogram => measure(D::Mass, 1.0),
        Unit::Celsius => Measure { dimension: D::Temperature, scale: 1.0, offset: ZERO_CELSIUS_K },
        Unit::Volt => measure(D::Voltage, 1.0),
        Unit::Ampere => measure(D::Current, 1.0),
        Unit::Kilowatt => measure(D::Power, 1000.0),
        Unit::NewtonMetre => measure(D::Torque, 1.0),
        Unit::Bar => measure(D::Pressure, 1e5),
        Unit::CubicMetrePerHour => measure(D::Flow, 1.0 / 3600.0),
        Unit::PerMinute => measure(D::Frequency, 1.0 / 60.0),
        Unit::Hertz => measure(D::Frequency, 1.0),
        Unit::DecibelA => measure(D::SoundLevel, 1.0),
        Unit::Floor => measure(D::Floor, 1.0),
    }
}

/// Every symbol read on the wire beside the channel's own.
const WIRE: &[(&str, Dimension, f64, f64)] = {
    use Dimension as D;
    &[
        ("/", D::Ratio, 1.0, 0.0),
        ("%", D::Ratio, 0.01, 0.0),
        ("%RH", D::Ratio, 0.01, 0.0),
        ("%EL", D::Ratio, 0.01, 0.0),
        ("/100", D::Ratio, 0.01, 0.0),
        ("/1000", D::Ratio, 1e-3, 0.0),
        ("ppm", D::Ratio, 1e-6, 0.0),
        ("count", D::Count, 1.0, 0.0),
        ("s", D::Time, 1.0, 0.0),
        ("ms", D::Time, 1e-3, 0.0),
        ("min", D::Time, 60.0, 0.0),
        ("h", D::Time, 3600.0, 0.0),
        ("EL", D::Time, 1.0, 0.0),
        ("m", D::Length, 1.0, 0.0),
        ("mm", D::Length, 1e-3, 0.0),
        ("cm", D::Length, 1e-2, 0.0),
        ("km", D::Length, 1e3, 0.0),
        ("m/s", D::Speed, 1.0, 0.0),
        ("km/h", D::Speed, 1.0 / 3.6, 0.0),
        ("m/h", D::Speed, 1.0 / 3600.0, 0.0),
        ("mm/h", D::Speed, 1e-3 / 3600.0, 0.0),
        ("m/s2", D::Acceleration, 1.0, 0.0),
        ("kg", D::Mass, 1.0, 0.0),
        ("g", D::Mass, 1e-3, 0.0),
        ("K", D::Temperature, 1.0, 0.0),
        ("Cel", D::Temperature, 1.0, ZERO_CELSIUS_K),
        ("V", D::Voltage, 1.0, 0.0),
        ("mV", D::Voltage, 1e-3, 0.0),
        ("A", D::Current, 1.0, 0.0),
        ("mA", D::Current, 1e-3, 0.0),
        ("W", D::Power, 1.0, 0.0),
        ("kW", D::Power, 1e3, 0.0),
        ("Pa", D::Pressure, 1.0, 0.0),
        ("hPa", D::Pressure, 100.0, 0.0),
        ("m3/s", D::Flow, 1.0, 0.0),
        ("l/s", D::Flow, 1e-3, 0.0),
        ("Hz", D::Frequency, 1.0, 0.0),
        ("MHz", D::Frequency, 1e6, 0.0),
        ("1/s", D::Frequency, 1.0, 0.0),
        ("1/min", D::Frequency, 1.0 / 60.0, 0.0),
    ]
};

/// A symbol on the wire. SenML's own meaning comes first: "g" is the gram there, not standard gravity.
fn of_wire(symbol: &str) -> Option<Measure> {
    let senml = WIRE.iter().find(|(known, ..)| *known == symbol);
    senml
        .map(|(_, dimension, scale, offset)| Measure { dimension: *dimension, scale: *scale, offset: *offset })
        .or_else(|| Unit::from_symbol(symbol).map(of_channel))
}

/// The value in the channel's unit; `None` if the symbol is unknown or measures something else.
pub(super) fn convert(value: f64, symbol: &str, to: Unit) -> Option<f64> {
    let (from, to_measure) = (of_wire(symbol)?, of_channel(to));
    if from.dimension != to_measure.dimension {
        return None;
    }
    // Without a detour over the base, so that a value in the channel's own unit is not touched.
    if from.scale.to_bits() == to_measure.scale.to_bits() && from.offset.to_bits() == to_measure.offset.to_bits() {
        return Some(value);
    }
    if from.offset == 0.0 && to_measure.offset == 0.0 {
        return Some(value * (from.scale / to_measure.scale));
    }
    Some((value * from.scale + from.offset - to_measure.offset) / to_measure.scale)
}

/// The symbols that convert to a channel's unit, in words.
pub(super) fn accepted(to: Unit) -> String {
    let dimension = of_channel(to).dimension;
    let symbols: Vec<_> =
        WIRE.iter().filter(|(_, known, ..)| *known == dimension).map(|(symbol, ..)| *symbol).collect();
    if symbols.is_empty() { to.symbol().to_owned() } else { format!("one of {}", symbols.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_the_channels_unit() {
        let close = |value: f64, from, to, expected: f64| {
            let got = convert(value, from, to).unwrap();
            assert!((got - expected).abs() < 1e-9 * expected.abs().max(1.0), "{value} {from} is {got} {to}");
        };
        close(300.0, "K", Unit::Celsius, 26.85);
        close(0.5, "/", Unit::Percent, 50.0);
        close(1250.0, "mA", Unit::Ampere, 1.25);
        close(36.0, "km/h", Unit::MetrePerSecond, 10.0);
        close(101_325.0, "Pa", Unit::Bar, 1.013_25);
        close(2.0, "l/s", Unit::CubicMetrePerHour, 7.2);
        close(50.0, "Hz", Unit::PerMinute, 3000.0);
        close(9.806_65, "m/s2", Unit::Gravity, 1.0);
        close(90.0, "min", Unit::Hour, 1.5);
        close(12.5, "cm", Unit::Millimetre, 125.0);
    }

    #[test]
    fn a_value_in_the_channels_own_unit_is_not_touched() {
        for unit in Unit::ALL {
            if *unit != Unit::Gravity {
                assert_eq!(convert(0.1, unit.symbol(), *unit), Some(0.1), "{unit}");
            }
        }
        assert_eq!(convert(1.0, "g", Unit::Gravity), None, "SenML's g is the gram");
        assert_eq!(convert(1.0, "V", Unit::Ampere), None);
        assert_eq!(convert(1.0, "furlong", Unit::Metre), None);
    }
}
