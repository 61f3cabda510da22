/*
 * The simulated provider as a whole: listeners, journal, prompts.
 */
#ifndef FOLENI_TESTS_DARAJA_SIM_H
#define FOLENI_TESTS_DARAJA_SIM_H

#include "common/base.h"
#include "common/config.h"
#include "common/err.h"
#include "common/loop.h"

struct sim;

/**
 * Reads the journal back, opens the listeners and goes on with what was open.
 *
 * @return ERR_CONFIG for an address, ERR_IO and ERR_CONFLICT for the journal.
 */
MUST_CHECK enum err_code sim_new(struct loop *loop, const struct config *cfg,
                                 struct sim **ret, struct err *err);

/** Closes everything; the journal is complete. NULL is fine. */
void sim_free(struct sim *sim);
DEFINE_CLEANUP(sim_free, struct sim *)

/** The ports that were bound; -1 when there is no TLS listener. */
int sim_port(const struct sim *sim);
int sim_tls_port(const struct sim *sim);

#endif
