//! Where in a JSON document a byte is, for errors: `process.args[2]`.

/// The path of the innermost member or element that `offset` is in. The text up to there parses.
pub(crate) fn at(text: &[u8], offset: usize) -> String {
    let mut path: Vec<Part> = Vec::new();
    let mut bytes = text[..offset.min(text.len())].iter().enumerate();
    let mut string: Option<usize> = None;
    while let Some((at, &byte)) = bytes.next() {
        match (string, byte) {
            (Some(_), b'\\') => drop(bytes.next()),
            (Some(start), b'"') => {
                string = None;
                if let Some(Part::Key(key, false)) = path.last_mut() {
                    *key = String::from_utf8_lossy(&text[start..at]).into_owned();
                }
            }
            (Some(_), _) => {}
            (None, b'"') => string = Some(at + 1),
            (None, b'{') => path.push(Part::Key(String::new(), false)),
            (None, b'[') => path.push(Part::Index(0)),
            (None, b'}' | b']') => drop(path.pop()),
            (None, b':') => {
                if let Some(Part::Key(_, in_value)) = path.last_mut() {
                    *in_value = true;
                }
            }
            (None, b',') => match path.last_mut() {
                Some(Part::Key(_, in_value)) => *in_value = false,
                Some(Part::Index(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
    }
    let mut words = String::new();
    for part in &path {
        match part {
            Part::Index(index) => words.push_str(&format!("[{index}]")),
            Part::Key(_, false) => break,
            Part::Key(key, true) if words.is_empty() => words.push_str(key),
            Part::Key(key, true) => words.push_str(&format!(".{key}")),
        }
    }
    words
}

/// One level: the key we are at and whether its value has begun, or the place in a list.
enum Part {
    Key(String, bool),
    Index(usize),
}

/// The offset of a line and column, both counted from 1.
pub(crate) fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let start: usize =
        text.split_inclusive(|&b| b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    start + column
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let text = br#"{"a": {"b\"{": [1, {"c": "x,]"}, 3]}, "d": 4}"#;
        for (needle, path) in [
            ("1,", r#"a.b\"{[0]"#),
            ("x,]", r#"a.b\"{[1].c"#),
            ("3]", r#"a.b\"{[2]"#),
            ("4}", "d"),
            ("{", ""),
        ] {
            let at_byte = text.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap();
            assert_eq!(at(text, at_byte), path, "{needle}");
        }
    }

    #[test]
    fn offsets() {
        assert_eq!(offset(b"ab\ncd\n", 2, 1), 4);
        assert_eq!(offset(b"ab", 1, 2), 2);
    }
}
