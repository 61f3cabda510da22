/*
 * One call to the provider's API from the command line, blocking: a token of
 * its own, then a POST. Daraja may let a new token kill the one that workers
 * have; they fetch another then, which costs a retry and never a second push.
 */
#ifndef FOLENI_TOOLS_DARAJA_H
#define FOLENI_TOOLS_DARAJA_H

#include "common/base.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/err.h"

/** Asks for a token and drops it; as daraja_post(). */
MUST_CHECK enum err_code daraja_token(const struct config *cfg,
                                      const struct shortcode *sc,
                                      struct err *err);

/**
 * POSTs the JSON @p body to @p path of the shortcode's API.
 *
 * @param answer  Initialised; gets the answer's body, whatever its status.
 * @return        ERR_UNAVAILABLE, ERR_TIMEOUT: no answer. ERR_DENIED: no token.
 *                ERR_INPUT: an answer other than 200; its body is there.
 */
MUST_CHECK enum err_code daraja_post(const struct config *cfg,
                                     const struct shortcode *sc,
                                     const char *path, const char *body,
                                     struct buf *answer, struct err *err);

#endif
