
/*
 * The table of what is in flight, by key: a limit that holds at any moment,
 * exact over threads and processes, without a lock, and that gives back what
 * a killed process held.
 *
 * A row is a word that names its key and a column of 16 bits for each process
 * slot, written by the owner of the slot alone; in flight is the sum.  Who
 * comes in raises his own column first, then adds all of them up, and lowers
 * it again if that is too much: of several that come at once the last one to
 * raise sees all the others, so never more than `max` are let in.  Two rivals
 * for the last place may both see one too many, and both be refused.  A dead
 * owner's columns are zeroed by whoever reclaims the slot.
 *
 * A row with a column that is not zero is its key's.  One that sums up to
 * zero may be taken over.  Its word first says that the key is leaving, with
 * a nonce; whoever wants the key itself makes that final again, at any time.
 * Only if the columns, added up after that, are zero, the word may change to
 * another key.  Who came in meanwhile has raised first and looks at the word
 * afterwards, so that one of the two has seen the other (the flags of
 * Dekker's algorithm); he lowers his column again, and it was a passing count
 * in somebody else's row.  A new key comes in by two phases as in limit.h, so
 * that it stands in one row only.  t/model/conn.pml has all of it.
 *
 * A process killed anywhere in between leaves a row that its key has at once
 * and that is free for any other two seconds later.
 *
 *   file "conn.NAME.N": header | control | columns | rows
 *   geometry: buckets, slots, sizeof(sluice_conn_row_t), rows a bucket
 */

#ifndef SLUICE_CONN_H
#define SLUICE_CONN_H

#include "cas16.h"
#include "file.h"
#include "hash.h"
#include "workers.h"


#define SLUICE_CONN_PREFIX       "conn."
#define SLUICE_CONN_BUCKET       4              /* rows                      */
#define SLUICE_CONN_BUCKETS_MIN  16
#define SLUICE_CONN_BUCKETS_MAX  (1u << 18)


typedef enum {
    SLUICE_CONN_PASSED = 0,
    SLUICE_CONN_REFUSED,
    SLUICE_CONN_FULL,           /* each row the key may have is another's:
                                   nothing is taken, the caller decides      */
    SLUICE_CONN_CONTENDED       /* refused: too many rivals for one row      */
} sluice_conn_result_t;


typedef struct {
    _Alignas(64) sluice_u128_t  word;           /* see conn.c; 0: nobody's   */
    uint8_t                     reserved[48];
    uint16_t                    in_flight[SLUICE_SLOTS];
} sluice_conn_row_t;

_Static_assert(sizeof(sluice_conn_row_t) == 64 + 2 * SLUICE_SLOTS, "row");
_Static_assert(offsetof(sluice_conn_row_t, in_flight) == 64, "row");


typedef struct {
    uint64_t  epoch;            /* nonces are given out in runs, see conn.c  */
    uint64_t  former_over;      /* tables up to this N no longer count       */
    uint8_t   reserved[112];
} sluice_conn_control_t;

_Static_assert(sizeof(sluice_conn_control_t) == 128, "conn control");


/* statistics of one process slot in this table, written by its owner alone */
typedef struct {
    uint64_t  passed;
    uint64_t  refused;
    uint64_t  full;
    uint64_t  contended;
    uint64_t  inserted;         /* keys that were given a row                */
    uint64_t  reserved[3];
} sluice_conn_column_t;

_Static_assert(sizeof(sluice_conn_column_t) == 64, "conn column");


/* one thread's view; after fork() a copy that has inserted nothing serves */
typedef struct {
    sluice_file_t            file;
    sluice_conn_control_t   *control;
    sluice_conn_column_t    *columns;           /* SLUICE_SLOTS of them      */
    sluice_conn_row_t       *rows;
    uint64_t                 nbuckets;
    unsigned                 number;            /* N of conn.NAME.N          */

    uint64_t                 nonce;
    uint64_t               (*clock)(void);      /* monotonic ms; tests       */
} sluice_conn_t;


/* a place that was taken: by it the same row is found again */
typedef struct {
    uint32_t  row;
    uint32_t  seen;             /* in flight, this one included; refused:
                                   what was seen, passing ones included      */
} sluice_conn_hold_t;


/* how many buckets a table of that size has; 0: too small or too large */
uint64_t sluice_conn_buckets(uint64_t size);

/*
 * Opens the newest file of the name if it has this size (bytes, as the
 * operator gave them), else one from which the users of the newest take as
 * well, else makes the next.  `former` becomes the table of another size that
 * somebody still has as his newest, or has no map: if it counts, users take
 * from both tables, all or none.  BUSY: there are two of them already.
 */
sluice_status_t sluice_conn_open(const sluice_dir_t *dir, const char *name,
    uint64_t size, sluice_conn_t *conn, sluice_conn_t *former,
    sluice_error_t *error);

void sluice_conn_close(const sluice_dir_t *dir, sluice_conn_t *conn);

/* whether it is there and was not ended */
static inline bool
sluice_conn_former_lasts(const sluice_conn_t *conn,
    const sluice_conn_t *former)
{
    return former->rows != NULL
           && __atomic_load_n(&conn->control->former_over, __ATOMIC_RELAXED)
              < former->number;
}

/*
 * Whether places must be taken from it, too.  Not if it was made after this
 * one: its users take from this one as well, so that nothing is missing here.
 */
static inline bool
sluice_conn_former_counts(const sluice_conn_t *conn,
    const sluice_conn_t *former)
{
    return former->number < conn->number
           && sluice_conn_former_lasts(conn, former);
}

/*
 * To be called now and then while the former table lasts.  If nobody has it
 * as his newest any more, all that is in flight in it is so in this one, too:
 * then it tells the other users, unlinks the former file and returns true.
 * Places that were taken from it are given back to it all the same.
 */
bool sluice_conn_former_end(const sluice_dir_t *dir, sluice_conn_t *conn,
    const sluice_conn_t *former);


/* the key's place in this table; data of any length */
static inline sluice_hash_t
sluice_conn_hash(const sluice_conn_t *conn, const void *data, size_t len)
{
    return sluice_siphash(conn->file.header.key, data, len);
}

/*
 * The same for a key that is 128 bits which nobody could choose, as those of
 * a keyed hash.  One key of a table must always come by the same of the two.
 */
static inline sluice_hash_t
sluice_conn_hash_id(const sluice_conn_t *conn, const uint8_t id[16])
{
    return sluice_hash_id(conn->file.header.key, id);
}

/*
 * Takes a place if fewer than max are in flight for the key.  slot is the
 * caller's own process slot, and one thread's.  O(1), bounded, no system
 * call.  On PASSED `hold` is to be given back, once, by the same slot; on any
 * other answer nothing is held.  A slot holds no more than 65535 of a key.
 */
sluice_conn_result_t sluice_conn_take(sluice_conn_t *conn, sluice_hash_t key,
    uint32_t max, unsigned slot, sluice_conn_hold_t *hold);

/* with SLUICE_SLOTS, for a process that has released its slot: nothing */
void sluice_conn_give(sluice_conn_t *conn, unsigned slot,
    const sluice_conn_hold_t *hold);

/* the sum of the columns, of a row in place or of a copy (aligned as it) */
uint32_t sluice_conn_in_flight(const sluice_conn_row_t *row);


/* whether a header has the geometry and the sections of such a table */
bool sluice_conn_possible(const sluice_file_header_t *header);

/*
 * Zeroes a dead slot's columns in every such table of the directory.  false:
 * for want of descriptors or memory some were not reached; to be done again.
 */
bool sluice_conn_forget_slot(const sluice_dir_t *dir, unsigned slot);


#endif /* SLUICE_CONN_H */
