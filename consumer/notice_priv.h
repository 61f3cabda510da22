/*
 * Between the files of the room: the statements, what one look at a notice
 * sees, and what is made of it.
 */
#ifndef FOLENI_CONSUMER_NOTICE_PRIV_H
#define FOLENI_CONSUMER_NOTICE_PRIV_H

#include "common/pg.h"
#include "consumer/notice.h"

enum notice_statement {
    NOTICE_SQL_LAZY,
    NOTICE_SQL_PUT,
    NOTICE_SQL_TAKE,
    NOTICE_SQL_SETTLE,
    NOTICE_SQL_FORGET,
    NOTICE_SQL_AGAIN,
    NOTICE_SQL_PURGE,
    NOTICE_SQL_CENSUS,
    NOTICE_SQL_N
};

extern const struct pg_statement notice_statements[NOTICE_SQL_N];

/** A payment that a notice may be about. */
struct notice_place {
    bool there;
    struct uuid payment;
    int attempt;
    enum evidence evidence;
    bool fits; /* shortcode, phone, amount, reference and time          */
};

/** What one look sees, all of one moment. */
struct notice_look {
    int64_t id;
    enum evidence source;
    enum notice_disposition disposition;
    char receipt[RECEIPT_MAX + 1];
    int64_t paid_at;
    bool over; /* c2b, pull: no attempt that fits can still show up      */

    /* c2b, pull */
    struct notice_place holder; /* has its receipt, on the best evidence  */
    struct notice_place rival;  /* has it too, on weaker evidence         */
    struct notice_place open;   /* one that it fits, its outcome open     */
    int open_n;                 /* how many of them, 2 = or more          */
    bool under_way;             /* a prompt that it fits is still out     */
    bool denied; /* another record of this source has other facts of it   */

    /* person */
    struct uuid payment; /* the one that was decided upon              */
    int attempt, version;
    enum resolution decision;
    char why[RESULT_TEXT_MAX + 1];
    bool seen_so;  /* it is still in that version                     */
    bool resolved; /* its next version is this decision               */
    bool gone;     /* forced, or its worker is proven dead (S11)      */
    bool owned;    /* another payment has the receipt                 */
    struct replay_terms replay;
    bool ordered_again; /* its client has asked for the same anew (S22)   */
};

/** What is to be done with a notice. */
struct notice_act {
    enum notice_act_kind {
        NOTICE_LEAVE,  /* looked at again in its time                  */
        NOTICE_FIND,   /* `means` goes to the driver                   */
        NOTICE_SETTLE, /* gets `disposition`, and `payment` with it    */
        NOTICE_FORGET  /* removed                                      */
    } kind;
    enum notice_means means;
    enum notice_disposition disposition;
    bool closed;     /* SETTLE: it is never looked at again             */
    bool denied;     /* SETTLE: a person hears that another denies it   */
    const char *why; /* SETTLE: why it is refused, or NULL              */
    enum evidence stronger; /* FIND, TAKEN: what has the receipt now    */
    struct uuid payment;
    int attempt;
};

/** Pure. */
void notice_judge(const struct notice_look *look, struct notice_act *ret);

#endif
