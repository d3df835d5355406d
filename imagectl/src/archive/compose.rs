//! Images made here: of a tarball, of a directory, or of a bundle's changed rootfs.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Loaded;
use crate::bundle::unpack_missing;
use crate::changes::{Change, Kind, changes};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::{Descriptor, ImageConfig, Platform, media_type};
use crate::layer::{self, Budget, Content, Limits, decompress_blob};
use crate::reference::Reference;
use crate::store::{MARK, Session, Store, StoredImage};

/// How a layer that is made here is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As everybody reads it.
    Gzip,
    /// Smaller and faster, but newer.
    Zstd,
}

/// What the layer is made of.
pub enum Origin {
    /// A tarball, which becomes the layer as it is.
    Tarball(Box<dyn Read>),
    /// A directory tree.
    Directory(PathBuf),
}

/// What the image says beside its layer.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The name.
    pub name: Reference,
    /// What it runs on.
    pub platform: Platform,
    /// Fields for the config's `config`; those that are null stay as they were.
    pub config: Value,
    /// How to compress a layer that is made of files.
    pub compression: Compression,
    /// What the image may become.
    pub limits: Limits,
}

/// Makes an image of one layer.
///
/// # Errors
/// [`Error::Layer`] for a tarball that can't be unpacked, [`Error::Entry`] for a file that can't be
/// read, or those of the store.
pub fn import(store: &Store, origin: Origin, recipe: &Recipe) -> Result<Loaded> {
    store.all_or_nothing(|store| import_into(store, origin, recipe))
}

fn import_into(store: &Store, origin: Origin, recipe: &Recipe) -> Result<Loaded> {
    let _held = store.hold()?;
    let session = store.begin()?;
    let (blob, diff_id) = match origin {
        Origin::Tarball(source) => tarball(store, &session, source, recipe)?,
        Origin::Directory(path) => {
            let directory = File::open(&path).map_err(Error::io("open", &path))?;
            tree(store, &session, &directory, Content::Tree, recipe.compression)?
        }
    };
    let config = json!({
        "os": recipe.platform.os,
        "architecture": recipe.platform.architecture,
        "variant": recipe.platform.variant,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [] },
        "history": [],
    });
    finish(store, recipe, config, Vec::new(), (blob, diff_id), "imagectl import")
}

/// Makes an image of a bundle's rootfs: the image that it was made of, and a layer of what changed.
///
/// # Errors
/// [`Error::Document`] if the directory is no bundle, or its image is no more in the store,
/// [`Error::Entry`] for a file that can't be read, or those of the store.
pub fn commit(store: &Store, bundle: &Path, recipe: &Recipe) -> Result<Loaded> {
    store.all_or_nothing(|store| commit_into(store, bundle, recipe))
}

fn commit_into(store: &Store, bundle: &Path, recipe: &Recipe) -> Result<Loaded> {
    let _held = store.hold()?;
    let session = store.begin()?;
    let refuse = |reason: &str| Error::Document {
        what: bundle.display().to_string(),
        reason: reason.to_owned(),
    };
    let mark = bundle.join(MARK);
    let bytes = std::fs::read(&mark).map_err(Error::io("read", &mark))?;
    let mark: Value = serde_json::from_slice(&bytes)
        .map_err(|source| Error::Json { what: mark.display().to_string(), source })?;
    let digest = mark["digest"].as_str().map(Digest::parse).transpose()?;
    let image: StoredImage = store
        .images()?
        .into_iter()
        .find(|image| Some(image.descriptor.digest) == digest)
        .ok_or_else(|| refuse("its image is not in the store any more"))?;
    let upper = bundle.join("overlay/upper");
    let made = match File::open(&upper) {
        Ok(upper) => tree(store, &session, &upper, Content::Upper, recipe.compression)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            copied(store, &session, bundle, recipe)?
        }
        Err(error) => return Err(Error::io("open", &upper)(error)),
    };
    let manifest = store.manifest(&image)?;
    let bytes = store.read_document(&manifest.config)?;
    let config: Value = serde_json::from_slice(&bytes).map_err(|source| Error::Json {
        what: format!("config {}", manifest.config.digest),
        source,
    })?;
    finish(store, recipe, config, manifest.layers, made, "imagectl commit")
}

/// Makes a layer of what changed in a bundle with files of its own.
fn copied(
    store: &Store,
    session: &Session,
    bundle: &Path,
    recipe: &Recipe,
) -> Result<(Descriptor, Digest)> {
    let changes = changes(store, bundle, recipe.limits)?;
    let (gone, there): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| change.kind == Kind::Deleted);
    let paths = |changes: Vec<Change>| changes.into_iter().map(|change| change.path).collect();
    let (there, gone): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (paths(there), paths(gone));
    let rootfs = bundle.join("rootfs");
    let directory = File::open(&rootfs).map_err(Error::io("open", &rootfs))?;
    let content = Content::Changes { there: &there, gone: &gone };
    tree(store, session, &directory, content, recipe.compression)
}

/// Adds the layer to the config and the image to the store.
fn finish(
    store: &Store,
    recipe: &Recipe,
    mut config: Value,
    mut layers: Vec<Descriptor>,
    (blob, diff_id): (Descriptor, Digest),
    by: &str,
) -> Result<Loaded> {
    if let (Some(fields), Some(changes)) =
        (config["config"].as_object_mut(), recipe.config.as_object())
    {
        let set = changes.iter().filter(|(_, value)| !value.is_null());
        fields.extend(set.map(|(key, value)| (key.clone(), value.clone())));
    }
    match config["rootfs"]["diff_ids"].as_array_mut() {
        Some(diff_ids) => diff_ids.push(json!(diff_id)),
        None => config["rootfs"] = json!({ "type": "layers", "diff_ids": [diff_id] }),
    }
    match config["history"].as_array_mut() {
        Some(history) => history.push(json!({ "created_by": by })),
        None => config["history"] = Value::Null,
    }
    if let Some(fields) = config.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    layers.push(blob);
    let json = |source| Error::Json { what: "the new config".into(), source };
    let bytes = serde_json::to_vec(&config).map_err(json)?;
    let parsed = ImageConfig::parse("the new config", &bytes, layers.len())?;
    let digest = Digest::of(&bytes);
    store.write_document(&digest, &bytes)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, digest, bytes.len() as u64);
    let descriptor = put_manifest(store, config, layers, &parsed)?;
    let name = recipe.name.to_string();
    if rustix::process::geteuid().is_root() {
        let image = StoredImage { descriptor: descriptor.clone() };
        let manifest = store.manifest(&image)?;
        unpack_missing(store, &name, &manifest, &parsed, recipe.limits)?;
    }
    let digest = descriptor.digest;
    store.add_image(&name, &digest, descriptor)?;
    Ok(Loaded { name, digest })
}

/// Writes the manifest of an image whose other blobs are in the store.
pub(super) fn put_manifest(
    store: &Store,
    config: Descriptor,
    layers: Vec<Descriptor>,
    parsed: &ImageConfig,
) -> Result<Descriptor> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config,
        "layers": layers,
    });
    let bytes = serde_json::to_vec(&manifest)
        .map_err(|source| Error::Json { what: "the new manifest".into(), source })?;
    let digest = Digest::of(&bytes);
    store.write_document(&digest, &bytes)?;
    let platform = Some(Platform::of(parsed));
    let size = bytes.len() as u64;
    Ok(Descriptor { platform, ..Descriptor::new(media_type::OCI_MANIFEST, digest, size) })
}

/// What a stored layer is, by its first bytes.
pub(super) fn layer_type(store: &Store, digest: &Digest) -> Result<&'static str> {
    let mut magic = Vec::new();
    let file = store.open_blob(digest)?;
    file.take(4).read_to_end(&mut magic).map_err(Error::io("read", store.blob_path(digest)))?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    })
}

/// Takes a tarball as it is.
fn tarball(
    store: &Store,
    session: &Session,
    mut source: Box<dyn Read>,
    recipe: &Recipe,
) -> Result<(Descriptor, Digest)> {
    let path = session.fresh("import");
    let mut blob = Counted::create(&path)?;
    io::copy(&mut source, &mut blob).map_err(Error::io("write", &path))?;
    let (digest, size) = blob.finish().map_err(Error::io("write", &path))?;
    store.adopt(&path, &digest)?;
    let blob = Descriptor::new(layer_type(store, &digest)?, digest, size);
    let diff_id = uncompressed(store, &blob, recipe.limits).map_err(|source| Error::Layer {
        image: recipe.name.to_string(),
        layer: digest,
        source: Box::new(source),
    })?;
    Ok((blob, diff_id))
}

/// The digest of a layer's uncompressed bytes.
fn uncompressed(store: &Store, blob: &Descriptor, limits: Limits) -> Result<Digest> {
    let file = BufReader::with_capacity(128 << 10, store.open_blob(&blob.digest)?);
    let budget = Budget::new(limits);
    let mut hashed = Counted::new(io::sink());
    io::copy(&mut decompress_blob(file, blob.size, &budget)?, &mut hashed).map_err(|error| {
        match error.downcast::<Error>() {
            Ok(own) => own,
            Err(source) => Error::Step { action: "read the tarball", source },
        }
    })?;
    Ok(hashed.hasher.finish())
}

/// Makes a layer of a directory.
fn tree(
    store: &Store,
    session: &Session,
    directory: &File,
    content: Content<'_>,
    compression: Compression,
) -> Result<(Descriptor, Digest)> {
    let path = session.fresh("commit");
    let blob = Counted::create(&path)?;
    let done = Error::io("write", &path);
    let (media_type, diff_id, blob) = match compression {
        Compression::None => {
            let tar = layer::pack(directory.as_fd(), content, Counted::new(blob))?;
            let (diff_id, blob) = (tar.hasher.finish(), tar.sink);
            (media_type::OCI_LAYER, diff_id, blob)
        }
        Compression::Gzip => {
            let gzip = flate2::write::GzEncoder::new(blob, flate2::Compression::default());
            let tar = layer::pack(directory.as_fd(), content, Counted::new(gzip))?;
            (media_type::OCI_LAYER_GZIP, tar.hasher.finish(), tar.sink.finish().map_err(done)?)
        }
        Compression::Zstd => {
            let zstd = zstd::Encoder::new(blob, 3).map_err(Error::step("set up zstd"))?;
            let tar = layer::pack(directory.as_fd(), content, Counted::new(zstd))?;
            (media_type::OCI_LAYER_ZSTD, tar.hasher.finish(), tar.sink.finish().map_err(done)?)
        }
    };
    let (digest, size) = blob.finish().map_err(Error::io("write", &path))?;
    store.adopt(&path, &digest)?;
    Ok((Descriptor::new(media_type, digest, size), diff_id))
}

/// Hashes and counts what is written through it.
struct Counted<W> {
    sink: W,
    hasher: Hasher,
    size: u64,
}

impl Counted<io::BufWriter<File>> {
    fn create(path: &Path) -> Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(Error::io("create", path))?;
        let sink = io::BufWriter::with_capacity(128 << 10, file);
        Ok(Self::new(sink))
    }
}

impl<W: Write> Counted<W> {
    fn new(sink: W) -> Self {
        Self { sink, hasher: Hasher::default(), size: 0 }
    }

    fn finish(mut self) -> io::Result<(Digest, u64)> {
        self.sink.flush()?;
        Ok((self.hasher.finish(), self.size))
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
