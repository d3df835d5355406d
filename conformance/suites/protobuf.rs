//! Messages on gRPC's wire, by field numbers: enough for what containerd is asked and answers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::Failure;

/// A message as JSON, field numbers to values, in the wire's form: texts, integers, flags, messages,
/// and lists of these.
pub fn encode(message: &Value) -> Result<Vec<u8>, Failure> {
    let no_message = || Failure(format!("{message} is no message"));
    let mut out = Vec::new();
    for (number, value) in message.as_object().ok_or_else(no_message)? {
        let number: u64 = number.parse()?;
        let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            field(number, value, &mut out)?;
        }
    }
    Ok(out)
}

fn field(number: u64, value: &Value, out: &mut Vec<u8>) -> Result<(), Failure> {
    let integer = value.as_bool().map(i64::from).or_else(|| value.as_i64());
    if let Some(integer) = integer {
        varint(number << 3, out);
        varint(integer.cast_unsigned(), out);
        return Ok(());
    }
    let bytes = match value {
        Value::String(text) => text.clone().into_bytes(),
        message => encode(message)?,
    };
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
    Ok(())
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A message that came. A field that is not in it is 0, empty or a message without fields.
#[derive(Debug, Default)]
pub struct Message {
    numbers: BTreeMap<u64, u64>,
    bytes: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl Message {
    /// Take the wire's form apart.
    pub fn decode(mut data: &[u8]) -> Result<Self, Failure> {
        let mut message = Self::default();
        while !data.is_empty() {
            let tag = take_varint(&mut data)?;
            let size = match tag & 7 {
                0 => {
                    message.numbers.insert(tag >> 3, take_varint(&mut data)?);
                    continue;
                }
                1 => 8,
                5 => 4,
                _ => usize::try_from(take_varint(&mut data)?)?,
            };
            let (bytes, rest) = data.split_at_checked(size).ok_or_else(cut)?;
            message.bytes.entry(tag >> 3).or_default().push(bytes.to_vec());
            data = rest;
        }
        Ok(message)
    }

    /// The integer of this field.
    pub fn number(&self, field: u64) -> u64 {
        self.numbers.get(&field).copied().unwrap_or_default()
    }

    /// The text of this field.
    pub fn text(&self, field: u64) -> String {
        let bytes = self.bytes.get(&field).and_then(|all| all.first());
        String::from_utf8_lossy(bytes.map_or(&[], Vec::as_slice)).into_owned()
    }

    /// The messages of this field.
    pub fn messages(&self, field: u64) -> Result<Vec<Self>, Failure> {
        self.bytes.get(&field).into_iter().flatten().map(|bytes| Self::decode(bytes)).collect()
    }

    /// The message of this field.
    pub fn message(&self, field: u64) -> Result<Self, Failure> {
        Ok(self.messages(field)?.pop().unwrap_or_default())
    }
}

fn cut() -> Failure {
    Failure("a message on the wire is cut off".to_owned())
}

fn take_varint(data: &mut &[u8]) -> Result<u64, Failure> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = data.split_first().ok_or_else(cut)?;
        *data = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Failure("a number on the wire has no end".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Message, encode};

    #[test]
    fn what_is_encoded_reads_the_same() {
        let bytes = encode(&json!({
            "1": "text", "2": 300, "3": {"1": 1}, "4": [{"1": "a"}, {"1": "b"}], "16": true,
        }));
        let message = Message::decode(&bytes.unwrap()).unwrap();
        assert_eq!(message.text(1), "text");
        assert_eq!((message.number(2), message.number(16), message.number(9)), (300, 1, 0));
        assert_eq!(message.message(3).unwrap().number(1), 1);
        let texts: Vec<String> =
            message.messages(4).unwrap().iter().map(|message| message.text(1)).collect();
        assert_eq!(texts, ["a", "b"]);
    }

    #[test]
    fn the_wires_own_examples() {
        // From protobuf's description of its encoding.
        assert_eq!(encode(&json!({"1": 150})).unwrap(), [0x08, 0x96, 0x01]);
        assert_eq!(encode(&json!({"2": "testing"})).unwrap(), *b"\x12\x07testing");
        assert!(Message::decode(&[0x12, 0x07, b't']).is_err());
        assert!(Message::decode(&[0x08, 0x96]).is_err());
    }
}
