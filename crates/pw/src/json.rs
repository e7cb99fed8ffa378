//! SPA-JSON, the relaxed JSON of PipeWire's configuration: strict about structure, lenient about quotes and commas.
//!
//! Accepted beyond JSON: bare words, `=` for `:`, blanks for commas, `#` comments, and a top-level object without its
//! braces. Unlike PipeWire's own tokenizer it refuses what it cannot place, and says where.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use crate::error::Error;

/// How deep containers may nest.
const MAX_DEPTH: usize = 16;

/// A value of SPA-JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An unquoted word: `true`, `48000`, `auto`, `null`.
    Bare(String),
    /// A quoted string, with its escapes resolved.
    Quoted(String),
    /// `[ .. ]`.
    Array(Vec<Value>),
    /// `{ .. }`, in order; no key occurs twice.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The text of a bare word or quoted string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Bare(text) | Self::Quoted(text) => Some(text),
            Self::Array(_) | Self::Object(_) => None,
        }
    }
}

/// Writes the value as SPA-JSON that parses to the same value.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(word) => f.write_str(word),
            Self::Quoted(text) => write_quoted(f, text),
            Self::Array(values) => {
                f.write_str("[")?;
                for value in values {
                    write!(f, " {value}")?;
                }
                f.write_str(" ]")
            }
            Self::Object(entries) => {
                f.write_str("{")?;
                for (key, value) in entries {
                    f.write_str(" ")?;
                    write_quoted(f, key)?;
                    write!(f, " = {value}")?;
                }
                f.write_str(" }")
            }
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// Parses the entries of a top-level object, in braces or not. Nothing but blanks gives no entries.
///
/// # Errors
/// [`Error::Syntax`] with the place.
pub fn parse_object(text: &str) -> Result<Vec<(String, Value)>, Error> {
    let mut parser = Parser { rest: text.chars().peekable(), line: 1, column: 1 };
    parser.skip_blanks();
    let braced = parser.rest.peek() == Some(&'{');
    if braced {
        parser.advance();
    }
    let entries = parser.entries(braced, 1)?;
    parser.skip_blanks();
    match parser.rest.peek() {
        None => Ok(entries),
        Some(&c) => Err(parser.error(format!("{c:?} after the closing brace; expected the end"))),
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    column: usize,
}

impl Parser<'_> {
    fn error(&self, problem: impl Into<String>) -> Error {
        Error::Syntax { line: self.line, column: self.column, problem: problem.into() }
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) {
        while let Some(&c) = self.rest.peek() {
            if c == '#' {
                while self.rest.peek().is_some_and(|&c| c != '\n') {
                    self.advance();
                }
            } else if c.is_ascii_whitespace() {
                self.advance();
            } else {
                break;
            }
        }
    }

    /// Skips what may stand between two values.
    fn skip_separators(&mut self) {
        self.skip_blanks();
        while self.rest.peek() == Some(&',') {
            self.advance();
            self.skip_blanks();
        }
    }

    fn entries(&mut self, braced: bool, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        loop {
            self.skip_separators();
            match self.rest.peek() {
                None if braced => return Err(self.error("the text ends inside an object; expected }")),
                None => return Ok(entries),
                Some('}') if braced => {
                    self.advance();
                    return Ok(entries);
                }
                Some(_) => {}
            }
            let key = match self.rest.peek() {
                Some('"') => self.quoted()?,
                _ => self.bare("a key")?,
            };
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(self.error(format!("{key} is given twice")));
            }
            self.skip_blanks();
            if !matches!(self.rest.peek(), Some('=' | ':')) {
                return Err(self.error(format!("expected = or : after {key}")));
            }
            self.advance();
            self.skip_blanks();
            let value = self.value(depth)?;
            entries.push((key, value));
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("nested more than {MAX_DEPTH} deep")));
        }
        match self.rest.peek() {
            Some('"') => self.quoted().map(Value::Quoted),
            Some('{') => {
                self.advance();
                self.entries(true, depth + 1).map(Value::Object)
            }
            Some('[') => {
                self.advance();
                let mut values = Vec::new();
                loop {
                    self.skip_separators();
                    match self.rest.peek() {
                        None => return Err(self.error("the text ends inside an array; expected ]")),
                        Some(']') => {
                            self.advance();
                            return Ok(Value::Array(values));
                        }
                        Some(_) => values.push(self.value(depth + 1)?),
                    }
                }
            }
            _ => self.bare("a value").map(Value::Bare),
        }
    }

    fn bare(&mut self, expected: &str) -> Result<String, Error> {
        let mut word = String::new();
        while let Some(&c) = self.rest.peek() {
            if c.is_ascii_whitespace() || matches!(c, ',' | ':' | '=' | '[' | ']' | '{' | '}' | '"') {
                break;
            }
            if c.is_control() {
                return Err(self.error("a control character"));
            }
            word.push(c);
            self.advance();
        }
        if word.is_empty() {
            let found = self.rest.peek().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
            return Err(
                self.error(format!("found {found}; expected {expected} (text with special characters needs quotes)"))
            );
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, Error> {
        self.advance();
        let mut text = String::new();
        loop {
            match self.advance() {
                None => return Err(self.error("the text ends inside quotes")),
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some('\0') => return Err(self.error("a NUL character")),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        match self.advance() {
            Some(c @ ('"' | '\\' | '/')) => Ok(c),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => {
                let first = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    for expected in ['\\', 'u'] {
                        if self.rest.peek() != Some(&expected) {
                            return Err(self.error("half a surrogate pair"));
                        }
                        self.advance();
                    }
                    match self.hex4()? {
                        second @ 0xdc00..0xe000 => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                        _ => return Err(self.error("half a surrogate pair")),
                    }
                } else {
                    first
                };
                char::from_u32(code).filter(|&c| c != '\0').ok_or_else(|| self.error("not a character"))
            }
            _ => Err(self.error("unknown escape; known are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX")),
        }
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.advance().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error("expected four hexadecimal digits"))?;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(word: &str) -> Value {
        Value::Bare(word.to_owned())
    }

    #[test]
    fn reads_what_pipewire_writes() {
        let entries = parse_object(
            "{ # the room\n audera.players = [ \"kitchen:6528\", \"[fe80::1]:6528\" ]\n audera.latency.msec: 80, a=b\n\
             stream.props = { node.name = x \"quoted key\": \"tab\\t\\u00e9\\ud83c\\udfb5\" } }",
        )
        .expect("valid");
        assert_eq!(
            entries,
            [
                (
                    "audera.players".to_owned(),
                    Value::Array(vec![Value::Quoted("kitchen:6528".into()), Value::Quoted("[fe80::1]:6528".into())])
                ),
                ("audera.latency.msec".to_owned(), bare("80")),
                ("a".to_owned(), bare("b")),
                (
                    "stream.props".to_owned(),
                    Value::Object(vec![
                        ("node.name".to_owned(), bare("x")),
                        ("quoted key".to_owned(), Value::Quoted("tab\té🎵".into()))
                    ])
                ),
            ]
        );
    }

    #[test]
    fn braces_may_be_left_out_and_nothing_is_fine() {
        assert_eq!(parse_object("a = 1 b = 2").expect("valid").len(), 2);
        assert!(parse_object(" \n # only a comment").expect("valid").is_empty());
        assert!(parse_object("{}").expect("valid").is_empty());
    }

    #[test]
    fn says_where_it_is_wrong() {
        for (text, line, column) in [
            ("a = [ kitchen:6528 ]", 1, 14),
            ("{ a = 1", 1, 8),
            ("a = 1\nb", 2, 2),
            ("a = 1 a = 2", 1, 8),
            ("{ } x", 1, 5),
            ("a = ]", 1, 5),
            ("a = \"\\q\"", 1, 8),
            ("a = \"\\ud800x\"", 1, 12),
            ("a = \"\\ud800\\u0041\"", 1, 18),
            ("a = \"open", 1, 10),
        ] {
            match parse_object(text) {
                Err(Error::Syntax { line: l, column: c, .. }) => assert_eq!((l, c), (line, column), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(parse_object(&deep), Err(Error::Syntax { .. })));
    }

    #[test]
    fn display_parses_back() {
        let value = Value::Array(vec![
            bare("1"),
            Value::Quoted("a\"b\\c\n".into()),
            Value::Object(vec![("k v".to_owned(), Value::Array(vec![]))]),
        ]);
        assert_eq!(parse_object(&format!("x = {value}")).expect("valid"), [("x".to_owned(), value)]);
    }
}
