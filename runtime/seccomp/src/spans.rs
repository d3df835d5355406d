//! Third pass: the number space of one audit architecture, cut where the verdict changes.

use crate::architecture::X32_BIT;
use crate::arguments::{self, Layout};
use crate::assembly::{Assembler, Jump, Label, NUMBER};
use crate::profile::{ENOSYS, KILL_THREAD, Profile};
use crate::rules::{self, Entry, Verdict};
use crate::search::{self, Span, Target};
use crate::{Architecture, Error};

/// What is decided under one AUDIT_ARCH_* value: one architecture, or x86_64 and x32.
pub(crate) struct Group {
    audit: u32,
    sections: Vec<Section>,
    /// Sorted by start, the first at 0.
    zones: Vec<Zone>,
}

/// The entries of one architecture.
struct Section {
    entries: Vec<Entry>,
    layout: Layout,
}

/// A stretch of numbers in which either the rules decide, or nothing but `forced`.
#[derive(Clone, Copy)]
struct Zone {
    start: u32,
    forced: Option<u32>,
}

/// The groups of a profile, the native one first.
pub(crate) fn groups(profile: &Profile) -> Result<Vec<Group>, Error> {
    let mut errors = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for architecture in &profile.architectures {
        let audit = architecture.audit();
        if groups.iter().any(|group| group.audit == audit) {
            continue;
        }
        let members = profile.architectures.iter().copied().filter(|a| a.audit() == audit);
        let members = members.collect::<Vec<_>>();
        let mut sections = Vec::with_capacity(members.len());
        for member in &members {
            let layout = Layout { wide: member.wide(), big_endian: member.big_endian() };
            match rules::entries(profile, *member) {
                Ok(entries) => sections.push(Section { entries, layout }),
                Err(error) => errors.push(error),
            }
        }
        // x32's numbers are the higher ones.
        sections.sort_by_key(|section| section.entries.first().map(|entry| entry.number));
        groups.push(Group { audit, sections, zones: zones(profile, &members) });
    }
    Error::all(errors).map(|()| groups)
}

/// Where the rules do not decide: numbers over the highest that the profile names, which a
/// younger kernel may give to a new system call, and the numbers of an ABI that is left out.
fn zones(profile: &Profile, members: &[Architecture]) -> Vec<Zone> {
    let highest = |member: Architecture| {
        let asked = profile.answer_younger && members.contains(&member);
        if asked { rules::highest(profile, member) } else { None }
    };
    let mut zones = vec![Zone { start: 0, forced: None }];
    let mut push = |start, forced| zones.push(Zone { start, forced });
    match members[0] {
        Architecture::X86_64 | Architecture::X32 => {
            let native = highest(Architecture::X86_64);
            let x32 = highest(Architecture::X32);
            let outside = |number: u32| {
                let over = if number & X32_BIT == 0 { native } else { x32 };
                if over.is_some_and(|over| number > over) {
                    return Some(ENOSYS);
                }
                let here = match number {
                    // A tracer sets -1 to skip a call.
                    u32::MAX => true,
                    0..X32_BIT => members.contains(&Architecture::X86_64),
                    _ => members.contains(&Architecture::X32),
                };
                (!here).then_some(KILL_THREAD)
            };
            let mut starts = vec![0, X32_BIT, 1 << 31, X32_BIT | 1 << 31, u32::MAX];
            starts.extend(native.map(|over| over + 1));
            starts.extend(x32.map(|over| over + 1));
            starts.sort_unstable();
            zones = starts
                .iter()
                .map(|start| Zone { start: *start, forced: outside(*start) })
                .collect();
        }
        member => {
            if let Some(over) = highest(member) {
                if matches!(member, Architecture::S390 | Architecture::S390X) {
                    // An unknown system call with a large number arrives as number 0.
                    push(0, Some(ENOSYS));
                    push(1, None);
                }
                push(over + 1, Some(ENOSYS));
            }
        }
    }
    zones
}

impl Group {
    /// Writes the group's code. The accumulator holds the architecture; if it is another, the
    /// code goes on at `other`.
    pub(crate) fn assemble(
        &self,
        assembler: &mut Assembler,
        default_action: u32,
        other: Label,
    ) -> Label {
        let spans = self.spans(assembler, default_action);
        let search = search::assemble(assembler, &spans);
        let here = assembler.load(NUMBER, search);
        assembler.branch(Jump::Equal, self.audit, here, other)
    }

    /// Lays the entries over the zones, and writes the code that arguments need.
    fn spans(&self, assembler: &mut Assembler, default_action: u32) -> Vec<Span> {
        let default = Target::Return(default_action);
        let mut spans = Vec::new();
        let entries = self
            .sections
            .iter()
            .flat_map(|section| section.entries.iter().map(|entry| (entry, section.layout)));
        let mut entries = entries.peekable();
        for (index, zone) in self.zones.iter().enumerate() {
            let end = self.zones.get(index + 1).map(|next| next.start);
            let background = zone.forced.map_or(default, Target::Return);
            search::append(&mut spans, zone.start, background);
            let inside = |entry: &Entry| end.is_none_or(|end| entry.number < end);
            while let Some((entry, layout)) = entries.next_if(|(entry, _)| inside(entry)) {
                if zone.forced.is_some() {
                    continue;
                }
                let target = match &entry.verdict {
                    Verdict::Always(action) => Target::Return(*action),
                    Verdict::ByArguments(rules) => {
                        Target::Code(arguments::assemble(assembler, rules, default_action, layout))
                    }
                };
                search::append(&mut spans, entry.number, target);
                search::append(&mut spans, entry.number + 1, background);
            }
        }
        spans
    }
}
