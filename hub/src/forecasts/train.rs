//! Trains a challenger and lets it compete with the champion, on a thread of its own that gives way to everything else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use metrics::gauge;
use model::{ProfileId, Timestamp};
use predict::{
    history::Feature,
    risk::{Chosen, Contest, Judgement, RiskModel, Samples, TrainError, TrainOptions, Verdict, spans},
};
use serde::{Deserialize, Serialize};
use store::{AuditActor, NewModel, Store, StoredModel};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The longest pause between two pieces of work.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a model did; kept with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Units that it learnt from.
    pub units: usize,
    /// Samples and failures that it was trained on.
    pub trained_on: (usize, usize),
    /// How it did on the calibration span.
    pub judgement: Judgement,
    /// What it forecasts with.
    pub chosen: Chosen,
    /// How it did on unseen days.
    pub contest: Contest,
    /// What followed.
    pub verdict: Verdict,
}

/// A challenger and how it did.
pub struct Trained {
    /// The model.
    pub model: RiskModel,
    /// The model as it is kept.
    pub new: NewModel,
    /// How it did.
    pub scores: Scores,
}

/// Trains a challenger on everything up to `now` but the last weeks, and compares it on those.
///
/// # Errors
/// [`TrainError`] if there is too little to learn from, or the watcher stopped it.
pub fn train(
    samples: &Samples,
    profile: &ProfileId,
    horizon: Duration,
    (seed, now): (u64, Timestamp),
    champion: Option<&RiskModel>,
    watch: &mut dyn FnMut(f64) -> bool,
) -> Result<Trained, TrainError> {
    let first = samples.rows.first().map_or(now, |sample| sample.at);
    let split = spans(first, now, horizon);
    let model = RiskModel::train_watched(samples, split, &TrainOptions::new(horizon, seed), watch)?;
    let contest = Contest::hold(samples, &model, champion, now);
    let mut units: Vec<usize> = samples.rows.iter().map(|sample| sample.unit).collect();
    units.sort_unstable();
    units.dedup();
    let scores = Scores {
        units: units.len(),
        trained_on: model.trained_on,
        judgement: model.judgement,
        chosen: model.chosen,
        verdict: contest.verdict(),
        contest,
    };
    let spans = [model.trained_from, split.train_until, split.calibrate_until, now];
    // A model that was trained can be written: the encoder refuses none. If it ever did, loading would say so.
    let artefact = model.to_bytes().unwrap_or_default();
    let document = serde_json::to_value(&scores).unwrap_or_default();
    let new = NewModel { profile: profile.clone(), horizon, spans, seed, scores: document, artefact };
    Ok(Trained { model, new, scores })
}

/// Loads a model that is kept, if it fits what is computed here.
///
/// # Errors
/// If the store fails. A model that does not fit is told in the log, and `None`.
pub async fn open(
    store: &Store,
    stored: &StoredModel,
    (features, groups): &(Vec<Feature>, Vec<String>),
) -> anyhow::Result<Option<RiskModel>> {
    let Some(bytes) = store.model_artefact(stored.id).await? else { return Ok(None) };
    match RiskModel::from_bytes(&bytes, features, groups) {
        Ok(model) => Ok(Some(model)),
        Err(unfit) => {
            warn!(model.id = %stored.id, profile.id = %stored.profile, "a failure model is not used: {unfit}");
            Ok(None)
        }
    }
}

/// Keeps training to its share of one core, tells how far it is, and ends it at the shutdown.
pub struct Pace {
    share: f64,
    stop: CancellationToken,
    profile: ProfileId,
    horizon: Duration,
    last: Instant,
    told: f64,
}

impl Pace {
    /// For one training.
    #[must_use]
    pub fn new(share: f64, stop: CancellationToken, profile: ProfileId, horizon: Duration) -> Self {
        Self { share, stop, profile, horizon, last: Instant::now(), told: 0.0 }
    }

    /// After a piece of work: pauses for as long as the share asks. False: stop.
    pub fn step(&mut self, done: f64) -> bool {
        let worked = self.last.elapsed();
        let pause = worked.mul_f64((1.0 - self.share) / self.share).min(LONGEST_PAUSE);
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        self.last = Instant::now();
        let horizon = model::duration::format(self.horizon);
        gauge!("liftline_training_progress_ratio", "profile" => self.profile.to_string(), "horizon" => horizon.clone())
            .set(done);
        if done - self.told >= 0.25 {
            self.told = done;
            info!(profile.id = %self.profile, horizon, "training a failure model: {:.0} % done", done * 100.0);
        }
        !self.stop.is_cancelled()
    }
}

/// Runs work on a thread of its own with the lowest priority.
///
/// # Errors
/// If the thread cannot be started, or the work panicked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("failure models".to_owned())
        .spawn(move || {
            // On Linux this is the thread's own; elsewhere it may be refused, which costs fairness only.
            if let Err(refused) = rustix::process::setpriority_process(None, 19) {
                info!("training keeps its ordinary priority: {refused}");
            }
            // The receiver is gone only if the hub is stopping.
            drop(done.send(work()));
        })
        .context("starting the thread of the failure models")?;
    let result = result.await;
    result.map_err(|_| match thread.join() {
        Ok(()) => anyhow!("the thread of the failure models ended without a result"),
        Err(_) => anyhow!("the thread of the failure models panicked"),
    })
}

/// What came of a challenger.
pub struct Challenge {
    /// The challenger as it is kept.
    pub stored: StoredModel,
    /// How it did.
    pub scores: Scores,
    /// Whether it is the champion now.
    pub promoted: bool,
}

/// How a challenger is trained and what may follow.
pub struct Terms {
    /// The profile.
    pub profile: ProfileId,
    /// How far to look ahead.
    pub horizon: Duration,
    /// Up to when the past is known.
    pub until: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// The seed of every draw.
    pub seed: u64,
    /// The share of one core it may take.
    pub cpu_share: f64,
    /// Whether it becomes champion if it was better.
    pub promote: bool,
    /// Who is named on the audit log.
    pub by: AuditActor,
}

/// Trains a challenger, keeps it, and makes it champion if it was better and that is wanted.
///
/// # Errors
/// If the store fails. That there is too little to learn from is not an error but the inner result.
pub async fn challenge(
    store: &Store,
    samples: &Arc<Samples>,
    terms: Terms,
    stop: &CancellationToken,
) -> anyhow::Result<Result<Challenge, TrainError>> {
    let Terms { profile, horizon, until, now, seed, cpu_share, promote, by } = terms;
    let fits = (samples.features.clone(), samples.groups.clone());
    let champion = match store.champion(&profile, horizon).await? {
        Some(stored) => open(store, &stored, &fits).await?,
        None => None,
    };
    let mut pace = Pace::new(cpu_share, stop.clone(), profile.clone(), horizon);
    let samples = samples.clone();
    let work =
        move || train(&samples, &profile, horizon, (seed, until), champion.as_ref(), &mut |done| pace.step(done));
    let trained = match aside(work).await? {
        Ok(trained) => trained,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut stored = store.keep_model(&trained.new, now).await.context("keeping the model")?;
    let mut promoted = false;
    if promote
        && trained.scores.verdict == Verdict::Promote
        && let Some(champion) = store.promote_model(stored.id, &by, now).await?
    {
        (stored, promoted) = (champion, true);
    }
    Ok(Ok(Challenge { stored, scores: trained.scores, promoted }))
}
