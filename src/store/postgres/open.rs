//! Opening a database as a store: its tables are made where that was asked for, and are of a format that this version speaks.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _, SqlSafeStr as _};

use super::super::statements::{common, postgres as sql};
use super::super::{Bodies, FORMAT, OpenError, OpenOptions, Placement, Shard, StoreError};
use super::servers::{Pooler, Servers};

/// How many shards a new store has on one server: each shard that a batch touches costs it one more row, so that 256 take a tenth off
/// appends; 32 still let as many transactions commit at once as one disk gains from.
const SHARDS: Shard = 32;
/// How many a new store has where they are distributed: enough to spread over many workers evenly, and a batch is of one anyway.
const SHARDS_DISTRIBUTED: Shard = 256;

/// How often making the tables is tried again because another process makes them too.
const RACES_MAX: u32 = 20;

/// Brings the tables from nothing, or from any older format, to the present one. Each sets `format` to its own number.
const MIGRATIONS: [(i64, &str, &str); 11] = [
    (1, "event log", include_str!("../../../migrations/postgres/0001_event_log.sql")),
    (2, "catch-up projections", include_str!("../../../migrations/postgres/0002_catch_up_projections.sql")),
    (3, "retention", include_str!("../../../migrations/postgres/0003_retention.sql")),
    (4, "inbox", include_str!("../../../migrations/postgres/0004_inbox.sql")),
    (5, "kept content and lease clock", include_str!("../../../migrations/postgres/0005_kept_content_and_lease_clock.sql")),
    (6, "recent sessions", include_str!("../../../migrations/postgres/0006_recent_sessions.sql")),
    (7, "forks", include_str!("../../../migrations/postgres/0007_forks.sql")),
    (8, "search", include_str!("../../../migrations/postgres/0008_search.sql")),
    (9, "models of sessions", include_str!("../../../migrations/postgres/0009_models_of_sessions.sql")),
    (10, "packing and encryption", include_str!("../../../migrations/postgres/0010_packing_and_encryption.sql")),
    (11, "written minutes", include_str!("../../../migrations/postgres/0011_written_minutes.sql")),
];

/// Tables whose rows belong to a shard, the table of shards first.
const SHARDED: [&str; 13] = [
    "shard",
    "session",
    "event",
    "blob",
    "snapshot",
    "checkpoint",
    "document",
    "quarantine",
    "hole",
    "inbox",
    "blob_session",
    "search_entry",
    "search_model",
];

/// What is known of a store that can be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) shards: Shard,
    /// Whether its tables are distributed, so that every statement must name its shard.
    pub(super) distributed: bool,
    /// Whether what its sessions say is encrypted.
    pub(super) encrypted: bool,
}

/// Finds the store, or makes it.
pub(super) async fn open(servers: &Servers, options: &OpenOptions) -> Result<Found, StoreError> {
    let unreachable =
        |error: sqlx::Error| StoreError::from(OpenError::Server { address: servers.address.clone(), source: error.into() });
    let mut connection = servers.connect().await.map_err(unreachable)?;
    let mut races = 0;
    let found = loop {
        match look(&mut connection, servers).await.map_err(unreachable)? {
            Some((FORMAT, shards)) => break shards,
            Some((format, _)) if format > FORMAT => {
                let address = servers.address.clone();
                return Err(OpenError::Newer { address, found: format, supported: FORMAT }.into());
            }
            Some((format, _)) if !options.migrate => {
                let address = servers.address.clone();
                return Err(OpenError::Older { address, found: format, needed: FORMAT }.into());
            }
            None if !options.create || options.read_only => return Err(OpenError::NotMade(servers.address.clone()).into()),
            Some(_) | None => {}
        }
        // Another process that does the same at once is in the way for a moment.
        let made = make(&mut connection, servers, options).await;
        races += 1;
        match made {
            Err(error) if races >= RACES_MAX || !in_the_way(&error) => return Err(error),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            Ok(()) if races >= RACES_MAX => {
                let what = "its tables do not come to the present format; what is noted in _sqlx_migrations is not what was done";
                return Err(StoreError::Unavailable(what.into()));
            }
            Ok(()) => {}
        }
    };
    let distributed = is_distributed(&mut connection, servers).await.map_err(unreachable)?;
    if options.placement == Placement::Distributed && !distributed {
        return Err(OpenError::NotDistributed(servers.address.clone()).into());
    }
    let encrypt = options.bodies == Bodies::Encrypted && !options.read_only;
    let encrypted = is_encrypted(&mut connection, servers, encrypt).await.map_err(unreachable)?;
    // The server sees it go in any case.
    let _ = connection.close().await;
    Ok(Found { shards: found, distributed, encrypted })
}

/// The format and the shards of the store in this database; `None` when there is none.
async fn look(connection: &mut PgConnection, servers: &Servers) -> Result<Option<(i64, Shard)>, sqlx::Error> {
    let mut transaction = connection.begin_with(sql::BEGIN).await?;
    let named = servers.keeps_statements();
    let there: bool = sqlx::query(sql::HAS_STORE).persistent(named).fetch_one(&mut *transaction).await?.try_get(0)?;
    let row = match there {
        true => sqlx::query(sql::FORMAT).persistent(named).fetch_optional(&mut *transaction).await?,
        false => None,
    };
    transaction.commit().await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

async fn is_distributed(connection: &mut PgConnection, servers: &Servers) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin_with(sql::BEGIN).await?;
    let named = servers.keeps_statements();
    let ask = |statement| sqlx::query(statement).persistent(named);
    let citus: bool = ask(sql::HAS_CITUS).fetch_one(&mut *transaction).await?.try_get(0)?;
    let distributed = match citus {
        true => ask(sql::IS_DISTRIBUTED).fetch_one(&mut *transaction).await?.try_get(0)?,
        false => false,
    };
    transaction.commit().await?;
    Ok(distributed)
}

/// Whether what sessions say is encrypted; a store that holds none yet is from now on, if `encrypt`.
async fn is_encrypted(connection: &mut PgConnection, servers: &Servers, encrypt: bool) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin_with(sql::BEGIN).await?;
    let named = servers.keeps_statements();
    let ask = |statement| sqlx::query(statement).persistent(named);
    let mut encrypted: bool = ask(common::ENCRYPTED).fetch_one(&mut *transaction).await?.try_get(0)?;
    if encrypt && !encrypted && !ask(common::HAS_SESSIONS).fetch_one(&mut *transaction).await?.try_get::<bool, _>(0)? {
        ask(common::ENCRYPT).execute(&mut *transaction).await?;
        encrypted = true;
    }
    transaction.commit().await?;
    Ok(encrypted)
}

/// Makes the tables, or brings them to the present format.
async fn make(connection: &mut PgConnection, servers: &Servers, options: &OpenOptions) -> Result<(), StoreError> {
    if servers.pooler == Pooler::Transaction {
        let what = "tables are made over a direct connection: leave pooler=transaction away for `rekindle store init`";
        return Err(OpenError::Parameter(what.to_owned()).into());
    }
    let failed = |error: sqlx::Error| StoreError::Unavailable(error.into());
    let citus: bool =
        sqlx::query(sql::HAS_CITUS).fetch_one(&mut *connection).await.map_err(failed)?.try_get(0).map_err(failed)?;
    if options.placement == Placement::Distributed && !citus {
        return Err(OpenError::NotDistributable(servers.address.clone()).into());
    }
    let there = look(connection, servers).await.map_err(failed)?.is_some();
    if there && is_distributed(connection, servers).await.map_err(failed)? {
        migrate_distributed(connection).await.map_err(failed)?;
    }
    let mut migrator = migrator();
    // A lock of the session is lost on poolers and unknown to some databases; that two make the tables at once is seen by who is second.
    migrator.set_locking(false);
    migrator.run_direct(None, &mut *connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
        other => StoreError::Unavailable(other.into()),
    })?;
    let mut transaction = connection.begin_with(sql::BEGIN).await.map_err(failed)?;
    let known = sqlx::query(sql::FORMAT).fetch_optional(&mut *transaction).await.map_err(failed)?;
    let distributed = match known {
        None => options.placement == Placement::Distributed,
        Some(_) if citus => {
            sqlx::query(sql::IS_DISTRIBUTED).fetch_one(&mut *transaction).await.map_err(failed)?.try_get(0).map_err(failed)?
        }
        Some(_) => false,
    };
    if known.is_none() {
        let now: i64 = sqlx::query(sql::NOW).fetch_one(&mut *transaction).await.map_err(failed)?.try_get(0).map_err(failed)?;
        let shards = if distributed { SHARDS_DISTRIBUTED } else { SHARDS };
        sqlx::query(sql::INSERT_SHARDS).bind(shards).execute(&mut *transaction).await.map_err(failed)?;
        sqlx::query(sql::INSERT_STORE).bind(FORMAT).bind(shards).bind(now).execute(&mut *transaction).await.map_err(failed)?;
    }
    if distributed {
        // Also those that a migration has just added to a store that was distributed before.
        distribute(&mut transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// Does each migration that a distributed store lacks statement by statement: Citus hands the whole text that it was sent on to its
/// workers, which take one statement at a time.
async fn migrate_distributed(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let format: i64 = sqlx::query(sql::FORMAT).fetch_one(&mut *connection).await?.try_get(0)?;
    for migration in migrator().iter().filter(|migration| migration.version > format) {
        let mut transaction = connection.begin_with(sql::BEGIN).await?;
        for statement in statements_of(migration.sql.as_str()) {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await?;
        }
        let note = sqlx::query(sql::NOTE_MIGRATION).bind(migration.version).bind(migration.description.to_string());
        note.bind(migration.checksum.to_vec()).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// The statements of a migration, each of which ends with its line, without comments.
fn statements_of(migration: &str) -> Vec<String> {
    let (mut statements, mut statement) = (Vec::new(), String::new());
    for line in migration.lines() {
        let code = line.split("--").next().unwrap_or_default().trim_end();
        statement.push_str(code);
        statement.push('\n');
        if code.ends_with(';') {
            statements.push(std::mem::take(&mut statement));
        }
    }
    statements
}

async fn distribute(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for table in SHARDED {
        let with = if table == "shard" { "none" } else { "shard" };
        sqlx::query(sql::DISTRIBUTE).bind(table).bind(with).execute(&mut *connection).await?;
    }
    sqlx::query(sql::COPY_EVERYWHERE).execute(&mut *connection).await?;
    sqlx::query(sql::REACH_LEASES).execute(&mut *connection).await?;
    Ok(())
}

fn in_the_way(error: &StoreError) -> bool {
    let StoreError::Unavailable(source) = error else { return false };
    let code = source.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error()).and_then(|error| error.code());
    // Unique violations of the catalog, duplicate tables and types, locks taken in another order, a row of ours that is there by now.
    code.is_some_and(|code| ["23505", "42P07", "42710", "42701", "40P01", "XX000"].contains(&code.as_ref()))
}

fn migrator() -> Migrator {
    let migration = |(version, what, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*what).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}
