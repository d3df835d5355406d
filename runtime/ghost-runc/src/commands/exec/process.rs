//! The process that `exec` runs: from a file, or the container's own with changes.

use clap::{Arg, ArgMatches};
use container::{Bundle, Container};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process};

use crate::cli::{self, flag};
use crate::error::Error;

/// The flags that say what to run.
pub fn flags() -> Vec<Arg> {
    vec![
        flag::file("process", "file with the process as JSON").short('p'),
        flag::value("cwd", "working directory in the container"),
        flag::list("env", "set an environment variable").short('e'),
        flag::switch("tty", "give it a terminal").short('t'),
        flag::value("user", "user and group to run as: uid[:gid]").short('u'),
        flag::list("additional-gids", "an additional group")
            .value_name("gid")
            .value_parser(clap::value_parser!(i64))
            .short('g'),
        flag::value("process-label", "SELinux label to run with"),
        flag::value("apparmor", "AppArmor profile to run with"),
        flag::switch("no-new-privs", "set no_new_privs"),
        flag::list("cap", "add a capability").short('c'),
    ]
}

/// The process of these arguments.
pub fn of(container: &Container, arguments: &ArgMatches) -> Result<Process, Error> {
    if let Some(file) = flag::path(arguments, "process").filter(|file| !file.as_os_str().is_empty())
    {
        return checked(Bundle::load_process(&file)?);
    }
    let args: Vec<String> = command(cli::operands(arguments)).map(str::to_owned).collect();
    if args.is_empty() {
        return Err(Error::EmptyProcessArgs);
    }
    let bundle = Bundle::load(container.bundle(), false)?;
    bundle.warn();
    let process = bundle.spec.process().clone();
    let mut process =
        process.ok_or(Error::Process { problem: "process property must not be empty" })?;
    process.set_args(Some(args));
    apply(&mut process, arguments)?;
    checked(process)
}

/// What follows the id. A `--` between the two is dropped, as in runc's older manual pages.
fn command<'a>(operands: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    operands.skip(1).enumerate().filter(|(at, arg)| *at > 0 || *arg != "--").map(|(_, arg)| arg)
}

/// Changes the container's own process as the flags say.
fn apply(process: &mut Process, arguments: &ArgMatches) -> Result<(), Error> {
    if let Some(cwd) = flag::text(arguments, "cwd") {
        process.set_cwd(cwd.into());
    }
    if let Some(profile) = flag::text(arguments, "apparmor") {
        process.set_apparmor_profile(Some(profile.to_owned()));
    }
    if let Some(label) = flag::text(arguments, "process-label") {
        process.set_selinux_label(Some(label.to_owned()));
    }
    let added: Vec<Capability> = flag::texts(arguments, "cap").filter_map(capability).collect();
    if !added.is_empty() {
        process.set_capabilities(Some(with_capabilities(process.capabilities(), &added)));
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(flag::texts(arguments, "env").map(str::to_owned));
    process.set_env(Some(env));
    process.set_terminal(Some(arguments.get_flag("tty")));
    if arguments.get_flag("no-new-privs") {
        process.set_no_new_privileges(Some(true));
    }
    set_user(process, arguments)
}

fn set_user(process: &mut Process, arguments: &ArgMatches) -> Result<(), Error> {
    let user = process.user_mut();
    if let Some(given) = flag::text(arguments, "user") {
        let (uid, gid) = match given.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (given, None),
        };
        if let Some(gid) = gid {
            user.set_gid(number("gid", gid)?);
        }
        user.set_uid(number("uid", uid)?);
    }
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    for gid in arguments.get_many::<i64>("additional-gids").into_iter().flatten() {
        groups.push(number("additional gid", &gid.to_string())?);
    }
    user.set_additional_gids(Some(groups).filter(|groups| !groups.is_empty()));
    Ok(())
}

fn number(what: &'static str, text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| Error::BadNumber { what, value: text.to_owned() })
}

/// None, with a warning, for one that nobody knows: as in config.json.
fn capability(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    let known = upper.strip_prefix("CAP_").unwrap_or(&upper).parse().ok();
    if known.is_none() {
        log::warn!("left out: --cap: unknown capability {name}");
    }
    known
}

/// The sets with more in the bounding, effective and permitted ones. Ambient ones need inheritable
/// ones, so they come only where the container has some.
fn with_capabilities(
    capabilities: &Option<LinuxCapabilities>,
    added: &[Capability],
) -> LinuxCapabilities {
    let mut sets = capabilities.clone().unwrap_or_default();
    let more = |set: &Option<Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(added.iter().copied());
        Some(set)
    };
    sets.set_bounding(more(sets.bounding()));
    sets.set_effective(more(sets.effective()));
    sets.set_permitted(more(sets.permitted()));
    if sets.inheritable().as_ref().is_some_and(|set| !set.is_empty()) {
        sets.set_ambient(more(sets.ambient()));
    }
    sets
}

fn checked(process: Process) -> Result<Process, Error> {
    let problem = if process.cwd().as_os_str().is_empty() {
        "Cwd property must not be empty"
    } else if !process.cwd().is_absolute() {
        "Cwd must be an absolute path"
    } else if process.args().as_ref().is_none_or(|args| args.is_empty()) {
        "args must not be empty"
    } else {
        return Ok(process);
    };
    Err(Error::Process { problem })
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn applied(arguments: &[&str]) -> Result<Process, Error> {
        let mut process: Process = serde_json::from_str(
            r#"{"terminal": true, "user": {"uid": 1, "gid": 2}, "args": ["sh"], "cwd": "/",
                "env": ["A=1"], "capabilities": {"bounding": ["CAP_KILL"]}}"#,
        )
        .unwrap();
        let command = Command::new("exec").no_binary_name(true).args_override_self(true);
        let matches = command.args(flags()).try_get_matches_from(arguments).unwrap();
        apply(&mut process, &matches).map(|()| process)
    }

    #[test]
    fn without_flags_only_the_terminal_goes() {
        let process = applied(&[]).unwrap();
        assert_eq!(process.terminal(), Some(false));
        assert_eq!(process.user().uid(), 1);
        assert_eq!(process.env().as_deref(), Some(&["A=1".to_owned()][..]));
    }

    #[test]
    fn flags_change_the_process() {
        let process = applied(&[
            "-t",
            "-e=B=2",
            "--env=C=3",
            "--user=1000:50",
            "-g=7",
            "-g=8",
            "--cwd=/tmp",
            "--cap=CAP_CHOWN",
            "--cap=net_raw",
            "--no-new-privs",
            "--apparmor=p",
        ])
        .unwrap();
        assert_eq!(process.terminal(), Some(true));
        assert_eq!(process.env().as_ref().unwrap().join(" "), "A=1 B=2 C=3");
        let user = process.user();
        assert_eq!((user.uid(), user.gid()), (1000, 50));
        assert_eq!(user.additional_gids().as_deref(), Some(&[7, 8][..]));
        assert_eq!(process.cwd().to_str(), Some("/tmp"));
        let sets = process.capabilities().as_ref().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 3);
        assert_eq!(sets.effective().as_ref().unwrap().len(), 2);
        assert!(sets.ambient().as_ref().is_none_or(|set| set.is_empty()));
        assert_eq!(process.no_new_privileges(), Some(true));
        assert_eq!(process.apparmor_profile().as_deref(), Some("p"));
    }

    #[test]
    fn a_user_without_group_keeps_the_group() {
        let process = applied(&["-u=5"]).unwrap();
        assert_eq!((process.user().uid(), process.user().gid()), (5, 2));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for flag in ["-u=root", "-u=1:x", "-u=-1", "-g=-5"] {
            assert!(matches!(applied(&[flag]), Err(Error::BadNumber { .. })), "{flag}");
        }
    }

    #[test]
    fn an_unknown_capability_is_left_out() {
        let process = applied(&["-c=CAP_X", "-c=CAP_CHOWN"]).unwrap();
        let sets = process.capabilities().as_ref().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 2);
    }

    #[test]
    fn the_command_follows_the_id() {
        let words = |text: &'static str| command(text.split(' ')).collect::<Vec<_>>();
        assert_eq!(words("id sh -c"), ["sh", "-c"]);
        assert_eq!(words("id -- sh -- x"), ["sh", "--", "x"]);
    }
}
