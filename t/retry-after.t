# Why it exists: Retry-After is the first moment at which the same request
# would pass.  It needs a key, a place and room in its windows: whichever of
# them is wanting first, the others are waited for as well.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 31;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_conn_zone $http_x_key zone=par:64k;
        sluice_limit_zone all zone=rpm:64k window=1m;
        sluice_limit_zone $arg_k zone=rph:64k window=1h;
        sluice_key_pool p { key sk-a id=a limit=1/5s; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location / { return 200 ok; }
        }
    ');
});

# the second request asks for what the first one holds

our $nested = '
    sluice_limit_conn zone=par limit=1;
    location = /a {
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/b$is_args$args;
    }
';

run_tests();

__DATA__

=== TEST 1: a place is wanting, and a window is full
--- config eval
"$::nested
    location = /b {
        sluice_limit zone=rpm limit=1;
    }
"
--- more_headers
X-Key: k
--- request
GET /a
--- error_code: 429
--- raw_response_headers_like: Retry-After: (?:6[1-9]|[789].|1[01].|120)\r\n
--- x_zone
rpm passed=1 refused=0
--- x_log
1: refusing request by limit



=== TEST 2: a place is wanting, and all windows have room: nobody knows
--- config eval
"$::nested
    location = /b {
        sluice_limit zone=rpm limit=2;
        sluice_limit zone=rph limit=1;
    }
"
--- more_headers
X-Key: k
--- request
GET /a
--- error_code: 429
--- raw_response_headers_like: Retry-After: 1\r\n
--- x_counters
empty_key=0



=== TEST 3: a place is wanting, and what it weighs never passes
--- config eval
"$::nested
    location = /b {
        sluice_limit zone=rpm limit=2 weight=\$arg_w;
    }
"
--- more_headers
X-Key: k
--- request
GET /a?w=3
--- error_code: 429
--- raw_response_headers_unlike: Retry-After



=== TEST 4: a limit that refuses nobody is not waited for
--- config eval
"$::nested
    location = /b {
        sluice_limit zone=rpm limit=1 dry_run;
    }
"
--- more_headers
X-Key: k
--- request
GET /a
--- error_code: 429
--- raw_response_headers_like: Retry-After: 1\r\n



=== TEST 5: the keys are limited, and a window is full for longer
--- config
    location = /t {
        sluice_key p;
        sluice_limit zone=rpm limit=1;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- raw_response_headers_like eval
['OK', 'Retry-After: (?:6[1-9]|[789].|1[01].|120)\r\n']
--- response_body_like eval
['ok', 'All upstream keys']
--- x_zone
rpm passed=1 refused=0



=== TEST 6: or not at all
--- config
    location = /t {
        sluice_key p;
        sluice_limit zone=rpm limit=2;
        add_header X-Status $sluice_limit_status always;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- response_headers eval
["X-Status: PASSED", "X-Status: "]
--- raw_response_headers_like eval
['OK', 'Retry-After: (?:[1-9]|10)\r\n']



=== TEST 7: no proxy can be had
--- http_config
    sluice_proxy_pool x { proxy http://127.0.0.1:1 id=x fail_timeout=20s; }
--- config
    location = /t {
        sluice_egress x;
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[503, 503]
--- raw_response_headers_like eval
['Service', 'Retry-After: (?:6[1-9]|[789].|1[01].|120)\r\n']
--- x_zone
rpm passed=1 refused=0



=== TEST 8: no room for the record
--- http_config
    sluice_ring 64k on_full=reject open=1;
--- config
    sluice_usage on;
    location = /a {
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/b;
    }
    location = /b {
        sluice_limit zone=rpm limit=1;
    }
--- request
GET /a
--- error_code: 503
--- raw_response_headers_like: Retry-After: (?:6[1-9]|[789].|1[01].|120)\r\n
