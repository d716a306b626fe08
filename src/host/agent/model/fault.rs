//! What kind of failure an endpoint's error is.
//!
//! Endpoints agree on little beyond the status, so the words of `OpenAI`, Anthropic, `OpenRouter`, `LiteLLM`, Gemini, Azure, Bedrock,
//! llama.cpp and `SambaNova` are looked for, from the most telling to the least.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::engine::ports::ModelErrorClass;

/// How much of an endpoint's own words goes into an error, in characters.
const SAID_CHARS_MAX: usize = 500;

const CONTEXT_WINDOW: &[&str] = &[
    "contextwindowexceedederror",
    "context_length_exceeded",
    "model_context_window_exceeded",
    "prompt is too long",
    "input length and `max_tokens` exceed context limit",
    "please reduce the length of",
    "maximum context length",
    "context length exceeded",
    "exceeds the context window",
    "exceed context limit",
    "exceeds the available context size",
    "exceeds the maximum number of tokens",
    "exceeds the model's maximum",
    "input is too long for requested model",
    "request_too_large",
    "request too large for",
];
const OUT_OF_CREDITS: &[&str] = &[
    "insufficient_quota",
    "exceeded your current quota",
    "exceededbudget",
    "budget has been exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "credit balance is too low",
    "insufficient credits",
    "requires more credits",
    "insufficient balance",
    "insufficient_balance",
];
const CONTENT_POLICY: &[&str] = &[
    "content_policy_violation",
    "contentpolicyviolation",
    "content_filter",
    "content management policy",
    "responsibleaipolicyviolation",
    "blocked by content filtering policy",
    "usage policy",
    "usage policies",
    "your input was flagged",
    "requires moderation",
];
const AUTHENTICATION: &[&str] =
    &["invalid_api_key", "authentication_error", "permission_error", "incorrect api key", "invalid x-api-key"];
const RATE_LIMIT: &[&str] = &["rate_limit", "rate limit", "too many requests"];
const OVERLOADED: &[&str] = &["overloaded", "unavailable", "no instances available", "bad gateway"];

/// The class of an error with this status, if it had one, and these words.
pub fn class(status: Option<u16>, body: &str) -> ModelErrorClass {
    let said = body.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let status = status.or_else(|| status_in(body));
    if says(CONTEXT_WINDOW) || status == Some(413) {
        return ModelErrorClass::ContextWindow;
    }
    if says(OUT_OF_CREDITS) || status == Some(402) {
        return ModelErrorClass::OutOfCredits;
    }
    if says(CONTENT_POLICY) {
        return ModelErrorClass::ContentPolicy;
    }
    match status {
        Some(401 | 403) => ModelErrorClass::Authentication,
        Some(429) => ModelErrorClass::RateLimit,
        Some(408 | 504) => ModelErrorClass::Timeout,
        Some(502 | 503 | 529) => ModelErrorClass::Unavailable,
        Some(409 | 425 | 500..) => ModelErrorClass::Internal,
        Some(_) => ModelErrorClass::BadRequest,
        None if says(AUTHENTICATION) => ModelErrorClass::Authentication,
        None if says(RATE_LIMIT) => ModelErrorClass::RateLimit,
        None if says(OVERLOADED) => ModelErrorClass::Unavailable,
        None if says(&["invalid_request"]) => ModelErrorClass::BadRequest,
        None => ModelErrorClass::Internal,
    }
}

/// The status that an error in the middle of an answer names.
fn status_in(body: &str) -> Option<u16> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body.get("error").unwrap_or(&body);
    let code = ["code", "status", "status_code"].iter().find_map(|key| error.get(key)?.as_u64())?;
    u16::try_from(code).ok().filter(|code| (400..600).contains(code))
}

/// Whether the same call may succeed later.
pub const fn may_succeed_later(class: ModelErrorClass) -> bool {
    match class {
        ModelErrorClass::RateLimit | ModelErrorClass::Unavailable | ModelErrorClass::Timeout | ModelErrorClass::Internal => true,
        ModelErrorClass::Authentication
        | ModelErrorClass::OutOfCredits
        | ModelErrorClass::ContentPolicy
        | ModelErrorClass::ContextWindow
        | ModelErrorClass::BadRequest
        | ModelErrorClass::BadAnswer
        | ModelErrorClass::Cancelled => false,
    }
}

/// What an endpoint says, on one line: its own message where its error has the usual shape. Never the whole of a long body, which can
/// hold the request.
pub fn said(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let message = parsed.as_ref().and_then(message_in).unwrap_or(body);
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        "nothing more is said".clone_into(&mut line);
    }
    if line.chars().count() > SAID_CHARS_MAX {
        line = line.chars().take(SAID_CHARS_MAX).chain(['…']).collect();
    }
    line
}

fn message_in(body: &Value) -> Option<&str> {
    let error = body.get("error").unwrap_or(body);
    let message = error.get("message").or_else(|| error.get("detail")).or_else(|| body.get("detail"));
    message.and_then(Value::as_str).or_else(|| error.as_str())
}

/// How long the endpoint asks to be left alone. Dates are not understood, as that would ask for this machine's clock.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|number| *number >= 0.0);
    let seconds = number("retry-after-ms").map(|millis| millis / 1000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_status_and_words() {
        use ModelErrorClass::*;
        for (status, body, expected) in [
            // OpenAI
            (401, r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#, Authentication),
            (
                429,
                r#"{"error":{"message":"Rate limit reached for gpt-4o","type":"tokens","code":"rate_limit_exceeded"}}"#,
                RateLimit,
            ),
            (429, r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#, OutOfCredits),
            (
                429,
                r#"{"error":{"message":"Request too large for gpt-4o in organization x on tokens per min (TPM)"}}"#,
                ContextWindow,
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","code":"context_length_exceeded"}}"#,
                ContextWindow,
            ),
            (400, r#"{"error":{"message":"Your request was rejected","code":"content_policy_violation"}}"#, ContentPolicy),
            (404, r#"{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}"#, BadRequest),
            (500, r#"{"error":{"message":"The server had an error","type":"server_error"}}"#, Internal),
            // Anthropic
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                ContextWindow,
            ),
            (
                400,
                r#"{"error":{"message":"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"}}"#,
                ContextWindow,
            ),
            (400, r#"{"error":{"message":"Your credit balance is too low to access the Anthropic API."}}"#, OutOfCredits),
            (400, r#"{"error":{"message":"Output blocked by content filtering policy"}}"#, ContentPolicy),
            (413, r#"{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#, ContextWindow),
            (403, r#"{"error":{"type":"permission_error","message":"no access"}}"#, Authentication),
            (529, r#"{"error":{"type":"overloaded_error","message":"Overloaded"}}"#, Unavailable),
            // OpenRouter
            (402, r#"{"error":{"code":402,"message":"Insufficient credits."}}"#, OutOfCredits),
            (403, r#"{"error":{"code":403,"message":"Model requires moderation and your input was flagged."}}"#, ContentPolicy),
            (408, r#"{"error":{"code":408,"message":"Timed out"}}"#, Timeout),
            (502, r#"{"error":{"code":502,"message":"Provider returned error"}}"#, Unavailable),
            // LiteLLM
            (400, "litellm.ContextWindowExceededError: ...", ContextWindow),
            (400, r#"{"error":{"message":"ExceededBudget: User=x over budget"}}"#, OutOfCredits),
            (400, "litellm.ContentPolicyViolationError: ...", ContentPolicy),
            // Others
            (400, "The request exceeds the available context size. Try increasing it", ContextWindow),
            (400, "Please reduce the length of either one", ContextWindow),
            (422, r#"{"detail":"messages: field required"}"#, BadRequest),
            (503, "<html>Service Temporarily Unavailable</html>", Unavailable),
            (504, "", Timeout),
        ] {
            assert_eq!(class(Some(status), body), expected, "{status} {body}");
        }
    }

    #[test]
    fn an_error_in_the_middle_of_an_answer_has_no_status_and_is_still_told_apart() {
        use ModelErrorClass::*;
        for (body, expected) in [
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Unavailable),
            (r#"{"message":"Provider disconnected","code":502}"#, Unavailable),
            (r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#, RateLimit),
            (r#"{"message":"Error in input stream","type":"server_error"}"#, Internal),
            (r#"{"error":{"type":"invalid_request_error","message":"prompt is too long"}}"#, ContextWindow),
        ] {
            assert_eq!(class(None, body), expected, "{body}");
        }
    }

    #[test]
    fn of_a_long_body_only_a_line_is_told() {
        assert_eq!(said(r#"{"error":{"message":"a\n b"},"request":"everything"}"#), "a b");
        assert_eq!(said(r#"{"detail":"why"}"#), "why");
        assert_eq!(said(r#"{"error":"plain"}"#), "plain");
        assert_eq!(said(" "), "nothing more is said");
        assert_eq!(said(&"x".repeat(10_000)).chars().count(), SAID_CHARS_MAX + 1);
    }

    #[test]
    fn the_wait_that_is_asked_for_is_read_in_both_units() {
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(with("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(with("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(with("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(with("retry-after", "-1"), None);
        assert_eq!(with("retry-after", "1e300"), None);
    }
}
