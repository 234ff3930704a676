
/*
 * Which table a name uses: the same size shares one, another one makes the
 * next and takes from the former too, until that is nobody's newest; what a
 * dead slot held is given back in all of them.
 */

#include "conn.h"
#include "util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>


#define TEST_BUCKET  (SLUICE_CONN_BUCKET * sizeof(sluice_conn_row_t))
#define TEST_OLD     1                  /* slots                             */
#define TEST_NEW     2


static sluice_error_t  test_error;


static sluice_status_t
test_open(util_dir_t *d, unsigned buckets, sluice_conn_t *conn,
    sluice_conn_t *former)
{
    return sluice_conn_open(&d->dir, "perkey", buckets * TEST_BUCKET, conn,
                            former, &test_error);
}


static void
test_close(util_dir_t *d, sluice_conn_t *conn)
{
    sluice_conn_close(&d->dir, conn);
    assert_int_equal(conn->file.fd, -1);
    assert_null(conn->rows);
}


/* what a user of both tables does: all or none */

typedef struct {
    sluice_conn_hold_t  hold[2];
    bool                both;
} test_place_t;


static bool
test_take(sluice_conn_t *conn, sluice_conn_t *former, uint32_t max,
    unsigned slot, test_place_t *place)
{
    test_place_t  unused;

    place = (place != NULL) ? place : &unused;
    place->both = sluice_conn_former_counts(conn, former);

    if (sluice_conn_take(conn, sluice_conn_hash(conn, "k", 1), max, slot,
                         &place->hold[0])
        != SLUICE_CONN_PASSED)
    {
        return false;
    }

    if (place->both
        && sluice_conn_take(former, sluice_conn_hash(former, "k", 1), max,
                            slot, &place->hold[1])
           != SLUICE_CONN_PASSED)
    {
        sluice_conn_give(conn, slot, &place->hold[0]);
        return false;
    }

    return true;
}


static void
test_give(sluice_conn_t *conn, sluice_conn_t *former, unsigned slot,
    test_place_t *place)
{
    sluice_conn_give(conn, slot, &place->hold[0]);

    if (place->both) {
        sluice_conn_give(former, slot, &place->hold[1]);
    }
}


static uint64_t
test_sum(const sluice_conn_t *conn)
{
    uint64_t  i, sum;

    sum = 0;

    for (i = 0; i < conn->nbuckets * SLUICE_CONN_BUCKET; i++) {
        sum += sluice_conn_in_flight(&conn->rows[i]);
    }

    return sum;
}


static void
test_same(void **state)
{
    util_dir_t     *d = *state;
    sluice_conn_t   a, b, former;

    assert_int_equal(test_open(d, 64, &a, &former), SLUICE_OK);
    assert_string_equal(a.file.name, "conn.perkey.1");
    assert_int_equal(a.number, 1);
    assert_int_equal(a.nbuckets, 64);
    assert_null(former.rows);
    assert_false(sluice_conn_former_counts(&a, &former));
    assert_true(test_take(&a, &former, 2, TEST_OLD, NULL));

    /* a reload, and a restart: the same table with what it holds */

    assert_int_equal(test_open(d, 64, &b, &former), SLUICE_OK);
    assert_string_equal(b.file.name, "conn.perkey.1");
    assert_null(former.rows);
    assert_true(test_take(&b, &former, 2, TEST_NEW, NULL));
    assert_false(test_take(&a, &former, 2, TEST_OLD, NULL));

    /* who came by the reload is a user of it as well */

    test_close(d, &a);
    assert_int_equal(test_open(d, 128, &a, &former), SLUICE_OK);
    assert_string_equal(former.file.name, "conn.perkey.1");
    assert_false(sluice_conn_former_end(&d->dir, &a, &former));
    assert_true(sluice_conn_former_counts(&a, &former));
    test_close(d, &b);
    assert_true(sluice_conn_former_end(&d->dir, &a, &former));
    test_close(d, &a);
    test_close(d, &former);
}


/* keys in the two ways, and the two of them differ from file to file */

static void
test_keys(void **state)
{
    util_dir_t     *d = *state;
    sluice_hash_t   one, two;
    sluice_conn_t   a, b, former;

    static const uint8_t  id[16] = { 1, 2, 3 };

    assert_int_equal(test_open(d, 64, &a, &former), SLUICE_OK);
    assert_int_equal(test_open(d, 128, &b, &former), SLUICE_OK);

    one = sluice_conn_hash(&a, "k", 1);
    two = sluice_conn_hash(&former, "k", 1);
    assert_true(one.lo == two.lo && one.hi == two.hi);
    two = sluice_conn_hash(&b, "k", 1);
    assert_true(one.lo != two.lo && one.hi != two.hi);

    one = sluice_conn_hash_id(&a, id);
    two = sluice_conn_hash_id(&b, id);
    assert_true(one.lo != two.lo && one.hi != two.hi);

    test_close(d, &a);
    test_close(d, &b);
    test_close(d, &former);
}


static void
test_resized(void **state)
{
    util_dir_t     *d = *state;
    test_place_t    by_one[2], by_two, more[3];
    sluice_conn_t   one, two, again, former, none, third;

    assert_int_equal(test_open(d, 64, &one, &none), SLUICE_OK);
    assert_true(test_take(&one, &none, 4, TEST_OLD, &by_one[0]));
    assert_true(test_take(&one, &none, 4, TEST_OLD, &by_one[1]));

    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    assert_string_equal(two.file.name, "conn.perkey.2");
    assert_string_equal(former.file.name, "conn.perkey.1");
    assert_true(sluice_conn_former_counts(&two, &former));

    /* old and new workers together let no more than four in */

    assert_true(test_take(&two, &former, 4, TEST_NEW, &by_two));
    assert_true(test_take(&one, &none, 4, TEST_OLD, &more[0]));
    assert_false(test_take(&two, &former, 4, TEST_NEW, NULL));
    assert_false(test_take(&one, &none, 4, TEST_OLD, NULL));
    assert_int_equal(test_sum(&two), 1);
    assert_int_equal(test_sum(&one), 4);

    /* a reload with the new size finds both */

    assert_int_equal(test_open(d, 128, &again, &third), SLUICE_OK);
    assert_string_equal(again.file.name, "conn.perkey.2");
    assert_string_equal(third.file.name, "conn.perkey.1");
    test_close(d, &again);
    test_close(d, &third);

    /* a third size is too many */

    assert_int_equal(test_open(d, 256, &again, &third), SLUICE_BUSY);
    assert_non_null(strstr(test_error.text, "two tables"));
    assert_int_equal(again.file.fd, -1);
    assert_int_equal(third.file.fd, -1);
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.", NULL), 2);

    /* what one's own requests give back, the others can have */

    test_give(&one, &none, TEST_OLD, &by_one[0]);
    assert_true(test_take(&two, &former, 4, TEST_NEW, &more[1]));
    assert_false(test_take(&two, &former, 4, TEST_NEW, NULL));
    assert_false(sluice_conn_former_end(&d->dir, &two, &former));

    /* its last user goes, with what he had: it is over, busy as it is */

    test_give(&one, &none, TEST_OLD, &by_one[1]);
    test_give(&one, &none, TEST_OLD, &more[0]);
    test_close(d, &one);
    assert_true(sluice_conn_former_counts(&two, &former));
    assert_int_equal(test_sum(&former), 2);
    assert_true(sluice_conn_former_end(&d->dir, &two, &former));
    assert_false(sluice_conn_former_counts(&two, &former));
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.1", NULL), 0);
    assert_true(sluice_conn_former_end(&d->dir, &two, &former));   /* again */

    /* all that is in flight is in the new one */

    assert_true(test_take(&two, &former, 4, TEST_NEW, NULL));
    assert_true(test_take(&two, &former, 4, TEST_NEW, &more[2]));
    assert_false(more[2].both);
    assert_false(test_take(&two, &former, 4, TEST_NEW, NULL));

    /* and what was taken from both goes back to both */

    test_give(&two, &former, TEST_NEW, &by_two);
    assert_int_equal(test_sum(&two), 3);
    assert_int_equal(test_sum(&former), 1);
    assert_true(test_take(&two, &former, 4, TEST_NEW, NULL));
    test_close(d, &former);

    assert_int_equal(test_open(d, 128, &again, &third), SLUICE_OK);
    assert_string_equal(again.file.name, "conn.perkey.2");
    assert_null(third.rows);
    test_close(d, &again);

    /* now there is room for the third size */

    assert_int_equal(test_open(d, 256, &again, &third), SLUICE_OK);
    assert_string_equal(again.file.name, "conn.perkey.3");
    assert_string_equal(third.file.name, "conn.perkey.2");
    test_close(d, &again);
    test_close(d, &third);
    test_close(d, &two);
}


/* full or refused in the former one: nothing stays in the new one */

static void
test_all_or_none(void **state)
{
    uint64_t        i;
    util_dir_t     *d = *state;
    sluice_conn_t   one, two, former, none;

    assert_int_equal(test_open(d, 64, &one, &none), SLUICE_OK);
    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);

    for (i = 0; i < one.nbuckets * SLUICE_CONN_BUCKET; i++) {
        one.rows[i].in_flight[TEST_OLD] = 1;
    }

    assert_false(test_take(&two, &former, 5, TEST_NEW, NULL));
    assert_int_equal(test_sum(&two), 0);
    assert_int_equal(former.columns[TEST_NEW].full, 1);

    test_close(d, &one);
    test_close(d, &two);
    test_close(d, &former);
}


/* stopped, resized, started: nothing is in flight, nothing is former */

static void
test_restarted(void **state)
{
    util_dir_t     *d = *state;
    sluice_conn_t   one, two, former;

    assert_int_equal(test_open(d, 64, &one, &former), SLUICE_OK);
    assert_true(test_take(&one, &former, 1, TEST_OLD, NULL));
    test_close(d, &one);

    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    assert_string_equal(two.file.name, "conn.perkey.2");
    assert_null(former.rows);
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.", NULL), 1);
    assert_true(test_take(&two, &former, 1, TEST_NEW, NULL));
    test_close(d, &two);
}


/*
 * A change is taken back while those who have it are still there: the old
 * table lacks none of theirs, and is the newest again; and there once more.
 */

static void
test_there_and_back(void **state)
{
    util_dir_t     *d = *state;
    test_place_t    place;
    sluice_conn_t   one, two, back, again, former, later, none;

    assert_int_equal(test_open(d, 64, &one, &none), SLUICE_OK);
    assert_true(test_take(&one, &none, 4, TEST_OLD, NULL));
    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    assert_true(test_take(&two, &former, 4, TEST_NEW, NULL));

    assert_int_equal(test_open(d, 64, &back, &later), SLUICE_OK);
    assert_string_equal(back.file.name, "conn.perkey.1");
    assert_string_equal(later.file.name, "conn.perkey.2");
    assert_false(sluice_conn_former_counts(&back, &later));
    assert_true(sluice_conn_former_lasts(&back, &later));
    assert_true(test_take(&back, &later, 4, TEST_NEW, &place));
    assert_true(test_take(&two, &former, 4, TEST_NEW, NULL));
    assert_false(test_take(&back, &later, 4, TEST_NEW, NULL));
    assert_false(test_take(&two, &former, 4, TEST_NEW, NULL));

    /* nobody ends what is the newest again */

    test_close(d, &one);
    assert_false(sluice_conn_former_end(&d->dir, &two, &former));

    assert_int_equal(test_open(d, 128, &again, &none), SLUICE_OK);
    assert_string_equal(again.file.name, "conn.perkey.2");
    assert_true(sluice_conn_former_counts(&again, &none));
    assert_false(test_take(&again, &none, 4, TEST_NEW, NULL));
    test_give(&back, &later, TEST_NEW, &place);
    assert_true(test_take(&again, &none, 4, TEST_NEW, NULL));
    test_close(d, &again);
    test_close(d, &none);

    /* the later one goes with its last user, and its number with it */

    assert_false(sluice_conn_former_end(&d->dir, &back, &later));
    test_close(d, &two);
    test_close(d, &former);
    assert_true(sluice_conn_former_end(&d->dir, &back, &later));
    assert_false(sluice_conn_former_lasts(&back, &later));
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.2", NULL), 0);

    assert_int_equal(test_open(d, 256, &again, &none), SLUICE_OK);
    assert_string_equal(again.file.name, "conn.perkey.3");

    /* and twice is once, even if its name was another one's */

    assert_int_equal(linkat(d->dir.fd, "conn.perkey.3", d->dir.fd,
                            "conn.perkey.2", 0), 0);
    assert_true(sluice_conn_former_end(&d->dir, &back, &later));
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.2", NULL), 1);
    test_close(d, &again);
    test_close(d, &none);
    test_close(d, &later);
    test_close(d, &back);
}


/* what another one has ended is not taken up again: it lacks what came since */

static void
test_ended_for_good(void **state)
{
    util_dir_t     *d = *state;
    sluice_conn_t   one, two, back, former, later;

    assert_int_equal(test_open(d, 64, &one, &former), SLUICE_OK);
    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    two.control->former_over = 1;
    test_close(d, &one);
    test_close(d, &former);

    assert_int_equal(test_open(d, 64, &back, &later), SLUICE_OK);
    assert_string_equal(back.file.name, "conn.perkey.3");
    assert_string_equal(later.file.name, "conn.perkey.2");
    assert_true(sluice_conn_former_counts(&back, &later));
    test_close(d, &back);
    test_close(d, &later);
    test_close(d, &two);
}


/* an upgrade with another size is taken back: the old one is the newest */

static void
test_taken_back(void **state)
{
    util_dir_t     *d = *state;
    test_place_t    place;
    sluice_conn_t   one, two, again, former;

    assert_int_equal(test_open(d, 64, &one, &former), SLUICE_OK);
    assert_true(test_take(&one, &former, 2, TEST_OLD, NULL));

    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    assert_true(test_take(&two, &former, 2, TEST_NEW, &place));
    test_give(&two, &former, TEST_NEW, &place);
    test_close(d, &two);
    test_close(d, &former);

    assert_int_equal(test_open(d, 64, &again, &former), SLUICE_OK);
    assert_string_equal(again.file.name, "conn.perkey.1");
    assert_null(former.rows);
    assert_true(test_take(&again, &former, 2, TEST_NEW, NULL));
    assert_false(test_take(&again, &former, 2, TEST_NEW, NULL));
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.2", NULL), 0);

    /* or with a third size: the second is out of the way */

    test_close(d, &again);
    assert_int_equal(test_open(d, 256, &again, &former), SLUICE_OK);
    assert_string_equal(again.file.name, "conn.perkey.2");
    assert_string_equal(former.file.name, "conn.perkey.1");

    test_close(d, &again);
    test_close(d, &former);
    test_close(d, &one);
}


/* who ended a table died before he told so: the next one does it again */

static void
test_half_ended(void **state)
{
    util_dir_t     *d = *state;
    sluice_conn_t   one, two, again, former, third;

    assert_int_equal(test_open(d, 64, &one, &former), SLUICE_OK);
    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    test_close(d, &one);

    assert_int_equal(unlinkat(d->dir.fd, "conn.perkey.1", 0), 0);
    assert_true(sluice_conn_former_counts(&two, &former));
    assert_true(sluice_conn_former_end(&d->dir, &two, &former));
    assert_false(sluice_conn_former_counts(&two, &former));

    /* a master that comes by does so, too, and tells the others */

    two.control->former_over = 0;
    assert_int_equal(unlinkat(d->dir.fd, "conn.perkey.2", 0), 0);
    test_close(d, &two);
    test_close(d, &former);

    assert_int_equal(test_open(d, 64, &one, &former), SLUICE_OK);
    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    test_close(d, &one);
    assert_int_equal(test_open(d, 128, &again, &third), SLUICE_OK);
    assert_null(third.rows);
    assert_false(sluice_conn_former_counts(&two, &former));
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.", NULL), 1);

    test_close(d, &two);
    test_close(d, &again);
    test_close(d, &former);
}


/*
 * While somebody ends the table, another cannot take it for his newest; if
 * he came first, it is not ended.
 */

static void
test_ended_or_taken(void **state)
{
    util_dir_t      *d = *state;
    sluice_conn_t    one, two, former, none;
    sluice_file_t    late;

    assert_int_equal(test_open(d, 64, &one, &none), SLUICE_OK);
    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);

    assert_int_equal(sluice_file_open(&d->dir, "conn.perkey.1",
                                      SLUICE_FILE_CONN, SLUICE_OPEN_WRITE,
                                      &late, &test_error), SLUICE_OK);
    test_close(d, &one);

    assert_true(sluice_file_lock(&late, SLUICE_LOCK_PRIMARY, false));
    assert_false(sluice_conn_former_end(&d->dir, &two, &former));
    sluice_file_unlock(&late, SLUICE_LOCK_PRIMARY);
    assert_true(sluice_conn_former_end(&d->dir, &two, &former));
    assert_false(sluice_file_lock(&late, SLUICE_LOCK_PRIMARY, false));

    sluice_file_close(&d->dir, &late);
    test_close(d, &two);
    test_close(d, &former);
}


static void
test_stale(void **state)
{
    unsigned        fds, maps;
    util_dir_t     *d = *state;
    sluice_conn_t   one, two, former;

    assert_int_equal(test_open(d, 64, &one, &former), SLUICE_OK);
    assert_true(test_take(&one, &former, 1, TEST_OLD, NULL));

    d->dir.boot_id[0]++;                    /* as after a boot */

    fds = util_fds();
    maps = util_maps();
    assert_true(sluice_conn_forget_slot(&d->dir, TEST_OLD));
    assert_int_equal(util_fds(), fds);
    assert_int_equal(util_maps(), maps);
    assert_int_equal(test_sum(&one), 1);    /* no longer anybody's business */
    test_close(d, &one);

    fds = util_fds();
    assert_int_equal(test_open(d, 64, &two, &former), SLUICE_OK);
    assert_null(former.rows);
    assert_int_equal(test_sum(&two), 0);
    assert_int_equal(util_dir_count(&d->dir, "conn.perkey.", NULL), 1);
    test_close(d, &two);
    assert_int_equal(util_fds(), fds);
}


/* whatever stands there under the name: an error, and nothing left open */

static void
test_refused(util_dir_t *d, sluice_status_t status)
{
    unsigned        fds, maps;
    sluice_conn_t   conn, former;

    fds = util_fds();
    maps = util_maps();

    test_error.text[0] = '\0';
    assert_int_equal(test_open(d, 64, &conn, &former), status);
    assert_non_null(strstr(test_error.text, "conn.perkey.1"));
    assert_int_equal(conn.file.fd, -1);
    assert_int_equal(former.file.fd, -1);

    /* nobody's table: it is passed over */

    assert_true(sluice_conn_forget_slot(&d->dir, TEST_OLD));

    assert_int_equal(util_fds(), fds);
    assert_int_equal(util_maps(), maps);
}


static void
test_damaged(void **state)
{
    int             fd;
    char            byte;
    off_t           size, cut;
    util_dir_t     *d = *state;
    struct stat     st;
    sluice_conn_t   conn, former;

    fd = openat(d->dir.fd, "conn.perkey.1", O_RDWR|O_CREAT, 0600);
    test_refused(d, SLUICE_CORRUPT);
    close(fd);
    assert_int_equal(unlinkat(d->dir.fd, "conn.perkey.1", 0), 0);

    assert_int_equal(test_open(d, 64, &conn, &former), SLUICE_OK);
    test_close(d, &conn);

    fd = openat(d->dir.fd, "conn.perkey.1", O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    size = st.st_size;

    /* a bad magic, and every other byte of the header that counts */

    for (cut = 0; cut < 508; cut++) {
        assert_int_equal(pread(fd, &byte, 1, cut), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, cut), 1);

        if (cut < 8 || cut >= 12) {
            test_refused(d, SLUICE_CORRUPT);
        } else {
            test_refused(d, SLUICE_VERSION);
        }

        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, cut), 1);
    }

    /* truncated */

    for (cut = size; cut > 0; cut /= 2) {
        assert_int_equal(ftruncate(fd, cut - 1), 0);
        test_refused(d, SLUICE_CORRUPT);
    }

    close(fd);
}


/* a header in order that tells of a table which cannot be */

static void
test_impossible(void **state)
{
    unsigned             i, s;
    util_dir_t          *d = *state;
    sluice_file_t        file;
    sluice_file_spec_t   good, spec;

    memset(&good, 0, sizeof(good));
    good.kind = SLUICE_FILE_CONN;
    good.subject = "perkey";
    good.geometry[0] = 32;
    good.geometry[1] = SLUICE_SLOTS;
    good.geometry[2] = sizeof(sluice_conn_row_t);
    good.geometry[3] = SLUICE_CONN_BUCKET;
    good.section[0] = sizeof(sluice_conn_control_t);
    good.section[1] = SLUICE_SLOTS * sizeof(sluice_conn_column_t);
    good.section[2] = 32 * TEST_BUCKET;

    for (i = 0; i < 2 * SLUICE_FILE_GEOMETRY + 2 * 3; i++) {
        spec = good;

        if (i < SLUICE_FILE_GEOMETRY) {
            spec.geometry[i]++;

        } else if (i < 2 * SLUICE_FILE_GEOMETRY) {
            spec.geometry[i - SLUICE_FILE_GEOMETRY] = UINT64_MAX;

        } else {
            s = (i - 2 * SLUICE_FILE_GEOMETRY) / 2;
            spec.section[s] += (i % 2) ? 1 : -1ull;
        }

        assert_int_equal(sluice_file_create(&d->dir, &spec, &file,
                                            &test_error), SLUICE_OK);
        assert_int_equal(sluice_file_publish(&d->dir, &file, "conn.perkey.1",
                                             &test_error), SLUICE_OK);
        sluice_file_close(&d->dir, &file);
        test_refused(d, SLUICE_CORRUPT);
        assert_non_null(strstr(test_error.text, "geometry"));
        assert_int_equal(unlinkat(d->dir.fd, "conn.perkey.1", 0), 0);
    }

    /* and another kind under this name */

    good.kind = SLUICE_FILE_ZONE;
    assert_int_equal(sluice_file_create(&d->dir, &good, &file, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_file_publish(&d->dir, &file, "conn.perkey.1",
                                         &test_error), SLUICE_OK);
    sluice_file_close(&d->dir, &file);
    test_refused(d, SLUICE_CORRUPT);
}


static void
test_sizes(void **state)
{
    util_dir_t     *d = *state;
    sluice_conn_t   conn, former;

    assert_int_equal(sluice_conn_buckets(0), 0);
    assert_int_equal(sluice_conn_buckets(16 * TEST_BUCKET - 1), 0);
    assert_int_equal(sluice_conn_buckets(16 * TEST_BUCKET), 16);
    assert_int_equal(sluice_conn_buckets(17 * TEST_BUCKET - 1), 16);
    assert_int_equal(sluice_conn_buckets((1ull << 18) * TEST_BUCKET), 1 << 18);
    assert_int_equal(sluice_conn_buckets(((1ull << 18) + 1) * TEST_BUCKET), 0);

    assert_int_equal(test_open(d, 15, &conn, &former), SLUICE_FAILED);
    assert_int_equal(conn.file.fd, -1);
    assert_int_equal(former.file.fd, -1);
    assert_int_equal(util_dir_count(&d->dir, "", NULL), 2);     /* . and .. */
}


/* a dead slot's columns go, in every table, and nobody else's */

static void
test_forgotten(void **state)
{
    int              fd;
    unsigned         i, slot, own;
    util_dir_t      *d = *state;
    test_place_t     place[4];
    sluice_conn_t    one, two, other, former, none;
    sluice_workers_t workers, reclaimer;

    assert_int_equal(sluice_workers_open(&d->dir, &workers, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_workers_open(&d->dir, &reclaimer, &test_error),
                     SLUICE_OK);
    assert_int_equal(sluice_slot_claim(&d->dir, &reclaimer, &own,
                                       &test_error), SLUICE_OK);
    assert_int_equal(sluice_slot_claim(&d->dir, &workers, &slot, &test_error),
                     SLUICE_OK);
    assert_int_not_equal(slot, 0);

    assert_int_equal(test_open(d, 64, &one, &none), SLUICE_OK);
    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    assert_int_equal(sluice_conn_open(&d->dir, "other", 16 * TEST_BUCKET,
                                      &other, &none, &test_error), SLUICE_OK);

    for (i = 0; i < 3; i++) {
        assert_true(test_take(&two, &former, 4, slot, &place[i]));
    }

    assert_true(test_take(&two, &former, 4, 255, &place[3]));
    assert_true(test_take(&other, &none, 1, slot, NULL));
    assert_false(test_take(&two, &former, 4, 255, NULL));
    assert_false(test_take(&other, &none, 1, 255, NULL));

    for (i = 0; i < other.nbuckets * SLUICE_CONN_BUCKET; i++) {
        other.rows[i].in_flight[slot] = 1;
        other.rows[i].in_flight[slot + 1] = 1;
    }

    /* it lives: nothing is taken from it */

    assert_int_equal(sluice_slot_reclaim(&d->dir, &reclaimer, own), 0);
    assert_int_equal(test_sum(&two), 4);

    /* a file that is none of ours is in nobody's way */

    fd = openat(d->dir.fd, "conn.zz.1", O_RDWR|O_CREAT, 0600);
    close(fd);

    sluice_workers_close(&d->dir, &workers);        /* as its death does */

    assert_int_equal(sluice_slot_reclaim(&d->dir, &reclaimer, own), 1);
    assert_int_equal(test_sum(&two), 1);
    assert_int_equal(test_sum(&former), 1);
    assert_int_equal(test_sum(&other),
                     other.nbuckets * SLUICE_CONN_BUCKET);

    assert_true(test_take(&other, &none, 2, 255, NULL));
    assert_false(test_take(&other, &none, 2, 255, NULL));

    for (i = 0; i < 3; i++) {
        assert_true(test_take(&two, &former, 4, 255, NULL));
    }

    assert_false(test_take(&two, &former, 4, 255, NULL));

    /* and what one gives back with one's slot */

    assert_int_equal(sluice_slot_claim(&d->dir, &reclaimer, &slot,
                                       &test_error), SLUICE_OK);
    test_give(&two, &former, 255, &place[3]);
    assert_true(test_take(&two, &former, 4, slot, NULL));
    assert_int_equal(test_sum(&two), 4);
    sluice_slot_release(&d->dir, &reclaimer, slot);
    assert_int_equal(test_sum(&two), 3);
    assert_int_equal(test_sum(&former), 3);

    test_close(d, &one);
    test_close(d, &two);
    test_close(d, &former);
    test_close(d, &other);
    sluice_workers_close(&d->dir, &reclaimer);
}


/* several masters at once come to the same table */

typedef struct {
    util_dir_t  *d;
    int          go;
} test_rival_t;


static int
test_rival(void *data)
{
    char            c;
    test_rival_t   *rival = data;
    sluice_conn_t   conn, former;

    (void) read(rival->go, &c, 1);

    util_check(test_open(rival->d, 64, &conn, &former) == SLUICE_OK);
    util_check(conn.number == 1);
    util_check(former.rows == NULL);

    return 0;
}


static void
test_rivals(void **state)
{
    int            go[2];
    pid_t          pid[6];
    unsigned       turn, i;
    util_dir_t    *d = *state;
    test_rival_t   rival;

    for (turn = 0; turn < 20; turn++) {
        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        rival.d = d;
        rival.go = go[0];

        for (i = 0; i < 6; i++) {
            pid[i] = util_fork(test_rival, &rival);
        }

        assert_int_equal(write(go[1], "123456", 6), 6);

        for (i = 0; i < 6; i++) {
            assert_int_equal(util_wait(pid[i]), 0);
        }

        close(go[0]);
        close(go[1]);
        assert_int_equal(util_dir_count(&d->dir, "conn.perkey.", NULL), 1);
        assert_int_equal(util_dir_count(&d->dir, ".new.", NULL), 0);
        assert_int_equal(unlinkat(d->dir.fd, "conn.perkey.1", 0), 0);
    }
}


/* a worker that inherited the master's lock is a user of the table */

static int
test_worker(void *data)
{
    pause();
    (void) data;
    return 0;
}


static void
test_forked(void **state)
{
    pid_t           pid;
    util_dir_t     *d = *state;
    sluice_conn_t   one, two, former;

    assert_int_equal(test_open(d, 64, &one, &former), SLUICE_OK);
    pid = util_fork(test_worker, NULL);
    test_close(d, &one);

    assert_int_equal(test_open(d, 128, &two, &former), SLUICE_OK);
    assert_false(sluice_conn_former_end(&d->dir, &two, &former));

    kill(pid, SIGKILL);
    assert_int_equal(util_wait(pid), -1);
    assert_true(sluice_conn_former_end(&d->dir, &two, &former));

    test_close(d, &two);
    test_close(d, &former);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        util_test(test_same),
        util_test(test_keys),
        util_test(test_resized),
        util_test(test_all_or_none),
        util_test(test_restarted),
        util_test(test_there_and_back),
        util_test(test_ended_for_good),
        util_test(test_taken_back),
        util_test(test_half_ended),
        util_test(test_ended_or_taken),
        util_test(test_stale),
        util_test(test_damaged),
        util_test(test_impossible),
        util_test(test_sizes),
        util_test(test_forgotten),
        util_test(test_rivals),
        util_test(test_forked)
    };

    return cmocka_run_group_tests_name("conn_file", tests, NULL, NULL);
}
