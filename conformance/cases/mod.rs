//! The cases, an area a file.

mod errors;
mod exec;
mod formats;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod terminal;

use crate::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        lifecycle::CASES,
        formats::CASES,
        errors::CASES,
        mounts::CASES,
        namespaces::CASES,
        process::CASES,
        terminal::CASES,
        exec::CASES,
    ]
    .into_iter()
    .flatten()
}
