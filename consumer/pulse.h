/*
 * The life of this worker and the death of others. On a connection of its own
 * (a lock wait elsewhere cannot fake a death) it registers the incarnation,
 * beats every worker.heartbeat_ms, and looks for incarnations whose heartbeat
 * is older than worker.heartbeat_dead_ms (rule S6; after a restart of Postgres
 * everyone has that time anew). What it finds it hands to the driver; it
 * changes no payment itself.
 *
 * On each connection it looks first whose memory answers (rule S2). Where that
 * is another one, commits may be lost: this worker's term of trust ends, and
 * pulse_quiet() says when everybody's has.
 */
#ifndef FOLENI_CONSUMER_PULSE_H
#define FOLENI_CONSUMER_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/loop.h"
#include "common/payment.h"

struct pulse;

/** A worker incarnation that is dead and has not been settled. */
struct dead_worker {
    int64_t incarnation;
    char host[65], boot[40], recorder[1025];
    bool here;      /* on this host and this boot: its recorder may tell      */
    bool forgotten; /* dead for payments.unresolved_after_ms: no process of
                       its host came to read its recorder                */
};

struct pulse_spec {
    const char *recorder; /* path of this incarnation's file, "" = none */
    /** Registered: from now on claims are of this incarnation. */
    void (*on_born)(void *arg, int64_t incarnation);
    /**
     * A dead worker's payments in `sending`, and when it was here those in
     * `unknown` and `unresolved` that it still owns; at most worker.batch_max
     * of them. @p n 0 = nothing of it is left.
     */
    void (*on_orphans)(void *arg, const struct dead_worker *dead,
                       const struct payment *rows, size_t n);
    /** A beat sent at @p sent_us (boot clock) was written at @p db_at. */
    void (*on_clock)(void *arg, int64_t sent_us, int64_t db_at);
    /** The database's clock as it is believed; 0 = in doubt: nobody is looked
     *  for, since a step of that clock makes the living look dead. */
    int64_t (*db_now)(void *arg);
    /** Others declared this incarnation dead and settled its rows: end. */
    void (*on_declared_dead)(void *arg);
    void *arg;
};

struct pulse *pulse_new(struct loop *loop, const struct config *cfg,
                        const struct pulse_spec *spec);
void pulse_free(struct pulse *pulse);

/** Whether the last confirmed heartbeat is younger than trust (rule S7). */
bool pulse_trusted(const struct pulse *pulse);

/**
 * The present term of trust; it ends for good when the heartbeat was not fresh
 * for a moment, however soon it is again. Others may have declared this worker
 * dead meanwhile, so what was promised in one term is void in the next.
 */
unsigned pulse_term(const struct pulse *pulse);

/** LEDGER_NAME of the Postgres that hears our beats; "" until it is known. */
const char *pulse_ledger(const struct pulse *pulse);

/**
 * Whether no worker may send what it claimed of the memory before this one.
 * The one before had died when anybody first saw this one, and confirms no beat
 * since; a worker that is confirmed here has given its claims up. So they are
 * over worker.heartbeat_trust_ms after that first sight, if that is the same
 * for all workers.
 */
bool pulse_quiet(const struct pulse *pulse);

/** 0 until registered. */
int64_t pulse_incarnation(const struct pulse *pulse);

/** Looks for orphans now: a dead worker's recorder was found on this host. */
void pulse_look(struct pulse *pulse);

/** Says that nothing of @p incarnation is open: it is not looked at again. */
void pulse_settled(struct pulse *pulse, int64_t incarnation);

#define PULSE_RECORDERS_MAX 4096

/**
 * Asks which recorders incarnations that are not settled have registered, on
 * whatever host. @p done runs once, with paths that are good until it returns;
 * NULL: there was no answer, or there are more than PULSE_RECORDERS_MAX.
 */
void pulse_recorders(struct pulse *pulse,
                     void (*done)(void *arg, const char *const *paths,
                                  size_t n),
                     void *arg);

/** Ends this incarnation: all its rows are settled. Beats no more. */
void pulse_leave(struct pulse *pulse, void (*done)(void *arg), void *arg);

#endif
