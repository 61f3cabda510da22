/*
 * What a window does is read each time it is passed: these builds are slow on
 * purpose, and a nemesis changes its mind while the process runs.
 */
#include "common/windows.h"

#include "common/base.h"

#ifdef FOLENI_WINDOWS

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ENVIRONMENT "FOLENI_WINDOW"
#define PLAN_MAX 1024
#define SLEEP_MS_MAX 600000

/* NAME:WHAT[:PROBABILITY] */
struct part {
    char name[64], what[16];
    double chance;
};

/* Copies up to @p end or its own bound; false when it does not fit. */
static bool copy(char *to, size_t size, const char *from, size_t len)
{
    if (!len || len >= size)
        return false;
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

static bool read_part(const char *text, size_t len, struct part *ret)
{
    const char *end = text + len;
    const char *what = memchr(text, ':', len);
    const char *chance;
    char number[16], *rest;

    if (!what ||
        !copy(ret->name, sizeof(ret->name), text, (size_t)(what - text)))
        return false;
    what++;
    chance = memchr(what, ':', (size_t)(end - what));
    ret->chance = 1;
    if (!copy(ret->what, sizeof(ret->what), what,
              (size_t)((chance ? chance : end) - what)))
        return false;
    if (!chance)
        return true;
    if (!copy(number, sizeof(number), chance + 1, (size_t)(end - chance - 1)))
        return false;
    ret->chance = strtod(number, &rest);
    return !*rest;
}

/* The plan as it is now; "" = none. */
static void read_plan(char plan[PLAN_MAX])
{
    const char *text = getenv(ENVIRONMENT);
    ssize_t n;
    int fd;

    plan[0] = '\0';
    if (!text)
        return;
    if (*text != '@') {
        (void)copy(plan, PLAN_MAX, text, strlen(text));
        return;
    }
    fd = open(text + 1, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    n = read(fd, plan, PLAN_MAX - 1);
    plan[n > 0 ? n : 0] = '\0';
    plan[strcspn(plan, "\n")] = '\0';
    close(fd);
}

static bool dice(double chance)
{
    static unsigned short state[3];
    static pid_t seeded;

    if (seeded != getpid()) {
        seeded = getpid();
        state[0] = (unsigned short)seeded;
        state[1] = (unsigned short)clock();
        state[2] = (unsigned short)time(NULL);
    }
    return chance >= 1 || erand48(state) < chance;
}

static void say(const char *name, const char *what)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "window %s %s\n", name, what);

    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nobody reads: it happens all the same */
}

static void act(const struct part *part, const char *name)
{
    char *rest;
    long ms;

    if (strcmp(part->what, "kill") == 0 || strcmp(part->what, "stop") == 0) {
        say(name, part->what);
        (void)raise(*part->what == 'k' ? SIGKILL : SIGSTOP);
        return;
    }
    ms = strtol(part->what, &rest, 10);
    if (!*rest && ms > 0 && ms <= SLEEP_MS_MAX)
        (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000},
                        NULL);
}

void window_open(const char *name)
{
    char plan[PLAN_MAX];
    struct part part;

    read_plan(plan);
    for (const char *at = plan; *at;) {
        size_t len = strcspn(at, ",");

        if (read_part(at, len, &part) &&
            (strcmp(part.name, name) == 0 || strcmp(part.name, "*") == 0) &&
            dice(part.chance))
            act(&part, name);
        at += len + (at[len] == ',');
    }
}

#endif
