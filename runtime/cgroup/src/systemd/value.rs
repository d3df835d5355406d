//! Values of D-Bus, and how they lie in a message. Both directions; no I/O.

/// The deepest nesting that is read: what systemd sends has three levels.
const DEPTH: usize = 16;

/// A value with its type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    Text(String),
    /// An object's path.
    Path(String),
    Signature(String),
    Variant(Box<Value>),
    /// The signature of the elements, which an empty array has too.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

impl Value {
    /// In a variant.
    pub fn variant(self) -> Value {
        Value::Variant(Box::new(self))
    }

    /// The type, as D-Bus writes it.
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".into(),
            Value::Bool(_) => "b".into(),
            Value::Int16(_) => "n".into(),
            Value::Uint16(_) => "q".into(),
            Value::Int32(_) => "i".into(),
            Value::Uint32(_) => "u".into(),
            Value::Int64(_) => "x".into(),
            Value::Uint64(_) => "t".into(),
            Value::Double(_) => "d".into(),
            Value::Text(_) => "s".into(),
            Value::Path(_) => "o".into(),
            Value::Signature(_) => "g".into(),
            Value::Variant(_) => "v".into(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => {
                format!("({})", fields.iter().map(Value::signature).collect::<String>())
            }
        }
    }

    /// The text of a string, an object's path, or a variant that holds one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Path(text) => Some(text),
            Value::Variant(inner) => inner.text(),
            _ => None,
        }
    }

    /// Appends the value; `out` begins where a multiple of 8 is.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Byte(value) => out.push(*value),
            Value::Bool(value) => put(out, &u32::from(*value).to_ne_bytes()),
            Value::Int16(value) => put(out, &value.to_ne_bytes()),
            Value::Uint16(value) => put(out, &value.to_ne_bytes()),
            Value::Int32(value) => put(out, &value.to_ne_bytes()),
            Value::Uint32(value) => put(out, &value.to_ne_bytes()),
            Value::Int64(value) => put(out, &value.to_ne_bytes()),
            Value::Uint64(value) => put(out, &value.to_ne_bytes()),
            Value::Double(value) => put(out, &value.to_ne_bytes()),
            Value::Text(text) | Value::Path(text) => {
                put(out, &(text.len() as u32).to_ne_bytes());
                out.extend(text.bytes().chain([0]));
            }
            Value::Signature(text) => {
                out.push(text.len() as u8);
                out.extend(text.bytes().chain([0]));
            }
            Value::Variant(inner) => {
                Value::Signature(inner.signature()).write(out);
                inner.write(out);
            }
            Value::Array(element, values) => {
                put(out, &[0; 4]);
                let length = out.len() - 4;
                // What leads up to the first element is there, but does not count.
                align(out, alignment(element.as_bytes().first()));
                let start = out.len();
                values.iter().for_each(|value| value.write(out));
                let bytes = (out.len() - start) as u32;
                out[length..length + 4].copy_from_slice(&bytes.to_ne_bytes());
            }
            Value::Struct(fields) => {
                align(out, 8);
                fields.iter().for_each(|field| field.write(out));
            }
        }
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    align(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Fills up with zeros.
pub(crate) fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// Of a type, by the first character of its signature.
fn alignment(first: Option<&u8>) -> usize {
    match first {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// Reads values from a message's bytes, which begin where a multiple of 8 is. None when they are not
/// what the signature says.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Values of all types in a signature.
    pub fn all(&mut self, signature: &str) -> Option<Vec<Value>> {
        let mut rest = signature.as_bytes();
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (one, others) = split(rest, 0)?;
            values.push(self.one(one, 0)?);
            rest = others;
        }
        Some(values)
    }

    fn one(&mut self, signature: &[u8], depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        Some(match signature.first()? {
            b'y' => Value::Byte(u8::from_ne_bytes(self.take()?)),
            b'b' => Value::Bool(u32::from_ne_bytes(self.take()?) != 0),
            b'n' => Value::Int16(i16::from_ne_bytes(self.take()?)),
            b'q' => Value::Uint16(u16::from_ne_bytes(self.take()?)),
            b'i' => Value::Int32(i32::from_ne_bytes(self.take()?)),
            // A descriptor is the number of one that came along.
            b'u' | b'h' => Value::Uint32(u32::from_ne_bytes(self.take()?)),
            b'x' => Value::Int64(i64::from_ne_bytes(self.take()?)),
            b't' => Value::Uint64(u64::from_ne_bytes(self.take()?)),
            b'd' => Value::Double(f64::from_ne_bytes(self.take()?)),
            b's' => Value::Text(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Signature(self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                let (one, []) = split(inner.as_bytes(), 0)? else { return None };
                self.one(one, depth + 1)?.variant()
            }
            b'a' => self.array(&signature[1..], depth)?,
            b'(' | b'{' => {
                self.align(8)?;
                let mut rest = &signature[1..signature.len() - 1];
                let mut fields = Vec::new();
                while !rest.is_empty() {
                    let (one, others) = split(rest, 0)?;
                    fields.push(self.one(one, depth + 1)?);
                    rest = others;
                }
                Value::Struct(fields)
            }
            _ => return None,
        })
    }

    fn array(&mut self, element: &[u8], depth: usize) -> Option<Value> {
        let length = u32::from_ne_bytes(self.take()?) as usize;
        self.align(alignment(element.first()))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let mut values = Vec::new();
        while self.at < end {
            values.push(self.one(element, depth + 1)?);
        }
        let element = String::from_utf8(element.into()).ok()?;
        (self.at == end).then_some(Value::Array(element, values))
    }

    fn text(&mut self) -> Option<String> {
        let length = u32::from_ne_bytes(self.take()?) as usize;
        self.characters(length)
    }

    fn signature(&mut self) -> Option<String> {
        let [length] = self.take()?;
        self.characters(length.into())
    }

    /// Some characters and the NUL byte after them.
    fn characters(&mut self, length: usize) -> Option<String> {
        let end = self.at.checked_add(length)?;
        let text = std::str::from_utf8(self.bytes.get(self.at..end)?).ok()?;
        if *self.bytes.get(end)? != 0 {
            return None;
        }
        self.at = end + 1;
        Some(text.into())
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.align(N)?;
        let bytes = self.bytes.get(self.at..self.at + N)?.try_into().ok()?;
        self.at += N;
        Some(bytes)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.next_multiple_of(to);
        (self.at <= self.bytes.len()).then_some(())
    }
}

/// The first complete type of a signature, and the rest.
pub(crate) fn split(signature: &[u8], depth: usize) -> Option<(&[u8], &[u8])> {
    if depth > DEPTH {
        return None;
    }
    let length = match signature.first()? {
        b'a' => 1 + split(&signature[1..], depth + 1)?.0.len(),
        open @ (b'(' | b'{') => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            while *signature.get(at)? != close {
                at += split(&signature[at..], depth + 1)?.0.len();
            }
            if at == 1 {
                return None;
            }
            at + 1
        }
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
        | b'v' | b'h' => 1,
        _ => return None,
    };
    Some(signature.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(value: Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        let read = Reader::new(&bytes).all(&value.signature());
        assert_eq!(read, Some(vec![value]));
        bytes
    }

    #[test]
    fn every_type_comes_back_as_it_was_written() {
        let pair = |name: &str, value: Value| Value::Struct(vec![name.into(), value.variant()]);
        for value in [
            Value::Byte(7),
            Value::Bool(true),
            Value::Int16(-3),
            Value::Uint16(3),
            Value::Int32(-4),
            Value::Uint32(4),
            Value::Int64(-5),
            Value::Uint64(u64::MAX),
            Value::Double(1.5),
            "text".into(),
            Value::Path("/a/b".into()),
            Value::Signature("a(sv)".into()),
            Value::Array("y".into(), vec![Value::Byte(1), Value::Byte(2)]),
            Value::Array("(ss)".into(), vec![]),
            Value::Array(
                "(sv)".into(),
                vec![
                    pair("PIDs", Value::Array("u".into(), vec![Value::Uint32(9)])),
                    pair("Delegate", Value::Bool(true)),
                    pair("MemoryMax", Value::Uint64(1 << 40)),
                ],
            ),
        ] {
            round(value);
        }
    }

    #[test]
    fn values_lie_where_their_alignment_says() {
        // By hand, from the D-Bus specification.
        let bytes = round(Value::Struct(vec![Value::Byte(1), Value::Uint64(2)]));
        assert_eq!(bytes.len(), 16);
        let bytes = round(Value::Array("t".into(), vec![Value::Uint64(2)]));
        assert_eq!(bytes[..4], 8u32.to_ne_bytes());
        assert_eq!(bytes.len(), 16);
        let bytes = round(Value::Array("t".into(), vec![]));
        assert_eq!(bytes.len(), 8);
    }

    #[test]
    fn what_is_cut_off_or_nested_too_deep_is_refused() {
        let mut bytes = Vec::new();
        Value::Array("s".into(), vec!["abc".into(), "d".into()]).write(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..length]).all("as"), None, "{length}");
        }
        for signature in ["(", ")", "()", "a", "(s", "z", &"a".repeat(40), &"(".repeat(40)] {
            assert_eq!(Reader::new(&bytes).all(signature), None, "{signature}");
        }
        // A variant in a variant, and so on, without end.
        let nested = [1, b'v', 0].repeat(100);
        assert_eq!(Reader::new(&nested).all("v"), None);
        // A length past the end.
        assert_eq!(Reader::new(&u32::MAX.to_ne_bytes()).all("s"), None);
        assert_eq!(Reader::new(&u32::MAX.to_ne_bytes()).all("ay"), None);
    }
}
