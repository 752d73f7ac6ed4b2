//! The `[board]` section of the configuration.

use std::time::Duration;

use serde::Deserialize;

/// How the board is reached and how long people stay logged in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoardConfig {
    /// The address at which people reach the hub, such as `https://lifts.example.org`. Cookies are marked `Secure`
    /// if it starts with `https://`.
    pub public_url: String,
    /// How long a session lasts after it was last used.
    #[serde(with = "model::duration")]
    pub session_ttl: Duration,
    /// The number that an affected person is told to call in danger; without one the page names the usual ones.
    pub emergency_number: Option<String>,
    /// How many live streams (board and care pages together) may be open at once.
    pub max_streams: usize,
}

impl Default for BoardConfig {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:8080".to_owned(),
            session_ttl: Duration::from_secs(12 * 3600),
            emergency_number: None,
            max_streams: 2_000,
        }
    }
}

impl BoardConfig {
    /// True if people reach the board over TLS, so that cookies must not travel without it.
    #[must_use]
    pub fn secure_cookies(&self) -> bool {
        self.public_url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    }
}
