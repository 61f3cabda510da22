/*
 * A disk that takes its time: preloaded into a server, it makes each fsync()
 * and fdatasync() wait as many ms as the file FOLENI_SLOW_DISK says just then.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS_MAX 60000

static void wait_a_while(void)
{
    const char *path = getenv("FOLENI_SLOW_DISK");
    char text[16];
    ssize_t n;
    long ms;
    int fd;

    if (!path)
        return;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    ms = strtol(text, NULL, 10);
    if (ms > 0 && ms <= WAIT_MS_MAX)
        (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000},
                        NULL);
}

/* The library's own function, behind ours. */
static int call(const char *name, int fd)
{
    union {
        void *found;
        int (*sync)(int);
    } next = {dlsym(RTLD_NEXT, name)};
    int saved = errno;

    wait_a_while();
    errno = saved;
    return next.sync(fd);
}

int fsync(int fd)
{
    return call("fsync", fd);
}

int fdatasync(int fd)
{
    return call("fdatasync", fd);
}
