
/*
 * The workers file: process slots, and each slot's counters.
 *
 * A slot is an OFD lock on its byte, taken on a description of the worker's
 * own.  Taking the lock is claiming is reclaiming: there is one path, and it
 * is safe to do twice.  What stands in the slot is for display and for the
 * reclaimer; the lock alone says who has it.
 */

#ifndef SLUICE_WORKERS_H
#define SLUICE_WORKERS_H

#include "file.h"
#include "stat.h"


#define SLUICE_SLOTS          256
#define SLUICE_WORKERS_NAME   "workers"

/* sluice_slot_t.state */
#define SLUICE_SLOT_FREE      0
#define SLUICE_SLOT_TAKEN     1


typedef struct {
    uint32_t  state;
    uint32_t  pid;              /* as its own namespace numbers it           */
    uint64_t  started;          /* wall clock, microseconds                  */
    uint8_t   lane[16];         /* uuid of its lane, zeros: none             */
    uint8_t   reserved[32];

    uint64_t  stat[SLUICE_STAT_MAX];
} sluice_slot_t;

_Static_assert(sizeof(sluice_slot_t) == 64 + 8 * SLUICE_STAT_MAX, "slot");


typedef struct {
    sluice_file_t   file;
    sluice_slot_t  *slots;      /* SLUICE_SLOTS of them                      */
} sluice_workers_t;


/*
 * Opens the file, or makes it; one from before the last boot that nobody
 * uses is made anew, a damaged one or another version's is refused.  Each
 * process that claims or reclaims opens it itself, after its last fork().
 */
sluice_status_t sluice_workers_open(const sluice_dir_t *dir,
    sluice_workers_t *workers, sluice_error_t *error);

void sluice_workers_close(const sluice_dir_t *dir, sluice_workers_t *workers);

/*
 * Takes the lowest free slot and gives back what its former owner held there
 * (the in-flight counts of pools and keys).  SLUICE_FULL: none is free.
 */
sluice_status_t sluice_slot_claim(const sluice_dir_t *dir,
    sluice_workers_t *workers, unsigned *slot, sluice_error_t *error);

/* gives back the slot and all that is held there */
void sluice_slot_release(const sluice_dir_t *dir, sluice_workers_t *workers,
    unsigned slot);

/*
 * Gives back what dead processes held: slots that are marked as taken and
 * whose lock is free.  To be called every half second or so by any process
 * that has the file open; own is the caller's slot, SLUICE_SLOTS if it has
 * none.  Returns how many slots were given back.
 */
unsigned sluice_slot_reclaim(const sluice_dir_t *dir,
    sluice_workers_t *workers, unsigned own);


#endif /* SLUICE_WORKERS_H */
