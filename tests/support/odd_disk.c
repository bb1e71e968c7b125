/* A disk with habits of its own, for tests: preloaded into a process, it answers some calls with an error.
 *
 * ODD_CALLS  names of calls, each followed by "=" and an errno, separated by commas: "flock=37,fsyncdir=22,read=5".
 *            fsyncdir is fsync of a folder. Calls of open, rename and list are told by the path they are given.
 * ODD_PATH   only where the path holds this text; empty or unset: everywhere.
 * ODD_AFTER  that many such calls succeed first.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int answer(const char *call, const char *path) {
    static int left = -1;
    const char *calls = getenv("ODD_CALLS"), *pattern = getenv("ODD_PATH"), *after = getenv("ODD_AFTER");
    char name[32];
    snprintf(name, sizeof name, "%s=", call);
    const char *found = calls ? strstr(calls, name) : NULL;
    if (!found || (found != calls && found[-1] != ',')) return 0;
    if (pattern && *pattern && !(path && strstr(path, pattern))) return 0;
    if (left < 0) left = after ? atoi(after) : 0;
    if (left > 0) { left--; return 0; }
    return atoi(found + strlen(name));
}

static const char *at(int folder, const char *name, char *buffer, size_t size) {
    char link[64];
    if (name && name[0] == '/') return name;
    if (folder == AT_FDCWD) return name;
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, buffer, size - 1);
    if (length < 0) return name;
    buffer[length] = 0;
    if (name) snprintf(buffer + length, size - length, "/%s", name);
    return buffer;
}

#define REAL(name) (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define REFUSE(call, path) do { int error = answer(call, path); if (error) { errno = error; return -1; } } while (0)

int flock(int file, int operation) {
    char path[4096];
    REFUSE("flock", at(file, NULL, path, sizeof path));
    return (REAL(flock))(file, operation);
}

int fsync(int file) {
    char path[4096];
    struct stat info;
    int folder = !fstat(file, &info) && S_ISDIR(info.st_mode);
    REFUSE(folder ? "fsyncdir" : "fsync", at(file, NULL, path, sizeof path));
    return (REAL(fsync))(file);
}

int renameat(int from, const char *old, int to, const char *new) {
    char path[4096];
    REFUSE("rename", at(to, new, path, sizeof path));
    return (REAL(renameat))(from, old, to, new);
}

int openat64(int folder, const char *name, int flags, ...) {
    char path[4096];
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    REFUSE("open", at(folder, name, path, sizeof path));
    return (REAL(openat64))(folder, name, flags, mode);
}

int openat(int folder, const char *name, int flags, ...) {
    char path[4096];
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    REFUSE("open", at(folder, name, path, sizeof path));
    return (REAL(openat))(folder, name, flags, mode);
}

ssize_t read(int file, void *buffer, size_t size) {
    char path[4096];
    REFUSE("read", at(file, NULL, path, sizeof path));
    return (REAL(read))(file, buffer, size);
}

DIR *fdopendir(int file) {
    char path[4096];
    int error = answer("list", at(file, NULL, path, sizeof path));
    if (error) { errno = error; return NULL; }
    return (REAL(fdopendir))(file);
}
