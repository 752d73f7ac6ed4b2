//! Which parts a repair takes: what the catalogue expects, weighed by what was used when the same had failed before.

use std::collections::HashMap;

use model::{CauseId, Localised, Profile};

use crate::{TransitionError, causes::Ranked};

/// The most parts that somebody can name for one repair.
pub const MAX_PARTS: usize = 12;
/// The most characters of a part in free words.
pub const MAX_PART_CHARS: usize = 80;
/// How many repairs that used it the catalogue's word for a part is worth. Our choice: after as many repairs without it
/// half of that word is left.
const CATALOGUE: f64 = 2.0;
/// A part that the catalogue does not name is proposed once so many repairs used it: one may be a slip of the pen.
const PROPOSED: u32 = 2;
/// The most parts that a visit is told to bring.
const MAX_NEEDS: usize = 20;

/// What was used in earlier repairs, by the cause that was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many repairs tell which parts were used, if only that there were none.
    pub told: Vec<(CauseId, u32)>,
    /// In how many of them a part was used, by its English name or the words that somebody wrote.
    pub used: Vec<(CauseId, String, u32)>,
}

/// A part and how likely it is needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// What it is.
    pub name: Localised,
    /// The probability that it is needed.
    pub probability: f64,
    /// In how many earlier repairs with one of the causes that take it it was used.
    pub used: u32,
    /// Of how many such repairs the parts were told.
    pub told: u32,
}

/// What was used, counted for each cause: looked up for every cause and part of a page.
#[derive(Default)]
struct Count {
    /// Of how many closed repairs the parts are known.
    told: u32,
    /// How many of them took a part, by its [`key`].
    used: HashMap<String, u32>,
}

impl Count {
    fn by_cause(usage: &Usage) -> HashMap<&CauseId, Self> {
        let mut counts: HashMap<&CauseId, Self> = HashMap::new();
        for (cause, told) in &usage.told {
            counts.entry(cause).or_default().told = *told;
        }
        for (cause, part, used) in &usage.used {
            *counts.entry(cause).or_default().used.entry(key(part)).or_default() += used;
        }
        counts
    }

    fn used(&self, part: &str) -> u32 {
        // Two ways to write one part may both be on one repair.
        self.used.get(part).copied().unwrap_or(0).min(self.told)
    }
}

/// Parts are the same if they differ in capitals only.
fn key(name: &str) -> String {
    name.to_lowercase()
}

/// The parts of the causes that are prepared for, the likeliest first.
///
/// How likely the repair of a cause takes a part is the mean of a Beta posterior, `(2 c + used) / (2 + told)`: `c` is 1 if
/// the catalogue names the part for the cause and 0 if not, `told` the closed repairs with this cause of which the parts
/// are known. Over all causes these are weighed by how likely each cause is.
#[must_use]
pub(crate) fn needed(causes: &[Ranked<'_>], usage: &Usage) -> Vec<Need> {
    let counts = Count::by_cause(usage);
    let mut names: Vec<Localised> = Vec::new();
    for cause in causes.iter().filter(|ranked| ranked.prepared).map(|ranked| ranked.cause) {
        let of = counts.get(&cause.id);
        let often = |part: &str| of.is_some_and(|count| count.used(&key(part)) >= PROPOSED);
        let learnt = usage.used.iter().filter(|(id, part, _)| *id == cause.id && often(part));
        let learnt = learnt.map(|(_, part, _)| Localised::new(part, part));
        for part in cause.parts.iter().cloned().chain(learnt) {
            if names.iter().all(|known| key(&known.en) != key(&part.en)) {
                names.push(part);
            }
        }
    }
    let mut needs: Vec<Need> = names.into_iter().map(|name| need(name, causes, &counts)).collect();
    needs.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    needs.truncate(MAX_NEEDS);
    needs
}

fn need(name: Localised, causes: &[Ranked<'_>], counts: &HashMap<&CauseId, Count>) -> Need {
    let part = key(&name.en);
    let mut need = Need { name, probability: 0.0, used: 0, told: 0 };
    for Ranked { cause, probability, .. } in causes {
        let named = cause.parts.iter().any(|known| key(&known.en) == part);
        let (used, told) = counts.get(&cause.id).map_or((0, 0), |count| (count.used(&part), count.told));
        if named || used > 0 {
            let prior = if named { CATALOGUE } else { 0.0 };
            need.probability += probability * (prior + f64::from(used)) / (CATALOGUE + f64::from(told));
            need.used += used;
            need.told += told;
        }
    }
    need
}

/// Every part that the profile names, each once: those of its causes, then those of its runbooks.
#[must_use]
pub fn catalogue(profile: &Profile) -> Vec<&Localised> {
    let mut parts: Vec<&Localised> = Vec::new();
    let causes = profile.causes.iter().flat_map(|cause| &cause.parts);
    for part in causes.chain(profile.runbooks.iter().flat_map(|runbook| &runbook.parts)) {
        if parts.iter().all(|known| key(&known.en) != key(&part.en)) {
            parts.push(part);
        }
    }
    parts
}

/// The part that somebody means: the profile's, if it has one of that name in either language, else their own words.
#[must_use]
pub fn named(profile: &Profile, words: &str) -> Localised {
    let words = words.replace(|c: char| c.is_control(), " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = catalogue(profile).into_iter();
    let mut same = known.filter(|part| key(&part.en) == key(&words) || key(&part.zh) == key(&words));
    same.next().cloned().unwrap_or_else(|| Localised::new(&words, &words))
}

/// Each part once, and nothing without a name.
///
/// # Errors
/// [`TransitionError`] if there are too many, or one is too long.
pub(crate) fn checked(parts: &[Localised]) -> Result<Vec<Localised>, TransitionError> {
    let mut checked: Vec<Localised> = Vec::new();
    for part in parts.iter().filter(|part| !part.en.trim().is_empty()) {
        let chars = part.en.chars().count();
        if chars > MAX_PART_CHARS {
            return Err(TransitionError::PartTooLong { chars });
        }
        if checked.iter().all(|known| key(&known.en) != key(&part.en)) {
            checked.push(part.clone());
        }
    }
    if checked.len() > MAX_PARTS { Err(TransitionError::TooManyParts { parts: checked.len() }) } else { Ok(checked) }
}
