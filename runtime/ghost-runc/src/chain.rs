//! An error and its causes on one line.

use std::error::Error;

/// The error and its sources, outermost first, as `a: b: c`.
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::error::Error;

    #[test]
    fn causes_follow_with_colons() {
        let source = std::io::Error::from_raw_os_error(2);
        let open = Error::file("open", &PathBuf::from("/x"), source);
        let run = Error::Run { source: Box::new(open) };
        assert_eq!(text(&run), "ghost-runc run failed: open /x: no such file or directory");
    }
}
