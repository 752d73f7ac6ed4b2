//! The nightly pass: trains challengers, forecasts every unit, raises and ends alerts, notes what came of earlier
//! forecasts, and watches the champions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use metrics::{counter, gauge};
use model::{
    Clock, Localised, OrgId, Profile, ProfileId, Timestamp,
    profile::{FAILURE_RISK, Failures},
};
use predict::{
    learn::LearnError,
    risk::{Chosen, DRIFT_DAYS, Drift, NoScore, RiskModel, Samples, Score, TrainError, Verdict, corrected},
};
use store::{
    AuditActor, Change, FailureForecast, ForecastMethod, ForecastOutcome, ModelState, Store, StoredModel, WatchCursors,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    forecasts::{
        ForecastConfig,
        alerts::{self, Risk},
        history::{self, Known},
        train::{self, Scores, Terms},
    },
    passes::Reconciler,
};

/// Alerts of forecasts do not come from the journal: their commits keep no place in it.
const PARTITION: u32 = 1;
/// Forecasts whose outcomes are noted in one go.
const MATCHED: u32 = 5_000;
/// The most forecasts that a drift is judged by.
const JUDGED: u32 = 200_000;
/// Forecasts raise alerts once their probabilities were calibrated on so many failures.
const CALIBRATED: usize = 30;
/// What an alert says a forecast rests on.
const FACTS: [&str; 4] = ["failures.last_30d", "failures.last_90d", "failure_1.since", "visit.since"];
const DAY: Duration = Duration::from_hours(24);

/// Trains and forecasts once a day.
pub struct Forecasts {
    /// Where history, models and forecasts are.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The profiles; those that name failures are forecast.
    pub profiles: Vec<Arc<Profile>>,
    /// The settings.
    pub config: ForecastConfig,
    /// Where it tells that a champion does worse than it did.
    pub notes: watch::Sender<Vec<Localised>>,
    /// Ends a training at the shutdown.
    pub stop: CancellationToken,
    /// What was done last, by profile.
    pub done: Mutex<HashMap<ProfileId, Timestamp>>,
}

/// What forecasts of one horizon are made with.
struct Maker {
    stored: StoredModel,
    model: Arc<RiskModel>,
    scores: Scores,
    method: ForecastMethod,
    /// What the model states, put right by outcomes, by position of the sample.
    stated: HashMap<usize, f64>,
}

impl Reconciler for Forecasts {
    const NAME: &'static str = "forecasts";
    const INTERVAL: Duration = Duration::from_secs(60);

    fn wakes(_: &Change) -> bool {
        false
    }

    /// Does the last night's work for every profile that names its failures, once.
    async fn pass(&self) -> anyhow::Result<()> {
        if !self.config.enabled {
            return self.end_all().await;
        }
        let due = self.config.last_due(self.clock.now());
        let mut notes = Vec::new();
        let mut worked = false;
        for profile in &self.profiles {
            let Some(failures) = &profile.failures else { continue };
            let last = self.done.lock().unwrap_or_else(PoisonError::into_inner).get(&profile.id).copied();
            if last == Some(due) || self.stop.is_cancelled() {
                continue;
            }
            worked = true;
            self.night(profile, failures, due, &mut notes)
                .await
                .with_context(|| format!("forecasting failures of the profile \"{}\"", profile.id))?;
            self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(profile.id.clone(), due);
        }
        if worked {
            self.notes.send_replace(notes);
        }
        Ok(())
    }
}

impl Forecasts {
    /// Ends what an earlier life raised, once: nobody forecasts any more.
    async fn end_all(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let ended: Vec<ProfileId> = self.profiles.iter().map(|profile| profile.id.clone()).collect();
        let already = self.done.lock().unwrap_or_else(PoisonError::into_inner).len() == ended.len();
        if already {
            return Ok(());
        }
        let standing = self.store.open_alerts().await?;
        let own = standing.into_iter().filter(|alert| alert.rule.as_str() == FAILURE_RISK);
        let changes: Vec<model::AlertChange> = own.map(|alert| alerts::ended(alert, now)).collect();
        self.commit(&changes).await?;
        self.done.lock().unwrap_or_else(PoisonError::into_inner).extend(ended.into_iter().map(|id| (id, now)));
        Ok(())
    }

    async fn commit(&self, changes: &[model::AlertChange]) -> anyhow::Result<()> {
        if !changes.is_empty() {
            let nowhere = WatchCursors { partition: PARTITION, ..WatchCursors::default() };
            self.store.commit_watch(changes, &nowhere, &[], self.clock.now()).await.context("raising alerts")?;
        }
        Ok(())
    }

    /// One profile's night. Doing it again changes nothing but for a challenger more.
    async fn night(
        &self,
        profile: &Profile,
        failures: &Failures,
        due: Timestamp,
        notes: &mut Vec<Localised>,
    ) -> anyhow::Result<()> {
        history::keep_days(&self.store, profile, failures, due).await?;
        let known = history::load(&self.store, profile, failures, due, self.clock.now()).await?;
        if known.devices.is_empty() {
            return Ok(());
        }
        let known = Arc::new(known);
        let taken = known.clone();
        let samples = train::aside(move || taken.samples()).await??;
        let samples = Arc::new(samples);
        let mut makers = Vec::new();
        for horizon in &failures.horizons {
            let forecast_already = self.store.last_forecast(&profile.id, *horizon).await? == Some(due);
            if !forecast_already && !self.train(profile, *horizon, due, &samples).await? {
                return Ok(());
            }
            makers.extend(self.maker(profile, *horizon, &samples).await?);
        }
        self.forecast(profile, failures, due, &known, &samples, &makers).await?;
        for maker in &makers {
            let horizon = maker.stored.horizon;
            self.note_outcomes(profile, horizon, &known).await?;
            notes.extend(self.watch(profile, maker, due).await?);
        }
        Ok(())
    }

    /// Trains a challenger. False if the hub is stopping.
    async fn train(
        &self,
        profile: &Profile,
        horizon: Duration,
        until: Timestamp,
        samples: &Arc<Samples>,
    ) -> anyhow::Result<bool> {
        let (config, within) = (&self.config, model::duration::format(horizon));
        let terms = Terms {
            profile: profile.id.clone(),
            horizon,
            until,
            now: self.clock.now(),
            seed: config.seed,
            cpu_share: config.cpu_share,
            promote: config.promote,
            by: AuditActor::Hub,
        };
        match train::challenge(&self.store, samples, terms, &self.stop).await? {
            Ok(trained) => {
                let contest = &trained.scores.contest;
                let verdict = match trained.scores.verdict {
                    Verdict::Promote if trained.promoted => "it is the champion now",
                    Verdict::Promote => "it was better; forecasts.promote leaves the choice to people",
                    Verdict::TooFew => "too few unseen failures to tell",
                    Verdict::RuleAsGood => "the naive rule was as good",
                    Verdict::ChampionAsGood => "the champion was as good",
                };
                counter!("liftline_failure_models_trained_total", "profile" => profile.id.to_string()).increment(1);
                info!(profile.id = %profile.id, horizon = within, model.id = %trained.stored.id,
                    "trained a failure model: log loss {:.5} on unseen days, naive rule {:.5}; {verdict}",
                    contest.challenger.log_loss, contest.naive.log_loss);
                Ok(true)
            }
            Err(TrainError::Learn(LearnError::Stopped)) => Ok(false),
            Err(reason) => {
                info!(profile.id = %profile.id, horizon = within, "{reason}");
                Ok(true)
            }
        }
    }

    /// The champion; without one the naive rule as the newest challenger has calibrated it.
    async fn maker(
        &self,
        profile: &Profile,
        horizon: Duration,
        samples: &Arc<Samples>,
    ) -> anyhow::Result<Option<Maker>> {
        let champion = self.store.champion(&profile.id, horizon).await?;
        let newest = self.store.newest_model(&profile.id, horizon).await?;
        let fits = (samples.features.clone(), samples.groups.clone());
        let mut found = None;
        // A champion that does not fit any more, as after a change of what the profile names, gives way to the newest.
        for stored in champion.into_iter().chain(newest) {
            if found.is_none() {
                found = train::open(&self.store, &stored, &fits).await?.map(|model| (stored, model));
            }
        }
        let Some((stored, model)) = found else { return Ok(None) };
        let scores = serde_json::from_value(stored.scores.clone()).context("reading a model's scores")?;
        let by_model = stored.state == ModelState::Champion && model.chosen == Chosen::Model;
        let method = if by_model { ForecastMethod::Model } else { ForecastMethod::NaiveRule };
        let model = Arc::new(model);
        let (walked, walker) = (samples.clone(), model.clone());
        let all = train::aside(move || corrected(&walked, &walker)).await?;
        Ok(Some(Maker { stored, model, scores, method, stated: all.into_iter().collect() }))
    }

    /// Forecasts every unit that can be scored, keeps that, and raises and ends alerts.
    async fn forecast(
        &self,
        profile: &Profile,
        failures: &Failures,
        due: Timestamp,
        known: &Known,
        samples: &Samples,
        makers: &[Maker],
    ) -> anyhow::Result<()> {
        let threshold = self.config.threshold(&profile.id, failures);
        let rows = samples.positions(|sample| sample.at == due);
        let mut risks: Vec<Risk<'_>> = rows
            .iter()
            .map(|n| Risk {
                device: &known.devices[samples.rows[*n].unit],
                risks: Vec::new(),
                facts: facts(samples, *n),
            })
            .collect();
        for maker in makers {
            let horizon = maker.stored.horizon;
            let mut made: Vec<(OrgId, FailureForecast)> = Vec::with_capacity(rows.len());
            for (n, risk) in rows.iter().zip(&mut risks) {
                let stated = match maker.model.state(samples.table.row(*n), samples.rows[*n].group) {
                    Ok(stated) => stated,
                    Err(reason @ (NoScore::Shape { .. } | NoScore::Group { .. } | NoScore::Unknown(_))) => {
                        debug!(device.id = %risk.device.id, "{reason}");
                        continue;
                    }
                };
                let probability = match maker.method {
                    ForecastMethod::Model => maker.stated.get(n).copied().unwrap_or(stated.probability),
                    ForecastMethod::NaiveRule => stated.naive,
                };
                if maker.scores.judgement.failures >= CALIBRATED {
                    risk.risks.push((horizon, probability, stated.naive));
                }
                let forecast = FailureForecast {
                    device: risk.device.id.clone(),
                    made_at: due,
                    model: maker.stored.id,
                    method: maker.method,
                    probability,
                    naive: stated.naive,
                    threshold,
                    alerted: probability >= threshold,
                    outcome: None,
                    failed_at: None,
                };
                made.push((risk.device.org, forecast));
            }
            let kept = self.store.keep_forecasts(&profile.id, horizon, &made).await?;
            counter!("liftline_failure_forecasts_total", "profile" => profile.id.to_string()).increment(kept);
        }
        risks.retain(|risk| !risk.risks.is_empty());
        let standing = self.store.open_alerts().await?.into_iter();
        let own = standing.filter(|alert| alert.rule.as_str() == FAILURE_RISK && alert.profile == profile.id).collect();
        let own: Vec<model::Alert> = own;
        let changes = alerts::changes(profile, failures, threshold, &risks, &own, due);
        self.commit(&changes).await
    }

    /// Notes what came of forecasts whose horizon has passed.
    pub(super) async fn note_outcomes(
        &self,
        profile: &Profile,
        horizon: Duration,
        known: &Known,
    ) -> anyhow::Result<()> {
        let units: HashMap<_, usize> = known.devices.iter().enumerate().map(|(n, device)| (&device.id, n)).collect();
        let failures = &known.history.failures;
        for down in &known.history.blind {
            self.store.leave_out_forecasts(&profile.id, horizon, *down).await?;
        }
        loop {
            let open = self.store.open_forecasts(&profile.id, horizon, known.until - horizon, MATCHED).await?;
            let outcomes: Vec<ForecastOutcome> = open
                .iter()
                .filter_map(|(device, made_at)| {
                    let own = &failures[*units.get(device)?];
                    let next = own.get(own.partition_point(|at| at <= made_at)).copied();
                    let failed_at = next.filter(|at| at.since(*made_at) <= horizon);
                    Some(ForecastOutcome { device: device.clone(), made_at: *made_at, failed_at })
                })
                .collect();
            let matched = self.store.match_forecasts(horizon, &outcomes).await?;
            // Units that are gone are never matched: they must not keep this going.
            if open.len() < MATCHED as usize || matched == 0 {
                return Ok(());
            }
        }
    }

    /// Says how a champion's forecasts of the last weeks fared, and a note if that is worse than when it was chosen.
    async fn watch(&self, profile: &Profile, maker: &Maker, due: Timestamp) -> anyhow::Result<Option<Localised>> {
        let horizon = maker.stored.horizon;
        let span = (due - horizon - DAY * DRIFT_DAYS, due);
        let made = self.store.forecasts(None, &profile.id, horizon, span, JUDGED).await?;
        let judged: Vec<&FailureForecast> =
            made.iter().filter(|made| made.model == maker.stored.id && made.outcome.is_some()).collect();
        let outcomes: Vec<bool> = judged.iter().map(|made| made.outcome == Some(true)).collect();
        let of = |pick: fn(&FailureForecast) -> f64| {
            Score::of(&judged.iter().map(|made| pick(made)).collect::<Vec<_>>(), &outcomes)
        };
        let chosen = maker.scores.contest.challenger;
        let drift = Drift { live: of(|made| made.probability), naive: of(|made| made.naive), chosen };
        let within = model::duration::format(horizon);
        for (which, score) in [("live", drift.live), ("naive", drift.naive), ("chosen", drift.chosen)] {
            let (profile, horizon) = (profile.id.to_string(), within.clone());
            gauge!("liftline_failure_model_log_loss", "profile" => profile, "horizon" => horizon, "of" => which)
                .set(score.log_loss);
        }
        let drifts = maker.method == ForecastMethod::Model && drift.drifts() == Some(true);
        gauge!("liftline_failure_model_drifts", "profile" => profile.id.to_string(), "horizon" => within.clone())
            .set(f64::from(u8::from(drifts)));
        if !drifts {
            return Ok(None);
        }
        warn!(profile.id = %profile.id, horizon = within, model.id = %maker.stored.id,
            "a failure model does worse than when it was chosen: log loss {:.5} then, {:.5} of late, naive rule {:.5}",
            drift.chosen.log_loss, drift.live.log_loss, drift.naive.log_loss);
        let name = &profile.name;
        Ok(Some(Localised::new(
            format!(
                "The failure model of {} ({within}) does worse than when it was chosen. See `liftline models list`; `liftline models rollback {}` brings back the one before.",
                name.en, profile.id
            ),
            format!(
                "“{}”的故障预测模型（{within}）表现比启用时差。请查看 liftline models list；可用 liftline models rollback {} 恢复上一个模型。",
                name.zh, profile.id
            ),
        )))
    }
}

fn facts(samples: &Samples, row: usize) -> Vec<(&'static str, f64)> {
    let values = samples.table.row(row);
    FACTS
        .iter()
        .filter_map(|name| {
            let column = samples.features.iter().position(|feature| feature.name == *name)?;
            Some((*name, f64::from(*values.get(column)?)))
        })
        .collect()
}
