# Why it exists: what origins do, one after the other, is no key's fault, and
# no key's gift: each request that goes out is charged, by what it was, and a
# key that was not sent is neither blamed nor passed over.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 25;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            return 444;
        }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
            location / {
                if ($http_authorization = sk-429) { return 429 "limited"; }
                if ($http_authorization = sk-500) {
                    add_header X-Used 10 always;
                    return 500 "broken";
                }
                return 200 "$http_authorization\n";
            }
            location = /slow {
                error_page 429 /body;
                return 429;
            }
            location = /body {
                internal;
                limit_rate_after 350;
                limit_rate 100;
                root $TEST_NGINX_SERVER_ROOT/html;
            }
        }
        ' . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_usage on;
        proxy_set_header Authorization $sluice_key;
        ' . $block->config);
});

run_tests();

__DATA__

=== TEST 1: an error whose body does not come is one all the same
--- http_config
    sluice_key_pool p { key sk-1 id=a; }
--- user_files eval
[["body", "x" x 1500]]
--- config
    location = /t {
        sluice_key p;
        proxy_read_timeout 300ms;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2/slow;
    }
--- request
GET /t
--- error_code: 504
--- x_members
p a used=1 in_flight=0 state=cooling



=== TEST 2: no other key for a redirect: the first one is settled, and no other
--- http_config
    sluice_key_pool p {
        key sk-500 id=a tokens=100/1h;
        key sk-2 id=b tokens=50/1h;
    }
--- config
    location = /t {
        sluice_key p tokens=60 settle=$upstream_http_x_used;
        proxy_intercept_errors on;
        error_page 500 = @other;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
    location @other {
        sluice_key p tokens=60;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
    location = /again {
        sluice_key p tokens=90;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- request eval
["GET /t", "GET /again"]
--- error_code eval
[429, 500]
--- x_members
p a used=2 in_flight=0
p b used=0 in_flight=0



=== TEST 3: what failed is not what a redirect goes on with
--- http_config
    sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
--- config
    sluice_key p;
    location = /t {
        error_page 502 = @other;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location @other {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- request
GET /t
--- response_body
sk-2
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0



=== TEST 4: refused at once, after another try: the key has not been out
--- http_config
    sluice_key_pool p {
        key sk-429 id=a;
        key sk-2 id=b limit=2/1h;
        key sk-3 id=c;
        breaker errors=1;
    }
    upstream u {
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        server unix:/nonexistent;
    }
--- config
    location = /t { sluice_key p; proxy_pass http://u/; }
--- request
POST /t
a=1
--- response_body
sk-2
--- x_records
status=200 keys=429@a+502@b+200@b
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0 state=healthy
p c used=0 in_flight=0
--- x_log
1: connect() to unix:/nonexistent failed



=== TEST 5: another server, the same key: two requests, and its window has room for one
--- http_config
    sluice_key_pool one { key sk-1 id=a limit=1/1h; }
    sluice_key_pool two { key sk-1 id=a limit=2/1h; }
    upstream u {
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
    upstream v {
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
--- config
    location = /one { sluice_key one; proxy_pass http://u/; }
    location = /two { sluice_key two; proxy_pass http://v/; }
--- request eval
["GET /one", "GET /two", "GET /two"]
--- error_code eval
[502, 200, 429]
--- x_records
status=502 keys=502@a+502@-
status=200 keys=502@a+200@a
status=429 keys=- outcome=no_key
--- x_members
one a used=1 in_flight=0
two a used=2 in_flight=0



=== TEST 6: a server that is down is no fault of a key's, until it is the last
--- http_config
    sluice_key_pool p { key sk-1 id=a; breaker errors=1; }
    upstream u {
        server unix:/nonexistent max_fails=0;
        server 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
    upstream down {
        server unix:/nonexistent max_fails=0;
        server unix:/neither max_fails=0;
    }
--- config
    sluice_key p;
    location = /t { proxy_pass http://u/; }
    location = /down { proxy_pass http://down/; }
--- request eval
["GET /t", "GET /t", "GET /t", "GET /down", "GET /t"]
--- error_code eval
[200, 200, 200, 502, 503]
--- x_members
p a used=3 in_flight=0 state=cooling
--- x_log
1: key "a" of pool "p" is cooling
