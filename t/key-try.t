# Why it exists: a key that the upstream refuses is followed by another one,
# within the same request; the client sees the answer of the key that worked,
# or the last refusal as it was; each try is in the record with its key.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 101;

sub answer { return Sluice::Upstream::answer(@_) }

Sluice::Upstream::start(
    '/late-401'   => [\0.2, answer(401, 'late')],
    '/late-200'   => [\0.6, answer(200, 'late')],
    'sk-401 /cgi' => ["Status: 401 X\r\n\r\ndenied", undef],
    'sk-429 /cgi' => ["Status: 429 X\r\nRetry-After: 9\r\n\r\nlimited", undef],
    '/cgi'        => ["Status: 200 X\r\n\r\n\$key \$body", undef],
);

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p {
            key sk-401 id=denied;
            key sk-429 id=limited;
            key sk-402 id=poor;
            key sk-quota id=quota;
            key sk-500 id=broken;
            key sk-200 id=well;
        }
        sluice_key_pool only { key sk-429 id=limited; }
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            error_log $TEST_NGINX_SERVER_ROOT/logs/error.log info;
            default_type application/json;
            location / {
                if ($http_authorization = sk-401) { return 401 "denied"; }
                if ($http_authorization = sk-429) {
                    add_header Retry-After 7 always;
                    return 429 "limited";
                }
                if ($http_authorization = sk-402) { return 402 "poor"; }
                if ($http_authorization = sk-quota) {
                    return 429 "{\"error\":{\"code\":\"insufficient_quota\"}}";
                }
                if ($http_authorization = sk-500) { return 500 "broken"; }
                return 200 "$http_authorization $http_id\n";
            }
        }
        ' . ($block->http_config // ''));
    $block->set_value('config', '
        sluice_usage on;
        sluice_key p;
        sluice_key_tries 6;
        proxy_set_header Authorization $sluice_key;
        proxy_set_header Id $sluice_key_id;
        add_header X-Tries $sluice_tries always;
        add_header X-Key "$sluice_key_id $sluice_key_state" always;
        location = /t {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location = /nothing {
            sluice_key off;
            sluice_usage off;
            return 204;
        }
        ' . ($block->config // ''));
    Sluice::Test::http2_server($block);
});

run_tests();

__DATA__

=== TEST 1: until one is well; 500 is an answer, unless it is asked to be none
--- config
    location = /all {
        sluice_key_next http_401 http_402 http_403 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /t", "GET /all"]
--- error_code eval
[500, 200]
--- response_body eval
["broken", "sk-200 well\n"]
--- response_headers eval
["X-Tries: 5
X-Key: broken healthy", "X-Tries: 1
X-Key: well healthy"]
--- x_records
status=500 tries=5 key=broken keys=401@denied+429@limited+402@poor+429@quota+500@broken
status=200 tries=1 key=well keys=200@well
--- x_members
only limited used=0
p broken used=1 in_flight=0 state=healthy
p denied used=1 in_flight=0 state=healthy
p limited used=1 in_flight=0 state=cooling
p poor used=1 in_flight=0 state=exhausted
p quota used=1 in_flight=0 state=exhausted
p well used=1 in_flight=0 state=healthy



=== TEST 2: all of them, in one request
--- config
    location = /all {
        sluice_key_next http_401 http_402 http_403 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /all
--- response_body
sk-200 well
--- response_headers
X-Tries: 6
X-Key: well healthy
--- x_records
status=200 tries=6 key=well keys=401@denied+429@limited+402@poor+429@quota+500@broken+200@well



=== TEST 3: a POST is repeated after a refusal, not after an error
--- config
    location = /all {
        sluice_key_next http_401 http_402 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /twice {
        sluice_key_next http_401 http_402 http_429 http_500 non_idempotent;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["POST /all
a=1", "POST /twice
a=1"]
--- error_code eval
[500, 200]
--- x_records
keys=401@denied+429@limited+402@poor+429@quota+500@broken
keys=200@well



=== TEST 4: no more tries than the location allows; the last answer is the client's
--- config
    location = /two {
        sluice_key_tries 2;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /two
--- error_code: 429
--- response_body: limited
--- response_headers
Retry-After: 7
X-Tries: 2
X-Key: limited cooling
--- x_records
status=429 outcome=admitted tries=2 key=limited keys=401@denied+429@limited
--- x_members
only limited used=0
p broken used=0 in_flight=0
p denied used=1 in_flight=0
p limited used=1 in_flight=0
p poor used=0 in_flight=0
p quota used=0 in_flight=0
p well used=0 in_flight=0



=== TEST 5: off: the first answer is the client's, and the key is judged all the same
--- config
    location = /off {
        sluice_key_next off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /only {
        sluice_key only;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /off", "GET /only", "GET /only"]
--- error_code eval
[401, 429, 429]
--- response_body_like eval
["denied", "limited", "All upstream keys have reached their limits"]
--- raw_response_headers_like eval
["X-Tries: 1", "Retry-After: 7\r\n", "Retry-After: [67]\r\n"]
--- x_records
status=401 keys=401@denied outcome=admitted
status=429 keys=429@limited outcome=admitted
status=429 keys=- outcome=no_key pool=only key=-



=== TEST 6: a key that is refused three times in a row is disabled
--- config
    location = /denied {
        sluice_key denied;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- http_config
    sluice_key_pool denied { key sk-401 id=d; disable 401 after=3; }
--- request eval
["GET /denied", "GET /denied", "GET /denied", "GET /denied"]
--- error_code eval
[401, 401, 401, 503]
--- x_log
1: key "d" of pool "denied" is disabled after status 401
--- raw_response_headers_unlike eval
["Retry-After", "Retry-After", "Retry-After", "Retry-After"]



=== TEST 7: the key stands in no header and no log, of whatever level
--- config
    location = /leak {
        add_header X-Leak "[$sluice_key]";
        access_log $TEST_NGINX_SERVER_ROOT/logs/leak.log leak;
        error_log $TEST_NGINX_SERVER_ROOT/logs/error.log debug;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
    }
    location = /leak.log {
        sluice_key off;
        root $TEST_NGINX_SERVER_ROOT/logs;
    }
--- http_config
    log_format leak '[$sluice_key] $sluice_key_id $sluice_tries $sluice_key_state';
--- request eval
["GET /leak", "GET /leak.log"]
--- error_code eval
[500, 200]
--- raw_response_headers_unlike eval
["sk-", "sk-"]
--- response_body eval
["broken", "[-] broken 5 healthy\n"]
--- x_log
0: sk-4
0: sk-quota
0: sk-500
1-9999: http proxy status 401



=== TEST 8: a map over the key must be volatile
--- http_config
    map $sluice_key $frozen { default "x-$sluice_key"; }
    map $sluice_key $live { volatile; default $sluice_key; }
--- config
    location = /frozen {
        proxy_set_header Authorization $frozen;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    }
    location = /live {
        proxy_set_header Authorization $live;
        sluice_key_next http_401 http_402 http_403 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    server_name a;
}
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
    return 401 "denied";
--- request eval
["GET /live", "GET /frozen"]
--- error_code eval
[200, 500]
--- x_log
1: a map over $sluice_key must be "volatile": pool "p"



=== TEST 9: no longer than the location allows: the last answer is the client's
--- config
    location /late- {
        sluice_key_timeout 100ms;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
    location /short/ {
        sluice_key_timeout 1s;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
    }
--- request eval
["GET /late-401", "GET /short/late-401"]
--- error_code eval
[401, 401]
--- response_body eval
["late", "late"]
--- x_records
status=401 tries=1 keys=401@denied
status=401 tries=~^[2-6]$



=== TEST 10: HEAD
--- config
    location = /all {
        sluice_key_next http_401 http_402 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
HEAD /all
--- response_headers
X-Tries: 6
X-Key: well healthy
--- x_members
only limited used=0
p broken state=healthy
p denied state=healthy
p limited state=cooling
p poor state=exhausted
p quota state=cooling
p well used=1 in_flight=0



=== TEST 11: HTTP/2, and a body
--- x_http2
--- config
    location = /all {
        sluice_key_next http_401 http_402 http_429 http_500 non_idempotent;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /nothing
--- error_code: 204
--- x_curl
--http2-prior-knowledge --data a=1 http://127.0.0.1:$HTTP2/all
--- x_curl_out
sk-200 well
--- x_records
status=200 tries=6 method=POST



=== TEST 12: a subrequest has keys of its own
--- config
    location = /main {
        auth_request /auth;
        auth_request_set $auth_key $upstream_http_x_by;
        add_header X-Auth "$auth_key" always;
        sluice_key_next http_401 http_402 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /auth {
        internal;
        sluice_key other;
        proxy_pass_request_body off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- http_config
    sluice_key_pool other { key sk-401 id=denied; key sk-200 id=well; }
--- request
GET /main
--- response_body
sk-200 well
--- x_records
status=200 tries=6 keys=401@denied+429@limited+402@poor+429@quota+500@broken+200@well
--- x_members
only limited used=0
other denied used=1 in_flight=0 denied=1
other well used=1 in_flight=0
p broken used=1 in_flight=0
p denied used=1 in_flight=0
p limited used=1 in_flight=0
p poor used=1 in_flight=0
p quota used=1 in_flight=0
p well used=1 in_flight=0



=== TEST 13: and a mirror, that nobody waits for
--- config
    location = /main {
        mirror /mirror;
        sluice_key only;
        sluice_key_next off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /mirror {
        internal;
        sluice_key_next http_401 http_402 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
GET /main
--- error_code: 429
--- wait: 0.1
--- x_members
only limited used=1 in_flight=0 state=cooling
p broken used=1 in_flight=0
p denied used=1 in_flight=0
p limited used=1 in_flight=0
p poor used=1 in_flight=0
p quota used=1 in_flight=0
p well used=1 in_flight=0



=== TEST 14: the client leaves: his key was not at fault, and is free again
--- config
    location = /late-200 {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- request
GET /late-200
--- timeout: 0.2
--- abort
--- ignore_response
--- wait: 0.1
--- x_members
only limited used=0
p broken used=0
p denied used=1 in_flight=0 state=healthy left=1 error=0
p limited used=0
p poor used=0
p quota used=0
p well used=0



=== TEST 15: SCGI
--- config
    location = /cgi {
        sluice_key_next http_401 http_402 http_429;
        scgi_param HTTP_AUTHORIZATION $sluice_key;
        scgi_param REQUEST_METHOD $request_method;
        scgi_param REQUEST_URI $request_uri;
        scgi_param CONTENT_LENGTH $content_length;
        scgi_pass 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- request
POST /cgi
a=1
--- response_body: sk-402 a=1
--- x_records
status=200 tries=3 keys=401@denied+429@limited+200@poor
--- x_members
only limited used=0
p broken used=0
p denied used=1 in_flight=0 denied=1
p limited used=1 in_flight=0 state=cooling for=9000
p poor used=1 in_flight=0 state=healthy
p quota used=0
p well used=0



=== TEST 16: uwsgi
--- config
    location = /cgi {
        sluice_key_next http_401 http_402 http_429;
        uwsgi_param HTTP_AUTHORIZATION $sluice_key;
        uwsgi_param REQUEST_METHOD $request_method;
        uwsgi_param REQUEST_URI $request_uri;
        uwsgi_param CONTENT_LENGTH $content_length;
        uwsgi_pass 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- request
POST /cgi
a=1
--- response_body: sk-402 a=1
--- x_records
status=200 tries=3 keys=401@denied+429@limited+200@poor
--- x_members
only limited used=0
p broken used=0
p denied used=1 in_flight=0 denied=1
p limited used=1 in_flight=0 state=cooling for=9000
p poor used=1 in_flight=0 state=healthy
p quota used=0
p well used=0



=== TEST 17: FastCGI
--- config
    location = /cgi {
        sluice_key_next http_401 http_402 http_429;
        fastcgi_param HTTP_AUTHORIZATION $sluice_key;
        fastcgi_param REQUEST_METHOD $request_method;
        fastcgi_param REQUEST_URI $request_uri;
        fastcgi_param CONTENT_LENGTH $content_length;
        fastcgi_pass 127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- request
POST /cgi
a=1
--- response_body: sk-402 a=1
--- x_records
status=200 tries=3 keys=401@denied+429@limited+200@poor
--- x_members
only limited used=0
p broken used=0
p denied used=1 in_flight=0 denied=1
p limited used=1 in_flight=0 state=cooling for=9000
p poor used=1 in_flight=0 state=healthy
p quota used=0
p well used=0



=== TEST 18: gRPC
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_3 http2;
        error_log $TEST_NGINX_SERVER_ROOT/logs/error.log info;
        location / {
            if ($http_authorization = sk-401) { return 401 "denied"; }
            if ($http_authorization = sk-429) { return 429 "limited"; }
            return 200 "$http_authorization\n";
        }
    }
--- config
    location = /grpc {
        sluice_key_next http_401 http_402 http_429;
        grpc_set_header Authorization $sluice_key;
        grpc_pass grpc://127.0.0.1:$TEST_NGINX_RAND_PORT_3;
    }
--- request
POST /grpc
a=1
--- response_body
sk-402
--- x_records
status=200 tries=3 keys=401@denied+429@limited+200@poor



=== TEST 19: gRPC, to an address that no upstream has
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_3 http2;
        error_log $TEST_NGINX_SERVER_ROOT/logs/error.log info;
        location / {
            if ($http_authorization = sk-401) { return 401 "denied"; }
            if ($http_authorization = sk-429) { return 429 "limited"; }
            return 200 "$http_authorization\n";
        }
    }
--- config
    location = /grpc {
        sluice_key_next http_401 http_402 http_429;
        grpc_set_header Authorization $sluice_key;
        set $to 127.0.0.1;
        grpc_pass grpc://$to:$TEST_NGINX_RAND_PORT_3;
    }
--- request
POST /grpc
a=1
--- response_body
sk-402
--- x_records
status=200 tries=3 keys=401@denied+429@limited+200@poor



=== TEST 20: a body that is not buffered, to an address that no upstream has
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_3;
        return 401 "denied";
    }
--- config
    location = /unbuffered {
        set $to 127.0.0.1;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_pass http://$to:$TEST_NGINX_RAND_PORT_3/;
    }
--- raw_request eval
["POST /unbuffered HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
 . "Transfer-Encoding: chunked\r\n\r\n", "3\r\na=1\r\n0\r\n\r\n"]
--- raw_request_middle_delay: 0.2
--- error_code: 401
--- response_headers
X-Key: denied healthy
X-Tries: 1
--- x_records
status=401 tries=1 keys=401@denied
--- x_members
only limited used=0
p broken used=0
p denied used=1 in_flight=0 error=0
p limited used=0
p poor used=0
p quota used=0
p well used=0



=== TEST 21: one pool's states are everybody's: another location is told
--- config
    location = /other {
        sluice_key_next http_401;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /all {
        sluice_key_next http_401 http_402 http_429 http_500;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /all", "GET /other", "GET /all"]
--- error_code_like eval
["200", "[25]00", "200"]
--- x_records
status=200 tries=6
status=~^[25]00$ tries=~^[12]$
status=200 keys=~200@well$
--- x_members
only limited used=0
p broken state=healthy
p denied state=healthy
p limited used=1 state=cooling
p poor used=1 state=exhausted
p quota used=1 state=exhausted
p well state=healthy
