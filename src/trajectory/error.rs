//! Why something is no recording: what is wrong, where, and what to do about it, in one sentence.

use std::path::PathBuf;

use crate::session::json::DEPTH_MAX;

/// Why something is no recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrajectoryError {
    /// Nothing is there.
    #[error("{} does not exist; give a json file with a list of events, or a session directory with events/0.json", path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// Something is there, but the system does not let us read it.
    #[error("{} cannot be read; check its permissions", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A directory that is no session's.
    #[error("{} holds no events; a session directory has events/0.json, events/1.json and so on", path.display())]
    NoEvents {
        /// Where.
        path: PathBuf,
    },
    /// A session directory in which nothing can be read.
    #[error("none of the {count} event files in {} can be read; the first, {file}, is {why}; restore them from a copy", path.display())]
    AllDamaged {
        /// Where.
        path: PathBuf,
        /// How many files there are.
        count: usize,
        /// The first of them.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes that are no text.
    #[error("not utf-8 text at byte {at}; convert it to utf-8, or give the json file itself when it is packed")]
    NotUtf8 {
        /// The first bad byte, from 0.
        at: usize,
    },
    /// Text that is no JSON.
    #[error("not json at line {line} column {column}: {why}; the file is cut off or was edited, so export it again")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What the parser says.
        why: String,
    },
    /// A token that Python writes and JSON does not have.
    #[error("{token} at line {line} column {column} is not json, though python writes it; put null in its place")]
    NotANumber {
        /// `NaN`, `Infinity` or `-Infinity`.
        token: &'static str,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// One JSON value a line.
    #[error("several json values, the second at line {line}; a recording is one list, which `jq -s .` makes of them")]
    JsonLines {
        /// From 1.
        line: usize,
    },
    /// JSON of another shape.
    #[error("a recording is a list of events, this is {found}; give the list itself")]
    NotAList {
        /// What it is.
        found: String,
    },
    /// The peer's answer to an export that failed.
    #[error("the export failed when it was made and holds no events ({error}); export the session again")]
    FailedExport {
        /// What the peer said.
        error: String,
    },
    /// A list of nothing.
    #[error("the recording is an empty list; there is nothing in it to import or to replay")]
    Empty,
    /// An element that is neither action nor observation.
    #[error("element {index} (from 0) is {found}; every element is an object with an `action` or an `observation`")]
    NotAnEvent {
        /// Its place, from 0.
        index: usize,
        /// What it is.
        found: String,
    },
    /// The shape of 2024.
    #[error(
        "element {index} (from 0) has `{field}` at its top level and no `{missing}`: the shape that OpenHands exported in 2024, \
         which does not say enough to be replayed; record the session again with a newer version"
    )]
    OldShape {
        /// Its place, from 0.
        index: usize,
        /// A field that stands where it no longer does.
        field: String,
        /// Where it would stand now: `args` or `extras`.
        missing: &'static str,
    },
    /// Nested so deep that others could not read it.
    #[error("element {index} (from 0) is nested {depth} levels deep; at most {DEPTH_MAX} can be read, so take it out")]
    TooDeep {
        /// Its place, from 0.
        index: usize,
        /// How deep.
        depth: usize,
    },
}
