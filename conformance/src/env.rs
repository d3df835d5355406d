//! The fresh surroundings of one case: a directory, a state root, ids, and calls of the runtime.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::bundle::{self, Bundle};
use crate::call::{Call, wait_until};
use crate::case::{Failure, Outcome, Peer};
use crate::host::Host;
use crate::user::{self, User};
use crate::{ensure, leaks};

/// What all cases of one run of the runner share.
pub struct Shared {
    /// The runtime binary under test.
    pub runtime: PathBuf,
    /// Which runtime that is.
    pub peer: Peer,
    /// The machine.
    pub host: Host,
    /// The static probe; `rawcall` and the other small programs are beside it.
    pub probe: PathBuf,
    /// What `runc spec` prints, with no terminal: the default bundle.
    pub default_config: Value,
    /// The time limit of one command.
    pub limit: Duration,
    /// The machine is an emulated one.
    pub slow: bool,
    /// A user without privileges calls the runtime.
    pub rootless: bool,
    /// A library to preload into the runtime, for crun.
    pub preload: Option<PathBuf>,
}

/// The surroundings of one case.
pub struct Env<'a> {
    /// What all cases share.
    pub shared: &'a Shared,
    /// The case's own directory.
    pub dir: PathBuf,
    /// A word that is part of every id and cgroup name of this case, and of no other.
    pub mark: String,
    /// Who calls the runtime, if not root.
    pub user: Option<User>,
    containers: RefCell<Vec<String>>,
    bundles: RefCell<u32>,
}

impl<'a> Env<'a> {
    /// Make the directory, below `parent`.
    pub fn new(shared: &'a Shared, parent: &Path, number: usize) -> Result<Self, Failure> {
        let mark = format!("cf{}n{number}", leaks::nonce());
        // Short: podman takes no runroot of more than 50 characters.
        let dir = parent.join(format!("n{number}"));
        fs::create_dir_all(dir.join("state"))?;
        let (containers, bundles) = (RefCell::default(), RefCell::default());
        Ok(Self { shared, dir, mark, user: None, containers, bundles })
    }

    /// From now on, bundles are for a user without privileges, who calls the runtime.
    pub fn become_user(&mut self) -> Result<&User, Failure> {
        let user = match self.user.take() {
            Some(user) => user,
            None => User::new(&self.dir, &self.shared.runtime)?,
        };
        Ok(self.user.insert(user))
    }

    /// A container id of this case.
    pub fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.mark)
    }

    /// The state root.
    pub fn root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Is this the runtime under test?
    pub fn is(&self, peer: Peer) -> bool {
        self.shared.peer == peer
    }

    /// A fresh default bundle, not yet saved.
    pub fn bundle(&self) -> Result<Bundle, Failure> {
        let number = self.bundles.replace_with(|n| *n + 1);
        let dir = self.dir.join(format!("bundle{number}"));
        bundle::fill_rootfs(&dir.join("rootfs"), &self.shared.probe)?;
        let mut config = self.shared.default_config.clone();
        if self.user.is_some() {
            user::without_privileges(&mut config)?;
            if self.shared.rootless {
                user::map_subordinates(&mut config);
            }
        }
        Ok(Bundle { dir, config, is_users: self.user.is_some() })
    }

    /// A fresh default bundle with this command, saved.
    pub fn bundle_with(&self, args: &[&str]) -> Result<Bundle, Failure> {
        let mut bundle = self.bundle()?;
        bundle.args(args);
        bundle.save()?;
        Ok(bundle)
    }

    /// A call of the runtime, with the case's state root.
    pub fn runtime<W: AsRef<OsStr>>(&self, words: &[W]) -> Call {
        let mut all: Vec<OsString> = vec!["--root".into(), self.root().into()];
        all.extend(words.iter().map(|w| w.as_ref().to_owned()));
        self.bare_runtime(&all)
    }

    /// A call of the runtime, with no global flag.
    pub fn bare_runtime<W: AsRef<OsStr>>(&self, words: &[W]) -> Call {
        let runtime = self.user.as_ref().map_or(&self.shared.runtime, |user| &user.runtime);
        let mut all = vec![runtime.clone().into_os_string()];
        all.extend(words.iter().map(|w| w.as_ref().to_owned()));
        let call = Call::new(&all, &self.dir, self.shared.limit);
        let call = match &self.user {
            Some(user) => user.call(call),
            None => call,
        };
        match &self.shared.preload {
            Some(library) => call.env("LD_PRELOAD", library),
            None => call,
        }
    }

    /// A call of any other command.
    pub fn command<W: AsRef<OsStr>>(&self, words: &[W]) -> Call {
        Call::new(words, &self.dir, self.shared.limit)
    }

    /// A call of `run` in the foreground, for a bundle that is saved first.
    pub fn run(&self, bundle: &Bundle) -> Result<Call, Failure> {
        bundle.save()?;
        Ok(self.runtime(&[
            OsStr::new("run"),
            OsStr::new("--bundle"),
            bundle.dir.as_os_str(),
            OsStr::new(&self.id("run")),
        ]))
    }

    /// Save and run the bundle with the probe as its command; the probe's report.
    pub fn probe(&self, bundle: &mut Bundle) -> Result<Value, Failure> {
        bundle.args(&["/bin/probe"]);
        self.run(bundle)?.ok()?.json()
    }

    /// `create` a container, which is force-deleted when the case ends.
    pub fn create(&self, bundle: &Bundle, name: &str, flags: &[&str]) -> Result<String, Failure> {
        self.make("create", bundle, name, flags)
    }

    /// `run --detach` a container, which is force-deleted when the case ends.
    pub fn detach(&self, bundle: &Bundle, name: &str, flags: &[&str]) -> Result<String, Failure> {
        let flags: Vec<&str> = [&["--detach"], flags].concat();
        self.make("run", bundle, name, &flags)
    }

    fn make(
        &self,
        verb: &str,
        bundle: &Bundle,
        name: &str,
        flags: &[&str],
    ) -> Result<String, Failure> {
        bundle.save()?;
        let id = self.id(name);
        self.adopt(&id);
        let mut words: Vec<OsString> = vec![verb.into(), "--bundle".into(), (&bundle.dir).into()];
        words.extend(flags.iter().map(OsString::from));
        words.push((&id).into());
        self.runtime(&words).ok()?;
        Ok(id)
    }

    /// Have a container force-deleted when the case ends.
    pub fn adopt(&self, id: &str) {
        self.containers.borrow_mut().push(id.to_owned());
    }

    /// A call with one id.
    pub fn verb(&self, verb: &str, id: &str) -> Call {
        self.runtime(&[verb, id])
    }

    /// `exec` of a command line.
    pub fn exec(&self, id: &str, flags: &[&str], args: &[&str]) -> Call {
        self.runtime(&[&["exec"], flags, &[id], args].concat())
    }

    /// `exec` of the probe; its report.
    pub fn exec_probe(&self, id: &str, flags: &[&str]) -> Result<Value, Failure> {
        self.exec(id, flags, &["/bin/probe"]).ok()?.json()
    }

    /// The parsed answer of `state`.
    pub fn state(&self, id: &str) -> Result<Value, Failure> {
        self.verb("state", id).ok()?.json()
    }

    /// The status that `state` says.
    pub fn status(&self, id: &str) -> Result<String, Failure> {
        Ok(self.state(id)?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// The init process id that `state` says.
    pub fn pid(&self, id: &str) -> Result<i32, Failure> {
        let pid = self.state(id)?["pid"].as_i64().unwrap_or_default();
        ensure!(pid > 0, "state of {id} has no pid");
        Ok(i32::try_from(pid)?)
    }

    /// Wait until `state` says `status`.
    pub fn wait_status(&self, id: &str, status: &str) -> Outcome {
        wait_until(self.shared.limit, &format!("{id} to be {status}"), || {
            leaks::reap();
            Ok((self.status(id)? == status).then_some(()))
        })
    }

    /// Wait until a file exists and is not empty; its text.
    pub fn wait_file(&self, path: &Path) -> Result<String, Failure> {
        wait_until(self.shared.limit, &path.display().to_string(), || {
            Ok(fs::read_to_string(path).ok().filter(|text| !text.is_empty()))
        })
    }

    /// What is left on the machine of this case's containers, one line each.
    pub fn left(&self) -> Vec<String> {
        leaks::left(self)
    }

    /// Fail when anything is left, which a command that failed must not do.
    pub fn nothing_left(&self) -> Outcome {
        let left = self.left();
        ensure!(left.is_empty(), "left behind: {}", left.join("; "));
        Ok(())
    }

    /// Force-delete the containers that the case made.
    pub fn delete_all(&self) -> Outcome {
        let mut failures = Vec::new();
        for id in self.containers.take() {
            let output = self.runtime(&["delete", "--force", &id]).output()?;
            leaks::reap();
            // crun alone fails for an id that is gone.
            if output.code() != 0 && !self.is(Peer::Crun) {
                failures.push(output.to_string());
            }
        }
        ensure!(failures.is_empty(), "delete --force: {}", failures.join("; "));
        Ok(())
    }
}
