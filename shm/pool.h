
/*
 * A pool's file: a line for each member that a configuration has named, and
 * what is in flight.  A member is a key or an egress proxy: pools of the two
 * are the same but for the names and the kind of their files, so one of each
 * may have the same name.
 *
 * A member is found by a fingerprint of its id and secret, so a reload that
 * adds, removes or reorders members keeps the state of the others, and a new
 * secret under an old id begins anew.  No secret stands in the file.
 *
 * Whoever has a configuration with a member holds a shared lock on the line's
 * byte of the file, by a description of his own.  A line whose byte nobody
 * holds keeps its state, for a member that comes back, until all lines are in
 * use: then the one that was named the longest ago is given to another.  Who
 * changes a state without a configuration (sluicectl) holds the byte, too, and
 * then looks at the fingerprint again.  Naming is one process's at a time.
 *
 * In flight is a column of 16-bit numbers for each process slot, one number a
 * line, written by the owner of the slot alone; a member's value is the sum
 * over the slots.  A dead owner's column is zeroed by whoever reclaims the
 * slot.  A column is in one piece: workers share no cache line, and adding up
 * all members is a run over a few of them.
 *
 *   file "pool.NAME.N" of keys, "proxies.NAME.N" of proxies:
 *     header | control | members | columns
 *   geometry: members, slots, sizeof(sluice_member_t)
 */

#ifndef SLUICE_POOL_H
#define SLUICE_POOL_H

#include "fault.h"
#include "file.h"
#include "member.h"
#include "workers.h"


#define SLUICE_POOL_MEMBERS   1024     /* lines, former members' included   */
#define SLUICE_POOL_EARLY     1000     /* ms between two early tries        */


typedef enum {
    SLUICE_POOL_KEYS = 0,
    SLUICE_POOL_PROXIES,
    SLUICE_POOL_KINDS
} sluice_pool_kind_t;


typedef struct {
    uint32_t  slots;            /* columns from this one on are all zero     */
    uint32_t  reserved0;
    uint64_t  early;            /* the last early try: ms:44, line:20        */
    uint64_t  round;            /* when the last round of probes began: ms;
                                   0: there was none                         */
    uint8_t   reserved1[104];
} sluice_pool_control_t;

_Static_assert(sizeof(sluice_pool_control_t) == 128, "pool control");
_Static_assert(offsetof(sluice_pool_control_t, early) == 8, "pool control");
_Static_assert(offsetof(sluice_pool_control_t, round) == 16, "pool control");


typedef struct {
    sluice_file_t           file;
    sluice_pool_control_t  *control;
    sluice_member_t        *members;    /* SLUICE_POOL_MEMBERS of them       */
    uint16_t              (*columns)[SLUICE_POOL_MEMBERS];      /* of a slot */
    uint64_t                held[SLUICE_POOL_MEMBERS / 64];     /* lines     */
} sluice_pool_t;


/* what the files of a kind begin with, and their kind as of file.h */
const char *sluice_pool_prefix(sluice_pool_kind_t kind);
uint32_t sluice_pool_file(sluice_pool_kind_t kind);

/* opens the pool's newest file, or makes it; one from before a boot is left */
sluice_status_t sluice_pool_open(const sluice_dir_t *dir,
    sluice_pool_kind_t kind, const char *name, sluice_pool_t *pool,
    sluice_error_t *error);

void sluice_pool_close(const sluice_dir_t *dir, sluice_pool_t *pool);

/* whether a header has the geometry and the sections of such a file, of any
   kind */
bool sluice_pool_possible(const sluice_file_header_t *header);

/*
 * Finds the member's line or takes one, and holds it until the pool is closed.
 * fingerprint is not 0; now in wall clock seconds.  SLUICE_FULL: somebody
 * names every line.  SLUICE_BUSY: others have been at it for two seconds.  May
 * wait that long: not for the request path, nor after a fork().
 */
sluice_status_t sluice_pool_member(sluice_pool_t *pool, uint64_t fingerprint,
    const char *id, uint64_t now, unsigned *line, sluice_error_t *error);

/* whether some configuration that is in use names the line's member */
bool sluice_pool_named(const sluice_pool_t *pool, unsigned line);

/*
 * The request path: O(1), no lock; slot is the caller's own, and one thread's.
 * A slot holds no more than 65535 of a member.
 */
void sluice_pool_take(sluice_pool_t *pool, unsigned line, unsigned slot);
void sluice_pool_give(sluice_pool_t *pool, unsigned line, unsigned slot);

/*
 * The two in pieces, for who does it often: the slot's own column, which is
 * added up with the others from now on, and one more, or less, of a line in it.
 */
uint16_t *sluice_pool_column(sluice_pool_t *pool, unsigned slot);

static inline void
sluice_pool_raise(uint16_t *column, unsigned line)
{
    uint16_t  n;

    n = __atomic_load_n(&column[line], __ATOMIC_RELAXED);

    if (n != UINT16_MAX) {
        __atomic_store_n(&column[line], (uint16_t) (n + 1), __ATOMIC_RELEASE);
    }

    sluice_fault("pool.taken");
}

static inline void
sluice_pool_lower(uint16_t *column, unsigned line)
{
    uint16_t  n;

    n = __atomic_load_n(&column[line], __ATOMIC_RELAXED);

    if (n != 0) {
        __atomic_store_n(&column[line], (uint16_t) (n - 1), __ATOMIC_RELEASE);
    }
}

/*
 * As take, unless max are in flight already; exact, as in conn.h: of rivals for
 * the last place none may get it, but never two.
 */
bool sluice_pool_take_max(sluice_pool_t *pool, unsigned line, unsigned slot,
    uint32_t max);

uint32_t sluice_pool_in_flight(const sluice_pool_t *pool, unsigned line);

/* of n lines, the caller's own slot left out; one run over all slots in use */
void sluice_pool_others(const sluice_pool_t *pool, unsigned slot,
    const uint16_t *lines, unsigned n, uint32_t *in_flight);

/*
 * An early try (member.h) of one of the pool's members: over all workers one at
 * a time, until it has been answered or `timeout` ms are over, and one in
 * SLUICE_POOL_EARLY.  due: whether there may be one.  early: its number, or 0:
 * it is not due any more, or not of that member.
 */
bool sluice_pool_early_due(const sluice_pool_t *pool, uint64_t now,
    uint64_t timeout);
uint64_t sluice_pool_early(sluice_pool_t *pool, unsigned line, uint64_t now,
    uint64_t timeout);

/*
 * Whether the caller is the one who makes a round of active probes now: of all
 * processes one an interval (ms, not 0), whoever comes first.  Nobody leads and
 * nothing is held: of one who is killed at it the next interval's is another's.
 * now: monotonic ms, as everybody's.
 */
bool sluice_pool_round(sluice_pool_t *pool, uint64_t now, uint64_t interval);

/*
 * Zeroes a dead slot's columns in every pool of the directory, of both kinds,
 * and gives back the probes, and the early tries, of keys that nobody has a
 * place of then.  false: for want of descriptors or memory some were not
 * reached; to be done again.
 */
bool sluice_pool_forget_slot(const sluice_dir_t *dir, unsigned slot);


#endif /* SLUICE_POOL_H */
