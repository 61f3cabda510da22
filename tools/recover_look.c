/*
 * What each partition needs: where Postgres, Kafka's group and the log stand,
 * how many records lie between, and which offsets hold none.
 *
 * The log is read as the workers read it, so a gap here is one there. A gap is
 * known by the record behind it alone: silence of Kafka is never one.
 */
#include "common/must.h"
#include "tools/recover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SQL_INTAKE[] =
    "SELECT next_offset FROM intake WHERE topic = $1 AND partition = $2::int";

enum err_code recover_number(struct run *run, const char *sql,
                             const char *const *params, size_t n, size_t col,
                             int64_t *ret, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *value;

    if (pg_session_exec(run->session, sql, params, n, &rows, err))
        return err->code;
    value = pg_text_rows_n(rows) ? pg_text_value(rows, 0, col) : NULL;
    *ret = value ? strtoll(value, NULL, 10) : 0;
    return ERR_NONE;
}

/* --- gaps --- */

/* False: there is no room for it. */
static bool add_gap(struct place *p, int64_t from, int64_t to)
{
    if (from >= to)
        return true;
    if (p->gaps_n == GAPS_MAX)
        return false;
    p->gaps[p->gaps_n++] = (struct gap){from, to - 1};
    p->gone += to - from;
    return true;
}

/* No further than to the gap at @p offset. */
static void end_at(struct place *p, int64_t offset)
{
    p->till = p->to = offset;
    p->more = true;
}

/* Records and gaps of what is to be entered. */
static enum err_code count_records(struct run *run, struct place *p,
                                   struct err *err)
{
    CLEANUP(kafka_range_close)
    struct kafka_range *range = NULL;
    const struct kafka_record *record;
    int64_t due = p->from;

    if (p->from == p->till)
        return ERR_NONE;
    if (kafka_range_open(run->cfg, p->topic, p->at.partition, p->from, p->till,
                         &range, err))
        return err->code;
    while (!kafka_range_next(range, &record, err) && record) {
        if (!add_gap(p, due, record->offset)) {
            end_at(p, due);
            return ERR_NONE;
        }
        p->records++;
        due = record->offset + 1;
    }
    if (!err->code && !add_gap(p, due, p->till))
        end_at(p, due);
    return err->code;
}

/* A gap at `till`, where a worker would go on. It is one with what was missing
   just before. */
static enum err_code look_behind(struct run *run, struct place *p,
                                 struct err *err)
{
    CLEANUP(kafka_range_close)
    struct kafka_range *range = NULL;
    const struct kafka_record *record;
    struct gap *last = p->gaps_n ? &p->gaps[p->gaps_n - 1] : NULL;

    if (p->more || p->till >= p->at.next)
        return ERR_NONE;
    if (kafka_range_open(run->cfg, p->topic, p->at.partition, p->till,
                         p->at.next, &range, err) ||
        kafka_range_next(range, &record, err))
        return err->code;
    if (!record || record->offset == p->till)
        return ERR_NONE;
    if (last && last->last == p->till - 1) {
        last->last = record->offset - 1;
        p->gone += record->offset - p->till;
        p->to = record->offset;
    } else if (add_gap(p, p->till, record->offset)) {
        p->to = record->offset;
    } else {
        p->more = true;
    }
    return ERR_NONE;
}

/* --- partitions --- */

static void add_place(struct run *run, const struct place *place)
{
    struct place *more = must_alloc(run->places_n + 1, sizeof(*more));

    if (run->places_n)
        memcpy(more, run->places, run->places_n * sizeof(*more));
    more[run->places_n++] = *place;
    free(run->places);
    run->places = more;
}

static enum err_code look_at(struct run *run, enum topic kind,
                             const char *topic, const struct kafka_place *at,
                             struct err *err)
{
    struct place p = {.kind = kind, .at = *at};
    char partition[16];
    const char *const params[] = {topic, partition};

    snprintf(p.topic, sizeof(p.topic), "%s", topic);
    snprintf(partition, sizeof(partition), "%d", (int)at->partition);
    if (recover_number(run, SQL_INTAKE, params, 2, 0, &p.intake, err))
        return err->code;
    p.from = MAX(p.intake, at->first);
    p.till = p.to = MAX(at->committed, p.from);
    must(add_gap(&p, p.intake, p.from)); /* the first one */
    if (count_records(run, &p, err) || look_behind(run, &p, err))
        return err->code;
    if (p.to > p.intake)
        add_place(run, &p);
    return ERR_NONE;
}

static enum err_code look_at_pool(struct run *run, enum priority pool,
                                  struct err *err)
{
    enum topic kind = (enum topic)(TOPIC_HIGH + (int)pool);
    char topic[KAFKA_TOPIC_SIZE], group[KAFKA_TOPIC_SIZE];
    struct kafka_place *places;
    enum err_code code = ERR_NONE;
    size_t n;

    kafka_topic(run->cfg, kind, topic);
    snprintf(group, sizeof(group), "%.200sfoleni.%s", run->cfg->kafka_prefix,
             priority_name(pool));
    if (kafka_places(run->cfg, group, topic, &places, &n, err))
        return err->code;
    for (size_t i = 0; !code && i < n; i++)
        code = look_at(run, kind, topic, &places[i], err);
    free(places);
    return code;
}

enum err_code recover_look(struct run *run, struct err *err)
{
    *err = (struct err){0};
    for (int i = 0; i < PRIORITIES_N; i++)
        if (look_at_pool(run, (enum priority)i, err))
            return err->code;
    return ERR_NONE;
}

/* --- how it is told --- */

const char *recover_offsets(const struct gap *gap, char text[OFFSETS_SIZE])
{
    if (gap->first == gap->last)
        snprintf(text, OFFSETS_SIZE, "offset %lld", (long long)gap->first);
    else
        snprintf(text, OFFSETS_SIZE, "offsets %lld to %lld",
                 (long long)gap->first, (long long)gap->last);
    return text;
}

void recover_put_facts(struct json_out *j, const struct place *p)
{
    json_put_text(j, "topic", p->topic);
    json_put_int(j, "partition", p->at.partition);
    json_put_int(j, "intake", p->intake);
    json_put_int(j, "committed", p->at.committed);
    json_put_text(j, "committed_under", p->at.metadata);
    json_put_int(j, "log_begins", p->at.first);
    json_put_int(j, "records", p->records);
    json_put_int(j, "deleted", p->gone);
    json_open(j, "given_up", '[');
    for (size_t i = 0; i < p->gaps_n; i++) {
        json_open(j, NULL, '{');
        json_put_int(j, "first", p->gaps[i].first);
        json_put_int(j, "last", p->gaps[i].last);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_put_bool(j, "more", p->more);
}
