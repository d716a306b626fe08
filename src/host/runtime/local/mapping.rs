//! The two names of a workspace: the directory on this machine, and `/workspace`, which is what the agent says and reads.

use std::path::{Path, PathBuf};

use crate::engine::ports::WORKSPACE;

/// Translates between both names.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    root: PathBuf,
    /// The root as text, where commands find it there instead of at [`WORKSPACE`].
    real: Option<String>,
}

impl Mapping {
    /// For a workspace at `root`; `mounted` says whether commands find it at [`WORKSPACE`].
    pub(super) fn new(root: PathBuf, mounted: bool) -> Self {
        let real = root.to_string_lossy().into_owned();
        Self { real: (!mounted && real != WORKSPACE).then_some(real), root }
    }

    /// The directory on this machine.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What a program is told, for what the agent said.
    pub(super) fn inward(&self, text: &str) -> String {
        self.real.as_ref().map_or_else(|| text.to_owned(), |real| replace(text, WORKSPACE, real, true))
    }

    /// What the agent is told, for what a program said.
    pub(super) fn outward(&self, text: String) -> String {
        match &self.real {
            Some(real) if text.contains(real.as_str()) => replace(&text, real, WORKSPACE, false),
            _ => text,
        }
    }

    /// Where on this machine the thing lies that commands find at `path`; the same for what is outside of the workspace.
    pub(super) fn host(&self, path: &str) -> PathBuf {
        Path::new(path).strip_prefix(WORKSPACE).map_or_else(|_| PathBuf::from(path), |rest| self.root.join(rest))
    }
}

/// Replaces `from` where it is a whole path or the beginning of one; `strict` also wants that no path goes before it.
fn replace(text: &str, from: &str, to: &str, strict: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, found) = rest.split_at(at);
        let after = found.get(from.len()..).unwrap_or_default();
        out.push_str(before);
        let begins = !strict || begins_path(&out);
        out.push_str(if begins && ends_name(after) { to } else { from });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether a path can begin after `before`.
fn begins_path(before: &str) -> bool {
    let Some(last) = before.chars().next_back() else { return true };
    if before.ends_with("://") {
        return true;
    }
    if is_name(last) || matches!(last, '.' | '/' | '~' | '}' | ')') {
        // A flag with its value glued on, as in `-I/workspace/include`.
        let word = before.rsplit(|char: char| char.is_whitespace() || matches!(char, '"' | '\'')).next().unwrap_or_default();
        return word.len() == 2 && word.starts_with('-') && last.is_ascii_alphabetic();
    }
    true
}

/// Whether a name ends before `after`.
fn ends_name(after: &str) -> bool {
    let mut chars = after.chars();
    match chars.next() {
        None => true,
        Some('.') => !chars.next().is_some_and(is_name),
        Some(char) => !is_name(char),
    }
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping::new(PathBuf::from("/tmp/ws-1"), false)
    }

    #[test]
    fn only_the_workspace_itself_is_renamed() {
        let cases = [
            ("ls /workspace", "ls /tmp/ws-1"),
            ("cd /workspace/a && cat '/workspace/b c'", "cd /tmp/ws-1/a && cat '/tmp/ws-1/b c'"),
            ("cc -I/workspace/include --prefix=/workspace", "cc -I/tmp/ws-1/include --prefix=/tmp/ws-1"),
            ("git clone file:///workspace/x", "git clone file:///tmp/ws-1/x"),
            ("PATH=/bin:/workspace/bin", "PATH=/bin:/tmp/ws-1/bin"),
            (
                "ls /workspaces /workspace-2 /workspace.bak my/workspace ./workspace",
                "ls /workspaces /workspace-2 /workspace.bak my/workspace ./workspace",
            ),
            ("It lies in /workspace.", "It lies in /tmp/ws-1."),
        ];
        for (said, told) in cases {
            assert_eq!(mapping().inward(said), told);
            assert_eq!(mapping().outward(told.to_owned()), said);
        }
        assert_eq!(mapping().outward("/tmp/ws-10/x".into()), "/tmp/ws-10/x");
        assert_eq!(mapping().host("/workspace/a/b"), PathBuf::from("/tmp/ws-1/a/b"));
    }
}
