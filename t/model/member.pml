/*
 * A pool's member, as shm/member.c merges its states, every interleaving.
 *
 * Processes 0 to NP - 1 take the member if it is to be had, as the one probe
 * if it is half open, and bring an answer some time later: COOL for one tick
 * of the clock or two, EXHAUSTED, well, or none; ROUNDS times.  With ERRORS,
 * instead of EXHAUSTED, errors: so many in a row open the breaker, one of a
 * probe at once.  With CUTS what was well may end in an error.  With GUESS, too, COOL for three ticks that nobody asks for,
 * the breaker's being such a guess as well, and early tries, one after another:
 * how often is for the pool to say.  An operator cools, disables, enables, in
 * any order, OPS times.  The clock goes to CLOCK at any time; everybody reads
 * it when an answer has come, and may be stopped for as long as one likes
 * before the answer is judged.  DEATHS tries never bring one.  HALF: the member
 * is half open at first.  With FORGETS the places of who has died are taken
 * back, so often, at any time: a probe, or an early try, that nobody who has a
 * place can be out with is given back.
 *
 * A word is W(state, probe, guess, serial, since, until).  Levels and reasons
 * change nothing of what wins, and EXHAUSTED is here a cooldown that ends half
 * open.  Strikes are a row as errors are, of which DISABLED is the end.
 *
 * Claim: nobody takes the member before the latest deadline that a failure
 * has asked for, but for what the operator does; nor before that of a guess,
 * but by an early try, or after one that was told another; a success that
 * began before a failure was seen ends nothing of it; of the probes that
 * nothing has ended one is out at a time, and another's result does not count
 * for it, nor for an early try that is over; DISABLED is left by the operator
 * alone; a row of errors is never left full.
 *
 * Planted bugs: FIRST_WINS and SHORTER keep or take the wrong deadline, EARLY
 * lets a success end what is not over, BEFORE and SAME one that began before,
 * or within the same tick, NO_SERIAL takes any probe for one's own, REPEATS
 * numbers all probes alike, STORE sends a probe without a compare, NO_STICK
 * lets a failure replace DISABLED, BLIND writes a success without a compare,
 * UNCLEARED leaves a row as it is when the breaker opens.  Of early tries:
 * EARLY_ALL tries any rest, UNDER, ABOVE and AGAIN do not heed what is asked
 * for while a guess stands, before it, or before the guess after it,
 * EARLY_STORE tries without a compare, EARLY_ANY takes any for one's own.  Of
 * places: FORGET_ANY does not look at them, FORGET_FIRST looks before it reads
 * the word, PLACE_LATE takes one after the probe.
 */

#ifndef NP
#define NP 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CLOCK
#define CLOCK 2
#endif
#ifndef OPS
#define OPS 0
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef FORGETS
#define FORGETS 0
#endif

#define HEALTHY   0
#define RESTING   1
#define PROBING   2
#define DISABLED  3

#define W(st, p, g, n, s, u)                                                  \
    ((st) + 4 * (p) + 8 * (n) + 64 * (s) + 1024 * (u) + 16384 * (g))
#define state(v)   ((v) & 3)
#define probe(v)   (((v) >> 2) & 1)
#define serial(v)  (((v) >> 3) & 7)
#define since(v)   (((v) >> 6) & 15)
#define until(v)   (((v) >> 10) & 15)
#define guess(v)   (((v) >> 14) & 1)

#ifdef REPEATS
#define NUMBER 1
#else
#define NUMBER (1 + probes % 7)
#endif

short word;
byte now, probes, row, last;
bit cuts;               /* in the row                                        */
byte done, dead;
byte places, dying;     /* who has a place, and who of them has died         */
byte dead_ones;

/* what the claims speak of */

byte deadline;          /* the latest that is asked for                      */
byte guessed;           /* ... and that nobody has                           */
byte early;             /* whose early try would count                       */
byte out, expires;      /* whose probe, and until when                       */
byte trying;            /* who is out on a try: a bit each                   */
byte before[NP];        /* who was so when I saw my failure...               */
byte missed;            /* ... and when that was seen which the word is of   */

inline set(v)
{
    assert(state(word) != DISABLED);
    word = v;
    early = 0
}

#ifdef NO_SERIAL
#define OWN(v)       (n != 0 && state(v) == PROBING)
#else
#define OWN(v)       (n != 0 && state(v) == PROBING && serial(v) == n)
#endif

#ifdef EARLY_ANY
#define OWN_EARLY(v) (n != 0 && state(v) == RESTING && serial(v) != 0)
#else
#define OWN_EARLY(v) (n != 0 && state(v) == RESTING && serial(v) == n)
#endif

#ifdef NO_STICK
#define STICKS(v)  false
#else
#define STICKS(v)  (state(v) == DISABLED)
#endif

#define RESTS(v)     (state(v) == RESTING && until(v) > t)

#ifdef EARLY_ALL
#define GUESSED(v)   RESTS(v)
#else
#define GUESSED(v)   (RESTS(v) && guess(v) == 1 && since(v) < t)
#endif

#if defined(FIRST_WINS)
#define STAYS(v, u)  RESTS(v)
#elif defined(SHORTER)
#define STAYS(v, u)  (RESTS(v) && u > until(v))
#else
#define STAYS(v, u)  (RESTS(v) && u <= until(v))
#endif

#if defined(BEFORE)
#define AFTER(v)     true
#elif defined(SAME)
#define AFTER(v)     (since(v) <= began)
#else
#define AFTER(v)     (since(v) < began)
#endif

#ifdef EARLY
#define OVER(v)      true
#else
#define OVER(v)      (until(v) <= t)
#endif

#define ENDS(v)      (state(v) == RESTING && !probe(v) && OVER(v) && AFTER(v))

/* a failure asks for it, or guesses, whoever has brought more before */

inline ask(u)
{
    if
    :: g && u > guessed -> guessed = u
    :: !g && u > deadline -> deadline = u
    :: else
    fi
}

/*
 * sluice_member_worse: rest for h, half open afterwards if f, a guess if g.
 * What stays is decided by what was seen, when it was seen.
 */

inline stays()
{
    if
#ifndef UNDER
    :: !g && guess(old) && t + h > since(old) ->
        new = W(RESTING, probe(old), 1, 0, (t + h), until(old))
#endif
    :: else ->
        if
        :: OWN_EARLY(old) ->
            new = W(RESTING, probe(old), guess(old), 0, since(old), until(old))
        :: else -> new = old
        fi
    fi
}

inline look()
{
    d_step {
        old = word;
        new = old;
        if
        :: STICKS(old) -> ok = 1
        :: !STICKS(old) && STAYS(old, t + h) && (g || !OWN_EARLY(old)) ->
            stays();
            if
            :: new == old -> ask(t + h); ok = 1
            :: else
            fi
        :: else ->
            asked = t;
            if
#ifndef ABOVE
            :: g && RESTS(old) && !guess(old) -> asked = until(old)
#endif
#ifndef AGAIN
            :: g && RESTS(old) && guess(old) == 1 && since(old) > t ->
                asked = since(old)
#endif
            :: else
            fi;
            new = W(RESTING, (probe(old) | f), g, 0, asked, (t + h));
            asked = 0
        fi
    }
}

inline fail()
{
    look();
    do
    :: ok -> break
    :: !ok && word != old -> look()
    :: d_step { !ok && word == old ->
                if
                :: state(old) == PROBING -> out = 0
                :: else
                fi;
                if
                :: OWN_EARLY(old) && !g -> guessed = 0
                :: else
                fi;
                set(new);
                ask(t + h);
                missed = before[me];
                new = 0;
                ok = 1 }
    od
}

/* sluice_member_well */

inline well()
{
    old = word;
    do
    :: !OWN(old) && !OWN_EARLY(old) && !ENDS(old) -> break
#ifdef BLIND
    :: atomic { (OWN(old) || OWN_EARLY(old) || ENDS(old)) ->
#else
    :: atomic { (OWN(old) || OWN_EARLY(old) || ENDS(old)) && word != old ->
                old = word }
    :: atomic { (OWN(old) || OWN_EARLY(old) || ENDS(old)) && word == old ->
#endif
                if
                :: state(old) == PROBING -> assert(out == me + 1); out = 0
                :: else -> assert(!((missed >> me) & 1))
                fi;
                assert(!OWN_EARLY(old) || early == me + 1);
                set(0);
                missed = 0;
                guessed = 0;
                break }
    od;
#ifdef ERRORS
    atomic {
        if
        :: began >= last && !cuts -> row = 0; last = 0
        :: else
        fi
    }
#endif
}

/* sluice_member_forgo */

inline give_back()
{
    old = word;
    do
    :: !OWN(old) && !OWN_EARLY(old) -> break
    :: atomic { (OWN(old) || OWN_EARLY(old)) && word != old -> old = word }
    :: atomic { OWN(old) && word == old ->
                assert(out == me + 1);
                set(W(RESTING, 1, 0, 0, since(old), since(old)));
                out = 0;
                break }
    :: atomic { OWN_EARLY(old) && word == old ->
                assert(early == me + 1);
                set(W(RESTING, probe(old), guess(old), 0, since(old),
                      until(old)));
                break }
    od
}

proctype user(byte me)
{
    byte t, began, n, h, k, count, asked, round;
    short old, new;
    bit ok, f, g, cut;

    /* the clock is read, then the word: what it says may have changed */

again:
    atomic {
        t = now;
        began = now;
        trying = trying | (1 << me);
#ifndef PLACE_LATE
        places = places | (1 << me);
#endif
        missed = missed & ~(1 << me);
        do
        :: k < NP -> before[k] = before[k] & ~(1 << me); k++
        :: else -> break
        od;
        k = 0
    };

    atomic {
        old = word;
        if
        :: GUESSED(old) -> goto sooner
        :: (state(old) == DISABLED
            || (state(old) != HEALTHY && until(old) > t)) -> goto next
        :: else -> assert(now >= deadline && now >= guessed)
        fi;
        if
        :: state(old) == PROBING || (state(old) == RESTING && probe(old))
        :: else -> goto answer
        fi
    };

    /* sluice_member_probe */

    atomic {
        probes++;
        if
#ifdef STORE
        :: true ->
#else
        :: word == old ->
#endif
            n = NUMBER;
            assert(out == 0 || expires <= t);
            set(W(PROBING, 1, 0, n, t, (t + 1)));
            out = me + 1;
            expires = t + 1
        :: else -> goto next
        fi
    };
    goto answer;

    /* sluice_member_early: it goes out with the word as it is, not before */

sooner:
    atomic {
        if
        :: true -> goto next
        :: true -> probes++
        fi
    };
    atomic {
        if
#ifdef EARLY_STORE
        :: true ->
#else
        :: word == old ->
#endif
            n = NUMBER;
            assert(t >= deadline);
            set(W(RESTING, probe(old), guess(old), n, t, until(old)));
            early = me + 1;
            missed = missed & ~(1 << me)
        :: else -> goto next
        fi
    };

answer:
#ifdef PLACE_LATE
    places = places | (1 << me);
#endif
    atomic {
        old = 0;
        t = now;
        before[me] = trying & ~(1 << me);
        if
        :: dead < DEATHS ->
            dead++;
            dying = dying | (1 << me);
            dead_ones = dead_ones | (1 << me);
            before[me] = 0;
            goto gone
        :: h = 1; goto failed
        :: h = 2; goto failed
#ifdef GUESS
        :: h = 3; g = 1; goto failed
#endif
        :: goto worked
        :: n != 0 -> goto silent
#ifdef ERRORS
        :: goto error
#else
        :: h = 2; f = 1; goto failed
#endif
        fi
    };

failed:
    fail();
    goto next;

worked:
    well();
#ifdef CUTS
    atomic {
        if
        :: cut = 1;
            t = now;
            before[me] = trying & ~(1 << me);
            goto error
        :: cuts -> cuts = 0; row = 0; last = 0
        :: else
        fi
    };
#endif
    goto next;

silent:
    give_back();
    goto next;

    /* sluice_member_error */

error:
    atomic {
        row++;
        count = row;
        cuts = cuts | cut;
        if
        :: t > last -> last = t
        :: else
        fi
    };
    atomic {
        h = 1;
        f = 1;
#ifdef GUESS
        g = 1;
#endif
        if
#ifdef ERRORS
        :: count >= ERRORS || OWN(word) || (cut && n != 0)
#endif
        :: else -> g = 0; goto silent
        fi
    };
    fail();
#ifndef UNCLEARED
    atomic {
        if
        :: row == count -> row = 0; last = 0; cuts = 0
        :: else
        fi
    };
#endif

next:
    atomic {
        trying = trying & ~(1 << me);
        places = places & ~(1 << me);
        before[me] = 0;
        old = 0; new = 0; n = 0; t = 0; began = 0; ok = 0; h = 0; f = 0;
        g = 0;
        cut = 0;
        count = 0;
        round++;
        if
        :: round < ROUNDS -> goto again
        :: else
        fi
    };

gone:
    done++
}

#if FORGETS

/* sluice_pool_forget_one: columns are added up one by one */

inline add_up()
{
    k = 0;
    sum = 0;
    do
    :: k < NP -> sum = sum + ((places >> k) & 1); k++
    :: else -> break
    od
}

proctype forgetful()
{
    byte n, k, sum, times;
    short old;

end_idle:
    do
    :: atomic { times < FORGETS && dying != 0 ->
                places = places & ~dying;
                dying = 0;
                times++ };

#ifdef FORGET_FIRST
        add_up();
#endif
        atomic {
            old = word;
            n = serial(old)
        };
#ifdef FORGET_ANY
        sum = 0;
#endif
#if !defined(FORGET_FIRST) && !defined(FORGET_ANY)
        add_up();
#endif

        /* sluice_member_forgo, of that number */

        if
        :: sum == 0 && n != 0 ->
            old = word;
            do
            :: !OWN(old) && !OWN_EARLY(old) -> break
            :: atomic { (OWN(old) || OWN_EARLY(old)) && word != old ->
                        old = word }
            :: atomic { OWN(old) && word == old ->
                        assert((dead_ones >> (out - 1)) & 1);
                        set(W(RESTING, 1, 0, 0, since(old), since(old)));
                        out = 0;
                        break }
            :: atomic { OWN_EARLY(old) && word == old ->
                        assert((dead_ones >> (early - 1)) & 1);
                        set(W(RESTING, probe(old), guess(old), 0, since(old),
                              until(old)));
                        break }
            od
        :: else
        fi;
        atomic { n = 0; k = 0; sum = 0; old = 0 }
    :: times == FORGETS -> break
    od
}

#endif

proctype operator()
{
    byte ops;

    do
    :: ops < OPS ->
        ops++;
        if

        /* each is a loop until its compare succeeds: one step in the end */

        :: d_step { word = W(DISABLED, 0, 0, 0, 0, 0); out = 0; early = 0 }
        :: d_step { word = 0; out = 0; early = 0; deadline = 0; guessed = 0;
                    missed = 0;
                    row = 0; last = 0; cuts = 0 }
        :: d_step {
               if
               :: state(word) != DISABLED ->
                   set(W(RESTING, probe(word), 0, 0, now, (now + 1)));
                   out = 0;
                   deadline = now + 1;
                   guessed = 0;
                   missed = trying
               :: else
               fi
           }
        fi
    :: break
    od;
    done++
}

init
{
    byte p;

    atomic {
#ifdef HALF
        word = W(RESTING, 1, 0, 0, 0, 0);
#endif
        do
        :: p < NP -> run user(p); p++
        :: else -> break
        od;
        run operator();
#if FORGETS
        run forgetful()
#endif
    };

    do
    :: d_step { now < CLOCK -> now++ }
    :: done == NP + 1 -> break
    od;

#ifdef ERRORS
    assert(dead != 0 || row < ERRORS)
#endif
}
