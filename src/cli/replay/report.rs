//! What became of each action of a replay: for programs as JSON, for people as one page that needs nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::cli::describe;
use crate::cli::exit::CliError;
use crate::cli::rows::Rows;
use crate::cli::summary::Summary;
use crate::cli::text::{duration, visible};
use crate::session::event::ReplayCompared;
use crate::session::replay::{Normaliser, Script, Step, Verdict};
use crate::session::{Content, Event, Item, Observation, Seq, Timestamp};
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
        let text = match format(path)? {
            Form::Json => serde_json::to_string_pretty(self).map_err(|error| CliError::Failed(error.to_string()))? + "\n",
            Form::Html => self.page(),
        };
        std::fs::write(path, text).map_err(|source| CliError::File { verb: "write", path: path.to_owned(), source })
    }

    fn page(&self) -> String {
        let Summary { session, state, verdicts, performed, planned, micros, digest, hash, .. } = self.summary;
        let mut page = String::from(HEAD);
        let title = format!("Replay {session}");
        let counts = [
            ("same", verdicts.same),
            ("same but for what always differs", verdicts.normalised),
            ("diverged", verdicts.diverged),
            ("without a recorded outcome", verdicts.unrecorded),
            ("of unknown outcome", verdicts.unknown),
            ("recorded, not run", verdicts.not_run),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        let _ = write!(
            page,
            "<title>{title}</title></head><body><h1>{title}</h1>\n<p>{}: {performed} of {planned} messages and actions performed in \
             {}. {}.</p>\n<p class=\"dim\">state {digest}<br>last event {hash}</p>\n",
            escaped(state),
            duration(*micros),
            escaped(&counts.join(", ")),
        );
        for action in &self.actions {
            action.section(&mut page);
        }
        page.push_str("</body></html>\n");
        page
    }
}

impl Performed {
    fn section(&self, page: &mut String) {
        let class = match &self.verdict {
            Some(Verdict::Same | Verdict::Normalised { .. }) => "good",
            Some(Verdict::Diverged { .. }) => "bad",
            Some(Verdict::OutcomeUnknown) => "warn",
            Some(Verdict::Unrecorded | Verdict::NotRun { .. }) | None => "dim",
        };
        let verdict = self.verdict.as_ref().map_or_else(|| "no outcome yet".to_owned(), describe::verdict);
        let took = self.micros.map(|micros| format!(", {}", duration(micros))).unwrap_or_default();
        let open = if class == "bad" { " open" } else { "" };
        let _ = writeln!(
            page,
            "<details class=\"{class}\"{open}><summary><b>{}</b> event {}, entry {}: <i>{}</i>{took}<pre>{}</pre></summary>",
            escaped(&self.kind),
            self.seq,
            self.index,
            escaped(&verdict),
            escaped(&self.action),
        );
        if let Some(Verdict::Diverged { differences }) = &self.verdict {
            for difference in differences {
                let _ = writeln!(
                    page,
                    "<table><tr><th colspan=2>{}</th></tr><tr><td>recorded</td><td><pre>{}</pre></td></tr><tr><td>now</td><td><pre>{}\
                     </pre></td></tr></table>",
                    escaped(&difference.field),
                    escaped(&difference.recorded),
                    escaped(&difference.actual)
                );
            }
        }
        for (side, outcome) in [("recorded", &self.recorded), ("now", &self.actual)] {
            let text = outcome.as_ref().map_or_else(|| "nothing".to_owned(), said);
            let _ = writeln!(page, "<h3>{side}</h3><pre>{}</pre>", escaped(&text));
        }
        page.push_str("</details>\n");
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

/// Text as text: nothing in it is markup, and what would drive a terminal or turn the reading order is shown as what it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The page holds all that it needs, and may load nothing.
const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<style>body{font:14px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem \
auto;padding:0 1rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0;background:#8881;padding:.4rem}details{border-left:4px \
solid #888;padding:.2rem .8rem;margin:.6rem 0}.good{border-color:#2a2}.bad{border-color:#c22}.warn{border-color:#c82}.dim{color:#777}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.1rem .6rem}h3{margin:.4rem 0 0}\
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text() {
        assert_eq!(escaped("<b a='1'>&\"</b>"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;&lt;/b&gt;");
        assert!(!escaped("\u{1b}[31m").contains('\u{1b}'));
    }

    #[test]
    fn the_name_says_the_form() {
        assert_eq!(format(Path::new("a.json")).unwrap(), Form::Json);
        assert_eq!(format(Path::new("a.html")).unwrap(), Form::Html);
        assert!(format(Path::new("a.txt")).unwrap_err().to_string().contains(".html"));
    }
}
