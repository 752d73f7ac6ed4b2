//! The live scorecard of forecasts.

use std::time::Duration;

use axum::http::StatusCode;
use model::{Clock as _, ProfileId};
use serde_json::{Value, json};
use store::{AuditActor, FailureForecast, ForecastMethod, ForecastOutcome, NewModel, UserRole};

use crate::fixture::TestBoard;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn the_scorecard_tells_how_forecasts_of_the_own_devices_fared() {
    let board = TestBoard::start().await;
    let now = board.clock.now();
    let (store, lift) = (&board.store, ProfileId::new("lift").unwrap());
    let client = board.as_role(UserRole::Viewer).await;
    let card = async |query: &str| -> Value {
        client.get(&format!("/api/v1/forecasts/scorecard{query}")).await.json()["scorecards"][0].clone()
    };
    let empty = card("").await;
    assert_eq!((&empty["profile"], &empty["horizon"], &empty["model"]), (&json!("lift"), &json!("1d"), &Value::Null));
    assert_eq!((&empty["forecasts"], &empty["liftline"]["roc_auc"]), (&json!(0), &Value::Null));
    let new = NewModel {
        profile: lift.clone(),
        horizon: DAY,
        spans: [now - DAY * 40, now - DAY * 20, now - DAY * 10, now],
        seed: 1,
        scores: json!({}),
        artefact: vec![1],
    };
    let model = store.keep_model(&new, now - DAY * 6).await.unwrap();
    store.promote_model(model.id, &AuditActor::CommandLine, now - DAY * 6).await.unwrap();
    // Ours fails on two of four days, and was foreseen better than by the rule; theirs is theirs.
    let days = [(5, 0.5, true), (4, 0.25, false), (3, 0.5, true), (2, 0.25, false)];
    let forecast = |device: &model::DeviceId, day: u32, probability| FailureForecast {
        device: device.clone(),
        made_at: now - DAY * day,
        model: model.id,
        method: ForecastMethod::Model,
        probability,
        naive: 0.375,
        threshold: 0.25,
        alerted: probability >= 0.4,
        outcome: None,
        failed_at: None,
    };
    let (ours, theirs) = (&board.ours, &board.theirs);
    let mut made: Vec<_> = days.iter().map(|(day, p, _)| (ours.org, forecast(&ours.device.id, *day, *p))).collect();
    made.push((ours.org, forecast(&ours.device.id, 0, 0.3)));
    made.push((theirs.org, forecast(&theirs.device.id, 5, 0.9)));
    store.keep_forecasts(&lift, DAY, &made).await.unwrap();
    let outcomes: Vec<_> = days
        .iter()
        .map(|(day, _, failed)| ForecastOutcome {
            device: ours.device.id.clone(),
            made_at: now - DAY * *day,
            failed_at: failed.then(|| now - DAY * *day + Duration::from_secs(60)),
        })
        .collect();
    store.match_forecasts(DAY, &outcomes).await.unwrap();

    let found = card("?profile=lift&days=30").await;
    assert_eq!((&found["forecasts"], &found["failures"], &found["open"]), (&json!(4), &json!(2), &json!(1)));
    assert_eq!((&found["base_rate"], &found["alerts"], &found["right_alerts"]), (&json!(0.5), &json!(2), &json!(2)));
    assert_eq!((&found["liftline"]["brier"], &found["naive"]["brier"]), (&json!(0.15625), &json!(0.265_625)));
    assert_eq!(found["liftline"]["roc_auc"], json!(1.0));
    assert_eq!(found["model"]["state"], json!("champion"));
    assert_eq!(found["model"]["method"], json!("model"));
    let calibration = found["calibration"].as_array().unwrap();
    assert_eq!(calibration.first().unwrap(), &json!({ "forecasts": 1, "stated": 0.25, "observed": 0.0 }));
    assert_eq!(calibration.last().unwrap(), &json!({ "forecasts": 1, "stated": 0.5, "observed": 1.0 }));
    assert_eq!(card("?days=1").await["forecasts"], json!(0), "older than a day");
    assert_eq!(client.get("/api/v1/forecasts/scorecard?days=many").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(client.get("/api/v1/forecasts/scorecard?profile=boat").await.json()["scorecards"], json!([]));
}
