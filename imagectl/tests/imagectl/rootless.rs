//! Overlays of a user without root: in a user namespace with a range of IDs, and with one ID alone.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::archive::Archive;
use super::bundle::{EXPECTED, layers};
use super::sandbox::Sandbox;
use super::settings::runtimes;
use super::store::put_image;

/// Runs the script as root, who can say `as COMMAND` for a user without rights in a directory of theirs,
/// with the binary as `$imagectl` there, the runtime as `$runtime` and the image `x` in their store. `/etc`
/// is an overlay, so that ranges can be given without touching the host's.
fn script(ranges: bool, runtime: &Path, script: &str) -> String {
    let sandbox = Sandbox::new();
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let mut tars = layers();
    tars.push(Archive::new().program("busybox", &busybox).dir("dev").dir("proc").dir("sys").tar());
    tars.push(Archive::new().pax(&[("uid", "7"), ("gid", "8")]).file("owned", "x").tar());
    let name = "docker.io/library/x:latest";
    put_image(&sandbox, name, &tars, json!({ "Cmd": ["/busybox", "find", "/", "-xdev"] }));
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("imagectl-rootless-{}-{count}", std::process::id());
    let home = std::env::temp_dir().join(name);
    // Left by a failed test of the same number.
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir(&home).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_imagectl"), home.join("imagectl")).unwrap();
    std::fs::copy(runtime, home.join("runtime")).unwrap();
    sandbox.ok(&["save", "x", "--output", home.join("x.tar").to_str().unwrap()]);
    let range = if ranges { "echo nobody:100000:65536" } else { "true" };
    let said = sandbox.script(&format!(
        "mkdir upper work; mount -t overlay etc -o lowerdir=/etc,upperdir=$PWD/upper,workdir=$PWD/work /etc
         {range} | tee /etc/subuid > /etc/subgid
         cd {home}; chown -R nobody .
         as() {{ setpriv --reuid 65534 --regid 65534 --clear-groups env -i HOME=$PWD PATH=$PATH XDG_RUNTIME_DIR=$PWD \"$@\"; }}
         imagectl=$PWD/imagectl; runtime=$PWD/runtime; as $imagectl load x.tar >/dev/null
         {script}",
        home = home.display()
    ));
    std::fs::remove_dir_all(&home).unwrap();
    said
}

/// With a range of IDs and without, each on both runtimes.
fn ways() -> impl Iterator<Item = (bool, PathBuf)> {
    [true, false].into_iter().flat_map(|ranges| runtimes().map(|runtime| (ranges, runtime)))
}

/// What is in the rootfs but for what this test put there.
fn tree(found: &str) -> String {
    let mut lines: Vec<String> = found
        .lines()
        .filter_map(|line| line.strip_prefix('/'))
        .filter(|path| !["", "busybox", "owned", "dev", "proc", "sys"].contains(path))
        .map(|path| format!("./{path}\n"))
        .collect();
    lines.sort();
    lines.concat()
}

#[test]
fn a_runtime_mounts_the_overlay_of_a_bundle() {
    for (ranges, runtime) in ways() {
        let said = script(
            ranges,
            &runtime,
            "as $imagectl bundle x b >/dev/null; test -z \"$(ls b/rootfs)\"; ! grep $PWD /proc/mounts
             as $imagectl gc >/dev/null; as $imagectl rm x >/dev/null; as $imagectl load x.tar >/dev/null
             as $runtime --root $PWD/run run --bundle b c
             as $imagectl unbundle b >/dev/null; test ! -e b; as $imagectl rm x >/dev/null
             as $imagectl gc >/dev/null; as find .local/share/imagectl/layers .local/share/imagectl/blobs -type f",
        );
        assert_eq!(tree(&said), EXPECTED, "{runtime:?}, ranges {ranges}: {said}");
        assert!(!said.contains(".local"), "{runtime:?}, ranges {ranges}: nothing is left: {said}");
    }
}

#[test]
fn what_the_container_changed_is_seen_and_committed() {
    for (ranges, runtime) in ways() {
        let said = script(
            ranges,
            &runtime,
            "as $imagectl bundle x b -- /busybox sh -c '/busybox rm -r /opaque /own; /busybox mkdir /opaque
               echo new >/opaque/only; echo more >>/etc/passwd; /busybox touch -d 2001-01-01 /etc/passwd' >/dev/null
             as $runtime --root $PWD/run run --bundle b c
             as $imagectl diff b; as $imagectl commit b y >/dev/null; as $imagectl unbundle b >/dev/null
             as $imagectl bundle y b >/dev/null; as $runtime --root $PWD/run run --bundle b c
             as $imagectl bundle --copy y d >/dev/null; ls d/rootfs/opaque; stat -c 'owner %u:%g' d/rootfs/owned
             as $imagectl unbundle b d >/dev/null
             as $imagectl save y --output y.tar; $imagectl --store root load y.tar >/dev/null
             $imagectl --store root unpack y t; stat -c 'stored %u:%g' t/owned",
        );
        let (changes, rest) = said.split_once("/\n").unwrap();
        let expected = "C /etc\nC /etc/passwd\nC /opaque\nD /opaque/new\nA /opaque/only\nD /own\n";
        assert_eq!(changes, expected, "{runtime:?}, ranges {ranges}: {said}");
        let expected = EXPECTED.replace("./own\n", "").replace("opaque/new", "opaque/only");
        assert_eq!(tree(rest), expected, "{runtime:?}, ranges {ranges}: {said}");
        let owner = if ranges { "100006:100007" } else { "65534:65534" };
        assert!(
            rest.contains(&format!("only\nowner {owner}\n")),
            "{runtime:?}, ranges {ranges}: {said}"
        );
        assert!(rest.ends_with("stored 7:8\n"), "{runtime:?}, ranges {ranges}: {said}");
    }
}

#[test]
fn a_shell_of_the_users_own_has_mounts_and_bundles() {
    for (ranges, runtime) in ways() {
        let said = script(
            ranges,
            &runtime,
            "! as $imagectl mount x m 2>&1
             as $imagectl unshare sh -euc '
               $0 mount x m >/dev/null; cd m; find . | sed s,^.,,; stat -c \"owner %u:%g\" owned; cd ..
               ! touch m/x 2>/dev/null; $0 mount --format json | grep \"mounted\\\": true\"
               $0 unmount m >/dev/null; ls
               $0 bundle x b >/dev/null; echo x >b/rootfs/new; $0 diff b
               $1 --root $PWD/run run --bundle b c | grep -x /new; $0 unbundle b >/dev/null' $imagectl $runtime
             code=0; as $imagectl unshare sh -c 'exit 7' || code=$?; echo code $code
             ! $imagectl unshare true 2>&1",
        );
        assert!(
            said.contains("'imagectl unshare' runs a command"),
            "{runtime:?}, ranges {ranges}: {said}"
        );
        let (_, shown) = said.split_once("unshare'").unwrap();
        let (shown, rest) = shown.split_once("owner ").unwrap();
        assert_eq!(tree(shown), EXPECTED, "{runtime:?}, ranges {ranges}: {said}");
        let owner = if ranges { "7:8" } else { "0:0" };
        let expected = format!(
            "{owner}\n    \"mounted\": true,\nimagectl\nrun\nruntime\nx.tar\nA /new\n/new\ncode 7\n"
        );
        assert!(
            rest.replace("run\n", "").starts_with(&expected.replace("run\n", "")),
            "{runtime:?}, ranges {ranges}: {said}"
        );
        assert!(rest.ends_with("root has all rights without a user namespace\n"), "{said}");
    }
}
