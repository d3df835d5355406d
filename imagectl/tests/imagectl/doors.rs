//! Every way in: the commands by which a layer of somebody else's is read. What one refuses, all refuse.

use std::io::Write;
use std::process::Stdio;

use imagectl::digest::Digest;
use serde_json::json;

use super::archive::Archive;
use super::registry::Registry;
use super::sandbox::{Sandbox, names};
use super::store::put_layers;

/// The name that the image has in a store.
pub const NAME: &str = "docker.io/library/x:latest";

/// One layer: media type, blob and diff ID.
pub type Layer = (&'static str, Vec<u8>, Digest);

/// An image that no command may take.
pub struct Hostile<'a> {
    /// The case.
    pub name: &'a str,
    /// Its layers, the lowest first.
    pub layers: &'a [Layer],
    /// Which of them is at fault.
    pub bad: usize,
    /// Options for the limits.
    pub options: &'a [&'a str],
    /// What the error must say beside image and layer.
    pub words: &'a [&'a str],
    /// Only who reads the archive, and not merely decompresses it, can tell.
    pub archive: bool,
}

impl Hostile<'_> {
    /// Tries every way in: each refuses, says why, and leaves nothing.
    pub fn is_refused_everywhere(&self) {
        self.is_refused_by_its_names();
        if self.layers.len() == 1 {
            self.import();
        }
    }

    /// The same but for `import`, where nobody says what the archive should be.
    pub fn is_refused_by_its_names(&self) {
        self.pull();
        self.stored();
        self.load();
    }

    fn says(&self, how: &str, error: &str, image: &str) {
        let (_, blob, diff_id) = &self.layers[self.bad];
        // Where only the unpacked layer is at hand, it has no other name than its diff ID.
        let layers = [Digest::of(blob), *diff_id].map(|digest| format!("layer {digest}"));
        assert!(layers.iter().any(|l| error.contains(l)), "{}, {how}: {error}", self.name);
        for word in [image].into_iter().chain(self.words.iter().copied()) {
            assert!(error.contains(word), "{}, {how}: {word:?} is not in: {error}", self.name);
        }
        assert!(!error.contains('\u{1b}'), "{}, {how}: {error}", self.name);
    }

    fn with<'b>(&'b self, command: &[&'b str]) -> Vec<&'b str> {
        [command, self.options].concat()
    }

    /// `pull`, and `copy` out of a registry.
    fn pull(&self) {
        let (sandbox, registry) = (sandbox(), Registry::start());
        registry.image_of("x", "t", self.layers, json!({ "Cmd": ["/x"] }));
        let image = format!("{}/x:t", registry.address);
        let pull = self.with(&["pull", "-q", "--tls-verify=false", &image]);
        self.says("pull", &sandbox.fails(&pull), &image);
        match self.layers.len() {
            1 => sandbox.assert_store_is_empty(),
            _ => sandbox.assert_there_is_no_image(),
        }
        if !self.archive {
            for target in ["docker-archive:x.tar", "oci-archive:x.tar", "oci:x"] {
                let copy = self.with(&["copy", "-q", "--tls-verify=false", &image, target]);
                self.says(target, &sandbox.fails(&copy), &image);
                self.nothing_is_left(&sandbox, target);
            }
        }
    }

    /// What reads the blobs of a store that another tool filled.
    fn stored(&self) {
        let sandbox = sandbox();
        put_layers(&sandbox, NAME, self.layers, json!({ "Cmd": ["/x"] }));
        let mut commands = vec![
            vec!["unpack", "x", "x"],
            vec!["bundle", "--copy", "x", "x"],
            vec!["bundle", "x", "x"],
            vec!["mount", "x", "x"],
        ];
        if !self.archive {
            commands.push(vec!["save", "--format", "docker-archive", "-o", "x.tar", "x"]);
        }
        for command in &commands {
            self.says(&command.join(" "), &sandbox.fails(&self.with(command)), NAME);
            self.nothing_is_left(&sandbox, command[0]);
        }
    }

    fn nothing_is_left(&self, sandbox: &Sandbox, how: &str) {
        for made in ["x", "x.tar"] {
            assert!(!sandbox.path.join(made).exists(), "{}, {how}", self.name);
        }
        let layers = (self.layers.len() == 1).then_some("layers");
        for directory in ["ingest", "bundles", "mounts"].into_iter().chain(layers) {
            let left = names(&sandbox.store().join(directory));
            assert_eq!(left, [""; 0], "{}, {how}: {directory}", self.name);
        }
    }

    /// `load` of a layout, of archives, and of standard input; `copy` out of a layout.
    fn load(&self) {
        let from = Sandbox::new();
        put_layers(&from, NAME, self.layers, json!({ "Cmd": ["/x"] }));
        let layout = from.store();
        let (oci, docker) = (self.oci_archive(&from), self.docker_archive());
        std::fs::write(from.path.join("oci.tar"), &oci).unwrap();
        std::fs::write(from.path.join("docker.tar"), docker).unwrap();
        let sandbox = sandbox();
        for file in [layout.clone(), from.path.join("oci.tar"), from.path.join("docker.tar")] {
            let error = sandbox.fails(&self.with(&["load", file.to_str().unwrap()]));
            self.says(&format!("load {}", file.display()), &error, NAME);
            sandbox.assert_store_is_empty();
        }
        let mut child = sandbox
            .command()
            .args(self.with(&["load"]))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that refuses the archive early doesn't read it all.
        let _ = child.stdin.take().unwrap().write_all(&oci);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", self.name);
        self.says("load -", &String::from_utf8(output.stderr).unwrap(), NAME);
        sandbox.assert_store_is_empty();
        if !self.archive {
            let source = format!("oci:{}", layout.display());
            let copy = self.with(&["copy", "-q", &source, "oci-archive:x.tar"]);
            self.says("copy oci:", &sandbox.fails(&copy), NAME);
            self.nothing_is_left(&sandbox, "copy");
        }
    }

    fn oci_archive(&self, from: &Sandbox) -> Vec<u8> {
        let mut archive = Archive::new();
        for name in ["oci-layout", "index.json"] {
            let bytes = std::fs::read(from.store().join(name)).unwrap();
            archive = archive.entry(b'0', name, "", &bytes);
        }
        for blob in names(&from.store().join("blobs/sha256")) {
            let name = format!("blobs/sha256/{blob}");
            let bytes = std::fs::read(from.store().join(&name)).unwrap();
            archive = archive.entry(b'0', &name, "", &bytes);
        }
        archive.tar()
    }

    fn docker_archive(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|(.., diff_id)| *diff_id).collect();
        let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/x"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let files: Vec<_> = (0..self.layers.len()).map(|at| format!("{at}.tar")).collect();
        let manifest =
            json!([{ "Config": "config.json", "RepoTags": ["x"], "Layers": files.clone() }]);
        let archive = Archive::new()
            .file("config.json", &config.to_string())
            .file("manifest.json", &manifest.to_string());
        let layers = self.layers.iter().zip(&files);
        layers
            .fold(archive, |archive, ((_, blob, _), file)| archive.entry(b'0', file, "", blob))
            .tar()
    }

    /// `import` of the layer as a tarball.
    fn import(&self) {
        let sandbox = sandbox();
        std::fs::write(sandbox.path.join("x.tar"), &self.layers[0].1).unwrap();
        let error = sandbox.fails(&self.with(&["import", "x.tar", "localhost/y"]));
        self.says("import", &error, "localhost/y:latest");
        sandbox.assert_store_is_empty();
    }
}

/// A sandbox with a file in the working directory that no layer's hard link may reach.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path.join("beside"), "beside").unwrap();
    sandbox
}
