/*
 * Column by column, in the order of PAYMENT_COLUMNS. Null is 0 or "".
 */
#include "common/payment_row.h"

#include "common/must.h"
#include "common/pg.h"

#include <string.h>

/* Where the next column is. */
struct cursor {
    const struct pg_result *r;
    size_t row, col;
};

static int64_t next_int(struct cursor *c)
{
    return pg_get_int(c->r, c->row, c->col++);
}

static int64_t next_time(struct cursor *c)
{
    return pg_get_time(c->r, c->row, c->col++);
}

static void next_text(struct cursor *c, char *to, size_t size)
{
    text_copy(to, size, pg_get_text(c->r, c->row, c->col++, NULL));
}

static void read_request(struct cursor *c, struct request *q)
{
    size_t len;
    const char *fingerprint;

    q->id = pg_get_uuid(c->r, c->row, c->col++);
    q->client = pg_get_uuid(c->r, c->row, c->col++);
    fingerprint = pg_get_text(c->r, c->row, c->col++, &len);
    must(len == FINGERPRINT_SIZE);
    memcpy(q->fingerprint, fingerprint, FINGERPRINT_SIZE);
    q->msisdn = next_int(c);
    q->amount = next_int(c);
    q->shortcode = next_int(c);
    q->priority = (enum priority)next_int(c);
    q->ask_again = (int)next_int(c);
    next_text(c, q->reference, sizeof(q->reference));
    next_text(c, q->description, sizeof(q->description));
    next_text(c, q->metadata, sizeof(q->metadata));
    q->requested_at = next_time(c);
    q->expires_at = next_time(c);
}

static void read_state(struct cursor *c, struct payment *p)
{
    p->state = (enum payment_state)next_int(c);
    p->waits = (enum payment_wait)next_int(c);
    p->version = (int)next_int(c);
    p->published_version = (int)next_int(c);
    p->attempt = (int)next_int(c);
    p->mac_key = (int)next_int(c);
    p->spent = (int)next_int(c);
    p->owner = next_int(c);
    p->holds_phone = pg_get_bool(c->r, c->row, c->col++);
    p->pushed_at = next_time(c);
    p->next_action_at = next_time(c);
    p->auth_version = next_int(c);
    p->queries = (int)next_int(c);
    next_text(c, p->query_code, sizeof(p->query_code));
    p->query_code_at = next_time(c);
}

static void read_result(struct cursor *c, struct payment *p)
{
    next_text(c, p->checkout_id, sizeof(p->checkout_id));
    next_text(c, p->merchant_id, sizeof(p->merchant_id));
    p->class = (enum result_class)next_int(c);
    p->evidence = (enum evidence)next_int(c);
    next_text(c, p->code, sizeof(p->code));
    next_text(c, p->text, sizeof(p->text));
    next_text(c, p->receipt, sizeof(p->receipt));
    p->paid_at = next_time(c);
    p->paid_attempt = (int)next_int(c);
    p->replays = (int)next_int(c);
    p->replay = next_int(c);
}

void payment_row_read(const struct pg_result *r, size_t row, size_t col,
                      struct payment *ret)
{
    struct cursor c = {r, row, col};

    read_request(&c, &ret->req);
    ret->deadline_at = next_time(&c);
    ret->source_topic = (int)next_int(&c);
    ret->source_partition = (int32_t)next_int(&c);
    ret->source_offset = next_int(&c);
    ret->created_at = next_time(&c);
    ret->updated_at = next_time(&c);
    read_state(&c, ret);
    read_result(&c, ret);
}
