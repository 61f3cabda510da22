/*
 * What Daraja says: callbacks and their path, C2B notices, answers to pushes
 * and queries, tokens. The property that matters is that damage never makes
 * something definite: a cut answer is ambiguous, money is only what the table
 * calls paid, and only the right MAC opens a path.
 */
#include "common/call.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/sign.h"
#include "consumer/gate_priv.h"
#include "consumer/pull_priv.h"
#include "consumer/verdict.h"
#include "producer/callbacks.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <string.h>

#define ENDS(text) (memchr((text), '\0', sizeof(text)) != NULL)

/* --- callbacks --- */

static void check_callback_verdict(const struct callback *cb)
{
    struct verdict v;

    verdict_callback(cb->code, cb->text, &v);
    CHECK((v.kind == VERDICT_PAID) == (strcmp(cb->code, "0") == 0));
    CHECK(v.row >= 0 || v.kind == VERDICT_SOFT);
    CHECK(v.kind == VERDICT_PAID || v.kind == VERDICT_FAILED ||
          v.kind == VERDICT_PROVE || v.kind == VERDICT_REPEAT ||
          v.kind == VERDICT_SOFT);
}

void fuzz_callback(const uint8_t *data, size_t len)
{
    char *body = fuzz_text(data, len);
    struct callback cb, again;
    struct err err;

    memset(&cb, 0, sizeof(cb));
    memset(&again, 0, sizeof(again));
    if (wire_read_callback(body, len, &cb, &err) == ERR_NONE) {
        CHECK(ENDS(cb.merchant_id) && ENDS(cb.checkout_id) && ENDS(cb.code) &&
              ENDS(cb.text) && ENDS(cb.receipt));
        CHECK(cb.code[0] && cb.amount >= 0 && cb.msisdn >= 0);
        check_callback_verdict(&cb);
        CHECK(wire_read_callback(body, len, &again, &err) == ERR_NONE);
        CHECK(strcmp(cb.code, again.code) == 0 && cb.amount == again.amount);
    }
    free(body);
}

/* Stand-ins of the server: the target reads the path alone. */
static const char *params[3];
static bool refused;

const char *http_param(const struct http_request *req, size_t i)
{
    (void)req;
    return params[i];
}

const char *http_peer(const struct http_request *req)
{
    (void)req;
    return "192.0.2.1";
}

void http_problem(struct http_request *req, const struct http_problem *p)
{
    (void)req;
    CHECK(p->status == 404);
    refused = true;
}

void http_reply(struct http_request *req, int status, const char *content_type,
                const void *body, size_t len)
{
    (void)req, (void)status, (void)content_type, (void)body, (void)len;
}

static void check_record_address(const struct callback_path *path,
                                 const char *mac, bool right)
{
    char id[UUID_TEXT_SIZE];
    struct kafka_header headers[] = {
        {HDR_PAYMENT, id, UUID_TEXT_SIZE - 1},
        {HDR_ATTEMPT, params[1], strlen(params[1])},
        {HDR_MAC, mac, strlen(mac)},
    };
    struct kafka_record record = {.headers = headers,
                                  .headers_n = ARRAY_LEN(headers)};
    struct callback_address at;
    struct err err;

    uuid_format(&path->payment, id);
    CHECK(right == (wire_read_callback_address(&record, &fuzz_cfg, &at, &err) ==
                    ERR_NONE));
    if (right)
        CHECK(uuid_equal(&at.payment, &path->payment) &&
              at.attempt == path->attempt);
}

/* Lines: payment, attempt, MAC; "=" stands for the right one. */
void fuzz_address(const uint8_t *data, size_t len)
{
    char lines[3][96], right[CALLBACK_MAC_SIZE];
    struct callback_path path;
    struct uuid id;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        fuzz_line(&data, &len, lines[i], sizeof(lines[i]));
    if (strcmp(lines[2], "=") == 0 &&
        uuid_parse(lines[0], strlen(lines[0]), &id, &err) == ERR_NONE)
        sign_callback(fuzz_cfg.callbacks_mac_key, &id,
                      (int)strtol(lines[1], NULL, 10), lines[2]);
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        params[i] = lines[i];
    refused = false;
    if (callbacks_path(&fuzz_cfg, NULL, &path)) {
        CHECK(!refused && path.attempt > 0);
        sign_callback(fuzz_cfg.callbacks_mac_key, &path.payment, path.attempt,
                      right);
        CHECK(strcmp(path.mac, right) == 0);
        check_record_address(&path, right, true);
        right[0] = right[0] == '0' ? '1' : '0';
        check_record_address(&path, right, false);
    } else {
        CHECK(refused);
    }
}

void fuzz_c2b(const uint8_t *data, size_t len)
{
    char *body = fuzz_text(data, len);
    struct c2b c;
    struct err err;

    memset(&c, 0, sizeof(c));
    if (wire_read_c2b(body, len, &c, &err) == ERR_NONE) {
        CHECK(ENDS(c.receipt) && ENDS(c.reference) && ENDS(c.msisdn));
        CHECK(c.receipt[0] && c.amount >= 0 && c.shortcode >= 0 &&
              c.paid_at >= 0);
    }
    free(body);
}

/* --- Pull: a page is records that can be so, or none at all --- */

void fuzz_pull(const uint8_t *data, size_t len)
{
    static const struct pull_range range = {
        .shortcode = 174379,
        .from = FUZZ_NOW_AT - 48 * 3600 * US_PER_S,
        .until = FUZZ_NOW_AT,
    };
    char line[8], *body;
    struct pull_page page;

    fuzz_line(&data, &len, line, sizeof(line));
    body = fuzz_text(data, len);
    pull_page_read(&(struct pull_answer){.status = (int)strtol(line, NULL, 10),
                                         .body = body,
                                         .len = len},
                   &range, &page);
    CHECK(page.kind <= PULL_LIE);
    CHECK(page.kind != PULL_ROWS || page.n > 0);
    CHECK(page.n == 0 || page.kind == PULL_ROWS || page.kind == PULL_LIE);
    CHECK(page.n <= PULL_ROWS_MAX);
    for (size_t i = 0; page.kind == PULL_ROWS && i < page.n; i++) {
        const struct pull_row *r = &page.rows[i];

        CHECK(ENDS(r->receipt) && ENDS(r->phone) && ENDS(r->reference));
        CHECK(r->receipt[0] && r->amount >= 0);
        CHECK(r->body.len <= PULL_BODY_MAX);
    }
    pull_page_done(&page);
    free(body);
}

/* --- answers --- */

static struct verdict_answer answer_of(int status, const char *body, size_t len)
{
    return (struct verdict_answer){.status = status,
                                   .content_type = "application/json",
                                   .body = body,
                                   .len = len,
                                   .retry_after_s = -1};
}

/* An object that ends too early is no answer. */
static void check_cut(int status, const char *body, size_t len, uint8_t where)
{
    struct json *whole = NULL;
    struct verdict v;
    struct err err;
    char *cut;

    while (len && isspace((unsigned char)body[len - 1]))
        len--;
    if (!len || body[0] != '{' || body[len - 1] != '}' ||
        json_parse_tolerant(body, len, &whole, &err))
        return;
    json_free(whole);
    len = 1 + (size_t)where * (len - 2) / 255;
    cut = fuzz_text((const uint8_t *)body, len);
    verdict_push(&(struct verdict_answer){.status = status,
                                          .body = cut,
                                          .len = len,
                                          .content_type = "application/json"},
                 &v);
    CHECK(v.kind == VERDICT_AMBIGUOUS);
    verdict_query(&(struct verdict_answer){.status = status,
                                           .body = cut,
                                           .len = len,
                                           .content_type = "application/json"},
                  &v);
    CHECK(v.kind == VERDICT_PENDING || v.kind == VERDICT_THROTTLED);
    free(cut);
}

/* An answer that names a push, or is an error and a response at once, proves
   nothing but what the table says of an accepted one. */
static void check_contradiction(const struct verdict *v, const char *body,
                                size_t len)
{
    struct json *root = NULL;
    struct err err;
    bool named, both;

    if (json_parse_tolerant(body, len, &root, &err))
        return;
    named = json_get(root, "CheckoutRequestID") != NULL;
    both = json_get(root, "errorCode") && json_get(root, "ResponseCode") &&
           v->kind != VERDICT_ACCEPTED;
    if (json_is_object(root) && (named || both))
        CHECK(v->kind == VERDICT_ACCEPTED || v->kind == VERDICT_AMBIGUOUS);
    json_free(root);
}

static void check_push_verdict(const struct verdict *v, int status)
{
    CHECK(ENDS(v->code) && ENDS(v->text) && ENDS(v->checkout_id) &&
          ENDS(v->merchant_id));
    CHECK(v->row >= 0 || v->kind == VERDICT_AMBIGUOUS);
    CHECK(v->kind <= VERDICT_LOCKED);
    if (v->kind == VERDICT_ACCEPTED)
        CHECK(status == 200 && v->checkout_id[0] && strcmp(v->code, "0") == 0);
    /* what carries an id may have been delivered */
    if (v->checkout_id[0])
        CHECK(v->kind == VERDICT_ACCEPTED || v->kind == VERDICT_AMBIGUOUS);
}

static void check_query_verdict(const struct verdict *v, int status)
{
    CHECK(v->kind == VERDICT_PAID || v->kind == VERDICT_SOFT ||
          v->kind == VERDICT_REPEAT || v->kind == VERDICT_AUTH ||
          v->kind == VERDICT_THROTTLED || v->kind == VERDICT_PENDING);
    if (v->kind == VERDICT_PAID)
        CHECK(status == 200 && strcmp(v->code, "0") == 0);
}

/* First line: status and where to cut; then the body. */
void fuzz_answer(const uint8_t *data, size_t len)
{
    char line[16], *body, *end;
    struct verdict_answer a;
    struct verdict v;
    int status;

    fuzz_line(&data, &len, line, sizeof(line));
    status = (int)(strtol(line, &end, 10) % 1000);
    body = fuzz_text(data, len);
    a = answer_of(status, body, len);
    verdict_push(&a, &v);
    check_push_verdict(&v, status);
    check_contradiction(&v, body, len);
    verdict_query(&a, &v);
    check_query_verdict(&v, status);
    check_cut(status, body, len, (uint8_t)strtol(end, NULL, 10));
    free(body);
}

/* --- tokens: the answer is read where the request ends --- */

static struct call_result token_answer;

enum err_code call_start(struct calls *calls, const struct call_request *req,
                         struct err *err)
{
    (void)calls, (void)err;
    req->done(req->arg, &token_answer);
    return ERR_NONE;
}

/* The only timer here is the token's: it is run by hand. */
static void (*look_fn)(void *arg);
static void *look_arg;

void timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg)
{
    (void)t;
    look_fn = fn;
    look_arg = arg;
}

void timer_set(struct loop *loop, struct loop_timer *t, int64_t at_us)
{
    (void)loop, (void)t;
    CHECK(at_us > clock_now_us() - US_PER_S);
}

void timer_cancel(struct loop *loop, struct loop_timer *t)
{
    (void)loop, (void)t;
}

bool timer_armed(const struct loop_timer *t)
{
    (void)t;
    return false;
}

static void no_news(void *arg)
{
    (void)arg;
}

/* A ledger without a token, which leases to whoever asks. */
struct token_ledger *token_ledger_new(struct loop *loop,
                                      const struct config *cfg,
                                      void (*on_state)(void *arg, bool up),
                                      void *arg)
{
    (void)loop, (void)cfg, (void)on_state, (void)arg;
    return NULL;
}

void token_ledger_free(struct token_ledger *l)
{
    (void)l;
}

bool token_ledger_up(const struct token_ledger *l)
{
    (void)l;
    return true;
}

void token_ledger_ask(struct token_ledger *l, const struct shortcode *sc,
                      int64_t refused, token_asked_fn done, void *arg)
{
    struct token_row row = {.lease = refused + 1};

    (void)l, (void)sc;
    done(arg, &row, NULL);
}

void token_ledger_save(struct token_ledger *l, const struct shortcode *sc,
                       int64_t lease, const struct token_row *row,
                       token_saved_fn done, void *arg)
{
    (void)l, (void)sc, (void)lease, (void)row, (void)done, (void)arg;
    CHECK(!"saved within the turn of its answer");
}

void token_ledger_fail(struct token_ledger *l, const struct shortcode *sc,
                       int64_t lease, int64_t wait_us, const char *why)
{
    (void)l, (void)sc;
    CHECK(lease > 0 && wait_us <= TOKEN_WAIT_MAX_US && *why);
}

void fuzz_token(const uint8_t *data, size_t len)
{
    static struct shortcode to = {.shortcode = 174379,
                                  .base_url = "http://localhost",
                                  .consumer_key = "key",
                                  .consumer_secret = "secret"};
    struct config cfg = {
        .shortcodes = &to, .shortcodes_n = 1, .token_lease_ms = 10000};
    char line[8], *body;
    struct tokens *tokens;
    const char *value;
    struct token *t;
    int64_t version;

    fuzz_line(&data, &len, line, sizeof(line));
    body = fuzz_text(data, len);
    token_answer = (struct call_result){
        .end = CALL_ANSWERED,
        .status = (int)strtol(line, NULL, 10),
        .body = body,
        .len = len,
    };
    tokens = tokens_new(NULL, &cfg, NULL, no_news, NULL);
    t = tokens_of(tokens, &to);
    look_fn(look_arg);
    value = token_value(t, &version);
    CHECK(token_good(t) == (value != NULL));
    if (value) {
        CHECK(token_answer.status == 200 && version > 0);
        CHECK(*value && strlen(value) < TOKEN_MAX && !strpbrk(value, "\r\n"));
    }
    tokens_free(tokens);
    free(body);
}
