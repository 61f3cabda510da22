/*
 * The loop: our turn around libevent's event_base_loop(EVLOOP_ONCE).
 *
 * All timers stand in one heap behind one timerfd on CLOCK_BOOTTIME, which is
 * exact to microseconds (libevent's own timers are as coarse as the kernel's
 * tick) and goes on through a suspend. The timerfd is watched edge-triggered,
 * so it is never read, and set again only when something is due earlier than
 * what it stands at: a timer that was cancelled costs at most one empty turn.
 *
 * Not here: threads, priorities, budgets. A room bounds its own work and says
 * when some is left.
 */
#include "common/loop.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define ROOMS_MAX 16
#define SIGNALS_MAX 8
#define NEVER INT64_MAX

struct room {
    loop_room_fn fn;
    void *arg;
};

struct grave {
    void *ptr;
    void (*fn)(void *ptr);
};

struct on_signal {
    struct event event;
    void (*fn)(void *arg);
    void *arg;
};

struct wake {
    struct list node;
    struct loop_watch *watch;
    int fd;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    struct event_base *base;
    bool stop;
    bool more; /* a room has work left: do not wait */

    bool in_turn;
    bool dispatching_timers;
    int64_t now_us; /* of this turn, 0 = not read yet */

    struct heap timers;
    struct event alarm; /* readable when the timerfd has run out */
    int alarm_fd;
    int64_t alarm_us; /* what the timerfd stands at, or NEVER */

    struct room rooms[ROOMS_MAX];
    size_t rooms_n;
    struct on_signal signals[SIGNALS_MAX];
    size_t signals_n;
    struct list wakes;

    struct grave *graves; /* what is freed after this turn */
    size_t graves_n, graves_cap;
};

struct loop_watch {
    struct event event;
    struct loop *loop;
    int fd;
    int what; /* LOOP_READ, LOOP_WRITE */
    loop_watch_fn fn;
    void *arg;
};

static void turn(struct loop *loop, int64_t until_us);
static bool set_alarm(struct loop *loop, int64_t until_us);
static void alarm_rang(evutil_socket_t fd, short what, void *arg);
static void run_timers(struct loop *loop);
static bool run_rooms(struct loop *loop);
static void reap(struct loop *loop);
static void libevent_said(int severity, const char *text);

struct loop *loop_new(void)
{
    struct loop *loop = NEW(struct loop);
    struct event_config *cfg = event_config_new();

    must(cfg);
    event_set_log_callback(libevent_said);
    /* Edge-triggered events need epoll, whatever the environment says. */
    event_config_require_features(cfg, EV_FEATURE_ET);
    event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV);
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    loop->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    must(loop->base);

    loop->alarm_us = NEVER;
    loop->alarm_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    must(loop->alarm_fd >= 0);
    event_assign(&loop->alarm, loop->base, loop->alarm_fd,
                 EV_READ | EV_ET | EV_PERSIST, alarm_rang, loop);
    must(event_add(&loop->alarm, NULL) == 0);
    list_init(&loop->wakes);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->graves_n > 0)
        reap(loop);
    while (!list_empty(&loop->wakes))
        loop_wake_close(loop,
                        container_of(loop->wakes.next, struct wake, node)->fd);
    for (size_t i = 0; i < loop->signals_n; i++)
        event_del(&loop->signals[i].event);
    event_del(&loop->alarm);
    close(loop->alarm_fd);
    event_base_free(loop->base);
    heap_done(&loop->timers);
    free(loop->graves);
    free(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->stop)
        turn(loop, NEVER);
    loop->stop = false;
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

void loop_once(struct loop *loop, int64_t wait_us)
{
    int64_t now_us = clock_now_us();

    turn(loop, wait_us < NEVER - now_us ? now_us + MAX(wait_us, 0) : NEVER);
}

int64_t loop_now_us(struct loop *loop)
{
    if (!loop->in_turn)
        return clock_now_us();
    if (!loop->now_us)
        loop->now_us = clock_now_us();
    return loop->now_us;
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

/* --- the turn --- */

/* wait (until @p until_us at most) → dispatch → rooms → reap */
static void turn(struct loop *loop, int64_t until_us)
{
    bool wait = !loop->more && set_alarm(loop, until_us);

    loop->in_turn = true;
    loop->now_us = 0;
    must(event_base_loop(loop->base, wait ? EVLOOP_ONCE : EVLOOP_NONBLOCK) >=
         0);
    run_timers(loop);
    loop->more = run_rooms(loop);
    reap(loop);
    loop->in_turn = false;
    metric_add(M_TURNS, 1);
}

/* Sees to it that the wait ends in time; false = something is due now. */
static bool set_alarm(struct loop *loop, int64_t until_us)
{
    const struct heap_node *first = heap_min(&loop->timers);
    int64_t due_us = first ? MIN(first->key, until_us) : until_us;
    int64_t wait_us = due_us - clock_now_us();
    struct itimerspec in = {.it_value = {.tv_sec = wait_us / US_PER_S,
                                         .tv_nsec = wait_us % US_PER_S * 1000}};

    if (wait_us <= 0)
        return false;
    if (due_us >= loop->alarm_us)
        return true;
    must(timerfd_settime(loop->alarm_fd, 0, &in, NULL) == 0);
    loop->alarm_us = due_us;
    return true;
}

static void alarm_rang(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;

    (void)fd;
    (void)what;
    loop->alarm_us = NEVER;
}

static void run_timers(struct loop *loop)
{
    struct heap_node *first = heap_min(&loop->timers);

    loop->dispatching_timers = true;
    while (first && first->key <= loop_now_us(loop)) {
        struct loop_timer *t = container_of(first, struct loop_timer, node);

        heap_remove(&loop->timers, first);
        t->fn(t->arg);
        first = heap_min(&loop->timers);
    }
    loop->dispatching_timers = false;
}

static bool run_rooms(struct loop *loop)
{
    bool more = false;

    for (size_t i = 0; i < loop->rooms_n; i++)
        if (loop->rooms[i].fn(loop->rooms[i].arg))
            more = true;
    return more;
}

/* What the freed defer in their turn waits for the next round. */
static void reap(struct loop *loop)
{
    size_t n = loop->graves_n;

    for (size_t i = 0; i < n; i++) {
        struct grave grave = loop->graves[i];

        grave.fn(grave.ptr);
    }
    loop->graves_n -= n;
    for (size_t i = 0; i < loop->graves_n; i++)
        loop->graves[i] = loop->graves[n + i];
}

void loop_add_room(struct loop *loop, loop_room_fn fn, void *arg)
{
    must(loop->rooms_n < ROOMS_MAX);
    loop->rooms[loop->rooms_n++] = (struct room){fn, arg};
}

void loop_defer_free(struct loop *loop, void *ptr, void (*fn)(void *ptr))
{
    if (loop->graves_n == loop->graves_cap) {
        loop->graves_cap = loop->graves_cap ? 2 * loop->graves_cap : 16;
        loop->graves =
            must_grow(loop->graves, loop->graves_cap, sizeof(loop->graves[0]));
    }
    loop->graves[loop->graves_n++] = (struct grave){ptr, fn};
}

/* --- timers --- */

void timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg)
{
    *t = (struct loop_timer){.fn = fn, .arg = arg};
}

void timer_set(struct loop *loop, struct loop_timer *t, int64_t at_us)
{
    /* Else a timer that sets itself to "now" would hold this turn for ever. */
    if (loop->dispatching_timers)
        at_us = MAX(at_us, loop_now_us(loop) + 1);
    heap_remove(&loop->timers, &t->node);
    heap_add(&loop->timers, &t->node, at_us);
}

void timer_cancel(struct loop *loop, struct loop_timer *t)
{
    heap_remove(&loop->timers, &t->node);
}

bool timer_armed(const struct loop_timer *t)
{
    return t->node.at != 0;
}

/* --- descriptors --- */

/* The watch may be gone when its callback returns. */
static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
    struct loop_watch *w = arg;

    (void)fd;
    w->fn(w->arg, (what & EV_READ ? LOOP_READ : 0) |
                      (what & EV_WRITE ? LOOP_WRITE : 0));
}

static void watch_add(struct loop_watch *w, int what)
{
    short events = (short)(EV_PERSIST | (what & LOOP_READ ? EV_READ : 0) |
                           (what & LOOP_WRITE ? EV_WRITE : 0));

    w->what = what;
    event_assign(&w->event, w->loop->base, w->fd, events, watch_ready, w);
    if (what)
        must(event_add(&w->event, NULL) == 0);
}

struct loop_watch *loop_watch(struct loop *loop, int fd, int what,
                              loop_watch_fn fn, void *arg)
{
    struct loop_watch *w = NEW(struct loop_watch);

    *w = (struct loop_watch){.loop = loop, .fd = fd, .fn = fn, .arg = arg};
    watch_add(w, what);
    return w;
}

void loop_watch_change(struct loop_watch *w, int what)
{
    if (what == w->what)
        return;
    event_del(&w->event);
    watch_add(w, what);
}

void loop_unwatch(struct loop_watch *w)
{
    if (!w)
        return;
    event_del(&w->event);
    free(w);
}

/* --- signals and other threads --- */

static void signal_came(evutil_socket_t signo, short what, void *arg)
{
    const struct on_signal *s = arg;

    (void)signo;
    (void)what;
    s->fn(s->arg);
}

void loop_on_signal(struct loop *loop, int signo, void (*fn)(void *arg),
                    void *arg)
{
    struct on_signal *s = &loop->signals[loop->signals_n];

    must(loop->signals_n < SIGNALS_MAX);
    loop->signals_n++;
    s->fn = fn;
    s->arg = arg;
    event_assign(&s->event, loop->base, signo, EV_SIGNAL | EV_PERSIST,
                 signal_came, s);
    must(event_add(&s->event, NULL) == 0);
}

static void wake_ready(void *arg, int ready)
{
    struct wake *wake = arg;
    uint64_t count;
    ssize_t n;

    (void)ready;
    do /* one read takes the whole count and resets it: eventfd(2) */
        n = read(wake->fd, &count, sizeof(count));
    while (n < 0 && errno == EINTR);
    wake->fn(wake->arg);
}

int loop_wake_fd(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct wake *wake = NEW(struct wake);

    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    must(wake->fd >= 0);
    wake->fn = fn;
    wake->arg = arg;
    wake->watch = loop_watch(loop, wake->fd, LOOP_READ, wake_ready, wake);
    list_append(&loop->wakes, &wake->node);
    return wake->fd;
}

void loop_wake_close(struct loop *loop, int fd)
{
    for (struct list *l = loop->wakes.next; l != &loop->wakes; l = l->next) {
        struct wake *wake = container_of(l, struct wake, node);

        if (wake->fd != fd)
            continue;
        list_remove(&wake->node);
        loop_unwatch(wake->watch);
        close(fd);
        free(wake);
        return;
    }
}

static void libevent_said(int severity, const char *text)
{
    enum log_level level = severity >= EVENT_LOG_WARN ? LOG_WARN : LOG_DEBUG;

    LOG_AT(level, "loop", "libevent", KV("text", text));
}
