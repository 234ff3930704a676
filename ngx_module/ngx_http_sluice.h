
/*
 * What the files of the module share.  One file a concern:
 *
 *   module      commands, configurations, start
 *   value       names and values in directives
 *   secret      what must not be read, in files, sealed or not
 *   files       the directory and its files, for a cycle
 *   process     a worker's slot, lane and timer
 *   client      who asks: the keyed hash
 *   limit       charging a request, and settling
 *   limit_conf  zones and limits as they are written
 *   conn        limits of what is in flight
 *   limit_headers  what the client reads of its limits
 *   pool_conf   what pools of keys and of proxies have in common
 *   key         a key for a request: taken, given back, judged
 *   key_conf    key pools as they are written
 *   key_policy  ... and what they do about answers
 *   key_try     another try with another key, inside one request
 *   key_peer    ... and at which server: around the balancer
 *   key_answer  what an upstream's answer says about a key
 *   proxy_conf  proxy pools and egress as they are written
 *   proxy       proxies: their pool's file, judged, recorded
 *   egress      the wrappers that send a request through a proxy
 *   egress_try  ... and what becomes of each try
 *   tunnel      the handshake with a proxy, on a connection
 *   probe       looks for proxies that are down, or up again
 *   admission   the handler that decides, and what a request holds
 *   refusal     what a refused client reads
 *   usage       the record: its filter and its handler
 */

#ifndef _NGX_HTTP_SLUICE_H_INCLUDED_
#define _NGX_HTTP_SLUICE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

/*
 * What follows is of this module alone.  Were it visible, calls from file to
 * file would go through a table, lest another module has the same name.
 */
#pragma GCC visibility push(hidden)

#include "shm/balance.h"
#include "shm/clock.h"
#include "shm/conn.h"
#include "shm/lane.h"
#include "shm/limit.h"


#define NGX_HTTP_SLUICE_ID_LEN          16      /* of client and request     */
#define NGX_HTTP_SLUICE_CLIENT_LEN      32      /* the same in hex digits    */

#define NGX_HTTP_SLUICE_FULL_REJECT     0
#define NGX_HTTP_SLUICE_FULL_DROP       1

/* of a kind: a bit each in a request's context */
#define NGX_HTTP_SLUICE_ZONES_MAX       64

/* that a request has room for from the beginning */
#define NGX_HTTP_SLUICE_CHARGES         4

#define NGX_HTTP_SLUICE_UNIT_REQUESTS   0
#define NGX_HTTP_SLUICE_UNIT_TOKENS     1
#define NGX_HTTP_SLUICE_UNIT_BYTES      2
#define NGX_HTTP_SLUICE_UNITS           3

/* a shorter key stands in a header by chance, and is not looked for there */
#define NGX_HTTP_SLUICE_MASK_MIN        8

/* statuses that a pool may be told about, and sluice_key_next */
#define NGX_HTTP_SLUICE_STATUS_MIN      400
#define NGX_HTTP_SLUICE_STATUSES        200

/* lines of a key pool that stand once, a bit each in pool->written */
#define NGX_HTTP_SLUICE_BALANCE         0x01
#define NGX_HTTP_SLUICE_COOLDOWN        0x02
#define NGX_HTTP_SLUICE_DISABLE         0x04
#define NGX_HTTP_SLUICE_EXHAUST         0x08
#define NGX_HTTP_SLUICE_BREAKER         0x10

#define NGX_HTTP_SLUICE_NEXT_401             0x0002
#define NGX_HTTP_SLUICE_NEXT_402             0x0004
#define NGX_HTTP_SLUICE_NEXT_403             0x0008
#define NGX_HTTP_SLUICE_NEXT_429             0x0010
#define NGX_HTTP_SLUICE_NEXT_500             0x0020
#define NGX_HTTP_SLUICE_NEXT_502             0x0040
#define NGX_HTTP_SLUICE_NEXT_503             0x0080
#define NGX_HTTP_SLUICE_NEXT_504             0x0100
#define NGX_HTTP_SLUICE_NEXT_529             0x0200
#define NGX_HTTP_SLUICE_NEXT_NON_IDEMPOTENT  0x0400
#define NGX_HTTP_SLUICE_NEXT_OFF             0x0800
#define NGX_HTTP_SLUICE_NEXT_ERROR           0x1000
#define NGX_HTTP_SLUICE_NEXT_TIMEOUT         0x2000

#define NGX_HTTP_SLUICE_FORMAT_PROBLEM    0
#define NGX_HTTP_SLUICE_FORMAT_OPENAI     1
#define NGX_HTTP_SLUICE_FORMAT_ANTHROPIC  2


/* who asks */
typedef struct {
    u_char                      id[NGX_HTTP_SLUICE_ID_LEN];
    u_char                      text[NGX_HTTP_SLUICE_CLIENT_LEN];
    ngx_uint_t                  known;          /* 0: presents nothing       */
} ngx_http_sluice_client_t;


/* what is defined in one place and named in others; it begins with this */
typedef struct {
    ngx_str_t                   name;           /* with a NUL behind it      */
    ngx_str_t                   file;           /* of its definition, else   */
    ngx_uint_t                  line;           /* where it was named first  */
    ngx_uint_t                  defined;
} ngx_http_sluice_named_t;


/* a complex value, or the one variable that it is */
typedef struct {
    ngx_http_complex_value_t    complex;
    ngx_int_t                   index;          /* NGX_ERROR: it is not one  */
    ngx_http_get_variable_pt    header;         /* $http_authorization's     */
                                                /* getter; NULL: another     */
} ngx_http_sluice_value_t;


/* what a zone tells requests apart by, as it is written */
typedef struct {
    ngx_http_sluice_value_t     value;
    ngx_uint_t                  by_client;      /* it is $sluice_client      */
} ngx_http_sluice_zone_key_conf_t;


/* and as a request has it */
typedef struct {
    u_char                     *id;             /* of the client; NULL: by   */
    ngx_str_t                   text;           /* the text                  */
} ngx_http_sluice_zone_key_t;


typedef struct {
    ngx_http_sluice_named_t     named;

    ngx_http_sluice_zone_key_conf_t  key;
    sluice_limit_conf_t         conf;
    uint64_t                    least;          /* limit of any location, 0: */
                                                /* none is a number          */
    sluice_limit_t              limit;
    sluice_limit_t              former;
    uint64_t                    former_since;   /* ms, seen unused; 0: used  */
    uint64_t                    bit;            /* among the zones           */
} ngx_http_sluice_zone_t;


/* of what is in flight */
typedef struct {
    ngx_http_sluice_named_t     named;

    ngx_http_sluice_zone_key_conf_t  key;
    size_t                      size;

    sluice_conn_t               conn;
    sluice_conn_t               former;
    uint64_t                    bit;            /* among the zones           */
} ngx_http_sluice_conn_zone_t;


typedef struct {
    ngx_http_sluice_zone_t     *zone;
    uint64_t                    max;            /* if max_value is NULL      */
    ngx_http_sluice_value_t    *max_value;
    uint64_t                    weight;         /* if weight_value is NULL   */
    ngx_http_sluice_value_t    *weight_value;
    ngx_http_sluice_value_t    *settle;         /* NULL: nobody tells        */
    ngx_uint_t                  status;
    unsigned                    dry_run:1;
    unsigned                    warned:1;       /* of what scale= makes of it */
} ngx_http_sluice_limit_t;


/* one table that a request charges; a zone has two while it changes */
typedef struct {
    ngx_http_sluice_limit_t    *limit;
    sluice_limit_t             *table;
    sluice_hash_t               key;
    uint32_t                    max;            /* units                     */
    uint32_t                    n;              /* units                     */
    sluice_limit_state_t        state;          /* before the charge         */
    unsigned                    look:1;         /* never charged             */
    unsigned                    charged:1;      /* and neither taken back    */
    unsigned                    refused:1;      /* nor settled               */
} ngx_http_sluice_charge_t;


typedef struct {
    ngx_http_sluice_conn_zone_t  *zone;
    uint64_t                    max;            /* if max_value is NULL      */
    ngx_http_sluice_value_t    *max_value;
    ngx_uint_t                  status;
    unsigned                    dry_run:1;
} ngx_http_sluice_conn_t;


/* one that a request has, had, or could not get */
typedef struct {
    ngx_http_sluice_conn_t     *conn;
    sluice_conn_t              *table;
    uint32_t                    max;
    uint32_t                    left;           /* when it was seen last     */
    sluice_conn_hold_t          hold;
    unsigned                    held:1;
} ngx_http_sluice_place_t;


/* a directive in the block of a pool */
typedef struct {
    ngx_str_t                   name;
    ngx_uint_t                  once;           /* its bit; 0: many          */
    char                     *(*handler)(ngx_conf_t *cf, void *pool);
} ngx_http_sluice_pool_line_t;


/* a block while it is parsed */
typedef struct {
    const char                 *what;           /* "key"                     */
    const char                 *many;           /* "keys"                    */
    const char                 *known;          /* directives, in words      */
    ngx_http_sluice_pool_line_t  *lines;        /* up to one without a name  */
    ngx_http_sluice_named_t    *named;
    void                       *pool;
    ngx_uint_t                  written;        /* those that stand once     */
} ngx_http_sluice_block_t;


typedef struct {
    ngx_str_t                   secret;
    size_t                      rare;           /* a byte of it: its place   */
    sluice_member_t            *line;           /* in the pool's file        */
    ngx_uint_t                  strict;         /* by its own proxy, or not  */
    ngx_str_t                   id;             /* with a NUL behind it      */
    ngx_str_t                   proxy;          /* its own; NULL: any        */
} ngx_http_sluice_key_t;


typedef struct {
    ngx_http_sluice_named_t     named;
    ngx_array_t                 keys;           /* ngx_http_sluice_key_t     */
    sluice_balance_t           *balance;        /* NULL: not open            */
    ngx_array_t                 members;        /* sluice_balance_conf_t, in
                                                   the same order            */
    ngx_uint_t                  method;         /* sluice_balance_method_t   */
    ngx_http_sluice_value_t    *hash;           /* of what, for HASH         */

    sluice_member_policy_t      policy;
    u_char                      answers[NGX_HTTP_SLUICE_STATUSES];
                                                /* SLUICE_ANSWERS: not said  */
    ngx_array_t                 patterns;       /* ngx_str_t, quota errors   */
    ngx_uint_t                  written;        /* lines that there were     */
    ngx_uint_t                  unread;         /* an error was, and logged  */

    sluice_pool_t               pool;
} ngx_http_sluice_pool_t;


/* sluice_key, as it is written */
typedef struct {
    ngx_http_sluice_pool_t     *pool;
    ngx_msec_t                  wait;
    ngx_http_sluice_value_t    *tokens;         /* NULL: the estimate is 0   */
    ngx_http_sluice_value_t    *settle;         /* NULL: nobody tells        */
} ngx_http_sluice_key_conf_t;


/* a try, for the record */
typedef struct {
    ngx_http_sluice_key_t      *key;
    ngx_uint_t                  state;          /* in r->upstream_states     */
} ngx_http_sluice_key_try_t;


/* zones that a request has been decided for, by their bits */
typedef struct {
    uint64_t                    any;
    uint64_t                    enforced;       /* not in a dry run only     */
} ngx_http_sluice_zones_t;


/*
 * A request that was admitted without a key, for what its location's cache may
 * have: what it is refused with if it has not, and what it had before.
 */
typedef struct {
    ngx_http_sluice_pool_t     *pool;
    ngx_uint_t                  status;
    uint64_t                    retry;          /* ms                        */
    sluice_outcome_t            outcome;
    ngx_http_sluice_zones_t     decided;
    ngx_http_sluice_zones_t     held;
    ngx_uint_t                  ncharges;
    ngx_uint_t                  nplaces;
} ngx_http_sluice_lack_t;


/* a key that was refused, until it is clear whether the request is to blame */
typedef struct {
    ngx_http_sluice_pool_t     *pool;
    ngx_http_sluice_key_t      *key;
    sluice_member_try_t         try;
    sluice_answer_t             answer;         /* denied or exhausted       */
    sluice_member_reason_t      reason;
    ngx_uint_t                  status;
} ngx_http_sluice_denied_t;


typedef struct ngx_http_sluice_try_s          ngx_http_sluice_try_t;
typedef struct ngx_http_sluice_proxy_s        ngx_http_sluice_proxy_t;
typedef struct ngx_http_sluice_egress_s       ngx_http_sluice_egress_t;
typedef struct ngx_http_sluice_egress_conf_s  ngx_http_sluice_egress_conf_t;


/* a try to get through a proxy, for the record */
typedef struct {
    ngx_http_sluice_proxy_t    *proxy;          /* NULL: direct              */
    ngx_uint_t                  state;          /* in r->upstream_states     */
    ngx_uint_t                  result;         /* sluice_tunnel_result_t    */
    ngx_msec_t                  time;           /* -1: no tunnel was made    */
} ngx_http_sluice_passage_t;


typedef struct {
    ngx_str_t                   name;
    ngx_http_sluice_value_t     value;
    ngx_uint_t                  late;           /* at=log                    */
} ngx_http_sluice_field_t;


typedef struct {
    ngx_str_t                   path;           /* of sluice_dir             */
    gid_t                       group;
    size_t                      ring;
    ngx_uint_t                  on_full;
    ngx_uint_t                  open;           /* 0: worker_connections     */
    ngx_str_t                   node;
    ngx_str_t                   client_secret;  /* contents of its file      */

    ngx_array_t                 zones;          /* ngx_http_sluice_zone_t *  */
    ngx_array_t                 conns;     /* ngx_http_sluice_conn_zone_t *  */
    ngx_array_t                 pools;          /* ngx_http_sluice_pool_t *  */
    ngx_array_t                 upstreams;      /* without a block: key_peer */
    ngx_array_t                 proxy_pools;
                                           /* ngx_http_sluice_proxy_pool_t * */
    ngx_array_t                 egresses;       /* ngx_http_sluice_egress.c  */
    ngx_array_t                 egress_literals;
                                           /* ngx_http_upstream_srv_conf_t * */
    ngx_str_t                   master_key;     /* file, of sealed ones      */
    ngx_int_t                   request_id;     /* index of a variable       */

    ngx_uint_t                  clients;        /* somebody is hashed        */
    ngx_uint_t                  usage;          /* somebody is recorded      */
    ngx_uint_t                  limit_headers;  /* somebody is told          */
    ngx_uint_t                  other_answers;  /* to refusals, no errors    */

    /* from here on: set when the files are opened */

    sluice_dir_t                dir;
    void                       *client_hash;    /* ngx_http_sluice_client.c  */
    unsigned                    live:1;         /* the cycle is in force     */
} ngx_http_sluice_main_conf_t;


typedef struct {
    ngx_http_sluice_key_conf_t *key;            /* NULL: off                 */
    ngx_array_t                *limits;         /* ngx_http_sluice_limit_t   */
    ngx_array_t                *conns;          /* ngx_http_sluice_conn_t    */
    ngx_flag_t                  usage;
    ngx_flag_t                  limit_headers;
    void                       *proxies;        /* one must be up; or NULL   */
    ngx_http_sluice_value_t    *client;
    ngx_uint_t                  key_next;
    ngx_uint_t                  key_tries;
    ngx_msec_t                  key_timeout;
    ngx_http_sluice_egress_conf_t  *egress;     /* NULL: not said here       */
    ngx_http_handler_pt         handler;        /* of the location around an */
                                                /* "if", perhaps             */
    ngx_array_t                *fields;         /* ngx_http_sluice_field_t   */
    ngx_flag_t                  usage_refused;
    ngx_uint_t                  format;
    ngx_uint_t                  limit_log_level;
    ngx_uint_t                  cached;         /* methods that a cache is   */
                                                /* asked for                 */
} ngx_http_sluice_loc_conf_t;


/* of an upstream{} */
typedef struct {
    ngx_http_sluice_egress_conf_t  *egress;     /* UNSET: not said           */
    ngx_http_upstream_init_pt       init_upstream;
    ngx_http_upstream_init_peer_pt  inner_init; /* the balancer's            */
    ngx_http_upstream_init_peer_pt  try_init;   /* key_peer's: egress' or the
                                                   balancer's                */
} ngx_http_sluice_srv_conf_t;


/*
 * What a request holds.  It lives as long as r->pool and is found again after a
 * redirect, which zeroes r->ctx, by the cleanup that gives all of it back.
 * What most requests with a key touch again after a wait stands together: each
 * line of the CPU's cache has to come back then.
 */
typedef struct {
    ngx_http_request_t         *request;
    ngx_http_sluice_try_t      *try;            /* of its upstream           */
    ngx_http_sluice_pool_t     *pool;           /* of the key below          */
    ngx_http_sluice_key_t      *key;            /* NULL: none so far         */
    sluice_entry_t             *entry;          /* NULL: not recorded        */
    ngx_http_sluice_egress_t   *egress;         /* of its upstream, or NULL  */
    ngx_array_t                *denied;         /* NULL: or some keys were   */

    sluice_outcome_t            outcome;        /* OPEN: not decided yet     */
    unsigned                    taken:1;        /* key is in flight          */
    unsigned                    charged:1;      /* its windows are charged   */
    unsigned                    tried:1;        /* a try with it has begun   */
    unsigned                    sent:1;         /* ... and has gone out      */
    unsigned                    judged:1;       /* its answer has come       */
    unsigned                    failed:1;       /* ... and was no good       */
    unsigned                    allowed:1;      /* some key was not denied   */
    unsigned                    well:1;         /* ... and no error came     */
    unsigned                    waits:1;        /* for a key                 */
    unsigned                    full:1;         /* one has no place          */

    ngx_http_sluice_loc_conf_t *conf;           /* of the record             */
    ngx_uint_t                  nplaces;
    ngx_http_sluice_key_conf_t *key_conf;       /* that the key is taken for */
    sluice_balance_hold_t       hold;           /* valid if taken or charged */

    ngx_http_sluice_try_t      *spare;          /* zeroes; NULL: used        */
    ngx_http_sluice_key_try_t  *tries;
    ngx_http_sluice_key_try_t   first_try;
    ngx_uint_t                  ntries;
    ngx_http_cleanup_t          cleanup;        /* gives the key back        */

    ngx_msec_t                  waiting;        /* for a key, since          */
    ngx_http_sluice_pool_t     *refused_pool;   /* had no well key           */
    ngx_http_sluice_lack_t     *lack;           /* NULL: of no key           */

    ngx_http_sluice_passage_t  *passages;
    ngx_uint_t                  npassages;

    ngx_http_sluice_zones_t     decided;
    ngx_http_sluice_charge_t   *charges;
    ngx_uint_t                  ncharges;
    ngx_uint_t                  foreseen;       /* the last of them: not made */
    ngx_http_sluice_zones_t     held;           /* conn zones                */
    ngx_http_sluice_place_t    *places;
    ngx_http_sluice_named_t    *refused_by;     /* a zone                    */
    ngx_http_sluice_charge_t   *refused_charge; /* NULL: a conn zone         */
    ngx_http_sluice_named_t    *dry_refused_by;
    ngx_uint_t                  refused_status;
    ngx_http_sluice_loc_conf_t *told;           /* of the limits' headers    */
    uint64_t                    retry_told;     /* Retry-After, s; 0: it is  */
                                                /* not ours                  */
    ngx_http_sluice_client_t    client;         /* memo of $sluice_client    */
} ngx_http_sluice_ctx_t;


/* a dry run decides for another one only */

#define ngx_http_sluice_has_zone(zones, limit)                                \
    (((limit)->dry_run ? (zones)->any : (zones)->enforced)                    \
     & (limit)->zone->bit)

#define ngx_http_sluice_add_zone(zones, limit)                                \
    (zones)->any |= (limit)->zone->bit;                                       \
    (zones)->enforced |= (limit)->dry_run ? 0 : (limit)->zone->bit


/* of this process: see ngx_http_sluice_process.c */
typedef struct {
    unsigned                    slot;           /* SLUICE_SLOTS: none        */
    sluice_lane_t              *lane;           /* NULL: none                */
    uint64_t                   *stat;           /* never NULL                */
    int64_t                     wall;           /* us from the monotonic     */
} ngx_http_sluice_process_t;                    /* clock to the wall clock   */


/* module */
extern ngx_module_t  ngx_http_sluice_module;

/* value */
ngx_int_t ngx_http_sluice_add_vars(ngx_conf_t *cf, ngx_http_variable_t *vars);
void ngx_http_sluice_set_value(ngx_http_variable_value_t *v, ngx_str_t *value);
void ngx_http_sluice_set_text(ngx_http_variable_value_t *v, const char *text);
ngx_int_t ngx_http_sluice_set_number(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_uint_t n);
ngx_int_t ngx_http_sluice_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_sluice_value_t *value);
ngx_int_t ngx_http_sluice_value(ngx_http_request_t *r,
    ngx_http_sluice_value_t *value, ngx_str_t *text);
const char *ngx_http_sluice_mentions(ngx_str_t *value, const char **names);
ngx_http_sluice_named_t *ngx_http_sluice_named(ngx_conf_t *cf,
    ngx_array_t *array, size_t size, ngx_str_t *name, const char *what);
ngx_int_t ngx_http_sluice_define(ngx_conf_t *cf,
    ngx_http_sluice_named_t *named, const char *what);
ngx_int_t ngx_http_sluice_define_apart(ngx_conf_t *cf, ngx_array_t *others,
    const char *other, ngx_http_sluice_named_t *named, const char *what);
ngx_int_t ngx_http_sluice_all_defined(ngx_conf_t *cf, ngx_array_t *array,
    const char *what, const char *directive);
void ngx_http_sluice_sort_upstreams(ngx_array_t *array);
void *ngx_http_sluice_find_upstream(ngx_array_t *array,
    ngx_http_upstream_srv_conf_t *us);
ngx_uint_t ngx_http_sluice_upstream_confs(ngx_conf_t *cf,
    ngx_http_upstream_conf_t **literal);
ngx_int_t ngx_http_sluice_module_index(ngx_conf_t *cf, const char *name);
ngx_int_t ngx_http_sluice_copy_name(ngx_conf_t *cf, ngx_str_t *to,
    ngx_str_t *from, const char *what);

/* secret */
ngx_int_t ngx_http_sluice_read_secret(ngx_conf_t *cf, ngx_str_t *spec,
    ngx_str_t *secret);
ngx_int_t ngx_http_sluice_read_secrets(ngx_conf_t *cf, ngx_str_t *spec,
    ngx_array_t *keys);
char *ngx_http_sluice_master_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* files */
ngx_int_t ngx_http_sluice_files_hook(ngx_conf_t *cf);
ngx_int_t ngx_http_sluice_files_pool(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf, sluice_pool_kind_t kind,
    ngx_http_sluice_named_t *named, sluice_pool_t *pool);
sluice_member_t *ngx_http_sluice_files_member(ngx_cycle_t *cycle,
    sluice_pool_t *pool, uint64_t fingerprint, sluice_balance_conf_t *member);
ngx_int_t ngx_http_sluice_files_balance(ngx_cycle_t *cycle,
    sluice_pool_t *pool, ngx_uint_t method, ngx_array_t *members,
    sluice_balance_t **balance);
void ngx_http_sluice_files_retire(ngx_http_sluice_main_conf_t *smcf,
    sluice_file_t *file);

/* process */
extern ngx_http_sluice_process_t  ngx_http_sluice_process;

ngx_int_t ngx_http_sluice_process_start(ngx_cycle_t *cycle);
void ngx_http_sluice_process_stop(ngx_cycle_t *cycle);
void ngx_http_sluice_complain(ngx_http_request_t *r, const char *what,
    ngx_str_t *value);

#define ngx_http_sluice_count(id)                                             \
    sluice_stat_add(ngx_http_sluice_process.stat, SLUICE_STAT_##id, 1)

/* client */
char *ngx_http_sluice_client(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_sluice_client_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_sluice_client_start(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
ngx_int_t ngx_http_sluice_client_get(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_client_t *client);

/* limit */
char *ngx_http_sluice_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sluice_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_sluice_limit_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_sluice_zone_size(ngx_conf_t *cf, ngx_str_t *parameter,
    ngx_str_t *name, ssize_t *size);
ngx_int_t ngx_http_sluice_zone_key_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_str_t *zone, ngx_http_sluice_zone_key_conf_t *key);
ngx_int_t ngx_http_sluice_limit_parameter(ngx_conf_t *cf,
    ngx_str_t *parameter, uint64_t *max, ngx_http_sluice_value_t **max_value,
    ngx_uint_t *status, ngx_uint_t *dry_run);
char *ngx_http_sluice_limit_off(ngx_conf_t *cf, ngx_array_t **limits);
ngx_int_t ngx_http_sluice_limit_whole(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_uint_t zone, ngx_uint_t limit);
char *ngx_http_sluice_limit_push(ngx_conf_t *cf, ngx_array_t **limits,
    void *new, size_t size);
void ngx_http_sluice_no_client(ngx_conf_t *cf, ngx_http_sluice_named_t *zone,
    ngx_str_t *location);
ngx_int_t ngx_http_sluice_limit_check(ngx_conf_t *cf,
    ngx_http_sluice_loc_conf_t *slcf, ngx_str_t *location);
ngx_int_t ngx_http_sluice_limit_charge(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t now, uint64_t *retry);
void ngx_http_sluice_limit_foresee(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t now, uint64_t *retry);
ngx_int_t ngx_http_sluice_zone_key(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_zone_key_conf_t *conf, ngx_http_sluice_zone_key_t *key);
ngx_int_t ngx_http_sluice_amount(ngx_http_request_t *r,
    ngx_http_sluice_value_t *value, const char *complaint, uint64_t *amount);
ngx_int_t ngx_http_sluice_grow(ngx_pool_t *pool, void **array, ngx_uint_t n,
    ngx_uint_t more, size_t size);
void ngx_http_sluice_dry(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_named_t *zone, ngx_http_sluice_charge_t *charge);
void ngx_http_sluice_limit_undo(ngx_http_sluice_ctx_t *ctx, ngx_uint_t first);
void ngx_http_sluice_limit_log(ngx_http_request_t *r,
    ngx_http_sluice_named_t *zone, ngx_http_sluice_charge_t *charge,
    const char *how);
void ngx_http_sluice_limit_settle(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);

/* limit_headers */
void ngx_http_sluice_limit_headers_init(
    ngx_http_sluice_main_conf_t *smcf);
ngx_int_t ngx_http_sluice_set_header(ngx_http_request_t *r, ngx_str_t *name,
    u_char *value, u_char *last);
void ngx_http_sluice_clear_header(ngx_http_request_t *r, ngx_str_t *name);

/* conn */
char *ngx_http_sluice_limit_conn_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sluice_limit_conn(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_sluice_conn_check(ngx_conf_t *cf,
    ngx_http_sluice_loc_conf_t *slcf, ngx_str_t *location);
ngx_int_t ngx_http_sluice_conn_take(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t *retry);
void ngx_http_sluice_conn_give(ngx_http_sluice_ctx_t *ctx, ngx_uint_t first);

/* key */
ngx_int_t ngx_http_sluice_key_variables(ngx_conf_t *cf);
void ngx_http_sluice_key_start(ngx_http_sluice_main_conf_t *smcf);
ngx_int_t ngx_http_sluice_key_take(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t *now, uint64_t *retry, ngx_uint_t *status);
ngx_int_t ngx_http_sluice_key_next(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx, sluice_balance_set_t *had,
    sluice_balance_hold_t *hold);
void ngx_http_sluice_key_switch(ngx_http_sluice_ctx_t *ctx,
    sluice_balance_hold_t *hold);
ngx_int_t ngx_http_sluice_key_again(ngx_http_sluice_ctx_t *ctx);
void ngx_http_sluice_key_unused(ngx_http_sluice_ctx_t *ctx);
void ngx_http_sluice_key_judge(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx, sluice_answer_t answer,
    sluice_member_reason_t reason, ngx_uint_t status, uint64_t hint);
void ngx_http_sluice_key_cut(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx, sluice_answer_t answer, ngx_uint_t status);
void ngx_http_sluice_key_blame(ngx_http_sluice_ctx_t *ctx);
void ngx_http_sluice_key_drop(ngx_http_sluice_ctx_t *ctx,
    sluice_balance_hold_t *hold);
void ngx_http_sluice_key_give(ngx_http_sluice_ctx_t *ctx);
void ngx_http_sluice_key_settle(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);

/* key_conf */
char *ngx_http_sluice_key_pool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sluice_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
void ngx_http_sluice_key_check(ngx_conf_t *cf,
    ngx_http_sluice_loc_conf_t *slcf, ngx_str_t *location);

/* pool_conf */
char *ngx_http_sluice_pool_block(ngx_conf_t *cf,
    ngx_http_sluice_block_t *block, ngx_array_t *members);
ngx_int_t ngx_http_sluice_pool_parameter(ngx_conf_t *cf, ngx_str_t *value,
    sluice_balance_conf_t *member);
ngx_int_t ngx_http_sluice_pool_id(ngx_conf_t *cf, ngx_str_t *value,
    const char *what, ngx_str_t *id);
char *ngx_http_sluice_pool_balance(ngx_conf_t *cf, const char *what,
    ngx_uint_t *method, ngx_http_sluice_value_t **hash);
ngx_int_t ngx_http_sluice_pool_hash(ngx_http_request_t *r,
    ngx_http_sluice_value_t *value, uint64_t *hash);
ngx_int_t ngx_http_sluice_pool_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, uint64_t *ms);
char *ngx_http_sluice_pool_invalid(ngx_conf_t *cf, ngx_str_t *value);

/* key_policy */
void ngx_http_sluice_pool_defaults(ngx_http_sluice_pool_t *pool);
char *ngx_http_sluice_pool_cooldown(ngx_conf_t *cf, void *conf);
char *ngx_http_sluice_pool_disable(ngx_conf_t *cf, void *conf);
char *ngx_http_sluice_pool_exhaust(ngx_conf_t *cf, void *conf);
char *ngx_http_sluice_pool_breaker(ngx_conf_t *cf, void *conf);

/* key_peer */
ngx_int_t ngx_http_sluice_try_init(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf);

/* key_try */
ngx_int_t ngx_http_sluice_try_begin(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
void ngx_http_sluice_try_end(ngx_http_sluice_try_t *t);
void ngx_http_sluice_try_stop(ngx_http_upstream_t *u);

/* proxy_conf */
char *ngx_http_sluice_proxy_pool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sluice_egress(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_sluice_egress_upstream(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_sluice_egress_ties(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf);
ngx_int_t ngx_http_sluice_egress_check(ngx_conf_t *cf,
    ngx_http_sluice_loc_conf_t *prev, ngx_http_sluice_loc_conf_t *slcf,
    ngx_str_t *location);

/* proxy */
ngx_int_t ngx_http_sluice_proxy_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_sluice_proxy_open(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
void ngx_http_sluice_proxy_close(ngx_http_sluice_main_conf_t *smcf);
ngx_int_t ngx_http_sluice_proxy_look(ngx_http_sluice_loc_conf_t *slcf,
    uint64_t *retry);
ngx_str_t *ngx_http_sluice_proxy_pool_name(ngx_http_sluice_loc_conf_t *slcf);
void ngx_http_sluice_proxy_record(ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t state, ngx_uint_t try, sluice_record_t *record);

/* egress */
ngx_int_t ngx_http_sluice_egress_init(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf);
void ngx_http_sluice_egress_start(ngx_http_sluice_main_conf_t *smcf);
ngx_uint_t ngx_http_sluice_egress_strays(ngx_http_sluice_ctx_t *ctx,
    ngx_http_upstream_t *u);
ngx_uint_t ngx_http_sluice_egress_blamed(ngx_http_sluice_egress_t *e);
ngx_uint_t ngx_http_sluice_egress_used(ngx_http_sluice_egress_t *e);
ngx_uint_t ngx_http_sluice_egress_broken(ngx_http_sluice_egress_t *e);
void ngx_http_sluice_egress_end(ngx_http_sluice_egress_t *e);

/* probe */
void ngx_http_sluice_probe_tick(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf);
void ngx_http_sluice_probe_stop(void);

/* admission */
ngx_int_t ngx_http_sluice_admission_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_sluice_lack(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t status, uint64_t retry);
ngx_int_t ngx_http_sluice_admission_late(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
ngx_http_sluice_ctx_t *ngx_http_sluice_find_ctx(ngx_http_request_t *r);
ngx_http_sluice_ctx_t *ngx_http_sluice_create_ctx(ngx_http_request_t *r);

static ngx_inline ngx_http_sluice_ctx_t *
ngx_http_sluice_get_ctx(ngx_http_request_t *r)
{
    ngx_http_sluice_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_sluice_module);

    return (ctx == NULL && (r->internal || r->filter_finalize))
           ? ngx_http_sluice_find_ctx(r) : ctx;
}

/* refusal */
void ngx_http_sluice_refusal_init(ngx_http_sluice_main_conf_t *smcf);
ngx_uint_t ngx_http_sluice_refusal_other(ngx_http_core_loc_conf_t *clcf);
ngx_int_t ngx_http_sluice_refuse(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, sluice_outcome_t outcome,
    ngx_uint_t status, uint64_t retry);
void ngx_http_sluice_refuse_undo(ngx_http_request_t *r);

/* usage */
char *ngx_http_sluice_usage(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_sluice_usage_field(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_sluice_usage_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_sluice_usage_init(ngx_conf_t *cf,
    ngx_http_sluice_main_conf_t *smcf);
ngx_int_t ngx_http_sluice_usage_open(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_ctx_t *ctx,
    uint64_t now);
ngx_int_t ngx_http_sluice_log_handler(ngx_http_request_t *r);
void ngx_http_sluice_usage_start(ngx_log_t *log);
void ngx_http_sluice_usage_cancel(ngx_http_sluice_ctx_t *ctx);
void ngx_http_sluice_usage_push(ngx_http_sluice_ctx_t *ctx);
ngx_uint_t ngx_http_sluice_cached(ngx_http_request_t *r);
ngx_uint_t ngx_http_sluice_stale(ngx_http_request_t *r);

#pragma GCC visibility pop


#endif /* _NGX_HTTP_SLUICE_H_INCLUDED_ */
