//! Messages of D-Bus: a header and a body. No I/O.

use super::value::{Reader, Value, align};

/// The length of the part of a header that has the same form in all messages.
pub(crate) const FIXED: usize = 16;
/// The longest message that is read, in bytes; D-Bus allows more, systemd needs less.
const LONGEST: usize = 16 << 20;
/// The mark of a message in this machine's byte order.
const ORDER: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Return,
    Error,
    Signal,
}

/// The flag of a call that wants no answer.
pub(crate) const NO_REPLY: u8 = 1;

/// Codes of the header's fields.
mod field {
    pub const PATH: u8 = 1;
    pub const INTERFACE: u8 = 2;
    pub const MEMBER: u8 = 3;
    pub const ERROR: u8 = 4;
    pub const REPLY_TO: u8 = 5;
    pub const DESTINATION: u8 = 6;
    pub const SENDER: u8 = 7;
    pub const SIGNATURE: u8 = 8;
}

/// A method of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
}

/// The bytes of a call.
pub(crate) fn call(method: Method<'_>, serial: u32, flags: u8, arguments: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|argument| argument.write(&mut body));
    let header = |code, value: Value| Value::Struct(vec![Value::Byte(code), value.variant()]);
    let mut fields = vec![
        header(field::PATH, Value::Path(method.path.into())),
        header(field::DESTINATION, method.destination.into()),
        header(field::INTERFACE, method.interface.into()),
        header(field::MEMBER, method.member.into()),
    ];
    if !arguments.is_empty() {
        let signature = arguments.iter().map(Value::signature).collect();
        fields.push(header(field::SIGNATURE, Value::Signature(signature)));
    }
    // Byte order, type (a call is 1), flags and the protocol's version.
    let mut message = vec![ORDER, 1, flags, 1];
    Value::Uint32(body.len() as u32).write(&mut message);
    Value::Uint32(serial).write(&mut message);
    Value::Array("(yv)".into(), fields).write(&mut message);
    align(&mut message, 8);
    message.extend(body);
    message
}

/// The length of a message, by the fixed part of its header; none when that is not one.
pub(crate) fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    let number = |at: usize| {
        fixed[at..at + 4].try_into().ok().map(|bytes| u32::from_ne_bytes(bytes) as usize)
    };
    let (body, fields) = (number(4)?, number(12)?);
    let length = FIXED.checked_add(fields)?.next_multiple_of(8).checked_add(body)?;
    (fixed[0] == ORDER && fixed[3] == 1 && length <= LONGEST).then_some(length)
}

/// A message that came in.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub kind: Option<Kind>,
    pub interface: String,
    pub member: String,
    /// The name of an error.
    pub error: String,
    /// The serial of the call that this answers.
    pub reply_to: u32,
    pub sender: String,
    pub body: Vec<Value>,
}

impl Message {
    /// Reads a whole message; none when it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let kind = match bytes.get(1)? {
            1 => Some(Kind::Call),
            2 => Some(Kind::Return),
            3 => Some(Kind::Error),
            4 => Some(Kind::Signal),
            // To be ignored, by the specification.
            _ => None,
        };
        let mut message = Message { kind, ..Message::default() };
        let mut signature = String::new();
        let header = Reader::new(bytes).all("yyyyuua(yv)")?;
        let Some(Value::Array(_, fields)) = header.last() else { return None };
        for one in fields {
            let Value::Struct(pair) = one else { return None };
            let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else { return None };
            match (*code, value.as_ref()) {
                (field::INTERFACE, Value::Text(text)) => message.interface = text.clone(),
                (field::MEMBER, Value::Text(text)) => message.member = text.clone(),
                (field::ERROR, Value::Text(text)) => message.error = text.clone(),
                (field::SENDER, Value::Text(text)) => message.sender = text.clone(),
                (field::REPLY_TO, Value::Uint32(serial)) => message.reply_to = *serial,
                (field::SIGNATURE, Value::Signature(text)) => signature = text.clone(),
                _ => {}
            }
        }
        let length = u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
        let body = bytes.get(bytes.len().checked_sub(length)?..)?;
        message.body = Reader::new(body).all(&signature)?;
        Some(message)
    }

    /// One of the texts in the body.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.body.get(index)?.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let method = Method { destination: "a.b", path: "/p", interface: "i.f", member: "Call" };
        let arguments = ["one".into(), Value::Uint32(2)];
        let bytes = call(method, 7, 0, &arguments);
        let fixed: &[u8; FIXED] = bytes[..FIXED].try_into().unwrap();
        assert_eq!(length(fixed), Some(bytes.len()));
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.kind, Some(Kind::Call));
        assert_eq!((&*message.interface, &*message.member), ("i.f", "Call"));
        assert_eq!(message.body, arguments);
        assert_eq!(message.text(0), Some("one"));
        assert_eq!(message.text(2), None);
        for length in 0..bytes.len() {
            assert!(Message::parse(&bytes[..length]).is_none_or(|m| m.body != arguments));
        }
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        let mut fixed = [0; FIXED];
        assert_eq!(length(&fixed), None);
        (fixed[0], fixed[3]) = (ORDER, 1);
        assert_eq!(length(&fixed), Some(FIXED));
        fixed[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(length(&fixed), None);
    }
}
