//! Numbers as tar writes them: octal, base 256, and the decimals of PAX.

/// Reads a numeric header field: octal digits amid spaces and NULs, or base 256 (GNU, star) if the
/// first byte's top bit is set. An empty field is 0. `None` if it is neither or overflows `i64`.
pub fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes),
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    // Nothing may follow the number: "12 34" reads differently in every reader.
    if !digits[end..].iter().all(blank) {
        return None;
    }
    digits[..end].iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement, the first byte's top bit being only a mark.
fn base256(bytes: &[u8]) -> Option<i64> {
    let negative = bytes[0] & 0x40 != 0;
    let start = i64::from(bytes[0] & 0x7f) - if negative { 0x80 } else { 0 };
    bytes[1..]
        .iter()
        .try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte)))
}

/// Reads a decimal without sign, as sizes and IDs in PAX records are.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads a PAX time, `[-]seconds[.fraction]`, as seconds and nanoseconds from 1970, rounded down.
pub fn time(bytes: &[u8]) -> Option<(i64, u32)> {
    let (negative, bytes) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let mut parts = bytes.splitn(2, |b| *b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0_u32;
    let mut exact = true;
    if let Some(fraction) = parts.next() {
        for (i, digit) in fraction.iter().enumerate() {
            let value = match digit {
                b'0'..=b'9' => u32::from(digit - b'0'),
                _ => return None,
            };
            match i {
                0..9 => nanoseconds += value * 10_u32.pow(8 - u32::try_from(i).ok()?),
                _ => exact &= value == 0,
            }
        }
    }
    if !negative {
        return Some((seconds, nanoseconds));
    }
    // -0.25 s is second -1 and 750,000,000 ns.
    nanoseconds += u32::from(!exact);
    match nanoseconds {
        0 => Some((-seconds, 0)),
        _ => Some((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for (bytes, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644", Some(0o644)),
            (b"\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"8", None),
            (b"-1", None),
            (b"12 34", None),
            (b"12\x0034", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(field(bytes), value, "{bytes:?}");
        }
    }

    #[test]
    fn times() {
        for (text, value) in [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.", Some((1, 0))),
            ("4102488000.123456789", Some((4_102_488_000, 123_456_789))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1", Some((-1, 0))),
            ("-0.25", Some((-1, 750_000_000))),
            ("-1.0000000001", Some((-2, 999_999_999))),
            ("", None),
            ("-", None),
            (".5", None),
            ("1.x", None),
            ("1e9", None),
            ("+1", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(time(text.as_bytes()), value, "{text}");
        }
    }
}
