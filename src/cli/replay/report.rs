//! What became of each action of a replay: for programs as JSON, for people as one page that needs nothing else.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use maud::{Markup, html};
use serde::Serialize;
use serde_json::Value;

use crate::cli::describe;
use crate::cli::exit::CliError;
use crate::cli::new_file::NewFile;
use crate::cli::page::{Clipped, Page};
use crate::cli::rows::Rows;
use crate::cli::summary::Summary;
use crate::cli::text::{bytes, duration};
use crate::session::event::ReplayCompared;
use crate::session::replay::{Normaliser, Script, Step, Verdict};
use crate::session::{Content, Event, Item, Observation, Seq, SessionId, Timestamp};
use crate::store::{Row, SharedStore};

/// The shape of `replay -o json`, and of a report in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    actions: Vec<Performed>,
}

/// One action of the recording that was performed.
#[derive(Debug, Serialize)]
struct Performed {
    /// Its event.
    seq: Seq,
    /// The recorded entry that it performs.
    index: u64,
    /// Its kind.
    kind: String,
    /// What it did, in a line.
    action: String,
    /// What the recording says came of it.
    recorded: Option<Value>,
    /// What came of it.
    actual: Option<Value>,
    /// How the two compare; unset where nothing came of it yet.
    verdict: Option<Verdict>,
    /// The normalisers that were used on both.
    normalisers: Vec<Normaliser>,
    /// Whether it was run; else its outcome is the recorded one.
    run: bool,
    /// From the moment at which it was handed out to its outcome, in microseconds.
    micros: Option<u64>,
}

/// What a performed action is until its outcome is known.
struct Begun {
    performed: Performed,
    since: Timestamp,
}

impl<'a> Report<'a> {
    /// Reads what became of each action out of the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn of(store: &SharedStore, summary: &'a Summary, script: &Script) -> Result<Self, CliError> {
        let mut rows = Rows::new(store, summary.session, Seq(1), summary.events);
        let mut begun: Vec<Begun> = Vec::new();
        let mut at: HashMap<Seq, usize> = HashMap::new();
        while let Some(row) = rows.next().await? {
            let Row::Event { event, .. } = row else { continue };
            let of = event.cause.and_then(|cause| at.get(&cause).copied()).and_then(|at| begun.get_mut(at));
            match (Event::read(&event), of) {
                (Event::Item(entry), of) => match (&entry.item.content, entry.recorded, of) {
                    (Content::Action(action), Some(index), _) if !matches!(action, crate::session::Action::Message(_)) => {
                        at.insert(event.seq, begun.len());
                        let performed = Performed {
                            seq: event.seq,
                            index,
                            kind: event.kind.to_string(),
                            action: describe::action(action),
                            recorded: recorded(script, index).map(|observation| outcome(&observation)),
                            actual: None,
                            verdict: None,
                            normalisers: Vec::new(),
                            run: true,
                            micros: None,
                        };
                        begun.push(Begun { performed, since: event.at });
                    }
                    (Content::Observation(observation), _, Some(begun)) => {
                        begun.performed.actual = Some(outcome(observation));
                        begun.performed.micros = u64::try_from(event.at.since(begun.since).as_micros()).ok();
                    }
                    _ => {}
                },
                (Event::Dispatched(_), Some(begun)) => begun.since = event.at,
                (Event::ReplayCompared(ReplayCompared { verdict, .. }), Some(begun)) => {
                    if let Verdict::Normalised { by } = &verdict {
                        begun.performed.normalisers.clone_from(by);
                    }
                    begun.performed.run = !matches!(verdict, Verdict::NotRun { .. });
                    begun.performed.verdict = Some(verdict);
                }
                _ => {}
            }
        }
        Ok(Self { summary, actions: begun.into_iter().map(|begun| begun.performed).collect() })
    }

    /// Writes it where the name of the file says how: `.json` or `.html`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), CliError> {
        let form = format(path)?;
        let mut file = NewFile::create(path)?;
        let written = match form {
            Form::Json => serde_json::to_writer_pretty(&mut file, self).map_err(Into::into).and_then(|()| file.write_all(b"\n")),
            Form::Html => self.page(&mut file),
        };
        written.map_err(|source| file.failed(source))?;
        file.keep()
    }

    fn page(&self, file: &mut NewFile) -> io::Result<()> {
        let Summary { session, state, verdicts, performed, planned, micros, digest, hash, .. } = self.summary;
        let title = format!("Replay {session}");
        let counts: Vec<String> =
            verdicts.named().into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        let mut page = Page::begin(file, &title, "")?;
        page.push(&html! {
            h1 { (title) }
            p {
                (state) ": " (performed) " of " (planned) " messages and actions performed in " (duration(*micros)) ". "
                (counts.join(", ")) "."
            }
            p.dim { "state " (digest) br; "last event " (hash) }
        })?;
        for action in &self.actions {
            page.push(&action.section(*session))?;
        }
        page.end()?;
        Ok(())
    }
}

impl Performed {
    fn section(&self, session: SessionId) -> Markup {
        let class = match &self.verdict {
            Some(Verdict::Same | Verdict::Normalised { .. }) => "good",
            Some(Verdict::Diverged { .. }) => "bad",
            Some(Verdict::OutcomeUnknown) => "warn",
            Some(Verdict::Unrecorded | Verdict::NotRun { .. }) | None => "dim",
        };
        let verdict = self.verdict.as_ref().map_or_else(|| "no outcome yet".to_owned(), describe::verdict);
        let took = self.micros.map(|micros| format!(", {}", duration(micros))).unwrap_or_default();
        let differences = match &self.verdict {
            Some(Verdict::Diverged { differences }) => differences.as_slice(),
            _ => &[],
        };
        let shown = |text: &str| {
            let Clipped { head, left_out, tail } = Clipped::of(text);
            html! {
                pre { "\n" (head) }
                @if left_out > 0 {
                    p.cut {
                        "… " (bytes(left_out as u64)) " are left out; "
                        code { "rekindle show --full " (session) ":" (self.seq) } " shows all"
                    }
                    pre { "\n" (tail) }
                }
            }
        };
        html! {
            details.entry.(class) open[class == "bad"] {
                summary {
                    b { (self.kind) } " event " (self.seq) ", entry " (self.index) ": " i { (verdict) } (took)
                    (shown(&self.action))
                }
                @for difference in differences {
                    table {
                        tr { th colspan="2" scope="colgroup" { (difference.field) } }
                        tr { th scope="row" { "recorded" } td { pre { "\n" (difference.recorded) } } }
                        tr { th scope="row" { "now" } td { pre { "\n" (difference.actual) } } }
                    }
                }
                @for (side, outcome) in [("recorded", &self.recorded), ("now", &self.actual)] {
                    h3 { (side) }
                    (shown(&outcome.as_ref().map_or_else(|| "nothing".to_owned(), said)))
                }
            }
        }
    }
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Html,
}

/// How the name of a file says that it is written.
///
/// # Errors
/// [`CliError::Usage`] when it does not say.
pub(super) fn format(path: &Path) -> Result<Form, CliError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(Form::Json),
        Some("html" | "htm") => Ok(Form::Html),
        _ => Err(CliError::Usage(format!("a report is written as {}: end its name in .json or .html", path.display()))),
    }
}

fn recorded(script: &Script, index: u64) -> Option<Observation> {
    match &script.line_from(index).filter(|line| line.index == index)?.step {
        Step::Perform { expected: Some(item), .. } => match &item.content {
            Content::Observation(observation) => Some(observation.clone()),
            Content::Action(_) => None,
        },
        _ => None,
    }
}

/// An outcome as it is stored.
fn outcome(observation: &Observation) -> Value {
    serde_json::from_str(&Item::from(observation.clone()).encode_body()).unwrap_or_default()
}

/// What an outcome says, for people.
fn said(outcome: &Value) -> String {
    let text = |key: &str| outcome.get(key).and_then(Value::as_str).unwrap_or_default();
    let exit = outcome.pointer("/extras/metadata/exit_code").map(|code| format!(", exit {code}")).unwrap_or_default();
    format!("{}{exit}\n{}", text("observation"), text("content"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_form() {
        assert_eq!(format(Path::new("a.json")).unwrap(), Form::Json);
        assert_eq!(format(Path::new("a.html")).unwrap(), Form::Html);
        assert!(format(Path::new("a.txt")).unwrap_err().to_string().contains(".html"));
    }
}
