
/*
 * A lane: one worker's ring of usage records and its open entries.
 *
 * The owner (one process, one thread) admits, fills and pushes; one consumer
 * drains.  Positions are bytes ever pushed, 64 bits, and never wrap.  The
 * head is published with one release store after the record is whole, so a
 * crash exposes nothing.
 *
 * An entry is a record under construction.  Who takes one has room in the
 * ring reserved for the largest record, so the push at the end cannot fail.
 * Entries are taken and given back in any order.
 *
 * When the owner dies, its OWNER lock is free: the consumer takes it, drains
 * the ring and then reads the entries (lane_reader.h).  An entry that was
 * being pushed is marked with its position first, so that one whose record
 * was published is told from one whose was not.
 *
 *   file "lane.UUID": header | control | entries | ring
 *   geometry: ring bytes, entries, SLUICE_RECORD_MAX, sizeof(sluice_entry_t)
 */

#ifndef SLUICE_LANE_H
#define SLUICE_LANE_H

#include "file.h"
#include "record.h"


#define SLUICE_LANE_PREFIX     "lane."
#define SLUICE_LANE_RING_MIN   (64 * 1024)
#define SLUICE_LANE_RING_MAX   (1024 * 1024 * 1024ull)
#define SLUICE_LANE_OPEN_MAX   65536
#define SLUICE_LANES_MAX       256      /* in one directory                  */

#define SLUICE_NODE_MAX        64


typedef struct {
    /* the owner's */
    uint64_t  head;                     /* bytes pushed                      */
    uint64_t  sequence;                 /* last number given out             */
    uint64_t  pushed;                   /* records                           */
    uint64_t  reserved;                 /* bytes promised to open entries    */
    uint64_t  open;                     /* entries                           */
    uint64_t  refused;                  /* admissions without room           */
    uint8_t   pad0[16];

    /* the consumer's */
    uint64_t  tail;                     /* bytes taken over                  */
    uint64_t  skipped;                  /* bytes of damaged records          */
    uint8_t   pad1[48];

    /* written before the lane has its name */
    uint32_t  pid;
    uint32_t  slot;
    uint64_t  started;                  /* wall clock, microseconds          */
    char      node[SLUICE_NODE_MAX];
    uint8_t   pad2[48];
} sluice_lane_control_t;

_Static_assert(sizeof(sluice_lane_control_t) == 256, "lane control");
_Static_assert(offsetof(sluice_lane_control_t, tail) == 64, "lane control");
_Static_assert(offsetof(sluice_lane_control_t, pid) == 128, "lane control");


typedef struct {
    uint64_t         sequence;          /* 0: free; written last             */
    uint64_t         mark;              /* position + 1 while being pushed   */
    uint8_t          pad[48];

    union {
        sluice_record_t  record;
        uint8_t          bytes[SLUICE_RECORD_MAX];
    };
} sluice_entry_t;

_Static_assert(sizeof(sluice_entry_t) == 64 + SLUICE_RECORD_MAX, "entry");


/* the owner's view, in private memory */
typedef struct {
    sluice_file_t           file;
    sluice_lane_control_t  *control;
    sluice_entry_t         *entries;
    uint8_t                *ring;

    uint64_t                ring_size;
    uint64_t                head;
    uint64_t                offset;     /* head % ring_size                  */
    uint64_t                tail;       /* as last read                      */
    uint64_t                reserved;
    uint64_t                sequence;

    uint32_t               *free;       /* indices of free entries, a stack  */
    uint32_t                nfree;
    uint32_t                nentries;
} sluice_lane_t;


typedef struct {
    uint64_t     ring_size;     /* RING_MIN to RING_MAX, a multiple of 4096  */
    uint32_t     entries;       /* 1 to OPEN_MAX                             */
    unsigned     slot;
    const char  *node;          /* cut at SLUICE_NODE_MAX - 1                */
} sluice_lane_conf_t;


/*
 * Makes a lane of the caller's own.  SLUICE_FULL: the directory has
 * SLUICE_LANES_MAX lanes, or no space.  Before it counts, it removes lanes
 * that nobody owns and that hold nothing.
 */
sluice_status_t sluice_lane_create(const sluice_dir_t *dir,
    const sluice_lane_conf_t *conf, sluice_lane_t *lane,
    sluice_error_t *error);

/*
 * Lets go of it.  A lane with nothing in it is removed; another is left to
 * the consumer.
 */
void sluice_lane_close(const sluice_dir_t *dir, sluice_lane_t *lane);


/*
 * Takes an entry and reserves room for its record, or returns NULL: there is
 * none.  The record is made, with its sequence number and the time; the
 * entry is not open yet, and a kill leaves no trace of it.
 */
sluice_entry_t *sluice_lane_admit(sluice_lane_t *lane, uint64_t time);

/* from here on a kill leaves a record of it */
void sluice_lane_open(sluice_entry_t *entry);

/* gives the entry back without a record, whether it was opened or not */
void sluice_lane_cancel(sluice_lane_t *lane, sluice_entry_t *entry);

/* seals the entry's record, copies it into the ring, gives the entry back */
void sluice_lane_push(sluice_lane_t *lane, sluice_entry_t *entry);

/* bytes in the ring that are neither in use nor promised */
uint64_t sluice_lane_room(sluice_lane_t *lane);


/*
 * Copies into a ring at an offset, in two pieces at its end; len <= ring_size.
 */
void sluice_ring_write(uint8_t *ring, uint64_t ring_size, uint64_t offset,
    const void *data, size_t len);


#endif /* SLUICE_LANE_H */
