//! What the HTTP channels share: reading answers with a limit, and telling a request that never left from one whose
//! outcome is not known.

use std::time::Duration;

use model::Outcome;

/// How much of an answer is read, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Installs the TLS provider if the program has not done so.
pub(crate) fn ensure_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only if another thread installed one in between, which serves as well.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

/// What an error before an answer means.
pub(crate) fn failed(error: &reqwest::Error) -> Outcome {
    let reason = chain(error);
    if error.is_connect() || error.is_builder() {
        Outcome::Retry { after: None, reason }
    } else {
        Outcome::Unknown { reason }
    }
}

/// An error and its causes as one line, without the address (it may hold a secret).
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        let part = part.split(" for url (").next().unwrap_or_default().to_owned();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}

/// Reads an answer's body up to the limit.
pub(crate) async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= MAX_BODY => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(format!("the answer is longer than {MAX_BODY} bytes")),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err(chain(&error)),
        }
    }
}

/// The wait that an answer asks for, in whole seconds; dates are not understood and mean no wish.
pub(crate) fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let value = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
