/*
 * The little of Kafka's protocol that foleni-broker's relay has to read: where
 * batches stand in a Produce request, and where ports stand in the answers that
 * tell clients whom to connect to. Versions are those that librdkafka's mock
 * cluster speaks (Produce 0-7, Metadata 0-2, FindCoordinator 0-2).
 *
 * A frame is what follows the four bytes of its length.
 */
#ifndef FOLENI_TOOLS_FRAME_H
#define FOLENI_TOOLS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_PRODUCE = 0, FRAME_METADATA = 3, FRAME_COORDINATOR = 10 };

/** The head of a request; its answer has the same correlation id. */
struct frame_head {
    int16_t api;
    int16_t version;
    int32_t correlation;
};

/** @return false when @p frame is too short to be a request. */
bool frame_head_read(const uint8_t *frame, size_t len, struct frame_head *ret);

/** The correlation id of an answer; false when it is too short for one. */
bool frame_correlation(const uint8_t *frame, size_t len, int32_t *ret);

/** Whether a batch of @p bytes may be appended; it then counts as appended. */
typedef bool (*frame_admit_fn)(void *arg, const char *topic, size_t topic_len,
                               int32_t partition, size_t bytes);

/**
 * Asks @p admit for every batch of a Produce request and spoils those that it
 * refuses: their count of records becomes zero, for which the mock cluster
 * answers "invalid message size" and appends nothing.
 *
 * @return false when @p frame is not a whole Produce request.
 */
bool frame_admit(uint8_t *frame, size_t len, frame_admit_fn admit, void *arg);

/**
 * Puts @p port in the place of every broker's port in the answer to @p request
 * (FRAME_METADATA or FRAME_COORDINATOR).
 *
 * @return false when @p frame is not a whole answer of that kind.
 */
bool frame_set_port(uint8_t *frame, size_t len,
                    const struct frame_head *request, int32_t port);

#endif
