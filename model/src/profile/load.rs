//! Reads a profile from TOML and checks it; every error names its line.

mod commanded;
mod declared;
mod watched;

use std::{collections::HashSet, path::Path};

use toml::Spanned;

use super::{Located, Profile, ProfileError, raw::RawFile};
use crate::{RuleId, text};
use declared::{channels, derived, events, runbooks};
pub(super) use watched::Names;

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
        let watched = own
            .iter()
            .chain(detectors.iter().map(|detector| &detector.id))
            .chain(forecasts.iter().map(|forecast| &forecast.id));
        let causes = super::causes::load(&names, watched.cloned().collect(), failures.is_some(), raw.causes)?;
        let commands = commanded::commands(&source, &names, raw.commands)?;
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
            causes,
            runbooks,
            commands,
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
mod tests;
