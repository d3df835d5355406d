/* rawcall NUMBER [ARG...]: one system call by number, for what no safe Rust function offers.
 * Prints its result, or the name of the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
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
