//! `liftline train` and `liftline models`: failure models by hand, beside the nightly pass of the hub.

use std::{fmt::Write as _, io::Write, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use model::{Clock, Profile, ProfileId, Timestamp, profile::Failures};
use predict::risk::{Chosen, TrainError, Verdict};
use store::{AuditActor, Store, StoredModel};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    cli::ConfigArg,
    clock::SystemClock,
    config::LoadedProfile,
    forecasts::{
        history,
        train::{self, Scores, Terms},
    },
    tools,
};

/// The most models listed.
const LISTED: u32 = 200;

/// Options of `liftline train`.
#[derive(Debug, Args)]
pub struct Train {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArg,
    /// The profile whose units are learnt from; it names its failures in [failures].
    #[arg(long)]
    pub profile: ProfileId,
    /// Only this horizon, such as 7d; default: all that the profile names.
    #[arg(long, value_parser = model::duration::parse)]
    pub horizon: Option<Duration>,
    /// As if it were then, RFC 3339: nothing later is read. Default: now.
    #[arg(long)]
    pub until: Option<Timestamp>,
    /// The seed of every draw; default: forecasts.seed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Keep the model as challenger even if it was better than the champion.
    #[arg(long)]
    pub no_promote: bool,
}

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelsAction {
    /// List models: id, profile, horizon, state, when trained, and how they did on unseen days.
    List {
        /// Only of this profile.
        #[arg(long)]
        profile: Option<ProfileId>,
    },
    /// Show everything that is known of a model.
    Show {
        /// Its id, as listed.
        id: Uuid,
    },
    /// Make a model the champion of its profile and horizon, whatever its scores.
    Promote {
        /// Its id, as listed.
        id: Uuid,
    },
    /// Bring back the champion before the present one.
    Rollback {
        /// The profile.
        profile: ProfileId,
        /// Only this horizon; default: every horizon that has a champion before.
        #[arg(long, value_parser = model::duration::parse)]
        horizon: Option<Duration>,
    },
}

fn percent(share: f64) -> f64 {
    share * 100.0
}

/// What the profile names as failures, and the horizons that are wanted: one of its own, or all.
///
/// # Errors
/// If it names no failures, or another horizon is wanted.
pub fn horizons(profile: &Profile, wanted: Option<Duration>) -> anyhow::Result<(&Failures, Vec<Duration>)> {
    let failures = profile.failures.as_ref().with_context(|| {
        format!("the profile \"{}\" names no failures; add a [failures] section (docs/profiles.md)", profile.id)
    })?;
    let horizons = wanted.map_or_else(|| failures.horizons.clone(), |horizon| vec![horizon]);
    ensure!(
        horizons.iter().all(|horizon| failures.horizons.contains(horizon)),
        "the profile names the horizons {}; add yours to failures.horizons",
        failures.horizons.iter().map(|horizon| model::duration::format(*horizon)).collect::<Vec<_>>().join(", ")
    );
    Ok((failures, horizons))
}

impl Train {
    /// Trains a challenger for each horizon, says how it did, and makes it champion if it was better.
    ///
    /// # Errors
    /// If the profile names no failures, there is too little history for any horizon, or the store fails.
    pub async fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let (store, config, profiles) = tools::attach(&self.config.config).await?;
        let done = self.train(&store, &config.forecasts, tools::profile(&profiles, &self.profile)?, out).await;
        store.close().await;
        done
    }

    async fn train(
        &self,
        store: &Store,
        config: &crate::forecasts::ForecastConfig,
        profile: &Profile,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let (failures, horizons) = horizons(profile, self.horizon)?;
        let now = SystemClock.now();
        let until = self.until.unwrap_or(now);
        store.ensure_profile(profile).await?;
        if self.until.is_none() {
            history::keep_days(store, profile, failures, until).await?;
        }
        let known = history::load(store, profile, failures, until, now).await?;
        ensure!(!known.devices.is_empty(), "no device has the profile \"{}\"", profile.id);
        let samples = Arc::new(known.samples()?);
        let mut refused: Vec<TrainError> = Vec::new();
        let wanted = horizons.len();
        for horizon in horizons {
            let terms = Terms {
                profile: profile.id.clone(),
                horizon,
                until,
                now,
                seed: self.seed.unwrap_or(config.seed),
                cpu_share: 1.0,
                promote: !self.no_promote,
                by: AuditActor::CommandLine,
            };
            let within = model::duration::format(horizon);
            match train::challenge(store, &samples, terms, &CancellationToken::new()).await? {
                Ok(trained) => {
                    writeln!(out, "Failures of {} within {within}:", profile.id)?;
                    write!(out, "{}", told(&trained.stored, &trained.scores))?;
                    if trained.promoted {
                        writeln!(out, "  It is the champion now.")?;
                    }
                }
                Err(reason) => {
                    writeln!(out, "Failures of {} within {within}: {reason}", profile.id)?;
                    refused.push(reason);
                }
            }
        }
        if refused.len() == wanted {
            let (devices, samples) = (known.devices.len(), samples.rows.len());
            bail!("nothing was trained: the store knows {devices} devices and {samples} samples up to {until}");
        }
        Ok(())
    }
}

/// Everything that is known of a model, in lines.
fn told(stored: &StoredModel, scores: &Scores) -> String {
    let [from, train, calibrate, until] = stored.spans;
    let (rows, failures) = scores.trained_on;
    let mut text = String::new();
    let judged = scores.judgement;
    let contest = &scores.contest;
    let chosen = match scores.chosen {
        Chosen::Model => "the model, which beat the naive rule there",
        Chosen::NaiveRule => "the naive rule: the model did not beat it there",
    };
    let verdict = match scores.verdict {
        Verdict::Promote => "better than the naive rule and than the champion",
        Verdict::TooFew => "fewer than 30 of either outcome on unseen days: nothing shows that it is better",
        Verdict::RuleAsGood => "not better than the naive rule",
        Verdict::ChampionAsGood => "not better than the champion",
    };
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        writeln!(text, "  {name:<12} {value}").unwrap_or_default();
    };
    line("model", format!("{} ({}), seed {}", stored.id, stored.state.code(), stored.seed));
    line("trained", format!("{from} to {train}: {} units, {rows} samples, {failures} failures", scores.units));
    line(
        "calibrated",
        format!(
            "until {calibrate}: {} samples, {} failures; log loss {:.5}, naive rule {:.5}",
            judged.samples, judged.failures, judged.model_log_loss, judged.naive_log_loss
        ),
    );
    line("forecasts by", chosen.to_owned());
    line("unseen days", format!("{} to {until}: {} forecasts", contest.from, contest.challenger.forecasts));
    line("  challenger", contest.challenger.to_string());
    line("  naive rule", contest.naive.to_string());
    if let Some(champion) = &contest.champion {
        line("  champion", champion.to_string());
    }
    line("verdict", verdict.to_owned());
    text
}

impl ModelsAction {
    /// Does it.
    ///
    /// # Errors
    /// If there is no such model, nothing to roll back to, or the store fails.
    pub async fn run(self, config: &ConfigArg, out: &mut impl Write) -> anyhow::Result<()> {
        let (store, _, profiles) = tools::attach(&config.config).await?;
        let done = self.act(&store, &profiles, SystemClock.now(), out).await;
        store.close().await;
        done
    }

    async fn act(
        self,
        store: &Store,
        profiles: &[LoadedProfile],
        now: Timestamp,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let scores = |model: &StoredModel| -> anyhow::Result<Scores> {
            serde_json::from_value(model.scores.clone()).with_context(|| format!("reading the scores of {}", model.id))
        };
        match self {
            Self::List { profile } => {
                if let Some(profile) = &profile {
                    tools::profile(profiles, profile)?;
                }
                let models = store.models(profile.as_ref(), LISTED).await?;
                if models.is_empty() {
                    writeln!(
                        out,
                        "No models yet: the hub trains at night, or `liftline train --profile PROFILE` does."
                    )?;
                }
                for model in &models {
                    let contest = scores(model)?.contest;
                    writeln!(
                        out,
                        "{}\t{}\t{}\t{}\t{}\tlog loss {:.5}, naive rule {:.5} at {:.2} % of {}",
                        model.id,
                        model.profile,
                        model::duration::format(model.horizon),
                        model.state.code(),
                        model.created_at,
                        contest.challenger.log_loss,
                        contest.naive.log_loss,
                        percent(contest.challenger.base_rate()),
                        contest.challenger.forecasts,
                    )?;
                }
            }
            Self::Show { id } => {
                let model = store.model(id).await?.with_context(|| missing(id))?;
                writeln!(out, "Failures of {} within {}:", model.profile, model::duration::format(model.horizon))?;
                write!(out, "{}", told(&model, &scores(&model)?))?;
                let artefact = store.model_artefact(id).await?;
                let size = artefact.map_or("not kept any more".to_owned(), |bytes| format!("{} bytes", bytes.len()));
                writeln!(out, "  artefact     {size}")?;
                for (name, at) in [("promoted", model.promoted_at), ("retired", model.retired_at)] {
                    if let Some(at) = at {
                        writeln!(out, "  {name:<12} {at}")?;
                    }
                }
            }
            Self::Promote { id } => {
                let known = store.model(id).await?.with_context(|| missing(id))?;
                let champion = store.promote_model(id, &AuditActor::CommandLine, now).await?.with_context(|| {
                    format!("the model {} is not kept any more; train a new one with `liftline train`", known.id)
                })?;
                let within = model::duration::format(champion.horizon);
                writeln!(out, "{id} is the champion of {} within {within} from the next night on.", champion.profile)?;
            }
            Self::Rollback { profile, horizon } => {
                let models = store.models(Some(&profile), LISTED).await?;
                let mut horizons: Vec<Duration> = models.iter().map(|model| model.horizon).collect();
                horizons.dedup();
                horizons.retain(|own| horizon.is_none_or(|wanted| wanted == *own));
                let mut back = 0;
                for horizon in horizons {
                    let by = AuditActor::CommandLine;
                    if let Some(former) = store.roll_back_model(&profile, horizon, &by, now).await? {
                        let within = model::duration::format(horizon);
                        writeln!(out, "{} is the champion of {profile} within {within} again.", former.id)?;
                        back += 1;
                    }
                }
                ensure!(
                    back > 0,
                    "there is no champion of \"{profile}\" before the present one; see `liftline models list`"
                );
            }
        }
        Ok(())
    }
}

fn missing(id: Uuid) -> String {
    format!("there is no model {id}; see `liftline models list`")
}
