/* The frames of the socket protocol, version 1, as the module writes and reads them. The table of types and tags is in
 * pam_module/frames.py. Never does I/O, never calls PAM, never allocates memory. */

#ifndef SEKISHO_FRAMES_H
#define SEKISHO_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEADER_OCTETS = 4,
    MAX_FRAME = 4096, /* octets of a frame without its header */
    MAX_VALUE = 1024, /* octets of one value */
    MAX_FRAMES = 32,  /* of one conversation, both directions together */
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

/* A frame to send. It may hold a password or a code: the caller wipes it. */
struct frame {
    size_t length; /* octets in use, the header included */
    uint8_t octets[HEADER_OCTETS + MAX_FRAME];
};

/* A frame of the service. Only the members of its type are set. */
struct reply {
    enum type type;
    char text[MAX_VALUE + 1]; /* PROMPT, TEXT: UTF-8 without control characters */
    enum role role;           /* PROMPT */
    enum style style;         /* TEXT */
    bool echo;                /* PROMPT */
    unsigned seconds;         /* WAIT */
    unsigned code, delay_ms;  /* RESULT */
};

/* Starts an empty frame of this type. Cannot fail. */
void frame_begin(struct frame *frame, enum type type);

/* Appends a tag and ``length`` octets of ``value`` to a frame that was begun. Returns false if the value is longer than
 * MAX_VALUE or the frame is full; the frame is then unchanged. */
bool frame_add(struct frame *frame, enum tag tag, const void *value, size_t length);

/* Returns the length in octets (1 to MAX_FRAME) that a header announces for the rest of its frame, or 0 if invalid. */
size_t frame_length(const uint8_t header[HEADER_OCTETS]);

/* Parses a frame of the service into ``reply``: ``length`` octets at ``body``, without the header. Returns false if
 * they are not exactly one valid frame; ``reply`` must then not be used. */
bool reply_read(const uint8_t *body, size_t length, struct reply *reply);

#endif
