
/*
 * The files of a cycle.  Parsing creates nothing: a configuration is parsed
 * to be tested and to send signals, too, and the worker user is not known
 * yet.  A small shared memory zone of nginx's is the hook: its init callback
 * runs after parsing, and its failure still rolls the cycle back.
 */

#include "ngx_http_sluice.h"

#include <openssl/sha.h>


static ngx_int_t ngx_http_sluice_files_init(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_sluice_files_open(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
static ngx_int_t ngx_http_sluice_files_dir(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
static ngx_int_t ngx_http_sluice_files_zones(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
static ngx_int_t ngx_http_sluice_files_conns(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
static ngx_int_t ngx_http_sluice_files_pools(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
static uint64_t ngx_http_sluice_files_fingerprint(sluice_pool_t *pool,
    ngx_http_sluice_key_t *key);
static void ngx_http_sluice_files_test(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
static void ngx_http_sluice_files_close(void *data);


ngx_int_t
ngx_http_sluice_files_hook(ngx_conf_t *cf)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *shm_zone;

    ngx_str_set(&name, "sluice");

    shm_zone = ngx_shared_memory_add(cf, &name, 8 * ngx_pagesize,
                                     &ngx_http_sluice_module);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_http_sluice_files_init;
    shm_zone->data = cf->cycle;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_files_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_cycle_t *cycle = shm_zone->data;

    ngx_pool_cleanup_t           *cln;
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sluice_module);

    ngx_http_sluice_files_test(cycle, smcf);

    if (ngx_test_config) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_sluice_files_close;
    cln->data = smcf;

    return ngx_http_sluice_files_open(cycle, smcf);
}


/* what can be told without changing anything */

static void
ngx_http_sluice_files_test(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    ngx_event_conf_t  *ecf;

    if (smcf->open == 0) {
        ecf = ngx_event_get_conf(cycle->conf_ctx, ngx_event_core_module);

        smcf->open = ngx_min(ecf->connections, SLUICE_LANE_OPEN_MAX);
    }

    if (smcf->usage && smcf->open * SLUICE_RECORD_MAX > smcf->ring) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "\"sluice_ring\" of %uzk has room for the records of "
                      "%uz open requests, not of %ui: set it to %uzk, or "
                      "\"open=\" lower",
                      smcf->ring / 1024, smcf->ring / SLUICE_RECORD_MAX,
                      smcf->open, smcf->open * SLUICE_RECORD_MAX / 1024);
    }
}


static ngx_int_t
ngx_http_sluice_files_open(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    sluice_error_t    error;
    sluice_workers_t  workers;

    if (ngx_http_sluice_files_dir(cycle, smcf) != NGX_OK) {
        return NGX_ERROR;
    }

    sluice_file_sweep(&smcf->dir);

    if (smcf->clients
        && ngx_http_sluice_client_start(cycle, smcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* workers open it themselves; here is where its failure can be refused */

    if (sluice_workers_open(&smcf->dir, &workers, &error) != SLUICE_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "%s", error.text);
        return NGX_ERROR;
    }

    sluice_workers_close(&smcf->dir, &workers);

    if (ngx_http_sluice_files_zones(cycle, smcf) != NGX_OK
        || ngx_http_sluice_files_conns(cycle, smcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_sluice_files_pools(cycle, smcf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_sluice_proxy_open(cycle, smcf);
}


static ngx_int_t
ngx_http_sluice_files_dir(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    uid_t             uid;
    gid_t             gid;
    sluice_error_t    error;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (geteuid() == 0) {
        uid = ccf->user;
        gid = ccf->group;

    } else {
        uid = geteuid();
        gid = SLUICE_GROUP_KEEP;
    }

    if (smcf->group != (gid_t) NGX_CONF_UNSET) {
        gid = smcf->group;
    }

    if (sluice_dir_open(&smcf->dir, (char *) smcf->path.data, uid, gid, true,
                        &error)
        != SLUICE_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "\"sluice_dir\": %s",
                      error.text);
        return NGX_ERROR;
    }

    if (!sluice_dir_is_tmpfs(&smcf->dir)) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "\"sluice_dir\" \"%V\" is not on tmpfs: writeback to "
                      "its disk will stall workers", &smcf->path);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_files_zones(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                i;
    sluice_error_t            error;
    ngx_http_sluice_zone_t   *zone, **zones;

    zones = smcf->zones.elts;

    for (i = 0; i < smcf->zones.nelts; i++) {
        zone = zones[i];

        if (sluice_limit_open(&smcf->dir, (char *) zone->named.name.data,
                              &zone->conf, &zone->limit, &zone->former,
                              &error)
            != SLUICE_OK)
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "%s", error.text);
            return NGX_ERROR;
        }

        /* it would refuse whomever it has counted until it no longer counts */

        if (sluice_limit_former_counts(&zone->limit, &zone->former)
            && zone->least != 0 && zone->least < zone->former.scale)
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "zone \"%V\" has counted in units of %uD so far, "
                          "and now has a limit of %uL: give it another name",
                          &zone->named.name, zone->former.scale, zone->least);
            return NGX_ERROR;
        }

        if (sluice_limit_former_counts(&zone->limit, &zone->former)) {
            ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                          "zone \"%V\" has a new size: \"%s\" counts, too, "
                          "until two windows after its last user",
                          &zone->named.name, zone->former.file.name);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_files_conns(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    ngx_uint_t                     i;
    sluice_error_t                 error;
    ngx_http_sluice_conn_zone_t   *zone, **zones;

    zones = smcf->conns.elts;

    for (i = 0; i < smcf->conns.nelts; i++) {
        zone = zones[i];

        if (sluice_conn_open(&smcf->dir, (char *) zone->named.name.data,
                             zone->size, &zone->conn, &zone->former, &error)
            != SLUICE_OK)
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "%s", error.text);
            return NGX_ERROR;
        }

        if (sluice_conn_former_counts(&zone->conn, &zone->former)) {
            ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                          "conn zone \"%V\" has a new size: \"%s\" counts, "
                          "too, until its last user has gone",
                          &zone->named.name, zone->former.file.name);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_files_pools(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    uint64_t                  fp;
    ngx_uint_t                i, n;
    sluice_balance_conf_t    *member;
    ngx_http_sluice_key_t    *key;
    ngx_http_sluice_pool_t   *pool, **pools;

    pools = smcf->pools.elts;

    for (i = 0; i < smcf->pools.nelts; i++) {
        pool = pools[i];

        if (ngx_http_sluice_files_pool(cycle, smcf, SLUICE_POOL_KEYS,
                                       &pool->named, &pool->pool)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        key = pool->keys.elts;
        member = pool->members.elts;

        for (n = 0; n < pool->keys.nelts; n++) {

            fp = ngx_http_sluice_files_fingerprint(&pool->pool, &key[n]);

            key[n].line = ngx_http_sluice_files_member(cycle, &pool->pool, fp,
                                                       &member[n]);
            if (key[n].line == NULL) {
                return NGX_ERROR;
            }
        }

        if (ngx_http_sluice_files_balance(cycle, &pool->pool, pool->method,
                                          &pool->members, &pool->balance)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_sluice_files_pool(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf, sluice_pool_kind_t kind,
    ngx_http_sluice_named_t *named, sluice_pool_t *pool)
{
    sluice_error_t  error;

    if (sluice_pool_open(&smcf->dir, kind, (char *) named->name.data, pool,
                         &error)
        != SLUICE_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "%s", error.text);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* its line in the file, or NULL */

sluice_member_t *
ngx_http_sluice_files_member(ngx_cycle_t *cycle, sluice_pool_t *pool,
    uint64_t fingerprint, sluice_balance_conf_t *member)
{
    sluice_error_t    error;
    sluice_member_t  *line;

    if (sluice_pool_member(pool, fingerprint, member->id,
                           (uint64_t) ngx_time(), &member->line, &error)
        != SLUICE_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "%s", error.text);
        return NULL;
    }

    line = sluice_pool_line(pool, member->line);
    sluice_member_limits(line, member->limit, member->nlimits);

    return line;
}


/* each worker has a copy of it by fork() */

ngx_int_t
ngx_http_sluice_files_balance(ngx_cycle_t *cycle, sluice_pool_t *pool,
    ngx_uint_t method, ngx_array_t *members, sluice_balance_t **balance)
{
    void  *memory;

    memory = ngx_pmemalign(cycle->pool, sluice_balance_size(members->nelts),
                           64);
    if (memory == NULL) {
        return NGX_ERROR;
    }

    *balance = sluice_balance_init(memory, pool, method, members->elts,
                                   members->nelts);

    return NGX_OK;
}


/* of the id and the secret: a new secret under an old id is a new member */

static uint64_t
ngx_http_sluice_files_fingerprint(sluice_pool_t *pool,
    ngx_http_sluice_key_t *key)
{
    size_t    len;
    u_char   *p, data[SLUICE_NAME_MAX + SHA256_DIGEST_LENGTH];
    uint64_t  fp;

    p = ngx_cpymem(data, key->id.data, key->id.len);
    SHA256(key->secret.data, key->secret.len, p);

    len = key->id.len + SHA256_DIGEST_LENGTH;
    fp = sluice_siphash(pool->file.header.key, data, len).lo;

    return fp ? fp : 1;
}


/* the cycle ends, or never came in force */

static void
ngx_http_sluice_files_close(void *data)
{
    ngx_http_sluice_main_conf_t *smcf = data;

    ngx_uint_t                     i;
    ngx_http_sluice_zone_t       **zones;
    ngx_http_sluice_pool_t       **pools;
    ngx_http_sluice_conn_zone_t  **conns;

    if (smcf->dir.fd == -1) {
        return;
    }

    zones = smcf->zones.elts;

    for (i = 0; i < smcf->zones.nelts; i++) {
        ngx_http_sluice_files_retire(smcf, &zones[i]->limit.file);
        sluice_limit_close(&smcf->dir, &zones[i]->limit);
        sluice_limit_close(&smcf->dir, &zones[i]->former);
    }

    conns = smcf->conns.elts;

    for (i = 0; i < smcf->conns.nelts; i++) {
        ngx_http_sluice_files_retire(smcf, &conns[i]->conn.file);
        sluice_conn_close(&smcf->dir, &conns[i]->conn);
        sluice_conn_close(&smcf->dir, &conns[i]->former);
    }

    pools = smcf->pools.elts;

    for (i = 0; i < smcf->pools.nelts; i++) {
        ngx_http_sluice_files_retire(smcf, &pools[i]->pool.file);
        sluice_pool_close(&smcf->dir, &pools[i]->pool);
    }

    ngx_http_sluice_proxy_close(smcf);

    sluice_dir_close(&smcf->dir);
}


/*
 * A table that was made for a configuration that was then refused must not
 * stay the newest of its name.
 */

void
ngx_http_sluice_files_retire(ngx_http_sluice_main_conf_t *smcf,
    sluice_file_t *file)
{
    if (!smcf->live && file->created) {
        (void) sluice_file_retire(&smcf->dir, file);
    }
}
