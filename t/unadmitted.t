# Why it exists: a request that something else ends before its admission is
# recorded, charged to nobody, and takes no key; whatever state it is in.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 33;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_key_pool p { key sk-1 id=a; }
    ' . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_usage on;
        sluice_usage_field late $status at=log;
        sluice_usage_field early $uri;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
    ' . ($block->config // ''));
    $block->set_value('x_zone', 'rpm passed=0 refused=0');
    $block->set_value('x_members', 'p a used=0 in_flight=0');
});

run_tests();

__DATA__

=== TEST 1: return
--- config
    location = /t {
        return 402 "pay $sluice_key$sluice_key_id\n";
    }
--- request
GET /t
--- error_code: 402
--- response_body
pay 
--- x_records
outcome=unadmitted status=402 flags=late uri=/t field.late=402 field.early=/t request_time=~^[0-9]+$ first_byte=-



=== TEST 2: a body that is too large
--- config
    location = /t {
        client_max_body_size 10;
    }
--- request
POST /t
01234567890
--- error_code: 413
--- x_records
outcome=unadmitted status=413 flags=late method=POST uri=/t



=== TEST 3: not HTTP
--- raw_request eval
"nonsense\r\n\r\n"
--- error_code: 400
--- x_records
outcome=unadmitted status=400 flags=late host=- request_id=~^[0-9a-f]{32}$



=== TEST 4: no Host
--- raw_request eval
"GET /t HTTP/1.1\r\n\r\n"
--- error_code: 400
--- x_records
outcome=unadmitted status=400 flags=late method=GET uri=/t host=-



=== TEST 5: a header that is too large
--- config
    large_client_header_buffers 1 1k;
    client_header_buffer_size 1k;
--- request
GET /t
--- more_headers eval
"X: " . 'x' x 2000
--- error_code: 400
--- x_records
outcome=unadmitted status=400 flags=late method=GET uri=/t



=== TEST 6: limit_req
--- http_config
    limit_req_zone $remote_addr zone=req:1m rate=1r/m;
--- config
    location = /t {
        limit_req zone=req;
        limit_req_status 429;
        limit_req_dry_run off;
        return 200;
    }
    location = /limit {
        sluice_limit zone=rpm limit=10;
        limit_req zone=req;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        deny all;
    }
--- request eval
["GET /limit", "GET /limit"]
--- error_code eval
[403, 503]
--- x_records
outcome=unadmitted status=403
outcome=unadmitted status=503 zone=-



=== TEST 7: a redirect to another server
--- config
    rewrite ^/t http://other.example/ permanent;
--- request
GET /t
--- error_code: 301
--- x_records
outcome=unadmitted status=301 flags=late



=== TEST 8: 444
--- config
    location = /t {
        return 444;
    }
--- request
GET /t
--- ignore_response
--- x_records
outcome=unadmitted status=444 flags=late bytes_out=0
