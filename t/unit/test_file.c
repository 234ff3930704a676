
/*
 * Files: what has its final name was whole once, what is not ours or not whole
 * is refused, and nobody takes a file from its users.
 */

#include "hash.h"
#include "util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>


static sluice_error_t  test_error;


static void
test_spec(sluice_file_spec_t *spec)
{
    memset(spec, 0, sizeof(sluice_file_spec_t));
    spec->kind = SLUICE_FILE_POOL;
    spec->subject = "subject";
    spec->geometry[0] = 11;
    spec->geometry[7] = 77;
    spec->section[0] = 100;
    spec->section[1] = 4097;
    spec->section[3] = 8;
}


static void
test_make(util_dir_t *d, const char *name, sluice_file_t *file)
{
    sluice_file_spec_t  spec;

    test_spec(&spec);
    assert_int_equal(sluice_file_create(&d->dir, &spec, file, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_file_publish(&d->dir, file, name, &test_error),
                     SLUICE_OK);
}


/* opens it for nothing else but the answer; `words` are in the text */

static void
test_answer(util_dir_t *d, const char *name, sluice_status_t status,
    const char *words)
{
    unsigned            i, fds;
    sluice_file_t       file;
    sluice_status_t     rc;

    static const sluice_file_mode_t  modes[] = {
        SLUICE_OPEN_LOOK, SLUICE_OPEN_READ, SLUICE_OPEN_WRITE
    };

    for (i = 0; i < 3; i++) {
        fds = util_fds();
        test_error.text[0] = '\0';

        rc = sluice_file_open(&d->dir, name, SLUICE_FILE_POOL, modes[i], &file,
                              &test_error);

        assert_int_equal(rc, status);

        if (words != NULL && strstr(test_error.text, words) == NULL) {
            fail_msg("\"%s\" has no \"%s\"", test_error.text, words);
        }

        if (rc == SLUICE_OK || rc == SLUICE_STALE) {
            sluice_file_close(&d->dir, &file);
        }

        assert_int_equal(file.fd, -1);
        assert_int_equal(util_fds(), fds);
    }
}


static void
test_create(void **state)
{
    char                   name[SLUICE_FILE_NAME_MAX];
    size_t                 i;
    struct stat            st;
    util_dir_t            *d = *state;
    sluice_file_t          file, again;
    sluice_file_spec_t     spec, other;

    test_spec(&spec);
    assert_int_equal(sluice_file_create(&d->dir, &spec, &file, &test_error),
                     SLUICE_OK);

    /* nobody sees it yet, and its blocks are there */

    assert_int_equal(util_dir_count(&d->dir, "pool.", NULL), 0);
    assert_int_equal(util_dir_count(&d->dir, ".new.", name), 1);
    test_answer(d, name, SLUICE_CORRUPT, "not a file of Sluice");

    assert_int_equal(fstat(file.fd, &st), 0);
    assert_int_equal(st.st_size, 5 * 4096);
    assert_true(st.st_blocks * 512 >= st.st_size);
    assert_int_equal(st.st_mode & 07777, 0660);

    for (i = 4096; i < file.size; i++) {
        assert_int_equal(file.map[i], 0);
    }

    assert_ptr_equal(sluice_file_section(&file, 0), file.map + 4096);
    assert_ptr_equal(sluice_file_section(&file, 1), file.map + 8192);
    assert_ptr_equal(sluice_file_section(&file, 3), file.map + 16384);

    strcpy(sluice_file_section(&file, 3), "seven");

    assert_int_equal(sluice_file_publish(&d->dir, &file, "pool.a.1",
                                         &test_error), SLUICE_OK);
    assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 0);
    assert_string_equal(file.name, "pool.a.1");

    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &again, &test_error),
                     SLUICE_OK);
    assert_string_equal(sluice_file_section(&again, 3), "seven");
    assert_memory_equal(&again.header, &file.header, sizeof(file.header));
    assert_string_equal(again.header.name, "subject");

    /* what fits it, and what does not */

    assert_true(sluice_file_fits(&again, &spec));

    for (i = 0; i < SLUICE_FILE_GEOMETRY; i++) {
        other = spec;
        other.geometry[i]++;
        assert_false(sluice_file_fits(&again, &other));
    }

    for (i = 0; i < SLUICE_FILE_SECTIONS; i++) {
        other = spec;
        other.section[i]++;
        assert_false(sluice_file_fits(&again, &other));
    }

    sluice_file_close(&d->dir, &again);
    sluice_file_close(&d->dir, &file);
    assert_int_equal(util_dir_count(&d->dir, "pool.", NULL), 1);

    test_answer(d, "pool.a.1", SLUICE_OK, NULL);
    test_answer(d, "pool.b.1", SLUICE_ABSENT, "No such file");
}


static void
test_exists(void **state)
{
    util_dir_t          *d = *state;
    sluice_file_t        first, second;
    sluice_file_spec_t   spec;

    test_spec(&spec);
    test_make(d, "pool.a.1", &first);

    assert_int_equal(sluice_file_create(&d->dir, &spec, &second, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_file_publish(&d->dir, &second, "pool.a.1",
                                         &test_error), SLUICE_EXISTS);

    /* it may have another name; the first one is as it was */

    assert_int_equal(sluice_file_publish(&d->dir, &second, "pool.a.2",
                                         &test_error), SLUICE_OK);
    test_answer(d, "pool.a.1", SLUICE_OK, NULL);
    test_answer(d, "pool.a.2", SLUICE_OK, NULL);
    assert_memory_not_equal(first.header.uuid, second.header.uuid, 16);
    assert_memory_not_equal(first.header.key, second.header.key, 16);

    sluice_file_close(&d->dir, &first);
    sluice_file_close(&d->dir, &second);

    /* one that was never published goes with its builder */

    assert_int_equal(sluice_file_create(&d->dir, &spec, &second, &test_error),
                     SLUICE_OK);
    sluice_file_close(&d->dir, &second);
    assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 0);
}


/* any byte of the header that is not padding */

static void
test_flipped(void **state)
{
    size_t            i;
    util_dir_t       *d = *state;
    sluice_file_t     file;
    sluice_status_t   status;

    test_make(d, "pool.a.1", &file);

    for (i = 0; i < offsetof(sluice_file_header_t, pad); i++) {
        file.map[i] ^= 0x10;

        status = SLUICE_CORRUPT;

        if (i >= offsetof(sluice_file_header_t, abi_major)
            && i < offsetof(sluice_file_header_t, kind))
        {
            status = SLUICE_VERSION;
        }

        test_answer(d, "pool.a.1", status, NULL);

        file.map[i] ^= 0x10;
    }

    test_answer(d, "pool.a.1", SLUICE_OK, NULL);
    sluice_file_close(&d->dir, &file);
}


/* a header whose CRC is right, but that cannot be */

static void
test_hostile(void **state)
{
    unsigned               i;
    util_dir_t            *d = *state;
    sluice_file_t          file;
    sluice_file_header_t  *h, good;

    test_make(d, "pool.a.1", &file);
    h = (sluice_file_header_t *) file.map;
    good = *h;

#define hostile(change, status, words)                                        \
    *h = good;                                                                \
    change;                                                                   \
    h->crc = sluice_crc32c(0, h, offsetof(sluice_file_header_t, crc));        \
    test_answer(d, "pool.a.1", status, words)

    hostile((void) 0, SLUICE_OK, NULL);
    hostile(h->abi_major++, SLUICE_VERSION, "version 2.0");
    hostile(h->abi_minor++, SLUICE_VERSION, "version 1.1");
    hostile(h->kind = SLUICE_FILE_LANE, SLUICE_CORRUPT, "kind 4, not 3");
    hostile(h->size += 4096, SLUICE_CORRUPT, "bytes");
    hostile(h->size -= 4096, SLUICE_CORRUPT, "bytes");
    hostile(memset(h->name, 'x', 64), SLUICE_CORRUPT, "no name");
    hostile(h->boot_id[3]++, SLUICE_STALE, "before the last boot");

    for (i = 0; i < SLUICE_FILE_SECTIONS; i++) {
        if (i == 2) {
            continue;
        }

        hostile(h->section[i].offset += 8, SLUICE_CORRUPT, "out of place");
        hostile(h->section[i].offset = 0, SLUICE_CORRUPT, "out of place");
        hostile(h->section[i].offset = 5 * 4096, SLUICE_CORRUPT,
                "out of place");
        hostile(h->section[i].offset = 1ull << 63, SLUICE_CORRUPT,
                "out of place");
        hostile(h->section[i].size = 1ull << 40, SLUICE_CORRUPT,
                "out of place");
        hostile(h->section[i].size = UINT64_MAX, SLUICE_CORRUPT,
                "out of place");
    }

    hostile(h->section[1].offset = 4096, SLUICE_CORRUPT, "out of place");
    hostile(h->section[2].size = 1, SLUICE_CORRUPT, "out of place");

#undef hostile

    *h = good;
    sluice_file_close(&d->dir, &file);
}


static void
test_truncated(void **state)
{
    off_t           size;
    util_dir_t     *d = *state;
    sluice_file_t   file;

    test_make(d, "pool.a.1", &file);

    for (size = 5 * 4096; size > 4096; size -= 512) {
        test_answer(d, "pool.a.1", size == 5 * 4096 ? SLUICE_OK
                                                    : SLUICE_CORRUPT, NULL);
        assert_int_equal(ftruncate(file.fd, size - 512), 0);
    }

    assert_int_equal(ftruncate(file.fd, 511), 0);
    test_answer(d, "pool.a.1", SLUICE_CORRUPT, "truncated");
    assert_int_equal(ftruncate(file.fd, 0), 0);
    test_answer(d, "pool.a.1", SLUICE_CORRUPT, "truncated");

    sluice_file_close(&d->dir, &file);
}


static void
test_not_a_file(void **state)
{
    util_dir_t     *d = *state;
    sluice_file_t   file;

    assert_int_equal(mkfifoat(d->dir.fd, "pool.fifo.1", 0600), 0);
    test_make(d, "pool.a.1", &file);
    assert_int_equal(symlinkat("pool.a.1", d->dir.fd, "pool.link.1"), 0);

    alarm(10);                              /* a FIFO must not stop us */
    test_answer(d, "pool.fifo.1", SLUICE_CORRUPT, "not a regular file");
    alarm(0);
    test_answer(d, "pool.link.1", SLUICE_FAILED, "pool.link.1");

    sluice_file_close(&d->dir, &file);
}


static void
test_foreign(void **state)
{
    util_dir_t     *d = *state;
    sluice_file_t   file, again;

    test_make(d, "pool.a.1", &file);
    sluice_file_close(&d->dir, &file);

    d->dir.uid = geteuid() + 1;

    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &again, &test_error),
                     SLUICE_FAILED);
    assert_non_null(strstr(test_error.text, "belongs to user"));
    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_READ, &again, &test_error),
                     SLUICE_OK);
    sluice_file_close(&d->dir, &again);

    d->dir.uid = geteuid();
}


/* a file with its builder's life in its own hands */

typedef struct {
    util_dir_t  *d;
    int          go[2];
    int          done[2];
    bool         publish;
} test_child_t;


static int
test_builder(void *data)
{
    char                 c;
    test_child_t        *child = data;
    sluice_file_t        file;
    sluice_error_t       error;
    sluice_file_spec_t   spec;

    test_spec(&spec);
    util_check(sluice_file_create(&child->d->dir, &spec, &file, &error)
               == SLUICE_OK);

    if (child->publish) {
        util_check(sluice_file_publish(&child->d->dir, &file, "pool.a.1",
                                       &error) == SLUICE_OK);
    }

    util_check(write(child->done[1], "x", 1) == 1);
    util_check(read(child->go[0], &c, 1) == 1);

    return 0;
}


static pid_t
test_child_start(util_dir_t *d, test_child_t *child, bool publish)
{
    char   c;
    pid_t  pid;

    child->d = d;
    child->publish = publish;
    assert_int_equal(pipe2(child->go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(child->done, O_CLOEXEC), 0);

    pid = util_fork(test_builder, child);
    assert_int_equal(read(child->done[0], &c, 1), 1);

    return pid;
}


static void
test_child_kill(test_child_t *child, pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(util_wait(pid), -1);
    close(child->go[0]);
    close(child->go[1]);
    close(child->done[0]);
    close(child->done[1]);
}


static void
test_sweep(void **state)
{
    int                  fd;
    pid_t                pid;
    util_dir_t          *d = *state;
    test_child_t         child;
    sluice_file_t        own, file;
    sluice_file_spec_t   spec;

    test_spec(&spec);
    test_make(d, "pool.b.1", &file);
    assert_int_equal(sluice_file_create(&d->dir, &spec, &own, &test_error),
                     SLUICE_OK);
    pid = test_child_start(d, &child, false);

    /* an empty one, as a death right after its making leaves it */

    fd = openat(d->dir.fd, ".new.empty", O_RDWR|O_CREAT, 0600);
    close(fd);

    assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 3);
    sluice_file_sweep(&d->dir);
    assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 2);

    test_child_kill(&child, pid);
    sluice_file_sweep(&d->dir);
    assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 1);

    /* the living builder's file is whole after all */

    assert_int_equal(sluice_file_publish(&d->dir, &own, "pool.a.1",
                                         &test_error), SLUICE_OK);
    sluice_file_sweep(&d->dir);
    test_answer(d, "pool.a.1", SLUICE_OK, NULL);
    test_answer(d, "pool.b.1", SLUICE_OK, NULL);

    sluice_file_close(&d->dir, &own);
    sluice_file_close(&d->dir, &file);
}


/*
 * A sweeper that comes between the making of a temporary file and its lock
 * takes it for an orphan: the builder begins anew and does not fail later.
 */

static int
test_sweeper(void *data)
{
    util_dir_t  *d = data;

    for ( ;; ) {
        sluice_file_sweep(&d->dir);
    }

    return 0;
}


static void
test_sweep_race(void **state)
{
    pid_t                pid;
    double               end;
    util_dir_t          *d = *state;
    sluice_file_t        file;
    sluice_status_t      status;
    sluice_file_spec_t   spec;

    test_spec(&spec);
    pid = util_fork(test_sweeper, d);
    end = util_now() + 1.0;

    do {
        status = sluice_file_create(&d->dir, &spec, &file, &test_error);

        if (status == SLUICE_OK) {
            status = sluice_file_publish(&d->dir, &file, "pool.a.1",
                                         &test_error);
            unlinkat(d->dir.fd, "pool.a.1", 0);
            sluice_file_close(&d->dir, &file);
        }

        if (status != SLUICE_OK) {
            break;
        }

    } while (util_now() < end);

    kill(pid, SIGKILL);
    util_wait(pid);

    if (status != SLUICE_OK) {
        fail_msg("%s", test_error.text);
    }
}


static void
test_retire(void **state)
{
    pid_t           pid;
    util_dir_t     *d = *state;
    test_child_t    child;
    sluice_file_t   file, other;

    pid = test_child_start(d, &child, true);

    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &file, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_file_retire(&d->dir, &file), SLUICE_BUSY);

    /* held under SIGSTOP, too, and gone with the process */

    kill(pid, SIGSTOP);
    usleep(20000);
    assert_int_equal(sluice_file_retire(&d->dir, &file), SLUICE_BUSY);
    test_answer(d, "pool.a.1", SLUICE_OK, NULL);

    test_child_kill(&child, pid);

    /* two descriptions of one process are two users */

    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &other, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_file_retire(&d->dir, &file), SLUICE_BUSY);
    sluice_file_close(&d->dir, &other);

    assert_int_equal(sluice_file_retire(&d->dir, &file), SLUICE_OK);
    test_answer(d, "pool.a.1", SLUICE_ABSENT, NULL);
    sluice_file_close(&d->dir, &file);
}


/* while it is being removed it is told so, and to look does not wait */

static void
test_retiring(void **state)
{
    util_dir_t     *d = *state;
    sluice_file_t   file, other;

    test_make(d, "pool.a.1", &file);
    assert_true(sluice_file_lock(&file, SLUICE_LOCK_USERS, true));

    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &other, &test_error),
                     SLUICE_BUSY);
    assert_int_equal(other.fd, -1);
    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_LOOK, &other, &test_error),
                     SLUICE_OK);
    sluice_file_close(&d->dir, &other);
    sluice_file_close(&d->dir, &file);
}


/* a master's lock serves its workers for as long as one of them lives */

static void
test_fork(void **state)
{
    pid_t           pid;
    util_dir_t     *d = *state;
    test_child_t    child;
    sluice_file_t   master, file;

    test_make(d, "pool.b.1", &master);
    assert_true(sluice_file_lock(&master, SLUICE_LOCK_PRIMARY, false));

    pid = test_child_start(d, &child, false);       /* it inherits all that */
    sluice_file_close(&d->dir, &master);

    assert_int_equal(sluice_file_open(&d->dir, "pool.b.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &file, &test_error),
                     SLUICE_OK);
    assert_true(sluice_file_locked(&file, SLUICE_LOCK_PRIMARY));
    assert_false(sluice_file_locked(&file, SLUICE_LOCK_OWNER));
    assert_int_equal(sluice_file_retire(&d->dir, &file), SLUICE_BUSY);

    test_child_kill(&child, pid);

    assert_false(sluice_file_locked(&file, SLUICE_LOCK_PRIMARY));
    assert_int_equal(sluice_file_retire(&d->dir, &file), SLUICE_OK);
    sluice_file_close(&d->dir, &file);
}


static void
test_locks(void **state)
{
    util_dir_t     *d = *state;
    sluice_file_t   a, b;

    test_make(d, "pool.a.1", &a);
    assert_int_equal(sluice_file_open(&d->dir, "pool.a.1", SLUICE_FILE_POOL,
                                      SLUICE_OPEN_WRITE, &b, &test_error),
                     SLUICE_OK);

    /* shared ones stand together, an exclusive one alone, bytes apart */

    assert_true(sluice_file_lock(&a, 5, false));
    assert_true(sluice_file_lock(&b, 5, false));
    assert_false(sluice_file_lock(&b, 5, true));
    assert_true(sluice_file_locked(&a, 5));
    sluice_file_unlock(&b, 5);
    assert_false(sluice_file_locked(&a, 5));
    assert_true(sluice_file_lock(&a, 5, true));
    assert_false(sluice_file_lock(&b, 5, false));
    assert_true(sluice_file_lock(&b, 6, true));
    sluice_file_close(&d->dir, &a);
    assert_true(sluice_file_lock(&b, 5, true));
    sluice_file_close(&d->dir, &b);
}


/* a file that is no sluice_file_t; a duplicate shares its lock */

static void
test_lock_fd(void **state)
{
    int          a, b, c;
    util_dir_t  *d = *state;

    a = openat(d->dir.fd, "lock", O_RDWR|O_CREAT|O_CLOEXEC, 0600);
    b = openat(d->dir.fd, "lock", O_RDWR|O_CLOEXEC);
    assert_true(a != -1 && b != -1);

    assert_true(sluice_file_lock_fd(a, 0, true));
    assert_false(sluice_file_lock_fd(b, 0, true));
    assert_false(sluice_file_lock_fd(b, 0, false));
    assert_true(sluice_file_lock_fd(b, 1, true));

    c = dup(a);
    assert_true(sluice_file_lock_fd(c, 0, true));
    close(a);
    assert_false(sluice_file_lock_fd(b, 0, true));
    close(c);
    assert_true(sluice_file_lock_fd(b, 0, true));
    close(b);
}


static void
test_uuid(void **state)
{
    char     text[37];
    uint8_t  uuid[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                          0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };

    (void) state;

    sluice_uuid_format(uuid, text);
    assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_create),
        util_test(test_exists),
        util_test(test_flipped),
        util_test(test_hostile),
        util_test(test_truncated),
        util_test(test_not_a_file),
        util_test(test_foreign),
        util_test(test_sweep),
        util_test(test_sweep_race),
        util_test(test_retire),
        util_test(test_retiring),
        util_test(test_fork),
        util_test(test_locks),
        util_test(test_lock_fd),
        cmocka_unit_test(test_uuid)
    };

    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
