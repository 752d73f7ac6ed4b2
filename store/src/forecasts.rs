//! Failure models and what they forecast: champions, challengers, and what came of each forecast.

use std::time::Duration;

use model::{DeviceId, OrgId, ProfileId, Timestamp};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    AuditActor, Result, Store, StoreError, audit,
    bulk::{self, Column},
    db::{
        DbTime, Tx, at, document, execute, fetch_all, fetch_optional, from_document, int, name, new_id, statements,
        uint,
    },
};

macro_rules! columns {
    () => {
        "id, profile, horizon, state, trained_from, train_until, calibrate_until, tested_until, seed, scores, created_at,
            promoted_at, retired_at"
    };
}

statements! {
    INSERT = both("
        INSERT INTO failure_models (id, profile, horizon, state, trained_from, train_until, calibrate_until, tested_until,
            seed, scores, artefact, created_at)
        VALUES ($1, $2, $3, 'challenger', $4, $5, $6, $7, $8, $9, $10, $11)");
    LIST = both(concat!("
        SELECT ", columns!(), " FROM failure_models WHERE (profile = $1 OR $1 IS NULL)
        ORDER BY profile, horizon, created_at DESC, id DESC LIMIT $2"));
    BY_ID = both(concat!("SELECT ", columns!(), " FROM failure_models WHERE id = $1"));
    CHAMPION = both(concat!("
        SELECT ", columns!(), " FROM failure_models WHERE profile = $1 AND horizon = $2 AND state = 'champion'"));
    NEWEST = both(concat!("
        SELECT ", columns!(), " FROM failure_models
        WHERE profile = $1 AND horizon = $2 AND artefact IS NOT NULL AND state <> 'retired'
        ORDER BY created_at DESC, id DESC LIMIT 1"));
    FORMER = both(concat!("
        SELECT ", columns!(), " FROM failure_models
        WHERE profile = $1 AND horizon = $2 AND state = 'retired' AND promoted_at < $3 AND artefact IS NOT NULL
        ORDER BY promoted_at DESC, id DESC LIMIT 1"));
    ARTEFACT = both("SELECT artefact FROM failure_models WHERE id = $1");
    RETIRE = both("
        UPDATE failure_models SET state = 'retired', retired_at = $3
        WHERE profile = $1 AND horizon = $2 AND state = 'champion'");
    CROWN = both("
        UPDATE failure_models SET state = 'champion', promoted_at = $2, retired_at = NULL WHERE id = $1");
    // A newer challenger replaces the one before it.
    SUPERSEDE = both("
        UPDATE failure_models SET state = 'retired', retired_at = $4
        WHERE profile = $1 AND horizon = $2 AND state = 'challenger' AND id <> $3");
    FORGET = both("
        UPDATE failure_models SET artefact = NULL
        WHERE profile = $1 AND horizon = $2 AND state = 'retired' AND promoted_at IS NULL AND artefact IS NOT NULL
            AND created_at <= (SELECT created_at FROM failure_models
                WHERE profile = $1 AND horizon = $2 AND promoted_at IS NULL ORDER BY created_at DESC LIMIT 1 OFFSET $3)");
    FORECAST = each("
        INSERT INTO failure_forecasts (device, horizon, made_at, org, profile, model, method, probability, naive, threshold,
            alerted)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::uuid[], $5::text[], $6::uuid[], $7::text[],
            $8::double precision[], $9::double precision[], $10::double precision[], $11::boolean[])
        ON CONFLICT DO NOTHING",
        "
        INSERT INTO failure_forecasts (device, horizon, made_at, org, profile, model, method, probability, naive, threshold,
            alerted)
        SELECT value->>0, value->>1, value->>2, unhex(value->>3), value->>4, unhex(value->>5), value->>6, value->>7,
            value->>8, value->>9, value->>10
        FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING");
    OPEN = both("
        SELECT device, made_at FROM failure_forecasts
        WHERE profile = $1 AND horizon = $2 AND outcome IS NULL AND NOT left_out AND made_at <= $3
        ORDER BY made_at, device LIMIT $4");
    LEAVE_OUT = both("
        UPDATE failure_forecasts SET left_out = TRUE
        WHERE profile = $1 AND horizon = $2 AND outcome IS NULL AND NOT left_out AND made_at > $3 AND made_at < $4");
    MATCH = each("
        UPDATE failure_forecasts AS f SET outcome = u.outcome, failed_at = u.failed_at
        FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::boolean[], $5::timestamptz[])
            AS u (device, horizon, made_at, outcome, failed_at)
        WHERE f.device = u.device AND f.horizon = u.horizon AND f.made_at = u.made_at AND f.outcome IS NULL",
        "
        UPDATE failure_forecasts AS f SET outcome = u.value->>3, failed_at = u.value->>4
        FROM json_each($1) AS u
        WHERE f.device = u.value->>0 AND f.horizon = u.value->>1 AND f.made_at = u.value->>2 AND f.outcome IS NULL");
    MADE = both("
        SELECT device, made_at, model, method, probability, naive, threshold, alerted, outcome, failed_at
        FROM failure_forecasts
        WHERE profile = $1 AND horizon = $2 AND (org = $3 OR $3 IS NULL) AND NOT left_out AND made_at >= $4
            AND made_at < $5
        ORDER BY made_at, device LIMIT $6");
    LAST = both("SELECT max(made_at) FROM failure_forecasts WHERE profile = $1 AND horizon = $2");
}

/// How many challengers that were never used keep their artefact.
const KEPT_CHALLENGERS: i64 = 5;

/// What is made of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelState {
    /// Forecasts are made with it.
    Champion,
    /// The newest one, which has not shown yet that it is better.
    Challenger,
    /// It was replaced.
    Retired,
}

impl ModelState {
    /// The name used in the API and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Challenger => "challenger",
            Self::Retired => "retired",
        }
    }

    fn from_code(code: &str) -> Result<Self> {
        [Self::Champion, Self::Challenger, Self::Retired]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or_else(|| StoreError::corrupt("model state", format!("\"{code}\" is none")))
    }
}

/// A model that was trained, to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewModel {
    /// The profile whose units it knows.
    pub profile: ProfileId,
    /// How far it looks ahead.
    pub horizon: Duration,
    /// Its first training sample, the ends of training and calibration, and of the days it was compared on.
    pub spans: [Timestamp; 4],
    /// Its seed.
    pub seed: u64,
    /// How it did.
    pub scores: Json,
    /// The model itself.
    pub artefact: Vec<u8>,
}

/// A model that is kept; its artefact is read by [`Store::model_artefact`].
#[derive(Debug, Clone, PartialEq)]
pub struct StoredModel {
    /// Its id.
    pub id: Uuid,
    /// The profile whose units it knows.
    pub profile: ProfileId,
    /// How far it looks ahead.
    pub horizon: Duration,
    /// What is made of it.
    pub state: ModelState,
    /// Its first training sample, the ends of training and calibration, and of the days it was compared on.
    pub spans: [Timestamp; 4],
    /// Its seed.
    pub seed: u64,
    /// How it did.
    pub scores: Json,
    /// When it was trained.
    pub created_at: Timestamp,
    /// When it became champion, if it ever did.
    pub promoted_at: Option<Timestamp>,
    /// When it was replaced.
    pub retired_at: Option<Timestamp>,
}

/// What a forecast was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForecastMethod {
    /// The model.
    Model,
    /// The naive rule, as the model had not shown that it is better.
    NaiveRule,
}

impl ForecastMethod {
    /// The name used in the API and the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::NaiveRule => "naive_rule",
        }
    }
}

/// A forecast of one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureForecast {
    /// The unit.
    pub device: DeviceId,
    /// When it was made.
    pub made_at: Timestamp,
    /// The model that it came from.
    pub model: Uuid,
    /// What it was made with.
    pub method: ForecastMethod,
    /// The probability of a failure within the horizon.
    pub probability: f64,
    /// What the naive rule says.
    pub naive: f64,
    /// From which probability on a visit costs less than waiting.
    pub threshold: f64,
    /// Whether it was at or above the threshold.
    pub alerted: bool,
    /// Whether a failure followed within the horizon; `None` until that has passed.
    pub outcome: Option<bool>,
    /// When it failed, if it did within the horizon.
    pub failed_at: Option<Timestamp>,
}

/// What came of a forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastOutcome {
    /// The unit.
    pub device: DeviceId,
    /// When the forecast was made.
    pub made_at: Timestamp,
    /// When the unit failed; `None`: it did not within the horizon.
    pub failed_at: Option<Timestamp>,
}

type ModelRow =
    (Uuid, String, i64, String, DbTime, DbTime, DbTime, DbTime, i64, String, DbTime, Option<DbTime>, Option<DbTime>);

fn stored(row: ModelRow) -> Result<StoredModel> {
    let (id, profile, horizon, state, from, train, calibrate, tested, seed, scores, created, promoted, retired) = row;
    Ok(StoredModel {
        id,
        profile: name("profile id", &profile)?,
        horizon: Duration::from_secs(uint(horizon)),
        state: ModelState::from_code(&state)?,
        spans: [from, train, calibrate, tested].map(Timestamp::from),
        seed: seed.cast_unsigned(),
        scores: from_document("model's scores", &scores)?,
        created_at: created.into(),
        promoted_at: promoted.map(Into::into),
        retired_at: retired.map(Into::into),
    })
}

fn seconds(horizon: Duration) -> i64 {
    int(horizon.as_secs())
}

async fn by_id(tx: &mut Tx, id: Uuid) -> Result<Option<StoredModel>> {
    let row: Option<ModelRow> = fetch_optional!(tx, "reading a failure model", BY_ID, id)?;
    row.map(stored).transpose()
}

async fn crown(
    tx: &mut Tx,
    model: &StoredModel,
    promoted_at: Timestamp,
    by: &AuditActor,
    now: Timestamp,
) -> Result<()> {
    let what = "changing the champion";
    execute!(tx, what, RETIRE, model.profile.as_str(), seconds(model.horizon), at(now))?;
    execute!(tx, what, CROWN, model.id, at(promoted_at))?;
    let subject = model.id.to_string();
    let detail = json!({ "profile": model.profile, "horizon": model::duration::format(model.horizon) });
    let action = if promoted_at == now { "model.promote" } else { "model.rollback" };
    audit::write(tx, audit::Line { org: None, by, action, subject: &subject, detail: &detail }, now).await
}

impl Store {
    /// Keeps a model as challenger; the challenger before it is retired.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn keep_model(&self, new: &NewModel, now: Timestamp) -> Result<StoredModel> {
        let id = new_id(now);
        let (profile, horizon) = (new.profile.as_str(), seconds(new.horizon));
        let scores = document("model's scores", &new.scores)?;
        let [from, train, calibrate, tested] = new.spans.map(at);
        let seed = new.seed.cast_signed();
        let artefact = new.artefact.as_slice();
        let what = "keeping a failure model";
        let mut tx = self.db().begin().await?;
        execute!(
            &mut tx,
            what,
            INSERT,
            id,
            profile,
            horizon,
            from,
            train,
            calibrate,
            tested,
            seed,
            scores.as_str(),
            artefact,
            at(now)
        )?;
        execute!(&mut tx, what, SUPERSEDE, profile, horizon, id, at(now))?;
        execute!(&mut tx, what, FORGET, profile, horizon, KEPT_CHALLENGERS)?;
        let kept = by_id(&mut tx, id).await?;
        tx.commit().await?;
        kept.ok_or(StoreError::Missing { kind: "failure model", name: id.to_string() })
    }

    /// Models of a profile or of all, those of one horizon together, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn models(&self, profile: Option<&ProfileId>, limit: u32) -> Result<Vec<StoredModel>> {
        let profile = profile.map(ProfileId::as_str);
        let rows: Vec<ModelRow> =
            fetch_all!(self.db().read, "listing failure models", LIST, profile, i64::from(limit))?;
        rows.into_iter().map(stored).collect()
    }

    /// One model.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn model(&self, id: Uuid) -> Result<Option<StoredModel>> {
        let row: Option<ModelRow> = fetch_optional!(self.db().read, "reading a failure model", BY_ID, id)?;
        row.map(stored).transpose()
    }

    /// The champion of a profile and horizon.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn champion(&self, profile: &ProfileId, horizon: Duration) -> Result<Option<StoredModel>> {
        let (profile, horizon) = (profile.as_str(), seconds(horizon));
        let row: Option<ModelRow> =
            fetch_optional!(self.db().read, "reading the champion", CHAMPION, profile, horizon)?;
        row.map(stored).transpose()
    }

    /// The newest model of a profile and horizon that is not retired.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn newest_model(&self, profile: &ProfileId, horizon: Duration) -> Result<Option<StoredModel>> {
        let (profile, horizon) = (profile.as_str(), seconds(horizon));
        let row: Option<ModelRow> =
            fetch_optional!(self.db().read, "reading the newest failure model", NEWEST, profile, horizon)?;
        row.map(stored).transpose()
    }

    /// The model itself, as bytes; `None` if it is not kept any more.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn model_artefact(&self, id: Uuid) -> Result<Option<Vec<u8>>> {
        let row: Option<(Option<Vec<u8>>,)> =
            fetch_optional!(self.db().read, "reading a failure model's artefact", ARTEFACT, id)?;
        Ok(row.and_then(|(artefact,)| artefact))
    }

    /// Makes a model the champion of its profile and horizon; the one before it is retired. Returns it as it stands
    /// then; `None` if there is no such model or its artefact is not kept any more.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn promote_model(&self, id: Uuid, by: &AuditActor, now: Timestamp) -> Result<Option<StoredModel>> {
        if self.model_artefact(id).await?.is_none() {
            return Ok(None);
        }
        let mut tx = self.db().begin().await?;
        let Some(model) = by_id(&mut tx, id).await? else { return Ok(None) };
        if model.state != ModelState::Champion {
            crown(&mut tx, &model, now, by, now).await?;
        }
        let model = by_id(&mut tx, id).await?;
        tx.commit().await?;
        Ok(model)
    }

    /// Makes the champion before the present one champion again. Returns it; `None` if there was none before.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn roll_back_model(
        &self,
        profile: &ProfileId,
        horizon: Duration,
        by: &AuditActor,
        now: Timestamp,
    ) -> Result<Option<StoredModel>> {
        let (named, what) = (profile.as_str(), "looking for the champion before");
        let mut tx = self.db().begin().await?;
        let row: Option<ModelRow> = fetch_optional!(&mut tx, what, CHAMPION, named, seconds(horizon))?;
        let Some(present) = row.map(stored).transpose()? else { return Ok(None) };
        let promoted = present.promoted_at.unwrap_or(present.created_at);
        let row: Option<ModelRow> = fetch_optional!(&mut tx, what, FORMER, named, seconds(horizon), at(promoted))?;
        let Some(former) = row.map(stored).transpose()? else { return Ok(None) };
        // Its promotion keeps its time, so that rolling back once more goes one further back.
        crown(&mut tx, &former, former.promoted_at.unwrap_or(former.created_at), by, now).await?;
        let former = by_id(&mut tx, former.id).await?;
        tx.commit().await?;
        Ok(former)
    }

    /// Keeps forecasts of one profile and horizon. One that is kept already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn keep_forecasts(
        &self,
        profile: &ProfileId,
        horizon: Duration,
        forecasts: &[(OrgId, FailureForecast)],
    ) -> Result<u64> {
        let texts = |of: &dyn Fn(&FailureForecast) -> String| {
            Column::Texts(forecasts.iter().map(|(_, forecast)| Some(of(forecast))).collect())
        };
        let floats = |of: fn(&FailureForecast) -> f64| {
            Column::Floats(forecasts.iter().map(|(_, forecast)| of(forecast)).collect())
        };
        let columns = [
            texts(&|forecast| forecast.device.to_string()),
            Column::Ints(forecasts.iter().map(|_| seconds(horizon)).collect()),
            Column::Times(forecasts.iter().map(|(_, forecast)| Some(at(forecast.made_at))).collect()),
            Column::Ids(forecasts.iter().map(|(org, _)| Some(org.0)).collect()),
            texts(&|_| profile.to_string()),
            Column::Ids(forecasts.iter().map(|(_, forecast)| Some(forecast.model)).collect()),
            texts(&|forecast| forecast.method.code().to_owned()),
            floats(|forecast| forecast.probability),
            floats(|forecast| forecast.naive),
            floats(|forecast| forecast.threshold),
            Column::Bools(forecasts.iter().map(|(_, forecast)| forecast.alerted).collect()),
        ];
        let mut tx = self.db().begin().await?;
        let kept = bulk::write(&mut tx, "keeping forecasts", FORECAST, forecasts.len(), &columns).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// Forecasts made up to a moment of which it is not noted yet what came of them.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn open_forecasts(
        &self,
        profile: &ProfileId,
        horizon: Duration,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(DeviceId, Timestamp)>> {
        let (profile, horizon, limit) = (profile.as_str(), seconds(horizon), i64::from(limit));
        let rows: Vec<(String, DbTime)> =
            fetch_all!(self.db().read, "listing open forecasts", OPEN, profile, horizon, at(until), limit)?;
        rows.into_iter().map(|(device, made)| Ok((name("device id", &device)?, made.into()))).collect()
    }

    /// Leaves out the forecasts that were to come true while nobody was watching: they get no outcome and are not listed.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn leave_out_forecasts(
        &self,
        profile: &ProfileId,
        horizon: Duration,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<u64> {
        let mut tx = self.db().begin().await?;
        let (profile, seconds) = (profile.as_str(), seconds(horizon));
        let what = "leaving forecasts out";
        let left = execute!(&mut tx, what, LEAVE_OUT, profile, seconds, at(from - horizon), at(to))?;
        tx.commit().await?;
        Ok(left)
    }

    /// Notes what came of forecasts.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn match_forecasts(&self, horizon: Duration, outcomes: &[ForecastOutcome]) -> Result<u64> {
        let columns = [
            Column::Texts(outcomes.iter().map(|outcome| Some(outcome.device.to_string())).collect()),
            Column::Ints(outcomes.iter().map(|_| seconds(horizon)).collect()),
            Column::Times(outcomes.iter().map(|outcome| Some(at(outcome.made_at))).collect()),
            Column::Bools(outcomes.iter().map(|outcome| outcome.failed_at.is_some()).collect()),
            Column::Times(outcomes.iter().map(|outcome| outcome.failed_at.map(at)).collect()),
        ];
        let mut tx = self.db().begin().await?;
        let matched = bulk::write(&mut tx, "matching forecasts", MATCH, outcomes.len(), &columns).await?;
        tx.commit().await?;
        Ok(matched)
    }

    /// Forecasts of an organisation, or of all, made from `from` on and before `to`, in order of time and device.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn forecasts(
        &self,
        org: Option<OrgId>,
        profile: &ProfileId,
        horizon: Duration,
        span: (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<FailureForecast>> {
        type Row = (String, DbTime, Uuid, String, f64, f64, f64, bool, Option<bool>, Option<DbTime>);
        let org = org.map(|org| org.0);
        let (profile, horizon, limit) = (profile.as_str(), seconds(horizon), i64::from(limit));
        let (from, to) = (at(span.0), at(span.1));
        let rows: Vec<Row> =
            fetch_all!(self.db().read, "listing forecasts", MADE, profile, horizon, org, from, to, limit)?;
        rows.into_iter()
            .map(|(device, made, model, method, probability, naive, threshold, alerted, outcome, failed)| {
                Ok(FailureForecast {
                    device: name("device id", &device)?,
                    made_at: made.into(),
                    model,
                    method: match method.as_str() {
                        "model" => ForecastMethod::Model,
                        "naive_rule" => ForecastMethod::NaiveRule,
                        other => return Err(StoreError::corrupt("forecast", format!("\"{other}\" is no method"))),
                    },
                    probability,
                    naive,
                    threshold,
                    alerted,
                    outcome,
                    failed_at: failed.map(Into::into),
                })
            })
            .collect()
    }

    /// When the last forecasts of a profile and horizon were made.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn last_forecast(&self, profile: &ProfileId, horizon: Duration) -> Result<Option<Timestamp>> {
        let (profile, horizon) = (profile.as_str(), seconds(horizon));
        let row: Option<(Option<DbTime>,)> =
            fetch_optional!(self.db().read, "looking for the last forecast", LAST, profile, horizon)?;
        Ok(row.and_then(|(time,)| time).map(Timestamp::from))
    }
}
