/* The PAM module: passes prompts and answers between a host's login and the Sekisho service behind a Unix socket. The
 * options are in pam_sekisho(8).
 *
 * Never decides: only RESULT 0 of the service is a success. Never keeps state between two calls, never reads a file or
 * the environment, never starts a thread. Overwrites every secret that it has copied before the call returns.
 *
 * What the person at the login can cause (a user name or an answer that is too long, no answer) is a refusal and never
 * an outage: with on_unavail=ignore, an outage may let that person in. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define PAM_SM_AUTH
#define PAM_SM_ACCOUNT
#define PAM_SM_SESSION
#define PAM_SM_PASSWORD
#include <security/pam_ext.h>
#include <security/pam_modules.h>

#include "frames.h"
#include "link.h"

#define EXPORTED __attribute__((visibility("default")))

enum { PROTOCOL = 1, DEFAULT_TIMEOUT = 5, MAX_TIMEOUT = 120, MAX_PROFILE = 64, MAX_PATH = 107 };

struct options {
    const char *socket, *profile;
    uid_t server;
    unsigned timeout; /* seconds that each step of the service may take */
    bool first_pass_only, first_pass, forward_pass, ignore_unknown_user, ignore_outage, no_delay, debug;
};

/* The state of one PAM call. */
struct call {
    pam_handle_t *pamh;
    struct options options;
    const char *op;
    int flags;
    int link;
    unsigned frames; /* sent and received */
    bool received;   /* the service has sent a valid frame */
    bool prompted;   /* the person has seen a prompt: they may be the cause of any later failure */
    char *password;  /* with forward_pass: the answer to the password prompt, from malloc */
};

/* Options */

static bool is_number(const char *text, unsigned long least, unsigned long most, unsigned long *number)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *number = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && *number >= least && *number <= most;
}

/* Returns the value of an option "name=value", or NULL if the option has another name. */
static const char *value_of(const char *word, const char *name)
{
    size_t length = strlen(name);
    return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

/* Sets an option that has a value. Returns false if its name is unknown or its value is invalid. */
static bool set_value(struct options *options, const char *word)
{
    const char *value;
    unsigned long number = 0;
    if ((value = value_of(word, "socket")) != NULL) {
        options->socket = value;
        return value[0] == '/' && strlen(value) <= MAX_PATH;
    }
    if ((value = value_of(word, "profile")) != NULL) {
        options->profile = value;
        return value[0] != '\0' && strlen(value) <= MAX_PROFILE;
    }
    if ((value = value_of(word, "timeout")) != NULL) {
        bool good = is_number(value, 1, MAX_TIMEOUT, &number);
        options->timeout = (unsigned)number;
        return good;
    }
    if ((value = value_of(word, "server_uid")) != NULL) {
        bool good = is_number(value, 0, (uid_t)-2, &number);
        options->server = (uid_t)number;
        return good;
    }
    if ((value = value_of(word, "on_unavail")) != NULL) {
        options->ignore_outage = strcmp(value, "ignore") == 0;
        return options->ignore_outage || strcmp(value, "deny") == 0;
    }
    return false;
}

/* Sets one option. Returns false if it is unknown or its value is invalid. */
static bool set_option(struct options *options, const char *word)
{
    const struct {
        const char *word;
        bool *option;
    } words[] = {
        {"use_first_pass", &options->first_pass_only},
        {"try_first_pass", &options->first_pass},
        {"forward_pass", &options->forward_pass},
        {"ignore_unknown_user", &options->ignore_unknown_user},
        {"nodelay", &options->no_delay},
        {"debug", &options->debug},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i].word) == 0)
            return *words[i].option = true;
    return set_value(options, word);
}

static bool read_options(struct call *call, int argc, const char **argv)
{
    call->options = (struct options){.socket = "/run/sekisho/pam.sock", .timeout = DEFAULT_TIMEOUT};
    for (int i = 0; i < argc; i++)
        if (!set_option(&call->options, argv[i])) {
            pam_syslog(call->pamh, LOG_ERR, "unknown option or value: %s (see pam_sekisho(8))", argv[i]);
            return false;
        }
    return true;
}

/* Sending and receiving frames */

/* The deadline of a step that may take so many seconds from now. */
static int64_t deadline_in(unsigned seconds)
{
    return link_now() + (int64_t)seconds * 1000;
}

static bool send_frame(struct call *call, const struct frame *frame, int64_t deadline)
{
    call->frames++;
    return link_send(call->link, frame->octets, frame->length, deadline);
}

/* Receives one frame. Returns false with errno: EBADMSG if it is invalid, EMSGSIZE if the conversation has more than
 * MAX_FRAMES frames, or the cause from link_receive(). */
static bool receive_frame(struct call *call, struct reply *reply, int64_t deadline)
{
    uint8_t header[HEADER_OCTETS], body[MAX_FRAME];
    if (++call->frames > MAX_FRAMES) {
        errno = EMSGSIZE;
        return false;
    }
    if (!link_receive(call->link, header, sizeof header, deadline))
        return false;
    size_t length = frame_length(header);
    if (length > 0 && !link_receive(call->link, body, length, deadline))
        return false;
    if (length == 0 || !reply_read(body, length, reply)) {
        errno = EBADMSG;
        return false;
    }
    call->received = true;
    if (call->options.debug)
        pam_syslog(call->pamh, LOG_DEBUG, "frame %u: type 0x%02x", call->frames, (unsigned)reply->type);
    return true;
}

/* Appends a text; NULL is left out. Returns false if it does not fit. */
static bool add_text(struct frame *frame, enum tag tag, const char *text)
{
    return text == NULL || frame_add(frame, tag, text, strlen(text));
}

/* Returns a PAM item that is a text, or NULL if it is not set. It belongs to libpam. */
static const char *item(const struct call *call, int type)
{
    const void *found = NULL;
    return pam_get_item(call->pamh, type, &found) == PAM_SUCCESS ? found : NULL;
}

static bool is_account(const struct call *call)
{
    return strcmp(call->op, "acct") == 0;
}

/* Writes the START frame. Returns PAM_SUCCESS, PAM_USER_UNKNOWN if there is no user name, or PAM_AUTH_ERR if
 * use_first_pass finds no password or a value is too long for a frame; the service is then not asked. */
static int write_start(const struct call *call, struct frame *frame)
{
    const char *user = NULL, *service = item(call, PAM_SERVICE);
    const uint8_t version = PROTOCOL;
    const uint32_t bits = (uint32_t)call->flags;
    const uint8_t flags[] = {(uint8_t)(bits >> 24), (uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
    const char *authtok = NULL;

    if (pam_get_user(call->pamh, &user, NULL) != PAM_SUCCESS || user == NULL || user[0] == '\0')
        return PAM_USER_UNKNOWN;
    if (!is_account(call) && (call->options.first_pass || call->options.first_pass_only))
        authtok = item(call, PAM_AUTHTOK);
    if (!is_account(call) && call->options.first_pass_only && authtok == NULL)
        return PAM_AUTH_ERR;
    frame_begin(frame, START);
    bool fits = frame_add(frame, TAG_VERSION, &version, sizeof version) && add_text(frame, TAG_OP, call->op) &&
                add_text(frame, TAG_SERVICE, service ? service : "") && add_text(frame, TAG_USER, user) &&
                add_text(frame, TAG_RUSER, item(call, PAM_RUSER)) &&
                add_text(frame, TAG_RHOST, item(call, PAM_RHOST)) && add_text(frame, TAG_TTY, item(call, PAM_TTY)) &&
                frame_add(frame, TAG_FLAGS, flags, sizeof flags) &&
                add_text(frame, TAG_PROFILE, call->options.profile) && add_text(frame, TAG_AUTHTOK, authtok);
    return fits ? PAM_SUCCESS : PAM_AUTH_ERR;
}

/* Prompts, texts and answers */

/* Overwrites and frees a secret from malloc, and sets the pointer to NULL. NULL is allowed. */
static void wipe(char **secret)
{
    if (*secret != NULL)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

/* Shows a text of the service, unless the host has asked for silence. */
static void show_text(const struct call *call, const struct reply *reply)
{
    if ((unsigned)call->flags & PAM_SILENT)
        return;
    /* The result is ignored: a host that cannot show the text may go on. */
    pam_prompt(call->pamh, reply->style == STYLE_ERROR ? PAM_ERROR_MSG : PAM_TEXT_INFO, NULL, "%s", reply->text);
}

/* Shows a prompt and writes the answer into ``frame`` as ANSWER. Returns false if there is no answer or it is too long;
 * ``frame`` is then an ABORT. With forward_pass, the password is also kept in ``call``. */
static bool ask_person(struct call *call, const struct reply *prompt, struct frame *frame)
{
    char *answer = NULL;
    call->prompted = true;
    bool given = pam_prompt(call->pamh, prompt->echo ? PAM_PROMPT_ECHO_ON : PAM_PROMPT_ECHO_OFF, &answer, "%s",
                            prompt->text) == PAM_SUCCESS &&
                 answer != NULL;
    if (given) {
        frame_begin(frame, ANSWER);
        given = frame_add(frame, TAG_TEXT, answer, strlen(answer));
    }
    if (!given)
        frame_begin(frame, ABORT);
    if (given && prompt->role == ROLE_PASSWORD && call->options.forward_pass) {
        wipe(&call->password);
        call->password = answer;
        return true;
    }
    wipe(&answer);
    return given;
}

/* Results */

/* Returns the PAM result for a result code of the service other than 0 (ResultCode in pam_module/frames.py). Any other
 * code means that the service cannot decide: an outage. */
static int pam_result(const struct call *call, unsigned code)
{
    switch (code) {
    case 1:
        return PAM_AUTH_ERR;
    case 2:
        return call->options.ignore_unknown_user ? PAM_IGNORE : PAM_USER_UNKNOWN;
    case 3:
        return PAM_MAXTRIES;
    case 4:
        return PAM_ACCT_EXPIRED;
    case 5: /* the control "required" counts NEW_AUTHTOK_REQD as success: never return it in the auth phase */
        return is_account(call) ? PAM_NEW_AUTHTOK_REQD : PAM_AUTH_ERR;
    case 6:
        return PAM_PERM_DENIED;
    case 7:
        return call->options.ignore_unknown_user ? PAM_IGNORE : PAM_PERM_DENIED;
    default:
        return call->options.ignore_outage ? PAM_IGNORE : PAM_AUTHINFO_UNAVAIL;
    }
}

/* Handles RESULT: asks for the delay after a refusal, leaves the password to later modules after a success. Returns the
 * PAM result. */
static int finish(struct call *call, const struct reply *result)
{
    if (call->options.debug)
        pam_syslog(call->pamh, LOG_DEBUG, "result %u, delay %u ms", result->code, result->delay_ms);
    if (result->code != 0) {
        if (!call->options.no_delay && result->delay_ms > 0)
            pam_fail_delay(call->pamh, result->delay_ms * 1000);
        return pam_result(call, result->code);
    }
    if (call->password != NULL && pam_set_item(call->pamh, PAM_AUTHTOK, call->password) != PAM_SUCCESS)
        return PAM_AUTH_ERR;
    return PAM_SUCCESS;
}

/* Handles a failure to reach the service; its cause is in errno. Logs it and returns the PAM result: PAM_AUTH_ERR after
 * a prompt, otherwise PAM_AUTHINFO_UNAVAIL, or PAM_IGNORE with on_unavail=ignore before the first frame of the service.
 * A wrong owner of the socket, an invalid frame and a conversation that is too long are always PAM_AUTHINFO_UNAVAIL. */
static int unavailable(const struct call *call)
{
    bool broken = errno == EPERM || errno == EBADMSG || errno == EMSGSIZE;
    const char *hint = errno == EPERM      ? " (is server_uid= the service's user?)"
                       : errno == EBADMSG  ? " (what came is not this protocol)"
                       : errno == ENOTCONN ? " (closed by the service)"
                                           : "";
    pam_syslog(call->pamh, LOG_ERR, "no verdict from %s: %m%s", call->options.socket, hint);
    if (call->prompted)
        return broken ? PAM_AUTHINFO_UNAVAIL : PAM_AUTH_ERR;
    return call->options.ignore_outage && !broken && !call->received ? PAM_IGNORE : PAM_AUTHINFO_UNAVAIL;
}

/* Handles PROMPT: asks the person and sends the answer or ABORT. Returns PAM_SUCCESS if the conversation goes on, or
 * the PAM result. */
static int answer_prompt(struct call *call, const struct reply *prompt, struct frame *frame)
{
    bool given = false;
    if (is_account(call) || (call->options.first_pass_only && prompt->role == ROLE_PASSWORD))
        frame_begin(frame, ABORT); /* no prompt is allowed here */
    else
        given = ask_person(call, prompt, frame);
    bool sent = send_frame(call, frame, deadline_in(call->options.timeout)); /* from now: typing does not count */
    explicit_bzero(frame, sizeof *frame);
    if (!given)
        return PAM_AUTH_ERR;
    return sent ? PAM_SUCCESS : unavailable(call);
}

/* Connects, sends START and handles the service's frames until there is a result. Returns the PAM result. */
static int converse(struct call *call, struct frame *frame, struct reply *reply)
{
    const unsigned timeout = call->options.timeout;
    int64_t deadline = deadline_in(timeout);
    int verdict;
    call->link = link_open(call->options.socket, call->options.server, deadline);
    if (call->link < 0 || !send_frame(call, frame, deadline))
        return unavailable(call);
    for (;;) {
        if (!receive_frame(call, reply, deadline))
            return unavailable(call);
        switch (reply->type) {
        case RESULT:
            return finish(call, reply);
        case WAIT:
            deadline = deadline_in(reply->seconds);
            continue;
        case TEXT:
            show_text(call, reply);
            break;
        default:
            verdict = answer_prompt(call, reply, frame);
            if (verdict != PAM_SUCCESS)
                return verdict;
        }
        deadline = deadline_in(timeout);
    }
}

/* Runs one PAM call from options to result. ``op`` is "auth" or "acct", the rest is what libpam passes to the module.
 * Returns a PAM result; PAM_SERVICE_ERR for an unknown or invalid option. */
static int ask_service(pam_handle_t *pamh, const char *op, int flags, int argc, const char **argv)
{
    struct call call = {.pamh = pamh, .op = op, .flags = flags, .link = -1};
    struct frame frame;
    struct reply reply;
    if (!read_options(&call, argc, argv))
        return PAM_SERVICE_ERR;
    int verdict = write_start(&call, &frame);
    if (verdict == PAM_SUCCESS)
        verdict = converse(&call, &frame, &reply);
    explicit_bzero(&frame, sizeof frame);
    wipe(&call.password);
    if (call.link >= 0)
        close(call.link);
    return verdict;
}

/* The six functions that libpam calls: pam_sm_authenticate(3) and so on. Each returns a PAM result. */

/* Asks the service for password and code. Results: DIAGNOSTICS in pam_sekisho(8). */
EXPORTED int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    return ask_service(pamh, "auth", flags, argc, argv);
}

/* Asks the service whether the user may have a session; never prompts. Results: DIAGNOSTICS in pam_sekisho(8). */
EXPORTED int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    return ask_service(pamh, "acct", flags, argc, argv);
}

/* Does nothing and returns PAM_SUCCESS: the module sets no credentials. */
EXPORTED int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

/* Does nothing and returns PAM_SUCCESS. */
EXPORTED int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

/* Does nothing and returns PAM_SUCCESS. */
EXPORTED int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

/* Always returns PAM_AUTHTOK_ERR: passwords are not changed here. */
EXPORTED int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_AUTHTOK_ERR;
}
