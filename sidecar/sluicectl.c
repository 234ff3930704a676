
/* sluicectl: what the files of a directory hold, for people and programs */

#include "clock.h"
#include "ctl.h"
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>


static const struct {
    const char  *name;
    const char  *help;
    void       (*run)(sluice_ctl_t *ctl);
} sluicectl_commands[] = {
    { "status", "workers, counters, lanes, pools, zones",
      sluice_ctl_status },
    { "requests", "requests that are open now", sluice_ctl_requests },
    { "hottest", "the keys that count most in each zone",
      sluice_ctl_hottest },
    { NULL, NULL, NULL }
};


static void
sluicectl_help(void)
{
    unsigned  i;

    printf("usage: sluicectl [options] command\n\n");

    for (i = 0; sluicectl_commands[i].name != NULL; i++) {
        printf("  %-22s%s\n", sluicectl_commands[i].name,
               sluicectl_commands[i].help);
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
    unsigned          i;
    sluice_error_t    error;
    sluice_options_t  options;

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

    for (i = 0; sluicectl_commands[i].name != NULL; i++) {
        if (options.nwords == 1
            && strcmp(options.words[0], sluicectl_commands[i].name) == 0)
        {
            break;
        }
    }

    if (sluicectl_commands[i].name == NULL) {
        fprintf(stderr, "sluicectl: one command is needed; see --help\n");
        return 2;
    }

    if (sluice_dir_open_reader(&ctl.dir, options.dir, &error) != SLUICE_OK) {
        fprintf(stderr, "sluicectl: %s\n", error.text);
        return 1;
    }

    ctl.json = options.json;
    ctl.top = options.top;
    ctl.now = sluice_clock_wall_us();

    sluice_ctl_begin(&ctl);
    sluicectl_commands[i].run(&ctl);
    sluice_ctl_end(&ctl);

    sluice_dir_close(&ctl.dir);

    return sluicectl_flush();
}
