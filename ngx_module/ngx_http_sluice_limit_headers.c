
/*
 * What a client reads of its limits: RateLimit-Policy and RateLimit of
 * draft-ietf-httpapi-ratelimit-headers-10, and the headers that the clients
 * of a dialect know: x-ratelimit-* of OpenAI, anthropic-ratelimit-*.
 *
 * They are true of the moment of the answer, before the request is settled.
 * The reset of RateLimit is when there is more than what remains, that of a
 * dialect when all of it is there.  Headers of these families from the upstream
 * go, those that we have no value for as well: they tell of the gateway's key,
 * not of the client.
 */

#include "ngx_http_sluice.h"


#define NGX_HTTP_SLUICE_QUOTAS_MAX  32      /* 16 of each kind                */

/* the largest integer of a structured field, RFC 9651: 15 digits */
#define NGX_HTTP_SLUICE_FIELD_MAX   999999999999999


#define NGX_HTTP_SLUICE_UNIT_AT_A_TIME  NGX_HTTP_SLUICE_UNITS


/* a zone, as the client is to see it */
typedef struct {
    ngx_http_sluice_named_t  *zone;
    ngx_uint_t                unit;
    uint32_t                  window;       /* ms, 0: it has none            */
    uint64_t                  limit;        /* amounts                       */
    uint64_t                  remaining;
    uint64_t                  more;         /* ms until more remains;        */
                                            /* UINT64_MAX: nobody knows, or  */
                                            /* never                         */
    uint64_t                  reset;        /* ms until all of it remains    */
} ngx_http_sluice_quota_t;


static ngx_int_t ngx_http_sluice_limit_header_filter(ngx_http_request_t *r);
static ngx_uint_t ngx_http_sluice_quotas(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_quota_t *quotas);
static void ngx_http_sluice_quota_window(ngx_http_sluice_charge_t *c,
    uint64_t now, ngx_http_sluice_quota_t *quotas, ngx_uint_t *n);
static void ngx_http_sluice_quota_places(ngx_http_sluice_place_t *place,
    ngx_http_sluice_quota_t *quotas, ngx_uint_t *n);
static ngx_http_sluice_quota_t *ngx_http_sluice_quota(
    ngx_http_sluice_quota_t *quotas, ngx_uint_t *n,
    ngx_http_sluice_named_t *zone, uint64_t limit, uint64_t remaining,
    uint64_t more);
static ngx_http_sluice_quota_t *ngx_http_sluice_quota_least(
    ngx_http_sluice_quota_t *quotas, ngx_uint_t n, ngx_uint_t unit);
static ngx_int_t ngx_http_sluice_ratelimit(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx, ngx_http_sluice_quota_t *quotas, ngx_uint_t n);
static ngx_int_t ngx_http_sluice_dialect(ngx_http_request_t *r,
    ngx_uint_t format, ngx_http_sluice_quota_t *quota);
static u_char *ngx_http_sluice_duration(u_char *p, uint64_t ms);
static void ngx_http_sluice_clear_families(ngx_http_request_t *r);
static void ngx_http_sluice_clear(ngx_http_request_t *r, ngx_str_t *name,
    ngx_uint_t longer);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* by NGX_HTTP_SLUICE_UNIT_...; requests are the draft's own default */

static const char  *ngx_http_sluice_quota_units[NGX_HTTP_SLUICE_UNITS + 1] = {
    "",
    ";qu=\"tokens\"",
    ";qu=\"content-bytes\"",
    ";qu=\"concurrent-requests\""
};


static ngx_str_t  ngx_http_sluice_policy_name = ngx_string("RateLimit-Policy");
static ngx_str_t  ngx_http_sluice_ratelimit_name = ngx_string("RateLimit");


static ngx_str_t  ngx_http_sluice_families[] = {
    ngx_string("ratelimit"),
    ngx_string("x-ratelimit-"),
    ngx_string("anthropic-ratelimit-"),
    ngx_null_string
};


/* limit, remaining, reset: by NGX_HTTP_SLUICE_UNIT_..., no bytes */

static ngx_str_t  ngx_http_sluice_openai_names[2][3] = {
    { ngx_string("x-ratelimit-limit-requests"),
      ngx_string("x-ratelimit-remaining-requests"),
      ngx_string("x-ratelimit-reset-requests") },

    { ngx_string("x-ratelimit-limit-tokens"),
      ngx_string("x-ratelimit-remaining-tokens"),
      ngx_string("x-ratelimit-reset-tokens") }
};

static ngx_str_t  ngx_http_sluice_anthropic_names[2][3] = {
    { ngx_string("anthropic-ratelimit-requests-limit"),
      ngx_string("anthropic-ratelimit-requests-remaining"),
      ngx_string("anthropic-ratelimit-requests-reset") },

    { ngx_string("anthropic-ratelimit-tokens-limit"),
      ngx_string("anthropic-ratelimit-tokens-remaining"),
      ngx_string("anthropic-ratelimit-tokens-reset") }
};


void
ngx_http_sluice_limit_headers_init(ngx_http_sluice_main_conf_t *smcf)
{
    /* see ngx_http_sluice_usage_init(): once there, always there */
    static ngx_uint_t  installed;

    if (smcf->limit_headers) {
        installed = 1;
    }

    if (installed) {
        ngx_http_next_header_filter = ngx_http_top_header_filter;
        ngx_http_top_header_filter = ngx_http_sluice_limit_header_filter;
    }
}


/* a header that cannot be made is no reason not to answer */

static ngx_int_t
ngx_http_sluice_limit_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                   n, unit;
    ngx_http_sluice_ctx_t       *ctx;
    ngx_http_sluice_quota_t     *quota, quotas[NGX_HTTP_SLUICE_QUOTAS_MAX];
    ngx_http_sluice_loc_conf_t  *slcf;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL || ctx->told == NULL) {

        /* without limits the upstream's are the gateway's own all the same */

        slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

        if (slcf->limit_headers && r->upstream != NULL) {
            ngx_http_sluice_clear_families(r);
        }

        return ngx_http_next_header_filter(r);
    }

    n = ngx_http_sluice_quotas(ctx, quotas);

    /* also where we have nothing to tell */

    ngx_http_sluice_clear_families(r);

    if (n == 0 || ngx_http_sluice_ratelimit(r, ctx, quotas, n) != NGX_OK) {
        return ngx_http_next_header_filter(r);
    }

    for (unit = NGX_HTTP_SLUICE_UNIT_REQUESTS;
         unit <= NGX_HTTP_SLUICE_UNIT_TOKENS;
         unit++)
    {
        quota = ngx_http_sluice_quota_least(quotas, n, unit);

        if (quota != NULL
            && ngx_http_sluice_dialect(r, ctx->told->format, quota) != NGX_OK)
        {
            break;
        }
    }

    return ngx_http_next_header_filter(r);
}


static ngx_uint_t
ngx_http_sluice_quotas(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_quota_t *quotas)
{
    uint64_t    now;
    ngx_uint_t  i, n;

    n = 0;
    now = (ctx->ncharges != 0) ? sluice_clock_ms() : 0;

    for (i = 0; i < ctx->ncharges; i++) {
        ngx_http_sluice_quota_window(&ctx->charges[i], now, quotas, &n);
    }

    for (i = 0; i < ctx->nplaces; i++) {
        ngx_http_sluice_quota_places(&ctx->places[i], quotas, &n);
    }

    return n;
}


/* of two tables of a zone the one with less left is what the client meets */

static void
ngx_http_sluice_quota_window(ngx_http_sluice_charge_t *c, uint64_t now,
    ngx_http_sluice_quota_t *quotas, ngx_uint_t *n)
{
    uint32_t                  used, left;
    uint64_t                  limit, more, reset;
    sluice_limit_state_t      state;
    sluice_limit_result_t     result;
    ngx_http_sluice_quota_t  *quota;

    if (c->limit->dry_run) {
        return;
    }

    /* with what this request was charged, and others since */

    result = sluice_limit_peek(c->table, c->key, now, c->max, 0, &state);

    /* what is looked at, and has counted nothing, holds nobody up */

    if (c->look && result == SLUICE_LIMIT_PASSED) {
        return;
    }

    used = sluice_limit_used(c->table->window, &state);
    left = (used < c->max) ? c->max - used : 0;
    reset = sluice_limit_reset(c->table->window, &state);

    /* what is looked at has no more before nothing of it counts */

    more = sluice_limit_retry(c->table, &state, c->max,
                              c->look ? 0 : left + 1);

    /* what is less than a former table's unit is not its to tell */

    limit = c->look ? UINT64_MAX : (uint64_t) c->max * c->table->scale;

    quota = ngx_http_sluice_quota(quotas, n, &c->limit->zone->named, limit,
                                  (uint64_t) left * c->table->scale, more);
    if (quota == NULL) {
        return;
    }

    quota->unit = c->limit->zone->conf.unit;
    quota->window = c->table->window;
    quota->reset = ngx_max(quota->reset, reset);
}


static void
ngx_http_sluice_quota_places(ngx_http_sluice_place_t *place,
    ngx_http_sluice_quota_t *quotas, ngx_uint_t *n)
{
    uint32_t                  used;
    ngx_http_sluice_quota_t  *quota;

    if (place->conn->dry_run) {
        return;
    }

    /* while it is ours the row is no other key's */

    if (place->held) {
        used = sluice_conn_in_flight(&place->table->rows[place->hold.row]);
        place->left = (used < place->max) ? place->max - used : 0;
    }

    quota = ngx_http_sluice_quota(quotas, n, &place->conn->zone->named,
                                  place->max, place->left, UINT64_MAX);
    if (quota == NULL) {
        return;
    }

    quota->unit = NGX_HTTP_SLUICE_UNIT_AT_A_TIME;
}


/*
 * The zone's own, with its limit and what remains of it lowered to those.
 * More remains when there is more in the table that has less, or in both.
 */

static ngx_http_sluice_quota_t *
ngx_http_sluice_quota(ngx_http_sluice_quota_t *quotas, ngx_uint_t *n,
    ngx_http_sluice_named_t *zone, uint64_t limit, uint64_t remaining,
    uint64_t more)
{
    ngx_uint_t                i;
    ngx_http_sluice_quota_t  *quota;

    for (i = 0; i < *n && quotas[i].zone != zone; i++) { /* void */ }

    quota = &quotas[i];

    if (i < *n) {
        quota->limit = ngx_min(quota->limit, limit);

        if (remaining < quota->remaining) {
            quota->remaining = remaining;
            quota->more = more;

        } else if (remaining == quota->remaining) {
            quota->more = ngx_max(quota->more, more);
        }

        return quota;
    }

    if (*n == NGX_HTTP_SLUICE_QUOTAS_MAX) {
        return NULL;
    }

    (*n)++;

    ngx_memzero(quota, sizeof(ngx_http_sluice_quota_t));
    quota->zone = zone;
    quota->limit = limit;
    quota->remaining = remaining;
    quota->more = more;

    return quota;
}


static ngx_http_sluice_quota_t *
ngx_http_sluice_quota_least(ngx_http_sluice_quota_t *quotas, ngx_uint_t n,
    ngx_uint_t unit)
{
    ngx_uint_t                i;
    ngx_http_sluice_quota_t  *least;

    least = NULL;

    for (i = 0; i < n; i++) {
        if (quotas[i].unit == unit
            && (least == NULL || quotas[i].remaining < least->remaining))
        {
            least = &quotas[i];
        }
    }

    return least;
}


static ngx_int_t
ngx_http_sluice_ratelimit(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_quota_t *quotas, ngx_uint_t n)
{
    size_t                    len;
    u_char                   *p, *policy, *limit;
    uint64_t                  more;
    ngx_uint_t                i;
    ngx_http_sluice_quota_t  *q;

    len = n * (sizeof(", \"\";q=;w=;qu=\"concurrent-requests\"")
               + SLUICE_NAME_MAX + 2 * NGX_INT64_LEN);

    policy = ngx_pnalloc(r->pool, 2 * len);
    if (policy == NULL) {
        return NGX_ERROR;
    }

    p = policy;

    for (i = 0; i < n; i++) {
        q = &quotas[i];

        p = ngx_sprintf(p, "%s\"%V\";q=%uL", i ? ", " : "", &q->zone->name,
                        ngx_min(q->limit, NGX_HTTP_SLUICE_FIELD_MAX));

        if (q->window != 0) {
            p = ngx_sprintf(p, ";w=%uD", (q->window + 999) / 1000);
        }

        p = ngx_sprintf(p, "%s", ngx_http_sluice_quota_units[q->unit]);
    }

    if (ngx_http_sluice_set_header(r, &ngx_http_sluice_policy_name, policy, p)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    limit = p;

    for (i = 0; i < n; i++) {
        q = &quotas[i];

        p = ngx_sprintf(p, "%s\"%V\";r=%uL", i ? ", " : "", &q->zone->name,
                        ngx_min(q->remaining, NGX_HTTP_SLUICE_FIELD_MAX));

        /* who may come back sooner is not to wait for more of another limit */

        more = q->more / 1000 + (q->more % 1000 != 0);

        if (q->more != UINT64_MAX
            && (ctx->retry_told == 0 || more <= ctx->retry_told))
        {
            p = ngx_sprintf(p, ";t=%uL", more);
        }
    }

    return ngx_http_sluice_set_header(r, &ngx_http_sluice_ratelimit_name,
                                      limit, p);
}


static ngx_int_t
ngx_http_sluice_dialect(ngx_http_request_t *r, ngx_uint_t format,
    ngx_http_sluice_quota_t *quota)
{
    u_char      *p, *limit, *remaining, *reset;
    ngx_tm_t     tm;
    ngx_str_t   *names;
    ngx_time_t  *tp;

    if (format == NGX_HTTP_SLUICE_FORMAT_PROBLEM) {
        return NGX_OK;
    }

    names = (format == NGX_HTTP_SLUICE_FORMAT_OPENAI)
            ? ngx_http_sluice_openai_names[quota->unit]
            : ngx_http_sluice_anthropic_names[quota->unit];

    limit = ngx_pnalloc(r->pool, 2 * NGX_INT64_LEN
                                 + sizeof("2147483647h59m59.999s"));
    if (limit == NULL) {
        return NGX_ERROR;
    }

    remaining = ngx_sprintf(limit, "%uL", quota->limit);
    reset = ngx_sprintf(remaining, "%uL", quota->remaining);

    if (format == NGX_HTTP_SLUICE_FORMAT_OPENAI) {
        p = ngx_http_sluice_duration(reset, quota->reset);

    } else {
        tp = ngx_timeofday();

        ngx_gmtime(tp->sec + (tp->msec + quota->reset + 999) / 1000, &tm);

        p = ngx_sprintf(reset, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                        tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                        tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
    }

    if (ngx_http_sluice_set_header(r, &names[0], limit, remaining) != NGX_OK
        || ngx_http_sluice_set_header(r, &names[1], remaining, reset)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_sluice_set_header(r, &names[2], reset, p);
}


/* as Go writes durations, and OpenAI with it: 12ms, 1.5s, 6m0s, 1h0m0s */

static u_char *
ngx_http_sluice_duration(u_char *p, uint64_t ms)
{
    uint64_t  s;

    if (ms < 1000) {
        return ngx_sprintf(p, ms ? "%uLms" : "%uLs", ms);
    }

    s = ms / 1000;
    ms %= 1000;

    if (s >= 3600) {
        p = ngx_sprintf(p, "%uLh", s / 3600);
    }

    if (s >= 60) {
        p = ngx_sprintf(p, "%uLm", s / 60 % 60);
    }

    p = ngx_sprintf(p, "%uL", s % 60);

    if (ms != 0) {
        p = ngx_sprintf(p, ".%03uL", ms);

        while (p[-1] == '0') {
            p--;
        }
    }

    *p++ = 's';

    return p;
}


/* in place of any header of that name; value is kept, not copied */

ngx_int_t
ngx_http_sluice_set_header(ngx_http_request_t *r, ngx_str_t *name,
    u_char *value, u_char *last)
{
    ngx_table_elt_t  *h;

    ngx_http_sluice_clear_header(r, name);

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key = *name;
    h->value.data = value;
    h->value.len = last - value;

    return NGX_OK;
}


void
ngx_http_sluice_clear_header(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_http_sluice_clear(r, name, 0);
}


static void
ngx_http_sluice_clear_families(ngx_http_request_t *r)
{
    ngx_str_t  *prefix;

    for (prefix = ngx_http_sluice_families; prefix->len != 0; prefix++) {
        ngx_http_sluice_clear(r, prefix, 1);
    }
}


static void
ngx_http_sluice_clear(ngx_http_request_t *r, ngx_str_t *name,
    ngx_uint_t longer)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_out.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if ((longer ? h[i].key.len >= name->len
                        : h[i].key.len == name->len)
                && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
            {
                h[i].hash = 0;
            }
        }
    }
}
