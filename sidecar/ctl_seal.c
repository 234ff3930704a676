
/*
 * sluicectl seal: makes a sealed file (seal.h) of secrets, and a master key.
 * There is no way back here: who may read the secrets is nginx.
 */

#define _GNU_SOURCE

#include "ctl.h"
#include "file.h"
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>


#define SLUICE_CTL_KEY_TEXT  (2 * SLUICE_SEAL_KEY + 1)      /* a newline too */


static void sluice_ctl_no_core(void);
static void sluice_ctl_seal_plain(sluice_ctl_t *ctl, const char *plain,
    size_t len);
static bool sluice_ctl_seal_read(sluice_ctl_t *ctl, char *plain,
    size_t size, size_t *len);
static bool sluice_ctl_slurp(int fd, char *to, size_t size, size_t *len);
static bool sluice_ctl_typed(char *to, size_t size, size_t *len);
static void sluice_ctl_terminal_back(int signo);
static bool sluice_ctl_master(sluice_ctl_t *ctl,
    uint8_t key[SLUICE_SEAL_KEY]);
static bool sluice_ctl_master_new(sluice_ctl_t *ctl,
    uint8_t key[SLUICE_SEAL_KEY]);


static struct termios  sluice_ctl_terminal;


void
sluice_ctl_seal(sluice_ctl_t *ctl)
{
    char    *plain;
    size_t   len, size;

    if ((ctl->key == NULL) == (ctl->new_key == NULL)) {
        sluice_ctl_fail(ctl, 2, "seal needs one of --key and --new-key");
        return;
    }

    sluice_ctl_no_core();

    /* a byte more tells what is too long; one piece, that nothing is copied */

    size = SLUICE_SEAL_PLAIN + 1;
    plain = malloc(size);

    if (plain == NULL) {
        sluice_ctl_fail(ctl, 1, "no memory");
        return;
    }

    /* where it may not be locked it may reach the swap */

    (void) mlock(plain, size);

    if (sluice_ctl_seal_read(ctl, plain, size, &len)) {
        sluice_ctl_seal_plain(ctl, plain, len);
    }

    explicit_bzero(plain, size);
    free(plain);
}


static void
sluice_ctl_no_core(void)
{
    struct rlimit  none = { 0, 0 };

    (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void) setrlimit(RLIMIT_CORE, &none);
}


static void
sluice_ctl_seal_plain(sluice_ctl_t *ctl, const char *plain, size_t len)
{
    char            *sealed;
    uint8_t          key[SLUICE_SEAL_KEY];
    sluice_error_t   error;

    if (!(ctl->new_key != NULL ? sluice_ctl_master_new(ctl, key)
                               : sluice_ctl_master(ctl, key)))
    {
        return;
    }

    sealed = malloc(sluice_sealed_size(len));

    if (sealed == NULL) {
        sluice_ctl_fail(ctl, 1, "no memory");

    } else if (sluice_seal(key, plain, len, sealed, &error) != SLUICE_OK) {
        sluice_ctl_fail(ctl, 1, "%s", error.text);

    } else {
        printf("%s", sealed);
    }

    free(sealed);
    explicit_bzero(key, sizeof(key));
}


/* of the file that is named, or of the standard input */

static bool
sluice_ctl_seal_read(sluice_ctl_t *ctl, char *plain, size_t size, size_t *len)
{
    int          fd;
    bool         well;
    const char  *name;

    name = (ctl->nwords == 2) ? ctl->words[1] : "the standard input";
    fd = (ctl->nwords == 2) ? open(name, O_RDONLY|O_CLOEXEC) : STDIN_FILENO;

    if (fd == -1) {
        sluice_ctl_fail(ctl, 1, "open \"%s\" failed: %s", name,
                        strerror(errno));
        return false;
    }

    well = (ctl->nwords == 1 && isatty(fd)) ? sluice_ctl_typed(plain, size, len)
                                            : sluice_ctl_slurp(fd, plain, size,
                                                               len);
    if (!well) {
        sluice_ctl_fail(ctl, 1, "reading \"%s\" failed: %s", name,
                        strerror(errno));

    } else if (*len == 0) {
        sluice_ctl_fail(ctl, 1, "\"%s\" is empty: there is nothing to seal",
                        name);
        well = false;

    } else if (*len > SLUICE_SEAL_PLAIN) {
        sluice_ctl_fail(ctl, 1, "\"%s\" has more than %u bytes", name,
                        SLUICE_SEAL_PLAIN);
        well = false;
    }

    if (fd != STDIN_FILENO) {
        close(fd);
    }

    return well;
}


/* all of it, or as much as there is room for; no buffer of stdio's is in it */

static bool
sluice_ctl_slurp(int fd, char *to, size_t size, size_t *len)
{
    ssize_t  n;

    for (*len = 0; *len < size; *len += (size_t) n) {
        n = read(fd, to + *len, size - *len);

        if (n == -1) {
            if (errno != EINTR) {
                return false;
            }

            n = 0;
            continue;
        }

        if (n == 0) {
            break;
        }
    }

    return true;
}


/* on a terminal, which must not show it */

static bool
sluice_ctl_typed(char *to, size_t size, size_t *len)
{
    bool               well;
    unsigned           i;
    struct termios     quiet;
    struct sigaction   sa;

    static const int  signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

    if (tcgetattr(STDIN_FILENO, &sluice_ctl_terminal) == -1) {
        return false;
    }

    memset(&sa, 0, sizeof(struct sigaction));
    sa.sa_handler = sluice_ctl_terminal_back;
    sa.sa_flags = SA_RESETHAND|SA_NODEFER;
    sigemptyset(&sa.sa_mask);

    for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &sa, NULL);
    }

    signal(SIGTSTP, SIG_IGN);

    quiet = sluice_ctl_terminal;
    quiet.c_lflag &= ~(tcflag_t) (ECHO|ECHONL);

    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == -1) {
        return false;
    }

    fprintf(stderr, "Lines to seal, which are not shown; Ctrl-D ends them:\n");

    well = sluice_ctl_slurp(STDIN_FILENO, to, size, len);

    tcsetattr(STDIN_FILENO, TCSAFLUSH, &sluice_ctl_terminal);

    return well;
}


static void
sluice_ctl_terminal_back(int signo)
{
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &sluice_ctl_terminal);
    raise(signo);
}


static bool
sluice_ctl_master(sluice_ctl_t *ctl, uint8_t key[SLUICE_SEAL_KEY])
{
    int              fd;
    bool             well;
    char             text[SLUICE_CTL_KEY_TEXT + 2];
    size_t           len;
    struct stat      st;
    sluice_error_t   error;

    fd = open(ctl->key, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        sluice_ctl_fail(ctl, 1, "open \"%s\" failed: %s", ctl->key,
                        strerror(errno));
        return false;
    }

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
        && (st.st_mode & (S_IWGRP|S_IRWXO)))
    {
        fprintf(stderr, "sluicectl: warning: \"%s\" is a master key that "
                "others may read or change\n", ctl->key);
    }

    well = sluice_ctl_slurp(fd, text, sizeof(text), &len);

    if (!well) {
        sluice_ctl_fail(ctl, 1, "reading \"%s\" failed: %s", ctl->key,
                        strerror(errno));

    } else if (sluice_seal_key(text, len, key, &error) != SLUICE_OK) {
        sluice_ctl_fail(ctl, 1, "\"%s\": %s", ctl->key, error.text);
        well = false;
    }

    explicit_bzero(text, sizeof(text));
    close(fd);

    return well;
}


static bool
sluice_ctl_master_new(sluice_ctl_t *ctl, uint8_t key[SLUICE_SEAL_KEY])
{
    int        fd;
    bool       well;
    char       text[SLUICE_CTL_KEY_TEXT + 1];
    unsigned   i;

    fd = open(ctl->new_key, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC,
              0600);

    if (fd == -1) {
        sluice_ctl_fail(ctl, 1, errno == EEXIST
                                ? "\"%s\" is there already, and no master "
                                  "key is written over another file"
                                : "creating \"%s\" failed: %s",
                        ctl->new_key, strerror(errno));
        return false;
    }

    sluice_random(key, SLUICE_SEAL_KEY);

    for (i = 0; i < SLUICE_SEAL_KEY; i++) {
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    }

    text[2 * SLUICE_SEAL_KEY] = '\n';

    well = write(fd, text, SLUICE_CTL_KEY_TEXT) == SLUICE_CTL_KEY_TEXT
           && fsync(fd) == 0;

    if (!well) {
        sluice_ctl_fail(ctl, 1, "writing \"%s\" failed: %s", ctl->new_key,
                        strerror(errno));
        unlink(ctl->new_key);
        explicit_bzero(key, SLUICE_SEAL_KEY);
    }

    explicit_bzero(text, sizeof(text));
    close(fd);

    return well;
}
