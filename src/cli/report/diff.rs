//! What an edit changed, as a unified difference.

use std::fmt::Write as _;

use similar::{Algorithm, DiffTag, capture_diff_slices, group_diff_ops};

use crate::session::Action;
use crate::session::observation::FileEdited;

/// How many lines around a change are shown.
const CONTEXT: usize = 3;
/// Texts longer than this together, in bytes, are not compared; the log has them.
const COMPARED_MAX: usize = 4 << 20;
/// Above this many pairs of lines the shortest difference is not looked for.
const PAIRS_MAX: usize = 16 << 20;

/// What an action wants to change, where it says so itself.
pub(super) fn asked(action: &Action) -> Option<String> {
    let added = |text: &str| prefixed('+', text);
    match action {
        Action::Write(write) => Some(added(&write.content)),
        Action::Edit(edit) => match edit.command.as_str() {
            "create" => edit.file_text.as_deref().map(added),
            "str_replace" => {
                let (old, new) = (edit.old_str.as_deref().unwrap_or_default(), edit.new_str.as_deref().unwrap_or_default());
                unified(old, new).or_else(|| Some(prefixed('-', old) + &added(new)))
            }
            "insert" => {
                let after = edit.insert_line.map_or_else(String::new, |line| format!("@@ after line {line} @@\n"));
                edit.new_str.as_deref().map(|new| after + &added(new))
            }
            _ if !edit.content.is_empty() => Some(added(&edit.content)),
            _ => None,
        },
        _ => None,
    }
}

/// What an edit changed, as its outcome says.
pub(super) fn done(edited: &FileEdited) -> Option<String> {
    if let Some(diff) = edited.diff.as_ref().filter(|diff| !diff.is_empty()) {
        return Some(diff.clone());
    }
    match (&edited.old_content, &edited.new_content) {
        (Some(old), Some(new)) => unified(old, new).filter(|diff| !diff.is_empty()),
        (None, Some(new)) if !edited.prev_exist => Some(prefixed('+', new)),
        _ => None,
    }
}

/// The difference of two texts; `None` where they are too long for one.
fn unified(old: &str, new: &str) -> Option<String> {
    if old.len().saturating_add(new.len()) > COMPARED_MAX {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return None;
    }
    let mut text = String::new();
    for group in group_diff_ops(capture_diff_slices(Algorithm::Myers, &old, &new), CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (was, is) = (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end);
        let _ = writeln!(text, "@@ -{},{} +{},{} @@", was.start + 1, was.len(), is.start + 1, is.len());
        for op in group {
            let (olds, news) = (old.get(op.old_range()).unwrap_or_default(), new.get(op.new_range()).unwrap_or_default());
            let mut add = |sign: char, lines: &[&str]| lines.iter().for_each(|line| text.push_str(&format!("{sign}{line}\n")));
            match op.tag() {
                DiffTag::Equal => add(' ', olds),
                DiffTag::Delete => add('-', olds),
                DiffTag::Insert => add('+', news),
                DiffTag::Replace => {
                    add('-', olds);
                    add('+', news);
                }
            }
        }
    }
    Some(text)
}

fn prefixed(sign: char, text: &str) -> String {
    text.lines().fold(String::with_capacity(text.len() + 64), |mut all, line| {
        all.push(sign);
        all.push_str(line);
        all.push('\n');
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Content, Item};

    fn action(args: &str) -> Action {
        match Item::decode(&format!(r#"{{"action":"edit","args":{args}}}"#)).unwrap().content {
            Content::Action(action) => action,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_edit_is_what_it_takes_away_and_what_it_adds() {
        assert_eq!(unified("a\nb\nc\n", "a\nX\nc\n").unwrap(), "@@ -1,3 +1,3 @@\n a\n-b\n+X\n c\n");
        let replace = action(r#"{"path":"/f","command":"str_replace","old_str":"x","new_str":"y\nz"}"#);
        assert_eq!(asked(&replace).unwrap(), "@@ -1,1 +1,2 @@\n-x\n+y\n+z\n");
        let insert = action(r#"{"path":"/f","command":"insert","insert_line":4,"new_str":"y"}"#);
        assert_eq!(asked(&insert).unwrap(), "@@ after line 4 @@\n+y\n");
        assert_eq!(asked(&action(r#"{"path":"/f","command":"view"}"#)), None);
    }

    #[test]
    fn what_an_outcome_says_was_changed_is_what_was_changed() {
        let edited = |old: Option<&str>, new: Option<&str>, prev_exist, diff: Option<&str>| FileEdited {
            old_content: old.map(str::to_owned),
            new_content: new.map(str::to_owned),
            prev_exist,
            diff: diff.map(str::to_owned),
            ..FileEdited::default()
        };
        assert_eq!(done(&edited(Some("a"), Some("b"), true, Some("-a\n+b"))).unwrap(), "-a\n+b");
        assert_eq!(done(&edited(Some("a"), Some("b"), true, None)).unwrap(), "@@ -1,1 +1,1 @@\n-a\n+b\n");
        assert_eq!(done(&edited(None, Some("b"), false, None)).unwrap(), "+b\n");
        assert_eq!(done(&edited(Some("a"), Some("a"), true, None)), None);
        let long = "x\n".repeat(COMPARED_MAX);
        assert_eq!(done(&edited(Some(&long), Some("b"), true, None)), None);
    }
}
