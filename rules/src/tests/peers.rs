//! A device against the others of its site.

use std::{path::Path, sync::Arc};

use model::{AlertChange, Device, DeviceId, Directory, Profile};

use super::{at, entry, late, small_profile, values};
use crate::{Engine, Ruleset};

const RULE: &str = "[[rules]]\nid = \"hot\"\ntitle = { en = \"Hotter than its like\", zh = \"温度高于同类\" }\nsource = \"test\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = 'avg(temp_c, \"16h\") > peers(temp_c, \"16h\") + 10'\n";
const HOUR: f64 = 3600.0;

struct Site {
    engine: Engine,
    devices: Vec<Device>,
    directory: Directory,
    out: Vec<AlertChange>,
}

impl Site {
    fn new(count: usize, elsewhere: usize) -> Self {
        let ruleset = Arc::new(Ruleset::compile(&small_profile(RULE)).unwrap());
        let device = |number: usize| Device {
            id: DeviceId::new(&format!("dev-{number}")).unwrap(),
            org: "01900000-0000-7000-8000-000000000001".parse().unwrap(),
            site: if number < count {
                "01900000-0000-7000-8000-000000000002"
            } else {
                "01900000-0000-7000-8000-000000000003"
            }
            .parse()
            .unwrap(),
            profile: ruleset.profile().clone(),
            name: format!("Device {number}"),
            plate: None,
        };
        let devices: Vec<Device> = (0..count + elsewhere).map(device).collect();
        let mut directory = Directory::default();
        for device in &devices {
            directory.devices.insert(device.id.clone(), Arc::new(device.clone()));
        }
        let mut engine = Engine::new();
        engine.load(ruleset);
        Self { engine, devices, directory, out: Vec::new() }
    }

    fn say(&mut self, number: usize, seconds: f64, temp: f64) {
        let device = &self.devices[number];
        let entry = entry(&device.id, seconds, &values(&format!("temp_c={temp}"))).unwrap();
        self.engine.apply(device, &entry, &mut self.out);
    }

    /// Every device says its temperature three times an hour, in this order.
    fn hours(&mut self, from: u32, to: u32, order: &[usize], temp: impl Fn(usize) -> f64) {
        for step in from * 3..to * 3 {
            for (place, number) in order.iter().enumerate() {
                let seconds = f64::from(step) * HOUR / 3.0 + 100.0 + place as f64;
                self.say(*number, seconds, temp(*number));
            }
        }
    }

    fn told(&self) -> Vec<String> {
        let told = |change: &AlertChange| {
            let (alert, what) = match change {
                AlertChange::Raised(alert) => (alert, "raised"),
                AlertChange::Changed(alert) => (alert, "changed"),
                AlertChange::Cleared(alert) => (alert, "cleared"),
            };
            format!("{} {what}", alert.device)
        };
        self.out.iter().map(told).collect()
    }
}

#[test]
fn the_one_that_is_hotter_than_its_like_is_found() {
    let mut site = Site::new(5, 0);
    site.hours(0, 4, &[0, 1, 2, 3, 4], |_| 50.0);
    assert_eq!(site.told(), [""; 0]);
    // All become warmer with the summer, one by much more.
    site.hours(4, 24, &[0, 1, 2, 3, 4], |number| if number == 3 { 85.0 } else { 60.0 });
    assert_eq!(site.told(), ["dev-3 raised"]);
    let alert = site.out[0].alert();
    let summary = &alert.evidence.summary;
    assert!(summary.en.contains("usual level of the site's other devices"), "{}", summary.en);
    assert!(summary.zh.contains("同址其他设备"), "{}", summary.zh);
    site.hours(24, 50, &[0, 1, 2, 3, 4], |_| 60.0);
    assert_eq!(site.told(), ["dev-3 raised", "dev-3 cleared"]);
}

#[test]
fn the_order_in_which_devices_are_heard_changes_nothing() {
    let found = |order: &[usize]| {
        let mut site = Site::new(5, 0);
        site.hours(0, 20, order, |number| if number == 3 { 75.0 } else { 55.0 + number as f64 });
        let mut found = site.out.clone();
        assert_eq!(found.len(), 1);
        let AlertChange::Raised(alert) = &mut found[0] else { panic!() };
        (alert.device.clone(), alert.raised_at.as_micros() / 3_600_000_000, alert.evidence.summary.clone())
    };
    assert_eq!(found(&[0, 1, 2, 3, 4]), found(&[4, 3, 2, 1, 0]));
    assert_eq!(found(&[0, 1, 2, 3, 4]), found(&[3, 0, 4, 1, 2]));
}

#[test]
fn with_fewer_than_three_others_at_the_site_nothing_is_known() {
    let mut site = Site::new(3, 4);
    site.hours(0, 20, &[0, 1, 2, 3, 4, 5, 6], |number| if number == 2 { 90.0 } else { 50.0 });
    assert_eq!(site.told(), [""; 0]);
}

#[test]
fn what_the_others_told_survives_a_restart() {
    let mut plain = Site::new(5, 0);
    let mut stopped = Site::new(5, 0);
    let temp = |number: usize| if number == 1 { 64.0 } else { 50.0 };
    plain.hours(0, 30, &[0, 1, 2, 3, 4], temp);
    stopped.hours(0, 1, &[0, 1, 2, 3, 4], temp);
    let snapshot = stopped.engine.snapshot();
    let mut again = Site::new(5, 0);
    again.engine.restore(&snapshot).unwrap();
    again.out = stopped.out;
    again.hours(1, 30, &[0, 1, 2, 3, 4], temp);
    assert_eq!(again.out, plain.out);
    assert_eq!(again.engine.snapshot(), plain.engine.snapshot());
    assert_eq!(plain.told(), ["dev-1 raised"]);
}

#[test]
fn a_device_that_was_cut_off_is_not_compared_with_what_it_did_not_tell() {
    let mut site = Site::new(5, 0);
    site.hours(0, 6, &[0, 1, 2, 3, 4], |_| 50.0);
    // Two are silent: of the others there are only two each.
    site.hours(6, 30, &[0, 1, 2], |number| if number == 0 { 90.0 } else { 50.0 });
    assert_eq!(site.told(), [""; 0]);
    let device = &site.devices[4];
    let entry = entry(&device.id, 30.0 * HOUR, &late("temp_c=90", 20.0 * HOUR)).unwrap();
    site.engine.apply(device, &entry, &mut site.out);
    site.engine.advance(at(31.0 * HOUR), &site.directory, &mut site.out);
    assert_eq!(site.told(), [""; 0]);
}

#[test]
fn a_comparison_over_minutes_is_refused() {
    let text = format!("{}\n{}", include_str!("small.toml"), RULE.replace("16h", "10m"));
    let profile = Profile::parse(Path::new("small.toml"), &text).unwrap();
    let message = Ruleset::compile(&profile).unwrap_err().to_string();
    assert!(
        message.contains("devices are compared over an hour or longer; write peers(number, \"1h\") or longer"),
        "{message}"
    );
}
