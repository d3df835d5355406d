/* rawcall NUMBER [ARG...]: one system call by number, for what no safe Rust function offers.
 * Prints its result, or the name of the error.
 * rawcall thread NUMBER [ARG...]: the same in a second thread; then "alive", when that has ended.
 * rawcall trapped NUMBER [ARG...]: the same; prints "trapped NUMBER" when that raises SIGSYS.
 * rawcall scheduling: how it is scheduled itself, as JSON. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
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

static long args[7];

static void *call(void *unused)
{
    errno = 0;
    long result = syscall(args[0], args[1], args[2], args[3], args[4], args[5], args[6]);
    if (result < 0)
        printf("%s\n", strerrorname_np(errno) ? strerrorname_np(errno) : "unknown");
    else
        printf("%ld\n", result);
    return unused;
}

static void trapped(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    printf("trapped %d\n", info->si_syscall);
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "scheduling") == 0)
        return scheduling();
    int first = strcmp(mode, "thread") == 0 || strcmp(mode, "trapped") == 0 ? 2 : 1;
    for (int i = first; i < argc && i < first + 7; i++)
        args[i - first] = argv[i][0] == '=' ? (long)(argv[i] + 1) : strtol(argv[i], NULL, 0);
    if (strcmp(mode, "trapped") == 0) {
        struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
        sigaction(SIGSYS, &action, NULL);
    }
    if (strcmp(mode, "thread") != 0) {
        call(NULL);
        return 0;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, call, NULL) || pthread_join(thread, NULL))
        return 2;
    puts("alive");
    return 0;
}
