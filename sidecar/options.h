
/*
 * The options of sluiced and sluicectl: one table has their flags, their
 * environment variables, their defaults and their help.
 */

#ifndef SLUICE_OPTIONS_H
#define SLUICE_OPTIONS_H

#include "error.h"

#include <stdbool.h>
#include <stdint.h>


#define SLUICE_RELEASE  "0.1.0"


typedef enum {
    SLUICE_PROGRAM_SLUICED = 1,
    SLUICE_PROGRAM_CTL = 2
} sluice_program_t;


typedef struct {
    const char   *dir;
    const char   *sink;
    const char   *database;         /* NULL: from the URI                    */
    const char   *collection;
    const char   *quarantine;       /* NULL: where the sink thinks best      */
    uint64_t      batch_size;       /* records                               */
    uint64_t      batch_time;       /* ms                                    */
    uint64_t      writers;
    uint64_t      retention;        /* ms, 0: off                            */
    uint64_t      drain_timeout;    /* ms                                    */
    uint64_t      poll;             /* ms                                    */
    uint64_t      log_level;        /* sluice_log_level_t                    */
    uint64_t      top;              /* keys of a zone                        */
    uint64_t      duration;         /* ms, 0: not said                       */
    const char   *key;              /* master keys' files, NULL: not said    */
    const char   *new_key;
    bool          once;
    bool          json;
    bool          all;
    bool          help;
    bool          version;

    const char  **words;            /* what is no option                     */
    unsigned      nwords;
} sluice_options_t;


/*
 * Sets defaults, then what the environment has, then the flags.  A refusal
 * has the flag's name in its text.  The texts are those of argv and of the
 * environment, not copies; `words` points into argv, which is reordered.
 */
sluice_status_t sluice_options_parse(sluice_options_t *options,
    sluice_program_t program, int argc, char **argv, sluice_error_t *error);

/* to the standard output; one line: what it is called, and its text */
void sluice_options_help(sluice_program_t program);
void sluice_help_line(const char *head, const char *help);


#endif /* SLUICE_OPTIONS_H */
