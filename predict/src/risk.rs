//! The risk that a unit fails within a horizon: samples from history, the model, the rule it must beat, the artefact
//! and the scorecard.

mod artefact;
mod contest;
pub mod level;
mod model;
mod naive;
mod reading;
mod samples;
mod scorecard;
mod stated;

pub use artefact::{ArtefactError, FORMAT};
pub use contest::{Contest, DRIFT_DAYS, Drift, Score, Verdict, corrected, spans};
pub use model::{Chosen, Judgement, RiskModel, Split, TrainError, TrainOptions};
pub use naive::naive_share;
pub use samples::{FalseAlarm, Sample, Samples, longest_silence};
pub use scorecard::{CalibrationRow, Card, Figures, Forecast, Interval, RiskScorecard, alert_top_share, calibration};
pub use stated::{NoScore, Stated};
