# Why it exists: a key has limits of its own upstream; one that is full is
# passed over while others have room, only when none has is the client told
# to be slower, and what was not sent is not counted.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 123;

sub answer { return Sluice::Upstream::answer(@_) }

Sluice::Upstream::start(
    '/150ms' => [\0.15, answer(200, 'ok')],
    '/500ms' => [\0.5, answer(200, 'ok')],
    '/2s'    => [\2.1, answer(200, 'ok')],
);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $keys = $block->x_keys;
    my $tokens = $block->x_tokens // '';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_limit_zone \$remote_addr zone=rpm:64k window=1h;
        sluice_key_pool p { $keys }
        proxy_cache_path \$TEST_NGINX_SERVER_ROOT/cache keys_zone=one:64k;
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            add_header X-Used \$arg_used always;
            location = /429 { return 429; }
            location = /free { return 200 ok; }
            location = /500 { return 500; }
            location / {
                if (\$http_authorization = \$arg_bad) { return 429; }
                return 200 ok;
            }
        }
        " . ($block->http_config // ''));
    $block->set_value('config', "
        sluice_key p $tokens;
        sluice_key_next off;
        proxy_set_header Authorization \$sluice_key;
        add_header X-Key \$sluice_key_id always;
        location / {
            proxy_pass http://127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
        }
        location /script/ {
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT/;
        }
        location /down {
            proxy_pass http://127.0.0.1:1;
        }
        location = /long {
            sluice_key off;
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT/500ms;
        }
        location = /pause {
            sluice_key off;
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT/150ms;
        }
        " . ($block->config // ''));
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: a full key is passed over
--- x_keys: key sk-1 id=a limit=2/1h; key sk-2 id=b limit=4/1h;
--- request eval
["GET /", "GET /", "GET /", "GET /", "GET /", "GET /", "GET /"]
--- error_code eval
[200, 200, 200, 200, 200, 200, 429]
--- response_headers eval
["X-Key: a", "X-Key: b", "X-Key: a", "X-Key: b", "X-Key: b", "X-Key: b", "!X-Key"]
--- x_members
p a used=2 in_flight=0 state=healthy
p b used=4 in_flight=0 state=healthy



=== TEST 2: all are full: slower, please, and until when
--- x_keys: key sk-1 id=a limit=1/1h; key sk-2 id=b limit=1/2h;
--- request eval
["GET /", "GET /", "GET /"]
--- error_code eval
[200, 200, 429]
--- response_body_like eval
["ok", "ok", "All upstream keys have reached their limits"]
--- raw_response_headers_like eval
["", "", "Retry-After: [1-9][0-9]{0,3}\r\n"]



=== TEST 3: the time that is told is right
--- x_keys: key sk-1 id=a limit=1/1s;
--- request eval
["GET /", "GET /", "GET /wait", "GET /"]
--- config
    location = /wait {
        sluice_key off;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/2s;
    }
--- error_code eval
[200, 429, 200, 200]
--- raw_response_headers_like eval
["", "Retry-After: [12]\r\n", "", ""]



=== TEST 4: two windows of one key: the one that is full first counts
--- x_keys: key sk-1 id=a limit=3/1h limit=2/2h; key sk-2 id=b limit=1/1h;
--- request eval
["GET /", "GET /", "GET /", "GET /"]
--- error_code eval
[200, 200, 200, 429]
--- x_members
p a used=2
p b used=1



=== TEST 5: tokens: what was used, in place of the estimate
--- x_keys: key sk-1 id=a tokens=100/1h;
--- x_tokens: tokens=$arg_est settle=$upstream_http_x_used
--- request eval
["GET /?est=60&used=10", "GET /?est=60&used=60", "GET /?est=40", "GET /?est=30", "GET /?est=1"]
--- error_code eval
[200, 200, 429, 200, 429]
--- x_members
p a used=3 in_flight=0 state=healthy



=== TEST 6: what nobody has told stays charged
--- x_keys: key sk-1 id=a tokens=100/1h;
--- x_tokens: tokens=$arg_est settle=$upstream_http_x_used
--- request eval
["GET /?est=60", "GET /?est=60", "GET /?est=40&used=many", "GET /?est=1"]
--- error_code eval
[200, 429, 200, 429]



=== TEST 7: more than was estimated
--- x_keys: key sk-1 id=a tokens=100/1h;
--- x_tokens: tokens=$arg_est settle=$upstream_http_x_used
--- request eval
["GET /?est=10&used=95", "GET /?est=10", "GET /?est=5"]
--- error_code eval
[200, 429, 200]



=== TEST 8: nothing but the estimate
--- x_keys: key sk-1 id=a tokens=100/1h limit=3/1h;
--- x_tokens: tokens=40
--- request eval
["GET /", "GET /", "GET /"]
--- error_code eval
[200, 200, 429]



=== TEST 9: a key without windows of tokens does not mind them
--- x_keys: key sk-1 id=a tokens=10/1h; key sk-2 id=b;
--- x_tokens: tokens=$arg_est
--- request eval
["GET /?est=50", "GET /?est=5", "GET /?est=50"]
--- error_code eval
[200, 200, 200]
--- response_headers eval
["X-Key: b", "X-Key: a", "X-Key: b"]



=== TEST 10: more than any window has will never fit: waiting does not help
--- x_keys: key sk-1 id=a tokens=100/1h;
--- x_tokens: tokens=$arg_est
--- request
GET /?est=101
--- error_code: 503
--- raw_response_headers_unlike: Retry-After



=== TEST 11: an estimate that is no number
--- x_keys: key sk-1 id=a tokens=100/1h;
--- x_tokens: tokens=$arg_est
--- request eval
["GET /?est=many", "GET /?est=-1", "GET /?est=100"]
--- error_code eval
[500, 500, 200]
--- x_log
1-2: an estimate of tokens must be a number
--- x_members
p a used=1 in_flight=0



=== TEST 12: refused by a limit of the client's: the key was not used
--- x_keys: key sk-1 id=a limit=1/1h tokens=10/1h;
--- x_tokens: tokens=10
--- config
    location = /free {
        sluice_key off;
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
    location = /limited {
        sluice_limit zone=rpm limit=1;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /free", "GET /limited", "GET /", "GET /"]
--- error_code eval
[200, 429, 200, 429]
--- response_body_like eval
["ok", "Rate limit reached", "ok", "All upstream keys have reached"]
--- x_members
p a used=1 in_flight=0



=== TEST 13: no connection: the key was not used
--- x_keys: key sk-1 id=a limit=1/1h tokens=10/1h;
--- x_tokens: tokens=10
--- request eval
["GET /down", "GET /", "GET /"]
--- error_code eval
[502, 200, 429]
--- x_members
p a used=1 in_flight=0 connect=1



=== TEST 14: an answer from the cache has not used any
--- x_keys: key sk-1 id=a limit=2/1h tokens=20/1h;
--- x_tokens: tokens=10
--- config
    location = /cached {
        proxy_cache one;
        proxy_cache_valid 1h;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /cached", "GET /cached", "GET /cached", "GET /", "GET /"]
--- error_code eval
[200, 200, 200, 200, 429]
--- x_members
p a used=2 in_flight=0



=== TEST 15: what never goes upstream has not used any
--- x_keys: key sk-1 id=a limit=1/1h;
--- config
    location = /index.html {
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- request eval
["GET /index.html", "GET /index.html", "GET /", "GET /"]
--- error_code eval
[200, 200, 200, 429]
--- x_members
p a used=1 in_flight=0



=== TEST 16: an error has used a request, whoever's it was
--- x_keys: key sk-1 id=a limit=1/1h;
--- request eval
["GET /500", "GET /"]
--- error_code eval
[500, 429]



=== TEST 17: a try that was refused has used no tokens; the one that worked has
--- x_keys: key sk-1 id=a tokens=100/1h; key sk-2 id=b tokens=100/1h; cooldown 429 100ms;
--- x_tokens: tokens=60
--- config
    location = /next {
        sluice_key_next http_429;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request eval
["GET /next?bad=sk-1", "GET /pause", "GET /", "GET /"]
--- error_code eval
[200, 200, 200, 429]
--- response_headers eval
["X-Key: b", "!X-Key", "X-Key: a", "!X-Key"]



=== TEST 18: places
--- x_keys: key sk-1 id=a max_conns=1; key sk-2 id=b max_conns=2;
--- x_curl
+0 -w '%{http_code} %header{x-key}\n' http://127.0.0.1:$SERVER/script/500ms
+50 -w '%{http_code} %header{x-key}\n' http://127.0.0.1:$SERVER/script/500ms
+100 -w '%{http_code} %header{x-key}\n' http://127.0.0.1:$SERVER/script/500ms
+200 -w '%{http_code} %header{x-key}\n' -o /dev/null http://127.0.0.1:$SERVER/
--- x_curl_out
ok200 b
ok200 a
ok200 b
503 
--- request
GET /
--- x_members
p a used=2 in_flight=0
p b used=2 in_flight=0



=== TEST 19: backups, when no other is to be had
--- x_keys: key sk-1 id=a backup; key sk-2 id=b; key sk-3 id=c backup; cooldown 429 400ms;
--- request eval
["GET /", "GET /", "GET /429", "GET /", "GET /", "GET /long", "GET /"]
--- error_code eval
[200, 200, 429, 200, 200, 200, 200]
--- response_headers eval
["X-Key: b", "X-Key: b", "X-Key: b", "X-Key: a", "X-Key: c", "!X-Key", "X-Key: b"]



=== TEST 20: a backup for a full one
--- x_keys: key sk-1 id=a limit=1/1h; key sk-2 id=b backup limit=1/1h;
--- request eval
["GET /", "GET /", "GET /"]
--- error_code eval
[200, 200, 429]
--- response_headers eval
["X-Key: a", "X-Key: b", "!X-Key"]
