
/* the file sink's file, over an end in the middle of something */

#include "io.c"
#include "lines.c"

#include <signal.h>
#include <sys/resource.h>


static sluice_lines_t  test_lines_file;
static sluice_error_t  test_lines_error;


/* a start: the file as it goes on */

static sluice_lines_t *
test_lines_start(const char *path)
{
    bool             rotated;
    sluice_lines_t  *lines = &test_lines_file;

    assert_int_equal(sluice_lines_init(lines, path, &test_lines_error),
                     SLUICE_OK);
    assert_int_equal(sluice_lines_lock(lines, &test_lines_error), SLUICE_OK);
    assert_int_equal(sluice_lines_open(lines, &test_lines_error), SLUICE_OK);
    assert_int_equal(sluice_lines_recover(lines, &rotated, &test_lines_error),
                     SLUICE_OK);
    assert_false(rotated);
    assert_int_equal(lseek(lines->fd, (off_t) lines->end, SEEK_SET),
                     lines->end);

    return lines;
}


static void
test_lines_path(void **state, char *path, size_t size)
{
    util_dir_t  *d = *state;

    snprintf(path, size, "%s/lines.json", d->path);
}


/* killed behind somebody else's long line, and once more behind our next */

static void
test_lines_foreign(void **state)
{
    char             path[128];
    uint64_t         first, second;
    struct stat      st;
    sluice_lines_t  *lines;

    test_lines_path(state, path, sizeof(path));

    lines = test_lines_start(path);
    assert_int_equal(sluice_lines_store(lines, 0, &test_lines_error),
                     SLUICE_OK);
    first = test_ids_put(lines->fd, 1);
    test_ids_put_foreign(lines->fd, TEST_FOREIGN);
    sluice_lines_close(lines);

    lines = test_lines_start(path);
    assert_true(sluice_ids_has(&lines->ids, test_uuid, 1));
    assert_int_equal(lines->end, first);
    assert_int_equal(fstat(lines->fd, &st), 0);
    assert_int_equal(st.st_size, first);
    second = test_ids_put(lines->fd, 2);
    sluice_lines_close(lines);

    lines = test_lines_start(path);
    assert_true(sluice_ids_has(&lines->ids, test_uuid, 1));
    assert_true(sluice_ids_has(&lines->ids, test_uuid, 2));
    assert_int_equal(lines->end, first + second);
    sluice_lines_close(lines);
}


/* in a child: a limit on the size of files stands for a disk that is full */

static int
test_lines_store_short(void *data)
{
    bool              rotated;
    sluice_lines_t   *lines = &test_lines_file;
    struct rlimit     limit = { 5, 5 };
    sluice_error_t    error;

    signal(SIGXFSZ, SIG_IGN);

    util_check(sluice_lines_init(lines, data, &error) == SLUICE_OK);
    util_check(sluice_lines_open(lines, &error) == SLUICE_OK);
    util_check(sluice_lines_recover(lines, &rotated, &error) == SLUICE_OK);
    util_check(setrlimit(RLIMIT_FSIZE, &limit) == 0);

    errno = 0;
    util_check(sluice_lines_store(lines, 7, &error) == SLUICE_FAILED);
    util_check(errno == EFBIG);
    util_check(strstr(error.text, strerror(EFBIG)) != NULL);
    util_check(lines->state.offset == 0);

    return 0;
}


static void
test_lines_short(void **state)
{
    char  path[128];

    test_lines_path(state, path, sizeof(path));

    assert_int_equal(util_wait(util_fork(test_lines_store_short, path)), 0);
}


static void
test_lines_locked(void **state)
{
    char            path[128];
    sluice_lines_t  other;

    test_lines_path(state, path, sizeof(path));

    (void) test_lines_start(path);

    assert_int_equal(sluice_lines_init(&other, path, &test_lines_error),
                     SLUICE_OK);
    assert_int_equal(sluice_lines_lock(&other, &test_lines_error),
                     SLUICE_BUSY);
    sluice_lines_close(&test_lines_file);
    assert_int_equal(sluice_lines_lock(&other, &test_lines_error),
                     SLUICE_OK);
    sluice_lines_close(&other);
}
