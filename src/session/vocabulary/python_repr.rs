//! Writes JSON as Python shows it: V0 puts the arguments of a tool into messages that way.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::json::Dict;

/// What Python's `str()` gives for a JSON value: a text as it is, everything else as its `repr`.
pub(super) fn str_of(json: &str) -> String {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| repr_of(json))
}

/// What Python's `repr()` gives for a JSON value,.
pub(super) fn repr_of(json: &str) -> String {
    let mut out = String::new();
    repr(json, &mut out);
    out
}

/// One `'key': value` of a dict's `repr()`.
pub(super) fn repr_entry(key: &str, json: &str) -> String {
    let mut out = String::new();
    repr_text(key, &mut out);
    out.push_str(": ");
    repr(json, &mut out);
    out
}

fn repr(json: &str, out: &mut String) {
    match json.bytes().next() {
        Some(b'n') => out.push_str("None"),
        Some(b't') => out.push_str("True"),
        Some(b'f') => out.push_str("False"),
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(text) => repr_text(&text, out),
            Err(_) => out.push_str(json),
        },
        Some(b'{') => {
            out.push('{');
            let entries = serde_json::from_str::<Dict<&RawValue>>(json).unwrap_or_default();
            for (i, (key, value)) in entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                out.push_str(&repr_entry(key, value.get()));
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for (i, value) in serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default().iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                repr(value.get(), out);
            }
            out.push(']');
        }
        _ => repr_number(json, out),
    }
}

fn repr_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        let code = u32::from(c);
        // Writing to a String cannot fail.
        let _ = match c {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\\' => out.write_str("\\\\"),
            _ if c == quote => write!(out, "\\{c}"),
            _ if is_printable(c) => out.write_char(c),
            _ if code < 0x100 => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out.push(quote);
}

/// Rust and Python call the same characters printable; behind another character Rust also shows combining ones as they are.
fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\') || format!("a{c}").escape_debug().nth(1) != Some('\\')
}

fn repr_number(json: &str, out: &mut String) {
    if !json.contains(['.', 'e', 'E']) {
        out.push_str(if json == "-0" { "0" } else { json });
        return;
    }
    let Ok(number) = json.parse::<f64>() else {
        out.push_str(json);
        return;
    };
    if number.is_infinite() {
        out.push_str(if number > 0.0 { "inf" } else { "-inf" });
        return;
    }
    // Python goes over to exponents outside 1e-4 ..< 1e16, and writes at least two digits of them.
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let _ = match exponent {
        -4..16 => write!(out, "{number:?}").map(|()| ()),
        _ => write!(out, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repr_is_that_of_python() {
        for (json, python) in [
            (
                r#"{"b":1,"a":[true,null,1.50,1e16,1e-5,0.0001,-0.0,100.0]}"#,
                "{'b': 1, 'a': [True, None, 1.5, 1e+16, 1e-05, 0.0001, -0.0, 100.0]}",
            ),
            (r#"["it's","\"'","\n\t\\\u001b\u00a0é\u200b"]"#, r#"["it's", '"\'', '\n\t\\\x1b\xa0é\u200b']"#),
            ("1234567890123456.0", "1234567890123456.0"),
        ] {
            assert_eq!(repr_of(json), python);
        }
        assert_eq!(str_of(r#""it's""#), "it's");
    }
}
