//! `bench images`: from a registry on loopback to unpacked layers, by every tool that does it, each time
//! on a fresh ext4: one that 80,000 files were deleted from makes new ones ten times slower.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::figure::Figures;
use crate::options::Options;
use crate::{Failure, bundle, targets, timing};

/// Set in the copy that is process 1 of the fresh namespaces; its value is the directory it works in.
const INSIDE: &str = "BENCH_INSIDE";
/// The tool that all others are compared with.
pub const OURS: &str = "imagectl";
/// The program that the floor is measured by.
pub const FLOOR: &str = "floor";
/// Compressions of the image's layers.
pub const FLAVOURS: [&str; 2] = ["gzip", "zstd"];
/// Bytes of the file system that is unpacked into; its file has holes and lies in memory.
const TARGET_SIZE: u64 = 8 << 30;

/// A tool: the programs that it needs, and what it does with `$reference` in the empty `$dir`.
pub const PEERS: [(&str, &[&str], &str); 4] = [
    (
        "skopeo + umoci",
        &["skopeo", "umoci"],
        "skopeo copy -q --src-tls-verify=false docker://$reference oci:$dir/oci:x
         umoci raw unpack --image $dir/oci:x $dir/tree",
    ),
    (
        "podman",
        &["podman"],
        "podman --root $dir/root --runroot $dir/run --storage-driver overlay pull -q --tls-verify=false $reference",
    ),
    (
        "buildah",
        &["buildah"],
        "buildah --root $dir/root --runroot $dir/run --storage-driver overlay pull -q --tls-verify=false $reference",
    ),
    (
        "containerd",
        &["containerd", "ctr"],
        "printf 'version = 2\\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\\n' >$dir/config
         containerd -c $dir/config --root $dir/root --state $dir/state --address $dir/sock -l error & pid=$!
         trap 'kill $pid; wait $pid || true' EXIT
         until ctr -a $dir/sock version >/dev/null 2>&1; do sleep 0.01; done
         ctr -a $dir/sock images pull --plain-http $reference",
    ),
];

/// Which images.
struct Images {
    layouts: PathBuf,
    name: String,
    floor: Option<PathBuf>,
}

fn parse(words: &[String]) -> Result<(Options, Images), Failure> {
    let mut images = Images { layouts: layouts(), name: "app".to_owned(), floor: None };
    let options = Options::parse(words, 3, |name, value| {
        match name {
            "--layouts" => images.layouts = PathBuf::from(value),
            "--image" => value.clone_into(&mut images.name),
            "--floor" => images.floor = Some(PathBuf::from(value)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    for layout in FLAVOURS.map(|flavour| images.layout(flavour)) {
        if !layout.is_dir() {
            let layout = layout.display();
            return Err(format!("{layout} is not there: conformance/bench/layouts makes it").into());
        }
    }
    Ok((options, images))
}

impl Images {
    fn layout(&self, flavour: &str) -> PathBuf {
        self.layouts.join(format!("{}-{flavour}", self.name))
    }
}

/// Where conformance/bench/layouts makes them if nobody says otherwise.
fn layouts() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("ghost-runc/layouts")
}

/// Measure, print, write.
pub fn bench(words: &[String]) -> Result<(), Failure> {
    let (options, images) = parse(words)?;
    if let Some(dir) = std::env::var_os(INSIDE) {
        return inside(&options, &images, &PathBuf::from(dir));
    }
    let scratch = PathBuf::from(format!("/dev/shm/imagectl-bench.{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let status = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, &scratch)
        .status()?;
    // Mounts were in the namespaces that are gone.
    fs::remove_dir_all(&scratch)?;
    if status.success() { Ok(()) } else { Err(format!("the benchmark: {status}").into()) }
}

/// A tool that is here.
struct Tool {
    name: String,
    script: String,
}

fn inside(options: &Options, images: &Images, dir: &Path) -> Result<(), Failure> {
    let floor = dir.join("cost");
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O2", "-Wno-format-truncation", "-o"]).arg(&floor);
    timing::output(gcc.arg(bundle::source("bench/floor.c")))?;
    let (registry, address) = registry(dir)?;
    let mut figures = Figures::default();
    let mut absent = Vec::new();
    for flavour in FLAVOURS {
        let reference = push(images, &address, flavour)?;
        let tools = tools(options, images, flavour, &mut absent)?;
        let target = Target { dir, cost: &floor, reference: &reference };
        for _ in 0..options.rounds {
            for tool in &tools {
                target.measure(tool, flavour, &mut figures)?;
            }
        }
    }
    drop(registry);
    report(options, images, &figures, &absent)
}

/// A registry whose data lies in memory, ended with the benchmark.
struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        // The namespace's end takes what this leaves.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn registry(dir: &Path) -> Result<(Registry, String), Failure> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let address = format!("127.0.0.1:{port}");
    let child = Command::new(bundle::source("../hack/registry"))
        .arg(dir.join("registry"))
        .arg(&port)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let registry = Registry(child);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&address).is_err() {
        if Instant::now() > deadline {
            return Err("the registry doesn't answer".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((registry, address))
}

fn push(images: &Images, address: &str, flavour: &str) -> Result<String, Failure> {
    let layout = images.layout(flavour);
    let reference = format!("{address}/{}:{flavour}", images.name);
    let mut copy = Command::new("skopeo");
    // Without --preserve-digests zstd layers become the gzip ones that the registry has.
    copy.args(["copy", "-q", "--preserve-digests", "--dest-tls-verify=false"]);
    copy.arg(format!("oci:{}:latest", layout.display())).arg(format!("docker://{reference}"));
    timing::output(&mut copy)?;
    Ok(reference)
}

fn tools(
    options: &Options,
    images: &Images,
    flavour: &str,
    absent: &mut Vec<(String, String)>,
) -> Result<Vec<Tool>, Failure> {
    let pull = |program: &str| -> Result<String, Failure> {
        let program = Path::new(program).canonicalize().map_err(|e| format!("{program}: {e}"))?;
        Ok(format!(
            "{} --store $dir/store pull -q --tls-verify=false $reference",
            program.display()
        ))
    };
    let mut tools = Vec::new();
    if let Some(program) = images.floor.as_ref().filter(|_| options.wants(FLOOR)) {
        let layout = images.layout(flavour);
        let stage = if flavour == "gzip" { "full" } else { "fullz" };
        let script = format!(
            "T=2 D=$dir/tree {} {stage} $(jq -r '.layers[].digest[7:]' \
             {1}/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' {1}/index.json) | sed s,^,{1}/blobs/sha256/,)",
            program.display(),
            layout.display(),
        );
        tools.push(Tool { name: FLOOR.to_owned(), script });
    }
    let ours = options.with.iter().find(|(name, _)| name == OURS);
    let ours = ours.map_or("target/dist/imagectl", |(_, program)| program);
    tools.push(Tool { name: OURS.to_owned(), script: pull(ours)? });
    for (name, program) in options.with.iter().filter(|(name, _)| name != OURS) {
        tools.push(Tool { name: name.clone(), script: pull(program)? });
    }
    for (name, programs, script) in PEERS {
        if !options.wants(name) {
            continue;
        }
        match programs.iter().find(|program| !is_installed(program)) {
            None => tools.push(Tool { name: name.to_owned(), script: script.to_owned() }),
            Some(program) => {
                let why = (name.to_owned(), format!("{program} is not installed"));
                if !absent.contains(&why) {
                    absent.push(why);
                }
            }
        }
    }
    Ok(tools)
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Where and what all tools unpack.
struct Target<'a> {
    dir: &'a Path,
    cost: &'a Path,
    reference: &'a str,
}

impl Target<'_> {
    /// One tool on a fresh file system.
    fn measure(&self, tool: &Tool, flavour: &str, figures: &mut Figures) -> Result<(), Failure> {
        let (image, mount) = (self.dir.join("ext4"), self.dir.join("mnt"));
        fs::File::create(&image)?.set_len(TARGET_SIZE)?;
        fs::create_dir_all(&mount)?;
        timing::output(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        timing::output(Command::new("mount").args(["-o", "loop"]).args([&image, &mount]))?;
        let outcome = self.run(tool, &mount, flavour, figures);
        // Some tool's mounts below go a moment after it.
        timing::output(Command::new("umount").args(["--recursive", "--lazy"]).arg(&mount))?;
        fs::remove_file(&image)?;
        outcome
    }

    fn run(
        &self,
        tool: &Tool,
        mount: &Path,
        flavour: &str,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let dir = mount.join("t");
        fs::create_dir(&dir)?;
        let mut command = Command::new(self.cost);
        command.args(["cost", "bash", "-euc", &tool.script]);
        command.env("dir", &dir).env("reference", self.reference);
        let figure = |what: &str| format!("{flavour}: {what}");
        let time = match timing::time(&mut command, self.dir) {
            Ok(time) => time,
            Err(failure) => {
                let why = failure.to_string();
                let why = why.lines().last().unwrap_or_default();
                figures.miss(&figure("wall"), "s", &tool.name, why);
                return Ok(());
            }
        };
        let text = fs::read_to_string(self.dir.join("stderr"))?;
        let numbers: Vec<f64> = text
            .lines()
            .last()
            .unwrap_or_default()
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [peak, user, system] = numbers[..] else {
            return Err(format!("no cost in {text}").into());
        };
        figures.add(&figure("wall"), "s", &tool.name, time / 1000.0);
        figures.add(&figure("CPU"), "s", &tool.name, (user + system) / 1000.0);
        figures.add(&figure("CPU of it in the tool itself"), "s", &tool.name, user / 1000.0);
        figures.add(&figure("CPU of it in the kernel"), "s", &tool.name, system / 1000.0);
        figures.add(&figure("peak memory of a process"), "MiB", &tool.name, peak / 1024.0);
        if tool.name == OURS {
            self.afterwards(tool, &dir, flavour, figures)?;
        }
        Ok(())
    }

    /// What follows a pull: another one that finds all there, and a bundle.
    fn afterwards(
        &self,
        tool: &Tool,
        dir: &Path,
        flavour: &str,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let program = tool.script.split(' ').next().unwrap_or_default();
        let (store, bundle) = (dir.join("store"), dir.join("bundle"));
        for (figure, words) in [
            ("second pull", &["pull", "-q", "--tls-verify=false", self.reference][..]),
            ("bundle", &["bundle", self.reference]),
            ("unbundle", &["unbundle"]),
        ] {
            let mut command = Command::new(program);
            command.arg("--store").arg(&store).args(words);
            if figure != "second pull" {
                command.arg(&bundle);
            }
            let time = timing::time(&mut command, self.dir)?;
            figures.add(&format!("{flavour}: {figure}"), "ms", &tool.name, time);
        }
        Ok(())
    }
}

fn report(
    options: &Options,
    images: &Images,
    figures: &Figures,
    absent: &[(String, String)],
) -> Result<(), Failure> {
    let mut text = format!(
        "# From a registry to unpacked layers\n\nWritten by `cargo run --release -p conformance --bin bench -- images`: \
         the image `{}`, a registry on loopback with its data in memory, a fresh ext4 in memory each time, medians of {} \
         interleaved rounds with the quartiles in brackets; behind them the ratio to imagectl's. The floor does the work \
         with two threads, a layer each, held in memory; it stores no blobs.\n\n",
        images.name, options.rounds
    );
    text += &targets::table(figures)?;
    for figure in &figures.0 {
        writeln!(text, "| {}, {} | | |\n|---|---:|---:|", figure.name, figure.unit)?;
        let ours = figures.median(&figure.name, OURS);
        for (name, _) in &figure.samples {
            let Some([low, middle, high]) = figure.quartiles(name) else { continue };
            let ratio = ours.map_or(String::new(), |ours| format!("{:.2}", middle / ours));
            writeln!(text, "| {name} | {middle:.2} ({low:.2}–{high:.2}) | {ratio} |")?;
        }
        for (name, why) in &figure.missing {
            writeln!(text, "| {name} | – | {} |", why.replace('|', "/"))?;
        }
        writeln!(text)?;
    }
    for (name, why) in absent {
        writeln!(text, "{name} is not measured: {why}.\n")?;
    }
    std::io::stdout().write_all(text.as_bytes())?;
    // A part of the tools must not take the place of all.
    if options.only.is_empty() {
        fs::write(options.out.join("IMAGES.md"), text)?;
    }
    Ok(())
}
