
/*
 * Which member of a pool a try goes to: one worker's view of a pool.
 *
 * A member may be chosen if it is well (member.h), has a place (max_conns), and
 * its windows have room; one that is full is passed over.  Backups are asked
 * when no other can be had.  Among those left:
 *
 *   round_robin   smooth, by weight, as nginx's own; what is not to be had
 *                 gives its turns to the others, in the same way
 *   least_used    the least in flight by weight, round robin among equals
 *   random        the lesser used, by weight, of two drawn by weight
 *   hash          rendezvous (Thaler, Ravishankar 1998), by weight: a value
 *                 keeps its member, and when one leaves only its values move
 *
 * In flight elsewhere is added up once a millisecond, and again before a member
 * is passed over for it; in flight here is known at any time.  max_conns is
 * exact all the same, and so are windows: they are tried for when the member
 * has been chosen, and another one is chosen if that fails, each at most once.
 *
 * Another try of a request (`had` is not empty) goes to a member that is not
 * doubted (member.h), a backup even, and by the method; if there is none, to
 * the one whose last denial was the longest ago.  A denied request that is let
 * through in the end tells which key is to blame; one that goes from one
 * revoked key to the next never would.
 *
 * When none is to be had, one that rests by a guess of ours is tried early
 * (member.h): a request that would be refused finds out whether we wait too
 * long.  It is the one that has rested for the largest part of its guess, a
 * tenth and a second at least; there is one such try at a time, and one in a
 * second, over all workers (pool.h).
 *
 * When there is none for that, either, it is the clients' doing (429) if
 * somebody asks them to be slower and nothing else is wrong:
 *
 *   - a member is *limited* while it cools after a 429, or one of its windows
 *     is full for a time that is known;
 *   - it is *out of the pool* while it is disabled, exhausted, or cools because
 *     the operator says so, which is his to mend and says nothing about now;
 *     and for a request that asks more tokens than a window of it has;
 *   - anything else is *trouble*: its breaker is open, its probe is out, it has
 *     no place, or the request has had it and it is well otherwise.
 *
 * COOLING: one is limited at least, and none has trouble; else NONE or FULL
 * (503).  A member in `had` counts by its present state, backups as all others
 * do.
 *
 * One thread's, in private memory.  Choosing is O(members), no system call.
 */

#ifndef SLUICE_BALANCE_H
#define SLUICE_BALANCE_H

#include "pool.h"


#define SLUICE_BALANCE_MAX      256            /* members of a pool         */
#define SLUICE_WEIGHT_MAX       1000
#define SLUICE_MEMBER_LIMITS    4


typedef enum {
    SLUICE_BALANCE_ROUND_ROBIN = 0,
    SLUICE_BALANCE_LEAST_USED,
    SLUICE_BALANCE_RANDOM,
    SLUICE_BALANCE_HASH
} sluice_balance_method_t;


/* a member as it is configured: filled in by the caller */
typedef struct {
    const char             *id;
    unsigned                line;       /* in the pool's file                */
    uint32_t                weight;     /* 1 to SLUICE_WEIGHT_MAX            */
    uint32_t                max_conns;  /* 0: no limit                       */
    bool                    backup;
    unsigned                nlimits;
    sluice_member_limit_t   limit[SLUICE_MEMBER_LIMITS];
} sluice_balance_conf_t;


typedef struct sluice_balance_s  sluice_balance_t;


/* members that this request has had; all zero at first */
typedef struct {
    uint64_t  bits[SLUICE_BALANCE_MAX / 64];
} sluice_balance_set_t;

static inline void
sluice_balance_set(sluice_balance_set_t *set, unsigned member)
{
    set->bits[member / 64] |= 1ull << member % 64;
}

static inline bool
sluice_balance_has(const sluice_balance_set_t *set, unsigned member)
{
    return set->bits[member / 64] >> member % 64 & 1;
}


/* what a try holds: to be given back once, by the same slot */
typedef struct {
    unsigned             member;        /* index of its configuration        */
    unsigned             line;          /* in the pool's file                */
    sluice_member_try_t  try;
    uint64_t             tokens;        /* charged                           */
    sluice_window_t      window[SLUICE_MEMBER_LIMITS];
} sluice_balance_hold_t;


typedef enum {
    SLUICE_BALANCE_TAKEN = 0,
    SLUICE_BALANCE_COOLING,     /* none: too much is asked of them           */
    SLUICE_BALANCE_NONE,        /* none, for another reason or several       */
    SLUICE_BALANCE_FULL         /* the same, and one has no place, but may
                                   have one at any moment                    */
} sluice_balance_result_t;


/*
 * conf: n of them (1 to SLUICE_BALANCE_MAX), weights right; it and pool stay
 * where they are as long as the balance.  memory: of sluice_balance_size(n)
 * bytes, 64-byte aligned.  A fork()ed copy serves after
 * sluice_balance_start() with that process's slot and a number of its own.
 *
 * seed: of random's draws, and how far on round robin begins, so that not all
 * workers begin with the same member; 0: at the beginning.
 */
size_t sluice_balance_size(unsigned n);

sluice_balance_t *sluice_balance_init(void *memory, sluice_pool_t *pool,
    sluice_balance_method_t method, const sluice_balance_conf_t *conf,
    unsigned n);

void sluice_balance_start(sluice_balance_t *balance, unsigned slot,
    uint64_t seed);

/*
 * Whether a member that is not in `had` (NULL: none are) could be taken now,
 * early perhaps; nothing is taken.  probe: as there.  Not TAKEN: *retry, ms
 * until one may be that is not early, SLUICE_NEVER if nobody knows.
 */
sluice_balance_result_t sluice_balance_look(sluice_balance_t *balance,
    const sluice_balance_set_t *had, uint64_t tokens, uint64_t probe,
    uint64_t now, uint64_t *retry);

/*
 * Takes one, and puts it into `had`, unless that is NULL.  hash: of the value,
 * for HASH.  tokens: the estimate, charged to windows that count them.  probe:
 * ms that a probe, or an early try, has, should it become one; early: whether
 * it may become an early try.  prefer: a member to be taken if it can be, a
 * backup as well, and SLUICE_BALANCE_MAX for none.  Not TAKEN: as
 * sluice_balance_look().
 */
sluice_balance_result_t sluice_balance_take(sluice_balance_t *balance,
    sluice_balance_set_t *had, unsigned prefer, uint64_t hash,
    uint64_t tokens, uint64_t probe, bool early, uint64_t now,
    sluice_balance_hold_t *hold, uint64_t *retry);

/*
 * The same in O(1) for most requests to most pools, and with no clock read: by
 * round robin, no member having windows or max_conns, the one whose turn it is
 * is well, and nothing has failed since it was so.  began: ms, no later than
 * now, as the hold is to have it; how much earlier makes no difference, as what
 * an answer may change has not happened yet.  false: nothing has been done, and
 * it is for sluice_balance_take() to say.
 */
bool sluice_balance_next(sluice_balance_t *balance, uint64_t began,
    sluice_balance_hold_t *hold);

/*
 * Charges the windows of a hold once more, for another try with its member; of
 * the first charge nothing can be taken back or settled any more.  false: one
 * has no room, and the hold is as it was.
 */
bool sluice_balance_again(sluice_balance_t *balance,
    sluice_balance_hold_t *hold, uint64_t now);

/* gives the place back; windows stay charged */
void sluice_balance_give(sluice_balance_t *balance,
    const sluice_balance_hold_t *hold);

/*
 * Takes back what its windows were charged: nothing was sent.  A probe stays
 * one until its answer, or its deadline.
 */
void sluice_balance_refund(sluice_balance_t *balance,
    const sluice_balance_hold_t *hold, uint64_t now);

/* tokens that were really used, in place of the estimate */
void sluice_balance_settle(sluice_balance_t *balance,
    const sluice_balance_hold_t *hold, uint64_t tokens, uint64_t now);

static inline sluice_member_t *
sluice_pool_line(const sluice_pool_t *pool, unsigned line)
{
    return &pool->members[line];
}


#endif /* SLUICE_BALANCE_H */
