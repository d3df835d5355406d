/* agent SOCKET [NUMBER=ANSWER]...: a seccomp agent. Takes process states at SOCKET, prints each as
 * "state FDS JSON", and then "more BYTES" for what comes after it and "closed" at the connection's end.
 * Answers the calls that the listeners ask about: those named here with an error number or, after ":",
 * a result, every other one with "go on"; prints "call NUMBER" for each. Ends with its parent. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 64 };
static struct pollfd fds[MOST] = {{.events = POLLIN}};
static char is_connection[MOST];
static int count = 1;

static int die(const char *what)
{
    perror(what);
    exit(1);
}

/* Brackets that are open at the end of a JSON text; none of ours has one in a string. */
static int depth(const char *text)
{
    int open = 0;
    for (; *text; text++)
        open += (*text == '{') - (*text == '}');
    return open;
}

/* The listener that comes with the state. */
static int take_state(int connection)
{
    static char text[1 << 16];
    char control[CMSG_SPACE(8 * sizeof(int))];
    struct iovec part = {text, sizeof text - 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t length = recvmsg(connection, &message, MSG_CMSG_CLOEXEC), more = 1;
    if (length < 0)
        die("recvmsg");
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    int number = rights ? (int)((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
    int listener = number == 1 ? *(int *)CMSG_DATA(rights) : -1;
    while (text[length] = 0, more > 0 && (length < 2 || depth(text))) {
        more = read(connection, text + length, sizeof text - 1 - length);
        length += more > 0 ? more : 0;
    }
    printf("state %d %s\n", number, text);
    return listener;
}

static void answer(int listener, char **answers)
{
    struct seccomp_notif call = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
        return;
    struct seccomp_notif_resp response = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    for (; *answers; answers++) {
        char *value;
        if (strtol(*answers, &value, 0) != call.data.nr || *value++ != '=')
            continue;
        response.flags = 0;
        if (*value == ':')
            response.val = atol(value + 1);
        else
            response.error = -atoi(value);
    }
    printf("call %d\n", call.data.nr);
    /* The caller may have been killed meanwhile. */
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) && errno != ENOENT)
        die("SECCOMP_IOCTL_NOTIF_SEND");
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc < 2 || strlen(argv[1]) >= sizeof address.sun_path)
        return 2;
    strcpy(address.sun_path, argv[1]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setlinebuf(stdout);
    fds[0].fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(fds[0].fd, (struct sockaddr *)&address, sizeof address) || listen(fds[0].fd, 8))
        die(argv[1]);
    puts("ready");
    while (poll(fds, count, -1) > 0 || errno == EINTR) {
        for (int i = 1; i < count; i++) {
            char rest[512];
            ssize_t more;
            if (!fds[i].revents)
                continue;
            if (!is_connection[i] && fds[i].revents & POLLIN) {
                answer(fds[i].fd, argv + 2);
                continue;
            }
            if (is_connection[i] && (more = read(fds[i].fd, rest, sizeof rest)) > 0) {
                printf("more %zd\n", more);
                continue;
            }
            if (is_connection[i])
                puts("closed");
            close(fds[i].fd);
            fds[i].fd = -1;
        }
        if (fds[0].revents & POLLIN && count < MOST - 1) {
            int connection = accept(fds[0].fd, NULL, NULL);
            int listener = take_state(connection);
            is_connection[count] = 1;
            fds[count++] = (struct pollfd){.fd = connection, .events = POLLIN};
            fds[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
        }
    }
    return 1;
}
