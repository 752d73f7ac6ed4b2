//! The ways to fail.

/// A way to fail, with precursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Friction in track, rollers and belt of the door operator.
    DoorOperator,
    /// A landing lock's contact that no longer makes reliably.
    LockContact,
    /// Brake lining worn or dragging.
    Brake,
    /// Machine bearing.
    Bearing,
    /// Levelling sensor or vane out of place.
    Levelling,
    /// Ropes slipping on the sheave, and stretching.
    Traction,
    /// Cooling of drive and motor: fan, filter.
    DriveCooling,
    /// Emergency battery.
    Battery,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::DoorOperator,
        Self::LockContact,
        Self::Brake,
        Self::Bearing,
        Self::Levelling,
        Self::Traction,
        Self::DriveCooling,
        Self::Battery,
    ];

    /// A short name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DoorOperator => "door_operator",
            Self::LockContact => "lock_contact",
            Self::Brake => "brake",
            Self::Bearing => "bearing",
            Self::Levelling => "levelling",
            Self::Traction => "traction",
            Self::DriveCooling => "drive_cooling",
            Self::Battery => "battery",
        }
    }

    /// The channels in which it shows: an alert on another channel has not found it.
    #[must_use]
    pub fn channels(self) -> &'static [&'static str] {
        match self {
            Self::DoorOperator => &["door_close_time_s", "door_open_time_s", "door_current_a", "door_reversals"],
            Self::LockContact => &["door_reversals", "door_close_time_s"],
            Self::Brake => &["brake_temp_c", "drive_current_a", "levelling_error_mm"],
            Self::Bearing => &["vibration_mm_s", "motor_temp_c"],
            Self::Levelling => &["levelling_error_mm"],
            Self::Traction => &["levelling_error_mm", "vibration_mm_s"],
            Self::DriveCooling => &["motor_temp_c", "machine_room_temp_c"],
            Self::Battery => &["battery_v"],
        }
    }

    /// The rules of the lift profile that may find it.
    #[must_use]
    pub fn rules(self) -> &'static [&'static str] {
        match self {
            Self::DoorOperator => &["doors_slow", "door_fault"],
            Self::LockContact => &["doors_slow", "door_fault", "safety_chain", "controller_fault"],
            Self::Brake => &["brake_overtemperature", "levelling", "controller_fault"],
            Self::Bearing => &["motor_overtemperature", "thermal_protection"],
            Self::Levelling | Self::Traction => &["levelling", "controller_fault"],
            Self::DriveCooling => &["motor_overtemperature", "thermal_protection", "controller_fault"],
            Self::Battery => &["battery_low", "test_call_failed", "test_call_overdue"],
        }
    }
}
