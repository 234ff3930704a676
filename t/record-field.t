# Why it exists: the operator's fields are in the record: values at admission
# as they were then, those at=log as they are at the end; empty ones are not.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 13;

run_tests();

__DATA__

=== TEST 1: at admission and at the end
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        add_header X-Model m1;
        return 200 "ok";
    }
    map $upstream_http_x_model $late_map {
        ""      nothing;
        default it:$upstream_http_x_model;
    }
--- config
    location = /t {
        sluice_usage on;
        sluice_usage_field team $http_x_team;
        sluice_usage_field text "a-$arg_a-$uri";
        sluice_usage_field empty $http_none;
        sluice_usage_field model $upstream_http_x_model at=log;
        sluice_usage_field sent $sent_http_content_type at=log;
        sluice_usage_field status $status at=log;
        sluice_usage_field mapped $late_map at=log;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /t?a=1
--- more_headers
X-Team: red
--- response_body: ok
--- x_records
field.team=red field.text=a-1-/t field.empty=- field.model=m1 field.sent=text/plain field.status=200 field.mapped=it:m1



=== TEST 2: those of the server, replaced by those of a location
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_usage_field a http;
--- config
    sluice_usage on;
    sluice_usage_field b server;
    location = /own {
        sluice_usage_field c location;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /", "GET /own"]
--- x_records
uri=/ field.a=- field.b=server field.c=-
uri=/own field.a=- field.b=- field.c=location



=== TEST 3: a refused request has them, too
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
--- config
    location = /t {
        sluice_usage on;
        sluice_limit zone=rpm limit=1;
        sluice_usage_field early $arg_n;
        sluice_usage_field status $status at=log;
        sluice_usage_field zone $sluice_limit_zone at=log;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request eval
["GET /t?n=1", "GET /t?n=2"]
--- error_code eval
[200, 429]
--- x_records
field.early=1 field.status=200 field.zone=-
field.early=2 field.status=429 field.zone=rpm



=== TEST 4: a value of any bytes, and the longest name
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
--- config eval
'location = /t {
    sluice_usage on;
    sluice_usage_field ' . 'n' x 32 . ' $http_x;
    alias $TEST_NGINX_SERVER_ROOT/html/index.html;
}'
--- request
GET /t
--- more_headers eval
"X: \xff\x01\"\xc3"
--- x_records eval
'flags=- field.' . 'n' x 32 . "=\xff\x01\"\xc3"



=== TEST 5: what our own variables say
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_client_secret 1234567890123456;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 200 "ok";
    }
    sluice_key_pool p { key sk-1 id=a; }
--- config
    location = /t {
        sluice_usage on;
        sluice_client $arg_c;
        sluice_key p;
        sluice_usage_field key $sluice_key_id at=log;
        sluice_usage_field client $sluice_client;
        proxy_set_header Authorization "Bearer $sluice_key";
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /t?c=me
--- x_records eval
use Digest::SHA 'hmac_sha256_hex';
my $hash = substr hmac_sha256_hex('me', '1234567890123456'), 0, 32;
"client=$hash field.client=$hash key=a field.key=a"
