# Why it exists: who has told nginx what to do about an error is not passed
# over: error pages, other pools behind them, and redirects of the upstream's
# come after the keys, and take their own.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 32;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { key A id=a; key B id=b; }
        sluice_key_pool q { key C id=c; key D id=d; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location = /refuse {
                if ($http_authorization = C) { return 200 "C\n"; }
                return 429 "no\n";
            }
            location = /first {
                if ($http_authorization = A) { return 429 "no\n"; }
                return 200 "$http_authorization\n";
            }
            location = /again {
                if ($http_authorization ~ [AC]) { return 401 "no\n"; }
                return 200 "$http_authorization\n";
            }
            location = /file {
                add_header X-Accel-Redirect /html/a always;
                if ($http_authorization = A) { return 429 "no\n"; }
                return 200;
            }
            location = /file- {
                add_header X-Accel-Redirect /html/r/a;
                return 200;
            }
            location = /other {
                add_header X-Accel-Redirect /accel/first;
                return 200;
            }
            location = /500 { return 500 "no\n"; }
            location / { return 200 "$http_authorization\n"; }
        }
    ' . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_usage on;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        add_header X-Tries "$sluice_tries" always;
        add_header X-Key "$sluice_key_id" always;
        location / {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location /html/ {
            internal;
            alias $TEST_NGINX_SERVER_ROOT/html/;
        }
        location /accel/ {
            internal;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
        }
        ' . $block->config);
    $block->set_value('user_files', ">>> a\na file\n");
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: an error page is for the last answer, not for those that were given up
--- config
    proxy_intercept_errors on;
    error_page 429 = /html/a;
--- request eval
["GET /first", "GET /refuse"]
--- response_body eval
["B\n", "a file\n"]
--- x_records
status=200 tries=2 keys=429@a+200@b
status=200 tries=1 keys=429@b
--- x_members
p a used=1 in_flight=0 state=cooling
p b used=2 in_flight=0 state=cooling
q c used=0 in_flight=0
q d used=0 in_flight=0



=== TEST 2: another pool, if no key of the first will do
--- config
    proxy_intercept_errors on;
    error_page 429 = @other;
    location @other {
        sluice_key q;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /refuse
--- response_body
C
--- response_headers
X-Tries: 3
X-Key: c
--- x_records
status=200 tries=3 key=c pool=q keys=429@a+429@b+200@c
--- x_members
p a used=1 in_flight=0 state=cooling
p b used=1 in_flight=0 state=cooling
q c used=1 in_flight=0 state=healthy
q d used=0 in_flight=0



=== TEST 3: another pool, if no key of the first is well
--- config
    error_page 429 = @other;
    location @other {
        sluice_key q;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /refuse", "GET /again"]
--- error_code eval
[429, 200]
--- response_body eval
["no\n", "D\n"]
--- x_records
status=429 outcome=admitted tries=2 keys=429@a+429@b
status=200 tries=2 keys=401@c+200@d
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
q c used=1 in_flight=0
q d used=1 in_flight=0



=== TEST 4: another upstream, with the same pool: not with the key that failed
--- config
    proxy_intercept_errors on;
    error_page 500 = @other;
    location @other {
        rewrite ^ /ok break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /500
--- response_body
B
--- x_records
status=200 tries=2 keys=500@a+200@b



=== TEST 5: a file that the upstream names
--- config
--- request
GET /file
--- response_body
a file
--- x_records
status=200 tries=2 keys=429@a+200@b
--- x_members
p a used=1 in_flight=0 state=cooling
p b used=1 in_flight=0 state=healthy
q c used=0 in_flight=0
q d used=0 in_flight=0



=== TEST 6: that costs no other key, not even if there is none
--- http_config
    sluice_key_pool r { key A id=a limit=1/1h; }
--- config
    location /html/r/ {
        internal;
        sluice_key r;
        alias $TEST_NGINX_SERVER_ROOT/html/;
    }
    location = /sent {
        sluice_key r;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/file-;
    }
--- request
GET /sent
--- response_body
a file
--- x_records
status=200 tries=1 keys=200@a



=== TEST 7: another upstream's that it names, with another key
--- config
--- request
GET /other
--- response_body
B
--- x_records
status=200 tries=~^[23]$
--- x_members
p a in_flight=0
p b in_flight=0
q c used=0 in_flight=0
q d used=0 in_flight=0
