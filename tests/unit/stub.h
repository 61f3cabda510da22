/*
 * A gate, a database for its tokens, and the provider that it talks to, in one
 * process and on one loop: the three endpoints of Daraja, each doing what the
 * test says. What it was asked is counted and kept.
 */
#ifndef FOLENI_TESTS_UNIT_STUB_H
#define FOLENI_TESTS_UNIT_STUB_H

#include "common/clock.h"
#include "common/http.h"
#include "common/http_abuse.h"
#include "common/must.h"
#include "consumer/gate.h"
#include "consumer/recorder.h"
#include "tests/unit/ledger.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STUB_PATIENCE_US (60 * US_PER_S)
#define STUB_PARKED_MAX 64
#define STUB_ENDS_MAX 128
#define STUB_CHECKOUT_ID "ws_CO_10072024091526171708374149"
#define STUB_ACCEPTED                                      \
    "{\"MerchantRequestID\":\"2654-4b64-97ff-b827b5428\"," \
    "\"CheckoutRequestID\":\"" STUB_CHECKOUT_ID "\","      \
    "\"ResponseCode\":\"0\",\"ResponseDescription\":\"ok\"}"
#define STUB_PAID                                                       \
    "{\"ResponseCode\":\"0\",\"CheckoutRequestID\":\"" STUB_CHECKOUT_ID \
    "\",\"ResultCode\":\"0\"}"

enum stub_act { STUB_REPLY, STUB_HANG, STUB_CLOSE };

/* One endpoint: what it does, and what it was asked. */
struct stub_endpoint {
    enum stub_act act;
    int status;
    const char *body; /* NULL = its usual answer */
    int asked;
    char authorization[600], last[8192];
};

struct stub_end {
    void *arg;
    struct gate_result result;
};

struct stub {
    struct loop *loop;
    struct config cfg;
    struct shortcode shortcodes[3];
    char base_url[64];
    struct http_server *server;
    struct gate *gate;
    struct recorder *recorder;
    struct pg_session *ledger; /* for looking into its tables */
    char directory[64];
    bool allowed;
    unsigned term;
    struct stub_endpoint token, push, query;
    int tokens; /* given out: "token-1", "token-2", ... */
    int life_s;
    bool newest_only; /* older tokens are refused */
    struct http_request *parked[STUB_PARKED_MAX];
    size_t parked_n;
    struct stub_end ends[STUB_ENDS_MAX];
    int ends_n;
};

/* --- the provider --- */

static void stub_note(struct stub_endpoint *e, struct http_request *req)
{
    const char *authorization = http_header(req, "Authorization");
    size_t len;
    const char *body = http_body(req, &len);

    e->asked++;
    snprintf(e->authorization, sizeof(e->authorization), "%s",
             authorization ? authorization : "");
    snprintf(e->last, sizeof(e->last), "%.*s", (int)len, body);
}

static void stub_died(void *arg)
{
    (void)arg; /* a parked request is answered by nobody then */
}

/* Does what is set; false = the endpoint has to answer as usual. */
static bool stub_did(struct stub *s, struct stub_endpoint *e,
                     struct http_request *req)
{
    stub_note(e, req);
    if (e->act == STUB_HANG) {
        must(s->parked_n < STUB_PARKED_MAX);
        s->parked[s->parked_n++] = req;
        http_on_close(req, stub_died, s);
    } else if (e->act == STUB_CLOSE) {
        http_abort(req, false);
    } else if (e->body) {
        http_reply(req, e->status, "application/json", e->body,
                   strlen(e->body));
    } else {
        return false;
    }
    return true;
}

static void stub_on_token(void *arg, struct http_request *req)
{
    struct stub *s = arg;
    char body[100];
    int n;

    if (stub_did(s, &s->token, req))
        return;
    n = snprintf(body, sizeof(body),
                 "{\"access_token\":\"token-%d\",\"expires_in\":\"%d\"}",
                 ++s->tokens, s->life_s);
    http_reply(req, 200, "application/json", body, (size_t)n);
}

static bool stub_refused(struct stub *s, const struct stub_endpoint *e,
                         struct http_request *req)
{
    static const char refusal[] = "{\"errorCode\":\"404.001.03\","
                                  "\"errorMessage\":\"Invalid Access Token\"}";
    char newest[40];

    snprintf(newest, sizeof(newest), "Bearer token-%d", s->tokens);
    if (!s->newest_only || strcmp(newest, e->authorization) == 0)
        return false;
    http_reply(req, 404, "application/json", refusal, strlen(refusal));
    return true;
}

static void stub_on_push(void *arg, struct http_request *req)
{
    struct stub *s = arg;

    if (!stub_did(s, &s->push, req) && !stub_refused(s, &s->push, req))
        http_reply(req, 200, "application/json", STUB_ACCEPTED,
                   strlen(STUB_ACCEPTED));
}

static void stub_on_query(void *arg, struct http_request *req)
{
    struct stub *s = arg;

    if (!stub_did(s, &s->query, req) && !stub_refused(s, &s->query, req))
        http_reply(req, 200, "application/json", STUB_PAID, strlen(STUB_PAID));
}

/* Answers what hangs. */
UNUSED static void stub_release(struct stub *s)
{
    for (size_t i = 0; i < s->parked_n; i++)
        http_reply(s->parked[i], 200, "application/json", STUB_ACCEPTED,
                   strlen(STUB_ACCEPTED));
    s->parked_n = 0;
}

/* --- the gate --- */

static bool stub_allowed(void *arg, unsigned term)
{
    const struct stub *s = arg;

    return s->allowed && term == s->term;
}

static void stub_ended(void *arg, const struct gate_result *result);

/* The stub that gate_done_fn reports to: there is one per test. */
static struct stub *stub_now;

static void stub_ended(void *arg, const struct gate_result *result)
{
    must(stub_now->ends_n < STUB_ENDS_MAX);
    stub_now->ends[stub_now->ends_n++] = (struct stub_end){arg, *result};
}

static void stub_settings(struct stub *s)
{
    s->cfg = (struct config){
        .http_connections_max = 256,
        .http_body_bytes_max = 65536,
        .http_header_bytes_max = 16384,
        .http_idle_timeout_ms = 30000,
        .worker_slots = 8,
        .worker_ahead = 4,
        .worker_batch_max = 6,
        .gate_connect_timeout_ms = 5000,
        .gate_total_timeout_ms = 10000,
        .gate_idle_connection_s = 50,
        .gate_answer_bytes_max = 65536,
        .gate_ca_file = "",
        .callbacks_base_url = "https://pay.example.org",
        .callbacks_mac_key = "0123456789abcdef",
        .database_conninfo = ledger_conninfo,
        .database_password = "",
        .token_lease_ms = 10000,
        .token_key = "",
        .shortcodes = s->shortcodes,
        .shortcodes_n = 1,
    };
    for (int i = 0; i < 3; i++)
        s->shortcodes[i] = (struct shortcode){
            .shortcode = 174379 + i,
            .base_url = s->base_url,
            .consumer_key = "key",
            .consumer_secret = "secret",
            .passkey = "test-passkey",
            .transaction_type = "CustomerPayBillOnline",
            .party_b = 174379 + i,
        };
    s->life_s = 3599;
    s->allowed = true;
}

static const struct http_route stub_routes[] = {
    {HTTP_GET, "/oauth/v1/generate", stub_on_token},
    {HTTP_POST, "/mpesa/stkpush/v1/processrequest", stub_on_push},
    {HTTP_POST, "/mpesa/stkpushquery/v1/query", stub_on_query},
};

static void stub_serve(struct stub *s)
{
    struct http_spec spec = {
        .listen = "127.0.0.1:0",
        .tls_cert = "",
        .tls_key = "",
        .routes = stub_routes,
        .routes_n = ARRAY_LEN(stub_routes),
        .limits = &s->cfg,
        .arg = s,
    };
    struct err err;

    must(!http_server_new(s->loop, &spec, &s->server, &err));
    snprintf(s->base_url, sizeof(s->base_url), "http://127.0.0.1:%d",
             http_server_port(s->server));
}

/* The tokens stand in a database of the test program's own. */
UNUSED static int stub_make_ledger(void **state)
{
    (void)state;
    return ledger_make("foleni_gate");
}

/* Change s->cfg between this and stub_open(). */
UNUSED static struct stub *stub_new(void)
{
    struct stub *s = NEW(struct stub);

    stub_now = s;
    s->loop = loop_new();
    stub_settings(s);
    stub_serve(s);
    snprintf(s->directory, sizeof(s->directory), "/tmp/foleni-gate-XXXXXX");
    must(mkdtemp(s->directory));
    s->ledger = ledger_session(ledger_conninfo);
    ledger_run(s->ledger, "TRUNCATE tokens");
    return s;
}

/* @p slots of the recorder; 0 = without one. */
UNUSED static void stub_open(struct stub *s, size_t slots)
{
    struct gate_spec spec = {.allowed = stub_allowed, .arg = s};
    struct err err;

    if (slots)
        must(!recorder_open(s->directory, slots, &s->recorder, &err));
    spec.recorder = s->recorder;
    s->gate = gate_new(s->loop, &s->cfg, &spec);
}

UNUSED static void stub_free(struct stub *s)
{
    gate_free(s->gate);
    recorder_close(s->recorder, true);
    http_server_free(s->server);
    loop_free(s->loop);
    pg_session_close(s->ledger);
    must(rmdir(s->directory) == 0);
    free(s);
}

#define STUB_WAIT(s, cond)                                   \
    do {                                                     \
        int64_t end_us_ = clock_now_us() + STUB_PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)          \
            loop_once((s)->loop, 20 * US_PER_MS);            \
        assert_true(cond);                                   \
    } while (0)

/* Some turns in which nothing more may happen. */
UNUSED static void stub_turns(struct stub *s)
{
    for (int i = 0; i < 20; i++)
        loop_once(s->loop, US_PER_MS);
}

UNUSED static struct payment stub_payment(int n)
{
    struct payment p = {
        .req = {.id = {{(uint8_t)n, 7}},
                .msisdn = 254708374149,
                .amount = 100 + n,
                .shortcode = 174379,
                .reference = "INV0000042",
                .description = "Order 42"},
        .state = PAYMENT_SENDING,
        .attempt = 1,
    };

    text_copy(p.checkout_id, sizeof(p.checkout_id), STUB_CHECKOUT_ID);
    return p;
}

/* Gives push number @p n to the gate; its end stands under that number. */
UNUSED static void stub_push(struct stub *s, int n, int64_t lease_us)
{
    struct payment p = stub_payment(n);
    int before = s->ends_n;

    gate_push(s->gate, &p,
              &(struct gate_right){.lease_us = lease_us, .term = s->term},
              stub_ended, (void *)(intptr_t)n);
    must(s->ends_n == before); /* never inside the call */
}

UNUSED static void stub_query(struct stub *s, int n)
{
    struct payment p = stub_payment(n);

    gate_query(s->gate, &p, stub_ended, (void *)(intptr_t)n);
}

UNUSED static const struct gate_result *stub_end_of(const struct stub *s, int n)
{
    const struct gate_result *found = NULL;

    for (int i = 0; i < s->ends_n; i++)
        if ((intptr_t)s->ends[i].arg == n) {
            must(!found); /* once per call */
            found = &s->ends[i].result;
        }
    return found;
}

/* One push and its end. */
UNUSED static struct gate_result stub_push_once(struct stub *s, int n)
{
    int64_t end_us = clock_now_us() + STUB_PATIENCE_US;

    stub_push(s, n, 15 * US_PER_S);
    while (!stub_end_of(s, n) && clock_now_us() < end_us)
        loop_once(s->loop, 20 * US_PER_MS);
    must(stub_end_of(s, n));
    return *stub_end_of(s, n);
}

#endif
