/* tracer COMMAND...: runs COMMAND and prints "trace DATA" for each system call that a seccomp filter leaves
 * to a tracer, with the filter's number; the call is then made. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int status;
    pid_t child;
    if (argc < 2 || (child = fork()) < 0)
        return 2;
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(2);
    }
    waitpid(child, &status, 0);
    ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL));
    ptrace(PTRACE_CONT, child, NULL, NULL);
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
            unsigned long data = 0;
            ptrace(PTRACE_GETEVENTMSG, child, NULL, &data);
            printf("trace %lu\n", data);
            fflush(stdout);
        }
        ptrace(PTRACE_CONT, child, NULL, NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
