//! HTML pages that hold all that they need, may load nothing, and show recorded text as text.
//!
//! Markup is written with `maud`, and not put together by hand: whatever stands in one of its templates and is no part of the template
//! is escaped, so that a text becomes markup only where somebody writes `PreEscaped`, which happens in this file alone. A page has no
//! script, and its policy lets none run.

mod bounded;
mod clipped;

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::text::visible;
pub use bounded::{Bounded, LeftOut};
pub use clipped::Clipped;

/// Nothing is loaded, run, sent or framed. Styles stand in the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("style.css");

/// A page that is written while it is made.
pub struct Page<W> {
    out: W,
}

impl<W: Write> Page<W> {
    /// Begins a page. `rules` are styles of its own, which hold nothing that was recorded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(out: W, title: &str, rules: &str) -> io::Result<Self> {
        let mut page = Self { out };
        let head = html! {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="generator" content={ "rekindle " (env!("CARGO_PKG_VERSION")) };
            title { (title) }
            style { (PreEscaped(STYLE)) (PreEscaped(rules)) }
        };
        page.push(&html! { (DOCTYPE) })?;
        page.raw("<html lang=\"en\"><head>")?;
        page.push(&head)?;
        page.raw("</head>\n<body>\n")?;
        Ok(page)
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, piece: &Markup) -> io::Result<()> {
        self.push_str(&piece.0)
    }

    /// Adds a piece that was rendered before. Characters that are obeyed rather than read (controls, escapes, what turns the reading
    /// order) are no part of any markup: here, where every page passes, their names are put in their place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push_str(&mut self, rendered: &str) -> io::Result<()> {
        self.raw(&visible(rendered))?;
        self.raw("\n")
    }

    /// Opens an element that further pieces stand in.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(&mut self, tag: &'static str) -> io::Result<()> {
        self.raw(tag)
    }

    /// Ends the page.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self) -> io::Result<W> {
        self.raw("</body></html>\n")?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn raw(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text() {
        let hostile = "<b a='1'>&\"</b>\u{1b}[31m\u{202e}\0\r\n\t</style></script>";
        let mut page = Page::begin(Vec::new(), hostile, "").unwrap();
        page.push(&html! { p title=(hostile) { (hostile) } }).unwrap();
        let page = String::from_utf8(page.end().unwrap()).unwrap();
        let shown = "&lt;b a='1'&gt;&amp;&quot;&lt;/b&gt;\\e[31m\\u{202e}\\x00\\r\n\t&lt;/style&gt;&lt;/script&gt;";
        assert_eq!(page.matches(shown).count(), 3, "{page}");
        assert!(!page.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')));
    }

    #[test]
    fn a_page_that_has_no_script_runs_none() {
        let page = Page::begin(Vec::new(), "t", "").unwrap().end().unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline';"), "{page}");
        for outside in ["<script", "<link", "src=", "url(", "@import", "http:", "https:"] {
            assert!(!page.contains(outside), "{outside}: {page}");
        }
    }
}
