# Why it exists: a client that leaves is answered by nobody, but what it has
# used stays charged and is recorded; its key is given back.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 12;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_key_pool p { key sk-1 id=a; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location / {
                limit_rate 1;
                root $TEST_NGINX_SERVER_ROOT/html;
            }
        }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
            location / {
                proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            }
        }
    ');
    $block->set_value('config', '
        sluice_usage on;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
    ' . $block->config);
    $block->set_value('x_zone', 'rpm passed=1 refused=0');
});

run_tests();

__DATA__

=== TEST 1: before the upstream answers
--- config
    location = /index.html {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- request
GET /index.html
--- timeout: 0.2
--- abort
--- ignore_response
--- x_records
outcome=admitted status=499 flags=closed key=a tries=1 bytes_out=0 first_byte=- request_time=~^[1-9][0-9]{5}$
--- x_members
p a used=1 in_flight=0



=== TEST 2: in the middle of the answer
--- config
    location = /index.html {
        proxy_buffering off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /big {
        limit_rate 1000;
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- user_files eval
[["big", "x" x 100000]]
--- request
GET /big
--- timeout: 0.2
--- abort
--- ignore_response
--- x_records
outcome=admitted status=200 flags=closed key=- bytes_out=~^[1-9][0-9]{2,5}$ first_byte=~^[0-9]
--- x_members
p a used=0 in_flight=0



=== TEST 3: the upstream is heard to the end all the same
--- config
    location = /index.html {
        proxy_ignore_client_abort on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- request
GET /index.html
--- timeout: 0.2
--- abort
--- ignore_response
--- x_members
p a used=0 in_flight=1
--- x_counters
admitted=1 recorded=0



=== TEST 4: before the request has come
--- config
    location = /index.html {
        client_body_timeout 100ms;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- raw_request eval
"POST /index.html HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n123"
--- error_code: 408
--- ignore_response
--- timeout: 1
--- x_records
outcome=admitted status=408 key=- tries=0
--- x_members
p a used=0 in_flight=0
