//! What the store takes up on disk.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of disk that a file or tree takes up, a file of several names once. What can't be looked at
/// counts for nothing.
#[must_use]
pub fn occupied(path: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            if let Ok(entries) = fs::read_dir(&path) {
                waiting.extend(entries.flatten().map(|entry| entry.path()));
            }
        } else if metadata.nlink() > 1 && !seen.insert(metadata.ino()) {
            continue;
        }
        bytes += metadata.blocks() * 512;
    }
    bytes
}
