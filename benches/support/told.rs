//! Sessions with a vocabulary: a few words that are everywhere, tens of thousands that are rare, as people and programs write.

use rekindle::session::event::{Briefed, Entry};
use rekindle::session::{Digest, Event, EventId, Item, NewEvent, Source, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::chance::Chance;

/// How many words there are.
const WORDS: f64 = 60_000.0;
/// What the words are made of.
const SYLLABLES: [&str; 24] = [
    "ra", "ten", "mo", "li", "sta", "ve", "con", "per", "ti", "on", "lo", "gin", "ser", "ver", "ca", "che", "in", "dex", "re",
    "do", "un", "map", "fil", "ter",
];
/// The models that decide in the sessions.
pub const MODELS: [&str; 3] = ["anthropic/claude-bench", "openai/gpt-bench", "qwen-bench"];
/// An error that a session in a thousand meets.
pub const ERROR: &str = "error[E0502]: cannot borrow `*self.writer` as mutable because it is also borrowed as immutable";

/// An endless session.
pub struct Told {
    chance: Chance,
    at: i64,
}

impl Told {
    pub const fn new(seed: u64) -> Self {
        // Minutes apart, so that a million events take up two years.
        Self { chance: Chance::new(seed), at: 1_735_689_600_000_000 }
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.chance.below(bound)
    }

    /// Of the words the n-th is n times as rare as the first.
    fn word(&mut self) -> String {
        let unit = self.below(1 << 52) as f64 / (1_u64 << 52) as f64;
        word(WORDS.powf(unit) as usize - 1)
    }

    fn text(&mut self, count: u64) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn path(&mut self) -> String {
        format!("src/{}/{}.rs", self.word(), self.word())
    }

    fn output(&mut self, bytes: usize) -> String {
        let mut output = String::new();
        while output.len() < bytes {
            let (path, line) = (self.path(), self.below(900));
            output.push_str(&format!("{path}:{line}: {}\n", self.text(8)));
        }
        if self.below(1000) == 0 {
            output.push_str(ERROR);
        }
        output
    }

    fn event(&mut self, source: Source, event: &Event) -> NewEvent {
        self.at += 1 + self.below(120_000_000) as i64;
        NewEvent {
            id: EventId::from_uuid(Uuid::now_v7()),
            kind: event.kind(),
            v: 1,
            at: Timestamp(self.at),
            source,
            cause: None,
            must_understand: false,
            body: event.body(),
        }
    }

    fn item(&mut self, source: Source, item: &Value) -> NewEvent {
        let item = Item::decode(&item.to_string()).expect("an item");
        self.event(source, &Event::Item(Box::new(Entry::new(item))))
    }

    /// What a session begins with.
    pub fn briefed(&mut self) -> NewEvent {
        let model = MODELS[self.below(3) as usize].to_owned();
        let nothing = Digest::of(b"");
        let briefed =
            Briefed { agent: "coder".to_owned(), model, prompt: nothing, tools: nothing, names: vec!["bash".to_owned()] };
        self.event(Source::Environment, &Event::Briefed(briefed))
    }

    /// What comes next.
    pub fn next_event(&mut self) -> NewEvent {
        match self.below(20) {
            0..2 => {
                let source = if self.below(4) == 0 { Source::User } else { Source::Agent };
                let count = 25 + self.below(120);
                let item = json!({"source": source.as_str(), "action": "message", "args": {"content": self.text(count)}});
                self.item(source, &item)
            }
            2..10 => {
                let (thought, path) = (8 + self.below(30), self.path());
                let command = format!("cd /workspace/{} && {} -n {} {path}", self.word(), self.word(), self.below(500));
                let args = json!({"command": command, "thought": self.text(thought)});
                self.item(Source::Agent, &json!({"source": "agent", "action": "run", "args": args}))
            }
            10 => {
                let path = self.path();
                let args = json!({"path": path, "content": self.output(1500), "thought": self.text(12)});
                self.item(Source::Agent, &json!({"source": "agent", "action": "write", "args": args}))
            }
            _ => {
                let bytes = match self.below(10) {
                    0..5 => 120 + self.below(500),
                    5..9 => 600 + self.below(1400),
                    _ => 2000 + self.below(6000),
                };
                let command = format!("{} {}", self.word(), self.path());
                let extras = json!({"command": command, "metadata": {"exit_code": 0}});
                let item = json!({"observation": "run", "content": self.output(bytes as usize), "extras": extras, "cause": 1});
                self.item(Source::Environment, &item)
            }
        }
    }
}

/// The word of this rank, the commonest first.
pub fn word(mut rank: usize) -> String {
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[rank % SYLLABLES.len()]);
        rank /= SYLLABLES.len();
        if rank == 0 {
            return word;
        }
        rank -= 1;
    }
}
