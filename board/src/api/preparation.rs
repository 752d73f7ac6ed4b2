//! What a visit should be prepared for, from the profile's catalogue of causes and what was confirmed before.

use std::time::Duration;

use desk::{
    Confirmed, Ticket,
    causes::{self, Preparation},
    parts::{self, Usage},
};
use model::{CauseId, Directory, Localised, Profile};

use super::{
    dto::{CauseRef, CauseView, FalseAlarmsView, PartView, PreparationView},
    error::ApiError,
};
use crate::{auth::Session, state::App};

/// The most parts that are proposed.
const MAX_PARTS: usize = 100;

/// What is prepared for a ticket.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// How likely causes are, and what they take.
    pub view: Option<PreparationView>,
    /// The causes that may be named when the ticket is closed, and at the end that nothing was found.
    pub known: Vec<CauseRef>,
    /// How often nothing was found before.
    pub false_alarms: Option<FalseAlarmsView>,
    /// The parts that may be named then.
    pub parts: Vec<Localised>,
    /// How long the repair usually takes, by its causes or its runbook.
    pub repair: Duration,
}

/// What is prepared for a ticket.
pub(crate) async fn of_ticket(app: &App, session: &Session, ticket: &Ticket) -> Result<Prepared, ApiError> {
    let directory = app.directory();
    let nothing = cause_ref(&Confirmed::nothing());
    let Some(profile) = directory.profiles.get(&ticket.profile) else {
        return Ok(Prepared { known: vec![nothing], ..Prepared::default() });
    };
    let by_runbook = ticket.runbook.as_ref().and_then(|runbook| profile.runbook(runbook)).map(|found| found.duration);
    let repair = by_runbook.unwrap_or_default();
    let Some(rule) = ticket.rule() else {
        return Ok(Prepared { known: vec![nothing], repair, ..Prepared::default() });
    };
    let confirmed = app.store().confirmed_causes(session.org(), &profile.id, rule).await?;
    let false_alarms = causes::false_alarms(&confirmed);
    let false_alarms = false_alarms.map(|found| FalseAlarmsView { count: found.count, told: found.told });
    let usage = match profile.causes.is_empty() {
        true => Usage::default(),
        false => app.store().parts_used(session.org(), &profile.id).await?,
    };
    let preparation = causes::prepare(profile, rule, ticket.kind, &confirmed, &usage);
    let ranked: Vec<&CauseId> =
        preparation.iter().flat_map(|found| &found.causes).map(|ranked| &ranked.cause.id).collect();
    let place = |id: &CauseId| ranked.iter().position(|known| *known == id).unwrap_or(usize::MAX);
    let mut known: Vec<CauseRef> =
        profile.causes.iter().map(|cause| CauseRef { id: cause.id.clone(), name: cause.name.clone() }).collect();
    known.sort_by_key(|cause| place(&cause.id));
    known.push(nothing);
    Ok(Prepared {
        repair: preparation.as_ref().map_or(repair, |preparation| preparation.usual),
        parts: known_parts(profile, preparation.as_ref()),
        view: preparation.map(|preparation| view(profile, &preparation)),
        known,
        false_alarms,
    })
}

/// The cause that somebody who closes the ticket names.
pub(crate) fn confirmed(directory: &Directory, ticket: &Ticket, id: &CauseId) -> Result<Confirmed, ApiError> {
    if id.is_nothing_found() {
        return Ok(Confirmed::nothing());
    }
    match directory.profiles.get(&ticket.profile).and_then(|profile| profile.cause(id)) {
        Some(cause) => Ok(Confirmed { id: cause.id.clone(), name: cause.name.clone() }),
        None => Err(ApiError::bad_request(
            format!("The profile \"{}\" has no cause \"{id}\" in its catalogue.", ticket.profile),
            "Name one of the ticket's known_causes, or leave the cause out.",
        )),
    }
}

/// The parts that somebody who closes the ticket names.
pub(crate) fn used(directory: &Directory, ticket: &Ticket, words: &[String]) -> Result<Vec<Localised>, ApiError> {
    let Some(profile) = directory.profiles.get(&ticket.profile) else {
        return Err(ApiError::bad_request(
            format!("The profile \"{}\" is not known here.", ticket.profile),
            "Leave the parts out.",
        ));
    };
    Ok(words.iter().map(|words| parts::named(profile, words)).collect())
}

/// None without a catalogue: parts are learnt by what had failed.
fn known_parts(profile: &Profile, preparation: Option<&Preparation<'_>>) -> Vec<Localised> {
    if profile.causes.is_empty() {
        return Vec::new();
    }
    let mut known: Vec<Localised> =
        preparation.iter().flat_map(|found| &found.parts).map(|need| need.name.clone()).collect();
    for part in parts::catalogue(profile) {
        if known.len() < MAX_PARTS && !known.contains(part) {
            known.push(part.clone());
        }
    }
    known
}

/// A cause that was confirmed.
pub(crate) fn cause_ref(cause: &Confirmed) -> CauseRef {
    CauseRef { id: cause.id.clone(), name: cause.name.clone() }
}

fn view(profile: &Profile, preparation: &Preparation<'_>) -> PreparationView {
    let causes = preparation.causes.iter().map(|ranked| CauseView {
        id: ranked.cause.id.clone(),
        name: ranked.cause.name.clone(),
        probability: ranked.probability,
        confirmed: ranked.confirmed,
        prepared: ranked.prepared,
        parts: ranked.cause.parts.clone(),
        duration: model::duration::format(causes::takes(profile, ranked.cause)),
        runbook: ranked.cause.runbook.clone(),
        source: ranked.cause.source.clone(),
    });
    PreparationView {
        causes: causes.collect(),
        parts: preparation
            .parts
            .iter()
            .map(|need| PartView {
                name: need.name.clone(),
                probability: need.probability,
                used: need.used,
                repairs: need.told,
            })
            .collect(),
        tools: preparation.tools.iter().copied().cloned().collect(),
        skills: preparation.skills.iter().copied().cloned().collect(),
        usual: model::duration::format(preparation.usual),
        longest: model::duration::format(preparation.longest),
    }
}
