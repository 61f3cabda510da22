/*
 * All letters of payments.dead up to the ends that the topic had when somebody
 * began to look: found by a filter, judged against the ledger (rule S22).
 *
 * Blocking, for the command line. Nothing is committed in Kafka: what became of
 * a letter stands in Postgres.
 */
#ifndef FOLENI_TOOLS_LETTERS_H
#define FOLENI_TOOLS_LETTERS_H

#include "common/config.h"
#include "common/pg.h"
#include "tools/letter.h"

#define LETTERS_MAX \
    5000000 /* in the topic; more is refused: narrow the topic's
                               retention, or raise it here                    */

/** Every partition's offsets, [first, next). */
struct letters_ends {
    char topic[KAFKA_TOPIC_SIZE];
    struct kafka_place *places;
    size_t n;
};

MUST_CHECK enum err_code letters_ends_read(const struct config *cfg,
                                           struct letters_ends *ret,
                                           struct err *err);
void letters_ends_free(struct letters_ends *ends);

/** One letter; false stops the walk. @p record is valid for the call. */
typedef bool (*letter_fn)(void *arg, const struct letter_view *l,
                          const struct kafka_record *record);

/** Walks all letters, partition by partition in the order of their offsets.
 *  @p body: whether values are looked at. Tells of progress on a terminal. */
MUST_CHECK enum err_code letters_walk(const struct config *cfg,
                                      const struct letters_ends *ends,
                                      bool body, letter_fn fn, void *arg,
                                      struct err *err);

/** The letter at exactly that place; ERR_NOT_FOUND when it is not there. */
MUST_CHECK enum err_code letters_one(const struct config *cfg,
                                     struct letter_place place, letter_fn fn,
                                     void *arg, struct err *err);

/** A letter that the filter means. */
struct letter_item {
    struct letter_place place;
    struct uuid payment; /* has_payment: a payment's, else a record's, if it
                            can be read                                      */
    bool has_payment, bodiless;
    int64_t replays, last_at;
    int32_t version; /* of the payment when it was judged                    */
    int32_t shortcode;
    enum letter_disposition disposition;
};

struct letters {
    struct letter_item *items;
    size_t n;
};

/**
 * Finds what @p filter means and judges each: READY, or why it may not run.
 * One place may be asked for instead (@p only, or NULL).
 */
MUST_CHECK enum err_code letters_find(const struct config *cfg,
                                      struct pg_session *session,
                                      const struct letters_ends *ends,
                                      const struct letter_filter *filter,
                                      const struct letter_place *only,
                                      struct letters *ret, struct err *err);
void letters_free(struct letters *letters);

/** How many have each disposition. */
void letters_count(const struct letters *letters, size_t counts[LETTERS_N]);

#endif
