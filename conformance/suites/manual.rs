//! The configuration that the manual tells an operator to write: the cases use those very lines.

use crate::case::Failure;
use crate::env::Env;

const ENGINES: &str = include_str!("../../runtime/docs/engines.md");

/// Where the manual has the runtime.
const PLACE: &str = "/usr/local/bin/ghost-runc";

/// The text of the code block after `<!-- NAME -->` in engines.md, with the runtime under test in
/// the place of the installed one.
pub fn snippet(env: &Env, name: &str) -> Result<String, Failure> {
    let missing = || Failure(format!("engines.md has no block called {name}"));
    let (_, rest) = ENGINES.split_once(&format!("<!-- {name} -->\n")).ok_or_else(missing)?;
    let (fence, rest) = rest.split_once('\n').ok_or_else(missing)?;
    crate::ensure!(fence.starts_with("```"), "engines.md: no code block follows {name}");
    let (text, _) = rest.split_once("```\n").ok_or_else(missing)?;
    Ok(text.replace(PLACE, &env.shared.runtime.to_string_lossy()))
}

/// The command of such a block, its words apart, after these changes of its text.
pub fn command(env: &Env, name: &str, changes: &[(&str, &str)]) -> Result<Vec<String>, Failure> {
    let mut text = snippet(env, name)?;
    for (old, new) in changes {
        crate::ensure!(text.contains(old), "engines.md, {name}: there is no {old:?} in {text}");
        text = text.replace(old, new);
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{ENGINES, PLACE};

    /// The names of the marked blocks, and the text of the blocks without a mark.
    fn blocks() -> (Vec<&'static str>, Vec<&'static str>) {
        let (mut marked, mut unmarked, mut before) = (Vec::new(), Vec::new(), "");
        let mut parts = ENGINES.split("```");
        while let (Some(text), Some(block)) = (parts.next(), parts.next()) {
            before = text.trim_end().lines().last().unwrap_or(before);
            match before.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
                Some(name) => marked.push(name),
                None => unmarked.push(block),
            }
        }
        (marked, unmarked)
    }

    fn sources(folder: &Path) -> String {
        let read = |path: PathBuf| match path.is_dir() {
            true => sources(&path),
            false => fs::read_to_string(path).unwrap(),
        };
        fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
    }

    #[test]
    fn a_case_reads_every_marked_block() {
        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("suites"));
        let (marked, _) = blocks();
        assert!(marked.len() > 10, "{marked:?}");
        for name in marked {
            assert!(sources.contains(&format!("\"{name}\"")), "no case reads {name}");
        }
    }

    #[test]
    fn only_cri_o_is_by_documentation_alone() {
        let (_, unmarked) = blocks();
        let [crio] = unmarked[..] else { panic!("blocks without a mark: {unmarked:?}") };
        assert!(crio.contains("[crio.runtime.runtimes.ghost-runc]"), "{crio}");
        assert!(crio.contains(&format!("runtime_path = \"{PLACE}\"")), "{crio}");
        assert!(
            ENGINES.contains("\nhandler: ghost-runc\n"),
            "the RuntimeClass names another handler"
        );
    }
}
