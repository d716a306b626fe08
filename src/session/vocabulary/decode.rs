//! From JSON to an [`Item`], taking what V0's own reader takes.

use std::borrow::Cow;
use std::cell::Cell;

use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde_json::value::RawValue;

use super::action::{Action, Condensation, RecallType};
use super::item::{Content, Item, ItemError};
use super::json::{DEPTH_MAX, Dict, depth};
use super::metrics::Metrics;
use super::observation::{CommandMetadata, Extras, Observation};
use super::upcast::{self, Fields, is_null, text};
use crate::session::envelope::Source;

impl Item {
    /// Reads the stored or the exported form, of this and of older versions.
    ///
    /// Keys beside the content that mean nothing are passed over; a key inside `args` or `extras` that means nothing is an error,
    /// because the action would then not be the recorded one.
    ///
    /// # Errors
    /// [`ItemError`] says what is wrong and where; its [`ItemError::kind`] is the one that V0 would raise.
    pub fn decode(text: &str) -> Result<Self, ItemError> {
        let deep = depth(text);
        if deep > DEPTH_MAX {
            return Err(ItemError::TooDeep(deep));
        }
        if !text.trim_start().starts_with('{') {
            serde_json::from_str::<&RawValue>(text).map_err(not_json)?;
            return Err(ItemError::NotAnEvent(excerpt(text.trim_start())));
        }
        let top: Dict<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
        let mut item = if let Some(tag) = top.get("action") {
            decode_action(tag, &top)?
        } else if let Some(tag) = top.get("observation") {
            decode_observation(tag, &top)?
        } else {
            let keys: Vec<_> = top.iter().take(8).map(|(key, _)| excerpt(key)).collect();
            return Err(ItemError::NotAnEvent(format!("one with the keys {}", keys.join(", "))));
        };
        decode_envelope(&mut item, &top)?;
        Ok(item)
    }
}

fn decode_action(tag: &RawValue, top: &Dict<&RawValue>) -> Result<Item, ItemError> {
    let Some(tag) = text(tag) else { return Err(ItemError::UnknownAction(excerpt(tag.get()))) };
    let wrong = |why: String| ItemError::WrongArgs { tag: excerpt(&tag), why };
    let mut args = fields(top.get("args").copied()).map_err(|error| wrong(format!("args: {}", fragment(&error))))?;
    let timestamp = upcast::action(&tag, &mut args);
    let action = match tag.as_str() {
        "null" => build::<Nothing>(&args).map(|Nothing {}| Action::Null),
        "run" => build(&args).map(Action::Run),
        "run_ipython" => build(&args).map(Action::RunIpython),
        "browse" => build(&args).map(Action::Browse),
        "browse_interactive" => build(&args).map(Action::BrowseInteractive),
        "read" => build(&args).map(Action::Read),
        "write" => build(&args).map(Action::Write),
        "edit" => build(&args).map(Action::Edit),
        "think" => build(&args).map(Action::Think),
        "finish" => build(&args).map(Action::Finish),
        "reject" => build(&args).map(Action::Reject),
        "delegate" => build(&args).map(Action::Delegate),
        "recall" => build(&args).map(Action::Recall),
        "change_agent_state" => build(&args).map(Action::ChangeAgentState),
        "message" => build(&args).map(Action::Message),
        "system" => build(&args).map(Action::System),
        "condensation" => build(&args).map(Action::Condensation),
        "condensation_request" => build::<Nothing>(&args).map(|Nothing {}| Action::CondensationRequest),
        "call_tool_mcp" => build(&args).map(Action::CallToolMcp),
        "task_tracking" => build(&args).map(Action::TaskTracking),
        "loop_recovery" => build(&args).map(Action::LoopRecovery),
        _ => return Err(ItemError::UnknownAction(format!("`{}`", excerpt(&tag)))),
    };
    let action = action.map_err(wrong)?;
    if let Action::Condensation(condensation) = &action {
        condensation.check()?;
    }
    let timeout = match top.get("timeout") {
        Some(timeout) if !is_null(timeout) => {
            Some(serde_json::from_str(timeout.get()).map_err(|error| wrong(format!("timeout: {}", fragment(&error))))?)
        }
        Some(_) | None => None,
    };
    Ok(Item { timestamp, timeout, ..Content::Action(action).into() })
}

impl Condensation {
    /// Either ids or a range, and a summary only with its place.
    fn check(&self) -> Result<(), ItemError> {
        let by_ids = self.forgotten_event_ids.is_some();
        let by_range = self.forgotten_events_start_id.is_some() && self.forgotten_events_end_id.is_some();
        let why = if by_ids == by_range {
            "it names what to forget either by forgotten_event_ids or by both ends of a range"
        } else if self.summary.is_some() != self.summary_offset.is_some() {
            "summary and summary_offset are given together or not at all"
        } else {
            return Ok(());
        };
        Err(ItemError::InvalidValue { field: "condensation", why: why.into() })
    }
}

fn decode_observation(tag: &RawValue, top: &Dict<&RawValue>) -> Result<Item, ItemError> {
    let Some(tag) = text(tag) else { return Err(ItemError::UnknownObservation(excerpt(tag.get()))) };
    let wrong = |why: String| ItemError::WrongExtras { tag: excerpt(&tag), why };
    let content = match top.get("content").filter(|content| !is_null(content)) {
        Some(content) => serde_json::from_str(content.get()).map_err(|error| wrong(format!("content: {}", fragment(&error))))?,
        None => String::new(),
    };
    let mut extras = fields(top.get("extras").copied()).map_err(|error| wrong(format!("extras: {}", fragment(&error))))?;
    upcast::observation(&mut extras).map_err(|error| wrong(format!("metadata: {}", fragment(&error))))?;
    check_values(&tag, &mut extras)?;
    upcast::forget_nulls(&mut extras);
    let extras = match tag.as_str() {
        "null" => build::<Nothing>(&extras).map(|Nothing {}| Extras::Null),
        "run" => build(&extras).map(Extras::Run),
        "run_ipython" => build(&extras).map(Extras::RunIpython),
        "browse" => build(&extras).map(Extras::Browse),
        "read" => build(&extras).map(Extras::Read),
        "write" => build(&extras).map(Extras::Write),
        "edit" => build(&extras).map(Extras::Edit),
        "delegate" => build(&extras).map(Extras::Delegate),
        "success" => build::<Nothing>(&extras).map(|Nothing {}| Extras::Success),
        "error" => build(&extras).map(Extras::Error),
        "agent_state_changed" => build(&extras).map(Extras::AgentStateChanged),
        "user_rejected" => build::<Nothing>(&extras).map(|Nothing {}| Extras::UserRejected),
        "condense" => build::<Nothing>(&extras).map(|Nothing {}| Extras::Condense),
        "think" => build::<Nothing>(&extras).map(|Nothing {}| Extras::Think),
        "recall" => build(&extras).map(Extras::Recall),
        "mcp" => build(&extras).map(Extras::Mcp),
        "download" => build(&extras).map(Extras::Download),
        "task_tracking" => build(&extras).map(Extras::TaskTracking),
        "loop_detection" => build::<Nothing>(&extras).map(|Nothing {}| Extras::LoopDetection),
        _ => return Err(ItemError::UnknownObservation(format!("`{}`", excerpt(&tag)))),
    };
    Ok(Content::Observation(Observation { content, extras: extras.map_err(wrong)? }).into())
}

/// The two places in `extras` whose values V0 checks, not only their names.
fn check_values(tag: &str, extras: &mut Fields<'_>) -> Result<(), ItemError> {
    let (key, why) = match tag {
        "recall" => ("recall_type", extras.get("recall_type").map(|raw| check::<RecallType>(raw))),
        "run" => {
            // V0 takes what is no object for metadata that is not there.
            if extras.get("metadata").is_some_and(|metadata| !metadata.get().starts_with('{')) {
                extras.remove("metadata");
            }
            ("metadata", extras.get("metadata").map(|raw| check::<CommandMetadata>(raw)))
        }
        _ => return Ok(()),
    };
    match why.flatten() {
        Some(why) => Err(ItemError::InvalidValue { field: key, why }),
        None => Ok(()),
    }
}

fn check<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<String> {
    serde_json::from_str::<T>(raw.get()).err().map(|error| fragment(&error))
}

fn decode_envelope(item: &mut Item, top: &Dict<&RawValue>) -> Result<(), ItemError> {
    // -1 is V0's way of saying that an event has no id yet.
    item.id = whole(top, "id")?.filter(|id| *id != -1);
    item.cause = whole(top, "cause")?;
    if let Some(timestamp) = top.get("timestamp") {
        let why = |error| ItemError::WrongType { field: "timestamp", why: fragment(&error) };
        item.timestamp = serde_json::from_str(timestamp.get()).map_err(why)?;
    }
    if let Some(source) = top.get("source") {
        let invalid = |why| ItemError::InvalidValue { field: "source", why };
        let source = text(source).ok_or_else(|| invalid(format!("a source is a text, got {}", excerpt(source.get()))))?;
        item.source = Some(source.parse::<Source>().map_err(|error| invalid(error.to_string()))?);
    }
    // V0 fails on a null here; it can only mean that there is none.
    if let Some(metadata) = top.get("tool_call_metadata").filter(|metadata| !is_null(metadata)) {
        if !metadata.get().starts_with('{') {
            let why = format!("expected an object, got {}", excerpt(metadata.get()));
            return Err(ItemError::WrongType { field: "tool_call_metadata", why });
        }
        item.tool_call_metadata = Some((*metadata).to_owned());
    }
    if let Some(metrics) = top.get("llm_metrics") {
        let invalid = |why| ItemError::InvalidValue { field: "llm_metrics", why };
        item.llm_metrics = Some(Metrics::decode(metrics).map_err(invalid)?);
    }
    Ok(())
}

fn whole(top: &Dict<&RawValue>, field: &'static str) -> Result<Option<i64>, ItemError> {
    let Some(raw) = top.get(field).filter(|raw| !is_null(raw)) else { return Ok(None) };
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    super::lax::integer(&mut deserializer)
        .map(Some)
        .map_err(|_| ItemError::InvalidValue { field, why: format!("expected a whole number, got {}", excerpt(raw.get())) })
}

/// The fields of a content that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn fields(raw: Option<&RawValue>) -> Result<Fields<'_>, serde_json::Error> {
    let Some(raw) = raw else { return Ok(Fields::default()) };
    let fields: Dict<&RawValue> = serde_json::from_str(raw.get())?;
    Ok(fields.into_iter().map(|(key, value)| (key, Cow::Borrowed(value))).collect())
}

/// Builds the typed form; the error names the field at which it failed.
fn build<'a, T: Deserialize<'a>>(fields: &'a Fields<'_>) -> Result<T, String> {
    let last = Cell::new("");
    let entries = fields.iter().map(|(key, value)| {
        last.set(key);
        (key, &**value)
    });
    let built: Result<T, serde_json::Error> = T::deserialize(MapDeserializer::new(entries));
    built.map_err(|error| match error.line() {
        // Without a place the error is about the fields themselves and names them.
        0 => fragment(&error),
        _ => format!("{}: {}", last.get(), fragment(&error)),
    })
}

fn not_json(error: serde_json::Error) -> ItemError {
    ItemError::NotJson(error.to_string())
}

/// What `error` says, without the place inside the fragment that was read, which means nothing to a person.
pub(super) fn fragment(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// The beginning of a text that is to be shown in a message.
fn excerpt(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}
