//! From the hub's own types to what the API says.

use model::{
    Alert, AlertSource, DeviceId, Directory, ForecastEvidence, Localised, Observation, Profile, Receiver, RuleId, Site,
    Timestamp,
    profile::{Channel, ChannelKind, Condition, DetectorMethod, Runbook},
};
use store::{Command, TicketView, UserRole};

use super::dto::{
    ActorView, AffectedCount, AlertView, ChannelView, CommandView, DecisionView, DeviceRef, DeviceSummary,
    EvidenceView, ForecastView, LatestView, MilestoneView, ObservationView, PersonRef, ProfileRef, ReceiverView,
    ResponderView, RuleView, RunbookView, SiteRef, TicketRef, TicketSummary, TimelineView, WhatView,
};
use crate::{auth::Session, mask::mask};

/// An address as this user may see it.
pub(crate) fn address_for(session: &Session, receiver: &Receiver) -> String {
    match session.user.role {
        UserRole::Viewer => mask(receiver.channel, &receiver.address),
        UserRole::Technician | UserRole::Dispatcher | UserRole::Admin => receiver.address.clone(),
    }
}

pub(crate) fn receiver(session: &Session, receiver: &Receiver) -> ReceiverView {
    ReceiverView { channel: receiver.channel, address: address_for(session, receiver) }
}

pub(crate) fn site_ref(site: &Site) -> SiteRef {
    SiteRef { id: site.id, name: site.name.clone(), address: site.address.clone() }
}

fn device_ref(device: &model::Device) -> DeviceRef {
    DeviceRef { id: device.id.clone(), name: device.name.clone(), plate: device.plate.clone() }
}

/// A device by its id; one that is no longer registered keeps its id as its name.
pub(crate) fn known_device(directory: &Directory, id: &DeviceId) -> DeviceRef {
    match directory.devices.get(id) {
        Some(device) => device_ref(device),
        None => DeviceRef { id: id.clone(), name: id.to_string(), plate: None },
    }
}

pub(crate) fn actor(actor: &desk::Actor) -> ActorView {
    let (kind, id, name, channel) = match actor {
        desk::Actor::Hub => ("hub", None, None, None),
        desk::Actor::Device { device } => ("device", Some(device.to_string()), None, None),
        desk::Actor::Person { person, name, channel } => {
            ("person", Some(person.to_string()), Some(name.clone()), Some(*channel))
        }
        desk::Actor::User { user, name } => ("user", Some(user.to_string()), Some(name.clone()), None),
        desk::Actor::Affected { affected } => ("affected", Some(affected.to_string()), None, None),
        desk::Actor::Provider { channel } => ("provider", None, None, Some(*channel)),
    };
    ActorView { kind, id, name, channel }
}

/// The milestones with who earned them and what proves them.
pub(crate) fn proven(milestones: &[desk::Milestone]) -> Vec<MilestoneView> {
    milestones
        .iter()
        .map(|milestone| MilestoneView {
            kind: milestone.kind,
            at: milestone.at,
            actor: Some(actor(&milestone.actor)),
            proof: Some(milestone.proof.clone()),
        })
        .collect()
}

pub(crate) fn ticket(view: &TicketView) -> TicketSummary {
    let ticket = &view.ticket;
    let mut devices: Vec<&DeviceId> = ticket.alerts.iter().map(|alert| &alert.device).collect();
    devices.sort_unstable();
    devices.dedup();
    let site = view
        .site
        .as_ref()
        .map_or_else(|| SiteRef { id: ticket.site, name: String::new(), address: String::new() }, site_ref);
    let device = match (&view.device, &ticket.device) {
        (Some(device), _) => Some(device_ref(device)),
        (None, Some(id)) => Some(DeviceRef { id: id.clone(), name: id.to_string(), plate: None }),
        (None, None) => None,
    };
    TicketSummary {
        id: ticket.id,
        number: ticket.number,
        kind: ticket.kind,
        severity: ticket.severity,
        life_safety: ticket.life_safety,
        status: ticket.status,
        title: ticket.title.clone(),
        site,
        device,
        opened_at: ticket.opened_at,
        closed_at: ticket.closed_at,
        milestones: ticket
            .milestones
            .iter()
            .map(|milestone| MilestoneView { kind: milestone.kind, at: milestone.at, actor: None, proof: None })
            .collect(),
        level: ticket.escalation.level.map(model::RescueLevel::number),
        calling: ticket.escalation.calling,
        next_at: ticket.escalation.next_at,
        alerts_open: ticket.open_alerts().count(),
        alerts_total: ticket.alerts.len(),
        devices_affected: devices.len(),
        held: ticket.held.as_ref().map(|held| DecisionView { until: held.until, ..decision(&held.reason) }),
        hold_open: ticket.hold_open,
        assignee: ticket.assignee.map(|person| PersonRef { id: person, name: person_name(ticket, person) }),
        affected: AffectedCount {
            total: ticket.affected.len(),
            inside: ticket.affected.iter().filter(|affected| affected.inside).count(),
        },
        version: ticket.version,
    }
}

/// A ticket by its number.
pub(crate) fn ticket_ref(view: &TicketView) -> TicketRef {
    let summary = ticket(view);
    TicketRef { id: summary.id, number: summary.number, title: summary.title, device: summary.device }
}

fn decision(reason: &desk::Reason) -> DecisionView {
    DecisionView {
        code: reason.code(),
        pages: reason.pages(),
        text: reason.text(),
        until: reason.until(),
        ticket: reason.explained_by(),
    }
}

fn person_name(ticket: &desk::Ticket, person: model::PersonId) -> String {
    ticket
        .responders
        .iter()
        .find(|responder| responder.person == person)
        .map_or_else(|| person.to_string(), |responder| responder.name.clone())
}

pub(crate) fn responder(responder: &desk::Responder) -> ResponderView {
    ResponderView {
        person: PersonRef { id: responder.person, name: responder.name.clone() },
        level: responder.level.number(),
        paged_at: responder.paged_at,
        delivered_at: responder.delivered_at,
        acknowledged_at: responder.acknowledged_at,
        declined_at: responder.declined_at,
    }
}

pub(crate) fn timeline(seq: u64, entry: desk::TimelineEntry) -> TimelineView {
    TimelineView { seq, at: entry.at, actor: actor(&entry.actor), what: what(entry.what) }
}

fn what(what: desk::What) -> WhatView {
    match what {
        desk::What::Opened => WhatView::Opened,
        desk::What::AlertRaised { alert, device, title, reason, decision: made } => {
            WhatView::AlertRaised { alert, device, title, reason, decision: made.as_ref().map(decision) }
        }
        desk::What::SeverityChanged { alert, device, title, from, to, decision: made } => {
            WhatView::SeverityChanged { alert, device, title, from, to, decision: made.as_ref().map(decision) }
        }
        desk::What::Decided { reason } => WhatView::Decided { decision: decision(&reason) },
        desk::What::HeldOpen { until } => WhatView::HeldOpen { until },
        desk::What::AlertCleared { alert, device, title } => WhatView::AlertCleared { alert, device, title },
        desk::What::Milestone { milestone, proof } => WhatView::Milestone { milestone, proof },
        desk::What::Paged { person, name, level, channels } => {
            WhatView::Paged { person: PersonRef { id: person, name }, level: level.number(), channels }
        }
        desk::What::NobodyOnCall { level } => WhatView::NobodyOnCall { level: level.number() },
        desk::What::Exhausted => WhatView::Exhausted,
        desk::What::Declined => WhatView::Declined,
        desk::What::Assigned { person, name } => WhatView::Assigned { person: PersonRef { id: person, name } },
        desk::What::Overdue => WhatView::Overdue,
        desk::What::AffectedAdded { affected } => WhatView::AffectedAdded { affected },
        desk::What::CauseConfirmed { cause } => {
            WhatView::CauseConfirmed { cause: super::preparation::cause_ref(&cause) }
        }
        desk::What::PartsUsed { parts } => WhatView::PartsUsed { parts },
        desk::What::Note { text } => WhatView::Note { text },
    }
}

/// An alert of a ticket, with its whole evidence if it is still kept.
pub(crate) fn ticket_alert(directory: &Directory, alert: &desk::TicketAlert, whole: Option<&Alert>) -> AlertView {
    AlertView {
        id: alert.id,
        device: known_device(directory, &alert.device),
        rule: alert.rule.clone(),
        source: alert.source,
        title: alert.title.clone(),
        reason: alert.reason.clone(),
        severity: alert.severity,
        raised_at: alert.raised_at,
        cleared_at: alert.cleared_at,
        evidence: whole.map(|whole| evidence(directory, whole)),
    }
}

/// An alert of a device.
pub(crate) fn alert(directory: &Directory, alert: &Alert) -> AlertView {
    AlertView {
        id: alert.id,
        device: known_device(directory, &alert.device),
        rule: alert.rule.clone(),
        source: alert.source,
        title: alert.title.clone(),
        reason: alert.evidence.summary.clone(),
        severity: alert.severity,
        raised_at: alert.raised_at,
        cleared_at: alert.cleared_at,
        evidence: Some(evidence(directory, alert)),
    }
}

fn evidence(directory: &Directory, alert: &Alert) -> EvidenceView {
    let evidence = &alert.evidence;
    let profile = directory.find(&alert.device).map(|(_, profile)| profile.as_ref());
    EvidenceView {
        summary: evidence.summary.clone(),
        condition: evidence.condition.clone(),
        from: evidence.from,
        to: evidence.to,
        observations: evidence.observations.iter().map(|seen| observation(profile, &alert.rule, seen)).collect(),
        clears_when: evidence.clears_when.clone(),
        forecast: evidence.forecast.as_ref().map(forecast),
    }
}

fn observation(profile: Option<&Profile>, rule: &RuleId, observation: &Observation) -> ObservationView {
    let name = observation.name.as_str();
    ObservationView {
        name: observation.name.clone(),
        title: profile.and_then(|profile| observed(profile, rule, name)).unwrap_or_else(|| Localised::new(name, name)),
        value: observation.value.clone(),
        unit: observation.unit.map(model::Unit::display),
        time: observation.time,
        supports: observation.supports,
    }
}

/// What people call something that evidence names: a signal of the rule, a channel or an event.
fn observed(profile: &Profile, rule: &RuleId, name: &str) -> Option<Localised> {
    let signal = || {
        let Condition::Fusion { signals, .. } = &profile.rules.iter().find(|known| known.id == *rule)?.condition else {
            return None;
        };
        Some(&signals.iter().find(|signal| signal.id == name)?.name)
    };
    let channel = || Some(&profile.channel(name)?.name);
    let event = || Some(&profile.event(name)?.name);
    // What a forecast adds to its channel.
    let slope = || (name == "slope_per_day").then(|| Localised::new("Change per day", "每天变化"));
    signal().or_else(channel).or_else(event).cloned().or_else(slope)
}

pub(crate) fn forecast(forecast: &ForecastEvidence) -> ForecastView {
    ForecastView {
        channel: forecast.channel.clone(),
        threshold: forecast.threshold,
        level: forecast.level,
        slope_per_day: forecast.slope_per_day,
        expected_at: forecast.expected_at,
        earliest_at: forecast.earliest_at,
        latest_at: forecast.latest_at,
        coverage: forecast.coverage,
        observations: forecast.observations,
    }
}

pub(crate) fn runbook(runbook: &Runbook) -> RunbookView {
    RunbookView {
        id: runbook.id.clone(),
        title: runbook.title.clone(),
        steps: runbook.steps.clone(),
        parts: runbook.parts.clone(),
        tools: runbook.tools.clone(),
        skill: runbook.skill.clone(),
        duration: model::duration::format(runbook.duration),
    }
}

pub(crate) fn device(directory: &Directory, device: &store::DeviceSummary) -> DeviceSummary {
    let profile = &device.device.profile;
    let name = match directory.profiles.get(profile) {
        Some(profile) => profile.name.clone(),
        None => Localised::new(profile.as_str(), profile.as_str()),
    };
    DeviceSummary {
        id: device.device.id.clone(),
        name: device.device.name.clone(),
        plate: device.device.plate.clone(),
        profile: ProfileRef { id: profile.clone(), name },
        site: site_ref(&device.site),
        online: device.state.online,
        last_seen: device.state.last_seen,
        open_tickets: device.open_tickets,
    }
}

pub(crate) fn channel(channel: &Channel, latest: Option<&(model::ChannelId, Timestamp, model::Value)>) -> ChannelView {
    let (kind, unit, min, max, states) = match &channel.kind {
        ChannelKind::Number { unit, min, max } => ("number", Some(unit.display()), Some(*min), Some(*max), None),
        ChannelKind::Bool => ("bool", None, None, None, None),
        ChannelKind::Text { .. } => ("text", None, None, None, None),
        ChannelKind::State { states } => ("state", None, None, None, Some(states.clone())),
    };
    let latest = latest.map(|(_, time, value)| LatestView { value: value.clone(), time: *time });
    ChannelView { id: channel.id.clone(), name: channel.name.clone(), kind, unit, min, max, states, latest }
}

/// Everything that is watched for on the devices of a profile.
pub(crate) fn rules(profile: &Profile) -> Vec<RuleView> {
    let rules = profile.rules.iter().map(|rule| RuleView {
        id: rule.id.clone(),
        source: AlertSource::Rule,
        title: rule.title.clone(),
        severity: rule.severity,
        ticket: rule.ticket,
        life_safety: rule.life_safety,
        condition: condition(&rule.condition),
        origin: Some(rule.source.clone()),
    });
    let detectors = profile.detectors.iter().map(|detector| RuleView {
        id: detector.id.clone(),
        source: AlertSource::Detector,
        title: detector.title.clone(),
        severity: detector.severity,
        ticket: detector.ticket,
        life_safety: false,
        condition: match &detector.method {
            DetectorMethod::Shift { sigmas, .. } => {
                format!("{} away from its baseline by {sigmas} σ", detector.channel)
            }
            DetectorMethod::Novelty { score, .. } => format!("{} as never before, score {score}", detector.channel),
        },
        origin: None,
    });
    let forecasts = profile.forecasts.iter().map(|forecast| RuleView {
        id: forecast.id.clone(),
        source: AlertSource::Forecast,
        title: forecast.title.clone(),
        severity: forecast.severity,
        ticket: model::TicketKind::Forecast,
        life_safety: false,
        condition: format!(
            "{} {} {} within {}",
            forecast.channel,
            forecast.direction,
            forecast.threshold,
            model::duration::format(forecast.horizon)
        ),
        origin: None,
    });
    rules.chain(detectors).chain(forecasts).collect()
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::When(expression) => expression.value.clone(),
        Condition::Absence { of, after } => {
            let of = match of {
                model::profile::AbsenceOf::Contact => "contact",
                model::profile::AbsenceOf::Channel(channel) => channel.as_str(),
                model::profile::AbsenceOf::Event(code) => code.as_str(),
            };
            format!("no {of} for {}", model::duration::format(*after))
        }
        Condition::Event { codes, .. } => format!("event {}", codes.join(" | ")),
        Condition::Fusion { signals, threshold } => {
            let sum: Vec<_> = signals.iter().map(|s| format!("{} · ({})", s.weight, s.when.value)).collect();
            format!("{} ≥ {threshold}", sum.join(" + "))
        }
    }
}

pub(crate) fn command(profile: Option<&Profile>, command: Command) -> CommandView {
    let title = profile
        .and_then(|profile| profile.commands.iter().find(|kind| kind.name == command.name))
        .map_or_else(|| Localised::new(command.name.clone(), command.name.clone()), |kind| kind.title.clone());
    CommandView {
        id: command.id,
        name: command.name,
        title,
        args: command.args,
        state: command.state,
        detail: command.detail,
        requested_by: command.requested_by,
        created_at: command.created_at,
        deadline: command.deadline,
        updated_at: command.updated_at,
    }
}
