//! One device under watch: where each of its rules stands, and how events and the passing of time move it.
//!
//! Two clocks run here. *Event time* is the device's own: it stands at the latest time the device spoke of, and
//! between messages goes on at the pace of the hub's clock. Silence of the device as a whole is measured by the
//! *hub's clock*, at which its messages were received.

use std::sync::Arc;

use model::{Alert, AlertChange, AlertId, AlertSource, Device, Timestamp};

use crate::{
    evidence,
    facts::{Facts, Taken},
    peers::{Group, Mean, Peers},
    program::Moment,
    progress::{ClockPair, NEVER, Phase, Progress},
    reported::Reported,
    ruleset::{Compiled, RuleSet, Ruleset, Silence, Test},
};

/// What a step needs beside the device's own state.
pub(crate) struct Step<'a> {
    pub(crate) ruleset: &'a Ruleset,
    pub(crate) device: &'a Device,
    /// What the devices of each site tell of themselves.
    pub(crate) peers: &'a Peers,
    pub(crate) out: &'a mut Vec<AlertChange>,
}

/// One device under watch.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) ruleset: Arc<Ruleset>,
    pub(crate) facts: Facts,
    pub(crate) rules: Vec<Progress>,
    pub(crate) clock: Option<ClockPair>,
    /// Event time of the first contact: silence of a channel or event that never came starts here.
    pub(crate) born: Option<i64>,
    /// The hub's time from which silence of the whole device is counted.
    pub(crate) contact: Option<i64>,
    /// True until every rule has been looked at once.
    pub(crate) fresh: bool,
    /// No rule is due before this event time.
    next_due: i64,
    /// True for a copy that runs ahead: only rules that must not wait are evaluated, none of them about contact.
    urgent_only: bool,
    /// What it has to tell its peers.
    pub(crate) tells: Vec<Mean>,
}

impl Watch {
    pub(crate) fn new(ruleset: Arc<Ruleset>) -> Self {
        Self {
            facts: Facts::new(ruleset.channels.len(), ruleset.events.len(), Arc::clone(&ruleset.followed)),
            rules: vec![Progress::new(); ruleset.rules.len()],
            ruleset,
            clock: None,
            born: None,
            contact: None,
            fresh: true,
            next_due: NEVER,
            urgent_only: false,
            tells: Vec::new(),
        }
    }

    /// A copy that runs ahead of what is settled, for the rules that must not wait.
    pub(crate) fn ahead(&self) -> Self {
        let rules = self
            .rules
            .iter()
            .zip(&self.ruleset.rules)
            .map(|(progress, compiled)| if compiled.is_urgent() { progress.clone() } else { Progress::new() });
        let mut ahead = Self {
            ruleset: Arc::clone(&self.ruleset),
            facts: self.facts.with_windows(self.ruleset.urgent_windows),
            rules: rules.collect(),
            urgent_only: true,
            tells: Vec::new(),
            ..*self
        };
        ahead.find_next_due();
        ahead
    }

    /// Event time when the hub's clock shows `hub`.
    fn event_time(&self, hub: i64) -> i64 {
        ClockPair::event_time(self.clock, hub)
    }

    /// What the hub's clock shows at this event time.
    fn hub_time(&self, event: i64) -> i64 {
        ClockPair::hub_time(self.clock, event)
    }

    /// Takes what was said now, as far as the device's clock is known; what is older changes what is known from now
    /// on, not what was known then.
    pub(crate) fn apply(&mut self, reported: &Reported, step: &mut Step<'_>) {
        // What had become due before this was said; what is due at this very instant waits for what it says.
        let expected = self.event_time(reported.received);
        let reached = reported.said.map_or(expected, |said| said.at.max(expected));
        self.pass(reached - 1, reported.received - 1, step);
        let latest = self.clock.map_or(i64::MIN, |clock| clock.event);
        let now = reported.said.map_or(expected, |said| if said.at >= latest { said.at } else { expected });
        self.take(reported, now, step);
        self.hear(reported, step);
    }

    /// Takes what was said at `now`, the time in order: nothing earlier is still to come.
    pub(crate) fn apply_at(&mut self, reported: &Reported, now: i64, step: &mut Step<'_>) {
        self.pass(now - 1, i64::MIN, step);
        self.take(reported, now, step);
    }

    /// Notes that the device was heard, by the hub's clock.
    pub(crate) fn hear(&mut self, reported: &Reported, step: &mut Step<'_>) {
        let hub = reported.received;
        if reported.is_contact() {
            self.contact = Some(self.contact.map_or(hub, |contact| contact.max(hub)));
        }
        for rule in &step.ruleset.contact_rules {
            self.evaluate(usize::from(*rule), hub, step);
        }
    }

    fn take(&mut self, reported: &Reported, now: i64, step: &mut Step<'_>) {
        let ruleset = step.ruleset;
        if let (Some(said), Some(clock)) = (reported.said, self.clock)
            && said.at.saturating_sub(clock.event) > ruleset.gap_us
        {
            self.forget_holding(ruleset);
            self.fresh = true;
        }
        self.facts.hold_latches(now);
        let mut touched = RuleSet::default();
        let mut latches = false;
        let mut fed = 0;
        if let Some(said) = reported.said {
            for (channel, value) in reported.values.iter() {
                let index = usize::from(channel);
                match self.facts.take(channel, &value, said) {
                    Taken::Ignored => {}
                    Taken::Repeated => {
                        fed |= ruleset.feeds[index];
                        touched.add(&ruleset.on_value[index]);
                    }
                    Taken::Changed => {
                        fed |= ruleset.feeds[index];
                        touched.add(&ruleset.on_value[index]);
                        touched.add(&ruleset.on_change[index].rules);
                        latches |= ruleset.on_change[index].latches;
                    }
                }
            }
            if let Some(event) = reported.event
                && self.facts.take_event(event, said)
            {
                touched.add(&ruleset.on_event[usize::from(event)]);
                self.facts.turned(Moment::Event(event), true, now);
            }
            if self.urgent_only {
                fed &= ruleset.urgent_windows;
            }
            if fed != 0 {
                self.meet_peers(fed, now, step);
                self.facts.feed(fed, now);
            }
            // A copy of the last message says nothing new of the time.
            if self.clock.is_none_or(|clock| said.at > clock.event) {
                self.clock = Some(ClockPair { event: said.at, hub: reported.received });
            }
        }
        if let Some((online, said)) = reported.online
            && self.facts.take_online(online, said)
        {
            touched.add(&ruleset.on_online.rules);
            latches |= ruleset.on_online.latches;
        }
        if reported.is_contact() && self.born.is_none() {
            self.born = Some(now);
            self.fresh = true;
        }
        if latches || self.fresh {
            self.facts.set_latches(now);
        }
        if std::mem::take(&mut self.fresh) {
            (0..ruleset.rules.len()).for_each(|rule| touched.insert(rule));
        }
        if self.urgent_only {
            touched.keep(&ruleset.urgent);
        }
        for rule in touched.iter().filter(|rule| !ruleset.rules[*rule].is_contact()) {
            self.evaluate(rule, now, step);
        }
        while self.next_due <= now {
            self.evaluate_due(self.next_due, step);
        }
    }

    /// Where a window on peers comes to a new sixteenth, it tells its own mean and asks for those of the others. `fed` has a
    /// bit for each window that gets a value.
    fn meet_peers(&mut self, fed: u64, now: i64, step: &Step<'_>) {
        for (window, name) in step.ruleset.peers.iter().filter(|(window, _)| fed >> window & 1 == 1) {
            let Some((part, mean)) = self.facts.peers_begin(*window, now) else { continue };
            let (site, profile) = (step.device.site, step.device.profile.clone());
            let group = Group { site, profile, window: Arc::clone(name) };
            self.facts.set_peers(*window, step.peers.median(&group, &step.device.id, part - 1));
            if let Some(mean) = mean.filter(|_| !self.urgent_only) {
                self.tells.push(Mean { group, part, mean });
            }
        }
    }

    /// The device was silent for longer than what it said last may be trusted: what was on its way begins anew.
    fn forget_holding(&mut self, ruleset: &Ruleset) {
        for (progress, compiled) in self.rules.iter_mut().zip(&ruleset.rules) {
            progress.phase = compiled.after_gap(std::mem::replace(&mut progress.phase, Phase::Idle));
        }
    }

    /// True if the device has been silent for longer than what it said last may be trusted.
    fn is_cut_off(&self, now: i64, ruleset: &Ruleset) -> bool {
        self.clock.is_some_and(|clock| now.saturating_sub(clock.event) > ruleset.gap_us)
    }

    /// Silence during which the hub itself did not listen is none.
    pub(crate) fn listen_from(&mut self, hub: i64) {
        if let Some(contact) = &mut self.contact {
            *contact = (*contact).max(hub);
        }
        for index in &self.ruleset.contact_rules {
            self.rules[usize::from(*index)].withheld = false;
        }
    }

    /// The event time at which a rule becomes due, as things stand.
    pub(crate) fn next_due(&self) -> i64 {
        self.next_due
    }

    /// The hub's time at which a rule about contact becomes due.
    pub(crate) fn next_contact_due(&self) -> i64 {
        if self.urgent_only {
            return NEVER;
        }
        self.ruleset.contact_rules.iter().map(|rule| self.contact_due(usize::from(*rule))).min().unwrap_or(NEVER)
    }

    /// Looks at every rule whose time has come by then, at the instant it came and in the order of these instants.
    pub(crate) fn pass(&mut self, event_limit: i64, hub_limit: i64, step: &mut Step<'_>) {
        if self.next_due > event_limit && hub_limit == i64::MIN {
            return;
        }
        loop {
            let rules = if self.urgent_only { &[][..] } else { &step.ruleset.contact_rules };
            let contact = rules.iter().map(|rule| (self.contact_due(usize::from(*rule)), *rule)).min();
            let contact = contact.filter(|(at, _)| *at <= hub_limit);
            match contact {
                Some((at, rule)) if self.next_due > event_limit || at < self.hub_time(self.next_due) => {
                    self.evaluate(usize::from(rule), at, step);
                }
                Some(_) | None if self.next_due <= event_limit => self.evaluate_due(self.next_due, step),
                Some(_) | None => return,
            }
        }
    }

    fn evaluate_due(&mut self, at: i64, step: &mut Step<'_>) {
        for rule in 0..self.rules.len() {
            if self.rules[rule].due <= at && !step.ruleset.rules[rule].is_contact() {
                self.evaluate(rule, at, step);
            }
        }
        self.find_next_due();
    }

    /// Works out anew which rule is due next.
    pub(crate) fn find_next_due(&mut self) {
        let rules = self.rules.iter().zip(&self.ruleset.rules).filter(|(_, compiled)| !compiled.is_contact());
        self.next_due = rules.map(|(progress, _)| progress.due).min().unwrap_or(NEVER);
    }

    /// Works out anew when each rule is due after this time; for after a change of the rules.
    pub(crate) fn find_dues(&mut self, now: i64) {
        for rule in 0..self.rules.len() {
            self.rules[rule].due = self.rule_due(rule, now);
        }
        self.find_next_due();
    }

    fn contact_due(&self, rule: usize) -> i64 {
        let progress = &self.rules[rule];
        let compiled = &self.ruleset.rules[rule];
        match (&progress.phase, &compiled.test, self.contact) {
            (Phase::Clearing { since, .. }, _, _) => since.saturating_add(compiled.clear_us),
            (Phase::Idle, Test::Absence { after_us, .. }, Some(contact)) if !progress.withheld => {
                contact.saturating_add(*after_us)
            }
            (Phase::Idle | Phase::Pending { .. } | Phase::Raised { .. }, _, _) => NEVER,
        }
    }

    /// When what an absence rule listens for last came.
    fn heard(&self, of: Silence) -> Option<i64> {
        match of {
            Silence::Contact => self.contact,
            Silence::Of(moment) => self.facts.moment(moment, i64::MIN).max(self.born),
        }
    }

    fn latest(&self, codes: &[u16]) -> Option<i64> {
        codes.iter().filter_map(|code| self.facts.event(*code)).max()
    }

    /// Moves one rule as far as it goes at `now`.
    fn evaluate(&mut self, rule: usize, now: i64, step: &mut Step<'_>) {
        let compiled = &step.ruleset.rules[rule];
        let mut before = std::mem::replace(&mut self.rules[rule].phase, Phase::Idle);
        if self.is_cut_off(now, step.ruleset) {
            before = compiled.after_gap(before);
        }
        // Nobody was called for what the rule found on trial: in earnest it is found anew.
        if let Phase::Raised { alert } | Phase::Clearing { alert, .. } = &before
            && alert.evidence.dry_run
            && !compiled.rule.dry_run
        {
            before = Phase::Idle;
        }
        let phase = match before {
            Phase::Idle => match self.onset(rule, compiled, now) {
                Some(since) => self.pending(compiled, since, now, step),
                None => Phase::Idle,
            },
            Phase::Pending { since } => match self.onset(rule, compiled, now) {
                Some(_) => self.pending(compiled, since, now, step),
                None => Phase::Idle,
            },
            Phase::Raised { alert } => self.raised(compiled, None, alert, now),
            Phase::Clearing { since, alert } => self.raised(compiled, Some(since), alert, now),
        };
        // An event may be over the moment it is raised.
        let phase = match phase {
            Phase::Raised { alert } => self.raised(compiled, None, alert, now),
            Phase::Idle | Phase::Pending { .. } | Phase::Clearing { .. } => phase,
        };
        self.rules[rule].phase = match phase {
            Phase::Clearing { since, alert } if since.saturating_add(compiled.clear_us) <= now => {
                let at = since.saturating_add(compiled.clear_us).max(alert.raised_at.as_micros());
                self.rules[rule].settled = at;
                self.clear(compiled, alert, at, now, step);
                Phase::Idle
            }
            Phase::Idle | Phase::Pending { .. } | Phase::Raised { .. } | Phase::Clearing { .. } => {
                grown(compiled, phase, now, step)
            }
        };
        let due = self.rule_due(rule, now);
        self.rules[rule].due = due;
        self.next_due = if compiled.is_contact() { self.next_due } else { self.next_due.min(due) };
    }

    fn latest_code(&self, compiled: &Compiled) -> i64 {
        match &compiled.test {
            Test::Event { codes, .. } => self.latest(codes).unwrap_or(i64::MIN),
            Test::When(_) | Test::Fusion { .. } | Test::Absence { .. } => i64::MIN,
        }
    }

    /// Since when the condition is met, if it is.
    fn onset(&mut self, rule: usize, compiled: &Compiled, now: i64) -> Option<i64> {
        let progress = &self.rules[rule];
        // A message of earlier time than what has passed begins nothing before the last alert of the rule was over.
        let soonest = now.max(progress.settled.saturating_add(1));
        let since = match &compiled.test {
            Test::When(truth) => (truth.evaluate(&self.facts, now) == Some(true)).then_some(soonest),
            Test::Fusion { signals, threshold } => {
                let weights = signals.iter().filter(|(truth, _)| truth.evaluate(&self.facts, now) == Some(true));
                reaches(weights.map(|(_, weight)| weight).sum(), *threshold).then_some(soonest)
            }
            Test::Event { codes, clear_codes } => self.latest(codes).filter(|code| {
                let ended = self.latest(clear_codes).is_some_and(|clear| clear >= *code);
                *code > progress.settled && (compiled.hold_us == 0 || !ended)
            }),
            Test::Absence { of, after_us } => {
                let silent = self.heard(*of).map(|heard| heard.saturating_add(*after_us)).filter(|at| *at <= now);
                silent.map(|at| if progress.withheld { now } else { at })
            }
        };
        let at = if compiled.is_contact() { self.event_time(now) } else { now };
        let inhibited = compiled.unless.as_ref().is_some_and(|unless| unless.evaluate(&self.facts, at) == Some(true));
        let progress = &mut self.rules[rule];
        match &compiled.test {
            Test::Absence { .. } => progress.withheld = since.is_some() && inhibited,
            Test::Event { .. } if inhibited => progress.settled = since.unwrap_or(progress.settled),
            Test::When(_) | Test::Fusion { .. } | Test::Event { .. } => {}
        }
        since.filter(|_| !inhibited)
    }

    fn pending(&self, compiled: &Compiled, since: i64, now: i64, step: &mut Step<'_>) -> Phase {
        let at = since.saturating_add(compiled.hold_us);
        if at > now {
            return Phase::Pending { since };
        }
        let raised_at = Timestamp::from_micros(at);
        let alert = Box::new(Alert {
            id: AlertId::derive(&step.device.id, &compiled.rule.id, raised_at),
            org: step.device.org,
            device: step.device.id.clone(),
            site: step.device.site,
            profile: self.ruleset.profile.clone(),
            rule: compiled.rule.id.clone(),
            rule_version: self.ruleset.version,
            source: AlertSource::Rule,
            kind: compiled.rule.ticket,
            scope: compiled.rule.scope,
            severity: compiled.rule.severity,
            life_safety: compiled.rule.life_safety,
            title: compiled.rule.title.clone(),
            raised_at,
            cleared_at: None,
            evidence: evidence::of_raising(self, compiled, since, now),
            runbook: compiled.rule.runbook.clone(),
        });
        step.out.push(AlertChange::Raised(alert.clone()));
        Phase::Raised { alert }
    }

    /// A standing alert, or one that is on its way out since `clearing`.
    fn raised(&self, compiled: &Compiled, clearing: Option<i64>, alert: Box<Alert>, now: i64) -> Phase {
        match (self.over(compiled, now), clearing) {
            (None, _) => Phase::Raised { alert },
            (Some(since), None) => Phase::Clearing { since, alert },
            (Some(anew), Some(since)) => {
                // A repeated event starts the wait anew; a condition that stayed false does not.
                let since = if self.latest_code(compiled) > since { anew } else { since };
                Phase::Clearing { since, alert }
            }
        }
    }

    /// Since when what was raised is over, if it is.
    fn over(&self, compiled: &Compiled, now: i64) -> Option<i64> {
        let asked = compiled.clear_when.as_ref().map(|truth| truth.evaluate(&self.facts, now) == Some(true));
        match &compiled.test {
            Test::When(truth) => {
                let holds = truth.evaluate(&self.facts, now);
                asked.map_or(holds == Some(false), |asked| asked && holds != Some(true)).then_some(now)
            }
            Test::Fusion { signals, threshold } => {
                let (mut sure, mut possible) = (0.0, 0.0);
                for (truth, weight) in signals {
                    match truth.evaluate(&self.facts, now) {
                        Some(true) => {
                            sure += weight;
                            possible += weight;
                        }
                        None => possible += weight.max(0.0),
                        Some(false) => {}
                    }
                }
                let over = match asked {
                    Some(asked) => asked && !reaches(sure, *threshold),
                    None => !reaches(possible, *threshold),
                };
                over.then_some(now)
            }
            Test::Event { codes, clear_codes } => {
                let code = self.latest(codes)?;
                let ended = self.latest(clear_codes).filter(|clear| *clear >= code);
                let fades = clear_codes.is_empty() && asked.is_none();
                ended.or_else(|| (asked == Some(true)).then_some(now)).or_else(|| fades.then_some(code))
            }
            Test::Absence { of, after_us } => self.heard(*of).filter(|heard| heard.saturating_add(*after_us) > now),
        }
    }

    fn clear(&self, compiled: &Compiled, mut alert: Box<Alert>, at: i64, now: i64, step: &mut Step<'_>) {
        alert.cleared_at = Some(Timestamp::from_micros(at));
        evidence::of_clearing(self, compiled, &mut alert.evidence, at, now);
        step.out.push(AlertChange::Cleared(alert));
    }

    /// When the rule must be looked at again though nothing comes; always after `now`.
    fn rule_due(&self, rule: usize, now: i64) -> i64 {
        let compiled = &self.ruleset.rules[rule];
        let wait = match &self.rules[rule].phase {
            Phase::Pending { since } => Some(since.saturating_add(compiled.hold_us)),
            Phase::Clearing { since, .. } => Some(since.saturating_add(compiled.clear_us)),
            Phase::Idle | Phase::Raised { .. } => None,
        };
        let severity = match &self.rules[rule].phase {
            Phase::Raised { alert } | Phase::Clearing { alert, .. } => {
                compiled.severity_due(alert.raised_at.as_micros(), now)
            }
            Phase::Idle | Phase::Pending { .. } => None,
        };
        let silence = match &compiled.test {
            Test::Absence { of: of @ Silence::Of(_), after_us } => {
                self.heard(*of).map(|heard| heard.saturating_add(*after_us))
            }
            Test::Absence { of: Silence::Contact, .. } | Test::When(_) | Test::Fusion { .. } | Test::Event { .. } => {
                None
            }
        };
        let timed = compiled.timed.iter().filter_map(|(moment, span)| {
            // An expression that still holds has not begun to be past.
            let at = self.facts.moment(*moment, i64::MAX).filter(|at| *at != i64::MAX)?;
            Some(at.saturating_add(*span))
        });
        let windows = compiled.windows.iter().filter_map(|window| self.facts.window_due(*window, now));
        wait.into_iter()
            .chain(severity)
            .chain(silence)
            .chain(timed)
            .chain(windows)
            .filter(|at| *at > now)
            .min()
            .unwrap_or(NEVER)
    }

    /// About how much memory its parts take, in bytes, alerts left out.
    pub(crate) fn bytes(&self) -> usize {
        self.facts.bytes() + self.rules.capacity() * size_of::<Progress>()
    }

    /// The alerts that stand.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &Alert> {
        self.rules.iter().filter_map(|progress| match &progress.phase {
            Phase::Raised { alert } | Phase::Clearing { alert, .. } => Some(&**alert),
            Phase::Idle | Phase::Pending { .. } => None,
        })
    }
}

/// An alert that still stands may be worse by now, or less bad.
fn grown(compiled: &Compiled, mut phase: Phase, now: i64, step: &mut Step<'_>) -> Phase {
    if let Phase::Raised { alert } | Phase::Clearing { alert, .. } = &mut phase {
        let severity = compiled.severity(alert.raised_at.as_micros(), now);
        if severity != alert.severity {
            alert.severity = severity;
            alert.evidence.severity_since = Some(Timestamp::from_micros(now));
            step.out.push(AlertChange::Changed(alert.clone()));
        }
    }
    phase
}

fn reaches(sum: f64, threshold: f64) -> bool {
    sum >= threshold - 1e-9
}
