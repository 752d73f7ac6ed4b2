//! What counts as a failure of a kind of device, for models that learn to foresee it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{ProfileError, load::Names};
use crate::{ChannelId, Localised, RuleId, RunbookId, Severity, TicketKind, duration};

/// The rule under which a risk of failure is raised; no rule, detector or forecast of a profile may have its name.
pub const FAILURE_RISK: &str = "failure_risk";
/// The most sources a profile may name together: each is a kind of failure, and models tell 32 kinds apart.
const MAX_SOURCES: usize = 31;
/// The most channels whose departures are features.
const MAX_CHANNELS: usize = 32;
/// How far ahead a failure may be foreseen.
const HORIZONS: std::ops::RangeInclusive<Duration> = Duration::from_hours(1)..=Duration::from_hours(24 * 90);

/// What counts as a failure, and what it costs to miss one. At least one of rules, events and tickets is named.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failures {
    /// An alert of one of these rules is a failure, from when it is raised until it is cleared.
    pub rules: Vec<RuleId>,
    /// One of these codes is a failure ...
    pub events: Vec<String>,
    /// ... until one of these comes; without any it is over at once.
    pub ends: Vec<String>,
    /// A ticket of one of these kinds is a failure, from when it is opened until it is closed.
    pub tickets: Vec<TicketKind>,
    /// Number channels whose daily means are compared with the device's own usual level.
    pub channels: Vec<ChannelId>,
    /// How far ahead failures are to be foreseen, shortest first.
    pub horizons: Vec<Duration>,
    /// What a failure costs that nobody was sent for.
    pub miss_cost: f64,
    /// What a visit costs that no failure would have followed; in the same unit.
    pub visit_cost: f64,
    /// How bad a risk of failure is.
    pub severity: Severity,
    /// The runbook that prepares the visit.
    pub runbook: Option<RunbookId>,
    /// The line it starts on.
    pub line: usize,
}

impl Failures {
    /// The probability from which on a visit costs less than waiting: `p * miss_cost > (1 - p) * visit_cost`.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        threshold(self.miss_cost, self.visit_cost)
    }

    /// The ticket's title.
    #[must_use]
    pub fn title() -> Localised {
        Localised::new("Likely to fail soon", "近期可能发生故障")
    }
}

/// The probability from which on a needless visit costs less than a missed failure.
#[must_use]
pub fn threshold(miss_cost: f64, visit_cost: f64) -> f64 {
    visit_cost / (visit_cost + miss_cost)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFailures {
    #[serde(default)]
    rules: Vec<Spanned<String>>,
    #[serde(default)]
    events: Vec<Spanned<String>>,
    #[serde(default)]
    ends: Vec<Spanned<String>>,
    #[serde(default)]
    tickets: Vec<TicketKind>,
    #[serde(default)]
    channels: Vec<Spanned<String>>,
    horizons: Option<Vec<String>>,
    miss_cost: f64,
    visit_cost: f64,
    severity: Option<Severity>,
    runbook: Option<Spanned<RunbookId>>,
}

/// Checks the section against what the profile declares.
pub(super) fn load(
    names: &Names<'_>,
    rules: &[RuleId],
    spanned: Spanned<RawFailures>,
) -> Result<Failures, ProfileError> {
    let start = spanned.span().start;
    let raw = spanned.into_inner();
    let error = |message: String, remedy: &str| Err(names.source.error(start, message, remedy));
    let sources = raw.rules.len() + raw.events.len() + raw.tickets.len();
    if sources == 0 {
        return error("failures names nothing that is a failure".to_owned(), "add rules, events or tickets");
    }
    if sources > MAX_SOURCES {
        return error(
            format!("failures names {sources} sources"),
            "name at most 31 rules, events and tickets together",
        );
    }
    if raw.channels.len() > MAX_CHANNELS {
        return error(format!("failures names {} channels", raw.channels.len()), "name at most 32");
    }
    let positive = |cost: f64| cost.is_finite() && cost > 0.0;
    if !positive(raw.miss_cost) || !positive(raw.visit_cost) {
        return error(
            "the costs of failures must be above 0".to_owned(),
            "write miss_cost = 10.0 and visit_cost = 1.0",
        );
    }
    let mut horizons = Vec::new();
    for text in raw.horizons.unwrap_or_else(|| vec!["1d".to_owned(), "7d".to_owned()]) {
        match duration::parse(&text) {
            Ok(horizon) if HORIZONS.contains(&horizon) && horizon.subsec_nanos() == 0 => horizons.push(horizon),
            Ok(_) => {
                return error(
                    format!("the horizon \"{text}\" is of no use"),
                    "write whole seconds from \"1h\" to \"90d\"",
                );
            }
            Err(wrong) => return error(wrong.to_string(), "write durations such as \"1d\" and \"7d\""),
        }
    }
    horizons.sort_unstable();
    horizons.dedup();
    if horizons.is_empty() || horizons.len() > 4 {
        return error(format!("failures names {} horizons", horizons.len()), "name 1 to 4, such as \"1d\" and \"7d\"");
    }
    let known: Vec<&str> = rules.iter().map(RuleId::as_str).collect();
    let rule = |name: &Spanned<String>| {
        rules.iter().find(|rule| rule.as_str() == name.as_ref()).cloned().ok_or_else(|| {
            let message = format!("unknown rule \"{}\"", name.as_ref());
            names.source.error(name.span().start, message, super::did_you_mean(name.as_ref(), &known))
        })
    };
    Ok(Failures {
        rules: raw.rules.iter().map(rule).collect::<Result<_, _>>()?,
        events: raw.events.iter().map(|code| names.event(code)).collect::<Result<_, _>>()?,
        ends: raw.ends.iter().map(|code| names.event(code)).collect::<Result<_, _>>()?,
        tickets: raw.tickets,
        channels: raw.channels.iter().map(|name| names.number_channel(name)).collect::<Result<_, _>>()?,
        horizons,
        miss_cost: raw.miss_cost,
        visit_cost: raw.visit_cost,
        severity: raw.severity.unwrap_or(Severity::Minor),
        runbook: names.runbook(raw.runbook)?,
        line: names.source.line(start),
    })
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use crate::Profile;

    const HEAD: &str = "[profile]\nid = \"pump\"\nname = { en = \"Pump\", zh = \"水泵\" }\nversion = 1\n\
        [[channels]]\nid = \"heat_c\"\nname = { en = \"Heat\", zh = \"温度\" }\ntype = \"number\"\nunit = \"Cel\"\nrange = [0.0, 40.0]\n\
        [[events]]\ncode = \"trip\"\nname = { en = \"Trip\", zh = \"跳闸\" }\n\
        [[rules]]\nid = \"hot\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = \"heat_c > 30\"\n";

    fn parse(tail: &str) -> Result<Profile, String> {
        Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{tail}")).map_err(|error| error.to_string())
    }

    #[test]
    fn failures_are_rules_events_and_tickets_at_a_cost() {
        assert_eq!(parse("").unwrap().failures, None);
        let text = "[failures]\nrules = [\"hot\"]\nevents = [\"trip\"]\ntickets = [\"breakdown\"]\nchannels = [\"heat_c\"]\n\
            miss_cost = 9.0\nvisit_cost = 1.0\n";
        let failures = parse(text).unwrap().failures.unwrap();
        assert_eq!(failures.horizons, [Duration::from_hours(24), Duration::from_hours(168)]);
        assert!((failures.threshold() - 0.1).abs() < 1e-12);
        assert_eq!((failures.rules[0].as_str(), failures.events[0].as_str()), ("hot", "trip"));
    }

    #[test]
    fn mistakes_name_their_line_and_the_remedy() {
        let costs = "miss_cost = 9.0\nvisit_cost = 1.0\n";
        let wrong = |tail: &str| parse(&format!("[failures]\n{tail}")).unwrap_err();
        assert!(wrong(costs).contains("add rules, events or tickets"));
        assert_eq!(
            wrong(&format!("rules = [\"hto\"]\n{costs}")),
            "pump.toml:22: unknown rule \"hto\"; did you mean \"hot\"?"
        );
        assert!(wrong(&format!("events = [\"tripp\"]\n{costs}")).contains("did you mean \"trip\"?"));
        assert!(wrong("rules = [\"hot\"]\nmiss_cost = 0.0\nvisit_cost = 1.0\n").contains("above 0"));
        assert!(wrong(&format!("rules = [\"hot\"]\nhorizons = [\"5s\"]\n{costs}")).contains("\"5s\" is of no use"));
        assert!(wrong(&format!("rules = [\"hot\"]\nhorizons = []\n{costs}")).contains("name 1 to 4"));
        let rule = HEAD.split("[[rules]]").nth(1).unwrap().replace("\"hot\"", "\"failure_risk\"");
        assert!(parse(&format!("[[rules]]{rule}")).unwrap_err().contains("\"failure_risk\" is used twice"));
    }
}
