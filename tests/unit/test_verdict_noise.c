/*
 * What no table can list: random codes, damaged copies of every published
 * answer, and bytes that are no JSON. Whatever they are, a verdict that lets a
 * payment be repeated or ended needs the whole of its row: code, message and
 * status are looked for in the damaged body by other means than verdict.c's.
 */
#include "consumer/verdict.h"

#include "common/must.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SEED UINT64_C(20261121)
#define ROUNDS 60000
#define BODY_MAX 8192
#define FILES_MAX 100
#define HUGE_BYTES 200000

static const int statuses[] = {200, 200, 200, 201, 204, 301, 302, 400,
                               400, 401, 403, 404, 405, 408, 409, 429,
                               500, 500, 500, 502, 503, 504, 0,   999};

struct corpus {
    char *body[FILES_MAX];
    size_t len[FILES_MAX], n;
    uint64_t dice;
};

static uint64_t roll(struct corpus *c)
{
    c->dice ^= c->dice << 13;
    c->dice ^= c->dice >> 7;
    c->dice ^= c->dice << 17;
    return c->dice;
}

static size_t below(struct corpus *c, size_t n)
{
    return (size_t)(roll(c) % n);
}

static int set_up(void **state)
{
    struct corpus *c = NEW(struct corpus);
    glob_t files;

    c->dice = SEED;
    must(glob("tests/fixtures/daraja/*", 0, NULL, &files) == 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        FILE *f = fopen(files.gl_pathv[i], "rb");

        must(f && c->n < FILES_MAX);
        c->body[c->n] = must_alloc(1, BODY_MAX);
        c->len[c->n] = fread(c->body[c->n], 1, BODY_MAX / 2, f);
        c->n++;
        (void)fclose(f); /* only read */
    }
    globfree(&files);
    *state = c;
    return 0;
}

static int tear_down(void **state)
{
    struct corpus *c = *state;

    for (size_t i = 0; i < c->n; i++)
        free(c->body[i]);
    free(c);
    return 0;
}

/* --- what a verdict stands on --- */

static bool holds(const char *body, const char *text)
{
    return strcasestr(body, text) != NULL;
}

static bool a_code(const char *body, const char *code)
{
    return holds(body, "\"errorCode\"") && holds(body, code);
}

static bool may_be_failed(int status, const char *body)
{
    return (status == 200 && holds(body, "\"ResponseCode\"") &&
            !strstr(body, "\"CheckoutRequestID\"")) ||
           a_code(body, "\"400.002.02\"") || a_code(body, "\"400.002.05\"") ||
           (status == 400 && a_code(body, "\"400.")) ||
           a_code(body, "\"404.001.01\"") || a_code(body, "\"405.001\"") ||
           (a_code(body, "\"500.001.1001\"") &&
            (holds(body, "Wrong credentials") ||
             holds(body, "Merchant does not exist")));
}

static bool may_be_auth(int status, const char *body)
{
    return a_code(body, "\"404.001.03\"") || a_code(body, "\"404.001.04\"") ||
           a_code(body, "\"400.003.01\"") ||
           (status == 401 && a_code(body, "\"401."));
}

static bool may_be_throttled(int status, const char *body)
{
    return status == 429 ||
           (a_code(body, "\"500.003.02\"") && holds(body, "arrest")) ||
           (a_code(body, "\"500.003.03\"") && holds(body, "quota"));
}

static bool push_stands(const struct verdict *v, int status, const char *body)
{
    switch (v->kind) {
    case VERDICT_AMBIGUOUS: return !v->stop_line;
    case VERDICT_ACCEPTED:
        return status == 200 && holds(body, "\"ResponseCode\"") &&
               holds(body, "\"CheckoutRequestID\"") && *v->checkout_id &&
               strcmp(v->code, "0") == 0 && !holds(body, "\"errorCode\"");
    case VERDICT_FAILED: return may_be_failed(status, body);
    case VERDICT_AUTH: return may_be_auth(status, body);
    case VERDICT_THROTTLED: return may_be_throttled(status, body);
    case VERDICT_LOCKED:
        return a_code(body, "\"500.001.1001\"") && holds(body, "lock");
    case VERDICT_PAID:
    case VERDICT_PROVE:
    case VERDICT_REPEAT:
    case VERDICT_SOFT:
    case VERDICT_PENDING: break; /* no push ends so */
    }
    return false;
}

static bool query_stands(const struct verdict *v, int status, const char *body)
{
    switch (v->kind) {
    case VERDICT_PENDING: return true;
    case VERDICT_AUTH: return may_be_auth(status, body);
    case VERDICT_THROTTLED: return may_be_throttled(status, body);
    case VERDICT_PAID:
        return status == 200 && holds(body, "\"ResultCode\"") &&
               strcmp(v->code, "0") == 0 && !holds(body, "\"errorCode\"");
    case VERDICT_SOFT:
    case VERDICT_REPEAT:
        return status == 200 && holds(body, "\"ResultCode\"") && *v->code &&
               strcmp(v->code, "0") != 0 && holds(body, v->code);
    case VERDICT_AMBIGUOUS:
    case VERDICT_ACCEPTED:
    case VERDICT_FAILED:
    case VERDICT_LOCKED:
    case VERDICT_PROVE: break;
    }
    return false;
}

/* A copy of its exact size, so that reading past its end shows. */
static void judge(int status, const char *body, size_t len)
{
    char *copy = must_alloc(1, len + 1);
    struct verdict_answer a = {.status = status,
                               .content_type = "",
                               .body = copy,
                               .len = len,
                               .retry_after_s = -1};
    struct verdict v;

    memcpy(copy, body, len);
    for (size_t i = 0; i < len; i++) /* for the conditions: they read text */
        copy[i] = copy[i] ? copy[i] : ' ';
    verdict_push(&a, &v);
    if (!push_stands(&v, status, copy))
        fail_msg("push %d: %s, row %d:\n%s", status, verdict_name(v.kind),
                 v.row, copy);
    verdict_query(&a, &v);
    if (!query_stands(&v, status, copy))
        fail_msg("query %d: %s:\n%s", status, verdict_name(v.kind), copy);
    free(copy);
}

static int any_status(struct corpus *c)
{
    return statuses[below(c, ARRAY_LEN(statuses))];
}

/* --- damage --- */

static void flip_bytes(struct corpus *c, char *body, size_t *len)
{
    for (size_t n = 1 + below(c, 3); n && *len; n--)
        body[below(c, *len)] = (char)roll(c);
}

static void flip_bits(struct corpus *c, char *body, size_t *len)
{
    if (*len)
        body[below(c, *len)] ^= (char)(1 << below(c, 8));
}

static void truncate_it(struct corpus *c, char *body, size_t *len)
{
    (void)body;
    *len = *len ? below(c, *len) : 0;
}

static void take_out(struct corpus *c, char *body, size_t *len)
{
    size_t at = *len ? below(c, *len) : 0;
    size_t n = *len ? 1 + below(c, MIN(*len - at, 40)) : 0;

    memmove(body + at, body + at + n, *len - at - n);
    *len -= n;
}

static void put_in(struct corpus *c, char *body, size_t *len)
{
    static const char *const words[] = {
        "{",    "}",     "[",    "]",        "\"",
        ",",    ":",     "null", "\"0\"",    "\\u0000",
        "0",    "1e999", "-1",   "\"\\\"\"", "\"errorCode\":\"400.002.02\",",
        "\xff", "\n",    "true", "<html>",   "\"ResponseCode\":\"1\",",
    };
    const char *word = words[below(c, ARRAY_LEN(words))];
    size_t n = strlen(word), at = *len ? below(c, *len) : 0;

    if (*len + n > BODY_MAX)
        return;
    memmove(body + at + n, body + at, *len - at);
    memcpy(body + at, word, n);
    *len += n;
}

static void join_two(struct corpus *c, char *body, size_t *len)
{
    size_t other = below(c, c->n);

    if (*len + c->len[other] > BODY_MAX)
        return;
    memcpy(body + *len, c->body[other], c->len[other]);
    *len += c->len[other];
}

static void nothing(struct corpus *c, char *body, size_t *len)
{
    (void)c, (void)body, (void)len; /* the status alone is another */
}

static void test_damaged_answers(void **state)
{
    static void (*const harms[])(struct corpus *, char *, size_t *) = {
        flip_bytes, flip_bits, truncate_it, take_out, put_in, join_two, nothing,
    };
    struct corpus *c = *state;
    char body[BODY_MAX];

    for (int i = 0; i < ROUNDS; i++) {
        size_t from = below(c, c->n), len = c->len[from];

        memcpy(body, c->body[from], len);
        for (size_t n = 1 + below(c, 2); n; n--)
            harms[below(c, ARRAY_LEN(harms))](c, body, &len);
        judge(any_status(c), body, len);
    }
}

/* --- codes that nobody has heard of --- */

static void random_code(struct corpus *c, char out[40])
{
    static const char *const heads[] = {"200", "400", "401", "404", "405",
                                        "429", "500", "503", "999"};

    snprintf(out, 40, "%s.%03zu.%zu", heads[below(c, ARRAY_LEN(heads))],
             below(c, 5), below(c, 1200));
}

static void test_random_error_codes(void **state)
{
    static const char *const words[] = {
        "",
        "Internal Server Error",
        "Invalid Access Token",
        "Bad Request - Invalid Amount",
        "Unable to lock subscriber",
        "Spike arrest",
        "Wrong credentials",
        "Merchant does not exist",
        "Quota Violation",
        "System is busy",
        "The transaction is being processed",
    };
    struct corpus *c = *state;
    char body[300], code[40];

    for (int i = 0; i < ROUNDS; i++) {
        random_code(c, code);
        snprintf(body, sizeof(body),
                 "{\"requestId\":\"1\",\"errorCode\":\"%s\","
                 "\"errorMessage\":\"%s\"}",
                 code, words[below(c, ARRAY_LEN(words))]);
        judge(any_status(c), body, strlen(body));
    }
}

static void test_random_response_codes(void **state)
{
    struct corpus *c = *state;
    char body[300];

    for (int i = 0; i < ROUNDS / 10; i++) {
        int status = any_status(c);

        snprintf(body, sizeof(body),
                 "{\"CheckoutRequestID\":\"ws_CO_1\",\"ResponseCode\":"
                 "\"%" PRIu64 "\"}",
                 1 + roll(c) % 5000);
        judge(status, body, strlen(body));
    }
}

/* --- a callback's code --- */

static bool listed(const char *code)
{
    static const char *const codes[] = {
#define RESULT_CODE(code, kind, class, stop) code,
#include "consumer/verdict.def"
#undef RESULT_CODE
    };

    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(codes[i], code) == 0)
            return true;
    return false;
}

static void test_random_result_codes(void **state)
{
    struct corpus *c = *state;
    struct verdict v;
    char code[RESULT_CODE_MAX + 1];
    int known = 0;

    for (int i = 0; i < ROUNDS; i++) {
        if (below(c, 2))
            snprintf(code, sizeof(code), "%" PRIu64, roll(c) % 11000);
        else
            snprintf(code, sizeof(code), "%s%zu",
                     below(c, 2) ? "SFC_IC000" : " ", below(c, 10));
        verdict_callback(code, "", &v);
        known += listed(code);
        if (!listed(code) && (v.kind != VERDICT_SOFT || v.stop_line))
            fail_msg("callback \"%s\": %s", code, verdict_name(v.kind));
    }
    assert_true(known > 0);
}

/* --- sizes --- */

static void test_huge_bodies(void **state)
{
    char *body = must_alloc(1, HUGE_BYTES + 1);
    static const char fills[] = {'[', '{', ' ', '"', '0', 'a', '\\'};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        memset(body, fills[i], HUGE_BYTES);
        judge(200, body, HUGE_BYTES);
        memcpy(body, "{\"ResponseCode\":\"", 17);
        judge(200, body, HUGE_BYTES);
    }
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_damaged_answers, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_random_error_codes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_random_response_codes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_random_result_codes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_huge_bodies, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
