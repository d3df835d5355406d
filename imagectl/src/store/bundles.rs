//! Which bundles stand on which layers: overlayfs must never lose a layer under a mount.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::{Store, write_atomically};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// A bundle's record. The path is bytes, so it stands in base64.
#[derive(Serialize, Deserialize)]
struct BundleFile {
    path: String,
    layers: Vec<Digest>,
}

impl Store {
    fn bundle_record(&self, bundle: &Path) -> PathBuf {
        self.root.join("bundles").join(Digest::of(bundle.as_os_str().as_bytes()).hex())
    }

    /// Notes that the bundle's rootfs stands on these layers. `bundle` is absolute.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn use_layers(&self, bundle: &Path, layers: &[Digest]) -> Result<()> {
        let record = BundleFile {
            path: BASE64_STANDARD.encode(bundle.as_os_str().as_bytes()),
            layers: layers.to_vec(),
        };
        let path = self.bundle_record(bundle);
        let bytes = serde_json::to_vec(&record)
            .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
        write_atomically(&path, &bytes)
    }

    /// Takes back [`Self::use_layers`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn release_layers(&self, bundle: &Path) -> Result<()> {
        let path = self.bundle_record(bundle);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(Error::io("remove", path)),
        }
    }

    /// The layers that bundles stand on. Records of bundles that are gone are removed.
    pub(super) fn layers_in_use(&self) -> Result<Vec<Digest>> {
        let directory = self.root.join("bundles");
        let mut layers = Vec::new();
        for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
            let path = entry.map_err(Error::io("read", &directory))?.path();
            if path.extension().is_some() {
                // A write that never came to its rename.
                continue;
            }
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            let json = |source| Error::Json { what: path.display().to_string(), source };
            let record: BundleFile = serde_json::from_slice(&bytes).map_err(json)?;
            let bundle = BASE64_STANDARD.decode(&record.path).map_err(|_| Error::Document {
                what: path.display().to_string(),
                reason: "the bundle's path is not base64".into(),
            })?;
            let bundle = PathBuf::from(std::ffi::OsString::from_vec(bundle));
            match fs::symlink_metadata(&bundle) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
                _ => layers.extend(record.layers),
            }
        }
        Ok(layers)
    }
}
