
#include "balance.h"
#include "hash.h"

#include <string.h>


#define SLUICE_BALANCE_ROUNDS   1024            /* of a start's offset       */
#define SLUICE_BALANCE_TURNS    1024            /* that are worked out       */
#define SLUICE_BALANCE_CALM     4               /* rounds, before they serve */
#define SLUICE_BALANCE_RESTED   (SLUICE_MEMBER_PARTS / 10)


/* a member as choosing sees it: what is read for all of them stands close */
typedef struct {
    sluice_member_t  *member;
    uint64_t          hash;         /* of the id                             */
    double            share;        /* 2^-53 / weight                        */
    uint32_t          weight;
    int32_t           current;      /* smooth round robin's                  */
    uint32_t          max_conns;
    uint16_t          line;
    uint8_t           conf;         /* index of its configuration            */
    bool              limited;      /* it has windows                        */
} sluice_balance_peer_t;

_Static_assert(sizeof(sluice_balance_peer_t) == 40, "balance peer");
_Static_assert(SLUICE_BALANCE_MAX <= 256, "balance peer");


struct sluice_balance_s {
    uint16_t                     *turn;     /* a round of them, worked out   */
    unsigned                      nturns;   /* 0: they are not               */
    unsigned                      next;     /* of them, if by_turn           */
    sluice_balance_peer_t        *peer;     /* backups last                  */
    uint16_t                     *own;      /* in flight in the own slot     */
    sluice_pool_t                *pool;
    const sluice_balance_conf_t  *conf;
    unsigned                      slot;
    sluice_balance_method_t       method;
    bool                          counts;   /* it matters what is in flight  */
    bool                          at_once;  /* all members in turn           */
    bool                          by_turn;  /* as worked out; else `current` */
    unsigned                      n;
    unsigned                      nbackups;
    unsigned                      calm;     /* how many have gone at once    */
    int32_t                       sum;      /* of weights, without backups   */
    uint32_t                     *others;   /* in flight in other slots      */
    uint16_t                     *line;
    uint16_t                     *place;    /* of a configuration's peer     */
    uint16_t                     *all;      /* 0, 1, 2...                    */
    uint64_t                      looked;   /* ms, when others were added up */
    uint64_t                      seed;
};


/* one call's: what is asked, and the members that are left to choose from */
typedef struct {
    const sluice_balance_set_t   *had;
    uint64_t                      hash;
    uint64_t                      tokens;
    uint64_t                      probe;
    uint64_t                      now;
    bool                          fresh;    /* others are of this call       */
    bool                          early;    /* it need not be well           */
    bool                          sure;     /* it must not be doubted        */
    bool                          doubted;  /* all that are left are         */
    const uint16_t               *list;     /* own, if not all have it       */
    unsigned                      n;
    uint16_t                      own[SLUICE_BALANCE_MAX];

    /* those of them that round robin has decided between, if it has */
    const uint16_t               *turns;
    unsigned                      nturns;
    int32_t                       sum;      /* of their weights              */
    uint16_t                      equal[SLUICE_BALANCE_MAX];
} sluice_balance_pick_t;


static void sluice_balance_work_out(sluice_balance_t *balance);


static const sluice_balance_set_t  sluice_balance_none_had;


static size_t
sluice_balance_aligned(size_t size)
{
    return (size + 63) & ~(size_t) 63;
}


size_t
sluice_balance_size(unsigned n)
{
    return sluice_balance_aligned(sizeof(sluice_balance_t))
           + sluice_balance_aligned(n * sizeof(sluice_balance_peer_t))
           + sluice_balance_aligned(n * sizeof(uint32_t))
           + 3 * sluice_balance_aligned(n * sizeof(uint16_t))
           + SLUICE_BALANCE_TURNS * sizeof(uint16_t);
}


sluice_balance_t *
sluice_balance_init(void *memory, sluice_pool_t *pool,
    sluice_balance_method_t method, const sluice_balance_conf_t *conf,
    unsigned n)
{
    uint8_t                *p;
    unsigned                i, k, first, last;
    sluice_balance_t       *balance;
    sluice_balance_peer_t  *peer;

    /* a place stays a member's when others come, go or change their order */

    static const uint8_t  key[16];

    memset(memory, 0, sluice_balance_size(n));

    p = memory;
    balance = memory;
    p += sluice_balance_aligned(sizeof(sluice_balance_t));
    balance->peer = (sluice_balance_peer_t *) p;
    p += sluice_balance_aligned(n * sizeof(sluice_balance_peer_t));
    balance->others = (uint32_t *) p;
    p += sluice_balance_aligned(n * sizeof(uint32_t));
    balance->line = (uint16_t *) p;
    p += sluice_balance_aligned(n * sizeof(uint16_t));
    balance->place = (uint16_t *) p;
    p += sluice_balance_aligned(n * sizeof(uint16_t));
    balance->all = (uint16_t *) p;
    p += sluice_balance_aligned(n * sizeof(uint16_t));
    balance->turn = (uint16_t *) p;

    balance->pool = pool;
    balance->conf = conf;
    balance->method = method;
    balance->n = n;
    balance->counts = (method == SLUICE_BALANCE_LEAST_USED
                       || method == SLUICE_BALANCE_RANDOM);

    for (i = 0; i < n; i++) {
        balance->nbackups += conf[i].backup;
        balance->all[i] = (uint16_t) i;
    }

    last = n - balance->nbackups;
    first = 0;

    for (i = 0; i < n; i++) {
        k = conf[i].backup ? last++ : first++;

        peer = &balance->peer[k];

        peer->member = sluice_pool_line(pool, conf[i].line);
        peer->hash = sluice_siphash(key, conf[i].id, strlen(conf[i].id)).lo;
        peer->share = 0x1p-53 / conf[i].weight;
        peer->weight = conf[i].weight;
        peer->max_conns = conf[i].max_conns;
        peer->line = (uint16_t) conf[i].line;
        peer->conf = (uint8_t) i;
        peer->limited = (conf[i].nlimits != 0);

        balance->line[k] = peer->line;
        balance->place[i] = (uint16_t) k;
        balance->counts |= (peer->max_conns != 0);
        balance->sum += conf[i].backup ? 0 : (int32_t) conf[i].weight;
    }

    balance->at_once = (method == SLUICE_BALANCE_ROUND_ROBIN
                        && !balance->counts && n > balance->nbackups);

    sluice_balance_work_out(balance);
    sluice_balance_start(balance, 0, 0);

    return balance;
}


static unsigned
sluice_balance_gcd(unsigned a, unsigned b)
{
    unsigned  rest;

    while (b != 0) {
        rest = a % b;
        a = b;
        b = rest;
    }

    return a;
}


/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014) */

static inline uint64_t
sluice_balance_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;

    return x ^ (x >> 31);
}


/* a number below n, which is at most 2^32 */

static inline uint32_t
sluice_balance_random(sluice_balance_t *balance, uint32_t n)
{
    balance->seed += 0x9e3779b97f4a7c15ull;

    return (uint32_t) (((sluice_balance_mix(balance->seed) >> 32) * n) >> 32);
}


static inline uint32_t
sluice_balance_used(const sluice_balance_t *balance, unsigned i)
{
    return balance->others[i]
           + __atomic_load_n(&balance->own[balance->peer[i].line],
                             __ATOMIC_RELAXED);
}


static void
sluice_balance_refresh(sluice_balance_t *balance, uint64_t now)
{
    sluice_pool_others(balance->pool, balance->slot, balance->line,
                       balance->n, balance->others);
    balance->looked = now;
}


/* whether the member's windows have room now; else *retry: ms until then */

static bool
sluice_balance_fits(const sluice_balance_t *balance, unsigned i,
    uint64_t tokens, uint64_t now, uint64_t *retry)
{
    bool                          fits;
    unsigned                      k;
    uint64_t                      wait;
    sluice_member_t              *member;
    const sluice_member_limit_t  *limit;
    const sluice_balance_conf_t  *conf;

    conf = &balance->conf[balance->peer[i].conf];
    member = balance->peer[i].member;
    fits = true;
    *retry = 0;

    for (k = 0; k < conf->nlimits; k++) {
        limit = &conf->limit[k];

        if (!sluice_member_fits(member, limit, now,
                                limit->counts == SLUICE_COUNTS_TOKENS ? tokens
                                                                      : 1,
                                &wait))
        {
            fits = false;
            *retry = (wait > *retry) ? wait : *retry;
        }
    }

    return fits;
}


static bool
sluice_balance_place(sluice_balance_t *balance, sluice_balance_pick_t *pick,
    unsigned i)
{
    const sluice_balance_peer_t  *peer;

    peer = &balance->peer[i];

    if (peer->max_conns == 0
        || sluice_balance_used(balance, i) < peer->max_conns)
    {
        return true;
    }

    /* it may have been given back since they were added up */

    if (pick->fresh) {
        return false;
    }

    sluice_balance_refresh(balance, pick->now);
    pick->fresh = true;

    return sluice_balance_used(balance, i) < peer->max_conns;
}


/* well, and with a place */

static bool
sluice_balance_can(sluice_balance_t *balance, sluice_balance_pick_t *pick,
    unsigned i)
{
    bool              half;
    sluice_member_t  *member;

    member = balance->peer[i].member;

    return (sluice_member_healthy(member)
            || sluice_member_recovery(member, pick->now, &half) == 0)
           && sluice_balance_place(balance, pick, i);
}


/* what nearly all of them are nearly always: no more need be asked */

static inline bool
sluice_balance_plain(const sluice_balance_peer_t *peer)
{
    return sluice_member_healthy(peer->member) && peer->max_conns == 0;
}


static void
sluice_balance_list(sluice_balance_t *balance, sluice_balance_pick_t *pick,
    bool backup)
{
    unsigned                      i, k, n, first, end;
    const sluice_balance_peer_t  *peer;

    first = backup ? balance->n - balance->nbackups : 0;
    end = backup ? balance->n : balance->n - balance->nbackups;
    peer = balance->peer;
    i = first;

    /* rendezvous asks those that it would have */

    if (balance->method == SLUICE_BALANCE_HASH) {
        i = end;
    }

    while (i < end && sluice_balance_plain(&peer[i])) {
        i++;
    }

    pick->list = &balance->all[first];
    pick->n = i - first;

    if (i == end && pick->had == &sluice_balance_none_had) {
        return;
    }

    for (n = 0, k = first; k < end; k++) {
        if ((k < i || sluice_balance_plain(&peer[k])
             || sluice_balance_can(balance, pick, k))
            && !sluice_balance_has(pick->had, peer[k].conf)
            && !(pick->sure
                 && !sluice_member_row_empty(peer[k].member,
                                             SLUICE_ROW_DENIED)))
        {
            pick->own[n++] = (uint16_t) k;
        }
    }

    pick->list = pick->own;
    pick->n = n;
}


/*
 * One was not to be had after all: it is taken off the list, and the first
 * time whatever else looks like it, or a pool with all its windows full would
 * be gone through once for each member.
 */

static void
sluice_balance_drop(sluice_balance_t *balance, sluice_balance_pick_t *pick,
    unsigned failed, bool all)
{
    unsigned  i, k, n;
    uint64_t  retry;

    if (all && balance->counts && !pick->fresh) {
        sluice_balance_refresh(balance, pick->now);
        pick->fresh = true;
    }

    for (n = 0, k = 0; k < pick->n; k++) {
        i = pick->list[k];

        if (i == failed
            || (all && (!sluice_balance_can(balance, pick, i)
                        || !sluice_balance_fits(balance, i, pick->tokens,
                                                pick->now, &retry))))
        {
            continue;
        }

        pick->own[n++] = (uint16_t) i;
    }

    pick->list = pick->own;
    pick->n = n;
}


/*
 * Smooth weighted round robin, as nginx's: each grows by its weight, and the
 * largest is taken and loses the sum, by sluice_balance_taken(); or it could
 * not be taken, and all is as if it had not been asked, by
 * sluice_balance_return().
 */

static unsigned
sluice_balance_round_robin(sluice_balance_t *balance,
    sluice_balance_pick_t *pick, const uint16_t *turns, unsigned n)
{
    int32_t                 best, sum;
    unsigned                i, k, at;
    sluice_balance_peer_t  *peer;

    peer = balance->peer;
    at = turns[0];
    best = INT32_MIN;
    sum = 0;

    for (k = 0; k < n; k++) {
        i = turns[k];
        peer[i].current += (int32_t) peer[i].weight;
        sum += (int32_t) peer[i].weight;

        if (peer[i].current > best) {
            best = peer[i].current;
            at = i;
        }
    }

    pick->turns = turns;
    pick->nturns = n;
    pick->sum = sum;

    return at;
}


static void
sluice_balance_taken(sluice_balance_t *balance,
    const sluice_balance_pick_t *pick, unsigned taken)
{
    balance->peer[taken].current -= pick->sum;
}


static void
sluice_balance_return(sluice_balance_t *balance,
    const sluice_balance_pick_t *pick)
{
    unsigned                k;
    sluice_balance_peer_t  *peer;

    for (k = 0; k < pick->nturns; k++) {
        peer = &balance->peer[pick->turns[k]];
        peer->current -= (int32_t) peer->weight;
    }
}


/*
 * The same with all members but backups, which are well nearly always: listing
 * them would cost as much again.  SLUICE_BALANCE_MAX: they are not, and nothing
 * has changed.
 */

static unsigned
sluice_balance_at_once(sluice_balance_t *balance, sluice_balance_pick_t *pick)
{
    int32_t                 best;
    unsigned                n;
    sluice_balance_peer_t  *peer, *end, *at;

    if (!balance->at_once || pick->had != &sluice_balance_none_had) {
        return SLUICE_BALANCE_MAX;
    }

    n = balance->n - balance->nbackups;
    peer = balance->peer;
    end = peer + n;
    at = peer;
    best = INT32_MIN;

    for ( /* void */ ; peer < end; peer++) {

        if (!sluice_member_healthy(peer->member)) {
            break;
        }

        peer->current += (int32_t) peer->weight;

        if (peer->current > best) {
            best = peer->current;
            at = peer;
        }
    }

    pick->list = balance->all;
    pick->n = n;
    pick->turns = balance->all;
    pick->nturns = n;
    pick->sum = balance->sum;

    if (peer != end) {
        pick->nturns = (unsigned) (peer - balance->peer);
        sluice_balance_return(balance, pick);
        return SLUICE_BALANCE_MAX;
    }

    return (unsigned) (at - balance->peer);
}


static unsigned
sluice_balance_least_used(sluice_balance_t *balance,
    sluice_balance_pick_t *pick)
{
    unsigned                      i, k, n;
    uint64_t                      used, weight, least, least_weight;
    const uint16_t               *own;
    const uint32_t               *others;
    const sluice_balance_peer_t  *peer;

    own = balance->own;
    others = balance->others;
    peer = balance->peer;
    n = 0;
    least = 1;
    least_weight = 0;

    for (k = 0; k < pick->n; k++) {
        i = pick->list[k];
        used = others[i] + __atomic_load_n(&own[peer[i].line],
                                           __ATOMIC_RELAXED);
        weight = peer[i].weight;

        if (used * least_weight < least * weight) {
            n = 0;
            least = used;
            least_weight = weight;
        }

        /* no branch could be predicted here */

        pick->equal[n] = (uint16_t) i;
        n += (used * least_weight == least * weight);
    }

    return sluice_balance_round_robin(balance, pick, pick->equal, n);
}


/* a place of the list, by weight, but not `not`; sum: of all other weights */

static unsigned
sluice_balance_draw(sluice_balance_t *balance,
    const sluice_balance_pick_t *pick, uint32_t sum, unsigned not)
{
    unsigned                      k;
    uint32_t                      r, weight;
    const sluice_balance_peer_t  *peer;

    r = sluice_balance_random(balance, sum);
    peer = balance->peer;

    for (k = 0; k < pick->n; k++) {
        weight = (k != not) ? peer[pick->list[k]].weight : 0;

        if (r < weight) {
            break;
        }

        r -= weight;
    }

    return k;
}


static unsigned
sluice_balance_two(sluice_balance_t *balance, sluice_balance_pick_t *pick)
{
    unsigned  a, b, k;
    uint32_t  sum;

    for (sum = 0, k = 0; k < pick->n; k++) {
        sum += balance->peer[pick->list[k]].weight;
    }

    k = sluice_balance_draw(balance, pick, sum, pick->n);
    a = pick->list[k];

    if (pick->n == 1) {
        return a;
    }

    sum -= balance->peer[a].weight;
    b = pick->list[sluice_balance_draw(balance, pick, sum, k)];

    return ((uint64_t) sluice_balance_used(balance, b)
            * balance->peer[a].weight
            < (uint64_t) sluice_balance_used(balance, a)
              * balance->peer[b].weight)
           ? b : a;
}


/*
 * -ln(u) for 0 < u <= 1: u = m * 2^e with m around 1, and ln(m) is
 * 2 * artanh((m - 1) / (m + 1)).  Wrong by no more than 3e-8 and, near u = 1,
 * where rendezvous decides, by no larger part of it.
 */

static inline double
sluice_balance_minus_ln(double u)
{
    double    m, s, t;
    int64_t   e;
    uint64_t  bits;

    memcpy(&bits, &u, sizeof(bits));

    e = (int64_t) (bits - 0x3fe6a09e667f3bcdull) >> 52;    /* of sqrt(1/2) */
    bits -= (uint64_t) e << 52;

    memcpy(&m, &bits, sizeof(m));

    s = (m - 1) / (m + 1);
    t = s * s;

    return -((double) e * 0x1.62e42fefa39efp-1
             + 2 * s * (1 + t * (1.0 / 3 + t * (1.0 / 5 + t * (1.0 / 7)))));
}


/*
 * Of a value and a member, 53 bits: both are mixed already, and the upper and
 * the lower half of their product depend on all of them.
 */

static inline int64_t
sluice_balance_of_both(uint64_t value, uint64_t member)
{
    unsigned __int128  product;

    product = (unsigned __int128) value * member;

    return (int64_t) (((uint64_t) (product >> 64) ^ (uint64_t) product) >> 11);
}


/*
 * Weighted rendezvous: u is of (value, member), and the least -ln(u) / weight
 * has it.  That is no less than (1 - u) / weight, which rules nearly every
 * member out.
 */

static unsigned
sluice_balance_rendezvous(sluice_balance_t *balance,
    sluice_balance_pick_t *pick)
{
    double                        rest, score, least;
    unsigned                      i, k, at;
    uint64_t                      value;
    const uint16_t               *list;
    const sluice_balance_peer_t  *peer;

    list = pick->list;
    value = sluice_balance_mix(pick->hash + 0x9e3779b97f4a7c15ull) | 1;
    peer = balance->peer;
    at = SLUICE_BALANCE_MAX;
    least = 1e9;

    for (k = 0; k < pick->n; k++) {
        i = list[k];

        /* (1 - u) * 2^53 */

        rest = (double) sluice_balance_of_both(value, peer[i].hash);

        if (rest * peer[i].share >= least
            || !sluice_balance_can(balance, pick, i))
        {
            continue;
        }

        score = sluice_balance_minus_ln(1 - rest * 0x1p-53)
                * 0x1p53 * peer[i].share;

        if (score < least) {
            least = score;
            at = i;
        }
    }

    return at;
}


/*
 * For another try, when all that are left are doubted: those that the method
 * asks first would hide for good the one that is well.
 */

static unsigned
sluice_balance_longest_ago(sluice_balance_t *balance,
    const sluice_balance_pick_t *pick)
{
    unsigned  i, k, at;
    uint64_t  denied, first;

    at = SLUICE_BALANCE_MAX;
    first = SLUICE_NEVER;

    for (k = 0; k < pick->n; k++) {
        i = pick->list[k];
        denied = sluice_member_doubted(balance->peer[i].member);

        if (denied < first) {
            first = denied;
            at = i;
        }
    }

    return at;
}


/* SLUICE_BALANCE_MAX: none of the list can be had */

static unsigned
sluice_balance_choose(sluice_balance_t *balance, sluice_balance_pick_t *pick)
{
    pick->nturns = 0;
    pick->sum = 0;

    if (pick->n == 0) {
        return SLUICE_BALANCE_MAX;
    }

    if (pick->doubted) {
        return sluice_balance_longest_ago(balance, pick);
    }

    switch (balance->method) {

    case SLUICE_BALANCE_LEAST_USED:
        return sluice_balance_least_used(balance, pick);

    case SLUICE_BALANCE_RANDOM:
        return sluice_balance_two(balance, pick);

    case SLUICE_BALANCE_HASH:
        return sluice_balance_rendezvous(balance, pick);

    default:
        return sluice_balance_round_robin(balance, pick, pick->list, pick->n);
    }
}


/* what the n first windows were charged */

static void
sluice_balance_uncharge(const sluice_balance_t *balance,
    const sluice_balance_hold_t *hold, unsigned n, uint64_t now)
{
    unsigned                      k;
    sluice_member_t              *member;
    const sluice_member_limit_t  *limit;
    const sluice_balance_conf_t  *conf;

    conf = &balance->conf[hold->member];
    member = sluice_pool_line(balance->pool, conf->line);

    for (k = 0; k < n; k++) {
        limit = &conf->limit[k];

        sluice_member_settle(member, limit, &hold->window[k], now,
                             limit->counts == SLUICE_COUNTS_TOKENS
                             ? hold->tokens : 1,
                             0);
    }
}


static bool
sluice_balance_charge(const sluice_balance_t *balance,
    sluice_balance_hold_t *hold, uint64_t now)
{
    unsigned                      k;
    uint64_t                      retry;
    sluice_member_t              *member;
    const sluice_member_limit_t  *limit;
    const sluice_balance_conf_t  *conf;

    conf = &balance->conf[hold->member];
    member = sluice_pool_line(balance->pool, conf->line);

    for (k = 0; k < conf->nlimits; k++) {
        limit = &conf->limit[k];

        if (!sluice_member_charge(member, limit, now,
                                  limit->counts == SLUICE_COUNTS_TOKENS
                                  ? hold->tokens : 1,
                                  &hold->window[k], &retry))
        {
            sluice_balance_uncharge(balance, hold, k, now);
            return false;
        }
    }

    return true;
}


/*
 * A place, the windows, and being the probe, if it needs one: all or none.
 * The probe is the last, as nothing takes it back.
 */

static bool
sluice_balance_try(sluice_balance_t *balance,
    const sluice_balance_pick_t *pick, unsigned i,
    sluice_balance_hold_t *hold)
{
    bool                          half;
    uint64_t                      retry;
    sluice_pool_t                *pool;
    sluice_member_t              *member;
    const sluice_balance_peer_t  *peer;

    pool = balance->pool;
    peer = &balance->peer[i];
    member = peer->member;

    hold->member = peer->conf;
    hold->line = peer->line;
    hold->tokens = pick->tokens;
    hold->try.began = pick->now;
    hold->try.probe = 0;

    half = false;

    if (!pick->early && !sluice_member_healthy(member)
        && sluice_member_recovery(member, pick->now, &half) != 0)
    {
        return false;
    }

    /* what will not fit is not charged, and nobody is refused for it */

    if (peer->limited
        && !sluice_balance_fits(balance, i, pick->tokens, pick->now, &retry))
    {
        return false;
    }

    if (peer->max_conns == 0) {
        sluice_pool_raise(balance->own, peer->line);

    } else if (!sluice_pool_take_max(pool, peer->line, balance->slot,
                                     peer->max_conns))
    {
        return false;
    }

    if (peer->limited && !sluice_balance_charge(balance, hold, pick->now)) {
        sluice_pool_lower(balance->own, peer->line);
        return false;
    }

    if (half || pick->early) {
        hold->try.probe = pick->early
                          ? sluice_pool_early(pool, peer->line, pick->now,
                                              pick->probe)
                          : sluice_member_probe(member, pick->now,
                                                pick->probe);

        if (hold->try.probe == 0) {
            sluice_balance_refund(balance, hold, pick->now);
            sluice_pool_lower(balance->own, peer->line);
            return false;
        }
    }

    return true;
}


/* adds to what each has, or takes from it, what the turns of this round make */

static void
sluice_balance_round(sluice_balance_t *balance, int32_t sign)
{
    unsigned                i;
    sluice_balance_peer_t  *peer;

    peer = balance->peer;

    for (i = 0; i < balance->n - balance->nbackups; i++) {
        peer[i].current += sign * (int32_t) (balance->next * peer[i].weight);
    }

    for (i = 0; i < balance->next; i++) {
        peer[balance->turn[i]].current -= sign * balance->sum;
    }
}


/*
 * The turns that were worked out serve while all members are well, and nobody
 * asks for a second one.  Then it goes on as if all had been asked each time;
 * and back when some rounds have gone by so.  By what somebody is ahead, or
 * behind, is kept for the next time.
 */

static void
sluice_balance_calmed(sluice_balance_t *balance, bool at_once)
{
    balance->calm = at_once ? balance->calm + 1 : 0;

    if (balance->nturns == 0
        || balance->calm < SLUICE_BALANCE_CALM * balance->nturns)
    {
        return;
    }

    sluice_balance_round(balance, -1);
    balance->by_turn = true;
}


static void
sluice_balance_ask_all(sluice_balance_t *balance)
{
    if (!balance->by_turn) {
        return;
    }

    sluice_balance_round(balance, 1);
    balance->by_turn = false;
    balance->calm = 0;
}


/* each is tried once at most: whoever fails is taken off the list */

static bool
sluice_balance_from(sluice_balance_t *balance, sluice_balance_pick_t *pick,
    bool backup, sluice_balance_hold_t *hold)
{
    bool      all;
    unsigned  i, turn;

    turn = backup ? SLUICE_BALANCE_MAX : sluice_balance_at_once(balance, pick);
    i = turn;

    if (i == SLUICE_BALANCE_MAX) {
        sluice_balance_list(balance, pick, backup);
        i = sluice_balance_choose(balance, pick);
    }

    for (all = true; i != SLUICE_BALANCE_MAX; all = false) {

        if (sluice_balance_try(balance, pick, i, hold)) {
            sluice_balance_taken(balance, pick, i);
            sluice_balance_calmed(balance, i == turn);
            return true;
        }

        sluice_balance_return(balance, pick);
        sluice_balance_drop(balance, pick, i, all);

        i = sluice_balance_choose(balance, pick);
    }

    return false;
}


/*
 * Who may be tried early: has rested for the largest part of our guess, and for
 * a tenth of it at least.
 */

static unsigned
sluice_balance_early(sluice_balance_t *balance, sluice_balance_pick_t *pick)
{
    unsigned  i, at, rested, most;
    uint64_t  retry;

    at = SLUICE_BALANCE_MAX;
    most = SLUICE_BALANCE_RESTED;

    if (!sluice_pool_early_due(balance->pool, pick->now, pick->probe)) {
        return at;
    }

    for (i = 0; i < balance->n; i++) {
        rested = sluice_member_rested(balance->peer[i].member, pick->now);

        if (rested >= most
            && !sluice_balance_has(pick->had, balance->peer[i].conf)
            && sluice_balance_place(balance, pick, i)
            && sluice_balance_fits(balance, i, pick->tokens, pick->now,
                                   &retry))
        {
            most = rested + 1;
            at = i;
        }
    }

    return at;
}


/* why there is none, and until when */

static sluice_balance_result_t
sluice_balance_why(sluice_balance_t *balance,
    const sluice_balance_pick_t *pick, uint64_t *retry)
{
    bool                          half, limited, other, full;
    unsigned                      i;
    uint64_t                      wait, until;
    sluice_member_t              *member;
    sluice_member_status_t        status;
    const sluice_balance_peer_t  *peer;

    limited = false;
    other = false;
    full = false;
    *retry = SLUICE_NEVER;

    for (i = 0; i < balance->n; i++) {
        peer = &balance->peer[i];
        member = peer->member;

        until = sluice_member_recovery(member, pick->now, &half);

        if (until != 0) {
            sluice_member_status(sluice_load16(&member->state), &status);

            if (status.state == SLUICE_MEMBER_COOLING) {
                if (status.probe) {
                    other = true;

                } else if (status.reason != SLUICE_REASON_OPERATOR) {
                    limited = true;
                }

            } else if (status.state == SLUICE_MEMBER_PROBING) {
                other = true;
            }

            wait = (until == SLUICE_NEVER) ? SLUICE_NEVER : until - pick->now;

        } else if (!sluice_balance_fits(balance, i, pick->tokens, pick->now,
                                        &wait))
        {
            /* what never fits it: for this request there is no such member */

            limited |= (wait != SLUICE_NEVER);

        } else {

            /* no place, or this request has had it, or rivals were faster */

            other = true;
            wait = 0;

            if (peer->max_conns != 0
                && sluice_balance_used(balance, i) >= peer->max_conns)
            {
                full = true;
                wait = SLUICE_NEVER;
            }
        }

        *retry = (wait < *retry) ? wait : *retry;
    }

    return full ? SLUICE_BALANCE_FULL
           : (limited && !other) ? SLUICE_BALANCE_COOLING
                                 : SLUICE_BALANCE_NONE;
}


static inline bool
sluice_balance_empty(const sluice_balance_set_t *set)
{
    unsigned  i;
    uint64_t  bits;

    for (bits = 0, i = 0; i < SLUICE_BALANCE_MAX / 64; i++) {
        bits |= set->bits[i];
    }

    return bits == 0;
}


static void
sluice_balance_ask(sluice_balance_t *balance, sluice_balance_pick_t *pick,
    const sluice_balance_set_t *had, uint64_t tokens, uint64_t probe,
    uint64_t now)
{
    pick->had = (had != NULL && !sluice_balance_empty(had))
                ? had : &sluice_balance_none_had;
    pick->tokens = tokens;
    pick->probe = probe;
    pick->now = now;
    pick->fresh = false;
    pick->early = false;
    pick->sure = (pick->had != &sluice_balance_none_had);
    pick->doubted = false;

    if (balance->counts && balance->looked != now) {
        sluice_balance_refresh(balance, now);
        pick->fresh = true;
    }
}


/*
 * Round robin of all members but backups repeats itself after as many turns as
 * the sum of their weights in lowest terms.  Once, while `current` is all zero,
 * and only where nothing else decides: no windows, and no max_conns.
 */

static void
sluice_balance_work_out(sluice_balance_t *balance)
{
    unsigned               i, n, gcd, round;
    sluice_balance_pick_t  pick;

    if (!balance->at_once) {
        return;
    }

    n = balance->n - balance->nbackups;

    for (i = 0, gcd = 0; i < balance->n; i++) {

        if (balance->peer[i].limited) {
            return;
        }

        if (i < n) {
            gcd = sluice_balance_gcd(balance->peer[i].weight, gcd);
        }
    }

    round = (unsigned) balance->sum / gcd;

    if (round > SLUICE_BALANCE_TURNS) {
        return;
    }

    while (balance->nturns < round) {
        i = sluice_balance_round_robin(balance, &pick, balance->all, n);
        sluice_balance_taken(balance, &pick, i);
        balance->turn[balance->nturns++] = (uint16_t) i;
    }
}


void
sluice_balance_start(sluice_balance_t *balance, unsigned slot, uint64_t seed)
{
    unsigned               i, k;
    sluice_balance_pick_t  pick;

    balance->slot = slot;
    balance->own = sluice_pool_column(balance->pool, slot);
    balance->seed = seed;
    balance->looked = SLUICE_NEVER;

    for (i = 0; i < balance->n; i++) {
        balance->peer[i].current = 0;
    }

    k = (unsigned) (seed % SLUICE_BALANCE_ROUNDS);

    balance->by_turn = (balance->nturns != 0);
    balance->next = balance->by_turn ? k % balance->nturns : 0;
    balance->calm = 0;

    for ( /* void */ ; k > 0 && !balance->by_turn; k--) {
        i = sluice_balance_round_robin(balance, &pick, balance->all,
                                       balance->n);
        sluice_balance_taken(balance, &pick, i);
    }
}


sluice_balance_result_t
sluice_balance_look(sluice_balance_t *balance,
    const sluice_balance_set_t *had, uint64_t tokens, uint64_t probe,
    uint64_t now, uint64_t *retry)
{
    unsigned               i;
    sluice_balance_pick_t  pick;

    sluice_balance_ask(balance, &pick, had, tokens, probe, now);

    for (i = 0; i < balance->n; i++) {

        if (!sluice_balance_has(pick.had, balance->peer[i].conf)
            && sluice_balance_can(balance, &pick, i)
            && sluice_balance_fits(balance, i, tokens, now, retry))
        {
            return SLUICE_BALANCE_TAKEN;
        }
    }

    if (sluice_balance_early(balance, &pick) != SLUICE_BALANCE_MAX) {
        return SLUICE_BALANCE_TAKEN;
    }

    return sluice_balance_why(balance, &pick, retry);
}


static inline bool
sluice_balance_by_turn(sluice_balance_t *balance, bool fine, uint64_t began,
    sluice_balance_hold_t *hold)
{
    const sluice_balance_peer_t  *peer;

    if (!balance->by_turn) {
        return false;
    }

    peer = &balance->peer[balance->turn[balance->next]];

    if (!(fine ? sluice_member_fine(peer->member)
               : sluice_member_healthy(peer->member)))
    {
        return false;
    }

    if (++balance->next == balance->nturns) {
        balance->next = 0;
    }

    sluice_pool_raise(balance->own, peer->line);

    hold->member = peer->conf;
    hold->line = peer->line;
    hold->tokens = 0;
    hold->try.began = began;
    hold->try.probe = 0;

    return true;
}


/* of one that is fine nothing is known that a try could have begun before */

bool
sluice_balance_next(sluice_balance_t *balance, uint64_t began,
    sluice_balance_hold_t *hold)
{
    return sluice_balance_by_turn(balance, true, began, hold);
}


sluice_balance_result_t
sluice_balance_take(sluice_balance_t *balance, sluice_balance_set_t *had,
    unsigned prefer, uint64_t hash, uint64_t tokens, uint64_t probe,
    bool early, uint64_t now, sluice_balance_hold_t *hold, uint64_t *retry)
{
    bool                   taken;
    unsigned               i, backups;
    sluice_balance_pick_t  pick;

    sluice_balance_ask(balance, &pick, had, tokens, probe, now);

    pick.hash = hash;

    taken = prefer < balance->n && !sluice_balance_has(pick.had, prefer)
            && sluice_balance_try(balance, &pick, balance->place[prefer],
                                  hold);

    if (!taken && !pick.sure) {
        taken = sluice_balance_by_turn(balance, false, now, hold);
    }

    if (!taken) {
        sluice_balance_ask_all(balance);
    }

    for (backups = 0; !taken && backups < 2; backups++) {
        taken = sluice_balance_from(balance, &pick, backups, hold);
    }

    /* all that this request has not had are doubted, or are not to be had */

    pick.doubted = pick.sure;
    pick.sure = false;

    for (backups = 0; !taken && pick.doubted && backups < 2; backups++) {
        taken = sluice_balance_from(balance, &pick, backups, hold);
    }

    if (!taken) {
        i = early ? sluice_balance_early(balance, &pick)
                  : SLUICE_BALANCE_MAX;
        pick.early = true;

        if (i == SLUICE_BALANCE_MAX
            || !sluice_balance_try(balance, &pick, i, hold))
        {
            return sluice_balance_why(balance, &pick, retry);
        }
    }

    if (had != NULL) {
        sluice_balance_set(had, hold->member);
    }

    return SLUICE_BALANCE_TAKEN;
}


bool
sluice_balance_again(sluice_balance_t *balance, sluice_balance_hold_t *hold,
    uint64_t now)
{
    sluice_balance_hold_t  again;

    again = *hold;

    if (!sluice_balance_charge(balance, &again, now)) {
        return false;
    }

    *hold = again;

    return true;
}


void
sluice_balance_give(sluice_balance_t *balance,
    const sluice_balance_hold_t *hold)
{
    sluice_pool_lower(balance->own, hold->line);
}


void
sluice_balance_refund(sluice_balance_t *balance,
    const sluice_balance_hold_t *hold, uint64_t now)
{
    sluice_balance_uncharge(balance, hold,
                            balance->conf[hold->member].nlimits, now);
}


void
sluice_balance_settle(sluice_balance_t *balance,
    const sluice_balance_hold_t *hold, uint64_t tokens, uint64_t now)
{
    unsigned                      k;
    sluice_member_t              *member;
    const sluice_member_limit_t  *limit;
    const sluice_balance_conf_t  *conf;

    conf = &balance->conf[hold->member];
    member = sluice_pool_line(balance->pool, conf->line);

    for (k = 0; k < conf->nlimits; k++) {
        limit = &conf->limit[k];

        if (limit->counts == SLUICE_COUNTS_TOKENS) {
            sluice_member_settle(member, limit, &hold->window[k], now,
                                 hold->tokens, tokens);
        }
    }
}
