/*
 * A lane, its owner, its consumer and what is recorded in the end; every
 * interleaving, the owner killed at any step, the consumer killed and begun
 * anew CRASHES times at any step.
 *
 * The owner takes REQUESTS requests through NE entries and pushes them in any
 * order, or cancels one, as shm/lane.c does it, store by store.  The consumer
 * drains the ring; once the owner's lock is free it takes it, drains again,
 * reads the entries, and unlinks the lane.  Recording is an insert under the
 * request's number: the second one of the same number is nothing new.
 *
 * Claim: a request that was opened and not cancelled is recorded, as final if
 * its push had begun, else as aborted, never as both; one that was not opened
 * or that was cancelled is not; without a consumer's crash each is inserted
 * once; nothing is read from the ring that was not pushed there.
 *
 * Planted bugs: FREED_FIRST frees the entry before the head is published,
 * NO_MARK leaves out the mark, OLD_MARK does not clear it at admission,
 * TAIL_FIRST moves the tail before the insert, ENTRIES_FIRST reads the
 * entries before the ring is drained, NO_RESERVE admits without room.
 */

#ifndef REQUESTS
#define REQUESTS 4
#endif
#ifndef NE
#define NE 2
#endif
#ifndef RING
#define RING 2                          /* records */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

mtype = { NEW, OPEN, MARKED, CANCELLED };

/* the file */
byte ring[RING];
byte head, tail;
byte sequence[NE], mark[NE];
bit final_entry[NE];                    /* the entry's record is sealed */
bit locked = 1;                         /* the owner's lock */

/* the truth, and the database */
mtype state[REQUESTS + 1];
byte inserts[REQUESTS + 1];
bit as_final[REQUESTS + 1], as_aborted[REQUESTS + 1];
byte pushed_at[REQUESTS + 2];           /* by position: what was copied */
byte crashes;
bit over;

/* a step of the owner: here it may be killed */

#define STEP                                                                  \
    if                                                                        \
    :: goto killed                                                            \
    :: skip                                                                   \
    fi

proctype owner()
{
    byte s, e, n, known;

again:
    do
    :: s < REQUESTS && n < NE ->

        /* admit: room for it and for what was promised before */

#ifndef NO_RESERVE
        known = tail;
        if
        :: head - known + n + 1 > RING -> goto again
        :: else
        fi;
#endif
        if
        :: sequence[0] == 0 -> e = 0
        :: NE > 1 && sequence[NE - 1] == 0 -> e = NE - 1
        fi;
        s++;
        n++;
#ifndef OLD_MARK
        mark[e] = 0;
#endif
        final_entry[e] = 0;
        STEP;
        d_step { sequence[e] = s; state[s] = OPEN };
        STEP

    :: n > 0 ->
        if
        :: sequence[0] != 0 -> e = 0
        :: NE > 1 && sequence[NE - 1] != 0 -> e = NE - 1
        fi;

        if
        :: d_step { state[sequence[e]] = CANCELLED; sequence[e] = 0 }; n--

        :: final_entry[e] = 1;
            STEP;
#ifndef NO_MARK
            d_step { mark[e] = head + 1; state[sequence[e]] = MARKED };
#else
            state[sequence[e]] = MARKED;
#endif
            STEP;
            d_step {
                ring[head % RING] = sequence[e];
                pushed_at[head] = sequence[e]
            };
            STEP;
#ifdef FREED_FIRST
            sequence[e] = 0;
            STEP;
            head++;
#else
            head++;
            STEP;
            sequence[e] = 0;
#endif
            n--
        fi;
        STEP

    :: s == REQUESTS && n == 0 -> break
    od;

killed:
    locked = 0
}

inline insert(s, is_final)
{
    d_step {
        inserts[s]++;
        if
        :: !as_final[s] && !as_aborted[s] && is_final -> as_final[s] = 1
        :: !as_final[s] && !as_aborted[s] && !is_final -> as_aborted[s] = 1
        :: else -> assert(as_final[s] == is_final)
        fi
    }
}

#define CRASH                                                                 \
    if                                                                        \
    :: atomic { crashes < CRASHES -> crashes++; goto begin }                  \
    :: skip                                                                   \
    fi

inline drain()
{
    do
    :: position < seen ->
        s = ring[position % RING];
        assert(s == pushed_at[position]);
#ifdef TAIL_FIRST
        tail = position + 1;
        CRASH;
        insert(s, 1);
#else
        insert(s, 1);
        CRASH;
        tail = position + 1;
#endif
        position++;
        CRASH
    :: position == seen ->
        if
        :: head > seen -> seen = head
        :: else -> break
        fi
    od
}

inline entries()
{
    e = 0;
    do
    :: e < NE ->
        d_step { s = sequence[e]; m = mark[e]; f = final_entry[e] };
        if
        :: s != 0 && !(m != 0 && m - 1 < seen) ->
            insert(s, (m != 0));
            assert(m == 0 || f);
            CRASH
        :: else
        fi;
        e++
    :: else -> break
    od
}

proctype consumer()
{
    byte position, seen, s, e, m;
    bit f, mine;

begin:
    skip;
    d_step { position = tail; seen = head; s = 0; e = 0; m = 0; f = 0 };

    do
    :: !mine ->
        drain();
        if
        :: !locked -> mine = 1
        :: head > seen || !locked
        fi
    :: else -> break
    od;

#ifdef ENTRIES_FIRST
    entries();
    drain();
#else
    drain();
    entries();
#endif
    over = 1
}

init
{
    byte s;

    atomic {
        s = 0;
        do
        :: s <= REQUESTS -> state[s] = NEW; s++
        :: else -> break
        od;
        run owner();
        run consumer()
    };

    over && !locked;

    d_step {
        s = 1;
        do
        :: s <= REQUESTS ->
            if
            :: state[s] == NEW || state[s] == CANCELLED ->
                assert(inserts[s] == 0)
            :: state[s] == OPEN -> assert(as_aborted[s] && !as_final[s])
            :: state[s] == MARKED -> assert(as_final[s] && !as_aborted[s])
            fi;
            assert(inserts[s] <= 1 + crashes);
            s++
        :: else -> break
        od
    }
}
