//! Unpacked layers: one directory a diff ID, visible only when it is complete.
//!
//! A layer's files are not synced: a tenth to a fifth of a pull would go into that. A kill leaves the
//! kernel's copy of them whole, and only a power cut can take some. So a layer names the boot it was
//! unpacked in, and counts for nothing after the next one: it is unpacked again from its blob, which
//! is synced.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::{Session, Store, make_directory};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::LayerRecord;
use crate::user_namespace::identity;

/// `layer.json`. Paths are bytes, so they stand in base64.
#[derive(Serialize, Deserialize)]
struct RecordFile {
    #[serde(default)]
    boot: String,
    /// The maps of the user namespace that the files' owners are meant in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ids: String,
    root: bool,
    opaque: bool,
    implied: Vec<String>,
}

/// A layer being unpacked.
pub struct LayerDraft {
    store: Store,
    diff_id: Digest,
    path: PathBuf,
    tree: OwnedFd,
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

    /// Is the layer unpacked, and surely whole? For a user's namespaces with other IDs, it is not.
    #[must_use]
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        // Who isn't root in one asks out of curiosity.
        let ids = |ids: &str| ids == identity() || !rustix::process::geteuid().is_root();
        self.record_file(diff_id).is_ok_and(|file| file.boot == boot() && ids(&file.ids))
    }

    fn record_file(&self, diff_id: &Digest) -> Result<RecordFile> {
        let path = self.layer_path(diff_id).join("layer.json");
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&bytes)
            .map_err(|source| Error::Json { what: path.display().to_string(), source })
    }

    /// Reads what the layer's tree alone doesn't show.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn layer_record(&self, diff_id: &Digest) -> Result<LayerRecord> {
        let file = self.record_file(diff_id)?;
        let implied = file
            .implied
            .iter()
            .map(|text| {
                BASE64_STANDARD.decode(text).map_err(|_| Error::Document {
                    what: format!("layer {diff_id}"),
                    reason: "a path of its record is not base64".into(),
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
        Ok(LayerDraft { store: self.clone(), diff_id: *diff_id, path, tree })
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
    pub fn commit(self, session: &Session, record: &LayerRecord) -> Result<()> {
        let file = RecordFile {
            boot: boot().to_owned(),
            ids: identity().to_owned(),
            root: record.root,
            opaque: record.opaque,
            implied: record.implied.iter().map(|path| BASE64_STANDARD.encode(path)).collect(),
        };
        let path = self.path.join("layer.json");
        let bytes = serde_json::to_vec(&file)
            .map_err(|source| Error::Json { what: path.display().to_string(), source })?;
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        let place = self.store.layer_path(&self.diff_id);
        loop {
            match fs::rename(&self.path, &place) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                    ) =>
                {
                    if self.store.has_layer(&self.diff_id) {
                        return Ok(());
                    }
                    self.refuse_in_use(&place)?;
                    // Of an earlier boot, and perhaps not whole.
                    session.take(&place)?;
                }
                result => {
                    result.map_err(Error::io("rename", &self.path))?;
                    self.store.made(&place);
                    return Ok(());
                }
            }
        }
    }
}

impl LayerDraft {
    /// A layer of this boot with other IDs may be under a mount.
    fn refuse_in_use(&self, place: &Path) -> Result<()> {
        let of_this_boot = self.store.record_file(&self.diff_id).is_ok_and(|f| f.boot == boot());
        let in_use =
            || -> Result<bool> {
                Ok(self.store.bundle_records()?.iter().any(|record| {
                    record.alive != Some(false) && record.layers.contains(&self.diff_id)
                }))
            };
        match of_this_boot && in_use()? {
            false => Ok(()),
            true => Err(Error::Document {
                what: place.display().to_string(),
                reason: "is in use by a bundle or mount in a user namespace with other IDs".into(),
            }),
        }
    }
}

/// What the kernel calls this boot.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let id = id.trim();
        // Without a name for it, no two commands are of one boot.
        if id.is_empty() { format!("process {}", std::process::id()) } else { id.to_owned() }
    })
}
