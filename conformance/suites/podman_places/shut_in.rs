//! The flags that shut a container in or let it out.

use serde_json::json;

use std::fs;

use crate::case::Outcome;
use crate::suites::asked::{self, Client};
use crate::suites::podman::Podman;
use crate::{ensure, ensure_eq};

pub fn shut_in(podman: Podman) -> Outcome {
    asked::default_container(&podman)?;
    asked::process_flags(&podman)?;
    asked::mounts(&podman)?;
    seccomp(&podman)?;
    secrets(&podman)?;
    cgroup_namespace(&podman)?;
    init(&podman)?;
    podman.end()
}

fn seccomp(podman: &Podman) -> Outcome {
    let report = podman.report(&["--security-opt", "seccomp=unconfined", "--user", "5"])?;
    ensure_eq!(report["status"]["Seccomp"], "0", "seccomp mode");
    ensure_eq!(report["status"]["CapEff"], "0000000000000000", "capabilities of a user");
    let report =
        podman.report(&["--user", "5", "--cap-add", "net_raw,chown", "--umask", "0077"])?;
    ensure_eq!(report["status"]["CapEff"], "0000000000002001", "capabilities given to a user");
    ensure_eq!(report["status"]["Umask"], "0077", "umask");
    let profile = podman.env().dir.join("profile.json");
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    let text = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    fs::write(&profile, serde_json::to_vec(&text)?)?;
    let flag = format!("seccomp={}", profile.display());
    let output = podman.run(&["--rm", "--security-opt", &flag], &["mkdir", "/tmp/x"]).exits(1)?;
    ensure!(output.stderr.contains("Function not implemented"), "{output}");
    let masked = |flags: &[&str]| {
        let script = ["sh", "-c", "stat -c %F /proc/timer_list"];
        podman.run(&[&["--rm"], flags].concat(), &script).ok()
    };
    ensure_eq!(masked(&[])?.stdout, "character special file\n", "a masked path");
    let unmasked = masked(&["--security-opt", "unmask=ALL"])?.stdout;
    ensure!(unmasked != "character special file\n", "the path is masked still");
    Ok(())
}

fn secrets(podman: &Podman) -> Outcome {
    let secret = podman.env().dir.join("secret");
    fs::write(&secret, "hush\n")?;
    podman.call(&["secret", "create", "word", &secret.to_string_lossy()]).ok()?;
    let flags = ["--secret", "word,uid=5,mode=0400", "--secret", "word,type=env,target=WORD"];
    let tmpfs = "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0750";
    let script =
        "cat /run/secrets/word; stat -c %u:%a /run/secrets/word; echo $WORD; stat -c %a /t";
    let flags = [&["--rm", "--mount", tmpfs], &flags[..]].concat();
    let output = podman.run(&flags, &["sh", "-c", script]).ok()?;
    ensure_eq!(output.stdout, "hush\n5:400\nhush\n750\n", "the secret");
    Ok(())
}

fn cgroup_namespace(podman: &Podman) -> Outcome {
    let own = fs::read_link("/proc/self/ns/cgroup")?;
    for (mode, shared) in [("host", true), ("private", false)] {
        let script = ["sh", "-c", "readlink /proc/self/ns/cgroup; cat /proc/self/cgroup"];
        let output = podman.run(&["--rm", "--cgroupns", mode], &script).ok()?;
        let (link, groups) = output.stdout.split_once('\n').unwrap_or_default();
        ensure_eq!(link == own.to_string_lossy(), shared, "--cgroupns {mode}: {output}");
        if podman.has_groups() {
            ensure_eq!(groups.contains("/libpod-"), shared, "--cgroupns {mode}: {groups}");
        }
    }
    Ok(())
}

fn init(podman: &Podman) -> Outcome {
    let script = "trap 'exit 5' TERM; cat /proc/1/comm; echo ready; sleep 1000 & wait";
    podman.run(&["-d", "--name", "i", "--init"], &["sh", "-c", script]).ok()?;
    podman.wait_logs("i", "podman-init\nready\n")?;
    let script = "(sleep 0.1 &); sleep 0.4; ps -o stat | grep -c Z";
    let output = podman.call(&["exec", "i", "sh", "-c", script]).output()?;
    ensure_eq!(output.stdout, "0\n", "orphans that nobody reaps");
    podman.call(&["stop", "-t", "30", "i"]).ok()?;
    ensure_eq!(podman.inspect("i", "{{.State.ExitCode}}")?, "5", "exit code behind init");
    Ok(())
}
