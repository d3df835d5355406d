//! Values in the text format of GVariant, as annotations hold them: `uint64 5`, `'text'`,
//! `['a', 'b']`, `@as []`. Pure.
//!
//! Dictionaries, maybe types and descriptors are left out: no property of systemd takes one.

use super::value::{Value, split};

/// The deepest nesting that is read.
const DEPTH: usize = 8;

type Result<T> = std::result::Result<T, String>;

/// Parses a whole text. The error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { rest: text.trim(), depth: 0 };
    let value = parser.value(None)?;
    match parser.next() {
        "" => Ok(value),
        rest => Err(format!("{rest:?} follows the value")),
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// What is left, from the next character on that is no space.
    fn next(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    /// Takes a character, if it is the next.
    fn eat(&mut self, character: char) -> bool {
        let rest = self.next().strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes everything up to a character that is not of a word.
    fn word(&mut self) -> &'a str {
        let rest = self.next();
        let of_word = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        let end = rest.find(|c| !of_word(c)).unwrap_or(rest.len());
        self.rest = &rest[end..];
        &rest[..end]
    }

    /// One value, which has to be of the type that `wanted` is the signature of.
    fn value(&mut self, wanted: Option<&str>) -> Result<Value> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("it is nested too deep".into());
        }
        let value = self.any(wanted)?;
        self.depth -= 1;
        match wanted {
            Some(wanted) if value.signature() != wanted => Err(format!(
                "a value of type {:?} is not one of type {wanted:?}",
                value.signature()
            )),
            _ => Ok(value),
        }
    }

    fn any(&mut self, wanted: Option<&str>) -> Result<Value> {
        match self.next().chars().next() {
            None => Err("a value is missing".into()),
            Some('[') => self.array(wanted),
            Some('(') => self.tuple(wanted),
            Some('<') => {
                self.eat('<');
                let inner = self.value(None)?;
                if self.eat('>') {
                    Ok(inner.variant())
                } else {
                    Err("no > ends the variant".into())
                }
            }
            Some(quote @ ('\'' | '"')) => {
                let text = self.quoted(quote)?;
                Ok(match wanted {
                    Some("o") => Value::Path(text),
                    Some("g") => Value::Signature(text),
                    _ => Value::Text(text),
                })
            }
            Some('b') if self.rest[1..].starts_with(['\'', '"']) => {
                let quote = if self.rest[1..].starts_with('"') { '"' } else { '\'' };
                self.rest = &self.rest[1..];
                let text = self.quoted(quote)?;
                // The NUL byte at the end is part of such a string.
                let bytes = text.bytes().chain([0]).map(Value::Byte);
                Ok(Value::Array("y".into(), bytes.collect()))
            }
            Some('@') => {
                self.eat('@');
                let (one, _) = split(self.rest.as_bytes(), 0)
                    .ok_or_else(|| format!("no type begins {:?}", self.rest))?;
                let (signature, rest) = self.rest.split_at(one.len());
                self.rest = rest;
                self.value(Some(signature))
            }
            Some(_) => self.scalar(wanted),
        }
    }

    fn scalar(&mut self, wanted: Option<&str>) -> Result<Value> {
        let word = self.word();
        let kind = match word {
            "true" | "false" => return Ok(Value::Bool(word == "true")),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            "" => return Err(format!("no value begins {:?}", self.rest)),
            _ => {
                let float = !word.starts_with("0x") && word.contains(['.', 'e', 'E']);
                return number(word, wanted.unwrap_or(if float { "d" } else { "i" }));
            }
        };
        self.value(Some(kind))
    }

    fn array(&mut self, wanted: Option<&str>) -> Result<Value> {
        self.eat('[');
        let mut element = wanted.and_then(|wanted| wanted.strip_prefix('a')).map(str::to_owned);
        let mut values = Vec::new();
        while !self.eat(']') {
            if !values.is_empty() && !self.eat(',') {
                return Err("no ] ends the array".into());
            }
            // The first value says what all have to be.
            let value = self.value(element.as_deref())?;
            element.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        match element {
            Some(element) => Ok(Value::Array(element, values)),
            None => Err("the type of an empty array must be given, as in \"@as []\"".into()),
        }
    }

    fn tuple(&mut self, wanted: Option<&str>) -> Result<Value> {
        self.eat('(');
        let mut types = wanted.and_then(|wanted| wanted.strip_prefix('(')).unwrap_or("").as_bytes();
        let mut fields = Vec::new();
        while !self.eat(')') {
            if !fields.is_empty() && !self.eat(',') {
                return Err("no ) ends the tuple".into());
            }
            let one = split(types, 0);
            let kind = one.and_then(|(one, _)| std::str::from_utf8(one).ok());
            types = one.map_or(&[], |(_, rest)| rest);
            fields.push(self.value(kind)?);
            // A comma may follow the last field, and does where there is only one.
            if fields.len() == 1 && self.next().starts_with(',') {
                let rest = self.rest[1..].trim_start();
                if rest.starts_with(')') {
                    self.rest = rest;
                }
            }
        }
        if fields.is_empty() { Err("a tuple is empty".into()) } else { Ok(Value::Struct(fields)) }
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        self.eat(quote);
        let mut text = String::new();
        let mut characters = self.rest.chars();
        while let Some(one) = characters.next() {
            match one {
                '\\' => text.push(escaped(&mut characters)?),
                one if one == quote => {
                    self.rest = characters.as_str();
                    return Ok(text);
                }
                // Neither D-Bus nor systemd has a way to write it.
                '\0' => return Err("a text has a NUL byte".into()),
                one => text.push(one),
            }
        }
        Err(format!("no {quote} ends the text"))
    }
}

/// What follows a backslash.
fn escaped(characters: &mut std::str::Chars<'_>) -> Result<char> {
    let digits = |characters: &mut std::str::Chars<'_>, count: usize| {
        let digits: String = characters.by_ref().take(count).collect();
        u32::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| digits.len() == count)
            .and_then(char::from_u32)
            .filter(|one| *one != '\0')
            .ok_or_else(|| format!("\\{digits} is not a character"))
    };
    match characters.next() {
        Some('a') => Ok('\u{7}'),
        Some('b') => Ok('\u{8}'),
        Some('f') => Ok('\u{c}'),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('v') => Ok('\u{b}'),
        Some('u') => digits(characters, 4),
        Some('U') => digits(characters, 8),
        Some(other) => Ok(other),
        None => Err("the text ends with a backslash".into()),
    }
}

/// A number of a type, decimal or, with a prefix, hexadecimal or octal.
fn number(word: &str, kind: &str) -> Result<Value> {
    let bad = || format!("{word:?} is not a number of type {kind:?}");
    if kind == "d" {
        return word.parse().map(Value::Double).map_err(|_| bad());
    }
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    // A second sign would be taken for the number's.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let size = i128::from_str_radix(digits, radix).map_err(|_| bad())?;
    let value = if negative { -size } else { size };
    let made = match kind {
        "y" => value.try_into().map(Value::Byte).ok(),
        "n" => value.try_into().map(Value::Int16).ok(),
        "q" => value.try_into().map(Value::Uint16).ok(),
        "i" => value.try_into().map(Value::Int32).ok(),
        "u" => value.try_into().map(Value::Uint32).ok(),
        "x" => value.try_into().map(Value::Int64).ok(),
        "t" => value.try_into().map(Value::Uint64).ok(),
        _ => None,
    };
    made.ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> Vec<Value> {
        values.iter().map(|value| (*value).into()).collect()
    }

    #[test]
    fn values_of_every_type() {
        for (text, value) in [
            ("5", Value::Int32(5)),
            ("-5", Value::Int32(-5)),
            ("0x1f", Value::Int32(31)),
            ("017", Value::Int32(15)),
            ("1.5", Value::Double(1.5)),
            ("1e3", Value::Double(1000.0)),
            ("true", Value::Bool(true)),
            ("boolean false", Value::Bool(false)),
            ("byte 7", Value::Byte(7)),
            ("int16 -7", Value::Int16(-7)),
            ("uint16 7", Value::Uint16(7)),
            ("uint32 7", Value::Uint32(7)),
            ("int64 -7", Value::Int64(-7)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("double 3", Value::Double(3.0)),
            ("@t 9", Value::Uint64(9)),
            ("'text'", "text".into()),
            (r#" "it's" "#, "it's".into()),
            (r"'a\'\n\u00e4'", "a'\nä".into()),
            ("string 'x'", "x".into()),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("signature 'as'", Value::Signature("as".into())),
            ("<'x'>", Value::variant("x".into())),
            ("['a', 'b']", Value::Array("s".into(), texts(&["a", "b"]))),
            ("@as []", Value::Array("s".into(), vec![])),
            ("@at [1]", Value::Array("t".into(), vec![Value::Uint64(1)])),
            ("[uint32 1, 2]", Value::Array("u".into(), vec![Value::Uint32(1), Value::Uint32(2)])),
            ("b'a'", Value::Array("y".into(), vec![Value::Byte(b'a'), Value::Byte(0)])),
            ("('a', uint64 1)", Value::Struct(vec!["a".into(), Value::Uint64(1)])),
            ("(1,)", Value::Struct(vec![Value::Int32(1)])),
            (
                "@a(st) [('/dev/sda', 5)]",
                Value::Array(
                    "(st)".into(),
                    vec![Value::Struct(vec!["/dev/sda".into(), Value::Uint64(5)])],
                ),
            ),
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "",
            "text",
            "'text",
            "uint64",
            "uint64 -1",
            "uint64 'x'",
            "byte 256",
            "5 6",
            "--5",
            "[]",
            "[1, 'a']",
            "[1",
            "(1",
            "()",
            "<1",
            "@",
            "@as 5",
            "@a(st) [('x', 'y')]",
            "{'a': 1}",
            "'a\\",
            "'\\u12'",
            "'\\u0000'",
            &"<".repeat(100),
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
