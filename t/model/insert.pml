/*
 * Insertion into the limit table as shm/limit.c does it, every interleaving.
 *
 * NP processes charge one key once each in a set of NS slots: they look for
 * the key, choose a slot, put a tentative entry there, look again, make it
 * final.  Another key's process takes and leaves slots meanwhile, and DEATHS
 * of the writers are killed between any two steps.  A slot is
 *
 *     0         free
 *     OTHER     another key's live window: it may be evicted
 *     T(p, q)   tentative, by process p, its q-th attempt: the nonce
 *     F + n     final, n charges
 *
 * A tentative entry may be old enough to be taken at any time: a process may
 * have been stopped for as long as one likes.
 *
 * Claim: the key never stands final in two slots, and each charge that was
 * made is counted once, those of killed processes included.
 *
 * Planted bugs: NO_RESCAN leaves the second look out, EVICTS_OWN lets a
 * process evict its own key, NO_NONCE makes all attempts look alike.
 */

#ifndef NP
#define NP 2
#endif
#ifndef NS
#define NS 2
#endif
#ifndef TRIES
#define TRIES 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

#define OTHER 1
#define F 100
#ifdef NO_NONCE
#define T(p, q) 10
#else
#define T(p, q) (10 + (p) * 10 + (q))
#endif
#define isT(v) ((v) >= 10 && (v) < F)
#define isF(v) ((v) >= F)

byte slot[NS];
byte charged, refused, dead, done;

inline cas(i, old, new, ok)
{
    d_step {
        if
        :: slot[i] == old -> slot[i] = new; ok = 1
        :: else -> ok = 0
        fi
    }
}

inline final(i, old, n, ok)             /* and the charge is made by it */
{
    atomic {
        if
        :: slot[i] == old -> slot[i] = n; ok = 1; charged++
        :: else -> ok = 0
        fi;
        assert(!isF(slot[0]) || !isF(slot[1]));
        assert(NS < 3 || !isF(slot[NS - 1]) || (!isF(slot[0]) && !isF(slot[1])))
    }
}

#define MAY_DIE                                                               \
    if                                                                        \
    :: atomic { dead < DEATHS -> dead++; goto out }                           \
    :: skip                                                                   \
    fi

proctype charger(byte me)
{
    byte k, v, at, seen, mine, q;
    bit ok;

again:
    at = NS;
    d_step { k = 0; v = 0; seen = 0; mine = 0 };
    if
    :: atomic { q == TRIES -> refused++; goto out }
    :: else -> q++
    fi;

    /*
     * sluice_limit_find, and the charge in place.  Whatever its order, it may
     * miss the key: one that goes to where it has been looked for already.
     */

    do
    :: k < NS -> k++
    :: k < NS ->
        v = slot[k];
look:
        if
        :: isF(v) ->
            MAY_DIE;
            final(k, v, v + 1, ok);
            if
            :: ok -> goto out
            :: else -> v = slot[k]; goto look
            fi
        :: else -> k++
        fi
    :: else -> break
    od;

    /* sluice_limit_choose: any slot that may be taken, in any order */

    k = 0;
    do
    :: k < NS ->
        v = slot[k];
        if
#ifndef EVICTS_OWN
        :: isF(v) -> goto again
        :: !isF(v) && v != 0 -> k++
        :: !isF(v) -> at = k; seen = v; k++
#else
        :: v != 0 -> k++
        :: at = k; seen = v; k++
#endif
        fi
    :: else -> break
    od;

    if
    :: at == NS -> goto again
    :: else
    fi;

    mine = T(me, q);
    cas(at, seen, mine, ok);
    if
    :: !ok -> goto again
    :: else
    fi;

    MAY_DIE;

    /* sluice_limit_alone */

#ifndef NO_RESCAN
    k = 0;
    do
    :: k < NS && k == at -> k++
    :: k < NS && k != at ->
        v = slot[k];
        if
        :: isT(v) ->
            cas(k, v, 0, ok);
            if
            :: ok -> k++
            :: else
            fi
        :: isF(v) -> cas(at, mine, 0, ok); goto again
        :: else -> k++
        fi
    :: else -> break
    od;

    MAY_DIE;
#endif

    final(at, mine, F + 1, ok);
    if
    :: ok
    :: else -> goto again
    fi;

out:
    done++
}

/* another key: comes into a free slot or an old tentative one's, goes again */

proctype other()
{
    byte i, v, n;

    do
    :: n < 2 ->
        if
        :: i = 0
        :: i = NS - 1
        fi;
        v = slot[i];
        atomic {
            if
            :: slot[i] == v && (v == 0 || isT(v)) -> slot[i] = OTHER
            :: slot[i] == v && v == OTHER -> slot[i] = 0
            :: else
            fi
        };
        n++;
        v = 0
    :: else -> break
    od
}

init
{
    byte p, sum;

    atomic {
        slot[0] = OTHER;
        p = 0;
        do
        :: p < NP -> run charger(p); p++
        :: else -> break
        od;
        run other()
    };

    done == NP;

    d_step {
        p = 0;
        do
        :: p < NS ->
            if
            :: isF(slot[p]) -> sum = sum + slot[p] - F
            :: else
            fi;
            p++
        :: else -> break
        od
    };

    assert(sum == charged);
    assert(charged + refused <= NP);
    assert(charged + refused + dead >= NP)
}
