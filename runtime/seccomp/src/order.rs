//! In which order several rules for one system call are asked.
//!
//! With a single action the order is no matter. Where rules of different actions overlap, the
//! order is libseccomp's, which does not depend on the profile's: it keeps the conditions as a
//! tree of 32-bit comparisons, in which
//!
//! - a higher argument comes before a lower one,
//! - equality before "less", "less" before "greater",
//! - the narrower comparison before the wider,
//! - and a rule that asks less hides one that begins the same and asks more.

use crate::profile::{Condition, Operator};
use crate::rules::Rule;
use std::cmp::{Ordering, Reverse};

/// Two entries of `syscalls` that ask the same and answer differently.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

/// Sorts rules with conditions into the order in which they are to be asked; rules that can
/// never decide are left out. `wide` conditions have a high half.
pub(crate) fn sort(rules: Vec<Rule>, wide: bool) -> Result<Vec<Rule>, Clash> {
    if let [_] = rules[..] {
        return Ok(rules);
    }
    let paths = rules.iter().map(|rule| path(&rule.conditions, wide)).collect::<Vec<_>>();
    let mut order = Vec::with_capacity(rules.len());
    visit(&rules, &paths, (0..rules.len()).collect(), 0, &mut order)?;
    let mut rules = rules.into_iter().map(Some).collect::<Vec<_>>();
    Ok(order.into_iter().filter_map(|place| rules[place].take()).collect())
}

/// A 32-bit comparison.
#[derive(Clone, Copy, Debug)]
struct Node {
    argument: u8,
    high: bool,
    operator: Operator,
    /// The whole condition is the last node's identity; its high half may be shared.
    mask: u32,
    value: u32,
}

fn path(conditions: &[Condition], wide: bool) -> Vec<Node> {
    let node = |condition: &Condition, high: bool| {
        let shift = if high { 32 } else { 0 };
        Node {
            argument: condition.argument,
            high,
            operator: condition.operator,
            mask: (condition.mask >> shift) as u32,
            value: (condition.value >> shift) as u32,
        }
    };
    let halves: &[bool] = if wide { &[true, false] } else { &[false] };
    let nodes = |condition| halves.iter().map(move |high| node(condition, *high));
    conditions.iter().flat_map(nodes).collect()
}

/// Appends the `members`, which are equal up to `depth`, to `order`.
fn visit(
    rules: &[Rule],
    paths: &[Vec<Node>],
    members: Vec<usize>,
    depth: usize,
    order: &mut Vec<usize>,
) -> Result<(), Clash> {
    let leaf = members.iter().copied().find(|member| paths[*member].len() == depth);
    if let Some(leaf) = leaf {
        for member in members {
            let same = paths[member].len() == depth;
            // libseccomp takes a longer rule after the shorter in silence, but not before it.
            if rules[member].action != rules[leaf].action && (same || member < leaf) {
                let (first, second) = (member.min(leaf), member.max(leaf));
                return Err(Clash { first: rules[first].index, second: rules[second].index });
            }
        }
        order.push(leaf);
        return Ok(());
    }
    let mut groups: Vec<(Node, Vec<usize>)> = Vec::new();
    for member in members {
        let node = paths[member][depth];
        match groups.iter_mut().find(|group| node.shares(&group.0)) {
            Some(group) => group.1.push(member),
            None => groups.push((node, vec![member])),
        }
    }
    groups.sort_by(|a, b| a.0.compare(&b.0));
    groups.into_iter().try_for_each(|group| visit(rules, paths, group.1, depth + 1, order))
}

impl Node {
    /// Whether both make the same comparison, and what follows is the same question. A high half
    /// is the same comparison for all of "less" and "greater".
    fn shares(&self, other: &Node) -> bool {
        let operator =
            if self.high { self.shape() == other.shape() } else { self.operator == other.operator };
        operator
            && (self.argument, self.high, self.mask, self.value)
                == (other.argument, other.high, other.mask, other.value)
    }

    /// The comparison of the high halves.
    fn shape(&self) -> u8 {
        match self.operator {
            Operator::Equal | Operator::NotEqual => 0,
            Operator::Masked => 1,
            _ => 2,
        }
    }

    /// Which comparison comes first; equal ones stay in the profile's order.
    fn compare(&self, other: &Node) -> Ordering {
        Reverse((self.argument, self.high)).cmp(&Reverse((other.argument, other.high))).then_with(
            || match self.class().cmp(&other.class()) {
                Ordering::Equal if self.class() == 1 => self.value.cmp(&other.value),
                Ordering::Equal => other.value.cmp(&self.value),
                different => different,
            },
        )
    }

    fn class(&self) -> u8 {
        match self.operator {
            Operator::Equal | Operator::NotEqual | Operator::Masked => 0,
            Operator::Less | Operator::LessOrEqual => 1,
            Operator::Greater | Operator::GreaterOrEqual => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(index: usize, action: u32, conditions: &[(u8, Operator, u64)]) -> Rule {
        let condition = |(argument, operator, value): &(u8, Operator, u64)| Condition {
            argument: *argument,
            operator: *operator,
            mask: u64::MAX,
            value: *value,
        };
        Rule { index, action, conditions: conditions.iter().map(condition).collect() }
    }

    fn sorted(rules: &[Rule]) -> Result<Vec<usize>, Clash> {
        Ok(sort(rules.to_vec(), true)?.iter().map(|rule| rule.index).collect())
    }

    #[test]
    fn the_order_does_not_depend_on_the_profiles() {
        use Operator::{Equal, Greater, Less};
        let rules = [
            rule(0, 0, &[(1, Greater, 9)]),
            rule(1, 1, &[(0, Equal, 7)]),
            rule(2, 2, &[(0, Less, 3)]),
            rule(3, 3, &[(0, Less, 5)]),
            rule(4, 4, &[(0, Greater, 5)]),
            rule(5, 5, &[(0, Greater, 3)]),
        ];
        for turn in 0..rules.len() {
            let mut turned = rules.to_vec();
            turned.rotate_left(turn);
            assert_eq!(sorted(&turned), Ok(vec![0, 1, 2, 3, 4, 5]), "turned by {turn}");
        }
    }

    #[test]
    fn a_rule_that_asks_less_hides_one_that_asks_more() {
        use Operator::Equal;
        let short = rule(0, 1, &[(0, Equal, 1)]);
        let long = |index, action| rule(index, action, &[(0, Equal, 1), (1, Equal, 2)]);
        assert_eq!(sorted(&[short.clone(), long(1, 2)]), Ok(vec![0]));
        assert_eq!(sorted(&[long(3, 1), short.clone()]), Ok(vec![0]));
        assert_eq!(sorted(&[long(3, 2), short]), Err(Clash { first: 3, second: 0 }));
        assert_eq!(sorted(&[long(3, 2), long(4, 3)]), Err(Clash { first: 3, second: 4 }));
        assert_eq!(sorted(&[long(3, 2), long(4, 2)]), Ok(vec![3]));
    }
}
