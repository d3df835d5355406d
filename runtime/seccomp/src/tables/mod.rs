//! Look-up of system call numbers by name; the data is in `syscalls`.

mod syscalls;

pub(crate) use syscalls::{
    AARCH64, ARM, LOONGARCH64, MIPS, MIPS64, MIPS64N32, PPC, PPC64, RISCV64, S390, S390X, X32, X86,
    X86_64,
};
use syscalls::{COUNT, ENDS, NAMES, NUMBERS};

/// What a cell holds where the architecture lacks the call.
const NONE: u16 = 0xffff;
/// From here on a cell holds one of arm's private calls.
const ARM_PRIVATE_MARK: u16 = 0xf000;
/// Where arm's private calls begin.
const ARM_PRIVATE: u32 = 0x0f_0000;

/// A system call that some architecture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syscall(u16);

impl Syscall {
    /// The call of that name, if any architecture has it.
    pub(crate) fn find(name: &str) -> Option<Syscall> {
        let prefix = prefix(name.as_bytes(), 0, name.len());
        let (mut low, mut high) = (0, COUNT);
        while low < high {
            let middle = low + (high - low) / 2;
            // Most names differ in their first letters, which are one number.
            let order = PREFIXES[middle].cmp(&prefix).then_with(|| name_at(middle).cmp(name));
            match order {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(Syscall(middle as u16)),
            }
        }
        None
    }

    /// The call's number in a column, before the ABI's base is added.
    pub(crate) fn number(self, column: usize) -> Option<u32> {
        match NUMBERS[usize::from(self.0)][column] {
            NONE => None,
            cell if cell >= ARM_PRIVATE_MARK => {
                Some(ARM_PRIVATE + u32::from(cell - ARM_PRIVATE_MARK))
            }
            cell => Some(u32::from(cell)),
        }
    }

    /// How the call is made through socketcall(2) or ipc(2), where those exist.
    pub(crate) fn multiplexed(self) -> Option<Multiplexed> {
        match MULTIPLEXED[usize::from(self.0)] {
            0 => None,
            cell if cell >= IPC_MARK => Some(Multiplexed { through: "ipc", call: cell - IPC_MARK }),
            cell => Some(Multiplexed { through: "socketcall", call: cell }),
        }
    }
}

/// The first letters of each name, in the order of the names.
const PREFIXES: [u64; COUNT] = {
    let mut prefixes = [0; COUNT];
    let (mut index, mut start) = (0, 0);
    while index < COUNT {
        let end = ENDS[index] as usize;
        prefixes[index] = prefix(NAMES.as_bytes(), start, end);
        (index, start) = (index + 1, end);
    }
    prefixes
};

/// The first eight bytes of `text[start..end]` as one number, of which the greater is of the later name.
const fn prefix(text: &[u8], start: usize, end: usize) -> u64 {
    let (mut number, mut at) = (0, 0);
    while at < 8 {
        number <<= 8;
        if start + at < end {
            number |= text[start + at] as u64;
        }
        at += 1;
    }
    number
}

/// From here on a cell of `MULTIPLEXED` is a call of ipc(2)'s.
const IPC_MARK: u8 = 0x80;
/// The calls of `SOCKETCALL` and `IPC` by their place among the names; 0 for the others.
const MULTIPLEXED: [u8; COUNT] = {
    let mut cells = [0; COUNT];
    let mut place = 0;
    while place < SOCKETCALL.len() {
        cells[place_of(SOCKETCALL[place].0)] = SOCKETCALL[place].1;
        place += 1;
    }
    place = 0;
    while place < IPC.len() {
        cells[place_of(IPC[place].0)] = IPC_MARK + IPC[place].1;
        place += 1;
    }
    cells
};

/// The place of a name that is there.
const fn place_of(name: &str) -> usize {
    let (name, all) = (name.as_bytes(), NAMES.as_bytes());
    let (mut index, mut start) = (0, 0);
    loop {
        let end = ENDS[index] as usize;
        let mut at = 0;
        while start + at < end && at < name.len() && all[start + at] == name[at] {
            at += 1;
        }
        if start + at == end && at == name.len() {
            return index;
        }
        (index, start) = (index + 1, end);
    }
}

/// A call inside a multiplexing system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiplexed {
    /// Name of the multiplexing system call.
    pub(crate) through: &'static str,
    /// Its first argument for this call.
    pub(crate) call: u8,
}

fn name_at(index: usize) -> &'static str {
    let start = if index == 0 { 0 } else { usize::from(ENDS[index - 1]) };
    &NAMES[start..usize::from(ENDS[index])]
}

/// include/uapi/linux/net.h, SYS_SOCKET to SYS_SENDMMSG.
const SOCKETCALL: [(&str, u8); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// include/uapi/linux/ipc.h, SEMOP to SHMCTL.
const IPC: [(&str, u8); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        let mut last = "";
        for index in 0..COUNT {
            let name = name_at(index);
            assert!(last < name, "{last} before {name}");
            assert_eq!(Syscall::find(name), Some(Syscall(index as u16)));
            last = name;
        }
        for unknown in ["", "a", "getpid2", "zzz", "read\0"] {
            assert_eq!(Syscall::find(unknown), None);
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        let number = |name, column| Syscall::find(name).unwrap().number(column);
        assert_eq!(number("getpid", X86_64), Some(39));
        assert_eq!(number("getpid", X86), Some(20));
        assert_eq!(number("execve", X32), Some(520));
        assert_eq!(number("set_tls", ARM), Some(0x0f_0005));
        assert_eq!(number("clone3", LOONGARCH64), Some(435));
        assert_eq!(number("socketcall", X86_64), None);
    }

    #[test]
    fn every_multiplexed_call_is_in_the_table() {
        for (name, call) in SOCKETCALL {
            let expected = Multiplexed { through: "socketcall", call };
            assert_eq!(Syscall::find(name).unwrap().multiplexed(), Some(expected));
        }
        for (name, call) in IPC {
            let expected = Multiplexed { through: "ipc", call };
            assert_eq!(Syscall::find(name).unwrap().multiplexed(), Some(expected));
        }
        assert_eq!(Syscall::find("read").unwrap().multiplexed(), None);
    }
}
