//! Reads a profile from TOML and checks it; every error names its line.

use std::{collections::HashSet, path::Path};

use toml::Spanned;

use super::{
    AbsenceOf, Channel, ChannelKind, CommandKind, Condition, Derived, Detector, DetectorMethod, Direction, EventKind,
    Forecast, Located, Profile, ProfileError, Rule, Runbook, Signal,
    raw::{
        RawChannel, RawCommand, RawDerived, RawDetector, RawDirection, RawEvent, RawFile, RawForecast, RawRule,
        RawRunbook, RawType,
    },
};
use crate::{ChannelId, RuleId, RunbookId, text};

/// The longest a profile file may be, in bytes.
const MAX_FILE: usize = 1 << 20;

/// Turns byte offsets into lines and holds what checks need to report a place.
pub(super) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|b| **b == b'\n').count() + 1
    }

    pub(super) fn error(&self, offset: usize, message: impl Into<String>, remedy: impl Into<String>) -> ProfileError {
        ProfileError {
            file: self.file.to_owned(),
            line: self.line(offset),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn locate(&self, text: Spanned<String>) -> Located<String> {
        Located { line: self.line(text.span().start), value: text.into_inner() }
    }
}

impl Profile {
    /// Reads and checks a profile. `file` is named in errors only.
    ///
    /// # Errors
    /// The first [`ProfileError`] found.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ProfileError> {
        let source = Source { file, text };
        if text.len() > MAX_FILE {
            return Err(source.error(0, "the profile is larger than 1 MiB", "split it into several profiles"));
        }
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            source.error(
                start,
                error.message().trim_end().replace('\n', "; "),
                "see docs/profiles.md for the keys and their values",
            )
        })?;
        let channels = channels(&source, raw.channels)?;
        let derived = derived(&source, &channels, raw.derived)?;
        let events = events(&source, raw.events)?;
        let runbooks = runbooks(&source, raw.runbooks)?;
        let names = Names { source: &source, channels: &channels, events: &events, runbooks: &runbooks };
        let mut seen: HashSet<RuleId> = RuleId::new(super::FAILURE_RISK).into_iter().collect();
        let mut unique = |id: &RuleId, offset: usize| {
            if seen.insert(id.clone()) {
                Ok(())
            } else {
                Err(source.error(
                    offset,
                    format!("the name \"{id}\" is used twice"),
                    "give every rule, detector and forecast its own name",
                ))
            }
        };
        let mut rules = Vec::with_capacity(raw.rules.len());
        for rule in raw.rules {
            unique(&rule.as_ref().id, rule.span().start)?;
            rules.push(names.rule(rule)?);
        }
        let overrides = super::overrides::overrides(&source, &rules, raw.overrides)?;
        let mut detectors = Vec::with_capacity(raw.detectors.len());
        for detector in raw.detectors {
            unique(&detector.as_ref().id, detector.span().start)?;
            detectors.push(names.detector(detector)?);
        }
        let mut forecasts = Vec::with_capacity(raw.forecasts.len());
        for forecast in raw.forecasts {
            unique(&forecast.as_ref().id, forecast.span().start)?;
            forecasts.push(names.forecast(forecast)?);
        }
        let own: Vec<RuleId> = rules.iter().map(|rule| rule.id.clone()).collect();
        let failures = raw.failures.map(|raw| super::failures::load(&names, &own, raw)).transpose()?;
        let commands = raw
            .commands
            .into_iter()
            .map(|raw| {
                let RawCommand { name, title, timeout } = raw.into_inner();
                CommandKind { name, title, timeout }
            })
            .collect();
        Ok(Self {
            id: raw.profile.id,
            name: raw.profile.name,
            version: raw.profile.version,
            lateness: raw.profile.lateness.unwrap_or_default(),
            gap: raw.profile.gap,
            file: file.to_owned(),
            channels,
            derived,
            events,
            rules,
            overrides,
            detectors,
            forecasts,
            failures,
            runbooks,
            commands,
        })
    }
}

fn channels(source: &Source<'_>, raw: Vec<Spanned<RawChannel>>) -> Result<Vec<Channel>, ProfileError> {
    let mut channels: Vec<Channel> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let raw = spanned.into_inner();
        let id = raw.id;
        if matches!(id.as_str(), "device" | "time" | "seq") {
            return Err(source.error(
                start,
                format!("\"{id}\" is the name of a column of its own"),
                "choose another channel name",
            ));
        }
        if channels.iter().any(|channel| channel.id == id) {
            return Err(source.error(
                start,
                format!("the channel \"{id}\" is declared twice"),
                "remove one of the two",
            ));
        }
        let kind = match raw.kind {
            RawType::Number => {
                let unit = raw.unit.ok_or_else(|| {
                    source.error(
                        start,
                        format!("the number channel \"{id}\" has no unit"),
                        "add unit = \"…\" (\"1\" for a pure number)",
                    )
                })?;
                let range = raw.range.ok_or_else(|| {
                    source.error(
                        start,
                        format!("the number channel \"{id}\" has no range"),
                        "add range = [least, greatest] that is physically possible",
                    )
                })?;
                let offset = range.span().start;
                let [min, max] = range.into_inner();
                if !(min.is_finite() && max.is_finite() && min < max) {
                    return Err(source.error(
                        offset,
                        format!("the range of \"{id}\" is empty or not finite"),
                        "write the lesser value first",
                    ));
                }
                ChannelKind::Number { unit, min, max }
            }
            RawType::Bool => ChannelKind::Bool,
            RawType::Text => ChannelKind::Text { max_len: raw.max_len.unwrap_or(256).min(4096) },
            RawType::State => {
                let states = raw.states.filter(|states| !states.is_empty()).ok_or_else(|| {
                    source.error(
                        start,
                        format!("the state channel \"{id}\" names no states"),
                        "add states = [\"…\", …]",
                    )
                })?;
                ChannelKind::State { states }
            }
        };
        let state_names = match (raw.state_names, &kind) {
            (None, _) => Vec::new(),
            (Some(names), ChannelKind::State { states }) if names.as_ref().len() == states.len() => names.into_inner(),
            (Some(names), _) => {
                return Err(source.error(
                    names.span().start,
                    format!("the names of \"{id}\" are not one for each of its states"),
                    "write as many state_names as states, in the same order",
                ));
            }
        };
        channels.push(Channel { id, name: raw.name, kind, state_names });
    }
    if channels.is_empty() {
        return Err(source.error(0, "the profile has no channels", "add at least one [[channels]]"));
    }
    Ok(channels)
}

fn derived(source: &Source<'_>, channels: &[Channel], raw: Vec<RawDerived>) -> Result<Vec<Derived>, ProfileError> {
    let mut derived: Vec<Derived> = Vec::with_capacity(raw.len());
    for RawDerived { id, value } in raw {
        let known = channels.iter().map(|channel| &channel.id).chain(derived.iter().map(|derived| &derived.id));
        if known.into_iter().any(|known| known == id.as_ref()) {
            return Err(source.error(
                id.span().start,
                format!("the name \"{}\" is used twice", id.as_ref()),
                "give every channel and every derived number its own name",
            ));
        }
        derived.push(Derived { id: id.into_inner(), value: source.locate(value) });
    }
    Ok(derived)
}

fn events(source: &Source<'_>, raw: Vec<Spanned<RawEvent>>) -> Result<Vec<EventKind>, ProfileError> {
    let mut events: Vec<EventKind> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let RawEvent { code, name } = spanned.into_inner();
        if code.is_empty() || code.len() > 64 {
            return Err(source.error(start, "an event code must have 1 to 64 characters", "shorten it"));
        }
        if events.iter().any(|event| event.code == code) {
            return Err(source.error(
                start,
                format!("the event \"{code}\" is declared twice"),
                "remove one of the two",
            ));
        }
        events.push(EventKind { code, name });
    }
    Ok(events)
}

fn runbooks(source: &Source<'_>, raw: Vec<Spanned<RawRunbook>>) -> Result<Vec<Runbook>, ProfileError> {
    let mut runbooks: Vec<Runbook> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let RawRunbook { id, title, steps, parts, tools, skill, duration } = spanned.into_inner();
        if runbooks.iter().any(|runbook| runbook.id == id) {
            return Err(source.error(
                start,
                format!("the runbook \"{id}\" is declared twice"),
                "remove one of the two",
            ));
        }
        runbooks.push(Runbook { id, title, steps, parts, tools, skill, duration });
    }
    Ok(runbooks)
}

/// What rules, detectors and forecasts may refer to.
pub(super) struct Names<'a> {
    pub(super) source: &'a Source<'a>,
    channels: &'a [Channel],
    events: &'a [EventKind],
    runbooks: &'a [Runbook],
}

impl Names<'_> {
    fn channel(&self, name: &Spanned<String>) -> Result<&Channel, ProfileError> {
        self.channels.iter().find(|channel| channel.id.as_str() == name.as_ref()).ok_or_else(|| {
            let known: Vec<_> = self.channels.iter().map(|channel| channel.id.as_str()).collect();
            self.source.error(
                name.span().start,
                format!("unknown channel \"{}\"", name.as_ref()),
                did_you_mean(name.as_ref(), &known),
            )
        })
    }

    pub(super) fn number_channel(&self, name: &Spanned<String>) -> Result<ChannelId, ProfileError> {
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

    pub(super) fn event(&self, code: &Spanned<String>) -> Result<String, ProfileError> {
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

    pub(super) fn runbook(&self, id: Option<Spanned<RunbookId>>) -> Result<Option<RunbookId>, ProfileError> {
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

    fn rule(&self, spanned: Spanned<RawRule>) -> Result<Rule, ProfileError> {
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
        super::severity::set_severity_after(self.source, &mut rule, steps)?;
        Ok(rule)
    }

    fn detector(&self, spanned: Spanned<RawDetector>) -> Result<Detector, ProfileError> {
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

    fn forecast(&self, spanned: Spanned<RawForecast>) -> Result<Forecast, ProfileError> {
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

/// A remedy for a name that is not known: the nearest one that is, or all of them.
#[must_use]
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    match text::nearest(name, known.iter().copied()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None if known.is_empty() => "none is declared; declare it first".to_owned(),
        None => format!("use one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HEAD: &str = "[profile]\nid = \"pump\"\nname = { en = \"Pump\", zh = \"水泵\" }\nversion = 1\n\
        [[channels]]\nid = \"pressure_bar\"\nname = { en = \"Pressure\", zh = \"压力\" }\ntype = \"number\"\nunit = \"bar\"\nrange = [0.0, 40.0]\n";

    fn error(tail: &str) -> String {
        Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{tail}")).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_and_remedy() {
        let detector = "[[detectors]]\nid = \"d\"\ntitle = { en = \"x\", zh = \"x\" }\nchannel = \"presure_bar\"\nwarm_up = 50\nsigmas = 5.0\nseverity = \"minor\"\nticket = \"forecast\"\n";
        assert_eq!(error(detector), "pump.toml:14: unknown channel \"presure_bar\"; did you mean \"pressure_bar\"?");
        assert!(error("[[events]]\ncodes = \"x\"\n").contains("unknown field `codes`"));
        let rule = "[[rules]]\nid = \"r\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"minor\"\nticket = \"breakdown\"\n";
        assert!(error(rule).contains("exactly one condition"));
        assert!(error(&format!("{rule}when = \"true\"\nfor = \"ten\"\n")).contains("\"ten\" is not a duration"));
    }

    #[test]
    fn a_life_safety_rule_cannot_be_inhibited() {
        let rule = "[[rules]]\nid = \"r\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"critical\"\nticket = \"entrapment\"\nwhen = \"true\"\nunless = \"false\"\n";
        let parsed = Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{rule}")).unwrap();
        assert_eq!(parsed.rules[0].unless, Some(super::super::Located { value: "false".to_owned(), line: 18 }));
        assert_eq!(
            error(&format!("{rule}life_safety = true\n")),
            "pump.toml:18: the life-safety rule \"r\" must never be inhibited; remove unless, or make what it says part of the condition"
        );
    }

    #[test]
    fn a_life_safety_rule_is_never_on_trial() {
        let rule = "[[rules]]\nid = \"r\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = \"true\"\ndry_run = true\n";
        assert!(Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{rule}")).unwrap().rules[0].dry_run);
        assert_eq!(
            error(&format!("{rule}life_safety = true\n")),
            "pump.toml:11: the life-safety rule \"r\" must call people, not be on trial; remove dry_run; or remove life_safety for as long as the rule is on trial"
        );
    }

    #[test]
    fn values_outside_the_physical_range_do_not_fit() {
        let profile = Profile::parse(Path::new("pump.toml"), HEAD).unwrap();
        let channel = profile.channel("pressure_bar").unwrap();
        assert!(channel.check(&crate::Value::Number(3.0)).is_ok());
        assert!(matches!(channel.check(&crate::Value::Number(400.0)), Err(super::super::Misfit::Range { .. })));
        assert!(matches!(channel.check(&crate::Value::Bool(true)), Err(super::super::Misfit::Type { .. })));
        assert!(channel.check(&crate::Value::Number(f64::NAN)).is_err());
    }
}
