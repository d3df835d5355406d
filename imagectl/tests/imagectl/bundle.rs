//! Bundles: overlay, copy, config.json, and taking them away.

use serde_json::{Value, json};

use super::archive::Archive;
use super::registry::Registry;
use super::sandbox::Sandbox;
use super::store::put_image;

const PASSWD: &str = "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nvideo:x:44:app\n";

/// Layers whose merge needs every rule: what the rootfs must hold in the end is in [`EXPECTED`].
pub fn layers() -> Vec<Vec<u8>> {
    let new = Archive::new;
    vec![
        new()
            .dir("etc")
            .file("etc/passwd", PASSWD)
            .file("etc/group", GROUP)
            .pax(&[("mtime", "1000.5"), ("uid", "7"), ("gid", "8")])
            .dir("implied")
            .dir("opaque")
            .file("opaque/old", "old")
            .file("gone", "x")
            .dir("gone-dir")
            .file("gone-dir/x", "x")
            .file("file-to-dir", "x")
            .dir("dir-to-file")
            .file("dir-to-file/x", "x")
            .dir("reborn")
            .file("reborn/old", "x")
            .dir("emptied")
            .file("emptied/old", "x")
            .tar(),
        new()
            .file(".wh.gone", "")
            .file(".wh.gone-dir", "")
            // The mark after the siblings it must spare.
            .dir("opaque")
            .file("opaque/new", "new")
            .file("opaque/.wh..wh..opq", "")
            .dir("file-to-dir")
            .file("file-to-dir/x", "y")
            .file("dir-to-file", "y")
            // A whiteout of what the same layer makes only deletes what lies below.
            .file(".wh.reborn", "")
            .dir("reborn")
            .file("reborn/new", "x")
            .file("emptied/.wh..wh..opq", "")
            .file("own", "x")
            .file(".wh.own", "")
            .tar(),
        new().file("implied/f", "x").dir("./").tar(),
    ]
}

pub const EXPECTED: &str = "./dir-to-file
./emptied
./etc
./etc/group
./etc/passwd
./file-to-dir
./file-to-dir/x
./implied
./implied/f
./opaque
./opaque/new
./own
./reborn
./reborn/new
";

#[test]
fn overlay_copy_and_unpack_agree() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &layers(), json!({ "Cmd": ["/x"], "User": "app" }));
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    let tree = "{ cd $1; find . -mindepth 1 | sort; }";
    let stat = "stat -c '%n %a %u %g %Y' $1/implied $1/opaque $1";
    let script = |make: &str, root: &str, undo: &str| {
        sandbox.script(&format!(
            "{make}; set {root}; {stat} | sed s,$1,,; {tree}; cd - >/dev/null; {undo}"
        ))
    };
    let overlay = script(
        &format!("$imagectl bundle {reference} b >/dev/null"),
        "b/rootfs",
        "$imagectl unbundle b >/dev/null; ! test -e b",
    );
    let copy = script(
        &format!("$imagectl bundle --copy {reference} c >/dev/null"),
        "c/rootfs",
        "$imagectl unbundle c >/dev/null; ! test -e c",
    );
    let unpacked = script(&format!("$imagectl unpack {reference} u >/dev/null"), "u", "rm -r u");
    // The copy before was of the unpacked layers, this one is of the blobs.
    let blobs = script(
        &format!(
            "mv store/layers l; mkdir store/layers; $imagectl bundle --copy {reference} d >/dev/null"
        ),
        "d/rootfs",
        "$imagectl unbundle d >/dev/null; rmdir store/layers; mv l store/layers",
    );
    assert_eq!(blobs, copy);
    assert!(copy.ends_with(EXPECTED), "{copy}");
    assert_eq!(overlay, copy);
    assert_eq!(unpacked, copy);
    // The directory that the last layer only implied keeps what the first said of it.
    assert!(copy.starts_with("/implied 755 7 8 1000\n"), "{copy}");
}

/// Where the file system has reflinks, a copy's files share their data with the store's layers.
#[test]
fn a_copy_shares_its_data_where_the_file_system_can() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let data = "data".repeat(100_000);
    let tars = [Archive::new().file("a", &data).tar(), Archive::new().file("b", "x").tar()];
    registry.image("x", "t", &tars, json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    let said = sandbox.script(&format!(
        "truncate -s 400M disk; mkfs.xfs -q -m reflink=1 disk; mkdir m; mount -o loop disk m
         imagectl=\"${{imagectl%% *}} --store m/store\"
         $imagectl pull -q --tls-verify=false {reference} >/dev/null; $imagectl bundle --copy {reference} m/b >/dev/null
         sync; filefrag -v m/b/rootfs/a m/store/layers/*/fs/a | grep -c shared; cat m/b/rootfs/b
         $imagectl unpack {reference} plain >/dev/null; cmp m/b/rootfs/a plain/a
         $imagectl bundle --copy {reference} elsewhere >/dev/null; cmp elsewhere/rootfs/a plain/a
         $imagectl unbundle m/b elsewhere >/dev/null; umount m",
    ));
    assert_eq!(said, "2\nx");
}

#[test]
fn config_json() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let run = json!({ "User": "app", "Env": ["PATH=/bin"], "Entrypoint": ["/e"], "Cmd": ["c"],
        "WorkingDir": "/etc", "Labels": { "l": "1" } });
    registry.image("x", "t", &layers(), run);
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    sandbox.ok(&["bundle", "--copy", &reference, "b"]);
    let spec = std::fs::read(sandbox.path.join("b/config.json")).unwrap();
    let spec: Value = serde_json::from_slice(&spec).unwrap();
    assert_eq!(spec["process"]["args"], json!(["/e", "c"]));
    assert_eq!(
        spec["process"]["user"],
        json!({ "uid": 1000, "gid": 1000, "additionalGids": [44] })
    );
    assert_eq!(spec["process"]["cwd"], "/etc");
    assert_eq!(spec["annotations"]["l"], "1");
    assert_eq!(spec["hostname"], "x");
    sandbox.ok(&["bundle", "--copy", "--tty", &reference, "c", "--", "/bin/echo", "--tty"]);
    let spec = std::fs::read(sandbox.path.join("c/config.json")).unwrap();
    let spec: Value = serde_json::from_slice(&spec).unwrap();
    assert_eq!(spec["process"]["args"], json!(["/bin/echo", "--tty"]));
    assert_eq!(spec["process"]["terminal"], true);
}

#[test]
fn pull_and_bundle_without_a_word() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("first", "t", &[], json!({ "Cmd": ["/x"] }));
    registry.image("org/app", "t", &layers(), json!({ "Cmd": ["/x"] }));
    let error = sandbox.fails(&["bundle"]);
    assert!(error.contains("have none"), "{error}");
    sandbox.pull(&format!("{}/first:t", registry.address));
    sandbox.pull(&format!("{}/org/app:t", registry.address));
    let said = sandbox.ok(&["bundle", "--copy"]);
    let path = std::fs::canonicalize(sandbox.path.join("app")).unwrap();
    assert_eq!(said, format!("{} {}/org/app:t\n", path.display(), registry.address));
    assert!(path.join("config.json").exists());
}

#[test]
fn changes_stay_in_the_bundle() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &layers(), json!({ "Cmd": ["/x"] }));
    let reference = format!("{}/x:t", registry.address);
    sandbox.pull(&reference);
    let found = sandbox.script(&format!(
        "$imagectl bundle {reference} a >/dev/null; echo changed > a/rootfs/etc/passwd; rm -r a/rootfs/opaque
         $imagectl bundle {reference} b >/dev/null; head -1 b/rootfs/etc/passwd; ls b/rootfs/opaque
         $imagectl unbundle a b >/dev/null"
    ));
    assert_eq!(found, "root:x:0:0::/:/bin/sh\nnew\n");
}

#[test]
fn a_failed_bundle_leaves_nothing() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.image("x", "t", &layers(), json!({ "Cmd": ["/x"], "User": "nobody" }));
    registry.image("y", "t", &layers(), json!({}));
    for (name, word) in [("x", "no such user"), ("y", "names no command")] {
        let reference = format!("{}/{name}:t", registry.address);
        sandbox.pull(&reference);
        for options in ["", "--copy"] {
            let script = format!(
                "! $imagectl bundle {options} {reference} b 2>&1; ! test -e b; ! grep $PWD /proc/mounts"
            );
            let said = sandbox.script(&script);
            assert!(said.contains(word), "{said}");
        }
        // A directory that was there stays, empty.
        std::fs::create_dir(sandbox.path.join("there")).unwrap();
        sandbox.fails(&["bundle", "--copy", &reference, "there"]);
        assert!(std::fs::read_dir(sandbox.path.join("there")).unwrap().next().is_none());
        std::fs::remove_dir(sandbox.path.join("there")).unwrap();
    }
    assert_eq!(super::sandbox::names(&sandbox.store().join("bundles")), [""; 0]);
}

#[test]
fn directories_in_use_are_refused() {
    let sandbox = Sandbox::new();
    put_image(&sandbox, "docker.io/library/x:latest", &layers(), json!({ "Cmd": ["/x"] }));
    std::fs::create_dir(sandbox.path.join("full")).unwrap();
    std::fs::write(sandbox.path.join("full/precious"), "x").unwrap();
    for arguments in [["bundle", "--copy", "x", "full"].as_slice(), &["unpack", "x", "full"]] {
        let error = sandbox.fails(arguments);
        assert!(error.contains("is not empty"), "{error}");
    }
    let error = sandbox.fails(&["unbundle", "full"]);
    assert!(error.contains("is no bundle of imagectl"), "{error}");
    assert!(sandbox.path.join("full/precious").exists());
}

#[test]
fn unbundle_never_deletes_through_a_mount() {
    let sandbox = Sandbox::new();
    put_image(&sandbox, "docker.io/library/x:latest", &layers(), json!({ "Cmd": ["/x"] }));
    std::fs::create_dir(sandbox.path.join("precious")).unwrap();
    std::fs::write(sandbox.path.join("precious/file"), "x").unwrap();
    let said = sandbox.script(
        "$imagectl bundle --copy x b >/dev/null; mount --bind precious b/rootfs/opaque
         ! $imagectl unbundle b 2>&1; cat precious/file",
    );
    assert!(said.contains("Invalid cross-device link") && said.ends_with('x'), "{said}");
}

#[test]
fn unbundle_trusts_no_strangers_store() {
    let sandbox = Sandbox::new();
    // A mark that names a store in which "ingest" leads to somebody's files.
    let said = sandbox.script(
        r#"mkdir -p victim s/blobs/sha256 s/layers s/bundles b; echo x >victim/file
         ln -s ../victim s/ingest; mkdir victim/session
         echo '{"imageLayoutVersion":"1.0.0"}' >s/oci-layout
         printf '{"image":"x","digest":"sha256:%064d","store":"%s/s"}' 0 "$PWD" >b/imagectl.json
         ! $imagectl unbundle b 2>&1; ls victim
         mkdir -p c; chown 1234 c; echo '{}' >c/imagectl.json; ! $imagectl unbundle c 2>&1; ls c"#,
    );
    assert!(said.contains("is no directory") && said.contains("file\nsession"), "{said}");
    assert!(said.contains("belongs to user 1234") && said.contains("imagectl.json"), "{said}");
}

#[test]
fn scratch_images_need_no_passwd_or_group() {
    let sandbox = Sandbox::new();
    for (archive, user) in [
        (Archive::new().file("x", ""), "65532"),
        (Archive::new().dir("etc").file("etc/passwd", PASSWD), "app"),
    ] {
        let run = json!({ "Cmd": ["/x"], "User": user });
        put_image(&sandbox, "docker.io/library/x:latest", &[archive.tar()], run);
        sandbox.ok(&["bundle", "--copy", "x", "b"]);
        sandbox.ok(&["unbundle", "b"]);
    }
}

#[test]
fn passwd_and_group_are_read_with_care() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path.join("host"), PASSWD).unwrap();
    let host = sandbox.path.join("host");
    let new = || Archive::new().dir("etc");
    let huge = "x".repeat(5 << 20);
    for (archive, word) in [
        (new().symlink("etc/passwd", host.to_str().unwrap()), "no such user"),
        (
            new().symlink("etc/passwd", "../../../../../../proc/self/root/etc/passwd"),
            "no such user",
        ),
        (new().entry(b'6', "etc/passwd", "", b""), "no plain file"),
        (new().device(b'3', "etc/passwd", (1, 5)), "no plain file"),
        (new().dir("etc/passwd"), "no plain file"),
        (new().file("etc/passwd", &huge), "larger than"),
        (new().file("etc/passwd", PASSWD).file("etc/group", &huge), "larger than"),
        (new(), "no such user"),
    ] {
        let run = json!({ "Cmd": ["/x"], "User": "app" });
        put_image(&sandbox, "docker.io/library/x:latest", &[archive.tar()], run);
        let error = sandbox.fails(&["bundle", "--copy", "x", "b"]);
        assert!(error.contains("user 'app'") && error.contains(word), "{error}");
    }
    // A symlink that stays inside is as good as a file.
    let archive =
        new().file("etc/real", PASSWD).symlink("etc/passwd", "/etc/real").file("etc/group", GROUP);
    let run = json!({ "Cmd": ["/x"], "User": "app" });
    put_image(&sandbox, "docker.io/library/x:latest", &[archive.tar()], run);
    sandbox.ok(&["bundle", "--copy", "x", "b"]);
}

#[test]
fn a_copy_is_never_written_through_a_lower_layers_symlink() {
    let sandbox = Sandbox::new();
    let outside = sandbox.path.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "x").unwrap();
    let lower = Archive::new().symlink("x", outside.to_str().unwrap()).tar();
    for (upper, entry) in [
        (Archive::new().file("x/f", "x"), "x/f"),
        (Archive::new().file("x/.wh.secret", ""), "x/.wh.secret"),
        (Archive::new().file("x/.wh..wh..opq", ""), "x/.wh..wh..opq"),
        (Archive::new().hardlink("l", "x/secret"), "l"),
    ] {
        let image = "docker.io/library/x:latest";
        put_image(&sandbox, image, &[lower.clone(), upper.tar()], json!({ "Cmd": ["/x"] }));
        for arguments in [["unpack", "x", "tree"].as_slice(), &["bundle", "--copy", "x", "tree"]] {
            let error = sandbox.fails(arguments);
            for part in [image, "layer sha256:", &format!("entry '{entry}'")] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
            assert!(!sandbox.path.join("tree").exists());
        }
        assert_eq!(super::sandbox::names(&outside), ["secret"]);
    }
}
