
/*
 * The usage record: begun at admission in an open entry of the lane, added
 * to as things are known, pushed in the log phase.  What is in the entry is
 * what a killed worker leaves.
 */

#include "ngx_http_sluice.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>


/* request ids that are made at a time */
#define NGX_HTTP_SLUICE_IDS  64


static ngx_int_t ngx_http_sluice_usage_begin(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    sluice_record_t *record);
static ngx_int_t ngx_http_sluice_usage_fields(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, sluice_record_t *record,
    ngx_uint_t late);
static void ngx_http_sluice_usage_late(ngx_http_request_t *r);
static void ngx_http_sluice_usage_end(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    sluice_record_t *record);
static void ngx_http_sluice_usage_tries(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx, sluice_record_t *record);
static uint64_t ngx_http_sluice_usage_since(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_request_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static u_char *ngx_http_sluice_request_id(void);
static void ngx_http_sluice_request_id_hex(u_char *text, u_char *id);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* a worker's own: what was made before fork() would be everybody's */
static EVP_CIPHER_CTX  *ngx_http_sluice_ids_cipher;
static ngx_uint_t       ngx_http_sluice_ids_left;
static u_char           ngx_http_sluice_ids[NGX_HTTP_SLUICE_IDS]
                                           [NGX_HTTP_SLUICE_ID_LEN];


static ngx_http_variable_t  ngx_http_sluice_usage_vars[] = {

    { ngx_string("sluice_request_id"), NULL,
      ngx_http_sluice_request_id_variable, 0, 0, 0 },

    { ngx_string("sluice_record"), NULL, ngx_http_sluice_record_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_sluice_usage_variables(ngx_conf_t *cf)
{
    return ngx_http_sluice_add_vars(cf, ngx_http_sluice_usage_vars);
}


void
ngx_http_sluice_usage_start(ngx_log_t *log)
{
    struct {
        u_char  key[16];
        u_char  iv[16];
    } seed;

    sluice_random(&seed, sizeof(seed));

    if (ngx_http_sluice_ids_cipher == NULL) {
        ngx_http_sluice_ids_cipher = EVP_CIPHER_CTX_new();
    }

    if (ngx_http_sluice_ids_cipher == NULL
        || EVP_EncryptInit_ex(ngx_http_sluice_ids_cipher, EVP_aes_128_ctr(),
                              NULL, seed.key, seed.iv)
           != 1)
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "sluice: there will be no request ids, and no request "
                      "that is recorded with one");
    }

    ngx_http_sluice_ids_left = 0;

    OPENSSL_cleanse(&seed, sizeof(seed));
}


ngx_int_t
ngx_http_sluice_usage_init(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf)
{
    /*
     * The chain of filters belongs to the process: a reload that fails after
     * this leaves the chain of the configuration that failed.  So once there,
     * always there, or records of the old one would lack what it sees.
     */
    static ngx_uint_t  installed;

    ngx_str_t                   name;
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    if (smcf->usage) {

        /* the id that the operator's logs have, if they have one */

        ngx_str_set(&name, "sluice_request_id");

        cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
        v = cmcf->variables.elts;

        for (i = 0; i < cmcf->variables.nelts; i++) {
            if (v[i].name.len == sizeof("request_id") - 1
                && ngx_strncmp(v[i].name.data, "request_id",
                               sizeof("request_id") - 1)
                   == 0)
            {
                name = v[i].name;
                break;
            }
        }

        smcf->request_id = ngx_http_get_variable_index(cf, &name);
        if (smcf->request_id == NGX_ERROR) {
            return NGX_ERROR;
        }

        installed = 1;
    }

    if (smcf->pools.nelts) {
        installed = 1;
    }

    if (installed) {
        ngx_http_next_header_filter = ngx_http_top_header_filter;
        ngx_http_top_header_filter = ngx_http_sluice_header_filter;
    }

    return NGX_OK;
}


/*
 * Takes an entry and begins the record.  NGX_BUSY: there is no room, and
 * the request must be refused; with on_full=drop it goes on without one.
 */

ngx_int_t
ngx_http_sluice_usage_open(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t now)
{
    sluice_entry_t               *entry;
    ngx_http_sluice_main_conf_t  *smcf;

    entry = (ngx_http_sluice_process.lane != NULL)
            ? sluice_lane_admit(ngx_http_sluice_process.lane,
                                now + ngx_http_sluice_process.wall)
            : NULL;

    if (entry == NULL) {
        smcf = ngx_http_get_module_main_conf(r, ngx_http_sluice_module);

        if (smcf->on_full == NGX_HTTP_SLUICE_FULL_DROP) {
            ngx_http_sluice_count(DROPPED);
            return NGX_OK;
        }

        return NGX_BUSY;
    }

    if (ngx_http_sluice_usage_begin(r, slcf, ctx, &entry->record) != NGX_OK) {
        sluice_lane_cancel(ngx_http_sluice_process.lane, entry);
        return NGX_ERROR;
    }

    ctx->entry = entry;

    sluice_lane_open(entry);

    return NGX_OK;
}


void
ngx_http_sluice_usage_cancel(ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->entry != NULL && ngx_http_sluice_process.lane != NULL) {
        sluice_lane_cancel(ngx_http_sluice_process.lane, ctx->entry);
        ctx->entry = NULL;
    }
}


void
ngx_http_sluice_usage_push(ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->entry == NULL || ngx_http_sluice_process.lane == NULL) {
        return;
    }

    ngx_http_sluice_count(RECORDED);

    if (ctx->entry->record.flags & SLUICE_RECORD_CUT) {
        ngx_http_sluice_count(TRUNCATED);
    }

    sluice_lane_push(ngx_http_sluice_process.lane, ctx->entry);
    ctx->entry = NULL;
}


/* what is known when a request is admitted */

static ngx_int_t
ngx_http_sluice_usage_begin(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    sluice_record_t *record)
{
    u_char                       *args;
    size_t                        len;
    ngx_http_variable_value_t    *vv;
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sluice_module);

    vv = ngx_http_get_indexed_variable(r, smcf->request_id);

    if (vv == NULL
        || ngx_http_sluice_client_get(r, slcf, &ctx->client) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!vv->not_found) {
        (void) sluice_record_add(record, SLUICE_ITEM_REQUEST_ID, vv->data,
                                 vv->len);
    }

    if (ctx->client.known) {
        (void) sluice_record_add(record, SLUICE_ITEM_CLIENT, ctx->client.text,
                                 NGX_HTTP_SLUICE_CLIENT_LEN);
    }

    if (r->method_name.len != 0) {
        (void) sluice_record_add(record, SLUICE_ITEM_METHOD,
                                 r->method_name.data, r->method_name.len);
    }

    if (r->headers_in.server.len != 0) {
        (void) sluice_record_add(record, SLUICE_ITEM_HOST,
                                 r->headers_in.server.data,
                                 r->headers_in.server.len);
    }

    if (r->unparsed_uri.len != 0) {
        len = r->unparsed_uri.len;
        args = memchr(r->unparsed_uri.data, '?', len);

        if (args != NULL) {
            len = args - r->unparsed_uri.data;
        }

        (void) sluice_record_add(record, SLUICE_ITEM_URI,
                                 r->unparsed_uri.data, len);
    }

    record->bytes_in = r->request_length;

    return ngx_http_sluice_usage_fields(r, slcf, record, 0);
}


static ngx_int_t
ngx_http_sluice_usage_fields(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, sluice_record_t *record,
    ngx_uint_t late)
{
    ngx_str_t                 value;
    ngx_uint_t                i;
    ngx_http_sluice_field_t  *field;

    if (slcf->fields == NULL) {
        return NGX_OK;
    }

    field = slcf->fields->elts;

    for (i = 0; i < slcf->fields->nelts; i++) {

        if (field[i].late != late) {
            continue;
        }

        if (ngx_http_sluice_value(r, &field[i].value, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (value.len != 0) {
            (void) sluice_record_add_field(record, field[i].name.data,
                                           field[i].name.len, value.data,
                                           value.len);
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_sluice_log_handler(ngx_http_request_t *r)
{
    ngx_http_sluice_ctx_t  *ctx;

    if (r != r->main) {
        return NGX_OK;
    }

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL || ctx->outcome == SLUICE_OUTCOME_OPEN) {
        ngx_http_sluice_usage_late(r);
        return NGX_OK;
    }

    if (ctx->ncharges != 0) {
        ngx_http_sluice_limit_settle(r, ctx);
    }

    if (ctx->charged) {
        ngx_http_sluice_key_settle(r, ctx);
    }

    if (ctx->entry != NULL) {
        ngx_http_sluice_usage_end(r, ctx->conf, ctx, &ctx->entry->record);
        ngx_http_sluice_usage_push(ctx);
    }

    return NGX_OK;
}


/* a request that something else ended before it was admitted */

static void
ngx_http_sluice_usage_late(ngx_http_request_t *r)
{
    sluice_record_t             *record;
    ngx_http_sluice_ctx_t       *ctx, unadmitted;
    ngx_http_sluice_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    if (!slcf->usage) {
        return;
    }

    ctx = &unadmitted;
    ngx_memzero(ctx, sizeof(ngx_http_sluice_ctx_t));

    if (ngx_http_sluice_process.lane != NULL) {
        ctx->entry = sluice_lane_admit(ngx_http_sluice_process.lane,
                                       sluice_clock_us()
                                       + ngx_http_sluice_process.wall);
    }

    if (ctx->entry == NULL) {
        ngx_http_sluice_count(UNRECORDED);
        return;
    }

    record = &ctx->entry->record;
    record->flags |= SLUICE_RECORD_LATE;

    ctx->outcome = SLUICE_OUTCOME_UNADMITTED;

    (void) ngx_http_sluice_usage_begin(r, slcf, ctx, record);

    sluice_lane_open(ctx->entry);

    ngx_http_sluice_usage_end(r, slcf, ctx, record);
    ngx_http_sluice_usage_push(ctx);
}


static void
ngx_http_sluice_usage_end(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    sluice_record_t *record)
{
    record->outcome = ctx->outcome;
    record->status = r->err_status ? r->err_status : r->headers_out.status;
    record->request_time = ngx_http_sluice_usage_since(r);

    /* nginx counts a discarded chunked body anew */

    record->bytes_in = ngx_max(record->bytes_in,
                               (uint64_t) r->request_length);
    record->bytes_out = r->connection->sent;

    if (r->connection->error
        || record->status == NGX_HTTP_CLIENT_CLOSED_REQUEST)
    {
        record->flags |= SLUICE_RECORD_CLOSED;
    }

    if (ctx->refused_by != NULL) {
        (void) sluice_record_add(record, SLUICE_ITEM_ZONE,
                                 ctx->refused_by->name.data,
                                 ctx->refused_by->name.len);
    }

    ngx_http_sluice_usage_tries(r, ctx, record);

    (void) ngx_http_sluice_usage_fields(r, slcf, record, 1);
}


/*
 * Whether the cache has answered: nothing was made for this request, also if
 * the origin was asked whether it still holds (REVALIDATED), or could not be
 * (STALE); what an update in the background costs is of the update.
 */

ngx_uint_t
ngx_http_sluice_cached(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)

    ngx_uint_t                  i, n;
    ngx_http_upstream_state_t  *state;

    if (r->upstream == NULL) {
        return 0;
    }

    n = 0;
    state = NULL;

    if (r->upstream_states != NULL) {
        n = r->upstream_states->nelts;
        state = r->upstream_states->elts;
    }

    /* r->cached stays set when an upstream is asked after all: error_page */

    switch (r->upstream->cache_status) {

    case NGX_HTTP_CACHE_STALE:
    case NGX_HTTP_CACHE_REVALIDATED:

        /* its own tries, behind what stands between it and one before it */

        while (n > 0 && state[n - 1].peer != NULL) {
            n--;
        }

        /* fall through */

    case NGX_HTTP_CACHE_HIT:
    case NGX_HTTP_CACHE_UPDATING:

        /* one before it has answered, and sent us here: X-Accel-Redirect */

        for (i = 0; i < n; i++) {
            if (state[i].peer != NULL
                && state[i].status < NGX_HTTP_BAD_REQUEST)
            {
                return 0;
            }
        }

        return 1;
    }

#endif

    return 0;
}


/*
 * Whether the cache has an answer that has expired, and the operator thinks it
 * is better than an error.
 */

ngx_uint_t
ngx_http_sluice_stale(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)

    ngx_http_upstream_t  *u;

    u = r->upstream;

    return u->cache_status == NGX_HTTP_CACHE_EXPIRED
           && ((u->conf->cache_use_stale & NGX_HTTP_UPSTREAM_FT_ERROR)
               || r->cache->stale_error);

#else

    return 0;

#endif
}


/* the first ones, and always the last: its answer is what the client got */

static void
ngx_http_sluice_usage_tries(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    sluice_record_t *record)
{
    ngx_str_t                   key;
    ngx_uint_t                  i, k, n, all, kept;
    sluice_record_try_t         t;
    ngx_http_upstream_state_t  *state;

    if (r->upstream_states == NULL) {
        return;
    }

    ngx_memzero(&t, sizeof(sluice_record_try_t));

    state = r->upstream_states->elts;
    all = 0;

    /* without a peer it only stands between two upstreams */

    for (i = 0; i < r->upstream_states->nelts; i++) {
        all += (state[i].peer != NULL);
    }

    n = 0;
    k = 0;
    kept = 0;

    for (i = 0; i < r->upstream_states->nelts; i++) {

        if (state[i].peer == NULL) {
            continue;
        }

        if (++n >= SLUICE_RECORD_TRIES && n < all) {
            record->flags |= SLUICE_RECORD_CUT;
            continue;
        }

        /* nginx has -1 where there was no such moment: UNKNOWN_MS */

        t.connect_time = (uint32_t) state[i].connect_time;
        t.header_time = (uint32_t) state[i].header_time;
        t.response_time = (uint32_t) state[i].response_time;
        t.status = (uint16_t) state[i].status;
        t.bytes_received = state[i].bytes_received;
        t.bytes_sent = state[i].bytes_sent;

        /* both in the order of the tries; a try may have had no key of ours */

        while (k < ctx->ntries && ctx->tries[k].state < i) {
            k++;
        }

        ngx_str_null(&key);

        if (k < ctx->ntries && ctx->tries[k].state == i) {
            key = ctx->tries[k].key->id;
        }

        (void) sluice_record_add_try(record, &t, key.data, key.len,
                                     state[i].peer->data,
                                     state[i].peer->len);

        if (ctx->npassages != 0) {
            ngx_http_sluice_proxy_record(ctx, i, kept, record);
        }

        kept++;
    }

    record->tries = (uint8_t) ngx_min(all, 255);
}


/*
 * Microseconds since the first byte of the request.  nginx has its beginning
 * to the millisecond, so a clock of our own would add digits and no truth.
 */

static uint64_t
ngx_http_sluice_usage_since(ngx_http_request_t *r)
{
    int64_t      ms;
    ngx_time_t  *now;

    now = ngx_timeofday();

    ms = (int64_t) (now->sec - r->start_sec) * 1000
         + (int64_t) now->msec - (int64_t) r->start_msec;

    return (ms > 0) ? (uint64_t) ms * 1000 : 0;
}


static ngx_int_t
ngx_http_sluice_header_filter(ngx_http_request_t *r)
{
    sluice_record_t        *record;
    ngx_http_sluice_ctx_t  *ctx;

    if (r != r->main && !r->cached) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    /* nobody has been asked: its key is others' while it is being sent */

    if (r->cached) {
        ngx_http_sluice_key_give(ctx);
    }

    if (r == r->main && ctx->entry != NULL) {
        record = &ctx->entry->record;

        record->status = r->headers_out.status;
        record->first_byte = ngx_http_sluice_usage_since(r);
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_sluice_request_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char  *id;

    v->data = ngx_pnalloc(r->pool, 2 * NGX_HTTP_SLUICE_ID_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    id = ngx_http_sluice_request_id();
    if (id == NULL) {
        return NGX_ERROR;
    }

    ngx_http_sluice_request_id_hex(v->data, id);

    v->len = 2 * NGX_HTTP_SLUICE_ID_LEN;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/*
 * An id of 128 bits, of AES in counter mode under a key of the worker's own,
 * many at a time: 4 ns each.  nginx's $request_id is as good and takes each
 * from OpenSSL's generator, for 1300 ns.
 */

static u_char *
ngx_http_sluice_request_id(void)
{
    int  n;

    if (ngx_http_sluice_ids_left == 0) {
        ngx_memzero(ngx_http_sluice_ids, sizeof(ngx_http_sluice_ids));

        if (ngx_http_sluice_ids_cipher == NULL
            || EVP_EncryptUpdate(ngx_http_sluice_ids_cipher,
                                 ngx_http_sluice_ids[0], &n,
                                 ngx_http_sluice_ids[0],
                                 sizeof(ngx_http_sluice_ids))
               != 1)
        {
            return NULL;
        }

        ngx_http_sluice_ids_left = NGX_HTTP_SLUICE_IDS;
    }

    return ngx_http_sluice_ids[--ngx_http_sluice_ids_left];
}


/*
 * ngx_hex_dump() of 16 bytes, without its table: loops of a known length over
 * bytes that depend on no others are a few vector instructions.
 */

static void
ngx_http_sluice_request_id_hex(u_char *text, u_char *id)
{
    u_char      c, digit[2 * NGX_HTTP_SLUICE_ID_LEN];
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_SLUICE_ID_LEN; i++) {
        digit[2 * i] = id[i] >> 4;
        digit[2 * i + 1] = id[i] & 0xf;
    }

    for (i = 0; i < 2 * NGX_HTTP_SLUICE_ID_LEN; i++) {
        c = digit[i];
        text[i] = c + (c < 10 ? '0' : 'a' - 10);
    }
}


/* "lane/sequence": what the record's _id will be */

static ngx_int_t
ngx_http_sluice_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                 *p;
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r->main);

    if (ctx == NULL || ctx->entry == NULL
        || ngx_http_sluice_process.lane == NULL)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, 37 + NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sluice_uuid_format(ngx_http_sluice_process.lane->file.header.uuid,
                       (char *) p);

    v->len = ngx_sprintf(p + 36, "/%uL", ctx->entry->record.sequence) - p;
    v->data = p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* sluice_usage on|off [refused=on|off]; */

char *
ngx_http_sluice_usage(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    ngx_str_t                    *value;
    ngx_http_sluice_main_conf_t  *smcf;

    if (slcf->usage != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        slcf->usage = 1;

        smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);
        smcf->usage = 1;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        slcf->usage = 0;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive, "
                           "it must be \"on\" or \"off\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[2].data, "refused=on") == 0) {
        slcf->usage_refused = 1;

    } else if (ngx_strcmp(value[2].data, "refused=off") == 0) {
        slcf->usage_refused = 0;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* sluice_usage_field name value [at=log]; */

char *
ngx_http_sluice_usage_field(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    static const char  *secret[] = { "sluice_key", NULL };
    static const char  *unknown[] = { "upstream_*", "sent_http_*", "status",
                                      "bytes_sent", "body_bytes_sent",
                                      "sluice_key_id", "sluice_limit_zone",
                                      NULL };

    const char                        *mentioned;
    ngx_str_t                         *value;
    ngx_uint_t                         i, late;
    ngx_http_sluice_field_t           *field;

    value = cf->args->elts;
    late = 0;

    if (value[1].len == 0 || value[1].len > SLUICE_FIELD_NAME_MAX
        || !sluice_name_valid((char *) value[1].data, value[1].len))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid field name \"%V\": it must have 1 to %d "
                           "letters, digits, \"_\" or \"-\"",
                           &value[1], SLUICE_FIELD_NAME_MAX);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 4) {

        if (ngx_strcmp(value[3].data, "at=log") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[3]);
            return NGX_CONF_ERROR;
        }

        late = 1;
    }

    /* it would be empty at admission, and a map over it stay so */

    mentioned = late ? NULL : ngx_http_sluice_mentions(&value[2], unknown);

    if (mentioned != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "field \"%V\" has $%s, which is not known when a "
                           "request is admitted: add \"at=log\"",
                           &value[1], mentioned);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_mentions(&value[2], secret) != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "field \"%V\" would record a key", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (slcf->fields == NGX_CONF_UNSET_PTR) {
        slcf->fields = ngx_array_create(cf->pool, 4,
                                        sizeof(ngx_http_sluice_field_t));
        if (slcf->fields == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    field = slcf->fields->elts;

    for (i = 0; i < slcf->fields->nelts; i++) {
        if (field[i].name.len == value[1].len
            && ngx_strncmp(field[i].name.data, value[1].data, value[1].len)
               == 0)
        {
            return "has a field of that name already";
        }
    }

    field = ngx_array_push(slcf->fields);
    if (field == NULL) {
        return NGX_CONF_ERROR;
    }

    field->name = value[1];
    field->late = late;

    if (ngx_http_sluice_compile(cf, &value[2], &field->value) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
