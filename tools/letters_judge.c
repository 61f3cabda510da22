/*
 * What the ledger says of letters: rule S22, and what was thrown away. The
 * workers judge once more when they bring a payment back.
 */
#include "tools/letters_priv.h"

#include "common/buf.h"
#include "common/must.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS_PER_LOOK 5000
#define LOOK_BYTES_MAX ((size_t)LETTERS_PER_LOOK * 96)

/* $1 payments, $2 partitions, $3 offsets, in one order. */
static const char SQL_JUDGE[] =
    "SELECT coalesce(p.state, 0), coalesce(p.version, 0), "
    "coalesce(p.replays, 0), coalesce(p.expires_at <= now(), false), "
    "p.checkout_id IS NULL, CASE WHEN p.state = 11 THEN ordered_again(p) "
    "ELSE false END, coalesce(p.shortcode, 0), d.partition IS NOT NULL "
    "FROM unnest($1::uuid[], $2::int4[], $3::int8[]) WITH ORDINALITY "
    "AS r(id, partition, at, n) LEFT JOIN payments p ON p.id = r.id "
    "LEFT JOIN discards d ON d.partition = r.partition AND d.\"offset\" = r.at "
    "ORDER BY r.n";

enum {
    C_STATE,
    C_VERSION,
    C_REPLAYS,
    C_EXPIRED,
    C_NO_ID,
    C_ORDERED,
    C_SHORTCODE,
    C_DISCARDED
};

static int64_t number(const struct pg_text_rows *r, size_t row, size_t col)
{
    return strtoll(pg_text_value(r, row, col), NULL, 10);
}

static bool yes(const struct pg_text_rows *r, size_t row, size_t col)
{
    return *pg_text_value(r, row, col) == 't';
}

static enum letter_disposition by_state(enum payment_state state)
{
    switch (state) {
    case PAYMENT_QUEUED: return LETTER_GONE; /* no row */
    case PAYMENT_SENDING:
    case PAYMENT_PROMPTED:
    case PAYMENT_WAITING: return LETTER_OPEN;
    case PAYMENT_UNKNOWN:
    case PAYMENT_UNRESOLVED: return LETTER_UNKNOWN;
    case PAYMENT_SUCCEEDED: return LETTER_PAID;
    case PAYMENT_FAILED:
    case PAYMENT_REJECTED:
    case PAYMENT_CANCELLED:
    case PAYMENT_SUPERSEDED: return LETTER_OVER;
    case PAYMENT_DEAD: break;
    }
    return LETTER_READY;
}

static enum letter_disposition judge_dead(const struct pg_text_rows *r,
                                          size_t row,
                                          const struct letter_item *item,
                                          const struct config *cfg)
{
    int64_t replays = number(r, row, C_REPLAYS);

    if (item->replays != replays)
        return LETTER_OLD;
    if (replays >= cfg->payments_replays_max)
        return LETTER_TOO_OFTEN;
    if (yes(r, row, C_ORDERED))
        return LETTER_ORDERED;
    if (yes(r, row, C_EXPIRED))
        return LETTER_EXPIRED;
    return yes(r, row, C_NO_ID) ? LETTER_UNPROVEN : LETTER_READY;
}

static void judge(const struct pg_text_rows *r, size_t row,
                  struct letter_item *item, const struct config *cfg)
{
    enum payment_state state = (enum payment_state)number(r, row, C_STATE);

    item->version = (int32_t)number(r, row, C_VERSION);
    if (item->has_payment)
        item->shortcode = (int32_t)number(r, row, C_SHORTCODE);
    if (yes(r, row, C_DISCARDED))
        item->disposition = LETTER_DISCARDED;
    else if (!item->has_payment)
        item->disposition =
            state == PAYMENT_QUEUED ? LETTER_READY : LETTER_KNOWN;
    else if (state == PAYMENT_DEAD)
        item->disposition = judge_dead(r, row, item, cfg);
    else
        item->disposition = by_state(state);
}

/* Those of a look, and the texts of their arrays. */
struct look {
    struct letter_item *items[LETTERS_PER_LOOK];
    size_t n;
    struct buf ids, partitions, offsets;
};

static void add(struct look *k, struct letter_item *item)
{
    char id[UUID_TEXT_SIZE];
    const char *comma = k->n ? "," : "{";

    uuid_format(&item->payment, id);
    buf_addf(&k->ids, "%s%s", comma, id);
    buf_addf(&k->partitions, "%s%" PRId32, comma, item->place.partition);
    buf_addf(&k->offsets, "%s%" PRId64, comma, item->place.offset);
    k->items[k->n++] = item;
}

static void renew(struct look *k)
{
    k->n = 0;
    buf_reset(&k->ids);
    buf_reset(&k->partitions);
    buf_reset(&k->offsets);
}

static enum err_code look(struct look *k, struct pg_session *session,
                          const struct config *cfg, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *params[3];

    if (!k->n)
        return ERR_NONE;
    buf_adds(&k->ids, "}");
    buf_adds(&k->partitions, "}");
    buf_adds(&k->offsets, "}");
    must(!k->ids.failed && !k->partitions.failed && !k->offsets.failed);
    params[0] = k->ids.data;
    params[1] = k->partitions.data;
    params[2] = k->offsets.data;
    if (pg_session_exec(session, SQL_JUDGE, params, ARRAY_LEN(params), &rows,
                        err))
        return err_wrap(err, "could not look at the payments of the letters");
    must(pg_text_rows_n(rows) == k->n);
    for (size_t i = 0; i < k->n; i++)
        judge(rows, i, k->items[i], cfg);
    renew(k);
    return ERR_NONE;
}

enum err_code letters_judge(struct pg_session *session, struct letters *letters,
                            const struct config *cfg, struct err *err)
{
    struct look *k = NEW(struct look);
    enum err_code code = ERR_NONE;

    buf_init(&k->ids, LOOK_BYTES_MAX);
    buf_init(&k->partitions, LOOK_BYTES_MAX);
    buf_init(&k->offsets, LOOK_BYTES_MAX);
    for (size_t i = 0; !code && i < letters->n; i++) {
        if (letters->items[i].disposition == LETTER_READY)
            add(k, &letters->items[i]);
        if (k->n == LETTERS_PER_LOOK)
            code = look(k, session, cfg, err);
    }
    if (!code)
        code = look(k, session, cfg, err);
    buf_done(&k->ids);
    buf_done(&k->partitions);
    buf_done(&k->offsets);
    free(k);
    return code;
}
