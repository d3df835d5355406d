//! `list`: the containers of a root directory.

use std::fs;
use std::io::ErrorKind;

use clap::{Arg, ArgMatches};
use container::{Container, Store};

use crate::cli::{Entry, flag};
use crate::context::Context;
use crate::error::Error;
use crate::output::{self, json, state::State, table};

/// The command's place in the table.
pub const ENTRY: Entry = Entry {
    name: "list",
    about: "list the containers of the given root",
    operands: "",
    count: (0, Some(0)),
    stops_at_first: false,
    flags,
    run,
};

fn flags() -> Vec<Arg> {
    vec![
        flag::choice("format", "table|json", "form of the output")
            .short('f')
            .default_value("table"),
        flag::switch("quiet", "print ids only").short('q'),
    ]
}

fn run(context: &Context, arguments: &ArgMatches) -> Result<u8, Error> {
    if arguments.get_flag("quiet") {
        let line = |container: &Container| Ok(container.id().to_owned() + "\n");
        output::print(&each(context, line)?.concat())?;
        return Ok(0);
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let state = |container: &Container| State::of(container, owner(&passwd, container.owner()));
    let states = each(context, state)?;
    output::print(&match flag::text(arguments, "format") {
        Some("table") => as_table(&states),
        Some("json") => as_json(&states)?,
        _ => return Err(Error::OutputFormat),
    })?;
    Ok(0)
}

/// What is wanted of each container. A root that was named must be there; the default one is made by
/// the first container.
fn each<T: Send>(
    context: &Context,
    of: impl Fn(&Container) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let root = context.root()?;
    match fs::metadata(&root) {
        Err(error) if error.kind() == ErrorKind::NotFound && !context.root_is_given() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::file("open", &root, error)),
        Ok(_) => {}
    }
    Store::new(root).each(of)
}

fn as_table(states: &[State]) -> String {
    let titles = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |state: &State| {
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_owned(),
            state.bundle.clone(),
            state.created.clone(),
            state.owner.clone(),
        ]
    };
    let rows: Vec<_> = std::iter::once(titles).chain(states.iter().map(row)).collect();
    table::render(&rows)
}

fn as_json(states: &[State]) -> Result<String, Error> {
    // Go encodes a list that nothing was ever added to as null.
    let states = Some(states).filter(|states| !states.is_empty());
    Ok(json::compact("list", &states)? + "\n")
}

/// The name of a user, or `#` and the uid.
fn owner(passwd: &str, uid: u32) -> String {
    let wanted = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == wanted).then_some(name)
    });
    name.map_or_else(|| format!("#{uid}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_name_or_a_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/:/bin/sh\n";
        for (uid, name) in [(0, "root"), (1000, "ann"), (100, "#100")] {
            assert_eq!(owner(passwd, uid), name);
        }
    }

    #[test]
    fn no_containers_are_null_and_a_line_of_titles() {
        assert_eq!(as_json(&[]).unwrap(), "null\n");
        assert_eq!(
            as_table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }
}
