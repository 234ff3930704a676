
/* sluicectl: what the files of a directory hold, for people and programs */

#include "clock.h"
#include "ctl.h"
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>


typedef struct {
    const char  *name;
    const char  *words;         /* what comes behind it, in --help           */
    unsigned     min;           /* how many these are                        */
    unsigned     max;
    bool         dir;           /* its answer is about the directory         */
    void       (*run)(sluice_ctl_t *ctl);
    const char  *help;
} sluicectl_command_t;


static const sluicectl_command_t  sluicectl_commands[] = {

    { "status", "", 0, 0, true, sluice_ctl_status,
      "workers, counters, lanes, pools, zones" },

    { "requests", "", 0, 0, true, sluice_ctl_requests,
      "requests that are open now" },

    { "hottest", "", 0, 0, true, sluice_ctl_hottest,
      "the keys that count most in each zone" },

    { "keys", " [POOL]", 0, 1, true, sluice_ctl_keys,
      "states, uses, answers and windows of pools' keys" },

    { "key", " VERB POOL ID", 3, 3, true, sluice_ctl_key,
      "VERB is enable, disable or cool: sets the state of a\n"
      "key, for all workers at once" },

    { "proxies", " [POOL]", 0, 1, true, sluice_ctl_proxies,
      "states, uses and failures of egress proxies" },

    { "proxy", " VERB POOL ID", 3, 3, true, sluice_ctl_proxy,
      "sets the state of an egress proxy likewise" },

    { "seal", " [FILE]", 0, 1, false, sluice_ctl_seal,
      "encrypts a file of secrets, or the standard input,\n"
      "for a pool to read" },

    { NULL, NULL, 0, 0, false, NULL, NULL }
};


static void
sluicectl_help(void)
{
    char                        head[64];
    const sluicectl_command_t  *c;

    printf("usage: sluicectl [options] command\n\n");

    for (c = sluicectl_commands; c->name != NULL; c++) {
        snprintf(head, sizeof(head), "%s%s", c->name, c->words);
        sluice_help_line(head, c->help);
    }

    printf("\n");
    sluice_options_help(SLUICE_PROGRAM_CTL);
}


/* an exit code */

static int
sluicectl_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "sluicectl: writing the answer failed: %s\n",
                strerror(errno));
        return 1;
    }

    return 0;
}


int
main(int argc, char **argv)
{
    int                         code;
    sluice_error_t              error;
    sluice_options_t            options;
    const sluicectl_command_t  *c;

    static sluice_ctl_t  ctl;

    if (sluice_options_parse(&options, SLUICE_PROGRAM_CTL, argc, argv, &error)
        != SLUICE_OK)
    {
        fprintf(stderr, "sluicectl: %s; see --help\n", error.text);
        return 2;
    }

    if (options.help) {
        sluicectl_help();
        return sluicectl_flush();
    }

    if (options.version) {
        printf("sluicectl " SLUICE_RELEASE "\n");
        return sluicectl_flush();
    }

    for (c = sluicectl_commands; c->name != NULL; c++) {
        if (options.nwords != 0 && strcmp(options.words[0], c->name) == 0) {
            break;
        }
    }

    if (c->name == NULL) {
        fprintf(stderr, "sluicectl: one command is needed; see --help\n");
        return 2;
    }

    if (options.nwords - 1 < c->min || options.nwords - 1 > c->max) {
        fprintf(stderr, "sluicectl: it is \"%s%s\"; see --help\n", c->name,
                c->words);
        return 2;
    }

    ctl.json = options.json;
    ctl.all = options.all;
    ctl.top = options.top;
    ctl.duration = options.duration;
    ctl.key = options.key;
    ctl.new_key = options.new_key;
    ctl.words = options.words;
    ctl.nwords = options.nwords;
    ctl.now = sluice_clock_wall_us();

    if (c->dir) {
        if (sluice_dir_open_reader(&ctl.dir, options.dir, &error) != SLUICE_OK)
        {
            fprintf(stderr, "sluicectl: %s\n", error.text);
            return 1;
        }

        sluice_ctl_begin(&ctl);
    }

    c->run(&ctl);

    if (c->dir) {
        sluice_ctl_end(&ctl);
        sluice_dir_close(&ctl.dir);
    }

    code = sluicectl_flush();

    return ctl.code != 0 ? ctl.code : code;
}
