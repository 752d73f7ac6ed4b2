//! Signed HTTP requests after the Standard Webhooks specification.
//!
//! The id stays the same over all attempts, so that the receiver can tell a repetition: an attempt without an
//! answer is therefore simply made again. Only 2xx is success; redirects are not followed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use model::{OutboxMessage, Outcome, Timestamp};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use sha2::Sha256;

use crate::{
    config::{NotifyError, WebhookConfig},
    http,
};

/// Sends webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    http: reqwest::Client,
    keys: Vec<Vec<u8>>,
    allow_private: bool,
}

impl Webhooks {
    /// A sender; opens no connection yet.
    ///
    /// # Errors
    /// [`NotifyError`] if a secret cannot be read or the HTTP client not be made.
    pub fn new(config: &WebhookConfig) -> Result<Self, NotifyError> {
        http::ensure_tls_provider();
        let mut builder = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("liftline");
        if !config.allow_private {
            // The check sits where names become addresses, so that a name cannot answer differently later. A proxy
            // would resolve names itself.
            builder = builder.no_proxy().dns_resolver(Arc::new(PublicOnly));
        }
        let http = builder.build().map_err(NotifyError::HttpClient)?;
        Ok(Self { http, keys: config.keys()?, allow_private: config.allow_private })
    }

    /// Sends one message.
    pub async fn send(&self, message: &OutboxMessage, body: &serde_json::Value, now: Timestamp) -> Outcome {
        let dead = |reason: &str| Outcome::Dead { reason: reason.to_owned() };
        let Ok(url) = reqwest::Url::parse(&message.receiver.address) else {
            return dead("the webhook's address is not a URL: correct it in the person's contact methods");
        };
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            _ => return dead("the webhook's address must begin with https://"),
        }
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if !self.allow_private && literal.is_some_and(|ip| !is_public(ip)) {
            return dead(
                "the webhook's address lies in a private network: set allow_private in [notify.webhook] to allow it",
            );
        }
        let id = format!("msg_{}", message.id.0.simple());
        let seconds = now.as_millis() / 1000;
        let body = body.to_string();
        let response = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signatures(&self.keys, &id, seconds, body.as_bytes()))
            .body(body)
            .send()
            .await;
        let response = match response {
            Ok(response) => response,
            Err(error) => return Outcome::Retry { after: None, reason: http::chain(&error) },
        };
        let status = response.status();
        match status.as_u16() {
            200..=299 => Outcome::Sent { provider_id: id },
            410 => dead("the webhook's receiver says that it is gone for good (410)"),
            _ => Outcome::Retry {
                after: http::retry_after(&response),
                reason: format!("the webhook's receiver answered {status}; only 2xx counts as received"),
            },
        }
    }
}

/// The value of `webhook-signature`: one signature per key, for receivers that still hold the other secret.
#[must_use]
pub fn signatures(keys: &[Vec<u8>], id: &str, seconds: i64, body: &[u8]) -> String {
    let sign = |key: &Vec<u8>| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    };
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// Resolves names to addresses of the public internet only.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(
                    "the name leads to a private network: set allow_private in [notify.webhook] to allow it".into()
                );
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

/// True for addresses that may be reached from anywhere.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            if let Some(inner) = ip.to_ipv4_mapped() {
                return is_public_v4(inner);
            }
            let first = ip.segments()[0];
            // Global unicast is 2000::/3; the translation prefixes 2002::/16 and 64:ff9b::/96 can hide others.
            (0x2000..=0x3fff).contains(&first) && first != 0x2002
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || shared
        || benchmark
        || a == 0
        || a >= 240)
}

#[cfg(test)]
mod tests;
