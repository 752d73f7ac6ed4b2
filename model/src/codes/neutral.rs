//! The neutral enumerations.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The number in the enumeration.
            #[must_use]
            pub fn number(self) -> u8 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// The name.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The one with this number.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.number() == number)
            }
        }
    };
}

numbered! {
    /// BACnetLiftFault, with BACnet's numbers.
    LiftFault {
        /// The controller.
        Controller = 0 "controller-fault",
        /// Drive or motor.
        DriveAndMotor = 1 "drive-and-motor-fault",
        /// Governor or safety gear.
        GovernorAndSafetyGear = 2 "governor-and-safety-gear-fault",
        /// A device in the shaft.
        LiftShaftDevice = 3 "lift-shaft-device-fault",
        /// Power supply.
        PowerSupply = 4 "power-supply-fault",
        /// Safety chain.
        SafetyInterlock = 5 "safety-interlock-fault",
        /// The doors do not close.
        DoorClosing = 6 "door-closing-fault",
        /// The doors do not open.
        DoorOpening = 7 "door-opening-fault",
        /// The car stopped outside the door zone.
        CarStoppedOutsideLandingZone = 8 "car-stopped-outside-landing-zone",
        /// A call button is stuck.
        CallButtonStuck = 9 "call-button-stuck",
        /// The lift does not start.
        StartFailure = 10 "start-failure",
        /// The controller's own supply.
        ControllerSupply = 11 "controller-supply-fault",
        /// A self-test failed.
        SelfTestFailure = 12 "self-test-failure",
        /// The motor ran longer than a journey can take.
        RuntimeLimitExceeded = 13 "runtime-limit-exceeded",
        /// The controller does not know where the car is.
        PositionLost = 14 "position-lost",
        /// The drive is too hot.
        DriveTemperatureExceeded = 15 "drive-temperature-exceeded",
        /// The load is not measured.
        LoadMeasurement = 16 "load-measurement-fault",
    }
}

numbered! {
    /// BACnetLiftCarMode, with BACnet's numbers.
    CarMode {
        /// Not known.
        Unknown = 0 "unknown",
        /// In service.
        Normal = 1 "normal",
        /// Reserved for one person.
        Vip = 2 "vip",
        /// Going to its home floor.
        Homing = 3 "homing",
        /// Parking.
        Parking = 4 "parking",
        /// Driven by an attendant.
        AttendantControl = 5 "attendant-control",
        /// Driven by a firefighter.
        FirefighterControl = 6 "firefighter-control",
        /// On emergency power.
        EmergencyPower = 7 "emergency-power",
        /// Inspection.
        Inspection = 8 "inspection",
        /// Recalled.
        CabinetRecall = 9 "cabinet-recall",
        /// After an earthquake.
        EarthquakeOperation = 10 "earthquake-operation",
        /// Returning because of a fire.
        FireOperation = 11 "fire-operation",
        /// Out of service.
        OutOfService = 12 "out-of-service",
        /// Evacuating a building.
        OccupantEvacuation = 13 "occupant-evacuation",
    }
}

numbered! {
    /// BACnetDoorStatus, with BACnet's numbers.
    DoorState {
        /// Closed.
        Closed = 0 "closed",
        /// Open.
        Opened = 1 "opened",
        /// Not known.
        Unknown = 2 "unknown",
        /// Faulty.
        DoorFault = 3 "door-fault",
        /// Not used.
        Unused = 4 "unused",
        /// There is none.
        None = 5 "none",
        /// Closing.
        Closing = 6 "closing",
        /// Opening.
        Opening = 7 "opening",
        /// Locked.
        SafetyLocked = 8 "safety-locked",
        /// Partly open.
        LimitedOpened = 9 "limited-opened",
    }
}

numbered! {
    /// What code sets have and BACnet has no number for; the numbers are ours.
    LiftEvent {
        /// The alarm button was pressed.
        AlarmButton = 0 "alarm-button",
        /// The controller says that somebody is shut in.
        PersonTrapped = 1 "person-trapped",
        /// The car moved with its doors open.
        UnintendedMovement = 2 "unintended-movement",
        /// Overtravel at the top.
        OvertravelTop = 3 "overtravel-top",
        /// Overtravel at the bottom.
        OvertravelBottom = 4 "overtravel-bottom",
        /// The mains were lost.
        MainsLost = 5 "mains-lost",
        /// Back in automatic service.
        Resumed = 6 "resumed",
        /// No fault any more.
        FaultFree = 7 "fault-free",
        /// A door contact opened while the car moved.
        DoorContactInTravel = 8 "door-contact-in-travel",
    }
}

/// A neutral code. Written `fault.position-lost`, `mode.inspection`, `door.closing` or `event.mains-lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Neutral {
    /// A fault.
    Fault(LiftFault),
    /// A car mode.
    Mode(CarMode),
    /// A door state.
    Door(DoorState),
    /// Something else that happened.
    Event(LiftEvent),
}

/// A text that names no neutral code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no neutral code; write fault., mode., door. or event. and a name, such as \"fault.position-lost\"")]
pub struct UnknownNeutral(pub String);

impl fmt::Display for Neutral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "fault.{}", fault.code()),
            Self::Mode(mode) => write!(f, "mode.{}", mode.code()),
            Self::Door(door) => write!(f, "door.{}", door.code()),
            Self::Event(event) => write!(f, "event.{}", event.code()),
        }
    }
}

impl FromStr for Neutral {
    type Err = UnknownNeutral;

    fn from_str(text: &str) -> Result<Self, UnknownNeutral> {
        let found = text.split_once('.').and_then(|(kind, name)| match kind {
            "fault" => LiftFault::ALL.iter().find(|known| known.code() == name).map(|known| Self::Fault(*known)),
            "mode" => CarMode::ALL.iter().find(|known| known.code() == name).map(|known| Self::Mode(*known)),
            "door" => DoorState::ALL.iter().find(|known| known.code() == name).map(|known| Self::Door(*known)),
            "event" => LiftEvent::ALL.iter().find(|known| known.code() == name).map(|known| Self::Event(*known)),
            _ => None,
        });
        found.ok_or_else(|| UnknownNeutral(text.to_owned()))
    }
}

impl Serialize for Neutral {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Neutral {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enumerations_are_bacnets() {
        assert_eq!((LiftFault::ALL.len(), CarMode::ALL.len(), DoorState::ALL.len()), (17, 14, 10));
        for number in 0..17 {
            assert_eq!(LiftFault::from_number(number).unwrap().number(), number);
        }
        assert_eq!(LiftFault::from_number(8), Some(LiftFault::CarStoppedOutsideLandingZone));
        assert_eq!(CarMode::from_number(11), Some(CarMode::FireOperation));
        assert_eq!(DoorState::from_number(10), None);
    }

    #[test]
    fn every_neutral_code_reads_back() {
        let faults = LiftFault::ALL.iter().map(|code| Neutral::Fault(*code));
        let modes = CarMode::ALL.iter().map(|code| Neutral::Mode(*code));
        let doors = DoorState::ALL.iter().map(|code| Neutral::Door(*code));
        let events = LiftEvent::ALL.iter().map(|code| Neutral::Event(*code));
        for neutral in faults.chain(modes).chain(doors).chain(events) {
            assert_eq!(neutral.to_string().parse(), Ok(neutral));
        }
        assert!("fault.nothing".parse::<Neutral>().is_err());
    }
}
