//! A fresh clone: made beside its place and moved there when it is whole, so that there is never a half one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::git::{Git, Said};
use super::report::Checkout;
use super::wanted::{Branch, Wanted};

/// How much of what git, or a server through it, says is told, in characters.
const SAID_MAX: usize = 1000;
/// How many branches an error names.
const BRANCHES_MAX: usize = 12;
/// The most that is read of a file that only matters for a warning, in bytes.
const LOOK_MAX: u64 = 256 * 1024;
/// Lets git read a repository of another user on this machine, which whoever named it has chosen to trust.
const UPLOAD_PACK: &str = "git -c 'safe.directory=*' upload-pack";

/// What came of it.
pub(super) enum Cloned {
    /// It is there now.
    Fresh(Checkout),
    /// Something was there before, and was left as it is.
    SomethingIsThere,
}

/// Why there is no clone.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloneError {
    /// Git cannot be started.
    #[error("git cannot be run: {0}; install it")]
    NoGit(io::Error),
    /// Not the branch.
    #[error("{url} has no branch `{branch}`; it has {}", listed(.known))]
    NoBranch { url: String, branch: String, known: Vec<String> },
    /// Not for this token, or for nobody without one.
    #[error("{url} does not let git in: {said}; {}", way_in(.secret.as_deref()))]
    Refused { url: String, secret: Option<String>, said: String },
    /// It may be there for others.
    #[error("there is no repository at {url}: {said}; {}", if_private(.secret.as_deref()))]
    NotFound { url: String, secret: Option<String>, said: String },
    /// Git says why.
    #[error("{url} cannot be cloned: {said}")]
    Git { url: String, said: String },
    /// The workspace.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
}

fn listed(known: &[String]) -> String {
    match known.get(..BRANCHES_MAX) {
        _ if known.is_empty() => "none".to_owned(),
        Some(first) if known.len() > BRANCHES_MAX => format!("{} and {} more", first.join(", "), known.len() - BRANCHES_MAX),
        _ => known.join(", "),
    }
}

fn way_in(secret: Option<&str>) -> String {
    match secret {
        Some(name) => {
            format!("the token in the secret {name} may be wrong, expired, or not for it: `rekindle secrets set {name}`")
        }
        None => "keep a token with `rekindle secrets set NAME` and name it with --repo-token NAME".to_owned(),
    }
}

fn if_private(secret: Option<&str>) -> String {
    match secret {
        Some(name) => format!("if it is private, the token in the secret {name} must be allowed to read it"),
        None => "if it is private, name a token with --repo-token NAME".to_owned(),
    }
}

/// Clones into the workspace at `root`, unless something is in its place. Dropping the future ends it, and nothing is left.
pub(super) async fn clone(wanted: &Wanted, root: &Path) -> Result<Cloned, CloneError> {
    let place = root.join(&wanted.name);
    let staging = Staging::new(wanted, root).await;
    if is_taken(&place).map_err(|source| CloneError::File { path: place.clone(), source })? {
        return Ok(Cloned::SomethingIsThere);
    }
    let checkout = fetch(wanted, root, &staging.path).await?;
    match fs::rename(&staging.path, &place) {
        Ok(()) => Ok(Cloned::Fresh(checkout)),
        // Another session was faster.
        Err(_) if is_taken(&place).unwrap_or(false) => Ok(Cloned::SomethingIsThere),
        Err(source) => Err(CloneError::File { path: place, source }),
    }
}

async fn fetch(wanted: &Wanted, root: &Path, staging: &Path) -> Result<Checkout, CloneError> {
    let git = wanted.git();
    let mut arguments = words(&["clone", "--quiet", "--no-local", "--template=", "--no-recurse-submodules"]);
    if wanted.address.is_path() {
        arguments.push(format!("--upload-pack={UPLOAD_PACK}").into());
    }
    if let Branch::Named(branch) = &wanted.branch {
        arguments.push(format!("--branch={branch}").into());
    }
    arguments.extend(wanted.depth.map(|depth| format!("--depth={depth}").into()));
    arguments.extend(words(&["--", &wanted.address.url]));
    arguments.push(staging.into());
    let said = git.run(root, &arguments).await.map_err(CloneError::NoGit)?;
    if !said.succeeded {
        return Err(why(wanted, &git, root, &said.errors).await);
    }
    // So that the session's commands can fetch and push, where they are given the token.
    // One whose secret brings the user along is left to them: its name would stand in the configuration.
    let credential = wanted.credential.as_ref().filter(|credential| credential.user == wanted.address.user);
    let of_session = credential.zip(wanted.secret.as_deref());
    if let Some((key, helper)) = of_session.and_then(|(credential, name)| credential.for_session(name)) {
        one_line(&git, staging, &["config", "--local", &key, &helper]).await?;
    }
    let mut from = None;
    if let Branch::Fresh(branch) = &wanted.branch {
        from = one_line(&git, staging, &["symbolic-ref", "--quiet", "--short", "HEAD"]).await?;
        let made = git.run(staging, &words(&["checkout", "--quiet", "-b", branch])).await.map_err(CloneError::NoGit)?;
        if !made.succeeded {
            return Err(CloneError::Git { url: wanted.address.url.clone(), said: last_words(&made.errors) });
        }
    }
    Ok(Checkout {
        directory: wanted.directory(),
        origin: wanted.address.url.clone(),
        branch: one_line(&git, staging, &["symbolic-ref", "--quiet", "--short", "HEAD"]).await?,
        commit: one_line(&git, staging, &["rev-parse", "--quiet", "--verify", "HEAD"]).await?,
        from,
        was_there: false,
        warnings: warnings(staging),
    })
}

/// What git says in one line; `None` when it has nothing to say.
pub(super) async fn one_line(git: &Git, directory: &Path, arguments: &[&str]) -> Result<Option<String>, CloneError> {
    let said = git.run(directory, &words(arguments)).await.map_err(CloneError::NoGit)?;
    Ok(Some(said.out.trim().to_owned()).filter(|line| said.succeeded && !line.is_empty()))
}

/// What a failed clone means, and the way out.
pub(super) async fn why(wanted: &Wanted, git: &Git, root: &Path, errors: &str) -> CloneError {
    let (url, secret, said) = (wanted.address.url.clone(), wanted.secret.clone(), last_words(errors));
    let says = |words: &[&str]| words.iter().any(|word| errors.contains(word));
    if let Branch::Named(branch) = &wanted.branch
        && says(&["Remote branch"])
    {
        let known = branches(wanted, git, root).await;
        return CloneError::NoBranch { url, branch: branch.clone(), known };
    }
    if says(&["Authentication failed", "could not read Username", "could not read Password", "Permission denied (", "error: 403"])
    {
        return CloneError::Refused { url, secret, said };
    }
    if says(&["not found", "does not exist", "does not appear to be a git repository", "Could not read from remote repository"]) {
        return CloneError::NotFound { url, secret, said };
    }
    CloneError::Git { url, said }
}

async fn branches(wanted: &Wanted, git: &Git, root: &Path) -> Vec<String> {
    let mut arguments = words(&["ls-remote", "--quiet", "--heads"]);
    if wanted.address.is_path() {
        arguments.push(format!("--upload-pack={UPLOAD_PACK}").into());
    }
    arguments.extend(words(&["--", &wanted.address.url]));
    let said = git.run(root, &arguments).await.map(|said: Said| said.out).unwrap_or_default();
    said.lines().filter_map(|line| Some(line.split_once("refs/heads/")?.1.to_owned())).collect()
}

/// The end of what git said, in one line; where it names a reason, that.
fn last_words(errors: &str) -> String {
    let lines: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told = |line: &&&str| ["fatal:", "error:", "remote:", "ssh:"].iter().any(|word| line.starts_with(word));
    let reasons: Vec<&str> = lines.iter().filter(told).copied().collect();
    let lines = if reasons.is_empty() { lines } else { reasons };
    let first = lines.len().saturating_sub(4);
    let said = lines.get(first..).unwrap_or_default().join("; ");
    said.chars().filter(|char| !char.is_control()).take(SAID_MAX).collect()
}

/// What a clone as it is made here has not brought.
fn warnings(checkout: &Path) -> Vec<String> {
    let says = |name: &str, word: &str| {
        let path = checkout.join(name);
        let is_small_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= LOOK_MAX);
        is_small_file && fs::read_to_string(&path).is_ok_and(|text| text.contains(word))
    };
    let mut warnings = Vec::new();
    if says(".gitmodules", "[submodule") {
        warnings.push("its submodules were not fetched; `git submodule update --init` does that".to_owned());
    }
    if says(".gitattributes", "filter=lfs") {
        warnings.push("files that Git LFS keeps are only named; `git lfs pull` fetches them".to_owned());
    }
    warnings
}

/// Whether there is something that must not be touched: anything but an empty directory.
fn is_taken(place: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => Ok(fs::read_dir(place)?.next().is_some()),
        Ok(_) => Ok(true),
    }
}

/// Removes what earlier tries of this session, that were killed, have left.
fn sweep(root: &Path, prefix: &str) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            remove(&entry.path());
        }
    }
}

/// Removes a clone that is not whole. A git that is just being killed may still write to it.
fn remove(path: &Path) {
    for _ in 0..100 {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => std::thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
    tracing::warn!(path = %path.display(), "an unfinished clone could not be removed");
}

/// A clone that is not whole yet, and goes unless it was moved to its place.
pub(super) struct Staging {
    pub(super) path: PathBuf,
}

impl Staging {
    /// A place for it in the workspace at `root`. What earlier tries of the session have left there goes first.
    pub(super) async fn new(wanted: &Wanted, root: &Path) -> Self {
        let prefix = format!(".{}.rekindle-{}-", wanted.name, wanted.session);
        let (swept, left) = (root.to_path_buf(), prefix.clone());
        // A task that ends early sweeps nothing, and the next try does.
        let _ = tokio::task::spawn_blocking(move || sweep(&swept, &left)).await;
        Self { path: root.join(format!("{prefix}{}", Uuid::new_v4().simple())) }
    }

    /// Removes it, and waits until it is gone.
    pub(super) async fn remove(self) {
        let path = self.path.clone();
        // Where this task ends early, the value is dropped.
        let _ = tokio::task::spawn_blocking(move || remove(&path)).await;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok() {
            let path = self.path.clone();
            // Removing takes its time, and the last owner may be a task.
            let spawned = std::thread::Builder::new().name("rekindle-sweep".into()).spawn(move || remove(&path));
            if let Err(error) = spawned {
                tracing::warn!(path = %self.path.display(), %error, "an unfinished clone could not be removed");
            }
        }
    }
}

pub(super) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(|word| OsStr::new(word).to_owned()).collect()
}
