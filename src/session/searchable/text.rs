//! What a person would look for in an event: what was said, run, read, written and answered, never the form in which it is stored.

use std::borrow::Cow;

use crate::session::action::{Action, BrowseInteractive, CallToolMcp, EditFile};
use crate::session::event::ModelFailed;
use crate::session::observation::{BrowserOutput, Extras, FileEdited, Recalled};
use crate::session::{Content, Event, Item, Json, Object, Observation, Origin, SessionSpec};

/// Of a longer text this many bytes of its beginning are looked at,
const HEAD_BYTES: usize = 22 * 1024;
/// and this many of its end: where commands tell how they ended.
const TAIL_BYTES: usize = 8 * 1024;
/// How deep JSON is looked into.
const DEPTH_MAX: usize = 32;

/// The texts of an event, the most telling first.
#[derive(Debug, Default)]
pub(super) struct Texts<'a> {
    parts: Vec<Cow<'a, str>>,
}

impl<'a> Texts<'a> {
    fn add(&mut self, text: &'a str) {
        if !text.is_empty() {
            self.parts.push(text.into());
        }
    }

    fn add_owned(&mut self, text: String) {
        if !text.is_empty() {
            self.parts.push(text.into());
        }
    }

    fn add_if_any(&mut self, text: Option<&'a str>) {
        self.add(text.unwrap_or_default());
    }

    fn add_all(&mut self, texts: impl IntoIterator<Item = &'a String>) {
        texts.into_iter().for_each(|text| self.add(text));
    }

    /// All texts in JSON, with the names that they stand under.
    fn add_json(&mut self, json: &Json) {
        self.add_value(&json.to_value(), 0);
    }

    fn add_object(&mut self, object: &Object) {
        for (key, value) in object.iter() {
            self.add_owned(key.to_owned());
            self.add_json(value);
        }
    }

    fn add_value(&mut self, value: &serde_json::Value, depth: usize) {
        use serde_json::Value;
        match value {
            Value::String(text) => self.add_owned(text.clone()),
            Value::Number(number) => self.add_owned(number.to_string()),
            Value::Array(values) if depth < DEPTH_MAX => values.iter().for_each(|value| self.add_value(value, depth + 1)),
            Value::Object(fields) if depth < DEPTH_MAX => {
                // By name, since their order is another where other features are on.
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_unstable_by_key(|(name, _)| name.as_str());
                for (key, value) in fields {
                    self.add_owned(key.clone());
                    self.add_value(value, depth + 1);
                }
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
        }
    }

    /// One text, and whether something of the middle is not in it.
    pub(super) fn joined(self) -> (String, bool) {
        let text = self.parts.join("\n");
        if text.len() <= HEAD_BYTES + TAIL_BYTES {
            return (text, false);
        }
        let head = (0..=HEAD_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        let tail = (text.len() - TAIL_BYTES..text.len()).find(|begin| text.is_char_boundary(*begin)).unwrap_or(text.len());
        let parts = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
        (format!("{}\n…\n{}", parts.0, parts.1), true)
    }
}

/// The texts of an event that this version knows.
pub(super) fn of_event(event: &Event) -> Texts<'_> {
    let mut texts = Texts::default();
    match event {
        Event::Created(created) => of_spec(&created.spec, &mut texts),
        Event::Item(entry) => of_item(&entry.item, &mut texts),
        Event::Forked(forked) => {
            texts.add_if_any(forked.reason.as_deref());
            texts.add_if_any(forked.message.as_deref());
        }
        Event::OwnerAcquired(_) | Event::Restored(_) | Event::StartPlanned(_) | Event::StepStarted(_) | Event::Started(_) => {}
        Event::Imported(imported) => {
            texts.add_all(&imported.damaged);
            texts.add_all(&imported.unknown);
        }
        Event::CloseRequested(asked) => texts.add(&asked.reason),
        Event::Closed(closed) => texts.add(&closed.reason),
        Event::StepFinished(finished) => texts.add_owned(strings_of(&finished.outcome)),
        Event::StepFailed(failed) => texts.add(&failed.error),
        Event::LimitsChanged(changed) => texts.add(&changed.reason),
        Event::Briefed(briefed) => {
            texts.add(&briefed.agent);
            texts.add(&briefed.model);
            texts.add_all(&briefed.names);
        }
        Event::ModelRequested(_) | Event::Dispatched(_) | Event::TurnEnded(_) => {}
        Event::ModelResponded(report) => {
            texts.add_if_any(report.reasoning.as_deref());
            texts.add(&report.model);
            texts.add_all(&report.retries);
        }
        Event::ModelFailed(ModelFailed { class, message, .. }) => {
            texts.add(message);
            texts.add(class.as_v0());
        }
        Event::Judged(judged) => texts.add_all(&judged.judgement.reasons),
        Event::Confirmed(confirmed) => texts.add(&confirmed.by),
        Event::Refused(refused) => {
            texts.add_if_any(refused.reason.as_deref());
            texts.add(&refused.by);
        }
        Event::DelegateStarted(started) => texts.add(&started.agent),
        Event::DelegateWaits(_) | Event::DelegateGoesOn(_) | Event::DelegateFinished(_) => {}
        Event::StateChanged(changed) => texts.add(&changed.reason),
        Event::ReplayStarted(_) => {}
        Event::ReplayCompared(compared) => texts.add_owned(strings_of(&compared.verdict)),
        Event::ReplayFinished(finished) => texts.add_owned(strings_of(&finished.outcome)),
        Event::ReleaseStarted(_) | Event::ReleaseFinished(_) => {}
        Event::ReleaseFailed(failed) => texts.add(&failed.error),
        Event::WorkspaceCaptured(_) => {}
        // Nobody looks for hashes by their words.
        Event::HeadsListed(_) | Event::Sealed(_) | Event::Published(_) => {}
        Event::Erasing(erasing) => {
            texts.add(&erasing.reason);
            texts.add(&erasing.by);
        }
        Event::NotErased(refused) => texts.add(&refused.error),
        Event::Erased(_) | Event::RetentionSet(_) | Event::AccessSet(_) | Event::AccessRead(_) => {}
        Event::WorkspaceNotCaptured(missed) => texts.add(&missed.error),
        Event::WorkspaceCompared(compared) => texts.add_owned(strings_of(&compared.comparison)),
        // What another version wrote is looked for by all that it says.
        Event::Unknown(_) => {}
    }
    texts
}

/// All texts in the body of an event that this version does not know.
pub(super) fn of_unknown(body: &str) -> Texts<'static> {
    let mut texts = Texts::default();
    if let Ok(value) = serde_json::from_str(body) {
        texts.add_value(&value, 0);
    }
    texts
}

fn of_spec<'a>(spec: &'a SessionSpec, texts: &mut Texts<'a>) {
    texts.add_if_any(spec.title.as_deref());
    match &spec.origin {
        // What it begins with follows as a message.
        Origin::Fresh { .. } => {}
        other => texts.add_owned(strings_of(other)),
    }
    texts.add_owned(spec.workspace.display().to_string());
    if let Some(repository) = &spec.repository {
        texts.add_owned(strings_of(repository));
    }
    if let Some(agent) = &spec.agent {
        texts.add(&agent.name);
        texts.add(&agent.config.model.name);
    }
}

/// The texts in what has no more telling form, one a line, without the names of its fields.
fn strings_of(value: &impl serde::Serialize) -> String {
    fn collect(value: &serde_json::Value, to: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => to.push(text.clone()),
            serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, to)),
            serde_json::Value::Object(fields) => {
                // By name, since their order is another where other features are on.
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_unstable_by_key(|(name, _)| name.as_str());
                fields.into_iter().for_each(|(_, value)| collect(value, to));
            }
            _ => {}
        }
    }
    let mut texts = Vec::new();
    collect(&serde_json::to_value(value).unwrap_or_default(), &mut texts);
    texts.join("\n")
}

fn of_item<'a>(item: &'a Item, texts: &mut Texts<'a>) {
    match &item.content {
        Content::Action(action) => of_action(action, texts),
        Content::Observation(observation) => of_observation(observation, texts),
    }
}

fn of_action<'a>(action: &'a Action, texts: &mut Texts<'a>) {
    match action {
        Action::Null | Action::CondensationRequest | Action::LoopRecovery(_) => {}
        Action::Run(run) => {
            texts.add(&run.command);
            texts.add(&run.thought);
        }
        Action::RunIpython(cell) => {
            texts.add(&cell.code);
            texts.add(&cell.thought);
        }
        Action::Browse(browse) => {
            texts.add(&browse.url);
            texts.add(&browse.thought);
        }
        Action::BrowseInteractive(BrowseInteractive { browser_actions, thought, browsergym_send_msg_to_user, .. }) => {
            texts.add(browser_actions);
            texts.add(browsergym_send_msg_to_user);
            texts.add(thought);
        }
        Action::Read(read) => {
            texts.add(&read.path);
            texts.add(&read.thought);
        }
        Action::Write(write) => {
            texts.add(&write.path);
            texts.add(&write.thought);
            texts.add(&write.content);
        }
        Action::Edit(EditFile { path, thought, file_text, old_str, new_str, content, .. }) => {
            texts.add(path);
            texts.add(thought);
            for text in [file_text, old_str, new_str] {
                texts.add_if_any(text.as_deref());
            }
            texts.add(content);
        }
        Action::Think(think) => texts.add(&think.thought),
        Action::Finish(finish) => {
            texts.add(&finish.final_thought);
            texts.add(&finish.thought);
            texts.add_object(&finish.outputs);
        }
        Action::Reject(reject) => {
            texts.add(&reject.thought);
            texts.add_object(&reject.outputs);
        }
        Action::Delegate(delegate) => {
            texts.add(&delegate.agent);
            texts.add(&delegate.thought);
            texts.add_object(&delegate.inputs);
        }
        Action::Recall(recall) => {
            texts.add(&recall.query);
            texts.add(&recall.thought);
        }
        Action::ChangeAgentState(change) => {
            texts.add(&change.agent_state);
            texts.add(&change.thought);
        }
        Action::Message(message) => {
            texts.add(&message.content);
            texts.add_all(message.file_urls.iter().flatten().flatten());
        }
        // The catalogue of tools is the same in every session, and would be found in each.
        Action::System(system) => texts.add(&system.content),
        Action::Condensation(condensation) => texts.add_if_any(condensation.summary.as_deref()),
        Action::CallToolMcp(CallToolMcp { name, arguments, thought, .. }) => {
            texts.add(name);
            texts.add(thought);
            texts.add_object(arguments);
        }
        Action::TaskTracking(tracking) => {
            texts.add(&tracking.thought);
            tracking.task_list.iter().for_each(|task| texts.add_json(task));
        }
    }
}

fn of_observation<'a>(observation: &'a Observation, texts: &mut Texts<'a>) {
    match &observation.extras {
        Extras::Run(run) => texts.add(&run.command),
        Extras::RunIpython(cell) => texts.add(&cell.code),
        // What the page consists of is opaque; what it says is the content.
        Extras::Browse(page) => of_page(page, texts),
        Extras::Read(read) => texts.add(&read.path),
        Extras::Write(written) => texts.add(&written.path),
        Extras::Edit(edited) => of_edit(edited, texts),
        Extras::Delegate(delegated) => texts.add_object(&delegated.outputs),
        Extras::Error(failure) => texts.add(&failure.error_id),
        Extras::AgentStateChanged(changed) => {
            texts.add(&changed.agent_state);
            texts.add(&changed.reason);
        }
        Extras::Recall(recalled) => of_recalled(recalled, texts),
        Extras::Mcp(result) => {
            texts.add(&result.name);
            texts.add_object(&result.arguments);
        }
        Extras::Download(downloaded) => texts.add(&downloaded.file_path),
        Extras::TaskTracking(list) => list.task_list.iter().for_each(|task| texts.add_json(task)),
        Extras::Null | Extras::Success | Extras::UserRejected | Extras::Condense | Extras::Think | Extras::LoopDetection => {}
    }
    texts.add(&observation.content);
}

fn of_page<'a>(page: &'a BrowserOutput, texts: &mut Texts<'a>) {
    texts.add(&page.url);
    texts.add(&page.last_browser_action);
    texts.add(&page.last_browser_action_error);
}

fn of_edit<'a>(edited: &'a FileEdited, texts: &mut Texts<'a>) {
    texts.add(&edited.path);
    match &edited.diff {
        Some(diff) => texts.add(diff),
        None => texts.add_if_any(edited.new_content.as_deref()),
    }
}

fn of_recalled<'a>(recalled: &'a Recalled, texts: &mut Texts<'a>) {
    texts.add(&recalled.repo_name);
    texts.add(&recalled.repo_directory);
    texts.add(&recalled.repo_instructions);
    texts.add(&recalled.additional_agent_instructions);
    texts.add(&recalled.conversation_instructions);
    for knowledge in &recalled.microagent_knowledge {
        texts.add(&knowledge.name);
        texts.add(&knowledge.trigger);
        texts.add(&knowledge.content);
    }
}
