
/*
 * sluicectl keys and proxies: members of pools in full; and what status tells
 * of them.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* a copy; what is in flight is added up */
typedef struct {
    sluice_file_t     file;
    unsigned          kind;             /* sluice_pool_kind_t                */
    bool              stale;            /* of before the last boot           */
    uint64_t          now;              /* monotonic ms                      */
    sluice_member_t  *members;
    uint32_t          in_flight[SLUICE_POOL_MEMBERS];
} sluice_ctl_pool_t;


/* what a command was asked for */
typedef struct {
    unsigned          kind;
    const char       *pool;             /* NULL: all of them                 */
    bool              found;
} sluice_ctl_asked_t;


static void sluice_ctl_pool_row(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_members_of(sluice_ctl_t *ctl, sluice_pool_kind_t kind);
static void sluice_ctl_pool_members(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_member_row(sluice_ctl_t *ctl, const char *name,
    const sluice_ctl_pool_t *pool, unsigned line, bool named);
static void sluice_ctl_answers(bson_t *row, const sluice_member_t *member,
    unsigned classes);
static void sluice_ctl_windows(sluice_ctl_t *ctl, bson_t *row,
    const sluice_member_t *member, uint64_t now);
static sluice_pool_kind_t sluice_ctl_pool_kind(const char *name);
static bool sluice_ctl_pool_open(sluice_ctl_t *ctl, const char *name,
    sluice_ctl_pool_t *pool);
static bool sluice_ctl_pool_read(sluice_ctl_t *ctl, sluice_ctl_pool_t *pool);
static void sluice_ctl_pool_close(sluice_ctl_t *ctl, sluice_ctl_pool_t *pool);


static const sluice_column_t  sluice_ctl_pool_columns[] = {
    { "pool", "POOL", 16, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
    { "kind", "KIND", 7, SLUICE_CELL_TEXT },
    { "member", "MEMBER", 20, SLUICE_CELL_TEXT },
    { "state", "STATE", 10, SLUICE_CELL_TEXT },
    { "until_s", "FOR", 8, SLUICE_CELL_AGE },
    { "in_flight", "IN-FLIGHT", 9, SLUICE_CELL_NUMBER },
    { "used", "USED", 12, SLUICE_CELL_NUMBER },
    { NULL, NULL, 0, 0 }
};

static const sluice_column_t  sluice_ctl_key_columns[] = {
    { "pool", "POOL", 12, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
    { "id", "KEY", 16, SLUICE_CELL_TEXT },
    { "named", "NAMED", 5, SLUICE_CELL_YES },
    { "state", "STATE", 9, SLUICE_CELL_TEXT },
    { "reason", "REASON", 8, SLUICE_CELL_TEXT },
    { "status", "STATUS", 6, SLUICE_CELL_NUMBER },
    { "age_s", "SINCE", 7, SLUICE_CELL_AGE },
    { "until_s", "FOR", 7, SLUICE_CELL_AGE },
    { "in_flight", "IN-FLIGHT", 9, SLUICE_CELL_NUMBER },
    { "used", "USED", 10, SLUICE_CELL_NUMBER },
    { "answers.rate_limited", "LIMITED", 7, SLUICE_CELL_NUMBER },
    { "answers.denied", "DENIED", 6, SLUICE_CELL_NUMBER },
    { "answers.exhausted", "EXHAUSTED", 9, SLUICE_CELL_NUMBER },
    { "answers.error", "ERROR", 6, SLUICE_CELL_NUMBER },
    { "answers.timeout", "TIMEOUT", 7, SLUICE_CELL_NUMBER },
    { "answers.connect", "CONNECT", 7, SLUICE_CELL_NUMBER },
    { "windows", "WINDOWS", 0, SLUICE_CELL_TEXT },
    { NULL, NULL, 0, 0 }
};


/* a failed tunnel is told by class; of its proxy there is nothing else */

static const sluice_column_t  sluice_ctl_proxy_columns[] = {
    { "pool", "POOL", 12, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
    { "id", "PROXY", 16, SLUICE_CELL_TEXT },
    { "named", "NAMED", 5, SLUICE_CELL_YES },
    { "state", "STATE", 9, SLUICE_CELL_TEXT },
    { "reason", "REASON", 8, SLUICE_CELL_TEXT },
    { "status", "STATUS", 6, SLUICE_CELL_NUMBER },
    { "age_s", "SINCE", 7, SLUICE_CELL_AGE },
    { "until_s", "FOR", 7, SLUICE_CELL_AGE },
    { "in_flight", "IN-FLIGHT", 9, SLUICE_CELL_NUMBER },
    { "used", "USED", 10, SLUICE_CELL_NUMBER },
    { "answers.error", "ERROR", 6, SLUICE_CELL_NUMBER },
    { "answers.timeout", "TIMEOUT", 7, SLUICE_CELL_NUMBER },
    { "answers.connect", "CONNECT", 7, SLUICE_CELL_NUMBER },
    { NULL, NULL, 0, 0 }
};


const sluice_ctl_kind_t  sluice_ctl_kinds[SLUICE_POOL_KINDS] = {

    /* those that were well are not counted: they are the rest of `used` */

    [SLUICE_POOL_KEYS] = {
        "key", "keys", "pool", "KEY", sluice_ctl_key_columns,
        ~(1u << SLUICE_ANSWER_WELL), true
    },

    [SLUICE_POOL_PROXIES] = {
        "proxy", "proxies", "proxy pool", "PROXY", sluice_ctl_proxy_columns,
        1u << SLUICE_ANSWER_NONE | 1u << SLUICE_ANSWER_ERROR
        | 1u << SLUICE_ANSWER_TIMEOUT | 1u << SLUICE_ANSWER_CONNECT, false
    }
};


void
sluice_ctl_pools(sluice_ctl_t *ctl)
{
    unsigned  kind;

    sluice_ctl_table(ctl, "pools", sluice_ctl_pool_columns);

    for (kind = 0; kind < SLUICE_POOL_KINDS; kind++) {
        sluice_ctl_each_file(ctl, sluice_pool_prefix(kind),
                             sluice_ctl_pool_row);
    }

    sluice_ctl_table_end(ctl);
}


static void
sluice_ctl_pool_row(sluice_ctl_t *ctl, const char *name)
{
    bson_t              row;
    unsigned            i;
    sluice_ctl_pool_t   pool;

    if (!sluice_ctl_pool_open(ctl, name, &pool)) {
        return;
    }

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        if (pool.members[i].fingerprint == 0) {
            continue;
        }

        bson_init(&row);

        sluice_ctl_named(&row, "pool", name, sluice_pool_prefix(pool.kind));
        BSON_APPEND_UTF8(&row, "kind", sluice_ctl_kinds[pool.kind].all);
        sluice_ctl_text(&row, "member", pool.members[i].id, SLUICE_NAME_MAX);
        sluice_ctl_state(ctl, &row, pool.members[i].state, pool.now);
        sluice_ctl_number(&row, "in_flight", pool.in_flight[i]);
        sluice_ctl_number(&row, "used", pool.members[i].used);

        sluice_ctl_row(ctl, &row);
        bson_destroy(&row);
    }

    sluice_ctl_pool_close(ctl, &pool);
}


void
sluice_ctl_keys(sluice_ctl_t *ctl)
{
    sluice_ctl_members_of(ctl, SLUICE_POOL_KEYS);
}


void
sluice_ctl_proxies(sluice_ctl_t *ctl)
{
    sluice_ctl_members_of(ctl, SLUICE_POOL_PROXIES);
}


static void
sluice_ctl_members_of(sluice_ctl_t *ctl, sluice_pool_kind_t kind)
{
    sluice_ctl_asked_t        asked;
    const sluice_ctl_kind_t  *k;

    k = &sluice_ctl_kinds[kind];

    asked.kind = kind;
    asked.pool = (ctl->nwords == 2) ? ctl->words[1] : NULL;
    asked.found = (asked.pool == NULL);
    ctl->data = &asked;

    sluice_ctl_files(ctl, k->all, k->columns, sluice_pool_prefix(kind),
                     sluice_ctl_pool_members);

    if (!asked.found) {
        sluice_ctl_fail(ctl, 1, "there is no %s \"%s\" in \"%s\"", k->pool,
                        asked.pool, ctl->dir.path);
    }

    ctl->data = NULL;
}


static void
sluice_ctl_pool_members(sluice_ctl_t *ctl, const char *name)
{
    bool                 named;
    unsigned             i;
    sluice_ctl_pool_t    pool;
    sluice_ctl_asked_t  *asked;

    asked = ctl->data;

    if (asked->pool != NULL) {
        if (!sluice_ctl_is(name, sluice_pool_prefix(asked->kind),
                           asked->pool))
        {
            return;
        }

        asked->found = true;
    }

    if (!sluice_ctl_pool_open(ctl, name, &pool)) {
        return;
    }

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        if (pool.members[i].fingerprint == 0) {
            continue;
        }

        named = !pool.stale
                && sluice_file_locked(&pool.file,
                                      SLUICE_LOCK_LINE + (off_t) i);

        if (named || ctl->all) {
            sluice_ctl_member_row(ctl, name, &pool, i, named);
        }
    }

    sluice_ctl_pool_close(ctl, &pool);
}


static void
sluice_ctl_member_row(sluice_ctl_t *ctl, const char *name,
    const sluice_ctl_pool_t *pool, unsigned line, bool named)
{
    bson_t                    row;
    const sluice_member_t    *member;
    const sluice_ctl_kind_t  *k;

    k = &sluice_ctl_kinds[pool->kind];
    member = &pool->members[line];

    bson_init(&row);

    sluice_ctl_named(&row, "pool", name, sluice_pool_prefix(pool->kind));
    sluice_ctl_text(&row, "id", member->id, SLUICE_NAME_MAX);
    BSON_APPEND_BOOL(&row, "named", named);
    sluice_ctl_state(ctl, &row, member->state, pool->now);
    sluice_ctl_number(&row, "in_flight", pool->in_flight[line]);
    sluice_ctl_number(&row, "used", member->used);
    sluice_ctl_answers(&row, member, k->answers);

    if (k->windows && !pool->stale) {
        sluice_ctl_windows(ctl, &row, member, pool->now);
    }

    sluice_ctl_row(ctl, &row);
    bson_destroy(&row);
}


static void
sluice_ctl_answers(bson_t *row, const sluice_member_t *member,
    unsigned classes)
{
    bson_t    answers;
    unsigned  i;

    BSON_APPEND_DOCUMENT_BEGIN(row, "answers", &answers);

    for (i = 0; i < SLUICE_ANSWERS; i++) {
        if (classes & 1u << i) {
            sluice_ctl_number(&answers, sluice_answer_name(i),
                              member->answers[i]);
        }
    }

    bson_append_document_end(row, &answers);
}


/* an array for programs; for people "12/500 requests/1m, 3400 tokens/1m" */

static void
sluice_ctl_windows(sluice_ctl_t *ctl, bson_t *row,
    const sluice_member_t *member, uint64_t now)
{
    char              text[256], length[32], index[16], most[32];
    size_t            len;
    bson_t            array, window;
    unsigned          i;
    uint32_t          ms;
    uint64_t          used, limit;
    const char       *key;
    sluice_counts_t   counts;

    static const char  *names[SLUICE_COUNTS] = {
        [SLUICE_COUNTS_REQUESTS] = "requests",
        [SLUICE_COUNTS_TOKENS]   = "tokens"
    };

    bson_init(&array);
    len = 0;

    for (i = 0; i < SLUICE_MEMBER_WINDOWS; i++) {
        if (!sluice_member_window(member, i, now, &counts, &ms, &used,
                                  &limit))
        {
            continue;
        }

        most[0] = '\0';

        if (limit != 0) {
            snprintf(most, sizeof(most), "/%llu", (unsigned long long) limit);
        }

        sluice_ctl_age((double) ms / 1e3, length, sizeof(length));
        len += (size_t) snprintf(text + len, sizeof(text) - len,
                                 "%s%llu%s %s/%s", len != 0 ? ", " : "",
                                 (unsigned long long) used, most,
                                 names[counts], length);

        bson_uint32_to_string(bson_count_keys(&array), &key, index,
                              sizeof(index));
        BSON_APPEND_DOCUMENT_BEGIN(&array, key, &window);
        BSON_APPEND_UTF8(&window, "counts", names[counts]);
        BSON_APPEND_DOUBLE(&window, "window_s", (double) ms / 1e3);
        sluice_ctl_number(&window, "used", used);

        if (limit != 0) {
            sluice_ctl_number(&window, "limit", limit);
        }

        bson_append_document_end(&array, &window);
    }

    if (ctl->json) {
        BSON_APPEND_ARRAY(row, "windows", &array);

    } else if (len != 0) {
        BSON_APPEND_UTF8(row, "windows", text);
    }

    bson_destroy(&array);
}


void
sluice_ctl_state(sluice_ctl_t *ctl, bson_t *row, sluice_u128_t word,
    uint64_t now)
{
    char                     text[32];
    const char              *name;
    sluice_member_state_t    state;
    sluice_member_status_t   status;

    sluice_member_status(word, &status);

    state = sluice_member_state(&status, now);
    name = sluice_member_state_name(state);

    snprintf(text, sizeof(text), "state %u", (unsigned) state);
    BSON_APPEND_UTF8(row, "state", name != NULL ? name : text);

    /* of what is over nothing is told */

    if (state == SLUICE_MEMBER_HEALTHY) {
        return;
    }

    name = sluice_member_reason_name(status.reason);

    snprintf(text, sizeof(text), "reason %u", (unsigned) status.reason);
    BSON_APPEND_UTF8(row, "reason", name != NULL ? name : text);

    if (status.status != 0) {
        sluice_ctl_number(row, "status", status.status);
    }

    /* a time of before the last boot says nothing */

    if (now == SLUICE_NEVER) {
        return;
    }

    if (status.since <= now) {
        sluice_ctl_since(ctl, row, ctl->now - (now - status.since) * 1000);
    }

    if (status.until > now && status.until != SLUICE_NEVER) {
        BSON_APPEND_DOUBLE(row, "until_s",
                           (double) (status.until - now) / 1e3);
        sluice_ctl_time(row, "until",
                        ctl->now + (status.until - now) * 1000);
    }
}


/* of a file that was found by the prefix of one of them */

static sluice_pool_kind_t
sluice_ctl_pool_kind(const char *name)
{
    const char  *prefix;

    prefix = sluice_pool_prefix(SLUICE_POOL_PROXIES);

    return strncmp(name, prefix, strlen(prefix)) == 0 ? SLUICE_POOL_PROXIES
                                                      : SLUICE_POOL_KEYS;
}


static bool
sluice_ctl_pool_open(sluice_ctl_t *ctl, const char *name,
    sluice_ctl_pool_t *pool)
{
    pool->kind = sluice_ctl_pool_kind(name);

    if (!sluice_ctl_open(ctl, name, sluice_pool_file(pool->kind), &pool->file,
                         &pool->stale))
    {
        return false;
    }

    pool->now = pool->stale ? SLUICE_NEVER : sluice_clock_ms();
    pool->members = aligned_alloc(_Alignof(sluice_member_t),
                                  SLUICE_POOL_MEMBERS
                                  * sizeof(sluice_member_t));

    if (!sluice_pool_possible(&pool->file.header)) {
        sluice_ctl_skip(ctl, name, "it has another geometry");

    } else if (pool->members == NULL) {
        sluice_ctl_skip(ctl, name, "no memory");

    } else if (sluice_ctl_pool_read(ctl, pool)) {
        return true;
    }

    sluice_ctl_pool_close(ctl, pool);

    return false;
}


/* the dead's columns are among them until they are reclaimed */

static bool
sluice_ctl_pool_read(sluice_ctl_t *ctl, sluice_ctl_pool_t *pool)
{
    unsigned  i, slot;
    uint16_t  column[SLUICE_POOL_MEMBERS];

    memset(pool->in_flight, 0, sizeof(pool->in_flight));

    if (!sluice_ctl_read(ctl, &pool->file, 1, 0, pool->members,
                         SLUICE_POOL_MEMBERS * sizeof(sluice_member_t)))
    {
        return false;
    }

    /* nobody of before the boot is in any more */

    for (slot = 0; slot < SLUICE_SLOTS && !pool->stale; slot++) {

        if (!sluice_ctl_read(ctl, &pool->file, 2, slot * sizeof(column),
                             column, sizeof(column)))
        {
            return false;
        }

        for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
            pool->in_flight[i] += column[i];
        }
    }

    return true;
}


static void
sluice_ctl_pool_close(sluice_ctl_t *ctl, sluice_ctl_pool_t *pool)
{
    free(pool->members);
    sluice_file_close(&ctl->dir, &pool->file);
}
