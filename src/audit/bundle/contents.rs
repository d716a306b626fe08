//! What events refer to: content that lies beside the log, under its digest.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::session::{Body, Digest, Recorded, Seq};

/// Where events of a kind name content.
const POINTERS: [(&str, &[&str]); 5] = [
    ("session.created", &["/spec/origin/trajectory"]),
    ("start.step_finished", &["/outcome/report/organisation/contents"]),
    ("model.briefed", &["/prompt", "/tools"]),
    ("model.responded", &["/prompt"]),
    ("workspace.captured", &["/manifest"]),
];

/// The content that the events of a log refer to, and how much of it was seen.
#[derive(Debug, Default)]
pub(super) struct Contents {
    wanted: HashMap<Digest, Wanted>,
    seen: HashSet<Digest>,
}

/// Content that something refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The first event that does.
    pub(super) by: Seq,
    /// Whether it is a directory of a workspace, which refers to more.
    pub(super) is_tree: bool,
}

impl Contents {
    /// Adds what an event refers to.
    pub(super) fn event(&mut self, event: &Recorded) {
        let kind = event.kind.as_str();
        let Some((_, pointers)) = POINTERS.iter().find(|(named, _)| *named == kind) else { return };
        let Body::Json(body) = &event.body else { return };
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        for digest in pointers.iter().filter_map(|pointer| digest(body.pointer(pointer)?)) {
            self.want(digest, Wanted { by: event.seq, is_tree: kind == "workspace.captured" });
        }
    }

    /// `false` when it is wanted as a directory and was seen before as something else: what it refers to was not asked for then.
    fn want(&mut self, digest: Digest, wanted: Wanted) -> bool {
        let known = self.wanted.entry(digest).or_insert(wanted);
        let is_late = wanted.is_tree && !known.is_tree && self.seen.contains(&digest);
        known.is_tree |= wanted.is_tree;
        !is_late
    }

    /// Who wants it.
    pub(super) fn wanted(&self, digest: &Digest) -> Option<Wanted> {
        self.wanted.get(digest).copied()
    }

    /// Everything that is wanted and was not seen.
    pub(super) fn missing(&self) -> impl Iterator<Item = (Digest, Wanted)> {
        self.wanted.iter().filter(|(digest, _)| !self.seen.contains(digest)).map(|(digest, wanted)| (*digest, *wanted))
    }

    /// Takes content that is what its name says; `false` when it stands where it should not: nobody wants it, it was there already, or
    /// what it refers to should have come behind it and did not.
    pub(super) fn content(&mut self, digest: Digest, bytes: &[u8]) -> bool {
        let Some(wanted) = self.wanted(&digest) else { return false };
        if !self.seen.insert(digest) {
            return false;
        }
        let children = if wanted.is_tree { children(bytes) } else { Vec::new() };
        children
            .into_iter()
            .map(|(child, is_tree)| self.want(child, Wanted { is_tree, ..wanted }))
            .fold(true, |all, one| all & one)
    }
}

/// What a directory of a workspace refers to, and whether that is a directory; nothing where it is none.
fn children(bytes: &[u8]) -> Vec<(Digest, bool)> {
    let tree: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let entries = tree.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let child = |entry: &Value| match entry.get("kind").and_then(Value::as_str) {
        Some("file") => Some((digest(entry.get("content")?)?, false)),
        Some("directory") => Some((digest(entry.get("tree")?)?, true)),
        _ => None,
    };
    entries.iter().filter_map(child).collect()
}

/// A digest as logs write it.
fn digest(value: &Value) -> Option<Digest> {
    let text = value.as_str()?;
    text.parse::<Digest>().ok().filter(|digest| digest.to_string() == text)
}
