//! What of an event can be searched for: its text, the words of that, and labels by which searches are narrowed.
//!
//! Pure, and here rather than in a view of the log, since a store must find out once more what it has indexed of an event when it
//! is told to forget it, in that same transaction.

mod text;
mod words;

use super::{Action, Content, Event, Extras, Item, Recorded};
pub use words::{Words, folded, push_folded, words};

/// Raised whenever other words or labels are made of an event: an index is then made anew.
pub const INDEX_VERSION: u32 = 1;

/// The most words of one event: databases count places within a text up to here. What is kept of a text has fewer, since a word and
/// what parts it take two bytes.
const WORDS_MAX: usize = 16_000;
/// What labels begin with; no word has it.
const LABEL: char = '§';

/// The text of an event that people would look for, and whether something of its middle is left away; `None` where there is none.
pub fn text(event: &Recorded) -> Option<(String, bool)> {
    let (text, cut) = match Event::read(event) {
        Event::Unknown(_) => text::of_unknown(event.body.as_json()).joined(),
        known => text::of_event(&known).joined(),
    };
    (!text.is_empty()).then_some((text, cut))
}

/// What an event is found by: the words of its text and then its labels, one blank between any two. `None` where it has no text.
pub fn terms(event: &Recorded) -> Option<String> {
    let read = Event::read(event);
    let (text, _) = match &read {
        Event::Unknown(_) => text::of_unknown(event.body.as_json()).joined(),
        known => text::of_event(known).joined(),
    };
    if text.is_empty() {
        return None;
    }
    let mut terms = String::with_capacity(text.len() + 160);
    for (_, word) in words(&text).take(WORDS_MAX) {
        push_folded(word, &mut terms);
        terms.push(' ');
    }
    for label in labels(event, &read) {
        terms.push_str(&label);
        terms.push(' ');
    }
    terms.pop();
    Some(terms)
}

/// The labels of this kind among what [`terms`] made of an event, of which they are the last.
pub fn labelled(terms: &str, of: Label) -> impl Iterator<Item = &str> {
    let begin = of.of("");
    terms.rsplit(' ').take_while(|word| word.starts_with(LABEL)).filter(move |word| word.starts_with(&begin))
}

/// One thing that events are alike in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Being in the index at all.
    Any,
    /// The kind, such as `action.run`.
    Kind,
    /// The part of the kind before its first dot.
    Family,
    /// Who made it.
    Source,
    /// The session.
    Session,
    /// What was used: the shell, an editor, a tool of a server.
    Tool,
    /// The model that is named in it.
    Model,
}

impl Label {
    /// The label as a word of the index.
    pub fn of(self, value: &str) -> String {
        let letter = match self {
            Self::Any => return LABEL.to_string(),
            Self::Kind => 'k',
            Self::Family => 'f',
            Self::Source => 'u',
            Self::Session => 's',
            Self::Tool => 't',
            Self::Model => 'm',
        };
        let mut label = String::from_iter([LABEL, letter]);
        // Whatever else may stand in a name, it must stay one word, and none that a query could end.
        let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/') { c } else { '_' };
        label.extend(value.chars().take(100).flat_map(char::to_lowercase).map(plain));
        label
    }
}

fn labels(event: &Recorded, read: &Event) -> Vec<String> {
    let mut labels = vec![
        Label::Any.of(""),
        Label::Kind.of(event.kind.as_str()),
        Label::Family.of(event.kind.family()),
        Label::Source.of(event.source.as_str()),
        Label::Session.of(&event.session.to_string()),
    ];
    labels.extend(tools(read).into_iter().map(|tool| Label::Tool.of(&tool)));
    if let Some(model) = model(read) {
        labels.push(Label::Model.of(model));
        // Behind the name of the one who serves it stands that of the model.
        labels.extend(model.rsplit_once('/').map(|(_, name)| Label::Model.of(name)));
    }
    labels
}

/// The names by which people call what an action uses, and what an observation came from.
fn tools(event: &Event) -> Vec<String> {
    let Event::Item(entry) = event else { return Vec::new() };
    let mut tools = match &entry.item.content {
        Content::Action(action) => tools_of_action(action),
        Content::Observation(observation) => tools_of_observation(&observation.extras),
    };
    tools.extend(called(&entry.item).filter(|name| !name.is_empty()));
    tools.sort_unstable();
    tools.dedup();
    tools
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn tools_of_action(action: &Action) -> Vec<String> {
    match action {
        Action::Run(_) => names(&["run", "bash"]),
        Action::RunIpython(_) => names(&["run_ipython", "ipython", "python"]),
        Action::BrowseInteractive(_) => names(&["browse_interactive", "browse"]),
        Action::CallToolMcp(call) => vec!["mcp".to_owned(), call.name.clone()],
        Action::Null | Action::Message(_) | Action::System(_) | Action::ChangeAgentState(_) => Vec::new(),
        other => names(&[other.tag()]),
    }
}

fn tools_of_observation(extras: &Extras) -> Vec<String> {
    match extras {
        Extras::Run(_) => names(&["run", "bash"]),
        Extras::RunIpython(_) => names(&["run_ipython", "ipython", "python"]),
        Extras::Mcp(result) if result.name.is_empty() => names(&["mcp"]),
        Extras::Mcp(result) => vec!["mcp".to_owned(), result.name.clone()],
        Extras::Null
        | Extras::Success
        | Extras::Error(_)
        | Extras::AgentStateChanged(_)
        | Extras::UserRejected
        | Extras::Condense
        | Extras::LoopDetection => Vec::new(),
        other => names(&[other.tag()]),
    }
}

/// The tool by the name under which the model called it.
fn called(item: &Item) -> impl Iterator<Item = String> + use<> {
    #[derive(serde::Deserialize)]
    struct Call {
        #[serde(default)]
        function_name: Option<String>,
    }
    let call = item.tool_call_metadata.as_ref().and_then(|call| serde_json::from_str::<Call>(call.get()).ok());
    call.and_then(|call| call.function_name).into_iter()
}

/// The model that an event names as the one that decides.
fn model(event: &Event) -> Option<&str> {
    match event {
        Event::Briefed(briefed) => Some(&briefed.model),
        Event::ModelResponded(report) => Some(&report.model),
        Event::Item(entry) => {
            let tokens = entry.item.llm_metrics.as_ref()?.accumulated_token_usage.as_ref()?;
            (!matches!(tokens.model.as_str(), "" | "default")).then_some(&*tokens.model)
        }
        _ => None,
    }
}
