/*
 * The walk over the topic, and what the filter finds on it. Which letter of a
 * payment is the newest is known only at the end, so that of each payment is
 * kept in a table on the way.
 */
#include "tools/letters.h"

#include "common/clock.h"
#include "common/must.h"
#include "common/wire.h"
#include "tools/letters_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_US US_PER_S
#define PROGRESS_EVERY 4096 /* letters between looks at the clock */

/* --- ends --- */

enum err_code letters_ends_read(const struct config *cfg,
                                struct letters_ends *ret, struct err *err)
{
    int64_t sum = 0;

    *ret = (struct letters_ends){0};
    kafka_topic(cfg, TOPIC_DEAD, ret->topic);
    if (kafka_places(cfg, "foleni.dead", ret->topic, &ret->places, &ret->n,
                     err))
        return err_wrap(err, "could not look at the dead letters");
    for (size_t i = 0; i < ret->n; i++)
        sum += ret->places[i].next - ret->places[i].first;
    if (sum <= LETTERS_MAX)
        return ERR_NONE;
    letters_ends_free(ret);
    return err_set(err, ERR_LIMIT,
                   "%lld letters stand in %s, more than this program looks at "
                   "(%d)",
                   (long long)sum, ret->topic, LETTERS_MAX);
}

void letters_ends_free(struct letters_ends *ends)
{
    free(ends->places);
    *ends = (struct letters_ends){0};
}

/* --- the walk --- */

struct walk {
    letter_fn fn;
    void *arg;
    bool body, stopped;
    size_t seen;
    int64_t all, told_us;
};

static void tell_progress(struct walk *w)
{
    if (w->seen++ % PROGRESS_EVERY || !isatty(STDERR_FILENO) ||
        clock_now_us() < w->told_us + PROGRESS_US)
        return;
    w->told_us = clock_now_us();
    fprintf(stderr, "\rfoleni: read %zu of %lld letters ", w->seen,
            (long long)w->all);
}

static enum err_code walk_partition(struct walk *w, const struct config *cfg,
                                    const char *topic,
                                    const struct kafka_place *place,
                                    struct err *err)
{
    CLEANUP(kafka_range_close)
    struct kafka_range *range = NULL;
    const struct kafka_record *record;
    struct letter_view view;

    if (place->first >= place->next)
        return ERR_NONE;
    if (kafka_range_open(cfg, topic, place->partition, place->first,
                         place->next, &range, err))
        return err->code;
    while (!w->stopped && !kafka_range_next(range, &record, err) && record) {
        letter_read(record, &view);
        if (w->body)
            letter_read_body(record, &view);
        w->stopped = !w->fn(w->arg, &view, record);
        tell_progress(w);
    }
    return err->code;
}

enum err_code letters_walk(const struct config *cfg,
                           const struct letters_ends *ends, bool body,
                           letter_fn fn, void *arg, struct err *err)
{
    struct walk w = {
        .fn = fn, .arg = arg, .body = body, .told_us = clock_now_us()};
    enum err_code code = ERR_NONE;

    *err = (struct err){0};
    for (size_t i = 0; i < ends->n; i++)
        w.all += ends->places[i].next - ends->places[i].first;
    for (size_t i = 0; !code && !w.stopped && i < ends->n; i++)
        code = walk_partition(&w, cfg, ends->topic, &ends->places[i], err);
    if (isatty(STDERR_FILENO) && w.seen >= PROGRESS_EVERY)
        fputs("\r\033[K", stderr);
    return code;
}

enum err_code letters_one(const struct config *cfg, struct letter_place place,
                          letter_fn fn, void *arg, struct err *err)
{
    struct walk w = {.fn = fn, .arg = arg, .body = true};
    struct kafka_place at = {.partition = place.partition,
                             .first = place.offset,
                             .next = place.offset + 1};
    char topic[KAFKA_TOPIC_SIZE];

    kafka_topic(cfg, TOPIC_DEAD, topic);
    if (walk_partition(&w, cfg, topic, &at, err) && err->code != ERR_NOT_FOUND)
        return err->code;
    if (!w.seen)
        return err_set(err, ERR_NOT_FOUND, "there is no letter at %d:%lld",
                       (int)place.partition, (long long)place.offset);
    return ERR_NONE;
}

/* --- the newest letter of each payment --- */

struct newest_row {
    struct uuid payment;
    int64_t last_at;
    struct letter_place place;
    bool used;
};

/* An open table, twice as large as it has to be. */
struct newest {
    struct newest_row *rows;
    size_t size; /* a power of two */
};

static void newest_init(struct newest *t, int64_t letters)
{
    t->size = 16;
    while (t->size < (size_t)letters * 2)
        t->size *= 2;
    t->rows = must_alloc(t->size, sizeof(*t->rows));
}

static struct newest_row *newest_find(const struct newest *t,
                                      const struct uuid *payment)
{
    uint64_t hash;
    size_t i;

    memcpy(&hash, payment, sizeof(hash)); /* a UUIDv5 is a hash already */
    for (i = hash & (t->size - 1); t->rows[i].used; i = (i + 1) & (t->size - 1))
        if (memcmp(&t->rows[i].payment, payment, sizeof(*payment)) == 0)
            break;
    return &t->rows[i];
}

static void newest_note(struct newest *t, const struct letter_view *l)
{
    struct newest_row *row = newest_find(t, &l->payment);

    if (row->used && row->last_at > l->last_at)
        return;
    *row = (struct newest_row){l->payment, l->last_at, l->place, true};
}

static bool is_newest(const struct newest *t, const struct letter_item *item)
{
    const struct newest_row *row = newest_find(t, &item->payment);

    return row->place.partition == item->place.partition &&
           row->place.offset == item->place.offset;
}

/* --- finding --- */

struct search {
    const struct config *cfg;
    const struct letter_filter *filter;
    const struct letter_place *only;
    struct letters *found;
    size_t room;
    struct newest newest;
};

static struct letter_item *add_item(struct search *s)
{
    struct letters *f = s->found;

    if (f->n == s->room) {
        s->room = MAX(s->room * 2, 1024);
        f->items = reallocarray(f->items, s->room, sizeof(*f->items));
        must(f->items);
    }
    return &f->items[f->n++];
}

/* What a record would become, read as strictly as the workers do. */
static enum letter_disposition judge_record(struct search *s,
                                            const struct letter_view *l,
                                            const struct kafka_record *record,
                                            struct letter_item *item)
{
    struct request req;
    struct fault fault;
    enum topic topic;

    if (l->bodiless)
        return LETTER_BODILESS;
    if (l->replays >= s->cfg->payments_replays_max)
        return LETTER_TOO_OFTEN;
    if (!letter_topic(s->cfg, l->source_topic, &topic) ||
        wire_read_request(s->cfg, record, topic, clock_wall_at(), &req, &fault))
        return LETTER_BAD;
    if (req.expires_at && req.expires_at <= clock_wall_at())
        return LETTER_EXPIRED;
    item->payment = req.id;
    item->shortcode = (int32_t)req.shortcode;
    return LETTER_READY;
}

static bool is_meant(const struct search *s, const struct letter_view *l)
{
    if (s->only && (s->only->partition != l->place.partition ||
                    s->only->offset != l->place.offset))
        return false;
    return letter_matches(s->filter, l);
}

static bool find_one(void *arg, const struct letter_view *l,
                     const struct kafka_record *record)
{
    struct search *s = arg;
    struct letter_item *item;

    if (l->has_payment)
        newest_note(&s->newest, l);
    if (!is_meant(s, l))
        return true;
    item = add_item(s);
    *item = (struct letter_item){
        .place = l->place,
        .payment = l->payment,
        .has_payment = l->has_payment,
        .bodiless = l->bodiless,
        .replays = l->replays,
        .last_at = l->last_at,
        .disposition = LETTER_READY,
    };
    if (!l->has_payment)
        item->disposition = judge_record(s, l, record, item);
    return true;
}

bool letter_topic(const struct config *cfg, const char *name, enum topic *ret)
{
    char topic[KAFKA_TOPIC_SIZE];

    for (int t = TOPIC_HIGH; t <= TOPIC_LOW; t++) {
        kafka_topic(cfg, (enum topic)t, topic);
        *ret = (enum topic)t;
        if (strcmp(topic, name) == 0)
            return true;
    }
    return false;
}

enum err_code letters_find(const struct config *cfg, struct pg_session *session,
                           const struct letters_ends *ends,
                           const struct letter_filter *filter,
                           const struct letter_place *only, struct letters *ret,
                           struct err *err)
{
    struct search s = {
        .cfg = cfg, .filter = filter, .only = only, .found = ret};
    int64_t all = 0;
    enum err_code code;

    *ret = (struct letters){0};
    for (size_t i = 0; i < ends->n; i++)
        all += ends->places[i].next - ends->places[i].first;
    newest_init(&s.newest, all);
    code = letters_walk(cfg, ends, letter_filter_needs_body(filter), find_one,
                        &s, err);
    for (size_t i = 0; i < ret->n; i++)
        if (ret->items[i].has_payment && !is_newest(&s.newest, &ret->items[i]))
            ret->items[i].disposition = LETTER_OLD;
    free(s.newest.rows);
    if (!code)
        code = letters_judge(session, ret, cfg, err);
    if (code)
        letters_free(ret);
    return code;
}

void letters_free(struct letters *letters)
{
    free(letters->items);
    *letters = (struct letters){0};
}

void letters_count(const struct letters *letters, size_t counts[LETTERS_N])
{
    memset(counts, 0, LETTERS_N * sizeof(counts[0]));
    for (size_t i = 0; i < letters->n; i++)
        counts[letters->items[i].disposition]++;
}
