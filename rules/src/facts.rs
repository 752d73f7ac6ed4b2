//! What is known about one device: the latest value of every channel, the last time of every event.

use std::sync::Arc;

use model::{Timestamp, Value, profile::ChannelKind};
use serde::{Deserialize, Serialize};

use crate::{
    program::{Followed, Moment},
    reported::Datum,
    windows::{Kind, Sequence, Source, Window},
};

/// A time that never was.
const NEVER: i64 = i64::MIN;

/// How many times of one event code are remembered to tell a duplicate from a new occurrence.
const REMEMBERED: usize = 4;

/// When something was said: by the device's own clock, and held to the time it was received.
///
/// A message cannot be about the future. A device whose clock is ahead is taken to speak of the moment it was
/// received; its own time still tells its messages apart and puts them in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// The device's own time.
    raw: i64,
    /// That time, or the receive time if that is earlier.
    pub(crate) at: i64,
}

impl Said {
    pub(crate) fn new(time: Timestamp, received_at: Timestamp) -> Self {
        Self { raw: time.as_micros(), at: time.min(received_at).as_micros() }
    }

    /// The device's own time.
    pub(crate) fn raw(self) -> i64 {
        self.raw
    }
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    /// The number; 0 or 1 for a truth value; the index of a state.
    number: f64,
    at: i64,
    raw: i64,
}

const EMPTY: Cell = Cell { number: 0.0, at: NEVER, raw: NEVER };

#[derive(Debug, Clone)]
pub(crate) struct EventTimes {
    pub(crate) last: i64,
    raws: [i64; REMEMBERED],
}

/// Whether an expression holds, and when it last did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latch {
    pub(crate) holds: bool,
    pub(crate) last: i64,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is older than what is known, known already, or not of the channel's type.
    Ignored,
    /// It is newer, and the same value.
    Repeated,
    /// It is newer, and another value.
    Changed,
}

/// What is known about one device.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    cells: Vec<Cell>,
    /// By channel; only text channels ever hold one.
    texts: Vec<Option<Arc<str>>>,
    events: Vec<EventTimes>,
    latches: Vec<Latch>,
    /// What the windows and sequences are, with what is kept of them.
    followed: Arc<Followed>,
    windows: Vec<Window>,
    sequences: Vec<Sequence>,
    online: Option<bool>,
    online_at: i64,
}

impl Facts {
    pub(crate) fn new(channels: usize, events: usize, followed: Arc<Followed>) -> Self {
        Self {
            windows: vec![Window::default(); followed.windows.len()],
            sequences: followed.sequences.iter().map(Sequence::new).collect(),
            cells: vec![EMPTY; channels],
            texts: vec![None; channels],
            events: vec![EventTimes { last: NEVER, raws: [NEVER; REMEMBERED] }; events],
            latches: vec![Latch { holds: false, last: NEVER }; followed.latches.len()],
            followed,
            online: None,
            online_at: NEVER,
        }
    }

    /// A copy that knows nothing of any window but these, a bit for each.
    pub(crate) fn with_windows(&self, windows: u64) -> Self {
        let copy = |(bit, window): (usize, &Window)| {
            if windows >> bit & 1 == 1 { window.clone() } else { Window::default() }
        };
        Self {
            windows: self.windows.iter().enumerate().map(copy).collect(),
            sequences: self.sequences.clone(),
            cells: self.cells.clone(),
            texts: self.texts.clone(),
            events: self.events.clone(),
            latches: self.latches.clone(),
            followed: Arc::clone(&self.followed),
            online: self.online,
            online_at: self.online_at,
        }
    }

    pub(crate) fn number(&self, channel: u16) -> Option<f64> {
        let cell = &self.cells[usize::from(channel)];
        (cell.at != NEVER).then_some(cell.number)
    }

    pub(crate) fn flag(&self, channel: u16) -> Option<bool> {
        self.number(channel).map(|number| number != 0.0)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "set from an index below 64")]
    pub(crate) fn state(&self, channel: u16) -> Option<u32> {
        self.number(channel).map(|number| number as u32)
    }

    pub(crate) fn text(&self, channel: u16) -> Option<&str> {
        self.texts[usize::from(channel)].as_deref()
    }

    /// When the channel's latest value held.
    pub(crate) fn time(&self, channel: u16) -> Option<i64> {
        Some(self.cells[usize::from(channel)].at).filter(|at| *at != NEVER)
    }

    /// When the event last happened.
    pub(crate) fn event(&self, event: u16) -> Option<i64> {
        Some(self.events[usize::from(event)].last).filter(|at| *at != NEVER)
    }

    pub(crate) fn online(&self) -> Option<bool> {
        self.online
    }

    /// When something last happened; `now` for an expression that holds.
    pub(crate) fn moment(&self, moment: Moment, now: i64) -> Option<i64> {
        match moment {
            Moment::Event(event) => self.event(event),
            Moment::Channel(channel) => self.time(channel),
            Moment::Latch(latch) => {
                let latch = &self.latches[usize::from(latch)];
                if latch.holds { Some(now) } else { Some(latch.last).filter(|at| *at != NEVER) }
            }
            Moment::Sequence(sequence) => Some(self.sequences[usize::from(sequence)].done).filter(|at| *at != NEVER),
        }
    }

    /// The channel's latest value, as devices send it.
    pub(crate) fn value(&self, channel: u16, kind: &ChannelKind) -> Option<Value> {
        match kind {
            ChannelKind::Number { .. } => self.number(channel).map(Value::Number),
            ChannelKind::Bool => self.flag(channel).map(Value::Bool),
            ChannelKind::Text { .. } => self.texts[usize::from(channel)].clone().map(Value::Text),
            ChannelKind::State { states } => {
                self.state(channel).and_then(|state| states.get(state as usize)).map(|s| Value::Text(s.as_str().into()))
            }
        }
    }

    /// Takes a value, unless a later one is known.
    pub(crate) fn take(&mut self, channel: u16, value: &Datum, said: Said) -> Taken {
        let cell = &mut self.cells[usize::from(channel)];
        let newer = said.raw > cell.raw;
        // The latest value came from a clock that was ahead and has been put right since.
        let corrected = cell.raw > cell.at && said.raw == said.at && said.at > cell.at;
        if !(newer || corrected) {
            return Taken::Ignored;
        }
        let known = cell.at != NEVER;
        let (number, changed) = match value {
            Datum::Number(number) => (*number, !known || cell.number.to_bits() != number.to_bits()),
            Datum::Text(text) => {
                let slot = &mut self.texts[usize::from(channel)];
                let changed = slot.as_ref() != Some(text);
                *slot = Some(text.clone());
                (0.0, changed)
            }
        };
        *cell = Cell { number, at: said.at, raw: said.raw };
        if changed { Taken::Changed } else { Taken::Repeated }
    }

    /// Takes an event; false if it is a duplicate.
    pub(crate) fn take_event(&mut self, event: u16, said: Said) -> bool {
        let times = &mut self.events[usize::from(event)];
        if times.raws.contains(&said.raw) {
            return false;
        }
        times.raws.rotate_right(1);
        times.raws[0] = said.raw;
        times.last = times.last.max(said.at);
        true
    }

    /// Takes a change of connection; false if a later one is known or it changes nothing.
    pub(crate) fn take_online(&mut self, online: bool, said: Said) -> bool {
        if said.at < self.online_at {
            return false;
        }
        self.online_at = said.at;
        self.online.replace(online) != Some(online)
    }

    /// Up to `now` the expressions that held have gone on holding.
    pub(crate) fn hold_latches(&mut self, now: i64) {
        for latch in self.latches.iter_mut().filter(|latch| latch.holds) {
            latch.last = latch.last.max(now);
        }
    }

    /// Evaluates the expressions that are followed anew.
    pub(crate) fn set_latches(&mut self, now: i64) {
        let followed = Arc::clone(&self.followed);
        for (index, expression) in (0u16..).zip(&followed.latches) {
            let holds = expression.evaluate(self, now) == Some(true);
            let latch = &mut self.latches[usize::from(index)];
            let before = std::mem::replace(&mut latch.holds, holds);
            if holds {
                latch.last = latch.last.max(now);
            }
            if before != holds {
                self.turned(Moment::Latch(index), holds, now);
            }
        }
    }

    /// An event happened, or a condition began or ceased to hold.
    pub(crate) fn turned(&mut self, what: Moment, holds: bool, now: i64) {
        for (spec, window) in self.followed.windows.iter().zip(&mut self.windows) {
            match (&spec.of, spec.kind) {
                (Source::Moment(of), Kind::TimeIn) if *of == what => window.holds(spec, holds, now),
                (Source::Moment(of), _) if *of == what && holds => window.happened(spec, now),
                (Source::Moment(_) | Source::Number(_), _) => {}
            }
        }
        if holds {
            for (spec, sequence) in self.followed.sequences.iter().zip(&mut self.sequences) {
                sequence.happened(spec, what, now);
            }
        }
    }

    /// Gives windows the values they are over; `windows` has a bit for each.
    pub(crate) fn feed(&mut self, windows: u64, now: i64) {
        let followed = Arc::clone(&self.followed);
        let mut rest = windows;
        while rest != 0 {
            let index = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let spec = &followed.windows[index];
            if let Source::Number(number) = &spec.of
                && let Some(value) = number.evaluate(self, now)
            {
                self.windows[index].feed(spec, value, now);
            }
        }
    }

    /// The sixteenth that begins now for a window on peers, and the device's own mean before it.
    pub(crate) fn peers_begin(&self, window: u16, now: i64) -> Option<(i64, Option<f64>)> {
        let index = usize::from(window);
        self.windows[index].begins(&self.followed.windows[index], now)
    }

    /// Takes what the peers told.
    pub(crate) fn set_peers(&mut self, window: u16, median: Option<f64>) {
        self.windows[usize::from(window)].set_peers(median);
    }

    /// What a window tells.
    pub(crate) fn window(&self, window: u16, now: i64) -> Option<f64> {
        let index = usize::from(window);
        self.windows[index].value(&self.followed.windows[index], now)
    }

    /// When a window's answer may change though nothing comes.
    pub(crate) fn window_due(&self, window: u16, now: i64) -> Option<i64> {
        let index = usize::from(window);
        self.windows[index].due(&self.followed.windows[index], now)
    }

    /// About how much memory this takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
            + self.texts.iter().flatten().map(|text| text.len()).sum::<usize>()
            + self.texts.capacity() * size_of::<Option<Arc<str>>>()
            + self.events.capacity() * size_of::<EventTimes>()
            + self.latches.capacity() * size_of::<Latch>()
            + self.windows.iter().map(|window| size_of::<Window>() + window.bytes()).sum::<usize>()
            + self.sequences.capacity() * size_of::<Sequence>()
    }

    pub(crate) fn saved_followed(&self) -> (Vec<Window>, Vec<Sequence>) {
        (self.windows.clone(), self.sequences.clone())
    }

    pub(crate) fn load_followed(&mut self, (windows, sequences): (Vec<Window>, Vec<Sequence>)) {
        if windows.len() == self.windows.len() && sequences.len() == self.sequences.len() {
            (self.windows, self.sequences) = (windows, sequences);
        }
    }

    /// What a snapshot keeps of a channel.
    pub(crate) fn saved_cell(&self, channel: u16, kind: &ChannelKind) -> Option<(Value, i64, i64)> {
        let cell = &self.cells[usize::from(channel)];
        self.value(channel, kind).map(|value| (value, cell.at, cell.raw))
    }

    /// Puts back what [`Facts::saved_cell`] gave; a value that no longer fits the channel is dropped.
    pub(crate) fn load_cell(&mut self, channel: u16, kind: &ChannelKind, value: &Value, at: i64, raw: i64) {
        if let Some(datum) = Datum::of(kind, value) {
            self.take(channel, &datum, Said { raw, at });
        }
    }

    pub(crate) fn saved_event(&self, event: u16) -> (i64, [i64; REMEMBERED]) {
        let times = &self.events[usize::from(event)];
        (times.last, times.raws)
    }

    pub(crate) fn load_event(&mut self, event: u16, last: i64, raws: [i64; REMEMBERED]) {
        self.events[usize::from(event)] = EventTimes { last, raws };
    }

    pub(crate) fn saved_latches(&self) -> Vec<(bool, i64)> {
        self.latches.iter().map(|latch| (latch.holds, latch.last)).collect()
    }

    pub(crate) fn load_latches(&mut self, saved: &[(bool, i64)]) {
        for (latch, (holds, last)) in self.latches.iter_mut().zip(saved) {
            *latch = Latch { holds: *holds, last: *last };
        }
    }

    pub(crate) fn saved_online(&self) -> (Option<bool>, i64) {
        (self.online, self.online_at)
    }

    pub(crate) fn load_online(&mut self, online: Option<bool>, at: i64) {
        self.online = online;
        self.online_at = at;
    }
}
