//! Slows down the guessing of passwords.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};
use model::Timestamp;
use sha2::{Digest, Sha256};

use crate::limiter::Limiter;

/// Wrong passwords for one user name before it has to wait.
const PER_USER: u32 = 10;
/// Wrong passwords from one peer before it has to wait. Higher: a whole office may share an address.
const PER_PEER: u32 = 50;
/// How long until they may try again.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How many names and peers are remembered.
const REMEMBERED: usize = 20_000;

/// Counts failed logins per user name and per peer.
#[derive(Debug)]
pub(crate) struct Throttle {
    users: Limiter<[u8; 32]>,
    peers: Limiter<IpAddr>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { users: Limiter::new(PER_USER, WINDOW, REMEMBERED), peers: Limiter::new(PER_PEER, WINDOW, REMEMBERED) }
    }
}

/// Names are kept as hashes: all of one size, whatever was sent.
fn user_key(username: &str) -> [u8; 32] {
    Sha256::digest(username.to_lowercase().as_bytes()).into()
}

impl Throttle {
    /// Counts an attempt before it is checked, so that many at once are counted as many.
    ///
    /// # Errors
    /// How long to wait.
    pub fn attempt(&self, username: &str, peer: Peer, now: Timestamp) -> Result<(), Duration> {
        let key = peer.key();
        self.peers.take(&key, now)?;
        self.users.take(&user_key(username), now).inspect_err(|_| self.peers.give_back(&key))
    }

    /// The attempt succeeded: it is not held against anybody.
    pub fn succeeded(&self, username: &str, peer: Peer) {
        self.users.forget(&user_key(username));
        self.peers.give_back(&peer.key());
    }
}

/// The address at the other end of the connection. No header is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(Option<IpAddr>);

impl Peer {
    /// What is counted: the address, or the network of an IPv6 address (a single host has 2^64 of them).
    fn key(self) -> IpAddr {
        match self.0 {
            None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Some(IpAddr::V4(v4)) => IpAddr::V4(v4),
            Some(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            },
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_secs(0)
    }

    fn peer(text: &str) -> Peer {
        Peer(Some(text.parse().unwrap()))
    }

    #[test]
    fn a_name_is_throttled_from_everywhere_and_a_peer_for_every_name() {
        let throttle = Throttle::default();
        for n in 0..PER_USER {
            assert!(throttle.attempt("Ann", peer(&format!("10.0.0.{n}")), now()).is_ok());
        }
        assert!(throttle.attempt("ann", peer("10.1.1.1"), now()).is_err(), "whatever the case");
        for n in 0..PER_PEER {
            assert!(throttle.attempt(&format!("user{n}"), peer("10.2.2.2"), now()).is_ok());
        }
        assert!(throttle.attempt("other", peer("10.2.2.2"), now()).is_err());
        assert!(throttle.attempt("other", peer("10.2.2.3"), now()).is_ok());
    }

    #[test]
    fn success_wipes_the_slate() {
        let throttle = Throttle::default();
        for _ in 0..3 * PER_PEER {
            assert!(throttle.attempt("ann", peer("10.0.0.1"), now()).is_ok());
            throttle.succeeded("ann", peer("10.0.0.1"));
        }
    }

    #[test]
    fn one_ipv6_network_is_one_peer() {
        assert_eq!(peer("2001:db8::1").key(), peer("2001:db8::ffff:1").key());
        assert_ne!(peer("2001:db8::1").key(), peer("2001:db8:0:1::1").key());
        assert_eq!(peer("::ffff:10.0.0.1").key(), peer("10.0.0.1").key());
    }
}
