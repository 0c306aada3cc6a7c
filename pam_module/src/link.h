/* The connection to the service: a Unix socket whose owner is checked, and octets in both directions, each call with a
 * deadline. Never parses a frame. A call that fails leaves its cause in errno, for the log. */

#ifndef SEKISHO_LINK_H
#define SEKISHO_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Returns the monotonic clock in milliseconds. All deadlines are values of this clock. */
int64_t link_now(void);

/* Connects to the Unix socket at ``path`` and checks that user ``server`` has opened it (SO_PEERCRED). Sends nothing.
 * Returns a non-blocking descriptor, which the caller closes, or -1: EPERM if another user has opened the socket,
 * ENAMETOOLONG, ETIMEDOUT at the deadline, or the cause from socket(2) or connect(2). */
int link_open(const char *path, uid_t server, int64_t deadline);

/* Sends ``length`` octets. Returns true also if the service has closed the connection: it may have sent a result
 * before, and link_receive() reads that. Returns false with ETIMEDOUT at the deadline, or the cause from send(2) or
 * poll(2). */
bool link_send(int link, const void *octets, size_t length, int64_t deadline);

/* Receives exactly ``length`` octets. Returns false with ENOTCONN if the service has closed the connection, ETIMEDOUT
 * at the deadline, or the cause from recv(2) or poll(2). */
bool link_receive(int link, void *octets, size_t length, int64_t deadline);

#endif
