
/*
 * The directory of the files: whose it may be, and which numbers of a name it
 * has.
 */

#include "util.h"

#include "workers.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>


static sluice_error_t  test_error;


static void
test_dir(void **state)
{
    char             path[128];
    struct stat      st;
    util_dir_t      *d = *state;
    sluice_dir_t     dir;
    sluice_status_t  status;

    snprintf(path, sizeof(path), "%s/sub", d->path);

    assert_int_equal(sluice_dir_open(&dir, path, geteuid(), getegid(), false,
                                     &test_error), SLUICE_ABSENT);
    assert_int_equal(sluice_dir_open(&dir, path, geteuid(), getegid(), true,
                                     &test_error), SLUICE_OK);
    assert_int_equal(fstat(dir.fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 02770);
    assert_int_equal(sluice_dir_is_tmpfs(&dir),
                     strncmp(path, "/dev/shm", 8) == 0);
    sluice_dir_close(&dir);

    assert_int_equal(sluice_dir_open_reader(&dir, path, &test_error),
                     SLUICE_OK);
    assert_int_equal(dir.uid, geteuid());
    sluice_dir_close(&dir);

    /* that anybody may write; that belongs to somebody else */

    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(sluice_dir_open(&dir, path, geteuid(), getegid(), true,
                                     &test_error), SLUICE_FAILED);
    assert_non_null(strstr(test_error.text, "by everybody"));
    assert_int_equal(dir.fd, -1);
    assert_int_equal(chmod(path, 02770), 0);

    if (geteuid() == 0) {
        assert_int_equal(chown(path, 4321, 4321), 0);
        status = sluice_dir_open(&dir, path, 1234, 1234, true, &test_error);
        assert_int_equal(status, SLUICE_FAILED);
        assert_non_null(strstr(test_error.text, "belongs to user 4321"));
    }

    assert_int_equal(sluice_dir_open(&dir, "/dev/null", geteuid(), getegid(),
                                     false, &test_error), SLUICE_FAILED);
    assert_int_equal(rmdir(path), 0);
}


/* a directory of root's is taken over only if nothing is lost by it */

static void
test_adopt(void **state)
{
    int             fd;
    char            path[600];
    struct stat     st;
    util_dir_t     *d = *state;
    sluice_dir_t    dir;

    if (geteuid() != 0) {
        skip();
    }

    snprintf(path, sizeof(path), "%s/system", d->dir.path);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chmod(path, 0755), 0);

    fd = open(path, O_DIRECTORY|O_RDONLY);
    assert_int_not_equal(mkdirat(fd, "nginx", 0755), -1);

    assert_int_equal(sluice_dir_open(&dir, path, 33, 33, true, &test_error),
                     SLUICE_FAILED);
    assert_non_null(strstr(test_error.text, "somebody else's"));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_mode & 07777, 0755);

    assert_int_equal(unlinkat(fd, "nginx", AT_REMOVEDIR), 0);
    assert_int_equal(sluice_dir_open(&dir, path, 33, 33, true, &test_error),
                     SLUICE_OK);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_uid, 33);
    assert_int_equal(st.st_mode & 07777, 02770);

    sluice_dir_close(&dir);
    close(fd);
    rmdir(path);
}


/* opens it for the group, uses a file, and says whose both are then */

static gid_t
test_group_of(const char *path, gid_t gid)
{
    char              name[640];
    struct stat       st, file;
    sluice_dir_t      dir;
    sluice_workers_t  workers;

    if (sluice_dir_open(&dir, path, geteuid(), gid, true, &test_error)
        != SLUICE_OK)
    {
        return SLUICE_GROUP_KEEP;
    }

    util_check(sluice_workers_open(&dir, &workers, &test_error) == SLUICE_OK);
    sluice_workers_close(&dir, &workers);

    snprintf(name, sizeof(name), "%s/workers", path);

    util_check(stat(path, &st) == 0 && stat(name, &file) == 0);
    util_check(st.st_gid == file.st_gid);
    util_check((st.st_mode & 07777) == 02770);

    sluice_dir_close(&dir);

    return st.st_gid;
}


static int
test_group_nobody(void *data)
{
    char   *path = data;
    gid_t   group;

    group = 33;

    util_check(setgroups(1, &group) == 0);
    util_check(setresgid(65534, 65534, 65534) == 0);
    util_check(setresuid(65534, 65534, 65534) == 0);

    util_check(test_group_of(path, SLUICE_GROUP_KEEP) == 65534);
    util_check(test_group_of(path, 33) == 33);
    util_check(test_group_of(path, SLUICE_GROUP_KEEP) == 33);

    /* it is in no such group */

    util_check(test_group_of(path, 34) == SLUICE_GROUP_KEEP);
    util_check(strstr(test_error.text, "group") != NULL);
    util_check(test_group_of(path, SLUICE_GROUP_KEEP) == 33);

    return 0;
}


/* the operator may name a group later, and nginx need not be root */

static void
test_group(void **state)
{
    char         path[600], name[640];
    util_dir_t  *d = *state;

    if (geteuid() != 0) {
        skip();
    }

    snprintf(path, sizeof(path), "%s/sub", d->dir.path);
    snprintf(name, sizeof(name), "%s/workers", path);

    assert_int_equal(test_group_of(path, 33), 33);
    assert_int_equal(test_group_of(path, 34), 34);

    assert_int_equal(unlink(name), 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(chmod(d->dir.path, 0777), 0);

    assert_int_equal(util_wait(util_fork(test_group_nobody, path)), 0);

    assert_int_equal(unlink(name), 0);
    assert_int_equal(rmdir(path), 0);
}


static void
test_names(void **state)
{
    char      subject[SLUICE_NAME_MAX];
    unsigned  n;

    (void) state;

    assert_true(sluice_name_parse("zone.rpm.12", "zone.", subject,
                                  sizeof(subject), &n));
    assert_string_equal(subject, "rpm");
    assert_int_equal(n, 12);
    assert_true(sluice_name_parse("zone.a.999999999", "zone.", subject,
                                  sizeof(subject), &n));

#define refused(name, size)                                                   \
    assert_false(sluice_name_parse(name, "zone.", subject, size, &n))

    refused("pool.rpm.1", sizeof(subject));
    refused("zone.rpm", sizeof(subject));
    refused("zone.rpm.", sizeof(subject));
    refused("zone.rpm.0", sizeof(subject));
    refused("zone.rpm.01", sizeof(subject));
    refused("zone.rpm.-1", sizeof(subject));
    refused("zone.rpm.1x", sizeof(subject));
    refused("zone.rpm.1.x", sizeof(subject));
    refused("zone.rpm.1000000000", sizeof(subject));
    refused("zone.rpm.99999999999999999999999", sizeof(subject));
    refused("zone..1", sizeof(subject));
    refused("zone.a/b.1", sizeof(subject));
    refused("zone.a.b.1", sizeof(subject));
    refused("zone.rpm.1", 3);

#undef refused

    assert_true(sluice_name_valid("a-B_9", 5));
    assert_false(sluice_name_valid("", 0));
    assert_false(sluice_name_valid("a b", 3));
    assert_true(sluice_name_valid("123456789012345678901234567890123456789"
                                  "01234567", 47));
    assert_false(sluice_name_valid("123456789012345678901234567890123456789"
                                   "012345678", 48));
}


static void
test_series(void **state)
{
    int          fd;
    unsigned     i, n, numbers[8];
    util_dir_t  *d = *state;

    static const char  *names[] = {
        "zone.a.7", "zone.a.1", "zone.a.30", "zone.a.4", "zone.ab.99",
        "zone.a.x", "pool.a.55", "zone.a.12"
    };

    static const unsigned  expected[] = { 30, 12, 7, 4, 1 };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fd = openat(d->dir.fd, names[i], O_RDWR|O_CREAT, 0600);
        close(fd);
    }

    for (n = 1; n <= 8; n++) {
        memset(numbers, 0, sizeof(numbers));
        assert_int_equal(sluice_dir_series(&d->dir, "zone.", "a", numbers, n),
                         5);

        for (i = 0; i < 8; i++) {
            assert_int_equal(numbers[i], i < n && i < 5 ? expected[i] : 0);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_dir),
        util_test(test_adopt),
        util_test(test_group),
        cmocka_unit_test(test_names),
        util_test(test_series)
    };

    return cmocka_run_group_tests_name("dir", tests, NULL, NULL);
}
