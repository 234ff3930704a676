
/*
 * The module: its commands, its configurations, its start.
 */

#include "ngx_http_sluice.h"

#include <grp.h>


#define NGX_HTTP_SLUICE_RING         (8 * 1024 * 1024)


static void *ngx_http_sluice_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_sluice_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_sluice_create_srv_conf(ngx_conf_t *cf);
static void *ngx_http_sluice_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_sluice_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_sluice_dir(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sluice_ring(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sluice_node(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sluice_client_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_sluice_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_sluice_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_sluice_filters(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf);
static ngx_int_t ngx_http_sluice_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_sluice_init_process(ngx_cycle_t *cycle);
static void ngx_http_sluice_exit_process(ngx_cycle_t *cycle);


static ngx_conf_enum_t  ngx_http_sluice_formats[] = {
    { ngx_string("problem"), NGX_HTTP_SLUICE_FORMAT_PROBLEM },
    { ngx_string("openai"), NGX_HTTP_SLUICE_FORMAT_OPENAI },
    { ngx_string("anthropic"), NGX_HTTP_SLUICE_FORMAT_ANTHROPIC },
    { ngx_null_string, 0 }
};


/* as those of limit_req_log_level */

static ngx_conf_enum_t  ngx_http_sluice_log_levels[] = {
    { ngx_string("info"), NGX_LOG_INFO },
    { ngx_string("notice"), NGX_LOG_NOTICE },
    { ngx_string("warn"), NGX_LOG_WARN },
    { ngx_string("error"), NGX_LOG_ERR },
    { ngx_null_string, 0 }
};


/* as those of proxy_next_upstream */

static ngx_conf_bitmask_t  ngx_http_sluice_key_nexts[] = {
    { ngx_string("error"), NGX_HTTP_SLUICE_NEXT_ERROR },
    { ngx_string("timeout"), NGX_HTTP_SLUICE_NEXT_TIMEOUT },
    { ngx_string("http_401"), NGX_HTTP_SLUICE_NEXT_401 },
    { ngx_string("http_402"), NGX_HTTP_SLUICE_NEXT_402 },
    { ngx_string("http_403"), NGX_HTTP_SLUICE_NEXT_403 },
    { ngx_string("http_429"), NGX_HTTP_SLUICE_NEXT_429 },
    { ngx_string("http_500"), NGX_HTTP_SLUICE_NEXT_500 },
    { ngx_string("http_502"), NGX_HTTP_SLUICE_NEXT_502 },
    { ngx_string("http_503"), NGX_HTTP_SLUICE_NEXT_503 },
    { ngx_string("http_504"), NGX_HTTP_SLUICE_NEXT_504 },
    { ngx_string("http_529"), NGX_HTTP_SLUICE_NEXT_529 },
    { ngx_string("non_idempotent"), NGX_HTTP_SLUICE_NEXT_NON_IDEMPOTENT },
    { ngx_string("off"), NGX_HTTP_SLUICE_NEXT_OFF },
    { ngx_null_string, 0 }
};


static ngx_conf_num_bounds_t  ngx_http_sluice_key_tries_bounds = {
    ngx_conf_check_num_bounds, 1, SLUICE_BALANCE_MAX
};


static ngx_command_t  ngx_http_sluice_commands[] = {

    { ngx_string("sluice_dir"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_sluice_dir,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_ring"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_sluice_ring,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_node"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_node,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_client_secret"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_client_secret,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_client"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_client,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_limit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_sluice_limit_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_sluice_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_limit_conn_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_sluice_limit_conn_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_limit_conn"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_sluice_limit_conn,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_limit_log_level"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, limit_log_level),
      &ngx_http_sluice_log_levels },

    { ngx_string("sluice_limit_headers"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, limit_headers),
      NULL },

    { ngx_string("sluice_key_pool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_sluice_key_pool,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_master_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_master_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_sluice_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_key_next"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_conf_set_bitmask_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, key_next),
      &ngx_http_sluice_key_nexts },

    { ngx_string("sluice_key_tries"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, key_tries),
      &ngx_http_sluice_key_tries_bounds },

    { ngx_string("sluice_key_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, key_timeout),
      NULL },

    { ngx_string("sluice_proxy_pool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_sluice_proxy_pool,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_egress"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_sluice_egress_upstream,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_egress"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_sluice_egress,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_usage"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_sluice_usage,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_usage_field"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE23,
      ngx_http_sluice_usage_field,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_error_format"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, format),
      &ngx_http_sluice_formats },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_sluice_module_ctx = {
    ngx_http_sluice_add_variables,         /* preconfiguration */
    ngx_http_sluice_init,                  /* postconfiguration */

    ngx_http_sluice_create_main_conf,      /* create main configuration */
    ngx_http_sluice_init_main_conf,        /* init main configuration */

    ngx_http_sluice_create_srv_conf,       /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_sluice_create_loc_conf,       /* create location configuration */
    ngx_http_sluice_merge_loc_conf         /* merge location configuration */
};


ngx_module_t  ngx_http_sluice_module = {
    NGX_MODULE_V1,
    &ngx_http_sluice_module_ctx,           /* module context */
    ngx_http_sluice_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_sluice_init_module,           /* init module */
    ngx_http_sluice_init_process,          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_sluice_exit_process,          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_sluice_add_variables(ngx_conf_t *cf)
{
    if (ngx_http_sluice_client_variables(cf) != NGX_OK
        || ngx_http_sluice_limit_variables(cf) != NGX_OK
        || ngx_http_sluice_key_variables(cf) != NGX_OK
        || ngx_http_sluice_proxy_variables(cf) != NGX_OK
        || ngx_http_sluice_usage_variables(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void *
ngx_http_sluice_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_main_conf_t));
    if (smcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     smcf->path = { 0, NULL };
     *     smcf->open = 0;
     *     smcf->node = { 0, NULL };
     *     smcf->client_secret = { 0, NULL };
     *     smcf->clients = 0;
     *     smcf->usage = 0;
     *     smcf->live = 0;
     */

    smcf->ring = NGX_CONF_UNSET_SIZE;
    smcf->on_full = NGX_CONF_UNSET_UINT;
    smcf->group = (gid_t) NGX_CONF_UNSET;
    smcf->request_id = NGX_ERROR;
    smcf->dir.fd = -1;

    if (ngx_array_init(&smcf->conns, cf->pool, 4,
                       sizeof(ngx_http_sluice_conn_zone_t *)) != NGX_OK
        || ngx_array_init(&smcf->zones, cf->pool, 4,
                       sizeof(ngx_http_sluice_zone_t *)) != NGX_OK
        || ngx_array_init(&smcf->pools, cf->pool, 4,
                          sizeof(ngx_http_sluice_pool_t *)) != NGX_OK
        || ngx_array_init(&smcf->proxy_pools, cf->pool, 4, sizeof(void *))
           != NGX_OK
        || ngx_array_init(&smcf->egress_literals, cf->pool, 4,
                          sizeof(ngx_http_upstream_srv_conf_t *)) != NGX_OK)
    {
        return NULL;
    }

    return smcf;
}


static char *
ngx_http_sluice_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ngx_conf_init_size_value(smcf->ring, NGX_HTTP_SLUICE_RING);
    ngx_conf_init_uint_value(smcf->on_full, NGX_HTTP_SLUICE_FULL_REJECT);

    if (smcf->node.data == NULL) {
        smcf->node = cf->cycle->hostname;
    }

    if (ngx_http_sluice_all_defined(cf, &smcf->zones, "zone",
                                    "sluice_limit_zone")
        != NGX_OK
        || ngx_http_sluice_all_defined(cf, &smcf->conns, "conn zone",
                                       "sluice_limit_conn_zone")
           != NGX_OK
        || ngx_http_sluice_all_defined(cf, &smcf->pools, "key pool",
                                       "sluice_key_pool")
           != NGX_OK
        || ngx_http_sluice_all_defined(cf, &smcf->proxy_pools, "proxy pool",
                                       "sluice_proxy_pool")
           != NGX_OK
        || ngx_http_sluice_egress_ties(cf, smcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (smcf->path.data == NULL
        && (smcf->zones.nelts || smcf->conns.nelts || smcf->pools.nelts
            || smcf->proxy_pools.nelts || smcf->usage || smcf->clients))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sluice_dir\" is not set, but there are limits, keys, "
                      "proxies, clients or usage to keep there");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_sluice_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_sluice_srv_conf_t  *sscf;

    sscf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_srv_conf_t));
    if (sscf == NULL) {
        return NULL;
    }

    sscf->egress = NGX_CONF_UNSET_PTR;

    return sscf;
}


static void *
ngx_http_sluice_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_sluice_loc_conf_t  *slcf;

    slcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_loc_conf_t));
    if (slcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     slcf->key_next = 0;
     */

    slcf->client = NGX_CONF_UNSET_PTR;
    slcf->limits = NGX_CONF_UNSET_PTR;
    slcf->conns = NGX_CONF_UNSET_PTR;
    slcf->key = NGX_CONF_UNSET_PTR;
    slcf->key_tries = NGX_CONF_UNSET_UINT;
    slcf->key_timeout = NGX_CONF_UNSET_MSEC;
    slcf->egress = NGX_CONF_UNSET_PTR;
    slcf->fields = NGX_CONF_UNSET_PTR;
    slcf->usage = NGX_CONF_UNSET;
    slcf->usage_refused = NGX_CONF_UNSET;
    slcf->format = NGX_CONF_UNSET_UINT;
    slcf->limit_log_level = NGX_CONF_UNSET_UINT;
    slcf->limit_headers = NGX_CONF_UNSET;

    return slcf;
}


static char *
ngx_http_sluice_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_sluice_loc_conf_t *prev = parent;
    ngx_http_sluice_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_sluice_main_conf_t  *smcf;

    ngx_conf_merge_ptr_value(conf->client, prev->client, NULL);
    ngx_conf_merge_ptr_value(conf->limits, prev->limits, NULL);
    ngx_conf_merge_ptr_value(conf->conns, prev->conns, NULL);
    ngx_conf_merge_ptr_value(conf->key, prev->key, NULL);
    ngx_conf_merge_bitmask_value(conf->key_next, prev->key_next,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_HTTP_SLUICE_NEXT_401
                                  |NGX_HTTP_SLUICE_NEXT_402
                                  |NGX_HTTP_SLUICE_NEXT_403
                                  |NGX_HTTP_SLUICE_NEXT_429
                                  |NGX_HTTP_SLUICE_NEXT_529));
    ngx_conf_merge_uint_value(conf->key_tries, prev->key_tries, 3);
    ngx_conf_merge_msec_value(conf->key_timeout, prev->key_timeout, 0);
    ngx_conf_merge_ptr_value(conf->egress, prev->egress, NULL);
    ngx_conf_merge_ptr_value(conf->fields, prev->fields, NULL);
    ngx_conf_merge_value(conf->usage, prev->usage, 0);
    ngx_conf_merge_value(conf->usage_refused, prev->usage_refused, 1);
    ngx_conf_merge_uint_value(conf->format, prev->format,
                              NGX_HTTP_SLUICE_FORMAT_PROBLEM);
    ngx_conf_merge_uint_value(conf->limit_log_level, prev->limit_log_level,
                              NGX_LOG_ERR);
    ngx_conf_merge_value(conf->limit_headers, prev->limit_headers, 0);

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->limit_headers) {
        smcf->limit_headers = 1;
    }

    if ((conf->limits != NULL || conf->conns != NULL || conf->key != NULL
         || conf->usage || smcf->proxy_pools.nelts)
        && ngx_http_sluice_refusal_other(clcf))
    {
        smcf->other_answers = 1;
    }

    /* a server may still be completed by its locations */

    if (clcf->loc_conf == NULL && clcf->locations != NULL) {
        return NGX_CONF_OK;
    }

    if (clcf->handler != NULL) {
        ngx_http_sluice_key_check(cf, conf, &clcf->name);
    }

    if (ngx_http_sluice_egress_check(cf, prev, conf, &clcf->name) != NGX_OK
        || ngx_http_sluice_limit_check(cf, conf, &clcf->name) != NGX_OK
        || ngx_http_sluice_conn_check(cf, conf, &clcf->name) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sluice_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt          *h;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    if (smcf->zones.nelts == 0 && smcf->conns.nelts == 0
        && smcf->pools.nelts == 0 && smcf->proxy_pools.nelts == 0
        && !smcf->usage && !smcf->clients)
    {
        return ngx_http_sluice_filters(cf, smcf);
    }

    if (smcf->zones.nelts == 0 && smcf->conns.nelts == 0
        && smcf->pools.nelts == 0 && smcf->proxy_pools.nelts == 0
        && !smcf->usage)
    {

        /* only $sluice_client: nothing to do for a request */

        return ngx_http_sluice_files_hook(cf);
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sluice_admission_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sluice_log_handler;

    if (ngx_http_sluice_filters(cf, smcf) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the key's are around those of proxies: it moves first */

    if (smcf->proxy_pools.nelts
        && ngx_http_sluice_egress_init(cf, smcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (smcf->pools.nelts && ngx_http_sluice_try_init(cf, smcf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_sluice_files_hook(cf);
}


/* called for every configuration: what was installed once always is */

static ngx_int_t
ngx_http_sluice_filters(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf)
{
    ngx_http_sluice_limit_headers_init(smcf);
    ngx_http_sluice_refusal_init(smcf);

    return ngx_http_sluice_usage_init(cf, smcf);
}


/*
 * Runs when a cycle is about to be in force; it must not fail.  A reload
 * without a master process does not call init_process.
 */

static ngx_int_t
ngx_http_sluice_init_module(ngx_cycle_t *cycle)
{
    ngx_http_sluice_main_conf_t  *smcf;

    if (ngx_test_config) {
        return NGX_OK;
    }

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sluice_module);

    if (smcf != NULL) {
        smcf->live = 1;
    }

    if (ngx_process == NGX_PROCESS_SINGLE && !ngx_is_init_cycle(ngx_cycle)) {
        (void) ngx_http_sluice_process_start(cycle);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_init_process(ngx_cycle_t *cycle)
{
    /* cache helpers are here, too, and are no workers */

    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        return ngx_http_sluice_process_start(cycle);
    }

    return NGX_OK;
}


static void
ngx_http_sluice_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_sluice_process_stop(cycle);
}


static char *
ngx_http_sluice_dir(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ngx_str_t     *value;
    struct group  *grp;

    if (smcf->path.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "empty path");
        return NGX_CONF_ERROR;
    }

    smcf->path = value[1];

    if (ngx_conf_full_name(cf->cycle, &smcf->path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 3) {

        if (value[2].len <= 6
            || ngx_strncmp(value[2].data, "group=", 6) != 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[2]);
            return NGX_CONF_ERROR;
        }

        ngx_set_errno(0);
        grp = getgrnam((char *) value[2].data + 6);

        if (grp == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "getgrnam(\"%s\") failed", value[2].data + 6);
            return NGX_CONF_ERROR;
        }

        smcf->group = grp->gr_gid;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_ring(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ssize_t      size;
    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (smcf->ring != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (size < SLUICE_LANE_RING_MIN || (uint64_t) size > SLUICE_LANE_RING_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "ring of \"%V\" is too %s: it must have 64k to "
                           "1024m", &value[1],
                           size < SLUICE_LANE_RING_MIN ? "small" : "large");
        return NGX_CONF_ERROR;
    }

    smcf->ring = ngx_align(size, 4096);

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "on_full=reject") == 0) {
            smcf->on_full = NGX_HTTP_SLUICE_FULL_REJECT;
            continue;
        }

        if (ngx_strcmp(value[i].data, "on_full=drop") == 0) {
            smcf->on_full = NGX_HTTP_SLUICE_FULL_DROP;
            continue;
        }

        if (ngx_strncmp(value[i].data, "open=", 5) == 0) {
            n = ngx_atoi(value[i].data + 5, value[i].len - 5);

            if (n < 1 || n > SLUICE_LANE_OPEN_MAX) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\": 1 to %d requests can be "
                                   "open", &value[i], SLUICE_LANE_OPEN_MAX);
                return NGX_CONF_ERROR;
            }

            smcf->open = n;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_node(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ngx_str_t  *value;

    if (smcf->node.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].len >= SLUICE_NODE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a node's name must have 1 to %d bytes",
                           SLUICE_NODE_MAX - 1);
        return NGX_CONF_ERROR;
    }

    smcf->node = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_client_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ngx_str_t  *value;

    if (smcf->client_secret.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_sluice_read_secret(cf, &value[1], &smcf->client_secret)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (smcf->client_secret.len < 16) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the client secret has %uz bytes, 16 are the least",
                           smcf->client_secret.len);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
