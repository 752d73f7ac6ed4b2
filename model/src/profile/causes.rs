//! The failure catalogue: what may lie behind an alert or a ticket, how likely it is before anything was confirmed,
//! and what its repair takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    FAILURE_RISK, ProfileError,
    load::{Names, did_you_mean},
};
use crate::{CauseId, Localised, RuleId, RunbookId, TicketKind, duration};

/// The most causes of a profile: people choose from them when they close a ticket.
const MAX_CAUSES: usize = 200;
/// The most confirmed cases that a weight may stand for.
const MAX_WEIGHT: f64 = 1_000.0;
/// The longest that a repair may be said to take.
const MAX_DURATION: Duration = Duration::from_hours(24 * 7);

/// Something that may be found to have failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// Its name.
    pub id: CauseId,
    /// What people call it.
    pub name: Localised,
    /// Rules, detectors and forecasts that it may lie behind.
    pub rules: Vec<RuleId>,
    /// Tickets of these kinds that it may lie behind, whatever found them.
    pub tickets: Vec<TicketKind>,
    /// How many confirmed cases it is worth before any is confirmed (a pseudo-count of a Dirichlet prior), above 0.
    pub weight: f64,
    /// Where the weight comes from.
    pub source: String,
    /// The runbook that repairs it.
    pub runbook: RunbookId,
    /// Parts that its repair takes.
    pub parts: Vec<Localised>,
    /// How long its repair takes; `None`: as long as the runbook says.
    pub duration: Option<Duration>,
    /// The line it starts on.
    pub line: usize,
}

impl Cause {
    /// True if it may lie behind a ticket of this kind that this rule opened.
    #[must_use]
    pub fn explains(&self, rule: &RuleId, kind: TicketKind) -> bool {
        self.rules.contains(rule) || self.tickets.contains(&kind)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCause {
    id: CauseId,
    name: Localised,
    #[serde(default)]
    rules: Vec<Spanned<String>>,
    #[serde(default)]
    tickets: Vec<TicketKind>,
    weight: Spanned<f64>,
    source: String,
    runbook: Spanned<RunbookId>,
    #[serde(default)]
    parts: Vec<Localised>,
    #[serde(default, with = "duration::option")]
    duration: Option<Duration>,
}

/// Checks the catalogue against what the profile declares and watches for.
pub(super) fn load(
    names: &Names<'_>,
    mut watched: Vec<RuleId>,
    foretold: bool,
    raw: Vec<Spanned<RawCause>>,
) -> Result<Vec<Cause>, ProfileError> {
    if foretold {
        watched.extend(RuleId::new(FAILURE_RISK));
    }
    if let Some(first) = raw.get(MAX_CAUSES) {
        return Err(names.source.error(
            first.span().start,
            format!("the profile names {} causes", raw.len()),
            "name at most 200; bring rare ones together",
        ));
    }
    let mut causes: Vec<Cause> = Vec::with_capacity(raw.len());
    for spanned in raw {
        let start = spanned.span().start;
        let cause = cause(names, &watched, spanned)?;
        if let Some(other) = causes.iter().find(|other| other.id == cause.id) {
            let message = format!("the cause \"{}\" is declared twice, first in line {}", cause.id, other.line);
            return Err(names.source.error(start, message, "remove one of the two"));
        }
        causes.push(cause);
    }
    Ok(causes)
}

fn cause(names: &Names<'_>, watched: &[RuleId], spanned: Spanned<RawCause>) -> Result<Cause, ProfileError> {
    let start = spanned.span().start;
    let raw = spanned.into_inner();
    let error = |at: usize, message: String, remedy: &str| Err(names.source.error(at, message, remedy));
    if raw.id.is_nothing_found() {
        return error(
            start,
            format!("the cause \"{}\" has the name of the answer that nothing was wrong", raw.id),
            "name it otherwise; every closed ticket offers that answer by itself",
        );
    }
    if raw.rules.is_empty() && raw.tickets.is_empty() {
        return error(
            start,
            format!("the cause \"{}\" explains nothing", raw.id),
            "name rules, detectors or forecasts in rules, or kinds of tickets in tickets",
        );
    }
    let mut rules = Vec::with_capacity(raw.rules.len());
    for name in &raw.rules {
        let Some(rule) = watched.iter().find(|rule| rule.as_str() == name.as_ref()) else {
            let known: Vec<&str> = watched.iter().map(RuleId::as_str).collect();
            return error(
                name.span().start,
                format!("unknown rule, detector or forecast \"{}\"", name.as_ref()),
                &did_you_mean(name.as_ref(), &known),
            );
        };
        rules.push(rule.clone());
    }
    let weight = *raw.weight.as_ref();
    if !(weight.is_finite() && weight > 0.0 && weight <= MAX_WEIGHT) {
        return error(
            raw.weight.span().start,
            format!("the weight {weight} of \"{}\" is of no use", raw.id),
            "write how many confirmed cases it is worth, above 0 and at most 1000, such as 2.0",
        );
    }
    if raw.source.trim().is_empty() {
        return error(
            start,
            format!("the cause \"{}\" has no source", raw.id),
            "say where its weight comes from: a statistic, a maker's manual, your own choice",
        );
    }
    if raw.duration.is_some_and(|duration| duration.is_zero() || duration > MAX_DURATION) {
        return error(
            start,
            format!("the duration of \"{}\" is of no use", raw.id),
            "write how long the repair takes, such as \"45m\", at most \"7d\"",
        );
    }
    let runbook = names.runbook(Some(raw.runbook))?;
    Ok(Cause {
        id: raw.id,
        name: raw.name,
        rules,
        tickets: raw.tickets,
        weight,
        source: raw.source,
        runbook: runbook.ok_or_else(|| names.source.error(start, "no runbook", "add runbook"))?,
        parts: raw.parts,
        duration: raw.duration,
        line: names.source.line(start),
    })
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use crate::{Profile, RuleId, TicketKind};

    const HEAD: &str = "[profile]\nid = \"pump\"\nname = { en = \"Pump\", zh = \"水泵\" }\nversion = 1\n\
        [[channels]]\nid = \"heat_c\"\nname = { en = \"Heat\", zh = \"温度\" }\ntype = \"number\"\nunit = \"Cel\"\nrange = [0.0, 40.0]\n\
        [[rules]]\nid = \"hot\"\ntitle = { en = \"x\", zh = \"x\" }\nsource = \"x\"\nseverity = \"minor\"\nticket = \"breakdown\"\nwhen = \"heat_c > 30\"\n\
        [[runbooks]]\nid = \"cool\"\ntitle = { en = \"x\", zh = \"x\" }\nsteps = []\nskill = { en = \"x\", zh = \"x\" }\nduration = \"1h\"\n";

    fn parse(tail: &str) -> Result<Profile, String> {
        Profile::parse(Path::new("pump.toml"), &format!("{HEAD}{tail}")).map_err(|error| error.to_string())
    }

    fn cause(id: &str, rest: &str) -> String {
        format!("[[causes]]\nid = \"{id}\"\nname = {{ en = \"Fan\", zh = \"风扇\" }}\nrunbook = \"cool\"\n{rest}")
    }

    #[test]
    fn a_cause_explains_rules_and_kinds_of_tickets() {
        assert!(parse("").unwrap().causes.is_empty());
        let fan = "rules = [\"hot\"]\nweight = 2.5\nsource = \"ours\"\nduration = \"40m\"\n";
        let dirt = "tickets = [\"forecast\"]\nweight = 1.0\nsource = \"ours\"\n";
        let profile = parse(&format!("{}{}", cause("fan", fan), cause("dirt", dirt))).unwrap();
        let [fan, dirt] = profile.causes.as_slice() else { panic!("{:?}", profile.causes) };
        let (hot, other) = (RuleId::new("hot").unwrap(), RuleId::new("other").unwrap());
        assert!(fan.explains(&hot, TicketKind::Breakdown) && !fan.explains(&other, TicketKind::Breakdown));
        assert!(dirt.explains(&other, TicketKind::Forecast) && !dirt.explains(&hot, TicketKind::Breakdown));
        assert_eq!((fan.duration, dirt.duration), (Some(Duration::from_secs(2400)), None));
        assert_eq!(profile.cause(&fan.id), Some(fan));
    }

    #[test]
    fn mistakes_name_their_line_and_the_remedy() {
        let good = "weight = 1.0\nsource = \"ours\"\n";
        let wrong = |rest: &str| parse(&cause("fan", rest)).unwrap_err();
        assert_eq!(
            wrong(&format!("rules = [\"hto\"]\n{good}")),
            "pump.toml:28: unknown rule, detector or forecast \"hto\"; did you mean \"hot\"?"
        );
        assert!(wrong(good).contains("pump.toml:24: the cause \"fan\" explains nothing; name rules"));
        assert!(wrong(&format!("rules = [\"failure_risk\"]\n{good}")).contains("unknown rule"), "nothing is foretold");
        for weight in ["0.0", "-1.0", "nan", "inf", "1001.0"] {
            let told = wrong(&format!("rules = [\"hot\"]\nweight = {weight}\nsource = \"x\"\n"));
            assert!(told.starts_with("pump.toml:29: the weight"), "{told}");
        }
        assert!(wrong("rules = [\"hot\"]\nweight = 1.0\nsource = \" \"\n").contains("has no source"));
        assert!(wrong(&format!("rules = [\"hot\"]\nduration = \"0s\"\n{good}")).contains("at most \"7d\""));
        let unknown = cause("fan", &format!("rules = [\"hot\"]\n{good}")).replace("\"cool\"", "\"cold\"");
        assert!(parse(&unknown).unwrap_err().contains("unknown runbook \"cold\"; did you mean \"cool\"?"));
        let fan = cause("fan", &format!("rules = [\"hot\"]\n{good}"));
        assert_eq!(
            parse(&format!("{fan}{fan}")).unwrap_err(),
            "pump.toml:31: the cause \"fan\" is declared twice, first in line 24; remove one of the two"
        );
        assert_eq!(
            parse(&fan.replace("\"fan\"", "\"nothing_found\"")).unwrap_err(),
            "pump.toml:24: the cause \"nothing_found\" has the name of the answer that nothing was wrong; name it otherwise; \
             every closed ticket offers that answer by itself"
        );
        let failures = "[failures]\nrules = [\"hot\"]\nmiss_cost = 3.0\nvisit_cost = 1.0\n";
        parse(&format!("{failures}{}", cause("fan", &format!("rules = [\"failure_risk\"]\n{good}")))).unwrap();
    }
}
