//! criu's own log, of which the errors are of interest.

use std::fs;
use std::path::Path;

/// The first errors say why; those after them, that it therefore failed.
const COUNT: usize = 2;

/// Where the log is, and the first errors in it; none when there is none.
pub(super) fn errors(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut words = format!("log file: {}", path.display());
    for line in text.lines().filter_map(error).take(COUNT) {
        words.push_str(": ");
        words.push_str(line);
    }
    Some(words)
}

/// What a line says after its time and "Error", if it is an error.
fn error(line: &str) -> Option<&str> {
    line.split_once("Error (")?;
    Some(line.split_once(") ").map_or(line, |(_, rest)| rest).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_without_their_times() {
        let line = "(00.441401) Error (criu/files-reg.c:1710): Can't lookup mount=27 for fd=1";
        assert_eq!(
            error(line),
            Some("Error (criu/files-reg.c:1710): Can't lookup mount=27 for fd=1")
        );
        assert_eq!(error("(00.1) Dumping path for 0 fd"), None);
    }
}
