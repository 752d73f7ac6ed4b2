//! What the network remembers: bounded, in memory.

use std::collections::{BTreeMap, HashSet, VecDeque};

use model::Timestamp;

use super::twiml::{Gather, Verb};

/// How many messages are kept; the same for calls and e-mails.
pub(super) const KEPT: usize = 500;

/// How many telephones are shown.
const MAX_PHONES: usize = 200;

/// Which way an SMS went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the hub to a telephone.
    ToPhone,
    /// From a telephone to the hub.
    ToHub,
}

/// Where an SMS stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmsState {
    /// Taken from the hub.
    Queued,
    /// On its way.
    Sent,
    /// On the telephone, or in the hub.
    Delivered,
    /// It did not arrive.
    Undelivered,
}

impl SmsState {
    /// Twilio's word for it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
        }
    }
}

/// An SMS.
#[derive(Debug, Clone, PartialEq)]
pub struct Sms {
    /// Its id, `SM…`.
    pub sid: String,
    /// Which way.
    pub direction: Direction,
    /// Who sent it.
    pub from: String,
    /// Who it is for.
    pub to: String,
    /// The text.
    pub body: String,
    /// Where it stands.
    pub state: SmsState,
    /// When it was sent.
    pub at: Timestamp,
    /// Where status reports go.
    pub(super) callback: Option<String>,
}

impl Sms {
    /// The telephone, whichever way it went.
    #[must_use]
    pub fn phone(&self) -> &str {
        match self.direction {
            Direction::ToPhone => &self.to,
            Direction::ToHub => &self.from,
        }
    }
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Taken from the hub.
    Queued,
    /// The telephone rings.
    Ringing,
    /// Somebody, or a machine, took it.
    InProgress,
    /// It was taken and is over.
    Completed,
    /// The telephone was busy or the call was rejected.
    Busy,
    /// Nobody took it.
    NoAnswer,
}

impl CallState {
    /// Twilio's word for it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
        }
    }

    /// True if nothing more can happen.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Queued | Self::Ringing | Self::InProgress => false,
            Self::Completed | Self::Busy | Self::NoAnswer => true,
        }
    }
}

/// A call from the hub to a telephone.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its id, `CA…`.
    pub sid: String,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Where it stands.
    pub state: CallState,
    /// When it was placed.
    pub at: Timestamp,
    /// What was said so far, in order.
    pub said: Vec<String>,
    /// The keys pressed so far.
    pub keys: String,
    /// What went wrong with its documents, for the page.
    pub problem: Option<String>,
    /// True if it waits for a key.
    pub waiting: bool,
    pub(super) program: Program,
}

/// What a call still has to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Program {
    /// Where the first document is fetched, or the document itself.
    pub start: Start,
    /// What comes next.
    pub next: VecDeque<Verb>,
    /// The question that is open.
    pub gather: Option<Gather>,
    /// Keys of an answer of several digits.
    pub digits: String,
    /// How often the question changed: a time-out of an earlier one does nothing.
    pub turn: u64,
    /// How long it rings, in seconds.
    pub ring_s: u64,
    /// Where status reports go, and of which events.
    pub callback: Option<String>,
    pub events: Vec<String>,
    /// Where the answer to "human or machine?" goes.
    pub amd_callback: Option<String>,
    pub detect: bool,
    pub answered_by: Option<&'static str>,
    pub sequence: u32,
}

/// The first document of a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Start {
    Url(String),
    Twiml(String),
}

impl Default for Start {
    fn default() -> Self {
        Self::Twiml(String::new())
    }
}

/// An e-mail.
#[derive(Debug, Clone, PartialEq)]
pub struct Mail {
    /// The sender of the envelope.
    pub from: String,
    /// The receivers of the envelope.
    pub to: Vec<String>,
    /// The subject, decoded.
    pub subject: String,
    /// Its Message-ID, without angle brackets.
    pub message_id: Option<String>,
    /// The body as plain text, decoded.
    pub text: String,
    /// The body as HTML, decoded.
    pub html: Option<String>,
    /// When it came.
    pub at: Timestamp,
    /// All of it, as it came.
    pub raw: Vec<u8>,
}

/// How a request of the hub fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429: not taken, come back in a second.
    TooMany,
    /// 500: not taken.
    ServerError,
    /// Taken, and then 500: the answer that carried the id is lost.
    LostAnswer,
    /// Taken, and no answer until the hub gives up waiting.
    Hang,
}

/// How a telephone behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Line {
    /// SMS arrive; it rings until somebody acts on the page or in the test.
    #[default]
    Normal,
    /// Off or out of reach: SMS are not delivered (30003), calls are not answered.
    Unreachable,
    /// Calls find it busy.
    Busy,
    /// A machine takes the calls.
    Machine,
}

/// How status reports of SMS arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reports {
    /// Each once, in order.
    #[default]
    Normal,
    /// Each twice.
    Twice,
    /// The last one first.
    Reversed,
    /// Not at all.
    Lost,
}

/// What is still to be carried.
#[derive(Debug)]
pub(super) enum Job {
    Sms(String),
    Call(String),
}

#[derive(Default)]
pub(super) struct State {
    pub hub_url: Option<String>,
    pub messages: VecDeque<Sms>,
    pub calls: VecDeque<Call>,
    pub mails: VecDeque<Mail>,
    pub faults: VecDeque<Fault>,
    pub mail_faults: usize,
    pub reports: Reports,
    /// Numbers that sent STOP.
    pub stopped: HashSet<String>,
    /// Telephones by number, with their names.
    pub phones: BTreeMap<String, String>,
    lines: BTreeMap<String, Line>,
    sids: u64,
}

impl State {
    /// A new id.
    pub fn sid(&mut self, prefix: &str) -> String {
        self.sids += 1;
        format!("{prefix}{:032x}", self.sids)
    }

    pub fn name(&mut self, number: &str, name: &str) {
        if self.phones.len() < MAX_PHONES || self.phones.contains_key(number) {
            self.phones.insert(number.to_owned(), name.to_owned());
        }
    }

    fn meet(&mut self, number: &str) {
        if !self.phones.contains_key(number) {
            self.name(number, "");
        }
    }

    pub fn set_line(&mut self, number: &str, line: Line) {
        self.meet(number);
        if self.phones.contains_key(number) {
            self.lines.insert(number.to_owned(), line);
        }
    }

    pub fn line(&self, number: &str) -> Line {
        self.lines.get(number).copied().unwrap_or_default()
    }

    pub fn add_sms(&mut self, sms: Sms) {
        self.meet(sms.phone());
        self.messages.push_back(sms);
        while self.messages.len() > KEPT {
            self.messages.pop_front();
        }
    }

    pub fn add_call(&mut self, call: Call) {
        self.meet(&call.to);
        self.calls.push_back(call);
        while self.calls.len() > KEPT {
            self.calls.pop_front();
        }
    }

    pub fn add_mail(&mut self, mail: Mail) {
        self.mails.push_back(mail);
        while self.mails.len() > KEPT {
            self.mails.pop_front();
        }
    }

    pub fn sms_mut(&mut self, sid: &str) -> Option<&mut Sms> {
        self.messages.iter_mut().find(|sms| sms.sid == sid)
    }

    pub fn call_mut(&mut self, sid: &str) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.sid == sid)
    }
}
