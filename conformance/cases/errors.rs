//! Bad input: exit code, one clear line that names the object and the step, and nothing left.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const GHOST_WORDS: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: runc's line does not name the place"),
    (Peer::Crun, "ghost only: crun's line does not name the place"),
];
const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun words its errors in its own way")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("errors/config-missing", config_missing),
    Case::new("errors/config-broken", config_broken).not_on(GHOST_WORDS),
    Case::new("errors/config-of-the-wrong-type", config_type).not_on(GHOST_WORDS),
    Case::new("errors/config-lacks-what-is-required", config_required).not_on(GHOST_WORDS),
    Case::new("errors/bundle-missing", bundle_missing),
    Case::new("errors/rootfs-missing", rootfs_missing),
    Case::new("errors/rootfs-is-a-file", rootfs_file),
    Case::new("errors/environment-variable-that-is-none", environment)
        .not_on(&[(Peer::Crun, "crun passes it on")]),
    Case::new("errors/mount-that-fails", mount_fails).not_on(CRUN),
    Case::new("errors/mount-source-missing", mount_source).not_on(CRUN),
    Case::new("errors/mount-option-unknown-to-the-file-system", mount_option),
    Case::new("errors/command-missing", command_missing).not_on(CRUN),
    Case::new("errors/command-that-cannot-run", command_cannot_run).not_on(CRUN),
    Case::new("errors/command-of-another-format", command_format),
    Case::new("errors/no-arguments", no_arguments)
        .not_on(&[(Peer::Crun, "crun words its errors in its own way")]),
    Case::new("errors/cwd-relative", cwd_relative)
        .not_on(&[(Peer::Crun, "crun takes it from the root")]),
    Case::new("errors/cwd-not-a-directory", cwd_file),
    Case::new("errors/unknown-namespace-type", unknown_namespace)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("errors/unknown-rlimit", unknown_rlimit)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("errors/rlimit-soft-above-hard", rlimit_soft)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("errors/device-of-an-unknown-type", device_type)
        .not_on(&[(Peer::Crun, "crun 1.8.1 takes it for a device")]),
    Case::new("errors/hostname-without-a-uts-namespace", hostname_shared)
        .not_on(&[(Peer::Crun, "crun renames the host")]),
    Case::new("errors/of-init-name-field-and-index", init_fields).not_on(GHOST_WORDS),
    Case::new("errors/terminal-without-a-console", terminal_detached).not_on(CRUN),
    Case::new("errors/console-socket-without-a-terminal", console_unused)
        .not_on(&[(Peer::Crun, "crun ignores the socket")]),
    Case::new("errors/damaged-state", damaged_state).not_on(&[
        (Peer::Runc, "ghost only: the file is ours"),
        (Peer::Crun, "ghost only: the file is ours"),
    ]),
    Case::new("errors/usage", usage).not_on(CRUN),
    Case::new("errors/the-missing-container-is-told-first", missing_first).not_on(CRUN),
    Case::new("errors/the-id-is-told-before-the-terminal", id_first).not_on(CRUN),
    Case::new("errors/one-dash-and-repeated-flags", flag_forms)
        .not_on(&[(Peer::Crun, "crun reads one dash as a group of short flags")]),
    Case::new("errors/flags-end-at-the-id", flags_end)
        .not_on(&[(Peer::Crun, "crun reads flags anywhere")]),
    Case::new("errors/config-changes-after-create-do-not-count", config_after_create),
];

/// Neither `create` nor `run` takes the bundle: both exit with 1 and say these words on one line, and
/// leave nothing behind.
pub fn refuses(env: &Env, bundle: &Bundle, words: &[&str]) -> Outcome {
    bundle.save()?;
    refuses_saved(env, bundle, words)
}

/// `run` does not take this value at this place of a bundle: it says these words, and leaves nothing
/// behind.
pub fn refuses_value(env: &Env, pointer: &str, value: &Value, words: &[&str]) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set(pointer, value.clone())?;
    let output = env.run(&bundle)?.exits(1)?;
    for word in words {
        ensure!(output.stderr.contains(word), "{value}: no {word:?} in {output}");
    }
    env.nothing_left()
}

fn refuses_saved(env: &Env, bundle: &Bundle, words: &[&str]) -> Outcome {
    let dir = bundle.dir.to_string_lossy().into_owned();
    for verb in ["create", "run"] {
        let pid_file = env.dir.join("pid-of-nothing");
        let file = pid_file.to_string_lossy().into_owned();
        let output =
            env.runtime(&[verb, "--bundle", &dir, "--pid-file", &file, &env.id(verb)]).exits(1)?;
        ensure_eq!(output.stdout, "", "stdout of {verb}");
        ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
        for word in words {
            ensure!(output.stderr.contains(word), "stderr lacks {word:?}: {output}");
        }
        env.nothing_left()?;
        ensure!(!pid_file.exists(), "a pid file was written");
    }
    Ok(())
}

fn init_fields(env: &mut Env) -> Outcome {
    let zero = &json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5});
    for (pointer, value, words) in [
        (
            "/linux/devices",
            json!([zero, {"path": "/", "type": "c", "major": 1, "minor": 3}]),
            ["linux.devices[1].path: make device /: ", ""],
        ),
        (
            "/linux/devices",
            json!([{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}]),
            ["linux.devices[0].path: make device /etc/passwd: ", "another file"],
        ),
        (
            "/process/rlimits",
            json!([
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 1_u64 << 40},
            ]),
            ["process.rlimits[1]: set rlimit RLIMIT_NOFILE to 5:1099511627776", "not permitted"],
        ),
        (
            "/process/scheduler",
            // Less than any kernel gives.
            json!({
                "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_DL_OVERRUN"],
                "runtime": 1, "deadline": 2,
            }),
            ["process.scheduler: ", "SCHED_DEADLINE SCHED_FLAG_DL_OVERRUN 1/2/0"],
        ),
    ] {
        let mut bundle = env.bundle_with(&["true"])?;
        refuses(env, bundle.set(pointer, value)?, &words)?;
    }
    // Where the kernel has no CONFIG_UCLAMP_TASK.
    let mut bundle = env.bundle_with(&["true"])?;
    let clamp = json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]});
    let output = env.run(bundle.set("/process/scheduler", clamp)?)?.output()?;
    let wanted = "process.scheduler.flags: sched_setattr SCHED_OTHER SCHED_FLAG_UTIL_CLAMP_MIN: ";
    ensure!(output.status.success() || output.stderr.contains(wanted), "{output}");
    // There is nothing to cover a file with.
    let dev = env.dir.join("dev");
    fs::create_dir(&dev)?;
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/linux/maskedPaths", json!(["/nowhere", "/proc/version"]))?;
    bundle.mount(json!({"destination": "/dev", "source": dev, "options": ["bind"]}))?;
    refuses(env, &bundle, &["linux.maskedPaths[1]: mask /proc/version: "])
}

fn ghost_words<'a>(env: &Env, words: &'a [&'a str]) -> &'a [&'a str] {
    if env.is(Peer::Ghost) { words } else { &[] }
}

fn config_missing(env: &mut Env) -> Outcome {
    let bundle = env.bundle()?;
    refuses_saved(env, &bundle, &["config.json"])
}

fn config_broken(env: &mut Env) -> Outcome {
    let bundle = env.bundle()?;
    for (text, place) in [
        ("{\n  \"ociVersion\": \"1.0.2\",\n  \"process\": }", "config.json:3:14"),
        ("", "config.json:1:0"),
        ("{\"ociVersion\": \"1.0.2\"", "config.json:1:22"),
        ("{}\ntrailing", "config.json:2:1"),
    ] {
        fs::write(bundle.dir.join("config.json"), text)?;
        refuses_saved(env, &bundle, &["config.json", place])?;
    }
    Ok(())
}

fn config_type(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/args", json!("not a list"))?;
    bundle.save()?;
    let text = fs::read_to_string(bundle.dir.join("config.json"))?;
    let line = text.lines().position(|l| l.contains("not a list")).unwrap_or_default() + 1;
    refuses_saved(env, &bundle, &["config.json", &format!("config.json:{line}:")])
}

fn config_required(env: &mut Env) -> Outcome {
    for (pointer, word) in
        [("/ociVersion", "ociVersion"), ("/root", "root"), ("/process/cwd", "cwd")]
    {
        let mut bundle = env.bundle()?;
        bundle.remove(pointer)?;
        refuses(env, &bundle, &[word])?;
    }
    Ok(())
}

fn bundle_missing(env: &mut Env) -> Outcome {
    let dir = env.dir.join("no-such-bundle").to_string_lossy().into_owned();
    for verb in ["create", "run"] {
        let output = env.runtime(&[verb, "-b", &dir, &env.id("x")]).exits(1)?;
        ensure!(output.stderr.contains("no-such-bundle"), "{output}");
        ensure_eq!(output.stderr.lines().count(), 1, "lines of stderr of {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn rootfs_missing(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/root/path", json!("no-such-rootfs"))?;
    refuses(env, &bundle, &["no-such-rootfs"])
}

fn rootfs_file(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    fs::write(bundle.dir.join("a-file"), "")?;
    bundle.set("/root/path", json!("a-file"))?;
    refuses(env, &bundle, ghost_words(env, &["a-file"]))
}

/// POSIX's environ has names, `=` and values alone; runc refuses the rest too.
fn environment(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    bundle.set("/process/env", json!(["PATH=/bin", "JUST_A_NAME"]))?;
    refuses(env, &bundle, &["JUST_A_NAME"])?;
    refuses(env, &bundle, ghost_words(env, &["process.env[1]", "has no '='"]))?;
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    let output = env.exec(&id, &["--env", "JUST_A_NAME"], &["true"]).exits(255)?;
    ensure!(output.stderr.contains("JUST_A_NAME"), "{output}");
    Ok(())
}

fn mount_fails(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(json!({"destination": "/here", "type": "nosuchfs", "source": "nothing"}))?;
    refuses(env, &bundle, &["/here", "no such device"])?;
    refuses(env, &bundle, ghost_words(env, &["nosuchfs"]))
}

fn mount_source(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.bind("/no/such/source".as_ref(), "/here", &[])?;
    refuses(env, &bundle, &["/no/such/source", "no such file or directory"])
}

fn mount_option(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(json!({
        "destination": "/here", "type": "tmpfs", "source": "tmpfs", "options": ["nonsense=1"],
    }))?;
    refuses(env, &bundle, ghost_words(env, &["/here", "nonsense"]))
}

fn command_missing(env: &mut Env) -> Outcome {
    for (command, text) in [
        ("nosuch", r#"exec: \"nosuch\": executable file not found in $PATH"#),
        ("/no/such", r#"exec: \"/no/such\": stat /no/such: no such file or directory"#),
        ("/bin/sh/x", r#"exec: \"/bin/sh/x\": stat /bin/sh/x: not a directory"#),
    ] {
        let mut bundle = env.bundle()?;
        bundle.args(&[command]);
        refuses(env, &bundle, &[text])?;
    }
    Ok(())
}

fn command_cannot_run(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    fs::write(bundle.rootfs().join("etc/plain"), "text")?;
    bundle.args(&["/etc/plain"]);
    refuses(env, &bundle, &["/etc/plain", "permission denied"])?;
    bundle.args(&["/etc"]);
    let output = env.run(&bundle)?.exits(1)?;
    let known = ["permission denied", "is a directory"].iter().any(|w| output.stderr.contains(w));
    ensure!(known, "a directory as the command: {output}");
    env.nothing_left()
}

fn command_format(env: &mut Env) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let mut bundle = env.bundle()?;
    let file = bundle.rootfs().join("bin/garbage");
    fs::write(&file, [0x7f, b'E', b'L', b'F', 0, 0])?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    bundle.args(&["/bin/garbage"]);
    // runc learns of it only once the process was started, so `create` alone would pass.
    let output = env.run(&bundle)?.exits(1)?;
    ensure!(output.stderr.to_lowercase().contains("exec format error"), "{output}");
    env.nothing_left()
}

fn no_arguments(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&[]);
    refuses(env, &bundle, &["args"])
}

fn cwd_relative(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/cwd", json!("home/user"))?;
    refuses(env, &bundle, &["absolute"])
}

fn cwd_file(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/cwd", json!("/etc/passwd"))?;
    refuses(env, &bundle, &["/etc/passwd"])
}

fn unknown_namespace(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/namespaces/-", json!({"type": "dream"}))?;
    refuses(env, &bundle, &["dream"])
}

fn unknown_rlimit(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_DREAM", "soft": 1, "hard": 1}]))?;
    refuses(env, &bundle, &["RLIMIT_DREAM"])
}

fn rlimit_soft(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 200, "hard": 100}]))?;
    refuses(env, &bundle, ghost_words(env, &["RLIMIT_NOFILE"]))
}

fn device_type(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle
        .set("/linux/devices", json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 1}]))?;
    refuses(env, &bundle, ghost_words(env, &["q"]))
}

fn hostname_shared(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("uts")?;
    refuses(env, &bundle, &["hostname"])
}

fn terminal_detached(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let words = "cannot allocate tty if runc will detach without setting console socket";
    let words = if env.is(Peer::Runc) { words } else { "console socket" };
    for verb in [&["create"][..], &["run", "-d"]] {
        let output = env.runtime(&[verb, &["-b", &dir, &env.id("x")]].concat()).exits(1)?;
        ensure!(output.stderr.contains(words), "stderr lacks {words:?}: {output}");
        env.nothing_left()?;
    }
    Ok(())
}

fn console_unused(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let socket = crate::console::ConsoleSocket::bind(&env.dir.join("console.sock"))?;
    let path = socket.path.to_string_lossy().into_owned();
    let id = env.id("x");
    let output =
        env.runtime(&["run", "-d", "-b", &dir, "--console-socket", &path, &id]).exits(1)?;
    ensure!(output.stderr.contains("console socket"), "{output}");
    env.nothing_left()
}

/// Of several things that are wrong, engines must hear of the one that they look for.
fn missing_first(env: &mut Env) -> Outcome {
    let none = "container does not exist";
    for (words, code, told) in [
        (&["kill", "none", "99"][..], 1, none),
        (&["kill", "none", "FOO"], 1, none),
        (&["kill", "none", "-1"], 1, none),
        (&["kill", "none", "-1", "--all"], 1, none),
        (&["kill", "none", "--", "-1"], 1, none),
        (&["kill", "--all", "none", "99"], 1, none),
        (&["kill", "-1", "none"], 1, "flag provided but not defined"),
        (&["kill", "bad/id", "99"], 1, "invalid container ID format"),
        (&["start", "none", "-x"], 1, "requires exactly 1 argument(s)"),
        (&["exec", "--process", "/no/file", "none"], 255, none),
        (&["exec", "--user", "x", "none", "true"], 255, none),
        (&["exec", "--cgroup", "::", "none", "true"], 255, none),
        (&["exec", "--preserve-fds", "9", "none", "true"], 255, none),
        (&["exec", "none"], 255, none),
        (&["events", "--interval", "0", "none"], 1, none),
        (&["ps", "--format", "x", "none"], 1, none),
        (&["update", "--memory", "x", "none"], 1, none),
        (&["update", "--resources", "/no/file", "none"], 1, none),
    ] {
        let output = env.runtime(words).exits(code)?;
        ensure!(output.stderr.contains(told), "no {told:?} in {output}");
    }
    Ok(())
}

fn id_first(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    for flags in [&[][..], &["--console-socket", "/no/socket"], &["--pid-file", "/no/file"]] {
        let words = [&["create", "--bundle", &dir], flags, &["bad/id"]].concat();
        let output = env.runtime(&words).exits(1)?;
        ensure!(output.stderr.contains("invalid container ID format"), "{output}");
    }
    env.nothing_left()
}

/// Each command that needs a part of the state says what is wrong with it, and the others work.
fn damaged_state(env: &mut Env) -> Outcome {
    let id = env.detach(env.bundle()?.args(&["sleep", "1000"]), "d", &[])?;
    let file = env.root().join(&id).join("state.json");
    let whole = fs::read(&file)?;
    let wanted = format!("state of container {id}: {}: ", file.display());
    let exec = ["exec", &id, "true"];
    let nothing = env.dir.join("nothing.json");
    fs::write(&nothing, "{}")?;
    let nothing = nothing.to_string_lossy();
    let update = ["update", "--resources", &nothing, &id];

    let all = [&["state", &id][..], &["kill", &id, "0"], &["delete", &id], &exec, &update];
    for content in [&b""[..], &whole[..100], b"[]"] {
        fs::write(&file, content)?;
        for call in all {
            let output = env.runtime(call).exits(if call == exec { 255 } else { 1 })?;
            ensure!(output.stderr.contains(&wanted), "{call:?}: {output}");
        }
        let list = env.runtime(&["list"]).ok()?;
        ensure!(list.stderr.contains(&wanted), "list: {list}");
    }
    for (field, call, code) in [("process", &exec[..], 255), ("resources", &update, 1)] {
        let mut state: Value = serde_json::from_slice(&whole)?;
        state[field] = json!([7]);
        fs::write(&file, state.to_string())?;
        let output = env.runtime(call).exits(code)?;
        ensure!(output.stderr.contains(&format!("{wanted}{field}: ")), "{field}: {output}");
        for call in all.iter().filter(|other| **other != call && other[0] != "delete") {
            env.runtime(call).ok()?;
        }
    }
    fs::write(&file, whole)?;

    let other = env.id("o");
    let dir = env.root().join(&other);
    fs::create_dir(&dir)?;
    fs::write(dir.join("state.json"), "{")?;
    let output = env.runtime(&["delete", "--force", &other]).ok()?;
    let wanted = format!("state of container {other}: {}/state.json: ", dir.display());
    ensure!(output.stderr.contains(&wanted), "delete --force: {output}");
    ensure!(!dir.exists(), "the damaged state is still there");
    Ok(())
}

fn usage(env: &mut Env) -> Outcome {
    let id = env.id("x");
    for words in [
        &["create"][..],
        &["create", "a", "b"],
        &["start"],
        &["state"],
        &["state", "a", "b"],
        &["kill"],
        &["kill", "a", "9", "b"],
        &["delete"],
        &["run"],
        &["ps"],
        &["list", "a"],
        &["create", "--frob", &id],
        &["--frob", "list"],
        &["spec", "a"],
        &["exec", &id],
    ] {
        let output = env.runtime(words).output()?;
        // exec's errors exit 255.
        let wanted = if words[0] == "exec" { vec![1, 255] } else { vec![1] };
        ensure!(wanted.contains(&output.code()), "exit code of {output}");
        ensure!(!output.stderr.is_empty(), "no line on stderr: {output}");
    }
    env.nothing_left()
}

fn flag_forms(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sh", "-c", "exit 3"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let root = env.root().to_string_lossy().into_owned();
    let id = env.id("x");
    let logs = [env.dir.join("log1"), env.dir.join("log2")];
    let paths: Vec<String> = logs.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    // The last of a repeated flag counts, and one dash is as good as two.
    let words = [
        "-root",
        "/nowhere",
        "-root",
        &root,
        "--log",
        &paths[0],
        "--log",
        &paths[1],
        "run",
        "-bundle",
        "/nowhere",
        &format!("-bundle={dir}"),
        "--no-pivot=false",
        &id,
    ];
    env.bare_runtime(&words).exits(3)?;
    env.bare_runtime(&["--root", &root, "--log", &paths[0], "--log", &paths[1], "start", &id])
        .exits(1)?;
    ensure!(!logs[0].exists() || fs::read_to_string(&logs[0])?.is_empty(), "the first log counts");
    ensure!(fs::read_to_string(&logs[1])?.contains("does not exist"), "the last log is empty");
    env.nothing_left()
}

fn flags_end(env: &mut Env) -> Outcome {
    // What follows the id belongs to the command, also when it looks like a flag.
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let output = env.exec(&id, &[], &["echo", "--detach", "-d", "--", "-t"]).ok()?;
    ensure_eq!(output.stdout, "--detach -d -- -t\n", "stdout");
    let output = env.runtime(&["exec", &id, "--", "echo", "x"]).output()?;
    ensure!(output.code() != 0 || output.stdout == "x\n", "{output}");
    Ok(())
}

fn config_after_create(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable().shell("echo first > /result");
    let id = env.create(&bundle, "c", &[])?;
    fs::write(bundle.dir.join("config.json"), "garbage")?;
    env.verb("start", &id).ok()?;
    let text = env.wait_file(&bundle.rootfs().join("result"))?;
    ensure_eq!(text, "first\n", "result");
    env.wait_status(&id, "stopped")?;
    let state: Value = env.state(&id)?;
    ensure_eq!(state["bundle"], json!(bundle.dir), "bundle");
    env.verb("delete", &id).ok()?;
    Ok(())
}
