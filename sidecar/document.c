
#include "document.h"
#include "tunnel.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>


#define SLUICE_FIELDS_PREFIX  "fields."
#define SLUICE_FIELD_ROOM     SLUICE_UTF8_ROOM(SLUICE_FIELD_NAME_MAX)

/* the last ms of the year 9999: ISO 8601, and so JSON, goes no further */
#define SLUICE_TIME_MAX       253402300799999ull


typedef struct {
    sluice_item_t  item;                    /* data: the value alone         */
    bool           repaired;
    char           path[sizeof(SLUICE_FIELDS_PREFIX) + SLUICE_FIELD_ROOM];
} sluice_document_field_t;


/* a record's items, sorted out */
typedef struct {
    sluice_item_t            single[SLUICE_ITEM_TAGS];
    sluice_item_t            tries[SLUICE_RECORD_TRIES];
    sluice_item_t            tunnels[SLUICE_RECORD_TRIES];
    sluice_document_field_t  fields[SLUICE_DOCUMENT_FIELDS];
    unsigned                 ntries;
    unsigned                 ntunnels;
    unsigned                 nfields;
    unsigned                 cut;           /* bits by tag                   */
    unsigned                 repaired;
} sluice_document_items_t;


static void sluice_document_collect(sluice_document_items_t *items,
    const sluice_record_t *record);
static void sluice_document_add_listed(sluice_document_items_t *items,
    sluice_item_t *list, unsigned *n, const sluice_item_t *item);
static void sluice_document_add_field(sluice_document_items_t *items,
    const sluice_item_t *item);
static void sluice_document_head(bson_t *document,
    const sluice_record_t *record, const uint8_t uuid[16], const char *node);
static void sluice_document_singles(bson_t *document,
    sluice_document_items_t *items);
static void sluice_document_numbers(bson_t *document,
    const sluice_record_t *record);
static void sluice_document_tries(bson_t *document,
    sluice_document_items_t *items);
static void sluice_document_try(bson_t *document,
    sluice_document_items_t *items, const sluice_item_t *item);
static unsigned sluice_document_tunneled(
    const sluice_document_items_t *items);
static void sluice_document_tunnels(bson_t *document,
    sluice_document_items_t *items, unsigned try);
static void sluice_document_tunnel(bson_t *document,
    sluice_document_items_t *items, const sluice_item_t *item);
static void sluice_document_fields(bson_t *document,
    sluice_document_items_t *items);
static void sluice_document_names(bson_t *document, const char *name,
    const sluice_document_items_t *items, bool cut, bool other);
static void sluice_document_long(bson_t *document, const char *name,
    uint64_t value);


void
sluice_document_make(bson_t *document, const sluice_record_t *record,
    const uint8_t uuid[16], const char *node)
{
    bool                      other;
    unsigned                  i, cut;
    sluice_document_items_t   items;

    sluice_document_collect(&items, record);

    sluice_document_head(document, record, uuid, node);
    sluice_document_singles(document, &items);
    sluice_document_numbers(document, record);
    sluice_document_tries(document, &items);
    sluice_document_fields(document, &items);

    cut = items.cut;

    for (i = 0; i < items.nfields; i++) {
        cut |= items.fields[i].item.flags & SLUICE_ITEM_CUT;
    }

    /* marked, and every value that is there is whole: one was left out */

    other = (cut == 0 && (record->flags & SLUICE_RECORD_CUT));

    sluice_document_names(document, "cut", &items, true, other);
    sluice_document_names(document, "repaired", &items, false, false);
}


static void
sluice_document_collect(sluice_document_items_t *items,
    const sluice_record_t *record)
{
    size_t         offset;
    sluice_item_t  item;

    memset(items->single, 0, sizeof(items->single));
    items->ntries = 0;
    items->ntunnels = 0;
    items->nfields = 0;
    items->cut = 0;
    items->repaired = 0;

    offset = 0;

    while (sluice_record_next(record, &offset, &item)) {

        /* a tag of a later version is passed over */

        if (sluice_item_name(item.tag) == NULL) {
            continue;
        }

        if (item.tag == SLUICE_ITEM_FIELD) {
            sluice_document_add_field(items, &item);
            continue;
        }

        if (item.tag == SLUICE_ITEM_TRY) {
            sluice_document_add_listed(items, items->tries, &items->ntries,
                                       &item);
            continue;
        }

        if (item.tag == SLUICE_ITEM_TUNNEL) {
            sluice_document_add_listed(items, items->tunnels,
                                       &items->ntunnels, &item);
            continue;
        }

        items->single[item.tag] = item;
        items->cut &= ~(1u << item.tag);

        if (item.flags & SLUICE_ITEM_CUT) {
            items->cut |= 1u << item.tag;
        }
    }
}


static void
sluice_document_add_listed(sluice_document_items_t *items, sluice_item_t *list,
    unsigned *n, const sluice_item_t *item)
{
    if (*n == SLUICE_RECORD_TRIES) {
        items->cut |= 1u << item->tag;
        return;
    }

    list[(*n)++] = *item;

    if (item->flags & SLUICE_ITEM_CUT) {
        items->cut |= 1u << item->tag;
    }
}


/* MongoDB allows neither '$' in front nor '.' nor NUL; of equals the last */

static void
sluice_document_add_field(sluice_document_items_t *items,
    const sluice_item_t *item)
{
    char                      name[SLUICE_FIELD_NAME_MAX];
    char                     *path;
    size_t                    i, len;
    unsigned                  n;
    sluice_document_field_t  *field;

    if (items->nfields == SLUICE_DOCUMENT_FIELDS) {
        items->cut |= 1u << SLUICE_ITEM_FIELD;
        return;
    }

    field = &items->fields[items->nfields];

    len = item->data[0];
    memcpy(name, item->data + 1, len);

    field->repaired = false;
    field->item = *item;
    field->item.data += 1 + len;
    field->item.length = (uint16_t) (item->length - 1 - len);

    for (i = 0; i < len; i++) {
        if (name[i] == '.' || name[i] == '\0' || (i == 0 && name[i] == '$')) {
            name[i] = '_';
            field->repaired = true;
        }
    }

    path = field->path;
    memcpy(path, SLUICE_FIELDS_PREFIX, sizeof(SLUICE_FIELDS_PREFIX) - 1);

    sluice_utf8_repair(path + sizeof(SLUICE_FIELDS_PREFIX) - 1, name, len,
                       &field->repaired);

    for (n = 0; n < items->nfields; n++) {
        if (strcmp(items->fields[n].path, path) == 0) {
            items->fields[n] = *field;
            return;
        }
    }

    items->nfields++;
}


static void
sluice_document_head(bson_t *document, const sluice_record_t *record,
    const uint8_t uuid[16], const char *node)
{
    bson_t    id;
    uint64_t  ms;

    ms = record->time / 1000;

    BSON_APPEND_DOCUMENT_BEGIN(document, "_id", &id);
    BSON_APPEND_BINARY(&id, "lane", BSON_SUBTYPE_UUID, uuid, 16);
    sluice_document_long(&id, "seq", record->sequence);
    bson_append_document_end(document, &id);

    BSON_APPEND_INT32(document, "v", SLUICE_DOCUMENT_VERSION);
    BSON_APPEND_DATE_TIME(document, "time",
                          (int64_t) (ms < SLUICE_TIME_MAX ? ms
                                                          : SLUICE_TIME_MAX));
    sluice_document_long(document, "time_us", record->time);

    if (node[0] != '\0') {
        (void) sluice_document_text(document, "node", node, strlen(node));
    }

    BSON_APPEND_UTF8(document, "outcome",
                     sluice_outcome_name(record->outcome));

    if (record->flags & SLUICE_RECORD_ABORTED) {
        BSON_APPEND_BOOL(document, "aborted", true);
    }

    if (record->flags & SLUICE_RECORD_CLOSED) {
        BSON_APPEND_BOOL(document, "closed", true);
    }

    if (record->flags & SLUICE_RECORD_LATE) {
        BSON_APPEND_BOOL(document, "late", true);
    }
}


static void
sluice_document_singles(bson_t *document, sluice_document_items_t *items)
{
    size_t          len;
    unsigned        tag;
    sluice_item_t  *item;

    for (tag = 1; tag < SLUICE_ITEM_TAGS; tag++) {

        item = &items->single[tag];
        len = item->length;

        /* a cut goes through a character where it will */

        if (item->flags & SLUICE_ITEM_CUT) {
            len = sluice_utf8_whole(item->data, len);
        }

        if (len == 0) {
            continue;
        }

        if (sluice_document_text(document, sluice_item_name(tag), item->data,
                                 len))
        {
            items->repaired |= 1u << tag;
        }
    }
}


static void
sluice_document_numbers(bson_t *document, const sluice_record_t *record)
{
    bson_t  tokens;

    if (record->status != 0) {
        BSON_APPEND_INT32(document, "status", record->status);
    }

    if (record->request_time != SLUICE_UNKNOWN_US) {
        sluice_document_long(document, "request_time_us",
                             record->request_time);
    }

    if (record->first_byte != SLUICE_UNKNOWN_US) {
        sluice_document_long(document, "first_byte_us", record->first_byte);
    }

    sluice_document_long(document, "bytes_in", record->bytes_in);
    sluice_document_long(document, "bytes_out", record->bytes_out);

    if (record->tokens_in != 0 || record->tokens_out != 0
        || record->tokens_cached != 0)
    {
        BSON_APPEND_DOCUMENT_BEGIN(document, "tokens", &tokens);
        sluice_document_long(&tokens, "in", record->tokens_in);
        sluice_document_long(&tokens, "out", record->tokens_out);
        sluice_document_long(&tokens, "cached", record->tokens_cached);
        bson_append_document_end(document, &tokens);
    }

    BSON_APPEND_INT32(document, "tries", record->tries);
}


static void
sluice_document_tries(bson_t *document, sluice_document_items_t *items)
{
    char         buf[16];
    bson_t       array, try;
    unsigned     i, n;
    const char  *key;

    n = sluice_document_tunneled(items);

    if (items->ntries > n) {
        n = items->ntries;
    }

    if (n == 0) {
        return;
    }

    BSON_APPEND_ARRAY_BEGIN(document, "upstream", &array);

    for (i = 0; i < n; i++) {
        bson_uint32_to_string(i, &key, buf, sizeof(buf));

        BSON_APPEND_DOCUMENT_BEGIN(&array, key, &try);

        if (i < items->ntries) {
            sluice_document_try(&try, items, &items->tries[i]);
        }

        sluice_document_tunnels(&try, items, i);
        bson_append_document_end(&array, &try);
    }

    bson_append_array_end(document, &array);
}


static void
sluice_document_try(bson_t *document, sluice_document_items_t *items,
    const sluice_item_t *item)
{
    size_t               len;
    const uint8_t       *key, *addr;
    sluice_record_try_t  t;

    memcpy(&t, item->data, sizeof(sluice_record_try_t));

    key = item->data + sizeof(sluice_record_try_t);
    addr = key + t.key_len;
    len = item->length - sizeof(sluice_record_try_t) - t.key_len;

    if (t.key_len != 0
        && sluice_document_text(document, "key", key, t.key_len))
    {
        items->repaired |= 1u << SLUICE_ITEM_TRY;
    }

    if (len != 0 && sluice_document_text(document, "addr", addr, len)) {
        items->repaired |= 1u << SLUICE_ITEM_TRY;
    }

    if (t.status != 0) {
        BSON_APPEND_INT32(document, "status", t.status);
    }

    if (t.connect_time != SLUICE_UNKNOWN_MS) {
        sluice_document_long(document, "connect_ms", t.connect_time);
    }

    if (t.header_time != SLUICE_UNKNOWN_MS) {
        sluice_document_long(document, "header_ms", t.header_time);
    }

    if (t.response_time != SLUICE_UNKNOWN_MS) {
        sluice_document_long(document, "response_ms", t.response_time);
    }

    sluice_document_long(document, "bytes_received", t.bytes_received);
    sluice_document_long(document, "bytes_sent", t.bytes_sent);
}


/* tries that are told of, if by their tunnels alone: it got to no origin */

static unsigned
sluice_document_tunneled(const sluice_document_items_t *items)
{
    unsigned                 i, n;
    sluice_record_tunnel_t   t;

    for (n = 0, i = 0; i < items->ntunnels; i++) {
        memcpy(&t, items->tunnels[i].data, sizeof(sluice_record_tunnel_t));

        if (t.try >= n) {
            n = t.try + 1u;
        }
    }

    return n;
}


static void
sluice_document_tunnels(bson_t *document, sluice_document_items_t *items,
    unsigned try)
{
    char                     buf[16];
    bson_t                   array, tunnel;
    unsigned                 i, n;
    const char              *key;
    sluice_record_tunnel_t   t;

    for (n = 0, i = 0; i < items->ntunnels; i++) {
        memcpy(&t, items->tunnels[i].data, sizeof(sluice_record_tunnel_t));

        if (t.try != try) {
            continue;
        }

        if (n == 0) {
            BSON_APPEND_ARRAY_BEGIN(document,
                                    sluice_item_name(SLUICE_ITEM_TUNNEL),
                                    &array);
        }

        bson_uint32_to_string(n++, &key, buf, sizeof(buf));

        BSON_APPEND_DOCUMENT_BEGIN(&array, key, &tunnel);
        sluice_document_tunnel(&tunnel, items, &items->tunnels[i]);
        bson_append_document_end(&array, &tunnel);
    }

    if (n != 0) {
        bson_append_array_end(document, &array);
    }
}


static void
sluice_document_tunnel(bson_t *document, sluice_document_items_t *items,
    const sluice_item_t *item)
{
    size_t                   len;
    const uint8_t           *id;
    sluice_record_tunnel_t   t;

    memcpy(&t, item->data, sizeof(sluice_record_tunnel_t));

    id = item->data + sizeof(sluice_record_tunnel_t);
    len = item->length - sizeof(sluice_record_tunnel_t);

    if (item->flags & SLUICE_ITEM_CUT) {
        len = sluice_utf8_whole(id, len);
    }

    if (len != 0
        && sluice_document_text(document, sluice_item_name(SLUICE_ITEM_PROXY),
                                id, len))
    {
        items->repaired |= 1u << SLUICE_ITEM_TUNNEL;
    }

    BSON_APPEND_UTF8(document, "result", sluice_tunnel_result_name(t.result));

    if (t.time != SLUICE_UNKNOWN_MS) {
        sluice_document_long(document, "time_ms", t.time);
    }
}


static void
sluice_document_fields(bson_t *document, sluice_document_items_t *items)
{
    size_t                    len;
    bson_t                    fields;
    unsigned                  i;
    sluice_document_field_t  *field;

    if (items->nfields == 0) {
        return;
    }

    BSON_APPEND_DOCUMENT_BEGIN(document, "fields", &fields);

    for (i = 0; i < items->nfields; i++) {

        field = &items->fields[i];
        len = field->item.length;

        if (field->item.flags & SLUICE_ITEM_CUT) {
            len = sluice_utf8_whole(field->item.data, len);
        }

        if (sluice_document_text(&fields,
                            field->path + sizeof(SLUICE_FIELDS_PREFIX) - 1,
                            field->item.data, len))
        {
            field->repaired = true;
        }
    }

    bson_append_document_end(document, &fields);
}


/* the names of the values that were cut, or repaired; nothing if none was */

static void
sluice_document_names(bson_t *document, const char *name,
    const sluice_document_items_t *items, bool cut, bool other)
{
    char         buf[16];
    bson_t       array;
    unsigned     i, n, mask;
    const char  *key, *value;

    mask = cut ? items->cut : items->repaired;
    n = 0;

    for (i = 1; i < SLUICE_ITEM_TAGS + items->nfields + other; i++) {

        if (i < SLUICE_ITEM_TAGS) {
            value = (mask & (1u << i)) ? sluice_item_name(i) : NULL;

        } else if (i < SLUICE_ITEM_TAGS + items->nfields) {
            const sluice_document_field_t  *field;

            field = &items->fields[i - SLUICE_ITEM_TAGS];
            value = (cut ? (field->item.flags & SLUICE_ITEM_CUT)
                         : field->repaired)
                    ? field->path : NULL;

        } else {
            value = "*";
        }

        if (value == NULL) {
            continue;
        }

        if (n == 0) {
            BSON_APPEND_ARRAY_BEGIN(document, name, &array);
        }

        bson_uint32_to_string(n++, &key, buf, sizeof(buf));
        BSON_APPEND_UTF8(&array, key, value);
    }

    if (n != 0) {
        bson_append_array_end(document, &array);
    }
}


bool
sluice_document_text(bson_t *document, const char *name, const void *text,
    size_t len)
{
    bool  repaired;
    char  buf[SLUICE_UTF8_ROOM(SLUICE_RECORD_MAX)];

    if (len > SLUICE_RECORD_MAX) {
        len = SLUICE_RECORD_MAX;
    }

    repaired = false;
    len = sluice_utf8_repair(buf, text, len, &repaired);

    bson_append_utf8(document, name, -1, buf, (int) len);

    return repaired;
}


/* BSON has no unsigned numbers; nothing we count gets past 2^63 honestly */

static void
sluice_document_long(bson_t *document, const char *name, uint64_t value)
{
    BSON_APPEND_INT64(document, name, value > INT64_MAX ? INT64_MAX
                                                        : (int64_t) value);
}


bool
sluice_document_id(const bson_t *document, uint8_t uuid[16],
    uint64_t *sequence)
{
    uint32_t             len;
    bson_iter_t          iter, id;
    const uint8_t       *data;
    bson_subtype_t       subtype;

    if (!bson_iter_init_find(&iter, document, "_id")
        || !BSON_ITER_HOLDS_DOCUMENT(&iter)
        || !bson_iter_recurse(&iter, &id)
        || !bson_iter_find(&id, "lane") || !BSON_ITER_HOLDS_BINARY(&id))
    {
        return false;
    }

    bson_iter_binary(&id, &subtype, &len, &data);

    if (len != 16) {
        return false;
    }

    memcpy(uuid, data, 16);

    if (!bson_iter_recurse(&iter, &id) || !bson_iter_find(&id, "seq")
        || !BSON_ITER_HOLDS_INT(&id))
    {
        return false;
    }

    *sequence = (uint64_t) bson_iter_as_int64(&id);

    return true;
}
