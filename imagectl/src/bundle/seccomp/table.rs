//! The default profile as a table: which system calls a container may use. It decides as the profile that
//! podman and buildah install does (containers-common, `seccomp.json`), and allows some newer calls
//! that differ from allowed ones in their form alone; a test compares the two.

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The call is made.
    Allow,
    /// The call fails with this error number.
    Fail(u32),
}

/// When a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// For a process that may have the capability.
    With(&'static str),
    /// For one that may not.
    Without(&'static str),
    /// On these machines, by Go's names.
    On(&'static [&'static str]),
}

/// A comparison of an argument: its index, the value, equal or not.
pub type Comparison = (u32, u64, bool);

/// One rule. Names are separated by white space.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The system calls.
    pub names: &'static str,
    /// What becomes of them.
    pub action: Action,
    /// All must hold.
    pub comparisons: &'static [Comparison],
    /// On what the rule depends.
    pub when: When,
}

/// What becomes of a call that no rule names: programs take `ENOSYS` for an older kernel.
pub const DEFAULT_ERRNO: u32 = 38;
/// The calls that are known and not wanted fail as without rights.
const EPERM: u32 = 1;
const EINVAL: u32 = 22;
/// Netlink's family and its protocol for the audit log.
const AF_NETLINK: u64 = 16;
const NETLINK_AUDIT: u64 = 9;

const fn allow(names: &'static str, when: When) -> Rule {
    Rule { names, action: Action::Allow, comparisons: &[], when }
}

const fn fail(names: &'static str, when: When) -> Rule {
    Rule { names, action: Action::Fail(EPERM), comparisons: &[], when }
}

const fn compare(names: &'static str, comparisons: &'static [Comparison], when: When) -> Rule {
    Rule { names, action: Action::Allow, comparisons, when }
}

/// All rules.
pub const RULES: &[Rule] = &[
    fail(REFUSED, When::Always),
    allow(ALLOWED, When::Always),
    // Linux, a 32-bit address space, uname's old version, both, and asking alone.
    compare("personality", &[(0, 0, true)], When::Always),
    compare("personality", &[(0, 0x8, true)], When::Always),
    compare("personality", &[(0, 0x20000, true)], When::Always),
    compare("personality", &[(0, 0x20008, true)], When::Always),
    compare("personality", &[(0, 0xffff_ffff, true)], When::Always),
    allow("sync_file_range2", When::On(&["ppc64le"])),
    allow(ARM, When::On(&["arm", "arm64"])),
    allow("arch_prctl", When::On(&["amd64", "x32"])),
    allow("modify_ldt", When::On(&["amd64", "x32", "x86"])),
    allow(S390, When::On(&["s390", "s390x"])),
    allow("open_by_handle_at", When::With("CAP_DAC_READ_SEARCH")),
    fail("open_by_handle_at", When::Without("CAP_DAC_READ_SEARCH")),
    allow(SYS_ADMIN, When::With("CAP_SYS_ADMIN")),
    fail(SYS_ADMIN, When::Without("CAP_SYS_ADMIN")),
    allow("chroot", When::With("CAP_SYS_CHROOT")),
    fail("chroot", When::Without("CAP_SYS_CHROOT")),
    allow(SYS_MODULE, When::With("CAP_SYS_MODULE")),
    fail(SYS_MODULE, When::Without("CAP_SYS_MODULE")),
    allow("acct", When::With("CAP_SYS_PACCT")),
    fail("acct", When::Without("CAP_SYS_PACCT")),
    allow("kcmp process_madvise", When::With("CAP_SYS_PTRACE")),
    fail("kcmp process_madvise", When::Without("CAP_SYS_PTRACE")),
    allow("ioperm iopl", When::With("CAP_SYS_RAWIO")),
    fail("ioperm iopl", When::Without("CAP_SYS_RAWIO")),
    allow(SYS_TIME, When::With("CAP_SYS_TIME")),
    fail(SYS_TIME, When::Without("CAP_SYS_TIME")),
    allow("vhangup", When::With("CAP_SYS_TTY_CONFIG")),
    fail("vhangup", When::Without("CAP_SYS_TTY_CONFIG")),
    allow("socket", When::With("CAP_AUDIT_WRITE")),
    Rule {
        names: "socket",
        action: Action::Fail(EINVAL),
        comparisons: &[(0, AF_NETLINK, true), (2, NETLINK_AUDIT, true)],
        when: When::Without("CAP_AUDIT_WRITE"),
    },
    compare("socket", &[(0, AF_NETLINK, false)], When::Without("CAP_AUDIT_WRITE")),
    compare("socket", &[(2, NETLINK_AUDIT, false)], When::Without("CAP_AUDIT_WRITE")),
];

/// Old, dangerous or of no use in a container.
const REFUSED: &str = "
    bdflush io_pgetevents kexec_file_load kexec_load migrate_pages move_pages nfsservctl
    nice oldfstat oldlstat oldolduname oldstat olduname pciconfig_iobase pciconfig_read
    pciconfig_write sgetmask ssetmask swapcontext swapoff swapon sysfs uselib userfaultfd
    ustat vm86 vm86old vmsplice
";

/// Of ARM alone.
const ARM: &str = "
    arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2
";

/// Of s390 alone.
const S390: &str = "
    s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
";

/// What `CAP_SYS_ADMIN` is for.
const SYS_ADMIN: &str = "
    bpf fanotify_init lookup_dcookie perf_event_open quotactl setdomainname sethostname
    setns
";

/// What `CAP_SYS_MODULE` is for.
const SYS_MODULE: &str = "
    delete_module finit_module init_module query_module
";

/// What `CAP_SYS_TIME` is for.
const SYS_TIME: &str = "
    clock_settime clock_settime64 settimeofday stime
";

/// What every process may do, as far as its rights go.
const ALLOWED: &str = "
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset
    chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64
    clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 clone clone3 close
    close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64
    fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
    fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsconfig fsetxattr
    fsmount fsopen fspick fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername
    getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid
    getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid
    getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get
    ioprio_set ipc keyctl kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listxattr
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod
    mknodat mlock mlock2 mlockall mmap mmap2 mount mount_setattr move_mount mprotect
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
    munlockall munmap name_to_handle_at nanosleep newfstatat open open_tree openat openat2
    pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pivot_root pkey_alloc
    pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64
    process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace
    pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat readv reboot recv
    recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat
    rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_mempolicy
    set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32
    setgid setgid32 setgroups setgroups32 setitimer setns setpgid setpriority setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit
    setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown
    sigaction sigaltstack signal signalfd signalfd4 sigpending sigprocmask sigreturn
    sigsuspend socketcall socketpair splice stat stat64 statfs statfs64 statx symlink
    symlinkat sync sync_file_range syncfs syscall sysinfo syslog tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask umount umount2 uname
    unlink unlinkat unshare utime utimensat utimensat_time64 utimes vfork wait4 waitid
    waitpid write writev
";
