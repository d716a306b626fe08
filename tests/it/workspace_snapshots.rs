//! What a workspace holds is kept by content, within bounds, without secrets, and comes back as it was.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use proptest::prelude::*;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{Capture, Contents, Listing, Ports, RestoredFiles, SnapshotError, Workspace, Workspaces};
use rekindle::engine::snapshots::{Kept, listing};
use rekindle::engine::{Engine, Status};
use rekindle::host::runtime::local::{LocalOptions, LocalRuntimes};
use rekindle::host::snapshots::LocalWorkspaces;
use rekindle::session::workspace::{Comparison, Differences, LeftOutWhy, Node, PathText, Tree, TreeEntry, WorkspaceCaptured};
use rekindle::session::{
    Command, Digest, Event, Item, Masker, Origin, Recorded, Seq, SessionId, SessionSpec, SnapshotSpec, Timestamp,
};
use rekindle::store::conformance::new_session;
use rekindle::store::{MemoryStore, Read, Row, SharedStore, copy};
use tempfile::TempDir;

/// A directory, a store, and who looks from the one to the other.
struct World {
    folder: TempDir,
    store: SharedStore,
    session: SessionId,
    workspace: Arc<dyn Workspace>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        let workspace = LocalWorkspaces.workspace(&folder.path().join("work")).unwrap();
        Self { folder, store: Arc::new(MemoryStore::new()), session: new_session(), workspace }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn contents(&self) -> Arc<dyn Contents> {
        Arc::new(Kept::new(Arc::clone(&self.store), self.session))
    }

    fn looking(&self) -> Capture {
        // Long after every change, so that what was seen counts.
        let now = Timestamp(4_000_000_000_000_000);
        Capture { limits: SnapshotSpec::default(), masker: None, now, contents: self.contents() }
    }

    async fn capture(&self) -> WorkspaceCaptured {
        self.workspace.capture(self.looking()).await.unwrap()
    }

    async fn listing(&self, captured: &WorkspaceCaptured) -> Listing {
        listing(self.contents().as_ref(), captured.manifest).await.unwrap()
    }

    async fn restore(&self, captured: &WorkspaceCaptured, name: &str) -> Result<PathBuf, SnapshotError> {
        let into = self.folder.path().join(name);
        LocalWorkspaces.restore(&self.listing(captured).await, self.contents(), &into).await.map(|_| into)
    }

    fn git(&self, args: &[&str]) {
        let mut git = Program::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b", "-C"]).arg(self.work()).args(args);
        let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A directory as it lies on disk: what each path is.
fn on_disk(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let what = if meta.is_symlink() {
                format!("link {:?}", fs::read_link(&path).unwrap())
            } else if meta.is_dir() {
                ahead.push(path.clone());
                "directory".to_owned()
            } else {
                format!("file {} {:?}", meta.mode() & 0o111 != 0, Digest::of(&fs::read(&path).unwrap()))
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), what);
        }
    }
    found
}

fn why(captured: &WorkspaceCaptured) -> Vec<(String, LeftOutWhy)> {
    captured.left_out.iter().map(|left| (left.path.lossy(), left.why)).collect()
}

#[derive(Debug, Clone)]
enum Made {
    File(Vec<u8>, bool),
    Link(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Made>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::collection::vec(any::<u8>().prop_filter("in a name", |byte| *byte != 0 && *byte != b'/'), 1..12);
    let names = prop_oneof![
        odd,
        prop::sample::select(vec![b"a".to_vec(), b" ".to_vec(), b"-rf".to_vec(), "ü\n".as_bytes().to_vec(), b"..a".to_vec()])
    ];
    names.prop_filter("not reserved", |name| !matches!(name.as_slice(), b"." | b".." | b".git" | b".gitignore" | b".ignore"))
}

fn tree() -> impl Strategy<Value = BTreeMap<Vec<u8>, Made>> {
    let leaf = prop_oneof![
        3 => (prop::collection::vec(any::<u8>(), 0..200), any::<bool>()).prop_map(|(bytes, runs)| Made::File(bytes, runs)),
        1 => name().prop_map(Made::Link),
        1 => Just(Made::Link(b"/etc/passwd".to_vec())),
        1 => Just(Made::Directory(BTreeMap::new())),
    ];
    let node = leaf.prop_recursive(4, 40, 6, |inner| prop::collection::btree_map(name(), inner, 0..6).prop_map(Made::Directory));
    prop::collection::btree_map(name(), node, 0..8)
}

fn make(at: &Path, tree: &BTreeMap<Vec<u8>, Made>) {
    for (name, made) in tree {
        let path = at.join(OsStr::from_bytes(name));
        match made {
            Made::File(bytes, runs) => {
                fs::write(&path, bytes).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(if *runs { 0o755 } else { 0o644 })).unwrap();
            }
            Made::Link(target) => symlink(OsStr::from_bytes(target), &path).unwrap(),
            Made::Directory(below) => {
                fs::create_dir(&path).unwrap();
                make(&path, below);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(tree in tree()) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let world = World::new();
            make(&world.work(), &tree);
            let captured = world.capture().await;
            assert_eq!(why(&captured), []);
            let restored = world.restore(&captured, "restored").await.unwrap();
            assert_eq!(on_disk(&restored), on_disk(&world.work()));
            // What is the same has the same name, wherever it lies.
            let there = LocalWorkspaces.workspace(&restored).unwrap();
            assert_eq!(there.capture(world.looking()).await.unwrap(), captured);
            let same = there.compare(world.looking(), &world.listing(&captured).await).await.unwrap();
            assert_eq!(same, Differences::default());
        });
    }
}

/// Counts what is kept.
struct Counting(Kept, std::sync::Mutex<Vec<usize>>);

#[async_trait]
impl Contents for Counting {
    async fn keep(&self, contents: Vec<Vec<u8>>) -> Result<(), SnapshotError> {
        self.1.lock().unwrap().push(contents.len());
        self.0.keep(contents).await
    }

    async fn content(&self, digest: Digest) -> Result<Vec<u8>, SnapshotError> {
        self.0.content(digest).await
    }
}

#[tokio::test]
async fn what_did_not_change_is_kept_once() {
    let world = World::new();
    for file in 0..50 {
        world.write(&format!("d{}/{file}", file % 5), format!("content {}", file % 25));
    }
    let counting = Arc::new(Counting(Kept::new(Arc::clone(&world.store), world.session), std::sync::Mutex::default()));
    let looking = Capture { contents: Arc::<Counting>::clone(&counting), ..world.looking() };
    let sent = || counting.1.lock().unwrap().drain(..).sum::<usize>();
    world.workspace.capture(looking.clone()).await.unwrap();
    // 25 contents, five directories of ten files, the workspace itself.
    assert_eq!(sent(), 31);
    world.workspace.capture(looking.clone()).await.unwrap();
    assert_eq!(sent(), 0);
    world.write("d1/1", "another content");
    world.workspace.capture(looking.clone()).await.unwrap();
    // The file, its directory, the workspace.
    assert_eq!(sent(), 3);
}

#[tokio::test]
async fn a_file_that_did_not_change_is_not_read_again() {
    let world = World::new();
    world.write("a", "one");
    let first = world.capture().await;
    let path = world.work().join("a");
    // Nobody may read it now; whoever runs as root may.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o200)).unwrap();
    let second = world.capture().await;
    if nix::unistd::geteuid().is_root() {
        assert_eq!(second.manifest, first.manifest);
    } else {
        // Its times tell that its mode was changed, so it is looked at again.
        assert_eq!(why(&second), [("a".to_owned(), LeftOutWhy::Unreadable)]);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "two").unwrap();
    assert_ne!(world.capture().await.manifest, first.manifest);
}

#[tokio::test]
async fn ignore_files_are_honoured_and_what_they_leave_out_is_named() {
    let world = World::new();
    world.write(".gitignore", "target/\n*.log\n!keep.log\n");
    world.write(".ignore", "big.bin\n");
    world.write("sub/.gitignore", "/only-here\n");
    world.write(".git/info/exclude", "mine\n");
    world.write(".git/HEAD", "ref: refs/heads/main\n");
    for path in ["a.rs", "keep.log", "x.log", "target/debug/x", "big.bin", "sub/only-here", "sub/deeper/only-here", "mine"] {
        world.write(path, path);
    }
    let captured = world.capture().await;
    let listed = world.listing(&captured).await;
    let files: Vec<String> = listed
        .entries
        .iter()
        .filter(|(_, node)| matches!(node, Node::File { .. }))
        .map(|(path, _)| String::from_utf8(path.clone()).unwrap())
        .collect();
    let kept =
        [".git/HEAD", ".git/info/exclude", ".gitignore", ".ignore", "a.rs", "keep.log", "sub/.gitignore", "sub/deeper/only-here"];
    assert_eq!(files, kept);
    let mut left_out = why(&captured);
    left_out.sort_by(|a, b| a.0.cmp(&b.0));
    let ignored = ["big.bin", "mine", "sub/only-here", "target", "x.log"];
    assert_eq!(left_out, ignored.map(|path| (path.to_owned(), LeftOutWhy::Ignored)));
}

#[tokio::test]
async fn what_exceeds_a_bound_is_named_and_nothing_else_is_lost() {
    let world = World::new();
    world.write("a", "x".repeat(100));
    world.write("b", "x".repeat(1001));
    world.write("c", "y".repeat(950));
    world.write("d", "small");
    nix::unistd::mkfifo(&world.work().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let within = |limits| Capture { limits, ..world.looking() };
    let limits = SnapshotSpec { file_bytes_max: 1000, bytes_max: 1000, entries_max: 3 };
    let captured = world.workspace.capture(within(limits)).await.unwrap();
    let named = [("b", LeftOutWhy::TooLarge), ("c", LeftOutWhy::NoRoom), ("pipe", LeftOutWhy::Special)];
    assert_eq!(why(&captured), named.map(|(path, why)| (path.to_owned(), why)));
    assert_eq!((captured.files, captured.bytes), (2, 105));
    let limits = SnapshotSpec { entries_max: 1, ..limits };
    let captured = world.workspace.capture(within(limits)).await.unwrap();
    assert_eq!(captured.files, 1);
    assert!(why(&captured).contains(&("d".to_owned(), LeftOutWhy::NoRoom)));
    for file in 0..200 {
        world.write(&format!("many/{file}"), "x".repeat(1001));
    }
    let limits = SnapshotSpec { entries_max: 1000, ..limits };
    let captured = world.workspace.capture(within(limits)).await.unwrap();
    assert_eq!(captured.left_out.len() as u64 + captured.left_out_more, 203);
    assert_eq!(world.listing(&captured).await.left_out_more, 100);
}

const TOKEN: &str = "ghp_a1b2c3d4e5f6g7h8i9j0";

#[tokio::test]
async fn a_file_that_holds_a_secret_is_left_out() {
    let world = World::new();
    world.write(".env", format!("TOKEN={TOKEN}\n"));
    world.write("encoded", "Z2hwX2ExYjJjM2Q0ZTVmNmc3aDhpOWow");
    world.write("binary", [b"\xff\xfe\0".as_slice(), TOKEN.as_bytes(), b"\0\xff"].concat());
    world.write(&format!("called-{TOKEN}"), "x");
    world.write("fine", "x");
    symlink(format!("/{TOKEN}"), world.work().join("link")).unwrap();
    let masker = || Some(Arc::new(Masker::new([("TOKEN", TOKEN)]).unwrap()));
    let looking = Capture { masker: masker(), ..world.looking() };
    for _again in 0..2 {
        let captured = world.workspace.capture(looking.clone()).await.unwrap();
        let named = [".env", "binary", "called-<secret_hidden>", "encoded", "link"];
        assert_eq!(why(&captured), named.map(|path| (path.to_owned(), LeftOutWhy::Secret)));
        assert_eq!(captured.files, 1);
    }
    // What was clean before a value was known is looked at again.
    world.write("later", "hunter-two-and-more");
    let before = world.workspace.capture(looking).await.unwrap();
    assert_eq!(before.files, 2);
    let both = Masker::new([("TOKEN", TOKEN), ("LATER", "hunter-two-and-more")]).unwrap();
    let looking = Capture { masker: Some(Arc::new(both)), ..world.looking() };
    assert_eq!(world.workspace.capture(looking).await.unwrap().files, 1);
}

#[tokio::test]
async fn a_repository_comes_back_with_its_history_and_is_kept_whole_or_not_at_all() {
    let world = World::new();
    world.git(&["init", "-q", "-b", "main"]);
    for version in ["one", "two"] {
        let text: String = (0..200).map(|line| format!("{version} {}\n", line * 7919)).collect();
        world.write("a", text);
        world.git(&["add", "."]);
        world.git(&["commit", "-qm", version]);
    }
    let masker = Some(Arc::new(Masker::new([("TOKEN", TOKEN)]).unwrap()));
    let looking = || Capture { masker: masker.clone(), ..world.looking() };
    let captured = world.workspace.capture(looking()).await.unwrap();
    assert_eq!(why(&captured), []);
    let restored = world.restore(&captured, "restored").await.unwrap();
    let mut git = Program::new("git");
    let log = git.arg("-C").arg(&restored).args(["log", "--format=%s"]).output().unwrap();
    assert_eq!(String::from_utf8(log.stdout).unwrap(), "two\none\n");
    let status = Program::new("git").arg("-C").arg(&restored).args(["status", "--porcelain"]).output().unwrap();
    assert_eq!((status.status.success(), status.stdout.as_slice()), (true, &b""[..]));
    // A commit holds it compressed, in an object of its own, then in a pack, then between the parts of another one.
    let text = fs::read_to_string(world.work().join("a")).unwrap();
    world.write("a", text.replacen("two 79190\n", &format!("two {TOKEN}\n"), 1));
    world.git(&["commit", "-qam", "a secret"]);
    world.write("a", text);
    world.git(&["commit", "-qam", "none any more"]);
    let incomplete = [(".git".to_owned(), LeftOutWhy::Secret)];
    assert_eq!(why(&world.workspace.capture(looking()).await.unwrap()), incomplete);
    world.git(&["gc", "-q", "--aggressive", "--prune=now"]);
    let packs = fs::read_dir(world.work().join(".git/objects/pack")).unwrap().count();
    assert!(packs > 0, "gc has made a pack");
    let captured = world.workspace.capture(looking()).await.unwrap();
    assert_eq!(why(&captured), incomplete);
    assert_eq!(captured.files, 1);
    let without = world.restore(&captured, "without").await.unwrap();
    assert_eq!(on_disk(&without).len(), 1);
    // Nothing of it is in the store.
    for bytes in stored(&world, &captured).await {
        assert!(!String::from_utf8_lossy(&bytes).contains(TOKEN));
    }
}

/// Everything that a snapshot refers to.
async fn stored(world: &World, captured: &WorkspaceCaptured) -> Vec<Vec<u8>> {
    let contents = world.contents();
    let mut all = vec![contents.content(captured.manifest).await.unwrap()];
    for node in world.listing(captured).await.entries.values() {
        if let Node::File { content: digest, .. } | Node::Directory { tree: digest } = node {
            all.push(contents.content(*digest).await.unwrap());
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_vanish_and_links_that_are_swapped_in_are_no_failure_and_no_way_out() {
    let world = World::new();
    let outside = world.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("private"), "private content").unwrap();
    for file in 0..100 {
        world.write(&format!("d/{file}"), format!("{file}"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (work, stopped) = (world.work(), Arc::clone(&stop));
    let restless = std::thread::spawn(move || {
        let (here, there) = (work.join("d"), work.join("e"));
        while !stopped.load(Ordering::Relaxed) {
            fs::rename(&here, &there).unwrap();
            symlink(&outside, &here).unwrap();
            fs::remove_file(&here).unwrap();
            fs::rename(&there, &here).unwrap();
            let _ = fs::remove_file(here.join("7"));
            fs::write(here.join("7"), "again").unwrap();
        }
    });
    for _ in 0..200 {
        let captured = world.capture().await;
        let inside = world.listing(&captured).await;
        let private = Digest::of(b"private content");
        assert!(!inside.entries.values().any(|node| matches!(node, Node::File { content, .. } if *content == private)));
    }
    stop.store(true, Ordering::Relaxed);
    restless.join().unwrap();
}

#[tokio::test]
async fn a_snapshot_is_written_whole_into_an_empty_place_or_not_at_all() {
    let world = World::new();
    world.write("a/b", "one");
    let captured = world.capture().await;
    let into = world.restore(&captured, "deep/er/place").await.unwrap();
    assert_eq!(fs::read_to_string(into.join("a/b")).unwrap(), "one");
    let refused = world.restore(&captured, "deep/er/place").await.unwrap_err();
    assert!(matches!(refused, SnapshotError::NotEmpty(_)), "{refused}");
    fs::create_dir(world.folder.path().join("empty")).unwrap();
    world.restore(&captured, "empty").await.unwrap();
    // What a restore that was killed has left is in nobody's way.
    fs::create_dir_all(world.folder.path().join(".next.rekindle-partial/a")).unwrap();
    world.restore(&captured, "next").await.unwrap();
    // A content that is gone.
    let mut listed = world.listing(&captured).await;
    let gone = Digest::of(b"gone");
    listed.entries.insert(b"z".to_vec(), Node::File { content: gone, size: 4, executable: false });
    let place = world.folder.path().join("none");
    let error = LocalWorkspaces.restore(&listed, world.contents(), &place).await.unwrap_err();
    assert_eq!(error, SnapshotError::Missing(gone));
    let mut left: Vec<_> = fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["deep", "empty", "next", "work"]);
}

#[tokio::test]
async fn a_manifest_that_leads_outside_is_refused() {
    let world = World::new();
    let file = Node::File { content: Digest::of(b"x"), size: 1, executable: false };
    for name in ["..", "/etc/x", "a/../../x"] {
        let tree =
            Tree { entries: vec![TreeEntry { name: PathText::new(name.as_bytes()), node: file.clone() }], ..Tree::default() };
        let manifest = world.store.put_blob(world.session, tree.encode()).await.unwrap();
        let refused = listing(world.contents().as_ref(), manifest).await.unwrap_err();
        assert!(matches!(refused, SnapshotError::Damaged(_)), "{refused}");
    }
}

#[tokio::test]
async fn where_a_workspace_differs_is_named() {
    let world = World::new();
    for path in ["same", "changed", "gone", "mode", ".git/index", ".git/HEAD"] {
        world.write(path, path);
    }
    let listed = world.listing(&world.capture().await).await;
    world.write("changed", "otherwise");
    world.write("new", "x");
    world.write(".git/index", "otherwise");
    world.write(".git/objects/aa/bb", "x");
    fs::remove_file(world.work().join("gone")).unwrap();
    fs::set_permissions(world.work().join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    let found = world.workspace.compare(world.looking(), &listed).await.unwrap();
    let path = |text: &str| PathText::new(text.as_bytes());
    assert_eq!(
        found,
        Differences {
            count: 5,
            changed: vec![path(".git"), path("changed"), path("mode")],
            missing: vec![path("gone")],
            added: vec![path("new")],
        }
    );
}

/// What is kept, but never said: as when the process dies between the two.
struct NeverSaid(Arc<dyn Workspace>, AtomicBool);

#[async_trait]
impl Workspace for NeverSaid {
    async fn capture(&self, request: Capture) -> Result<WorkspaceCaptured, SnapshotError> {
        let captured = self.0.capture(request).await?;
        if self.1.swap(true, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(captured)
    }

    async fn compare(&self, request: Capture, with: &Listing) -> Result<Differences, SnapshotError> {
        self.0.compare(request, with).await
    }
}

struct Silent;

#[async_trait]
impl Workspaces for Silent {
    fn workspace(&self, directory: &Path) -> Option<Arc<dyn Workspace>> {
        Some(Arc::new(NeverSaid(LocalWorkspaces.workspace(directory)?, AtomicBool::new(false))))
    }

    async fn restore(&self, listing: &Listing, contents: Arc<dyn Contents>, into: &Path) -> Result<RestoredFiles, SnapshotError> {
        LocalWorkspaces.restore(listing, contents, into).await
    }
}

fn engine(store: &SharedStore, workspaces: Arc<dyn Workspaces>) -> Engine {
    let ports = Ports::new(Arc::new(LocalRuntimes::new(LocalOptions::default())), rekindle::trajectory::recording);
    Engine::new(Arc::clone(store), Ports { workspaces, ..ports }, Arc::new(SystemClock))
}

async fn log(store: &SharedStore, id: SessionId) -> Vec<Recorded> {
    let page = store.read(Read::forward(id, Seq::ZERO)).await.unwrap();
    page.rows.into_iter().filter_map(|row| if let Row::Event { event, .. } = row { Some(event) } else { None }).collect()
}

fn captures(log: &[Recorded]) -> Vec<(Seq, WorkspaceCaptured)> {
    let captured = |event: &Recorded| match Event::read(event) {
        Event::WorkspaceCaptured(body) => Some((event.seq, body)),
        _ => None,
    };
    log.iter().filter_map(captured).collect()
}

fn turn(command: &str) -> Command {
    let run = serde_json::json!({"action": "run", "args": {"command": command}}).to_string();
    let finish = r#"{"action": "finish", "args": {"final_thought": "done"}}"#;
    Command::Act { actions: vec![Item::decode(&run).unwrap(), Item::decode(finish).unwrap()] }
}

async fn started(engine: &Engine, workspace: &Path) -> SessionId {
    let id = engine.new_session_id();
    let snapshots = Some(SnapshotSpec::default());
    engine.create(id, None, SessionSpec { snapshots, ..SessionSpec::new(Origin::fresh(None), workspace) }).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_keeps_its_workspace_before_it_begins_and_after_each_turn() {
    let world = World::new();
    world.write("given", "before");
    let engine = engine(&world.store, Arc::new(LocalWorkspaces));
    let id = started(&engine, &world.work()).await;
    engine.submit(id, turn("echo made > made; mkdir empty; echo after > given; chmod +x given")).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    let log = log(&world.store, id).await;
    let kept = captures(&log);
    assert_eq!(kept.len(), 2, "{:?}", log.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>());
    assert_eq!(log.last().unwrap().seq, kept[1].0, "the last word of a turn");
    for (at, files) in [(kept[0].0, 1), (Seq(kept[1].0.0 - 1), 1), (kept[1].0, 3)] {
        let last = engine.snapshot_at(id, at).await.unwrap().unwrap();
        let into = world.folder.path().join(format!("at-{at}"));
        engine.restore_files(id, last.manifest, &into).await.unwrap();
        assert_eq!(on_disk(&into).len(), files, "at {at}");
    }
    assert_eq!(on_disk(&world.folder.path().join(format!("at-{}", kept[1].0))), on_disk(&world.work()));
    assert_eq!(engine.snapshot_at(id, Seq(1)).await.unwrap(), None);
    // What reads only changes nothing, and nothing is kept.
    let read = Item::decode(r#"{"action": "read", "args": {"path": "/workspace/given"}}"#).unwrap();
    engine.submit(id, Command::Act { actions: vec![read] }).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    assert_eq!(captures(&self::log(&world.store, id).await).len(), 2);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_cut_off_is_taken_once_by_the_next_owner() {
    let world = World::new();
    let first = engine(&world.store, Arc::new(Silent));
    let id = started(&first, &world.work()).await;
    first.submit(id, turn("echo made > made")).await.unwrap();
    let ended = async {
        // The first is the one with which the start ends.
        while log(&world.store, id).await.iter().filter(|event| event.kind.as_str() == "turn.ended").count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.unwrap();
    first.shutdown().await;
    assert_eq!(captures(&log(&world.store, id).await).len(), 1);
    let second = engine(&world.store, Arc::new(LocalWorkspaces));
    assert!(second.resume(id).await.unwrap().running, "there is something left to do");
    assert_eq!(second.rest(id).await, Status::Resting);
    let log = log(&world.store, id).await;
    assert_eq!(captures(&log).len(), 2);
    assert_eq!(captures(&log)[1].1.files, 1);
    assert!(!second.restore(id).await.unwrap().session.wants_worker());
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_records_where_the_workspace_differs() {
    let world = World::new();
    world.write("given", "before");
    let first = engine(&world.store, Arc::new(LocalWorkspaces));
    let id = started(&first, &world.work()).await;
    first.submit(id, turn("echo made > made")).await.unwrap();
    assert_eq!(first.rest(id).await, Status::Resting);
    first.shutdown().await;
    for (text, differs) in [("before", 0), ("behind its back", 1)] {
        world.write("given", text);
        let next = engine(&world.store, Arc::new(LocalWorkspaces));
        let session = next.restore(id).await.unwrap().session;
        assert_eq!(next.compare_files(id, &session).await.unwrap().unwrap().count, differs);
        next.submit(id, turn("true")).await.unwrap();
        assert_eq!(next.rest(id).await, Status::Resting);
        next.shutdown().await;
        let log = log(&world.store, id).await;
        let compared = log.iter().rev().find_map(|event| match Event::read(event) {
            Event::WorkspaceCompared(body) => Some(body),
            _ => None,
        });
        match compared.unwrap().comparison {
            Comparison::Same => assert_eq!(differs, 0),
            Comparison::Differs(found) => assert_eq!((found.count, found.changed), (1, vec![PathText::new(b"given")])),
            Comparison::Failed { error } => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_cannot_be_kept_is_recorded_and_holds_nothing_up() {
    let world = World::new();
    // An engine that was given nothing to keep it with.
    let ports = Ports::new(Arc::new(LocalRuntimes::new(LocalOptions::default())), rekindle::trajectory::recording);
    let engine = Engine::new(Arc::clone(&world.store), ports, Arc::new(SystemClock));
    let id = started(&engine, &world.work()).await;
    for _ in 0..2 {
        engine.submit(id, turn("echo x >> made")).await.unwrap();
        assert_eq!(engine.rest(id).await, Status::Resting);
    }
    engine.shutdown().await;
    let log = log(&world.store, id).await;
    assert_eq!(log.iter().filter(|event| event.kind.family() == "workspace").count(), 1, "it is said once");
    assert_eq!(log.iter().filter(|event| event.kind.as_str() == "turn.ended").count(), 3, "one with which the start ended");
}

#[tokio::test]
async fn a_copy_takes_snapshots_along_and_a_purge_takes_them_away() {
    let world = World::new();
    world.write("a/b", "one");
    let engine = engine(&world.store, Arc::new(LocalWorkspaces));
    let id = started(&engine, &world.work()).await;
    engine.submit(id, Command::Close { reason: "done".to_owned() }).await.unwrap();
    engine.rest(id).await;
    engine.shutdown().await;
    let (_, captured) = captures(&log(&world.store, id).await).pop().unwrap();
    let other: SharedStore = Arc::new(MemoryStore::new());
    copy(world.store.as_ref(), other.as_ref(), |_| {}).await.unwrap();
    let listed = listing(&Kept::new(Arc::clone(&other), id), captured.manifest).await.unwrap();
    let into = world.folder.path().join("elsewhere");
    LocalWorkspaces.restore(&listed, Arc::new(Kept::new(Arc::clone(&other), id)), &into).await.unwrap();
    assert_eq!(on_disk(&into), on_disk(&world.work()));
    other.purge(id, Timestamp(1)).await.unwrap();
    for digest in [captured.manifest, Digest::of(b"one")] {
        assert_eq!(other.blob(id, digest).await.unwrap(), None);
    }
}
