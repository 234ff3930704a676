# Why it exists: an error_page of the operator's comes before a body of ours.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 20;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    ' . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: of the location, with what it knows
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=1;
        error_page 429 /busy;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /busy {
        internal;
        default_type text/x-busy;
        add_header X-Zone $sluice_limit_zone always;
        alias $TEST_NGINX_SERVER_ROOT/html/busy;
    }
--- user_files
>>> busy
later
--- request eval
["GET /t", "GET /t"]
--- error_code eval
[200, 429]
--- response_headers eval
["!Retry-After", "X-Zone: rpm"]
--- raw_response_headers_like eval
["OK", "Content-Type: text/x-busy\r\n.*Retry-After: [1-9]"]
--- response_body_like eval
["It works", "^later\n\$"]
--- x_records
outcome=admitted status=200
outcome=limit status=429 uri=/t zone=rpm



=== TEST 2: of the server, with a status of its own; a named location
--- config
    error_page 429 =503 @busy;
    sluice_limit zone=rpm limit=$arg_limit;
    location = /t {
        sluice_usage on;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location @busy {
        return 503 "later\n";
    }
--- request
GET /t?limit=0
--- error_code: 503
--- response_body
later
--- x_records
outcome=limit status=503 uri=/t



=== TEST 3: that sends them away
--- config
    error_page 429 http://other.example/;
    location = /t {
        sluice_limit zone=rpm limit=$arg_limit;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t?limit=0
--- error_code: 302
--- response_headers
Location: http://other.example/



=== TEST 4: for other errors: it is not asked
--- config
    error_page 500 503 /busy;
    location = /t {
        sluice_limit zone=rpm limit=$arg_limit;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t?limit=0
--- error_code: 429
--- response_body_like: Rate limit reached



=== TEST 5: 503, for want of room; 500, for want of a limit
--- http_config
    sluice_ring 64k open=1;
--- config
    error_page 500 503 = /busy;
    location = /outer {
        sluice_usage on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/inner;
    }
    location = /inner {
        sluice_usage on;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /misconfigured {
        sluice_limit zone=rpm limit=$arg_limit;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /busy {
        alias $TEST_NGINX_SERVER_ROOT/html/busy;
    }
--- user_files
>>> busy
later
--- request eval
["GET /outer", "GET /misconfigured"]
--- response_body eval
["later\n", "later\n"]
