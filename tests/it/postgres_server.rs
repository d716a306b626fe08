//! Throw-away PostgreSQL servers, made of the programs that are installed.
//!
//! [`shared`] is one server for all test processes that run at the same time; [`Server::start`] makes one to be mistreated.
#![allow(dead_code, reason = "each test, and the bench, uses a part of it")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How many ports are tried.
const STARTS_MAX: usize = 20;

/// Keeps one run of a server: ends it when told to stop, or when the test process is gone however it went.
const KEEPER: &str = r#"
home=$1; shift
"$@" >>"$home/log" 2>&1 </dev/null &
server=$!
echo $server
exec >/dev/null
word=; read -r word
kill -QUIT $server; wait $server
[ "$word" = stop ] || rm -rf "$home"
"#;

/// Keeps the shared server: ends it once no test process has used it for a while.
const SHARED_KEEPER: &str = r#"
home=$1 place=$2; shift 2
"$@" >>"$home/log" 2>&1 </dev/null &
server=$!
echo $server
exec >/dev/null 8>>"$place.starting" 9>>"$place.users"
idle=0
while kill -0 $server; do
  sleep 1
  if ! flock -n -x 9; then idle=0; continue; fi
  flock -u 9
  idle=$((idle + 1))
  [ $idle -ge 20 ] || continue
  # Whoever wants to use it now waits until it is gone, and starts another.
  flock -x 8
  if flock -n -x 9; then rm -f "$place.port"; kill -QUIT $server; wait $server; break; fi
  flock -u 8
  idle=0
done
rm -rf "$home"
"#;

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct Access {
    port: u16,
}

impl Access {
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub async fn connection(&self, database: &str) -> PgConnection {
        open(&self.url(database)).await.unwrap()
    }

    /// Runs statements that need no answer, beside the databases of the tests.
    pub async fn sql(&self, statements: &str) {
        self.sql_in("postgres", statements).await;
    }

    /// Runs statements that need no answer.
    pub async fn sql_in(&self, database: &str, statements: &str) {
        let mut connection = self.connection(database).await;
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The address of an empty database of its own.
    pub async fn fresh_database(&self) -> String {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        self.sql(&format!("create database {name}")).await;
        self.url(&name)
    }

    /// Ends all connections of clients but the one that asks for it. Whether that worked: the server may be down just then.
    pub async fn terminate_backends(&self) -> Result<(), sqlx::Error> {
        let mut connection = open(&self.url("postgres")).await?;
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
             where pid <> pg_backend_pid() and backend_type = 'client backend'";
        sqlx::raw_sql(terminate).execute(&mut connection).await?;
        connection.close().await
    }
}

/// A connection of a test's own, without the certificates that Citus makes and that no library of ours reads.
pub async fn open(url: &str) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(&url.parse::<PgConnectOptions>()?.ssl_mode(PgSslMode::Disable)).await
}

/// The server that all test processes share; each makes its own databases in it.
pub fn shared() -> Access {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| Shared::find("postgres-shared", &[])).access.clone()
}

/// A server that test processes share, by its name.
pub struct Shared {
    pub access: Access,
    /// Locked as long as this process lives, so that the keeper knows.
    _users: File,
}

impl Shared {
    /// Finds it, or starts it with settings beside those that all have.
    pub fn find(name: &str, settings: &[&str]) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let beside = |extension: &str| place.with_extension(extension);
        let lock_file = |path| File::options().create(true).append(true).open(path).unwrap();
        let starting = lock_file(beside("starting"));
        starting.lock().unwrap();
        let users = lock_file(beside("users"));
        users.lock_shared().unwrap();
        let running = fs::read_to_string(beside("port")).ok().and_then(|port| port.trim().parse().ok());
        if let Some(port) = running.filter(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
            return Self { access: Access { port }, _users: users };
        }
        // What it holds is not to survive anything.
        let settings: Vec<_> = settings.iter().chain(&["fsync=off"]).map(|setting| (*setting).to_owned()).collect();
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            let (home, port) = (new_home(), free_port());
            init(&home);
            let mut keeper = keeper(SHARED_KEEPER, &[&home, &place], server(&home, port, &settings));
            let log = home.join("log");
            let (_, pid) = start(keeper.stdin(Stdio::null()));
            if ready(&home, pid) {
                fs::write(beside("port"), port.to_string()).unwrap();
                return Self { access: Access { port }, _users: users };
            }
            said = fs::read_to_string(log).unwrap_or(said);
        }
        panic!("the shared server does not start: {said}");
    }
}

/// A server of its own. It ends with the value, or with the process.
pub struct Server {
    access: Access,
    home: PathBuf,
    settings: Vec<String>,
    run: Option<Run>,
}

/// One run of a server.
struct Run {
    keeper: Child,
    orders: ChildStdin,
    pid: u32,
}

impl Deref for Server {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with settings beside those that all have, each as `name=value`.
    pub fn start_with(settings: &[&str]) -> Self {
        let home = new_home();
        init(&home);
        Self::of_home(home, settings.iter().map(|setting| (*setting).to_owned()).collect())
    }

    /// A copy of `primary` that follows it; from now on `primary` commits nothing that the copy does not have.
    pub async fn standby_of(primary: &Self) -> Self {
        let home = new_home();
        let source = format!("host=127.0.0.1 port={} user=postgres application_name=standby", primary.port());
        let copy = ["-R", "-X", "stream", "-c", "fast", "-N", "-d", &source, "-D"];
        run(as_server_user(&program("pg_basebackup")).args(copy).arg(home.join("data")));
        let standby = Self::of_home(home, primary.settings.clone());
        primary.sql("alter system set synchronous_standby_names = 'ANY 1 (standby)'").await;
        primary.sql("select pg_reload_conf()").await;
        let since = Instant::now();
        let mut connection = primary.connection("postgres").await;
        let synchronous = "select count(*) from pg_stat_replication where state = 'streaming' and sync_state = 'quorum'";
        while sqlx::query_scalar::<_, i64>(synchronous).fetch_one(&mut connection).await.unwrap() == 0 {
            assert!(since.elapsed() < STARTS_WITHIN, "the standby does not follow:\n{}", standby.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        standby
    }

    fn of_home(home: PathBuf, settings: Vec<String>) -> Self {
        for _ in 0..STARTS_MAX {
            let mut server =
                Self { access: Access { port: free_port() }, home: home.clone(), settings: settings.clone(), run: None };
            if server.try_start() {
                return server;
            }
            std::mem::forget(server);
        }
        panic!("the server does not start: {}", fs::read_to_string(home.join("log")).unwrap_or_default());
    }

    /// Whether it runs now; it does not when somebody else has its port.
    fn try_start(&mut self) -> bool {
        let mut keeper = keeper(KEEPER, &[&self.home], server(&self.home, self.port(), &self.settings));
        let (mut keeper, pid) = start(keeper.stdin(Stdio::piped()));
        let mut orders = keeper.stdin.take().unwrap();
        let runs = ready(&self.home, pid);
        if runs {
            self.run = Some(Run { keeper, orders, pid });
        } else {
            orders.write_all(b"stop\n").unwrap();
            keeper.wait().unwrap();
        }
        runs
    }

    pub fn data_directory(&self) -> PathBuf {
        self.home.join("data")
    }

    /// What the server has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// Stops it at once, as `pg_ctl stop -m immediate` does: all connections break, and the next start recovers from the log.
    pub fn stop_immediate(&mut self) {
        let Run { mut keeper, mut orders, .. } = self.run.take().unwrap();
        orders.write_all(b"stop\n").unwrap();
        keeper.wait().unwrap();
    }

    /// Kills all of its processes at once, as a power cut does.
    pub fn kill(&mut self) {
        let Run { mut keeper, mut orders, pid } = self.run.take().unwrap();
        // Stopped first, so that it starts no further processes meanwhile.
        signal("STOP", &[pid]);
        let mut all = children(pid);
        all.push(pid);
        signal("KILL", &all);
        let since = Instant::now();
        while all.iter().any(|pid| alive(*pid)) {
            assert!(since.elapsed() < STARTS_WITHIN, "some of {all:?} do not die");
            std::thread::sleep(Duration::from_millis(1));
        }
        orders.write_all(b"stop\n").unwrap();
        keeper.wait().unwrap();
    }

    /// Starts it where it was, at the same address.
    pub fn start_again(&mut self) {
        assert!(self.run.is_none(), "it runs");
        // Only what is left of one that was killed; with it there the new one could be thought to be ready.
        let _ = fs::remove_file(self.data_directory().join("postmaster.pid"));
        assert!(self.try_start(), "{}", self.log());
    }

    /// Makes a standby a primary that waits for nobody.
    pub async fn promote(&self) {
        self.sql("select pg_promote(true, 60)").await;
        // It may have been copied together with its primary's demand for a standby.
        self.sql("alter system set synchronous_standby_names = ''").await;
        self.sql("select pg_reload_conf()").await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.run.take() {
            Some(Run { mut keeper, orders, .. }) => {
                drop(orders);
                let _ = keeper.wait();
            }
            None => drop(fs::remove_dir_all(&self.home)),
        }
    }
}

/// Starts a keeper; with it, the id of the server's first process.
fn start(keeper: &mut Command) -> (Child, u32) {
    let mut child = keeper.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = line.trim().parse().unwrap();
    (child, pid)
}

/// A process that starts `server`, outlives whatever kills the tests, and then clears up.
fn keeper(script: &str, arguments: &[&Path], server: Command) -> Command {
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", script, "keeper"]).args(arguments).arg(server.get_program()).args(server.get_args());
    // A server that is a client of another one looks for certificates at home, which is that of whoever runs the tests.
    command.env("HOME", "/");
    command
}

fn server(home: &Path, port: u16, settings: &[String]) -> Command {
    let mut command = as_server_user(&program("postgres"));
    command.arg("-D").arg(home.join("data"));
    let common = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=32MB", "max_connections=200"];
    // A standby that lost its primary looks for it again at once instead of after five seconds.
    let common = common.into_iter().chain(["wal_retrieve_retry_interval=200ms", "log_checkpoints=off"]).map(str::to_owned);
    for setting in common.chain([format!("port={port}")]).chain(settings.iter().cloned()) {
        command.arg("-c").arg(setting);
    }
    command
}

/// Waits until the server takes connections; whether it did before it ended.
fn ready(home: &Path, pid: u32) -> bool {
    let since = Instant::now();
    loop {
        let state = fs::read_to_string(home.join("data/postmaster.pid")).unwrap_or_default();
        let own = state.lines().next() == Some(pid.to_string().as_str());
        // A standby without data of its own to show yet says "standby" before it lets anyone in.
        if own && ["ready", "standby"].iter().any(|word| state.lines().nth(7).is_some_and(|line| line.trim() == *word)) {
            return true;
        }
        if !alive(pid) {
            return false;
        }
        assert!(since.elapsed() < STARTS_WITHIN, "{}", fs::read_to_string(home.join("log")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory that the server's user can write, under `target` where that user may go there, since `/tmp` may be in memory.
fn new_home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let reached = as_server_user(Path::new("test")).arg("-x").arg(target).status().is_ok_and(|status| status.success());
    let parent = if reached { target.to_owned() } else { std::env::temp_dir() };
    let home = tempfile::Builder::new().prefix("postgres-").tempdir_in(parent).unwrap().keep();
    if let Some((_, user, group)) = server_user() {
        chown(&home, Some(user), Some(group)).unwrap();
    }
    home
}

fn init(home: &Path) {
    let options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "--no-instructions", "-D"];
    run(as_server_user(&program("initdb")).args(options).arg(home.join("data")));
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Below the ports that outgoing connections get: a client that calls a port where nobody listens could else be connected to itself.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + (uuid::Uuid::new_v4().as_u128() % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One of PostgreSQL's programs, of the newest version that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin").join(name))))
        .filter(|(_, program)| program.exists())
        .max();
    installed.map_or_else(|| PathBuf::from(name), |(_, program)| program)
}

/// As whom the server runs where the tests run as root, as which it refuses to: the name and the ids of the user.
fn server_user() -> Option<(String, u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields: Vec<&str> = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').collect();
        Some((name.to_owned(), fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).unwrap())
}

fn as_server_user(program: &Path) -> Command {
    let Some((_, user, group)) = server_user() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--init-groups".to_owned()]).arg(program);
    // The programs look at where they are called from.
    command.current_dir("/");
    command
}

fn signal(name: &str, pids: &[u32]) {
    // Some may be gone by now.
    let _ = Command::new("kill").arg(format!("-{name}")).args(pids.iter().map(u32::to_string)).stderr(Stdio::null()).status();
}

/// The state of a process and its parent.
fn process(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn alive(pid: u32) -> bool {
    process(pid).is_some_and(|(state, _)| state != "Z")
}

fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid| process(*pid).is_some_and(|(_, of)| of == parent)).collect()
}
