
#define _GNU_SOURCE

#include "workers.h"
#include "clock.h"
#include "conn.h"
#include "fault.h"
#include "pool.h"

#include <string.h>
#include <unistd.h>


static const char  *sluice_stat_names[] = {
#define SLUICE_STAT_NAME(id, name, text)  name,
    SLUICE_STATS(SLUICE_STAT_NAME)
#undef SLUICE_STAT_NAME
};


static const char  *sluice_stat_texts[] = {
#define SLUICE_STAT_TEXT(id, name, text)  text,
    SLUICE_STATS(SLUICE_STAT_TEXT)
#undef SLUICE_STAT_TEXT
};


static bool sluice_slot_forget(const sluice_dir_t *dir, unsigned slot);
static bool sluice_slot_take(const sluice_dir_t *dir,
    sluice_workers_t *workers, unsigned slot);


const char *
sluice_stat_name(sluice_stat_t stat)
{
    return sluice_stat_names[stat];
}


const char *
sluice_stat_text(sluice_stat_t stat)
{
    return sluice_stat_texts[stat];
}


sluice_status_t
sluice_workers_open(const sluice_dir_t *dir, sluice_workers_t *workers,
    sluice_error_t *error)
{
    unsigned            tries;
    sluice_status_t     status;
    sluice_file_spec_t  spec;

    memset(&spec, 0, sizeof(sluice_file_spec_t));
    spec.kind = SLUICE_FILE_WORKERS;
    spec.subject = SLUICE_WORKERS_NAME;
    spec.geometry[0] = SLUICE_SLOTS;
    spec.geometry[1] = SLUICE_STAT_MAX;
    spec.section[0] = SLUICE_SLOTS * sizeof(sluice_slot_t);

    status = SLUICE_FAILED;

    for (tries = 0; tries < 8; tries++) {

        status = sluice_file_open(dir, SLUICE_WORKERS_NAME,
                                  SLUICE_FILE_WORKERS, SLUICE_OPEN_WRITE,
                                  &workers->file, error);

        if (status == SLUICE_OK
            && !sluice_file_fits(&workers->file, &spec))
        {
            sluice_file_close(dir, &workers->file);
            return sluice_error(error, SLUICE_CORRUPT,
                                "\"%s/" SLUICE_WORKERS_NAME "\" has another "
                                "geometry", dir->path);
        }

        if (status == SLUICE_STALE) {
            (void) sluice_file_retire(dir, &workers->file);
            sluice_file_close(dir, &workers->file);
            continue;
        }

        if (status == SLUICE_ABSENT) {
            status = sluice_file_create(dir, &spec, &workers->file, error);
            if (status != SLUICE_OK) {
                return status;
            }

            status = sluice_file_publish(dir, &workers->file,
                                         SLUICE_WORKERS_NAME, error);

            if (status != SLUICE_OK) {
                sluice_file_close(dir, &workers->file);

                if (status == SLUICE_EXISTS) {
                    continue;
                }
            }
        }

        break;
    }

    if (status == SLUICE_OK) {
        workers->slots = sluice_file_section(&workers->file, 0);
    }

    return status;
}


void
sluice_workers_close(const sluice_dir_t *dir, sluice_workers_t *workers)
{
    sluice_file_close(dir, &workers->file);
    workers->slots = NULL;
}


/* false: something of it is still there */

static bool
sluice_slot_forget(const sluice_dir_t *dir, unsigned slot)
{
    bool  pools;

    pools = sluice_pool_forget_slot(dir, slot);

    sluice_fault("slot.forgetting");

    return sluice_conn_forget_slot(dir, slot) && pools;
}


/*
 * Takes the slot's lock and gives back what the former owner held.  A kill
 * anywhere in here leaves the slot as it found it: the lock is free again,
 * and whoever comes next does the same once more.
 */

static bool
sluice_slot_take(const sluice_dir_t *dir, sluice_workers_t *workers,
    unsigned slot)
{
    if (!sluice_file_lock(&workers->file, SLUICE_LOCK_SLOT + (off_t) slot,
                          true))
    {
        return false;
    }

    sluice_fault("slot.locked");

    if (__atomic_load_n(&workers->slots[slot].state, __ATOMIC_RELAXED)
        != SLUICE_SLOT_FREE
        && !sluice_slot_forget(dir, slot))
    {
        /* it stays marked, for the next one who tries */

        sluice_file_unlock(&workers->file, SLUICE_LOCK_SLOT + (off_t) slot);
        return false;
    }

    return true;
}


sluice_status_t
sluice_slot_claim(const sluice_dir_t *dir, sluice_workers_t *workers,
    unsigned *slot, sluice_error_t *error)
{
    unsigned        i;
    sluice_slot_t  *s;

    for (i = 0; i < SLUICE_SLOTS; i++) {

        if (!sluice_slot_take(dir, workers, i)) {
            continue;
        }

        s = &workers->slots[i];

        memset(s->lane, 0, sizeof(s->lane));
        s->started = sluice_clock_wall_us();
        __atomic_store_n(&s->pid, (uint32_t) getpid(), __ATOMIC_RELAXED);
        __atomic_store_n(&s->state, SLUICE_SLOT_TAKEN, __ATOMIC_RELEASE);

        sluice_fault("slot.claimed");

        *slot = i;

        return SLUICE_OK;
    }

    return sluice_error(error, SLUICE_FULL, "all %u process slots of \"%s\" "
                        "are taken", SLUICE_SLOTS, dir->path);
}


void
sluice_slot_release(const sluice_dir_t *dir, sluice_workers_t *workers,
    unsigned slot)
{
    /* one that stays marked is given back by whoever reclaims it */

    if (sluice_slot_forget(dir, slot)) {
        __atomic_store_n(&workers->slots[slot].state, SLUICE_SLOT_FREE,
                         __ATOMIC_RELEASE);
    }

    sluice_file_unlock(&workers->file, SLUICE_LOCK_SLOT + (off_t) slot);
}


unsigned
sluice_slot_reclaim(const sluice_dir_t *dir, sluice_workers_t *workers,
    unsigned own)
{
    unsigned  i, n;

    n = 0;

    for (i = 0; i < SLUICE_SLOTS; i++) {

        if (i == own
            || __atomic_load_n(&workers->slots[i].state, __ATOMIC_RELAXED)
               == SLUICE_SLOT_FREE
            || !sluice_slot_take(dir, workers, i))
        {
            continue;
        }

        /* the state may have become free, or another's, before the lock */

        if (__atomic_load_n(&workers->slots[i].state, __ATOMIC_RELAXED)
            != SLUICE_SLOT_FREE)
        {
            __atomic_store_n(&workers->slots[i].state, SLUICE_SLOT_FREE,
                             __ATOMIC_RELEASE);
            n++;
        }

        sluice_file_unlock(&workers->file, SLUICE_LOCK_SLOT + (off_t) i);
    }

    return n;
}
