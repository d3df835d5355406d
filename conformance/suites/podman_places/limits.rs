//! What podman does with a container's cgroup: limits, their change, statistics and pausing. A user's podman without systemd gives its containers none, and says so when asked.

use crate::case::Outcome;
use crate::suites::asked::Client;
use crate::suites::engine;
use crate::suites::podman::Podman;
use crate::{ensure, ensure_eq};

pub fn limits(podman: Podman) -> Outcome {
    if !podman.has_groups() {
        return refused(podman);
    }
    let flags = ["-d", "--name", "a", "--memory", "64m", "--pids-limit", "55"];
    podman.run(&flags, &["sleep", "1000"]).ok()?;
    let group = podman.group("a")?;
    let id = podman.inspect("a", "{{.Id}}")?;
    ensure_eq!(group, podman.group_of_id(&id), "the container's group");
    let value = |v1: &str, v2: &str| engine::group_file(podman.env(), &group, v1, v2);
    ensure_eq!(value("memory/memory.limit_in_bytes", "memory.max")?, "67108864", "memory");
    ensure_eq!(value("pids/pids.max", "pids.max")?, "55", "pids");

    let format = "{{.PIDs}} {{.MemUsage}}";
    let output = podman.call(&["stats", "--no-stream", "--format", format, "a"]).ok()?;
    ensure!(output.stdout.starts_with("1 ") && output.stdout.contains("67.11MB"), "{output}");
    podman.call(&["update", "--memory", "48m", "--cpus", "0.5", "a"]).ok()?;
    ensure_eq!(value("memory/memory.limit_in_bytes", "memory.max")?, "50331648", "memory");
    ensure!(value("cpu/cpu.cfs_quota_us", "cpu.max")?.starts_with("50000"), "cpu");

    podman.call(&["pause", "a"]).ok()?;
    ensure_eq!(podman.inspect("a", "{{.State.Status}}")?, "paused", "status");
    let frozen = || value("freezer/freezer.state", "cgroup.freeze");
    ensure!(["FROZEN", "1"].contains(&&*frozen()?), "frozen: {}", frozen()?);
    let output = podman.call(&["exec", "a", "true"]).output()?;
    ensure!(output.code() != 0, "exec in a paused container: {output}");
    podman.call(&["unpause", "a"]).ok()?;
    ensure!(["THAWED", "0"].contains(&&*frozen()?), "frozen: {}", frozen()?);
    podman.call(&["stop", "-t", "0", "a"]).ok()?;
    ensure_eq!(podman.inspect("a", "{{.State.ExitCode}}")?, "137", "exit code");
    let left = engine::groups_of(podman.env(), &format!("libpod-{id}"));
    ensure!(left.is_empty(), "cgroups of a stopped container: {left:?}");

    podman.call(&["start", "a"]).ok()?;
    podman.call(&["pause", "a"]).ok()?;
    // A kill must reach what is frozen.
    podman.call(&["rm", "-f", "-t", "0", "a"]).ok()?;
    podman.end()
}

fn refused(podman: Podman) -> Outcome {
    podman.run(&["-d", "--name", "a", "--memory", "64m"], &["sleep", "1000"]).ok()?;
    for (words, told) in [
        (&["stats", "--no-stream", "a"][..], "stats is not supported in rootless mode"),
        (&["pause", "a"], "this container does not have a cgroup"),
        (&["unpause", "a"], "unpause is not supported for cgroupv1 rootless containers"),
        // Not podman's own words.
        (&["update", "--memory", "48m", "a"], "level=error"),
    ] {
        let output = podman.call(words).exits(125)?;
        ensure!(output.stderr.contains(told), "{output}");
    }
    podman.call(&["exec", "a", "true"]).ok()?;
    podman.end()
}
