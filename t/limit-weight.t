# Why it exists: a request may cost more than one, or nothing.  A cost that has
# no number at run time must refuse, and say so: it must never be free.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 76;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone all zone=rpm:64k window=1h;
        sluice_limit_zone $arg_k zone=other:64k window=1h;
    ' . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: two of five in a limit of twelve, and what is left is too little
--- config
    location = /t {
        sluice_limit zone=rpm limit=12 weight=5;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
[("GET /t") x 4]
--- error_code eval
[200, 200, 429, 429]
--- x_zone
rpm passed=2 refused=2



=== TEST 2: by a variable; a refusal of a heavy one costs nothing
--- config
    location = /t {
        sluice_limit zone=rpm limit=10 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?w=3", "GET /t?w=4", "GET /t?w=4", "GET /t?w=3", "GET /t?w=1"]
--- error_code eval
[200, 200, 429, 200, 429]



=== TEST 3: nothing is charged for 0, which passes even where all is used up
--- config
    location = /t {
        sluice_limit zone=rpm limit=2 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?w=0", "GET /t?w=0", "GET /t?w=0", "GET /t?w=2", "GET /t?w=0",
 "GET /t?w=1"]
--- error_code eval
[200, 200, 200, 200, 200, 429]
--- x_zone
rpm passed=5 refused=1



=== TEST 4: the heavier, the longer to wait; and for good if it never fits
--- config
    location = /t {
        sluice_limit zone=rpm limit=10 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?w=10", "GET /t?w=1", "GET /t?w=10", "GET /t?w=11",
 "GET /t?w=8388609", "GET /t?w=9223372036854775807"]
--- error_code eval
[200, 429, 429, 429, 429, 429]
--- raw_response_headers_like eval
["OK",
 "Retry-After: (?:36.|3[789].|[4-9]..|[123]...)\r\n",
 "Retry-After: (?:360[1-9]|36[1-9].|3[789]..|[4-7]...)\r\n",
 "Many", "Many", "Many"]
--- raw_response_headers_unlike eval
["Retry", "OK", "OK", "Retry", "Retry", "Retry"]



=== TEST 5: what is no number is refused and costs nothing
--- config
    location = /t {
        sluice_limit zone=rpm limit=10 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t?w=", "GET /t?w=x", "GET /t?w=-1", "GET /t?w=1.5",
 "GET /t?w=1%20", "GET /t?w=99999999999999999999", "GET /t?w=10"]
--- error_code eval
[(500) x 7, 200]
--- x_zone
rpm passed=1 refused=0
--- x_counters
admitted=1 refused_error=7



=== TEST 6: a line a second about it
--- config
    location = /t {
        sluice_limit zone=rpm limit=10 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- pipelined_requests eval
[("GET /t?w=x") x 8]
--- error_code eval
[(500) x 8]
--- x_log
1-2: a weight must be a number, not "x"



=== TEST 7: each of several limits has its own; one of them refuses for all
--- config
    location = /t {
        sluice_limit zone=rpm limit=100 weight=40;
        sluice_limit zone=other limit=5 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&w=5", "GET /t?k=1&w=1", "GET /t?k=2&w=x", "GET /t?k=2&w=6",
 "GET /t?k=2&w=5", "GET /t?k=3&w=1"]
--- error_code eval
[200, 429, 500, 429, 200, 429]
--- x_zone
rpm passed=2 refused=1
other passed=2 refused=2



=== TEST 8: of two values one may be without a number, whichever comes first
--- config
    location = /t {
        sluice_limit zone=rpm limit=$arg_n weight=$arg_w;
        sluice_limit zone=other limit=5;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?k=1&n=1", "GET /t?k=1&w=1", "GET /t?k=1&n=3&w=3"]
--- error_code eval
[500, 500, 200]
--- x_zone
rpm passed=1 refused=0
other passed=1 refused=0



=== TEST 6: a weight of 0 is a look, a number as well as a variable
--- config
    location = /look {
        sluice_limit zone=rpm limit=10 weight=0;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /t {
        sluice_limit zone=rpm limit=20 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /look", "GET /t?w=10", "GET /look", "GET /look", "GET /t?w=1",
 "GET /look", "GET /t?w=0"]
--- error_code eval
[200, 200, 200, 200, 200, 429, 200]
--- x_zone
rpm passed=6 refused=1



=== TEST 7: with settle= it is charged when it ends
--- config
    location = /t {
        sluice_limit zone=rpm limit=10 weight=0 settle=$arg_used;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?used=9", "GET /t?used=9", "GET /t?used=1"]
--- error_code eval
[200, 200, 429]
