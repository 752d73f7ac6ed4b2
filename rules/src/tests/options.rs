//! Overrides for some devices, and severities that change with time.

use std::path::Path;

use model::Profile;

use super::{Bench, Tick, What, small_profile, values};
use crate::Ruleset;

const HOT: &str = "[[rules]]\nid = \"hot\"\ntitle = { en = \"Hot\", zh = \"热\" }\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = 'temp_c > 100'\n";

fn overridden(text: &str) -> Result<Profile, model::ProfileError> {
    let text = format!("{}\n{HOT}\n[[overrides]]\n{text}", include_str!("small.toml"));
    let profile = Profile::parse(Path::new("small.toml"), &text)?;
    Ruleset::compile(&profile)?;
    Ok(profile)
}

#[test]
fn a_rule_may_be_otherwise_on_one_device() {
    let script = [(0.0, values("temp_c=90")), (10.0, values("temp_c=120")), (20.0, values("temp_c=50"))];
    let here = |text: &str| {
        let mut bench = Bench::new(&overridden(text).unwrap());
        for (seconds, what) in &script {
            bench.step(*seconds, what);
        }
        (bench.lines(), bench.out.first().map(|change| change.alert().severity))
    };
    let rest = "rule = \"hot\"\nsource = \"its oven is beside it\"";
    let plain = vec!["00:10 raised hot".to_owned(), "00:20 cleared hot".to_owned()];
    assert_eq!(here(&format!("devices = [\"dev-2\"]\n{rest}\noff = true")).0, plain);
    assert_eq!(here(&format!("devices = [\"dev-1\"]\n{rest}\noff = true")).0, [""; 0]);
    assert_eq!(here(&format!("devices = [\"dev-1\"]\n{rest}\nfor = \"30s\"")).0, [""; 0]);
    let (lines, severity) =
        here(&format!("devices = [\"dev-2\", \"dev-1\"]\n{rest}\nwhen = 'temp_c > 80'\nseverity = \"major\""));
    assert_eq!(lines, ["00:00 raised hot", "00:20 cleared hot"]);
    assert_eq!(severity, Some(model::Severity::Major));
}

#[test]
fn what_stands_survives_an_override_and_its_snapshot() {
    let profile = overridden("devices = [\"dev-1\"]\nrule = \"hot\"\nsource = \"t\"\nwhen = 'temp_c > 80'").unwrap();
    let plain = small_profile(HOT);
    let mut bench = Bench::new(&plain);
    bench.step(0.0, &values("temp_c=120"));
    bench.load(&profile);
    bench.step(1.0, &values("temp_c=95"));
    let snapshot = bench.engine.snapshot();
    let mut again = Bench::new(&profile);
    let report = again.engine.restore(&snapshot).unwrap();
    assert_eq!(report.notes, [""; 0]);
    again.step(2.0, &values("temp_c=70"));
    assert_eq!(bench.lines(), ["00:00 raised hot"]);
    assert_eq!(again.lines(), ["00:02 cleared hot"]);
}

#[test]
fn an_override_that_cannot_be_is_refused() {
    let refused = |text: &str| overridden(text).unwrap_err().to_string();
    let device = "devices = [\"dev-1\"]\nsource = \"t\"";
    let cases = [
        (format!("{device}\nrule = \"hop\""), "unknown rule \"hop\"; did you mean \"hot\"?"),
        (
            format!("{device}\nrule = \"hot\"\nafter = \"1m\""),
            "the override of \"hot\" has after, which goes with a rule of absence; remove after, or write a rule of its own",
        ),
        (format!("{device}\nrule = \"hot\"\nwhen = 'temp_c > 1000'"), ""),
        (
            format!("{device}\nrule = \"hot\"\n[[overrides]]\n{device}\nrule = \"hot\"\noff = true"),
            "the rule \"hot\" has two overrides for dev-1; make one of the two",
        ),
        (
            "devices = []\nsource = \"t\"\nrule = \"hot\"".to_owned(),
            "the override names no devices; write devices = [\"…\", …]",
        ),
    ];
    for (text, expected) in cases {
        let message = refused(&text);
        assert!(message.starts_with("small.toml:") && message.contains(expected), "{text}: {message}");
    }
    let lift = include_str!("../../../profiles/lift.toml");
    let text = format!("{lift}\n[[overrides]]\n{device}\nrule = \"entrapment\"\noff = true\n");
    let message = Profile::parse(Path::new("lift.toml"), &text).unwrap_err().to_string();
    assert!(message.contains("the life-safety rule \"entrapment\" is the same on every device"), "{message}");
}

#[test]
fn an_alert_that_stands_becomes_worse_and_better_with_time() {
    let profile = small_profile(&HOT.replace(
        "ticket =",
        "severity_after = [{ after = \"1m\", severity = \"major\" }, { after = \"1h\", severity = \"info\" }]\nticket =",
    ));
    let told = |script: &[(f64, What)]| {
        let mut bench = Bench::new(&profile);
        for (seconds, what) in script {
            bench.step(*seconds, what);
        }
        let line = |change: &model::AlertChange| format!("{} {}", super::line(change), change.alert().severity);
        bench.out.iter().map(line).collect::<Vec<_>>()
    };
    let script = [(10.0, values("temp_c=120")), (69.0, Tick), (3800.0, Tick), (3900.0, values("temp_c=20"))];
    assert_eq!(told(&script[..2]), ["00:10 raised hot minor"]);
    assert_eq!(
        told(&script),
        ["00:10 raised hot minor", "01:10 changed hot major", "60:10 changed hot info", "65:00 cleared hot info"]
    );
    // It ends before it would have become worse.
    assert_eq!(
        told(&[(10.0, values("temp_c=120")), (70.0, values("temp_c=20")), (300.0, Tick)]),
        ["00:10 raised hot minor", "01:10 cleared hot minor"]
    );
}

#[test]
fn severities_out_of_order_or_falling_for_life_safety_are_refused() {
    let refused = |rest: &str| {
        let text = format!("{}\n{}", include_str!("small.toml"), HOT.replace("ticket =", &format!("{rest}\nticket =")));
        Profile::parse(Path::new("small.toml"), &text).unwrap_err().to_string()
    };
    let steps = |a: &str, b: &str| {
        format!(
            "severity_after = [{{ after = \"{a}\", severity = \"major\" }}, {{ after = \"{b}\", severity = \"info\" }}]"
        )
    };
    assert!(refused(&steps("1h", "10m")).contains("the severities of \"hot\" are not in order of time"));
    assert!(refused(&steps("0s", "10m")).contains("not in order of time"));
    let falling = format!("life_safety = true\n{}", steps("10m", "1h"));
    assert!(refused(&falling).contains("the severity of the life-safety rule \"hot\" must not fall"));
}
