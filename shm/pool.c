
#define _GNU_SOURCE

#include "pool.h"
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif


#define SLUICE_POOL_ROW    8            /* lines that are added up at once   */
#define SLUICE_POOL_WAIT   2000         /* ms, for whoever gives out lines   */
#define SLUICE_EARLY_TIME  20           /* bits below it, of control->early  */


static void sluice_pool_spec(sluice_pool_kind_t kind, const char *name,
    sluice_file_spec_t *spec);
static void sluice_pool_attach(sluice_pool_t *pool);
static bool sluice_pool_begin(const sluice_pool_t *pool);
static bool sluice_pool_find(sluice_pool_t *pool, uint64_t fingerprint,
    unsigned *line);
static bool sluice_pool_assign(sluice_pool_t *pool, uint64_t fingerprint,
    const char *id, unsigned *line);
static bool sluice_pool_unused(sluice_pool_t *pool, unsigned *line);
static void sluice_pool_forget_one(sluice_file_t *file, void *data);


static const struct {
    const char  *prefix;
    uint32_t     file;
} sluice_pool_kinds[SLUICE_POOL_KINDS] = {
    [SLUICE_POOL_KEYS]    = { "pool.", SLUICE_FILE_POOL },
    [SLUICE_POOL_PROXIES] = { "proxies.", SLUICE_FILE_PROXIES }
};


const char *
sluice_pool_prefix(sluice_pool_kind_t kind)
{
    return sluice_pool_kinds[kind].prefix;
}


uint32_t
sluice_pool_file(sluice_pool_kind_t kind)
{
    return sluice_pool_kinds[kind].file;
}


static void
sluice_pool_spec(sluice_pool_kind_t kind, const char *name,
    sluice_file_spec_t *spec)
{
    memset(spec, 0, sizeof(sluice_file_spec_t));

    spec->kind = sluice_pool_file(kind);
    spec->subject = name;
    spec->geometry[0] = SLUICE_POOL_MEMBERS;
    spec->geometry[1] = SLUICE_SLOTS;
    spec->geometry[2] = sizeof(sluice_member_t);
    spec->section[0] = sizeof(sluice_pool_control_t);
    spec->section[1] = SLUICE_POOL_MEMBERS * sizeof(sluice_member_t);
    spec->section[2] = SLUICE_SLOTS * SLUICE_POOL_MEMBERS * sizeof(uint16_t);
}


bool
sluice_pool_possible(const sluice_file_header_t *header)
{
    unsigned            i;
    sluice_file_spec_t  spec;

    sluice_pool_spec(SLUICE_POOL_KEYS, "", &spec);

    for (i = 0; i < SLUICE_FILE_SECTIONS; i++) {
        if (header->section[i].size != spec.section[i]) {
            return false;
        }
    }

    return memcmp(header->geometry, spec.geometry, sizeof(spec.geometry)) == 0;
}


static void
sluice_pool_attach(sluice_pool_t *pool)
{
    pool->control = sluice_file_section(&pool->file, 0);
    pool->members = sluice_file_section(&pool->file, 1);
    pool->columns = sluice_file_section(&pool->file, 2);

    memset(pool->held, 0, sizeof(pool->held));
}


sluice_status_t
sluice_pool_open(const sluice_dir_t *dir, sluice_pool_kind_t kind,
    const char *name, sluice_pool_t *pool, sluice_error_t *error)
{
    char                file[SLUICE_FILE_NAME_MAX];
    unsigned            n, tries;
    const char         *prefix;
    sluice_status_t     status;
    sluice_file_spec_t  spec;

    sluice_pool_spec(kind, name, &spec);

    prefix = sluice_pool_prefix(kind);
    status = SLUICE_BUSY;

    for (tries = 0; tries < 8; tries++) {

        n = 0;
        (void) sluice_dir_series(dir, prefix, name, &n, 1);

        if (n != 0) {
            snprintf(file, sizeof(file), "%s%s.%u", prefix, name, n);

            status = sluice_file_open(dir, file, spec.kind, SLUICE_OPEN_WRITE,
                                      &pool->file, error);

            if (status == SLUICE_OK
                && sluice_file_fits(&pool->file, &spec))
            {
                break;
            }

            if (status == SLUICE_OK || status == SLUICE_STALE) {
                (void) sluice_file_retire(dir, &pool->file);
                sluice_file_close(dir, &pool->file);

            } else if (status != SLUICE_ABSENT && status != SLUICE_BUSY) {
                return status;
            }
        }

        status = sluice_file_create(dir, &spec, &pool->file, error);
        if (status != SLUICE_OK) {
            return status;
        }

        snprintf(file, sizeof(file), "%s%s.%u", prefix, name, n + 1);

        status = sluice_file_publish(dir, &pool->file, file, error);

        if (status == SLUICE_OK) {
            break;
        }

        sluice_file_close(dir, &pool->file);

        if (status != SLUICE_EXISTS) {
            break;
        }
    }

    if (status == SLUICE_OK) {
        sluice_pool_attach(pool);
    }

    return status;
}


void
sluice_pool_close(const sluice_dir_t *dir, sluice_pool_t *pool)
{
    sluice_file_close(dir, &pool->file);

    pool->control = NULL;
    pool->members = NULL;
    pool->columns = NULL;
}


/* one at a time gives out lines, or a member would get two */

static bool
sluice_pool_begin(const sluice_pool_t *pool)
{
    unsigned         ms;
    struct timespec  pause;

    pause.tv_sec = 0;
    pause.tv_nsec = 1000000;

    for (ms = 0; !sluice_file_lock(&pool->file, SLUICE_LOCK_OWNER, true); ms++)
    {
        if (ms == SLUICE_POOL_WAIT) {
            return false;
        }

        nanosleep(&pause, NULL);
    }

    sluice_fault("pool.naming");

    return true;
}


static bool
sluice_pool_find(sluice_pool_t *pool, uint64_t fingerprint, unsigned *line)
{
    unsigned  i;

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        if (__atomic_load_n(&pool->members[i].fingerprint, __ATOMIC_ACQUIRE)
            == fingerprint)
        {
            *line = i;
            return true;
        }
    }

    return false;
}


/* the line that was named the longest ago, of those that nobody names now */

static bool
sluice_pool_unused(sluice_pool_t *pool, unsigned *line)
{
    unsigned         i;
    uint64_t         named, oldest;
    sluice_member_t  *m;

    oldest = UINT64_MAX;

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        m = &pool->members[i];
        named = __atomic_load_n(&m->named, __ATOMIC_RELAXED);

        if (named < oldest && !sluice_pool_named(pool, i)) {
            oldest = named;
            *line = i;
        }
    }

    return oldest != UINT64_MAX;
}


/*
 * Makes a line the member's.  It is nobody's until its fingerprint is written,
 * last: whoever finds one that was left half made does all of it again.  The
 * columns are left alone: a dead owner's are zeroed by whoever reclaims his
 * slot.
 */

static bool
sluice_pool_assign(sluice_pool_t *pool, uint64_t fingerprint, const char *id,
    unsigned *line)
{
    sluice_member_t  *m;

    if (!sluice_pool_find(pool, 0, line) && !sluice_pool_unused(pool, line)) {
        return false;
    }

    /* somebody may look at it meanwhile; then it is his for as long */

    if (!sluice_file_lock(&pool->file, SLUICE_LOCK_LINE + (off_t) *line, true))
    {
        return false;
    }

    m = &pool->members[*line];

    __atomic_store_n(&m->fingerprint, 0, __ATOMIC_RELEASE);

    sluice_fault("pool.freed");

    memset(m, 0, sizeof(sluice_member_t));

    sluice_fault("pool.cleared");

    snprintf(m->id, sizeof(m->id), "%s", id);
    __atomic_store_n(&m->fingerprint, fingerprint, __ATOMIC_RELEASE);

    sluice_fault("pool.claimed");

    return true;
}


sluice_status_t
sluice_pool_member(sluice_pool_t *pool, uint64_t fingerprint, const char *id,
    uint64_t now, unsigned *line, sluice_error_t *error)
{
    if (!sluice_pool_begin(pool)) {
        return sluice_error(error, SLUICE_BUSY, "another process has been "
                            "naming members in \"%s\" for two seconds",
                            pool->file.name);
    }

    if (!sluice_pool_find(pool, fingerprint, line)
        && !sluice_pool_assign(pool, fingerprint, id, line))
    {
        sluice_file_unlock(&pool->file, SLUICE_LOCK_OWNER);

        return sluice_error(error, SLUICE_FULL, "pool \"%s\": %u members are "
                            "in use in \"%s\": wait until the workers of the "
                            "earlier configurations are gone",
                            pool->file.header.name, SLUICE_POOL_MEMBERS,
                            pool->file.name);
    }

    /* an exclusive lock becomes a shared one */

    if (!sluice_file_lock(&pool->file, SLUICE_LOCK_LINE + (off_t) *line,
                          false))
    {
        sluice_file_unlock(&pool->file, SLUICE_LOCK_OWNER);

        return sluice_error_errno(error, SLUICE_FAILED,
                                  "locking a line of \"%s\" failed",
                                  pool->file.name);
    }

    pool->held[*line / 64] |= 1ull << *line % 64;
    __atomic_store_n(&pool->members[*line].named, now, __ATOMIC_RELAXED);

    sluice_file_unlock(&pool->file, SLUICE_LOCK_OWNER);

    return SLUICE_OK;
}


bool
sluice_pool_named(const sluice_pool_t *pool, unsigned line)
{
    return (pool->held[line / 64] >> line % 64 & 1) != 0
           || sluice_file_locked(&pool->file, SLUICE_LOCK_LINE + (off_t) line);
}


/* before the first of a slot is raised: who adds up must not pass it over */

static void
sluice_pool_reach(sluice_pool_t *pool, unsigned slot)
{
    uint32_t  slots;

    slots = __atomic_load_n(&pool->control->slots, __ATOMIC_RELAXED);

    while (slots <= slot
           && !__atomic_compare_exchange_n(&pool->control->slots, &slots,
                                           slot + 1, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED))
    {
        /* void */
    }
}


static inline unsigned
sluice_pool_slots(const sluice_pool_t *pool)
{
    uint32_t  slots;

    slots = __atomic_load_n(&pool->control->slots, __ATOMIC_SEQ_CST);

    return (slots <= SLUICE_SLOTS) ? slots : SLUICE_SLOTS;
}


uint16_t *
sluice_pool_column(sluice_pool_t *pool, unsigned slot)
{
    sluice_pool_reach(pool, slot);

    return pool->columns[slot];
}


void
sluice_pool_take(sluice_pool_t *pool, unsigned line, unsigned slot)
{
    sluice_pool_raise(sluice_pool_column(pool, slot), line);
}


void
sluice_pool_give(sluice_pool_t *pool, unsigned line, unsigned slot)
{
    sluice_pool_lower(pool->columns[slot], line);
}


bool
sluice_pool_take_max(sluice_pool_t *pool, unsigned line, unsigned slot,
    uint32_t max)
{
    uint16_t  *column, n;

    /* who is refused anyway writes nothing, and is in nobody's way */

    if (sluice_pool_in_flight(pool, line) >= max) {
        return false;
    }

    sluice_pool_reach(pool, slot);

    column = &pool->columns[slot][line];
    n = __atomic_load_n(column, __ATOMIC_RELAXED);

    if (n == UINT16_MAX) {
        return false;
    }

    __atomic_store_n(column, (uint16_t) (n + 1), __ATOMIC_SEQ_CST);

    sluice_fault("pool.raised");

    if (sluice_pool_in_flight(pool, line) > max) {
        __atomic_store_n(column, n, __ATOMIC_RELEASE);
        return false;
    }

    return true;
}


uint32_t
sluice_pool_in_flight(const sluice_pool_t *pool, unsigned line)
{
    uint32_t  sum;
    unsigned  i, slots;

    slots = sluice_pool_slots(pool);

    for (sum = 0, i = 0; i < slots; i++) {
        sum += __atomic_load_n(&pool->columns[i][line], __ATOMIC_SEQ_CST);
    }

    return sum;
}


/* a row of lines that follow each other, as those of a pool mostly do */

#if defined(__x86_64__) && !defined(SLUICE_TSAN)

static inline void
sluice_pool_others_row(const sluice_pool_t *pool, unsigned slots,
    unsigned slot, unsigned line, uint32_t *in_flight)
{
    __m128i   x, low, high, zero;
    unsigned  i;

    /* no column is torn: a load of 16 bytes is no worse than eight of two */

    zero = _mm_setzero_si128();
    low = zero;
    high = zero;

    for (i = 0; i < slots; i++) {

        if (i == slot) {
            continue;
        }

        x = _mm_loadu_si128((const __m128i *) &pool->columns[i][line]);
        low = _mm_add_epi32(low, _mm_unpacklo_epi16(x, zero));
        high = _mm_add_epi32(high, _mm_unpackhi_epi16(x, zero));
    }

    _mm_storeu_si128((__m128i *) in_flight, low);
    _mm_storeu_si128((__m128i *) (in_flight + 4), high);
}

#else

static inline void
sluice_pool_others_row(const sluice_pool_t *pool, unsigned slots,
    unsigned slot, unsigned line, uint32_t *in_flight)
{
    unsigned         i, k;
    const uint16_t  *column;

    memset(in_flight, 0, SLUICE_POOL_ROW * sizeof(uint32_t));

    for (i = 0; i < slots; i++) {

        if (i == slot) {
            continue;
        }

        column = &pool->columns[i][line];

        for (k = 0; k < SLUICE_POOL_ROW; k++) {
            in_flight[k] += __atomic_load_n(&column[k], __ATOMIC_RELAXED);
        }
    }
}

#endif


static inline bool
sluice_pool_in_a_row(const uint16_t *lines)
{
    unsigned  k;

    for (k = 1; k < SLUICE_POOL_ROW; k++) {
        if (lines[k] != lines[0] + k) {
            return false;
        }
    }

    return true;
}


void
sluice_pool_others(const sluice_pool_t *pool, unsigned slot,
    const uint16_t *lines, unsigned n, uint32_t *in_flight)
{
    unsigned  i, k, slots;

    slots = sluice_pool_slots(pool);

    for (k = 0; k < n; /* void */ ) {

        if (n - k >= SLUICE_POOL_ROW && sluice_pool_in_a_row(&lines[k])) {
            sluice_pool_others_row(pool, slots, slot, lines[k],
                                   &in_flight[k]);
            k += SLUICE_POOL_ROW;
            continue;
        }

        in_flight[k] = 0;

        for (i = 0; i < slots; i++) {
            if (i != slot) {
                in_flight[k] += __atomic_load_n(&pool->columns[i][lines[k]],
                                                __ATOMIC_RELAXED);
            }
        }

        k++;
    }
}


/*
 * Who was killed after he had claimed the word, and before he changed the
 * member's, has not answered either: nobody waits for him.
 */

static bool
sluice_pool_early_after(const sluice_pool_t *pool, uint64_t last, uint64_t now,
    uint64_t timeout)
{
    uint64_t          began;
    sluice_member_t  *member;

    began = last >> SLUICE_EARLY_TIME;
    member = &pool->members[last % SLUICE_POOL_MEMBERS];

    return last == 0
           || (now >= began && now - began >= SLUICE_POOL_EARLY
               && (now - began >= timeout
                   || !sluice_member_out(member, began)));
}


bool
sluice_pool_early_due(const sluice_pool_t *pool, uint64_t now,
    uint64_t timeout)
{
    return sluice_pool_early_after(pool,
                                   __atomic_load_n(&pool->control->early,
                                                   __ATOMIC_ACQUIRE),
                                   now, timeout);
}


uint64_t
sluice_pool_early(sluice_pool_t *pool, unsigned line, uint64_t now,
    uint64_t timeout)
{
    uint64_t  last;

    last = __atomic_load_n(&pool->control->early, __ATOMIC_ACQUIRE);

    if (!sluice_pool_early_after(pool, last, now, timeout)
        || !__atomic_compare_exchange_n(&pool->control->early, &last,
                                        now << SLUICE_EARLY_TIME | line, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
    {
        return 0;
    }

    sluice_fault("pool.early");

    return sluice_member_early(&pool->members[line], now);
}


/*
 * The word is in nobody's hands before or after: who has written it is the one,
 * and one that is ahead of the clock by more than a rival's can be was spoilt.
 */

bool
sluice_pool_round(sluice_pool_t *pool, uint64_t now, uint64_t interval)
{
    uint64_t  last;

    last = __atomic_load_n(&pool->control->round, __ATOMIC_RELAXED);

    if (last != 0 && (now >= last ? now - last < interval
                                  : last - now <= interval))
    {
        return false;
    }

    return __atomic_compare_exchange_n(&pool->control->round, &last, now,
                                       false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}


/*
 * Who tries a key holds a place before he has the probe, and until he has told
 * what came of it: a probe of nobody's who has a place was a dead one's.  Of a
 * proxy that cannot be told, as the module's own probes hold no place: there
 * the deadline ends it.
 */

static void
sluice_pool_forget_probe(sluice_pool_t *pool, unsigned line)
{
    sluice_member_t      *member;
    sluice_member_try_t   try;

    member = &pool->members[line];

    if (sluice_member_healthy(member)) {
        return;
    }

    /* pairs with the swap that makes a probe, which is after its place */

    try.began = 0;
    try.probe = sluice_member_trying(member);

    if (try.probe != 0 && sluice_pool_in_flight(pool, line) == 0) {
        sluice_member_forgo(member, &try);
    }
}


static void
sluice_pool_forget_one(sluice_file_t *file, void *data)
{
    unsigned *slot = data;

    unsigned        i;
    uint16_t       *column;
    sluice_pool_t   pool;

    if (!sluice_pool_possible(&file->header)) {
        return;
    }

    pool.file = *file;
    sluice_pool_attach(&pool);

    column = pool.columns[*slot];

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {

        /* lines that it has not had stay clean */

        if (__atomic_load_n(&column[i], __ATOMIC_RELAXED) != 0) {
            __atomic_store_n(&column[i], 0, __ATOMIC_SEQ_CST);
        }
    }

    if (file->header.kind != SLUICE_FILE_POOL) {
        return;
    }

    /* all of them: who was killed at this has left no column that says which */

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        sluice_pool_forget_probe(&pool, i);
    }
}


bool
sluice_pool_forget_slot(const sluice_dir_t *dir, unsigned slot)
{
    bool      all;
    unsigned  kind;

    for (all = true, kind = 0; kind < SLUICE_POOL_KINDS; kind++) {
        all = sluice_file_each(dir, sluice_pool_kinds[kind].prefix,
                               sluice_pool_kinds[kind].file,
                               sluice_pool_forget_one, &slot)
              && all;
    }

    return all;
}
