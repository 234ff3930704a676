
/*
 * Limits at work: charging a request, all or none, and settling what was
 * charged when it is known what it cost.
 */

#include "ngx_http_sluice.h"


static ngx_int_t ngx_http_sluice_limit_collect(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t counted);
static ngx_int_t ngx_http_sluice_limit_amounts(ngx_http_request_t *r,
    ngx_http_sluice_limit_t *limit, uint64_t *max, uint64_t *weight);
static void ngx_http_sluice_limit_add(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_t *limit, sluice_limit_t *table,
    ngx_http_sluice_zone_key_t *key, uint64_t max, uint64_t weight);
static sluice_hash_t ngx_http_sluice_limit_hash(sluice_limit_t *table,
    ngx_http_sluice_zone_key_t *key);
static ngx_uint_t ngx_http_sluice_limit_look(ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t first, uint64_t now, uint64_t *retry);
static void ngx_http_sluice_limit_waive(ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t first, ngx_http_sluice_limit_t *limit);
static void ngx_http_sluice_limit_supersede(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_zone_t *zone);
static void ngx_http_sluice_limit_return(ngx_http_sluice_charge_t *c);
static ngx_int_t ngx_http_sluice_limit_actual(ngx_http_request_t *r,
    ngx_http_sluice_charge_t *c, uint64_t *actual);
static ngx_uint_t ngx_http_sluice_limit_failed(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_limit_zone_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_limit_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/* as those of $limit_req_status */

static ngx_str_t  ngx_http_sluice_limit_passed = ngx_string("PASSED");
static ngx_str_t  ngx_http_sluice_limit_rejected = ngx_string("REJECTED");
static ngx_str_t  ngx_http_sluice_limit_rejected_dry =
    ngx_string("REJECTED_DRY_RUN");


static ngx_http_variable_t  ngx_http_sluice_limit_vars[] = {

    { ngx_string("sluice_limit_zone"), NULL,
      ngx_http_sluice_limit_zone_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_limit_status"), NULL,
      ngx_http_sluice_limit_status_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_sluice_limit_variables(ngx_conf_t *cf)
{
    return ngx_http_sluice_add_vars(cf, ngx_http_sluice_limit_vars);
}


/*
 * Charges each limit of the location, or none of them: first all are looked
 * at, then all are charged, and what was charged is taken back if a later
 * one has filled up meanwhile.  NGX_OK; NGX_BUSY: refused, by
 * ctx->refused_by, for *retry milliseconds (UINT64_MAX: for good);
 * NGX_ERROR: a limit has no value.
 */

ngx_int_t
ngx_http_sluice_limit_charge(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t now, uint64_t *retry)
{
    ngx_uint_t                 i, first;
    sluice_limit_result_t      result;
    ngx_http_sluice_charge_t  *c;

    first = ctx->ncharges;

    if (ngx_http_sluice_limit_collect(r, slcf, ctx, 1) != NGX_OK) {

        /* those before it were not looked at, and nothing is to be told */

        ctx->ncharges = first;
        return NGX_ERROR;
    }

    *retry = 0;

    if (ctx->ncharges - first > 1
        && ngx_http_sluice_limit_look(ctx, first, now, retry))
    {
        return NGX_BUSY;
    }

    for (i = first; i < ctx->ncharges; i++) {
        c = &ctx->charges[i];

        if (c->refused) {
            ngx_http_sluice_dry(r, ctx, &c->limit->zone->named, c);
            continue;
        }

        result = sluice_limit_charge(c->table, c->key, now, c->max, c->n,
                                     &c->state);

        if (result == SLUICE_LIMIT_PASSED) {
            c->charged = !c->look;
            continue;
        }

        c->refused = 1;

        if (result == SLUICE_LIMIT_CONTENDED) {
            ngx_http_sluice_count(CONTENDED);
        }

        if (c->limit->dry_run) {
            ngx_http_sluice_limit_waive(ctx, first, c->limit);
            ngx_http_sluice_dry(r, ctx, &c->limit->zone->named, c);
            continue;
        }

        *retry = (result == SLUICE_LIMIT_CONTENDED)
                 ? 0 : sluice_limit_retry(c->table, &c->state, c->max, c->n);
        ctx->refused_by = &c->limit->zone->named;
        ctx->refused_charge = c;
        ctx->refused_status = c->limit->status;

        ngx_http_sluice_limit_undo(ctx, first);

        return NGX_BUSY;
    }

    for (i = first; i < ctx->ncharges; i++) {
        ngx_http_sluice_add_zone(&ctx->decided, ctx->charges[i].limit);
    }

    return NGX_OK;
}


/*
 * For what is refused for another reason: looks at the limits that it has not
 * come to, for the client to be told of them, and raises *retry to when they
 * would let it pass.  What is charged when it comes back is left to then.
 */

void
ngx_http_sluice_limit_foresee(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t now, uint64_t *retry)
{
    uint64_t                   wait;
    ngx_uint_t                 i, first;
    sluice_limit_state_t       state;
    ngx_http_sluice_charge_t  *c;

    if (slcf->limits == NULL) {
        return;
    }

    first = ctx->ncharges;

    if (ngx_http_sluice_limit_collect(r, slcf, ctx, 0) != NGX_OK) {
        ctx->ncharges = first;
        return;
    }

    ctx->foreseen = ctx->ncharges - first;

    for (i = first; i < ctx->ncharges; i++) {
        c = &ctx->charges[i];

        if (!c->limit->dry_run
            && sluice_limit_peek(c->table, c->key, now, c->max, c->n, &state)
               == SLUICE_LIMIT_REFUSED)
        {
            wait = sluice_limit_retry(c->table, &state, c->max, c->n);
            *retry = ngx_max(*retry, wait);
        }
    }
}


/* what the location's limits charge, behind what those before it charged */

static ngx_int_t
ngx_http_sluice_limit_collect(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t counted)
{
    uint64_t                     max, weight;
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_http_sluice_zone_t      *zone;
    ngx_http_sluice_limit_t     *limit;
    ngx_http_sluice_zone_key_t   key;

    limit = slcf->limits->elts;

    /* room for two tables a zone, which changes of size need */

    if (ctx->ncharges + 2 * slcf->limits->nelts > NGX_HTTP_SLUICE_CHARGES
        && ngx_http_sluice_grow(r->pool, (void **) &ctx->charges,
                                ctx->ncharges, 2 * slcf->limits->nelts,
                                sizeof(ngx_http_sluice_charge_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < slcf->limits->nelts; i++) {
        zone = limit[i].zone;

        /* before a redirect */

        if (ngx_http_sluice_has_zone(&ctx->decided, &limit[i])) {
            continue;
        }

        rc = ngx_http_sluice_zone_key(r, slcf, ctx, &zone->key, &key);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        /* as with limit_req: who has no key has no limit */

        if (rc == NGX_DECLINED) {

            if (counted) {
                ngx_http_sluice_count(EMPTY_KEY);
            }

            continue;
        }

        if (ngx_http_sluice_limit_amounts(r, &limit[i], &max, &weight)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ctx->decided.any & zone->bit) {
            ngx_http_sluice_limit_supersede(ctx, zone);
        }

        ngx_http_sluice_limit_add(ctx, &limit[i], &zone->limit, &key, max,
                                  weight);

        if (sluice_limit_former_counts(&zone->limit, &zone->former)) {
            ngx_http_sluice_limit_add(ctx, &limit[i], &zone->former, &key,
                                      max, weight);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_limit_amounts(ngx_http_request_t *r,
    ngx_http_sluice_limit_t *limit, uint64_t *max, uint64_t *weight)
{
    *max = limit->max;
    *weight = limit->weight;

    if (limit->max_value != NULL
        && ngx_http_sluice_amount(r, limit->max_value,
                                  "a limit must be a number, not", max)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (limit->weight_value != NULL
        && ngx_http_sluice_amount(r, limit->weight_value,
                                  "a weight must be a number, not", weight)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a former table may have a smaller scale: there it counts as the most */

    if (*max > SLUICE_LIMIT_UNITS_MAX
        && *max / limit->zone->limit.scale > SLUICE_LIMIT_UNITS_MAX)
    {
        ngx_http_sluice_complain(r, "a limit is more than the scale of its "
                                 "zone allows: zone",
                                 &limit->zone->named.name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_sluice_limit_add(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_t *limit, sluice_limit_t *table,
    ngx_http_sluice_zone_key_t *key, uint64_t max, uint64_t weight)
{
    ngx_http_sluice_charge_t  *c;

    c = &ctx->charges[ctx->ncharges++];

    c->limit = limit;
    c->table = table;
    c->key = ngx_http_sluice_limit_hash(table, key);
    c->max = sluice_limit_max_units(table, max);
    c->n = sluice_limit_units(table, weight);
    c->look = 0;
    c->charged = 0;
    c->refused = 0;

    /*
     * A limit below one of a former table's units.  What it has counted may be
     * all of the limit; but if it has counted nothing, it needs not be charged
     * for the newest to hold the limit, and the first charge would fill it.
     */

    if (table == &limit->zone->former && max != 0 && c->max == 0) {
        c->look = 1;
        c->n = 0;
    }
}


/* NGX_DECLINED: the request has none */

ngx_int_t
ngx_http_sluice_zone_key(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_zone_key_conf_t *conf, ngx_http_sluice_zone_key_t *key)
{
    key->id = NULL;

    if (conf->by_client) {

        if (!ctx->client.known
            && ngx_http_sluice_client_get(r, slcf, &ctx->client) != NGX_OK)
        {
            return NGX_ERROR;
        }

        key->id = ctx->client.id;

        return ctx->client.known ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_http_sluice_value(r, &conf->value, &key->text) != NGX_OK) {
        return NGX_ERROR;
    }

    return key->text.len != 0 ? NGX_OK : NGX_DECLINED;
}


static sluice_hash_t
ngx_http_sluice_limit_hash(sluice_limit_t *table,
    ngx_http_sluice_zone_key_t *key)
{
    return (key->id != NULL)
           ? sluice_limit_hash_id(table, key->id)
           : sluice_limit_hash(table, key->text.data, key->text.len);
}


/* 0 is a plan that allows nothing, or a request that costs nothing */

ngx_int_t
ngx_http_sluice_amount(ngx_http_request_t *r, ngx_http_sluice_value_t *value,
    const char *complaint, uint64_t *amount)
{
    off_t      n;
    ngx_str_t  text;

    if (ngx_http_sluice_value(r, value, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    n = ngx_atoof(text.data, text.len);

    if (n == NGX_ERROR) {
        ngx_http_sluice_complain(r, complaint, &text);
        return NGX_ERROR;
    }

    *amount = (uint64_t) n;

    return NGX_OK;
}


/* an array of a request's own: a redirect may bring more of the same */

ngx_int_t
ngx_http_sluice_grow(ngx_pool_t *pool, void **array, ngx_uint_t n,
    ngx_uint_t more, size_t size)
{
    void  *grown;

    grown = ngx_palloc(pool, (n + more) * size);
    if (grown == NULL) {
        return NGX_ERROR;
    }

    if (n != 0) {
        ngx_memcpy(grown, *array, n * size);
    }

    *array = grown;

    return NGX_OK;
}


/*
 * Looks at all of them: whether one refuses, and for how long all do.  Those
 * that only would, in a dry run, are marked.
 */

static ngx_uint_t
ngx_http_sluice_limit_look(ngx_http_sluice_ctx_t *ctx, ngx_uint_t first,
    uint64_t now, uint64_t *retry)
{
    uint64_t                   wait;
    ngx_uint_t                 i, full;
    ngx_http_sluice_charge_t  *c;

    full = 0;

    for (i = first; i < ctx->ncharges; i++) {
        c = &ctx->charges[i];

        if (sluice_limit_peek(c->table, c->key, now, c->max, c->n, &c->state)
            == SLUICE_LIMIT_PASSED)
        {
            continue;
        }

        c->refused = 1;
        sluice_limit_count_refused(c->table);

        if (c->limit->dry_run) {
            ngx_http_sluice_limit_waive(ctx, first, c->limit);
            continue;
        }

        wait = sluice_limit_retry(c->table, &c->state, c->max, c->n);

        if (!full || wait > *retry) {
            ctx->refused_by = &c->limit->zone->named;
            ctx->refused_charge = c;
            ctx->refused_status = c->limit->status;
            *retry = wait;
        }

        full = 1;
    }

    return full;
}


void
ngx_http_sluice_dry(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_named_t *zone, ngx_http_sluice_charge_t *charge)
{
    /* by both tables of a zone that changes: once is enough */

    if (ctx->dry_refused_by == zone) {
        return;
    }

    ctx->dry_refused_by = zone;

    ngx_http_sluice_count(DRY_RUN);
    ngx_http_sluice_limit_log(r, zone, charge, ", dry run");
}


/* with the key as "sluicectl hottest" tells it: what it is stays unsaid */

void
ngx_http_sluice_limit_log(ngx_http_request_t *r,
    ngx_http_sluice_named_t *zone, ngx_http_sluice_charge_t *charge,
    const char *how)
{
    ngx_http_sluice_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    if (charge == NULL) {
        ngx_log_error(slcf->limit_log_level, r->connection->log, 0,
                      "refusing request by limit \"%V\"%s", &zone->name, how);
        return;
    }

    ngx_log_error(slcf->limit_log_level, r->connection->log, 0,
                  "refusing request by limit \"%V\"%s, key %012xL",
                  &zone->name, how, sluice_hash_fingerprint(charge->key));
}


/* a dry run charges what it would let through: both tables of a zone or none */

static void
ngx_http_sluice_limit_waive(ngx_http_sluice_ctx_t *ctx, ngx_uint_t first,
    ngx_http_sluice_limit_t *limit)
{
    ngx_uint_t                 i;
    ngx_http_sluice_charge_t  *c;

    for (i = first; i < ctx->ncharges; i++) {
        c = &ctx->charges[i];

        if (c->limit == limit) {
            c->refused = 1;
            ngx_http_sluice_limit_return(c);
        }
    }
}


/* a refusal by one of them is not to be paid to the others */

void
ngx_http_sluice_limit_undo(ngx_http_sluice_ctx_t *ctx, ngx_uint_t first)
{
    ngx_uint_t  i;

    for (i = first; i < ctx->ncharges; i++) {
        ngx_http_sluice_limit_return(&ctx->charges[i]);
    }
}


/* what a dry run charged the zone: a limit in force decides without it */

static void
ngx_http_sluice_limit_supersede(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_zone_t *zone)
{
    ngx_uint_t  i;

    for (i = 0; i < ctx->ncharges; i++) {
        if (ctx->charges[i].limit->zone == zone) {
            ngx_http_sluice_limit_return(&ctx->charges[i]);
        }
    }
}


static void
ngx_http_sluice_limit_return(ngx_http_sluice_charge_t *c)
{
    if (c->charged) {
        c->charged = 0;
        sluice_limit_refund(c->table, c->key, &c->state, c->n);
    }
}


/*
 * At the end of the request.  A worker that is killed leaves its estimates
 * charged, until their windows are over.
 */

void
ngx_http_sluice_limit_settle(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx)
{
    uint64_t                   now, actual;
    ngx_uint_t                 i;
    ngx_http_sluice_charge_t  *c;

    now = 0;

    for (i = 0; i < ctx->ncharges; i++) {
        c = &ctx->charges[i];

        if (!c->charged
            || ngx_http_sluice_limit_actual(r, c, &actual) != NGX_OK)
        {
            continue;
        }

        c->charged = 0;

        if (now == 0) {
            now = sluice_clock_ms();
        }

        sluice_limit_settle(c->table, c->key, &c->state, now, c->n,
                            sluice_limit_units(c->table, actual));
    }
}


/*
 * NGX_DECLINED: the estimate stays.  Where nobody knows what an answer cost,
 * an error is taken to have cost nothing.
 */

static ngx_int_t
ngx_http_sluice_limit_actual(ngx_http_request_t *r,
    ngx_http_sluice_charge_t *c, uint64_t *actual)
{
    off_t      n;
    ngx_str_t  text;

    /* whatever the answer says: that was paid by whom it was made for */

    if (c->limit->zone->conf.unit == NGX_HTTP_SLUICE_UNIT_TOKENS
        && ngx_http_sluice_cached(r))
    {
        *actual = 0;
        return NGX_OK;
    }

    if (c->limit->settle == NULL) {

        if (c->limit->zone->conf.unit != NGX_HTTP_SLUICE_UNIT_BYTES) {
            return NGX_DECLINED;
        }

        *actual = (uint64_t) r->request_length
                  + (uint64_t) r->connection->sent;

        return NGX_OK;
    }

    if (ngx_http_sluice_value(r, c->limit->settle, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (text.len == 0) {
        *actual = 0;
        return ngx_http_sluice_limit_failed(r) ? NGX_OK : NGX_DECLINED;
    }

    n = ngx_atoof(text.data, text.len);

    if (n == NGX_ERROR) {
        ngx_http_sluice_complain(r, "what a request cost must be a number, "
                                 "not", &text);
        return NGX_DECLINED;
    }

    *actual = (uint64_t) n;

    return NGX_OK;
}


/*
 * Whether an error has come of the request: its own status, or that of the
 * upstream it was sent to last, which "error_page =200" hides.
 */

static ngx_uint_t
ngx_http_sluice_limit_failed(ngx_http_request_t *r)
{
    ngx_uint_t                  n, status;
    ngx_http_upstream_state_t  *state;

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status < NGX_HTTP_BAD_REQUEST && r->upstream_states != NULL) {
        n = r->upstream_states->nelts;
        state = r->upstream_states->elts;

        /* without a peer: one was looked for, and nobody was asked */

        status = (n != 0 && state[n - 1].peer != NULL) ? state[n - 1].status
                                                       : NGX_HTTP_BAD_GATEWAY;
    }

    /* who went away before the answer may have caused all of it */

    return status >= NGX_HTTP_BAD_REQUEST
           && status != NGX_HTTP_CLIENT_CLOSED_REQUEST;
}


static ngx_int_t
ngx_http_sluice_limit_zone_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t    *ctx;
    ngx_http_sluice_named_t  *zone;

    ctx = ngx_http_sluice_get_ctx(r->main);

    zone = (ctx == NULL) ? NULL
           : ctx->refused_by ? ctx->refused_by : ctx->dry_refused_by;

    if (zone == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_value(v, &zone->name);

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_limit_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r->main);

    if (ctx == NULL
        || (ctx->decided.any == 0 && ctx->held.any == 0
            && ctx->refused_by == NULL))
    {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_value(v,
                              ctx->refused_by ? &ngx_http_sluice_limit_rejected
                              : ctx->dry_refused_by
                                ? &ngx_http_sluice_limit_rejected_dry
                                : &ngx_http_sluice_limit_passed);

    return NGX_OK;
}
