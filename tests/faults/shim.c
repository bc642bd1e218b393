/* Makes a real process meet a failing disk: preloaded (LD_PRELOAD), it stands before the system calls
 * that write and sync files under one directory, and does what a control file says.
 *
 * MSGD_FAULTS_CONTROL  the control file; no file, no faults. Looked at on every call.
 * MSGD_FAULTS_UNDER    the directory whose files are concerned.
 *
 * The control file holds one rule: CALL ACTION SKIP
 *   CALL    "sync" (fsync, fdatasync) or "write" (write, pwrite, ftruncate)
 *   ACTION  a number: fail with this errno; "kill": SIGKILL instead of the call; "kill-after": SIGKILL
 *           after it succeeded
 *   SKIP    so many matching calls pass first; the count begins anew when the rule changes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOTHING = 0, KILL_AFTER = -1 };

static int concerned(int fd)
{
    const char *under = getenv("MSGD_FAULTS_UNDER");
    char link[64], path[4096];
    if (!under)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, under, strlen(under)) == 0;
}

static int rule(char *text, size_t size)
{
    const char *control = getenv("MSGD_FAULTS_CONTROL");
    if (!control)
        return 0;
    int fd = open(control, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    if (length <= 0)
        return 0;
    text[length] = 0;
    return 1;
}

/* What is to happen at this call: NOTHING, KILL_AFTER, or an errno. "kill" does not return. */
static int fault(const char *call, int fd)
{
    static char last[128];
    static long passed;
    char text[128], wanted[16], action[16];
    long skip;
    int kept = errno;
    int result = NOTHING;
    if (rule(text, sizeof text) && sscanf(text, "%15s %15s %ld", wanted, action, &skip) == 3
        && strcmp(wanted, call) == 0 && concerned(fd)) {
        if (strcmp(last, text) != 0) {
            strcpy(last, text);
            __atomic_store_n(&passed, 0, __ATOMIC_SEQ_CST);
        }
        if (__atomic_fetch_add(&passed, 1, __ATOMIC_SEQ_CST) >= skip) {
            if (strcmp(action, "kill") == 0)
                kill(getpid(), SIGKILL);
            result = strcmp(action, "kill-after") == 0 ? KILL_AFTER : atoi(action);
        }
    }
    errno = kept;
    return result;
}

#define GUARDED(name, fd, invocation)      \
    do {                                   \
        int what = fault(name, fd);        \
        if (what > 0) {                    \
            errno = what;                  \
            return -1;                     \
        }                                  \
        long result = invocation;          \
        if (what == KILL_AFTER)            \
            kill(getpid(), SIGKILL);       \
        return result;                     \
    } while (0)

int fsync(int fd) { GUARDED("sync", fd, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { GUARDED("sync", fd, syscall(SYS_fdatasync, fd)); }
ssize_t write(int fd, const void *data, size_t size)
{
    GUARDED("write", fd, syscall(SYS_write, fd, data, size));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    GUARDED("write", fd, syscall(SYS_pwrite64, fd, data, size, at));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    GUARDED("write", fd, syscall(SYS_pwrite64, fd, data, size, at));
}
int ftruncate(int fd, off_t size) { GUARDED("write", fd, syscall(SYS_ftruncate, fd, size)); }
int ftruncate64(int fd, off64_t size) { GUARDED("write", fd, syscall(SYS_ftruncate, fd, size)); }
