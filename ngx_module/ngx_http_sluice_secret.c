
/*
 * Secrets, as a configuration gives them: in itself, in a file, or in a file
 * that is sealed under the master key.  A message never has one.
 */

#include "ngx_http_sluice.h"

#include "shm/seal.h"

#include <openssl/crypto.h>


#define NGX_HTTP_SLUICE_SECRET_MAX   4096
#define NGX_HTTP_SLUICE_SECRETS_MAX  SLUICE_SEAL_PLAIN


static ngx_int_t ngx_http_sluice_secret_text(ngx_conf_t *cf, ngx_str_t *spec,
    size_t max, ngx_str_t *text, ngx_str_t *name);
static ngx_int_t ngx_http_sluice_secret_file(ngx_conf_t *cf, ngx_str_t *name,
    size_t max, ngx_uint_t sealed, ngx_str_t *text);
static ngx_int_t ngx_http_sluice_secret_unseal(ngx_conf_t *cf,
    ngx_str_t *name, ngx_str_t *text);
static ngx_int_t ngx_http_sluice_secret_check(ngx_conf_t *cf,
    ngx_str_t *secret, ngx_str_t *name, ngx_uint_t line);


/* "file:path", "sealed:path": the file's only line; or the secret itself */

ngx_int_t
ngx_http_sluice_read_secret(ngx_conf_t *cf, ngx_str_t *spec,
    ngx_str_t *secret)
{
    ngx_str_t  name;

    if (ngx_http_sluice_secret_text(cf, spec, NGX_HTTP_SLUICE_SECRET_MAX,
                                    secret, &name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (name.len != 0 && secret->len != 0
           && (secret->data[secret->len - 1] == LF
               || secret->data[secret->len - 1] == CR))
    {
        secret->len--;
    }

    if (name.len == 0) {
        ngx_str_set(&name, "the configuration");
    }

    return ngx_http_sluice_secret_check(cf, secret, &name, 0);
}


/*
 * "file:path" or "sealed:path": a secret a line, behind its id and a space.
 * Empty lines and those that begin with "#" are none.
 */

ngx_int_t
ngx_http_sluice_read_secrets(ngx_conf_t *cf, ngx_str_t *spec,
    ngx_array_t *keys)
{
    u_char                 *p, *last, *end;
    ngx_str_t               text, name, id;
    ngx_uint_t              line;
    ngx_http_sluice_key_t  *key;

    if (ngx_http_sluice_secret_text(cf, spec, NGX_HTTP_SLUICE_SECRETS_MAX,
                                    &text, &name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "keys must be \"keys file:PATH\" or "
                           "\"keys sealed:PATH\"");
        return NGX_ERROR;
    }

    last = text.data + text.len;
    line = 0;

    for (p = text.data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, LF);
        if (end == NULL) {
            end = last;
        }

        line++;

        if (p == end || *p == '#' || (*p == CR && p + 1 == end)) {
            continue;
        }

        key = ngx_array_push(keys);
        if (key == NULL) {
            return NGX_ERROR;
        }

        for (id.data = p; p < end && *p != ' ' && *p != '\t'; p++) {
            /* void */
        }

        id.len = p - id.data;

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        key->secret.data = p;
        key->secret.len = end - p;

        if (key->secret.len && p[key->secret.len - 1] == CR) {
            key->secret.len--;
        }

        /* not by what stands there: it may be a secret without an id */

        if (key->secret.len == 0
            || !sluice_name_valid((char *) id.data, id.len))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "line %ui of \"%V\" must have an id of 1 to "
                               "%d letters, digits, \"_\" or \"-\", a space, "
                               "and a key", line, &name, SLUICE_NAME_MAX - 1);
            return NGX_ERROR;
        }

        if (ngx_http_sluice_copy_name(cf, &key->id, &id, "key id") != NGX_OK
            || ngx_http_sluice_secret_check(cf, &key->secret, &name, line)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (keys->nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there are no keys in \"%V\"", &name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* name: of the file; empty, if the text is the secret itself */

static ngx_int_t
ngx_http_sluice_secret_text(ngx_conf_t *cf, ngx_str_t *spec, size_t max,
    ngx_str_t *text, ngx_str_t *name)
{
    size_t      prefix;
    ngx_uint_t  sealed;

    if (spec->len >= 5 && ngx_strncmp(spec->data, "file:", 5) == 0) {
        prefix = 5;
        sealed = 0;

    } else if (spec->len >= 7 && ngx_strncmp(spec->data, "sealed:", 7) == 0) {
        prefix = 7;
        sealed = 1;

    } else {
        *text = *spec;
        ngx_str_null(name);

        return NGX_OK;
    }

    name->len = spec->len - prefix;
    name->data = spec->data + prefix;

    if (name->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" names no file",
                           spec);
        return NGX_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_sluice_secret_file(cf, name,
                                    sealed ? sluice_sealed_size(max) : max,
                                    sealed, text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return sealed ? ngx_http_sluice_secret_unseal(cf, name, text) : NGX_OK;
}


static ngx_int_t
ngx_http_sluice_secret_file(ngx_conf_t *cf, ngx_str_t *name, size_t max,
    ngx_uint_t sealed, ngx_str_t *text)
{
    off_t            size;
    u_char          *p;
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    n = -1;
    p = NULL;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", name);

    } else if (!ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a regular file", name);

    } else if (ngx_file_size(&fi) > (off_t) max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the secret in %V is too long", name);

    } else {
        if (!sealed && (fi.st_mode & (S_IWGRP|S_IRWXO))) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"%V\" holds a secret that others may read or "
                               "change", name);
        }

        size = ngx_file_size(&fi);
        p = ngx_pnalloc(cf->pool, size + 1);

        if (p != NULL) {
            n = ngx_read_fd(fd, p, size);

            if (n == -1) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                                   ngx_read_fd_n " \"%V\" failed", name);
            }
        }
    }

    (void) ngx_close_file(fd);

    if (n == -1) {
        return NGX_ERROR;
    }

    text->data = p;
    text->len = n;

    return NGX_OK;
}


/* in place: what was sealed is shorter */

static ngx_int_t
ngx_http_sluice_secret_unseal(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text)
{
    size_t                        len;
    uint8_t                       key[SLUICE_SEAL_KEY];
    u_char                       *plain;
    ngx_str_t                     master;
    sluice_error_t                error;
    sluice_status_t               status;
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module);

    if (smcf->master_key.data == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is sealed, and no \"sluice_master_key\" "
                           "stands before this line", name);
        return NGX_ERROR;
    }

    if (ngx_http_sluice_secret_file(cf, &smcf->master_key,
                                    NGX_HTTP_SLUICE_SECRET_MAX, 0, &master)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    status = sluice_seal_key((char *) master.data, master.len, key, &error);

    OPENSSL_cleanse(master.data, master.len);

    if (status != SLUICE_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s",
                           &smcf->master_key, error.text);
        return NGX_ERROR;
    }

    plain = ngx_pnalloc(cf->pool, text->len + 1);

    if (plain == NULL) {
        OPENSSL_cleanse(key, sizeof(key));
        return NGX_ERROR;
    }

    status = sluice_unseal(key, (char *) text->data, text->len, plain, &len,
                           &error);

    OPENSSL_cleanse(key, sizeof(key));

    if (status != SLUICE_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s", name,
                           error.text);
        return NGX_ERROR;
    }

    text->data = plain;
    text->len = len;

    return NGX_OK;
}


/* it goes into headers: nothing that could end one is let through */

static ngx_int_t
ngx_http_sluice_secret_check(ngx_conf_t *cf, ngx_str_t *secret,
    ngx_str_t *name, ngx_uint_t line)
{
    size_t  i;

    if (secret->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "there is no secret in %V",
                           name);
        return NGX_ERROR;
    }

    if (secret->len > NGX_HTTP_SLUICE_SECRET_MAX) {

        if (line == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the secret in %V is too long", name);
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the secret in line %ui of %V is too long",
                               line, name);
        }

        return NGX_ERROR;
    }

    for (i = 0; i < secret->len; i++) {

        if (secret->data[i] >= 0x20 && secret->data[i] != 0x7f) {
            continue;
        }

        if (line == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the secret in %V has a control character at "
                               "byte %uz: a header cannot carry it",
                               name, i + 1);
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the secret in line %ui of %V has a control "
                               "character at byte %uz: a header cannot carry "
                               "it", line, name, i + 1);
        }

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* sluice_master_key path; */

char *
ngx_http_sluice_master_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_main_conf_t *smcf = conf;

    ngx_str_t  *value;

    if (smcf->master_key.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "empty path");
        return NGX_CONF_ERROR;
    }

    smcf->master_key = value[1];

    if (ngx_conf_full_name(cf->cycle, &smcf->master_key, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
