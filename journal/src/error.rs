//! What can go wrong, in sentences an operator can act on.

use std::{error::Error, path::PathBuf, sync::Arc};

/// The cause of a [`JournalError`]. Shared, because one failed commit answers many callers.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why the journal could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Another process has the journal open.
    #[error("the journal in {} is in use by another hub; stop that one or give this one its own data folder", dir.display())]
    InUse {
        /// The journal's folder.
        dir: PathBuf,
    },
    /// The folder or its files could not be opened.
    #[error("the journal in {} could not be opened; check that the folder exists, belongs to the hub's user and is on a disk that is not full", dir.display())]
    Open {
        /// The journal's folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The configuration makes no sense.
    #[error("journal.{key} = {value} cannot work; {remedy}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// Entries could not be made durable. None of this append was acknowledged; the same append may be tried again.
    #[error("the journal in {} could not write; free space on the disk or repair it, the hub goes on by itself", dir.display())]
    Write {
        /// The journal's folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// Everything the journal may hold is unread.
    #[error(
        "the journal is full: {unread_bytes} of {max_bytes} bytes wait to be read; bring back what reads it (most often the database) or raise journal.max_bytes"
    )]
    Full {
        /// Bytes that a consumer has not read.
        unread_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// Entries could not be read, for another reason than damage.
    #[error("the journal in {} could not be read; check the disk", dir.display())]
    Read {
        /// The journal's folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The entry cannot be written in the journal's format.
    #[error("an entry could not be encoded; this is a fault of the hub, please report it")]
    Encode {
        /// What the encoder said.
        #[source]
        source: Cause,
    },
    /// The journal was closed.
    #[error("the journal is closed; start the hub again")]
    Closed,
}
