//! Reads and checks a scenario file. Every error names its line and what to do.

use std::{collections::HashMap, path::Path, time::Duration};

use model::{DeviceId, duration};
use serde::Deserialize;
use toml::Spanned;

use super::{Scenario, ScenarioError, Script, SimSite};
use crate::{
    device::Act,
    dice::Dice,
    history::History,
    lift::{Entrapment, FlappingSignal, Injection, Part, PowerCut, traffic::Building},
};

/// The most lifts in one scenario.
const MAX_LIFTS: usize = 20_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    scenario: Spanned<RawScenario>,
    sites: Vec<Spanned<RawSite>>,
    #[serde(default)]
    history: Vec<Spanned<RawHistory>>,
    #[serde(default)]
    actions: Vec<Spanned<RawAction>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    seed: u64,
    speed: Option<Spanned<f64>>,
    #[serde(default, with = "duration::option")]
    duration: Option<Duration>,
    hour: Option<Spanned<f64>>,
    #[serde(default, with = "duration::option")]
    report_every: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    name: String,
    #[serde(default)]
    address: String,
    time_zone: Option<Spanned<String>>,
    lifts: Spanned<usize>,
    ids: Spanned<String>,
    plates_from: Spanned<u32>,
    #[serde(default)]
    building: Building,
    floors: Option<Spanned<usize>>,
    floor_height_m: Option<Spanned<f64>>,
    speed_m_s: Option<Spanned<f64>>,
    rated_load_kg: Option<Spanned<f64>>,
    calls_per_day: Option<Spanned<f64>>,
    rescue_share: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistory {
    device: Spanned<String>,
    #[serde(with = "duration")]
    span: Duration,
    #[serde(default, with = "duration::option")]
    every: Option<Duration>,
    #[serde(default, with = "duration::option")]
    at: Option<Duration>,
    part: Part,
    from: f64,
    to: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Wear,
    Repair,
    Entrapment,
    PowerCut,
    Silent,
    ClockSkew,
    Flapping,
    FalseAlarm,
    Inspection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAction {
    kind: Kind,
    #[serde(with = "duration")]
    at: Duration,
    device: Option<Spanned<String>>,
    devices: Option<Vec<Spanned<String>>>,
    site: Option<Spanned<String>>,
    part: Option<Part>,
    to: Option<f64>,
    #[serde(default, with = "duration::option")]
    over: Option<Duration>,
    passengers: Option<u32>,
    button: Option<bool>,
    #[serde(default, with = "duration::option")]
    press_after: Option<Duration>,
    #[serde(default, with = "duration::option")]
    release_after: Option<Duration>,
    #[serde(default, rename = "for", with = "duration::option")]
    lasts: Option<Duration>,
    cars_with_people: Option<usize>,
    without_rescue: Option<usize>,
    hung: Option<bool>,
    #[serde(default, with = "duration::option")]
    ahead: Option<Duration>,
    #[serde(default, with = "duration::option")]
    behind: Option<Duration>,
    signal: Option<FlappingSignal>,
    #[serde(default, with = "duration::option")]
    every: Option<Duration>,
    #[serde(default, with = "duration::option")]
    end_after: Option<Duration>,
}

struct Checker<'a> {
    file: &'a Path,
    text: &'a str,
}

pub(super) fn parse(file: &Path, text: &str) -> Result<Scenario, ScenarioError> {
    let checker = Checker { file, text };
    let raw: RawFile = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        checker.error(at, error.message().to_owned(), "see firmware-sim/scenarios for examples of every key")
    })?;
    checker.check(raw)
}

impl Checker<'_> {
    fn error(&self, offset: usize, message: impl Into<String>, remedy: impl Into<String>) -> ScenarioError {
        let line = self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1;
        ScenarioError::Invalid { file: self.file.to_owned(), line, message: message.into(), remedy: remedy.into() }
    }

    /// An optional number within bounds.
    fn number(
        &self,
        name: &str,
        given: Option<Spanned<f64>>,
        default: f64,
        low: f64,
        high: f64,
    ) -> Result<f64, ScenarioError> {
        let Some(given) = given else { return Ok(default) };
        let value = *given.get_ref();
        if (low..=high).contains(&value) {
            Ok(value)
        } else {
            let message = format!("{name} is {value}");
            Err(self.error(given.span().start, message, format!("use a number from {low} to {high}")))
        }
    }

    fn check(&self, raw: RawFile) -> Result<Scenario, ScenarioError> {
        let start = raw.scenario.span().start;
        let head = raw.scenario.into_inner();
        let speed = self.number("speed", head.speed, 1.0, 1.0, 10_000.0)?;
        if speed > 1.0 && head.duration.is_none() {
            let message = "a scenario that runs faster than real time has no duration";
            let remedy =
                "add duration = \"2h\" to [scenario]: it starts that far in the past, so that it ends at the present";
            return Err(self.error(start, message, remedy));
        }
        let hour = match head.hour {
            Some(hour) => Some(self.number("hour", Some(hour), 0.0, 0.0, 24.0)?),
            None => None,
        };
        let mut sites = Vec::new();
        for site in raw.sites {
            sites.push(self.site(site)?);
        }
        let mut scenario = Scenario {
            name: head.name,
            about: head.about,
            seed: head.seed,
            speed,
            duration: head.duration,
            hour,
            report_every: head.report_every.unwrap_or(Duration::from_secs(10)).max(Duration::from_secs(1)),
            sites,
            scripts: Vec::new(),
        };
        self.unique(&scenario)?;
        scenario.scripts = vec![Script::default(); scenario.devices().len()];
        for history in raw.history {
            self.history(&mut scenario, history)?;
        }
        for action in raw.actions {
            self.action(&mut scenario, action)?;
        }
        for script in &mut scenario.scripts {
            script.acts.sort_by_key(|(at, _)| *at);
        }
        Ok(scenario)
    }

    fn site(&self, raw: Spanned<RawSite>) -> Result<SimSite, ScenarioError> {
        let raw = raw.into_inner();
        let lifts = *raw.lifts.get_ref();
        if !(1..=MAX_LIFTS).contains(&lifts) {
            let remedy = format!("use a number from 1 to {MAX_LIFTS}");
            return Err(self.error(raw.lifts.span().start, format!("a site cannot have {lifts} lifts"), remedy));
        }
        let ids = raw.ids.get_ref().clone();
        if DeviceId::new(&format!("{ids}-00000")).is_err() {
            let message = format!("\"{ids}\" cannot begin a device id");
            return Err(self.error(raw.ids.span().start, message, "use at most 58 letters, digits and . _ : -"));
        }
        let plates_from = *raw.plates_from.get_ref();
        if plates_from as usize + lifts > 1_000_000 {
            let message = format!("plates from {plates_from} on do not fit into six digits");
            return Err(self.error(raw.plates_from.span().start, message, "use a smaller first plate"));
        }
        let floors = raw.floors.as_ref().map_or(16, |floors| *floors.get_ref());
        if let Some(given) = raw.floors.filter(|_| !(2..=200).contains(&floors)) {
            return Err(self.error(given.span().start, format!("floors is {floors}"), "use a number from 2 to 200"));
        }
        let time_zone = raw.time_zone.as_ref().map_or("Asia/Shanghai", |zone| zone.get_ref()).to_owned();
        if jiff::tz::TimeZone::get(&time_zone).is_err() {
            let at = raw.time_zone.map_or(0, |zone| zone.span().start);
            let message = format!("\"{time_zone}\" is not a time zone");
            return Err(self.error(at, message, "use an IANA name such as \"Asia/Shanghai\""));
        }
        Ok(SimSite {
            name: raw.name,
            address: raw.address,
            time_zone,
            lifts,
            ids,
            plates_from,
            building: raw.building,
            floors,
            floor_height_m: self.number("floor_height_m", raw.floor_height_m, 3.2, 2.4, 10.0)?,
            speed_m_s: self.number("speed_m_s", raw.speed_m_s, 1.75, 0.3, 20.0)?,
            rated_load_kg: self.number("rated_load_kg", raw.rated_load_kg, 1000.0, 200.0, 10_000.0)?,
            calls_per_day: self.number("calls_per_day", raw.calls_per_day, 700.0, 0.0, 5000.0)?,
            rescue_share: self.number("rescue_share", raw.rescue_share, 1.0, 0.0, 1.0)?,
        })
    }

    fn unique(&self, scenario: &Scenario) -> Result<(), ScenarioError> {
        let mut seen = HashMap::new();
        for device in scenario.devices() {
            for key in [device.id.to_string(), device.plate.unwrap_or_default()] {
                if let Some(other) = seen.insert(key.clone(), device.site.clone()) {
                    let message = format!("\"{key}\" is used at \"{other}\" and again at \"{}\"", device.site);
                    return Err(self.error(0, message, "give each site its own ids and plates_from"));
                }
            }
        }
        if seen.is_empty() {
            return Err(self.error(0, "the scenario has no lifts", "add a [[sites]] section"));
        }
        Ok(())
    }

    /// The place of a device in the order of the fleet.
    fn find(&self, scenario: &Scenario, name: &Spanned<String>) -> Result<usize, ScenarioError> {
        let devices = scenario.devices();
        devices.iter().position(|device| device.id.as_str() == name.get_ref()).ok_or_else(|| {
            let (first, last) = (&devices[0].id, &devices[devices.len() - 1].id);
            let message = format!("there is no device \"{}\" in this scenario", name.get_ref());
            self.error(name.span().start, message, format!("the devices go from {first} to {last}"))
        })
    }

    fn history(&self, scenario: &mut Scenario, raw: Spanned<RawHistory>) -> Result<(), ScenarioError> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let device = self.find(scenario, &raw.device)?;
        let every = raw.every.unwrap_or(Duration::from_secs(3600));
        if every.is_zero() || raw.span.as_secs_f64() / every.as_secs_f64() > 20_000.0 {
            return Err(self.error(at, "the history has too many reports", "use a longer every or a shorter span"));
        }
        if !(0.0..1.0).contains(&raw.from) || !(0.0..1.0).contains(&raw.to) {
            return Err(self.error(
                at,
                "wear in the past must be from 0 to below 1",
                "1 means failed: use an action for that",
            ));
        }
        let script = &mut scenario.scripts[device];
        script.connect_after = raw.at.unwrap_or_default();
        *raw.part.of(&mut script.wear) = raw.to;
        script.history = Some(History { span: raw.span, every, part: raw.part, from: raw.from, to: raw.to });
        Ok(())
    }

    /// The devices that an action is for, in the order of the fleet.
    fn targets(&self, scenario: &Scenario, raw: &RawAction, at: usize) -> Result<Vec<usize>, ScenarioError> {
        match (&raw.device, &raw.devices, &raw.site) {
            (Some(device), None, None) => Ok(vec![self.find(scenario, device)?]),
            (None, Some(devices), None) => devices.iter().map(|device| self.find(scenario, device)).collect(),
            (None, None, Some(site)) => {
                let found: Vec<usize> = scenario
                    .devices()
                    .iter()
                    .enumerate()
                    .filter(|(_, device)| device.site == *site.get_ref())
                    .map(|(n, _)| n)
                    .collect();
                if found.is_empty() {
                    let names: Vec<_> = scenario.sites.iter().map(|site| format!("\"{}\"", site.name)).collect();
                    let message = format!("there is no site \"{}\" in this scenario", site.get_ref());
                    return Err(self.error(site.span().start, message, format!("use one of {}", names.join(", "))));
                }
                Ok(found)
            }
            _ => Err(self.error(
                at,
                "the action does not say for which lifts it is",
                "give exactly one of device, devices and site",
            )),
        }
    }

    fn action(&self, scenario: &mut Scenario, raw: Spanned<RawAction>) -> Result<(), ScenarioError> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        self.only_fitting_keys(&raw, at)?;
        let targets = self.targets(scenario, &raw, at)?;
        if raw.kind == Kind::PowerCut {
            return self.power_cut(scenario, &raw, &targets, at);
        }
        let need = |value: Option<Duration>, name: &str, example: &str| {
            let message = format!("an action of kind {} needs {name}", kind_name(raw.kind));
            value.ok_or_else(|| self.error(at, message, format!("add {name} = \"{example}\"")))
        };
        let act = match raw.kind {
            Kind::Wear => {
                let to = raw.to.unwrap_or(1.0);
                if !(0.0..=1.0).contains(&to) {
                    return Err(self.error(
                        at,
                        format!("wear cannot be {to}"),
                        "use a number from 0 (new) to 1 (failed)",
                    ));
                }
                let over = need(raw.over, "over", "2m")?;
                Act::Lift(Injection::Wear { part: raw.part.unwrap_or(Part::Door), to, over })
            }
            Kind::Repair => Act::Lift(Injection::Repair),
            Kind::Entrapment => {
                let press = raw.press_after.unwrap_or(Duration::from_secs(3));
                Act::Lift(Injection::Entrap(Entrapment {
                    passengers: raw.passengers.unwrap_or(1).clamp(1, 8),
                    press_after: raw.button.unwrap_or(true).then_some(press),
                    release_after: need(raw.release_after, "release_after", "10m")?,
                }))
            }
            Kind::Silent => Act::Silence { lasts: need(raw.lasts, "for", "15m")?, hung: raw.hung.unwrap_or(false) },
            Kind::ClockSkew => {
                let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
                let millis = match (raw.ahead, raw.behind) {
                    (Some(ahead), None) => millis(ahead),
                    (None, Some(behind)) => -millis(behind),
                    _ => {
                        return Err(self.error(
                            at,
                            "the clock is wrong in no direction or in both",
                            "give either ahead or behind",
                        ));
                    }
                };
                Act::Skew { millis, lasts: need(raw.lasts, "for", "10m")? }
            }
            Kind::Flapping => Act::Lift(Injection::Flap {
                signal: raw.signal.unwrap_or(FlappingSignal::DoorZone),
                every: need(raw.every, "every", "2s")?,
                lasts: need(raw.lasts, "for", "5m")?,
            }),
            Kind::FalseAlarm => {
                Act::Lift(Injection::FalseAlarm { end_after: raw.end_after.unwrap_or(Duration::from_secs(20)) })
            }
            Kind::Inspection => Act::Lift(Injection::Inspection { lasts: need(raw.lasts, "for", "20m")? }),
            Kind::PowerCut => unreachable!("handled above"),
        };
        for target in targets {
            let script = &mut scenario.scripts[target];
            script.reserved |= raw.kind == Kind::Entrapment;
            script.acts.push((raw.at, act.clone()));
        }
        Ok(())
    }

    fn power_cut(
        &self,
        scenario: &mut Scenario,
        raw: &RawAction,
        targets: &[usize],
        at: usize,
    ) -> Result<(), ScenarioError> {
        let Some(lasts) = raw.lasts else {
            return Err(self.error(at, "a power cut needs for", "add for = \"10m\""));
        };
        let with_people = raw.cars_with_people.unwrap_or(0);
        let without_rescue = raw.without_rescue.unwrap_or(0);
        if without_rescue > with_people || with_people > targets.len() {
            let message = format!("{without_rescue} of {with_people} cars with people in {} lifts", targets.len());
            return Err(self.error(at, message, "keep without_rescue ≤ cars_with_people ≤ the number of lifts"));
        }
        // Which cars hold people is left to chance, but the same chance every time.
        let mut dice = Dice::new(scenario.seed, "power cut");
        let mut order = targets.to_vec();
        for n in (1..order.len()).rev() {
            order.swap(n, dice.below(n + 1));
        }
        for (n, target) in order.into_iter().enumerate() {
            let passengers = if n < with_people { raw.passengers.unwrap_or(1).clamp(1, 8) } else { 0 };
            let script = &mut scenario.scripts[target];
            script.reserved |= n < with_people;
            script.without_rescue |= n < without_rescue;
            script.acts.push((raw.at, Act::Lift(Injection::Cut(PowerCut { lasts, passengers }))));
        }
        Ok(())
    }

    /// A key that its kind of action does not read is a mistake.
    fn only_fitting_keys(&self, raw: &RawAction, at: usize) -> Result<(), ScenarioError> {
        let given: [(&str, bool, &[Kind]); 14] = [
            ("part", raw.part.is_some(), &[Kind::Wear]),
            ("to", raw.to.is_some(), &[Kind::Wear]),
            ("over", raw.over.is_some(), &[Kind::Wear]),
            ("passengers", raw.passengers.is_some(), &[Kind::Entrapment, Kind::PowerCut]),
            ("button", raw.button.is_some(), &[Kind::Entrapment]),
            ("press_after", raw.press_after.is_some(), &[Kind::Entrapment]),
            ("release_after", raw.release_after.is_some(), &[Kind::Entrapment]),
            (
                "for",
                raw.lasts.is_some(),
                &[Kind::PowerCut, Kind::Silent, Kind::ClockSkew, Kind::Flapping, Kind::Inspection],
            ),
            ("cars_with_people", raw.cars_with_people.is_some(), &[Kind::PowerCut]),
            ("without_rescue", raw.without_rescue.is_some(), &[Kind::PowerCut]),
            ("hung", raw.hung.is_some(), &[Kind::Silent]),
            ("ahead or behind", raw.ahead.is_some() || raw.behind.is_some(), &[Kind::ClockSkew]),
            ("signal or every", raw.signal.is_some() || raw.every.is_some(), &[Kind::Flapping]),
            ("end_after", raw.end_after.is_some(), &[Kind::FalseAlarm]),
        ];
        for (name, is_given, kinds) in given {
            if is_given && !kinds.contains(&raw.kind) {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind_name(*kind)).collect();
                let message = format!("{name} means nothing in an action of kind {}", kind_name(raw.kind));
                return Err(self.error(at, message, format!("remove it; it belongs to {}", kinds.join(", "))));
            }
        }
        Ok(())
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Wear => "wear",
        Kind::Repair => "repair",
        Kind::Entrapment => "entrapment",
        Kind::PowerCut => "power_cut",
        Kind::Silent => "silent",
        Kind::ClockSkew => "clock_skew",
        Kind::Flapping => "flapping",
        Kind::FalseAlarm => "false_alarm",
        Kind::Inspection => "inspection",
    }
}
