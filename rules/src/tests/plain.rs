//! The meaning of rules as docs/profiles.md tells it, worked out the long way: everything that ever happened, in order,
//! looked at anew at every twentieth of a second. Slow, and simple enough to be believed without a test.

use std::collections::BTreeSet;

use super::What;

/// The grain of time: fifty milliseconds.
pub(super) type Grain = i64;
/// Grains in a second.
pub(super) const SECOND: Grain = 20;

/// An alert: its rule, when it was raised, and when it ended if it did.
pub(super) type Found = (&'static str, Grain, Option<Grain>);

/// Everything that happened up to a moment.
struct Known<'a> {
    now: Grain,
    past: &'a [(Grain, What)],
}

impl Known<'_> {
    fn value(&self, channel: &str) -> Option<&str> {
        self.past.iter().rev().find_map(|(_, what)| match what {
            What::Values(text) => text.strip_prefix(channel)?.strip_prefix('='),
            _ => None,
        })
    }

    fn number(&self, channel: &str) -> Option<f64> {
        self.value(channel).map(|text| text.parse().unwrap())
    }

    fn last(&self, event: &str) -> Option<Grain> {
        self.past.iter().rev().find(|(_, what)| matches!(what, What::Event(code) if code == event)).map(|(at, _)| *at)
    }

    /// When a state of a channel last held: now, if it holds.
    fn held(&self, channel: &str, state: &str) -> Option<Grain> {
        let changes: Vec<(Grain, bool)> = self
            .past
            .iter()
            .filter_map(|(at, what)| match what {
                What::Values(text) => Some((*at, text.strip_prefix(channel)?.strip_prefix('=')? == state)),
                _ => None,
            })
            .collect();
        let last = changes.iter().rposition(|(_, holds)| *holds)?;
        Some(changes.get(last + 1).map_or(self.now, |(until, _)| *until))
    }

    /// What falls into a window of sixteen parts: the running one and the fifteen before it.
    fn in_window(&self, part: Grain) -> impl Iterator<Item = &What> {
        let first = self.now.div_euclid(part) - 15;
        self.past.iter().filter(move |(at, _)| at.div_euclid(part) >= first).map(|(_, what)| what)
    }

    fn average(&self, channel: &str, part: Grain) -> Option<f64> {
        let values: Vec<f64> = self
            .in_window(part)
            .filter_map(|what| match what {
                What::Values(text) => text.strip_prefix(channel)?.strip_prefix('=')?.parse().ok(),
                _ => None,
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a few values")]
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    fn count(&self, event: &str, part: Grain) -> usize {
        self.in_window(part).filter(|what| matches!(what, What::Event(code) if code == event)).count()
    }
}

fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// What a rule says of a moment.
struct Verdict {
    /// Since when what raises it holds; `None` if it is not known to.
    onset: Option<Grain>,
    /// Since when what it raised is over.
    over: Option<Grain>,
    /// A repeated event makes the wait for its end begin anew.
    repeated: Option<Grain>,
}

fn hot(known: &Known<'_>) -> Verdict {
    let temp = known.number("temp_c");
    Verdict {
        onset: temp.filter(|temp| *temp > 100.0).map(|_| known.now),
        over: temp.filter(|temp| *temp < 80.0).map(|_| known.now),
        repeated: None,
    }
}

fn fault(known: &Known<'_>) -> Verdict {
    let (fault, fixed) = (known.last("fault"), known.last("fixed"));
    Verdict { onset: fault, over: fixed.filter(|fixed| Some(*fixed) >= fault), repeated: fault }
}

fn no_test(known: &Known<'_>) -> Verdict {
    let heard = known.last("test_ok").or(known.past.first().map(|(at, _)| *at));
    let silent = heard.map(|heard| heard + 25 * SECOND);
    Verdict {
        onset: silent.filter(|silent| *silent <= known.now),
        over: heard.filter(|heard| heard + 25 * SECOND > known.now),
        repeated: None,
    }
}

fn windowed(known: &Known<'_>) -> Verdict {
    let average = known.average("temp_c", SECOND).map(|average| average > 90.0);
    let holds = either(average, Some(known.count("fault", 2 * SECOND) >= 3));
    Verdict {
        onset: (holds == Some(true)).then_some(known.now),
        over: (holds == Some(false)).then_some(known.now),
        repeated: None,
    }
}

fn fused(known: &Known<'_>) -> Verdict {
    let fault = known.last("fault");
    let recent = fault.is_some_and(|fault| known.now - fault < 10 * SECOND);
    let resumed = known.held("mode", "normal").is_some_and(|normal| Some(normal) >= fault);
    let mode = |state: &str| known.value("mode").map(|mode| mode == state);
    let signals = [
        (Some(recent && !resumed), 2.0),
        (
            either(known.number("temp_c").map(|temp| temp > 60.0), known.value("mains").map(|mains| mains == "false")),
            1.0,
        ),
        (mode("stopped"), 1.0),
        (mode("service"), -2.0),
    ];
    let sure: f64 = signals.iter().filter(|(holds, _)| *holds == Some(true)).map(|(_, weight)| weight).sum();
    let missing: f64 =
        signals.iter().filter(|(holds, _)| holds.is_none()).map(|(_, weight)| f64::max(*weight, 0.0)).sum();
    Verdict {
        onset: (sure >= 3.0).then_some(known.now),
        over: (sure + missing < 3.0).then_some(known.now),
        repeated: None,
    }
}

/// The rule, what it says, how long it must hold, and how long it must be over.
type Plain = (&'static str, fn(&Known<'_>) -> Verdict, Grain, Grain);

const RULES: [Plain; 5] = [
    ("hot", hot, 5 * SECOND, 3 * SECOND),
    ("fault", fault, 0, 2 * SECOND),
    ("no_test", no_test, 0, 0),
    ("windowed", windowed, 0, 0),
    ("fused", fused, 2 * SECOND, 0),
];

/// What the rules of plain.toml find in a history in its order, until a time.
pub(super) fn found(history: &[(Grain, What)], until: Grain) -> BTreeSet<Found> {
    let mut found = BTreeSet::new();
    let Some((begin, _)) = history.first() else { return found };
    for (rule, says, hold, clear) in RULES {
        let (mut since, mut raised, mut ending, mut settled) = (None, None, None, Grain::MIN);
        for now in *begin..=until {
            let past = &history[..history.partition_point(|(at, _)| *at <= now)];
            let Verdict { onset, over, repeated } = says(&Known { now, past });
            if raised.is_none() {
                let onset = onset.filter(|at| repeated.is_none() || *at > settled);
                since = onset.map(|onset| since.unwrap_or(onset));
                raised = since.map(|since| since + hold).filter(|at| *at <= now);
            }
            let Some(at) = raised else { continue };
            ending = over.map(|over| ending.filter(|ending| repeated <= Some(*ending)).unwrap_or(over));
            if let Some(end) = ending.map(|ending: Grain| ending + clear).filter(|end| *end <= now) {
                let end = end.max(at);
                found.insert((rule, at, Some(end)));
                (since, raised, ending, settled) = (None, None, None, end);
            }
        }
        found.extend(raised.map(|at| (rule, at, None)));
    }
    found
}
