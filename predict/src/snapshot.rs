//! Saving and restoring what is known of every device, by name, so that a profile may change in between.

use model::{Alert, ChannelId, DeviceId, ProfileId, RuleId};
use serde::{Deserialize, Serialize};

use crate::{detector::DetectorState, forecast::ForecastState, newcomer::NewcomerState};

/// Raised whenever the shape of [`Saved`] changes.
const FORMAT: u16 = 3;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It was written by another version.
    #[error(
        "the saved state of the forecasts has format {found}, this version reads {FORMAT}; start without it: baselines and trends are learnt again"
    )]
    Format {
        /// The format it was written in.
        found: u16,
    },
    /// It is damaged.
    #[error("the saved state of the forecasts is damaged; start without it: baselines and trends are learnt again")]
    Damaged(#[source] postcard::Error),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) seen: u64,
    pub(crate) late: u64,
    pub(crate) unusable: u64,
    pub(crate) devices: Vec<SavedDevice>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SavedDevice {
    pub(crate) device: DeviceId,
    pub(crate) profile: ProfileId,
    pub(crate) finders: Vec<SavedFinder>,
    pub(crate) orphans: Vec<Alert>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SavedFinder {
    pub(crate) rule: RuleId,
    pub(crate) channel: ChannelId,
    pub(crate) state: State,
}

/// Where one detector or forecast stands on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum State {
    Detector(DetectorState),
    Forecast(ForecastState),
    Newcomer(NewcomerState),
}

impl State {
    /// The alert that stands.
    pub(crate) fn standing(&self) -> Option<&Alert> {
        match self {
            Self::Detector(state) => state.standing(),
            Self::Forecast(state) => state.standing(),
            Self::Newcomer(state) => state.standing(),
        }
    }

    /// The alert that stands, taken out.
    pub(crate) fn into_alert(self) -> Option<Box<Alert>> {
        match self {
            Self::Detector(state) => state.into_alert(),
            Self::Forecast(state) => state.into_alert(),
            Self::Newcomer(state) => state.into_alert(),
        }
    }
}

pub(crate) fn write(saved: &Saved) -> Vec<u8> {
    let head = FORMAT.to_le_bytes().to_vec();
    postcard::to_extend(saved, head).expect("numbers, names and lists of known length always encode into a vector")
}

pub(crate) fn read(bytes: &[u8]) -> Result<Saved, RestoreError> {
    let damaged = || RestoreError::Damaged(postcard::Error::DeserializeUnexpectedEnd);
    let (head, body) = bytes.split_first_chunk::<2>().ok_or_else(damaged)?;
    let found = u16::from_le_bytes(*head);
    if found != FORMAT {
        return Err(RestoreError::Format { found });
    }
    postcard::from_bytes(body).map_err(RestoreError::Damaged)
}
