/*
 * `foleni pull register`: tells the provider that the shortcode will use Pull
 * Transactions. It is done once per shortcode; doing it again is harmless.
 *
 * Two rows of the audit trail: what is about to be asked, and what the provider
 * said. Between them lies the network.
 */
#include "common/buf.h"
#include "common/config.h"
#include "common/json.h"
#include "tools/cli.h"
#include "tools/daraja.h"
#include "tools/operator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH "/pulltransactions/v1/register"
#define TEXT_MAX 4096
#define ANSWER_MAX 65536

static const char SQL_REGISTERED[] =
    "INSERT INTO pulls (shortcode, registered_at) VALUES ($1::int4, now()) "
    "ON CONFLICT (shortcode) DO UPDATE SET registered_at = now()";

static const struct shortcode *find(const struct config *cfg, const char *text,
                                    struct err *err)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    const struct shortcode *sc = *end == '\0' ? config_shortcode(cfg, n) : NULL;

    if (!sc)
        err_set(err, ERR_USAGE, "shortcode %.20s is not in the settings", text);
    return sc;
}

static enum err_code check_number(const char *number, struct err *err)
{
    size_t len = strlen(number);

    if (len < 9 || len > 13 || strspn(number, "+0123456789") != len)
        return err_set(err, ERR_USAGE,
                       "the nominated number is a phone's, as in 0722000000");
    return ERR_NONE;
}

static void write_request(struct buf *out, const struct config *cfg,
                          const struct shortcode *sc, const char *number)
{
    struct json_out j = {out, false};
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, sc->shortcode);
    json_open(&j, NULL, '{');
    json_put_text(&j, "ShortCode", text);
    json_put_text(&j, "RequestType", "Pull");
    json_put_text(&j, "NominatedNumber", number);
    json_put_text(&j, "CallBackURL", cfg->callbacks_base_url);
    json_close(&j, '}');
}

/** One row of the audit trail, and @p sql with the shortcode before it. */
static enum err_code note(struct pg_session *s, const struct operator* op,
                          const char *action, const char *shortcode,
                          const char *after, const char *sql, struct err *err)
{
    char subject[48];
    struct operator_action done = {action, subject, NULL, after};
    const char *const params[] = {shortcode};

    snprintf(subject, sizeof(subject), "shortcode %.20s", shortcode);
    if (pg_session_exec(s, "BEGIN", NULL, 0, NULL, err) ||
        (sql && pg_session_exec(s, sql, params, 1, NULL, err)) ||
        operator_audit(s, op, &done, NULL, err) ||
        pg_session_exec(s, "COMMIT", NULL, 0, NULL, err))
        return err->code;
    return ERR_NONE;
}

static const char *text_of(const struct json *doc, const char *name,
                           const char *spaced)
{
    const char *text = json_text(json_get(doc, name));

    return text ? text : json_text(json_get(doc, spaced));
}

/** Reads what the provider said; older answers have keys with spaces. */
static enum err_code read_answer(const struct buf *answer, char said[256],
                                 struct err *err)
{
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct err unread;
    const char *status, *text;

    if (json_parse_tolerant(answer->data, answer->len, &doc, &unread))
        return err_set(err, ERR_INPUT, "the provider's answer is no JSON");
    status = text_of(doc, "ResponseStatus", "Response Status");
    text = text_of(doc, "ResponseDescription", "Response Description");
    snprintf(said, 256, "%.20s %.200s", status ? status : "no status",
             text ? text : "");
    if (status && (!strcmp(status, "1000") || !strcmp(status, "1001")))
        return ERR_NONE;
    return err_set(err, ERR_INPUT, "the provider said: %s", said);
}

static void write_outcome(struct buf *out, const char *said,
                          const struct err *err)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "outcome", err->code ? "failed" : "registered");
    json_put_text(&j, "said", err->code ? err->text : said);
    json_close(&j, '}');
}

/** Asks the provider and notes what it said; @p err gets the first failure. */
static enum err_code ask(const struct config *cfg, const struct shortcode *sc,
                         struct pg_session *s, const struct operator* op,
                         const char *request, const struct cli *cli,
                         struct err *err)
{
    struct buf answer, outcome;
    char said[256] = "";
    struct err unnoted;

    buf_init(&answer, ANSWER_MAX);
    buf_init(&outcome, TEXT_MAX);
    if (daraja_post(cfg, sc, PATH, request, &answer, err) == ERR_NONE)
        (void)read_answer(&answer, said, err);
    write_outcome(&outcome, said, err);
    if (note(s, op, err->code ? "pull.unregistered" : "pull.registered",
             cli->operands[0], outcome.data, err->code ? NULL : SQL_REGISTERED,
             &unnoted) &&
        !err->code)
        *err = unnoted;
    if (!err->code && cli_has(cli, CLI_JSON))
        puts(outcome.data);
    else if (!err->code)
        printf("shortcode %s: %s\n", cli->operands[0], said);
    buf_done(&answer);
    buf_done(&outcome);
    return err->code;
}

enum err_code pull_register_run(const struct cli *cli, const struct config *cfg,
                                struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = NULL;
    struct operator op;
    const struct shortcode *sc;
    struct buf request;

    if (operator_read(cli, &op, err) ||
        !(sc = find(cfg, cli->operands[0], err)))
        return err->code;
    if (check_number(cli->operands[1], err) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password, &s,
                        err) ||
        operator_confirm(&op, err, "register shortcode %s for Pull at %s",
                         cli->operands[0], sc->base_url))
        return err->code;
    buf_init(&request, TEXT_MAX);
    write_request(&request, cfg, sc, cli->operands[1]);
    if (note(s, &op, "pull.register", cli->operands[0], request.data, NULL,
             err) == ERR_NONE)
        (void)ask(cfg, sc, s, &op, request.data, cli, err);
    buf_done(&request);
    return err->code;
}
