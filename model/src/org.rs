//! Organisations and what belongs to them: sites, devices, people; and the directory that decoding looks things up in.

use std::{collections::HashMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{DeviceId, Language, OrgId, PersonId, Profile, ProfileId, SiteId};

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// Its id.
    pub id: OrgId,
    /// Its name; unique.
    pub name: String,
}

/// A place with devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// The organisation it belongs to.
    pub org: OrgId,
    /// Its name; unique within the organisation.
    pub name: String,
    /// Its postal address, for the people who must find it.
    pub address: String,
    /// IANA time zone, such as `Asia/Shanghai`.
    pub time_zone: String,
}

/// When people come and go at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// Morning, noon and evening of working days.
    Office,
    /// Mornings and evenings of every day.
    Residential,
    /// All day, and some at night.
    Hospital,
}

impl Traffic {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Office, Self::Residential, Self::Hospital];

    /// The name used in the API, in import files and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Office => "office",
            Self::Residential => "residential",
            Self::Hospital => "hospital",
        }
    }
}

/// Who uses the devices of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteUse {
    /// How many people live or work there.
    pub population: u32,
    /// When they come and go.
    pub traffic: Traffic,
    /// How many of them cannot do without: they cannot climb stairs, or depend on care that comes.
    pub vulnerable: u32,
}

/// Why the use of a site cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteUseError {
    /// Nobody, or more than any building holds.
    #[error("the population {0} cannot be; write how many people live or work there, 1 to 1000000")]
    Population(u32),
    /// More than there are.
    #[error("{vulnerable} vulnerable people of {population} cannot be; write at most the population")]
    Vulnerable {
        /// How many were said.
        vulnerable: u32,
        /// Of how many.
        population: u32,
    },
}

impl SiteUse {
    /// Checks that it can be.
    ///
    /// # Errors
    /// [`SiteUseError`] says what to write.
    pub fn check(self) -> Result<Self, SiteUseError> {
        if !(1..=1_000_000).contains(&self.population) {
            return Err(SiteUseError::Population(self.population));
        }
        if self.vulnerable > self.population {
            return Err(SiteUseError::Vulnerable { vulnerable: self.vulnerable, population: self.population });
        }
        Ok(self)
    }
}

/// A connected device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its name in MQTT topics.
    pub id: DeviceId,
    /// The organisation it belongs to.
    pub org: OrgId,
    /// Where it stands.
    pub site: SiteId,
    /// What it publishes.
    pub profile: ProfileId,
    /// What people call it: `Lift 2, east wing`.
    pub name: String,
    /// The number on the plate in the car, by which a person inside can name it; unique over the hub.
    pub plate: Option<String>,
}

/// Levels of rescue, called in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RescueLevel {
    /// 1: the contracted maintainer.
    Maintainer,
    /// 2: the nearest rescue station.
    Station,
    /// 3: the fire service.
    FireService,
}

impl RescueLevel {
    /// Every level, in the order they are called.
    pub const ALL: [Self; 3] = [Self::Maintainer, Self::Station, Self::FireService];

    /// 1, 2 or 3.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Maintainer => 1,
            Self::Station => 2,
            Self::FireService => 3,
        }
    }

    /// The level after this one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Maintainer => Some(Self::Station),
            Self::Station => Some(Self::FireService),
            Self::FireService => None,
        }
    }

    /// The level with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.number() == number)
    }
}

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonRole {
    /// Repairs devices and frees people.
    Technician,
    /// Answers for a rescue station.
    RescueStation,
    /// Answers for the fire service.
    FireService,
    /// Works the board.
    Dispatcher,
    /// Looks after a building.
    BuildingManager,
    /// Lives or works there.
    Resident,
}

impl PersonRole {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::Technician,
        Self::RescueStation,
        Self::FireService,
        Self::Dispatcher,
        Self::BuildingManager,
        Self::Resident,
    ];

    /// The name used in the API, in import files and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Technician => "technician",
            Self::RescueStation => "rescue_station",
            Self::FireService => "fire_service",
            Self::Dispatcher => "dispatcher",
            Self::BuildingManager => "building_manager",
            Self::Resident => "resident",
        }
    }
}

/// A person who can be contacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Their id.
    pub id: PersonId,
    /// The organisation they belong to.
    pub org: OrgId,
    /// Their name.
    pub name: String,
    /// What they do.
    pub role: PersonRole,
    /// The language of messages to them.
    pub language: Language,
    /// How to reach them, in the order to try.
    pub receivers: Vec<Receiver>,
}

/// The ways a message can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageChannel {
    /// A text message; the address is a number in E.164 form.
    Sms,
    /// A telephone call with a keypad menu; the address is a number in E.164 form.
    Voice,
    /// E-mail; the address is an e-mail address.
    Email,
    /// A signed HTTP request; the address is a URL.
    Webhook,
}

impl MessageChannel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Sms, Self::Voice, Self::Email, Self::Webhook];

    /// The name used in the API, in import files and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Voice => "voice",
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for MessageChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A contact method of a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receiver {
    /// The way.
    pub channel: MessageChannel,
    /// The number, address or URL.
    pub address: String,
}

/// Everything that decoding and the rules look up: a consistent picture of the registered devices, swapped whole
/// when something changes.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Devices by name.
    pub devices: HashMap<DeviceId, Arc<Device>>,
    /// Profiles by name.
    pub profiles: HashMap<ProfileId, Arc<Profile>>,
}

impl Directory {
    /// A device and its profile.
    #[must_use]
    pub fn find(&self, device: &DeviceId) -> Option<(&Arc<Device>, &Arc<Profile>)> {
        let device = self.devices.get(device)?;
        Some((device, self.profiles.get(&device.profile)?))
    }
}
