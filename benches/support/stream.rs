//! A deterministic stream of events like those of an agent's session, about 0.9 KB of JSON each.
//!
//! The generator is xorshift64*, so that other programs can make the same bytes.

use std::fmt::Write as _;

use super::chance::Chance;

const WORDS: &str = "the a of to in is for error file test build run path value function return class import module config server client session event \
append replay state log store index query table column row key cache retry timeout thread async await future task worker queue lock \
commit rollback branch merge diff patch version release update install package dependency compile link warning note help trait impl \
struct enum match pattern string number bool option result none some ok err panic unwrap expect assert equal failed passed ignored \
measured filtered finished time seconds memory bytes size length offset limit page cursor scan insert select delete where order by \
group having join left right inner outer on using with recursive explain analyze vacuum pragma journal mode wal checkpoint synchronous \
full normal off user agent assistant message content tool call argument output command exit code stdout stderr stream chunk token model \
prompt context window summary plan step next previous check verify look inspect read write edit create remove rename move copy list \
directory folder tree root home tmp var etc usr bin lib share local src tests docs examples target debug release main mod util helper";
const FILES: [&str; 12] = [
    "src/main.rs",
    "src/lib.rs",
    "src/session/mod.rs",
    "src/session/store.rs",
    "tests/replay.rs",
    "Cargo.toml",
    "README.md",
    "pkg/api/server.py",
    "pkg/api/routes.py",
    "tests/test_api.py",
    "web/src/App.tsx",
    "migrations/0001_init.sql",
];

/// An endless recording.
pub struct Stream {
    chance: Chance,
    words: Vec<&'static str>,
    at_ms: i64,
    index: u64,
}

impl Stream {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), words: WORDS.split_whitespace().collect(), at_ms: 1_767_225_600_000, index: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.below(bound)
    }

    fn word(&mut self) -> &'static str {
        let index = self.below(self.words.len() as u64) as usize;
        self.words[index]
    }

    fn file(&mut self) -> &'static str {
        FILES[self.below(12) as usize]
    }

    fn text(&mut self, count: u64) -> String {
        let mut text = String::new();
        for index in 0..count {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(self.word());
        }
        text
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut hex = String::new();
        while hex.len() < digits {
            let number = self.chance.next();
            let _ = write!(hex, "{number:016x}");
        }
        hex.truncate(digits);
        hex
    }

    fn output(&mut self, target: usize) -> String {
        let style = self.below(4);
        let mut lines: Vec<String> = Vec::new();
        let mut length = 0;
        while length < target {
            let line = match style {
                0 => {
                    let size = self.below(900_000);
                    let (day, hour, minute) = (1 + self.below(28), self.below(24), self.below(60));
                    format!("-rw-r--r-- 1 dev dev {size:7} Jan {day:2} {hour:02}:{minute:02} {}", self.file())
                }
                1 => {
                    let (a, b, c) = (self.word(), self.word(), self.word());
                    format!("test {a}::{b}_{c} ... {}", if self.below(12) > 0 { "ok" } else { "FAILED" })
                }
                2 => {
                    let (file, line) = (self.file(), 1 + self.below(900));
                    let (a, b, c, d) = (self.word(), self.word(), self.word(), self.word());
                    format!("{file}:{line}:    let {a} = {b}.{c}({d})?; // {}", self.text(3))
                }
                _ => {
                    let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
                    let (word, text) = (self.word(), self.text(6));
                    format!("[{hour:02}:{minute:02}:{second:02}] INFO {word}: {text} id={}", self.hex(8))
                }
            };
            length += line.len() + 1;
            lines.push(line);
        }
        lines.join("\\n")
    }

    /// The next event: kind, source, JSON, milliseconds.
    pub fn next_line(&mut self) -> (&'static str, &'static str, String, i64) {
        self.at_ms += 200 + self.below(4000) as i64;
        let mut line = format!(r#"{{"v":1,"id":"ev-{}","seq":{},"ts_ms":{}"#, self.hex(24), self.index, self.at_ms);
        self.index += 1;
        let (kind, source) = match self.below(20) {
            0..2 => {
                let source = if self.below(4) == 0 { "user" } else { "agent" };
                let count = 25 + self.below(120);
                let text = self.text(count);
                let _ = write!(
                    line,
                    r#","kind":"message","source":"{source}","role":"assistant","content":[{{"type":"text","text":"{text}"}}]"#
                );
                ("action.message", source)
            }
            2..11 => {
                let call = self.hex(24);
                let count = 8 + self.below(30);
                let thought = self.text(count);
                let (folder, tool, number, file) = (self.word(), self.word(), self.below(500), self.file());
                let (prompt, completion) = (1000 + self.below(90_000), 20 + self.below(900));
                let _ = write!(
                    line,
                    r#","kind":"action","source":"agent","tool":"run_command","call_id":"call_{call}","thought":"{thought}","args":{{"command":"cd /workspace/{folder} && {tool} -n {number} {file}","timeout":120,"is_input":"false"}},"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"model":"model-x-2026-01"}},"security_risk":"LOW""#
                );
                ("action.run", "agent")
            }
            _ => {
                let target = match self.below(10) {
                    0..5 => 120 + self.below(500),
                    5..9 => 600 + self.below(1400),
                    _ => 2000 + self.below(1700),
                };
                let call = self.hex(24);
                let exit = u8::from(self.below(8) == 0);
                let (pid, folder) = (self.below(32_768), self.word());
                let content = self.output(target as usize);
                let _ = write!(
                    line,
                    r#","kind":"observation","source":"environment","tool":"run_command","call_id":"call_{call}","exit_code":{exit},"metadata":{{"pid":{pid},"username":"dev","hostname":"sandbox","working_dir":"/workspace/{folder}","py_interpreter_path":"/usr/bin/python3"}},"content":"{content}""#
                );
                ("observation.run", "environment")
            }
        };
        line.push('}');
        (kind, source, line, self.at_ms)
    }
}
