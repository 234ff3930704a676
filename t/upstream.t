# Why it exists: a record tells each try of an upstream, the failed ones too,
# up to the eighth; a request keeps its key through all of them.  On port 1
# nobody listens.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 16;

run_tests();

__DATA__

=== TEST 1: nobody listens
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; }
--- config
    location = /t {
        sluice_usage on;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://127.0.0.1:1;
    }
--- request
GET /t
--- error_code: 502
--- x_records
outcome=admitted status=502 tries=1 upstream=~^502@127\.0\.0\.1:1$ connect=- received=0 key=a flags=- first_byte=~^[0-9]
--- x_members
p a used=0 in_flight=0



=== TEST 2: the next one answers
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
    upstream u {
        server 127.0.0.1:1;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2 backup;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        return 200 "$http_authorization\n";
    }
--- config
    location = /t {
        sluice_usage on;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_pass http://u;
    }
--- request
GET /t
--- response_body
sk-1
--- x_records
outcome=admitted status=200 tries=2 upstream=~^502@127\.0\.0\.1:1[+]200@127\.0\.0\.1:[0-9]+$ connect=-+ms key=a
--- x_members
p a used=1 in_flight=0
p b used=0 in_flight=0



=== TEST 3: by its status
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    upstream u {
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2 backup;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        return 503;
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        return 200 "ok";
    }
--- config
    location = /t {
        sluice_usage on;
        proxy_next_upstream http_503;
        proxy_pass http://u;
    }
--- request
GET /t
--- response_body: ok
--- x_records
outcome=admitted status=200 tries=2 upstream=~^503@.*[+]200@ connect=ms+ms



=== TEST 4: ten tries, of which eight are told
--- http_config eval
'sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
upstream u {'
. 'server 127.0.0.1:1;' x 10
. '}'
--- config
    location = /t {
        sluice_usage on;
        proxy_pass http://u;
    }
--- request
GET /t
--- error_code: 502
--- x_records
status=502 tries=10 upstream=~^(502@[0-9.:]+[+]){7}502@[0-9.:]+$ flags=cut



=== TEST 5: none left to try
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    upstream u {
        server 127.0.0.1:1 down;
        server 127.0.0.1:1 down;
    }
--- config
    location = /t {
        sluice_usage on;
        proxy_pass http://u;
    }
--- request
GET /t
--- error_code: 502
--- x_records
status=502 tries=1 upstream=502@u



=== TEST 6: too slow
--- http_config
    sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location / {
            proxy_http_version 1.0;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        location / {
            limit_rate 1;
            root $TEST_NGINX_SERVER_ROOT/html;
        }
    }
--- config
    location = /index.html {
        sluice_usage on;
        proxy_read_timeout 100ms;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /index.html
--- error_code: 504
--- x_records
status=504 tries=1 upstream=~^504@127 connect=ms request_time=~^(9[0-9]{4}|[1-9][0-9]{5})$
