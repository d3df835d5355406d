//! A JSON document as a tree of places, for errors: which bytes, and which line, is the value of a
//! path.
//!
//! It is made only once something is wrong.

use std::ops::Range;

use crate::json_path::{Name, names, place};

/// A value, by the bytes it takes.
#[derive(Debug)]
pub(crate) struct Node {
    pub range: Range<usize>,
    pub members: Vec<Member>,
}

/// What an object or a list holds.
#[derive(Debug)]
pub(crate) struct Member {
    pub name: Name,
    /// From the key on, if there is one.
    pub start: usize,
    pub value: Node,
}

impl Node {
    /// Reads a document that is known to parse.
    pub fn read(text: &[u8]) -> Option<Node> {
        Reader { text, at: 0 }.value()
    }

    /// The members around a byte, outermost first.
    pub fn around(&self, offset: usize) -> Vec<&Member> {
        let mut chain = Vec::new();
        let mut node = self;
        while let Some(member) =
            node.members.iter().find(|one| one.start <= offset && offset < one.value.range.end)
        {
            chain.push(member);
            node = &member.value;
        }
        chain
    }

    /// The members that a path leads through, as far as they are there.
    pub fn along(&self, path: &[Name]) -> Vec<&Member> {
        let mut chain: Vec<&Member> = Vec::new();
        for name in path {
            let node = chain.last().map_or(self, |member| &member.value);
            let Some(member) = node.members.iter().find(|member| match (&member.name, name) {
                (Name::Index(index), Name::Key(word)) => word.parse() == Ok(*index),
                (own, name) => own == name,
            }) else {
                break;
            };
            chain.push(member);
        }
        chain
    }

    /// The line of what the path leads to, counted from 1. What is missing in an object is on the
    /// line where the object begins.
    pub fn line(&self, text: &[u8], path: &str) -> usize {
        let start = self.along(&names(path)).last().map_or(self.range.start, |member| member.start);
        place(text, start).0
    }
}

/// The place in the text.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn value(&mut self) -> Option<Node> {
        let first = self.peek()?;
        let start = self.at;
        let mut members = Vec::new();
        match first {
            b'"' => drop(self.string()?),
            b'{' | b'[' => members = self.members(first == b'{')?,
            _ => {
                let ends =
                    |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                let rest = &self.text[start..];
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        Some(Node { range: start..self.at, members })
    }

    fn members(&mut self, object: bool) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        self.at += 1;
        loop {
            match self.peek()? {
                b'}' | b']' => break,
                b',' => self.at += 1,
                _ => {
                    let start = self.at;
                    let name = match object {
                        true => Name::Key(self.string()?),
                        false => Name::Index(members.len()),
                    };
                    if object && self.peek()? == b':' {
                        self.at += 1;
                    }
                    members.push(Member { name, start, value: self.value()? });
                }
            }
        }
        self.at += 1;
        Some(members)
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        while *self.text.get(self.at)? != b'"' {
            self.at += if self.text[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        serde_json::from_slice(&self.text[start..self.at]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n\"a\": {\"b\\\"{\": [1,\n {\"c\": \"x,]\"}, 3]},\n\"d\":\n{\"e.f\": 4}}";

    #[test]
    fn paths_have_lines() {
        let tree = Node::read(TEXT.as_bytes()).unwrap();
        for (path, line) in
            [("", 1), ("a", 2), ("a.b\"{[1].c", 3), ("d[e.f]", 5), ("d.none", 4), ("none", 1)]
        {
            assert_eq!(tree.line(TEXT.as_bytes(), path), line, "{path}");
        }
    }
}
