/* Another module of the stack, for the tests: "authtok=X" leaves a password behind, "show" tells which one it finds. */

#include <stdio.h>
#include <string.h>

#include <security/pam_ext.h>
#include <security/pam_modules.h>

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    const void *found = NULL;
    (void)flags;
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "authtok=", 8) == 0)
            pam_set_item(pamh, PAM_AUTHTOK, argv[i] + 8);
        else if (pam_get_item(pamh, PAM_AUTHTOK, &found) == PAM_SUCCESS)
            pam_info(pamh, "authtok %s", found != NULL ? (const char *)found : "(none)");
    return PAM_SUCCESS;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}
