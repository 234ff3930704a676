# Why it exists: what a record says of a request must be what happened.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 20;

run_tests();

__DATA__

=== TEST 1: a file, asked for with arguments
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
--- config
    sluice_usage on;
--- request
GET /index.html?secret=1
--- x_records
outcome=admitted status=200 method=GET host=localhost uri=/index.html flags=- tries=0 upstream=- client=- key=- pool=- zone=- bytes_in=~^[0-9]{2,3}$ bytes_out=~^[0-9]{3}$ request_time=~^[0-9]{1,7}$ first_byte=~^[0-9]{1,7}$ request_id=~^[0-9a-f]{32}$ sequence=1 cut=-



=== TEST 2: what the client and the location are told by
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        server_name upstream;
        return 201 "made";
    }
    sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
    sluice_key_pool openai { key sk-1 id=a1; }
--- config
    location /v1/ {
        sluice_client $http_authorization;
        sluice_limit zone=rpm limit=1;
        sluice_key openai;
        sluice_usage on;
        proxy_set_header Authorization "Bearer $sluice_key";
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["POST /v1/chat%20x/../y?a=b\n" . "x" x 5000, "DELETE /v1/y"]
--- more_headers
Authorization: Bearer me
Host: API.example.com:1234
--- error_code eval
[201, 429]
--- x_records
outcome=admitted status=201 method=POST host=api.example.com uri=/v1/chat%20x/../y client=~^[0-9a-f]{32}$ pool=openai key=a1 zone=- tries=1 upstream=~^201@127\.0\.0\.1:[0-9]+$ connect=ms received=~^[1-9] bytes_in=~^5[1-3][0-9][0-9]$ flags=-
outcome=limit status=429 method=DELETE host=api.example.com uri=/v1/y client=~^[0-9a-f]{32}$ pool=- key=- zone=rpm tries=0 upstream=- flags=- first_byte=~^[0-9] sequence=2
--- x_members
openai a1 used=1 in_flight=0
--- x_counters
admitted=1 refused_limit=1 recorded=2 truncated=0 dropped=0 unrecorded=0



=== TEST 3: each request of a connection, of two servers
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_usage_field srv $server_name;
    sluice_usage on;
    server {
        listen $TEST_NGINX_SERVER_PORT;
        server_name other;
        root $TEST_NGINX_SERVER_ROOT/html;
        location = /off {
            sluice_usage off;
            alias $TEST_NGINX_SERVER_ROOT/html/index.html;
        }
    }
--- config
--- pipelined_requests eval
["GET /", "GET /index.html", "GET /off", "GET /none"]
--- more_headers eval
["Host: localhost", "Host: other", "Host: other", "Host: other"]
--- error_code eval
[200, 200, 200, 404]
--- x_records
uri=/ host=localhost field.srv=localhost sequence=1 bytes_out=~^[0-9]{3}$
uri=/index.html host=other field.srv=other sequence=2 bytes_out=~^[0-9]{3}$
uri=/none host=other field.srv=other status=404 sequence=3 bytes_out=~^[0-9]{3}$



=== TEST 4: how long it took is the request's own time, in microseconds
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location = /slow {
            root $TEST_NGINX_SERVER_ROOT/html;
            limit_rate 2000;
        }
    }
--- config
    location = /slow {
        sluice_usage on;
        proxy_buffering off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- user_files eval
[["slow", "x" x 3000]]
--- request
GET /slow
--- response_body eval
"x" x 3000
--- x_records
status=200 request_time=~^([5-9][0-9]{5}|[1-9][0-9]{6})$ first_byte=~^[0-9]{1,5}$ bytes_out=~^3[12]



=== TEST 5: a request's body is counted when it has been read
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location / { return 200 "ok"; }
    }
--- config
    location = /t {
        sluice_usage on;
        client_body_buffer_size 1k;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["POST /t\n" . "x" x 100000, "POST /t\n5\r\nhello\r\n0\r\n\r\n"]
--- more_headers eval
["", "Transfer-Encoding: chunked"]
--- response_body eval
["ok", "ok"]
--- x_records
status=200 bytes_in=~^100[0-9]{3}$
status=200 bytes_in=~^[0-9]{2,3}$
