
/*
 * What a worker has of its own: a slot, a lane, and a timer that looks after
 * both.  Never inherited: each worker takes them in init_process, and a
 * failure is not the end of it (nobody would start it again), but refuses
 * what needs them until the timer has got them.
 */

#include "ngx_http_sluice.h"


#define NGX_HTTP_SLUICE_TICK  500           /* ms */


static void ngx_http_sluice_process_tick(ngx_event_t *ev);
static void ngx_http_sluice_process_clock(void);
static void ngx_http_sluice_process_acquire(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
static void ngx_http_sluice_process_attach(ngx_http_sluice_main_conf_t *smcf);
static void ngx_http_sluice_process_formers(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);


/* counters of a process without a slot, until it gets one */
static uint64_t  ngx_http_sluice_no_stat[SLUICE_STAT_MAX];

ngx_http_sluice_process_t  ngx_http_sluice_process = {
    SLUICE_SLOTS,
    NULL,
    ngx_http_sluice_no_stat,
    0
};


/* state of the process, not of a configuration: it outlives cycles */

static sluice_dir_t       ngx_http_sluice_process_dir = { .fd = -1 };
static sluice_workers_t   ngx_http_sluice_process_workers;
static sluice_lane_t      ngx_http_sluice_process_lane;
static ngx_event_t        ngx_http_sluice_process_timer;
static ngx_connection_t   ngx_http_sluice_process_dumb;
static ngx_uint_t         ngx_http_sluice_process_said;


ngx_int_t
ngx_http_sluice_process_start(ngx_cycle_t *cycle)
{
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sluice_module);

    if (smcf == NULL || smcf->dir.fd == -1) {
        return NGX_OK;
    }

    if (!ngx_http_sluice_process_timer.timer_set) {
        ngx_http_sluice_process_dumb.fd = (ngx_socket_t) -1;
        ngx_http_sluice_process_timer.handler = ngx_http_sluice_process_tick;
        ngx_http_sluice_process_timer.data = &ngx_http_sluice_process_dumb;
        ngx_http_sluice_process_timer.log = cycle->log;
        ngx_http_sluice_process_timer.cancelable = 1;

        ngx_add_timer(&ngx_http_sluice_process_timer, NGX_HTTP_SLUICE_TICK);
    }

    ngx_http_sluice_process_clock();
    ngx_http_sluice_usage_start(cycle->log);
    ngx_http_sluice_process_acquire(cycle, smcf);

    return NGX_OK;
}


/* requests read one clock: a step of the other is seen at the next tick */

static void
ngx_http_sluice_process_clock(void)
{
    ngx_http_sluice_process.wall = (int64_t) (sluice_clock_wall_us()
                                              - sluice_clock_us());
}


static void
ngx_http_sluice_process_tick(ngx_event_t *ev)
{
    unsigned                      n;
    ngx_cycle_t                  *cycle;
    ngx_http_sluice_main_conf_t  *smcf;

    /* without a master a reload changes the cycle under us */

    cycle = (ngx_cycle_t *) ngx_cycle;
    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sluice_module);

    ev->log = cycle->log;

    ngx_http_sluice_process_clock();

    if (smcf != NULL && smcf->dir.fd != -1) {

        ngx_http_sluice_process_acquire(cycle, smcf);
        ngx_http_sluice_process_formers(cycle, smcf);
        ngx_http_sluice_probe_tick(cycle, smcf);

        if (ngx_http_sluice_process_workers.slots != NULL) {
            n = sluice_slot_reclaim(&ngx_http_sluice_process_dir,
                                    &ngx_http_sluice_process_workers,
                                    ngx_http_sluice_process.slot);
            if (n != 0) {
                sluice_stat_add(ngx_http_sluice_process.stat,
                                SLUICE_STAT_RECLAIMED, n);
                ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                              "gave back what %ui dead workers held",
                              (ngx_uint_t) n);
            }
        }
    }

    ngx_add_timer(ev, NGX_HTTP_SLUICE_TICK);
}


/* gets what is still missing; the reason is told once, not twice a second */

static void
ngx_http_sluice_process_acquire(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    char                node[SLUICE_NODE_MAX];
    unsigned            slot, i;
    sluice_dir_t       *dir;
    sluice_error_t      error;
    sluice_lane_conf_t  conf;

    dir = &ngx_http_sluice_process_dir;

    if (dir->fd == -1) {
        if (sluice_dir_open(dir, smcf->dir.path, smcf->dir.uid,
                            SLUICE_GROUP_KEEP, false, &error)
            != SLUICE_OK)
        {
            goto failed;
        }
    }

    if (ngx_http_sluice_process_workers.slots == NULL
        && sluice_workers_open(dir, &ngx_http_sluice_process_workers, &error)
           != SLUICE_OK)
    {
        goto failed;
    }

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {

        if (sluice_slot_claim(dir, &ngx_http_sluice_process_workers, &slot,
                              &error)
            != SLUICE_OK)
        {
            ngx_http_sluice_count(NO_SLOT);
            goto failed;
        }

        ngx_http_sluice_process.slot = slot;
        ngx_http_sluice_process.stat =
                            ngx_http_sluice_process_workers.slots[slot].stat;

        ngx_http_sluice_key_start(smcf);
        ngx_http_sluice_egress_start(smcf);

        /* what was counted while there was none */

        for (i = 0; i < SLUICE_STAT_COUNT; i++) {
            sluice_stat_add(ngx_http_sluice_process.stat, i,
                            ngx_http_sluice_no_stat[i]);
            ngx_http_sluice_no_stat[i] = 0;
        }
    }

    ngx_http_sluice_process_attach(smcf);

    if (smcf->usage && ngx_http_sluice_process.lane == NULL) {

        slot = ngx_http_sluice_process.slot;

        (void) ngx_snprintf((u_char *) node, sizeof(node), "%V%Z",
                            &smcf->node);
        node[sizeof(node) - 1] = '\0';

        conf.ring_size = smcf->ring;
        conf.entries = (uint32_t) smcf->open;
        conf.slot = slot;
        conf.node = node;

        if (sluice_lane_create(dir, &conf, &ngx_http_sluice_process_lane,
                               &error)
            != SLUICE_OK)
        {
            ngx_http_sluice_count(NO_LANE);
            goto failed;
        }

        ngx_memcpy(ngx_http_sluice_process_workers.slots[slot].lane,
                   ngx_http_sluice_process_lane.file.header.uuid, 16);

        ngx_http_sluice_process.lane = &ngx_http_sluice_process_lane;
    }

    if (ngx_http_sluice_process_said) {
        ngx_http_sluice_process_said = 0;
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "worker has its slot and lane now");
    }

    return;

failed:

    if (!ngx_http_sluice_process_said) {
        ngx_http_sluice_process_said = 1;
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "worker has no slot or lane and refuses what needs one "
                      "(trying again): %s", error.text);
    }
}


/* the columns of our slot in each zone */

static void
ngx_http_sluice_process_attach(ngx_http_sluice_main_conf_t *smcf)
{
    unsigned                  slot;
    ngx_uint_t                i;
    ngx_http_sluice_zone_t  **zones;

    slot = ngx_http_sluice_process.slot;
    zones = smcf->zones.elts;

    for (i = 0; i < smcf->zones.nelts; i++) {
        zones[i]->limit.own = &zones[i]->limit.columns[slot];

        if (zones[i]->former.buckets != NULL) {
            zones[i]->former.own = &zones[i]->former.columns[slot];
        }
    }
}


/*
 * A table of a former size counts until nobody has charged it as his newest
 * for two windows; from then on ours holds all that a decision may look at.
 */

static void
ngx_http_sluice_process_formers(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    uint64_t                       now;
    ngx_uint_t                     i;
    ngx_http_sluice_zone_t        *zone, **zones;
    ngx_http_sluice_conn_zone_t   *conn, **conns;

    zones = smcf->zones.elts;

    for (i = 0; i < smcf->zones.nelts; i++) {
        zone = zones[i];

        if (!sluice_limit_former_lasts(&zone->limit, &zone->former)) {
            continue;
        }

        if (sluice_limit_former_used(&zone->former)) {
            zone->former_since = 0;
            continue;
        }

        /* from now on: its last user may have gone a moment ago */

        now = sluice_clock_ms();

        if (zone->former_since == 0) {
            zone->former_since = now;
        }

        if ((now - zone->former_since > 2 * (uint64_t) zone->limit.window
             || !sluice_limit_former_counts(&zone->limit, &zone->former))
            && sluice_limit_former_end(&smcf->dir, &zone->limit,
                                       &zone->former))
        {
            ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                          "zone \"%V\": \"%s\" no longer counts",
                          &zone->named.name, zone->former.file.name);
        }
    }

    conns = smcf->conns.elts;

    for (i = 0; i < smcf->conns.nelts; i++) {
        conn = conns[i];

        if (sluice_conn_former_lasts(&conn->conn, &conn->former)
            && sluice_conn_former_end(&smcf->dir, &conn->conn, &conn->former))
        {
            ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                          "conn zone \"%V\": \"%s\" no longer counts",
                          &conn->named.name, conn->former.file.name);
        }
    }
}


void
ngx_http_sluice_process_stop(ngx_cycle_t *cycle)
{
    ngx_http_sluice_probe_stop();

    ngx_http_sluice_process.stat = ngx_http_sluice_no_stat;

    if (ngx_http_sluice_process.lane != NULL) {
        ngx_http_sluice_process.lane = NULL;
        sluice_lane_close(&ngx_http_sluice_process_dir,
                          &ngx_http_sluice_process_lane);
    }

    if (ngx_http_sluice_process.slot != SLUICE_SLOTS) {
        sluice_slot_release(&ngx_http_sluice_process_dir,
                            &ngx_http_sluice_process_workers,
                            ngx_http_sluice_process.slot);
        ngx_http_sluice_process.slot = SLUICE_SLOTS;
    }

    if (ngx_http_sluice_process_workers.slots != NULL) {
        sluice_workers_close(&ngx_http_sluice_process_dir,
                             &ngx_http_sluice_process_workers);
    }

    sluice_dir_close(&ngx_http_sluice_process_dir);
}


/* an error of the configuration that shows at run time: a line a second */

void
ngx_http_sluice_complain(ngx_http_request_t *r, const char *what,
    ngx_str_t *value)
{
    static time_t      last;
    static ngx_uint_t  silent;

    if (last == ngx_time()) {
        silent++;
        return;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "%s \"%V\"%s", what, value,
                  silent ? ", and others that were not logged" : "");

    last = ngx_time();
    silent = 0;
}
