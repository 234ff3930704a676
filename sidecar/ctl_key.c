
/*
 * sluicectl key and proxy: the operator's word on a member of a pool.  The one
 * command that writes into the shared files: the state's word alone, as the
 * workers do, and so all of them see it with their next request.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "ctl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define SLUICE_CTL_WAIT  2000           /* ms, for whoever gives out lines   */
#define SLUICE_CTL_ID    2              /* the column of the member's id     */


typedef enum {
    SLUICE_CTL_ENABLE,
    SLUICE_CTL_DISABLE,
    SLUICE_CTL_COOL,
    SLUICE_CTL_VERBS
} sluice_ctl_verb_t;


typedef struct {
    sluice_ctl_verb_t         verb;
    sluice_pool_kind_t        kind;
    const sluice_ctl_kind_t  *words;    /* for it                            */
    const char               *pool;
    const char               *id;
    bool                      found;    /* the pool                          */
    unsigned                  former;   /* lines of that id nobody names     */
    unsigned                  changed;
} sluice_ctl_change_t;


static void sluice_ctl_change(sluice_ctl_t *ctl, sluice_pool_kind_t kind);
static void sluice_ctl_change_none(sluice_ctl_t *ctl,
    const sluice_ctl_change_t *change);
static bool sluice_ctl_change_verb(const char *word, sluice_ctl_verb_t *verb);
static void sluice_ctl_change_file(sluice_ctl_t *ctl, const char *name);
static bool sluice_ctl_change_begin(const sluice_file_t *file);
static void sluice_ctl_change_lines(sluice_ctl_t *ctl, const char *name,
    sluice_pool_t *pool);
static void sluice_ctl_change_line(sluice_ctl_t *ctl, const char *name,
    sluice_member_t *member);
static void sluice_ctl_change_truncated(int signo);


static sluice_column_t  sluice_ctl_changed_columns[] = {
    { "pool", "POOL", 16, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
    { "id", NULL, 20, SLUICE_CELL_TEXT },           /* the kind's title */
    { "was.state", "WAS", 9, SLUICE_CELL_TEXT },
    { "was.reason", "REASON", 8, SLUICE_CELL_TEXT },
    { "was.status", "STATUS", 6, SLUICE_CELL_NUMBER },
    { "was.until_s", "FOR", 7, SLUICE_CELL_AGE },
    { "is.state", "IS", 9, SLUICE_CELL_TEXT },
    { "is.until_s", "FOR", 7, SLUICE_CELL_AGE },
    { NULL, NULL, 0, 0 }
};


void
sluice_ctl_key(sluice_ctl_t *ctl)
{
    sluice_ctl_change(ctl, SLUICE_POOL_KEYS);
}


void
sluice_ctl_proxy(sluice_ctl_t *ctl)
{
    sluice_ctl_change(ctl, SLUICE_POOL_PROXIES);
}


static void
sluice_ctl_change(sluice_ctl_t *ctl, sluice_pool_kind_t kind)
{
    sluice_ctl_change_t  change;

    memset(&change, 0, sizeof(sluice_ctl_change_t));

    change.kind = kind;
    change.words = &sluice_ctl_kinds[kind];

    if (!sluice_ctl_change_verb(ctl->words[1], &change.verb)) {
        sluice_ctl_fail(ctl, 2, "\"%s\" is none of enable, disable and cool; "
                        "see --help", ctl->words[1]);
        return;
    }

    /* "key disable --for 10m" would be for ever, and not be seen to be */

    if ((change.verb == SLUICE_CTL_COOL) != (ctl->duration != 0)) {
        sluice_ctl_fail(ctl, 2, ctl->duration == 0 ? "\"%s cool\" needs --for"
                                             : "--for is for \"%s cool\" only",
                        change.words->one);
        return;
    }

    change.pool = ctl->words[2];
    change.id = ctl->words[3];
    ctl->data = &change;

    sluice_ctl_changed_columns[SLUICE_CTL_ID].title = change.words->title;

    /* the file is mapped: who cuts it off now must not get a core of us */

    signal(SIGBUS, sluice_ctl_change_truncated);

    sluice_ctl_files(ctl, "changed", sluice_ctl_changed_columns,
                     sluice_pool_prefix(kind), sluice_ctl_change_file);

    if (change.changed == 0 && ctl->code == 0) {
        sluice_ctl_change_none(ctl, &change);
    }

    ctl->data = NULL;
}


static void
sluice_ctl_change_none(sluice_ctl_t *ctl, const sluice_ctl_change_t *change)
{
    const sluice_ctl_kind_t  *k;

    k = change->words;

    if (!change->found) {
        sluice_ctl_fail(ctl, 1, "there is no %s \"%s\" in \"%s\"", k->pool,
                        change->pool, ctl->dir.path);

    } else if (change->former == 0) {
        sluice_ctl_fail(ctl, 1, "%s \"%s\" has no %s \"%s\"", k->pool,
                        change->pool, k->one, change->id);

    } else {
        sluice_ctl_fail(ctl, 1, "no configuration in use names %s \"%s\" of "
                        "%s \"%s\": it is changed with --all only", k->one,
                        change->id, k->pool, change->pool);
    }
}


static bool
sluice_ctl_change_verb(const char *word, sluice_ctl_verb_t *verb)
{
    unsigned  i;

    static const char  *names[SLUICE_CTL_VERBS] = {
        [SLUICE_CTL_ENABLE]  = "enable",
        [SLUICE_CTL_DISABLE] = "disable",
        [SLUICE_CTL_COOL]    = "cool"
    };

    for (i = 0; i < SLUICE_CTL_VERBS; i++) {
        if (strcmp(word, names[i]) == 0) {
            *verb = (sluice_ctl_verb_t) i;
            return true;
        }
    }

    return false;
}


static void
sluice_ctl_change_file(sluice_ctl_t *ctl, const char *name)
{
    sluice_pool_t         pool;
    sluice_error_t        error;
    sluice_status_t       status;
    sluice_ctl_change_t  *change;

    change = ctl->data;

    if (!sluice_ctl_is(name, sluice_pool_prefix(change->kind), change->pool))
    {
        return;
    }

    memset(&pool, 0, sizeof(sluice_pool_t));

    status = sluice_file_open(&ctl->dir, name, sluice_pool_file(change->kind),
                              SLUICE_OPEN_WRITE, &pool.file, &error);

    if (status == SLUICE_ABSENT) {
        return;
    }

    change->found = true;

    if (status == SLUICE_STALE) {

        /* the next start of nginx makes another one */

        sluice_file_close(&ctl->dir, &pool.file);
        return;
    }

    if (status != SLUICE_OK) {
        sluice_ctl_skip(ctl, name, "%s", error.text);
        ctl->code = 1;
        return;
    }

    if (!sluice_pool_possible(&pool.file.header)) {
        sluice_ctl_skip(ctl, name, "it has another geometry");
        ctl->code = 1;

    } else if (!sluice_ctl_change_begin(&pool.file)) {
        sluice_ctl_skip(ctl, name, "somebody has been naming members in it "
                        "for two seconds: try again");
        ctl->code = 1;

    } else {
        pool.members = sluice_file_section(&pool.file, 1);
        sluice_ctl_change_lines(ctl, name, &pool);
    }

    sluice_file_close(&ctl->dir, &pool.file);
}


/* while it is held no line is given to another member */

static bool
sluice_ctl_change_begin(const sluice_file_t *file)
{
    unsigned         ms;
    struct timespec  pause;

    pause.tv_sec = 0;
    pause.tv_nsec = 1000000;

    for (ms = 0; !sluice_file_lock(file, SLUICE_LOCK_OWNER, true); ms++) {

        if (ms == SLUICE_CTL_WAIT) {
            return false;
        }

        nanosleep(&pause, NULL);
    }

    return true;
}


/* the same id stands in two lines while a reload gives it a new secret */

static void
sluice_ctl_change_lines(sluice_ctl_t *ctl, const char *name,
    sluice_pool_t *pool)
{
    char                  id[SLUICE_NAME_MAX];
    unsigned              i;
    sluice_member_t      *member;
    sluice_ctl_change_t  *change;

    change = ctl->data;

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        member = &pool->members[i];

        memcpy(id, member->id, sizeof(id));

        if (member->fingerprint == 0 || strnlen(id, sizeof(id)) == sizeof(id)
            || strcmp(id, change->id) != 0)
        {
            continue;
        }

        if (!ctl->all && !sluice_pool_named(pool, i)) {
            change->former++;
            continue;
        }

        sluice_ctl_change_line(ctl, name, member);
    }
}


static void
sluice_ctl_change_line(sluice_ctl_t *ctl, const char *name,
    sluice_member_t *member)
{
    bson_t                   row, state;
    uint64_t                 now;
    sluice_u128_t            was, is;
    sluice_ctl_change_t     *change;
    sluice_member_status_t   status;

    change = ctl->data;
    now = sluice_clock_ms();
    was = sluice_load16(&member->state);

    switch (change->verb) {

    case SLUICE_CTL_ENABLE:
        sluice_member_enable(member);
        break;

    case SLUICE_CTL_DISABLE:
        sluice_member_disable(member, now);
        break;

    default:
        sluice_member_cool(member, now, now + ctl->duration);
    }

    is = sluice_load16(&member->state);
    sluice_member_status(is, &status);

    if (change->verb == SLUICE_CTL_COOL
        && status.state == SLUICE_MEMBER_DISABLED)
    {
        sluice_ctl_fail(ctl, 1, "%s \"%s\" of %s \"%s\" is disabled and stays "
                        "so: it has to be enabled first", change->words->one,
                        change->id, change->words->pool, change->pool);
        return;
    }

    change->changed++;

    bson_init(&row);

    sluice_ctl_named(&row, "pool", name, sluice_pool_prefix(change->kind));
    sluice_ctl_text(&row, "id", change->id, SLUICE_NAME_MAX);

    BSON_APPEND_DOCUMENT_BEGIN(&row, "was", &state);
    sluice_ctl_state(ctl, &state, was, now);
    bson_append_document_end(&row, &state);

    BSON_APPEND_DOCUMENT_BEGIN(&row, "is", &state);
    sluice_ctl_state(ctl, &state, is, now);
    bson_append_document_end(&row, &state);

    sluice_ctl_row(ctl, &row);
    bson_destroy(&row);
}


static void
sluice_ctl_change_truncated(int signo)
{
    static const char  text[] = "sluicectl: a file was truncated\n";

    ssize_t  n;

    (void) signo;

    n = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void) n;

    _exit(1);
}
