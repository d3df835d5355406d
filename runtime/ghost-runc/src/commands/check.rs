//! `check`: says what is wrong with a bundle, and what this host lacks for it, and makes nothing.

use std::path::Path;

use clap::{Arg, ArgMatches};
use container::{Finding, Kind, guard};
use serde::Serialize;

use crate::cli::{Entry, flag};
use crate::context::Context;
use crate::error::Error;
use crate::kernel;
use crate::output::{self, json};

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "check",
    about: "tell all that keeps a bundle from being created here",
    operands: "",
    count: (0, Some(0)),
    stops_at_first: false,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    vec![
        flag::file("bundle", "directory of the bundle [default: the current directory]").short('b'),
        flag::choice("format", "text|json", "form of the output [default: text]").short('f'),
    ]
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    // The trial is a process that others may see, as create's is.
    guard::protect_own_binary()?;
    let print = match flag::text(arguments, "format").unwrap_or("text") {
        "text" => text,
        "json" => json,
        _ => return Err(Error::OutputFormat),
    };
    let dir = flag::path(arguments, "bundle").filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or_else(|| Path::new(".").to_owned());
    // The plan warns of what the findings tell with their places.
    log::set_max_level(log::LevelFilter::Error);
    let mut findings = container::check(&context.root()?, &dir, context.systemd_cgroup);
    for finding in &mut findings {
        finding.message = kernel::explained(std::mem::take(&mut finding.message));
    }
    output::print(&print(&dir, &findings)?)?;
    Ok(u8::from(findings.iter().any(|finding| finding.kind != Kind::Warning)))
}

/// As compilers write it, so that editors can jump.
fn text(dir: &Path, findings: &[Finding]) -> Result<String, Error> {
    let file = dir.join("config.json");
    let line = |finding: &Finding| {
        let place = finding.line.map_or(String::new(), |line| format!("{line}:"));
        let path = match finding.path.as_str() {
            "" => String::new(),
            path => format!("{path}: "),
        };
        let kind = match finding.kind {
            Kind::Violation => "",
            Kind::Host => "this host: ",
            Kind::Warning => "warning: ",
        };
        format!("{}:{place} {path}{kind}{}\n", file.display(), finding.message)
    };
    Ok(findings.iter().map(line).collect())
}

#[derive(Serialize)]
struct Item<'a> {
    path: &'a str,
    line: Option<usize>,
    kind: &'static str,
    message: &'a str,
}

fn json(_dir: &Path, findings: &[Finding]) -> Result<String, Error> {
    let items = findings.iter().map(|finding| Item {
        path: &finding.path,
        line: finding.line,
        kind: match finding.kind {
            Kind::Violation => "violation",
            Kind::Host => "host",
            Kind::Warning => "warning",
        },
        message: &finding.message,
    });
    Ok(json::compact("findings", &items.collect::<Vec<_>>())? + "\n")
}
