/*
 * `foleni dead show`: one letter whole, with its headers, its record and what
 * the ledger knows of its payment. And how letters look in a list.
 */
#include "tools/letter_show.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/must.h"
#include "tools/letters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_BYTES_MAX ((size_t)4 << 20)

#define UTC(column)                           \
    "to_char(" column " AT TIME ZONE 'UTC', " \
    "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

static const char SQL_TIMELINE[] = "SELECT version, " UTC(
    "at") ", state, attempt, coalesce(code, ''), "
          "coalesce(text, '') FROM timeline WHERE payment = $1::uuid "
          "ORDER BY version DESC LIMIT 100";
static const char SQL_STANDS[] =
    "SELECT state, replays, " UTC("deadline_at") " FROM payments "
                                                 "WHERE id = $1::uuid";

/* --- in a list --- */

#define LINE "%-14s  %-20s  %-8s  %-14s  %-16s  %3s  %3s  %-12s  %s\n"

void letter_print_head(void)
{
    printf(LINE, "letter", "last failure", "stage", "class", "code", "att",
           "rep", "phone", "payment");
}

void letter_print_line(const struct letter_view *l)
{
    char place[LETTER_PLACE_SIZE], at[CLOCK_TEXT_SIZE], phone[16] = "";
    char attempts[12], replays[24], payment[UUID_TEXT_SIZE] = "-";

    letter_place_write(l->place, place);
    clock_format(l->last_at, 0, at);
    if (l->msisdn)
        msisdn_mask(l->msisdn, phone);
    if (l->has_payment)
        uuid_format(&l->payment, payment);
    snprintf(attempts, sizeof(attempts), "%d", l->attempts);
    snprintf(replays, sizeof(replays), "%" PRId64, l->replays);
    printf(LINE, place, at, l->stage, l->class, l->code, attempts, replays,
           phone, payment);
}

static void put_at(struct json_out *j, const char *name, int64_t at)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(at, 3, text);
    json_put_text(j, name, text);
}

static void put_members(const struct letter_view *l, struct json_out *j)
{
    char text[UUID_TEXT_SIZE];

    letter_place_write(l->place, text);
    json_put_text(j, "letter", text);
    uuid_format(&l->payment, text);
    if (l->has_payment)
        json_put_text(j, "payment", text);
    else
        json_put_null(j, "payment");
    uuid_format(&l->client, text);
    json_put_text(j, "client", text);
    json_put_text(j, "stage", l->stage);
    json_put_text(j, "class", l->class);
    json_put_text(j, "code", l->code);
    json_put_text(j, "message", l->message);
    json_put_int(j, "attempts", l->attempts);
    json_put_int(j, "replays", l->replays);
    put_at(j, "first_failure", l->first_at);
    put_at(j, "last_failure", l->last_at);
    if (l->msisdn)
        msisdn_mask(l->msisdn, text);
    json_put_text(j, "phone", l->msisdn ? text : "");
    json_put_text(j, "reference", l->reference);
    json_put_int(j, "shortcode", l->shortcode);
    json_put_text(j, "source_topic", l->source_topic);
    json_put_int(j, "source_partition", l->source_partition);
    json_put_int(j, "source_offset", l->source_offset);
    json_put_bool(j, "bodiless", l->bodiless);
}

void letter_put(const struct letter_view *l, struct json_out *j)
{
    json_open(j, NULL, '{');
    put_members(l, j);
    json_close(j, '}');
}

/* --- one --- */

struct showing {
    const struct cli *cli;
    struct pg_session *session;
    struct pg_text_rows *stands, *timeline;
    struct buf text;
    struct err err;
};

static enum err_code read_payment(struct showing *s,
                                  const struct letter_view *l)
{
    char id[UUID_TEXT_SIZE];
    const char *const params[] = {id};

    uuid_format(&l->payment, id);
    if (!l->has_payment)
        return ERR_NONE;
    if (pg_session_exec(s->session, SQL_STANDS, params, 1, &s->stands,
                        &s->err) ||
        pg_session_exec(s->session, SQL_TIMELINE, params, 1, &s->timeline,
                        &s->err))
        return err_wrap(&s->err, "could not read the letter's payment");
    return ERR_NONE;
}

static const char *state_of(const char *number)
{
    return payment_state_name((enum payment_state)strtol(number, NULL, 10));
}

static void print_bytes(const char *title, const void *data, size_t len)
{
    printf("%s, %zu bytes:\n", title, len);
    fwrite(data, 1, len, stdout);
    if (len && ((const char *)data)[len - 1] != '\n')
        putchar('\n');
}

static void print_payment(const struct showing *s, const struct letter_view *l)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(&l->payment, id);
    if (!l->has_payment) {
        puts("\nno payment was made of it");
        return;
    }
    if (!pg_text_rows_n(s->stands)) {
        printf("\nits payment %s is not in the ledger any more\n", id);
        return;
    }
    printf("\nits payment %s is %s, replayed %s times, deadline %s\n", id,
           state_of(pg_text_value(s->stands, 0, 0)),
           pg_text_value(s->stands, 0, 1), pg_text_value(s->stands, 0, 2));
    for (size_t i = pg_text_rows_n(s->timeline); i > 0; i--)
        printf("  %3s  %s  %-10s attempt %s  %s  %s\n",
               pg_text_value(s->timeline, i - 1, 0),
               pg_text_value(s->timeline, i - 1, 1),
               state_of(pg_text_value(s->timeline, i - 1, 2)),
               pg_text_value(s->timeline, i - 1, 3),
               pg_text_value(s->timeline, i - 1, 4),
               pg_text_value(s->timeline, i - 1, 5));
}

static void print_whole(const struct showing *s, const struct letter_view *l,
                        const struct kafka_record *r)
{
    letter_print_head();
    letter_print_line(l);
    printf("\n%s\nfrom %s [%d] at %lld\n\nheaders:\n", l->message,
           l->source_topic, (int)l->source_partition,
           (long long)l->source_offset);
    for (size_t i = 0; i < r->headers_n; i++)
        printf("  %s: %.*s\n", r->headers[i].name, (int)r->headers[i].len,
               (const char *)r->headers[i].value);
    putchar('\n');
    if (r->value)
        print_bytes("record", r->value, r->value_len);
    else
        puts("it came without its record");
    print_payment(s, l);
}

static void put_timeline(const struct showing *s, struct json_out *j)
{
    json_open(j, "timeline", '[');
    for (size_t i = s->timeline ? pg_text_rows_n(s->timeline) : 0; i > 0; i--) {
        json_open(j, NULL, '{');
        json_put_int(j, "version",
                     strtoll(pg_text_value(s->timeline, i - 1, 0), NULL, 10));
        json_put_text(j, "at", pg_text_value(s->timeline, i - 1, 1));
        json_put_text(j, "status",
                      state_of(pg_text_value(s->timeline, i - 1, 2)));
        json_put_text(j, "code", pg_text_value(s->timeline, i - 1, 4));
        json_put_text(j, "text", pg_text_value(s->timeline, i - 1, 5));
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void put_headers(const struct kafka_record *r, struct json_out *j)
{
    struct buf text;

    buf_init(&text, JSON_BYTES_MAX);
    json_open(j, "headers", '[');
    for (size_t i = 0; i < r->headers_n; i++) {
        buf_reset(&text);
        json_string(&text, r->headers[i].value, r->headers[i].len);
        json_open(j, NULL, '{');
        json_put_text(j, "name", r->headers[i].name);
        json_put_raw(j, "value", text.data, text.len);
        json_close(j, '}');
    }
    json_close(j, ']');
    buf_reset(&text);
    json_string(&text, r->value ? r->value : "", r->value_len);
    json_put_raw(j, "record", text.data, text.len);
    buf_done(&text);
}

static void put_whole(struct showing *s, const struct letter_view *l,
                      const struct kafka_record *r)
{
    struct json_out j = {&s->text, false};

    json_open(&j, NULL, '{');
    put_members(l, &j);
    put_headers(r, &j);
    if (s->stands && pg_text_rows_n(s->stands))
        json_put_text(&j, "payment_status",
                      state_of(pg_text_value(s->stands, 0, 0)));
    put_timeline(s, &j);
    json_close(&j, '}');
    puts(s->text.data);
}

static bool show(void *arg, const struct letter_view *l,
                 const struct kafka_record *record)
{
    struct showing *s = arg;

    if (read_payment(s, l))
        return false;
    if (cli_has(s->cli, CLI_JSON))
        put_whole(s, l, record);
    else
        print_whole(s, l, record);
    return false;
}

enum err_code dead_show_run(const struct cli *cli, const struct config *cfg,
                            struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    struct showing s = {.cli = cli};
    struct letter_place place;

    if (letter_place_read(cli->operands[0], &place, err) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err))
        return err->code;
    s.session = session;
    buf_init(&s.text, JSON_BYTES_MAX);
    if (!letters_one(cfg, place, show, &s, err))
        *err = s.err;
    buf_done(&s.text);
    pg_text_rows_free(s.stands);
    pg_text_rows_free(s.timeline);
    return err->code;
}
