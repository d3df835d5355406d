//! Capabilities: their names, and a process' sets with some added and some dropped.

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// All of Linux 5.9 and later, by number.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Changes to the default capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    add: Vec<&'static str>,
    drop: Vec<&'static str>,
}

impl Capabilities {
    /// Reads the options' values: names with or without `CAP_`, in any case, and `ALL`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is none.
    pub fn parse(add: &[String], drop: &[String]) -> Result<Self> {
        Ok(Self { add: names("--cap-add", add)?, drop: names("--cap-drop", drop)? })
    }

    /// What becomes of a set. `ALL` is weaker than a name: what is named stays or goes.
    fn applied(&self, set: &[&'static str]) -> Vec<String> {
        let all_dropped = self.drop.len() == ALL.len();
        let stays = |name: &&&str| match all_dropped {
            true => self.add.contains(*name),
            false => !self.drop.contains(*name),
        };
        let new = self.add.iter().filter(|added| !set.contains(added));
        set.iter().chain(new).filter(stays).map(|name| (*name).to_owned()).collect()
    }

    /// The sets as config.json has them, and the bounding one for who needs to know it.
    #[must_use]
    pub fn sets(&self, default: &[&'static str]) -> (Value, Vec<String>) {
        let set = self.applied(default);
        let value = json!({ "bounding": set, "effective": set, "permitted": set, "ambient": set });
        (value, set)
    }
}

fn names(option: &'static str, texts: &[String]) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for text in texts.iter().flat_map(|text| text.split(',')) {
        let upper = text.to_ascii_uppercase();
        if upper == "ALL" {
            found.extend(ALL);
            continue;
        }
        let known =
            ALL.iter().find(|name| **name == upper || name.strip_prefix("CAP_") == Some(&upper));
        found.push(*known.ok_or_else(|| Error::Argument {
            option,
            reason: format!("'{}' is no capability", text.escape_debug()),
        })?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(add: &[&str], drop: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Capabilities::parse(&own(add), &own(drop))
            .unwrap()
            .applied(&["CAP_KILL", "CAP_NET_BIND_SERVICE"])
    }

    #[test]
    fn changes() {
        assert_eq!(changed(&[], &[]), ["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        assert_eq!(changed(&["chown"], &["kill"]), ["CAP_NET_BIND_SERVICE", "CAP_CHOWN"]);
        assert_eq!(changed(&["CAP_KILL"], &[]), ["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        assert_eq!(changed(&["net_raw,Sys_Admin"], &["all"]), ["CAP_NET_RAW", "CAP_SYS_ADMIN"]);
        assert_eq!(changed(&[], &["ALL"]), [""; 0]);
        assert_eq!(changed(&["ALL"], &[]).len(), 41);
        assert_eq!(changed(&["ALL"], &["sys_admin"]).len(), 40);
        let error = Capabilities::parse(&["CAP_CAP_KILL".to_owned()], &[]).unwrap_err();
        assert!(error.to_string().contains("--cap-add: 'CAP_CAP_KILL'"), "{error}");
    }
}
