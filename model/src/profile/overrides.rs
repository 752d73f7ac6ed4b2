//! Overrides: a rule as it is on some devices.

use toml::Spanned;

use super::{Condition, Override, ProfileError, Rule, load::Source, raw::RawOverride, severity::set_severity_after};

/// Makes the rules as they are on some devices, from those of the profile.
pub(super) fn overrides(
    source: &Source<'_>,
    rules: &[Rule],
    raw: Vec<Spanned<RawOverride>>,
) -> Result<Vec<Override>, ProfileError> {
    let mut overrides: Vec<Override> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let raw = spanned.into_inner();
        let (id, at) = (raw.rule.as_ref().clone(), raw.rule.span().start);
        let rule = rules.iter().find(|rule| rule.id == id).ok_or_else(|| {
            let known: Vec<_> = rules.iter().map(|rule| rule.id.as_str()).collect();
            source.error(at, format!("unknown rule \"{id}\""), super::did_you_mean(id.as_str(), &known))
        })?;
        if rule.life_safety {
            return Err(source.error(
                at,
                format!("the life-safety rule \"{id}\" is the same on every device"),
                "remove the override; a signal that a device lacks counts as unknown",
            ));
        }
        if raw.devices.is_empty() {
            return Err(source.error(start, "the override names no devices", "write devices = [\"…\", …]"));
        }
        if let Some(twice) = raw
            .devices
            .iter()
            .find(|device| overrides.iter().any(|other| other.id == id && other.devices.contains(device)))
        {
            return Err(source.error(
                start,
                format!("the rule \"{id}\" has two overrides for {twice}"),
                "make one of the two",
            ));
        }
        let devices = raw.devices.clone();
        let rule = if raw.off { None } else { Some(changed(source, rule, raw, start)?) };
        overrides.push(Override { devices, id, rule });
    }
    Ok(overrides)
}

fn changed(source: &Source<'_>, rule: &Rule, raw: RawOverride, start: usize) -> Result<Rule, ProfileError> {
    let mut rule = Rule { source: raw.source, line: source.line(start), ..rule.clone() };
    match (&mut rule.condition, raw.when, raw.after) {
        (_, None, None) => {}
        (Condition::When(when), Some(text), None) => *when = source.locate(text),
        (Condition::Absence { after, .. }, None, Some(span)) => *after = span,
        (_, when, _) => {
            let (what, of) = if when.is_some() { ("when", "with when") } else { ("after", "of absence") };
            return Err(source.error(
                start,
                format!("the override of \"{}\" has {what}, which goes with a rule {of}", rule.id),
                format!("remove {what}, or write a rule of its own"),
            ));
        }
    }
    rule.severity = raw.severity.unwrap_or(rule.severity);
    if let Some(steps) = raw.severity_after {
        set_severity_after(source, &mut rule, steps)?;
    }
    rule.hold = raw.hold.unwrap_or(rule.hold);
    rule.clear_for = raw.clear_for.unwrap_or(rule.clear_for);
    rule.unless = raw.unless.map(|text| source.locate(text)).or(rule.unless);
    rule.clear_when = raw.clear_when.map(|text| source.locate(text)).or(rule.clear_when);
    Ok(rule)
}
