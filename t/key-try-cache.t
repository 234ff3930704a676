# Why it exists: an answer that was given up for another key's leaves nothing
# behind: what it said about caching is not what the client's answer says.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 88;

sub answer { return Sluice::Upstream::answer(@_) }

Sluice::Upstream::start(
    'A /plain'   => [answer(429, 'no')],
    'A /store'   => [answer(429, 'no', 'Cache-Control: no-store')],
    'A /cookie'  => [answer(429, 'no', 'Set-Cookie: a=b')],
    'A /expires' => [answer(429, 'no', 'X-Accel-Expires: 3600')],
    'A /vary'    => [answer(429, 'no', 'Vary: *')],
    '/plain'     => [answer(200, 'well')],
    '/store'     => [answer(200, 'well')],
    '/cookie'    => [answer(200, 'well')],
    '/expires'   => [answer(200, 'well')],
    '/vary'      => [answer(200, 'well')],
    'A /never'   => [answer(429, 'no')],
    '/never'     => [answer(200, 'well', 'Cache-Control: no-store')],
    '/all'       => [answer(429, 'no')],
    '/2s'        => [\2.1, answer(200, 'ok')],
);

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', '
        sluice_dir $TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p {
            key A id=a; key B id=b; key C id=c;
        }
        proxy_cache_path $TEST_NGINX_SERVER_ROOT/cache keys_zone=one:64k;
        server {
            listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
            location /file/ {
                if ($http_authorization = A) { return 429; }
                alias $TEST_NGINX_SERVER_ROOT/html/;
            }
            location / {
                add_header Cache-Control max-age=1;
                return 200 "$http_authorization $msec";
            }
        }
    ');
    $block->set_value('config', '
        sluice_usage on;
        sluice_key p;
        proxy_set_header Authorization $sluice_key;
        proxy_cache one;
        add_header X-Cache $upstream_cache_status always;
        add_header X-Tries "[$sluice_tries]" always;
        location / {
            proxy_cache_valid 200 1h;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        }
        location = /said {
            rewrite ^ /expires break;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        }
        location = /fresh {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location = /updated {
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location = /2s {
            sluice_key off;
            proxy_cache off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
        }
        ' . ($block->config // ''));
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: the answer of the key that worked is kept, and costs no key
--- request eval
["GET /plain", "GET /plain"]
--- response_body eval
["well", "well"]
--- response_headers eval
["X-Cache: MISS\nX-Tries: [2]", "X-Cache: HIT\nX-Tries: []"]
--- x_records
status=200 tries=2 keys=429@a+200@b
status=200 tries=0 keys=- key=-
--- x_members
p a used=1 in_flight=0
p b used=1 in_flight=0
p c used=0 in_flight=0



=== TEST 2: though the one that was given up forbade it
--- request eval
["GET /store", "GET /store"]
--- response_headers eval
["X-Cache: MISS\nX-Tries: [2]", "X-Cache: HIT\nX-Tries: []"]



=== TEST 3: or set a cookie
--- request eval
["GET /cookie", "GET /cookie"]
--- response_headers eval
["X-Cache: MISS\nX-Tries: [2]\n!Set-Cookie", "X-Cache: HIT\nX-Tries: []\n!Set-Cookie"]



=== TEST 4: or said that it varies
--- request eval
["GET /vary", "GET /vary"]
--- response_headers eval
["X-Cache: MISS\nX-Tries: [2]\n!Vary", "X-Cache: HIT\nX-Tries: []\n!Vary"]



=== TEST 5: nor does its time count
--- request eval
["GET /said", "GET /said"]
--- response_headers eval
["X-Cache: MISS\nX-Tries: [2]", "X-Cache: MISS\nX-Tries: [1]"]



=== TEST 6: what the last answer forbids is not kept
--- request eval
["GET /never", "GET /never"]
--- response_headers eval
["X-Cache: MISS\nX-Tries: [2]", "X-Cache: MISS\nX-Tries: [1]"]



=== TEST 7: a refusal is not kept
--- request eval
["GET /all", "GET /plain", "GET /plain"]
--- error_code eval
[429, 429, 429]
--- response_headers eval
["X-Cache: MISS\nX-Tries: [3]", ("X-Cache: MISS\nX-Tries: []") x 2]
--- x_members
p a used=1 in_flight=0 state=cooling
p b used=1 in_flight=0 state=cooling
p c used=1 in_flight=0 state=cooling



=== TEST 8: expired, and asked for again, by another key
--- request eval
["GET /fresh", "GET /fresh", "GET /2s", "GET /fresh"]
--- response_body_like eval
["^A ", "^A ", "ok", "^C "]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT", "!X-Cache", "X-Cache: EXPIRED"]
--- x_members
p a used=1 in_flight=0
p b used=0 in_flight=0
p c used=1 in_flight=0



=== TEST 9: updated in the background, with a key of its own
--- request eval
["GET /updated", "GET /2s", "GET /updated", "GET /updated"]
--- response_body_like eval
["^A ", "ok", "^A ", "^[BC] "]
--- response_headers eval
["X-Cache: MISS", "!X-Cache", "X-Cache: STALE", "X-Cache: HIT"]
--- x_members
p a used=1 in_flight=0
p b in_flight=0
p c in_flight=0



=== TEST 10: a lock that others wait for
--- config
    location = /locked {
        proxy_cache_lock on;
        proxy_cache_valid 200 1h;
        rewrite ^ /plain break;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT;
    }
--- request
GET /plain
--- x_curl
+0 -w ' %{http_code}\n' http://127.0.0.1:$SERVER/locked
+0 -w ' %{http_code}\n' http://127.0.0.1:$SERVER/locked
+0 -w ' %{http_code}\n' http://127.0.0.1:$SERVER/locked
--- x_curl_out
well 200
well 200
well 200
--- x_members
p a in_flight=0
p b in_flight=0
p c in_flight=0



=== TEST 11: slices: each is a request, and has a key
--- config
    location = /sliced {
        slice 1k;
        proxy_set_header Range $slice_range;
        proxy_set_header Authorization $sluice_key;
        proxy_cache_key $uri$slice_range;
        proxy_cache_valid 200 206 1h;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/file/large;
    }
--- user_files eval
[["large", "x" x 2500]]
--- request eval
["GET /sliced", "GET /sliced"]
--- response_body eval
["x" x 2500, "x" x 2500]
--- x_members
p a used=~^[1-3]$ in_flight=0
p b used=~^[1-3]$ in_flight=0
p c used=~^[1-3]$ in_flight=0
