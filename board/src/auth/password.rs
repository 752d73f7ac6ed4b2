//! Passwords: argon2id, in the form that the store keeps.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

/// The shortest password accepted, in characters.
pub const MIN_PASSWORD: usize = 10;

/// The longest password accepted, in bytes: more would only cost time.
pub const MAX_PASSWORD: usize = 256;

/// A hash of nothing in particular, with the parameters of [`hash_password`]: what is checked for unknown users,
/// so that they take as long to refuse as known ones.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bGlmdGxpbmUgbm9ib2R5IQ$ZXZlcnkgZ3Vlc3MgYXQgbm9ib2R5IGlzIHdyb25nISE";

/// Why a password cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is too short.
    #[error("the password has fewer than {MIN_PASSWORD} characters; choose a longer one")]
    TooShort,
    /// It is too long.
    #[error("the password has more than {MAX_PASSWORD} bytes; choose a shorter one")]
    TooLong,
    /// The hash could not be computed.
    #[error("the password could not be hashed; try again")]
    Hash(#[source] argon2::password_hash::Error),
}

/// Hashes a password for the store. Takes some tens of milliseconds and 19 MiB: not for async code.
///
/// # Errors
/// [`PasswordError`] if the password is too short or too long, or the system gives no randomness.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(PasswordError::TooShort);
    }
    if password.len() > MAX_PASSWORD {
        return Err(PasswordError::TooLong);
    }
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(PasswordError::Hash)?;
    Ok(hash.to_string())
}

/// Whether the password is the one that was hashed. Without a hash it takes as long and says no.
pub(crate) fn verify(password: &str, hash: Option<&str>) -> bool {
    let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
    let is_known = known.is_some();
    let Some(hash) = known.or_else(|| PasswordHash::new(NOBODY).ok()) else {
        return false;
    };
    let fits = password.len() <= MAX_PASSWORD;
    let password = if fits { password.as_bytes() } else { b"" };
    Argon2::default().verify_password(password, &hash).is_ok() && is_known && fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_fits_and_nobody_can_log_in_as_nobody() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert_ne!(hash, hash_password("correct horse").unwrap(), "salted");
        assert!(verify("correct horse", Some(&hash)));
        assert!(!verify("Correct horse", Some(&hash)));
        assert!(!verify("", None));
        assert!(!verify("every guess at nobody is wrong!!", None));
        assert!(!verify("correct horse", Some("not a hash")));
    }

    #[test]
    fn refusing_nobody_costs_as_much_as_refusing_somebody() {
        let cost = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
        assert_eq!(cost(NOBODY), cost(&hash_password("correct horse").unwrap()));
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[test]
    fn lengths_are_checked_with_a_remedy() {
        assert!(hash_password("short").unwrap_err().to_string().contains("longer"));
        assert!(hash_password(&"x".repeat(300)).unwrap_err().to_string().contains("shorter"));
        assert!(hash_password("电梯电梯电梯电梯电梯").is_ok());
    }
}
