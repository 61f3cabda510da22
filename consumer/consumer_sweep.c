/*
 * Recorder files that nobody settles: of processes that died before they had
 * registered, of incarnations that Postgres has forgotten or that another host
 * has given up, of another boot. Each comparison with the ledger is followed by
 * a look at what the dead have left. A file goes when nothing depends on it:
 *
 *   its process was dead before it was read, so it had no more to show,
 *   all that it shows is in the ledger, as the comparison has found, and
 *   no incarnation that takeover still looks for has registered it.
 *
 * One that is torn may have held anything: it is kept for a person, and shown.
 */
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>
#include <string.h>

#define FILES_MAX 256 /* removed by one look; the rest by the next */
#define LINES_MAX 16  /* of torn files, in the log */

struct sweep {
    char *paths[FILES_MAX];
    size_t n, torn, more;
    bool asked, stale; /* for whose they are; what was listed before */
};

static void forget_paths(struct sweep *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->paths[i]);
    s->n = s->torn = s->more = 0;
}

static void file_found(void *arg, const char *path, enum recorder_kind kind)
{
    struct sweep *s = arg;

    if (kind == RECORDER_TORN) {
        if (s->torn++ < LINES_MAX)
            log_warn("worker", "recorder_torn", KV("path", path));
    } else if (s->n == FILES_MAX) {
        s->more++;
    } else {
        s->paths[s->n] = must_alloc(strlen(path) + 1, 1);
        memcpy(s->paths[s->n++], path, strlen(path) + 1);
    }
}

void sweep_list(struct consumer *c)
{
    forget_paths(c->sweep);
    c->sweep->stale = c->sweep->asked;
    if (c->recorder)
        recorder_each_dead(c->cfg->recorder_directory, file_found, c->sweep);
    metric_set(M_RECORDERS_TORN, (int64_t)c->sweep->torn);
    metric_set(M_RECORDERS_KEPT, (int64_t)(c->sweep->n + c->sweep->more));
}

/* Names are drawn by lot: one stands for its file however the directory is
   written. */
static bool same_file(const char *a, const char *b)
{
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');

    return strcmp(x ? x : a, y ? y : b) == 0;
}

static bool is_registered(const char *path, const char *const *paths, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (same_file(path, paths[i]))
            return true;
    return false;
}

/* Who is not registered by now and is dead never was, or is forgotten, or
   settled: he registers no more. */
static void registered(void *arg, const char *const *paths, size_t n)
{
    struct consumer *c = arg;
    struct sweep *s = c->sweep;
    size_t kept = s->more;
    bool stale = s->stale;

    s->asked = s->stale = false;
    if (stale || !paths || !memory_sure(c))
        return; /* the next comparison lists them again */
    for (size_t i = 0; i < s->n; i++) {
        if (is_registered(s->paths[i], paths, n)) {
            kept++;
        } else if (recorder_remove(s->paths[i])) {
            metric_add(M_RECORDERS_REMOVED, 1);
            log_info("worker", "recorder_removed", KV("path", s->paths[i]));
        }
    }
    forget_paths(s);
    metric_set(M_RECORDERS_KEPT, (int64_t)kept);
}

void sweep_compared(struct consumer *c)
{
    if (!c->sweep->n || c->sweep->asked)
        return;
    c->sweep->asked = true;
    pulse_recorders(c->pulse, registered, c);
}

void sweep_init(struct consumer *c)
{
    c->sweep = NEW(struct sweep);
}

void sweep_done(struct consumer *c)
{
    if (!c->sweep)
        return;
    forget_paths(c->sweep);
    free(c->sweep);
}
