/*
 * Refunds of shm/limit.c, every interleaving: what was charged to a key is
 * taken back from that very count, or from none.
 *
 * NP processes charge one key in one slot of the table, as in insert.pml, and
 * each takes its charge back.  Another key's process comes into the slot over
 * whatever stands there, also over the key's live count, and leaves it again
 * or stays; a rival for the key takes tentative entries out.  DEATHS of them
 * are killed between any two steps.  A slot is
 *
 *     0         free
 *     T(p, q)   tentative, by process p, its q-th attempt: the nonce
 *     OTHER     another key's live window
 *     F + n     the key, n charges: at first one that nobody takes back
 *
 * `evicted` is the word of the slot's group; `stands` counts the times that
 * the key was put in: a refund must meet the one it was charged to.
 *
 * A window that is over leaves its slot uncounted: of the next one there no
 * count is that of a charge that is still to be taken back.
 *
 * The last look at the word and the compare-and-swap are one step here.  If
 * they are not (GAP), it can go wrong: the key is evicted in between, put in
 * again, and charged to the same counts.  Its count is lost by then anyway.
 *
 * Planted bugs: LATE counts an eviction when the slot has its new key, not
 * before; NO_TAKEN does not count what a tentative entry may have been put
 * over; NO_RIVAL does not where a rival takes it out; MARK_LATE reads the
 * word after the charge.
 */

#ifndef NP
#define NP 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef TRIES
#define TRIES 2
#endif
#ifndef COMES
#define COMES 1                         /* of the other key                  */
#endif

#define OTHER 1
#define F 100
#define T(p, q) (10 + (p) * 10 + (q))
#define isT(v) ((v) >= 10 && (v) < F)
#define isF(v) ((v) >= F)

byte slot, evicted, stands;
byte dead;

inline cas(old, new, ok)
{
    d_step {
        if
        :: slot == old -> slot = new; ok = 1
        :: else -> ok = 0
        fi
    }
}

#define MAY_DIE                                                               \
    if                                                                        \
    :: atomic { dead < DEATHS -> dead++; goto out }                           \
    :: skip                                                                   \
    fi

proctype charger(byte me)
{
    byte v, seen, q, mark, mine;        /* mine: the stand that was charged  */
    bit ok;

again:
    if
    :: atomic { q == TRIES -> goto out }
    :: else -> q++
    fi;

    v = slot;

    if
    :: isF(v) ->

        /* sluice_limit_charge: the key is there */

#ifndef MARK_LATE
        mark = evicted;
#endif
        d_step {
            if
            :: slot == v -> slot = v + 1; mine = stands; ok = 1
            :: else -> ok = 0
            fi
        };
        if
        :: ok
        :: else -> goto again
        fi
#ifdef MARK_LATE
        ;
        mark = evicted
#endif

    :: else ->

        /* sluice_limit_insert */

        d_step { seen = v; v = 0 };
        cas(seen, T(me, q), ok);
        if
        :: ok
        :: else -> goto again
        fi;

        MAY_DIE;

#ifndef NO_TAKEN
        if
        :: seen == OTHER || isT(seen) -> evicted++
        :: else
        fi;
#else
        if
        :: seen == OTHER -> evicted++
        :: else
        fi;
#endif

        MAY_DIE;

        mark = evicted;

        d_step {
            if
            :: slot == T(me, q) ->
                slot = F + 1; stands++; mine = stands; ok = 1
            :: else -> ok = 0
            fi
        };
        if
        :: ok
        :: else -> goto again
        fi
    fi;

    MAY_DIE;

    /* sluice_limit_refund */

    v = slot;

    do
    :: isF(v) ->
#ifdef GAP
        if
        :: evicted != mark -> goto out
        :: else
        fi;
        d_step {
            if
            :: slot == v -> assert(mine == stands); slot = v - 1; ok = 1
            :: else -> v = slot; ok = 0
            fi
        };
#else
        atomic {
            if
            :: evicted != mark -> goto out
            :: else
            fi;
            if
            :: slot == v -> assert(mine == stands); slot = v - 1; ok = 1
            :: else -> v = slot; ok = 0
            fi
        };
#endif
        if
        :: ok -> goto out
        :: else
        fi
    :: else -> break
    od;

out:
    skip
}

/* another key's insertion, and again */

proctype other()
{
    byte seen, q;
    bit ok;

    do
    :: q < COMES ->
        q++;
        seen = slot;

        if
        :: seen == OTHER -> goto next
        :: else
        fi;

        cas(seen, T(NP, q), ok);
        if
        :: ok
        :: else -> goto next
        fi;

        MAY_DIE;

#ifndef LATE
        if
        :: isF(seen) || isT(seen) -> evicted++
        :: else
        fi;

        MAY_DIE;
#endif

        if
        :: cas(T(NP, q), OTHER, ok)
        :: cas(T(NP, q), 0, ok)         /* it stands elsewhere by now        */
        fi;

#ifdef LATE
        if
        :: isF(seen) || isT(seen) -> evicted++
        :: else
        fi;
#endif
next:
        seen = 0
    :: else -> break
    od;

out:
    skip
}

/* sluice_limit_alone of somebody whose own entry is in another slot */

proctype rival()
{
    byte v;
    bit ok;

    v = slot;

    if
    :: isT(v) ->
#ifndef NO_RIVAL
        evicted++;
#endif
        MAY_DIE;
        cas(v, 0, ok)
    :: else
    fi;

out:
    skip
}

init
{
    byte p;

    atomic {
        slot = F + 1;
        do
        :: p < NP -> run charger(p); p++
        :: else -> break
        od;
        run other();
        run rival()
    }
}
