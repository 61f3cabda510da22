/*
 * `foleni dead replay`: finds, judges, asks, writes the task, drives it.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/must.h"
#include "tools/cli.h"
#include "tools/replay.h"
#include "tools/until.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_DEFAULT 10
#define PROBE_DEFAULT 10
#define JSON_BYTES_MAX ((size_t)64 << 10)

/* --- the command line --- */

static enum err_code read_count(const char *text, const char *option,
                                int64_t least, int64_t most, int64_t *ret,
                                struct err *err)
{
    char *end;

    if (!text)
        return ERR_NONE;
    *ret = strtoll(text, &end, 10);
    if (!*text || *end || *ret < least || *ret > most)
        return err_set(err, ERR_USAGE, "--%s: %" PRId64 " to %" PRId64, option,
                       least, most);
    return ERR_NONE;
}

static enum err_code read_line(struct replay *r, struct err *err)
{
    const struct cli *cli = r->cli;
    int64_t s, id = 0;

    r->rate = RATE_DEFAULT;
    r->probe = PROBE_DEFAULT;
    if (read_count(cli->rate, "rate", 1, REPLAY_RATE_MAX, &r->rate, err) ||
        read_count(cli->probe, "probe", 0, REPLAY_PROBE_MAX, &r->probe, err) ||
        read_count(cli->resume, "resume", 1, INT64_MAX, &id, err))
        return err->code;
    snprintf(r->id, sizeof(r->id), "%" PRId64, id);
    snprintf(r->give_ms, sizeof(r->give_ms), "%" PRId64,
             r->cfg->payments_ttl_ms);
    if (cli->deadline) {
        if (duration_read(cli->deadline, "deadline", &s, err))
            return err->code;
        snprintf(r->give_ms, sizeof(r->give_ms), "%" PRId64, s * 1000);
    }
    if (cli_has(cli, CLI_RESUME) && (cli->options & CLI_LETTERS))
        return err_set(err, ERR_USAGE,
                       "--resume goes on with what a replay had found: no "
                       "filter fits beside it");
    if (cli_has(cli, CLI_DRY_RUN))
        return ERR_NONE;
    return operator_read(cli, &r->who, err);
}

/* --- what is told --- */

static void print_counts(const size_t counts[LETTERS_N])
{
    for (int d = 0; d < LETTERS_N; d++)
        if (counts[d])
            printf("%10zu  %-14s  %s\n", counts[d],
                   letter_name((enum letter_disposition)d),
                   letter_words((enum letter_disposition)d));
}

static void put_counts(const struct replay *r, const size_t counts[LETTERS_N],
                       size_t letters)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    if (strcmp(r->id, "0") != 0)
        json_put_int(&j, "replay", strtoll(r->id, NULL, 10));
    json_put_int(&j, "letters", (int64_t)letters);
    json_open(&j, "dispositions", '{');
    for (int d = 0; d < LETTERS_N; d++)
        if (counts[d])
            json_put_int(&j, letter_name((enum letter_disposition)d),
                         (int64_t)counts[d]);
    json_close(&j, '}');
    if (*r->stopped)
        json_put_text(&j, "stopped", r->stopped);
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void tell(const struct replay *r, const size_t counts[LETTERS_N],
                 size_t letters)
{
    if (cli_has(r->cli, CLI_JSON)) {
        put_counts(r, counts, letters);
        return;
    }
    printf("%zu letter%s\n", letters, letters == 1 ? "" : "s");
    print_counts(counts);
}

/* --- the task --- */

static enum err_code confirm(const struct replay *r,
                             const size_t counts[LETTERS_N], size_t letters,
                             struct err *err)
{
    return operator_confirm(
        &r->who, err,
        "bring back %zu dead letters (%zu refused) at %" PRId64
        " per second, the first %" PRId64
        " as a probe, each with a deadline of %" PRId64 " s",
        counts[LETTER_READY], letters - counts[LETTER_READY], r->rate,
        MIN(r->probe, (int64_t)counts[LETTER_READY]),
        (int64_t)strtoll(r->give_ms, NULL, 10) / 1000);
}

static enum err_code drive(struct replay *r, struct err *err)
{
    if (!cli_has(r->cli, CLI_JSON))
        printf("replay %s; stopped in any way, it goes on with `foleni dead "
               "replay --resume %s --why ...`\n",
               r->id, r->id);
    fflush(stdout);
    if (replay_drive(r, err))
        return err_wrap(err,
                        "replay %s stands still; nothing is lost: --resume %s "
                        "goes on",
                        r->id, r->id);
    tell(r, r->counts, (size_t)r->letters);
    if (!*r->stopped)
        return ERR_NONE;
    return err_set(err, ERR_UNAVAILABLE,
                   "replay %s stopped: %s. `foleni dead replay --resume %s` "
                   "goes on",
                   r->id, r->stopped, r->id);
}

static enum err_code replay_found(struct replay *r,
                                  const struct letter_filter *filter,
                                  const struct letters_ends *ends,
                                  const struct letters *letters,
                                  struct err *err)
{
    size_t counts[LETTERS_N];

    letters_count(letters, counts);
    if (cli_has(r->cli, CLI_DRY_RUN) || !counts[LETTER_READY]) {
        tell(r, counts, letters->n);
        return ERR_NONE;
    }
    r->probe = MIN(r->probe, (int64_t)counts[LETTER_READY]);
    if (!cli_has(r->cli, CLI_JSON))
        tell(r, counts, letters->n);
    if (replay_alone(r, err) || confirm(r, counts, letters->n, err) ||
        replay_create(r, filter, ends, letters, err))
        return err->code;
    return drive(r, err);
}

static enum err_code begin(struct replay *r, struct err *err)
{
    struct letter_filter filter;
    struct letters_ends ends;
    struct letters letters;
    enum err_code code;

    if (letter_filter_read(r->cli, r->cfg, &filter, err) ||
        letters_ends_read(r->cfg, &ends, err))
        return err->code;
    code =
        letters_find(r->cfg, r->session, &ends, &filter, NULL, &letters, err);
    if (!code) {
        code = replay_found(r, &filter, &ends, &letters, err);
        letters_free(&letters);
    }
    letters_ends_free(&ends);
    return code;
}

static enum err_code resume(struct replay *r, struct err *err)
{
    if (replay_alone(r, err) || replay_take_up(r, err) ||
        replay_collect(r, err))
        return err->code;
    if (operator_confirm(&r->who, err,
                         "go on with replay %s: %zu letters are left of "
                         "%" PRId64,
                         r->id,
                         r->counts[LETTER_READY] + r->counts[LETTER_ASKED],
                         r->letters))
        return err->code;
    return drive(r, err);
}

enum err_code dead_replay_run(const struct cli *cli, const struct config *cfg,
                              struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    struct replay r = {.cli = cli, .cfg = cfg};

    if (read_line(&r, err) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err))
        return err->code;
    r.session = session;
    return cli_has(cli, CLI_RESUME) ? resume(&r, err) : begin(&r, err);
}
