//! Forecasts of failure and what came of them.

use std::time::Duration;

use axum::{Json, extract::State};
use model::{OrgId, ProfileId, profile::Profile};
use predict::risk::{Forecast, Score, calibration};
use serde::Deserialize;
use store::{FailureForecast, ModelState};
use utoipa::IntoParams;

use super::{
    dto::{CalibrationView, ErrorBody, ModelView, ScoreView, ScorecardList, ScorecardView},
    error::ApiError,
    extract::Params,
};
use crate::{auth::Session, state::Shared};

/// The most days looked back over.
const MAX_DAYS: u32 = 400;
/// The most forecasts scored for one card.
const MAX_FORECASTS: u32 = 200_000;
const DAY: Duration = Duration::from_hours(24);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScorecardParams {
    /// Only of this profile.
    #[param(value_type = Option<String>)]
    profile: Option<ProfileId>,
    /// Forecasts of how many days; 90 by default, 400 at most.
    days: Option<u32>,
}

/// How the forecasts of failure of the organisation's devices fared, beside the naive rule: the live scorecard.
#[utoipa::path(get, path = "/api/v1/forecasts/scorecard", tag = "devices", params(ScorecardParams), responses(
    (status = 200, body = ScorecardList),
    (status = 400, description = "A parameter cannot be used", body = ErrorBody),
    (status = 401, description = "Not logged in", body = ErrorBody),
    (status = 403, description = "Not allowed to this user", body = ErrorBody),
))]
pub(crate) async fn scorecard(
    State(app): State<Shared>,
    session: Session,
    Params(params): Params<ScorecardParams>,
) -> Result<Json<ScorecardList>, ApiError> {
    let days = params.days.unwrap_or(90).clamp(1, MAX_DAYS);
    let directory = app.hub.profiles.borrow().clone();
    let mut profiles: Vec<_> = directory.profiles.values().collect();
    profiles.sort_by(|a, b| a.id.cmp(&b.id));
    profiles.retain(|profile| params.profile.as_ref().is_none_or(|wanted| *wanted == profile.id));
    let mut scorecards = Vec::new();
    for profile in profiles {
        for horizon in profile.failures.iter().flat_map(|failures| failures.horizons.clone()) {
            scorecards.push(card(&app, session.org(), profile, horizon, days).await?);
        }
    }
    Ok(Json(ScorecardList { days, scorecards }))
}

async fn card(
    app: &Shared,
    org: OrgId,
    profile: &Profile,
    horizon: Duration,
    days: u32,
) -> Result<ScorecardView, ApiError> {
    let now = app.now();
    // The newest day is in it, too: a forecast stands at its moment, which is not later than now.
    let span = (now - DAY * days, now + Duration::from_secs(1));
    let made = app.store().forecasts(Some(org), &profile.id, horizon, span, MAX_FORECASTS).await?;
    let stored = match app.store().champion(&profile.id, horizon).await? {
        Some(champion) => Some(champion),
        None => app.store().newest_model(&profile.id, horizon).await?,
    };
    let last_made_at = made.last().map(|made| made.made_at);
    let model = stored.map(|stored| ModelView {
        id: stored.id.to_string(),
        state: stored.state.code().to_owned(),
        method: match stored.state {
            ModelState::Champion | ModelState::Challenger => made.last().map(|made| made.method.code().to_owned()),
            ModelState::Retired => None,
        },
        trained_at: stored.created_at,
        promoted_at: stored.promoted_at,
    });
    let scored = tokio::task::spawn_blocking(move || Scored::of(&made)).await;
    let scored = scored.map_err(ApiError::internal)?;
    Ok(ScorecardView {
        profile: profile.id.clone(),
        name: profile.name.clone(),
        horizon: model::duration::format(horizon),
        horizon_seconds: horizon.as_secs(),
        model,
        last_made_at,
        open: scored.open,
        forecasts: scored.liftline.forecasts,
        failures: scored.liftline.failures,
        base_rate: scored.liftline.base_rate(),
        alerts: scored.alerts,
        right_alerts: scored.right,
        liftline: view(&scored.liftline),
        naive: view(&scored.naive),
        calibration: scored.calibration,
    })
}

/// What is worked out of many forecasts.
struct Scored {
    open: usize,
    alerts: usize,
    right: usize,
    liftline: Score,
    naive: Score,
    calibration: Vec<CalibrationView>,
}

impl Scored {
    fn of(made: &[FailureForecast]) -> Self {
        let known: Vec<(&FailureForecast, bool)> = made.iter().filter_map(|made| Some((made, made.outcome?))).collect();
        let outcomes: Vec<bool> = known.iter().map(|(_, outcome)| *outcome).collect();
        let of = |pick: fn(&FailureForecast) -> f64| {
            Score::of(&known.iter().map(|(made, _)| pick(made)).collect::<Vec<_>>(), &outcomes)
        };
        let rows: Vec<Forecast> = known
            .iter()
            .map(|(made, outcome)| Forecast {
                unit: 0,
                at: made.made_at,
                probability: made.probability,
                alerted: made.alerted,
                outcome: *outcome,
                lead_hours: None,
            })
            .collect();
        let calibration = calibration(&rows).into_iter().map(|row| CalibrationView {
            forecasts: row.forecasts,
            stated: row.stated,
            observed: row.observed,
        });
        Self {
            open: made.len() - known.len(),
            alerts: rows.iter().filter(|row| row.alerted).count(),
            right: rows.iter().filter(|row| row.alerted && row.outcome).count(),
            liftline: of(|made| made.probability),
            naive: of(|made| made.naive),
            calibration: calibration.collect(),
        }
    }
}

fn view(score: &Score) -> ScoreView {
    ScoreView {
        log_loss: score.log_loss,
        brier: score.brier,
        roc_auc: score.roc_auc,
        pr_auc: score.pr_auc,
        stated: score.stated,
    }
}
