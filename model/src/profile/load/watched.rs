//! What a profile watches for: rules, detectors, forecasts, which refer to what it declares.

use toml::Spanned;

use super::{Source, did_you_mean};
use crate::{
    ChannelId, RuleId, RunbookId,
    profile::{
        AbsenceOf, Channel, ChannelKind, Condition, Detector, DetectorMethod, Direction, EventKind, Forecast,
        ProfileError, Rule, Runbook, Signal,
        raw::{RawDetector, RawDirection, RawForecast, RawRule},
        severity,
    },
};

/// What rules, detectors and forecasts may refer to.
pub(in crate::profile) struct Names<'a> {
    pub(in crate::profile) source: &'a Source<'a>,
    pub(super) channels: &'a [Channel],
    pub(super) events: &'a [EventKind],
    pub(super) runbooks: &'a [Runbook],
}

impl Names<'_> {
    pub(super) fn channel(&self, name: &Spanned<String>) -> Result<&Channel, ProfileError> {
        self.channels.iter().find(|channel| channel.id.as_str() == name.as_ref()).ok_or_else(|| {
            let known: Vec<_> = self.channels.iter().map(|channel| channel.id.as_str()).collect();
            self.source.error(
                name.span().start,
                format!("unknown channel \"{}\"", name.as_ref()),
                did_you_mean(name.as_ref(), &known),
            )
        })
    }

    pub(in crate::profile) fn number_channel(&self, name: &Spanned<String>) -> Result<ChannelId, ProfileError> {
        let channel = self.channel(name)?;
        match channel.kind {
            ChannelKind::Number { .. } => Ok(channel.id.clone()),
            ChannelKind::Bool | ChannelKind::Text { .. } | ChannelKind::State { .. } => Err(self.source.error(
                name.span().start,
                format!("the channel \"{}\" is not a number", channel.id),
                "detectors and forecasts need a number channel",
            )),
        }
    }

    pub(in crate::profile) fn event(&self, code: &Spanned<String>) -> Result<String, ProfileError> {
        if self.events.iter().any(|event| event.code == *code.as_ref()) {
            return Ok(code.as_ref().clone());
        }
        let known: Vec<_> = self.events.iter().map(|event| event.code.as_str()).collect();
        Err(self.source.error(
            code.span().start,
            format!("unknown event \"{}\"", code.as_ref()),
            did_you_mean(code.as_ref(), &known),
        ))
    }

    pub(in crate::profile) fn runbook(
        &self,
        id: Option<Spanned<RunbookId>>,
    ) -> Result<Option<RunbookId>, ProfileError> {
        let Some(id) = id else { return Ok(None) };
        if self.runbooks.iter().any(|runbook| runbook.id == *id.as_ref()) {
            return Ok(Some(id.into_inner()));
        }
        let known: Vec<_> = self.runbooks.iter().map(|runbook| runbook.id.as_str()).collect();
        Err(self.source.error(
            id.span().start,
            format!("unknown runbook \"{}\"", id.as_ref()),
            did_you_mean(id.as_ref().as_str(), &known),
        ))
    }

    fn condition(&self, raw: &mut RawRule, start: usize) -> Result<Condition, ProfileError> {
        let given = [raw.when.is_some(), raw.absence.is_some(), raw.event.is_some(), raw.fusion.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(self.source.error(
                start,
                format!("the rule \"{}\" must have exactly one condition", raw.id),
                "write one of when, absence, event or fusion",
            ));
        }
        if let Some(when) = raw.when.take() {
            return Ok(Condition::When(self.source.locate(when)));
        }
        if let Some(absence) = raw.absence.take() {
            let of = match (&absence.channel, &absence.event) {
                (None, None) => AbsenceOf::Contact,
                (Some(channel), None) => AbsenceOf::Channel(self.channel(channel)?.id.clone()),
                (None, Some(event)) => AbsenceOf::Event(self.event(event)?),
                (Some(_), Some(event)) => {
                    return Err(self.source.error(
                        event.span().start,
                        "an absence cannot be of a channel and of an event",
                        "write two rules",
                    ));
                }
            };
            return Ok(Condition::Absence { of, after: absence.after });
        }
        if let Some(event) = raw.event.take() {
            if event.codes.is_empty() {
                return Err(self.source.error(
                    start,
                    format!("the rule \"{}\" names no event codes", raw.id),
                    "add at least one to codes",
                ));
            }
            return Ok(Condition::Event {
                codes: event.codes.iter().map(|code| self.event(code)).collect::<Result<_, _>>()?,
                clear_codes: event.clear_codes.iter().map(|code| self.event(code)).collect::<Result<_, _>>()?,
            });
        }
        let fusion = raw.fusion.take().ok_or_else(|| self.source.error(start, "no condition", "add one"))?;
        let most: f64 = fusion.signals.iter().map(|signal| signal.weight.max(0.0)).sum();
        if !(fusion.threshold > 0.0 && fusion.threshold <= most) {
            return Err(self.source.error(
                start,
                format!("the threshold {} of \"{}\" can never be reached or is always reached (all weights together: {most})", fusion.threshold, raw.id),
                "choose a threshold above 0 and at most the sum of the weights",
            ));
        }
        Ok(Condition::Fusion {
            threshold: fusion.threshold,
            signals: fusion
                .signals
                .into_iter()
                .map(|signal| Signal {
                    id: signal.id,
                    name: signal.name,
                    when: self.source.locate(signal.when),
                    weight: signal.weight,
                })
                .collect(),
        })
    }

    pub(super) fn rule(&self, spanned: Spanned<RawRule>) -> Result<Rule, ProfileError> {
        let start = spanned.span().start;
        let mut raw = spanned.into_inner();
        let condition = self.condition(&mut raw, start)?;
        if let (true, Some(unless)) = (raw.life_safety, &raw.unless) {
            return Err(self.source.error(
                unless.span().start,
                format!("the life-safety rule \"{}\" must never be inhibited", raw.id),
                "remove unless, or make what it says part of the condition",
            ));
        }
        if raw.life_safety && raw.dry_run {
            return Err(self.source.error(
                start,
                format!("the life-safety rule \"{}\" must call people, not be on trial", raw.id),
                "remove dry_run; or remove life_safety for as long as the rule is on trial",
            ));
        }
        let steps = std::mem::take(&mut raw.severity_after);
        let mut rule = Rule {
            condition,
            unless: raw.unless.map(|text| self.source.locate(text)),
            runbook: self.runbook(raw.runbook)?,
            id: raw.id,
            title: raw.title,
            source: raw.source,
            severity: raw.severity,
            severity_after: Vec::new(),
            ticket: raw.ticket,
            scope: raw.scope,
            life_safety: raw.life_safety,
            dry_run: raw.dry_run,
            hold: raw.hold.unwrap_or_default(),
            clear_when: raw.clear_when.map(|text| self.source.locate(text)),
            clear_for: raw.clear_for.unwrap_or_default(),
            line: self.source.line(start),
        };
        severity::set_severity_after(self.source, &mut rule, steps)?;
        Ok(rule)
    }

    pub(super) fn detector(&self, spanned: Spanned<RawDetector>) -> Result<Detector, ProfileError> {
        let start = spanned.span().start;
        let raw = spanned.into_inner();
        let method = match (raw.sigmas, raw.novelty) {
            (Some(sigmas), None) if sigmas >= 3.0 && raw.beside.is_none() => {
                DetectorMethod::Shift { sigmas, min_change: raw.min_change.unwrap_or(0.0).max(0.0) }
            }
            (None, Some(score)) if (0.5..1.0).contains(&score) && raw.min_change.is_none() => DetectorMethod::Novelty {
                score,
                beside: raw.beside.as_ref().map(|beside| self.number_channel(beside)).transpose()?,
            },
            (Some(_), Some(_)) | (None, None) => {
                return Err(self.source.error(
                    start,
                    format!("the detector \"{}\" must say either sigmas or novelty", raw.id),
                    "write sigmas = 6.0 for a shift of the level, or novelty = 0.9 for something never seen before",
                ));
            }
            (Some(_), None) if raw.beside.is_some() => {
                return Err(self.source.error(
                    start,
                    format!("the detector \"{}\" has beside, which goes with novelty only", raw.id),
                    "write novelty = 0.9 instead of sigmas, or leave beside out",
                ));
            }
            (Some(_), None) => return Err(self.too_keen(start, &raw.id)),
            (None, Some(_)) => {
                return Err(self.source.error(
                    start,
                    format!("the detector \"{}\" has a novelty that is no score, or a min_change beside it", raw.id),
                    "use a novelty of at least 0.5 and below 1, and no min_change",
                ));
            }
        };
        if raw.warm_up < 20 {
            return Err(self.too_keen(start, &raw.id));
        }
        Ok(Detector {
            channel: self.number_channel(&raw.channel)?,
            runbook: self.runbook(raw.runbook)?,
            id: raw.id,
            title: raw.title,
            warm_up: raw.warm_up,
            method,
            severity: raw.severity,
            ticket: raw.ticket,
            line: self.source.line(start),
        })
    }

    fn too_keen(&self, start: usize, id: &RuleId) -> ProfileError {
        self.source.error(
            start,
            format!("the detector \"{id}\" would fire on noise"),
            "use warm_up of at least 20 observations and sigmas of at least 3",
        )
    }

    pub(super) fn forecast(&self, spanned: Spanned<RawForecast>) -> Result<Forecast, ProfileError> {
        let start = spanned.span().start;
        let raw = spanned.into_inner();
        Ok(Forecast {
            channel: self.number_channel(&raw.channel)?,
            runbook: self.runbook(raw.runbook)?,
            id: raw.id,
            title: raw.title,
            threshold: raw.threshold,
            direction: match raw.direction {
                RawDirection::Above => Direction::Above,
                RawDirection::Below => Direction::Below,
            },
            horizon: raw.horizon,
            min_span: raw.min_span,
            severity: raw.severity,
            line: self.source.line(start),
        })
    }
}
