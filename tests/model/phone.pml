/*
 * Two payments of one phone, two workers: who holds the phone, who waits, who
 * is woken. What happens within one payment is payment.pml's; here a push is
 * claimed, goes out, ends or gets lost, and may be taken over.
 *
 * What is checked: the phone shows one prompt at a time; a worker that was
 * frozen shows none when its lease is over (S7, S17); a payment that waits gets
 * the phone or its deadline passes, also when a wake-up is lost.
 */
#define P 2 /* payments */
#define W 2 /* workers */
#define NOBODY W
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef STALLS
#define STALLS 1
#endif

mtype = {
    QUEUED, SENDING, PROMPTED, WAITING, UNKNOWN, UNRESOLVED, ENDED,
    IDLE, LOOKED, READY, SENT,
    NONE, SHOWN, GONE
};

mtype state[P] = QUEUED, screen[P] = NONE; /* what the customer sees */
bool holds[P];  /* holds_phone */
bool again[P];  /* it had its second attempt */
bool due[P];    /* next_action_at has passed */
byte owner[P] = NOBODY;

bool alive[W], lease[W], late[W], current[W];
mtype pc[W] = IDLE;
byte has[W]; /* the payment in hand */

byte crashes = CRASHES, stalls = STALLS;

#define SOMEONE (alive[0] || alive[1])
#define FREE(p) (!holds[1 - p])
#define OVER(p) (state[p] == ENDED || state[p] == UNRESOLVED)

/* wake_sql: one waiter of a phone that became free */
inline wake(p)
{
    due[1 - p] = due[1 - p] || (state[1 - p] == WAITING)
}

inline let_go(p, to)
{
    state[p] = to;
    owner[p] = NOBODY;
    if
    :: holds[p] -> holds[p] = false; wake(p)
    :: else
    fi;
    current[0] = (has[0] == p -> false : current[0]);
    current[1] = (has[1] == p -> false : current[1])
}

inline take(w, p)
{
    assert(FREE(p)); /* payments_phone, the unique index */
    let_go(p, SENDING);
    holds[p] = true;
    owner[p] = w;
    pc[w] = READY;
    has[w] = p;
    lease[w] = true
}

inline rest(w)
{
    pc[w] = IDLE;
    has[w] = 0;
    lease[w] = false;
    current[w] = false
}

proctype Worker(byte w)
{
    byte p;

end:
    do
    :: d_step { /* store_claim(): GO, takes the phone */
        alive[w] && pc[w] == IDLE && state[0] == QUEUED && FREE(0) ->
            take(w, 0) }
    :: d_step { /* store_claim(): GO, takes the phone */
        alive[w] && pc[w] == IDLE && state[1] == QUEUED && FREE(1) ->
            take(w, 1) }
    :: d_step { /* flow_due(): a waiter is looked at */
        alive[w] && pc[w] == IDLE && (due[0] || due[1]) ->
            p = (due[0] -> 0 : 1);
            due[p] = false;
            has[w] = p;
            pc[w] = LOOKED;
            current[w] = true;
            p = 0 }
    :: d_step { /* store_step(): takes the phone */
        alive[w] && pc[w] == LOOKED && current[w] &&
        state[has[w]] == WAITING && FREE(has[w]) ->
            p = has[w]; take(w, p); p = 0 }
    :: d_step { /* flow_phone_busy(): another has it; looked at again later */
        alive[w] && pc[w] == LOOKED && current[w] &&
        state[has[w]] == WAITING && !FREE(has[w]) -> rest(w) }
    :: d_step { /* step_ended(): another version is there */
        alive[w] && pc[w] == LOOKED &&
        !(current[w] && state[has[w]] == WAITING) -> rest(w) }
    :: d_step { /* before_push(): lets go; the prompt is shown */
        alive[w] && pc[w] == READY && lease[w] && !late[w] ->
            assert(screen[1 - has[w]] != SHOWN);
            screen[has[w]] = SHOWN;
            lease[w] = false;
            pc[w] = SENT }
    :: d_step { /* before_push(), flow_not_sent(): refuses */
        alive[w] && pc[w] == READY && !(lease[w] && !late[w]) ->
            p = has[w];
            if
            :: owner[p] == w && !OVER(p) && !again[p] ->
                again[p] = true;
                let_go(p, WAITING);
                due[p] = true
            :: owner[p] == w && !OVER(p) && again[p] -> let_go(p, ENDED)
            :: else
            fi;
            p = 0;
            rest(w) }
    :: d_step { /* flow_answer(): accepted */
        alive[w] && pc[w] == SENT ->
            p = has[w];
            if
            :: owner[p] == w && !OVER(p) ->
                state[p] = PROMPTED;
                owner[p] = NOBODY
            :: else
            fi;
            p = 0;
            rest(w) }
    :: d_step { /* flow_lost() */
        alive[w] && pc[w] == SENT ->
            p = has[w];
            if
            :: owner[p] == w && !OVER(p) ->
                state[p] = UNKNOWN;
                owner[p] = NOBODY
            :: else
            fi;
            p = 0;
            rest(w) }
    od
}

proctype Payment(byte p)
{
end:
    do
    :: d_step { /* store_claim(): WAIT, its phone is taken */
        SOMEONE && state[p] == QUEUED && !FREE(p) ->
            state[p] = WAITING }
    :: d_step { /* flow_callback(): the result; the phone is free */
        SOMEONE && state[p] == PROMPTED && screen[p] == GONE ->
            let_go(p, ENDED) }
    :: d_step { /* due_prompted(): no result in time */
        SOMEONE && state[p] == PROMPTED -> state[p] = UNKNOWN }
    :: d_step { /* flow_orphan() */
        SOMEONE && state[p] == SENDING && owner[p] != NOBODY &&
        late[owner[p]] -> state[p] = UNKNOWN }
    :: d_step { /* due_unknown(): step_hold_ends(), the phone is free */
        SOMEONE && state[p] == UNKNOWN && holds[p] &&
        screen[p] != SHOWN && !lease[0] && !lease[1] ->
            holds[p] = false; wake(p) }
    :: d_step { /* due_unknown(): the window is over */
        SOMEONE && state[p] == UNKNOWN && !holds[p] ->
            let_go(p, UNRESOLVED) }
    :: d_step { /* step_phone_look(): a waiter looks without being woken */
        SOMEONE && state[p] == WAITING && FREE(p) && !due[p] &&
        !(pc[0] == LOOKED && has[0] == p) &&
        !(pc[1] == LOOKED && has[1] == p) ->
            due[p] = true }
    :: d_step { /* expire() */
        SOMEONE && state[p] == WAITING -> due[p] = false; let_go(p, ENDED) }
    :: d_step { /* world: the prompt is answered, or its time is over */
        screen[p] == SHOWN -> screen[p] = GONE }
    od
}

proctype Fate(byte w)
{
end:
    do
    :: d_step { /* world: frozen or cut off; others may think it dead */
        alive[w] && !late[w] && stalls > 0 -> stalls--; late[w] = true }
    :: d_step { /* beaten(): it lives */
        alive[w] && late[w] -> late[w] = false }
    :: d_step { /* world: its lease is over */
        lease[w] -> lease[w] = false }
    :: d_step { /* world: kill -9 */
        alive[w] && alive[1 - w] && crashes > 0 ->
            crashes--; rest(w); alive[w] = false; late[w] = true }
    od
}

proctype Judge()
{
end:
    timeout;
    assert(OVER(0) && OVER(1));
    assert(!holds[0] && !holds[1])
}

init
{
    atomic {
        alive[0] = true;
        alive[1] = true;
        run Worker(0);
        run Worker(1);
        run Payment(0);
        run Payment(1);
        run Fate(0);
        run Fate(1);
        run Judge()
    }
}
