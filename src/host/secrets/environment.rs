//! Secrets in the environment of this process.

/// The names under which models' keys and providers' tokens usually are there.
pub const USUAL: [&str; 5] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "GITLAB_TOKEN", "BITBUCKET_TOKEN"];

/// The value of a variable that is set, and is text.
pub(super) fn value(name: &str) -> Option<String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
