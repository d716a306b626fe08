//! Reads Python literals: for a while V0's edits held the arguments of a call as a Python dict.

use serde_json::Value;

/// Reads a Python literal (strings, numbers, `None`, `True`, `False`, lists, tuples, dicts) and returns it as JSON text.
///
/// `None` for everything else: the caller then goes on without it, as V0 does.
pub(super) fn to_json(source: &str) -> Option<String> {
    let mut parser = Parser { rest: source.trim(), depth: 0 };
    let json = parser.value()?;
    parser.skip_space();
    parser.rest.is_empty().then_some(json)
}

/// Nesting that no recorded edit comes near.
const DEPTH_MAX: usize = 50;

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, after)| after);
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn value(&mut self) -> Option<String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        let json = match self.rest.chars().next()? {
            '{' => self.dict(),
            '[' => self.list("[", "]"),
            '(' => self.parenthesised(),
            '\'' | '"' => self.strings(),
            'r' | 'R' | 'u' | 'U' if self.rest.get(1..)?.starts_with(['\'', '"']) => self.strings(),
            '0'..='9' | '.' | '+' | '-' => self.number(),
            _ => self.name(),
        };
        self.depth -= 1;
        json
    }

    fn dict(&mut self) -> Option<String> {
        self.eat("{");
        let mut entries = Vec::new();
        while !self.eat("}") {
            let key = self.value()?;
            // A key that is no text can name no field; as text it is reported as the unknown field that it is.
            let key = if key.starts_with('"') { key } else { Value::from(key).to_string() };
            if !self.eat(":") {
                return None;
            }
            entries.push(format!("{key}:{}", self.value()?));
            if !self.eat(",") && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(format!("{{{}}}", entries.join(",")))
    }

    fn list(&mut self, open: &str, close: &str) -> Option<String> {
        self.eat(open);
        self.elements(Vec::new(), close)
    }

    fn elements(&mut self, mut elements: Vec<String>, close: &str) -> Option<String> {
        while !self.eat(close) {
            elements.push(self.value()?);
            if !self.eat(",") && !self.rest.starts_with(close) {
                return None;
            }
        }
        Some(format!("[{}]", elements.join(",")))
    }

    /// A tuple, or one value in brackets.
    fn parenthesised(&mut self) -> Option<String> {
        self.eat("(");
        if self.eat(")") {
            return Some("[]".into());
        }
        let first = self.value()?;
        if self.eat(")") {
            return Some(first);
        }
        if self.eat(",") { self.elements(vec![first], ")") } else { None }
    }

    fn name(&mut self) -> Option<String> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        match name {
            "None" => Some("null".into()),
            "True" => Some("true".into()),
            "False" => Some("false".into()),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<String> {
        let mut negative = false;
        while self.rest.starts_with(['+', '-']) {
            negative ^= self.rest.starts_with('-');
            self.rest = self.rest.get(1..)?.trim_start();
        }
        let mut before = ' ';
        let end = self.rest.find(|c: char| {
            let exponent_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !self.rest.starts_with("0x");
            before = c;
            !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || exponent_sign)
        });
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
            return None;
        }
        let digits = digits.replace('_', "").to_ascii_lowercase();
        let sign = if negative { "-" } else { "" };
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(digits) = digits.strip_prefix(prefix) {
                return u64::from_str_radix(digits, radix).ok().map(|number| format!("{sign}{number}"));
            }
        }
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            let plain = digits.trim_start_matches('0');
            return match plain {
                "" => Some("0".into()),
                _ if plain.len() == digits.len() => Some(format!("{sign}{plain}")),
                _ => None,
            };
        }
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let number: f64 = digits.parse().ok()?;
        number.is_finite().then(|| format!("{sign}{number:?}"))
    }

    /// One string, or several beside each other, which Python joins.
    fn strings(&mut self) -> Option<String> {
        let mut units = Vec::new();
        loop {
            let raw = self.rest.starts_with(['r', 'R']);
            self.rest = self.rest.trim_start_matches(['r', 'R', 'u', 'U']);
            self.string(raw, &mut units)?;
            self.skip_space();
            let after_prefix = self.rest.strip_prefix(['r', 'R', 'u', 'U']).unwrap_or(self.rest);
            if !after_prefix.starts_with(['\'', '"']) {
                break;
            }
        }
        // Python's escapes can spell a character as two surrogates; a lone one has no place in JSON text.
        let text = String::from_utf16(&units).ok()?;
        Some(Value::from(text).to_string())
    }

    fn string(&mut self, raw: bool, units: &mut Vec<u16>) -> Option<()> {
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| self.rest.starts_with(quote))?;
        self.rest = self.rest.strip_prefix(quote)?;
        loop {
            if let Some(after) = self.rest.strip_prefix(quote) {
                self.rest = after;
                return Some(());
            }
            let c = self.next()?;
            match c {
                '\\' if raw => {
                    push(units, '\\');
                    let c = self.next()?;
                    push(units, c);
                }
                '\\' => self.escape(units)?,
                '\n' if quote.len() == 1 => return None,
                _ => push(units, c),
            }
        }
    }

    fn escape(&mut self, units: &mut Vec<u16>) -> Option<()> {
        let c = self.next()?;
        let plain = match c {
            '\n' => return Some(()),
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' | '\'' | '"' => c,
            'x' => return self.code(2, units),
            'u' => return self.code(4, units),
            'U' => return self.code(8, units),
            '0'..='7' => {
                let mut code = c.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
                    self.next();
                    code = code * 8 + digit;
                }
                char::from_u32(code)?
            }
            // Names of characters would need a table of all of them.
            'N' => return None,
            // Python keeps the backslash of an escape that it does not know.
            _ => {
                push(units, '\\');
                c
            }
        };
        push(units, plain);
        Some(())
    }

    fn code(&mut self, digits: usize, units: &mut Vec<u16>) -> Option<()> {
        let (code, rest) = self.rest.split_at_checked(digits)?;
        if !code.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = rest;
        let code = u32::from_str_radix(code, 16).ok()?;
        match char::from_u32(code) {
            Some(c) => push(units, c),
            None => units.push(u16::try_from(code).ok()?),
        }
        Some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }
}

fn push(units: &mut Vec<u16>, c: char) {
    units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_literals_are_read() {
        for (python, json) in [
            (
                "{'a': 'b', \"c\": None, 'd': [1, -2, 0x1f, 1_000], 'e': (True, False,), }",
                r#"{"a":"b","c":null,"d":[1,-2,31,1000],"e":[true,false]}"#,
            ),
            (r"'it\'s \x41 \u00e9 \U0001F600 \101 \q \ud83d\ude00'", r#""it's A é 😀 A \\q 😀""#),
            ("'''two\nlines''' \"joined\"", r#""two\nlinesjoined""#),
            (r"r'\n'", r#""\\n""#),
            ("'a\\\nb'", r#""ab""#),
            ("1.5e3", "1500.0"),
            ("{}", "{}"),
        ] {
            assert_eq!(to_json(python).as_deref(), Some(json), "{python}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for python in ["{bad", "f(x)", "'open", "'a\nb'", "{'a' 1}", "01", "[1 2]", "{'a': 1} x", "", r"'\ud800'", "1__0"] {
            assert_eq!(to_json(python), None, "{python}");
        }
        assert_eq!(to_json(&"[".repeat(100_000)), None);
    }
}
