/*
 * Whether the database's clock can be decided by (rule S5). Each answer of the
 * database carries its clock; its advance has to be that of CLOCK_BOOTTIME. A
 * step either way is a doubt: while it lasts nothing is pushed and nothing
 * expires, since a deadline that passed by a step has not passed, and a step of
 * a day would release all that waits at once.
 *
 * A doubt ends when the clock is back where it went on from, for a while, or
 * when a person accepts the new time. Pure: no clock, no memory of its own.
 */
#ifndef FOLENI_CONSUMER_CLOCKWATCH_H
#define FOLENI_CONSUMER_CLOCKWATCH_H

#include <stdbool.h>
#include <stdint.h>

/** All zero at first: the first answer is believed. */
struct clockwatch {
    bool believed, doubted;
    int64_t least_us, most_us; /* database's clock - boot clock lies between */
    int64_t agrees_us;         /* since when it does again, 0 = it does not  */
    int64_t step_us;           /* how far it was off when it was doubted     */
};

/**
 * An answer to what was sent at @p sent_us came at @p came_us (boot clock) and
 * says @p db_at. One that was long on its way proves little, and doubts little.
 *
 * @return Whether it began or ended a doubt.
 */
bool clockwatch_answer(struct clockwatch *w, int64_t sent_us, int64_t came_us,
                       int64_t db_at);

/**
 * A record whose broker appended it at @p append_at was read while the database
 * said @p db_at: it cannot be from the future.
 *
 * @return Whether it is: then there is a doubt.
 */
bool clockwatch_appended(struct clockwatch *w, int64_t append_at,
                         int64_t db_at);

/** A person says that the present time is right: the next answer is believed.
 */
void clockwatch_accept(struct clockwatch *w);

/** The database's clock at @p now_us as it was last believed; 0 = never. */
int64_t clockwatch_db_at(const struct clockwatch *w, int64_t now_us);

#endif
