//! The rules of one profile, compiled, with an index of which rule depends on what.

use std::{collections::HashMap, sync::Arc};

use model::{
    ChannelId, DeviceId, Profile, ProfileError, ProfileId, Severity,
    profile::{AbsenceOf, Channel, Condition, EventKind, Located, Override, Rule},
};

use crate::{
    compile,
    program::{Followed, Moment, Truth},
    progress::{NEVER, Phase},
    windows::{Kind, Source},
};

/// The most rules a profile may have.
pub(crate) const MAX_RULES: usize = 256;
/// The most channels and the most event codes a profile with rules may have.
const MAX_NAMES: usize = 4096;

/// What must be true for a rule to be raised.
#[derive(Debug)]
pub(crate) enum Test {
    When(Truth),
    Fusion {
        signals: Vec<(Truth, f64)>,
        threshold: f64,
    },
    Event {
        codes: Vec<u16>,
        clear_codes: Vec<u16>,
    },
    /// Silence of `after_us`, the rule's own hold included.
    Absence {
        of: Silence,
        after_us: i64,
    },
}

/// What an absence rule listens for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Silence {
    /// Anything at all; measured by the hub's clock.
    Contact,
    /// A value or an event; measured in event time.
    Of(Moment),
}

/// One rule, compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rule: Rule,
    pub(crate) test: Test,
    pub(crate) unless: Option<Truth>,
    pub(crate) clear_when: Option<Truth>,
    pub(crate) hold_us: i64,
    pub(crate) clear_us: i64,
    /// From so long after it was raised on the alert has this severity, in order.
    severities: Vec<(i64, Severity)>,
    /// Answers that change by themselves: so long after this moment.
    pub(crate) timed: Vec<(Moment, i64)>,
    /// The windows it asks.
    pub(crate) windows: Vec<u16>,
}

impl Compiled {
    /// True if the rule runs on the hub's clock and is touched by every contact.
    pub(crate) fn is_contact(&self) -> bool {
        match self.test {
            Test::Absence { of: Silence::Contact, .. } => true,
            Test::Absence { of: Silence::Of(_), .. } | Test::When(_) | Test::Fusion { .. } | Test::Event { .. } => {
                false
            }
        }
    }

    /// True if it must not wait until earlier messages cannot come any more: a person may be in danger.
    pub(crate) fn is_urgent(&self) -> bool {
        self.rule.life_safety && !self.is_contact()
    }

    /// How bad an alert is that was raised at `raised_at` and still stands.
    pub(crate) fn severity(&self, raised_at: i64, now: i64) -> Severity {
        let passed = |(after, _): &&(i64, Severity)| raised_at.saturating_add(*after) <= now;
        self.severities.iter().rfind(passed).map_or(self.rule.severity, |(_, severity)| *severity)
    }

    /// When that changes next.
    pub(crate) fn severity_due(&self, raised_at: i64, now: i64) -> Option<i64> {
        self.severities.iter().map(|(after, _)| raised_at.saturating_add(*after)).find(|at| *at > now)
    }

    /// Where the rule stands once the device has been silent for too long: of a condition nobody knows whether it went on
    /// to hold. Rules for life safety are raised all the same: a controller may fall silent with a person in the car.
    pub(crate) fn after_gap(&self, phase: Phase) -> Phase {
        match (&self.test, phase) {
            (Test::Event { .. } | Test::Absence { .. }, phase) => phase,
            (_, Phase::Pending { .. }) if !self.rule.life_safety => Phase::Idle,
            (_, Phase::Clearing { alert, .. }) => Phase::Raised { alert },
            (_, phase) => phase,
        }
    }

    /// Every expression of the rule.
    fn expressions(&self) -> impl Iterator<Item = &Truth> {
        let (when, signals): (Option<&Truth>, &[(Truth, f64)]) = match &self.test {
            Test::When(truth) => (Some(truth), &[]),
            Test::Fusion { signals, .. } => (None, signals),
            Test::Event { .. } | Test::Absence { .. } => (None, &[]),
        };
        when.into_iter().chain(signals.iter().map(|(truth, _)| truth)).chain(&self.unless).chain(&self.clear_when)
    }
}

/// The rules of a profile, compiled.
#[derive(Debug)]
pub struct Ruleset {
    pub(crate) profile: ProfileId,
    pub(crate) version: u32,
    pub(crate) channels: Vec<Channel>,
    pub(crate) events: Vec<EventKind>,
    pub(crate) rules: Vec<Compiled>,
    /// What is followed of every device.
    pub(crate) followed: Arc<Followed>,
    /// By channel: the windows over its values, a bit for each.
    pub(crate) feeds: Vec<u64>,
    channel_index: HashMap<ChannelId, u16>,
    event_index: HashMap<String, u16>,
    /// By channel: what depends on its value.
    pub(crate) on_change: Vec<Dependents>,
    /// By channel: what depends on when it last got a value.
    pub(crate) on_value: Vec<RuleSet>,
    /// By event: what depends on it.
    pub(crate) on_event: Vec<RuleSet>,
    /// What depends on whether the device is connected.
    pub(crate) on_online: Dependents,
    /// The rules about contact itself.
    pub(crate) contact_rules: Vec<u16>,
    /// The windows on peers, and what each is known by among them.
    pub(crate) peers: Vec<(u16, Arc<str>)>,
    /// The rules that must not wait.
    pub(crate) urgent: RuleSet,
    /// The windows that they ask, a bit for each.
    pub(crate) urgent_windows: u64,
    /// How much later than a later message an earlier one may come and still be taken in its place.
    pub(crate) lateness_us: i64,
    /// After a longer silence holding times begin anew; `NEVER` if none is too long.
    pub(crate) gap_us: i64,
    /// The rules as they are on devices that have overrides.
    variants: HashMap<DeviceId, Arc<Ruleset>>,
}

/// What a changed value touches.
#[derive(Debug, Default, Clone)]
pub(crate) struct Dependents {
    pub(crate) rules: RuleSet,
    pub(crate) latches: bool,
}

/// A set of rules of one profile.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleSet([u64; MAX_RULES / 64]);

impl RuleSet {
    pub(crate) fn insert(&mut self, rule: usize) {
        self.0[rule / 64] |= 1 << (rule % 64);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Drops what is not in the other set.
    pub(crate) fn keep(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine &= theirs;
        }
    }

    /// The rules in it, in the order of the profile.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let words = self.0;
        words.into_iter().enumerate().flat_map(|(index, word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

/// The shortest silence that may count as a gap: devices report every ten seconds or so.
const SHORTEST_GAP: std::time::Duration = std::time::Duration::from_secs(30);

impl Ruleset {
    /// Compiles the rules of a profile and checks them against its channels and events.
    ///
    /// # Errors
    /// The first [`ProfileError`] found, with file, line and remedy.
    pub fn compile(profile: &Profile) -> Result<Self, ProfileError> {
        check_size(profile)?;
        if profile.gap.is_some_and(|gap| gap < SHORTEST_GAP) {
            let message = "\"gap\" is shorter than the pause between two messages may be";
            return Err(profile.error(
                1,
                message,
                "write gap = \"1m\" or longer, several times the interval of the reports",
            ));
        }
        compile::check_derived(profile)?;
        let index = |position: usize| u16::try_from(position).expect("bounded by check_size");
        let event_index: HashMap<String, u16> =
            profile.events.iter().enumerate().map(|(i, event)| (event.code.clone(), index(i))).collect();
        let channel_index: HashMap<ChannelId, u16> =
            profile.channels.iter().enumerate().map(|(i, channel)| (channel.id.clone(), index(i))).collect();
        let mut followed = Followed::default();
        let mut rules = Vec::with_capacity(profile.rules.len());
        for rule in &profile.rules {
            rules.push(compile_rule(profile, rule, &channel_index, &event_index, &mut followed)?);
        }
        let mut ruleset = Self {
            profile: profile.id.clone(),
            version: profile.version,
            on_change: vec![Dependents::default(); profile.channels.len()],
            on_value: vec![RuleSet::default(); profile.channels.len()],
            on_event: vec![RuleSet::default(); profile.events.len()],
            on_online: Dependents::default(),
            contact_rules: (0..rules.len()).filter(|i| rules[*i].is_contact()).map(index).collect(),
            peers: Vec::new(),
            urgent: RuleSet::default(),
            urgent_windows: 0,
            lateness_us: micros(profile.lateness),
            gap_us: profile.gap.map_or(NEVER, micros),
            channels: profile.channels.clone(),
            events: profile.events.clone(),
            rules,
            feeds: vec![0; profile.channels.len()],
            followed: Arc::new(followed),
            channel_index,
            event_index,
            variants: variants(profile)?,
        };
        ruleset.index();
        Ok(ruleset)
    }

    /// The rules as they are on a device.
    pub(crate) fn on(self: &Arc<Self>, device: &DeviceId) -> Arc<Self> {
        Arc::clone(self.variants.get(device).unwrap_or(self))
    }

    /// These rules and those of devices that have overrides.
    pub(crate) fn with_variants(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.variants.values().map(|variant| &**variant))
    }

    /// The profile it was compiled from.
    #[must_use]
    pub fn profile(&self) -> &ProfileId {
        &self.profile
    }

    /// How much later than a later message an earlier one may come and still be taken in its place.
    #[must_use]
    pub fn lateness(&self) -> std::time::Duration {
        std::time::Duration::from_micros(self.lateness_us.unsigned_abs())
    }

    pub(crate) fn channel(&self, id: &ChannelId) -> Option<u16> {
        self.channel_index.get(id).copied()
    }

    pub(crate) fn event(&self, code: &str) -> Option<u16> {
        self.event_index.get(code).copied()
    }

    fn index(&mut self) {
        let followed = Arc::clone(&self.followed);
        for (bit, window) in (0_u16..).zip(&followed.windows) {
            if window.kind == Kind::Peers {
                self.peers.push((bit, format!("{:?} over {} us", window.of, window.span_us).into()));
            }
            if let Source::Number(number) = &window.of {
                number.channels(&mut |channel| self.feeds[usize::from(channel)] |= 1 << bit);
            }
        }
        for latch in &followed.latches {
            latch.channels(&mut |channel| self.on_change[usize::from(channel)].latches = true);
            self.on_online.latches |= latch.asks_online();
        }
        for (number, compiled) in self.rules.iter().enumerate() {
            if compiled.is_urgent() {
                self.urgent.insert(number);
                self.urgent_windows |= compiled.windows.iter().fold(0, |bits, window| bits | 1 << window);
            }
            let mut moments = Vec::new();
            for expression in compiled.expressions() {
                expression.channels(&mut |channel| self.on_change[usize::from(channel)].rules.insert(number));
                if expression.asks_online() {
                    self.on_online.rules.insert(number);
                }
                expression.moments(&mut |moment, _| moments.push(moment));
            }
            match &compiled.test {
                Test::Event { codes, clear_codes } => {
                    moments.extend(codes.iter().chain(clear_codes).map(|code| Moment::Event(*code)));
                }
                Test::Absence { of: Silence::Of(moment), .. } => moments.push(*moment),
                Test::Absence { of: Silence::Contact, .. } | Test::When(_) | Test::Fusion { .. } => {}
            }
            for window in &compiled.windows {
                match &followed.windows[usize::from(*window)].of {
                    Source::Number(of) => of.channels(&mut |channel| {
                        self.on_value[usize::from(channel)].insert(number);
                    }),
                    Source::Moment(moment) => moments.push(*moment),
                }
            }
            let steps = |moment: &Moment| match moment {
                Moment::Sequence(sequence) => followed.sequences[usize::from(*sequence)].steps.clone(),
                Moment::Event(_) | Moment::Channel(_) | Moment::Latch(_) => vec![*moment],
            };
            for moment in moments.iter().flat_map(steps) {
                match moment {
                    Moment::Event(event) => self.on_event[usize::from(event)].insert(number),
                    Moment::Channel(channel) => self.on_value[usize::from(channel)].insert(number),
                    Moment::Latch(latch) => {
                        let latch = &followed.latches[usize::from(latch)];
                        latch.channels(&mut |channel| self.on_change[usize::from(channel)].rules.insert(number));
                        if latch.asks_online() {
                            self.on_online.rules.insert(number);
                        }
                    }
                    Moment::Sequence(_) => {} // A step is never a sequence.
                }
            }
        }
    }
}

/// The rules of every device that has overrides; devices with the same ones share them.
fn variants(profile: &Profile) -> Result<HashMap<DeviceId, Arc<Ruleset>>, ProfileError> {
    let mut variants: HashMap<DeviceId, Arc<Ruleset>> = HashMap::new();
    let mut compiled: HashMap<Vec<usize>, Arc<Ruleset>> = HashMap::new();
    for device in profile.overrides.iter().flat_map(|over| &over.devices) {
        if variants.contains_key(device) {
            continue;
        }
        let concerned = |(_, over): &(usize, &Override)| over.devices.contains(device);
        let key: Vec<usize> = profile.overrides.iter().enumerate().filter(concerned).map(|(at, _)| at).collect();
        let Some(here) = profile.on(device) else { continue };
        let rules = match compiled.get(&key) {
            Some(rules) => Arc::clone(rules),
            None => compiled.entry(key).or_insert(Arc::new(Ruleset::compile(&here)?)).clone(),
        };
        variants.insert(device.clone(), rules);
    }
    Ok(variants)
}

fn check_size(profile: &Profile) -> Result<(), ProfileError> {
    for (what, len, most) in [
        ("rules", profile.rules.len(), MAX_RULES),
        ("channels", profile.channels.len(), MAX_NAMES),
        ("events", profile.events.len(), MAX_NAMES),
    ] {
        if len > most {
            return Err(profile.error(
                1,
                format!("the profile has {len} {what}"),
                format!("split it: at most {most} are possible"),
            ));
        }
    }
    Ok(())
}

fn micros(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn compile_rule(
    profile: &Profile,
    rule: &Rule,
    channels: &HashMap<ChannelId, u16>,
    events: &HashMap<String, u16>,
    followed: &mut Followed,
) -> Result<Compiled, ProfileError> {
    let mut lower = |text: &Located<String>| compile::truth(profile, text, followed);
    let unknown = |name: &str| profile.error(rule.line, format!("unknown name \"{name}\""), "declare it first");
    let event = |code: &String| events.get(code).copied().ok_or_else(|| unknown(code));
    let mut hold_us = micros(rule.hold);
    let test = match &rule.condition {
        Condition::When(text) => Test::When(lower(text)?),
        Condition::Fusion { signals, threshold } => {
            let signals: Result<Vec<_>, ProfileError> =
                signals.iter().map(|signal| Ok((lower(&signal.when)?, signal.weight))).collect();
            Test::Fusion { signals: signals?, threshold: *threshold }
        }
        Condition::Event { codes, clear_codes } => Test::Event {
            codes: codes.iter().map(event).collect::<Result<_, _>>()?,
            clear_codes: clear_codes.iter().map(event).collect::<Result<_, _>>()?,
        },
        Condition::Absence { of, after } => {
            let of = match of {
                AbsenceOf::Contact => Silence::Contact,
                AbsenceOf::Channel(id) => {
                    Silence::Of(Moment::Channel(channels.get(id).copied().ok_or_else(|| unknown(id.as_str()))?))
                }
                AbsenceOf::Event(code) => Silence::Of(Moment::Event(event(code)?)),
            };
            Test::Absence { of, after_us: micros(*after).saturating_add(std::mem::take(&mut hold_us)) }
        }
    };
    let clear_when = rule.clear_when.as_ref().map(&mut lower).transpose()?;
    let unless = rule.unless.as_ref().map(&mut lower).transpose()?;
    let compiled = Compiled {
        rule: rule.clone(),
        test,
        unless,
        clear_when,
        hold_us,
        clear_us: micros(rule.clear_for),
        severities: rule.severity_after.iter().map(|step| (micros(step.after), step.severity)).collect(),
        timed: Vec::new(),
        windows: Vec::new(),
    };
    check_ending(profile, &compiled)?;
    let (mut timed, mut windows) = (Vec::new(), Vec::new());
    for expression in compiled.expressions() {
        expression.windows(&mut |window| {
            if !windows.contains(&window) {
                windows.push(window);
            }
        });
        expression.moments(&mut |moment, span| {
            if let Some(span) = span
                && !timed.contains(&(moment, span))
            {
                timed.push((moment, span));
            }
        });
    }
    Ok(Compiled { timed, windows, ..compiled })
}

/// Every alert must be able to end, and in one way only.
fn check_ending(profile: &Profile, compiled: &Compiled) -> Result<(), ProfileError> {
    let rule = &compiled.rule;
    match &compiled.test {
        Test::Event { clear_codes, .. }
            if clear_codes.is_empty() && rule.clear_when.is_none() && rule.clear_for.is_zero() =>
        {
            Err(profile.error(
                rule.line,
                format!("the alert of \"{}\" would end the moment it is raised", rule.id),
                "add clear_codes or clear_when, or clear_for to end it so long after the last event",
            ))
        }
        Test::Absence { after_us, .. } => match &rule.clear_when {
            Some(clear_when) => Err(profile.error(
                clear_when.line,
                format!("\"{}\" ends when something is heard again, not by clear_when", rule.id),
                "remove clear_when",
            )),
            None if *after_us == 0 => Err(profile.error(
                rule.line,
                format!("\"{}\" waits for a silence of no length", rule.id),
                "write after = \"10m\" or longer",
            )),
            None => Ok(()),
        },
        Test::When(Truth::Constant(flag)) => {
            let answer = if *flag { "always" } else { "never" };
            Err(profile.error(
                rule.line,
                format!("the condition of \"{}\" is {answer} true", rule.id),
                "compare a channel with something",
            ))
        }
        Test::When(_) | Test::Fusion { .. } | Test::Event { .. } => Ok(()),
    }
}
