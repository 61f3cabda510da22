/*
 * The API: rooms made and joined. A handler reads what came, asks what is known
 * of it, publishes, and answers when Kafka has it for good.
 */
#ifndef FOLENI_PRODUCER_PRODUCER_H
#define FOLENI_PRODUCER_PRODUCER_H

#include "common/app.h"
#include "common/err.h"

struct producer;

/** What app_new() needs to know of foleni-api. */
extern const struct app_spec producer_app;

/**
 * Makes all rooms and opens both listeners. Kafka and Postgres may be away:
 * requests then get 503, and it goes on when they are back.
 */
MUST_CHECK enum err_code producer_new(struct app *app, struct producer **ret,
                                      struct err *err);
void producer_free(struct producer *p);
DEFINE_CLEANUP(producer_free, struct producer *)

/** Runs until a signal: accepts no more connections, answers what is open. */
int producer_run(struct producer *p);

#endif
