//! What must hold for any script.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use model::{AlertChange, AlertId, Profile, profile::Condition};
use proptest::prelude::*;

use super::{Bench, Online, Tick, What, event, late, late_event, small_profile, values};
use crate::Ruleset;

static RULESET: LazyLock<Arc<Ruleset>> = LazyLock::new(|| Arc::new(Ruleset::compile(&small_profile(RULES)).unwrap()));

/// A profile with one rule.
static PLAIN: LazyLock<Profile> = LazyLock::new(|| {
    small_profile(
        "[[rules]]\nid = \"r\"\ntitle = { en = \"R\", zh = \"规\" }\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = 'mains'\n",
    )
});

const RULES: &str = r#"
[[rules]]
id = "hot"
title = { en = "Hot", zh = "热" }
source = "test"
severity = "minor"
severity_after = [{ after = "4s", severity = "major" }, { after = "20s", severity = "info" }]
ticket = "breakdown"
when = 'temp_c > 100'
for = "5s"
clear_when = 'temp_c < 80'
clear_for = "3s"

[[rules]]
id = "fault"
title = { en = "Fault", zh = "故障" }
source = "test"
severity = "minor"
ticket = "breakdown"
event = { codes = ["fault"], clear_codes = ["fixed"] }
clear_for = "2s"

[[rules]]
id = "silent"
title = { en = "Silent", zh = "静默" }
source = "test"
severity = "minor"
ticket = "breakdown"
absence = { after = "20s" }
unless = '!mains'

[[rules]]
id = "no_test"
title = { en = "No test", zh = "无测试" }
source = "test"
severity = "minor"
ticket = "test_failure"
absence = { event = "test_ok", after = "25s" }

[[rules]]
id = "fused"
title = { en = "Fused", zh = "融合" }
source = "test"
severity = "critical"
ticket = "entrapment"
life_safety = true
for = "2s"
fusion = { threshold = 3.0, signals = [
  { id = "a", name = { en = "a", zh = "甲" }, when = 'recent("fault", "10s") && !after(mode == "normal", "fault")', weight = 2.0 },
  { id = "b", name = { en = "b", zh = "乙" }, when = 'temp_c > 60 || !mains', weight = 1.0 },
  { id = "c", name = { en = "c", zh = "丙" }, when = 'mode == "stopped"', weight = 1.0 },
  { id = "d", name = { en = "d", zh = "丁" }, when = 'mode == "service"', weight = -2.0 },
] }
"#;

fn what() -> impl Strategy<Value = What> {
    let state = prop_oneof![Just("normal"), Just("service"), Just("stopped")];
    let code = prop_oneof![Just("fault"), Just("fixed"), Just("test_ok")];
    prop_oneof![
        4 => (40..140i32).prop_map(|temp| values(&format!("temp_c={temp}"))),
        2 => state.prop_map(|state| values(&format!("mode={state}"))),
        2 => any::<bool>().prop_map(|mains| values(&format!("mains={mains}"))),
        3 => code.clone().prop_map(event),
        2 => (40..140i32, 0..40i32).prop_map(|(temp, age)| late(&format!("temp_c={temp}"), f64::from(age) * 0.5)),
        1 => (code, 0..40i32).prop_map(|(code, age)| late_event(code, f64::from(age) * 0.5)),
        1 => any::<bool>().prop_map(Online),
        2 => Just(Tick),
    ]
}

fn script() -> impl Strategy<Value = Vec<(f64, What)>> {
    proptest::collection::vec((0..400u32, what()), 1..60).prop_map(|steps| {
        let mut clock = 0.0;
        steps
            .into_iter()
            .map(|(gap, what)| {
                clock += f64::from(gap) * 0.05;
                (clock, what)
            })
            .collect()
    })
}

fn run(script: &[(f64, What)]) -> Bench {
    let mut bench = Bench::with_rules(Arc::clone(&RULESET));
    for (seconds, what) in script {
        bench.step(*seconds, what);
    }
    bench
}

fn ids(out: &[AlertChange]) -> BTreeSet<AlertId> {
    out.iter().map(|change| change.alert().id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_again_gives_the_same(script in script()) {
        let once = run(&script);
        let again = run(&script);
        prop_assert_eq!(&once.out, &again.out);
        prop_assert_eq!(once.engine.snapshot(), again.engine.snapshot());
    }

    #[test]
    fn a_message_that_comes_twice_changes_nothing(script in script()) {
        // What an old message makes due at once is found with the next look at the clock.
        let script: Vec<_> = script.iter().cloned().chain(script.last().map(|(end, _)| (*end, Tick))).collect();
        let doubled: Vec<_> = script.iter().flat_map(|step| [step.clone(), step.clone()]).collect();
        prop_assert_eq!(run(&script).lines(), run(&doubled).lines());
    }

    #[test]
    fn going_back_to_a_snapshot_finds_the_same_alerts(script in script(), cut in any::<proptest::sample::Index>(), crash in any::<proptest::sample::Index>()) {
        let crash = crash.index(script.len() + 1);
        let cut = cut.index(crash + 1);
        let mut bench = run(&script[..cut]);
        let saved = bench.engine.snapshot();
        for (seconds, what) in &script[cut..crash] {
            bench.step(*seconds, what);
        }
        let before_crash = ids(&bench.out);
        let mut restored = Bench::with_rules(Arc::clone(&RULESET));
        let report = restored.engine.restore(&saved).unwrap();
        prop_assert!(report.notes.is_empty());
        restored.out = run(&script[..cut]).out;
        for (seconds, what) in &script[cut..] {
            restored.step(*seconds, what);
        }
        let uninterrupted = run(&script);
        prop_assert_eq!(&restored.out, &uninterrupted.out);
        prop_assert_eq!(restored.engine.snapshot(), uninterrupted.engine.snapshot());
        prop_assert!(before_crash.is_subset(&ids(&uninterrupted.out)));
    }

    #[test]
    fn alerts_of_a_rule_never_overlap_and_every_end_has_its_beginning(script in script()) {
        let bench = run(&script);
        let mut standing = std::collections::BTreeMap::new();
        let mut ended = std::collections::BTreeMap::new();
        for change in &bench.out {
            let alert = change.alert();
            match change {
                AlertChange::Raised(alert) => {
                    prop_assert!(standing.insert(alert.rule.clone(), alert.id).is_none());
                    prop_assert!(ended.get(&alert.rule).is_none_or(|ended| *ended < alert.raised_at));
                }
                AlertChange::Changed(alert) => prop_assert_eq!(standing.get(&alert.rule), Some(&alert.id)),
                AlertChange::Cleared(alert) => {
                    prop_assert_eq!(standing.remove(&alert.rule), Some(alert.id));
                    prop_assert!(alert.cleared_at.unwrap() >= alert.raised_at);
                    ended.insert(alert.rule.clone(), alert.cleared_at.unwrap());
                }
            }
            prop_assert!(!alert.evidence.summary.en.is_empty() && !alert.evidence.summary.zh.is_empty());
        }
        prop_assert_eq!(ids(&bench.out).len(), bench.out.iter().filter(|c| matches!(c, AlertChange::Raised(_))).count());
    }

    #[test]
    fn looking_at_the_clock_more_often_changes_nothing(script in script(), parts in 1..9u32) {
        let plain = run(&script);
        let mut ticked = Bench::with_rules(Arc::clone(&RULESET));
        let mut clock = 0.0;
        for (seconds, what) in &script {
            for part in 1..parts {
                ticked.step(clock + (seconds - clock) * f64::from(part) / f64::from(parts), &Tick);
            }
            ticked.step(*seconds, what);
            clock = *seconds;
        }
        prop_assert_eq!(plain.lines(), ticked.lines());
    }

    #[test]
    fn nothing_that_is_written_makes_the_compiler_panic(text in "[a-z_\"0-9 ()&|!<>=.,?:+*/%\\[\\]-]{0,60}") {
        let mut profile = PLAIN.clone();
        if let Condition::When(located) = &mut profile.rules[0].condition {
            located.value = text;
        }
        // Refused or not, it must come to an end without a panic.
        drop(Ruleset::compile(&profile));
    }
}
