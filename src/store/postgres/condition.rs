//! How the database is: what the tables take, and what keeps vacuum from removing dead rows.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row as _, query};

use super::super::statements::postgres as sql;
use super::super::{Holder, HolderKind, ServerCondition, TableCondition};

/// Asks the server.
pub(super) async fn condition(connection: &mut PgConnection) -> Result<ServerCondition, sqlx::Error> {
    let database: i64 = query(sql::DATABASE_BYTES).persistent(false).fetch_one(&mut *connection).await?.try_get(0)?;
    let mut tables = Vec::new();
    let mut rows = query(sql::TABLE_ROWS).persistent(false).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        tables.push(TableCondition {
            name: row.try_get(0)?,
            bytes: count(&row, 1)?,
            live_rows: count(&row, 2)?,
            dead_rows: count(&row, 3)?,
        });
    }
    drop(rows);
    let rows = query(sql::HOLDERS).persistent(false).fetch_all(connection).await?;
    let holders = rows.iter().map(holder).collect::<Result<_, _>>()?;
    Ok(ServerCondition { database_bytes: u64::try_from(database).unwrap_or_default(), tables, holders })
}

fn holder(row: &PgRow) -> Result<Holder, sqlx::Error> {
    let (kind, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let what = match kind.as_str() {
        "prepared" => HolderKind::Prepared { name },
        "slot" => HolderKind::Slot { name },
        _ => HolderKind::Transaction { pid: row.try_get(2)?, application: name, state: row.try_get(3)? },
    };
    let micros: Option<i64> = row.try_get(4)?;
    let open_for = micros.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or_default()));
    Ok(Holder { what, open_for, transactions: count(row, 5)? })
}

fn count(row: &PgRow, column: usize) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or_default())
}
