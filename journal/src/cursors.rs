//! Where consumers stand, on disk. Written lazily: a consumer's own truth is in the database that it commits to; this
//! copy only says what may be trimmed, and an old one is merely cautious.

use std::{collections::BTreeMap, path::Path};

use model::Lane;
use rusqlite::{Connection, params};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS cursors (consumer TEXT NOT NULL, lane TEXT NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (consumer, lane)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS heads (lane TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;";
const CURSOR_SET: &str = "
    INSERT INTO cursors (consumer, lane, at) VALUES ($1, $2, $3)
    ON CONFLICT (consumer, lane) DO UPDATE SET at = excluded.at";
const HEAD_SET: &str = "INSERT INTO heads (lane, at) VALUES ($1, $2) ON CONFLICT (lane) DO UPDATE SET at = excluded.at";

/// Cursors by consumer and lane.
pub(crate) type Cursors = BTreeMap<(String, Lane), u64>;

/// The file.
pub(crate) struct CursorFile(Connection);

/// What the file says.
#[derive(Default)]
pub(crate) struct Noted {
    /// Where each consumer stood.
    pub(crate) cursors: Cursors,
    /// The last offsets known, in the order of [`Lane::ALL`]; never given out again, even if the entries are lost.
    pub(crate) heads: [u64; 2],
}

fn lane(name: &str) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| lane.to_string() == name)
}

impl CursorFile {
    /// Opens the file and reads it.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<(Self, Noted)> {
        let connection = Connection::open(path)?;
        connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_mode", "PERSIST", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        let mut noted = Noted::default();
        {
            let mut statement = connection.prepare("SELECT consumer, lane, at FROM cursors")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(lane) = lane(&row.get::<_, String>(1)?) {
                    noted.cursors.insert((row.get(0)?, lane), u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0));
                }
            }
            let mut statement = connection.prepare("SELECT lane, at FROM heads")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(lane) = lane(&row.get::<_, String>(0)?) {
                    noted.heads[lane as usize] = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
                }
            }
        }
        Ok((Self(connection), noted))
    }

    /// Writes all of it in one transaction.
    pub(crate) fn save(&mut self, noted: &Noted) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        for ((consumer, lane), at) in &noted.cursors {
            transaction.prepare_cached(CURSOR_SET)?.execute(params![
                consumer,
                lane.to_string(),
                i64::try_from(*at).unwrap_or(i64::MAX)
            ])?;
        }
        for (lane, at) in Lane::ALL.into_iter().zip(noted.heads) {
            transaction
                .prepare_cached(HEAD_SET)?
                .execute(params![lane.to_string(), i64::try_from(at).unwrap_or(i64::MAX)])?;
        }
        transaction.commit()
    }
}
