//! What podman and Docker are asked alike, whose `run` and `exec` take the same flags: what the
//! container must then see. What an engine answers in its own way is for its own suite.

use std::fs;

use serde_json::Value;

use super::engine;
use crate::call::{Call, wait_until};
use crate::case::{Failure, Outcome};
use crate::env::Env;
use crate::{ensure, ensure_eq, user};

/// The command line of an engine that has the image "box".
pub trait Client {
    /// The case.
    fn env(&self) -> &Env<'_>;

    /// A command.
    fn call(&self, words: &[&str]) -> Call;

    /// `run` without a network.
    fn run(&self, flags: &[&str], command: &[&str]) -> Call;

    /// `run -d --name NAME` of a shell script.
    fn start(&self, name: &str, script: &str) -> Outcome {
        self.run(&["-d", "--name", name], &["sh", "-c", script]).ok()?;
        Ok(())
    }

    /// One field of `inspect`.
    fn inspect(&self, name: &str, format: &str) -> Result<String, Failure> {
        let output = self.call(&["inspect", "--format", format, name]).ok()?;
        Ok(output.stdout.trim().to_owned())
    }

    /// Wait until a container has printed `text`.
    fn wait_logs(&self, name: &str, text: &str) -> Outcome {
        wait_until(self.env().shared.limit, &format!("{name} to print {text:?}"), || {
            Ok(self.call(&["logs", name]).ok()?.stdout.contains(text).then_some(()))
        })
    }

    /// What the probe sees in a container with these flags.
    fn report(&self, flags: &[&str]) -> Result<Value, Failure> {
        self.run(&[&["--rm"], flags].concat(), &["/bin/probe"]).ok()?.json()
    }

    /// A file of the case, as stdin.
    fn input(&self, text: &str) -> Result<fs::File, Failure> {
        let path = self.env().dir.join("input");
        fs::write(&path, text)?;
        Ok(fs::File::open(path)?)
    }

    /// A directory of the caller's with "file" in it, as the volume at `target`.
    fn volume(&self, target: &str) -> Result<String, Failure> {
        let dir = self.env().dir.join("data");
        if !dir.exists() {
            fs::create_dir(&dir)?;
            fs::write(dir.join("file"), "content\n")?;
            if self.env().user.is_some() {
                user::own_tree(&dir)?;
            }
        }
        Ok(format!("{}:{target}", dir.display()))
    }
}

/// What a container of no flags has.
pub fn default_container(client: &impl Client) -> Outcome {
    let report = client.report(&[])?;
    ensure_eq!(report["pid"], 1, "pid");
    ensure_eq!(report["status"]["Uid"], "0 0 0 0", "uid");
    ensure_eq!(report["status"]["Seccomp"], "2", "seccomp mode");
    ensure_eq!(report["status"]["Seccomp_filters"], "1", "filters");
    for set in ["CapEff", "CapBnd"] {
        ensure_eq!(report["status"][set], DEFAULT_CAPABILITIES, "{set}");
    }
    let table = report["mounts"].to_string();
    for target in ["/etc/hosts", "/dev/shm", "/proc/keys", "/proc/sys"] {
        ensure!(table.contains(&format!("{target:?}")), "nothing is mounted at {target}: {table}");
    }
    Ok(())
}

/// What a container's processes may do unless a flag says otherwise.
pub const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

/// Ids, environment, capabilities, limits of the process and kernel settings.
pub fn process_flags(client: &impl Client) -> Outcome {
    let report = client.report(&[
        "--user=5:6",
        "--group-add=7",
        "--workdir=/tmp",
        "--env=A=b",
        "--hostname=name",
        "--cap-drop=ALL",
        "--cap-add=NET_RAW",
        "--security-opt=no-new-privileges",
        "--ulimit=nofile=99:100",
        "--ulimit=nproc=500:500",
        "--oom-score-adj=600",
    ])?;
    let status = &report["status"];
    ensure_eq!(status["Uid"], "5 5 5 5", "uid");
    ensure_eq!(status["Gid"], "6 6 6 6", "gid");
    ensure!(status["Groups"].to_string().contains('7'), "groups {}", status["Groups"]);
    ensure_eq!(report["cwd"], "/tmp", "cwd");
    ensure!(report["env"].to_string().contains("A=b"), "environment {}", report["env"]);
    ensure_eq!(report["hostname"], "name", "host name");
    ensure_eq!(status["CapBnd"], "0000000000002000", "bounding capabilities");
    ensure_eq!(status["NoNewPrivs"], "1", "NoNewPrivs");
    ensure_eq!(report["oom_score_adj"], "600", "oom_score_adj");
    ensure_eq!(report["limits"]["Max open files"].to_string(), "[\"99\",\"100\"]", "open files");
    ensure_eq!(report["limits"]["Max processes"].to_string(), "[\"500\",\"500\"]", "processes");
    let sysctl = ["--rm", "--sysctl", "net.ipv4.ip_forward=1"];
    let output = client.run(&sysctl, &["cat", "/proc/sys/net/ipv4/ip_forward"]).ok()?;
    ensure_eq!(output.stdout, "1\n", "sysctl");
    Ok(())
}

/// Volumes, a root that is read only, a file system in memory, and a device.
pub fn mounts(client: &impl Client) -> Outcome {
    let (readonly, writable) = (client.volume("/ro:ro")?, client.volume("/rw")?);
    let flags = ["--rm", "--read-only", "--tmpfs", "/t:size=1m", "--device", "/dev/fuse"];
    let volumes = ["-v", &readonly, "-v", &writable, "-v", "named:/named"];
    let script = "cat /ro/file; touch /x /ro/x || touch /t/x /rw/new /named/x && \
                  stat -c %t:%T /dev/fuse; cat /etc/hostname >/dev/null && echo done";
    let output = client.run(&[&flags[..], &volumes].concat(), &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "content\na:e5\ndone\n", "stdout");
    ensure!(client.env().dir.join("data/new").exists(), "the volume is not the directory");
    let output = client.run(&["--rm", "-v", "named:/n"], &["ls", "/n"]).ok()?;
    ensure_eq!(output.stdout, "x\n", "the named volume");
    Ok(())
}

/// The standard streams, and the exit code, of a container in the foreground.
pub fn run_streams(client: &impl Client) -> Outcome {
    let script = ["sh", "-c", "echo out; echo err >&2; exit 7"];
    let output = client.run(&["--rm"], &script).exits(7)?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"), "streams");
    let output = client.run(&["--rm", "-i"], &["cat"]).stdin(client.input("typed\n")?).ok()?;
    ensure_eq!(output.stdout, "typed\n", "stdin");
    Ok(())
}

/// `exec` into the running container `name`: streams, exit code, flags, and one that is detached.
pub fn exec(client: &impl Client, name: &str) -> Outcome {
    let script = ["exec", name, "sh", "-c", "echo out; echo err >&2; exit 9"];
    let output = client.call(&script).exits(9)?;
    ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"), "streams");
    let output = client.call(&["exec", "-i", name, "cat"]).stdin(client.input("typed\n")?).ok()?;
    ensure_eq!(output.stdout, "typed\n", "stdin");
    let words = ["exec", "-u", "5:6", "-w", "/tmp", "-e", "A=b", name, "/bin/probe"];
    let report = client.call(&words).ok()?.json()?;
    ensure_eq!(report["status"]["Uid"], "5 5 5 5", "uid");
    ensure_eq!(report["status"]["Seccomp"], "2", "seccomp mode");
    ensure_eq!(report["cwd"], "/tmp", "cwd");
    ensure!(report["env"].to_string().contains("A=b"), "environment {}", report["env"]);
    client.call(&["exec", "-d", name, "touch", "/tmp/flag"]).ok()?;
    wait_until(client.env().shared.limit, "the detached process", || {
        let output = client.call(&["exec", name, "test", "-e", "/tmp/flag"]).output()?;
        Ok(output.status.success().then_some(()))
    })
}

/// `run -it`.
pub fn run_terminal(client: &impl Client) -> Outcome {
    let run = |script: &[&str]| client.run(&["--rm", "-it"], script);
    engine::talk_resize_and_interrupt(client.env(), run)
}

/// `exec -it` into the running container `name`.
pub fn exec_terminal(client: &impl Client, name: &str) -> Outcome {
    let exec = |script: &[&str]| client.call(&[&["exec", "-it", name], script].concat());
    engine::talk(client.env(), exec)
}
