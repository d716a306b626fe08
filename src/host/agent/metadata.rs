//! The tool call that an action came from, as it stands in `tool_call_metadata`.
//!
//! Of the model's answer only its id and its words are kept there, so that the log grows with the conversation and not with its
//! square; what else the answer held stands once in `model.responded`. Recordings of other systems hold the whole answer in the
//! shape of `OpenAI`, which is read as well.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::session::action::Opaque;

/// The tool call that an action came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallMetadata {
    /// The tool.
    pub function_name: String,
    /// The call.
    pub tool_call_id: String,
    /// The answer that it stood in.
    #[serde(default)]
    pub model_response: Value,
    /// How many calls stood in that answer.
    #[serde(default = "one")]
    pub total_calls_in_response: usize,
}

const fn one() -> usize {
    1
}

impl CallMetadata {
    /// A call of the answer `response`, in which the model said `words`.
    pub fn new(function_name: &str, tool_call_id: &str, response: &str, words: &str, total: usize) -> Self {
        let model_response = if words.is_empty() {
            serde_json::json!({ "id": response })
        } else {
            serde_json::json!({ "id": response, "content": words })
        };
        Self {
            function_name: function_name.to_owned(),
            tool_call_id: tool_call_id.to_owned(),
            model_response,
            total_calls_in_response: total,
        }
    }

    /// Reads it; `None` for what names no call.
    pub fn read(raw: &Opaque) -> Option<Self> {
        serde_json::from_str(raw.get()).ok().filter(|metadata: &Self| !metadata.tool_call_id.is_empty())
    }

    /// As it is stored.
    pub fn write(&self) -> Option<Opaque> {
        to_raw_value(self).ok()
    }

    /// The id of the answer.
    pub fn response(&self) -> Option<&str> {
        self.model_response.get("id")?.as_str()
    }

    /// What the model said beside its calls.
    pub fn words(&self) -> &str {
        let whole = || self.model_response.pointer("/choices/0/message/content");
        self.model_response.get("content").or_else(whole).and_then(Value::as_str).unwrap_or_default()
    }

    /// The arguments of the call, where the whole answer was recorded.
    pub fn recorded_arguments(&self) -> Option<Value> {
        let calls = self.model_response.pointer("/choices/0/message/tool_calls")?.as_array()?;
        let call = calls.iter().find(|call| call.get("id").and_then(Value::as_str) == Some(&self.tool_call_id))?;
        let arguments: Value = serde_json::from_str(call.pointer("/function/arguments")?.as_str()?).ok()?;
        arguments.is_object().then_some(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_and_the_words_of_an_answer_are_stored_with_its_actions() {
        let stored = CallMetadata::new("bash", "call-1", "answer-1", "I look.", 2).write().unwrap();
        assert_eq!(
            stored.get(),
            r#"{"function_name":"bash","tool_call_id":"call-1","model_response":{"id":"answer-1","content":"I look."},"total_calls_in_response":2}"#
        );
        let read = CallMetadata::read(&stored).unwrap();
        assert_eq!((read.response(), read.words(), read.recorded_arguments()), (Some("answer-1"), "I look.", None));
    }

    #[test]
    fn a_whole_answer_in_a_recording_is_read_too() {
        let recorded = r#"{"function_name":"execute_bash","tool_call_id":"t1","model_response":{"id":"r1","choices":[{"message":
            {"content":"Look.","tool_calls":[{"id":"t1","function":{"name":"execute_bash","arguments":"{\"command\":\"ls\"}"}}]}}]}}"#;
        let raw: Opaque = serde_json::from_str(recorded).unwrap();
        let read = CallMetadata::read(&raw).unwrap();
        assert_eq!((read.response(), read.words()), (Some("r1"), "Look."));
        assert_eq!(read.recorded_arguments(), Some(serde_json::json!({"command": "ls"})));
    }
}
