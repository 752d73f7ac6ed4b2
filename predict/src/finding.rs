//! What detectors and forecasts need to raise an alert.

use model::{
    Alert, AlertChange, AlertId, AlertSource, Device, Evidence, Localised, Profile, RuleId, RunbookId, Scope, Severity,
    TicketKind, Timestamp, Unit,
};

/// One value of the watched channel, and whose it is.
pub(crate) struct Context<'a> {
    pub(crate) device: &'a Device,
    pub(crate) profile: &'a Profile,
    /// What people call the channel.
    pub(crate) channel: &'a Localised,
    pub(crate) unit: Option<Unit>,
    /// The width of the channel's physical range.
    pub(crate) range: f64,
}

/// The part of an alert that the profile fixes.
pub(crate) struct Kind<'a> {
    pub(crate) rule: &'a RuleId,
    pub(crate) source: AlertSource,
    pub(crate) ticket: TicketKind,
    pub(crate) severity: Severity,
    pub(crate) title: &'a Localised,
    pub(crate) runbook: Option<&'a RunbookId>,
}

/// The alert raised at `at`, event time.
pub(crate) fn raise(context: &Context<'_>, kind: &Kind<'_>, at: i64, evidence: Evidence) -> Box<Alert> {
    let raised_at = Timestamp::from_micros(at);
    Box::new(Alert {
        id: AlertId::derive(&context.device.id, kind.rule, raised_at),
        org: context.device.org,
        device: context.device.id.clone(),
        site: context.device.site,
        profile: context.device.profile.clone(),
        rule: kind.rule.clone(),
        rule_version: context.profile.version,
        source: kind.source,
        kind: kind.ticket,
        scope: Scope::Device,
        severity: kind.severity,
        life_safety: false,
        title: kind.title.clone(),
        raised_at,
        cleared_at: None,
        evidence,
        runbook: kind.runbook.cloned(),
    })
}

/// The end of an alert at `at`, with a sentence that says what ended it.
pub(crate) fn clear(mut alert: Box<Alert>, at: i64, why: Localised) -> AlertChange {
    alert.cleared_at = Some(Timestamp::from_micros(at).max(alert.raised_at));
    alert.evidence.summary = why;
    AlertChange::Cleared(alert)
}
