/* The module's reader of frames, held against the Python one: a line of hex in (a stream of the service's octets), a
 * line out: what the first frame says, or "bad". Built with the address and undefined-behaviour sanitizers. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

enum { MOST = HEADER_OCTETS + MAX_FRAME + 64 };

static size_t unhex(const char *line, uint8_t *octets)
{
    size_t count = 0;
    unsigned octet;
    for (; count < MOST && sscanf(line, "%2x", &octet) == 1; line += 2)
        octets[count++] = (uint8_t)octet;
    return count;
}

static void print_hex(const char *text)
{
    for (; *text != '\0'; text++)
        printf("%02x", (unsigned)(uint8_t)*text);
}

static void print_reply(const struct reply *reply)
{
    static const char *const roles[] = {"none", "password", "otp"};
    switch (reply->type) {
    case PROMPT:
        printf("PROMPT %d %s ", reply->echo, roles[reply->role]);
        print_hex(reply->text);
        break;
    case TEXT:
        printf("TEXT %d ", reply->style);
        print_hex(reply->text);
        break;
    case WAIT:
        printf("WAIT %u", reply->seconds);
        break;
    default:
        printf("RESULT %u %u", reply->code, reply->delay_ms);
    }
    putchar('\n');
}

int main(void)
{
    static uint8_t octets[MOST];
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        size_t count = unhex(line, octets), length = count < HEADER_OCTETS ? 0 : frame_length(octets);
        /* A block of its own, so that an octet read beyond the frame is seen. */
        uint8_t *body = malloc(length > 0 ? length : 1);
        struct reply reply;
        bool good = length > 0 && HEADER_OCTETS + length <= count;
        if (good)
            memcpy(body, octets + HEADER_OCTETS, length);
        if (good && reply_read(body, length, &reply))
            print_reply(&reply);
        else
            puts("bad");
        free(body);
    }
    free(line);
    return 0;
}
