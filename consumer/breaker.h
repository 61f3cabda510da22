/*
 * The words that calls to the provider are judged by.
 */
#ifndef FOLENI_CONSUMER_BREAKER_H
#define FOLENI_CONSUMER_BREAKER_H

/** What a breaker stands before. Numbers stand in Postgres. */
enum operation {
    OPERATION_PUSH,
    OPERATION_QUERY,
    OPERATION_TOKEN,
    OPERATIONS_N
};

/** How a call ended, for its breaker. */
enum outcome {
    OUTCOME_FINE,        /* answered; a customer's "no" is fine too         */
    OUTCOME_FAULT,       /* answer lost, 5xx, what nobody understands       */
    OUTCOME_UNREACHABLE, /* name, connect, TLS: nothing left                */
    OUTCOME_THROTTLED,   /* too fast: a word about the rate, not a fault    */
    OUTCOME_NONE         /* says nothing: it was stopped before it began    */
};

#endif
