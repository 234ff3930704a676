# Why it exists: a value that is longer than its place in a record is cut and
# marked, and never costs the record, the request, or what comes after it.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 14;

run_tests();

__DATA__

=== TEST 1: a field of 255 bytes is whole, one of 256 is cut
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
--- config
    location = /t {
        sluice_usage on;
        sluice_usage_field a_name_of_thirty_two_characters_ $http_x;
        sluice_usage_field b after;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t"]
--- more_headers eval
["X: " . 'x' x 255, "X: " . 'x' x 256]
--- x_records eval
my $name = 'field.a_name_of_thirty_two_characters_';
"flags=- cut=- field.b=after $name=" . 'x' x 255 . "\n"
. "flags=cut cut=$name field.b=after $name=" . 'x' x 255
--- x_counters
recorded=2 truncated=1



=== TEST 2: a long path, a long method, a long host
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    large_client_header_buffers 4 16k;
    client_header_buffer_size 16k;
--- config
    sluice_usage on;
--- request eval
['GET /' . 'x' x 1023, 'GET /' . 'y' x 1024, 'M' x 40 . ' /z', 'GET /h']
--- more_headers eval
['', '', '', 'Host: ' . 'h' x 300]
--- error_code eval
[404, 404, 405, 404]
--- x_records eval
'flags=- uri=/' . 'x' x 1023 . "\n"
. 'flags=cut cut=uri uri=/' . 'y' x 1023 . "\n"
. 'flags=cut cut=method uri=/z method=' . 'M' x 32 . "\n"
. 'flags=cut cut=host uri=/h host=' . 'h' x 255



=== TEST 3: more than a record holds: the last ones are cut, or left out
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    large_client_header_buffers 4 16k;
    client_header_buffer_size 16k;
--- config eval
'sluice_usage on;'
. CORE::join('', map { "sluice_usage_field f$_ \$http_x;\n" } 1 .. 20)
--- request eval
'GET /' . 'x' x 1024
--- more_headers eval
'X: ' . 'x' x 250
--- error_code: 404
--- x_records eval
'status=404 flags=cut cut=~^uri[+]field.f5$ field.f6=- field.f20=- field.f4='
. 'x' x 250



=== TEST 4: a client of 64 KB is a client like others
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_client_secret 1234567890123456;
    sluice_limit_zone $sluice_client zone=rpm:64k window=1h;
    large_client_header_buffers 4 128k;
--- config
    location = /t {
        sluice_usage on;
        sluice_client $http_authorization;
        sluice_limit zone=rpm limit=1;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t", "GET /t"]
--- more_headers eval
"Authorization: " . 'k' x 65536
--- error_code eval
[200, 429]
--- x_records eval
use Digest::SHA 'hmac_sha256_hex';
my $hash = substr hmac_sha256_hex('k' x 65536, '1234567890123456'), 0, 32;
"client=$hash status=200 flags=-\nclient=$hash status=429 flags=-"
