//! Arguments as Go's flag package reads them, rewritten to what clap reads.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, Command};

use super::flag::go_bool;

/// Separates the flags of `command` from the other arguments.
///
/// Flags come out in clap's form, with two dashes and with their value behind `=`; a flag that
/// `command` does not have stays as it is, for clap to refuse, but behind an argument it is one more
/// argument, such as `-1` in `kill ID -1`. With `stop_at_first`, everything
/// from the first argument that is no flag on is left alone; without, flags may follow it. `--`
/// ends the flags and is dropped.
pub fn normalise(
    arguments: Vec<OsString>,
    command: &Command,
    stop_at_first: bool,
) -> (Vec<OsString>, Vec<OsString>) {
    let mut flags: Vec<OsString> = Vec::new();
    let mut others: Vec<OsString> = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            others.extend(arguments);
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            others.push(argument);
            if stop_at_first {
                others.extend(arguments);
                break;
            }
            continue;
        }
        let stripped = &bytes[if bytes[1] == b'-' { 2 } else { 1 }..];
        let (name, value) = match stripped.iter().position(|&byte| byte == b'=') {
            Some(at) => (&stripped[..at], Some(OsStr::from_bytes(&stripped[at + 1..]))),
            None => (stripped, None),
        };
        match (known(command, name), value) {
            (None, _) if others.is_empty() => flags.push(dashed(stripped)),
            (None, _) => others.push(argument),
            (Some((flag, true)), value) => {
                let value = value.map(OsStr::to_owned).or_else(|| arguments.next());
                flags.push(joined(&flag, value));
            }
            (Some((flag, false)), None) => flags.push(flag),
            (Some((flag, false)), Some(value)) => match value.to_str().and_then(go_bool) {
                Some(true) => flags.push(flag),
                Some(false) => flags.retain(|other| *other != flag),
                None => flags.push(joined(&flag, Some(value.to_owned()))),
            },
        }
    }
    (flags, others)
}

/// The flag of that name, with its dashes, and whether it takes a value.
fn known(command: &Command, name: &[u8]) -> Option<(OsString, bool)> {
    if matches!(name, b"help" | b"h") {
        return Some(("--help".into(), false));
    }
    let name = std::str::from_utf8(name).ok()?;
    let is_named = |arg: &&Arg| {
        arg.get_long() == Some(name)
            || arg.get_short().is_some_and(|short| name.chars().eq([short]))
    };
    let arg = command.get_arguments().find(is_named)?;
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    Some((format!("--{}", arg.get_long()?).into(), takes_value))
}

/// With two dashes: after one, clap would look for several flags of one letter.
fn dashed(flag: &[u8]) -> OsString {
    OsString::from_vec([b"--", flag].concat())
}

fn joined(flag: &OsStr, value: Option<OsString>) -> OsString {
    let mut joined = flag.as_bytes().to_vec();
    if let Some(value) = value {
        joined.push(b'=');
        joined.extend_from_slice(value.as_bytes());
    }
    OsString::from_vec(joined)
}

#[cfg(test)]
mod tests {
    use super::super::flag;
    use super::*;

    fn split(arguments: &str, stop_at_first: bool) -> (String, String) {
        let command = Command::new("test").args([
            flag::switch("tty", "").short('t'),
            flag::switch("no-subreaper", ""),
            flag::list("env", "").short('e'),
            flag::value("bundle", "").short('b'),
        ]);
        let arguments = arguments.split_whitespace().map(OsString::from).collect();
        let (flags, others) = normalise(arguments, &command, stop_at_first);
        let text = |list: Vec<OsString>| list.join(OsStr::new(" ")).into_string().unwrap();
        (text(flags), text(others))
    }

    #[test]
    fn flags_come_out_in_one_form() {
        for (given, flags) in [
            ("-no-subreaper", "--no-subreaper"),
            ("--no-subreaper", "--no-subreaper"),
            ("-t", "--tty"),
            ("--t", "--tty"),
            ("-bundle x", "--bundle=x"),
            ("-b=x", "--bundle=x"),
            ("--bundle=a=b", "--bundle=a=b"),
            ("-e -x", "--env=-x"),
            ("-b", "--bundle"),
            ("-tty=true", "--tty"),
            ("-t --tty=false", ""),
            ("--tty=maybe", "--tty=maybe"),
            ("-t=maybe", "--tty=maybe"),
            ("-unknown=1", "--unknown=1"),
            ("-help", "--help"),
        ] {
            assert_eq!(split(given, false), (flags.to_owned(), String::new()), "{given}");
        }
    }

    #[test]
    fn flags_may_follow_other_arguments_unless_told_to_stop() {
        let both = |flags: &str, others: &str| (flags.to_owned(), others.to_owned());
        assert_eq!(split("id -t KILL -", false), both("--tty", "id KILL -"));
        assert_eq!(split("-t id sh -t -c", true), both("--tty", "id sh -t -c"));
        assert_eq!(split("-t -- id -t", false), both("--tty", "id -t"));
    }
}
