//! The image that the engines' cases run, "box": the cases' root file system as one layer.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::case::{Failure, Outcome};
use crate::env::Env;

/// The layer, as an uncompressed archive.
pub fn layer(env: &Env) -> Result<PathBuf, Failure> {
    let archive = env.dir.join("box.tar");
    pack(env, &env.bundle()?.rootfs(), &archive)?;
    Ok(archive)
}

/// A layer of busybox and little else, for those who copy it many times.
pub fn small_layer(env: &Env) -> Result<PathBuf, Failure> {
    let (root, archive) = (env.dir.join("small"), env.dir.join("small.tar"));
    for folder in ["bin", "proc", "sys", "dev", "etc"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    for applet in ["sh", "sleep", "true", "echo"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    pack(env, &root, &archive)?;
    Ok(archive)
}

/// An OCI image layout in a directory, whose image is called `box:latest`.
pub fn layout(env: &Env) -> Result<PathBuf, Failure> {
    layout_of(env, &layer(env)?)
}

fn layout_of(env: &Env, layer: &Path) -> Result<PathBuf, Failure> {
    let dir = env.dir.join("layout");
    fs::create_dir_all(dir.join("blobs/sha256"))?;
    let mut layer = store(env, &dir, layer)?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let mut config = store_json(env, &dir, &config)?;
    config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let mut manifest = store_json(env, &dir, &manifest)?;
    manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
    manifest["annotations"] = json!({
        "io.containerd.image.name": "box:latest",
        "org.opencontainers.image.ref.name": "latest",
    });
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(dir.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(dir)
}

/// The layout of a layer as an archive.
pub fn archive(env: &Env, layer: &Path) -> Result<PathBuf, Failure> {
    let archive = env.dir.join("image.tar");
    pack(env, &layout_of(env, layer)?, &archive)?;
    Ok(archive)
}

fn pack(env: &Env, folder: &Path, archive: &Path) -> Outcome {
    let words = ["tar".as_ref(), "-C".as_ref(), folder, "-cf".as_ref(), archive, ".".as_ref()];
    env.command(&words).ok()?;
    Ok(())
}

fn store_json(env: &Env, dir: &Path, value: &Value) -> Result<Value, Failure> {
    let file = env.dir.join("blob");
    fs::write(&file, serde_json::to_vec(value)?)?;
    store(env, dir, &file)
}

/// Move a file to the blobs; its descriptor, without a media type.
fn store(env: &Env, dir: &Path, file: &Path) -> Result<Value, Failure> {
    let sum = env.command(&["sha256sum".as_ref(), file]).ok()?.stdout;
    let sum = sum.split(' ').next().unwrap_or_default();
    let size = file.metadata()?.len();
    fs::rename(file, dir.join("blobs/sha256").join(sum))?;
    Ok(json!({"digest": format!("sha256:{sum}"), "size": size}))
}
