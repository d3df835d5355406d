//! Walks the cgroups below one. A container that may divide its cgroup makes these, as deep as it
//! likes and by any name: so the walk holds one descriptor, and never uses a path from the top.

use std::ffi::{OsStr, OsString};

use nix::errno::Errno;

use crate::dir::Dir;
use crate::{Error, Result};

/// Calls `enter` with each directory, `top` first, and `leave` with the parent and the name of each
/// but `top`, after all below it. Directories that vanish meanwhile are passed over.
pub(crate) fn walk(
    top: Dir,
    mut enter: impl FnMut(&Dir) -> Result<()>,
    mut leave: impl FnMut(&Dir, &OsStr) -> Result<()>,
) -> Result<()> {
    enter(&top)?;
    let mut names: Vec<OsString> = Vec::new();
    let mut left = vec![children(&top)?];
    let mut current = top;
    while let Some(siblings) = left.last_mut() {
        if let Some(name) = siblings.pop() {
            if let Some(dir) = current.child(&name)? {
                enter(&dir)?;
                left.push(children(&dir)?);
                names.push(name);
                current = dir;
            }
        } else {
            left.pop();
            if let Some(name) = names.pop() {
                current = current.parent()?;
                leave(&current, &name)?;
            }
        }
    }
    Ok(())
}

/// The sub-cgroups of a directory; none if it is gone.
fn children(dir: &Dir) -> Result<Vec<OsString>> {
    match dir.children() {
        Err(Error::Read { source: Errno::ENOENT | Errno::ENODEV, .. }) => Ok(Vec::new()),
        children => children,
    }
}
