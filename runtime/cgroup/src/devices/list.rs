//! Turns device rules into writes to the files of v1's devices controller.
//!
//! The controller knows a default and a list of exceptions to it, no order. So the rules are folded
//! into that form, and what it can't express is an error rather than a rule that does nothing.

use super::{Access, Kind, Nodes, Rule, Target};
use crate::{Error, Result};

/// What one cgroup of the devices controller allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct List {
    allow_by_default: bool,
    exceptions: Vec<Nodes>,
}

/// The writes that lead from one list to another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    /// File and value.
    pub writes: Vec<(&'static str, String)>,
    /// Whether, on the way, more or less is allowed than by either list.
    pub disruptive: bool,
}

impl List {
    /// Folds the rules.
    ///
    /// # Errors
    ///
    /// When a rule takes a part out of an earlier, wider one: the controller has no such thing.
    pub fn fold(rules: &[Rule]) -> Result<List> {
        let mut list = List { allow_by_default: false, exceptions: Vec::new() };
        for rule in rules {
            match rule.target {
                Target::All => {
                    list = List { allow_by_default: rule.allow, exceptions: Vec::new() };
                }
                Target::Nodes(nodes) if rule.allow == list.allow_by_default => {
                    list.take_back(nodes)?;
                }
                Target::Nodes(nodes) => list.except(nodes),
            }
        }
        Ok(list)
    }

    /// Parses `devices.list`. In an allowing cgroup the kernel does not show the exceptions.
    ///
    /// The error is the line that is not of its form.
    pub fn parse(text: &str) -> std::result::Result<List, String> {
        let mut list = List { allow_by_default: false, exceptions: Vec::new() };
        for line in text.lines() {
            if line.starts_with('a') {
                list.allow_by_default = true;
            } else {
                list.except(parse(line).ok_or(line)?);
            }
        }
        Ok(list)
    }

    fn except(&mut self, nodes: Nodes) {
        match self.exceptions.iter_mut().find(|one| one.same_nodes(nodes)) {
            Some(one) => one.access = one.access.or(nodes.access),
            None => self.exceptions.push(nodes),
        }
    }

    fn take_back(&mut self, nodes: Nodes) -> Result<()> {
        for one in &mut self.exceptions {
            if one.kind != nodes.kind || one.access.and(nodes.access).is_empty() {
                continue;
            }
            if nodes.cover(one) {
                one.access = one.access.without(nodes.access);
            } else if nodes.meet(one) {
                return Err(Error::Invalid {
                    field: "devices".into(),
                    value: nodes.line(),
                    reason: "takes a part out of a wider rule, which cgroup v1 can't",
                });
            }
        }
        self.exceptions.retain(|one| !one.access.is_empty());
        Ok(())
    }

    /// The exception for exactly these nodes.
    fn access_of(&self, nodes: Nodes) -> Access {
        self.exceptions.iter().find(|one| one.same_nodes(nodes)).map_or(Access(0), |one| one.access)
    }

    /// What is allowed where the rest is denied; none where the rest is allowed.
    pub fn allowed(&self) -> Option<&[Nodes]> {
        (!self.allow_by_default).then_some(&self.exceptions)
    }

    /// The writes for a fresh cgroup, which has its parent's list, whatever that is.
    pub fn writes(&self) -> Vec<(&'static str, String)> {
        let mut writes = vec![(file(self.allow_by_default), "a".to_owned())];
        let file = file(!self.allow_by_default);
        writes.extend(self.exceptions.iter().map(|one| (file, one.line())));
        writes
    }

    /// The writes for a cgroup in use. Between two lists of allowed devices, only what differs is
    /// touched: nothing that both allow is denied on the way, and nothing that neither allows is
    /// allowed.
    pub fn transition(&self, now: &List) -> Transition {
        if now.allow_by_default || self.allow_by_default {
            return Transition { writes: self.writes(), disruptive: true };
        }
        let mut writes = Vec::new();
        for one in &now.exceptions {
            let access = one.access.without(self.access_of(*one));
            if !access.is_empty() {
                writes.push((file(false), Nodes { access, ..*one }.line()));
            }
        }
        for one in &self.exceptions {
            let access = one.access.without(now.access_of(*one));
            if !access.is_empty() {
                writes.push((file(true), Nodes { access, ..*one }.line()));
            }
        }
        Transition { writes, disruptive: false }
    }
}

impl Nodes {
    fn same_nodes(&self, other: Nodes) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    /// Whether every node of `other` is one of these, their kinds being the same.
    fn cover(&self, other: &Nodes) -> bool {
        let covers = |mine: Option<u32>, theirs| mine.is_none() || mine == theirs;
        covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// Whether some node is in both, their kinds being the same.
    fn meet(&self, other: &Nodes) -> bool {
        let meets = |mine: Option<u32>, theirs: Option<u32>| {
            mine.is_none() || theirs.is_none() || mine == theirs
        };
        meets(self.major, other.major) && meets(self.minor, other.minor)
    }

    /// As `devices.allow` reads it: "c 136:* rwm".
    fn line(&self) -> String {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
        format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

fn file(allow: bool) -> &'static str {
    if allow { "devices.allow" } else { "devices.deny" }
}

/// Parses "c 136:* rwm".
fn parse(line: &str) -> Option<Nodes> {
    let mut fields = line.split([' ', ':']);
    let kind = match fields.next()? {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let number = |field: &str| match field {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let (major, minor) = (number(fields.next()?)?, number(fields.next()?)?);
    let access = Access::parse(fields.next()?).filter(|access| !access.is_empty())?;
    fields.next().is_none().then_some(Nodes { kind, major, minor, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(line: &str) -> Rule {
        let (word, nodes) = line.split_once(' ').unwrap();
        let target = if nodes == "a" { Target::All } else { Target::Nodes(parse(nodes).unwrap()) };
        Rule { allow: word == "allow", target }
    }

    fn rules(lines: &[&str]) -> Vec<Rule> {
        lines.iter().map(|line| rule(line)).collect()
    }

    fn writes(lines: &[&str]) -> Vec<String> {
        let list = List::fold(&rules(lines)).unwrap();
        list.writes().iter().map(|(file, value)| format!("{file} {value}")).collect()
    }

    #[test]
    fn folds_rules_into_a_default_and_exceptions() {
        for (lines, expected) in [
            (&[][..], &["devices.deny a"][..]),
            (&["allow a"], &["devices.allow a"]),
            (&["allow a", "deny b 8:* rw"], &["devices.allow a", "devices.deny b 8:* rw"]),
            // What comes before a rule for everything does not count.
            (
                &["allow b 8:0 r", "deny a", "allow c 1:3 m"],
                &["devices.deny a", "devices.allow c 1:3 m"],
            ),
            // The same nodes are one exception.
            (&["allow c 1:3 r", "allow c 1:3 w"], &["devices.deny a", "devices.allow c 1:3 rw"]),
            // Taken back: in part, in full, and by a wider rule.
            (&["allow c 1:3 rwm", "deny c 1:3 w"], &["devices.deny a", "devices.allow c 1:3 rm"]),
            (&["allow c 1:3 rwm", "deny c 1:3 rwm"], &["devices.deny a"]),
            (&["allow c 1:3 rwm", "deny c *:* w"], &["devices.deny a", "devices.allow c 1:3 rm"]),
            // Another kind of node is another node.
            (&["allow c 1:3 r", "deny b 1:3 r"], &["devices.deny a", "devices.allow c 1:3 r"]),
        ] {
            assert_eq!(writes(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_part_of_a_wider_rule_is_refused() {
        for lines in [
            ["allow c 1:* rw", "deny c 1:3 w"],
            ["allow c *:3 rw", "deny c 1:* w"],
            ["allow c *:* rw", "deny c 1:3 rw"],
        ] {
            assert!(matches!(List::fold(&rules(&lines)), Err(Error::Invalid { .. })), "{lines:?}");
        }
        // Accesses that the wider rule does not give are nothing to take.
        assert!(List::fold(&rules(&["allow c 1:* r", "deny c 1:3 w"])).is_ok());
    }

    #[test]
    fn parses_what_the_kernel_lists() {
        let text = "c *:* m\nb 8:0 rwm\nc 136:* rwm\n";
        let list = List::parse(text).unwrap();
        assert_eq!(
            list.exceptions.iter().map(Nodes::line).collect::<Vec<_>>().join("\n") + "\n",
            text
        );
        assert!(!list.allow_by_default);
        assert!(List::parse("a *:* rwm\n").unwrap().allow_by_default);
        for line in ["c 1:3", "x 1:3 r", "c 1:z r", "c 1:3 q", "c 1:3 r x"] {
            assert_eq!(List::parse(line).unwrap_err(), line);
        }
    }

    #[test]
    fn a_transition_touches_only_what_differs() {
        let now = List::parse("c 1:3 rwm\nc 1:5 rwm\nb 8:0 r\n").unwrap();
        let new =
            List::fold(&rules(&["allow c 1:3 rwm", "allow c 1:5 r", "allow c 1:7 rw"])).unwrap();
        let transition = new.transition(&now);
        let expected = [
            ("devices.deny", "c 1:5 wm".to_owned()),
            ("devices.deny", "b 8:0 r".to_owned()),
            ("devices.allow", "c 1:7 rw".to_owned()),
        ];
        assert_eq!(transition.writes, expected);
        assert!(!transition.disruptive);
        assert_eq!(new.transition(&new).writes, []);
    }

    #[test]
    fn a_change_of_the_default_is_disruptive() {
        let allowing = List::parse("a *:* rwm\n").unwrap();
        let denying = List::parse("c 1:3 rwm\n").unwrap();
        for (from, to) in [(&allowing, &denying), (&denying, &allowing), (&allowing, &allowing)] {
            assert!(to.transition(from).disruptive);
        }
    }
}
