//! On a Citus cluster the store keeps its contract, and what it does for one session it does on the one worker that has it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rekindle::session::{SessionId, Timestamp};
use rekindle::store::conformance::{append, event_of, events, given, new_node, new_session};
use rekindle::store::statements::{common, postgres};
use rekindle::store::{
    Change, DocumentWrite, Expected, FeedCursor, Letter, MemoryStore, OpenOptions, Placement, Projected, ProjectionId,
    SharedStore, Snapshot, StoreError, connect, copy, verify_session,
};
use sqlx::Row as _;
use tokio::task::block_in_place;
use uuid::Uuid;

use crate::citus_cluster::{Cluster, Database, shared_database};
use crate::cli_support::Rig;
use crate::postgres_load::{Load, assert_sound};
use crate::store_care;

const DISTRIBUTED: OpenOptions = OpenOptions { placement: Placement::Distributed, ..OpenOptions::DEFAULT };

async fn make_store() -> (SharedStore, Database) {
    let database = shared_database().await;
    (connect(&database.url, DISTRIBUTED).await.unwrap(), database)
}

rekindle::store_conformance!(
    #[ignore = "needs Citus, see README"]
    make_store
);

/// Statements for all sessions, which ask every worker: lists, searches, the heads of the feed, administration.
const OF_ALL_SHARDS: [&str; 18] = [
    "common::COUNTS",
    "common::HEADS",
    "common::CHECKPOINTS",
    "common::DOCUMENTS",
    "common::QUARANTINED",
    "common::PROJECTIONS",
    "postgres::FEED_HEADS",
    "postgres::SESSIONS",
    "postgres::SESSIONS_DUE",
    "postgres::SESSIONS_BETWEEN",
    "common::FORKS_OF",
    "common::PACKABLE",
    "common::HAS_SESSIONS",
    "postgres::FIND",
    "postgres::IDS_BETWEEN",
    "postgres::IDS_IN_PHASE",
    "postgres::IDS_COSTING",
    "postgres::IDS_OF_MODEL",
];

/// Statements that only a store on one server runs, or one that is not distributed yet; a routed one is beside them.
const OF_ONE_SERVER: [&str; 12] = [
    "postgres::BYTES",
    "postgres::INSERT_SHARDS",
    "postgres::HEADS",
    "postgres::BEGIN_SESSIONS",
    "postgres::MOVE_SESSIONS",
    "postgres::COMMIT_AT_ONCE",
    "postgres::COMMIT_MOVES",
    "postgres::COMMIT_ONE",
    "postgres::COMMIT_EVENT",
    "postgres::TAKE_POSITIONS",
    "postgres::INSERT_EVENTS",
    "postgres::FEED_OF_SHARDS",
];

/// A value of a type, of which every number is the same shard.
fn value(of: &str) -> String {
    match of.strip_suffix("[]") {
        Some(element) => format!("array[{}]::{of}", value(element)),
        None => match of {
            "integer" | "bigint" => "1".to_owned(),
            "boolean" => "true".to_owned(),
            "uuid" => "'0190aaaa-0000-7000-8000-0000000000aa'".to_owned(),
            "bytea" => "'\\x00'".to_owned(),
            "text" => "'{}'".to_owned(),
            other => panic!("no value of type {other} is known"),
        },
    }
}

/// How the coordinator runs a statement, line by line.
async fn plan(database: &Database, statement: &str) -> String {
    let ask = format!("prepare it as {statement}; select parameter_types::text[] from pg_prepared_statements where name = 'it'");
    let types: Vec<String> = database.rows(&ask).await[0].get(0);
    let values: Vec<String> = types.iter().map(|of| value(of)).collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let ask = format!("prepare it as {statement}; explain (costs off) execute it{values}");
    let plan = database.rows(&ask).await;
    plan.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

/// Whether a plan is the whole statement sent to one server, or nothing that Citus has to do with.
fn is_of_one_server(plan: &str) -> bool {
    let sent = plan.matches("Custom Scan (Citus").count();
    sent == 0 || sent == 1 && plan.starts_with("Custom Scan (Citus Adaptive)") && plan.contains("\n  Task Count: 1\n")
}

#[tokio::test]
#[ignore = "needs Citus, see README"]
async fn every_statement_for_one_session_is_routed_to_one_worker() {
    let (store, database) = make_store().await;
    store.close().await;
    let common = common::ALL.iter().map(|(name, statement)| (format!("common::{name}"), *statement));
    let postgres = postgres::ALL.iter().map(|(name, statement)| (format!("postgres::{name}"), *statement));
    let mut wrong = Vec::new();
    let mut sent = 0;
    for (name, statement) in common.chain(postgres) {
        if OF_ONE_SERVER.contains(&name.as_str()) {
            continue;
        }
        let plan = plan(&database, statement).await;
        sent += usize::from(plan.contains("Citus"));
        if is_of_one_server(&plan) == OF_ALL_SHARDS.contains(&name.as_str()) {
            wrong.push(format!("{name}\n{plan}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(sent > 60, "only {sent} statements concern distributed tables");
}

/// What the coordinator has sent to workers, by transaction: the workers, and whether it took two phases.
#[derive(Default)]
struct Sent {
    single: usize,
    workers: BTreeMap<usize, usize>,
    two_phases: usize,
}

/// Reads the coordinator's log behind `from`.
fn sent(log: &str, from: usize) -> Sent {
    let mut sent = Sent::default();
    // By process: what it issued last, and the workers of its transaction.
    let mut open = HashMap::<&str, (String, BTreeSet<String>, bool)>::new();
    for line in log[from..].lines() {
        let Some((before, rest)) = line.split_once("] ") else { continue };
        let Some((_, process)) = before.rsplit_once('[') else { continue };
        let (issued, workers, begun) = open.entry(process).or_default();
        if let Some(command) = rest.strip_prefix("NOTICE:  issuing ") {
            command.clone_into(issued);
        } else if let Some(worker) = rest.strip_prefix("DETAIL:  on server ") {
            workers.insert(worker.split(' ').next().unwrap_or_default().to_owned());
            *begun |= issued.starts_with("BEGIN");
            sent.two_phases += usize::from(issued.starts_with("PREPARE TRANSACTION"));
            if issued.starts_with("COMMIT") {
                *sent.workers.entry(workers.len()).or_default() += 1;
                workers.clear();
                *begun = false;
            } else if !*begun {
                sent.single += 1;
                workers.clear();
            }
            issued.clear();
        }
    }
    sent
}

/// Everything that is done to one session, and to one shard of a projection, a letter and a lease.
async fn live_through_everything(store: &SharedStore) -> [SessionId; 2] {
    let name = "sample".parse().unwrap();
    let (session, copied) = (SessionId::named(&name), new_session());
    store.append(append(session, Expected::NoSession, events(3))).await.unwrap();
    let appended = store.append(append(session, Expected::Any, events(2))).await.unwrap();
    let long = event_of(format!(r#"{{"long":"{}"}}"#, "x".repeat(100_000)));
    let again = append(session, Expected::Exact(appended.last), vec![long]);
    store.append(again.clone()).await.unwrap();
    assert!(store.append(again).await.unwrap().repeated);
    let late = store.append(append(session, Expected::Exact(appended.last), events(1))).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    store.name(session, &name).await.unwrap();
    let digest = store.put_blob(session, b"content".to_vec()).await.unwrap();
    store.blob(session, digest).await.unwrap().unwrap();
    let bytes = b"state".to_vec();
    let digest = rekindle::session::Digest::of(&bytes);
    let snapshot = Snapshot { session, seq: appended.last, reducer: "r".to_owned(), digest, bytes };
    store.put_snapshot(snapshot).await.unwrap();
    store.snapshot(session, "r", appended.last).await.unwrap().unwrap();
    store.redact(session, appended.last).await.unwrap();
    verify_session(store.as_ref(), session).await.unwrap();
    store.session(session).await.unwrap().unwrap();

    let from: SharedStore = Arc::new(MemoryStore::new());
    given(&from, copied, 4).await;
    copy(from.as_ref(), store.as_ref(), |_| {}).await.unwrap();
    store.hold(copied, Some("a reason")).await.unwrap();
    store.hold(copied, None).await.unwrap();

    let projection = ProjectionId::new("counts", 1);
    for shard in [3, 4, 5] {
        let put = |key: &str| DocumentWrite { key: key.to_owned(), change: Change::Put("{}".to_owned()) };
        let projected = Projected {
            projection: projection.clone(),
            shard,
            from: 0,
            to: 2,
            held: BTreeMap::new(),
            writes: vec![put("one"), put("two")],
            quarantine: Vec::new(),
            release: Vec::new(),
        };
        store.project(projected).await.unwrap();
        store.document(&projection, shard, "one").await.unwrap().unwrap();
    }
    store.drop_projection(&projection).await.unwrap();

    let node = new_node();
    store.renew_lease(node, "here", std::time::Duration::from_secs(9)).await.unwrap();
    let id = Uuid::now_v7();
    store.post(Letter { to: node, id, session, command: "{}".to_owned() }).await.unwrap();
    assert_eq!(store.letters(node, 9).await.unwrap().len(), 1);
    assert!(store.begin(node, id).await.unwrap());
    store.answer(node, id, "{}").await.unwrap();
    store.take_answer(node, id).await.unwrap().unwrap();
    store.end_lease(node).await.unwrap();
    [session, copied]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus, see README"]
async fn every_transaction_is_committed_by_one_worker_in_one_phase() {
    let cluster = Cluster::start_with(&["log_min_messages=notice"]);
    let database = cluster.database().await;
    connect(&database.url, DISTRIBUTED).await.unwrap().close().await;
    cluster.coordinator.sql(&format!("alter database {} set citus.log_remote_commands = on", database.name)).await;
    let store = connect(&database.url, OpenOptions::default()).await.unwrap();
    let from = cluster.coordinator.log().len();
    let [_, copied] = live_through_everything(&store).await;
    let log = cluster.coordinator.log();
    let seen = sent(&log, from);
    assert_eq!(seen.two_phases, 0, "{}", &log[from..]);
    assert_eq!(seen.workers.keys().copied().collect::<Vec<_>>(), [1], "{}", &log[from..]);
    // Appends alone are more; and a transaction that concerns two workers would have been seen.
    assert!(seen.workers[&1] > 20 && seen.single > 5, "{:?} and {} single statements", seen.workers, seen.single);
    // Whether a fork reads it is asked of all; written is only where it is.
    store.purge(copied, Timestamp(7)).await.unwrap();
    store.close().await;
    let purged = cluster.coordinator.log();
    let seen = sent(&purged, log.len());
    assert_eq!(seen.two_phases, 0, "{}", &purged[log.len()..]);
    let from = purged.len();
    let across = "begin; update shard set head_pos = head_pos; commit";
    database.rows(across).await;
    let seen = sent(&cluster.coordinator.log(), from);
    assert!(seen.two_phases > 0, "{}", &cluster.coordinator.log()[from..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus, see README"]
async fn the_feed_delivers_all_in_order_however_transactions_overlap() {
    let (store, database) = make_store().await;
    store.close().await;
    crate::feed_torture::all_is_delivered_in_order(database.url.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus, see README"]
async fn what_it_holds_is_copied_held_and_purged() {
    let memory: SharedStore = Arc::new(MemoryStore::new());
    let (store, _database) = make_store().await;
    store_care::a_copy_is_the_same_and_goes_on(&memory, &store).await;
    store.close().await;
    let (store, _database) = make_store().await;
    let memory: SharedStore = Arc::new(MemoryStore::new());
    store_care::a_session_that_went_on_differently_is_named_and_the_others_are_copied(&memory, &store).await;
    store.close().await;
    let (store, _database) = make_store().await;
    store_care::a_purged_session_leaves_its_head_and_nothing_else(&store).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus, see README"]
async fn workers_and_a_coordinator_that_crash_again_and_again_lose_nothing_acknowledged() {
    let mut cluster = Cluster::start_with(&[]);
    let database = cluster.database().await;
    let impatient = OpenOptions { outage_wait: std::time::Duration::from_millis(50), ..OpenOptions::default() };
    let stores = [connect(&database.url, DISTRIBUTED).await.unwrap(), connect(&database.url, impatient).await.unwrap()];
    let load = Load::start(&stores, 16, 500);
    for round in 0..9 {
        load.goes_on(100).await;
        block_in_place(|| {
            let server = match round % 3 {
                0 => &mut cluster.workers[0],
                1 => &mut cluster.workers[1],
                _ => &mut cluster.coordinator,
            };
            if round < 3 {
                server.kill()
            } else {
                server.stop_immediate()
            }
            server.start_again();
        });
    }
    load.goes_on(100).await;
    let written = load.end().await;
    println!("{:?}", assert_sound(&stores[0], &written).await);
    for store in stores {
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus, see README"]
async fn while_one_worker_is_away_the_sessions_of_the_other_go_on() {
    let mut cluster = Cluster::start_with(&[]);
    let database = cluster.database().await;
    let store = connect(&database.url, DISTRIBUTED).await.unwrap();
    let sessions: Vec<SessionId> = (0..24).map(|_| new_session()).collect();
    for session in &sessions {
        given(&store, *session, 1).await;
    }
    let worker = cluster.workers[0].port();
    let there = format!(
        "select session_id from session where get_shard_id_for_distribution_column('session', shard) in \
         (select shardid from citus_shards where nodeport = {worker})"
    );
    let there: BTreeSet<Uuid> = database.rows(&there).await.iter().map(|row| row.get(0)).collect();
    let (away, here): (Vec<_>, Vec<_>) = sessions.iter().partition(|session| there.contains(&session.as_uuid()));
    assert!(!away.is_empty() && !here.is_empty(), "all sessions are on one worker");
    block_in_place(|| cluster.workers[0].kill());
    // They wait for the worker, as they wait for a server that restarts.
    let waiting: Vec<_> = away
        .iter()
        .map(|session| {
            let (store, session) = (Arc::clone(&store), *session);
            tokio::spawn(async move { store.append(append(session, Expected::Any, events(1))).await })
        })
        .collect();
    for _ in 0..5 {
        for session in &here {
            given(&store, *session, 1).await;
        }
    }
    let node = new_node();
    store.renew_lease(node, "here", std::time::Duration::from_secs(60)).await.unwrap();
    assert!(!store.node(node).await.unwrap().unwrap().expired);
    assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "an append to the worker that is away was answered");
    block_in_place(|| cluster.workers[0].start_again());
    for appended in waiting {
        appended.await.unwrap().unwrap();
    }
    let fed = store.feed(FeedCursor::default(), 1000).await.unwrap();
    assert_eq!((fed.rows.len(), fed.damaged.len()), (2 * away.len() + 6 * here.len(), 0));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Citus, see README"]
async fn every_session_of_a_killed_node_ends_in_the_other_and_no_action_runs_twice() {
    let (store, database) = make_store().await;
    store.close().await;
    crate::two_nodes::one_of_two_is_killed(40, |_| database.url.clone()).await;
}

#[tokio::test]
#[ignore = "needs Citus, see README"]
async fn the_program_keeps_a_distributed_store() {
    let rig = Rig::new();
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo.json");
    let database = shared_database().await;
    let at = |args: &[&str]| rig.run(&[&["--store", database.url.as_str()], args].concat());
    let made = at(&["store", "init", "--distributed"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.contains("Citus"), "{made:?}");
    assert_eq!(at(&["store", "init", "--distributed"]).code, 0);
    let imported = at(&["import", recording, "--name", "kept"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let replayed = at(&["replay", recording]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    for args in [vec!["ls"], vec!["show", "kept"], vec!["verify", "--all"], vec!["usage"], vec!["tail", "--all"]] {
        let said = at(&args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
    }
    let doctor = at(&["doctor", "--deep"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    let backup = rig.path("backup.db");
    let backup = backup.to_str().unwrap();
    assert_eq!(at(&["store", "backup", backup]).code, 0);
    let other = shared_database().await;
    let there = |args: &[&str]| rig.run(&[&["--store", other.url.as_str()], args].concat());
    assert_eq!(there(&["store", "init", "--distributed"]).code, 0);
    let restored = there(&["store", "restore", backup]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!(there(&["verify", "--all"]).code, 0);
    let purged = there(&["store", "gc", "--older-than", "0m"]);
    assert_eq!(purged.code, 0, "{purged:?}");
    assert_eq!(there(&["doctor", "--deep"]).code, 0);
}

#[tokio::test]
#[ignore = "needs Citus, see README"]
async fn a_store_that_is_there_is_not_distributed_afterwards() {
    let database = shared_database().await;
    connect(&database.url, OpenOptions::default()).await.unwrap().close().await;
    let refused = connect(&database.url, DISTRIBUTED).await.err().unwrap().to_string();
    assert!(refused.contains("store copy"), "{refused}");
}

#[tokio::test]
#[ignore = "needs Citus, see README"]
async fn tables_of_a_migration_are_distributed_with_the_others() {
    let (store, database) = make_store().await;
    given(&store, new_session(), 3).await;
    store.close().await;
    // As a version left it that had no inbox.
    let undone = [
        "drop table inbox",
        "drop table blob_session",
        "drop table search_entry",
        "drop table search_model",
        "alter table node drop column clock",
        "alter table session drop column updated_minute",
        "alter table session drop column base_session",
        "alter table session drop column base_seq",
        "alter table session drop column packed_seq",
        "alter table blob drop column form",
        "alter table store drop column encrypted",
        "update store set format = 3",
        "delete from _sqlx_migrations where version > 3",
    ];
    for change in undone {
        database.rows(change).await;
    }
    let migrating = OpenOptions { migrate: true, ..OpenOptions::default() };
    connect(&database.url, migrating).await.unwrap().close().await;
    let together = "select count(distinct colocationid), count(*) from pg_dist_partition where partmethod = 'h'";
    let counts = database.rows(together).await;
    assert_eq!((counts[0].get::<i64, _>(0), counts[0].get::<i64, _>(1)), (1, 13));
    let store = connect(&database.url, OpenOptions::default()).await.unwrap();
    given(&store, new_session(), 2).await;
    assert_eq!(store.sessions(Default::default(), 9).await.unwrap().len(), 2);
    given(&store, store.sessions(Default::default(), 1).await.unwrap()[0].id, 1).await;
    let wrong = database.rows("select 1 from session where updated_minute is distinct from updated_at / 60000000").await;
    assert!(wrong.is_empty(), "{wrong:?}");
    store.close().await;
}
