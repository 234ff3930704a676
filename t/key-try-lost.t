# Why it exists: a key that gets no answer is no key's fault for sure, and the
# request may have been done: only who says so has it sent again with another
# key, to an only server as well.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 71;

# each connection has a process of its own: whether this one has been kept

my $kept;

Sluice::Upstream::start(
    '/keep'  => [sub { $kept = 1; Sluice::Upstream::answer(200, 'ok') }],
    '/slow'  => [\0.1, sub { $kept = 1; Sluice::Upstream::answer(200, 'ok') }],
    '/fresh' => [sub { POSIX::_exit(0) if $kept;
                       "HTTP/1.1 200 X\r\nContent-Length: 7\r\n\r\n"
                       . "\$key \$body" }],
    'B /drop' => [undef],
    '/drop'  => ["HTTP/1.1 200 X\r\nContent-Length: 7\r\n\r\n\$key \$body"],
    'A /'    => [\2, undef],
    'B /'    => [undef],
    '/'      => ["HTTP/1.1 200 X\r\nContent-Length: 7\r\n\r\n\$key \$body"],
    '/bad'   => ["HTTP/1.1 200 X\r\n\0: \r\n\r\n", undef],
    '/gone'  => [undef],
    '/begun' => ["HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nsome", \0.05, undef],
);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $next = $block->x_next // 'sluice_key_next timeout error;';
    my $keys = $block->x_keys // 'key A id=a; key B id=b; key C id=c;';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { $keys }
        upstream kept {
            server 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            keepalive 4;
        }
    ");
    $block->set_value('config', "
        sluice_usage on;
        sluice_key p;
        $next
        proxy_set_header Authorization \$sluice_key;
        proxy_read_timeout 200ms;
        location / {
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
        }
        location = /file {
            client_body_in_file_only on;
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT/;
        }
        location = /stream {
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT/;
        }
        location = /begun {
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
        }
        location = /chunks {
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:\$TEST_NGINX_SLUICE_PORT/gone;
        }
        location /kept/ {
            proxy_http_version 1.1;
            proxy_set_header Authorization \$sluice_key;
            proxy_set_header Connection '';
            proxy_pass http://kept/;
        }
        location = /two {
            set \$to 127.0.0.1:\$TEST_NGINX_SLUICE_PORT;
            proxy_pass http://\$to/;
        }
    ");
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: one server: a key that hangs, one that is cut off, a third
--- request
PUT /
hello
--- response_body chomp
C hello
--- x_records
status=200 tries=3 keys=504@a+502@b+200@c
--- x_members
p a used=1 timeout=1 in_flight=0
p b used=1 error=1 in_flight=0
p c used=1 in_flight=0



=== TEST 2: an address that is known at run time
--- request
PUT /two
hello
--- response_body chomp
C hello
--- x_records
status=200 tries=3 keys=504@a+502@b+200@c



=== TEST 3: a body in a file
--- request
PUT /file
hello
--- response_body chomp
C hello



=== TEST 4: a body that is not kept
--- x_next: sluice_key_next timeout error non_idempotent;
--- request eval
"POST /stream\n" . "x" x 100000
--- error_code: 504
--- x_records
tries=1



=== TEST 5: a POST may have been done
--- request
POST /
hello
--- error_code: 504
--- x_records
status=504 tries=1 keys=504@a



=== TEST 6: and is sent again by whom that does not hurt
--- x_next: sluice_key_next timeout error non_idempotent;
--- request
POST /
hello
--- response_body chomp
C hello
--- x_records
status=200 tries=3 keys=504@a+502@b+200@c



=== TEST 7: only after what is named
--- x_next: sluice_key_next timeout;
--- request
PUT /
hello
--- error_code: 502
--- x_records
tries=2 keys=504@a+502@b



=== TEST 8: unless it is named, it is as ever
--- x_next
--- request
PUT /
hello
--- error_code: 504
--- x_records
tries=1



=== TEST 9: nor for more keys than a request may try
--- x_next: sluice_key_next timeout error; sluice_key_tries 2;
--- request
PUT /
hello
--- error_code: 502
--- x_records
tries=2



=== TEST 10: nor for longer
--- x_next: sluice_key_next timeout error; sluice_key_timeout 100ms;
--- request
PUT /
hello
--- error_code: 504
--- x_records
tries=1



=== TEST 11: also where proxy_next_upstream is off
--- x_next: sluice_key_next timeout error; proxy_next_upstream off;
--- request
PUT /
hello
--- response_body chomp
C hello



=== TEST 12: when no key is left, the last failure is the client's
--- request
GET /gone
--- error_code: 502
--- x_records
tries=3 keys=502@a+502@b+502@c
--- x_members
p a in_flight=0
p b in_flight=0
p c in_flight=0



=== TEST 13: what is no answer in HTTP was one
--- request
GET /bad
--- error_code: 502
--- x_records
tries=1



=== TEST 14: a kept connection that was closed: the same key, by whom that does not hurt
--- x_next: sluice_key_next error non_idempotent;
--- request eval
["GET /kept/keep", "POST /kept/fresh\nhello"]
--- response_body eval
["ok", "B hello"]
--- x_records
status=200 keys=200@a
status=200 keys=502@b+200@b
--- x_members
p a in_flight=0
p b error=0 in_flight=0
p c used=0



=== TEST 15: if that is closed as well, another key
--- x_next: sluice_key_next error non_idempotent;
--- request eval
["GET /kept/keep", "POST /kept/drop\nhello"]
--- response_body eval
["ok", "C hello"]
--- x_records
status=200 keys=200@a
status=200 keys=502@b+502@b+200@c
--- x_members
p a in_flight=0
p b error=1 in_flight=0
p c error=0 in_flight=0



=== TEST 16: also where proxy_next_upstream is off
--- x_next: sluice_key_next error; proxy_next_upstream off;
--- request eval
["GET /kept/keep", "PUT /kept/drop\nhello"]
--- response_body eval
["ok", "C hello"]
--- x_records
status=200 keys=200@a
status=200 keys=502@b+502@b+200@c



=== TEST 17: of two that were kept the second one counts
--- x_next: sluice_key_next error non_idempotent;
--- request
GET /kept/keep
--- response_body chomp
ok
--- x_curl
+0 http://127.0.0.1:$SERVER/kept/slow
+30 http://127.0.0.1:$SERVER/kept/slow
+600 http://127.0.0.1:$SERVER/kept/fresh -d hello
--- x_curl_out chomp
okokB hello
--- x_records
keys=200@a
keys=200@b
keys=200@c
keys=502@a+502@a+200@b
--- x_members
p a error=1 in_flight=0
p b error=0 in_flight=0
p c error=0 in_flight=0



=== TEST 18: not where nginx goes on by itself
--- x_next: sluice_key_next error;
--- request
GET /kept/keep
--- response_body chomp
ok
--- x_curl
+0 http://127.0.0.1:$SERVER/kept/slow
+30 http://127.0.0.1:$SERVER/kept/slow
+600 http://127.0.0.1:$SERVER/kept/fresh -X PUT -d hello
--- x_curl_out chomp
okokA hello
--- x_records
keys=200@a
keys=200@b
keys=200@c
keys=502@a+502@a+200@a
--- x_members
p a error=0 in_flight=0
p b error=0 in_flight=0
p c error=0 in_flight=0



=== TEST 19: it ends there where nobody asks for more
--- x_next: sluice_key_next error;
--- request eval
["GET /kept/keep", "POST /kept/fresh\nhello"]
--- error_code eval
[200, 502]
--- x_records
status=200 keys=200@a
status=502 keys=502@b
--- x_members
p a error=0 in_flight=0
p b error=0 in_flight=0
p c used=0



=== TEST 20: a client that stalls in the midst of its body opens no breaker
--- x_keys: key A id=a; key B id=b; key C id=c; breaker errors=1;
--- x_next: sluice_key_next error non_idempotent;
--- raw_request eval
["POST /chunks HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
 . "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\n\r\n"]
--- raw_request_middle_delay: 0.3
--- error_code: 502
--- x_records
status=502 tries=1 keys=502@a
--- x_members
p a used=1 error=0 in_flight=0 state=healthy
p b used=0
p c used=0



=== TEST 21: one that has sent all of it is waiting, as others are
--- x_keys: key A id=a; key B id=b; key C id=c; breaker errors=1;
--- x_next: sluice_key_next error non_idempotent;
--- raw_request eval
"POST /chunks HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
--- error_code: 502
--- x_records
status=502 tries=3 keys=502@a+502@b+502@c
--- x_members
p a used=1 error=1 in_flight=0 state=cooling
p b used=1 error=1 in_flight=0 state=cooling
p c used=1 error=1 in_flight=0 state=cooling



=== TEST 22: nor one whose answer has begun
--- x_keys: key A id=a; breaker errors=1;
--- raw_request eval
["POST /begun HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
 . "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\n\r\n"]
--- raw_request_middle_delay: 0.3
--- error_code: 200
--- x_records
status=200 tries=1 keys=200@a
--- x_members
p a used=1 error=0 in_flight=0 state=healthy
