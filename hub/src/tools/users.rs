//! `liftline user add`: logins to the board.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, anyhow, bail};
use model::{Language, OrgId, Timestamp};
use store::{AuditActor, NewUser, Store, User, UserRole};

/// The least length of a password (NIST SP 800-63B asks for at least eight; this is for people who can page others).
const MIN_PASSWORD: usize = 12;

/// Who is added.
#[derive(Debug)]
pub struct NewLogin {
    /// The organisation.
    pub org: OrgId,
    /// The login name.
    pub username: String,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// The language of the board.
    pub language: Language,
}

/// Adds a user with a password read from the first line of standard input.
///
/// # Errors
/// If the password is too short, the name is taken or the store fails.
pub async fn add(store: &Store, login: NewLogin, now: Timestamp) -> anyhow::Result<User> {
    let password = read_password()?;
    let hash = tokio::task::spawn_blocking(move || board::hash_password(&password))
        .await
        .context("hashing the password")??;
    let user = NewUser {
        org: login.org,
        username: login.username,
        name: login.name,
        role: login.role,
        language: login.language,
        password_hash: Some(hash),
    };
    store.create_user(&user, &AuditActor::CommandLine, now).await.context("adding the user")
}

fn read_password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Type the password (it is shown; pipe it in to avoid that) and press Enter:");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("reading the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.chars().count() < MIN_PASSWORD {
        bail!("the password has fewer than {MIN_PASSWORD} characters; pipe a longer one to standard input");
    }
    Ok(password.to_owned())
}

/// Reads a role by its name.
///
/// # Errors
/// If there is no such role.
pub fn role(text: &str) -> anyhow::Result<UserRole> {
    UserRole::ALL
        .into_iter()
        .find(|role| role.code() == text)
        .ok_or_else(|| anyhow!("unknown role \"{text}\"; use {}", UserRole::ALL.map(UserRole::code).join(", ")))
}
