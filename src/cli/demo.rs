//! `rekindle demo`: the whole story, for real: replay, kill -9, restore, go on, verify, read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::exit::{CliError, Exit};
use super::host::{Ended, drive, engine_with};
use super::location::{Location, quoted, usual_options};
use super::output::Format;
use super::paint::Tone;
use super::program::program;
use super::progress::Progress;
use super::show::print_transcript;
use super::{Context, resume, verify};
use crate::engine::clock::{Clock, SystemClock};
use crate::engine::{EngineOptions, Restored, Subscription};
use crate::session::{Event, Seq, Session, SessionId};
use crate::store::{OpenError, OpenOptions, Row, SessionFilter, SessionRow, SharedStore, StoreError, connect};

/// A small recorded session of our own making.
const RECORDING: &str = include_str!("../../tests/data/demo.json");
/// How many outcomes are there before the process is killed in the middle of a command.
const OUTCOMES_BEFORE_KILL: u64 = 3;
/// How long the child may take to come to the middle.
const CHILD_WAIT: Duration = Duration::from_secs(60);
/// How often it is looked whether the child has made its store.
const LOOK: Duration = Duration::from_millis(20);
/// How long a reader gets at the usual speed, in seconds.
const PAUSE_SECS: f64 = 0.8;

/// See it happen: replay a session, kill it, restore it, read it
///
/// Nothing of it touches your own sessions: store and workspace lie in a temporary directory, which stays to be looked at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How fast it is told: 2 is twice as fast, 0 does without pauses
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
}

/// Tells the story.
///
/// # Errors
/// When a part of it does not happen.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let stage = Stage::set()?;
    context.location = Location::Named(stage.url.clone());
    context.out.format = Format::Table;
    let mut demo = Demo { context, stage, pause: pause(args.speed), step: 0 };
    Box::pin(demo.tell()).await
}

fn pause(speed: f64) -> Duration {
    if speed.is_finite() && speed > 0.0 { Duration::from_secs_f64((PAUSE_SECS / speed).min(10.0)) } else { Duration::ZERO }
}

/// Where it happens.
struct Stage {
    dir: PathBuf,
    recording: PathBuf,
    workspace: PathBuf,
    url: String,
}

impl Stage {
    fn set() -> Result<Self, CliError> {
        let dir = std::env::temp_dir().join(format!("rekindle-demo-{}-{}", std::process::id(), SystemClock.now().0 / 1_000_000));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CliError::File { verb: "make", path, source }
        };
        // Made, never found: nobody else can have put something there.
        fs::create_dir(&dir).map_err(failed(&dir))?;
        let recording = dir.join("demo.json");
        fs::write(&recording, RECORDING).map_err(failed(&recording))?;
        let url = format!("sqlite://{}", dir.join("demo.db").display());
        Ok(Self { workspace: dir.join("workspace"), recording, url, dir })
    }
}

struct Demo<'a> {
    context: &'a mut Context,
    stage: Stage,
    pause: Duration,
    step: u32,
}

impl Demo<'_> {
    async fn tell(&mut self) -> Result<Exit, CliError> {
        let paint = self.context.out.paint;
        self.say(paint.strong("Rekindle: a session that survives"))?;
        let place = format!("Everything below happens for real, in {}.", self.stage.dir.display());
        self.say(place)?;
        let (id, interrupted) = self.replay_and_kill().await?;
        let Some(restored) = self.restore_and_finish(id, interrupted).await? else {
            return Ok(Exit::Interrupted);
        };
        let (store, row) = self.context.session(&super::address::Named::Text(id.to_string())).await?;
        let intact = self.verify(&store, &row, &restored).await?;
        self.read(&store, &row).await?;
        Ok(if intact { Exit::Done } else { Exit::Unverified })
    }

    /// Returns the session, and the action that was under way when its process was killed.
    async fn replay_and_kill(&mut self) -> Result<(SessionId, Option<Seq>), CliError> {
        self.step("A recorded session is performed again, by another process").await?;
        self.say("An agent wrote a small shell library, and found a mistake in it. Its commands are run again in a")?;
        self.say("workspace, and each outcome is compared with the recorded one.")?;
        let Stage { recording, workspace, url, .. } = &self.stage;
        let words = ["replay", &recording.display().to_string(), "--workspace", &workspace.display().to_string(), "--store", url];
        let shown: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let command = format!("$ {} {}", program(), shown.join(" "));
        let mut child = self.spawn(&words)?;
        let process = child.id().unwrap_or_default();
        self.say(self.context.out.paint.tone(Tone::Voice, command))?;
        let reached = tokio::select! {
            reached = tokio::time::timeout(CHILD_WAIT, self.watch_to_the_middle()) => {
                reached.map_err(|_| CliError::Failed("the replay did not come to its middle in time".to_owned()))??
            }
            ended = child.wait() => return Err(self.too_early(ended)),
        };
        child.kill().await.map_err(|source| CliError::File { verb: "kill", path: PathBuf::from("the replay"), source })?;
        let (id, action) = reached;
        self.step(&format!("kill -9 {process}")).await?;
        let store = self.connect().await?;
        let row = store.session(id).await?.ok_or(crate::engine::EngineError::NotFound(id))?;
        self.say(format_args!(
            "In the middle of event {action}, a command that was running. The process is gone, and its shell with it."
        ))?;
        self.say(format_args!("What is left is the log: {} events, each on disk before anything was done about it.", row.head))?;
        store.close().await;
        Ok((id, Some(action)))
    }

    fn spawn(&self, words: &[&str]) -> Result<Child, CliError> {
        let failed = |source| CliError::File { verb: "start", path: PathBuf::from("rekindle replay"), source };
        let program = std::env::current_exe().map_err(failed)?;
        let errors = fs::File::create(self.stage.dir.join("replay.log")).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true);
        command.spawn().map_err(failed)
    }

    fn too_early(&self, ended: io::Result<std::process::ExitStatus>) -> CliError {
        let said = fs::read_to_string(self.stage.dir.join("replay.log")).unwrap_or_default();
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        CliError::Failed(format!("the replay ended before it could be killed ({how}): {}", said.trim()))
    }

    /// Follows the child's log until a command is under way behind a few outcomes.
    async fn watch_to_the_middle(&mut self) -> Result<(SessionId, Seq), CliError> {
        let store = self.connect().await?;
        let id = loop {
            match store.sessions(SessionFilter::All, 1).await?.pop() {
                Some(row) => break row.id,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        let mut events = Subscription::new(SharedStore::clone(&store), id, Seq::ZERO);
        let mut progress = Progress::new(self.context.out.paint, &Session::default());
        let mut session = Session::default();
        loop {
            let row = events.next().await?;
            if let Some(line) = progress.line(&row) {
                self.say(line)?;
            }
            let Row::Event { event, .. } = &row else {
                continue;
            };
            session.apply(event);
            let outcomes = session.counts.observations;
            if outcomes >= OUTCOMES_BEFORE_KILL
                && let Some(running) = session.in_flight().filter(|action| action.tag == "run")
                && matches!(Event::read(event), Event::Dispatched(_))
            {
                return Ok((id, running.seq));
            }
        }
    }

    /// The store, as soon as it is there.
    async fn connect(&self) -> Result<SharedStore, CliError> {
        let options = OpenOptions { create: false, ..usual_options() };
        loop {
            match connect(&self.stage.url, options.clone()).await {
                Ok(store) => return Ok(store),
                // The child is still making it.
                Err(StoreError::Open(OpenError::Missing(_) | OpenError::NotAStore(_)) | StoreError::Busy(_)) => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Restores the session here, says what that stood on, and performs the rest; `None` when a person stopped it.
    async fn restore_and_finish(&mut self, id: SessionId, interrupted: Option<Seq>) -> Result<Option<Restored>, CliError> {
        self.step("The session is restored from its log, by this process").await?;
        let store = self.connect().await?;
        let row = store.session(id).await?.ok_or(crate::engine::EngineError::NotFound(id))?;
        let engine = engine_with(store, EngineOptions::default());
        let resumed = engine.resume(id).await?;
        self.context.out.inset(true);
        let told = resume::proof(self.context, &engine, &row, &resumed.restored, resumed.running).await;
        self.context.out.inset(false);
        told?;
        self.step("It goes on where the log stands").await?;
        if let Some(action) = interrupted {
            self.say(format_args!(
                "The command at event {action} may have run, so it is not run again: its outcome is unknown, and says so."
            ))?;
        }
        let mut progress = Progress::new(self.context.out.paint, &resumed.restored.session);
        let out = &mut self.context.out;
        let ended = drive(
            &engine,
            id,
            resumed.restored.session.version,
            Some(|row: &Row| match progress.line(row) {
                Some(line) => {
                    out.line(format_args!("   {line}"))?;
                    out.flush()
                }
                None => Ok(()),
            }),
        );
        let ended = ended.await;
        engine.shutdown().await;
        match ended? {
            Ended::Rested => {}
            Ended::Interrupted => return Ok(None),
            Ended::Failed(failure) => return Err(CliError::Failed(failure.why)),
        }
        let restored = engine.restore(id).await?;
        engine.store().close().await;
        Ok(Some(restored))
    }

    async fn verify(&mut self, store: &SharedStore, row: &SessionRow, restored: &Restored) -> Result<bool, CliError> {
        self.step("The log is verified, from the first event on").await?;
        let found = verify::check(store.as_ref(), row).await?;
        self.context.out.inset(true);
        let told = verify::print(self.context, &found);
        self.context.out.inset(false);
        told?;
        let same = found.digest == Some(restored.proof.digest);
        if same {
            self.say("The chain of hashes holds, and all events folded give the state that the engine ended with.")?;
        }
        Ok(found.ok && same)
    }

    async fn read(&mut self, store: &SharedStore, row: &SessionRow) -> Result<(), CliError> {
        self.step("What happened, as people read it").await?;
        self.context.out.inset(true);
        let told = print_transcript(self.context, store, row, row.head, false).await;
        self.context.out.inset(false);
        told?;
        self.step("Look further").await?;
        let at = row.head.0 / 2;
        for (command, what) in [
            ("show @last --events".to_owned(), "every event, one a line"),
            (format!("show @last:{at}"), "one event, all of it"),
            (format!("state @last@{at} -o json"), "the state after any event"),
            ("show @last --steps".to_owned(), "start, replay and owners, step by step"),
            ("export @last".to_owned(), "the session as a recording that can be replayed"),
        ] {
            let command = self.context.command(command);
            self.say(format_args!("{}  {}", command, self.context.out.paint.dim(format_args!("# {what}"))))?;
        }
        let dir = self.stage.dir.display().to_string();
        self.say(format_args!("All of it lies in {dir}; when you have seen enough:  rm -r {}", quoted(&dir)))?;
        Ok(())
    }

    async fn step(&mut self, title: &str) -> Result<(), CliError> {
        tokio::time::sleep(self.pause).await;
        self.step += 1;
        let title = format!("{}. {title}", self.step);
        let title = self.context.out.paint.strong(title).to_string();
        self.context.out.line("")?;
        self.context.out.line(title)?;
        self.context.out.flush()?;
        Ok(())
    }

    fn say(&mut self, line: impl std::fmt::Display) -> io::Result<()> {
        let indent = if self.step > 0 { "   " } else { "" };
        self.context.out.line(format_args!("{indent}{line}"))?;
        self.context.out.flush()
    }
}
