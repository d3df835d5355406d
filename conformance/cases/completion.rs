//! The shells' completion scripts and the manual pages.

use std::fs;
use std::path::PathBuf;

use crate::call::Output;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const OWN: &[(Peer, &str)] =
    &[(Peer::Runc, "runc has no such command"), (Peer::Crun, "crun has no such command")];

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("completion/every-command-and-flag", whole).not_on(OWN),
    Case::new("completion/bash", bash).not_on(OWN),
    Case::new("completion/zsh", zsh).needs(&[Need::Native, Need::Command("zsh")]).not_on(OWN),
    Case::new("completion/fish", fish).needs(&[Need::Native, Need::Command("fish")]).not_on(OWN),
    Case::new("completion/unknown-shell", unknown).not_on(OWN),
    Case::new("completion/manual-pages", pages)
        .needs(&[Need::Native, Need::Command("man"), Need::Command("groff")])
        .not_on(OWN),
    Case::new("completion/manual-pages-nowhere", nowhere).not_on(OWN),
];

/// The words of a help text that start with `--`.
fn flags(help: &str) -> Vec<String> {
    let word = |word: &str| {
        let name = word.strip_prefix("--")?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        Some(name[..end.unwrap_or(name.len())].to_owned())
    };
    help.lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .filter_map(|line| line.split_whitespace().find_map(word))
        .collect()
}

/// Every command with its flags, by the help texts; the program itself is the empty name.
fn commands(env: &Env) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let help = env.bare_runtime(&["--help"]).ok()?.stdout;
    let (_, list) = help.split_once("\nCommands:\n").unwrap_or_default();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let mut all = vec![(String::new(), flags(&help))];
    for name in names {
        let help = env.bare_runtime(&[name, "--help"]).ok()?.stdout;
        all.push((name.to_owned(), flags(&help)));
    }
    ensure!(all.len() > 15 && all.iter().all(|(_, flags)| !flags.is_empty()), "help: {all:?}");
    Ok(all)
}

fn script(env: &Env, shell: &str) -> Result<PathBuf, Failure> {
    let output = env.bare_runtime(&["completion", shell]).ok()?;
    ensure_eq!(output.stderr, "", "stderr");
    let path = env.dir.join(format!("completion.{shell}"));
    fs::write(&path, output.stdout)?;
    Ok(path)
}

fn whole(env: &mut Env) -> Outcome {
    let commands = commands(env)?;
    for shell in SHELLS {
        let text = fs::read_to_string(script(env, shell)?)?;
        let words: Vec<&str> =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        for (command, flags) in &commands {
            ensure!(command.is_empty() || words.contains(&&**command), "{shell} lacks {command}");
            for flag in flags {
                // fish has them without dashes, after -l.
                let has = words.contains(&&*format!("--{flag}"))
                    || words.contains(&&*format!("*--{flag}"))
                    || text.contains(&format!(" -l {flag} "));
                ensure!(has, "{shell} lacks --{flag} of {command}");
            }
        }
    }
    Ok(())
}

fn passes(output: &Output) -> Outcome {
    ensure_eq!((output.code(), output.stderr.as_str()), (0, ""), "{output}");
    Ok(())
}

fn bash(env: &mut Env) -> Outcome {
    let path = script(env, "bash")?;
    passes(&env.command(&["bash".as_ref(), "-n".as_ref(), path.as_os_str()]).output()?)?;
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    fs::write(env.dir.join("a-file"), "")?;
    let root = env.root().to_string_lossy().into_owned();
    for (line, wanted) in [
        ("cr", "create"),
        ("create --bun", "--bundle"),
        ("create -b a-f", "a-file"),
        ("create --bundle = a-f", "a-file"),
        ("list --format =", "json table"),
        ("list -f j", "json"),
        ("--log-format j", "json"),
        ("--debug --rootless au", "auto"),
        ("completion ", "bash fish zsh"),
        ("exec --ignore", "--ignore-paused"),
        ("exec --env A=b --ignore", "--ignore-paused"),
        // What follows the id is the container's.
        ("exec id --ignore", ""),
        ("kill id --al", "--all"),
        ("bogus --al", ""),
        (&format!("--root {root} state {}", &env.mark), id.as_str()),
        (&format!("-root = {root} exec -t {}", &env.mark), id.as_str()),
        (&format!("--root {root} create {}", &env.mark), ""),
    ] {
        let program = env.shared.runtime.to_string_lossy().into_owned();
        let mut words: Vec<&str> = vec!["-c", BASH, "bash", path.to_str().unwrap_or_default()];
        words.push(&program);
        words.extend(line.split(' '));
        let output = env.command(&[&["bash"], &words[..]].concat()).output()?;
        passes(&output)?;
        let mut found: Vec<&str> = output.stdout.lines().filter(|l| !l.is_empty()).collect();
        found.sort_unstable();
        ensure_eq!(found.join(" "), wanted, "completion of {line:?}");
    }
    Ok(())
}

/// Completes the last of its words as bash does.
const BASH: &str = r#"source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$(complete -p ghost-runc | sed 's/.*-F \([^ ]*\) .*/\1/')
printf '%s\n' "${COMPREPLY[@]}""#;

fn zsh(env: &mut Env) -> Outcome {
    let path = script(env, "zsh")?;
    let path = path.to_string_lossy().into_owned();
    passes(&env.command(&["zsh", "-n", &path]).output()?)?;
    let load = "autoload -Uz compinit; compinit -u -D; source $1; print $_comps[ghost-runc]";
    let output = env.command(&["zsh", "-f", "-c", load, "zsh", &path]).env("TERM", "dumb").ok()?;
    ensure_eq!(output.stdout, "_ghost_runc\n", "{output}");
    Ok(())
}

fn fish(env: &mut Env) -> Outcome {
    let path = script(env, "fish")?;
    let path = path.to_string_lossy().into_owned();
    let home = env.dir.to_string_lossy().into_owned();
    let fish = |words: &[&str]| env.command(&[&["fish"], words].concat()).env("HOME", &home);
    passes(&fish(&["-n", &path]).output()?)?;
    let complete = |line: &str| -> Result<Vec<String>, Failure> {
        let output = fish(&["-c", "source $argv[1]; complete -C $argv[2]", &path, line]).ok()?;
        let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        Ok(output.stdout.lines().map(first).collect())
    };
    for (line, wanted) in [
        ("ghost-runc cr", "create"),
        ("ghost-runc create --bun", "--bundle"),
        ("ghost-runc list --format=j", "--format=json"),
        ("ghost-runc completion z", "zsh"),
        ("ghost-runc exec --ignore", "--ignore-paused"),
    ] {
        ensure!(complete(line)?.iter().any(|word| word.starts_with(wanted)), "{line:?}: {wanted}");
    }
    Ok(())
}

fn unknown(env: &mut Env) -> Outcome {
    let output = env.bare_runtime(&["completion", "tcsh"]).exits(1)?;
    ensure!(output.stderr.contains("tcsh"), "{output}");
    env.bare_runtime(&["completion"]).exits(1)?;
    Ok(())
}

fn pages(env: &mut Env) -> Outcome {
    let dir = env.dir.join("man");
    let name = dir.to_string_lossy().into_owned();
    env.bare_runtime(&["man", &name]).ok()?;
    // A second time, over the first's.
    env.bare_runtime(&["man", &name]).ok()?;
    let mut all = Vec::new();
    for (command, flags) in commands(env)? {
        let dash = if command.is_empty() { "" } else { "-" };
        let page = dir.join(format!("ghost-runc{dash}{command}.1"));
        let text = fs::read_to_string(&page)?.replace("\\-", "-");
        for flag in flags {
            ensure!(text.contains(&format!("\\fB--{flag}\\fR")), "{}: --{flag}", page.display());
        }
        all.push(page.to_string_lossy().into_owned());
    }
    ensure_eq!(fs::read_dir(&dir)?.count(), all.len(), "pages");
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let call = |words: &[&str]| env.command(&[words, &all].concat());
    passes(&call(&["groff", "-man", "-ww", "-Tascii", "-z"]).output()?)?;
    passes(&call(&["man", "--warnings", "-l"]).env("LC_ALL", "C").env("MANPAGER", "cat").output()?)
}

fn nowhere(env: &mut Env) -> Outcome {
    fs::write(env.dir.join("file"), "")?;
    let output = env.bare_runtime(&["man", "file/man"]).exits(1)?;
    ensure!(output.stderr.contains("file/man: not a directory"), "{output}");
    Ok(())
}
