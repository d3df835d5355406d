//! Unpacked layers: one directory a diff ID, visible only when it is complete.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::{Session, Store, make_directory};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::LayerRecord;

/// `layer.json`. Paths are bytes, so they stand in base64.
#[derive(Serialize, Deserialize)]
struct RecordFile {
    root: bool,
    opaque: bool,
    implied: Vec<String>,
}

/// A layer being unpacked.
pub struct LayerDraft {
    path: PathBuf,
    tree: OwnedFd,
    place: PathBuf,
}

impl Store {
    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.hex())
    }

    /// The directory that holds the unpacked layer's files.
    #[must_use]
    pub fn layer_tree(&self, diff_id: &Digest) -> PathBuf {
        self.layer_path(diff_id).join("fs")
    }

    /// Is the layer unpacked?
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer_path(diff_id).join("layer.json").is_file()
    }

    /// Reads what the layer's tree alone doesn't show.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn layer_record(&self, diff_id: &Digest) -> Result<LayerRecord> {
        let path = self.layer_path(diff_id).join("layer.json");
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let json = |source| Error::Json { what: path.display().to_string(), source };
        let file: RecordFile = serde_json::from_slice(&bytes).map_err(json)?;
        let implied = file
            .implied
            .iter()
            .map(|text| {
                BASE64_STANDARD.decode(text).map_err(|_| Error::Document {
                    what: path.display().to_string(),
                    reason: "a path is not base64".into(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(LayerRecord { root: file.root, opaque: file.opaque, implied })
    }

    /// Begins to unpack a layer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn draft_layer(&self, session: &Session, diff_id: &Digest) -> Result<LayerDraft> {
        let path = session.fresh("layer");
        make_directory(&path)?;
        let fs = path.join("fs");
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&fs)
            .map_err(Error::io("make the directory", &fs))?;
        let tree = fs::File::open(&fs).map_err(Error::io("open", &fs))?.into();
        Ok(LayerDraft { path, tree, place: self.layer_path(diff_id) })
    }
}

impl LayerDraft {
    /// The directory to unpack into.
    #[must_use]
    pub fn tree(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }

    /// Makes the layer visible. If another process was faster, its layer stays.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(self, record: &LayerRecord) -> Result<()> {
        let file = RecordFile {
            root: record.root,
            opaque: record.opaque,
            implied: record.implied.iter().map(|path| BASE64_STANDARD.encode(path)).collect(),
        };
        let path = self.path.join("layer.json");
        let bytes = serde_json::to_vec(&file)
            .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        match fs::rename(&self.path, &self.place) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(())
            }
            result => result.map_err(Error::io("rename", &self.path)),
        }
    }
}
