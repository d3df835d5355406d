//! `man`: writes the manual pages, made from the table of commands.

use std::fs;
use std::path::Path;

use clap::ArgMatches;

use super::TABLE;
use crate::cli::outline::{self, Flag};
use crate::cli::{self, ABOUT, Entry, USAGE, global_flags};
use crate::context::Context;
use crate::error::Error;

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "man",
    about: "write the manual pages",
    operands: "<directory>",
    count: (1, Some(1)),
    stops_at_first: false,
    flags: Vec::new,
    run,
};

/// How the program ends, whatever the command.
const EXIT_STATUS: &str = "\
.SH EXIT STATUS
.B run
and
.B exec
end as the process does: with its code, or with 128 and the number of the signal that ended it.
.B exec
ends with 255 where it could not start the process.
Any other error is 1, with one line on standard error or in the log.
";

fn run(_context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    let dir = Path::new(cli::operands(arguments).next().unwrap_or_default());
    fs::create_dir_all(dir).map_err(|source| Error::file("mkdir", dir, source))?;
    write(&dir.join("ghost-runc.1"), &program())?;
    for entry in TABLE {
        write(&dir.join(format!("ghost-runc-{}.1", entry.name)), &command(entry))?;
    }
    Ok(0)
}

fn write(path: &Path, page: &str) -> Result<(), Error> {
    fs::write(path, page).map_err(|source| Error::file("write", path, source))
}

/// The page of the program.
fn program() -> String {
    let mut page = head("ghost-runc", ABOUT, USAGE);
    page += &flags("GLOBAL OPTIONS", outline::of(global_flags()));
    page += ".SH COMMANDS\n";
    for entry in TABLE {
        page += &format!(".TP\n\\fBghost\\-runc\\-{}\\fR(1)\n{}\n", entry.name, text(entry.about));
    }
    page + EXIT_STATUS
}

/// The page of a command.
fn command(entry: &Entry) -> String {
    let name = format!("ghost-runc-{}", entry.name);
    let usage = format!("[options] {}", entry.operands);
    let page = head(&name, entry.about, usage.trim_end());
    page + &flags("OPTIONS", outline::of((entry.flags)())) + ".SH SEE ALSO\n.BR ghost\\-runc (1)\n"
}

fn head(name: &str, about: &str, usage: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (title, bold) = (text(&name.to_uppercase()), text(&name.replacen("runc-", "runc ", 1)));
    format!(
        ".TH {title} 1 \"\" \"ghost\\-runc {version}\"\n.SH NAME\n{} \\- {}\n\
         .SH SYNOPSIS\n\\fB{bold}\\fR {}\n",
        text(name),
        text(about),
        text(usage)
    )
}

fn flags(title: &str, flags: Vec<Flag>) -> String {
    let mut section = format!(".SH {title}\n");
    for flag in flags {
        let short = flag.short.map(|short| format!("\\fB\\-{short}\\fR, ")).unwrap_or_default();
        let value = flag.value.as_deref().map(|name| format!(" \\fI{}\\fR", text(name)));
        section += &format!(
            ".TP\n{short}\\fB\\-\\-{}\\fR{}\n{}\n",
            text(&flag.long),
            value.unwrap_or_default(),
            text(&flag.help)
        );
    }
    section
}

/// Text that troff takes as it is.
fn text(plain: &str) -> String {
    plain.replace('\\', "\\e").replace('-', "\\-")
}
