/*
 * A token, and what is done with it.
 */
#include "tools/daraja.h"

#include "common/call.h"
#include "common/json.h"
#include "common/must.h"
#include "common/sign.h"
#include "tools/fetch.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_MAX 65536
#define URL_MAX 1024
#define TOKEN_MAX 512
#define USER_MAX 8200

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
    if (fetch(cfg, &req, "asking for a token", &answer, err) == ERR_NONE &&
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

enum err_code daraja_token(const struct config *cfg, const struct shortcode *sc,
                           struct err *err)
{
    char token[TOKEN_MAX];

    *err = (struct err){.code = ERR_NONE};
    if (!get_token(cfg, sc, token, err))
        sign_wipe(token, sizeof(token));
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
    (void)!fetch(cfg, &req, path, answer, err);
    sign_wipe(authorization, sizeof(authorization));
    return err->code;
}
