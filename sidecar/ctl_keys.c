
/* sluicectl keys: members of pools in full; and what status tells of them */

#define _GNU_SOURCE

#include "clock.h"
#include "ctl.h"
#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* a copy; what is in flight is added up */
typedef struct {
    sluice_file_t     file;
    bool              stale;            /* of before the last boot           */
    uint64_t          now;              /* monotonic ms                      */
    sluice_member_t  *members;
    uint32_t          in_flight[SLUICE_POOL_MEMBERS];
} sluice_ctl_pool_t;


static void sluice_ctl_pool_row(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_pool_keys(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_key_row(sluice_ctl_t *ctl, const char *name,
    const sluice_ctl_pool_t *pool, unsigned line, bool named);
static void sluice_ctl_answers(bson_t *row, const sluice_member_t *member);
static void sluice_ctl_windows(sluice_ctl_t *ctl, bson_t *row,
    const sluice_member_t *member, uint64_t now);
static bool sluice_ctl_pool_open(sluice_ctl_t *ctl, const char *name,
    sluice_ctl_pool_t *pool);
static bool sluice_ctl_pool_read(sluice_ctl_t *ctl, sluice_ctl_pool_t *pool);
static void sluice_ctl_pool_close(sluice_ctl_t *ctl, sluice_ctl_pool_t *pool);


static const sluice_column_t  sluice_ctl_pool_columns[] = {
    { "pool", "POOL", 16, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
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


void
sluice_ctl_pools(sluice_ctl_t *ctl)
{
    sluice_ctl_files(ctl, "pools", sluice_ctl_pool_columns,
                     sluice_pool_prefix(SLUICE_POOL_KEYS), sluice_ctl_pool_row);
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

        sluice_ctl_named(&row, "pool", name,
                         sluice_pool_prefix(SLUICE_POOL_KEYS));
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
    static bool  found;

    found = (ctl->nwords == 1);
    ctl->data = &found;

    sluice_ctl_files(ctl, "keys", sluice_ctl_key_columns,
                     sluice_pool_prefix(SLUICE_POOL_KEYS),
                     sluice_ctl_pool_keys);

    if (!found) {
        sluice_ctl_fail(ctl, 1, "there is no pool \"%s\" in \"%s\"",
                        ctl->words[1], ctl->dir.path);
    }
}


static void
sluice_ctl_pool_keys(sluice_ctl_t *ctl, const char *name)
{
    bool                named, *found;
    unsigned            i;
    sluice_ctl_pool_t   pool;

    found = ctl->data;

    if (ctl->nwords == 2) {
        if (!sluice_ctl_is(name, sluice_pool_prefix(SLUICE_POOL_KEYS),
                           ctl->words[1]))
        {
            return;
        }

        *found = true;
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
            sluice_ctl_key_row(ctl, name, &pool, i, named);
        }
    }

    sluice_ctl_pool_close(ctl, &pool);
}


static void
sluice_ctl_key_row(sluice_ctl_t *ctl, const char *name,
    const sluice_ctl_pool_t *pool, unsigned line, bool named)
{
    bson_t                  row;
    const sluice_member_t  *member;

    member = &pool->members[line];

    bson_init(&row);

    sluice_ctl_named(&row, "pool", name, sluice_pool_prefix(SLUICE_POOL_KEYS));
    sluice_ctl_text(&row, "id", member->id, SLUICE_NAME_MAX);
    BSON_APPEND_BOOL(&row, "named", named);
    sluice_ctl_state(ctl, &row, member->state, pool->now);
    sluice_ctl_number(&row, "in_flight", pool->in_flight[line]);
    sluice_ctl_number(&row, "used", member->used);
    sluice_ctl_answers(&row, member);

    if (!pool->stale) {
        sluice_ctl_windows(ctl, &row, member, pool->now);
    }

    sluice_ctl_row(ctl, &row);
    bson_destroy(&row);
}


/* those that were well are not counted: they are the rest of what is used */

static void
sluice_ctl_answers(bson_t *row, const sluice_member_t *member)
{
    bson_t    answers;
    unsigned  i;

    BSON_APPEND_DOCUMENT_BEGIN(row, "answers", &answers);

    for (i = SLUICE_ANSWER_WELL + 1; i < SLUICE_ANSWERS; i++) {
        sluice_ctl_number(&answers, sluice_answer_name(i),
                          member->answers[i]);
    }

    bson_append_document_end(row, &answers);
}


/* an array for programs; for people "12 requests/1m, 3400 tokens/1m" */

static void
sluice_ctl_windows(sluice_ctl_t *ctl, bson_t *row,
    const sluice_member_t *member, uint64_t now)
{
    char              text[256], length[32], index[16];
    size_t            len;
    bson_t            array, window;
    unsigned          i;
    uint32_t          ms;
    uint64_t          used;
    const char       *key;
    sluice_counts_t   counts;

    static const char  *names[SLUICE_COUNTS] = {
        [SLUICE_COUNTS_REQUESTS] = "requests",
        [SLUICE_COUNTS_TOKENS]   = "tokens"
    };

    bson_init(&array);
    len = 0;

    for (i = 0; i < SLUICE_MEMBER_WINDOWS; i++) {
        if (!sluice_member_window(member, i, now, &counts, &ms, &used)) {
            continue;
        }

        sluice_ctl_age((double) ms / 1e3, length, sizeof(length));
        len += (size_t) snprintf(text + len, sizeof(text) - len,
                                 "%s%llu %s/%s", len != 0 ? ", " : "",
                                 (unsigned long long) used, names[counts],
                                 length);

        bson_uint32_to_string(bson_count_keys(&array), &key, index,
                              sizeof(index));
        BSON_APPEND_DOCUMENT_BEGIN(&array, key, &window);
        BSON_APPEND_UTF8(&window, "counts", names[counts]);
        BSON_APPEND_DOUBLE(&window, "window_s", (double) ms / 1e3);
        sluice_ctl_number(&window, "used", used);
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


static bool
sluice_ctl_pool_open(sluice_ctl_t *ctl, const char *name,
    sluice_ctl_pool_t *pool)
{
    if (!sluice_ctl_open(ctl, name, SLUICE_FILE_POOL, &pool->file,
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
