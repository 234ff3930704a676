
/*
 * Who asks.  A client is known, limited and recorded by the HMAC-SHA256 of
 * what it presents, cut to 128 bits: its key is never kept.
 *
 * The key of the hash is the operator's (sluice_client_secret), or one that
 * is made once in the directory; then a client has a new hash after a boot.
 */

/* the block interface: the other one allocates for each message */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "ngx_http_sluice.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>


#define NGX_HTTP_SLUICE_SECRET_FILE  "client.secret"
#define NGX_HTTP_SLUICE_SECRET_LEN   32


/* SHA-256 after the first block of each of HMAC's two passes (RFC 2104) */
typedef struct {
    SHA256_CTX    inner;
    SHA256_CTX    outer;
} ngx_http_sluice_hmac_t;


/*
 * The last clients of a worker, told apart by a hash of what they present
 * under a key of the configuration's own: 128 bits of SipHash cost a tenth of
 * two passes of SHA-256, and say nothing to who does not have the key.
 */

#define NGX_HTTP_SLUICE_CLIENTS  1024       /* a power of two                */

typedef struct {
    sluice_hash_t             hash;
    ngx_http_sluice_client_t  client;
} ngx_http_sluice_known_t;

/* of the cycle: another secret makes other ids */
typedef struct {
    ngx_http_sluice_hmac_t    hmac;
    uint8_t                   key[16];
    ngx_http_sluice_known_t   known[NGX_HTTP_SLUICE_CLIENTS];
} ngx_http_sluice_clients_t;


static void ngx_http_sluice_hmac(ngx_http_sluice_hmac_t *hmac,
    ngx_str_t *value, ngx_http_sluice_client_t *client);
static ngx_int_t ngx_http_sluice_client_secret_file(ngx_cycle_t *cycle,
    sluice_dir_t *dir, u_char *secret);
static void ngx_http_sluice_hmac_init(ngx_http_sluice_hmac_t *hmac,
    u_char *key, size_t len);
static ngx_int_t ngx_http_sluice_client_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_sluice_client_vars[] = {

    { ngx_string("sluice_client"), NULL, ngx_http_sluice_client_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_sluice_client_variables(ngx_conf_t *cf)
{
    return ngx_http_sluice_add_vars(cf, ngx_http_sluice_client_vars);
}


ngx_int_t
ngx_http_sluice_client_start(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *smcf)
{
    size_t   len;
    u_char  *key, secret[NGX_HTTP_SLUICE_SECRET_LEN];

    ngx_http_sluice_clients_t  *clients;

    clients = ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_clients_t));
    if (clients == NULL) {
        return NGX_ERROR;
    }

    smcf->client_hash = clients;
    sluice_random(clients->key, sizeof(clients->key));

    if (smcf->client_secret.len != 0) {
        key = smcf->client_secret.data;
        len = smcf->client_secret.len;

    } else {
        if (ngx_http_sluice_client_secret_file(cycle, &smcf->dir, secret)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        key = secret;
        len = NGX_HTTP_SLUICE_SECRET_LEN;
    }

    ngx_http_sluice_hmac_init(&clients->hmac, key, len);

    OPENSSL_cleanse(secret, sizeof(secret));

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_client_secret_file(ngx_cycle_t *cycle, sluice_dir_t *dir,
    u_char *secret)
{
    int          fd;
    char         temp[64];
    u_char       fresh[NGX_HTTP_SLUICE_SECRET_LEN];
    ssize_t      n;
    ngx_uint_t   tries;
    struct stat  st;

    for (tries = 0; tries < 2; tries++) {

        fd = openat(dir->fd, NGX_HTTP_SLUICE_SECRET_FILE,
                    O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

        if (fd != -1) {

            n = (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
                 && st.st_uid == dir->uid && (st.st_mode & 077) == 0)
                ? read(fd, secret, NGX_HTTP_SLUICE_SECRET_LEN) : -1;

            (void) close(fd);

            if (n == NGX_HTTP_SLUICE_SECRET_LEN) {
                return NGX_OK;
            }

            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "\"%s/" NGX_HTTP_SLUICE_SECRET_FILE "\" is not a "
                          "secret of the worker user, mode 0600, of %d bytes",
                          dir->path, NGX_HTTP_SLUICE_SECRET_LEN);
            return NGX_ERROR;
        }

        if (ngx_errno != NGX_ENOENT) {
            break;
        }

        /* whole before it has its name; who comes second takes the first's */

        sluice_random(fresh, sizeof(fresh));
        ngx_sprintf((u_char *) temp, ".secret.%P%Z", ngx_pid);

        fd = openat(dir->fd, temp,
                    O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);

        if (fd == -1) {
            break;
        }

        n = write(fd, fresh, sizeof(fresh));

        if (n != (ssize_t) sizeof(fresh)
            || (geteuid() == 0 && fchown(fd, dir->uid, dir->gid) == -1)
            || (linkat(dir->fd, temp, dir->fd, NGX_HTTP_SLUICE_SECRET_FILE, 0)
                == -1
                && ngx_errno != NGX_EEXIST))
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "writing \"%s/" NGX_HTTP_SLUICE_SECRET_FILE "\" "
                          "failed", dir->path);
            (void) unlinkat(dir->fd, temp, 0);
            (void) close(fd);
            return NGX_ERROR;
        }

        (void) unlinkat(dir->fd, temp, 0);
        (void) close(fd);

        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "made \"%s/" NGX_HTTP_SLUICE_SECRET_FILE "\": clients "
                      "have other ids after the next boot; set "
                      "\"sluice_client_secret\" to keep them",
                      dir->path);
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                  "opening \"%s/" NGX_HTTP_SLUICE_SECRET_FILE "\" failed",
                  dir->path);

    return NGX_ERROR;
}


static void
ngx_http_sluice_hmac_init(ngx_http_sluice_hmac_t *hmac, u_char *key,
    size_t len)
{
    u_char      pad[SHA256_CBLOCK], digest[SHA256_DIGEST_LENGTH];
    ngx_uint_t  i;

    if (len > SHA256_CBLOCK) {
        SHA256(key, len, digest);
        key = digest;
        len = SHA256_DIGEST_LENGTH;
    }

    ngx_memzero(pad, sizeof(pad));
    ngx_memcpy(pad, key, len);

    for (i = 0; i < SHA256_CBLOCK; i++) {
        pad[i] ^= 0x36;
    }

    SHA256_Init(&hmac->inner);
    SHA256_Update(&hmac->inner, pad, SHA256_CBLOCK);

    for (i = 0; i < SHA256_CBLOCK; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }

    SHA256_Init(&hmac->outer);
    SHA256_Update(&hmac->outer, pad, SHA256_CBLOCK);

    OPENSSL_cleanse(pad, sizeof(pad));
    OPENSSL_cleanse(digest, sizeof(digest));
}


static void
ngx_http_sluice_hmac(ngx_http_sluice_hmac_t *hmac, ngx_str_t *value,
    ngx_http_sluice_client_t *client)
{
    u_char      digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX  sha;

    sha = hmac->inner;
    SHA256_Update(&sha, value->data, value->len);
    SHA256_Final(digest, &sha);

    sha = hmac->outer;
    SHA256_Update(&sha, digest, SHA256_DIGEST_LENGTH);
    SHA256_Final(digest, &sha);

    ngx_memcpy(client->id, digest, NGX_HTTP_SLUICE_ID_LEN);
    ngx_hex_dump(client->text, digest, NGX_HTTP_SLUICE_ID_LEN);
    client->known = 1;
}


/*
 * Finds out who asks, unless that is known; it stays unknown if the request
 * presents nothing, or the location knows no clients.
 */

ngx_int_t
ngx_http_sluice_client_get(ngx_http_request_t *r,
    ngx_http_sluice_loc_conf_t *slcf, ngx_http_sluice_client_t *client)
{
    ngx_str_t                     value;
    sluice_hash_t                 hash;
    ngx_http_sluice_known_t      *known;
    ngx_http_sluice_clients_t    *clients;
    ngx_http_sluice_main_conf_t  *smcf;

    if (client->known || slcf->client == NULL) {
        return NGX_OK;
    }

    if (ngx_http_sluice_value(r, slcf->client, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (value.len == 0) {
        return NGX_OK;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sluice_module);
    clients = smcf->client_hash;

    hash = sluice_siphash(clients->key, value.data, value.len);
    known = &clients->known[hash.lo % NGX_HTTP_SLUICE_CLIENTS];

    if (known->hash.lo != hash.lo || known->hash.hi != hash.hi) {
        ngx_http_sluice_hmac(&clients->hmac, &value, &known->client);
        known->hash = hash;
    }

    /* a copy: the next request may be of another client */

    *client = known->client;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_client_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sluice_ctx_t       *ctx;
    ngx_http_sluice_client_t    *client;
    ngx_http_sluice_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sluice_module);
    ctx = ngx_http_sluice_get_ctx(r);

    if (ctx != NULL) {
        client = &ctx->client;

    } else {
        client = ngx_pcalloc(r->pool, sizeof(ngx_http_sluice_client_t));
        if (client == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_http_sluice_client_get(r, slcf, client) != NGX_OK) {
        return NGX_ERROR;
    }

    v->len = client->known ? NGX_HTTP_SLUICE_CLIENT_LEN : 0;
    v->data = client->text;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = !client->known;

    return NGX_OK;
}


char *
ngx_http_sluice_client(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_loc_conf_t *slcf = conf;

    ngx_str_t                         *value;
    ngx_http_sluice_main_conf_t       *smcf;

    if (slcf->client != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        slcf->client = NULL;
        return NGX_CONF_OK;
    }

    slcf->client = ngx_palloc(cf->pool, sizeof(ngx_http_sluice_value_t));
    if (slcf->client == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sluice_compile(cf, &value[1], slcf->client) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (slcf->client->complex.lengths == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" has no variable: it would be the same "
                           "client for everybody", &value[1]);
        return NGX_CONF_ERROR;
    }

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);
    smcf->clients = 1;

    return NGX_CONF_OK;
}
