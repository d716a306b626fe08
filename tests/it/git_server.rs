//! Git repositories behind real HTTP: `git http-backend` with Basic authentication, redirects, and answers that break off. It remembers
//! what credentials it was shown.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// What the server does beside serving.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// User and password that it asks for.
    pub login: Option<(String, String)>,
    /// Sends everybody to this server instead.
    pub redirect: Option<String>,
    /// Refuses with this status and text.
    pub refuse: Option<(u16, String)>,
    /// Sends this much of each pack, and then nothing more.
    pub stall_after: Option<usize>,
}

/// A running server.
#[derive(Clone)]
pub struct GitServer {
    port: u16,
    state: Arc<State>,
}

struct State {
    root: PathBuf,
    manners: Mutex<Manners>,
    /// What stood in `Authorization` of each request, decoded.
    shown: Mutex<Vec<Option<String>>>,
    stalled: Mutex<usize>,
}

impl GitServer {
    /// Serves the repositories below `root`.
    pub fn start(root: &Path, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (root, manners) = (root.to_owned(), Mutex::new(manners));
        let state = Arc::new(State { root, manners, shown: Mutex::default(), stalled: Mutex::default() });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&serving);
                std::thread::spawn(move || state.answer(connection));
            }
        });
        Self { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn behave(&self, manners: Manners) {
        *self.state.manners.lock().unwrap() = manners;
    }

    /// The logins that were shown, each request's.
    pub fn shown(&self) -> Vec<Option<String>> {
        self.state.shown.lock().unwrap().clone()
    }

    /// The programs of git that talk to it.
    pub fn clients(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.extend((line.contains("git") && line.contains(&self.url())).then_some(line));
        }
        found
    }

    /// How many packs broke off so far.
    pub fn stalled(&self) -> usize {
        *self.state.stalled.lock().unwrap()
    }
}

impl State {
    fn answer(&self, mut connection: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let (method, target) = (line.split(' ').next()?.to_owned(), line.split(' ').nth(1)?.to_owned());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let login = headers.get("authorization").map(|value| decoded(value));
        self.shown.lock().unwrap().push(login.clone());
        let manners = self.manners.lock().unwrap().clone();
        if let Some(to) = &manners.redirect {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}{target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return connection.write_all(head.as_bytes()).ok();
        }
        if let Some((status, text)) = &manners.refuse {
            let head = format!(
                "HTTP/1.1 {status} No\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            return connection.write_all(format!("{head}{text}").as_bytes()).ok();
        }
        if manners.login.as_ref().is_some_and(|(user, password)| login != Some(format!("{user}:{password}"))) {
            let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return connection.write_all(head.as_bytes()).ok();
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut backend = Command::new("git");
        backend.arg("http-backend").env("GIT_PROJECT_ROOT", &self.root).env("GIT_HTTP_EXPORT_ALL", "1");
        backend.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", &method).env("REMOTE_ADDR", "127.0.0.1");
        for (header, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-length", "CONTENT_LENGTH"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            backend.envs(headers.get(header).map(|value| (variable, value)));
        }
        let mut backend = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        backend.stdin.take()?.write_all(&body).ok()?;
        let output = backend.wait_with_output().ok()?.stdout;
        let end = output.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&output[..end]).into_owned();
        let content = &output[end + 4..];
        let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        let kept: Vec<&str> = head.lines().filter(|line| !line.starts_with("Status: ")).collect();
        let head = format!(
            "HTTP/1.1 {status}\r\n{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            kept.join("\r\n"),
            content.len()
        );
        connection.write_all(head.as_bytes()).ok()?;
        let is_pack = method == "POST" && content.windows(4).any(|four| four == b"PACK");
        match manners.stall_after.filter(|_| is_pack) {
            Some(some) => {
                connection.write_all(&content[..some.min(content.len())]).ok()?;
                *self.stalled.lock().unwrap() += 1;
                // Until the client goes.
                let _ = connection.read(&mut [0]);
            }
            None => connection.write_all(content).ok()?,
        }
        Some(())
    }
}

fn decoded(value: &str) -> String {
    let coded = value.strip_prefix("Basic ").unwrap_or(value);
    BASE64_STANDARD.decode(coded).map_or_else(|_| value.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs git as the person who made the repository would.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]);
    command.args(["-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"]).args(arguments).current_dir(directory);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().expect("git is needed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes `root/owner/proj.git`, bare, with these files on `main`, and a branch `other` with one file more.
pub fn repository(root: &Path, files: &[(&str, &str)]) -> PathBuf {
    let work = root.join("work");
    std::fs::create_dir_all(&work).unwrap();
    git(&work, &["init", "--quiet"]);
    for (path, text) in files {
        let path = work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    for message in ["first", "second"] {
        git(&work, &["add", "."]);
        git(&work, &["commit", "--quiet", "--allow-empty", "-m", message]);
    }
    git(&work, &["checkout", "--quiet", "-b", "other"]);
    std::fs::write(work.join("other.txt"), "other\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "other"]);
    git(&work, &["checkout", "--quiet", "main"]);
    let bare = root.join("owner/proj.git");
    std::fs::create_dir_all(root.join("owner")).unwrap();
    git(root, &["clone", "--quiet", "--bare", "work", bare.to_str().unwrap()]);
    bare
}
