//! The directory in which OpenHands V0 keeps a session: one file an event, and others that are not read.
//!
//! `agent_state.pkl` is a Python pickle, which can run code when it is loaded; it is never opened.

use std::fs;
use std::path::{Path, PathBuf};

use super::openhands_v0::{entry, one_value};
use super::{DamagedFile, Entry, Trajectory, TrajectoryError};
use crate::session::SessionName;

/// Reads a session directory, or its events directory.
pub(super) fn read(path: &Path) -> Result<Trajectory, TrajectoryError> {
    let events = Some(path.join("events")).filter(|events| events.is_dir()).unwrap_or_else(|| path.to_owned());
    let files = event_files(&events)?;
    let Some((_, first)) = files.first() else { return Err(TrajectoryError::NoEvents { path: path.to_owned() }) };
    let first = first.clone();
    let (mut entries, mut damaged) = (Vec::new(), Vec::new());
    for (_, file) in &files {
        match read_event(entries.len(), &events.join(file)) {
            Ok(entry) => entries.push(entry),
            Err(why) => damaged.push(DamagedFile { file: file.clone(), why }),
        }
    }
    if entries.is_empty() {
        let why = damaged.into_iter().next().map(|damaged| damaged.why).unwrap_or_default();
        return Err(TrajectoryError::AllDamaged { path: events, count: files.len(), file: first, why });
    }
    let session = session_of(&events);
    Ok(Trajectory { name: name_of(&session), title: title_of(&session), entries, damaged })
}

/// The event files by number; gaps are as good as none, for V0 leaves them.
fn event_files(events: &Path) -> Result<Vec<(u64, String)>, TrajectoryError> {
    let unreadable = |source| TrajectoryError::Unreadable { path: events.to_owned(), source };
    let mut files = Vec::new();
    for file in fs::read_dir(events).map_err(unreadable)? {
        let name = file.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        let number = name.strip_suffix(".json").filter(|stem| stem.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(number) = number.and_then(|stem| stem.parse().ok()) {
            files.push((number, name));
        }
    }
    files.sort();
    Ok(files)
}

fn read_event(index: usize, file: &Path) -> Result<Entry, String> {
    let bytes = fs::read(file).map_err(|error| format!("unreadable: {error}"))?;
    if bytes.is_empty() {
        return Err("empty, as after a crash while it was written".into());
    }
    let text =
        String::from_utf8(bytes).map_err(|error| format!("not utf-8 text at byte {}", error.utf8_error().valid_up_to()))?;
    one_value(&text).and_then(|raw| entry(index, raw)).map_err(|error| match error {
        TrajectoryError::NotJson { line, column, why } => format!("not json at line {line} column {column}: {why}"),
        TrajectoryError::NotANumber { token, line, column } => format!("not json at line {line} column {column}: {token}"),
        TrajectoryError::JsonLines { .. } => "more than one json value".into(),
        TrajectoryError::NotAnEvent { found, .. } => format!("no event but {found}"),
        TrajectoryError::OldShape { field, missing, .. } => format!("of the shape of 2024: `{field}` outside `{missing}`"),
        TrajectoryError::TooDeep { depth, .. } => format!("nested {depth} levels deep"),
        other => other.to_string(),
    })
}

/// The directory that is called as the session is.
fn session_of(events: &Path) -> PathBuf {
    // Without this a path such as `.` has no name.
    let events = events.canonicalize().unwrap_or_else(|_| events.to_owned());
    match events.parent() {
        Some(session) if events.file_name().is_some_and(|name| name == "events") => session.to_owned(),
        Some(_) | None => events,
    }
}

fn name_of(session: &Path) -> Option<SessionName> {
    session.file_name()?.to_str()?.parse().ok()
}

/// A title is a comfort: without a good `metadata.json` there is none.
fn title_of(session: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        title: Option<String>,
    }
    let metadata: Metadata = serde_json::from_slice(&fs::read(session.join("metadata.json")).ok()?).ok()?;
    metadata.title.filter(|title| !title.is_empty())
}
