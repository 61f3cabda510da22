/*
 * A relay in front of the mock cluster: clients connect to it, it passes bytes
 * on both ways, and every batch that they want to write passes its gate first.
 * In the answers that name brokers it puts its own port, so that clients come
 * to it and not to the mock.
 */
#ifndef FOLENI_TOOLS_RELAY_H
#define FOLENI_TOOLS_RELAY_H

#include "common/base.h"
#include "common/err.h"
#include "common/loop.h"
#include "tools/frame.h"

struct relay;

/**
 * Listens on a free port of 127.0.0.1, for a mock broker on @p mock_port there.
 *
 * @param admit  Asked for every batch; see frame_admit().
 */
MUST_CHECK enum err_code relay_new(struct loop *loop, int mock_port,
                                   frame_admit_fn admit, void *arg,
                                   struct relay **ret, struct err *err);
void relay_free(struct relay *relay);

int relay_port(const struct relay *relay);

#endif
