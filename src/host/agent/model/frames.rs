//! What the frames of a streamed answer say that the client library leaves out: ids, the model, what was used and what it cost.

use std::sync::{Mutex, PoisonError};

use genai::chat::{ChatFrameSink, FrameCtx, RawFrameRef};
use serde_json::Value;

/// Notes what frames say. Shared with the library, which reports each frame.
#[derive(Debug, Default)]
pub struct Frames(Mutex<Said>);

/// What the frames of one answer said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// The endpoint's id of the answer.
    pub id: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Why the answer ended; unset while it goes on.
    pub finish_reason: Option<String>,
    /// What was used.
    pub used: Used,
    /// Whether there was anything at all.
    pub any: bool,
}

/// Tokens as an endpoint counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Tokens read, those from and to the cache among them.
    pub prompt: u64,
    /// Tokens written.
    pub completion: u64,
    /// Tokens read from the cache.
    pub cached: u64,
    /// Tokens written to the cache, where that is counted.
    pub cache_written: u64,
    /// US dollars, where the endpoint says.
    pub cost_usd: Option<f64>,
}

impl Frames {
    /// What was said so far.
    pub fn said(&self) -> Said {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ChatFrameSink for Frames {
    fn on_frame(&self, _ctx: &FrameCtx, frame: RawFrameRef<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(frame.data);
    }
}

impl Said {
    fn note(&mut self, frame: &str) {
        // Lines that belong to no event come as a frame that is empty.
        self.any |= !frame.trim().is_empty();
        let Ok(frame) = serde_json::from_str::<Value>(frame) else { return };
        // Anthropic speaks of the whole answer under `message`, `OpenAI` in each frame.
        for about in [frame.get("message"), Some(&frame)].into_iter().flatten() {
            let text = |key: &str| about.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            self.id = self.id.take().or_else(|| text("id"));
            self.model = self.model.take().or_else(|| text("model"));
            if let Some(usage) = about.get("usage") {
                self.used.note(usage);
            }
        }
        let reason = frame.pointer("/choices/0/finish_reason").or_else(|| frame.pointer("/delta/stop_reason"));
        if let Some(reason) = reason.and_then(Value::as_str) {
            self.finish_reason = Some(reason.to_owned());
        }
    }
}

impl Used {
    /// Later counts replace earlier ones: endpoints report what was used in all, some of them again and again.
    fn note(&mut self, usage: &Value) {
        let count = |path: &str| usage.pointer(path).and_then(Value::as_u64);
        if let Some(read) = count("/input_tokens") {
            let (cached, written) = (count("/cache_read_input_tokens"), count("/cache_creation_input_tokens"));
            self.cached = cached.unwrap_or(0);
            self.cache_written = written.unwrap_or(0);
            // Anthropic counts what concerns the cache apart.
            self.prompt = read.saturating_add(self.cached).saturating_add(self.cache_written);
        }
        if let Some(read) = count("/prompt_tokens") {
            self.prompt = read;
            let cached = count("/prompt_tokens_details/cached_tokens").or_else(|| count("/prompt_cache_hit_tokens"));
            self.cached = cached.unwrap_or(0).min(read);
        }
        if let Some(written) = count("/completion_tokens").or_else(|| count("/output_tokens")) {
            self.completion = written;
        }
        if let Some(cost) = usage.get("cost").and_then(Value::as_f64).filter(|cost| cost.is_finite() && *cost >= 0.0) {
            self.cost_usd = Some(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(frames: &[&str]) -> Said {
        let mut said = Said::default();
        frames.iter().for_each(|frame| said.note(frame));
        said
    }

    #[test]
    fn openai_s_frames() {
        let said = said(&[
            r#"{"id":"chatcmpl-1","model":"gpt-x-2026","choices":[{"delta":{"content":"hi"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"chatcmpl-1","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":64},"cost":0.00125}}"#,
            "[DONE]",
        ]);
        assert_eq!((said.id.as_deref(), said.model.as_deref()), (Some("chatcmpl-1"), Some("gpt-x-2026")));
        assert_eq!(said.finish_reason.as_deref(), Some("stop"));
        let used = Used { prompt: 100, completion: 7, cached: 64, cache_written: 0, cost_usd: Some(0.00125) };
        assert_eq!(said.used, used);
    }

    #[test]
    fn anthropic_s_frames() {
        let said = said(&[
            r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","usage":{"input_tokens":10,"cache_read_input_tokens":50,"cache_creation_input_tokens":5,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"bash","input":{}}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":42}}"#,
        ]);
        assert_eq!((said.id.as_deref(), said.model.as_deref()), (Some("msg_1"), Some("claude-x")));
        assert_eq!(said.finish_reason.as_deref(), Some("tool_use"));
        assert_eq!(said.used, Used { prompt: 65, completion: 42, cached: 50, cache_written: 5, cost_usd: None });
    }
}
