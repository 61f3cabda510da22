/*
 * The one event loop of a process, over libevent. A turn: wait → dispatch →
 * rooms → reap. Callbacks of descriptors and timers only record; then the rooms
 * run in the order in which they were added and work in batches.
 *
 * One thread. Callbacks never run inside the call that armed them. Memory that
 * a callback may still be standing on goes through loop_defer_free().
 */
#ifndef FOLENI_COMMON_LOOP_H
#define FOLENI_COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/heap.h"
#include "common/list.h"

struct event_base; /* libevent's, for http */
struct loop;
struct loop_watch;

struct loop *loop_new(void);
void loop_free(struct loop *loop);
DEFINE_CLEANUP(loop_free, struct loop *)

/** Turns until loop_stop(). */
void loop_run(struct loop *loop);

/** Ends loop_run() after the present turn. */
void loop_stop(struct loop *loop);

/** One turn that waits at most @p wait_us; for tools and tests. */
void loop_once(struct loop *loop, int64_t wait_us);

/**
 * Boot-time microseconds, read once per turn when somebody first asks; outside
 * a turn the clock itself.
 */
int64_t loop_now_us(struct loop *loop);

struct event_base *loop_base(struct loop *loop);

/* Timers: embedded in their owner, one shot, re-armed by setting again. */
struct loop_timer {
    struct heap_node node;
    void (*fn)(void *arg);
    void *arg;
};

void timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg);

/**
 * Runs t's callback once, at @p at_us (clock_now_us() time) or just after. One
 * that is set while timers run waits for the next turn, even when it is due.
 */
void timer_set(struct loop *loop, struct loop_timer *t, int64_t at_us);
void timer_cancel(struct loop *loop, struct loop_timer *t);
bool timer_armed(const struct loop_timer *t);

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

/** Called with the set of LOOP_READ, LOOP_WRITE that is ready. */
typedef void (*loop_watch_fn)(void *arg, int ready);

/** Watches @p fd (level-triggered); the owner closes it after unwatching. */
MUST_CHECK struct loop_watch *loop_watch(struct loop *loop, int fd, int what,
                                         loop_watch_fn fn, void *arg);

/** LOOP_READ, LOOP_WRITE, both, or 0 to pause. */
void loop_watch_change(struct loop_watch *w, int what);

/** NULL is fine. No callback of @p w comes after this. */
void loop_unwatch(struct loop_watch *w);

/**
 * A room's step, run once per turn after dispatch.
 *
 * @return true when work is left: the next turn then begins without waiting.
 */
typedef bool (*loop_room_fn)(void *arg);

void loop_add_room(struct loop *loop, loop_room_fn fn, void *arg);

/** Runs @p fn on this loop when @p signo arrives. */
void loop_on_signal(struct loop *loop, int signo, void (*fn)(void *arg),
                    void *arg);

/** Calls @p fn(@p ptr) when the present turn, or else the next one, is over. */
void loop_defer_free(struct loop *loop, void *ptr, void (*fn)(void *ptr));

/**
 * An eventfd that wakes the loop: other threads (librdkafka's) write to it.
 * @p fn runs on the loop after it was drained. Ends with loop_wake_close().
 */
int loop_wake_fd(struct loop *loop, void (*fn)(void *arg), void *arg);

/** Closes @p fd of loop_wake_fd() once nobody writes to it any more. */
void loop_wake_close(struct loop *loop, int fd);

#endif
