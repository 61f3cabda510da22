/*
 * Between the files of the room: one line per shortcode, with a guard (breaker
 * and window) per operation, and the guard of the way to the provider.
 */
#ifndef FOLENI_CONSUMER_LINES_PRIV_H
#define FOLENI_CONSUMER_LINES_PRIV_H

#include "common/pg.h"
#include "consumer/lines.h"
#include "consumer/pace.h"

struct guard {
    struct breaker row; /* as last read                                  */
    struct window window;
    enum trip trip; /* seen here, not in the row yet: it holds all the same */
    bool probing;   /* a probe of ours is out                         */
    int64_t probed; /* version of the row that it is for              */
    struct breaker_news news; /* its end, for the next look              */
    int fine; /* pushes of the trial that ended well, not told  */
};

struct line {
    int64_t shortcode;
    char name[24];   /* "line 174379", for /health                       */
    int64_t allowed; /* of the settings, per second                      */
    bool gone;       /* not in the settings any more: nothing is pushed  */
    struct guard guards[OPERATIONS_N];
    struct pace pace;
    double rate; /* as last read; 0 = no limit                       */
    bool lowered;
    int64_t stopped_until_us; /* Retry-After                             */
    int64_t throttles;      /* the row's, as last read, -1 = not yet         */
    bool throttled;         /* an answer said so since the last look         */
    int64_t retry_after_us; /* ... and how long to wait                   */
    bool learning;          /* others lowered it while it had no limit       */
    size_t begun;           /* pushes since they were last counted           */
    double measured;        /* of them per second, while nothing holds them  */
    double latest;   /* of them since the last look, per second         */
    int64_t next_us; /* of a ramp without a rate: first time not given */
};

enum lines_statement {
    LINES_SQL_MAKE,
    LINES_SQL_MAKE_BREAKERS,
    LINES_SQL_MOVE,
    LINES_SQL_FINE,
    LINES_SQL_PERMIT,
    LINES_SQL_THROTTLE,
    LINES_SQL_LEARN,
    LINES_SQL_STOP,
    LINES_SQL_RESERVE,
    LINES_SQL_READ,
    LINES_SQL_READ_BREAKERS,
    LINES_SQL_READ_POOLS,
    LINES_SQL_N
};

/* Statements of one look besides those that reserve and read. */
#define LOOK_STATEMENTS_MAX 11

/* What the unit in flight holds, so that its results are found. */
struct look {
    int64_t sent_us;
    size_t n;             /* statements                           */
    bool full;            /* what found no place waits for the next look */
    bool made;            /* rows were made                       */
    size_t reserve, read; /* which statement it is; reserve 0 = none */
    struct said {
        enum lines_statement what; /* FINE, PERMIT, THROTTLE, LEARN   */
        struct line *line;
        int n;
    } said[LOOK_STATEMENTS_MAX];
};

struct lines {
    struct loop *loop;
    const struct config *cfg;
    struct lines_spec spec;
    struct breaker_policy policy;
    struct pg *pg;
    struct line **items; /* none ever goes */
    size_t n;
    struct guard way; /* shortcode 0: pushes that do not reach the provider */
    bool paused[PRIORITIES_N];
    struct loop_timer next;
    bool looking, made;
    struct look look;
    int64_t looked_us; /* when the last look that ended well was sent */
    /* ours less the database's clock, at its least of late */
    int64_t offset_us;
    int64_t db_at, answered_us; /* of the last answer, 0 = none */
    int64_t measured_us;        /* when `begun` was last counted */
    uint64_t dice;
};

extern const struct pg_statement lines_statements[LINES_SQL_N];
extern const char *const lines_session[];

/* --- lines.c --- */

struct line *lines_find(const struct lines *l, int64_t shortcode);

/** NULL when there is none. */
struct guard *lines_guard(struct lines *l, enum operation op,
                          int64_t shortcode);

/** Share of a line's pace that its breakers let through, 0 to 1. */
double line_share(const struct lines *l, const struct line *line,
                  int64_t now_us);

/** Its pushes need times. */
bool line_paced(const struct lines *l, const struct line *line, int64_t now_us);

/** Trips what has to trip. */
void lines_judge(struct lines *l);

/* --- lines_look.c --- */

/** Looks at the fleet's rows, and again every lines.sync_ms. */
void lines_look(void *arg);

/** There is something to tell or to reserve: the next look comes sooner. */
void lines_news(struct lines *l);

void lines_on_state(void *arg, bool up);

/* --- lines_read.c --- */

/** Takes in the results of l->look. */
void lines_read(struct lines *l, struct pg_result *const *results);

/* --- lines_health.c --- */

/** Sets the gauges. */
void lines_measure(const struct lines *l);

#endif
