/*
 * Plays random histories against the flow, on every core, and makes the first
 * that breaks a rule as short as it can: moves are taken out while the same
 * rule still breaks. What is printed then is enough to play it again.
 *
 *   flow-histories [--n N] [--seed S] [--only I] [--jobs J] [--brief 1]
 *
 * A history is played in a process that may die of a must(): each has its
 * moves in shared memory before it plays them.
 */
#include "common/clock.h"
#include "common/must.h"
#include "tests/histories/world.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_DEFAULT 10000000
#define JOBS_MAX 64
#define TRIES_MAX 6 /* moves that were not possible, before time passes */
#define DEATH "the flow's own must(), see above"
#define FULL_N 100000   /* from so many on each arrow has to be seen */
#define RARE_N 10000000 /* ... and this one of the rare ones */

struct history {
    uint32_t begin; /* dice of the world */
    bool heals;
    int n;
    struct move moves[MOVES_MAX];
};

/* What a playing process shares with the one that waits for it. */
struct shared {
    struct history playing;
    uint64_t index;
    const char *fault; /* a literal: the same address in every process */
    struct tally tally;
};

struct options {
    uint64_t n, seed, only;
    int jobs;
    bool one, brief; /* brief: what broke is enough */
};

/* --- making --- */

/* splitmix64 */
static uint64_t roll(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static enum move_kind kinds[1024]; /* by weight */
static size_t kinds_n;

static void fill_kinds(void)
{
    for (int kind = 0; kind < MOVES_N; kind++)
        for (unsigned i = 0; i < move_weights[kind]; i++) {
            must(kinds_n < ARRAY_LEN(kinds));
            kinds[kinds_n++] = (enum move_kind)kind;
        }
}

/* Adds moves that are possible where they stand, playing them at once. */
static void grow(struct history *h, struct world *w, uint64_t seed)
{
    int want = 5 + (int)(roll(&seed) % (MOVES_MAX - 4));

    h->n = 0;
    for (int tries = 0; h->n < want && tries < want * TRIES_MAX; tries++) {
        uint64_t r = roll(&seed);
        struct move *m = &h->moves[h->n++];

        m->kind = kinds[(r >> 32) % kinds_n];
        m->dice = (uint32_t)r;
        if (!world_move(w, m))
            h->n--;
        else if (w->fault)
            break;
    }
}

/* --- playing --- */

static const char *play_anew(struct shared *s, uint64_t seed)
{
    static struct world w;
    struct history *h = &s->playing;

    h->begin = (uint32_t)roll(&seed);
    h->heals = roll(&seed) % 4 == 0;
    w.tally = &s->tally;
    w.tally->histories++;
    world_begin(&w, h->begin);
    grow(h, &w, seed);
    if (!w.fault && h->heals)
        world_heal(&w);
    return w.fault;
}

static const char *play_again(struct shared *s, bool talk)
{
    static struct world w;
    const struct history *h = &s->playing;

    w.tally = &s->tally;
    w.talk = talk;
    world_begin(&w, h->begin);
    for (int i = 0; i < h->n && !w.fault; i++) {
        if (talk)
            printf("  %s\n", move_words(h->moves[i].kind));
        (void)world_move(&w, &h->moves[i]);
    }
    if (talk && h->heals && !w.fault)
        printf("  all faults end\n");
    if (!w.fault && h->heals)
        world_heal(&w);
    return w.fault;
}

static struct shared *new_shared(void)
{
    void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    must(p != MAP_FAILED);
    return p;
}

/* Whether the child ended well; what it died of is the flow's must(). */
static void wait_for(pid_t pid, struct shared *s)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        must(errno == EINTR);
    if (WIFSIGNALED(status))
        s->fault = DEATH;
}

static void silence(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    must(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
}

/* Plays @p h in a process of its own. */
static const char *try_history(const struct history *h, bool talk)
{
    static struct shared *s;
    pid_t pid;

    s = s ? s : new_shared();
    s->playing = *h;
    s->fault = NULL;
    (void)fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        if (!talk)
            silence();
        s->fault = play_again(s, talk);
        (void)fflush(stdout);
        _exit(0);
    }
    wait_for(pid, s);
    return s->fault;
}

/* --- making it short --- */

static struct history without(const struct history *h, int from, int n)
{
    struct history less = *h;

    memmove(&less.moves[from], &less.moves[from + n],
            (size_t)(h->n - from - n) * sizeof(h->moves[0]));
    less.n -= n;
    return less;
}

static bool take_out(struct history *h, int n, const char *fault)
{
    bool any = false;

    for (int from = 0; from + n <= h->n;) {
        struct history less = without(h, from, n);

        if (try_history(&less, false) == fault) {
            *h = less;
            any = true;
        } else {
            from++;
        }
    }
    return any;
}

static void shorten(struct history *h, const char *fault)
{
    struct history calm = *h;
    bool any;

    calm.heals = false;
    if (try_history(&calm, false) == fault)
        *h = calm;
    for (int n = MAX(h->n / 2, 1); n > 1; n /= 2)
        (void)take_out(h, n, fault);
    do {
        any = take_out(h, 1, fault) | take_out(h, 2, fault);
    } while (any);
}

static void report(const struct options *o, const struct shared *s)
{
    struct history h = s->playing;

    printf("BROKEN %s\n  seed %" PRIu64 ", history %" PRIu64
           ": make histories SEED=%" PRIu64 " ONLY=%" PRIu64 "\n",
           s->fault, o->seed, s->index, o->seed, s->index);
    if (o->brief)
        return;
    shorten(&h, s->fault);
    printf("  the shortest of it, %d of %d moves%s:\n", h.n, s->playing.n,
           h.heals ? ", then all faults end" : "");
    (void)try_history(&h, true);
}

/* --- the run --- */

static void play_share(const struct options *o, struct shared *s, uint64_t from)
{
    uint64_t step = o->one ? 1 : (uint64_t)o->jobs;

    for (uint64_t i = from; i < o->n && !s->fault; i += step) {
        uint64_t seed = o->seed ^ (i * UINT64_C(0xd6e8feb86659fd93));

        s->index = i;
        s->fault = play_anew(s, roll(&seed));
    }
}

static pid_t start_share(const struct options *o, struct shared *s,
                         uint64_t from)
{
    pid_t pid = fork();

    must(pid >= 0);
    if (pid == 0) {
        play_share(o, s, from);
        _exit(0);
    }
    return pid;
}

static void add(struct tally *to, const struct tally *t)
{
    const uint64_t *from = (const uint64_t *)t;
    uint64_t *sum = (uint64_t *)to;

    for (size_t i = 0; i < sizeof(*t) / sizeof(*from); i++)
        sum[i] += from[i];
}

/* A world that does not reach a corner proves nothing about it. */
static bool reached_all(const struct tally *t, uint64_t n)
{
    bool all = true;

    for (int kind = FLOW_DUE; kind <= FLOW_CANCEL; kind++)
        if (!t->causes[kind]) {
            printf("NEVER  event %s\n",
                   flow_event_name((enum flow_event_kind)kind));
            all = false;
        }
    for (int from = PAYMENT_SENDING; from <= PAYMENT_DEAD; from++)
        for (int to = PAYMENT_SENDING; to <= PAYMENT_DEAD; to++) {
            bool made = from != PAYMENT_CANCELLED && from != PAYMENT_SUPERSEDED;
            /* a replay that was pushed and forgotten */
            bool rare = from == PAYMENT_DEAD && to == PAYMENT_UNKNOWN;

            if (!made || (rare && n < RARE_N) || t->states[from][to] ||
                !flow_may_move((enum payment_state)from,
                               (enum payment_state)to))
                continue;
            printf("NEVER  %s -> %s\n",
                   payment_state_name((enum payment_state)from),
                   payment_state_name((enum payment_state)to));
            all = false;
        }
    return all;
}

static int run(const struct options *o)
{
    struct shared *shares[JOBS_MAX];
    pid_t pids[JOBS_MAX];
    struct tally sum = {0};
    int64_t began_us = clock_now_us();
    const struct shared *broken = NULL;

    for (int i = 0; i < o->jobs; i++) {
        shares[i] = new_shared();
        pids[i] = start_share(o, shares[i], o->one ? o->only : (uint64_t)i);
    }
    for (int i = 0; i < o->jobs; i++) {
        wait_for(pids[i], shares[i]);
        add(&sum, &shares[i]->tally);
        broken = broken || !shares[i]->fault ? broken : shares[i];
    }
    if (broken) {
        report(o, broken);
        return 1;
    }
    printf("%" PRIu64 " histories, %" PRIu64 " steps, %" PRIu64
           " pushes, %" PRIu64
           " brought to their end: no rule broken (seed %" PRIu64 ", %.1f s)\n",
           sum.histories, sum.steps, sum.pushes, sum.settled, o->seed,
           (double)(clock_now_us() - began_us) / US_PER_S);
    return o->n >= FULL_N && !o->one && !reached_all(&sum, o->n);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (!*text || *end) {
        fprintf(stderr, "flow-histories: \"%s\" is no number\n", text);
        exit(2);
    }
    return n;
}

static struct options read_options(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = {.n = N_DEFAULT, .seed = 20260101, .jobs = 1};

    o.jobs = (int)MAX(1L, MIN(cores, (long)JOBS_MAX));
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = number(argv[i + 1]);

        if (strcmp(argv[i], "--n") == 0) {
            o.n = n;
        } else if (strcmp(argv[i], "--seed") == 0) {
            o.seed = n;
        } else if (strcmp(argv[i], "--jobs") == 0) {
            o.jobs = (int)MAX(UINT64_C(1), MIN(n, (uint64_t)JOBS_MAX));
        } else if (strcmp(argv[i], "--brief") == 0) {
            o.brief = n != 0;
        } else if (strcmp(argv[i], "--only") == 0) {
            o.one = true;
            o.only = n;
        } else {
            fprintf(stderr, "flow-histories: what is \"%s\"?\n", argv[i]);
            exit(2);
        }
    }
    if (o.one) {
        o.jobs = 1;
        o.n = o.only + 1;
    }
    return o;
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);

    world_init();
    fill_kinds();
    return run(&o);
}
