# Why it exists: which key a request gets is the operator's to say: each in
# its turn, the one with the least to do, any, or always the same for the same
# prompt; and by weight.

use Test::Nginx::Socket;
require './t/lib/Sluice/Test.pm';
require './t/lib/Sluice/Upstream.pm';

plan tests => 233;

Sluice::Upstream::start(
    '/150ms' => [\0.15, Sluice::Upstream::answer(200, '~')],
    '/500ms' => ["HTTP/1.1 200 X\r\n\r\n", \0.5, '$key', undef],
);

# one after the other, to be compared with each other

my $bodies = '';

add_response_body_check(sub { $bodies .= $_[1] });

add_test_cleanup_handler(sub {
    my ($block) = @_;

    like($bodies, qr/${\ $block->x_bodies}/, $block->name . ' - x_bodies')
        if defined $block->x_bodies;
    $bodies = '';
});

add_block_preprocessor(sub {
    my ($block) = @_;
    my $pool = $block->x_pool;
    my $other = $block->x_other // $pool;

    $block->set_value('http_config', "
        sluice_dir \$TEST_NGINX_SERVER_ROOT/sluice_temp;
        sluice_key_pool p { $pool }
        sluice_key_pool q { $other }
        server {
            listen 127.0.0.1:\$TEST_NGINX_RAND_PORT_1;
            location = /429 { return 429 -; }
            location / { return 200 \$http_authorization; }
        }
        ");
    $block->set_value('config', '
        sluice_key p;
        sluice_key_next off;
        proxy_set_header Authorization $sluice_key;
        location / {
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        }
        location /script/ {
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/;
        }
        location /other {
            sluice_key q;
            proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/;
        }
        location = /pause {
            sluice_key off;
            proxy_pass http://127.0.0.1:$TEST_NGINX_SLUICE_PORT/150ms;
        }
        ');
});

no_root_location();
no_long_string();
run_tests();

__DATA__

=== TEST 1: round robin is what is not said otherwise
--- x_pool: key A id=a; key B id=b; key C id=c;
--- request eval
["GET /", "GET /", "GET /", "GET /"]
--- response_body eval
[qw( A B C A )]



=== TEST 2: in turns, by weight, and smoothly
--- x_pool: balance round_robin; key A id=a weight=3; key B id=b; key C id=c;
--- request eval
[("GET /") x 10]
--- response_body eval
[qw( A B A C A A B A C A )]



=== TEST 3: least used: those with nothing to do take turns
--- x_pool: balance least_used; key A id=a; key B id=b;
--- request eval
["GET /", "GET /", "GET /"]
--- response_body eval
[qw( A B A )]



=== TEST 4: least used: whoever is busy gets no more
--- x_pool: balance least_used; key A id=a; key B id=b; key C id=c;
--- x_curl
+0 -w '\n' http://127.0.0.1:$SERVER/script/500ms
+100 -w '\n' http://127.0.0.1:$SERVER/
+150 -w '\n' http://127.0.0.1:$SERVER/
+200 -w '\n' http://127.0.0.1:$SERVER/
+250 -w '\n' http://127.0.0.1:$SERVER/
--- x_curl_out
B
C
C
A
C
--- request
GET /
--- response_body: A



=== TEST 5: least used: by weight
--- x_pool: balance least_used; key A id=a weight=3; key B id=b;
--- x_curl
+0 -w '\n' http://127.0.0.1:$SERVER/script/500ms
+50 -w '\n' http://127.0.0.1:$SERVER/script/500ms
+100 -w '\n' http://127.0.0.1:$SERVER/script/500ms
+150 -w '\n' http://127.0.0.1:$SERVER/script/500ms
--- x_curl_out
A
B
A
A
--- request
GET /
--- response_body: A



=== TEST 6: random: everybody gets some
--- x_pool: balance random; key A id=a; key B id=b; key C id=c weight=5;
--- request eval
[("GET /") x 120]
--- error_code_like eval
[("200") x 120]
--- x_members
p a used=~^[1-9]
p b used=~^[1-9]
p c used=~^([3-9][0-9]|1[01][0-9])$
q a used=0
q b used=0
q c used=0



=== TEST 7: random: whoever is busy gets less: of two that are all, nothing
--- x_pool: balance random; key A id=a; key B id=b;
--- x_curl
+0 -o /dev/null http://127.0.0.1:$SERVER/script/500ms
+100 -o /dev/null http://127.0.0.1:$SERVER/[1-8]
--- x_curl_out
--- request
GET /pause
--- response_body: ~
--- x_members
p a used=~^[18]$
p b used=~^[18]$
q a used=0
q b used=0



=== TEST 8: hash: a value keeps its key
--- x_pool: balance hash $arg_u; key A id=a; key B id=b; key C id=c;
--- request eval
["GET /?u=1", "GET /?u=2", "GET /?u=1", "GET /?u=4", "GET /?u=2", "GET /?u=4", "GET /?u=1"]
--- error_code eval
[(200) x 7]
--- x_bodies: ^(.)(.)\1(.)\2\3\1$



=== TEST 9: hash: not all have the same
--- x_pool: balance hash $arg_u; key A id=a; key B id=b;
--- request eval
[map { "GET /?u=$_" } 1 .. 20]
--- error_code eval
[(200) x 20]
--- x_bodies: A.*B|B.*A



=== TEST 10: hash: whoever comes and goes moves nobody else, and no order counts
--- x_pool: balance hash $arg_u; key A id=a; key B id=b; key C id=c;
--- x_other: balance hash $arg_u; key D id=d; key C id=c; key A id=a;
--- request eval
[map { ("GET /?u=$_", "GET /other?u=$_") } 1 .. 8]
--- error_code eval
[(200) x 16]
--- x_bodies: ^(?:AA|CC|B.|.D){8}$



=== TEST 11: hash: moved by its key's state, and back
--- x_pool: balance hash $arg_u; key A id=a; key B id=b; cooldown 429 400ms;
--- request eval
["GET /?u=1", "GET /429?u=1", "GET /?u=1", "GET /pause", "GET /pause", "GET /pause", "GET /?u=1"]
--- error_code eval
[200, 429, 200, 200, 200, 200, 200]
--- x_bodies: ^([AB])-(?!\1)[AB]~~~\1$



=== TEST 12: hash: of several variables
--- x_pool: balance hash $arg_u$http_x; key A id=a; key B id=b; key C id=c;
--- request eval
["GET /?u=1", "GET /", "GET /?u=1"]
--- more_headers eval
["", "X: 1", ""]
--- error_code eval
[200, 200, 200]
--- x_bodies: ^(.)\1\1$



=== TEST 13: hash: by weight
--- x_pool: balance hash $arg_u; key A id=a weight=1000; key B id=b;
--- request eval
["GET /?u=1", "GET /?u=2", "GET /?u=3", "GET /?u=4", "GET /?u=5"]
--- response_body eval
[qw( A A A A A )]
