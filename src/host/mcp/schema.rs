//! The tools of servers in the form that the endpoints of models take.

use rmcp::model::Tool;
use serde_json::{Map, Value, json};

/// How much may be said about a tool, in characters.
const DESCRIPTION_MAX: usize = 4096;
/// How large the schema of a tool's arguments may be, in bytes.
const SCHEMA_MAX: usize = 64 * 1024;
/// What endpoints refuse at the top of a schema; the server checks its arguments anyway.
const REFUSED: [&str; 6] = ["oneOf", "anyOf", "allOf", "not", "enum", "$schema"];

/// What the tool does, in words that are not too many.
pub(super) fn description(tool: &Tool) -> String {
    let text = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    match text.char_indices().nth(DESCRIPTION_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The schema of the tool's arguments.
///
/// # Errors
/// In words, when no model can be told of it.
pub(super) fn parameters(tool: &Tool) -> Result<Value, String> {
    let mut schema: Map<String, Value> = tool.input_schema.as_ref().clone();
    match schema.get("type") {
        None => drop(schema.insert("type".to_owned(), "object".into())),
        Some(Value::String(kind)) if kind == "object" => {}
        Some(other) => return Err(format!("its arguments are no object but {}", shown(other))),
    }
    for refused in REFUSED {
        schema.remove(refused);
    }
    match schema.get("properties") {
        None | Some(Value::Null) => drop(schema.insert("properties".to_owned(), json!({}))),
        Some(Value::Object(_)) => {}
        Some(other) => return Err(format!("the properties of its schema are no object but {}", shown(other))),
    }
    let size = serde_json::to_vec(&schema).map_or(usize::MAX, |bytes| bytes.len());
    if size > SCHEMA_MAX {
        return Err(format!("its schema has {size} bytes, and {SCHEMA_MAX} are taken"));
    }
    // One order for all, so that the same schema is never told as another one.
    let mut schema = Value::Object(schema);
    schema.sort_all_objects();
    Ok(schema)
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(schema: &Value) -> Tool {
        serde_json::from_value(json!({ "name": "t", "description": "Does\u{0}\u{1b}[1m it.\n", "inputSchema": schema })).unwrap()
    }

    #[test]
    fn what_endpoints_refuse_is_put_right() {
        let given = json!({"$schema": "x", "oneOf": [{"required": ["a"]}], "properties": {"a": {"anyOf": [{"type": "string"}]}}});
        let taken = parameters(&tool(&given)).unwrap();
        assert_eq!(taken, json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}]}}}));
        assert_eq!(parameters(&tool(&json!({}))).unwrap(), json!({"type": "object", "properties": {}}));
        assert_eq!(description(&tool(&json!({}))), "Does[1m it.\n");
    }

    #[test]
    fn the_same_schema_in_another_order_is_the_same() {
        let told = |text: &str| parameters(&tool(&serde_json::from_str(text).unwrap())).unwrap().to_string();
        assert_eq!(told(r#"{"properties":{"a":{"x":1,"y":2},"b":{}}}"#), told(r#"{"properties":{"b":{},"a":{"y":2,"x":1}}}"#));
    }

    #[test]
    fn what_cannot_be_put_right_is_left_out_with_its_reason() {
        assert_eq!(parameters(&tool(&json!({"type": "string"}))).unwrap_err(), "its arguments are no object but \"string\"");
        assert!(parameters(&tool(&json!({"properties": [1]}))).unwrap_err().contains("no object but [1]"));
        let large = json!({"properties": {"a": {"description": "x".repeat(SCHEMA_MAX)}}});
        assert!(parameters(&tool(&large)).unwrap_err().contains("65536 are taken"));
    }
}
