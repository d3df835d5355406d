//! The script for fish.

use super::{Operand, commands};
use crate::cli::outline::{self, Flag};
use crate::cli::{Entry, global_flags};
use crate::commands::TABLE;

/// What stands before the commands.
const HEAD: &str = r#"# fish completion for ghost-runc
function __ghost_runc_ids
    set -l root
    for word in (commandline -opc)
        if test "$root" = --root
            set root --root $word
        else if string match -qr -- '^--?root$' $word
            set root --root
        else if string match -qr -- '^--?root=' $word
            set root --root (string replace -r -- '^--?root=' '' $word)
        end
    end
    test "$root" = --root; and set root
    ghost-runc $root list -q 2>/dev/null
end
complete -c ghost-runc -f
"#;

/// The script.
pub fn script() -> String {
    let mut text = HEAD.to_owned();
    let none = format!("not __fish_seen_subcommand_from {}", commands());
    for flag in outline::of(global_flags()) {
        text += &row(&none, &flag);
    }
    for entry in TABLE {
        let (name, about) = (entry.name, quoted(entry.about));
        text += &format!("complete -c ghost-runc -n '{none}' -a {name} -d '{about}'\n");
        let seen = format!("__fish_seen_subcommand_from {name}");
        for flag in outline::of((entry.flags)()) {
            text += &row(&seen, &flag);
        }
        text += &first(entry, &seen);
    }
    text
}

fn first(entry: &Entry, seen: &str) -> String {
    let words = match Operand::of(entry) {
        Operand::Unknown => return String::new(),
        Operand::Id => "(__ghost_runc_ids)".to_owned(),
        Operand::File => "(__fish_complete_directories)".to_owned(),
        Operand::Choice(words) => words,
    };
    format!("complete -c ghost-runc -n '{seen}' -a '{words}'\n")
}

fn row(when: &str, flag: &Flag) -> String {
    let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
    let value = match (&flag.value, flag.choices()) {
        (None, _) => String::new(),
        (_, Some(words)) => format!(" -x -a '{words}'"),
        (_, None) if flag.is_file() => " -r -F".to_owned(),
        _ => " -x".to_owned(),
    };
    let help = quoted(&flag.help);
    format!("complete -c ghost-runc -n '{when}' -l {}{short}{value} -d '{help}'\n", flag.long)
}

/// Text inside quotes.
fn quoted(text: &str) -> String {
    text.replace('\'', "\\'")
}
