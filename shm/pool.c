
#define _GNU_SOURCE

#include "pool.h"
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>


typedef struct {
    const sluice_dir_t  *dir;
    unsigned             slot;
    bool                 failed;
} sluice_pool_forget_t;


static void sluice_pool_spec(const char *name, sluice_file_spec_t *spec);
static int sluice_pool_forget_one(const char *name, void *data);
static void sluice_pool_set(sluice_pool_member_t *member,
    sluice_member_state_t state, uint64_t until);


static void
sluice_pool_spec(const char *name, sluice_file_spec_t *spec)
{
    memset(spec, 0, sizeof(sluice_file_spec_t));

    spec->kind = SLUICE_FILE_POOL;
    spec->subject = name;
    spec->geometry[0] = SLUICE_POOL_MEMBERS;
    spec->geometry[1] = SLUICE_SLOTS;
    spec->geometry[2] = sizeof(sluice_pool_member_t);
    spec->section[0] = SLUICE_POOL_MEMBERS * sizeof(sluice_pool_member_t);
}


sluice_status_t
sluice_pool_open(const sluice_dir_t *dir, const char *name,
    sluice_pool_t *pool, sluice_error_t *error)
{
    char                file[SLUICE_FILE_NAME_MAX];
    unsigned            n, tries;
    sluice_status_t     status;
    sluice_file_spec_t  spec;

    sluice_pool_spec(name, &spec);

    status = SLUICE_BUSY;

    for (tries = 0; tries < 8; tries++) {

        n = 0;
        (void) sluice_dir_series(dir, SLUICE_POOL_PREFIX, name, &n, 1);

        if (n != 0) {
            snprintf(file, sizeof(file), SLUICE_POOL_PREFIX "%s.%u", name, n);

            status = sluice_file_open(dir, file, SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &pool->file, error);

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

        snprintf(file, sizeof(file), SLUICE_POOL_PREFIX "%s.%u", name, n + 1);

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
        pool->members = sluice_file_section(&pool->file, 0);
    }

    return status;
}


void
sluice_pool_close(const sluice_dir_t *dir, sluice_pool_t *pool)
{
    sluice_file_close(dir, &pool->file);
    pool->members = NULL;
}


sluice_status_t
sluice_pool_member(sluice_pool_t *pool, uint64_t fingerprint, const char *id,
    unsigned *line, sluice_error_t *error)
{
    unsigned               i;
    uint64_t               seen;
    sluice_pool_member_t  *m;

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        m = &pool->members[i];
        seen = 0;

        /* lines are taken from the first on and never given back */

        if (__atomic_compare_exchange_n(&m->fingerprint, &seen, fingerprint,
                                        false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
        {
            sluice_fault("pool.claimed");
            seen = fingerprint;
        }

        if (seen == fingerprint) {

            /* again, if whoever took the line died before it wrote this */

            snprintf(m->id, sizeof(m->id), "%s", id);
            *line = i;

            return SLUICE_OK;
        }
    }

    return sluice_error(error, SLUICE_FULL, "pool \"%s\" has had %u members "
                        "since its file was made: stop nginx and remove "
                        "\"%s\"", pool->file.header.name, SLUICE_POOL_MEMBERS,
                        pool->file.name);
}


uint64_t
sluice_pool_recovery(const sluice_pool_t *pool, unsigned line, uint64_t now)
{
    uint64_t  state;

    state = __atomic_load_n(&pool->members[line].state, __ATOMIC_ACQUIRE);

    switch (sluice_member_state(state)) {

    case SLUICE_MEMBER_HEALTHY:
        return 0;

    case SLUICE_MEMBER_COOLING:
        return (sluice_member_until(state) > now) ? sluice_member_until(state)
                                                  : 0;
    default:
        return UINT64_MAX;
    }
}


bool
sluice_pool_well(const sluice_pool_t *pool, unsigned line, uint64_t now)
{
    return sluice_pool_recovery(pool, line, now) == 0;
}


void
sluice_pool_take(sluice_pool_t *pool, unsigned line, unsigned slot)
{
    uint16_t              *column, n;
    sluice_pool_member_t  *m;

    m = &pool->members[line];
    column = &m->in_flight[slot];
    n = __atomic_load_n(column, __ATOMIC_RELAXED);

    if (n != UINT16_MAX) {
        __atomic_store_n(column, (uint16_t) (n + 1), __ATOMIC_RELEASE);
    }

    sluice_fault("pool.taken");

    __atomic_fetch_add(&m->used, 1, __ATOMIC_RELAXED);
}


void
sluice_pool_give(sluice_pool_t *pool, unsigned line, unsigned slot)
{
    uint16_t  *column, n;

    column = &pool->members[line].in_flight[slot];
    n = __atomic_load_n(column, __ATOMIC_RELAXED);

    if (n != 0) {
        __atomic_store_n(column, (uint16_t) (n - 1), __ATOMIC_RELEASE);
    }
}


uint32_t
sluice_pool_in_flight(const sluice_pool_member_t *member)
{
    unsigned  i;
    uint32_t  sum;

    sum = 0;

    for (i = 0; i < SLUICE_SLOTS; i++) {
        sum += __atomic_load_n(&member->in_flight[i], __ATOMIC_ACQUIRE);
    }

    return sum;
}


static void
sluice_pool_set(sluice_pool_member_t *member, sluice_member_state_t state,
    uint64_t until)
{
    __atomic_store_n(&member->state, (uint64_t) state << 56 | until,
                     __ATOMIC_RELEASE);
}


void
sluice_pool_cool(sluice_pool_t *pool, unsigned line, uint64_t until)
{
    uint64_t               old, new;
    sluice_pool_member_t  *m;

    m = &pool->members[line];
    new = (uint64_t) SLUICE_MEMBER_COOLING << 56
          | (until & 0xffffffffffffffull);
    old = __atomic_load_n(&m->state, __ATOMIC_ACQUIRE);

    /* ends: each turn that fails has met a state that is no lesser than ours */

    do {
        if (sluice_member_state(old) == SLUICE_MEMBER_DISABLED
            || (sluice_member_state(old) == SLUICE_MEMBER_COOLING
                && sluice_member_until(old) >= sluice_member_until(new)))
        {
            return;
        }

    } while (!__atomic_compare_exchange_n(&m->state, &old, new, false,
                                          __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
}


void
sluice_pool_disable(sluice_pool_t *pool, unsigned line)
{
    sluice_pool_set(&pool->members[line], SLUICE_MEMBER_DISABLED, 0);
}


void
sluice_pool_enable(sluice_pool_t *pool, unsigned line)
{
    sluice_pool_set(&pool->members[line], SLUICE_MEMBER_HEALTHY, 0);
}


const char *
sluice_member_state_name(unsigned state)
{
    static const char  *names[SLUICE_MEMBER_STATES] = {
        [SLUICE_MEMBER_HEALTHY]  = "healthy",
        [SLUICE_MEMBER_COOLING]  = "cooling",
        [SLUICE_MEMBER_DISABLED] = "disabled"
    };

    return state < SLUICE_MEMBER_STATES ? names[state] : NULL;
}


static int
sluice_pool_forget_one(const char *name, void *data)
{
    sluice_pool_forget_t  *forget = data;

    unsigned               i, n;
    char                   subject[SLUICE_NAME_MAX];
    sluice_pool_t          pool;
    sluice_error_t         error;
    sluice_status_t        status;
    sluice_file_spec_t     spec;

    if (!sluice_name_parse(name, SLUICE_POOL_PREFIX, subject, sizeof(subject),
                           &n))
    {
        return 0;
    }

    errno = 0;

    status = sluice_file_open(forget->dir, name, SLUICE_FILE_POOL,
                              SLUICE_OPEN_WRITE, &pool.file, &error);

    if (status != SLUICE_OK && status != SLUICE_STALE) {

        /* any other file that we cannot open is nobody's pool */

        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
            forget->failed = true;
        }

        return 0;
    }

    sluice_pool_spec(subject, &spec);

    if (status == SLUICE_OK && sluice_file_fits(&pool.file, &spec)) {
        pool.members = sluice_file_section(&pool.file, 0);

        for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
            __atomic_store_n(&pool.members[i].in_flight[forget->slot], 0,
                             __ATOMIC_SEQ_CST);
        }
    }

    sluice_file_close(forget->dir, &pool.file);

    return 0;
}


bool
sluice_pool_forget_slot(const sluice_dir_t *dir, unsigned slot)
{
    sluice_error_t        error;
    sluice_pool_forget_t  forget;

    forget.dir = dir;
    forget.slot = slot;
    forget.failed = false;

    return sluice_dir_walk(dir, sluice_pool_forget_one, &forget, &error)
           == SLUICE_OK
           && !forget.failed;
}
