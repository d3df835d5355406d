//! Archives that do not parse, and sparse files of a terabyte.

use std::os::unix::fs::MetadataExt;

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::doors::Hostile;
use super::registry::LAYER;
use super::sandbox::Sandbox;
/// Archives that are none, or say what no reader should believe: a name for the case, the archive, and a
/// word of the reason.
fn broken() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let new = Archive::new;
    let mut checksum = new().file("a", "x").tar();
    checksum[0] = b'b';
    let whole = new().file("a", &"x".repeat(2000)).tar();
    let pax = |key: &str, value: &str| new().pax(&[(key, value)]).file("a", "").tar();
    let sparse = |size: &str, map: &str| {
        new().pax(&[("GNU.sparse.size", size), ("GNU.sparse.map", map)]).file("a", "12345").tar()
    };
    let gibibytes = 0o7_7777_7777;
    vec![
        ("checksum", checksum, "checksum"),
        ("cut", whole[..1024].to_vec(), "ends inside an entry"),
        ("cut-header", whole[..100].to_vec(), "ends inside a block"),
        ("unknown-type", new().entry(b'Z', "a", "", b"").tar(), "'Z'"),
        ("negative-id", pax("uid", "-1"), "uid"),
        ("huge-id", pax("gid", "4294967295"), "group"),
        ("overflowing-id", pax("uid", "4294967296"), "owner"),
        ("huge-size", pax("size", "18446744073709551615"), "size"),
        ("overflowing-size", pax("size", "18446744073709551616"), "size"),
        ("nul-in-path", pax("path", "a\0b"), "path"),
        ("nul-in-link", pax("linkpath", "a\0b"), "linkpath"),
        ("bad-time", pax("mtime", "1e9"), "mtime"),
        ("huge-time", pax("mtime", "9223372036854775808"), "mtime"),
        (
            "two-pax",
            new().pax(&[("path", "a")]).pax(&[("path", "b")]).file("c", "").tar(),
            "two PAX",
        ),
        ("pax-length", new().entry(b'x', "pax", "", b"99 path=a\n").file("b", "").tar(), "PAX"),
        ("pax-no-length", new().entry(b'x', "pax", "", b"path=a\n").file("b", "").tar(), "PAX"),
        ("huge-pax", pax("comment", &"x".repeat(2 << 20)), "larger than 1 MiB"),
        (
            "huge-name",
            new().entry(b'L', "long", "", &vec![b'x'; 2 << 20]).file("a", "").tar(),
            "larger than 1 MiB",
        ),
        ("endless-pax", new().entry(b'x', "x", "", b"").claiming(gibibytes).tar(), "than 1 MiB"),
        ("endless-global", new().entry(b'g', "g", "", b"").claiming(gibibytes).tar(), "than 1 MiB"),
        ("endless-name", new().entry(b'L', "L", "", b"").claiming(gibibytes).tar(), "than 1 MiB"),
        ("endless-link", new().entry(b'K', "K", "", b"").claiming(gibibytes).tar(), "than 1 MiB"),
        ("names-without-end", extensions(b'L'), "more than 16 extension headers"),
        ("links-without-end", extensions(b'K'), "more than 16 extension headers"),
        ("comments-without-end", extensions(b'g'), "more than 16 extension headers"),
        ("map-without-end", sparse_map(b'1'), "sparse map is larger than 1 MiB"),
        ("empty-map-without-end", sparse_map(0), "sparse map is larger than 1 MiB"),
        ("data-map-without-end", data_map(250_000), "sparse map is larger than 1 MiB"),
        ("data-map-of-millions", data_map(99_999_999), "sparse map is larger than 1 MiB"),
        ("sparse-past-the-end", sparse("1", "0,5"), "past the file's end"),
        ("sparse-overflow", sparse("9", "18446744073709551615,5"), "overflows"),
        ("sparse-of-no-file", sparse("18446744073709551615", "0,5"), "more than any file has"),
        ("sparse-too-little", sparse("100", "0,50"), "not as long as what is stored"),
    ]
}

/// More extension headers than any entry needs.
fn extensions(flag: u8) -> Vec<u8> {
    let many = (0..1000).fold(Archive::new(), |archive, _| archive.entry(flag, "x", "", b"x"));
    many.file("a", "").tar()
}

/// An old GNU sparse map that goes on and on, in blocks whose places begin with this byte.
fn sparse_map(first: u8) -> Vec<u8> {
    let mut block = [0; 512];
    for place in block[..504].chunks_exact_mut(24) {
        place[0] = first;
    }
    block[504] = 1;
    let header = Archive::new().entry(b'S', "a", "", b"").changed(|header| {
        header[257..265].copy_from_slice(b"ustar  \0");
        header[386..512].fill(0);
        header[482] = 1;
    });
    // Without places of its own, the header's map has ended where blocks with some follow.
    let header = match first {
        0 => header,
        _ => header.changed(|header| {
            header[386..482].chunks_exact_mut(24).for_each(|place| place[0] = b'1');
        }),
    };
    header.raw(&block.repeat(5000)).tar()
}

/// A PAX 1.0 sparse map that says it has so many parts, in front of the data.
fn data_map(count: u32) -> Vec<u8> {
    let map = format!("{count}\n{}", "0000000000\n0\n".repeat(200_000));
    let sparse =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")];
    Archive::new().pax(&sparse).file("a", &map).tar()
}

#[test]
fn archives_that_do_not_parse() {
    for (name, tar, word) in broken() {
        let blob = super::archive::gzip(&tar);
        Hostile {
            name,
            layers: &[(LAYER, blob, Digest::of(&tar))],
            bad: 0,
            options: &[],
            words: &["tar stream at byte ", word],
            archive: true,
        }
        .is_refused_everywhere();
    }
}

/// What images are loaded from is such an archive too.
#[test]
fn archives_of_images_that_do_not_parse() {
    let sandbox = Sandbox::new();
    for (name, tar, word) in broken() {
        let file = format!("{name}.tar");
        std::fs::write(sandbox.path.join(&file), tar).unwrap();
        for command in [vec!["load", &file], vec!["copy", &format!("oci-archive:{file}"), "oci:x"]]
        {
            let error = sandbox.fails(&command);
            for word in [&format!("archive {file}: ")[..], "tar stream at byte ", word] {
                assert!(error.contains(word), "{command:?}: {word:?} is not in: {error}");
            }
            sandbox.assert_store_is_empty();
        }
    }
}

/// A file of a terabyte out of an archive of a few kilobytes: holes alone, and yet who copies or reads it
/// has a terabyte.
#[test]
fn sparse_bombs() {
    let (terabyte, largest) = ("1000000000000", "9223372036854775807");
    let parts = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")];
    let pax = |size: &str| {
        Archive::new().pax(&[("GNU.sparse.size", size), ("GNU.sparse.map", "0,1")]).file("a", "1")
    };
    let data_map = Archive::new()
        .pax(&[&parts[..], &[("GNU.sparse.realsize", terabyte)]].concat())
        .file("a", &format!("{:\0<512}1", "1\n0\n1\n"));
    let old = Archive::new().entry(b'S', "a", "", b"").claiming(1).changed(|header| {
        header[257..265].copy_from_slice(b"ustar  \0");
        header[386..512].fill(0);
        header[386..410].copy_from_slice(b"00000000000\x0000000000001\0");
        header[483..495].copy_from_slice(b"\x80\0\0\0\0\0\0\xe8\xd4\xa5\x10\0");
    });
    let old = old.raw(&[b'1'; 512]);
    for (name, archive, size) in [
        ("pax", pax(terabyte), terabyte),
        ("largest", pax(largest), largest),
        ("data map", data_map.clone(), terabyte),
        ("old", old, terabyte),
    ] {
        let tar = archive.tar();
        let blob = super::archive::gzip(&tar);
        Hostile {
            name,
            layers: &[(LAYER, blob, Digest::of(&tar))],
            bad: 0,
            options: &["--max-size=1G"],
            words: &[
                "entry 'a': ",
                &format!("a sparse file of {size} bytes"),
                "--max-size allows more",
            ],
            archive: true,
        }
        .is_refused_everywhere();
    }
    // It is taken by who wants it, as far as the file system goes.
    let sandbox = Sandbox::new();
    let image = "docker.io/library/x:latest";
    super::store::put_image(&sandbox, image, &[data_map.tar()], json!({ "Cmd": ["/x"] }));
    sandbox.ok(&["unpack", "--max-size=2T", "x", "tree"]);
    let file = std::fs::metadata(sandbox.path.join("tree/a")).unwrap();
    assert!(file.len() == 1_000_000_000_000 && file.blocks() < 100, "{file:?}");
    super::store::put_image(&sandbox, image, &[pax(largest).tar()], json!({ "Cmd": ["/x"] }));
    let output = sandbox.run(&["unpack", "--max-size=9999999T", "x", "large"]);
    let error = String::from_utf8(output.stderr).unwrap();
    let words = format!("entry 'a': a sparse file of {largest} bytes can't be made");
    // XFS and tmpfs can.
    assert!(output.status.success() || error.contains(&words), "{error}");
}
