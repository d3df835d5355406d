//! mount, unmount and diff.

use serde_json::{Value, json};

use super::archive::Archive;
use super::sandbox::{Sandbox, names};
use super::store::put_image;

const IMAGE: &str = "docker.io/library/x:latest";

fn image(sandbox: &Sandbox) {
    let lower = Archive::new()
        .dir("etc")
        .file("etc/passwd", "root:x:0:0::/:/bin/sh\n")
        .pax(&[("uid", "7")])
        .dir("implied")
        .file("implied/lower", "x")
        .dir("gone")
        .file("gone/a", "x")
        .dir("opaque")
        .file("opaque/a", "x")
        .file("opaque/b", "x")
        .dir("deleted")
        .file("deleted/x", "x")
        .file("type", "x")
        .symlink("link", "etc")
        .dir("still");
    let upper = Archive::new().file(".wh.gone", "").file("implied/upper", "x");
    put_image(sandbox, IMAGE, &[lower.tar(), upper.tar()], json!({ "Cmd": ["/x"] }));
}

#[test]
fn a_tree_is_mounted_and_keeps_its_layers() {
    let sandbox = Sandbox::new();
    image(&sandbox);
    let said = sandbox.script(
        "$imagectl mount x there; cat there/etc/passwd; stat -c %u there/implied
         ! touch there/new 2>&1; $imagectl mount | sed s,$PWD/,,
         path=$($imagectl mount x); ls $path
         $imagectl rm x >/dev/null; $imagectl gc >/dev/null; ls store/layers | wc -l; cat there/implied/upper
         ! $imagectl unmount nowhere 2>&1
         $imagectl umount there $path | wc -l; test ! -e there; test ! -e $path
         $imagectl mount --format json; $imagectl gc >/dev/null; ls store/layers | wc -l",
    );
    let path = std::fs::canonicalize(&sandbox.path).unwrap();
    let expected = format!(
        "{}/there\nroot:x:0:0::/:/bin/sh\n7\ntouch: cannot touch 'there/new': Read-only file system\n\
         there  {IMAGE}  read-only\ndeleted\netc\nimplied\nlink\nopaque\nstill\ntype\n2\nx\
         imagectl: nowhere: nothing of this store is mounted there\n2\n[]\n0\n",
        path.display()
    );
    assert_eq!(said, expected);
    for directory in ["mounts", "bundles"] {
        assert_eq!(names(&sandbox.store().join(directory)), [""; 0], "{directory}");
    }
}

/// Only what nobody looks for after a power cut may never be synced.
#[test]
fn mounts_are_volatile_and_bundles_are_not() {
    let sandbox = Sandbox::new();
    image(&sandbox);
    let said = sandbox.script(
        "$imagectl mount x m >/dev/null; $imagectl bundle x b >/dev/null
         grep -c ' overlay .*volatile' /proc/mounts; grep volatile /proc/mounts | grep -c /m\\ 
         $imagectl unmount m >/dev/null; $imagectl unbundle b >/dev/null",
    );
    assert_eq!(said, "1\n1\n");
}

#[test]
fn what_is_written_goes_with_the_mount() {
    let sandbox = Sandbox::new();
    image(&sandbox);
    let said = sandbox.script(
        "mkdir there full; touch full/x
         $imagectl mount --writable x there >/dev/null; echo new > there/etc/new; rm there/type
         $imagectl diff there
         cd there; ! $imagectl unmount . 2>&1 | grep -o 'busy'; cd ..
         $imagectl unmount --all >/dev/null; ls -A there
         $imagectl mount x there >/dev/null; ls there/type there/etc; $imagectl unmount there >/dev/null
         ! $imagectl mount x full 2>&1 | grep -o 'is not empty'; ls store/mounts",
    );
    assert_eq!(
        said,
        "C /etc\nA /etc/new\nD /type\nbusy\nthere/type\n\nthere/etc:\npasswd\nis not empty\n"
    );
}

/// Every kind of change, made with a shell in `$1`.
const CHANGES: &str = r#"echo more >> $1/etc/passwd; touch -d 2001-01-01 $1/etc/passwd
 mkdir $1/new; touch $1/new/f "$1/new/$(printf 'a\nb')"
 rm -r $1/deleted; rm -r $1/opaque; mkdir $1/opaque; touch $1/opaque/b
 rm $1/type; mkdir $1/type; touch $1/type/x; ln -sfn tmp $1/link; chmod 700 $1/still"#;

const EXPECTED: &str = "C /etc\nC /etc/passwd\nC /link\nA /new\nA /new/a\\nb\nA /new/f\nC /opaque\n\
    D /opaque/a\nC /opaque/b\nC /still\nC /type\nA /type/x\n";

#[test]
fn changes_of_an_overlay_and_of_a_copy() {
    let sandbox = Sandbox::new();
    image(&sandbox);
    for options in ["", "--copy"] {
        let said = sandbox.script(&format!(
            "$imagectl bundle {options} x b >/dev/null; $imagectl diff b; echo --
             set b/rootfs; {CHANGES}; $imagectl diff b
             $imagectl diff --format json b > json; $imagectl unbundle b >/dev/null"
        ));
        let (before, after) = said.split_once("--\n").unwrap();
        assert_eq!(before, "", "{options}: nothing has changed yet");
        let mut after: Vec<&str> = after.lines().collect();
        after.retain(|line| *line != "D /deleted");
        let mut expected: Vec<&str> = EXPECTED.lines().collect();
        if options == "--copy" {
            // Of a copy, a directory shows its own changes alone: its time.
            expected.retain(|line| *line != "C /etc");
        }
        assert_eq!(after, expected, "{options}");
        let json: Value =
            serde_json::from_slice(&std::fs::read(sandbox.path.join("json")).unwrap()).unwrap();
        assert_eq!(json["deleted"], json!(["/deleted", "/opaque/a"]), "{options}");
    }
}

#[test]
fn what_has_no_image_has_no_changes() {
    let sandbox = Sandbox::new();
    image(&sandbox);
    std::fs::create_dir(sandbox.path.join("plain")).unwrap();
    let error = sandbox.fails(&["diff", "plain"]);
    assert!(error.contains("is no bundle of imagectl"), "{error}");
    sandbox.ok(&["bundle", "--copy", "x", "b"]);
    sandbox.ok(&["rm", "x"]);
    let error = sandbox.fails(&["diff", "b"]);
    assert!(error.contains("its image is not in the store any more"), "{error}");
}
