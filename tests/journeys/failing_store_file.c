/* For LD_PRELOAD: while the file $FAILS exists, writes to the store's file ($FAILS_AT) alone fail with the error whose
 * number $FAILS holds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    char link[64], path[PATH_MAX];
    int number = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || !getenv("FAILS_AT"))
        return 0;
    path[length] = 0;
    if (strcmp(path, getenv("FAILS_AT")))
        return 0;
    FILE *file = fopen(getenv("FAILS"), "r");
    if (file) {
        if (fscanf(file, "%d", &number) != 1)
            number = 0;
        fclose(file);
    }
    return number;
}

ssize_t pwrite64(int fd, const void *octets, size_t size, off64_t at) {
    int number = fails(fd);
    if (number) {
        errno = number;
        return -1;
    }
    return ((__typeof__(&pwrite64))dlsym(RTLD_NEXT, "pwrite64"))(fd, octets, size, at);
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t at) {
    return pwrite64(fd, octets, size, at);
}
