//! `rekindle replay --mode execute`: perform a recording again, in a workspace, as a session of its own.

use std::path::PathBuf;
use std::sync::Arc;

use super::report::{self, Report};
use super::source::{self, Source};
use super::stepping::Stepping;
use super::{Divergence, Performing, Unknown};
use crate::cli::exit::{CliError, Exit};
use crate::cli::host::{Ended, drive, ports, told as told_as_it_goes};
use crate::cli::paint::Tone;
use crate::cli::program::program;
use crate::cli::summary::{Summary, summarise};
use crate::cli::text::{count, one_line};
use crate::cli::{Context, location};
use crate::engine::clock::SystemClock;
use crate::engine::{Engine, EngineOptions};
use crate::session::replay::{ReplayPlan, Script};
use crate::session::{Deadlines, OnDivergence, OnUnknown, Origin, Session, SessionId, SessionName, SessionSpec};
use crate::store::Store;
use crate::trajectory::{Trajectory, TrajectoryError, recording};

/// How many entries that cannot be read are named.
const NAMED_MAX: usize = 5;

impl Performing {
    fn deadlines(&self) -> Deadlines {
        let mut deadlines = Deadlines::default();
        if let Some(seconds) = self.action_timeout {
            deadlines.action_ms = seconds * 1000;
            deadlines.action_max_ms = deadlines.action_ms;
        }
        if let Some(seconds) = self.quiet_timeout {
            deadlines.quiet_ms = seconds * 1000;
        }
        deadlines
    }
}

/// Performs a recording.
///
/// # Errors
/// When the recording cannot be read, the name is taken, or the store cannot be written.
pub(super) async fn run(context: &mut Context, what: String, args: Performing) -> Result<Exit, CliError> {
    if let Some(path) = &args.report {
        report::format(path)?;
    }
    if args.sandbox.lets_out() && !args.allow_effects {
        let why = "the recording would reach what lies outside its sandbox: say --allow-effects too if it may";
        return Err(CliError::Usage(why.to_owned()));
    }
    let Source { trajectory, name: source, servers } = source::find(context, &what, args.upto).await?;
    let (trajectory, bytes, script) = read(trajectory, source.clone()).await?;
    told(context, &trajectory, script.plan());
    let store = context.store_or_new().await?;
    if let Some(name) = &args.name {
        free(store.as_ref(), name).await?;
    }
    let stepping = (args.step || !args.breaks.is_empty()).then(|| Arc::new(Stepping::new(args.step, args.breaks.clone())));
    let mut ports = ports();
    if let Some(stepping) = &stepping {
        ports.gate = Arc::<Stepping>::clone(stepping);
    }
    let options = EngineOptions { lease: args.lease.lease, ..EngineOptions::default() };
    let engine = Engine::with_options(store, ports, Arc::new(SystemClock), options);
    let id = args.name.as_ref().map_or_else(|| engine.new_session_id(), SessionId::named);
    let workspace = match &args.workspace {
        Some(directory) => location::absolute(directory)?,
        None => location::workspace(id)?,
    };
    let digest = engine.store().put_blob(id, bytes).await?;
    let origin = Origin::Replay {
        trajectory: digest,
        on_divergence: match args.on_divergence {
            Divergence::Stop => OnDivergence::Stop,
            Divergence::Continue => OnDivergence::Continue,
        },
        on_unknown: match args.on_unknown {
            Unknown::StepOver => OnUnknown::StepOver,
            Unknown::Stop => OnUnknown::Stop,
        },
    };
    let (title, deadlines) = (trajectory.title.clone(), args.deadlines());
    let runtime = args.sandbox.spec(None, None)?;
    let (mcp, secrets) = servers.filter(|_| args.allow_effects).unwrap_or_default();
    let spec = SessionSpec { title, deadlines, runtime, mcp, secrets, ..SessionSpec::new(origin, &workspace) };
    let name = args.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    context.note(format_args!("session {id}{name} replays {} in {}", source, workspace.display()));
    engine.create(id, args.name.as_ref(), spec).await?;
    let quit = async {
        match &stepping {
            Some(stepping) => stepping.quit().await,
            None => std::future::pending().await,
        }
    };
    let (summary, exit) = to_rest_or(context, &engine, id, &Session::default(), quit).await?;
    if let Some(summary) = summary {
        if args.report.is_some() || !context.out.is_table() {
            let report = Report::of(engine.store(), &summary, &script).await?;
            if let Some(path) = &args.report {
                report.write(path)?;
                context.note(format_args!("wrote {}", path.display()));
            }
            if !context.out.is_table() {
                context.out.json(&report)?;
                return Ok(exit);
            }
        }
        summary.tell(context)?;
    }
    Ok(exit)
}

/// Runs a session on from where it stands until it rests; returns what came of it, unless a person stopped it.
///
/// # Errors
/// When the log cannot be written or read.
pub async fn to_rest(
    context: &Context,
    engine: &Engine,
    id: SessionId,
    from: &Session,
) -> Result<(Option<Summary>, Exit), CliError> {
    to_rest_or(context, engine, id, from, std::future::pending()).await
}

/// The same, or until it is `quit`.
async fn to_rest_or(
    context: &Context,
    engine: &Engine,
    id: SessionId,
    from: &Session,
    quit: impl Future<Output = ()>,
) -> Result<(Option<Summary>, Exit), CliError> {
    let ended = tokio::select! {
        ended = drive(engine, id, from.version, told_as_it_goes(context, from)) => ended,
        () = quit => Ok(Ended::Interrupted),
    };
    engine.shutdown().await;
    match ended? {
        Ended::Interrupted => {
            let resume = context.command(format_args!("resume {id}"));
            context.note(format_args!("interrupted; go on with `{resume}`"));
            Ok((None, Exit::Interrupted))
        }
        Ended::Failed(failure) => {
            let resume = context.command(format_args!("resume {id}"));
            Err(CliError::Stopped { failure, resume })
        }
        Ended::Rested => {
            let row = engine.store().session(id).await?.ok_or(crate::engine::EngineError::NotFound(id))?;
            let (summary, exit) = summarise(engine.store(), &row).await?;
            Ok((Some(summary), exit))
        }
    }
}

/// Checks a recording before anything is made of it.
async fn read(trajectory: Trajectory, name: String) -> Result<(Trajectory, Vec<u8>, Script), CliError> {
    let read = tokio::task::spawn_blocking(move || {
        let bytes = trajectory.to_json().into_bytes();
        let entries = recording(&bytes).map_err(|why| CliError::Failed(format!("{name}: {why}")))?;
        let script = Script::read(entries);
        if script.is_empty() {
            let why =
                format!("{name} holds no message and no action, so there is nothing to replay; `{} import` keeps it", program());
            return Err(CliError::Failed(why));
        }
        Ok((trajectory, bytes, script))
    });
    read.await.map_err(|error| CliError::Failed(format!("the recording could not be read: {error}")))?
}

/// A recording that cannot be read, by the file's name unless the reason names it.
pub fn unreadable(path: PathBuf, source: TrajectoryError) -> CliError {
    CliError::Recording { path, source }
}

/// Names what of the recording will not be performed.
fn told(context: &Context, trajectory: &Trajectory, plan: &ReplayPlan) {
    let paint = context.paint;
    for file in &trajectory.damaged {
        let line = format!("warning: {} is damaged and left out: {}", one_line(&file.file), one_line(&file.why));
        context.note(paint.tone(Tone::Warn, line));
    }
    for entry in plan.unknown.iter().take(NAMED_MAX) {
        let line = format!(
            "warning: entry {} ({}) cannot be read: {}",
            entry.index,
            one_line(entry.kind.as_str()),
            one_line(&entry.why)
        );
        context.note(paint.tone(Tone::Warn, line));
    }
    if plan.unknown.len() > NAMED_MAX {
        let more = (plan.unknown.len() - NAMED_MAX) as u64;
        context.note(
            paint.tone(Tone::Warn, format!("warning: {} more cannot be read", count(more, "entry").replace("entrys", "entries"))),
        );
    }
}

/// Says whether nobody has the name yet.
///
/// # Errors
/// When somebody has.
pub async fn free(store: &dyn Store, name: &SessionName) -> Result<(), CliError> {
    match store.session(SessionId::named(name)).await? {
        Some(row) => Err(CliError::Conflict(format!("session {} has the name {name}; choose another", row.id))),
        None => Ok(()),
    }
}
