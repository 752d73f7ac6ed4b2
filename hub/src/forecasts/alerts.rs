//! What follows from forecasts: an alert on a unit whose risk makes a visit cheaper than waiting.

use std::time::Duration;

use model::{
    Alert, AlertChange, AlertId, AlertSource, Device, DeviceId, Evidence, Localised, Observation, Profile, RuleId,
    Scope, TicketKind, Timestamp, Value,
    profile::{FAILURE_RISK, Failures},
};

/// An alert ends when the risk has fallen below this share of the threshold: not at the next day's wobble.
const CLEAR_SHARE: f64 = 0.75;
/// The most alerts that stand at once, as a share of the units: a model that goes astray must not send everybody out.
const MOST_SHARE: f64 = 0.1;

/// A unit's risks at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Risk<'a> {
    /// The unit.
    pub device: &'a Device,
    /// Horizon, probability, and what the naive rule says; the shortest horizon first.
    pub risks: Vec<(Duration, f64, f64)>,
    /// What the forecast rests on: a feature's name and its value.
    pub facts: Vec<(&'static str, f64)>,
}

impl Risk<'_> {
    fn highest(&self) -> f64 {
        self.risks.iter().map(|(_, probability, _)| *probability).fold(0.0, f64::max)
    }
}

/// The changes that forecasts at `now` make to the alerts that stand on units of the profile. A unit without a
/// forecast keeps its alert: it may be out of service, as was foreseen.
#[must_use]
pub fn changes(
    profile: &Profile,
    failures: &Failures,
    threshold: f64,
    units: &[Risk<'_>],
    standing: &[Alert],
    now: Timestamp,
) -> Vec<AlertChange> {
    let stands = |device: &DeviceId| standing.iter().find(|alert| alert.device == *device);
    let mut changes: Vec<AlertChange> = units
        .iter()
        .filter(|unit| unit.highest() < CLEAR_SHARE * threshold)
        .filter_map(|unit| Some(cleared(stands(&unit.device.id)?, unit, now)))
        .collect();
    let most = ((units.len() as f64 * MOST_SHARE).ceil() as usize).max(1);
    let room = most.saturating_sub(standing.len() - changes.len());
    let mut new: Vec<&Risk<'_>> =
        units.iter().filter(|unit| unit.highest() >= threshold && stands(&unit.device.id).is_none()).collect();
    new.sort_by(|a, b| b.highest().total_cmp(&a.highest()).then_with(|| a.device.id.cmp(&b.device.id)));
    changes.extend(new.into_iter().take(room).filter_map(|unit| raised(profile, failures, threshold, unit, now)));
    changes
}

fn percent(probability: f64) -> String {
    format!("{:.0}", probability * 100.0)
}

fn raised(
    profile: &Profile,
    failures: &Failures,
    threshold: f64,
    unit: &Risk<'_>,
    now: Timestamp,
) -> Option<AlertChange> {
    let rule = RuleId::new(FAILURE_RISK).ok()?;
    let (horizon, probability, _) =
        unit.risks.iter().copied().filter(|(_, p, _)| *p >= threshold).max_by(|a, b| a.1.total_cmp(&b.1))?;
    let observation = |name: String, value: f64, supports: bool| Observation {
        name,
        value: Some(Value::Number(value)),
        unit: None,
        time: Some(now),
        supports,
    };
    let risks = unit.risks.iter().flat_map(|(horizon, probability, naive)| {
        let within = model::duration::format(*horizon);
        [
            observation(format!("risk within {within}"), *probability, *probability >= threshold),
            observation(format!("naive rule within {within}"), *naive, *naive >= threshold),
        ]
    });
    let facts = unit
        .facts
        .iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| observation((*name).to_owned(), *value, true));
    let hours = horizon.as_secs() / 3600;
    let (en, zh) = if hours.is_multiple_of(24) && hours > 24 {
        (format!("{} days", hours / 24), format!("{} 天", hours / 24))
    } else {
        (format!("{hours} h"), format!("{hours} 小时"))
    };
    let (likely, pays) = (percent(probability), percent(threshold));
    let evidence = Evidence {
        summary: Localised::new(
            format!(
                "It fails within {en} with a probability of {likely} %; from {pays} % on a visit costs less than waiting."
            ),
            format!("未来 {zh}内发生故障的概率为 {likely}%；达到 {pays}% 时，安排检修比等待更经济。"),
        ),
        condition: format!("risk of a failure within {} >= {threshold:.3}", model::duration::format(horizon)),
        from: Some(now),
        to: Some(now),
        observations: risks.chain(facts).collect(),
        clears_when: Localised::new(
            format!("A forecast below {} %.", percent(CLEAR_SHARE * threshold)),
            format!("预测概率低于 {}%。", percent(CLEAR_SHARE * threshold)),
        ),
        ..Evidence::default()
    };
    Some(AlertChange::Raised(Box::new(Alert {
        id: AlertId::derive(&unit.device.id, &rule, now),
        org: unit.device.org,
        device: unit.device.id.clone(),
        site: unit.device.site,
        profile: profile.id.clone(),
        rule,
        rule_version: profile.version,
        source: AlertSource::Forecast,
        kind: TicketKind::Forecast,
        scope: Scope::Device,
        severity: failures.severity,
        life_safety: false,
        title: Failures::title(),
        raised_at: now,
        cleared_at: None,
        evidence,
        runbook: failures.runbook.clone(),
    })))
}

fn cleared(alert: &Alert, unit: &Risk<'_>, now: Timestamp) -> AlertChange {
    let mut alert = alert.clone();
    alert.cleared_at = Some(now.max(alert.raised_at));
    let highest = percent(unit.highest());
    alert.evidence.summary = Localised::new(
        format!("The risk of a failure has fallen to {highest} %."),
        format!("发生故障的概率已降至 {highest}%。"),
    );
    AlertChange::Cleared(Box::new(alert))
}

/// The end of an alert because nothing forecasts any more.
#[must_use]
pub fn ended(mut alert: Alert, now: Timestamp) -> AlertChange {
    alert.cleared_at = Some(now.max(alert.raised_at));
    alert.evidence.summary = Localised::new("Failures are not forecast any more.", "已停用故障预测。");
    AlertChange::Cleared(Box::new(alert))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::{OrgId, SiteId};

    use super::*;

    fn profile() -> Profile {
        let text = "[profile]\nid = \"fan\"\nname = { en = \"Fan\", zh = \"风机\" }\nversion = 3\n\
            [[channels]]\nid = \"speed\"\nname = { en = \"Speed\", zh = \"转速\" }\ntype = \"number\"\nunit = \"1/min\"\nrange = [0.0, 9000.0]\n\
            [failures]\ntickets = [\"breakdown\"]\nmiss_cost = 4.0\nvisit_cost = 1.0\n";
        Profile::parse(Path::new("fan.toml"), text).unwrap()
    }

    fn devices(count: usize) -> Vec<Device> {
        let nil = uuid::Uuid::nil();
        (0..count)
            .map(|n| Device {
                id: DeviceId::new(&format!("fan-{n:02}")).unwrap(),
                org: OrgId(nil),
                site: SiteId(nil),
                profile: profile().id,
                name: "Fan".to_owned(),
                plate: None,
            })
            .collect()
    }

    fn night(devices: &[Device], risks: &[f64], standing: &[Alert], day: i64) -> (Vec<String>, Vec<Alert>) {
        let profile = profile();
        let failures = profile.failures.clone().unwrap();
        let units: Vec<Risk<'_>> = devices
            .iter()
            .zip(risks)
            .filter(|(_, risk)| risk.is_finite())
            .map(|(device, risk)| Risk {
                device,
                risks: vec![(Duration::from_hours(24), risk / 2.0, 0.1), (Duration::from_hours(168), *risk, 0.2)],
                facts: vec![("failures.last_90d", 4.0), ("failure_1.since", f64::NAN)],
            })
            .collect();
        let now = Timestamp::from_secs(day * 86_400);
        let found = changes(&profile, &failures, failures.threshold(), &units, standing, now);
        let mut stand = standing.to_vec();
        let told = found.iter().map(|change| match change {
            AlertChange::Raised(alert) => {
                stand.push((**alert).clone());
                format!("+{}", alert.device)
            }
            AlertChange::Changed(alert) => format!("~{}", alert.device),
            AlertChange::Cleared(alert) => {
                stand.retain(|other| other.id != alert.id);
                format!("-{}", alert.device)
            }
        });
        (told.collect(), stand)
    }

    #[test]
    fn an_alert_comes_at_the_threshold_and_goes_well_below_it() {
        let fans = devices(20);
        let risks = |first: f64| -> Vec<f64> { (0..20).map(|n| if n == 0 { first } else { 0.01 }).collect() };
        let (told, standing) = night(&fans, &risks(0.19), &[], 1);
        assert!(told.is_empty());
        let (told, standing) = night(&fans, &risks(0.2), &standing, 2);
        assert_eq!(told, ["+fan-00"]);
        let evidence = &standing[0].evidence;
        assert!(
            evidence.summary.en.starts_with("It fails within 7 days with a probability of 20 %"),
            "{}",
            evidence.summary.en
        );
        assert!(evidence.summary.zh.contains("7 天"), "{}", evidence.summary.zh);
        assert_eq!(evidence.observations.len(), 5, "what is not known is no fact");
        for wobble in [0.16, f64::NAN, 0.3] {
            let (told, _) = night(&fans, &risks(wobble), &standing, 3);
            assert!(told.is_empty(), "{wobble}");
        }
        let (told, standing) = night(&fans, &risks(0.14), &standing, 4);
        assert_eq!((told.as_slice(), standing.len()), (["-fan-00".to_owned()].as_slice(), 0));
    }

    #[test]
    fn no_more_than_a_tenth_of_the_units_and_the_likeliest_first() {
        let fans = devices(30);
        let risks: Vec<f64> = (0..30).map(|n| 0.3 + f64::from(n) / 100.0).collect();
        let (told, standing) = night(&fans, &risks, &[], 1);
        assert_eq!(told, ["+fan-29", "+fan-28", "+fan-27"]);
        let (told, _) = night(&fans, &risks, &standing, 2);
        assert!(told.is_empty());
        // One falls: there is room for one.
        let mut risks = risks;
        risks[28] = 0.0;
        let (told, _) = night(&fans, &risks, &standing, 3);
        assert_eq!(told, ["-fan-28", "+fan-26"]);
    }
}
