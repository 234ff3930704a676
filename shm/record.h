
/*
 * The usage record: a fixed part, then items {tag, flags, length, bytes}.
 *
 * It is built in place, in an open entry of a lane: the fixed part by plain
 * stores, items one after another, `length` moved over each only when it is
 * whole.  So at any instant the bytes up to `length` are a record, and what
 * a worker's death leaves can be read as one.  Sealed with its CRC it goes
 * into the ring as it is.
 *
 * The codec does no I/O and knows nobody; readers call sluice_record_check()
 * on a private copy before anything else.
 *
 * All numbers are in the machine's byte order: a lane never leaves it.
 */

#ifndef SLUICE_RECORD_H
#define SLUICE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>


#define SLUICE_RECORD_MAX       4096    /* bytes, all in all                 */
#define SLUICE_RECORD_VERSION   1
#define SLUICE_RECORD_REQUEST   1       /* type                              */

/* flags of a record */
#define SLUICE_RECORD_ABORTED   0x0001  /* its worker died: what was known   */
#define SLUICE_RECORD_CUT       0x0002  /* a value was cut or left out       */
#define SLUICE_RECORD_CLOSED    0x0004  /* the client left first             */
#define SLUICE_RECORD_LATE      0x0008  /* ended before admission            */

/* flags of an item */
#define SLUICE_ITEM_CUT         0x01    /* this value was cut                */

#define SLUICE_ITEM_HEAD        4       /* bytes: tag, flags, length         */
#define SLUICE_ITEM_SHORT       32      /* what a value of any tag may have  */

/* microseconds, milliseconds, status: not known (yet) */
#define SLUICE_UNKNOWN_US       UINT64_MAX
#define SLUICE_UNKNOWN_MS       UINT32_MAX

#define SLUICE_RECORD_TRIES     8       /* described, and tunnels as many;
                                           `tries` counts them all           */
#define SLUICE_FIELD_NAME_MAX   32

#define SLUICE_RECORD_KEY_MAX   47      /* bytes of a key's or proxy's id    */

/*
 * Of SLUICE_RECORD_MAX, kept from fields: for pool, key, zone and proxy, one of
 * each, and for all tries and tunnels that are described, at their longest.
 */
#define SLUICE_RECORD_KEPT      1852


typedef enum {
    SLUICE_OUTCOME_OPEN = 0,            /* admitted, not yet ended           */
    SLUICE_OUTCOME_ADMITTED,            /* let through and ended             */
    SLUICE_OUTCOME_LIMIT,               /* refused: over a limit             */
    SLUICE_OUTCOME_KEY,                 /* refused: no well key              */
    SLUICE_OUTCOME_ERROR,               /* refused: configuration at run time */
    SLUICE_OUTCOME_UNADMITTED,          /* ended before admission by others  */
    SLUICE_OUTCOME_PROXY,               /* refused: no proxy is up           */
    SLUICE_OUTCOME_COUNT
} sluice_outcome_t;


typedef enum {
    SLUICE_ITEM_REQUEST_ID = 1,
    SLUICE_ITEM_CLIENT,                 /* hash of the client, hex           */
    SLUICE_ITEM_METHOD,
    SLUICE_ITEM_HOST,
    SLUICE_ITEM_URI,                    /* without arguments                 */
    SLUICE_ITEM_POOL,
    SLUICE_ITEM_KEY,                    /* id of the key, never the key      */
    SLUICE_ITEM_ZONE,                   /* that refused                      */
    SLUICE_ITEM_TRY,                    /* sluice_record_try_t, id of the
                                           key, address                      */
    SLUICE_ITEM_FIELD,                  /* length of name, name, value       */
    SLUICE_ITEM_PROXY,                  /* id of the egress proxy            */
    SLUICE_ITEM_TUNNEL,                 /* sluice_record_tunnel_t, id of the
                                           proxy                             */
    SLUICE_ITEM_TAGS
} sluice_item_tag_t;


typedef struct {
    uint32_t  length;           /* of the record, this header included       */
    uint32_t  crc;              /* set by sluice_record_seal()               */

    uint8_t   type;
    uint8_t   version;
    uint16_t  flags;
    uint8_t   outcome;          /* sluice_outcome_t                          */
    uint8_t   tries;            /* upstream tries in all, 255 and more: 255  */
    uint16_t  status;           /* sent to the client, 0: none yet           */

    uint64_t  sequence;         /* in its lane, from 1                       */
    uint64_t  time;             /* of admission: wall clock, microseconds    */
    uint64_t  request_time;     /* microseconds; UNKNOWN_US while open       */
    uint64_t  first_byte;       /* microseconds to the response header       */
    uint64_t  bytes_in;         /* request, head and body                    */
    uint64_t  bytes_out;        /* response, head and body                   */

    uint64_t  tokens_in;        /* as the upstream tells; 0: not told        */
    uint64_t  tokens_out;
    uint64_t  tokens_cached;
    uint64_t  reserved[2];
} sluice_record_t;

_Static_assert(sizeof(sluice_record_t) == 104, "record");
_Static_assert(offsetof(sluice_record_t, sequence) == 16, "record");


/* one try of an upstream; times in ms, SLUICE_UNKNOWN_MS if it had none */
typedef struct {
    uint32_t  connect_time;
    uint32_t  header_time;
    uint32_t  response_time;
    uint16_t  status;
    uint16_t  key_len;          /* of the key's id, 0: none of a pool        */
    uint64_t  bytes_received;
    uint64_t  bytes_sent;
} sluice_record_try_t;

_Static_assert(sizeof(sluice_record_try_t) == 32, "try");


/* one proxy of a try; several if those before it failed */
typedef struct {
    uint32_t  time;             /* ms until it ended, well or not;
                                   SLUICE_UNKNOWN_MS: none was made          */
    uint8_t   try;              /* of the record's TRY items, from 0         */
    uint8_t   result;           /* sluice_tunnel_result_t                    */
    uint8_t   reserved[2];
} sluice_record_tunnel_t;

_Static_assert(sizeof(sluice_record_tunnel_t) == 8, "tunnel");


typedef struct {
    uint8_t         tag;
    uint8_t         flags;
    uint16_t        length;
    const uint8_t  *data;       /* unaligned, within the record              */
} sluice_item_t;


/* the longest item of a tag in bytes; a longer value is cut and marked */
size_t sluice_item_max(sluice_item_tag_t tag);

/* "request_id": as documents, logs and tables call it; NULL: no such tag */
const char *sluice_item_name(unsigned tag);
const char *sluice_outcome_name(unsigned outcome);


/* makes an empty record in place; room for SLUICE_RECORD_MAX bytes */
void sluice_record_init(sluice_record_t *record, uint64_t sequence,
    uint64_t time);

/*
 * Adds a value.  Of those that stand once, a later one counts.  A value that
 * is too long, or for which the record has no room, is cut and marked.
 * false: not a byte of it had room.  (Tries and fields have their own.)
 */
static inline bool sluice_record_add(sluice_record_t *record,
    sluice_item_tag_t tag, const void *data, size_t len);

/* key: the id, up to SLUICE_RECORD_KEY_MAX bytes; t->key_len is set to them */
bool sluice_record_add_try(sluice_record_t *record, sluice_record_try_t *t,
    const void *key, size_t key_len, const void *addr, size_t len);

/*
 * id: the proxy's, up to SLUICE_RECORD_KEY_MAX bytes, 0 for none.  false also:
 * SLUICE_RECORD_TRIES of them are there, or it is of a try beyond these.
 */
bool sluice_record_add_tunnel(sluice_record_t *record,
    const sluice_record_tunnel_t *t, const void *id, size_t len);

/* name: 1 to SLUICE_FIELD_NAME_MAX bytes; leaves SLUICE_RECORD_KEPT bytes */
bool sluice_record_add_field(sluice_record_t *record, const void *name,
    size_t name_len, const void *value, size_t len);


/* the part of sluice_record_add() that measures and cuts */
bool sluice_record_add_long(sluice_record_t *record, sluice_item_tag_t tag,
    const void *data, size_t len);

static inline bool
sluice_record_add(sluice_record_t *record, sluice_item_tag_t tag,
    const void *data, size_t len)
{
    uint8_t   *p;
    uint16_t   n;

    if (len == 0 || len > SLUICE_ITEM_SHORT
        || record->length + SLUICE_ITEM_HEAD + len > SLUICE_RECORD_MAX)
    {
        return sluice_record_add_long(record, tag, data, len);
    }

    p = (uint8_t *) record + record->length;
    n = (uint16_t) len;

    p[0] = (uint8_t) tag;
    p[1] = 0;
    memcpy(p + 2, &n, 2);
    memcpy(p + SLUICE_ITEM_HEAD, data, len);

    /* pairs with the reader of a dead owner's entry: the item, then length */

    __atomic_store_n(&record->length,
                     record->length + SLUICE_ITEM_HEAD + (uint32_t) len,
                     __ATOMIC_RELEASE);

    return true;
}


/* bytes that it takes in the ring: length, rounded up to 8 */
static inline size_t
sluice_record_size(const sluice_record_t *record)
{
    return (record->length + 7u) & ~(size_t) 7;
}


/*
 * The CRC that a record at this position of this lane must have.  The seed
 * (lane, position) is what makes a former lap's bytes invalid.
 */
uint32_t sluice_record_crc(const sluice_record_t *record,
    const uint8_t uuid[16], uint64_t position);

/* zeroes the bytes up to the record's size in the ring and sets its CRC */
void sluice_record_seal(sluice_record_t *record, const uint8_t uuid[16],
    uint64_t position);


/*
 * Checks a record in private memory, 8-byte aligned, of which `size` bytes
 * are there: its length, type, version and each item.  NULL: it is well
 * formed; else what is wrong with it.  The CRC is not looked at.
 */
const char *sluice_record_check(const sluice_record_t *record, size_t size);

/* walks the items of a checked record: start with *offset = 0 */
bool sluice_record_next(const sluice_record_t *record, size_t *offset,
    sluice_item_t *item);


#endif /* SLUICE_RECORD_H */
