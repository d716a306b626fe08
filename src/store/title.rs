//! Whether a title was made of what an event says: then it goes where the event's body goes.

use serde_json::Value;

/// How a title that was cut ends.
const CUT: char = '…';

/// Whether `title` is said somewhere in `body`, a JSON text. What cannot be read may have said it.
pub(super) fn is_told_by(title: &str, body: &str) -> bool {
    let begin = title.trim_end_matches(CUT).trim();
    begin.is_empty() || serde_json::from_str::<Value>(body).map_or(true, |body| says(&body, begin))
}

fn says(value: &Value, begin: &str) -> bool {
    match value {
        Value::String(text) => text.contains(begin),
        Value::Array(values) => values.iter().any(|value| says(value, begin)),
        Value::Object(fields) => fields.values().any(|value| says(value, begin)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_found_in_what_it_was_cut_from_and_nowhere_else() {
        let body = r#"{"args":{"content":"  fix the \"café\" test, now\n"},"n":[1,{"deep":"other words"}]}"#;
        for (title, told) in [
            ("fix the \"café\" test, now", true),
            ("fix the \"caf…", true),
            ("other words", true),
            ("args", false),
            ("fix the test", false),
        ] {
            assert_eq!(is_told_by(title, body), told, "{title}");
        }
        assert!(is_told_by("anything", "no JSON"));
    }
}
