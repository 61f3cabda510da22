/*
 * A window is a ring of counts, one per hundredth of its length and one for the
 * hundredth that is under way. Their sum covers every span of the window's
 * length that ends now, so comparing it with the quota is never too kind.
 */
#include "producer/limit.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/net.h"
#include "common/sign.h"

#include <stdlib.h>
#include <string.h>

#define PARTS 100
#define SLOTS (PARTS + 1)
#define WAYS 8
#define BUCKETS (LIMIT_ADDRESSES / WAYS)
#define PREFIX_BYTES 8 /* of an IPv6 address: a /64 */

struct window {
    int64_t newest; /* number of the slot that is under way then */
    int64_t total;
    uint32_t counts[SLOTS];
};

struct client_window {
    struct uuid client;
    struct window window;
};

/* Of addresses; the last place is for all who found none. */
struct bucket {
    uint8_t keys[WAYS][16];
    struct window windows[WAYS + 1];
};

struct limits {
    const struct config *cfg;
    int64_t window_s;
    struct client_window *clients;
    size_t clients_n;
    struct bucket *buckets; /* NULL = addresses are not limited */
    uint8_t seed[16];
};

/* --- one window --- */

static int64_t slot_us(const struct limits *l)
{
    return l->window_s * US_PER_S / PARTS;
}

/* From SLOTS on, so that one window before it there still are numbers. */
static int64_t slot_of(const struct limits *l, int64_t now_us)
{
    return now_us / slot_us(l) + SLOTS;
}

static int64_t begin_of(const struct limits *l, int64_t slot)
{
    return (slot - SLOTS) * slot_us(l);
}

/* Forgets what is older than the window. The clock never goes back. */
static void advance(struct window *w, int64_t slot)
{
    int64_t gone = MIN(slot - w->newest, SLOTS);

    for (int64_t i = 1; i <= gone; i++) {
        uint32_t *count = &w->counts[(w->newest + i) % SLOTS];

        w->total -= *count;
        *count = 0;
    }
    w->newest = MAX(slot, w->newest);
}

/* Until @p n of the counted ones are forgotten. */
static int64_t wait_for(const struct limits *l, const struct window *w,
                        int64_t n, int64_t now_us)
{
    int64_t slot = w->newest - PARTS;

    for (; n > 0 && slot <= w->newest; slot++)
        n -= w->counts[slot % SLOTS];
    return MAX(begin_of(l, slot + PARTS) - now_us, 1);
}

static bool admit(const struct limits *l, struct window *w, int64_t quota,
                  int64_t now_us, struct limit_state *ret)
{
    bool fits;

    *ret = (struct limit_state){.quota = quota, .window_s = l->window_s};
    if (!quota)
        return true;
    advance(w, slot_of(l, now_us));
    fits = w->total < quota;
    if (fits) {
        w->counts[w->newest % SLOTS]++;
        w->total++;
    }
    ret->left = MAX(quota - w->total, 0);
    /* a smaller quota than before may have to forget several */
    ret->wait_us = wait_for(l, w, fits ? 1 : w->total - quota + 1, now_us);
    return fits;
}

/* --- clients --- */

static struct window *find(struct client_window *all, size_t n,
                           const struct uuid *client)
{
    for (size_t i = 0; i < n; i++)
        if (uuid_equal(&all[i].client, client))
            return &all[i].window;
    return NULL;
}

void limits_renew(struct limits *l)
{
    const struct config *cfg = l->cfg;
    bool keep = l->window_s == cfg->limits_window_s;
    struct client_window *old = l->clients;
    size_t old_n = l->clients_n;

    l->window_s = cfg->limits_window_s;
    l->clients_n = cfg->clients_n;
    l->clients = must_alloc(cfg->clients_n + 1, sizeof(*l->clients));
    for (size_t i = 0; i < cfg->clients_n; i++) {
        const struct window *w = find(old, old_n, &cfg->clients[i].uuid);

        l->clients[i].client = cfg->clients[i].uuid;
        if (keep && w)
            l->clients[i].window = *w;
    }
    free(old);
    if (!keep || !cfg->limits_address_rate) {
        free(l->buckets);
        l->buckets = NULL;
    }
    if (!l->buckets && cfg->limits_address_rate)
        l->buckets = must_alloc(BUCKETS, sizeof(*l->buckets));
}

struct limits *limits_new(const struct config *cfg)
{
    struct limits *l = NEW(struct limits);

    l->cfg = cfg;
    sign_random(l->seed, sizeof(l->seed));
    limits_renew(l);
    return l;
}

void limits_free(struct limits *l)
{
    if (!l)
        return;
    free(l->clients);
    free(l->buckets);
    free(l);
}

bool limits_client(struct limits *l, const struct client *client,
                   int64_t now_us, struct limit_state *ret)
{
    size_t i = (size_t)(client - l->cfg->clients);
    int64_t rate = client->rate ? client->rate : l->cfg->limits_client_rate;

    must(i < l->clients_n && uuid_equal(&l->clients[i].client, &client->uuid));
    return admit(l, &l->clients[i].window, rate * l->window_s, now_us, ret);
}

/* --- addresses --- */

static void make_key(const char *address, uint8_t out[16])
{
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    struct network n;

    memset(out, 0, 16);
    if (!network_parse(address, &n))
        return; /* what has no address shares one window */
    memcpy(out, n.address, 16);
    if (memcmp(out, v4, sizeof(v4)) != 0)
        memset(out + PREFIX_BYTES, 0, 16 - PREFIX_BYTES);
}

static struct bucket *bucket_of(const struct limits *l, const uint8_t key[16])
{
    uint8_t text[32], hash[SHA256_SIZE];
    uint32_t n;

    memcpy(text, l->seed, 16);
    memcpy(text + 16, key, 16);
    sign_sha256(text, sizeof(text), hash);
    memcpy(&n, hash, sizeof(n));
    return &l->buckets[n % BUCKETS];
}

/* Its own place, an empty one, or the one that is shared. */
static struct window *place_of(struct bucket *b, const uint8_t key[16],
                               int64_t slot)
{
    int empty = WAYS;

    for (int i = 0; i < WAYS; i++) {
        struct window *w = &b->windows[i];

        advance(w, slot);
        if (w->total > 0 && memcmp(b->keys[i], key, 16) == 0)
            return w;
        if (w->total == 0)
            empty = i;
    }
    if (empty < WAYS)
        memcpy(b->keys[empty], key, 16);
    else
        metric_add(M_LIMIT_SHARED, 1);
    return &b->windows[empty];
}

bool limits_address(struct limits *l, const char *address, int64_t now_us,
                    struct limit_state *ret)
{
    int64_t quota = l->cfg->limits_address_rate * l->window_s;
    uint8_t key[16];
    struct bucket *b;

    if (!l->buckets) {
        *ret = (struct limit_state){.window_s = l->window_s};
        return true;
    }
    make_key(address, key);
    b = bucket_of(l, key);
    return admit(l, place_of(b, key, slot_of(l, now_us)), quota, now_us, ret);
}

/* --- shedding --- */

bool limit_sheds(enum priority priority, const struct limit_load *load)
{
    static const struct {
        int64_t share; /* of the room, in percent */
        int64_t slow;  /* times slow_us           */
    } bounds[] = {
        [PRIORITY_HIGH] = {90, 4},
        [PRIORITY_NORMAL] = {50, 2},
        [PRIORITY_LOW] = {25, 1},
    };
    int64_t share = bounds[priority].share;

    return load->records * 100 >= load->records_max * share ||
           load->bytes * 100 >= load->bytes_max * share ||
           load->oldest_us >= load->slow_us * bounds[priority].slow;
}
