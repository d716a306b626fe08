//! The difference of two texts as the peer writes it: unified, without context, spaces at line ends dropped.

use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// How long the shortest difference is looked for.
const SEARCH_MAX: Duration = Duration::from_millis(500);

/// The difference between the texts of the file at `path`.
pub(super) fn unified(old: &str, new: &str, path: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let mut lines = Vec::new();
    for change in capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(Instant::now() + SEARCH_MAX)) {
        if matches!(change, DiffOp::Equal { .. }) {
            continue;
        }
        if lines.is_empty() {
            lines.extend([format!("--- {path}"), format!("+++ {path}")]);
        }
        let (was, is) = (change.old_range(), change.new_range());
        lines.push(format!("@@ -{} +{} @@", span(was.start, was.len()), span(is.start, is.len())));
        lines.extend(old.get(was).unwrap_or_default().iter().map(|line| format!("-{line}").trim_end().to_owned()));
        lines.extend(new.get(is).unwrap_or_default().iter().map(|line| format!("+{line}").trim_end().to_owned()));
    }
    lines.join("\n")
}

fn span(start: usize, length: usize) -> String {
    match length {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        _ => format!("{},{length}", start + 1),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_difference_is_the_peers() {
        assert_eq!(
            super::unified("a\nb\nc\n", "a\nb\nX  \nc\n", "/workspace/f"),
            "--- /workspace/f\n+++ /workspace/f\n@@ -2,0 +3 @@\n+X"
        );
        assert_eq!(super::unified("a\nb", "c\nd", "f"), "--- f\n+++ f\n@@ -1,2 +1,2 @@\n-a\n-b\n+c\n+d");
        assert_eq!(super::unified("same", "same", "f"), "");
    }
}
