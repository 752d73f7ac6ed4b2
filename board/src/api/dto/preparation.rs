//! What a visit should be prepared for.

use model::{CauseId, Localised, RunbookId};
use serde::Serialize;
use utoipa::ToSchema;

use super::Text;

/// A cause of failure from the profile's catalogue, briefly.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CauseRef {
    /// Its name in the profile.
    #[schema(value_type = String)]
    pub id: CauseId,
    /// What people call it.
    #[schema(value_type = Text)]
    pub name: Localised,
}

/// How often nothing was found on the organisation's closed tickets of this profile and rule: false alarms.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FalseAlarmsView {
    /// On so many tickets.
    pub count: u32,
    /// Of so many of which somebody said what was found, if only that nothing was.
    pub told: u32,
}

/// A cause and how probable it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CauseView {
    /// Its name in the profile.
    #[schema(value_type = String)]
    pub id: CauseId,
    /// What people call it.
    #[schema(value_type = Text)]
    pub name: Localised,
    /// Its probability among the causes listed, 0 to 1, if something is wrong.
    pub probability: f64,
    /// How often it was confirmed when tickets of this profile and rule were closed.
    pub confirmed: u32,
    /// True if the visit is prepared for it.
    pub prepared: bool,
    /// Parts that its repair takes.
    #[schema(value_type = Vec<Text>)]
    pub parts: Vec<Localised>,
    /// How long its repair takes, such as `1h 30m`.
    pub duration: String,
    /// The runbook that repairs it.
    #[schema(value_type = String)]
    pub runbook: RunbookId,
    /// Where its weight in the catalogue comes from.
    pub source: String,
}

/// A part to bring.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PartView {
    /// What it is.
    #[schema(value_type = Text)]
    pub name: Localised,
    /// The probability that it is needed, 0 to 1.
    pub probability: f64,
    /// In how many of the organisation's closed repairs, of the causes that take it, it was used.
    pub used: u32,
    /// Of how many such repairs it is known which parts were used.
    pub repairs: u32,
}

/// What a visit should be prepared for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PreparationView {
    /// What may have failed, the likeliest first.
    pub causes: Vec<CauseView>,
    /// Parts for the causes that are prepared for, the likeliest first.
    pub parts: Vec<PartView>,
    /// Tools for them.
    #[schema(value_type = Vec<Text>)]
    pub tools: Vec<Localised>,
    /// Qualifications for them.
    #[schema(value_type = Vec<Text>)]
    pub skills: Vec<Localised>,
    /// How long the repair takes on average, such as `1h 30m`.
    pub usual: String,
    /// How long it takes if it is the one of them that takes longest.
    pub longest: String,
}
