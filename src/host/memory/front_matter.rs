//! The YAML at the head of a Markdown file.

use yaml_serde::Value;

/// More than this is no head of a text, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// The line that begins and ends it.
const FENCE: &str = "---";

/// What the head of a microagent says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub name: Option<String>,
    pub description: Option<String>,
    pub triggers: Vec<String>,
    pub inputs: Vec<Input>,
    /// Whether it asks for servers.
    pub wants_servers: bool,
}

/// Something that a task must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub name: String,
    pub description: String,
}

/// What `text` says before its body, and the body.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<(Head, &str), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some((yaml, body)) = split(text)? else {
        return Ok((Head::default(), text.trim()));
    };
    if yaml.len() > HEAD_MAX {
        return Err(format!("its front matter is longer than {} KiB", HEAD_MAX / 1024));
    }
    let value: Value = yaml_serde::from_str(yaml).map_err(|error| format!("its front matter is no YAML: {error}"))?;
    Ok((head(&value)?, body.trim()))
}

/// The text between the two fences, and what follows.
fn split(text: &str) -> Result<Option<(&str, &str)>, String> {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == FENCE) else {
        return Ok(None);
    };
    let begin = first.len();
    let mut at = begin;
    for line in lines {
        if line.trim_end() == FENCE {
            let yaml = text.get(begin..at).unwrap_or_default();
            return Ok(Some((yaml, text.get(at + line.len()..).unwrap_or_default())));
        }
        at += line.len();
    }
    Err("it begins with `---`, and no second `---` ends its front matter".to_owned())
}

fn head(value: &Value) -> Result<Head, String> {
    if value.is_null() {
        return Ok(Head::default());
    }
    if !value.is_mapping() {
        return Err("its front matter is no mapping of keys to values".to_owned());
    }
    if let Some(kind) = text(value, "type")?
        && !["knowledge", "repo", "task"].contains(&kind.to_ascii_lowercase().as_str())
    {
        return Err(format!("there is no type `{kind}`; there are: knowledge, repo, task"));
    }
    let head = Head {
        name: text(value, "name")?,
        description: text(value, "description")?,
        triggers: triggers(value)?,
        inputs: inputs(value)?,
        wants_servers: present(value, "mcp_tools").is_some(),
    };
    Ok(head)
}

fn present<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.get(key).filter(|value| !value.is_null())
}

/// A number or a word that YAML takes for something else is still the text that somebody wrote.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

fn text(value: &Value, key: &str) -> Result<Option<String>, String> {
    let Some(value) = present(value, key) else { return Ok(None) };
    let text = scalar(value).ok_or_else(|| format!("`{key}` is no text"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn triggers(value: &Value) -> Result<Vec<String>, String> {
    let Some(value) = present(value, "triggers") else { return Ok(Vec::new()) };
    let Some(list) = value.as_sequence() else {
        return Err("`triggers` is no list; write `triggers: [one, other]`".to_owned());
    };
    let trigger = |value: &Value| match scalar(value) {
        Some(trigger) if !trigger.is_empty() => Ok(trigger),
        Some(_) => Err("a trigger is empty, and would be met by everything".to_owned()),
        None => Err("a trigger is no text".to_owned()),
    };
    list.iter().map(trigger).collect()
}

fn inputs(value: &Value) -> Result<Vec<Input>, String> {
    let Some(value) = present(value, "inputs") else { return Ok(Vec::new()) };
    let wrong = || "`inputs` is no list of a `name` and a `description` each".to_owned();
    let input = |value: &Value| {
        if !value.is_mapping() {
            return Err(wrong());
        }
        let name = text(value, "name")?.ok_or_else(wrong)?;
        Ok(Input { name, description: text(value, "description")?.unwrap_or_default() })
    };
    value.as_sequence().ok_or_else(wrong)?.iter().map(input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_told_from_the_body_however_its_lines_end() {
        for text in [
            "---\nname: git\ntriggers:\n- git\n- 404\n---\n# Git\n---\nmore\n",
            "\u{feff}---\r\nname: git\r\ntriggers: [git, 404]\r\n---  \r\n# Git\r\n---\r\nmore",
        ] {
            let (head, body) = read(text).unwrap();
            assert_eq!((head.name.as_deref(), &head.triggers[..]), (Some("git"), &["git".to_owned(), "404".to_owned()][..]));
            assert!(body.starts_with("# Git") && body.ends_with("more"), "{body}");
        }
        assert_eq!(read("no head\n---\nx: 1\n---").unwrap().0, Head::default());
        assert_eq!(read("---\n---\nbody").unwrap(), (Head::default(), "body"));
        assert_eq!(read("").unwrap(), (Head::default(), ""));
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        for (text, word) in [
            ("---\nname: x\n", "no second `---`"),
            ("---\n- a\n---\n", "no mapping"),
            ("---\na: [\n---\n", "no YAML"),
            ("---\ntype: wizard\n---\n", "knowledge, repo, task"),
            ("---\ntriggers: git\n---\n", "`triggers: [one, other]`"),
            ("---\ntriggers: ['']\n---\n", "met by everything"),
            ("---\ntriggers: [[a]]\n---\n", "no text"),
            ("---\nname: {a: b}\n---\n", "`name` is no text"),
            ("---\ninputs: [REPO]\n---\n", "`inputs`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text:?}: {error}");
        }
        let bomb = format!("---\n{}---\n", "a".repeat(HEAD_MAX + 1) + ": 1\n");
        assert!(read(&bomb).unwrap_err().contains("longer than 64 KiB"));
        let laughs = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |yaml, n| {
            let before = n - 1;
            format!("{yaml}a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 9].join(","))
        });
        assert!(read(&format!("---\n{laughs}---\n")).is_err(), "an alias bomb is refused");
        let deep = format!("---\na: {}\n---\n", "[".repeat(20_000));
        assert!(read(&deep).is_err());
    }
}
