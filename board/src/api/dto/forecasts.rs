//! How forecasts of failure fared.

use model::{ProfileId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::Text;

/// Scorecards, by profile and horizon.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScorecardList {
    /// Over how many days.
    pub days: u32,
    /// One for each profile and horizon that is forecast.
    pub scorecards: Vec<ScorecardView>,
}

/// Forecasts of one profile and horizon, matched with what happened to the organisation's own devices.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScorecardView {
    /// The profile.
    #[schema(value_type = String)]
    pub profile: ProfileId,
    /// What people call it.
    #[schema(value_type = Text)]
    pub name: model::Localised,
    /// How far ahead, such as `7d`.
    pub horizon: String,
    /// The same in seconds.
    pub horizon_seconds: u64,
    /// What forecasts are made with; none while there is too little history.
    pub model: Option<ModelView>,
    /// When forecasts were made last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_made_at: Option<Timestamp>,
    /// Forecasts whose horizon has not passed yet.
    pub open: usize,
    /// Forecasts of which it is known what came.
    pub forecasts: usize,
    /// Of these: followed by a failure.
    pub failures: usize,
    /// Their share.
    pub base_rate: f64,
    /// Forecasts at or above the threshold of their day.
    pub alerts: usize,
    /// Of these: followed by a failure.
    pub right_alerts: usize,
    /// How the forecasts fared.
    pub liftline: ScoreView,
    /// How the naive rule would have fared.
    pub naive: ScoreView,
    /// Tenths of the forecasts, from the least to the most probable.
    pub calibration: Vec<CalibrationView>,
}

/// What forecasts are made with.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelView {
    /// Its id.
    pub id: String,
    /// `champion`, or `challenger` while none has shown that it is better than the naive rule.
    pub state: String,
    /// `model` or `naive_rule`: what the last forecasts were made with.
    pub method: Option<String>,
    /// When it was trained.
    #[schema(value_type = String, format = DateTime)]
    pub trained_at: Timestamp,
    /// When it became champion.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub promoted_at: Option<Timestamp>,
}

/// How probabilities fared.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScoreView {
    /// Mean log loss: less is better.
    pub log_loss: f64,
    /// Mean squared error: less is better.
    pub brier: f64,
    /// Area under the receiver operating characteristic; none while only one outcome was seen.
    pub roc_auc: Option<f64>,
    /// Average precision; none while only one outcome was seen.
    pub pr_auc: Option<f64>,
    /// The mean probability.
    pub stated: f64,
}

/// A tenth of the forecasts.
#[derive(Debug, Serialize, ToSchema)]
pub struct CalibrationView {
    /// How many.
    pub forecasts: usize,
    /// The mean probability stated.
    pub stated: f64,
    /// The share that failed.
    pub observed: f64,
}
