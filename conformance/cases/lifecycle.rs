//! create, start, state, kill, delete and run: which verb does what in which status.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::bundle::Bundle;
use crate::call::wait_until;
use crate::case::{Case, Outcome, Peer};
use crate::env::Env;
use crate::leaks;
use crate::{ensure, ensure_eq};

const CRUN_WORDS: (Peer, &str) = (Peer::Crun, "crun words its errors in its own way");

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("lifecycle/run-exits-with-the-process-code", run_code),
    Case::new("lifecycle/run-of-a-signalled-process-exits-128-and-signal", run_signalled),
    Case::new("lifecycle/run-deletes-the-container", run_deletes),
    Case::new("lifecycle/run-keep-leaves-it-stopped", run_keep)
        .not_on(&[(Peer::Crun, "crun 1.8.1's state fails once a kept container's init is reaped")]),
    Case::new("lifecycle/run-detach-returns-while-it-runs", run_detach),
    Case::new("lifecycle/run-forwards-signals", run_forwards_signals)
        .not_on(&[(Peer::Crun, "crun leaves signals to the terminal")]),
    Case::new("lifecycle/run-reads-the-current-directory", run_here),
    Case::new("lifecycle/create-start-delete", create_start_delete),
    Case::new("lifecycle/create-does-not-start-the-process", create_waits),
    Case::new("lifecycle/statuses", statuses),
    Case::new("lifecycle/verbs-in-the-wrong-status", wrong_status).not_on(&[CRUN_WORDS]),
    Case::new("lifecycle/verbs-on-no-container", no_container).not_on(&[CRUN_WORDS]),
    Case::new("lifecycle/delete-force", delete_force),
    Case::new("lifecycle/delete-force-of-nothing-exits-0", delete_force_nothing)
        .not_on(&[(Peer::Crun, "crun fails")]),
    Case::new("lifecycle/delete-of-a-created-container", delete_created)
        .not_on(&[(Peer::Crun, "crun wants --force")]),
    Case::new("lifecycle/kill-signal-forms", kill_forms),
    Case::new("lifecycle/kill-default-is-term", kill_default),
    Case::new("lifecycle/kill-all", kill_all).not_on(&[(
        Peer::Crun,
        "crun 1.8.1 signals init alone when the container has a pid namespace",
    )]),
    Case::new("lifecycle/kill-unknown-signal", kill_unknown)
        .not_on(&[(Peer::Crun, "crun 1.8.1 exits 0")]),
    Case::new("lifecycle/pid-file", pid_file),
    Case::new("lifecycle/ids", ids).not_on(&[(Peer::Crun, "crun takes any id")]),
    Case::new("lifecycle/id-in-use", id_in_use).not_on(&[CRUN_WORDS]),
    Case::new("lifecycle/default-root", default_root),
    Case::new("lifecycle/kill-of-a-pid-that-was-reused-does-nothing", pid_reuse).not_on(&[
        (Peer::Runc, "the state file's layout is another one"),
        (Peer::Crun, "the state file's layout is another one"),
    ]),
    Case::new("lifecycle/every-verb-in-an-empty-environment", empty_environment),
    Case::new("lifecycle/container-outlives-its-creator", outlives),
];

fn sleeper(env: &Env) -> Result<Bundle, crate::case::Failure> {
    env.bundle_with(&["sleep", "1000"])
}

fn run_code(env: &mut Env) -> Outcome {
    for code in [0, 1, 7, 255] {
        let mut bundle = env.bundle()?;
        bundle.shell(&format!("exit {code}"));
        let output = env.run(&bundle)?.exits(code)?;
        ensure_eq!(output.stderr, "", "stderr of run");
    }
    Ok(())
}

fn run_signalled(env: &mut Env) -> Outcome {
    for (signal, code) in [("KILL", 137), ("TERM", 143)] {
        let mut bundle = env.bundle()?;
        // Process 1 ignores what it sends itself, so another process is signalled: the shell that
        // replaced nothing stays process 1 only without its own pid namespace.
        bundle.drop_namespace("pid")?;
        bundle.shell(&format!("kill -{signal} $$; sleep 5"));
        env.run(&bundle)?.exits(code)?;
    }
    Ok(())
}

fn run_deletes(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    env.run(&bundle)?.ok()?;
    env.nothing_left()
}

fn run_keep(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sh", "-c", "exit 3"])?;
    let id = env.id("keep");
    let dir = bundle.dir.to_string_lossy().into_owned();
    env.runtime(&["run", "--keep", "--bundle", &dir, &id]).exits(3)?;
    let state = env.state(&id)?;
    ensure_eq!(state["status"], "stopped", "status");
    ensure_eq!(state["pid"], 0, "pid");
    env.verb("delete", &id).ok()?;
    env.nothing_left()
}

fn run_detach(env: &mut Env) -> Outcome {
    let id = env.detach(&sleeper(env)?, "d", &[])?;
    ensure_eq!(env.status(&id)?, "running", "status");
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    env.nothing_left()
}

fn run_forwards_signals(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("trap 'echo caught; exit 42' USR1; echo ready; while true; do sleep 0.02; done");
    let running = env.run(&bundle)?.spawn()?;
    running.wait_for_stdout("ready")?;
    env.command(&["kill", "-USR1", &running.pid().to_string()]).ok()?;
    let output = running.wait()?;
    output.expect_code(42)?;
    ensure!(output.stdout.contains("caught"), "{output}");
    Ok(())
}

fn run_here(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["echo", "here"])?;
    let output = env.runtime(&["run", &env.id("here")]).cwd(&bundle.dir).ok()?;
    ensure_eq!(output.stdout, "here\n", "stdout");
    Ok(())
}

fn create_start_delete(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable().shell("echo done > /result");
    let id = env.create(&bundle, "c", &[])?;
    env.verb("start", &id).ok()?;
    env.wait_file(&bundle.rootfs().join("result"))?;
    env.wait_status(&id, "stopped")?;
    env.verb("delete", &id).ok()?;
    env.nothing_left()
}

fn create_waits(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable().shell("echo started > /result; sleep 1000");
    let id = env.create(&bundle, "c", &[])?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    let result = bundle.rootfs().join("result");
    ensure!(!result.exists(), "the process ran before start");
    env.verb("start", &id).ok()?;
    env.wait_file(&result)?;
    Ok(())
}

fn statuses(env: &mut Env) -> Outcome {
    let id = env.create(&sleeper(env)?, "c", &[])?;
    let pid = env.pid(&id)?;
    ensure_eq!(env.status(&id)?, "created", "after create");
    env.verb("start", &id).ok()?;
    ensure_eq!(env.status(&id)?, "running", "after start");
    ensure_eq!(env.pid(&id)?, pid, "pid after start");
    env.runtime(&["kill", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    ensure_eq!(env.state(&id)?["pid"], 0, "pid once stopped");
    Ok(())
}

fn fails_with(env: &Env, words: &[&str], code: i32, text: &str) -> Outcome {
    let output = env.runtime(words).exits(code)?;
    ensure!(output.stderr.contains(text), "stderr lacks {text:?}: {output}");
    ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
    Ok(())
}

fn wrong_status(env: &mut Env) -> Outcome {
    let id = env.create(&sleeper(env)?, "c", &[])?;
    env.verb("start", &id).ok()?;
    fails_with(env, &["start", &id], 1, "cannot start an already running container")?;
    let running = format!("cannot delete container {id} that is not stopped: running");
    fails_with(env, &["delete", &id], 1, &running)?;
    env.runtime(&["kill", &id, "9"]).ok()?;
    env.wait_status(&id, "stopped")?;
    fails_with(env, &["start", &id], 1, "cannot start a container that has stopped")?;
    fails_with(env, &["kill", &id, "TERM"], 1, "container not running")?;
    fails_with(env, &["exec", &id, "true"], 255, "cannot exec in a stopped container")
}

fn no_container(env: &mut Env) -> Outcome {
    let id = env.id("nope");
    for verb in ["start", "state", "kill", "delete", "ps"] {
        fails_with(env, &[verb, &id], 1, "container does not exist")?;
    }
    fails_with(env, &["exec", &id, "true"], 255, "container does not exist")
}

fn delete_force(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("trap '' TERM; sleep 1000 & sleep 1000");
    let id = env.detach(&bundle, "d", &[])?;
    env.runtime(&["delete", "--force", &id]).ok()?;
    env.nothing_left()?;
    let id = env.create(&bundle, "e", &[])?;
    env.runtime(&["delete", "-f", &id]).ok()?;
    env.nothing_left()
}

fn delete_force_nothing(env: &mut Env) -> Outcome {
    let output = env.runtime(&["delete", "--force", &env.id("nope")]).ok()?;
    ensure_eq!(output.stderr, "", "stderr");
    Ok(())
}

fn delete_created(env: &mut Env) -> Outcome {
    let id = env.create(&sleeper(env)?, "c", &[])?;
    env.verb("delete", &id).ok()?;
    env.nothing_left()
}

fn kill_forms(env: &mut Env) -> Outcome {
    for signal in ["USR1", "SIGUSR1", "10"] {
        let mut bundle = env.bundle()?;
        bundle.writable();
        bundle.shell(
            "trap 'echo caught > /result' USR1; echo ready > /ready; while true; do sleep 0.02; done",
        );
        let id = env.detach(&bundle, signal, &[])?;
        env.wait_file(&bundle.rootfs().join("ready"))?;
        env.runtime(&["kill", &id, signal]).ok()?;
        env.wait_file(&bundle.rootfs().join("result"))?;
        env.runtime(&["kill", &id, "0"]).ok()?;
        ensure_eq!(env.status(&id)?, "running", "status after signal 0");
        env.runtime(&["delete", "-f", &id]).ok()?;
    }
    Ok(())
}

fn kill_default(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable();
    bundle.shell("trap 'echo term > /result; exit' TERM; echo ready > /ready; while true; do sleep 0.02; done");
    let id = env.detach(&bundle, "d", &[])?;
    env.wait_file(&bundle.rootfs().join("ready"))?;
    env.verb("kill", &id).ok()?;
    env.wait_file(&bundle.rootfs().join("result"))?;
    Ok(())
}

fn kill_all(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("pid")?;
    bundle.shell("sleep 1001 & sleep 1002 & sleep 1003");
    let id = env.detach(&bundle, "d", &[])?;
    wait_until(env.shared.limit, "three sleeps", || {
        let count =
            leaks::processes().iter().filter(|(_, line)| line.contains("sleep 100")).count();
        Ok((count >= 3).then_some(()))
    })?;
    env.runtime(&["kill", "--all", &id, "KILL"]).ok()?;
    wait_until(env.shared.limit, "the sleeps to end", || {
        leaks::reap();
        let left = leaks::processes();
        Ok((!left.iter().any(|(_, line)| line.contains("sleep 100"))).then_some(()))
    })?;
    Ok(())
}

fn kill_unknown(env: &mut Env) -> Outcome {
    let id = env.detach(&sleeper(env)?, "d", &[])?;
    for signal in ["FOO", "SIGFOO"] {
        let output = env.runtime(&["kill", &id, signal]).exits(1)?;
        if !env.is(Peer::Crun) {
            ensure!(
                output.stderr.contains(&format!("unknown signal \\\"{signal}\\\"")),
                "{output}"
            );
        }
    }
    ensure_eq!(env.status(&id)?, "running", "status");
    Ok(())
}

fn pid_file(env: &mut Env) -> Outcome {
    let file = env.dir.join("pid");
    let name = file.to_string_lossy().into_owned();
    for verb in ["create", "run"] {
        fs::write(&file, "a longer text than any pid")?;
        let old = fs::metadata(&file)?.ino();
        let bundle = sleeper(env)?;
        let id = match verb {
            "create" => env.create(&bundle, verb, &["--pid-file", &name])?,
            _ => env.detach(&bundle, verb, &["--pid-file", &name])?,
        };
        let text = fs::read_to_string(&file)?;
        ensure_eq!(text, env.pid(&id)?.to_string(), "pid file of {verb}");
        if !env.is(Peer::Crun) {
            ensure!(fs::metadata(&file)?.ino() != old, "the pid file was not renamed into place");
        }
        let beside = fs::read_dir(&env.dir)?.flatten().filter(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            name.contains("pid") && name != "pid"
        });
        ensure_eq!(beside.count(), 0, "temporary files beside the pid file");
    }
    Ok(())
}

fn ids(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for good in ["a", "A9", "a_b", "a+b", "a-b", "a.b", "_x"] {
        let id = env.id(good);
        env.runtime(&["run", "-b", &dir, &id]).ok()?;
    }
    for bad in ["..", ".", "../x", "a/b", "/a", "a b", "ä", "a\nb", ""] {
        let output = env.runtime(&["run", "-b", &dir, bad]).exits(1)?;
        ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn id_in_use(env: &mut Env) -> Outcome {
    let bundle = sleeper(env)?;
    let id = env.create(&bundle, "c", &[])?;
    let pid = env.pid(&id)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for verb in ["create", "run"] {
        fails_with(
            env,
            &[verb, "--bundle", &dir, &id],
            1,
            "container with given ID already exists",
        )?;
    }
    ensure_eq!(env.pid(&id)?, pid, "the first container's pid");
    ensure_eq!(env.status(&id)?, "created", "the first container's status");
    Ok(())
}

fn default_root(env: &mut Env) -> Outcome {
    let name = env.shared.runtime.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bundle = sleeper(env)?;
    let id = env.id("r");
    let dir = bundle.dir.to_string_lossy().into_owned();
    env.bare_runtime(&["run", "-d", "-b", &dir, &id]).ok()?;
    let found = ["/run".to_owned() + "/" + &name, "/run/runc".to_owned()]
        .iter()
        .any(|root| std::path::Path::new(root).join(&id).exists());
    env.bare_runtime(&["delete", "--force", &id]).ok()?;
    ensure!(found, "no state directory below /run");
    Ok(())
}

fn pid_reuse(env: &mut Env) -> Outcome {
    // A state whose recorded start time is another one stands for a pid that the kernel gave to
    // another process.
    let id = env.create(&sleeper(env)?, "c", &[])?;
    let pid = env.pid(&id)?;
    let file = env.root().join(&id).join("state.json");
    let text = fs::read_to_string(&file)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let start = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19));
    let start = start.unwrap_or_default();
    ensure!(text.contains(start), "the saved state lacks the start time {start}");
    fs::write(&file, text.replace(start, "17"))?;
    ensure_eq!(env.status(&id)?, "stopped", "status");
    env.runtime(&["kill", &id, "KILL"]).exits(1)?;
    ensure!(leaks::processes().iter().any(|(p, _)| *p == pid), "the other process was killed");
    fs::write(&file, text)?;
    Ok(())
}

fn empty_environment(env: &mut Env) -> Outcome {
    // podman calls with nothing but XDG_RUNTIME_DIR.
    let bundle = sleeper(env)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("e");
    env.adopt(&id);
    for words in [
        &["create", "--bundle", &dir, &id][..],
        &["start", &id],
        &["state", &id],
        &["list"],
        &["exec", &id, "true"],
        &["kill", &id, "KILL"],
        &["delete", "--force", &id],
    ] {
        if env.is(Peer::Crun) {
            // crun needs its preloaded library.
            env.runtime(words).ok()?;
        } else {
            env.runtime(words).clear_env().ok()?;
        }
    }
    env.nothing_left()
}

fn outlives(env: &mut Env) -> Outcome {
    let id = env.detach(&sleeper(env)?, "d", &[])?;
    std::thread::sleep(std::time::Duration::from_millis(50));
    ensure_eq!(env.status(&id)?, "running", "status");
    let parent = fs::read_to_string(format!("/proc/{}/status", env.pid(&id)?))?;
    ensure!(parent.lines().any(|l| l == "PPid:\t1"), "init was not given to the reaper");
    Ok(())
}
