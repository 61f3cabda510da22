/*
 * What the files of pg share: the connection, its queue of units, and the
 * parameters under construction. libpq's own types are named by their tags, so
 * that its header stays in the .c files.
 */
#ifndef FOLENI_COMMON_PG_PRIV_H
#define FOLENI_COMMON_PG_PRIV_H

#include "common/pg.h"

#define PG_PARAMS_MAX 64     /* parameters of one statement                  */
#define PG_STATEMENTS_MAX 16 /* statements of one unit                       */
#define PG_PARAMS_BYTES_MAX ((size_t)32 << 20) /* of one statement's values  */
#define PG_NOTE_SIZE 240

struct pg_conn; /* libpq's PGconn */

/** Values in the wire's form, one after the other. */
struct pg_params {
    char *data;
    size_t len, cap;
    size_t n;                     /* parameters begun                        */
    size_t at[PG_PARAMS_MAX + 1]; /* where each begins                     */
    bool null[PG_PARAMS_MAX];
    size_t left; /* elements that the open array still wants               */
    enum pg_type type;
    size_t flags_at; /* where the open array says whether it has nulls     */
};

/** One transaction: on the wire, or refused and waiting to be told so. */
struct pg_unit {
    pg_done_fn done;
    void *arg;
    size_t n;              /* statements                                   */
    int64_t sent_us;       /* boot time                                    */
    enum err_code refused; /* ERR_NONE: it was sent                        */
};

enum pg_state { PG_DOWN, PG_CONNECTING, PG_SETTING_UP, PG_READY };

struct pg {
    struct loop *loop;
    struct pg_spec spec; /* texts are copies */
    char *conninfo, *password, *application_name;

    enum pg_state state;
    struct pg_conn *conn;
    struct loop_watch *watch;
    int watching;           /* LOOP_READ, LOOP_WRITE                     */
    bool broken;            /* to be torn down by `later`                */
    bool was_up;            /* on_state(true) was said                   */
    char why[PG_NOTE_SIZE]; /* why there is no connection, "" = none     */
    char last_words[PG_NOTE_SIZE]; /* the server's, before it closed */
    char said[PG_NOTE_SIZE]; /* the last one that was logged              */
    struct loop_timer later; /* ends of refused units, tear-down          */
    struct loop_timer clock; /* next try, connect time-out, stuck units   */
    int64_t backoff_us;

    struct pg_params params;
    struct pg_unit open; /* n statements so far, not ended by pg_sync()     */

    struct pg_unit *units; /* ring, oldest first                            */
    size_t units_cap, units_head, units_n;
    size_t sent_n; /* of them on the wire                                   */
    struct pg_result *results[PG_STATEMENTS_MAX]; /* of the oldest          */
    size_t results_n;
    struct err fail; /* of the oldest; ERR_NONE = none                      */
    bool warned;     /* a WARNING came during the oldest                    */
    int nulls;       /* ends without a result in a row                      */
    int64_t latency_us;
};

/* --- pg_connect.c --- */

/** Begins the first try. */
void pg_connect(struct pg *pg);

/** The connection cannot be used any more; torn down in the next dispatch. */
void pg_break(struct pg *pg, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** Closes what is open; says nothing to anybody. */
void pg_disconnect(struct pg *pg);

/** Tear-down after pg_break(): units end, on_state, next try. */
void pg_lost(struct pg *pg);

/** Watches the socket for @p what anew. */
void pg_watch(struct pg *pg, int what);

/* --- pg.c --- */

/** Adds a unit of @p n statements that were sent; flushes. */
void pg_unit_sent(struct pg *pg, size_t n, pg_done_fn done, void *arg);

/** Ends, as lost with the connection, all units that are there now. */
void pg_units_lost(struct pg *pg);

/** The socket is ready, in the states after connecting. */
void pg_on_traffic(struct pg *pg, int ready);

/** libpq's notice receiver; @p arg is the pg. */
void pg_on_notice(void *arg, const struct pg_result *r);

/* --- pg_value.c --- */

/** Pointers, lengths and count in the form that libpq wants. */
struct pg_wire {
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int formats[PG_PARAMS_MAX];
    int n;
};
void pg_params_wire(const struct pg_params *p, struct pg_wire *ret);

/* --- pg_err.c --- */

/** Fills @p err from a failed result. */
enum err_code pg_err_of_result(struct err *err, const struct pg_result *r);

/** Whether an error of this SQLSTATE leaves the connection without use. */
bool pg_err_breaks(const char *sqlstate);

/** The first line of @p message, for a note; never NULL, cut where needed. */
void pg_first_line(const char *message, char *out, size_t size);

#endif
