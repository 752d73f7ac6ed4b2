//! Logins to the board: users, their sessions, one-time login links. Tokens are stored as hashes only.

use std::{fmt, time::Duration};

use model::{Language, OrgId, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{
    AuditActor, Result, Store, StoreError, audit,
    db::{DbTime, Tx, at, execute, fetch_all, fetch_optional, from_code, new_id, statements, text},
    secret,
};

macro_rules! columns {
    () => {
        "u.id, u.org, u.username, u.name, u.role, u.language, u.disabled_at"
    };
}

statements! {
    INSERT = both("
        INSERT INTO users (id, org, username, name, role, language, password_hash, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (username) DO NOTHING");
    FOR_LOGIN = both(concat!("
        SELECT ", columns!(), ", u.password_hash FROM users u WHERE u.username = $1 AND u.disabled_at IS NULL"));
    BY_ID = both(concat!("SELECT ", columns!(), " FROM users u WHERE u.org = $1 AND u.id = $2"));
    BY_NAME = both(concat!("SELECT ", columns!(), " FROM users u WHERE u.username = $1"));
    LIST = both(concat!("SELECT ", columns!(), " FROM users u WHERE u.org = $1 ORDER BY u.username"));
    SET_PASSWORD = both("UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING org, username");
    DISABLE = both("UPDATE users SET disabled_at = $3 WHERE id = $2 AND org = $1 AND disabled_at IS NULL");
    END_SESSIONS = both("DELETE FROM sessions WHERE user_id = $1");
    END_LINKS = both("DELETE FROM login_links WHERE user_id = $1");
    INSERT_SESSION = both("
        INSERT INTO sessions (id, user_id, token_sha256, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)");
    SESSION = both(concat!("
        SELECT ", columns!(), ", s.id, s.csrf, s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.token_sha256 = $1 AND s.expires_at > $2 AND u.disabled_at IS NULL"));
    // Only when it is worth a write: reads must not become writes.
    TOUCH_SESSION = both("UPDATE sessions SET expires_at = $2 WHERE token_sha256 = $1 AND expires_at < $3");
    END_SESSION = both("DELETE FROM sessions WHERE token_sha256 = $1");
    INSERT_LINK = both("INSERT INTO login_links (token_sha256, user_id, expires_at) VALUES ($1, $2, $3)");
    // Taking it is what makes it work once only.
    TAKE_LINK = both("
        DELETE FROM login_links WHERE token_sha256 = $1 AND expires_at > $2
            AND user_id IN (SELECT id FROM users WHERE disabled_at IS NULL) RETURNING user_id");
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRole {
    /// Everything in the organisation.
    Admin,
    /// Works the board.
    Dispatcher,
    /// Works on tickets.
    Technician,
    /// Reads.
    Viewer,
}

impl UserRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Dispatcher, Self::Technician, Self::Viewer];

    /// The name used in the API, on the command line and in the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Dispatcher => "dispatcher",
            Self::Technician => "technician",
            Self::Viewer => "viewer",
        }
    }
}

impl fmt::Display for UserRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::str::FromStr for UserRole {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.code() == text)
            .ok_or_else(|| format!("unknown role \"{text}\": use admin, dispatcher, technician or viewer"))
    }
}

/// A login to the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The organisation whose things it sees.
    pub org: OrgId,
    /// What they log in with; unique over the hub.
    pub username: String,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// The language of the board.
    pub language: Language,
    /// When the login was taken away.
    pub disabled_at: Option<Timestamp>,
}

/// A user to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The organisation whose things it sees.
    pub org: OrgId,
    /// What they log in with.
    pub username: String,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// The language of the board.
    pub language: Language,
    /// The hash of the password, as text; `None`: login by link only.
    pub password_hash: Option<String>,
}

/// A new session. Its token is not kept here: only its hash is.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSession {
    /// What the browser keeps.
    pub token: String,
    /// What every change must bring along.
    pub csrf: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A session that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who is logged in.
    pub user: User,
    /// What every change must bring along.
    pub csrf: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

type UserRow = (Uuid, Uuid, String, String, String, String, Option<DbTime>);

fn user((id, org, username, name, role, language, disabled_at): UserRow) -> Result<User> {
    let (role, language) = (from_code("user's role", &role)?, from_code("language", &language)?);
    let disabled_at = disabled_at.map(Into::into);
    Ok(User { id: UserId(id), org: OrgId(org), username, name, role, language, disabled_at })
}

async fn start_session(tx: &mut Tx, user: Uuid, lifetime: Duration, now: Timestamp) -> Result<NewSession> {
    let session = NewSession { token: secret::token()?, csrf: secret::token()?, expires_at: now + lifetime };
    let (id, hash, csrf) = (new_id(now), secret::hash(&session.token), session.csrf.as_str());
    execute!(tx, "starting a session", INSERT_SESSION, id, user, hash, csrf, at(now), at(session.expires_at))?;
    Ok(session)
}

impl Store {
    /// Creates a user.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if the user name is in use.
    pub async fn create_user(&self, new: &NewUser, by: &AuditActor, now: Timestamp) -> Result<User> {
        let id = new_id(now);
        let (org, username, name) = (new.org.0, text(&new.username), text(&new.name));
        let (role, language, hash) = (new.role.code(), new.language.to_string(), new.password_hash.as_deref());
        let mut tx = self.db().begin().await?;
        let what = "creating a user";
        if execute!(&mut tx, what, INSERT, id, org, username, name, role, language, hash, at(now))? == 0 {
            return Err(StoreError::Taken { kind: "user", name: new.username.clone() });
        }
        let detail = json!({ "name": new.name, "role": role });
        let line =
            audit::Line { org: Some(new.org), by, action: "user.create", subject: &new.username, detail: &detail };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        let NewUser { org, username, name, role, language, .. } = new.clone();
        Ok(User { id: UserId(id), org, username, name, role, language, disabled_at: None })
    }

    /// The user who logs in with this name, unless disabled, and the hash of their password.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn user_for_login(&self, username: &str) -> Result<Option<(User, Option<String>)>> {
        type Row = (Uuid, Uuid, String, String, String, String, Option<DbTime>, Option<String>);
        let row: Option<Row> = fetch_optional!(self.db().read, "looking up a login", FOR_LOGIN, text(username))?;
        row.map(|(id, org, username, name, role, language, disabled, hash)| {
            Ok((user((id, org, username, name, role, language, disabled))?, hash))
        })
        .transpose()
    }

    /// One of the organisation's users.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn user(&self, org: OrgId, id: UserId) -> Result<Option<User>> {
        let row: Option<UserRow> = fetch_optional!(self.db().read, "reading a user", BY_ID, org.0, id.0)?;
        row.map(user).transpose()
    }

    /// The user of this name, also if disabled; for the command line.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn user_by_username(&self, username: &str) -> Result<Option<User>> {
        let row: Option<UserRow> = fetch_optional!(self.db().read, "reading a user", BY_NAME, text(username))?;
        row.map(user).transpose()
    }

    /// The organisation's users, by user name.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn users(&self, org: OrgId) -> Result<Vec<User>> {
        let rows: Vec<UserRow> = fetch_all!(self.db().read, "listing users", LIST, org.0)?;
        rows.into_iter().map(user).collect()
    }

    /// Changes a password and ends all of the user's sessions and login links. False if there is no such user.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn set_password(&self, id: UserId, password_hash: &str, by: &AuditActor, now: Timestamp) -> Result<bool> {
        let mut tx = self.db().begin().await?;
        let row: Option<(Uuid, String)> =
            fetch_optional!(&mut tx, "changing a password", SET_PASSWORD, id.0, password_hash)?;
        let Some((org, username)) = row else { return Ok(false) };
        log_out(&mut tx, id).await?;
        let line = audit::Line {
            org: Some(OrgId(org)),
            by,
            action: "user.set_password",
            subject: &username,
            detail: &json!({}),
        };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Takes a login away and ends its sessions. False if there is no such user, or it was disabled already.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn disable_user(&self, org: OrgId, id: UserId, by: &AuditActor, now: Timestamp) -> Result<bool> {
        let mut tx = self.db().begin().await?;
        if execute!(&mut tx, "disabling a user", DISABLE, org.0, id.0, at(now))? == 0 {
            return Ok(false);
        }
        log_out(&mut tx, id).await?;
        let (subject, detail) = (id.to_string(), json!({}));
        let line = audit::Line { org: Some(org), by, action: "user.disable", subject: &subject, detail: &detail };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Starts a session.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn create_session(&self, user: UserId, lifetime: Duration, now: Timestamp) -> Result<NewSession> {
        let mut tx = self.db().begin().await?;
        let session = start_session(&mut tx, user.0, lifetime, now).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// The session of this token, if it is in force and its user not disabled.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn session(&self, token: &str, now: Timestamp) -> Result<Option<Session>> {
        type Row = (Uuid, Uuid, String, String, String, String, Option<DbTime>, Uuid, String, DbTime);
        let row: Option<Row> =
            fetch_optional!(self.db().read, "looking up a session", SESSION, secret::hash(token), at(now))?;
        row.map(|(id, org, username, name, role, language, disabled, session, csrf, expires_at)| {
            let user = user((id, org, username, name, role, language, disabled))?;
            Ok(Session { id: SessionId(session), user, csrf, expires_at: expires_at.into() })
        })
        .transpose()
    }

    /// Moves the end of a session in use to `lifetime` from now, once that is a twentieth of it later than before.
    /// True if it was moved.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn touch_session(&self, token: &str, lifetime: Duration, now: Timestamp) -> Result<bool> {
        let (hash, until) = (secret::hash(token), now + lifetime);
        let worth_it = at(until - lifetime / 20);
        Ok(execute!(self.db().write, "prolonging a session", TOUCH_SESSION, hash, at(until), worth_it)? > 0)
    }

    /// Ends a session. False if there was none.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn end_session(&self, token: &str) -> Result<bool> {
        Ok(execute!(self.db().write, "ending a session", END_SESSION, secret::hash(token))? > 0)
    }

    /// Makes a link that logs a user in once; returns its token.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn create_login_link(&self, user: UserId, lifetime: Duration, now: Timestamp) -> Result<String> {
        let token = secret::token()?;
        let (hash, expires_at) = (secret::hash(&token), at(now + lifetime));
        execute!(self.db().write, "making a login link", INSERT_LINK, hash, user.0, expires_at)?;
        Ok(token)
    }

    /// Uses a login link up and starts a session. `None` if the link is unknown, used, or past its time.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn redeem_login_link(
        &self,
        token: &str,
        session_lifetime: Duration,
        now: Timestamp,
    ) -> Result<Option<NewSession>> {
        let mut tx = self.db().begin().await?;
        let row: Option<(Uuid,)> =
            fetch_optional!(&mut tx, "using a login link", TAKE_LINK, secret::hash(token), at(now))?;
        let Some((user,)) = row else { return Ok(None) };
        let session = start_session(&mut tx, user, session_lifetime, now).await?;
        tx.commit().await?;
        Ok(Some(session))
    }
}

async fn log_out(tx: &mut Tx, user: UserId) -> Result<()> {
    execute!(tx, "ending sessions", END_SESSIONS, user.0)?;
    execute!(tx, "ending login links", END_LINKS, user.0)?;
    Ok(())
}
