//! The cases, an area a file.

mod formats;
mod lifecycle;

use crate::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [lifecycle::CASES, formats::CASES].into_iter().flatten()
}
