//! The commands that score forecasts, on tiny made-up data and on data nobody would wish for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{fmt::Write as _, path::Path};

use it::hub::run_liftline;

/// Runs a command in a folder that holds the files; returns whether it went well, what it said, and the file `out`.
fn run(files: &[(&str, &str)], args: &[&str], out: &str) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let (ok, said, err) = run_liftline(folder.path(), args, "");
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    (ok, format!("{said}{err}"), std::fs::read_to_string(folder.path().join(out)).unwrap_or_default())
}

/// Numbers that look random and are the same each time.
fn wobble(n: usize) -> f64 {
    (n.wrapping_mul(2_654_435_761) % 1_000_003) as f64 / 1_000_003.0
}

fn scores(table: &str) -> Vec<f64> {
    table.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
}

const DETECT: &[&str] = &["detect", "--data", "in.csv", "--out", "out.csv"];

#[test]
fn detect_scores_a_jump_and_every_odd_table_keeps_its_rows() {
    let table = |cells: &dyn Fn(usize) -> String| {
        let mut text = "timestamp,a,b\n".to_owned();
        for n in 0..600 {
            writeln!(text, "{},{}", 1_700_000_000 + 300 * n, cells(n)).unwrap();
        }
        text
    };
    let jump = table(&|n| format!("{},{}", wobble(n), if n == 500 { 40.0 } else { wobble(n + 7) }));
    let (ok, said, out) = run(&[("in.csv", &jump)], DETECT, "out.csv");
    assert!(ok, "{said}");
    let found = scores(&out);
    assert!(found.len() == 600 && found[500] > 0.5, "{:?}", found.get(495..505));
    let odd: [(&str, &dyn Fn(usize) -> String); 6] = [
        ("constant columns", &|_| "1,7".to_owned()),
        ("nothing but NaN", &|_| "NaN,".to_owned()),
        ("infinities", &|n| if n % 3 == 0 { "inf,-inf".to_owned() } else { format!("{},1", wobble(n)) }),
        ("huge values", &|n| format!("{}e307,{}", 1.0 + wobble(n), if n % 2 == 0 { "1e308" } else { "-1e308" })),
        ("words and short rows", &|n| if n % 5 == 0 { "many".to_owned() } else { format!("{},2", wobble(n)) }),
        ("tiny steps", &|n| format!("{}e-308,{}", n, 1e15 + wobble(n))),
    ];
    for (name, cells) in odd {
        let (ok, said, out) = run(&[("in.csv", &table(cells))], DETECT, "out.csv");
        assert!(ok, "{name}: {said}");
        let found = scores(&out);
        assert_eq!(found.len(), 600, "{name}");
        assert!(found.iter().all(|score| (0.0..=1.0).contains(score)), "{name}: a score outside 0 to 1");
    }
    let constant = run(&[("in.csv", &table(&|_| "1,7".to_owned()))], DETECT, "out.csv");
    assert!(scores(&constant.2).iter().all(|score| *score <= 0.1), "what never changes lies within what was seen");
}

#[test]
fn detect_takes_rows_in_the_order_of_the_file_and_says_what_is_odd() {
    let rows: Vec<String> = (0..200).map(|n| format!("{},{}", 1_700_000_000 + 60 * n, wobble(n))).collect();
    let twice: String = rows.iter().flat_map(|row| [row.as_str(), "\n", row.as_str(), "\n"]).collect();
    let (ok, said, out) = run(&[("in.csv", &format!("time,a\n{twice}"))], DETECT, "out.csv");
    assert!(ok && said.contains("not later than the one before"), "{said}");
    assert_eq!(out.lines().count(), 401);
    let backwards: String = rows.iter().rev().flat_map(|row| [row.as_str(), "\n"]).collect();
    let (ok, said, out) = run(&[("in.csv", &format!("time,a\n{backwards}"))], DETECT, "out.csv");
    assert!(ok && said.contains("not later than the one before"), "{said}");
    assert_eq!(out.lines().count(), 201);
    // A thousand columns.
    let names: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let mut wide = format!("time,{}\n", names.join(","));
    for n in 0..80 {
        let cells: Vec<String> = (0..1000).map(|c| format!("{:.3}", wobble(n * 1000 + c))).collect();
        writeln!(wide, "{},{}", 1_700_000_000 + 60 * n, cells.join(",")).unwrap();
    }
    let (ok, said, out) = run(&[("in.csv", &wide)], DETECT, "out.csv");
    assert!(ok && out.lines().count() == 81, "{said}");
    for (text, words) in [
        ("", "is empty"),
        ("time,a\n", "has no rows"),
        ("time\n2020-01-01\n", "no column of values"),
        ("a,b\n1,2\n", "no time column"),
        ("time,a\nsoon,1\n", "no time of the column"),
    ] {
        let (ok, said, _) = run(&[("in.csv", text)], DETECT, "out.csv");
        assert!(!ok && said.contains(words), "{text:?}: {said}");
    }
    let (ok, said, _) = run(&[], DETECT, "out.csv");
    assert!(!ok && said.contains("in.csv cannot be read"), "{said}");
}

/// Runs that wear out: the first channel falls over the last 60 cycles, the second never changes.
fn runs(units: usize, cut: usize, change: impl Fn(usize, usize, [f64; 3]) -> String) -> String {
    let mut text = String::new();
    for unit in 1..=units {
        let life = 120 + (unit * 37) % 80;
        for cycle in 1..=life - cut.min(life - 10) {
            let worn = 1.0 - (life - cycle) as f64 / 60.0;
            let noise = wobble(unit * 1000 + cycle);
            let values = [100.0 - 5.0 * worn.max(0.0) + noise, 3.0, noise];
            writeln!(text, "{unit} {cycle} {}", change(unit, cycle, values)).unwrap();
        }
    }
    text
}

fn plain(_: usize, _: usize, [a, b, c]: [f64; 3]) -> String {
    format!("{a:.3} {b} {c:.3}")
}

const RUL: &[&str] = &["rul", "--train", "train.txt", "--test", "test.txt", "--out", "out.csv"];

#[test]
fn rul_estimates_what_wears_and_odd_tables_get_a_reason() {
    let (train, test) = (runs(20, 0, plain), runs(5, 20, plain));
    let (ok, said, out) = run(&[("train.txt", &train), ("test.txt", &test)], RUL, "out.csv");
    assert!(ok, "{said}");
    assert_eq!(out.lines().next(), Some("unit,cycle,rul,low,high,naive"));
    for line in out.lines().skip(1) {
        let left: f64 = line.split(',').nth(2).unwrap().parse().unwrap();
        assert!((5.0..50.0).contains(&left), "20 cycles are left: {line}");
    }
    type Change = fn(usize, usize, [f64; 3]) -> String;
    let odd: [(&str, Change); 3] = [
        ("gaps", |_, n, [a, b, c]| if n % 4 == 0 { "nan inf -inf".into() } else { plain(0, n, [a, b, c]) }),
        ("huge", |_, _, [a, b, c]| format!("{a}e300 {b} {c}e-300")),
        ("nothing varies", |_, _, _| "1 1 1".to_owned()),
    ];
    for (name, change) in odd {
        let files = [("train.txt", runs(20, 0, change)), ("test.txt", runs(5, 20, change))];
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let (ok, said, out) = run(&files, RUL, "out.csv");
        assert!(ok && out.lines().count() == 6 || said.contains("no "), "{name}: {said}{out}");
        assert!(!out.contains("NaN") && !out.contains("inf"), "{name}: {out}");
    }
    for (train, test, words) in [
        ("", test.as_str(), "train.txt holds no rows"),
        (train.as_str(), "", "test.txt holds no rows"),
        (train.as_str(), "1 1 5\n", "channel"),
        ("1 1 1 2 x\n", test.as_str(), "train.txt, line 1"),
        ("1 2 0 0 0\n1 1 0 0 0\n", test.as_str(), "comes after"),
        ("1 1 0 0 0\n2 1 0 0 0\n", test.as_str(), ""),
    ] {
        let (ok, said, _) = run(&[("train.txt", train), ("test.txt", test)], RUL, "out.csv");
        assert!(!ok && said.contains(words), "{words}: {said}");
    }
}

/// An outage log of the WMATA shape: every unit fails at a rate of its own, a few hours at a time.
fn outages(units: usize, days: usize, failing: bool) -> Vec<(String, String)> {
    let mut list = "unit_id,unit_type,station_code,station_name,station_desc,unit_desc\n".to_owned();
    let mut log =
        "unit_id,time,end_time,update_type,symptom_category,symptom_description,metro_open_seconds\n".to_owned();
    for unit in 0..units {
        let kind = if unit % 2 == 0 { "ELEVATOR" } else { "ESCALATOR" };
        let name = format!("A{:02}X{unit:02}{kind}", unit / 4);
        writeln!(list, "{name},{kind},A{:02},X,,{kind} between street and mezzanine", unit / 4).unwrap();
        let date = |day: usize, hour: usize| {
            let at = model::Timestamp::from_secs(1_370_044_800 + (day * 86_400 + hour * 3_600) as i64);
            at.to_string()
        };
        let mut row = |from: String, to: String, words: &str| writeln!(log, "{name},{from},{to},{words},1").unwrap();
        row(date(0, 0), date(0, 6), "Fix,ON,OPERATIONAL");
        for day in 0..days {
            // Short inspections by day, so that the log is never silent.
            row(date(day, 6), date(day, 7), "Off,INSPECTION,PREV. MAINT. INSPECTION");
            row(date(day, 7), date(day, 16), "Fix,ON,OPERATIONAL");
            let rate = if unit % 4 < 2 { 0.03 } else { 0.25 };
            if failing && wobble(unit * 7_919 + day * 104_729) < rate {
                row(date(day, 16), date(day, 18), "Break,BROKEN,CALLBACK/REPAIR");
            } else {
                row(date(day, 16), date(day, 18), "Off,INSPECTION,SAFETY INSPECTION");
            }
            row(date(day, 18), date(day + 1, 6), "Fix,ON,OPERATIONAL");
        }
    }
    vec![("log/units.csv".to_owned(), list), ("log/unit_statuses.csv".to_owned(), log)]
}

fn backtest(files: &[(String, String)], more: &[&str]) -> (bool, String, String) {
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let spans = ["--train-until", "2013-09-01", "--threshold-until", "2013-10-01", "--test-from", "2013-10-01"];
    let rest = ["--test-to", "2013-11-10", "--horizon", "24h", "--out", "out.csv"];
    let args = [&["backtest", "--protocol", "wmata", "--data", "log"], spans.as_slice(), &rest, more].concat();
    run(&files, &args, "out.csv")
}

#[test]
fn backtest_scores_a_small_fleet_and_writes_a_row_for_each_unit_and_day() {
    let log = outages(24, 180, true);
    let (ok, said, out) = backtest(&log, &["--units", "elevators", "--prefix", "t_"]);
    assert!(ok, "{said}");
    let figure = |name: &str| -> f64 {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("t_{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).parse().unwrap()
    };
    assert_eq!(figure("units"), 12.0);
    assert_eq!(figure("moments"), 40.0);
    assert!(figure("roc_auc") > 0.6 && figure("brier") < figure("base_brier"), "{said}");
    assert_eq!(out.lines().count(), 1 + 12 * 40);
    assert_eq!(out.lines().next(), Some("unit,time,probability,alerted,outcome"));
    assert_eq!(out.lines().filter(|line| line.split(',').nth(3) == Some("1")).count(), 40, "one unit each day");
    let (_, _, again) = backtest(&log, &["--units", "elevators", "--prefix", "t_"]);
    assert_eq!(out, again, "the same seed gives the same forecasts");
    assert!(said.trim_end().lines().last().is_some_and(|line| line.starts_with("t_naive_")), "{said}");
}

#[test]
fn backtest_says_why_there_is_no_score() {
    let strange = |name: &str, text: &str| {
        let mut log = outages(24, 180, true);
        log.iter_mut().find(|(file, _)| Path::new(file).ends_with(name)).unwrap().1 = text.to_owned();
        log
    };
    let head = "unit_id,time,end_time,update_type,symptom_category,symptom_description\n";
    for (log, more, words) in [
        (outages(3, 180, true), vec![], "3 units"),
        (outages(24, 180, false), vec![], "0 were followed by a failure"),
        (outages(24, 33, true), vec![], "followed by a failure"),
        (outages(24, 40, true), vec![], "no unit could be scored"),
        (vec![], vec![], "log"),
        (strange("units.csv", ""), vec![], "units.csv"),
        (strange("units.csv", "unit_id\nA\n"), vec![], "unit_type"),
        (strange("unit_statuses.csv", head), vec![], "the log is empty"),
        (strange("unit_statuses.csv", "unit_id,time\nA,2013-06-01\n"), vec![], "end_time"),
        (outages(24, 180, true), vec!["--test-from", "2013-08-01"], ""),
    ] {
        let (ok, said, out) = backtest(&log, &more);
        assert!(!ok && said.contains(words), "{words}: {said}");
        assert!(out.is_empty(), "{words}: no score, and yet {out}");
    }
}
