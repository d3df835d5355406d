//! `WWW-Authenticate`: which ways of authentication a registry offers.

use std::collections::BTreeMap;

/// One offered way.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    /// As in `bearer`, lower case.
    pub scheme: String,
    /// Its parameters, keys in lower case.
    pub parameters: BTreeMap<String, String>,
}

/// Parses a header's value, which may hold several challenges. What makes no sense is passed by.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word = token(rest);
        if word.is_empty() {
            return challenges;
        }
        let after = &rest[word.len()..];
        let Some(value) = after.trim_start().strip_prefix('=') else {
            challenges
                .push(Challenge { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() });
            rest = after;
            continue;
        };
        let (value, after) = parameter_value(value.trim_start());
        if let Some(challenge) = challenges.last_mut() {
            challenge.parameters.insert(word.to_ascii_lowercase(), value);
        }
        rest = after;
    }
}

fn token(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
    &text[..end.unwrap_or(text.len())]
}

/// A token or a quoted string, and what follows.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let value = token(text);
        return (value.to_owned(), &text[value.len()..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(char),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(header: &str) -> Vec<String> {
        let parameters = |c: &Challenge| {
            c.parameters.iter().map(|(k, v)| format!(" {k}={v}")).collect::<String>()
        };
        parse(header).iter().map(|c| format!("{}{}", c.scheme, parameters(c))).collect()
    }

    #[test]
    fn challenges() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://a.io/t",service="s",scope="repository:x:pull,push""#,
                &["bearer realm=https://a.io/t scope=repository:x:pull,push service=s"][..],
            ),
            (r#"Basic realm="x", Bearer realm=y"#, &["basic realm=x", "bearer realm=y"]),
            (r#"BASIC realm = "a \"b\"""#, &[r#"basic realm=a "b""#]),
            ("Negotiate", &["negotiate"]),
            (r#"Bearer realm="open"#, &["bearer realm=open"]),
            ("", &[]),
            (r#"="x""#, &[]),
        ] {
            assert_eq!(show(header), expected, "{header}");
        }
    }
}
