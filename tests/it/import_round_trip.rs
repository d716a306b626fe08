//! An export of an unmodified import says what its source says, through a real store, whatever the recording holds.

use proptest::prelude::*;
use rekindle::session::{Seq, Timestamp};
use rekindle::store::{OpenOptions, Read, Row, Store, connect, verify_session};
use rekindle::trajectory::{Exporter, import, parse};

/// Texts of JSON, as many ways as there are to write them: escapes, surrogates, controls, what is long.
fn string() -> BoxedStrategy<String> {
    let piece = prop_oneof![
        "[ -!#-\\[\\]-~]{0,6}".boxed(),
        any::<char>().prop_filter("a json text", |c| !matches!(c, '"' | '\\' | '\0'..='\x1f')).prop_map(String::from).boxed(),
        prop::sample::select(vec![
            "\\u00e9",
            "\\u0000",
            "\\u001B",
            "\\uD83D\\uDE80",
            "\\/",
            "\\\"",
            "\\\\",
            "\\n\\t\\r\\b\\f",
            "日本",
            "é",
            "\u{7f}\u{202e}",
        ])
        .prop_map(str::to_owned)
        .boxed(),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat())).boxed()
}

/// Numbers that a reader into floats, or a writer of its own, would change.
fn number() -> BoxedStrategy<String> {
    let odd = [
        "-0",
        "-0.0",
        "1E400",
        "1e-400",
        "1.0",
        "1.10",
        "0.1e+1",
        "100000000000000000000000000001",
        "1E5",
        "3.14159265358979323846",
    ];
    prop_oneof![any::<i64>().prop_map(|n| n.to_string()), prop::sample::select(odd.to_vec()).prop_map(str::to_owned)].boxed()
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", " ", "\n  ", "\t"])
}

/// JSON as text: blanks, order, doubled keys and spelling are part of what must survive.
fn json() -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("null".to_owned()), any::<bool>().prop_map(|it| it.to_string()), number(), string()];
    let tree = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space())
                .prop_map(|(all, gap)| format!("[{gap}{}]", all.join(&format!(",{gap}")))),
            (prop::collection::vec((string(), inner), 0..4), space()).prop_map(|(all, gap)| object(&all, gap)),
        ]
    });
    tree.boxed()
}

fn object(fields: &[(String, String)], gap: &str) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{gap}{value}")).collect();
    format!("{{{gap}{}{gap}}}", fields.join(","))
}

/// An entry: a tag that is known or not, arguments that fit or not, and fields that nobody knows.
fn entry() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec!["message", "run", "edit", "finish", "recall", "null", "agent_state_changed", "error"]);
    let own = prop::sample::select(vec!["session.created", "session.imported", "replay.finished", "dispatched", "created"]);
    let tag = prop_oneof![known.prop_map(|tag| format!("\"{tag}\"")), own.prop_map(|tag| format!("\"{tag}\"")), string()];
    let extra = prop::collection::vec((string(), json()), 0..3);
    (
        any::<bool>(),
        tag,
        json(),
        extra,
        prop::option::of(number()),
        prop::option::of(number()),
        prop::option::of(string()),
        space(),
    )
        .prop_map(|(action, tag, payload, extra, id, cause, timestamp, gap)| {
            let (name, inner) = if action { ("action", "args") } else { ("observation", "extras") };
            let mut fields = vec![(format!("\"{name}\""), tag), (format!("\"{inner}\""), payload)];
            let optional = [("id", id), ("cause", cause), ("timestamp", timestamp)];
            fields.extend(optional.into_iter().filter_map(|(key, value)| Some((format!("\"{key}\""), value?))));
            // In front, so that the order of fields matters.
            fields.splice(0..0, extra.into_iter().map(|(key, value)| (format!("\"x{}", &key[1..]), value)));
            object(&fields, gap)
        })
}

/// What an export writes, entry by entry.
async fn exported(store: &dyn Store, id: rekindle::session::SessionId) -> Vec<String> {
    let (mut exporter, mut entries, mut after) = (Exporter::default(), Vec::new(), Seq::ZERO);
    loop {
        let page = store.read(Read::forward(id, after)).await.unwrap();
        for row in &page.rows {
            let Row::Event { event, .. } = row else { panic!("{row:?}") };
            after = event.seq;
            entries.extend(exporter.entry(event));
        }
        if !page.more {
            assert_eq!(exporter.missing(), []);
            return entries;
        }
    }
}

async fn survives(url: &str, elements: &[String]) -> Result<(), TestCaseError> {
    let store = connect(url, OpenOptions::default()).await.unwrap();
    let trajectory = parse(&format!("[{}]", elements.join(",\n"))).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let imported = import(store.as_ref(), Timestamp(7), &trajectory, None).await.unwrap();
    let out = exported(store.as_ref(), imported.session).await;
    verify_session(store.as_ref(), imported.session).await.unwrap();
    let again = parse(&format!("[{}]", out.join(","))).unwrap();
    let twice = import(store.as_ref(), Timestamp(8), &again, None).await.unwrap();
    store.close().await;
    prop_assert_eq!(&out, elements);
    prop_assert_eq!(
        (twice.session, twice.already),
        (imported.session, elements.len() as u64),
        "the same recording is the same session"
    );
    Ok(())
}

fn holds(cases: u32, url: impl Fn() -> (String, Option<tempfile::TempDir>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let mut runner = prop::test_runner::TestRunner::new(config);
    let recordings = prop::collection::vec(entry(), 1..12);
    let held = runner.run(&recordings, |elements| {
        let (url, _directory) = url();
        runtime.block_on(survives(&url, &elements))
    });
    held.unwrap();
}

#[test]
fn an_export_of_an_import_is_its_source_in_memory() {
    holds(200, || ("memory:".to_owned(), None));
}

#[cfg(feature = "sqlite")]
#[test]
fn an_export_of_an_import_is_its_source_in_a_file() {
    holds(40, || {
        let directory = tempfile::tempdir().unwrap();
        (format!("sqlite://{}", directory.path().join("store.db").display()), Some(directory))
    });
}
