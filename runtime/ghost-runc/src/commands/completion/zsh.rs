//! The script for zsh.

use super::Operand;
use crate::cli::outline::{self, Flag};
use crate::cli::{Entry, global_flags};
use crate::commands::TABLE;

/// What stands before the list of commands.
const HEAD: &str = r#"#compdef ghost-runc
_ghost_runc_ids() {
  local -a ids
  ids=(${(f)"$(_call_program ids $service $root list -q 2>/dev/null)"})
  compadd -a ids
}
_ghost_runc() {
  local curcontext=$curcontext state line
  local -a root commands
  typeset -A opt_args
  commands=(
"#;

/// What stands between the global flags and the table of commands.
const MIDDLE: &str = r#"    '1:command:->command' '*::argument:->argument' && return
  [[ -z ${opt_args[--root]} ]] || root=(--root ${opt_args[--root]})
  case $state in
    command) _describe command commands ;;
    argument)
      case $words[1] in
"#;

const END: &str = r#"      esac ;;
  esac
}
if [[ $funcstack[1] == _ghost_runc ]]; then
  _ghost_runc "$@"
else
  compdef _ghost_runc ghost-runc
fi
"#;

/// The script.
pub fn script() -> String {
    let mut text = HEAD.to_owned();
    for entry in TABLE {
        text += &format!("    '{}:{}'\n", entry.name, quoted(entry.about));
    }
    text += "  )\n  _arguments -C \\\n";
    for flag in outline::of(global_flags()) {
        text += &format!("    {} \\\n", spec(&flag));
    }
    text += MIDDLE;
    for entry in TABLE {
        text += &format!("        {}) _arguments", entry.name);
        for flag in outline::of((entry.flags)()) {
            text += &format!(" \\\n          {}", spec(&flag));
        }
        text += &format!("{} ;;\n", operands(entry));
    }
    text + END
}

/// What `_arguments` is told of the arguments that are no flags.
fn operands(entry: &Entry) -> String {
    let first = match Operand::of(entry) {
        Operand::Unknown => return String::new(),
        Operand::Id => "container:_ghost_runc_ids".to_owned(),
        Operand::File => "directory:_files".to_owned(),
        Operand::Choice(words) => format!("choice:({words})"),
    };
    // Flags of the command inside the container are its own.
    let rest = if entry.stops_at_first { " '*::arguments:_default'" } else { "" };
    format!(" '1:{first}'{rest}")
}

/// One flag, as `_arguments` reads it.
fn spec(flag: &Flag) -> String {
    let value = match &flag.value {
        None => String::new(),
        Some(_) if flag.is_file() => ":file:_files".to_owned(),
        Some(name) => format!(
            ":{}:{}",
            name.replace('|', " or "),
            flag.choices().map(|words| format!("({words})")).unwrap_or_default()
        ),
    };
    let equals = if flag.value.is_some() { "=" } else { "" };
    let help = quoted(&flag.help);
    let long = format!("'*--{}{equals}[{help}]{value}'", flag.long);
    match flag.short {
        Some(short) => format!("{long} '*-{short}[{help}]{value}'"),
        None => long,
    }
}

/// Text inside quotes and brackets.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]")
}
