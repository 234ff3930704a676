
/*
 * Looks for proxies that are down, or up again, before a request finds out: a
 * handshake with each of them, as often as its pool says, by one worker of all.
 * Whoever comes first does the round, so nobody need be elected, and if he is
 * killed the next round is another's.
 *
 * Who says that he cannot reach the host is judged when the others have spoken:
 * if one of them can, it is the proxy that has no network.
 */

#include "ngx_http_sluice_egress.h"


typedef struct {
    ngx_uint_t                     out;         /* probes that are not ended */
    ngx_uint_t                     reached;     /* the host, by a proxy      */
} ngx_http_sluice_round_t;


typedef struct {
    ngx_queue_t                    queue;
    ngx_http_sluice_round_t       *round;
    ngx_http_sluice_proxy_pool_t  *pool;
    ngx_http_sluice_proxy_t       *proxy;
    sluice_member_try_t            try;
    ngx_uint_t                     addr;        /* of the proxy's            */
    ngx_uint_t                     addrs;
    ngx_http_sluice_tunnel_t       tunnel;
    ngx_uint_t                     waits;       /* for the others, ended     */
} ngx_http_sluice_probe_t;


static void ngx_http_sluice_probe_round(ngx_cycle_t *cycle,
    ngx_http_sluice_proxy_pool_t *pool);
static void ngx_http_sluice_probe_begin(ngx_cycle_t *cycle,
    ngx_http_sluice_round_t *round, ngx_http_sluice_proxy_pool_t *pool,
    ngx_http_sluice_proxy_t *proxy);
static ngx_int_t ngx_http_sluice_probe_try(ngx_http_sluice_proxy_t *proxy,
    ngx_msec_t timeout, sluice_member_try_t *try);
static void ngx_http_sluice_probe_call(ngx_cycle_t *cycle,
    ngx_http_sluice_probe_t *p);
static ngx_int_t ngx_http_sluice_probe_connect(ngx_cycle_t *cycle,
    ngx_http_sluice_probe_t *p);
static void ngx_http_sluice_probe_handler(ngx_event_t *ev);
static void ngx_http_sluice_probe_ended(ngx_http_sluice_probe_t *p,
    sluice_tunnel_result_t result);
static void ngx_http_sluice_probe_judge(ngx_http_sluice_probe_t *p,
    sluice_tunnel_result_t result);
static void ngx_http_sluice_probe_left(ngx_http_sluice_round_t *round);
static void ngx_http_sluice_probe_drop(ngx_http_sluice_probe_t *p);
static void ngx_http_sluice_probe_close(ngx_http_sluice_probe_t *p);


/* those of this process that are out */
static ngx_queue_t  ngx_http_sluice_probes;


void
ngx_http_sluice_probe_tick(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    uint64_t                        now;
    ngx_uint_t                      i;
    ngx_http_sluice_proxy_pool_t   *pool, **pools;

    /* what leaves takes no round from those who stay */

    if (ngx_exiting || ngx_http_sluice_process.slot == SLUICE_SLOTS) {
        return;
    }

    now = sluice_clock_ms();
    pools = smcf->proxy_pools.elts;

    for (i = 0; i < smcf->proxy_pools.nelts; i++) {
        pool = pools[i];

        if (pool->probe.data != NULL
            && sluice_pool_round(&pool->pool, now, pool->probe_interval))
        {
            ngx_http_sluice_probe_round(cycle, pool);
        }
    }
}


static void
ngx_http_sluice_probe_round(ngx_cycle_t *cycle,
    ngx_http_sluice_proxy_pool_t *pool)
{
    ngx_uint_t                n;
    ngx_http_sluice_proxy_t  *proxies;
    ngx_http_sluice_round_t  *round;

    round = ngx_calloc(sizeof(ngx_http_sluice_round_t), cycle->log);
    if (round == NULL) {
        return;
    }

    if (ngx_http_sluice_probes.next == NULL) {
        ngx_queue_init(&ngx_http_sluice_probes);
    }

    /* one more than there are: it does not end before all have begun */

    round->out = 1;

    proxies = pool->proxies.elts;

    for (n = 0; n < pool->proxies.nelts; n++) {
        ngx_http_sluice_probe_begin(cycle, round, pool, &proxies[n]);
    }

    ngx_http_sluice_probe_left(round);
}


static void
ngx_http_sluice_probe_begin(ngx_cycle_t *cycle,
    ngx_http_sluice_round_t *round, ngx_http_sluice_proxy_pool_t *pool,
    ngx_http_sluice_proxy_t *proxy)
{
    ngx_http_sluice_probe_t  *p;

    p = ngx_calloc(sizeof(ngx_http_sluice_probe_t), cycle->log);
    if (p == NULL) {
        return;
    }

    p->round = round;
    p->pool = pool;
    p->proxy = proxy;

    if (ngx_http_sluice_probe_try(proxy, pool->probe_timeout, &p->try)
        != NGX_OK
        || !sluice_tunnel_init(&p->tunnel.shake, &proxy->url,
                               (char *) pool->probe.data, pool->probe.len,
                               pool->probe_port))
    {
        ngx_free(p);
        return;
    }

    ngx_queue_insert_tail(&ngx_http_sluice_probes, &p->queue);

    round->out++;

    ngx_http_sluice_probe_call(cycle, p);
}


/* the next of the proxy's addresses */

static void
ngx_http_sluice_probe_call(ngx_cycle_t *cycle, ngx_http_sluice_probe_t *p)
{
    switch (ngx_http_sluice_probe_connect(cycle, p)) {

    case NGX_OK:
        ngx_http_sluice_probe_handler(p->tunnel.connection->write);
        return;

    case NGX_AGAIN:
        return;

    case NGX_DECLINED:
        ngx_http_sluice_probe_ended(p, SLUICE_TUNNEL_UNREACHABLE);
        return;

    default:

        /* for want of a socket of ours: it says nothing */

        ngx_http_sluice_probe_drop(p);
    }
}


/* NGX_DECLINED: the operator, or somebody's probe, has it */

static ngx_int_t
ngx_http_sluice_probe_try(ngx_http_sluice_proxy_t *proxy, ngx_msec_t timeout,
    sluice_member_try_t *try)
{
    bool      half;
    uint64_t  now, until;

    now = sluice_clock_ms();

    try->began = now;
    try->probe = 0;

    until = sluice_member_recovery(proxy->line, now, &half);

    if (half) {
        try->probe = sluice_member_probe(proxy->line, now, timeout);
        return try->probe ? NGX_OK : NGX_DECLINED;
    }

    if (until == 0) {
        return NGX_OK;
    }

    /* a rest that nobody but us has thought of may end sooner */

    try->probe = sluice_member_early(proxy->line, now);

    return try->probe ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_sluice_probe_connect(ngx_cycle_t *cycle, ngx_http_sluice_probe_t *p)
{
    ngx_int_t               rc;
    ngx_addr_t             *addr;
    ngx_connection_t       *c;
    ngx_peer_connection_t   peer;

    do {
        addr = ngx_http_sluice_proxy_addr(p->proxy, &p->addr, &p->addrs);

        if (addr == NULL) {
            return NGX_DECLINED;
        }

        ngx_memzero(&peer, sizeof(ngx_peer_connection_t));

        peer.get = ngx_event_get_peer;
        peer.sockaddr = addr->sockaddr;
        peer.socklen = addr->socklen;
        peer.name = &p->proxy->name;
        peer.log = cycle->log;
        peer.log_error = NGX_ERROR_ERR;

        rc = ngx_event_connect_peer(&peer);

    } while (rc == NGX_DECLINED);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        return rc;
    }

    c = peer.connection;

    c->data = p;
    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = ngx_http_sluice_probe_handler;
    c->write->handler = ngx_http_sluice_probe_handler;

    /* a worker that is to leave does not wait for it */

    c->idle = 1;
    c->write->cancelable = 1;

    ngx_add_timer(c->write, p->pool->probe_timeout);

    ngx_http_sluice_tunnel_start(&p->tunnel, c);

    return rc;
}


static void
ngx_http_sluice_probe_handler(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_http_sluice_probe_t  *p;

    c = ev->data;
    p = c->data;

    if (c->close) {
        ngx_http_sluice_probe_drop(p);
        return;
    }

    if (c->write->timedout) {
        ngx_http_sluice_probe_ended(p, SLUICE_TUNNEL_TIMEOUT);
        return;
    }

    switch (ngx_http_sluice_tunnel_step(&p->tunnel)) {

    case NGX_AGAIN:
        return;

    case NGX_DECLINED:

        if (p->tunnel.shake.result == SLUICE_TUNNEL_UNREACHABLE) {
            ngx_close_connection(c);
            p->tunnel.connection = NULL;

            ngx_http_sluice_probe_call((ngx_cycle_t *) ngx_cycle, p);
            return;
        }

        /* fall through */

    case NGX_OK:
        ngx_http_sluice_probe_ended(p, p->tunnel.shake.result);
        return;

    default:
        ngx_http_sluice_probe_drop(p);
    }
}


static void
ngx_http_sluice_probe_ended(ngx_http_sluice_probe_t *p,
    sluice_tunnel_result_t result)
{
    ngx_http_sluice_round_t  *round;

    round = p->round;

    if (result == SLUICE_TUNNEL_ORIGIN) {

        /* whose fault it is the others will tell */

        ngx_close_connection(p->tunnel.connection);
        p->tunnel.connection = NULL;
        p->waits = 1;

    } else {
        round->reached |= (result == SLUICE_TUNNEL_CONNECTED);

        ngx_http_sluice_probe_judge(p, result);
        ngx_http_sluice_probe_close(p);
    }

    ngx_http_sluice_probe_left(round);
}


/* logged where it changes something, or a probe could not tell */

static void
ngx_http_sluice_probe_judge(ngx_http_sluice_probe_t *p,
    sluice_tunnel_result_t result)
{
    int                      state;
    sluice_tunnel_t         *shake;
    sluice_tunnel_result_t   as;

    shake = &p->tunnel.shake;

    /* what others can reach, and this one cannot, is its own fault */

    as = (result == SLUICE_TUNNEL_ORIGIN && p->round->reached)
         ? SLUICE_TUNNEL_INVALID : result;

    state = ngx_http_sluice_proxy_judge(p->proxy, &p->try, as, shake->code);

    if (result != SLUICE_TUNNEL_CONNECTED
        && (state != -1 || result == SLUICE_TUNNEL_FORBIDDEN
            || result == SLUICE_TUNNEL_DENIED
            || result == SLUICE_TUNNEL_ORIGIN))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "no tunnel to \"%V:%ui\" by proxy \"%V\" (\"%V\") "
                      "for a probe: %s%s%s%s", &p->pool->probe,
                      (ngx_uint_t) p->pool->probe_port, &p->proxy->id,
                      &p->proxy->name, sluice_tunnel_result_name(result),
                      as != result ? ", which others reach" : "",
                      shake->line_len ? ": " : "", shake->line);
    }

    if (state != -1) {
        ngx_http_sluice_proxy_say(ngx_cycle->log, &p->pool->named.name,
                                  p->proxy, state);
    }
}


/* one of a round has ended: the last one decides about those that wait */

static void
ngx_http_sluice_probe_left(ngx_http_sluice_round_t *round)
{
    ngx_queue_t              *q, *next;
    ngx_http_sluice_probe_t  *p;

    if (--round->out != 0) {
        return;
    }

    for (q = ngx_queue_head(&ngx_http_sluice_probes);
         q != ngx_queue_sentinel(&ngx_http_sluice_probes);
         q = next)
    {
        next = ngx_queue_next(q);
        p = ngx_queue_data(q, ngx_http_sluice_probe_t, queue);

        if (p->round == round) {
            ngx_http_sluice_probe_judge(p, SLUICE_TUNNEL_ORIGIN);
            ngx_http_sluice_probe_close(p);
        }
    }

    ngx_free(round);
}


/* it says nothing: a fault of our own, or no time for it */

static void
ngx_http_sluice_probe_drop(ngx_http_sluice_probe_t *p)
{
    ngx_http_sluice_round_t  *round;

    round = p->round;

    sluice_member_forgo(p->proxy->line, &p->try);
    ngx_http_sluice_probe_close(p);

    ngx_http_sluice_probe_left(round);
}


static void
ngx_http_sluice_probe_close(ngx_http_sluice_probe_t *p)
{
    if (p->tunnel.connection != NULL) {
        ngx_close_connection(p->tunnel.connection);
    }

    ngx_queue_remove(&p->queue);

    explicit_bzero(p, sizeof(ngx_http_sluice_probe_t));
    ngx_free(p);
}


/* the process, or the configuration that they are of, ends */

void
ngx_http_sluice_probe_stop(void)
{
    ngx_queue_t              *q;
    ngx_http_sluice_probe_t  *p;

    if (ngx_http_sluice_probes.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_sluice_probes)) {
        q = ngx_queue_head(&ngx_http_sluice_probes);
        p = ngx_queue_data(q, ngx_http_sluice_probe_t, queue);

        /* who waits ends with the last one that does not */

        while (p->waits) {
            q = ngx_queue_next(q);
            p = ngx_queue_data(q, ngx_http_sluice_probe_t, queue);
        }

        ngx_http_sluice_probe_drop(p);
    }
}
