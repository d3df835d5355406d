//! How much memory a pull takes: what bounds it is the code, so no layer's size shows in it.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::registry::{Answer, CONFIG, LAYER, MANIFEST, Registry};
use super::sandbox::Sandbox;

/// What a pull may take, in MiB.
const PEAK: u64 = 100;
const MIB: usize = 1 << 20;

/// A layer of so many bytes that can't be compressed.
fn layer(name: &str, mut state: u64, size: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(size);
    while content.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    Archive::new().entry(b'0', name, "", &content).tar()
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

/// With the window of 8 MiB that image builders use.
fn zstd(tar: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(23).unwrap();
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

/// Pulls an image of these layers from a registry that has ranges; gives the process' peak in MiB.
fn peak(tars: &[Vec<u8>], compress: impl Fn(&[u8]) -> Vec<u8>) -> u64 {
    let registry = Registry::start();
    let blobs: Vec<_> = tars.iter().map(|tar| compress(tar)).collect();
    let describe = |blob: &Vec<u8>| json!({ "mediaType": LAYER, "digest": Digest::of(blob), "size": blob.len() });
    let layers: Vec<_> = blobs.iter().map(describe).collect();
    let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar)).collect();
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = registry.blob("x", CONFIG, config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    registry.manifest("x", "t", MANIFEST, &manifest);
    let blobs: Vec<_> =
        blobs.into_iter().map(|blob| (Digest::of(&blob).to_string(), blob)).collect();
    registry.rule(move |request| {
        let (_, blob) = blobs.iter().find(|(digest, _)| request.path.ends_with(digest))?;
        let range = request.headers.get("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        let answer = Answer::ok("", &blob[first..=last]).with_status(206);
        Some(answer.with("Content-Range", &format!("bytes {first}-{last}/{}", blob.len())))
    });
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let mut pull = sandbox
        .command()
        .args(["pull", "-q", "--tls-verify=false", &reference])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while pull.try_wait().unwrap().is_none() {
        // The kernel's own high-water mark, so that it's no matter when it is read. It goes with the process.
        let status = fs::read_to_string(format!("/proc/{}/status", pull.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = kilobytes.map_or(peak, |kilobytes| kilobytes >> 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(pull.wait().unwrap().success());
    assert!(peak > 0);
    peak
}

#[test]
fn a_layer_larger_than_the_limit() {
    let tars = [layer("large", 1, 120 * MIB)];
    assert!(tars[0].len() as u64 >> 20 > PEAK);
    for (how, peak) in [("gzip", peak(&tars, gzip)), ("zstd", peak(&tars, zstd))] {
        assert!(peak < PEAK, "{how}: {peak} MiB");
    }
}

#[test]
fn four_layers_at_once_with_windows_of_8_mib() {
    let tars: Vec<_> = (1..5).map(|n| layer(&format!("l{n}"), n, 32 * MIB)).collect();
    let peak = peak(&tars, zstd);
    assert!(peak < PEAK, "{peak} MiB");
}
