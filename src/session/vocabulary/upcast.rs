//! What older and newer versions of V0 wrote differently, brought to the form that [`super::action`] and
//! [`super::observation`] describe. One function per change; nothing stored is ever rewritten.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json::Dict;
use super::python_literal;

/// The fields of one event: its own text where it was good, new text where it was upgraded.
pub(super) type Fields<'a> = Dict<Cow<'a, RawValue>>;

/// What stands before and after the dict literal in an edit that was written down as Python code.
const FILE_EDITOR_CALL: (&str, &str) = ("print(file_editor(**", "))");

/// Keys where null says something else than a missing key does.
const NULL_IS_A_VALUE: &[&str] = &["file_urls"];

/// Brings the `args` of an action up to date and returns the timestamp that some versions kept there.
pub(super) fn action(tag: &str, args: &mut Fields<'_>) -> Option<String> {
    let timestamp = args.remove("timestamp").and_then(|raw| text(&raw)).filter(|timestamp| !timestamp.is_empty());
    rename_is_confirmed(args);
    rename_images_urls(args);
    args.remove("keep_prompt");
    merge_translated_code(args);
    forget_invalid_risk(args);
    if tag != "finish" {
        args.remove("task_completed");
    }
    forget_nulls(args);
    timestamp
}

/// Brings the `extras` of an observation up to date.
pub(super) fn observation(extras: &mut Fields<'_>) -> Result<(), serde_json::Error> {
    into_metadata(extras, "exit_code", "exit_code")?;
    into_metadata(extras, "command_id", "pid")?;
    extras.remove("formatted_output_and_error");
    Ok(())
}

/// The confirmation was once called `is_confirmed`.
fn rename_is_confirmed(args: &mut Fields<'_>) {
    if let Some(confirmed) = args.remove("is_confirmed").filter(|value| !is_null(value)) {
        args.insert("confirmation_state", confirmed);
    }
}

/// The pictures of a message were once called `images_urls`.
fn rename_images_urls(args: &mut Fields<'_>) {
    if let Some(urls) = args.remove("images_urls") {
        args.insert("image_urls", urls);
    }
}

/// For a while edits and views carried the call of the Python function that did them; its arguments are the true ones.
fn merge_translated_code(args: &mut Fields<'_>) {
    let Some(code) = args.remove("translated_ipython_code") else { return };
    let call = text(&code).and_then(|code| {
        let literal = code.strip_prefix(FILE_EDITOR_CALL.0)?.strip_suffix(FILE_EDITOR_CALL.1)?;
        python_literal::to_json(literal)
    });
    if let Some(call) = call
        && let Ok(arguments) = serde_json::from_str::<Dict<Box<RawValue>>>(&call)
    {
        for (key, value) in arguments {
            args.insert(key, Cow::Owned(value));
        }
    }
    // A view is a `read`, which has no command.
    if args.get("command").and_then(|command| text(command)).as_deref() == Some("view") {
        args.remove("command");
    }
}

/// A risk outside -1, 0, 1, 2 says nothing; 0.62 drops it too.
fn forget_invalid_risk(args: &mut Fields<'_>) {
    if args.get("security_risk").is_some_and(|risk| !matches!(risk.get(), "-1" | "0" | "1" | "2")) {
        args.remove("security_risk");
    }
}

/// V0 checks no types, so a field may be null for which only a default makes sense.
pub(super) fn forget_nulls(fields: &mut Fields<'_>) {
    let nulls: Vec<_> = fields.iter().filter(|(_, value)| is_null(value)).map(|(key, _)| key.to_owned()).collect();
    for key in nulls.iter().filter(|key| !NULL_IS_A_VALUE.contains(&key.as_str())) {
        fields.remove(key);
    }
}

/// How a command ended once stood beside its `metadata` instead of in it.
fn into_metadata(extras: &mut Fields<'_>, old: &str, new: &str) -> Result<(), serde_json::Error> {
    let Some(value) = extras.remove(old) else { return Ok(()) };
    let before = extras.remove("metadata").filter(|metadata| !is_null(metadata));
    let mut metadata: Fields<'_> = match &before {
        Some(metadata) => serde_json::from_str::<Dict<&RawValue>>(metadata.get())?
            .into_iter()
            .map(|(key, value)| (key, Cow::Owned(value.to_owned())))
            .collect(),
        None => Fields::default(),
    };
    metadata.insert(new, value);
    extras.insert("metadata", Cow::Owned(serde_json::value::to_raw_value(&metadata)?));
    Ok(())
}

pub(super) fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}
