# Why it exists: a zone that counts something else after a reload is another
# limit: requests that were counted are not taken for tokens, nor the reverse.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

Sluice::Test::lasting_dir();
use_hup();
no_shuffle();

plan tests => 12;

our $config = '
    sluice_limit_headers on;
    location = /t {
        sluice_limit zone=z limit=10 weight=$arg_w;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
';

run_tests();

__DATA__

=== TEST 1: requests
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=z:64k window=1h;
--- config eval: $::config
--- request eval
["GET /t?w=8", "GET /t?w=3"]
--- error_code eval
[200, 429]



=== TEST 2: tokens, of which none has been counted
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=z:64k window=1h unit=tokens;
--- config eval: $::config
--- request eval
["GET /t?w=9", "GET /t?w=2", "GET /t?w=1"]
--- error_code eval
[200, 429, 200]
--- raw_response_headers_like eval
['"z";r=1', '"z";r=1', '"z";r=0']



=== TEST 3: requests again: those that were counted still are
--- http_config
    sluice_dir $TEST_NGINX_SLUICE_DIR;
    sluice_limit_zone all zone=z:64k window=1h;
--- config eval: $::config
--- request eval
["GET /t?w=3", "GET /t?w=2", "GET /t?w=1"]
--- error_code eval
[429, 200, 429]
--- x_files
workers
zone.z.1
zone.z.2
