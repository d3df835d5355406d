//! The device rules of a container, as data: those of the spec, then those every container gets.

pub(crate) mod filter;
pub(crate) mod list;
pub(crate) mod program;

use std::fmt;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};

use crate::{Error, Result};

/// Allows or denies. A later rule overrides an earlier one, access by access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub allow: bool,
    pub target: Target,
}

/// Which accesses to which nodes a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Every access to every node, whatever numbers and accesses the rule names beside.
    All,
    /// Some accesses to the nodes of one kind.
    Nodes(Nodes),
}

/// Accesses to nodes of one kind; a number that is absent stands for all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nodes {
    pub kind: Kind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

/// The two kinds of device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Char,
}

/// A set of accesses, in the kernel's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access(pub u8);

impl Access {
    pub const MKNOD: Access = Access(1);
    pub const READ: Access = Access(2);
    pub const WRITE: Access = Access(4);
    pub const ALL: Access = Access(7);

    /// The letters of the spec and of the v1 files.
    const LETTERS: [(char, Access); 3] =
        [('r', Access::READ), ('w', Access::WRITE), ('m', Access::MKNOD)];

    fn parse(letters: &str) -> Option<Access> {
        letters.chars().try_fold(Access(0), |access, letter| {
            let (_, one) = Access::LETTERS.iter().find(|(known, _)| *known == letter)?;
            Some(Access(access.0 | one.0))
        })
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn and(self, other: Access) -> Access {
        Access(self.0 & other.0)
    }

    pub fn or(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    pub fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, one) in Access::LETTERS {
            if !self.and(one).is_empty() {
                write!(out, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// The rules for a container. What `resources` says comes first, so that its last word on the
/// devices below is overridden: runc does so, and engines rely on it.
pub(crate) fn rules(resources: Option<&LinuxResources>) -> Result<Vec<Rule>> {
    let given = resources.and_then(|resources| resources.devices().as_ref());
    let mut errors = Vec::new();
    let mut rules = Vec::new();
    for (index, rule) in given.into_iter().flatten().enumerate() {
        match parse(index, rule) {
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(error),
        }
    }
    rules.extend(defaults());
    Error::all(errors).map(|()| rules)
}

/// Nodes may be made of all devices (which alone opens nothing), and the harmless ones be used.
fn defaults() -> impl Iterator<Item = Rule> {
    let node = |kind, major, minor, access| Rule {
        allow: true,
        target: Target::Nodes(Nodes { kind, major, minor, access }),
    };
    // null, zero, full, random, urandom; tty, ptmx; all of /dev/pts.
    let used = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(2)),
        (136, None),
    ];
    [Kind::Char, Kind::Block]
        .into_iter()
        .map(move |kind| node(kind, None, None, Access::MKNOD))
        .chain(
            used.into_iter()
                .map(move |(major, minor)| node(Kind::Char, Some(major), minor, Access::ALL)),
        )
}

/// Parses one rule of the spec.
fn parse(index: usize, rule: &LinuxDeviceCgroup) -> Result<Rule> {
    let invalid = |field, value: String, reason| Error::Invalid {
        field: format!("devices[{index}].{field}"),
        value,
        reason,
    };
    let letters = rule.access().as_deref().unwrap_or_default();
    let access = match Access::parse(letters) {
        Some(access) if !access.is_empty() => access,
        _ => return Err(invalid("access", letters.into(), "is not made of r, w and m")),
    };
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A => return Ok(Rule { allow: rule.allow(), target: Target::All }),
        LinuxDeviceType::B => Kind::Block,
        LinuxDeviceType::C => Kind::Char,
        other => return Err(invalid("type", other.as_str().into(), "is not a, b or c")),
    };
    let number = |field, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(invalid(field, value.to_string(), "is not a device number")),
        },
    };
    let (major, minor) = (number("major", rule.major())?, number("minor", rule.minor())?);
    Ok(Rule { allow: rule.allow(), target: Target::Nodes(Nodes { kind, major, minor, access }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Result<Vec<Rule>> {
        let resources = format!(r#"{{"devices":[{json}]}}"#);
        super::rules(Some(&serde_json::from_str(&resources).unwrap()))
    }

    #[test]
    fn the_spec_comes_first_then_what_every_container_gets() {
        let parsed = rules(
            r#"{"allow":false,"access":"rwm"},
               {"allow":true,"type":"c","major":10,"minor":-1,"access":"mr"}"#,
        )
        .unwrap();
        assert_eq!(parsed[0], Rule { allow: false, target: Target::All });
        let access = Access::MKNOD.or(Access::READ);
        let nodes = Nodes { kind: Kind::Char, major: Some(10), minor: None, access };
        assert_eq!(parsed[1], Rule { allow: true, target: Target::Nodes(nodes) });
        assert_eq!(parsed[2..], super::rules(None).unwrap());
        assert_eq!(parsed.len(), 12);
    }

    #[test]
    fn a_rule_that_is_not_one_is_named() {
        for (json, field) in [
            (r#"{"allow":true}"#, "devices[0].access"),
            (r#"{"allow":true,"access":""}"#, "devices[0].access"),
            (r#"{"allow":true,"access":"rx"}"#, "devices[0].access"),
            (r#"{"access":"r"},{"type":"p","access":"r"}"#, "devices[1].type"),
            (r#"{"type":"u","access":"r"}"#, "devices[0].type"),
            (r#"{"type":"c","major":-2,"access":"r"}"#, "devices[0].major"),
            (r#"{"type":"c","minor":4294967296,"access":"r"}"#, "devices[0].minor"),
        ] {
            match rules(json) {
                Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{json}: {other:?}"),
            }
        }
    }
}
