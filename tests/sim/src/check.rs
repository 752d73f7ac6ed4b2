//! What must hold of every run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use desk::{Actor, Status, Ticket, TimelineEntry, What};
use firmware_sim::wire::Report;
use gateway::Message;
use journal::Offset;
use model::{
    Alert, AlertChange, Clock as _, DeliveryState, DeviceId, Directory, Entry, Lane, MilestoneKind, PersonId, Purpose,
    RuleId, Timestamp,
};
use predict::Predictor;
use rules::Engine;
use store::{StoredMessage, TicketFilter, TicketState};

use crate::{core::decode_options, fleet::SPAN, fleet::start, run::Run};

/// Which alert it is: of a device, by a rule, raised at.
type Key = (DeviceId, RuleId, Timestamp);
/// Alerts and when they ended.
type Alerts = BTreeMap<Key, Option<Timestamp>>;

/// More than any run has.
const MANY: u32 = 1_000_000;
/// From the last needed signal to the alert of people shut in.
const PROMPT: Duration = Duration::from_secs(5);
/// How much later than in truth the first signal of people shut in may come.
const TELLING: Duration = Duration::from_secs(2);
/// People let out within this time need no alert.
const BRIEF: Duration = Duration::from_secs(10);
/// A hub that was away longer does not hold the silence against the devices.
const AWAY: Duration = Duration::from_secs(120);
/// The rule that listens to the hub's clock alone.
const SILENT: &str = "controller_silent";

fn key(alert: &Alert) -> Key {
    (alert.device.clone(), alert.rule.clone(), whole(alert.raised_at))
}

/// Messages that arrive at one moment are received microseconds apart.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis())
}

/// What rules and predictors find in these entries, taken in this order, when the clock stands at `end`.
fn find(run: &Run, directory: &Directory, entries: &[Entry], end: Timestamp) -> Alerts {
    let (mut rules, mut predictor) = (Engine::new(), Predictor::new());
    for loaded in run.profiles.iter() {
        rules.load(loaded.rules.clone());
        predictor.load(loaded.profile.clone());
    }
    let mut changes = Vec::new();
    for entry in entries {
        if let Some((device, _)) = entry.device.as_ref().and_then(|device| directory.find(device)) {
            rules.apply(device, entry, &mut changes);
            predictor.apply(device, entry, &mut changes);
        }
    }
    rules.advance(end, directory, &mut changes);
    let mut alerts = Alerts::new();
    for change in changes {
        let alert = change.alert();
        let end = match &change {
            AlertChange::Raised(_) | AlertChange::Changed(_) => None,
            AlertChange::Cleared(alert) => alert.cleared_at.map(whole),
        };
        alerts.insert(key(alert), end);
    }
    alerts
}

/// Everything in the journal in the order it came.
fn journalled(run: &Run) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for lane in Lane::ALL {
        let mut at = Offset::START;
        loop {
            let batch = run.core.journal.read(lane, at, 1000)?;
            let Some((last, _)) = batch.last() else { break };
            at = *last;
            entries.extend(batch.into_iter().map(|(offset, entry)| (entry.received_at, lane, offset, entry)));
        }
    }
    entries.sort_by_key(|(at, lane, offset, _)| (*at, *lane, *offset));
    Ok(entries.into_iter().map(|(.., entry)| Arc::unwrap_or_clone(entry)).collect())
}

/// Everything that would be in the journal if nothing had ever gone wrong.
fn undisturbed(run: &Run, directory: &Directory) -> Vec<Entry> {
    let options = decode_options();
    run.network
        .undisturbed()
        .into_iter()
        .flat_map(|(received_at, topic, payload)| {
            let (topic, payload) = (Bytes::from(topic), Bytes::from(payload));
            gateway::decode(&options, directory, &Message { topic, payload, received_at, sender: None })
        })
        .collect()
}

/// Every alert that the store has.
pub async fn stored_alerts(run: &Run) -> anyhow::Result<Vec<Alert>> {
    let mut alerts = Vec::new();
    for voice in &run.fleet.voices {
        let of_device = run.core.store.alerts(run.world.org, &voice.device.id, MANY).await?;
        alerts.extend(of_device.into_iter().map(|(alert, _)| alert));
    }
    Ok(alerts)
}

/// A hub that was killed and reads the journal again: what it had told until then must stay as it was. What was waiting to
/// be settled it may find and end later; if what it had read is `open`, it may find more.
pub fn rewritten(
    before: &[Alert],
    after: &[Alert],
    until: Timestamp,
    open: bool,
    is_undelayed: impl Fn(&DeviceId) -> bool,
) -> Vec<String> {
    let ends =
        |alerts: &[Alert]| -> HashMap<_, _> { alerts.iter().map(|alert| (alert.id, alert.cleared_at)).collect() };
    let (known, now_known) = (ends(before), ends(after));
    let mut findings = Vec::new();
    let mut say = |alert: &Alert, what: &str| {
        findings.push(format!("{} {} of {}: {what} by a crash at {until}", alert.device, alert.rule, alert.raised_at));
    };
    for alert in before {
        match (alert.cleared_at, now_known.get(&alert.id)) {
            (_, None) => say(alert, "lost"),
            (Some(told), Some(end)) if *end != Some(told) && !open => say(alert, "ended otherwise"),
            (Some(_) | None, Some(_)) => {}
        }
    }
    let settled = until - LATENESS;
    for alert in after.iter().filter(|alert| !open && alert.raised_at <= settled && !known.contains_key(&alert.id)) {
        if is_undelayed(&alert.device) {
            say(alert, "raised");
        }
    }
    findings
}

/// Alerts: those of one uninterrupted reading, each once, none lost to the network.
pub async fn alerts(run: &Run) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let directory = run.core.directory.borrow().clone();
    let end = run.clock.now();
    let stored_alerts = stored_alerts(run).await?;
    let stored: Alerts = stored_alerts.iter().map(|alert| (key(alert), alert.cleared_at.map(whole))).collect();
    if stored.len() != stored_alerts.len() {
        findings.push(format!("{} alerts are stored twice", stored_alerts.len() - stored.len()));
    }

    // 1. However often the hub was killed: what it read in one life or in ten must come to the same.
    let long_down = run.downs.iter().any(|(from, to)| to.since(*from) >= AWAY);
    let counts = |key: &&Key| !(long_down && key.1.as_str() == SILENT);
    let expected = find(run, &directory, &journalled(run)?, end);
    if !run.torn {
        differences("an uninterrupted reading of the journal", &expected, &stored, counts, &mut findings);
    }

    // 2. A lift whose messages all came in time is not to be told from one on a perfect network.
    let perfect = find(run, &directory, &undisturbed(run, &directory), end);
    // Devices greet a hub that is back: that ends their silence early.
    let heard = |key: &&Key| run.downs.is_empty() || key.1.as_str() != SILENT;
    let undelayed = |key: &&Key| run.network.is_undelayed(&key.0) && heard(key);
    if !run.torn {
        differences("a perfect network", &perfect, &stored, undelayed, &mut findings);
    }

    // 3. Late or not: people shut in are found.
    for trapped in &run.fleet.trapped {
        let out = trapped.end.unwrap_or(end);
        if out.since(trapped.begin) < BRIEF {
            continue;
        }
        // Events that overtake the measurements before them count from when they come.
        let by = if run.torn { out } else { trapped.begin + TELLING + PROMPT };
        let found = stored_alerts.iter().any(|alert| {
            alert.device == trapped.device
                && alert.life_safety
                && !alert.evidence.withdrawn
                && trapped.begin <= alert.raised_at
                && alert.raised_at <= by
        });
        if !found {
            let temper = run.network.temper(&trapped.device);
            findings.push(format!(
                "{} ({temper:?}): people shut in from {} to {out} were not found",
                trapped.device, trapped.begin
            ));
        }
    }

    // 4. A rule has one alert at a time on a device. What was withdrawn had another in its place.
    let withdrawn: BTreeSet<Key> = stored_alerts.iter().filter(|alert| alert.evidence.withdrawn).map(key).collect();
    let mut open_until: HashMap<(&DeviceId, &RuleId), Timestamp> = HashMap::new();
    for ((device, rule, raised), cleared) in stored.iter().filter(|(key, _)| !withdrawn.contains(*key)) {
        let until = open_until.entry((device, rule)).or_insert(*raised);
        if *raised < *until {
            findings.push(format!("{device} {rule}: a second alert of {raised} while the first stands until {until}"));
        }
        *until = cleared.unwrap_or(end).max(*until);
    }
    Ok(findings)
}

fn differences(
    than: &str,
    expected: &Alerts,
    stored: &Alerts,
    counts: impl Fn(&&Key) -> bool,
    findings: &mut Vec<String>,
) {
    for key in expected.keys().chain(stored.keys()).filter(&counts).collect::<BTreeSet<_>>() {
        let (device, rule, raised) = key;
        match (expected.get(key), stored.get(key)) {
            (Some(_), None) => findings.push(format!("{device} {rule} {raised}: lost; {than} raises it")),
            (None, Some(_)) => findings.push(format!("{device} {rule} {raised}: {than} does not raise it")),
            (Some(expected), Some(stored)) if expected != stored => {
                let show = |end: &Option<Timestamp>| end.map_or("never".to_owned(), |end| end.to_string());
                let (stored, expected) = (show(stored), show(expected));
                findings.push(format!("{device} {rule} {raised}: ends {stored}; with {than} {expected}"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

/// Readings and events: all that was acknowledged, each once, and nothing else.
pub async fn readings(run: &Run) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let (from, to) = (start() - Duration::from_secs(86_400), start() + SPAN + Duration::from_secs(86_400));
    for (voice, acknowledged) in run.fleet.voices.iter().zip(run.network.acknowledged()) {
        let device = &voice.device.id;
        let (mut rows, mut events) = (BTreeMap::<Timestamp, BTreeSet<u64>>::new(), BTreeSet::new());
        // A time in the hub's future is refused: of such an event the hub keeps the time at which it came.
        let mut future = 0;
        for said in &voice.said[..acknowledged] {
            let (seq, report) = (said.numbered.seq, &said.numbered.report);
            let ahead = report.time() > said.at + Duration::from_secs(400);
            match report {
                Report::Telemetry { .. } if ahead => {}
                Report::Telemetry { time, .. } => {
                    rows.entry(*time).or_default().insert(seq);
                }
                Report::Event { .. } if ahead => future += 1,
                Report::Event { time, code, values } => {
                    events.insert((*time, code.to_string()));
                    if !values.is_empty() {
                        rows.entry(*time).or_default().insert(seq);
                    }
                }
                Report::CommandResult { .. } => {}
            }
        }
        let mut stored = BTreeSet::new();
        for row in run.core.store.readings(run.world.org, device, from, to, MANY).await? {
            stored.insert(row.time);
            match rows.get(&row.time) {
                None => findings.push(format!("{device}: a row of {} that was never acknowledged", row.time)),
                Some(seqs) if row.seq.is_none_or(|seq| !seqs.contains(&seq)) => {
                    findings
                        .push(format!("{device}: the row of {} is of message {:?}, not {seqs:?}", row.time, row.seq));
                }
                Some(_) => {}
            }
        }
        for (time, seqs) in rows.iter().filter(|(time, _)| !stored.contains(*time)) {
            findings.push(format!("{device}: message {seqs:?} of {time} was acknowledged and is not stored"));
        }
        let mut stored: Vec<(Timestamp, String)> = Vec::new();
        for event in run.core.store.device_events(run.world.org, device, MANY).await? {
            stored.push((event.time, event.code));
        }
        for lost in events.iter().filter(|event| !stored.contains(event)) {
            findings.push(format!("{device}: event {lost:?} was acknowledged and is not stored"));
        }
        if stored.len() != events.len() + future {
            findings.push(format!(
                "{device}: {} events stored of {} acknowledged",
                stored.len(),
                events.len() + future
            ));
        }
    }
    Ok(findings)
}

/// Tickets, their milestones, and the messages that they owed.
pub async fn tickets(run: &Run) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let (store, org) = (&run.core.store, run.world.org);
    let filter = TicketFilter { state: TicketState::All, limit: MANY, ..TicketFilter::default() };
    let mut tickets: Vec<Ticket> =
        store.tickets(org, &filter).await?.tickets.into_iter().map(|view| view.ticket).collect();
    tickets.sort_by_key(|ticket| ticket.number);
    for (ticket, number) in tickets.iter().zip(1..) {
        if ticket.number != number {
            findings.push(format!("ticket {} stands where {number} should", ticket.number));
        }
    }
    let mut last_closed: HashMap<&str, Timestamp> = HashMap::new();
    let mut owed: HashMap<_, StoredMessage> = HashMap::new();
    for ticket in &tickets {
        let mut say = |what: String| findings.push(format!("ticket {} ({}): {what}", ticket.number, ticket.group_key));
        match ticket.closed_at {
            Some(closed) if ticket.status == Status::Closed => {
                if last_closed.insert(&ticket.group_key, closed).is_some_and(|before| before > ticket.opened_at) {
                    say("opened while another took these alerts".to_owned());
                }
            }
            Some(_) | None => say("never closed".to_owned()),
        }
        let alerts = store.ticket_alerts(org, ticket.id).await?;
        if let Some(stranger) = alerts.iter().find(|alert| alert.group_key() != ticket.group_key) {
            say(format!("took an alert of {}", stranger.group_key()));
        }
        let (mine, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (ticket.alerts.iter().map(|alert| alert.id).collect(), alerts.iter().map(|alert| alert.id).collect());
        if mine != theirs {
            say("the ticket and the list of alerts differ".to_owned());
        }
        milestones(ticket, &mut say);
        for (_, kind) in run.promised.iter().filter(|(id, kind)| *id == ticket.id && ticket.milestone(*kind).is_none())
        {
            say(format!("{kind} was promised and is gone"));
        }
        let lines = store.timeline(org, ticket.id).await?;
        if lines.iter().zip(1..).any(|((seq, _), expected)| *seq != expected) {
            say("its timeline has gaps".to_owned());
        }
        let lines: Vec<TimelineEntry> = lines.into_iter().map(|(_, line)| line).collect();
        calling(&lines, &mut say);
        prompt(run, &alerts, &lines, &mut say);
        let messages = store.outbox_for_ticket(org, ticket.id).await?;
        pages(&lines, &messages, &mut say);
        owed.extend(messages.into_iter().map(|message| (message.message.id, message)));
    }
    for StoredMessage { message, state, last_error, .. } in owed.values() {
        if *state == DeliveryState::Pending {
            let (purpose, to) = (message.content.purpose, &message.receiver.address);
            findings.push(format!("{purpose:?} to {to} of ticket {} never ended", message.content.ticket_number));
        }
        if *state == DeliveryState::Dead && last_error.is_none() {
            findings.push(format!("a message of ticket {} died without a reason", message.content.ticket_number));
        }
    }
    for (id, taken) in &run.phones.taken {
        if taken.copies > 1 {
            findings.push(format!("message {id} was sent {} times", taken.copies));
        }
        if !owed.contains_key(id) {
            findings.push(format!("message {id} was sent and is not in the outbox"));
        }
    }
    Ok(findings)
}

/// Each once, in an order that can have happened.
fn milestones(ticket: &Ticket, say: &mut impl FnMut(String)) {
    use MilestoneKind::{Acknowledged, Arrived, Closed, Contacted, Detected, Dispatched, EnRoute, Released, Restored};
    let kinds: Vec<MilestoneKind> = ticket.milestones.iter().map(|milestone| milestone.kind).collect();
    let unique: BTreeSet<_> = kinds.iter().collect();
    if unique.len() != kinds.len() {
        say(format!("a milestone twice: {kinds:?}"));
    }
    if ticket.milestones.windows(2).any(|pair| pair[0].at > pair[1].at) {
        say(format!("milestones go back in time: {kinds:?}"));
    }
    if ticket.milestones.iter().any(|milestone| milestone.proof.en.is_empty() || milestone.proof.zh.is_empty()) {
        say("a milestone without proof".to_owned());
    }
    if kinds.first() != Some(&Detected) || kinds.last() != Some(&Closed) {
        say(format!("milestones do not begin with detected and end with closed: {kinds:?}"));
    }
    let place = |kind| kinds.iter().position(|other| *other == kind);
    for (first, then) in [
        (Acknowledged, Dispatched),
        (Acknowledged, EnRoute),
        (Acknowledged, Arrived),
        (EnRoute, Arrived),
        (Contacted, Dispatched),
        (Detected, Released),
        (Detected, Restored),
    ] {
        let (before, after) = (place(first), place(then));
        let optional = first == EnRoute;
        if after.is_some() && before > after || (after.is_some() && before.is_none() && !optional) {
            say(format!("{then} without {first} before it: {kinds:?}"));
        }
    }
}

/// Once somebody has it, the hub calls nobody, unless they are overdue, decline, or it becomes worse.
fn calling(lines: &[TimelineEntry], say: &mut impl FnMut(String)) {
    let mut settled = false;
    for line in lines {
        match &line.what {
            What::Milestone { milestone: MilestoneKind::Acknowledged | MilestoneKind::Closed, .. }
            | What::Assigned { .. } => {
                settled = true;
            }
            What::Overdue | What::Declined | What::AlertRaised { .. } | What::SeverityChanged { .. } => settled = false,
            What::Paged { name, .. } if line.actor == Actor::Hub && settled => {
                say(format!("{}: {name} is paged though somebody has it", line.at));
            }
            What::Paged { .. } if line.actor != Actor::Hub => settled = false,
            What::Opened
            | What::AlertCleared { .. }
            | What::Decided { .. }
            | What::HeldOpen { .. }
            | What::Milestone { .. }
            | What::Paged { .. }
            | What::NobodyOnCall { .. }
            | What::Exhausted
            | What::AffectedAdded { .. }
            | What::CauseConfirmed { .. }
            | What::PartsUsed { .. }
            | What::Note { .. } => {}
        }
    }
}

/// How long the messages of a lift wait for earlier ones.
const LATENESS: Duration = Duration::from_secs(5);
/// From the last needed signal of people shut in to the alert, on lifts that are not delayed, while the hub is there.
fn prompt(run: &Run, alerts: &[Alert], lines: &[TimelineEntry], say: &mut impl FnMut(String)) {
    for alert in
        alerts.iter().filter(|alert| alert.rule.as_str() == "entrapment" && run.network.is_undelayed(&alert.device))
    {
        let told =
            lines.iter().find(|line| matches!(&line.what, What::AlertRaised { alert: id, .. } if *id == alert.id));
        let (Some(told), Some(signal)) = (told, alert.evidence.from) else {
            say(format!("the alert of {} is not on the timeline or has no beginning", alert.raised_at));
            continue;
        };
        let away = run.downs.iter().any(|(from, to)| *from <= told.at && signal <= *to);
        let late = told.at.since(signal);
        if late > PROMPT && !away {
            say(format!("the alert of {} took {late:?} from its last signal", alert.raised_at));
        }
    }
}

/// Each call of each person has its messages, each once.
fn pages(lines: &[TimelineEntry], messages: &[StoredMessage], say: &mut impl FnMut(String)) {
    let mut expected: BTreeMap<(Timestamp, PersonId, String), usize> = BTreeMap::new();
    for line in lines {
        if let What::Paged { person, channels, .. } = &line.what {
            for channel in channels {
                *expected.entry((line.at, *person, channel.to_string())).or_default() += 1;
            }
        }
    }
    let mut owed: BTreeMap<(Timestamp, PersonId, String), usize> = BTreeMap::new();
    for message in
        messages.iter().map(|message| &message.message).filter(|message| message.content.purpose == Purpose::Page)
    {
        let Some(person) = message.person else { continue };
        *owed.entry((message.created_at, person, message.receiver.channel.to_string())).or_default() += 1;
    }
    if expected != owed {
        say(format!("pages on the timeline {expected:?}, in the outbox {owed:?}"));
    }
}
