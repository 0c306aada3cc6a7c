/* The connection to the service: see link.h. Never blocks beyond a deadline; a signal does not end a wait. */

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

enum { RETRY_MS = 20 }; /* between two tries to connect */

int64_t link_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for ``events``. Returns false with errno at the deadline (ETIMEDOUT) or if poll(2) fails. Returns true also for
 * a hang-up: the next send or recv gives its cause. */
static bool wait_for(int link, short events, int64_t deadline)
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

/* Connects, and tries again while the service's backlog is full. A non-blocking Unix socket then fails at once with
 * EAGAIN, and poll(2) cannot wait for room (connect(2)). */
static bool connect_until(int link, const struct sockaddr_un *address, int64_t deadline)
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

/* Returns false with EPERM if another user has opened the socket, or with the cause from getsockopt(2). */
static bool is_owned_by(int link, uid_t server)
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
    if (connect_until(link, &address, deadline) && is_owned_by(link, server))
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
            return true; /* closed: a result may still be there to read */
        } else if (errno == EAGAIN) {
            if (!wait_for(link, POLLOUT, deadline))
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
        /* Wait before each recv, so that the deadline is checked also when the service sends single octets. */
        if (!wait_for(link, POLLIN, deadline))
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
