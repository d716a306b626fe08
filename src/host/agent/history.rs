//! The history of a session as the messages of a conversation.
//!
//! Endpoints refuse a conversation in which a tool call has no result, has two, or has one somewhere else. So the calls of one answer
//! and their results stand together here, whatever happened in between, and what is missing is said to be missing.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::chat::{Call, Message, Part};
use super::metadata::CallMetadata;
use super::{actions, render};
use crate::engine::ports::Past;
use crate::session::action::{Action, Condensation};
use crate::session::observation::Extras;
use crate::session::{Content, Observation, Seq, Source};

/// The result of a call of which nothing is known.
pub const NO_RESULT: &str = "There is no result: the call was not run, or its outcome was lost. Look at the state of things before you \
                             repeat it.";
const ENDED_HERE: &str = "The task was ended here.";
const GO_ON: &str = "Go on with the task; when it is done, call `finish`.";
const BEGINNING_LEFT_OUT: &str = "(What was said before is left out.)";

/// What a model is told of `history`: begins with a user's message and ends with one or with results.
pub fn messages(history: &[Past]) -> Vec<Message> {
    let answers = Answers::of(history);
    let mut conversation = Conversation::default();
    let mut told = HashSet::new();
    for past in history {
        if let Some(answer) = answers.beginning_at(past.seq) {
            conversation.answer(answer, history);
        } else if !answers.told.contains(&past.seq) {
            match &past.item.content {
                Content::Action(action) => conversation.action(action, past.item.source),
                Content::Observation(observation) => conversation.observation(observation, &mut told),
            }
        }
    }
    conversation.finish()
}

/// The answers of the model that hold tool calls.
#[derive(Default)]
struct Answers {
    all: Vec<Answer>,
    beginnings: HashMap<Seq, usize>,
    /// What is told with an answer, and hence not at its own place.
    told: HashSet<Seq>,
}

struct Answer {
    id: Option<String>,
    words: String,
    calls_expected: usize,
    calls: Vec<Asked>,
}

struct Asked {
    call: Call,
    /// The actions that stand for it: a second one is the first again, confirmed.
    actions: Vec<Seq>,
    ends_the_task: bool,
    /// Where in the history its result stands.
    result: Option<usize>,
}

impl Answers {
    fn of(history: &[Past]) -> Self {
        let mut answers = Self::default();
        for (at, past) in history.iter().enumerate() {
            let metadata = past.item.tool_call_metadata.as_ref().and_then(CallMetadata::read);
            match &past.item.content {
                Content::Action(action) if past.item.source != Some(Source::User) => {
                    if let Some(metadata) = metadata {
                        answers.asked(past.seq, action, &metadata);
                    }
                }
                Content::Observation(observation) if render::outcome(observation).is_some() => {
                    answers.resulted(at, past, metadata.as_ref());
                }
                Content::Action(_) | Content::Observation(_) => {}
            }
        }
        answers
    }

    fn asked(&mut self, seq: Seq, action: &Action, metadata: &CallMetadata) {
        let id = metadata.response().map(str::to_owned);
        self.told.insert(seq);
        let last = self.all.last_mut().filter(|answer| answer.id == id);
        if let Some(answer) = last {
            let has_room = answer.id.is_some() && answer.calls.len() < answer.calls_expected;
            match answer.calls.iter_mut().find(|asked| asked.call.id == metadata.tool_call_id) {
                Some(asked) if asked.result.is_none() => return asked.actions.push(seq),
                None if has_room => return answer.calls.push(Asked::of(seq, action, metadata)),
                Some(_) | None => {}
            }
        }
        self.beginnings.insert(seq, self.all.len());
        self.all.push(Answer {
            id,
            words: metadata.words().to_owned(),
            calls_expected: metadata.total_calls_in_response,
            calls: vec![Asked::of(seq, action, metadata)],
        });
    }

    fn resulted(&mut self, at: usize, past: &Past, metadata: Option<&CallMetadata>) {
        let answers = |asked: &&mut Asked| match (past.cause, metadata) {
            (Some(cause), _) => asked.actions.contains(&cause),
            (None, Some(metadata)) => asked.call.id == metadata.tool_call_id,
            (None, None) => false,
        };
        let calls = self.all.iter_mut().rev().flat_map(|answer| &mut answer.calls);
        if let Some(asked) = calls.filter(|asked| asked.result.is_none()).find(answers) {
            asked.result = Some(at);
            self.told.insert(past.seq);
        }
    }

    fn beginning_at(&self, seq: Seq) -> Option<&Answer> {
        self.all.get(*self.beginnings.get(&seq)?)
    }
}

impl Asked {
    fn of(seq: Seq, action: &Action, metadata: &CallMetadata) -> Self {
        let arguments = metadata.recorded_arguments().unwrap_or_else(|| actions::arguments(action));
        Self {
            call: Call { id: metadata.tool_call_id.clone(), name: metadata.function_name.clone(), arguments },
            actions: vec![seq],
            ends_the_task: matches!(action, Action::Finish(_) | Action::Reject(_)),
            result: None,
        }
    }
}

#[derive(Default)]
struct Conversation {
    messages: Vec<Message>,
}

impl Conversation {
    fn answer(&mut self, answer: &Answer, history: &[Past]) {
        let calls = answer.calls.iter().map(|asked| asked.call.clone()).collect();
        self.messages.push(Message::Assistant { text: answer.words.clone(), calls });
        for asked in &answer.calls {
            let observed = asked.result.and_then(|at| match &history.get(at)?.item.content {
                Content::Observation(observation) => render::outcome(observation),
                Content::Action(_) => None,
            });
            let missing = if asked.ends_the_task { ENDED_HERE } else { NO_RESULT };
            let text = observed.unwrap_or_else(|| missing.to_owned());
            self.messages.push(Message::Result { call: asked.call.id.clone(), tool: asked.call.name.clone(), text });
        }
    }

    fn action(&mut self, action: &Action, source: Option<Source>) {
        match action {
            Action::Message(message) if source == Some(Source::Agent) => self.assistant(&message.content),
            Action::Message(message) => {
                self.tell(Part::Text(message.content.clone()));
                message.image_urls.iter().flatten().for_each(|url| self.tell(Part::Image(url.clone())));
            }
            Action::Condensation(condensation) => self.tell(Part::Text(of_condensation(condensation))),
            other => {
                let who = if source == Some(Source::User) { "The user" } else { "You, earlier" };
                if let Some(done) = render::action(other) {
                    self.tell(Part::Text(format!("[{who}] {done}")));
                }
            }
        }
    }

    fn observation(&mut self, observation: &Observation, told: &mut HashSet<String>) {
        let text = match &observation.extras {
            Extras::Recall(recalled) => render::recalled(recalled, told).map(|text| format!("[Context]\n{text}")),
            _ => render::outcome(observation),
        };
        if let Some(text) = text {
            self.tell(Part::Text(text));
        }
    }

    fn assistant(&mut self, words: &str) {
        if !words.trim().is_empty() {
            self.messages.push(Message::Assistant { text: words.to_owned(), calls: Vec::new() });
        }
    }

    /// Adds to what the user said last: some endpoints refuse two messages of one role in a row.
    fn tell(&mut self, part: Part) {
        if matches!(&part, Part::Text(text) if text.is_empty()) {
            return;
        }
        match self.messages.last_mut() {
            Some(Message::User { parts }) => parts.push(part),
            _ => self.messages.push(Message::User { parts: vec![part] }),
        }
    }

    fn finish(mut self) -> Vec<Message> {
        if !matches!(self.messages.first(), None | Some(Message::User { .. })) {
            self.messages.insert(0, Message::User { parts: vec![Part::Text(BEGINNING_LEFT_OUT.to_owned())] });
        }
        if matches!(self.messages.last(), None | Some(Message::Assistant { .. })) {
            self.tell(Part::Text(GO_ON.to_owned()));
        }
        self.messages
    }
}

fn of_condensation(condensation: &Condensation) -> String {
    match condensation.summary.as_deref().filter(|summary| !summary.is_empty()) {
        Some(summary) => format!("[What happened before, in short]\n{summary}"),
        None => BEGINNING_LEFT_OUT.to_owned(),
    }
}

/// The ids of the tool calls in `history`.
pub fn call_ids(history: &[Past]) -> HashSet<String> {
    let metadata = |past: &Past| past.item.tool_call_metadata.as_ref().and_then(CallMetadata::read);
    history.iter().filter_map(metadata).map(|metadata| metadata.tool_call_id).collect()
}

/// An object of `entries` without those that are null.
pub fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::Item;
    use crate::session::action::{Finish, Message as Said, Recall, RecallType, Run};
    use crate::session::observation::{CommandMetadata, MicroagentKnowledge, Recalled, RunOutput};

    /// Builds a history, event by event.
    #[derive(Default)]
    struct Story(Vec<Past>);

    impl Story {
        fn put(&mut self, item: impl Into<Item>, source: Source, cause: Option<u64>) -> u64 {
            let mut item = item.into();
            item.source = Some(source);
            let seq = self.0.len() as u64 + 1;
            self.0.push(Past { seq: Seq(seq), cause: cause.map(Seq), item });
            seq
        }

        fn user(&mut self, words: &str) -> u64 {
            self.put(Action::Message(Said { content: words.into(), ..Said::default() }), Source::User, None)
        }

        fn agent(&mut self, words: &str) -> u64 {
            self.put(Action::Message(Said { content: words.into(), ..Said::default() }), Source::Agent, None)
        }

        /// A shell command that the model asked for in `response`.
        fn bash(&mut self, response: &str, id: &str, total: usize) -> u64 {
            let mut item = Item::from(run(&format!("echo {id}")));
            item.tool_call_metadata = CallMetadata::new("bash", id, response, "", total).write();
            self.put(item, Source::Agent, None)
        }

        fn printed(&mut self, cause: u64, words: &str) -> u64 {
            let run = RunOutput { command: String::new(), metadata: CommandMetadata::default(), hidden: false };
            self.put(Observation { content: words.into(), extras: Extras::Run(run) }, Source::Environment, Some(cause))
        }

        fn told(&self) -> Vec<String> {
            messages(&self.0).iter().map(show).collect()
        }
    }

    fn run(command: &str) -> Action {
        serde_json::from_value::<Run>(json!({ "command": command })).map(Action::Run).unwrap()
    }

    fn show(message: &Message) -> String {
        match message {
            Message::User { parts } => {
                let part = |part: &Part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Image(url) => format!("<{url}>"),
                };
                format!("user: {}", parts.iter().map(part).collect::<Vec<_>>().join(" + "))
            }
            Message::Assistant { text, calls } => {
                let calls: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
                format!("assistant: {text}{calls:?}")
            }
            Message::Result { call, text, .. } => format!("result of {call}: {text}"),
        }
    }

    /// What every endpoint asks of a conversation.
    fn assert_protocol(messages: &[Message]) {
        assert!(matches!(messages.first(), Some(Message::User { .. })), "{messages:?}");
        assert!(!matches!(messages.last(), Some(Message::Assistant { .. })), "{messages:?}");
        let mut owed: Vec<&str> = Vec::new();
        for message in messages {
            match message {
                Message::Result { call, text, .. } => {
                    assert!(!text.trim().is_empty());
                    assert_eq!(owed.iter().position(|id| id == call), Some(0), "{call} is not owed next: {owed:?}");
                    owed.remove(0);
                }
                Message::Assistant { calls, .. } => {
                    assert!(owed.is_empty(), "{owed:?} have no result");
                    owed.extend(calls.iter().map(|call| call.id.as_str()));
                }
                Message::User { .. } => assert!(owed.is_empty(), "{owed:?} have no result"),
            }
        }
        assert!(owed.is_empty(), "{owed:?} have no result");
    }

    #[test]
    fn the_calls_of_one_answer_stand_together_with_their_results_right_behind_them() {
        let mut story = Story::default();
        story.user("do it");
        let (a, b) = (story.bash("r1", "a", 2), story.bash("r1", "b", 2));
        story.printed(b, "B");
        story.user("hurry");
        story.printed(a, "A");
        assert_eq!(story.told(), ["user: do it", r#"assistant: ["a", "b"]"#, "result of a: A", "result of b: B", "user: hurry"]);
    }

    #[test]
    fn calls_that_ran_one_after_the_other_still_belong_to_their_answer() {
        let mut story = Story::default();
        story.user("do it");
        let a = story.bash("r1", "a", 2);
        story.printed(a, "A");
        let b = story.bash("r1", "b", 2);
        story.printed(b, "B");
        let c = story.bash("r2", "c", 1);
        story.printed(c, "C");
        assert_eq!(
            story.told(),
            [
                "user: do it",
                r#"assistant: ["a", "b"]"#,
                "result of a: A",
                "result of b: B",
                r#"assistant: ["c"]"#,
                "result of c: C"
            ]
        );
    }

    #[test]
    fn a_missing_result_is_said_to_be_missing() {
        let mut story = Story::default();
        story.user("do it");
        story.bash("r1", "a", 1);
        story.user("and now?");
        let told = story.told();
        assert_eq!(told[2], format!("result of a: {NO_RESULT}"));
        assert_eq!(told[3], "user: and now?");
    }

    #[test]
    fn a_second_result_is_told_but_is_no_result() {
        let mut story = Story::default();
        story.user("do it");
        let a = story.bash("r1", "a", 1);
        story.printed(a, "first");
        story.printed(a, "second");
        assert_eq!(story.told(), ["user: do it", r#"assistant: ["a"]"#, "result of a: first", "user: second"]);
    }

    #[test]
    fn an_action_that_was_confirmed_later_is_one_call() {
        let mut story = Story::default();
        story.user("do it");
        story.bash("r1", "a", 1);
        let confirmed = story.bash("r1", "a", 1);
        story.printed(confirmed, "A");
        assert_eq!(story.told(), ["user: do it", r#"assistant: ["a"]"#, "result of a: A"]);
    }

    #[test]
    fn an_endpoint_that_repeats_its_ids_is_not_misunderstood() {
        let mut story = Story::default();
        story.user("do it");
        for words in ["one", "two"] {
            let a = story.bash("same", "call_0", 1);
            story.printed(a, words);
        }
        assert_eq!(
            story.told()[1..],
            [r#"assistant: ["call_0"]"#, "result of call_0: one", r#"assistant: ["call_0"]"#, "result of call_0: two"]
        );
    }

    #[test]
    fn a_result_is_found_by_its_call_where_no_cause_is_known() {
        let mut story = Story::default();
        story.user("do it");
        story.bash("r1", "a", 1);
        let mut item = Item::from(Observation::error("no such file", ""));
        item.tool_call_metadata = CallMetadata::new("bash", "a", "r1", "", 1).write();
        story.put(item, Source::Agent, None);
        assert_eq!(story.told()[2], "result of a: Error: no such file");
    }

    #[test]
    fn a_task_that_was_finished_goes_on_when_the_user_speaks() {
        let mut story = Story::default();
        story.user("do it");
        let mut item = Item::from(Action::Finish(Finish { final_thought: "done".into(), ..Finish::default() }));
        item.tool_call_metadata = CallMetadata::new("finish", "f", "r1", "Ready.", 1).write();
        story.put(item, Source::Agent, None);
        story.user("one more thing");
        assert_eq!(
            story.told(),
            ["user: do it", r#"assistant: Ready.["f"]"#, "result of f: The task was ended here.", "user: one more thing"]
        );
    }

    #[test]
    fn what_the_user_did_and_saw_is_told_by_the_user() {
        let mut story = Story::default();
        let ran = story.put(run("ls"), Source::User, None);
        story.printed(ran, "a.txt");
        let picture =
            Said { content: "look".into(), image_urls: Some(vec!["data:image/png;base64,AA==".into()]), ..Said::default() };
        story.put(Action::Message(picture), Source::User, None);
        assert_eq!(story.told(), ["user: [The user] Running command: ls + a.txt + look + <data:image/png;base64,AA==>"]);
    }

    #[test]
    fn context_is_told_and_the_same_knowledge_only_once() {
        let recalled = |knowledge: &[&str]| {
            let microagent = |name: &&str| MicroagentKnowledge {
                name: (*name).to_owned(),
                trigger: "git".into(),
                content: format!("about {name}"),
            };
            let mut recalled: Recalled = serde_json::from_value(json!({"recall_type": "knowledge"})).unwrap();
            recalled.microagent_knowledge = knowledge.iter().map(microagent).collect();
            Observation { content: String::new(), extras: Extras::Recall(Box::new(recalled)) }
        };
        let mut story = Story::default();
        story.user("use git");
        let question = Recall { recall_type: RecallType::Knowledge, query: "use git".into(), thought: String::new() };
        let asked = story.put(Action::Recall(question), Source::User, None);
        story.put(recalled(&["git"]), Source::Environment, Some(asked));
        story.agent("Which branch?");
        story.user("main, with git");
        story.put(recalled(&["git", "branches"]), Source::Environment, None);
        story.put(recalled(&["git"]), Source::Environment, None);
        assert_eq!(
            story.told(),
            [
                "user: use git + [Context]\n# git, which may help because of \"git\"\nabout git",
                "assistant: Which branch?[]",
                "user: main, with git + [Context]\n# branches, which may help because of \"git\"\nabout branches"
            ]
        );
    }

    #[test]
    fn all_that_memory_knows_of_the_workspace_is_told() {
        let recalled = json!({"recall_type": "workspace_context", "repo_name": "o/r", "repo_directory": "/workspace/r", "repo_branch": "b1",
            "repo_instructions": "Be kind.", "runtime_hosts": {"http://h": 8080}, "additional_agent_instructions": "More.",
            "date": "2026-11-23", "custom_secrets_descriptions": {"TOKEN": "for the registry", "BARE": ""},
            "conversation_instructions": "In German.", "working_dir": "/workspace"});
        let recalled: Recalled = serde_json::from_value(recalled).unwrap();
        let text = render::recalled(&recalled, &mut HashSet::new()).unwrap();
        for told in [
            "o/r is at /workspace/r, on branch b1",
            "Be kind.",
            "8080",
            "http://h",
            "More.",
            "2026-11-23",
            "In German.",
            "- TOKEN: for the registry\n- BARE\n",
            "working directory is /workspace",
        ] {
            assert!(text.contains(told), "{told:?} is missing in {text}");
        }
    }

    #[test]
    fn a_summary_stands_for_what_was_forgotten_and_a_conversation_begins_with_the_user() {
        let mut story = Story::default();
        let summary = Condensation { summary: Some("Half is done.".into()), ..Condensation::default() };
        story.put(Action::Condensation(summary), Source::Agent, None);
        let a = story.bash("r9", "a", 1);
        story.printed(a, "A");
        assert_eq!(story.told()[0], "user: [What happened before, in short]\nHalf is done.");
        let mut story = Story::default();
        let a = story.bash("r9", "a", 1);
        story.printed(a, "A");
        assert_eq!(story.told()[0], format!("user: {BEGINNING_LEFT_OUT}"));
        assert_eq!(Story::default().told(), [format!("user: {GO_ON}")]);
    }

    #[test]
    fn a_conversation_does_not_end_with_the_model() {
        let mut story = Story::default();
        story.user("do it");
        story.agent("I will.");
        assert_eq!(story.told(), ["user: do it", "assistant: I will.[]", &format!("user: {GO_ON}")]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_happened_the_conversation_is_one_that_endpoints_take(steps in proptest::collection::vec((0_u8..7, 0_u64..12), 0..40)) {
            let mut story = Story::default();
            for (step, n) in steps {
                match step {
                    0 => story.user("u"),
                    1 => story.agent("a"),
                    2 => story.bash(&format!("r{}", n / 3), &format!("c{n}"), 3),
                    3 => story.bash("", &format!("c{n}"), 1),
                    4 => story.printed(n, ""),
                    5 => story.put(Action::Condensation(Condensation::default()), Source::Agent, None),
                    _ => story.put(run("ls"), if n % 2 == 0 { Source::User } else { Source::Agent }, None),
                };
            }
            assert_protocol(&messages(&story.0));
        }
    }
}
