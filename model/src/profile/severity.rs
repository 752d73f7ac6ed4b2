//! How the severity of a rule's alerts changes with time.

use toml::Spanned;

use super::{ProfileError, Rule, SeverityAfter, load::Source, raw::RawSeverityAfter};

/// Checks the steps of a rule, and puts them into it.
pub(super) fn set_severity_after(
    source: &Source<'_>,
    rule: &mut Rule,
    raw: Vec<Spanned<RawSeverityAfter>>,
) -> Result<(), ProfileError> {
    let mut steps: Vec<SeverityAfter> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let RawSeverityAfter { after, severity } = spanned.into_inner();
        if steps.last().map_or(after.is_zero(), |before| before.after >= after) {
            return Err(source.error(
                start,
                format!("the severities of \"{}\" are not in order of time", rule.id),
                "write severity_after = [{ after = \"1h\", … }, { after = \"4h\", … }], the earliest first",
            ));
        }
        let before = steps.last().map_or(rule.severity, |before| before.severity);
        if rule.life_safety && severity < before {
            return Err(source.error(
                start,
                format!("the severity of the life-safety rule \"{}\" must not fall with time", rule.id),
                "remove the lesser severity",
            ));
        }
        steps.push(SeverityAfter { after, severity });
    }
    rule.severity_after = steps;
    Ok(())
}
