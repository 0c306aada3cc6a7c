/* A disk that fails when told to, for LD_PRELOAD: what a process writes to the store's files is "in memory" until a
 * flush, which copies it page by page into DISK_FOLDER/disk. A flush that is told to fail returns EIO and counts the
 * pages as clean, as Linux does: they are never copied, unless they are written again. A power cut leaves what is in
 * DISK_FOLDER/disk.
 *
 * DISK_STORE: path of the store; every file whose path begins with it belongs to the disk, but for the log's index.
 * DISK_FOLDER/fail: while it is there and not empty, the next flush of the file whose name ends with its text fails; it
 * is removed by that. Two kinds of flush fail and say that they succeeded, as ext4's do: DISK_FOLDER/to-be-gone becomes
 * DISK_FOLDER/gone, and while that is there the disk's files cannot be read (it was taken away); DISK_FOLDER/to-be-aborted
 * becomes DISK_FOLDER/aborted, and what changes the times of a file notices that the journal was given up: once it
 * succeeds and makes DISK_FOLDER/read-only of it, then it fails, as every write does. DISK_FOLDER/boot: read in the place of the kernel's boot ID, if it is there.
 * DISK_MINE: a process that has it looks for fail, to-be-gone and to-be-aborted with this text behind their names, so that
 * one process meets the failure and no other. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 65536
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && !strcmp(text + a - b, end);
}

/* The name within the folder of a file of the disk; NULL for any other. */
static const char *name_of(const char *path) {
    const char *store = getenv("DISK_STORE");
    if (!store || strncmp(path, store, strlen(store)) || ends_with(path, "-shm") || strstr(path, " (deleted)"))
        return NULL;
    return strrchr(path, '/') + 1;
}

static const char *name_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return NULL;
    path[length] = 0;
    return name_of(path);
}

static void in_folder(char *path, const char *kind, const char *name) {
    snprintf(path, PATH_MAX, "%s/%s/%s", getenv("DISK_FOLDER"), kind, name);
}

/* One octet for each page: whether it was written since the last flush. Shared by all processes. */
static unsigned char *dirty_of(const char *name) {
    char path[PATH_MAX];
    in_folder(path, "dirty", name);
    int fd = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || REAL(ftruncate)(fd, PAGES) < 0)
        abort();
    unsigned char *map = mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        abort();
    return map;
}

static void written(int fd, off_t at, ssize_t length) {
    char path[PATH_MAX];
    const char *name = length > 0 ? name_of_fd(fd, path) : NULL;
    if (!name)
        return;
    unsigned char *dirty = dirty_of(name);
    memset(dirty + at / PAGE, 1, (at + length - 1) / PAGE - at / PAGE + 1);
    munmap(dirty, PAGES);
}

static int is_there(const char *what) {
    char path[PATH_MAX];
    in_folder(path, ".", what);
    return getenv("DISK_FOLDER") && !access(path, F_OK);
}

ssize_t pwrite64(int fd, const void *octets, size_t length, off64_t at) {
    char path[PATH_MAX];
    if (is_there("read-only") && name_of_fd(fd, path)) {
        errno = EROFS;
        return -1;
    }
    ssize_t done = REAL(pwrite64)(fd, octets, length, at);
    written(fd, at, done);
    return done;
}

ssize_t pwrite(int fd, const void *octets, size_t length, off_t at) { return pwrite64(fd, octets, length, at); }

ssize_t write(int fd, const void *octets, size_t length) {
    ssize_t done = REAL(write)(fd, octets, length);
    if (done > 0) {
        off_t end = lseek(fd, 0, SEEK_CUR);
        if (end >= done)
            written(fd, end - done, done);
    }
    return done;
}

static int becomes(const char *what, const char *then) {
    char old[PATH_MAX], new[PATH_MAX];
    in_folder(old, ".", what);
    in_folder(new, ".", then);
    return !(*then ? REAL(rename)(old, new) : REAL(unlink)(old));
}

/* Whether the next flush of this file is to do so; then the file is called otherwise, or removed. */
static int is_to(const char *what, const char *name, const char *then) {
    char path[PATH_MAX], file[NAME_MAX], end[NAME_MAX + 1] = "";
    const char *mine = getenv("DISK_MINE");
    snprintf(file, sizeof file, "%s%s", what, mine ? mine : "");
    in_folder(path, ".", file);
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, end, NAME_MAX);
    close(fd);
    return length > 0 && ends_with(name, end) && becomes(file, then);
}

ssize_t pread64(int fd, void *octets, size_t length, off64_t at) {
    char path[PATH_MAX];
    if (is_there("gone") && name_of_fd(fd, path)) {
        errno = EIO;
        return -1;
    }
    return REAL(pread64)(fd, octets, length, at);
}

int futimens(int fd, const struct timespec times[2]) {
    char path[PATH_MAX];
    if (is_there("read-only") && name_of_fd(fd, path)) {
        errno = EROFS;
        return -1;
    }
    if (is_there("aborted") && name_of_fd(fd, path))
        becomes("aborted", "read-only");
    return REAL(futimens)(fd, times);
}

ssize_t pread(int fd, void *octets, size_t length, off_t at) { return pread64(fd, octets, length, at); }

static void copy(int fd, const char *name, unsigned char *dirty, int all) {
    char path[PATH_MAX], self[64], page[PAGE];
    struct stat found;
    in_folder(path, "disk", name);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int from = REAL(open)(self, O_RDONLY | O_CLOEXEC), to = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0 || fstat(fd, &found))
        abort();
    for (off_t at = 0; at < found.st_size; at += PAGE)
        if (all || dirty[at / PAGE]) {
            dirty[at / PAGE] = 0;
            ssize_t length = REAL(pread64)(from, page, PAGE, at);
            if (length > 0 && REAL(pwrite64)(to, page, length, at) != length)
                abort();
        }
    if (REAL(ftruncate)(to, found.st_size))
        abort();
    close(from);
    close(to);
}

static int flush(int fd) {
    char path[PATH_MAX];
    const char *name = name_of_fd(fd, path);
    if (!name)
        return REAL(fdatasync)(fd);
    unsigned char *dirty = dirty_of(name);
    int fails = is_to("fail", name, "");
    int lies = is_to("to-be-gone", name, "gone") || is_to("to-be-aborted", name, "aborted");
    if (fails || lies)
        memset(dirty, 0, PAGES);
    else
        copy(fd, name, dirty, ends_with(name, ".state")); /* that one is written by mmap */
    munmap(dirty, PAGES);
    errno = EIO;
    return fails ? -1 : 0;
}

int fdatasync(int fd) { return flush(fd); }
int fsync(int fd) { return flush(fd); }

/* Names are on the disk at once, as behind a flush of the folder. */
int rename(const char *from, const char *to) {
    char old[PATH_MAX], new[PATH_MAX];
    int done = REAL(rename)(from, to);
    const char *a = name_of(from), *b = name_of(to);
    if (!done && a && b)
        for (const char **kind = (const char *[]){"disk", "dirty", NULL}; *kind; kind++) {
            in_folder(old, *kind, a);
            in_folder(new, *kind, b);
            REAL(unlink)(new);
            REAL(rename)(old, new);
        }
    return done;
}

int unlink(const char *file) {
    char path[PATH_MAX];
    int done = REAL(unlink)(file);
    const char *name = name_of(file);
    if (!done && name)
        for (const char **kind = (const char *[]){"disk", "dirty", NULL}; *kind; kind++) {
            in_folder(path, *kind, name);
            REAL(unlink)(path);
        }
    return done;
}

static const char *instead(const char *path, char *boot) {
    if (!getenv("DISK_FOLDER") || strcmp(path, "/proc/sys/kernel/random/boot_id"))
        return path;
    in_folder(boot, ".", "boot");
    return access(boot, R_OK) ? path : boot;
}

int open(const char *path, int flags, ...) {
    char boot[PATH_MAX];
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return REAL(open)(instead(path, boot), flags, mode);
}

int open64(const char *path, int flags, ...) {
    char boot[PATH_MAX];
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return REAL(open64)(instead(path, boot), flags, mode);
}
