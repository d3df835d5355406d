//! Extended attributes of an archive: those that are left out, those that are refused.

use std::path::Path;

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::doors::Hostile;
use super::registry::LAYER;
use super::sandbox::{Sandbox, names};
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
pub fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
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
