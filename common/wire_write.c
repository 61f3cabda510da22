/*
 * Encoders: request record, payment document, status event. Members come in one
 * fixed order, so that equal things are equal bytes: the fingerprint of a
 * request rests on it, and so does wire_read_event().
 */
#include "common/wire.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/wire_priv.h"

#include <string.h>

static void put_time(struct json_out *j, const char *name, int64_t at)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(at, 3, text);
    json_put_text(j, name, text);
}

/* The shortcode is text: Daraja's own samples write it both ways, and it is a
   name, not a quantity. So is the phone number. */
static void put_number_text(struct json_out *j, const char *name, int64_t n)
{
    char text[24];
    struct buf b;

    buf_over(&b, text, sizeof(text));
    buf_addi(&b, n);
    json_put_text(j, name, text);
}

void wire_put_members(struct json_out *j, const struct request *req)
{
    put_number_text(j, "msisdn", req->msisdn);
    json_put_int(j, "amount", req->amount);
    json_put_text(j, "currency", "KES");
    json_put_text(j, "reference", req->reference);
    json_put_text(j, "description", req->description);
    put_number_text(j, "shortcode", req->shortcode);
    json_put_text(j, "priority", priority_name(req->priority));
    if (req->expires_at)
        put_time(j, "expires_at", req->expires_at);
    json_put_int(j, "ask_again", req->ask_again);
    if (*req->metadata)
        json_put_raw(j, "metadata", req->metadata, strlen(req->metadata));
}

void wire_write_request(const struct request *req, const char *key,
                        struct buf *out)
{
    struct json_out j = {.buf = out};

    json_open(&j, NULL, '{');
    json_put_int(&j, "version", REQUEST_VERSION);
    json_put_text(&j, "idempotency_key", key);
    wire_put_members(&j, req);
    json_close(&j, '}');
}

static void put_result(struct json_out *j, const struct payment *p)
{
    if (p->class == RESULT_NONE) {
        json_put_null(j, "result");
        return;
    }
    json_open(j, "result", '{');
    json_put_text(j, "class", result_class_name(p->class));
    json_put_text(j, "code", p->code);
    json_put_text(j, "text", p->text);
    if (*p->receipt)
        json_put_text(j, "receipt", p->receipt);
    else
        json_put_null(j, "receipt");
    if (p->paid_at)
        put_time(j, "paid_at", p->paid_at);
    else
        json_put_null(j, "paid_at");
    if (p->evidence)
        json_put_text(j, "evidence", evidence_name(p->evidence));
    else
        json_put_null(j, "evidence");
    json_close(j, '}');
}

/* A queued payment has no row yet: it was created when it was asked for. */
static void put_times(struct json_out *j, const struct payment *p)
{
    int64_t asked_at = p->req.requested_at;

    put_time(j, "created_at", p->created_at ? p->created_at : asked_at);
    put_time(j, "updated_at", p->updated_at ? p->updated_at : asked_at);
    if (p->deadline_at)
        put_time(j, "deadline_at", p->deadline_at);
}

void wire_write_payment(const struct payment *p, struct buf *out)
{
    struct json_out j = {.buf = out};
    char id[UUID_TEXT_SIZE];

    uuid_format(&p->req.id, id);
    json_open(&j, NULL, '{');
    json_put_text(&j, "id", id);
    json_put_text(&j, "status", payment_state_name(p->state));
    json_put_bool(&j, "final", payment_state_final(p->state));
    json_put_int(&j, "version", p->version);
    json_put_int(&j, "attempts", p->attempt);
    put_result(&j, p);
    if (p->state == PAYMENT_WAITING)
        json_put_text(&j, "waits_for", payment_wait_name(p->waits));
    put_times(&j, p);
    json_open(&j, "request", '{');
    wire_put_members(&j, &p->req);
    json_close(&j, '}');
    json_close(&j, '}');
}

void wire_write_event(const struct payment *p, struct buf *out)
{
    char id[UUID_TEXT_SIZE], time[CLOCK_TEXT_SIZE];

    uuid_format(&p->req.id, id);
    clock_format(p->updated_at, 3, time);
    buf_adds(out, "{\"specversion\":\"1.0\",\"id\":\"");
    buf_adds(out, id);
    buf_addc(out, ':');
    buf_addi(out, p->version);
    buf_adds(out, "\",\"source\":\"/foleni\",\"type\":\"foleni.payment.");
    buf_adds(out, payment_state_name(p->state));
    buf_adds(out, "\",\"subject\":\"");
    buf_adds(out, id);
    buf_adds(out, "\",\"time\":\"");
    buf_adds(out, time);
    buf_adds(out, "\",\"datacontenttype\":\"application/json\",\"data\":");
    wire_write_payment(p, out);
    buf_addc(out, '}');
}
