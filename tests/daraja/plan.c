/*
 * Tables of fates, answers and callbacks, the drawing of a plan and the
 * reading of a script's step. Pure.
 *
 * Every draw is made whether it is needed or not, so that one knob does not
 * shift what the others give under the same seed.
 */
#include "tests/daraja/plan.h"

#include <ctype.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/payment.h"
#include "tests/daraja/profile.h"

#define STEP_MS_MAX 3600000
#define FLAG_TEXT_MAX 16 /* a longer value is neither of the two */

static const char *const fates[] = {
#define FATE(id, name, code) name,
#define CALLBACK(...)
#define C2B(...)
#define ANSWER(...)
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
};

static const char *const fate_codes[] = {
#define FATE(id, name, code) code,
#define CALLBACK(...)
#define C2B(...)
#define ANSWER(...)
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
};

static const char *const callbacks[] = {
#define FATE(...)
#define CALLBACK(id, name) name,
#define C2B(...)
#define ANSWER(...)
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
};

static const char *const c2bs[] = {
#define FATE(...)
#define CALLBACK(...)
#define C2B(id, name) name,
#define ANSWER(...)
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
};

static const struct answer_row answers[] = {
#define FATE(...)
#define CALLBACK(...)
#define C2B(...)
#define ANSWER(id, name, accepts, act, status, body, code, message) \
    {name, accepts, act, status, body, code, message},
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
};

const struct answer_row *answer_row(enum answer_kind kind)
{
    return &answers[kind];
}

const char *fate_name(int fate)
{
    return fates[fate];
}

const char *callback_name(int kind)
{
    return callbacks[kind];
}

const char *c2b_name(int kind)
{
    return c2bs[kind];
}

const char *answer_name(int kind)
{
    return answers[kind].name;
}

static int find(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

int fate_find(const char *name)
{
    return find(fates, FATES_N, name);
}

int callback_find(const char *name)
{
    return find(callbacks, CALLBACKS_N, name);
}

int c2b_find(const char *name)
{
    return find(c2bs, C2BS_N, name);
}

int answer_find(const char *name)
{
    for (size_t i = 0; i < ANSWERS_N; i++)
        if (strcmp(answers[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void override(struct plan *plan, const struct step *step)
{
    if (step->fate >= 0)
        plan->fate = (enum fate)step->fate;
    if (step->answer >= 0)
        plan->answer = (enum answer_kind)step->answer;
    if (step->callback >= 0)
        plan->callback = (enum callback_kind)step->callback;
    if (step->c2b >= 0)
        plan->c2b = (enum c2b_kind)step->c2b;
    if (step->answer_us >= 0)
        plan->answer_us = step->answer_us;
    if (step->c2b_us >= 0)
        plan->c2b_us = step->c2b_us;
}

/* These depend on the fate and on the kind of callback. */
static void override_late(struct plan *plan, const struct step *step)
{
    if (plan->fate == FATE_CODE)
        memcpy(plan->code, step->code, sizeof(plan->code));
    if (step->decide_us >= 0)
        plan->decide_us = step->decide_us;
    if (step->callback_us >= 0)
        plan->callback_us = step->callback_us;
}

void plan_draw(struct plan *plan, const struct profile *profile,
               struct chance *chance, const struct step *step)
{
    int64_t decide_us, no_answer_us, late_us;

    memset(plan, 0, sizeof(*plan));
    plan->fate = (enum fate)chance_pick(chance, profile->fate_ppm, FATES_N);
    plan->answer =
        (enum answer_kind)chance_pick(chance, profile->answer_ppm, ANSWERS_N);
    plan->callback = (enum callback_kind)chance_pick(
        chance, profile->callback_ppm, CALLBACKS_N);
    plan->answer_us = chance_spread(chance, &profile->answer);
    decide_us = chance_spread(chance, &profile->decide);
    no_answer_us = chance_spread(chance, &profile->no_answer);
    plan->callback_us = chance_spread(chance, &profile->callback);
    late_us = chance_spread(chance, &profile->late);
    plan->text_code = chance_hit(chance, profile->text_code);
    plan->balance_item = chance_hit(chance, profile->balance_item);
    plan->c2b = (enum c2b_kind)chance_pick(chance, profile->c2b_ppm, C2BS_N);
    plan->c2b_us = chance_spread(chance, &profile->c2b);

    if (step)
        override(plan, step);
    text_copy(plan->code, sizeof(plan->code), fate_codes[plan->fate]);
    plan->decide_us = strcmp(plan->code, "1037") ? decide_us : no_answer_us;
    if (plan->callback == CALLBACK_LATE)
        plan->callback_us += late_us;
    if (plan->callback == CALLBACK_EARLY)
        plan->decide_us = plan->callback_us = 0;
    if (step)
        override_late(plan, step);
}

/* true and false are told apart by how they are printed. */
enum err_code flag_read(const struct json *v, bool *ret, struct err *err)
{
    struct buf text;
    bool yes, no;

    buf_init(&text, FLAG_TEXT_MAX);
    json_print(v, &text);
    yes = strcmp(text.data, "true") == 0;
    no = strcmp(text.data, "false") == 0;
    buf_done(&text);
    if (!yes && !no)
        return err_set(err, ERR_INPUT,
                       "member \"%.40s\": is neither true nor false",
                       json_name(v));
    *ret = yes;
    return ERR_NONE;
}

static enum err_code bad(struct err *err, const char *name, const char *why)
{
    return err_set(err, ERR_INPUT, "member \"%.40s\": %s", name, why);
}

/* "code:1019", "code:SFC_IC0003" */
static enum err_code read_code(struct step *s, const char *code,
                               struct err *err)
{
    size_t len = strlen(code);

    if (len < 1 || len >= sizeof(s->code))
        return bad(err, "fate", "the code is empty or too long");
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)code[i]) && code[i] != '_')
            return bad(err, "fate", "the code is not alphanumeric");
    memcpy(s->code, code, len + 1);
    s->fate = strcmp(code, "0") == 0 ? FATE_PAY : FATE_CODE;
    return ERR_NONE;
}

static enum err_code read_fate(struct step *s, const char *text,
                               struct err *err)
{
    if (strncmp(text, "code:", 5) == 0)
        return read_code(s, text + 5, err);
    s->fate = fate_find(text);
    if (s->fate < 0 || s->fate == FATE_CODE)
        return bad(err, "fate", "no such fate");
    return ERR_NONE;
}

static enum err_code read_word(struct step *s, const char *name,
                               const char *text, struct err *err)
{
    if (!text)
        return bad(err, name, "is no string");
    if (strcmp(name, "fate") == 0)
        return read_fate(s, text, err);
    if (strcmp(name, "answer") == 0)
        return (s->answer = answer_find(text)) < 0
                   ? bad(err, name, "no such answer")
                   : ERR_NONE;
    if (strcmp(name, "callback") == 0)
        return (s->callback = callback_find(text)) < 0
                   ? bad(err, name, "no such callback")
                   : ERR_NONE;
    return (s->c2b = c2b_find(text)) < 0 ? bad(err, name, "no such notice")
                                         : ERR_NONE;
}

static enum err_code read_ms(int64_t *ret_us, const struct json *v,
                             struct err *err)
{
    int64_t ms;

    if (!json_integer(v, &ms) || ms < 0 || ms > STEP_MS_MAX)
        return bad(err, json_name(v), "is not a number of 0 to 3600000 ms");
    *ret_us = ms * US_PER_MS;
    return ERR_NONE;
}

static enum err_code read_member(struct step *s, const struct json *v,
                                 struct err *err)
{
    const char *name = json_name(v);

    if (strcmp(name, "fate") == 0 || strcmp(name, "answer") == 0 ||
        strcmp(name, "callback") == 0 || strcmp(name, "c2b") == 0)
        return read_word(s, name, json_text(v), err);
    if (strcmp(name, "answer_ms") == 0)
        return read_ms(&s->answer_us, v, err);
    if (strcmp(name, "decide_ms") == 0)
        return read_ms(&s->decide_us, v, err);
    if (strcmp(name, "callback_ms") == 0)
        return read_ms(&s->callback_us, v, err);
    if (strcmp(name, "c2b_ms") == 0)
        return read_ms(&s->c2b_us, v, err);
    return bad(err, name, "is unknown");
}

enum err_code step_read(const struct json *doc, struct step *ret,
                        struct err *err)
{
    struct step s = {.fate = -1,
                     .answer = -1,
                     .callback = -1,
                     .answer_us = -1,
                     .decide_us = -1,
                     .callback_us = -1,
                     .c2b = -1,
                     .c2b_us = -1};

    if (!json_is_object(doc))
        return err_set(err, ERR_INPUT, "a step is no object");
    for (const struct json *v = json_first(doc); v; v = json_next(v))
        if (read_member(&s, v, err))
            return err->code;
    *ret = s;
    return ERR_NONE;
}
