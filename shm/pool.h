
/*
 * A pool's file: a line for each member that a configuration has named.
 *
 * A member is found by a fingerprint of its id and secret, so a reload that
 * adds, removes or reorders members keeps the state of the others, and a new
 * secret under an old id begins anew.  No secret stands in the file.
 *
 * In flight is a row of 16-bit columns, one a process slot, written by the
 * owner of the slot alone; the value is the sum.  A dead owner's column is
 * zeroed by whoever reclaims the slot.
 *
 *   file "pool.NAME.N": header | members
 *   geometry: members, slots, sizeof(sluice_pool_member_t)
 */

#ifndef SLUICE_POOL_H
#define SLUICE_POOL_H

#include "file.h"
#include "workers.h"


#define SLUICE_POOL_PREFIX    "pool."
#define SLUICE_POOL_MEMBERS   1024     /* lines, former members' included   */


typedef enum {
    SLUICE_MEMBER_HEALTHY = 0,
    SLUICE_MEMBER_COOLING,              /* until a time                      */
    SLUICE_MEMBER_DISABLED,             /* until somebody enables it         */
    SLUICE_MEMBER_STATES
} sluice_member_state_t;


typedef struct {
    uint64_t  fingerprint;              /* 0: a free line                    */
    uint64_t  state;                    /* state:8 | until, monotonic ms:56  */
    uint64_t  used;                     /* requests that took it             */
    uint64_t  reserved[5];
    char      id[SLUICE_NAME_MAX];
    uint8_t   pad[16];
    uint16_t  in_flight[SLUICE_SLOTS];
} sluice_pool_member_t;

_Static_assert(sizeof(sluice_pool_member_t) == 128 + 2 * SLUICE_SLOTS,
               "pool member");
_Static_assert(offsetof(sluice_pool_member_t, in_flight) == 128,
               "pool member");


typedef struct {
    sluice_file_t          file;
    sluice_pool_member_t  *members;     /* SLUICE_POOL_MEMBERS of them       */
} sluice_pool_t;


/* opens the pool's newest file, or makes it; one from before a boot is left */
sluice_status_t sluice_pool_open(const sluice_dir_t *dir, const char *name,
    sluice_pool_t *pool, sluice_error_t *error);

void sluice_pool_close(const sluice_dir_t *dir, sluice_pool_t *pool);

/*
 * Finds the member's line or takes a free one.  fingerprint is not 0.
 * SLUICE_FULL: every line has been some member's.
 */
sluice_status_t sluice_pool_member(sluice_pool_t *pool, uint64_t fingerprint,
    const char *id, unsigned *line, sluice_error_t *error);


/* what nearly every member is nearly always: no clock is needed to tell */
static inline bool
sluice_pool_healthy(const sluice_pool_t *pool, unsigned line)
{
    return __atomic_load_n(&pool->members[line].state, __ATOMIC_ACQUIRE)
           == SLUICE_MEMBER_HEALTHY;
}

/* whether it may be taken now; now in monotonic milliseconds */
bool sluice_pool_well(const sluice_pool_t *pool, unsigned line, uint64_t now);

/* when it will be: 0 it is, UINT64_MAX nobody knows; monotonic milliseconds */
uint64_t sluice_pool_recovery(const sluice_pool_t *pool, unsigned line,
    uint64_t now);

/* the request path: O(1), no lock; slot is the caller's own */
void sluice_pool_take(sluice_pool_t *pool, unsigned line, unsigned slot);
void sluice_pool_give(sluice_pool_t *pool, unsigned line, unsigned slot);

uint32_t sluice_pool_in_flight(const sluice_pool_member_t *member);


/*
 * Changes of state, merged by compare-and-swap: a later deadline wins, and a
 * cooldown does not enable what is disabled.
 */
void sluice_pool_cool(sluice_pool_t *pool, unsigned line, uint64_t until);
void sluice_pool_disable(sluice_pool_t *pool, unsigned line);
void sluice_pool_enable(sluice_pool_t *pool, unsigned line);

static inline sluice_member_state_t
sluice_member_state(uint64_t state)
{
    return (sluice_member_state_t) (state >> 56);
}

static inline uint64_t
sluice_member_until(uint64_t state)
{
    return state & 0xffffffffffffffull;
}

/* "healthy"; NULL: no such state */
const char *sluice_member_state_name(unsigned state);


/*
 * Zeroes a dead slot's columns in every pool of the directory.  false: for
 * want of descriptors or memory some were not reached; to be done again.
 */
bool sluice_pool_forget_slot(const sluice_dir_t *dir, unsigned slot);


#endif /* SLUICE_POOL_H */
