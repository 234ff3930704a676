/*
 * What is in flight by key, as shm/conn.c does it, every interleaving.
 *
 * Processes 0 to NP - 1 take a place of their key and give it back, ROUNDS
 * times, in a table of NR rows; MAX may be in at once.  The last LS of them
 * want key 1, the others key 0; key 2 is nobody's, but row 0 is its own at
 * first, or key 0's with START=0.  So a row is taken over while others come
 * in, and one key is put in by several at the same time.  DEATHS of them are
 * killed between any two steps; then their columns are zeroed, row by row, at
 * any time later, and what they were let in for no longer counts.
 *
 * A row's word is 0 or W(state, key, nonce).  An unfinished one may be old
 * enough to be taken at any time: its writer may have been stopped for as
 * long as one likes.  What is looked at before only so as not to begin in
 * vain (the sum before the raise) is left out.
 *
 * Claim: never more than MAX of a key are let in and have not given back, a
 * key never stands in two rows, and in the end nothing is counted, and all
 * may come in again.
 *
 * Planted bugs: NO_REREAD does not look at the word after the raise, NO_SUM
 * does not add up after the word says "leaving", SUM_FIRST adds up before the
 * raise, NO_NAME takes the key's name out of the word at once and puts it
 * back if somebody is in it, NO_NONCE makes all attempts look alike,
 * NO_RESCAN leaves the second look out, NO_HELP leaves a key out of the row
 * that it is leaving, NO_LOOK takes an old row that a key is leaving without
 * adding it up.
 */

#ifndef NP
#define NP 3
#endif
#ifndef NR
#define NR 1
#endif
#ifndef LS
#define LS 1
#endif
#ifndef MAX
#define MAX 1
#endif
#ifndef TRIES
#define TRIES 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef START
#define START 2
#endif

#define FINAL     1
#define LEAVING   2
#define TENTATIVE 3

#define W(s, k, n)   ((s) * 256 + (k) * 64 + (n))
#define state(v)     ((v) / 256)
#define key_of(v)    (((v) / 64) % 4)
#define stands(v, k) ((v) != 0 && key_of(v) == (k) && state(v) != TENTATIVE)

#ifdef NO_NONCE
#define NONCE 1
#else
#define NONCE (me * 8 + q)
#endif

short word[NR];
byte col[NR * (NP + 1)];
byte in[3];
byte dead, done, corpse;

inline cas(i, old, new, ok)
{
    d_step {
        if
        :: word[i] == old -> word[i] = new; ok = 1
        :: else -> ok = 0
        fi;
        assert(NR == 1 || word[0] == 0 || key_of(word[0]) != key_of(word[NR - 1])
               || state(word[0]) == TENTATIVE || state(word[NR - 1]) == TENTATIVE
               || word[NR - 1] == 0)
    }
}

inline sum(i, s)
{
    d_step { s = 0; c = 0 };
    do
    :: c <= NP -> atomic { s = s + col[i * (NP + 1) + c]; c++ }
    :: else -> break
    od;
    c = 0
}

#define COL col[at * (NP + 1) + me]

/* those who die let go of nothing */

#define MAY_DIE                                                               \
    if                                                                        \
    :: atomic { me < NP && dead < DEATHS -> dead++; corpse = me + 1;          \
                goto out }                                                    \
    :: skip                                                                   \
    fi

proctype user(byte me, key)
{
    byte k, at, s, c, q, tries, round;
    short v, seen, mine;
    bit ok, got;

again:
    k = 0;
    d_step { v = 0; seen = 0; mine = 0; at = 0; s = 0; ok = 0 };
    if
    :: atomic { tries == TRIES -> goto next }
    :: else -> tries++
    fi;

    /* sluice_conn_find */

    do
    :: k < NR ->
        atomic {
            v = word[k];
            if
#ifdef NO_HELP
            :: v == W(FINAL, key, 0) -> at = k; goto enter
#else
            :: stands(v, key) -> at = k; goto enter
#endif
            :: else -> k++
            fi
        }
    :: else -> break
    od;
    goto insert;

    /* sluice_conn_enter */

enter:
    if
    :: state(v) == LEAVING ->
        cas(at, v, W(FINAL, key, 0), ok);
        if
        :: !ok -> goto again
        :: else
        fi
    :: else
    fi;
    v = 0;

#ifdef SUM_FIRST
    sum(at, s);
    MAY_DIE;
    COL++;
    s++;
#else
    MAY_DIE;
    COL++;
#endif
    MAY_DIE;

#ifndef NO_REREAD
    if
    :: word[at] != W(FINAL, key, 0) -> COL--; goto again
    :: else
    fi;
#endif
    goto decide;

    /* sluice_conn_choose: any row that may be taken */

insert:
    k = 0;
    do
    :: k < NR ->
        atomic {
            v = word[k];
            if
#ifndef NO_HELP
            :: stands(v, key) -> goto again
#endif
            :: else
            fi
        };
        if
        :: v == 0 || state(v) == TENTATIVE || state(v) == FINAL ->
            at = k; seen = v; goto chosen
        :: state(v) == LEAVING ->
#ifndef NO_LOOK
            sum(k, s);
#endif
            if
            :: s == 0 -> at = k; seen = v; goto chosen
            :: else
            fi
        :: k + 1 < NR
        fi;
        k++
    :: else -> goto again
    od;

chosen:
    v = 0;
    d_step { k = 0; s = 0 };

    /* sluice_conn_evict */

    if
    :: state(seen) == FINAL ->
        q++;
#ifdef NO_NAME
        mine = W(TENTATIVE, key, NONCE);
#else
        mine = W(LEAVING, key_of(seen), NONCE);
#endif
        cas(at, seen, mine, ok);
        if
        :: !ok -> goto again
        :: else
        fi;
        MAY_DIE;
#ifndef NO_SUM
        sum(at, s);
        if
        :: s != 0 ->
            cas(at, mine, W(FINAL, key_of(seen), 0), ok);
            goto again
        :: else
        fi;
#endif
        seen = mine
    :: else
    fi;

    q++;
    mine = W(TENTATIVE, key, NONCE);
    cas(at, seen, mine, ok);
    if
    :: !ok -> goto again
    :: else -> seen = 0
    fi;

    MAY_DIE;

    /* sluice_conn_alone */

#ifndef NO_RESCAN
    k = 0;
    do
    :: k < NR && k == at -> k++
    :: k < NR && k != at ->
        v = word[k];
        if
        :: v == 0 || key_of(v) != key -> k++
        :: stands(v, key) -> cas(at, mine, 0, ok); goto again
        :: else ->
            cas(k, v, 0, ok);
            if
            :: ok -> k++
            :: else
            fi
        fi
    :: else -> break
    od;
    k = 0;
    v = 0;
#endif

    MAY_DIE;
    COL++;
    MAY_DIE;
    cas(at, mine, W(FINAL, key, 0), ok);
    if
    :: !ok -> COL--; goto again
    :: else -> mine = 0
    fi;
#ifdef SUM_FIRST
    sum(at, s);
#endif

decide:
    MAY_DIE;
#ifndef SUM_FIRST
    sum(at, s);
#endif
    if
    :: s > MAX -> COL--; goto next
    :: else
    fi;

    /* in: counted for as long as it is, or until its process is dead */

    atomic { s = 0; got = 1; in[key]++; assert(in[key] <= MAX) };
    if
    :: atomic { me < NP && dead < DEATHS -> dead++; corpse = me + 1;
                in[key]--; goto out }
    :: in[key]--
    fi;
    COL--;

next:
    atomic {
        round++;
        if
        :: round < ROUNDS -> tries = 0; goto again
        :: else
        fi
    };

    /* the last ones, of each key: nobody is in, nothing is in the way */

    assert(me < NP || got);

out:
    done++
}

/* the reclaimer, some time after a death */

proctype forget()
{
    byte r;

    do
    :: r < NR -> col[r * (NP + 1) + corpse - 1] = 0; r++
    :: else -> break
    od;
    done++
}

init
{
    byte p;

    atomic {
        word[0] = W(FINAL, START, 0);
        p = 0;
        do
        :: p < NP - LS -> run user(p, 0); p++
        :: p >= NP - LS && p < NP -> run user(p, 1); p++
        :: p == NP -> break
        od
    };

    /* whenever: others are at work still, or not */

    if
    :: corpse != 0 -> run forget()
    :: done == NP && corpse == 0 -> done++
    fi;

    done == NP + 1;

    d_step {
        p = 0;
        do
        :: p < NR * (NP + 1) -> assert(col[p] == 0); p++
        :: else -> break
        od
    };

    run user(NP, 0);
    done == NP + 2;
    run user(NP, 1);
    done == NP + 3
}
