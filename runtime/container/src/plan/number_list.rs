//! Lists of CPUs and memory nodes: `0-3,7`.

/// The words of the mask, a bit a number, for numbers below `limit`. What comes back else is what is
/// wrong with the list.
pub(crate) fn parse(text: &str, limit: u32) -> Result<Vec<u64>, String> {
    let mut mask = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(text, first)?, number(text, last)?);
        if first > last {
            return Err(format!("{text:?}: the range {part} is the wrong way round"));
        }
        if last >= limit.into() {
            return Err(format!("{text:?}: {last} is above {}", limit - 1));
        }
        mask.resize(mask.len().max(last as usize / 64 + 1), 0);
        for number in first as usize..=last as usize {
            mask[number / 64] |= 1 << (number % 64);
        }
    }
    Ok(mask)
}

fn number(text: &str, word: &str) -> Result<u64, String> {
    let word = word.trim();
    // `parse` would take a plus sign.
    match word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse()) {
        Some(Ok(number)) => Ok(number),
        _ => Err(format!("{text:?}: {word:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        for (text, mask) in [
            ("0", vec![1]),
            ("0-3,7", vec![0b1000_1111]),
            ("63,64", vec![1 << 63, 1]),
            ("130", vec![0, 0, 4]),
            ("5-5", vec![32]),
            ("1, 2", vec![6]),
        ] {
            assert_eq!(parse(text, 1024), Ok(mask), "{text}");
        }
    }

    #[test]
    fn bad_lists_are_quoted() {
        for text in
            ["", ",", "1,", "a", "1-", "-1", "3-1", "0-1024", "9876543210", "+1", "1-2-3", "0x1"]
        {
            let reason = parse(text, 1024).unwrap_err();
            assert!(reason.starts_with(&format!("{text:?}: ")), "{reason}");
        }
    }
}
