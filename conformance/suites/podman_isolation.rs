//! podman's flags that shut a container in or let it out: file systems, secrets, privileges.

use std::fs;

use serde_json::json;

use super::asked::Client;
use super::podman::Podman;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const PODMAN: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const APPARMOR: &[Need] = &[
    Need::AppArmor,
    Need::Controllers,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("apparmor_parser"),
];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];

/// The cases of this part.
pub const CASES: &[Case] = &[
    case("podman/volumes-tmpfs-and-secrets", volumes),
    case("podman/security-options", security),
    case("podman/devices", devices),
    case("podman/cgroup-namespaces", cgroup_namespaces),
    case("podman/init-reaps", init),
    Case::new("podman/apparmor-profiles", apparmor).needs(APPARMOR).not_on(CRUN),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome) -> Case {
    Case::new(name, run).needs(PODMAN).not_on(CRUN)
}

fn volumes(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.call(&["volume", "create", "data"]).ok()?;
    let secret = env.dir.join("secret");
    fs::write(&secret, "hush\n")?;
    podman.call(&["secret", "create", "word", &secret.to_string_lossy()]).ok()?;
    let secrets = ["--secret", "word,uid=5,mode=0400", "--secret", "word,type=env,target=WORD"];
    let script = "cat /run/secrets/word; stat -c %u:%a /run/secrets/word; echo $WORD";
    let output = podman.run(&[&["--rm"], &secrets[..]].concat(), &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "hush\n5:400\nhush\n", "the secret");
    let mount = "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0750";
    let flags = ["--rm", "--read-only", "-v", "data:/data", "--mount", mount];
    let script = "stat -c %a /t; touch /x || touch /t/x /data/x /run/x && echo written";
    let output = podman.run(&flags, &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "750\nwritten\n", "stdout");
    let output = podman.run(&["--rm", "-v", "data:/d:ro"], &["sh", "-c", "ls /d; touch /d/y"]);
    let output = output.exits(1)?;
    ensure_eq!(output.stdout, "x\n", "the volume");
    podman.end()
}

fn security(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let found = podman.report(&["--security-opt", "seccomp=unconfined"])?;
    ensure_eq!(found["status"]["Seccomp"], "0", "seccomp mode");
    let profile = env.dir.join("profile.json");
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    let text = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    fs::write(&profile, serde_json::to_vec(&text)?)?;
    let flag = format!("seccomp={}", profile.display());
    let output = podman.run(&["--rm", "--security-opt", &flag], &["mkdir", "/tmp/x"]).exits(1)?;
    ensure!(output.stderr.contains("Function not implemented"), "{output}");
    let found = podman.report(&["--user", "5", "--cap-add", "net_raw,chown"])?;
    ensure_eq!(found["status"]["CapEff"], "0000000000002001", "capabilities of a user");
    let found = podman.report(&["--security-opt", "no-new-privileges"])?;
    ensure_eq!(found["status"]["NoNewPrivs"], "1", "NoNewPrivs");
    let masks = |flags: &[&str]| -> Result<usize, Failure> {
        let flags = [&["--rm"], flags].concat();
        let script = ["sh", "-c", "cat /proc/timer_list 2>/dev/null | wc -c"];
        Ok(podman.run(&flags, &script).ok()?.stdout.trim().parse()?)
    };
    ensure_eq!(masks(&[])?, 0, "bytes of a masked path");
    ensure!(masks(&["--security-opt", "unmask=ALL"])? > 0, "the path is masked still");
    podman.end()
}

fn devices(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let flags = ["--rm", "--device", "/dev/fuse:/dev/x:r"];
    let script = "true </dev/x && echo read; true >/dev/x || echo refused";
    let output = podman.run(&flags, &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "read\nrefused\n", "a device to be read only");
    // A device node of the container's own is of no use without a rule.
    let script = "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg";
    let output = podman.run(&["--rm", "--cap-add", "mknod"], &["sh", "-c", script]).output()?;
    ensure!(output.stderr.contains("Operation not permitted"), "{output}");
    podman.end()
}

fn cgroup_namespaces(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let look = |mode: &str| -> Result<(bool, String), Failure> {
        let script = "readlink /proc/self/ns/cgroup; cat /proc/self/cgroup";
        let output = podman.run(&["--rm", "--cgroupns", mode], &["sh", "-c", script]).ok()?;
        let (link, groups) = output.stdout.split_once('\n').unwrap_or_default();
        let own = fs::read_link("/proc/self/ns/cgroup")?;
        Ok((own.to_string_lossy() == link, groups.to_owned()))
    };
    let (shared, groups) = look("host")?;
    ensure!(shared && groups.contains("/libpod-"), "host: {groups}");
    let (shared, groups) = look("private")?;
    ensure!(!shared && !groups.contains("/libpod-"), "private: {groups}");
    podman.end()
}

fn init(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    let flags = ["-d", "--name", "one", "--init"];
    podman.run(&flags, &["sh", "-c", "trap 'exit 5' TERM; sleep 1000 & wait"]).ok()?;
    let output = podman.call(&["exec", "one", "cat", "/proc/1/comm"]).ok()?;
    ensure_eq!(output.stdout, "podman-init\n", "process 1");
    let script = "(sleep 0.1 &); sleep 0.4; ps -o stat | grep -c Z";
    let output = podman.call(&["exec", "one", "sh", "-c", script]).output()?;
    ensure_eq!(output.stdout, "0\n", "orphans that nobody reaps");
    podman.call(&["stop", "-t", "30", "one"]).ok()?;
    ensure_eq!(podman.inspect("one", "{{.State.ExitCode}}")?, "5", "exit code behind init");
    podman.end()
}

fn apparmor(env: &mut Env) -> Outcome {
    let podman = Podman::new(env)?;
    podman.run(&["-d", "--name", "one"], &["sleep", "1000"]).ok()?;
    let output = podman.call(&["exec", "one", "cat", "/proc/1/attr/current"]).ok()?;
    let confined = |text: &str| text.starts_with("containers-default-");
    ensure!(confined(&output.stdout) && output.stdout.contains("(enforce)"), "{output}");
    let output = podman.call(&["exec", "one", "cat", "/proc/self/attr/current"]).ok()?;
    ensure!(confined(&output.stdout), "{output}");
    let flags = ["--rm", "--security-opt", "apparmor=unconfined"];
    let output = podman.run(&flags, &["cat", "/proc/self/attr/current"]).ok()?;
    ensure_eq!(output.stdout.trim_end_matches(['\n', '\0']), "unconfined", "the profile");
    podman.end()
}
