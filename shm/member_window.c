
/*
 * The windows of a member's own: how much its upstream lets it have.
 */

#include "member.h"
#include "fault.h"


/* a window's tag, of 48 bits: a mark, counts:2, seconds:22, log2(scale):5 */
#define SLUICE_TAG_MARK         (1ull << 40)
#define SLUICE_TAG_COUNTS       27
#define SLUICE_TAG_SECONDS      5

/* a limit to be shown: the tag without its mark, units:24; 0: none */
#define SLUICE_SHOWN_UNITS      24

#define SLUICE_MEMBER_TRIES     64              /* turns of a window's loops */
#define SLUICE_MEMBER_AGAIN     1000            /* ms, when no word is free  */


bool
sluice_member_limit_init(sluice_member_limit_t *limit)
{
    limit->scale = 1;

    while (limit->max / limit->scale > SLUICE_WINDOW_UNITS_MAX) {

        if (limit->scale == 1u << 31) {
            return false;
        }

        limit->scale <<= 1;
    }

    return (unsigned) limit->counts < SLUICE_COUNTS
           && limit->window >= SLUICE_WINDOW_MIN
           && limit->window <= SLUICE_WINDOW_MAX
           && limit->window % 1000 == 0;
}


static uint64_t
sluice_member_tag(const sluice_member_limit_t *limit)
{
    return SLUICE_TAG_MARK
           | (uint64_t) limit->counts << SLUICE_TAG_COUNTS
           | (uint64_t) (limit->window / 1000) << SLUICE_TAG_SECONDS
           | (unsigned) __builtin_ctz(limit->scale);
}


/* ms; 0: of a word that nobody has used */

static uint32_t
sluice_member_tag_window(uint64_t tag)
{
    uint64_t  seconds;

    seconds = tag >> SLUICE_TAG_SECONDS
              & ((1u << (SLUICE_TAG_COUNTS - SLUICE_TAG_SECONDS)) - 1);

    return (uint32_t) seconds * 1000;
}


/* rounded up; over UNITS_MAX: UNITS_MAX + 1 */

static uint32_t
sluice_member_units(const sluice_member_limit_t *limit, uint64_t amount)
{
    amount = amount / limit->scale + (amount % limit->scale != 0);

    return (amount <= SLUICE_WINDOW_UNITS_MAX) ? (uint32_t) amount
                                               : SLUICE_WINDOW_UNITS_MAX + 1;
}


/*
 * Where the window stands, and in *v what was seen there; NULL: nowhere, then
 * *room is a word that it may have, NULL if there is none, and *v is of that.
 */

static sluice_u128_t *
sluice_member_find(sluice_member_t *member, uint64_t tag, uint64_t now,
    sluice_u128_t *v, sluice_u128_t **room)
{
    bool           free;
    unsigned       i;
    uint32_t       window;
    sluice_u128_t  seen;

    *room = NULL;
    *v = 0;

    for (i = 0; i < SLUICE_MEMBER_WINDOWS; i++) {
        seen = sluice_load16(&member->window[i]);

        if (sluice_slot_final(seen, tag)) {
            *v = seen;
            return &member->window[i];
        }

        if (*room != NULL) {
            continue;
        }

        if (seen != 0 && sluice_slot_index(seen) == SLUICE_TENTATIVE) {

            /* a rival's, or a dead one's, for the same: the second look */

            free = sluice_slot_tag(seen) == tag
                   || sluice_slot_abandoned(seen, now);

        } else {
            window = sluice_member_tag_window(sluice_slot_tag(seen));
            free = (window == 0 || !sluice_slot_live(seen, now, window));
        }

        if (free) {
            *room = &member->window[i];
            *v = seen;
        }
    }

    return NULL;
}


/* the second look, as in limit.c */

static bool
sluice_member_alone(sluice_member_t *member, uint64_t tag,
    const sluice_u128_t *at)
{
    unsigned       i, turn;
    sluice_u128_t  v;

    for (i = 0; i < SLUICE_MEMBER_WINDOWS; i++) {

        if (&member->window[i] == at) {
            continue;
        }

        v = sluice_load16(&member->window[i]);

        for (turn = 0; sluice_slot_tag(v) == tag; turn++) {

            if (sluice_slot_index(v) != SLUICE_TENTATIVE
                || turn == SLUICE_MEMBER_TRIES)
            {
                return false;
            }

            if (sluice_cas16(&member->window[i], &v, 0)) {
                break;
            }
        }
    }

    return true;
}


/* the first charge of the window; false: begin again from the search */

static bool
sluice_member_insert(sluice_member_t *member, uint64_t tag, sluice_u128_t *at,
    sluice_u128_t seen, uint64_t now, uint32_t index, uint32_t n)
{
    sluice_u128_t  mine;

    mine = sluice_slot_tentative(tag, now,
                                 __atomic_add_fetch(&member->nonce, 1,
                                                    __ATOMIC_RELAXED));

    if (!sluice_cas16(at, &seen, mine)) {
        return false;
    }

    sluice_fault("member.insert.tentative");

    if (!sluice_member_alone(member, tag, at)) {
        (void) sluice_cas16(at, &mine, 0);
        return false;
    }

    sluice_fault("member.insert.looked");

    return sluice_cas16(at, &mine, sluice_slot_pack(tag, index, 0, n));
}


bool
sluice_member_fits(sluice_member_t *member,
    const sluice_member_limit_t *limit, uint64_t now, uint64_t amount,
    uint64_t *retry)
{
    uint32_t          n, max;
    sluice_u128_t    *slot, *room, v;
    sluice_window_t   seen;

    n = sluice_member_units(limit, amount);
    max = (uint32_t) (limit->max / limit->scale);

    slot = sluice_member_find(member, sluice_member_tag(limit), now, &v,
                              &room);

    if (slot == NULL && room == NULL) {
        *retry = SLUICE_MEMBER_AGAIN;
        return false;
    }

    if (sluice_window_decide(slot != NULL ? v : 0, now, limit->window, max, n,
                             &seen))
    {
        return true;
    }

    *retry = sluice_window_retry(limit->window, &seen, max, n);

    return false;
}


bool
sluice_member_charge(sluice_member_t *member,
    const sluice_member_limit_t *limit, uint64_t now, uint64_t amount,
    sluice_window_t *state, uint64_t *retry)
{
    unsigned        turn;
    uint32_t        n, max;
    uint64_t        tag;
    sluice_u128_t  *slot, *room, v, new;

    tag = sluice_member_tag(limit);
    n = sluice_member_units(limit, amount);
    max = (uint32_t) (limit->max / limit->scale);

    for (turn = 0; turn < SLUICE_MEMBER_TRIES; turn++) {

        slot = sluice_member_find(member, tag, now, &v, &room);

        if (!sluice_window_decide(slot != NULL ? v : 0, now, limit->window,
                                  max, n, state))
        {
            *retry = sluice_window_retry(limit->window, state, max, n);
            return false;
        }

        if (n == 0) {
            return true;
        }

        if (slot != NULL) {
            new = sluice_window_charge(tag, state, n);

            if (sluice_cas16(slot, &v, new)) {
                return true;
            }

        } else if (room == NULL) {
            break;

        } else if (sluice_member_insert(member, tag, room, v, now,
                                        state->index, n))
        {
            return true;
        }
    }

    *retry = SLUICE_MEMBER_AGAIN;

    return false;
}


/* what was used has been used, whatever the limit */

static void
sluice_member_add(sluice_member_t *member, const sluice_member_limit_t *limit,
    uint64_t now, uint32_t n)
{
    unsigned        turn;
    uint64_t        tag;
    sluice_u128_t  *slot, *room, v;

    tag = sluice_member_tag(limit);

    for (turn = 0; turn < SLUICE_MEMBER_TRIES; turn++) {

        slot = sluice_member_find(member, tag, now, &v, &room);

        if (slot != NULL) {
            if (sluice_cas16(slot, &v,
                             sluice_window_add(v, now, limit->window, n)))
            {
                return;
            }

        } else if (room == NULL
                   || sluice_member_insert(member, tag, room, v, now,
                                           (uint32_t) (now / limit->window),
                                           n))
        {
            return;
        }
    }
}


void
sluice_member_settle(sluice_member_t *member,
    const sluice_member_limit_t *limit, const sluice_window_t *state,
    uint64_t now, uint64_t amount, uint64_t actual)
{
    unsigned        turn;
    uint32_t        n, used;
    sluice_u128_t  *slot, *room, v, new;

    n = sluice_member_units(limit, amount);
    used = sluice_member_units(limit, actual);

    if (used > n) {
        sluice_member_add(member, limit, now, used - n);
        return;
    }

    for (turn = 0; used < n && turn < SLUICE_MEMBER_TRIES; turn++) {

        slot = sluice_member_find(member, sluice_member_tag(limit), now, &v,
                                  &room);
        if (slot == NULL) {
            return;
        }

        new = sluice_window_refund(v, state, n - used);

        if (new == v || sluice_cas16(slot, &v, new)) {
            return;
        }
    }
}


void
sluice_member_limits(sluice_member_t *member,
    const sluice_member_limit_t *limit, unsigned n)
{
    unsigned  i;
    uint64_t  shown;

    for (i = 0; i < SLUICE_MEMBER_WINDOWS; i++) {
        shown = 0;

        if (i < n) {
            shown = (sluice_member_tag(&limit[i]) & ~SLUICE_TAG_MARK)
                    << SLUICE_SHOWN_UNITS
                    | limit[i].max / limit[i].scale;
        }

        __atomic_store_n(&member->limit[i], shown, __ATOMIC_RELAXED);
    }
}


/* units; 0: there is none of the tag's */

static uint64_t
sluice_member_shown(const sluice_member_t *member, uint64_t tag)
{
    unsigned  i;

    for (i = 0; i < SLUICE_MEMBER_WINDOWS; i++) {
        if (member->limit[i] >> SLUICE_SHOWN_UNITS
            == (tag & ~SLUICE_TAG_MARK))
        {
            return member->limit[i] & ((1u << SLUICE_SHOWN_UNITS) - 1);
        }
    }

    return 0;
}


bool
sluice_member_window(const sluice_member_t *member, unsigned n, uint64_t now,
    sluice_counts_t *counts, uint32_t *window, uint64_t *used,
    uint64_t *limit)
{
    uint64_t         tag;
    sluice_u128_t    v;
    sluice_window_t  seen;

    v = member->window[n];
    tag = sluice_slot_tag(v);

    *window = sluice_member_tag_window(tag);
    *counts = (sluice_counts_t) (tag >> SLUICE_TAG_COUNTS & 3);

    if (*window == 0 || (unsigned) *counts >= SLUICE_COUNTS
        || !sluice_slot_live(v, now, *window))
    {
        return false;
    }

    (void) sluice_window_decide(v, now, *window, 0, 0, &seen);

    *used = (uint64_t) sluice_window_used(*window, &seen) << (tag & 31);
    *limit = sluice_member_shown(member, tag) << (tag & 31);

    return true;
}
