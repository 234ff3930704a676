# Why it exists: what an answer costs is known when it is over.  Until then its
# estimate is charged; then the window has what it really was, less or more,
# and what was never spent is given back.
#
# GET /look?k=KEY charges nothing and tells what is left.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 124;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $arg_k zone=tpm:64k window=1h unit=tokens;
        sluice_limit_zone all zone=rpm:64k window=1h;
        map all $zero { default 0; }
        sluice_limit_headers on;
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            add_header X-Used $arg_used always;
            location = /404 { return 404; }
            location = /bad { return 502; }
            location / { return 200 "ok\n"; }
        }
    ');
    $block->set_value('config', ($block->config // '') . '
        location = /look {
            sluice_limit zone=tpm limit=100 weight=$zero settle=$arg_none;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
        location ~ ^/(?:t|404|bad)$ {
            sluice_limit zone=tpm limit=100 weight=50
                         settle=$upstream_http_x_used;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
    ');
});

run_tests();

__DATA__

=== TEST 1: less than the estimate: the rest is given back
--- request eval
["GET /t?k=1&used=10", "GET /look?k=1", "GET /t?k=1&used=0",
 "GET /look?k=1", "GET /t?k=1&used=40", "GET /look?k=1", "GET /t?k=1&used=1",
 "GET /t?k=1&used=1"]
--- error_code eval
[200, 200, 200, 200, 200, 200, 200, 429]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=90\b', '"tpm";r=40\b', '"tpm";r=90\b', '"tpm";r=40\b',
 '"tpm";r=50\b', '"tpm";r=0\b', '"tpm";r=49\b']



=== TEST 2: more than the estimate: even over the limit, and then no more
--- request eval
["GET /t?k=1&used=60", "GET /look?k=1", "GET /t?k=1&used=1",
 "GET /t?k=2&used=250", "GET /look?k=2", "GET /t?k=2&used=1"]
--- error_code eval
[200, 200, 429, 200, 429, 429]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=40\b', '"tpm";r=40\b', '"tpm";r=50\b', '"tpm";r=0\b',
 '"tpm";r=0\b']



=== TEST 3: nobody tells: the estimate stays, for an error nothing does
--- request eval
["GET /t?k=1", "GET /look?k=1", "GET /404?k=1", "GET /look?k=1",
 "GET /bad?k=1", "GET /look?k=1", "GET /404?k=1&used=7", "GET /look?k=1"]
--- error_code eval
[200, 200, 404, 200, 502, 200, 404, 200]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=50\b', '"tpm";r=0\b', '"tpm";r=50\b', '"tpm";r=0\b',
 '"tpm";r=50\b', '"tpm";r=0\b', '"tpm";r=43\b']



=== TEST 4: no number: the estimate stays, and a line a second says so
--- request eval
["GET /t?k=1&used=x", "GET /look?k=1", "GET /t?k=2&used=-5", "GET /look?k=2",
 "GET /404?k=3&used=1.5", "GET /look?k=3"]
--- error_code eval
[200, 200, 200, 200, 404, 200]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=50\b', '"tpm";r=50\b', '"tpm";r=50\b', '"tpm";r=50\b',
 '"tpm";r=50\b']
--- x_log
1-3: what a request cost must be a number, not



=== TEST 5: a refusal settles nothing
--- request eval
["GET /t?k=1&used=70", "GET /t?k=1&used=0", "GET /t?k=1", "GET /look?k=1"]
--- error_code eval
[200, 429, 429, 200]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=30\b', '"tpm";r=30\b', '"tpm";r=30\b']
--- x_zone
tpm passed=2 refused=2



=== TEST 6: nobody told how it settles: tokens stay, whatever the answer was
--- config
    location = /plain {
        sluice_limit zone=tpm limit=100 weight=50;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/404;
    }
--- request eval
["GET /plain?k=1&used=1", "GET /look?k=1"]
--- error_code eval
[404, 200]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=50\b']



=== TEST 7: each of several limits settles for itself
--- config
    location = /both {
        sluice_limit zone=rpm limit=4;
        sluice_limit zone=tpm limit=100 weight=50
                     settle=$upstream_http_x_used;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /both?k=1&used=10", "GET /both?k=1&used=10", "GET /both?k=1&used=50",
 "GET /both?k=1&used=1", "GET /both?k=2&used=1"]
--- error_code eval
[200, 200, 200, 429, 200]
--- raw_response_headers_like eval
['"rpm";r=3;t=\d+, "tpm";r=50\b', '"rpm";r=2;t=\d+, "tpm";r=40\b',
 '"rpm";r=1;t=\d+, "tpm";r=30\b', '"rpm";r=1, "tpm";r=30\b',
 '"rpm";r=0;t=\d+, "tpm";r=50\b']



=== TEST 8: an estimate of nothing, which is found to have been something
--- config
    location = /free {
        sluice_limit zone=tpm limit=100 weight=$zero
                     settle=$upstream_http_x_used;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /free?k=1&used=99", "GET /free?k=1&used=2", "GET /free?k=1&used=1"]
--- error_code eval
[200, 200, 429]
--- raw_response_headers_like eval
['"tpm";r=100\b', '"tpm";r=1\b', '"tpm";r=0\b']



=== TEST 9: an upstream that is not there
--- config
    location = /gone {
        sluice_limit zone=tpm limit=100 weight=50
                     settle=$upstream_http_x_used;
        proxy_pass http://127.0.0.1:1;
    }
--- request eval
["GET /gone?k=1", "GET /look?k=1"]
--- error_code eval
[502, 200]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=100\b']



=== TEST 10: the status that counts is the one before its page was looked for
--- config
    error_page 404 /page;
    proxy_intercept_errors on;
    location = /page {
        internal;
        sluice_limit off;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /404?k=1", "GET /look?k=1"]
--- error_code eval
[404, 200]
--- raw_response_headers_like eval
['"tpm";r=50\b', '"tpm";r=100\b']



=== TEST 11: and so it is where its page is answered as something else
--- config
    location = /ok {
        internal;
        return 200 "never mind\n";
    }
    location @ok {
        return 200 "never mind\n";
    }
    location @other {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location /gone/ {
        sluice_limit zone=tpm limit=100 weight=50
                     settle=$upstream_http_x_used;
        proxy_intercept_errors on;
        error_page 404 =200 @ok;
        location = /gone/is {
            error_page 502 504 =200 /ok;
            proxy_pass http://127.0.0.1:1;
        }
        location = /gone/named {
            error_page 502 = @ok;
            proxy_pass http://127.0.0.1:1;
        }
        location = /gone/404 {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/404;
        }
        location = /gone/nowhere {
            error_page 502 = @ok;
            proxy_pass http://nowhere.example$is_args$args;
        }
        location = /gone/after {
            error_page 502 = @other;
            proxy_pass http://127.0.0.1:1;
        }
        location = /gone/twice {
            error_page 502 = /gone/nowhere;
            recursive_error_pages on;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/bad;
        }
    }
--- request eval
["GET /gone/is?k=1", "GET /look?k=1", "GET /gone/named?k=1", "GET /look?k=1",
 "GET /gone/404?k=1", "GET /look?k=1", "GET /gone/404?k=1&used=7",
 "GET /look?k=1", "GET /gone/nowhere?k=2", "GET /look?k=2",
 "GET /gone/twice?k=2", "GET /look?k=2", "GET /gone/after?k=3",
 "GET /look?k=3"]
--- error_code eval
[(200) x 14]
--- raw_response_headers_like eval
['"tpm";r=50;', '"tpm";r=100\b', '"tpm";r=50;', '"tpm";r=100\b', '"tpm";r=50;',
 '"tpm";r=100\b', '"tpm";r=50;', '"tpm";r=93;', '"tpm";r=50;', '"tpm";r=100\b',
 '"tpm";r=50;', '"tpm";r=100\b', '"tpm";r=50;', '"tpm";r=50;']



=== TEST 12: who goes away before the answer comes does not get the estimate back
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        location = /slow {
            sluice_limit zone=tpm limit=100 weight=50
                         settle=$upstream_http_x_used;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_3;
        }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_3;
        auth_basic slow;
        auth_basic_user_file $TEST_NGINX_SERVER_ROOT/html/users;
        auth_delay 1s;
    }
--- user_files
>>> users
u:{PLAIN}p
--- x_curl
--max-time 0.3 http://127.0.0.1:$PORT/slow?k=1
-o /dev/null -D - http://127.0.0.1:$PORT/slow?k=1 | grep -io '^ratelimit:.*r=[0-9]*'
--- x_curl_out
RateLimit: "tpm";r=0
--- request
GET /look?k=2
