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
