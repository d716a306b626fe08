//! What a server says to a call, as the observation that OpenHands V0 makes of it.

use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;
use serde_json::{Value, json};

use crate::session::Observation;
use crate::session::action::CallToolMcp;
use crate::session::observation::{Extras, McpResult};

/// How much one text may hold, in characters; of a longer one the beginning and the end are kept.
const TEXT_CHARS_MAX: usize = 60_000;
/// How much one picture, sound or file may hold, in bytes of its base64.
const DATA_MAX: usize = 128 * 1024;
/// How much all parts together may hold, in bytes.
const ALL_MAX: usize = 256 * 1024;
/// How much what stands beside the parts may hold, in bytes.
const BESIDE_MAX: usize = 64 * 1024;

/// The answer in the order in which V0 writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    meta: Option<Value>,
    content: Vec<Value>,
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Value>,
}

/// The observation of what came of `call`; `again` is a word about the server to begin with.
pub(super) fn observation(call: &CallToolMcp, result: CallToolResult, again: Option<String>) -> Observation {
    let answer = answer(result, again);
    let content = serde_json::to_string(&answer).unwrap_or_default();
    let extras = Extras::Mcp(McpResult { name: call.name.clone(), arguments: call.arguments.clone() });
    Observation { content, extras }
}

/// The refusal of a call, which some servers answer with and others fail with, as one and the same.
pub(super) fn refusal(why: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(why)])
}

fn answer(result: CallToolResult, again: Option<String>) -> Answer {
    let mut structured = result.structured_content;
    let mut parts: Vec<Value> = again.into_iter().map(text).collect();
    parts.extend(result.content.iter().filter_map(|part| serde_json::to_value(part).ok()));
    if result.content.is_empty()
        && let Some(value) = &structured
    {
        parts.push(text(value.to_string()));
    }
    let mut content = Vec::new();
    let mut all = 0;
    let mut left_out = 0;
    for part in parts.into_iter().map(bounded) {
        let size = part.to_string().len();
        if all + size > ALL_MAX {
            left_out += 1;
        } else {
            all += size;
            content.push(part);
        }
    }
    if left_out > 0 {
        content.push(text(format!("[{left_out} further parts of this answer were left out, since it is too long]")));
    }
    structured.take_if(|value| value.to_string().len() > BESIDE_MAX);
    let meta = result.meta.and_then(|meta| serde_json::to_value(meta).ok()).filter(|meta| meta.to_string().len() <= BESIDE_MAX);
    Answer { meta, content, is_error: result.is_error.unwrap_or(false), structured_content: structured }
}

fn text(text: impl Into<String>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

/// A part that is not too long.
fn bounded(mut part: Value) -> Value {
    let kind = part.get("mimeType").or_else(|| part.pointer("/resource/mimeType")).and_then(Value::as_str);
    let kind = kind.unwrap_or("data").to_owned();
    for place in ["/data", "/resource/blob"] {
        if let Some(Value::String(data)) = part.pointer(place)
            && data.len() > DATA_MAX
        {
            return text(format!("[{kind} of {} bytes, left out since it is too long]", data.len() / 4 * 3));
        }
    }
    for place in ["/text", "/resource/text"] {
        if let Some(Value::String(text)) = part.pointer_mut(place) {
            shorten(text);
        }
    }
    part
}

/// Keeps the beginning and the end of a text that is too long.
fn shorten(text: &mut String) {
    let chars = text.chars().count();
    if chars > TEXT_CHARS_MAX {
        let half = TEXT_CHARS_MAX / 2;
        let head: String = text.chars().take(half).collect();
        let tail: String = text.chars().skip(chars - half).collect();
        *text = format!("{head}\n[… {} characters were left out here …]\n{tail}", chars - 2 * half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: Value) -> Value {
        let result: CallToolResult = serde_json::from_value(result).unwrap();
        let call = CallToolMcp { name: "t".into(), arguments: Default::default(), thought: String::new(), security_risk: None };
        serde_json::from_str(&observation(&call, result, None).content).unwrap()
    }

    #[test]
    fn an_answer_has_the_form_of_v0() {
        let result: CallToolResult = serde_json::from_value(json!({"content": [{"type": "text", "text": "hi"}]})).unwrap();
        let call = CallToolMcp { name: "t".into(), arguments: Default::default(), thought: String::new(), security_risk: None };
        let content = observation(&call, result, None).content;
        assert!(content.starts_with(r#"{"meta":null,"content":[{"#) && content.ends_with(r#"}],"isError":false}"#), "{content}");
    }

    #[test]
    fn all_kinds_of_parts_are_kept() {
        let parts = json!([
            {"type": "text", "text": "a"},
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "x:1", "text": "t", "mimeType": "text/plain"}},
            {"type": "resource_link", "uri": "x:2", "name": "n"},
        ]);
        let answer = told(json!({"content": parts, "isError": true, "structuredContent": {"n": 1}}));
        assert_eq!(answer["content"], parts);
        assert_eq!((&answer["isError"], &answer["structuredContent"]), (&json!(true), &json!({"n": 1})));
    }

    #[test]
    fn an_answer_that_is_only_structured_is_told_as_text() {
        let answer = told(json!({"content": [], "structuredContent": {"n": 1}}));
        assert_eq!(answer["content"], json!([{"type": "text", "text": "{\"n\":1}"}]));
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = told(json!({"content": [{"type": "text", "text": format!("a{}z", "é".repeat(TEXT_CHARS_MAX))}]}));
        let text = long["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with('a') && text.ends_with('z') && text.contains("[… 2 characters were left out here …]"));
        let picture = told(json!({"content": [{"type": "image", "data": "A".repeat(DATA_MAX + 4), "mimeType": "image/png"}]}));
        assert_eq!(picture["content"][0]["text"], "[image/png of 98307 bytes, left out since it is too long]");
        let part = json!({"type": "text", "text": "x".repeat(50_000)});
        let many = told(json!({"content": vec![part; 20]}));
        assert_eq!(many["content"].as_array().unwrap().len(), 6);
        assert_eq!(many["content"][5]["text"], "[15 further parts of this answer were left out, since it is too long]");
    }
}
