
/*
 * Key pools: which upstream key a request goes out with.
 *
 * Admission looks whether a key is well; the getter of $sluice_key, which
 * the upstream module calls when it makes the request, takes one.  So a
 * response from the cache takes none.
 */

#include "ngx_http_sluice.h"


/* a quarter of the lines, so that all of them can be replaced by reloads */
#define NGX_HTTP_SLUICE_KEYS_MAX  256


static uint64_t ngx_http_sluice_key_recovery(ngx_http_sluice_pool_t *pool,
    ngx_http_sluice_key_t *key, uint64_t *now);
static ngx_http_sluice_key_t *ngx_http_sluice_key_choose(
    ngx_http_sluice_pool_t *pool);
static ngx_http_sluice_key_t *ngx_http_sluice_key_take(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_key_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sluice_key_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_http_sluice_pool_t *ngx_http_sluice_pool(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf, ngx_str_t *name);
static char *ngx_http_sluice_key_pool_line(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_http_sluice_key_pool_key(ngx_conf_t *cf,
    ngx_http_sluice_pool_t *pool);


static ngx_http_variable_t  ngx_http_sluice_key_vars[] = {

    { ngx_string("sluice_key"), NULL, ngx_http_sluice_key_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_key_id"), NULL, ngx_http_sluice_key_id_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_sluice_key_variables(ngx_conf_t *cf)
{
    return ngx_http_sluice_add_vars(cf, ngx_http_sluice_key_vars);
}


/* 0: it is well; else when it will be.  The clock is read once, if at all. */

static uint64_t
ngx_http_sluice_key_recovery(ngx_http_sluice_pool_t *pool,
    ngx_http_sluice_key_t *key, uint64_t *now)
{
    bool              half;
    sluice_member_t  *member;

    member = &pool->pool.members[key->line];

    if (sluice_member_healthy(member)) {
        return 0;
    }

    if (*now == 0) {
        *now = sluice_clock_ms();
    }

    return sluice_member_recovery(member, *now, &half);
}


/*
 * NGX_OK: some key of the pool is well, and is remembered: should none be
 * so any more when the request goes out, it goes out with that one.
 * NGX_BUSY: none is for *retry milliseconds (UINT64_MAX: nobody knows).
 */

ngx_int_t
ngx_http_sluice_key_look(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_pool_t *pool, uint64_t *retry)
{
    uint64_t                first, recovery, now;
    ngx_uint_t              i;
    ngx_http_sluice_key_t  *key;

    /* without a slot a key could not be taken */

    if (ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        *retry = 0;
        return NGX_BUSY;
    }

    key = pool->keys.elts;
    now = 0;
    first = UINT64_MAX;

    for (i = 0; i < pool->keys.nelts; i++) {

        recovery = ngx_http_sluice_key_recovery(pool, &key[i], &now);

        if (recovery == 0) {
            ctx->seen_pool = pool;
            ctx->seen_key = &key[i];

            return NGX_OK;
        }

        if (recovery < first) {
            first = recovery;
        }
    }

    *retry = (first == UINT64_MAX) ? UINT64_MAX : first - now;

    return NGX_BUSY;
}


/* the next well key after the last one taken in this worker */

static ngx_http_sluice_key_t *
ngx_http_sluice_key_choose(ngx_http_sluice_pool_t *pool)
{
    uint64_t                now;
    ngx_uint_t              i;
    ngx_http_sluice_key_t  *key;

    key = pool->keys.elts;
    now = 0;

    for (i = 0; i < pool->keys.nelts; i++) {

        if (pool->next >= pool->keys.nelts) {
            pool->next = 0;
        }

        if (ngx_http_sluice_key_recovery(pool, &key[pool->next], &now) == 0) {
            return &key[pool->next++];
        }

        pool->next++;
    }

    return NULL;
}


static ngx_http_sluice_key_t *
ngx_http_sluice_key_take(ngx_http_request_t *r)
{
    ngx_http_sluice_ctx_t       *ctx, *parent;
    ngx_http_sluice_key_t       *key;
    ngx_http_sluice_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

    if (slcf->pool == NULL) {
        return NULL;
    }

    ctx = ngx_http_sluice_get_ctx(r);

    /*
     * A clone (a slice, an update of the cache) has run no phases of its own:
     * what the admission of its parent has seen holds for it as well.
     */

    if (ctx == NULL && r != r->main) {
        parent = ngx_http_sluice_get_ctx(r->parent);

        if (parent == NULL || parent->seen_pool != slcf->pool) {
            return NULL;
        }

        ctx = ngx_http_sluice_create_ctx(r);
        if (ctx == NULL) {
            return NULL;
        }

        ctx->seen_pool = parent->seen_pool;
        ctx->seen_key = parent->seen_key;
    }

    if (ctx != NULL && ctx->key != NULL && ctx->pool == slcf->pool) {
        return ctx->key;
    }

    /* admission has been here, or this request is not for an upstream */

    if (ctx == NULL || ctx->seen_pool != slcf->pool
        || ngx_http_sluice_process.slot == SLUICE_SLOTS)
    {
        return NULL;
    }

    key = ngx_http_sluice_key_choose(slcf->pool);

    if (key == NULL) {
        key = ctx->seen_key;
    }

    /* a redirect to a location with another pool */

    ngx_http_sluice_key_give(ctx);

    sluice_pool_take(&slcf->pool->pool, key->line,
                     ngx_http_sluice_process.slot);

    ctx->taken = 1;
    ctx->pool = slcf->pool;
    ctx->key = key;

    if (ctx->entry != NULL) {
        (void) sluice_record_add(&ctx->entry->record, SLUICE_ITEM_POOL,
                                 ctx->pool->named.name.data,
                                 ctx->pool->named.name.len);
        (void) sluice_record_add(&ctx->entry->record, SLUICE_ITEM_KEY,
                                 key->id.data, key->id.len);
    }

    return key;
}


void
ngx_http_sluice_key_give(ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->taken && ngx_http_sluice_process.slot != SLUICE_SLOTS) {
        ctx->taken = 0;
        sluice_pool_give(&ctx->pool->pool, ctx->key->line,
                         ngx_http_sluice_process.slot);
    }
}


static ngx_int_t
ngx_http_sluice_key_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_key_t       *key;
    ngx_http_sluice_loc_conf_t  *slcf;

    key = ngx_http_sluice_key_take(r);

    if (key == NULL) {
        slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);

        /* "set" copies it before there is one, and that goes out */

        if (slcf->pool != NULL) {
            ngx_http_sluice_complain(r, "$sluice_key was asked for before "
                                     "admission, and is empty: pool",
                                     &slcf->pool->named.name);
        }

        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_value(v, &key->secret);

    return NGX_OK;
}


/* of the key that was taken; asking for it takes none */

static ngx_int_t
ngx_http_sluice_key_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx == NULL || ctx->key == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_sluice_set_value(v, &ctx->key->id);

    return NGX_OK;
}


/* finds the pool, or makes one that somebody must still define */

static ngx_http_sluice_pool_t *
ngx_http_sluice_pool(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf,
    ngx_str_t *name)
{
    ngx_http_sluice_pool_t  *pool;

    pool = (ngx_http_sluice_pool_t *)
               ngx_http_sluice_named(cf, &smcf->pools,
                                     sizeof(ngx_http_sluice_pool_t), name,
                                     "pool");

    if (pool == NULL || pool->keys.elts != NULL) {
        return pool;
    }

    if (ngx_array_init(&pool->keys, cf->pool, 4,
                       sizeof(ngx_http_sluice_key_t))
        != NGX_OK)
    {
        return NULL;
    }

    pool->pool.file.fd = -1;

    return pool;
}


/* sluice_key pool|off; */

char *
ngx_http_sluice_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    ngx_str_t                    *value;
    ngx_http_sluice_main_conf_t  *smcf;

    if (slcf->pool != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        slcf->pool = NULL;
        return NGX_CONF_OK;
    }

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    slcf->pool = ngx_http_sluice_pool(cf, smcf, &value[1]);
    if (slcf->pool == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* sluice_key_pool name { balance round_robin; key secret id=a; } */

char *
ngx_http_sluice_key_pool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    char                    *rv;
    ngx_str_t               *value;
    ngx_conf_t               save;
    ngx_http_sluice_pool_t  *pool;

    value = cf->args->elts;

    pool = ngx_http_sluice_pool(cf, smcf, &value[1]);
    if (pool == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_define(cf, &pool->named, "key pool") != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    save = *cf;

    cf->handler = ngx_http_sluice_key_pool_line;
    cf->handler_conf = (char *) pool;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (pool->keys.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key pool \"%V\" has no keys", &pool->named.name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_key_pool_line(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "key") == 0) {
        return ngx_http_sluice_key_pool_key(cf, conf);
    }

    if (ngx_strcmp(value[0].data, "balance") == 0) {

        if (cf->args->nelts == 2
            && ngx_strcmp(value[1].data, "round_robin") == 0)
        {
            return NGX_CONF_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a key pool knows \"balance round_robin\" only");
        return NGX_CONF_ERROR;
    }

    /* not by its name: it may be a key, and the word before it be missing */

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive in a key pool: it knows \"key\" "
                       "and \"balance\"");

    return NGX_CONF_ERROR;
}


/* key secret|file:path id=name; a message of ours must not have the secret */

static char *
ngx_http_sluice_key_pool_key(ngx_conf_t *cf, ngx_http_sluice_pool_t *pool)
{
    ngx_str_t              *value, id;
    ngx_uint_t              i;
    ngx_http_sluice_key_t  *key, new;

    value = cf->args->elts;

    if (cf->args->nelts != 3 || value[2].len < 3
        || ngx_strncmp(value[2].data, "id=", 3) != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a key must be \"key SECRET id=NAME\" or "
                           "\"key file:PATH id=NAME\"");
        return NGX_CONF_ERROR;
    }

    id.len = value[2].len - 3;
    id.data = value[2].data + 3;

    ngx_memzero(&new, sizeof(ngx_http_sluice_key_t));

    if (ngx_http_sluice_copy_name(cf, &new.id, &id, "key id") != NGX_OK
        || ngx_http_sluice_read_secret(cf, &value[1], &new.secret) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    key = pool->keys.elts;

    for (i = 0; i < pool->keys.nelts; i++) {
        if (key[i].id.len == new.id.len
            && ngx_strncmp(key[i].id.data, new.id.data, new.id.len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate key id \"%V\" in pool \"%V\"",
                               &new.id, &pool->named.name);
            return NGX_CONF_ERROR;
        }
    }

    if (pool->keys.nelts == NGX_HTTP_SLUICE_KEYS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key pool \"%V\" has more than %d keys",
                           &pool->named.name, NGX_HTTP_SLUICE_KEYS_MAX);
        return NGX_CONF_ERROR;
    }

    key = ngx_array_push(&pool->keys);
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    *key = new;

    return NGX_CONF_OK;
}
