//! The car and landing doors with their operator.

use crate::dice::Dice;

/// Time to open new doors fully, s.
const OPEN_S: f64 = 2.2;
/// Time to close new doors fully, s.
pub const CLOSE_S: f64 = 3.2;
/// Operator current of new doors while they move, A.
pub const CURRENT_A: f64 = 1.1;
/// How much a worn-out operator is slower than a new one, as a share of [`CLOSE_S`].
const SLOWER: f64 = 1.6;
/// How much more current a worn-out operator draws, as a share of [`CURRENT_A`].
const STIFFER: f64 = 1.3;
/// Share of closings that people or bags reverse on healthy doors.
const REVERSAL_SHARE: f64 = 0.012;
/// Closings in a row that may reverse before the controller gives up.
const MAX_TRIES: u32 = 4;

/// What the doors are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorState {
    /// Closed and locked.
    Closed,
    /// On their way open.
    Opening,
    /// Fully open.
    Open,
    /// On their way shut.
    Closing,
    /// Held open after too many failed closings.
    Faulted,
}

/// Something the doors did in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DoorEvent {
    /// They are fully open.
    Opened,
    /// They are closed and locked.
    Closed,
    /// They met something and opened again.
    Reversed,
    /// They gave up closing.
    CloseFailed,
}

/// The doors of one lift.
#[derive(Debug, Clone, PartialEq)]
pub struct Doors {
    state: DoorState,
    /// 0 closed, 1 open.
    opening: f64,
    /// Where this closing will reverse, if it will.
    reverse_at: Option<f64>,
    tries: u32,
    /// How long the last complete closing took, s.
    pub close_time_s: f64,
    /// How long the last opening took, s.
    pub open_time_s: f64,
    /// Mean operator current of the last closing, A.
    pub close_current_a: f64,
    /// Reversals at the present or last stop.
    pub reversals: u32,
    /// Complete closings since the controller was started.
    pub cycles: u32,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            state: DoorState::Closed,
            opening: 0.0,
            reverse_at: None,
            tries: 0,
            close_time_s: CLOSE_S,
            open_time_s: OPEN_S,
            close_current_a: CURRENT_A,
            reversals: 0,
            cycles: 0,
        }
    }
}

impl Doors {
    /// Doors as a controller remembers them after its start: their last cycle was as worn as they are.
    pub fn worn(wear: f64) -> Self {
        Self {
            close_time_s: close_time(wear),
            open_time_s: open_time(wear),
            close_current_a: close_current(wear),
            ..Self::default()
        }
    }
}

/// How long closing takes at a state of wear (0 new, 1 failed), in the mean, s.
#[must_use]
pub fn close_time(wear: f64) -> f64 {
    CLOSE_S * (1.0 + SLOWER * wear)
}

/// How long opening takes at a state of wear, in the mean, s.
#[must_use]
pub fn open_time(wear: f64) -> f64 {
    OPEN_S * (1.0 + 0.3 * wear)
}

/// The operator's mean current while closing at a state of wear, A.
#[must_use]
pub fn close_current(wear: f64) -> f64 {
    CURRENT_A * (1.0 + STIFFER * wear)
}

/// The share of closings that reverse at a state of wear.
#[must_use]
pub fn reversal_share(wear: f64) -> f64 {
    if wear >= 1.0 { 1.0 } else { REVERSAL_SHARE + 0.25 * wear.powi(3) }
}

impl Doors {
    /// What they are doing.
    #[must_use]
    pub fn state(&self) -> DoorState {
        self.state
    }

    /// True if the safety chain has their contacts closed.
    #[must_use]
    pub fn are_closed(&self) -> bool {
        self.state == DoorState::Closed
    }

    /// True if people can walk through.
    #[must_use]
    pub fn are_open(&self) -> bool {
        matches!(self.state, DoorState::Open | DoorState::Faulted)
    }

    /// Starts to open them.
    pub fn open(&mut self) {
        if matches!(self.state, DoorState::Closed | DoorState::Closing) {
            if self.state == DoorState::Closed {
                self.reversals = 0;
            }
            self.state = DoorState::Opening;
        }
    }

    /// Starts to close them.
    pub fn close(&mut self, wear: f64, dice: &mut Dice) {
        if self.state == DoorState::Open {
            self.state = DoorState::Closing;
            self.reverse_at = dice.chance(reversal_share(wear)).then(|| dice.between(0.1, 0.8));
        }
    }

    /// Ends a fault after a repair; the doors stay open until they are closed.
    pub fn repair(&mut self) {
        if self.state == DoorState::Faulted {
            self.state = DoorState::Open;
        }
        self.tries = 0;
    }

    /// Moves them on by `dt_s` seconds.
    pub fn step(&mut self, wear: f64, dt_s: f64, dice: &mut Dice) -> Option<DoorEvent> {
        match self.state {
            DoorState::Closed | DoorState::Open | DoorState::Faulted => None,
            DoorState::Opening => {
                self.opening = (self.opening + dt_s / open_time(wear)).min(1.0);
                if self.opening < 1.0 {
                    return None;
                }
                self.open_time_s = dice.normal(open_time(wear), 0.04 * OPEN_S).max(0.5);
                if self.tries >= MAX_TRIES && wear >= 1.0 {
                    self.state = DoorState::Faulted;
                    return Some(DoorEvent::CloseFailed);
                }
                self.state = DoorState::Open;
                Some(DoorEvent::Opened)
            }
            DoorState::Closing => self.step_closing(wear, dt_s, dice),
        }
    }

    fn step_closing(&mut self, wear: f64, dt_s: f64, dice: &mut Dice) -> Option<DoorEvent> {
        self.opening = (self.opening - dt_s / close_time(wear)).max(0.0);
        if self.reverse_at.is_some_and(|at| self.opening <= at) {
            self.reverse_at = None;
            self.reversals += 1;
            self.tries += 1;
            self.state = DoorState::Opening;
            return Some(DoorEvent::Reversed);
        }
        if self.opening > 0.0 {
            return None;
        }
        self.state = DoorState::Closed;
        self.tries = 0;
        self.cycles += 1;
        // The controller times the closing with its encoder, finer than the step; a person's brush adds scatter.
        self.close_time_s = dice.normal(close_time(wear), 0.04 * CLOSE_S).max(1.0);
        self.close_current_a = dice.normal(close_current(wear), 0.04).max(0.2);
        Some(DoorEvent::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(doors: &mut Doors, wear: f64, dice: &mut Dice) -> Vec<DoorEvent> {
        let mut events = Vec::new();
        doors.open();
        for _ in 0..3000 {
            if let Some(event) = doors.step(wear, 0.1, dice) {
                events.push(event);
                if matches!(event, DoorEvent::Closed | DoorEvent::CloseFailed) {
                    break;
                }
            }
            doors.close(wear, dice);
        }
        events
    }

    #[test]
    fn closing_gets_slower_and_stiffer_and_reverses_more_with_wear() {
        let mean = |wear: f64| {
            let (mut doors, mut dice) = (Doors::default(), Dice::new(1, "wear"));
            let (mut time, mut current, mut reversals) = (0.0, 0.0, 0);
            for _ in 0..400 {
                cycle(&mut doors, wear, &mut dice);
                time += doors.close_time_s / 400.0;
                current += doors.close_current_a / 400.0;
                reversals += doors.reversals;
            }
            (time, current, reversals)
        };
        let worn: Vec<_> = [0.0, 0.3, 0.6, 0.9].map(mean).into();
        assert!(worn.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1 && w[0].2 <= w[1].2), "{worn:?}");
    }

    #[test]
    fn worn_out_doors_give_up_closing_and_a_repair_ends_it() {
        let (mut doors, mut dice) = (Doors::default(), Dice::new(2, "failed"));
        let events = cycle(&mut doors, 1.0, &mut dice);
        assert_eq!(events.last(), Some(&DoorEvent::CloseFailed));
        assert_eq!(events.iter().filter(|event| **event == DoorEvent::Reversed).count(), MAX_TRIES as usize);
        assert!(doors.are_open() && !doors.are_closed());
        doors.repair();
        doors.close(0.0, &mut dice);
        assert_eq!(doors.state(), DoorState::Closing);
    }
}
