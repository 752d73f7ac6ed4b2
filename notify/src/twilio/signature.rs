//! Signatures of callbacks: base64(HMAC-SHA1(token, address + sorted parameters)).

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// The signature of a form request to `url` with the decoded parameters `params`.
#[must_use]
pub fn signature(token: &str, url: &str, params: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = params.iter().collect();
    sorted.sort();
    sorted.dedup();
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(url.as_bytes());
    for (key, value) in sorted {
        mac.update(key.as_bytes());
        mac.update(value.as_bytes());
    }
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// True if `header` (`X-Twilio-Signature`) is the signature of this request by any of the tokens. The comparison
/// takes the same time wherever it fails. Providers sign the address with or without its port, so both are tried.
#[must_use]
pub fn verify_signature(tokens: &[&str], url: &str, params: &[(String, String)], header: &str) -> bool {
    let mut matches = subtle::Choice::from(0);
    for url in [Some(url.to_owned()), other_port_form(url)].into_iter().flatten() {
        for token in tokens.iter().filter(|token| !token.is_empty()) {
            matches |= signature(token, &url, params).as_bytes().ct_eq(header.as_bytes());
        }
    }
    matches.into()
}

/// The address without its port if it has one, with its scheme's port if it has none.
fn other_port_form(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let port = authority.rfind(':').filter(|at| authority[at + 1..].bytes().all(|b| b.is_ascii_digit()));
    match port {
        Some(at) => Some(format!("{scheme}://{}{path}", &authority[..at])),
        None => {
            let port = if scheme == "https" { 443 } else { 80 };
            Some(format!("{scheme}://{authority}:{port}{path}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Vec<(String, String)> {
        [
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    #[test]
    fn the_published_example_is_reproduced() {
        assert_eq!(signature("12345", URL, &params()), SIGNATURE);
        let mut shuffled = params();
        shuffled.reverse();
        assert_eq!(signature("12345", URL, &shuffled), SIGNATURE);
    }

    #[test]
    fn a_forged_or_altered_request_is_refused() {
        let verify = |tokens: &[&str], url: &str, params: &[(String, String)], header: &str| {
            verify_signature(tokens, url, params, header)
        };
        assert!(verify(&["12345"], URL, &params(), SIGNATURE));
        assert!(verify(&["new", "12345"], URL, &params(), SIGNATURE), "the token before the change still counts");
        assert!(verify(&["12345"], "https://mycompany.com:443/myapp.php?foo=1&bar=2", &params(), SIGNATURE));
        assert!(verify(&["12345"], "https://mycompany.com:8443/myapp.php?foo=1&bar=2", &params(), SIGNATURE));
        let with_port = signature("12345", "https://mycompany.com:443/myapp.php?foo=1&bar=2", &params());
        assert!(verify(&["12345"], URL, &params(), &with_port));
        assert!(!verify(&["12346"], URL, &params(), SIGNATURE));
        assert!(!verify(&[""], URL, &params(), &signature("", URL, &params())), "an empty token signs nothing");
        assert!(!verify(&["12345"], "https://mycompany.com/myapp.php?foo=1&bar=3", &params(), SIGNATURE));
        assert!(!verify(&["12345"], URL, &params()[1..], SIGNATURE));
        assert!(!verify(&["12345"], URL, &params(), ""));
        let mut pressed = params();
        pressed[2].1 = "4".to_owned();
        assert!(!verify(&["12345"], URL, &pressed, SIGNATURE));
    }
}
