//! Colour, where people look and want it.

use std::fmt;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` or `CLICOLOR=0` says otherwise
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// A heading or a name.
    Strong,
    /// Beside the point.
    Dim,
    /// It went well.
    Good,
    /// A person should look.
    Warn,
    /// It went wrong.
    Bad,
    /// Somebody speaks.
    Voice,
}

/// Paints, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Whether to paint on `stream`.
    pub fn on(when: ColorWhen, stream: &impl IsTerminal) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let on = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto if set("NO_COLOR").is_some() => false,
            ColorWhen::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            ColorWhen::Auto => {
                let dumb = set("TERM").is_some_and(|term| term == "dumb");
                stream.is_terminal() && !dumb && set("CLICOLOR").is_none_or(|value| value != "0")
            }
        };
        Self { on }
    }

    /// The text in this tone.
    pub fn tone<T: fmt::Display>(self, tone: Tone, text: T) -> Painted<T> {
        Painted { style: (self.on && tone != Tone::Plain).then(|| tone.style()), text }
    }

    /// Beside the point.
    pub fn dim<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.tone(Tone::Dim, text)
    }

    /// A heading or a name.
    pub fn strong<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.tone(Tone::Strong, text)
    }
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Voice => AnsiColor::Cyan.on_default(),
        }
    }
}

/// A text and the style that it is shown in.
#[derive(Debug, Clone, Copy)]
pub struct Painted<T> {
    style: Option<Style>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            // Padding belongs inside of the style, so that columns stay straight.
            Some(style) => {
                style.fmt(f)?;
                self.text.fmt(f)?;
                style.render_reset().fmt(f)
            }
            None => self.text.fmt(f),
        }
    }
}
