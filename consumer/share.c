/*
 * One push after the other: the priority that is owed most, then the next of
 * its shortcodes, then the next client there. Some hundred steps, and exact.
 */
#include "consumer/share.h"

#include "common/must.h"

#include <stdbool.h>
#include <stdlib.h>

const size_t share_weights[PRIORITIES_N] = {8, 4, 1};

/* A run of lanes: those of a priority, or those of a shortcode in one. */
struct run {
    struct lane *lanes;
    size_t n;
};

static struct run run_of(struct lane *lanes, size_t n, bool by_shortcode)
{
    size_t to = 0;

    while (to < n && lanes[to].priority == lanes[0].priority &&
           (!by_shortcode || lanes[to].shortcode == lanes[0].shortcode))
        to++;
    return (struct run){lanes, to};
}

static size_t *credit_of(struct line_credit *lines, size_t n, int64_t shortcode)
{
    for (size_t i = 0; i < n; i++)
        if (lines[i].shortcode == shortcode)
            return &lines[i].credit;
    return NULL;
}

/* The client whose turn it is, @p turn counting on from one to the next. */
static struct lane *next_client(struct run *r, size_t turn)
{
    for (size_t i = 0; i < r->n; i++) {
        struct lane *l = &r->lanes[(turn + i) % r->n];

        if (l->take < l->due)
            return l;
    }
    return NULL;
}

/* One shortcode of a priority. */
struct stand {
    struct run run;
    size_t *credit;
    size_t turn;
};

/* One priority: its shortcodes, and whose turn it is. */
struct pool {
    struct stand *stands;
    size_t n, turn;
};

static void open_pool(struct pool *p, struct run all, struct stand *stands,
                      struct line_credit *lines, size_t lines_n, uint32_t dice)
{
    *p = (struct pool){.stands = stands, .turn = dice};
    for (size_t at = 0; at < all.n; at += p->stands[p->n++].run.n) {
        struct run r = run_of(all.lanes + at, all.n - at, true);

        p->stands[p->n] = (struct stand){
            .run = r,
            .credit = credit_of(lines, lines_n, r.lanes[0].shortcode),
            .turn = dice >> 8,
        };
    }
}

/* The next lane of the pool that may have a push; NULL = none. A client's turn
   is over with it, and so is its shortcode's. */
static struct lane *next_lane(struct pool *p)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t at = (p->turn + i) % p->n;
        struct stand *s = &p->stands[at];
        struct lane *l =
            s->credit && *s->credit ? next_client(&s->run, s->turn) : NULL;

        if (!l)
            continue;
        p->turn = at + 1;
        s->turn = (size_t)(l - s->run.lanes) + 1;
        (*s->credit)--;
        return l;
    }
    return NULL;
}

/* The priority that is owed most of those that are left; PRIORITIES_N = none.
   It pays what all of them get. */
static enum priority whose_turn(struct shares *shares, const bool *left)
{
    enum priority best = PRIORITIES_N;
    int64_t sum = 0;

    for (int i = 0; i < PRIORITIES_N; i++) {
        if (!left[i])
            continue;
        shares->owed[i] += (int64_t)share_weights[i];
        sum += (int64_t)share_weights[i];
        if (best == PRIORITIES_N || shares->owed[i] > shares->owed[best])
            best = (enum priority)i;
    }
    if (best != PRIORITIES_N)
        shares->owed[best] -= sum;
    return best;
}

/* Its turn could not be used: nobody has paid, and it is owed nothing. */
static void give_up(struct shares *shares, bool *left, enum priority p)
{
    for (int i = 0; i < PRIORITIES_N; i++)
        if (left[i])
            shares->owed[i] -= (int64_t)share_weights[i];
    shares->owed[p] = 0;
    left[p] = false;
}

size_t share_out(struct shares *shares, struct lane *lanes, size_t n,
                 struct line_credit *lines, size_t lines_n, size_t places,
                 uint32_t dice)
{
    struct stand *stands = must_alloc(MAX(n, 1), sizeof(*stands));
    struct pool pools[PRIORITIES_N] = {0};
    bool left[PRIORITIES_N] = {0};
    enum priority p;
    size_t given = 0;

    for (size_t at = 0; at < n;) {
        struct run r = run_of(lanes + at, n - at, false);

        open_pool(&pools[r.lanes[0].priority], r, stands + at, lines, lines_n,
                  dice);
        left[r.lanes[0].priority] = true;
        at += r.n;
    }
    for (int i = 0; i < PRIORITIES_N; i++)
        shares->owed[i] = left[i] ? shares->owed[i] : 0;
    while (given < places && (p = whose_turn(shares, left)) != PRIORITIES_N) {
        struct lane *l = next_lane(&pools[p]);

        if (l) {
            l->take++;
            given++;
        } else {
            give_up(shares, left, p);
        }
    }
    free(stands);
    return given;
}
