//! Saving: images of the store as an archive or layout that every other tool reads.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde_json::json;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Descriptor, media_type};
use crate::layer::tar::{Entry, Kind, Writer};
use crate::layer::{Budget, Decoder, Limits, decompress_blob};
use crate::store::{Store, StoredImage, annotation};

/// Layers are read in pieces of this size.
const BUFFER: usize = 128 << 10;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As `docker save` writes it: layers uncompressed, named by their diff IDs.
    Docker,
    /// A layout in an archive.
    OciArchive,
    /// A layout in a new directory.
    OciDirectory,
}

/// Writes the images as an archive.
///
/// # Errors
/// Those of the store, [`Error::Step`] for the sink's; [`Error::WrongDigest`] if a stored layer is not
/// the one that it should be.
pub fn save(
    store: &Store,
    images: &[StoredImage],
    format: Format,
    limits: Limits,
    sink: impl Write,
) -> Result<()> {
    let mut archive = Archive { writer: Writer::new(sink), written: HashSet::new() };
    match format {
        Format::Docker => docker(store, images, limits, &mut archive)?,
        Format::OciArchive | Format::OciDirectory => {
            layout(store, images, &mut |name, source| match source {
                Content::Bytes(bytes) => archive.file(name, bytes.len() as u64, bytes),
                Content::Blob(file, size) => archive.file(name, size, file),
            })?;
        }
    }
    let mut sink = archive.writer.finish().map_err(Error::step("write the archive"))?;
    sink.flush().map_err(Error::step("write the archive"))
}

/// Writes the images as a layout into the new directory.
///
/// # Errors
/// As [`save`], and [`Error::Io`] if the directory is there.
pub fn save_directory(store: &Store, images: &[StoredImage], path: &Path) -> Result<()> {
    for directory in [path, &path.join("blobs"), &path.join("blobs/sha256")] {
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(directory)
            .map_err(Error::io("make the directory", directory))?;
    }
    let filled = layout(store, images, &mut |name, source| {
        let path = path.join(name);
        let mut file = match File::options().write(true).create_new(true).mode(0o644).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            result => result.map_err(Error::io("create", &path))?,
        };
        match source {
            Content::Bytes(bytes) => file.write_all(bytes),
            // The kernel shares or copies the data where it can.
            Content::Blob(mut blob, _) => io::copy(&mut blob, &mut file).map(drop),
        }
        .map_err(Error::io("write", &path))
    });
    filled.inspect_err(|_| {
        // It was made just now; the error at hand is the one to tell.
        let _ = std::fs::remove_dir_all(path);
    })
}

/// What a file of a layout holds.
enum Content<'a> {
    Bytes(&'a [u8]),
    Blob(File, u64),
}

/// Gives the files of a layout, one by one.
fn layout(
    store: &Store,
    images: &[StoredImage],
    put: &mut dyn FnMut(&str, Content<'_>) -> Result<()>,
) -> Result<()> {
    put("oci-layout", Content::Bytes(br#"{"imageLayoutVersion":"1.0.0"}"#))?;
    let mut entries = Vec::new();
    for image in images {
        let contents = store.contents(&image.descriptor)?;
        for part in contents.blobs.iter().chain(&contents.documents) {
            let name = format!("blobs/sha256/{}", part.digest.hex());
            if !store.has_blob(part) {
                return Err(missing(part));
            }
            put(&name, Content::Blob(store.open_blob(&part.digest)?, part.size))?;
        }
        let mut entry = image.descriptor.clone();
        // What only this store's index is about stays here.
        entry
            .annotations
            .retain(|key, _| matches!(key.as_str(), annotation::REF_NAME | annotation::FULL_NAME));
        entries.push(entry);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": entries,
    });
    put("index.json", Content::Bytes(index.to_string().as_bytes()))
}

fn missing(part: &Descriptor) -> Error {
    Error::Document {
        what: format!("blob {}", part.digest),
        reason: "is not in the store; pull the image again".into(),
    }
}

fn docker<W: Write>(
    store: &Store,
    images: &[StoredImage],
    limits: Limits,
    archive: &mut Archive<W>,
) -> Result<()> {
    let mut items: Vec<(Digest, serde_json::Value)> = Vec::new();
    for image in images {
        // Docker takes no digest in a tag's place.
        let tag = Some(image.name()).filter(|name| !name.is_empty() && !name.contains('@'));
        let digest = image.descriptor.digest;
        if let Some((_, item)) = items.iter_mut().find(|(other, _)| *other == digest) {
            if let (Some(tags), Some(tag)) = (item["RepoTags"].as_array_mut(), tag) {
                tags.push(tag.into());
            }
            continue;
        }
        let manifest = store.manifest(image)?;
        let config = store.config(&manifest)?;
        let budget = Budget::new(limits);
        let mut layers = Vec::new();
        for (blob, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let name = format!("{}.tar", diff_id.hex());
            if !archive.written.contains(&name) {
                // The header wants the size, which nobody knows before the layer is uncompressed.
                let size =
                    measure(store, blob, diff_id, &budget).map_err(|source| Error::Layer {
                        image: image.name().to_owned(),
                        layer: blob.digest,
                        source: Box::new(source),
                    })?;
                let source = BufReader::with_capacity(BUFFER, store.open_blob(&blob.digest)?);
                archive.file(&name, size, Decoder::new(source)?.take(size))?;
            }
            layers.push(name);
        }
        let name = format!("{}.json", manifest.config.digest.hex());
        let bytes = store.read_document(&manifest.config)?;
        archive.file(&name, bytes.len() as u64, &bytes[..])?;
        let tags: Vec<&str> = tag.into_iter().collect();
        items.push((digest, json!({ "Config": name, "RepoTags": tags, "Layers": layers })));
    }
    let items: Vec<_> = items.into_iter().map(|(_, item)| item).collect();
    let bytes = json!(items).to_string();
    archive.file("manifest.json", bytes.len() as u64, bytes.as_bytes())
}

/// Checks a layer's uncompressed bytes and gives their number.
fn measure(store: &Store, blob: &Descriptor, diff_id: &Digest, budget: &Budget) -> Result<u64> {
    if !store.has_blob(blob) {
        return Err(missing(blob));
    }
    let source = BufReader::with_capacity(BUFFER, store.open_blob(&blob.digest)?);
    let mut source = decompress_blob(source, blob.size, budget)?;
    let mut hasher = crate::digest::Hasher::default();
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let length = source.read(&mut buffer).map_err(|error| match error.downcast::<Error>() {
            Ok(own) => own,
            Err(source) => Error::Step { action: "read the layer", source },
        })?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
    }
    match hasher.finish() {
        found if found == *diff_id => Ok(size),
        found => Err(Error::WrongDigest {
            what: format!("layer {}, uncompressed", blob.digest),
            expected: *diff_id,
            found,
        }),
    }
}

/// An archive that holds no file twice.
struct Archive<W> {
    writer: Writer<W>,
    written: HashSet<String>,
}

impl<W: Write> Archive<W> {
    fn file(&mut self, name: &str, size: u64, data: impl Read) -> Result<()> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        let entry = Entry {
            path: name.as_bytes().to_vec(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size,
            sparse: None,
            xattrs: Vec::new(),
        };
        self.writer.entry(&entry, data).map_err(Error::step("write the archive"))
    }
}
