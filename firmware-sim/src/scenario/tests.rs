//! The built-in scenarios, and what a mistake in a file is answered with.

use std::collections::HashSet;

use super::*;
use crate::lift::Injection;

const SITE: &str = "[[sites]]\nname = \"A\"\nids = \"a\"\nlifts = 3\nplates_from = 100001\n";

fn error(body: &str) -> String {
    Scenario::parse(Path::new("s.toml"), body).unwrap_err().to_string()
}

#[test]
fn every_built_in_scenario_loads_and_has_unique_six_digit_plates() {
    for (name, _) in BUILT_IN {
        let scenario = Scenario::load(name).unwrap();
        assert_eq!(scenario.name, *name);
        assert!(!scenario.about.is_empty());
        let devices = scenario.devices();
        let plates: HashSet<_> = devices.iter().filter_map(|device| device.plate.clone()).collect();
        assert_eq!(plates.len(), devices.len());
        assert!(plates.iter().all(|plate| plate.len() == 6 && plate.bytes().all(|b| b.is_ascii_digit())));
    }
}

#[test]
fn the_demo_is_what_it_promises() {
    let demo = Scenario::load("demo").unwrap();
    let lifts: Vec<_> = demo.sites.iter().map(|site| site.lifts).collect();
    assert_eq!(lifts, [12, 8, 40]);
    let cuts = demo
        .scripts
        .iter()
        .flat_map(|script| &script.acts)
        .filter(|(at, act)| at.as_secs() == 25 && matches!(act, Act::Lift(Injection::Cut(_))))
        .count();
    assert_eq!(cuts, 40);
    let history: Vec<_> = demo.scripts.iter().filter_map(|script| script.history.as_ref()).collect();
    assert_eq!(history.len(), 1);
    let now = Timestamp::from_secs(1_800_000_000);
    let spec = demo.lifts(now).remove(demo.scripts.iter().position(|script| script.history.is_some()).unwrap());
    let reports = history[0].reports(&spec, now);
    assert!(reports.len() >= 14 * 24 && reports.windows(2).all(|pair| pair[0].time() <= pair[1].time()));
    assert!(reports.iter().all(|report| report.time() < now));
}

#[test]
fn mistakes_are_named_with_file_line_and_remedy() {
    let head = "[scenario]\nname = \"x\"\n";
    let cases = [
        (format!("{head}sped = 2\n{SITE}"), "s.toml:3: unknown field `sped`"),
        (format!("{head}speed = 0.1\n{SITE}"), "s.toml:3: speed is 0.1; use a number from 1 to 10000"),
        (format!("{head}speed = 10\n{SITE}"), "s.toml:1: a scenario that runs faster than real time has no duration"),
        (format!("{head}duration = \"5 parsecs\"\n{SITE}"), "s.toml:3: \"5 parsecs\" is not a duration"),
        (
            format!("{head}{SITE}[[actions]]\nkind = \"silent\"\nat = \"1s\"\ndevice = \"b-01\"\nfor = \"1m\"\n"),
            "s.toml:11: there is no device \"b-01\" in this scenario; the devices go from a-01 to a-03",
        ),
        (
            format!("{head}{SITE}[[actions]]\nkind = \"silent\"\nat = \"1s\"\nsite = \"B\"\nfor = \"1m\"\n"),
            "s.toml:11: there is no site \"B\" in this scenario; use one of \"A\"",
        ),
        (
            format!("{head}{SITE}[[actions]]\nkind = \"silent\"\nat = \"1s\"\nfor = \"1m\"\n"),
            "s.toml:8: the action does not say for which lifts it is",
        ),
        (
            format!("{head}{SITE}[[actions]]\nkind = \"silent\"\nat = \"1s\"\ndevice = \"a-01\"\n"),
            "s.toml:8: an action of kind silent needs for; add for = \"15m\"",
        ),
        (
            format!("{head}{SITE}[[actions]]\nkind = \"repair\"\nat = \"1s\"\ndevice = \"a-01\"\nover = \"1m\"\n"),
            "s.toml:8: over means nothing in an action of kind repair; remove it; it belongs to wear",
        ),
        (format!("{head}{SITE}{}", SITE.replace("\"a\"", "\"b\"")), "\"100001\" is used at \"A\" and again at \"A\""),
        (format!("{head}{}", SITE.replace("lifts = 3", "lifts = 0")), "s.toml:6: a site cannot have 0 lifts"),
    ];
    for (text, expected) in cases {
        let said = error(&text);
        assert!(said.contains(expected), "expected {expected:?} in {said:?}");
    }
}

#[test]
fn a_missing_file_lists_the_built_in_scenarios() {
    let said = Scenario::load("no-such-file").unwrap_err().to_string();
    assert!(said.contains("no-such-file") && said.contains("power-cut"), "{said}");
}

#[test]
fn the_demo_tells_its_stories_in_time() {
    let demo = Scenario::load("demo").unwrap();
    let start = Timestamp::from_secs(1_800_000_000);
    let mut told = std::collections::BTreeMap::new();
    let mut trapped = Vec::new();
    demo.rehearse(start, Duration::from_secs(100), |device, output| match output {
        Output::Report(crate::wire::Report::Event { time, code, .. }) => {
            let at = time.since(start).as_secs();
            told.entry((device.to_string(), code.to_string())).or_insert(at);
        }
        Output::Report(_) => {}
        Output::Truth(note) => {
            if note.cause == "trapped" {
                trapped.push((device.to_string(), note.phase, note.time.since(start).as_secs()));
            }
        }
    });
    let at = |device: &str, code: &str| told.get(&(device.to_owned(), code.to_owned())).copied();
    assert!(at("gc-04", "alarm_button").is_some_and(|s| (10..20).contains(&s)), "{told:?}");
    assert!(at("gc-04", "alarm_end").is_some_and(|s| (65..82).contains(&s)), "{told:?}");
    for lift in 1..=40 {
        assert_eq!(at(&format!("ht-{lift:02}"), "mains_lost"), Some(25));
        assert_eq!(at(&format!("ht-{lift:02}"), "mains_restored"), Some(70));
    }
    // The rescue devices of the tower let everybody out soon; only the scripted entrapment lasts.
    for pair in trapped.iter().filter(|(device, ..)| device.starts_with("ht-")).collect::<Vec<_>>().chunks(2) {
        assert!(pair.len() == 2 && pair[1].2 - pair[0].2 < 15, "{pair:?}");
    }
}
