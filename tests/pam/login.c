/* A host for the tests: PAM calls against a private folder of service files, no root and no wrapper needed.
 *
 *     login FOLDER SERVICE USER THREADS TIMES FLAGS ACTION... [ITEM=VALUE...] < answers, one a line
 *
 * With one thread and one time it prints what happens, a line each: prompt0|text (prompt1: echoed), info|text, error|text,
 * delay|microseconds, result|action|number. Otherwise it prints how often each result of the first action came, as
 * count|number|times. A line "^C" gives up; after the last line, the last answer is given again. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <security/pam_appl.h>
#include <security/pam_modules.h>

enum { MOST_ANSWERS = 64, MOST_RESULTS = 64, MOST_WORDS = 16 };

static const char *folder, *service, *user;
static char *answers[MOST_ANSWERS];
static int answer_count, threads, times, flags, word_count;
static char **words;
static int counts[MOST_RESULTS];
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

struct login {
    int next;
};

static int printing(void)
{
    return threads == 1 && times == 1;
}

static void on_delay(int result, unsigned microseconds, void *data)
{
    (void)result, (void)data;
    if (printing())
        printf("delay|%u\n", microseconds);
}

static int reply(struct login *login, const struct pam_message *message, struct pam_response *response)
{
    static const char *const kinds[] = {[PAM_PROMPT_ECHO_OFF] = "prompt0", [PAM_PROMPT_ECHO_ON] = "prompt1",
                                        [PAM_ERROR_MSG] = "error", [PAM_TEXT_INFO] = "info"};
    if (printing()) {
        printf("%s|%s\n", kinds[message->msg_style], message->msg);
        fflush(stdout);
    }
    if (message->msg_style == PAM_ERROR_MSG || message->msg_style == PAM_TEXT_INFO)
        return 1;
    if (answer_count == 0)
        return 0;
    const char *answer = answers[login->next < answer_count ? login->next++ : answer_count - 1];
    if (strcmp(answer, "^C") == 0)
        return 0;
    response->resp = strdup(answer);
    return 1;
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
    *responses = calloc((size_t)count, sizeof **responses);
    for (int i = 0; i < count; i++)
        if (!reply(data, messages[i], &(*responses)[i])) {
            free(*responses);
            *responses = NULL;
            return PAM_CONV_ERR;
        }
    return PAM_SUCCESS;
}

static int act(pam_handle_t *pamh, const char *action)
{
    if (strcmp(action, "authenticate") == 0)
        return pam_authenticate(pamh, flags);
    if (strcmp(action, "acct_mgmt") == 0)
        return pam_acct_mgmt(pamh, flags);
    if (strcmp(action, "setcred") == 0)
        return pam_setcred(pamh, PAM_ESTABLISH_CRED);
    if (strcmp(action, "open_session") == 0)
        return pam_open_session(pamh, flags);
    if (strcmp(action, "close_session") == 0)
        return pam_close_session(pamh, flags);
    if (strcmp(action, "chauthtok") == 0)
        return pam_chauthtok(pamh, flags);
    return -1;
}

static void set_item(pam_handle_t *pamh, const char *word, const char *value)
{
    int item = strncmp(word, "rhost=", 6) == 0   ? PAM_RHOST
               : strncmp(word, "ruser=", 6) == 0 ? PAM_RUSER
                                                 : PAM_TTY;
    pam_set_item(pamh, item, value);
}

static void one_login(void)
{
    struct login login = {0};
    struct pam_conv conv = {converse, &login};
    pam_handle_t *pamh = NULL;
    int result = pam_start_confdir(service, user, &conv, folder, &pamh), first = -1;
    if (result != PAM_SUCCESS) {
        fprintf(stderr, "pam_start: %d\n", result);
        exit(2);
    }
    pam_set_item(pamh, PAM_FAIL_DELAY, (const void *)on_delay);
    for (int i = 0; i < word_count; i++) {
        const char *value = strchr(words[i], '=');
        if (value != NULL) {
            set_item(pamh, words[i], value + 1);
            continue;
        }
        result = act(pamh, words[i]);
        first = first < 0 ? result : first;
        if (printing())
            printf("result|%s|%d\n", words[i], result);
    }
    pam_end(pamh, result);
    pthread_mutex_lock(&counting);
    counts[first >= 0 && first < MOST_RESULTS ? first : MOST_RESULTS - 1]++;
    pthread_mutex_unlock(&counting);
}

static void *many_logins(void *nothing)
{
    for (int i = 0; i < times; i++)
        one_login();
    return nothing;
}

int main(int argc, char **argv)
{
    pthread_t running[256];
    char *line = NULL;
    size_t size = 0;
    if (argc < 8 || (threads = atoi(argv[4])) < 1 || threads > 256)
        return 2;
    folder = argv[1], service = argv[2], user = argv[3];
    times = atoi(argv[5]), flags = (int)strtol(argv[6], NULL, 0);
    words = argv + 7, word_count = argc - 7;
    for (ssize_t got; answer_count < MOST_ANSWERS && (got = getline(&line, &size, stdin)) >= 0;) {
        if (got > 0 && line[got - 1] == '\n')
            line[got - 1] = '\0';
        answers[answer_count++] = strdup(line);
    }
    free(line);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&running[i], NULL, many_logins, NULL) != 0)
            return 2;
    for (int i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    if (!printing())
        for (int i = 0; i < MOST_RESULTS; i++)
            if (counts[i] > 0)
                printf("count|%d|%d\n", i, counts[i]);
    while (answer_count > 0)
        free(answers[--answer_count]);
    return 0;
}
