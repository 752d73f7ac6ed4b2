//! What probably failed, and what a visit should bring: the profile's catalogue of causes, weighed by what was
//! confirmed when earlier tickets were closed.

use std::time::Duration;

use model::{CauseId, Localised, Profile, RuleId, TicketKind, profile::Cause};
use serde::{Deserialize, Serialize};

use crate::parts::{self, Need, Usage};

/// A visit prepares for the likeliest causes that together are so probable. Our choice: with the catalogue's usual three
/// to five causes it leaves out what seldom is the matter.
const PREPARED_SHARE: f64 = 0.8;
/// Times are told to five minutes.
const STEP_SECS: u64 = 300;

/// What somebody who closed a ticket found to have failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The cause in the profile's catalogue.
    pub id: CauseId,
    /// Its name at the time.
    pub name: Localised,
}

impl Confirmed {
    /// Nothing was wrong: a false alarm. It stands where a cause would, and can be corrected like one.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            id: CauseId::nothing_found(),
            name: Localised::new("Nothing found: a false alarm", "未发现故障（误报）"),
        }
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.id.is_nothing_found()
    }
}

/// How often nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FalseAlarms {
    /// On so many tickets.
    pub count: u32,
    /// Of so many of which somebody said what was found, if only that nothing was.
    pub told: u32,
}

/// How often nothing was found on closed tickets, by what was confirmed on them; `None`: never.
#[must_use]
pub fn false_alarms(confirmed: &[(CauseId, u32)]) -> Option<FalseAlarms> {
    let count = confirmed.iter().filter(|(id, _)| id.is_nothing_found()).map(|(_, count)| count).sum();
    (count > 0).then(|| FalseAlarms { count, told: confirmed.iter().map(|(_, count)| count).sum() })
}

/// A cause and how probable it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked<'a> {
    /// The cause.
    pub cause: &'a Cause,
    /// Its probability among the causes that are ranked.
    pub probability: f64,
    /// How often it was confirmed.
    pub confirmed: u32,
    /// True if the visit prepares for it.
    pub prepared: bool,
}

/// What a visit should be prepared for.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation<'a> {
    /// The causes, the likeliest first; never empty.
    pub causes: Vec<Ranked<'a>>,
    /// Parts for those that are prepared for, the likeliest first.
    pub parts: Vec<Need>,
    /// Tools for those that are prepared for.
    pub tools: Vec<&'a Localised>,
    /// Qualifications for those that are prepared for.
    pub skills: Vec<&'a Localised>,
    /// How long the repair takes on average over those that are prepared for.
    pub usual: Duration,
    /// How long it takes if it is the one of them that takes longest.
    pub longest: Duration,
}

/// Ranks the causes that may lie behind a ticket of this kind that this rule opened.
///
/// The probability of cause *i* is the mean of the Dirichlet posterior, `(w_i + n_i) / Σ (w + n)`: `w` is the
/// catalogue's weight, `n` how often the cause was confirmed on closed tickets of the same profile and rule. A cause that
/// was confirmed though the catalogue does not name it for this rule has weight 0. Causes of equal probability keep the
/// catalogue's order. False alarms do not count: the ranking is for the case that something is wrong, and how often it was
/// not is told beside it ([`false_alarms`]).
#[must_use]
pub fn rank<'a>(
    profile: &'a Profile,
    rule: &RuleId,
    kind: TicketKind,
    confirmed: &[(CauseId, u32)],
) -> Vec<Ranked<'a>> {
    let counted = |cause: &Cause| confirmed.iter().find(|(id, _)| *id == cause.id).map_or(0, |(_, count)| *count);
    let weighed = profile.causes.iter().map(|cause| {
        let weight = if cause.explains(rule, kind) { cause.weight } else { 0.0 };
        (cause, weight + f64::from(counted(cause)))
    });
    let weighed: Vec<_> = weighed.filter(|(_, weight)| *weight > 0.0).collect();
    let sum: f64 = weighed.iter().map(|(_, weight)| weight).sum();
    let mut ranked: Vec<Ranked<'a>> = weighed
        .into_iter()
        .map(|(cause, weight)| Ranked { cause, probability: weight / sum, confirmed: counted(cause), prepared: false })
        .collect();
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let mut covered = 0.0;
    for cause in &mut ranked {
        // Sums of shares are not exact.
        cause.prepared = covered < PREPARED_SHARE - 1e-9;
        covered += cause.probability;
    }
    ranked
}

/// What to prepare for; `None` if the catalogue has no cause for it.
#[must_use]
pub fn prepare<'a>(
    profile: &'a Profile,
    rule: &RuleId,
    kind: TicketKind,
    confirmed: &[(CauseId, u32)],
    usage: &Usage,
) -> Option<Preparation<'a>> {
    let causes = rank(profile, rule, kind, confirmed);
    let (mut tools, mut skills): (Vec<&Localised>, Vec<&Localised>) = (Vec::new(), Vec::new());
    let (mut seconds, mut covered, mut longest) = (0.0, 0.0, Duration::ZERO);
    for ranked in causes.iter().filter(|ranked| ranked.prepared) {
        let runbook = profile.runbook(&ranked.cause.runbook);
        for tool in runbook.iter().flat_map(|runbook| &runbook.tools) {
            if !tools.contains(&tool) {
                tools.push(tool);
            }
        }
        if let Some(runbook) = runbook
            && !skills.contains(&&runbook.skill)
        {
            skills.push(&runbook.skill);
        }
        let takes = takes(profile, ranked.cause);
        seconds += ranked.probability * takes.as_secs_f64();
        covered += ranked.probability;
        longest = longest.max(takes);
    }
    if covered <= 0.0 {
        return None;
    }
    let parts = parts::needed(&causes, usage);
    let steps = (seconds / covered / STEP_SECS as f64).ceil();
    Some(Preparation { causes, parts, tools, skills, usual: Duration::from_secs(steps as u64 * STEP_SECS), longest })
}

/// How long the repair of a cause takes.
#[must_use]
pub fn takes(profile: &Profile, cause: &Cause) -> Duration {
    let by_runbook = || profile.runbook(&cause.runbook).map_or(Duration::ZERO, |runbook| runbook.duration);
    cause.duration.unwrap_or_else(by_runbook)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn profile() -> Profile {
        let text = r#"
            profile = { id = "door", name = { en = "Door", zh = "门" }, version = 1 }
            channels = [{ id = "t", name = { en = "t", zh = "t" }, type = "number", unit = "s", range = [0.0, 9.0] }]
            [[rules]]
            id = "slow"
            title = { en = "x", zh = "x" }
            source = "x"
            severity = "minor"
            ticket = "breakdown"
            when = "t > 5.0"
            [[runbooks]]
            id = "track"
            title = { en = "x", zh = "x" }
            steps = []
            tools = [{ en = "brush", zh = "刷" }, { en = "gauge", zh = "塞尺" }]
            skill = { en = "doors", zh = "门" }
            duration = "1h"
            [[runbooks]]
            id = "motor"
            title = { en = "x", zh = "x" }
            steps = []
            tools = [{ en = "gauge", zh = "塞尺" }]
            skill = { en = "drives", zh = "驱动" }
            duration = "3h"
            [[causes]]
            id = "dirt"
            name = { en = "Dirt", zh = "脏污" }
            rules = ["slow"]
            weight = 5.0
            source = "x"
            runbook = "track"
            duration = "30m"
            [[causes]]
            id = "rollers"
            name = { en = "Rollers", zh = "滚轮" }
            rules = ["slow"]
            weight = 3.0
            source = "x"
            runbook = "track"
            parts = [{ en = "rollers", zh = "滚轮" }, { en = "grease", zh = "油" }]
            [[causes]]
            id = "motor"
            name = { en = "Motor", zh = "电机" }
            rules = ["slow"]
            weight = 2.0
            source = "x"
            runbook = "motor"
            parts = [{ en = "motor", zh = "电机" }, { en = "grease", zh = "油" }]
            [[causes]]
            id = "mains"
            name = { en = "Mains", zh = "电源" }
            tickets = ["outage"]
            weight = 1.0
            source = "x"
            runbook = "motor"
        "#;
        Profile::parse(Path::new("door.toml"), text).unwrap()
    }

    fn id(name: &str) -> CauseId {
        CauseId::new(name).unwrap()
    }

    fn slow() -> RuleId {
        RuleId::new("slow").unwrap()
    }

    fn check(confirmed: &[(&str, u32)], expected: &[(&str, f64, bool)]) {
        let confirmed: Vec<_> = confirmed.iter().map(|(name, count)| (id(name), *count)).collect();
        let profile = profile();
        let ranked = rank(&profile, &slow(), TicketKind::Breakdown, &confirmed);
        let told: Vec<_> = ranked
            .iter()
            .map(|ranked| (ranked.cause.id.as_str(), (ranked.probability * 1000.0).round() / 1000.0, ranked.prepared))
            .collect();
        assert_eq!(told, expected);
        let sum: f64 = ranked.iter().map(|ranked| ranked.probability).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn the_catalogue_decides_until_causes_are_confirmed() {
        check(&[], &[("dirt", 0.5, true), ("rollers", 0.3, true), ("motor", 0.2, false)]);
        check(&[("motor", 1)], &[("dirt", 0.455, true), ("rollers", 0.273, true), ("motor", 0.273, true)]);
        check(&[("motor", 30)], &[("motor", 0.8, true), ("dirt", 0.125, false), ("rollers", 0.075, false)]);
    }

    #[test]
    fn what_was_found_counts_even_if_the_catalogue_did_not_expect_it() {
        check(
            &[("mains", 10), ("unheard_of", 99)],
            &[("mains", 0.5, true), ("dirt", 0.25, true), ("rollers", 0.15, true), ("motor", 0.1, false)],
        );
    }

    #[test]
    fn false_alarms_are_counted_beside_the_ranking_and_do_not_thin_it() {
        check(
            &[("motor", 1), ("nothing_found", 30)],
            &[("dirt", 0.455, true), ("rollers", 0.273, true), ("motor", 0.273, true)],
        );
        let counted = |confirmed: &[(&str, u32)]| {
            let confirmed: Vec<_> = confirmed.iter().map(|(name, count)| (id(name), *count)).collect();
            false_alarms(&confirmed).map(|found| (found.count, found.told))
        };
        assert_eq!(counted(&[("motor", 6), ("nothing_found", 3), ("unheard_of", 1)]), Some((3, 10)));
        assert_eq!(counted(&[("motor", 6)]), None);
        assert_eq!(counted(&[]), None);
    }

    #[test]
    fn a_visit_brings_what_the_likely_causes_take() {
        let profile = profile();
        let prepared = prepare(&profile, &slow(), TicketKind::Breakdown, &[], &Usage::default()).unwrap();
        let parts: Vec<_> =
            prepared.parts.iter().map(|need| (need.name.en.as_str(), (need.probability * 10.0).round())).collect();
        // Grease is needed for the motor as well, which nobody prepares for.
        assert_eq!(parts, [("grease", 5.0), ("rollers", 3.0)]);
        assert_eq!(prepared.tools.iter().map(|tool| tool.en.as_str()).collect::<Vec<_>>(), ["brush", "gauge"]);
        assert_eq!(prepared.skills.iter().map(|skill| skill.en.as_str()).collect::<Vec<_>>(), ["doors"]);
        // (0.5 * 30 + 0.3 * 60) / 0.8 = 41.25 minutes.
        assert_eq!((prepared.usual, prepared.longest), (Duration::from_secs(2700), Duration::from_hours(1)));
        let other = RuleId::new("other").unwrap();
        assert_eq!(prepare(&profile, &other, TicketKind::Breakdown, &[], &Usage::default()), None);
        let outage = prepare(&profile, &other, TicketKind::Outage, &[], &Usage::default()).unwrap();
        assert_eq!((outage.causes.len(), outage.usual), (1, Duration::from_hours(3)));
    }

    #[test]
    fn parts_are_needed_as_often_as_they_were_used() {
        let profile = profile();
        let needs = |told: &[(&str, u32)], used: &[(&str, &str, u32)]| -> Vec<(String, u32, u32, u32)> {
            let usage = Usage {
                told: told.iter().map(|(cause, count)| (id(cause), *count)).collect(),
                used: used.iter().map(|(cause, part, count)| (id(cause), (*part).to_owned(), *count)).collect(),
            };
            let prepared = prepare(&profile, &slow(), TicketKind::Breakdown, &[], &usage).unwrap();
            let line = |need: Need| (need.name.en, (need.probability * 100.0).round() as u32, need.used, need.told);
            prepared.parts.into_iter().map(line).collect()
        };
        let line = |name: &str, percent, used, told| (name.to_owned(), percent, used, told);
        // What nobody told of stays the catalogue's.
        assert_eq!(needs(&[], &[]), [line("grease", 50, 0, 0), line("rollers", 30, 0, 0)]);
        // Rollers: .3 * (2 + 3) / (2 + 4); grease was never needed for them: .3 * 2 / 6 + .2.
        let used = [("rollers", "Rollers", 3)];
        assert_eq!(needs(&[("rollers", 4)], &used), [line("grease", 30, 0, 4), line("rollers", 25, 3, 4)]);
        // A part in somebody's own words joins when it was used twice, however it was written.
        let once = [("rollers", "rollers", 4), ("dirt", "Door shoe", 1)];
        assert_eq!(needs(&[("rollers", 4), ("dirt", 6)], &once).len(), 2);
        let twice = [("rollers", "rollers", 4), ("dirt", "Door shoe", 1), ("dirt", "door shoe", 1)];
        // .5 * 2 / (2 + 6)
        let expected = [line("rollers", 30, 4, 4), line("grease", 30, 0, 4), line("Door shoe", 13, 2, 6)];
        assert_eq!(needs(&[("rollers", 4), ("dirt", 6)], &twice), expected);
    }

    #[test]
    fn parts_are_known_by_either_name_or_kept_in_peoples_own_words() {
        let profile = profile();
        assert_eq!(parts::named(&profile, " ROLLERS ").zh, "滚轮");
        assert_eq!(parts::named(&profile, "滚轮").en, "rollers");
        assert_eq!(parts::named(&profile, "a  long\nscrew"), Localised::new("a long screw", "a long screw"));
        let known: Vec<_> = parts::catalogue(&profile).into_iter().map(|part| part.en.as_str()).collect();
        assert_eq!(known, ["rollers", "grease", "motor"]);
    }

    /// All that the profile watches for, but for what it names, is prepared for.
    fn check_pack(file: &str, text: &str, no_failure: &[&str]) -> Profile {
        let pack = Profile::parse(Path::new(file), text).unwrap();
        let rules = pack.rules.iter().map(|rule| (&rule.id, rule.ticket));
        let detectors = pack.detectors.iter().map(|detector| (&detector.id, detector.ticket));
        let forecasts = pack.forecasts.iter().map(|forecast| (&forecast.id, TicketKind::Forecast));
        let risk = RuleId::new(model::profile::FAILURE_RISK).unwrap();
        for (rule, kind) in rules.chain(detectors).chain(forecasts).chain([(&risk, TicketKind::Forecast)]) {
            let prepared = prepare(&pack, rule, kind, &[], &Usage::default());
            assert_eq!(prepared.is_none(), no_failure.contains(&rule.as_str()), "{file}: {rule}");
        }
        pack
    }

    #[test]
    fn shipped_packs_prepare_for_everything_that_they_watch_for() {
        // Nothing has failed: the lift stopped as it should, or nobody at the rescue service answered.
        let no_failure = ["earthquake_stop", "alarm_unanswered"];
        let lift = check_pack("lift.toml", include_str!("../../profiles/lift.toml"), &no_failure);
        let escalator = check_pack("escalator.toml", include_str!("../../profiles/escalator.toml"), &[]);
        let pump = check_pack("water_pump.toml", include_str!("../../profiles/water_pump.toml"), &[]);
        for profile in [&lift, &escalator, &pump] {
            for cause in &profile.causes {
                let names = cause.parts.iter().chain([&cause.name]);
                assert!(names.clone().all(|name| !name.zh.is_ascii()), "{} is not in Chinese", cause.id);
                assert!(cause.source.contains("our choice"), "{} does not say where its weight comes from", cause.id);
            }
            // The same part is written in the same way, or it would be counted twice.
            for part in parts::catalogue(profile) {
                let own = profile.causes.iter().flat_map(|cause| &cause.parts);
                let same = own.filter(|other| other.en.eq_ignore_ascii_case(&part.en) || other.zh == part.zh);
                assert!(same.clone().all(|other| other == part), "{part:?}");
            }
        }
        let leak = rank(&pump, &RuleId::new("seal_leak").unwrap(), TicketKind::Breakdown, &[]);
        assert_eq!(leak[0].cause.id.as_str(), "seal_worn");
        let lags = rank(&escalator, &RuleId::new("handrail_lags").unwrap(), TicketKind::Breakdown, &[]);
        assert_eq!(lags[0].cause.id.as_str(), "handrail_tension");
        let doors = rank(&lift, &RuleId::new("doors_slow").unwrap(), TicketKind::Breakdown, &[]);
        assert_eq!(doors[0].cause.id.as_str(), "door_track_dirt");
    }
}
