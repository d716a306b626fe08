//! A value is hidden at every place of every JSON, however it is written there, and nothing else changes.

use proptest::prelude::*;
use rekindle::session::mask::{HIDDEN, Masker, Place, Streaming};
use rekindle::session::{Entry, Event, Item};
use serde_json::{Map, Value};
use std::sync::Arc;

use crate::secrets_support::written;

/// Values as secrets have them: tokens, passwords with signs, several lines, other scripts.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "ghp_[A-Za-z0-9]{20,40}",
        "[!-~]{8,40}",
        "[ -~]{10,30}[!-~]",
        "[a-z]{6}[\"\\\\'$`&<>]{4}[a-z]{4}",
        "[a-zäöüß🦀\\t\\n]{8,24}x",
        "-----BEGIN KEY-----\n[A-Za-z0-9+/]{64}\n[A-Za-z0-9+/]{64}\n-----END KEY-----\n",
    ]
    .prop_filter("white space around it is not part of what is looked for", |value| {
        value.trim() == value.trim_end_matches('\n') && value.trim().chars().count() >= 8
    })
}

/// Where in a tree a text stands.
#[derive(Debug, Clone)]
enum Way {
    Text,
    Key,
    List(usize, Box<Way>),
    Object(String, Box<Way>),
}

fn way() -> impl Strategy<Value = Way> {
    let leaf = prop_oneof![Just(Way::Text), Just(Way::Key)];
    leaf.prop_recursive(6, 12, 1, |inner| {
        prop_oneof![
            (0..3_usize, inner.clone()).prop_map(|(before, inner)| Way::List(before, Box::new(inner))),
            ("[a-z]{1,8}", inner).prop_map(|(key, inner)| Way::Object(key, Box::new(inner))),
        ]
    })
}

/// A tree with `text` at the end of the way, and harmless things beside it.
fn tree(way: &Way, text: &str) -> Value {
    match way {
        Way::Text => Value::from(text),
        Way::Key => Value::Object(Map::from_iter([(text.to_owned(), Value::from(true))])),
        Way::List(before, inner) => {
            Value::Array(std::iter::repeat_n(Value::from(1.5), *before).chain([tree(inner, text), Value::Null]).collect())
        }
        Way::Object(key, inner) => Value::Object(Map::from_iter([
            ("beside".to_owned(), Value::from("words that stay")),
            (key.clone(), tree(inner, text)),
        ])),
    }
}

/// All strings and keys.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            into.push(key.clone());
            texts(value, into);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn read(text: &str) -> Option<usize> {
    Some(text.matches(HIDDEN).count())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_form_of_a_value_survives_at_any_place(
        value in value(), way in way(), form in any::<prop::sample::Index>(), before in "[a-z ,:=]{0,12}", after in "[ ,;!]{0,8}"
    ) {
        let masker = Masker::new([("S", value.as_str())]).unwrap();
        let forms = written(value.trim());
        let (name, one) = form.get(&forms);
        // What ends before the end of a group is not determined, so that no form of it is one that could be met.
        prop_assume!(one.len() >= 8);
        let whole = tree(&way, &format!("{before}{one}{after}")).to_string();
        let hidden = masker.json(&whole, Place::default(), read);
        prop_assert!(hidden.is_some(), "{name} was not found in {whole}");
        let hidden: Value = serde_json::from_str(&hidden.unwrap()).unwrap();
        let mut left = Vec::new();
        texts(&hidden, &mut left);
        for text in &left {
            for (form, one) in &forms {
                prop_assert!(one.len() < 8 || !text.contains(one.as_str()), "{form} of {value:?} is left in {text:?}");
            }
        }
        let expected = tree(&way, &format!("{before}{HIDDEN}{after}"));
        prop_assert_eq!(hidden, expected, "nothing else changes");
    }

    #[test]
    fn a_value_in_pieces_is_hidden_as_one_that_comes_whole(
        value in value(), before in "[ -~]{0,20}", after in "[ -~]{0,20}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)
    ) {
        let masker = Arc::new(Masker::new([("S", value.as_str())]).unwrap());
        let text = format!("{before} {value} {after}.");
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&places)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let mut stream = Streaming::new(Arc::clone(&masker));
        let shown: String = cuts.windows(2).map(|cut| stream.push(&text[cut[0]..cut[1]])).collect();
        let shown = shown + &stream.end();
        prop_assert!(!shown.contains(value.trim()), "{shown:?}");
        prop_assert_eq!(shown, masker.text(&text).into_owned());
    }

    #[test]
    fn an_action_and_an_observation_stay_what_they_are(value in value(), way in way()) {
        let masker = Masker::new([("S", value.as_str())]).unwrap();
        let arguments = serde_json::json!({ "x": tree(&way, &value) });
        let metadata = serde_json::json!({"function_name": "f", "tool_call_id": "c", "total_calls_in_response": 1,
            "model_response": {"id": "r", "choices": [{"message": {"content": value}}]}});
        let action = serde_json::json!({"action": "call_tool_mcp", "args": {"name": "f", "arguments": arguments},
            "tool_call_metadata": metadata});
        let observation = serde_json::json!({"observation": "mcp", "content": value, "extras": {"name": "f", "arguments": arguments}});
        for text in [action.to_string(), observation.to_string()] {
            let event = Event::Item(Box::new(Entry::new(Item::decode(&text).unwrap())));
            let (hidden, body) = masker.event(&event, &event.body()).expect("there is a value in it");
            prop_assert_eq!(hidden.kind(), event.kind());
            prop_assert_eq!(&hidden.body(), &body);
            let mut left = Vec::new();
            texts(&serde_json::from_str(&body).unwrap(), &mut left);
            prop_assert!(left.iter().all(|text| !text.contains(value.trim())), "{body}");
        }
    }
}
