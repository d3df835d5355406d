//! Measures the two binaries beside their peers and the kernel's floor. Never a test: nothing here
//! passes or fails by a time.

mod bundle;
mod contender;
mod crowd;
mod figure;
mod images;
mod memory;
mod options;
mod plot;
mod podman;
mod report;
mod rounds;
mod runtime;
mod targets;
mod timing;
mod view;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// What any step here fails with: a text that names the step.
pub type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "\
Usage: bench runtime|images [OPTION]...

  runtime    ghost-runc beside crun, runc and youki, those that are installed, and the floor
             (youki by 'cargo install --features v1,v2,seccomp youki')

  --rounds N           rounds of the interleaved figures (30)
  --view host|v2       one view of control groups only; both else
  --only FIGURE[,...]  rounds, throughput, crowd, memory, podman: these only
  --with NAME=COMMAND  one contender more; a known name replaces it
  --out DIR            where RESULTS.md and its plot go (conformance/bench)

  images     from a registry on loopback to unpacked layers: imagectl beside skopeo and umoci, podman,
             buildah and containerd, those that are installed; needs target/dist/imagectl (hack/build imagectl)

  --layouts DIR        the OCI layouts NAME-gzip and NAME-zstd, with a tag each (~/.cache/ghost-runc/layouts,
                       where conformance/bench/layouts makes them)
  --image NAME         which of them (app)
  --floor PROGRAM      the program that does the work and nothing else, from memory
  --with NAME=PROGRAM  another imagectl beside ours
  --only NAME[,...]    these only; ours is always there
  --rounds N           rounds (3: six minutes on two processors)
  --out DIR            where IMAGES.md goes (conformance/bench)
";

fn main() -> ExitCode {
    match try_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn try_main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("runtime", rest)) => runtime::bench(rest),
        Some(("images", rest)) => images::bench(rest),
        Some(("-h" | "--help", _)) => Ok(io::stdout().write_all(USAGE.as_bytes())?),
        Some((word, _)) => Err(format!("{word}: no such benchmark\n{USAGE}").into()),
        None => Err(USAGE.into()),
    }
}
