//! From a registry to a running container by a user without privileges: imagectl makes the bundle.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use super::rootless::{RUNC_ALONE, TOOLS};
use crate::bundle::fill_rootfs;
use crate::call::{Running, wait_until};
use crate::case::{Case, Failure, Outcome};
use crate::env::Env;
use crate::user::{SUBORDINATE, SUBORDINATES, UID};
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("rootless-images/pull-bundle-and-run", overlay).needs(TOOLS).not_on(RUNC_ALONE),
    Case::new("rootless-images/bundles-of-their-own-files", copy).needs(TOOLS).not_on(RUNC_ALONE),
];

/// imagectl of the user's, and an image to pull.
struct Ground {
    program: PathBuf,
    home: PathBuf,
    /// The image's name at the registry.
    reference: String,
    /// The registry: root's store.
    _serving: Running,
}

impl Ground {
    fn new(env: &mut Env) -> Result<Self, Failure> {
        let built = env.shared.probe.with_file_name("imagectl");
        ensure!(built.exists(), "{} is missing: hack/build imagectl makes it", built.display());
        let user = env.become_user()?.clone();
        let program = user.runtime.with_file_name("imagectl");
        fs::copy(built, &program)?;

        let (tree, store) = (env.dir.join("tree"), env.dir.join("roots-store"));
        fill_rootfs(&tree, &env.shared.probe)?;
        fs::write(tree.join("owned"), "")?;
        std::os::unix::fs::chown(tree.join("owned"), Some(7), Some(8))?;
        let root = |words: &[&OsStr]| {
            let all = [&[program.as_os_str(), "--store".as_ref(), store.as_os_str()], words];
            env.command(&all.concat())
        };
        let mut import = vec!["import".as_ref(), tree.as_os_str(), "localhost/x:1".as_ref()];
        for word in ["sh", "-c", SCRIPT] {
            import.extend([OsStr::new("--cmd"), word.as_ref()]);
        }
        import.extend([OsStr::new("--env"), "PATH=/bin".as_ref()]);
        root(&import).ok()?;
        let serve = ["serve", "--listen", "127.0.0.1:0"].map(OsStr::new);
        let serving = root(&serve).spawn()?;
        let address = wait_until(env.shared.limit, "imagectl to listen", || {
            let said = serving.stdout()?;
            let address = said.strip_prefix("listening at ").and_then(|at| at.strip_suffix('\n'));
            Ok(address.map(str::to_owned))
        })?;
        let reference = format!("{address}/x:1");
        Ok(Self { program, home: user.runtime_dir, reference, _serving: serving })
    }

    /// imagectl, called by the user at home; what it says.
    fn imagectl(&self, env: &Env, words: &[&str]) -> Result<String, Failure> {
        let mut all = vec![self.program.as_os_str()];
        all.extend(words.iter().map(OsStr::new));
        let call = env.command(&all);
        let call = env.user.as_ref().map(|user| user.call(call));
        let call = call.ok_or_else(|| Failure("nobody became the user".into()))?;
        Ok(call.env("HOME", &self.home).cwd(&self.home).ok()?.stdout)
    }

    /// What the bundle's container says.
    fn run(&self, env: &Env, name: &str) -> Result<String, Failure> {
        let (bundle, id) = (self.home.join("b"), env.id(name));
        let words =
            [OsStr::new("run"), OsStr::new("--bundle"), bundle.as_os_str(), OsStr::new(&id)];
        Ok(env.runtime(&words).ok()?.stdout)
    }
}

/// Whose the process and a file are, in which IDs, and how often it ran.
const SCRIPT: &str =
    "echo $(id -u) $(stat -c %u:%g /owned) $(cat /proc/self/uid_map); echo x >>/ran; cat /ran";

fn said(runs: usize) -> String {
    format!("0 7:8 0 {UID} 1 1 {SUBORDINATE} {SUBORDINATES}\n{}", "x\n".repeat(runs))
}

fn overlay(env: &mut Env) -> Outcome {
    let ground = Ground::new(env)?;
    let imagectl = |words: &[&str]| ground.imagectl(env, words);
    imagectl(&["pull", "-q", "--tls-verify=false", &ground.reference])?;
    imagectl(&["bundle", "--rootless", &ground.reference, "b"])?;
    // What a container changes is there for the next one, and seen from outside.
    ensure_eq!(ground.run(env, "a")?, said(1), "the first run");
    ensure_eq!(ground.run(env, "b")?, said(2), "the second run");
    ensure_eq!(imagectl(&["diff", "b"])?, "A /ran\n", "what changed");
    imagectl(&["unbundle", "b"])?;
    ensure!(!ground.home.join("b").exists(), "the bundle is left");
    imagectl(&["rm", &ground.reference])?;
    ensure_eq!(imagectl(&["list", "--format", "json"])?, "[]\n", "images");
    Ok(())
}

fn copy(env: &mut Env) -> Outcome {
    let ground = Ground::new(env)?;
    let imagectl = |words: &[&str]| ground.imagectl(env, words);
    imagectl(&["pull", "-q", "--tls-verify=false", &ground.reference])?;
    imagectl(&["bundle", "--rootless", "--copy", &ground.reference, "b"])?;
    // It stands on nothing.
    imagectl(&["rm", &ground.reference])?;
    ensure_eq!(ground.run(env, "a")?, said(1), "the run");
    imagectl(&["unbundle", "b"])?;
    ensure!(!ground.home.join("b").exists(), "the bundle is left");
    Ok(())
}
