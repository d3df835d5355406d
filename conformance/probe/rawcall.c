/* rawcall NUMBER [ARG...]: one system call by number, for what no safe Rust function offers.
 * Prints its result, or the name of the error.
 * rawcall scheduling: how it is scheduled itself, as JSON. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static int scheduling(void)
{
    struct attributes a = {0};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) != 0)
        return 1;
    long io = syscall(SYS_ioprio_get, 1, 0);
    printf("{\"policy\": %u, \"flags\": %llu, \"nice\": %d, \"priority\": %u, "
           "\"deadline\": [%llu, %llu, %llu], \"io\": [%ld, %ld]}\n",
           a.policy, (unsigned long long)a.flags, a.nice, a.priority,
           (unsigned long long)a.runtime, (unsigned long long)a.deadline,
           (unsigned long long)a.period, io >> 13, io & 0x1fff);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "scheduling") == 0)
        return scheduling();
    long args[7] = {0};
    for (int i = 1; i < argc && i <= 7; i++)
        args[i - 1] = argv[i][0] == '=' ? (long)(argv[i] + 1) : strtol(argv[i], NULL, 0);
    errno = 0;
    long result = syscall(args[0], args[1], args[2], args[3], args[4], args[5], args[6]);
    if (result < 0)
        printf("%s\n", strerrorname_np(errno) ? strerrorname_np(errno) : "unknown");
    else
        printf("%ld\n", result);
    return 0;
}
