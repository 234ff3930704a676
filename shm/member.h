
/*
 * A pool's member (a key, a proxy): its line in the pool's file, and the
 * state that all workers share.
 *
 * A state is one 16-byte word, {state, reason, status, level, since, until,
 * probe, serial}, and what failed in a row are two others; every transition is
 * one compare-and-swap, so a reload, a restart or a slower writer reverts none.
 * What wins when two meet:
 *
 *   - DISABLED is left by sluice_member_enable() alone;
 *   - of COOLING and EXHAUSTED the later deadline stays;
 *   - any failure ends a probe of somebody else's, whatever its deadline;
 *   - a success changes nothing that was set after its try had begun;
 *   - a probe's own result counts only while the word is still that probe's.
 *
 * COOLING and EXHAUSTED end by themselves at their deadline.  If the word says
 * `probe` (a circuit breaker's, and exhaustion), the member is half open then:
 * one try at a time, over all workers, goes to it, by making it PROBING until
 * a deadline of the probe's own, past which another may try.  Who has been
 * killed with it gives it back, too, if his place tells that it was his
 * (pool.h).
 *
 * COOLING for as long as the upstream has not asked for is a *guess* of ours: a
 * breaker's, and COOL's without a hint.  When nothing else can be had it may be
 * tried before its deadline, but never before what an upstream has asked for
 * meanwhile.  Such an early try keeps the word as it is but for `since` and its
 * number.  Its success makes HEALTHY; its failure is as any, which with a
 * deadline that is earlier changes nothing, but for its own hint: that one
 * replaces the guess.  Any failure that changes the word ends it, and it needs
 * no deadline: of who dies with it the guess remains.
 *
 * t/model/ has all interleavings.
 *
 * Times are monotonic milliseconds (clock.h).  Everything here may be called
 * from any process and thread; nothing locks, every retry is bounded by the
 * number of rivals that have changed the word.
 */

#ifndef SLUICE_MEMBER_H
#define SLUICE_MEMBER_H

#include "cas16.h"
#include "dir.h"
#include "window.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define SLUICE_MEMBER_WINDOWS  4
#define SLUICE_MEMBER_REST_MIN 100u             /* ms: what a hint of no time
                                                   comes to                  */
#define SLUICE_MEMBER_PARTS    1000u            /* that a rest has           */
#define SLUICE_MEMBER_EARLY    1000u            /* ms: no rest is too long
                                                   before that               */
#define SLUICE_NEVER           UINT64_MAX       /* nobody knows when         */


typedef enum {
    SLUICE_MEMBER_HEALTHY = 0,
    SLUICE_MEMBER_COOLING,              /* until a time                      */
    SLUICE_MEMBER_PROBING,              /* one try is out to see, until then */
    SLUICE_MEMBER_EXHAUSTED,            /* of its quota, until a time        */
    SLUICE_MEMBER_DISABLED,             /* until somebody enables it         */
    SLUICE_MEMBER_STATES
} sluice_member_state_t;


/* what an upstream's answer to a try, or its lack, says about the member */
typedef enum {
    SLUICE_ANSWER_WELL = 0,             /* it worked                         */
    SLUICE_ANSWER_CLIENT,               /* the client's error: says nothing  */
    SLUICE_ANSWER_NONE,                 /* the client left, or we ended it   */
    SLUICE_ANSWER_COOL,                 /* 429: too many requests            */
    SLUICE_ANSWER_DENIED,               /* 401, 403: may be revoked          */
    SLUICE_ANSWER_EXHAUSTED,            /* 402, or a quota error in the body */
    SLUICE_ANSWER_ERROR,                /* 5xx, or an answer that is none    */
    SLUICE_ANSWER_TIMEOUT,
    SLUICE_ANSWER_CONNECT,              /* no connection                     */
    SLUICE_ANSWERS
} sluice_answer_t;


typedef enum {
    SLUICE_REASON_NONE = 0,
    SLUICE_REASON_STATUS,               /* the status beside it              */
    SLUICE_REASON_BODY,                 /* what the body said                */
    SLUICE_REASON_ERRORS,               /* the circuit breaker               */
    SLUICE_REASON_OPERATOR,
    SLUICE_REASONS
} sluice_member_reason_t;


/*
 * Failures in a row: {cut:1, count:31, first:48, last:48}, times in ms; 0:
 * none.  Of DENIED the first time is that of the last one that counted, and the
 * last one of the last doubt; with a count of 0 it is nothing but a doubt.
 */
typedef enum {
    SLUICE_ROW_ERRORS = 0,      /* ERROR, TIMEOUT, CONNECT: the breaker's;
                                   cut: some came in the middle of an answer */
    SLUICE_ROW_DENIED,
    SLUICE_ROWS
} sluice_member_row_t;


typedef struct {
    _Alignas(64) sluice_u128_t  state;          /* see member.c              */
    sluice_u128_t               row[SLUICE_ROWS];
    uint64_t                    fingerprint;    /* 0: a free line            */
    uint64_t                    named;          /* when a configuration last
                                                   did: seconds, wall clock  */

    sluice_u128_t               window[SLUICE_MEMBER_WINDOWS];

    uint64_t                    used;           /* tries that were sent      */
    uint64_t                    answers[SLUICE_ANSWERS];
    uint64_t                    probes;         /* numbers given out         */
    uint64_t                    nonce;          /* the same, for windows     */
    uint64_t                    limit[SLUICE_MEMBER_WINDOWS];   /* of whoever
                                                   named it last, to be shown */

    char                        id[SLUICE_NAME_MAX];
    uint8_t                     reserved1[64 - SLUICE_NAME_MAX];
} sluice_member_t;

_Static_assert(sizeof(sluice_member_t) == 320, "member");
_Static_assert(offsetof(sluice_member_t, window) == 64, "member");
_Static_assert(offsetof(sluice_member_t, used) == 128, "member");
_Static_assert(offsetof(sluice_member_t, id) == 256, "member");


/* what a pool does about answers; times in milliseconds */
typedef struct {
    uint64_t  cool;             /* COOL without a hint: the first time, then
                                   twice as long for each repetition         */
    uint64_t  cool_max;         /* at most, and a hint at most               */
    uint32_t  denied;           /* DENIED in a row that disable; 0: never    */
    uint64_t  exhausted;        /* how long, if no hint says; a hint's most  */
    uint32_t  errors;           /* in a row that open the breaker; 0: never,
                                   not by a probe that fails, either         */
    uint64_t  window;           /* ... and within that time                  */
    uint64_t  open;             /* how long it stays open, twice as long for
                                   each probe that failed                    */
    uint64_t  open_max;
    uint64_t  probe;            /* a probe's own deadline                    */
} sluice_member_policy_t;


/* a try, for its answer to be judged by */
typedef struct {
    uint64_t  began;            /* ms, read before it was taken              */
    uint64_t  probe;            /* which one it is; 0: none                  */
} sluice_member_try_t;


/* the word, taken apart: as of one moment; since may be to come if guess */
typedef struct {
    sluice_member_state_t   state;      /* a deadline that is over is kept   */
    sluice_member_reason_t  reason;
    unsigned                status;     /* of the answer; 0: none            */
    unsigned                level;      /* repetitions, for the growth       */
    uint64_t                since;      /* ms                                */
    uint64_t                until;      /* ms, SLUICE_NEVER; HEALTHY: 0      */
    bool                    probe;      /* half open when that is over       */
    bool                    guess;      /* nobody but us has said until when */
} sluice_member_status_t;


/* what nearly every member is nearly always: no clock is needed to tell */
static inline bool
sluice_member_healthy(const sluice_member_t *member)
{
    const uint64_t  *word = (const uint64_t *) &member->state;

    return (__atomic_load_n(word, __ATOMIC_ACQUIRE)
            | __atomic_load_n(word + 1, __ATOMIC_ACQUIRE)) == 0;
}

/*
 * When it may be taken: 0 now; else a time after now, SLUICE_NEVER if nobody
 * knows.  *half: taking it now needs sluice_member_probe().
 */
uint64_t sluice_member_recovery(sluice_member_t *member, uint64_t now,
    bool *half);

/*
 * Makes the caller the one probe of a half-open member, until now + timeout.
 * Returns the probe's number, not 0; or 0: somebody else was first, or the
 * member is not half open any more.
 */
uint64_t sluice_member_probe(sluice_member_t *member, uint64_t now,
    uint64_t timeout);

/*
 * How many parts of SLUICE_MEMBER_PARTS of a rest are over that is a guess,
 * since it began, was last tried early, or might be; 0: it may not be tried,
 * which is so for the first SLUICE_MEMBER_EARLY ms.
 */
unsigned sluice_member_rested(sluice_member_t *member, uint64_t now);

/*
 * Makes the caller's the one early try.  Returns its number, a probe's, or 0:
 * the rest is no guess, or a rival has changed the word.  How often it is done
 * is the caller's to say: another early try ends this one.
 */
uint64_t sluice_member_early(sluice_member_t *member, uint64_t now);

/* whether the early try of that time has not been answered */
bool sluice_member_out(sluice_member_t *member, uint64_t began);

/* the number of the probe, or of the early try, that is out; 0: none is */
uint64_t sluice_member_trying(sluice_member_t *member);

/*
 * Judges an answer.  status: HTTP's, 0 if there was none.  hint: how long the
 * upstream asks to wait, in ms from now, SLUICE_NEVER if it does not say; one
 * below SLUICE_MEMBER_REST_MIN counts as that.  Counts it by its class (but
 * not WELL: what is `used` and not counted was).  Returns the state that this
 * answer has brought about, or -1: none, or the one that was there before a
 * probe that has shown nothing.
 *
 *   WELL          ends its own probe, the guess that it is an early try of, and
 *                 a cooldown that is over if its try began after that; of what
 *                 failed in a row nothing is left that was before it began
 *   CLIENT, NONE  say nothing; one's own probe is given back, and another try
 *                 may be it at once
 *   COOL          cools; repeated if the try began when the last time was over,
 *                 so that many at once are one, and that was no shorter than
 *                 ours: a hint that was kept to is no sign that we wait too
 *                 little
 *   DENIED        a strike, if its try began when the last one was counted
 *   EXHAUSTED     half open when that is over
 *   the others    in a row, and of a probe at once (not of an early try), open
 *                 the breaker: COOLING, half open afterwards
 *
 * Within one millisecond what is counted comes before what begins.
 */
int sluice_member_answer(sluice_member_t *member,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    sluice_answer_t answer, sluice_member_reason_t reason, unsigned status,
    uint64_t hint, uint64_t now);

/*
 * What has been judged by how it began, and was WELL, ends.  cut: too soon, and
 * it is the upstream's doing, ERROR or TIMEOUT: counted in the row of errors,
 * and of a probe, or an early try, it opens the breaker at once.  A row with
 * such outlasts answers that only begin well; whole: one of all ends.
 */
int sluice_member_cut(sluice_member_t *member,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    sluice_answer_t answer, unsigned status, uint64_t now);
void sluice_member_whole(sluice_member_t *member);

/* a load of 16 bytes may be a compare-and-swap: looking must not write */
static inline bool
sluice_member_row_empty(const sluice_member_t *member,
    sluice_member_row_t kind)
{
    const uint64_t  *half = (const uint64_t *) &member->row[kind];

    return (__atomic_load_n(half, __ATOMIC_ACQUIRE)
            | __atomic_load_n(half + 1, __ATOMIC_ACQUIRE)) == 0;
}

/* whether WELL would change nothing, which is so nearly always */
static inline bool
sluice_member_fine(const sluice_member_t *member)
{
    return sluice_member_healthy(member)
           && sluice_member_row_empty(member, SLUICE_ROW_ERRORS)
           && sluice_member_row_empty(member, SLUICE_ROW_DENIED);
}

/*
 * It was denied, and may not be to blame: nothing is counted, but it is
 * doubted, as who was denied for certain is, until a try that begins now or
 * later is answered WELL, or somebody enables it.  doubted: when it was denied
 * last, 0 if it is not doubted, of which row_empty() tells without a write.
 */
void sluice_member_doubt(sluice_member_t *member, uint64_t now);
uint64_t sluice_member_doubted(sluice_member_t *member);

/* a try that will not be: if it was the probe, or an early one, another is */
void sluice_member_forgo(sluice_member_t *member,
    const sluice_member_try_t *try);

/* a try goes out with it: what was taken may be given back without one */
static inline void
sluice_member_use(sluice_member_t *member)
{
    __atomic_fetch_add(&member->used, 1, __ATOMIC_RELAXED);
}

/*
 * The operator's.  cool: a deadline that is earlier than the present one, too;
 * nothing to one that is disabled.  enable: nothing is left of any failure.
 */
void sluice_member_cool(sluice_member_t *member, uint64_t now,
    uint64_t until);
void sluice_member_disable(sluice_member_t *member, uint64_t now);
void sluice_member_enable(sluice_member_t *member);

void sluice_member_status(sluice_u128_t word, sluice_member_status_t *status);

/*
 * What it is at `now`, for display: when a deadline is over HEALTHY, or PROBING
 * if it is half open.
 */
sluice_member_state_t sluice_member_state(
    const sluice_member_status_t *status, uint64_t now);

/* "healthy", "operator", "rate_limited"...; NULL: no such one */
const char *sluice_member_state_name(unsigned state);
const char *sluice_member_reason_name(unsigned reason);
const char *sluice_answer_name(unsigned answer);


/*
 * Windows of a member's own: how many requests, or tokens, its upstream lets
 * it have.  A window stands in one of the line's words, found by what it
 * counts: a reload with another time or scale begins another one.  Live windows
 * are never evicted.
 */
typedef enum {
    SLUICE_COUNTS_REQUESTS = 0,
    SLUICE_COUNTS_TOKENS,
    SLUICE_COUNTS
} sluice_counts_t;

typedef struct {
    sluice_counts_t  counts;
    uint32_t         window;    /* ms, whole seconds, up to 31 days          */
    uint64_t         max;       /* as the operator gave it                   */
    uint32_t         scale;     /* what a unit stands for, so that max is no
                                   more than SLUICE_LIMIT_UNITS_MAX units    */
} sluice_member_limit_t;

/*
 * Sets scale (a power of two) from max; false: max (2^54) or window is too
 * much, or the window is not of whole seconds.
 */
bool sluice_member_limit_init(sluice_member_limit_t *limit);

/* whether the amount fits now; else *retry: ms until it may */
bool sluice_member_fits(sluice_member_t *member,
    const sluice_member_limit_t *limit, uint64_t now, uint64_t amount,
    uint64_t *retry);

/*
 * Charges it if it fits; state is what a refund needs.  false: it does not
 * fit, or every word of the line is in use by live windows of other kinds.
 * The clock is to be read just before: of a caller who is stopped for two
 * windows in between the charge is one to the past.
 */
bool sluice_member_charge(sluice_member_t *member,
    const sluice_member_limit_t *limit, uint64_t now, uint64_t amount,
    sluice_window_t *state, uint64_t *retry);

/* charged was `amount`, used was `actual`: as sluice_limit_settle() */
void sluice_member_settle(sluice_member_t *member,
    const sluice_member_limit_t *limit, const sluice_window_t *state,
    uint64_t now, uint64_t amount, uint64_t actual);

/* notes n of them, SLUICE_MEMBER_WINDOWS at most, for display alone */
void sluice_member_limits(sluice_member_t *member,
    const sluice_member_limit_t *limit, unsigned n);

/*
 * For display: the n-th window of the line, if it is live: what it counts, its
 * length in ms, how much of it is used now, and of how much, in whole units (0:
 * nobody has such a limit any more).  member is a private copy, of which
 * nothing need be true.
 */
bool sluice_member_window(const sluice_member_t *member, unsigned n,
    uint64_t now, sluice_counts_t *counts, uint32_t *window, uint64_t *used,
    uint64_t *limit);


#endif /* SLUICE_MEMBER_H */
