# Why it exists: a key that gets no answer is no key's fault for sure, and the
# request may have been done: only who says so has it sent again with another
# key, to an only server as well.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 31;

Sluice::Upstream::start(
    'A /'    => [\2, undef],
    'B /'    => [undef],
    '/'      => ["HTTP/1.1 200 X\r\nContent-Length: 7\r\n\r\n\$key \$body"],
    '/bad'   => ["HTTP/1.1 200 X\r\n\0: \r\n\r\n", undef],
    '/gone'  => [undef],
);

add_block_preprocessor(sub {
    my ($block) = @_;
    my $next = $block->x_next // 'sluice_key_next timeout error;';
    my $keys = $block->x_keys // 'key A id=a; key B id=b; key C id=c;';

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { $keys }
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
