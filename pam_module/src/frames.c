/* See frames.h. What a peer sends is looked at here before anything else happens to it. */

#include "frames.h"

#include <string.h>

static void put16(uint8_t *at, size_t number)
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
    put16(at + 1, length);
    if (length > 0)
        memcpy(at + 3, value, length);
    frame->length += 3 + length;
    put16(frame->octets + 2, frame->length - HEADER_OCTETS);
    return true;
}

size_t frame_length(const uint8_t header[HEADER_OCTETS])
{
    uint32_t length = (uint32_t)header[0] << 24 | (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];
    return length <= MAX_FRAME ? length : 0;
}

struct value {
    const uint8_t *octets; /* NULL: not in this frame */
    size_t length;
};

enum { TAGS = 256 };

/* Each tag at most once; a tag that nobody asks for is ignored. */
static bool split(const uint8_t *at, const uint8_t *end, struct value values[TAGS])
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

static bool number(const struct value *value, size_t octets, unsigned most, unsigned *number)
{
    if (value->octets == NULL || value->length != octets)
        return false;
    *number = 0;
    for (size_t i = 0; i < octets; i++)
        *number = *number << 8 | value->octets[i];
    return *number <= most;
}

/* Octets of the UTF-8 letter at the start, 0 if none may be shown: malformed, overlong, a surrogate, beyond Unicode, or
 * a control character (C0, DEL, C1), which could steer the terminal. */
static size_t letter(const uint8_t *at, size_t left)
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

static bool text(const struct value *value, char *text)
{
    if (value->octets == NULL)
        return false;
    for (size_t at = 0; at < value->length;) {
        size_t octets = letter(value->octets + at, value->length - at);
        if (octets == 0)
            return false;
        at += octets;
    }
    memcpy(text, value->octets, value->length);
    text[value->length] = '\0';
    return true;
}

static bool role(const struct value *value, enum role *role)
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
    if (length < 1 || length > MAX_FRAME || !split(body + 1, body + length, values))
        return false;
    reply->type = (enum type)body[0];
    switch (body[0]) {
    case PROMPT:
        if (!text(&values[TAG_TEXT], reply->text) || !number(&values[TAG_ECHO], 1, 1, &found))
            return false;
        reply->echo = found == 1;
        return role(&values[TAG_ROLE], &reply->role);
    case TEXT:
        if (!text(&values[TAG_TEXT], reply->text) || !number(&values[TAG_STYLE], 1, STYLE_ERROR, &found))
            return false;
        reply->style = (enum style)found;
        return true;
    case WAIT:
        return number(&values[TAG_SECONDS], 2, MAX_WAIT_SECONDS, &reply->seconds);
    case RESULT:
        return number(&values[TAG_CODE], 1, UINT8_MAX, &reply->code) &&
               (values[TAG_DELAY_MS].octets == NULL ||
                number(&values[TAG_DELAY_MS], 2, MAX_DELAY_MS, &reply->delay_ms));
    default:
        return false;
    }
}
