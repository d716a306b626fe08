//! `rekindle audit seal`, and the seals that a node makes at a cadence.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::super::paint::Tone;
use super::super::span::span;
use super::super::summary::field;
use super::super::text::count;
use super::keys::Keys;
use crate::audit::{AuditError, Outcome, Seal, Sealer, SignerKey, last_key, origin};
use crate::engine::clock::{Clock, Ids, SystemClock};
use crate::engine::ports::Sink;
use crate::host::sinks::sink;
use crate::store::{SharedStore, Store};

/// Seal everything that is in the store now
///
/// Sealing again when nothing has changed is a seal, too: it proves that nothing has. Nothing is signed that contradicts the newest
/// checkpoint which a file or a repository holds; that ends with 5. What a place did not get, because it could not be reached or this
/// was killed, it gets with the next seal.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where checkpoints are published, outside of the store: file:PATH, git:DIRECTORY, https://… (repeatable)
    #[arg(long, value_name = "SINK", value_parser = sink)]
    to: Vec<Arc<dyn Sink>>,
    /// What the audit log is called, when it is begun: an address without a scheme, such as example.com/log
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Sign with a new key from now on, since the one before is lost
    #[arg(long)]
    new_key: bool,
}

/// What is said of a seal.
#[derive(Debug, Serialize)]
struct View {
    origin: String,
    size: u64,
    root: String,
    key: String,
    sessions: u64,
    unreadable: u64,
    published: Vec<Published>,
}

#[derive(Debug, Serialize)]
struct Published {
    to: String,
    checkpoints: u64,
    error: Option<String>,
}

/// Seals the store.
///
/// # Errors
/// When nothing could be sealed; a place that could not be published to ends with 1.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Write).await?;
    let key = key(context, store.as_ref(), args.origin, args.new_key).await?;
    let verifier = key.verifier().clone();
    let sealer = sealer(store, key)?.publishing_to(args.to);
    let Seal { checkpoint, sessions, unreadable, published } = sealer.seal().await?;
    let failed = published.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
    let published = published.into_iter().map(|(to, outcome)| match outcome {
        Outcome::Published(checkpoints) => Published { to, checkpoints, error: None },
        Outcome::Failed(error) => Published { to, checkpoints: 0, error: Some(error) },
    });
    let view = View {
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: checkpoint.root.to_string(),
        key: verifier.to_string(),
        sessions,
        unreadable,
        published: published.collect(),
    };
    if context.out.is_table() {
        print(context, &view)?;
    } else {
        context.out.json(&view)?;
    }
    Ok(if failed { Exit::Failure } else { Exit::Done })
}

fn print(context: &mut Context, view: &View) -> Result<(), CliError> {
    let paint = context.out.paint;
    let out = &mut context.out;
    field(
        out,
        "sealed",
        &format!("{} that changed; the tree has {} now", count(view.sessions, "session"), count(view.size, "head")),
    )?;
    field(out, "log", &view.origin)?;
    field(out, "root", &view.root)?;
    field(out, "key", &view.key)?;
    if view.unreadable > 0 {
        let unreadable = format!("{} cannot be read; `rekindle doctor --deep` tells which", count(view.unreadable, "event"));
        field(out, "damage", &paint.tone(Tone::Bad, unreadable).to_string())?;
    }
    for published in &view.published {
        let line = match &published.error {
            None => format!("{}: {}", published.to, count(published.checkpoints, "checkpoint")),
            Some(error) => {
                paint.tone(Tone::Bad, format!("{}: {error}; tried again with the next seal", published.to)).to_string()
            }
        };
        field(out, "published", &line)?;
    }
    Ok(())
}

/// The key of the store's audit log; made where nothing was sealed yet.
async fn key(context: &Context, store: &dyn Store, named: Option<String>, new_key: bool) -> Result<SignerKey, CliError> {
    let keys = Keys::usual()?;
    let log = match (origin(store).await?, named) {
        (Some(log), Some(named)) if log != named => {
            return Err(CliError::Usage(format!("the audit log of this store is called {log}; leave --origin out")));
        }
        (Some(log), _) => log,
        (None, named) => {
            let log = named.unwrap_or_else(|| format!("rekindle.audit/{}", Ids::default().session(SystemClock.now())));
            if keys.of(&log)?.is_empty() {
                let key = keys.make(&log, None)?;
                context.note(format_args!("this is the key that checks what is signed: {}", key.verifier()));
                return Ok(key);
            }
            log
        }
    };
    if new_key {
        let lost = last_key(store).await?.filter(|key| key.name() == log);
        let key = keys.make(&log, lost)?;
        context.note(format_args!("from now on this is the key that checks what is signed: {}", key.verifier()));
        return Ok(key);
    }
    keys.of(&log)?.pop().ok_or_else(|| keys.missing(&log))
}

/// A sealer that trusts what the log was signed with before.
fn sealer(store: SharedStore, key: SignerKey) -> Result<Sealer, CliError> {
    let earlier = Keys::usual()?.verifiers_of(key.verifier().name())?;
    Ok(Sealer::new(store, Arc::new(SystemClock), key).trusting(earlier))
}

/// How often a node seals, and where to.
#[derive(Debug, clap::Args)]
pub struct CadenceArgs {
    /// Seal the store this often, also when nothing has changed; the nodes of a store that are told so share it
    #[arg(long, value_name = "TIME", value_parser = span)]
    seal_every: Option<Duration>,
    /// Where checkpoints are published, outside of the store: file:PATH, git:DIRECTORY, https://… (repeatable)
    #[arg(long, value_name = "SINK", value_parser = sink, requires = "seal_every")]
    seal_to: Vec<Arc<dyn Sink>>,
}

/// Seals at a cadence.
pub struct Cadence {
    sealer: Sealer,
    every: Duration,
}

impl Cadence {
    /// What was asked for; `None` when nothing was.
    ///
    /// # Errors
    /// When the key of the audit log is not here.
    pub async fn of(context: &Context, store: &SharedStore, args: CadenceArgs) -> Result<Option<Self>, CliError> {
        let Some(every) = args.seal_every else { return Ok(None) };
        let key = key(context, store.as_ref(), None, false).await?;
        let sealer = sealer(SharedStore::clone(store), key)?.publishing_to(args.seal_to);
        Ok(Some(Self { sealer, every }))
    }

    /// Seals whenever it is time; tells what was not done, and tries again when it is time again.
    pub async fn run(self, tell: impl Fn(String)) -> std::convert::Infallible {
        loop {
            match self.sealer.due_in(self.every).await {
                Ok(wait) if !wait.is_zero() => tokio::time::sleep(wait).await,
                Ok(_) => match self.sealer.seal().await {
                    Ok(seal) => seal.published.iter().for_each(|(to, outcome)| {
                        if let Outcome::Failed(error) = outcome {
                            tell(format!("a checkpoint was not published to {to}: {error}; tried again with the next seal"));
                        }
                    }),
                    Err(error) => self.rest(error, &tell).await,
                },
                Err(error) => self.rest(error, &tell).await,
            }
        }
    }

    async fn rest(&self, error: AuditError, tell: &impl Fn(String)) {
        tell(format!("the store was not sealed: {error}"));
        tokio::time::sleep(self.every).await;
    }
}
