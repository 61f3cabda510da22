/*
 * A small world around one payment: a provider that knows which attempts really
 * came and were paid, workers that push, die and freeze, recorders, a ledger
 * row that is written on the version seen, people. It plays moves, hands what
 * they cause to the flow under test, and checks every step (rules.h).
 *
 * A history is its moves: each carries its own dice, and one that is not
 * possible in its place is skipped. So a history stays a history when moves are
 * taken out of it, which is how a failure is made short.
 */
#ifndef FOLENI_TESTS_HISTORIES_WORLD_H
#define FOLENI_TESTS_HISTORIES_WORLD_H

#include "consumer/flow.h"

#define ATTEMPTS_MAX 16 /* of one history; no more are begun */
#define LIVES_MAX 12    /* of workers */
#define WORKERS_N 2
#define MOVES_MAX 32

enum move_kind {
#define MOVE(id, play, weight, words) id,
#include "tests/histories/moves.def"
#undef MOVE
    MOVES_N
};

struct move {
    enum move_kind kind;
    uint32_t dice;
};

/* What became of an attempt at its worker, and what the recorder would say. */
enum phase {
    PHASE_COMMITTED, /* its row is written, no byte has left       */
    PHASE_UNSURE,    /* the same, but its worker did not hear of it */
    PHASE_BEGUN,     /* marked, bytes may have left                */
    PHASE_ANSWERED,  /* an answer is noted, and not yet stored     */
    PHASE_LOST,      /* the connection died, which is not stored   */
    PHASE_ENDED      /* stored: the recorder has forgotten it      */
};

struct attempt {
    int life; /* whose it is */
    int64_t committed_at;
    enum phase phase;
    enum flow_event_kind end; /* ANSWERED on: what its worker tells */
    enum verdict_kind answer;
    bool with_id; /* the answer brings its CheckoutRequestID */

    /* the provider's truth: */
    bool came, judged, accepted, ended, paid;
    int code; /* how it ended, index of world_codes */

    /* what was told to the flow: */
    bool disproved;     /* by a refusal, or proven not sent        */
    bool end_told;      /* a callback that asks for proof          */
    bool proven;        /* and a query that was asked after it     */
    bool excused;       /* a person says that it had not left      */
    bool asking;        /* a query is on its way                   */
    bool asked_after;   /* ... asked after end_told                */
    bool counted_again; /* it was followed by an asked-for prompt  */
    int64_t end_told_at;
};

struct life {
    bool alive;      /* its process runs                          */
    bool distrusted; /* its heartbeat stopped: it begins nothing  */
    bool host_lost;  /* its recorder is gone                      */
};

/* What a standby has heard of, for the last time. */
struct copy {
    bool made;
    struct payment row;
    unsigned receipts;
    bool end_told[ATTEMPTS_MAX + 1];
};

/* Another payment of the same phone. */
enum other { OTHER_WAITS, OTHER_HOLDS, OTHER_OVER };

struct tally {
    uint64_t histories, steps, pushes, settled;
    uint64_t causes[32];     /* by event   */
    uint64_t states[16][16]; /* by arrow   */
    uint64_t moves[MOVES_N]; /* that happened */
};

struct world {
    struct payment row;
    struct payment view; /* the row as somebody has read it before    */
    bool has_view, view_is_due;
    int64_t now_at, latest_at; /* the database's clock, and the most it said */
    struct attempt attempts[ATTEMPTS_MAX + 1];
    int made; /* attempts, also those that the row has forgotten */
    struct copy copy;
    bool forgot; /* the copy took the row's place ...             */
    bool held;   /* ... and is not compared with recorders yet    */
    enum other other;
    bool unresolved; /* it was once, and gave its phone up */
    struct life lives[LIVES_MAX + 1];
    int lives_n;
    int workers[WORKERS_N]; /* their present lives                     */
    bool person, foreign;   /* somebody's word may be wrong            */
    bool jumped;            /* the clock did                           */
    unsigned receipts;      /* told of this payment: 1 << attempt, 1   */
    int again;              /* prompts that the client asked for       */
    const char *fault;      /* the first rule that was broken, or NULL */
    struct tally *tally;
    bool talk; /* print the story */
};

/** Verdicts of callbacks and queries, by code; before the first world. */
void world_init(void);

/** A new payment: claimed, waiting, or entered after a loss, by @p dice. */
void world_begin(struct world *w, uint32_t dice);

/** Plays @p m; false when it is not possible now. */
bool world_move(struct world *w, const struct move *m);

/** No faults from here on: everything is told, asked and waited for. The
 *  payment has to come to an end. */
void world_heal(struct world *w);

const char *move_words(enum move_kind kind);
extern const unsigned move_weights[MOVES_N];

/* Codes of the provider's ends, paid first. */
enum end_kind { END_PAID, END_FINAL, END_SILENT, END_UNSHOWN, END_SOFT };
struct world_code {
    const char *code;
    enum end_kind kind;
};
extern const struct world_code world_codes[];

#endif
