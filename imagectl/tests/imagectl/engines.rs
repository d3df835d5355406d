//! Docker and podman: what they save is loaded, what is saved here they load, and the store is read in place.

use serde_json::json;

use super::archive::Archive;
use super::peers::{compare, run, tree};
use super::sandbox::Sandbox;
use super::store::put_image;

/// The image `x:1`, also named `localhost/y:2`, and its tree.
fn with_image() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let lower = Archive::new()
        .dir("./")
        .dir("d")
        .file("d/a", "a")
        .hardlink("d/hard", "d/a")
        .symlink("link", "d/a")
        .file("gone", "x");
    let tars = [lower.tar(), Archive::new().file(".wh.gone", "").file("d/b", "b").tar()];
    put_image(&sandbox, "docker.io/library/x:1", &tars, json!({ "Cmd": ["/x"] }));
    sandbox.ok(&["tag", "x:1", "localhost/y:2"]);
    sandbox.ok(&["unpack", "x:1", "original"]);
    let original = tree(&sandbox, "original");
    (sandbox, original)
}

/// Loads the files into stores of their own: both names are there, with the tree.
fn check(sandbox: &Sandbox, files: &[&str], original: &[String]) {
    for file in files {
        let other = Sandbox::new();
        let path = sandbox.path.join(file);
        let said = other.ok(&["load", "-i", path.to_str().unwrap()]);
        for (at, name) in ["docker.io/library/x:1", "localhost/y:2"].iter().enumerate() {
            assert!(said.contains(&format!("{name} sha256:")), "{file}: {said}");
            let directory = format!("tree{at}");
            other.ok(&["unpack", name, &directory]);
            compare(file, original, &tree(&other, &directory));
        }
    }
}

#[test]
fn docker_saves_loads_and_pulls() {
    let (sandbox, original) = with_image();
    let said = sandbox.script(
        r#"mount -t tmpfs none /run
        docker="docker -H unix://$PWD/docker.sock"
        dockerd -H "unix://$PWD/docker.sock" --data-root "$PWD/docker" --exec-root "$PWD/docker-run" \
            --pidfile "$PWD/docker.pid" --iptables=false --ip6tables=false --bridge=none --storage-driver vfs \
            >docker.log 2>&1 &
        daemon=$!
        trap 'kill $daemon; wait $daemon || true' EXIT
        for attempt in $(seq 300); do $docker version >/dev/null 2>&1 && break; sleep 0.1; done
        $imagectl save x:1 localhost/y:2 | $docker load
        $docker save x:1 localhost/y:2 >docker.tar
        $docker save x:1 localhost/y:2 | gzip >docker.tgz
        $docker save localhost/y:2 | $imagectl load --name piped
        $imagectl serve --listen 127.0.0.1:0 --writable >serve.log &
        serve=$!
        trap 'kill $serve; kill $daemon; wait $daemon || true' EXIT
        until test -s serve.log; do sleep 0.05; done
        at=$(sed 's/listening at //' serve.log)
        $docker pull -q $at/library/x:1
        $docker tag $at/library/x:1 $at/pushed:3
        $docker push -q $at/pushed:3"#,
    );
    assert!(
        said.contains("Loaded image: x:1") && said.contains("Loaded image: localhost/y:2"),
        "{said}"
    );
    assert!(said.contains("docker.io/library/piped:latest sha256:"), "{said}");
    check(&sandbox, &["docker.tar", "docker.tgz"], &original);
    for (name, directory) in [("piped", "piped"), ("localhost/pushed:3", "pushed")] {
        sandbox.ok(&["unpack", name, directory]);
        compare(name, &original, &tree(&sandbox, directory));
    }
}

#[test]
fn podman_loads_and_saves() {
    let (sandbox, original) = with_image();
    sandbox.ok(&["save", "-o", "docker-archive.tar", "x:1", "localhost/y:2"]);
    // podman takes an OCI archive of one image alone.
    sandbox.ok(&["save", "--format", "oci-archive", "-o", "oci-archive.tar", "x:1"]);
    // podman wants a short path for what it keeps while it runs.
    let runtime = format!("/tmp/imagectl-load-{}", std::process::id());
    for (format, root) in [("docker-archive", "one"), ("oci-archive", "two")] {
        let root = sandbox.path.join(root);
        let place = ["--root", root.to_str().unwrap(), "--runroot", &runtime, "--tmpdir", &runtime];
        let how =
            ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"];
        let podman = |arguments: &[&str]| {
            run(&sandbox, "podman", &[&place[..], &how, arguments].concat());
        };
        podman(&["load", "-q", "-i", &format!("{format}.tar")]);
        podman(&["image", "exists", "docker.io/library/x:1"]);
        if format == "docker-archive" {
            podman(&["image", "exists", "localhost/y:2"]);
            let names = ["docker.io/library/x:1", "localhost/y:2"];
            podman(&[&["save", "-q", "-m", "-o", "both.tar"][..], &names].concat());
        }
        let name = "docker.io/library/x:1";
        podman(&["save", "-q", "--format", format, "-o", &format!("saved-{format}.tar"), name]);
    }
    // Nothing is mounted there with this driver.
    std::fs::remove_dir_all(&runtime).unwrap();
    check(&sandbox, &["both.tar"], &original);
    for format in ["docker-archive", "oci-archive"] {
        let other = Sandbox::new();
        let path = sandbox.path.join(format!("saved-{format}.tar"));
        let said = other.ok(&["load", path.to_str().unwrap()]);
        assert!(said.starts_with("docker.io/library/x:1 sha256:"), "{format}: {said}");
        other.ok(&["unpack", "x:1", "tree"]);
        compare(format, &original, &tree(&other, "tree"));
    }
}

#[test]
fn skopeo_and_umoci_read_the_store() {
    let (sandbox, original) = with_image();
    run(&sandbox, "skopeo", &["inspect", "oci:store:docker.io/library/x:1"]);
    run(&sandbox, "skopeo", &["copy", "-q", "oci:store:docker.io/library/x:1", "dir:copied"]);
    run(&sandbox, "umoci", &["list", "--layout", "store"]);
    run(&sandbox, "umoci", &["raw", "unpack", "--image", "store:docker.io/library/x:1", "umoci"]);
    compare("umoci", &original, &tree(&sandbox, "umoci"));
}
