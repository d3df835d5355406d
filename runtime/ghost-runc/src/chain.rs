//! An error and its causes on one line.

use std::error::Error;

use container::Os;
use nix::errno::Errno;

/// The error and its sources, outermost first, as `a: b: c`.
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        // Engines look for the kernel's words as Go writes them.
        let errno = cause.downcast_ref::<Errno>();
        text.push_str(&errno.map_or_else(|| cause.to_string(), |errno| Os(*errno).to_string()));
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
