//! The script for bash.

use super::{Operand, commands};
use crate::cli::outline::{self, Flag};
use crate::cli::{Entry, global_flags};
use crate::commands::TABLE;

/// What stands before the table of flags. COMP_WORDS has each `=` as a word of its own: without
/// them, `--flag=value` reads as `--flag value`.
const HEAD: &str = r#"# bash completion for ghost-runc
_ghost_runc() {
  local -a w=() root=()
  local i word cur command= operands=0 pending= flags files first stops
  for ((i = 1; i <= COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == = ]] || w+=("${COMP_WORDS[i]}")
  done
  [[ ${COMP_WORDS[COMP_CWORD]} != = ]] || w+=("")
  cur=${w[${#w[@]}-1]}
  _ghost_runc_flags ""
  for word in "${w[@]:0:${#w[@]}-1}"; do
    if [[ $pending ]]; then
      [[ $command$pending != root ]] || root=(--root "$word")
      pending=
    elif [[ $word == -* ]]; then
      word=${word#-}
      word=${word#-}
      case $command:$word in
"#;

/// What stands between the flags with a value and those with a few values.
const MIDDLE: &str = r#"      esac
    elif [[ ! $command ]]; then
      command=$word
      _ghost_runc_flags "$command"
    else
      operands=$((operands + 1))
    fi
  done
  COMPREPLY=()
  if [[ $pending ]]; then
    case $command:$pending in
"#;

/// What stands between the choices and the table of commands.
const TAIL: &str = r#"      *) [[ " $files " != *" $pending "* ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    esac
    return
  fi
  if [[ $cur == -* ]]; then
    [[ $stops && $operands -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
  elif ((operands == 0)); then
    case $first in
      id) first=$("${COMP_WORDS[0]}" "${root[@]}" list -q 2>/dev/null) ;;
      file) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$first" -- "$cur")
  fi
}
_ghost_runc_flags() {
  flags= files= first= stops=
  case $1 in
"#;

const END: &str = r#"  esac
}
complete -o filenames -F _ghost_runc ghost-runc
"#;

/// The script.
pub fn script() -> String {
    let globals = outline::of(global_flags());
    let (mut valued, mut choices, mut rows) = (String::new(), String::new(), String::new());
    let mut add = |name: &str, flags: &[Flag], first: &str, stops: bool| {
        for flag in flags.iter().filter(|flag| flag.value.is_some()) {
            let short = flag.short.map(|short| format!(" | {name}:{short}")).unwrap_or_default();
            valued += &format!("        {name}:{}{short}) pending={} ;;\n", flag.long, flag.long);
            let Some(words) = flag.choices() else { continue };
            choices += &format!(
                "      {name}:{}) mapfile -t COMPREPLY < <(compgen -W \"{words}\" -- \"$cur\") ;;\n",
                flag.long
            );
        }
        rows += &row(name, flags, first, stops);
    };
    add("", &globals, &commands(), false);
    for entry in TABLE {
        add(entry.name, &outline::of((entry.flags)()), &first(entry), entry.stops_at_first);
    }
    [HEAD, &valued, MIDDLE, &choices, TAIL, &rows, END].concat()
}

fn first(entry: &Entry) -> String {
    match Operand::of(entry) {
        Operand::Unknown => String::new(),
        Operand::Id => "id".to_owned(),
        Operand::File => "file".to_owned(),
        Operand::Choice(words) => words,
    }
}

fn row(name: &str, flags: &[Flag], first: &str, stops: bool) -> String {
    let long = flags.iter().map(|flag| format!("--{}", flag.long));
    let short = flags.iter().filter_map(|flag| flag.short).map(|short| format!("-{short}"));
    let files = flags.iter().filter(|flag| flag.is_file()).map(|flag| flag.long.clone());
    let joined = |words: Vec<String>| words.join(" ");
    let stops = if stops { "yes" } else { "" };
    format!(
        "    \"{name}\") flags=\"{}\" files=\"{}\" first=\"{first}\" stops={stops} ;;\n",
        joined(long.chain(short).collect()),
        joined(files.collect()),
    )
}
