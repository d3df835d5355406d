/*
 * What the kernel alone takes for a container of the default bundle: the system calls that any
 * runtime has to make for it, and no reading, checking or reporting.
 *
 *   floor run ROOTFS [FLAGS [FILTER]]
 *                              /bin/true in a container, under the seccomp program in the file FILTER;
 *                              FLAGS are letters:
 *                              n  stay in the caller's network namespace
 *                              u  a user namespace as well, ids from 100000 on
 *                              1  control groups v1 (every hierarchy below /sys/fs/cgroup), else v2
 *   floor exec PID GROUP       /bin/true in PID's namespaces and, by clone3, in the v2 group
 *   floor rss COMMAND…         COMMAND's peak memory in KiB on standard error, after what it writes
 *   floor cost COMMAND…        the same, of all its processes the largest, and behind it their user and system time in ms
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
#define MAX_GROUPS 32

/* A failed call ends the program with its text: a floor that skips work is no floor. */
#define NEED(call)                                                                                 \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            fprintf(stderr, "floor: %s: %s\n", #call, strerror(errno));                            \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

struct group {
    char path[128];
};

static struct group groups[MAX_GROUPS];
static int group_count;

static void write_file(const char *path, const char *text, size_t length)
{
    int file;
    NEED(file = open(path, O_WRONLY | O_CLOEXEC));
    NEED(write(file, text, length));
    close(file);
}

/* A new v1 cpuset is empty, and takes no process before it has processors and memory. */
static void copy_setting(const char *from, const char *to, const char *name)
{
    char path[256], value[256];
    int file;
    ssize_t length;
    snprintf(path, sizeof path, "%s/%s", from, name);
    NEED(file = open(path, O_RDONLY | O_CLOEXEC));
    NEED(length = read(file, value, sizeof value));
    close(file);
    snprintf(path, sizeof path, "%s/%s", to, name);
    write_file(path, value, length);
}

static void make_v1_groups(void)
{
    DIR *dir = opendir(CGROUPS);
    struct dirent *entry;
    NEED(dir ? 0 : -1);
    while ((entry = readdir(dir)) && group_count < MAX_GROUPS) {
        struct group *group = &groups[group_count];
        char parent[96];
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        snprintf(parent, sizeof parent, CGROUPS "/%.60s", entry->d_name);
        snprintf(group->path, sizeof group->path, "%s/floor%d", parent, getpid());
        NEED(mkdir(group->path, 0755));
        group_count++;
        if (strstr(entry->d_name, "cpuset")) {
            copy_setting(parent, group->path, "cpuset.cpus");
            copy_setting(parent, group->path, "cpuset.mems");
        }
        if (!strcmp(entry->d_name, "devices")) {
            char path[256];
            static const char *const rules[] = {
                "a", "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm", "c 1:7 rwm", "c 5:0 rwm",
                "c 1:5 rwm", "c 1:9 rwm", "c 136:* rwm", "c 5:2 rwm",
            };
            for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
                snprintf(path, sizeof path, "%s/%s", group->path, i ? "devices.allow" : "devices.deny");
                write_file(path, rules[i], strlen(rules[i]));
            }
        }
    }
    closedir(dir);
}

static int make_v2_group(void)
{
    int dir;
    snprintf(groups[0].path, sizeof groups[0].path, CGROUPS "/floor%d", getpid());
    group_count = 1;
    NEED(mkdir(groups[0].path, 0755));
    NEED(dir = open(groups[0].path, O_DIRECTORY | O_CLOEXEC));
    return dir;
}

#define LOAD(to, offset) {BPF_LDX | BPF_MEM | BPF_W, to, 1, offset, 0}
#define UNLESS(reg, value, skip) {BPF_JMP | BPF_JNE | BPF_K, reg, 0, skip, value}
#define ANSWER(value) {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, value}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}
#define DEVICE(major, minor) UNLESS(4, major, 3), UNLESS(5, minor, 2), ANSWER(1)

/* The default devices as a program: mknod of any, use of these, nothing else. */
static void attach_devices(int group)
{
    static const struct bpf_insn program[] = {
        LOAD(2, 0), {BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0},
        {BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16}, LOAD(4, 4), LOAD(5, 8),
        UNLESS(3, 1, 2), ANSWER(1),
        DEVICE(1, 3), DEVICE(1, 8), DEVICE(1, 7), DEVICE(5, 0), DEVICE(1, 5), DEVICE(1, 9),
        UNLESS(4, 136, 2), ANSWER(1), DEVICE(5, 2), ANSWER(0),
    };
    union bpf_attr load = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insn_cnt = sizeof program / sizeof *program,
        .insns = (unsigned long)program,
        .license = (unsigned long)"GPL",
    };
    union bpf_attr attach = {.attach_type = BPF_CGROUP_DEVICE};
    NEED(attach.attach_bpf_fd = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load));
    attach.target_fd = group;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    NEED(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    close(attach.attach_bpf_fd);
}

static const struct {
    const char *name;
    int major, minor;
} devices[] = {
    {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static void make_devices(int is_user)
{
    char path[64], source[64];
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        snprintf(path, sizeof path, "dev/%s", devices[i].name);
        snprintf(source, sizeof source, "/dev/%s", devices[i].name);
        if (is_user) {
            int file;
            NEED(file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
            close(file);
            NEED(mount(source, path, NULL, MS_BIND, NULL));
        } else {
            NEED(mknod(path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
        }
    }
    NEED(symlink("/proc/self/fd", "dev/fd"));
    NEED(symlink("/proc/self/fd/0", "dev/stdin"));
    NEED(symlink("/proc/self/fd/1", "dev/stdout"));
    NEED(symlink("/proc/self/fd/2", "dev/stderr"));
    NEED(symlink("pts/ptmx", "dev/ptmx"));
}

static void make_rootfs(const char *rootfs, const char *flags)
{
    int is_v1 = !!strchr(flags, '1'), is_user = !!strchr(flags, 'u');
    unsigned long locked = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    static const char *const read_only[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};
    static const char *const masked[] = {"acpi", "kcore", "keys", "latency_stats", "timer_list",
                                         "timer_stats", "sched_debug", "scsi"};
    NEED(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
    NEED(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    NEED(chdir(rootfs));
    NEED(mount("proc", "proc", "proc", 0, NULL));
    NEED(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    NEED(mkdir("dev/pts", 0755));
    NEED(mkdir("dev/shm", 0755));
    NEED(mkdir("dev/mqueue", 0755));
    NEED(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
               "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    NEED(mount("shm", "dev/shm", "tmpfs", locked, "mode=1777,size=65536k"));
    NEED(mount("mqueue", "dev/mqueue", "mqueue", locked, NULL));
    if (strchr(flags, 'n'))
        NEED(mount("/sys", "sys", NULL, MS_BIND | MS_REC, NULL));
    else
        NEED(mount("sysfs", "sys", "sysfs", locked | MS_RDONLY, NULL));
    if (!strchr(flags, 'n') && !is_v1)
        NEED(mount("cgroup", "sys/fs/cgroup", "cgroup2", locked | MS_RDONLY, NULL));
    if (!strchr(flags, 'n') && is_v1) {
        NEED(mount("tmpfs", "sys/fs/cgroup", "tmpfs", locked, "mode=755"));
        for (int i = 0; i < group_count; i++) {
            /* The group's own view of its hierarchy: /sys/fs/cgroup/NAME/GROUP on sys/fs/cgroup/NAME. */
            char target[160], *end;
            snprintf(target, sizeof target, "%s", groups[i].path + 1);
            NEED((end = strrchr(target, '/')) ? 0 : -1);
            *end = 0;
            NEED(mkdir(target, 0755));
            NEED(mount(groups[i].path, target, NULL, MS_BIND, NULL));
        }
        NEED(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | locked, NULL));
    }
    umask(0);
    make_devices(is_user);
    NEED(syscall(SYS_pivot_root, ".", "."));
    NEED(umount2(".", MNT_DETACH));
    NEED(chdir("/"));
    NEED(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    NEED(chdir("/proc"));
    /* Not every kernel has all of these, which runtimes leave out then. */
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) < 0 && errno == ENOENT)
            continue;
        NEED(mount(NULL, read_only[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | locked, NULL));
    }
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
        struct stat found;
        if (stat(masked[i], &found) < 0)
            continue;
        if (S_ISDIR(found.st_mode))
            NEED(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
        else
            NEED(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
    }
    if (!access("/sys/firmware", F_OK))
        NEED(mount("tmpfs", "/sys/firmware", "tmpfs", MS_RDONLY, NULL));
    NEED(chdir("/"));
}

static void restrict_process(void)
{
    struct rlimit files = {1024, 1024};
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const unsigned kept = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
    struct __user_cap_data_struct sets[2] = {{kept, kept, 0}, {0, 0, 0}};
    NEED(syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, "floor"));
    NEED(sethostname("runc", 4));
    NEED(setrlimit(RLIMIT_NOFILE, &files));
    for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
        if (cap >= 32 || !(kept >> cap & 1))
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
    NEED(syscall(SYS_capset, &header, sets));
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* Into every v1 group: the caller itself, "0", or a child by its number. */
static void enter_v1_groups(const char *pid)
{
    char path[256];
    for (int i = 0; i < group_count; i++) {
        snprintf(path, sizeof path, "%s/cgroup.procs", groups[i].path);
        write_file(path, pid, strlen(pid));
    }
}

static void load_filter(const struct sock_fprog *program)
{
    if (program->len)
        NEED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program));
}

static int run(const char *rootfs, const char *flags, const char *filter)
{
    static struct sock_filter instructions[BPF_MAXINSNS];
    struct sock_fprog program = {0, instructions};
    int is_v1 = !!strchr(flags, '1'), is_user = !!strchr(flags, 'u'), ready[2], status;
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC,
        .exit_signal = SIGCHLD,
    };
    pid_t child;
    char path[256];

    if (!strchr(flags, 'n'))
        args.flags |= CLONE_NEWNET;
    if (is_user)
        args.flags |= CLONE_NEWUSER;
    if (is_v1) {
        make_v1_groups();
    } else {
        args.cgroup = make_v2_group();
        attach_devices(args.cgroup);
        args.flags |= CLONE_INTO_CGROUP | CLONE_NEWCGROUP;
    }
    if (filter) {
        int file;
        ssize_t length;
        NEED(file = open(filter, O_RDONLY | O_CLOEXEC));
        NEED(length = read(file, instructions, sizeof instructions));
        close(file);
        program.len = length / sizeof *instructions;
    }
    NEED(pipe2(ready, O_CLOEXEC));
    NEED(child = syscall(SYS_clone3, &args, sizeof args));
    if (!child) {
        if (is_user) {
            char byte;
            NEED(read(ready[0], &byte, 1));
            NEED(setresgid(0, 0, 0));
            NEED(setresuid(0, 0, 0));
        }
        if (is_v1) {
            if (!is_user)
                enter_v1_groups("0");
            NEED(unshare(CLONE_NEWCGROUP));
        }
        make_rootfs(rootfs, flags);
        restrict_process();
        load_filter(&program);
        execl("/bin/true", "true", NULL);
        NEED(-1);
    }
    if (is_user) {
        snprintf(path, sizeof path, "/proc/%d/uid_map", child);
        write_file(path, "0 100000 65536", 14);
        snprintf(path, sizeof path, "/proc/%d/gid_map", child);
        write_file(path, "0 100000 65536", 14);
        if (is_v1) {
            /* Its root owns no group of the caller's. */
            snprintf(path, sizeof path, "%d", child);
            enter_v1_groups(path);
        }
        NEED(write(ready[1], "", 1));
    }
    NEED(waitpid(child, &status, 0));
    for (int i = 0; i < group_count; i++)
        NEED(rmdir(groups[i].path));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int join(const char *pid, const char *group)
{
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
    int process, status;
    pid_t child;
    NEED(process = syscall(SYS_pidfd_open, atoi(pid), 0));
    NEED(args.cgroup = open(group, O_DIRECTORY | O_CLOEXEC));
    NEED(setns(process, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
                            CLONE_NEWCGROUP));
    NEED(child = syscall(SYS_clone3, &args, sizeof args));
    if (!child) {
        restrict_process();
        execl("/bin/true", "true", NULL);
        NEED(-1);
    }
    NEED(waitpid(child, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* vfork's child would bring this program's own memory into the count; this program has little. */
static int rss(char **command)
{
    struct rusage usage;
    int status;
    pid_t child;
    NEED(child = fork());
    if (!child) {
        execvp(command[0], command);
        NEED(-1);
    }
    NEED(wait4(child, &status, 0, &usage));
    fprintf(stderr, "%ld\n", usage.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The peak is that of the largest process, and counts those alone that somebody waited for. */
static int cost(char **command)
{
    struct rusage usage;
    int status;
    pid_t child;
    NEED(child = fork());
    if (!child) {
        execvp(command[0], command);
        NEED(-1);
    }
    NEED(waitpid(child, &status, 0));
    NEED(getrusage(RUSAGE_CHILDREN, &usage));
    fprintf(stderr, "%ld %ld %ld\n", usage.ru_maxrss,
            usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000,
            usage.ru_stime.tv_sec * 1000 + usage.ru_stime.tv_usec / 1000);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int count, char **words)
{
    if (count >= 3 && !strcmp(words[1], "run"))
        return run(words[2], count > 3 ? words[3] : "", count > 4 ? words[4] : NULL);
    if (count == 4 && !strcmp(words[1], "exec"))
        return join(words[2], words[3]);
    if (count >= 3 && !strcmp(words[1], "rss"))
        return rss(words + 2);
    if (count >= 3 && !strcmp(words[1], "cost"))
        return cost(words + 2);
    fputs("Usage: floor run ROOTFS [FLAGS [FILTER]] | exec PID GROUP | rss COMMAND... | cost COMMAND...\n", stderr);
    return 1;
}
