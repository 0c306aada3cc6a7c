/* Frames of the socket protocol, version 1, as the module writes and reads them; frames.py has the table of types and
 * tags. Octets in, values out: no sockets, no PAM, no memory of its own. */

#ifndef SEKISHO_FRAMES_H
#define SEKISHO_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEADER_OCTETS = 4,
    MAX_FRAME = 4096,
    MAX_VALUE = 1024,
    MAX_FRAMES = 32, /* of one conversation, both directions together */
    MAX_WAIT_SECONDS = 120,
    MAX_DELAY_MS = 10000,
};

enum type { START = 1, ANSWER = 2, ABORT = 3, PROMPT = 0x81, TEXT = 0x82, WAIT = 0x83, RESULT = 0x84 };

enum tag {
    TAG_VERSION = 1,
    TAG_OP,
    TAG_SERVICE,
    TAG_USER,
    TAG_RUSER,
    TAG_RHOST,
    TAG_TTY,
    TAG_FLAGS,
    TAG_PROFILE,
    TAG_AUTHTOK,
    TAG_TEXT = 16,
    TAG_ECHO,
    TAG_ROLE,
    TAG_STYLE,
    TAG_SECONDS,
    TAG_CODE,
    TAG_DELAY_MS,
};

enum role { ROLE_NONE, ROLE_PASSWORD, ROLE_OTP };
enum style { STYLE_INFO, STYLE_ERROR };

/* A frame that is being written. May hold a secret: wipe it. */
struct frame {
    size_t length; /* of octets, the header included */
    uint8_t octets[HEADER_OCTETS + MAX_FRAME];
};

/* What the service said. Only the members of its type mean anything. */
struct reply {
    enum type type;
    char text[MAX_VALUE + 1];
    enum role role;
    enum style style;
    bool echo;
    unsigned seconds, code, delay_ms;
};

void frame_begin(struct frame *frame, enum type type);

/* False, and the frame as it was, if the value does not fit. */
bool frame_add(struct frame *frame, enum tag tag, const void *value, size_t length);

/* The length that a header announces; 0 if no frame can have it. */
size_t frame_length(const uint8_t header[HEADER_OCTETS]);

/* A whole frame of the service, without its header. False for whatever is not exactly one. */
bool reply_read(const uint8_t *body, size_t length, struct reply *reply);

#endif
