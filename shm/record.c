
#include "record.h"
#include "hash.h"
#include "tunnel.h"

#include <string.h>


#define SLUICE_ITEM_HEAD  4             /* tag, flags, length                */


/* a head must stand whole, a value may be cut */

static const struct {
    const char  *name;
    size_t       head;
    size_t       value;
} sluice_items[SLUICE_ITEM_TAGS] = {
    [SLUICE_ITEM_REQUEST_ID] = { "request_id", 0, 64 },
    [SLUICE_ITEM_CLIENT]     = { "client", 0, 64 },
    [SLUICE_ITEM_METHOD]     = { "method", 0, 32 },
    [SLUICE_ITEM_HOST]       = { "host", 0, 255 },
    [SLUICE_ITEM_URI]        = { "uri", 0, 1024 },
    [SLUICE_ITEM_POOL]       = { "pool", 0, 47 },
    [SLUICE_ITEM_KEY]        = { "key", 0, SLUICE_RECORD_KEY_MAX },
    [SLUICE_ITEM_ZONE]       = { "zone", 0, 47 },
    [SLUICE_ITEM_TRY]        = { "upstream", sizeof(sluice_record_try_t)
                                             + SLUICE_RECORD_KEY_MAX, 64 },
    [SLUICE_ITEM_FIELD]      = { "fields", 1 + SLUICE_FIELD_NAME_MAX, 255 },
    [SLUICE_ITEM_PROXY]      = { "proxy", 0, SLUICE_RECORD_KEY_MAX },
    [SLUICE_ITEM_TUNNEL]     = { "proxies", sizeof(sluice_record_tunnel_t),
                                 SLUICE_RECORD_KEY_MAX }
};


static const char  *sluice_outcomes[SLUICE_OUTCOME_COUNT] = {
    [SLUICE_OUTCOME_OPEN]       = "open",
    [SLUICE_OUTCOME_ADMITTED]   = "admitted",
    [SLUICE_OUTCOME_LIMIT]      = "limit",
    [SLUICE_OUTCOME_KEY]        = "no_key",
    [SLUICE_OUTCOME_ERROR]      = "error",
    [SLUICE_OUTCOME_UNADMITTED] = "unadmitted",
    [SLUICE_OUTCOME_PROXY]      = "no_proxy"
};


static inline uint8_t *sluice_record_begin(sluice_record_t *record,
    sluice_item_tag_t tag, size_t head_len, size_t *len);
static size_t sluice_record_cut(sluice_record_t *record, sluice_item_tag_t tag,
    size_t used, size_t limit);
static unsigned sluice_record_count(const sluice_record_t *record,
    sluice_item_tag_t tag);
static inline void sluice_record_end(sluice_record_t *record, uint8_t *p,
    const void *data, size_t len);


size_t
sluice_item_max(sluice_item_tag_t tag)
{
    return sluice_items[tag].head + sluice_items[tag].value;
}


const char *
sluice_item_name(unsigned tag)
{
    return tag < SLUICE_ITEM_TAGS ? sluice_items[tag].name : NULL;
}


const char *
sluice_outcome_name(unsigned outcome)
{
    return outcome < SLUICE_OUTCOME_COUNT ? sluice_outcomes[outcome] : NULL;
}


void
sluice_record_init(sluice_record_t *record, uint64_t sequence, uint64_t time)
{
    memset(record, 0, sizeof(sluice_record_t));

    record->length = sizeof(sluice_record_t);
    record->type = SLUICE_RECORD_REQUEST;
    record->version = SLUICE_RECORD_VERSION;
    record->sequence = sequence;
    record->time = time;
    record->request_time = SLUICE_UNKNOWN_US;
    record->first_byte = SLUICE_UNKNOWN_US;
}


bool
sluice_record_add(sluice_record_t *record, sluice_item_tag_t tag,
    const void *data, size_t len)
{
    uint8_t  *p;

    p = sluice_record_begin(record, tag, 0, &len);

    if (p == NULL) {
        return false;
    }

    sluice_record_end(record, p, data, len);

    return true;
}


bool
sluice_record_add_try(sluice_record_t *record, sluice_record_try_t *t,
    const void *key, size_t key_len, const void *addr, size_t len)
{
    uint8_t  *p;

    t->key_len = (uint16_t) key_len;

    p = sluice_record_begin(record, SLUICE_ITEM_TRY,
                            sizeof(sluice_record_try_t) + key_len, &len);

    if (p == NULL) {
        return false;
    }

    memcpy(p, t, sizeof(sluice_record_try_t));
    p += sizeof(sluice_record_try_t);

    if (key_len != 0) {
        memcpy(p, key, key_len);
    }

    sluice_record_end(record, p + key_len, addr, len);

    return true;
}


bool
sluice_record_add_tunnel(sluice_record_t *record,
    const sluice_record_tunnel_t *t, const void *id, size_t len)
{
    uint8_t  *p;

    /* a request may go through a whole pool: the room is for the tries, too */

    if (t->try >= SLUICE_RECORD_TRIES
        || sluice_record_count(record, SLUICE_ITEM_TUNNEL)
           == SLUICE_RECORD_TRIES)
    {
        record->flags |= SLUICE_RECORD_CUT;
        return false;
    }

    p = sluice_record_begin(record, SLUICE_ITEM_TUNNEL,
                            sizeof(sluice_record_tunnel_t), &len);

    if (p == NULL) {
        return false;
    }

    memcpy(p, t, sizeof(sluice_record_tunnel_t));

    sluice_record_end(record, p + sizeof(sluice_record_tunnel_t), id, len);

    return true;
}


static unsigned
sluice_record_count(const sluice_record_t *record, sluice_item_tag_t tag)
{
    size_t         offset;
    unsigned       n;
    sluice_item_t  item;

    offset = 0;
    n = 0;

    while (sluice_record_next(record, &offset, &item)) {
        n += (item.tag == tag);
    }

    return n;
}


bool
sluice_record_add_field(sluice_record_t *record, const void *name,
    size_t name_len, const void *value, size_t len)
{
    uint8_t  *p;

    p = sluice_record_begin(record, SLUICE_ITEM_FIELD, 1 + name_len, &len);

    if (p == NULL) {
        return false;
    }

    *p++ = (uint8_t) name_len;
    memcpy(p, name, name_len);

    sluice_record_end(record, p + name_len, value, len);

    return true;
}


/*
 * Makes an item of a head and a value of *len bytes, which is cut to what it
 * may have; nobody sees it yet.  Returns where its head goes, NULL: no room.
 */

static inline uint8_t *
sluice_record_begin(sluice_record_t *record, sluice_item_tag_t tag,
    size_t head_len, size_t *len)
{
    size_t    used, limit;
    uint8_t  *p, flags;
    uint16_t  n;

    used = record->length + SLUICE_ITEM_HEAD + head_len;
    limit = SLUICE_RECORD_MAX;
    flags = 0;

    /* clients fill fields: who paid for the request must have room, too */

    if (tag == SLUICE_ITEM_FIELD) {
        limit -= SLUICE_RECORD_KEPT;
    }

    if (*len > sluice_items[tag].value || used + *len > limit) {

        *len = sluice_record_cut(record, tag, used, limit);

        if (*len == 0) {
            return NULL;
        }

        flags = SLUICE_ITEM_CUT;
    }

    p = (uint8_t *) record + record->length;
    n = (uint16_t) (head_len + *len);

    p[0] = (uint8_t) tag;
    p[1] = flags;
    memcpy(p + 2, &n, 2);

    return p + SLUICE_ITEM_HEAD;
}


/* what a value may have that is too long; 0: nothing */

static size_t
sluice_record_cut(sluice_record_t *record, sluice_item_tag_t tag, size_t used,
    size_t limit)
{
    size_t  room;

    record->flags |= SLUICE_RECORD_CUT;

    room = (used < limit) ? limit - used : 0;

    return (room < sluice_items[tag].value) ? room : sluice_items[tag].value;
}


/* puts the value at p, behind the head, and shows the item */

static inline void
sluice_record_end(sluice_record_t *record, uint8_t *p, const void *data,
    size_t len)
{
    if (len != 0) {
        memcpy(p, data, len);
    }

    /* pairs with the reader of a dead owner's entry: the item, then length */

    __atomic_store_n(&record->length,
                     (uint32_t) (p + len - (uint8_t *) record),
                     __ATOMIC_RELEASE);
}


uint32_t
sluice_record_crc(const sluice_record_t *record, const uint8_t uuid[16],
    uint64_t position)
{
    uint32_t       crc;
    unsigned char  seed[28];

    memcpy(seed, uuid, 16);
    memcpy(seed + 16, &position, 8);
    memcpy(seed + 24, &record->length, 4);

    crc = sluice_crc32c(0, seed, sizeof(seed));

    return sluice_crc32c(crc, &record->type, sluice_record_size(record)
                                     - offsetof(sluice_record_t, type));
}


void
sluice_record_seal(sluice_record_t *record, const uint8_t uuid[16],
    uint64_t position)
{
    memset((uint8_t *) record + record->length, 0,
           sluice_record_size(record) - record->length);

    record->crc = sluice_record_crc(record, uuid, position);
}


const char *
sluice_record_check(const sluice_record_t *record, size_t size)
{
    size_t                   offset, length;
    uint16_t                 n;
    const uint8_t           *p;
    sluice_record_try_t      t;
    sluice_record_tunnel_t   tunnel;

    if (size < sizeof(sluice_record_t)) {
        return "shorter than a record";
    }

    length = record->length;

    if (length < sizeof(sluice_record_t) || length > SLUICE_RECORD_MAX
        || length > size)
    {
        return "impossible length";
    }

    if (record->type != SLUICE_RECORD_REQUEST) {
        return "unknown type";
    }

    if (record->version != SLUICE_RECORD_VERSION) {
        return "unknown version";
    }

    if (record->outcome >= SLUICE_OUTCOME_COUNT) {
        return "unknown outcome";
    }

    p = (const uint8_t *) record;

    for (offset = sizeof(sluice_record_t); offset < length; offset += n) {

        if (length - offset < SLUICE_ITEM_HEAD) {
            return "torn item";
        }

        memcpy(&n, p + offset + 2, 2);

        if (n > length - offset - SLUICE_ITEM_HEAD) {
            return "item past the end";
        }

        switch (p[offset]) {

        case SLUICE_ITEM_TRY:
            if (n < sizeof(sluice_record_try_t)) {
                return "short try";
            }

            memcpy(&t, p + offset + SLUICE_ITEM_HEAD, sizeof(t));

            if (t.key_len > n - sizeof(t)) {
                return "key past its try";
            }

            break;

        case SLUICE_ITEM_TUNNEL:
            if (n < sizeof(sluice_record_tunnel_t)) {
                return "short tunnel";
            }

            memcpy(&tunnel, p + offset + SLUICE_ITEM_HEAD, sizeof(tunnel));

            if (tunnel.try >= SLUICE_RECORD_TRIES
                || tunnel.result >= SLUICE_TUNNEL_RESULTS)
            {
                return "impossible tunnel";
            }

            break;

        case SLUICE_ITEM_FIELD:
            if (n < 2 || p[offset + SLUICE_ITEM_HEAD] == 0
                || p[offset + SLUICE_ITEM_HEAD] > SLUICE_FIELD_NAME_MAX
                || p[offset + SLUICE_ITEM_HEAD] >= n)
            {
                return "field without a name";
            }
            break;
        }

        offset += SLUICE_ITEM_HEAD;
    }

    return NULL;
}


bool
sluice_record_next(const sluice_record_t *record, size_t *offset,
    sluice_item_t *item)
{
    const uint8_t  *p;

    if (*offset == 0) {
        *offset = sizeof(sluice_record_t);
    }

    if (*offset >= record->length) {
        return false;
    }

    p = (const uint8_t *) record + *offset;

    item->tag = p[0];
    item->flags = p[1];
    memcpy(&item->length, p + 2, 2);
    item->data = p + SLUICE_ITEM_HEAD;

    *offset += SLUICE_ITEM_HEAD + item->length;

    return true;
}
