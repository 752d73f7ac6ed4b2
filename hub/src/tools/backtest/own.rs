//! `liftline backtest --profile`: how failure models would have forecast on this hub's own history, night by night, with
//! the code of the nightly pass. Nothing is stored.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use model::{Clock as _, Profile, ProfileId, Timestamp, profile::Failures};
use predict::risk::{Chosen, Forecast, RiskModel, RiskScorecard, Samples, Verdict, alert_top_share, corrected};
use store::Store;

use super::wmata::{self, OutageOptions};
use crate::{
    cli::ConfigArg,
    clock::SystemClock,
    forecasts::{
        ForecastConfig,
        history::{self, Known},
        train::{self, Trained},
    },
    tools,
};

const DAY: Duration = Duration::from_hours(24);
/// How often the walk trains unless told otherwise: a hub trains every night, which would take a month of nights a month.
const RETRAIN: Duration = Duration::from_hours(28 * 24);
/// How many nights are scored unless told otherwise; never more than half of the history.
const NIGHTS: u64 = 90;

/// Options of a backtest on a hub's own history.
#[derive(Debug, Args)]
pub struct OwnOptions {
    /// Score the failure models of this profile on the hub's own history instead of recorded data; it names its failures in
    /// [failures]. Reads the store beside a running hub and keeps nothing. With --horizon, --test-from, --test-to, --retrain
    /// (default 28d), --seed, --prefix and --out.
    #[arg(long, conflicts_with_all = ["protocol", "data"])]
    pub profile: Option<ProfileId>,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// What is walked through.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The first night that is scored.
    pub from: Option<Timestamp>,
    /// The last one.
    pub to: Option<Timestamp>,
    /// How often models are trained anew.
    pub retrain: Option<Duration>,
    /// The seed of every draw.
    pub seed: u64,
}

/// How a horizon fared.
pub struct Walked {
    /// The card.
    pub card: RiskScorecard,
    /// The forecasts, those that call for a visit marked.
    pub forecasts: Vec<Forecast>,
}

/// What a night forecasts with.
#[derive(Default)]
struct Shelf {
    champion: Option<RiskModel>,
    newest: Option<RiskModel>,
    trained: usize,
    promoted: usize,
    by_model: usize,
    nights: usize,
    reason: Option<String>,
}

impl OwnOptions {
    /// Walks through the past nights of every horizon and prints a scorecard of each.
    ///
    /// # Errors
    /// If the profile names no failures, there is too little history, or the store fails.
    pub async fn run(&self, id: &ProfileId, horizon: Option<Duration>, options: &OutageOptions) -> anyhow::Result<()> {
        let (store, config, profiles) = tools::attach(&self.config.config).await?;
        let profile = tools::profile(&profiles, id)?;
        let now = SystemClock.now();
        let walk = Walk { from: options.test_from, to: options.test_to, retrain: options.retrain, seed: options.seed };
        let done = async {
            let (failures, horizons) = tools::models::horizons(profile, horizon)?;
            for horizon in horizons {
                let (known, walked) = score(&store, &config.forecasts, profile, failures, horizon, &walk, now).await?;
                let mut prefix = options.prefix.clone();
                if prefix.is_empty() {
                    prefix = format!("{}_{}_", profile.id, word(horizon));
                }
                println!("{}", RiskScorecard { prefix, ..walked.card });
                if let Some(out) = &options.out {
                    let file = named(out, horizon);
                    wmata::write(&file, known.history.fleet.units(), &walked.forecasts)?;
                }
            }
            anyhow::Ok(())
        };
        let done = done.await;
        store.close().await;
        done
    }
}

/// A horizon as a part of a name.
fn word(horizon: Duration) -> String {
    model::duration::format(horizon).replace(' ', "_")
}

/// The horizon in the name of a file, since each has its own.
fn named(out: &std::path::Path, horizon: Duration) -> PathBuf {
    let stem = out.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let extension = out.extension().map_or_else(|| "csv".to_owned(), |text| text.to_string_lossy().into_owned());
    out.with_file_name(format!("{stem}-{}.{extension}", word(horizon)))
}

/// Walks through the nights: at every training only what was known then is loaded, as the nightly pass loads it; in between
/// every night forecasts with the champion, and without one with the naive rule as the newest challenger has calibrated it.
///
/// # Errors
/// If there is too little history, or the store fails.
pub async fn score(
    store: &Store,
    config: &ForecastConfig,
    profile: &Profile,
    failures: &Failures,
    horizon: Duration,
    walk: &Walk,
    now: Timestamp,
) -> anyhow::Result<(Known, Walked)> {
    // Of an earlier span what was known when its last outcome was: the past before it is then as long as ever.
    let due = config.last_due(walk.to.map_or(now, |to| now.min(to + horizon)));
    let known = history::load(store, profile, failures, due, now).await?;
    ensure!(!known.devices.is_empty(), "no device has the profile \"{}\"", profile.id);
    let samples = Arc::new(known.samples()?);
    let nights = nights(&samples, due, horizon, walk)
        .with_context(|| too_little(profile, &known, &samples, horizon, "no night is left to score"))?;
    let mut shelf = Shelf::default();
    let (mut liftline, mut naive) = (Vec::new(), Vec::new());
    let step = walk.retrain.filter(|step| !step.is_zero()).unwrap_or(RETRAIN);
    let mut rest = nights.as_slice();
    while let Some(first) = rest.first().copied() {
        let block;
        (block, rest) = rest.split_at(rest.partition_point(|night| night.since(first) < step));
        shelf = train(store, profile, failures, horizon, (walk.seed, first), shelf).await?;
        let Some((model, method)) = shelf.maker() else { continue };
        let stated: Vec<(usize, f64)> = match method {
            Chosen::Model => corrected(&samples, model),
            Chosen::NaiveRule => Vec::new(),
        };
        let scored =
            samples.positions(|sample| block.binary_search(&sample.at).is_ok() && sample.is_watched_for(horizon));
        let row = |n: usize| (samples.table.row(n), samples.rows[n].group);
        let probability = |n: usize| match stated.binary_search_by_key(&n, |(n, _)| *n) {
            Ok(found) => stated[found].1,
            Err(_) => model.naive_probability(row(n).0, row(n).1),
        };
        liftline.extend(wmata::forecasts(&samples, scored.iter().map(|n| (*n, probability(*n))), horizon));
        let by_rule = scored.iter().map(|n| (*n, model.rule_probability(row(*n).0)));
        naive.extend(wmata::forecasts(&samples, by_rule, horizon));
        shelf.nights += block.len();
        shelf.by_model += if method == Chosen::Model { block.len() } else { 0 };
    }
    if liftline.is_empty() {
        let reason = shelf.reason.as_deref().unwrap_or("no unit could be scored");
        anyhow::bail!(too_little(profile, &known, &samples, horizon, reason));
    }
    alert_top_share(&mut liftline, wmata::TOP_SHARE);
    alert_top_share(&mut naive, wmata::TOP_SHARE);
    let title = title(profile, config, &nights, step, walk.seed, &shelf);
    // Long histories of large fleets are looked at every few days only.
    let each = nights.windows(2).map(|two| two[1].since(two[0])).min().unwrap_or(DAY).as_secs_f64() / DAY.as_secs_f64();
    let card = RiskScorecard::of(title, horizon, &liftline, &naive, each, walk.seed);
    Ok((known, Walked { card, forecasts: liftline }))
}

/// The nights that are scored: those whose outcome is known, within the span that is wanted.
fn nights(samples: &Samples, due: Timestamp, horizon: Duration, walk: &Walk) -> Option<Vec<Timestamp>> {
    let mut nights: Vec<Timestamp> = samples.rows.iter().map(|sample| sample.at).collect();
    nights.dedup();
    let first = *nights.first()?;
    let last = walk.to.unwrap_or(due).min(due - horizon);
    let half = last.since(first) / 2;
    let from = walk.from.unwrap_or_else(|| last - half.min(DAY * NIGHTS as u32));
    nights.retain(|night| *night >= from && *night <= last);
    (!nights.is_empty()).then_some(nights)
}

/// Trains on what was known at a night, and lets the challenger compete with the champion.
async fn train(
    store: &Store,
    profile: &Profile,
    failures: &Failures,
    horizon: Duration,
    (seed, night): (u64, Timestamp),
    mut shelf: Shelf,
) -> anyhow::Result<Shelf> {
    let known = history::load(store, profile, failures, night, night).await?;
    let (id, champion) = (profile.id.clone(), shelf.champion.take());
    let work = move || {
        let samples = known.samples()?;
        let trained = train::train(&samples, &id, horizon, (seed, night), champion.as_ref(), &mut |_| true);
        anyhow::Ok((trained, champion))
    };
    let (trained, champion) = train::aside(work).await??;
    shelf.champion = champion;
    match trained {
        Ok(Trained { model, scores, .. }) => {
            shelf.trained += 1;
            if scores.verdict == Verdict::Promote {
                shelf.promoted += 1;
                shelf.champion = Some(model);
            } else {
                shelf.newest = Some(model);
            }
        }
        Err(reason) => shelf.reason = Some(reason.to_string()),
    }
    Ok(shelf)
}

impl Shelf {
    /// As the nightly pass chooses: the champion, else the newest challenger's naive rule.
    fn maker(&self) -> Option<(&RiskModel, Chosen)> {
        let champion = self.champion.as_ref().map(|model| (model, model.chosen));
        champion.or_else(|| self.newest.as_ref().map(|model| (model, Chosen::NaiveRule)))
    }
}

fn title(
    profile: &Profile,
    config: &ForecastConfig,
    nights: &[Timestamp],
    step: Duration,
    seed: u64,
    shelf: &Shelf,
) -> String {
    let (Some(first), Some(last)) = (nights.first(), nights.last()) else { return String::new() };
    let (all, told, by_model) = (nights.len(), shelf.nights, shelf.by_model);
    let (trained, promoted) = (shelf.trained, shelf.promoted);
    format!(
        "Forecasts of failures of {}, this hub's own history, nights at {} UTC from {first} to {last}; seed {seed}\n\
         Trained {trained} times, every {}, each time on what was known then; {promoted} became champion.\n\
         Of {all} nights {told} had forecasts: {by_model} by a champion, {} by the naive rule.",
        profile.id,
        config.at,
        model::duration::format(step),
        told - by_model,
    )
}

fn too_little(profile: &Profile, known: &Known, samples: &Samples, horizon: Duration, reason: &str) -> String {
    let (first, last) = (samples.rows.first().map(|row| row.at), samples.rows.last().map(|row| row.at));
    let days = first.zip(last).map_or(0, |(first, last)| last.since(first).as_secs() / DAY.as_secs());
    let failed = known.history.failures.iter().map(Vec::len).sum::<usize>();
    format!(
        "too little history of \"{}\" to score forecasts of {}: {reason}. The store knows {} devices, {failed} failures and {days} \
         days on which units were known for 30 days; training, calibration and contest each need 30 failures and 30 quiet \
         unit-days; wait, or name a later --test-from",
        profile.id,
        model::duration::format(horizon),
        known.devices.len(),
    )
}
