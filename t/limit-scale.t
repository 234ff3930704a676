# Why it exists: a slot has 24 bits for a count.  What is larger is counted in
# units of a scale, so that a limit of millions of tokens is a limit, and never
# more than it says is let through.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 64;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', ($block->http_config // '') . '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_headers on;
        sluice_limit_zone $arg_k zone=tens:64k window=1h unit=tokens scale=10;
        sluice_limit_zone $arg_k zone=one:64k window=1h scale=1;
        sluice_limit_zone $arg_k zone=most:64k window=1h unit=tokens
                          scale=1000000000;
    ');
});

run_tests();

__DATA__

=== TEST 1: what is less than a unit costs a whole one
--- config
    location = /t {
        sluice_limit zone=tens limit=50 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&w=1", "GET /t?k=1&w=10", "GET /t?k=1&w=11", "GET /t?k=1&w=0",
 "GET /t?k=1&w=11", "GET /t?k=1&w=9", "GET /t?k=1&w=1"]
--- error_code eval
[200, 200, 200, 200, 429, 200, 429]
--- raw_response_headers_like eval
['"tens";r=40;', '"tens";r=30;', '"tens";r=10;', '"tens";r=10;',
 '"tens";r=10;', '"tens";r=0;', '"tens";r=0;']



=== TEST 2: a limit that is no whole number of them is the next lower one
--- config
    location = /t {
        sluice_limit zone=tens limit=29;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1", "GET /t?k=1", "GET /t?k=1"]
--- error_code eval
[200, 200, 429]
--- response_headers eval
['RateLimit-Policy: "tens";q=20;w=3600;qu="tokens"',
 'RateLimit-Policy: "tens";q=20;w=3600;qu="tokens"',
 'RateLimit-Policy: "tens";q=20;w=3600;qu="tokens"']



=== TEST 3: settling rounds the same way
--- config
    location = /t {
        sluice_limit zone=tens limit=100 weight=60 settle=$arg_used;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&used=1", "GET /t?k=1&used=21", "GET /t?k=1&used=60",
 "GET /t?k=2&used=95", "GET /t?k=2&used=1"]
--- error_code eval
[200, 200, 200, 200, 429]
--- raw_response_headers_like eval
['"tens";r=40;', '"tens";r=30;', '"tens";r=0;', '"tens";r=40;',
 '"tens";r=0;']



=== TEST 4: the most that a scale counts, as a number and as a variable
--- config
    location = /t {
        sluice_limit zone=tens limit=83886089 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /v {
        sluice_limit zone=tens limit=$arg_n weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&w=83886080", "GET /t?k=1&w=1", "GET /t?k=2&w=83886081",
 "GET /v?k=3&n=83886089&w=83886080", "GET /v?k=3&n=83886089&w=1",
 "GET /v?k=4&n=83886090&w=1"]
--- error_code eval
[200, 429, 429, 200, 429, 500]
--- x_log
1: a limit is more than the scale of its zone allows: zone "tens"



=== TEST 5: a variable limit of less than a unit lets nothing through
--- config
    location = /v {
        sluice_limit zone=tens limit=$arg_n;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /v?k=1&n=9", "GET /v?k=1&n=10"]
--- error_code eval
[429, 200]
--- raw_response_headers_unlike eval
["Retry-After", "Retry-After"]



=== TEST 6: the largest scale
--- config
    location = /t {
        sluice_limit zone=most limit=8388608000000000 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&w=8388607000000000", "GET /t?k=1&w=1", "GET /t?k=1&w=1"]
--- error_code eval
[200, 200, 429]



=== TEST 7: weights that the scale rounds up, told once for all that inherit it
--- http_config
    sluice_limit_zone $arg_k zone=asked:64k window=1h scale=10;
--- config
    sluice_limit zone=asked limit=105;
    location = /t {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /same {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /heavy {
        sluice_limit zone=asked limit=105 weight=15;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t?k=1") x 5, ("GET /same?k=1") x 6, ("GET /heavy?k=2") x 6]
--- error_code eval
[(200) x 10, 429, (200) x 5, 429]
--- x_log
1: ~\[warn\] .*in location "/\w+" zone "asked" has scale=10: each request is charged 10 and not 1, at most 10 of limit=105 pass
1: ~\[warn\] .*in location "/heavy" zone "asked" has scale=10: each request is charged 20 and not 15, at most 5 of limit=105 pass



=== TEST 8: what is charged as it is written, and what is not known, is not told
--- http_config
    sluice_limit_zone $arg_k zone=asked:64k window=1h scale=10;
--- config
    location = /whole {
        sluice_limit zone=asked limit=105 weight=20;
        sluice_limit zone=one limit=105;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /look {
        sluice_limit zone=asked limit=105 weight=0;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /tokens {
        sluice_limit zone=tens limit=105;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /variable {
        sluice_limit zone=asked limit=$arg_n;
        sluice_limit zone=one limit=105 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /weight {
        sluice_limit zone=asked limit=105 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /whole?k=1
--- x_log
0: is charged
