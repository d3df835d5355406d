//! Completion scripts and manual pages: each command and option is in them, and their readers take them.

use std::path::Path;
use std::process::Command;

use super::sandbox::{Sandbox, names};

/// The words of a help text's lines that begin an option's long name.
fn options(help: &str) -> Vec<String> {
    let name = |word: &str| {
        let name = word.strip_prefix("--")?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        Some(name[..end.unwrap_or(name.len())].to_owned())
    };
    help.lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .filter_map(|line| line.split_whitespace().find_map(name))
        .collect()
}

/// Every command with its options, as the help texts tell them.
fn commands(sandbox: &Sandbox) -> Vec<(String, Vec<String>)> {
    let help = sandbox.ok(&["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let all: Vec<_> = names
        .filter(|name| *name != "help")
        .map(|name| (name.to_owned(), options(&sandbox.ok(&[name, "--help"]))))
        .collect();
    assert!(all.len() > 25 && all.iter().all(|(_, options)| options.len() > 2), "{all:?}");
    all
}

/// Runs a program that takes the file without a word; gives what it prints.
fn takes(sandbox: &Sandbox, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(&sandbox.path)
        .envs([("LC_ALL", "C.UTF-8"), ("MANWIDTH", "200"), ("MANPAGER", "cat")])
        .env("HOME", &sandbox.path)
        .output()
        .unwrap_or_else(|error| panic!("{program} is missing: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn shells_complete_every_command() {
    let sandbox = Sandbox::new();
    let commands = commands(&sandbox);
    for (shell, parse) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = sandbox.ok(&["completion", shell]);
        std::fs::write(sandbox.path.join(shell), &script).unwrap();
        takes(&sandbox, shell, &[parse, shell]);
        let words: Vec<&str> =
            script.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        for (command, options) in &commands {
            assert!(words.contains(&command.as_str()), "{shell}: {command}");
            for option in options {
                // fish has them without dashes, after -l.
                let has = words.contains(&format!("--{option}").as_str())
                    || script.contains(&format!(" -l {option} "));
                assert!(has, "{shell}: --{option} of {command}");
            }
        }
    }
    // As readline calls it.
    let asked = |words: &str, position: u32| {
        let script = format!(
            ". ./bash; COMP_WORDS=({words}); COMP_CWORD={position}
             _imagectl imagectl \"${{COMP_WORDS[$COMP_CWORD]}}\" \"${{COMP_WORDS[$COMP_CWORD-1]}}\"
             echo ${{COMPREPLY[@]}}"
        );
        takes(&sandbox, "bash", &["-c", &script]).trim().to_owned()
    };
    assert_eq!(asked("imagectl pu", 1), "pull push");
    assert_eq!(asked("imagectl pull --all", 2), "--all-platforms");
    assert_eq!(asked("imagectl serve --w", 2), "--writable");
}

#[test]
fn every_command_has_a_page() {
    let sandbox = Sandbox::new();
    let commands = commands(&sandbox);
    std::fs::create_dir(sandbox.path.join("man")).unwrap();
    sandbox.ok(&["man", "man"]);
    let mut expected: Vec<String> =
        commands.iter().map(|(name, _)| format!("imagectl-{name}.1")).collect();
    expected.push("imagectl.1".to_owned());
    expected.sort();
    let mut found = names(Path::new(&sandbox.path.join("man")));
    found.retain(|name| !name.contains("-help"));
    assert_eq!(found, expected);
    for (command, options) in &commands {
        let page = format!("man/imagectl-{command}.1");
        let shown = takes(&sandbox, "man", &["--warnings", "-l", &page]);
        for option in options {
            assert!(shown.contains(&format!("--{option}")), "{page}: --{option}: {shown}");
        }
    }
    let shown = takes(&sandbox, "man", &["--warnings", "-l", "man/imagectl.1"]);
    assert!(commands.iter().all(|(name, _)| shown.contains(&format!("imagectl-{name}"))));
    assert!(sandbox.fails(&["man", "nowhere"]).contains("write to nowhere: No such file"));
}
