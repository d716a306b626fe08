//! A session with an agent as a conversation: what happens is shown while it happens, and a person at a terminal is asked.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::cli::Context;
use crate::cli::describe::action;
use crate::cli::exit::{CliError, Exit};
use crate::cli::host::{Ended, drive, interrupted, told};
use crate::cli::paint::Tone;
use crate::cli::rows::Rows;
use crate::cli::summary::{last_words, summarise};
use crate::cli::text::{one_line, visible};
use crate::engine::ports::Delta;
use crate::engine::{Engine, EngineError, Resumed};
use crate::session::event::ActionJudged;
use crate::session::{AgentState, Command, Content, Event, Phase, Seq, Session, SessionId};
use crate::store::{Row, SharedStore};

/// How many bytes a picture may have.
const IMAGE_MAX: u64 = 8 * 1024 * 1024;

/// How long a parent may take to notice what its delegate was told.
const MOVED_WAIT: Duration = Duration::from_secs(10);

/// Who can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// A person at this terminal.
    Terminal,
    /// Nobody: what would be asked ends the run.
    Nobody,
}

impl Talk {
    /// A person, where there is one.
    pub fn of_terminal() -> Self {
        if io::stdin().is_terminal() && io::stderr().is_terminal() { Self::Terminal } else { Self::Nobody }
    }
}

/// Runs a session on from `from` until it rests and nobody has anything to add; says what came of it.
///
/// # Errors
/// When the log cannot be written or read.
pub async fn to_the_end(
    context: &mut Context,
    engine: &Engine,
    id: SessionId,
    from: &Session,
    talk: Talk,
) -> Result<Exit, CliError> {
    let mut state = from.clone();
    let seen = context.is_watched() && io::stderr().is_terminal();
    let watching = seen.then(|| tokio::spawn(watch(engine.clone(), id)));
    let ended = loop {
        let ended = drive(engine, id, state.version, told(context, &state)).await;
        if !matches!(ended, Ok(Ended::Rested)) {
            break ended;
        }
        state = engine.restore(id).await?.session;
        let next = tokio::select! {
            next = next(context, engine, id, &state, talk) => next?,
            () = interrupted() => break Ok(Ended::Interrupted),
        };
        match next {
            Some((whom, command)) => match engine.submit(whom, command).await {
                Err(EngineError::Rejected(rejection)) => context.note(format_args!("{rejection}")),
                Ok(_) if whom != id => {
                    // What a delegate was told moves its parent, a moment later.
                    let _ = tokio::time::timeout(MOVED_WAIT, engine.subscribe(id, state.version).next()).await;
                }
                other => drop(other?),
            },
            None => break Ok(Ended::Rested),
        }
    };
    if let Some(watching) = watching {
        watching.abort();
    }
    engine.shutdown().await;
    match ended? {
        Ended::Interrupted => {
            let resume = context.command(format_args!("resume {id}"));
            context.note(format_args!("interrupted; go on with `{resume}`"));
            Ok(Exit::Interrupted)
        }
        Ended::Failed(failure) => {
            let resume = context.command(format_args!("resume {id}"));
            Err(CliError::Stopped { failure, resume })
        }
        Ended::Rested => {
            let row = engine.store().session(id).await?.ok_or(EngineError::NotFound(id))?;
            let (summary, exit) = summarise(engine.store(), &row).await?;
            summary.tell(context)?;
            Ok(exit)
        }
    }
}

/// Asks something of a session and, when this process runs it because of that, runs it to its end.
///
/// # Errors
/// When its state does not allow it.
pub async fn tell(context: &mut Context, engine: &Engine, id: SessionId, command: Command, talk: Talk) -> Result<Exit, CliError> {
    let before = engine.restore(id).await?.session;
    let asked = engine.submit(id, command).await;
    if asked.is_ok() && engine.is_live(id) {
        // Those above go on with it, where nobody else runs them.
        let root = engine.root(id, &before).await?;
        if root != id
            && let Ok(Resumed { running: true, restored }) = Box::pin(engine.resume(root)).await
        {
            return Box::pin(to_the_end(context, engine, root, &restored.session, talk)).await;
        }
        return Box::pin(to_the_end(context, engine, id, &before, talk)).await;
    }
    engine.shutdown().await;
    asked?;
    let follow = context.command(format_args!("tail {id} -f"));
    context.note(format_args!("told to the node that runs it; follow it with `{follow}`"));
    Ok(Exit::Done)
}

/// Shows what the agent is writing.
async fn watch(engine: Engine, id: SessionId) {
    let mut deltas = engine.deltas();
    let mut open = false;
    loop {
        match deltas.recv().await {
            Ok((session, delta)) if session == id => match delta {
                Delta::Text(text) => {
                    eprint!("{}", visible(&text));
                    let _ = io::stderr().flush();
                    open = true;
                }
                Delta::Call(_) | Delta::Retry(_) if std::mem::take(&mut open) => eprintln!(),
                Delta::Retry(why) => eprintln!("         asked again: {}", one_line(&why)),
                Delta::Call(_) | Delta::Reasoning(_) => {}
            },
            Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// What a person at the terminal wants next; `None` when there is nobody, or they have nothing to add.
async fn next(
    context: &Context,
    engine: &Engine,
    id: SessionId,
    session: &Session,
    talk: Talk,
) -> Result<Option<(SessionId, Command)>, CliError> {
    let store = engine.store();
    if talk == Talk::Nobody || session.phase != Phase::Ready || !session.has_agent() {
        return Ok(None);
    }
    match session.agent {
        AgentState::AwaitingUserConfirmation => {
            let asks = engine.consenting(id).await?;
            let below = if asks == id { None } else { Some(engine.restore(asks).await?.session) };
            let Some(waiting) = below.as_ref().unwrap_or(session).unconfirmed().next() else { return Ok(None) };
            if asks != id {
                context.note(format_args!("its delegate {asks} wants to do this:"));
            }
            for line in asked(store, asks, waiting.seq).await? {
                context.note(context.paint.tone(Tone::Warn, line));
            }
            let answer = ask("run it? [y]es, [n]o, or say what to do instead: ").await?;
            let action = Some(waiting.seq);
            Ok(answer.map(|answer| match answer.as_str() {
                "y" | "yes" => (asks, Command::Confirm { action, by: who() }),
                "n" | "no" | "" => (asks, Command::Refuse { action, by: who(), reason: None }),
                _ => (asks, Command::Refuse { action, by: who(), reason: Some(answer) }),
            }))
        }
        AgentState::AwaitingUserInput | AgentState::Error | AgentState::RateLimited => {
            if let Some(words) = last_words(store, id, session.version).await? {
                context.note(visible(&words));
            }
            if !session.agent_reason.is_empty() {
                context.note(context.paint.tone(Tone::Bad, one_line(&session.agent_reason)));
            }
            let answer = ask("> ").await?;
            Ok(answer.filter(|answer| !answer.is_empty()).map(|content| (id, Command::Say { content })))
        }
        _ => Ok(None),
    }
}

/// What an action would do, and why somebody is asked.
async fn asked(store: &SharedStore, id: SessionId, seq: Seq) -> Result<Vec<String>, CliError> {
    let mut lines = Vec::new();
    let mut rows = Rows::new(store, id, seq, Seq(u64::MAX >> 1));
    while let Some(row) = rows.next().await? {
        let Row::Event { event, .. } = &row else { continue };
        match Event::read(event) {
            Event::Item(entry) if event.seq == seq => {
                if let Content::Action(what) = &entry.item.content {
                    lines.push(format!("{} {}", what.tag(), visible(&action(what))));
                }
            }
            Event::Judged(ActionJudged { judgement, .. }) if event.cause == Some(seq) => {
                lines.push(format!("{} risk", judgement.risk));
                lines.extend(judgement.reasons.iter().map(|reason| format!("  {}", one_line(reason))));
                break;
            }
            _ => {}
        }
    }
    Ok(lines)
}

/// Asks the person at the terminal; `None` when they are gone.
///
/// The answer is read on a thread that nothing waits for, since a read of a terminal cannot be taken back.
async fn ask(prompt: &'static str) -> Result<Option<String>, CliError> {
    let (send, answer) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("rekindle-prompt".into()).spawn(move || {
        // Whoever asked may have been interrupted.
        let _ = send.send(read_answer(prompt));
    })?;
    Ok(answer.await.map_err(|error| CliError::Failed(error.to_string()))??)
}

fn read_answer(prompt: &str) -> io::Result<Option<String>> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let mut line = String::new();
    Ok((io::stdin().read_line(&mut line)? > 0).then(|| line.trim().to_owned()))
}

/// Who says so, as it stands in the log.
pub fn who() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "the command line".to_owned())
}

/// The address of a picture: as it is, or with the content of a file.
///
/// # Errors
/// When the file cannot be read, is too large, or is no picture that models take.
pub fn image(named: &str) -> Result<String, CliError> {
    if named.starts_with("https://") || named.starts_with("data:image/") {
        return Ok(named.to_owned());
    }
    let path = Path::new(named);
    let failed = |source| CliError::File { verb: "read", path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > IMAGE_MAX {
        return Err(CliError::Usage(format!("{named} is larger than {} MiB", IMAGE_MAX >> 20)));
    }
    let bytes = fs::read(path).map_err(failed)?;
    let kind = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, ..] => "jpeg",
        [b'G', b'I', b'F', b'8', ..] => "gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "webp",
        _ => return Err(CliError::Usage(format!("{named} is no picture that models take: PNG, JPEG, GIF or WebP"))),
    };
    Ok(format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(&bytes)))
}
