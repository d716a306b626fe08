//! The arguments of a tool call as a model wrote them.
//!
//! What is wrong in only one possible way is put right: a code fence around the object, an object inside a string, a line break
//! inside a text, `"true"` for `true`. Anything else goes back to the model with a word on what is expected.

use serde_json::{Map, Value};

/// How much of a bad answer is shown to the model that gave it, in characters.
const SHOWN_CHARS: usize = 200;

/// The arguments of one call.
#[derive(Debug)]
pub struct Arguments<'a> {
    tool: &'a str,
    values: Map<String, Value>,
}

impl<'a> Arguments<'a> {
    /// Reads what a model wrote for `tool`.
    ///
    /// # Errors
    /// For the model: what it wrote, and what is expected.
    pub fn parse(tool: &'a str, written: &str) -> Result<Self, String> {
        let values = object_in(written).ok_or_else(|| {
            let shown: String = written.chars().take(SHOWN_CHARS).collect();
            let cut = if shown.len() < written.len() { "…" } else { "" };
            format!("the arguments of `{tool}` are no JSON object: {shown}{cut}")
        })?;
        Ok(Self { tool, values })
    }

    /// Takes `name` out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name)
    }

    /// All that is left.
    pub fn into_values(self) -> Map<String, Value> {
        self.values
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: &str, got: &Value) -> String {
        let got: String = got.to_string().chars().take(SHOWN_CHARS).collect();
        format!("`{name}` of `{}` must be {expected}, got {got}", self.tool)
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// For the model, when it is missing or no text.
    pub fn text(&self, name: &str) -> Result<String, String> {
        self.optional_text(name)?.ok_or_else(|| format!("`{}` needs `{name}`", self.tool))
    }

    /// A text.
    ///
    /// # Errors
    /// For the model, when it is no text.
    pub fn optional_text(&self, name: &str) -> Result<Option<String>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(name, "a text", other)),
        }
    }

    /// A yes or no; no when it is missing.
    ///
    /// # Errors
    /// For the model, when it is neither.
    pub fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => Err(self.wrong(name, "true or false", other)),
        }
    }

    /// A number above zero.
    ///
    /// # Errors
    /// For the model, when it is none.
    pub fn positive(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        match number.filter(|number| number.is_finite() && *number > 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, "a number above zero", value)),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// For the model, when it is none.
    pub fn whole(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        whole(value).map(Some).ok_or_else(|| self.wrong(name, "a whole number", value))
    }

    /// Two whole numbers.
    ///
    /// # Errors
    /// For the model, when they are none, or not two.
    pub fn pair(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let parsed;
        let list = match value {
            Value::String(text) => {
                parsed = serde_json::from_str::<Value>(text).unwrap_or_default();
                &parsed
            }
            other => other,
        };
        let numbers: Option<Vec<i64>> = list.as_array().and_then(|list| list.iter().map(whole).collect());
        numbers.filter(|numbers| numbers.len() == 2).map(Some).ok_or_else(|| self.wrong(name, "two whole numbers", value))
    }
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The one object that `written` can mean.
fn object_in(written: &str) -> Option<Map<String, Value>> {
    let text = unfenced(written.trim());
    if text.is_empty() {
        return Some(Map::new());
    }
    match serde_json::from_str(text).or_else(|_| serde_json::from_str(&with_escaped_controls(text))).ok()? {
        Value::Object(object) => Some(object),
        Value::Null => Some(Map::new()),
        Value::String(inner) => match serde_json::from_str(inner.trim()).ok()? {
            Value::Object(object) => Some(object),
            _ => None,
        },
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

fn unfenced(text: &str) -> &str {
    let fenced = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    fenced.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}

/// `text` with the control characters inside its strings escaped, as JSON asks for.
fn with_escaped_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            '\n' if in_string => out.push_str("\\n"),
            '\r' if in_string => out.push_str("\\r"),
            '\t' if in_string => out.push_str("\\t"),
            _ => out.push(c),
        }
        (in_string, escaped) = match c {
            _ if escaped => (in_string, false),
            '\\' if in_string => (true, true),
            '"' => (!in_string, false),
            _ => (in_string, false),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_mean_only_one_thing_is_put_right() {
        for written in [
            r#"{"command":"ls"}"#,
            "```json\n{\"command\":\"ls\"}\n```",
            "```\n{\"command\":\"ls\"}```",
            r#""{\"command\":\"ls\"}""#,
            " {\"command\":\n\"ls\"} ",
        ] {
            assert_eq!(Arguments::parse("bash", written).unwrap().text("command").unwrap(), "ls", "{written}");
        }
        let broken_line = "{\"command\":\"a\nb\\\"\tc\"}";
        assert_eq!(Arguments::parse("bash", broken_line).unwrap().text("command").unwrap(), "a\nb\"\tc");
        assert!(Arguments::parse("now", "").unwrap().into_values().is_empty());
    }

    #[test]
    fn what_could_mean_several_things_goes_back() {
        for written in
            [r#"{"command":"rm -rf /tmp/a"#, "ls -la", r#"["ls"]"#, r#"{"command":"ls"} {"command":"pwd"}"#, "{'command':'ls'}"]
        {
            let error = Arguments::parse("bash", written).unwrap_err();
            assert!(error.starts_with("the arguments of `bash` are no JSON object: "), "{error}");
        }
        let long = Arguments::parse("bash", &"x".repeat(10_000)).unwrap_err();
        assert!(long.chars().count() < 300 && long.ends_with('…'));
    }

    #[test]
    fn each_argument_has_its_type_and_a_wrong_one_is_named() {
        let written = r#"{"flag":"True","timeout":"30","line":"4","range":"[1, -1]","text":7,"none":null}"#;
        let arguments = Arguments::parse("t", written).unwrap();
        assert!(arguments.flag("flag").unwrap() && !arguments.flag("missing").unwrap());
        assert_eq!(arguments.positive("timeout").unwrap(), Some(30.0));
        assert_eq!(arguments.whole("line").unwrap(), Some(4));
        assert_eq!(arguments.pair("range").unwrap(), Some(vec![1, -1]));
        assert_eq!(arguments.optional_text("none").unwrap(), None);
        assert_eq!(arguments.text("text").unwrap_err(), "`text` of `t` must be a text, got 7");
        assert_eq!(arguments.text("missing").unwrap_err(), "`t` needs `missing`");
        assert_eq!(arguments.positive("line").unwrap(), Some(4.0));
        let zero = Arguments::parse("t", r#"{"timeout":0,"range":[1,2,3]}"#).unwrap();
        assert!(zero.positive("timeout").unwrap_err().contains("above zero"));
        assert!(zero.pair("range").unwrap_err().contains("two whole numbers"));
    }
}
