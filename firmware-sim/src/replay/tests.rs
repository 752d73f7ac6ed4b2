//! Mappings on small tables, and the recorded tables themselves where they are present.

use std::path::Path;

use model::{Timestamp, Value};

use super::*;
use crate::wire::Report;

const UNITS: &str = r#"
[mapping]
name = "units"
site = "Somewhere"
[time]
column = "when"
format = "%d.%m.%Y %H:%M"
zone = "Europe/Berlin"
[device]
id = "unit {unit}"
profile = "lift"
[[device.profiles]]
column = "unit"
matches = "ESC*"
profile = "escalator"
[[channels]]
column = "state"
channel = "unit_state"
map = { OK = "on", BAD = "broken" }
[[channels]]
column = "temp_f"
channel = "motor_temp_c"
scale = 0.5
offset = -16.0
[[channels]]
column = "mains"
channel = "mains_present"
type = "bool"
[event]
column = "code"
map = { "7" = "alarm_button" }
[filter]
column = "kind"
none_of = ["test"]
[inventory]
id = "unit {unit}"
site = "{place}"
name = "Unit {unit}"
plates_from = 100
"#;

const TABLE: &str = "when,unit,kind,state,temp_f,mains,code\n\
    01.07.2024 12:00,A/1,live,OK,100,1,\n\
    01.07.2024 12:10,A/1,live,BAD,,0,7\n\
    01.07.2024 12:05,ESC 2,live,BAD,NA,1,8\n\
    01.07.2024 12:11,A/1,test,OK,1,1,\n\
    01.07.2024 12:20,A/1,live,BAD,80,1,\n\
    01.07.2024 12:30,A/1,live,OK,80,1,\n\
    01.07.2024 12:40,A/1,live,BAD,80,1,\n";

fn mapping(text: &str) -> Result<Mapping, ReplayError> {
    Mapping::parse(Path::new("m.toml"), text)
}

#[test]
fn rows_become_devices_times_values_and_events() {
    let plan = ReplayPlan::from_text(&mapping(UNITS).unwrap(), TABLE, Some("unit,place\nA/1,North\nZ,West\n")).unwrap();
    let devices = plan.devices();
    assert_eq!(devices.len(), 2);
    assert_eq!((devices[0].id.as_str(), devices[0].profile.as_str()), ("unit-A-1", "lift"));
    assert_eq!((devices[0].site.as_str(), devices[0].name.as_str()), ("North", "Unit A/1"));
    assert_eq!(devices[0].plate.as_deref(), Some("000100"));
    assert_eq!((devices[1].id.as_str(), devices[1].profile.as_str()), ("unit-ESC-2", "escalator"));
    assert_eq!((devices[1].site.as_str(), devices[1].plate.as_deref()), ("Somewhere", None));
    let time: Timestamp = "2024-07-01T10:00:00Z".parse().unwrap();
    let values = vec![
        ("unit_state".into(), Value::Text("on".into())),
        ("motor_temp_c".into(), Value::Number(34.0)),
        ("mains_present".into(), Value::Bool(true)),
    ];
    assert_eq!(plan.rows()[0], (0, Report::Telemetry { time, values }));
    let events: Vec<_> = plan.rows().iter().filter(|(_, report)| !report.is_telemetry()).collect();
    assert!(matches!(events[..], [(0, Report::Event { code, .. })] if code == "alarm_button"));
    assert_eq!(plan.rows().len(), 7);
    assert_eq!(plan.episodes("unit_state", &Value::Text("broken".into())), 3);
}

#[test]
fn mistakes_in_mapping_and_table_are_named_with_their_line() {
    let parse = |from: &str, to: &str| mapping(&UNITS.replace(from, to)).unwrap_err().to_string();
    assert!(parse("zone = \"Europe/Berlin\"", "zone = \"Moon\"").contains("m.toml:5: \"Moon\" is not a time zone"));
    assert!(parse("scale = 0.5", "scalar = 0.5").contains("m.toml:23: unknown field `scalar`"));
    assert!(parse("profile = \"lift\"", "profile = \"Lift\"").contains("m.toml:11:"));
    let read = |from: &str, to: &str| {
        ReplayPlan::from_text(&mapping(UNITS).unwrap(), &TABLE.replace(from, to), None).unwrap_err().to_string()
    };
    assert!(read("12:05", "noon").contains("table.csv:4: \"01.07.2024 noon\" is not a time"));
    assert!(read("BAD,,0", "ODD,,0").contains("table.csv:3: column \"state\" holds \"ODD\""));
    assert!(read("live,OK,100", "live,OK,hot").contains("table.csv:2: column \"temp_f\" holds \"hot\""));
    assert!(read("temp_f", "temp").contains("no column \"temp_f\"; its columns are \"when\", \"unit\""));
    assert!(read("ESC 2", "A 1").contains("\"unit A 1\" and \"unit A/1\" would both become the device \"unit-A-1\""));
}

#[test]
fn options_are_read_as_people_write_them() {
    assert_eq!("60x".parse(), Ok(Speed::Times(60.0)));
    assert_eq!("max".parse(), Ok(Speed::Max));
    assert!("fast".parse::<Speed>().is_err() && "0x".parse::<Speed>().is_err());
    assert_eq!("end-now".parse(), Ok(Rebase::EndNow));
    assert_eq!("per-device".parse(), Ok(Connections::PerDevice));
    assert_eq!("4".parse(), Ok(Connections::Shared(4)));
    assert!("0".parse::<Connections>().is_err());
}

/// A recorded table, or `None` with a word to the reader where this checkout has none beside it.
fn recorded(name: &str) -> Option<std::path::PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !data.is_dir() {
        println!("skipped: shared/data is not there");
        return None;
    }
    Some(data.join(name))
}

#[test]
fn the_wmata_history_has_its_units_rows_and_breakdowns() {
    let Some(table) = recorded("wmata/unit_statuses_to_2014-06-30.csv.gz") else { return };
    let inventory = recorded("wmata/units.csv").unwrap();
    let plan = ReplayPlan::load("wmata", &table, Some(&inventory)).unwrap();
    assert_eq!((plan.devices().len(), plan.rows().len()), (837, 83_117));
    assert_eq!(plan.episodes("unit_state", &Value::Text("broken".into())), 29_190);
    assert!(plan.devices().iter().all(|device| device.plate.is_some() && !device.site.is_empty()));
    // One elevator is listed without a station.
    assert_eq!(plan.devices().iter().filter(|device| device.site == "Washington Metro").count(), 1);
    let lifts = plan.devices().iter().filter(|device| device.profile.as_str() == "lift").count();
    assert_eq!(lifts, 249);
}

#[test]
fn the_bearing_record_is_four_pumps() {
    let Some(table) = recorded("ims_bearing/merged_dataset_BearingTest_2.csv") else { return };
    let plan = ReplayPlan::load("ims_bearing", &table, None).unwrap();
    assert_eq!((plan.devices().len(), plan.rows().len()), (4, 4 * 984));
    let (first, last) = plan.span().unwrap();
    assert_eq!(last.since(first).as_secs() / 3600, 163);
}
