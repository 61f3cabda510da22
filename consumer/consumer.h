/*
 * The worker: rooms made and joined. Events go in, actions come out; what
 * happens to a payment is decided in flow.c alone.
 */
#ifndef FOLENI_CONSUMER_CONSUMER_H
#define FOLENI_CONSUMER_CONSUMER_H

#include "common/app.h"
#include "common/err.h"

struct consumer;

/** What app_new() needs to know of foleni-worker. */
extern const struct app_spec consumer_app;

/**
 * Makes all rooms. Kafka, Postgres and Daraja may be away: it stays up, says so
 * on /health, and works when they are there.
 */
MUST_CHECK enum err_code consumer_new(struct app *app, struct consumer **ret,
                                      struct err *err);
void consumer_free(struct consumer *c);
DEFINE_CLEANUP(consumer_free, struct consumer *)

/**
 * Runs until a signal: then takes nothing more, finishes or parks what it has,
 * flushes, commits and leaves the group.
 *
 * @return the exit code: 0 done, 75 when worker.drain_timeout_ms was not enough
 *         or when others had declared this worker dead.
 */
int consumer_run(struct consumer *c);

#endif
