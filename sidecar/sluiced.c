
/* sluiced: drains the lanes of a directory into a sink */

#define _GNU_SOURCE

#include "drain.h"
#include "clock.h"
#include "guard.h"
#include "log.h"
#include "notify.h"
#include "options.h"
#include "quarantine.h"
#include "sink.h"
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


#define SLUICED_LOCK        "sluiced.lock"
#define SLUICED_WAIT        500         /* ms between looks for a directory  */
#define SLUICED_QUARANTINE  "/var/lib/sluice"


typedef struct {
    sluice_options_t      options;
    sluice_sink_t        *sink;
    sluice_quarantine_t   quarantine;
    sluice_writers_t      writers;
    sluice_dir_t          dir;
    int                   lock;         /* of the directory                  */
    bool                  ready;        /* the service manager was told      */
    uint64_t              deadline;     /* monotonic ms, 0: none             */
    uint64_t              replaced;     /* the same, for a removed directory */

    sluice_drain_counters_t  counters;  /* of directories that are gone      */
    uint64_t                 removed;
} sluiced_t;


static void sluiced_on_signal(int signo);
static void sluiced_signals(void);
static int sluiced_configure(sluiced_t *sluiced, int argc, char **argv);
static int sluiced_flush(void);
static void sluiced_hide_secrets(int argc, char **argv);
static char *sluiced_quarantine_path(const sluice_options_t *options);
static int sluiced_run(sluiced_t *sluiced);
static sluice_status_t sluiced_open_dir(sluiced_t *sluiced,
    sluice_error_t *error);
static sluice_status_t sluiced_lock_dir(sluiced_t *sluiced,
    sluice_error_t *error);
static sluice_status_t sluiced_start(sluiced_t *sluiced,
    sluice_error_t *error);
static void sluiced_ready(sluiced_t *sluiced, const char *state);
static bool sluiced_drain(sluiced_t *sluiced, sluice_drain_t *drain);
static bool sluiced_stopping(sluiced_t *sluiced, sluice_drain_t *drain);
static void sluiced_replaced(sluiced_t *sluiced, sluice_drain_t *drain);
static void sluiced_report(sluiced_t *sluiced);


static volatile sig_atomic_t  sluiced_stop;
static volatile sig_atomic_t  sluiced_reopen;


int
main(int argc, char **argv)
{
    int               rc;
    static sluiced_t  sluiced;

    sluice_sink_mongodb_tidy();

    rc = sluiced_configure(&sluiced, argc, argv);

    return (rc >= 0) ? rc : sluiced_run(&sluiced);
}


/* an exit code, or -1: go on */

static int
sluiced_configure(sluiced_t *sluiced, int argc, char **argv)
{
    char              *path;
    sluice_error_t     error;
    sluice_options_t  *options;

    options = &sluiced->options;
    sluiced->dir.fd = -1;
    sluiced->lock = -1;

    if (sluice_options_parse(options, SLUICE_PROGRAM_SLUICED, argc, argv,
                             &error) != SLUICE_OK)
    {
        sluice_log(SLUICE_LOG_ERROR, "%s; see --help", error.text);
        return 2;
    }

    if (options->help) {
        printf("usage: sluiced [options]\n\n"
               "Drains the usage records that nginx leaves in shared memory "
               "into a sink.\n\n");
        sluice_options_help(SLUICE_PROGRAM_SLUICED);
        return sluiced_flush();
    }

    if (options->version) {
        printf("sluiced " SLUICE_RELEASE "\n");
        return sluiced_flush();
    }

    if (options->nwords != 0) {
        /* not the argument itself: it may be a URI with a password */

        sluice_log(SLUICE_LOG_ERROR, "an argument that is no option; see "
                   "--help");
        return 2;
    }

    if (options->sink != NULL) {
        options->sink = strdup(options->sink);
        sluiced_hide_secrets(argc, argv);
    }

    sluice_log_level((sluice_log_level_t) options->log_level);

    sluice_guard_init();
    sluiced_signals();

    sluiced->sink = sluice_sink_create(options, &error);

    if (sluiced->sink == NULL) {
        sluice_log(SLUICE_LOG_ERROR, "%s", error.text);
        return 1;
    }

    path = sluiced->sink->keeps_nothing ? NULL
                                        : sluiced_quarantine_path(options);

    if (sluice_quarantine_open(&sluiced->quarantine, path, &error)
        != SLUICE_OK)
    {
        sluice_log(SLUICE_LOG_ERROR, "%s", error.text);
        return 1;
    }

    free(path);

    return -1;
}


/* an exit code: what was printed may have gone nowhere */

static int
sluiced_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        sluice_log(SLUICE_LOG_ERROR, "writing the answer failed: %s",
                   strerror(errno));
        return 1;
    }

    return 0;
}


/* what ps(1) shows of us */

static void
sluiced_hide_secrets(int argc, char **argv)
{
    int    i;
    char  *start, *end;

    for (i = 1; i < argc; i++) {
        start = strstr(argv[i], "://");
        end = (start != NULL) ? strrchr(start, '@') : NULL;

        if (end != NULL) {
            memset(start + 3, '*', (size_t) (end - start - 3));
        }

        /* all that follows: an unescaped one may have any character */

        end = (start != NULL) ? strcasestr(start, "password=") : NULL;

        if (end != NULL) {
            end += sizeof("password=") - 1;
            memset(end, '*', strlen(end));
        }
    }
}


static char *
sluiced_quarantine_path(const sluice_options_t *options)
{
    char  *path, *slash;

    if (options->quarantine != NULL) {
        return strdup(options->quarantine);
    }

    if (strncmp(options->sink, "file:", 5) != 0) {
        return strdup(SLUICED_QUARANTINE);
    }

    path = strdup(options->sink + 5);
    slash = (path != NULL) ? strrchr(path, '/') : NULL;

    if (slash == NULL) {
        free(path);
        return strdup(".");
    }

    slash[slash == path] = '\0';

    return path;
}


static void
sluiced_signals(void)
{
    struct sigaction  sa;

    memset(&sa, 0, sizeof(struct sigaction));
    sigemptyset(&sa.sa_mask);
    sa.sa_flags = SA_RESTART;
    sa.sa_handler = sluiced_on_signal;

    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);

    sa.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &sa, NULL);
}


static void
sluiced_on_signal(int signo)
{
    if (signo == SIGHUP) {
        sluiced_reopen = 1;

    } else {
        sluiced_stop++;
    }
}


static int
sluiced_run(sluiced_t *sluiced)
{
    bool                     drained, unread;
    unsigned                 left;
    sluice_error_t           error;
    sluice_drain_t           drain;
    sluice_status_t          status;
    sluice_drain_counters_t  *c;

    left = 0;
    unread = false;

    for ( ;; ) {
        status = sluiced_open_dir(sluiced, &error);

        if (status == SLUICE_OK && sluiced->dir.fd == -1) {
            return 0;                   /* told to stop while it waited */
        }

        if (status == SLUICE_OK && sluiced->writers.n == 0) {
            status = sluiced_start(sluiced, &error);
        }

        if (status == SLUICE_OK) {
            status = sluice_drain_init(&drain, &sluiced->dir,
                                       &sluiced->options, sluiced->sink,
                                       &sluiced->quarantine,
                                       &sluiced->writers, &error);
        }

        if (status != SLUICE_OK) {
            sluice_log(SLUICE_LOG_ERROR, "%s", error.text);
            return 1;
        }

        sluiced_ready(sluiced, "READY=1\nSTATUS=draining");

        drained = sluiced_drain(sluiced, &drain);

        c = &sluiced->counters;
        c->records += drain.counters.records;
        c->recovered += drain.counters.recovered;
        c->damaged += drain.counters.damaged;
        c->damaged_bytes += drain.counters.damaged_bytes;
        sluiced->removed += drain.lanes.removed;

        if (!drained) {

            /* the writers are in the middle of something: no tidying up */

            sluice_log(SLUICE_LOG_ERROR, "not drained in time: what is left "
                       "stays in \"%s\" for the next start",
                       sluiced->dir.path);
            sluiced_report(sluiced);
            _exit(1);
        }

        if (sluiced->options.once) {
            left = sluice_lanes_left(&drain.lanes);
            unread = drain.lanes.unread;
        }

        sluice_drain_close(&drain);
        close(sluiced->lock);
        sluice_dir_close(&sluiced->dir);

        if (sluiced_stop || sluiced->options.once) {
            break;
        }

        /* another directory has come under the name */
    }

    sluice_writers_stop(&sluiced->writers);
    sluice_quarantine_close(&sluiced->quarantine);
    sluiced->sink->destroy(sluiced->sink);

    sluiced_report(sluiced);

    if (left != 0) {
        sluice_log(SLUICE_LOG_ERROR, "%u lanes were skipped and still hold "
                   "what they held", left);
    }

    return (left != 0 || unread) ? 1 : 0;
}


/* waits for the directory; no error and none open: told to stop */

static sluice_status_t
sluiced_open_dir(sluiced_t *sluiced, sluice_error_t *error)
{
    bool              told;
    sluice_status_t   status;
    struct timespec   ts;

    told = false;
    ts.tv_sec = 0;
    ts.tv_nsec = SLUICED_WAIT * 1000000;

    while (!sluiced_stop) {

        status = sluice_dir_open_reader(&sluiced->dir, sluiced->options.dir,
                                        error);
        if (status == SLUICE_OK) {
            return sluiced_lock_dir(sluiced, error);
        }

        if (status != SLUICE_ABSENT || sluiced->options.once) {
            return status;
        }

        if (!told) {
            told = true;
            sluice_log(SLUICE_LOG_WARN, "there is no \"%s\" yet: waiting for "
                       "nginx to make it", sluiced->options.dir);
            sluiced_ready(sluiced, "READY=1\nSTATUS=waiting for nginx");
        }

        nanosleep(&ts, NULL);
    }

    return SLUICE_OK;
}


static sluice_status_t
sluiced_lock_dir(sluiced_t *sluiced, sluice_error_t *error)
{
    int              fd, len;
    char             pid[32];
    ssize_t          n;
    sluice_status_t  status;

    fd = openat(sluiced->dir.fd, SLUICED_LOCK,
                O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0660);

    if (fd == -1) {
        status = sluice_error_errno(error, SLUICE_FAILED,
                                    "open \"%s/" SLUICED_LOCK "\" failed",
                                    sluiced->dir.path);
        sluice_dir_close(&sluiced->dir);
        return status;
    }

    /* whatever the umask: another user of the group may be the next */

    (void) fchmod(fd, 0660);

    if (!sluice_file_lock_fd(fd, 0, true)) {
        n = pread(fd, pid, sizeof(pid) - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';

        sluice_error(error, SLUICE_BUSY, "already running on \"%s\", pid %s",
                     sluiced->dir.path, pid[0] != '\0' ? pid : "unknown");
        close(fd);
        sluice_dir_close(&sluiced->dir);
        return SLUICE_BUSY;
    }

    len = snprintf(pid, sizeof(pid), "%d\n", (int) getpid());

    if (ftruncate(fd, 0) == -1 || pwrite(fd, pid, (size_t) len, 0) != len) {
        sluice_log(SLUICE_LOG_WARN, "writing \"%s/" SLUICED_LOCK "\" failed: "
                   "%s", sluiced->dir.path, strerror(errno));
    }

    sluiced->lock = fd;

    return SLUICE_OK;
}


static sluice_status_t
sluiced_start(sluiced_t *sluiced, sluice_error_t *error)
{
    unsigned  n;

    switch (sluiced->sink->check(sluiced->sink, error)) {

    case SLUICE_SINK_FAILED:
        return SLUICE_FAILED;

    case SLUICE_SINK_RETRY:
        sluice_log(SLUICE_LOG_WARN, "%s is not there yet: %s; records wait "
                   "in the lanes", sluiced->sink->name, error->text);
        break;

    default: /* SLUICE_SINK_DONE */
        break;
    }

    n = sluiced->sink->serial ? 1 : (unsigned) sluiced->options.writers;

    return sluice_writers_start(&sluiced->writers, sluiced->sink,
                                &sluiced->quarantine, n, error);
}


static void
sluiced_ready(sluiced_t *sluiced, const char *state)
{
    if (!sluiced->ready) {
        sluiced->ready = true;
        sluice_notify(state);

        return;
    }

    sluice_notify(strchr(state, '\n') + 1);
}


/* false: there is more, but no time */

static bool
sluiced_drain(sluiced_t *sluiced, sluice_drain_t *drain)
{
    sluice_log(SLUICE_LOG_INFO, "draining \"%s\"", sluiced->dir.path);

    if (sluiced->options.once) {
        sluice_drain_stop(drain);
    }

    while (!sluice_drain_over(drain)) {

        if (sluiced_reopen) {
            sluiced_reopen = 0;

            if (sluiced->sink->reopen != NULL) {
                sluiced->sink->reopen(sluiced->sink);
            }
        }

        if (!sluiced_stopping(sluiced, drain)) {
            return false;
        }

        if (!sluice_drain_turn(drain)) {
            sluice_writers_wait(&sluiced->writers, sluice_drain_pause(drain));
        }
    }

    return true;
}


/* false: the time is over, or we were told twice */

static bool
sluiced_stopping(sluiced_t *sluiced, sluice_drain_t *drain)
{
    if (drain->lanes.replaced && !drain->stopping) {
        sluiced_replaced(sluiced, drain);
    }

    if (!sluiced_stop) {
        return true;
    }

    if (sluiced->deadline == 0) {
        sluiced->deadline = sluice_clock_ms()
                            + sluiced->options.drain_timeout;

        sluice_notify("STOPPING=1");
        sluice_log(SLUICE_LOG_INFO, "stopping: draining what is there");

        if (!drain->stopping) {
            sluice_drain_stop(drain);
        }
    }

    return sluiced_stop == 1 && sluice_clock_ms() < sluiced->deadline;
}


/*
 * The directory was removed and made anew.  The lanes of the old one are
 * open still: we stay until their owners are gone, but not for ever, for
 * the new ones fill.
 */

static void
sluiced_replaced(sluiced_t *sluiced, sluice_drain_t *drain)
{
    if (sluiced->replaced == 0) {
        sluiced->replaced = sluice_clock_ms()
                            + sluiced->options.drain_timeout;
    }

    if (drain->lanes.n != 0) {
        if (sluice_clock_ms() < sluiced->replaced) {
            return;
        }

        sluice_log(SLUICE_LOG_ERROR, "%u lanes of the directory that was "
                   "removed have an owner still: what it pushes from now on "
                   "is lost", drain->lanes.n);
    }

    sluiced->replaced = 0;

    sluice_drain_stop(drain);
}


static void
sluiced_report(sluiced_t *sluiced)
{
    sluice_drain_counters_t   *c;
    sluice_writer_counters_t   w;

    c = &sluiced->counters;

    pthread_mutex_lock(&sluiced->writers.mutex);
    w = sluiced->writers.counters;
    pthread_mutex_unlock(&sluiced->writers.mutex);

    sluice_log(SLUICE_LOG_INFO, "%llu records read, %llu of them from "
               "requests without an end; %llu written, %llu refused for "
               "good; %llu batches, %llu retries; %llu damaged ranges, "
               "%llu bytes; %llu lanes removed",
               (unsigned long long) c->records,
               (unsigned long long) c->recovered,
               (unsigned long long) w.written,
               (unsigned long long) w.rejected,
               (unsigned long long) w.batches,
               (unsigned long long) w.retries,
               (unsigned long long) c->damaged,
               (unsigned long long) c->damaged_bytes,
               (unsigned long long) sluiced->removed);
}
