//! The `[notify]` section of the configuration.

use std::{fmt, fs, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

/// How people are reached. A channel without its section is not available: messages on it end as dead, with a reason
/// that names the missing section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// Where the hub can be reached from outside, such as `https://lift.example.org`: the base of callback addresses.
    /// Not a key of this section: the hub fills it in from `board.public_url`.
    #[serde(skip)]
    pub public_url: String,
    /// SMS and voice.
    pub twilio: Option<TwilioConfig>,
    /// E-mail.
    pub smtp: Option<SmtpConfig>,
    /// Signed HTTP requests.
    pub webhook: Option<WebhookConfig>,
}

/// A Twilio account, or any provider that speaks Twilio's HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwilioConfig {
    /// The API's address.
    #[serde(default = "twilio_url")]
    pub base_url: String,
    /// The account, `AC…`.
    pub account_sid: String,
    /// The account's token. Set it from the environment, or name a file in `auth_token_file`.
    #[serde(default)]
    pub auth_token: Option<Secret>,
    /// A file that holds the account's token.
    #[serde(default)]
    pub auth_token_file: Option<PathBuf>,
    /// A file that holds the other token while tokens are being rotated: callbacks signed with it are accepted too.
    #[serde(default)]
    pub secondary_auth_token_file: Option<PathBuf>,
    /// The number that messages and calls come from, in E.164 form, or a messaging service (`MG…`) for SMS.
    pub from: String,
    /// The number that calls come from, if `from` is a messaging service or cannot call.
    #[serde(default)]
    pub voice_from: Option<String>,
    /// How long to wait for an answer of the API.
    #[serde(default = "fifteen_seconds", with = "model::duration")]
    pub timeout: Duration,
    /// How long a called telephone rings.
    #[serde(default = "thirty_seconds", with = "model::duration")]
    pub ring: Duration,
    /// Ask the provider whether a human or a machine answered a call. Without it a call counts as delivered only
    /// when a key is pressed.
    #[serde(default = "yes")]
    pub detect_machines: bool,
    /// Prefixes of numbers that cannot answer an SMS: messages to them do not ask for a reply.
    #[serde(default = "one_way_prefixes")]
    pub one_way_prefixes: Vec<String>,
    /// Prefixes of numbers whose carriers drop SMS that hold links: messages to them hold none.
    #[serde(default = "no_link_prefixes")]
    pub no_link_prefixes: Vec<String>,
}

/// A mail server that takes our e-mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Its name.
    pub host: String,
    /// Its port; without it 25, 587 or 465 by `security`.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: SmtpSecurity,
    /// The login, if it wants one.
    #[serde(default)]
    pub username: Option<String>,
    /// The login's password. Set it from the environment, or name a file in `password_file`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file that holds the login's password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The sender, `Liftline <lift@example.org>`.
    pub from: String,
    /// How long one sending may take.
    #[serde(default = "thirty_seconds", with = "model::duration")]
    pub timeout: Duration,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    /// Not at all: only for a server on the same machine or network.
    None,
    /// It starts in the clear and must change to TLS before anything is said.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// How webhooks are signed and where they may go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The signing secret, `whsec_` and 24 to 64 bytes in base64. Set it from the environment, or name a file.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// A file that holds the signing secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// A file that holds the secret before or after this one, while it is being changed: requests carry both signatures.
    #[serde(default)]
    pub secondary_secret_file: Option<PathBuf>,
    /// How long to wait for an answer.
    #[serde(default = "fifteen_seconds", with = "model::duration")]
    pub timeout: Duration,
    /// Allow plain `http` and addresses of this machine and of private networks.
    #[serde(default)]
    pub allow_private: bool,
}

/// A secret text; it does not show itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the place that must use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// A value is missing or wrong.
    #[error("[notify{section}] {sentence}")]
    Config {
        /// The part of the section, such as `.twilio`.
        section: &'static str,
        /// What is wrong and what to write instead.
        sentence: String,
    },
    /// A file that holds a secret cannot be read.
    #[error("[notify{section}] the file {} cannot be read: check that it exists and that the hub may read it", path.display())]
    SecretFile {
        /// The part of the section.
        section: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error(
        "the HTTP client cannot be made: check that the system's CA certificates are installed (package ca-certificates)"
    )]
    HttpClient(#[source] reqwest::Error),
    /// The connection to the mail server cannot be prepared.
    #[error("[notify.smtp] the connection to \"{host}\" cannot be prepared: check that host is a server name")]
    Smtp {
        /// The server.
        host: String,
        /// Why.
        #[source]
        source: lettre::transport::smtp::Error,
    },
}

pub(crate) fn wrong(section: &'static str, sentence: impl Into<String>) -> NotifyError {
    NotifyError::Config { section, sentence: sentence.into() }
}

impl NotifyConfig {
    /// Checks the section and reads the files it names; opens no connection.
    ///
    /// # Errors
    /// [`NotifyError`] with a sentence that names the key and says what to write.
    pub fn validate(&self) -> Result<(), NotifyError> {
        if self.twilio.is_some() || !self.public_url.is_empty() {
            check_url("", "board.public_url", &self.public_url)?;
        }
        if let Some(twilio) = &self.twilio {
            twilio.validate()?;
        }
        if let Some(smtp) = &self.smtp {
            smtp.validate()?;
        }
        if let Some(webhook) = &self.webhook {
            webhook.keys()?;
            check_span(".webhook", "timeout", webhook.timeout)?;
        }
        Ok(())
    }

    /// The public URL without a slash at its end.
    pub(crate) fn public_base(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }
}

impl TwilioConfig {
    const SECTION: &str = ".twilio";

    fn validate(&self) -> Result<(), NotifyError> {
        check_url(Self::SECTION, "base_url", &self.base_url)?;
        if self.account_sid.is_empty() || !self.account_sid.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(wrong(Self::SECTION, "account_sid must be the account's id, \"AC\" and 32 letters and digits"));
        }
        let service = self.from.starts_with("MG") && self.from.len() == 34;
        if !service && !is_e164(&self.from) {
            let text = format!(
                "from \"{}\" is not a number such as \"+442071838750\" or a messaging service \"MG…\"",
                self.from
            );
            return Err(wrong(Self::SECTION, text));
        }
        if let Some(number) = &self.voice_from
            && !is_e164(number)
        {
            let text = format!("voice_from \"{number}\" is not a number such as \"+442071838750\"");
            return Err(wrong(Self::SECTION, text));
        }
        check_span(Self::SECTION, "timeout", self.timeout)?;
        if !(5..=600).contains(&self.ring.as_secs()) {
            return Err(wrong(Self::SECTION, "ring must lie between \"5s\" and \"10m\""));
        }
        self.tokens().map(|_| ())
    }

    /// The token to log in with and, while tokens are rotated, the other one.
    pub(crate) fn tokens(&self) -> Result<Vec<Secret>, NotifyError> {
        let first = one_secret(Self::SECTION, "auth_token", self.auth_token.as_ref(), self.auth_token_file.as_ref())?
            .ok_or_else(|| {
            wrong(Self::SECTION, "auth_token_file is missing: name a file that holds the account's token")
        })?;
        let mut tokens = vec![first];
        if let Some(path) = &self.secondary_auth_token_file {
            tokens.push(read_secret(Self::SECTION, path)?);
        }
        Ok(tokens)
    }
}

impl SmtpConfig {
    const SECTION: &str = ".smtp";

    fn validate(&self) -> Result<(), NotifyError> {
        if self.host.is_empty() || self.host.contains("://") {
            return Err(wrong(Self::SECTION, "host must be the mail server's name, such as \"mail.example.org\""));
        }
        if self.sender().is_none() {
            let text = format!("from \"{}\" is not a sender such as \"Liftline <lift@example.org>\"", self.from);
            return Err(wrong(Self::SECTION, text));
        }
        check_span(Self::SECTION, "timeout", self.timeout)?;
        self.login().map(|_| ())
    }

    /// The sender, read.
    pub(crate) fn sender(&self) -> Option<lettre::message::Mailbox> {
        self.from.parse().ok()
    }

    /// The login and its password.
    pub(crate) fn login(&self) -> Result<Option<(String, Secret)>, NotifyError> {
        let password = one_secret(Self::SECTION, "password", self.password.as_ref(), self.password_file.as_ref())?;
        match (&self.username, password) {
            (Some(username), Some(password)) => Ok(Some((username.clone(), password))),
            (Some(_), None) => Err(wrong(Self::SECTION, "username is set but no password: add password_file")),
            (None, Some(_)) => Err(wrong(Self::SECTION, "a password is set but no username: add username")),
            (None, None) => Ok(None),
        }
    }
}

impl WebhookConfig {
    const SECTION: &str = ".webhook";

    /// The signing keys, the present one first.
    pub(crate) fn keys(&self) -> Result<Vec<Vec<u8>>, NotifyError> {
        let first =
            one_secret(Self::SECTION, "secret", self.secret.as_ref(), self.secret_file.as_ref())?.ok_or_else(|| {
                wrong(Self::SECTION, "secret_file is missing: name a file that holds a secret \"whsec_…\"")
            })?;
        let mut keys = vec![webhook_key(&first)?];
        if let Some(path) = &self.secondary_secret_file {
            keys.push(webhook_key(&read_secret(Self::SECTION, path)?)?);
        }
        Ok(keys)
    }
}

fn webhook_key(secret: &Secret) -> Result<Vec<u8>, NotifyError> {
    let encoded = secret.reveal().strip_prefix("whsec_");
    let key = encoded.and_then(|text| BASE64_STANDARD.decode(text).ok());
    key.filter(|key| (24..=64).contains(&key.len())).ok_or_else(|| {
        wrong(WebhookConfig::SECTION, "the secret must be \"whsec_\" and 24 to 64 random bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)")
    })
}

/// True for `+` and 8 to 15 digits.
#[must_use]
pub fn is_e164(number: &str) -> bool {
    number
        .strip_prefix('+')
        .is_some_and(|digits| (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn check_url(section: &'static str, key: &str, url: &str) -> Result<(), NotifyError> {
    let parsed = reqwest::Url::parse(url).ok();
    match parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some()) {
        Some(parsed) if parsed.query().is_none() && parsed.fragment().is_none() => Ok(()),
        Some(_) | None => {
            Err(wrong(section, format!("{key} \"{url}\" is not an address such as \"https://lift.example.org\"")))
        }
    }
}

fn check_span(section: &'static str, key: &str, span: Duration) -> Result<(), NotifyError> {
    if (Duration::from_millis(1)..=Duration::from_secs(120)).contains(&span) {
        Ok(())
    } else {
        Err(wrong(section, format!("{key} must lie between \"1ms\" and \"2m\"")))
    }
}

fn one_secret(
    section: &'static str,
    key: &str,
    value: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<Option<Secret>, NotifyError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(wrong(section, format!("{key} and {key}_file are both set: keep one"))),
        (Some(value), None) if value.reveal().trim().is_empty() => Err(wrong(section, format!("{key} is empty"))),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(path)) => read_secret(section, path).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_secret(section: &'static str, path: &PathBuf) -> Result<Secret, NotifyError> {
    let text =
        fs::read_to_string(path).map_err(|source| NotifyError::SecretFile { section, path: path.clone(), source })?;
    match text.trim() {
        "" => Err(wrong(section, format!("the file {} is empty: it must hold the secret", path.display()))),
        text => Ok(Secret::new(text)),
    }
}

fn twilio_url() -> String {
    "https://api.twilio.com".to_owned()
}

fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn yes() -> bool {
    true
}

/// Where two-way SMS does not exist or does not work through Twilio (GoAlert's list).
fn one_way_prefixes() -> Vec<String> {
    ["+91", "+86", "+84", "+502", "+506", "+507"].map(str::to_owned).to_vec()
}

fn no_link_prefixes() -> Vec<String> {
    vec!["+86".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &serde_json::Value) -> String {
        let mut json = json.clone();
        let public_url = json.as_object_mut().and_then(|section| section.remove("public_url"));
        match serde_json::from_value::<NotifyConfig>(json) {
            Ok(config) => NotifyConfig {
                public_url: public_url.as_ref().and_then(|url| url.as_str()).unwrap_or_default().to_owned(),
                ..config
            }
            .validate()
            .map_or_else(|error| error.to_string(), |()| "ok".to_owned()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_remedy() {
        use serde_json::json;
        let twilio = |key: &str, value: &str| {
            let mut section = json!({"account_sid": "AC1", "auth_token": "t", "from": "+442071838750"});
            section[key] = json!(value);
            json!({"public_url": "https://lift.example.org", "twilio": section})
        };
        assert_eq!(check(&twilio("from", "+442071838750")), "ok");
        for (config, says) in [
            (twilio("from", "Liftline"), "messaging service"),
            (twilio("base_url", "api.twilio.com"), "base_url \"api.twilio.com\" is not an address"),
            (twilio("auth_token_file", "/nowhere"), "both set"),
            (twilio("auth_tokn", "x"), "unknown field `auth_tokn`"),
            (twilio("timeout", "1h"), "between"),
            (twilio("timeout", "soon"), "is not a duration"),
            (json!({"twilio": {"account_sid": "AC1", "auth_token": "t", "from": "+442071838750"}}), "public_url"),
            (
                json!({"public_url": "https://x.org", "twilio": {"account_sid": "AC1", "from": "+442071838750"}}),
                "auth_token_file",
            ),
            (json!({"smtp": {"host": "mail", "from": "nobody"}}), "Liftline <lift@example.org>"),
            (json!({"smtp": {"host": "mail", "from": "a@b.org", "username": "u"}}), "add password_file"),
            (json!({"smtp": {"host": "mail", "from": "a@b.org", "password_file": "/no/such/file"}}), "/no/such/file"),
            (json!({"webhook": {"secret": "hunter2"}}), "whsec_"),
            (json!({"webhook": {}}), "secret_file is missing"),
        ] {
            let found = check(&config);
            assert!(found.contains(says), "{config}: {found}");
        }
        assert_eq!(check(&json!({"webhook": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})), "ok");
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let shown = format!("{:?}", Secret::new("hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
