/* Logs in through PAM, one after the other, and says how long each login took.
 *
 *     pamlogins FOLDER SERVICE < "user code" a line
 *
 * Prints a line for each login: result nanoseconds; and at the end "cpu" with the nanoseconds of processor time that this
 * process has used for all of them: the module's share, libpam's included. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <security/pam_appl.h>

enum { MOST = 10000, LONGEST = 64 };

static char users[MOST][LONGEST], codes[MOST][LONGEST];

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *code)
{
    *responses = calloc((size_t)count, sizeof **responses);
    for (int i = 0; i < count; i++)
        if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF || messages[i]->msg_style == PAM_PROMPT_ECHO_ON)
            (*responses)[i].resp = strdup(code);
    return PAM_SUCCESS;
}

static void no_delay(int result, unsigned microseconds, void *data)
{
    (void)result, (void)microseconds, (void)data;
}

static long long now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int login(const char *folder, const char *service, const char *user, char *code)
{
    struct pam_conv conv = {converse, code};
    pam_handle_t *pamh = NULL;
    if (pam_start_confdir(service, user, &conv, folder, &pamh) != PAM_SUCCESS)
        exit(2);
    pam_set_item(pamh, PAM_FAIL_DELAY, (const void *)no_delay);
    int result = pam_authenticate(pamh, 0);
    pam_end(pamh, result);
    return result;
}

int main(int argc, char **argv)
{
    int count = 0;
    if (argc != 3)
        return 2;
    while (count < MOST && scanf("%63s %63s", users[count], codes[count]) == 2)
        count++;
    long long cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < count; i++) {
        long long begun = now(CLOCK_MONOTONIC);
        int result = login(argv[1], argv[2], users[i], codes[i]);
        printf("%d %lld\n", result, now(CLOCK_MONOTONIC) - begun);
    }
    printf("cpu %lld\n", now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
