/*
 * A hash table of chains with as many buckets as entries may be, and two lists
 * in the order of age: entries, and those of them that hold a document. Time to
 * live is looked at when something is found, bounds when something is put.
 */
#include "producer/status.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"

#include <stdlib.h>
#include <string.h>

#define SPARED_MAX 64 /* waited-for entries passed over in one step */

struct entry {
    struct entry *chain;
    struct uuid id, client;
    uint8_t fingerprint[FINGERPRINT_SIZE];
    int version;
    bool final;
    char *document; /* NULL = none */
    uint32_t len;
    int64_t put_us;          /* when the document came    */
    int64_t seen_us;         /* ... or somebody waited    */
    struct list by_age;      /* all entries               */
    struct list by_document; /* those with a document     */
    struct list waits;       /* long polls                */
};

struct status {
    struct loop *loop;
    const struct config *cfg;
    struct entry **buckets;
    size_t mask;
    size_t n, bytes;
    struct list by_age, by_document;
};

struct status *status_new(struct loop *loop, const struct config *cfg)
{
    struct status *s = NEW(struct status);
    size_t buckets = 1;

    while (buckets < (size_t)cfg->cache_entries_max)
        buckets *= 2;
    s->loop = loop;
    s->cfg = cfg;
    s->mask = buckets - 1;
    s->buckets = must_alloc(buckets, sizeof(struct entry *));
    list_init(&s->by_age);
    list_init(&s->by_document);
    return s;
}

static struct entry **place_of(const struct status *s, const struct uuid *id)
{
    struct entry **at = &s->buckets[uuid_hash(id) & s->mask];

    while (*at && !uuid_equal(&(*at)->id, id))
        at = &(*at)->chain;
    return at;
}

static void drop_document(struct status *s, struct entry *e)
{
    if (!e->document)
        return;
    s->bytes -= e->len;
    free(e->document);
    e->document = NULL;
    e->len = 0;
    list_remove(&e->by_document);
}

static void drop_entry(struct status *s, struct entry *e)
{
    must(list_empty(&e->waits));
    *place_of(s, &e->id) = e->chain;
    drop_document(s, e);
    list_remove(&e->by_age);
    s->n--;
    free(e);
}

void status_free(struct status *s)
{
    if (!s)
        return;
    while (!list_empty(&s->by_age)) {
        struct entry *e = container_of(s->by_age.next, struct entry, by_age);

        list_init(&e->waits);
        drop_entry(s, e);
    }
    free(s->buckets);
    free(s);
}

/* --- finding --- */

static bool expired(const struct status *s, const struct entry *e)
{
    return loop_now_us(s->loop) - e->put_us > s->cfg->cache_ttl_ms * US_PER_MS;
}

bool status_find(struct status *s, const struct uuid *id,
                 struct status_entry *ret)
{
    struct entry *e = *place_of(s, id);

    if (e && e->document && expired(s, e))
        drop_document(s, e);
    metric_add(e && e->document ? M_CACHE_HIT : M_CACHE_MISS, 1);
    if (!e)
        return false;
    *ret = (struct status_entry){
        .client = e->client,
        .version = e->version,
        .final = e->final,
        .document = e->document,
        .len = e->len,
    };
    memcpy(ret->fingerprint, e->fingerprint, FINGERPRINT_SIZE);
    return true;
}

/* --- putting --- */

/* Waited for: as good as new, but its document is as old as it is. */
static void spare(struct status *s, struct entry *e)
{
    list_remove(&e->by_age);
    list_append(&s->by_age, &e->by_age);
    e->seen_us = loop_now_us(s->loop);
}

/* The oldest entries leave until one more fits, and the expired ones. Those
   that are waited for stay, even beyond the bound: api.parked_max is theirs. */
static void make_room(struct status *s)
{
    int64_t old_us =
        loop_now_us(s->loop) - s->cfg->cache_index_ttl_ms * US_PER_MS;
    int spared = 0;

    while (!list_empty(&s->by_age)) {
        struct entry *e = container_of(s->by_age.next, struct entry, by_age);

        if (s->n < (size_t)s->cfg->cache_entries_max && e->seen_us >= old_us)
            break;
        if (list_empty(&e->waits))
            drop_entry(s, e);
        else if (spared++ < SPARED_MAX)
            spare(s, e);
        else
            break;
    }
}

static void drop_old_documents(struct status *s)
{
    while (s->bytes > (size_t)s->cfg->cache_kbytes_max * 1024)
        drop_document(
            s, container_of(s->by_document.next, struct entry, by_document));
}

static struct entry *add_entry(struct status *s, const struct uuid *id,
                               const struct status_entry *news)
{
    struct entry **at;
    struct entry *e;

    make_room(s);
    e = NEW(struct entry);
    at = place_of(s, id);
    e->id = *id;
    e->client = news->client;
    memcpy(e->fingerprint, news->fingerprint, FINGERPRINT_SIZE);
    e->version = -1;
    list_init(&e->by_document);
    list_init(&e->waits);
    list_append(&s->by_age, &e->by_age);
    *at = e;
    s->n++;
    return e;
}

static void keep_document(struct status *s, struct entry *e,
                          const struct status_entry *news)
{
    drop_document(s, e);
    e->document = must_alloc(1, news->len + 1);
    memcpy(e->document, news->document, news->len);
    e->len = (uint32_t)news->len;
    s->bytes += e->len;
    list_append(&s->by_document, &e->by_document);
    list_remove(&e->by_age);
    list_append(&s->by_age, &e->by_age);
    e->put_us = e->seen_us = loop_now_us(s->loop);
}

static void wake_all(struct status *s, struct entry *e)
{
    struct list *n;

    while ((n = list_shift(&e->waits))) {
        struct status_wait *w = container_of(n, struct status_wait, node);

        timer_cancel(s->loop, &w->timer);
        w->fn(w->arg);
    }
}

void status_put(struct status *s, const struct uuid *id,
                const struct status_entry *news)
{
    struct entry *e = *place_of(s, id);

    if (!e)
        e = add_entry(s, id, news);
    /* the same version is worth having again when its document was dropped */
    if (news->version < e->version ||
        (news->version == e->version && e->document))
        return;
    e->version = news->version;
    e->final = news->final;
    keep_document(s, e, news);
    drop_old_documents(s);
    metric_set(M_CACHE_ENTRIES, (int64_t)s->n);
    metric_set(M_CACHE_BYTES, (int64_t)s->bytes);
    if (e->final)
        wake_all(s, e);
}

void status_clear(struct status *s)
{
    struct list *n = s->by_age.next;

    while (n != &s->by_age) {
        struct entry *e = container_of(n, struct entry, by_age);

        n = n->next;
        if (list_empty(&e->waits))
            drop_entry(s, e);
        else
            drop_document(s, e);
    }
    metric_set(M_CACHE_ENTRIES, (int64_t)s->n);
    metric_set(M_CACHE_BYTES, (int64_t)s->bytes);
}

/* --- waiting --- */

void status_wake(struct status *s)
{
    struct list *n = s->by_age.next;

    while (n != &s->by_age) {
        struct entry *e = container_of(n, struct entry, by_age);

        n = n->next; /* an answer drops no entry */
        wake_all(s, e);
    }
}

static void time_is_up(void *arg)
{
    struct status_wait *w = arg;

    list_remove(&w->node);
    w->fn(w->arg);
}

void status_wait(struct status *s, const struct uuid *id, struct status_wait *w,
                 int64_t us, status_woken_fn fn, void *arg)
{
    struct entry *e = *place_of(s, id);

    must(e);
    w->status = s;
    w->fn = fn;
    w->arg = arg;
    list_append(&e->waits, &w->node);
    timer_init(&w->timer, time_is_up, w);
    timer_set(s->loop, &w->timer, clock_now_us() + us);
}

void status_unwait(struct status_wait *w)
{
    list_remove(&w->node);
    timer_cancel(w->status->loop, &w->timer);
}
