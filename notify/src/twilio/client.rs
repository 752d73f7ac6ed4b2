//! Requests to the provider: sending, calling, and looking up what became of a request that got no answer.

use std::{sync::Arc, time::Duration};

use model::{MessageChannel, OutboxMessage, Outcome, Purpose, Timestamp};
use serde::Deserialize;

use super::{
    callback::{self, Progress},
    calls::{Calls, Whose},
    code::{self, Class},
    signature::verify_signature,
};
use crate::{
    config::{NotifyConfig, NotifyError, Secret, TwilioConfig},
    http, templates,
};

/// After this long without being able to look a page up, it is sent again.
const GIVE_UP_LOOKING: Duration = Duration::from_secs(60);

/// The same, where life may depend on it.
const GIVE_UP_LOOKING_LIFE_SAFETY: Duration = Duration::from_secs(15);

/// How far the provider's clock may be behind ours when its list is searched.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// A provider that speaks Twilio's HTTP API.
#[derive(Debug, Clone)]
pub struct Twilio {
    http: reqwest::Client,
    config: TwilioConfig,
    tokens: Vec<Secret>,
    public_base: String,
    calls: Arc<Calls>,
}

#[derive(Deserialize)]
struct Created {
    sid: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ApiError {
    code: Option<u32>,
    message: String,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    date_created: Option<String>,
}

/// One message or call as the provider holds it.
#[derive(Deserialize)]
struct Fetched {
    status: String,
    #[serde(default)]
    error_code: Option<u32>,
    #[serde(default)]
    answered_by: Option<String>,
}

#[derive(Deserialize)]
struct MessageList {
    messages: Vec<Listed>,
}

#[derive(Deserialize)]
struct CallList {
    calls: Vec<Listed>,
}

impl Twilio {
    /// A client; opens no connection yet.
    ///
    /// # Errors
    /// [`NotifyError`] if the token cannot be read or the HTTP client not be made.
    pub fn new(notify: &NotifyConfig, config: &TwilioConfig) -> Result<Self, NotifyError> {
        http::ensure_tls_provider();
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("liftline")
            .build()
            .map_err(NotifyError::HttpClient)?;
        Ok(Self {
            http: client,
            tokens: config.tokens()?,
            config: config.clone(),
            public_base: notify.public_base().to_owned(),
            calls: Arc::default(),
        })
    }

    /// What the way to this number allows.
    #[must_use]
    pub fn options(&self, message: &OutboxMessage) -> templates::Options {
        let number = &message.receiver.address;
        let none_of = |prefixes: &[String]| !prefixes.iter().any(|prefix| number.starts_with(prefix.as_str()));
        templates::Options {
            replies: none_of(&self.config.one_way_prefixes),
            links: none_of(&self.config.no_link_prefixes),
            keypad_url: self.callback("voice", message),
        }
    }

    /// True if `header` signs a request to `path_and_query` of the public address by one of our tokens.
    #[must_use]
    pub fn verify(&self, path_and_query: &str, params: &[(String, String)], header: &str) -> bool {
        let tokens: Vec<&str> = self.tokens.iter().map(Secret::reveal).collect();
        verify_signature(&tokens, &format!("{}{path_and_query}", self.public_base), params, header)
    }

    fn callback(&self, what: &str, message: &OutboxMessage) -> String {
        format!("{}/callbacks/twilio/{what}?m={}", self.public_base, message.id)
    }

    fn resource(&self, name: &str) -> String {
        format!(
            "{}/2010-04-01/Accounts/{}/{name}.json",
            self.config.base_url.trim_end_matches('/'),
            self.config.account_sid
        )
    }

    fn token(&self) -> &str {
        self.tokens.first().map_or("", Secret::reveal)
    }

    /// Sends an SMS.
    pub async fn send_sms(&self, message: &OutboxMessage, body: &str, now: Timestamp) -> Outcome {
        let sender = if self.config.from.starts_with("MG") { "MessagingServiceSid" } else { "From" };
        let validity = message.expires_at.since(now).as_secs().clamp(10, 36_000).to_string();
        let status = self.callback("status", message);
        self.create(
            "Messages",
            &[
                ("To", message.receiver.address.as_str()),
                (sender, self.config.from.as_str()),
                ("Body", body),
                ("StatusCallback", status.as_str()),
                ("ValidityPeriod", validity.as_str()),
            ],
        )
        .await
    }

    /// Places a call that executes `twiml`. The document goes with the request: the hub need not be reachable for
    /// the message to be heard, only for the key to count.
    pub async fn call(&self, message: &OutboxMessage, twiml: &str) -> Outcome {
        let from = match &self.config.voice_from {
            Some(number) => number.as_str(),
            None if self.config.from.starts_with('+') => self.config.from.as_str(),
            None => {
                let reason = "no number to call from: add voice_from to [notify.twilio]".to_owned();
                return Outcome::Dead { reason };
            }
        };
        let status = self.callback("status", message);
        let ring = self.config.ring.as_secs().to_string();
        let mut form = vec![
            ("To", message.receiver.address.as_str()),
            ("From", from),
            ("Twiml", twiml),
            ("Timeout", ring.as_str()),
            ("StatusCallback", status.as_str()),
            ("StatusCallbackMethod", "POST"),
        ];
        form.extend(["initiated", "ringing", "answered", "completed"].map(|event| ("StatusCallbackEvent", event)));
        if self.config.detect_machines {
            // Asynchronous, so that the message starts at once.
            form.extend([
                ("MachineDetection", "Enable"),
                ("AsyncAmd", "true"),
                ("AsyncAmdStatusCallback", status.as_str()),
                ("AsyncAmdStatusCallbackMethod", "POST"),
            ]);
        }
        self.calls.begin(message);
        let outcome = self.create("Calls", &form).await;
        self.calls.settle(message, &outcome);
        outcome
    }

    async fn create(&self, resource: &str, form: &[(&str, &str)]) -> Outcome {
        let request =
            self.http.post(self.resource(resource)).basic_auth(&self.config.account_sid, Some(self.token())).form(form);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return http::failed(&error),
        };
        let status = response.status();
        let after = http::retry_after(&response);
        let body = http::body(response).await;
        if status.is_success() {
            let created = body.and_then(|body| serde_json::from_slice::<Created>(&body).map_err(|e| e.to_string()));
            return match created {
                Ok(Created { sid }) if !sid.is_empty() => Outcome::Sent { provider_id: sid },
                Ok(_) => Outcome::Unknown { reason: "the provider accepted it without an id".to_owned() },
                Err(error) => Outcome::Unknown { reason: format!("the provider's answer cannot be read: {error}") },
            };
        }
        let error: ApiError = body.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        refused(status.as_u16(), after, &error)
    }

    /// Finds out what became of an attempt that got no answer. `attempted_at` is when it began.
    ///
    /// An SMS is found by its receiver and the reference in its text. A call carries no text: it counts as found if
    /// exactly one call went to that number since the attempt began that is not known to be of another message, and no
    /// other call to it waits for an answer. The lists are asked for the receiver only, not for a date: what is not sent
    /// yet has none.
    ///
    /// - found: `Sent`, and nothing is sent again;
    /// - not found, or calls that cannot be told apart: pages, care links, stand-downs and answers are sent
    ///   again (`None`): a duplicate is better than a loss. Progress and notices are given up (`Dead`): the next
    ///   milestone tells more, and repeated news frightens;
    /// - the list cannot be read: `Unknown`, to be looked up again; after 60 s (15 s for life safety) as not found.
    pub async fn look_up(&self, message: &OutboxMessage, attempted_at: Timestamp, now: Timestamp) -> Option<Outcome> {
        match self.find(message, attempted_at).await {
            Ok(Whose::Ours(provider_id)) => {
                let outcome = Outcome::Sent { provider_id };
                self.calls.settle(message, &outcome);
                Some(outcome)
            }
            Ok(Whose::Nobodys) => send_again(message, "the provider does not have it"),
            Ok(Whose::Unsure) => send_again(message, "calls to the number cannot be told apart"),
            Err(reason) => {
                let patience = if message.life_safety { GIVE_UP_LOOKING_LIFE_SAFETY } else { GIVE_UP_LOOKING };
                if now.since(attempted_at) >= patience {
                    send_again(message, &format!("the provider's list cannot be read ({reason})"))
                } else {
                    Some(Outcome::Unknown { reason: format!("the provider's list cannot be read: {reason}") })
                }
            }
        }
    }

    async fn find(&self, message: &OutboxMessage, attempted_at: Timestamp) -> Result<Whose, String> {
        let earliest = attempted_at - CLOCK_SLACK;
        let recent = |listed: &Listed| match &listed.date_created {
            Some(text) => created(text).is_none_or(|at| at >= earliest),
            None => true,
        };
        Ok(match message.receiver.channel {
            MessageChannel::Sms => {
                let reference = templates::reference(message);
                let list: MessageList = self.list("Messages", message).await?;
                let ours = |listed: &Listed| listed.body.as_ref().is_some_and(|body| body.ends_with(&reference));
                let found = list.messages.into_iter().find(|message| recent(message) && ours(message));
                found.map_or(Whose::Nobodys, |message| Whose::Ours(message.sid))
            }
            MessageChannel::Voice => {
                let list: CallList = self.list("Calls", message).await?;
                // The provider's times are whole seconds.
                let since = attempted_at - Duration::from_secs(2);
                let after =
                    |listed: &Listed| listed.date_created.as_deref().and_then(created).is_none_or(|at| at >= since);
                self.calls.whose(message, list.calls.into_iter().filter(after).map(|call| call.sid).collect())
            }
            MessageChannel::Email | MessageChannel::Webhook => return Err("this channel has no list".to_owned()),
        })
    }

    /// Asks how a message or call stands that the provider took and has not reported on since: its callbacks may
    /// not reach this hub.
    ///
    /// # Errors
    /// A sentence that says why the provider's answer cannot be had.
    pub async fn ask(&self, channel: MessageChannel, provider_id: &str) -> Result<Progress, String> {
        let (resource, call) = match channel {
            MessageChannel::Sms => ("Messages", false),
            MessageChannel::Voice => ("Calls", true),
            MessageChannel::Email | MessageChannel::Webhook => return Err("this channel cannot be asked".to_owned()),
        };
        let url = self.url(&format!("{resource}/{provider_id}"))?;
        let Fetched { status, error_code, answered_by } = self.get(url).await?;
        let error = error_code.filter(|code| *code != 0);
        let progress = match call {
            true => callback::call_progress(Some(&status), answered_by.as_deref(), error),
            false => callback::sms_progress(&status, error),
        };
        progress.map_err(|error| error.to_string())
    }

    async fn list<T: serde::de::DeserializeOwned>(&self, resource: &str, message: &OutboxMessage) -> Result<T, String> {
        let mut url = self.url(resource)?;
        url.query_pairs_mut().append_pair("To", &message.receiver.address).append_pair("PageSize", "100");
        self.get(url).await
    }

    fn url(&self, resource: &str) -> Result<reqwest::Url, String> {
        reqwest::Url::parse(&self.resource(resource)).map_err(|error| error.to_string())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: reqwest::Url) -> Result<T, String> {
        let response = self
            .http
            .get(url)
            .basic_auth(&self.config.account_sid, Some(self.token()))
            .send()
            .await
            .map_err(|error| http::chain(&error))?;
        let status = response.status();
        let body = http::body(response).await?;
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}

/// The provider writes times as in e-mail headers: `Fri, 24 May 2019 17:44:46 +0000`.
fn created(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().into())
}

/// What follows when it is not known whether a message went: `None` sends it again.
pub(crate) fn send_again(message: &OutboxMessage, why: &str) -> Option<Outcome> {
    match message.content.purpose {
        Purpose::Page | Purpose::CareLink | Purpose::StandDown | Purpose::Answer => {
            tracing::info!(message.id = %message.id, why, "an attempt got no answer; sending again");
            None
        }
        Purpose::Progress | Purpose::Notice | Purpose::Update => Some(Outcome::Dead {
            reason: format!("an attempt got no answer and {why}; news is not repeated, it may have arrived"),
        }),
    }
}

/// What a refusal means.
fn refused(status: u16, after: Option<Duration>, error: &ApiError) -> Outcome {
    let reason = match error.code {
        Some(number) => {
            let words = code::sentence(number).unwrap_or(&error.message);
            format!("the provider answered {status}, error {number}: {words}")
        }
        None => format!("the provider answered {status}"),
    };
    let operator = |reason: String| {
        tracing::error!(error = %reason, "the SMS and voice provider refuses requests; messages wait until this is mended");
        Outcome::Retry { after, reason }
    };
    match (status, error.code.and_then(code::class)) {
        (429, _) => Outcome::Retry { after, reason },
        // The request may have been carried out before the provider failed.
        (500..=599 | 408, _) => Outcome::Unknown { reason },
        (_, Some(Class::Temporary)) => Outcome::Retry { after, reason },
        (401 | 403, None) => operator(format!(
            "{reason}: the login was refused; check account_sid and auth_token_file in [notify.twilio]"
        )),
        (_, Some(Class::Operator)) => operator(reason),
        (_, Some(Class::Permanent)) => Outcome::Dead { reason },
        // A code we do not know, about the request itself: repeating it unchanged cannot help.
        (400 | 422, None) if error.code.is_some() => Outcome::Dead { reason },
        // A proxy, a wrong address, a redirect: the provider itself has not spoken.
        (_, None) => operator(format!("{reason}: check base_url and account_sid in [notify.twilio]")),
    }
}

#[cfg(test)]
mod tests;
