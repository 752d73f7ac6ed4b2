//! What expressions mean, and what is refused.

use model::Profile;

use super::{Bench, Tick, event, small_profile, values};
use crate::Ruleset;

fn with_condition(condition: &str) -> Profile {
    small_profile(&format!(
        "[[rules]]\nid = \"r\"\ntitle = {{ en = \"R\", zh = \"R\" }}\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = '''{condition}'''\n"
    ))
}

/// Whether the condition holds after these values and five seconds.
fn holds(condition: &str, given: &str) -> bool {
    let mut bench = Bench::new(&with_condition(condition));
    bench.step(0.0, &event("test_ok"));
    if !given.is_empty() {
        bench.step(1.0, &values(given));
    }
    bench.step(5.0, &Tick);
    assert!(bench.out.len() <= 1, "{:?}", bench.lines());
    bench.out.len() == 1
}

#[test]
fn expressions_mean_what_they_say() {
    let given = "temp_c=60 limit_c=50 mains=true mode=service note=abc";
    for (condition, expected) in [
        ("temp_c > 50", true),
        ("50 < temp_c", true),
        ("temp_c >= 61", false),
        ("temp_c > limit_c", true),
        ("temp_c - limit_c == 10", true),
        ("temp_c + limit_c * 2 / 4 > 84.9", true),
        ("-temp_c < -59", true),
        ("abs(limit_c - temp_c) > 9 && abs(-3) > 2.5 + temp_c * 0", true),
        ("!mains", false),
        ("mains == true", true),
        ("mains != (mode == \"service\")", false),
        ("mode == \"service\"", true),
        ("\"normal\" != mode", true),
        ("mode in [\"normal\", \"service\"]", true),
        ("!(mode in [\"stopped\"])", true),
        ("temp_c in [10, 60]", true),
        ("note == \"abc\"", true),
        ("note in [\"x\", \"y\"]", false),
        ("mains ? temp_c > 100 : temp_c < 100", false),
        ("(mains ? temp_c : limit_c) == 60", true),
        ("recent(\"test_ok\", \"1m\")", true),
        ("!recent(\"test_ok\", \"3s\")", true),
        ("recent(\"fault\", \"1h\")", false),
        ("since(\"test_ok\") >= 4", true),
        ("since(\"temp_c\") < since(\"test_ok\")", true),
        ("since(temp_c > 50) <= 0", true),
        ("after(temp_c > 50, \"test_ok\")", true),
        ("after(\"test_ok\", \"fault\")", true),
        ("after(\"fault\", \"test_ok\")", false),
        ("has(temp_c) && !has(pressure_bar)", true),
    ] {
        assert_eq!(holds(condition, given), expected, "{condition}");
    }
}

#[test]
fn what_is_missing_is_unknown() {
    for (condition, given, expected) in [
        ("temp_c > 50", "", false),
        ("!(temp_c > 50)", "", false),
        ("temp_c != 50", "", false),
        ("mains || temp_c > 50", "mains=true", true),
        ("mains || temp_c > 50", "temp_c=60", true),
        ("!(mains && temp_c > 50)", "mains=false", true),
        ("!(mains || temp_c > 50)", "mains=false", false),
        ("since(\"fault\") > 1", "", false),
        ("!(since(\"fault\") > 1)", "", false),
        ("temp_c / limit_c > 1", "temp_c=60 limit_c=0", false),
        ("!(temp_c / limit_c > 1)", "temp_c=60 limit_c=0", false),
        ("!online", "mains=true", false),
        ("mode == \"normal\" ? mains : !mains", "mains=true", false),
    ] {
        assert_eq!(holds(condition, given), expected, "{condition} given {given}");
    }
}

#[test]
fn mistakes_are_refused_with_place_and_remedy() {
    for (condition, expected) in [
        ("temp > 50", "small.toml:65: unknown channel \"temp\"; did you mean \"temp_c\"?"),
        ("mains &&\n  temp > 50", "small.toml:66: unknown channel \"temp\"; did you mean \"temp_c\"?"),
        (
            "fault",
            "small.toml:65: \"fault\" is an event, not a channel; ask when it happened: recent(\"fault\", \"30s\")",
        ),
        ("temp_c", "small.toml:65: the expression is a number, not true or false; compare it with something"),
        ("temp_c + 1", "small.toml:65: the expression is a number, not true or false; compare it with something"),
        ("temp_c && mains", "small.toml:65: true or false is needed here, not a number; compare it with something"),
        ("mode == \"serivce\"", "small.toml:65: \"mode\" has no state \"serivce\"; did you mean \"service\"?"),
        (
            "mode in [\"normal\", \"off\"]",
            "small.toml:65: \"mode\" has no state \"off\"; use one of normal, service, stopped",
        ),
        (
            "mode > 3",
            "small.toml:65: a state cannot be compared with a number in this way; compare numbers with numbers, and states with their names by == != or in",
        ),
        (
            "temp_c > \"50\"",
            "small.toml:65: a number cannot be compared with a text in this way; compare numbers with numbers, and states with their names by == != or in",
        ),
        (
            "temp_c > pressure_bar",
            "small.toml:65: Cel and bar do not go together; compare, add and subtract channels of the same unit only",
        ),
        ("temp_c / 0 > 1", "small.toml:65: the expression divides by zero; divide by something else"),
        (
            "temp_c > 300",
            "small.toml:65: this is never true, as \"temp_c\" lies between -40 and 200 Cel; choose a limit inside the channel's range, or correct the range",
        ),
        (
            "pressure_bar >= 0",
            "small.toml:65: this is always true, as \"pressure_bar\" lies between 0 and 40 bar; choose a limit inside the channel's range, or correct the range",
        ),
        ("true", "small.toml:59: the condition of \"r\" is always true; compare a channel with something"),
        ("1 < 2", "small.toml:65: 1 compared with 2 is always true; compare a channel with a number"),
        ("resent(\"fault\", \"3s\")", "small.toml:65: unknown function resent(); did you mean \"recent\"?"),
        ("recent(\"fualt\", \"3s\")", "small.toml:65: unknown event \"fualt\"; did you mean \"fault\"?"),
        (
            "recent(\"fault\", \"3 parsecs\")",
            "small.toml:65: \"3 parsecs\" is not a duration; write a text such as \"30s\" or \"10m\"",
        ),
        ("recent(\"fault\", 30)", "small.toml:65: a duration is needed here; write a text such as \"30s\" or \"10m\""),
        ("recent(\"fault\")", "small.toml:65: recent() does not take 1 arguments; write recent(\"event\", \"30s\")"),
        (
            "recent(temp_c, \"30s\")",
            "small.toml:65: recent, since and after ask about an event, a channel or a condition, not a number; put the name in quotes, such as since(\"alarm_button\")",
        ),
        (
            "since(\"fault\") + 1 > 3",
            "small.toml:65: a number is needed here, not a time since something; use a number channel or a number",
        ),
        (
            "since(\"fault\") > temp_c",
            "small.toml:65: since() can only be compared with a number of seconds or another since(); write it as since(\"event\") > 60, with < <= > or >=",
        ),
        (
            "recent(recent(\"fault\", \"3s\"), \"3s\")",
            "small.toml:65: questions about the past cannot be nested; ask them one beside the other, joined by && and ||",
        ),
        ("has(temp)", "small.toml:65: unknown channel \"temp\"; did you mean \"temp_c\"?"),
        (
            "note.contains(\"x\")",
            "small.toml:65: the method contains() is not available; use one of the functions abs, after, avg, baseline, count, has, increase, max, min, peers, percentile, rate, recent, sequence, since, time_in",
        ),
        (
            "temp_c % 2 == 0",
            "small.toml:65: the operator % is not available; use + - * / < <= > >= == != && || ! in and ? :",
        ),
        ("mode in []", "small.toml:65: nothing is in an empty list; name at least one value"),
        (
            "temp_c > 50 &&",
            "small.toml:65: the expression cannot be read: mismatched input '<EOF>'; see docs/profiles.md for what an expression can say",
        ),
        (" ", "small.toml:65: the expression is empty; write a condition over the channels"),
    ] {
        assert_eq!(Ruleset::compile(&with_condition(condition)).unwrap_err().to_string(), expected, "{condition}");
    }
}

#[test]
fn size_is_limited() {
    let error = |condition: &str| Ruleset::compile(&with_condition(condition)).unwrap_err().to_string();
    let wide = vec!["mains"; 300].join(" && ");
    assert_eq!(
        error(&wide),
        "small.toml:65: the expression is too large (at most 512 parts, nested at most 32 deep); split the rule, or make it a fusion of several signals"
    );
    assert!(error(&vec!["temp_c > 1"; 1000].join(" && ")).contains("keep it below 4096 bytes"));
    let deep = format!("{}temp_c > 1{}", "!(mains || ".repeat(40), ")".repeat(40));
    assert!(error(&deep).contains("too large"), "{}", error(&deep));
    assert!(
        error(&format!("{}temp_c > 1{}", "(".repeat(1500), ")".repeat(1500)))
            .starts_with("small.toml:65: the expression")
    );
}
