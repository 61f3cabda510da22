/*
 * Whose turn it is, when more payments wait for a push than may go: pure
 * arithmetic with the dice given. High first by weight, each with a floor;
 * within a priority every shortcode alike, within a shortcode every client.
 * What somebody does not use, others get.
 */
#ifndef FOLENI_CONSUMER_SHARE_H
#define FOLENI_CONSUMER_SHARE_H

#include <stddef.h>
#include <stdint.h>

#include "common/id.h"
#include "common/payment.h"

/** Shares of the priorities. Low keeps 1/13, which is more than the 5 % that it
 *  is promised. */
extern const size_t share_weights[PRIORITIES_N];

/** Payments of one client to one shortcode that wait for a push. */
struct lane {
    enum priority priority;
    int64_t shortcode;
    struct uuid client;
    size_t due;  /* whose time has come, as far as they were counted */
    size_t take; /* of them now: share_out() says it                 */
};

/** Pushes that a shortcode may have now. */
struct line_credit {
    int64_t shortcode;
    size_t credit; /* share_out() takes off what it gives */
};

/** What is owed to each priority from one time to the next; zero to begin. */
struct shares {
    int64_t owed[PRIORITIES_N];
};

/**
 * Gives @p places pushes to @p lanes (sorted by priority and shortcode; each
 * lane once), never more than are due in a lane or than its line has credit
 * for. A lane whose shortcode is not among @p lines gets none.
 *
 * @param dice  Who begins, within priority and shortcode.
 * @return      How many were given: less than @p places when no more are due.
 */
size_t share_out(struct shares *shares, struct lane *lanes, size_t n,
                 struct line_credit *lines, size_t lines_n, size_t places,
                 uint32_t dice);

#endif
