//! The built binary, for what needs no privileges: arguments, errors, logs, and fixed outputs.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory of its own for a test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let name = format!("ghost-runc-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("root")).unwrap();
        Scratch(path)
    }

    /// Runs the binary here, with a root directory of its own before the given arguments.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.bare();
        Ran::of(command.arg("--root").arg(self.0.join("root")).args(arguments))
    }

    fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ghost-runc"));
        command.current_dir(&self.0).env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(command: &mut Command) -> Ran {
        let Output { status, stdout, stderr } = command.output().unwrap();
        Ran {
            code: status.code().unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Succeeded, with nothing on standard error: go-runc reads both streams as one.
    fn output(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }

    /// Failed with 1, nothing on standard output and one log line, of which this is the message.
    fn error(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{}", self.stderr);
        message(&self.stderr)
    }
}

/// The message of a single logrus line.
fn message(text: &str) -> String {
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "more than one line: {text}");
    let (time, rest) = line.split_once(" level=error msg=").unwrap();
    assert!(is_time(time.strip_prefix("time=").unwrap().trim_matches('"')), "{time}");
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap().replace("\\\"", "\""),
        None => rest.to_owned(),
    }
}

/// RFC 3339 with whole seconds in UTC.
fn is_time(text: &str) -> bool {
    text.len() == 20
        && "0000-00-00T00:00:00Z".chars().zip(text.chars()).all(|(form, c)| match form {
            '0' => c.is_ascii_digit(),
            other => c == other,
        })
}

#[test]
fn the_version_is_one_line_and_the_specs() {
    let scratch = Scratch::new("version");
    for flag in ["--version", "-version", "-v"] {
        let text = scratch.run(&[flag]).output();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], concat!("ghost-runc version ", env!("CARGO_PKG_VERSION")));
        assert_eq!(*lines.last().unwrap(), "spec: 1.3.0");
        assert_eq!(text.matches("version").count(), 1, "Docker takes the last line with the word");
    }
}

#[test]
fn help_is_there_for_every_command() {
    let scratch = Scratch::new("help");
    let all = scratch.run(&[]).output();
    assert_eq!(scratch.run(&["--help"]).output(), all);
    let (_, list) = all.split_once("\nCommands:\n").unwrap();
    let commands: Vec<&str> = list.lines().map(|l| l.split_whitespace().next().unwrap()).collect();
    assert!(commands.contains(&"create"), "{all}");
    for command in commands {
        let help = scratch.run(&[command, "--help"]).output();
        assert!(help.contains(&format!("Usage: ghost-runc {command} [options]")), "{help}");
        assert_eq!(scratch.run(&["help", command]).output(), help);
        assert_eq!(scratch.run(&[command, "-h"]).output(), help);
    }
}

#[test]
fn podman_finds_checkpoint_and_restore() {
    let scratch = Scratch::new("checkpoint");
    assert!(scratch.run(&["checkpoint", "--help"]).output().contains("--leave-running"));
    let error = scratch.run(&["restore", "--lsm-mount-context"]).error();
    assert_eq!(error, "flag needs an argument: --lsm-mount-context");
}

#[test]
fn a_global_flag_of_another_command_changes_nothing() {
    let scratch = Scratch::new("global-flag");
    let error = scratch.run(&["--systemd-cgroup", "state", "x"]).error();
    assert_eq!(error, "container does not exist");
}

#[test]
fn usage_errors_are_one_clear_line() {
    let scratch = Scratch::new("usage");
    for (arguments, expected) in [
        (&["state", "-foo", "x"][..], "flag provided but not defined: --foo"),
        (&["create", "--bundle"], "flag needs an argument: --bundle"),
        (&["create", "-b"], "flag needs an argument: --bundle"),
        (&["--log"], "flag needs an argument: --log"),
        (&["run", "--preserve-fds=x", "c"], "invalid value \"x\" for flag --preserve-fds"),
        (&["run", "--keep=maybe", "c"], "invalid value \"maybe\" for flag --keep"),
        (&["state"], "ghost-runc: \"state\" requires exactly 1 argument(s)"),
        (&["state", "a", "b"], "ghost-runc: \"state\" requires exactly 1 argument(s)"),
        (&["exec"], "ghost-runc: \"exec\" requires a minimum of 1 argument(s)"),
        (&["kill", "a", "b", "c"], "ghost-runc: \"kill\" requires a maximum of 2 argument(s)"),
        (&["state", ""], "container id cannot be empty"),
        (&["list", "--format", "xml"], "invalid format option"),
        (&["--log-format", "xml", "list"], "invalid log-format: xml"),
        (&["--root", "/run/..", "list"], "option --root argument should not be set to /"),
    ] {
        assert_eq!(scratch.run(arguments).error(), expected, "{arguments:?}");
    }
    for arguments in [&["bogus"][..], &["help", "bogus"]] {
        let ran = scratch.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "as runc's: {arguments:?}");
        let error = message(&ran.stderr);
        assert_eq!(error, "no such command: \"bogus\" (see 'ghost-runc --help')");
    }
}

#[test]
fn a_missing_container_does_not_exist() {
    let scratch = Scratch::new("missing");
    for arguments in [
        &["state", "x"][..],
        &["start", "x"],
        &["kill", "x"],
        &["kill", "x", "KILL", "--all"],
        &["delete", "x"],
        &["ps", "-f", "json", "x"],
        &["pause", "x"],
        &["resume", "x"],
    ] {
        assert_eq!(scratch.run(arguments).error(), "container does not exist", "{arguments:?}");
    }
    assert_eq!(scratch.run(&["delete", "--force", "x"]).output(), "");
    assert_eq!(scratch.run(&["delete", "x", "-force=true"]).output(), "");
    let exec = scratch.run(&["exec", "-t", "x", "sh", "--bogus"]);
    assert_eq!(exec.code, 255);
    assert_eq!(message(&exec.stderr), "exec failed: container does not exist");
}

#[test]
fn the_log_gets_one_line_and_stderr_the_plain_text() {
    let scratch = Scratch::new("log");
    let ran =
        scratch.run(&["--log", "unused", "-log=log.json", "--log-format", "json", "state", "x"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "container does not exist\n"));
    assert!(!scratch.path("unused").exists(), "the last of repeated flags wins");
    // As podman does: the whole file is one object.
    let line: Value = serde_json::from_str(&scratch.read("log.json")).unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["msg"], "container does not exist");
    assert!(is_time(line["time"].as_str().unwrap()));
    assert_eq!(line.as_object().unwrap().len(), 3);

    scratch.run(&["--log", "log.txt", "state", "x"]);
    scratch.run(&["--log", "log.txt", "--debug", "state", "x", "y"]);
    let text = scratch.read("log.txt");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(message(lines[0]), "container does not exist");
    assert!(lines[1].contains("level=debug"), "{text}");
    assert!(message(lines[2]).contains("requires exactly 1"), "{text}");
}

#[test]
fn an_empty_root_lists_nothing() {
    let scratch = Scratch::new("list");
    let titles = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
    assert_eq!(scratch.run(&["list"]).output(), titles);
    assert_eq!(scratch.run(&["list", "-f", "json"]).output(), "null\n");
    assert_eq!(scratch.run(&["list", "-q"]).output(), "");
    let missing = Ran::of(scratch.bare().args(["--root", "missing", "list"])).error();
    let path = scratch.path("missing");
    assert_eq!(missing, format!("open {}: no such file or directory", path.display()));
}

#[test]
fn a_bad_bundle_is_named() {
    let scratch = Scratch::new("bundle");
    let error = scratch.run(&["create", "-bundle", "nowhere", "x"]).error();
    assert!(error.starts_with("ghost-runc create failed: "), "{error}");
    assert!(error.ends_with("nowhere: no such file or directory"), "{error}");
    fs::write(scratch.path("config.json"), "{\n  \"ociVersion\": 1\n}").unwrap();
    let error = scratch.run(&["run", "x"]).error();
    assert!(error.starts_with("ghost-runc run failed: "), "{error}");
    assert!(error.contains("config.json:2:"), "{error}");
}

#[test]
fn descriptors_to_preserve_must_have_been_passed() {
    let scratch = Scratch::new("preserve");
    scratch.run(&["spec"]).output();
    // The log file takes the number, but is not the caller's to pass on.
    let ran = scratch.run(&["--log", "log", "run", "--preserve-fds", "1", "x"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr, "ghost-runc run failed: preserved-fd 3 (of 1) is not open\n");
}

#[test]
fn console_sockets_and_terminals_must_fit() {
    let scratch = Scratch::new("console");
    scratch.run(&["spec"]).output();
    let error = scratch.run(&["create", "x"]).error();
    assert!(error.ends_with("will detach without setting console socket"), "{error}");
    let error = scratch.run(&["run", "--console-socket", "s", "x"]).error();
    assert!(error.ends_with("will not detach or allocate tty"), "{error}");
    let error = scratch.run(&["run", "-d", "--console-socket", "s", "x"]).error();
    assert!(error.ends_with("/s: no such file or directory"), "{error}");
}

#[test]
fn spec_writes_a_configuration_once() {
    let scratch = Scratch::new("spec");
    assert_eq!(scratch.run(&["spec"]).output(), "");
    let config: Value = serde_json::from_str(&scratch.read("config.json")).unwrap();
    assert_eq!(config["ociVersion"], "1.3.0");
    assert_eq!(config["process"]["args"][0], "sh");
    let error = scratch.run(&["spec"]).error();
    assert_eq!(error, "File config.json exists. Remove it first");
    fs::create_dir(scratch.path("bundle")).unwrap();
    assert_eq!(scratch.run(&["spec", "--rootless", "-b", "bundle"]).output(), "");
    let config: Value = serde_json::from_str(&scratch.read("bundle/config.json")).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["size"], 1);
}

#[test]
fn features_are_complete_for_the_engines() {
    let scratch = Scratch::new("features");
    let text = scratch.run(&["features"]).output();
    assert!(text.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": "));
    let features: Value = serde_json::from_str(&text).unwrap();
    let has = |list: &Value, word: &str| list.as_array().unwrap().iter().any(|w| w == word);
    assert!(has(&features["mountOptions"], "rro"));
    assert!(has(&features["hooks"], "createContainer"));
    let linux = &features["linux"];
    assert!(has(&linux["namespaces"], "time"));
    assert_eq!(linux["cgroup"]["v2"], true);
    assert_eq!(linux["cgroup"]["systemd"], true);
    assert!(has(&linux["seccomp"]["actions"], "SCMP_ACT_ERRNO"));
    assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
}

#[test]
fn a_user_keeps_state_in_the_runtime_directory() {
    // The real root does not use it; to be somebody else takes a user namespace.
    let scratch = Scratch::new("xdg");
    let binary = env!("CARGO_BIN_EXE_ghost-runc");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=1000", binary, "list", "-q"]);
    assert_eq!(Ran::of(command.env("XDG_RUNTIME_DIR", &scratch.0)).output(), "");
    assert_eq!(mode(&scratch.path("ghost-runc")), 0o41700);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode()
}
