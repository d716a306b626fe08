//! What is in a workspace, against what a snapshot says.

use std::collections::BTreeSet;

use super::walk::Walked;
use crate::engine::ports::Listing;
use crate::session::workspace::{Differences, LeftOutWhy, Node, PathText};

/// How many paths of each sort are named.
const NAMED_MAX: usize = 50;

/// Where files and links differ. What git changes in `.git` is one difference.
pub(super) fn differences(then: &Listing, now: &Walked) -> Differences {
    let (mut changed, mut missing, mut added) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    // Whoever looks now looks past these: it cannot be told what became of them, or only that it is something else.
    let left_out = |path: &[u8]| {
        now.left_out.iter().find(|left| {
            let left = left.path.bytes().unwrap_or_default();
            path.starts_with(&left) && matches!(path.get(left.len()), None | Some(b'/'))
        })
    };
    for (path, node) in then.entries.iter().filter(|(_, node)| !matches!(node, Node::Directory { .. })) {
        match now.found.get(path) {
            Some(found) if found == node => {}
            Some(_) => drop(changed.insert(whole(path))),
            None => match left_out(path).map(|left| left.why) {
                None => drop(missing.insert(whole(path))),
                Some(LeftOutWhy::Ignored) => {}
                Some(_) => drop(changed.insert(whole(path))),
            },
        }
    }
    for path in now.found.keys().filter(|path| !then.entries.contains_key(*path)) {
        added.insert(whole(path));
    }
    // A repository that is still there has changed, whatever files came and went in it.
    let is_git = |path: &&[u8]| path.ends_with(b".git") && then.entries.get(*path).is_some_and(is_directory);
    for paths in [&mut missing, &mut added] {
        let inside: Vec<&[u8]> = paths.iter().copied().filter(is_git).collect();
        for path in inside {
            paths.remove(path);
            changed.insert(path);
        }
    }
    let count = (changed.len() + missing.len() + added.len()) as u64;
    let named = |paths: BTreeSet<&[u8]>| paths.into_iter().take(NAMED_MAX).map(PathText::new).collect();
    Differences { count, changed: named(changed), missing: named(missing), added: named(added) }
}

const fn is_directory(node: &Node) -> bool {
    matches!(node, Node::Directory { .. })
}

/// The path as it is named: of what lies in `.git`, that.
fn whole(path: &[u8]) -> &[u8] {
    let starts = path.starts_with(b".git/").then_some(0);
    let at = starts.or_else(|| path.windows(6).position(|part| part == b"/.git/").map(|at| at + 1));
    at.and_then(|at| path.get(..at + 4)).unwrap_or(path)
}
