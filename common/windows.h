/*
 * Named moments at which a test may delay, freeze or kill the process: between
 * the claim and its push, between an answer and its commit, and so on. They
 * exist in test builds only (-DFOLENI_WINDOWS); elsewhere WINDOW() is nothing.
 *
 *   FOLENI_WINDOW=claimed:kill:0.05,callback_durable:200
 *   FOLENI_WINDOW=@FILE   the same text, read anew at each moment, so that a
 *                         running process can be told
 *
 * Each part is NAME:WHAT[:PROBABILITY], WHAT one of `kill` (SIGKILL to itself),
 * `stop` (SIGSTOP to itself) or a number of ms to sleep. NAME `*` is every
 * moment. A part that is not understood is as if it were not there. Each kill
 * and stop is said on standard error before it happens.
 */
#ifndef FOLENI_COMMON_WINDOWS_H
#define FOLENI_COMMON_WINDOWS_H

/** The moment @p name has come. Defined in test builds only. */
void window_open(const char *name);

#ifdef FOLENI_WINDOWS
#define WINDOW(name) window_open(#name)
#else
#define WINDOW(name) ((void)0)
#endif

#endif
