//! Python code as words, texts and signs.

use crate::host::policy::finding::shown;

/// A word, a text or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Sign(char),
    Break,
}

/// Names with what they are taken from: `os.path.join`.
pub(super) fn dotted(statement: &[Token]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut joins = false;
    for token in statement {
        match token {
            Token::Name(name) if joins => {
                if let Some(last) = names.last_mut() {
                    last.push('.');
                    last.push_str(name);
                }
                joins = false;
            }
            Token::Name(name) => names.push(name.clone()),
            Token::Sign('.') => joins = !names.is_empty(),
            Token::Text(_) | Token::Sign(_) | Token::Break => joins = false,
        }
    }
    // `from os import system`.
    if let [from, module, import, rest @ ..] = names.as_slice()
        && from == "from"
        && import == "import"
    {
        let taken: Vec<String> = rest.iter().map(|name| format!("{module}.{name}")).collect();
        names.extend(taken);
    }
    names
}

pub(super) fn text_of(statement: &[Token]) -> String {
    let mut text = String::new();
    let mut was_name = false;
    for token in statement.iter().take(60) {
        let is_name = matches!(token, Token::Name(_));
        if was_name && is_name {
            text.push(' ');
        }
        was_name = is_name;
        match token {
            Token::Name(name) => text.push_str(name),
            Token::Text(inner) => {
                text.push('"');
                text.push_str(inner);
                text.push('"');
            }
            Token::Sign(sign) => text.push(*sign),
            Token::Break => {}
        }
    }
    shown(&text)
}

/// Takes code apart; statements end at breaks.
pub(super) fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = code.chars().peekable();
    let mut depth = 0_usize;
    while let Some(char) = chars.next() {
        match char {
            '#' => while chars.next_if(|char| *char != '\n').is_some() {},
            '\n' | ';' if depth == 0 => tokens.push(Token::Break),
            '\\' => drop(chars.next()),
            '\'' | '"' => {
                let prefix = match tokens.last() {
                    Some(Token::Name(name)) if is_prefix(name) => name.to_ascii_lowercase(),
                    _ => String::new(),
                };
                if !prefix.is_empty() {
                    tokens.pop();
                }
                let text = string(&mut chars, char, prefix.contains('r'));
                // Two texts beside each other, or with a `+` between, are one.
                match tokens.as_mut_slice() {
                    [.., Token::Text(former)] => former.push_str(&text),
                    [.., Token::Text(former), Token::Sign('+')] => {
                        former.push_str(&text);
                        tokens.pop();
                    }
                    _ => tokens.push(Token::Text(text)),
                }
            }
            char if char.is_alphanumeric() || char == '_' => {
                let mut name = char.to_string();
                while let Some(char) = chars.next_if(|char| char.is_alphanumeric() || *char == '_') {
                    name.push(char);
                }
                tokens.push(Token::Name(name));
            }
            char if char.is_whitespace() => {}
            sign => {
                match sign {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                tokens.push(Token::Sign(sign));
            }
        }
    }
    tokens
}

fn is_prefix(name: &str) -> bool {
    name.len() <= 2 && name.chars().all(|char| "rRbBfFuU".contains(char))
}

fn string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char, raw: bool) -> String {
    let mut text = String::new();
    let mut is_long = false;
    if chars.next_if_eq(&quote).is_some() {
        if chars.next_if_eq(&quote).is_none() {
            return text;
        }
        is_long = true;
    }
    let mut closing = 0;
    while let Some(char) = chars.next() {
        if char == quote {
            closing += 1;
            if !is_long || closing == 3 {
                return text.strip_suffix(&quote.to_string().repeat(closing - 1)).unwrap_or(&text).to_owned();
            }
            text.push(char);
            continue;
        }
        closing = 0;
        match char {
            '\n' if !is_long => return text,
            '\\' if raw => {
                text.push('\\');
                text.extend(chars.next());
            }
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('x') => {
                    let digits: String = (0..2).filter_map(|_| chars.next_if(char::is_ascii_hexdigit)).collect();
                    text.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                Some('\n') | None => {}
                Some(char) => text.push(char),
            },
            char => text.push(char),
        }
    }
    text
}
