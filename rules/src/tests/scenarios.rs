//! Labelled scenarios on the lift pack, from `rules/scenarios`: what was sent, what must be raised and by when, and what
//! must not. docs/profiles.md explains the format.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::{Alert, AlertChange, Entry, TicketKind};
use serde::Deserialize;

use super::{Bench, START, Tick, What, entry, shipped_profile};
use crate::Ruleset;

/// What a trapped person may have to wait for the alert after the last signal that is needed, in seconds.
const ENTRAPMENT_WITHIN: f64 = 5.0;
/// How long after its last line a scenario goes on: other alerts are told once their messages are in order.
const AFTERWARDS: f64 = 12.0;

/// A file of scenarios.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Values that are written as `@name`.
    #[serde(default)]
    states: BTreeMap<String, String>,
    #[serde(rename = "scenario")]
    scenarios: Vec<Scenario>,
}

/// What happens to one lift, and what must come of it. Times are seconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    /// True if a person is shut in.
    #[serde(default)]
    inside: bool,
    /// When the last signal was sent that is needed to know it.
    needed: Option<f64>,
    /// Lines of a time and what is sent then: values, `@state`, `!event`, `online`, `offline`.
    send: String,
    /// When it ends; [`AFTERWARDS`] after the last line if absent.
    until: Option<f64>,
    /// `rule by second`: every rule that must raise an alert, and by when.
    raised: Vec<String>,
    /// `rule by second`: whose alert must be over by then.
    #[serde(default)]
    cleared: Vec<String>,
    /// Rules whose alert must stand at the end.
    #[serde(default)]
    not_cleared: Vec<String>,
    /// Rules that may raise an alert, too. Every other rule must not.
    #[serde(default)]
    also: Vec<String>,
}

impl Scenario {
    fn script(&self, states: &BTreeMap<String, String>) -> Vec<(f64, What)> {
        let lines = self.send.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                let mut words = line.split_whitespace();
                let time = words.next().unwrap().parse().unwrap_or_else(|_| panic!("no time in \"{line}\""));
                let rest: Vec<String> = words
                    .map(|word| match word.strip_prefix('@') {
                        Some(state) => states.get(state).unwrap_or_else(|| panic!("no state @{state}")).clone(),
                        None => word.to_owned(),
                    })
                    .collect();
                let what = match rest[0].as_str() {
                    "online" => What::Online(true),
                    "offline" => What::Online(false),
                    event if event.starts_with('!') => What::Event(rest.join(" ")[1..].to_owned()),
                    _ => What::Values(last_of_each(&rest.join(" "))),
                };
                (time, what)
            })
            .collect()
    }

    fn end(&self, script: &[(f64, What)]) -> f64 {
        self.until.unwrap_or_else(|| script.last().unwrap().0 + AFTERWARDS)
    }

    /// Everything that is not as it must be.
    fn problems(&self, found: &[Told]) -> Vec<String> {
        let mut problems = Vec::new();
        let seconds = |time: model::Timestamp| (time.as_micros() - START) as f64 / 1e6;
        let raised = found.iter().filter_map(|told| match &told.change {
            AlertChange::Raised(alert) => Some(&**alert),
            AlertChange::Changed(_) | AlertChange::Cleared(_) => None,
        });
        let raised: Vec<&Alert> = raised.collect();
        let first = |rule: &str| raised.iter().find(|alert| alert.rule.as_str() == rule);
        for (rule, by) in self.raised.iter().map(|text| expectation(text)) {
            match first(rule) {
                None => problems.push(format!("{rule} was not raised")),
                Some(alert) if seconds(alert.raised_at) > by => {
                    problems.push(format!("{rule} was raised at {}, after {by}", seconds(alert.raised_at)));
                }
                Some(_) => {}
            }
        }
        let expected: BTreeSet<&str> = self.raised.iter().map(|text| expectation(text).0).collect();
        for alert in &raised {
            let rule = alert.rule.as_str();
            if !expected.contains(rule) && !self.also.iter().any(|also| also == rule) {
                problems.push(format!("{rule} was raised at {}", seconds(alert.raised_at)));
            }
        }
        for (rule, by) in self.cleared.iter().map(|text| expectation(text)) {
            let over = found.iter().any(|told| match &told.change {
                AlertChange::Cleared(alert) => {
                    alert.rule.as_str() == rule && alert.cleared_at.is_some_and(|at| seconds(at) <= by)
                }
                AlertChange::Raised(_) | AlertChange::Changed(_) => false,
            });
            if !over {
                problems.push(format!("{rule} was not over at {by}"));
            }
        }
        for rule in &self.not_cleared {
            let ends = |told: &Told| matches!(&told.change, AlertChange::Cleared(alert) if alert.rule.as_str() == rule);
            if found.iter().any(ends) {
                problems.push(format!("{rule} was cleared"));
            }
        }
        // What counts is when it was told, not which time it speaks of.
        let entrapment = found
            .iter()
            .filter(|told| matches!(&told.change, AlertChange::Raised(alert) if alert.kind == TicketKind::Entrapment));
        match (self.inside, self.needed, entrapment.map(|told| told.at).reduce(f64::min)) {
            (true, Some(needed), Some(at)) if at <= needed + ENTRAPMENT_WITHIN => {}
            (true, Some(_), Some(at)) => problems.push(format!("the entrapment was found only at {at}")),
            (true, Some(_), None) => problems.push("the entrapment was not found".to_owned()),
            (true, None, _) => problems.push("it does not say when the last signal was sent (needed)".to_owned()),
            (false, _, Some(at)) => problems.push(format!("nobody is shut in, yet an entrapment was raised at {at}")),
            (false, _, None) => {}
        }
        problems
    }
}

/// Values of which a later one takes the place of an earlier one of the same channel.
fn last_of_each(values: &str) -> String {
    let mut kept: Vec<(&str, &str)> = Vec::new();
    for (channel, value) in values.split_whitespace().map(|pair| pair.split_once('=').unwrap()) {
        kept.retain(|(other, _)| *other != channel);
        kept.push((channel, value));
    }
    kept.iter().map(|(channel, value)| format!("{channel}={value}")).collect::<Vec<_>>().join(" ")
}

/// `"rule by second"`.
fn expectation(text: &str) -> (&str, f64) {
    let (rule, by) = text.split_once(" by ").unwrap_or_else(|| panic!("\"{text}\" is not \"rule by second\""));
    (rule, by.parse().unwrap())
}

/// What was found, and when it was told.
struct Told {
    at: f64,
    change: AlertChange,
}

/// Runs a script until `end`, with the clock looked at often; every message is delivered `copies` times.
fn run(rules: &Arc<Ruleset>, script: &[(f64, What)], end: f64, copies: usize) -> Vec<Told> {
    let mut bench = Bench::with_rules(Arc::clone(rules));
    let mut told = Vec::new();
    let mut tell = |bench: &mut Bench, at: f64| told.extend(bench.out.drain(..).map(|change| Told { at, change }));
    let pace = (end / 500.0).max(0.5);
    let mut clock = script[0].0;
    for (seconds, what) in script {
        while clock + pace < *seconds {
            clock += pace;
            bench.step(clock, &Tick);
            tell(&mut bench, clock);
        }
        clock = *seconds;
        let first = entry(&bench.device.id, *seconds, what).unwrap();
        for copy in 0..copies {
            // A copy comes a little later and says the same.
            let received_at = first.received_at + Duration::from_millis(40 * copy as u64);
            bench.engine.apply(&bench.device, &Entry { received_at, ..first.clone() }, &mut bench.out);
        }
        tell(&mut bench, clock);
    }
    while clock < end {
        clock = (clock + pace).min(end);
        bench.step(clock, &Tick);
        tell(&mut bench, clock);
    }
    told
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_scenario_ends_as_its_label_says() {
    let (mut problems, mut shut_in, mut all, mut names) = (Vec::new(), 0, 0, BTreeSet::new());
    let rules = Arc::new(Ruleset::compile(&shipped_profile("lift")).unwrap());
    for path in files() {
        let file: File = toml::from_str(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for scenario in &file.scenarios {
            let script = scenario.script(&file.states);
            let place = format!("{}: {}", path.file_name().unwrap().to_string_lossy(), scenario.name);
            for (copies, how) in [(1, ""), (2, ", every message twice")] {
                let found = run(&rules, &script, scenario.end(&script), copies);
                problems.extend(scenario.problems(&found).into_iter().map(|what| format!("{place}{how}: {what}")));
            }
            assert!(names.insert(scenario.name.clone()), "two scenarios are named \"{}\"", scenario.name);
            all += 1;
            shut_in += usize::from(scenario.inside);
        }
    }
    assert!(problems.is_empty(), "{} of {all} scenarios:\n{}", problems.len(), problems.join("\n"));
    assert!(all >= 60 && shut_in >= 25, "{all} scenarios, {shut_in} of them with a person shut in");
}
