//! A pretend telephone network and mailbox for `liftline demo` and the end-to-end tests.
//!
//! It serves the part of Twilio's HTTP API that the hub uses, signs its callbacks, executes the documents of calls,
//! and takes e-mail over SMTP. A page shows every telephone, so that one can read the SMS, answer them, and press
//! keys. Nothing leaves this process.
//!
//! `api` is what the hub calls, `line` carries messages and calls to their end, `twiml` reads documents, `mailbox`
//! takes e-mail, `page` shows it all, `state` holds it.

mod api;
mod line;
mod mailbox;
mod page;
mod state;
#[cfg(test)]
mod tests;
mod twiml;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use axum::Router;
use model::Clock;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use state::{Call, CallState, Direction, Fault, Line, Mail, Reports, Sms, SmsState};
use state::{Job, State};

/// How many messages, calls and e-mails are under way at once; more are refused with 429.
const QUEUE: usize = 512;

/// How many e-mail connections are served at once; more wait.
const MAX_MAIL_CONNECTIONS: usize = 32;

/// Settings of the pretend network.
#[derive(Clone)]
pub struct PhoneConfig {
    /// The account that the hub logs in as.
    pub account_sid: String,
    /// Its token, with which callbacks are signed.
    pub auth_token: String,
    /// The number that the hub sends from and that people write to.
    pub hub_number: String,
    /// How long each step of a delivery takes (queued, sent, delivered; initiated, ringing).
    pub pace: Duration,
    /// How long a call waits for a key at each question, instead of the time that its document says: longer, so that
    /// one can read it on the page, or shorter in tests.
    pub patience: Option<Duration>,
    /// The time shown beside messages.
    pub clock: Arc<dyn Clock>,
}

/// The network. Clones share it.
#[derive(Clone)]
pub struct PhoneNetwork {
    shared: Arc<Shared>,
}

struct Shared {
    config: PhoneConfig,
    http: reqwest::Client,
    state: Mutex<State>,
    jobs: mpsc::Sender<Job>,
    /// Taken by `run`.
    inlets: Mutex<Option<(mpsc::Receiver<Job>, TcpListener)>>,
    smtp: SocketAddr,
    /// Raised with every change.
    changed: watch::Sender<u64>,
}

/// Why something could not be done on a pretend telephone.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// There is no such call.
    #[error("there is no call {0}; it may be too old to be kept")]
    NoCall(String),
    /// The call is over or waits for nothing.
    #[error("call {0} does not wait for a key: it is over, or has not asked for one")]
    NotWaiting(String),
    /// The number is not one.
    #[error("\"{0}\" is not a telephone number: write it like +15550100123")]
    BadNumber(String),
    /// The hub's address is not known yet.
    #[error("the network does not know where the hub is: call set_hub_url first")]
    NoHub,
    /// The hub cannot be reached.
    #[error("the hub cannot be reached at {url}: check that it runs")]
    Unreachable {
        /// The address called.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The hub refused the callback.
    #[error("the hub answered {status} to {url}; its log says why")]
    Refused {
        /// The address called.
        url: String,
        /// The answer.
        status: u16,
    },
    /// The hub's document cannot be executed.
    #[error("the hub's answer is not a document that telephones understand: {0}")]
    Document(String),
}

impl PhoneNetwork {
    /// Opens the mailbox on a free port of this machine. Calls and messages move once [`Self::run`] runs.
    ///
    /// # Errors
    /// If no port can be opened or no HTTP client made.
    pub async fn bind(config: PhoneConfig) -> io::Result<Self> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only if another thread installed one in between, which serves as well.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(io::Error::other)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                http,
                state: Mutex::default(),
                jobs,
                smtp: listener.local_addr()?,
                inlets: Mutex::new(Some((queue, listener))),
                changed: watch::channel(0).0,
            }),
        })
    }

    /// Where e-mail goes.
    #[must_use]
    pub fn smtp_addr(&self) -> SocketAddr {
        self.shared.smtp
    }

    /// Tells the network where the hub is, such as `http://127.0.0.1:8080`: SMS that people send go there.
    pub fn set_hub_url(&self, url: &str) {
        let url = url.trim_end_matches('/').to_owned();
        self.change(|state| state.hub_url = Some(url));
    }

    /// Gives a telephone a name on the page and shows it there from the start.
    pub fn name_phone(&self, number: &str, name: &str) {
        self.change(|state| state.name(number, name));
    }

    /// The API for the hub and the page for people, to be merged into the hub's routes.
    pub fn router(&self) -> Router {
        api::router().merge(page::router()).with_state(self.clone())
    }

    /// Carries messages and calls and takes e-mail until the shutdown. Run it once.
    ///
    /// # Errors
    /// If it was run before, or the mailbox fails.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let inlets = self.shared.inlets.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (mut queue, listener) = inlets.context("the pretend telephone network was started twice")?;
        let mut carrying = JoinSet::new();
        let mut mail = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(job) = queue.recv(), if carrying.len() < QUEUE => {
                    let network = self.clone();
                    carrying.spawn(async move { network.carry(job).await });
                }
                Some(ended) = carrying.join_next() => ended.context("carrying a message or a call")?,
                accepted = listener.accept(), if mail.len() < MAX_MAIL_CONNECTIONS => {
                    let (stream, peer) = accepted.context("accepting an e-mail connection")?;
                    mail.spawn(mailbox::serve(self.clone(), stream, peer.ip()));
                }
                Some(ended) = mail.join_next() => ended.context("taking an e-mail")?,
            }
        }
        carrying.shutdown().await;
        mail.shutdown().await;
        Ok(())
    }

    fn config(&self) -> &PhoneConfig {
        &self.shared.config
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells those who wait for it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.shared.changed.send_modify(|count| *count += 1);
        result
    }

    /// A receiver that is told of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Waits until `look` finds something; `None` after `patience`.
    pub async fn wait_for<T>(&self, patience: Duration, mut look: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let mut changes = self.changes();
        let found = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = look(self) {
                    return Some(found);
                }
                // The sender lives in `self`, so this fails never; were it to, nothing more could be found.
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, found).await.ok().flatten()
    }

    /// Everything that was sent to and from a telephone, the oldest first.
    #[must_use]
    pub fn thread(&self, number: &str) -> Vec<Sms> {
        self.state().messages.iter().filter(|sms| sms.phone() == number).cloned().collect()
    }

    /// The SMS that reached a telephone, the oldest first.
    #[must_use]
    pub fn inbox(&self, number: &str) -> Vec<Sms> {
        let arrived = |sms: &Sms| sms.direction == Direction::ToPhone && sms.state == SmsState::Delivered;
        self.thread(number).into_iter().filter(arrived).collect()
    }

    /// The calls to a telephone, the oldest first.
    #[must_use]
    pub fn calls(&self, number: &str) -> Vec<Call> {
        self.state().calls.iter().filter(|call| call.to == number).cloned().collect()
    }

    /// One call.
    #[must_use]
    pub fn call(&self, sid: &str) -> Option<Call> {
        self.state().calls.iter().find(|call| call.sid == sid).cloned()
    }

    /// The e-mails received, the oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.state().mails.iter().cloned().collect()
    }

    /// Makes the next `count` requests of the hub to the API fail.
    pub fn fail_next(&self, count: usize, fault: Fault) {
        self.change(|state| state.faults.extend(std::iter::repeat_n(fault, count)));
    }

    /// Makes the mailbox ask the next `count` senders to come back later.
    pub fn fail_next_mails(&self, count: usize) {
        self.change(|state| state.mail_faults += count);
    }

    /// Says how a telephone behaves from now on.
    pub fn set_line(&self, number: &str, line: Line) {
        self.change(|state| state.set_line(number, line));
    }

    /// Says how status reports of SMS arrive from now on.
    pub fn set_reports(&self, reports: Reports) {
        self.change(|state| state.reports = reports);
    }
}
