//! Images in files: what other tools write is read, and what is written they read.

use std::io::Write;
use std::process::Stdio;

use imagectl::digest::Digest;
use serde_json::{Value, json};

use super::archive::{Archive, gzip};
use super::peers::{compare, run, tree};
use super::sandbox::Sandbox;
use super::store::put_image;

fn layers() -> [Vec<u8>; 2] {
    let lower = Archive::new()
        .dir("./")
        .dir("d")
        .file("d/a", "a")
        .symlink("link", "d/a")
        .hardlink("d/hard", "d/a")
        .device(b'3', "null", (1, 3))
        .pax(&[("SCHILY.xattr.user.x", "y"), ("mtime", "7.5")])
        .file("attr", "x")
        .file("gone", "x");
    let upper = Archive::new().file(".wh.gone", "").file("d/b", "b");
    [lower.tar(), upper.tar()]
}

fn with_image() -> Sandbox {
    let sandbox = Sandbox::new();
    put_image(&sandbox, "docker.io/library/x:latest", &layers(), json!({ "Cmd": ["/x"] }));
    sandbox
}

/// What `docker save` wrote before it wrote layouts: directories, a layer that is a link to another's.
fn docker_archive(tars: &[Vec<u8>], names: Value) -> Vec<u8> {
    let mut archive = Archive::new();
    let mut files = Vec::new();
    for (at, tar) in tars.iter().enumerate() {
        let name = format!("layer{at}/layer.tar");
        archive = archive.dir(&format!("layer{at}/"));
        archive = match tars[..at].iter().position(|other| other == tar) {
            Some(same) => archive.symlink(&name, &format!("../layer{same}/layer.tar")),
            None => archive.entry(b'0', &name, "", tar),
        };
        files.push(name);
    }
    let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let manifest = json!([{ "Config": "config.json", "RepoTags": names, "Layers": files }]);
    archive
        .file("config.json", &config.to_string())
        .file("repositories", "{}")
        .file("manifest.json", &manifest.to_string())
        .tar()
}

fn load_stdin(sandbox: &Sandbox, arguments: &[&str], archive: &[u8]) -> std::process::Output {
    let mut child = sandbox
        .command()
        .arg("load")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses the archive early doesn't read it all.
    let _ = child.stdin.take().unwrap().write_all(archive);
    child.wait_with_output().unwrap()
}

#[test]
fn docker_archives_with_linked_layers_come_from_standard_input() {
    let [one, two] = layers();
    let archive = docker_archive(&[one.clone(), two, one], json!(["x:1", "quay.io/y:2"]));
    for archive in [archive.clone(), gzip(&archive), zstd::encode_all(&archive[..], 1).unwrap()] {
        let sandbox = Sandbox::new();
        let output = load_stdin(&sandbox, &[], &archive);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("docker.io/library/x:1 sha256:"), "{said}");
        assert!(said.contains("\nquay.io/y:2 sha256:"), "{said}");
        sandbox.ok(&["unpack", "x:1", "tree"]);
        assert_eq!(std::fs::read_to_string(sandbox.path.join("tree/d/b")).unwrap(), "b");
        sandbox.script("$imagectl bundle x:1 b; cat b/rootfs/d/b; $imagectl unbundle b");
        assert_eq!(sandbox.ok(&["verify"]).trim(), "4 blobs are right");
        assert_eq!(super::sandbox::names(&sandbox.store().join("ingest")), [""; 0]);
    }
    let sandbox = Sandbox::new();
    let nameless = docker_archive(&layers(), Value::Null);
    let output = load_stdin(&sandbox, &[], &nameless);
    assert!(output.stdout.starts_with(b"localhost/loaded@sha256:"), "{output:?}");
    assert!(load_stdin(&sandbox, &["--name", "mine", "-"], &nameless).status.success());
    sandbox.ok(&["unpack", "mine", "tree"]);
}

#[test]
fn docker_archives_of_two_images_have_a_shared_layer_once() {
    let [base, upper] = layers();
    let other = Archive::new().file("other", "other").tar();
    let config = |upper: &[u8]| {
        let diff_ids = [&base[..], upper].map(Digest::of);
        json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids } })
        .to_string()
    };
    let item = |config: &str, name: &str, layer: &str| json!({ "Config": config, "RepoTags": [name], "Layers": ["base.tar", layer] });
    let manifest = json!([item("1.json", "x:1", "upper.tar"), item("2.json", "y:2", "other.tar")]);
    let archive = Archive::new()
        .entry(b'0', "base.tar", "", &base)
        .entry(b'0', "upper.tar", "", &upper)
        .entry(b'0', "other.tar", "", &other)
        .file("1.json", &config(&upper))
        .file("2.json", &config(&other))
        .file("manifest.json", &manifest.to_string())
        .tar();
    let check = |sandbox: &Sandbox| {
        for (name, own, foreign) in [("x:1", "d/b", "other"), ("y:2", "other", "d/b")] {
            sandbox.ok(&["unpack", name, own.trim_start_matches("d/")]);
            let tree = sandbox.path.join(own.trim_start_matches("d/"));
            assert_eq!(std::fs::read_to_string(tree.join("d/a")).unwrap(), "a", "{name}");
            assert!(tree.join(own).exists() && !tree.join(foreign).exists(), "{name}");
        }
        // Three layers, two configs, two manifests.
        assert_eq!(sandbox.ok(&["verify"]).trim(), "7 blobs are right");
    };
    let sandbox = Sandbox::new();
    let output = load_stdin(&sandbox, &[], &archive);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("library/x:1 sha256:") && said.contains("\ndocker.io/library/y:2 "));
    check(&sandbox);
    sandbox.ok(&["save", "--format", "docker-archive", "-o", "two.tar", "x:1", "y:2"]);
    let listed = sandbox.script("tar -tf two.tar");
    let layer = Digest::of(&base).hex();
    assert_eq!(listed.lines().filter(|line| line.contains(&layer)).count(), 1, "{listed}");
    let tars = listed.lines().filter(|line| line.ends_with(".tar")).count();
    assert_eq!(tars, 3, "{listed}");
    let again = Sandbox::new();
    again.ok(&["load", sandbox.path.join("two.tar").to_str().unwrap()]);
    check(&again);
}

#[test]
fn archives_that_are_refused() {
    let config = json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"other").to_string()] } });
    let config = config.to_string();
    let item = |layer: &str| {
        json!([{ "Config": "c.json", "RepoTags": ["x"], "Layers": [layer] }]).to_string()
    };
    let new = Archive::new;
    let with = |layer: &str| new().file("c.json", &config).file("manifest.json", &item(layer));
    for (archive, words) in [
        (new().file("a", "x"), "neither a manifest.json nor an index.json"),
        (with("nowhere"), "nowhere: is not in the archive"),
        (with("l").file("l", "layer"), "digest is"),
        (with("../../etc/passwd"), "'..'"),
        (with("l").symlink("l", "../etc/passwd"), "a link out of the archive"),
        (with("l").symlink("l", "/etc/passwd"), "a link out of the archive"),
        (with("l").symlink("l", "l"), "too many links"),
        (with("l").file("../l", "x"), "'..'"),
        (with("l").device(b'3', "l", (1, 3)), "no file, directory or link"),
        (new().file("manifest.json", "[}"), "manifest.json is not valid"),
        (new().file("index.json", "{}").file("oci-layout", "{}"), "not an OCI image layout"),
    ] {
        let sandbox = Sandbox::new();
        let output = load_stdin(&sandbox, &[], &archive.tar());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors.contains(words), "{words}: {errors}");
        assert!(!sandbox.store().join("index.json").exists());
        assert_eq!(super::sandbox::names(&sandbox.store().join("ingest")), [""; 0]);
    }
    let sandbox = Sandbox::new();
    let output = load_stdin(&sandbox, &["--max-size=1k"], &docker_archive(&layers(), json!(["x"])));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--max-size"), "{output:?}");
    assert!(sandbox.fails(&["load", "nowhere.tar"]).contains("open nowhere.tar"));
}

#[test]
fn what_is_saved_is_loaded_here_and_by_others() {
    let sandbox = with_image();
    sandbox.ok(&["unpack", "x", "original"]);
    let original = tree(&sandbox, "original");
    sandbox.ok(&["tag", "x", "again"]);
    for (format, file, transport) in [
        ("docker-archive", "docker.tar", "docker-archive"),
        ("oci-archive", "oci.tar", "oci-archive"),
        ("oci-dir", "layout", "oci"),
    ] {
        sandbox.ok(&["save", "--format", format, "-o", file, "x", "again"]);
        let other = Sandbox::new();
        let path = sandbox.path.join(file);
        let path = path.to_str().unwrap();
        let said = other.ok(&["load", path]);
        assert!(
            said.contains("library/x:latest ") && said.contains("library/again:latest "),
            "{said}"
        );
        other.ok(&["unpack", "again", "tree"]);
        compare(format, &original, &tree(&other, "tree"));
        let name = match format {
            "docker-archive" => String::new(),
            _ => ":docker.io/library/x:latest".to_owned(),
        };
        let target = format!("oci:{format}:theirs");
        run(&sandbox, "skopeo", &["copy", "-q", &format!("{transport}:{path}{name}"), &target]);
        let theirs = format!("umoci-{format}");
        let image = format!("{format}:theirs");
        run(&sandbox, "umoci", &["raw", "unpack", "--image", &image, &theirs]);
        compare(format, &original, &tree(&sandbox, &theirs));
        // Saving twice gives the same bytes, and never overwrites.
        assert!(sandbox.fails(&["save", "--format", format, "-o", file, "x"]).contains("exists"));
    }
    let shown = sandbox
        .script("$imagectl save x | $imagectl load; $imagectl save x | gzip | $imagectl load -");
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

#[test]
fn what_skopeo_writes_is_loaded() {
    let sandbox = with_image();
    let source = "oci:store:docker.io/library/x:latest";
    run(&sandbox, "skopeo", &["copy", "-q", source, "docker-archive:d.tar:localhost/d:1"]);
    run(&sandbox, "skopeo", &["copy", "-q", source, "oci-archive:o.tar:localhost/o:1"]);
    run(&sandbox, "skopeo", &["copy", "-q", source, "oci:layout:bare"]);
    for (file, name) in [
        ("d.tar", "localhost/d:1"),
        ("o.tar", "localhost/o:1"),
        ("layout", "localhost/loaded:bare"),
    ] {
        let said = sandbox.ok(&["load", file]);
        assert!(said.starts_with(&format!("{name} sha256:")), "{said}");
        let directory = format!("tree-{file}");
        sandbox.ok(&["unpack", name, &directory]);
        assert!(sandbox.path.join(directory).join("d/b").exists());
    }
}

#[test]
fn a_corrupt_layout_is_refused() {
    let sandbox = with_image();
    sandbox.ok(&["save", "--format", "oci-dir", "-o", "layout", "x"]);
    let blobs = sandbox.path.join("layout/blobs/sha256");
    let layer = Digest::of(&gzip(&layers()[0])).hex();
    let mut bytes = std::fs::read(blobs.join(&layer)).unwrap();
    bytes[30] ^= 1;
    std::fs::write(blobs.join(&layer), bytes).unwrap();
    let other = Sandbox::new();
    let path = sandbox.path.join("layout");
    let error = other.fails(&["load", path.to_str().unwrap()]);
    assert!(error.contains(&format!("blob sha256:{layer}: digest is")), "{error}");
    std::fs::remove_file(blobs.join(&layer)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", blobs.join(&layer)).unwrap();
    let error = other.fails(&["load", path.to_str().unwrap()]);
    assert!(error.contains("Invalid cross-device link"), "{error}");
    assert!(!other.store().join("index.json").exists());
}

#[test]
fn a_rootfs_becomes_an_image() {
    let sandbox = with_image();
    sandbox.ok(&["unpack", "x", "rootfs"]);
    let original = tree(&sandbox, "rootfs");
    for compression in ["none", "gzip", "zstd"] {
        let name = format!("from-dir:{compression}");
        let arguments = [
            "import",
            "rootfs",
            &name,
            "--compression",
            compression,
            "--cmd",
            "/a",
            "--cmd",
            "-b",
            "--env",
            "A=B",
            "--user",
            "7",
            "--workdir",
            "/w",
            "--label",
            "l=m",
        ];
        let first = sandbox.ok(&arguments);
        assert_eq!(first, sandbox.ok(&arguments), "the same tree is the same image");
        let to = format!("tree-{compression}");
        sandbox.ok(&["unpack", &name, &to]);
        compare(compression, &original, &tree(&sandbox, &to));
        let config = sandbox.ok(&["inspect", "--config", &name]);
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(
            config["config"],
            json!({ "Cmd": ["/a", "-b"], "Env": ["A=B"], "User": "7", "WorkingDir": "/w",
                "Labels": { "l": "m" } })
        );
    }
    run(&sandbox, "tar", &["-C", "rootfs", "--xattrs", "-czf", "rootfs.tgz", "."]);
    sandbox.ok(&["import", "rootfs.tgz", "from-tar", "--cmd", "/a"]);
    sandbox.ok(&["unpack", "from-tar", "tree"]);
    assert!(sandbox.path.join("tree/d/b").exists());
    sandbox.script(
        "cat rootfs.tgz | $imagectl import - from-stdin; $imagectl unpack from-stdin tree2",
    );
    assert!(sandbox.path.join("tree2/d/b").exists());
    std::fs::write(sandbox.path.join("bad"), "no tar at all, for certain").unwrap();
    let error = sandbox.fails(&["import", "bad", "bad"]);
    assert!(error.contains("tar stream") || error.contains("block"), "{error}");
    assert!(!sandbox.ok(&["list"]).contains("bad:latest"));
    assert!(sandbox.fails(&["import", "rootfs", "y", "--env", "x"]).contains("--env: 'x'"));
    std::fs::write(sandbox.path.join("rootfs/.wh.x"), "").unwrap();
    assert!(sandbox.fails(&["import", "rootfs", "y"]).contains("reserved for whiteouts"));
}

/// A bundle `b` with every kind of change in it, of the image `x`.
const CHANGED: &str = r"$imagectl bundle $copy x b >/dev/null
    rm b/rootfs/d/a b/rootfs/d/hard; echo new >b/rootfs/d/new; chmod 700 b/rootfs/d
    rm -r b/rootfs/d; mkdir b/rootfs/d; echo only >b/rootfs/d/only; ln b/rootfs/d/only b/rootfs/l
    setfattr -n user.note -v noted b/rootfs/l; touch -d 2001-02-03 b/rootfs/l
    rm b/rootfs/null; ln -s /nowhere b/rootfs/null; rm b/rootfs/attr; mkdir -p b/rootfs/attr/sub";

#[test]
fn a_changed_rootfs_becomes_a_layer() {
    for copy in ["", "--copy"] {
        let sandbox = with_image();
        let shown = sandbox.script(&format!(
            "copy={copy}; {CHANGED}
             $imagectl commit b y --cmd /y >/dev/null
             cp -a b/rootfs now
             $imagectl unbundle b >/dev/null
             $imagectl unpack y then >/dev/null; ls -A then then/d; cat then/d/only
             stat -c 'links %h' then/l; getfattr --only-values -n user.note then/d/only
             $imagectl bundle y c >/dev/null; ls -A c/rootfs/d c/rootfs/attr; $imagectl unbundle c >/dev/null",
        ));
        let expected = "then:\nattr\nd\nl\nlink\nnull\n\nthen/d:\nonly\nonly\nlinks 2\n\
                        notedc/rootfs/attr:\nsub\n\nc/rootfs/d:\nonly\n";
        assert_eq!(shown, expected, "{copy}");
        compare("commit", &tree(&sandbox, "now"), &tree(&sandbox, "then"));
        let value: Value = serde_json::from_str(&sandbox.ok(&["inspect", "y"])).unwrap();
        assert_eq!(value["layers"].as_array().unwrap().len(), 3);
        assert_eq!(value["config"]["config"]["Cmd"], json!(["/y"]));
        assert_eq!(value["platform"], "linux/amd64");
    }
}

#[test]
fn a_layer_of_changes_says_what_is_deleted() {
    for (copy, opaque) in [("", "d/.wh..wh..opq\n"), ("--copy", "d/.wh.a\nd/.wh.b\nd/.wh.hard\n")] {
        let sandbox = with_image();
        let shown = sandbox.script(&format!(
            "copy={copy}; {CHANGED}; rm b/rootfs/link
             $imagectl commit b y >/dev/null; $imagectl unbundle b >/dev/null
             layer=$($imagectl inspect --raw y | grep -o 'sha256:[0-9a-f]*' | tail -n 1)
             tar -xOzf store/blobs/sha256/${{layer#*:}} >/dev/null; tar -tzf store/blobs/sha256/${{layer#*:}} | grep '[.]wh' | sort",
        ));
        // The directory where a file was has nothing to delete in it, and overlayfs marks it all the same.
        let shown = shown.replace("attr/.wh..wh..opq\n", "");
        assert_eq!(shown, format!(".wh.link\n{opaque}"), "{copy}");
    }
}

#[test]
fn what_fails_to_be_committed_leaves_nothing() {
    for copy in ["", "--copy"] {
        let sandbox = with_image();
        let shown = sandbox.script(&format!(
            "$imagectl bundle {copy} x b >/dev/null; echo x >b/rootfs/new; $imagectl gc >/dev/null
             find store -type f | sort >before
             ! $imagectl commit b y --max-entries 1 2>&1
             touch b/rootfs/.wh.x; ! $imagectl commit b y 2>&1; rm b/rootfs/.wh.x
             mv b/imagectl.json away; ! $imagectl commit b y 2>&1; mv away b/imagectl.json
             find store -type f | sort | diff before - && echo same
             $imagectl list | grep -c y: || true
             $imagectl unbundle b >/dev/null",
        ));
        let words = ["more than 1", ".wh.x': the name is reserved", "imagectl.json", "same\n0\n"];
        for word in words {
            assert!(shown.contains(word), "{copy}: {word} is not in {shown}");
        }
    }
}

#[test]
fn a_save_that_ends_early_leaves_no_file() {
    let sandbox = Sandbox::new();
    let big = super::push::big();
    put_image(&sandbox, "docker.io/library/x:latest", std::slice::from_ref(&big), json!({}));
    for format in ["docker-archive", "oci-archive"] {
        let mut child =
            sandbox.command().args(["save", "--format", format, "-o", "f", "x"]).spawn().unwrap();
        let descriptors = format!("/proc/{}/fd", child.id());
        // The archive is begun where it has no name.
        let begun = || {
            std::fs::read_dir(&descriptors).is_ok_and(|entries| {
                entries.flatten().any(|entry| {
                    std::fs::read_link(entry.path()).is_ok_and(|to| {
                        to.starts_with(&sandbox.path)
                            && to.to_string_lossy().ends_with(" (deleted)")
                    })
                })
            })
        };
        while !begun() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::INT,
        );
        let whole = child.wait().unwrap().success();
        assert_eq!(sandbox.path.join("f").exists(), whole, "{format}");
        let _ = std::fs::remove_file(sandbox.path.join("f"));
    }
    // A failure leaves neither file nor directory.
    let layer = sandbox.store().join("blobs/sha256").join(Digest::of(&gzip(&big)).hex());
    let bytes = std::fs::read(&layer).unwrap();
    std::fs::write(&layer, &bytes[..bytes.len() - 1]).unwrap();
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        sandbox.fails(&["save", "--format", format, "-o", "f", "x"]);
        assert!(!sandbox.path.join("f").exists(), "{format}");
    }
}
