/*
 * The plan of one push: what is answered, what the customer does, how it is
 * told, and when. Drawn from the profile, overridden by a handset's script.
 */
#ifndef FOLENI_TESTS_DARAJA_PLAN_H
#define FOLENI_TESTS_DARAJA_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

struct chance;
struct json;
struct profile;

enum fate {
#define FATE(id, ...) id,
#define CALLBACK(...)
#define C2B(...)
#define ANSWER(...)
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
    FATES_N
};

enum callback_kind {
#define FATE(...)
#define CALLBACK(id, ...) id,
#define C2B(...)
#define ANSWER(...)
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
    CALLBACKS_N
};

enum c2b_kind {
#define FATE(...)
#define CALLBACK(...)
#define C2B(id, ...) id,
#define ANSWER(...)
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
    C2BS_N
};

enum answer_kind {
#define FATE(...)
#define CALLBACK(...)
#define C2B(...)
#define ANSWER(id, ...) id,
#include "tests/daraja/plan.def"
#undef FATE
#undef CALLBACK
#undef C2B
#undef ANSWER
    ANSWERS_N
};

/** What is done with the connection. */
enum answer_act {
    ACT_SEND,
    ACT_CLOSE, /* sent with Connection: close                           */
    ACT_CUT,   /* head with the full length, half of the body, then FIN */
    ACT_RST,
    ACT_FIN,
    ACT_STALL /* no answer until the client gives up                   */
};

enum answer_body {
    BODY_EMPTY,
    BODY_SUCCESS,
    BODY_ERROR,      /* requestId, errorCode, errorMessage                */
    BODY_HTML,       /* the edge firewall's page                          */
    BODY_GATEWAY,    /* a plain gateway error page                        */
    BODY_FAULT,      /* the API gateway's own fault object                */
    BODY_STRANGE,    /* JSON that says nothing                            */
    BODY_NONZERO,    /* ResponseCode 1 without an id                      */
    BODY_NONZERO_ID, /* ResponseCode 1 with one                           */
};

struct answer_row {
    const char *name;
    bool accepts;
    enum answer_act act;
    int status;
    enum answer_body body;
    const char *code, *message;
};

#define RESULT_SIZE 16 /* a ResultCode as text, with its terminator */

struct plan {
    enum fate fate;
    enum answer_kind answer;
    enum callback_kind callback;
    char code[RESULT_SIZE]; /* ResultCode of the callback               */
    int64_t answer_us;      /* from the request to its answer           */
    int64_t decide_us;      /* from there to the customer's decision    */
    int64_t callback_us;    /* from there to the callback               */
    enum c2b_kind c2b;
    int64_t c2b_us; /* from the decision to the C2B confirmation        */
    bool text_code, balance_item;
};

/** One step of a script; what it leaves open is drawn from the profile. */
struct step {
    int fate, answer, callback; /* -1 = open                            */
    char code[RESULT_SIZE];     /* of FATE_CODE                         */
    int64_t answer_us, decide_us, callback_us; /* -1 = open             */
    int c2b;                                   /* likewise              */
    int64_t c2b_us;
};

const struct answer_row *answer_row(enum answer_kind kind);

/* Names by index; an enum value is an index. */
const char *fate_name(int fate);
const char *answer_name(int kind);
const char *callback_name(int kind);
const char *c2b_name(int kind);

/** The index of @p name, -1 when there is none. */
int fate_find(const char *name);
int answer_find(const char *name);
int callback_find(const char *name);
int c2b_find(const char *name);

/** Draws a plan; @p step may be NULL. */
void plan_draw(struct plan *plan, const struct profile *profile,
               struct chance *chance, const struct step *step);

/** Reads one step of a script; ERR_INPUT names the member. */
MUST_CHECK enum err_code step_read(const struct json *doc, struct step *ret,
                                   struct err *err);

/** Reads true or false, nothing else; ERR_INPUT names the member. */
MUST_CHECK enum err_code flag_read(const struct json *v, bool *ret,
                                   struct err *err);

#endif
