//! Which bundles stand on which layers: overlayfs must never lose a layer under a mount.
//!
//! A bundle is known by its mark, a file in its directory of which the store keeps a second hard link:
//! so a bundle that was moved is told from one that was removed. On another file system there can be no
//! link; then a bundle that isn't where it was made keeps its layers until `gc --missing-bundles`.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::{Collection, Store, write_until_reboot};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The file in a bundle's directory by which imagectl knows it.
pub const MARK: &str = "imagectl.json";

/// The extension of the store's link to a mark.
const LINK: &str = "mark";

/// A bundle's record. The path is bytes, so it stands in base64.
#[derive(Serialize, Deserialize)]
struct BundleFile {
    path: String,
    layers: Vec<Digest>,
}

/// A bundle that stands on the store's layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleRecord {
    /// The record's name.
    pub id: String,
    /// Where the bundle was made.
    pub path: PathBuf,
    /// What it stands on.
    pub layers: Vec<Digest>,
    /// Is it there still, or somewhere else? `None` if nobody can tell.
    pub alive: Option<bool>,
}

impl Store {
    fn bundle_file(&self, id: &str) -> PathBuf {
        self.root.join("bundles").join(id)
    }

    /// Notes that the bundle's rootfs stands on these layers. `bundle` is absolute and holds its mark.
    /// Gives the record's name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn use_layers(&self, bundle: &Path, layers: &[Digest]) -> Result<String> {
        let mark = bundle.join(MARK);
        let metadata = fs::metadata(&mark).map_err(Error::io("stat", &mark))?;
        let name = format!("{} {} {:?}", metadata.dev(), metadata.ino(), metadata.modified().ok());
        let id = Digest::of(&[name.as_bytes(), bundle.as_os_str().as_bytes()].concat()).hex();
        let record = BundleFile {
            path: BASE64_STANDARD.encode(bundle.as_os_str().as_bytes()),
            layers: layers.to_vec(),
        };
        let path = self.bundle_file(&id);
        let bytes = serde_json::to_vec(&record)
            .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
        let link = path.with_extension(LINK);
        match fs::hard_link(&mark, &link) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::CrossesDevices | std::io::ErrorKind::PermissionDenied
                ) => {}
            result => result.map_err(Error::io("link the bundle's mark to", &link))?,
        }
        write_until_reboot(&path, &bytes)?;
        Ok(id)
    }

    /// Takes back [`Self::use_layers`] for the bundle that is at `bundle` now. A copy of a bundle has
    /// the same mark, and is not the one that the record is about.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn release_layers(&self, bundle: &Path) -> Result<()> {
        let mark = fs::metadata(bundle.join(MARK)).ok().map(|m| (m.dev(), m.ino()));
        for record in self.bundle_records()? {
            let link = self.bundle_file(&record.id).with_extension(LINK);
            let is_it = match fs::metadata(&link) {
                Ok(metadata) => mark == Some((metadata.dev(), metadata.ino())),
                Err(_) => record.path == bundle,
            };
            if is_it {
                self.forget_bundle(&record.id)?;
            }
        }
        Ok(())
    }

    /// Removes a record.
    pub(super) fn forget_bundle(&self, id: &str) -> Result<()> {
        let path = self.bundle_file(id);
        // The record first: a link alone says nothing.
        for path in [path.clone(), path.with_extension(LINK)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => result.map_err(Error::io("remove", path))?,
            }
        }
        Ok(())
    }

    /// The bundles that were made on this store's layers.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] or [`Error::Document`].
    pub fn bundle_records(&self) -> Result<Vec<BundleRecord>> {
        let directory = self.root.join("bundles");
        let mut records = Vec::new();
        for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
            let path = entry.map_err(Error::io("read", &directory))?.path();
            let (None, Some(id)) = (path.extension(), path.file_name().and_then(|n| n.to_str()))
            else {
                // A link, or a write that never came to its rename.
                continue;
            };
            let bytes = match fs::read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                result => result.map_err(Error::io("read", &path))?,
            };
            let json = |source| Error::Json { what: path.display().to_string(), source };
            let record: BundleFile = serde_json::from_slice(&bytes).map_err(json)?;
            let bundle = BASE64_STANDARD.decode(&record.path).map_err(|_| Error::Document {
                what: path.display().to_string(),
                reason: "the bundle's path is not base64".into(),
            })?;
            let bundle = PathBuf::from(std::ffi::OsString::from_vec(bundle));
            let alive = match fs::metadata(path.with_extension(LINK)) {
                Ok(link) => Some(link.nlink() > 1),
                Err(_) if fs::symlink_metadata(bundle.join(MARK)).is_ok() => Some(true),
                Err(_) => None,
            };
            let (id, layers) = (id.to_owned(), record.layers);
            records.push(BundleRecord { id, path: bundle, layers, alive });
        }
        Ok(records)
    }

    /// The layers that bundles stand on. Records of bundles that are gone are removed.
    pub(super) fn layers_in_use(&self, how: Collection) -> Result<Vec<Digest>> {
        let mut layers = Vec::new();
        for record in self.bundle_records()? {
            match record.alive.unwrap_or(!how.missing_bundles) {
                true => layers.extend(record.layers),
                false if how.dry_run => {}
                false => self.forget_bundle(&record.id)?,
            }
        }
        if !how.dry_run {
            self.sweep_marks()?;
        }
        Ok(layers)
    }

    /// Removes what commands left that were killed before they wrote their record. Nobody may be making
    /// a bundle.
    fn sweep_marks(&self) -> Result<()> {
        let directory = self.root.join("bundles");
        for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
            let path = entry.map_err(Error::io("read", &directory))?.path();
            let begun = path.extension().is_some_and(|extension| extension == "tmp");
            let link = path.extension().is_some_and(|extension| extension == LINK);
            if begun || link && !path.with_extension("").exists() {
                fs::remove_file(&path).map_err(Error::io("remove", path))?;
            }
        }
        Ok(())
    }
}
