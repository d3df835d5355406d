//! The options of a mount, as runc understands them, turned into what the mount API takes.

use sys::mount::{SetAttr, attr};

/// `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE` and `MS_SHARED` of mount(2).
pub(crate) mod propagation {
    pub const UNBINDABLE: u64 = 1 << 17;
    pub const PRIVATE: u64 = 1 << 18;
    pub const SLAVE: u64 = 1 << 19;
    pub const SHARED: u64 = 1 << 20;
}

/// Flags of mount(2) that fsconfig(2) has no word for.
pub(crate) mod old {
    /// `MS_SILENT`
    pub const SILENT: u64 = 1 << 15;
    /// `MS_I_VERSION`
    pub const I_VERSION: u64 = 1 << 23;
}

/// One mount's options, sorted by what they act on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// A part of the host's tree appears at the destination.
    pub bind: bool,
    /// With the mounts below it.
    pub recursive: bool,
    /// Nothing is mounted: what is at the destination gets these options.
    pub remount: bool,
    /// Ids are translated: of the mounts below too?
    pub idmap: Option<bool>,
    /// Attributes of the mount itself.
    pub top: SetAttr,
    /// Some word spoke of `top`, even if only to clear what was not set.
    pub top_given: bool,
    /// Attributes of the mount and all below it (`rro` and the like).
    pub all: SetAttr,
    /// Propagation changes, in order.
    pub propagation: Vec<SetAttr>,
    /// Flags of the superblock, of which a bind mount has none of its own.
    pub superblock: Vec<&'static str>,
    /// More of them, see [`old`].
    pub old: u64,
    /// A new tmpfs gets a copy of what it covers.
    pub copy_up: bool,
    /// What only the file system understands.
    pub data: Vec<String>,
}

/// What a word of the options does.
enum Effect {
    Set(u64),
    Clear(u64),
    Atime(u64),
    Superblock(&'static str),
    Old(u64, bool),
    /// `ro`, `rw`: of the mount and of a new superblock.
    ReadOnly(bool),
    Propagation(u64),
    Bind,
    Remount,
    IdMap,
    CopyUp,
    Nothing,
}

/// The words that are not passed on to the file system, for `features`.
pub const KNOWN: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// What is the same with and without the `r` of the recursive form.
fn attribute(word: &str) -> Option<Effect> {
    use Effect::{Atime, Clear, Set};
    Some(match word {
        "suid" => Clear(attr::NOSUID),
        "nosuid" => Set(attr::NOSUID),
        "dev" => Clear(attr::NODEV),
        "nodev" => Set(attr::NODEV),
        "exec" => Clear(attr::NOEXEC),
        "noexec" => Set(attr::NOEXEC),
        "diratime" => Clear(attr::NODIRATIME),
        "nodiratime" => Set(attr::NODIRATIME),
        "symfollow" => Clear(attr::NOSYMFOLLOW),
        "nosymfollow" => Set(attr::NOSYMFOLLOW),
        // relatime is the kernel's default: what negates another mode goes back to it.
        "atime" | "relatime" | "nostrictatime" => Atime(0),
        "noatime" => Atime(attr::NOATIME),
        "strictatime" | "norelatime" => Atime(attr::STRICTATIME),
        _ => return None,
    })
}

fn effect(word: &str) -> Option<Effect> {
    use Effect::{Bind, CopyUp, IdMap, Nothing, Old, Propagation, ReadOnly, Remount, Superblock};
    Some(match word {
        "defaults" => Nothing,
        "silent" => Old(old::SILENT, true),
        "loud" => Old(old::SILENT, false),
        "iversion" => Old(old::I_VERSION, true),
        "noiversion" => Old(old::I_VERSION, false),
        "ro" => ReadOnly(true),
        "rw" => ReadOnly(false),
        "bind" | "rbind" => Bind,
        "sync" => Superblock("sync"),
        "async" => Superblock("async"),
        "dirsync" => Superblock("dirsync"),
        "lazytime" => Superblock("lazytime"),
        "nolazytime" => Superblock("nolazytime"),
        "mand" => Superblock("mand"),
        "nomand" => Superblock("nomand"),
        "private" | "rprivate" => Propagation(propagation::PRIVATE),
        "slave" | "rslave" => Propagation(propagation::SLAVE),
        "shared" | "rshared" => Propagation(propagation::SHARED),
        "unbindable" | "runbindable" => Propagation(propagation::UNBINDABLE),
        "tmpcopyup" => CopyUp,
        "idmap" | "ridmap" => IdMap,
        "remount" => Remount,
        _ => return attribute(word),
    })
}

/// Sorts the words. What is not known is the file system's.
pub(crate) fn parse(words: &[String]) -> Options {
    let mut options = Options::default();
    for word in words {
        if let Some(effect) = effect(word) {
            apply(&mut options, word, effect);
            continue;
        }
        match word.strip_prefix('r').and_then(|rest| match rest {
            "ro" => Some(Effect::Set(attr::RDONLY)),
            "rw" => Some(Effect::Clear(attr::RDONLY)),
            _ => attribute(rest),
        }) {
            Some(effect) => {
                options.all.recursive = true;
                change(&mut options.all, effect);
            }
            None => options.data.push(word.clone()),
        }
    }
    options
}

fn apply(options: &mut Options, word: &str, effect: Effect) {
    match effect {
        Effect::Nothing => {}
        Effect::CopyUp => options.copy_up = true,
        Effect::Remount => options.remount = true,
        Effect::IdMap => options.idmap = Some(word == "ridmap"),
        Effect::Bind => {
            options.bind = true;
            options.recursive = word == "rbind";
        }
        Effect::ReadOnly(on) => {
            options.superblock.push(if on { "ro" } else { "rw" });
            options.top_given = true;
            change(
                &mut options.top,
                if on { Effect::Set(attr::RDONLY) } else { Effect::Clear(attr::RDONLY) },
            );
        }
        Effect::Superblock(flag) => options.superblock.push(flag),
        Effect::Old(flag, true) => options.old |= flag,
        Effect::Old(flag, false) => options.old &= !flag,
        Effect::Propagation(propagation) => options.propagation.push(SetAttr {
            propagation,
            recursive: word.starts_with('r'),
            ..SetAttr::default()
        }),
        attribute => {
            options.top_given = true;
            change(&mut options.top, attribute);
        }
    }
}

impl Options {
    /// What `top` clears without saying so: options of a bind mount replace those of its source, as in
    /// runc. Access times stay as they are unless some word is about them.
    pub fn implied(&self) -> u64 {
        const TIMES: u64 = attr::ATIME | attr::NODIRATIME;
        let mut all = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        if (self.top.set | self.top.clear) & TIMES != 0 {
            all |= TIMES;
        }
        // A mode of access times is a value of several bits, which only goes as a whole.
        all & !(self.top.set & !attr::ATIME) & !self.top.clear
    }
}

/// A later word wins over an earlier one.
fn change(attr: &mut SetAttr, effect: Effect) {
    match effect {
        Effect::Set(bits) => {
            attr.set |= bits;
            attr.clear &= !bits;
        }
        Effect::Clear(bits) => {
            attr.clear |= bits;
            attr.set &= !bits;
        }
        Effect::Atime(mode) => {
            attr.set = attr.set & !self::attr::ATIME | mode;
            attr.clear |= self::attr::ATIME;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn options_are_sorted_and_the_last_wins() {
        let o = parse(&words("nosuid,strictatime,mode=755,ro,suid,noexec,size=64k"));
        assert_eq!(o.top.set, attr::STRICTATIME | attr::RDONLY | attr::NOEXEC);
        assert_eq!(o.top.clear, attr::ATIME | attr::NOSUID);
        assert_eq!(o.superblock, ["ro"]);
        assert_eq!(o.data, ["mode=755", "size=64k"]);
        assert!(!o.bind);
    }

    #[test]
    fn recursive_forms_act_on_all_mounts() {
        let o = parse(&words("rbind,rro,rnosuid,rprivate,slave"));
        assert!(o.bind && o.recursive);
        assert_eq!((o.all.set, o.all.recursive), (attr::RDONLY | attr::NOSUID, true));
        let changes: Vec<_> = o.propagation.iter().map(|p| (p.propagation, p.recursive)).collect();
        assert_eq!(changes, [(propagation::PRIVATE, true), (propagation::SLAVE, false)]);
    }

    #[test]
    fn options_of_a_bind_replace_those_of_its_source() {
        let flags = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        for (text, given, implied) in [
            ("bind", false, flags),
            ("bind,ro", true, flags & !attr::RDONLY),
            ("bind,rw", true, flags & !attr::RDONLY),
            ("bind,noatime", true, flags | attr::NODIRATIME),
            ("bind,nodiratime", true, flags | attr::ATIME),
        ] {
            let o = parse(&words(text));
            assert_eq!((o.top_given, o.implied()), (given, implied), "{text}");
        }
    }

    #[test]
    fn negations_take_back() {
        assert_eq!(parse(&words("iversion,silent,noiversion")).old, old::SILENT);
        assert_eq!(parse(&words("silent,loud,iversion")).old, old::I_VERSION);
        assert_eq!(parse(&words("ridmap,idmap")).idmap, Some(false));
    }

    #[test]
    fn the_known_words_are_known() {
        for word in KNOWN {
            assert!(parse(&[(*word).to_owned()]).data.is_empty(), "{word}");
        }
    }
}
