/*
 * A hash table of phones with chains. A phone that has neither prompt nor
 * script and was not asked for HANDSET_IDLE_US is dropped when others come, so
 * that a long run over many phones does not grow for ever.
 */
#include "tests/daraja/handset.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/list.h"
#include "common/must.h"
#include "tests/daraja/chance.h"

#define BUCKETS 16384 /* a power of two */
#define HANDSET_IDLE_US (3600 * US_PER_S)
#define ASKED_N 4 /* equal amounts are looked for among that many asked last */

struct asked {
    int64_t shortcode, amount, at_us;
};

struct script {
    size_t n, next;
    bool repeat;
    struct step steps[];
};

struct handset {
    struct list by_age; /* in handsets.used, the youngest last */
    struct handset *chain;
    int64_t msisdn, used_us;
    struct script *script; /* NULL = none */
    int prompts;           /* open ones   */
    int64_t wrong_pins;    /* in a row    */
    unsigned asked_next;
    struct asked asked[ASKED_N];
};

struct handsets {
    struct list used;
    struct handset *buckets[BUCKETS];
};

struct handsets *handsets_new(void)
{
    struct handsets *hs = NEW(struct handsets);

    list_init(&hs->used);
    return hs;
}

static struct handset **bucket(struct handsets *hs, int64_t msisdn)
{
    return &hs->buckets[chance_mix((uint64_t)msisdn, 0) & (BUCKETS - 1)];
}

static void drop(struct handsets *hs, struct handset *h)
{
    struct handset **at = bucket(hs, h->msisdn);

    while (*at != h)
        at = &(*at)->chain;
    *at = h->chain;
    list_remove(&h->by_age);
    free(h->script);
    free(h);
}

void handsets_reset(struct handsets *hs)
{
    while (!list_empty(&hs->used))
        drop(hs, container_of(hs->used.next, struct handset, by_age));
}

void handsets_free(struct handsets *hs)
{
    if (!hs)
        return;
    handsets_reset(hs);
    free(hs);
}

/* At most two per new phone: the table shrinks faster than it grows. */
static void drop_idle(struct handsets *hs, int64_t now_us)
{
    for (int i = 0; i < 2 && !list_empty(&hs->used); i++) {
        struct handset *h = container_of(hs->used.next, struct handset, by_age);

        if (now_us - h->used_us < HANDSET_IDLE_US)
            return;
        if (h->prompts > 0 || h->script) {
            h->used_us = now_us;
            list_remove(&h->by_age);
            list_append(&hs->used, &h->by_age);
        } else {
            drop(hs, h);
        }
    }
}

static struct handset *add(struct handsets *hs, int64_t msisdn)
{
    struct handset *h = NEW(struct handset), **at = bucket(hs, msisdn);

    list_init(&h->by_age);
    h->msisdn = msisdn;
    h->chain = *at;
    *at = h;
    return h;
}

struct handset *handset_get(struct handsets *hs, int64_t msisdn, int64_t now_us)
{
    struct handset *h = *bucket(hs, msisdn);

    while (h && h->msisdn != msisdn)
        h = h->chain;
    if (!h) {
        drop_idle(hs, now_us);
        h = add(hs, msisdn);
    }
    h->used_us = now_us;
    list_remove(&h->by_age);
    list_append(&hs->used, &h->by_age);
    return h;
}

void handset_script(struct handset *h, const struct step *steps, size_t n,
                    bool repeat)
{
    must(n <= SCRIPT_STEPS_MAX);
    free(h->script);
    h->script = NULL;
    if (n == 0)
        return;
    h->script = must_alloc(1, sizeof(struct script) + n * sizeof(*steps));
    h->script->n = n;
    h->script->repeat = repeat;
    memcpy(h->script->steps, steps, n * sizeof(*steps));
}

bool handset_step(struct handset *h, struct step *ret)
{
    struct script *s = h->script;

    if (!s)
        return false;
    *ret = s->steps[s->next++];
    if (s->next < s->n)
        return true;
    s->next = 0;
    if (!s->repeat) {
        free(s);
        h->script = NULL;
    }
    return true;
}

bool handset_locked(const struct handset *h)
{
    return h->prompts > 0;
}

void handset_lock(struct handset *h)
{
    h->prompts++;
}

void handset_unlock(struct handset *h)
{
    if (h->prompts > 0) /* a reset forgets prompts that still end */
        h->prompts--;
}

bool handset_pin(struct handset *h, bool wrong, int64_t tries)
{
    h->wrong_pins = wrong ? h->wrong_pins + 1 : 0;
    return tries > 0 && h->wrong_pins >= tries;
}

bool handset_ask(struct handset *h, int64_t shortcode, int64_t amount,
                 int64_t now_us, int64_t window_us)
{
    bool again = false;

    for (size_t i = 0; i < ASKED_N; i++) {
        const struct asked *a = &h->asked[i];

        again |= a->amount == amount && a->shortcode == shortcode &&
                 now_us - a->at_us < window_us;
    }
    h->asked[h->asked_next++ % ASKED_N] =
        (struct asked){shortcode, amount, now_us};
    return again;
}
