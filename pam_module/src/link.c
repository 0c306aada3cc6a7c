/* See link.h. No call here blocks longer than its deadline, and no signal ends one early or late. */

#define _GNU_SOURCE /* struct ucred */
#include "link.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { RETRY_MS = 20 };

int64_t link_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* False at the deadline. A hang-up counts as ready: the next call says what has happened. */
static bool ready(int link, short events, int64_t deadline)
{
    struct pollfd one = {.fd = link, .events = events};
    for (;;) {
        int64_t left = deadline - link_now();
        if (left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        int found = poll(&one, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (found > 0)
            return true;
        if (found < 0 && errno != EINTR)
            return false;
    }
}

/* A full backlog of a Unix socket is EAGAIN at once, and nothing that could be waited for. */
static bool reach(int link, const struct sockaddr_un *address, int64_t deadline)
{
    while (connect(link, (const struct sockaddr *)address, sizeof *address) != 0) {
        if (errno != EAGAIN && errno != EINTR)
            return false;
        if (link_now() >= deadline) {
            errno = ETIMEDOUT;
            return false;
        }
        poll(NULL, 0, RETRY_MS);
    }
    return true;
}

static bool belongs_to(int link, uid_t server)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(link, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return false;
    errno = EPERM;
    return length == sizeof peer && peer.uid == server;
}

int link_open(const char *path, uid_t server, int64_t deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, length + 1);
    int link = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (link < 0)
        return -1;
    if (reach(link, &address, deadline) && belongs_to(link, server))
        return link;
    int cause = errno;
    close(link);
    errno = cause;
    return -1;
}

bool link_send(int link, const void *octets, size_t length, int64_t deadline)
{
    const uint8_t *at = octets;
    while (length > 0) {
        ssize_t sent = send(link, at, length, MSG_NOSIGNAL);
        if (sent >= 0) {
            at += sent;
            length -= (size_t)sent;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return true; /* it may have said why before it closed: reading tells */
        } else if (errno == EAGAIN) {
            if (!ready(link, POLLOUT, deadline))
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

bool link_receive(int link, void *octets, size_t length, int64_t deadline)
{
    uint8_t *at = octets;
    while (length > 0) {
        /* Waiting first: a peer that sends octet by octet does not outlive its deadline. */
        if (!ready(link, POLLIN, deadline))
            return false;
        ssize_t got = recv(link, at, length, 0);
        if (got > 0) {
            at += got;
            length -= (size_t)got;
        } else if (got == 0) {
            errno = ENOTCONN;
            return false;
        } else if (errno != EAGAIN && errno != EINTR) {
            return false;
        }
    }
    return true;
}
