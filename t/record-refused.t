# Why it exists: refused requests are recorded unless the operator says no.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 19;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $arg_k zone=rpm:64k window=1h;
    ' . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: on
--- config
    location = /t {
        sluice_usage on refused=on;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=1", "GET /t?k=2"]
--- error_code eval
[200, 429, 200]
--- x_records
outcome=admitted status=200 sequence=1 zone=-
outcome=limit status=429 sequence=2 zone=rpm
outcome=admitted status=200 sequence=3 zone=-
--- x_counters
admitted=2 refused_limit=1 recorded=3



=== TEST 2: off
--- config
    location = /t {
        sluice_usage on refused=off;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=1", "GET /t?k=2"]
--- error_code eval
[200, 429, 200]
--- x_records
outcome=admitted status=200 sequence=1
outcome=admitted status=200 sequence=3
--- x_counters
admitted=2 refused_limit=1 recorded=2



=== TEST 3: off for the server, and a location that says on only
--- config
    sluice_usage on refused=off;
    sluice_limit zone=rpm limit=1;
    location = /t {
        sluice_usage on;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /all {
        sluice_usage on refused=on;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=1", "GET /all?k=1"]
--- error_code eval
[200, 429, 429]
--- x_records
outcome=admitted uri=/t status=200
outcome=limit uri=/all status=429



=== TEST 4: off, and a refusal that the operator's page answers
--- config
    location = /t {
        sluice_usage on refused=off;
        sluice_limit zone=rpm limit=1;
        error_page 429 /page;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /page {
        sluice_usage on;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=1"]
--- error_code eval
[200, 429]
--- response_body_like eval
["It works", "It works"]
--- x_records
outcome=admitted status=200
