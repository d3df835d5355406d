//! The command line as Go's flag package reads it: one dash or two, the last of repeated flags, flags
//! on both sides of the id, help everywhere.

use std::fs;

use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun reads its arguments in its own way")];

const NATIVE: &[Need] = &[Need::Native];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("command-line/help-of-every-command", help).needs(NATIVE).not_on(CRUN),
    Case::new("command-line/every-flag-with-one-dash-and-with-two", dashes)
        .needs(NATIVE)
        .not_on(CRUN),
    Case::new("command-line/of-repeated-flags-the-last", repeated).not_on(CRUN),
    Case::new("command-line/flags-before-and-after-the-id", both_sides).not_on(CRUN),
    Case::new("command-line/flags-after-a-command-of-its-own-are-not-ours", not_ours).not_on(CRUN),
    Case::new("command-line/global-flags-before-every-command", global).not_on(CRUN),
];

/// The names of the commands, by the help text.
fn commands(env: &Env) -> Result<Vec<String>, Failure> {
    let help = env.bare_runtime(&["--help"]).ok()?.stdout.to_lowercase();
    let (_, list) = help.split_once("\ncommands:\n").unwrap_or_default();
    let lines = list.lines().take_while(|line| line.starts_with(' '));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> =
        names.map(|name| name.trim_end_matches(',').to_owned()).filter(|n| n != "help").collect();
    for name in "create delete events exec features kill list pause ps resume run spec start state \
                 update"
        .split_whitespace()
    {
        ensure!(names.iter().any(|one| one == name), "the help has no {name}: {help}");
    }
    Ok(names)
}

fn help(env: &mut Env) -> Outcome {
    let ask = |words: &[&str]| -> Result<String, Failure> {
        let output = env.bare_runtime(words).ok()?;
        ensure_eq!(output.stderr, "", "stderr of {output}");
        Ok(output.stdout)
    };
    for name in commands(env)? {
        let text = ask(&[&name, "--help"])?;
        ensure!(text.contains(&format!("{name} ")), "{name} --help: {text}");
        for words in [
            &[&name, "-h"][..],
            &[&name, "-help"],
            &[&name, "--h"],
            &["help", &name],
            &["h", &name],
            &["--debug=false", "help", &name],
        ] {
            ensure_eq!(ask(words)?, text, "{words:?}");
        }
        if !matches!(&*name, "exec" | "ps") {
            ensure_eq!(ask(&[&name, "x", "--help"])?, text, "{name} x --help");
        }
    }
    let text = ask(&["--help"])?;
    for words in [&[][..], &["-h"], &["-help"], &["help"], &["h"], &["--help", "run"]] {
        ensure_eq!(ask(words)?, text, "{words:?}");
    }
    for words in [&["help", "--help"][..], &["help", "-h"], &["h", "--help"]] {
        ask(words)?;
    }
    let output = env.bare_runtime(&["help", "bogus"]).exits(3)?;
    ensure!(output.stderr.contains("bogus"), "{output}");
    Ok(())
}

/// The flags of a help text: their names, and whether each takes a value.
fn flags(help: &str) -> Vec<(Vec<String>, bool)> {
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let flag = |line: &str| {
        // What comes after two spaces is told of it.
        let spelling = line.trim_start().split("  ").next().unwrap_or_default();
        let words: Vec<&str> = spelling.split([' ', ',', '=']).filter(|w| !w.is_empty()).collect();
        let names = words.iter().filter(|word| word.starts_with('-'));
        let names = names.map(|name| name.trim_start_matches('-').to_owned()).collect();
        (names, words.iter().any(|word| !word.starts_with('-')))
    };
    lines.map(flag).collect()
}

/// A value that the flag of this name takes.
fn value_of(name: &str) -> &'static str {
    match name {
        "rootless" => "auto",
        "log-format" => "json",
        "interval" => "7s",
        _ => "1",
    }
}

/// Whoever prints its help has understood every flag before.
fn dashes(env: &mut Env) -> Outcome {
    let mut count = 0;
    for command in commands(env)?.iter().map(String::as_str).chain([""]) {
        let command: &[&str] = if command.is_empty() { &[] } else { &[command] };
        let text = env.bare_runtime(&[command, &["--help"]].concat()).ok()?.stdout;
        for (names, has_value) in flags(&text) {
            // Of these, the first ends it.
            if names.iter().any(|name| name == "help" || name == "version") {
                continue;
            }
            for name in &names {
                let value = if has_value { value_of(name) } else { "false" };
                let joined = [format!("-{name}={value}"), format!("--{name}={value}")];
                let apart = [format!("-{name}"), format!("--{name}")];
                let words: Vec<&str> = match has_value {
                    true => vec![&apart[0], value, &joined[0], &apart[1], value, &joined[1]],
                    false => vec![&apart[0], &joined[0], &apart[1], &joined[1]],
                };
                let call = env.bare_runtime(&[command, &words, &["--help"]].concat());
                // runc tells defaults that it takes from the flags before.
                let (found, wanted) = (head(&call.ok()?.stdout), head(&text));
                ensure_eq!(found, wanted, "help after {command:?} {words:?}");
                count += 1;
            }
        }
    }
    ensure!(count > 60, "only {count} flags were found");
    Ok(())
}

fn head(text: &str) -> Vec<String> {
    text.lines().take(6).map(str::to_owned).collect()
}

fn sleeper(env: &Env) -> Result<(Bundle, String), Failure> {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    Ok((bundle, dir))
}

/// One spelling each: runc does not take both of one flag in one call.
fn repeated(env: &mut Env) -> Outcome {
    let (_bundle, dir) = sleeper(env)?;
    let id = env.id("r");
    env.adopt(&id);
    let path = |name: &str| env.dir.join(name).to_string_lossy().into_owned();
    let words = [
        "create",
        "--bundle",
        "/nowhere",
        "--bundle",
        &dir,
        "--pid-file",
        &path("first"),
        &format!("-pid-file={}", path("second")),
        "--no-pivot",
        "--no-pivot=false",
        &id,
    ];
    env.runtime(&words).ok()?;
    ensure!(!env.dir.join("first").exists() && env.dir.join("second").exists(), "pid files");
    env.runtime(&["start", &id]).ok()?;
    let shell = ["sh", "-c", "pwd; echo $A $B; id -u"];
    let flags = "--cwd /etc --cwd=/tmp --env A=1 --env B=3 -env=A=2 -u 5 -u 6 --tty -tty=false";
    let flags: Vec<&str> = flags.split(' ').collect();
    let output = env.exec(&id, &flags, &shell).ok()?;
    ensure_eq!(output.stdout, "/tmp\n2 3\n6\n", "exec");
    let list = ["list", "-f", "table", "-f", "json", "-q", "-q=false"];
    ensure!(env.runtime(&list).ok()?.json()?.is_array(), "list");
    let (first, second) = (path("log1"), path("log2"));
    let log = ["--log", &first, "--log-format", "text", "--log", &second, "--log-format", "json"];
    env.runtime(&[&log[..], &["state", "nope"]].concat()).exits(1)?;
    ensure!(fs::read_to_string(&second)?.starts_with("{\"level\":\"error\""), "log");
    ensure!(!env.dir.join("log1").exists(), "the log of the flag before is there");
    env.runtime(&["kill", "--all", "--all=false", &id, "KILL"]).ok()?;
    env.wait_status(&id, "stopped")?;
    env.runtime(&["delete", "--force", "-force", "--force=false", &id]).ok().map(drop)
}

fn both_sides(env: &mut Env) -> Outcome {
    let (_bundle, dir) = sleeper(env)?;
    let make = [["create", "--bundle", &dir, "@", ""], ["create", "@", "--bundle", &dir, ""]];
    let run = [["run", "-d", "-b", &dir, "@"], ["run", "@", "-d", "-b", &dir]];
    for (at, words) in make.iter().chain(&run).enumerate() {
        let id = env.id(&format!("c{at}"));
        env.adopt(&id);
        let call = |words: &[&str]| {
            let words = words.iter().filter(|word| !word.is_empty());
            let words: Vec<&str> =
                words.map(|word| if *word == "@" { &id } else { *word }).collect();
            env.runtime(&words)
        };
        call(words).ok()?;
        if words[0] == "create" {
            call(&["start", "@"]).ok()?;
        }
        for words in [
            &["events", "--stats", "@"][..],
            &["events", "@", "--stats"],
            &["update", "--blkio-weight=0", "@"],
            &["update", "@", "--blkio-weight=0"],
            &["ps", "-f", "json", "@"],
        ] {
            call(words).ok()?;
        }
        if at % 2 == 0 {
            call(&["kill", "-a", "@", "KILL"]).ok()?;
            call(&["delete", "--force", "@"]).ok()?;
        } else {
            call(&["kill", "@", "KILL", "--all"]).ok()?;
            call(&["delete", "@", "-f"]).ok()?;
        }
    }
    env.nothing_left()
}

/// What follows the id of exec and of ps belongs to another program.
fn not_ours(env: &mut Env) -> Outcome {
    let (bundle, _) = sleeper(env)?;
    let id = env.detach(&bundle, "x", &[])?;
    let output = env.exec(&id, &[], &["echo", "--help", "-t", "--cwd", "/x", "--"]).ok()?;
    ensure_eq!(output.stdout, "--help -t --cwd /x --\n", "exec");
    let table = env.runtime(&["ps", &id, "-o", "pid,comm"]).ok()?.stdout;
    ensure_eq!(table.split_whitespace().next(), Some("PID"), "ps");
    Ok(())
}

fn global(env: &mut Env) -> Outcome {
    let (_bundle, dir) = sleeper(env)?;
    let id = env.id("g");
    env.adopt(&id);
    let log = env.dir.join("log").to_string_lossy().into_owned();
    let root = env.root().to_string_lossy().into_owned();
    let spec = env.dir.join("spec").to_string_lossy().into_owned();
    fs::create_dir(&spec)?;
    let log = format!("-log={log}");
    // All but the manager of cgroups, which not every machine has.
    let flags = [
        "--root",
        &root,
        &log,
        "--log-format",
        "json",
        "--debug",
        "--debug=false",
        "-criu",
        "/nowhere",
        "--rootless=auto",
        "-systemd-cgroup",
        "--systemd-cgroup=false",
    ];
    for words in [
        &["create", "-b", &dir, &id][..],
        &["start", &id],
        &["state", &id],
        &["exec", &id, "true"],
        &["list", "-q"],
        &["ps", "-f", "json", &id],
        &["pause", &id],
        &["resume", &id],
        &["update", &id],
        &["events", "--stats", &id],
        &["features"],
        &["spec", "-b", &spec],
        &["kill", &id, "KILL"],
        &["delete", "-f", &id],
        &["run", "-d", "-b", &dir, &id],
        &["delete", "--force", &id],
        &["help", "run"],
    ] {
        let output = env.bare_runtime(&[&flags[..], words].concat()).ok()?;
        ensure_eq!(output.stderr, "", "stderr of {output}");
    }
    // They are nobody's behind the command.
    for flag in ["--root", "--log", "--log-format", "--criu", "--rootless"] {
        let output = env.runtime(&["state", flag, "auto", &id]).exits(1)?;
        ensure!(output.stderr.contains("flag provided but not defined"), "{output}");
    }
    Ok(())
}
