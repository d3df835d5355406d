//! Flags as completion scripts and manual pages show them.

use clap::Arg;

/// One flag.
pub struct Flag {
    /// Its name, without dashes.
    pub long: String,
    /// Its one letter, if it has one.
    pub short: Option<char>,
    /// What its value is called, if it takes one: "file", or the values there are, between bars.
    pub value: Option<String>,
    /// What it does.
    pub help: String,
}

impl Flag {
    /// The values there are, if they are few.
    pub fn choices(&self) -> Option<String> {
        self.value.as_deref().and_then(choices)
    }

    /// Whether its value is a path.
    pub fn is_file(&self) -> bool {
        self.value.as_deref() == Some("file")
    }
}

/// The words of "a|b|c", with spaces between them.
pub fn choices(bars: &str) -> Option<String> {
    bars.contains('|').then(|| bars.replace('|', " "))
}

/// The flags to show, with `--help`.
pub fn of(flags: Vec<Arg>) -> Vec<Flag> {
    let help = super::flag::switch("help", "print help").short('h');
    flags.into_iter().filter(|flag| !flag.is_hide_set()).chain([help]).filter_map(flag).collect()
}

fn flag(arg: Arg) -> Option<Flag> {
    let takes_value = arg.get_action().takes_values();
    let value = arg.get_value_names().and_then(|names| names.first()).filter(|_| takes_value);
    Some(Flag {
        long: arg.get_long()?.to_owned(),
        short: arg.get_short(),
        value: value.map(ToString::to_string),
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
    })
}
