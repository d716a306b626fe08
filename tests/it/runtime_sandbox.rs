//! What commands of a session cannot do to the machine, each shown by really trying, in every way that a session is kept.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rekindle::engine::ports::{Guard, Runtimes, SandboxReport, SecretValue};
use rekindle::host::runtime::local::{Isolation, LocalOptions, LocalRuntimes};
use rekindle::session::action::{Run, RunIpython};
use rekindle::session::{Action, RuntimeSpec, Sandbox};
use serde_json::json;

use super::runtime_support::{Local, PATIENT, eventually, isolations, local_as, marked, metadata, options, request, run, told};

/// A way that a session is kept on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way(Isolation, Sandbox);

fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = isolations().into_iter().map(|isolation| Way(isolation, Sandbox::Landlock)).collect();
    let is_there = Command::new("bwrap").arg("--version").output().is_ok_and(|output| output.status.success());
    if is_there && isolations().contains(&Isolation::Namespaces) {
        ways.push(Way(Isolation::Auto, Sandbox::Bubblewrap));
    }
    ways
}

impl Way {
    const fn spec(self, network: bool) -> RuntimeSpec {
        RuntimeSpec::Local { sandbox: self.1, network }
    }

    async fn session(self) -> Local {
        self.with(false, Vec::new()).await
    }

    async fn with(self, network: bool, environment: Vec<(String, String)>) -> Local {
        local_as(LocalOptions { environment, ..options(self.0) }, |asked| asked.runtime = self.spec(network)).await
    }
}

fn sandbox(local: &Local) -> &SandboxReport {
    local.report.sandbox.as_ref().unwrap()
}

/// Whether the session says that it has this guard.
fn has(local: &Local, guard: Guard) -> bool {
    let report = sandbox(local);
    let has = report.enforced.contains(&guard);
    assert_ne!(has, report.missing.iter().any(|gap| gap.guard == guard), "{guard:?}: {report:?}");
    has
}

fn cell(code: &str) -> Action {
    let cell: RunIpython = serde_json::from_value(json!({ "code": code, "include_extra": false })).unwrap();
    Action::RunIpython(cell)
}

/// Everything that can start a process: the shell, a one-off, a cell, and a shell that had to be restarted.
async fn in_every_process(local: &Local, command: &str) -> Vec<String> {
    let one_off = Action::Run(Run { is_static: true, ..run(command) });
    let python = format!("import subprocess; print(subprocess.run(['bash', '-c', {command:?}], capture_output=True, text=True))");
    let mut outputs = vec![
        local.sh(command).await.content,
        local.execute(one_off, PATIENT).await.content,
        local.execute(cell(&python), PATIENT).await.content,
    ];
    local.sh("exit").await;
    outputs.push(local.sh(command).await.content);
    outputs.push(local.sh(&format!("setsid bash -c {command:?}")).await.content);
    outputs
}

/// A home with a key in it.
struct Home(tempfile::TempDir);

impl Home {
    const KEY: &str = "PRIVATE-KEY-4711";

    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".ssh")).unwrap();
        fs::write(home.path().join(".ssh/id"), Self::KEY).unwrap();
        fs::create_dir_all(home.path().join(".cargo/bin")).unwrap();
        let tool = home.path().join(".cargo/bin/tool");
        fs::write(&tool, "#!/bin/sh\necho tool runs\n").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        Self(home)
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let home = self.path().display().to_string();
        let path = format!("{home}/.cargo/bin:{}", std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into()));
        vec![("HOME".into(), home), ("PATH".into(), path)]
    }
}

#[tokio::test]
async fn the_home_is_not_read_and_its_tools_run() {
    for way in ways() {
        let home = Home::new();
        let local = way.with(false, home.environment()).await;
        let key = home.path().join(".ssh/id").display().to_string();
        for output in in_every_process(&local, &format!("cat {key}; ls -a {}/.ssh", home.path().display())).await {
            assert!(!output.contains(Home::KEY) && !output.contains("id\n"), "{way:?}: {output}");
        }
        for attempt in [
            format!("ln -s {key} link && cat link"),
            format!("ln {key} hard && cat hard"),
            format!("mv {key} moved && cat moved"),
            format!("cat /proc/self/root{key}; cat /proc/1/root{key}; cat /proc/$$/cwd/../..{key}"),
            format!("cp {key} copy; tar cf - {key} | cat; grep -r PRIVATE- {}", home.path().display()),
        ] {
            let output = local.sh(&attempt).await.content;
            assert!(!output.contains(Home::KEY), "{way:?}: {attempt}: {output}");
        }
        // What the shell has put there leads no file action out.
        for path in ["/workspace/link", "/workspace/hard", "/workspace/moved", "/workspace/copy"] {
            let read = local.read(json!({ "path": path })).await;
            assert!(!read.content.contains(Home::KEY), "{way:?}: {path}: {}", read.content);
        }
        local.ok("ln -s /proc/self/root machine").await;
        let read = local.read(json!({ "path": format!("/workspace/machine{key}") })).await;
        assert!(!read.content.contains(Home::KEY), "{way:?}: {}", read.content);
        assert_eq!(fs::read_to_string(&key).unwrap(), Home::KEY);
        assert_eq!(local.ok("tool").await, "tool runs", "{way:?}");
        assert_ne!(local.sh("echo x > \"$(command -v tool)\"").await.content, "", "{way:?}");
        // Programs find a home that they can write to, and that is not the machine's.
        local.ok("echo x > ~/.config-of-mine && cat ~/.config-of-mine && cd && git config --global user.name me").await;
        assert!(!home.path().join(".config-of-mine").exists() && !home.path().join(".gitconfig").exists(), "{way:?}");
    }
}

#[tokio::test]
async fn nothing_is_written_outside_of_the_workspace() {
    for way in ways() {
        let outside = tempfile::tempdir().unwrap();
        let outside = outside.path().canonicalize().unwrap();
        let file = outside.join("file");
        fs::write(&file, "untouched").unwrap();
        let local = way.session().await;
        let name = format!("rekindle-test-{}", uuid::Uuid::now_v7());
        let (file_name, folder) = (file.display(), outside.display());
        let attempt = format!(
            "for d in / /etc /usr /usr/local/bin /root /home /var /var/tmp /tmp /opt /srv /boot {folder}; do echo x > $d/{name}; mkdir \
             $d/{name}.d; done; echo x > {file_name}; truncate -s 0 {file_name}; mv {file_name} {file_name}2; rm -rf {file_name} {folder}"
        );
        in_every_process(&local, &attempt).await;
        for directory in
            ["/", "/etc", "/usr", "/usr/local/bin", "/root", "/home", "/var", "/var/tmp", "/tmp", "/opt", "/srv", "/boot"]
        {
            for name in [&name, &format!("{name}.d")] {
                assert!(!Path::new(directory).join(name).exists(), "{way:?}: {directory}");
            }
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "untouched", "{way:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{way:?}");
        assert!(has(&local, Guard::Writes));
        // Modes are no contents: only a view of one's own keeps them.
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let before = (mode(Path::new("/etc/passwd")), mode(&file));
        if has(&local, Guard::Attributes) {
            local.sh(&format!("chmod 600 /etc/passwd {file_name}; chown 1:1 /etc/passwd {file_name}; touch /etc/passwd")).await;
            assert_eq!((mode(Path::new("/etc/passwd")), mode(&file)), before, "{way:?}");
        }
        // The workspace is written, by both of its names, and temporary files are.
        local
            .ok("echo 1 > /workspace/a && mkdir -p d/e && mv a d/e/a && ln d/e/a b && t=$(mktemp) && echo x > $t && rm $t")
            .await;
        local.ok(&format!("echo 2 > {}/c", local.workspace.display())).await;
        assert_eq!((local.file("b"), local.file("c")), (b"1\n".to_vec(), b"2\n".to_vec()), "{way:?}");
    }
}

#[tokio::test]
async fn what_others_have_in_tmp_is_not_found() {
    for way in ways() {
        let other = tempfile::Builder::new().prefix("rekindle-other").tempdir_in("/tmp").unwrap();
        fs::set_permissions(other.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(other.path().join("f"), "TEMPORARY-4711").unwrap();
        let local = way.session().await;
        assert!(has(&local, Guard::Temporary));
        let output = local.sh(&format!("ls /tmp; cat {}/f; ls {0}", other.path().display())).await.content;
        assert!(!output.contains("TEMPORARY-4711") && !output.contains("rekindle-other\n"), "{way:?}: {output}");
    }
}

#[tokio::test]
async fn no_connection_is_made_unless_it_is_allowed() {
    for way in ways() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = format!("rekindle-{}", uuid::Uuid::now_v7());
        let unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        unix.set_nonblocking(true).unwrap();
        let (port, datagram) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
        let attempt = format!(
            "(exec 3<>/dev/tcp/127.0.0.1/{port} && echo tcp); (echo x > /dev/udp/127.0.0.1/{datagram}); python3 -c 'import socket; \
             socket.socket(socket.AF_UNIX).connect(\"\\0{name}\"); print(\"unix\")'"
        );
        let mut datagrams = [0; 8];
        let shut = way.session().await;
        assert!(!sandbox(&shut).network);
        let output = shut.sh(&attempt).await.content;
        assert!(!output.contains("tcp\n") && !output.contains("unix"), "{way:?}: {output}");
        assert!(tcp.accept().is_err() && unix.accept().is_err(), "{way:?}");
        assert!(has(&shut, Guard::Tcp));
        if has(&shut, Guard::Network) {
            assert!(udp.recv(&mut datagrams).is_err(), "{way:?}");
            // Servers of its own are what many tests need.
            let own = "python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1 & for i in $(seq 200); do (exec \
                       3<>/dev/tcp/127.0.0.1/8123) 2>/dev/null && break; sleep 0.05; done; exec 3<>/dev/tcp/127.0.0.1/8123 && echo own";
            assert!(shut.sh(own).await.content.contains("own"), "{way:?}");
        }
        let open = way.with(true, Vec::new()).await;
        assert!(sandbox(&open).network);
        let output = open.sh(&attempt).await.content;
        assert!(output.contains("tcp\n"), "{way:?}: {output}");
        eventually("the connection arrives", || tcp.accept().ok());
        eventually("the datagram arrives", || udp.recv(&mut datagrams).ok());
    }
}

#[tokio::test]
async fn sockets_of_services_are_not_found() {
    for way in ways() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().join("service.sock");
        let socket = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let local = way.session().await;
        let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", path.display().to_string());
        local.execute(cell(&connect), PATIENT).await;
        // What is not promised is not asked for.
        assert!(!has(&local, Guard::Sockets) || socket.accept().is_err(), "{way:?}");
        assert!(has(&local, Guard::Sockets) || way.0 == Isolation::Plain);
    }
}

/// A process of the machine that a session may not touch.
struct Bystander(Child);

impl Bystander {
    const SECRET: &str = "ENVIRONMENT-4711";

    fn new() -> Self {
        Self(Command::new("sleep").arg("600").env("SECRET", Self::SECRET).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn other_processes_are_neither_signalled_nor_traced_nor_read() {
    for way in ways() {
        let mut bystander = Bystander::new();
        let (pid, engine) = (bystander.0.id(), std::process::id());
        let local = way.session().await;
        assert!(has(&local, Guard::Signals));
        let seen = local.sh(&format!("cat /proc/{pid}/cmdline | tr '\\0' ' '; ps -e 2>/dev/null | grep -w {pid}")).await.content;
        assert_eq!(seen.contains("sleep 600"), !has(&local, Guard::Processes), "{way:?}: {seen}");
        let attempt = format!(
            "for pid in {pid} {engine}; do kill -9 $pid; kill -STOP $pid; cat /proc/$pid/environ | tr '\\0' '\\n'; head -c 1 \
             /proc/$pid/mem; ls -l /proc/$pid/fd; ls /proc/$pid/root/; done"
        );
        for output in in_every_process(&local, &attempt).await {
            assert!(!output.contains(Bystander::SECRET), "{way:?}: {output}");
        }
        let trace = format!(
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint([libc.ptrace(16, pid, None, None) for pid in ({pid}, {engine})])"
        );
        assert_eq!(local.execute(cell(&trace), PATIENT).await.content, "[-1, -1]", "{way:?}");
        let all = Action::Run(Run { is_static: true, ..run("kill -9 -1") });
        local.execute(all, PATIENT).await;
        assert!(bystander.0.try_wait().unwrap().is_none(), "{way:?}: it was killed");
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        assert!(state.contains(") S "), "{way:?}: {state}");
        let own = local.ok("sleep 300 & kill -9 $! && wait $!; test $? = 137 && echo its own are").await;
        assert!(own.ends_with("its own are"), "{way:?}: {own}");
    }
}

#[tokio::test]
async fn other_terminals_are_out_of_reach() {
    for way in ways() {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let name = fs::read_link(format!("/proc/self/fd/{}", terminal.slave.as_raw_fd())).unwrap();
        let local = way.session().await;
        assert!(has(&local, Guard::Terminals));
        nix::fcntl::fcntl(&terminal.master, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        local.sh(&format!("for i in /dev/pts/* {}; do echo TYPED-4711 > $i; done", name.display())).await;
        let mut read = String::new();
        let _ = fs::File::from(terminal.master).read_to_string(&mut read);
        assert!(!read.contains("TYPED"), "{way:?}: {read}");
        // The session's own is there all the same.
        assert_eq!(local.ok("echo typed > /dev/tty; test -t 0 && echo terminal").await.replace("typed", "").trim(), "terminal");
        if nix::unistd::geteuid().is_root() && way.0 != Isolation::Plain {
            assert!(local.ok("script -qc 'test -t 1 && echo pseudo' /dev/null").await.contains("pseudo"), "{way:?}");
        }
    }
}

#[tokio::test]
async fn root_in_a_session_has_no_power_over_the_machine() {
    for way in ways() {
        let local = way.session().await;
        assert!(has(&local, Guard::Privileges));
        for attempt in [
            "mount -t tmpfs x /workspace",
            "mount -o remount,rw,bind /usr",
            "mount --bind / /workspace",
            "umount /usr",
            "mknod /workspace/disk b 8 0",
            "mknod /workspace/kernel c 1 1",
            "unshare --mount true",
            "nsenter --target 1 --mount true",
            "echo x > /proc/sys/kernel/core_pattern",
            "echo b > /proc/sysrq-trigger",
            "cat /proc/kcore",
            "cat /dev/mem",
            "date -s '2000-01-01'",
            "dmesg --clear",
            "ip link add dummy0 type dummy",
            "python3 -c 'import os; os.setpriority(os.PRIO_PROCESS, 0, -20)'",
        ] {
            let observation = local.sh(attempt).await;
            assert_ne!(metadata(&observation).exit_code, 0, "{way:?}: {attempt}: {}", observation.content);
        }
        let secrets = local.sh("cat /etc/shadow | grep root; ls -A /etc/ssl/private; id -u").await.content;
        let shown = secrets.lines().filter(|line| line.contains(':') && !line.contains("denied")).count();
        assert_eq!(shown, 0, "{way:?}: {secrets}");
        // To mount, to load modules, to trace, to change clocks, to reboot, to make devices, to open files by handle, raw sockets.
        let power = [21, 16, 19, 25, 22, 27, 2, 13, 12, 17, 24, 38, 39].iter().fold(0_u64, |mask, bit| mask | 1 << bit);
        for field in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
            let held =
                u64::from_str_radix(local.ok(&format!("grep {field} /proc/self/status | cut -f2")).await.trim(), 16).unwrap();
            assert!(field == "CapBnd" && !nix::unistd::geteuid().is_root() || held & power == 0, "{way:?}: {field} {held:x}");
        }
        assert_eq!(local.ok("grep NoNewPrivs /proc/self/status | tr -d '[:space:]'").await, "NoNewPrivs:1", "{way:?}");
    }
}

#[tokio::test]
async fn without_a_sandbox_commands_have_all_rights_and_the_report_says_so() {
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("f");
    for isolation in isolations() {
        let local = Way(isolation, Sandbox::Unsafe).session().await;
        local.ok(&format!("echo reached > {}", file.display())).await;
        assert_eq!(fs::read_to_string(&file).unwrap(), "reached\n");
        let report = sandbox(&local);
        assert_eq!((report.kind, report.network, report.landlock), (Sandbox::Unsafe, true, None));
        assert!(report.enforced.is_empty() && report.missing.is_empty());
        fs::remove_file(&file).unwrap();
    }
}

#[tokio::test]
async fn the_report_names_what_holds_and_what_does_not() {
    for way in ways() {
        let local = way.session().await;
        let report = sandbox(&local);
        assert_eq!((report.kind, report.network), (way.1, false));
        assert!(report.landlock.is_some_and(|version| version >= 1), "{report:?}");
        assert_eq!(report.missing.is_empty(), way.0 != Isolation::Plain, "{report:?}");
        let stored = serde_json::to_value(&local.report).unwrap();
        assert_eq!(serde_json::from_value::<rekindle::engine::ports::RuntimeReport>(stored).unwrap(), local.report);
    }
    let before = json!({ "runtime": "local", "workspace": "/w", "mount": "namespace", "containment": "pid_namespace" });
    let read: rekindle::engine::ports::RuntimeReport = serde_json::from_value(before.clone()).unwrap();
    assert_eq!((read.sandbox.as_ref(), serde_json::to_value(&read).unwrap()), (None, before));
}

#[tokio::test]
async fn a_secret_reaches_commands_byte_for_byte() {
    let values = [
        ("PLAIN", "value"),
        ("SHELL_TALK", "$HOME `id` $(id) ${x} \\ \\n ! * ? [a] {a,b} ~ # & | ; < >"),
        ("QUOTES", "'single' \"double\" '\\'' $'x'"),
        ("LINES", "one\ntwo\r\n\tthree\n"),
        ("UNICODE", "grüße 日本 \u{1f600}"),
        ("EMPTY", ""),
        ("DASH", "-n -e"),
        ("WITH-DASH.and.dot", "odd name"),
        ("WORKSPACE_WORD", "/workspace/f"),
    ];
    for way in ways() {
        let local = local_as(options(way.0), |asked| {
            asked.runtime = way.spec(false);
            let secret = |(name, value): &(&str, &str)| SecretValue { name: (*name).into(), value: (*value).into() };
            asked.environment = values.iter().map(secret).collect();
        })
        .await;
        // Every kind of process, each asked by a program of its own.
        let code = format!(
            "import json, os; json.dump({{n: os.environb[n.encode()].hex() for n in {:?}}}, open('out', 'w'))",
            values.map(|v| v.0)
        );
        local.put("dump.py", &code);
        for action in
            [cell(&code), Action::Run(run("python3 dump.py")), Action::Run(Run { is_static: true, ..run("python3 dump.py") })]
        {
            let _ = fs::remove_file(local.workspace.join("out"));
            let told = local.execute(action, PATIENT).await;
            assert!(local.workspace.join("out").exists(), "{way:?}: {}", told.content);
            let found: std::collections::BTreeMap<String, String> = serde_json::from_slice(&local.file("out")).unwrap();
            for (name, value) in values {
                let wanted: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(found[name], wanted, "{way:?}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_secret_cannot_change_what_is_started_outside_of_the_sandbox() {
    for name in ["PATH", "LD_PRELOAD", "LD_AUDIT", "BASH_ENV", "BASH_FUNC_x%%", "GLIBC_TUNABLES", "REKINDLE_RUNTIME", "", "a=b"] {
        let directory = tempfile::tempdir().unwrap();
        let mut asked = request("secret-name", directory.path().join("ws"));
        asked.environment = vec![SecretValue { name: name.into(), value: "/workspace/planted".into() }];
        let Err(error) = LocalRuntimes::default().provision(asked).await else { panic!("{name} was taken") };
        assert!(error.to_string().contains("secret"), "{error}");
        assert!(!error.to_string().contains("planted"), "{error}");
    }
}

#[tokio::test]
async fn a_program_planted_in_the_workspace_never_runs_outside_of_the_sandbox() {
    for way in ways() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = directory.path().canonicalize().unwrap().join("ws");
        fs::create_dir_all(workspace.join(".venv/bin")).unwrap();
        let proof = directory.path().canonicalize().unwrap().join("ran-outside");
        for name in
            ["nsenter", "setsid", "setpriv", "unshare", "sh", "grep", "sleep", "mount", "mkdir", "cp", "rm", "ip", "bwrap", "env"]
        {
            let file = workspace.join(".venv/bin").join(name);
            fs::write(&file, format!("#!/bin/bash\n: > {}\nexec /usr/bin/{name} \"$@\"\n", proof.display())).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path =
            format!("{}/.venv/bin:{}", workspace.display(), std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into()));
        let runtimes = LocalRuntimes::new(LocalOptions { environment: vec![("PATH".into(), path)], ..options(way.0) });
        let mut asked = request(&format!("planted-{}", uuid::Uuid::now_v7()), workspace.clone());
        asked.runtime = way.spec(false);
        let made = runtimes.provision(asked).await.unwrap();
        // The session's own commands do find them, as in any activated environment.
        let told = made.runtime.execute(&Action::Run(run("command -v nsenter; sleep 0; exit")), PATIENT).await.unwrap();
        assert!(told.content.contains(".venv/bin/nsenter"), "{}", told.content);
        made.runtime.execute(&Action::Run(run("true")), PATIENT).await.unwrap();
        made.runtime.release().await.unwrap();
        assert!(!proof.exists(), "{way:?}");
    }
}

#[test]
fn a_kernel_without_landlock_is_refused_with_the_ways_out() {
    // As such a kernel answers.
    let engine = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=landlock_create_ruleset",
            "-e",
            "inject=landlock_create_ruleset:error=ENOSYS",
            "-o",
            "/dev/null",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "runtime_sandbox::an_engine_on_a_kernel_without_landlock", "--include-ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&engine.stdout);
    assert!(engine.status.success(), "{said}{}", String::from_utf8_lossy(&engine.stderr));
    for word in ["no Landlock", "Linux 5.13", "--sandbox bwrap", "--unsafe-local"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(said.contains("unsafe works: all rights"), "{said}");
}

#[tokio::test]
#[ignore = "is the engine of the test above"]
async fn an_engine_on_a_kernel_without_landlock() {
    let directory = tempfile::tempdir().unwrap();
    let mut asked = request(&format!("no-landlock-{}", uuid::Uuid::now_v7()), directory.path().join("ws"));
    match LocalRuntimes::default().provision(asked.clone()).await {
        Ok(_) => println!("it started"),
        Err(error) => println!("{error}"),
    }
    asked.runtime = RuntimeSpec::Local { sandbox: Sandbox::Unsafe, network: false };
    let made = LocalRuntimes::default().provision(asked).await.unwrap();
    let said = made.runtime.execute(&Action::Run(run("echo all rights")), PATIENT).await.unwrap();
    println!("unsafe works: {}", told(&said).1);
    made.runtime.release().await.unwrap();
}

#[tokio::test]
async fn a_machine_without_bubblewrap_is_told_what_to_install() {
    let programs = tempfile::tempdir().unwrap();
    for name in ["bash", "sh", "setsid", "nsenter", "unshare"] {
        let found =
            ["/usr/bin", "/bin", "/usr/local/bin"].iter().map(|at| Path::new(at).join(name)).find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(found, programs.path().join(name)).unwrap();
    }
    let environment = vec![("PATH".to_owned(), programs.path().display().to_string())];
    let mut asked = request("no-bwrap", programs.path().join("ws"));
    asked.runtime = RuntimeSpec::Local { sandbox: Sandbox::Bubblewrap, network: false };
    let made = LocalRuntimes::new(LocalOptions { environment, ..LocalOptions::default() }).provision(asked).await;
    let error = made.err().unwrap().to_string();
    assert!(
        error.contains("no program bwrap") && error.contains("bubblewrap") && error.contains("--sandbox landlock"),
        "{error}"
    );
}

#[tokio::test]
async fn directories_of_a_sessions_own_go_with_it() {
    for way in ways() {
        let local = way.session().await;
        let own = local.ok("mktemp -d; chmod 700 ~; mkdir -p ~/a/b; echo $HOME").await;
        let own: Vec<PathBuf> = own.lines().map(PathBuf::from).collect();
        local.ok("setsid sleep 600 & (trap '' TERM HUP; setsid sleep 601) >/dev/null 2>&1 & echo").await;
        let is_home = |path: &Path| std::env::var_os("HOME").is_some_and(|home| path == Path::new(&home));
        local.runtime.release().await.unwrap();
        for path in own.iter().filter(|path| !is_home(path)) {
            assert!(!path.exists(), "{way:?}: {}", path.display());
        }
        assert_eq!(marked(&local.name), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_in_the_middle_leaves_nothing() {
    for way in ways() {
        for pause in [0, 5, 20, 60, 150] {
            let directory = tempfile::tempdir().unwrap();
            let name = format!("given-up-{}", uuid::Uuid::now_v7());
            let mut asked = request(&name, directory.path().join("ws"));
            asked.runtime = way.spec(false);
            let start = tokio::spawn(async move { LocalRuntimes::new(options(way.0)).provision(asked).await.map(drop) });
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            start.abort();
            let _ = start.await;
            // It may not have begun yet, so its end is seen by the workspace, which comes first.
            let workspace = directory.path().canonicalize().unwrap().join("ws").display().to_string();
            eventually("nothing of it is left", || {
                (marked(&name).is_empty() && of_workspace(&workspace).is_empty()).then_some(())
            });
        }
    }
}

/// Processes whose command line names a workspace.
fn of_workspace(workspace: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(workspace)).collect()
}

/// A user that has nothing.
const USER: &str = "54321";

#[test]
fn an_ordinary_user_is_kept_as_well() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    // The build's directory may be closed to others.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("it");
    if fs::hard_link(std::env::current_exe().unwrap(), &program).is_err() {
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    }
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, USER.parse().ok(), USER.parse().ok()).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
        .arg(&program)
        .args(["runtime_sandbox::", "--skip", "an_ordinary_user", "--test-threads", "2"])
        .env("HOME", &home)
        .env_remove("XDG_RUNTIME_DIR")
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("the_home_is_not_read_and_its_tools_run ... ok"), "{said}");
}
