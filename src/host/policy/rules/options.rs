//! Arguments as options and operands.

use crate::host::policy::shell::Arg;

/// Arguments of a program that reads them as most do.
pub(in crate::host::policy) struct Options<'a> {
    args: &'a [Arg],
    /// Short options that take the next argument as their value.
    valued: &'static str,
}

impl<'a> Options<'a> {
    /// Of a program whose short options in `valued` take a value.
    pub fn of(args: &'a [Arg], valued: &'static str) -> Self {
        Self { args, valued }
    }

    fn before_end(&self) -> impl Iterator<Item = &'a Arg> {
        self.args.iter().take_while(|arg| arg.text != "--")
    }

    /// Whether `-x`, alone or among others, or `--long` is there.
    pub fn has(&self, short: char, long: &str) -> bool {
        self.before_end().any(|arg| match arg.text.strip_prefix("--") {
            Some(name) => !long.is_empty() && name.split('=').next() == Some(long),
            None => arg.text.strip_prefix('-').is_some_and(|cluster| cluster.contains(short)),
        })
    }

    /// Whether this very argument is there.
    pub fn is_given(&self, exact: &str) -> bool {
        self.before_end().any(|arg| arg.text == exact || arg.text.strip_prefix(exact).is_some_and(|rest| rest.starts_with('=')))
    }

    /// The values of an option, behind it, with `=`, or glued on.
    pub fn values(&self, short: Option<char>, long: &str) -> Vec<Arg> {
        let mut values = Vec::new();
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            let of = |text: &str| Arg { text: text.to_owned(), pattern: arg.pattern };
            if let Some(name) = arg.text.strip_prefix("--") {
                match name.split_once('=') {
                    Some((name, value)) if name == long => values.push(of(value)),
                    None if name == long && !long.is_empty() => values.extend(args.next().cloned()),
                    _ => {}
                }
            } else if let (Some(cluster), Some(short)) = (arg.text.strip_prefix('-'), short)
                && let Some((before, value)) = cluster.split_once(short)
                && !before.contains(|char| self.valued.contains(char))
            {
                if value.is_empty() {
                    values.extend(args.next().cloned())
                } else {
                    values.push(of(value.trim_start_matches('=')))
                }
            }
        }
        values
    }

    /// What is no option, and no value of one.
    pub fn operands(&self) -> impl Iterator<Item = &'a Arg> {
        let mut args = self.args.iter();
        let mut is_end = false;
        std::iter::from_fn(move || {
            loop {
                let arg = args.next()?;
                if is_end || arg.text == "-" || !arg.text.starts_with('-') {
                    return Some(arg);
                }
                if arg.text == "--" {
                    is_end = true;
                } else if let Some(cluster) = arg.text.strip_prefix('-').filter(|cluster| !cluster.starts_with('-'))
                    && let Some(place) = cluster.find(|char| self.valued.contains(char))
                    && place + 1 == cluster.len()
                {
                    args.next();
                }
            }
        })
    }

    /// The first word that is no option: the subcommand.
    pub fn subcommand(&self) -> &'a str {
        self.operands().next().map_or("", |arg| arg.text.as_str())
    }
}
