//! The words of a launcher: what stands for what, and the launchers that are known by name.

use crate::session::Launcher;

/// What the placeholders of a launcher stand for.
pub(super) struct Meaning {
    pub(super) session: String,
    pub(super) workspace: String,
    pub(super) port: String,
    pub(super) image: Option<String>,
    pub(super) program: String,
}

impl Meaning {
    /// `word` with every placeholder replaced, once; other braces stay as they are.
    ///
    /// # Errors
    /// In words, when it names an image and there is none.
    pub(super) fn replace(&self, word: &str) -> Result<String, String> {
        let mut replaced = String::new();
        let mut rest = word;
        while let Some((before, after)) = rest.split_once('{') {
            replaced.push_str(before);
            let name = after.split_once('}');
            let meant = match name.map(|(name, _)| name) {
                Some("session") => Some(&self.session),
                Some("workspace") => Some(&self.workspace),
                Some("port") => Some(&self.port),
                Some("program") => Some(&self.program),
                Some("image") => Some(self.image.as_ref().ok_or("the launcher says {image}, and no image is named")?),
                _ => None,
            };
            match (meant, name) {
                (Some(meant), Some((_, after))) => {
                    replaced.push_str(meant);
                    rest = after;
                }
                _ => {
                    replaced.push('{');
                    rest = after;
                }
            }
        }
        replaced.push_str(rest);
        Ok(replaced)
    }

    /// All of `words`, each replaced by itself: what a placeholder stands for never becomes two words.
    pub(super) fn all(&self, words: &[String]) -> Result<Vec<String>, String> {
        words.iter().map(|word| self.replace(word)).collect()
    }
}

/// What each launcher that is known by name runs, and how that is ended.
pub const PRESETS: [(&str, &[&str], &[&str]); 4] = [
    ("docker", &container("docker"), &["docker", "rm", "--force", "rekindle-{session}"]),
    ("podman", &container("podman"), &["podman", "rm", "--force", "--time", "2", "rekindle-{session}"]),
    // The key goes through standard input, which needs no AcceptEnv there; it ends there with its session, or when it hears nothing.
    // It listens at another address of its machine than ssh does here, so that both find their place where that is the same machine.
    (
        "ssh",
        &[
            "ssh",
            "-o",
            "BatchMode=yes",
            "-o",
            "ExitOnForwardFailure=yes",
            "-o",
            "ServerAliveInterval=15",
            "-L",
            "127.0.0.1:{port}:127.0.0.2:{port}",
            "--",
            "{image}",
            "rekindle",
            "runtime-server",
            "--listen",
            "127.0.0.2:{port}",
            "--key-file",
            "-",
            "--once",
        ],
        &[],
    ),
    (
        "kubectl",
        &["sh", "-c", KUBECTL, "rekindle", "rekindle-{session}", "{image}", "{port}"],
        &["kubectl", "delete", "pod", "rekindle-{session}", "--ignore-not-found", "--now"],
    ),
];

/// A container with this program in it and the workspace; its port is open to this machine only.
const fn container(program: &'static str) -> [&'static str; 24] {
    [
        program,
        "run",
        "--rm",
        "--init",
        "--name",
        "rekindle-{session}",
        "--env",
        "REKINDLE_RUNTIME_KEY",
        "--publish",
        "127.0.0.1:{port}:3000",
        "--volume",
        "{workspace}:/workspace",
        "--volume",
        "{program}:/usr/local/bin/rekindle:ro",
        "{image}",
        "/usr/local/bin/rekindle",
        "runtime-server",
        "--listen",
        "0.0.0.0:3000",
        "--workspace",
        "/workspace",
        "--state=/tmp/rekindle",
        "--unsafe-local",
        "--once",
    ]
}

/// A pod that gets its key through standard input, and a way to its port.
const KUBECTL: &str = "exec 3<&0
kubectl run \"$1\" --image=\"$2\" --restart=Never --quiet --stdin -- rekindle runtime-server --listen 127.0.0.1:3000 \
--key-file - --workspace /workspace --state /tmp/rekindle --unsafe-local --once <&3 &
until kubectl wait --for=condition=Ready \"pod/$1\" --timeout=600s; do kill -0 $! || exit 1; sleep 1; done
exec kubectl port-forward \"pod/$1\" \"$3:3000\" </dev/null";

/// The launcher that is known as `name`, for this image or host.
pub fn preset(name: &str, image: &str) -> Option<Launcher> {
    let (_, command, stop) = PRESETS.into_iter().find(|(known, ..)| *known == name)?;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Some(Launcher { command: words(command), stop: words(stop), image: Some(image.to_owned()), url: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning() -> Meaning {
        let text = |text: &str| text.to_owned();
        Meaning {
            session: text("S"),
            workspace: text("/w {port} $(x)"),
            port: text("1234"),
            image: Some(text("img")),
            program: text("/p"),
        }
    }

    #[test]
    fn placeholders_are_replaced_once_and_other_braces_stay() {
        for (word, replaced) in [
            ("{port}:{port}", "1234:1234"),
            ("a{session}b", "aSb"),
            ("{workspace}:/w", "/w {port} $(x):/w"),
            ("{\"a\":{\"b\":\"{image}\"}}", "{\"a\":{\"b\":\"img\"}}"),
            ("{", "{"),
            ("{other} {{port}}", "{other} {1234}"),
        ] {
            assert_eq!(meaning().replace(word).unwrap(), replaced, "{word}");
        }
        assert!(Meaning { image: None, ..meaning() }.replace("{image}").unwrap_err().contains("no image"));
    }

    #[test]
    fn presets_hold_everything_and_tell_the_key_to_no_argument() {
        for (name, ..) in PRESETS {
            let launcher = preset(name, "img").unwrap();
            let words = meaning().all(&launcher.command).unwrap().join(" ");
            assert!(words.contains("1234") && words.contains("img") && words.contains("--once"), "{words}");
            assert!(words.contains("--key-file -") || words.contains("--env REKINDLE_RUNTIME_KEY "), "{words}");
        }
        assert_eq!(preset("lxc", "img"), None);
    }
}
