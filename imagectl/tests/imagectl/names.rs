//! Names of any bytes: in trees as they are, in errors escaped.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::attributes::xattrs;
use super::doors::Hostile;
use super::registry::{LAYER, Registry};
use super::sandbox::Sandbox;
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
