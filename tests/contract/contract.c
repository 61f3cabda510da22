/*
 * The decoders and encoders behind a pipe, for test_contract.py: one command
 * per line on standard input, one answer per line on standard output, both
 * JSON. A document to be read comes as `text`, or as `file` when its bytes may
 * be anything. The configuration is fixed: one client, one shortcode, and a
 * clock that stands still.
 */
#include "common/buf.h"
#include "common/http_priv.h"
#include "common/json.h"
#include "common/must.h"
#include "common/sign.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_AT INT64_C(1795248000000000) /* 2026-11-21T08:00:00Z */
#define NOW_MS "1795248000000"
#define DOCUMENT_MAX (1 << 20)

static struct client client = {
    .id = "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01",
    .name = "shop",
    .signing_secret = "test-signing-secret-of-the-shop",
};
static struct shortcode shortcode = {.shortcode = 174379};
static struct config cfg = {
    .clients = &client,
    .clients_n = 1,
    .shortcodes = &shortcode,
    .shortcodes_n = 1,
    .payments_clock_skew_ms = 30000,
};

struct command {
    const struct json *root;
    struct buf document;
    struct json_out *out;
};

/* --- what commands say --- */

static const char *text_of(const struct json *object, const char *name)
{
    const char *s = json_text(json_get(object, name));

    return s ? s : "";
}

static int64_t number_of(const struct json *object, const char *name)
{
    int64_t n = 0;

    (void)json_integer(json_get(object, name), &n); /* absent = 0 */
    return n;
}

static struct uuid uuid_of(const struct json *object, const char *name)
{
    const char *s = text_of(object, name);
    struct uuid id = {{0}};
    struct err err;

    if (*s)
        must(uuid_parse(s, strlen(s), &id, &err) == ERR_NONE);
    return id;
}

static void read_file(const char *path, struct buf *to)
{
    char part[4096];
    FILE *f = fopen(path, "rb");
    size_t n;

    must(f);
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        buf_add(to, part, n);
    fclose(f);
    must(!to->failed);
}

/* --- answers --- */

static void put_fault(struct json_out *j, const struct fault *f)
{
    json_put_bool(j, "ok", false);
    json_put_text(j, "code", f->code);
    json_put_text(j, "field", f->field);
    json_put_text(j, "text", f->text);
}

static void put_err(struct json_out *j, const struct err *err)
{
    json_put_bool(j, "ok", false);
    json_put_text(j, "code", err_name(err->code));
    json_put_text(j, "text", err->text);
}

static void put_hex(struct json_out *j, const char *name, const void *data,
                    size_t len)
{
    struct buf hex;

    buf_init(&hex, 2 * len);
    buf_addhex(&hex, data, len);
    json_put_text(j, name, hex.data);
    buf_done(&hex);
}

static void put_uuid(struct json_out *j, const char *name,
                     const struct uuid *id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    json_put_text(j, name, text);
}

/* The text that @p write makes of @p p. */
static void put_written(struct json_out *j, const char *name,
                        const struct payment *p,
                        void (*write)(const struct payment *p, struct buf *out))
{
    struct buf b;

    buf_init(&b, DOCUMENT_MAX);
    write(p, &b);
    must(!b.failed);
    json_put_text(j, name, b.data);
    buf_done(&b);
}

static void put_request(struct json_out *j, const struct request *req,
                        const char *key)
{
    struct payment queued = {.req = *req, .state = PAYMENT_QUEUED};
    struct buf b;

    buf_init(&b, DOCUMENT_MAX);
    wire_write_request(req, key, &b);
    must(!b.failed);
    json_put_bool(j, "ok", true);
    put_uuid(j, "id", &req->id);
    put_hex(j, "fingerprint", req->fingerprint, FINGERPRINT_SIZE);
    json_put_text(j, "record", b.data);
    put_written(j, "document", &queued, wire_write_payment);
    buf_done(&b);
}

/* --- commands: reading --- */

static void do_body(struct command *c)
{
    const char *key = text_of(c->root, "key");
    struct request req;
    struct fault fault;

    if (wire_read_body(&cfg, &client, key, c->document.data, c->document.len,
                       NOW_AT, &req, &fault))
        put_fault(c->out, &fault);
    else
        put_request(c->out, &req, key);
}

static void do_record(struct command *c)
{
    const char *key = text_of(c->root, "key");
    char mac[RECORD_MAC_SIZE];
    struct kafka_header headers[] = {
        {HDR_CLIENT, client.id, strlen(client.id)},
        {HDR_TIME, NOW_MS, strlen(NOW_MS)},
        {HDR_SIGNATURE, mac, sizeof(mac) - 1},
    };
    struct kafka_record record = {
        .key = key,
        .key_len = strlen(key),
        .value = c->document.data,
        .value_len = c->document.len,
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
    };
    enum topic topic = (enum topic)number_of(c->root, "topic");
    struct request req;
    struct fault fault;

    sign_record(client.signing_secret,
                &(struct record_claim){client.id, NOW_MS, key, strlen(key),
                                       c->document.data, c->document.len},
                mac);
    if (wire_read_request(&cfg, &record, topic, NOW_AT, &req, &fault))
        put_fault(c->out, &fault);
    else
        put_request(c->out, &req, "");
}

static void do_callback(struct command *c)
{
    struct callback cb;
    struct err err;

    if (wire_read_callback(c->document.data, c->document.len, &cb, &err)) {
        put_err(c->out, &err);
        return;
    }
    json_put_bool(c->out, "ok", true);
    json_put_text(c->out, "merchant_id", cb.merchant_id);
    json_put_text(c->out, "checkout_id", cb.checkout_id);
    json_put_text(c->out, "result_code", cb.code);
    json_put_text(c->out, "result_text", cb.text);
    json_put_text(c->out, "receipt", cb.receipt);
    json_put_int(c->out, "amount", cb.amount);
    json_put_int(c->out, "msisdn", cb.msisdn);
    json_put_int(c->out, "paid_at", cb.paid_at);
}

static void do_c2b(struct command *c)
{
    struct c2b c2b;
    struct err err;

    if (wire_read_c2b(c->document.data, c->document.len, &c2b, &err)) {
        put_err(c->out, &err);
        return;
    }
    json_put_bool(c->out, "ok", true);
    json_put_text(c->out, "receipt", c2b.receipt);
    json_put_int(c->out, "shortcode", c2b.shortcode);
    json_put_int(c->out, "amount", c2b.amount);
    json_put_int(c->out, "paid_at", c2b.paid_at);
    json_put_text(c->out, "reference", c2b.reference);
    json_put_text(c->out, "msisdn", c2b.msisdn);
}

static size_t read_headers(const struct json *object, struct kafka_header *to)
{
    size_t n = 0;

    for (const struct json *v = json_first(object); v; v = json_next(v)) {
        must(n < KAFKA_HEADERS_MAX);
        to[n++] = (struct kafka_header){json_name(v), json_text(v),
                                        strlen(json_text(v))};
    }
    return n;
}

static void do_event(struct command *c)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    const char *key = text_of(c->root, "key");
    struct kafka_record record = {
        .key = key,
        .key_len = strlen(key),
        .value = c->document.data,
        .value_len = c->document.len,
        .headers = headers,
        .headers_n = read_headers(json_get(c->root, "headers"), headers),
    };
    struct event_summary e;
    struct err err;

    if (wire_read_event(&record, &e, &err)) {
        put_err(c->out, &err);
        return;
    }
    json_put_bool(c->out, "ok", true);
    put_uuid(c->out, "payment", &e.payment);
    put_uuid(c->out, "client", &e.client);
    put_hex(c->out, "fingerprint", e.fingerprint, FINGERPRINT_SIZE);
    json_put_int(c->out, "version", e.version);
    json_put_bool(c->out, "final", e.final);
    json_put_raw(c->out, "document", e.document, e.document_len);
}

/* --- commands: writing --- */

static void fill_request(const struct json *o, struct request *req)
{
    req->id = uuid_of(o, "id");
    req->client = client.uuid;
    req->msisdn = number_of(o, "msisdn");
    req->amount = number_of(o, "amount");
    req->shortcode = number_of(o, "shortcode");
    req->priority = (enum priority)number_of(o, "priority");
    req->ask_again = (int)number_of(o, "ask_again");
    req->requested_at = NOW_AT;
    req->expires_at = number_of(o, "expires_at");
    text_copy(req->reference, sizeof(req->reference), text_of(o, "reference"));
    text_copy(req->description, sizeof(req->description),
              text_of(o, "description"));
    text_copy(req->metadata, sizeof(req->metadata), text_of(o, "metadata"));
}

static void do_write(struct command *c)
{
    const struct json *o = c->root;
    struct payment p = {
        .state = (enum payment_state)number_of(o, "state"),
        .waits = (enum payment_wait)number_of(o, "waits"),
        .version = (int)number_of(o, "version"),
        .attempt = (int)number_of(o, "attempt"),
        .class = (enum result_class)number_of(o, "class"),
        .evidence = (enum evidence)number_of(o, "evidence"),
        .created_at = number_of(o, "created_at"),
        .updated_at = number_of(o, "updated_at"),
        .deadline_at = number_of(o, "deadline_at"),
        .paid_at = number_of(o, "paid_at"),
    };

    fill_request(o, &p.req);
    text_copy(p.code, sizeof(p.code), text_of(o, "code"));
    text_copy(p.text, sizeof(p.text), text_of(o, "text"));
    text_copy(p.receipt, sizeof(p.receipt), text_of(o, "receipt"));
    json_put_bool(c->out, "ok", true);
    json_put_text(c->out, "state", payment_state_name(p.state));
    json_put_bool(c->out, "announced", payment_state_announced(p.state));
    put_written(c->out, "document", &p, wire_write_payment);
    put_written(c->out, "event", &p, wire_write_event);
}

static void do_problem(struct command *c)
{
    const char *detail = json_text(json_get(c->root, "detail"));
    struct http_problem p = {
        .status = (int)number_of(c->root, "status"),
        .code = text_of(c->root, "code"),
        .title = json_text(json_get(c->root, "title")),
        .detail = detail,
        .field = json_text(json_get(c->root, "field")),
        .payment_id = json_text(json_get(c->root, "payment_id")),
        .retry_after_s = (int)number_of(c->root, "retry_after"),
    };
    struct buf b;

    buf_init(&b, DOCUMENT_MAX);
    http_problem_json(&b, &p);
    json_put_bool(c->out, "ok", true);
    json_put_text(c->out, "problem", b.data);
    buf_done(&b);
}

/* --- commands: vectors --- */

static void do_payment_id(struct command *c)
{
    const char *key = text_of(c->root, "key");
    struct uuid ns = uuid_of(c->root, "client"), id;

    uuid_v5(&ns, key, strlen(key), &id);
    put_uuid(c->out, "payment", &id);
}

static void do_signature(struct command *c)
{
    const char *key = text_of(c->root, "key");
    const char *value = text_of(c->root, "value");
    char mac[RECORD_MAC_SIZE];

    sign_record(text_of(c->root, "secret"),
                &(struct record_claim){text_of(c->root, "client"),
                                       text_of(c->root, "time"), key,
                                       strlen(key), value, strlen(value)},
                mac);
    json_put_text(c->out, "signature", mac);
}

static void do_mac(struct command *c)
{
    struct uuid payment = uuid_of(c->root, "payment");
    char mac[CALLBACK_MAC_SIZE];

    sign_callback(text_of(c->root, "key"), &payment,
                  (int)number_of(c->root, "attempt"), mac);
    json_put_text(c->out, "mac", mac);
}

static void do_c2b_mac(struct command *c)
{
    const char *body = text_of(c->root, "body");
    char mac[CALLBACK_MAC_SIZE];

    sign_c2b(text_of(c->root, "key"), body, strlen(body), mac);
    json_put_text(c->out, "mac", mac);
}

/* --- the pipe --- */

static const struct {
    const char *op;
    void (*run)(struct command *c);
} ops[] = {
    {"body", do_body},
    {"record", do_record},
    {"callback", do_callback},
    {"c2b", do_c2b},
    {"event", do_event},
    {"write", do_write},
    {"problem", do_problem},
    {"mac", do_mac},
    {"c2b_mac", do_c2b_mac},
    {"signature", do_signature},
    {"payment_id", do_payment_id},
};

static void run(struct command *c)
{
    const char *op = text_of(c->root, "op");

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (strcmp(ops[i].op, op) == 0) {
            ops[i].run(c);
            return;
        }
    }
    must_failed("known op", __FILE__, __LINE__);
}

static void answer(const char *line, size_t len)
{
    struct buf out;
    struct json_out j = {.buf = &out};
    CLEANUP(json_free)
    struct json *root = NULL;
    struct command c = {.out = &j};
    struct err err;

    must(json_parse_strict(line, len, &root, &err) == ERR_NONE);
    c.root = root;
    buf_init(&out, DOCUMENT_MAX);
    buf_init(&c.document, DOCUMENT_MAX);
    if (json_get(root, "file"))
        read_file(text_of(root, "file"), &c.document);
    else
        buf_adds(&c.document, text_of(root, "text"));
    json_open(&j, NULL, '{');
    run(&c);
    json_close(&j, '}');
    must(!out.failed);
    puts(out.data);
    fflush(stdout);
    buf_done(&c.document);
    buf_done(&out);
}

int main(void)
{
    struct err err;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    must(uuid_parse(client.id, strlen(client.id), &client.uuid, &err) ==
         ERR_NONE);
    while ((len = getline(&line, &size, stdin)) > 0)
        answer(line, (size_t)len);
    free(line);
    return 0;
}
