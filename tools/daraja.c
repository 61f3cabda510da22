/*
 * A loop of its own for each command, turned until its one call has ended.
 */
#include "tools/daraja.h"

#include "common/call.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/must.h"
#include "common/sign.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 30000
#define ANSWER_MAX 65536
#define URL_MAX 1024
#define TOKEN_MAX 512
#define USER_MAX 8200
#define WAIT_US US_PER_S

struct exchange {
    struct buf *answer;
    bool done;
    enum call_end end;
    int status;
    struct err err;
};

static void on_done(void *arg, const struct call_result *r)
{
    struct exchange *x = arg;

    x->done = true;
    x->end = r->end;
    x->status = r->status;
    x->err = r->err;
    buf_reset(x->answer);
    buf_add(x->answer, r->body, r->len);
}

static enum err_code judge(const struct exchange *x, const char *what,
                           struct err *err)
{
    if (x->end != CALL_ANSWERED)
        return err_set(err, x->err.code ? x->err.code : ERR_UNAVAILABLE,
                       "%s: %s", what, x->err.text);
    if (x->status != 200)
        return err_set(err, ERR_INPUT, "%s: HTTP %d: %.200s", what, x->status,
                       x->answer->data);
    return ERR_NONE;
}

static enum err_code exchange(const struct config *cfg,
                              struct call_request *req, const char *what,
                              struct buf *answer, struct err *err)
{
    struct calls_spec spec = {
        .slots_max = 1,
        .connect_timeout_ms = cfg->gate_connect_timeout_ms,
        .total_timeout_ms = TIMEOUT_MS,
        .answer_bytes_max = ANSWER_MAX,
        .ca_file = cfg->gate_ca_file,
    };
    struct exchange x = {.answer = answer};
    struct loop *loop = loop_new();
    struct calls *calls = calls_new(loop, &spec);

    req->done = on_done;
    req->arg = &x;
    if (call_start(calls, req, err) == ERR_NONE) {
        while (!x.done)
            loop_once(loop, WAIT_US);
        (void)judge(&x, what, err);
    }
    calls_free(calls);
    loop_free(loop);
    return err->code;
}

static enum err_code get_token(const struct config *cfg,
                               const struct shortcode *sc,
                               char token[TOKEN_MAX], struct err *err)
{
    char url[URL_MAX], user[USER_MAX];
    struct call_request req = {.url = url, .user_password = user};
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct err unread;
    struct buf answer;
    const char *text = NULL;

    snprintf(url, sizeof(url),
             "%s/oauth/v1/generate?grant_type=client_credentials",
             sc->base_url);
    snprintf(user, sizeof(user), "%s:%s", sc->consumer_key,
             sc->consumer_secret);
    buf_init(&answer, ANSWER_MAX);
    if (exchange(cfg, &req, "asking for a token", &answer, err) == ERR_NONE &&
        json_parse_tolerant(answer.data, answer.len, &doc, &unread) == ERR_NONE)
        text = json_text(json_get(doc, "access_token"));
    sign_wipe(user, sizeof(user));
    if (!err->code &&
        (!text || !*text || strlen(text) >= TOKEN_MAX || strpbrk(text, "\r\n")))
        err_set(err, ERR_DENIED, "the provider gave no token");
    if (!err->code)
        memcpy(token, text, strlen(text) + 1);
    buf_done(&answer);
    return err->code;
}

enum err_code daraja_post(const struct config *cfg, const struct shortcode *sc,
                          const char *path, const char *body,
                          struct buf *answer, struct err *err)
{
    char url[URL_MAX], token[TOKEN_MAX], authorization[TOKEN_MAX + 32];
    const char *headers[] = {"Content-Type: application/json", authorization};
    struct call_request req = {
        .url = url,
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
        .body = body,
        .body_len = strlen(body),
    };

    *err = (struct err){.code = ERR_NONE};
    if (get_token(cfg, sc, token, err))
        return err->code;
    snprintf(url, sizeof(url), "%s%s", sc->base_url, path);
    snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s",
             token);
    sign_wipe(token, sizeof(token));
    (void)exchange(cfg, &req, path, answer, err);
    sign_wipe(authorization, sizeof(authorization));
    return err->code;
}
