//! Behind a pooler that gives each transaction any connection, the store keeps its contract: nothing of one caller is left for another.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rekindle::store::{OpenOptions, SharedStore, connect};

use crate::postgres_server::shared;

/// A PgBouncer of its own, gone with the process that started it.
struct Bouncer {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Bouncer {
    /// One in front of the server of `url`.
    async fn start(url: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let server = url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1;
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\nmax_client_conn = 200\n\
             default_pool_size = 4\nignore_startup_parameters = extra_float_digits\n"
        );
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let bouncer = Self { process: launch(directory.path(), &file), port, _directory: directory };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return bouncer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("pgbouncer does not answer; .ci/test installs what the tests need");
    }
}

/// It refuses to run as root, and ends once its guard's input does.
fn launch(directory: &Path, settings: &Path) -> Child {
    let script = "PATH=$PATH:/usr/sbin; pgbouncer -q \"$0\" & bouncer=$!; cat >/dev/null; kill $bouncer";
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = if root {
        let open = Command::new("chmod").arg("-R").arg("a+rX").arg(directory).status().unwrap();
        assert!(open.success());
        let mut command = Command::new("runuser");
        command.args(["-u", "nobody", "--", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", script]).arg(settings).current_dir("/tmp");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

async fn make_store() -> (SharedStore, Bouncer) {
    let direct = shared().fresh_database().await;
    // Tables are made over a direct connection.
    connect(&direct, OpenOptions::default()).await.unwrap().close().await;
    let bouncer = Bouncer::start(&direct).await;
    let database = direct.rsplit_once('/').unwrap().1;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}?pooler=transaction", bouncer.port);
    (connect(&url, OpenOptions::default()).await.unwrap(), bouncer)
}

rekindle::store_conformance!(make_store);

#[tokio::test]
async fn tables_are_not_made_through_it() {
    let direct = shared().fresh_database().await;
    let bouncer = Bouncer::start(&direct).await;
    let database = direct.rsplit_once('/').unwrap().1;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}?pooler=transaction", bouncer.port);
    let refused = connect(&url, OpenOptions::default()).await.err().unwrap().to_string();
    assert!(refused.contains("store init"), "{refused}");
}
