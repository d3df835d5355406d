/* call32 NUMBER: one system call of 32-bit programs, by int 0x80 from a 64-bit one. Prints its result. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    long result = strtol(argv[1], NULL, 0);
    __asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    printf("%d\n", (int)result);
    return 0;
}
