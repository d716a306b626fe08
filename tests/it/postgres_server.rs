//! Throw-away PostgreSQL servers from the installed binaries, each in a directory of its own and gone with the process that made it.
#![allow(dead_code, reason = "the benches use a part of it")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// How often another port is tried when somebody else took the one that was free.
const PORTS_MAX: u32 = 20;

/// Whether the server waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It does, as a real one.
    Waits,
    /// It does not: for tests that do not kill it.
    IsTrusted,
}

/// A running server.
pub struct Server {
    directory: PathBuf,
    pub port: u16,
    /// Ends the server and removes its directory once its input ends: with this process, however that ends.
    guard: Child,
}

impl Server {
    /// A new server with nothing in it.
    pub fn start(disk: Disk) -> Self {
        let directory = fresh_directory();
        as_owner("cp").arg("-r").arg(template()).arg(directory.join("data")).done();
        let settings = match disk {
            Disk::Waits => "",
            Disk::IsTrusted => "fsync = off\n",
        };
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\nshared_buffers = 64MB\n\
             max_wal_senders = 4\nwal_level = replica\nhot_standby = on\nautovacuum_naptime = 10s\n{settings}"
        );
        append(&directory.join("data/postgresql.conf"), &settings);
        Self::run(directory)
    }

    /// Starts what is in `directory` on a free port.
    fn run(directory: PathBuf) -> Self {
        let guard = guard(&directory);
        for _ in 0..PORTS_MAX {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
            if launch(&directory, port) {
                return Self { directory, port, guard };
            }
        }
        panic!("no server starts: {}", fs::read_to_string(directory.join("log")).unwrap_or_default());
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A new database, and its address.
    pub async fn fresh_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("create database {name}")).await;
        self.url(&name)
    }

    /// Does something as the owner.
    pub async fn sql(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Ends all processes of the server as a power cut would.
    pub fn stop_immediate(&self) {
        control(&self.directory).args(["stop", "-m", "immediate", "-w"]).done();
    }

    /// Starts it again where it was.
    pub fn start_again(&self) {
        assert!(launch(&self.directory, self.port), "it starts again");
    }

    /// A standby that this server waits for at each commit.
    pub async fn standby(&self) -> Self {
        let directory = fresh_directory();
        let from = format!("host=127.0.0.1 port={} user=postgres application_name=standby", self.port);
        as_owner(&binary("pg_basebackup"))
            .args(["-R", "-X", "stream", "-c", "fast", "-d", &from, "-D"])
            .arg(directory.join("data"))
            .done();
        append(&directory.join("data/postgresql.conf"), "wal_retrieve_retry_interval = '200ms'\nsynchronous_standby_names = ''\n");
        let standby = Self::run(directory);
        self.sql("alter system set synchronous_standby_names = 'standby'").await;
        self.sql("select pg_reload_conf()").await;
        standby
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        control(&self.directory).args(["promote", "-w"]).done();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Starts the server in `directory`; false when it does not come up.
fn launch(directory: &Path, port: u16) -> bool {
    let mut start = control(directory);
    start.args(["start", "-w", "-t", "60", "-l"]).arg(directory.join("log")).args(["-o", &format!("-p {port}")]);
    start.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn control(directory: &Path) -> Command {
    let mut command = as_owner(&binary("pg_ctl"));
    command.arg("-D").arg(directory.join("data"));
    command
}

fn guard(directory: &Path) -> Child {
    let script = "cat >/dev/null; \"$0\" -D \"$1/data\" stop -m immediate; rm -rf \"$1\"";
    let mut guard = as_owner("sh");
    guard.args(["-c", script, &binary("pg_ctl")]).arg(directory);
    guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A directory of the user that the server runs as; the system's, since that user may not see into ours.
fn fresh_directory() -> PathBuf {
    let made = as_owner("mktemp").args(["-d", "/tmp/rekindle-postgres-XXXXXXXX"]).output().unwrap();
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// An initialised data directory to copy, made once a machine.
fn template() -> PathBuf {
    let version = Command::new(binary("postgres")).arg("--version").output().unwrap();
    let version: String = String::from_utf8_lossy(&version.stdout).chars().filter(char::is_ascii_alphanumeric).collect();
    let template = PathBuf::from(format!("/tmp/rekindle-postgres-template-{}-{version}", nix_uid()));
    if !template.exists() {
        let directory = fresh_directory();
        let data = directory.join("data");
        as_owner(&binary("initdb"))
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .done();
        // Whoever is first makes it; the others' is the same.
        let _ = as_owner("mv").arg("-nT").arg(&data).arg(&template).stderr(Stdio::null()).status();
        as_owner("rm").arg("-rf").arg(directory).done();
    }
    template
}

fn append(file: &Path, text: &str) {
    // The file is the server's user's own.
    as_owner("sh").args(["-c", "printf '%s' \"$1\" >> \"$0\""]).arg(file).arg(text).done();
}

fn nix_uid() -> String {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
}

/// A command as a user that PostgreSQL runs as: never root.
fn as_owner(program: &str) -> Command {
    if nix_uid() != "0" {
        return Command::new(program);
    }
    let user = if user_exists("postgres") { "postgres" } else { "nobody" };
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--", program]).current_dir("/tmp");
    command
}

fn user_exists(name: &str) -> bool {
    Command::new("id").arg(name).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A program of the newest installed server.
fn binary(name: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let program = entry.path().join("bin").join(name);
        program.exists().then_some((version, program))
    });
    match versions.max() {
        Some((_, program)) => program.to_string_lossy().into_owned(),
        None => name.to_owned(),
    }
}

trait Done {
    /// Runs it to its end; it must work.
    fn done(&mut self);
}

impl Done for Command {
    fn done(&mut self) {
        let output = self.output().unwrap_or_else(|error| panic!("{self:?}: {error}; .ci/test installs what the tests need"));
        assert!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
