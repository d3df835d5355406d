//! Archives that become more than anybody bargained for, and streams that don't end where they should.

use std::io::Write;

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::doors::{Hostile, Layer};
use super::registry::LAYER;
use super::sandbox::Sandbox;
use super::store::put_layers;

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// From here on a layer is held to its ratio.
const FLOOR: usize = 64 << 20;
const MIB: usize = 1 << 20;

/// As small as it gets: 1030 times smaller than zeros.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn zeros() -> Vec<u8> {
    Archive::new().entry(b'0', "zeros", "", &vec![0; FLOOR + 4 * MIB]).tar()
}

/// The archive in pieces that are compressed each on its own.
fn pieces(tar: &[u8], compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    tar.chunks(8 * MIB).flat_map(compress).collect()
}

fn bombs() -> Vec<(&'static str, Layer)> {
    let tar = zeros();
    let diff_id = Digest::of(&tar);
    vec![
        ("gzip", (LAYER, gzip(&tar), diff_id)),
        ("zstd", (ZSTD, zstd(&tar), diff_id)),
        ("gzip members", (LAYER, pieces(&tar, gzip), diff_id)),
        ("zstd frames", (ZSTD, pieces(&tar, zstd), diff_id)),
    ]
}

#[test]
fn bombs_are_refused_by_their_ratio() {
    for (name, layer) in bombs() {
        Hostile {
            name,
            layers: &[layer],
            bad: 0,
            options: &[],
            words: &["becomes more than 1000 times its size; --max-ratio allows more"],
            archive: false,
        }
        .is_refused_everywhere();
    }
}

#[test]
fn bombs_are_refused_by_their_size() {
    for (name, layer) in bombs() {
        Hostile {
            name,
            layers: &[layer],
            bad: 0,
            options: &["--max-ratio=100000", "--max-size=50M"],
            words: &["the image becomes more than 50000000 bytes; --max-size allows more"],
            archive: false,
        }
        .is_refused_everywhere();
    }
}

/// An image that came in with the limits raised is held to them again where its layers are read again.
#[test]
fn changes_against_a_bomb_are_bounded() {
    let sandbox = Sandbox::new();
    let tar = zeros();
    let layer = (ZSTD, zstd(&tar), Digest::of(&tar));
    let blob = Digest::of(&layer.1).to_string();
    put_layers(&sandbox, "docker.io/library/x:latest", &[layer], json!({ "Cmd": ["/x"] }));
    sandbox.ok(&["bundle", "--copy", "--max-ratio=100000", "x", "b"]);
    for command in [&["diff", "b"][..], &["commit", "b", "y"]] {
        let error = sandbox.fails(command);
        for word in ["image docker.io/library/x:latest", &blob, "--max-ratio allows more"] {
            assert!(error.contains(word), "{command:?}: {word:?} is not in: {error}");
        }
        assert_eq!(
            sandbox.ok(&[command, &["--max-ratio=100000"]].concat()).lines().count(),
            match command[0] {
                "diff" => 0,
                _ => 1,
            }
        );
    }
}

/// What images are loaded from may be compressed as a whole.
#[test]
fn archives_of_images_are_bounded_too() {
    let sandbox = Sandbox::new();
    let tar = zeros();
    for (name, bytes) in [
        ("x.tgz", gzip(&tar)),
        ("x.zst", zstd(&tar)),
        ("members.tgz", pieces(&tar, gzip)),
        ("frames.zst", pieces(&tar, zstd)),
    ] {
        std::fs::write(sandbox.path.join(name), bytes).unwrap();
        for (options, word) in [
            (&[][..], "becomes more than 1000 times its size"),
            (&["--max-ratio=100000", "--max-size=50M"], "more than 50000000 bytes"),
            (&["--max-ratio=100000"], "neither a manifest.json nor an index.json"),
        ] {
            let error = sandbox.fails(&[&["load", name][..], options].concat());
            let named = format!("archive {name}: ");
            assert!(error.contains(&named) && error.contains(word), "{name}: {error}");
            sandbox.assert_store_is_empty();
            if options.len() == 1 {
                continue;
            }
            let archive = format!("docker-archive:{name}");
            let copy = [&["copy", "-q", &archive, "oci:x"][..], options].concat();
            let error = sandbox.fails(&copy);
            assert!(error.contains(&named) && error.contains(word), "{name}: {error}");
            assert!(!sandbox.path.join("x").exists());
        }
        std::fs::remove_file(sandbox.path.join(name)).unwrap();
    }
}

#[test]
fn streams_that_do_not_end_well() {
    let tar = Archive::new().file("a", &"x".repeat(5000)).tar();
    let diff_id = Digest::of(&tar);
    let with = |blob: Vec<u8>, more: &[u8]| [&blob[..], more].concat();
    let cut = |blob: Vec<u8>| blob[..blob.len() - 3].to_vec();
    // A frame header whose window descriptor asks for 2^28 bytes.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x90, 0x01, 0, 0];
    // A member whose header has a file name and a comment that go on and on.
    let header =
        |flag: u8| [&[0x1f, 0x8b, 8, flag, 0, 0, 0, 0, 0, 255][..], &vec![b'n'; MIB]].concat();
    for (name, layer, word) in [
        ("gzip name", (LAYER, header(8), diff_id), "field too long"),
        ("gzip comment", (LAYER, header(16), diff_id), "field too long"),
        ("gzip garbage", (LAYER, with(gzip(&tar), b"garbage behind"), diff_id), "decompress gzip"),
        ("zstd garbage", (ZSTD, with(zstd(&tar), b"garbage behind"), diff_id), "decompress zstd"),
        ("cut gzip", (LAYER, cut(gzip(&tar)), diff_id), "decompress gzip"),
        ("cut zstd", (ZSTD, cut(zstd(&tar)), diff_id), "decompress zstd"),
        ("zstd window", (ZSTD, window, diff_id), "too much memory"),
        ("another member", (LAYER, with(gzip(&tar), &gzip(b"more")), diff_id), "digest is"),
        ("another frame", (ZSTD, with(zstd(&tar), &zstd(b"more")), diff_id), "digest is"),
    ] {
        // Who imports a tarball says that it is what it is.
        let whole = word == "digest is";
        let hostile = Hostile {
            name,
            layers: &[layer],
            bad: 0,
            options: &[],
            words: &[word],
            archive: false,
        };
        match whole {
            true => hostile.is_refused_by_its_names(),
            false => hostile.is_refused_everywhere(),
        }
    }
}

/// Members that hold nothing are no end, and no loop either.
#[test]
fn empty_members_are_passed_by() {
    let tar = Archive::new().file("a", "x").tar();
    let (first, last) = tar.split_at(700);
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    let gzipped = [gzip(first), gzip(b"").repeat(100_000), gzip(last)].concat();
    let zstd =
        [zstd(first), zstd(b"").repeat(50_000), skippable.repeat(50_000), zstd(last)].concat();
    for (media_type, blob) in [(LAYER, gzipped), (ZSTD, zstd)] {
        let sandbox = Sandbox::new();
        let layer = (media_type, blob, Digest::of(&tar));
        put_layers(&sandbox, "docker.io/library/x:latest", &[layer], json!({ "Cmd": ["/x"] }));
        sandbox.ok(&["unpack", "x", "tree"]);
        assert_eq!(std::fs::read_to_string(sandbox.path.join("tree/a")).unwrap(), "x");
    }
}

/// A path of many levels is one entry and as many directories: all of them count.
#[test]
fn directories_that_no_entry_describes_count_as_entries() {
    let tar =
        Archive::new().pax(&[("path", &format!("{}f", "d/".repeat(200)))]).file("f", "").tar();
    let layer = (LAYER, gzip(&tar), Digest::of(&tar));
    Hostile {
        name: "implied",
        layers: std::slice::from_ref(&layer),
        bad: 0,
        options: &["--max-entries=200"],
        words: &["/d/d/f': ", "the image has more than 200 entries; --max-entries allows more"],
        archive: true,
    }
    .is_refused_everywhere();
    let sandbox = Sandbox::new();
    put_layers(&sandbox, "docker.io/library/x:latest", &[layer], json!({ "Cmd": ["/x"] }));
    sandbox.ok(&["unpack", "--max-entries=201", "x", "tree"]);
}

/// What is said of directories is set when the layer ends, so it is in memory until then.
#[test]
fn attributes_of_directories_are_bounded() {
    // 16 attributes of 60 KiB each, as much as a PAX header has room for.
    let value = vec![b'x'; 60 << 10];
    let key = |n: usize| format!("SCHILY.xattr.user.{n}").into_bytes();
    let records: Vec<_> = (0..16).map(|n| (key(n), value.clone())).collect();
    let tar = (0..300)
        .fold(Archive::new(), |archive, n| archive.pax_bytes(&records).dir(&format!("d{n}")));
    let tar = tar.tar();
    let sandbox = Sandbox::new();
    let layer = (ZSTD, zstd(&tar), Digest::of(&tar));
    put_layers(&sandbox, "docker.io/library/x:latest", &[layer], json!({ "Cmd": ["/x"] }));
    for command in [&["unpack", "x", "x"][..], &["bundle", "x", "x"]] {
        let error = sandbox.fails(&[command, &["--max-ratio=100000"]].concat());
        for word in ["layer sha256:", "entry 'd27", "take more than 256 MiB"] {
            assert!(error.contains(word), "{command:?}: {word:?} is not in: {error}");
        }
        assert!(!sandbox.path.join("x").exists());
    }
}

/// The names of what images are loaded from are in memory together.
#[test]
fn names_of_an_archive_of_images_are_bounded() {
    let long = format!("{}/", "n".repeat(255)).repeat(15);
    let sandbox = Sandbox::new();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for n in 0..80_000 {
        let entry = Archive::new().pax(&[("path", &format!("{long}{n}"))]).symlink("l", "x");
        encoder.write_all(&entry.unended()).unwrap();
    }
    std::fs::write(sandbox.path.join("x.tar"), encoder.finish().unwrap()).unwrap();
    let error = sandbox.fails(&["load", "--max-ratio=100000", "x.tar"]);
    assert!(error.contains("archive x.tar: entry 'nnn"), "{error}");
    assert!(error.contains("take more than 256 MiB"), "{error}");
    sandbox.assert_store_is_empty();
}
