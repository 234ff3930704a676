
/*
 * Zones and limits: the directives, and charging a request, all or none.
 */

#include "ngx_http_sluice.h"


/* more on one request than anybody can explain */
#define NGX_HTTP_SLUICE_LIMITS_MAX  16

/* a bit each in a request's context */
#define NGX_HTTP_SLUICE_ZONES_MAX   64


/* one table to be charged; a zone has two while its size changes */
typedef struct {
    ngx_http_sluice_zone_t  *zone;
    sluice_limit_t          *table;
    sluice_hash_t            key;
    uint32_t                 max;
    sluice_limit_state_t     state;
} ngx_http_sluice_charge_t;


/* what a zone tells requests apart by */
typedef struct {
    u_char                  *id;        /* of the client; NULL: by the text  */
    ngx_str_t                text;
} ngx_http_sluice_zone_key_t;


static ngx_int_t ngx_http_sluice_limit_collect(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_charge_t *charges, ngx_uint_t *n);
static ngx_int_t ngx_http_sluice_limit_key(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_zone_t *zone, ngx_http_sluice_zone_key_t *key);
static sluice_hash_t ngx_http_sluice_limit_hash(sluice_limit_t *table,
    ngx_http_sluice_zone_key_t *key);
static ngx_int_t ngx_http_sluice_limit_max(ngx_http_request_t *r,
    ngx_http_sluice_limit_t *limit, uint32_t *max);
static ngx_http_sluice_zone_t *ngx_http_sluice_zone(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf, ngx_str_t *name);
static ngx_int_t ngx_http_sluice_limit_zone_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_sluice_limit_vars[] = {

    { ngx_string("sluice_limit_zone"), NULL,
      ngx_http_sluice_limit_zone_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

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
    uint64_t                   wait;
    ngx_int_t                  rc;
    ngx_uint_t                 i, n, full;
    sluice_limit_result_t      result;
    ngx_http_sluice_charge_t  *c, charges[2 * NGX_HTTP_SLUICE_LIMITS_MAX];

    rc = ngx_http_sluice_limit_collect(r, slcf, ctx, charges, &n);
    if (rc != NGX_OK) {
        return rc;
    }

    *retry = 0;
    full = 0;

    if (n > 1) {
        for (i = 0; i < n; i++) {
            c = &charges[i];

            if (sluice_limit_peek(c->table, c->key, now, c->max, 1, &c->state)
                != SLUICE_LIMIT_PASSED)
            {
                wait = sluice_limit_retry(c->table, &c->state, c->max, 1);

                if (!full || wait > *retry) {
                    ctx->refused_by = c->zone;
                    *retry = wait;
                }

                full = 1;
                sluice_limit_count_refused(c->table);
            }
        }

        if (full) {
            return NGX_BUSY;
        }
    }

    for (i = 0; i < n; i++) {
        c = &charges[i];

        result = sluice_limit_charge(c->table, c->key, now, c->max, 1,
                                     &c->state);

        if (result == SLUICE_LIMIT_PASSED) {
            continue;
        }

        if (result == SLUICE_LIMIT_CONTENDED) {
            ngx_http_sluice_count(CONTENDED);
            *retry = 0;

        } else {
            *retry = sluice_limit_retry(c->table, &c->state, c->max, 1);
        }

        ctx->refused_by = c->zone;

        while (i--) {
            c = &charges[i];
            sluice_limit_refund(c->table, c->key, c->state.index, 1);
        }

        return NGX_BUSY;
    }

    for (i = 0; i < n; i++) {
        ctx->decided |= charges[i].zone->bit;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_limit_collect(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_charge_t *charges, ngx_uint_t *n)
{
    uint32_t                     max;
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_http_sluice_zone_t      *zone;
    ngx_http_sluice_limit_t     *limit;
    ngx_http_sluice_zone_key_t   key;

    limit = slcf->limits->elts;
    *n = 0;

    for (i = 0; i < slcf->limits->nelts; i++) {
        zone = limit[i].zone;

        /* before a redirect */

        if (ctx->decided & zone->bit) {
            continue;
        }

        rc = ngx_http_sluice_limit_key(r, slcf, ctx, zone, &key);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        /* as with limit_req: who has no key has no limit */

        if (rc == NGX_DECLINED) {
            ngx_http_sluice_count(EMPTY_KEY);
            continue;
        }

        if (ngx_http_sluice_limit_max(r, &limit[i], &max) != NGX_OK) {
            return NGX_ERROR;
        }

        charges[*n].zone = zone;
        charges[*n].table = &zone->limit;
        charges[*n].key = ngx_http_sluice_limit_hash(&zone->limit, &key);
        charges[*n].max = max;
        (*n)++;

        if (sluice_limit_former_counts(&zone->limit, &zone->former)) {
            charges[*n] = charges[*n - 1];
            charges[*n].table = &zone->former;
            charges[*n].key = ngx_http_sluice_limit_hash(&zone->former, &key);
            (*n)++;
        }
    }

    return NGX_OK;
}


/* NGX_DECLINED: the request has none */

static ngx_int_t
ngx_http_sluice_limit_key(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_zone_t *zone, ngx_http_sluice_zone_key_t *key)
{
    key->id = NULL;

    if (zone->by_client) {

        if (ngx_http_sluice_client_get(r, slcf, &ctx->client) != NGX_OK) {
            return NGX_ERROR;
        }

        key->id = ctx->client.id;

        return ctx->client.known ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_http_sluice_value(r, &zone->key, &key->text) != NGX_OK) {
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


static ngx_int_t
ngx_http_sluice_limit_max(ngx_http_request_t *r,
    ngx_http_sluice_limit_t *limit, uint32_t *max)
{
    ngx_int_t  n;
    ngx_str_t  value;

    if (limit->value == NULL) {
        *max = limit->max;
        return NGX_OK;
    }

    if (ngx_http_sluice_value(r, limit->value, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    n = ngx_atoi(value.data, value.len);

    /* 0 is a plan that allows nothing */

    if (n == NGX_ERROR || n > (ngx_int_t) SLUICE_LIMIT_UNITS_MAX) {
        ngx_http_sluice_complain(r, "a limit must be a number up to 8388608, "
                                 "not", &value);
        return NGX_ERROR;
    }

    *max = (uint32_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_limit_zone_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r->main);

    if (ctx == NULL || ctx->refused_by == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_value(v, &ctx->refused_by->named.name);

    return NGX_OK;
}


/* finds the zone, or makes one that somebody must still define */

static ngx_http_sluice_zone_t *
ngx_http_sluice_zone(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf,
    ngx_str_t *name)
{
    ngx_http_sluice_zone_t  *zone;

    zone = (ngx_http_sluice_zone_t *)
               ngx_http_sluice_named(cf, &smcf->zones,
                                     sizeof(ngx_http_sluice_zone_t), name,
                                     "zone");

    if (zone == NULL || zone->bit != 0) {
        return zone;
    }

    if (smcf->zones.nelts > NGX_HTTP_SLUICE_ZONES_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "more than %d zones",
                           NGX_HTTP_SLUICE_ZONES_MAX);
        return NULL;
    }

    zone->limit.file.fd = -1;
    zone->former.file.fd = -1;
    zone->bit = (uint64_t) 1 << (smcf->zones.nelts - 1);

    return zone;
}


/* sluice_limit_zone $key zone=name:size window=1m; */

char *
ngx_http_sluice_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    static const char  *unknown[] = { "sluice_key*", "sluice_limit_zone",
                                      "upstream_*", "sent_http_*", "status",
                                      NULL };

    u_char                            *p;
    ssize_t                            size;
    ngx_int_t                          window;
    ngx_str_t                         *value, name, s;
    ngx_uint_t                         i;
    ngx_http_sluice_zone_t            *zone;

    value = cf->args->elts;

    size = 0;
    window = 0;
    ngx_str_null(&name);

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0) {

            name.data = value[i].data + 5;

            p = (u_char *) ngx_strchr(name.data, ':');

            if (p == NULL) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid zone size \"%V\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            name.len = p - name.data;

            s.data = p + 1;
            s.len = value[i].data + value[i].len - s.data;

            size = ngx_parse_size(&s);

            if (size == NGX_ERROR) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid zone size \"%V\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            if (sluice_limit_buckets((uint64_t) size) == 0) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "zone \"%V\" is too %s: it must have "
                                   "4k to 32g", &value[i],
                                   size < 4096 ? "small" : "large");
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "window=", 7) == 0) {

            s.data = value[i].data + 7;
            s.len = value[i].len - 7;

            window = ngx_parse_time(&s, 0);

            if (window == NGX_ERROR
                || window < (ngx_int_t) SLUICE_LIMIT_WINDOW_MIN
                || window > (ngx_int_t) SLUICE_LIMIT_WINDOW_MAX)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid window \"%V\": it must have 1s "
                                   "to 31d", &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (name.data == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have \"zone\" parameter", &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (window == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have \"window\" parameter",
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    zone = ngx_http_sluice_zone(cf, smcf, &name);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_define(cf, &zone->named, "zone") != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (value[1].len == 0
        || ngx_http_sluice_mentions(&value[1], unknown) != NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" never matches: its key \"%V\" is "
                           "empty when a request is admitted",
                           &name, &value[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_compile(cf, &value[1], &zone->key) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    zone->conf.size = size;
    zone->conf.window = (uint32_t) window;
    zone->conf.scale = 1;
    zone->by_client =
           (ngx_strcmp(value[1].data, "$sluice_client") == 0
            || ngx_strcmp(value[1].data, "${sluice_client}") == 0);

    return NGX_CONF_OK;
}


/* sluice_limit zone=name limit=60|$variable; sluice_limit off; */

char *
ngx_http_sluice_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    ngx_int_t                          n;
    ngx_str_t                         *value, s;
    ngx_uint_t                         i;
    ngx_http_sluice_limit_t           *limit, new;
    ngx_http_sluice_main_conf_t       *smcf;

    value = cf->args->elts;
    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    if (slcf->limits == NULL) {
        return "is off already";
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {

        if (slcf->limits != NGX_CONF_UNSET_PTR) {
            return "is set already";
        }

        slcf->limits = NULL;

        return NGX_CONF_OK;
    }

    ngx_memzero(&new, sizeof(ngx_http_sluice_limit_t));

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0) {

            s.len = value[i].len - 5;
            s.data = value[i].data + 5;

            new.zone = ngx_http_sluice_zone(cf, smcf, &s);
            if (new.zone == NULL) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "limit=", 6) == 0) {

            s.len = value[i].len - 6;
            s.data = value[i].data + 6;

            if (ngx_strlchr(s.data, s.data + s.len, '$') != NULL) {

                new.value = ngx_palloc(cf->pool,
                                       sizeof(ngx_http_sluice_value_t));
                if (new.value == NULL) {
                    return NGX_CONF_ERROR;
                }

                if (ngx_http_sluice_compile(cf, &s, new.value) != NGX_OK) {
                    return NGX_CONF_ERROR;
                }

                continue;
            }

            n = ngx_atoi(s.data, s.len);

            if (n < 1 || n > (ngx_int_t) SLUICE_LIMIT_UNITS_MAX) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid limit \"%V\": it must be 1 to %ui "
                                   "or a variable", &value[i],
                                   (ngx_uint_t) SLUICE_LIMIT_UNITS_MAX);
                return NGX_CONF_ERROR;
            }

            new.max = (uint32_t) n;

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (new.zone == NULL || (new.max == 0 && new.value == NULL)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have \"%s\" parameter", &cmd->name,
                           new.zone == NULL ? "zone" : "limit");
        return NGX_CONF_ERROR;
    }

    if (slcf->limits == NGX_CONF_UNSET_PTR) {
        slcf->limits = ngx_array_create(cf->pool, 2,
                                        sizeof(ngx_http_sluice_limit_t));
        if (slcf->limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    limit = slcf->limits->elts;

    for (i = 0; i < slcf->limits->nelts; i++) {
        if (limit[i].zone == new.zone) {
            return "is duplicate";
        }
    }

    if (slcf->limits->nelts == NGX_HTTP_SLUICE_LIMITS_MAX) {
        return "has too many limits on one location";
    }

    limit = ngx_array_push(slcf->limits);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    *limit = new;

    return NGX_CONF_OK;
}
