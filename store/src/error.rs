//! What can go wrong in the store.

use std::path::PathBuf;

use model::{ChannelId, ProfileId};

/// A cause of any kind, kept for the chain of errors.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The configured URL names no database that the store knows.
    #[error("the store url cannot be used; write \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\"")]
    Url {
        /// What the driver said, if it came that far.
        #[source]
        source: Option<Cause>,
    },
    /// The database cannot be reached.
    #[error(
        "the database {target} cannot be opened; check that it runs, that the url is right and that this user may use it"
    )]
    Connect {
        /// The database, without secrets.
        target: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// Another hub uses the database.
    #[error("another hub is using {target}; stop it first, or give this one a database of its own")]
    InUse {
        /// The database, without secrets.
        target: String,
    },
    /// The lock file beside an SQLite database cannot be made.
    #[error("the lock file {} cannot be written; check the folder's permissions", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("the schema of {target} cannot be brought up to date; if it was written by a newer Liftline, use that one")]
    Migrate {
        /// The database, without secrets.
        target: String,
        /// What went wrong.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("the database failed while {what}; check that it runs and has space left")]
    Query {
        /// What was being done.
        what: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// Something stored cannot be read back.
    #[error(
        "a stored {what} cannot be read; it was written by another version or changed by hand: restore it from a backup"
    )]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// Something cannot be written as a document.
    #[error("a {what} cannot be written as a document; please report this as a bug")]
    Document {
        /// What was being written.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A name is in use.
    #[error("the {kind} \"{name}\" exists already; choose another")]
    Taken {
        /// What was being named.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Something that was named does not exist in this organisation.
    #[error("there is no {kind} \"{name}\" in this organisation; check the name, or add it first")]
    Missing {
        /// What was named.
        kind: &'static str,
        /// Its name or id.
        name: String,
    },
    /// A profile changed the type of a channel that readings are stored for.
    #[error(
        "channel \"{channel}\" of profile \"{profile}\" was stored as {was} and is now {is}; give the changed channel a new name"
    )]
    ChannelChanged {
        /// The profile.
        profile: ProfileId,
        /// The channel.
        channel: ChannelId,
        /// The type that it is stored with.
        was: String,
        /// The type that the profile now says.
        is: &'static str,
    },
    /// Readings came for a profile that was never announced.
    #[error(
        "profile \"{profile}\" has no table of readings yet; load the profile before recording readings of its devices"
    )]
    UnknownProfile {
        /// The profile.
        profile: ProfileId,
    },
    /// The system gave no random bytes.
    #[error(
        "the system gives no random numbers, so that no safe link or session can be made; check the system's random source"
    )]
    Random(#[source] getrandom::Error),
    /// Others kept changing the same thing.
    #[error("others kept changing the same data while {what}; try again")]
    Contended {
        /// What was being done.
        what: &'static str,
    },
}

impl StoreError {
    pub(crate) fn corrupt(what: &'static str, source: impl Into<Cause>) -> Self {
        Self::Corrupt { what, source: source.into() }
    }

    /// For a caller that gave up waiting: the database says nothing. It counts as unavailable; what was being done may
    /// or may not have been done.
    #[must_use]
    pub fn silent(what: &'static str) -> Self {
        Self::Query { what, source: crate::db::silent() }
    }

    /// True if the same request may succeed later without anybody changing it: the database is away, restarting,
    /// full, or too busy. The hub retries these with back-off; everything else is a fault to report.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Connect { source, .. } | Self::Query { source, .. } => unavailable(source),
            Self::Migrate { source: sqlx::migrate::MigrateError::Execute(source), .. } => unavailable(source),
            Self::Contended { .. } => true,
            Self::Url { .. }
            | Self::InUse { .. }
            | Self::LockFile { .. }
            | Self::Migrate { .. }
            | Self::Corrupt { .. }
            | Self::Document { .. }
            | Self::Taken { .. }
            | Self::Missing { .. }
            | Self::ChannelChanged { .. }
            | Self::UnknownProfile { .. }
            | Self::Random(_) => false,
        }
    }

    /// True if the transaction lost a race against another one and would probably win when run again at once.
    pub(crate) fn lost_race(&self) -> bool {
        match self {
            Self::Query { source: sqlx::Error::Database(error), .. } => {
                error.is_unique_violation() || matches!(error.code().as_deref(), Some("40001" | "40P01"))
            }
            _ => false,
        }
    }

    /// True if a unique key refused the row.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Query { source: sqlx::Error::Database(error), .. } if error.is_unique_violation())
    }
}

/// PostgreSQL's SQLSTATE classes and codes, and SQLite's result codes, that say "not now".
fn unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => {
            let code = error.code();
            let code = code.as_deref().unwrap_or_default();
            // SQLSTATEs have five characters; SQLite's result codes are numbers of which the low byte is the kind:
            // 5 busy, 6 locked, 10 disk I/O, 13 full, 14 cannot open.
            if code.len() == 5 {
                ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class))
                    || code == "55P03"
                    || code == "25006"
            } else {
                code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14))
            }
        }
        _ => false,
    }
}
