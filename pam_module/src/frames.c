/* Writes and parses frames: see frames.h. Every octet from the service is validated here, before any other code uses
 * it. */

#include "frames.h"

#include <string.h>

static void put_u16(uint8_t *at, size_t number)
{
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
}

void frame_begin(struct frame *frame, enum type type)
{
    memset(frame->octets, 0, HEADER_OCTETS);
    frame->octets[HEADER_OCTETS - 1] = 1;
    frame->octets[HEADER_OCTETS] = (uint8_t)type;
    frame->length = HEADER_OCTETS + 1;
}

bool frame_add(struct frame *frame, enum tag tag, const void *value, size_t length)
{
    if (length > MAX_VALUE || frame->length + 3 + length > sizeof frame->octets)
        return false;
    uint8_t *at = frame->octets + frame->length;
    at[0] = (uint8_t)tag;
    put_u16(at + 1, length);
    if (length > 0)
        memcpy(at + 3, value, length);
    frame->length += 3 + length;
    put_u16(frame->octets + 2, frame->length - HEADER_OCTETS);
    return true;
}

size_t frame_length(const uint8_t header[HEADER_OCTETS])
{
    uint32_t length = (uint32_t)header[0] << 24 | (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];
    return length <= MAX_FRAME ? length : 0;
}

struct value {
    const uint8_t *octets; /* points into the body; NULL if the frame does not have this tag */
    size_t length;
};

enum { TAGS = 256 };

/* Splits the octets after the type into values, by tag. Unknown tags are allowed: the caller ignores them. Returns
 * false if a value is cut off or too long, or a tag comes twice. */
static bool split_values(const uint8_t *at, const uint8_t *end, struct value values[TAGS])
{
    while (at < end) {
        if (end - at < 3)
            return false;
        struct value *value = &values[at[0]];
        size_t length = (size_t)at[1] << 8 | at[2];
        at += 3;
        if (length > MAX_VALUE || length > (size_t)(end - at) || value->octets != NULL)
            return false;
        value->octets = at;
        value->length = length;
        at += length;
    }
    return true;
}

/* Reads a big-endian number of exactly ``octets`` octets, at most ``most``. */
static bool read_number(const struct value *value, size_t octets, unsigned most, unsigned *number)
{
    if (value->octets == NULL || value->length != octets)
        return false;
    *number = 0;
    for (size_t i = 0; i < octets; i++)
        *number = *number << 8 | value->octets[i];
    return *number <= most;
}

/* Returns how many octets the UTF-8 character at ``at`` has (RFC 3629, section 4), or 0 if it must not be shown: it is
 * malformed, overlong, a surrogate or above U+10FFFF, or a control character (C0, DEL, C1), which the terminal would
 * obey. */
static size_t character_length(const uint8_t *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t octets = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
    if (octets == 0 || octets > left)
        return 0;
    uint32_t point = octets == 1 ? at[0] : at[0] & (0x7fU >> octets);
    for (size_t i = 1; i < octets; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        point = point << 6 | (at[i] & 0x3fU);
    }
    if (point < least[octets] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ? 0 : octets;
}

/* Copies a text and ends it with NUL. ``text`` has room for MAX_VALUE octets and the NUL. */
static bool read_text(const struct value *value, char *text)
{
    if (value->octets == NULL)
        return false;
    for (size_t at = 0; at < value->length;) {
        size_t octets = character_length(value->octets + at, value->length - at);
        if (octets == 0)
            return false;
        at += octets;
    }
    memcpy(text, value->octets, value->length);
    text[value->length] = '\0';
    return true;
}

static bool read_role(const struct value *value, enum role *role)
{
    static const char *const words[] = {[ROLE_NONE] = "none", [ROLE_PASSWORD] = "password", [ROLE_OTP] = "otp"};
    if (value->octets == NULL)
        return false;
    for (unsigned i = ROLE_NONE; i <= ROLE_OTP; i++)
        if (value->length == strlen(words[i]) && memcmp(value->octets, words[i], value->length) == 0) {
            *role = (enum role)i;
            return true;
        }
    return false;
}

bool reply_read(const uint8_t *body, size_t length, struct reply *reply)
{
    struct value values[TAGS] = {{NULL, 0}};
    unsigned found = 0;

    memset(reply, 0, sizeof *reply);
    if (length < 1 || length > MAX_FRAME || !split_values(body + 1, body + length, values))
        return false;
    reply->type = (enum type)body[0];
    switch (body[0]) {
    case PROMPT:
        if (!read_text(&values[TAG_TEXT], reply->text) || !read_number(&values[TAG_ECHO], 1, 1, &found))
            return false;
        reply->echo = found == 1;
        return read_role(&values[TAG_ROLE], &reply->role);
    case TEXT:
        if (!read_text(&values[TAG_TEXT], reply->text) || !read_number(&values[TAG_STYLE], 1, STYLE_ERROR, &found))
            return false;
        reply->style = (enum style)found;
        return true;
    case WAIT:
        return read_number(&values[TAG_SECONDS], 2, MAX_WAIT_SECONDS, &reply->seconds);
    case RESULT:
        return read_number(&values[TAG_CODE], 1, UINT8_MAX, &reply->code) &&
               (values[TAG_DELAY_MS].octets == NULL ||
                read_number(&values[TAG_DELAY_MS], 2, MAX_DELAY_MS, &reply->delay_ms));
    default:
        return false;
    }
}
