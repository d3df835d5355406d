//! Where in a JSON document something is, for errors: `process.args[2]`, and with brackets around a key
//! that has a dot: `linux.sysctl[net.core.somaxconn]`.

/// A member's place in its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Key(String),
    Index(usize),
}

/// A path as it is written.
pub(crate) fn written<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    let mut path = String::new();
    for name in names {
        match name {
            Name::Index(index) => path.push_str(&format!("[{index}]")),
            Name::Key(key) if key.contains(['.', '[']) => path.push_str(&format!("[{key}]")),
            Name::Key(key) if path.is_empty() => path.push_str(key),
            Name::Key(key) => path.push_str(&format!(".{key}")),
        }
    }
    path
}

/// The parts of a written path. Indices come as keys: what a bracket holds is for the document to say.
pub(crate) fn names(path: &str) -> Vec<Name> {
    let mut names = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']').unwrap_or((inside, "")),
            None => {
                let word = rest.strip_prefix('.').unwrap_or(rest);
                word.split_at(word.find(['.', '[']).unwrap_or(word.len()))
            }
        };
        names.push(Name::Key(word.to_owned()));
        rest = after;
    }
    names
}

/// The path of the innermost member or element that `offset` is in. The text up to there parses.
pub(crate) fn at(text: &[u8], offset: usize) -> Vec<Name> {
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
    let inside = path.into_iter().take_while(|part| !matches!(part, Part::Key(_, false)));
    inside
        .map(|part| match part {
            Part::Index(index) => Name::Index(index),
            Part::Key(key, _) => Name::Key(key),
        })
        .collect()
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

/// The line and column of an offset, both counted from 1.
pub(crate) fn place(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    (line, 1 + offset - start)
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
            assert_eq!(written(&at(text, at_byte)), path, "{needle}");
        }
    }

    #[test]
    fn offsets() {
        assert_eq!(offset(b"ab\ncd\n", 2, 1), 4);
        assert_eq!(offset(b"ab", 1, 2), 2);
    }
}
