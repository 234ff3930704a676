# Why it exists: a redirect within nginx runs the phases again, and forgets
# what modules know of a request.  It is charged once, recorded once and goes
# out with one key all the same.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';

plan tests => 77;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone $remote_addr zone=rpm:64k window=1h;
        sluice_key_pool p { key sk-1 id=a; key sk-2 id=b; }
        sluice_key_pool q { key sk-3 id=c; }
        sluice_limit_zone $remote_addr zone=other:64k window=1h;
        sluice_limit_zone $sluice_client zone=client:64k window=1h;
        sluice_client_secret 1234567890123456;
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location = /fail { return 500; }
            location = /accel {
                add_header X-Accel-Redirect /next;
                return 200;
            }
            location = /accel-named {
                add_header X-Accel-Redirect @named;
                return 200;
            }
            location / { return 200 "$http_authorization\n"; }
        }
    ' . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_usage on;
        sluice_client $arg_c;
        sluice_limit zone=rpm limit=10;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_intercept_errors on;

        location = /next {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
        }
        location @named {
            rewrite ^ /named break;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
    ' . $block->config);
    $block->set_value('x_zone', 'rpm passed=1 refused=0')
        if !defined $block->x_zone;
    $block->set_value('x_members', "p a used=1 in_flight=0\n"
                                   . "p b used=0 in_flight=0\n"
                                   . "q c used=0 in_flight=0\n")
        if !defined $block->x_members;
});

run_tests();

__DATA__

=== TEST 1: rewrite last
--- config
    location = /t {
        rewrite ^ /next last;
    }
--- request
GET /t?c=1
--- response_body
sk-1
--- x_records
outcome=admitted status=200 uri=/t key=a tries=1 flags=- client=~^[0-9a-f]{32}$



=== TEST 2: an error page: not with the key that got the error
--- config
    location = /t {
        error_page 500 /next;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/fail;
    }
--- request
GET /t?c=1
--- error_code: 500
--- response_body
sk-2
--- x_records
outcome=admitted status=500 uri=/t key=b tries=2 upstream=~^500@.*200@
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
q c used=0 in_flight=0



=== TEST 3: an error page that is a named location, with a status of its own
--- config
    location = /t {
        error_page 500 =203 @named;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/fail;
    }
--- request
GET /t?c=1
--- error_code: 203
--- response_body
sk-2
--- x_records
outcome=admitted status=203 uri=/t key=b tries=2
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
q c used=0 in_flight=0



=== TEST 4: X-Accel-Redirect
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/accel;
    }
--- request
GET /t?c=1
--- response_body
sk-1
--- x_records
outcome=admitted status=200 uri=/t key=a tries=2 flags=-
--- x_members
p a used=2 in_flight=0
p b used=0 in_flight=0
q c used=0 in_flight=0



=== TEST 5: X-Accel-Redirect to a named location
--- config
    location = /accel-named {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /accel-named?c=1
--- response_body
sk-1
--- x_records
outcome=admitted status=200 uri=/accel-named key=a tries=2
--- x_members
p a used=2 in_flight=0
p b used=0 in_flight=0
q c used=0 in_flight=0



=== TEST 6: try_files, to a location and to a named one
--- config
    location = /t {
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /none /next?$args;
    }
--- request
GET /t?c=1
--- response_body
sk-1
--- x_records
outcome=admitted status=200 uri=/t key=a tries=1 client=~^[0-9a-f]{32}$



=== TEST 7: try_files to a named location
--- config
    location = /t {
        root $TEST_NGINX_SERVER_ROOT/html;
        try_files /none @named;
    }
--- request
GET /t?c=1
--- response_body
sk-1
--- x_records
outcome=admitted status=200 uri=/t key=a tries=1



=== TEST 8: an index
--- config
    location = /folder/ {
        index none.html index.html;
        alias $TEST_NGINX_SERVER_ROOT/html/;
    }
    location = /folder/index.html {
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /folder/?c=1
--- response_body_like: It works
--- x_records
outcome=admitted status=200 uri=/folder/ key=- tries=0
--- x_members
p a used=0 in_flight=0
p b used=0 in_flight=0
q c used=0 in_flight=0



=== TEST 9: to a location with another pool: its key; the last one stands
--- config
    location = /t {
        error_page 500 = /other;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/fail;
    }
    location = /other {
        sluice_key q;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /t?c=1
--- response_body
sk-3
--- x_records
outcome=admitted status=200 uri=/t pool=q key=c tries=2
--- x_members
p a used=1 in_flight=0
p b used=0 in_flight=0
q c used=1 in_flight=0



=== TEST 10: from a location without anything to one with everything
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        location / {
            root $TEST_NGINX_SERVER_ROOT/html/none;
            try_files $uri @all;
        }
        location @all {
            sluice_usage on;
            sluice_client $arg_c;
            sluice_limit zone=rpm limit=1;
            sluice_key p;
            proxy_set_header Authorization $sluice_key;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
    }
--- config
    location = /a {
        sluice_usage off;
        sluice_limit zone=other limit=9;
        sluice_key off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2/t;
    }
--- request eval
["GET /a?c=1", "GET /a?c=1"]
--- error_code eval
[200, 429]
--- response_body_like eval
["sk-1", "Rate limit"]
--- x_records
outcome=admitted status=200 uri=/t key=a client=~^[0-9a-f]{32}$
outcome=limit status=429 uri=/t key=- client=~^[0-9a-f]{32}$
--- x_zone
rpm passed=1 refused=1
other passed=2 refused=0



=== TEST 11: from a location with everything to one without anything
--- config
    location = /t {
        error_page 500 = /off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/fail;
    }
    location = /off {
        sluice_usage off;
        sluice_key off;
        sluice_client off;
        add_header X-Client $sluice_client;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
--- request
GET /t?c=me
--- response_headers eval
use Digest::SHA 'hmac_sha256_hex';
'X-Client: ' . substr hmac_sha256_hex('me', '1234567890123456'), 0, 32
--- response_body eval
"\n"
--- x_records
outcome=admitted status=200 uri=/t key=a tries=2



=== TEST 12: a refusal that a page answers, with an upstream of its own
--- config
    location = /t {
        sluice_limit zone=rpm limit=$arg_limit;
        error_page 429 /next;
        alias $TEST_NGINX_SERVER_ROOT/html/index.html;
    }
--- request
GET /t?c=1&limit=0
--- error_code: 429
--- response_body
sk-1
--- x_records
outcome=limit status=429 uri=/t zone=rpm tries=1
--- x_zone
rpm passed=0 refused=1



=== TEST 13: what the first location does not ask for, the second does
--- config
    location = /recorded {
        sluice_limit zone=other limit=9;
        sluice_client off;
        sluice_key off;
        root $TEST_NGINX_SERVER_ROOT/html/none;
        try_files $uri /next?$args;
    }
    location = /t {
        sluice_usage off;
        sluice_key off;
        root $TEST_NGINX_SERVER_ROOT/html/none;
        try_files $uri @recorded;
    }
    location @recorded {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /recorded?c=1", "GET /t?c=1"]
--- response_body eval
["sk-1\n", "sk-2\n"]
--- x_records
outcome=admitted status=200 uri=/recorded key=a tries=1 client=~^[0-9a-f]{32}$
outcome=admitted status=200 uri=/t key=b tries=1 client=~^[0-9a-f]{32}$
--- x_zone
rpm passed=2 refused=0
other passed=1 refused=0
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
q c used=0 in_flight=0
--- x_counters
admitted=2 recorded=2



=== TEST 14: a limit behind try_files, in a server that records
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        sluice_usage on;
        location / {
            root $TEST_NGINX_SERVER_ROOT/html/none;
            try_files $uri @api;
        }
        location @api {
            sluice_client $arg_c;
            sluice_limit zone=client limit=1;
            root $TEST_NGINX_SERVER_ROOT/html;
            try_files /index.html =404;
        }
    }
--- config
    location = /a {
        sluice_usage off;
        sluice_limit zone=other limit=9;
        sluice_key off;
        proxy_intercept_errors off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2/t;
    }
--- request eval
["GET /a?c=1", "GET /a?c=1", "GET /a?c=2"]
--- error_code eval
[200, 429, 200]
--- x_records
outcome=admitted status=200 uri=/t client=~^[0-9a-f]{32}$
outcome=limit status=429 uri=/t client=~^[0-9a-f]{32}$ zone=client
outcome=admitted status=200 uri=/t client=~^[0-9a-f]{32}$
--- x_zone
client passed=2 refused=1
--- x_members
p a used=0 in_flight=0
p b used=0 in_flight=0
q c used=0 in_flight=0
