//! JSON as Go's encoding/json prints it: `<`, `>` and `&` escaped, a chosen indent.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::error::Error;

/// On one line, without a newline.
pub fn compact<T: Serialize>(what: &'static str, value: &T) -> Result<String, Error> {
    write(what, value, GoEscapes(CompactFormatter))
}

/// Over several lines, without a newline at the end.
pub fn indented<T: Serialize>(
    what: &'static str,
    value: &T,
    indent: &str,
) -> Result<String, Error> {
    write(what, value, GoEscapes(PrettyFormatter::with_indent(indent.as_bytes())))
}

/// One string with its quotes.
pub fn string(text: &str) -> String {
    // A string can always be encoded.
    compact("string", &text).unwrap_or_default()
}

fn write<T: Serialize>(
    what: &'static str,
    value: &T,
    formatter: impl Formatter,
) -> Result<String, Error> {
    let mut out = Vec::new();
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        .map_err(|source| Error::Encode { what, source })?;
    // serde_json writes UTF-8 only.
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Passes everything to another formatter but the characters that Go escapes in addition.
struct GoEscapes<F>(F);

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W, $($arg: $type),*) -> io::Result<()> {
            self.0.$name(writer, $($arg),*)
        })*
    };
}

impl<F: Formatter> Formatter for GoEscapes<F> {
    pass_on! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    /// Without a fraction where there is none.
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value}")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            let mut chars = special.chars();
            let code = chars.next().map_or(0, u32::from);
            write!(writer, "{plain}\\u{code:04x}")?;
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_and_line_separators_are_escaped() {
        assert_eq!(string("<a> & \u{2028}é\n"), r#""\u003ca\u003e \u0026 \u2028é\n""#);
    }

    #[test]
    fn floats_are_short() {
        assert_eq!(compact("test", &[0.0, 1.5, 100.0]).unwrap(), "[0,1.5,100]");
    }

    #[test]
    fn indent_is_kept_for_nested_values() {
        let value = serde_json::json!({"a": ["<", {}], "b": []});
        assert_eq!(
            indented("test", &value, "  ").unwrap(),
            "{\n  \"a\": [\n    \"\\u003c\",\n    {}\n  ],\n  \"b\": []\n}"
        );
    }
}
