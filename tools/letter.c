/*
 * Headers by a table; the value by the tolerant reader.
 */
#include "tools/letter.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/must.h"
#include "common/wire.h"
#include "tools/until.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 20 /* digits */

const char *letter_name(enum letter_disposition d)
{
    static const char *const names[] = {
#define LETTER(id, number, name, words) [id] = name,
#include "tools/letter.def"
#undef LETTER
    };

    return d < LETTERS_N ? names[d] : "";
}

const char *letter_words(enum letter_disposition d)
{
    static const char *const texts[] = {
#define LETTER(id, number, name, words) [id] = words,
#include "tools/letter.def"
#undef LETTER
    };

    return d < LETTERS_N ? texts[d] : "";
}

void letter_place_write(struct letter_place place, char out[LETTER_PLACE_SIZE])
{
    snprintf(out, LETTER_PLACE_SIZE, "%" PRId32 ":%" PRId64, place.partition,
             place.offset);
}

enum err_code letter_place_read(const char *text, struct letter_place *ret,
                                struct err *err)
{
    char *end;
    long partition = strtol(text, &end, 10);

    if (end != text && *end == ':' && partition >= 0 &&
        partition <= INT32_MAX && end[1] >= '0' && end[1] <= '9') {
        ret->partition = (int32_t)partition;
        ret->offset = strtoll(end + 1, &end, 10);
        if (!*end)
            return ERR_NONE;
    }
    return err_set(err, ERR_USAGE,
                   "\"%.60s\" is no letter's place: partition:offset, as in "
                   "`foleni dead list`",
                   text);
}

/* --- reading --- */

static void take_text(char *to, size_t size, const void *from, size_t len)
{
    size_t n = MIN(len, size - 1);

    if (n)
        memcpy(to, from, n);
    to[n] = '\0';
}

static int64_t take_number(const void *from, size_t len)
{
    char text[NUMBER_MAX + 1];

    take_text(text, sizeof(text), from, len);
    return MAX(strtoll(text, NULL, 10), 0);
}

/* One header: where its value goes, and as what. */
static const struct header_row {
    const char *name;
    enum { AS_TEXT, AS_INT, AS_INT32, AS_MS } as;
    size_t at, size;
} header_rows[] = {
#define TEXT(header, member)                                     \
    {                                                            \
        (header), AS_TEXT, offsetof(struct letter_view, member), \
            sizeof(((struct letter_view *)NULL)->member)         \
    }
#define NUMBER(header, how, member)                              \
    {                                                            \
        (header), (how), offsetof(struct letter_view, member), 0 \
    }
    TEXT(HDR_ERROR_CLASS, class),
    TEXT(HDR_ERROR_CODE, code),
    TEXT(HDR_ERROR_MESSAGE, message),
    TEXT(HDR_STAGE, stage),
    TEXT(HDR_SOURCE_TOPIC, source_topic),
    NUMBER(HDR_SOURCE_PARTITION, AS_INT32, source_partition),
    NUMBER(HDR_SOURCE_OFFSET, AS_INT, source_offset),
    NUMBER(HDR_SOURCE_TIMESTAMP, AS_MS, source_at),
    NUMBER(HDR_FIRST_FAILURE, AS_MS, first_at),
    NUMBER(HDR_LAST_FAILURE, AS_MS, last_at),
    NUMBER(HDR_ATTEMPTS, AS_INT32, attempts),
    NUMBER(HDR_REPLAYS, AS_INT, replays),
    NUMBER(HDR_REPLAY, AS_INT, replay),
#undef TEXT
#undef NUMBER
};

static void take_header(const struct header_row *row,
                        const struct kafka_header *h, struct letter_view *ret)
{
    char *to = (char *)ret + row->at;
    int64_t n;

    if (row->as == AS_TEXT) {
        take_text(to, row->size, h->value, h->len);
        return;
    }
    n = take_number(h->value, h->len);
    if (row->as == AS_INT32)
        *(int32_t *)to = (int32_t)MIN(n, INT32_MAX);
    else if (row->as == AS_MS)
        *(int64_t *)to = MIN(n, INT64_MAX / US_PER_MS) * US_PER_MS;
    else
        *(int64_t *)to = n;
}

static bool take_uuid(const struct kafka_header *h, struct uuid *ret)
{
    struct err err;

    return !uuid_parse(h->value, h->len, ret, &err);
}

static void read_header(const struct kafka_header *h, struct letter_view *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(header_rows); i++)
        if (strcmp(header_rows[i].name, h->name) == 0) {
            take_header(&header_rows[i], h, ret);
            return;
        }
    if (strcmp(h->name, HDR_PAYMENT) == 0)
        ret->has_payment = take_uuid(h, &ret->payment);
    else if (strcmp(h->name, HDR_CLIENT) == 0)
        (void)take_uuid(h, &ret->client);
    else if (strcmp(h->name, HDR_LEFT_OUT) == 0)
        ret->bodiless = true;
}

/* A key conflict's letter names the payment that had the key first: nothing
   was made of this record. */
static bool is_of_payment(const struct letter_view *l)
{
    return l->has_payment && strcmp(l->stage, "flow") == 0;
}

void letter_read(const struct kafka_record *r, struct letter_view *ret)
{
    struct err err;

    memset(ret, 0, sizeof(*ret));
    ret->place = (struct letter_place){r->partition, r->offset};
    for (size_t i = 0; i < r->headers_n; i++)
        read_header(&r->headers[i], ret);
    ret->has_payment = is_of_payment(ret);
    if (!r->value)
        ret->bodiless = true;
    if (!r->key || msisdn_parse(r->key, r->key_len, &ret->msisdn, &err))
        ret->msisdn = 0;
}

void letter_read_body(const struct kafka_record *r, struct letter_view *ret)
{
    CLEANUP(json_free)
    struct json *body = NULL;
    char number[NUMBER_MAX + 1];
    struct err err;

    if (!r->value || json_parse_tolerant(r->value, r->value_len, &body, &err))
        return;
    if (json_scalar(json_get(body, "shortcode"), number, sizeof(number)))
        ret->shortcode = strtoll(number, NULL, 10);
    if (!json_integer_or_text(json_get(body, "amount"), &ret->amount))
        ret->amount = 0;
    if (!json_scalar(json_get(body, "reference"), ret->reference,
                     sizeof(ret->reference)))
        ret->reference[0] = '\0';
}

/* --- the filter --- */

static enum err_code read_number(const char *text, const char *option,
                                 int64_t *ret, struct err *err)
{
    char *end;

    *ret = strtoll(text, &end, 10);
    if (*text && !*end && *ret >= 0)
        return ERR_NONE;
    return err_set(err, ERR_USAGE, "--%s \"%.40s\" is no number", option, text);
}

/* By its id or its name. */
static enum err_code read_client(const char *text, const struct config *cfg,
                                 struct uuid *ret, struct err *err)
{
    if (!uuid_parse(text, strlen(text), ret, err))
        return ERR_NONE;
    for (size_t i = 0; i < cfg->clients_n; i++)
        if (strcmp(cfg->clients[i].name, text) == 0) {
            *ret = cfg->clients[i].uuid;
            return ERR_NONE;
        }
    return err_set(err, ERR_USAGE,
                   "--client \"%.60s\" is neither a client's id nor a name in "
                   "the configuration",
                   text);
}

static enum err_code read_times(const struct cli *cli, struct letter_filter *f,
                                struct err *err)
{
    if (cli->from && moment_read(cli->from, "from", &f->from_at, err))
        return err->code;
    if (cli->to && moment_read(cli->to, "to", &f->to_at, err))
        return err->code;
    if (f->from_at && f->to_at && f->from_at >= f->to_at)
        return err_set(err, ERR_USAGE, "--from is not before --to");
    return ERR_NONE;
}

enum err_code letter_filter_read(const struct cli *cli,
                                 const struct config *cfg,
                                 struct letter_filter *ret, struct err *err)
{
    *ret = (struct letter_filter){
        .class = cli->class,
        .code = cli->code,
        .stage = cli->stage,
        .reference = cli->reference,
        .by_client = cli->client != NULL,
        .replays = -1,
    };
    if (cli->client && read_client(cli->client, cfg, &ret->client, err))
        return err->code;
    if (cli->phone &&
        msisdn_parse(cli->phone, strlen(cli->phone), &ret->msisdn, err))
        return err_set(err, ERR_USAGE, "--phone \"%.40s\" is no phone",
                       cli->phone);
    if (cli->shortcode &&
        read_number(cli->shortcode, "shortcode", &ret->shortcode, err))
        return err->code;
    if (cli->replays &&
        read_number(cli->replays, "replays", &ret->replays, err))
        return err->code;
    return read_times(cli, ret, err);
}

bool letter_filter_needs_body(const struct letter_filter *f)
{
    return f->reference || f->shortcode;
}

static bool same(const char *wanted, const char *is)
{
    return !wanted || strcmp(wanted, is) == 0;
}

bool letter_matches(const struct letter_filter *f, const struct letter_view *l)
{
    return same(f->class, l->class) && same(f->code, l->code) &&
           same(f->stage, l->stage) && same(f->reference, l->reference) &&
           (!f->by_client ||
            memcmp(&f->client, &l->client, sizeof(f->client)) == 0) &&
           (!f->msisdn || f->msisdn == l->msisdn) &&
           (!f->shortcode || f->shortcode == l->shortcode) &&
           (f->replays < 0 || f->replays == l->replays) &&
           (!f->from_at || l->last_at >= f->from_at) &&
           (!f->to_at || l->last_at < f->to_at);
}

static void put_time(struct json_out *j, const char *name, int64_t at)
{
    char text[CLOCK_TEXT_SIZE];

    if (!at)
        return;
    clock_format(at, 0, text);
    json_put_text(j, name, text);
}

void letter_filter_write(const struct letter_filter *f, struct json_out *j)
{
    const struct {
        const char *name, *text;
    } texts[] = {{"class", f->class},
                 {"code", f->code},
                 {"stage", f->stage},
                 {"reference", f->reference}};
    char client[UUID_TEXT_SIZE], phone[16];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].text)
            json_put_text(j, texts[i].name, texts[i].text);
    if (f->by_client) {
        uuid_format(&f->client, client);
        json_put_text(j, "client", client);
    }
    if (f->msisdn) {
        msisdn_mask(f->msisdn, phone);
        json_put_text(j, "phone", phone);
    }
    if (f->shortcode)
        json_put_int(j, "shortcode", f->shortcode);
    if (f->replays >= 0)
        json_put_int(j, "replays", f->replays);
    put_time(j, "from", f->from_at);
    put_time(j, "to", f->to_at);
}
