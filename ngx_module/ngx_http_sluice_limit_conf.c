
/*
 * Limits as they are written: the directives, and what is refused of them.
 */

#include "ngx_http_sluice.h"


/* of a kind; more on one request than anybody can explain */
#define NGX_HTTP_SLUICE_LIMITS_MAX  16


static ngx_http_sluice_zone_t *ngx_http_sluice_zone(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf, ngx_str_t *name);
static ngx_int_t ngx_http_sluice_limit_own(ngx_conf_t *cf,
    ngx_http_sluice_limit_t *limit, ngx_str_t *parameter);
static ngx_int_t ngx_http_sluice_limit_number(ngx_conf_t *cf,
    ngx_str_t *parameter, size_t prefix, off_t least, uint64_t *number,
    ngx_http_sluice_value_t **value);
static void ngx_http_sluice_limit_warn_body(ngx_conf_t *cf, ngx_str_t *text);
static uint64_t ngx_http_sluice_limit_rounded(ngx_http_sluice_limit_t *limit,
    uint64_t scale);


static const char  *ngx_http_sluice_limit_units[NGX_HTTP_SLUICE_UNITS] = {
    "requests",
    "tokens",
    "bytes"
};


/* not known when a request is admitted */

static const char  *ngx_http_sluice_limit_unknown[] = {
    "sluice_key*",
    "sluice_limit_zone",
    "sluice_limit_status",
    "sluice_proxy_*",
    "sluice_tries",
    "upstream_*",
    "sent_http_*",
    "sent_trailer_*",
    "status",
    "bytes_sent",
    "body_bytes_sent",
    "request_completion",
    NULL
};


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


/*
 * sluice_limit_zone $key zone=name:size window=1m
 *                   [unit=requests|tokens|bytes] [scale=1];
 */

char *
ngx_http_sluice_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ssize_t                            size;
    ngx_int_t                          window, scale, unit;
    ngx_str_t                         *value, name, s;
    ngx_uint_t                         i;
    ngx_http_sluice_zone_t            *zone;

    value = cf->args->elts;

    size = 0;
    window = 0;
    scale = 1;
    unit = NGX_HTTP_SLUICE_UNIT_REQUESTS;
    ngx_str_null(&name);

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0) {

            if (ngx_http_sluice_zone_size(cf, &value[i], &name, &size)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            if (sluice_limit_buckets((uint64_t) size) == 0) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "zone \"%V\" is too %s: it must have "
                                   "4k to 32768m", &value[i],
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

        if (ngx_strncmp(value[i].data, "unit=", 5) == 0) {

            for (unit = 0; unit < NGX_HTTP_SLUICE_UNITS; unit++) {
                if (ngx_strcmp(value[i].data + 5,
                               ngx_http_sluice_limit_units[unit])
                    == 0)
                {
                    break;
                }
            }

            if (unit == NGX_HTTP_SLUICE_UNITS) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": it must be \"requests\", "
                                   "\"tokens\" or \"bytes\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "scale=", 6) == 0) {

            scale = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (scale < 1 || scale > (ngx_int_t) SLUICE_LIMIT_SCALE_MAX) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": it must be 1 to %ui",
                                   &value[i],
                                   (ngx_uint_t) SLUICE_LIMIT_SCALE_MAX);
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

    /* RateLimit tells a client of both kinds */

    if (ngx_http_sluice_define_apart(cf, &smcf->conns, "conn zone",
                                     &zone->named, "zone")
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_zone_key_compile(cf, &value[1], &name, &zone->key)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    zone->conf.size = size;
    zone->conf.window = (uint32_t) window;
    zone->conf.scale = (uint32_t) scale;
    zone->conf.unit = (uint32_t) unit;

    return NGX_CONF_OK;
}


/* zone=name:size */

ngx_int_t
ngx_http_sluice_zone_size(ngx_conf_t *cf, ngx_str_t *parameter,
    ngx_str_t *name, ssize_t *size)
{
    u_char     *p;
    ngx_str_t   s;

    *size = NGX_ERROR;

    name->data = parameter->data + 5;
    p = (u_char *) ngx_strchr(name->data, ':');

    if (p != NULL) {
        name->len = p - name->data;

        s.data = p + 1;
        s.len = parameter->data + parameter->len - s.data;

        *size = ngx_parse_size(&s);
    }

    if (*size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", parameter);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_sluice_zone_key_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_str_t *zone, ngx_http_sluice_zone_key_conf_t *key)
{
    if (text->len == 0
        || ngx_http_sluice_mentions(text, ngx_http_sluice_limit_unknown)
           != NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" never matches: its key \"%V\" is "
                           "empty when a request is admitted",
                           zone, text);
        return NGX_ERROR;
    }

    ngx_http_sluice_limit_warn_body(cf, text);

    key->by_client = (ngx_strcmp(text->data, "$sluice_client") == 0
                      || ngx_strcmp(text->data, "${sluice_client}") == 0);

    return ngx_http_sluice_compile(cf, text, &key->value);
}


/*
 * sluice_limit zone=name limit=60|$variable [weight=1|$variable]
 *              [settle=$variable] [status=429] [dry_run];
 * sluice_limit off;
 */

char *
ngx_http_sluice_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    char                     *rv;
    ngx_int_t                 rc;
    ngx_str_t                *value;
    ngx_uint_t                i, dry_run;
    ngx_http_sluice_limit_t   new;

    value = cf->args->elts;

    rv = ngx_http_sluice_limit_off(cf, &slcf->limits);

    if (rv != NGX_CONF_OK || slcf->limits == NULL) {
        return rv;
    }

    ngx_memzero(&new, sizeof(ngx_http_sluice_limit_t));

    new.weight = 1;
    new.status = NGX_HTTP_TOO_MANY_REQUESTS;
    dry_run = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        rc = ngx_http_sluice_limit_own(cf, &new, &value[i]);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_sluice_limit_parameter(cf, &value[i], &new.max,
                                                 &new.max_value, &new.status,
                                                 &dry_run);
        }

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    new.dry_run = dry_run;

    if (ngx_http_sluice_limit_whole(cf, cmd, new.zone != NULL,
                                    new.max != 0 || new.max_value != NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (new.max_value == NULL && new.weight_value == NULL
        && new.weight > new.max)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "limit \"%V\" lets nothing through: a request "
                           "weighs more than it allows",
                           &new.zone->named.name);
        return NGX_CONF_ERROR;
    }

    return ngx_http_sluice_limit_push(cf, &slcf->limits, &new,
                                      sizeof(ngx_http_sluice_limit_t));
}


/* what all kinds of limits begin with: none of them may be wanted here */

char *
ngx_http_sluice_limit_off(ngx_conf_t *cf, ngx_array_t **limits)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (*limits == NULL) {
        return "is off already";
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {

        if (*limits != NGX_CONF_UNSET_PTR) {
            return "is set already";
        }

        *limits = NULL;
    }

    return NGX_CONF_OK;
}


/* what they must have */

ngx_int_t
ngx_http_sluice_limit_whole(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_uint_t zone, ngx_uint_t limit)
{
    if (zone && limit) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" must have \"%s\" parameter", &cmd->name,
                       zone ? "limit" : "zone");

    return NGX_ERROR;
}


/* and where they end: one of a location's limits begins with its zone */

char *
ngx_http_sluice_limit_push(ngx_conf_t *cf, ngx_array_t **limits, void *new,
    size_t size)
{
    u_char      *elt;
    ngx_uint_t   i;

    if (*limits == NGX_CONF_UNSET_PTR) {
        *limits = ngx_array_create(cf->pool, 2, size);
        if (*limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    elt = (*limits)->elts;

    for (i = 0; i < (*limits)->nelts; i++, elt += size) {
        if (*(void **) elt == *(void **) new) {
            return "is duplicate";
        }
    }

    if ((*limits)->nelts == NGX_HTTP_SLUICE_LIMITS_MAX) {
        return "has too many limits on one location";
    }

    elt = ngx_array_push(*limits);
    if (elt == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(elt, new, size);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sluice_limit_own(ngx_conf_t *cf, ngx_http_sluice_limit_t *limit,
    ngx_str_t *parameter)
{
    u_char                       *p;
    ngx_str_t                     name;
    ngx_http_sluice_main_conf_t  *smcf;

    p = parameter->data;

    if (ngx_strncmp(p, "zone=", 5) == 0) {

        smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

        name.len = parameter->len - 5;
        name.data = p + 5;

        limit->zone = ngx_http_sluice_zone(cf, smcf, &name);

        return limit->zone != NULL ? NGX_OK : NGX_ERROR;
    }

    if (ngx_strncmp(p, "weight=", 7) == 0) {
        return ngx_http_sluice_limit_number(cf, parameter, 7, 0,
                                            &limit->weight,
                                            &limit->weight_value);
    }

    if (ngx_strncmp(p, "settle=", 7) == 0) {

        if (ngx_strchr(p, '$') == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": it must have a variable",
                               parameter);
            return NGX_ERROR;
        }

        return ngx_http_sluice_limit_number(cf, parameter, 7, 0, NULL,
                                            &limit->settle);
    }

    return NGX_DECLINED;
}


/*
 * Those that all kinds of limits have.  NGX_DECLINED: it is none of them;
 * NGX_ERROR: it is, and was complained of.
 */

ngx_int_t
ngx_http_sluice_limit_parameter(ngx_conf_t *cf, ngx_str_t *parameter,
    uint64_t *max, ngx_http_sluice_value_t **max_value, ngx_uint_t *status,
    ngx_uint_t *dry_run)
{
    u_char     *p;
    ngx_int_t   n;

    p = parameter->data;

    if (ngx_strncmp(p, "limit=", 6) == 0) {
        return ngx_http_sluice_limit_number(cf, parameter, 6, 1, max,
                                            max_value);
    }

    if (ngx_strncmp(p, "status=", 7) == 0) {

        n = ngx_atoi(p + 7, parameter->len - 7);

        if (n < 400 || n > 599) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": it must be 400 to 599",
                               parameter);
            return NGX_ERROR;
        }

        *status = n;

        return NGX_OK;
    }

    if (ngx_strcmp(p, "dry_run") == 0) {
        *dry_run = 1;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


/*
 * A number, or a value to be had from each request: when it is admitted, or
 * when it ends, if number is NULL.
 */

static ngx_int_t
ngx_http_sluice_limit_number(ngx_conf_t *cf, ngx_str_t *parameter,
    size_t prefix, off_t least, uint64_t *number,
    ngx_http_sluice_value_t **value)
{
    off_t        n;
    ngx_str_t    text;
    const char  *unknown;

    text.len = parameter->len - prefix;
    text.data = parameter->data + prefix;

    if (ngx_strlchr(text.data, text.data + text.len, '$') == NULL) {

        n = ngx_atoof(text.data, text.len);

        if (n == NGX_ERROR || n < least) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": it must be a number from %O, "
                               "or a variable", parameter, least);
            return NGX_ERROR;
        }

        *number = (uint64_t) n;

        return NGX_OK;
    }

    unknown = (number == NULL)
              ? NULL
              : ngx_http_sluice_mentions(&text, ngx_http_sluice_limit_unknown);

    if (unknown != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": \"$%s\" is not known when a "
                           "request is admitted", parameter, unknown);
        return NGX_ERROR;
    }

    if (number != NULL) {
        ngx_http_sluice_limit_warn_body(cf, &text);
    }

    *value = ngx_palloc(cf->pool, sizeof(ngx_http_sluice_value_t));
    if (*value == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_sluice_compile(cf, &text, *value);
}


/* it is read later, unless another module has asked for it: who knows */

static void
ngx_http_sluice_limit_warn_body(ngx_conf_t *cf, ngx_str_t *text)
{
    static const char  *body[] = { "request_body", "request_body_file", NULL };

    const char  *mentioned;

    mentioned = ngx_http_sluice_mentions(text, body);

    if (mentioned != NULL) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"$%s\" in \"%V\" is empty when a request is "
                           "admitted, unless another module has read the body",
                           mentioned, text);
    }
}


void
ngx_http_sluice_no_client(ngx_conf_t *cf, ngx_http_sluice_named_t *zone,
    ngx_str_t *location)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "limit \"%V\" in location \"%V\" never matches: it counts "
                  "by $sluice_client, and there is no \"sluice_client\"",
                  &zone->name, location);
}


/*
 * What is wrong with the limits of a location is known when all zones are,
 * and what the location inherits.
 */

ngx_int_t
ngx_http_sluice_limit_check(ngx_conf_t *cf, ngx_http_sluice_loc_conf_t *slcf,
    ngx_str_t *location)
{
    u_char                    then[NGX_INT64_LEN
                                   + sizeof(", by which each request is "
                                            "charged ")];
    uint64_t                  units, scale, charged;
    ngx_uint_t                i;
    ngx_http_sluice_zone_t   *zone;
    ngx_http_sluice_limit_t  *limit;

    if (slcf->limits == NULL) {
        return NGX_OK;
    }

    limit = slcf->limits->elts;

    for (i = 0; i < slcf->limits->nelts; i++) {
        zone = limit[i].zone;

        if (limit[i].max_value == NULL
            && (zone->least == 0 || limit[i].max < zone->least))
        {
            zone->least = limit[i].max;
        }

        /* it would let everybody through */

        if (zone->key.by_client && slcf->client == NULL) {
            ngx_http_sluice_no_client(cf, &zone->named, location);
            return NGX_ERROR;
        }

        if (limit[i].max / SLUICE_LIMIT_SCALE_MAX > SLUICE_LIMIT_UNITS_MAX) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "limit %uL in location \"%V\" is more than any "
                          "zone can count: %uL is the most",
                          limit[i].max, location,
                          (uint64_t) SLUICE_LIMIT_UNITS_MAX
                          * SLUICE_LIMIT_SCALE_MAX);
            return NGX_ERROR;
        }

        if (limit[i].max / zone->conf.scale > SLUICE_LIMIT_UNITS_MAX) {

            scale = limit[i].max / (SLUICE_LIMIT_UNITS_MAX + 1) + 1;
            charged = ngx_http_sluice_limit_rounded(&limit[i], scale);
            *then = '\0';

            if (charged != 0) {
                ngx_sprintf(then, ", by which each request is charged %uL%Z",
                            charged);
            }

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "limit %uL in location \"%V\" is more than zone "
                          "\"%V\" can count: it needs scale=%uL%s",
                          limit[i].max, location, &zone->named.name, scale,
                          then);
            return NGX_ERROR;
        }

        if (limit[i].max_value == NULL && limit[i].max < zone->conf.scale) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "limit %uL in location \"%V\" lets nothing "
                          "through: zone \"%V\" counts in units of %uD",
                          limit[i].max, location, &zone->named.name,
                          zone->conf.scale);
            return NGX_ERROR;
        }

        /* a weight is rounded up to whole units, a limit down */

        units = limit[i].weight / zone->conf.scale
                + (limit[i].weight % zone->conf.scale != 0);

        if (limit[i].max_value == NULL && limit[i].weight_value == NULL
            && units > limit[i].max / zone->conf.scale)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "limit %uL in location \"%V\" lets nothing "
                          "through: a request weighs %uL units of zone "
                          "\"%V\", %uD each",
                          limit[i].max, location, units,
                          &zone->named.name, zone->conf.scale);
            return NGX_ERROR;
        }

        charged = ngx_http_sluice_limit_rounded(&limit[i], zone->conf.scale);

        if (limit[i].max_value == NULL && charged != 0 && !limit[i].warned) {

            /* once, not in each location that inherits it */

            limit[i].warned = 1;

            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "in location \"%V\" zone \"%V\" has scale=%uD: "
                          "each request is charged %uL and not %uL, at most "
                          "%uL of limit=%uL pass",
                          location, &zone->named.name, zone->conf.scale,
                          charged, limit[i].weight,
                          limit[i].max / zone->conf.scale / units,
                          limit[i].max);
        }
    }

    return NGX_OK;
}


/*
 * What a request is charged by that scale, where it is more than it weighs; 0:
 * it is not, or nobody knows.  Tokens are estimates, and many.
 */

static uint64_t
ngx_http_sluice_limit_rounded(ngx_http_sluice_limit_t *limit, uint64_t scale)
{
    if (limit->zone->conf.unit != NGX_HTTP_SLUICE_UNIT_REQUESTS
        || limit->weight_value != NULL || limit->weight % scale == 0)
    {
        return 0;
    }

    return (limit->weight / scale + 1) * scale;
}
