//! All units of a fleet, side by side.

use std::collections::HashMap;

use model::Timestamp;

use super::{
    calendar::Calendar,
    columns::{self, Feature, PEER_HALF_LIVES, Sink},
    decay::exposure,
    unit::{FAILURE_HALF_LIVES, State, Unit},
};

/// The most kinds of state a schema may name.
const KINDS: usize = 32;

/// What units are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// Groups of units that fail alike, such as lifts and escalators.
    pub groups: Vec<String>,
    /// Kinds of being out of service, such as `inspection`; at most 32.
    pub kinds: Vec<String>,
    /// Properties a unit has or not.
    pub tags: Vec<String>,
    /// Channels whose daily means are compared with the unit's own usual level.
    pub channels: Vec<String>,
    /// The days on which units run as on a Sunday.
    pub calendar: Calendar,
}

/// What stays the same about a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitInfo {
    /// Its name.
    pub name: String,
    /// Its group, by position in the schema.
    pub group: usize,
    /// Where it stands.
    pub site: String,
    /// The part of the site.
    pub area: String,
    /// For each tag of the schema, whether it has it.
    pub tags: Vec<bool>,
}

/// A unit changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happening {
    /// The unit, as [`Fleet::add`] numbered it.
    pub unit: usize,
    /// When.
    pub at: Timestamp,
    /// The state it entered.
    pub state: State,
}

/// What was known of a unit turned out to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The unit.
    pub unit: usize,
    /// When that became known.
    pub at: Timestamp,
    /// Its changes of state up to then as they are known now, in order of time.
    pub past: Vec<Happening>,
}

/// How units fared.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// Their changes of state as they became known, in order of time. A unit's happenings after a [`Revision`] go on from the
    /// past that it tells.
    pub happenings: &'a [Happening],
    /// When each unit failed, as it is known in the end; in order of time.
    pub failures: &'a [Vec<Timestamp>],
}

/// The mean of a unit's channel over a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// The unit.
    pub unit: usize,
    /// The channel, by position in the schema.
    pub channel: usize,
    /// When the day ended.
    pub at: Timestamp,
    /// The mean.
    pub mean: f64,
}

/// What does not fit a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A happening is older than one that was taken before.
    #[error("{at} comes after {latest}: histories are read in order of time")]
    Late {
        /// Its time.
        at: Timestamp,
        /// The latest time taken.
        latest: Timestamp,
    },
    /// Features were asked for a moment before the last happening taken.
    #[error("features at {now} would know of {latest}")]
    LookAhead {
        /// The moment.
        now: Timestamp,
        /// The latest time taken.
        latest: Timestamp,
    },
    /// A moment to score at is not later than the one before: the same day twice would count twice.
    #[error("the moment {now} does not follow {latest}: each day is scored once, in order of time")]
    Moment {
        /// The moment.
        now: Timestamp,
        /// The moment before it.
        latest: Timestamp,
    },
    /// There is no such unit or group, or tags are missing.
    #[error("the unit {0} does not fit the schema")]
    Stranger(String),
    /// The schema names too many kinds.
    #[error("{0} kinds of state; the limit is 32")]
    Kinds(usize),
}

/// A unit's features at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The unit.
    pub unit: usize,
    /// Its features, in the order of [`Fleet::describe`]; missing ones are NaN.
    pub values: Vec<f32>,
}

/// How the unit's neighbours fare.
pub(super) struct Peers {
    pub(super) site: [f64; 5],
    pub(super) site_group: [f64; 5],
    pub(super) area_group: [f64; 5],
    pub(super) fleet_group: [f64; 5],
    pub(super) site_group_units: f64,
    pub(super) site_group_broken: f64,
    pub(super) site_down: f64,
    pub(super) fleet_down: f64,
    pub(super) fleet_rate: f64,
}

/// Sums over the units of a place.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    failures: [f64; 5],
    units: f64,
    down: f64,
    broken: f64,
    exposure: f64,
}

/// Where a unit's neighbours are summed up: site, site and group, area and group, fleet and group.
type Places = [usize; 4];

/// The histories of a fleet.
#[derive(Debug, Clone)]
pub struct Fleet {
    schema: Schema,
    infos: Vec<UnitInfo>,
    units: Vec<Unit>,
    places: Vec<Places>,
    known_places: HashMap<String, usize>,
    latest: i64,
}

impl Fleet {
    /// A fleet without units.
    ///
    /// # Errors
    /// [`HistoryError::Kinds`] if the schema names more than 32.
    pub fn new(schema: Schema) -> Result<Self, HistoryError> {
        if schema.kinds.len() > KINDS {
            return Err(HistoryError::Kinds(schema.kinds.len()));
        }
        Ok(Self {
            schema,
            infos: Vec::new(),
            units: Vec::new(),
            places: Vec::new(),
            known_places: HashMap::new(),
            latest: i64::MIN,
        })
    }

    /// Adds a unit and numbers it.
    ///
    /// # Errors
    /// [`HistoryError::Stranger`] if its group or tags do not fit the schema.
    pub fn add(&mut self, info: UnitInfo) -> Result<usize, HistoryError> {
        if info.group >= self.schema.groups.len() || info.tags.len() != self.schema.tags.len() {
            return Err(HistoryError::Stranger(info.name));
        }
        let group = info.group;
        let keys = [
            format!("site {}", info.site),
            format!("site {} group {group}", info.site),
            format!("site {} area {} group {group}", info.site, info.area),
            format!("group {group}"),
        ];
        let places = keys.map(|key| {
            let next = self.known_places.len();
            *self.known_places.entry(key).or_insert(next)
        });
        self.places.push(places);
        self.units.push(Unit::new(self.schema.kinds.len(), self.schema.channels.len()));
        self.infos.push(info);
        Ok(self.units.len() - 1)
    }

    /// The units, in their order.
    #[must_use]
    pub fn units(&self) -> &[UnitInfo] {
        &self.infos
    }

    /// What units are told apart by.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Takes a change of state, in order of time over the whole fleet.
    ///
    /// # Errors
    /// [`HistoryError`] if it is late or its unit unknown; nothing is changed then.
    pub fn observe(&mut self, happening: &Happening) -> Result<(), HistoryError> {
        let at = happening.at.as_micros();
        if at < self.latest {
            return Err(HistoryError::Late { at: happening.at, latest: Timestamp::from_micros(self.latest) });
        }
        let unit = self
            .units
            .get_mut(happening.unit)
            .ok_or_else(|| HistoryError::Stranger(format!("number {}", happening.unit)))?;
        self.latest = at;
        unit.enter(at, happening.state);
        Ok(())
    }

    /// Takes a unit's past as it is known now, in order of time over the whole fleet. Its channels stay as they are.
    ///
    /// # Errors
    /// [`HistoryError`] if it is late or its unit unknown; nothing is changed then.
    pub fn revise(&mut self, revision: &Revision) -> Result<(), HistoryError> {
        let at = revision.at.as_micros();
        if at < self.latest {
            return Err(HistoryError::Late { at: revision.at, latest: Timestamp::from_micros(self.latest) });
        }
        let (kinds, channels) = (self.schema.kinds.len(), self.schema.channels.len());
        let unit = self.units.get_mut(revision.unit);
        let unit = unit.ok_or_else(|| HistoryError::Stranger(format!("number {}", revision.unit)))?;
        self.latest = at;
        let before = std::mem::replace(unit, Unit::new(kinds, channels));
        unit.levels = before.levels;
        for happening in &revision.past {
            unit.enter(happening.at.as_micros(), happening.state);
        }
        Ok(())
    }

    /// Takes the mean of a channel over a day that has ended, in order of time over the whole fleet.
    ///
    /// # Errors
    /// [`HistoryError`] if it is late or its unit or channel unknown; nothing is changed then.
    pub fn measure(&mut self, measured: &Measurement) -> Result<(), HistoryError> {
        let at = measured.at.as_micros();
        if at < self.latest {
            return Err(HistoryError::Late { at: measured.at, latest: Timestamp::from_micros(self.latest) });
        }
        let unit = self.units.get_mut(measured.unit);
        let level = unit
            .and_then(|unit| unit.levels.get_mut(measured.channel))
            .ok_or_else(|| HistoryError::Stranger(format!("number {}, channel {}", measured.unit, measured.channel)))?;
        self.latest = at;
        level.take(at, measured.mean);
        Ok(())
    }

    /// The features of every unit that can be scored at a moment: in service, and under watch for
    /// [`super::SEEN_DAYS`].
    ///
    /// # Errors
    /// [`HistoryError::LookAhead`] if something later than `now` was taken already.
    pub fn features(&self, now: Timestamp) -> Result<Vec<Known>, HistoryError> {
        let at = now.as_micros();
        if at < self.latest {
            return Err(HistoryError::LookAhead { now, latest: Timestamp::from_micros(self.latest) });
        }
        let sums = self.sums(at);
        let ready = self.units.iter().enumerate().filter(|(_, unit)| unit.ready(at));
        Ok(ready
            .map(|(n, unit)| {
                let mut sink = Sink { features: None, values: Vec::new() };
                columns::write(&mut sink, &self.schema, &self.infos[n], unit, &self.peers(n, &sums, at), at);
                Known { unit: n, values: sink.values }
            })
            .collect())
    }

    /// The features' names and units, in their order.
    #[must_use]
    pub fn describe(schema: &Schema) -> Vec<Feature> {
        let info = UnitInfo {
            name: String::new(),
            group: 0,
            site: String::new(),
            area: String::new(),
            tags: vec![false; schema.tags.len()],
        };
        let mut sink = Sink { features: Some(Vec::new()), values: Vec::new() };
        let peers = Peers::of(&[Sums::default(); 4], &Sums::default());
        columns::write(&mut sink, schema, &info, &Unit::new(schema.kinds.len(), schema.channels.len()), &peers, 0);
        sink.features.unwrap_or_default()
    }

    fn own(unit: &Unit, at: i64) -> Sums {
        let seen = unit.seen_days(at);
        if seen < 0.0 {
            return Sums::default();
        }
        Sums {
            failures: PEER_HALF_LIVES.map(|n| unit.failures[n].now(at, FAILURE_HALF_LIVES[n])),
            units: 1.0,
            down: if unit.state == State::Up { 0.0 } else { 1.0 },
            broken: if matches!(unit.state, State::Down { broken: true, .. }) { 1.0 } else { 0.0 },
            exposure: exposure(seen, FAILURE_HALF_LIVES[PEER_HALF_LIVES[4]]),
        }
    }

    fn sums(&self, at: i64) -> Vec<Sums> {
        let mut sums = vec![Sums::default(); self.known_places.len()];
        for (unit, places) in self.units.iter().zip(&self.places) {
            let own = Self::own(unit, at);
            for place in places {
                sums[*place].add(&own);
            }
        }
        sums
    }

    fn peers(&self, n: usize, sums: &[Sums], at: i64) -> Peers {
        Peers::of(&self.places[n].map(|place| sums[place]), &Self::own(&self.units[n], at))
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        for (sum, part) in self.failures.iter_mut().zip(other.failures) {
            *sum += part;
        }
        self.units += other.units;
        self.down += other.down;
        self.broken += other.broken;
        self.exposure += other.exposure;
    }

    /// The means of the others.
    fn others(&self, own: &Self) -> [f64; 5] {
        let count = (self.units - own.units).max(1.0);
        let mut means = self.failures;
        for (mean, own) in means.iter_mut().zip(own.failures) {
            *mean = ((*mean - own) / count).max(0.0);
        }
        means
    }
}

impl Peers {
    fn of(places: &[Sums; 4], own: &Sums) -> Self {
        let [site, site_group, area_group, fleet_group] = places;
        Self {
            site: site.others(own),
            site_group: site_group.others(own),
            area_group: area_group.others(own),
            fleet_group: fleet_group.others(own),
            site_group_units: site_group.units,
            site_group_broken: (site_group.broken - own.broken).max(0.0),
            site_down: site.down / site.units.max(1.0),
            fleet_down: fleet_group.down / fleet_group.units.max(1.0),
            fleet_rate: fleet_group.failures[4] / fleet_group.exposure.max(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{history::DAY, learn::Random};

    fn schema() -> Schema {
        Schema {
            groups: vec!["lift".to_owned(), "escalator".to_owned()],
            kinds: vec!["callback".to_owned(), "inspection".to_owned()],
            tags: vec!["outdoor".to_owned()],
            ..Schema::default()
        }
    }

    fn fleet(units: usize) -> Fleet {
        let mut fleet = Fleet::new(schema()).unwrap();
        for n in 0..units {
            let info = UnitInfo {
                name: format!("u{n}"),
                group: n % 2,
                site: format!("s{}", n / 4),
                area: "north".to_owned(),
                tags: vec![n % 3 == 0],
            };
            fleet.add(info).unwrap();
        }
        fleet
    }

    /// A made-up history in order of time.
    fn story(units: usize, seed: u64, from_day: i64, to_day: i64) -> Vec<Happening> {
        let mut random = Random::new(seed);
        let mut story = Vec::new();
        for unit in 0..units {
            let mut at = from_day * DAY + random.below(DAY as usize) as i64;
            while at < to_day * DAY {
                let broken = random.unit() < 0.7;
                let kinds = if broken { 1 } else { 2 };
                let state = State::Down { broken, failure: broken, kinds };
                story.push(Happening { unit, at: Timestamp::from_micros(at), state });
                at += random.below(DAY as usize / 4) as i64 + 1;
                story.push(Happening { unit, at: Timestamp::from_micros(at), state: State::Up });
                at += random.below(12 * DAY as usize) as i64 + 1;
            }
        }
        story.sort_by_key(|happening| happening.at);
        story
    }

    fn at(fleet: &mut Fleet, story: &[Happening], now: Timestamp) -> Vec<Known> {
        for happening in story.iter().filter(|happening| happening.at <= now) {
            fleet.observe(happening).unwrap();
        }
        fleet.features(now).unwrap()
    }

    fn same(a: &[Known], b: &[Known]) -> bool {
        let bits = |known: &[Known]| -> Vec<(usize, Vec<u32>)> {
            known.iter().map(|known| (known.unit, known.values.iter().map(|value| value.to_bits()).collect())).collect()
        };
        bits(a) == bits(b)
    }

    #[test]
    fn another_future_changes_no_feature() {
        let now = Timestamp::from_micros(90 * DAY);
        let past = story(12, 1, 0, 90);
        let known = at(&mut fleet(12), &past, now);
        assert!(known.len() > 6);
        for seed in 2..6 {
            let mut other: Vec<Happening> = past.iter().filter(|happening| happening.at <= now).copied().collect();
            other.extend(story(12, seed, 91, 140));
            assert!(same(&known, &at(&mut fleet(12), &other, now)), "seed {seed}");
        }
    }

    #[test]
    fn walking_day_by_day_gives_the_same_features_as_arriving_at_once() {
        let story = story(12, 3, 0, 120);
        let (mut live, mut fed) = (fleet(12), 0);
        for day in 31..120 {
            let now = Timestamp::from_micros(day * DAY);
            while story.get(fed).is_some_and(|happening| happening.at <= now) {
                live.observe(&story[fed]).unwrap();
                fed += 1;
            }
            if day % 10 == 0 {
                assert!(same(&live.features(now).unwrap(), &at(&mut fleet(12), &story, now)), "day {day}");
            }
        }
    }

    #[test]
    fn names_and_values_are_of_one_number_and_counts_are_right() {
        let features = Fleet::describe(&schema());
        let mut fleet = fleet(4);
        let down = State::Down { broken: true, failure: true, kinds: 1 };
        for (day, state) in [(0, State::Up), (38, down), (39, State::Up), (39, down), (40, State::Up)] {
            fleet.observe(&Happening { unit: 1, at: Timestamp::from_micros(day * DAY), state }).unwrap();
        }
        let known = fleet.features(Timestamp::from_micros(41 * DAY)).unwrap();
        assert_eq!(known.len(), 1, "the others were never seen");
        assert_eq!(known[0].values.len(), features.len());
        let value = |name: &str| known[0].values[features.iter().position(|f| f.name == name).unwrap()];
        assert_eq!(value("failures.last_7d"), 2.0);
        assert_eq!(value("failures.last_1d"), 0.0);
        assert_eq!(value("failure_1.since"), 2.0);
        assert_eq!(value("callback.since"), 2.0);
        assert_eq!(value("repair.last"), 24.0);
        assert_eq!(value("group.escalator"), 1.0);
        assert!(value("inspection.since").is_nan());
        // A Wednesday, a day after a repair of a day.
        assert_eq!(value("day_off.rate"), 0.0);
        assert!((value("fix.fresh_hours") - 24.0 * (-1.0f32).exp()).abs() < 1e-4);
    }

    #[test]
    fn a_day_off_is_read_as_a_sunday_and_broken_neighbours_are_counted() {
        let features = Fleet::describe(&schema());
        let monday = Timestamp::from_micros(46 * DAY);
        let read = |calendar| {
            let mut fleet = Fleet::new(Schema { calendar, ..schema() }).unwrap();
            for name in ["a", "b", "c"] {
                let (name, site, area) = (name.to_owned(), "s".to_owned(), "n".to_owned());
                fleet.add(UnitInfo { name, group: 0, site, area, tags: vec![false] }).unwrap();
            }
            let down = State::Down { broken: true, failure: true, kinds: 1 };
            for (unit, day, state) in [(0, 0, State::Up), (1, 1, State::Up), (1, 44, down), (2, 45, down)] {
                fleet.observe(&Happening { unit, at: Timestamp::from_micros(day * DAY), state }).unwrap();
            }
            fleet.features(monday).unwrap().remove(0).values
        };
        let [plain, off] = [Calendar::Weekdays, Calendar::UnitedStates].map(|calendar| {
            let values = read(calendar);
            ["weekday", "day_off.rate", "coming_day.share", "site_group.broken"]
                .map(|name| values[features.iter().position(|f| f.name == name).unwrap()])
        });
        // 16 February 1970; no failure yet, so a day off brings as much as any.
        assert_eq!((plain[0], plain[1], plain[3]), (0.0, 0.0, 2.0));
        assert!(off[0] == 6.0 && off[1] > 0.0 && off[2].abs() < 1e-6 && off[3] == 2.0, "{off:?}");
    }

    #[test]
    fn refuses_what_is_late_unknown_or_would_look_ahead() {
        let mut fleet = fleet(2);
        let up = |unit, day| Happening { unit, at: Timestamp::from_micros(day * DAY), state: State::Up };
        fleet.observe(&up(0, 5)).unwrap();
        assert!(matches!(fleet.observe(&up(0, 4)), Err(HistoryError::Late { .. })));
        assert!(matches!(fleet.observe(&up(9, 6)), Err(HistoryError::Stranger(_))));
        assert!(matches!(fleet.features(Timestamp::from_micros(0)), Err(HistoryError::LookAhead { .. })));
        let none = fleet.features(Timestamp::from_micros(20 * DAY)).unwrap();
        assert!(none.is_empty(), "fifteen days are too little history");
        assert_eq!(fleet.features(Timestamp::from_micros(36 * DAY)).unwrap().len(), 1);
    }
}
