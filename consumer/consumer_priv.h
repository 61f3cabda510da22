/*
 * Between the files of the driver. The driver is the only place that knows two
 * rooms at once: it carries events to the flow, its decisions to the store, and
 * its actions to gate and tell. Its unit of work is a task: one event about one
 * payment, on its way to being decided and written.
 *
 *   task_event() → look (when the row is not in hand) → flow_step()
 *     → store_step() → actions → end
 *   a stale version or a lost answer sends it back to look
 */
#ifndef FOLENI_CONSUMER_CONSUMER_PRIV_H
#define FOLENI_CONSUMER_CONSUMER_PRIV_H

#include "common/app.h"
#include "common/list.h"
#include "common/wire.h"
#include "consumer/anchor.h"
#include "consumer/clockwatch.h"
#include "consumer/consumer.h"
#include "consumer/flow.h"
#include "consumer/gate.h"
#include "consumer/intake.h"
#include "consumer/lines.h"
#include "consumer/notice.h"
#include "consumer/pull.h"
#include "consumer/pulse.h"
#include "consumer/recorder.h"
#include "consumer/store.h"
#include "consumer/tell.h"

/* Records of payments.callbacks in one batch. */
#define CALLBACKS_MAX 500

/* Rounds of steps that may be in flight at once. */
#define ROUNDS_N 2

struct task {
    struct list node;  /* in one of the driver's lists, or in none  */
    struct list alive; /* in `live` until it ends                   */
    struct consumer *consumer;
    struct payment seen; /* the row as last read                    */
    struct flow_event event;
    struct flow_out out; /* what the flow made of it                */
    int recorder_slot;   /* to be freed when the task ends, -1      */
    unsigned term;       /* of trust, in which its claim was sent   */
    int64_t send_us;     /* of its line's right: not before         */
    int tries;           /* times it went back to look              */
    int takes;           /* times its receipt was taken from others */
    int refusals;        /* times the ledger refused it alone       */
    int64_t again_us;    /* in `later`: when it comes again         */
    bool unsure;         /* its last write may have landed          */
    bool unproven;       /* a callback that no key of ours signed   */
    bool unkept;         /* in `later`: its bytes are not kept yet  */
    bool from_topic;     /* of the callback batch                   */
    bool recalls;        /* of the comparison with recorders */
    bool promised;       /* counted in `promised`: may become a push */
    bool of_ledger;      /* counted in `ledger_pushes`              */
    bool right;          /* of its line, not used yet               */
    const struct kafka_record *record; /* of a callback: its bytes  */
    const char *stray; /* why these bytes are kept raw, or NULL     */
    int64_t notice;    /* of a finding: to be told its end, 0       */
    int fence;         /* the one version it holds for, 0 = any     */
    /* S15: before a receipt is bound, whoever has it on weaker evidence loses
       it, by a task of its own */
    enum { HOLDER_NONE, HOLDER_UNSURE, HOLDER_FOUND, HOLDER_EQUAL } holds;
    struct uuid holder;
    struct task *before; /* which waits for this one's end, or NULL */
};

struct round {
    struct consumer *consumer;
    struct step_row *rows;
    struct task **tasks;
    size_t n;
    bool busy;
};

/* Says when the next batch of its kind may begin: at once while the work is
   little, gathering for worker.gather_us while it is much. */
struct pace {
    int64_t began_us;
    size_t last_n;
};

struct consumer {
    struct app *app;
    const struct config *cfg;
    struct flow_policy policy;
    struct store *store;
    struct pulse *pulse;
    struct anchor *anchor;
    struct recorder *recorder; /* NULL = switched off */
    struct gate *gate;
    struct lines *lines;
    struct intake *intake;
    struct tell *tell;
    struct notice *notice;
    struct pull *pull;
    struct memory *memory; /* consumer_memory.c's */
    struct sweep *sweep;   /* consumer_sweep.c's */

    /* tasks */
    struct list free, to_look, looking, to_step, to_keep;
    struct list later; /* refused by the ledger: they come again */
    struct loop_timer later_tick;
    struct list live; /* every task that has not ended */
    size_t tasks;     /* that have not ended */
    struct round rounds[ROUNDS_N];
    bool look_busy;
    struct uuid *look_ids;
    struct pace step_pace;
    uint64_t dice;
    int64_t db_offset_us; /* database's clock - boot clock */
    struct clockwatch clock;
    int64_t accepted; /* last word about the clock, -1 = not asked yet */
    int64_t asked_us; /* when it was last asked for                    */
    bool asking;
    bool far; /* a doubt has ended: rows may be due too late */
    struct {
        int64_t key, attempts; /* one that is missing, and who uses it */
        int64_t next_us;
        bool looked, asking;
    } keys; /* of callback paths */

    /* claim */
    struct intake_batch *batch;
    bool claim_busy, batch_unsure;
    unsigned batch_term; /* of trust, when its claim was first sent */
    size_t single; /* claiming one by one: the next row + 1; 0 = whole batch */
    int claim_tries;    /* of this batch that were refused */
    int claim_refusals; /* by the ledger, one after the other */
    size_t letters; /* dead letters without their report                     */
    size_t letter_next; /* the next one to be written                         */
    enum claim_phase {
        CLAIM_IDLE,
        CLAIM_BAD_LETTERS, /* what no payment can be made of: first */
        CLAIM_ROWS,
        CLAIM_CONFLICT_LETTERS /* key conflicts: known after it */
    } phase;
    struct pace claim_pace;
    struct loop_timer claim_again;

    /* callbacks */
    size_t callbacks_open;
    bool callbacks_out;
    bool noting; /* where they are applied up to */
    int64_t noted_us;
    struct money *money; /* C2B notices of the batch, to be stored */
    size_t money_n;
    bool money_busy;
    struct loop_timer money_again;

    /* told */
    struct told_row *told, *telling;
    size_t told_n;
    bool told_busy;
    int64_t told_us; /* when the last batch was sent */

    /* due */
    struct loop_timer due, wake;
    bool due_busy, due_full, cancels_busy;
    size_t promised; /* pushes that are asked for, or found and not yet given
                        to the gate                                       */
    size_t ledger_pushes; /* the same, with those that the gate has        */
    struct ready {
        bool busy;    /* a scan for pushes is in flight                    */
        bool more;    /* the last one found some: claims leave them places */
        size_t asked; /* pushes of the one in flight                       */
        struct lane after[PRIORITIES_N]; /* where the last one came to     */
        struct shares shares;
        struct line_credit *lines; /* of every shortcode                   */
        bool *dry;           /* ... had less than waits, at the last scan  */
        int64_t *shortcodes; /* those with credit                          */
        size_t lines_n;
        struct pace pace;
        int64_t stranded_us; /* when it may be said again                  */
    } ready;
    struct parked_row *parked; /* of every shortcode, as last read, and what
                                  was parked here since                    */
    bool hungry;    /* the intake has more than there was credit for         */
    bool full;      /* a record is held: lines.parked_max                    */
    size_t burials; /* letters of spent payments, on their way          */
    bool unread;    /* positions could not be read: ask again           */

    struct kafka_fetcher *fetcher;
    bool stopping, left;
    bool settled; /* its recorder shows nothing that the ledger does not know */
    int exit_code;
};

/* --- consumer_task.c --- */

void tasks_init(struct consumer *c);
void tasks_done(struct consumer *c);

/** A task about @p seen, or, when NULL, about payment @p id to be looked up. */
struct task *task_new(struct consumer *c, const struct payment *seen,
                      const struct uuid *id, enum flow_event_kind kind);
void task_event(struct task *t);
void task_end(struct task *t);

/** It becomes no push, or is one now. */
void task_unpromise(struct task *t);

/** It is to be a push of the ledger's, with the right for @p send_us. */
void task_promise(struct task *t, int64_t send_us);

/** Whether its event ends with its moment: the due-scan comes back to it. */
bool task_momentary(const struct task *t);

/** Does what its decision asked for, which is written. */
void task_act(struct task *t, int64_t lease_us);

/** Keeps the bytes of its callback, because of @p why; then it ends. */
void task_keep_stray(struct task *t, const char *why);

/** Sends attempt t->seen.attempt, whose row is committed. */
void task_push(struct task *t, int64_t lease_us);

/** What they saw may be of a Postgres that is gone: all look anew. */
void tasks_look_again(struct consumer *c);

/** Starts looks and rounds; true when it should be asked again at once. */
bool tasks_run(struct consumer *c);

/** The database's clock, as it was last believed; before that, as near as the
 *  last answer tells. */
int64_t consumer_db_now(const struct consumer *c);
void consumer_set_db_now(struct consumer *c, int64_t db_now_at);

/** Whether pushes may be prepared now (rule S7). */
bool consumer_may_push(const struct consumer *c);

/* --- consumer_due.c --- */

void due_init(struct consumer *c);
void due_done(struct consumer *c);

/** The settings have other shortcodes. */
void due_renewed(struct consumer *c);

/** Looks for everything that is due. */
void due_scan(struct consumer *c);
/** Goes on looking where the last look did not see all. */
void due_run(struct consumer *c);

/** Pushes that fresh requests may add: what the gate takes, less what is on its
 *  way there, less what the ledger has waiting. */
size_t consumer_credit(const struct consumer *c);

/** Whether so many tasks wait for the store that no more should be made. */
bool consumer_crowded(const struct consumer *c);

/** How many rows wait for @p shortcode; NULL = it is not configured. */
size_t *consumer_parked(struct consumer *c, int64_t shortcode);

/** Whether a batch may begin now; arms the wake-up when not. */
bool pace_ready(struct consumer *c, const struct pace *pace);
void pace_began(struct pace *pace, size_t n);

/** Random, for jitter and turns. */
uint32_t consumer_dice(struct consumer *c);

void consumer_announce(struct consumer *c, const struct payment *p);

/* --- consumer_cancel.c --- */

/** Looks for payments that were cancelled after their claim. */
void cancels_scan(struct consumer *c);

/* --- consumer_later.c --- */

void laters_init(struct consumer *c);

/** The ledger does not take what became of its event: it comes again, later and
 *  later, and in the end is set aside with an alarm where it is kept. */
void task_refused(struct task *t, const char *why);

/** The ledger did not keep the bytes of its callback: the same for them, but
 *  nothing else has them, so they are kept at last. */
void task_not_kept(struct task *t, const struct err *err);

/** How long what the ledger has refused @p refusals times waits for its next
 *  try, in microseconds. */
int64_t later_wait_us(int refusals);

/** Whether @p err is the ledger's refusal, and no outage. */
bool later_is_refusal(const struct err *err);

/** Times that the ledger refuses a thing before a person hears of it. */
#define REFUSALS_MAX 5

/* --- consumer_look.c --- */

void looks_run(struct consumer *c);

/* --- consumer_claim.c --- */

void claims_run(struct consumer *c);

/** Whether a record may be read on to a push (intake_spec). */
enum intake_admission claim_admit(void *arg, struct claim_row *row,
                                  bool places);
bool claim_paused(void *arg, enum priority pool);

/** Gives the batch that is out back to the intake. */
void claim_abandon(struct consumer *c);
void callbacks_run(struct consumer *c);
void callback_ended(struct consumer *c);

/** Writes a spent payment's record to payments.dead, then announces it. */
void consumer_bury(struct consumer *c, const struct payment *p);

/** What a callback says, as an event about @p attempt. */
void callback_event(struct flow_event *e, const struct callback *cb,
                    int attempt);

/* --- consumer_notice.c --- */

void notices_init(struct consumer *c);
void notices_done(struct consumer *c);

/** Takes a C2B record of the callback batch. */
void notice_take(struct consumer *c, const struct kafka_record *record);

/** Stores what was taken; true while any of it is not durable. */
bool notices_pending(struct consumer *c);

/** Keeps the bytes of @p record, which belongs to no payment known of. */
void callback_keep(struct consumer *c, const struct kafka_record *record,
                   const char *why);

/* --- consumer_lines.c --- */

/** Makes the lines, and tells the gate of them. */
void lines_init(struct consumer *c, struct gate_lines *ret);

/* --- consumer_pull.c --- */

void pulls_init(struct consumer *c);

/* --- consumer_clock.c --- */

/** An answer of the database says what its clock was (rule S5). */
void clock_answered(void *arg, int64_t sent_us, int64_t db_at);
/** The time that pulse may judge by; 0 = in doubt. */
int64_t clock_believed(void *arg);
/** What the clock should say now; 0 = not known. */
int64_t clock_expected(void *arg);
/** In doubt: looks whether a person has accepted the time. */
void clock_tick(struct consumer *c);
/** Whether what was read is of the future: it must not be claimed. */
bool clock_batch_doubted(struct consumer *c, const struct intake_batch *b);
struct health clock_health(const struct consumer *c);

/* --- consumer_keys.c --- */

/** Looks whether open attempts use a key that the settings have not. */
void keys_tick(struct consumer *c);
/** The settings have other keys now. */
void keys_changed(struct consumer *c);

/** A callback whose MAC none of our keys has made: judged by its row. */
void keys_doubt(struct consumer *c, const struct kafka_record *record,
                const struct callback_address *at);
/** Its row is read; NULL = there is none. */
void keys_judge(struct task *t, const struct payment *row);
struct health keys_health(const struct consumer *c);

/* --- consumer_recover.c --- */

/** Why a callback is kept that belongs to no payment. */
#define STRAY_UNKNOWN "unknown payment"

/** Takes in the callbacks that came while Postgres did not know @p p. */
void consumer_look_at_strays(struct consumer *c, const struct payment *p);

/* --- consumer_memory.c --- */

void memory_init(struct consumer *c);
void memory_done(struct consumer *c);

/** A new connection of the store: it may be to another memory (rule S2). */
void memory_doubt(struct consumer *c);

/** Whether all that recorders of this host know is in the ledger, or stops its
 *  partition; nothing is pushed, taken over or due before. */
bool memory_sure(const struct consumer *c);

/** Goes on towards it. */
void memory_run(struct consumer *c);
void memory_task_ended(struct consumer *c);

/* --- consumer_sweep.c --- */

void sweep_init(struct consumer *c);
void sweep_done(struct consumer *c);

/** Which files there are of the dead; what they show is compared after this. */
void sweep_list(struct consumer *c);
/** Payment and attempt of all that they show are in the ledger. */
void sweep_compared(struct consumer *c);

/* --- consumer_orphan.c --- */

/** What a recorder has noted, as an event. */
void mark_answer(struct flow_event *e, const struct recorder_mark *mark);

void consumer_orphans(void *arg, const struct dead_worker *dead,
                      const struct payment *rows, size_t n);

#endif
