//! Tokens: 128 random bits that open something, and the hash by which they are looked up.

use sha2::{Digest, Sha256};

use crate::{Result, StoreError};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A new token: 128 bits from the system, as 22 characters of base64url.
pub(crate) fn token() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(StoreError::Random)?;
    let bits = u128::from_be_bytes(bytes);
    // 22 groups of six bits hold 132: the first group has only the two highest bits.
    Ok((0..22).rev().map(|group| char::from(ALPHABET[((bits >> (group * 6)) & 63) as usize])).collect())
}

/// The SHA-256 of a token, as stored.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_fit_a_url() {
        let (one, two) = (token().unwrap(), token().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 22);
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(hash(&one).len(), 32);
    }
}
