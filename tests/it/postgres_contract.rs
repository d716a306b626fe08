//! PostgreSQL keeps the same contract, and understands every statement.

use rekindle::session::{NewEvent, Seq, SessionId, Timestamp};
use rekindle::store::conformance::{self, event};
use rekindle::store::statements::{common, postgres};
use rekindle::store::{Append, Expected, OpenOptions, SessionFilter, SharedStore, Writer, connect};
use sqlx::{Connection as _, Executor as _, Row as _, SqlSafeStr as _};

use crate::postgres_server::shared;

async fn make_store() -> (SharedStore, ()) {
    let url = shared().fresh_database().await;
    (connect(&url, OpenOptions::default()).await.unwrap(), ())
}

rekindle::store_conformance!(make_store);

mod encrypted {
    use rekindle::store::{Bodies, OpenOptions, SharedStore, connect};

    use crate::postgres_server::shared;

    async fn make_store() -> (SharedStore, tempfile::TempDir) {
        let url = shared().fresh_database().await;
        let directory = tempfile::tempdir().unwrap();
        let keys = Some(directory.path().to_owned());
        (connect(&url, OpenOptions { bodies: Bodies::Encrypted, keys, ..OpenOptions::default() }).await.unwrap(), directory)
    }

    rekindle::store_conformance!(without search: make_store);
}

#[tokio::test]
async fn every_statement_prepares() {
    let url = shared().fresh_database().await;
    connect(&url, OpenOptions::default()).await.unwrap().close().await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for (name, statement) in common::ALL.iter().chain(postgres::ALL) {
        let prepared = connection.prepare((*statement).into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    }
}

#[tokio::test]
async fn the_most_recent_sessions_are_found_without_looking_at_all_of_them() {
    let url = shared().fresh_database().await;
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    // Several change in the same minute, some at the same moment.
    let fill = "insert into session (shard, session_id, head_seq, head_hash, epoch, phase, due, origin, actions, messages, errors, \
         tokens, created_at, updated_at, updated_minute) select n % 256, gen_random_uuid(), 1, decode(repeat('00', 32), 'hex'), 0, \
         'ready', false, 'fresh', 0, 0, 0, 0, 0, at, at / 60000000 from (select n, 1767225600000000 + \
         (n * 7919 % 20000) / 3 * 1000000::bigint as at from generate_series(1, 20000) n) as made";
    sqlx::raw_sql(fill).execute(&mut connection).await.unwrap();
    let explain = format!("prepare it as {}; explain (costs off) execute it (51)", postgres::SESSIONS);
    let plan = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("session_recent") && !plan.contains("Seq Scan"), "{plan}");
    let all = "select session_id from session order by updated_at desc, session_id desc limit 51";
    let expected: Vec<uuid::Uuid> = sqlx::query_scalar(all).fetch_all(&mut connection).await.unwrap();
    let listed = store.sessions(SessionFilter::All, 51).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.id.as_uuid()).collect::<Vec<_>>(), expected);
    store.close().await;
}

/// The minutes under which sessions are listed; each is that of its session's last event.
async fn minutes(url: &str) -> Vec<i64> {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let wrong = "select count(*) from session where updated_minute is distinct from updated_at / 60000000";
    assert_eq!(sqlx::query_scalar::<_, i64>(wrong).fetch_one(&mut connection).await.unwrap(), 0);
    let minutes = "select distinct updated_minute from session order by 1";
    sqlx::query_scalar(minutes).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test]
async fn sessions_are_listed_under_the_minute_of_their_last_event_whatever_wrote_it() {
    let (url, copy_url) = (shared().fresh_database().await, shared().fresh_database().await);
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let copy = connect(&copy_url, OpenOptions::default()).await.unwrap();
    let sessions: Vec<SessionId> = (0..40).map(|_| conformance::new_session()).collect();
    let append = async |sessions: &[SessionId], expected: Seq, bodies: &[&str], minute: i64| {
        let at = Timestamp(minute * 60_000_000 + 59_999_999);
        append_to_all(&store, sessions, expected, || bodies.iter().map(|body| NewEvent { at, ..event(body) }).collect()).await;
    };
    let first = 29_453_760;
    append(&sessions, Seq::ZERO, &["begins"], first).await;
    assert_eq!(minutes(&url).await, [first]);
    append(&sessions, Seq(1), &["of many", "of many"], first + 1).await;
    assert_eq!(minutes(&url).await, [first + 1]);
    append(&sessions[..1], Seq(3), &["several", "of one"], first + 2).await;
    append(&sessions[1..2], Seq(3), &["one"], first + 3).await;
    assert_eq!(minutes(&url).await, [first + 1, first + 2, first + 3]);
    // What does not fit beside its row takes a transaction of several statements.
    let long = "long".repeat(20_000);
    append(&sessions[2..4], Seq(3), &[&long], first + 4).await;
    append(&[conformance::new_session()], Seq::ZERO, &[&long], first + 5).await;
    assert_eq!(minutes(&url).await, [1, 2, 3, 4, 5].map(|after| first + after));
    rekindle::store::copy(store.as_ref(), copy.as_ref(), |_| ()).await.unwrap();
    assert_eq!(minutes(&copy_url).await, minutes(&url).await);
    append(&sessions[4..5], Seq(3), &["later"], first + 6).await;
    rekindle::store::copy(store.as_ref(), copy.as_ref(), |_| ()).await.unwrap();
    assert_eq!(minutes(&copy_url).await, [1, 2, 3, 4, 5, 6].map(|after| first + after));
    conformance::forked(&store, sessions[0], 3, 2).await;
    let of_the_fork = event("").at.0 / 60_000_000;
    assert_eq!(minutes(&url).await, [0, 1, 2, 3, 4, 5, 6].map(|after| of_the_fork + after));
    store.close().await;
    copy.close().await;
}

#[tokio::test]
async fn lists_of_a_store_whose_database_counted_the_minutes_stay_as_they_are() {
    let url = shared().fresh_database().await;
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    for minute in [3, 1, 2] {
        let at = Timestamp(29_453_760 * 60_000_000 + minute * 60_000_000);
        let events = vec![NewEvent { at, ..event("one") }];
        store.append(conformance::append(conformance::new_session(), Expected::Any, events)).await.unwrap();
    }
    let before = store.sessions(SessionFilter::All, 9).await.unwrap();
    store.close().await;
    let older = "alter table session drop column updated_minute; \
         alter table session add column updated_minute bigint generated always as (updated_at / 60000000) stored; \
         create index session_recent on session (updated_minute desc); \
         update store set format = 10; delete from _sqlx_migrations where version > 10";
    sqlx::raw_sql(older).execute(&mut sqlx::PgConnection::connect(&url).await.unwrap()).await.unwrap();
    let store = connect(&url, OpenOptions { migrate: true, ..OpenOptions::default() }).await.unwrap();
    let after = store.sessions(SessionFilter::All, 9).await.unwrap();
    assert_eq!(after.iter().map(|row| row.id).collect::<Vec<_>>(), before.iter().map(|row| row.id).collect::<Vec<_>>());
    assert_eq!(minutes(&url).await, [1, 2, 3].map(|minute| 29_453_760 + minute));
    conformance::given(&store, after[0].id, 2).await;
    minutes(&url).await;
    store.close().await;
}

#[tokio::test]
async fn a_fork_leaves_every_row_of_what_it_was_forked_from_as_it_was() {
    let url = shared().fresh_database().await;
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let parent = conformance::new_session();
    conformance::given(&store, parent, 20).await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    // With the transaction that wrote each row, which is another one as soon as the row is written again.
    let rows = async |connection: &mut sqlx::PgConnection| {
        let all = "select xmin::text || ' ' || row_to_json(e)::text from event e where session_id = $1 union all \
             select xmin::text || ' ' || row_to_json(s)::text from session s where session_id = $1 order by 1";
        sqlx::query_scalar::<_, String>(all).bind(parent.as_uuid()).fetch_all(connection).await.unwrap()
    };
    let before = rows(&mut connection).await;
    assert_eq!(before.len(), 21);
    let fork = conformance::forked(&store, parent, 12, 3).await;
    let below = conformance::forked(&store, fork, 14, 2).await;
    for session in [fork, below] {
        conformance::given(&store, session, 5).await;
    }
    assert_eq!(rows(&mut connection).await, before);
    store.close().await;
}

#[tokio::test]
async fn a_cursor_of_another_database_is_refused() {
    let (url, other) = (shared().fresh_database().await, shared().fresh_database().await);
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let other = connect(&other, OpenOptions::default()).await.unwrap();
    crate::feed::a_cursor_of_another_store_is_refused_even_where_this_feed_reaches_it(&store, &other).await;
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn tables_that_do_not_come_to_the_present_format_are_an_error_and_not_waited_for() {
    let url = shared().fresh_database().await;
    connect(&url, OpenOptions::default()).await.unwrap().close().await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("update store set format = 3").execute(&mut connection).await.unwrap();
    let migrating = OpenOptions { migrate: true, ..OpenOptions::default() };
    let refused = connect(&url, migrating).await.err().unwrap();
    let said = format!("{refused}: {:?}", std::error::Error::source(&refused));
    assert!(said.contains("_sqlx_migrations"), "{said}");
}

#[tokio::test]
async fn bodies_are_compressed_with_the_fast_method_where_the_server_knows_it() {
    let url = shared().fresh_database().await;
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let session = SessionId::from_uuid(uuid::Uuid::now_v7());
    let append = Append {
        session,
        expected: Expected::Exact(Seq::ZERO),
        writer: Writer::Anyone,
        events: vec![event(&"the same again; ".repeat(400))],
        directory: None,
    };
    store.append(append).await.unwrap();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let known = "select 'lz4' = any(enumvals) from pg_settings where name = 'default_toast_compression'";
    let known: Option<bool> = sqlx::query_scalar(known).fetch_optional(&mut connection).await.unwrap();
    let method = "select pg_column_compression(body) from event where session_id = $1";
    let method: Option<String> = sqlx::query_scalar(method).bind(session.as_uuid()).fetch_one(&mut connection).await.unwrap();
    let expected = if known == Some(true) { "lz4" } else { "pglz" };
    assert_eq!(method.as_deref(), Some(expected));
    store.close().await;
}

#[tokio::test]
async fn rows_travel_with_the_columns_of_their_tables_in_their_order() {
    let url = shared().fresh_database().await;
    connect(&url, OpenOptions::default()).await.unwrap().close().await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for (table, sent) in [("event", postgres::EVENT_COLUMNS), ("session", postgres::SESSION_COLUMNS)] {
        let columns = "select string_agg(attname, ', ' order by attnum) from pg_attribute \
             where attrelid = $1::text::regclass and attnum > 0 and not attisdropped";
        let columns: String = sqlx::query_scalar(columns).bind(table).fetch_one(&mut connection).await.unwrap();
        assert_eq!(sent, columns, "{table}");
    }
}

/// Appends to many sessions at once.
async fn append_to_all(store: &SharedStore, sessions: &[SessionId], expected: Seq, events: impl Fn() -> Vec<NewEvent>) {
    let appends = sessions.iter().map(|session| store.append(conformance::append(*session, Expected::Exact(expected), events())));
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
}

#[tokio::test]
async fn what_waits_is_committed_in_one_statement_and_where_tables_have_a_column_more_in_several() {
    let url = shared().fresh_database().await;
    let sessions: Vec<SessionId> = (0..40).map(|_| conformance::new_session()).collect();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    // A statement that failed is counted as taken back, and all that a connection did is counted once the server has let it go.
    let taken_back = async |connection: &mut sqlx::PgConnection| {
        let others = "select exists (select 1 from pg_stat_activity where datname = current_database() \
             and backend_type = 'client backend' and pid <> pg_backend_pid())";
        while sqlx::query_scalar::<_, bool>(others).fetch_one(&mut *connection).await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let count = "select xact_rollback from pg_stat_database where datname = current_database()";
        sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *connection).await.unwrap()
    };
    connect(&url, OpenOptions::default()).await.unwrap().close().await;
    let before = taken_back(&mut connection).await;
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    append_to_all(&store, &sessions, Seq::ZERO, || conformance::events(2)).await;
    append_to_all(&store, &sessions, Seq(2), || conformance::events(3)).await;
    append_to_all(&store, &sessions[..1], Seq(5), || conformance::events(2)).await;
    append_to_all(&store, &sessions[..1], Seq(7), || conformance::events(1)).await;
    store.close().await;
    assert_eq!(taken_back(&mut connection).await, before);
    // As a program of tomorrow may do while this one runs.
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    append_to_all(&store, &sessions[1..], Seq(5), || conformance::events(1)).await;
    sqlx::raw_sql("alter table event add column more text; alter table session add column more text")
        .execute(&mut connection)
        .await
        .unwrap();
    append_to_all(&store, &sessions[1..], Seq(6), || conformance::events(1)).await;
    assert_eq!(store.session(sessions[1]).await.unwrap().unwrap().head, Seq(7));
    store.close().await;
    assert!(taken_back(&mut connection).await > before);
}
