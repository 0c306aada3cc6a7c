/* A connection to the service: who is at the other end, and octets there and back, each within a deadline. It knows
 * nothing of frames. Every failure leaves its cause in errno, for the log. */

#ifndef SEKISHO_LINK_H
#define SEKISHO_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Milliseconds that only ever grow. A deadline is one of these. */
int64_t link_now(void);

/* A connection whose other end is ``server``'s, or -1; EPERM: it is somebody else's, and has been told nothing. */
int link_open(const char *path, uid_t server, int64_t deadline);

bool link_send(int link, const void *octets, size_t length, int64_t deadline);

/* Exactly so many octets. ENOTCONN: the other side has closed. */
bool link_receive(int link, void *octets, size_t length, int64_t deadline);

#endif
