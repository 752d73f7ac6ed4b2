//! A model as bytes: what is trained in one place and loaded in another.

use super::model::RiskModel;
use crate::history::Feature;

/// The format's version; loading refuses any other.
pub const FORMAT: u16 = 2;
/// What every artefact begins with.
const MAGIC: &[u8; 8] = b"LLRISK\0\0";

/// Why an artefact cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// Not a model.
    #[error("these bytes are not a failure model")]
    NotAModel,
    /// Written by another version.
    #[error("the failure model has format {found}; this version reads {FORMAT}: train it again")]
    Format {
        /// The format found.
        found: u16,
    },
    /// Damaged.
    #[error("the failure model is damaged")]
    Damaged(#[source] Option<postcard::Error>),
    /// It reads other features than this version computes.
    #[error("the failure model reads {model} where this version computes {here}: train it again")]
    Features {
        /// What the model reads.
        model: String,
        /// What is computed here.
        here: String,
    },
    /// It knows other groups of units.
    #[error("the failure model knows the groups {model:?}; here are {here:?}: train it again")]
    Groups {
        /// What the model knows.
        model: Vec<String>,
        /// What is there.
        here: Vec<String>,
    },
    /// It cannot be written.
    #[error("the failure model cannot be written")]
    Write(#[source] postcard::Error),
}

impl RiskModel {
    /// The model as bytes: the same model gives the same bytes.
    ///
    /// # Errors
    /// [`ArtefactError::Write`] if the encoder refuses, which it does for no model that was trained.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArtefactError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        postcard::to_extend(self, bytes).map_err(ArtefactError::Write)
    }

    /// Reads a model that is to score rows of `features` over `groups`.
    ///
    /// # Errors
    /// [`ArtefactError`] if the bytes are no sound model of this version, or it reads other features, units or groups.
    pub fn from_bytes(bytes: &[u8], features: &[Feature], groups: &[String]) -> Result<Self, ArtefactError> {
        let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(ArtefactError::NotAModel)?;
        let (format, body) = rest.split_first_chunk::<2>().ok_or(ArtefactError::Damaged(None))?;
        let found = u16::from_le_bytes(*format);
        if found != FORMAT {
            return Err(ArtefactError::Format { found });
        }
        let model: Self = postcard::from_bytes(body).map_err(|error| ArtefactError::Damaged(Some(error)))?;
        let words = |feature: Option<&Feature>| {
            feature.map_or_else(|| "nothing".to_owned(), |feature| format!("{} [{}]", feature.name, feature.unit))
        };
        for n in 0..model.features.len().max(features.len()) {
            let (theirs, ours) = (model.features.get(n), features.get(n));
            if theirs != ours {
                return Err(ArtefactError::Features { model: words(theirs), here: words(ours) });
            }
        }
        if model.groups != groups {
            return Err(ArtefactError::Groups { model: model.groups, here: groups.to_vec() });
        }
        if model.sound() { Ok(model) } else { Err(ArtefactError::Damaged(None)) }
    }
}
