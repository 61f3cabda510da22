/*
 * The gate to Daraja: pushes and status queries over common/call, with tokens.
 * A push ends exactly once as NOT_SENT (proven), ANSWER or LOST. Just before
 * its first byte goes out the gate checks that the claim's lease still holds
 * and that `allowed` says yes (rule S7), and marks the flight recorder (S9).
 *
 * One token per consumer key and fleet (consumer/token.h): refreshed ahead of
 * expiry, backed off while the endpoint fails. A token that an answer refuses
 * is fetched anew, once. A push waits for its token as long as its lease holds,
 * and for one that is newer than p->auth_version (rule S13).
 */
#ifndef FOLENI_CONSUMER_GATE_H
#define FOLENI_CONSUMER_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/app.h"
#include "common/config.h"
#include "common/err.h"
#include "common/payment.h"
#include "consumer/breaker.h"
#include "consumer/verdict.h"

struct gate;
struct recorder;

enum gate_end { GATE_NOT_SENT, GATE_ANSWER, GATE_LOST };

struct gate_result {
    enum gate_end end;
    struct verdict verdict; /* ANSWER                                      */
    struct err why;         /* NOT_SENT, LOST                              */
    bool unreachable;       /* NOT_SENT: name, connect, TLS, token         */
    int slot;               /* of the recorder, -1 = none: free it when the
                               outcome is stored                           */
    int64_t took_us;
    int64_t token_version; /* that it carried, 0 = it was not begun        */
    enum outcome outcome;  /* for its breaker                              */
};

/** Once per call, on the loop, never inside gate_push() or gate_query(). */
typedef void (*gate_done_fn)(void *arg, const struct gate_result *result);

struct gate_spec {
    struct recorder *recorder; /* NULL = switched off                      */
    /** Whether a push that was promised in @p term may go out now. */
    bool (*allowed)(void *arg, unsigned term);
    void *arg;
    /* The lines, as in lines.h; all NULL = there are none. begin_us():
       INT64_MAX = too late. */
    struct gate_lines {
        int64_t (*begin_us)(void *arg, int64_t shortcode, int64_t send_us);
        bool (*may_send)(void *arg, int64_t shortcode, int64_t send_us,
                         const char **ret_why);
        void (*began)(void *arg, enum operation op, int64_t shortcode);
        void (*ended)(void *arg, enum operation op, int64_t shortcode,
                      enum outcome outcome, int64_t took_us,
                      int64_t retry_after_s);
        void *arg;
    } lines;
};

/** What a push was promised. */
struct gate_right {
    int64_t lease_us; /* how long from now its first byte may go out       */
    unsigned term;    /* when its claim was sent: `allowed` hears it again */
    int64_t send_us;  /* not before; of lines_take(), 0 = at once          */
};

struct gate *gate_new(struct loop *loop, const struct config *cfg,
                      const struct gate_spec *spec);
void gate_free(struct gate *gate);

/** The settings have other shortcodes or credentials: what has not begun goes
 *  out with them. */
void gate_renewed(struct gate *gate);

/** Pushes that are open or wait for a slot or a token. A caller keeps them to
 *  slots and worker.ahead, and a batch more at the very most. */
size_t gate_pushes(const struct gate *gate);

/** Most calls that a gate of these settings holds: slots, ahead, a batch of
 *  retries, queries. The recorder has as many slots. */
size_t gate_capacity(const struct config *cfg);

/** Calls that are open or wait for a token. */
size_t gate_open(const struct gate *gate);

/**
 * Pushes attempt p->attempt of @p p, which is committed as `sending`.
 */
void gate_push(struct gate *gate, const struct payment *p,
               const struct gate_right *right, gate_done_fn done, void *arg);

/** Attempt @p attempt of @p payment, if it is here and not begun, is not sent:
 *  it ends as NOT_SENT. For what is paid already. */
void gate_stop(struct gate *gate, const struct uuid *payment, int attempt);

/** Whether another query fits; where not, the next due time asks again. */
bool gate_can_query(const struct gate *gate);

/** Asks what became of p->checkout_id; idempotent, so no recorder. */
void gate_query(struct gate *gate, const struct payment *p, gate_done_fn done,
                void *arg);

/** Asks for a prompt that never was, which says whether the provider answers:
 *  result->outcome is OUTCOME_FINE then. Only when gate_can_query(). */
void gate_probe(struct gate *gate, int64_t shortcode, gate_done_fn done,
                void *arg);

/** The access token for calls to @p sc, borrowed for the turn, and its version;
 *  NULL when there is none now. */
const char *gate_token(struct gate *gate, const struct shortcode *sc,
                       int64_t *ret_version);

/** An answer has refused that version of it: another is fetched, once. */
void gate_token_refused(struct gate *gate, const struct shortcode *sc,
                        int64_t version);

/** For /health: one row per consumer key. */
size_t gate_health(const struct gate *gate, struct health *rows, size_t max);

#endif
