
#include "options.h"
#include "log.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


typedef enum {
    SLUICE_OPTION_TEXT,
    SLUICE_OPTION_NUMBER,
    SLUICE_OPTION_TIME,             /* 30s, 200ms, 90d; bare: seconds        */
    SLUICE_OPTION_LEVEL,
    SLUICE_OPTION_FLAG
} sluice_option_type_t;


typedef struct {
    const char            *name;
    const char            *env;
    const char            *value;           /* what --help calls it          */
    const char            *preset;
    sluice_option_type_t   type;
    unsigned               programs;
    size_t                 offset;
    uint64_t               min;
    uint64_t               max;             /* ms of a time                  */
    const char            *help;
} sluice_option_t;


#define SLUICE_BOTH       (SLUICE_PROGRAM_SLUICED|SLUICE_PROGRAM_CTL)
#define SLUICE_DAY        86400000ull
#define sluice_at(field)  offsetof(sluice_options_t, field)


static const sluice_option_t  sluice_options[] = {

    { "dir", "SLUICE_DIR", "PATH", "/run/sluice",
      SLUICE_OPTION_TEXT, SLUICE_BOTH, sluice_at(dir), 0, 0,
      "the directory that nginx has as sluice_dir" },

    { "sink", "SLUICE_MONGODB_URI", "SINK", NULL,
      SLUICE_OPTION_TEXT, SLUICE_PROGRAM_SLUICED, sluice_at(sink), 0, 0,
      "where records go: mongodb://..., file:/path, or null:\n"
      "which drops them; a URI with a password is better set\n"
      "in the environment" },

    { "database", "SLUICE_DATABASE", "NAME", NULL,
      SLUICE_OPTION_TEXT, SLUICE_PROGRAM_SLUICED, sluice_at(database), 0, 0,
      "MongoDB's database; else the URI's, else \"sluice\"" },

    { "collection", "SLUICE_COLLECTION", "NAME", "usage",
      SLUICE_OPTION_TEXT, SLUICE_PROGRAM_SLUICED, sluice_at(collection), 0, 0,
      "MongoDB's collection" },

    { "batch-size", "SLUICE_BATCH_SIZE", "N", "1000",
      SLUICE_OPTION_NUMBER, SLUICE_PROGRAM_SLUICED, sluice_at(batch_size),
      1, 100000,
      "records in a batch, at most" },

    { "batch-time", "SLUICE_BATCH_TIME", "TIME", "200ms",
      SLUICE_OPTION_TIME, SLUICE_PROGRAM_SLUICED, sluice_at(batch_time),
      0, 60000,
      "how long a batch waits to become full" },

    { "writers", "SLUICE_WRITERS", "N", "2",
      SLUICE_OPTION_NUMBER, SLUICE_PROGRAM_SLUICED, sluice_at(writers), 1, 16,
      "threads that insert; a file has one" },

    { "retention", "SLUICE_RETENTION", "TIME", "0",
      SLUICE_OPTION_TIME, SLUICE_PROGRAM_SLUICED, sluice_at(retention),
      0, 24855 * SLUICE_DAY,
      "how long MongoDB keeps a record, counted from its own\n"
      "time; 0: no TTL is made; one that is there stays" },

    { "drain-timeout", "SLUICE_DRAIN_TIMEOUT", "TIME", "30s",
      SLUICE_OPTION_TIME, SLUICE_PROGRAM_SLUICED, sluice_at(drain_timeout),
      0, SLUICE_DAY,
      "how long SIGTERM waits for what the lanes hold; what is\n"
      "left stays there for the next start" },

    { "poll", "SLUICE_POLL", "TIME", "50ms",
      SLUICE_OPTION_TIME, SLUICE_PROGRAM_SLUICED, sluice_at(poll), 1, 1000,
      "the longest sleep between two looks at idle lanes" },

    { "quarantine", "SLUICE_QUARANTINE", "PATH", NULL,
      SLUICE_OPTION_TEXT, SLUICE_PROGRAM_SLUICED, sluice_at(quarantine), 0, 0,
      "the directory of damaged bytes and of documents that\n"
      "MongoDB will never take; /var/lib/sluice, or that of\n"
      "the file: sink" },

    { "once", NULL, NULL, NULL,
      SLUICE_OPTION_FLAG, SLUICE_PROGRAM_SLUICED, sluice_at(once), 0, 0,
      "drain what is there, then exit" },

    { "log-level", "SLUICE_LOG_LEVEL", "LEVEL", "info",
      SLUICE_OPTION_LEVEL, SLUICE_PROGRAM_SLUICED, sluice_at(log_level), 0, 0,
      "error, warn, info or debug" },

    { "json", NULL, NULL, NULL,
      SLUICE_OPTION_FLAG, SLUICE_PROGRAM_CTL, sluice_at(json), 0, 0,
      "answer in JSON" },

    { "top", NULL, "N", "10",
      SLUICE_OPTION_NUMBER, SLUICE_PROGRAM_CTL, sluice_at(top), 1, 10000,
      "how many keys of each zone \"hottest\" tells" },

    { "all", NULL, NULL, NULL,
      SLUICE_OPTION_FLAG, SLUICE_PROGRAM_CTL, sluice_at(all), 0, 0,
      "\"keys\", \"key\", \"proxies\", \"proxy\": former members as\n"
      "well, those that no configuration in use names" },

    { "for", NULL, "TIME", NULL,
      SLUICE_OPTION_TIME, SLUICE_PROGRAM_CTL, sluice_at(duration),
      1, 366 * SLUICE_DAY,
      "how long \"cool\" lets a key or proxy rest: 300ms, 90s,\n"
      "10m, 2h" },

    { "key", NULL, "FILE", NULL,
      SLUICE_OPTION_TEXT, SLUICE_PROGRAM_CTL, sluice_at(key), 0, 0,
      "the master key that \"seal\" seals under" },

    { "new-key", NULL, "FILE", NULL,
      SLUICE_OPTION_TEXT, SLUICE_PROGRAM_CTL, sluice_at(new_key), 0, 0,
      "makes a master key for it, in a new file" },

    { "version", NULL, NULL, NULL,
      SLUICE_OPTION_FLAG, SLUICE_BOTH, sluice_at(version), 0, 0,
      "print the version and exit" },

    { "help", NULL, NULL, NULL,
      SLUICE_OPTION_FLAG, SLUICE_BOTH, sluice_at(help), 0, 0,
      "print this text and exit" },

    { NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, NULL }
};


static const struct {
    const char  *name;
    uint64_t     ms;
} sluice_units[] = {
    { "", 1000 },
    { "ms", 1 },
    { "s", 1000 },
    { "m", 60000 },
    { "h", 3600000 },
    { "d", SLUICE_DAY },
    { NULL, 0 }
};


static const sluice_option_t *sluice_options_find(sluice_program_t program,
    const char *name, size_t len);
static sluice_status_t sluice_options_set(sluice_options_t *options,
    const sluice_option_t *option, const char *from, const char *value,
    sluice_error_t *error);
static bool sluice_options_number(const sluice_option_t *option,
    const char *value, uint64_t *n);


sluice_status_t
sluice_options_parse(sluice_options_t *options, sluice_program_t program,
    int argc, char **argv, sluice_error_t *error)
{
    int                     i;
    size_t                  len;
    const char             *value;
    sluice_status_t         status;
    const sluice_option_t  *o;

    memset(options, 0, sizeof(sluice_options_t));
    options->words = (const char **) argv + 1;

    for (o = sluice_options; o->name != NULL; o++) {

        if (!(o->programs & (unsigned) program)) {
            continue;
        }

        if (o->preset != NULL) {
            status = sluice_options_set(options, o, o->name, o->preset,
                                        error);
            if (status != SLUICE_OK) {
                return status;
            }
        }

        value = (o->env != NULL) ? getenv(o->env) : NULL;

        if (value != NULL && *value != '\0') {
            status = sluice_options_set(options, o, o->env, value, error);
            if (status != SLUICE_OK) {
                return status;
            }
        }
    }

    for (i = 1; i < argc; i++) {

        if (strncmp(argv[i], "--", 2) != 0) {
            if (argv[i][0] == '-') {
                return sluice_error(error, SLUICE_FAILED,
                                    "an option has \"--\" before its name");
            }

            options->words[options->nwords++] = argv[i];
            continue;
        }

        len = strcspn(argv[i] + 2, "=");
        o = sluice_options_find(program, argv[i] + 2, len);

        if (o == NULL) {
            /* no more than looks like one: it may hold a password */

            len = strspn(argv[i], "abcdefghijklmnopqrstuvwxyz-");

            return sluice_error(error, SLUICE_FAILED,
                                "unknown option \"%.*s\"", (int) len,
                                argv[i]);
        }

        value = (argv[i][2 + len] == '=') ? argv[i] + 3 + len : NULL;

        if (o->type == SLUICE_OPTION_FLAG) {
            if (value != NULL) {
                return sluice_error(error, SLUICE_FAILED,
                                    "--%s takes no value", o->name);
            }

        } else if (value == NULL) {
            if (i + 1 == argc) {
                return sluice_error(error, SLUICE_FAILED,
                                    "--%s needs a value", o->name);
            }

            value = argv[++i];
        }

        status = sluice_options_set(options, o, o->name, value, error);
        if (status != SLUICE_OK) {
            return status;
        }
    }

    return SLUICE_OK;
}


static const sluice_option_t *
sluice_options_find(sluice_program_t program, const char *name, size_t len)
{
    const sluice_option_t  *o;

    for (o = sluice_options; o->name != NULL; o++) {
        if ((o->programs & (unsigned) program)
            && strncmp(o->name, name, len) == 0 && o->name[len] == '\0')
        {
            return o;
        }
    }

    return NULL;
}


static sluice_status_t
sluice_options_set(sluice_options_t *options, const sluice_option_t *option,
    const char *from, const char *value, sluice_error_t *error)
{
    int       level;
    void     *field;
    uint64_t  n;

    field = (char *) options + option->offset;

    switch (option->type) {

    case SLUICE_OPTION_FLAG:
        *(bool *) field = true;
        return SLUICE_OK;

    case SLUICE_OPTION_TEXT:
        if (*value == '\0') {
            break;
        }

        *(const char **) field = value;
        return SLUICE_OK;

    case SLUICE_OPTION_LEVEL:
        level = sluice_log_level_parse(value);

        if (level < 0) {
            break;
        }

        *(uint64_t *) field = (uint64_t) level;
        return SLUICE_OK;

    case SLUICE_OPTION_NUMBER:
    case SLUICE_OPTION_TIME:
        if (!sluice_options_number(option, value, &n)) {
            break;
        }

        *(uint64_t *) field = n;
        return SLUICE_OK;
    }

    return sluice_error(error, SLUICE_FAILED, "\"%s\" is no value of %s%s",
                        value, from == option->name ? "--" : "", from);
}


static bool
sluice_options_number(const sluice_option_t *option, const char *value,
    uint64_t *n)
{
    unsigned             i;
    char                *end;
    unsigned long long   v;

    if (*value < '0' || *value > '9' || strlen(value) > 15) {
        return false;
    }

    v = strtoull(value, &end, 10);

    if (option->type == SLUICE_OPTION_TIME) {
        for (i = 0; sluice_units[i].name != NULL; i++) {
            if (strcmp(end, sluice_units[i].name) == 0) {
                break;
            }
        }

        if (sluice_units[i].name == NULL
            || v > UINT64_MAX / sluice_units[i].ms)
        {
            return false;
        }

        v *= sluice_units[i].ms;

    } else if (*end != '\0') {
        return false;
    }

    *n = v;

    return v >= option->min && v <= option->max;
}


void
sluice_help_line(const char *head, const char *help)
{
    const char  *p, *end;

    printf("  %-22s", head);

    for (p = help; ; p = end + 1) {
        end = p + strcspn(p, "\n");
        printf("%.*s\n", (int) (end - p), p);

        if (*end == '\0') {
            break;
        }

        printf("%24s", "");
    }
}


void
sluice_options_help(sluice_program_t program)
{
    char                    head[64];
    const sluice_option_t  *o;

    for (o = sluice_options; o->name != NULL; o++) {

        if (!(o->programs & (unsigned) program)) {
            continue;
        }

        snprintf(head, sizeof(head), "--%s%s%s", o->name,
                 o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");

        sluice_help_line(head, o->help);

        if (o->env != NULL || o->preset != NULL) {
            printf("%25s", "[");

            if (o->env != NULL) {
                printf("%s%s", o->env, o->preset != NULL ? ", " : "");
            }

            if (o->preset != NULL) {
                printf("default %s", o->preset);
            }

            printf("]\n");
        }
    }
}
