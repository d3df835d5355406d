//! The encoding of protocol buffers, as far as criu's messages use it: numbers, bytes, messages.

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A number, a truth value or one of an enumeration.
    pub fn number(&mut self, field: u64, value: u64) -> &mut Writer {
        self.varint(field << 3 | VARINT);
        self.varint(value);
        self
    }

    /// A truth value.
    pub fn flag(&mut self, field: u64, value: bool) -> &mut Writer {
        self.number(field, value.into())
    }

    /// A text, or an encoded message.
    pub fn bytes(&mut self, field: u64, bytes: impl AsRef<[u8]>) -> &mut Writer {
        let bytes = bytes.as_ref();
        self.varint(field << 3 | BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Writer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The fields of a message: each a number, or bytes. What is no message ends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a [u8]);

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The last number of this field, as the format wants it; 0 without one.
    pub fn number(self, field: u64) -> u64 {
        let numbers = self.filter_map(|(number, value)| match value {
            Value::Number(value) if number == field => Some(value),
            _ => None,
        });
        numbers.last().unwrap_or(0)
    }

    /// The bytes of this field; none without it.
    pub fn bytes(self, field: u64) -> &'a [u8] {
        let all = self.filter_map(|(number, value)| match value {
            Value::Bytes(bytes) if number == field => Some(bytes),
            _ => None,
        });
        all.last().unwrap_or_default()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            BYTES => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED64 => Value::Bytes(self.take(8)?),
            FIXED32 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_the_format_says() {
        let mut writer = Writer::default();
        writer.number(1, 150).bytes(2, "testing").flag(53, true);
        assert_eq!(writer.as_ref(), b"\x08\x96\x01\x12\x07testing\xa8\x03\x01");
        let fields = Fields(writer.as_ref());
        assert_eq!(
            (fields.number(1), fields.bytes(2), fields.number(53)),
            (150, &b"testing"[..], 1)
        );
        assert_eq!((fields.number(4), fields.bytes(5)), (0, &b""[..]));
    }

    #[test]
    fn the_last_of_a_field_counts_and_unknown_kinds_are_passed_over() {
        let fields =
            Fields(b"\x08\x01\x1d\x01\x02\x03\x04\x21\x01\x02\x03\x04\x05\x06\x07\x08\x08\x02");
        assert_eq!(fields.number(1), 2);
        assert_eq!(fields.bytes(4).len(), 8);
    }

    #[test]
    fn garbage_ends_it() {
        for garbage in [&b"\x08"[..], b"\x12\x05ab", b"\x0f\x01", &[0xff; 11]] {
            assert_eq!(Fields(garbage).count(), 0, "{garbage:?}");
        }
    }
}
