//! Many rows in one statement: arrays for PostgreSQL's `unnest`, a JSON list of rows for SQLite's `json_each`.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    Result, StoreError,
    db::{DbTime, Engine, Sql, Tx, answered, document, text},
};

/// The values of one column, one per row.
pub(crate) enum Column {
    Ids(Vec<Option<Uuid>>),
    Texts(Vec<Option<String>>),
    Ints(Vec<i64>),
    Times(Vec<Option<DbTime>>),
    Bools(Vec<bool>),
    Floats(Vec<f64>),
}

impl Column {
    /// The value in a row as SQLite's side of the statement takes it: ids in hexadecimal, times in microseconds.
    fn json(&self, row: usize) -> Json {
        match self {
            Self::Ids(ids) => ids[row].map_or(Json::Null, |id| Json::String(id.simple().to_string())),
            Self::Texts(texts) => {
                texts[row].as_deref().map_or(Json::Null, |value| Json::String(text(value).as_str().to_owned()))
            }
            Self::Ints(ints) => json!(ints[row]),
            Self::Times(times) => times[row].map_or(Json::Null, |time| json!(time.micros())),
            Self::Bools(bools) => json!(bools[row]),
            Self::Floats(floats) => json!(floats[row]),
        }
    }
}

/// Runs a statement over rows given as columns of the same length. Returns how many rows it wrote.
pub(crate) async fn write(tx: &mut Tx, what: &'static str, sql: Sql, rows: usize, columns: &[Column]) -> Result<u64> {
    if rows == 0 {
        return Ok(0);
    }
    let failed = |source| StoreError::Query { what, source };
    match tx.on() {
        Engine::Postgres(on) => {
            let mut query = sqlx::query(sql.postgres);
            for column in columns {
                query = match column {
                    Column::Ids(ids) => query.bind(ids),
                    Column::Texts(texts) => {
                        query.bind(texts.iter().map(|t| t.as_deref().map(text)).collect::<Vec<_>>())
                    }
                    Column::Ints(ints) => query.bind(ints),
                    Column::Times(times) => query.bind(times),
                    Column::Bools(bools) => query.bind(bools),
                    Column::Floats(floats) => query.bind(floats),
                };
            }
            answered(query.execute(on)).await.map(|done| done.rows_affected()).map_err(failed)
        }
        Engine::Sqlite(on) => {
            let list: Vec<Vec<Json>> =
                (0..rows).map(|row| columns.iter().map(|column| column.json(row)).collect()).collect();
            let list = document("list of rows", &list)?;
            sqlx::query(sql.sqlite).bind(list).execute(on).await.map(|done| done.rows_affected()).map_err(failed)
        }
    }
}
