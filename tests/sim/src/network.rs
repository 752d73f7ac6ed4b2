//! The way from the controllers to the hub, at its worst: messages are lost, acknowledgements are lost and messages sent
//! again, copies come late, lifts overtake each other, and whole devices are away and return with a backlog.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firmware_sim::{
    dice::Dice,
    wire::{LAST_WILL, Message, Topics},
};
use model::{DeviceId, Timestamp};

use crate::fleet::{Fleet, SPAN, Said, start};

/// The most measurements in one message of a backlog.
const BATCH: usize = 50;
/// How long a broker waits for a controller that is gone before it publishes its last will.
const WILL_AFTER: Duration = Duration::from_secs(20);
/// How late a second copy of a message may come.
const COPY_WITHIN_S: f64 = 8.0;

/// How a controller's connection behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// Every message arrives once.
    Steady,
    /// Some messages arrive a second time, up to seconds later.
    Repeating,
    /// Messages and acknowledgements are lost; what is not acknowledged is sent again.
    Lossy,
    /// It is away for minutes, and returns with everything it had to say.
    Wandering,
}

/// One message on its way to the hub.
pub struct Parcel {
    /// Where it is published.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The uplink and the reports it carries, from and until before; `None` for what nobody waits for.
    reports: Option<(usize, usize, usize)>,
}

struct Uplink {
    device: DeviceId,
    topics: Topics,
    temper: Temper,
    latency: Duration,
    dice: Dice,
    /// The first report that is not acknowledged.
    next: usize,
    /// The first report that the hub was never handed.
    fresh: usize,
    /// How late a report came at worst, beyond the latency.
    late: Duration,
    /// When its connection stands again.
    ready_at: Timestamp,
    away: Option<(Timestamp, Timestamp)>,
}

/// All uplinks.
pub struct Network {
    fleet: Arc<Fleet>,
    uplinks: Vec<Uplink>,
    /// Copies, wills and greetings, by the time they arrive.
    strays: BTreeMap<(Timestamp, u64), (String, Vec<u8>)>,
    strayed: u64,
    order: Dice,
}

impl Network {
    /// The connections of a seed; if `calm`, nothing ever goes wrong.
    pub fn new(fleet: &Arc<Fleet>, seed: u64, calm: bool) -> Self {
        let mut network = Self {
            fleet: fleet.clone(),
            uplinks: Vec::new(),
            strays: BTreeMap::new(),
            strayed: 0,
            order: Dice::new(seed, "order of arrival"),
        };
        for voice in &fleet.voices {
            let device = &voice.device.id;
            let mut dice = Dice::new(seed, &format!("uplink of {device}"));
            let latency = Duration::from_millis(20 + dice.below(300) as u64);
            let temper = match dice.below(8) {
                _ if calm => Temper::Steady,
                0 | 1 => Temper::Steady,
                2 | 3 => Temper::Repeating,
                4 | 5 => Temper::Lossy,
                _ => Temper::Wandering,
            };
            let topics = Topics::new("liftline", device);
            let away = (temper == Temper::Wandering).then(|| {
                let from = start() + SPAN.mul_f64(dice.between(0.02, 0.7));
                (from, from + Duration::from_secs_f64(dice.between(60.0, 1500.0)))
            });
            network.greet(&topics, start() + latency);
            if let Some((from, to)) = away {
                network.stray(from + WILL_AFTER, (topics.status(), LAST_WILL.to_vec()));
                network.greet(&topics, to);
            }
            network.uplinks.push(Uplink {
                device: device.clone(),
                topics,
                temper,
                latency,
                dice,
                next: 0,
                fresh: 0,
                late: Duration::ZERO,
                ready_at: start(),
                away,
            });
        }
        network
    }

    fn stray(&mut self, at: Timestamp, (topic, payload): (String, Vec<u8>)) {
        self.strayed += 1;
        self.strays.insert((at, self.strayed), (topic, payload));
    }

    fn greet(&mut self, topics: &Topics, at: Timestamp) {
        let Message { topic, payload, .. } = topics.status_message(at, true);
        self.stray(at, (topic, payload));
    }

    /// What arrives now. Each device's reports keep their order, but for what is sent again.
    pub fn deliver(&mut self, now: Timestamp) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        while let Some(entry) = self.strays.first_entry()
            && entry.key().0 <= now
        {
            let (topic, payload) = entry.remove();
            parcels.push(Parcel { topic, payload, reports: None });
        }
        let first = self.order.below(self.uplinks.len());
        for n in 0..self.uplinks.len() {
            self.deliver_one((first + n) % self.uplinks.len(), now, &mut parcels);
        }
        parcels
    }

    fn deliver_one(&mut self, index: usize, now: Timestamp, parcels: &mut Vec<Parcel>) {
        let fleet = self.fleet.clone();
        let said = &fleet.voices[index].said;
        while self.uplinks[index].due(said).is_some_and(|due| due <= now) {
            let uplink = &mut self.uplinks[index];
            let (from, until) = (uplink.next, uplink.batch_end(said, now));
            let Some(message) =
                uplink.topics.message(said[from..until].iter().map(|one| one.numbered.clone()).collect())
            else {
                return;
            };
            let (dice, temper) = (&mut uplink.dice, uplink.temper);
            if temper == Temper::Lossy && dice.chance(0.04) {
                // It never reached the hub.
                uplink.ready_at = now + Duration::from_secs_f64(dice.between(1.0, 20.0));
                return;
            }
            let heard = !(temper == Temper::Lossy && dice.chance(0.04));
            let copy = (temper == Temper::Repeating && dice.chance(0.2))
                .then(|| now + Duration::from_secs_f64(dice.between(0.0, COPY_WITHIN_S)));
            if until > uplink.fresh {
                let due = said[uplink.fresh].at + uplink.latency;
                uplink.late = uplink.late.max(now.since(due));
                uplink.fresh = until;
            }
            if heard {
                uplink.next = until;
            } else {
                uplink.ready_at = now + Duration::from_secs_f64(dice.between(1.0, 20.0));
            }
            if let Some(at) = copy {
                self.stray(at, (message.topic.clone(), message.payload.clone()));
            }
            let reports = Some((index, from, until));
            parcels.push(Parcel { topic: message.topic, payload: message.payload, reports });
            if !heard {
                return;
            }
        }
    }

    /// When something arrives next.
    pub fn next_at(&self) -> Option<Timestamp> {
        let due = self.uplinks.iter().zip(&self.fleet.voices).filter_map(|(uplink, voice)| uplink.due(&voice.said));
        due.chain(self.strays.keys().next().map(|(at, _)| *at)).min()
    }

    /// The hub died: what it had not acknowledged is sent again once it is back, and everybody greets it anew. `kept`
    /// says whether what it had not acknowledged is in its journal all the same.
    pub fn hub_died(&mut self, unacknowledged: &[Parcel], kept: bool, back_at: Timestamp) {
        for (index, from, _) in unacknowledged.iter().filter_map(|parcel| parcel.reports) {
            let uplink = &mut self.uplinks[index];
            uplink.next = uplink.next.min(from);
            if !kept {
                uplink.fresh = uplink.fresh.min(from);
            }
        }
        let waiting = std::mem::take(&mut self.strays);
        for ((at, _), parcel) in waiting {
            self.stray(at.max(back_at), parcel);
        }
        for index in 0..self.uplinks.len() {
            let uplink = &mut self.uplinks[index];
            let ready_at = back_at + Duration::from_secs_f64(uplink.dice.between(0.1, 3.0));
            uplink.ready_at = uplink.ready_at.max(ready_at);
            let mute = |window: Option<(Timestamp, Timestamp)>| {
                window.is_some_and(|(from, to)| from <= ready_at && ready_at < to)
            };
            if !mute(uplink.away) && !mute(self.fleet.voices[index].hung) {
                let topics = uplink.topics.clone();
                self.greet(&topics, ready_at);
            }
        }
    }

    /// The first report of each device that is not acknowledged.
    pub fn acknowledged(&self) -> impl Iterator<Item = usize> {
        self.uplinks.iter().map(|uplink| uplink.next)
    }

    /// True if everything that was said is acknowledged.
    pub fn is_done(&self) -> bool {
        self.strays.is_empty()
            && self.uplinks.iter().zip(&self.fleet.voices).all(|(uplink, voice)| uplink.next == voice.said.len())
    }

    /// True if the hub was never told that the device is away, and each report of it came for the first time when it
    /// should have.
    pub fn is_undelayed(&self, device: &DeviceId) -> bool {
        let mut uplinks = self.uplinks.iter();
        uplinks.any(|uplink| uplink.device == *device && uplink.late.is_zero() && uplink.temper != Temper::Wandering)
    }

    /// How the connection of a device behaves.
    pub fn temper(&self, device: &DeviceId) -> Option<Temper> {
        self.uplinks.iter().find(|uplink| uplink.device == *device).map(|uplink| uplink.temper)
    }

    /// Every message as it arrives if nothing ever goes wrong, in order.
    pub fn undisturbed(&self) -> Vec<(Timestamp, String, Vec<u8>)> {
        let mut arrivals = Vec::new();
        for (uplink, voice) in self.uplinks.iter().zip(&self.fleet.voices) {
            let greeting = uplink.topics.status_message(start() + uplink.latency, true);
            arrivals.push((start() + uplink.latency, greeting.topic, greeting.payload));
            for one in &voice.said {
                let message = uplink.topics.message(vec![one.numbered.clone()]);
                arrivals.extend(message.map(|message| (one.at + uplink.latency, message.topic, message.payload)));
            }
        }
        arrivals.sort_by_key(|(at, ..)| *at);
        arrivals
    }
}

impl Uplink {
    /// When the next report arrives, if the connection then stands.
    fn due(&self, said: &[Said]) -> Option<Timestamp> {
        let due = (said.get(self.next)?.at + self.latency).max(self.ready_at);
        Some(match self.away {
            Some((from, to)) if from <= due && due < to => to,
            Some(_) | None => due,
        })
    }

    /// A backlog of measurements travels together.
    fn batch_end(&self, said: &[Said], now: Timestamp) -> usize {
        let waiting = said[self.next..].iter().take(BATCH);
        let together =
            waiting.take_while(|one| one.numbered.report.is_telemetry() && one.at + self.latency <= now).count();
        self.next + together.max(1)
    }
}
