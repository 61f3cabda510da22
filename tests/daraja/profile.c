/*
 * The profile's table: presets, reader and writer all walk the same rows.
 * Probabilities stand in JSON as numbers from 0 to 1 and inside as millionths;
 * the number's own text is read, so nothing depends on a printer.
 */
#include "tests/daraja/profile.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"

#define SPREAD_MS_MAX (SPREAD_US_MAX / 1000)

enum knob_kind { KNOB_WHOLE, KNOB_FLAG, KNOB_SHARE, KNOB_WORD, KNOB_SPREAD };

struct knob {
    const char *name;
    enum knob_kind kind;
    size_t at; /* offset in struct profile */
    int64_t preset[2];
    int64_t preset_p95[2];
    int64_t min, max;
    const char *words;
};

#define AT(field) offsetof(struct profile, field)
static const struct knob knobs[] = {
#define WHOLE(name, field, calm, daraja, min, max, text) \
    {name, KNOB_WHOLE, AT(field), {calm, daraja}, {0, 0}, min, max, ""},
#define FLAG(name, field, calm, daraja, text) \
    {name, KNOB_FLAG, AT(field), {calm, daraja}, {0, 0}, 0, 1, ""},
#define SHARE(name, field, calm, daraja, text) \
    {name, KNOB_SHARE, AT(field), {calm, daraja}, {0, 0}, 0, PPM, ""},
#define WORD(name, field, words, calm, daraja, text) \
    {name, KNOB_WORD, AT(field), {calm, daraja}, {0, 0}, 0, 0, words},
#define SPREAD(name, field, c50, c95, d50, d95, text) \
    {name, KNOB_SPREAD, AT(field), {c50, d50}, {c95, d95}, 0, 0, ""},
#include "tests/daraja/profile.def"
#undef WHOLE
#undef FLAG
#undef SHARE
#undef WORD
#undef SPREAD
};

static void *place(struct profile *p, const struct knob *k)
{
    return (char *)p + k->at;
}

static int64_t *number(struct profile *p, const struct knob *k)
{
    return place(p, k);
}

static void preset_outcomes(struct profile *p)
{
    p->fate_ppm[FATE_CANCEL] = 100000;
    p->fate_ppm[FATE_NO_ANSWER] = 100000;
    p->fate_ppm[FATE_WRONG_PIN] = 30000;
    p->fate_ppm[FATE_NO_FUNDS] = 50000;
    p->answer_ppm[ANSWER_BUSY] = 5000;
    p->answer_ppm[ANSWER_RST_AFTER] = 1000;
    p->answer_ppm[ANSWER_STALL_AFTER] = 1000;
    p->answer_ppm[ANSWER_500_BEFORE] = 1000;
    p->answer_ppm[ANSWER_503_BEFORE] = 1000;
    p->callback_ppm[CALLBACK_LOST] = 10000;
    p->callback_ppm[CALLBACK_TWICE] = 5000;
    p->c2b_ppm[C2B_LOST] = 10000;
    p->c2b_ppm[C2B_TWICE] = 5000;
}

/* Where the sandbox is known to differ from production. */
static void preset_sandbox(struct profile *p)
{
    p->test_numbers_only = true;
    p->reference_max = 15;
    p->query_lie = 200000;
    p->c2b_once = false;
    p->c2b_simulate = true;
    p->callback_ppm[CALLBACK_LOST] = 100000;
}

void profile_preset(struct profile *p, enum preset preset)
{
    int column = preset == PRESET_CALM ? 0 : 1;

    memset(p, 0, sizeof(*p));
    for (size_t i = 0; i < ARRAY_LEN(knobs); i++) {
        const struct knob *k = &knobs[i];

        if (k->kind == KNOB_FLAG)
            *(bool *)place(p, k) = k->preset[column] != 0;
        else if (k->kind == KNOB_SPREAD)
            *(struct spread *)place(p, k) =
                (struct spread){k->preset[column] * US_PER_MS,
                                k->preset_p95[column] * US_PER_MS};
        else
            *number(p, k) = k->preset[column];
    }
    if (preset != PRESET_CALM)
        preset_outcomes(p);
    if (preset == PRESET_SANDBOX)
        preset_sandbox(p);
}

static enum err_code bad(struct err *err, const struct json *v, const char *why)
{
    return err_set(err, ERR_INPUT, "member \"%.40s\": %s", json_name(v), why);
}

static enum err_code read_whole(int64_t *ret, const struct json *v, int64_t min,
                                int64_t max, struct err *err)
{
    int64_t n;

    if (!json_integer(v, &n) || n < min || n > max)
        return err_set(err, ERR_INPUT,
                       "member \"%.40s\": is not a whole number of %lld to "
                       "%lld",
                       json_name(v), (long long)min, (long long)max);
    *ret = n;
    return ERR_NONE;
}

static enum err_code read_share(int64_t *ret, const struct json *v,
                                struct err *err)
{
    struct buf text;
    char *end;
    double n;
    bool whole;

    if (json_text(v))
        return bad(err, v, "is a string");
    buf_init(&text, 64); /* a longer value is no probability */
    json_print(v, &text);
    n = strtod(text.data, &end);
    whole = text.len > 0 && *end == '\0';
    buf_done(&text);
    if (!whole || !(n >= 0 && n <= 1))
        return bad(err, v, "is not a probability of 0 to 1");
    *ret = (int64_t)(n * PPM + 0.5);
    return ERR_NONE;
}

/* The index of @p text in "a|b|c", -1 when it is not there. */
static int64_t word_index(const char *words, const char *text)
{
    size_t len = strlen(text);

    for (int64_t i = 0; *words; i++) {
        size_t n = strcspn(words, "|");

        if (n == len && memcmp(words, text, n) == 0)
            return i;
        words += n + (words[n] == '|');
    }
    return -1;
}

static enum err_code read_choice(int64_t *ret, const char *words,
                                 const struct json *v, struct err *err)
{
    const char *text = json_text(v);
    int64_t i = text ? word_index(words, text) : -1;

    if (i < 0)
        return err_set(err, ERR_INPUT, "member \"%.40s\": is none of %s",
                       json_name(v), words);
    *ret = i;
    return ERR_NONE;
}

/* 800, or {"p50": 800, "p95": 4000} */
static enum err_code read_spread(struct spread *ret, const struct json *v,
                                 struct err *err)
{
    int64_t p50 = -1, p95 = -1;

    if (!json_is_object(v)) {
        if (read_whole(&p50, v, 0, SPREAD_MS_MAX, err))
            return err->code;
        *ret = (struct spread){p50 * US_PER_MS, p50 * US_PER_MS};
        return ERR_NONE;
    }
    for (const struct json *m = json_first(v); m; m = json_next(m)) {
        bool is_p50 = strcmp(json_name(m), "p50") == 0;

        if (!is_p50 && strcmp(json_name(m), "p95") != 0)
            return bad(err, m, "is unknown");
        if (read_whole(is_p50 ? &p50 : &p95, m, 1, SPREAD_MS_MAX, err))
            return err->code;
    }
    if (p50 < 0 || p95 < p50)
        return bad(err, v, "needs p50 and p95, p50 <= p95");
    *ret = (struct spread){p50 * US_PER_MS, p95 * US_PER_MS};
    return ERR_NONE;
}

/* {"cancel": 0.1, "no_answer": 0.1}: the rest goes to the first outcome. */
static enum err_code read_shares(int64_t *ppm, size_t n,
                                 int (*find)(const char *name),
                                 const struct json *v, struct err *err)
{
    int64_t sum = 0;

    if (!json_is_object(v))
        return bad(err, v, "is no object");
    memset(ppm, 0, n * sizeof(*ppm));
    for (const struct json *m = json_first(v); m; m = json_next(m)) {
        int i = find(json_name(m));

        if (i < 0)
            return bad(err, m, "is unknown");
        if (read_share(&ppm[i], m, err))
            return err->code;
        sum += ppm[i];
    }
    if (sum > PPM)
        return bad(err, v, "the probabilities add up to more than 1");
    return ERR_NONE;
}

static enum err_code read_knob(struct profile *p, const struct knob *k,
                               const struct json *v, struct err *err)
{
    switch (k->kind) {
    case KNOB_FLAG: return flag_read(v, place(p, k), err);
    case KNOB_SHARE: return read_share(number(p, k), v, err);
    case KNOB_WORD: return read_choice(number(p, k), k->words, v, err);
    case KNOB_SPREAD: return read_spread(place(p, k), v, err);
    case KNOB_WHOLE: break;
    }
    return read_whole(number(p, k), v, k->min, k->max, err);
}

static enum err_code read_member(struct profile *p, const struct json *v,
                                 struct err *err)
{
    const char *name = json_name(v);

    if (strcmp(name, "preset") == 0 || strcmp(name, "seed") == 0)
        return ERR_NONE; /* done before the others; not the profile's */
    if (strcmp(name, "fate") == 0)
        return read_shares(p->fate_ppm, FATES_N, fate_find, v, err);
    if (strcmp(name, "answer") == 0)
        return read_shares(p->answer_ppm, ANSWERS_N, answer_find, v, err);
    if (strcmp(name, "callback") == 0)
        return read_shares(p->callback_ppm, CALLBACKS_N, callback_find, v, err);
    if (strcmp(name, "c2b") == 0)
        return read_shares(p->c2b_ppm, C2BS_N, c2b_find, v, err);
    for (size_t i = 0; i < ARRAY_LEN(knobs); i++)
        if (strcmp(knobs[i].name, name) == 0)
            return read_knob(p, &knobs[i], v, err);
    return bad(err, v, "is unknown");
}

enum err_code profile_read(struct profile *p, const struct json *doc,
                           struct err *err)
{
    const struct json *preset = json_get(doc, "preset");
    struct profile new = *p;
    int64_t which;

    if (!json_is_object(doc))
        return err_set(err, ERR_INPUT, "a profile is an object");
    if (preset) {
        if (read_choice(&which, "calm|daraja|sandbox", preset, err))
            return err->code;
        profile_preset(&new, (enum preset)which);
    }
    for (const struct json *v = json_first(doc); v; v = json_next(v))
        if (read_member(&new, v, err))
            return err->code;
    if (new.fate_ppm[FATE_CODE] > 0)
        return err_set(err, ERR_INPUT,
                       "member \"fate\": \"code\" is for "
                       "scripts");
    *p = new;
    return ERR_NONE;
}

/* 12345 ppm as 0.012345 */
static void put_share(struct json_out *j, const char *name, int64_t ppm)
{
    struct buf text;

    buf_init(&text, 32);
    buf_addf(&text, "%lld.%06lld", (long long)(ppm / PPM),
             (long long)(ppm % PPM));
    json_put_raw(j, name, text.data, text.len);
    buf_done(&text);
}

static void put_spread(struct json_out *j, const char *name,
                       const struct spread *s)
{
    if (s->p50_us == s->p95_us) {
        json_put_int(j, name, s->p50_us / US_PER_MS);
        return;
    }
    json_open(j, name, '{');
    json_put_int(j, "p50", s->p50_us / US_PER_MS);
    json_put_int(j, "p95", s->p95_us / US_PER_MS);
    json_close(j, '}');
}

static void put_word(struct json_out *j, const struct knob *k, int64_t index)
{
    const char *word = k->words;
    struct buf text;

    for (; index > 0; index--)
        word += strcspn(word, "|") + 1;
    buf_init(&text, 64);
    buf_add(&text, word, strcspn(word, "|"));
    json_put_text(j, k->name, text.data);
    buf_done(&text);
}

static void put_knob(struct json_out *j, const struct profile *p,
                     const struct knob *k)
{
    const void *at = (const char *)p + k->at;

    switch (k->kind) {
    case KNOB_WHOLE: json_put_int(j, k->name, *(const int64_t *)at); break;
    case KNOB_FLAG: json_put_bool(j, k->name, *(const bool *)at); break;
    case KNOB_SHARE: put_share(j, k->name, *(const int64_t *)at); break;
    case KNOB_WORD: put_word(j, k, *(const int64_t *)at); break;
    case KNOB_SPREAD: put_spread(j, k->name, at); break;
    }
}

/* Only what is not 0: the rest is the first outcome's. */
static void put_shares(struct json_out *j, const char *member,
                       const int64_t *ppm, int n, const char *(*name)(int i))
{
    json_open(j, member, '{');
    for (int i = 0; i < n; i++)
        if (ppm[i] > 0)
            put_share(j, name(i), ppm[i]);
    json_close(j, '}');
}

void profile_write(const struct profile *p, struct buf *out)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    for (size_t i = 0; i < ARRAY_LEN(knobs); i++)
        put_knob(&j, p, &knobs[i]);
    put_shares(&j, "fate", p->fate_ppm, FATES_N, fate_name);
    put_shares(&j, "answer", p->answer_ppm, ANSWERS_N, answer_name);
    put_shares(&j, "callback", p->callback_ppm, CALLBACKS_N, callback_name);
    put_shares(&j, "c2b", p->c2b_ppm, C2BS_N, c2b_name);
    json_close(&j, '}');
}
