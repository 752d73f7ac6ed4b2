//! Evidence: what an alert rests on, in values for machines and in a sentence for people.

use model::{Evidence, Localised, Observation, Timestamp, Value, profile::Condition};

use crate::{
    facts::Facts,
    phrases,
    program::{Moment, Truth},
    ruleset::{Compiled, Ruleset, Silence, Test},
    watch::Watch,
    words,
};

/// What a rule was raised on.
pub(crate) fn of_raising(watch: &Watch, compiled: &Compiled, since: i64, now: i64) -> Evidence {
    let mut seen = Seen::new(watch, now);
    // What the sentence tells: of a fusion only the signals that speak for it.
    let mut told = Seen::new(watch, now);
    let mut missing = Seen::new(watch, now);
    let mut observations = Vec::new();
    let mut signals = Vec::new();
    match &compiled.test {
        Test::When(truth) => {
            seen.look(truth, true);
            told.look(truth, true);
        }
        Test::Fusion { signals: tests, .. } => {
            let named = named_signals(&compiled.rule.condition);
            for ((truth, weight), signal) in tests.iter().zip(named) {
                let holds = truth.evaluate(&watch.facts, now);
                observations.push(Observation {
                    name: signal.id.clone(),
                    value: holds.map(Value::Bool),
                    unit: None,
                    time: latest_time(&watch.facts, truth, now),
                    supports: holds == Some(true) && *weight > 0.0,
                });
                if holds == Some(true) && *weight > 0.0 {
                    signals.push(signal.name.clone());
                    told.look(truth, true);
                }
                if *weight > 0.0 {
                    missing.look(truth, true);
                }
                seen.look(truth, *weight > 0.0);
            }
        }
        Test::Event { codes, .. } => codes.iter().for_each(|code| seen.add_event(*code, true)),
        Test::Absence { of, .. } => observations.extend(silence(watch, *of)),
    }
    let summary = summary(watch, compiled, &signals, &told, &missing);
    observations.extend(seen.observations());
    Evidence {
        summary,
        condition: condition(compiled),
        from: Some(Timestamp::from_micros(since)),
        to: observations.iter().filter_map(|observation| observation.time).max(),
        observations,
        clears_when: clears_when(watch, compiled),
        forecast: None,
        withdrawn: false,
        dry_run: compiled.rule.dry_run,
        severity_since: None,
    }
}

/// Adds what ended it.
pub(crate) fn of_clearing(watch: &Watch, compiled: &Compiled, evidence: &mut Evidence, at: i64, now: i64) {
    let mut seen = Seen::new(watch, now);
    match (&compiled.clear_when, &compiled.test) {
        (Some(truth), _) => seen.look(truth, true),
        (None, Test::When(truth)) => seen.look(truth, false),
        (None, Test::Fusion { signals, .. }) => {
            signals.iter().for_each(|(truth, weight)| seen.look(truth, *weight < 0.0))
        }
        (None, Test::Event { .. } | Test::Absence { .. }) => {}
    }
    if let Test::Event { clear_codes, .. } = &compiled.test {
        clear_codes.iter().for_each(|code| seen.add_event(*code, true));
    }
    let facts = phrases::facts(&seen.supporting());
    let text = match &compiled.test {
        Test::Absence { .. } => Localised::new(" It was heard again.", " 已恢复上报。"),
        _ if facts.en.is_empty() => Localised::new(" It is over.", " 已结束。"),
        Test::When(_) | Test::Fusion { .. } | Test::Event { .. } => {
            Localised::new(format!(" It is over: {}.", facts.en), format!(" 已结束：{}。", facts.zh))
        }
    };
    evidence.summary.en.push_str(&text.en);
    evidence.summary.zh.push_str(&text.zh);
    evidence.to = Some(Timestamp::from_micros(at));
    // What ended it speaks against the condition.
    evidence
        .observations
        .extend(seen.observations().into_iter().filter(|o| o.supports).map(|o| Observation { supports: false, ..o }));
}

fn named_signals(condition: &Condition) -> &[model::profile::Signal] {
    match condition {
        Condition::Fusion { signals, .. } => signals,
        Condition::When(_) | Condition::Absence { .. } | Condition::Event { .. } => &[],
    }
}

/// The channels and events that were looked at.
struct Seen<'a> {
    ruleset: &'a Ruleset,
    facts: &'a Facts,
    now: i64,
    found: Vec<(Moment, bool)>,
    /// The expressions that are followed: they stand for the channels in them.
    followed: Vec<u16>,
    /// The windows that were asked.
    windows: Vec<(u16, bool)>,
}

impl<'a> Seen<'a> {
    fn new(watch: &'a Watch, now: i64) -> Self {
        Self {
            ruleset: &watch.ruleset,
            facts: &watch.facts,
            now,
            found: Vec::new(),
            followed: Vec::new(),
            windows: Vec::new(),
        }
    }

    fn add(&mut self, what: Moment, supports: bool) {
        match self.found.iter_mut().find(|(known, _)| *known == what) {
            Some((_, known)) => *known |= supports,
            None => self.found.push((what, supports)),
        }
    }

    fn add_event(&mut self, code: u16, supports: bool) {
        self.add(Moment::Event(code), supports && self.facts.event(code).is_some());
    }

    /// Notes what an expression looks at, and whether it speaks for the answer that is wanted.
    fn look(&mut self, truth: &Truth, wanted: bool) {
        let (facts, now, ruleset) = (self.facts, self.now, self.ruleset);
        let mut found = Vec::new();
        let mut windows: Vec<(u16, bool)> = Vec::new();
        let mut latches = Vec::new();
        truth.atoms(wanted, &mut |atom, wanted| {
            let supports = atom.evaluate(facts, now) == Some(wanted);
            let mut moment = |moment: Moment| match moment {
                Moment::Latch(latch) => latches.push(latch),
                Moment::Sequence(sequence) => {
                    for step in &ruleset.followed.sequences[usize::from(sequence)].steps {
                        match step {
                            Moment::Latch(latch) => latches.push(*latch),
                            Moment::Event(_) | Moment::Channel(_) => found.push((*step, supports)),
                            Moment::Sequence(_) => {}
                        }
                    }
                }
                Moment::Event(_) | Moment::Channel(_) => found.push((moment, supports)),
            };
            match atom {
                Truth::Recent { moment: m, .. } | Truth::Since { moment: m, .. } => moment(*m),
                Truth::Sooner { a, b, .. } | Truth::After { a, b } => {
                    moment(*a);
                    moment(*b);
                }
                Truth::Constant(_)
                | Truth::Channel(_)
                | Truth::State { .. }
                | Truth::Text { .. }
                | Truth::Limit { .. }
                | Truth::Compare(..)
                | Truth::OneOf(..)
                | Truth::Has(_)
                | Truth::Online
                | Truth::Same(_)
                | Truth::Not(_)
                | Truth::And(_)
                | Truth::Or(_)
                | Truth::Choice(_) => atom.channels(&mut |channel| found.push((Moment::Channel(channel), supports))),
            }
            // An atom is visited with what is inside it, so only its own windows are taken here.
            if let Truth::Compare(..) | Truth::OneOf(..) = atom {
                atom.windows(&mut |window| windows.push((window, supports)));
            }
        });
        for (window, supports) in windows {
            match self.windows.iter_mut().find(|(known, _)| *known == window) {
                Some((_, known)) => *known |= supports,
                None => self.windows.push((window, supports)),
            }
        }
        for (what, supports) in found {
            self.add(what, supports);
        }
        self.followed.extend(latches);
    }

    fn observations(&self) -> Vec<Observation> {
        let mut found = self.found.clone();
        for latch in &self.followed {
            self.ruleset.followed.latches[usize::from(*latch)].channels(&mut |channel| {
                let channel = Moment::Channel(channel);
                if !found.iter().any(|(known, _)| *known == channel) {
                    found.push((channel, false));
                }
            });
        }
        let found = found.iter().filter_map(|(what, supports)| observation(self.ruleset, self.facts, *what, *supports));
        let windows = self.windows.iter().map(|(window, supports)| {
            let value = self.facts.window(*window, self.now);
            Observation {
                name: words::window_text(self.ruleset, *window),
                value: value.map(Value::Number),
                unit: words::window_unit(self.ruleset, *window),
                time: value.map(|_| Timestamp::from_micros(self.now)),
                supports: *supports && value.is_some(),
            }
        });
        found.chain(windows).collect()
    }

    /// What speaks for the answer, in words.
    fn supporting(&self) -> Vec<Localised> {
        let known = self.found.iter().filter(|(_, supports)| *supports);
        let known = known.filter_map(|(what, _)| in_words(self.ruleset, self.facts, *what));
        let windows = self.windows.iter().filter(|(_, supports)| *supports);
        let windows = windows.filter_map(|(window, _)| {
            let value = self.facts.window(*window, self.now)?;
            let (name, unit) = (words::window(self.ruleset, *window), words::window_unit(self.ruleset, *window));
            Some(phrases::reading(&name, &Value::Number(value), unit))
        });
        known.chain(windows).collect()
    }
}

fn observation(ruleset: &Ruleset, facts: &Facts, what: Moment, supports: bool) -> Option<Observation> {
    match what {
        Moment::Channel(channel) => {
            let declared = &ruleset.channels[usize::from(channel)];
            let time = facts.time(channel).map(Timestamp::from_micros);
            Some(Observation {
                name: declared.id.to_string(),
                value: facts.value(channel, &declared.kind),
                unit: declared.unit(),
                time,
                supports: supports && time.is_some(),
            })
        }
        Moment::Event(event) => {
            let time = facts.event(event).map(Timestamp::from_micros);
            let name = ruleset.events[usize::from(event)].code.clone();
            Some(Observation {
                name,
                value: time.map(|_| Value::Bool(true)),
                unit: None,
                time,
                supports: supports && time.is_some(),
            })
        }
        Moment::Latch(_) | Moment::Sequence(_) => None,
    }
}

fn in_words(ruleset: &Ruleset, facts: &Facts, what: Moment) -> Option<Localised> {
    match what {
        Moment::Channel(channel) => {
            let value = facts.value(channel, &ruleset.channels[usize::from(channel)].kind)?;
            Some(words::value(ruleset, channel, &value))
        }
        Moment::Event(event) => facts.event(event).map(|_| ruleset.events[usize::from(event)].name.clone()),
        Moment::Latch(_) | Moment::Sequence(_) => None,
    }
}

fn latest_time(facts: &Facts, truth: &Truth, now: i64) -> Option<Timestamp> {
    let mut latest = None;
    truth.channels(&mut |channel| latest = latest.max(facts.time(channel)));
    truth.moments(&mut |moment, _| latest = latest.max(facts.moment(moment, now)));
    latest.map(Timestamp::from_micros)
}

fn silence(watch: &Watch, of: Silence) -> Option<Observation> {
    match of {
        Silence::Contact => Some(Observation {
            name: "contact".to_owned(),
            value: None,
            unit: None,
            time: watch.contact.map(Timestamp::from_micros),
            supports: true,
        }),
        Silence::Of(moment) => observation(&watch.ruleset, &watch.facts, moment, true),
    }
}

fn summary(
    watch: &Watch,
    compiled: &Compiled,
    signals: &[Localised],
    told: &Seen<'_>,
    missing: &Seen<'_>,
) -> Localised {
    let title = &compiled.rule.title;
    let facts = match &compiled.test {
        Test::Absence { of, after_us } => return silent_for(watch, compiled, *of, *after_us),
        Test::Event { codes, .. } => {
            // The one that raised it, not every one that could have.
            let latest = codes.iter().filter_map(|code| Some((watch.facts.event(*code)?, *code))).max();
            latest.map(|(_, code)| watch.ruleset.events[usize::from(code)].name.clone()).into_iter().collect()
        }
        Test::When(_) => told.supporting(),
        Test::Fusion { .. } => {
            // The signals' names tell of events already.
            let channels = told.found.iter().filter(|(what, supports)| *supports && matches!(what, Moment::Channel(_)));
            let mut facts: Vec<_> =
                channels.filter_map(|(what, _)| in_words(&watch.ruleset, &watch.facts, *what)).collect();
            let names: Vec<_> = missing.found.iter().filter_map(|(what, _)| name_of_missing(watch, *what)).collect();
            if !names.is_empty() {
                let names = phrases::list(&names);
                facts.push(Localised::new(format!("not reported: {}", names.en), format!("未上报：{}", names.zh)));
            }
            facts
        }
    };
    let facts = phrases::facts(&facts);
    let signals = phrases::list(signals);
    match (signals.en.is_empty(), facts.en.is_empty() || facts == *title) {
        (true, true) => Localised::new(format!("{}.", title.en), format!("{}。", title.zh)),
        (true, false) => {
            Localised::new(format!("{}: {}.", title.en, facts.en), format!("{}：{}。", title.zh, facts.zh))
        }
        (false, true) => {
            Localised::new(format!("{}: {}.", title.en, signals.en), format!("{}：{}。", title.zh, signals.zh))
        }
        (false, false) => Localised::new(
            format!("{}: {}. {}.", title.en, signals.en, facts.en),
            format!("{}：{}。{}。", title.zh, signals.zh, facts.zh),
        ),
    }
}

fn name_of_missing(watch: &Watch, what: Moment) -> Option<Localised> {
    match what {
        Moment::Channel(channel) if watch.facts.time(channel).is_none() => {
            Some(watch.ruleset.channels[usize::from(channel)].name.clone())
        }
        Moment::Channel(_) | Moment::Event(_) | Moment::Latch(_) | Moment::Sequence(_) => None,
    }
}

fn silent_for(watch: &Watch, compiled: &Compiled, of: Silence, after_us: i64) -> Localised {
    let title = &compiled.rule.title;
    let span = phrases::span(after_us);
    let name = match of {
        Silence::Contact => {
            return Localised::new(
                format!("{}: silent for {}.", title.en, span.en),
                format!("{}：已静默 {}。", title.zh, span.zh),
            );
        }
        Silence::Of(Moment::Channel(channel)) => &watch.ruleset.channels[usize::from(channel)].name,
        Silence::Of(Moment::Event(event)) => &watch.ruleset.events[usize::from(event)].name,
        Silence::Of(Moment::Latch(_) | Moment::Sequence(_)) => title,
    };
    Localised::new(
        format!("{}: no \"{}\" for {}.", title.en, name.en, span.en),
        format!("{}：{} 内未收到“{}”。", title.zh, span.zh, name.zh),
    )
}

/// The condition as written in the profile.
fn condition(compiled: &Compiled) -> String {
    match &compiled.rule.condition {
        Condition::When(text) => phrases::one_line(&text.value),
        Condition::Fusion { signals, threshold } => {
            let parts: Vec<_> = signals.iter().map(|s| format!("{:+} {}", s.weight, s.id)).collect();
            format!("{} >= {threshold}", parts.join(" "))
        }
        Condition::Event { codes, .. } => format!("event {}", codes.join(" or ")),
        Condition::Absence { of, after } => {
            let what = match of {
                model::profile::AbsenceOf::Contact => "message".to_owned(),
                model::profile::AbsenceOf::Channel(channel) => format!("value of {channel}"),
                model::profile::AbsenceOf::Event(code) => format!("event {code}"),
            };
            format!("no {what} for {}", model::duration::format(*after))
        }
    }
}

fn clears_when(watch: &Watch, compiled: &Compiled) -> Localised {
    let mut ways = Vec::new();
    if let Test::Event { clear_codes, .. } = &compiled.test {
        ways.extend(clear_codes.iter().map(|code| {
            let name = &watch.ruleset.events[usize::from(*code)].name;
            Localised::new(format!("the event \"{}\"", name.en), format!("收到事件“{}”", name.zh))
        }));
    }
    if let Some(clear_when) = &compiled.clear_when {
        ways.push(words::truth(&watch.ruleset, clear_when, true));
    }
    if ways.is_empty() {
        ways.push(match &compiled.test {
            Test::When(truth) => words::truth(&watch.ruleset, truth, false),
            Test::Fusion { .. } => Localised::new("the signals no longer add up", "各信号之和低于阈值"),
            Test::Event { .. } => Localised::new("the event does not come again", "事件不再出现"),
            Test::Absence { of: Silence::Contact, .. } => Localised::new("the next message", "收到下一条消息"),
            Test::Absence { .. } => Localised::new("it comes again", "再次收到"),
        });
    }
    let en: Vec<_> = ways.iter().map(|way| way.en.as_str()).collect();
    let zh: Vec<_> = ways.iter().map(|way| way.zh.as_str()).collect();
    let mut text = Localised::new(en.join(", or "), zh.join("，或"));
    if compiled.clear_us > 0 {
        let span = phrases::span(compiled.clear_us);
        text.en.push_str(&format!(", for {}", span.en));
        text.zh.push_str(&format!("，持续 {}", span.zh));
    }
    text
}
