//! Reads a page as a browser does, with Python's own parser.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Says of a page: its elements, their attributes, its text, its styles, and what is not closed as it was opened.
const READER: &str = r#"
import json, sys
from html.parser import HTMLParser
VOID = {'meta', 'br', 'input', 'link', 'img', 'base', 'hr'}
class Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attrs, self.text, self.style, self.bad = [], {}, [], [], [], []
        self.comments = []
    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attrs += [[tag, name, value] for name, value in attrs]
        if tag not in VOID: self.open.append(tag)
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag: self.bad.append(tag)
    def handle_data(self, data):
        (self.style if self.open and self.open[-1] == 'style' else self.text).append(data)
    def handle_comment(self, data): self.comments.append(data)
    def handle_pi(self, data): self.comments.append(data)
    def unknown_decl(self, data): self.comments.append(data)
reader = Reader()
reader.feed(sys.stdin.buffer.read().decode('utf-8'))
reader.close()
print(json.dumps({'tags': reader.tags, 'attrs': reader.attrs, 'text': '\n'.join(reader.text), 'style': ''.join(reader.style),
                  'bad': reader.bad + reader.open, 'comments': reader.comments}))
"#;

/// A page as it was read.
pub struct Read {
    pub text: String,
    pub style: String,
    pub page: String,
    tags: Value,
    attrs: Vec<(String, String, Option<String>)>,
}

impl Read {
    /// Reads a page.
    #[track_caller]
    pub fn of(page: &str) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().expect("python3 is needed");
        let (mut stdin, sent) = (child.stdin.take().unwrap(), page.to_owned());
        let sender = std::thread::spawn(move || stdin.write_all(sent.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        sender.join().unwrap();
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read["bad"], serde_json::json!([]), "every element is closed where it was opened");
        assert_eq!(read["comments"], serde_json::json!([]));
        Self {
            text: read["text"].as_str().unwrap().to_owned(),
            style: read["style"].as_str().unwrap().to_owned(),
            page: page.to_owned(),
            tags: read["tags"].clone(),
            attrs: serde_json::from_value(read["attrs"].clone()).unwrap(),
        }
    }

    /// How many elements of a kind there are.
    pub fn count(&self, tag: &str) -> u64 {
        self.tags[tag].as_u64().unwrap_or(0)
    }

    /// The values of an attribute.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.attrs.iter().filter(|attr| attr.1 == name).filter_map(|attr| attr.2.as_deref()).collect()
    }

    /// Fails unless the page holds all that it needs, runs nothing, and may load nothing.
    #[track_caller]
    pub fn assert_needs_nothing(&self) {
        for tag in
            ["script", "img", "link", "iframe", "object", "embed", "base", "form", "image", "use", "foreignobject", "video"]
        {
            assert_eq!(self.count(tag), 0, "<{tag}>");
        }
        let policy = self.attrs.iter().find(|attr| attr.0 == "meta" && attr.1 == "content").and_then(|attr| attr.2.as_deref());
        let policy = policy.unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'unsafe-inline';") && !policy.contains("script-src"),
            "{policy}"
        );
        assert!(self.values("http-equiv").contains(&"Content-Security-Policy"));
        let before = self.page.split("Content-Security-Policy").next().unwrap();
        assert!(!before.contains("<style") && !before.contains("<title"), "the policy stands before what it is about");
        for (tag, name, value) in &self.attrs {
            let value = value.as_deref().unwrap_or_default();
            assert!(!name.starts_with("on") && name != "style" && name != "src" && name != "srcset", "<{tag} {name}>");
            if name.ends_with("href") {
                assert!(value.starts_with('#'), "<{tag} {name}={value:?}>");
            }
        }
        for outside in ["url(", "@import", "http:", "https:", "expression(", "image("] {
            assert!(!self.style.contains(outside), "{outside}");
        }
        let hidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!self.page.contains(hidden), "{:?}", self.page.chars().find(|c| hidden(*c)));
    }

    /// Fails unless every link leads to something, and nothing is named twice.
    #[track_caller]
    pub fn assert_leads_somewhere(&self) {
        let mut ids = self.values("id");
        let many = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), many, "no anchor is there twice");
        for href in self.values("href") {
            assert!(ids.binary_search(&&href[1..]).is_ok(), "{href} leads nowhere");
        }
    }
}
