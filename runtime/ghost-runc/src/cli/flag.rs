//! Kinds of flags, and their values.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches};

/// A flag that is there or not.
pub fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// A flag with a text; of several, the last counts. The pass before clap puts the text behind `=`,
/// so that it can't be taken for a flag.
pub fn value(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("value").require_equals(true).help(help)
}

/// A flag with a text that can be given several times.
pub fn list(name: &'static str, help: &'static str) -> Arg {
    value(name, help).action(ArgAction::Append)
}

/// A flag with one of a few words, which are given with bars between them.
pub fn choice(name: &'static str, words: &'static str, help: &'static str) -> Arg {
    value(name, help).value_name(words)
}

/// A flag with a number that is not negative.
pub fn count(name: &'static str, help: &'static str) -> Arg {
    value(name, help).value_name("n").value_parser(clap::value_parser!(u32))
}

/// A flag with a path, which may be empty: engines take a flag back with that.
pub fn file(name: &'static str, help: &'static str) -> Arg {
    value(name, help).value_name("file").value_parser(ValueParser::os_string())
}

/// The path given with a flag of either kind.
pub fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    if let Ok(path) = matches.try_get_one::<OsString>(name) {
        return path.map(PathBuf::from);
    }
    matches.get_one::<String>(name).map(PathBuf::from)
}

/// The text given with a flag, unless it is empty: runc takes an empty text for none.
pub fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// The texts given with a flag, in order.
pub fn texts<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a str> {
    matches.get_many::<String>(name).into_iter().flatten().map(String::as_str)
}

/// The value of `--rootless`: `None` for auto.
pub fn true_false_or_auto(text: &str) -> Result<Option<bool>, &'static str> {
    if text.is_empty() || text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    go_bool(text).map(Some).ok_or("not true, false or auto")
}

/// What Go's strconv.ParseBool reads.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
