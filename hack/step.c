/*
 * step LOW HIGH OUT COMMAND…
 *
 * Runs COMMAND one instruction at a time, with the children it makes until they run another program,
 * and writes the addresses from LOW to HIGH (hexadecimal) it went through to OUT, each once, in the
 * order of their first use. hack/order makes a list of functions of them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
    fprintf(stderr, "step: %s: %s\n", what, strerror(errno));
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("Usage: step LOW HIGH OUT COMMAND...\n", stderr);
        return 1;
    }
    unsigned long low = strtoul(argv[1], NULL, 16), high = strtoul(argv[2], NULL, 16);
    unsigned char *seen = calloc(high - low, 1);
    FILE *out = fopen(argv[3], "w");
    if (!seen || !out)
        fail(argv[3]);
    pid_t command = fork();
    if (command == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
            raise(SIGSTOP);
        execv(argv[4], argv + 4);
        fail(argv[4]);
    }
    int status;
    if (command < 0 || waitpid(command, &status, 0) != command || !WIFSTOPPED(status))
        fail("start the command");
    long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
                   PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, command, 0, options) || ptrace(PTRACE_CONT, command, 0, 0))
        fail("trace the command");

    int result = 1;
    for (;;) {
        pid_t process = waitpid(-1, &status, __WALL);
        if (process < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (!WIFSTOPPED(status)) {
            if (process == command)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
            continue;
        }
        int event = status >> 16, signal = WSTOPSIG(status);
        if (event == PTRACE_EVENT_EXEC && process != command) {
            ptrace(PTRACE_DETACH, process, 0, 0);
            continue;
        }
        if (event || signal == SIGSTOP) {
            signal = 0;
        } else if (signal == SIGTRAP) {
            struct user_regs_struct registers;
            signal = 0;
            if (ptrace(PTRACE_GETREGS, process, 0, &registers) == 0 && registers.rip >= low &&
                registers.rip < high && !seen[registers.rip - low]) {
                seen[registers.rip - low] = 1;
                fprintf(out, "%llx\n", registers.rip);
            }
        }
        ptrace(PTRACE_SINGLESTEP, process, 0, signal);
    }
    if (fclose(out))
        fail(argv[3]);
    return result;
}
