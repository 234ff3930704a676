
/*
 * Egress: what a request has of ours on its way through a proxy.  Between the
 * wrappers around the balancer (egress), the handshake on a connection
 * (tunnel), what becomes of it (egress_try) and the probes of proxies (probe).
 */

#ifndef _NGX_HTTP_SLUICE_EGRESS_H_INCLUDED_
#define _NGX_HTTP_SLUICE_EGRESS_H_INCLUDED_


#include "ngx_http_sluice.h"

#include "shm/tunnel.h"


#pragma GCC visibility push(hidden)


struct ngx_http_sluice_proxy_s {
    ngx_str_t                       id;         /* with a NUL behind it      */
    ngx_str_t                       name;       /* "http://host:port": no    */
                                                /* user, for logs            */
    sluice_proxy_url_t              url;
    ngx_addr_t                     *addrs;
    ngx_uint_t                      naddrs;
    ngx_uint_t                      next;       /* of them: in turn          */
    sluice_member_policy_t          policy;
    sluice_member_t                *line;       /* in the pool's file        */
};


typedef struct {
    ngx_http_sluice_named_t         named;
    ngx_array_t                     proxies;    /* ngx_http_sluice_proxy_t   */
    ngx_array_t                     members;    /* sluice_balance_conf_t, in
                                                   the same order            */
    ngx_uint_t                      method;     /* sluice_balance_method_t   */
    ngx_http_sluice_value_t        *hash;       /* of what, for HASH         */
    ngx_uint_t                      written;    /* lines that there were     */

    ngx_str_t                       probe;      /* host; NULL: none          */
    in_port_t                       probe_port;
    ngx_msec_t                      probe_interval;
    ngx_msec_t                      probe_timeout;

    sluice_pool_t                   pool;
    sluice_balance_t               *balance;    /* NULL: not open            */
} ngx_http_sluice_proxy_pool_t;


/* sluice_egress, as it is written */
struct ngx_http_sluice_egress_conf_s {
    ngx_http_sluice_proxy_pool_t   *pool;       /* NULL: off                 */
    ngx_http_sluice_value_t        *target;     /* NULL: the server          */
    unsigned                        direct:1;   /* if no proxy is up         */
    unsigned                        local:1;    /* nginx resolves names      */
};


/* a server of an upstream as it is written, and one of its addresses */
typedef struct {
    ngx_addr_t                     *addr;
    ngx_str_t                       host;       /* in its brackets, too      */
} ngx_http_sluice_origin_t;


/* an upstream that some request may leave through a proxy */
typedef struct {
    ngx_http_upstream_srv_conf_t   *upstream;
    ngx_http_upstream_init_peer_pt  inner_init; /* below keepalive; NULL:    */
                                                /* no upstream{}             */
    ngx_http_upstream_init_peer_pt  outer_init;
    ngx_http_sluice_egress_conf_t  *conf;       /* of upstream{}, or NULL    */
    ngx_array_t                     origins;    /* ngx_http_sluice_origin_t  */
} ngx_http_sluice_egress_upstream_t;


/* what was around the balancer before us */
typedef struct {
    void                           *data;
    ngx_event_get_peer_pt           get;
    ngx_event_free_peer_pt          free;
    ngx_event_notify_peer_pt        notify;
} ngx_http_sluice_peer_t;


/* what keepalive knows a kept connection by, in place of an address */
typedef struct {
    sa_family_t                     family;     /* AF_UNSPEC                 */
    u_char                          hash[16];
} ngx_http_sluice_way_t;


/* a handshake on a connection */
typedef struct {
    ngx_connection_t               *connection;
    size_t                          sent;
    sluice_tunnel_t                 shake;
    unsigned                        tcp:1;      /* connect() is under way    */
} ngx_http_sluice_tunnel_t;


struct ngx_http_sluice_egress_s {
    ngx_http_request_t             *request;
    ngx_http_sluice_ctx_t          *ctx;
    ngx_http_upstream_t            *u;
    ngx_http_sluice_egress_conf_t  *conf;
    ngx_http_sluice_egress_upstream_t  *eu;

    ngx_http_sluice_peer_t          inner;
    ngx_http_sluice_peer_t          outer;
#if (NGX_HTTP_SSL)
    ngx_event_set_peer_session_pt   set_session;
    ngx_event_save_peer_session_pt  save_session;
#endif

    struct sockaddr                *origin;     /* the balancer's choice     */
    socklen_t                       origin_len;
    ngx_str_t                       host;       /* what the proxy is asked   */
    in_port_t                       port;       /* for                       */
    ngx_http_sluice_way_t           way;
    u_char                          session[16];

    ngx_http_sluice_proxy_t        *proxy;      /* valid if taken            */
    sluice_balance_set_t            had;        /* proxies that have failed  */
    sluice_balance_hold_t           hold;
    uint64_t                        retry;      /* ms, if there is none      */
    ngx_msec_t                      start;      /* of the present try        */
    ngx_uint_t                      addr;       /* of the proxy's, the first */
    ngx_uint_t                      addrs;      /* ... and how many were     */
                                                /* called                    */
    ngx_http_sluice_passage_t       first;      /* of ctx->passages          */
    ngx_http_sluice_tunnel_t       *tunnel;     /* NULL: none so far         */
    ngx_event_t                     event;
    ngx_http_upstream_handler_pt    read_handler;
    ngx_http_upstream_handler_pt    write_handler;

    unsigned                        wrapped:1;  /* below keepalive           */
    unsigned                        chosen:1;   /* in this get()             */
    unsigned                        taken:1;    /* a proxy is in flight      */
    unsigned                        judged:1;   /* its try has ended         */
    unsigned                        none:1;     /* no proxy is up            */
    unsigned                        late:1;     /* ... to be asked any more  */
    unsigned                        direct:1;   /* ... and none is needed    */
    unsigned                        swapped:1;  /* u's handlers are ours     */
    unsigned                        blamed:1;   /* a proxy, not the origin   */
    unsigned                        up:1;       /* the tunnel was there      */
};


#define NGX_HTTP_SLUICE_PROBE_TIME      60000   /* ms: a request that is one */


/* proxy_conf */
ngx_int_t ngx_http_sluice_egress_split(ngx_str_t *value, ngx_str_t *host,
    in_port_t *port);

/* egress */
ngx_int_t ngx_http_sluice_egress_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_http_sluice_egress_choose(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e);
ngx_int_t ngx_http_sluice_egress_take(ngx_http_sluice_egress_t *e);
void ngx_http_sluice_egress_way(ngx_http_sluice_egress_t *e);
void ngx_http_sluice_egress_give(ngx_http_sluice_egress_t *e);

/* egress_try */
ngx_int_t ngx_http_sluice_egress_connect(ngx_peer_connection_t *pc,
    ngx_http_sluice_egress_t *e);
void ngx_http_sluice_egress_told(ngx_http_sluice_egress_t *e,
    sluice_tunnel_result_t result);
void ngx_http_sluice_egress_posted(ngx_event_t *ev);

/* tunnel */
void ngx_http_sluice_tunnel_start(ngx_http_sluice_tunnel_t *t,
    ngx_connection_t *c);
ngx_int_t ngx_http_sluice_tunnel_step(ngx_http_sluice_tunnel_t *t);

/* proxy */
ngx_uint_t ngx_http_sluice_proxy_find(ngx_http_sluice_proxy_pool_t *pool,
    ngx_str_t *id);
int ngx_http_sluice_proxy_judge(ngx_http_sluice_proxy_t *proxy,
    sluice_member_try_t *try, sluice_tunnel_result_t result,
    ngx_uint_t status);
void ngx_http_sluice_proxy_say(ngx_log_t *log, ngx_str_t *pool,
    ngx_http_sluice_proxy_t *proxy, int state);
void ngx_http_sluice_proxy_begin(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_proxy_t *proxy);
void ngx_http_sluice_proxy_passage(ngx_http_sluice_egress_t *e,
    ngx_http_sluice_proxy_t *proxy, sluice_tunnel_result_t result,
    ngx_msec_t time);
ngx_addr_t *ngx_http_sluice_proxy_addr(ngx_http_sluice_proxy_t *proxy,
    ngx_uint_t *first, ngx_uint_t *n);


#pragma GCC visibility pop


#endif /* _NGX_HTTP_SLUICE_EGRESS_H_INCLUDED_ */
