/* shim NUMBER[/ARGUMENT&MASK|/ARGUMENT:VALUE]=ERRNO[,...] COMMAND...: runs COMMAND on a kernel that lacks
 * something: the system calls of these numbers fail with that error number, or only those with one of the
 * bits of MASK in that argument (a new flag), or with that VALUE (a new command). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_filter program[256];
static int length;

static void add(unsigned code, unsigned value, int yes, int no)
{
    program[length++] = (struct sock_filter)BPF_JUMP(code, value, yes, no);
}

static void load(size_t offset)
{
    add(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    load(offsetof(struct seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    for (char *at = strtok(argv[1], ","); at && length < 240; at = strtok(NULL, ",")) {
        unsigned number = strtoul(at, &at, 0), argument = 0, test = 0, value = 0;
        if (*at == '/') {
            argument = strtoul(at + 1, &at, 0);
            test = *at == '&' ? BPF_JSET : *at == ':' ? BPF_JEQ : 0;
            value = test ? strtoul(at + 1, &at, 0) : 0;
        }
        if (*at != '=' || argument > 5)
            return 2;
        load(offsetof(struct seccomp_data, nr));
        add(BPF_JMP | BPF_JEQ | BPF_K, number, 0, test ? 3 : 1);
        if (test) {
            load(offsetof(struct seccomp_data, args) + 8 * argument);
            add(BPF_JMP | test | BPF_K, value, 0, 1);
        }
        add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | atoi(at + 1), 0, 0);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    struct sock_fprog filter = {length, program};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter)) {
        perror("seccomp");
        return 2;
    }
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 2;
}
