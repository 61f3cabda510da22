/*
 * One HTTP call from the command line, blocking.
 */
#ifndef FOLENI_TOOLS_FETCH_H
#define FOLENI_TOOLS_FETCH_H

#include "common/base.h"
#include "common/buf.h"
#include "common/call.h"
#include "common/config.h"
#include "common/err.h"

/**
 * Makes the call @p req (without `done` and `arg`), within 30 s. @p what goes
 * before what is said of a failure.
 *
 * @param answer  Initialised; gets the answer's body, whatever its status. One
 *                that does not fit into it is none.
 * @return        ERR_UNAVAILABLE, ERR_TIMEOUT: no answer. ERR_INPUT: an answer
 *                other than 200.
 */
MUST_CHECK enum err_code fetch(const struct config *cfg,
                               struct call_request *req, const char *what,
                               struct buf *answer, struct err *err);

#endif
