//! Throw-away Citus clusters: a coordinator and two workers, of the extension that is installed beside PostgreSQL.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use sqlx::AssertSqlSafe;

use crate::postgres_server::{Access, Server, Shared};

/// What every server of a cluster is told. Few shards are quick to make and to ask.
const SETTINGS: [&str; 5] = [
    "shared_preload_libraries=citus",
    "max_prepared_transactions=400",
    "max_worker_processes=64",
    "citus.shard_count=8",
    "citus.recover_2pc_interval=2s",
];

/// A database on all servers of a cluster. Gone with the value, so that the servers have no more to look after.
pub struct Database {
    pub name: String,
    /// Where it is reached: the coordinator.
    pub url: String,
    servers: Vec<Access>,
}

impl Database {
    /// Makes one; the first server is the coordinator.
    async fn make(servers: Vec<Access>) -> Self {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        for server in &servers {
            server.sql(&format!("create database {name}")).await;
            server.sql_in(&name, "create extension citus").await;
        }
        let coordinator = &servers[0];
        let mut join = format!("select citus_set_coordinator_host('127.0.0.1', {});", coordinator.port());
        for worker in &servers[1..] {
            join.push_str(&format!("select citus_add_node('127.0.0.1', {});", worker.port()));
        }
        coordinator.sql_in(&name, &join).await;
        Self { url: coordinator.url(&name), name, servers }
    }

    /// Asks the coordinator.
    pub async fn rows(&self, statement: &str) -> Vec<sqlx::postgres::PgRow> {
        let mut connection = self.servers[0].connection(&self.name).await;
        sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut connection).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (servers, drop) = (self.servers.clone(), format!("drop database {} with (force)", self.name));
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for server in &servers {
                    // Best effort: the server may have been killed.
                    if let Ok(mut connection) = crate::postgres_server::open(&server.url("postgres")).await {
                        let _ = sqlx::raw_sql(AssertSqlSafe(drop.as_str())).execute(&mut connection).await;
                    }
                }
            });
        });
        let _ = dropped.join();
    }
}

/// A database in the cluster that all test processes share.
pub async fn shared_database() -> Database {
    static SHARED: OnceLock<[Shared; 3]> = OnceLock::new();
    let names = ["citus-coordinator", "citus-worker-1", "citus-worker-2"];
    let shared = SHARED.get_or_init(|| names.map(|name| Shared::find(name, &SETTINGS)));
    // Joining servers alters the roles that all databases of a server share, and two that do so at once fail.
    let making = Path::new(env!("CARGO_TARGET_TMPDIR")).join("citus-making");
    let making = File::options().create(true).append(true).open(making).unwrap();
    making.lock().unwrap();
    Database::make(shared.iter().map(|shared| shared.access.clone()).collect()).await
}

/// A cluster to be mistreated.
pub struct Cluster {
    pub coordinator: Server,
    pub workers: [Server; 2],
}

impl Cluster {
    /// Starts one with settings for its coordinator beside those that all have.
    pub fn start_with(settings: &[&str]) -> Self {
        let coordinator = Server::start_with(&[&SETTINGS, settings].concat());
        Self { coordinator, workers: [(); 2].map(|()| Server::start_with(&SETTINGS)) }
    }

    pub async fn database(&self) -> Database {
        let servers = [&self.coordinator, &self.workers[0], &self.workers[1]];
        Database::make(servers.map(|server| (**server).clone()).to_vec()).await
    }
}
