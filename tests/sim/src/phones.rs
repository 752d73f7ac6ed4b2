//! The message provider and the people behind it. It stands outside the hub and remembers what it took when the hub
//! dies: what it took twice rang twice.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use desk::{Action, Actor};
use firmware_sim::dice::Dice;
use model::{
    DeliveryState, OrgId, OutboxId, OutboxMessage, Outcome, PersonId, Purpose, TicketId, TicketKind, Timestamp,
};
use store::Claim;

/// Something that the provider or a person tells the hub.
#[derive(Debug, Clone)]
pub enum Happening {
    /// What became of a message.
    Receipt {
        /// The provider's id.
        provider_id: String,
        /// The state.
        state: DeliveryState,
    },
    /// Somebody answers a page.
    Reply {
        /// The organisation.
        org: OrgId,
        /// The ticket.
        ticket: TicketId,
        /// Who.
        actor: Actor,
        /// What they say.
        action: Action,
        /// The time of the page that they answer.
        as_of: Timestamp,
    },
}

/// A message that the provider took.
pub struct Taken {
    /// The provider's id.
    pub provider_id: String,
    /// How many times it was given to it.
    pub copies: u32,
}

/// The provider.
pub struct Phones {
    seed: u64,
    calm: bool,
    names: HashMap<PersonId, String>,
    /// What it took.
    pub taken: HashMap<OutboxId, Taken>,
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    count: u64,
}

impl Phones {
    /// A provider for these people; if `calm`, it never fails.
    pub fn new(seed: u64, calm: bool, names: HashMap<PersonId, String>) -> Self {
        Self { seed, calm, names, taken: HashMap::new(), agenda: BTreeMap::new(), count: 0 }
    }

    /// What the provider knows of a message.
    pub fn look_up(&self, id: OutboxId) -> Option<Outcome> {
        self.taken.get(&id).map(|taken| Outcome::Sent { provider_id: taken.provider_id.clone() })
    }

    /// Gives the provider a message.
    pub fn send(&mut self, claim: &Claim, now: Timestamp) -> Outcome {
        let message = &claim.message;
        // Ids are random: what a message meets depends on what it is.
        let (to, content, since) = (&message.receiver, &message.content, message.created_at.as_micros());
        let what = format!(
            "{} {} {} {:?} {since} {}",
            to.channel, to.address, content.ticket_number, content.purpose, message.attempts
        );
        let mut dice = Dice::new(self.seed, &what);
        match if self.calm { 0.0 } else { dice.unit() } {
            0.0..0.72 => self.take(message, &mut dice, now),
            0.72..0.82 => {
                Outcome::Retry { after: dice.chance(0.5).then_some(Duration::from_secs(3)), reason: "busy".to_owned() }
            }
            0.82..0.90 => {
                self.take(message, &mut dice, now);
                Outcome::Unknown { reason: "no answer, but it was taken".to_owned() }
            }
            0.90..0.97 => Outcome::Unknown { reason: "no answer, and it was not taken".to_owned() },
            _ => Outcome::Dead { reason: "no such number".to_owned() },
        }
    }

    fn take(&mut self, message: &OutboxMessage, dice: &mut Dice, now: Timestamp) -> Outcome {
        self.count += 1;
        let provider_id = format!("SM{}", self.count);
        let taken = self.taken.entry(message.id).or_insert(Taken { provider_id: provider_id.clone(), copies: 0 });
        taken.copies += 1;
        self.receipts(&provider_id, dice, now);
        if message.content.purpose == Purpose::Page {
            self.answer(message, dice, now);
        }
        Outcome::Sent { provider_id }
    }

    /// Receipts come late, twice, in any order, or never.
    fn receipts(&mut self, provider_id: &str, dice: &mut Dice, now: Timestamp) {
        let mut states = vec![(DeliveryState::Sent, 0.5), (DeliveryState::Delivered, dice.between(0.0, 15.0))];
        if !self.calm {
            match dice.below(10) {
                0 => states.truncate(1),
                1 => states[1].0 = DeliveryState::Dead,
                2 | 3 => states.push((DeliveryState::Delivered, dice.between(0.0, 60.0))),
                4 | 5 => states[0].1 = dice.between(10.0, 60.0),
                _ => {}
            }
        }
        for (state, after) in states {
            let receipt = Happening::Receipt { provider_id: provider_id.to_owned(), state };
            self.plan(now + Duration::from_secs_f64(after), receipt);
        }
    }

    /// What a called person does.
    fn answer(&mut self, message: &OutboxMessage, dice: &mut Dice, now: Timestamp) {
        let (Some(person), Some(ticket)) = (message.person, message.ticket) else { return };
        let Some(name) = self.names.get(&person).cloned() else { return };
        let actor = Actor::Person { person, name, channel: message.receiver.channel };
        let mut after = Duration::from_secs_f64(dice.between(4.0, 150.0));
        let mut say = |action: Action, more: f64, dice: &mut Dice| {
            let reply =
                Happening::Reply { org: message.org, ticket, actor: actor.clone(), action, as_of: message.created_at };
            if dice.chance(0.1) {
                self.plan(now + after + Duration::from_secs_f64(dice.between(0.1, 20.0)), reply.clone());
            }
            self.plan(now + after, reply);
            after += Duration::from_secs_f64(more);
        };
        match dice.below(10) {
            0..5 => {
                let spans = [dice.between(10.0, 120.0), dice.between(60.0, 900.0), dice.between(60.0, 900.0)];
                say(Action::Acknowledge, spans[0], dice);
                if dice.chance(0.8) {
                    say(Action::EnRoute, spans[1], dice);
                }
                if dice.chance(0.8) {
                    say(Action::Arrived, spans[2], dice);
                }
                if dice.chance(0.5) && message.content.kind == TicketKind::Entrapment {
                    say(Action::Released, 30.0, dice);
                }
                if dice.chance(0.3) {
                    say(Action::Close { note: Some("done".to_owned()), cause: None, parts: None }, 0.0, dice);
                }
            }
            5 => say(Action::Decline, 0.0, dice),
            6 => say(Action::Escalate, 0.0, dice),
            _ => {}
        }
    }

    fn plan(&mut self, at: Timestamp, happening: Happening) {
        self.count += 1;
        self.agenda.insert((at, self.count), happening);
    }

    /// The next thing that happens by now.
    pub fn due(&mut self, now: Timestamp) -> Option<Happening> {
        let entry = self.agenda.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// The hub is away until then: receipts find nobody and half of them are not repeated; people try again.
    pub fn hub_died(&mut self, back_at: Timestamp) {
        let mut dice = Dice::new(self.seed, &format!("away until {}", back_at.as_micros()));
        let early: Vec<_> = self.agenda.extract_if(..(back_at, 0), |_, _| true).collect();
        for (_, happening) in early {
            if matches!(happening, Happening::Reply { .. }) || dice.chance(0.5) {
                self.plan(back_at + Duration::from_secs_f64(dice.between(0.0, 30.0)), happening);
            }
        }
    }
}
