/* Stands between a broker and its files: records every change and sync in order, and fails one call on demand.
 *
 * For tests only, loaded by LD_PRELOAD. SHIM_DIR is the data directory, an absolute path; only what lies in it
 * is seen. SHIM_LOG is the file that records are appended to. SHIM_FAIL=N:KIND makes the Nth call of
 * this process fail: KIND is eio, enospc or short (a write of half of its octets; eio for other calls).
 *
 * A record is a header, the path below the directory, for a rename or link the second path, and the data of a write.
 * Calls go to the kernel directly, so nothing here waits for another library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, FAILED = 99 };

/* CLOCK_MONOTONIC at the beginning of the call. */
struct header {
    uint64_t start;
    uint64_t offset;
    uint64_t len;
    uint8_t kind;
    uint8_t synced;
    uint16_t path_len;
    uint32_t other_len;
};

#define FILES 65536

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_len;
static int log_fd = -1;
static long fail_at;
static char fail_kind[16];
static long calls;
static struct {
    char *path;
    int synced;
} files[FILES];

static void begin(void) {
    const char *dir = getenv("SHIM_DIR");
    const char *log = getenv("SHIM_LOG");
    const char *fail = getenv("SHIM_FAIL");
    if (!dir) return;
    if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fail) sscanf(fail, "%ld:%15s", &fail_at, fail_kind);
    root_len = strlen(dir);
    root = strdup(dir);
}

/* The path below the directory, if there is one; "" is the directory itself. The result is to be freed. */
static char *below(int at, const char *path) {
    char full[8192];
    pthread_once(&once, begin);
    if (!root || !path) return NULL;
    if (path[0] != '/' && at >= 0 && at < FILES && files[at].path) {
        snprintf(full, sizeof full, "%s%s%s", files[at].path, files[at].path[0] ? "/" : "", path);
        return strdup(full);
    }
    if (path[0] != '/') return NULL;
    if (strncmp(path, root, root_len) != 0) return NULL;
    if (path[root_len] == 0) return strdup("");
    return path[root_len] == '/' ? strdup(path + root_len + 1) : NULL;
}

static const char *known(int fd) {
    pthread_once(&once, begin);
    return root && fd >= 0 && fd < FILES ? files[fd].path : NULL;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void put(const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        long wrote = syscall(SYS_write, log_fd, at, len);
        if (wrote <= 0) abort();
        at += wrote;
        len -= (size_t)wrote;
    }
}

static void record(struct header *header, const char *path, const char *other, const struct iovec *iov, int n) {
    uint64_t left = header->kind == WRITE ? header->len : 0;
    if (log_fd < 0) return;
    header->path_len = (uint16_t)strlen(path);
    header->other_len = other ? (uint32_t)strlen(other) : 0;
    put(header, sizeof *header);
    put(path, header->path_len);
    if (other) put(other, header->other_len);
    for (int i = 0; i < n && left > 0; i++) {
        size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;
        put(iov[i].iov_base, len);
        left -= len;
    }
}

/* Whether this call is the one to fail; sets errno. 2 asks for a short write. */
static int fails(const char *what, const char *path) {
    if (++calls != fail_at) return 0;
    struct header header = { .start = now(), .kind = FAILED, .offset = (uint64_t)calls };
    record(&header, path, what, NULL, 0);
    errno = strcmp(fail_kind, "enospc") == 0 ? ENOSPC : EIO;
    return strcmp(fail_kind, "short") == 0 && strstr(what, "write") ? 2 : 1;
}

static int open_common(int at, const char *path, int flags, mode_t mode) {
    char *name = below(at, path);
    if (!name) return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&mutex);
    struct header header = { .start = now(), .kind = CREATE, .len = (flags & O_TRUNC) != 0 };
    struct stat stat;
    int fd = -1;
    int is_new = fstatat(at, path, &stat, 0) != 0;
    if (!fails("open", name)) {
        fd = (int)syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0) {
            if (((flags & O_CREAT) && is_new) || (flags & O_TRUNC)) record(&header, name, NULL, NULL, 0);
            if (fd < FILES) {
                free(files[fd].path);
                files[fd].path = name;
                files[fd].synced = (flags & O_DSYNC) != 0;
                name = NULL;
            }
        }
    }
    int saved = errno;
    free(name);
    pthread_mutex_unlock(&mutex);
    errno = saved;
    return fd;
}

#define OPEN(name, ...)                                                                                                \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode = va_arg(args, mode_t);                                                                                   \
        va_end(args);                                                                                                  \
    }

int open(const char *path, int flags, ...) { OPEN() return open_common(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN() return open_common(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { OPEN() return open_common(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { OPEN() return open_common(at, path, flags, mode); }

int close(int fd) {
    if (known(fd)) {
        pthread_mutex_lock(&mutex);
        free(files[fd].path);
        files[fd].path = NULL;
        pthread_mutex_unlock(&mutex);
    }
    return (int)syscall(SYS_close, fd);
}

/* offset < 0: at the file's own position. */
static ssize_t write_common(const char *what, int fd, const struct iovec *iov, int n, off_t offset) {
    struct iovec half;
    pthread_mutex_lock(&mutex);
    off_t at = offset >= 0 ? offset : (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    struct header header = { .start = now(), .kind = WRITE, .offset = (uint64_t)at, .synced = files[fd].synced != 0 };
    int failure = fails(what, files[fd].path);
    ssize_t wrote = -1;
    if (failure == 2) {
        half = iov[0];
        half.iov_len /= 2;
        iov = &half;
        n = 1;
        failure = 0;
    }
    if (!failure) {
        wrote = offset >= 0 ? syscall(SYS_pwritev, fd, iov, n, offset, 0) : syscall(SYS_writev, fd, iov, n);
        if (wrote > 0) {
            header.len = (uint64_t)wrote;
            record(&header, files[fd].path, NULL, iov, n);
        }
    }
    int saved = errno;
    pthread_mutex_unlock(&mutex);
    errno = saved;
    return wrote;
}

ssize_t write(int fd, const void *data, size_t len) {
    if (!known(fd)) return syscall(SYS_write, fd, data, len);
    struct iovec iov = { (void *)data, len };
    return write_common("write", fd, &iov, 1, -1);
}
ssize_t writev(int fd, const struct iovec *iov, int n) {
    if (!known(fd)) return syscall(SYS_writev, fd, iov, n);
    return write_common("writev", fd, iov, n, -1);
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t at) {
    if (!known(fd)) return syscall(SYS_pwrite64, fd, data, len, at);
    struct iovec iov = { (void *)data, len };
    return write_common("pwrite", fd, &iov, 1, at);
}
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at) { return pwrite(fd, data, len, at); }
ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at) {
    if (!known(fd)) return syscall(SYS_pwritev, fd, iov, n, at, 0);
    return write_common("pwritev", fd, iov, n, at);
}
ssize_t pwritev64(int fd, const struct iovec *iov, int n, off_t at) { return pwritev(fd, iov, n, at); }

/* A call on a descriptor that either works, and is recorded, or does not. */
#define ON_FILE(what, kind_, offset_, call)                                                                            \
    if (!known(fd)) return (int)(call);                                                                                \
    pthread_mutex_lock(&mutex);                                                                                        \
    struct header header = { .start = now(), .kind = kind_, .offset = (uint64_t)(offset_) };                           \
    int result = -1;                                                                                                   \
    if (!fails(what, files[fd].path)) {                                                                                \
        result = (int)(call);                                                                                          \
        if (result == 0) record(&header, files[fd].path, NULL, NULL, 0);                                               \
    }                                                                                                                  \
    int saved = errno;                                                                                                 \
    pthread_mutex_unlock(&mutex);                                                                                      \
    errno = saved;                                                                                                     \
    return result;

int fsync(int fd) { ON_FILE("fsync", SYNC, 0, syscall(SYS_fsync, fd)) }
int fdatasync(int fd) { ON_FILE("fdatasync", SYNC, 0, syscall(SYS_fdatasync, fd)) }
int ftruncate(int fd, off_t len) { ON_FILE("ftruncate", TRUNCATE, len, syscall(SYS_ftruncate, fd, len)) }
int ftruncate64(int fd, off_t len) { return ftruncate(fd, len); }

/* A call on names; both paths are needed to be below the directory for a record. */
#define ON_NAMES(what, kind_, at, path, other_at, other, call)                                                         \
    char *name = below(at, path);                                                                                      \
    if (!name) return (int)(call);                                                                                     \
    char *second = below(other_at, other);                                                                            \
    pthread_mutex_lock(&mutex);                                                                                        \
    struct header header = { .start = now(), .kind = kind_ };                                                          \
    int result = -1;                                                                                                   \
    if (!fails(what, name)) {                                                                                          \
        result = (int)(call);                                                                                          \
        if (result == 0) record(&header, name, second, NULL, 0);                                                       \
    }                                                                                                                  \
    int saved = errno;                                                                                                 \
    free(name);                                                                                                        \
    free(second);                                                                                                      \
    pthread_mutex_unlock(&mutex);                                                                                      \
    errno = saved;                                                                                                     \
    return result;

static const char *const none;

int rename(const char *from, const char *to) {
    ON_NAMES("rename", RENAME, AT_FDCWD, from, AT_FDCWD, to, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0))
}
int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    ON_NAMES("link", LINK, at, from, to_at, to, syscall(SYS_linkat, at, from, to_at, to, flags))
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int unlinkat(int at, const char *path, int flags) {
    int kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    ON_NAMES("unlink", kind, at, path, 0, none, syscall(SYS_unlinkat, at, path, flags))
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) {
    ON_NAMES("mkdir", MKDIR, AT_FDCWD, path, 0, none, syscall(SYS_mkdirat, AT_FDCWD, path, mode))
}
