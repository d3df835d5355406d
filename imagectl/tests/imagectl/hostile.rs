//! Archives that try to get out of the rootfs, or to confuse who unpacks them. Each is refused with an
//! error that names image, layer and entry; nothing outside is touched, and nothing stays.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::doors::Hostile;
use super::registry::{CONFIG, LAYER, MANIFEST, Registry};
use super::sandbox::{Sandbox, names};

/// Everything that a single layer can do wrong: a name for the case, the archive, the entry that the
/// error must name, and a word of the reason.
fn single_layers(outside: &str) -> Vec<(&'static str, Archive, String, &'static str)> {
    let new = Archive::new;
    let reserved = "reserved";
    let deep = "d/".repeat(300);
    let mut cases = vec![
        ("dot-dot", new().file("../x", "x"), "../x", "'..'"),
        ("dot-dot-inside", new().dir("a").file("a/../../x", "x"), "a/../../x", "'..'"),
        ("dot-dot-alone", new().dir(".."), "..", "'..'"),
        ("absolute-dot-dot", new().file("/../x", "x"), "/../x", "'..'"),
        ("empty-name", new().file("", "x"), "", "empty"),
        ("nul-link", new().symlink("a", ""), "a", "symlink to nothing"),
        ("root-symlink", new().symlink(".", outside), ".", "must stay a directory"),
        ("root-symlink-slash", new().symlink("/", outside), "/", "must stay a directory"),
        ("root-file", new().entry(b'7', "./", "", b"x"), "./", "must stay a directory"),
        ("root-whiteout", new().file(".wh..", ""), ".wh..", "whiteout of no file"),
        (
            "through-symlink",
            new().symlink("x", outside).file("x/f", "x"),
            "x/f",
            "'x', which is no directory",
        ),
        (
            "through-chain",
            new().symlink("a", outside).symlink("b", "a").file("b/f", "x"),
            "b/f",
            "'b', which is no directory",
        ),
        (
            // It stays inside, and yet: whose file it becomes depends on who made the link.
            "through-inner-symlink",
            new().dir("real").dir("real/sub").symlink("x", "real").file("x/sub/f", "x"),
            "x/sub/f",
            "'x', which is no directory",
        ),
        (
            "hardlink-through-inner-symlink",
            new().dir("r").dir("r/s").file("r/s/f", "").symlink("x", "r").hardlink("l", "x/s/f"),
            "l",
            "through a link",
        ),
        ("dir-through-symlink", new().symlink("x", outside).dir("x/d"), "x/d", "no directory"),
        (
            "through-relative-symlink",
            new().dir("d").symlink("d/up", "../..").file("d/up/f", "x"),
            "d/up/f",
            "no directory",
        ),
        ("through-file", new().file("x", "x").file("x/f", "x"), "x/f", "no directory"),
        ("hardlink-outside", new().hardlink("l", "../../etc/shadow"), "l", "'..'"),
        // The host has such a file, and imagectl's working directory the next; the rootfs has not.
        ("hardlink-absolute", new().hardlink("l", "/etc/passwd"), "l", "no such entry"),
        ("hardlink-missing", new().hardlink("l", "beside"), "l", "no such entry"),
        (
            "hardlink-through-symlink",
            new().symlink("x", outside).hardlink("l", "x/secret"),
            "l",
            "through a link",
        ),
        ("hardlink-to-directory", new().dir("d").hardlink("l", "d"), "l", "directory"),
        ("hardlink-to-self", new().file("l", "x").hardlink("l", "l"), "l", "itself"),
        ("hardlink-to-whiteout", new().file(".wh.a", "").hardlink("l", "a"), "l", "deleted"),
        ("hardlink-to-whiteout-name", new().file("a", "").hardlink("l", ".wh.a"), "l", "whiteout"),
        ("whiteout-empty", new().file(".wh.", ""), ".wh.", "whiteout of no file"),
        ("whiteout-dot", new().file("d/.wh..", ""), "d/.wh..", "whiteout of no file"),
        ("whiteout-dot-dot", new().file("d/.wh...", ""), "d/.wh...", "whiteout of no file"),
        ("whiteout-reserved", new().file(".wh..wh.x", ""), ".wh..wh.x", reserved),
        ("whiteout-directory", new().file(".wh.a/b", ""), ".wh.a/b", "no directory"),
        (
            "whiteout-through-symlink",
            new().symlink("x", outside).file("x/.wh.secret", ""),
            "x/.wh.secret",
            "no directory",
        ),
        (
            "opaque-through-symlink",
            new().symlink("x", outside).file("x/.wh..wh..opq", ""),
            "x/.wh..wh..opq",
            "no directory",
        ),
        ("whiteout-as-device", new().device(b'3', "dev", (0, 0)), "dev", "no device"),
    ]
    .into_iter()
    .map(|(name, archive, entry, word)| (name, archive, entry.to_owned(), word))
    .collect::<Vec<_>>();
    cases.push((
        "pax-dot-dot",
        new().pax(&[("path", "../../x")]).file("harmless", "x"),
        "../../x".into(),
        "'..'",
    ));
    let ten_thousand = "d/".repeat(10_000);
    cases.push((
        "deepest",
        new().pax(&[("path", &ten_thousand)]).dir("d"),
        ten_thousand.clone(),
        "longer than 4095 bytes",
    ));
    cases.push(("deep", new().pax(&[("path", &deep)]).dir("d"), deep.clone(), "deeper"));
    cases.push((
        "long",
        new().pax(&[("path", &"p/".repeat(2048))]).dir("d"),
        "p/".repeat(2048),
        "longer",
    ));
    cases
}

#[test]
fn single_layers_are_refused() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    std::fs::write(sandbox.path.join("beside"), "beside").unwrap();
    for (name, archive, entry, word) in single_layers(outside.to_str().unwrap()) {
        // The harmless layer below must not stay either: it could be pulled whole before or after.
        let image = format!("{}/{name}:t", registry.address);
        let tar = archive.tar();
        let manifest = registry.image(name, "t", std::slice::from_ref(&tar), json!({}));
        assert!(manifest["digest"].is_string());
        let error = sandbox.pull_fails(&image);
        assert_untouched(&outside, name);
        let layer = Digest::of(&super::archive::gzip(&tar));
        for part in [&image, &layer.to_string(), &format!("entry '{entry}'"), word] {
            assert!(error.contains(part), "{name}: {part:?} is not in: {error}");
        }
    }
}

/// The same by way of every command that takes an archive from somewhere else.
#[test]
fn every_command_refuses_them() {
    let sandbox = Sandbox::new();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    for (name, archive, entry, word) in single_layers(outside.to_str().unwrap()) {
        let tar = archive.tar();
        // In a tree, what is deleted is just not there.
        let word = if name == "hardlink-to-whiteout" { "hard link" } else { word };
        Hostile {
            name,
            layers: &[(LAYER, super::archive::gzip(&tar), Digest::of(&tar))],
            bad: 0,
            options: &[],
            words: &[&format!("entry '{entry}'"), word],
            archive: true,
        }
        .is_refused_everywhere();
        assert_untouched(&outside, name);
    }
}

pub fn prepare(outside: &Path) {
    std::fs::create_dir(outside).unwrap();
    let secret = outside.join("secret");
    std::fs::write(&secret, "secret").unwrap();
    for path in [&secret, outside] {
        let mode = if path == outside { 0o751 } else { 0o640 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(path, Some(7), Some(8)).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(path, "user.own", b"1", flags).unwrap();
    }
    for path in [&secret, outside] {
        let time = rustix::fs::Timespec { tv_sec: 77, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::empty();
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
    }
}

pub fn assert_untouched(outside: &Path, name: &str) {
    assert_eq!(names(outside), ["secret"], "{name} wrote outside");
    let secret = outside.join("secret");
    for (path, mode) in [(&*secret, 0o100_640), (outside, 0o040_751)] {
        let found = std::fs::symlink_metadata(path).unwrap();
        let owner = (found.uid(), found.gid());
        assert_eq!((found.mode(), owner, found.mtime()), (mode, (7, 8), 77), "{name}: {path:?}");
        let mut xattrs = vec![0_u8; 4096];
        let length = rustix::fs::llistxattr(path, &mut xattrs[..]).unwrap();
        assert_eq!(xattrs[..length], *b"user.own\0", "{name}: {path:?}");
    }
    let nlink = std::fs::metadata(&secret).unwrap().nlink();
    assert_eq!(nlink, 1, "{name} linked outside");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
}

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

#[test]
fn attributes_that_steer_overlayfs_are_left_out() {
    let sandbox = Sandbox::new();
    // Of somebody's namespace whose root is 65793: good for nothing elsewhere.
    let foreign = "\u{1}\0\0\u{3}\0\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\u{1}\u{1}\u{1}\0";
    let attributes = [
        ("trusted.overlay.opaque", "y", false),
        ("trusted.overlay.redirect", "/etc", false),
        ("trusted.overlay.metacopy", "", false),
        ("trusted.overlay.whiteout", "", false),
        ("user.overlay.opaque", "y", false),
        ("user.overlay.redirect", "/etc", false),
        ("security.selinux", "label", false),
        ("security.ima", "\u{4}\u{4}", false),
        ("security.evm", "\u{2}", false),
        ("security.SMACK64EXEC", "_", false),
        ("security.apparmor", "unconfined", false),
        ("system.nfs4_acl", "x", false),
        ("security.capability", foreign, true),
        ("trusted.kept", "1", true),
        ("user.kept", "1", true),
    ];
    let records: Vec<_> = attributes
        .iter()
        .map(|(name, value, _)| (format!("SCHILY.xattr.{name}"), *value))
        .collect();
    let records: Vec<_> = records.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let tar = Archive::new().pax(&records).dir("d").pax(&records).file("f", "x").tar();
    let image = "docker.io/library/x:latest";
    super::store::put_image(&sandbox, image, &[tar], json!({ "Cmd": ["/x"] }));
    sandbox.ok(&["unpack", "x", "tree"]);
    sandbox.ok(&["bundle", "--copy", "x", "copy"]);
    sandbox.script("$imagectl bundle x mounted; $imagectl unbundle mounted");
    let layers = sandbox.store().join("layers");
    let layer = layers.join(&names(&layers)[0]).join("fs");
    let mut expected: Vec<_> = attributes
        .iter()
        .filter(|(.., taken)| *taken)
        .map(|(name, value, _)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    expected.sort();
    for tree in [layer, sandbox.path.join("tree"), sandbox.path.join("copy/rootfs")] {
        for name in ["d", "f"] {
            assert_eq!(xattrs(&tree.join(name)), expected, "{}", tree.join(name).display());
        }
    }
}

/// Names and values, but for what the host's own modules put there.
fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut listed = vec![0_u8; 4096];
    let length = rustix::fs::llistxattr(path, &mut listed[..]).unwrap();
    let mut found = Vec::new();
    for name in listed[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        let label = [&b"label"[..], b"_", b"unconfined"].contains(&&value[..length]);
        if name != b"security.selinux" || label {
            found.push((name.to_vec(), value[..length].to_vec()));
        }
    }
    found.sort();
    found
}

/// The kernel says what capabilities are: those of a version that it doesn't know are none.
#[test]
fn capabilities_that_are_none() {
    let version = |number: u8, length: usize| {
        let mut bytes = vec![0; length];
        (bytes[0], bytes[3]) = (1, number);
        bytes
    };
    for (name, value) in [
        ("text", b"cap_net_raw=ep".to_vec()),
        ("version 1", version(1, 12)),
        ("short version 2", version(2, 19)),
        ("version 2 as long as 3", version(2, 24)),
        ("short version 3", version(3, 20)),
        ("version 4", version(4, 24)),
    ] {
        let key = b"SCHILY.xattr.security.capability".to_vec();
        let tar = Archive::new().pax_bytes(&[(key, value)]).file("f", "x").tar();
        Hostile {
            name,
            layers: &[(LAYER, super::archive::gzip(&tar), Digest::of(&tar))],
            bad: 0,
            options: &[],
            words: &["entry 'f': set the extended attribute security.capability: Invalid argument"],
            archive: true,
        }
        .is_refused_everywhere();
    }
}

/// Two layers: the first plants, the second strikes. Each alone is harmless.
fn layer_pairs(outside: &str) -> Vec<(&'static str, Archive, Archive, &'static str, &'static str)> {
    let new = Archive::new;
    vec![
        ("symlink-below", new().symlink("x", outside), new().file("x/f", "x"), "x/f", "x"),
        (
            "symlink-below-deep",
            new().dir("d").symlink("d/x", outside),
            new().file("d/x/y/f", "x"),
            "d/x/y/f",
            "d/x",
        ),
        (
            "whiteout-below",
            new().symlink("x", outside),
            new().file("x/.wh.secret", ""),
            "x/.wh.secret",
            "x",
        ),
        (
            "opaque-below",
            new().symlink("x", outside),
            new().file("x/.wh..wh..opq", ""),
            "x/.wh..wh..opq",
            "x",
        ),
        (
            "chain-below",
            new().symlink("a", outside).symlink("x", "a"),
            new().dir("x/d"),
            "x/d",
            "x",
        ),
        ("hardlink-below", new().symlink("l", outside), new().hardlink("k", "l/secret"), "k", "k"),
        ("file-below", new().file("x", "x"), new().file("x/f", "x"), "x/f", "x"),
    ]
}

#[test]
fn a_lower_layers_symlink_is_never_written_through() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    for (name, lower, upper, entry, implied) in layer_pairs(outside.to_str().unwrap()) {
        let run = json!({ "Cmd": ["/x"] });
        registry.image(name, "t", &[lower.tar(), upper.tar()], run);
        let image = format!("{}/{name}:t", registry.address);
        let error = sandbox.fails(&["pull", "--quiet", "--tls-verify=false", &image]);
        assert!(error.contains(&format!("entry '{implied}'")), "{name}: {error}");
        let word = if entry == "k" { "no such entry" } else { "write through" };
        assert!(error.contains(word), "{name}: {error}");
        // The blobs would do for a copy; it is refused as well.
        let blobs_only = sandbox.run(&["unpack", &image, "tree"]);
        assert!(!blobs_only.status.success(), "{entry}");
        assert!(!sandbox.path.join("tree").exists());
        sandbox.assert_there_is_no_image();
        assert_untouched(&outside, name);
    }
}

/// The same by way of every command.
#[test]
fn every_command_refuses_what_two_layers_do() {
    let sandbox = Sandbox::new();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    for (name, lower, upper, entry, implied) in layer_pairs(outside.to_str().unwrap()) {
        let layers = [lower, upper].map(|archive| {
            let tar = archive.tar();
            (LAYER, super::archive::gzip(&tar), Digest::of(&tar))
        });
        // An overlay is refused by the directory that the upper layer takes for granted.
        let word = match entry.starts_with(implied) {
            true => format!("entry '{implied}"),
            false => format!("entry '{entry}'"),
        };
        Hostile { name, layers: &layers, bad: 1, options: &[], words: &[&word], archive: true }
            .is_refused_everywhere();
        assert_untouched(&outside, name);
    }
}

/// A whiteout takes what lower layers say of a directory with it; an opaque mark only what is in it.
#[test]
fn opaque_marks_empty_a_directory_and_leave_it_as_it_is() {
    let sandbox = Sandbox::new();
    let pax = |archive: Archive| {
        archive.pax(&[("uid", "7"), ("gid", "8"), ("mtime", "1000"), ("SCHILY.xattr.user.x", "y")])
    };
    let dir = |archive, name: &str| pax(archive).dir(name).changed(|header| header[105] = b'1');
    let names = ["marked", "filled", "filled/sub", "deleted", "twice", "above", "above/sub"];
    let lower = names.iter().fold(Archive::new(), |archive, name| dir(archive, name));
    let lower = names.iter().fold(lower, |archive, name| archive.file(&format!("{name}/old"), "x"));
    let middle = Archive::new().file("twice/.wh..wh..opq", "").file("twice/middle", "x");
    let upper = Archive::new()
        .file("marked/.wh..wh..opq", "")
        .file("filled/.wh..wh..opq", "")
        .file("filled/sub/new", "x")
        .file(".wh.deleted", "")
        .file("deleted/new", "x")
        .file("twice/.wh..wh..opq", "")
        .file("above/sub/.wh..wh..opq", "");
    let layers = [lower.tar(), middle.tar(), upper.tar()];
    let image = "docker.io/library/x:latest";
    super::store::put_image(&sandbox, image, &layers, json!({ "Cmd": ["/x"] }));
    let said = sandbox.script(
        "$imagectl unpack x unpacked >/dev/null
         $imagectl bundle --copy x blobs >/dev/null
         $imagectl bundle x overlay >/dev/null
         $imagectl bundle --copy x layers >/dev/null
         for tree in unpacked blobs/rootfs overlay/rootfs layers/rootfs; do
             cd $tree; find . -mindepth 1 -type d -printf '%P %m %U:%G %T@ ' '(' -exec getfattr -n user.x --only-values {} ';' -o -true ')' -printf '\\n' 2>/dev/null | sort
             find . -type f | sort; echo; cd - >/dev/null
         done
         for b in blobs overlay layers; do $imagectl diff $b; done; $imagectl unbundle overlay >/dev/null",
    );
    let trees: Vec<&str> = said.split("\n\n").collect();
    let kept = ["above", "above/sub", "filled", "marked", "twice"];
    for name in kept {
        assert!(trees[0].contains(&format!("{name} 715 7:8 1000")), "{name}: {said}");
    }
    for name in ["deleted", "filled/sub"] {
        assert!(trees[0].contains(&format!("{name} 755 0:0 0")), "{name}: {said}");
    }
    assert!(trees[1..4].iter().all(|tree| *tree == trees[0]), "{said}");
    assert_eq!(trees[4], "", "nothing is changed: {said}");
}

#[test]
fn devices_xattrs_and_times_do_not_go_through_symlinks() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    let target = outside.join("secret");
    let target = target.to_str().unwrap();
    let before = std::fs::metadata(target).unwrap().modified().unwrap();
    // Each replaces the symlink instead of following it.
    let tar = Archive::new()
        .symlink("a", target)
        .file("a", "mine")
        .symlink("b", target)
        .device(b'3', "b", (1, 3))
        .symlink("c", target)
        .entry(b'6', "c", "", b"")
        .pax(&[("SCHILY.xattr.trusted.x", "1"), ("mtime", "5")])
        .symlink("d", target)
        .tar();
    registry.image("replace", "t", &[tar], json!({}));
    sandbox.pull(&format!("{}/replace:t", registry.address));
    sandbox.ok(&["unpack", &format!("{}/replace:t", registry.address), "tree"]);
    assert_untouched(&outside, "replace");
    assert_eq!(std::fs::metadata(target).unwrap().modified().unwrap(), before);
    assert_eq!(std::fs::read_to_string(sandbox.path.join("tree/a")).unwrap(), "mine");
    assert!(!sandbox.path.join("tree/c").is_symlink());
}

/// CVE-2021-32760: what an entry says of mode and owner was set on what a link of its name leads to.
#[test]
fn modes_and_owners_do_not_go_through_links() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    let secret = outside.join("secret");
    let (outside_path, secret) = (outside.to_str().unwrap(), secret.to_str().unwrap());
    let xattr = &[("SCHILY.xattr.trusted.x", "1"), ("mtime", "5")];
    let new = Archive::new;
    for (name, layers) in [
        (
            "hardlink-to-symlink",
            vec![new().symlink("a", secret).pax(xattr).hardlink("l", "a").owned(0o4777, 1234)],
        ),
        ("symlink", vec![new().pax(xattr).symlink("l", secret).owned(0o4777, 1234)]),
        (
            "dir-over-symlink",
            vec![new().symlink("l", outside_path).pax(xattr).dir("l").owned(0o4777, 1234)],
        ),
        (
            "dir-over-a-lower-layers-symlink",
            vec![new().symlink("l", outside_path), new().pax(xattr).dir("l").owned(0o4777, 1234)],
        ),
    ] {
        let tars: Vec<_> = layers.into_iter().map(Archive::tar).collect();
        registry.image(name, "t", &tars, json!({ "Cmd": ["/x"] }));
        let image = format!("{}/{name}:t", registry.address);
        sandbox.pull(&image);
        assert_untouched(&outside, name);
        let tree = format!("tree-{name}");
        sandbox.ok(&["unpack", &image, &tree]);
        assert_untouched(&outside, name);
        sandbox.script(&format!(
            "$imagectl bundle --copy {image} copy >/dev/null; $imagectl unbundle copy
             $imagectl bundle {image} mounted >/dev/null; stat mounted/rootfs/l
             $imagectl unbundle mounted",
        ));
        assert_untouched(&outside, name);
        let made = std::fs::symlink_metadata(sandbox.path.join(tree).join("l")).unwrap();
        if name.starts_with("dir") {
            assert!(made.is_dir(), "{name}");
            let owner = (made.uid(), made.gid());
            assert_eq!((made.mode() & 0o7777, owner, made.mtime()), (0o4777, (1234, 1234), 5));
        } else {
            assert!(made.is_symlink(), "{name}");
        }
    }
}

#[test]
fn a_hard_link_that_cannot_be_is_no_copy() {
    let sandbox = Sandbox::new();
    let tar = Archive::new().file("a", "x").hardlink("l", "a").tar();
    let name = "docker.io/library/x:latest";
    super::store::put_image(&sandbox, name, &[tar], json!({ "Cmd": ["/x"] }));
    // As if the two were on different file systems.
    let output = std::process::Command::new("strace")
        .args(["-f", "-o", "trace", "-e", "inject=linkat:error=EXDEV"])
        .args([env!("CARGO_BIN_EXE_imagectl"), "--store", "store", "unpack", "x", "tree"])
        .current_dir(&sandbox.path)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("entry 'l': make the hard link: Invalid cross-device"), "{errors}");
    assert!(!sandbox.path.join("tree").exists());
}

/// CVE-2014-9357: Docker had xz run to decompress, out of the image it was in by then.
#[test]
fn an_images_programs_are_never_run() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let marker = sandbox.path.join("marker");
    let script = format!("#!/bin/sh\necho \"$0 $*\" >>'{}'\n", marker.display());
    let programs = ["gzip", "gunzip", "zstd", "unzstd", "unpigz", "pigz", "xz", "tar", "sh"];
    let below = programs.iter().fold(Archive::new().dir("bin"), |archive, name| {
        archive.program(&format!("bin/{name}"), script.as_bytes())
    });
    let (below, above) = (below.tar(), Archive::new().file("a", "x").tar());
    let gzipped = registry.blob("x", LAYER, &super::archive::gzip(&below));
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let zstd = registry.blob("x", zstd, &zstd::encode_all(&above[..], 1).unwrap());
    let diff_ids = [&below, &above].map(|tar| Digest::of(tar));
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = registry.blob("x", CONFIG, config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [gzipped, zstd] });
    registry.manifest("x", "t", MANIFEST, &manifest);
    let image = format!("{}/x:t", registry.address);
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", sandbox.path.join("tree/bin").display());
    // Twice: the first time there is nothing in the PATH yet.
    for round in 0..2 {
        for (command, made) in [
            (&["pull", "-q", "--tls-verify=false", &image][..], None),
            (&["unpack", &image, "tree"], Some("tree")),
            (&["unpack", &image, "again"], Some("again")),
            (&["bundle", "--copy", &image, "copy"], Some("copy/rootfs")),
            (&["save", "-o", "x.tar", &image], None),
            (&["load", "x.tar"], None),
        ] {
            if round == 1 && made == Some("tree") {
                continue;
            }
            let output = sandbox.command().env("PATH", &path).args(command).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {errors}");
            let there = made.is_none_or(|made| sandbox.path.join(made).join("bin/gzip").exists());
            assert!(there, "{command:?}");
            assert!(!marker.exists(), "{command:?}: {:?}", std::fs::read_to_string(&marker));
        }
        for made in ["again", "copy", "store"] {
            std::fs::remove_dir_all(sandbox.path.join(made)).unwrap();
        }
        std::fs::remove_file(sandbox.path.join("x.tar")).unwrap();
    }
    // They would have been found.
    let found = std::process::Command::new("unpigz").env("PATH", &path).status().unwrap();
    assert!(found.success() && marker.exists());
}

#[test]
fn absolute_names_begin_at_the_rootfs() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    let secret = outside.join("secret");
    // ko writes its entries so, and kaniko the targets of its hard links.
    let tar = Archive::new()
        .dir("/ko-app")
        .file("/ko-app/app", "app")
        .file(secret.to_str().unwrap(), "mine")
        .hardlink("/link", "/ko-app/app")
        .tar();
    registry.image("ko", "t", &[tar], json!({ "Cmd": ["/ko-app/app"] }));
    let reference = format!("{}/ko:t", registry.address);
    sandbox.pull(&reference);
    sandbox.ok(&["unpack", &reference, "tree"]);
    let tree = sandbox.path.join("tree");
    assert_eq!(std::fs::read_to_string(tree.join("ko-app/app")).unwrap(), "app");
    assert_eq!(std::fs::read_to_string(tree.join("link")).unwrap(), "app");
    let inside = tree.join(secret.strip_prefix("/").unwrap());
    assert_eq!(std::fs::read_to_string(inside).unwrap(), "mine");
    assert_untouched(&outside, "absolute");
}

#[test]
fn what_stands_in_an_archive_twice_is_what_came_last() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    let outside_path = outside.to_str().unwrap();
    // File to directory to symlink and back, with something in it each time.
    let tar = Archive::new()
        .file("a", "file")
        .dir("a")
        .file("a/secret", "inside")
        .symlink("a", outside_path)
        .dir("a")
        .file("a/last", "last")
        .file("twice", "first")
        .file("twice", "second")
        .dir("d")
        .file("d/x", "x")
        .symlink("d", outside_path)
        .tar();
    registry.image("twice", "t", &[tar], json!({}));
    let reference = format!("{}/twice:t", registry.address);
    sandbox.pull(&reference);
    sandbox.ok(&["unpack", &reference, "tree"]);
    let layers = sandbox.store().join("layers");
    for tree in [layers.join(&names(&layers)[0]).join("fs"), sandbox.path.join("tree")] {
        assert_eq!(names(&tree.join("a")), ["last"]);
        assert_eq!(std::fs::read_to_string(tree.join("twice")).unwrap(), "second");
        assert!(tree.join("d").is_symlink());
    }
    assert_untouched(&outside, "twice");
}

#[test]
fn layers_do_not_depend_on_each_others_timing() {
    let outside = Sandbox::new();
    let outside_path = outside.path.join("outside");
    prepare(&outside_path);
    // The layer that plants comes late by its size, the one that strikes early, and the other way round.
    let filler = "x".repeat(3 << 20);
    let plant = || Archive::new().symlink("x", outside_path.to_str().unwrap());
    let strike = || Archive::new().file("x/f", "x");
    for layers in [
        [plant().file("filler", &filler).tar(), strike().tar()],
        [plant().tar(), strike().file("filler", &filler).tar()],
    ] {
        let registry = Registry::start();
        registry.image("race", "t", &layers, json!({}));
        let reference = format!("{}/race:t", registry.address);
        let said: Vec<String> = ["1", "2", "8"]
            .iter()
            .map(|parallel| {
                let sandbox = Sandbox::new();
                let pull = ["pull", "-q", "--tls-verify=false", "--parallel", parallel, &reference];
                sandbox.fails(&pull)
            })
            .collect();
        assert!(said[0].contains("would write through it"), "{said:?}");
        assert!(said.iter().all(|error| *error == said[0]), "{said:?}");
        assert_untouched(&outside_path, "race");
    }
}

#[test]
fn names_may_be_any_bytes_but_say_nothing_to_a_terminal() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let tar = Archive::new()
        .file("latin1-\u{e9}\u{1b}[2J", "x")
        .file("new\nline", "x")
        .file("\u{1b}]0;title\u{7}/../x", "x")
        .tar();
    registry.image("bytes", "t", &[tar], json!({}));
    let error = sandbox.pull_fails(&format!("{}/bytes:t", registry.address));
    assert!(error.contains(r"\x1b]0;title\x07/../x") && !error.contains('\u{1b}'), "{error}");
}

/// Names, targets and attributes that are no UTF-8.
fn of_any_bytes() -> Archive {
    let xattr = (b"SCHILY.xattr.user.\xff".to_vec(), b"\x80\0\n".to_vec());
    let long = [b"d\xe9/".to_vec(), vec![0xfe; 200]].concat();
    Archive::new()
        .entry_bytes(b'5', b"d\xe9", b"", b"")
        .entry_bytes(b'0', b"d\xe9/\xff\x80\xc3", b"", b"x")
        .entry_bytes(b'2', b"\xf0link", b"d\xe9/\xff\x80\xc3", b"")
        .entry_bytes(b'1', b"\xf1hard", b"d\xe9/\xff\x80\xc3", b"")
        .pax_bytes(&[(b"path".to_vec(), long), xattr])
        .entry_bytes(b'0', b"short", b"", b"x")
        .pax_bytes(&[(b"linkpath".to_vec(), b"\x80\xff".to_vec())])
        .entry_bytes(b'2', b"\xc0\x80", b"", b"")
        .entry_bytes(b'L', b"long", b"", &[0xfd; 150])
        .entry_bytes(b'0', b"", b"", b"x")
        .entry_bytes(b'0', b"new\nline\x1b[2J", b"", b"x")
}

#[test]
fn names_of_any_bytes_come_out_as_they_are() {
    let sandbox = Sandbox::new();
    let image = "docker.io/library/x:latest";
    // What is deleted has such a name too.
    let lower = Archive::new().entry_bytes(b'0', b"gone\xff", b"", b"x").tar();
    let upper = of_any_bytes().entry_bytes(b'0', b".wh.gone\xff", b"", b"").tar();
    super::store::put_image(&sandbox, image, &[lower, upper], json!({ "Cmd": ["/x"] }));
    sandbox.ok(&["unpack", "x", "tree"]);
    sandbox.ok(&["save", "-o", "x.tar", "x"]);
    let said = sandbox.script(
        "$imagectl bundle --copy x copy >/dev/null; $imagectl bundle x b >/dev/null; cp -a b/rootfs shown
         for b in b copy; do
             printf new >\"$(printf \"$b/rootfs/d\\351/\\377new\")\"; rm $(printf \"$b/rootfs/\\360link\")
             $imagectl diff $b; $imagectl diff --format json $b | tr -d '[:space:]'; echo
             $imagectl commit $b $b >/dev/null; $imagectl unpack $b of-$b >/dev/null
         done
         $imagectl unbundle b >/dev/null",
    );
    let lines: Vec<&str> = said.lines().collect();
    let half = lines.len() / 2;
    assert_eq!(lines[..half], lines[half..], "an overlay and a copy");
    for line in [r"A /d\xe9/\xffnew", r"D /\xf0link"] {
        assert!(lines.contains(&line), "{line} is not in: {said}");
    }
    assert!(lines[half - 1].contains(r#"["/d\\xe9/\\xffnew"]"#), "{said}");
    let other = Sandbox::new();
    other.ok(&["load", sandbox.path.join("x.tar").to_str().unwrap()]);
    other.ok(&["unpack", "x", "tree"]);
    let long = [b"d\xe9/".to_vec(), vec![0xfe; 200]].concat();
    for (tree, changed) in [
        (sandbox.path.join("tree"), false),
        (sandbox.path.join("shown"), false),
        (other.path.join("tree"), false),
        (sandbox.path.join("of-b"), true),
        (sandbox.path.join("of-copy"), true),
    ] {
        let at = |name: &[u8]| tree.join(OsStr::from_bytes(name));
        let shown = tree.display();
        assert_eq!(std::fs::read(at(b"d\xe9/\xff\x80\xc3")).unwrap(), b"x", "{shown}");
        assert_eq!(std::fs::metadata(at(b"\xf1hard")).unwrap().nlink(), 2, "{shown}");
        let target =
            |name: &[u8]| std::fs::read_link(at(name)).map(|t| t.into_os_string().into_vec());
        assert_eq!(target(b"\xc0\x80").unwrap(), b"\x80\xff", "{shown}");
        assert_eq!(xattrs(&at(&long)), [(b"user.\xff".to_vec(), b"\x80\0\n".to_vec())], "{shown}");
        assert!(at(&[0xfd; 150]).exists() && at(b"new\nline\x1b[2J").exists(), "{shown}");
        assert!(!at(b"gone\xff").exists(), "{shown}");
        match changed {
            true => {
                assert_eq!(std::fs::read(at(b"d\xe9/\xffnew")).unwrap(), b"new", "{shown}");
                assert!(target(b"\xf0link").is_err(), "{shown}");
            }
            false => assert_eq!(target(b"\xf0link").unwrap(), b"d\xe9/\xff\x80\xc3", "{shown}"),
        }
    }
}

#[test]
fn errors_show_any_bytes_escaped() {
    let new = Archive::new;
    let xattr = (b"SCHILY.xattr.system.\xff\x1b".to_vec(), b"x".to_vec());
    for (name, archive, words) in [
        (
            "entry",
            new().entry_bytes(b'0', b"\xff\x1b/../x", b"", b""),
            vec![r"entry '\xff\x1b/../x'"],
        ),
        (
            "hard link",
            new().entry_bytes(b'1', b"l\x80", b"\xff\x1b", b""),
            vec![r"entry 'l\x80'", r"hard link to '\xff\x1b'"],
        ),
        (
            "directory",
            new().entry_bytes(b'0', b"\xe9\x1b", b"", b"").entry_bytes(
                b'0',
                b"\xe9\x1b/f",
                b"",
                b"",
            ),
            vec![r"entry '\xe9\x1b/f'", r"leads through '\xe9\x1b'"],
        ),
        (
            "attribute",
            new().pax_bytes(&[xattr]).entry_bytes(b'0', b"\xff", b"", b""),
            vec![r"entry '\xff'", r"extended attribute system.\xff\x1b"],
        ),
        (
            "record",
            new().pax_bytes(&[(b"SCHILY.xattr.\xff\x1b\0".to_vec(), b"x".to_vec())]).file("a", ""),
            vec![r"SCHILY.xattr.\xff\x1b\x00"],
        ),
        ("type", new().entry_bytes(0xff, b"a", b"", b""), vec![r"entries of type '\u{ff}'"]),
    ] {
        let tar = archive.tar();
        Hostile {
            name,
            layers: &[(LAYER, super::archive::gzip(&tar), Digest::of(&tar))],
            bad: 0,
            options: &[],
            words: &words,
            archive: true,
        }
        .is_refused_everywhere();
    }
}

#[test]
fn strangers_setuid_files_are_out_of_others_reach() {
    let sandbox = Sandbox::new();
    let tar = Archive::new().program("suid", b"x").tar();
    super::store::put_image(
        &sandbox,
        "docker.io/library/x:latest",
        &[tar],
        json!({ "Cmd": ["/x"] }),
    );
    std::fs::create_dir(sandbox.path.join("open")).unwrap();
    sandbox.ok(&["bundle", "--copy", "x", "open"]);
    sandbox.ok(&["bundle", "--copy", "x", "made"]);
    for directory in ["open", "made", "store/layers", "store/bundles", "store/mounts"] {
        let mode = std::fs::metadata(sandbox.path.join(directory)).unwrap().permissions().mode();
        assert_eq!(mode & 0o77, 0, "{directory}");
    }
}
