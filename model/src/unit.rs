//! Units of measurement. A channel names one; messages, charts and rules show it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! units {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal,)+) => {
        /// A unit that a channel can be measured in, by its symbol (SI where there is one).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Unit { $($(#[$doc])* $name,)+ }

        impl Unit {
            /// Every unit.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The symbol written in profiles and shown to people.
            #[must_use]
            pub fn symbol(self) -> &'static str {
                match self { $(Self::$name => $symbol,)+ }
            }
        }
    };
}

units! {
    /// No unit: a ratio, a score or a code.
    One = "1",
    /// A number of things or occurrences.
    Count = "count",
    /// Per cent.
    Percent = "%",
    /// Seconds.
    Second = "s",
    /// Hours.
    Hour = "h",
    /// Metres.
    Metre = "m",
    /// Millimetres.
    Millimetre = "mm",
    /// Metres per second.
    MetrePerSecond = "m/s",
    /// Metres per second squared.
    MetrePerSecondSquared = "m/s2",
    /// Millimetres per second (vibration velocity).
    MillimetrePerSecond = "mm/s",
    /// Standard gravity (vibration acceleration).
    Gravity = "g",
    /// Kilograms.
    Kilogram = "kg",
    /// Degrees Celsius.
    Celsius = "Cel",
    /// Volts.
    Volt = "V",
    /// Amperes.
    Ampere = "A",
    /// Kilowatts.
    Kilowatt = "kW",
    /// Newton metres.
    NewtonMetre = "N.m",
    /// Bars of pressure.
    Bar = "bar",
    /// Cubic metres per hour.
    CubicMetrePerHour = "m3/h",
    /// Revolutions per minute.
    PerMinute = "1/min",
    /// Hertz.
    Hertz = "Hz",
    /// Decibels, A-weighted.
    DecibelA = "dBA",
    /// A floor number.
    Floor = "floor",
}

impl Unit {
    /// The unit with this symbol.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|unit| unit.symbol() == symbol)
    }

    /// The symbol as shown to people: °C for `Cel`, nothing for pure numbers.
    #[must_use]
    pub fn display(self) -> &'static str {
        match self {
            Self::Celsius => "°C",
            Self::One | Self::Count | Self::Floor => "",
            Self::MetrePerSecondSquared => "m/s²",
            Self::CubicMetrePerHour => "m³/h",
            Self::NewtonMetre => "N·m",
            Self::Percent
            | Self::Second
            | Self::Hour
            | Self::Metre
            | Self::Millimetre
            | Self::MetrePerSecond
            | Self::MillimetrePerSecond
            | Self::Gravity
            | Self::Kilogram
            | Self::Volt
            | Self::Ampere
            | Self::Kilowatt
            | Self::Bar
            | Self::PerMinute
            | Self::Hertz
            | Self::DecibelA => self.symbol(),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.symbol())
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let symbol = String::deserialize(deserializer)?;
        Self::from_symbol(&symbol).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|unit| unit.symbol()).collect();
            de::Error::custom(format!("unknown unit \"{symbol}\": use one of {}", known.join(", ")))
        })
    }
}
