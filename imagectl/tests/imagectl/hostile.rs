//! Archives that try to get out of the rootfs, or to confuse who unpacks them. Each is refused with an
//! error that names image, layer and entry; nothing outside is touched, and nothing stays.

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
