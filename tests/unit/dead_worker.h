/*
 * A worker with a flight recorder that can be killed: a child of the test, and
 * what its file says then.
 */
#ifndef FOLENI_TESTS_UNIT_DEAD_WORKER_H
#define FOLENI_TESTS_UNIT_DEAD_WORKER_H

#include "common/must.h"
#include "consumer/recorder.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

#define SLOTS 4
#define HEAD_SIZE 4096
#define SLOT_SIZE 256
#define BOOT_AT 16 /* of the boot id in the file */
#define SLOTS_AT 56
#define CHECKOUT_ID "ws_CO_10072024091526171708374149"
#define MERCHANT_ID "2654-4b64-97ff-b827b542881d3130"

struct world {
    char directory[64];
    char path[1024]; /* of the last recorder */
};

UNUSED static const struct recorder_source from = {1, 2, 3};
UNUSED static const struct uuid one = {{1}}, two = {{2}}, three = {{3}};

UNUSED static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    snprintf(w->directory, sizeof(w->directory), "/tmp/foleni-rec-XXXXXX");
    must(mkdtemp(w->directory));
    *state = w;
    return 0;
}

UNUSED static int tear_down(void **state)
{
    struct world *w = *state;
    char path[400];
    struct dirent *e;
    DIR *d = opendir(w->directory);

    while (d && (e = readdir(d))) {
        snprintf(path, sizeof(path), "%s/%s", w->directory, e->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(w->directory);
    free(w);
    return 0;
}

UNUSED static struct recorder *make(struct world *w)
{
    struct recorder *r = NULL;
    struct err err;

    must(!recorder_open(w->directory, SLOTS, &r, &err));
    snprintf(w->path, sizeof(w->path), "%s", recorder_path(r));
    return r;
}

UNUSED static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* --- a worker that dies --- */

typedef void (*life_fn)(struct recorder *r);

/* Runs @p life in a child, then holds it there: the reader says when it ends.
   Its recorder's path is told through a pipe. */
UNUSED static pid_t live(struct world *w, life_fn life)
{
    int fds[2];
    pid_t pid;

    must(pipe(fds) == 0);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        struct recorder *r = make(w);

        life(r);
        must(write(fds[1], w->path, sizeof(w->path)) == sizeof(w->path));
        while (true)
            pause();
    }
    close(fds[1]);
    must(read(fds[0], w->path, sizeof(w->path)) == sizeof(w->path));
    close(fds[0]);
    return pid;
}

UNUSED static void kill_it(pid_t pid)
{
    int status;

    must(kill(pid, SIGKILL) == 0);
    must(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status));
}

UNUSED static struct recorder_reading *read_dead(struct world *w)
{
    struct recorder_reading *reading = NULL;

    assert_int_equal(recorder_read(w->path, &reading), RECORDER_DEAD);
    assert_non_null(reading);
    return reading;
}

UNUSED static void assert_gone(const char *path)
{
    struct recorder_reading *reading = NULL;

    assert_int_equal(recorder_read(path, &reading), RECORDER_GONE);
    assert_null(reading);
}

#endif
