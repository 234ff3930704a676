
/*
 * Limits of what is in flight at a time: a place is taken at admission and
 * given back when the request is gone.  A worker that is killed gives all of
 * its places back within a second.
 */

#include "ngx_http_sluice.h"


/* Retry-After of a refusal, ms: nobody knows when a request ends */
#define NGX_HTTP_SLUICE_CONN_RETRY  1000


static ngx_int_t ngx_http_sluice_conn_take_one(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_conn_t *conn);
static ngx_int_t ngx_http_sluice_conn_place(ngx_http_sluice_ctx_t *ctx,
    sluice_conn_t *table, ngx_http_sluice_zone_key_t *key,
    ngx_http_sluice_conn_t *conn, uint32_t max);
static void ngx_http_sluice_conn_supersede(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_conn_zone_t *zone);
static void ngx_http_sluice_conn_return(ngx_http_sluice_place_t *place);
static ngx_http_sluice_conn_zone_t *ngx_http_sluice_conn_find(ngx_conf_t *cf,
    ngx_str_t *name);


/*
 * Takes a place in each table of the location, or in none of them.  NGX_OK;
 * NGX_BUSY: refused, by ctx->refused_by; NGX_ERROR: a limit has no value.
 */

ngx_int_t
ngx_http_sluice_conn_take(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t *retry)
{
    ngx_int_t                rc;
    ngx_uint_t               i, first;
    ngx_http_sluice_conn_t  *conn;

    /* room for two tables a zone, which changes of size need */

    if (ngx_http_sluice_grow(r->pool, (void **) &ctx->places, ctx->nplaces,
                             2 * slcf->conns->nelts,
                             sizeof(ngx_http_sluice_place_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    first = ctx->nplaces;
    conn = slcf->conns->elts;
    rc = NGX_OK;

    for (i = 0; i < slcf->conns->nelts && rc == NGX_OK; i++) {

        /* before a redirect */

        if (!ngx_http_sluice_has_zone(&ctx->held, &conn[i])) {
            rc = ngx_http_sluice_conn_take_one(r, slcf, ctx, &conn[i]);
        }
    }

    if (rc != NGX_OK) {
        ngx_http_sluice_conn_give(ctx, first);
        *retry = NGX_HTTP_SLUICE_CONN_RETRY;

        return rc;
    }

    for (i = 0; i < slcf->conns->nelts; i++) {
        ngx_http_sluice_add_zone(&ctx->held, &conn[i]);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_conn_take_one(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_conn_t *conn)
{
    uint64_t                      max;
    ngx_int_t                     rc;
    ngx_uint_t                    first;
    ngx_http_sluice_zone_key_t    key;
    ngx_http_sluice_conn_zone_t  *zone;

    zone = conn->zone;
    max = conn->max;

    rc = ngx_http_sluice_zone_key(r, slcf, ctx, &zone->key, &key);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_sluice_count(EMPTY_KEY);
        return NGX_OK;
    }

    if (conn->max_value != NULL
        && ngx_http_sluice_amount(r, conn->max_value,
                                  "a limit must be a number, not", &max)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->held.any & zone->bit) {
        ngx_http_sluice_conn_supersede(ctx, zone);
    }

    max = ngx_min(max, UINT32_MAX);
    first = ctx->nplaces;

    rc = ngx_http_sluice_conn_place(ctx, &zone->conn, &key, conn,
                                    (uint32_t) max);

    if (rc == NGX_OK && sluice_conn_former_counts(&zone->conn, &zone->former))
    {
        rc = ngx_http_sluice_conn_place(ctx, &zone->former, &key, conn,
                                        (uint32_t) max);
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    ngx_http_sluice_conn_give(ctx, first);

    if (conn->dry_run) {
        ngx_http_sluice_dry(r, ctx, &zone->named, NULL);
        return NGX_OK;
    }

    ctx->refused_by = &zone->named;
    ctx->refused_charge = NULL;
    ctx->refused_status = conn->status;

    return NGX_BUSY;
}


static ngx_int_t
ngx_http_sluice_conn_place(ngx_http_sluice_ctx_t *ctx, sluice_conn_t *table,
    ngx_http_sluice_zone_key_t *key, ngx_http_sluice_conn_t *conn,
    uint32_t max)
{
    sluice_hash_t             hash;
    sluice_conn_result_t      result;
    ngx_http_sluice_place_t  *place;

    place = &ctx->places[ctx->nplaces++];

    place->conn = conn;
    place->table = table;
    place->max = max;
    place->left = 0;
    place->held = 0;

    /* without a slot nobody would give back what a dead worker held */

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return NGX_BUSY;
    }

    hash = (key->id != NULL)
           ? sluice_conn_hash_id(table, key->id)
           : sluice_conn_hash(table, key->text.data, key->text.len);

    result = sluice_conn_take(table, hash, max, ngx_http_sluice_process.slot,
                              &place->hold);

    if (result == SLUICE_CONN_PASSED) {
        place->left = max - place->hold.seen;
        place->held = 1;

        return NGX_OK;
    }

    if (result == SLUICE_CONN_CONTENDED) {
        ngx_http_sluice_count(CONTENDED);
    }

    return NGX_BUSY;
}


/* all from that one on; what was seen there is still to be told */

void
ngx_http_sluice_conn_give(ngx_http_sluice_ctx_t *ctx, ngx_uint_t first)
{
    ngx_uint_t  i;

    for (i = first; i < ctx->nplaces; i++) {
        ngx_http_sluice_conn_return(&ctx->places[i]);
    }
}


/* what a dry run holds of the zone: a limit in force decides without it */

static void
ngx_http_sluice_conn_supersede(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_conn_zone_t *zone)
{
    ngx_uint_t  i;

    for (i = 0; i < ctx->nplaces; i++) {
        if (ctx->places[i].conn->zone == zone) {
            ngx_http_sluice_conn_return(&ctx->places[i]);
        }
    }
}


static void
ngx_http_sluice_conn_return(ngx_http_sluice_place_t *place)
{
    if (place->held) {
        place->held = 0;
        place->left++;

        sluice_conn_give(place->table, ngx_http_sluice_process.slot,
                         &place->hold);
    }
}


/* sluice_limit_conn_zone $key zone=name:size; */

char *
ngx_http_sluice_limit_conn_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ssize_t                       size;
    ngx_str_t                    *value, name;
    ngx_http_sluice_conn_zone_t  *zone;

    value = cf->args->elts;

    if (ngx_strncmp(value[2].data, "zone=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_zone_size(cf, &value[2], &name, &size) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (sluice_conn_buckets((uint64_t) size) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too %s: it must have 36k to 576m",
                           &value[2], size < 1024 * 1024 ? "small" : "large");
        return NGX_CONF_ERROR;
    }

    zone = ngx_http_sluice_conn_find(cf, &name);

    if (zone == NULL
        || ngx_http_sluice_define_apart(cf, &smcf->zones, "zone",
                                        &zone->named, "conn zone")
           != NGX_OK
        || ngx_http_sluice_zone_key_compile(cf, &value[1], &name, &zone->key)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    zone->size = size;

    return NGX_CONF_OK;
}


/* finds the zone, or makes one that somebody must still define */

static ngx_http_sluice_conn_zone_t *
ngx_http_sluice_conn_find(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_sluice_main_conf_t  *smcf;
    ngx_http_sluice_conn_zone_t  *zone;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    zone = (ngx_http_sluice_conn_zone_t *)
               ngx_http_sluice_named(cf, &smcf->conns,
                                     sizeof(ngx_http_sluice_conn_zone_t),
                                     name, "conn zone");

    if (zone == NULL || zone->bit != 0) {
        return zone;
    }

    if (smcf->conns.nelts > NGX_HTTP_SLUICE_ZONES_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "more than %d conn zones",
                           NGX_HTTP_SLUICE_ZONES_MAX);
        return NULL;
    }

    zone->conn.file.fd = -1;
    zone->former.file.fd = -1;
    zone->bit = (uint64_t) 1 << (smcf->conns.nelts - 1);

    return zone;
}


/*
 * sluice_limit_conn zone=name limit=10|$variable [status=429] [dry_run];
 * sluice_limit_conn off;
 */

char *
ngx_http_sluice_limit_conn(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    char                    *rv;
    ngx_int_t                rc;
    ngx_str_t               *value, name;
    ngx_uint_t               i, dry_run;
    ngx_http_sluice_conn_t   new;

    value = cf->args->elts;

    rv = ngx_http_sluice_limit_off(cf, &slcf->conns);

    if (rv != NGX_CONF_OK || slcf->conns == NULL) {
        return rv;
    }

    ngx_memzero(&new, sizeof(ngx_http_sluice_conn_t));

    new.status = NGX_HTTP_TOO_MANY_REQUESTS;
    dry_run = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0) {

            name.len = value[i].len - 5;
            name.data = value[i].data + 5;

            new.zone = ngx_http_sluice_conn_find(cf, &name);
            if (new.zone == NULL) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        rc = ngx_http_sluice_limit_parameter(cf, &value[i], &new.max,
                                             &new.max_value, &new.status,
                                             &dry_run);

        if (rc == NGX_OK) {
            continue;
        }

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
        }

        return NGX_CONF_ERROR;
    }

    new.dry_run = dry_run;

    if (ngx_http_sluice_limit_whole(cf, cmd, new.zone != NULL,
                                    new.max != 0 || new.max_value != NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_sluice_limit_push(cf, &slcf->conns, &new,
                                      sizeof(ngx_http_sluice_conn_t));
}


/* with its location: a zone by client where no client is known */

ngx_int_t
ngx_http_sluice_conn_check(ngx_conf_t *cf, ngx_http_sluice_loc_conf_t *slcf,
    ngx_str_t *location)
{
    ngx_uint_t               i;
    ngx_http_sluice_conn_t  *conn;

    if (slcf->conns == NULL || slcf->client != NULL) {
        return NGX_OK;
    }

    conn = slcf->conns->elts;

    for (i = 0; i < slcf->conns->nelts; i++) {
        if (conn[i].zone->key.by_client) {
            ngx_http_sluice_no_client(cf, &conn[i].zone->named, location);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
