# Why it exists: a zone whose scale changes forgets nothing: what was charged
# in units of the former scale counts on in its own table, so that nobody gets
# more than the limit; a coarser one may give less, never more.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

Sluice::Test::lasting_dir();
use_hup();
no_shuffle();

plan tests => 84;

our $config = '
    sluice_limit_headers on;
    location = /up {
        sluice_limit zone=up limit=100 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /down {
        sluice_limit zone=down limit=100 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /dry {
        sluice_limit zone=dry limit=1 dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /variable {
        sluice_limit zone=variable limit=$arg_l weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /whole {
        sluice_limit zone=whole limit=10 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /whole/dry {
        sluice_limit zone=whole limit=6 weight=$arg_w dry_run;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
    location = /settle {
        sluice_limit zone=settle limit=100 weight=50 settle=$arg_used;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
';

run_tests();

__DATA__

=== TEST 1: one of units, one of tens
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=up:64k window=1h;
    sluice_limit_zone $arg_k zone=down:64k window=1h scale=10;
    sluice_limit_zone $arg_k zone=dry:64k window=1h;
    sluice_limit_zone $arg_k zone=settle:64k window=1h;
    sluice_limit_zone $arg_k zone=whole:64k window=1h;
    sluice_limit_zone $arg_k zone=variable:64k window=1h scale=1000;
    sluice_limit_zone all zone=second:64k window=1s;
--- config eval: $::config
--- request eval
["GET /up?k=1&w=55", "GET /up?k=2&w=100", "GET /up?k=2&w=1",
 "GET /down?k=1&w=55", "GET /down?k=2&w=100", "GET /down?k=2&w=1",
 "GET /settle?k=1&used=20", "GET /dry?k=1",
 "GET /variable?k=1&l=5000&w=1000", "GET /variable?k=2&l=3&w=1",
 "GET /whole?k=1&w=2"]
--- error_code eval
[200, 200, 429, 200, 200, 429, 200, 200, 200, 429, 200]



=== TEST 2: changed for each other: who used up his window stays refused
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=up:64k window=1h scale=10;
    sluice_limit_zone $arg_k zone=down:64k window=1h;
    sluice_limit_zone $arg_k zone=dry:64k window=1h scale=2;
    sluice_limit_zone $arg_k zone=settle:64k window=1h scale=7;
    sluice_limit_zone $arg_k zone=whole:128k window=1h;
    sluice_limit_zone $arg_k zone=variable:64k window=1h;
    sluice_limit_zone all zone=second:64k window=1s scale=2;
--- config eval: $::config =~ s/dry limit=1/dry limit=2/r
--- request eval
["GET /up?k=2&w=1", "GET /down?k=2&w=1", "GET /dry?k=1", "GET /dry?k=1"]
--- error_code eval
[429, 429, 200, 200]
--- x_files
workers
zone.down.1
zone.down.2
zone.dry.1
zone.dry.2
zone.second.1
zone.second.2
zone.settle.1
zone.settle.2
zone.up.1
zone.up.2
zone.variable.1
zone.variable.2
zone.whole.1
zone.whole.2
--- x_log
1: refusing request by limit "dry", dry run



=== TEST 3: what is left is what is left in both
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=up:64k window=1h scale=10;
    sluice_limit_zone $arg_k zone=down:64k window=1h;
    sluice_limit_zone $arg_k zone=settle:64k window=1h scale=7;
    sluice_limit_zone $arg_k zone=whole:128k window=1h;
    sluice_limit_zone $arg_k zone=variable:64k window=1h;
    sluice_limit_zone all zone=second:64k window=1s scale=2;
--- config eval
$::config =~ s/location = .dry \{.*?\}//sr
--- request eval
["GET /up?k=1&w=46", "GET /up?k=1&w=40", "GET /up?k=1&w=6",
 "GET /up?k=1&w=5", "GET /up?k=1&w=1",
 "GET /up?k=3&w=91", "GET /up?k=3&w=1",
 "GET /down?k=1&w=41", "GET /down?k=1&w=31", "GET /down?k=1&w=1",
 "GET /down?k=3&w=91", "GET /down?k=3&w=9"]
--- error_code eval
[429, 200, 429, 200, 429,
 200, 429,
 429, 200, 429,
 200, 429]
--- raw_response_headers_like eval
['"up";r=45;', '"up";r=5;', '"up";r=5;', '"up";r=0;', '"up";r=0;',
 '"up";r=0;', '"up";r=0;',
 '"down";r=40;', '"down";r=0;', '"down";r=0;',
 '"down";r=0;', '"down";r=0;']



=== TEST 4: what was really used is settled in both
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=settle:64k window=1h scale=7;
    sluice_limit_zone $arg_k zone=whole:128k window=1h;
    sluice_limit_zone $arg_k zone=variable:64k window=1h;
    sluice_limit_zone all zone=second:64k window=1s scale=2;
--- config eval
$::config =~ s/location = .(?:dry|up|down|whole|whole.dry) \{.*?\}//sgr
--- request eval
["GET /settle?k=1&used=10", "GET /settle?k=1&used=69",
 "GET /settle?k=1&used=1"]
--- error_code eval
[200, 200, 429]
--- raw_response_headers_like eval
['"settle";q=98;.*"settle";r=30;', '"settle";q=98;.*"settle";r=20;',
 '"settle";q=98;.*"settle";r=1;']



=== TEST 5: two windows after its last user the former table is gone
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=second:64k window=1s scale=2;
--- config
--- request
GET /
--- wait: 3.5
--- x_files
workers
zone.down.1
zone.down.2
zone.dry.1
zone.dry.2
zone.second.2
zone.settle.1
zone.settle.2
zone.up.1
zone.up.2
zone.variable.1
zone.variable.2
zone.whole.1
zone.whole.2



=== TEST 6: a variable limit below a former unit: no former charge, no limit less
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=variable:64k window=1h;
--- config eval
$::config =~ s/location = .(?:dry|up|down|settle|whole|whole.dry) \{.*?\}//sgr
--- request eval
["GET /variable?k=2&l=3&w=1", "GET /variable?k=2&l=3&w=2",
 "GET /variable?k=2&l=3&w=1", "GET /variable?k=2&l=0&w=0",
 "GET /variable?k=1&l=999&w=1", "GET /variable?k=1&l=5000&w=1000",
 "GET /variable?k=3&l=3&w=1", "GET /variable?k=3&l=1000&w=1",
 "GET /variable?k=3&l=1000&w=1", "GET /variable?k=3&l=3&w=1"]
--- error_code eval
[200, 200, 429, 429, 429, 200, 200, 200, 429, 429]
--- raw_response_headers_like eval
['"variable";r=2;', '"variable";r=0;', '"variable";r=0;', "",
 '"variable";q=999;.*"variable";r=0;',
 '"variable";r=3000', '"variable";r=2;', '"variable";r=0', '"variable";r=0',
 '"variable";r=0']



=== TEST 7: a dry run that one of the two tables would refuse charges neither
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone $arg_k zone=whole:128k window=1h;
--- config eval
$::config =~ s/location = .(?:dry|up|down|settle|variable) \{.*?\}//sgr
--- request eval
["GET /whole/dry?k=1&w=5", "GET /whole?k=1&w=1", "GET /whole/dry?k=1&w=3",
 "GET /whole?k=1&w=1"]
--- error_code eval
[200, 200, 200, 200]
--- raw_response_headers_like eval
["", '"whole";r=7;', "", '"whole";r=3;']



=== TEST 8: units that were larger than a limit is now would refuse everybody
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=coarse:64k window=1h scale=1000;
--- config
    location = /t {
        sluice_limit zone=coarse limit=5000 weight=1000;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t



=== TEST 9: so it is refused itself, and what was goes on
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=coarse:64k window=1h;
--- config
    location = /t {
        sluice_limit zone=coarse limit=500;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- reload_fails
--- request eval
["GET /t", "GET /t", "GET /t", "GET /t", "GET /t"]
--- error_code eval
[200, 200, 200, 200, 429]
--- x_log
1: zone "coarse" has counted in units of 1000 so far, and now has a limit of 500: give it another name
