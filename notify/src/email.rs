//! E-mail over SMTP.
//!
//! The Message-ID comes from the outbox id and stays the same over all attempts, so that mail programs show a
//! repetition once. A server's "250" means queued, not read: e-mail is never reported as delivered.

use std::time::{Duration, SystemTime};

use lettre::{
    Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        extension::ClientId,
    },
};
use model::{OutboxMessage, Outcome};

use crate::{
    config::{NotifyError, SmtpConfig, SmtpSecurity, wrong},
    http,
};

/// How long to wait for the answer to a farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// Sends e-mail, one connection for each: what fails before the mail is handed over has certainly not been sent, and
/// no connection is left behind.
#[derive(Clone)]
pub struct Mailer {
    host: String,
    port: u16,
    protection: Protection,
    login: Option<Credentials>,
    sender: Mailbox,
    timeout: Duration,
}

#[derive(Clone)]
enum Protection {
    None,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

impl Mailer {
    /// A sender; opens no connection yet.
    ///
    /// # Errors
    /// [`NotifyError`] if the password cannot be read or the settings cannot be used.
    pub fn new(config: &SmtpConfig) -> Result<Self, NotifyError> {
        http::ensure_tls_provider();
        let sender = config.sender().ok_or_else(|| wrong(".smtp", "from is not a sender"))?;
        let tls = || {
            TlsParameters::new(config.host.clone())
                .map_err(|source| NotifyError::Smtp { host: config.host.clone(), source })
        };
        let (protection, port) = match config.security {
            SmtpSecurity::None => (Protection::None, 25),
            SmtpSecurity::StartTls => (Protection::StartTls(tls()?), 587),
            SmtpSecurity::Tls => (Protection::Tls(tls()?), 465),
        };
        let login = config.login()?.map(|(user, password)| Credentials::new(user, password.reveal().to_owned()));
        let port = config.port.unwrap_or(port);
        Ok(Self { host: config.host.clone(), port, protection, login, sender, timeout: config.timeout })
    }

    /// Sends one message.
    pub async fn send(&self, message: &OutboxMessage, subject: &str, text: &str, html: &str) -> Outcome {
        let mail = match self.build(message, subject, text, html) {
            Ok(mail) => mail,
            Err(reason) => return Outcome::Dead { reason },
        };
        let mut connection = match tokio::time::timeout(self.timeout, self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) if is_login(&error) => return login_refused(&error),
            Ok(Err(error)) => return retry(format!("the mail server cannot be reached: {}", http::chain(&error))),
            Err(_) => return retry("the mail server cannot be reached in time".to_owned()),
        };
        let bytes = mail.formatted();
        let sent = tokio::time::timeout(self.timeout, connection.send(mail.envelope(), &bytes)).await;
        let outcome = match sent {
            Ok(Ok(_)) => Outcome::Sent { provider_id: self.message_id(message) },
            Ok(Err(error)) if is_login(&error) => login_refused(&error),
            Ok(Err(error)) if error.is_permanent() || error.is_client() => {
                Outcome::Dead { reason: format!("the mail server refused it: {}", http::chain(&error)) }
            }
            Ok(Err(error)) if error.is_transient() => {
                retry(format!("the mail server asks to wait: {}", http::chain(&error)))
            }
            Ok(Err(error)) => Outcome::Unknown { reason: http::chain(&error) },
            Err(_) => Outcome::Unknown { reason: "the mail server did not answer in time".to_owned() },
        };
        // A farewell that is not answered changes nothing about the mail.
        drop(tokio::time::timeout(FAREWELL, connection.abort()).await);
        outcome
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let name = ClientId::default();
        let wrapper = match &self.protection {
            Protection::Tls(tls) => Some(tls.clone()),
            Protection::None | Protection::StartTls(_) => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &name, wrapper, None).await?;
        if let Protection::StartTls(tls) = &self.protection {
            // Fails if the server does not offer it: nothing is ever said in the clear.
            connection.starttls(tls.clone(), &name).await?;
        }
        if let Some(login) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, login).await?;
        }
        Ok(connection)
    }

    /// The Message-ID: the outbox id at the sender's domain.
    #[must_use]
    pub fn message_id(&self, message: &OutboxMessage) -> String {
        format!("<{}@{}>", message.id, self.sender.email.domain())
    }

    fn build(&self, message: &OutboxMessage, subject: &str, text: &str, html: &str) -> Result<Message, String> {
        let to: Mailbox = message.receiver.address.parse().map_err(|_| {
            format!(
                "\"{}\" is not an e-mail address: correct it in the person's contact methods",
                message.receiver.address
            )
        })?;
        let micros = u64::try_from(message.created_at.as_micros()).unwrap_or(0);
        let header = |name| HeaderName::new_from_ascii_str(name);
        let mut builder = Message::builder()
            .from(self.sender.clone())
            .to(to)
            .subject(subject.replace(['\r', '\n'], " "))
            .message_id(Some(self.message_id(message)))
            .date(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
            // Out-of-office programs answer no automatic mail.
            .raw_header(HeaderValue::new(header("Auto-Submitted"), "auto-generated".to_owned()));
        if let Some(ticket) = message.ticket {
            // Mail programs show all e-mails of a ticket as one thread.
            builder = builder.references(format!("<ticket-{ticket}@{}>", self.sender.email.domain()));
        }
        if message.life_safety {
            builder = builder.raw_header(HeaderValue::new(header("Importance"), "high".to_owned()));
        }
        builder
            .multipart(MultiPart::alternative_plain_html(text.to_owned(), html.to_owned()))
            .map_err(|error| format!("the e-mail cannot be built: {error}"))
    }
}

fn login_refused(error: &Error) -> Outcome {
    let reason = format!(
        "the mail server refused the login: check username and password_file in [notify.smtp] ({})",
        http::chain(error)
    );
    tracing::error!(error = %reason, "e-mail waits until this is mended");
    retry(reason)
}

fn retry(reason: String) -> Outcome {
    Outcome::Retry { after: None, reason }
}

/// Refusals that concern our login, not the message: RFC 4954 codes 530, 534, 535 and 538.
fn is_login(error: &Error) -> bool {
    error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538))
}

#[cfg(test)]
mod tests;
