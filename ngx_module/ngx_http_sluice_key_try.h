
/*
 * A try: what a request has of ours while it is at one upstream.  Between the
 * request (key_try), the servers (key_peer), and what answers are made of
 * (key_answer).
 */

#ifndef _NGX_HTTP_SLUICE_KEY_TRY_H_INCLUDED_
#define _NGX_HTTP_SLUICE_KEY_TRY_H_INCLUDED_


#include "ngx_http_sluice.h"


#pragma GCC visibility push(hidden)


struct ngx_http_sluice_try_s {
    ngx_http_upstream_t            *u;
    ngx_http_request_t             *request;
    ngx_http_sluice_ctx_t          *ctx;
    ngx_http_upstream_conf_t       *real;       /* u->conf                   */
    ngx_http_upstream_conf_t       *again;      /* NULL: or a copy of it     */
    ngx_uint_t                      debug;      /* the log's, kept from it   */

    unsigned                        hooked:1;
    unsigned                        cacheable:1;
    unsigned                        making:1;   /* the request, once more    */
    unsigned                        asked:1;    /* for the key, meanwhile    */
    unsigned                        remake:1;   /* before it is sent again   */
    unsigned                        renew:1;    /* servers, for a new key    */
    unsigned                        has_next:1;
    unsigned                        former:1;   /* u->request_sent is of the
                                                   try before                */
    unsigned                        parsed:1;   /* headers of this try       */
    unsigned                        blamed:1;   /* the key, not the origin   */
    unsigned                        stale:1;    /* a kept connection was     */
    unsigned                        spared:1;   /* one such, by our doing    */
    unsigned                        unmet:1;    /* no connection was made    */
    unsigned                        met:1;      /* a server, by some try     */
    unsigned                        used:1;     /* its key is counted        */

    ngx_int_t                     (*process_header)(ngx_http_request_t *r);
    ngx_int_t                     (*reinit_request)(ngx_http_request_t *r);
    void                          (*finalize_request)(ngx_http_request_t *r,
                                      ngx_int_t rc);

    void                           *data;
    ngx_event_get_peer_pt           get;
    ngx_event_free_peer_pt          free;
    ngx_event_notify_peer_pt        notify;
#if (NGX_HTTP_SSL)
    ngx_event_set_peer_session_pt   set_session;
    ngx_event_save_peer_session_pt  save_session;
#endif

    ngx_http_sluice_loc_conf_t     *conf;
    ngx_http_upstream_srv_conf_t   *upstream;   /* NULL: resolved at run time */
    ngx_http_upstream_init_peer_pt  init;       /* the balancer's own        */

    sluice_balance_set_t            had;        /* keys of this upstream     */
    sluice_balance_hold_t          *next;       /* valid if has_next         */
    ngx_uint_t                      tries;      /* of other keys             */
    ngx_uint_t                      turns;      /* of servers that failed    */
    ngx_uint_t                      origins;    /* pc->tries to go on with   */
    ngx_uint_t                      status;     /* true one; 0: as it is     */
    ngx_msec_t                      start;
};


/* as nginx has it in ngx_http_upstream_next() */

#define NGX_HTTP_SLUICE_NON_IDEMPOTENT                                        \
    (NGX_HTTP_POST|NGX_HTTP_LOCK|NGX_HTTP_PATCH)


/* a module of somebody else's may have no name */

#define ngx_http_sluice_is_proxy(u)                                           \
    ((u)->conf->module.len == sizeof("proxy") - 1                             \
     && ngx_strncmp((u)->conf->module.data, "proxy", sizeof("proxy") - 1)     \
        == 0)


/* key_try */
ngx_http_sluice_try_t *ngx_http_sluice_try(ngx_http_request_t *r);
void ngx_http_sluice_try_wrap(ngx_http_sluice_try_t *t);
void ngx_http_sluice_try_made(ngx_http_sluice_try_t *t);
void ngx_http_sluice_try_strict(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
ngx_int_t ngx_http_sluice_try_meet(ngx_http_sluice_try_t *t);
ngx_int_t ngx_http_sluice_try_next(ngx_http_sluice_try_t *t);
ngx_int_t ngx_http_sluice_try_pass(ngx_http_sluice_try_t *t,
    ngx_uint_t mask);

/* key_peer */
void ngx_http_sluice_try_hook(ngx_http_sluice_try_t *t);
ngx_int_t ngx_http_sluice_try_count(ngx_http_sluice_try_t *t);
void ngx_http_sluice_try_went(ngx_http_sluice_try_t *t);

/* key_answer */
ngx_int_t ngx_http_sluice_try_process_header(ngx_http_request_t *r);
void ngx_http_sluice_try_unfinished(ngx_http_sluice_try_t *t);
void ngx_http_sluice_try_ended(ngx_http_sluice_try_t *t, ngx_int_t rc);
ngx_uint_t ngx_http_sluice_try_wanted(ngx_http_sluice_try_t *t,
    sluice_answer_t answer, ngx_uint_t mask);

/* key_body */
ngx_int_t ngx_http_sluice_key_body(ngx_http_request_t *r,
    ngx_http_sluice_pool_t *pool);


#pragma GCC visibility pop


#endif /* _NGX_HTTP_SLUICE_KEY_TRY_H_INCLUDED_ */
