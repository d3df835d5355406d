//! Mutating loops over what an archive may say, each a few seconds: whatever comes, nothing panics, nothing
//! outside the target changes, and memory stays small. `FUZZ_SEED` and `FUZZ_SECONDS` change the start and
//! the length. Needs root: owners, devices and overlayfs' marks.

// A test fails by panicking, and so do the parts that it is built of.
#![allow(clippy::unwrap_used)]

// The other tests use more of it.
#[allow(dead_code)]
#[path = "imagectl/archive.rs"]
mod archive;

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use archive::Archive;
use imagectl::digest::Digest;
use imagectl::image::Descriptor;
use imagectl::layer::{self, Budget, Expected, Form, Limits, Listing, Ownership, Target};

/// Small random numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % bound
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A directory with a target in it and a neighbour that nothing may touch.
struct Ground {
    path: PathBuf,
}

impl Ground {
    fn new(name: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "the fuzz tests need root");
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("fuzz-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("outside/sub")).unwrap();
        std::fs::write(path.join("outside/secret"), "secret").unwrap();
        Self { path }
    }

    fn outside(&self) -> String {
        self.path.join("outside").to_str().unwrap().to_owned()
    }

    /// Runs `work` on a fresh target, and looks at the neighbour then.
    fn on_target(&self, what: &str, work: impl FnOnce(&std::fs::File)) {
        let before = self.picture();
        let target = self.path.join("target");
        std::fs::create_dir(&target).unwrap();
        let directory = std::fs::File::open(&target).unwrap();
        work(&directory);
        let parent = std::fs::File::open(&self.path).unwrap();
        layer::remove_tree(parent.as_fd(), b"target").unwrap();
        assert_eq!(self.picture(), before, "{what}: something outside changed");
    }

    /// All that is beside the target, with metadata.
    fn picture(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut todo = vec![self.path.clone()];
        while let Some(path) = todo.pop() {
            let m = std::fs::symlink_metadata(&path).unwrap();
            let (mode, owner, links, size) = (m.mode(), (m.uid(), m.gid()), m.nlink(), m.len());
            if path != self.path {
                let time = (m.mtime(), m.mtime_nsec());
                lines
                    .push(format!("{} {mode:o} {owner:?} {links} {size} {time:?}", path.display()));
            }
            if m.is_dir() {
                todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        lines.sort();
        lines
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Leftovers in the target directory harm nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn seconds() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

/// Unpacks as the command does; an error is as good as success.
fn unpack(tar: &[u8], target: &std::fs::File, form: Form) -> bool {
    let (digest, size) = (Digest::of(tar), tar.len() as u64);
    let blob = Descriptor::new("application/vnd.oci.image.layer.v1.tar", digest, size);
    let budget = Budget::new(Limits { size: 64 << 20, ratio: 1000, entries: 10_000 });
    let expected = Expected { blob: &blob, diff_id: &digest, budget: &budget };
    let how = Target { form, ownership: Ownership::Stored };
    layer::unpack(tar, expected, target.as_fd(), how).is_ok()
}

/// Archives with everything that a reader must understand.
fn seeds(outside: &str) -> Vec<Vec<u8>> {
    let new = Archive::new;
    vec![
        new().dir("d").file("d/f", "data").symlink("l", outside).hardlink("h", "d/f").tar(),
        new().dir("./").dir("x").symlink("x/y", "../..").file("z", &"z".repeat(2000)).tar(),
        new()
            .pax(&[("path", "long/name"), ("mtime", "1.5"), ("uid", "70000")])
            .file("short", "x")
            .pax(&[("linkpath", outside), ("SCHILY.xattr.user.a", "b")])
            .symlink("s", "t")
            .tar(),
        new()
            .pax(&[("GNU.sparse.size", "100000"), ("GNU.sparse.map", "0,512,90000,512")])
            .file("sparse", &"s".repeat(1024))
            .pax(&[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.realsize", "2000"),
            ])
            .file("sparse1", &format!("{:\0<512}{}", "1\n0\n5\n", "12345"))
            .tar(),
        new().entry(b'L', "././@LongLink", "", b"gnu/long/name\0").file("cut", "x").tar(),
        new().entry(b'K', "././@LongLink", "", outside.as_bytes()).symlink("cut", "x").tar(),
        new()
            .device(b'3', "null", (1, 3))
            .device(b'4', "loop", (7, 0))
            .entry(b'6', "fifo", "", b"")
            .file(".wh.gone", "")
            .file("d/.wh..wh..opq", "")
            .tar(),
    ]
}

/// What a field may be made to say.
const WORDS: [&[u8]; 16] = [
    b"../",
    b"/",
    b"..",
    b".",
    b".wh.",
    b".wh..wh..opq",
    b"l/x",
    b"x/y/z",
    b"h",
    b"\0",
    b"\xff",
    b"7777777777",
    b"99999999999999999999",
    b"-1",
    b"=\n",
    b"d",
];

/// Where a header's fields begin: name, mode, IDs, size, time, type, link, magic, device, prefix.
const FIELDS: [usize; 11] = [0, 100, 108, 116, 124, 136, 156, 157, 257, 329, 345];

fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = dice.pick(seeds).clone();
    for _ in 0..=dice.below(4) {
        let block = dice.below(bytes.len() / 512) * 512;
        match dice.below(8) {
            0 => {
                let at = dice.below(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
            }
            1..=3 => {
                let at = (block + dice.pick(&FIELDS)).min(bytes.len() - 1);
                let word = dice.pick(&WORDS);
                let end = (at + word.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            4 => {
                let kind = *dice.pick(b"0123456LKSxgZ");
                bytes[(block + 156).min(block + 511)] = kind;
            }
            5 => {
                let copy = bytes[block..block + 512].to_vec();
                let at = dice.below(bytes.len() / 512) * 512;
                bytes.splice(at..at, copy);
            }
            6 => {
                let other = dice.pick(seeds).clone();
                let from = dice.below(other.len() / 512) * 512;
                bytes.truncate(block);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let length = dice.below(bytes.len());
                bytes.truncate(length.max(512).next_multiple_of(if dice.below(2) == 0 {
                    1
                } else {
                    512
                }));
                bytes.resize(bytes.len().next_multiple_of(512), 0);
            }
        }
        if bytes.len() < 512 {
            bytes.resize(512, 0);
        }
    }
    // Most broken checksums would end the archive before anything interesting comes.
    if dice.below(8) > 0 {
        for header in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
            header[148..156].fill(b' ');
            let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

/// The process' peak, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn tar_streams() {
    let ground = Ground::new("tar");
    let seeds = seeds(&ground.outside());
    let mut dice = Dice::new();
    let (mut rounds, mut whole) = (0_u32, 0_u32);
    let end = Instant::now() + seconds();
    while Instant::now() < end {
        let lower = dice.pick(&seeds).clone();
        let tar = mutate(&mut dice, &seeds);
        let form = if dice.below(2) == 0 { Form::Overlay } else { Form::Tree };
        ground.on_target(&format!("round {rounds}"), |target| {
            if form == Form::Tree {
                unpack(&lower, target, form);
            }
            whole += u32::from(unpack(&tar, target, form));
        });
        rounds += 1;
    }
    assert!(rounds > 50, "only {rounds} rounds");
    assert!(whole > 0 && whole < rounds, "{whole} of {rounds}: the mutations are of no use");
    assert!(peak() < 256 << 10, "{} KiB", peak());
}

/// Well-formed archives of names that mean something to who applies them.
fn entries(dice: &mut Dice, outside: &str) -> Vec<u8> {
    const NAMES: [&str; 20] = [
        "a",
        "b",
        "a/b",
        "a/b/c",
        "b/c",
        ".wh.a",
        ".wh.b",
        "a/.wh.b",
        "a/b/.wh.c",
        ".wh..wh..opq",
        "a/.wh..wh..opq",
        "a/b/.wh..wh..opq",
        ".wh.",
        ".wh..",
        ".wh..wh.aufs",
        "./",
        "../a",
        "/a/c",
        "a/../b",
        ".wh.a/b",
    ];
    let mut archive = Archive::new();
    // Refusals end a layer: most of the names must be fit to be applied.
    let fit = if dice.below(4) == 0 { NAMES.len() } else { 12 };
    for _ in 0..=dice.below(10) {
        let name = NAMES[dice.below(fit)];
        let plain = !name.contains(".wh.");
        archive = match dice.below(5) {
            0 if plain => archive.dir(name),
            1 if plain => archive.symlink(name, outside),
            2 if plain => archive.symlink(name, "b"),
            3 if plain => archive.hardlink(name, NAMES[dice.below(5)]),
            _ => archive.file(name, "x"),
        };
    }
    archive.tar()
}

fn paths(root: &Path) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let mut paths = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            paths.push(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec());
            if std::fs::symlink_metadata(&path).unwrap().is_dir() {
                todo.push(path);
            }
        }
    }
    paths.sort();
    paths
}

#[test]
fn whiteouts() {
    let ground = Ground::new("whiteouts");
    let outside = ground.outside();
    let mut dice = Dice::new();
    let (mut rounds, mut compared) = (0_u32, 0_u32);
    let end = Instant::now() + seconds();
    while Instant::now() < end {
        let layers: Vec<Vec<u8>> = (0..3).map(|_| entries(&mut dice, &outside)).collect();
        ground.on_target(&format!("round {rounds}"), |target| {
            let mut listing = Listing::default();
            for tar in &layers {
                let (digest, size) = (Digest::of(tar), tar.len() as u64);
                let blob = Descriptor::new("", digest, size);
                let budget = Budget::new(Limits::default());
                let expected = Expected { blob: &blob, diff_id: &digest, budget: &budget };
                let listed = listing.add(&tar[..], expected).is_ok();
                if !unpack(tar, target, Form::Tree) || !listed {
                    return;
                }
                // What the headers say is what the tree has.
                let listed: Vec<_> =
                    listing.nodes().keys().filter(|p| !p.is_empty()).cloned().collect();
                let found = paths(&ground.path.join("target"));
                let show =
                    |paths: &[Vec<u8>]| String::from_utf8_lossy(&paths.join(&b' ')).into_owned();
                assert_eq!(show(&listed), show(&found), "round {rounds}");
                compared += 1;
            }
        });
        ground.on_target(&format!("round {rounds}, overlay"), |target| {
            unpack(&layers[0], target, Form::Overlay);
        });
        rounds += 1;
    }
    assert!(rounds > 50 && compared > 10, "only {rounds} rounds, {compared} compared");
    assert!(peak() < 256 << 10, "{} KiB", peak());
}
