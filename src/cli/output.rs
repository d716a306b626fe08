//! Standard output: data and nothing else. The only place that writes to it.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;

use super::paint::{ColorWhen, Paint, Painted, Tone};
use super::text;

/// What can be relied on, for people.
pub const RULES: &str = "  Data goes to standard output, everything else to standard error.
  -o json is one document, -o ndjson one a line. Fields are added, never changed.
  An event is {session, seq, id, kind, v, at, source, cause, must_understand,
  redacted, hash, body}, a damaged one {session, seq, damaged}. Those of
  `tail --all` have a cursor too, behind which `--after` goes on.
  Moments are RFC 3339 in UTC; within body and state, which are as they are
  stored, they are as they are stored.";

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON document a line
    Ndjson,
}

/// Standard output.
pub struct Out {
    writer: BufWriter<Stdout>,
    /// How data is written.
    pub format: Format,
    /// Its colours.
    pub paint: Paint,
    terminal: bool,
    indent: &'static str,
}

impl Out {
    /// Standard output, written in this format.
    pub fn new(format: Format, color: ColorWhen) -> Self {
        let stdout = io::stdout();
        let (paint, terminal) = (Paint::on(color, &stdout), stdout.is_terminal());
        Self { writer: BufWriter::with_capacity(64 * 1024, stdout), format, paint, terminal, indent: "" }
    }

    /// Whether people read.
    pub const fn is_table(&self) -> bool {
        matches!(self.format, Format::Table)
    }

    /// One line of text. Recorded text in it has gone through [`text::visible`] or [`text::one_line`].
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn line(&mut self, line: impl fmt::Display) -> io::Result<()> {
        if self.indent.is_empty() {
            return writeln!(self.writer, "{line}");
        }
        let lines = line.to_string();
        for line in lines.split('\n') {
            if line.is_empty() {
                writeln!(self.writer)?;
            } else {
                writeln!(self.writer, "{}{line}", self.indent)?;
            }
        }
        Ok(())
    }

    /// Sets every line that follows in from the left: part of a story, not the story.
    pub const fn inset(&mut self, inset: bool) {
        self.indent = if inset { "   " } else { "" };
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// One JSON document on one line.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn ndjson(&mut self, value: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_string(value)?;
        self.json_text(&json)
    }

    /// One JSON document: indented for `json`, on one line for `ndjson`.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        match self.format {
            Format::Ndjson => self.ndjson(value),
            Format::Json | Format::Table => {
                let json = serde_json::to_string_pretty(value)?;
                self.json_text(&json)
            }
        }
    }

    /// A list of documents: one JSON array, or one document a line.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn json_list<T: Serialize>(&mut self, values: impl IntoIterator<Item = T>) -> io::Result<()> {
        let mut list = JsonList::begin(self)?;
        for value in values {
            list.push(self, &value)?;
        }
        list.end(self)
    }

    fn json_text(&mut self, json: &str) -> io::Result<()> {
        // A pipe gets every byte as it is; a terminal must not obey what it is shown.
        let json = if self.terminal { text::visible_json(json) } else { json.into() };
        self.writer.write_all(json.as_bytes())?;
        self.writer.write_all(b"\n")
    }

    /// Shows what was written so far.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A list that is written while it is read.
pub struct JsonList {
    written: u64,
}

impl JsonList {
    /// Begins a list.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn begin(out: &mut Out) -> io::Result<Self> {
        if out.format == Format::Json {
            out.raw(b"[")?;
        }
        Ok(Self { written: 0 })
    }

    /// Adds one document.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn push(&mut self, out: &mut Out, value: &impl Serialize) -> io::Result<()> {
        if out.format == Format::Json {
            out.raw(if self.written > 0 { b",\n " } else { b"\n " })?;
            let json = serde_json::to_string(value)?;
            let json = if out.terminal { text::visible_json(&json) } else { json.as_str().into() };
            out.raw(json.as_bytes())?;
        } else {
            out.ndjson(value)?;
        }
        self.written += 1;
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn end(self, out: &mut Out) -> io::Result<()> {
        if out.format == Format::Json {
            out.raw(if self.written > 0 { b"\n]\n" } else { b"]\n" })?;
        }
        Ok(())
    }
}

/// One cell of a table: a text on one line, and its tone.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A cell; what a terminal would obey is escaped.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { text: text::one_line(text.as_ref()).into_owned(), tone: None }
    }

    /// The same in a tone.
    #[must_use]
    pub const fn tone(mut self, tone: Tone) -> Self {
        self.tone = Some(tone);
        self
    }
}

/// Which side of its column a cell keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// Writes a table: columns as wide as their widest cell, two spaces between, no trailing space.
///
/// # Errors
/// When nobody reads any more.
pub fn table(out: &mut Out, columns: &[(&str, Side)], rows: &[Vec<Cell>]) -> io::Result<()> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, (title, _))| {
            rows.iter()
                .filter_map(|row| row.get(index))
                .map(|cell| text::width(&cell.text))
                .max()
                .unwrap_or(0)
                .max(text::width(title))
        })
        .collect();
    let titles: Vec<Cell> = columns.iter().map(|(title, _)| Cell::new(title).tone(Tone::Dim)).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (index, ((cell, (_, side)), &wide)) in row.iter().zip(columns).zip(&widths).enumerate() {
            let pad = " ".repeat(wide.saturating_sub(text::width(&cell.text)));
            let painted: Painted<&str> = out.paint.tone(cell.tone.unwrap_or(Tone::Plain), cell.text.as_str());
            let gap = if index > 0 { "  " } else { "" };
            let last = index + 1 == row.len();
            match side {
                Side::Left if last => line.push_str(&format!("{gap}{painted}")),
                Side::Left => line.push_str(&format!("{gap}{painted}{pad}")),
                Side::Right => line.push_str(&format!("{gap}{pad}{painted}")),
            }
        }
        out.line(line.trim_end())?;
    }
    Ok(())
}
