//! Rows of readings in PostgreSQL's binary COPY format (PostgreSQL manual, "COPY", File Formats).
//!
//! COPY costs the server about half of what an array insert with conflict merge costs, but a single row that is there
//! already ends it. In the ordinary course there is none: COPY is tried first, inside a savepoint, and after a conflict
//! array inserts are used for a while, since a replay brings many.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection as _, PgConnection};

use crate::{
    recorder::{Cells, number, truth, words},
    wide::{Column, ColumnKind, WideTable},
};

/// How many batches are inserted as arrays after a conflict before COPY is tried again.
const PAUSE: u32 = 100;
/// The signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// For how many more batches COPY is not tried.
#[derive(Debug, Default)]
pub(crate) struct Pause(AtomicU32);

impl Pause {
    /// True if COPY is to be tried now.
    fn is_over(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err()
    }

    fn begin(&self) {
        self.0.store(PAUSE, Ordering::Relaxed);
    }
}

/// Copies rows into their table. `None` if that is not tried now, or one of them is there already: then nothing is
/// written. Must run inside a transaction.
pub(crate) async fn try_copy(
    on: &mut PgConnection,
    table: &WideTable,
    rows: &[Cells<'_>],
) -> Result<Option<u64>, sqlx::Error> {
    let Some(statement) = &table.copy else { return Ok(None) };
    if !table.pause.is_over() {
        return Ok(None);
    }
    let mut savepoint = on.begin().await?;
    let copied = async {
        let mut sink = savepoint.copy_in_raw(statement).await?;
        sink.send(encode(table, rows)).await?;
        sink.finish().await
    };
    match copied.await {
        Ok(written) => {
            savepoint.commit().await?;
            Ok(Some(written))
        }
        // Whatever it was, the insert succeeds or says it better.
        Err(sqlx::Error::Database(_)) => {
            savepoint.rollback().await?;
            table.pause.begin();
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn encode(table: &WideTable, rows: &[Cells<'_>]) -> Vec<u8> {
    let fields = i16::try_from(table.columns.len() + 3).unwrap_or(i16::MAX);
    let mut out = Vec::with_capacity(HEADER.len() + rows.len() * (64 + table.columns.len() * 12) + 2);
    out.extend_from_slice(HEADER);
    for row in rows {
        out.extend_from_slice(&fields.to_be_bytes());
        field(&mut out, row.device.as_bytes());
        field(&mut out, &(row.time.micros() - EPOCH_MICROS).to_be_bytes());
        optional(&mut out, row.seq.map(i64::to_be_bytes));
        for (Column { kind, .. }, value) in table.columns.iter().zip(&row.values) {
            match kind {
                ColumnKind::Number => optional(&mut out, number(*value).map(f64::to_be_bytes)),
                ColumnKind::Bool => optional(&mut out, truth(*value).map(|flag| [u8::from(flag)])),
                ColumnKind::Text => match words(*value) {
                    Some(words) => field(&mut out, words.as_str().as_bytes()),
                    None => optional(&mut out, None::<[u8; 0]>),
                },
            }
        }
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    // Texts are far shorter than 2 GiB.
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn optional<const N: usize>(out: &mut Vec<u8>, bytes: Option<[u8; N]>) {
    match bytes {
        Some(bytes) => field(out, &bytes),
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_ends_copying_for_a_while() {
        let pause = Pause::default();
        assert!(pause.is_over() && pause.is_over());
        pause.begin();
        assert_eq!((0..PAUSE).filter(|_| pause.is_over()).count(), 0);
        assert!(pause.is_over());
    }
}
