# Why it exists: when no key is well the client is told at once, with the
# status that its library waits for and the time of the first recovery, or he
# waits as long as the location allows, and costs nothing meanwhile.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 114;

sub answer { return Sluice::Upstream::answer(@_) }

Sluice::Upstream::start(
    '/300ms' => [\0.3, answer(200, 'ok')],
    '/500ms' => [\0.5, answer(200, 'ok')],
    '/900ms' => [\0.9, answer(200, 'ok')],
);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $keys = $block->x_keys // 'key sk-1 id=a;';
    my $wait = $block->x_wait // '';
    my $answers = join '', map { "location = /$_ { return $_; }" }
                               qw( 401 402 404 429 500 );

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { $keys }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            default_type application/json;
            add_header Retry-After \$http_after always;
            $answers
            location / { return 200 ok; }
        }
        " . ($block->http_config // ''));
    $block->set_value('config', "
        sluice_usage on;
        sluice_key p $wait;
        sluice_key_next off;
        proxy_set_header Authorization \$sluice_key;
        location / {
            proxy_pass http://127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
        }
        location /script/ {
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT/;
        }
        " . ($block->config // ''));
    Sluice::Test::http2_server($block);
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: until a cooldown is over
--- x_keys: key sk-1 id=a; cooldown 429 400ms;
--- x_wait: wait=1s
--- request eval
["GET /429", "GET /ok"]
--- error_code eval
[429, 200]
--- x_records
status=429
status=200 outcome=admitted key=a request_time=~^[1-9][0-9]{5}$
--- x_members
p a used=2 in_flight=0
--- x_counters
admitted=2 refused_key=0



=== TEST 2: no longer than that of the first key
--- x_keys: key sk-1 id=a; key sk-2 id=b; cooldown 429 400ms max=10s;
--- x_wait: wait=1s
--- request eval
["GET /429", "GET /429", "GET /ok"]
--- more_headers eval
["After: 9", "", ""]
--- error_code eval
[429, 429, 200]
--- x_records
status=429 key=a
status=429 key=b
status=200 key=b request_time=~^[1-9][0-9]{5}$



=== TEST 3: what takes longer than the time that there is, is refused at once
--- x_keys: key sk-1 id=a; cooldown 429 10s;
--- x_wait: wait=500ms
--- request eval
["GET /429", "GET /ok"]
--- error_code eval
[429, 429]
--- raw_response_headers_like eval
["", "Retry-After: (9|10)\r\n"]
--- x_records
status=429 outcome=admitted
status=429 outcome=no_key tries=0 key=- pool=p request_time=~^[0-9]{1,5}$
--- x_counters
admitted=1 refused_key=1



=== TEST 4: for a place
--- x_keys: key sk-1 id=a max_conns=1;
--- x_wait: wait=1s
--- x_curl
+0 -w '%{http_code}\n' http://127.0.0.1:$SERVER/script/300ms
+50 -w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
+50 -w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
--- x_curl_out
ok200
ok200
ok200
--- request
GET /404
--- error_code: 404
--- x_members
p a used=4 in_flight=0
--- x_counters
admitted=4 refused_key=0



=== TEST 5: for a place that does not come; nobody can tell when it would have
--- x_keys: key sk-1 id=a max_conns=1;
--- x_wait: wait=150ms
--- x_curl
+0 -w '%{http_code}\n' http://127.0.0.1:$SERVER/script/500ms
+50 -w '%{http_code} %header{retry-after}|\n' -o /dev/null http://127.0.0.1:$SERVER/ok
--- x_curl_out
ok200
503 |
--- request
GET /404
--- error_code: 404
--- x_records
status=404
status=200 request_time=~^[4-9][0-9]{5}$
status=503 outcome=no_key request_time=~^[1-9][0-9]{5}$



=== TEST 6: for a window
--- x_keys: key sk-1 id=a limit=1/1s;
--- x_wait: wait=3s
--- request eval
["GET /ok", "GET /ok"]
--- error_code eval
[200, 200]
--- x_records
status=200 outcome=admitted
status=200 outcome=admitted request_time=~^[0-9]{6,7}$



=== TEST 7: the client leaves meanwhile: he has had nothing
--- x_keys: key sk-1 id=a; cooldown 429 600ms;
--- x_wait: wait=1s
--- request
GET /429
--- error_code: 429
--- x_curl
--max-time 0.1 -w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
-w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
--- x_curl_out
000
ok200
--- x_members
p a used=2 in_flight=0
--- x_counters
admitted=2 refused_key=0
--- x_records
status=429
status=499 outcome=unadmitted key=-
status=200 outcome=admitted



=== TEST 8: HTTP/2
--- x_http2
--- x_keys: key sk-1 id=a; cooldown 429 200ms;
--- x_wait: wait=1s
--- request
GET /429
--- error_code: 429
--- x_curl
--http2-prior-knowledge -w '%{http_code} %{http_version}\n' http://127.0.0.1:$HTTP2/ok
--- x_curl_out
ok200 2
--- x_members
p a used=2 in_flight=0



=== TEST 9: a request with a body
--- x_keys: key sk-1 id=a; cooldown 429 200ms;
--- x_wait: wait=1s
--- request eval
["GET /429", "POST /ok
a=1"]
--- error_code eval
[429, 200]
--- x_members
p a used=2 in_flight=0



=== TEST 10: after what others have it wait for
--- x_keys: key sk-1 id=a; cooldown 429 150ms;
--- x_wait: wait=1s
--- http_config
    limit_req_zone $uri zone=one:32k rate=5r/s;
--- config
    location = /slow {
        limit_req zone=one burst=2;
        rewrite ^ /ok break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /slow", "GET /429", "GET /slow"]
--- error_code eval
[200, 429, 200]
--- x_members
p a used=3 in_flight=0



=== TEST 11: a subrequest does not wait: what asks for it goes on without
--- x_keys: key sk-1 id=a; cooldown 429 10s;
--- x_wait: wait=1s
--- config
    location = /main {
        sluice_key off;
        mirror /mirror;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/ok;
    }
    location = /mirror {
        internal;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/ok;
    }
--- request eval
["GET /429", "GET /main"]
--- error_code eval
[429, 200]
--- x_members
p a used=1 in_flight=0



=== TEST 12: all are limited: slower, please; in the dialect of clients of OpenAI's
--- x_keys: key sk-1 id=a; key sk-2 id=b;
--- config
    sluice_error_format openai;
--- request eval
["GET /429", "GET /429", "GET /ok"]
--- more_headers eval
["After: 90", "After: 20", ""]
--- error_code eval
[429, 429, 429]
--- raw_response_headers_like eval
["", "", "Content-Type: application/json\r\n.*Retry-After: (19|20)\r\n"]
--- response_body_like eval
["", "", qr/^\{"error":\{"message":"All upstream keys have reached their limits\. Try again later\.","type":"requests","param":null,"code":"rate_limit_exceeded"\}\}\r\n$/]
--- x_log
1: refusing request, no key of pool "p" is well



=== TEST 13: of Anthropic's
--- config
    sluice_error_format anthropic;
--- request eval
["GET /429", "GET /ok"]
--- error_code eval
[429, 429]
--- raw_response_headers_like eval
["", "Content-Type: application/json\r\n.*Retry-After: (59|60)\r\n"]
--- response_body_like eval
["", qr/^\{"type":"error","error":\{"type":"rate_limit_error","message":"All upstream keys have reached their limits\. Try again later\."\}\}\r\n$/]



=== TEST 14: RFC 9457
--- request eval
["GET /429", "GET /ok"]
--- error_code eval
[429, 429]
--- raw_response_headers_like eval
["", "Content-Type: application/problem\\+json\r\n.*Retry-After: (59|60)\r\n"]
--- response_body_like eval
["", qr/^\{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"All upstream keys have reached their limits\. Try again later\."\}\r\n$/]



=== TEST 15: an open breaker is no limit: 503, and until when
--- x_keys: key sk-1 id=a; breaker errors=1 open=40s;
--- config
    sluice_error_format openai;
--- request eval
["GET /500", "GET /ok"]
--- error_code eval
[500, 503]
--- raw_response_headers_like eval
["", "Content-Type: application/json\r\n.*Retry-After: (39|40)\r\n"]
--- response_body_like eval
["", qr/^\{"error":\{"message":"No upstream key is available\. Try again later\.","type":"server_error","param":null,"code":"no_key_available"\}\}\r\n$/]



=== TEST 16: exhausted, in Anthropic's words
--- config
    sluice_error_format anthropic;
--- request eval
["GET /402", "GET /ok"]
--- error_code eval
[402, 503]
--- raw_response_headers_like eval
["", "Retry-After: (86400|86399)\r\n"]
--- response_body_like eval
["", qr/^\{"type":"error","error":\{"type":"overloaded_error","message":"No upstream key is available\. Try again later\."\}\}\r\n$/]



=== TEST 17: disabled: nobody knows until when
--- x_keys: key sk-1 id=a; disable 401 after=1;
--- request eval
["GET /401", "GET /ok"]
--- error_code eval
[401, 503]
--- raw_response_headers_unlike eval
["Retry-After", "Retry-After"]
--- response_body_like eval
["", qr/^\{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"No upstream key is available\. Try again later\."\}\r\n$/]



=== TEST 18: one is limited, one is out of the pool: slower, please
--- x_keys: key sk-1 id=a; key sk-2 id=b; disable 401 after=1;
--- request eval
["GET /401", "GET /429", "GET /ok"]
--- error_code eval
[401, 429, 429]
--- raw_response_headers_like eval
["", "", "Retry-After: (59|60)\r\n"]



=== TEST 19: one is limited, one in trouble: 503, and until the first is well
--- x_keys: key sk-1 id=a; key sk-2 id=b; breaker errors=1 open=40s;
--- request eval
["GET /500", "GET /429", "GET /ok"]
--- error_code eval
[500, 429, 503]
--- raw_response_headers_like eval
["", "", "Retry-After: (39|40)\r\n"]



=== TEST 20: a page of the operator's
--- config
    error_page 429 = /busy;
    location = /busy {
        sluice_key off;
        return 200 "busy\n";
    }
--- request eval
["GET /429", "GET /ok"]
--- error_code eval
[429, 200]
--- response_body_like eval
["", "^busy\n"]



=== TEST 21: one that is found well before its time
--- x_keys: key sk-1 id=a; cooldown 429 6s max=10s;
--- x_wait: wait=10s
--- config
    location = /now/ok {
        sluice_key p;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/ok;
    }
--- x_curl
+0 -o /dev/null http://127.0.0.1:$SERVER/429
+100 -w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
+1300 -w '%{http_code}\n' http://127.0.0.1:$SERVER/now/ok
--- x_curl_out
ok200
ok200
--- request
GET /404
--- error_code: 404
--- x_records
status=404
status=429 outcome=admitted
status=200 outcome=admitted
status=200 outcome=admitted request_time=~^1[1-6][0-9]{5}$
--- x_members
p a used=4 in_flight=0



=== TEST 22: who waits does not try it early
--- x_keys: key sk-1 id=a; cooldown 429 2s max=10s;
--- x_wait: wait=10s
--- request eval
["GET /429", "GET /429"]
--- error_code eval
[429, 429]
--- x_records
status=429
status=429 request_time=~^(19|2[0-5])[0-9]{5}$



=== TEST 23: no key will be well: no time is lost
--- x_keys: key sk-1 id=a; disable 401 after=1;
--- x_wait: wait=3s
--- request eval
["GET /401", "GET /ok"]
--- error_code eval
[401, 503]
--- x_records
status=401
status=503 outcome=no_key request_time=~^[0-9]{1,5}$



=== TEST 24: for a place, however long another key rests
--- x_keys: key sk-1 id=a max_conns=1; key sk-2 id=b max_conns=1;
--- x_wait: wait=2s
--- x_curl
+0 -o /dev/null -H 'After: 9' http://127.0.0.1:$SERVER/429
+100 -w '%{http_code}\n' http://127.0.0.1:$SERVER/script/500ms
+150 -w '%{http_code}\n' http://127.0.0.1:$SERVER/ok
--- x_curl_out
ok200
ok200
--- request
GET /404
--- error_code: 404
--- x_counters
admitted=4 refused_key=0



=== TEST 25: each location waits for as long as it says
--- x_keys: key sk-1 id=a max_conns=1;
--- x_wait: wait=2s
--- http_config
    sluice_key_pool other { key sk-2 id=b max_conns=1; }
--- config
    location = /busy {
        sluice_key other;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/900ms;
    }
    location = /first {
        error_page 500 = @second;
        proxy_intercept_errors on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/500;
    }
    location @second {
        sluice_key other wait=600ms;
        rewrite ^ /ok break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- x_curl
+0 -o /dev/null http://127.0.0.1:$SERVER/script/500ms
+0 -o /dev/null http://127.0.0.1:$SERVER/busy
+100 -w '%{http_code}\n' http://127.0.0.1:$SERVER/first
--- x_curl_out
ok200
--- request
GET /404
--- error_code: 404
