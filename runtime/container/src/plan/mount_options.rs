//! The options of a mount, as runc understands them, turned into what the mount API takes.

use sys::mount::{SetAttr, attr};

/// `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE` and `MS_SHARED` of mount(2).
pub(crate) mod propagation {
    pub const UNBINDABLE: u64 = 1 << 17;
    pub const PRIVATE: u64 = 1 << 18;
    pub const SLAVE: u64 = 1 << 19;
    pub const SHARED: u64 = 1 << 20;
}

/// One mount's options, sorted by what they act on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// A part of the host's tree appears at the destination.
    pub bind: bool,
    /// With the mounts below it.
    pub recursive: bool,
    /// Attributes of the mount itself.
    pub top: SetAttr,
    /// Attributes of the mount and all below it (`rro` and the like).
    pub all: SetAttr,
    /// Propagation changes, in order.
    pub propagation: Vec<SetAttr>,
    /// Flags of the superblock.
    pub superblock: Vec<&'static str>,
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
    /// `ro`, `rw`: of the mount and of a new superblock.
    ReadOnly(bool),
    Propagation(u64),
    Bind,
    CopyUp,
    Nothing,
    Unsupported,
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
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
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
    "rexec",
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
    use Effect::{Bind, CopyUp, Nothing, Propagation, ReadOnly, Superblock, Unsupported};
    Some(match word {
        "defaults" | "silent" | "loud" => Nothing,
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
        "idmap" | "ridmap" | "remount" => Unsupported,
        _ => return attribute(word),
    })
}

/// Sorts the words; the error is the word that can't take effect.
pub(crate) fn parse(words: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    for word in words {
        if let Some(effect) = effect(word) {
            apply(&mut options, word, effect)?;
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
    Ok(options)
}

fn apply(options: &mut Options, word: &str, effect: Effect) -> Result<(), String> {
    match effect {
        Effect::Nothing => {}
        Effect::Unsupported => return Err(word.to_owned()),
        Effect::CopyUp => options.copy_up = true,
        Effect::Bind => {
            options.bind = true;
            options.recursive = word == "rbind";
        }
        Effect::ReadOnly(on) => {
            options.superblock.push(if on { "ro" } else { "rw" });
            change(
                &mut options.top,
                if on { Effect::Set(attr::RDONLY) } else { Effect::Clear(attr::RDONLY) },
            );
        }
        Effect::Superblock(flag) => options.superblock.push(flag),
        Effect::Propagation(propagation) => options.propagation.push(SetAttr {
            propagation,
            recursive: word.starts_with('r'),
            ..SetAttr::default()
        }),
        attribute => change(&mut options.top, attribute),
    }
    Ok(())
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
        let o = parse(&words("nosuid,strictatime,mode=755,ro,suid,noexec,size=64k")).unwrap();
        assert_eq!(o.top.set, attr::STRICTATIME | attr::RDONLY | attr::NOEXEC);
        assert_eq!(o.top.clear, attr::ATIME | attr::NOSUID);
        assert_eq!(o.superblock, ["ro"]);
        assert_eq!(o.data, ["mode=755", "size=64k"]);
        assert!(!o.bind);
    }

    #[test]
    fn recursive_forms_act_on_all_mounts() {
        let o = parse(&words("rbind,rro,rnosuid,rprivate,slave")).unwrap();
        assert!(o.bind && o.recursive);
        assert_eq!((o.all.set, o.all.recursive), (attr::RDONLY | attr::NOSUID, true));
        let changes: Vec<_> = o.propagation.iter().map(|p| (p.propagation, p.recursive)).collect();
        assert_eq!(changes, [(propagation::PRIVATE, true), (propagation::SLAVE, false)]);
    }

    #[test]
    fn what_can_not_take_effect_is_named() {
        assert_eq!(parse(&words("rw,idmap")), Err("idmap".to_owned()));
    }

    #[test]
    fn the_known_words_are_known() {
        for word in KNOWN {
            assert!(parse(&[(*word).to_owned()]).unwrap().data.is_empty(), "{word}");
        }
    }
}
