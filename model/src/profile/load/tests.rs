use std::path::Path;

use super::*;
use crate::profile::{Located, Misfit};

const HEAD: &str = "[profile]\nid = \"pump\"\nname = { en = \"Pump\", zh = \"水泵\" }\nversion = 1\n\
    [[channels]]\nid = \"pressure_bar\"\nname = { en = \"Pressure\", zh = \"压力\" }\ntype = \"number\"\nunit = \"bar\"\nrange = [0.0, 40.0]\n";

fn error(tail: &str) -> String {
    Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{tail}")).unwrap_err().to_string()
}

#[test]
fn errors_name_file_line_and_remedy() {
    let detector = "[[detectors]]\nid = \"d\"\ntitle = { en = \"x\", zh = \"x\" }\nchannel = \"presure_bar\"\nwarm_up = 50\nsigmas = 5.0\nseverity = \"minor\"\nticket = \"forecast\"\n";
    assert_eq!(error(detector), "pump.toml:14: unknown channel \"presure_bar\"; did you mean \"pressure_bar\"?");
    assert!(error("[[events]]\ncodes = \"x\"\n").contains("unknown field `codes`"));
    let rule = "[[rules]]\nid = \"r\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"minor\"\nticket = \"breakdown\"\n";
    assert!(error(rule).contains("exactly one condition"));
    assert!(error(&format!("{rule}when = \"true\"\nfor = \"ten\"\n")).contains("\"ten\" is not a duration"));
}

#[test]
fn a_life_safety_rule_cannot_be_inhibited() {
    let rule = "[[rules]]\nid = \"r\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"critical\"\nticket = \"entrapment\"\nwhen = \"true\"\nunless = \"false\"\n";
    let parsed = Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{rule}")).unwrap();
    assert_eq!(parsed.rules[0].unless, Some(Located { value: "false".to_owned(), line: 18 }));
    assert_eq!(
        error(&format!("{rule}life_safety = true\n")),
        "pump.toml:18: the life-safety rule \"r\" must never be inhibited; remove unless, or make what it says part of the condition"
    );
}

#[test]
fn a_life_safety_rule_is_never_on_trial() {
    let rule = "[[rules]]\nid = \"r\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = \"true\"\ndry_run = true\n";
    assert!(Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{rule}")).unwrap().rules[0].dry_run);
    assert_eq!(
        error(&format!("{rule}life_safety = true\n")),
        "pump.toml:11: the life-safety rule \"r\" must call people, not be on trial; remove dry_run; or remove life_safety for as long as the rule is on trial"
    );
}

#[test]
fn values_outside_the_physical_range_do_not_fit() {
    let profile = Profile::parse(Path::new("pump.toml"), HEAD).unwrap();
    let channel = profile.channel("pressure_bar").unwrap();
    assert!(channel.check(&crate::Value::Number(3.0)).is_ok());
    assert!(matches!(channel.check(&crate::Value::Number(400.0)), Err(Misfit::Range { .. })));
    assert!(matches!(channel.check(&crate::Value::Bool(true)), Err(Misfit::Type { .. })));
    assert!(channel.check(&crate::Value::Number(f64::NAN)).is_err());
}

/// A profile with a safety chain, and one line of a command after it, at line 15.
fn with_chain(line: &str) -> Result<Profile, String> {
    let text = format!(
        "{HEAD}[[channels]]\nid = \"gate_closed\"\nname = {{ en = \"Gate\", zh = \"门\" }}\ntype = \"bool\"\nsafety_chain = true\n\
         [[commands]]\ntitle = {{ en = \"x\", zh = \"x\" }}\ntimeout = \"30s\"\n{line}\n"
    );
    Profile::parse(Path::new("pump.toml"), &text).map_err(|error| error.to_string())
}

#[test]
fn nothing_that_comes_near_a_safety_chain_is_loaded() {
    let refused = |line: &str| with_chain(line).unwrap_err();
    for (line, error) in [
        (
            "name = \"identify\"\nwrites = [\"gate_closed\"]",
            "pump.toml:20: the command \"identify\" writes the channel \"gate_closed\", which is of the safety chain; \
             remove the command: nothing that the hub sends may reach a safety chain",
        ),
        (
            "name = \"set_gateClosed\"",
            "pump.toml:19: the command \"set_gateClosed\" names the channel \"gate_closed\", which is of the safety chain; \
             remove it: nothing that the hub sends may reach a safety chain",
        ),
        (
            "name = \"configure\"\nparams = [\"seconds\", \"GATE-CLOSED\"]",
            "pump.toml:20: the argument \"GATE-CLOSED\" names the channel \"gate_closed\", which is of the safety chain; \
             remove it: nothing that the hub sends may reach a safety chain",
        ),
        (
            "name = \"Bypass.pit\"",
            "pump.toml:19: the command \"Bypass.pit\" is of a forbidden kind (\"bypass\"); \
             remove it: nothing that the hub sends may reach a safety chain",
        ),
        (
            "name = \"configure\"\nparams = [\"safetyMargin\"]",
            "pump.toml:20: the argument \"safetyMargin\" is of a forbidden kind (\"safety\"); \
             remove it: nothing that the hub sends may reach a safety chain",
        ),
        (
            "name = \"openDoor\"",
            "pump.toml:19: the command \"openDoor\" is of a kind (\"open\") that is forbidden on a machine with a safety \
             chain; remove it: nothing that the hub sends may move the machine, its doors or its locks",
        ),
        (
            "name = \"identify\"\nwrites = [\"presure_bar\"]",
            "pump.toml:20: unknown channel \"presure_bar\"; did you mean \"pressure_bar\"?",
        ),
    ] {
        assert_eq!(refused(line), error);
    }
    for name in ["reset_safety_gear", "brake-release", "UNLOCK", "eStop", "door_lock_2", "overspeed_test", "ucmp"] {
        assert!(refused(&format!("name = \"{name}\"")).contains("forbidden kind"), "{name}");
    }
    let loaded = with_chain("name = \"set_interval\"\nparams = [\"seconds\"]\nwrites = [\"pressure_bar\"]").unwrap();
    assert_eq!(loaded.commands[0].params, ["seconds"]);
    assert_eq!(loaded.commands[0].writes[0].as_str(), "pressure_bar");
    // A machine without a safety chain may be started from afar; a safety device is out of reach there, too.
    let without = |name: &str| {
        let command =
            format!("[[commands]]\nname = \"{name}\"\ntitle = {{ en = \"x\", zh = \"x\" }}\ntimeout = \"30s\"\n");
        Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{command}"))
    };
    assert!(without("start").is_ok());
    assert!(without("start_override").is_err());
    assert_eq!(
        error(
            "[[commands]]\nname = \"a\"\ntitle = { en = \"x\", zh = \"x\" }\ntimeout = \"30s\"\n[[commands]]\nname = \"a\"\ntitle = { en = \"x\", zh = \"x\" }\ntimeout = \"30s\"\n"
        ),
        "pump.toml:16: the command \"a\" is declared twice; remove one of the two"
    );
}

#[test]
fn only_what_is_declared_is_sent() {
    let profile = with_chain("name = \"set_interval\"\nparams = [\"seconds\", \"what\"]").unwrap();
    let refused = |command: &str, args: serde_json::Value| {
        profile.allow(command, args.as_object().unwrap()).map_err(|refusal| refusal.to_string()).unwrap_err()
    };
    use serde_json::json;
    assert!(profile.allow("set_interval", json!({ "seconds": 5, "what": ["a"] }).as_object().unwrap()).is_ok());
    assert_eq!(
        refused("set_intervall", json!({})),
        "the profile \"pump\" does not allow the command \"set_intervall\"; did you mean \"set_interval\"?"
    );
    assert_eq!(
        refused("set_interval", json!({ "second": 5 })),
        "the command \"set_interval\" takes no argument \"second\"; did you mean \"seconds\"?"
    );
    let reaches = "the argument \"what\" names the channel \"gate_closed\", which is of the safety chain; nothing that \
                   the hub sends may reach a safety chain";
    for value in [json!("gate_closed"), json!(["x", "gateClosed"]), json!({ "x": { "gate.closed": 1 } })] {
        assert_eq!(refused("set_interval", json!({ "what": value })), reaches);
    }
}
