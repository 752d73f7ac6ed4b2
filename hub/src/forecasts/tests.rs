//! From a real store to forecasts: one path for training and live, nothing of the future, and a night from end to end.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use model::{
    Alert, AlertChange, AlertId, AlertSource, Device, DeviceId, Event, Evidence, ManualClock, OrgId, Profile, RuleId,
    Scope, Severity, SiteId, TicketKind, Timestamp, profile::FAILURE_RISK,
};
use predict::{learn::Random, risk::Samples};
use store::{
    AuditActor, ChannelDay, DeskSettings, FailureForecast, ForecastMethod, ForecastOutcome, ModelState, NewSite,
    RecordedEvent, RecorderBatch, Store, StoreConfig, TicketFilter, WatchCursors,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ForecastConfig, history, nightly::Forecasts, train::Pace};
use crate::{
    passes::Reconciler as _,
    tools::backtest::own::{self, Walk},
};

mod false_alarms;

const DAY: i64 = 86_400;

fn at(day: i64, second: i64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600 + day * DAY + second)
}

fn profile(horizons: &str) -> Arc<Profile> {
    let text = format!(
        "[profile]\nid = \"fan\"\nname = {{ en = \"Fan\", zh = \"风机\" }}\nversion = 1\n\
         [[channels]]\nid = \"heat_c\"\nname = {{ en = \"Heat\", zh = \"温度\" }}\ntype = \"number\"\nunit = \"Cel\"\nrange = [0.0, 90.0]\n\
         [[events]]\ncode = \"trip\"\nname = {{ en = \"Trip\", zh = \"跳闸\" }}\n\
         [[events]]\ncode = \"reset\"\nname = {{ en = \"Reset\", zh = \"复位\" }}\n\
         [[rules]]\nid = \"hot\"\ntitle = {{ en = \"Hot\", zh = \"过热\" }}\nsource = \"a test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = \"heat_c > 80\"\n\
         [failures]\nrules = [\"hot\"]\nevents = [\"trip\"]\nends = [\"reset\"]\nchannels = [\"heat_c\"]\nhorizons = {horizons}\n\
         miss_cost = 4.0\nvisit_cost = 1.0\n"
    );
    Arc::new(Profile::parse(Path::new("fan.toml"), &text).unwrap())
}

struct Place {
    store: Store,
    org: OrgId,
    site: SiteId,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new(units: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config =
            StoreConfig { url: format!("sqlite:{}", dir.path().join("s.db").display()), ..StoreConfig::default() };
        let desk =
            DeskSettings { policies: desk::Policies::default(), public_url: "https://lifts.example.org".to_owned() };
        let store = Store::open(&config, desk).await.unwrap();
        store.ensure_profile(&profile("[\"1d\"]")).await.unwrap();
        let org = store.create_org("Metro", at(-1, 0)).await.unwrap().id;
        let site = NewSite { org, name: "North".to_owned(), address: String::new(), time_zone: "UTC".to_owned() };
        let site = store.create_site(&site, at(-1, 0)).await.unwrap().id;
        let devices: Vec<_> = (0..units)
            .map(|n| {
                let profile = profile("[\"1d\"]").id.clone();
                (Device { id: fan(n), org, site, profile, name: format!("Fan {n}"), plate: None }, None)
            })
            .collect();
        store.upsert_devices(&devices, &AuditActor::CommandLine, at(-1, 0)).await.unwrap();
        Self { store, org, site, _dir: dir }
    }

    /// Records the events that the hub received on these days.
    async fn record(&self, events: &[RecordedEvent], days: std::ops::Range<i64>) {
        let received =
            |event: &&RecordedEvent| event.received_at >= at(days.start, 0) && event.received_at < at(days.end, 0);
        let events = events.iter().filter(received).cloned().collect();
        self.store.record(&RecorderBatch { events, ..RecorderBatch::default() }, at(days.end, 0)).await.unwrap();
    }

    fn hot(&self, unit: usize, raised_at: Timestamp) -> Alert {
        let rule = RuleId::new("hot").unwrap();
        Alert {
            id: AlertId::derive(&fan(unit), &rule, raised_at),
            org: self.org,
            device: fan(unit),
            site: self.site,
            profile: profile("[\"1d\"]").id.clone(),
            rule,
            rule_version: 1,
            source: AlertSource::Rule,
            kind: TicketKind::Breakdown,
            scope: Scope::Device,
            severity: Severity::Minor,
            life_safety: false,
            title: model::Localised::default(),
            raised_at,
            cleared_at: None,
            evidence: Evidence::default(),
            runbook: None,
        }
    }

    async fn alert(&self, unit: usize, raised_at: Timestamp, known_at: Timestamp) -> Alert {
        let alert = self.hot(unit, raised_at);
        self.commit(&AlertChange::Raised(Box::new(alert.clone())), known_at).await;
        alert
    }

    async fn commit(&self, change: &AlertChange, now: Timestamp) {
        self.store.commit_watch(std::slice::from_ref(change), &WatchCursors::default(), &[], now).await.unwrap();
    }

    /// The hub is up all this time.
    async fn up(&self, from: Timestamp, to: Timestamp) {
        let mut now = from;
        while now < to {
            self.store.note_up(now).await.unwrap();
            now = now + Duration::from_secs(900);
        }
        self.store.note_up(to).await.unwrap();
    }

    async fn known(&self, profile: &Profile, until: Timestamp) -> history::Known {
        history::load(&self.store, profile, profile.failures.as_ref().unwrap(), until, until).await.unwrap()
    }

    async fn samples(&self, until: Timestamp) -> Samples {
        let profile = profile("[\"1d\"]");
        let known = self.known(&profile, until).await;
        known.samples().unwrap()
    }
}

fn fan(n: usize) -> DeviceId {
    DeviceId::new(&format!("fan-{n:03}")).unwrap()
}

/// Trips at a rate of each unit's own; every third trips mostly at weekends, which the naive rule cannot know. Some are
/// told up to a day late. From `turn` on the draws are others.
fn events(units: usize, days: i64, turn: i64, seed: u64) -> Vec<RecordedEvent> {
    let mut all = Vec::new();
    for unit in 0..units {
        let mut random = Random::new(900 + unit as u64);
        let rate = 0.02 + 0.2 * random.unit().powi(3);
        for day in 0..days {
            if day == turn {
                random = Random::new(seed * 10_000 + unit as u64);
            }
            // Day 0 is a Thursday.
            let weekend = matches!((day + 3) % 7, 5 | 6);
            let factor = if unit % 3 == 0 { if weekend { 3.0 } else { 0.15 } } else { 1.0 };
            let (draw, second, late) =
                (random.unit(), 40_000 + random.below(20_000) as i64, random.below(80_000) as i64);
            if draw < rate * factor {
                for (code, after) in [("trip", 0), ("reset", 7_000)] {
                    let event =
                        Event { time: at(day, second + after), code: code.to_owned(), seq: None, values: Vec::new() };
                    let received_at = at(day, second + after + if draw < 0.01 { late } else { 0 });
                    all.push(RecordedEvent { device: fan(unit), event, received_at });
                }
            }
        }
    }
    all
}

/// Unit, moment and features, bit for bit, of the moments that are asked for.
fn bits(samples: &Samples, pick: impl Fn(Timestamp) -> bool) -> Vec<(usize, Timestamp, Vec<u32>)> {
    samples
        .positions(|sample| pick(sample.at))
        .into_iter()
        .map(|n| {
            let row = samples.table.row(n).iter().map(|value| value.to_bits()).collect();
            (samples.rows[n].unit, samples.rows[n].at, row)
        })
        .collect()
}

/// Keeps means as the nightly pass does, from made-up values.
async fn keep_means(place: &Place, units: usize, days: std::ops::Range<i64>, shift: f64) {
    let channel = model::ChannelId::new("heat_c").unwrap();
    let means: Vec<ChannelDay> = days
        .flat_map(|day| (0..units).map(move |unit| (day, unit)))
        .map(|(day, unit)| ChannelDay {
            device: fan(unit),
            ended_at: at(day, 2 * 3_600),
            mean: 40.0 + shift + ((day * 7 + unit as i64) % 5) as f64,
        })
        .collect();
    place.store.keep_channel_days(&channel, &means).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_computed_live_is_what_training_computes_later() {
    let (place, mut all) = (Place::new(14).await, events(14, 100, -1, 0));
    // What happened the day before a moment that is looked at is told after it.
    for event in &mut all {
        let day = (event.event.time.as_micros() - at(0, 0).as_micros()).div_euclid(DAY * 1_000_000);
        if day % 10 == 9 {
            event.received_at = at(day + 1, 4 * 3_600);
        }
    }
    let mut live = Vec::new();
    let mut open: Option<Alert> = None;
    for day in (10..=90).step_by(10) {
        // What the hub received in these days, and the end of the alert before, told long after it was so.
        place.record(&all, day - 10..day).await;
        keep_means(&place, 14, day - 9..day + 1, 0.0).await;
        if let Some(mut alert) = open.take() {
            alert.cleared_at = Some(at(day - 2, 0));
            place.commit(&AlertChange::Cleared(Box::new(alert)), at(day - 1, 50_000)).await;
        }
        let moment = at(day, 2 * 3_600);
        let now = bits(&place.samples(moment).await, |time| time == moment);
        if day >= 40 {
            assert!(now.len() > 5, "{} units on day {day}", now.len());
        }
        live.push((moment, now));
        // An alert of the day before that the hub learns of only now.
        open = Some(place.alert((day as usize / 10) % 14, at(day - 1, 70_000), at(day, 3 * 3_600)).await);
    }
    let later = place.samples(at(90, 2 * 3_600)).await;
    for (moment, then) in live.into_iter().filter(|(moment, _)| *moment >= at(40, 0)) {
        assert!(then == bits(&later, |time| time == moment), "the features of {moment} differ");
    }
    assert!(later.features.iter().any(|feature| feature.name == "channel.heat_c.departure"));
    let departure = later.features.iter().position(|feature| feature.name == "channel.heat_c.departure").unwrap();
    assert!(later.table.row(later.rows.len() - 1)[departure].is_finite());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_future_changes_nothing_that_was_known() {
    let moment = at(60, 2 * 3_600);
    let (one, other) = (Place::new(12).await, Place::new(12).await);
    for (place, seed, shift) in [(&one, 1, 0.0), (&other, 2, 30.0)] {
        place.record(&events(12, 90, 61, seed), 0..90).await;
        keep_means(place, 12, 0..61, 0.0).await;
        keep_means(place, 12, 61..90, shift).await;
        let alert = place.alert(3, at(59, 0), at(59, 5)).await;
        if seed == 2 {
            place
                .commit(&AlertChange::Cleared(Box::new(Alert { cleared_at: Some(at(59, 9)), ..alert })), at(62, 0))
                .await;
            place.alert(4, at(50, 0), at(63, 0)).await;
        }
    }
    let until = at(89, 2 * 3_600);
    let (a, b) = (one.samples(until).await, other.samples(until).await);
    let past = |time: Timestamp| time <= moment;
    assert!(bits(&a, past).len() > 100);
    assert!(bits(&a, past) == bits(&b, past), "the future changed the past");
    assert!(bits(&a, |time| !past(time)) != bits(&b, |time| !past(time)), "the futures do differ");
    assert!(bits(&one.samples(moment).await, past) == bits(&other.samples(moment).await, past));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_is_withdrawn_is_no_failure_but_stays_what_it_was_when_it_was_looked_at() {
    let (place, plain) = (Place::new(8).await, Place::new(8).await);
    for place in [&place, &plain] {
        place.record(&events(8, 70, -1, 0), 0..70).await;
    }
    let moment = |day| at(day, 2 * 3_600);
    let withdraw = async |unit: usize, raised: Timestamp, known: Timestamp| {
        let mut alert = place.alert(unit, raised, raised).await;
        alert.cleared_at = Some(known);
        alert.evidence.withdrawn = true;
        place.commit(&AlertChange::Cleared(Box::new(alert)), known).await;
    };
    // Ten minutes in the middle of the day: as if it had never been, now and later.
    withdraw(3, at(45, 40_000), at(45, 40_600)).await;
    for until in [46, 60] {
        let all = |_: Timestamp| true;
        let (with, without) = (place.samples(moment(until)).await, plain.samples(moment(until)).await);
        assert!(bits(&with, all) == bits(&without, all));
        assert_eq!(with.rows, without.rows);
    }
    // It stood while every unit was forecast: what was known then stays as it was.
    place.alert(5, at(61, 2 * 3_600 - 60), at(61, 2 * 3_600 - 60)).await;
    let live = bits(&place.samples(moment(61)).await, |time| time == moment(61));
    withdraw(5, at(61, 2 * 3_600 - 60), at(61, 2 * 3_600 + 60)).await;
    let later = place.samples(moment(65)).await;
    assert!(live == bits(&later, |time| time == moment(61)));
    assert!(live != bits(&plain.samples(moment(65)).await, |time| time == moment(61)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_learnt_of_days_on_which_the_hub_was_down() {
    let place = Place::new(6).await;
    place.record(&events(6, 60, -1, 0), 0..60).await;
    place.up(at(39, 0), at(40, 0)).await;
    place.up(at(43, 0), at(46, 0)).await;
    place.up(at(46, 5 * 3_600), at(50, 0)).await;
    let samples = place.samples(at(50, 0)).await;
    let left_out = |days: u64| -> Vec<i64> {
        let horizon = Duration::from_hours(24 * days);
        let mut days: Vec<i64> = samples
            .rows
            .iter()
            .filter(|sample| !sample.is_watched_for(horizon))
            .map(|sample| (sample.at.as_micros() - at(0, 0).as_micros()) / (DAY * 1_000_000))
            .collect();
        days.dedup();
        days
    };
    // Five hours on the last day but some are not enough to leave it out.
    assert_eq!(left_out(1), [40, 41, 42]);
    assert_eq!(left_out(7), [34, 35, 36, 37, 38, 39, 40, 41, 42]);
}

fn forecasts(
    place: &Place,
    profile: Arc<Profile>,
    clock: &Arc<ManualClock>,
) -> (Forecasts, watch::Receiver<Vec<model::Localised>>) {
    let (notes, noted) = watch::channel(Vec::new());
    let config = ForecastConfig { cpu_share: 1.0, ..ForecastConfig::default() };
    let (store, stop, done) = (place.store.clone(), CancellationToken::new(), Mutex::default());
    (Forecasts { store, clock: clock.clone(), profiles: vec![profile], config, notes, stop, done }, noted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_trains_forecasts_alerts_and_keeps_score() {
    let units = 60;
    let (place, all) = (Place::new(units).await, events(units, 260, -1, 0));
    place.record(&all, 0..240).await;
    let clock = Arc::new(ManualClock::at(at(240, 3 * 3_600)));
    let profile = profile("[\"1d\"]");
    let (pass, noted) = forecasts(&place, profile.clone(), &clock);
    pass.pass().await.unwrap();
    let day = Duration::from_hours(24);
    let champion = place.store.champion(&profile.id, day).await.unwrap();
    let models = place.store.models(None, 9).await.unwrap();
    let champion = champion.unwrap_or_else(|| panic!("no champion: {:?}", models[0].scores));
    assert_eq!((champion.state, models.len()), (ModelState::Champion, 1));
    let due = at(240, 2 * 3_600);
    let made = async |from: Timestamp, to: Timestamp| {
        place.store.forecasts(Some(place.org), &profile.id, day, (from, to), 99_999).await.unwrap()
    };
    let first = made(due, due + day).await;
    assert!(first.len() > 50 && first.iter().all(|made| made.made_at == due && made.method == ForecastMethod::Model));
    let alerted: Vec<_> = first.iter().filter(|made| made.alerted).collect();
    assert!(!alerted.is_empty() && alerted.iter().all(|made| made.probability >= 0.2));
    // An alert, a ticket, and no second one for the same night or the same process begun again.
    let risky = async || {
        let mut alerts = place.store.open_alerts().await.unwrap();
        alerts.retain(|alert| alert.rule.as_str() == FAILURE_RISK);
        alerts
    };
    let standing = risky().await;
    assert!(!standing.is_empty() && standing.len() <= 6, "{}", standing.len());
    let filter = TicketFilter { limit: 99, kind: Some(TicketKind::Forecast), ..TicketFilter::default() };
    let tickets = place.store.tickets(place.org, &filter).await.unwrap().tickets;
    assert_eq!(tickets.len(), standing.len());
    pass.pass().await.unwrap();
    let (again, _) = forecasts(&place, profile.clone(), &clock);
    again.pass().await.unwrap();
    assert_eq!((made(due, due + day).await, place.store.models(None, 9).await.unwrap().len()), (first.clone(), 1));
    assert_eq!(risky().await, standing);
    // Days go by: what came of the forecasts is noted, as the events tell it. For half of the second day the hub is down.
    for passed in 241..=246 {
        place.record(&all, passed - 1..passed).await;
        clock.advance(day);
        let (begun, over) = (at(passed - 1, 3 * 3_600), at(passed, 3 * 3_600));
        let down = if passed == 242 { (at(241, 12 * 3_600), at(242, 3_600)) } else { (over, over) };
        place.up(begun, down.0).await;
        place.up(down.1, over).await;
        pass.pass().await.unwrap();
    }
    let matched = made(due, at(245, 0)).await;
    assert!(matched.iter().all(|made| made.outcome.is_some()));
    for made in &matched {
        let trips = all.iter().filter(|event| event.device == made.device && event.event.code == "trip");
        let within = |time: Timestamp| time > made.made_at && time <= made.made_at + day;
        let happened = trips.clone().any(|event| within(event.received_at));
        assert_eq!(made.outcome, Some(happened), "{} at {}", made.device, made.made_at);
    }
    assert!(matched.iter().any(|made| made.outcome == Some(true)));
    // What was to come true meanwhile is not scored.
    assert!(made(at(241, 0), at(242, 0)).await.is_empty());
    assert!(!made(at(242, 0), at(243, 0)).await.is_empty());
    assert!(made(at(246, 0), at(247, 0)).await.iter().all(|made| made.outcome.is_none()));
    assert!(noted.borrow().is_empty(), "{:?}", noted.borrow());
    // Had the champion been sure of what did not happen, the next night would say so.
    let champion = place.store.champion(&profile.id, day).await.unwrap().unwrap();
    let wrong: Vec<_> = (220..240)
        .flat_map(|passed| (0..units).map(move |unit| (passed, unit)))
        .map(|(passed, unit)| {
            let probability = if unit < 3 { 0.05 } else { 0.9 };
            let made_at = at(passed, 2 * 3_600);
            let made =
                FailureForecast { device: fan(unit), made_at, probability, model: champion.id, ..first[0].clone() };
            (place.org, made)
        })
        .collect();
    place.store.keep_forecasts(&profile.id, day, &wrong).await.unwrap();
    let outcomes: Vec<_> = wrong
        .iter()
        .map(|(_, made)| ForecastOutcome {
            device: made.device.clone(),
            made_at: made.made_at,
            failed_at: (made.probability < 0.5).then(|| made.made_at + Duration::from_secs(60)),
        })
        .collect();
    place.store.match_forecasts(day, &outcomes).await.unwrap();
    let config = ForecastConfig { promote: false, cpu_share: 1.0, ..ForecastConfig::default() };
    let pass = Forecasts { config, ..pass };
    clock.advance(day);
    pass.pass().await.unwrap();
    let notes = noted.borrow().clone();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].en.contains("Fan (1d) does worse") && notes[0].zh.contains("风机"), "{}", notes[0].en);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backtest_forecasts_what_the_hub_would_have_forecast_and_keeps_nothing() {
    let (place, day) = (Place::new(60).await, Duration::from_hours(24));
    place.record(&events(60, 260, -1, 0), 0..260).await;
    let profile = profile("[\"1d\"]");
    let failures = profile.failures.as_ref().unwrap();
    let walk = Walk { retrain: Some(day * 50), seed: 1, ..Walk::default() };
    let (config, now) = (ForecastConfig::default(), at(260, 3 * 3_600));
    let (_, walked) = own::score(&place.store, &config, &profile, failures, day, &walk, now).await.unwrap();
    let card = walked.card;
    assert!(card.moments == 91 && card.units == 60 && card.forecasts > 5_000, "{card}");
    let (liftline, naive) = (&card.liftline.figures, &card.naive.figures);
    assert!(liftline.pr_auc > naive.pr_auc && liftline.precision > Some(card.base_rate * 1.5), "{card}");
    assert!(card.title.contains("Trained 2 times, every 50d") && card.title.contains("1 became champion"), "{card}");
    assert!(place.store.models(None, 9).await.unwrap().is_empty());
    // What the hub forecasts in the first of these nights is the same, to the last bit.
    let first = walked.forecasts[0].at;
    let (pass, _) = forecasts(&place, profile.clone(), &Arc::new(ManualClock::at(first + Duration::from_secs(3_600))));
    pass.pass().await.unwrap();
    let made = place.store.forecasts(None, &profile.id, day, (first, first + day), 99).await.unwrap();
    let told: Vec<f64> = made.iter().map(|made| made.probability).collect();
    let scored = walked.forecasts.iter().filter(|forecast| forecast.at == first);
    assert_eq!(scored.map(|forecast| forecast.probability).collect::<Vec<_>>(), told);
    assert!(made.iter().all(|made| made.method == ForecastMethod::Model) && told.len() > 50);

    let small = Place::new(3).await;
    small.record(&events(3, 100, -1, 0), 0..100).await;
    let walk = Walk { seed: 1, ..Walk::default() };
    let refused = own::score(&small.store, &config, &profile, failures, day, &walk, at(100, 0)).await.err().unwrap();
    let text = format!("{refused:#}");
    assert!(
        text.starts_with("too little history of \"fan\" to score forecasts of 1d") && text.contains("3 devices"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_leaves_risks_to_the_nightly_pass() {
    let place = Place::new(2).await;
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(at(3, 0)));
    let gone = place.alert(0, at(1, 0), at(1, 0)).await;
    let rule = RuleId::new(FAILURE_RISK).unwrap();
    let risk = Alert {
        id: AlertId::derive(&fan(1), &rule, at(1, 0)),
        device: fan(1),
        rule,
        source: AlertSource::Forecast,
        kind: TicketKind::Forecast,
        ..gone.clone()
    };
    place.commit(&AlertChange::Raised(Box::new(risk.clone())), at(1, 0)).await;
    let profile = profile("[\"1d\"]");
    let rules = Arc::new(rules::Ruleset::compile(&profile).unwrap());
    let journal = journal::Journal::open(dir.path(), &journal::JournalConfig::default()).unwrap();
    let watch = crate::watch::Watch {
        journal,
        store: place.store.clone(),
        directory: watch::channel(Arc::default()).1,
        clock: clock.clone(),
        profiles: vec![crate::config::LoadedProfile { profile: profile.clone(), rules }],
        emergency: None,
    };
    let mut state = watch.load().await.unwrap();
    watch.pass(&mut state).await.unwrap();
    let open: Vec<_> = place.store.open_alerts().await.unwrap().into_iter().map(|alert| alert.id).collect();
    assert_eq!(open, [risk.id], "the alert of a rule that nothing holds is ended");
    // Turned off, the nightly pass ends them.
    let (pass, _) = forecasts(&place, profile, &clock);
    let config = ForecastConfig { enabled: false, ..ForecastConfig::default() };
    Forecasts { config, ..pass }.pass().await.unwrap();
    assert!(place.store.open_alerts().await.unwrap().is_empty());
}

#[test]
fn training_keeps_to_its_share() {
    let id = profile("[\"1d\"]").id.clone();
    let stop = CancellationToken::new();
    let mut pace = Pace::new(0.25, stop.clone(), id, Duration::from_hours(24));
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(20) {
        std::hint::spin_loop();
    }
    assert!(pace.step(0.5));
    assert!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
    stop.cancel();
    assert!(!pace.step(0.6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_history_gives_no_model_and_no_forecast() {
    let place = Place::new(3).await;
    place.record(&events(3, 100, -1, 0), 0..100).await;
    let clock = Arc::new(ManualClock::at(at(100, 3 * 3_600)));
    let (pass, _) = forecasts(&place, profile("[\"1d\", \"7d\"]"), &clock);
    pass.pass().await.unwrap();
    assert!(place.store.models(None, 9).await.unwrap().is_empty());
    let span = (at(0, 0), at(200, 0));
    let id = profile("[\"1d\"]").id.clone();
    assert!(place.store.forecasts(None, &id, Duration::from_hours(24), span, 9).await.unwrap().is_empty());
}
