
/*
 * What an answer makes of a member: the state machine of member.h.  Its
 * windows: member_window.c.
 */

#include "member.h"
#include "fault.h"


/*
 * The word, all zero for HEALTHY:
 *
 *   upper   until:44  status:10  level:5  reason:3  probe:1  quota:1
 *   lower   since:44  serial:16  guess:1  state:3
 *
 * An `until` of all ones is SLUICE_NEVER.  A PROBING word has the reason and
 * the level of what the member was before, and `quota` if that was EXHAUSTED;
 * its `since` and serial are the probe's number.  The serial is the member's
 * own count of probes, so two of them look alike only if 65536 are sent in
 * one millisecond.
 *
 * A COOLING word with a serial has an early try out, whose number is the same;
 * it keeps its deadline.  Its `since`, if `guess` is set, is what the rest is
 * reckoned from: when it began, was last tried early, or when what an upstream
 * has asked for is over, a time to come perhaps.
 */
#define SLUICE_WORD_TIME        ((1ull << 44) - 1)
#define SLUICE_WORD_LEVEL       31u
#define SLUICE_WORD_STATUS      1023u
#define SLUICE_WORD_SERIAL      0xffffu

#define SLUICE_ROW_TIME         ((1ull << 48) - 1)
#define SLUICE_ROW_CUT          (1u << 31)      /* of the count              */


typedef struct {
    sluice_member_status_t  s;
    bool                    quota;
    unsigned                serial;
} sluice_member_word_t;


static uint64_t
sluice_member_time(uint64_t ms)
{
    return (ms < SLUICE_WORD_TIME) ? ms : SLUICE_WORD_TIME;
}


/* now + ms, at least a millisecond, and never SLUICE_NEVER unless asked for */

static uint64_t
sluice_member_after(uint64_t now, uint64_t ms)
{
    if (ms == SLUICE_NEVER) {
        return SLUICE_NEVER;
    }

    ms = (ms != 0) ? ms : 1;

    return (now < SLUICE_WORD_TIME - 1 && ms < SLUICE_WORD_TIME - 1 - now)
           ? now + ms : SLUICE_WORD_TIME - 1;
}


static sluice_u128_t
sluice_member_pack(const sluice_member_word_t *w)
{
    uint64_t  upper, lower, until;

    if (w->s.state == SLUICE_MEMBER_HEALTHY) {
        return 0;
    }

    until = sluice_member_time(w->s.until);

    upper = until << 20 | (uint64_t) (w->s.status & SLUICE_WORD_STATUS) << 10
            | w->s.level << 5 | (unsigned) w->s.reason << 2
            | (unsigned) w->s.probe << 1 | (unsigned) w->quota;
    lower = sluice_member_time(w->s.since) << 20
            | (w->serial & SLUICE_WORD_SERIAL) << 4
            | (unsigned) w->s.guess << 3 | (unsigned) w->s.state;

    return (sluice_u128_t) upper << 64 | lower;
}


static void
sluice_member_unpack(sluice_u128_t word, sluice_member_word_t *w)
{
    uint64_t  upper, lower;

    upper = (uint64_t) (word >> 64);
    lower = (uint64_t) word;

    w->s.state = (sluice_member_state_t) (lower & 7);
    w->s.reason = (sluice_member_reason_t) (upper >> 2 & 7);
    w->s.status = (unsigned) (upper >> 10) & SLUICE_WORD_STATUS;
    w->s.level = (unsigned) (upper >> 5) & SLUICE_WORD_LEVEL;
    w->s.since = lower >> 20;
    w->s.until = upper >> 20;
    w->s.probe = (upper >> 1 & 1) != 0;
    w->s.guess = (lower >> 3 & 1) != 0;

    if (w->s.until == SLUICE_WORD_TIME) {
        w->s.until = SLUICE_NEVER;
    }

    w->quota = (upper & 1) != 0;
    w->serial = (unsigned) (lower >> 4) & SLUICE_WORD_SERIAL;
}


void
sluice_member_status(sluice_u128_t word, sluice_member_status_t *status)
{
    sluice_member_word_t  w;

    sluice_member_unpack(word, &w);
    *status = w.s;
}


/* the number of the probe that a PROBING word is of */

static uint64_t
sluice_member_number(const sluice_member_word_t *w)
{
    return w->s.since << 16 | w->serial;
}


/* whether it may be taken, by a probe at least */

static bool
sluice_member_over(const sluice_member_status_t *status, uint64_t now)
{
    switch (status->state) {

    case SLUICE_MEMBER_HEALTHY:
        return true;

    case SLUICE_MEMBER_COOLING:
    case SLUICE_MEMBER_PROBING:
    case SLUICE_MEMBER_EXHAUSTED:
        return status->until <= now;

    default:
        return false;
    }
}


static bool
sluice_member_half(const sluice_member_status_t *status, uint64_t now)
{
    return sluice_member_over(status, now)
           && (status->probe || status->state == SLUICE_MEMBER_PROBING);
}


uint64_t
sluice_member_recovery(sluice_member_t *member, uint64_t now, bool *half)
{
    sluice_member_word_t  w;

    sluice_member_unpack(sluice_load16(&member->state), &w);

    *half = sluice_member_half(&w.s, now);

    if (sluice_member_over(&w.s, now)) {
        return 0;
    }

    switch (w.s.state) {

    case SLUICE_MEMBER_COOLING:
    case SLUICE_MEMBER_PROBING:
    case SLUICE_MEMBER_EXHAUSTED:
        return w.s.until;

    default:
        return SLUICE_NEVER;
    }
}


static unsigned
sluice_member_serial(sluice_member_t *member)
{
    return (unsigned) __atomic_add_fetch(&member->probes, 1, __ATOMIC_RELAXED)
           & SLUICE_WORD_SERIAL;
}


uint64_t
sluice_member_probe(sluice_member_t *member, uint64_t now, uint64_t timeout)
{
    sluice_u128_t         old;
    sluice_member_word_t  w;

    old = sluice_load16(&member->state);
    sluice_member_unpack(old, &w);

    if (!sluice_member_half(&w.s, now)) {
        return 0;
    }

    if (w.s.state != SLUICE_MEMBER_PROBING) {
        w.quota = (w.s.state == SLUICE_MEMBER_EXHAUSTED);
    }

    w.s.state = SLUICE_MEMBER_PROBING;
    w.s.since = sluice_member_time(now);
    w.s.until = sluice_member_after(now, timeout);
    w.s.guess = false;
    w.serial = sluice_member_serial(member);

    /* 0 is no number; only at a time that is no time could it be one */

    if (sluice_member_number(&w) == 0
        || !sluice_cas16(&member->state, &old, sluice_member_pack(&w)))
    {
        return 0;
    }

    sluice_fault("member.probing");

    return sluice_member_number(&w);
}


/* whether it rests, and nobody but us has said until when */

static bool
sluice_member_guessed(const sluice_member_status_t *status, uint64_t now)
{
    return status->state == SLUICE_MEMBER_COOLING && status->guess
           && status->since < now && now < status->until;
}


unsigned
sluice_member_rested(sluice_member_t *member, uint64_t now)
{
    sluice_member_word_t  w;

    sluice_member_unpack(sluice_load16(&member->state), &w);

    if (!sluice_member_guessed(&w.s, now)
        || now - w.s.since < SLUICE_MEMBER_EARLY)
    {
        return 0;
    }

    return (unsigned) ((now - w.s.since) * SLUICE_MEMBER_PARTS
                       / (w.s.until - w.s.since));
}


uint64_t
sluice_member_early(sluice_member_t *member, uint64_t now)
{
    sluice_u128_t         old;
    sluice_member_word_t  w;

    old = sluice_load16(&member->state);
    sluice_member_unpack(old, &w);

    if (!sluice_member_guessed(&w.s, now)) {
        return 0;
    }

    w.s.since = now;
    w.serial = sluice_member_serial(member);

    /* without a serial nobody would be out: one in 65536 is not sent */

    if (w.serial == 0
        || !sluice_cas16(&member->state, &old, sluice_member_pack(&w)))
    {
        return 0;
    }

    sluice_fault("member.early");

    return sluice_member_number(&w);
}


bool
sluice_member_out(sluice_member_t *member, uint64_t began)
{
    sluice_member_word_t  w;

    sluice_member_unpack(sluice_load16(&member->state), &w);

    return w.s.state == SLUICE_MEMBER_COOLING && w.serial != 0
           && w.s.since == began;
}


uint64_t
sluice_member_trying(sluice_member_t *member)
{
    sluice_member_word_t  w;

    sluice_member_unpack(sluice_load16(&member->state), &w);

    return (w.s.state == SLUICE_MEMBER_PROBING
            || (w.s.state == SLUICE_MEMBER_COOLING && w.serial != 0))
           ? sluice_member_number(&w) : 0;
}


static bool
sluice_member_own_early(const sluice_member_word_t *w,
    const sluice_member_try_t *try)
{
    return try->probe != 0 && w->s.state == SLUICE_MEMBER_COOLING
           && sluice_member_number(w) == try->probe;
}


static bool
sluice_member_own(const sluice_member_word_t *w,
    const sluice_member_try_t *try)
{
    return try->probe != 0 && w->s.state == SLUICE_MEMBER_PROBING
           && sluice_member_number(w) == try->probe;
}


/* as before the probe, its time over: as of when the probe began */

static void
sluice_member_return(sluice_member_word_t *w)
{
    w->s.state = w->quota ? SLUICE_MEMBER_EXHAUSTED : SLUICE_MEMBER_COOLING;
    w->s.until = w->s.since;
    w->s.probe = true;
    w->quota = false;
    w->serial = 0;
}


void
sluice_member_forgo(sluice_member_t *member,
    const sluice_member_try_t *try)
{
    sluice_u128_t         old;
    sluice_member_word_t  w;

    if (try->probe == 0) {
        return;
    }

    old = sluice_load16(&member->state);

    do {
        sluice_member_unpack(old, &w);

        if (sluice_member_own(&w, try)) {
            sluice_member_return(&w);

        } else if (sluice_member_own_early(&w, try)) {
            w.serial = 0;

        } else {
            return;
        }

    } while (!sluice_cas16(&member->state, &old, sluice_member_pack(&w)));
}


/* twice as long for each level, and no longer than that */

static uint64_t
sluice_member_grown(uint64_t ms, unsigned level, uint64_t max)
{
    return (ms <= max >> level) ? ms << level : max;
}


/*
 * How often the same has happened: once more if this try began when the last
 * time was over, or was the one that looked whether it still is so.  A shorter
 * time than ours would have been is the upstream's own word, and was kept to:
 * it is no sign that ours is too short.
 */

static unsigned
sluice_member_level(const sluice_member_word_t *w,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    bool breaker, uint64_t now)
{
    bool  same, again;

    same = breaker ? w->s.reason == SLUICE_REASON_ERRORS
                   : w->s.reason != SLUICE_REASON_ERRORS
                     && w->s.reason != SLUICE_REASON_OPERATOR;

    if (!same || w->quota || w->s.state == SLUICE_MEMBER_HEALTHY
        || w->s.state == SLUICE_MEMBER_EXHAUSTED)
    {
        return 0;
    }

    again = (w->s.state == SLUICE_MEMBER_PROBING)
            ? sluice_member_own(w, try)
            : w->s.until <= now && try->began >= w->s.since
              && (w->s.guess
                  || w->s.until - w->s.since
                     >= sluice_member_grown(policy->cool, w->s.level,
                                            policy->cool_max));

    return (again && w->s.level < SLUICE_WORD_LEVEL) ? w->s.level + 1
                                                     : w->s.level;
}


/* what the upstream asks for, within reason */

static uint64_t
sluice_member_hinted(uint64_t hint, uint64_t max)
{
    hint = (hint > SLUICE_MEMBER_REST_MIN) ? hint : SLUICE_MEMBER_REST_MIN;

    return (hint < max) ? hint : max;
}


/*
 * What there is stays, but an early try is over, and a guess is not tried
 * early before `until`, which the upstream has asked for (0: it has not).
 */

static void
sluice_member_stays(sluice_member_word_t *w, const sluice_member_try_t *try,
    uint64_t until)
{
    if (w->s.guess && until > w->s.since) {
        w->s.since = until;
        w->serial = 0;

    } else if (sluice_member_own_early(w, try)) {
        w->serial = 0;
    }
}


/* the word that a failure wants; the state that it brings about, or -1 */

static int
sluice_member_worse(sluice_member_word_t *w,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    sluice_member_state_t state, sluice_member_reason_t reason,
    unsigned status, uint64_t hint, uint64_t now)
{
    bool      breaker, guess, rests;
    unsigned  level;
    uint64_t  ms, until, asked;

    if (w->s.state == SLUICE_MEMBER_DISABLED) {
        return -1;
    }

    rests = (w->s.state == SLUICE_MEMBER_COOLING
             || w->s.state == SLUICE_MEMBER_EXHAUSTED)
            && w->s.until > now;

    breaker = (reason == SLUICE_REASON_ERRORS);
    guess = breaker
            || (state == SLUICE_MEMBER_COOLING && hint == SLUICE_NEVER);
    level = sluice_member_level(w, policy, try, breaker, now);

    if (state == SLUICE_MEMBER_DISABLED) {
        level = 0;
        ms = SLUICE_NEVER;
        rests = false;

    } else if (breaker) {
        ms = sluice_member_grown(policy->open, level, policy->open_max);

    } else if (state == SLUICE_MEMBER_EXHAUSTED) {
        level = 0;
        ms = (hint != SLUICE_NEVER)
             ? sluice_member_hinted(hint, policy->exhausted)
             : policy->exhausted;

    } else if (hint != SLUICE_NEVER) {
        level = 0;
        ms = sluice_member_hinted(hint, policy->cool_max);

    } else {
        ms = sluice_member_grown(policy->cool, level, policy->cool_max);
    }

    until = sluice_member_after(now, ms);

    /* of a guess an early try may learn that it was too long */

    if (rests && until <= w->s.until
        && (guess || !sluice_member_own_early(w, try)))
    {
        sluice_member_stays(w, try, guess ? 0 : until);
        return -1;
    }

    /* who was to be probed is so still: nobody has seen that it works */

    w->s.probe = state == SLUICE_MEMBER_EXHAUSTED
                 || (state == SLUICE_MEMBER_COOLING
                     && (w->s.probe || breaker));

    w->s.state = state;
    w->s.reason = reason;
    w->s.status = status;
    w->s.level = level;

    /* what was asked for counts under a guess that is longer */

    asked = !guess || !rests ? 0 : w->s.guess ? w->s.since : w->s.until;

    w->s.since = (asked > now) ? asked : now;
    w->s.until = until;
    w->s.guess = guess;
    w->quota = false;
    w->serial = 0;

    return state;
}


static int
sluice_member_fail(sluice_member_t *member,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    sluice_member_state_t state, sluice_member_reason_t reason,
    unsigned status, uint64_t hint, uint64_t now)
{
    int                   brought;
    sluice_u128_t         old, new;
    sluice_member_word_t  w;

    old = sluice_load16(&member->state);

    do {
        sluice_member_unpack(old, &w);

        brought = sluice_member_worse(&w, policy, try, state, reason, status,
                                      hint, now);
        new = sluice_member_pack(&w);

    } while (new != old && !sluice_cas16(&member->state, &old, new));

    return brought;
}


static sluice_u128_t
sluice_row_pack(uint32_t count, uint64_t first, uint64_t last)
{
    return (sluice_u128_t) count << 96 | (sluice_u128_t) first << 48 | last;
}


static uint32_t
sluice_row_count(sluice_u128_t row)
{
    return (uint32_t) (row >> 96) & ~SLUICE_ROW_CUT;
}


static uint32_t
sluice_row_cut(sluice_u128_t row)
{
    return (uint32_t) (row >> 96) & SLUICE_ROW_CUT;
}


static uint64_t
sluice_row_first(sluice_u128_t row)
{
    return (uint64_t) (row >> 48) & SLUICE_ROW_TIME;
}


static uint64_t
sluice_row_last(sluice_u128_t row)
{
    return (uint64_t) row & SLUICE_ROW_TIME;
}


/*
 * One more in a row: how many it are then, and in *row what stands there.  A
 * try that began before the last denial was counted is no other one; errors
 * longer ago than the window do not count any more.  When the first of them is
 * that old, the last one is the only other whose time is known, so they may be
 * too few by then, but never too many.  cut: SLUICE_ROW_CUT, or 0; one such
 * makes a row of such.
 */

static uint32_t
sluice_member_count(sluice_member_t *member, sluice_member_row_t kind,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    uint32_t cut, uint64_t now, sluice_u128_t *row)
{
    uint32_t       count, cuts;
    uint64_t       first, last;
    sluice_u128_t  old;

    now = sluice_member_time(now);
    old = sluice_load16(&member->row[kind]);

    do {
        count = sluice_row_count(old);
        first = sluice_row_first(old);
        last = sluice_row_last(old);

        if (kind == SLUICE_ROW_DENIED) {

            if (count != 0 && try->began < first) {
                return 0;
            }

            first = now;

        } else if (now > first && now - first > policy->window) {
            count = (now <= last || now - last <= policy->window);
            first = last;
        }

        cuts = (count != 0) ? cut | sluice_row_cut(old) : cut;

        if (count == 0) {
            first = now;
        }

        last = (now > last) ? now : last;
        count += (count != ~SLUICE_ROW_CUT);

        *row = sluice_row_pack(cuts | count, first, last);

    } while (!sluice_cas16(&member->row[kind], &old, *row));

    return count;
}


/*
 * Nothing is left of what was counted before the try began.  A doubt that came
 * later stays, and keeps no strike alive that came before it.
 */

static void
sluice_member_clear(sluice_member_t *member, sluice_member_row_t kind,
    uint64_t began)
{
    sluice_u128_t  old, new;

    if (sluice_member_row_empty(member, kind)) {
        return;
    }

    old = sluice_load16(&member->row[kind]);

    /* each that was cut has begun as this one: it tells nothing about them */

    while (sluice_row_cut(old) == 0) {

        if (began >= sluice_row_last(old)) {
            new = 0;

        } else if (kind == SLUICE_ROW_DENIED && sluice_row_count(old) != 0
                   && began >= sluice_row_first(old))
        {
            new = sluice_row_pack(0, sluice_row_first(old),
                                  sluice_row_last(old));

        } else {
            break;
        }

        if (sluice_cas16(&member->row[kind], &old, new)) {
            break;
        }
    }
}


void
sluice_member_whole(sluice_member_t *member)
{
    sluice_u128_t  old;

    if (sluice_member_row_empty(member, SLUICE_ROW_ERRORS)) {
        return;
    }

    old = sluice_load16(&member->row[SLUICE_ROW_ERRORS]);

    while (sluice_row_cut(old) != 0
           && !sluice_cas16(&member->row[SLUICE_ROW_ERRORS], &old, 0))
    {
        /* void */
    }
}


static int
sluice_member_well(sluice_member_t *member, const sluice_member_try_t *try,
    uint64_t now)
{
    int                   brought;
    sluice_u128_t         old;
    sluice_member_word_t  w;

    brought = -1;

    if (!sluice_member_healthy(member)) {
        old = sluice_load16(&member->state);

        for ( ;; ) {
            sluice_member_unpack(old, &w);

            if (!sluice_member_own(&w, try)
                && !sluice_member_own_early(&w, try)
                && !(w.s.state == SLUICE_MEMBER_COOLING && !w.s.probe
                     && w.s.until <= now && w.s.since < try->began))
            {
                break;
            }

            if (sluice_cas16(&member->state, &old, 0)) {
                brought = SLUICE_MEMBER_HEALTHY;
                break;
            }
        }
    }

    sluice_member_clear(member, SLUICE_ROW_ERRORS, try->began);
    sluice_member_clear(member, SLUICE_ROW_DENIED, try->began);

    return brought;
}


static int
sluice_member_denied(sluice_member_t *member,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    unsigned status, uint64_t now)
{
    uint32_t       count;
    sluice_u128_t  row;

    if (policy->denied == 0) {
        sluice_member_forgo(member, try);
        return -1;
    }

    count = sluice_member_count(member, SLUICE_ROW_DENIED, policy, try, 0,
                                now, &row);

    sluice_fault("member.denied");

    if (count < policy->denied) {
        sluice_member_forgo(member, try);
        return -1;
    }

    return sluice_member_fail(member, policy, try, SLUICE_MEMBER_DISABLED,
                              SLUICE_REASON_STATUS, status, SLUICE_NEVER, now);
}


void
sluice_member_doubt(sluice_member_t *member, uint64_t now)
{
    uint32_t       count;
    uint64_t       first, last;
    sluice_u128_t  old;

    now = sluice_member_time(now);
    old = sluice_load16(&member->row[SLUICE_ROW_DENIED]);

    do {
        count = sluice_row_count(old);
        first = sluice_row_first(old);
        last = sluice_row_last(old);
        last = (now > last) ? now : last;

    } while (!sluice_cas16(&member->row[SLUICE_ROW_DENIED], &old,
                           sluice_row_pack(count, first, last)));
}


uint64_t
sluice_member_doubted(sluice_member_t *member)
{
    return sluice_row_last(sluice_load16(&member->row[SLUICE_ROW_DENIED]));
}


/*
 * The row is given up only when the state stands: of who is killed in between
 * the next error finds it full.
 */

static int
sluice_member_error(sluice_member_t *member,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    uint32_t cut, unsigned status, uint64_t now)
{
    bool                  probe;
    int                   brought;
    uint32_t              count;
    sluice_u128_t         row;
    sluice_member_word_t  w;

    if (policy->errors == 0) {
        sluice_member_forgo(member, try);
        return -1;
    }

    count = sluice_member_count(member, SLUICE_ROW_ERRORS, policy, try, cut,
                                now, &row);

    sluice_fault("member.counted");

    sluice_member_unpack(sluice_load16(&member->state), &w);

    /* a probe that was cut has ended before, as one that is well */

    probe = cut ? try->probe != 0 : sluice_member_own(&w, try);

    if (count < policy->errors && !probe) {
        sluice_member_forgo(member, try);
        return -1;
    }

    brought = sluice_member_fail(member, policy, try, SLUICE_MEMBER_COOLING,
                                 SLUICE_REASON_ERRORS, status, SLUICE_NEVER,
                                 now);

    (void) sluice_cas16(&member->row[SLUICE_ROW_ERRORS], &row, 0);

    return brought;
}


int
sluice_member_answer(sluice_member_t *member,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    sluice_answer_t answer, sluice_member_reason_t reason, unsigned status,
    uint64_t hint, uint64_t now)
{
    if (answer == SLUICE_ANSWER_WELL) {
        return sluice_member_well(member, try, now);
    }

    __atomic_fetch_add(&member->answers[answer], 1, __ATOMIC_RELAXED);

    switch (answer) {

    case SLUICE_ANSWER_COOL:
        return sluice_member_fail(member, policy, try, SLUICE_MEMBER_COOLING,
                                  reason, status, hint, now);

    case SLUICE_ANSWER_EXHAUSTED:
        return sluice_member_fail(member, policy, try,
                                  SLUICE_MEMBER_EXHAUSTED, reason, status,
                                  hint, now);

    case SLUICE_ANSWER_DENIED:
        return sluice_member_denied(member, policy, try, status, now);

    case SLUICE_ANSWER_ERROR:
    case SLUICE_ANSWER_TIMEOUT:
    case SLUICE_ANSWER_CONNECT:
        return sluice_member_error(member, policy, try, 0, status, now);

    default:
        sluice_member_forgo(member, try);
        return -1;
    }
}


int
sluice_member_cut(sluice_member_t *member,
    const sluice_member_policy_t *policy, const sluice_member_try_t *try,
    sluice_answer_t answer, unsigned status, uint64_t now)
{
    __atomic_fetch_add(&member->answers[answer], 1, __ATOMIC_RELAXED);

    return sluice_member_error(member, policy, try, SLUICE_ROW_CUT, status,
                               now);
}


void
sluice_member_cool(sluice_member_t *member, uint64_t now, uint64_t until)
{
    sluice_u128_t         old;
    sluice_member_word_t  w;

    old = sluice_load16(&member->state);

    do {
        sluice_member_unpack(old, &w);

        if (w.s.state == SLUICE_MEMBER_DISABLED) {
            return;
        }

        w.s.state = SLUICE_MEMBER_COOLING;
        w.s.reason = SLUICE_REASON_OPERATOR;
        w.s.status = 0;
        w.s.level = 0;
        w.s.since = now;
        w.s.until = until;
        w.s.guess = false;
        w.quota = false;
        w.serial = 0;

    } while (!sluice_cas16(&member->state, &old, sluice_member_pack(&w)));
}


void
sluice_member_disable(sluice_member_t *member, uint64_t now)
{
    sluice_u128_t         old;
    sluice_member_word_t  w = {
        .s = {
            .state = SLUICE_MEMBER_DISABLED,
            .reason = SLUICE_REASON_OPERATOR,
            .since = now,
            .until = SLUICE_NEVER
        }
    };

    old = sluice_load16(&member->state);

    while (!sluice_cas16(&member->state, &old, sluice_member_pack(&w))) {
        /* void */
    }
}


void
sluice_member_enable(sluice_member_t *member)
{
    unsigned       i;
    sluice_u128_t  old;

    /* the rows first: a strike in them would disable it again */

    sluice_member_whole(member);

    for (i = 0; i < SLUICE_ROWS; i++) {
        sluice_member_clear(member, (sluice_member_row_t) i, UINT64_MAX);
    }

    old = sluice_load16(&member->state);

    while (!sluice_cas16(&member->state, &old, 0)) {
        /* void */
    }
}


sluice_member_state_t
sluice_member_state(const sluice_member_status_t *status, uint64_t now)
{
    if (!sluice_member_over(status, now)) {
        return status->state;
    }

    return sluice_member_half(status, now) ? SLUICE_MEMBER_PROBING
                                           : SLUICE_MEMBER_HEALTHY;
}


const char *
sluice_member_state_name(unsigned state)
{
    static const char  *names[SLUICE_MEMBER_STATES] = {
        [SLUICE_MEMBER_HEALTHY]   = "healthy",
        [SLUICE_MEMBER_COOLING]   = "cooling",
        [SLUICE_MEMBER_PROBING]   = "probing",
        [SLUICE_MEMBER_EXHAUSTED] = "exhausted",
        [SLUICE_MEMBER_DISABLED]  = "disabled"
    };

    return state < SLUICE_MEMBER_STATES ? names[state] : NULL;
}


const char *
sluice_member_reason_name(unsigned reason)
{
    static const char  *names[SLUICE_REASONS] = {
        [SLUICE_REASON_NONE]     = "none",
        [SLUICE_REASON_STATUS]   = "status",
        [SLUICE_REASON_BODY]     = "body",
        [SLUICE_REASON_ERRORS]   = "errors",
        [SLUICE_REASON_OPERATOR] = "operator"
    };

    return reason < SLUICE_REASONS ? names[reason] : NULL;
}


const char *
sluice_answer_name(unsigned answer)
{
    static const char  *names[SLUICE_ANSWERS] = {
        [SLUICE_ANSWER_WELL]      = "well",
        [SLUICE_ANSWER_CLIENT]    = "client",
        [SLUICE_ANSWER_NONE]      = "none",
        [SLUICE_ANSWER_COOL]      = "rate_limited",
        [SLUICE_ANSWER_DENIED]    = "denied",
        [SLUICE_ANSWER_EXHAUSTED] = "exhausted",
        [SLUICE_ANSWER_ERROR]     = "error",
        [SLUICE_ANSWER_TIMEOUT]   = "timeout",
        [SLUICE_ANSWER_CONNECT]   = "connect"
    };

    return answer < SLUICE_ANSWERS ? names[answer] : NULL;
}
