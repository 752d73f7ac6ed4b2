//! The pretend phone network of the demo, on a web server of its own.

use std::{sync::Arc, time::Duration};

use hub::{
    clock::SystemClock,
    demo::phones::{PhoneConfig, PhoneNetwork},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::SOON;

/// The hub's own number.
pub const HUB_NUMBER: &str = "+15550100000";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "a token for the tests";

/// A running phone network.
pub struct Phones {
    /// What arrives and what people do.
    pub network: PhoneNetwork,
    port: u16,
    folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Phones {
    /// Starts one.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start() -> Self {
        let network = PhoneNetwork::bind(PhoneConfig {
            account_sid: ACCOUNT.to_owned(),
            auth_token: TOKEN.to_owned(),
            hub_number: HUB_NUMBER.to_owned(),
            pace: Duration::from_millis(20),
            patience: Some(SOON),
            clock: Arc::new(SystemClock),
        })
        .await
        .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        let mut tasks = JoinSet::new();
        let router = network.router();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let running = network.clone();
        tasks.spawn(async move { running.run(CancellationToken::new()).await.unwrap() });
        Self { network, port, folder, _tasks: tasks }
    }

    /// The hub's configuration for it.
    #[must_use]
    pub fn config(&self) -> String {
        format!(
            "[notify.twilio]\nbase_url = \"http://127.0.0.1:{}\"\naccount_sid = \"{ACCOUNT}\"\nauth_token_file = \"{}\"\nfrom = \"{HUB_NUMBER}\"\n",
            self.port,
            self.folder.path().join("token").display()
        )
    }

    /// Waits for an SMS that says `words` at a number and returns it.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn sms(&self, number: &str, words: &str, patience: Duration) -> String {
        let found = self
            .network
            .wait_for(patience, |network| {
                network.inbox(number).into_iter().find(|sms| sms.body.contains(words)).map(|sms| sms.body)
            })
            .await;
        found.unwrap_or_else(|| {
            let inbox: Vec<String> = self.network.inbox(number).into_iter().map(|sms| sms.body).collect();
            panic!("no SMS with \"{words}\" came to {number} within {patience:?}; it has {inbox:#?}")
        })
    }
}

/// The first link in a message.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn link(text: &str) -> String {
    let start = text.find("http://").unwrap_or_else(|| panic!("no link in {text:?}"));
    let end = text[start..].find(|c: char| c.is_whitespace() || !c.is_ascii()).map_or(text.len(), |end| start + end);
    text[start..end].trim_end_matches(['.', ',']).to_owned()
}

/// The reply that a page asks for, such as `1a`, without its letter.
///
/// # Panics
/// If the page names none.
#[must_use]
pub fn reply_code(page: &str) -> String {
    page.split(|c: char| !c.is_ascii_alphanumeric())
        .find_map(|word| {
            word.strip_suffix('a').filter(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
        })
        .unwrap_or_else(|| panic!("no reply code in {page:?}"))
        .to_owned()
}
